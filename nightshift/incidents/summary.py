"""One row per incident: its place and times, what it costs, how surprising it is. All is pure."""

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
}  # of an incident of one finding, by its scope, the gravest first
COLUMNS = [
    *("key", "site", "title", "description", "kinds", "studies", "start", "end", "ended", "active_last_day"),
    *("p_value", "impacts", "impact", "scope", "benign"),
]


def combine_p_values(p_values):
    """Cauchy combination of p-values (n,), valid whatever their dependence (Liu & Xie 2020); 1 for none.

    A p-value of 0 counts as 1e-300. Those above 0.99 count as that: one of 1 would outweigh all others.
    """
    p = np.clip(np.asarray(p_values, float), 1e-300, 0.99)
    return float(stats.cauchy.sf(np.mean(stats.cauchy.isf(p)))) if len(p) else 1.0


def add_impacts(findings):
    """What some findings cost: [{"study", "value", "unit"}], by study and unit.

    Findings of one study and name that overlap count the same thing, so the largest counts; a node counts
    once, however often it is found.
    """
    sums = {}
    with_impact = findings[findings.impact.notna() & (findings.impact_unit != "")].sort_values(
        "first_h", kind="stable"
    )
    for (study, unit, _), group in with_impact.groupby(["study", "impact_unit", "name"]):
        ends = group.last_h.cummax().shift().fillna(-np.inf)
        parts = (group.first_h >= ends).cumsum() if unit != "nodes" else pd.Series(0, group.index)
        sums[study, unit] = sums.get((study, unit), 0.0) + float(group.impact.groupby(parts).max().sum())
    return [{"study": study, "value": value, "unit": unit} for (study, unit), value in sorted(sums.items())]


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
    """One row per incident: DataFrame [label] with key (study, scope, name of its first finding), site, what,
    description, kinds, studies, start, end, ended, active_last_day (seen in
    the last day that its daily sources know), p_value, impacts, impact, scope, benign.

    findings : as `describe_findings` gives it, with `night`, the night (date text) that each is of. newest :
    {study: newest time in its source}, if that may be earlier than the end of the night.

    One rule says what has ended. A finding has when it ends `still_h` or more hours before what its source
    knows, a weekly one when it ends a week or more before: at the edge of what is known nothing has ended,
    since nobody has seen what came after. Without times it goes on as long as it is found. An incident has
    ended when all its findings have; where a daily source sees it, those of daily sources decide, since they
    know of later days than those of weekly ones.
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
    active_last_day = ~weekly & (findings.last_h > known_h - DAY_H)
    rows = []
    for _, group in findings.assign(has_ended=has_ended, active_last_day=active_last_day).groupby(
        np.asarray(label), sort=True
    ):
        grave = group.scope.map(list(TITLES).index)
        lead = group.loc[group.assign(grave=grave).sort_values(["grave", "p_value"], kind="stable").index[0]]
        sites = group.site[group.site != ""].value_counts()
        first, impacts = group.iloc[0], add_impacts(group)
        daily = group[(group.cadence == "day") & group.last_h.notna()]
        rows.append(
            {
                "key": (first.study, first.scope, first["name"]),
                "site": sites.index[0] if len(sites) else "",
                "title": title_of(group, lead),
                "description": lead.description,
                "kinds": list(pd.unique(group.kind)),
                "studies": sorted(set(group.study)),
                "start": group.start.fillna(group.end).min(),
                "end": group.end.fillna(group.start).max(),
                "ended": bool((daily if len(daily) else group).has_ended.all()),
                "active_last_day": bool(group.active_last_day.any()),
                "p_value": combine_p_values(group.p_value),
                "impacts": impacts,
                "impact": impact_text(
                    impacts, catalog.impact_labels(set(zip(group.study, group.kind, strict=True)))
                ),
                "scope": lead.scope,
                "benign": bool(group.benign.all()),
            }
        )
    made = pd.DataFrame(rows, columns=COLUMNS)
    for time in ("start", "end"):
        made[time] = pd.to_datetime(made[time], utc=True).astype("datetime64[us, UTC]")
    return made


def title_of(group, lead):
    """What an incident is called: by its gravest finding, or, where several things or several troubles of
    a site come together, by the site.
    """
    names, troubles = (
        group[group.scope.isin([*GROUND, "community"])].name.nunique(),
        group[group.scope == "site"].kind.nunique(),
    )
    if lead.scope in GROUND and lead.site and (names > 1 or troubles > 1):
        return f"site trouble at {lead.site}"
    entity = lead.entity.partition(": ")[2] or lead.entity  # of a topic its keywords
    title = TITLES[lead.scope].format(
        label=lead.label, site=lead.site or lead["name"], name=lead["name"], entity=entity
    )
    return title.replace("run, run", "run")[:120]  # of a bad run, the run is the name
