"""Issues of GitHub: what `gh issue list --json` prints, and what its interface answers."""

from types import MappingProxyType

from nightshift.sources.tickets.json_files import DeskAnswer, first_answer, objects_in


def login_of(user):
    """Return the login of a user of GitHub, None where there is none."""
    return user.get("login") if isinstance(user, dict) else None


class GithubCli(DeskAnswer):
    """What `gh issue list --json number,title,createdAt,...` prints; comments say when somebody answered."""

    label = "issues of GitHub (gh issue list --json)"
    keys = ("number", "title", "createdAt")
    counted_in = "repository.nameWithOwner"  # of gh search issues
    columns = MappingProxyType(
        {
            "ticket_id": ("number",),
            "subject": ("title",),
            "user_name": ("author.login",),
            "created": ("createdAt",),
            "closed": ("closedAt",),
            "lastupdate": ("updatedAt",),
        }
    )

    def ticket_of(self, record):
        """Add when somebody else first commented."""
        comments = objects_in(record.get("comments"))
        pairs = [(login_of(one.get("author")), one.get("createdAt")) for one in comments]
        return record | {"first_response": first_answer(pairs, login_of(record.get("author")))}


class GithubRest(DeskAnswer):
    """The array that `/repos/{owner}/{repo}/issues` answers; pull requests stand among the issues there."""

    label = "issues of GitHub (REST)"
    keys = ("comments_url", "events_url", "title", "created_at")
    counted_in = "repository_url"
    columns = MappingProxyType(
        {
            "ticket_id": ("number",),
            "subject": ("title",),
            "user_name": ("user.login",),
            "created": ("created_at",),
            "closed": ("closed_at",),
            "lastupdate": ("updated_at",),
        }
    )

    def ticket_of(self, record):
        """Refuse a pull request by a ValueError."""
        if record.get("pull_request"):
            raise ValueError("a pull request")
        return record
