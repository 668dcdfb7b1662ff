"""Silences exchanged between an Alertmanager (its API, version 2) and Nightshift.

What is silenced there becomes an entry of feedback/silences.yaml, which the digest reads; what is silenced
here, in the configuration or by a reader, becomes a silence there. feedback/alertmanager.json remembers which
belongs to which, so that none goes round in circles, and what is lifted on one side is lifted on the other.

    matchers_of     an entry as matchers of alerts
    entry_of        a silence of the Alertmanager as an entry
    exchange        both ways, once

A label lists the values of all findings of an incident, as in site="HARBOR-T2,PRAIRIE-T1". In an Alertmanager
".*" runs across such a list, so that HARBOR-.* mutes that alert, although a silence of Nightshift would hold
for a part of its findings only. Such incidents are reported in a line, and recorded in
feedback/alertmanager.json, from which a metric is made.
"""

import re
from datetime import UTC, date, datetime, timedelta

import requests

from helpers import write_json
from nightshift.incidents.silences import (
    PATTERNS,
    SILENCES_FILE,
    check_silences,
    lift_silence,
    list_at,
    read_recorded,
    record_silence,
)
from nightshift.notify.alertmanager import INCIDENT, login
from nightshift.products import read_json
from nightshift.wording import joined, one_line

PAIRS_FILE = "feedback/alertmanager.json"  # below the products folder: {id of a silence: {entry, made_by}}
ALERTS = (INCIDENT,)  # the alerts of incidents: no other silences are exchanged
ACKNOWLEDGED = "acknowledged: "  # beginning of a comment there that makes a silence an acknowledgement here
WITHIN = "([^,]|, )"  # a character of one name of a list
PATIENCE_S = 5.0


class Alertmanager:
    """An Alertmanager at an address, with the `login` of the one to which nights send their incidents."""

    def __init__(self, address):
        self.address, self.session = address.rstrip("/"), requests.Session()
        self.session.auth = login()

    def ask(self, method, path, **how):
        """Send a request; ConnectionError in one line where it is not answered, or refused."""
        try:
            answer = self.session.request(method, f"{self.address}/api/v2/{path}", timeout=PATIENCE_S, **how)
        except requests.RequestException as error:
            raise ConnectionError(f"{self.address} does not answer: {one_line(error)[:150]}") from None
        if not answer.ok:
            raise ConnectionError(f"{self.address} refuses {method} {path}: {one_line(answer.text)[:150]}")
        try:
            return answer.json() if answer.content else None
        except requests.JSONDecodeError:
            raise ConnectionError(f"{self.address} is no Alertmanager: it answers without JSON") from None

    def ask_list(self, path, **how):
        """Get a list of objects; ConnectionError in one line for any other answer."""
        found = self.ask("GET", path, **how)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ConnectionError(f"{self.address} is no Alertmanager: {path} are no list")
        return found

    def silences(self):
        """List the silences that hold now, or will, as its API gives them, with those that have expired."""
        return self.ask_list("silences")

    def alerts(self):
        """List the alerts of incidents, those included that are muted, as its API gives them."""
        return self.ask_list("alerts", params={"filter": f'alertname="{INCIDENT}"'})

    def silence(self, silence):
        """Make a silence; returns its id."""
        return self.ask("POST", "silences", json=silence)["silenceID"]

    def expire(self, number):
        """End the silence with an id."""
        self.ask("DELETE", f"silence/{number}")


# ------------------------------------------------------------------------------------------------- Translated


def matchers_of(entry):
    """Write an entry, a dict as the configuration has it, as matchers of the alerts of incidents.

    An entry holds for an incident all of whose findings match, and the labels of an alert list what its
    findings are of, separated by commas: so each name in the list must match.
    """
    matchers = [{"name": "alertname", "value": ALERTS[0], "isRegex": False, "isEqual": True}]
    if entry.get("incident"):
        matchers.append({"name": "incident", "value": entry["incident"], "isRegex": False, "isEqual": True})
    for name in PATTERNS:
        if pattern := entry.get(name):
            one = re2_of(pattern)
            matchers.append({"name": name, "value": f"(?i){one}(,{one})*", "isRegex": True, "isEqual": True})
    return matchers


def re2_of(pattern):
    """Write a pattern such as T2-* as a regular expression of Go. What `fnmatch.translate` writes has atomic
    groups since Python 3.11, which Go refuses.

    A wildcard stays within one name of a list: it takes a comma only where a blank follows, as in "run 7,
    lumisections 1-51". Otherwise T2-* would hold for "T2-A,T1-B", too.
    """
    wild = {"*": f"{WITHIN}*", "?": WITHIN}
    parts = re.split(r"(\*|\?|\[!?.[^\]]*\])", pattern)
    return "".join(
        wild.get(part)
        or (
            f"[^{part[2:]}"
            if part[:2] == "[!"
            else part
            if part[0] == "[" and len(part) > 2
            else re.escape(part)
        )
        for part in parts
        if part
    )


def silence_of(entry, now):
    """Write an entry as a silence of the Alertmanager from `now` on, up to and including its day `until`."""
    last = min(date.fromisoformat(entry["until"]), date.max - timedelta(1))
    end = datetime.combine(last + timedelta(1), datetime.min.time(), UTC)
    comment = f"{ACKNOWLEDGED if entry['as'] == 'acknowledged' else ''}{entry['why']}"
    return {
        "matchers": matchers_of(entry),
        "startsAt": now.isoformat(),
        "endsAt": end.isoformat(),
        "createdBy": entry["by"],
        "comment": comment,
    }


def entry_of(silence):
    """Read a silence of the Alertmanager as an entry; None for one that is not about incidents of Nightshift
    alone, or that patterns of an entry cannot say: what it mutes there, it mutes there.

    The last day of an entry is the one in which the silence ends.
    """
    named = {one["name"]: one for one in silence["matchers"]}
    about = {
        name: one for name, one in named.items() if name not in ("alertname", "severity", "job", "instance")
    }
    alert = named.get("alertname", {}).get("value", ALERTS[0])
    if alert not in ALERTS or not about or not set(about) <= {"incident", *PATTERNS}:
        return None
    if len(named) < len(silence["matchers"]) or not all(one.get("isEqual", True) for one in named.values()):
        return None
    texts = {name: pattern_of(one) for name, one in about.items()}
    if None in texts.values() or "severity" in named:
        return None
    comment = one_line(silence["comment"], 200) or "silenced in the Alertmanager"
    end = datetime.fromisoformat(silence["endsAt"].replace("Z", "+00:00"))
    return {
        **texts,
        "as": "acknowledged" if comment.startswith(ACKNOWLEDGED) else "silenced",
        "by": one_line(silence["createdBy"], 80) or "Alertmanager",
        "until": str((end - timedelta(microseconds=1)).date()),
        "why": comment.removeprefix(ACKNOWLEDGED),
    }


def pattern_of(matcher):
    """Write a matcher as a pattern such as T2-*; None where it says more than a pattern can, such as a list
    of several names.
    """
    value = matcher["value"]
    if matcher["name"] not in PATTERNS:
        return None if matcher["isRegex"] and re.search(r"\W", value.replace("-", "")) else value
    if matcher["isRegex"]:
        return pattern_of_expression(value)
    return None if re.search(",(?! )", value) else quoted(value)


def pattern_of_expression(value):
    """Write a regular expression for one name, or for a list of which each name matches it, as
    `matchers_of` writes it or by hand, T2-[^,]*(,T2-[^,]*)*, as a pattern; None where no pattern says it.
    """
    value = value.removeprefix("(?i)")
    listed = re.fullmatch(r"(.+)\(,\1\)\*", value)
    wild = {r".*": "*", r"[^,]*": "*", r"[^,]": "?", WITHIN + "*": "*", WITHIN: "?"}
    token = "|".join([*map(re.escape, sorted(wild, key=len, reverse=True)), r"\\\W"])
    parts = re.split(f"({token})", listed[1] if listed else value)
    if any(re.search(r"[\\.+*?()\[\]{}|^$]", part) for part in parts[::2]):
        return None
    return "".join(
        [wild.get(part) or quoted(part.removeprefix("\\")) if i % 2 else part for i, part in enumerate(parts)]
    )


def quoted(text):
    """Write a text as a pattern that matches nothing else."""
    return re.sub(r"([*?[])", r"[\1]", text)


# -------------------------------------------------------------------------------------------------- Exchanged


def exchange(alertmanager, root, configured, now):
    """Exchange silences once; returns one line for each that was made or lifted on either side.

    root : of the products. configured : entries of the configuration. now : datetime in UTC. ValueError with
    the mistakes of these entries, or where those of readers cannot be read. What has been exchanged before an
    error is remembered.
    """
    path, today = root / PAIRS_FILE, str(now.date())
    if wrong := check_silences(configured, "digest.silences")[1]:
        raise ValueError("; ".join(wrong))
    configured = [normal(entry) for entry in configured]  # YAML reads a day as a date
    pairs = read_json(path)
    # whatever is asked for comes before anything is recorded
    alerts, silences = alertmanager.alerts(), alertmanager.silences()
    held = {one["id"]: one for one in silences if one["status"]["state"] != "expired"}
    expired = {one["id"] for one in silences} - held.keys()

    def entries():
        list_at(root / SILENCES_FILE)  # because of a file that cannot be read, nothing is lifted there
        recorded, _ = read_recorded(root / SILENCES_FILE, today)
        return [*configured, *map(normal, recorded)]

    try:
        lines = [*lift(alertmanager, root, pairs, held, expired, entries())]
        lines += take(root, pairs, held, entries(), today)
        lines += give(alertmanager, pairs, [one for one in entries() if one["until"] >= today], now)
        lines += widened(alerts, pairs)
    finally:
        if pairs != read_json(path):
            write_json(pairs, path)
    return lines


def lift(alertmanager, root, pairs, held, expired, entries):
    """Lift on one side what is gone on the other, and forget the pair. Nothing is lifted here because of an
    Alertmanager that does not know a silence at all, as after a loss of its storage.

    held, expired : ids of silences there that hold, as keys, and that do no more. entries : what holds here.
    """
    on = [pair["entry"] for number, pair in pairs.items() if number in held]  # there, be it by another one
    for number, pair in list(pairs.items()):
        entry, line = pair["entry"], ""
        here, there = entry in entries, number in held
        if here and there:
            continue
        if there:
            alertmanager.expire(number)
            del held[number]  # nor is it taken for one that somebody has made there
            line = f"lifted in the Alertmanager: {entry['why']}"
        elif here and number in expired and entry not in on and lift_silence(root / SILENCES_FILE, entry):
            line = f"lifted here: {entry['why']}"
        del pairs[number]
        if line:
            yield line


def take(root, pairs, held, entries, today):
    """Record the silences that somebody has made in the Alertmanager, and that are about incidents. One that
    is among `entries` already, as after an exchange that was killed, only gets its pair.
    """
    for number, silence in held.items():
        entry = None if number in pairs else entry_of(silence)
        checked, wrong = check_silences([entry] if entry else [])
        if not checked or wrong or entry["until"] < today:
            continue
        kept = normal(entry)
        is_new = kept not in entries
        if is_new:
            record_silence(root / SILENCES_FILE, entry)
            entries.append(kept)
        pairs[number] = {"entry": kept, "made_by": "Alertmanager"}
        if is_new:
            yield f"silenced here, as in the Alertmanager: {entry['why']}"


def give(alertmanager, pairs, entries, now):
    """Make in the Alertmanager the silences that it does not have."""
    there = [pair["entry"] for pair in pairs.values()]
    for entry in entries:
        if entry not in there:
            there.append(entry)
            pairs[alertmanager.silence(silence_of(entry, now))] = {"entry": entry, "made_by": "Nightshift"}
            yield f"silenced in the Alertmanager, as here: {entry['why']}"


def widened(alerts, pairs):
    """Keep with each silence that somebody has made there which incidents it mutes beyond its entry, and
    yield a line for each that has new ones.

    alerts : of incidents, as the API gives them.
    """
    made_there = {number: pair for number, pair in pairs.items() if pair["made_by"] == "Alertmanager"}
    for number, pair in made_there.items():
        before, matchers = pair.pop("mutes_too", []), matchers_of(pair["entry"])
        muted = [one["labels"] for one in alerts if number in one["status"]["silencedBy"]]
        beyond = sorted(one["incident"] for one in muted if not all(fits(it, one) for it in matchers))
        if beyond:
            pair["mutes_too"] = beyond
        if new := sorted(set(beyond) - set(before)):
            yield line_about(pair["entry"], new, matchers)


def fits(matcher, labels):
    """Whether a matcher of `matchers_of` holds for the labels of an alert."""
    value = labels.get(matcher["name"], "")
    return bool(re.fullmatch(matcher["value"], value)) if matcher["isRegex"] else value == matcher["value"]


def line_about(entry, incidents, matchers):
    """Say that a silence there mutes `incidents` of which not all findings match, and what to write there."""
    instead = ", ".join(f'{one["name"]}=~"{one["value"]}"' for one in matchers if one["isRegex"])
    return (
        f"The silence “{entry['why']}” of {entry['by']} in the Alertmanager mutes more than it names, "
        f"{joined(incidents)}: write {instead} there"
    )


def normal(entry):
    """Write an entry as `record_silence` keeps it: without what is empty, each value a text."""
    [checked], _ = check_silences([entry])
    return checked.model_dump(by_alias=True, exclude_defaults=True)
