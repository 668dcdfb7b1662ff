"""Counters and gauges told apart: by patterns of names, and by how the values themselves behave.

Names        patterns of counters and of exceptions    by_name
Behaviour    rises, falls and restarts of a metric     count_changes, by_behaviour, behaviour_sentence
"""

from collections import Counter
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NODES, ROWS = 4, 20_000  # what is looked at: of so many nodes, so many rows of each kind of part
RISES = 200  # fewer tell nothing: the load of a node can rise for minutes without a fall
RESTART = 0.5  # of its value is what a counter falls below when it begins anew; a gauge rarely loses as much
FALLS_OF_A_COUNTER = 1e-3  # of its rises: iowait and idle of Linux go back now and then (man 5 proc_stat)
RESTARTS_OF_A_COUNTER = 1e-2  # of its rises
CHANGES, FALLS_OF_A_GAUGE = 20, 0.1  # a metric with so many changes, of which so many are falls, is a gauge


def by_name(metric, counters, gauges):
    """Tell whether a metric is a counter by patterns of names: it fits one of `counters` and none of
    `gauges`.
    """
    grows = any(fnmatchcase(metric, pattern) for pattern in counters)
    return grows and not any(fnmatchcase(metric, pattern) for pattern in gauges)


def first_rows(paths):
    """Yield the first rows of the Parquet parts `paths` of a node, Arrow tables of at most ROWS rows for each
    set of metrics, however many parts there are.
    """
    left = Counter()
    for path in paths:
        file = pq.ParquetFile(path)
        names = tuple(file.schema_arrow.names)
        left.setdefault(names, ROWS)
        batch = next(file.iter_batches(max(left[names], 1)), None)
        if batch is not None and left[names] > 0:
            left[names] -= len(batch)
            yield pa.Table.from_batches([batch])


def count_changes(parts):
    """Count how each metric changes from one moment of a node to the next: {metric: (rises, falls,
    restarts)}.

    parts : {node: paths of its Parquet parts}. The first rows of the first nodes are looked at, so that the
    time does not grow with the window. A restart is a fall to less than half, as of a counter that begins
    anew or passes the end of its bits.
    """
    counts = {}
    for paths in list(parts.values())[:NODES]:
        for table in first_rows(paths):
            time = table["timestamp"].cast(pa.int64()).to_numpy()
            order = np.argsort(time, kind="stable")
            later = np.diff(time[order]) > 0
            for metric in [name for name in table.column_names if name not in ("timestamp", "job_id")]:
                values = table[metric].to_numpy()[order].astype(float)
                counted = changes_of(values, later)
                counts[metric] = counts.get(metric, np.zeros(3, int)) + counted
    return {metric: tuple(map(int, counted)) for metric, counted in counts.items()}


def changes_of(values, later):
    """Count rises, falls and restarts of the `values` of one node, float (n,): int (3,).

    later : bool (n - 1,), whether the next value is of a later moment. Missing values are passed over.
    """
    there = np.isfinite(values)
    moment = np.concatenate([[0], np.cumsum(later)])[there]
    values = values[there]
    step, later = np.diff(values), np.diff(moment) > 0
    restart = (step < 0) & (values[1:] < RESTART * values[:-1])
    return np.array(
        [((step > 0) & later).sum(), ((step < 0) & ~restart & later).sum(), (restart & later).sum()]
    )


def by_behaviour(changes, counters, gauges):
    """Find the metrics that behave otherwise than their names say: {metric: whether it is a counter}.

    changes : as `count_changes` gives them. A metric without a pattern that rises at least RISES times and
    hardly ever falls but to begin anew is a counter. One that is called a counter and falls often is a gauge:
    a percentage, or what its source has made a rate already. `gauges`, and a full name in `counters`, always
    hold.
    """
    found = {}
    for metric, (rises, falls, restarts) in changes.items():
        named = by_name(metric, counters, gauges)
        steady = falls <= FALLS_OF_A_COUNTER * rises and restarts <= RESTARTS_OF_A_COUNTER * rises
        total = rises + falls + restarts
        if metric in counters:
            continue
        if named and total >= CHANGES and falls + restarts > FALLS_OF_A_GAUGE * total:
            found[metric] = False
        elif rises >= RISES and steady and not named and not any(fnmatchcase(metric, one) for one in gauges):
            found[metric] = True
    return found


def behaviour_sentence(behaviour):
    """Say which metrics behave otherwise than they are called, {metric: whether it is a counter}."""
    kinds = {
        word: sorted(name for name in behaviour if behaviour[name] is kind)
        for word, kind in (("counters", True), ("gauges", False))
    }
    named = [
        f"{len(names):,} {word} ({', '.join(names[:6])}{' and others' if len(names) > 6 else ''})"
        for word, names in kinds.items()
        if names
    ]
    return (
        f"By their behaviour, not by their names, there are {' and '.join(named)}. A full name in `counters` "
        "or `gauges` decides otherwise."
    )
