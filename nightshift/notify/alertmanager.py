"""The open incidents of a night as alerts of an Alertmanager (its API v2), which groups, routes and silences
them.

An Alertmanager forgets an alert that nobody repeats, and all of them when it is started again. So it is told
every night of all that is open, under labels that stay the same as long as an incident does: it notifies
people once, and again when the severity changes or a finding of another study, kind, site or entity joins.
Alerts that it was told of and that are no longer open are ended. Of several nights it needs only the latest.
"""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from nightshift.incidents.silences import PATTERNS
from nightshift.notify.http import post
from nightshift.notify.message import mail_view
from nightshift.notify.settings import read_alertmanager
from nightshift.reporting.digests import going_on
from nightshift.wording import one_line

SECTION, MAX_TO, DRAFT, LATEST_ONLY = "alertmanager", 1, "json", True
read_settings = read_alertmanager
# after which an alert ends that no night repeats: after two missed nights the third is still in time
LASTS = timedelta(hours=78)
INCIDENT = "NightshiftIncident"
LONGEST = 120  # characters of a label


def view_for(night, settings, url, entry):
    """{day, alerts, ended, seen}: the alerts that an Alertmanager is told of, and labels of those that it
    was told of before and that are to end; None where there are neither.

    entry : what is known of this recipient; `memory` has the labels of its alerts.
    """
    view, memory = mail_view(night, settings, url, set()), entry["memory"] or []
    alerts = alerts_of(night, view, settings) if view else []
    if night.incidents is None:  # the digest failed: nobody knows what has ended
        alerts += [{"labels": labels} for labels in memory if labels["alertname"] == INCIDENT]
    firing = [alert["labels"] for alert in alerts]
    ended = [labels for labels in memory if labels not in firing]
    if not alerts and not ended:
        return None
    return {"day": night.day, "alerts": alerts, "ended": ended, "seen": view["seen"] if view else []}


def alerts_of(night, view, settings):
    """The alerts of what a recipient may see of a night: open incidents, failed studies, and concerns."""
    seen, page = set(view["seen"]), f"{settings.site_url}{night.day}/"
    ones = [incident_alert(one, page) for one in night.incidents or [] if one["id"] in seen and going_on(one)]
    ones += [
        alert_of(
            "NightshiftStudyFailed",
            {"study": one["study"], "step": one["step"], "severity": "high"},
            {"summary": f"{one['study']} {one['how']}", "description": one["error"]},
            settings.site_url + one["page"],
        )
        for one in view["failed"]
    ]
    ones += [
        alert_of(
            "NightshiftConcern",
            {"study": one["study"], "concern": one["id"], "severity": "low"},
            {"summary": f"{one['study']}: {one['how']}", "description": one["text"]},
            page,
        )
        for one in view["concerns"]
    ]
    return ones


def incident_alert(one, page):
    """The alert of an incident of digest.json."""
    proposals = [one_line(proposal["proposal"]) for proposal in one["proposals"][:1]]
    texts = {"summary": one["title"], "description": one["summary"], "impact": one["impact"]}
    texts |= {"proposal": proposals[0]} if proposals else {}
    start = one["start"] or f"{one['first_seen']}T00:00:00Z"
    return alert_of(INCIDENT, labels_of(one), texts, f"{page}index.html") | {"startsAt": start}


def labels_of(incident):
    """The labels of the alert of an incident of digest.json, whoever raises it: its id, its severity, and
    study, kind, site and entity of all its findings, separated by commas. Silences match them.
    """
    findings = incident.get("findings") or []
    lists = {
        name: ",".join(sorted({str(one[name]) for one in findings if one.get(name)})) for name in PATTERNS
    }
    labels = {"incident": incident["id"], "severity": incident["severity"]} | lists
    return {name: one_line(value, LONGEST) for name, value in labels.items()}


def alert_of(name, labels, texts, address):
    """An alert of the API: labels that tell it from others, texts for people; empty ones are left out."""
    alert = {
        "labels": {"alertname": name} | {key: one_line(value) for key, value in labels.items() if value},
        "annotations": {key: one_line(value, 600) for key, value in texts.items() if value},
    }
    return alert | ({"generatorURL": address} if "://" in address else {})


def compose(root, view, settings, urls, now=None):
    """Make what an Alertmanager is told: an object with `content`, a list of alerts with the moments at which
    they end, and `memory`, the labels of those that go on.
    """
    now = now or datetime.now(UTC)
    later = [alert | {"endsAt": moment_of(now + LASTS)} for alert in view["alerts"]]
    ended = [{"labels": labels, "endsAt": moment_of(now)} for labels in view["ended"]]
    digest = hashlib.sha256(repr([view["day"], *urls, view["alerts"], view["ended"]]).encode()).hexdigest()
    memory = [alert["labels"] for alert in view["alerts"]]
    return SimpleNamespace(id=f"{view['day']}.{digest[:24]}", content=[*later, *ended], memory=memory)


def moment_of(at):
    """A moment as the API writes it, RFC 3339."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def login():
    """The login of Alertmanagers by the environment, as requests has it; None for that of netrc."""
    if token := os.environ.get("ALERTMANAGER_TOKEN"):
        return lambda request: request.headers.update(Authorization=f"Bearer {token}") or request
    user = os.environ.get("ALERTMANAGER_USER")
    return (user, os.environ.get("ALERTMANAGER_PASSWORD", "")) if user else None


def deliver(message, urls, settings, before):
    """Hand `message` over: {address: (waiting, sent or refused; why)}; what may have arrived is told again,
    which changes nothing for an Alertmanager.

    before : called with {address: ("sending", "")} just before it goes; where it fails, nothing goes.
    """
    [url] = urls
    before({url: ("sending", "")})
    outcome, words = post(f"{url}/api/v2/alerts", message.content, auth=login())
    return {url: ("waiting" if outcome == "unclear" else outcome, words)}
