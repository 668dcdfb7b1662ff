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
    """Yield (names of the columns, pages) of every stretch of one file with columns of its own, as
    `read_csv_pages` gives them, with the host as a column; LayoutError where the file names no host or no
    time.

    A recording that is begun again into the same file writes its head once more below the rows, and goes on
    with means since the machine was started. Rows of another width are added to the list `bad_lines`, and so
    are those below a head without a time. Rows count from the first one that is none of such means.
    """
    with open_text(path) as lines:
        head = list(itertools.islice(csv.reader(lines), 12))
    host = next((row[1] for row in head if row[:1] == ["Host:"]), "")
    at = next((n for n, row in enumerate(head) if "epoch" in row), None)
    if at is None:
        raise LayoutError(NO_EPOCH)
    if not host or at + 1 >= len(head):
        raise LayoutError("it breaks off before its names of columns: record it again")
    with open_text(path) as lines:
        rows = measured_rows(enumerate(csv.reader(lines), -at - 2), path=path, bad_lines=bad_lines)
        for (host, *names), stretch in itertools.groupby(rows, key=lambda one: one[0]):
            aside = {"path": path, "bad_lines": bad_lines}
            yield [*names, "host"], pages_of(stretch, host=host, names=names, **aside)


def measured_rows(rows, *, path, bad_lines):
    """Yield ((host, *names of the columns), number, cells) of the numbered `rows` of a file but for its heads
    and the first row below each, which holds means. Rows below a head without a time are put aside.
    """
    host, groups, names, is_first = "", None, None, True
    for number, row in rows:
        if row[:1] == ["Host:"]:
            host, groups, names, is_first = "".join(row[1:2]), None, None, True
        elif "epoch" in row and groups is None:
            groups = row
        elif "epoch" in row:
            names, groups = names_of_columns(groups, row), None
        elif names is None:
            if row and number > 0 and row[0] != "Cmdline:":
                bad_lines.append((path, number, "no epoch", ",".join(row)[:500]))
        elif row and is_first:
            is_first = False
        elif row:
            yield (host, *names), number, row


def pages_of(rows, *, host, names, path, bad_lines):
    """Yield pages of `rows` as `measured_rows` gives them, (number of the first row, Arrow table); rows of
    another width are put aside.
    """
    while page := [(number, row) for _, number, row in itertools.islice(rows, PAGE_ROWS)]:
        bad_lines.extend(
            (path, number, f"{len(row)} columns, not {len(names)}", ",".join(row)[:500])
            for number, row in page
            if len(row) != len(names)
        )
        whole = [[*row, host] for _, row in page if len(row) == len(names)]
        columns = zip(*whole, strict=True) if whole else [[] for _ in (*names, host)]
        arrays = [pa.array(column, pa.string()) for column in columns]
        yield page[0][0], pa.table(arrays, names=[*names, "host"])


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
        layout = {"timestamp": "epoch", "node_id": "host"}
        for number, (names, pages) in enumerate(read_dstat(path, extraction.bad_lines)):
            metrics = {name: f"{name}::dstat" for name in names[:-1] if name != "epoch"}
            where = f"{path}#{number}" if number else path
            extract_nodes(extraction, pages, layout=layout, metric_names=metrics, where=where, path=path)
