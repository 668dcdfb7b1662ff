"""InfluxDB's line protocol, as Telegraf writes it by default and `telegraf --test` prints it:

    cpu,cpu=cpu-total,host=nid00001 usage_idle=87.5,usage_user=10i 1769853600000000000

Fields that hold texts or truth values are left out.
"""

import re
from dataclasses import dataclass

from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.files import open_text
from nightshift.sources.telemetry.series_file import Pieces, SeriesFile, as_arrays
from nightshift.sources.telemetry.telegraf import add_fields

# Source: "Line protocol reference" of InfluxDB 2; blanks, commas and equals signs of names are escaped by a
# backslash, and a text stands in quotes, in which a quote is escaped
NAME = r"(?:\\.|[^\\,= ])+"
TEXT = r'"(?:\\.|[^"\\])*"'
VALUE = rf'(?:{TEXT}|[^",\s][^,\s]*)'
TAGS = re.compile(rf",({NAME})=({NAME})")
FIELDS = re.compile(rf"({NAME})=({VALUE})(?:,|$)")
LINE = re.compile(
    rf"(?:> )?(?P<name>{NAME})(?P<tags>(?:,{NAME}={NAME})*) "
    rf"(?P<fields>{NAME}={VALUE}(?:,{NAME}={VALUE})*)(?: (?P<at>\d+))?\s*"
)
NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[iu]?")


def plain(name):
    """A name without its escapes."""
    return re.sub(r"\\([,= \\])", r"\1", name) if "\\" in name else name


def record_of(line):
    """{"name", "tags", "fields", "timestamp"} of a line, as Telegraf writes it as JSON, the time as it
    stands; ValueError with the reason where it is none. Fields that hold no number are left out.
    """
    match = LINE.fullmatch(line)
    if not match:
        raise ValueError("no line of InfluxDB's protocol")
    if not match["at"]:
        raise ValueError("no time")
    numbers = ((name, NUMBER.fullmatch(value)) for name, value in FIELDS.findall(match["fields"]))
    return {
        "name": plain(match["name"]),
        "tags": {plain(name): plain(value) for name, value in TAGS.findall(match["tags"])},
        "fields": {plain(name): float(number[1]) for name, number in numbers if number},
        "timestamp": int(match["at"]),
    }


@dataclass
class LineProtocol(SeriesFile):
    """Lines of the protocol with the tags and fields of Telegraf; a field of a measurement is a metric,
    cpu_usage_idle, and its tags tell devices apart.
    """

    label = "InfluxDB's line protocol"
    excerpt = staticmethod(excerpt_of_text)
    sampler = "telegraf"

    def recognises(self, head):
        """By its first line that is no comment, which has a time and tags."""
        first = next((line.strip() for line in head.lines if not line.startswith("#")), "")
        match = LINE.fullmatch(first)
        return bool(match and match["at"] and match["tags"])

    def series(self, path, extraction):
        """Yield the series of every field that holds numbers; a line that is none becomes a bad line."""
        found = Pieces()
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                line = line.strip()
                if not line or line.startswith("#"):
                    continue
                try:
                    add_fields(found, record_of(line), extraction)
                except ValueError as error:
                    extraction.bad_lines.append((path, number, str(error), line[:500]))
                yield from map(as_arrays, found.full())
        yield from map(as_arrays, found.rest())
