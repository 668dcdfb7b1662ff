"""Rows of one metric and moment each, in any number and any order: kept on disk by node and time, and turned
into rows with a column per metric.

LongRows    where they are kept, and parts of them in the order of their times
turned      rows with a column per metric
"""

from itertools import pairwise

import numpy as np

ROW = np.dtype([("series", np.int32), ("at", np.int64), ("value", np.float64)])
RUN = 2**20  # rows that are sorted at once: 20 MB, and some five times that meanwhile
PART = 2**20  # rows of a node that are turned at once, about
STRIDE = 2**10  # of a run, the time of every so many-th row of a node is remembered
CELLS = 2**22  # of a table that is turned: 32 MB


class LongRows:
    """Rows of ROW in files of a new `folder`, RUN of them each, sorted by node and time; the memory is that
    of a few of these files.

    Series are numbered as they come. low, high : of each series, the smallest value besides -1 and the
    largest.
    """

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.runs, self.waiting, self.n_waiting = folder, [], [], 0
        self.nodes, self.node, self.low, self.high = {}, [], [], []

    def new_series(self, node):
        """Take in one more series, of this node: its number."""
        self.node.append(self.nodes.setdefault(node, len(self.nodes)))
        self.low.append(np.inf)
        self.high.append(-np.inf)
        return len(self.node) - 1

    def add(self, series, at, values):
        """Add rows: number of the series, int (n,) or one; us since 1970, int (n,); values, float (n,)."""
        rows = np.empty(len(at), ROW)
        rows["series"], rows["at"], rows["value"] = series, at, values
        for begin in range(0, len(rows), RUN):
            self.waiting.append(rows[begin : begin + RUN])
            self.n_waiting += len(self.waiting[-1])
            if self.n_waiting >= RUN:
                self.write_run()

    def write_run(self):
        """Write what waits, by node and time; rows of one moment stay in the order in which they came."""
        rows = np.concatenate([np.empty(0, ROW), *self.waiting])
        self.waiting, self.n_waiting = [], 0
        for values, extreme in ((self.low, np.fmin), (self.high, np.fmax)):
            found = np.array(values)
            there = rows["value"] != -1 if extreme is np.fmin else slice(None)
            extreme.at(found, rows["series"][there], rows["value"][there])
            values[:] = found
        node = np.array(self.node, np.int64)[rows["series"]]
        order = np.lexsort((rows["at"], node))
        rows, node = rows[order], node[order]
        path = self.folder / f"{len(self.runs)}.run"
        rows.tofile(path)
        nodes, begins = np.unique(node, return_index=True)
        spans = zip(nodes.tolist(), pairwise([*begins.tolist(), len(rows)]), strict=True)
        self.runs.append((path, {one: (span, rows["at"][slice(*span, STRIDE)]) for one, span in spans}))

    def ends(self):
        """Give `low` and `high` of all rows that were added, those that wait among them."""
        if self.waiting:
            self.write_run()
        return self.low, self.high

    def parts(self, node):
        """Yield the rows of a node, about PART at a time, in the order of their times; a moment is in one
        part.
        """
        if self.waiting:
            self.write_run()
        number = self.nodes[node]
        runs = [(path, *of_node[number]) for path, of_node in self.runs if number in of_node]
        for begin, end in pairwise([-np.inf, *bounds_of(runs), np.inf]):
            pieces = [rows_between(*run, begin, end) for run in runs]
            rows = np.concatenate([np.empty(0, ROW), *pieces])
            yield rows[np.argsort(rows["at"], kind="stable")]


def bounds_of(runs):
    """Times at which the rows of a node are cut into parts of about PART rows.

    runs : (file, span of its rows, times of every STRIDE-th row) each.
    """
    if sum(end - begin for _, (begin, end), _ in runs) <= PART:
        return []
    return np.unique(np.sort(np.concatenate([some for *_, some in runs]))[PART // STRIDE :: PART // STRIDE])


def rows_between(path, span, some, begin, end):
    """Read the rows of a run with times in [begin, end)."""
    first = max(np.searchsorted(some, begin) - 1, 0) * STRIDE
    last = min(np.searchsorted(some, end) * STRIDE, span[1] - span[0])
    rows = np.fromfile(path, ROW, max(last - first, 0), offset=(span[0] + first) * ROW.itemsize)
    return rows[slice(*np.searchsorted(rows["at"], [begin, end]))]


def turned(rows, keys, columns, *, n_columns, how):
    """Yield (times, keys, table (moments, columns)) of rows in the order of time and key.

    keys, columns : int (n,), of which key, such as a job, and in which column a row is. how : what becomes of
    several rows of one cell: "sum" adds them up, "first" takes the first, and "" makes further rows of them.
    A sum of nothing but NaN is NaN.
    """
    order = np.lexsort((columns, keys, rows["at"]))
    at, keys, columns, values = rows["at"][order], keys[order], columns[order], rows["value"][order]
    cell = begins(at, keys, columns)
    copy = np.zeros(len(at), np.int64)
    if how:
        kept = np.flatnonzero(cell)
        values = added_up(values, kept) if how == "sum" else values[kept]
        at, keys, columns, copy = at[kept], keys[kept], columns[kept], copy[kept]
    elif not cell.all():
        copy = np.arange(len(at)) - np.maximum.accumulate(np.where(cell, np.arange(len(at)), 0))
        order = np.lexsort((copy, keys, at))
        at, keys, columns, copy, values = (one[order] for one in (at, keys, columns, copy, values))
    first = np.flatnonzero(begins(at, keys, copy))
    ends, step = np.append(first, len(at)), max(1, CELLS // n_columns)
    for begin in range(0, len(first), step):
        of_rows = ends[begin : begin + step + 1]
        some = slice(of_rows[0], of_rows[-1])
        table = np.full((len(of_rows) - 1, n_columns), np.nan)
        table[np.repeat(np.arange(len(table)), np.diff(of_rows)), columns[some]] = values[some]
        yield at[of_rows[:-1]], keys[of_rows[:-1]], table


def begins(*columns):
    """Where a row of sorted columns differs from the one before: bool (n,), True for the first."""
    differs = np.ones(len(columns[0]), bool)
    differs[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return differs


def added_up(values, first):
    """Add up the stretches of `values` (n,) that begin at the positions `first`: float, as long as `first`.
    NaN counts as nothing, and the sum of nothing else is NaN.
    """
    if not len(first):
        return values
    there = ~np.isnan(values)
    total = np.add.reduceat(np.where(there, values, 0), first)
    return np.where(np.add.reduceat(there.astype(np.int64), first) > 0, total, np.nan)
