"""What the digest left of one night: its tables of incidents, checked and read as plain values.

The pages, digest.json and the feed are made of the dict that `read_digest` returns. Times are ISO 8601 in
UTC, what is not known is None, and no number is NaN. A table that is missing, cut off or of another version
costs its content and one line in `notes`.
"""

import math
import re
from collections import Counter

import numpy as np
import pandas as pd

from nightshift import former_names
from nightshift.incidents.wording import counted_as
from nightshift.products import read_json
from nightshift.runs import read_run
from nightshift.schemas import FINDING, FINDING_MAY_HAVE, PROPOSAL, PUBLISHED
from nightshift.wording import joined, one_line

VERSION = 3  # of digest.json: goes up when a key changes its meaning or goes away
GOING_ON = ("new", "escalated", "ongoing")
MAY_HAVE = [
    "reason",
    "ranked",
    "verify",
    "standing",
    *FINDING_MAY_HAVE,
]  # columns of the tables of incidents, proposals and findings that older versions lack
# width of an interval that says nothing: that of a proposal that nobody has tried for anything, 0% to 100%
ALL_OPEN = 0.99
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def plain(value):
    """A cell of a table as a value of JSON; text without the control characters that XML forbids and without
    marks that change the direction of reading.
    """
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
    """Rows of the table at `path` as dicts of these columns, and of MAY_HAVE as far as it has them; where it
    cannot be read or lacks one of `columns`, no row, and one line more in `notes`.
    """
    try:
        table = former_names.rename_table(pd.read_parquet(path))
    except Exception as error:  # whatever pyarrow says of a damaged file
        reason = "it is not there" if isinstance(error, FileNotFoundError) else one_line(error, 150)
        notes.append(f"data/incidents/{path.name} cannot be read: {reason}")
        return []
    if lacking := [column for column in columns if column not in table]:
        notes.append(f"data/incidents/{path.name} lacks the column {lacking[0]}: another version wrote it")
        return []
    there = [*columns, *(column for column in MAY_HAVE if column in table)]
    return [{name: plain(value) for name, value in row.items()} for row in table[there].to_dict("records")]


def read_digest(root, day, expected=None):
    """Read what the digest of `day` says: a dict.

    expected : what it should have been made of, as `expected_of` in nightshift/reporting/studies.py says; a
    digest of anything else has failed. Keys:

    outcome : "ok", "failed" (then `error` is one line) or "not run". notes : lines about what could not be
    read, and all of which the digest warned. damaged : whether a table of the night is. headline : text.
    missing : studies without findings of the night. counts : {word: number}, by the words of `count_word`.
    incidents : dicts in the order of their rank, with id, silence (None, or as, by, until, why), findings and
    proposals; `ranked` says whether anything is known of the order of these. ended, seconds : of the
    notebook's run.
    """
    run, folder = read_run(root / "reports" / day, "", "digest"), root / "data/incidents"
    outcome, error, notes, incidents, about = run["outcome"], run["error"], [], [], {}
    if outcome == "ok" and expected and (error := out_of_date(run, expected)):
        outcome = "failed"
    if outcome == "ok":
        if not (about := read_json(folder / f"{day}.json")):
            notes.append(f"data/incidents/{day}.json is not there or cannot be read")
        try:
            incidents = incidents_of(folder, day, notes)
        except ValueError as wrong:
            outcome, error = "failed", str(wrong)
    damaged = bool(notes)
    warned = run["values"]["warnings"] if outcome == "ok" else []
    notes += dict.fromkeys([*texts(about.get("notes")), *texts(warned)])
    headline = plain(about.get("headline"))
    return {
        "outcome": outcome,
        "error": error,
        "notes": notes,
        "damaged": damaged,
        "headline": headline if isinstance(headline, str) else "",
        "missing": texts(about.get("missing")),
        "counts": dict(Counter(count_word(one) for one in incidents)),
        "incidents": incidents,
        "ended": run["ended"],
        "seconds": run["seconds"],
    }


def incidents_of(folder, day, notes):
    """Read the incidents of a night from its tables in `folder`, by rank: list of dicts. ValueError of one
    line where nothing of the night is known; a table beside theirs that cannot be read is a line in `notes`.
    """
    rows = read_rows(folder / f"{day}.parquet", PUBLISHED, notes)
    if notes and not rows:  # the table cannot be read, or has no row while what lies beside it cannot be read
        raise ValueError(notes.pop())
    findings = read_rows(folder / f"{day}_findings.parquet", ["incident", *FINDING], notes)
    proposals = read_rows(folder / f"{day}_proposals.parquet", ["incident", *PROPOSAL], notes)
    try:
        of_findings, of_proposals = by_incident(findings), by_incident(proposals)
        return [
            as_incident(row, of_findings.get(row["incident"], []), of_proposals.get(row["incident"], []))
            for row in sorted(rows, key=lambda row: row["rank"] or math.inf)
        ]
    except (TypeError, ValueError, KeyError) as wrong:
        what = f"data/incidents/{day}.parquet holds what it should not"
        raise ValueError(f"{what}: {one_line(wrong, 150)}") from None


def out_of_date(run, expected):
    """Why the digest of this `run` is not that of the night as it is now, in one line; "" where it is."""
    made, wanted = run["parameters"].get("nights"), expected["nights"]
    missing = run["parameters"].get("missing")
    if not isinstance(made, dict) or not isinstance(missing, list) or not (made or missing):
        return "it does not say which studies it was made from, so it may not be tonight's"
    if {study: str(day) for study, day in made.items()} != wanted or sorted(map(str, missing)) != sorted(
        expected["missing"]
    ):
        of, now = (joined(sorted(studies)) or "no study" for studies in (made, wanted))
        more = "" if of != now else ", of other days or pages"
        return (
            f"it is out of date: it was made from the findings of {of}, and tonight's are those of "
            f"{now}{more}"
        )
    if (
        expected["ended"] is not None
        and run["started"]
        and pd.to_datetime(run["started"], utc=True) < expected["ended"]
    ):
        return "it is out of date: it began before the last of the studies had ended"
    return ""


def count_word(incident):
    """Return the word under which an incident counts: silenced or acknowledged, unless it is closed, else
    that of `counted_as`.
    """
    if incident["silence"] and incident["state"] != "closed":
        return incident["silence"]["as"]
    return counted_as(incident["state"], incident["change"], incident["ended"])


def texts(values):
    """The texts of a list, fit to be shown; none where it is no list."""
    return [plain(one) for one in values if isinstance(one, str)] if isinstance(values, list) else []


def by_incident(rows):
    """Group rows, dicts, by the incident that they belong to: {incident: list}."""
    groups = {}
    for row in rows:
        groups.setdefault(row["incident"], []).append(row)
    return groups


def as_incident(row, findings, proposals):
    """One row of the table of incidents with its findings and proposals."""
    kept = {
        name: value for name, value in row.items() if not name.startswith("silenced") and name != "incident"
    }
    texts = ("state", "severity", "site", "title", "summary", "first_seen", "impact", "change", "figure")
    kept |= {name: kept[name] if isinstance(kept[name], str) else "" for name in texts}
    kept |= {
        name: kept[name] if isinstance(kept[name], list) else [] for name in ("kinds", "studies", "impacts")
    }
    kept["silence"] = (
        {"as": row["silenced_as"]} | {name: row[f"silenced_{name}"] or "" for name in ("by", "until", "why")}
        if row["silenced_as"]
        else None
    )
    offered = [
        without_incident(one) | {name: one.get(name) or "" for name in ("reason", "verify")}
        for one in proposals
        if one["incident"] == row["incident"]
    ]
    offered.sort(key=lambda one: one["rank"] or math.inf)
    ranked = is_ranked(offered)
    # no order of merit: those for which the evidence speaks come first, each group in alphabetical order
    if not ranked:
        offered.sort(key=lambda one: (not one["reason"], str(one["proposal"])))
    return {
        "id": str(row["incident"]),
        **kept,
        "findings": [without_incident(one) for one in findings if one["incident"] == row["incident"]],
        "ranked": ranked,
        "proposals": [{name: value for name, value in one.items() if name != "ranked"} for one in offered],
    }


def is_ranked(proposals):
    """Whether anything is known of the order of `proposals`: one of them was tried, here or for something
    alike.
    """
    return any(
        one["ranked"] if isinstance(one.get("ranked"), bool) else one["trials"] or not open_wide(one)
        for one in proposals
    )


def open_wide(proposal):
    """Whether the interval of a chance leaves everything open."""
    return None in (proposal["low"], proposal["high"]) or proposal["high"] - proposal["low"] > ALL_OPEN


def without_incident(row):
    """Drop from a row, a dict, the name of the incident that it is listed under."""
    return {name: value for name, value in row.items() if name != "incident"}


# ------------------------------------------------------------------------------------------ as people read it


def pressing(incident):
    """Whether an incident is news or goes on and nobody has silenced or acknowledged it; a new one may have
    ended before it was seen.
    """
    return incident["state"] in GOING_ON and not incident["silence"]


def is_known(incident):
    """Whether an incident goes on, and somebody has silenced or acknowledged it."""
    return incident["state"] in GOING_ON and bool(incident["silence"])


def going_on(incident):
    """Whether a pressing incident has not ended."""
    return pressing(incident) and not incident["ended"]


def rest_in_words(incidents):
    """How many pressing incidents are not shown in full: "Less urgent: 7 open, 17 ended"; "" for none."""
    n_open = sum(map(going_on, incidents))
    counts = [f"{n} {state}" for state, n in (("open", n_open), ("ended", len(incidents) - n_open)) if n]
    return f"Less urgent: {', '.join(counts)}" if counts else ""


def chance_in_words(proposal):
    """How likely a proposal is to work, with its interval and the trials behind it; no number for one that
    was not tried and whose interval leaves everything open.
    """
    if proposal["chance"] is None:
        return "chance not known"
    if not proposal["trials"] and None not in (proposal["low"], proposal["high"]) and open_wide(proposal):
        return "not tried yet"
    between = (
        ""
        if None in (proposal["low"], proposal["high"])
        else f" ({proposal['low']:.0%} to {proposal['high']:.0%})"
    )
    trials = (
        f"{proposal['worked'] or 0} of {proposal['trials']} trials worked"
        if proposal["trials"]
        else "not tried yet"
    )
    return f"chance {proposal['chance']:.0%}{between}, {trials}"
