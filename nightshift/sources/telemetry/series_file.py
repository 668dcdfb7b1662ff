"""Files of series: what their kinds share."""

from dataclasses import dataclass

import numpy as np

from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import read_records
from nightshift.sources.telemetry.opening import NodeFile
from nightshift.sources.telemetry.series import extract_series
from nightshift.sources.telemetry.tables import partitions_of

PIECE_VALUES = 2**19  # some 60 MB as objects of Python


def numbered_records(path, extraction, **how):
    """Yield (number from 1, record) of a file of records; what is none becomes a bad line.

    how : as `read_records` takes it.
    """
    n = 0
    for records, bad in read_records(path, **how):
        extraction.bad_lines += [(path, *one) for one in bad]
        yield from enumerate(records, n + 1)
        n += len(records)


class Pieces:
    """Values of series in the order in which a file has them, handed on as pieces of series, so that memory
    holds about PIECE_VALUES of them.
    """

    def __init__(self):
        self.found, self.n = {}, 0

    def add(self, labels, at, value):
        """Add one value of the series with these labels, a tuple of pairs."""
        times, values = self.found.setdefault(labels, ([], []))
        times.append(at)
        values.append(value)
        self.n += 1

    def full(self):
        """The pieces as `rest` gives them, once there are PIECE_VALUES values; else none."""
        return self.rest() if self.n >= PIECE_VALUES else ()

    def rest(self):
        """Return all that is held, and hold it no longer: [(labels as a dict, times, values)]."""
        found, self.found, self.n = self.found, {}, 0
        return [(dict(labels), times, values) for labels, (times, values) in found.items()]


def as_arrays(piece):
    """A piece of a series with its times and values as arrays, float (n,)."""
    labels, at, values = piece
    return labels, np.array(at, float), np.array(values, float)


def arrays_of(labels, at, values):
    """A series with its times and values as arrays, float (n,), NaN where there is none; None where it is no
    series.
    """
    try:
        at, values = np.array(at, float), np.array(values, float)
    except (TypeError, ValueError, OverflowError):
        return None
    are_labels = isinstance(labels, dict) and all(isinstance(one, str) for one in labels.values())
    return (labels, at, values) if are_labels and at.ndim == 1 and at.shape == values.shape else None


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
        """Yield (labels, times in s since 1970, values) of every series in the file, in one piece or more."""
        raise NotImplementedError(f"{type(self).__name__} has no `series`")

    def extract(self, path, extraction):
        """Add one file; errors are those of `extract_series`. Folders of its path, such as instance=nid01,
        are labels of all its series.
        """
        partitions = partitions_of(path)
        series = ((partitions | labels, *more) for labels, *more in self.series(path, extraction))
        extract_series(extraction, series, where=path, sampler=self.sampler, server=self)
