"""Partitions that ExaMon has written, as those of the M100 data."""

from dataclasses import dataclass

import pyarrow.parquet as pq

from nightshift.sources.telemetry import tables
from nightshift.sources.telemetry.files import extract_nodes
from nightshift.sources.telemetry.opening import NodeFile, open_table
from nightshift.sources.telemetry.parts import add_sampler


@dataclass
class ExamonPartition(NodeFile):
    """A file of one metric, year_month=/plugin=/metric=NAME/a_0.parquet, with timestamp, value and node.

    Those of the building and of jobs have no node: they are left out, and counted.
    """

    label = "a partition of ExaMon (one metric)"

    def recognises(self, head):
        """By its folders; where the user names the columns, it is a table of nodes."""
        return not self.columns and {"plugin", "metric"} <= set(tables.partitions_of(head.path))

    def extract(self, path, extraction):
        """Add one file; errors are those of `extract_nodes`."""
        names, pages = open_table(path, extraction.bad_lines)
        if not {"timestamp", "value", "node"} <= set(names):
            extraction.left_out["tables of ExaMon without nodes"] += pq.read_metadata(path).num_rows
            return
        roles = {"timestamp": "timestamp", "node_id": "node"}
        layout, metric_names = tables.layout_of_table(names, roles, path, extraction.repeated)
        metric_names = add_sampler(metric_names, extraction.sampler)
        extract_nodes(extraction, pages, layout=layout, metric_names=metric_names, where=path, path=path)
