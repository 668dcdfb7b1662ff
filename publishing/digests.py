"""What the digest left of one night: its tables of incidents, read with care, as plain values.

The pages, digest.json and the feed are made of the dict that `read_digest` returns. Times are ISO 8601 in UTC, what is not known is None, and no
number is NaN. A table that is missing, cut off or of another version costs one line in `notes`, and what it would have told.
"""

import math
import re
from collections import Counter

import numpy as np
import pandas as pd

from helpers import FINDING_COLUMNS
from publishing.pages import read_json
from steps import error_of, read_notebook

VERSION = 1  # of digest.json: goes up when a key changes its meaning or goes away
GOING_ON = ("new", "worse", "ongoing")
OF_INCIDENT = ["incident", "rank", "shown", "state", "night", "mark", "marked_by", "marked_until", "marked_why", "severity", "priority", "site"]
OF_INCIDENT += ["what", "summary", "kinds", "studies", "start", "end", "ended", "first_seen", "p_value", "impact", "impacts", "change", "figure"]
OF_FINDING = FINDING_COLUMNS
OF_PROPOSAL = ["place", "solution", "proposal", "effort", "chance", "low", "high", "trials", "worked"]
ALL_OPEN = 0.99  # width of an interval that says nothing: that of a proposal that nobody has tried for anything, 0% to 100%
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def plain(value):
    """A cell of a table as a value of JSON; text without what XML forbids (control characters) and what turns the direction of reading around."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, str):
        return UNFIT.sub("", value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if value is None or pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return (value.tz_convert("UTC") if value.tz else value).strftime("%Y-%m-%dT%H:%M:%SZ")
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number


def read_rows(path, columns, notes):
    """Rows of the table at `path` as dicts of these columns; where it cannot be read or lacks one, none, and one line more in `notes`."""
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # whatever pyarrow says of a damaged file
        said = "it is not there" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:150]
        notes.append(f"data/incidents/{path.name} cannot be read: {said}")
        return []
    if lacking := [column for column in columns if column not in table]:
        notes.append(f"data/incidents/{path.name} lacks the column {lacking[0]}: another version wrote it")
        return []
    return [{name: plain(value) for name, value in row.items()} for row in table[columns].to_dict("records")]


def read_digest(root, day):
    """What the digest of `day` says, as a dict.

    outcome : "ok", "failed" (then `error` is one line) or "not run"; notes : lines about what could not be read, those of the digest among them;
    headline; missing : studies without findings of the night; counts : {state: number}, those muted or acknowledged apart; incidents : dicts in
    the order of their rank, with id, mark (None, or as, by, until, why), findings and proposals. ended, seconds : of the notebook's run.
    """
    path, folder = root / "reports" / day / "digest.ipynb", root / "data/incidents"
    notebook, notes, incidents, about = read_notebook(path), [], [], {}
    error, _ = error_of(notebook, path.with_suffix(".log")) if notebook else ("", False)
    outcome = "failed" if error else "ok" if notebook else "not run"
    if outcome == "ok":
        if not (about := read_json(folder / f"{day}.json")):
            notes.append(f"data/incidents/{day}.json is not there or cannot be read")
        rows = read_rows(folder / f"{day}.parquet", OF_INCIDENT, notes)
        if notes and not rows:  # the table itself: nothing is known of the night
            outcome, error = "failed", notes.pop()
        else:
            findings = read_rows(folder / f"{day}_findings.parquet", ["incident", *OF_FINDING], notes)
            proposals = read_rows(folder / f"{day}_proposals.parquet", ["incident", *OF_PROPOSAL], notes)
            incidents = [as_incident(row, findings, proposals) for row in sorted(rows, key=lambda row: row["rank"] or math.inf)]
    ran = notebook["metadata"].get("papermill", {}) if notebook else {}
    notes += texts(about.get("notes"))
    headline = plain(about.get("headline"))
    return {
        "outcome": outcome,
        "error": error,
        "notes": notes,
        "headline": headline if isinstance(headline, str) else "",
        "missing": texts(about.get("missing")),
        "counts": dict(Counter(one["mark"]["as"] if one["mark"] else one["state"] for one in incidents)),
        "incidents": incidents,
        "ended": ran.get("end_time"),
        "seconds": ran.get("duration"),
    }


def texts(values):
    """The texts of a list, fit to be shown; none where it is no list."""
    return [plain(one) for one in values if isinstance(one, str)] if isinstance(values, list) else []


def as_incident(row, findings, proposals):
    """One row of the table of incidents with its findings and proposals."""
    told = {name: value for name, value in row.items() if not name.startswith("mark") and name != "incident"}
    texts = ("state", "severity", "site", "what", "summary", "first_seen", "impact", "change", "figure")
    told |= {name: told[name] if isinstance(told[name], str) else "" for name in texts}
    told |= {name: told[name] if isinstance(told[name], list) else [] for name in ("kinds", "studies", "impacts")}
    told["mark"] = {"as": row["mark"]} | {name: row[f"marked_{name}"] or "" for name in ("by", "until", "why")} if row["mark"] else None
    mine = [one for one in proposals if one["incident"] == row["incident"]]
    return {
        "id": str(row["incident"]),
        **told,
        "findings": [without_incident(one) for one in findings if one["incident"] == row["incident"]],
        "proposals": [without_incident(one) for one in sorted(mine, key=lambda one: one["place"] or math.inf)],
    }


def without_incident(row):
    return {name: value for name, value in row.items() if name != "incident"}


# ------------------------------------------------------------------------------------------------------ as people read it


def pressing(incident):
    """Whether an incident is news or goes on, and nobody has said that it is known: one that is new may have ended before it was seen."""
    return incident["state"] in GOING_ON and not incident["mark"]


def going_on(incident):
    """Whether a pressing incident has not ended."""
    return pressing(incident) and not incident["ended"]


def rest_in_words(incidents):
    """How many pressing incidents are not shown in full: "24 more, less urgent: 7 go on, 17 have ended"; of one sort "7 more, less urgent, go on"."""
    live = sum(map(going_on, incidents))
    ended = len(incidents) - live
    verbs = {f"{'goes' if live == 1 else 'go'} on": live, f"{'has' if ended == 1 else 'have'} ended": ended}
    if live and ended:
        return f"{live + ended} more, less urgent: {', '.join(f'{n} {verb}' for verb, n in verbs.items())}"
    return "".join(f"{n} more, less urgent, {verb}" for verb, n in verbs.items() if n)


def in_words(counts):
    """Counts of incidents as text: "2 new, 1 ongoing"; of none at all, "no incident"."""
    known = [*GOING_ON, "resolved", "acknowledged", "muted"]  # those that were over before are no news
    return ", ".join(f"{counts[state]} {state}" for state in known if counts.get(state)) or "no incident"


def moment(iso):
    """An ISO time as a reader writes it: to the minute, a midnight as its day alone."""
    return iso[:10] if iso[11:19] == "00:00:00" else f"{iso[:10]} {iso[11:16]} UTC"


def since(incident):
    """When an incident began and, where it did, ended; sources without times leave the night it was first reported in."""
    start, end = incident["start"], incident["end"]
    if not start:
        return f"first reported on {incident['first_seen']}" if incident["first_seen"] else "since when is not known"
    return f"{moment(start)} to {moment(end)}" if incident["ended"] and end else f"since {moment(start)}"


def state_in_words(incident):
    """State of an incident with its night: "new", "new, ended", "ongoing, night 3", "resolved, seen in 4 nights"."""
    state, night = incident["state"], incident["night"] or 1
    if state in ("worse", "ongoing"):
        return f"{state}, night {night}"
    if state in ("resolved", "over"):
        return f"{state}, seen in {night} night{'s' * (night != 1)}"
    return f"{state}, ended" if incident["ended"] else state


def chance_in_words(proposal):
    """How likely a proposal is to work, with its interval and what that is known from; no number where the interval leaves everything open."""
    if not proposal["trials"] and None not in (proposal["low"], proposal["high"]) and proposal["high"] - proposal["low"] > ALL_OPEN:
        return "not tried yet"
    if proposal["chance"] is None:
        return "chance not known"
    between = "" if None in (proposal["low"], proposal["high"]) else f" ({proposal['low']:.0%} to {proposal['high']:.0%})"
    trials = f"{proposal['worked'] or 0} of {proposal['trials']} trials worked" if proposal["trials"] else "not tried yet"
    return f"chance {proposal['chance']:.0%}{between}, {trials}"
