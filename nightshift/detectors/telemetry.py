"""Rules of the telemetry study that are worth a test of their own: repeated rows, sites of nodes, what so
little history can tell.
"""

import re

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
    that only fill its gaps, COPY for those that add nothing, TOO_SOON for those of another time,
    CONTRADICTION where something measured differs. merged : float (n, M), the first row of each group with
    its gaps filled.
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


def check_site_pattern(pattern):
    """ValueError of one line when `pattern` is no regular expression with a group that names the site; an
    empty one names none.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"site_pattern {pattern!r} is no regular expression: {error}") from None
    if pattern and not groups:
        raise ValueError(f"site_pattern {pattern!r} has no group, such as (.+), that names the site")


def site_of(node, pattern):
    """The site of a node, in capitals: the first group of the regular expression `pattern`, which begins
    where the name does; "" where none fits.
    """
    found = re.match(pattern, node) if pattern else None
    return (found[1] or "").upper() if found else ""


def unmatched_pattern(nodes, pattern):
    """One sentence when `pattern` names the site of none of the `nodes`; "" where it names one, or there
    is no node or pattern.
    """
    nodes = [node for node in nodes if node]
    if not pattern or not nodes or any(site_of(node, pattern) for node in nodes):
        return ""
    return (
        f"site_pattern {pattern!r} names the site of none of {len(nodes)} nodes, such as {nodes[0]}: their "
        "findings belong to no site."
    )


def little_history(n_calibration, alarm_rate, alone, nodes):
    """Say why nothing can be found tonight, in one sentence, and what would be enough; "" where something
    can.

    n_calibration : healthy windows that judge the others. alone : incidents that must be as strange at once
    before one is kept. nodes : number of judged nodes; where more than half of them would have to misbehave
    at once, the trouble of one is never found.
    """
    needed = int(np.ceil(1 / alarm_rate - 1e-9)) - 1
    if n_calibration < needed:
        return (
            f"no window can be flagged: {n_calibration:,} healthy windows to compare with make no p-value as "
            "small as the alarm rate of "
            f"{alarm_rate:.2%}; it takes {needed:,}, that is more healthy days or labels"
        )
    if nodes and alone > max(nodes / 2, 1):
        return (
            f"no trouble of one node can be told from chance: with {n_calibration:,} healthy windows to "
            f"compare with, {alone:,} incidents must "
            f"be as strange at once on {nodes:,} node{'s' if nodes > 1 else ''}; about "
            f"{n_calibration * alone:,} healthy windows would be enough"
        )
    return ""


def effective(n_hits, n, *, length_s, step_s, smoothing=1):
    """(hits, number) of independent windows among `n` that overlap and whose scores are averaged over
    `smoothing` of them.
    """
    share = max((length_s + (smoothing - 1) * step_s) / step_s, 1.0) if step_s > 0 else 1.0
    return n_hits / share, n / share


def too_few_to_train(windows, usable, *, unlabelled, day, judged_days):
    """Say why nothing can be learned from the windows `usable`, in one sentence; "" where something can.

    windows : all of them. usable : those that may teach, DataFrame truth ("none" is healthy), job_id.
    unlabelled : whether all windows are of the judged days and none has a label.
    """
    healthy = usable[usable.truth == "none"]
    if not len(windows):
        return f"there is no window: no run up to {day} is long enough for one"
    if unlabelled:
        return (
            f"all {len(windows):,} windows lie in the {judged_days:g} days that are judged, so none is "
            "left to learn from; it takes more days"
        )
    if healthy.job_id.nunique() == 1 and healthy.job_id.iloc[0]:
        return (
            f"the {len(healthy):,} healthy windows are all of one job, which cannot both teach and test; "
            "it takes the windows of another job"
        )
    if len(healthy) > 9:
        return ""
    return f"{len(healthy):,} healthy windows are too few to teach and to test; it takes ten at least"
