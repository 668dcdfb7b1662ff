"""Tables of Performance Co-Pilot: what `pmrep -o csv` prints of a machine or of its archives."""

import re
from dataclasses import dataclass

from nightshift.sources.files import LayoutError
from nightshift.sources.telemetry.files import extract_nodes
from nightshift.sources.telemetry.opening import NodeFile, open_table
from nightshift.sources.telemetry.series import NODE_LABELS

# Source: pmrep of PCP 6.0.3, run. Counters are printed as rates, which the first row lacks; a metric of a
# device is METRIC-DEVICE
HEADER = re.compile(r'Time,"[a-z]\w*(\.\w+)+[-"]')


@dataclass
class PmrepTable(NodeFile):
    """The CSV of pmrep, of one node, which a folder of its path names."""

    label = "the CSV of pmrep (PCP)"

    def recognises(self, head):
        """By its header: names of metrics have dots."""
        return bool(HEADER.match(head.line)) and not self.columns

    def extract(self, path, extraction):
        """Add one file; errors are those of `extract_nodes`. LayoutError where no folder names its node."""
        names, pages = open_table(path, extraction.bad_lines)
        node = next((name for name in [*NODE_LABELS, "instance"] if name in names), None)
        if node is None:
            raise LayoutError("it does not say of which node it is: put it into a folder host=NAME")
        layout = {"timestamp": "Time", "node_id": node}
        metrics = {name: f"{name.replace('-', '.', 1)}::pcp" for name in names if name not in ("Time", node)}
        extract_nodes(extraction, pages, layout=layout, metric_names=metrics, where=path, path=path)
