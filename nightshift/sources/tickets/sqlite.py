"""The SQLite file of an osTicket."""

from nightshift.sources.excerpts import whole_file
from nightshift.sources.tickets.files import TicketFile
from nightshift.sources.tickets.osticket import open_sqlite, with_prefix
from nightshift.sources.tickets.rows import asked_of, look_at_database, ticket_pages


class OsticketFile(TicketFile):
    """It is asked the same questions as a server."""

    excerpt = staticmethod(whole_file)
    label = "the database of an osTicket (SQLite)"
    is_database = True

    def recognises(self, head):
        """By its first bytes."""
        return head.first_bytes == b"SQLite format 3\0"

    def extract(self, path, extraction):
        """Add the tickets of one file; ValueError of one line for a table that is not there, or where other
        files have no ids.
        """
        extraction.note_ids(True)
        with open_sqlite(path) as ask:
            asked = with_prefix(extraction.asked, ask)
            for _, tickets in ticket_pages(ask, asked):
                extraction.frames.append(tickets.assign(file=path, row=tickets.ticket_id.astype("int64")))

    def look(self, path, *, settings, folder):
        """Ask for the first page, and for the number of tickets and the ends of their times."""
        with open_sqlite(path) as ask:
            return look_at_database(ask, self.label, with_prefix(asked_of(settings), ask))
