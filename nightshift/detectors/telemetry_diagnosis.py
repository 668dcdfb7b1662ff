"""Which of the labelled troubles a window looks like: classifiers of windows, predicted by models that have
not seen their job, and figures of merit.

    Examples    labelled windows, features that tell     Examples, select_features, columns_for
    Models      fit, predict, temperature, folds         fit_classifier, predict, tune, out_of_fold, ...
    Figures     confusions, macro-F1, its interval       confusion_rates, figures, resample
    Labels      how many of them it takes                labels_needed, label_curves
"""

from dataclasses import dataclass, field
from functools import cached_property, partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from helpers import table_key, write_test_errors
from nightshift.statistics import benjamini_hochberg


@dataclass(frozen=True)
class Examples:
    """Labelled windows that classifiers learn from and are measured on.

    windows : DataFrame job_id, node_id, app, anomaly, truth ("none" is healthy), start, end and `features`,
    with a RangeIndex. classes : sorted names. thin : classifiers learn from every so many of the windows of a
    run, which overlap. false_discovery_rate : share of false ones among the selected features.
    """

    windows: pd.DataFrame
    features: list
    classes: list
    thin: int
    false_discovery_rate: float
    selected: dict = field(default_factory=dict, init=False, repr=False)  # {rows as bytes: their features}

    @cached_property
    def x(self):
        """Return the features, float (n, F)."""
        return self.windows[self.features].to_numpy()

    @cached_property
    def y(self):
        """Return the true class of each window, (n,)."""
        return self.windows.truth.to_numpy()

    @cached_property
    def job(self):
        """Return the job of each window, (n,), or what stands for it, see `jobs_or_days`."""
        return jobs_or_days(self.windows).to_numpy()

    @cached_property
    def of_run(self):
        """Return the number of each window within its run, int (n,)."""
        return self.windows.groupby(["job_id", "node_id"]).cumcount().to_numpy()


def jobs_or_days(windows):
    """Name what shares its luck: the job of each window or, of one without a job, its node and day: Series.

    Beside jobs, all windows without one would else be a single job, and be judged by models that have seen
    none of them: where nodes idle, hardly a job could be stranger than that.

    windows : DataFrame job_id, node_id, start.
    """
    alone = windows[windows.job_id == ""]
    number = alone.groupby(["node_id", alone.start.dt.floor("D")]).ngroup()
    return windows.job_id.mask(windows.job_id == "", " " + number.astype("str"))  # no job is called so


def select_features(windows, features, false_discovery_rate):
    """Features that tell an anomaly from the healthy runs of the same application: DataFrame [feature, (app,
    anomaly)] of adjusted p-values.

    windows : DataFrame job_id, node_id, app, anomaly and `features`; "none" is healthy, "" unlabelled. The
    unit is a run, by its medians, since windows overlap. Mann-Whitney tests (1947), adjusted together
    (Benjamini & Hochberg 1995). Rows: the features with a p-value at or below `false_discovery_rate`, most
    certain first; none where nothing is told apart. No column: no application has healthy and anomalous runs.
    """
    from scipy import stats

    keys = ["job_id", "node_id", "app", "anomaly"]
    runs = windows.loc[windows.anomaly != "", [*keys, *features]].groupby(keys, observed=True).median()
    app, anomaly, x = (
        runs.index.get_level_values("app"),
        runs.index.get_level_values("anomaly"),
        runs.to_numpy(float),
    )
    # features that the same runs lack are tested together
    pattern, patterns = np.unique(np.isnan(x), axis=1, return_inverse=True)
    p = {}
    for pair in sorted(set(zip(app, anomaly, strict=True)) - {(a, "none") for a in app}):
        troubled, healthy = (app == pair[0]) & (anomaly == pair[1]), (app == pair[0]) & (anomaly == "none")
        column = np.full(len(features), np.nan)
        for lacking, these in ((pattern[:, i], patterns == i) for i in range(pattern.shape[1])):
            if (troubled & ~lacking).any() and (healthy & ~lacking).any():
                column[these] = stats.mannwhitneyu(
                    x[troubled & ~lacking][:, these], x[healthy & ~lacking][:, these]
                ).pvalue
        p[pair] = column
    table = pd.DataFrame(
        p,
        index=pd.Index(features, name="feature"),
        columns=pd.MultiIndex.from_tuples(p, names=["app", "anomaly"]) if p else None,
    )
    tested = table.notna().to_numpy()
    if not tested.any():
        return table.iloc[:, :0]
    adjusted = table.to_numpy(copy=True)
    adjusted[tested] = benjamini_hochberg(adjusted[tested])
    smallest = pd.Series(np.nanmin(np.where(tested, adjusted, 1), axis=1), table.index).sort_values(
        kind="stable"
    )
    return pd.DataFrame(adjusted, table.index, table.columns).loc[
        smallest.index[smallest <= false_discovery_rate]
    ]


def columns_for(examples, rows):
    """Select the features that a model reads which learns from the windows `rows`: their numbers, (k,).

    They are those that tell a kind of trouble from health in some application, by Mann-Whitney tests over
    runs, and vary; all that vary, where none tells. All models that learn from the same rows read the same
    features, which are selected once.
    """
    key = np.asarray(rows, int).tobytes()
    if key not in examples.selected:
        windows, features, x = examples.windows.iloc[rows], examples.features, examples.x[rows]
        names = select_features(windows, features, examples.false_discovery_rate).index
        varies = np.fmax.reduce(x) > np.fmin.reduce(x)  # not what is one value, or missing, in all of them
        keeps = np.isin(features, names) & varies if len(names) else varies
        examples.selected[key] = np.flatnonzero(keeps)
    return examples.selected[key]


# ----------------------------------------------------------------------------------------------------- Models


def temperature_scale(p, temperature):
    """Probabilities (n, classes) made less sure by a temperature above 1, surer by one below (Guo et al.
    2017).
    """
    p = np.maximum(p, 1e-6) ** (1 / temperature)
    return p / p.sum(axis=1, keepdims=True)


def fit_classifier(examples, rows, *, estimator):
    """Fit the estimator on the windows `rows`: model, columns (numbers of the features that it reads) and a
    temperature of 1.
    """
    rows = rows[examples.of_run[rows] % examples.thin == 0]
    columns = columns_for(examples, rows)
    model = clone(estimator).fit(examples.x[rows][:, columns], examples.y[rows])
    if "n_jobs" in model.get_params():
        # threads add up the trees in the order they end, and the last digit would differ from run to run
        model.set_params(n_jobs=1)
    return SimpleNamespace(model=model, columns=columns, temperature=1.0)


def predict(examples, fitted, rows):
    """Predict the probability of every class for the windows `rows`, (n, classes); 0 of one that the model
    has not seen, before the temperature is applied.
    """
    classes, seen = examples.classes, fitted.model.classes_
    p = np.zeros((len(rows), len(classes)))
    # boosting adds a column to a single class
    p[:, np.isin(classes, seen)] = fitted.model.predict_proba(examples.x[rows][:, fitted.columns])[
        :, : len(seen)
    ]
    return temperature_scale(p, fitted.temperature)


def tune(examples, rows, *, candidates, seed):
    """Fit the candidate and temperature with the least log loss on a third of the jobs, on all `rows`; with
    its number (`setting`) and that `loss`.

    The temperature is set on jobs that the model has not learned from, so that of the windows named with 90%
    nine in ten are right (Guo et al. 2017).
    """
    y, classes = examples.y[rows], examples.classes
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
    fit, held = next(folds.split(rows, y, examples.job[rows]))
    tried = [
        predict(examples, fit_classifier(examples, rows[fit], estimator=one), rows[held])
        for one in candidates
    ]
    losses = pd.DataFrame(
        {
            t: [log_loss(y[held], temperature_scale(p, t), labels=classes) for p in tried]
            for t in np.geomspace(0.5, 4, 13)
        }
    )
    setting, temperature = losses.stack().idxmin()
    fitted = fit_classifier(examples, rows, estimator=candidates[setting])
    fitted.temperature, fitted.setting = float(temperature), int(setting)
    fitted.loss = float(losses.min().min())
    return fitted


def fit_on_all(examples, candidates, *, seed):
    """Fit on all windows: the best of the candidates, as `tune` does, or the only one as it is."""
    rows = np.arange(len(examples.windows))
    if len(candidates) > 1:
        return tune(examples, rows, candidates=candidates, seed=seed)
    return fit_classifier(examples, rows, estimator=candidates[0])


def split_jobs(examples, n_folds, *, seed):
    """Split into (rows that train, rows that are predicted): by jobs (`jobs_or_days`) in `n_folds` folds, or,
    where that is below two, once by time on each node, the first four fifths against the last.

    AssertionError where there are jobs and fewer than two folds.
    """
    windows, start = examples.windows, examples.windows.groupby("node_id").start
    assert n_folds > 1 or (windows.job_id == "").all(), (
        "only one job is healthy: it cannot both teach and test; label another, or give more days"
    )
    if n_folds > 1:
        folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        return list(folds.split(examples.x, examples.y, examples.job))
    cut = start.transform(lambda times: times.quantile(0.8))
    return [(np.flatnonzero(windows.end <= cut), np.flatnonzero(windows.start >= cut))]


def fold_numbers(splits, windows):
    """Number the fold in which each window is predicted: (n,). Where there is a single split, by time, the
    earlier and the later half of what is predicted count as two.

    splits : of `split_jobs`. windows : DataFrame node_id, start.
    """
    if len(splits) == 1:
        cut = windows.groupby("node_id").start.transform(lambda start: start.quantile(0.9))
        return (windows.start > cut).to_numpy()
    fold = np.full(len(windows), 0)
    for number, (_, unseen) in enumerate(splits):
        fold[unseen] = number
    return fold


def out_of_fold(examples, splits, fit):
    """Predict every window where it is on the test side: ((n, classes), NaN elsewhere, and the fitted
    models).

    fit(examples, rows) gives a fitted model.
    """
    p, fitted = np.full((len(examples.windows), len(examples.classes)), np.nan), []
    for train, unseen in splits:
        fitted.append(fit(examples, train))
        p[unseen] = predict(examples, fitted[-1], unseen)
    return p, fitted


def write_diagnosis_errors(folder, examples, predictions):
    """Write which diagnoses are wrong, 1 or 0 for each window that all classifiers predict, as
    `write_test_errors` does.

    predictions : {classifier: (n, classes), NaN where it predicts nothing}, as `out_of_fold` gives them.
    """
    rows = np.flatnonzero(np.all([np.isfinite(p[:, 0]) for p in predictions.values()], axis=0))
    classes, windows = np.asarray(examples.classes), examples.windows.iloc[rows].reset_index(drop=True)
    diagnosed = {name: classes[p[rows].argmax(axis=1)] for name, p in predictions.items()}
    errors = pd.DataFrame({name: kind != examples.y[rows] for name, kind in diagnosed.items()}, dtype=float)
    row = table_key(windows, ["job_id", "node_id", "start"])
    group = jobs_or_days(windows)
    write_test_errors(folder, errors, row=row, group=group, measure="share of wrong diagnoses")


# ---------------------------------------------------------------------------------------------------- Figures


def confusion_rates(counts, classes):
    """Figures of a confusion matrix (truth, predicted) in the order of `classes`, "none" among them; NaN
    where a class has no window.

    Returns macro_f1; false_alarms, the share of healthy windows given a kind; misses, that of troubled ones
    called healthy; "f1 <class>".
    """
    counts, healthy = np.asarray(counts, float), classes.index("none")
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * np.diagonal(counts) / (counts.sum(axis=0) + counts.sum(axis=1))
        f1 = np.where(counts.sum(axis=1) > 0, f1, np.nan)
        troubled = np.delete(counts, healthy, axis=0)
        rates = {
            "macro_f1": np.nanmean(f1),
            "false_alarms": 1 - counts[healthy, healthy] / counts[healthy].sum(),
            "misses": troubled[:, healthy].sum() / troubled.sum(),
        }
    return {
        name: float(rate)
        for name, rate in (rates | {f"f1 {c}": f for c, f in zip(classes, f1, strict=True)}).items()
    }


def confusions(examples, p, rows):
    """Count windows of each job by truth and prediction, of the `rows` that are predicted: (jobs, classes,
    classes).
    """
    rows, n = rows[np.isfinite(p[rows, 0])], len(examples.classes)
    counts, at = np.zeros((len(rows), n, n)), pd.factorize(examples.job[rows])[0]
    np.add.at(counts, (at, np.searchsorted(examples.classes, examples.y[rows]), p[rows].argmax(axis=1)), 1)
    return counts[: at.max() + 1]


def figures(examples, p, rows=None, **about):
    """Give one row of figures of merit, a dictionary with what it is `about`; of all windows by default."""
    rows = np.arange(len(examples.windows)) if rows is None else rows
    return about | confusion_rates(confusions(examples, p, rows).sum(axis=0), examples.classes)


def resample(examples, p, draws):
    """Compute macro-F1 with the jobs drawn anew, (resamples,); draws (resamples, jobs)."""
    counts = confusions(examples, p, np.arange(len(examples.windows)))
    drawn = (draws @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
    return np.array([confusion_rates(one, examples.classes)["macro_f1"] for one in drawn])


def experiment(examples, splits, *, estimator, labels_of=None, **about):
    """Give rows of figures of an estimator under these splits, one per part.

    labels_of : (n,), the part that each window belongs to, such as its application; None counts all jobs as
    one.
    """
    p, _ = out_of_fold(examples, splits, partial(fit_classifier, estimator=estimator))
    parts = {"all jobs": np.arange(len(examples.windows))}
    if labels_of is not None:
        parts = {labels_of[unseen[0]]: unseen for _, unseen in splits}
    return [figures(examples, p, rows, **about, part=part) for part, rows in parts.items()]


def labels_needed(examples, split, *, forest, order, draw, steps=(6, 10, 15, 22, 32, 45, 60)):
    """Give rows of figures with growing numbers of labelled jobs, chosen in an `order`: "random", or
    "active", those of which the model is least sure (its best guess has the smallest probability).

    split : (rows of which jobs are labelled, rows that are held out). draw : random generator of the order.
    steps : numbers of labelled jobs, up to all there are. Labelling a job labels all of its nodes.
    """
    (pool, unseen), rows, job = split, [], examples.job
    jobs = draw.permutation(np.unique(job[pool]))
    for n in steps:
        fitted = fit_classifier(examples, pool[np.isin(job[pool], jobs[:n])], estimator=forest)
        p = np.full((len(examples.windows), len(examples.classes)), np.nan)
        p[unseen] = predict(examples, fitted, unseen)
        about = {"experiment": "labels needed", "part": order, "model": "random forest"}
        rows.append(figures(examples, p, unseen, **about, labels=min(n, len(jobs))))
        if n >= len(jobs):
            break
        if order == "active":
            rest = pool[np.isin(job[pool], jobs[n:])]
            sure = pd.Series(predict(examples, fitted, rest).max(axis=1)).groupby(job[rest]).mean()
            jobs = np.concatenate([jobs[:n], sure.sort_values().index.to_numpy()])
    return rows


def label_curves(examples, split, *, forest, seed):
    """Measure growing numbers of labels, as `labels_needed` does, in both orders, with three draws each
    (`repeat`) of the first jobs: DataFrame.
    """
    from tqdm import tqdm

    rows, draws = [], [(order, repeat) for repeat in range(3) for order in ("random", "active")]
    for order, repeat in tqdm(draws, desc="labels", unit="draw"):
        draw = np.random.default_rng([seed, repeat])
        drawn = labels_needed(examples, split, forest=forest, order=order, draw=draw)
        rows += [row | {"repeat": repeat} for row in drawn]
    return pd.DataFrame(rows)
