"""Diagnoses, incidents and silent nodes on hand-made windows and models, with values asserted."""

import html
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import run_cells, run_here
from sklearn.metrics import average_precision_score
from sklearn.tree import DecisionTreeClassifier

import helpers
from nightshift.analysis.telemetry import amounts
from nightshift.analysis.telemetry_quality import LabelledRuns, delays_and_alarms, in_a_row, majority
from nightshift.models import save_skops
from nightshift.status import write_status

NOTEBOOK = "telemetry/4_analyse.ipynb"
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
    keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs)).save(models / "network.keras")
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
        save_skops(DecisionTreeClassifier(random_state=1).fit(np.array(x, float), y), models / "classifier.skops")
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
    model = {"name": "forest", "metric": "macro-F1", "model": 0.9, "baseline_name": "tree", "baseline": 0.5, "skill": 0.8, "skill_low": 0.7}
    model |= {"skill_high": 0.9, "n_train": 1, "n_test": 1, "split": "job", "alarm_rate_stated": 0.005, "alarm_rate_observed": 0.005, "in_use": True}
    helpers.record_metrics(models / "metrics.json", study="telemetry", day=DAY, models=[model])


def write_clean(products, windows):
    """The clean table, the metrics' units and the state of the source."""
    paths = helpers.study_paths("telemetry", products)
    windows = windows.sort_values(["node_id", "start"]).astype(
        dict.fromkeys(["start", "end"], "datetime64[us, UTC]") | dict.fromkeys(FEATURES, "float32")
    )
    helpers.write_parquet(windows, paths.clean)
    encoded = {"cpu::a": {"kind": "counter", "unit": "1/s"}, "mem::b": {"kind": "gauge", "unit": ""}}
    helpers.write_json({"metrics": encoded, "constant": [], "sampling_s": 1.0}, paths.encoders / "metrics.json")
    paths.raw.mkdir(parents=True, exist_ok=True)
    write_status(paths.raw, state="ok", rows=1, newest=DAY, source="hand", window=[DAY, DAY])
    return paths


def analysed(products, **parameters):
    """The page as text, the findings by entity and the scores."""
    page = html.unescape(run_here(NOTEBOOK, products, **({"day": DAY} | parameters)))
    paths = helpers.study_paths("telemetry", products)
    findings, scores = pd.read_parquet(paths.findings), pd.read_parquet(paths.scores)
    assert list(findings.columns) == helpers.FINDING_COLUMNS
    assert list(scores.columns) == ["node_id", "job_id", "start", "end", "score", "p_value", "flagged", "diagnosis", "confidence"]
    return SimpleNamespace(page=page, findings=findings, scores=scores, of={f.entity: f for f in findings.itertuples()}, products=products)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """One analysis of nodes with known troubles."""
    products = tmp_path_factory.mktemp("telemetry")
    write_models(products, CLASSES, labelled_windows())
    write_clean(products, windows_of_nodes())
    true = [("cpuoccupy", "x-n01", 150, 360), ("memleak", "y-n01", 60, 150), ("throttled", "y-n03", 60, 200), ("memleak", "y-n04", 60, 200)]
    truth = pd.DataFrame(true, columns=["kind", "entity", "start", "end"]).assign(incident=["A", "B", "C", "D"])
    for name in ("start", "end"):
        truth[name] = NOON + pd.to_timedelta(truth[name], unit="s")
    truth.to_csv(products / "known.csv", index=False)
    return analysed(products, truth=str(products / "known.csv"))


def seconds(after):
    return NOON + pd.Timedelta(seconds=after)


def cells(page, *texts):
    """Whether the page has a table row with these cells next to each other."""
    return re.search(r"\s*".join(rf"<td>{re.escape(text)}</td>" for text in texts), page) is not None


def test_flagged_windows_of_a_run_become_one_finding_and_a_lone_one_none(night):
    assert set(night.of) == {"x-n01", "y-n01", "y-n02", "y-n03", "z01", "w01", "GONE", "lost-n01"}
    assert len(night.findings) == 8
    assert set(night.findings.impact_unit) == {"nodes"}
    assert night.findings.impact.sum() == 9  # one of the eight is a site of two nodes
    long, with_gap = night.of["x-n01"], night.of["y-n01"]
    assert (long.kind, long.site, long.start, long.end) == ("cpuoccupy", "X", seconds(120), seconds(345))
    assert (with_gap.kind, with_gap.start, with_gap.end) == ("memleak", seconds(45), seconds(165))  # windows 3, 4, 6, 7 but not 15
    assert long.p_value == with_gap.p_value == pytest.approx(6 / 2001)  # six windows of 60 s fit into 345 s
    assert night.of["z01"].site == ""


def test_evidence_names_the_metric_its_direction_the_range_and_whose_it_is(night):
    quiet = windows_of_nodes().query("job_id == '1' and node_id != 'x-n01'")["cpu::a|mean"].astype("float32")
    low, usual, high = quiet.quantile([0.05, 0.5, 0.95])
    found = night.of["x-n01"]
    assert found.evidence == (
        f"cpu (a) above the healthy range: 70.00 per s, healthy {low:.2f} to {high:.2f} (the job's 3 other nodes); from 120 s into job 1 "
        "(2026-01-30 12:02 UTC); cpuoccupy with 90% confidence"
    )
    assert (found.observed, found.unit) == (70, "1/s")
    assert found.expected == pytest.approx(usual)
    assert night.of["y-n01"].evidence.startswith("mem (b) below the healthy range: 30.00, healthy 4")


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ((0.52911, 31.534, 12.3e9), ["0.529", "31.53", "12.30G"]),
        ((0.7, 0.5, 0.5004), ["0.7", "0.5", "0.5004"]),
        ((2.0, 1.99999, 1.0), ["2.00000", "1.99999", "1.00000"]),
        ((70, 4.0, 4.0), ["70.00", "4.00", "4.00"]),
        ((5_000_100.0, 5_000_200.0, 0.0), ["5.0001M", "5.0002M", "0.0000"]),
    ],
)
def test_numbers_of_the_evidence_have_the_digits_that_tell_them_apart(numbers, texts):
    assert amounts(*numbers) == texts


def test_without_three_neighbours_the_range_is_the_nodes_own_past_or_that_of_all(night):
    own, every = night.of["z01"].evidence, night.of["w01"].evidence
    low, high = map(float, re.search(r"healthy ([\d.]+) to ([\d.]+) \(this node when healthy\)", own).groups())
    assert 58 < low < 60 < high < 62
    low, high = map(float, re.search(r"healthy ([\d.]+) to ([\d.]+) \(all nodes\)", every).groups())
    assert 48 < low < 50 < high < 52


def test_unknown_is_what_the_two_disagree_about(night):
    unsure, healthy = night.of["y-n02"], night.of["y-n03"]
    assert unsure.kind == healthy.kind == "unknown"
    assert unsure.evidence.endswith("unknown: the classifier says cpuoccupy with 40%, below 50%")
    assert healthy.evidence.endswith("unknown: the classifier says healthy with 100%, the healthy-only detector does not agree")
    assert "inside the healthy range, yet farthest from usual: " in healthy.evidence  # it is the spread that is odd


def test_scores_keep_their_contract(night):
    scores = night.scores
    assert len(scores) == 20 * (4 + 4 + 1 + 1 + 1 + 40)  # what has a label is not judged
    assert not scores.duplicated(["node_id", "start"]).any()
    assert scores.flagged.sum() == 12 + 5 + 5 + 5 + 4 + 4 + 2
    assert (scores.flagged == (scores.p_value <= 0.005)).all()
    assert (scores.flagged == (scores.diagnosis != "none")).all()
    assert scores.diagnosis.value_counts().to_dict() == {"none": 1020 - 37, "cpuoccupy": 12, "memleak": 13, "unknown": 12}
    named = scores[scores.diagnosis == "cpuoccupy"]
    assert named.confidence.to_numpy() == pytest.approx(0.9, abs=1e-4)


def test_what_so_many_runs_bring_about_by_chance_is_listed_and_not_reported(night):
    assert "Incidents that are not kept: 1." in night.page
    assert cells(night.page, "<b>v01", "5", "2026-01-30 12:01 UTC", "2", "0.021")  # 7 / 2001 times six windows: not below 0.05 times 7 / 51
    assert "6 incidents on 6 of 15 nodes (3 memleak, 2 unknown, 1 cpuoccupy)" in night.page
    escaped = run_here(NOTEBOOK, night.products, day=DAY, false_discovery_rate=0.5, max_pictures=0)
    assert "<b>v01" not in escaped
    assert "&lt;b&gt;v01" in escaped
    assert len(pd.read_parquet(helpers.study_paths("telemetry", night.products).findings)) == 9


def test_silence_is_a_finding_of_a_node_or_of_its_whole_site(night):
    site, node = night.of["GONE"], night.of["lost-n01"]
    assert (site.kind, site.site, node.kind, node.site) == ("silent", "GONE", "silent", "LOST")
    assert site.start == node.start == pd.Timestamp("2026-01-26T12:01", tz="UTC")
    assert site.observed == node.observed == pytest.approx(5)
    assert site.expected == pytest.approx(1, abs=0.001)
    assert "no sample of all 2 nodes of the site for 5.0 days" in site.evidence
    assert (site.impact, node.impact) == (2, 1)
    assert "Silent nodes: 3." in night.page
    assert "lost-n02" not in set(night.findings.entity)


def test_known_incidents_are_counted_as_found_and_as_rightly_named(night):
    assert "**3 of 4 known incidents are found, 3 of them with the right name; 3 of 6 reported incidents are one.**" in night.page
    assert cells(night.page, "D", "memleak", "y-n04", "2026-01-30 12:01:00 UTC", "2026-01-30 12:03:20 UTC", "not found")
    # of x-n01 the second flagged window ends 195 s after noon, of y-n01 120 s, of y-n03 150 s
    assert "Median delay 60 s." in night.page


def test_filters_buy_fewer_false_alarms_with_more_misses(night):
    def rates(name):
        return re.search(rf"<td>{name}</td>\s*<td>[\d.]+</td>\s*<td>([\d.]+%)</td>\s*<td>([\d.]+%)</td>", night.page.replace("\xa0", " ")).groups()

    assert rates("none") == ("2.50%", f"{12 / 110:.1%}")
    assert rates("majority of 3") == ("0.00%", f"{18 / 110:.1%}")
    assert rates("2 in a row") == ("0.00%", f"{23 / 110:.1%}")
    assert rates("E2EWatch, other data") == ("0.09%", "5.0%")
    assert cells(night.page, "distance", "0.50 (0.23)", "1.00 (1.00)")
    assert cells(night.page, "out of fold", "named", "103", f"{98 / 103:.1%}", f"{98 / 103:.1%}")


def test_delay_counts_until_the_last_window_that_is_needed_and_misses_with_their_whole_length():
    folds = labelled_windows()
    runs = LabelledRuns(folds, smoothing=5)
    assert (runs.step, runs.ahead) == (pd.Timedelta("15s"), pd.Timedelta("30s"))
    p = np.where(folds.diagnosis == "none", 1.0, 0.001)
    days = 200 * 15 / 86_400  # of 200 healthy windows
    assert delays_and_alarms(p, runs, limit=0.005, n=1) == pytest.approx(((6 * 90 + 5 * 60) / 11 + 30, 1, 5 / days))
    assert delays_and_alarms(p, runs, limit=0.005, n=2) == pytest.approx(((6 * 105 + 5 * 75) / 11 + 30, 1, 0))
    assert delays_and_alarms(p, runs, limit=0.005, n=9) == pytest.approx(((6 * 195 + 5 * (180 + 30)) / 11, 5 / 11, 0))
    assert delays_and_alarms(p, runs, limit=0.0001, n=1) == pytest.approx((195, 0, 0))


def test_of_equally_frequent_diagnoses_the_latest_counts_and_runs_do_not_mix():
    codes, run = np.array([0, 1, 2, 2, 1, 0, 0]), np.array([0, 0, 0, 0, 1, 1, 1])
    assert majority(codes, run, 3).tolist() == [0, 1, 2, 2, 1, 0, 0]
    assert in_a_row(codes, run, 2, 1).tolist() == [1, 1, 1, 2, 1, 1, 0]


# ------------------------------------------------------------------------------------------------------- other sources


def test_nothing_to_judge_is_a_page_that_says_so_and_empty_tables(tmp_path):
    write_models(tmp_path, CLASSES)
    write_clean(tmp_path, days_of("a-n01", "2026-01-05", "2026-01-07"))
    night = analysed(tmp_path)
    assert "**Nothing to judge: these days hold no window that the models have not learned from.**" in night.page
    assert "not counted, since the source itself ended on 2026-01-07 12:01" in night.page
    assert "No finding." in night.page
    assert len(night.findings) == len(night.scores) == 0
    assert night.findings.p_value.dtype == night.findings.impact.dtype == float
    assert "No window that could be learned from has a label of a trouble" in night.page


def test_servers_without_jobs_and_kinds_are_judged_by_their_own_past_and_measured_without_point_adjustment(tmp_path):
    write_models(tmp_path, [])
    troubles = {"s1": {7: 80, 8: 80, 20: 51}, "s2": {3: 90, 30: 90, 31: 90}}
    servers = [run_of(name, "", NOON - pd.Timedelta("9D"), n=40, part="train", level=40) for name in troubles]
    servers += [run_of(name, "", n=40, part="test", label="none", step_s=60, cpu=odd) for name, odd in troubles.items()]
    windows = pd.concat(servers, ignore_index=True)
    windows.loc[windows["cpu::a|mean"].isin([51, 80, 90]) & (windows.part == "test"), "anomaly"] = "anomalous"
    write_clean(tmp_path, windows)
    night = analysed(tmp_path)
    truth = windows[windows.part == "test"].sort_values(["node_id", "start"]).groupby("node_id").anomaly.agg(lambda a: (a != "none").tolist())
    areas = [average_precision_score(truth[node], scores.score) for node, scores in night.scores.groupby("node_id")]
    assert 0.5 < min(areas) < 1
    assert f"**AUPRC {np.mean(areas):.2f}, the mean over 2 nodes without point adjustment; a coin has {6 / 80:.2f}.**" in night.page
    assert set(night.findings.kind) == {"unknown"}
    assert night.scores.confidence.isna().all()
    assert all(f.evidence.endswith("unknown: there were no labelled troubles to learn from") for f in night.findings.itertuples())
    assert "(this node when healthy); since 2026-01-30 12:07" in night.of["s1"].evidence
    assert json.loads((tmp_path / "models/telemetry/detector.json").read_text())["classes"] == []


def test_a_server_with_a_past_is_judged_by_it_and_a_drifting_one_raises_no_alarm(tmp_path):
    write_models(tmp_path, [])
    first, n = pd.Timestamp("2026-01-11", tz="UTC"), 21 * 48
    runs = {name: run_of(name, "", first, n=n, step_s=1800) for name in ("s1", "s2", "drifts")}
    runs["drifts"]["cpu::a|mean"] += np.linspace(0, 25, n)  # far out of what the models have learned
    trouble = slice(n - 20, n - 14)
    runs["s2"].loc[trouble, "cpu::a|mean"] += 12
    write_clean(tmp_path, pd.concat(runs.values(), ignore_index=True))
    night = analysed(tmp_path, alarm_rate=0.01)
    assert night.findings.entity.tolist() == ["s2"]
    assert night.findings.p_value[0] < 0.02
    assert night.of["s2"].start == runs["s2"].start[n - 20]
    shares = night.scores.groupby("node_id").flagged.mean()
    assert shares["drifts"] < 0.03
    assert night.scores.groupby("node_id").size().eq(7 * 48).all()  # the nights that calibrate are not judged again
    assert "AUPRC" not in night.page


@pytest.mark.parametrize(("calibration", "constant"), [(100, False), (250, True)])
def test_few_data_are_a_page_without_a_number_that_is_none_and_say_what_they_cannot_tell(tmp_path, calibration, constant):
    write_models(tmp_path, [])
    models = helpers.study_paths("telemetry", tmp_path).models
    few = pd.read_parquet(models / "calibration.parquet").iloc[:: -(-2000 // calibration)]
    helpers.write_parquet(few.head(calibration), models / "calibration.parquet")
    windows = pd.concat([run_of("login", f"{job:.0f}" * constant, NOON - job * pd.Timedelta("1h"), n=3) for job in range(20 if constant else 1)])
    write_clean(tmp_path, windows.assign(**dict(zip(FEATURES, (50.0, 1.0, 50.0, 1.0), strict=True))) if constant else windows)
    names, page = run_cells(NOTEBOOK, tmp_path, day=DAY)
    assert names["RECORDED"]["verdict"] == "too little history"
    reason = "no window can be flagged: 100 healthy windows" if calibration == 100 else "no trouble of one node can be told from chance: with 250"
    assert names["RECORDED"]["verdict_reason"].startswith(reason)
    assert f"**Too little history: {reason}" in html.unescape(page)
    assert not re.search(r"\bnan\b|NaT", page)
    assert names["RECORDED"]["warnings"] == [
        "site_pattern '(.+)-[ng][0-9]+' names the site of none of 1 nodes, such as login: their findings belong to no site."
    ]
