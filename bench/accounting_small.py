"""Small centres: what accounting finds with 1 to 5 series and 43 weeks, and how often it is wrong. Run from the repository:

    python -m bench.accounting_small [CENTRES [QUIET [SEED]]]      # with a silent series, and quiet ones, of each size

Simulated centres: Poisson or negative binomial jobs, a closed season, a trend, series of different regularity. They test the method;
no figure here is its quality on a real centre.
"""

import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest

from nightshift.detectors import accounting as a
from nightshift.detectors.base import EstimatorDetector
from nightshift.statistics import share_interval

MONDAY = pd.Timestamp("2025-04-07", tz="UTC")
REST = {"drop": 2, "surge": 2, "returned": 1, "efficiency_drop": 1, "longer_jobs": 1, "more_jobs": 1, "unusual": 1}
WEIGHTS = {"silent": 0.95} | {kind: 0.05 * part / sum(REST.values()) for kind, part in REST.items()}  # as 3_train has them
REPORT_WEEKS, MIN_AGE, TRAIN_WEEKS = 3, 8, 78


def simulate_jobs(rng, n_series, n_weeks=43, pauses=(0.0,)):
    """Jobs of each series in each week, int (n_series, n_weeks); `pauses` are shares of silent weeks, of which each series has one."""
    mean = np.exp(rng.uniform(np.log(12), np.log(3000), (n_series, 1)))
    trend = np.exp(rng.normal(0, 0.4, (n_series, 1)) * np.linspace(-0.5, 0.5, n_weeks))
    season = np.ones(n_weeks)
    if rng.random() < 0.6:  # a fortnight in which few people are there
        begin = rng.integers(0, n_weeks - 1)
        season[begin : begin + 2] = rng.uniform(0.25, 0.7)
    noise = np.exp(rng.normal(0, rng.uniform(0.05, 0.4, (n_series, 1)), (n_series, n_weeks)))
    rate = mean * trend * season * noise
    size = rng.uniform(3, 30, (n_series, 1))
    jobs = rng.poisson(rate) if rng.random() < 0.5 else rng.negative_binomial(size, size / (size + rate))
    share = rng.choice(pauses, (n_series, 1))
    return np.where(rng.random(jobs.shape) < share, 0, jobs)


def weekly_table(rng, jobs):
    """The clean table of `jobs`, one site; a series lives from its first job on."""
    length = np.exp(rng.normal(1, 0.8, (len(jobs), 1)) + rng.normal(0, 0.1, jobs.shape))
    row, week = np.nonzero(np.cumsum(jobs, axis=1) > 0)
    wall = (jobs * length)[row, week]
    return pd.DataFrame(
        {
            "site": "centre",
            "vo": np.char.add("account", row.astype(str)),
            "week": MONDAY + pd.to_timedelta(7 * week, unit="D"),
            "core_hours": wall * 4,
            "wall_hours": wall,
            "cpu_hours": wall * 3.2,
            "jobs": jobs[row, week].astype(float),
        }
    )


def judge_night(clean, alarm_rate=0.01, trees=8, blocks=2, **finding_rates):
    """The judged weeks, and which series hold a finding: (DataFrame, bool Series by (site, vo)); as 3_train and 4_analyse judge them."""
    rates = {"finding_rate": 0.5, "false_discovery_rate": 0.05} | finding_rates
    series, weeks, panel = a.series_panel(clean)
    features, at = a.series_features(panel), np.arange(len(weeks))
    able, first = np.isfinite(panel["core_hours"]) & (features["age"] >= MIN_AGE), len(weeks) - REPORT_WEEKS
    ordinary, judged = able & (at < first) & (at >= first - TRAIN_WEEKS), able & (at >= first)

    def fit(rows):
        forest = IsolationForest(n_estimators=trees, max_samples=min(256, int(rows.sum())), random_state=1)
        return EstimatorDetector(forest).fit(a.forest_inputs(features, rows))

    parts = [ordinary & np.isin(at, columns) for columns in np.array_split(np.flatnonzero(ordinary.any(axis=0)), blocks)]
    calibration = pd.concat([a.change_tests(features, part, fit(ordinary & ~part)) for part in parts], ignore_index=True)
    single = (series.site != "").to_numpy() & (series.vo != "").to_numpy()
    pool = a.silence_pool(panel["core_hours"], single, judged, alarm_rate=alarm_rate, **rates)
    row, week = np.nonzero(judged)
    silences = a.silences_of(panel["core_hours"], pool, np.arange(len(series)))[row, week]
    scored = a.judge_weeks(a.change_tests(features, judged, fit(ordinary)), calibration, WEIGHTS, silences, pool)
    scored = scored.assign(row=row, site=series.site.to_numpy()[row], vo=series.vo.to_numpy()[row], flagged=scored.p_value <= alarm_rate)
    by_row = scored.groupby("row").agg(p=("p_ranked", "min"), early=("early", "any"))
    chances = a.report_chances(by_row.p.to_numpy(), by_row.early.to_numpy(), REPORT_WEEKS, pool)
    is_rare = a.findings_among(chances, **rates)
    return scored, pd.Series(is_rare, pd.MultiIndex.from_frame(series.loc[by_row.index]))


def found(clean, account, **rates):
    """Whether `account` has a flagged week and is a finding."""
    scored, is_rare = judge_night(clean, **rates)
    return bool(scored.flagged[scored.vo == account].any() and is_rare["centre", account])


def measure(n_series, n_centres, seed, pauses, silenced):
    """Counts of `n_centres` centres: (found, flagged series-weeks, judged series-weeks, nights with a significant series)."""
    hits = flagged = judged = false = 0
    for i in range(n_centres):
        rng = np.random.default_rng([seed, n_series, i])
        jobs = simulate_jobs(rng, n_series, pauses=pauses)
        if silenced:
            jobs[0, -rng.integers(1, REPORT_WEEKS + 1)] = 0
            hits += found(weekly_table(rng, jobs), "account0")
            continue
        scored, is_rare = judge_night(weekly_table(rng, jobs))
        flagged, judged = flagged + int(scored.flagged.sum()), judged + len(scored)
        false += bool(is_rare[scored[scored.flagged].groupby(["site", "vo"]).size().index].any()) if scored.flagged.any() else 0
    return hits, flagged, judged, false


def line(label, n_hits, n):
    low, high = share_interval(n_hits, n)
    return f"{label:58s} {n_hits:6d} of {n:6d}  {n_hits / max(n, 1):7.2%}  ({low:.2%} to {high:.2%})"


def main(n_centres=200, n_quiet=200, seed=90_001):
    warnings.filterwarnings("ignore")
    habits = {"never pause": (0.0,), "pause in 0 to 2.5% of weeks": (0, 0, 0.005, 0.01, 0.025), "pause in 0 to 30%": (0, 0.01, 0.03, 0.1, 0.3)}
    for n in (1, 2, 3, 4, 5):
        print(line(f"found: {n} series, one silent for one week", measure(n, n_centres, seed, (0.0,), True)[0], n_centres), flush=True)
    for name, pauses in habits.items():
        total = np.zeros(3, int)
        for n in (1, 2, 3, 4, 5):
            counts = np.array(measure(n, n_quiet, seed + 1, pauses, False)[1:])
            print(line(f"flagged of quiet series-weeks: {n} series, {name}", *counts[:2]), flush=True)
            total += counts
        print(line(f"flagged of quiet series-weeks: all, {name}", *total[:2]))
        print(line(f"quiet nights with a finding: all, {name}", total[2], 5 * n_quiet), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
