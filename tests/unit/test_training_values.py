"""Classifiers of windows and what healthy windows teach, by hand: who learns from which windows, what is predicted and counted, what is stored."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from nightshift.detectors import telemetry_health
from nightshift.detectors.telemetry_diagnosis import (
    Examples,
    columns_for,
    confusions,
    experiment,
    figures,
    fit_classifier,
    fold_numbers,
    jobs_or_days,
    labels_needed,
    out_of_fold,
    predict,
    resample,
    split_jobs,
    tune,
)
from nightshift.detectors.telemetry_health import Health, HealthSettings, fit_health, health_of, load_detector, node_tests, store_detector

AT = pd.Timestamp("2026-01-30T12:00", tz="UTC")
MINUTE = pd.Timedelta("1min")

# ------------------------------------------------------------------------------------------------ classifiers of windows


class Guess(BaseEstimator):
    """A classifier that says the same of every window, and knows what it has learned from."""

    def __init__(self, p=0.9, n_jobs=4):
        self.p, self.n_jobs = p, n_jobs

    def fit(self, x, y):
        self.classes_, self.x = np.unique(y), x
        return self

    def predict_proba(self, x):
        return np.tile([self.p, 1 - self.p], (len(x), 1))


class Oracle(Guess):
    """A classifier that is right of every window, by its first feature, and 60% sure."""

    def predict_proba(self, x):
        return np.where(x[:, :1] > 0, [0.6, 0.4], [0.4, 0.6])


def examples_of(job, truth, *, thin=1, app="", **features):
    """Windows of a minute, one after the other, on one node; memleak has x = 1 unless other features are named."""
    truth = np.asarray(truth, object)
    start = AT + MINUTE * np.arange(len(truth))
    windows = pd.DataFrame({"job_id": job, "node_id": "n", "app": app, "anomaly": truth, "truth": truth, "start": start, "end": start + MINUTE})
    features = features or {"x": (truth == "memleak").astype(float)}
    classes = sorted({"memleak", "none", *truth})
    return Examples(windows.assign(**features), list(features), classes, thin=thin, false_discovery_rate=0.05)


PAIR = ["none", "memleak"]


def test_a_model_reads_the_features_that_tell_or_else_all_that_vary():
    job, truth = [f"{n}" for n in range(16)], np.repeat(PAIR, 8)
    tells, noise = np.repeat([0.0, 1], 8) + np.arange(16) / 100, np.tile([0.0, 1], 8)
    features = {"constant": np.ones(16), "noise": noise, "tells": tells, "missing": np.full(16, np.nan)}
    assert columns_for(examples_of(job, truth, **features), np.arange(16)).tolist() == [2]
    del features["tells"]
    assert columns_for(examples_of(job, truth, **features), np.arange(16)).tolist() == [1]


def test_a_classifier_learns_from_every_so_many_windows_of_a_run_in_one_thread():
    examples = examples_of(["a"] * 5 + ["b"] * 5, PAIR * 5, thin=2, x=np.arange(10.0))
    fitted = fit_classifier(examples, np.arange(10), estimator=Guess())
    assert fitted.model.x.ravel().tolist() == [0, 2, 4, 5, 7, 9]
    assert (fitted.temperature, fitted.model.get_params()["n_jobs"]) == (1, 1)
    assert fit_classifier(examples, np.arange(1, 10), estimator=Guess()).model.x.ravel().tolist() == [2, 4, 5, 7, 9], "by their number in the run"


@pytest.mark.parametrize(
    ("seen", "temperature", "expected"),
    [
        (PAIR, 1.0, [1e-6, 0.25, 0.75]),
        (PAIR, 0.5, [1e-12, 1 / 16, 9 / 16]),
        (["none", "none"], 1.0, [1e-6, 1e-6, 0.25]),  # boosting adds a column to a single class
    ],
)
def test_a_class_that_a_model_has_not_seen_is_all_but_impossible(seen, temperature, expected):
    examples = examples_of(["1", "2", "3"], [*PAIR, "cpuoccupy"])
    model = Guess(0.25).fit(None, seen)
    p = predict(examples, SimpleNamespace(model=model, columns=[0], temperature=temperature), np.array([2, 0]))
    assert p == pytest.approx(np.tile(expected, (2, 1)) / sum(expected), rel=1e-5)


def test_the_candidate_and_the_temperature_of_the_least_loss_on_unseen_jobs_are_taken():
    """Nine in ten of what is half right is toned down as far as can be, six in ten of what is always right is made surer."""
    examples = examples_of([f"{n}" for n in range(12)], PAIR * 6)
    boaster = tune(examples, np.arange(12), candidates=[Guess(0.9)], seed=1)
    p = 0.9**0.25 / (0.9**0.25 + 0.1**0.25)
    assert (boaster.setting, boaster.temperature) == (0, 4)
    assert boaster.loss == pytest.approx(-(np.log(p) + np.log(1 - p)) / 2)
    modest = tune(examples, np.arange(12), candidates=[Guess(0.9), Oracle()], seed=1)
    assert (modest.setting, modest.temperature, len(modest.model.x)) == (1, 0.5, 12)
    assert modest.loss == pytest.approx(-np.log(0.36 / (0.36 + 0.16)))


def test_jobs_are_split_in_folds_and_servers_by_time():
    jobs = examples_of([f"{n // 2}" for n in range(16)], PAIR * 8)
    folds = split_jobs(jobs, 2, seed=1)
    assert sorted(np.concatenate([unseen for _, unseen in folds])) == list(range(16))
    assert not any(set(jobs.job[train]) & set(jobs.job[unseen]) for train, unseen in folds)
    with pytest.raises(AssertionError, match="only one job is healthy"):
        split_jobs(jobs, 1, seed=1)
    servers = examples_of("", ["none"] * 11)
    [(train, unseen)] = split_jobs(servers, 1, seed=1)
    assert (train.tolist(), unseen.tolist()) == (list(range(8)), [8, 9, 10]), "what ends when the last fifth begins teaches"
    assert fold_numbers([(train, unseen)], servers.windows).tolist() == [False] * 10 + [True]


def test_beside_jobs_windows_without_one_are_split_by_the_days_of_their_nodes():
    """All of them as one job would be predicted by models that have seen none of them, and calibrate what jobs are compared with."""
    mixed = examples_of(["1", "1", "2", "3"] + [""] * 8, ["none"] * 12)
    days, nodes = np.array([0] * 4 + [0, 0, 1, 1, 0, 0, 1, 1]), ["n"] * 8 + ["m"] * 4
    start = mixed.windows.start + pd.to_timedelta(days, unit="D")
    mixed = Examples(mixed.windows.assign(start=start, end=start + MINUTE, node_id=nodes), ["x"], ["none"], thin=1, false_discovery_rate=0.05)
    assert mixed.job[:4].tolist() == ["1", "1", "2", "3"]
    assert pd.factorize(mixed.job[4:])[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for train, unseen in split_jobs(mixed, 3, seed=1):
        assert not set(mixed.job[train]) & set(mixed.job[unseen])
        assert (mixed.windows.job_id[train] == "").any(), "each fold has learned from windows without a job"
    assert jobs_or_days(mixed.windows[:4]).tolist() == ["1", "1", "2", "3"]


def test_windows_are_predicted_where_they_are_unseen_and_by_whom():
    examples = examples_of(["1", "2", "3"], ["none", "memleak", "none"])
    p, fitted = out_of_fold(examples, [(np.array([1, 2]), np.array([0]))], lambda examples, rows: fit_classifier(examples, rows, estimator=Oracle()))
    assert p[0] == pytest.approx([0.4, 0.6])
    assert np.isnan(p[1:]).all()
    assert [len(one.model.x) for one in fitted] == [2]


JUDGED = examples_of(["1", "1", "2", "2"], PAIR * 2)
P = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3], [np.nan, np.nan]])  # memleak, none: right, right, wrong, not predicted


def test_predictions_are_counted_job_by_job():
    assert confusions(JUDGED, P, np.arange(4)).tolist() == [[[1, 0], [0, 1]], [[0, 0], [1, 0]]]
    assert confusions(JUDGED, P, np.array([2])).tolist() == [[[0, 0], [1, 0]]]
    of_all = figures(JUDGED, P, model="m")
    assert of_all == {"model": "m", "macro_f1": pytest.approx(2 / 3), "false_alarms": 0.5, "misses": 0, "f1 memleak": 2 / 3, "f1 none": 2 / 3}
    assert figures(JUDGED, P, np.array([0, 1]))["macro_f1"] == 1
    assert resample(JUDGED, P, np.array([[1.0, 0], [0, 1], [1, 1]])).tolist() == pytest.approx([1, 0, 2 / 3])


def test_an_experiment_has_a_row_for_each_part_that_is_left_out():
    app = np.array(["a", "a", "b", "b"])
    examples = examples_of(["1", "2", "3", "4"], PAIR * 2, app=app)
    splits = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    rows = experiment(examples, splits, estimator=Oracle(), labels_of=app, model="oracle")
    assert [(row["part"], row["model"], row["macro_f1"]) for row in rows] == [("a", "oracle", 1), ("b", "oracle", 1)]
    [whole] = experiment(examples, splits[:1], estimator=Guess())
    assert (whole["part"], whole["misses"], whole["false_alarms"]) == ("all jobs", 0, 1), "of the two windows that are predicted"


class Unsure(Guess):
    """A classifier whose first guess has the probability of the first feature, and that writes down whose windows it learns from."""

    learned: ClassVar[list] = []

    def fit(self, x, y):
        Unsure.learned.append(set(x[:, 0]))
        return super().fit(x, y)

    def predict_proba(self, x):
        return np.column_stack([x[:, 0], 1 - x[:, 0]])


@pytest.mark.parametrize(("steps", "labels"), [((2, 4), [2, 4]), ((2, 4, 6, 9), [2, 4, 6]), ((3, 9), [3, 6])])
def test_labels_are_asked_of_more_jobs_until_there_are_no_others(steps, labels):
    sure = np.repeat([0.95, 0.9, 0.8, 0.7, 0.6, 0.55], 2)  # of each job, a healthy window and one of trouble
    examples = examples_of(np.repeat(list("abcdef"), 2), PAIR * 6, x=sure)
    for order in ("random", "active"):
        Unsure.learned.clear()
        rows = labels_needed(examples, (np.arange(12), np.arange(12)), forest=Unsure(), order=order, draw=np.random.default_rng(3), steps=steps)
        assert [(row["part"], row["labels"]) for row in rows] == [(order, n) for n in labels]
        assert [len(jobs) for jobs in Unsure.learned] == labels
    first, second = Unsure.learned[:2]
    others = sorted(set(sure) - first)  # the least sure ones first
    assert second == first | set(others[: labels[1] - labels[0]])


# ---------------------------------------------------------------------------------------------------- healthy windows


def test_health_is_learned_from_deviations_of_which_some_are_kept_for_each_detector():
    """A server with 20 windows and a job with four, of which a network learns; at most six of each detector's are kept."""
    start = AT + 30 * MINUTE * np.arange(24)
    healthy = pd.DataFrame({"node_id": ["a"] * 20 + ["b"] * 4, "job_id": [""] * 20 + ["1"] * 4, "start": start, "end": start + MINUTE})
    healthy = healthy.assign(x0=np.random.default_rng(1).normal(size=24)).set_axis(range(100, 124))
    learned = []

    def train_network(z, rows_of, late_of):
        learned.append((z, rows_of, late_of))
        return "network"

    health = fit_health(healthy, HealthSettings(["x0"], min_healthy=20, reference_rows=6, smoothing=1), train_network=train_network)
    [(z, rows_of, late_of)] = learned
    assert health.network == "network"
    assert {name: rows.tolist() for name, rows in rows_of.items()} == {"all": list(range(24)), "a": list(range(20))}
    assert np.flatnonzero(late_of["a"]).tolist() == [18, 19]
    assert {name: kept.tolist() for name, kept in health.reference.items()} == {"all": z[::4].tolist(), "a": z[:20:4].tolist()}
    assert set(health.usual.index.get_level_values(0)) == {"all", "a"}


def test_windows_are_measured_in_usual_spreads_and_smoothed_among_those_that_are_wanted():
    usual = pd.DataFrame([[10.0], [2]], pd.MultiIndex.from_tuples([("all", ""), ("all", "spread")]), ["x0"])
    health = Health(usual, {"all": np.array([[0.0], [1], [-1]])}, SimpleNamespace(predict=lambda z, **_: 0 * z))
    start = AT + MINUTE * np.arange(3)
    of_job = pd.DataFrame({"node_id": "n", "job_id": "7", "start": start, "end": start + MINUTE, "x0": [12.0, 14, 30]})
    measured = health_of(health, of_job, smoothing=2)
    assert measured.distance.tolist() == pytest.approx([1, (1 + 4) / 2, (4 + 100) / 2])
    assert (measured.autoencoder.tolist(), measured.group.tolist()) == ([0] * 3, ["all"] * 3)
    some = health_of(health, of_job, smoothing=2, wanted=np.array([False, True, True]))
    assert some.distance.tolist() == pytest.approx([4, (4 + 100) / 2])
    server = health_of(health, of_job.assign(job_id=""), smoothing=1, levels={"n": np.array([1.0])})
    assert server.distance.tolist() == pytest.approx([0, 1, 81]), "less the level that is known of it"


@pytest.fixture
def files_of_models(monkeypatch):
    """Models are stored as texts."""
    monkeypatch.setattr(telemetry_health, "save_model", lambda model, path: path.write_text(model))
    monkeypatch.setattr(telemetry_health, "load_model", lambda path: path.read_text())


def stored_health(folder, *, classes, classifier):
    usual = pd.DataFrame([[1.0, 2], [3, 4]], pd.MultiIndex.from_tuples([("all", ""), ("all", "spread")]), ["x0", "x1"])
    health = Health(usual, {"a": np.array([[5.0, 6]]), "all": np.array([[7.0, 8], [9, 10]])}, "network")
    units = pd.DataFrame({"distance": [1.0, 2]}, ["a", "all"])
    description = {"inputs": ["x0", "x1"], "classes": classes, "detectors": ["all", "a"], "in_use": "distance"}
    how = {"health": health, "units": units, "calibration": pd.DataFrame({"health": [0.5]}), "classifier": classifier}
    store_detector(folder, description, **how)
    return usual, units


def test_a_detector_is_loaded_as_it_was_stored(tmp_path, files_of_models):
    usual, units = stored_health(tmp_path / "models", classes=["none"], classifier="trees")
    detector = load_detector(tmp_path / "models")
    assert (detector.network, detector.classifier, detector.in_use) == ("network", "trees", "distance")
    assert {name: z.tolist() for name, z in detector.reference.items()} == {"all": [[7, 8], [9, 10]], "a": [[5, 6]]}
    assert detector.usual.to_numpy().tolist() == usual.to_numpy().tolist()
    assert detector.usual.index.tolist() == usual.index.tolist()
    assert detector.units.distance.to_dict() == units.distance.to_dict()
    stored_health(tmp_path / "others", classes=[], classifier=None)
    assert load_detector(tmp_path / "others").classifier is None
    assert not (tmp_path / "others/classifier.skops").exists()


def test_a_run_that_is_killed_while_it_stores_leaves_no_halves_of_two_detectors(tmp_path, files_of_models, monkeypatch):
    stored_health(tmp_path, classes=[], classifier=None)
    monkeypatch.setattr(telemetry_health, "write_parquet", None)
    with pytest.raises(TypeError):
        stored_health(tmp_path, classes=[], classifier=None)
    assert not (tmp_path / "detector.json").exists()


@pytest.mark.parametrize("wanted", [None, np.array([False, True, True])])
def test_windows_are_tested_by_a_distance_and_by_the_odds_of_the_classifier(monkeypatch, wanted):
    windows = pd.DataFrame({"node_id": "n", "x": [0.5, 0.2, 0.9]})
    rows = np.arange(3) if wanted is None else np.flatnonzero(wanted)
    distances = pd.DataFrame({"distance": 1.0, "pca": [8.0, 4, 2], "neighbours": 1.0, "autoencoder": 1.0, "group": "all"}).iloc[rows]
    monkeypatch.setattr(telemetry_health, "health_of", lambda *_, **__: distances.reset_index(drop=True))
    trees = SimpleNamespace(predict_proba=lambda x: np.column_stack([1 - x[:, 0], x[:, 0]]))
    about = {"smoothing": 1, "units": pd.DataFrame(1.0, ["all"], ["distance", "pca", "neighbours", "autoencoder"]), "in_use": "pca"}
    detector = SimpleNamespace(classes=["memleak", "none"], features=["x"], temperature=1.0, classifier=trees, **about)
    tests = node_tests(windows, detector, wanted=wanted)
    assert list(tests) == ["classifier", "health", "distance", "pca", "neighbours", "autoencoder", "together", "p memleak", "p none"]
    assert tests.classifier.tolist() == pytest.approx(np.log([1, 4, 1 / 9])[rows].tolist())
    assert tests.health.tolist() == pytest.approx(np.log([8, 4, 2])[rows].tolist())
    assert tests["p none"].tolist() == pytest.approx(np.array([0.5, 0.2, 0.9])[rows].tolist())
    unlabelled = node_tests(windows, SimpleNamespace(classes=[], **about), wanted=wanted)
    assert list(unlabelled) == ["health", "distance", "pca", "neighbours", "autoencoder", "together"]
