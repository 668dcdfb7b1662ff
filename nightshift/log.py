"""What a command prints while it runs: lines of text for people, or a JSON object a line for programs that
collect logs.

Everything goes through the logger `nightshift`: information to standard output, warnings and errors to
standard error. With `--quiet` only warnings and errors are printed.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from nightshift.wording import SEQUENCES

log = logging.getLogger("nightshift")
# of a record: what a line of JSON has besides its message
FIELDS = ("night", "study", "step", "outcome", "seconds", "path")


class Text(logging.Formatter):
    """A line without terminal sequences; an error begins with our name, as other programs print there too."""

    def format(self, record):
        line = SEQUENCES.sub("", record.getMessage())
        return f"nightshift: {line}" if record.levelno >= logging.ERROR else line


class JsonLines(logging.Formatter):
    """One JSON object: time in UTC, level, message, and those of FIELDS that are known."""

    def format(self, record):
        at = datetime.fromtimestamp(record.created, UTC)
        line = {"time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z", "level": record.levelname.lower()}
        line["message"] = record.getMessage()
        return json.dumps(line | {name: getattr(record, name) for name in FIELDS if hasattr(record, name)})


class Streams(logging.Handler):
    """Standard output for information, standard error for the rest, as they are when a line is printed."""

    def emit(self, record):
        stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        print(self.format(record), file=getattr(record, "stream", stream), flush=True)


handler = Streams()
handler.setFormatter(Text())
log.addHandler(handler)
log.propagate = False
log.setLevel(logging.INFO)


def speak_json():
    """Print everything as lines of JSON from now on."""
    handler.setFormatter(JsonLines())


def speaks_json():
    """Whether lines are JSON."""
    return isinstance(handler.formatter, JsonLines)


def keep_quiet():
    """Print only warnings and errors from now on."""
    log.setLevel(logging.WARNING)


def print_line(line, **fields):
    """Print an error, a text or an exception, as one line. fields : those of FIELDS that are known."""
    log.error(" ".join(str(line).split()), extra=fields)
