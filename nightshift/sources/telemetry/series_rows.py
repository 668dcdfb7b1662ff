"""Series with labels on their way to disk, and which of the copies of one series count.

Whoever scrapes a series adds labels of its own, so that one series of a node may come several times. The
memory is that of the labels of all series, and of the rows that `LongRows` holds.
"""

import hashlib
import json
from sys import intern

import numpy as np
import pandas as pd

from nightshift.sources.prometheus import SCRAPE_LABELS
from nightshift.sources.telemetry.long_rows import ROW, LongRows, begins
from nightshift.sources.times import SMALLEST, microseconds

FIRST_YEAR = pd.Timestamp("1990-01-01", tz="UTC")  # what lies before it comes from a clock that was never set
EVER = np.iinfo(np.int64).max


class SeriesRows:
    """Series in LongRows, in a new `folder`.

    describe : labels -> (node, what else is to be known of a series), called once for each. of : the latter,
    by the number of the series. scraped : of each series the labels of who scrapes it, pairs sorted by name.
    copies : {number of the first: [numbers]} of the series that differ in these alone, the first among them.
    """

    def __init__(self, folder, describe):
        self.rows, self.describe = LongRows(folder), describe
        self.of, self.scraped, self.copies, self.numbers = [], [], {}, {}
        self.n_times, self.n_lost, self.lost = 0, 0, None
        self.n_timed, self.first, self.last, self.n_infinite = 0, np.inf, -np.inf, 0

    def add(self, labels, at, values, *, window, counted=None):
        """Add values (n,) of a series at the times `at` (n,), counted since 1970: (number of times that can
        be read, number of these outside the window [begin, end), us since 1970).

        counted : the window in which infinite values are counted; by default `window`.
        """
        number, us = self.number_of(labels), np.asarray(at, float)
        us = np.where((us >= 0) & (us < SMALLEST), us * 1e6, microseconds(us))
        self.n_times += len(us)
        early = ~(us >= FIRST_YEAR.value // 1000)
        if early.any():
            self.n_lost, self.lost = self.n_lost + int(early.sum()), np.asarray(at, float)[early][0]
        inside = (us >= window[0]) & (us < window[1])
        values, (begin, end) = np.asarray(values, float), counted or window
        infinite = np.isinf(values)
        self.n_infinite += int((infinite & (us >= begin) & (us < end)).sum())
        self.rows.add(number, us[inside].astype(np.int64), np.where(infinite, np.nan, values)[inside])
        n_timed = int((~np.isnan(us)).sum())
        self.n_timed += n_timed
        self.first, self.last = np.fmin.reduce(us, initial=self.first), np.fmax.reduce(us, initial=self.last)
        return n_timed, n_timed - int(inside.sum())

    def number_of(self, labels):
        """The number of the series with these labels; a new one is described."""
        scraped = tuple(
            sorted((intern(one), intern(str(labels[one]))) for one in SCRAPE_LABELS if one in labels)
        )
        apart = {name: value for name, value in labels.items() if name not in SCRAPE_LABELS}
        named = hashlib.blake2b(json.dumps(apart, sort_keys=True).encode(), digest_size=12).digest()
        first = self.numbers.get(named)
        if first is None or self.scraped[first] == scraped:
            return self.new_series(named, labels, scraped) if first is None else first
        same = self.numbers.get((named, scraped))
        if same is None:
            same = self.new_series((named, scraped), labels, scraped)
            self.copies.setdefault(first, [first]).append(same)
        return same

    def new_series(self, named, labels, scraped):
        """Take in a new series, and return its number."""
        node, of = self.describe(labels)
        number = self.numbers[named] = self.rows.new_series(node)
        self.of.append(of)
        self.scraped.append(scraped)
        return number

    def check_times(self):
        """ValueError of one line where most times cannot be read, or lie before 1990."""
        if self.n_lost > self.n_times / 2:
            raise ValueError(
                f"{self.n_lost:,} of {self.n_times:,} times cannot be read or lie before 1990, such as "
                f"{self.lost}: a time is a number of seconds, ms, us or ns since 1970"
            )

    def differ(self, number):
        """Names of the labels in which the copies of a series differ."""
        pairs = [dict(self.scraped[one]) for one in self.copies[number]]
        names = sorted({name for labels in pairs for name in labels})
        return [name for name in names if len({labels.get(name) for labels in pairs}) > 1]

    def which_count(self):
        """Make a function that drops from rows, a part of those of one node, all that do not count.

        Two scrapers of one node scrape at different moments, so the copy with most values counts, and of the
        others what lies a step or more before its first or after its last moment. Of rows of one series and
        moment the first counts.
        """
        low, high = np.full(len(self.of), EVER), np.full(len(self.of), EVER)
        of_nodes = {}
        for number, among in self.copies.items():
            of_nodes.setdefault(self.rows.node[number], []).append(among)
        nodes = list(self.rows.nodes)
        for node, groups in of_nodes.items():
            ends = ends_of(self.rows.parts(nodes[node]))
            for among in groups:
                for number, span in self.spans_left(among, ends):
                    low[number], high[number] = span

        def counting(rows):
            rows = once_each(rows)
            return rows[(rows["at"] <= low[rows["series"]]) | (rows["at"] >= high[rows["series"]])]

        return counting

    def spans_left(self, among, ends):
        """Yield (number, (low, high)) of each copy but the best, whose rows up to the one and from the other
        on count.

        ends : {number: (rows, first, last, step)}. Of a best copy with one row no step is known: then all
        other moments count.
        """
        among = sorted(
            (one for one in among if one in ends),
            key=lambda one: (-ends[one][0], len(self.scraped[one]), str(self.scraped[one])),
        )
        if not among:
            return
        _, first, last, step = ends[among[0]]
        step = max(step, 1)
        for number in among[1:]:
            low, high = first - step, last + step
            yield number, (low, high)
            _, begin, end, _ = ends[number]
            first, last = begin if begin <= low else first, end if end >= high else last


def ends_of(parts):
    """Count the rows of each series of a node, and find their times: {number: (rows, first, last, step)}, us.

    The step is the median in the first part that has two of its rows.
    """
    ends = {}
    for rows in filter(len, map(once_each, parts)):
        rows = rows[np.argsort(rows["series"], kind="stable")]
        first_of = np.flatnonzero(begins(rows["series"]))
        times = np.split(rows["at"], first_of[1:])
        for at, number in zip(times, rows["series"][first_of].tolist(), strict=True):
            n, first, _, step = ends.get(number, (0, at[0], at[-1], 0.0))
            step = step or (np.median(np.diff(at)) if len(at) > 1 else 0.0)
            ends[number] = n + len(at), first, at[-1], step
    return ends


def once_each(rows):
    """Rows in the order of their times, each series once at each moment."""
    rows = rows[np.lexsort((rows["series"], rows["at"]))]
    return rows[begins(rows["at"], rows["series"])] if len(rows) else np.empty(0, ROW)
