"""Dumps of databases, which are no tables: a line that says how to read them."""

import re

from nightshift.sources.base import Head
from nightshift.sources.files import LayoutError
from nightshift.sources.tickets.files import TicketFile

# a line of the header; or a conditional comment of mysqldump, where the header was left out or comes later
BEGINNING = re.compile(r"-- (MySQL|MariaDB|PostgreSQL|phpMyAdmin)\b.* dump|^/\*M?!", re.I | re.M)


def header_in(head):
    """Return the match of BEGINNING in the first lines of a file, a Head; None where it is no dump."""
    return BEGINNING.search("\n".join(head.lines))


class Dump(TicketFile):
    """What mysqldump, mariadb-dump, phpMyAdmin or pg_dump writes: statements that restore a database."""

    label = "a dump of a database (SQL)"

    def recognises(self, head):
        """By its first lines."""
        return header_in(head) is not None

    def extract(self, path, extraction):
        """Refuse it: LayoutError of one line."""
        if "postgresql" in header_in(Head(path))[0].lower():
            raise LayoutError(
                "it is a dump of PostgreSQL, which no osTicket uses: export the tickets of its help desk as "
                "CSV or JSON"
            )
        raise LayoutError(
            "it is a dump of a database: load it into a MySQL or MariaDB (mariadb DATABASE <FILE) and name "
            "mysql://HOST:PORT/DATABASE as the source, or copy its tables into a file of SQLite"
        )
