"""Incidents of ServiceNow: the list of a table, exported as CSV, and what its interface answers."""

from types import MappingProxyType

from nightshift.sources.tickets.files import DeskExport
from nightshift.sources.tickets.json_files import DeskAnswer

STATES = {  # of incidents alone: other tables have other numbers
    "1": "New",
    "2": "In Progress",
    "3": "On Hold",
    "6": "Resolved",
    "7": "Closed",
    "8": "Canceled",
}
TIMES = ("opened_at", "closed_at", "resolved_at", "sys_updated_on")


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
            # what is resolved is closed days later, and what is cancelled was never resolved
            "closed": ("resolved_at", "closed_at"),
            "lastupdate": ("sys_updated_on",),
            "queue": ("assignment_group",),
            "help_topic": ("category",),
        }
    )


class ServiceNowRest(DeskAnswer):
    """What `/api/now/table/incident` answers, with any `sysparm_display_value`.

    By default states are numbers and times are in UTC; with display values states have names in the language,
    and times are in the time zone, of the user who asks.
    """

    label = "incidents of ServiceNow (REST)"
    keys = ("sys_id", "number", "short_description", "opened_at")
    columns = ServiceNowCsv.columns

    def ticket_of(self, record):
        """Take of each field what is shown, else its value. Where the state is a number, it gets its name and
        times get their zone, UTC.
        """
        is_raw = not isinstance(record.get("state"), dict) and str(record.get("state")).isdecimal()
        ticket = {name: shown(value) for name, value in record.items()}
        if is_raw:
            ticket |= {name: f"{ticket[name]} UTC" for name in TIMES if ticket.get(name)}
            if ticket.get("sys_class_name") == "incident":
                ticket["state"] = STATES.get(ticket["state"], ticket["state"])
        return ticket


def shown(value):
    """Return what people see of a field, a text or an object of its display value and its value; None for an
    empty one.
    """
    if isinstance(value, dict):
        value = value.get("display_value") or value.get("value")
    return value or None
