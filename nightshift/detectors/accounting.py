"""Series of the accounting study: features, tests, p-values, and which changes are findings.

A week is a step of the grid: a month where the records are monthly (Step).

    Series     the table as arrays, beside its past             SeriesGrid, series_panel, series_features
    Tests      one statistic per kind of change                 forest_inputs, change_tests, judge_exactly
    Silence    a first silent week of a series never silent     silence_pool, silence_chance, first_silences
    Decision   both p-values, what is a finding, what can be    judge_weeks, findings_among, resolution
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from nightshift.compiled import trailing_median
from nightshift.sources.accounting.steps import WEEK, Step
from nightshift.statistics import benjamini_hochberg, combine_tests


def series_panel(clean):
    """The clean table as arrays: (series, weeks, panel), where panel maps a quantity to float (S, W), NaN
    outside a series' life.

    clean : DataFrame site, vo, week, core_hours, wall_hours, cpu_hours, jobs; one row per week of life.
    series : DataFrame site, vo; after the series themselves come the totals of each site (vo "") and of each
    VO (site "") that have at least two members.
    """
    values = ["core_hours", "wall_hours", "cpu_hours", "jobs"]
    sums = [clean.set_index(["site", "vo", "week"])[values]]
    for total, other in (("site", "vo"), ("vo", "site")):
        members = clean.groupby(total)[other].transform("nunique")
        rows = (
            clean[members > 1].groupby([total, "week"], observed=True)[values].sum(min_count=1).reset_index()
        )
        sums.append(rows.assign(**{other: ""}).set_index(["site", "vo", "week"]))
    table = pd.concat(sums)
    weeks = (
        pd.date_range(clean.week.min(), clean.week.max(), freq=Step.of_starts(clean.week).frequency)
        if len(clean)
        else pd.DatetimeIndex([], tz="UTC")
    )
    wide = table.unstack("week")
    order = table.index.droplevel("week").drop_duplicates()
    panel = (
        {v: wide[v].reindex(index=order, columns=weeks).to_numpy(float) for v in values}
        if len(clean)
        else {v: np.empty((0, 0)) for v in values}
    )
    return order.to_frame(index=False), weeks, panel


def deviation(x, weeks):
    """Measure how far each week of `x` (S, W) lies from the median of the `weeks` before it, in robust
    spreads: (distance, median, spread), each (S, W), the first NaN where too few weeks are known.

    Short or constant histories count as if two weeks of spread 0.5 were known too.
    """
    median, mad, n = trailing_median(x, weeks)
    spread = np.sqrt((n * mad**2 + 2 * 0.5**2) / (n + 2))
    return np.where(n >= min(weeks / 2, 4), (x - median) / spread, np.nan), median, spread


def weeks_ago(x, weeks, missing):
    """Return what `x` (S, W) was so many `weeks` before each week; `missing` where that is before its
    first week.
    """
    return np.pad(x, ((0, 0), (weeks, 0)), constant_values=missing)[:, : x.shape[1]]


def is_habit(happened, step=WEEK):
    """Tell in which weeks something happens that the series does anyway: bool (S, W).

    happened : bool (S, W). It is a habit when it happened at least `habit_times` in the `habit` before, of
    the `step` [3 in 78]: more than once in a hundred, with 95% confidence. What all series together find
    rare, such as the silence of a user who comes and goes among many who never stop, may be usual for one of
    them: it is flagged, and no finding.
    """
    before = np.pad(np.cumsum(happened, axis=1), ((0, 0), (step.habit + 1, 0)))
    times = before[:, step.habit : -1] - before[:, : -step.habit - 1]
    return happened & (times >= step.habit_times)


def series_features(panel, step=WEEK):
    """What each week of each series looks like beside its own past: {name: float (S, W)} of
    `activity_features` and `level_features`, NaN where the past cannot say.

    panel : as `series_panel` gives it. step : has the lengths of windows; those of weeks are in brackets.
    Only weeks before week t, and t, enter column t.
    """
    return activity_features(panel["core_hours"], step) | level_features(panel, step)


def activity_features(core, step):
    """When each series computes, from its core hours (S, W): {name: float (S, W)}.

    `share` of the long window [26] that was active, `share_before` of it before the last silence, both drawn
    towards 0.3 as if a few weeks [8] of a new series were known; `absent`, whether the weeks before [4] were
    silent; `active`, whether this one is; `habit`, see `is_habit`; `silent_before`, `weeks_silent`, `age`,
    `weeks_known`, `weeks_active`, in weeks.
    """
    active, alive, t = core > 0, np.isfinite(core), np.arange(core.shape[1])
    before, prior = np.maximum(t - step.long, 0), step.prior
    counts = [np.pad(np.cumsum(flags, axis=1), ((0, 0), (1, 0))) for flags in (alive, active)]
    counted, busy = (c[:, t] - c[:, before] for c in counts)
    last = weeks_ago(np.maximum.accumulate(np.where(active, t, -1), axis=1), 1, -1)
    silent_before = np.where(last >= 0, t - 1 - last, np.nan)
    absent = silent_before >= step.absence
    habits = is_habit((core == 0) & (silent_before == 0), step), is_habit(active & absent, step)
    counted_before = np.maximum(counted - np.nan_to_num(silent_before), 0)
    return {
        "share": np.where(alive, (busy + prior * 0.3) / (counted + prior), np.nan),
        "share_before": np.clip((busy + prior * 0.3) / (counted_before + prior), 0, 1),
        "absent": absent.astype(float),
        "habit": np.logical_or(*habits).astype(float),
        "silent_before": silent_before,
        "weeks_silent": np.where(active, 0, silent_before + 1),
        "age": counts[0][:, t].astype(float),
        "active": np.where(alive, active, np.nan),
        "weeks_known": counted.astype(float),
        "weeks_active": busy.astype(float),
    }


def level_features(panel, step):
    """How much each series computes, and how: {name: float (S, W)}; arguments as of `series_features`.

    `level_short` [8], `level_long` [26], and over the long window `jobs`, `job_length`, `cores_per_job`,
    `efficiency` are distances of logarithms from the median of the weeks before, in robust standard
    deviations, over active weeks only; `zero_level` is that of log(1 + core hours) with the silent weeks (the
    robust z of the textbooks); `change` week over week, `season` against a year ago (last week, where that is
    unknown) and `trend`, the median of the recent weeks [4] less the long one, are differences of logarithms;
    `usual_jobs` and `expected`, `low`, `high` (core hours, the latter two an 80% range) per active week.
    """
    core, wall = panel["core_hours"], panel["wall_hours"]

    def logged(x):
        # a ratio to nothing, such as hours per job without a job, is unknown
        return np.log(np.where((core > 0) & (x > 0) & np.isfinite(x), x, np.nan))

    level_long, median, spread = deviation(logged(core), step.long)
    jobs, median_jobs, _ = deviation(logged(panel["jobs"]), step.long)
    zero = np.log1p(core)
    year_ago, week_ago = weeks_ago(zero, step.year, np.nan), weeks_ago(zero, 1, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {
            "job_length": wall / panel["jobs"],
            "cores_per_job": core / wall,
            "efficiency": panel["cpu_hours"] / core,
        }
    return {
        "level_short": deviation(logged(core), step.short)[0],
        "level_long": level_long,
        "zero_level": deviation(zero, step.long)[0],
        "jobs": jobs,
        "usual_jobs": np.exp(median_jobs),
        **{name: deviation(logged(x), step.long)[0] for name, x in ratios.items()},
        "change": zero - week_ago,
        "season": zero - np.where(np.isfinite(year_ago), year_ago, week_ago),
        "trend": trailing_median(logged(core), step.recent)[0] - median,
        "expected": np.exp(median),
        "low": np.exp(median - 1.2816 * spread),
        "high": np.exp(median + 1.2816 * spread),
    }


@dataclass(frozen=True)
class SeriesGrid:
    """All series of an accounting, step by step: S series, W weeks or months.

    series : DataFrame site, vo (S,); a total of a site has no vo (""), one of a VO no site. weeks : starts of
    the steps (W,), Mondays or firsts of months. step : Step, which of them. panel : {quantity: float (S, W)}
    of `series_panel`. features : {name: float (S, W)} of `series_features`.
    """

    series: pd.DataFrame
    weeks: pd.DatetimeIndex
    step: Step
    panel: dict
    features: dict

    @classmethod
    def of_table(cls, clean):
        """The series of the clean table; see `series_panel`."""
        series, weeks, panel = series_panel(clean)
        step = Step.of_starts(clean.week)
        return cls(series, weeks, step, panel, series_features(panel, step))

    @property
    def core(self):
        """Core hours, float (S, W), NaN outside life."""
        return self.panel["core_hours"]

    @cached_property
    def single(self):
        """Which series are no totals: bool (S,)."""
        return ((self.series.site != "") & (self.series.vo != "")).to_numpy()

    def judgeable(self, min_age):
        """Which weeks can be judged, since the series lives and is `min_age` weeks old: bool (S, W)."""
        return np.isfinite(self.core) & (self.features["age"] >= min_age)


FOREST_INPUTS = [
    "level_short",
    "level_long",
    "change",
    "trend",
    "weeks_silent",
    "jobs",
    "job_length",
    "cores_per_job",
    "efficiency",
]


def forest_inputs(features, rows):
    """Inputs of the IsolationForest, float (n, 9): FOREST_INPUTS of the weeks `rows` (bool (S, W));
    unknown is 0, the usual, and 8 the most.
    """
    return np.column_stack([np.clip(np.nan_to_num(features[name][rows]), -8, 8) for name in FOREST_INPUTS])


REGULAR = 0.68  # `share` of a series that was active in 21 of 26 weeks, or in 10 of 10


def change_tests(features, rows, forest):
    """One-sided statistics of the weeks `rows` (bool (S, W)): a frame with one column per kind of change, 0
    where there is none, and `habit`, whether the series falls silent or returns as it often does
    (`is_habit`).

    features : as `series_features` gives them. A regular series that was active in the week before and now is
    not is `silent`, by how regular it was; one that is back after a long silence is `returned`, by
    how regular it had been; `drop` and `surge` need both trailing levels to agree, so that a slow drift is no
    alarm; `efficiency_drop`, `longer_jobs`, `more_jobs` are distances in robust standard deviations;
    `unusual` is the IsolationForest's anomaly score (Liu, Ting & Zhou 2008). `robust_z` and `season` are the
    trivial baselines.
    """
    changes = {kind: np.maximum(x, 0)[rows] for kind, x in directed_changes(features).items()}
    plain = {name: np.abs(np.nan_to_num(features[of][rows])) for name, of in BASELINES.items()}
    unusual = np.maximum(forest.score_samples(forest_inputs(features, rows)), 0)
    return pd.DataFrame(changes | {"unusual": unusual} | plain | {"habit": features["habit"][rows] > 0})


BASELINES = {"robust_z": "zero_level", "season": "season"}


def directed_changes(features):
    """The statistics of `change_tests` that have a direction, of all weeks, before any cut: {kind: float (S,
    W)}.
    """
    f = {name: np.nan_to_num(x) for name, x in features.items()}
    active = f["active"] > 0
    steady = np.isfinite(features["active"]) & (features["silent_before"] == 0)
    agree = f["level_short"] * f["level_long"] > 0
    nearer = np.minimum(np.abs(f["level_short"]), np.abs(f["level_long"]))
    level = np.sign(f["level_long"]) * nearer * agree * steady
    had_been = f["share_before"]
    # of two equally regular series, few jobs end by chance
    regular = f["share"] + 0.02 * f["usual_jobs"] / (f["usual_jobs"] + 10)
    return {
        "silent": regular * (steady & ~active & (f["share"] > REGULAR)),
        "returned": had_been * (active & (f["absent"] > 0) & (had_been > REGULAR)),
        "drop": -level,
        "surge": level,
        "efficiency_drop": -f["efficiency"] * steady,
        "longer_jobs": f["job_length"] * steady,
        "more_jobs": np.minimum(f["jobs"], -f["job_length"]) * steady,
    }


# ordinary weeks; with 400, ranking them among themselves flagged 1.5% at a stated 1%, with 2,000 no more than
# stated
EXACT_BELOW = 2000


def judge_exactly(tests, calibration, weights):
    """As `combine_tests`, exact for any number of calibration items: each item is ranked in the set
    that it makes with all of them.

    The chance that an exchangeable item has a p-value at or below a is at most a, with 10 calibration items
    as with 1,000; the time grows with items x calibration items. Method: full conformal prediction (Vovk,
    Gammerman & Shafer 2005, chapter 2).
    """
    names, weight = list(weights), np.array(list(weights.values()))
    # (n, K), (m, K)
    x, reference = (np.maximum(of[names].to_numpy(float), 0) for of in (tests, calibration))
    n, m = len(x), len(reference)
    # each counts itself
    above = np.stack([m - np.searchsorted(np.sort(c), c, side="left") for c in reference.T], axis=1)
    beyond = np.stack(
        [m - np.searchsorted(np.sort(c), v, side="left") for c, v in zip(reference.T, x.T, strict=True)],
        axis=1,
    )
    evidence = np.log(weight * (m + 1) / (1 + beyond)) + 1e-3 * np.log1p(x)
    score, strongest = evidence.max(axis=1, initial=-np.inf), np.array(names, object)[evidence.argmax(axis=1)]
    ties, p = 1e-3 * np.log1p(reference), np.ones(n)
    for i in range(n):
        theirs = (np.log(weight * (m + 1) / (above + (x[i] >= reference))) + ties).max(axis=1)
        p[i] = (1 + np.count_nonzero(theirs >= score[i])) / (m + 1)
    return score, p, strongest


# ---------------------------------------------------------------------------------------------------- Silence


class SilencePool(NamedTuple):
    """What the past of all series says about a first silence.

    step : Step of the grid. rows : bool (S,), the series that live for `step.least_life` or more before the
    judged weeks. common : bool (W,), weeks in which nobody computed. breaks : how many of the series fell
    silent exactly once. chance : at most so many first silences a week are expected from all of them
    together. p_value : the same per judged series. budget : share of the alarms that is kept for them.
    usable : whether one can be a finding.
    """

    step: Step
    rows: np.ndarray
    common: np.ndarray
    breaks: int
    chance: float
    p_value: float
    budget: float
    usable: bool


def silence_chance(lives, breaks):
    """Upper bound of the first silences expected in one week from series that were never silent, when at most
    `breaks` others were, once.

    lives : known weeks of each series, (n,). A series that is silent in a share a of its weeks, whatever a
    is, makes its first silence in week w + 1 with the chance a (1 - a)^w, which no a makes larger than 1 / (e
    (w + 1 / 2)): the share that would silence it often would have done so before. Over several series, those
    that were silent exactly once tell how many are about to be (Good 1953); the bound is the largest over the
    share and over the number of series that have it, so it holds however regular each is. No series gives 0.
    """
    lives, best = np.sort(np.asarray(lives, float)), 0.0
    for m in sorted({m for m in (1, 2, 3, 4, 5, 6, 8, 12, 20, 50, len(lives)) if 0 < m <= len(lives)}):
        w = lives[:m]
        # 4 expected silences and more have left their traces
        share = np.geomspace(1e-3 / m, 4, 300)[:, None] / (w.mean() + 1)
        share = np.minimum(share, 0.5)
        once = (w * share * (1 - share) ** (w - 1)).mean(axis=1)
        first = (share * (1 - share) ** w).sum(axis=1)
        best = max(best, float((first * stats.binom.cdf(breaks, m - 1, once)).max()))
    return best


def first_silences(core):
    """Weeks in which a series is silent for the first time in its life: bool (S, W), from core hours (S,
    W), NaN outside life.
    """
    silent = core == 0
    return silent & (np.cumsum(silent, axis=1) == 1)


def judged_span(judged):
    """Find the judged weeks, from the first to the last of `judged`, bool (S, W): (the first, how many);
    (W, 0) for none.
    """
    at = np.flatnonzero(judged.any(axis=0))
    return (int(at[0]), int(at[-1] + 1 - at[0])) if len(at) else (judged.shape[1], 0)


def past_of(core, common, first):
    """Take from core hours (S, W) the weeks before the week `first` that are not `common`, bool (W,)."""
    return core[:, :first][:, ~common[:first]]


def silence_pool(core, single, judged, *, alarm_rate, step=WEEK, **finding_rates):
    """The SilencePool of a night.

    core : core hours (S, W). single : bool (S,), no total. judged : bool (S, W), the weeks that are judged,
    at the end. step : Step of the grid. finding_rates : see `lone_limit`. A week in which no series computed
    says nothing about any of them, and is left out: a closed centre is no habit of its users.
    """
    first, n_weeks = judged_span(judged)
    alive = np.isfinite(core[single])
    common = (alive.sum(axis=0) > 1) & ((core[single] == 0) == alive).all(axis=0)
    past = past_of(core, common, first)
    lives = np.isfinite(past).sum(axis=1)
    rows = lives >= step.least_life
    silent = past == 0
    onsets = (silent[:, 1:] & (past[:, :-1] > 0)).sum(axis=1)
    breaks, n_judged = int((onsets[rows] == 1).sum()), max(int((judged.any(axis=1) & rows).sum()), 1)

    def usable(k):
        chance = silence_chance(lives[rows], k) / n_judged
        return 0 < chance <= alarm_rate and n_weeks * chance <= lone_limit(n_judged, **finding_rates)

    most = next((k for k in range(step.most_breaks, -1, -1) if usable(k)), -1)
    chance = silence_chance(lives[rows], breaks)
    budget = silence_chance(lives[rows], most) / n_judged if most >= 0 else 0.0
    is_usable = bool(0 <= breaks <= most)
    return SilencePool(step, rows, common, breaks, chance, chance / n_judged, budget, is_usable)


def silences_of(core, pool, rows):
    """First silences, bool (n, W), of the series `core` (n, W), which are, or are copies of, the `rows`
    (n,) of the pool; -1 is none of it.
    """
    out, seen = np.zeros(core.shape, bool), ~pool.common[: core.shape[1]]
    out[:, seen] = first_silences(core[:, seen])
    return out & (np.append(pool.rows, False)[rows] & pool.usable)[:, None]


# --------------------------------------------------------------------------------------------------- Decision


def judge_weeks(tests, calibration, weights, silences, pool=None):
    """Score, p-value and strongest test of judged weeks: DataFrame score, p_value, p_ranked, test, early, one
    row per row of `tests`.

    tests, calibration, weights : as for `combine_tests`, which gives the rank among ordinary weeks, 1 without
    any; p_ranked is that rank, by which a change becomes a finding, and 1 for a habit. silences : bool (n,),
    the first silences of the `pool`, which, where one is given, are judged by its p-value too (`early`). A
    share `budget` of the alarms is kept for them, so that both together flag no more than stated. score :
    -log(p_value), ties by the strength of the test.
    """
    n, strength = len(tests), np.zeros(len(tests))
    p, strongest = np.ones(n), np.full(n, next(iter(weights)), object)
    if n and len(calibration):
        judge = judge_exactly if len(calibration) < EXACT_BELOW else combine_tests
        strength, p, strongest = judge(tests, calibration, weights)
    p_ranked = np.where(tests["habit"] & np.isin(strongest.astype(str), ["silent", "returned"]), 1.0, p)
    p_value, early = p, np.zeros(n, bool)
    if pool is not None and pool.usable:
        p_value, early = np.minimum(p + pool.budget, 1), np.asarray(silences, bool)
        p_value = np.where(early, np.minimum(p_value, pool.p_value), p_value)
    return pd.DataFrame(
        {
            "score": -np.log(p_value) + 1e-6 * strength,
            "p_value": p_value,
            "p_ranked": p_ranked,
            "test": np.where(early, "silent", strongest),
            "early": early,
        }
    )


def lone_limit(n_series, *, finding_rate, false_discovery_rate):
    """Give the chance at or below which a change of one of `n_series` series is a finding when nothing else
    changes: float; see `findings_among`.
    """
    return max(finding_rate, false_discovery_rate) / max(n_series, 1)


def findings_among(chances, *, finding_rate, false_discovery_rate):
    """Decide which series hold a finding, from the chance of each in a report: bool (S,).

    A change is one when `finding_rate` is at least the number of ordinary series that are expected to hold
    something as strange, which a single clear change among many quiet series passes: what bounds the number
    of false findings of a report, and not their share, asks nothing of the others (the per-family error rate,
    Spjotvoll 1972). Or where so many change that at most `false_discovery_rate` of those kept are expected to
    be chance (Benjamini & Hochberg 1995).
    """
    alone = chances * len(chances) <= finding_rate
    return alone | (benjamini_hochberg(chances) <= false_discovery_rate)


def report_chances(p_ranked, early, n_weeks, pool):
    """Give the chance of an ordinary series to hold something as strange in any of the `n_weeks` of a report:
    float (S,).

    p_ranked : (S,), the least of a series; early : bool (S,), whether it has a first silence, whose p-value
    is that of the `pool`.
    """
    p = np.where(early, np.minimum(p_ranked, pool.p_value), p_ranked)
    return np.minimum(n_weeks * p, 1.0)


class Resolution(NamedTuple):
    """What a night can find. silence : a first silence of one of the `watched` series that were never
    silent. alone : any other change of one series. least_p : the least rank. silence_weeks, other_weeks :
    weeks of history, or months by the `step`, that would be enough.
    """

    silence: bool
    watched: int
    alone: bool
    least_p: float
    silence_weeks: int
    other_weeks: int
    step: Step = WEEK


def resolution(core, pool, judged, n_ordinary, *, min_age, alarm_rate, **finding_rates):
    """The Resolution of a night of which the weeks `judged` (bool (S, W)) are judged by `n_ordinary`
    ordinary weeks and by the pool.
    """
    n_series = max(int(judged.any(axis=1).sum()), 1)
    first, n_weeks = judged_span(judged)
    past = past_of(core, pool.common, first)
    never = ~(past == 0).any(axis=1) & judged.any(axis=1) & pool.rows
    least_p = 1 / (n_ordinary + 1)
    flagged = least_p + pool.budget * pool.usable <= alarm_rate
    limit = lone_limit(n_series, **finding_rates)

    def suffices(weeks):
        chance = silence_chance(np.full(n_series, weeks), 0) / n_series
        return chance <= alarm_rate and n_weeks * chance <= limit

    def leaves_room(weeks):
        kept = silence_chance(np.full(n_series, weeks - n_weeks), pool.step.most_breaks) / n_series
        return 1 / (n_series * (weeks - min_age - n_weeks) + 1) + kept <= alarm_rate

    # a longer past makes the chance smaller; 2000 where none is
    least = pool.step.least_life
    enough = least + bisect_left(range(least, 2000), True, key=suffices)
    other = int(np.ceil(max(n_weeks / limit, 1 / alarm_rate) / n_series + min_age + n_weeks))
    begin = max(other, least + n_weeks)  # from here on a part of the alarms is kept for first silences
    if not leaves_room(begin):
        other = begin + bisect_left(range(begin, 2000), True, key=leaves_room)
    return Resolution(
        bool(pool.usable and never.any() and n_weeks),
        int(never.sum()),
        bool(flagged and n_weeks * least_p <= limit + 1e-12),
        least_p,
        enough + n_weeks,
        other,
        pool.step,
    )
