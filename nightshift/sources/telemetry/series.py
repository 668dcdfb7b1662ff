"""Series with labels, as monitoring systems write them to files: which node, metric and device each is of,
and what becomes of them in an extraction.

Labels    the node, the job, and the name of a metric         node_in, job_in, metric_in
Rows      of nodes and of GPUs                                extract_series
"""

import shutil
from collections import Counter
from functools import partial
from sys import intern

import numpy as np
import pandas as pd
import pyarrow as pa

from nightshift.sources.prometheus import SCRAPE_LABELS, node_of
from nightshift.sources.telemetry import dcgm
from nightshift.sources.telemetry.long_rows import turned
from nightshift.sources.telemetry.parts import TOO_LONG, is_too_long, write_gpus
from nightshift.sources.telemetry.series_rows import SeriesRows
from nightshift.sources.telemetry.tables import MANY_INSTANCES
from nightshift.sources.telemetry.turning import write_turned

NODE_LABELS = ["nodename", "node", "hostname", "Hostname", "host"]  # where there is no `node_label`
JOB_LABELS = ["hpc_job", "slurm_job_id", "slurmjobid", "jobid", "job_id"]  # where there is no `job_label`
ADDED_UP = {"cpu", "core"}  # labels whose values are added up: a node has hundreds of them
OF_A_GPU = {"gpu", "gpu_id", "UUID", "uuid"}  # labels of series that are none of a node
LOOPBACK = {"device": "lo", "interface": "lo"}  # left out: what a node sends to itself
HISTOGRAM = {"le", "quantile"}  # labels of the buckets of a histogram


def node_in(labels, node_label):
    """The node that a series of a file belongs to; ValueError of one line where no label names it."""
    named = next((name for name in [node_label, *NODE_LABELS] if labels.get(name)), None)
    if named is None:
        raise ValueError(
            f"a series has no label that names its node, but {', '.join(labels) or 'none'}: put the file "
            f"into a folder {node_label}=NAME, or name such a label as node_label"
        )
    return node_of(labels, named)


def job_in(labels, job_label):
    """The job that a series is of, None where no label names one."""
    return next((labels[name] for name in [job_label, *JOB_LABELS] if name and labels.get(name)), None)


def metric_in(labels, keys):
    """(name of the metric of a series, what tells its device or mode apart, "" where nothing does).

    keys : names of labels that say whose series it is. :: in either becomes a single colon, and of the second
    80 letters are kept.
    """
    no_device = {"__name__", *keys, *SCRAPE_LABELS, *NODE_LABELS, *JOB_LABELS, *ADDED_UP}
    other = [labels[name] for name in sorted(labels) if name not in no_device and labels[name] != ""]
    name, device = labels.get("__name__", ""), "/".join(other)
    return name.replace("::", ":"), device.replace("::", ":").replace("|", "_")[:80]


def why_left_out(labels):
    """Why a series is none of a node, "" where it is one."""
    if HISTOGRAM & set(labels):
        return "buckets of histograms"
    if OF_A_GPU & set(labels):
        return "other metrics of GPUs"
    return "the loopback interface" if any(labels.get(name) == one for name, one in LOOPBACK.items()) else ""


def extract_series(extraction, series, *, where, sampler, server):
    """Add series to an extraction: metrics of nodes, and those of GPUs that `dcgm` knows.

    series : iterable of (labels, times in s since 1970, values), "__name__" among the labels; a series may
    come in several pieces. server : names the labels, `node_label` and `job_label`. Buckets of histograms,
    the loopback interface and other metrics of GPUs are left out; times that are none become a bad line.
    ValueError where there is none, one names no node, or most times cannot be read.
    """
    folder, left_out = extraction.folder, set()
    nodes = SeriesRows(folder / "series", partial(series_of_node, server=server))
    gpus = SeriesRows(folder / "series of gpus", partial(series_of_gpu, server=server))
    window = [moment.value // 1000 for moment in extraction.window]
    for labels, at, values in series:
        if labels.get("__name__") in dcgm.SERIES:
            n_timed, _ = gpus.add(labels, at, values, window=(-np.inf, np.inf), counted=window)
            note_untimed(extraction, labels, len(values) - n_timed, where=where)
        elif why := why_left_out(labels):
            left_out.add((why, hash(tuple(sorted(labels.items())))))
        elif is_too_long(node_in(labels, server.node_label)):
            extraction.bad_lines.append((where, 0, TOO_LONG, str(labels)[:500]))
        else:
            add_values(extraction, nodes, labels, at, values=values, window=window, where=where)
    if not (nodes.of or gpus.of or left_out):
        raise ValueError("it holds no series: ask for a range of time in which there are values")
    extraction.left_out.update(why for why, _ in left_out)
    nodes.check_times()
    gpus.check_times()
    extraction.counts["unreadable"] += nodes.n_infinite + gpus.n_infinite
    if nodes.n_timed:
        extraction.reaches(*(pd.Timestamp(int(us), unit="us", tz="UTC") for us in (nodes.first, nodes.last)))
    write_series(extraction, nodes, where=where, sampler=sampler)
    write_gpu_series(extraction, gpus, where=where)


def series_of_node(labels, *, server):
    """(node, (job, name of the metric, device)) of a series of a node."""
    node, job = node_in(labels, server.node_label), job_in(labels, server.job_label)
    metric, device = metric_in(labels, {server.node_label, server.job_label})
    return intern(node), (job and intern(job), intern(metric), intern(device))


def series_of_gpu(labels, *, server):
    """(host, (GPU, job, user, metric)) of a series of a GPU."""
    host = dcgm.host_of(labels) or node_in(labels, server.node_label)
    job = dcgm.first_label(labels, "job_id") or labels.get(server.job_label)
    return host, (dcgm.number_of(labels), job, dcgm.first_label(labels, "user"), labels["__name__"])


def add_values(extraction, nodes, labels, at, *, values, window, where):
    """Add values of a series to the SeriesRows `nodes`, and count them."""
    n_timed, outside = nodes.add(labels, at, values, window=window)
    extraction.counts["placed"] += n_timed
    extraction.counts["outside"] += outside
    note_untimed(extraction, labels, len(values) - n_timed, where=where)


def note_untimed(extraction, labels, n, *, where):
    """Note `n` values of a series whose times are none as one bad line."""
    if n:
        extraction.bad_lines.append((where, 0, f"{n} without time", str(labels)[:500]))


def crowded_metrics(extraction, nodes):
    """Find the metrics with more than MANY_INSTANCES devices on a node, a set, and say so."""
    devices = Counter()
    for node, metric, _ in {(node, *of[1:]) for node, of in zip(nodes.rows.node, nodes.of, strict=True)}:
        devices[node, metric] += 1
    crowded = {metric for (_, metric), n in devices.items() if n > MANY_INSTANCES}
    if crowded:
        named = ", ".join(sorted(crowded)[:4])
        extraction.warn(
            f"There are more than {MANY_INSTANCES} devices on a node in {named}: these are added up."
        )
    return crowded


def write_series(extraction, nodes, *, where, sampler):
    """Write the SeriesRows of nodes as parts, one row per job and moment; values of one name at one moment
    are added up, and so are all devices of a metric that has more than MANY_INSTANCES on a node.
    """
    crowded, names = crowded_metrics(extraction, nodes), list(nodes.rows.nodes)
    series = [
        (
            names[node],
            job,
            (metric if metric in crowded or not device else f"{metric}.{device}") + f"::{sampler}",
        )
        for node, (job, metric, device) in zip(nodes.rows.node, nodes.of, strict=True)
    ]
    for number in nodes.copies:
        extraction.asked_twice[series[number][0]] = nodes.differ(number)
    write_turned(extraction, nodes.rows, series, where=where, how="sum", clean=nodes.which_count())


def write_gpu_series(extraction, gpus, *, where):
    """Write the SeriesRows of GPUs as rows of GPUs in the units of `dcgm`; of several metrics for one
    quantity the best counts.
    """
    quantities, keys = list(dcgm.EXPORTED), {}
    found = [(*dcgm.SERIES[metric], keys.setdefault((*of,), len(keys))) for *of, metric in gpus.of]
    found = pd.DataFrame(found, columns=["quantity", "factor", "rank", "key"])
    found["quantity"] = found.quantity.map(quantities.index)
    texts = pd.DataFrame(list(keys), columns=["gpu", "job_id", "user"], dtype=object)
    layout = {name: name for name in ["timestamp", "node_id", *texts, *quantities]}
    counting = gpus.which_count()
    for host in gpus.rows.nodes:
        pages = (
            (1, gpu_page(host, at, texts.iloc[some], dict(zip(quantities, table.T, strict=True))))
            for rows in map(counting, gpus.rows.parts(host))
            for at, some, table in turned_gpus(rows, found, len(quantities))
        )
        write_gpus(extraction, pages, layout=layout, where=where)
    shutil.rmtree(gpus.rows.folder)


def turned_gpus(rows, found, n):
    """Yield what `turned` yields of rows of GPUs, with `n` quantities in our units as columns.

    found : DataFrame quantity (its number), factor, rank, key by the number of the series.
    """
    of = found.iloc[rows["series"]].reset_index(drop=True)
    rows["value"] *= of.factor.to_numpy(float)
    order = np.argsort(of["rank"].to_numpy(), kind="stable")
    rows, of = rows[order], of.iloc[order]
    return turned(rows, of.key.to_numpy(int), of.quantity.to_numpy(int), n_columns=n, how="first")


def gpu_page(host, at, texts, values):
    """An Arrow table of GPUs of one host: times in us since 1970, texts (DataFrame), {quantity: values}."""
    columns = {
        "timestamp": pa.array(at, pa.timestamp("us", "UTC")),
        "node_id": pa.array([host] * len(at), pa.string()),
    }
    columns |= {name: pa.array(texts[name], pa.string(), from_pandas=True) for name in texts}
    return pa.table(columns | values)
