"""Tickets of Request Tracker (RT): what its second REST interface answers, and the table of a search."""

from types import MappingProxyType

from nightshift.sources.tickets.files import DeskExport
from nightshift.sources.tickets.json_files import DeskAnswer, objects_in


def names_of(members):
    """Return the address of the first member of a role, else its id, as text; None where there is none."""
    first = next(iter(objects_in(members)), {})
    name = first.get("EmailAddress") or first.get("id")
    return str(name) if name else None


class RtRest(DeskAnswer):
    """What `/REST/2.0/tickets?query=...&fields=Subject,Status,Created,...` answers.

    A time that is not set is given as the beginning of 1970, which counts as none.
    """

    label = "tickets of Request Tracker (REST 2)"
    keys = ("items", "_url", "Subject", "Created")
    columns = MappingProxyType(
        {
            "ticket_id": ("id",),
            "subject": ("Subject",),
            "address": ("Requestor",),
            "created": ("Created",),
            "closed": ("Resolved",),
            "lastupdate": ("LastUpdated",),
            "queue": ("Queue.Name", "Queue.id"),
        }
    )

    def ticket_of(self, record):
        """Put the first requestor in the place of the list of them."""
        return record | {"Requestor": names_of(record.get("Requestors") or record.get("Requestor"))}


class RtTable(DeskExport):
    """The table that a search exports ("Spreadsheet"), with tabs between cells and headings in English."""

    label = "tickets of Request Tracker (spreadsheet)"
    headings = frozenset({"id", "Subject", "Status"})
    columns = MappingProxyType(
        {
            "ticket_id": ("id",),
            "subject": ("Subject",),
            "address": ("Requestors", "Requestor"),
            "created": ("Created",),
            "closed": ("Resolved",),
            "lastupdate": ("LastUpdated", "Last Updated"),
            "queue": ("QueueName", "Queue"),
        }
    )

    def recognises(self, head):
        """By its headings, and by the tabs between them."""
        return super().recognises(head) and "\t" in head.line
