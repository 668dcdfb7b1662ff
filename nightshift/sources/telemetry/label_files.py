"""Labels of runs in files of their own: which anomaly was put beside a job on a node."""

from dataclasses import dataclass

from nightshift.sources.tables import read_files
from nightshift.sources.telemetry.labels import read_labels
from nightshift.sources.telemetry.opening import NodeFile, open_table


@dataclass
class LabelTable(NodeFile):
    """One row per labelled run or stretch of one."""

    label = "a table of labels"

    def recognises(self, head):
        """By a column of anomalies without a time beside it."""
        names = set(self.names_of(head))
        return not self.columns and bool({"anomaly", "anom"} & names) and not {"timestamp", "#Time"} & names

    def extract(self, path, extraction):
        """Add the labels of one file; ValueError of one line where columns are missing."""
        bad_lines = extraction.bad_lines
        names, pages = open_table(path, bad_lines)
        extraction.labels.append(read_labels(names, pages, path=path, bad_lines=bad_lines))


def extract_labels(extraction, pattern):
    """Add the label files that `pattern` names; errors are those of `read_files`."""
    read_files(pattern, lambda path: LabelTable({}).extract(path, extraction))
