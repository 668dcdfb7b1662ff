"""Tickets as JSON."""

import pyarrow as pa

from nightshift.sources.excerpts import SMALL, excerpt_of_text, whole_file
from nightshift.sources.files import open_text
from nightshift.sources.tickets.files import TicketTable
from nightshift.sources.tickets.tables import read_json_tickets


def excerpt_of_objects(path, folder):
    """Take the first and last lines where each is an object, and else all of the file."""
    with open_text(path) as file:
        by_line = len(file.readline()) < SMALL and file.readline(1)[:1] == "{"
    return (excerpt_of_text if by_line else whole_file)(path, folder)


class JsonTickets(TicketTable):
    """An array of objects, an object that holds one, or one object per line."""

    label = "tickets as JSON"
    excerpt = staticmethod(excerpt_of_objects)

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
