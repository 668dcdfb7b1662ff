"""Tables of nodes, long or wide, in CSV, Parquet or HDF5; and whatever else a source of node metrics is."""

import glob
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from helpers import project_path
from nightshift.sources.base import read_source
from nightshift.sources.files import is_empty, names_in_words
from nightshift.sources.telemetry import cells, tables
from nightshift.sources.telemetry.opening import NodeFile, open_table
from nightshift.sources.telemetry.parts import (
    add_sampler,
    as_numbers,
    without_contradiction,
    write_parts,
)
from nightshift.sources.telemetry.turning import write_long


def extract_nodes(extraction, pages, *, layout, metric_names, where, path):
    """Add one table of node metrics, whose columns `layout` and `metric_names` explain, to an extraction.

    Rows of one node and moment that differ are records of their own, one per interface, process or disk: a
    column of text, or an index, tells them apart, and each becomes a metric of its own, rx_bytes.hsn0. Of
    very many, such as processes, the sum is kept. ValueError as of `find_instances`, and where no column
    holds numbers.
    """
    pages, names = cells.split_arrays(pages, whole={*layout.values()} - {layout.get("value")})
    metric_names = tables.split_metrics(metric_names, names or [])
    pages, instances, how, texts = tables.find_instances(pages, layout, metric_names)
    extraction.text_left_out.update(set(texts) - set(instances))
    metric_names = {name: metric for name, metric in metric_names.items() if name not in {*texts, *instances}}
    if names and "metric" not in layout and not metric_names:
        raise ValueError(f"none of its columns holds numbers; it has {names_in_words(names)}")
    if how == "sum":
        extraction.warn(
            f"{Path(path).name} has more than {tables.MANY_INSTANCES} rows for each node and moment, "
            f"told apart by {', '.join(instances)}: its metrics are added up over these."
        )
    whole = extraction.of_source()
    if how:
        read = partial(as_numbers, whole)
        pages = tables.long_pages(pages, layout, metric_names, instances, how, read)
        layout = {role: layout[role] for role in layout if role not in ("metric", "value")}
        layout |= {"metric": "metric name", "value": "metric value"}
    if "metric" in layout:
        write_long(extraction, pages, layout=layout, where=where, how="sum" if how == "sum" else "")
        extraction.add_whole(whole.counts["unreadable"], whole.blanks)
        return
    pages = without_contradiction(extraction, pages, layout=layout, metric_names=metric_names, path=path)
    write_parts(extraction, pages, layout=layout, metric_names=metric_names, where=where)


@dataclass
class NodeTable(NodeFile):
    """A table with a row per node and moment, or per metric of it; an empty file adds nothing."""

    label = "a table of nodes (CSV, Parquet or HDF5)"
    asked_last = True

    def extract(self, path, extraction):
        """Add one table; errors are those of `extract_nodes` and of `layout_of_table`."""
        if is_empty(path):
            return
        names, pages = open_table(path, extraction.bad_lines)
        layout, metric_names = tables.layout_of_table(names, self.columns, path, extraction.repeated)
        metric_names = add_sampler(metric_names, extraction.sampler)
        extract_nodes(extraction, pages, layout=layout, metric_names=metric_names, where=path, path=path)


def extract_source(place, extraction, **settings):
    """Add everything at `place`, a path, a pattern relative to the repository root or an address, to an
    extraction; errors as of `read_source`.
    """
    if "://" not in place:
        files = glob.glob(str(project_path(place)), recursive=True)
        extraction.repeated.update(tables.metrics_in_several_places(files))
    read_source("telemetry", place, extraction, **settings)
