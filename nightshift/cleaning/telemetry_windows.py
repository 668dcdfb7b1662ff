"""Windows of a node with statistics of every metric, their labels, and clean rows of GPUs.

Labels     which of them a window carries                 clean_labels, label_windows
Windows    cut, described and written, node by node       cut_windows, covered, describe_windows, window_node
GPUs       impossible, repeated and contradicting rows    clean_gpus
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import feather

from nightshift.cleaning.telemetry import NO_DAY, join_tables
from nightshift.cleaning.telemetry_parts import read_sources
from nightshift.compiled import STATISTICS, window_statistics
from nightshift.detectors.telemetry_diagnosis import select_features
from nightshift.privacy import pseudonyms
from nightshift.sources.telemetry.dcgm import blank_impossible
from nightshift.sources.telemetry.trainings import WAIT
from nightshift.sources.times import DAY_US

LABELS = ["app", "input", "anomaly", "part"]
RUN = ["job_id", "day"]  # of one node
OF_MEDIANS = ["job_id", "node_id", "app", "anomaly"]
WINDOW_KEYS = ["job_id", "node_id", *LABELS, "start", "end", "coverage"]
KEY_TYPES = dict.fromkeys(WINDOW_KEYS, pa.string()) | {"coverage": pa.float64()}
KEY_TYPES |= dict.fromkeys(["start", "end"], pa.timestamp("us", "UTC"))
GPU_NUMBERS = ["utilisation_pct", "memory_used_mib", "memory_total_mib", "power_w", "temperature_c"]

# ----------------------------------------------------------------------------------------------------- Labels


def clean_labels(labels):
    """Sort labels, DataFrame job_id, node_id, app, input, anomaly, part, start, end, so that later ones beat
    earlier ones: those of whole runs first, then those of stretches.

    A missing text becomes "", a missing start or end a time before or after all others.
    """
    texts = ["job_id", "node_id", *LABELS]
    labels = labels.copy()
    labels[texts] = labels[texts].astype("str").fillna("").replace({"nan": "", "None": ""})
    stretch = labels.start.notna() | labels.end.notna()
    labels["start"] = pd.to_datetime(labels.start, utc=True).fillna(pd.Timestamp("1700-01-01", tz="UTC"))
    labels["end"] = pd.to_datetime(labels.end, utc=True).fillna(pd.Timestamp("2200-01-01", tz="UTC"))
    return pd.concat([labels[~stretch], labels[stretch]], ignore_index=True)


def label_windows(windows, node, *, labels):
    """Add app, input, anomaly and part to the windows of a node, DataFrame job_id, last; "" is unknown.

    labels : as `clean_labels` gives them. A label is about a job, a node, both, or a stretch of time. A
    window carries the label of its last sample, since an alarm can be raised no earlier. The label of a
    stretch beats that of a whole run, and a later label an earlier one; what a label leaves open is taken
    from others.
    """
    job, last = windows.job_id.to_numpy(object), windows["last"].array
    # as arrays, since setting columns of a frame for hundreds of labels took a fifth of the time of a node
    cells = {name: np.full(len(windows), "", object) for name in LABELS}
    of_node = labels.node_id.isin([node, ""]) & labels.job_id.isin([*windows.job_id.unique(), ""])
    for label in labels[of_node].itertuples() if of_node.any() else ():
        of_job = (job == label.job_id) | (label.job_id == "")
        labelled = of_job & (last >= label.start) & (last < label.end)
        for name in [name for name in LABELS if getattr(label, name)]:
            cells[name][labelled] = getattr(label, name)
    return windows.assign(**{name: pd.Series(cells[name], windows.index, dtype="str") for name in LABELS})


# ---------------------------------------------------------------------------------------------------- Windows


def cut_windows(rows, runs, *, present, grid):
    """Cut windows with enough samples: DataFrame job_id, day, start, end, coverage, last (time of the last
    sample), first (position on the grid), sorted by start.

    rows, runs : as `place_rows` gives them. present : bool (T,), which cells of the grid hold a sample.
    Windows without a job begin on their day, and may reach into the next one.
    """
    starts = [
        np.arange(0, n - grid.window + 1, grid.step) + at
        for at, n in zip(runs.offset, runs.length, strict=True)
    ]
    first = np.concatenate([np.zeros(0, int), *starts])
    counted = np.append(0, np.cumsum(present))
    coverage = (counted[first + grid.window] - counted[first]) / grid.window
    enough = coverage >= grid.least_coverage
    first, coverage = first[enough], coverage[enough]
    placed = rows[rows.place >= 0]
    samples = (
        placed[present[placed.place]].sort_values(["place", "time"]).drop_duplicates("place", keep="last")
    )
    # times are counted from the last sample, so that they are right where gaps were shortened, too
    final = samples.iloc[np.searchsorted(samples.place, first + grid.window) - 1].reset_index(drop=True)
    since = pd.to_timedelta((final["index"] - (final.place - first)) * grid.sampling_s, unit="s")
    start = final.start + since
    end = start + pd.Timedelta(seconds=grid.window * grid.sampling_s)
    cut = pd.DataFrame(
        {"job_id": final.job, "day": final.day, "start": start, "end": end, "last": final.time}
    )
    cut = cut.astype(dict.fromkeys(["start", "end", "last"], "datetime64[us, UTC]"))
    cut = cut.assign(coverage=coverage, first=first)
    cut = cut[(cut.day == NO_DAY) | (day_of(cut.start) == cut.day)]
    return cut.sort_values(["start", "job_id"], ignore_index=True)


def day_of(moments):
    """The days of a Series of moments, since 1970: int (n,)."""
    return moments.astype("datetime64[us, UTC]").astype("int64").to_numpy() // DAY_US


def covered(rows, windows, *, length, grid):
    """Tell which rows lie in a window: bool (n,); length : of the grid, samples."""
    edges = np.zeros(length + 1, int)
    np.add.at(edges, windows["first"], 1)
    np.add.at(edges, windows["first"] + grid.window, -1)
    return (rows.place >= 0) & (np.cumsum(edges)[rows.place] > 0)


def describe_windows(joined, grid):
    """Cut the windows of a node and describe them: (DataFrame as `cut_windows` gives it, names
    "<metric>|<statistic>", their values, float32 (names, windows)).

    joined : a node as `join_tables` gives it.
    """
    rows, runs, metrics, values = joined
    windows = cut_windows(rows, runs, present=np.isfinite(values).any(axis=0), grid=grid)
    # jobs may share a node: by place here, by start in the table
    order = np.argsort(windows["first"], kind="stable")
    statistics = np.empty((len(metrics), len(STATISTICS), len(windows)), "float32")
    computed = window_statistics(values.T, grid.window, starts=windows["first"].iloc[order])
    statistics[:, :, order] = computed.transpose(1, 2, 0)
    names = [f"{metric}|{name}" for metric in metrics for name in STATISTICS]
    return windows, names, statistics.reshape(len(names), -1)


class NodeWindows(NamedTuple):
    """What all nodes together need to know of the windows of one, run by run: each table has node_id, job_id
    and day of the run, day NO_DAY for that of a job.

    runs : kept (rows that are used), wraps and resets of counters, first_day and last_day on which windows
    begin (NO_DAY where there is none). rejected : reason, rows, first, last. medians : of each labelled run,
    with app and anomaly. ranges : metric, low, high.
    """

    runs: pd.DataFrame
    rejected: pd.DataFrame
    medians: pd.DataFrame
    ranges: pd.DataFrame


def window_node(node, sources, runs=None, *, labels, grid, target):
    """Write the windows of one node to the arrow file `target`, and give what all nodes together need to
    know: NodeWindows.

    Each window has its WINDOW_KEYS and, as "<metric>|<statistic>", float32, the STATISTICS of every metric.
    sources : of the node, as `sources_of` gives them. runs : those that are cut, pairs of job and day; all by
    default. labels : as `clean_labels` gives them.
    """
    joined = join_tables(read_sources(sources, runs), grid, runs)
    rows, _, _, values = joined
    windows, names, statistics = describe_windows(joined, grid)
    outside = (rows.place >= 0) & ~covered(rows, windows, length=values.shape[1], grid=grid)
    rows.loc[outside, "why"] = "in no whole window with enough samples"
    keys = label_windows(windows, node, labels=labels).assign(node_id=node)
    columns = {name: pa.array(keys[name], kind) for name, kind in KEY_TYPES.items()}
    table = pa.table(columns | dict(zip(names, map(pa.array, statistics), strict=True)))
    feather.write_feather(table, target, compression="uncompressed")
    rows = rows[~rows.ahead].rename(columns={"job": "job_id", "why": "reason"})
    rejected = rows[rows.reason != ""].groupby([*RUN, "reason"], as_index=False)
    found = NodeWindows(
        runs=summarise_runs(rows, windows),
        rejected=rejected.time.agg(rows="size", first="min", last="max"),
        medians=medians_of_runs(table, keys, names),
        ranges=ranges_of_runs(joined),
    )
    return NodeWindows(*(frame.assign(node_id=node) for frame in found))


def summarise_runs(rows, windows):
    """Count what became of each run: DataFrame job_id, day, kept, wraps, resets, first_day, last_day."""
    begin = windows.assign(begin=day_of(windows.start)).groupby(RUN).begin.agg(["min", "max"])
    counted = rows.assign(kept=rows.reason == "").groupby(RUN)[["kept", "wraps", "resets"]].sum()
    begin = begin.reindex(counted.index).fillna(NO_DAY).astype(int)
    return counted.assign(first_day=begin["min"], last_day=begin["max"]).reset_index()


def medians_of_runs(table, keys, names):
    """Find the median of each labelled run: DataFrame job_id, day, app, anomaly and the features `names`.

    table, keys : the windows, as Arrow table and as DataFrame with their day.
    """
    labelled = keys.anomaly != ""
    if not labelled.any():  # on most nodes
        return pd.DataFrame(columns=[*RUN, "app", "anomaly"])
    features = table.select(names).filter(pa.array(labelled)).to_pandas()
    by_run = [keys.loc[labelled, name].to_numpy() for name in (*RUN, "app", "anomaly")]
    medians = features.groupby(by_run).median()
    return medians.rename_axis([*RUN, "app", "anomaly"]).copy().reset_index()


def ranges_of_runs(joined):
    """Find the least and largest value of each metric in each run: DataFrame job_id, day, metric, low, high;
    no row where it has none. joined : a node as `join_tables` gives it.
    """
    _, runs, metrics, values = joined
    if not len(runs) or not metrics:
        return pd.DataFrame(columns=[*RUN, "metric", "low", "high"])
    low, high = (pick.reduceat(values, runs.offset, axis=1) for pick in (np.fmin, np.fmax))  # (M, R)
    metric, run = np.nonzero(~np.isnan(low))
    found = runs.iloc[run].rename(columns={"job": "job_id"})[RUN].reset_index(drop=True)
    return found.assign(
        metric=np.array(metrics, object)[metric], low=low[metric, run], high=high[metric, run]
    )


def ranges_of_metrics(ranges):
    """Put the ranges of all runs together: DataFrame [metric] low, high, nodes (that have it), sorted by
    metric. ranges : DataFrame node_id, metric, low, high.
    """
    return ranges.groupby("metric").agg(
        low=("low", "min"), high=("high", "max"), nodes=("node_id", "nunique")
    )


def telling_features(medians, features, false_discovery_rate):
    """Select the features that tell an anomaly from healthy runs, as `select_features` does: DataFrame
    [feature, (app, anomaly)].

    medians : of labelled runs, DataFrame job_id, node_id, app, anomaly and features; of a node without jobs,
    the days are one run. Without runs or features there is no column.
    """
    if not len(medians) or not features:
        return pd.DataFrame(index=features)
    by_run = medians.reindex(columns=[*OF_MEDIANS, *features]).groupby(OF_MEDIANS)
    runs = by_run.median().copy().reset_index()  # a copy, whose columns are one block
    return select_features(runs, features, false_discovery_rate)


class RunSamples(NamedTuple):
    """The samples of one metric in one run.

    values : Series [time], NaN in each gap, so that no line is drawn over it. seen : how many there are of a
    `span` of how many.
    """

    metric: str
    values: pd.Series
    seen: int
    span: int


def most_measured(sources, run, grid, *, metrics):
    """Choose the metric of which a run has most samples: its RunSamples.

    sources : of its node, as `sources_of` gives them. run : pair of job and day. metrics : those that are
    chosen from.
    """
    rows, _, names, values = join_tables(read_sources(sources, [run]), grid, [run])
    of_job = rows[(rows.place >= 0) & ~rows.ahead]
    of_job = of_job.drop_duplicates("index").set_index("index").sort_index()
    shared = {*metrics} & {*names}
    counts = {name: np.isfinite(values[names.index(name), of_job.place]).sum() for name in shared}
    metric = max(counts, key=lambda name: (counts[name], name))
    samples = pd.Series(values[names.index(metric), of_job.place], of_job.index)
    seen, span = int(samples.count()), int(of_job.index[-1] - of_job.index[0]) + 1
    gaps = samples.index[np.diff(samples.index, append=np.inf) > 1] + 1
    samples = samples.reindex(samples.index.union(gaps))
    samples.index = of_job.start.iloc[0] + pd.to_timedelta(samples.index * grid.sampling_s, unit="s")
    return RunSamples(metric, samples, seen, span)


def first_of(names, n):
    """Write the first `n` of `names`, and whether there are others, as text."""
    return ", ".join(list(names)[:n]) + (" and others" if len(names) > n else "")


# ------------------------------------------------------------------------------------------------------- GPUs


def clean_gpus(gpus, window_end, *, show_users=False):
    """Clean rows of GPUs: (clean rows, sorted; rejected ones, counted by node_id, job_id and reason;
    {quantity: number of impossible values, which are missing now}).

    gpus : DataFrame timestamp, node_id, gpu, job_id, user, GPU_NUMBERS, and WAIT if the source has it. Users
    become `pseudonyms`, unless they are to be shown. Rows without time, node or number of the GPU, after
    `window_end`, or of a moment of which there is one already are rejected.
    """
    gpus = gpus.assign(**{WAIT: gpus.get(WAIT, np.nan)})
    gpus = gpus.astype({"timestamp": "datetime64[us, UTC]"} | dict.fromkeys([*GPU_NUMBERS, WAIT], float))
    for name in ("node_id", "gpu", "job_id", "user"):
        gpus[name] = gpus[name].astype("str").where(gpus[name].notna(), "")
    gpus, blanked = blank_impossible(gpus)
    impossible = {
        "GPU: no time": gpus.timestamp.isna(),
        "GPU: no node or no number": (gpus.node_id == "") | (gpus.gpu == ""),
        "GPU: after the window": gpus.timestamp >= window_end,
    }
    possible = ~np.logical_or.reduce([bad.to_numpy(bool) for bad in impossible.values()])
    moment = gpus.assign(possible=possible)[["node_id", "gpu", "timestamp", "possible"]]
    again, held_again, copies = (
        moment.join(gpus[more]).duplicated() & possible
        for more in ([], ["job_id", "user"], ["job_id", "user", *GPU_NUMBERS])
    )
    repeats = {
        "GPU: copy of another row": copies,
        "GPU: other values at the same moment": held_again,
        "GPU: held by another job at the same moment": again,
    }
    reasons = impossible | repeats
    why = np.select(list(reasons.values()), list(reasons), "")
    by_reason = gpus[why != ""].assign(reason=why[why != ""]).groupby(["node_id", "job_id", "reason"])
    rejected = by_reason.timestamp.agg(rows="size", first="min", last="max").reset_index()
    clean = gpus[why == ""] if show_users else gpus[why == ""].assign(user=pseudonyms(gpus.user)[0])
    clean = clean.sort_values(["node_id", "gpu", "timestamp"], ignore_index=True)
    assert rejected.rows.sum() + len(clean) == len(gpus), "a row of a GPU is lost"
    return clean, rejected, blanked
