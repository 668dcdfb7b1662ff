"""A night as a message of a chat, by an incoming webhook as Slack and Mattermost have them.

Both take {"text": ...} by POST. The address of a webhook is its credential, so that the configuration names
the variable of the environment that holds it.
"""

import hashlib
import os
import re
from types import SimpleNamespace

from nightshift.notify.http import post
from nightshift.notify.message import FEW, mail_templates, mail_view
from nightshift.notify.settings import read_webhooks

SECTION, MAX_TO, DRAFT, LATEST_ONLY = "webhooks", 1, "json", False
read_settings = read_webhooks
MAX_TEXT = 3900  # characters: Slack cuts a message after 4,000, Mattermost after 16,383


def address_in(name):
    """The address that the variable `name` holds; ValueError says in one line that it holds none."""
    address = os.environ.get(name, "").strip()
    if not re.fullmatch(r"https?://[^\s@/]+(/\S*)?", address):
        raise ValueError(f"{name} is no address of a webhook, such as https://chat.example.org/hooks/...")
    return address


def view_for(night, settings, name, entry):
    """What the readers of a chat may see, None where no message is due: as for a mail."""
    return mail_view(night, settings, name, set(entry["notified"]))


def compose(root, view, settings, names):
    """Make the message with `view` for the webhook in `names`, a list of one."""
    values = safe(view) | {"site_url": settings.site_url, "few": FEW}
    text = mail_templates().get_template("chat.txt.j2").render(values).strip()
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT].rpartition(chr(10))[0]}\n[cut: the site has all of it]"
    digest = hashlib.sha256("\n".join([view["day"], *names, text]).encode()).hexdigest()[:24]
    return SimpleNamespace(id=f"{view['day']}.{digest}", content={"text": text}, memory=None)


def safe(value):
    """`value` with all its texts written so that a chat shows them as they are: no @all or <!here> notifies
    anybody, no picture of another host is fetched, and no link has another name than its address.
    """
    if isinstance(value, dict):
        return {key: safe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [safe(one) for one in value]
    if not isinstance(value, str):
        return value
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("@", "@\u2060").replace("](", "]\u2060(").replace("`", "'")


def deliver(message, names, settings, before):
    """Hand `message` over: {name: (waiting, sent, refused or unclear; why)}.

    before : called with {name: ("sending", "")} just before it goes; where it fails, nothing goes.
    """
    [name] = names
    try:
        address = address_in(name)
    except ValueError as error:
        return {name: ("waiting", str(error))}
    before({name: ("sending", "")})
    return {name: post(address, message.content)}
