"""Tickets as JSON."""

import pyarrow as pa

from nightshift.sources.excerpts import SMALL, excerpt_of_text
from nightshift.sources.files import open_text
from nightshift.sources.tickets.files import TicketTable
from nightshift.sources.tickets.tables import read_json_tickets


class JsonTickets(TicketTable):
    """An array of objects, an object that holds one, or one object per line."""

    label = "tickets as JSON"

    def recognises(self, head):
        """By a brace or bracket at its beginning."""
        return head.line[:1] in ("[", "{")

    def pages(self, path, bad):
        """Open it; ValueError where it is no JSON of tickets."""
        odd = []
        with open_text(path) as file:
            rows = read_json_tickets(file.read().lstrip("\ufeff \t\r\n"), odd)
        bad.extend((path, number, why, "") for number, why in odd)
        table = pa.Table.from_pandas(rows, preserve_index=False)
        return list(rows), [(1, table)] if len(rows) else []

    def excerpt(self, path, folder):
        """Take the first and last lines where each is an object, and else all of it."""
        with open_text(path) as file:
            by_line = len(file.readline()) < SMALL and file.readline(1)[:1] == "{"
        return excerpt_of_text(path, folder) if by_line else path
