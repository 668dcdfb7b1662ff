"""Raw rows of node metrics on their way into Parquet parts, one per source, node and day, and what is counted
of them.

    Folder      a new folder takes the place of the last one    extraction_into
    Rows        time and names, Parquet parts                   place, kept_rows, write_parts
    Tables      contradictions, GPUs                            without_contradiction, write_gpus
"""

import os
import shutil
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.runs import warn
from nightshift.sources.parts import remove_abandoned
from nightshift.sources.telemetry import dcgm, ldms, tables
from nightshift.sources.telemetry.cells import names_of, numbers_of, times_of
from nightshift.sources.telemetry.nameless import Nameless
from nightshift.sources.telemetry.node_days import WideRows
from nightshift.sources.telemetry.notes import Earlier, note_whole
from nightshift.sources.telemetry.tables import ROLES
from nightshift.sources.telemetry.trainings import WAIT

NO_ROW = "none of its rows has both a time and a node in the columns {timestamp} and {node_id}"
TOO_LONG = "the name of its node is too long"
WHO, MANY_COUNTS = ["node_id", "job_id", "day"], 500  # frames of counts that are added up at once
GPU_TEXTS = ["node_id", "gpu", "job_id", "user"]
GPU_SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("us", "UTC")),
        *((name, pa.string()) for name in GPU_TEXTS),
        *((name.replace("free", "total"), pa.float64()) for name in [*dcgm.NUMBERS, WAIT]),
    ]
)


class GpuRows:
    """The table of GPUs in the file `path`, of row groups that are counted, so that those of one source can
    be found again.
    """

    def __init__(self, path):
        self.writer, self.n_groups = pq.ParquetWriter(path, GPU_SCHEMA, compression="zstd"), 0

    def write(self, table):
        """Add the rows of an Arrow table, those of one page, as a row group."""
        if len(table):
            self.writer.write_table(table, row_group_size=len(table))
            self.n_groups += 1


@dataclass
class Extraction:
    """The folder that an extraction fills, and what it counts on the way.

    folder : where nodes/ (hive partitions node_id=NAME/day=DATE, one part per source), gpus.parquet and
    notes/ are written. window : [begin, end) of the rows that are kept, UTC. columns : {role: column} of a
    table whose columns the user names; empty for formats that are recognized. sampler : added as ::sampler to
    metrics without one. earlier : what the last extraction has left.
    """

    folder: Path
    window: list
    gpu_table: GpuRows
    columns: dict = field(default_factory=dict)
    sampler: str = ""
    earlier: Earlier | None = None
    counts: dict = field(default_factory=lambda: {"unreadable": 0, "placed": 0, "outside": 0})
    blanks: dict = field(default_factory=dict)  # {metric: cells that stand for no value}
    gpu_blanks: dict = field(default_factory=dict)  # {quantity: blank or impossible values}
    bad_lines: list = field(default_factory=list)  # (file, row, reason, text)
    seen: list = field(default_factory=list)  # frames node_id, job_id, day, rows, first, last
    measured: dict = field(default_factory=dict)  # {metric: (values, rows)}
    points: list = field(default_factory=list)  # rows of tables with a column of anomalies
    labels: list = field(default_factory=list)  # frames as `read_labels` gives them
    text_left_out: set = field(default_factory=set)  # columns of text
    left_out: Counter = field(default_factory=Counter)  # {what: series, or rows, that are of no node}
    repeated: set = field(default_factory=set)  # metrics under two plugins
    nameless: Nameless = field(default_factory=Nameless)  # values of metrics without a name
    compared: bool = False  # whether values were held against those of other files
    warned: set = field(default_factory=set)  # warnings of a Prometheus
    warnings: list = field(default_factory=list)  # what was said on the way
    asked_twice: dict = field(default_factory=dict)  # {node: labels in which its series differ}
    nameless_gpus: set = field(default_factory=set)  # nodes of GPUs whose series name no host
    of_whole: dict = field(default_factory=lambda: {"unreadable": 0, "blanks": {}})  # not only of the window
    ends: list = field(default_factory=list)  # first and last moment of all rows with a time and a node
    parts: list = field(default_factory=list)  # paths of parts below the folder
    first_group: int = 0  # number of the first row group of its GPUs
    sha256s: list = field(default_factory=list)  # of the parts of each source that was added
    sha256: str = ""  # over all of these, in the end

    def of_source(self, window=None):
        """Begin to count what is of one file, or of one day of a server, apart from all others."""
        return Extraction(
            self.folder,
            window or self.window,
            self.gpu_table,
            self.columns,
            self.sampler,
            repeated=self.repeated,
            nameless=self.nameless,
            first_group=self.gpu_table.n_groups,
        )

    def warn(self, sentence):
        """Warn by a sentence, and keep it for nights that do not read its source again."""
        warn(sentence)
        self.warnings.append(sentence)

    def add_whole(self, unreadable, blanks):
        """Count cells of all rows of a source, those of other days too."""
        self.counts["unreadable"] += unreadable
        self.of_whole["unreadable"] += unreadable
        for of in (self.blanks, self.of_whole["blanks"]):
            for metric, n in blanks.items():
                of[metric] = of.get(metric, 0) + n

    def reaches(self, first, last):
        """Take in the first and the last moment of some rows, whether in the window or not."""
        self.ends = [min([*self.ends[:1], first]), max([*self.ends[1:], last])]

    def counted(self):
        """Return, as JSON can hold it, what has been counted but for the numbers of each node."""
        sets = {name: sorted(getattr(self, name)) for name in ("text_left_out", "warned", "nameless_gpus")}
        plain = (
            "counts",
            "blanks",
            "gpu_blanks",
            "measured",
            "left_out",
            "asked_twice",
            "warnings",
            "of_whole",
        )
        counted = sets | {name: getattr(self, name) for name in plain}
        return counted | {"bad_lines": self.bad_lines, "ends": [str(moment) for moment in self.ends]}

    def add(self, counted, seen):
        """Add what was `counted` of one source; seen : DataFrame of its nodes, jobs and days."""
        for name in ("counts", "blanks", "gpu_blanks", "left_out"):
            totals = getattr(self, name)
            for what, n in counted[name].items():
                totals[what] = totals.get(what, 0) + n
        for name, (have, of) in counted["measured"].items():
            values, rows = self.measured.get(name, (0, 0))
            self.measured[name] = values + have, rows + of
        for name in ("text_left_out", "warned", "nameless_gpus", "asked_twice"):
            getattr(self, name).update(counted[name])
        self.bad_lines.extend(map(tuple, counted["bad_lines"]))
        self.sha256s.append(counted["sha256"])
        if len(seen):
            self.seen.append(seen)
            self.add_up()

    def add_up(self):
        """Add up frames of counts where there are many, so that the memory is that of the nodes, jobs and
        days, whatever the number of pages and sources.
        """
        if len(self.seen) >= MANY_COUNTS:
            counts = pd.concat(self.seen, ignore_index=True).groupby(WHO, dropna=False)
            self.seen[:] = [counts.agg({"rows": "sum", "first": "min", "last": "max"}).reset_index()]


@contextmanager
def extraction_into(raw, window, *, columns=None, sampler=""):
    """Yield an Extraction whose folder takes the place of the last one in `raw` when all of the source has
    been read.

    The caller writes labels.parquet to its folder. An error within leaves the last night as it was.
    """
    remove_abandoned(raw)
    staging = raw / f".{uuid.uuid4().hex[:8]}"
    for name in ("nodes", "notes"):
        (staging / name).mkdir(parents=True)
    try:
        gpus = GpuRows(staging / "gpus.parquet")
        with gpus.writer:
            extraction = Extraction(staging, window, gpus, columns or {}, sampler, Earlier(raw))
            yield extraction
        note_whole(extraction)
        for name in ("nodes", "notes"):
            if (raw / name).exists():
                os.replace(raw / name, staging / f"old {name}")
        for name in ("nodes", "gpus.parquet", "labels.parquet", "notes"):
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
    """Whether the name of a node, percent-encoded, has over 200 characters, too many for that of a folder."""
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
    if (why == "").any():
        extraction.reaches(*keys.timestamp[why == ""].agg(["min", "max"]))
    inside = keys.timestamp.between(*extraction.window, inclusive="left").to_numpy()
    extraction.counts["placed"] += int((why == "").sum())
    extraction.counts["outside"] += int((~inside & (why == "")).sum())
    return keys, inside & (why == "")


def note(extraction, keys, *, have):
    """Count kept rows by node, job and day, and by metric: have {metric: number of its values}. Without a row
    nothing is counted, so that a file of other days adds no metrics without values.
    """
    if keys.empty:
        return
    days = keys.assign(day=keys.timestamp.dt.floor("D"))
    counted = days.groupby(WHO, dropna=False).timestamp
    extraction.seen.append(counted.agg(rows="size", first="min", last="max").reset_index())
    extraction.add_up()
    for name, n in have.items():
        values, rows = extraction.measured.get(name, (0, 0))
        extraction.measured[name] = values + n, rows + len(keys)


def kept_rows(extraction, pages, *, layout, metric_names, where):
    """Yield (frame of the columns ROLES, Arrow numbers of each metric) of the rows to keep, from pages of a
    source, (number of the first row, table) each; ValueError where no row of it has a time and a node.
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
        yield keys, numbers
    if n_rows and extraction.counts["placed"] == placed:
        raise ValueError(NO_ROW.format(**layout))


def write_parts(extraction, pages, *, layout, metric_names, where):
    """Write the pages of one source as one part per node and day below the folder of the nodes.

    metric_names : {column: name of the metric}. A part holds the metrics of its own source only. The memory
    is that of a page and of what `WideRows` holds.
    """
    rows = WideRows(extraction.folder / "wide", len(metric_names))
    kept = kept_rows(extraction, pages, layout=layout, metric_names=metric_names, where=where)
    for keys, numbers in kept:
        rows.add(keys, numbers)
    rows.write(extraction, metrics=list(metric_names.values()), where=where)


# ----------------------------------------------------------------------------------------------------- Tables


def without_contradiction(extraction, pages, *, layout, metric_names, path):
    """Yield the same pages; the values of a metric without a name are compared with those of other files.

    ValueError where two files have different values of the same node and moment, and neither says of what.
    """
    nameless = [
        column
        for column, metric in metric_names.items()
        if metric.partition("::")[0].lower() in tables.UNNAMED
    ]
    extraction.compared = extraction.compared or bool(nameless)
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
    """Return {column: name of the metric} with ::sampler added to the names that have none; with "" as they
    are.
    """
    return {
        column: f"{name}::{sampler}" if sampler and "::" not in name else name
        for column, name in metric_names.items()
    }


def write_gpus(extraction, pages, *, layout, where):
    """Add pages of a GPU exporter, (number of the first row, table) each, to gpus.parquet.

    The memory that DCGM calls free is added to what is used, which gives the total without the reserve of the
    driver; where either is missing, the total of the exporter counts. A slice of a GPU is a GPU of its own:
    0/3 is instance 3 of GPU 0. What no GPU can have is missing: for "no value" DCGM writes blanks such as
    140737488355328.
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
        for name in {**impossible, **dict.fromkeys(name for name in dcgm.NUMBERS if name in blanks)}:
            gpu_blanks[name] = gpu_blanks.get(name, 0) + impossible.get(name, 0) + blanks.pop(name, 0)
        total = (table.memory_used_mib + table.memory_free_mib).fillna(table.memory_total_mib)
        table = table.assign(memory_total_mib=total)[GPU_SCHEMA.names]
        extraction.gpu_table.write(pa.Table.from_pandas(table, GPU_SCHEMA, preserve_index=False))
