"""From decision values to verdicts on lumisections and ranges of bad ones, and how sure that is.

Values      of the judged lumisections, dataset by dataset        decision_table
Intervals   of an AUC and of the threshold, over drawn runs       auc_interval, limit_interval
Limits      both thresholds of each dataset                       first_limit, both_limits
Verdicts    of lumisections, of whole runs, of both in turn       why_refused, verdicts, run_verdicts, ...
Ranges      of flagged lumisections, also in good runs            bad_ranges, strongest_of_good_runs
"""

import numpy as np
import pandas as pd

from nightshift.detectors.certification import KEY, decision_values, range_strength, run_medians
from nightshift.detectors.certification_choice import drawn_areas
from nightshift.models import load_model
from nightshift.statistics import combine_tests, draw_groups, judge_across_folds, percentile_interval


def decision_table(rows, detector, *, folder):
    """Compute the decision values of the lumisections `rows`: DataFrame [(run, lumisection), dataset],
    sorted, NaN where a dataset has not measured one.

    rows : the clean table of certification. detector : the content of detector.json, whose models are in
    `folder`.
    """
    values = {}
    for name, one in detector["datasets"].items():
        part = rows[rows.dataset == name]
        if len(part):
            index = pd.MultiIndex.from_frame(part[KEY])
            values[name] = pd.Series(decision_values(part, one, folder), index, dtype=float)
    every = pd.MultiIndex.from_frame(rows[KEY].drop_duplicates().sort_values(KEY))
    nothing = pd.Series(dtype=float)
    columns = {name: values.get(name, nothing).reindex(every) for name in detector["datasets"]}
    return pd.DataFrame(columns, index=every)


# -------------------------------------------------------------------------------------------------- intervals


def auc_interval(values, bad, *, run, rng, resamples):
    """Compute (AUC, low, high): the chance that bad lumisections have higher values than good ones, with a
    95% interval over drawn runs; NaN where one kind lacks.

    values, bad, run (n,), values that are not finite are left out.
    """
    finite = np.isfinite(values)
    kept = [np.asarray(each)[finite] for each in (bad, values, run)]
    areas = drawn_areas(*kept, rng=rng, resamples=resamples)
    return areas[0], *percentile_interval(areas[1:])


def limit_interval(scores, run, *, alarm_rate, rng, resamples):
    """Compute the 95% interval (low, high), over drawn runs, of the score above which a p-value is at or
    below `alarm_rate`; scores, run (n,).
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    codes = pd.factorize(np.asarray(run))[0]
    n = codes.max() + 1
    drawn = draw_groups(n, rng=rng, resamples=resamples)[1:]
    counts = drawn[:, codes[order]].cumsum(axis=1)  # (resamples, n), most strange first
    reached = counts >= np.maximum(np.floor(alarm_rate * (counts[:, -1:] + 1)), 1)
    return percentile_interval(np.asarray(scores)[order][reached.argmax(axis=1)])


def first_limit(name, grid, *, calibration, weights, alarm_rate):
    """Find the least decision value of one dataset, among the rising values `grid`, that is flagged when all
    others are as usual as can be; the last one where none is.

    calibration : DataFrame of good lumisections, a column for each dataset in `weights`, without NaN.
    """
    lowest = calibration.min()
    tests = pd.DataFrame({other: np.full(len(grid), lowest[other]) for other in weights} | {name: grid})
    flagged = combine_tests(tests, calibration, weights)[1] <= alarm_rate
    return grid[flagged.argmax()] if flagged.any() else grid[-1]


def both_limits(decision, *, calibration, weights, alarm_rate):
    """Find the two thresholds of each dataset of `decision`: {dataset: (first, second)}; beyond the first one
    it flags a lumisection alone (see `first_limit`), the second is its strangest good one.

    decision : DataFrame, decision values by dataset in use. calibration, weights : as in `first_limit`.
    """
    lowest, top, limits = calibration.min(), calibration.max(), {}
    for name in decision:
        low, high = min(decision[name].min(), lowest[name]), max(decision[name].max(), top[name]) + 0.1
        grid = np.linspace(low, high, 2000)
        first = first_limit(name, grid, calibration=calibration, weights=weights, alarm_rate=alarm_rate)
        limits[name] = (first, top[name])
    return limits


# --------------------------------------------------------------------------------------------------- verdicts


def why_refused(reference, alarm_rate):
    """Say why nothing can be certified, whatever is judged; "" where it can.

    reference : DataFrame of the good lumisections of the calibration, a column per dataset in use, of which
    there must be enough that the least p-value reaches `alarm_rate`.
    """
    least_good = int(np.ceil(1 / alarm_rate - 1e-9)) - 1
    if not len(reference.columns):
        return "bad lumisections look more usual than good ones in every dataset (AUC below 0.5)"
    if len(reference) < least_good:
        return (
            f"{len(reference)} good lumisections cannot tell a share of {alarm_rate:.2%}, "
            f"which takes {least_good:,}"
        )
    return ""


def verdicts(scored, decided, *, beyond):
    """Give one word per lumisection, array (n,): dcs, undecided, bad, grey or good.

    scored : DataFrame label, flagged. decided : bool (n,), whether a dataset has measured it. beyond : bool
    (n,), whether some dataset finds it stranger than all good ones.
    """
    cases = [scored.label == "trivial", ~decided, scored.flagged & beyond, scored.flagged]
    return np.select(cases, ["dcs", "undecided", "bad", "grey"], "good")


def run_verdicts(rows, detector, *, folder):
    """Ask the classifier of runs: Series [run] of "good", "bad" or "grey", where it is not sure, without the
    runs of which nothing is measured.

    rows : the clean table of certification. detector : the content of detector.json, in whose `runs` are the
    limits of runs.skops in `folder`.
    """
    limits = detector["runs"]
    scaling = {name: one["scaling"] for name, one in detector["datasets"].items()}
    x = run_medians(rows, scaling).reindex(columns=limits["features"])
    p = load_model(folder / "runs.skops").predict_proba(x.to_numpy())[:, 1] if len(x) else []
    p = pd.Series(p, x.index, float)
    return pd.Series(np.select([p >= limits["high"], p <= limits["low"]], ["good", "bad"], "grey"), x.index)


def in_two_steps(one_step, of_run):
    """Combine verdicts (n,) so that those of whole runs, "good", "bad" or "grey" for each lumisection, come
    first; what fails DCS stays dcs.
    """
    return np.where((one_step == "dcs") | (of_run == "grey"), one_step, of_run)


def bad_ranges(scored, *, gap, alarm_rate):
    """Find ranges of flagged lumisections that pass DCS, with at most `gap` others between two of them:
    DataFrame run, first, last, flagged, looked_at, score, strength, strongest first; none gives an empty one.

    scored : DataFrame run, lumisection, label, verdict, flagged, score, p_value, in which a flagged one has a
    p-value of at most `alarm_rate`. strength : see `range_strength`.
    """
    judged = ~scored.verdict.isin(["dcs", "undecided"]) | (scored.flagged & (scored.label != "trivial"))
    open_ones = scored[judged]
    hit = open_ones[open_ones.flagged].sort_values(KEY)
    begins = ~(hit.groupby("run").lumisection.diff() <= gap + 1)
    hit = hit.assign(range=begins.cumsum(), looks=hit.run.map(open_ones.run.value_counts()))
    ranges = hit.groupby("range").agg(
        run=("run", "first"),
        first=("lumisection", "min"),
        last=("lumisection", "max"),
        flagged=("run", "size"),
        looked_at=("looks", "first"),
        score=("score", "max"),
        strength=("p_value", lambda p: range_strength(p, alarm_rate)),
    )
    return ranges.sort_values(["strength", "score"], ascending=False, ignore_index=True)


def strongest_of_good_runs(good, weights, *, allowance, gap, alarm_rate, groups=10):
    """Measure the strongest range of flagged lumisections of each good run, judged by the other runs: Series
    [run] of strengths, 0 where nothing is flagged.

    good : decision values of good lumisections by models that had not seen their runs, DataFrame [(run,
    lumisection), dataset] without NaN. weights : {dataset: share of the alarms}. allowance : what is taken
    from the values of a run that is judged. The runs are dealt into `groups`, each judged by the others.
    """
    run = good.index.get_level_values("run")
    strongest = pd.Series(0.0, run.unique())
    if not weights or len(strongest) < 2:
        return strongest
    group = pd.factorize(run)[0] % groups
    score, p_value = judge_across_folds(good, group, weights, allowance=allowance)
    scored = good.index.to_frame(index=False).assign(label="good", verdict="grey", score=score)
    scored = scored.assign(p_value=p_value, flagged=p_value <= alarm_rate)
    ranges = bad_ranges(scored, gap=gap, alarm_rate=alarm_rate)
    strongest.update(ranges.groupby("run").strength.max())
    return strongest
