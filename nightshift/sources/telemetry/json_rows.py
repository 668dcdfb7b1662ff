"""Rows of nodes in JSON, such as LDMS sends them to Kafka."""

import itertools
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import as_text, names_in_words, read_records
from nightshift.sources.telemetry import ldms, tables
from nightshift.sources.telemetry.files import extract_nodes
from nightshift.sources.telemetry.opening import NodeFile
from nightshift.sources.telemetry.parts import add_sampler

# Documentation: ldms-store_avro_kafka.rst, ldms-store_kafka.rst and ldmsd_decomposition.rst of ovis-hpc/ldms,
# 4.5.3; the columns are named by the decomposition, whose special sources these are
TIMES = ["timestamp", "Time", "ts", "time", "@timestamp", "M_timestamp"]
NODES = ["node_id", "node", *ldms.NODES, "prdcr", "comp_id", "M_producer"]
OF_LDMS = {"producer", "prdcr", "component_id", "comp_id", "ProducerName"}
NO_METRICS = {*ldms.NO_METRICS, *TIMES, *NODES, "instance", "inst", "M_digest", "M_card", "M_duration"}
NO_METRICS |= {"M_gid", "M_uid", "M_perm", "M_schema", "M_instance"}


@dataclass
class JsonRows(NodeFile):
    """One JSON object per row, in any layout of `read_records`; objects within it are columns `a.b`."""

    label = "rows of nodes in JSON"
    excerpt = staticmethod(excerpt_of_records)

    def recognises(self, head):
        """By the names in its first row: a time and a node, or those that the user names."""
        if not head.line.startswith(("{", "[")):
            return False
        pages = itertools.islice(read_records(head.path, 1, fits=self.fits), 100)
        first = next((records[0] for records, _ in pages if records), {})
        return self.fits(first)

    def fits(self, record):
        """Whether an object has a time and a node, or all columns that the user names."""
        names = flat(record)
        return set(self.columns.values()) <= set(names) if self.columns else is_row(names)

    def extract(self, path, extraction):
        """Add one file; rows of other columns become parts of their own. Errors are those of
        `extract_nodes`.
        """
        for number, (records, bad) in enumerate(read_records(path, fits=self.fits)):
            extraction.bad_lines += [(path, *one) for one in bad]
            shapes = defaultdict(list)
            for record in map(flat, records):
                shapes[tuple(record)].append(record)
            for shape, (names, rows) in enumerate(shapes.items()):
                where = f"{path}#{number}.{shape}" if number + shape else str(path)
                self.extract_rows(extraction, rows, names=names, where=where, path=path)

    def extract_rows(self, extraction, rows, *, names, where, path):
        """Add rows, dicts with the same `names`; ValueError of one line where none of these is a time or a
        node, or where one that the user names is missing.
        """
        if self.columns:
            layout, metric_names = tables.layout_of_table(names, self.columns, path, extraction.repeated)
        else:
            layout = layout_of(names)
            metric_names = {name: name for name in names if name not in {*layout.values(), *NO_METRICS}}
        sampler = sampler_of(path) if OF_LDMS & set(names) else extraction.sampler
        page = pa.table({name: column_of(rows, name, layout) for name in names})
        extract_nodes(
            extraction,
            [(1, page)],
            layout=layout,
            metric_names=add_sampler(metric_names, sampler),
            where=where,
            path=path,
        )


def flat(record, prefix=""):
    """The cells of a JSON object by name: those of objects within it are `outer.inner`."""
    cells = {}
    for name, value in record.items():
        if isinstance(value, dict):
            cells |= flat(value, f"{prefix}{name}.")
        else:
            cells[f"{prefix}{name}"] = value
    return cells


def is_row(names):
    """Whether a row of these names says when and on which node; what collectd sends is no such row."""
    return bool(set(TIMES) & set(names)) and bool(set(NODES) & set(names)) and "dsnames" not in names


def layout_of(names):
    """{role: column} of rows with these names; ValueError of one line where a time or a node is missing."""
    if not is_row(names):
        raise ValueError(
            f"a row lacks a time or a node, and has {names_in_words(names)}: name both by the parameter "
            "columns"
        )
    layout = {"timestamp": next(name for name in TIMES if name in names)}
    layout["node_id"] = next(name for name in NODES if name in names)
    job = next((name for name in ldms.JOBS if name in names), None)
    return layout | ({"job_id": job} if job else {})


def sampler_of(path):
    """The sampler that the name of a file gives: meminfo of meminfo.2026-01-31.jsonl.gz."""
    return re.sub(
        r"(\.jsonl?|\.ndjson|\.parquet|\.gz|[._-]?\d{4}-?\d\d-?\d\d|[._-]\d{9,})+$", "", Path(path).name
    )


def column_of(rows, name, layout):
    """One column of rows as text, an Arrow array: lists as JSON, null where a job is one of NO_JOB."""
    cells = [as_text(row[name]) for row in rows]
    if layout.get("job_id") == name:
        cells = [None if cell in tables.NO_JOB else cell for cell in cells]
    return pa.array(cells, pa.string())
