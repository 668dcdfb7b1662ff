"""Tickets in Parquet files."""

import pyarrow.parquet as pq

from nightshift.sources.excerpts import excerpt_of_parquet
from nightshift.sources.tickets.files import TicketTable


class ParquetTickets(TicketTable):
    """A table as Parquet."""

    label = "a table of tickets (Parquet)"
    excerpt = staticmethod(excerpt_of_parquet)

    def recognises(self, head):
        """By its name."""
        return head.path.lower().endswith((".parquet", ".pq"))

    def pages(self, path, bad):
        """Open it, in one page."""
        return pq.read_schema(path).names, [(1, pq.read_table(path))]
