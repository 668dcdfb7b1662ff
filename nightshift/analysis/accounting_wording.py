"""Sentences of the accounting: what a finding is about, its evidence, what a night can find, and recalls."""

import numpy as np
import pandas as pd

from nightshift.analysis.accounting import SHAPES, quantity_of
from nightshift.catalog import label_of, labels_of
from nightshift.detectors.accounting import lone_limit
from nightshift.sources.accounting.steps import WEEK
from nightshift.statistics import share_interval
from nightshift.wording import first_few, last_moment, plural

USUAL = "usually {expected:,.0f} ({low:,.0f} to {high:,.0f})"
IN_SHAPE = "{now} {shape}, usually {then}; {observed:,.0f} core hours a {step}, " + USUAL  # of SHAPES
WORDING = {  # of each other kind
    "silent": "no core hours, " + USUAL + " a {step}; {hours:,.0f} {verb}",
    "drop": "{observed:,.0f} core hours a {step}, " + USUAL + "; {hours:,.0f} {verb}",
    "surge": "{observed:,.0f} core hours a {step}, " + USUAL + "; {hours:,.0f} {verb}",
    "moved": "{observed:,.0f} core hours a {step} at {site}, "
    + USUAL
    + "; {hours:,.0f} {verb} there, {gained:,.0f} gained at {to}",
    "global_dip": "{share:.0%} of {members:.0f} series fell together{where}: {observed:,.0f} core hours a "
    "{step}, " + USUAL + "; {hours:,.0f} {verb}",
    "reporting_gap": "all {members:.0f} series at zero while {others} other sites compute: the site, or only "
    "its reporting? Usually {expected:,.0f} ({low:,.0f} to {high:,.0f}) core hours a {step}; "
    "{hours:,.0f} {verb}",
    "returned": "back after {before:.0f} silent {step}s with {observed:,.0f} core hours a {step}, " + USUAL,
}


# --------------------------------------------------------------------------------------------------- Findings


def name_of(finding):
    """Say what a finding is about: a series ("VO at site"), a site or a VO; a VO that moved, by itself."""
    if finding.site and finding.vo and finding.kind != "moved":
        return f"{finding.vo} at {finding.site}"
    return finding.vo or finding.site


def measured_in(grid, finding):
    """Return what a finding is measured in: (mean in the weeks of the change, usual median, unit); that of
    SHAPES, else core hours a week, or a month by the step of the grid.
    """
    unit, values = quantity_of(grid, finding.kind)
    if finding.kind not in SHAPES:
        return finding.observed, finding.expected, unit
    now = np.nanmean(values[finding.row, finding.start : finding.end + 1])
    before = values[finding.row, max(finding.start - grid.step.long, 0) : finding.start]
    return now, np.nanmedian(before), unit


def shape_in_words(grid, finding):
    """Word what a finding of SHAPES is measured in: {"shape", "now", "then"}, all text."""
    *numbers, unit = measured_in(grid, finding)
    now, then = (f"{x:,.0f}" if x >= 100 else f"{x:.3g}" for x in numbers)
    return {"shape": unit, "now": now, "then": then}


def n_other_sites(grid, finding):
    """Count the other sites that compute in the first week of a finding."""
    computes = np.nan_to_num(grid.core[:, finding.start]) > 0
    return grid.series.site[grid.single & (grid.series.site != finding.site) & computes].nunique()


def evidence_of(grid, finding):
    """Write one sentence with the numbers of a finding, a row of `follow_losses`."""
    values = finding._asdict() | {
        "hours": abs(finding.change_hours),
        "verb": "lost" if finding.change_hours < 0 else "gained",
        "others": n_other_sites(grid, finding),
        "before": grid.features["silent_before"][finding.row, finding.start],
        "step": grid.step.name,
    }
    several = finding.sites.split(", ") if isinstance(finding.sites, str) and finding.sites else []
    values["where"] = f", at {first_few(several)}" if several else ""
    if finding.kind in SHAPES:
        values |= shape_in_words(grid, finding)
    renamed = ""
    if isinstance(finding.new_name, str) and finding.kind != "moved":
        renamed = f"; {finding.new_name} appeared there with {finding.new_hours:,.0f}: renamed?"
    sentence = WORDING.get(finding.kind, IN_SHAPE).format(**values)
    return f"{sentence}{renamed}; since {grid.weeks[finding.start]:%Y-%m-%d}"


def described(grid, found):
    """Return the findings `found`, of `follow_losses`, with entity, evidence, from and until (UTC; the end of
    their last week).
    """
    rows = list(found.itertuples())
    until = grid.step.ends(grid.weeks[found.end.astype(int)])
    found = found.assign(
        entity=[name_of(one) for one in rows], evidence=[evidence_of(grid, one) for one in rows]
    )
    return found.assign(**{"from": grid.weeks[found.start.astype(int)], "until": until})


def table_to_read(found, status):
    """List the findings of one `status`, as a table to read: DataFrame kind, entity, since, until (the last
    day), core hours, more or less than usual ("" where other jobs fill as many), evidence.
    """
    rows = found[found.status == status]
    more = rows.change_hours.map("{:+,.0f}".format).mask(rows.kind.isin(SHAPES), "").astype(str)
    kinds = labels_of("accounting", rows.kind)
    until = list(map(last_moment, rows.until, rows["from"]))
    evidence = rows.evidence.astype(str).str.replace(r"; since [\d-]{10}$", "", regex=True)  # told beside it
    rows = rows.assign(kind=kinds, since=rows["from"], until=until, evidence=evidence)
    rows = rows.assign(**{"core hours": more})
    return rows[["kind", "entity", "since", "until", "core hours", "evidence"]]


def finding_at(site, found, *, step):
    """Say which findings are about a site, a row of `changes_by_site`, or why none is.

    found : of `described`, with status. step : Step of the grid.
    """
    several = found.sites.astype(object).fillna("").astype(str).str.split(", ")
    of_several = several.map(lambda names: site.site in names)
    here = found[(found.site == site.site) | of_several]
    if (kept := here[here.status == "reported"]).size:
        return first_few(f"{label_of('accounting', one.kind)} of {one.entity}" for one in kept.itertuples())
    if len(here):
        return "none: what was flagged is no rarer than chance allows"
    if site.idle:
        return (
            f"none: {site.vo}, which makes most of it, computed nothing in {site.idle} of the {step.long} "
            f"{step.name}s before, too"
        )
    return "none: no series of the site is strange by itself"


def weeks_without_anybody(grid, common):
    """Write one sentence for each of the last weeks that is `common` (bool (n,), of the SilencePool): no
    series at all has a core hour in it, so it is nobody's change, and is not judged.
    """
    return [
        f"No series of the accounting has a core hour in the {grid.step.name} of {week:%Y-%m-%d}: a closed "
        "centre, or records that are lost."
        for week in grid.weeks[len(grid.weeks) - len(common) :][np.flatnonzero(common)]
    ]


def silent_source_words(status, sites, day, *, step=WEEK):
    """Say that the only site of a source has been silent up to `day`, one sentence in a list; an empty list
    where the source has several sites, goes up to the night, or is no later than its `step` allows.

    status : of the extraction, with state and newest. sites : names, of all series, "" among them. Where
    several sites stop at once, the source is the likelier cause, which its state `stale` tells already.
    """
    [site, *others] = sorted(set(sites) - {""}) or [""]
    if status["state"] != "stale" or others or not site:
        return []
    newest = pd.Timestamp(status["newest"])
    days = (pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1) - newest).days
    if days < step.late_days:
        return []
    return [
        f"{site} has been silent for {plural(days, 'day')}, since {newest:%Y-%m-%d %H:%M} UTC: the whole "
        "site, or only its accounting?"
    ]


# ---------------------------------------------------------------------------------------------------- A night


def resolution_sentence(can, n_series, n_ordinary, *, alarm_rate, **finding_rates):
    """Say in one sentence what a night with the Resolution `can` could find, why no more, and what history
    would be enough.

    n_series : judged series, totals included. n_ordinary : ordinary series-weeks that judge them.
    """
    step, unit = can.step, f"{can.step.name}s"
    ordinary = plural(n_ordinary, f"ordinary {step.series}")
    why = f"{ordinary} of {n_series:,} series give no rank below {can.least_p:.2g}"
    longer = f"about {can.other_weeks} {unit} of history are enough"
    silence = (
        f"Of {can.watched:,} series that {'was' if can.watched == 1 else 'were'} never silent, the first "
        "silence can be found"
    )
    n_chance = lone_limit(n_series, **finding_rates) * n_series
    by_chance = f"expect at most {n_chance:.2g} of the findings of a report to be chance"
    if can.silence and can.alone:
        return f"{silence}, and so can other changes of one series; {by_chance}."
    if can.alone:
        return f"A change of one series can be found; {by_chance}."
    if can.silence:
        return f"{silence}; other changes cannot, since {why} ({longer})."
    limit = f"no series was active in each of {step.least_life} {unit} or more"
    if can.watched:
        limit = (
            f"{can.watched:,} series never silent before cannot be told from those that were, at this rate"
        )
    return (
        f"No change of a single series can be found: {why} at an alarm rate of {alarm_rate:.2%}, and "
        f"{limit}; the silence of a series that is always active needs about {can.silence_weeks} {unit} of "
        f"history, other changes need {can.other_weeks}."
    )


def recall_sentence(hits):
    """Write the recall of each kind of trouble with its Wilson interval (95%), as text.

    hits : {kind: (found, trials)}; of a kind without a trial, the text says so.
    """
    parts = []
    for kind, (n_hits, n) in hits.items():
        low, high = share_interval(n_hits, n)
        parts.append(
            f"{kind.replace('_', ' ')} {n_hits / n:.0%} ({low:.0%} to {high:.0%} of {n})"
            if n
            else f"{kind.replace('_', ' ')}: no trial"
        )
    return ", ".join(parts)
