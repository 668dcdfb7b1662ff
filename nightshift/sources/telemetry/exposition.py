"""Pages of metrics as exporters show them, saved with the times of their values."""

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.files import open_text
from nightshift.sources.telemetry.series_file import Pieces, SeriesFile, as_arrays

LINE = re.compile(
    r'(?P<name>[a-zA-Z_:][\w:]*)?(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(?P<value>\S+)'
    r"(?:\s+(?P<at>-?[\d.]+))?(?:\s+#.*)?$"
)
TEXT = r'"((?:[^"\\]|\\.)*)"'
# a name of other characters than these stands in quotes (Prometheus 3), that of the metric without a value
LABEL = re.compile(rf"(?:([a-zA-Z_]\w*)|{TEXT})\s*(?:=\s*{TEXT})?")
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
ADVICE = (
    "its values have no times: save pages with their header (curl -si URL >>FILE), or name the Prometheus "
    "that scrapes them as the source"
)


@dataclass
class Exposition(SeriesFile):
    """Pages of an exporter one after another, each below the header of its answer, whose Date is the time; or
    lines that end with a time, as `promtool tsdb dump` writes them.
    """

    label = "pages of an exporter of metrics"
    excerpt = staticmethod(excerpt_of_text)

    def recognises(self, head):
        """By its first lines: # HELP or # TYPE, also below the header of an answer, or labels of a metric."""
        if head.line.startswith("HTTP/"):
            return any(line.startswith(("# HELP ", "# TYPE ")) for line in head.lines)
        labelled = re.match(r"[a-zA-Z_:]*[\w:]*\{\w+=\"", head.line)
        return head.line.startswith(("# HELP ", "# TYPE ")) or bool(labelled and LINE.match(head.line))

    def series(self, path, extraction):
        """Yield the series of all pages; what is no line of them becomes a bad line. Values without a time
        are one bad line, that of the first, with their number; ValueError where no value has a time.
        """
        found, n_timeless, first, any_time = Pieces(), 0, (), False
        for number, labels, at, value in read_lines(path, extraction):
            if at is None:
                n_timeless, first = n_timeless + 1, first or (number, labels)
                continue
            found.add(labels, at, value)
            any_time = True
            yield from map(as_arrays, found.full())
        if n_timeless and not any_time:
            raise ValueError(ADVICE)
        if n_timeless:
            number, labels = first
            extraction.bad_lines.append((path, number, f"{n_timeless} without time", str(labels)[:500]))
        yield from map(as_arrays, found.rest())


def read_lines(path, extraction):
    """Yield (number of the line, labels as a tuple of pairs, time in s or None, value) of every metric. A
    Date that is none becomes a bad line.
    """
    page_at, in_header = None, False
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if text.startswith("HTTP/"):
                page_at, in_header = None, True
            elif in_header:
                in_header = bool(text)
                if text.lower().startswith("date:"):
                    page_at = seconds_of(text[5:].strip())
                    if page_at is None:
                        extraction.bad_lines.append((path, number, "no time", text[:500]))
            elif text and not text.startswith("#"):
                yield from parsed(text, number, page_at=page_at, path=path, extraction=extraction)


def seconds_of(date):
    """The time of a Date, in s since 1970, that of UTC where it names no zone; None where it is none."""
    try:
        at = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def parsed(text, number, *, page_at, path, extraction):
    """Yield the metric of one line, as `read_lines` does; a line that is none becomes a bad one.

    A time is in milliseconds in the text of Prometheus and in seconds in that of OpenMetrics: its size tells.
    """
    match = LINE.match(text)
    try:
        value, at = float(match["value"]), float(match["at"]) if match["at"] else page_at
    except (TypeError, ValueError):
        extraction.bad_lines.append((path, number, "no metric", text[:500]))
        return
    yield number, labels_of(match["name"], match["labels"]), at / 1e3 if at and at > 1e11 else at, value


@lru_cache(maxsize=100_000)  # pages repeat them, and parsing costs more than all else
def labels_of(name, text):
    """Labels of a metric, a tuple of pairs sorted by name, from what stands in its braces (None: nothing)."""
    labels = {"__name__": name} if name else {}
    for match in LABEL.finditer(text or ""):
        plain, quoted, cell = (part and unescaped(part) for part in match.groups())
        if cell is not None:
            labels[plain or quoted] = cell
        elif quoted:
            labels.setdefault("__name__", quoted)
    return tuple(sorted(labels.items()))


def unescaped(text):
    """A text without its escapes."""
    return re.sub(r"\\.", lambda one: ESCAPED.get(one[0], one[0]), text) if "\\" in text else text
