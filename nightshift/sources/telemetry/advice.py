"""Forms that are not read, of producers of node metrics, and what to write or record instead."""

import re
from dataclasses import dataclass

from nightshift.sources.base import Head
from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import LayoutError
from nightshift.sources.telemetry.opening import HDF, PARQUET, NodeFile

SADF = "print it with sadf -d FILE -- -A, or with sadf -j"
SYSSTAT = (b"\x96\xd5", b"\xd5\x96")  # its magic number, in either order of bytes
TEXTS = (  # what the first line is, what wrote it, what to do
    (r"Linux \S+ \(.+\)\s+\S+\s+_\S+_\s+\(\d+ CPU\)", "sar's table for people", SADF),
    (r"\S+\t-?\d+\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: UTC)?\t", "the output of sadf -p", SADF),
    (r"\d\d:\d\d:\d\d(?: UTC)?; [\w/%-]+; ", "the output of sadf -r", SADF),
    (r"(?:<\?xml[^>]*>\s*)?(?:<!DOCTYPE sysstat|<sysstat)", "the output of sadf -x", SADF),
    (r"<", "XML", "of XML, pages of Ganglia are read; save anything else as CSV or JSON"),
    (r"AAA,progname,", "a recording of nmon", "record with sysstat or collectd, or ask a Prometheus"),
    (r"RESET$", "the output of atop -P", "record with sysstat or collectd, or ask a Prometheus"),
    (
        r"(?:> )?[^\s,]+(?:,[^\s,=]+=[^\s,]+)+ [^\s,=]+=\S+\s*$",
        "InfluxDB's line protocol without times",
        "write it with them, as the [[outputs.file]] of Telegraf does",
    ),
)


def advice_on(head):
    """What the file with this beginning, a Head, is, and what to do: (what, advice); None for any other."""
    if head.first_bytes[:2] in SYSSTAT:
        return "a data file of sysstat", SADF
    if head.suffix in (*PARQUET, *HDF):
        return None
    beginning = "\n".join([head.line, *head.lines[1:3]])
    return next((more for form, *more in TEXTS if re.match(form, beginning, re.MULTILINE)), None)


@dataclass
class OtherForm(NodeFile):
    """A form that is not read, of a producer of metrics."""

    label = "another form of a known producer"
    excerpt = staticmethod(whole_file)  # of which only the beginning is read

    def recognises(self, head):
        """By its first line, or the first bytes of sysstat's own files."""
        return advice_on(head) is not None

    def extract(self, path, extraction):
        """Refuse it with a line that says what to do."""
        what, advice = advice_on(Head(path))
        raise LayoutError(f"it is {what}, which is not read: {advice}")
