"""Raw rows of node metrics on their way into Parquet parts, one per node and file, and what is counted of
them.

    Folder      a new folder takes the place of the last one    extraction_into
    Rows        time and names, Parquet parts                   place, as_parts, write_parts
    Tables      contradictions, GPUs                            without_contradiction, write_gpus
"""

import os
import resource
import shutil
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from nightshift.sources.telemetry import dcgm, ldms, tables
from nightshift.sources.telemetry.cells import names_of, numbers_of, times_of
from nightshift.sources.telemetry.nameless import Nameless
from nightshift.sources.telemetry.tables import ROLES
from nightshift.sources.telemetry.trainings import WAIT

NO_ROW = "none of its rows has both a time and a node in the columns {timestamp} and {node_id}"
TOO_LONG = "the name of its node is too long"
MOST_FILES = 10_000
WAITING = 2**27  # bytes; with twice as many, 1 GB of LDMS peaks at 1,069 MiB and not at 891
WHO, MANY_COUNTS = ["node_id", "job_id", "day"], 500  # frames of counts that are added up at once
GPU_TEXTS = ["node_id", "gpu", "job_id", "user"]
GPU_SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("us", "UTC")),
        *((name, pa.string()) for name in GPU_TEXTS),
        *((name.replace("free", "total"), pa.float64()) for name in [*dcgm.NUMBERS, WAIT]),
    ]
)


@dataclass
class Extraction:
    """The folder that an extraction fills, and what it counts on the way.

    folder : where nodes/ (hive partitions node_id=NAME, one part per source) and gpus.parquet are written.
    window : [begin, end) of the rows that are kept, UTC. columns : {role: column} of a table whose columns
    the user names; empty for formats that are recognized. sampler : added as ::sampler to metrics without
    one.
    """

    folder: Path
    window: list
    gpu_table: pq.ParquetWriter
    columns: dict = field(default_factory=dict)
    sampler: str = ""
    counts: dict = field(default_factory=lambda: {"unreadable": 0, "placed": 0, "outside": 0})
    blanks: dict = field(default_factory=dict)  # {metric: cells that stand for no value}
    gpu_blanks: dict = field(default_factory=dict)  # {quantity: blank or impossible values}
    bad_lines: list = field(default_factory=list)  # (file, row, reason, text)
    seen: list = field(default_factory=list)  # frames node_id, job_id, day, rows, first, last
    measured: dict = field(default_factory=dict)  # {metric: (values, rows)}
    points: list = field(default_factory=list)  # rows of tables with a column of anomalies
    labels: list = field(default_factory=list)  # frames as `read_labels` gives them
    text_left_out: set = field(default_factory=set)  # columns of text
    left_out: Counter = field(default_factory=Counter)  # {what: series of files that are none of a node}
    repeated: set = field(default_factory=set)  # metrics under two plugins
    nameless: Nameless = field(default_factory=Nameless)  # values of metrics without a name
    warned: set = field(default_factory=set)  # warnings of a Prometheus
    asked_twice: dict = field(default_factory=dict)  # {node: labels in which its series differ}
    nameless_gpus: set = field(default_factory=set)  # nodes of GPUs whose series name no host


@contextmanager
def extraction_into(raw, window, *, columns=None, sampler=""):
    """Give an Extraction whose folder takes the place of the last one in `raw` when all of the source has
    been read.

    The caller writes labels.parquet to its folder. Whatever goes wrong within leaves the last night as it
    was.
    """
    staging = raw / f".{uuid.uuid4().hex[:8]}"
    (staging / "nodes").mkdir(parents=True)
    try:
        with pq.ParquetWriter(staging / "gpus.parquet", GPU_SCHEMA, compression="zstd") as gpu_table:
            yield Extraction(staging, window, gpu_table, columns or {}, sampler)
        if (raw / "nodes").exists():
            os.replace(raw / "nodes", staging / "old")
        for name in ("nodes", "gpus.parquet", "labels.parquet"):
            os.replace(staging / name, raw / name)
    finally:
        shutil.rmtree(staging)


def as_numbers(extraction, column, metric=""):
    """Read finite numbers (float64) from an Arrow column; cells that are none, or stand for no value, become
    null and are counted.
    """
    numbers, unreadable, blank = numbers_of(column, metric)
    extraction.counts["unreadable"] += unreadable
    if blank:
        extraction.blanks[metric] = extraction.blanks.get(metric, 0) + blank
    return numbers


# ------------------------------------------------------------------------------------------------------- Rows


def is_too_long(node):
    """Whether the name of a node has more than two hundred letters, and could not be the name of a folder."""
    return len(quote(node, safe="")) > 200


def place(extraction, page, *, layout, where, first_row):
    """Read time and names of the rows of a page: (frame of the columns ROLES, bool (n,), which of them lie in
    the window).

    page : Arrow table, whose columns `layout` {role: column} explains. A row whose time or node cannot be
    read belongs nowhere: it becomes a bad line of the file `where`, counted from `first_row`. An LDMS store
    has the exact fraction of its seconds in Time_usec, and its job 0 is no job. ValueError where most times
    cannot be read.
    """
    roles = [*ROLES[1:], *(["metric"] if "metric" in layout else [])]
    names = {role: names_of(page[layout[role]]) if role in layout else None for role in roles}
    written = page[layout["timestamp"]].cast(pa.string())
    cells = names_of(written)
    # a store that was opened again repeats its header
    header = pc.fill_null(pc.starts_with(pc.utf8_trim_whitespace(written), "#"), False).to_numpy()
    keys = pd.DataFrame({"timestamp": times_of(page[layout["timestamp"]]), **names})
    tables.check_times(keys.timestamp[~header], layout["timestamp"], cells[~header])
    if layout["timestamp"] in ldms.TIMES and not extraction.columns:
        keys["timestamp"] = ldms.exact_times(keys.timestamp, page, layout)
        keys["job_id"] = ldms.without_no_job(keys.job_id)
    nodes = keys.node_id.dropna().unique()
    too_long = keys.node_id.isin([*filter(is_too_long, nodes)])
    reasons = ["no time", "no node", TOO_LONG]
    why = np.select([keys.timestamp.isna(), keys.node_id.isna(), too_long], reasons, "")
    for i in np.flatnonzero((why != "") & ~header):
        text = f"{page[layout['timestamp']][i]}, {keys.node_id[i]}"[:500]
        extraction.bad_lines.append((where, first_row + i, why[i], text))
    inside = keys.timestamp.between(*extraction.window, inclusive="left").to_numpy()
    extraction.counts["placed"] += int((why == "").sum())
    extraction.counts["outside"] += int((~inside & (why == "")).sum())
    return keys, inside & (why == "")


def note(extraction, keys, *, have):
    """Count kept rows by node, job and day, and by metric: have {metric: number of its values}.

    Every page adds a row of counts for each of its nodes; of many pages they are added up, so that the memory
    is that of the nodes, jobs and days, whatever the number of pages.
    """
    days = keys.assign(day=keys.timestamp.dt.floor("D"))
    counted = days.groupby(WHO, dropna=False).timestamp
    extraction.seen.append(counted.agg(rows="size", first="min", last="max").reset_index())
    if len(extraction.seen) >= MANY_COUNTS:
        counts = pd.concat(extraction.seen, ignore_index=True).groupby(WHO, dropna=False)
        extraction.seen[:] = [counts.agg({"rows": "sum", "first": "min", "last": "max"}).reset_index()]
    for name, n in have.items():
        values, rows = extraction.measured.get(name, (0, 0))
        extraction.measured[name] = values + n, rows + len(keys)


def as_parts(extraction, pages, *, layout, metric_names, where, schema):
    """Give Arrow batches of raw rows from pages of a source, (number of the first row, table) each;
    ValueError where no row of it has a time and a node.
    """
    placed, n_rows = extraction.counts["placed"], 0
    for first_row, page in pages:
        keys, kept = place(extraction, page, layout=layout, where=where, first_row=first_row)
        keys, page, n_rows = keys[kept], page.filter(pa.array(kept)), n_rows + len(page)
        numbers = [as_numbers(extraction, page[column], metric) for column, metric in metric_names.items()]
        values = [len(column) - column.null_count for column in numbers]
        note(extraction, keys, have=dict(zip(metric_names.values(), values, strict=True)))
        if "anomaly" in layout:
            extraction.points.append(keys)
        texts = [
            pa.array(keys[role], pa.string(), from_pandas=True) for role in schema.names[1:] if role in keys
        ]
        rows = pa.Table.from_arrays([pa.array(keys.timestamp), *texts, *numbers], schema=schema)
        yield from rows.to_batches()
    if n_rows and extraction.counts["placed"] == placed:
        raise ValueError(NO_ROW.format(**layout))


def digest_of(where):
    """Name the parts of the source `where`: 12 hexadecimal digits."""
    return uuid.uuid5(uuid.NAMESPACE_URL, where).hex[:12]


def open_files():
    """Return how many files may be open at once besides a few hundred others: this process is allowed what
    its machine allows, up to 10,000, where the usual limit is 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed // 2


def write_parts(extraction, pages, *, layout, metric_names, where):
    """Write the pages of one source as one part per node below the folder of the nodes.

    metric_names : {column: name of the metric}. A part holds the metrics of its own source only. The memory
    is that of a page and of the rows that wait for each node, WAITING in all nodes of the first page
    together, up to 2 MB each. A node whose file was closed, since too many were open, would begin another
    part with every page: 1,000 nodes made 10,000 parts, in four times the time. Measured values hardly
    repeat: without a dictionary of them a part takes a third less space and half the time to write. Names of
    nodes are percent-encoded, so that `../x` is a name and no path.
    """
    texts = ["job_id", "node_id"]
    fields = [("timestamp", pa.timestamp("us", "UTC")), *((name, pa.string()) for name in texts)]
    fields += [(name, pa.float64()) for name in metric_names.values()]
    schema = pa.schema(fields)
    first = next(iter(pages := iter(pages)), None)
    nodes = 1 if first is None else max(pc.count_distinct(first[1][layout["node_id"]]).as_py(), 1)
    values = min(250_000, WAITING // 8 // nodes)  # of each node
    group = max(128, values // (len(metric_names) + 1))
    pages = pages if first is None else chain([first], pages)
    ds.write_dataset(
        as_parts(extraction, pages, layout=layout, metric_names=metric_names, where=where, schema=schema),
        extraction.folder / "nodes",
        schema=schema,
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("node_id", pa.string())]), flavor="hive"),
        use_threads=False,
        basename_template=digest_of(where) + "-{i}.parquet",
        existing_data_behavior="overwrite_or_ignore",
        max_partitions=100_000,
        max_open_files=open_files(),
        min_rows_per_group=group,
        max_rows_per_group=max(group, 2**17),
        file_options=ds.ParquetFileFormat().make_write_options(compression="zstd", use_dictionary=texts),
    )


# ----------------------------------------------------------------------------------------------------- Tables


def without_contradiction(extraction, pages, *, layout, metric_names, path):
    """Give the same pages; the values of a metric without a name are held against those of other files.

    ValueError where two files measure the same "value" of the same node and moment, and neither says what it
    is.
    """
    nameless = [
        column
        for column, metric in metric_names.items()
        if metric.partition("::")[0].lower() in tables.UNNAMED
    ]
    for first_row, page in pages:
        for column in nameless[:1]:
            values = pd.to_numeric(page[column].to_pandas(), errors="coerce")
            node, at = names_of(page[layout["node_id"]]), times_of(page[layout["timestamp"]])
            rows = pd.DataFrame({"node": node, "time": at, "value": values})
            if other := extraction.nameless.contradicted(rows, path):
                raise ValueError(
                    f"it and {other} measure the same {metric_names[column]!r} of the same node and moment, "
                    "and neither says what: name the metric in the path (metric=NAME) or the column"
                )
        yield first_row, page


def add_sampler(metric_names, sampler):
    """Give the same {column: name of the metric}, with ::sampler at the names that have none; as they are for
    "".
    """
    return {
        column: f"{name}::{sampler}" if sampler and "::" not in name else name
        for column, name in metric_names.items()
    }


def write_gpus(extraction, pages, *, layout, where):
    """Add pages of a GPU exporter, (number of the first row, table) each, to gpus.parquet.

    The memory that DCGM calls free is added to what is used, which gives the total without the reserve of the
    driver; where both are not there, the total of the exporter counts. A slice of a GPU is one of its own:
    0/3 is instance 3 of GPU 0. What no GPU can have is missing: DCGM writes blanks of 15 and more digits for
    "no value".
    """
    keys_of = {role: layout[role] for role in ("timestamp", "node_id")}
    blanks, gpu_blanks = extraction.blanks, extraction.gpu_blanks
    for first_row, page in pages:
        keys, kept = place(extraction, page, layout=keys_of, where=where, first_row=first_row)
        page = page.filter(pa.array(kept))
        table = pd.DataFrame({"timestamp": keys.timestamp[kept].array})
        for name in [*GPU_TEXTS, "slice"]:
            table[name] = names_of(page[layout[name]]) if name in layout else None
        table["gpu"] = table.gpu.str.cat("/" + table.pop("slice").astype(object)).fillna(table.gpu)
        for name in [*dcgm.NUMBERS, "memory_total_mib", WAIT]:
            has = name in layout
            table[name] = as_numbers(extraction, page[layout[name]], name).to_pandas() if has else np.nan
        table, impossible = dcgm.blank_impossible(table)
        for name in {**impossible, **dict.fromkeys(set(blanks) & set(dcgm.NUMBERS))}:
            gpu_blanks[name] = gpu_blanks.get(name, 0) + impossible.get(name, 0) + blanks.pop(name, 0)
        total = (table.memory_used_mib + table.memory_free_mib).fillna(table.memory_total_mib)
        table = table.assign(memory_total_mib=total)[GPU_SCHEMA.names]
        extraction.gpu_table.write_table(pa.Table.from_pandas(table, GPU_SCHEMA, preserve_index=False))
