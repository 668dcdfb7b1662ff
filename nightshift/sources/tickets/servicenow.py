"""Incidents of ServiceNow: the list of a table, exported as CSV."""

from types import MappingProxyType

from nightshift.sources.tickets.files import DeskExport


class ServiceNowCsv(DeskExport):
    """What a list exports as CSV: the names of fields are its headings, and states and names are shown."""

    label = "incidents of ServiceNow (CSV)"
    headings = frozenset({"number", "short_description", "opened_at"})
    columns = MappingProxyType(
        {
            "ticket_id": ("number",),
            "subject": ("short_description",),
            "body": ("description",),
            "user_name": ("caller_id",),
            "created": ("opened_at",),
            "closed": ("closed_at", "resolved_at"),
            "lastupdate": ("sys_updated_on",),
            "queue": ("assignment_group",),
            "help_topic": ("category",),
        }
    )
