"""Training of the certification study on hand-made lumisections: who learns from whom, what is chosen, what is not used, clear ends."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run_cells

import helpers
from nightshift.detectors import certification
from nightshift.detectors.certification_autoencoders import VARIANTS, network_of
from nightshift.models import load_model

pytestmark = pytest.mark.usefixtures("quick_compiler")

DAY, RUNS, SIZE, FOLDS = "2026-01-31", 24, 12, 3
QUICK = {"day": DAY, "seeds": [1], "candidates": ["vanilla", "sparse"], "widths": [8, 4], "epochs": 3, "batch_size": 32, "together": 64, "trees": 15}
QUICK |= {"alarm_rate": 0.05, "min_good": 20, "learning_rate": 0.01, "variants": ["vanilla", "sparse"]}
BAD_RUNS = (2, 5, 8, 11, 14, 20, 23)  # numbers of runs whose last lumisections experts call bad


def table(bad_runs=BAD_RUNS, *, inverted=(), datasets=("JetHT", "SingleMuon"), seed=0):
    """Lumisections of runs 100, 101, ...: six features that follow two conditions. Bad ones lift two features, or, `inverted`, lie in the middle."""
    rng, frames = np.random.default_rng(seed), []
    mixing = rng.random((2, 6))
    run, lumisection = np.repeat(np.arange(RUNS), SIZE), np.tile(np.arange(1, SIZE + 1), RUNS)
    expert, trivial = np.isin(run, bad_runs) & (lumisection > 6), (run % 3 == 0) & (lumisection <= 2)
    keys = {"run": 100 + run, "lumisection": lumisection, "label": np.select([trivial, expert], ["trivial", "expert"], "good")}
    part = np.where(run >= 18, "test", np.where(run % 6 == 3, "validation", "train"))
    for name in datasets:
        x = rng.normal(0, 0.5, (len(run), 2)) @ mixing + rng.normal(0, 0.05, (len(run), 6))
        x[trivial] += 5
        if name in inverted:
            x[expert] = 0.0
        else:
            x[expert, :2] += 2
        values = {f"{name}/{i // 3}|q{i % 3}": x[:, i].astype("float32") for i in range(6)}
        frames.append(
            pd.DataFrame({"dataset": name} | keys | {"measured": True, "part": part, "fold": np.where(run >= 18, -1, run % FOLDS)} | values)
        )
    return pd.concat(frames, ignore_index=True)


def write_clean(paths, clean):
    """The clean table and the ranges of its features."""
    scaling = {}
    helpers.write_parquet(clean, paths.clean)
    for name, rows in clean[(clean.label == "good") & clean.measured & (clean.part == "train")].groupby("dataset"):
        scaling[name] = {c: {"min": float(rows[c].min()), "max": float(rows[c].max())} for c in rows if c.startswith(f"{name}/")}
    helpers.write_json(scaling, paths.encoders / "scaling.json")


def train(products, clean, **parameters):
    """Paths, the names that the notebook leaves, what it shows, metrics.json and detector.json."""
    paths = helpers.study_paths("certification", products)
    write_clean(paths, clean)
    names, page = run_cells("certification/3_train.ipynb", products, **QUICK | parameters)
    metrics, detector = (json.loads((paths.models / f"{name}.json").read_text()) for name in ("metrics", "detector"))
    return SimpleNamespace(paths=paths, names=names, page=page, metrics=metrics, detector=detector, clean=clean)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    clean = table()
    clean.loc[(clean.run == 104) & (clean.lumisection == 5) & (clean.dataset == "JetHT"), "measured"] = False
    return train(tmp_path_factory.mktemp("trained"), clean, variants=[])  # all that there are


# ---------------------------------------------------------------------------------------------------- who learns from whom


def test_no_fold_learns_from_the_runs_that_it_scores_and_none_from_bad_or_newest_ones(trained):
    for task in trained.names["tasks"]:
        frame = trained.names["frames"][task.dataset]
        taught = frame.iloc[np.concatenate([task.fit, task.check])]
        assert (taught.label == "good").all()
        assert not set(task.fit) & set(task.check)
        if task.split != "random":
            assert not set(taught.run) & set(frame.run.iloc[task.score])
            assert (taught.part != "test").all()
    assert {task.split for task in trained.names["tasks"]} == {"run and time", "random", "fold 0", "fold 1", "fold 2"}


def test_what_is_judged_later_changes_nothing_that_is_stored(trained, tmp_path):
    spoilt = trained.clean.copy()
    newest = spoilt.part == "test"
    features = [c for c in spoilt if "|" in c]
    spoilt.loc[newest, features] = spoilt.loc[newest, features] * -3 + 1
    spoilt.loc[newest, "label"] = np.where(spoilt.lumisection[newest] % 2, "expert", "good")
    done = train(tmp_path, spoilt)
    assert done.detector["learned_runs"] == trained.detector["learned_runs"] == list(range(100, 118))
    for name in ("calibration", "folds"):
        got, expected = (pd.read_parquet(of.paths.models / f"{name}.parquet") for of in (done, trained))
        pd.testing.assert_frame_equal(got, expected, rtol=1e-3, atol=1e-3)
    for name, entry in trained.detector["datasets"].items():
        rows = trained.clean[trained.clean.dataset == name]
        got, expected = (certification.decision_values(rows, of.detector["datasets"][name], of.paths.models) for of in (done, trained))
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
        assert entry["model"] == done.detector["datasets"][name]["model"]


# ------------------------------------------------------------------------------------------------------------- figures


def test_metrics_are_complete_and_one_method_serves(trained):
    models = {model["name"]: model for model in trained.metrics["models"]}
    assert set(models) == {"vanilla", "sparse", "PCA", "one-class SVM", "distance", "isolation forest", "neighbours", "combined"}
    assert [name for name, model in models.items() if model["in_use"]] == [trained.names["serves"]]
    for model in models.values():
        assert model["skill_low"] - 1e-9 <= model["skill"] <= model["skill_high"] + 1e-9
        assert model["split"] == "3 folds of whole fills or runs"
    order = list(models.values())  # the choice first, then by falling area
    assert [model["model"] for model in order[1:]] == sorted((model["model"] for model in order[1:]), reverse=True)
    passing = [model["name"] for model in order if model["skill_low"] > 0 and model["model"] >= 0.5]
    assert trained.names["serves"] == next(iter(passing), "combined")
    assert models[trained.names["serves"]]["model"] > 0.9  # two of six features lie far outside
    assert {entry["model"] for entry in trained.detector["datasets"].values()} == {trained.names["serves"]}


def test_experiments_hold_both_splits_kinds_and_all_models(trained):
    results = pd.read_parquet(trained.paths.models / "experiments.parquet")
    assert set(results.split) == {"run and time", "random"}
    assert set(results.bad) == {"trivial", "expert"}
    assert set(results.model) == {*VARIANTS, "PCA", "one-class SVM", "distance", "isolation forest", "neighbours", "combined", "random"}
    assert results.auc.between(0, 1).all()
    assert results.auc[(results.bad == "trivial") & (results.model != "random")].min() > 0.95
    assert results.auc[results.model == "random"].mean() == pytest.approx(0.5, abs=0.15)
    losses = pd.read_parquet(trained.paths.models / "losses.parquet")
    assert set(losses.variant) == set(VARIANTS)
    assert losses.epoch.between(1, QUICK["epochs"]).all()


def test_what_is_stored_says_the_same_as_what_was_trained(trained):
    n = trained.names
    for name, entry in trained.detector["datasets"].items():
        fit = next(f for f in n["fits"] if (f.task.dataset, f.task.split, f.method, f.seed) == (name, "run and time", n["serves"], 1))
        got = certification.decision_values(n["frames"][name], entry, trained.paths.models)
        np.testing.assert_allclose(got, fit.scores, rtol=1e-3, atol=1e-3)
        vanilla = next(f for f in n["fits"] if (f.task.dataset, f.task.split, f.method) == (name, "run and time", "vanilla"))
        network_of(vanilla, tuple(QUICK["widths"])).save(trained.paths.models / "again.keras")
        errors = certification.feature_errors(certification.load_model(trained.paths.models / "again.keras"), n["tables"][name])
        again = certification.worst_error(errors, vanilla.usual, vanilla.worst) - vanilla.centre
        np.testing.assert_allclose(again, vanilla.scores, rtol=1e-3, atol=1e-3)


def test_calibration_is_the_good_part_of_the_folds_and_what_was_not_measured_is_missing(trained):
    folds, calibration = (pd.read_parquet(trained.paths.models / f"{name}.parquet") for name in ("folds", "calibration"))
    learned = trained.clean[(trained.clean.part != "test") & (trained.clean.dataset == "JetHT")]
    assert (
        folds[["run", "lumisection", "label"]].apply(tuple, axis=1).tolist() == learned[["run", "lumisection", "label"]].apply(tuple, axis=1).tolist()
    )
    good = folds[folds.label == "good"].drop(columns="label").reset_index(drop=True)
    pd.testing.assert_frame_equal(calibration, good)
    assert folds[folds.JetHT.isna()][["run", "lumisection"]].to_numpy().tolist() == [[104, 5]]
    assert folds.SingleMuon.notna().all()
    assert sum(trained.detector["weights"].values()) == pytest.approx(1)


def test_fewer_variants_can_be_trained_and_candidates_always_are(tmp_path):
    done = train(tmp_path, table(), variants=["all three"])
    losses = pd.read_parquet(done.paths.models / "losses.parquet")
    assert set(losses.variant) == {"vanilla", "sparse", "all three"}
    results = pd.read_parquet(done.paths.models / "experiments.parquet")
    others = {"PCA", "one-class SVM", "distance", "isolation forest", "neighbours", "combined", "random"}
    assert set(results.model) == {"vanilla", "sparse", "all three", *others}


# -------------------------------------------------------------------------------------------------- what is not used


def test_an_inverted_dataset_is_not_used_and_when_none_is_left_nothing_is_certified(tmp_path):
    clean = table(inverted=["JetHT"])
    clean.loc[(clean.run == 104) & (clean.lumisection == 5) & (clean.dataset == "SingleMuon"), "measured"] = False
    done = train(tmp_path / "one", clean)
    folds, calibration = (pd.read_parquet(done.paths.models / f"{name}.parquet") for name in ("folds", "calibration"))
    unseen = folds[(folds.label == "good") & folds.SingleMuon.isna()]  # by the only dataset in use: such a one is never flagged
    assert unseen[["run", "lumisection"]].to_numpy().tolist() == [[104, 5]]
    assert len(calibration) == (folds.label == "good").sum() - 1
    assert calibration.SingleMuon.notna().all()
    assert done.detector["datasets"]["JetHT"]["inverted"]
    assert done.detector["datasets"]["JetHT"]["auc_expert"] < 0.5
    assert done.detector["weights"] == {"SingleMuon": 1.0}
    assert "Inverted, and not used: JetHT." in done.page
    alone = train(tmp_path / "none", table(inverted=["JetHT"], datasets=["JetHT"]))
    assert alone.detector["weights"] == {}
    assert "nothing can be certified" in alone.page
    assert not any(model["in_use"] for model in alone.metrics["models"])


def test_with_too_few_bad_runs_the_combination_is_chosen_and_no_classifier_of_runs_is_left(tmp_path):
    models = helpers.study_paths("certification", tmp_path).models
    models.mkdir(parents=True)
    for name in ("metrics", "detector"):  # of a training that was cut off
        (models / f"{name}.json").write_text('{"models": [')
    done = train(tmp_path, table(bad_runs=(2,)), min_bad_runs=9, alarm_rate=0.0001)
    assert done.names["RECORDED"]["warnings"] == [
        "certification has 198 good lumisections in folds, and an alarm rate of 0.01% needs 9,999: nothing is certified until there are more days, "
        "or the rate is raised"
    ]
    assert done.names["chosen"] == done.names["serves"] == "combined"
    assert done.metrics["models"] == []
    assert done.detector["runs"] is None
    assert not (done.paths.models / "runs.skops").exists()
    assert "measured by nothing" in done.page
    files = {one["file"] for one in done.detector["datasets"]["JetHT"]["members"]}
    assert files == {f"JetHT-{name}.skops" for name in ("distance", "isolation_forest", "PCA", "neighbours")}
    assert all((done.paths.models / name).exists() for name in files)


def test_whole_bad_runs_teach_a_classifier_of_runs(tmp_path):
    clean = table()
    ill = clean.run.isin([100 + r for r in range(0, 18, 2)])
    clean.loc[ill, "label"] = "expert"
    features = [c for c in clean if "|" in c]
    clean.loc[ill, features] += 3
    limits = train(tmp_path, clean).detector["runs"]
    model = load_model(tmp_path / "models/certification/runs.skops")
    assert limits["features"] == [f"{d}: {d}/{i // 3}|q{i % 3}" for d in ("JetHT", "SingleMuon") for i in range(6)]
    bad, good = (np.full((1, 12), level) for level in (3.0, 0.0))
    assert model.predict_proba(bad)[0, 1] <= limits["low"] < limits["high"] <= model.predict_proba(good)[0, 1]


def test_a_dataset_with_too_few_good_lumisections_is_left_out_by_name(trained, tmp_path):
    clean = table()
    clean = clean[(clean.dataset == "JetHT") | (clean.run < 101)]
    done = train(tmp_path, clean)
    assert "Left out, with too few good ones: SingleMuon." in done.page
    assert list(done.detector["datasets"]) == ["JetHT"]


@pytest.mark.parametrize(
    ("change", "parameters", "line"),
    [
        (lambda t: t[:0], {}, "certification.parquet holds no lumisection up to 2026-01-31"),
        (lambda t: t, {"candidates": ["deep"]}, "candidates: ['deep'] must be among vanilla, sparse, contractive, variational"),
        (lambda t: t, {"variants": ["deep"]}, "variants: ['deep'] must be among vanilla, sparse, contractive, variational"),
        (
            lambda t: t.assign(fold=t.fold.clip(upper=0)),
            {},
            "JetHT, fold 0: too few good lumisections to train and to validate: fewer folds, or more days",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_no_model(tmp_path, change, parameters, line):
    assert line in refused(train, tmp_path, change(table()), **parameters)
    assert not helpers.study_paths("certification", tmp_path).models.exists()


@pytest.mark.parametrize(
    ("change", "parameters", "n_older", "n_usable"),
    [
        (lambda t: t, {"min_good": 999}, 216, 174),  # the rest is bad
        (lambda t: t.assign(label=""), {}, 216, 0),  # no Golden JSON
        (lambda t: t[t.run == 101], {}, 12, 12),  # one run
    ],
)
def test_too_little_to_learn_from_ends_well_with_its_reason_and_empty_tables(tmp_path, change, parameters, n_older, n_usable):
    paths = helpers.study_paths("certification", tmp_path)
    helpers.write_json({"source": "hand"}, paths.raw / "status.json")
    write_clean(paths, change(table()))
    beside = ("golden.json", "diff.parquet", "judged.parquet", "failures.parquet", "night.json")
    earlier = [paths.scores.with_name(f"certification_{name}") for name in beside]
    earlier[0].parent.mkdir(parents=True)
    for path in earlier:
        path.write_text("of an earlier night")
    for step, settings in (("3_train", QUICK | parameters), ("4_analyse", {"day": DAY}), ("5_quality", {"day": DAY})):
        recorded = run_cells(f"certification/{step}.ipynb", tmp_path, **settings)[0]["RECORDED"]
        assert recorded["verdict"] == "too little history"
        least = f"no dataset has {parameters.get('min_good', 20)} good lumisections to train on and two to validate"
        assert recorded["verdict_reason"].startswith(least)
        assert f"of {n_older} in older runs {n_usable} are good and measured" in recorded["verdict_reason"]
    assert [path.name for path in paths.models.iterdir()] == ["metrics.json"]
    assert len(pd.read_parquet(paths.findings)) == len(pd.read_parquet(paths.scores)) == 0
    assert not any(path.exists() for path in earlier)
