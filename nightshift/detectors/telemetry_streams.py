"""Servers, nodes without jobs that live long, judged by their own last nights.

judge_servers       both tests of every window, by `nightshift.statistics.trailing`
held_out_flags      which healthy windows a night would flag
stretch_incidents   stretches that a usual day does not hold, as incidents
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from nightshift.detectors.telemetry_incidents import diagnose
from nightshift.statistics import StreamSettings, flags_across_folds, judge_streams

# times the nights that calibrate: the daily maxima of three times as many say what a usual day holds
NIGHTS_READ = 4


def judge_servers(windows, tests, settings, weights):
    """Judge windows without a job by the nights before: DataFrame p_value, flagged, chance, in_stretch,
    has_past, a row per row of `windows`.

    windows : DataFrame node_id, start, sorted by node and start. tests : DataFrame [window, test], higher =
    stranger, on a logarithmic scale. settings : StreamSettings; each test has its share of the alarms and of
    the findings, `weights` {test: share}, summing to 1, and the stronger one counts (Bonferroni). has_past :
    whether the nights before are long enough to flag anything. No window gives no row.
    """
    p_value, chance = np.ones(len(windows)), np.ones(len(windows))
    in_stretch, has_past = np.zeros(len(windows), bool), np.ones(len(windows), bool)
    for name, weight in weights.items():
        rates = {"alarm_rate": weight * settings.alarm_rate, "finding_rate": weight * settings.finding_rate}
        streams = windows[["node_id", "start"]].assign(score=tests[name].to_numpy())
        judged = judge_streams(streams, replace(settings, **rates))
        p_value = np.minimum(p_value, judged.p_value.to_numpy() / weight)
        chance = np.minimum(chance, judged.chance.to_numpy() / weight)
        in_stretch |= judged.stretch.to_numpy() >= 0
        has_past &= judged.has_past.to_numpy()
    columns = {"p_value": p_value, "flagged": p_value <= settings.alarm_rate, "chance": chance}
    columns |= {"in_stretch": in_stretch, "has_past": has_past}
    return pd.DataFrame(columns, index=windows.index)


def held_out_flags(healthy, tests, fold, *, weights, alarm_rate):
    """Flag healthy windows as a night would: of jobs, those of each fold by those of the others; of servers,
    without folds (None), each by the nights before, from the fourth on. bool, of the windows that are judged.

    healthy : windows, DataFrame node_id, start, sorted by node and start. tests : of these windows by models
    that have not seen their job, DataFrame [window, test]. weights : as for `judge_servers`.
    """
    if fold is not None:
        return flags_across_folds(tests, fold, weights, alarm_rate)
    of_servers = judge_servers(healthy, tests, StreamSettings(alarm_rate), weights)
    begun = healthy.groupby("node_id").start.transform("min").dt.floor("D")
    return of_servers.flagged[of_servers.has_past & (healthy.start >= begun + pd.Timedelta(days=3))]


def stretch_incidents(scored, chances, *, gap, finding_rate, least_confidence):
    """Turn the stretches of servers into incidents: the columns of `merge_flagged`, strongest first.

    scored : windows of servers, DataFrame node_id, job_id, app, start, end, score, chance, in_stretch,
    flagged, sorted by node and start. chances : class probabilities, with the same index. gap : pause within
    a stretch. Its p-value is the chance of a usual day of the node to hold something as strong, and its
    diagnosis follows from the mean probabilities of its windows. One whose p-value in these windows is above
    `finding_rate` is only the end of a finding of earlier days, and is left out.
    """
    inside = scored[scored.in_stretch].join(chances)
    number = (~(inside.groupby("node_id").start.diff() <= gap)).cumsum()
    inside["chance"] = inside.chance.groupby(number).transform("min")
    inside = inside[between_flagged(inside.flagged, number) & (inside.chance <= finding_rate)]
    first = {name: (name, "first") for name in ("node_id", "job_id", "app", "start")}
    merged = inside.groupby(number).agg(
        **first | {name: (name, "mean") for name in chances},
        end=("end", "max"),
        windows=("flagged", "size"),
        score=("score", "max"),
        p_value=("chance", "min"),
        called_at=("end", "first"),
    )
    merged["diagnosis"], merged["confidence"], merged["probable"] = diagnose(
        merged[list(chances)], np.ones(len(merged), bool), least_confidence=least_confidence
    )
    return merged.sort_values(["p_value", "score"], ascending=[True, False], ignore_index=True)


def between_flagged(flagged, number):
    """Tell which windows of each stretch lie between its first and its last flagged one; all where none is.

    flagged : bool Series. number : of the stretch, a Series. Averages over hours begin before a trouble does,
    and end after it.
    """
    seen = flagged.groupby(number).cumsum() > 0
    ahead = flagged[::-1].groupby(number[::-1]).cumsum()[::-1] > 0
    return (seen & ahead) | ~flagged.groupby(number).transform("any")
