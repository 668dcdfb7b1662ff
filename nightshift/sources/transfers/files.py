"""Events of Rucio in files."""

from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from nightshift.sources.base import Look
from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import read_records, require_kind, sniff_layout
from nightshift.sources.part_files import PartFile
from nightshift.sources.parts import Extraction
from nightshift.sources.transfers.event_lines import read_event_lines
from nightshift.sources.transfers.parts import EVER, KIND, OPTIONAL, SCHEMA, table_of, transfer_rows
from nightshift.sources.transfers.rucio import event_times, is_event


class EventFile(PartFile):
    """A file of transfer events; a kind of it says how to `read` its rows."""

    optional = OPTIONAL
    schema = SCHEMA
    in_any_order = True
    rows_of = staticmethod(transfer_rows)

    def read(self, path, extraction):
        """Yield pages of rows of the file `path`, tables of SCHEMA as `table_of` makes them; what does not
        parse is put aside.
        """
        raise NotImplementedError

    def look(self, path, *, settings, folder):
        """Read the transfer events of the file, whatever their time."""
        scratch = Extraction(Path(folder), EVER)
        rows = pa.concat_tables([SCHEMA.empty_table(), *transfer_rows(self.read(path, scratch), scratch)])
        rows = rows.to_pandas()
        return Look.of_rows(self.label, rows, event_times(rows), scratch.bad_lines)


class JsonFile(EventFile):
    """JSON in any layout, with names that only its producer writes; a kind of it says which records belong to
    it, and what events they are.
    """

    names = ()  # texts, all of which such a file holds
    wanted = MappingProxyType({})  # kind and needed, see `require_kind`
    excerpt = staticmethod(excerpt_of_records)

    def recognises(self, head):
        """By its names."""
        return head.line[:1] in ("[", "{") and all(name in head.text for name in self.names)

    def fits(self, record):
        """Whether a record is of this kind."""
        raise NotImplementedError

    def events_of(self, page):
        """(events of the records of a page, by Rucio's names of fields; number of those of other kinds)."""
        raise NotImplementedError

    def read(self, path, extraction):
        """Yield pages of rows; what is of another kind is counted. LayoutError where the file holds something
        and no record of this kind.
        """
        pages = read_records(path, fits=self.fits)
        for page, bad in require_kind(pages, **self.wanted, fits=self.fits):
            extraction.put_aside(path, bad)
            events, n_others = self.events_of(page)
            extraction.counts["other kinds"] += n_others
            yield table_of(events)


class RucioFiles(EventFile):
    """JSON in any layout, or a table, with the names of Rucio."""

    label = "events of Rucio (JSON or a table)"
    excerpt = staticmethod(excerpt_of_records)
    asked_last = True

    def read(self, path, extraction):
        """Yield pages of rows. LayoutError where the file holds something, and no event."""
        are_lines = sniff_layout(path) == "lines"
        pages = read_event_lines(path) if are_lines else read_records(path, fits=is_event)
        for page, bad in require_kind(pages, **KIND):
            extraction.put_aside(path, bad)
            yield page if isinstance(page, pa.Table) else table_of(page)
