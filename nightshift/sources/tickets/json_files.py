"""Tickets as JSON."""

import re

import pyarrow as pa

from nightshift.sources.excerpts import SMALL, excerpt_of_text, whole_file
from nightshift.sources.files import open_text
from nightshift.sources.tickets.files import TicketTable
from nightshift.sources.tickets.tables import read_json_tickets


def excerpt_of_objects(path, folder):
    """Take the first and last lines where each is an object, as the second one shows; else the whole file."""
    with open_text(path) as file:
        is_short, second = len(file.readline()) < SMALL, file.readline().rstrip(", \n")
    by_line = is_short and second.startswith("{") and second.endswith("}")
    return (excerpt_of_text if by_line else whole_file)(path, folder)


class JsonTickets(TicketTable):
    """An array of objects, an object that holds one, or one object per line."""

    label = "tickets as JSON"
    excerpt = staticmethod(excerpt_of_objects)

    def recognises(self, head):
        """By a brace or bracket at its beginning."""
        return head.line[:1] in ("[", "{")

    def ticket_of(self, record):
        """Return a record, a dict, as the ticket that it is; ValueError with the reason where it is none."""
        return record

    def pages(self, path, bad):
        """Open it; ValueError where it is no JSON of tickets."""
        odd = []
        with open_text(path) as file:
            rows = read_json_tickets(file.read().lstrip("\ufeff \t\r\n"), odd, self.ticket_of)
        bad.extend((path, number, why, "") for number, why in odd)
        table = pa.Table.from_pandas(rows, preserve_index=False)
        return list(rows), [(1, table)] if len(rows) else []


class DeskAnswer(JsonTickets):
    """What the interface of one kind of help desk answers. keys : names of values, by which it is recognised:
    all of them occur in it. counted_in : the value that says within what its numbers of tickets count, such
    as a project; "" where they are those of the whole desk.
    """

    label = ""
    keys = ()
    counted_in = ""

    def recognises(self, head):
        """By the names of its values."""
        return super().recognises(head) and all(re.search(rf'"{key}"\s*:', head.text) for key in self.keys)

    def pages(self, path, bad):
        """Open it; ValueError where tickets of two projects have one number, since one of them would be taken
        for an older version of the other.
        """
        names, pages = super().pages(path, bad)
        for _, page in pages if self.counted_in in names else []:
            each = page.select([*self.columns["ticket_id"], self.counted_in]).to_pandas().drop_duplicates()
            again = each.iloc[:, 0][each.iloc[:, 0].duplicated()]
            if len(again):
                raise ValueError(
                    f"it has tickets of several projects, and several of the number {again.iloc[0]}: save "
                    "those of each project in a file of their own"
                )
        return names, pages


def objects_in(values):
    """Return the objects (dicts) of a list, an empty list for anything else."""
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def first_answer(comments, asker):
    """Return when somebody other than the `asker` first answered, the text of a time; None where nobody did,
    or where the asker is not known (None).

    comments : pairs (who, text of a time in ISO 8601 with its zone).
    """
    others = [at for who, at in comments if asker and who and at and who != asker]
    return min(others, default=None)
