"""The CSV of dool, and of dstat before it: a few lines about the host, two lines of names, then a row for
each moment.

    "dool 1.3.8 CSV output"
    "Host:","nid00001",,,,"User:","root"
    "epoch","total cpu usage",,,,,"memory usage",,
    "epoch","usr","sys","idl","wai","stl","used","free","cach"
    1769853600.5,76.8,10.3,12.2,0.3,0.3,2271506432,11934220288,9233244160

The first row holds means since the machine was started, and is left out. Source: dool 1.3.8 (run); dstat 0.7
writes the same lines under its own name.
"""

import csv
import itertools
import re
from dataclasses import dataclass

import pyarrow as pa

from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.files import LayoutError, open_text
from nightshift.sources.telemetry.files import extract_nodes
from nightshift.sources.telemetry.opening import NodeFile

NO_EPOCH = "its rows have no epoch, and other times of it lack the year: record with dool -T --output FILE"
PAGE_ROWS = 2**15


def names_of_columns(groups, names):
    """Name the columns by both lines of names: the group, which stands above its first column only, and the
    part; the time stays `epoch`.
    """
    filled = itertools.accumulate(groups, lambda last, group: group or last)
    words = (
        re.sub(r"\W+", "_", f"{group} {name}").strip("_") for group, name in zip(filled, names, strict=True)
    )
    return ["epoch" if name == "epoch" else word for name, word in zip(names, words, strict=True)]


def read_dstat(path, bad_lines):
    """(names of the columns, pages) of one file, as `read_csv_pages` gives them, with the host as a column;
    LayoutError where it names no host or no time.

    Rows of another width are added to the list `bad_lines`.
    """
    with open_text(path) as lines:
        head = list(itertools.islice(csv.reader(lines), 12))
    host = next((row[1] for row in head if row[:1] == ["Host:"]), "")
    at = next((n for n, row in enumerate(head) if "epoch" in row), None)
    if at is None:
        raise LayoutError(NO_EPOCH)
    if not host or at + 1 >= len(head):
        raise LayoutError("it breaks off before its names of columns: record it again")
    names = [*names_of_columns(head[at], head[at + 1]), "host"]

    width = len(names) - 1

    def pages():
        with open_text(path) as lines:
            rows = itertools.islice(enumerate(csv.reader(lines), -at - 2), at + 3, None)
            while page := [(number, row) for number, row in itertools.islice(rows, PAGE_ROWS) if row]:
                bad_lines.extend(
                    (path, number, f"{len(row)} columns, not {width}", ",".join(row)[:500])
                    for number, row in page
                    if len(row) != width
                )
                whole = [[*row, host] for _, row in page if len(row) == width]
                columns = zip(*whole, strict=True) if whole else [[] for _ in names]
                arrays = [pa.array(column, pa.string()) for column in columns]
                yield page[0][0], pa.table(arrays, names=names)

    return names, pages()


@dataclass
class DstatTable(NodeFile):
    """The CSV of dool or dstat, of one node."""

    label = "the CSV of dool or dstat"
    excerpt = staticmethod(excerpt_of_text)

    def recognises(self, head):
        """By its first line."""
        return bool(re.match(r'"?(dool|Dstat) .*CSV output', head.line))

    def extract(self, path, extraction):
        """Add one file; errors are those of `read_dstat` and `extract_nodes`."""
        names, pages = read_dstat(path, extraction.bad_lines)
        layout = {"timestamp": "epoch", "node_id": "host"}
        metrics = {name: f"{name}::dstat" for name in names[:-1] if name != "epoch"}
        extract_nodes(extraction, pages, layout=layout, metric_names=metrics, where=path, path=path)
