"""Histograms in ROOT files."""

import os
from dataclasses import dataclass

from nightshift.sources.base import Look
from nightshift.sources.certification.forms import LumisectionFile
from nightshift.sources.certification.root import path_pattern, read_root
from nightshift.sources.excerpts import whole_file

QUICK = 2**25  # bytes: a file up to this size is read in seconds


@dataclass
class RootFile(LumisectionFile):
    """A ROOT file in one of the manners of CMS data quality monitoring."""

    excerpt = staticmethod(whole_file)
    label = "histograms in a ROOT file"

    def recognises(self, head):
        """By its name."""
        return head.suffix == ".root"

    def open(self, path, bad_lines, left_out):
        """Open the file, see `read_root`."""
        pattern = path_pattern(self.root_pattern)
        return read_root(path, pattern=pattern, dataset=self.dataset, left_out=left_out)

    def look(self, path, *, settings, folder):
        """Read all of a small file; of a large one only see whether it can be opened."""
        if os.path.getsize(path) <= QUICK:
            return super().look(path, settings=settings, folder=folder)
        names, _ = self.open(path, [], {})
        return Look(self.label, filled=frozenset(names), notes=["too large to be read here"])
