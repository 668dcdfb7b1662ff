"""Lumisections, models and nights of the certification study, written by hand: what its later notebooks read."""

import html
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
from conftest import run_cells, run_here
from sklearn.decomposition import PCA
from sklearn.tree import DecisionTreeClassifier

import helpers
from nightshift.detectors import certification
from nightshift.models import save_model
from nightshift.sources.certification.golden import read_golden
from nightshift.status import write_status

NOTEBOOK, QUALITY, DAY, LS = "certification/4_analyse.ipynb", "certification/5_quality.ipynb", "2026-01-31", 20
SETS = {"ZeroBias": ["a", "b"], "JetHT": ["b", "c"]}  # each histogram has two numbers here: q50 and rms
LEARNED, JUDGED = range(1, 41), range(101, 111)
BEGIN = pd.Timestamp("2026-01-30", tz="UTC")
COLUMNS = ["run", "lumisection", "score", "p_value", "flagged", "verdict"]


def numbers(dataset, sets=SETS):
    return [f"{element}|{number}" for element in sets[dataset] for number in ("q50", "rms")]


def lumisections(dataset, runs, part, spread):
    """Good lumisections of one dataset: every number is 0.5 + 0.1 z, z normal and at most `spread`."""
    rng = np.random.default_rng([len(dataset), runs[0]])
    frame = pd.DataFrame([(run, ls) for run in runs for ls in range(1, LS + 1)], columns=["run", "lumisection"])
    z = rng.normal(size=(len(frame), 4)).clip(-spread, spread)
    more = {"fill": 9000, "delivered_lumi": 0.6, "recorded_lumi": 0.5, "pileup": 50.0, "label": "good", "measured": True, "low": "", "part": part}
    times = BEGIN + pd.to_timedelta(3600 * (frame.run - 101) + 23.31 * frame.lumisection, unit="s")
    frame = frame.assign(dataset=dataset, time=times, fold=-1, **more).astype({"fill": "Int64"})
    return frame.join(pd.DataFrame(0.5 + 0.1 * z, columns=numbers(dataset)))


def rows(clean, run, first, last):
    return (clean.run == run) & clean.lumisection.between(first, last)


def deviate(clean, where, z, element):
    """Let the median of one histogram lie z deviations off, its other numbers where they are."""
    clean.loc[where & clean[f"{element}|q50"].notna(), f"{element}|q50"] = 0.5 + 0.1 * z


def blank(clean, where):
    """Let nothing be measured there."""
    clean.loc[where, "measured"] = False
    clean.loc[where, [f for f in clean if "|" in f]] = np.nan


def halves(path, n_features):
    """Store a model that rebuilds 0.5 always: a network (.keras), or principal components of length zero (.skops), which take no time to load."""
    if path.suffix == ".skops":
        pca = PCA(1).fit(np.random.default_rng(0).random((9, n_features)))
        pca.components_, pca.mean_ = np.zeros((1, n_features)), np.full(n_features, 0.5)
        save_model(pca, path)
    else:
        import keras

        inputs = keras.Input((n_features,))
        half = keras.layers.Dense(n_features, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.5))(inputs)
        keras.Model(inputs, half).save(path)


def write_models(products, clean, weights, suffix="skops", **more):
    """What 3_train would leave: models that rebuild 0.5 always, so that the decision value is the logarithm of the mean of z squared."""
    models = helpers.study_paths("certification", products).models
    models.mkdir(parents=True)
    datasets, folds = {}, None
    for name, scaled in weights.items():
        features = [f for f in clean if "|" in f and clean.loc[clean.dataset == name, f].notna().any()]
        halves(models / f"{name}.{suffix}", len(features))
        entry = {"model": "vanilla autoencoder", "file": f"{name}.{suffix}", "scaling": {f: {"min": 0.0, "max": 1.0} for f in features}}
        entry |= {"auc_expert": 0.9, "auc_trivial": 0.9, "inverted": not scaled, "centre": 0.0, "worst": 1.0, "usual": [0.01] * len(features)}
        datasets[name] = entry
        own = clean[(clean.dataset == name) & clean.run.isin(LEARNED)]
        values = own[["run", "lumisection", "label"]].assign(**{name: certification.decision_values(own, entry, models)})
        folds = values if folds is None else folds.merge(values, how="outer")
    in_use = {name: share for name, share in weights.items() if share}
    detector = {"datasets": datasets, "weights": in_use, "learned_runs": list(LEARNED), "alarm_rate": 0.01, "runs": None} | more
    helpers.write_json(detector, models / "detector.json")
    helpers.write_parquet(folds, models / "folds.parquet")
    calibration = folds[folds.label == "good"].drop(columns="label")
    helpers.write_parquet(calibration, models / "calibration.parquet")
    write_experiments(models, list(weights), kinds=["trivial"])
    model = {"name": "vanilla autoencoder", "metric": "AUC", "model": 0.9, "baseline_name": "distance", "baseline": 0.5, "skill": 0.8}
    model |= {"skill_low": 0.7, "skill_high": 0.9, "n_train": 1, "n_test": 1, "split": "run", "alarm_rate_stated": 0.01}
    helpers.record_metrics(models / "metrics.json", study="certification", day=DAY, models=[model | {"alarm_rate_observed": 0.01, "in_use": True}])
    return calibration


def write_experiments(models, datasets, *, kinds):
    """What 3_train measured by some kinds of bad ones: one network and the baselines on both splits, and how the network learned."""
    methods = {"vanilla": 0.9, "distance": 0.8, "isolation forest": 0.7, "random": 0.5}
    one = {"seed": 1, "n_good": 9, "n_bad": 9}
    splits = {"run and time": 0.0, "random": 0.05}
    results = [
        one | {"split": split, "dataset": name, "model": method, "bad": kind, "auc": min(auc + more + (kind == "trivial"), 1.0)}
        for split, more in splits.items()
        for name in datasets
        for method, auc in methods.items()
        for kind in kinds
    ]
    helpers.write_parquet(pd.DataFrame(results), models / "experiments.parquet")
    losses = [
        {"dataset": name, "split": split, "variant": "vanilla", "seed": 1, "epoch": epoch, "loss": 0.1 / epoch, "validation_loss": 0.1 / epoch}
        for split in splits
        for name in datasets
        for epoch in (1, 2, 3)
    ]
    helpers.write_parquet(pd.DataFrame(losses), models / "losses.parquet")


def write_clean(products, clean):
    paths = helpers.study_paths("certification", products)
    golden = clean.label.map({"good": True, "expert": False, "trivial": False})
    clean = clean.assign(golden=golden.astype("boolean") if "golden" not in clean else clean.golden)
    clean = clean.astype({"time": "datetime64[us, UTC]"} | {c: "float32" for c in clean if "|" in c})
    helpers.write_parquet(clean.sort_values(["dataset", "run", "lumisection"]), paths.clean)
    paths.raw.mkdir(parents=True, exist_ok=True)
    write_status(paths.raw, state="ok", rows=1, newest=DAY, source="hand", window=[DAY, DAY])


def clean_table():
    """Learned runs 1 to 40, good; of the judged ones 102 to 107 have something each, the others nothing."""
    learned = [lumisections(name, run, part, 9) for name in SETS for run, part in ((range(1, 31), "train"), (range(31, 41), "validation"))]
    clean = pd.concat([*learned, *(lumisections(name, JUDGED, "test", 1.2) for name in SETS)], ignore_index=True)
    for first, last in ((5, 9), (12, 13)):
        deviate(clean, rows(clean, 102, first, last), 30, "a")
    clean.loc[rows(clean, 102, 5, 13), "label"] = "expert"
    deviate(clean, rows(clean, 103, 1, LS), -20, "b")  # in both datasets
    clean.loc[rows(clean, 103, 1, LS), "label"] = "expert"
    deviate(clean, rows(clean, 104, 1, 2), 50, "a")
    clean.loc[rows(clean, 104, 1, 2), "label"] = "trivial"
    blank(clean, rows(clean, 104, LS, LS))
    clean.loc[rows(clean, 106, 3, 5), "label"] = "expert"  # without any trace in the histograms
    clean.loc[rows(clean, 107, 1, LS), "label"] = ""
    blank(clean, rows(clean, 107, 4, 4) & (clean.dataset == "JetHT"))
    return clean


def write_study(products, clean=None, weights=None, **more):
    """A clean table (default: `clean_table`) and its models, with a lumisection 7 of run 105 between the two thresholds of JetHT."""
    clean = clean_table() if clean is None else clean
    calibration = write_models(products, clean, weights or dict.fromkeys(SETS, 0.5), **more)
    if "JetHT" in calibration:
        clean = clean.copy()
        grey = rows(clean, 105, 7, 7) & (clean.dataset == "JetHT")
        second, third = np.sort(calibration.JetHT)[[-2, -3]]
        clean.loc[grey, numbers("JetHT")] = 0.5
        deviate(clean, grey, np.sqrt(4 * np.exp((second + third) / 2)), "c")  # the mean of four squares
    write_clean(products, clean)


def analysed(products, **parameters):
    """The page as text, scores by (run, lumisection), findings by entity, our Golden JSON (None: there is none) and the difference."""
    names, page = run_cells(NOTEBOOK, products, **({"day": DAY, "resamples": 50} | parameters))
    page = html.unescape(page)
    paths = helpers.study_paths("certification", products)
    findings, scores = pd.read_parquet(paths.findings), pd.read_parquet(paths.scores)
    assert list(findings.columns) == [*helpers.FINDING_COLUMNS, *(["datasets"] if len(findings) else [])]
    assert list(scores.columns) == COLUMNS
    assert np.isfinite(scores.score).all()
    golden = paths.scores.with_name("certification_golden.json")
    ours = read_golden(golden) if golden.exists() else None
    difference = pd.read_parquet(paths.scores.with_name("certification_diff.parquet"))
    scores = scores.set_index(["run", "lumisection"])
    of = {f.entity: f for f in findings.itertuples()}
    tables = {"scores": scores, "findings": findings, "of": of, "golden": ours, "difference": difference}
    return SimpleNamespace(page=page, paths=paths, recorded=names["RECORDED"], **tables)


def quality(products, **parameters):
    """The page on how good the night is, as text."""
    return html.unescape(run_here(QUALITY, products, **({"day": DAY, "resamples": 50} | parameters)))


TRUTH = [("dead_sector", 3, "run 102: 5-13: a"), ("shifted_scale", 2, "run 103: 1-20: b, unlisted"), ("noisy_channel", 1, "run 108: 2-9: a")]


def write_truth(products, rows):
    """A table of known failures (kind, strength, entity), and one row of another study; returns its path."""
    truth = pd.DataFrame(rows, columns=["kind", "strength", "entity"])
    truth = truth.assign(incident=range(1, len(truth) + 1), start=BEGIN, end=BEGIN, site="")
    other = truth.head(1).assign(kind="slow", entity="some link", strength=np.nan)
    pd.concat([truth, other]).to_csv(products / "truth.csv", index=False)
    return str(products / "truth.csv")


def cells(page, *texts):
    """Whether the page has a table row with these cells next to each other."""
    return re.search(r"\s*".join(rf"<td>{re.escape(text)}</td>" for text in texts), page) is not None


def write_classifier(products, low, high):
    """A classifier of runs by the median of a|q50 alone, good below 1.5 and not sure there; its features are named as `run_medians` names them."""
    paths = helpers.study_paths("certification", products)
    detector = json.loads((paths.models / "detector.json").read_text())
    x = certification.run_medians(pd.read_parquet(paths.clean), {name: entry["scaling"] for name, entry in detector["datasets"].items()})
    [feature] = [name for name in x if name.endswith("a|q50")]
    steps = DecisionTreeClassifier(random_state=1).fit(pd.DataFrame({feature: [1.3, 1.5, 1.5, 1.7]}).to_numpy(), [1, 1, 0, 0])
    save_model(steps, paths.models / "runs.skops")
    helpers.write_json(detector | {"runs": {"features": [feature], "low": low, "high": high}}, paths.models / "detector.json")
