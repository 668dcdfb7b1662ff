"""Issues of Jira: what a search exports as CSV, and what its interface answers."""

import re
from types import MappingProxyType

import pyarrow as pa

from nightshift.sources.tickets.files import DeskExport
from nightshift.sources.tickets.json_files import DeskAnswer, first_answer

# parts of a document of Atlassian's that hold words; all others hold such parts
OF_WORDS = ("paragraph", "heading", "codeBlock", "caption", "taskItem", "decisionItem")


class JiraCsv(DeskExport):
    """What a search exports as CSV, in which the name of a column comes as often as an issue has such values.

    Times are in the time zone and the format of whoever exports. A comment is written as "31/Jan/26 9:05
    AM;who;what"; the first by somebody other than the reporter is the first answer.
    """

    label = "issues of Jira (CSV)"
    headings = frozenset({"Issue key", "Issue id", "Summary", "Created"})
    columns = MappingProxyType(
        {
            "ticket_id": ("Issue key",),
            "subject": ("Summary",),
            "body": ("Description",),
            "user_name": ("Reporter", "Reporter Id"),
            "closed": ("Resolved",),
            "lastupdate": ("Updated",),
            "queue": ("Project key",),
            "help_topic": ("Issue Type",),
        }
    )

    def pages(self, path, bad):
        """Open it, with a column of first answers."""
        names, pages = super().pages(path, bad)
        return [*names, "first_response"], ((first, with_answers(page)) for first, page in pages)


def with_answers(page):
    """Add to an Arrow table of issues the column first_response: when somebody else first commented, as it is
    written there; missing where nobody did, where the reporter is not known, or where comments call people by
    other names than the columns do.
    """

    def texts(name):
        return page[name].to_pylist() if name in page.column_names else [None] * len(page)

    names = [name for name in page.column_names if re.fullmatch(r"Comment(?: \(\d+\))?", name)]
    rows = zip(*map(texts, names), strict=True) if names else [()] * len(page)
    comments = [[one.split(";", 2) for one in row if one and one.count(";") > 1] for row in rows]
    askers = texts("Reporter Id" if "Reporter Id" in page.column_names else "Reporter")
    people = {*askers, *texts("Assignee"), *texts("Assignee Id"), *texts("Creator")}
    same_names = any(who in people for row in comments for _, who, _ in row)
    answers = [
        next((at for at, who, _ in row if same_names and asker and who != asker), None)
        for row, asker in zip(comments, askers, strict=True)
    ]
    return page.append_column("first_response", pa.array(answers, pa.string()))


def plain_text(node):
    """Return the text of a description: a text as it is, of a document of Atlassian's the texts of all its
    parts, each but for words in lines of its own; None where there is none.
    """
    if not isinstance(node, dict):
        return node
    if node.get("type") == "hardBreak":
        return "\n"
    parts = [plain_text(one) or "" for one in node.get("content") or []]
    between = "" if node.get("type") in OF_WORDS else "\n"
    return node.get("text") or between.join(parts)


class JiraRest(DeskAnswer):
    """What a search answers, `/rest/api/2/search` and `/rest/api/3/search/jql`; comments say when somebody
    answered.
    """

    label = "issues of Jira (REST)"
    keys = ("key", "fields", "summary", "created")
    columns = MappingProxyType(
        {
            "ticket_id": ("key",),
            "subject": ("fields.summary",),
            "body": ("fields.description",),
            "address": ("fields.reporter.emailAddress",),
            "user_name": ("fields.reporter.displayName",),
            "created": ("fields.created",),
            "closed": ("fields.resolutiondate",),
            "lastupdate": ("fields.updated",),
            "status": ("fields.status.name",),
            "priority": ("fields.priority.name",),
            "queue": ("fields.project.key",),
            "help_topic": ("fields.issuetype.name",),
        }
    )

    def ticket_of(self, record):
        """Make a text of the description, and add when somebody else first commented."""
        fields = dict(record.get("fields") or {})
        comments = (fields.pop("comment", None) or {}).get("comments") or []
        pairs = [(person(one.get("author")), one.get("created")) for one in comments]
        fields["description"] = plain_text(fields.get("description"))
        answered = first_answer(pairs, person(fields.get("reporter")))
        return {"key": record.get("key"), "fields": fields, "first_response": answered}


def person(user):
    """Return what identifies a user of Jira, its account or else its name; None where there is neither."""
    return (user or {}).get("accountId") or (user or {}).get("name")
