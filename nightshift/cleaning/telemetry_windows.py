"""Windows of a node with statistics of every metric, their labels, and clean rows of GPUs.

Labels     which of them a window carries                 clean_labels, label_windows
Windows    cut, described and written, node by node       cut_windows, covered, describe_windows, window_node
GPUs       impossible, repeated and contradicting rows    clean_gpus
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

from helpers import atomic
from nightshift.cleaning.telemetry import join_node
from nightshift.compiled import STATISTICS, window_statistics
from nightshift.detectors.telemetry_diagnosis import select_features
from nightshift.privacy import pseudonyms
from nightshift.sources.telemetry.dcgm import blank_impossible
from nightshift.sources.telemetry.trainings import WAIT

LABELS = ["app", "input", "anomaly", "part"]
WINDOW_KEYS = ["job_id", "node_id", *LABELS, "start", "end", "coverage"]
GPU_NUMBERS = ["utilisation_pct", "memory_used_mib", "memory_total_mib", "power_w", "temperature_c"]

# ----------------------------------------------------------------------------------------------------- Labels


def clean_labels(labels):
    """Sort labels, DataFrame job_id, node_id, app, input, anomaly, part, start, end, so that later ones beat
    earlier ones: those of whole runs first, then those of stretches.

    What is open becomes "" or a time before or after all others.
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

    labels : as `clean_labels` gives them. A label speaks of a job, of a node, of both, or of a stretch of
    time. A window carries the label of its last sample, since an alarm can be raised no earlier. A stretch
    beats the whole run, and a later label an earlier one; what a label leaves open, others may say.
    """
    job, last = windows.job_id.to_numpy(object), windows["last"].array
    # arrays: in columns of a frame, hundreds of labels took a fifth of the time of a node
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
    """Cut windows with enough samples: DataFrame job_id, start, end, coverage, last (time of the last
    sample), first (position on the grid), sorted by start.

    rows, runs : as `place_rows` gives them. present : bool (T,), which cells of the grid hold a sample.
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
    # the last sample knows its time, whether gaps are cut or not
    final = samples.iloc[np.searchsorted(samples.place, first + grid.window) - 1].reset_index(drop=True)
    since = pd.to_timedelta((final["index"] - (final.place - first)) * grid.sampling_s, unit="s")
    start = final.start + since
    end = start + pd.Timedelta(seconds=grid.window * grid.sampling_s)
    cut = pd.DataFrame({"job_id": final.job, "start": start, "end": end, "last": final.time})
    cut = cut.astype(dict.fromkeys(["start", "end", "last"], "datetime64[us, UTC]"))
    return cut.assign(coverage=coverage, first=first).sort_values(["start", "job_id"], ignore_index=True)


def covered(rows, windows, *, length, grid):
    """Tell which rows lie in a window: bool (n,); length : of the grid, samples."""
    edges = np.zeros(length + 1, int)
    np.add.at(edges, windows["first"], 1)
    np.add.at(edges, windows["first"] + grid.window, -1)
    return (rows.place >= 0) & (np.cumsum(edges)[rows.place] > 0)


def describe_windows(joined, grid):
    """Cut the windows of a node and describe them: (DataFrame as `cut_windows` gives it, names
    "<metric>|<statistic>", their values, float32 (names, windows)).

    joined : a node as `join_node` gives it.
    """
    rows, runs, metrics, values, _ = joined
    windows = cut_windows(rows, runs, present=np.isfinite(values).any(axis=0), grid=grid)
    # jobs may share a node: by place here, by start in the table
    order = np.argsort(windows["first"], kind="stable")
    statistics = np.empty((len(metrics), len(STATISTICS), len(windows)), "float32")
    computed = window_statistics(values.T, grid.window, starts=windows["first"].iloc[order])
    statistics[:, :, order] = computed.transpose(1, 2, 0)
    names = [f"{metric}|{name}" for metric in metrics for name in STATISTICS]
    return windows, names, statistics.reshape(len(names), -1)


class NodeWindows(NamedTuple):
    """What all nodes together need to know of the windows of one.

    keys : DataFrame of WINDOW_KEYS. rejected : node_id, job_id, reason, rows, first, last. kept : rows that
    are used. jobs : names of its jobs. events : wraps and resets of counters. medians : of each labelled run.
    ranges : DataFrame [metric] low, high.
    """

    keys: pd.DataFrame
    rejected: pd.DataFrame
    kept: int
    jobs: set
    events: np.ndarray
    medians: pd.DataFrame
    ranges: pd.DataFrame


def window_node(node, parts, *, labels, grid, target):
    """Write the windows of one node to the arrow file `target`, and give what all nodes together need to
    know: NodeWindows.

    Each window has its WINDOW_KEYS and, as "<metric>|<statistic>", float32, the STATISTICS of every metric.
    parts : of the node. labels : as `clean_labels` gives them.
    """
    joined = join_node(parts, grid)
    rows, _, metrics, values, events = joined
    windows, names, statistics = describe_windows(joined, grid)
    outside = (rows.place >= 0) & ~covered(rows, windows, length=values.shape[1], grid=grid)
    rows.loc[outside, "why"] = "in no whole window with enough samples"
    columns = dict(zip(names, statistics, strict=True))
    keys = label_windows(windows, node, labels=labels).assign(node_id=node)[WINDOW_KEYS]
    table = pa.table({name: pa.array(column) for name, column in {**keys, **columns}.items()})
    feather.write_feather(table, target, compression="uncompressed")
    medians = pd.DataFrame()  # of most nodes: no window of theirs has a label
    if len(labelled := table.filter(pa.array(keys.anomaly != ""))):
        by_run = labelled.to_pandas().groupby(["job_id", "node_id", "app", "anomaly"])
        medians = by_run[names].median().reset_index()
    rejected = rows[rows.why != ""].rename(columns={"job": "job_id", "why": "reason"})
    rejected = rejected.groupby(["job_id", "reason"]).time.agg(rows="size", first="min", last="max")
    low, high = (np.array([pick.reduce(x, initial=np.nan) for x in values]) for pick in (np.fmin, np.fmax))
    return NodeWindows(
        keys=keys,
        rejected=rejected.reset_index().assign(node_id=node),
        kept=int((rows.why == "").sum()),
        jobs=set(rows.job.unique()),
        events=events,
        medians=medians,
        ranges=pd.DataFrame({"low": low, "high": high}, metrics),
    )


def join_files(files, target, *, keys, features):
    """Join the windows of all nodes in one Parquet file, `target`, written atomically, one node at a time.

    files : arrow files of `window_node`. keys : DataFrame whose columns come first. features : those that are
    kept, float32; a node that lacks one has it missing.
    """
    schema = pa.Table.from_pandas(keys.head(0), preserve_index=False).schema.remove_metadata()
    schema = pa.schema([*schema, *(pa.field(name, pa.float32()) for name in features)])
    with atomic(target) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for file in files:
            windows = feather.read_table(file, memory_map=True)
            absent = pa.array(np.full(len(windows), np.nan, "float32"))
            there = set(windows.column_names)
            columns = [windows[name] if name in there else absent for name in schema.names]
            writer.write_table(pa.table(columns, schema.names).cast(schema))


def ranges_of_nodes(ranges):
    """Put the ranges of all nodes together: DataFrame [metric] low, high, nodes (that have it), sorted by
    metric.

    ranges : one DataFrame [metric] low, high per node. No node gives no row.
    """
    none = pd.DataFrame(columns=["low", "high"], dtype=float)
    together = pd.concat([none, *ranges]).rename_axis("metric")
    return together.groupby(level=0).agg(low=("low", "min"), high=("high", "max"), nodes=("low", "count"))


def telling_features(medians, features, false_discovery_rate):
    """Select the features that tell an anomaly from healthy runs, as `select_features` does, which all nodes
    together show: DataFrame [feature, (app, anomaly)].

    medians : one DataFrame per node, of its labelled runs. Without runs or features there is no column.
    """
    together = pd.concat(medians, ignore_index=True) if medians else pd.DataFrame()
    if not len(together) or not features:
        return pd.DataFrame(index=features)
    together = together.reindex(columns=["job_id", "node_id", "app", "anomaly", *features])
    return select_features(together, features, false_discovery_rate)


class RunSamples(NamedTuple):
    """The samples of one metric in one run.

    values : Series [time], NaN in each gap, so that no line is drawn over it. seen : how many there are of a
    `span` of how many.
    """

    metric: str
    values: pd.Series
    seen: int
    span: int


def most_measured(joined, job, *, metrics, sampling_s):
    """Choose the metric of which a run has most samples: its RunSamples.

    joined : a node as `join_node` gives it. metrics : those that are chosen from. sampling_s : step of the
    grid, s.
    """
    rows, _, names, values, _ = joined
    of_job = rows[(rows.job == job) & (rows.place >= 0)]
    of_job = of_job.drop_duplicates("index").set_index("index").sort_index()
    shared = {*metrics} & {*names}
    counts = {name: np.isfinite(values[names.index(name), of_job.place]).sum() for name in shared}
    metric = max(counts, key=lambda name: (counts[name], name))
    samples = pd.Series(values[names.index(metric), of_job.place], of_job.index)
    seen, span = int(samples.count()), int(of_job.index[-1] - of_job.index[0]) + 1
    gaps = samples.index[np.diff(samples.index, append=np.inf) > 1] + 1
    samples = samples.reindex(samples.index.union(gaps))
    samples.index = of_job.start.iloc[0] + pd.to_timedelta(samples.index * sampling_s, unit="s")
    return RunSamples(metric, samples, seen, span)


def first_of(names, n):
    """Write the first `n` names, and whether there are others."""
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
