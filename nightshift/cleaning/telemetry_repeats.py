"""Several rows for one moment of a node, from several sources or twice from one: which only repeat, which
contradict each other, and which files are one source.
"""

import numpy as np

COPY, CONTRADICTION, TOO_SOON = (
    "copy of another row",
    "other values at the same moment",
    "second sample within a sampling period",
)


def resolve_repeats(group, time, values):
    """Judge rows of one source that fall on the same job and moment, in the order of the source: (why,
    merged).

    group : int (n,), the same number for rows of one moment. time : float (n,), when each row was taken.
    values : float (n, M), NaN is missing. why : object (n,); "" for the first row of a group and for those
    that only fill its gaps, COPY for those that add nothing; where something measured differs, TOO_SOON for a
    row of another time, else CONTRADICTION. merged : float (n, M), the first row of each group with its gaps
    filled.
    """
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=np.nan) != 0)
    rank = np.empty(len(group), int)
    rank[order] = np.arange(len(group)) - np.repeat(begins, np.diff(np.append(begins, len(group))))
    base = np.empty(len(group), int)
    base[order] = np.repeat(order[begins], np.diff(np.append(begins, len(group))))
    why, merged = np.full(len(group), "", object), np.array(values, float)
    for k in range(1, int(rank.max(initial=0)) + 1):
        at = np.flatnonzero(rank == k)
        old, new = merged[base[at]], merged[at]
        differs = (np.isfinite(old) & np.isfinite(new) & (old != new)).any(axis=1)
        fills = (np.isnan(old) & np.isfinite(new)).any(axis=1)
        apart = time[at] != time[base[at]]
        why[at] = np.select([differs & apart, differs, fills], [TOO_SOON, CONTRADICTION, ""], COPY)
        kept = at[~differs & fills]
        merged[base[kept]] = np.where(np.isnan(merged[base[kept]]), merged[kept], merged[base[kept]])
    return why, merged


def group_parts(parts):
    """Group the parts of a node into sources: {name: list of keys}, where parts = [(key, names of its
    metrics)].

    Parts of the same samplers (what follows :: in a metric) that share a metric are one source; files with a
    metric each are sources of their own, since rows of the same moment in them are no repetitions. A source
    is called after its samplers, and after a metric where that is not enough.
    """
    groups = []  # [samplers, set of metrics, keys]
    for key, metrics in parts:
        samplers = ", ".join(sorted({name.partition("::")[2] for name in metrics}))
        joined = [
            one
            for one in groups
            if one[0] == samplers and (one[1] & set(metrics) or not metrics or not one[1])
        ]
        merged = [
            samplers,
            set(metrics).union(*(one[1] for one in joined)),
            [*(k for one in joined for k in one[2]), key],
        ]
        groups = [one for one in groups if one not in joined] + [merged]
    alone = [samplers for samplers, _, _ in groups]
    return {
        samplers if alone.count(samplers) == 1 else f"{samplers} {min(metrics, default='')}".strip(): keys
        for samplers, metrics, keys in groups
    }
