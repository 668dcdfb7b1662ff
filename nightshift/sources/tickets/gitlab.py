"""Issues of GitLab: what its interface answers, and what it exports as CSV."""

from types import MappingProxyType

from nightshift.sources.tickets.files import DeskExport
from nightshift.sources.tickets.json_files import DeskAnswer


class GitlabRest(DeskAnswer):
    """The array that `/projects/{id}/issues` answers."""

    label = "issues of GitLab (REST)"
    keys = ("iid", "project_id", "title", "created_at")
    counted_in = "project_id"
    columns = MappingProxyType(
        {
            "ticket_id": ("iid",),
            "subject": ("title",),
            "body": ("description",),
            "user_name": ("author.username",),
            "created": ("created_at",),
            "closed": ("closed_at",),
            "lastupdate": ("updated_at",),
        }
    )


class GitlabCsv(DeskExport):
    """What "Export as CSV" sends by mail; its times are in UTC, as its headings say."""

    label = "issues of GitLab (CSV)"
    headings = frozenset({"Issue ID", "Title", "State", "Created At (UTC)"})
    timezone = "UTC"
    columns = MappingProxyType(
        {
            "ticket_id": ("Issue ID",),
            "subject": ("Title",),
            "body": ("Description",),
            "user_name": ("Author Username", "Author"),
            "created": ("Created At (UTC)",),
            "closed": ("Closed At (UTC)",),
            "lastupdate": ("Updated At (UTC)",),
        }
    )
