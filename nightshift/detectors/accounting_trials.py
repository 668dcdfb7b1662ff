"""Injected troubles of the accounting: which of them each method would have found, night by night.

Nights        the series with the settings under which their nights are judged
fit_detector  a forest, that of 2021, and the ordinary weeks to compare others with   ordinary_alarms
inject        troubles in copies of real series          draw_trials, busy_weeks
backtest      when each method finds them                judge_by, delays
mean_recall   the figure of merit, and skill by it       skill_between, recall_skill
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import table_key
from nightshift.detectors.accounting import (
    SeriesGrid,
    change_tests,
    judge_weeks,
    lone_limit,
    resolution,
    series_features,
    silence_pool,
    silences_of,
)
from nightshift.statistics import AlarmShare, draw_groups, percentile_interval

# kinds of injected trouble: what core hours, jobs and times are multiplied by
TROUBLES = {"silent": 0.0, "halved": 0.5, "tripled": 3.0, "renamed": 0.0, "site_silent": 0.0}
REGULAR_SHARE = 0.8  # a series that was active in so much of the long window is called regular
SIZED = ("drop", "surge", "efficiency_drop", "longer_jobs", "more_jobs")  # kinds of change that have a size
# methods without the rule of first silences: what is compared with is left plain
PLAIN = ("robust_z", "seasonal_naive", "isolation_forest", "method_2021")


@dataclass(frozen=True)
class Nights:
    """The series of an accounting, and how its nights are judged.

    grid : SeriesGrid. codes : int (S, 2), site and VO; a total has code 0. train_weeks : ordinary weeks, or
    months by the step of the grid, before the `report_weeks` that are judged. min_age : a younger series is
    not judged, in the same unit. alarm_rate, finding_rate, false_discovery_rate : in (0, 1), see
    `findings_among`.
    """

    grid: SeriesGrid
    codes: np.ndarray
    train_weeks: int
    report_weeks: int
    min_age: int
    alarm_rate: float
    finding_rate: float
    false_discovery_rate: float

    @property
    def rates(self):
        """Return all rates by their names, as `silence_pool` and `resolution` take them."""
        return {"alarm_rate": self.alarm_rate} | self.finding_rates

    @property
    def finding_rates(self):
        """Return the rates of findings by their names, as `lone_limit` takes them."""
        return {"finding_rate": self.finding_rate, "false_discovery_rate": self.false_discovery_rate}

    def parts(self, end):
        """Return the ordinary and the judged weeks, each bool (S, W), of the night after week number
        `end` - 1.
        """
        first, position = end - self.report_weeks, np.arange(len(self.grid.weeks))
        ordinary = (position >= first - self.train_weeks) & (position < first)
        judgeable = self.grid.judgeable(self.min_age)
        return judgeable & ordinary, judgeable & (position >= first) & (position < end)

    def pool(self, end, judged):
        """Return the SilencePool of the night after week number `end` - 1 that judges the weeks `judged`."""
        core, step = self.grid.core[:, :end], self.grid.step
        return silence_pool(core, self.grid.single, judged[:, :end], step=step, **self.rates)

    def can_find(self, end):
        """Return what the night after week number `end` - 1 can find: (a first silence, any other change of
        one series).
        """
        ordinary, judged = (rows[:, :end] for rows in self.parts(end))
        n_ordinary, core, pool = int(ordinary.sum()), self.grid.core[:, :end], self.pool(end, judged)
        can = resolution(core, pool, judged, n_ordinary, min_age=self.min_age, **self.rates)
        return can.silence, can.alone


# -------------------------------------------------------------------------------------------------------- Fit


def pairs_2021(codes, panel, rows):
    """Return what the method of 2021 looks at: site code (n,), and VO code and core hours (n, 2), of the
    weeks `rows` (bool (S, W)).
    """
    at = np.nonzero(rows)
    return codes[at[0], 0], np.column_stack([codes[at[0], 1], np.nan_to_num(panel["core_hours"][at])])


def all_tests(features, codes, panel, rows, detector):
    """Compute the tests of the weeks `rows`, as `change_tests` gives them, with the method of 2021 beside
    them: missing where it has no forest, for totals and other sites.

    detector : namespace with `forest`, and `of_2021`, {site code: Detector}.
    """
    site, pair = pairs_2021(codes, panel, rows)
    score = np.full(len(site), np.nan)
    for code, model in detector.of_2021.items():
        of_site = (site == code) & (pair[:, 0] > 0)
        score[of_site] = model.score_samples(pair[of_site])
    return change_tests(features, rows, detector.forest).assign(method_2021=score)


def without_incidents(tests):
    """Return the tests that have a size, with what is too far out for an ordinary week set to 0, and which
    weeks that concerns (`incident`): {name: (n,)}.

    What lies beyond a point that an exponential tail through the 90% point reaches once in a thousand weeks
    is no ordinary change. Heavy tails keep what is theirs, since their 90% point lies further out.
    """
    limit = {k: 3 * tests[k][tests[k] > 0].quantile(0.9) for k in SIZED}  # log 1000 is three times log 10
    far = {k: tests[k] > limit[k] for k in SIZED}
    kept = {k: tests[k].where(~far[k], 0.0) for k in SIZED}
    return kept | {"incident": np.logical_or.reduce(list(far.values()))}


def fit_detector(nights, ordinary, fit_forest, fit_2021, *, blocks):
    """Learn from the weeks `ordinary` (bool (S, W)): a namespace of the `forest`, those `of_2021`, and the
    table `calibration` of their own tests, which judges the others.

    fit_forest, fit_2021 : functions of weeks, bool (S, W). The ordinary weeks are cut into `blocks` of
    consecutive weeks, and each is scored by a forest of the others (cross-conformal prediction, Vovk 2015).
    calibration : DataFrame site, vo, week, block, one column per test, incident; one row per ordinary week.
    """
    grid, position, tables = nights.grid, np.arange(len(nights.grid.weeks)), []
    at, of_2021 = np.flatnonzero(ordinary.any(axis=0)), fit_2021(ordinary)
    for block, columns in enumerate(np.array_split(at, min(blocks, max(len(at), 1)))):
        inside = ordinary & np.isin(position, columns)
        others = ordinary & ~np.isin(position, columns)
        detector = SimpleNamespace(forest=fit_forest(others if others.any() else ordinary), of_2021=of_2021)
        tests = all_tests(grid.features, nights.codes, grid.panel, inside, detector)
        row, week = np.nonzero(inside)
        table = grid.series.loc[row].reset_index(drop=True).assign(week=grid.weeks[week], block=block)
        tables.append(table.join(tests))
    calibration = pd.concat(tables, ignore_index=True)
    calibration = calibration.assign(**without_incidents(calibration))
    return SimpleNamespace(forest=fit_forest(ordinary), of_2021=of_2021, calibration=calibration)


def ordinary_alarms(weights, calibration, alarm_rate):
    """Count the alarms that a method raises among ordinary weeks, those of each block judged by the others,
    as an AlarmShare; the weeks of one series share their luck. Incidents among them (`without_incidents`)
    are no ordinary weeks.

    weights, calibration : as for `judge_by`, with the blocks of `fit_detector`.
    """
    quiet = calibration[~calibration.incident.astype(bool)].reset_index(drop=True)
    flags, never = np.zeros(len(quiet), bool), np.zeros(len(quiet), bool)
    for block in quiet.block.unique():
        inside = (quiet.block == block).to_numpy()
        judged = judge_by(weights, quiet[inside], quiet[~inside], never[inside], pool=None)
        flags[inside] = judged.p_value <= alarm_rate
    return AlarmShare.of(alarm_rate, flags, table_key(quiet, ["site", "vo"]), "ordinary series-weeks")


def judge_by(weights, tests, calibration, silences, *, pool):
    """Judge a table of tests by one method, with p-values, as `judge_weeks` gives them; 1 where the method
    says nothing.

    weights : {test: weight} of the method. pool : the SilencePool, None for a method that does not use it. A
    method of one test is calibrated without incidents.
    """
    calibrating = calibration.dropna(subset=list(weights))
    if len(weights) == 1:
        calibrating = calibrating[~calibrating.incident.astype(bool)]
    says = tests[list(weights)].notna().all(axis=1).to_numpy()
    answers = judge_weeks(tests[says], calibrating, weights, silences[says], pool)
    answers = answers.set_axis(np.flatnonzero(says)).reindex(range(len(tests)))
    nothing = {"score": 0.0, "p_value": 1.0, "p_ranked": 1.0, "test": "", "early": False}
    return answers.fillna(nothing).astype({"early": bool})


# ----------------------------------------------------------------------------------------------------- Trials


def busy_weeks(nights):
    """Find the weeks in which a trouble may begin, bool (S, W): a judgeable series is active, as in the week
    before and in half of the long window.
    """
    features, core = nights.grid.features, nights.grid.core
    half = features["weeks_active"] >= 0.5 * features["weeks_known"]
    return (features["silent_before"] == 0) & half & nights.grid.judgeable(nights.min_age) & (core > 0)


def draw_trials(nights, start, candidates, *, injections, rng):
    """Draw troubles that begin in week number `start`: DataFrame kind, rows (list of the series they hit),
    origin (the week), site, vo (codes), usual_core_hours and regular of the first of them.

    candidates : bool (S,); at most `injections` of them are hit. A whole site falls silent where one of its
    series is hit.
    """
    codes, features = nights.codes, nights.grid.features
    hit = rng.permutation(np.flatnonzero(candidates))[:injections]
    sites_hit = [np.flatnonzero(codes[:, 0] == site).tolist() for site in np.unique(codes[hit, 0])]
    trials = [(kind, [row]) for kind in TROUBLES if kind != "site_silent" for row in hit]
    trials += [("site_silent", rows) for rows in sites_hit]
    trials = pd.DataFrame(trials, columns=["kind", "rows"])
    first = trials.rows.str[0].astype(int)
    return trials.assign(
        origin=nights.grid.weeks[start],
        site=codes[first, 0],
        vo=np.where(trials.kind == "site_silent", 0, codes[first, 1]),
        usual_core_hours=features["expected"][first, start],
        regular=features["weeks_active"][first, start] >= REGULAR_SHARE * nights.grid.step.long,
    )


class Copies(NamedTuple):
    """Copied series with their troubles, C of them.

    trial : number of the trial of each, (C,). row : the series that it is a copy of, -1 for a new name. codes
    : int (C, 2). panel : {quantity: float (C, weeks)}.
    """

    trial: np.ndarray
    row: np.ndarray
    codes: np.ndarray
    panel: dict


def inject(nights, trials, start, end):
    """Copy the series of all `trials`, as Copies with their troubles, which begin in week number `start`, up
    to the week before `end`: nothing else changes.
    """
    copies = trials.explode("rows").reset_index(names="trial")
    # the other half of a rename: the same hours without a past
    renamed = copies[copies.kind == "renamed"].assign(kind="new_name")
    copies = pd.concat([copies, renamed], ignore_index=True).astype({"rows": int})
    new, late = (copies.kind == "new_name").to_numpy()[:, None], np.arange(end) >= start
    factor = copies.kind.map(TROUBLES).fillna(1.0).to_numpy()[:, None]
    past = {name: x[copies.rows, :end] for name, x in nights.grid.panel.items()}
    values = {name: np.where(late, x * factor, np.where(new, np.nan, x)) for name, x in past.items()}
    codes = np.where(new & [False, True], nights.codes.max() + 1, nights.codes[copies.rows])
    return Copies(copies.trial.to_numpy(), np.where(new[:, 0], -1, copies.rows), codes, values)


def delays(nights, end, *, trials, copies, before, after):
    """Count the weeks until each trouble is found, and until it is flagged, missing when it is not: float
    (trials, 2).

    before, after : of `judge_by`, for the judged weeks of the night and for the last weeks of the copies. A
    trouble is found in the first week in which one of its series is flagged that is not flagged without it,
    and whose chance in a report is small enough for a finding (`lone_limit`). What the real weeks hold
    anyway is no merit. Of a silent site the total speaks for its members.
    """
    grid, n_weeks, start = nights.grid, nights.report_weeks, end - nights.report_weeks
    judged, trial = nights.parts(end)[1], copies.trial
    anyway = np.zeros((len(grid.series) + 1, len(grid.weeks)), bool)  # the last row: new names have no past
    anyway[:-1][judged] = before.p_value <= nights.alarm_rate
    of = {name: after[name].to_numpy().reshape(-1, n_weeks) for name in ("p_value", "p_ranked", "early")}
    new = ~anyway[copies.row, start : start + n_weeks]
    flags = (of["p_value"] <= nights.alarm_rate) & new
    p_ranked = np.where(new, of["p_ranked"], 1.0).min(axis=1)
    limit = lone_limit(int(judged.any(axis=1).sum()), **nights.finding_rates)
    is_rare = (of["early"] & new).any(axis=1) | (n_weeks * p_ranked <= limit)
    silent_site = trials.kind.to_numpy()[trial] == "site_silent"
    is_total = np.append(~grid.single, False)[copies.row] & silent_site & flags.any(axis=1)
    speaks = is_total | ~pd.Series(is_total).groupby(trial).transform("any").to_numpy()
    both = (flags & (is_rare & speaks)[:, None], flags)
    weeks = [pd.DataFrame(of).groupby(trial).any().to_numpy() for of in both]
    return np.column_stack(
        [np.where(week.any(axis=1), week.argmax(axis=1), np.nan) for week in weeks],
    )


def backtest(nights, end, trials, detector, methods):
    """Measure what each method finds of `trials` in the night after week number `end` - 1: delays until
    found, and until flagged, DataFrame [trial, method] each.

    detector : of `fit_detector`, on the weeks before. methods : {name: weights of the tests}. A series that
    is too young is not judged, so a rename must show in the old name.
    """
    grid, start = nights.grid, end - nights.report_weeks
    judged = nights.parts(end)[1]
    pool, copies = nights.pool(end, judged), inject(nights, trials, start, end)
    features = series_features(copies.panel, grid.step)
    rows = np.broadcast_to(np.arange(end) >= start, copies.panel["core_hours"].shape)
    young = ~(features["age"] >= nights.min_age)[rows]
    real = all_tests(grid.features, nights.codes, grid.panel, judged, detector)
    copied = all_tests(features, copies.codes, copies.panel, rows, detector)
    now = silences_of(grid.core[:, :end], pool, np.arange(len(grid.series)))[judged[:, :end]]
    # when nobody computes, the pool says nothing of it
    single = grid.single
    whole = trials.rows.map(lambda hit: single[hit].sum() == single.sum() > 1).to_numpy()[copies.trial]
    later = (silences_of(copies.panel["core_hours"], pool, copies.row) & ~whole[:, None])[rows]
    found, raised = {}, {}
    for name, weights in methods.items():
        its_pool = None if name in PLAIN else pool
        before = judge_by(weights, real, detector.calibration, now, pool=its_pool)
        after = judge_by(weights, copied, detector.calibration, later, pool=its_pool)
        after.loc[young, ["p_value", "p_ranked", "early"]] = [1.0, 1.0, False]
        both = delays(nights, end, trials=trials, copies=copies, before=before, after=after)
        found[name], raised[name] = both.T
    return pd.DataFrame(found), pd.DataFrame(raised)


# ------------------------------------------------------------------------------------------------------ Merit


def mean_recall(found, kind, unit, *, rng, resamples=1000):
    """Compute the mean over the kinds of the share found, per method: (as it is, float (methods,); with units
    drawn anew, DataFrame [resample, method]).

    found : DataFrame [trial, method] of bool or of 0..1. kind, unit : (n,), the trouble of each trial and the
    series that it hit; all trials of a unit are drawn together, since they share its luck. A kind that a
    resample does not hold is left out of its mean. ValueError when there is no trial.
    """
    if not len(found):
        raise ValueError("mean_recall: no trial")
    kinds = pd.get_dummies(np.asarray(kind)).to_numpy(float)  # (trials, kinds)
    at, units = pd.factorize(np.asarray(unit))
    drawn = draw_groups(len(units), rng=rng, resamples=resamples)[:, at]
    hits = drawn @ (kinds[:, :, None] * found.to_numpy(float)[:, None, :]).reshape(len(found), -1)
    with np.errstate(invalid="ignore"):
        shares = hits.reshape(resamples + 1, kinds.shape[1], -1) / (drawn @ kinds)[:, :, None]
        means = np.nanmean(shares, axis=1)
    return pd.Series(means[0], found.columns), pd.DataFrame(means[1:], columns=found.columns)


def skill_between(model, baseline):
    """Return the share of what the `baseline` misses that the `model` finds, in [0, 1]; in [-1, 0) the share
    of what the baseline finds that the model loses.

    model, baseline : recalls in [0, 1], numbers or arrays. 0 where both are alike, also where both find
    nothing or all.
    """
    better = np.asarray(model, float) - np.asarray(baseline, float)
    room = np.where(better >= 0, 1 - np.asarray(baseline, float), baseline)
    return np.divide(better, room, out=np.zeros(np.shape(better)), where=room > 0)


def recall_skill(merit, resampled, name, other):
    """Compute the skill of the method `name` against `other` with its 95% interval: (skill, low, high).

    merit, resampled : of `mean_recall`.
    """
    drawn = skill_between(resampled[name], resampled[other])
    return float(skill_between(merit[name], merit[other])), *percentile_interval(drawn)
