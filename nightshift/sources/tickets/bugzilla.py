"""Bugs of Bugzilla: what its interface answers."""

from types import MappingProxyType

from nightshift.sources.tickets.json_files import DeskAnswer


class BugzillaRest(DeskAnswer):
    """What `/rest/bug?...` answers. When a bug was resolved, which no field of Bugzilla itself says, stands
    in one that installations add: `cf_last_resolved` at Mozilla, `cf_last_closed` at Red Hat.
    """

    label = "bugs of Bugzilla (REST)"
    keys = ("bugs", "summary", "creation_time", "is_open")
    columns = MappingProxyType(
        {
            "ticket_id": ("id",),
            "subject": ("summary",),
            "address": ("creator",),
            "created": ("creation_time",),
            "closed": ("cf_last_resolved", "cf_last_closed"),
            "lastupdate": ("last_change_time",),
            "queue": ("product",),
            "help_topic": ("component",),
        }
    )

    def ticket_of(self, record):
        """Say whether it is open: each installation chooses the words of its states."""
        return record | {"state": "open" if record.get("is_open") else "closed"}
