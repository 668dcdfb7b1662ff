"""Billing files of dCache, as its billing service writes them by default, a line per transfer:

    01.31 10:01:02 [pool:pool1:transfer] [0000FA09...,2000000000] [/data/file] ... 2000000000 60000 true
    {Http-1.1:192.0.2.7:0:...} [door:...] {0:""}

A pool that creates a file (`true`) receives it from a client, any other sends it to one. The line is written
when the transfer ends, and says how long it was connected, ms, but not how long it waited. Its date has no
year, which the name of the file has (billing-2026.01.31), and no zone: the servers' clocks must be in UTC.

Source: the dCache Book ("Configuring the billing service", and lines of a file in its first steps).
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.files import LayoutError
from nightshift.sources.transfers.files import EventFile
from nightshift.sources.transfers.parts import tables_of_lines

ANY = re.compile(r"\d\d\.\d\d \d\d:\d\d:\d\d \[\w+:[^\]]+:\w+\] ")
TRANSFER = re.compile(
    r"(?P<at>\d\d\.\d\d \d\d:\d\d:\d\d) \[pool:(?P<pool>[^:\]]+):transfer\] "
    r"\[(?P<file>\w+),(?P<size>-?\d+)\] \[(?P<path>.*)\] (?P<group>\S+) (?P<bytes>\d+) (?P<ms>\d+) "
    r"(?P<created>true|false) \{(?P<protocol>[^}]*)\} \[(?P<initiator>[^\]]*)\] "
    r'\{(?P<code>-?\d+):"(?P<message>.*)"\}\s*'
)
CLIENT = re.compile(r"([\w.]+-[\d.]+):((?:[\da-fA-F]+:){7}[\da-fA-F]+|[^:]+)(?::|$)")  # protocol, host
YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)(?=[.-]?\d\d[.-]?\d\d(?!\d))")


def year_of(path):
    """The year in the name of a billing file; LayoutError where it has none."""
    found = YEAR.search(Path(path).name)
    if not found:
        raise LayoutError(
            "its lines say no year: keep the name that dCache gives such a file, billing-2026.01.31"
        )
    return found[1]


def as_event(match, year):
    """Write one transfer as an event that Rucio would announce, by its names of fields; ValueError where its
    protocol names no client, or its date is none.
    """
    client = CLIENT.match(match["protocol"])
    if not client:
        raise ValueError("no client in its protocol")
    ends = [client[2], match["pool"]] if match["created"] == "true" else [match["pool"], client[2]]
    ended = datetime.strptime(f"{year}.{match['at']}", "%Y.%m.%d %H:%M:%S")
    begun = str(ended - timedelta(milliseconds=int(match["ms"])))
    is_done = match["code"] == "0"
    return {
        "event_type": "transfer-done" if is_done else "transfer-failed",
        "request-id": "/".join([match["pool"], match["file"], match["initiator"], str(ended)]),
        "src-rse": ends[0],
        "dst-rse": ends[1],
        "bytes": int(match["bytes"]),
        "name": match["path"],
        "protocol": client[1].partition("-")[0].lower(),
        "transfer-endpoint": match["initiator"].split(":")[1] if ":" in match["initiator"] else None,
        "reason": "" if is_done else match["message"] or f"code {match['code']}",
        "submitted_at": begun,
        "started_at": begun,
        "transferred_at": str(ended),
        "created_at": str(ended),
    }


def event_of(line, year):
    """The event of a line, None for a line of another kind; ValueError where it is no line of such a file, or
    as of `as_event`.
    """
    if match := TRANSFER.fullmatch(line):
        return as_event(match, year)
    if ANY.match(line) and ":transfer] " not in line:
        return None
    raise ValueError("no whole line of a transfer")


def is_no_comment(line):
    """Whether a line is neither blank nor a comment."""
    return bool(line.strip()) and line[0] != "#"


class DcacheBilling(EventFile):
    """Billing files of dCache."""

    label = "a billing file of dCache"
    excerpt = staticmethod(excerpt_of_text)

    def recognises(self, head):
        """By a line in the form of dCache among the first ones."""
        return any(ANY.match(line) for line in head.lines)

    def read(self, path, extraction):
        """Yield pages of rows; lines of other kinds (requests, removals) are counted, and what is no line of
        such a file is put aside. LayoutError where no line is a transfer.
        """
        year, needed = year_of(path), " of a pool, [pool:NAME:transfer]"
        return tables_of_lines(
            path, extraction, lambda line: event_of(line, year), needed=needed, holds=is_no_comment
        )
