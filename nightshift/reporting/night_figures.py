"""What run.json keeps of the incidents of a night for the trends, also when its pages are removed."""

from datetime import datetime, timedelta

from nightshift import catalog
from nightshift.reporting.entity_history import is_open
from nightshift.reporting.incident_view import SEVERITIES, severity_of

HOUR = timedelta(hours=1)


def open_by_severity(incidents):
    """Count the incidents that are open, by severity: {"high": 1, "medium": 0, "low": 4, "unknown": 0}."""
    counts = dict.fromkeys((*SEVERITIES, "unknown"), 0)
    for one in filter(is_open, incidents):
        counts[severity_of(one["severity"])] += 1
    return counts


def hours_to_end(incident):
    """Return how many hours an incident whose end is news had lasted; None for any other, and where its times
    are not known.
    """
    began_anew = incident["state"] in ("new", "escalated")
    is_news = incident["state"] == "resolved" or (began_anew and incident["ended"])
    if not is_news or not incident["start"] or not incident["end"]:
        return None
    try:
        lasted = datetime.fromisoformat(incident["end"]) - datetime.fromisoformat(incident["start"])
    except (TypeError, ValueError):  # of a digest.json that somebody changed
        return None
    return max(lasted / HOUR, 0.0)


def is_of_detector(incident):
    """Whether an incident is about data of a detector: how long these last says nothing, since certification
    judges past data.
    """
    findings = incident.get("findings") or []
    return any(catalog.kind_of(one["study"], one["kind"]).scope == "detector" for one in findings)


def resolved(incidents):
    """Count the incidents that ended since the night before, those of detectors left out, and average how
    long they lasted: {"n": 2, "mean_h": 30.5}, with None for the mean of none.
    """
    ended = map(hours_to_end, (one for one in incidents if not is_of_detector(one)))
    hours = [one for one in ended if one is not None]
    return {"n": len(hours), "mean_h": sum(hours) / len(hours) if hours else None}


def night_figures(incidents):
    """Return what run.json keeps of the incidents of a night: `open` by severity, and those `resolved`."""
    return {"open": open_by_severity(incidents), "resolved": resolved(incidents)}
