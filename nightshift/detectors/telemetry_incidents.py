"""From scored windows to incidents of a node: what they are called, how sure they are, and which nodes are
silent.

    Diagnosis    what a flagged window is called            diagnose, rule_of
    Incidents    flagged windows of one run                 run_looks, window_step, merge_flagged
    Decision     which incidents are findings               keep_findings
    Silence      nodes that have stopped reporting          spans_of, node_rhythms, silent_entities
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from nightshift.detectors.telemetry_sites import site_of
from nightshift.statistics import benjamini_hochberg

RUN = ["node_id", "job_id"]


def diagnose(chances, flagged, *, least_confidence):
    """Name what windows look like: (diagnosis, confidence, most probable class), each (n,).

    chances : DataFrame of class probabilities, columns "p <class>"; without a column nothing is known but
    what is flagged. A flagged window gets the classifier's most probable class. It is "unknown" where the two
    disagree: the classifier says healthy, or names a trouble with a probability below `least_confidence`.
    What is not flagged is "none", and its confidence the probability of that.
    """
    flagged = np.asarray(flagged, bool)
    if not len(chances.columns):
        names = np.where(flagged, "unknown", "none")
        return names, np.full(len(flagged), np.nan), np.full(len(flagged), "")
    confidence = chances.to_numpy().max(axis=1)
    probable = np.array([name[2:] for name in chances])[chances.to_numpy().argmax(axis=1)]
    named = (probable != "none") & (confidence >= least_confidence)
    diagnosis = np.where(~flagged, "none", np.where(named, probable, "unknown"))
    return diagnosis, np.where(flagged, confidence, chances["p none"]), probable


def rule_of(chances, flagged, *, least_confidence):
    """Tell which line of the rule of `diagnose` each window falls under: (line, most probable class)."""
    diagnosis, _, probable = diagnose(chances, flagged, least_confidence=least_confidence)
    lines = ["not flagged", "named", "unknown: the classifier says healthy"]
    holds = [diagnosis == "none", diagnosis != "unknown", probable == "none"]
    return np.select(holds, lines, "unknown: not sure enough"), probable


# -------------------------------------------------------------------------------------------------- Incidents


def run_looks(scored, length):
    """Count the windows of each window's run that do not overlap, long runs day by day: float (n,).

    scored : DataFrame node_id, job_id, day, start, end. length : that of a window, Timedelta.
    """
    stretch = scored.groupby([*RUN, "day"])
    looks = np.ceil((stretch.end.transform("max") - stretch.start.transform("min")) / length)
    return np.minimum(looks.astype(float), stretch.start.transform("size"))


def window_step(scored, length):
    """Measure the median time from one window to the next of its run; `length` where no run has two."""
    if not scored.duplicated(RUN).any():
        return length
    return scored.groupby(RUN).start.diff().median()


def merge_flagged(scored, chances, *, step, consecutive, least_confidence):
    """Merge flagged windows of one run into incidents, with at most one other window between two of them: one
    row each, strongest first.

    scored : DataFrame node_id, job_id, app, start, end, flagged, p_value, looks (windows of the run that do
    not overlap), score. An incident has at least `consecutive` flagged windows. Its p-value is the smallest
    of its windows, times `looks` (Bonferroni); its diagnosis follows from the mean probabilities of its
    windows.
    """
    flagged = scored[scored.flagged].join(chances).sort_values([*RUN, "start"])
    flagged["incident"] = (~(flagged.groupby(RUN).start.diff() <= 2.5 * step)).cumsum()
    flagged["p_value"] = (flagged.p_value * flagged.looks).clip(upper=1)
    flagged = flagged[flagged.groupby("incident").start.transform("size") >= consecutive]
    first = {name: (name, "first") for name in ("node_id", "job_id", "app", "start")}
    merged = flagged.groupby("incident").agg(
        **first | {name: (name, "mean") for name in chances},
        end=("end", "max"),
        windows=("start", "size"),
        score=("score", "max"),
        p_value=("p_value", "min"),
        called_at=("end", lambda ends: ends.iloc[consecutive - 1]),
    )
    merged["diagnosis"], merged["confidence"], merged["probable"] = diagnose(
        merged[list(chances)], np.ones(len(merged), bool), least_confidence=least_confidence
    )
    return merged.sort_values(["p_value", "score"], ascending=[True, False], ignore_index=True)


class Judgement(NamedTuple):
    """Which incidents are findings, and how much it takes for one.

    reported, by_chance : incidents that are kept, and others. judgements : number of tests. least : p-value
    of an incident that is stranger than all healthy windows. alone : so many such incidents at once are
    findings.
    """

    reported: pd.DataFrame
    by_chance: pd.DataFrame
    judgements: int
    least: float
    alone: int


def keep_findings(incidents, scored, *, n_calibration, false_discovery_rate):
    """Keep incidents by Benjamini and Hochberg's rule over all judged runs, long ones day by day: a
    Judgement.

    A run without an incident counts as a test too, with a p-value of one.
    """
    incidents, daily = incidents.assign(day=incidents.start.dt.floor("D")), [*RUN, "day"]
    with_incident = incidents[daily].drop_duplicates()
    days = scored.drop_duplicates(daily)[daily].merge(with_incident, how="left", indicator="in")
    quiet = int((days["in"] == "left_only").sum())
    judgements = len(incidents) + quiet
    least = (scored.looks.median() if len(scored) else 1.0) / (n_calibration + 1)
    alone = max(int(np.ceil(least * judgements / false_discovery_rate - 1e-9)), 1)
    adjusted = benjamini_hochberg(incidents.p_value, judgements)
    reported = incidents[adjusted <= false_discovery_rate].reset_index(drop=True)
    by_chance = incidents[adjusted > false_discovery_rate].reset_index(drop=True)
    return Judgement(reported, by_chance, judgements, least, alone)


# ---------------------------------------------------------------------------------------------------- Silence


def spans_of(history):
    """Find when each run began and ended, and the pause before it: DataFrame node_id, job_id, start, end,
    pause (days), sorted by node and start.

    history : windows, DataFrame node_id, job_id, start, end.
    """
    spans = history.groupby(RUN).agg(start=("start", "min"), end=("end", "max")).reset_index()
    spans = spans.sort_values(["node_id", "start"], ignore_index=True)
    spans["pause"] = (spans.start - spans.groupby("node_id").end.shift()) / pd.Timedelta(days=1)
    return spans


def node_rhythms(spans, source_end):
    """Find how long each node may pause: DataFrame node_id, last, usual (its longest usual pause, the 95th
    percentile, days), limit (three times that, and a day at least), silence (until `source_end`).

    A node that has never paused has the rhythm of the others.
    """
    nodes = spans.groupby("node_id").agg(
        last=("end", "max"), usual=("pause", lambda pauses: pauses.quantile(0.95))
    )
    nodes = nodes.reset_index()
    rhythm = nodes.usual.fillna(nodes.usual.median()).fillna(0)
    nodes["limit"] = pd.to_timedelta(np.maximum(3 * rhythm, 1), unit="D")
    nodes["silence"] = source_end - nodes["last"]
    return nodes


def silent_entities(gone, nodes, site_pattern):
    """Merge silent nodes that are all of their site into one row of that site: DataFrame entity, site, last,
    silence, usual, nodes.

    gone : the silent rows of `nodes`, both as `node_rhythms` gives them. site_pattern : as for `site_of`.
    """
    members = nodes.node_id.map(lambda node: site_of(node, site_pattern)).astype("str")
    counts = members[gone.index].value_counts()
    whole = {site for site, n in counts.items() if site and 1 < n == (members == site).sum()}
    silent = gone.assign(site=members[gone.index])
    silent["entity"] = silent.site.where(silent.site.isin(whole), silent.node_id)
    return (
        silent.sort_values("last")
        .groupby("entity", as_index=False)
        .agg(
            site=("site", "first"),
            last=("last", "max"),
            silence=("silence", "min"),
            usual=("usual", "max"),
            nodes=("node_id", "size"),
        )
    )
