"""Tickets of OTRS and its forks, Znuny and OTOBO: the table of a search."""

from types import MappingProxyType

from nightshift.sources.tickets.files import DeskExport


class OtrsCsv(DeskExport):
    """What a search with the output CSV downloads, with its headings in English.

    Subject and sender are those of the customer's last article. Times are by the clock of the desk.
    """

    label = "tickets of OTRS or Znuny (CSV)"
    headings = frozenset({"Ticket Number", "Created", "State", "Queue", "Subject"})
    columns = MappingProxyType(
        {
            "ticket_id": ("Ticket Number",),
            "address": ("From",),
            "first_response": ("FirstResponse",),
        }
    )
