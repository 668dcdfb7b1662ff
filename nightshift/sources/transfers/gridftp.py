"""Logs of transfers of a GridFTP server, a line per transfer:

    DATE=20260131100100.5 HOST=dtn01.example PROG=globus-gridftp-server NL.EVNT=FTP_INFO START=... NBYTES=...

The server that logs a transfer is one end of it, and DEST the other, whatever the direction: TYPE is RETR
where the server sends and STOR where it receives. The log does not say how long a transfer waited, so it
counts as submitted when it started. CODE 226 is that of a transfer that went well. Times are in UTC.

Source: `globus_i_gfs_log_transfer` of the server, which the Grid Community Toolkit keeps: it writes by
gmtime.
"""

import re

from nightshift.sources.transfers.files import EventFile
from nightshift.sources.transfers.parts import tables_of_lines

PAIR = re.compile(r"(\b[A-Z][A-Z.]*)=(.*?)(?=\s[A-Z][A-Z.]*=|\s*$)")  # a path may hold blanks
ADDRESS = re.compile(r"\[([^\]]*)\]")  # in DEST, which begins with a number on older servers
TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d(?:\.\d+)?)")
LISTINGS = ("LIST", "NLST", "MLSD", "MLSR", "MLST")  # of folders
NEEDED = ("DATE", "HOST", "START", "NBYTES", "DEST", "TYPE", "CODE")


def moment(text):
    """Write 20260131100100.5 as 2026-01-31 10:01:00.5; ValueError for anything else."""
    match = TIME.fullmatch(text)
    if not match:
        raise ValueError(f"{text[:30]!r} is no time")
    year, month, day, hour, minute, second = match.groups()
    return f"{year}-{month}-{day} {hour}:{minute}:{second}"


def as_event(line):
    """Write one line as an event that Rucio would announce, by its names of fields; None for the listing of a
    folder, ValueError or KeyError where it is no transfer.
    """
    log = dict(PAIR.findall(line))
    if log["TYPE"] in LISTINGS:
        return None
    if log["TYPE"] not in ("RETR", "STOR"):
        raise ValueError("it is no transfer")
    address = ADDRESS.search(log["DEST"])
    ends = [log["HOST"], address[1] if address else log["DEST"]]
    source, destination = ends if log["TYPE"] == "RETR" else ends[::-1]
    begun, ended = moment(log["START"]), moment(log["DATE"])
    name = log.get("FILE", "")
    return {
        "event_type": "transfer-done" if log["CODE"] == "226" else "transfer-failed",
        "request-id": "/".join([log["HOST"], log["START"], log["DATE"], name]),
        "src-rse": source,
        "dst-rse": destination,
        "bytes": int(log["NBYTES"]),
        "name": name,
        "protocol": "gsiftp",
        "transfer-endpoint": log["HOST"],
        "reason": "" if log["CODE"] == "226" else f"code {log['CODE']}",
        "submitted_at": begun,
        "started_at": begun,
        "transferred_at": ended,
        "created_at": ended,
    }


class GridFtpLog(EventFile):
    """Logs of transfers of a GridFTP server."""

    label = "a log of transfers of GridFTP"

    def recognises(self, head):
        """By the name with which its first line begins, and the kind of event in it."""
        return head.line.startswith("DATE=") and "NL.EVNT=FTP_INFO" in head.line

    def read(self, path, extraction):
        """Yield pages of rows; listings of folders are counted, and what is no transfer is put aside.
        LayoutError where no line is a transfer.
        """
        needed = f": needed are {', '.join(NEEDED)}"
        return tables_of_lines(path, extraction, as_event, needed=needed)
