"""Sections of a configuration that say who is told what of a night, by mail, chat or Alertmanager; that of
mails also names the sender and the server.
"""

import contextlib
import os
import re
from types import SimpleNamespace
from urllib.parse import urlsplit

from nightshift.reporting.settings import site_settings
from nightshift.wording import one_line

SEVERITIES = ["low", "medium", "high"]
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,99}\Z")  # name of one of the environment
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


def read_webhooks(config):
    """What the configuration says under `webhooks`, as `read_recipients`; None where it says nothing."""
    return read_recipients(config, "webhooks", checked_variable, ["only_changes"])


def read_alertmanager(config):
    """What the configuration says under `alertmanager`, as `read_recipients`; None where it says nothing."""
    settings = read_recipients(config, "alertmanager", checked_alertmanager, [])
    if settings:
        settings.only_changes = False
    return settings


def check_channels(config):
    """Lines about what is wrong with the sections about who is told of a night, [] if nothing."""
    lines = []
    for read in (read_settings, read_webhooks, read_alertmanager):
        try:
            read(config)
        except ValueError as error:
            lines.append(str(error))
    return lines


def read_recipients(config, section, checked, more):
    """Who is told what, by a section of the configuration, `mail` or another way; None where it is empty.

    checked : called with (path of a setting, address), returns the address or raises ValueError. more : names
    of settings besides `to` and `failures`.

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
    """(studies or None for all, position of the least severity) of an entry `one` of `to`; ValueError says in
    one line what is wrong. where : its path. configured : the studies of the configuration.
    """
    studies, severity = one.get("studies"), one.get("severity", "low")
    names = list(configured)  # a mapping, written in the place of a study, cannot be looked up in a dict
    if unknown := [study for study in list_of(f"{where}.studies", studies) if study not in names]:
        raise ValueError(f"{where}: unknown study {unknown[0]!r}; known are {', '.join(configured)}")
    if severity not in SEVERITIES:
        raise ValueError(f"{where}: severity {severity!r} is none of {', '.join(SEVERITIES)}")
    return None if studies is None else set(studies), SEVERITIES.index(severity)


def check_names(where, section, allowed):
    """Make sure that a section of the configuration is a mapping with no other names than `allowed`; else
    ValueError says in one line what is wrong. where : the path of the section.
    """
    if not isinstance(section, dict):
        raise ValueError(f"{where} must be a mapping of {', '.join(allowed)}")
    if unknown := [name for name in section if name not in allowed]:
        raise ValueError(f"{where}: unknown setting {unknown[0]!r}; known are {', '.join(allowed)}")


def list_of(where, value):
    """Return a list of the configuration, an empty one for None; ValueError for anything else."""
    if not isinstance(value, list | None):
        raise ValueError(f"{where} must be a list, such as [{one_line(value, 60)}]")
    return value or []


def checked_address(where, address):
    """Return a mail address in small letters; ValueError where it is none."""
    if not isinstance(address, str) or not ADDRESS.match(address):
        raise ValueError(f"{where}: {one_line(address, 80)!r} is no mail address such as name@example.org")
    return address.lower()


def checked_variable(where, name):
    """The name of a variable that holds the address of a webhook; ValueError where it is none."""
    if not isinstance(name, str) or not VARIABLE.match(name):
        # not shown: it may be the secret itself
        raise ValueError(
            f"{where} must be the name of a variable of the environment that holds the address of the "
            "webhook, such as OPERATORS_WEBHOOK"
        )
    return name


def checked_alertmanager(where, url):
    """The address of an Alertmanager without a slash at its end; ValueError where it is none."""
    if "@" in str(url):  # not shown: it may hold the password
        raise ValueError(f"{where} holds a user or a password: they belong in the environment")
    if not isinstance(url, str) or not re.fullmatch(r"https?://[^\s?#@/]+(/[^\s?#@]*)?", url):
        raise ValueError(
            f"{where}: {one_line(url, 80)!r} is no address such as http://alerts.example.org:9093"
        )
    return url.rstrip("/")


def checked_server(url):
    """(scheme, host, port) of smtp://host:587 (STARTTLS) or smtps://host:465 (TLS)."""
    url = str(url or "")
    if "@" in url:  # not shown: it may hold the password
        raise ValueError(
            "mail.server holds a user or a password: they belong in the environment, as SMTP_USER and "
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
