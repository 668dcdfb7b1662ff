"""A night as a mail: messages by message.py, handed over by smtp.py."""

from types import SimpleNamespace

from nightshift.notify import settings as sections
from nightshift.notify import smtp
from nightshift.notify.message import mail_view, message_of

SECTION, DRAFT, LATEST_ONLY = "mail", "eml", False
MAX_TO = 50  # recipients of one message; servers must take 100 (RFC 5321, 4.5.3.1.8), many take fewer
read_settings = sections.read_settings


def view_for(night, settings, address, entry):
    """What `address` may see of a night, None where no mail is due."""
    return mail_view(night, settings, address, set(entry["notified"]))


def compose(root, view, settings, addresses):
    """Make the message with `view` to `addresses`."""
    message = message_of(root, view, settings, addresses)
    return SimpleNamespace(id=message["Message-ID"], content=message, memory=None)


def deliver(message, addresses, settings, before):
    """Hand `message` over, as smtp.deliver."""
    return smtp.deliver(message.content, addresses, settings, before)
