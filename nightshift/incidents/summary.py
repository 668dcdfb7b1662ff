"""One row per incident: its place and times, what it costs, how surprising it is. All is pure."""

from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from nightshift import catalog
from nightshift.incidents.correlation import DAY_H, GROUND, WEEK_H, hours_of

TITLES = {
    "site": "{label} at {site}",
    "service": "{label} {name}",
    "community": "{label} of {name}",
    "node": "{label} on {name}",
    "gpu": "{label} at {site}",
    "detector": "{label}, {name}",
    "desk": "{label}: {entity}",
    "other": "{label}: {name}",
}  # of an incident, by the scope of its gravest finding, the gravest scope first
COLUMNS = [
    *("key", "site", "title", "description", "kinds", "studies", "start", "end", "ended", "active_last_day"),
    *("p_value", "impacts", "impact", "scope", "benign"),
]
READ = [  # of a finding, to say what its incident is
    *("study", "scope", "name", "site", "kind", "entity", "label", "description", "p_value"),
    *("impact", "impact_unit", "first_h", "last_h"),
]


def combine_p_values(p_values):
    """Cauchy combination of p-values (n,), valid for small ones however they depend (Liu & Xie 2020); 1 for
    none.

    A p-value of 0 counts as 1e-300. Those above 0.99 count as that: one of 1 would outweigh all others.
    """
    p = np.clip(np.asarray(p_values, float), 1e-300, 0.99)
    return float(stats.cauchy.sf(np.mean(stats.cauchy.isf(p)))) if len(p) else 1.0


def add_impacts(findings):
    """What some findings, dicts, cost: [{"study", "value", "unit"}], by study and unit.

    Findings of one study and name that overlap count the same thing, so the largest counts; a node counts
    once, however often it is found.
    """
    costing = [one for one in findings if one["impact"] == one["impact"] and one["impact_unit"]]
    of_name = defaultdict(list)
    for one in sorted(costing, key=lambda one: (np.isnan(one["first_h"]), one["first_h"])):
        of_name[one["study"], one["impact_unit"], one["name"]].append(one)
    sums = {}
    for (study, unit, _), ones in sorted(of_name.items()):
        value = max(one["impact"] for one in ones) if unit == "nodes" else largest_of_parts(ones)
        sums[study, unit] = sums.get((study, unit), 0.0) + float(value)
    return [{"study": study, "value": value, "unit": unit} for (study, unit), value in sorted(sums.items())]


def largest_of_parts(findings):
    """The sum of the largest impacts of each part in time of `findings`, dicts by their start: those that
    overlap are one part.
    """
    parts, end = [], -np.inf
    for one in findings:
        if one["first_h"] >= end or not parts:
            parts.append(one["impact"])
        parts[-1], end = max(parts[-1], one["impact"]), max(end, one["last_h"])
    return np.sum(parts)


def impact_text(impacts, labels=None):
    """Write impacts as text such as "103,178 core hours lost, 1 node"; "" for none.

    labels : {unit: what stands behind its number}, of catalog.impact_labels; None as the units say.
    """
    sums, labels = {}, labels or {}
    for one in impacts:
        sums[one["unit"]] = sums.get(one["unit"], 0.0) + one["value"]
    units, texts = catalog.impact_units(), []
    for name, value in sums.items():
        unit = units.get(name)
        number = f"{value:,.0f}" if value >= 100 or (unit and unit.whole) else f"{value:.3g}"
        label = labels.get(name) or (unit.label if unit else "") or name
        texts.append(f"{number} {label.replace(name, name.removesuffix('s')) if number == '1' else label}")
    return ", ".join(texts)


def summarise_incidents(findings, label, still_h=6.0, newest=None):
    """One row per incident: DataFrame [label] with key (study, scope, name of its first finding), site,
    title, description, kinds, studies, start, end, ended, active_last_day (seen in the last day that its
    daily sources know), p_value, impacts, impact, scope, benign.

    findings : as `describe_findings` gives it, with `night`, the night (date text) that each is of. newest :
    {study: newest time in its source}, if that may be earlier than the end of the night.

    A finding has ended when it ends at least `still_h` hours, or a week for a weekly one, before the newest
    time that its source knows: at the edge of what is known nothing has ended, since nobody has seen what
    came after. Without times it goes on as long as it is found. An incident has ended when all its findings
    have; where daily sources see it, theirs decide, since they know later days than weekly ones.
    """
    label = np.asarray(label)
    has_ended, active_last_day = states_of(findings, still_h, newest)
    start, end = findings.start.fillna(findings.end), findings.end.fillna(findings.start)
    daily = ((findings.cadence == "day") & findings.last_h.notna()).groupby(label)
    decides = ~daily.transform("any") | daily.obj
    of_label = {
        "start": start.groupby(label).min(),
        "end": end.groupby(label).max(),
        "ended": (has_ended | ~decides).groupby(label).all(),
        "active_last_day": active_last_day.groupby(label).any(),
        "benign": findings.benign.astype(bool).groupby(label).all(),
    }
    records, labels = findings[READ].to_dict("records"), cache(catalog.impact_labels)
    groups = findings.groupby(label).indices
    rows = [summary_of([records[row] for row in groups[number]], labels) for number in sorted(groups)]
    made = pd.DataFrame(rows, columns=COLUMNS)
    if rows:
        made = made.assign(**{name: column.to_list() for name, column in of_label.items()})
    for time in ("start", "end"):
        made[time] = pd.to_datetime(made[time], utc=True).astype("datetime64[us, UTC]")
    return made


def states_of(findings, still_h, newest):
    """(which findings have ended, which were seen in the last day that their daily source knows), Series of
    bool; arguments as of `summarise_incidents`.
    """
    weekly = (findings.cadence == "week").to_numpy()
    known_h = hours_of(findings.night) + DAY_H
    last_row = hours_of(findings.study.map(newest or {}).astype("datetime64[us, UTC]")).where(
        ~findings.kept.astype(bool)
    )
    known_h = np.fmin(
        known_h, np.where(weekly, np.floor(last_row / DAY_H + 1) * DAY_H, last_row)
    )  # of a weekly source its whole last day
    has_ended = findings.last_h <= known_h - np.where(weekly, WEEK_H, still_h)
    return has_ended, ~weekly & (findings.last_h > known_h - DAY_H)


def summary_of(group, labels):
    """What `summarise_incidents` says of one incident, as a dict without the columns that it takes from
    whole tables. group : its findings, dicts in their order. labels : catalog.impact_labels, cached.

    Dicts, since a table for each of 2,000 incidents would take 20 s.
    """
    grave = {scope: place for place, scope in enumerate(TITLES)}
    lead = min(group, key=lambda one: (grave[one["scope"]], np.nan_to_num(one["p_value"], nan=np.inf)))
    sites, impacts = Counter(one["site"] for one in group if one["site"]), add_impacts(group)
    return {
        "key": tuple(group[0][name] for name in ("study", "scope", "name")),
        "site": max(sites, key=sites.get, default=""),
        "title": title_of(group, lead),
        "description": lead["description"],
        "kinds": list(dict.fromkeys(one["kind"] for one in group)),
        "studies": sorted({one["study"] for one in group}),
        "p_value": combine_p_values([one["p_value"] for one in group]),
        "impacts": impacts,
        "impact": impact_text(impacts, labels(frozenset((one["study"], one["kind"]) for one in group))),
        "scope": lead["scope"],
    }


def title_of(group, lead):
    """The title of an incident: that of its gravest finding, or of its site where several things or troubles
    of the site come together. group : its findings, dicts; lead : the gravest.
    """
    names = {one["name"] for one in group if one["scope"] in (*GROUND, "community")}
    troubles = {one["kind"] for one in group if one["scope"] == "site"}
    if lead["scope"] in GROUND and lead["site"] and (len(names) > 1 or len(troubles) > 1):
        return f"site trouble at {lead['site']}"
    entity = lead["entity"].partition(": ")[2] or lead["entity"]  # of a topic its keywords
    title = TITLES[lead["scope"]].format(
        label=lead["label"], site=lead["site"] or lead["name"], name=lead["name"], entity=entity
    )
    return title.replace("run, run", "run")[:120]  # of a bad run, the run is the name
