"""Stores of LDMS, and what LDMS writes beside its data."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.telemetry import ldms, tables
from nightshift.sources.telemetry.files import extract_nodes
from nightshift.sources.telemetry.opening import HDF, PARQUET, NodeFile
from nightshift.sources.telemetry.parts import add_sampler


def excerpt_of_store(path, folder):
    """Take the first and the last lines of a store, and its header where that lies beside it."""
    excerpt, has_end = excerpt_of_text(path, folder)
    beside = ldms.header_beside(path)
    if beside and excerpt != str(path):
        shutil.copyfile(beside, Path(folder, beside.name))  # a link would change the state of the header
    return excerpt, has_end


@dataclass
class LdmsStore(NodeFile):
    """A store_csv of LDMS, whose header is inside or beside."""

    label = "a store of LDMS (store_csv)"
    excerpt = staticmethod(excerpt_of_store)

    def recognises(self, head):
        """By its header; where the user names the columns, it is a table of nodes."""
        binary = head.suffix in (*PARQUET, *HDF)
        return not binary and not self.columns and not ldms.is_beside(head.path) and ldms.is_store(head.path)

    def extract(self, path, extraction):
        """Add one store; its metrics are called after its sampler, which the name of the file gives. Errors
        are those of `read_store`, `layout_of_store` and `extract_nodes`.
        """
        sampler = re.sub(r"(\.csv|\.gz|\.txt|[._-]?\d{4}-?\d\d-?\d\d|[._-]\d{9,})+$", "", Path(path).name)
        for names, pages, where in ldms.read_store(path, extraction.bad_lines):
            tables.check_names(names)
            layout, metric_names = ldms.layout_of_store(names)
            metric_names = add_sampler(metric_names, sampler)
            extract_nodes(extraction, pages, layout=layout, metric_names=metric_names, where=where, path=path)


@dataclass
class LdmsBeside(NodeFile):
    """Headers, kinds and units: the store itself says when it needs them."""

    label = "a file beside a store of LDMS"

    def recognises(self, head):
        """By its name, such as meminfo.HEADER."""
        return ldms.is_beside(head.path)

    def extract(self, path, extraction):
        """Add nothing."""
