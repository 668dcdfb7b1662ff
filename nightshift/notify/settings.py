"""What a configuration says of those who are told of a night: who gets what, and for mails from whom, through
which server.
"""

import contextlib
import os
import re
from types import SimpleNamespace
from urllib.parse import urlsplit

from nightshift.reporting.settings import site_settings
from nightshift.wording import one_line

SEVERITIES = ["low", "medium", "high"]
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
ADDRESS = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){ATOM}(\.{ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\Z")


def read_settings(config):
    """What the configuration says under `mail`, checked, None where it says nothing; ValueError says in one
    line what is wrong.

    Returns what `read_recipients` does, with sender, server (scheme, host, port) and login (user, password)
    or None.
    """
    settings = read_recipients(config, "mail", checked_address, ["from", "server", "only_changes"])
    if not settings:
        return None
    user, password = (os.environ.get(name, "") for name in ("SMTP_USER", "SMTP_PASSWORD"))
    if bool(user) != bool(password) or not (user + password).isascii():
        raise ValueError("SMTP_USER and SMTP_PASSWORD must both be set, or neither, in ASCII")
    settings.sender = checked_address("mail.from", config["mail"].get("from"))
    settings.server = checked_server(config["mail"].get("server"))
    settings.login = (user, password) if user else None
    return settings


def read_recipients(config, section, checked, more):
    """Who is told what, by a section of the configuration, `mail` or another way; None where it is empty.

    checked : called with (path of a setting, address), returns the address or raises ValueError. more : names
    of settings beside `to` and `failures`.

    Returns a namespace: people {address: [(studies or None for all, position of the least severity), ...]},
    failures (set of addresses), only_changes, site_url.
    """
    settings = config.get(section) or {}
    if not settings:
        return None
    check_names(section, settings, [*more, "to", "failures"])
    people, listed = {}, list_of(f"{section}.failures", settings.get("failures"))
    failures = {checked(f"{section}.failures[{n}]", address) for n, address in enumerate(listed)}
    for n, one in enumerate(list_of(f"{section}.to", settings.get("to"))):
        where = f"{section}.to[{n}]"
        check_names(where, one, ["address", "studies", "severity"])
        rule = checked_rule(where, one, config.get("studies") or {})
        people.setdefault(checked(f"{where}.address", one.get("address")), []).append(rule)
    if not people and not failures:
        raise ValueError(f"{section} names no recipient, neither under `to` nor under `failures`")
    if not isinstance(only_changes := settings.get("only_changes", True), bool):
        raise ValueError(f"{section}.only_changes is {only_changes!r}, neither true nor false")
    return SimpleNamespace(
        people=people, failures=failures, only_changes=only_changes, site_url=site_settings(config)[1]
    )


def checked_rule(where, one, configured):
    """(studies or None for all, position of the least severity) of an entry `one` of `to`."""
    studies, severity = one.get("studies"), one.get("severity", "low")
    if unknown := [study for study in list_of(f"{where}.studies", studies) if study not in configured]:
        raise ValueError(f"{where}: unknown study {unknown[0]!r}; known are {', '.join(configured)}")
    if severity not in SEVERITIES:
        raise ValueError(f"{where}: severity {severity!r} is none of {', '.join(SEVERITIES)}")
    return None if studies is None else set(studies), SEVERITIES.index(severity)


def check_names(where, section, allowed):
    if not isinstance(section, dict) or (unknown := [name for name in section if name not in allowed]):
        raise ValueError(
            f"{where}: unknown setting {unknown[0]!r}; known are {', '.join(allowed)}"
            if isinstance(section, dict)
            else f"{where} must be a mapping of {', '.join(allowed)}"
        )


def list_of(where, value):
    if not isinstance(value, list | None):
        raise ValueError(f"{where} must be a list, such as [{one_line(value, 60)}]")
    return value or []


def checked_address(where, address):
    if not isinstance(address, str) or not ADDRESS.match(address):
        raise ValueError(f"{where}: {one_line(address, 80)!r} is no mail address such as name@example.org")
    return address.lower()


def checked_server(url):
    """(scheme, host, port) of smtp://host:587 (STARTTLS) or smtps://host:465 (TLS)."""
    url = str(url or "")
    if "@" in url:  # not shown: it may hold the password
        raise ValueError(
            "mail.server holds a user or a password: they belong into the environment, as SMTP_USER and "
            "SMTP_PASSWORD"
        )
    with contextlib.suppress(ValueError):  # a port that is none
        parts = urlsplit(url)
        port = parts.port or {"smtp": 587, "smtps": 465}.get(parts.scheme)
        more = parts.path.strip("/") or parts.query or parts.fragment
        if url == one_line(url) and parts.scheme in ("smtp", "smtps") and parts.hostname and not more:
            return parts.scheme, parts.hostname, port
    raise ValueError(
        f"mail.server is {one_line(url, 80)!r}: it must be smtp://host:587 (STARTTLS) or smtps://host:465 "
        "(TLS)"
    )
