"""Series with labels, as monitoring systems write them to files: which node, metric and device each is of,
and what becomes of them in an extraction.

Labels    the node, the job, and the name of a metric         node_in, job_in, metric_in
Copies    one series of each metric, however often scraped    without_copies
Rows      of nodes and of GPUs                                extract_series
"""

from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa

from nightshift.runs import warn
from nightshift.sources.prometheus import SCRAPE_LABELS, node_of
from nightshift.sources.telemetry import dcgm
from nightshift.sources.telemetry.parts import GPU_TEXTS, write_gpus, write_long
from nightshift.sources.telemetry.tables import MANY_INSTANCES

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

    keys : labels that say whose series it is.
    """
    no_device = {"__name__", *keys, *SCRAPE_LABELS, *NODE_LABELS, *JOB_LABELS, *ADDED_UP}
    other = [labels[name] for name in sorted(labels) if name not in no_device and labels[name] != ""]
    name, device = labels.get("__name__", ""), "/".join(other)
    return name.replace("::", ":"), device.replace("::", ":").replace("|", "_")[:80]


def without_copies(members):
    """Put the copies of one series together: (times, values, labels in which they differ, none where there is
    one).

    members : [(labels, times float (n,), values float (n,))]. Two who scrape one node do so at different
    moments, so the copy with most values counts, and of the others what lies a step or more before its first
    or after its last moment.
    """
    members = sorted(
        joined(members), key=lambda one: (-len(one[1]), len(one[0]), str(sorted(one[0].items())))
    )
    _, at, values = members[0]
    step = np.median(np.diff(np.sort(at))) if len(at) > 1 else 0.0
    for _, later, more in members[1:]:
        outside = (later < at.min() - step) | (later > at.max() + step)
        at, values = np.concatenate([at, later[outside]]), np.concatenate([values, more[outside]])
    names = sorted({name for labels, _, _ in members for name in labels})
    differ = [name for name in names if len({labels.get(name) for labels, _, _ in members}) > 1]
    return at, values, differ


def joined(members):
    """Join what has the same labels, such as one series in several answers: [(labels, times, values)], each
    time once.
    """
    pieces = {}
    for labels, at, values in members:
        pieces.setdefault(tuple(sorted(labels.items())), []).append((at, values))
    whole = []
    for labels, parts in pieces.items():
        at, first = np.unique(np.concatenate([at for at, _ in parts]), return_index=True)
        whole.append((dict(labels), at, np.concatenate([values for _, values in parts])[first]))
    return whole


def copies_apart(labels):
    """What a series is, apart from who scrapes it: a key of the same for all its copies."""
    return tuple(sorted((name, value) for name, value in labels.items() if name not in SCRAPE_LABELS))


def why_left_out(labels):
    """Why a series is none of a node, "" where it is one."""
    if HISTOGRAM & set(labels):
        return "buckets of histograms"
    if OF_A_GPU & set(labels):
        return "other metrics of GPUs"
    return "the loopback interface" if any(labels.get(name) == one for name, one in LOOPBACK.items()) else ""


def extract_series(extraction, series, *, where, sampler, server):
    """Add series to an extraction: metrics of nodes, and those of GPUs that `dcgm` knows.

    series : iterable of (labels, times in s since 1970, values), "__name__" among the labels. server : names
    the labels, `node_label` and `job_label`. Buckets of histograms, the loopback interface and other metrics
    of GPUs are left out. ValueError where there is none, or one names no node.
    """
    of_nodes, of_gpus, n_left_out = {}, {}, 0
    for labels, at, values in series:
        if labels.get("__name__") in dcgm.SERIES:
            of_gpus.setdefault(copies_apart(labels), []).append((labels, at, values))
        elif why := why_left_out(labels):
            extraction.left_out[why] += 1
            n_left_out += 1
        else:
            of_nodes.setdefault(copies_apart(labels), []).append((labels, at, values))
    if not (of_nodes or of_gpus or n_left_out):
        raise ValueError("it holds no series: ask for a range of time in which there are values")
    if of_nodes:
        long = long_frame(extraction, of_nodes, sampler=sampler, server=server)
        write_series(extraction, long, where=where)
    if of_gpus:
        write_gpu_series(extraction, of_gpus, where=where, server=server)


def long_frame(extraction, groups, *, sampler, server):
    """Make a DataFrame timestamp, node_id, job_id, name, value of the copies in `groups`; of metrics with
    more than MANY_INSTANCES devices on a node, the sum is kept.
    """
    pieces, keys = [], {server.node_label, server.job_label}
    for members in groups.values():
        at, values, differ = without_copies(members)
        labels = members[0][0]
        node, job = node_in(labels, server.node_label), job_in(labels, server.job_label)
        if differ:
            extraction.asked_twice[node] = differ
        pieces.append((node, job, *metric_in(labels, keys), at, values))
    crowded = crowded_metrics(pieces)
    frames = [
        {
            "timestamp": at,
            "node_id": node,
            "job_id": job,
            "name": (metric if metric in crowded or not device else f"{metric}.{device}") + f"::{sampler}",
            "value": values,
        }
        for node, job, metric, device, at, values in pieces
    ]
    length = [len(one["timestamp"]) for one in frames]
    repeated = {
        name: np.repeat(np.array([one[name] for one in frames], object), length)
        for name in ("node_id", "job_id", "name")
    }
    numbers = {name: np.concatenate([one[name] for one in frames]) for name in ("timestamp", "value")}
    return pd.DataFrame(repeated | numbers)


def crowded_metrics(pieces):
    """Find the metrics with more than MANY_INSTANCES devices on a node, a set, and say so.

    pieces : (node, job, metric, device, ...) each.
    """
    devices = Counter(one[:2] for one in {(node, metric, device) for node, _, metric, device, *_ in pieces})
    crowded = {metric for (_, metric), n in devices.items() if n > MANY_INSTANCES}
    if crowded:
        named = ", ".join(sorted(crowded)[:4])
        warn(f"There are more than {MANY_INSTANCES} devices on a node in {named}: these are added up.")
    return crowded


def write_series(extraction, long, *, where):
    """Write the long frame of nodes as parts, one row per moment; values of one name at one moment are added
    up.
    """
    page = pa.Table.from_pandas(long, preserve_index=False)
    layout = {"timestamp": "timestamp", "node_id": "node_id", "job_id": "job_id"}
    write_long(
        extraction, [(1, page)], layout=layout | {"metric": "name", "value": "value"}, where=where, how="sum"
    )


def write_gpu_series(extraction, gpus, *, where, server):
    """Write the series of GPUs, {key: copies}, as rows of GPUs in the units of `dcgm`."""
    rows = []
    for members in gpus.values():
        at, values, _ = without_copies(members)
        labels = members[0][0]
        quantity, factor, rank = dcgm.SERIES[labels["__name__"]]
        host = dcgm.host_of(labels) or node_in(labels, server.node_label)
        gpu, job = dcgm.number_of(labels), dcgm.first_label(labels, "job_id") or labels.get(server.job_label)
        rows.append(
            pd.DataFrame(
                {
                    "timestamp": at,
                    "node_id": host,
                    "gpu": gpu,
                    "job_id": job,
                    "user": dcgm.first_label(labels, "user"),
                    "quantity": quantity,
                    "rank": rank,
                    "value": values * factor,
                }
            )
        )
    keys = ["timestamp", *GPU_TEXTS]
    long = (
        pd.concat(rows, ignore_index=True)
        .fillna({"job_id": "", "user": ""})
        .sort_values("rank", kind="stable")
    )
    wide = long.drop_duplicates([*keys, "quantity"]).pivot(index=keys, columns="quantity", values="value")
    page = pa.Table.from_pandas(wide.reset_index(), preserve_index=False)
    layout = {name: name for name in page.column_names}
    write_gpus(extraction, [(1, page)], layout=layout, where=where)
