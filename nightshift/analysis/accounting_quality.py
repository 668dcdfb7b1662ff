"""How good the accounting is: what is found of injected and of known troubles, how often alarms are raised.

Injected   by method, size and series    methods_table, doubts_about, recall_by_size, hardest_series
Known      incidents, and normal weeks   read_incidents, weeks_outside, alarms_outside
"""

import numpy as np
import pandas as pd

from helpers import table_key
from nightshift.analysis.accounting import SHAPES
from nightshift.analysis.accounting_wording import WORDING
from nightshift.sources.accounting.steps import WEEK
from nightshift.sources.tables import read_optional
from nightshift.statistics import AlarmShare, share_interval

INCIDENT_COLUMNS = ["incident", "kind", "start", "end", "entity", "site"]
METHOD_COLUMNS = {  # of metrics.json, as people read them
    "name": "method",
    "model": "mean recall",
    "skill": "skill",
    "skill_low": "low",
    "skill_high": "high",
    "alarm_rate_observed": "flagged",
}
UNMEASURED = {  # with too short a past for any trial
    "name": "combined",
    "baseline_name": "no baseline",
    "baseline": 0.0,
    "model": 0.0,
    "skill": 0.0,
    "skill_low": 0.0,
    "skill_high": 0.0,
}


# --------------------------------------------------------------------------------------------------- Injected


def method_in_use(models):
    """Return the one of the `models` of metrics.json that scores the night; UNMEASURED where none does."""
    return next((model for model in models if model["in_use"]), UNMEASURED)


def methods_table(models):
    """List the `models` of metrics.json as a table to read, best first: DataFrame method, mean recall, skill,
    low, high, flagged, scores ("tonight" for the one in use); without a row where there is none.
    """
    table = pd.DataFrame(models, columns=[*METHOD_COLUMNS, "in_use"]).sort_values("model", ascending=False)
    scores = np.where(table.in_use.astype(bool), "tonight", "")
    table = table.assign(name=table.name.astype(str).str.replace("_", " "), scores=scores)
    return table.drop(columns="in_use").rename(columns=METHOD_COLUMNS)


def doubts_about(in_use, models):
    """Write one sentence for each of the `models` of metrics.json that did better than `in_use`, one of them,
    beyond its interval, and one if a baseline scores: list of str.
    """
    who = in_use["name"].replace("_", " ")
    better = [model for model in models if model["skill_low"] > in_use["skill_high"]]
    doubts = [
        f"Accounting: {model['name'].replace('_', ' ')} found {model['model']:.0%} of the injected troubles, "
        f"{who}, which scores, only {in_use['model']:.0%}; the difference is beyond its interval."
        for model in sorted(better, key=lambda model: -model["model"])
    ]
    if in_use["name"].startswith(in_use["baseline_name"]):
        doubts.append(
            "Accounting: no model is better than its best baseline beyond its interval, so this night is "
            f"scored by {who}."
        )
    return doubts


def two_recalls(injected, n_found, n_known):
    """Say in one sentence why the recall of injected troubles and that of known incidents differ; "" where
    nothing was injected.

    injected : troubles of one method, DataFrame kind, found. n_found : of the `n_known` incidents, at least
    one.
    """
    if not len(injected):
        return ""
    by_kind = injected.groupby("kind").found.mean().sort_values()
    least, most = (f"{by_kind[kind]:.0%} ({kind.replace('_', ' ')})" for kind in by_kind.index[[0, -1]])
    low, high = share_interval(n_found, n_known)
    return (
        f"The two recalls are of different troubles: the {by_kind.mean():.0%} is a mean over kinds that were "
        f"put into one series at a time, large or small, and reaches from {least} to {most}; the {n_found} "
        f"of {n_known} ({low:.0%} to {high:.0%} with 95% confidence) are incidents of other kinds and sizes."
    )


def recall_by_size(trials, step):
    """Measure what is found of injected troubles, by kind of trouble and size of the series: a list of dicts
    for a table.

    trials : DataFrame kind, usual_core_hours, regular, delay_weeks, flag_delay_weeks, found, of one method.
    step : Step of the grid, in which delays are counted. Small, medium and large are the thirds of the trials
    on single series, by usual core hours; regular series that fall silent have a row of their own as well.
    low, high : Wilson's 95% interval of found. No trial gives no row.
    """
    edges = trials.usual_core_hours[trials.kind != "site_silent"].quantile([1 / 3, 2 / 3])
    size = np.select([trials.usual_core_hours <= edge for edge in edges], ["small", "medium"], "large")
    trials, rows = trials.assign(size=size), []
    regular = trials.assign(size="regular, silent")[trials.regular & (trials.kind == "silent")]
    for (kind, size), group in pd.concat([trials, regular]).groupby(["kind", "size"]):
        low, high = share_interval(int(group.found.sum()), len(group))
        rows.append(
            {
                "trouble": kind.replace("_", " "),
                "series": size,
                "troubles": len(group),
                "flagged": group.flag_delay_weeks.notna().mean(),
                "found": group.found.mean(),
                "low": low,
                "high": high,
                f"in the first {step.name}": (group.delay_weeks == 0).mean(),
                f"mean delay, {step.name}s": group.delay_weeks.mean(),
            }
        )
    return rows


def decode_categories(codes, categories):
    """Decode the names behind the codes of `encode_categories`, as a new frame of text; code 0, and codes
    beyond the list, give missing.
    """
    names = {c: np.array([None, *values], object) for c, values in categories.items() if c in codes}
    decoded = {c: n[np.where(codes[c] < len(n), codes[c], 0)] for c, n in names.items()}
    return pd.DataFrame(decoded, index=codes.index)


def hardest_series(trials, categories, n=5):
    """List the `n` series whose injected troubles were missed most: DataFrame vo, site, troubles, found
    (share), usual (core hours a week or month).

    trials : DataFrame kind, site, vo (codes), found, usual_core_hours; troubles of whole sites are left out.
    """
    single = trials[trials.kind != "site_silent"].reset_index(drop=True)
    named = decode_categories(single[["site", "vo"]], categories)
    named = named.assign(found=single.found, usual=single.usual_core_hours)
    measures = {"troubles": ("found", "size"), "found": ("found", "mean"), "usual": ("usual", "median")}
    table = named.groupby(["vo", "site"]).agg(**measures).reset_index()
    return table.sort_values(["found", "usual"], ascending=[True, False]).head(n)


# ------------------------------------------------------------------------------------------------------ Known


def read_incidents(path, sample, *, begin, end, step=WEEK):
    """Read the known incidents of this study that overlap the time from `begin` to `end`: DataFrame of
    INCIDENT_COLUMNS, a missing site as "", times in UTC, and `new`, whether they began in it, half a `step`
    before included.

    path, sample : as `read_optional` takes them.
    """
    incidents = read_optional(path, sample, INCIDENT_COLUMNS)
    incidents["site"] = incidents.site.astype(object).fillna("")
    incidents[["start", "end"]] = incidents[["start", "end"]].apply(pd.to_datetime, utc=True)
    incidents = incidents[incidents.kind.isin({*WORDING, *SHAPES, "site_outage"})]
    incidents = incidents[(incidents.end > begin) & (incidents.start < end)]
    return incidents.assign(new=incidents.start >= begin - pd.Timedelta(days=step.days) / 2)


def touches(scored, site, vo):
    """Tell which rows of `scored` (site, vo) something touches that happened to a VO at a site: bool (n,); an
    empty name stands for all, and a series touches the totals that it is part of.
    """
    return (
        (scored.site.isin([site, ""]) if site else True)
        & (scored.vo.isin([vo, ""]) if vo else scored.vo.notna())
    ).to_numpy()


def touched_weeks(scored, incidents, sites, *, step=WEEK):
    """Tell which series-weeks `scored` (site, vo, week) known incidents touch, bool (n,): their series and
    the totals that these are part of.

    step : Step of the grid. incidents : DataFrame entity ("VO at site", or a site, or a VO), site, start,
    end. sites : set of names.
    """
    touched, ends = np.zeros(len(scored), bool), step.ends(scored.week)
    for incident in incidents.itertuples():
        vo, _, at = incident.entity.rpartition(" at ")
        if vo:
            site = at
        elif incident.entity in sites:
            site, vo = incident.entity, ""
        else:
            site, vo = incident.site, incident.entity
        meanwhile = (scored.week < incident.end) & (ends > incident.start)
        touched |= touches(scored, site, vo) & meanwhile.to_numpy()
    return touched


def weeks_outside(scored, incidents, findings, sites, *, step=WEEK):
    """Return the series-weeks of `scored` that should be normal: those outside the known `incidents`, or,
    where none is known, those that belong to none of the `findings` (site, vo).

    incidents, sites, step : as `touched_weeks` takes them.
    """
    if len(incidents):
        return scored[~touched_weeks(scored, incidents, sites, step=step)]
    explained = np.zeros(len(scored), bool)
    for finding in findings.itertuples():
        explained |= touches(scored, finding.site, finding.vo)
    return scored[~explained]


def alarms_outside(alarm_rate, normal, incidents, *, step=WEEK):
    """Count the alarms among the series-weeks of `weeks_outside`, as an AlarmShare; the weeks of one series
    share their luck.
    """
    items = (
        f"{step.series}s {'outside the known incidents' if len(incidents) else 'that belong to no finding'}"
    )
    return AlarmShare.of(alarm_rate, normal.flagged, table_key(normal, ["site", "vo"]), items)
