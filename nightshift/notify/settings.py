"""What a configuration says under `mail`: who gets what, from whom, through which server."""

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

    Returns a namespace: sender, server (scheme, host, port), login (user, password) or None, people {address:
    [(studies or None for all, position of the least severity), ...]}, failures (set of addresses),
    only_changes, site_url.
    """
    section = config.get("mail") or {}
    if not section:
        return None
    check_names("mail", section, ["from", "server", "only_changes", "to", "failures"])
    people, failures = (
        {},
        [
            checked_address(f"mail.failures[{n}]", a)
            for n, a in enumerate(list_of("mail.failures", section.get("failures")))
        ],
    )
    for n, one in enumerate(list_of("mail.to", section.get("to"))):
        check_names(f"mail.to[{n}]", one, ["address", "studies", "severity"])
        studies, severity = one.get("studies"), one.get("severity", "low")
        configured = config.get("studies") or {}
        if unknown := [
            study for study in list_of(f"mail.to[{n}].studies", studies) if study not in configured
        ]:
            raise ValueError(f"mail.to[{n}]: unknown study {unknown[0]!r}; known are {', '.join(configured)}")
        if severity not in SEVERITIES:
            raise ValueError(f"mail.to[{n}]: severity {severity!r} is none of {', '.join(SEVERITIES)}")
        rule = (None if studies is None else set(studies), SEVERITIES.index(severity))
        people.setdefault(checked_address(f"mail.to[{n}].address", one.get("address")), []).append(rule)
    if not people and not failures:
        raise ValueError("mail names no recipient, neither under `to` nor under `failures`")
    if not isinstance(only_changes := section.get("only_changes", True), bool):
        raise ValueError(f"mail.only_changes is {only_changes!r}, neither true nor false")
    user, password = (os.environ.get(name, "") for name in ("SMTP_USER", "SMTP_PASSWORD"))
    if bool(user) != bool(password) or not (user + password).isascii():
        raise ValueError("SMTP_USER and SMTP_PASSWORD must both be set, or neither, in ASCII")
    return SimpleNamespace(
        sender=checked_address("mail.from", section.get("from")),
        server=checked_server(section.get("server")),
        people=people,
        login=(user, password) if user else None,
        failures=set(failures),
        only_changes=only_changes,
        site_url=site_settings(config)[1],
    )


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
