"""Files of series: what their kinds share."""

from dataclasses import dataclass

from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.telemetry.opening import NodeFile
from nightshift.sources.telemetry.series import extract_series
from nightshift.sources.telemetry.tables import partitions_of


@dataclass
class SeriesFile(NodeFile):
    """A file of series with labels. node_label, job_label : parameters, the labels that name the node and the
    job; where a series has none of that name, the usual ones are tried.
    """

    excerpt = staticmethod(excerpt_of_records)
    sampler = "prometheus"

    node_label: str
    job_label: str

    def series(self, path, extraction):
        """Yield (labels, times in s since 1970, values) of every series in the file."""
        raise NotImplementedError(f"{type(self).__name__} has no `series`")

    def extract(self, path, extraction):
        """Add one file; errors are those of `extract_series`. Folders of its path, such as instance=nid01,
        are labels of all its series.
        """
        partitions = partitions_of(path)
        series = ((partitions | labels, *more) for labels, *more in self.series(path, extraction))
        extract_series(extraction, series, where=path, sampler=self.sampler, server=self)
