"""Telemetry from raw samples to windows, on hand-made tables good and bad, with values asserted."""

import html
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REAL_DATA, run_here
from telemetry_raw import DAY, SMALL, START, samples, write_raw

import helpers
from nightshift import compiled
from nightshift.cleaning.telemetry_days import features_of, read_windows


def preprocessed(products, nodes, labels=(), gpus=(), **parameters):
    """(windows, {(node, reason): rows rejected}, what the notebook shows); every raw row is kept or rejected, asserted here too."""
    write_raw(products, nodes, labels, gpus)
    page = html.unescape(run_here("telemetry/2_preprocess.ipynb", products, **({"day": DAY} | SMALL | parameters)))
    paths = helpers.study_paths("telemetry", products)
    rejected = pd.read_parquet(paths.rejected)
    assert list(rejected.columns) == ["node_id", "job_id", "reason", "rows", "first", "last"]
    of_nodes = rejected[~rejected.reason.str.startswith("GPU")]
    raw_rows = sum(len(part) for parts in nodes.values() for part in parts)
    assert f"; {raw_rows - of_nodes.rows.sum():,} of {raw_rows:,} raw rows are used." in page
    assert len(pd.read_parquet(paths.clean.with_name("telemetry_gpus.parquet"))) + rejected.rows.sum() - of_nodes.rows.sum() == len(gpus)
    assert not list(paths.clean.parent.glob(".*")), "a temporary file is left behind"
    clean = read_windows(paths.clean, features=features_of(encoder(products, "metrics")["metrics"]))
    return clean, rejected.groupby(["node_id", "reason"]).rows.sum().to_dict(), page


def encoder(products, name):
    return json.loads((helpers.study_paths("telemetry", products).encoders / f"{name}.json").read_text())


def test_windows_are_the_statistics_of_a_run_without_its_ends(tmp_path):
    x = np.random.default_rng(0).normal(size=60)
    clean, rejected, page = preprocessed(tmp_path, {"a/1": [samples(range(60), Free__mem=x, ctxt__procstat=np.cumsum(np.abs(x)))]})
    middle = pd.DataFrame({"Free::mem": x, "ctxt::procstat": np.append(np.nan, np.abs(x[1:]))})[5:55]
    expected = middle.rolling(10).agg(["max", "min", "mean", "std", "skew", "kurt"])[9::5]
    for metric in middle:
        for name, pandas_name in zip(compiled.STATISTICS, ["max", "min", "mean", "std", "skew", "kurt"], strict=False):
            np.testing.assert_allclose(clean[f"{metric}|{name}"], expected[metric, pandas_name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(clean[f"{metric}|p95"], middle[metric].rolling(10).quantile(0.95)[9::5], rtol=1e-5)
    assert (clean.node_id == "a/1").all()
    assert (clean.start - START).dt.total_seconds().tolist() == list(range(5, 46, 5))
    assert (clean.end - clean.start == pd.Timedelta("10s")).all()
    assert clean["Free::mem|mean"].dtype == np.float32
    assert rejected == {("a/1", "first or last 5 s of a run"): 10}
    kinds = encoder(tmp_path, "metrics")
    assert {name: m["kind"] for name, m in kinds["metrics"].items()} == {"Free::mem": "gauge", "ctxt::procstat": "counter"}
    assert (kinds["sampling_s"], kinds["constant"]) == (1.0, [])
    assert list(encoder(tmp_path, "features")["features"]) == [c for c in clean if "|" in c]
    assert "all 22 features are kept" in page


def test_order_and_duplicates_change_nothing_and_the_first_of_two_counts(tmp_path):
    rows = samples(range(40), Free__mem=np.arange(40.0) ** 2)
    again = samples([12, 12, 13], Free__mem=[-1, -2, -3])
    clean, _, _ = preprocessed(tmp_path / "sorted", {"n": [rows]})
    mixed, rejected, _ = preprocessed(tmp_path / "mixed", {"n": [pd.concat([rows.sample(frac=1, random_state=1), again])]})
    pd.testing.assert_frame_equal(clean, mixed)
    assert rejected["n", "other values at the same moment"] == 3


def test_a_copy_is_rejected_as_one_and_what_fills_a_gap_is_used(tmp_path):
    rows = samples(range(40), Free__mem=np.arange(40.0) ** 2, busy__mem=np.r_[[np.nan] * 20, np.arange(20.0)])
    half = samples(range(20), busy__mem=np.arange(20.0) + 100)
    clean, rejected, page = preprocessed(tmp_path, {"n": [pd.concat([rows, rows.iloc[7:9], half, half.iloc[:1]])]})
    assert rejected == {("n", "first or last 5 s of a run"): 15, ("n", "copy of another row"): 2 + 1}
    assert clean["busy::mem|mean"].notna().all()
    assert "contradict" not in page


def test_files_of_one_metric_each_are_joined_and_no_repetitions(tmp_path):
    parts = [samples(range(40), **{name: np.arange(40.0) * k}) for k, name in enumerate(["cpu_idle", "load_one", "mem_free"], 1)]
    clean, rejected, _ = preprocessed(tmp_path, {"n": parts})
    assert rejected == {("n", "first or last 5 s of a run"): 30}
    assert {c.partition("|")[0] for c in clean if "|" in c} == {"cpu_idle", "load_one", "mem_free"}


def test_names_and_order_of_the_part_files_change_no_byte(tmp_path):
    rng = np.random.default_rng(2)
    metrics = {name: rng.normal(size=60) for name in ("zeta__mem", "alpha__mem", "busy__cpu", "heat__rack")}
    whole = samples(range(60), **metrics)
    sources = [["zeta::mem", "alpha::mem"], ["alpha::mem", "zeta::mem"], ["busy::cpu"], ["heat::rack"]]
    halves = [slice(0, 29), slice(30, 60), slice(0, 60), slice(0, 60)]
    parts = [whole.loc[whole.index[half], ["timestamp", "job_id", *names]] for names, half in zip(sources, halves, strict=True)]
    parts += [samples([12, 29], zeta__mem=x, alpha__mem=-x) for x in (100, 200)]  # two that begin at the same moment and contradict each other
    first, products = None, []
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 2, 0], [2, 5, 4, 0, 3, 1]):
        products.append(tmp_path / str(order[0]))
        clean, rejected, _ = preprocessed(products[-1], {"n2": [parts[i] for i in order], "n1": [parts[i] for i in order[::-1]]})
        first = clean if first is None else first
        pd.testing.assert_frame_equal(clean, first)
        assert rejected["n1", "other values at the same moment"] == rejected["n2", "other values at the same moment"] == 3
    assert [c.partition("|")[0] for c in clean if c.endswith("|max")] == ["alpha::mem", "busy::cpu", "heat::rack", "zeta::mem"]
    odd = clean["zeta::mem|max"] > 10
    assert (odd == ((clean.start <= START + pd.Timedelta("29s")) & (START + pd.Timedelta("29s") < clean.end))).all(), "what begins first counts"
    written = [
        p.relative_to(products[0]) for folder in ("data/clean", "encoders") for p in sorted((products[0] / folder).rglob("[!.]*")) if p.is_file()
    ]
    written = [path for path in written if ".made_of" not in path.parts]  # where the parts are called by their names
    assert len(written) == 5
    for name in written:
        assert len({(folder / name).read_bytes() for folder in products}) == 1, name


def test_parts_with_jitter_and_other_phases_are_joined_on_one_grid(tmp_path):
    rng = np.random.default_rng(1)
    jitter = [np.arange(40) + phase + rng.uniform(0, 0.1, 40) for phase in (0.0, 0.3)]
    parts = [samples(jitter[0], Free__mem=np.arange(40.0)), samples(jitter[1][:20], busy__cpu=np.arange(20.0))]
    clean, _, _ = preprocessed(tmp_path, {"n": [*parts, samples(jitter[1][20:], busy__cpu=np.arange(20.0, 40))]})  # a source in two parts
    assert (clean.coverage == 1).all()
    np.testing.assert_array_equal(clean["Free::mem|mean"], clean["busy::cpu|mean"])


def test_a_metric_missing_on_a_node_is_missing_there_and_said(tmp_path):
    x = np.arange(40.0)
    nodes = {"n1": [samples(range(40), Free__mem=x, used__gpu=x, one__mem=1)], "n2": [samples(range(40), Free__mem=x, one__mem=1)]}
    clean, _, page = preprocessed(tmp_path, nodes)
    has = clean.groupby("node_id")["used::gpu|mean"].count()
    assert has["n1"] > 0 == has["n2"]
    assert clean["Free::mem|mean"].notna().all()
    assert not [c for c in clean if c.startswith("one::mem")]
    assert encoder(tmp_path, "metrics")["constant"] == ["one::mem"]
    assert "1 are constant and dropped: one::mem. 1 are missing on some nodes" in page


def test_gaps_and_windows_of_nothing_are_left_out_by_name(tmp_path):
    x = np.where((np.arange(80) >= 30) & (np.arange(80) < 50), np.nan, 1.0 * np.arange(80))
    present = np.r_[0:60, 63:80]
    clean, rejected, _ = preprocessed(tmp_path, {"n": [samples(present, Free__mem=x[present])]})
    start = (clean.start - START).dt.total_seconds()
    assert start.tolist() == [5, 10, 15, 20, 25, 45, 50, 55, 60, 65]
    assert clean.coverage.round(1).tolist() == [1, 1, 1, 1, 0.5, 0.5, 1, 0.7, 0.7, 1]
    assert np.isfinite(clean["Free::mem|mean"]).all()
    assert rejected == {("n", "first or last 5 s of a run"): 10, ("n", "in no whole window with enough samples"): 10}  # seconds 35 to 45


def test_a_long_silence_costs_no_memory_and_moves_no_window(tmp_path):
    month = 30 * 86400 + 3
    times = np.r_[0:40, month : month + 40]
    clean, rejected, _ = preprocessed(tmp_path, {"n": [samples(times, "7", START - pd.Timedelta(days=40), Free__mem=times)]}, trim_s=0)
    start = (clean.start - START + pd.Timedelta(days=40)).dt.total_seconds().to_numpy()
    assert (start % 5 == 0).all()
    assert len(clean) == 8 + 7  # at both ends of the silence a window has at least half of its samples
    np.testing.assert_allclose(clean["Free::mem|max"], np.minimum(start + 9, np.where(start < 40, 39, month + 39)), rtol=1e-6)
    assert sum(rejected.values()) == 3  # after the last whole window


def test_short_runs_late_rows_and_unknown_times_are_rejected_by_name(tmp_path):
    late = samples(range(5), start=pd.Timestamp("2026-02-01", tz="UTC"), Free__mem=1)
    unknown = samples([1, 2], Free__mem=1)
    unknown["timestamp"] = unknown.timestamp.where(np.zeros(2, bool))
    good = samples(range(30), Free__mem=np.arange(30.0))
    clean, rejected, _ = preprocessed(tmp_path, {"n1": [good, late, unknown], "n2": [samples(range(10), Free__mem=2)]})
    assert rejected == {("n1", "after the window"): 5, ("n1", "first or last 5 s of a run"): 10, ("n1", "no time"): 2} | {
        ("n2", "run too short for a window"): 10
    }
    assert set(clean.node_id) == {"n1"}


def test_counters_wrap_and_restart(tmp_path):
    wrapping, restarting = (2**32 - 250 + 10 * np.arange(40)) % 2**32, np.r_[5000 + 10 * np.arange(20), 10 * np.arange(20)]
    metrics = {"pgfault__vmstat": wrapping, "rx__procnetdev": restarting, "nr_free__vmstat": wrapping, "x__mem": np.arange(40)}
    clean, _, page = preprocessed(tmp_path, {"n": [samples(range(40), **metrics)]})
    assert "1 times a counter wrapped, 1 times one restarted." in page
    assert encoder(tmp_path, "metrics")["constant"] == ["pgfault::vmstat", "rx::procnetdev"]  # 10 per second all the time
    assert clean["nr_free::vmstat|max"].max() > 4e9  # a gauge stays what it is
    clean, _, _ = preprocessed(tmp_path / "gauges", {"n": [samples(range(40), **metrics)]}, counters=[])
    assert clean["pgfault::vmstat|max"].max() > 4e9


def test_a_window_has_the_label_of_its_last_sample(tmp_path):
    at = [START + pd.Timedelta(seconds=s) for s in (20, 30)]
    labels = [
        {"job_id": "7", "node_id": "n", "anomaly": "memleak", "start": at[0], "end": at[1]},
        {"job_id": "7", "node_id": "n", "app": "fft", "input": "X", "anomaly": "none", "part": "train"},
        {"node_id": "ghost", "anomaly": "none"},
        {"job_id": "99", "anomaly": "membw"},
    ]
    nodes = {"n": [samples(range(40), Free__mem=np.arange(40.0)), samples(range(40), "8", START + pd.Timedelta("1h"), Free__mem=1)]}
    clean, _, page = preprocessed(tmp_path, nodes, labels)
    subset = clean[clean.job_id == "7"]
    last = (subset.end - START).dt.total_seconds() - 1
    assert subset.anomaly.tolist() == ["memleak" if 20 <= s < 30 else "none" for s in last]
    assert set(subset.anomaly) == {"memleak", "none"}
    assert subset[["app", "input", "part"]].drop_duplicates().to_numpy().tolist() == [["fft", "X", "train"]]
    assert (clean.loc[clean.job_id == "8", ["app", "input", "anomaly", "part"]] == "").all(axis=None)
    assert "2 of 4 labels name a node or job without data: ghost, 99." in page


def test_features_are_selected_where_runs_differ(tmp_path):
    rng = np.random.default_rng(3)
    parts, labels = [], []
    for job in range(24):
        level = np.full(30, 10.0 * (job % 2)) + rng.normal(size=30)
        parts.append(samples(range(30), str(job), START - pd.Timedelta(hours=job), Free__mem=level, noise__mem=rng.normal(size=30)))
        labels.append({"job_id": str(job), "app": "fft", "anomaly": ["none", "memleak"][job % 2]})
    _, _, page = preprocessed(tmp_path, {"n": parts}, labels, drawn=True)
    features = encoder(tmp_path, "features")["features"]
    assert {"Free::mem|mean", "Free::mem|p50"} <= set(features)
    assert max(features.values()) <= 0.05
    assert "noise::mem|mean" not in features
    assert f"{len(features)} of 22 features tell at least one anomaly" in page
    assert (helpers.study_paths("telemetry", tmp_path).plots / "told_apart.png").stat().st_size > 5000


def test_several_nodes_at_once_give_what_one_after_the_other_gives(tmp_path):
    nodes = {f"n{i}": [samples(range(40), Free__mem=np.arange(40.0) * i, ctxt__procstat=np.arange(40.0) ** 2)] for i in (10, 2, 1)}
    alone, _, _ = preprocessed(tmp_path / "alone", nodes)
    together, _, _ = preprocessed(tmp_path / "together", nodes, n_jobs=2)
    pd.testing.assert_frame_equal(alone, together)
    assert alone.node_id.drop_duplicates().tolist() == ["n1", "n10", "n2"]


def test_gpus_are_typed_impossible_values_missing_and_impossible_rows_rejected_by_name(tmp_path):
    bad = {"copy of another row": {}, "no time": {"timestamp": pd.NaT}, "no node or no number": {"gpu": None}}
    bad |= {"after the window": {"timestamp": pd.Timestamp("2026-02-02", tz="UTC")}, "other values at the same moment": {"power_w": 91.0}}
    bad |= {"held by another job at the same moment": {"job_id": "8"}}
    blank = {"power_w": 2.0**47, "memory_used_mib": 9223372036854775794.0, "temperature_c": 2147483632.0, "utilisation_pct": 101.0}
    good = [{}, {"gpu": "1", "utilisation_pct": np.nan}, {"timestamp": START + pd.Timedelta("30s"), "job_id": None}, {"gpu": "2"} | blank]
    good += [{"gpu": "3", "memory_used_mib": 201.0, "power_w": -1.0}]
    _, rejected, page = preprocessed(tmp_path, {"n": [samples(range(30), Free__mem=np.arange(30.0))]}, gpus=[*good, *bad.values()])
    kept = pd.read_parquet(helpers.study_paths("telemetry", tmp_path).clean.with_name("telemetry_gpus.parquet"))
    assert {reason: n for (_, reason), n in rejected.items() if "GPU" in reason} == {f"GPU: {name}": 1 for name in bad}
    assert kept.job_id.tolist() == ["7", "", "7", "7", "7"]
    assert kept.power_w.dtype == float
    assert kept[kept.gpu == "2"][list(blank)].isna().all(axis=None)
    assert kept[kept.gpu == "3"].notna().sum(axis=1).tolist() == [kept.shape[1] - 4], "power, memory that is more than there is, and no waits"
    assert "5 rows of 4 GPUs are kept, 6 rejected" in page
    counted = "1 of utilisation_pct, 2 of memory_used_mib, 2 of power_w, 1 of temperature_c"
    assert f"6 values of GPUs are impossible and count as missing: {counted}." in page


@pytest.mark.parametrize("nodes", [{}, {"n": [samples([], Free__mem=[])]}])
def test_an_empty_night_is_a_night(tmp_path, nodes):
    clean, rejected, page = preprocessed(tmp_path, nodes)
    assert (len(clean), rejected) == (0, {})
    assert "0 windows of 0 runs on 0 nodes" in page
    assert {"job_id", "start", "coverage"} <= set(clean)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window_s": 0.5}, "window_s is 0.5: a window must hold at least one sample, and there is one every 1 s"),
        ({"step_s": 0}, "step_s is 0"),
        ({"least_coverage": 0}, "least_coverage is 0"),
        ({"day": "2020-01-01"}, "all 30 rows are rejected, 30 of them for: after the window"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, parameters, message):
    with pytest.raises(AssertionError) as error:
        preprocessed(tmp_path, {"n": [samples(range(30), Free__mem=1)]}, **parameters)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_metrics_of_another_kind_of_number_are_read(tmp_path):
    part = pa.Table.from_pandas(samples(range(30), None, Free__mem=np.arange(30.0)), preserve_index=False)
    folder = helpers.study_paths("telemetry", tmp_path).raw / "nodes/node_id=n/day=2026-01-30"
    folder.mkdir(parents=True)
    whole = part.set_column(2, "Free::mem", part["Free::mem"].cast(pa.int64())).set_column(1, "job_id", pa.nulls(30))
    write_raw(tmp_path, {})
    pq.write_table(whole, folder / "part.parquet")
    page = run_here("telemetry/2_preprocess.ipynb", tmp_path, day=DAY, **SMALL)
    assert "**5 windows of 1 runs on 1 nodes" in page, "without a job nothing starts, and no end is left out"


def test_real_servers_with_point_labels_and_no_jobs(tmp_path):
    file = REAL_DATA / "telemetry/asd12_servers.parquet"
    if not file.exists():
        pytest.skip(f"{file} is absent: real data lies beside the repository")
    table = pd.read_parquet(file)
    table = table[table.node_id.isin(["omi-1", "omi-12"])]
    nodes, labels = {}, []
    for node, rows in table.groupby("node_id"):
        metrics = rows.filter(like="metric_").astype(float).reset_index(drop=True).add_suffix("::server")
        times = samples((rows.timestamp - START).dt.total_seconds().to_numpy(), None)
        nodes[node] = [pd.concat([times, metrics], axis=1)]
        stretches = rows.groupby(((rows.anomalous != rows.anomalous.shift()) | (rows.split != rows.split.shift())).cumsum())
        for _, stretch in stretches:
            label = {"anomaly": ["none", "anomalous"][stretch.anomalous.iloc[0]], "part": stretch.split.iloc[0], "node_id": node}
            labels.append(label | {"start": stretch.timestamp.iloc[0], "end": stretch.timestamp.iloc[-1] + pd.Timedelta("5min")})
    clean, rejected, page = preprocessed(tmp_path, nodes, labels, window_s=3600, step_s=300, trim_s=0)
    assert "One sample every 300 s: a window is 12 samples, the next one starts 1 samples later." in page
    assert len(clean) == len(table) - 2 * 11
    assert rejected == {}
    truth = table.set_index(["node_id", "timestamp"])
    last = truth.loc[zip(clean.node_id, clean.end - pd.Timedelta("5min"), strict=True)]
    assert ((clean.anomaly == "anomalous").to_numpy() == (last.anomalous == 1).to_numpy()).all()
    assert (clean.part.to_numpy() == last.split.to_numpy()).all()
    assert len([c for c in clean if "|" in c]) == 19 * 11
