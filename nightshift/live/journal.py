"""What a stream has delivered, in the form that the night reads: a file of lines per day, only appended to.

A batch is on disk when `append` returns, and only then may its messages be acknowledged. A process that is
killed leaves at most the beginning of a line, of a message that was not acknowledged; the next process
removes it.

    Journal         lines and what was put aside, appended
    read_lines_at   what follows a position, in whole lines
"""

import contextlib
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from nightshift.products import sync

LINES = "*.jsonl"
CLOSES = timedelta(minutes=10)  # after midnight: brokers deliver late what was announced just before it
LONGEST = 2**20  # bytes of a message; events of Rucio have about 1,000
SHOWN = 2**12  # bytes that are kept of a message that is put aside
DAY = re.compile(r"\d{4}-\d\d-\d\d\.jsonl")


class Position(NamedTuple):
    """The end of what was read: the name of a file, "" before the first one, and a place in it, bytes."""

    name: str = ""
    offset: int = 0


def files_of(folder):
    """Names of the files of lines in a folder, the earliest first."""
    return sorted(path.name for path in folder.glob(LINES) if DAY.fullmatch(path.name))


def why_refused(body):
    """Say why a message, bytes, is no event at all; "" for a JSON object."""
    if len(body) > LONGEST:
        return f"{len(body):,} bytes, where {LONGEST:,} are the most"
    try:
        # as a text: of bytes, json takes other encodings too, and halves of letters, which no reader of the
        # file does
        content = json.loads(body.decode())
    except UnicodeDecodeError:
        return "no UTF-8"
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return "" if isinstance(content, dict) else "no JSON object"


class Journal:
    """The files of lines in a folder, and beside them rejected/DAY.jsonl, what was put aside with its reason.

    One process writes at a time. n_kept, n_rejected : messages since this process began.
    """

    def __init__(self, folder):
        self.folder, self.aside = folder, folder / "rejected"
        self.aside.mkdir(parents=True, exist_ok=True)
        self.n_kept = self.n_rejected = 0
        self.day, self.files = "", ()
        for of in (self.folder, self.aside):
            for name in files_of(of)[-1:]:
                cut_torn_line(of / name)

    def open(self):
        """Open the files of today, where they are not those that are open."""
        day = f"{datetime.now(UTC) - CLOSES:%Y-%m-%d}"
        if day <= self.day:
            return
        self.close()
        latest = [name.removesuffix(".jsonl") for name in files_of(self.folder)[-1:]]
        self.day = max([day, *latest])  # a clock that was set back begins no earlier file
        folders = (self.folder, self.aside)
        self.files = tuple((of / f"{self.day}.jsonl").open("ab") for of in folders)
        for of in folders:
            sync(of)

    def append(self, bodies):
        """Write messages, a list of bytes, to disk; what is no JSON object is put aside. OSError where they
        cannot be written, and then none of them may be acknowledged, and nothing more is written: it would
        stand behind a torn line. ValueError after that.
        """
        self.open()
        reasons = [why_refused(body) for body in bodies]
        kept = [one_line(body) for body, why in zip(bodies, reasons, strict=True) if not why]
        refused = [rejection(body, why) for body, why in zip(bodies, reasons, strict=True) if why]
        try:
            for file, lines in zip(self.files, (kept, refused), strict=True):
                if lines:
                    file.write(b"".join(lines))
                    file.flush()
                    os.fdatasync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # it tries once more to write what could not be written
                self.close()
            raise
        self.n_kept, self.n_rejected = self.n_kept + len(kept), self.n_rejected + len(refused)

    def close(self):
        """Close the files that are open."""
        files, self.files = self.files, ()
        with contextlib.ExitStack() as each:  # the second one also where the first cannot be closed
            for file in files:
                each.callback(file.close)


def one_line(body):
    """A message, JSON as bytes, as a line."""
    if b"\n" in body or b"\r" in body:  # between its values: within a text JSON has none
        body = json.dumps(json.loads(body)).encode()
    return body.strip() + b"\n"


def rejection(body, why):
    """The line about a message that is put aside: when, why, how many bytes, and how it begins."""
    shown = body[:SHOWN].decode(errors="backslashreplace")
    about = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        "reason": why,
        "bytes": len(body),
        "message": shown,
    }
    return json.dumps(about).encode() + b"\n"


def cut_torn_line(path):
    """Cut off the beginning of a line with which the file at `path` ends."""
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(end - 2**16, 0)
            file.seek(begin)
            at = file.read(end - begin).rfind(b"\n")
            if at >= 0:
                end = begin + at + 1
                break
            end = begin
        if end < file.seek(0, os.SEEK_END):
            file.truncate(end)
            os.fsync(file.fileno())


def read_lines_at(folder, position, most):
    """Read whole lines after a Position, about `most` bytes of one file: (bytes, Position behind them),
    empty where nothing follows.

    A position behind the end of its file, after a loss of power, is its end.
    """
    names = [name for name in files_of(folder) if name >= position.name]
    for name in names:
        path = folder / name
        begin = position.offset if name == position.name else 0
        with open(path, "rb") as file:
            begin = min(begin, file.seek(0, os.SEEK_END))
            file.seek(begin)
            text = file.read(most)
            while text and b"\n" not in text and (more := file.read(most)):  # one line that is longer
                text += more
        text = text[: text.rfind(b"\n") + 1]
        if text:
            return text, Position(name, begin + len(text))
        if name != names[-1]:
            position = Position(name, begin)
    return b"", position
