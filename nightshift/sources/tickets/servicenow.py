"""Incidents of ServiceNow: the list of a table, exported as CSV, and what its interface answers."""

import re
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
CHOICES = ("state", "incident_state", "priority", "urgency", "impact", "severity")  # numbers where raw
REFERENCES = ("caller_id", "opened_by", "assigned_to", "assignment_group", "resolved_by", "closed_by")
KEY = re.compile("[0-9a-f]{32}")  # of another record


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
    and times are in the time zone, of the user who asks; with `all`, a field has both.
    """

    label = "incidents of ServiceNow (REST)"
    keys = ("sys_id", "number", "short_description", "opened_at")
    columns = ServiceNowCsv.columns

    def ticket_of(self, record):
        """Take of each field what is shown, else its value; of a time its value, with its zone, UTC. Where
        values are raw, a number of a state gets its name.
        """
        ticket, raw = {name: shown(value) for name, value in record.items()}, is_raw(record)
        ticket |= {name: f"{at} UTC" for name in TIMES if (at := stored(record.get(name), raw))}
        if raw and ticket.get("sys_class_name") == "incident" and ticket.get("state"):
            ticket["state"] = STATES.get(ticket["state"], ticket["state"])
        return ticket


def is_raw(record):
    """Say whether an incident has raw values alone, and not those that its user sees.

    Fields that refer to another record are objects, of which a raw one has no display value. Without any,
    choices are raw where the first that is there is a number, and references where one is a key.
    """
    objects = [value for value in record.values() if isinstance(value, dict)]
    if objects:
        return not any("display_value" in one for one in objects)
    if choice := next((record[name] for name in CHOICES if record.get(name)), None):
        return str(choice).isdecimal()
    return any(KEY.fullmatch(str(record.get(name))) for name in REFERENCES)


def stored(field, raw):
    """Return the value of a field, an object of its display and stored value, or where values are `raw` the
    value itself; None where there is only what people see.
    """
    if isinstance(field, dict):
        return field.get("value")
    return field if raw else None


def shown(value):
    """Return what people see of a field, a text or an object of its display value and its value; None for an
    empty one.
    """
    if isinstance(value, dict):
        value = value.get("display_value") or value.get("value")
    return value or None
