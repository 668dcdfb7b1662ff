"""Which method of the certification study serves: areas under the ROC curve on lumisections whose runs a
model had not seen, and the choice among methods.

    Area      AUC with ties and weights, drawn runs            area, drawn_areas, area_of, measure_fit, ...
    Choice    datasets together, the best method, the gate     OutOfFold, kind_of, upright, choose, ...
"""

from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pandas as pd

from nightshift.detectors.certification import KEY
from nightshift.statistics import combine_tests, draw_groups, percentile_interval, skill_score

# ------------------------------------------------------------------------------------------------------- area


def area(bad, score, weight):
    """Compute the AUC of lumisections with weights (draws, n): (draws,), ties count a half; NaN in a draw
    without good or without bad ones.

    bad : bool (n,). score : float (n,), higher is stranger.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)
    good, ill = (np.add.reduceat(weight[:, order] * flag[order], starts, axis=1) for flag in (~bad, bad))
    with np.errstate(invalid="ignore", divide="ignore"):
        won = np.sum(ill * (np.cumsum(good, axis=1) - good / 2), axis=1)
        return won / (ill.sum(axis=1) * good.sum(axis=1))


def drawn_areas(bad, score, run, *, rng, resamples):
    """Compute the AUC with whole runs drawn anew: (1 + resamples,), first as all are; NaN in a draw, or in
    all, without good or without bad ones.

    bad : bool (n,). score : float (n,), finite. run : (n,), since the lumisections of a run share their luck.
    """
    if bad.all() or not bad.any():
        return np.full(1 + resamples, np.nan)
    code, runs = pd.factorize(np.asarray(run))
    draws = draw_groups(len(runs), rng=rng, resamples=resamples)
    parts = np.array_split(draws, min(10, len(draws)))  # a tenth of them at once, to save memory
    return np.concatenate([area(bad, score, part[:, code]) for part in parts])


def area_of(frame, score, *, kind, draws=0, seed=0):
    """Compute the `drawn_areas` of the rows that have a score, good ones against bad ones of a kind:
    (1 + draws,).

    frame : DataFrame run, label. score : float (n,), NaN where there is none. seed : of the draws.
    """
    rows = np.isfinite(score) & frame.label.isin(["good", kind]).to_numpy()
    bad, rng = (frame.label == kind).to_numpy()[rows], np.random.default_rng(seed)
    return drawn_areas(bad, score[rows], frame.run[rows], rng=rng, resamples=draws)


def measure_fit(fit, frame):
    """Make rows of experiments.parquet: AUC of one fit on what its task scores, one dict for each kind of
    bad.

    frame : DataFrame run, label of all rows of its dataset.
    """
    scored, score = frame.iloc[fit.task.score], fit.scores[fit.task.score]
    counted = scored.label.value_counts()
    what = {
        "split": fit.task.split,
        "dataset": fit.task.dataset,
        "model": fit.method,
        "seed": fit.seed,
        "n_good": int(counted.get("good", 0)),
    }
    return [
        what | {"bad": kind, "auc": area_of(scored, score, kind=kind)[0], "n_bad": int(counted.get(kind, 0))}
        for kind in ("trivial", "expert")
    ]


def experiments_of(fits, frames, seeds):
    """Measure all fits on the two splits, and random scores beside them: DataFrame, the rows of
    experiments.parquet; what has no bad lumisections is left out.

    fits : judged fits (see `judge_fit`). frames : {dataset: DataFrame run, label}. seeds : of random scores.
    """
    tasks = {id(fit.task): fit.task for fit in fits if not fit.task.split.startswith("fold")}.values()
    noise = [
        SimpleNamespace(
            task=one,
            method="random",
            seed=s,
            scores=np.random.default_rng([s, 7]).random(len(frames[one.dataset])),
        )
        for one in tasks
        for s in seeds
    ]
    on_splits = [fit for fit in [*fits, *noise] if not fit.task.split.startswith("fold")]
    rows = [row for fit in on_splits for row in measure_fit(fit, frames[fit.task.dataset])]
    return pd.DataFrame(rows).dropna(subset="auc").reset_index(drop=True)


# ----------------------------------------------------------------------------------------------------- choice


def out_of_fold(fits, method, *, frames, index):
    """Collect the decision values of a method by models that have not seen the run: DataFrame [(run,
    lumisection), dataset] with the rows `index`; NaN where the dataset has not measured one.

    fits : judged fits (see `judge_fit`). frames : {dataset: DataFrame run, lumisection of its rows}.
    """
    parts = {name: [] for name in frames}
    for fit in fits:
        if fit.method == method and fit.task.split.startswith("fold"):
            where = pd.MultiIndex.from_frame(frames[fit.task.dataset][KEY].iloc[fit.task.score])
            parts[fit.task.dataset].append(pd.Series(fit.scores[fit.task.score], where))
    return pd.DataFrame({name: pd.concat(of) for name, of in parts.items()}).reindex(index)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What each method says of the lumisections of learned runs, by models that had not seen their runs."""

    rows: pd.DataFrame  # [(run, lumisection)] label and fold
    values: dict  # {method: DataFrame [(run, lumisection), dataset]}
    min_bad_runs: int  # with bad lumisections of a kind that it takes to measure by them


def held_out_by_folds(fits, frames, *, methods, min_bad_runs):
    """Collect what `methods` say of the lumisections of learned runs: OutOfFold, its rows sorted.

    fits : judged fits (see `judge_fit`). frames : {dataset: DataFrame run, lumisection, label, fold, part}.
    """
    rows = pd.concat([frame[[*KEY, "label", "fold", "part"]] for frame in frames.values()])
    rows = rows.drop_duplicates(KEY).sort_values(KEY)
    rows = rows[rows.part != "test"].set_index(KEY)[["label", "fold"]]
    values = {method: out_of_fold(fits, method, frames=frames, index=rows.index) for method in methods}
    return OutOfFold(rows, values, min_bad_runs)


def kind_of(held_out, rows):
    """Say which bad lumisections measure the rows (bool (n,)): "expert", else "trivial", else None, where too
    few runs have any.
    """
    subset = held_out.rows[rows].reset_index()
    for kind in ("expert", "trivial"):
        if subset.run[subset.label == kind].nunique() >= held_out.min_bad_runs:
            return kind
    return None


def upright(held_out, method, *, rows):
    """Find the datasets, a tuple, that are not inverted by the AUC of a method on the rows (bool (n,)); all,
    where nothing measures it. In an inverted one good looks stranger than bad.
    """
    kind, frame, values = kind_of(held_out, rows), held_out.rows[rows].reset_index(), held_out.values[method]
    if kind is None:
        return tuple(values)
    areas = {name: area_of(frame, values[name].to_numpy()[rows], kind=kind)[0] for name in values}
    return tuple(name for name, auc in areas.items() if not auc < 0.5)


@lru_cache
def together_of(held_out, method, used):
    """Score how strange every lumisection is to the datasets `used` (a tuple) together: float (n,), by the
    good ones of the other folds; 0 where none is used.

    It is the strongest of their decision values, each in terms of the good ones (`combine_tests`), since a
    failure that touches only the muons is nothing that the other datasets could see.
    """
    label, fold = held_out.rows.label.to_numpy(), held_out.rows.fold.to_numpy()
    out, tests = np.zeros(len(fold)), held_out.values[method][list(used)]
    for k in np.unique(fold) if used else ():
        good = tests[(fold != k) & (label == "good")].dropna(how="all")
        judged, good = (part.fillna(good.min()) for part in (tests[fold == k], good))
        out[fold == k] = combine_tests(judged, good, dict.fromkeys(used, 1 / len(used)))[0]
    return out


def all_together(held_out, method):
    """Score every lumisection by a method and the datasets that are upright on all of them: float (n,)."""
    every = np.ones(len(held_out.rows), bool)
    return together_of(held_out, method, upright(held_out, method, rows=every))


def choose(held_out, rows, *, candidates, otherwise):
    """Choose the candidate with the largest AUC for expert bad ones among the rows (bool (n,)), by the
    datasets that are upright there; `otherwise`, where they are too few.
    """
    if kind_of(held_out, rows) != "expert":
        return otherwise
    frame = held_out.rows[rows].reset_index()

    def auc(method):
        score = together_of(held_out, method, upright(held_out, method, rows=rows))
        return area_of(frame, score[rows], kind="expert")[0]

    return max(candidates, key=auc)


def nested_scores(held_out, *, candidates, otherwise):
    """Score how strange every lumisection is, where in each fold the method and the datasets that it uses are
    chosen by the other folds: float (n,).
    """
    fold = held_out.rows.fold.to_numpy()
    out = np.zeros(len(fold))
    for k in np.unique(fold):
        method = choose(held_out, fold != k, candidates=candidates, otherwise=otherwise)
        used = upright(held_out, method, rows=fold != k)
        out[fold == k] = together_of(held_out, method, used)[fold == k]
    return out


def gate(areas, chosen, *, kind, baselines, combined):
    """Decide which method serves: (its name, one dict per method for metrics.json, the choice first, then by
    falling area).

    areas : {method: AUC (1 + draws,)}, as `area_of` gives them. A method whose gain over the better baseline
    may be chance, or whose AUC is below a half, does not serve alone. Where none passes, no single method is
    clearly best, and the method `combined` serves, unless it is clearly worse than the baseline or its AUC is
    below a half: then the baseline does.
    """
    baseline = max(baselines, key=lambda method: areas[method][0])
    worse = percentile_interval(skill_score(areas[combined], areas[baseline], least=-1)[1:])[1] < 0
    otherwise = baseline if worse or not areas[combined][0] >= 0.5 else combined
    serves, models = None, []
    in_order = sorted(areas.items(), key=lambda item: (item[0] == chosen, item[1][0]), reverse=True)
    for method, drawn in in_order:
        # below -1, a skill says nothing but that the baseline leaves no room
        skill = skill_score(drawn, areas[baseline], least=-1)
        low, high = percentile_interval(skill[1:])
        models.append(
            {
                "name": method,
                "metric": f"AUC, {kind} bad lumisections",
                "model": drawn[0],
                "baseline_name": baseline,
                "baseline": areas[baseline][0],
                "skill": skill[0],
                "skill_low": low,
                "skill_high": high,
            }
        )
        if serves is None and low > 0 and drawn[0] >= 0.5:
            serves = method
    return serves or otherwise, models
