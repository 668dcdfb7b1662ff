"""Tickets of Freshdesk: what its interface answers.

Source: the documentation of its interface, version 2, which explains the numbers of states and priorities. A
desk may have states of its own, from 6 on, whose meaning the parameter `states` gives.
"""

from types import MappingProxyType

from nightshift.sources.tickets.json_files import DeskAnswer

STATES = {2: "Open", 3: "Pending", 4: "Resolved", 5: "Closed"}
PRIORITIES = {1: "Low", 2: "Medium", 3: "High", 4: "Urgent"}


class FreshdeskRest(DeskAnswer):
    """The array that `/api/v2/tickets?include=stats,requester,description` answers, or one ticket of it;
    without `stats` it does not say when a ticket was closed.
    """

    label = "tickets of Freshdesk (REST)"
    keys = ("fr_due_by", "fr_escalated", "subject", "created_at")
    columns = MappingProxyType(
        {
            "ticket_id": ("id",),
            "body": ("description_text",),
            "address": ("requester.email",),
            "user_name": ("requester.name",),
            "created": ("created_at",),
            "closed": ("stats.resolved_at", "stats.closed_at"),
            "lastupdate": ("updated_at",),
            "first_response": ("stats.first_responded_at",),
            "queue": ("group_id",),
            "help_topic": ("type",),
        }
    )

    def ticket_of(self, record):
        """Name the state and the priority, which are numbers."""
        named = {"status": STATES, "priority": PRIORITIES}
        return record | {name: words.get(record.get(name), record.get(name)) for name, words in named.items()}
