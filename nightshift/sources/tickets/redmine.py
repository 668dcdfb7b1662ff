"""Issues of Redmine: what its interface answers, and what a list exports as CSV."""

from types import MappingProxyType

from nightshift.sources.tickets.files import DeskExport
from nightshift.sources.tickets.json_files import DeskAnswer

NAMES = {  # our name: its name in an issue
    "ticket_id": "id",
    "subject": "subject",
    "body": "description",
    "user_name": "author.name",
    "created": "created_on",
    "closed": "closed_on",
    "lastupdate": "updated_on",
    "status": "status.name",
    "priority": "priority.name",
    "queue": "project.name",
    "help_topic": "tracker.name",
}


class RedmineRest(DeskAnswer):
    """What `/issues.json` answers, page by page, or `/issues/ID.json` of one issue."""

    label = "issues of Redmine (REST)"
    keys = ("tracker", "author", "subject", "created_on")
    columns = MappingProxyType({ours: (name, f"issue.{name}") for ours, name in NAMES.items()})


class RedmineCsv(DeskExport):
    """What a list of issues exports as CSV with all columns; headings in English."""

    label = "issues of Redmine (CSV)"
    headings = frozenset({"#", "Tracker", "Status", "Subject"})
    columns = MappingProxyType(
        {
            "ticket_id": ("#",),
            "body": ("Description",),
            "user_name": ("Author",),
            "created": ("Created",),
            "closed": ("Closed",),
            "lastupdate": ("Updated",),
            "queue": ("Project",),
            "help_topic": ("Tracker",),
        }
    )
