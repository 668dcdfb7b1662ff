"""Rows of LDMS in Parquet, such as a consumer of its Kafka topics keeps them."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.telemetry import json_rows, tables
from nightshift.sources.telemetry.files import extract_nodes
from nightshift.sources.telemetry.opening import PARQUET, NodeFile, open_table
from nightshift.sources.telemetry.parts import add_sampler


@dataclass
class LdmsParquet(NodeFile):
    """A table with the names that LDMS gives its columns of time and node, as in its rows in JSON."""

    label = "rows of LDMS in Parquet"

    def recognises(self, head):
        """By its columns; where the user names them, it is a table of nodes."""
        names = set(head.names) if head.suffix in PARQUET and not self.columns else set()
        return bool(json_rows.OF_LDMS & names) and json_rows.is_row(names) and "node_id" not in names

    def extract(self, path, extraction):
        """Add one file; errors are those of `extract_nodes`."""
        names, pages = open_table(path, extraction.bad_lines)
        layout = json_rows.layout_of(names)
        metric_names = {name: name for name in names if name not in {*layout.values(), *json_rows.NO_METRICS}}
        extract_nodes(
            extraction,
            without_no_job(pages, layout.get("job_id")),
            layout=layout,
            metric_names=add_sampler(metric_names, json_rows.sampler_of(path)),
            where=path,
            path=path,
        )


def without_no_job(pages, column):
    """Pages whose `column` of jobs is null where it is one of NO_JOB; as they are where `column` is None."""
    for first_row, page in pages:
        if column is not None:
            jobs = page[column].cast(pa.string())
            none = pc.is_in(jobs, pa.array(tables.NO_JOB))
            at = page.column_names.index(column)
            page = page.set_column(at, column, pc.if_else(none, pa.scalar(None, pa.string()), jobs))
        yield first_row, page
