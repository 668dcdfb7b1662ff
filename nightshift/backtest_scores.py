"""How well incidents agree with the true ones: precision, recall, delay, and what belongs together."""

import json
from collections import Counter

import numpy as np
import pandas as pd

from nightshift.catalog import label_in_any
from nightshift.incidents import PART_OF
from nightshift.statistics import percentile_interval, poisson_interval, share_interval
from nightshift.truth import ONE_DAY, parts_of

NOTHING = (np.nan, np.nan, np.nan)  # value, low, high of what cannot be measured
LOWER_IS_BETTER = ("delay", "false")

# ------------------------------------------------------------------------------------------ What was reported


def read_nights(archive, days):
    """Read what the digest left of some nights: ({day: what the night knew of itself}, incidents, findings).

    archive : folder data/incidents. days : dates as text, each with all its files. Both tables have the night
    as `seen`. What became part of another incident, which the digest says of it, is that other one;
    findings are those of incidents.
    """
    nights = {day: json.loads((archive / f"{day}.json").read_text()) for day in days}
    incidents, findings = (
        pd.concat(
            [pd.read_parquet(archive / f"{day}{ending}.parquet").assign(seen=day) for day in days],
            ignore_index=True,
        )
        for ending in ("", "_findings")
    )
    findings = findings[findings.incident.isin(incidents.incident)].reset_index(drop=True)
    became = incidents.get("change", pd.Series("", incidents.index)).astype("str")
    became = became.str.extract(rf"{PART_OF}(\S+)$")[0]
    part_of = dict(zip(incidents.incident[became.notna()], became.dropna(), strict=True))
    for _ in part_of:  # of what became part of what became part of another
        incidents["incident"] = incidents.incident.replace(part_of)
        findings["incident"] = findings.incident.replace(part_of)
    findings[["entity", "site"]] = findings[["entity", "site"]].astype(object).fillna("").astype(str)
    return nights, incidents, findings


def last_reports(nights, studies):
    """Return when each of `studies` reported last: {study: end of the night as Timestamp, UTC}, the least
    Timestamp that there is for one that never did.

    nights : {day: what the night knew of itself}, of `read_nights`. A study has reported on a night if its
    data end with it.
    """
    never = pd.Timestamp.min.tz_localize("UTC")
    return {
        study: max(
            (
                pd.Timestamp(day, tz="UTC") + ONE_DAY
                for day, night in nights.items()
                if night["studies"].get(study) == day
            ),
            default=never,
        )
        for study in studies
    }


def when_told(true_incidents, findings, hits):
    """Return `true_incidents` with `shown`, the night of the first finding that shows each (missing for
    none), `found`, and `delay`, the nights from the day of its start to that night.

    hits : bool (findings, true incidents).
    """
    first_seen = [findings.seen[hits[:, j]].min() for j in range(len(true_incidents))]
    shown = pd.to_datetime(pd.Series(first_seen, true_incidents.index, object), utc=True)
    delay = (shown - true_incidents.start.dt.floor("D")) / ONE_DAY
    return true_incidents.assign(shown=shown, found=shown.notna(), delay=delay)


# -------------------------------------------------------------------------------------------- Trivial digests


def chain_findings(findings, keys, gap):
    """Return the number of the chain of each finding: those with the same `keys` (names of columns) that
    begin not later than `gap` after the latest end of those before them. Series of int.
    """
    ordered = findings.sort_values([*keys, "start"], kind="stable")
    until = ordered.groupby(keys).end.transform("cummax").groupby([ordered[key] for key in keys]).shift()
    return (~(ordered.start <= until + gap)).cumsum().reindex(findings.index)


def alone(findings):
    """Put every finding into an incident of its own: Series of text, names that last over the nights."""
    named = findings.assign(name=[parts_of(entity)[0] for entity in findings.entity])
    return chain_findings(named, ["study", "kind", "name"], ONE_DAY).astype(str)


def by_site_and_day(findings):
    """Put all that is found at one site on overlapping days into one incident, and the rest alone: Series of
    text.
    """
    of_days = findings.assign(start=findings.start.dt.floor("D"), end=findings.end.dt.floor("D"))
    chains = "s" + chain_findings(of_days, ["site"], pd.Timedelta(0)).astype(str)
    return chains.where(findings.site != "", alone(findings))


# --------------------------------------------------------------------------------------------------- Measures


def seen_by_several(findings, hits):
    """Return the true incidents that two studies or more see: {column of `hits`: bool (findings,)}, by which
    findings that show nothing else.

    hits : bool (findings, true incidents).
    """
    alone_shown = hits.sum(axis=1) == 1
    by_column = {j: hits[:, j] & alone_shown for j in range(hits.shape[1])}
    return {j: shown for j, shown in by_column.items() if findings.study[shown].nunique() > 1}


def troubles_of_mixed(mixed, findings, hits, *, true_incidents):
    """Name the troubles that each of the `mixed` incidents (names) holds: list of texts such as "memleak n01,
    dead_sector run 7", empty for none.

    hits : bool (findings, true incidents). true_incidents : with kind and entity, in the order of `hits`.
    """
    named = (true_incidents.kind + " " + true_incidents.entity).to_numpy()
    of_incident = [hits[(findings.incident == incident).to_numpy()].any(axis=0) for incident in mixed]
    return [", ".join(named[held]) for held in of_incident]


def measure_digest(incident, findings, hits):
    """Measure a digest that puts each finding into `incident` (findings,): (figures, DataFrame [incident]
    with right, mixed).

    An incident is right when one of its findings is right. It is mixed when no single trouble explains all of
    its right findings. A trouble that two studies or more see is merged when all findings that show it, and
    nothing else, are in one incident. hits : bool (findings, true incidents). figures : numbers of incidents,
    right, false and mixed ones, of those that several studies see, of merged ones, and pieces, the mean
    number of incidents of these, NaN for none.
    """
    incident = pd.Series(np.asarray(incident), findings.index)
    right = hits.any(axis=1)
    shown = pd.DataFrame(hits, findings.index).groupby(incident).any()
    explained = pd.DataFrame(hits | ~right[:, None], findings.index).groupby(incident).all()
    is_right = shown.any(axis=1)
    judged = pd.DataFrame({"right": is_right, "mixed": is_right & ~(shown & explained).any(axis=1)})
    pieces = [incident[of_it].nunique() for of_it in seen_by_several(findings, hits).values()]
    return {
        "incidents": len(judged),
        "right": int(judged.right.sum()),
        "false": int((~judged.right).sum()),
        "mixed": int(judged.mixed.sum()),
        "several": len(pieces),
        "merged": sum(n == 1 for n in pieces),
        "pieces": float(np.mean(pieces)) if pieces else np.nan,
    }, judged


def share_figure(n_hits, n):
    """Return `n_hits` of `n` as a share with Wilson's 95% interval: (share, low, high), NOTHING for none."""
    if not n:
        return NOTHING
    return n_hits / n, *share_interval(int(n_hits), int(n))


def median_delay(delays, *, rng, resamples):
    """Return the median of `delays` with a 95% interval over drawn incidents: (median, low, high), NOTHING
    for none.

    delays : Series of nights; what was never reported, NaN, is endlessly late. resamples : how often as many
    incidents are drawn.
    """
    waits = delays.fillna(np.inf).to_numpy()
    if not len(waits):
        return NOTHING
    drawn = np.median(rng.choice(waits, (resamples, len(waits))), axis=1)
    return float(np.median(waits)), *percentile_interval(drawn, method="nearest")


def rate_figure(n, n_nights):
    """Return `n` events as a rate per night with its exact 95% interval: (rate, low, high)."""
    low, high = poisson_interval(n)
    return n / n_nights, low / n_nights, high / n_nights


# ---------------------------------------------------------------------------------------------------- Wording


def verdict(name, figure, bar):
    """Say whether a figure keeps its bar: "yes", "no", or "not measured".

    name : of the figure; those of LOWER_IS_BETTER are at most the bar, others at least. figure : (value, low,
    high).
    """
    value = figure[0]
    if np.isnan(value):
        return "not measured"
    return "yes" if (value <= bar if name in LOWER_IS_BETTER else value >= bar) else "no"


def with_interval(figure):
    """Write a figure (value, low, high) with its interval: "0.86 (0.49 to 0.97)"."""
    return "nothing to measure" if np.isnan(figure[0]) else "{:.2f} ({:.2f} to {:.2f})".format(*figure)


def finite_or_none(values):
    """Return figures as JSON takes them, to four digits; what is not finite is None."""
    return [round(value, 4) if np.isfinite(value) else None for value in values]


def found_by_strength(incidents, *, stronger_is_higher):
    """Write how many of the stronger and of the weaker half of true incidents were found: ("5 of 6", "2 of
    6"), ("", "") where all are equally strong.

    incidents : with strength and found. stronger_is_higher : false for a dip, where a smaller factor is
    stronger.
    """
    if incidents.strength.nunique() < 2:
        return "", ""
    middle = incidents.strength.median()
    strong = incidents.strength >= middle if stronger_is_higher else incidents.strength <= middle
    return tuple(f"{int(incidents.found[half].sum())} of {int(half.sum())}" for half in (strong, ~strong))


def kinds_in_words(kinds):
    """Write how many there are of each kind: "surge 2, slow link 1", or "none"."""
    return ", ".join(f"{label_in_any(kind)} {n}" for kind, n in Counter(kinds).most_common()) or "none"
