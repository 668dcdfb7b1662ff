"""Training of the certification study: who learns from whom, methods that are no networks, what is stored.

Tasks      what one model learns and scores           make_task, tasks_of
Methods    what is no network, and decision values    classical, fit_classical, judge_fit, combine_fits, ...
Runs       the first step of a certification          run_limits, run_table, can_classify_runs, ...
Storage    files of models, earlier trainings         store_fit, read_stored, same_features
"""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from sklearn.svm import OneClassSVM

from nightshift.detectors.certification import KEY, feature_errors, own_scores, run_medians, worst_error
from nightshift.models import save_model
from nightshift.statistics import robust_spread

BASELINES, OTHERS = ["distance", "isolation forest"], ["PCA", "neighbours", "one-class SVM"]
OWN_SCORE = ("isolation forest", "neighbours", "one-class SVM")  # the others by what they cannot rebuild
# The mean of these; networks are measured beside it. A one-class SVM had an AUC of 0.51 on real lumisections.
COMBINED, JOINED = "combined", ("distance", "isolation forest", "PCA", "neighbours")
NEAREST = 20  # neighbours whose mean distance counts
LEAST_SPREAD = 1e-3  # of decision values: below lies only rounding
LEAST_USUAL = 1e-5  # squared error: below, 0.3% of the range, a feature is rebuilt as well as it need be
MIN_RUNS = 5  # good runs, and bad ones: with fewer, one decides where the limits are

# ------------------------------------------------------------------------------------------------------ tasks


def too_little_reason(clean, min_good):
    """Say why nothing can be trained where no dataset has enough good lumisections in older runs.

    clean : the clean table of certification.
    """
    older = clean[clean.part != "test"]
    usable = older[(older.label == "good") & older.measured]
    n_older, n_usable = (len(rows.drop_duplicates(KEY)) for rows in (older, usable))
    return (
        f"no dataset has {min_good} good lumisections to train on and two to validate; of {n_older:,} "
        f"in older runs {n_usable:,} are good and measured, and good is what the Golden JSON calls so, "
        "which 1_extract reads by its parameter golden"
    )


def make_task(x, fit, *, check, score, name):
    """Make the task of one model: a SimpleNamespace dataset, split, fit, check, score, low and scale.

    x : float (n, F), the scaled features of a dataset. fit, check, score : int, its good rows to fit, good
    rows to stop by, and rows to score. name : (dataset, split). The rows are scaled once more, as
    (x - low) * scale, by what the task fits, so that a fold knows nothing of the range of the others.
    AssertionError where there are fewer than two rows to fit or to stop by.
    """
    assert min(len(fit), len(check)) > 1, (
        f"{name[0]}, {name[1]}: too few good lumisections to train and to validate: fewer folds, or more days"
    )
    low, high = x[fit].min(axis=0), x[fit].max(axis=0)
    scale = np.where(high > low, 1 / np.where(high > low, high - low, 1), 0)
    return SimpleNamespace(
        dataset=name[0], split=name[1], fit=fit, check=check, score=score, low=low, scale=scale
    )


def fold_task(frame, x, *, dataset, fold, number):
    """Make the task of one fold: it learns from good older runs outside of it and scores its rows.

    frame : DataFrame run, label, part of the rows of x. fold : int (n,), -1 for the test. Validation runs
    outside of the fold stop it, or, where these have fewer than two good lumisections, every fifth run there.
    """
    part = frame.part.to_numpy()
    others = (frame.label == "good").to_numpy() & ~np.isin(fold, [number, -1])
    stops = others & (part == "validation")
    if stops.sum() < 2:
        stops = others & np.isin(frame.run, np.unique(frame.run[others])[::5])
    return make_task(
        x,
        np.flatnonzero(others & ~stops & (part != "test")),
        check=np.flatnonzero(stops),
        score=np.flatnonzero(fold == number),
        name=(dataset, f"fold {number}"),
    )


def tasks_of(frame, x, *, dataset, rng):
    """Make the tasks of a dataset: "run and time", "random", and one per fold.

    frame : DataFrame run, label, part and fold of the labelled measured lumisections x (n, F). The random
    split has about as many good rows to fit, to stop by and to score as that by run and time.
    """
    flat, good, part = np.flatnonzero, (frame.label == "good").to_numpy(), frame.part.to_numpy()
    fold = frame.fold.where(frame.part != "test", -1).to_numpy()
    drawn, shares = rng.random(len(frame)), frame.part[good].value_counts(normalize=True)
    test, rest = shares.get("test", 0), 1 - shares.train
    honest = make_task(
        x,
        flat(good & (part == "train")),
        check=flat(good & (part == "validation")),
        score=flat(part == "test"),
        name=(dataset, "run and time"),
    )
    random = make_task(
        x,
        flat(good & (drawn >= rest)),
        check=flat(good & (drawn >= test) & (drawn < rest)),
        score=flat(drawn < test),
        name=(dataset, "random"),
    )
    numbers = sorted(set(fold) - {-1})
    return [honest, random, *(fold_task(frame, x, dataset=dataset, fold=fold, number=k) for k in numbers)]


# ---------------------------------------------------------------------------------------------------- methods


@dataclass(frozen=True)
class Methods:
    """Settings of the methods that are no networks, and of decision values; AssertionError for one that is
    out of its range.
    """

    components: int  # of PCA, at most
    trees: int  # of the isolation forest
    svm_rows: int  # good lumisections that the one-class SVM learns from, at most
    worst: float  # share of the features, those rebuilt worst, that a decision value averages

    def __post_init__(self):
        assert min(self.trees, self.svm_rows) > 0, "trees and svm_rows must be at least 1"
        assert 0 < self.worst <= 1, f"worst is {self.worst}: it must be above 0, and 1 at most"


def classical(name, n_features, *, settings, random_state):
    """Make an unfitted method that is no network; KeyError for any other name.

    The scalers in front also tell feature by feature how far from usual a lumisection is.
    """
    forest = IsolationForest(n_estimators=settings.trees, random_state=random_state)
    components = max(1, min(settings.components, n_features // 3))
    return {
        "distance": RobustScaler(),
        "PCA": PCA(components, random_state=random_state),
        "isolation forest": make_pipeline(RobustScaler(), forest),
        "neighbours": make_pipeline(RobustScaler(), NearestNeighbors(n_neighbors=NEAREST, algorithm="brute")),
        "one-class SVM": make_pipeline(RobustScaler(), OneClassSVM(nu=0.01)),
    }[name]


def judge_fit(fit, errors, *, worst, own=None):
    """Give a fit the decision values of all rows of its dataset, `scores` (n,), and what makes them: `worst`,
    `usual` and `centre`; returns the fit.

    errors : squared errors (n, F), or None beside a score of its own (n,). A decision value is the logarithm
    of the mean over the worst share of the errors, each in units of its median on good validation
    lumisections, less the median good one: failures touch few histograms, so that a mean over all would
    dilute them, and the maximum alone follows the noise. The distance, which is in usual units already,
    takes the mean over all.
    """
    check, is_distance = fit.task.check, fit.method == "distance"
    fit.worst = 1.0 if is_distance else worst
    if own is None and is_distance:
        fit.usual = np.ones(errors.shape[1])
    elif own is None:
        fit.usual = np.maximum(np.median(errors[check], axis=0), LEAST_USUAL)
    raw = own if own is not None else worst_error(errors, fit.usual, fit.worst)
    fit.centre = float(np.median(raw[check]))
    fit.scores = raw - fit.centre
    return fit


def fit_classical(one, name, *, table, random_state, settings):
    """Fit a method that is no network to a task, and judge it: a SimpleNamespace task, method, seed, model,
    usual, worst, centre, scores.

    table : float (n, F), the scaled features of the dataset of the task.
    """
    rows = one.fit
    if name == "one-class SVM" and len(rows) > settings.svm_rows:
        rows = np.random.default_rng(random_state).choice(rows, settings.svm_rows, replace=False)
    x = (table - one.low) * one.scale
    model = classical(name, x.shape[1], settings=settings, random_state=random_state).fit(x[rows])
    fit = SimpleNamespace(task=one, method=name, seed=random_state, model=model, usual=None)
    if name in OWN_SCORE:
        return judge_fit(fit, None, own=own_scores(model, x), worst=settings.worst)
    return judge_fit(fit, feature_errors(model, x), worst=settings.worst)


def combine_fits(fits):
    """Combine the judged fits of one task: a SimpleNamespace task, method, seed, members, spreads, scores.

    fits : one per method, see `judge_fit`. The decision values (n,) are the mean of theirs, each in units of
    its spread among the good lumisections of the task: where no single method is clearly best, the mean of
    several is less wrong than a choice by few bad runs.
    """
    task = fits[0].task
    good = np.concatenate([task.fit, task.check])
    spreads = [max(robust_spread(fit.scores[good]), LEAST_SPREAD) for fit in fits]
    scores = np.mean([fit.scores / spread for fit, spread in zip(fits, spreads, strict=True)], axis=0)
    return SimpleNamespace(
        task=task, method=COMBINED, seed=fits[0].seed, members=fits, spreads=spreads, scores=scores
    )


def combined_fits(fits, tasks, *, seed):
    """Combine, for each of the `tasks`, its fits by the methods JOINED with this seed: list of fits."""
    of_task = {id(one): [] for one in tasks}
    for fit in fits:
        if fit.method in JOINED and fit.seed == seed:
            of_task[id(fit.task)].append(fit)
    return [combine_fits(members) for members in of_task.values()]


# ------------------------------------------------------------------------------------------------------- runs


def run_limits(p, good, *, run_error):
    """Find (low, high): at most `run_error` of the runs with a probability at or beyond each are wrong; -1 or
    2, which none reaches, where nothing is. Both are probabilities of runs, to the last digit, so that those
    that are equal to them lie beyond.

    p : probability that a run is good (n,). good : bool (n,), whether it is.
    """

    def first(p, good):
        order = np.argsort(-p, kind="stable")
        wrong = np.cumsum(~good[order]) / np.arange(1, len(p) + 1)
        last = np.append(np.diff(p[order]) != 0, True)  # equal probabilities are judged together
        fits_in = np.flatnonzero(last & (wrong <= run_error))
        return float(p[order][fits_in[-1]]) if len(fits_in) else 2.0

    return max(-first(-p, ~good), -1.0), first(p, good)  # 1 - (1 - p) would differ in its last digit


def run_table(learned, scaling):
    """Make what the classifier of whole runs learns from, a row per run with measured lumisections:
    (DataFrame [run, feature], as `run_medians` gives it; bool Series [run], whether at least half of its
    lumisections that pass DCS are golden; int (n,), its fold).

    learned : rows of the clean table whose runs teach. scaling : {dataset: {feature: ...}}.
    """
    passed = learned[learned.label.isin(["good", "expert"])].drop_duplicates(KEY)
    is_good = passed.groupby("run").label.agg(lambda labels: (labels == "good").mean() >= 0.5)
    runs = run_medians(learned, scaling)
    is_good = is_good[is_good.index.isin(runs.index)]
    fold = learned.drop_duplicates("run").set_index("run").fold[is_good.index].to_numpy()
    return runs.loc[is_good.index], is_good, fold


def can_classify_runs(is_good, fold):
    """Check whether there are enough good and bad runs to teach a classifier, in all and outside of each
    fold.

    is_good : bool Series [run]. fold : int (n,), of these runs.
    """
    outside = [is_good[fold != k] for k in np.unique(fold)]
    enough = min((~is_good).sum(), is_good.sum()) >= MIN_RUNS
    return bool(enough and all(of.nunique() > 1 for of in outside))


def unseen_probabilities(classifier, runs, *, is_good, fold):
    """Estimate the probability that each run is good by a classifier that had not seen its fold: float (n,).

    runs : DataFrame [run, feature], as `run_medians` gives it. is_good : bool Series [run]. fold : int (n,).
    The classifier itself stays unfitted.
    """
    p = np.full(len(runs), np.nan)
    for k in np.unique(fold):
        fit, unseen = fold != k, fold == k
        trained = clone(classifier).fit(runs[fit].to_numpy(), is_good[fit])
        p[unseen] = trained.predict_proba(runs[unseen].to_numpy())[:, 1]
    return p


# ---------------------------------------------------------------------------------------------------- storage


def read_stored(path):
    """Read the object in a JSON file of an earlier training; an empty one where there is none, or one that
    cannot be read.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def figure_in_use(models, kind):
    """Find the model in use among the rows `models` of an earlier metrics.json that was measured by bad ones
    of a kind: (list with its row, or an empty one; its figure, -1 where there is none).
    """
    rows = [one for one in models if one.get("in_use") and one["metric"] == f"AUC, {kind} bad lumisections"]
    return rows, max([one["model"] for one in rows], default=-1.0)


def same_features(detector, scaling, names):
    """Check whether a stored detector judges the datasets `names` by the same features, in the same order, as
    the `scaling` of today; False for one that is empty.
    """
    stored = {name: list(one["scaling"]) for name, one in detector.get("datasets", {}).items()}
    return stored == {name: list(scaling[name]) for name in names}


def store_fit(fit, folder, *, scaling, network_of):
    """Write the models of one dataset to `folder`, and remove those that judged it before: returns what
    detector.json says of the dataset, see `decision_values`.

    scaling : {feature: its range}. network_of : gives the Keras model of a fit that is a network.
    """
    name = fit.task.dataset
    for stem in [name, *(member_name(name, method) for method in JOINED)]:
        for suffix in (".skops", ".keras"):  # by whole names: another dataset may begin with the same letters
            (folder / f"{stem}{suffix}").unlink(missing_ok=True)
    if fit.method != COMBINED:
        return {"scaling": scaling} | store_model(fit, folder / name, network_of=network_of)
    members = [
        store_model(one, folder / member_name(name, one.method), network_of=network_of)
        | {"name": one.method, "spread": float(spread)}
        for one, spread in zip(fit.members, fit.spreads, strict=True)
    ]
    return {"scaling": scaling, "members": members}


def member_name(dataset, method):
    """Name the file, without suffix, of a method that judges a dataset together with others."""
    return f"{dataset}-{method.replace(' ', '_')}"


def store_model(fit, path, *, network_of):
    """Write the model of a fit to `path` with the suffix of its kind: returns what detector.json says of it:
    file, worst, centre, usual.
    """
    network = None if hasattr(fit, "model") else network_of(fit)
    file = path.with_name(f"{path.name}{'.skops' if network is None else '.keras'}")
    save_model(fit.model if network is None else network, file)
    usual = None if fit.usual is None else [float(u) for u in fit.usual]
    return {"file": file.name, "worst": fit.worst, "centre": fit.centre, "usual": usual}
