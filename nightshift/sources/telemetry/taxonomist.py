"""Runs of the Taxonomist data: one HDF5 file for each node of a run."""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nightshift.sources.telemetry.files import extract_nodes
from nightshift.sources.telemetry.opening import HDF, NodeFile, read_hdf

# The samplers of LDMS that end its metrics: notebook.ipynb of peaclab/taxonomist
SAMPLER = re.compile(r"^(.+)_(metric_set_nic|cray_aries_r|meminfo|procstat|vmstat)$")


@dataclass
class TaxonomistRun(NodeFile):
    """A table with the index #Time and metrics such as user_procstat, whose file is called after the node of
    one run, as metadata.csv beside it lists them.
    """

    label = "a node of a run of Taxonomist (HDF5)"

    def recognises(self, head):
        """By its index, which LDMS has named."""
        return head.suffix in HDF and not self.columns and "#Time" in read_hdf(head.path, 1)[0]

    def extract(self, path, extraction):
        """Add one file; errors are those of `read_hdf` and of `extract_nodes`."""
        names, pages = read_hdf(path)
        node = Path(path).name.partition(".")[0]
        metric_names = {name: SAMPLER.sub(r"\1::\2", name, count=1) for name in names if name != "#Time"}
        pages = (
            (row, page.append_column("node_id", pa.array([node] * len(page), pa.string())))
            for row, page in pages
        )
        layout = {"timestamp": "#Time", "node_id": "node_id"}
        extract_nodes(extraction, pages, layout=layout, metric_names=metric_names, where=path, path=path)
