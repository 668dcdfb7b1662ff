"""What `nightshift check` looks at besides the sources of a night: room on the disk, a clock that is right, a
key of pseudonyms, and the servers by which people are told of it. Nothing is written, and nothing is sent.
"""

import contextlib
import os
from datetime import UTC, datetime, timedelta

from helpers import project_path
from nightshift.products import TOLD_BY, read_json, size_and_time
from nightshift.reporting.products import is_day

# bytes beyond what the tables of the last night take: tables are written beside those they replace
LEAST_FREE = 1_000_000_000
LEAST_FILES = 20_000  # that the file system must still take, beyond as many as there are now
CLOCK_OFF = timedelta(minutes=5)  # the largest difference from other clocks that is no problem
ANSWER_S = 5  # the longest wait for an answer


def check_surroundings(config):
    """Yield (what was looked at, lines on what was seen, lines on problems) for a checked configuration."""
    root = project_path(config.get("products") or "")
    yield "disk", *check_disk(root)
    dates = []
    channels = list(check_told(config, dates))
    yield "clock", *check_clock(root, dates)
    yield "key", [key_in_words()], []
    yield from channels


def check_disk(root):
    """Return (lines, problems) about the room for products below the folder `root`."""
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    system = os.statvfs(there)
    free, files = system.f_bavail * system.f_frsize, system.f_favail
    sizes = sizes_below(root / "data")
    taken, wanted = sum(sizes), len(sizes) + LEAST_FILES
    line = f"{free / 1e9:.1f} GB free at {there}, the tables of the last night take {taken / 1e9:.1f} GB"
    problems = []
    if free < taken + LEAST_FREE:
        needed = (taken + LEAST_FREE) / 1e9
        problems.append(
            f"{free / 1e9:.1f} GB are free at {there}, and {needed:.1f} GB are needed, since tables are "
            "written beside those they replace: make room, or see `nightshift prune`"
        )
    if system.f_files and files < wanted:
        problems.append(f"the file system of {there} takes {files:,} more files, and {wanted:,} are needed")
    if not os.access(there, os.W_OK):
        problems.append(f"{there} cannot be written by the user that runs this")
    return [line], problems


def sizes_below(folder):
    """List the sizes of all files below `folder`, bytes, without those that a night removes meanwhile."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [size for path in files for size in size_and_time(path)[:1]]


def check_clock(root, dates):
    """Return (lines, problems) about the clock: it must be past the end of the last night, and agree with
    other clocks.

    dates : list of (whose clock, what it said), as `look_at_address` adds to it.
    """
    now, problems = datetime.now(UTC), []
    for path in sorted(root.glob("reports/*/digest.json"))[-1:]:
        ended = (read_json(path).get("digest") or {}).get("ended")
        if is_day(path.parent.name) and ended and datetime.fromisoformat(ended) > now + CLOCK_OFF:
            problems.append(f"it says {now:%Y-%m-%d %H:%M} UTC, and the last night ended at {ended}: set it")
    for whose, at in dates:
        if abs(at - now) > CLOCK_OFF:
            problems.append(
                f"it says {now:%Y-%m-%d %H:%M:%S} UTC, and that of {whose} {at:%Y-%m-%d %H:%M:%S}: set it"
            )
    compared = f", as {', '.join(whose for whose, _ in dates)}" if dates and not problems else ""
    return [f"{now:%Y-%m-%d %H:%M} UTC{compared}"], problems


def key_in_words():
    """Say whether there is a key of pseudonyms."""
    if os.environ.get("NIGHTSHIFT_KEY"):
        return "pseudonyms stay from night to night"
    return "NIGHTSHIFT_KEY is not set: users get other pseudonyms every night"


def check_told(config, dates):
    """Yield (section, lines, problems) for each channel by which people are told of nights; the time that a
    server says is added to `dates`.
    """
    if not any(map(config.get, TOLD_BY)):  # importing the channels takes a fifth of the time of a check
        return
    from nightshift.notify import policy

    looks = {"mail": look_at_mail, "webhooks": look_at_webhooks, "alertmanager": look_at_alertmanager}
    for channel in policy.CHANNELS:
        try:
            settings = channel.read_settings(config)
        except ValueError as error:
            yield channel.SECTION, [], [str(error)]
            continue
        if settings:
            yield channel.SECTION, *looks[channel.SECTION](settings, dates)


def look_at_mail(settings, dates):
    """Return (lines, problems) about a mail server, from a session with login up to where a message would
    begin.
    """
    from nightshift.notify import smtp

    _, host, port = settings.server
    try:
        with smtp.connected(settings, timeout_s=ANSWER_S):
            login = "logged in" if settings.login else "without a login"
            return [f"{host}:{port} takes mail from {settings.sender}, {login}"], []
    except smtp.NoWay as error:
        return [], [str(error)]


def look_at_webhooks(settings, dates):
    """Return (lines, problems) about webhooks: whether their servers answer; no webhook is called."""
    from urllib.parse import urlsplit

    from nightshift.notify.webhook import address_in

    lines, problems = [], []
    for name in sorted({*settings.people, *settings.failures}):
        try:
            parts = urlsplit(address_in(name))
        except ValueError as error:
            problems.append(str(error))
            continue
        if why := look_at_address(f"{parts.scheme}://{parts.netloc}/", parts.netloc, dates, "HEAD"):
            problems.append(f"{name}: {why}")
        else:
            lines.append(f"{name}: {parts.netloc} answers")
    return lines, problems


def look_at_alertmanager(settings, dates):
    """Return (lines, problems) about Alertmanagers: whether they answer a request for their status."""
    from nightshift.notify.alertmanager import login

    lines, problems = [], []
    for url in sorted({*settings.people, *settings.failures}):
        if why := look_at_address(f"{url}/api/v2/status", url, dates, "GET", needs=200, auth=login()):
            problems.append(f"{url}: {why}")
        else:
            lines.append(f"{url}: it answers")
    return lines, problems


def look_at_address(address, shown, dates, method, *, needs=None, auth=None):
    """Say why a server does not answer as it should, "" if it does; the time that it says is added to
    `dates`, a list of (`shown`, datetime in UTC).

    shown : its name, which holds no secret. method : of HTTP. needs : the status that its answer must have;
    None is any. auth : as requests takes it.
    """
    from nightshift.notify.http import ask, reason
    from nightshift.sources.telemetry.exposition import seconds_of

    end = ask(method, address, wait_s=ANSWER_S, auth=auth)
    if isinstance(end, Exception):
        return reason(end)
    status, _, headers = end
    if (seconds := seconds_of(headers.get("Date"))) is not None:
        with contextlib.suppress(ValueError, OverflowError):  # beyond the years of a datetime
            dates.append((shown, datetime.fromtimestamp(seconds, UTC)))
    return f"it says {status}" if needs and status != needs else ""
