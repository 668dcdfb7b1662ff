"""The extraction of telemetry from every kind of file and from this machine, on hand-made rows good and bad, with values asserted."""

import gzip
import json
import shutil
import time
import tracemalloc
from urllib.parse import quote

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from conftest import REAL_DATA, execute, refused, run_cells, run_here, shown
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift import generators
from nightshift.sources.telemetry import cells, this_machine

NOTEBOOK = "telemetry/1_extract.ipynb"
T0 = 1769853600  # 2026-01-31 10:00 UTC
DATA = "data/raw/telemetry"
WIDE = pd.DataFrame(
    {
        "job_id": ["41", "41", "42"],
        "node_id": ["n1", "n1", "n2"],
        "timestamp": [T0, T0 + 1, T0],
        "MemFree::meminfo": [1.5, np.nan, 3.0],
        "user::procstat": [10.0, 11.0, 12.0],
    }
)


def extracted(products, source, **parameters):
    """The raw parts joined as the next notebook joins them, the status and what the notebook shows."""
    _, page = run_cells(NOTEBOOK, products, source=str(source), **parameters)
    status = json.loads((products / DATA / "status.json").read_text())
    return raw_rows(products), status, page


def raw_rows(products):
    """All raw rows with their node and the part they are from, in the order of the parts."""
    parts = list(ds.dataset(products / DATA / "nodes", partitioning="hive").get_fragments())
    frames = [part.to_table().to_pandas().assign(node_id=ds.get_partition_keys(part.partition_expression)["node_id"]) for part in parts]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["timestamp", "job_id", "node_id"])


def labels_of(products):
    return pd.read_parquet(products / DATA / "labels.parquet")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def ldms(path, metrics, rows):
    """An LDMS store: rows are (second, node, job, *values)."""
    lines = [f"{T0 + at}.000250,250,{node},1,{job},{','.join(map(str, values))}" for at, node, job, *values in rows]
    return write(path, "\n".join([f"#Time,Time_usec,ProducerName,component_id,job_id,{','.join(metrics)}", *lines]) + "\n")


def test_ldms_samplers_become_parts_of_each_node_and_nothing_is_lost(tmp_path):
    memory = [(1, "n1", 41, 100, 7), (0, "n1", 41, 101, 7), (0, "n1", 41, 101, 7), (0, "n2", 0, "ERR", ""), (1, "n2", 42, "nan", "inf")]
    ldms(tmp_path / "store/meminfo.csv.gz", ["MemFree", "Slab"], [*memory, (-86400 * 70, "n1", 41, 1, 1), (60000, "n1", 41, 1, 1)])
    store = ldms(tmp_path / "store/procstat_2026-01-31.csv", ["user"], [(0, "n1", 41, 5), (1, "n1", 41, 6)])
    store.write_text(store.read_text() + f"yesterday,1,n1,1,41,7\n{T0},0,,1,41,8\n{T0},0,n1,1,41\n")
    rows, status, page = extracted(tmp_path, tmp_path / "store/*")
    first = rows[rows["MemFree::meminfo"].notna()]
    assert first["MemFree::meminfo"].tolist() == [100, 101, 101], "in the order of the source, with the copy"
    assert first.timestamp.tolist()[:2] == [pd.Timestamp(T0 + s, unit="s", tz="UTC") + pd.Timedelta("250us") for s in (1, 0)]
    second = rows[rows.node_id == "n2"]
    assert second[["MemFree::meminfo", "Slab::meminfo"]].isna().all(axis=None)
    assert second.job_id.replace({np.nan: None}).tolist() == [None, "42"]
    assert rows["user::procstat"].dropna().tolist() == [5, 6]
    assert "component_id" not in " ".join(rows)
    expected = {"rows": 7, "unreadable_cells": 2, "bad_lines": 3, "nodes": 2, "metrics": 3, "unlabelled_jobs": 2, "state": "partial"}
    assert {name: status[name] for name in expected} == expected
    bad = pd.read_csv(tmp_path / DATA / "bad_lines.csv")
    assert bad.line.tolist() == [3, 4, 5]
    assert bad.reason.tolist() == ["no time", "no node", "5 columns, not 6"]
    assert "7 rows kept, 2 of other days left out, 3 put aside" in page


def test_lines_that_are_put_aside_keep_their_numbers_in_a_file_of_several_pages(tmp_path):
    """Two pages of 8 MB, odd lines in both: the number of each is that of its line after the header."""
    lines = [f"{T0},n1,41,0.{'7' * 200}"] * 60_000
    odd = {10: "no time", 11: "2 columns", 20: "no node", 50_000: "3 columns", 50_001: "no time", 59_999: "2 columns"}
    for number, why in odd.items():
        lines[number - 1] = {"no time": "noon,n1,41,7", "no node": f"{T0},,41,7", "2 columns": "a,b", "3 columns": "a,b,c"}[why]
    write(tmp_path / "wide.csv", "\n".join(["timestamp,node_id,job_id,load", *lines]) + "\n")
    _, status, _ = extracted(tmp_path, tmp_path / "wide.csv")
    bad = pd.read_csv(tmp_path / DATA / "bad_lines.csv").sort_values("line")
    assert dict(zip(bad.line, bad.reason.str.replace(", not 4", ""), strict=True)) == odd
    assert status["rows"] == 60_000 - len(odd)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet", "h5"])
def test_a_wide_table_is_the_same_in_every_kind_of_file(tmp_path, kind):
    path = tmp_path / f"wide.{kind}"
    if kind == "parquet":
        WIDE.assign(job_id=WIDE.job_id.astype(float), timestamp=pd.to_datetime(WIDE.timestamp, unit="s")).to_parquet(path)
    elif kind == "h5":
        WIDE.set_index(["job_id", "node_id", "timestamp"]).to_hdf(path, key="data")
    else:
        WIDE.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    rows, status, _ = extracted(tmp_path, path)
    assert rows.timestamp.tolist() == pd.to_datetime(WIDE.timestamp, unit="s", utc=True).tolist()
    pd.testing.assert_frame_equal(rows[WIDE.columns].drop(columns="timestamp"), WIDE.drop(columns="timestamp"), check_dtype=False)
    assert (status["state"], status["metrics"], status["unlabelled_jobs"]) == ("ok", 2, 2)


def test_a_long_table_in_any_order_gives_one_row_per_moment_and_keeps_copies(tmp_path):
    long = [
        ("b", 1, "load", 0.5),
        ("a", 0, "load", 1),
        ("a", 1, "load", 2),
        ("a", 1, "load", 3),
        ("a", 1, "mem", 8),
        ("a", 0, "mem", "x"),
        ("", 0, "mem", 1),
    ]
    write(tmp_path / "g.csv", "host;when;what;how much\n" + "".join(f"{n};{1000 * (T0 + at)};{m};{v}\n" for n, at, m, v in long))
    columns = {"node_id": "host", "timestamp": "when", "metric": "what", "value": "how much"}
    rows, status, _ = extracted(tmp_path, tmp_path / "g.csv", columns=columns, sampler="ganglia")
    a = rows[rows.node_id == "a"]
    assert ((a.timestamp - pd.Timestamp(T0, unit="s", tz="UTC")).dt.total_seconds()).tolist() == [0, 1, 1]
    assert a["load::ganglia"].tolist() == [1, 2, 3]
    assert a["mem::ganglia"].tolist() == pytest.approx([np.nan, 8, np.nan], nan_ok=True)
    assert rows["load::ganglia"][rows.node_id == "b"].tolist() == [0.5]
    assert (status["rows"], status["unreadable_cells"], status["bad_lines"], status["metrics"]) == (4, 1, 1, 2)


def test_labels_of_moments_become_stretches_per_node(tmp_path):
    table = pd.DataFrame({"node": ["n2"] * 3 + ["n1"] * 5, "time": [0, 60, 120, 240, 0, 60, 120, 180], "x": 1.0})
    table["bad"], table["split"] = [0, 0, 1, 0, 0, 0, 1, 1], ["train", "test", "test", "test", "train", "test", "test", "test"]
    table["time"] += T0
    table.to_csv(tmp_path / "points.csv", index=False)
    columns = {"node_id": "node", "timestamp": "time", "anomaly": "bad", "part": "split"}
    rows, _, page = extracted(tmp_path, tmp_path / "points.csv", columns=columns, anomaly_names={"0": "none", 1: "anomalous"})
    labels = labels_of(tmp_path)
    assert list(rows) == ["timestamp", "job_id", "x", "node_id"]
    minutes = [(labels[edge] - pd.Timestamp(T0, unit="s", tz="UTC")) / pd.Timedelta("1min") for edge in ("start", "end")]
    assert list(zip(labels.node_id, labels.anomaly, labels.part, *minutes, strict=True)) == [
        ("n1", "none", "train", 0, 1),
        ("n1", "none", "test", 1, 2),
        ("n1", "anomalous", "test", 2, 4),
        ("n1", "none", "test", 4, pytest.approx(4 + 1 / 60)),
        ("n2", "none", "train", 0, 1),
        ("n2", "none", "test", 1, 2),
        ("n2", "anomalous", "test", 2, pytest.approx(2 + 1 / 60)),
    ]
    assert "0 of 0 jobs have no label" in page


def test_label_files_are_read_and_what_they_name_in_vain_is_counted(tmp_path):
    WIDE.to_csv(tmp_path / "wide.csv", index=False)
    label_lines = ["41,n1,lammps,small,membw", "41,n7,lammps,small,none", "77,n1,lammps,,healthy"]
    write(tmp_path / "who.csv", "job_id,node_id,app,input,anomaly\n" + "\n".join(label_lines))
    given_by_name = extracted(tmp_path / "a", tmp_path / "wide.csv", labels=str(tmp_path / "who.csv"), anomaly_names={"healthy": "none"})
    given_by_glob = extracted(tmp_path / "b", tmp_path / "w*.csv", anomaly_names={"healthy": "none"})
    for folder, (rows, status, page) in zip("ab", (given_by_name, given_by_glob), strict=True):
        labels = labels_of(tmp_path / folder)
        assert labels.anomaly.tolist() == ["membw", "none", "none"]
        assert labels.input.isna().tolist() == [False, False, True]
        assert labels[["part", "start", "end"]].isna().all(axis=None)
        assert (len(rows), status["unlabelled_jobs"], status["unknown_labels"]) == (3, 1, 2)
        assert "1 of 2 jobs have no label; 2 labels name jobs or nodes without any row." in page


def test_a_label_file_in_latin_1_is_one_line(tmp_path):
    WIDE.to_csv(tmp_path / "wide.csv", index=False)
    (tmp_path / "who.csv").write_bytes("job_id,node_id,anomaly\n41,n1,größer\n".encode("latin-1"))
    line = refused(run_here, NOTEBOOK, tmp_path, source=str(tmp_path / "wide.csv"), labels=str(tmp_path / "who.csv"), day="2026-01-31")
    assert line == f"{tmp_path / 'who.csv'} cannot be read: ValueError: it is no text in UTF-8: save it as such"
    assert not (tmp_path / DATA / "status.json").exists()


def test_metrics_are_called_after_their_folders_and_files_without_a_name_contradict_each_other(tmp_path):
    for name, value in (("cpu_idle", 97.0), ("load_one", 3.0)):
        path = tmp_path / f"m/year_month=26-01/metric={name}/a_0.parquet"
        path.parent.mkdir(parents=True)
        pd.DataFrame({"timestamp": [T0, T0 + 60], "node": ["n1", "n2"], "value": [value, value + 1]}).to_parquet(path)
        shutil.copy(path, tmp_path / f"part-{int(value)}.parquet")
    columns = {"timestamp": "timestamp", "node_id": "node"}
    rows, status, _ = extracted(tmp_path, tmp_path / "m/**/*.parquet", columns=columns)
    assert (status["metrics"], status["rows"], status["state"]) == (2, 4, "ok")
    assert (rows.cpu_idle.dropna().tolist(), rows.load_one.dropna().tolist()) == ([97, 98], [3, 4])
    line = refused(run_here, NOTEBOOK, tmp_path, source=str(tmp_path / "part-*.parquet"), columns=columns)
    assert f"it and {tmp_path / 'part-3.parquet'} measure the same 'value' of the same node and moment" in line


def test_interfaces_of_a_store_are_metrics_and_what_lies_beside_its_data_is_no_data(tmp_path):
    lines = [f"{T0 + at}.0,0,n1,1,41,{name},{value}" for at in range(3) for name, value in (("lo", at), ("hsn0", 1000 * at), ("hsn0", 1000 * at))]
    write(tmp_path / "procnetdev2.1769853600", "\n".join(lines) + "\n")
    write(tmp_path / "procnetdev2.HEADER.1769853600", "#Time,Time_usec,ProducerName,component_id,job_id,name,rx_bytes\n")
    rows, status, _ = extracted(tmp_path, tmp_path / "procnetdev2*")
    assert (status["state"], status["metrics"], status["bad_lines"]) == ("ok", 2, 0)
    assert rows["rx_bytes.lo::procnetdev2"].dropna().tolist() == [0, 1, 2]
    assert rows["rx_bytes.hsn0::procnetdev2"].dropna().tolist() == [0, 0, 1000, 1000, 2000, 2000], "with the copies"


def test_zones_of_time_in_hdf_that_pandas_before_3_wrote_are_read(tmp_path):
    pytz = pytest.importorskip("pytz")
    table = WIDE.assign(timestamp=pd.to_datetime(WIDE.timestamp, unit="s", utc=True).dt.tz_convert(pytz.timezone("Europe/Berlin")))
    table.set_index("timestamp").to_hdf(tmp_path / "wide.h5", key="data", format="table")
    rows, _, _ = extracted(tmp_path, tmp_path / "wide.h5")
    assert rows.timestamp.tolist() == pd.to_datetime(WIDE.timestamp, unit="s", utc=True).tolist()


HOSTILE = ["../x", "..", "a/b", "/etc/passwd", "<script>alert(1)</script>", "n 1%2F", "Zoë $x$"]


def test_a_hostile_name_of_a_node_stays_a_name_and_in_its_folder(tmp_path):
    pd.DataFrame({"node_id": [*HOSTILE, "n" * 300], "timestamp": T0, "x": 1.0}).to_parquet(tmp_path / "h.parquet")
    rows, status, page = extracted(tmp_path / "products", tmp_path / "h.parquet")
    assert sorted(rows.node_id) == sorted(HOSTILE)
    assert {path.name for path in (tmp_path / "products" / DATA / "nodes").iterdir()} == {f"node_id={quote(name, safe='')}" for name in HOSTILE}
    assert {path.name for path in tmp_path.iterdir()} == {"h.parquet", "products"}
    assert "<script>" not in page
    assert status["bad_lines"] == 1
    assert pd.read_csv(tmp_path / "products" / DATA / "bad_lines.csv").reason[0] == "the name of its node is too long"


def test_gpus_of_an_exporter_become_typed_rows(tmp_path):
    names = "DCGM_FI_DEV_GPU_UTIL,DCGM_FI_DEV_FB_USED,DCGM_FI_DEV_FB_FREE,DCGM_FI_DEV_POWER_USAGE,DCGM_FI_DEV_GPU_TEMP"
    lines = ["2026-01-31T10:00:00Z,n1,0,70,u1,50,1000,3000,250.5,60", "2026-01-31T10:00:30Z,n1,1,,,0,ERR,4000,50,30", "noon,n1,1,,,0,0,1,1,1"]
    write(tmp_path / "gpus.csv.gz", f"timestamp,Hostname,gpu,hpc_job,user,{names}\n" + "\n".join(lines))
    _, status, page = extracted(tmp_path, tmp_path / "gpus.csv.gz")
    gpus = pd.read_parquet(tmp_path / DATA / "gpus.parquet")
    expected = {"node_id": "n1", "gpu": "0", "job_id": "70", "user": "u1", "utilisation_pct": 50, "memory_used_mib": 1000}
    expected |= {"timestamp": pd.Timestamp(T0, unit="s", tz="UTC"), "memory_total_mib": 4000, "power_w": 250.5, "temperature_c": 60}
    assert gpus.loc[0].drop("loader_wait_pct").to_dict() == expected
    assert gpus.loader_wait_pct.isna().all(), "which no exporter of GPUs has"
    assert gpus.loc[1, ["job_id", "user", "memory_used_mib", "memory_total_mib"]].isna().all()
    assert (status["state"], status["rows"], status["gpu_rows"], status["unreadable_cells"], status["bad_lines"]) == ("partial", 0, 2, 1, 1)
    assert "GPUs: 2 rows." in page


@pytest.mark.parametrize("text", ["", "node_id,timestamp,x\n", f"node_id,timestamp,x\nn1,{T0 + 10**7},1\n"], ids=["no byte", "no row", "other days"])
def test_an_empty_source_is_empty_and_no_error(tmp_path, text):
    rows, status, page = extracted(tmp_path, write(tmp_path / "x.csv", text))
    assert rows.empty
    assert (status["state"], status["rows"], status["newest"]) == ("empty", 0, None)
    assert "0 rows of 0 metrics from 0 nodes" in page
    assert labels_of(tmp_path).columns.tolist() == ["job_id", "node_id", "app", "input", "anomaly", "part", "start", "end"]
    assert (tmp_path / DATA / "nodes").is_dir()


def test_old_rows_are_stale(tmp_path):
    WIDE.to_csv(tmp_path / "wide.csv", index=False)
    assert extracted(tmp_path, tmp_path / "wide.csv", day="2026-02-10")[1]["state"] == "stale"


@pytest.mark.parametrize(
    ("name", "content", "parameters", "message"),
    [
        ("x.txt", "Dear reader,\nnothing.\n", {}, "it lacks the columns node_id and timestamp, which the parameter columns can name; it is no"),
        ("x.csv", "node_id,timestamp,node_id\nn,1,2\n", {}, "two of its columns are called 'node_id'"),
        ("x.csv", "host,time,x\nn,1,2\n", {"columns": {"node_id": "node", "timestamp": "time"}}, "it has no column 'node', but host, time, x"),
        ("x.csv", "host,time,x\nn,1,2\n", {"columns": {"nodes": "host"}}, "columns names 'nodes'; it can name timestamp, node_id,"),
        (
            "x.csv",
            "node_id;timestamp;x\nn;31/01/2026 10:00;2\n",
            {},
            "1 of 1 times in the column timestamp cannot be read, such as '31/01/2026 10:00': a time is ISO 8601",
        ),
        ("x.csv", "job_id,app,anomaly\n1,a,none\n", {"labels": "{here}/other.csv"}, "no file matches"),
        ("x.csv", "app,anomaly\na,none\n", {}, "labels need the columns anomaly, and job_id or node_id; it has app, anomaly"),
        (
            "x.csv.gz",
            gzip.compress(WIDE.sample(9999, replace=True, random_state=0).to_csv(index=False).encode(), mtime=0)[:-900],
            {},
            "x.csv.gz cannot be read: ",
        ),
        ("x.parquet", b"nothing", {}, "x.parquet cannot be read: ArrowInvalid"),
        ("x.h5", b"nothing", {}, "x.h5 cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_the_last_night_stays(tmp_path, name, content, parameters, message):
    WIDE.to_csv(tmp_path / "good.csv", index=False)
    before, status, _ = extracted(tmp_path, tmp_path / "good.csv")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    parameters = {k: v.format(here=tmp_path) if isinstance(v, str) else v for k, v in parameters.items()}
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        run_cells(NOTEBOOK, tmp_path, source=str(tmp_path / name), **parameters)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    pd.testing.assert_frame_equal(raw_rows(tmp_path), before)
    assert json.loads((tmp_path / DATA / "status.json").read_text()) == status
    assert {path.name for path in (tmp_path / DATA).iterdir()} == {"nodes", "notes", "gpus.parquet", "labels.parquet", "status.json", "bad_lines.csv"}


def test_no_file_and_no_sample_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file matches"):
        run_cells(NOTEBOOK, tmp_path, source=str(tmp_path / "*.csv"))
    with pytest.raises(FileNotFoundError, match=r"run notebooks/simulate\.ipynb first"):
        run_cells(NOTEBOOK, tmp_path, source="sample")


@settings(deadline=None)
@given(st.integers(10**15, 4 * 10**15), st.sampled_from([(1e6, "s"), (1e3, "ms"), (1, "us"), (1e-3, "ns")]))
def test_a_time_is_the_same_in_every_unit(micro, unit):
    value = micro // 10**6 * 10**6  # whole seconds, which all units can say exactly
    times = cells.times_of(pa.chunked_array([pa.array([str(int(value / unit[0])), str(pd.Timestamp(value, unit="us")), "soon", None])]))
    assert times.tolist()[:2] == [pd.Timestamp(value, unit="us", tz="UTC")] * 2
    assert times.isna().tolist() == [False, False, True, True]


def test_numbers_are_numbers_and_the_rest_is_counted():
    columns = [["1", "2.5e3", None], ["7", "seven", " 8 "], [1.0, float("nan"), float("inf")], [True, False, None], [3, None, 4]]
    found = [cells.numbers_of(pa.chunked_array([pa.array(column)])) for column in columns]
    assert [numbers.to_pylist() for numbers, _, _ in found] == [[1, 2500, None], [7, None, 8], [1, None, None], [1, 0, None], [3, None, 4]]
    assert [unreadable for _, unreadable, _ in found] == [0, 1, 1, 0, 0], "seven and infinity"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """This machine measured for some seconds: (products, page)."""
    products = tmp_path_factory.mktemp("machine")
    return products, shown(execute(NOTEBOOK, products, source="this_machine", minutes=0.1, run_s=1.2))


def test_this_machine_measures_itself_with_a_label_for_each_run(machine):
    products, page = machine
    rows, labels, status = raw_rows(products), labels_of(products), json.loads((products / DATA / "status.json").read_text())
    assert sorted(labels.anomaly) == ["cachecopy", "cpuoccupy", "membw", "memleak", "none"]
    assert set(labels.job_id) == set(rows.job_id)
    assert labels.job_id.is_unique
    assert (status["state"], status["unlabelled_jobs"], status["unknown_labels"], status["nodes"]) == ("ok", 0, 0, 1)
    assert rows.timestamp.dt.round("s").is_unique
    assert (rows.timestamp - rows.timestamp.dt.round("s")).abs().max() < pd.Timedelta("400ms")
    assert (pd.Timestamp.now("UTC") - rows.timestamp).max() < pd.Timedelta(minutes=5)
    in_time = rows.sort_values("timestamp")
    assert in_time["cpu_user::psutil"].is_monotonic_increasing
    assert in_time["cpu_user::psutil"].iloc[-1] > in_time["cpu_user::psutil"].iloc[0], "generators and workload compute"
    assert rows["mem_total::psutil"].eq(psutil.virtual_memory().total).all()
    assert "from 1 nodes" in page


def test_generators_waste_what_they_are_named_after_and_end_in_time():
    spent = {}
    for name in ("workload", "memleak", "cpuoccupy", "membw", "cachecopy"):
        generator = getattr(generators, name)
        tracemalloc.start()
        began, cpu = time.time(), time.thread_time()
        generator(began + 0.5, 50_000_000)
        spent[name] = (time.thread_time() - cpu, tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
        assert time.time() - began < 5
    assert 20 < spent["memleak"][1] <= 51, "up to its limit and no further"
    assert spent["membw"][1] > 250
    assert spent["cachecopy"][1] < 5
    assert spent["cpuoccupy"][0] > 2 * spent["memleak"][0]


@pytest.mark.filterwarnings("ignore:.*tasks which were still being processed:UserWarning")  # as it should be
def test_an_interrupted_measurement_leaves_no_process(monkeypatch):
    def interrupt():
        assert len(children()) >= 2
        raise KeyboardInterrupt

    def children():
        return [child for child in psutil.Process().children(recursive=True) if "popen_loky" in " ".join(child.cmdline())]

    def wait_and_interrupt():
        for _ in range(100):
            if sum(child.cpu_times().user > 0 for child in children()) >= 2:
                break
            time.sleep(0.1)
        interrupt()

    monkeypatch.setattr(this_machine, "read_machine", wait_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        this_machine.measure("cpuoccupy", "1", run_s=300.0)
    deadline = time.monotonic() + 10
    while children() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not children()


def test_real_servers_are_read_whole(tmp_path):
    path = REAL_DATA / "telemetry/asd12_servers.parquet"
    if not path.exists():
        pytest.skip(f"no real data at {path}")
    columns = {"node_id": "node_id", "timestamp": "timestamp", "anomaly": "anomalous", "part": "split"}
    rows, status, _ = extracted(tmp_path, path, day="2024-02-14", columns=columns, anomaly_names={"0": "none", "1": "anomalous"})
    source, labels = pd.read_parquet(path), labels_of(tmp_path)
    assert rows.node_id.value_counts().to_dict() == source.node_id.value_counts().to_dict()
    assert (status["state"], status["metrics"], status["unreadable_cells"]) == ("ok", 19, 0)
    assert rows[[f"metric_{i:02d}" for i in range(19)]].sum().sum() == pytest.approx(source.filter(like="metric_").astype(float).sum().sum())
    span = ((labels.end - labels.start) / pd.Timedelta("5min")).groupby(labels.anomaly).sum()
    assert span.to_dict() == {"none": (source.anomalous == 0).sum(), "anomalous": (source.anomalous == 1).sum()}
    shutil.rmtree(tmp_path / "data")
