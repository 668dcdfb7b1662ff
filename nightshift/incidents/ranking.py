"""The order of incidents and their severity."""

import numpy as np
import pandas as pd

from nightshift.incidents.tracking import PAST_STATES
from nightshift.wording import joined

MAX_ADVISED = 60  # incidents with proposals, unless more are shown in full; each takes some 10 ms
RULES = """Of the evidence:

- surprise: {decade:g} per factor of ten that the combined p-value lies below 1, of which {decades:g} count;
- impact: {tenfold:g} times the logarithm (base ten) of 1 plus the impact over what is noticeable, \
{amounts}; of several, the largest;
- sources: {study:g} per further study that sees it;
- site: {site:g} if a site as a whole is hit;
- benign: {benign:g} for what is usually intended, such as a surge or a move.

Of the night:

- news: {new:g} if it is new or has escalated;
- going on: {going_on:g} if it has not ended;
- tonight: {tonight:g} if a daily source saw it in the last day that it knows."""  # weights of rank_incidents


def rank_incidents(incidents, weights, scales, limits, max_incidents):
    """`incidents` sorted by rank with the points of which `priority` is the sum, standing (the same in
    words), severity, rank from 1, and shown (the first `max_incidents`).

    weights : {"decade", "decades", "tenfold", "study", "site", "new", "going_on", "tonight", "benign"}:
    points per decade of p, how many decades count, per factor of ten of impact above its scale, per further
    study, for a whole site, for new or escalated, for what goes on, for what a daily source saw in the last
    day, for what is usually intended. scales : {unit: amount that is noticeable}. limits : {"high",
    "medium"}: points of the evidence alone (surprise, impact, sources, site, benign) from which an incident
    has that severity. What changes because a night passes (news, going on, tonight) affects the order only.
    Silenced ones, then what is closed or resolved, come last and are never shown in full.
    """
    w = weights
    impact = [
        max([np.log10(1 + one["value"] / scales.get(one["unit"], np.inf)) for one in impacts], default=0.0)
        for impacts in incidents.impacts
    ]
    decades = np.minimum(-np.log10(np.maximum(incidents.p_value.astype(float), 1e-300)), w["decades"])
    evidence = (
        pd.DataFrame(
            {
                "surprise": w["decade"] * decades,
                "impact": w["tenfold"] * np.array(impact, float),
                "sources": w["study"] * (incidents.studies.map(len).astype(float) - 1),
                "site": w["site"] * (incidents.scope == "site"),
                "benign": w["benign"] * incidents.benign.astype(bool),
            },
            index=incidents.index,
        ).astype(float)
        + 0.0
    )  # no -0
    night = (
        pd.DataFrame(
            {
                "news": w["new"] * incidents.state.isin(["new", "escalated"]),
                "going on": w["going_on"] * ~incidents.ended.astype(bool),
                "tonight": w["tonight"] * incidents.active_last_day.eq(True),
            },
            index=incidents.index,
        ).astype(float)
        + 0.0
    )
    points = evidence.join(night)
    standing = map(standing_in_words, evidence.to_dict("records"), night.to_dict("records"))
    ranked = incidents.join(points.rename(columns="points {}".format)).assign(
        priority=points.sum(axis=1).round(3), standing=list(standing)
    )
    gravity = evidence.sum(axis=1).round(3)
    ranked["severity"] = np.select(
        [gravity >= limits["high"], gravity >= limits["medium"]], ["high", "medium"], "low"
    )
    last = np.select([ranked.state.isin(PAST_STATES), ranked.silenced_as != ""], [2, 1], 0)
    ranked = ranked.assign(last=last, down=-ranked.priority).sort_values(
        ["last", "down", "incident"], ignore_index=True
    )
    ranked["rank"] = np.arange(1, len(ranked) + 1)
    ranked["shown"] = (ranked["last"] == 0) & (ranked["rank"] <= max_incidents)
    return ranked.drop(columns=["last", "down"])


def standing_in_words(evidence, night):
    """Say which points give an incident its place, the largest first: "7.4 points: 5.4 of the evidence
    (impact 3.2, surprise 2.2), 2.0 of the night (news 1, going on 1)".

    evidence, night : points of `rank_incidents`, {what they are for: number}.
    """
    total, parts = sum(evidence.values()) + sum(night.values()), []
    for what, points in (("evidence", evidence), ("night", night)):
        counted = sorted(points.items(), key=lambda item: -abs(item[1]))
        if named := ", ".join(f"{name} {value:.2g}" for name, value in counted if abs(value) >= 0.05):
            parts.append(f"{sum(points.values()):.1f} of the {what} ({named})")
    return f"{total:.1f} points" + (f": {', '.join(parts)}" if parts else "")


def needs_advice(ranked):
    """Return the incidents of `rank_incidents` for which something is to be proposed: the first MAX_ADVISED
    that are neither resolved nor closed, more than a front page lists, and all that are shown in full.
    """
    advised = ranked[ranked.shown | ~ranked.state.isin(PAST_STATES)]
    return advised[advised.shown | (np.arange(len(advised)) < MAX_ADVISED)]


def amounts_in_words(scales):
    """Write the amounts that are noticeable, {unit: amount}: "1,000 core hours and 1 node"."""
    return joined(
        f"{amount:,g} {unit.removesuffix('s') if amount == 1 else unit}" for unit, amount in scales.items()
    )


def listed_points(incidents):
    """Return the points of `incidents`, of `rank_incidents`, as a table for people: DataFrame title, a column
    for each kind of points, priority, severity.
    """
    parts = [column for column in incidents if column.startswith("points ")]
    points = incidents[["title", *parts, "priority", "severity"]]
    return points.rename(columns=lambda name: name.removeprefix("points "))
