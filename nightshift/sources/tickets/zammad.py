"""Tickets of Zammad: what its interface answers, and its report, saved as CSV."""

from types import MappingProxyType

from nightshift.sources.tickets.files import DeskExport
from nightshift.sources.tickets.json_files import DeskAnswer


class ZammadRest(DeskAnswer):
    """The array that `/api/v1/tickets?expand=true` answers; without `expand` it has numbers for names."""

    label = "tickets of Zammad (REST)"
    keys = ("article_count", "first_response_at", "close_at", "title")
    columns = MappingProxyType(
        {
            "ticket_id": ("number",),
            "subject": ("title",),
            "address": ("customer",),
            "created": ("created_at",),
            "closed": ("close_at",),
            "lastupdate": ("updated_at",),
            "first_response": ("first_response_at",),
            "queue": ("group",),
        }
    )

    def pages(self, path, bad):
        """Open it; ValueError where states are numbers, which mean something else in every desk."""
        names, pages = super().pages(path, bad)
        if names and "state" not in names:
            raise ValueError("its states have no names: save it with ?expand=true")
        return names, pages


class ZammadReport(DeskExport):
    """The table that a report downloads as a workbook, saved as CSV, with its headings in English."""

    label = "tickets of Zammad (report)"
    headings = frozenset({"#", "Title", "State", "Group", "Created At", "Article Count"})
    columns = MappingProxyType(
        {
            "ticket_id": ("#",),
            "subject": ("Title",),
            "user_name": ("Customer",),
            "created": ("Created At",),
            "closed": ("Closed At",),
            "lastupdate": ("Updated At",),
            "first_response": ("First Response At",),
            "queue": ("Group",),
        }
    )
