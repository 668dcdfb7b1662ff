"""What an extraction of node metrics brought: how new and how complete it is, labels that match nothing, odd
values, samplers, days without rows.
"""

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.sources.prometheus import scraped_twice_sentence
from nightshift.sources.telemetry.dcgm import HOSTS
from nightshift.wording import plural


def summarise_rows(seen):
    """Put together what was counted of the rows of every source: node_id, job_id, day, rows, first, last."""
    empty = pd.DataFrame(columns=["node_id", "job_id", "day", "rows", "first", "last"])
    return pd.concat(seen or [empty], ignore_index=True)


def gpu_rows(path):
    """Count the rows of gpus.parquet, and find the newest time in it: (number, Timestamp or None), in the
    memory of a page.
    """
    file = pq.ParquetFile(path)
    newest = [pc.max(page["timestamp"]).as_py() for page in file.iter_batches(2**20, columns=["timestamp"])]
    return file.metadata.num_rows, max(map(pd.Timestamp, filter(None, newest)), default=None)


def newest_rows(rows, newest_gpu, *, old_before):
    """Find the newest row: (its time, whether it is older than `old_before`); (None, False) without any row.

    rows : as `summarise_rows` gives them. newest_gpu : as `gpu_rows` gives it. Where either the nodes or
    their GPUs are too old, the time is that of the older.
    """
    newest = [pd.Timestamp(last) for last in (rows["last"].max(), newest_gpu) if pd.notna(last)]
    too_old = any(last < old_before for last in newest)
    return (min(newest) if too_old else max(newest, default=None)), too_old


def match_labels(labels, rows):
    """Match labels and rows: (names of the jobs without a label, bool (labels,), labels without any row).

    A label belongs to a job, to a node, or to a job on a node; a job is without label when neither it nor its
    node has one.
    """
    jobs = rows.dropna(subset="job_id")
    by_job, by_node = labels.job_id.notna(), labels.node_id.notna()
    job_labelled, node_labelled = (
        jobs.job_id.isin(labels.job_id[by_job]),
        jobs.node_id.isin(labels.node_id[~by_job]),
    )
    unlabelled = jobs.job_id[~job_labelled & ~node_labelled].unique()
    no_job = by_job & ~labels.job_id.isin(jobs.job_id)
    return unlabelled, no_job | (by_node & ~labels.node_id.isin(rows.node_id))


def state_of(extraction, *, empty, stale):
    """Name the state of an extraction: "empty", "stale", "partial" when a line, a cell or a part of an answer
    was lost, else "ok".
    """
    if empty:
        return "empty"
    if stale:
        return "stale"
    lost = extraction.bad_lines or extraction.counts["unreadable"] or extraction.warned
    return "partial" if lost else "ok"


def oddities(extraction, nodes, *, node_label):
    """Say, in one sentence each, what cannot be what it seems: numbers that stand for no value, nodes that
    are scraped twice, GPUs without the name of their host.

    nodes : set of the names of nodes with rows. node_label : the label by which such GPUs are called.
    """
    sentences, measured, gpu_blanks = [], extraction.measured, extraction.gpu_blanks
    partly = {name: n for name, n in extraction.blanks.items() if name in measured and measured[name][0]}
    if partly:
        names = ", ".join(list(partly)[:4]) + (" ..." if len(partly) > 4 else "")
        sentences.append(
            f"{sum(partly.values()):,} cells of {len(partly)} metrics hold a number that stands for no "
            f"value, such as the largest of 64 bits, and count as missing: {names}."
        )
    if gpu_blanks:
        sentences.append(
            f"{sum(gpu_blanks.values()):,} values of GPUs are blanks of DCGM or impossible, and "
            f"count as missing: {', '.join(f'{n:,} of {name}' for name, n in gpu_blanks.items())}."
        )
    if extraction.asked_twice:
        sentences.append(scraped_twice_sentence(extraction.asked_twice))
    if strange := sorted(extraction.nameless_gpus - nodes):
        sentences.append(
            f"The series of {plural(len(strange), 'GPU exporter')} have no label {' or '.join(HOSTS)}: their "
            f"GPUs are called after the label {node_label}, as on {', '.join(strange[:3])}, and no node of "
            "that name is known."
        )
    return sentences


def vain_settings(label_names, labels, *, metrics, measured):
    """Say, in one sentence each, which settings fit nothing: names of anomalies that no label has, and
    metrics without any value.

    label_names : {value: name of the anomaly}. metrics : {name: PromQL}. measured : {metric: (values, rows)}.
    """
    sentences = []
    if vain := [name for name in label_names if not (label_names[name] == labels.anomaly).any()]:
        names = ", ".join(map(repr, vain[:3]))
        sentences.append(f"No column of anomalies holds {names} of anomaly_names.")
    valued = {name.partition("::")[0] for name, (have, _) in measured.items() if have}
    if without := [name for name in metrics if name.partition("::")[0] not in valued]:
        sentences.append(f"metrics: no node has a value of {', '.join(without[:4])}.")
    return sentences


def sampler_table(measured):
    """Count what each sampler brought: (DataFrame sampler, metrics, rows, empty cells, metrics without any
    value; Series of the names of these metrics).

    measured : {metric: (number of its values, rows)}. An empty cell is a gap in the source, or a metric that
    some of the nodes do not have; their number is given as a share of all cells, from 0 to 1.
    """
    rows = [(name, name.partition("::")[2], *n) for name, n in measured.items()]
    cells = pd.DataFrame(rows, columns=["metric", "sampler", "have", "rows"])
    samplers = cells.groupby("sampler").agg(
        metrics=("metric", "size"),
        rows=("rows", "max"),
        have=("have", "sum"),
        of=("rows", "sum"),
        never=("have", lambda have: (have == 0).sum()),
    )
    samplers = samplers.reset_index()
    samplers["empty cells"] = 1 - samplers.have / samplers["of"].clip(lower=1)
    samplers["sampler"] = samplers.sampler.replace("", "(none)")
    samplers = samplers.rename(columns={"never": "metrics without any value"})
    shown = ["sampler", "metrics", "rows", "empty cells", "metrics without any value"]
    return samplers[shown], cells.metric[cells.have == 0]


def rows_per_day(rows):
    """Count the rows of each node and day: (DataFrame [node, day], 0 where it sent nothing; Series of their
    sums, the smallest first).
    """
    per_day = rows.pivot_table(index="node_id", columns="day", values="rows", aggfunc="sum", fill_value=0)
    days = pd.date_range(per_day.columns.min(), per_day.columns.max(), tz="UTC")
    per_day = per_day.reindex(columns=days, fill_value=0)
    return per_day, per_day.sum(axis=1).sort_values(kind="stable")


def plot_rows_per_day(per_day, ax):
    """Draw the rows of each node (a line) and day (a column) of the frame `per_day`; white is none."""
    n_nodes, n_days = per_day.shape
    drawn = ax.pcolormesh(
        np.arange(n_days + 1),
        np.arange(n_nodes + 1),
        per_day.where(per_day > 0).astype(float),
        norm="log",
        cmap="viridis_r",
        vmin=1,
        vmax=max(10, per_day.to_numpy().max()),
    )
    names = [name[:30] for name in per_day.index]
    ax.set_yticks(np.arange(n_nodes) + 0.5, names, fontsize="x-small", parse_math=False)
    at = np.unique(np.linspace(0, n_days - 1, 7).astype(int))
    ax.set_xticks(at + 0.5, [f"{per_day.columns[i]:%d %b}" for i in at])
    ax.invert_yaxis()
    ax.figure.colorbar(drawn, label="rows a day", pad=0.01)
    return ax
