"""Training of the telemetry study on hand-made windows: who is predicted by whom, what is chosen, what stays, and clear ends on bad input."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run_cells
from sklearn.metrics import average_precision_score, f1_score
from telemetry_tables import write_windows

import helpers
from nightshift.analysis.telemetry_training import read_teaching
from nightshift.detectors.telemetry_diagnosis import fit_classifier, predict, temperature_scale, tune
from nightshift.detectors.telemetry_distances import normalise_scores
from nightshift.detectors.telemetry_health import health_of, load_detector, node_tests
from nightshift.detectors.telemetry_measures import mean_precision, precision

pytestmark = pytest.mark.usefixtures("quick_compiler")

DAY, START = "2026-01-31", pd.Timestamp("2026-01-20", tz="UTC")
QUICK = {"day": DAY, "folds": 3, "trees": 15, "rounds": 8, "epochs": 3, "thin": 1, "smoothing": 3, "experiments": [], "alarm_rate": 0.05}
TEXTS = ["job_id", "node_id", "app", "input", "anomaly", "part"]
METRICS = ["Active::meminfo", "user::procstat", "rx::procnetdev"]


def run_of(rng, job, node, kind, *, day, luck=0.2, size=8, part="", app="", input_=""):
    """Windows of one run: memleak lifts the memory by 6 usual deviations, cpuoccupy the CPU time by 2; `luck` is common to the run."""
    lift = {"memleak": [6, 0, 0], "cpuoccupy": [0, 2, 0]}.get(kind, [0, 0, 0])
    level = lift + rng.normal(0, luck, 3) + (app == "solver")
    x = level + rng.normal(0, 0.3, (size, 5, 3))  # (window, sample, metric)
    start = START + pd.Timedelta(days=day) + pd.to_timedelta(15 * np.arange(size), unit="s")
    keys = dict(zip(TEXTS, [job, node, app, input_, kind, part], strict=True))
    values = {f"{m}|{s}": getattr(x, s)(axis=1)[:, i].astype("float32") for i, m in enumerate(METRICS) for s in ("mean", "std", "min", "max")}
    return pd.DataFrame(keys | {"start": start, "end": start + pd.Timedelta("60s"), "coverage": 1.0} | values)


def table(kinds, *, luck=0.2, seed=0):
    """One job of two nodes per entry of `kinds`, half a day apart, of two applications with two inputs; "" is unlabelled."""
    rng = np.random.default_rng(seed)
    places = [(app, size) for app in ("solver", "stencil") for size in ("small", "large")]
    runs = [
        run_of(rng, str(100 + i), f"n{node}", kind, day=i / 2, luck=luck, app=places[i % 4][0], input_=places[i % 4][1])
        for i, kind in enumerate(kinds)
        for node in (1, 2)
    ]
    return pd.concat(runs).sort_values(["node_id", "start"], ignore_index=True)


def train(products, windows, **parameters):
    """Paths, the names that the notebook leaves, what it shows, metrics.json and detector.json."""
    paths = helpers.study_paths("telemetry", products)
    write_windows(paths, windows)
    names, page = run_cells("telemetry/3_train.ipynb", products, **QUICK | parameters)
    metrics, detector = (json.loads((paths.models / f"{name}.json").read_text()) for name in ("metrics", "detector"))
    return SimpleNamespace(products=products, paths=paths, names=names, page=page, metrics=metrics, detector=detector, windows=windows)


def stored(paths):
    """Every stored file but what is written of each training, as bytes."""
    written = ("metrics.json", "folds.parquet", "experiments.parquet", "detectors.parquet", "test_errors.parquet")
    return {path.name: path.read_bytes() for path in sorted(paths.models.iterdir()) if path.name not in written}


def of_models(done):
    return {model["name"]: model for model in done.metrics["models"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Five jobs of each kind, one of a rare kind, two unlabelled before the judged days and two within them."""
    kinds = ["none", "memleak", "cpuoccupy"] * 5 + ["none", "rare", "", ""]
    late = table(["", ""], seed=1).assign(job_id=lambda t: "late" + t.job_id)
    late[["start", "end"]] += pd.Timedelta(days=9)
    windows = pd.concat([table(kinds), late]).sort_values(["node_id", "start"], ignore_index=True)
    return train(tmp_path_factory.mktemp("trained"), windows, experiments=["unknown application", "labels needed"])


@pytest.fixture(scope="module")
def noise(trained, tmp_path_factory):
    """Labels that nothing measures, on runs that differ: what tells one job from another tells its label only where the job is known already.

    It is trained over the models of `trained`, which have been kept once before.
    """
    products = tmp_path_factory.mktemp("noise")
    models = helpers.study_paths("telemetry", products).models
    shutil.copytree(trained.paths.models, models)
    kept_before = trained.metrics | {"models": [model | {"name": f"stored {model['name']}"} for model in trained.metrics["models"]]}
    helpers.write_json(kept_before, models / "metrics.json")
    windows = table(["none"] * 12, luck=3, seed=4)
    odd = windows.job_id.astype(int) % 2 == 1
    return train(products, windows.assign(anomaly=np.where(odd, "membw", "none"), app="solver"), folds=2)


# ---------------------------------------------------------------------------------------------------- who learns from whom


def test_every_labelled_window_is_predicted_by_models_that_have_not_seen_its_job(trained):
    n = trained.names
    seen = np.zeros(len(n["teaching"]), int)
    for number, (train_rows, unseen) in enumerate(n["by_job"]):
        assert not set(n["job"][train_rows]) & set(n["job"][unseen])
        seen[unseen] += 1
        for family, fitted in n["tuned"].items():
            p = predict(n["examples"], fitted[number], unseen)
            np.testing.assert_allclose(p, n["predictions"][family][unseen], rtol=1e-9)
    assert (seen == 1).all()
    folds = pd.read_parquet(trained.paths.models / "folds.parquet")
    labelled = trained.windows[trained.windows.anomaly.isin(["none", "memleak", "cpuoccupy"])]
    assert folds[["node_id", "start"]].apply(tuple, axis=1).tolist() == labelled[["node_id", "start"]].apply(tuple, axis=1).tolist()
    np.testing.assert_allclose(folds[["p cpuoccupy", "p memleak", "p none"]].sum(axis=1), 1)


def test_nothing_of_the_held_out_jobs_enters_a_model(trained):
    n = trained.names
    train_rows, unseen = n["by_job"][0]
    candidates = n["families"]["random forest"]
    teaching, x = n["teaching"], n["examples"].x
    before = tune(n["examples"], train_rows, candidates=candidates, seed=1)
    of_unseen = np.isin(np.arange(len(teaching)), unseen)
    spoilt = teaching.assign(**{name: np.where(of_unseen, 50 + teaching[name] ** 2, teaching[name]) for name in n["features"]})
    spoilt = spoilt.assign(**{name: np.where(of_unseen, "memleak", teaching[name]) for name in ("anomaly", "truth")})
    after = tune(replace(n["examples"], windows=spoilt), train_rows, candidates=candidates, seed=1)
    assert (after.setting, after.temperature) == (before.setting, before.temperature)
    assert after.loss == pytest.approx(before.loss, rel=1e-9)
    np.testing.assert_array_equal(after.columns, before.columns)
    np.testing.assert_allclose(after.model.predict_proba(x[:, after.columns]), before.model.predict_proba(x[:, before.columns]), rtol=1e-9)


def test_a_feature_that_tells_only_in_the_held_out_jobs_is_not_chosen(trained):
    n = trained.names
    train_rows, unseen = n["by_job"][0]
    teaching, feature = n["teaching"].assign(app=""), "rx::procnetdev|mean"
    ill = np.isin(np.arange(len(teaching)), unseen) & (n["y"] == "cpuoccupy")
    everywhere = teaching.assign(**{feature: np.where(n["y"] == "cpuoccupy", 9, teaching[feature])})
    for frame, chosen in ((teaching.assign(**{feature: np.where(ill, 9, teaching[feature])}), False), (everywhere, True)):
        examples = replace(n["examples"], windows=frame)
        columns = fit_classifier(examples, train_rows, estimator=n["trivial"]["one threshold per kind"]).columns
        assert (n["features"].index(feature) in columns) == chosen
        assert n["features"].index("Active::meminfo|mean") in columns  # the leak is told at any time


def test_unlabelled_windows_never_teach_where_others_are_labelled(trained):
    unlabelled = set(trained.windows.job_id[trained.windows.anomaly == ""])
    assert len(unlabelled) == 4
    assert not unlabelled & set(trained.names["teaching"].job_id)


def test_a_rare_kind_is_left_out_by_name_and_does_not_keep_the_others_from_being_diagnosed(trained):
    assert trained.detector["classes"] == ["cpuoccupy", "memleak", "none"]
    assert "Left out, in fewer than 3 jobs: rare." in trained.page


# ------------------------------------------------------------------------------------------------------------- figures


def test_metrics_are_complete_and_follow_from_what_is_said_of_unseen_jobs(trained):
    models, n = of_models(trained), trained.names
    assert set(models) == {*n["families"], *n["trivial"], *n["methods"]}
    for name, p in n["predictions"].items():
        labels = np.array(trained.detector["classes"])[p.argmax(axis=1)]
        assert models[name]["model"] == pytest.approx(f1_score(n["y"], labels, average="macro"))
        assert models[name]["n_test"] == len(n["y"]) == 16 * 2 * 8
    for model in models.values():
        assert model["skill_low"] - 1e-9 <= model["skill"] <= model["skill_high"] + 1e-9
        assert model["split"] == "3 folds by job"
    assert models["random forest"]["model"] > 0.8 > 0.5 > models["everything is healthy"]["model"]
    in_use = {name for name, model in models.items() if model["in_use"]}
    assert in_use == {n["serves"], trained.detector["in_use"]}
    assert trained.metrics["day"] == trained.detector["trained_day"] == DAY


def test_the_memory_leak_is_seen_by_every_detector_and_more_than_the_busy_core(trained):
    frame, each = trained.names["measured"], mean_precision
    for name in ("distance", "pca", "neighbours"):
        leak, busy = (
            each(rows, name, np.ones((1, len(rows))))[0] for kind in ("memleak", "cpuoccupy") for rows in [frame[frame.truth.isin([kind, "none"])]]
        )
        assert leak > 0.95
        assert leak >= busy > frame.truth.eq("cpuoccupy").mean()


def test_what_each_detector_sees_is_stored_for_the_page_on_quality(trained):
    seen, models = pd.read_parquet(trained.paths.models / "detectors.parquet"), of_models(trained)
    of_all = seen[seen.of == ""].set_index("detector")
    assert {name: of_all.precision[name] for name in trained.names["methods"]} == {name: models[name]["model"] for name in trained.names["methods"]}
    assert 0 < of_all.precision["random scores"] < of_all.precision["distance"]
    assert set(seen.of) == {"", "cpuoccupy", "memleak"}
    assert set(seen.detector[seen.in_use]) == {trained.names["in_use"]}


def test_every_experiment_is_measured_on_the_part_it_names(trained):
    results = pd.read_parquet(trained.paths.models / "experiments.parquet")
    assert set(results.experiment) == {"default", "shuffled", "unknown application", "labels needed"}
    assert set(results.part[results.experiment == "unknown application"]) == {"solver", "stencil"}
    needed = results[results.experiment == "labels needed"]
    pool = len(np.unique(trained.names["job"][trained.names["by_job"][0][0]]))
    assert sorted(needed.labels.unique()) == [6, 10, pool]  # of 16 jobs a third is held out
    full = needed[needed.labels == pool].groupby("part").macro_f1.mean()
    assert full["active"] == pytest.approx(full["random"], abs=0.1)  # all are labelled in the end


def test_precision_is_that_of_sklearn_with_and_without_weights():
    rng = np.random.default_rng(3)
    ill, score, weight = rng.random(200) < 0.3, rng.normal(size=200), rng.integers(0, 4, (5, 200))
    weight[0] = 1
    got = precision(ill, score, weight)
    np.testing.assert_allclose(got, [average_precision_score(ill, score, sample_weight=w) for w in weight])
    assert got[0] == pytest.approx(average_precision_score(ill, score))
    assert np.isnan(precision(ill, score, np.where(ill, 0, 1)[None])).all()  # a draw without trouble


def test_what_nothing_measures_has_no_skill_and_a_shuffled_split_hides_it(noise):
    models = of_models(noise)
    for name in noise.names["families"]:
        assert models[name]["skill_low"] <= 0
    assert noise.names["serves"] in noise.names["trivial"]  # a skill that may be chance: the baseline serves
    assert (noise.names["in_use"] == "together") == (models["together"]["skill_low"] > 0)
    results = pd.read_parquet(noise.paths.models / "experiments.parquet")
    honest = results[(results.experiment == "default") & (results.model == noise.names["chosen"])].macro_f1.item()
    assert results[results.experiment == "shuffled"].macro_f1.item() > honest + 0.2


def test_a_better_stored_classifier_stays_with_all_that_belongs_to_it_and_with_its_figures(trained, noise):
    assert stored(noise.paths) == stored(trained.paths)
    before = {name: model for name, model in of_models(trained).items() if model["in_use"]}
    in_use = {name: model for name, model in of_models(noise).items() if model["in_use"]}
    assert set(in_use) == {f"stored {name}" for name in before}
    for name, model in before.items():  # so that the next training is compared with them too
        assert in_use[f"stored {name}"] == model | {"name": f"stored {name}"}
    assert noise.metrics["day"] == DAY  # trained, so that tomorrow need not
    assert "Diagnosis by the stored classifier, macro-F1 " in noise.page


def test_a_stored_classifier_stays_when_the_labelled_days_have_left_the_window(trained, tmp_path):
    models = helpers.study_paths("telemetry", tmp_path).models
    shutil.copytree(trained.paths.models, models)
    done = train(tmp_path, table([""] * 12, seed=5))
    assert stored(done.paths) == stored(trained.paths)
    assert {name for name, model in of_models(done).items() if model["in_use"]} == {
        f"stored {name}" for name, model in of_models(trained).items() if model["in_use"]
    }
    assert "The stored models judge the night" in done.page
    assert "by the detector that is not in use" in done.page
    rare = train(tmp_path, table(["none"] * 6 + ["memleak"] + [""] * 6, seed=6))  # the week after, with labels too few to learn from
    assert stored(rare.paths) == stored(trained.paths)
    for name in ("folds.parquet", "experiments.parquet"):  # what 5_quality shows is of the classifier that stays
        assert (rare.paths.models / name).read_bytes() == (trained.paths.models / name).read_bytes()


@pytest.mark.parametrize("change", ["source", "metrics", "torn"])
def test_a_stored_classifier_goes_with_its_source_its_metrics_or_its_file(trained, tmp_path, change):
    paths = helpers.study_paths("telemetry", tmp_path)
    shutil.copytree(trained.paths.models, paths.models)
    windows = table([""] * 12, seed=5)
    if change == "source":
        helpers.write_json({"source": "/data/nodes/*.csv"}, paths.raw / "status.json")
    elif change == "metrics":
        windows.columns = [f"other {name}" if "|" in name else name for name in windows]
    else:
        (paths.models / "classifier.skops").unlink()
    done = train(tmp_path, windows)
    assert done.detector["classes"] == []
    assert not [name for name in of_models(done) if name.startswith("stored")]
    assert "The stored models judge" not in done.page


def test_a_better_stored_classifier_of_another_source_gives_way(trained, noise, tmp_path):
    paths = helpers.study_paths("telemetry", tmp_path)
    shutil.copytree(trained.paths.models, paths.models)
    helpers.write_json({"source": "/data/nodes/*.csv"}, paths.raw / "status.json")
    done = train(tmp_path, noise.windows, folds=2)
    assert done.detector["classes"] == ["membw", "none"]
    assert done.detector["source"] == "/data/nodes/*.csv"
    assert not [name for name in of_models(done) if name.startswith("stored")]


def test_two_trainings_give_the_same_probabilities_to_the_last_digit(trained):
    n = trained.names
    forest = fit_classifier(n["examples"], np.arange(len(n["teaching"])), estimator=n["families"]["random forest"][0])
    assert forest.model.n_jobs == 1  # threads add up votes in any order
    first, again = (predict(n["examples"], forest, np.arange(len(n["teaching"]))) for _ in range(2))
    assert (first == again).all()


# ---------------------------------------------------------------------------------------------------------- what is stored


def in_memory(done, windows):
    """What `node_tests` should give, by the objects that the notebook holds."""
    n = done.names
    z_scores = health_of(n["final"], windows, smoothing=n["smoothing"])
    return normalise_scores(z_scores, z_scores.group, n["units"])


def test_what_is_stored_says_the_same_as_what_was_trained(trained):
    n, detector = trained.names, load_detector(trained.paths.models)
    got = node_tests(trained.windows, detector)
    expected = in_memory(trained, trained.windows)
    np.testing.assert_allclose(got[expected.columns], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got.health, got[detector.in_use])
    examples, every, serves = n["examples"], np.arange(len(n["teaching"])), n["serves"]
    if serves in n["families"]:
        serving = tune(examples, every, candidates=n["families"][serves], seed=1)
    else:
        serving = fit_classifier(examples, every, estimator=n["trivial"][serves])
    p = temperature_scale(serving.model.predict_proba(trained.windows[n["features"]].to_numpy()[:, serving.columns]), serving.temperature)
    np.testing.assert_allclose(got[[f"p {name}" for name in n["classes"]]], p, rtol=1e-6)
    np.testing.assert_allclose(got.classifier, np.log((1 - p[:, 2]) / p[:, 2]), rtol=1e-6)
    assert np.isfinite(got.to_numpy()).all()


def test_a_night_that_lacks_a_metric_or_all_windows_is_judged_too(trained):
    detector = load_detector(trained.paths.models)
    lacking = [name for name in trained.windows if name.startswith("user::")]
    got = node_tests(trained.windows.drop(columns=lacking), detector)
    pd.testing.assert_frame_equal(got, node_tests(trained.windows.assign(**dict.fromkeys(lacking, np.float32("nan"))), detector))
    assert np.isfinite(got.to_numpy()).all()
    assert got["p memleak"][trained.windows.anomaly == "memleak"].median() > got["p memleak"][trained.windows.anomaly == "none"].median()
    nothing = node_tests(trained.windows[:0], detector)
    assert len(nothing) == 0
    assert list(nothing) == list(got)


def test_servers_without_jobs_have_detectors_of_their_own_and_no_classifier(tmp_path):
    rng = np.random.default_rng(2)
    runs = [run_of(rng, "", node, "", day=day, size=n, part="train") for node, day, n in (("a", 0, 100), ("b", 0, 150), ("c", 0, 20))]
    runs += [run_of(rng, "", node, kind, day=day, size=30, part="test") for node in "abc" for day, kind in ((1, "none"), (1.2, "memleak"))]
    done = train(tmp_path, pd.concat(runs).sort_values(["node_id", "start"], ignore_index=True), min_healthy=90)
    assert done.detector["classes"] == []
    assert not (done.paths.models / "classifier.skops").exists()
    assert done.detector["detectors"] == ["all", "a", "b"]  # c has too few; a has enough only with its last fifth, whose unit is that of all
    assert list(done.names["units"].index) == ["all", "a", "b"]
    held = done.windows[done.windows.part == "test"].reset_index(drop=True)
    got, expected = node_tests(held, load_detector(done.paths.models)), in_memory(done, held)
    np.testing.assert_allclose(got[expected.columns], expected, rtol=1e-4, atol=1e-5)
    models = of_models(done)
    assert set(models) == set(done.names["methods"])
    assert all(model["split"] == "labelled test data" and model["n_test"] == len(held) for model in models.values())
    for name in ("distance", "pca"):
        each = [average_precision_score(held.anomaly[rows] != "none", got[name][rows]) for _, rows in held.groupby("node_id").indices.items()]
        assert models[name]["model"] == pytest.approx(np.mean(each), abs=0.02)
        assert models[name]["model"] > 0.95


# ----------------------------------------------------------------------------------------------------------- few labels


def test_a_trouble_labelled_in_one_job_measures_the_detector_and_teaches_no_classifier(tmp_path):
    done = train(tmp_path, table(["none", "none", "memleak"]), folds=2, epochs=1)  # a fold learns what is healthy from one job
    assert "Health and a trouble are not both labelled in 2 jobs: only a detector is trained." in done.page
    assert done.detector["classes"] == []
    assert set(of_models(done)) == set(done.names["methods"])
    assert of_models(done)["distance"]["model"] > 0.95
    assert all(not set(done.names["job"][a]) & set(done.names["job"][b]) for a, b in done.names["by_job"])
    assert sorted(pd.read_parquet(done.paths.models / "folds.parquet").anomaly.unique()) == ["memleak", "none"]


def test_of_too_many_windows_without_a_label_whole_days_teach_the_newest_first(tmp_path):
    paths, windows = helpers.study_paths("telemetry", tmp_path), table([""] * 10).assign(job_id="")
    write_windows(paths, windows)
    read = {"judged_from": START + pd.Timedelta(days=4), "most_windows": 64}
    teaching, about, every = read_teaching(paths.clean, [f"{METRICS[0]}|mean"], **read)
    assert (len(about), every) == (len(windows), 2), "128 windows end in time, 32 on each of four days"
    assert sorted(teaching.start.dt.floor("D").unique()) == [START, START + pd.Timedelta(days=2)]
    assert [name for name in teaching if "|" in name] == [f"{METRICS[0]}|mean"]
    write_windows(paths, windows.assign(anomaly=np.where(windows.start < START + pd.Timedelta("12h"), "membw", "")))
    teaching, _, every = read_teaching(paths.clean, [], **read)
    assert (teaching.anomaly == "membw").all(), "where something is labelled, nothing else teaches"
    assert every == 1, "nor is it said of any days that they do"


def test_healthy_windows_alone_train_a_detector_that_nothing_measures(tmp_path):
    done = train(tmp_path, table([""] * 4), epochs=1, folds=2)
    assert done.metrics["models"] == []
    assert len(done.names["teaching"]) == len(done.windows)
    assert len(node_tests(done.windows, load_detector(done.paths.models))) == len(done.windows)


def test_a_model_of_a_single_class_says_that_class(trained):
    n = trained.names
    healthy = np.flatnonzero(n["y"] == "none")
    for candidates in n["families"].values():
        p = predict(n["examples"], fit_classifier(n["examples"], healthy, estimator=candidates[0]), healthy[:5])
        assert (p.argmax(axis=1) == n["classes"].index("none")).all()


@pytest.mark.parametrize(
    ("windows", "line"),
    [
        (table(["none"]).iloc[:, :9], "telemetry.parquet holds no metric that varies: constant ones say nothing, see 2_preprocess"),
        (
            table(["memleak"] * 4 + [""] * 4),
            'no healthy window before 2026-01-25: label some "none" (1_extract counts the labels that name no row), or give more days',
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_no_model(tmp_path, windows, line):
    assert refused(train, tmp_path, windows) == line
    assert not helpers.study_paths("telemetry", tmp_path).models.exists()


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        (table(["none"])[:0], "there is no window: no run up to 2026-01-31 is long enough for one"),
        (table([""]).assign(end=pd.Timestamp("2026-01-31", tz="UTC")), "all 16 windows lie in the 7 days that are judged, so none is left"),
        (table(["none", "memleak"]), "the 16 healthy windows are all of one job, which cannot both teach and test"),
        (table([""]).assign(job_id="")[:2], "2 healthy windows are too few to teach and to test; it takes ten at least"),
    ],
)
def test_too_little_history_ends_well_with_its_reason_and_empty_tables(tmp_path, windows, reason):
    paths = helpers.study_paths("telemetry", tmp_path)
    write_windows(paths, windows)
    helpers.write_json({"source": "hand"}, paths.raw / "status.json")
    for step in ("3_train", "4_analyse", "5_quality"):
        parameters = QUICK if step == "3_train" else {"day": DAY}
        recorded = run_cells(f"telemetry/{step}.ipynb", tmp_path, **parameters)[0]["RECORDED"]
        assert recorded["verdict"] == "too little history"
        assert recorded["verdict_reason"].startswith(reason)
    assert [path.name for path in paths.models.iterdir()] == ["metrics.json"]
    assert json.loads((paths.models / "metrics.json").read_text())["models"] == []
    assert len(pd.read_parquet(paths.findings)) == len(pd.read_parquet(paths.scores)) == 0
    assert list(pd.read_parquet(paths.findings)) == helpers.FINDING_COLUMNS
