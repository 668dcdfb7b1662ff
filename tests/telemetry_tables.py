"""Hand-made windows of nodes, labelled windows and models of the telemetry study, as its earlier steps would leave them."""

import re
import shutil

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

import helpers
from nightshift.models import save_model
from nightshift.status import write_status

DAY, NOON = "2026-01-31", pd.Timestamp("2026-01-30T12:00", tz="UTC")
FEATURES = ["cpu::a|mean", "cpu::a|std", "mem::b|mean", "mem::b|std"]
CLASSES = ["cpuoccupy", "memleak", "none"]
TREE = {(70, 50): (9, 0, 1), (57, 50): (4, 3, 3), (50, 30): (0, 19, 1), (50, 50): (0, 0, 100)}  # (cpu, mem): training rows of each class
HEALTH = np.sort(np.log(np.mean(np.random.default_rng(1).normal(size=(2000, 4)) ** 2, axis=1)))  # calibration of the healthy-only test
RARE = 1 + 2 * np.exp((HEALTH[-6] + HEALTH[-7]) / 4)  # the cpu::a|std of which six of the 2,000 are stranger


def run_of(node, job, start=NOON, n=20, label="", part="", level=50.0, step_s=15, **odd):
    """The windows of one run, 60 s each: noise around 50 (mem::b: `level`), and in some windows the given cpu, std or mem, {number: value}."""
    noise = np.random.default_rng([*node.encode(), len(job), n]).normal(size=(n, 2)).clip(-1.5, 1.5)
    values = np.column_stack([50 + noise[:, 0], np.ones(n), level + noise[:, 1], np.ones(n)])
    for name, changes in odd.items():
        for number, value in changes.items():
            values[number] = (50, 1, 50, 1)
            values[number, ["cpu", "std", "mem"].index(name)] = value
    begin = start + pd.to_timedelta(step_s * np.arange(n), unit="s")
    frame = pd.DataFrame({"job_id": job, "node_id": node, "app": "", "input": "", "anomaly": label, "part": part, "start": begin})
    return frame.assign(end=frame.start + pd.Timedelta("60s"), coverage=1.0).join(pd.DataFrame(values, columns=FEATURES))


def days_of(node, first, last):
    """A window at noon of each day, healthy by its label."""
    return pd.concat([run_of(node, f"d{at:%d}", at, n=1, label="none") for at in pd.date_range(first, last, tz="UTC") + pd.Timedelta("12h")])


def windows_of_nodes():
    """Runs with one trouble each, many quiet ones, and nodes of which three fall silent."""
    six = dict.fromkeys
    runs = [run_of("x-n01", "1", cpu=six(range(8, 20), 70)), *(run_of(f"x-n0{i}", "1") for i in (2, 3, 4))]
    runs += [
        run_of("y-n01", "2", mem=six((3, 4, 6, 7, 15), 30)),
        run_of("y-n02", "2", cpu=six(range(5, 10), 57)),
    ]  # two in a row, a gap, and a lone one
    runs += [run_of("y-n03", "2", std=six(range(5, 10), 30)), run_of("y-n04", "2")]
    runs += [run_of("z01", "3", mem=six(range(5, 9), 30)), run_of("z01", "0", NOON - pd.Timedelta("25D"), level=60, label="none")]
    runs += [run_of("w01", "4", mem=six(range(5, 9), 30)), run_of("<b>v01", "5", std=six((5, 6), RARE))]
    runs += [run_of(f"q-n0{i}", f"1{j}", NOON - j * pd.Timedelta("1h")) for i in range(4) for j in range(10)]
    runs += [days_of(node, "2026-01-05", "2026-01-26") for node in ("gone-n01", "gone-n02", "lost-n01")]
    return pd.concat([*runs, days_of("lost-n02", "2026-01-05", DAY)], ignore_index=True)


def labelled_windows():
    """Windows out of fold: 20 healthy runs, 5 with one false alarm; 6 with cpuoccupy, said from the third window on; 5 with memleak, always said."""
    rows = []
    for i in range(31):
        truth = "none" if i < 20 else "cpuoccupy" if i < 26 else "memleak"
        labels = (
            [truth] * 10
            if i >= 26
            else ["none"] * 2 + ["cpuoccupy"] * 8
            if i >= 20
            else ["none"] * 5 + ["cpuoccupy" if i < 5 else "none"] + ["none"] * 4
        )
        run = run_of(f"f{i:02d}", f"j{i}", n=10, label=truth).iloc[:, :8].drop(columns="part").assign(diagnosis=labels)
        for name in CLASSES:
            run[f"p {name}"] = np.where(run.diagnosis == name, 0.9, 0.05)
        rows.append(run.assign(classifier=np.where(run.diagnosis == "none", -13.0, 13.0), health=-5.0))
    folds = pd.concat(rows, ignore_index=True)
    return folds.assign(distance=np.where(folds.anomaly == "memleak", 2.0, 1.0), together=1.0)


def write_models(products, classes, folds=None):
    """What 3_train would leave: health is the logarithm of the mean square of (cpu - 50, its std - 1, mem - 50, its std - 1)."""
    import keras

    models = helpers.study_paths("telemetry", products).models
    models.mkdir(parents=True)
    usual = pd.DataFrame([[50.0, 1, 50, 1], [1.0, 1, 1, 1]], columns=FEATURES).assign(detector="all", when=["", "spread"])
    helpers.write_parquet(usual, models / "usual.parquet")
    detectors = ["distance", "pca", "neighbours", "autoencoder"]
    helpers.write_parquet(pd.DataFrame([[*[1.0] * 4, "all"]], columns=[*detectors, "detector"]), models / "units.parquet")
    healthy = pd.DataFrame(np.random.default_rng(2).normal(size=(50, 4)), columns=FEATURES).assign(detector="all")
    helpers.write_parquet(healthy, models / "reference.parquet")
    inputs = keras.Input((1, 4))
    as_it_is = keras.layers.Normalization(axis=None, mean=0.0, variance=1.0)
    save_model(keras.Model(inputs, as_it_is(inputs)), models / "network.keras")
    weights = dict.fromkeys(["classifier", "health"], 0.5) if classes else {"health": 1.0}
    description = {
        "classes": classes,
        "inputs": FEATURES,
        "smoothing": 1,
        "weights": weights,
        "in_use": "distance",
        "detectors": ["all"],
        "trained_day": DAY,
    }
    if classes:
        x = [point for point, counts in TREE.items() for _ in range(sum(counts))]
        y = [name for counts in TREE.values() for name, count in zip(classes, counts, strict=True) for _ in range(count)]
        save_model(DecisionTreeClassifier(random_state=1).fit(np.array(x, float), y), models / "classifier.skops")
        description |= {"temperature": 1.0, "features": ["cpu::a|mean", "mem::b|mean"]}
    helpers.write_json(description, models / "detector.json")
    calibration = pd.DataFrame({"job_id": "c", "node_id": "c", "classifier": -12.0, "health": HEALTH})[["job_id", "node_id", *weights]]
    helpers.write_parquet(calibration, models / "calibration.parquet")
    rates = {"macro_f1": 0.9, "false_alarms": 0.01, "misses": 0.1}
    parts = [("default", "all jobs"), ("shuffled", "all jobs"), ("unknown application", "$a$"), ("unknown input", "big")]
    rows = [{"experiment": name, "part": part, "model": "forest", "labels": np.nan, "repeat": np.nan} | rates for name, part in parts]
    rows += [
        {"experiment": "labels needed", "part": p, "model": "forest", "labels": n, "repeat": 0} | rates for p in ("random", "active") for n in (5, 10)
    ]
    if folds is not None:
        helpers.write_parquet(folds, models / "folds.parquet")
        helpers.write_parquet(pd.DataFrame(rows), models / "experiments.parquet")
        seen = pd.DataFrame({"distance": [0.8, 0.7, 0.9], "together": [0.7, 0.6, 0.8], "random scores": [0.2, np.nan, np.nan]})
        seen = seen.assign(of=["", "cpuoccupy", "memleak"]).melt("of", var_name="detector", value_name="precision").dropna()
        helpers.write_parquet(seen.assign(in_use=seen.detector == "distance"), models / "detectors.parquet")
    model = {"name": "forest", "metric": "macro-F1", "model": 0.9, "baseline_name": "tree", "baseline": 0.5, "skill": 0.8, "skill_low": 0.7}
    model |= {"skill_high": 0.9, "n_train": 1, "n_test": 1, "split": "job", "alarm_rate_stated": 0.005, "alarm_rate_observed": 0.005, "in_use": True}
    distance = model | {"name": "distance", "metric": "average precision, no point adjustment", "baseline_name": "distance"}
    helpers.record_metrics(models / "metrics.json", study="telemetry", day=DAY, models=[model, distance] if classes else [])


def write_days(paths, windows):
    """The clean table, a file for each day on which windows begin."""
    shutil.rmtree(paths.clean, ignore_errors=True)
    for day, of_day in windows.groupby(windows.start.dt.strftime("%Y-%m-%d")) if len(windows) else [(DAY, windows)]:
        helpers.write_parquet(of_day, paths.clean / f"{day}.parquet")


def write_windows(paths, windows):
    """The clean table, a file per day, and the names of its metrics, as 2_preprocess leaves them."""
    write_days(paths, windows)
    metrics = sorted({name.rpartition("|")[0] for name in windows if "|" in name})
    helpers.write_json({"metrics": {metric: {"kind": "gauge", "unit": ""} for metric in metrics}}, paths.encoders / "metrics.json")


def write_clean(products, windows):
    """The clean table, the metrics' units and the state of the source."""
    paths = helpers.study_paths("telemetry", products)
    windows = windows.sort_values(["node_id", "start"]).astype(
        dict.fromkeys(["start", "end"], "datetime64[us, UTC]") | dict.fromkeys(FEATURES, "float32")
    )
    write_days(paths, windows)
    encoded = {"cpu::a": {"kind": "counter", "unit": "1/s"}, "mem::b": {"kind": "gauge", "unit": ""}}
    helpers.write_json({"metrics": encoded, "constant": [], "sampling_s": 1.0}, paths.encoders / "metrics.json")
    paths.raw.mkdir(parents=True, exist_ok=True)
    write_status(paths.raw, state="ok", rows=1, newest=DAY, source="hand", window=[DAY, DAY])
    return paths


def write_night(products):
    """Models, a night of nodes with troubles and the table of the true ones; returns the path of that."""
    write_models(products, CLASSES, labelled_windows())
    write_clean(products, windows_of_nodes())
    true = [("cpuoccupy", "x-n01", 150, 360), ("memleak", "y-n01", 60, 150), ("throttled", "y-n03", 60, 200), ("memleak", "y-n04", 60, 200)]
    truth = pd.DataFrame(true, columns=["kind", "entity", "start", "end"]).assign(incident=["A", "B", "C", "D"])
    for name in ("start", "end"):
        truth[name] = NOON + pd.to_timedelta(truth[name], unit="s")
    truth.to_csv(products / "true.csv", index=False)
    return str(products / "true.csv")


def write_servers(products):
    """Models without labels and two servers with a day that is set aside for testing; returns its windows."""
    write_models(products, [])
    troubles = {"s1": {7: 80, 8: 80, 20: 51}, "s2": {3: 90, 30: 90, 31: 90}}
    servers = [run_of(name, "", NOON - pd.Timedelta("9D"), n=40, part="train", level=40) for name in troubles]
    servers += [run_of(name, "", n=40, part="test", label="none", step_s=60, cpu=odd) for name, odd in troubles.items()]
    windows = pd.concat(servers, ignore_index=True)
    windows.loc[windows["cpu::a|mean"].isin([51, 80, 90]) & (windows.part == "test"), "anomaly"] = "anomalous"
    write_clean(products, windows)
    return windows


def cells(page, *texts):
    """Whether the page has a table row with these cells next to each other."""
    return re.search(r"\s*".join(rf"<td>{re.escape(text)}</td>" for text in texts), page) is not None
