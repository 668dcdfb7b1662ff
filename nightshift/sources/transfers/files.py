"""Events of Rucio in files."""

from pathlib import Path

import pandas as pd

from nightshift.sources.base import Look
from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import read_kind
from nightshift.sources.parts import Extraction, PartFile
from nightshift.sources.transfers.parts import EVER, KIND, OPTIONAL, SCHEMA, transfer_rows
from nightshift.sources.transfers.rucio import event_times


class EventFile(PartFile):
    """A file of transfer events; a kind of it says how to `read` its records."""

    optional = OPTIONAL
    schema = SCHEMA
    rows_of = staticmethod(transfer_rows)

    def read(self, path, extraction):
        """Yield pages of records, lists of dicts as `rucio.read_event` takes them, of the file `path`; what
        does not parse is put aside.
        """
        raise NotImplementedError

    def look(self, path, *, settings, folder):
        """Read the transfer events of the file."""
        scratch = Extraction(Path(folder), EVER)
        empty = pd.DataFrame(columns=SCHEMA.names, dtype=object)
        rows = pd.concat([empty, *transfer_rows(self.read(path, scratch), scratch)], ignore_index=True)
        return Look.of_rows(self.label, rows, event_times(rows), scratch.bad_lines)


class RucioFiles(EventFile):
    """JSON in any layout, or a table, with the names of Rucio."""

    label = "events of Rucio (JSON or a table)"
    excerpt = staticmethod(excerpt_of_records)
    asked_last = True

    def read(self, path, extraction):
        """Yield pages of records. LayoutError where the file holds something, and no event."""
        for records, bad in read_kind(path, **KIND):
            extraction.put_aside(path, bad)
            yield records
