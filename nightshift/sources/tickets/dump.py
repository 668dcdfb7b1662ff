"""Dumps of databases, which are no tables: a line that says how to read them."""

import re

from nightshift.sources.files import LayoutError
from nightshift.sources.tickets.files import TicketFile

BEGINNING = re.compile(
    r"-- (MySQL|MariaDB|PostgreSQL|phpMyAdmin)\b.* dump|^/\*M?!", re.I | re.M
)  # also of mysqldump's comments


class Dump(TicketFile):
    """What mysqldump, mariadb-dump or phpMyAdmin writes: statements that make a database again."""

    label = "a dump of a database (SQL)"

    def recognises(self, head):
        """By its first lines."""
        return bool(BEGINNING.search("\n".join(head.lines)))

    def extract(self, path, extraction):
        """Refuse it: LayoutError of one line."""
        raise LayoutError(
            "it is a dump of a database: load it into a MySQL or MariaDB (mariadb DATABASE <FILE) and name "
            "mysql://HOST:PORT/DATABASE as the source, or copy its tables into a file of SQLite"
        )
