"""What run.json keeps of the incidents of a night for the trends, also when its pages are removed."""

from datetime import datetime, timedelta

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
    """Return how many hours an incident lasted that is news as ended, None for any other and where its times
    are not known.
    """
    is_news = incident["state"] == "resolved" or (incident["state"] == "new" and incident["ended"])
    if not is_news or not incident["start"] or not incident["end"]:
        return None
    try:
        lasted = datetime.fromisoformat(incident["end"]) - datetime.fromisoformat(incident["start"])
    except (TypeError, ValueError):  # of a digest.json that somebody changed
        return None
    return max(lasted / HOUR, 0.0)


def resolved(incidents):
    """Say how many incidents ended since the night before and how long they lasted on average:
    {"n": 2, "mean_h": 30.5}, the latter None for none.
    """
    hours = [one for one in map(hours_to_end, incidents) if one is not None]
    return {"n": len(hours), "mean_h": sum(hours) / len(hours) if hours else None}


def night_figures(incidents):
    """Return what run.json keeps of the incidents of a night: `open` by severity, and those `resolved`."""
    return {"open": open_by_severity(incidents), "resolved": resolved(incidents)}
