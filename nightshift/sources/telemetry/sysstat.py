"""What sysstat's sadf prints of the files that sar keeps."""

import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from nightshift.sources import excerpts
from nightshift.sources.files import LayoutError, iter_elements, open_text
from nightshift.sources.telemetry.series_file import Pieces, SeriesFile
from nightshift.sources.times import read_times

FIRST = ["hostname", "interval", "timestamp"]
TIME = re.compile(r"\d{4}-\d\d-\d\d .*|\d+")  # a date with a zone or without one, or seconds
DEVICE = re.compile("[A-Z]+")  # CPU, DEV, IFACE: what a row is of; the names of values have small letters
# of all processors; rows of one processor are left out, as percentages do not add up
EVERY = {"-1", "all", "sum"}
ADVICE = "print them in UTC, by sadf without -T and -t, or with -U"


def excerpt_of_activities(path, folder):
    """Take the first and the last lines of a table of `sadf -d`, these below the header that they have there:
    each kind of activity has its own.
    """
    if excerpts.is_small(path):
        return str(path), True
    with open_text(path) as lines:
        pairs, has_end = excerpts.both_ends(below_headers(lines))
    first, last = pairs[: excerpts.ROWS], pairs[excerpts.ROWS :]
    kept = [*(line for _, line in first), *(header for header, _ in last[:1]), *(line for _, line in last)]
    return excerpts.written(kept, path, folder), has_end


def below_headers(lines):
    """Yield (the header that a line stands below or is, the line) of each line, "" where none came before."""
    header = ""
    for line in lines:
        header = line if line.startswith("#") else header
        yield header, line


@dataclass
class SadfTable(SeriesFile):
    """Lines of `sadf -d`, with a header for each kind of activity; all values are rates, percentages or
    levels.
    """

    label = "a table of sysstat (sadf -d)"
    excerpt = staticmethod(excerpt_of_activities)
    sampler = "sar"

    def recognises(self, head):
        """By its header, before which a restart of the machine may stand."""
        return any(line.lstrip("# ").startswith(";".join(FIRST)) for line in head.lines)

    def series(self, path, extraction):
        """Yield the series of every column and device; ValueError of one line for times without a zone."""
        found, names, numbers = Pieces(), [], partial(numbers_of_piece, extraction=extraction)
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                cells = line.strip().split(";")
                header = line.strip("# \n").split(";") if line.startswith("#") else []
                if header[: len(FIRST)] == FIRST:
                    names = header
                    if "[...]" in line:
                        raise ValueError("its lines hold all activities side by side: print them without -h")
                elif len(cells) > len(FIRST) and cells[3].startswith(("LINUX-RESTART", "COM")):
                    continue
                elif names and names[-1].endswith("*"):  # INTR;CPU*: a column for each processor
                    extraction.left_out["interrupts"] += 1
                elif len(cells) != len(names):
                    reason = f"{len(cells)} columns, not {len(names)}"
                    extraction.bad_lines.append((path, number, reason, line[:500]))
                elif not TIME.fullmatch(cells[names.index("timestamp")]):
                    extraction.bad_lines.append((path, number, "no time", line[:500]))
                else:
                    add_row(found, dict(zip(names, cells, strict=True)))
                    yield from map(numbers, found.full())
        yield from map(numbers, found.rest())


def numbers_of_piece(piece, *, extraction):
    """(labels, times in s since 1970, values) of a piece of a series whose times and values are texts; values
    that are no numbers, such as 5,2 of another language, are counted in the extraction.
    """
    labels, texts, values = piece
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(float)
    others = (str(values[n]).strip().lower() for n in np.flatnonzero(np.isnan(numbers)))
    extraction.add_whole(sum(text not in ("", "nan") for text in others), {})
    return labels, seconds_of(texts), numbers


def add_row(found, row):
    """Add the values of one row of `sadf -d` to Pieces."""
    device = next((row[name] for name in row if DEVICE.fullmatch(name) and row[name] not in EVERY), None)
    if device and "CPU" in row:
        return
    for name, value in row.items():
        if name not in FIRST and not DEVICE.fullmatch(name):
            labels = {"__name__": name, "host": row["hostname"], "device": device or ""}
            found.add(tuple(labels.items()), row["timestamp"], value)


def seconds_of(texts):
    """Times in s since 1970, float (n,), of texts such as "2026-01-31 10:00:00 UTC" or numbers; ValueError of
    one line for one that is not in UTC or names no zone.
    """
    local = next((text for text in texts if not text.endswith("UTC") and not text.isdigit()), None)
    if local is not None:
        what = "are not in UTC" if local[-1:].isalpha() else "name no zone"
        raise ValueError(f"its times {what}, such as {local!r}: {ADVICE}")
    if texts and texts[0].isdigit():
        return np.array(texts, float)
    at = read_times(pd.Series(texts))
    return ((at - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)


@dataclass
class SadfJson(SeriesFile):
    """The document of `sadf -j`; memory is in kB, which the names say here."""

    label = "a document of sysstat (sadf -j)"
    excerpt = staticmethod(excerpts.whole_file)
    sampler = "sar"

    def recognises(self, head):
        """By its first name."""
        return head.line.startswith("{") and '"sysstat"' in " ".join(head.lines[:3])

    def series(self, path, extraction):
        """Yield the series of every value and device; a moment that is none becomes a bad line. ValueError of
        one line for times that are not UTC, LayoutError as of `hosts_of`.
        """
        found, number, numbers = Pieces(), 0, partial(numbers_of_piece, extraction=extraction)
        for document, one in iter_elements(path, "statistics"):
            hosts = hosts_of(document)
            for host in hosts if one is None else hosts[-1:]:  # a moment is of the last before it
                for moment in host.get("statistics", []) if one is None else [one]:
                    number += 1
                    if is_moment(moment):
                        add_moment(found, moment, host["nodename"])
                    else:
                        extraction.bad_lines.append((path, number, "no time", str(moment)[:500]))
            yield from map(numbers, found.full())
        yield from map(numbers, found.rest())


def hosts_of(document):
    """The hosts of a document of `sadf -j`, a list of dicts; LayoutError of one line where they are not as it
    writes them.
    """
    sysstat = document.get("sysstat") if isinstance(document, dict) else None
    hosts = sysstat.get("hosts") if isinstance(sysstat, dict) else None
    fits = isinstance(hosts, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("nodename"), str)
        and isinstance(one.get("statistics", []), list)
        for one in hosts
    )
    if not fits:
        raise LayoutError("it is no document of sadf -j, which lists hosts with a nodename and statistics")
    return hosts


def is_moment(moment):
    """Whether a JSON value is one of the statistics of a host: an object, with a date and a time where it has
    a timestamp.
    """
    at = moment.get("timestamp") if isinstance(moment, dict) else {}
    return at is None or (isinstance(at, dict) and {"date", "time"} <= set(at))


def add_moment(found, moment, host):
    """Add the values of one moment of a host to Pieces; ValueError of one line where its time is not UTC."""
    at = moment.pop("timestamp", None)
    if at is None:
        return
    if not at.get("utc") and at.get("tz") not in ("UTC", "GMT"):  # of 12.6, and of 12.7
        raise ValueError(f"its times are local, such as {at['date']} {at['time']}: {ADVICE}")
    for labels, value in values_in(moment):
        found.add(tuple({**labels, "host": host}.items()), f"{at['date']} {at['time']} UTC", value)


def values_in(group, prefix=""):
    """Yield ({"__name__", device}, number) of everything in a group of activities, whose groups may lie in
    one another.
    """
    for name, value in group.items():
        full = f"{prefix}_{name}" if prefix else name
        if isinstance(value, dict):
            yield from values_in(value, full)
        elif isinstance(value, list):
            for one in value:
                if isinstance(one, dict) and one:
                    yield from values_of_device(one, full)
        elif isinstance(value, int | float):
            kb = full.startswith(("memory_", "hugepages_")) and not full.endswith("-percent")
            yield {"__name__": f"{full}_kb" if kb else full}, value


def values_of_device(one, prefix):
    """Yield ({"__name__", device}, number) of one device, whose first value is its name; rows of a single
    processor are left out.
    """
    first, device = next(iter(one.items()))
    named = {} if str(device) in EVERY else {"device": str(device)}
    if not (named and first == "cpu"):
        rest = {name: value for name, value in one.items() if name != first}
        yield from ((labels | named, value) for labels, value in values_in(rest, prefix))
