"""Series in files: whose they are, which copies count, and what is refused, each in one line."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from nightshift.sources.base import file_sources, source_of
from nightshift.sources.telemetry import long_rows
from nightshift.sources.telemetry.exposition import Exposition, parsed
from nightshift.sources.telemetry.opening import EVER
from nightshift.sources.telemetry.parts import extraction_into
from nightshift.sources.telemetry.series import extract_series, metric_in
from nightshift.sources.telemetry.sysstat import seconds_of
from nightshift.sources.times import microseconds

T0 = 1769853600.0  # 2026-01-31 10:00 UTC
SETTINGS = {"columns": {}, "node_label": "instance", "job_label": ""}


@pytest.fixture
def extraction(tmp_path):
    with extraction_into(tmp_path / "raw", EVER) as one:
        yield one
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")


def rows_of(extraction):
    """All rows of nodes that an extraction has written so far."""
    return pd.concat([pd.read_parquet(part) for part in sorted(extraction.folder.glob("nodes/*/*/*.parquet"))], ignore_index=True)


def extract(extraction, path):
    """Add one file by the kind that recognises it: its label."""
    source = source_of(file_sources("telemetry", SETTINGS), str(path))
    source.extract(str(path), extraction)
    return source.label


def load_of(extraction, *pieces):
    """The rows of load on n1 after its series, (labels of who scrapes, times after T0, values) each: {time after T0: value}."""
    series = [({"__name__": "load", "host": "n1", **labels}, T0 + np.array(at, float), np.array(values, float)) for labels, at, values in pieces]
    extract_series(extraction, series, where="here", sampler="x", server=Exposition({}, "instance", ""))
    rows = rows_of(extraction)
    return dict(zip((rows.timestamp - pd.Timestamp(T0, unit="s", tz="UTC")).dt.total_seconds(), rows["load::x"], strict=True))


def test_the_longer_copy_counts_and_the_others_where_it_has_nothing(extraction):
    long = ({"job": "node"}, 15 * np.arange(4), [1, 2, 3, 4])
    early = ({"job": "pods"}, -33 + 15 * np.arange(3), [7, 8, 9])
    assert load_of(extraction, early, long) == {0: 1, 15: 2, 30: 3, 45: 4, -33: 7, -18: 8}
    assert extraction.asked_twice == {"n1": ["job"]}


def test_a_node_whose_name_could_be_no_folder_costs_no_other(extraction):
    series = [({"__name__": "load", "host": name}, [T0], [n]) for n, name in enumerate(("n" * 201, "n" * 200, "<" * 67, "<" * 66))]
    extract_series(extraction, series, where="here", sampler="x", server=Exposition({}, "instance", ""))
    assert sorted(rows_of(extraction)["load::x"]) == [1, 3]
    assert [reason for _, _, reason, _ in extraction.bad_lines] == ["the name of its node is too long"] * 2


def test_answers_of_one_series_are_one_series_and_no_copies(extraction):
    pieces = [({"job": "node"}, [t], [t + n / 4]) for n, t in enumerate((30, 0, 15, 15))]
    assert load_of(extraction, *pieces) == {0: 0.25, 15: 15.5, 30: 30}, "of one moment the first value counts"
    assert extraction.asked_twice == {}


def test_a_file_that_is_read_in_many_parts_gives_the_rows_of_one_that_is_read_at_once(extraction, monkeypatch):
    """Copies, several devices, moments without a value, and values that stand for none; in runs of 64 rows and parts of about 32."""
    rng, pieces = np.random.default_rng(0), []
    for n in range(40):
        labels = {"__name__": ["load", "disk_ops"][n % 2], "host": f"n{n % 3}", "device": f"d{n % 4}", "job": "ab"[n % 5 == 0]}
        at = T0 + 15.0 * rng.permutation(60)[:50]
        pieces.append((labels, at, np.where(rng.random(50) < 0.1, -1, rng.integers(0, 99, 50).astype(float))))
    frames = []
    for name, size in (("whole", 2**20), ("parts", 32)):
        monkeypatch.setattr(long_rows, "RUN", 2 * size)
        monkeypatch.setattr(long_rows, "PART", size)
        monkeypatch.setattr(long_rows, "STRIDE", min(size // 4, 2**10))
        monkeypatch.setattr(long_rows, "CELLS", size)
        extract_series(extraction, pieces, where=name, sampler="x", server=Exposition({}, "instance", ""))
        parts = sorted(extraction.folder.glob("nodes/*/*/*.parquet"))
        frames.append(pd.concat([pd.read_parquet(part).assign(node=part.parent.parent.name) for part in parts]).reset_index(drop=True))
        shutil.rmtree(extraction.folder / "nodes")
        (extraction.folder / "nodes").mkdir()
        extraction.parts.clear()
    assert len(frames[0]) > 150
    assert frames[0].filter(like="::x").isna().any().any()
    pd.testing.assert_frame_equal(*frames)
    assert extraction.counts["placed"] == 2 * 40 * 50
    assert set(extraction.blanks) == {f"{name}.d{i}::x" for i, name in enumerate(["load", "disk_ops"] * 2)}


def test_devices_are_in_the_name_and_who_scrapes_and_processors_are_not():
    labels = {"__name__": "node_cpu_seconds_total", "cpu": "7", "mode": "idle", "job": "node", "instance": "n1:9100", "pod": "x"}
    assert metric_in(labels, {"instance", ""}) == ("node_cpu_seconds_total", "idle")
    assert metric_in({"__name__": "a::b", "device": "x::y|z"}, set()) == ("a:b", "x:y_z")


def test_very_many_devices_are_added_up_and_what_is_of_no_node_is_counted(extraction, tmp_path):
    at = T0 + 15.0 * np.arange(2)
    many = [({"__name__": "disk_ops", "device": f"d{i}", "host": "n1"}, at, np.array([1.0, 2])) for i in range(65)]
    other = [
        ({"__name__": "load", "host": "n1"}, at, np.array([5.0, 6])),
        ({"__name__": "seconds_bucket", "le": "0.1", "host": "n1"}, at, at),
        ({"__name__": "net_bytes", "device": "lo", "host": "n1"}, at, at),
        ({"__name__": "DCGM_FI_DEV_SM_CLOCK", "gpu": "0", "host": "n1"}, at, at),
    ]
    server = Exposition({}, "instance", "")
    extract_series(extraction, [*many, *other], where="here", sampler="x", server=server)
    rows = rows_of(extraction)
    assert rows["disk_ops::x"].tolist() == [65, 130]
    assert rows["load::x"].tolist() == [5, 6]
    assert set(rows) == {"timestamp", "job_id", "disk_ops::x", "load::x"}
    assert dict(extraction.left_out) == {"buckets of histograms": 1, "the loopback interface": 1, "other metrics of GPUs": 1}


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "it holds no series"),
        ([({"__name__": "load", "zone": "a"}, np.array([T0]), np.array([1.0]))], "no label that names its node, but __name__, zone: put the file"),
    ],
)
def test_no_series_and_no_node_are_one_line(extraction, series, message):
    with pytest.raises(ValueError, match=message) as error:
        extract_series(extraction, series, where="here", sampler="x", server=Exposition({}, "instance", ""))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "name", "at", "value"),
    [
        ("load1 9.3 1795949124205", "load1", 1795949124.205, 9.3),
        ("load1 9.3 1795949124.205 # {trace_id=\"a\"} 1", "load1", 1795949124.205, 9.3),
        ('{__name__="load1", mount="/a } b"} 1e3', "load1", T0, 1000),
        (r'load1{path="C:\\x \"y\""} +Inf', "load1", T0, np.inf),
    ],
)  # fmt: skip
def test_a_line_of_an_exporter_says_name_time_and_value(extraction, text, name, at, value):
    [(_, labels, when, number)] = parsed(text, 1, page_at=T0, path="p", extraction=extraction)
    assert (dict(labels)["__name__"], when, number) == (name, at, value)
    assert dict(labels).get("mount", "/a } b") == "/a } b"
    assert dict(labels).get("path", r'C:\x "y"') == r'C:\x "y"'


def test_a_line_that_is_none_is_put_aside(extraction):
    assert list(parsed("load1 = 9", 3, page_at=T0, path="p", extraction=extraction)) == []
    assert extraction.bad_lines == [("p", 3, "no metric", "load1 = 9")]


ANSWER = '{"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}'
SADF = "# hostname;interval;timestamp;CPU;%user\nn1;10;2026-01-31 10:00:00;-1;5\n"
SMI = "timestamp, index, utilization.gpu [%]\n2026/01/31 10:00:00.0, 0, 5 %\n"
FILES = {
    "page without its header": ("p.txt", "# HELP load1 x\n# TYPE load1 gauge\nload1 2\n", "its values have no times: save pages with their header"),
    "answer with an error": ("a.json", '{"status": "error", "error": "bad query", "data": {"resultType": ""}}', "an error: bad query"),
    "answer with a number": ("a.json", ANSWER, "its result is a scalar"),
    "local times of sadf": ("s.csv", SADF, "its times name no zone, such as '2026"),
    "sadf -h": ("s.csv", SADF.replace("%user", "%user[...]"), "print them without -h"),
    "nvidia-smi of nobody": ("g.csv", SMI, "put it into a folder host=NAME"),
    "nvidia-smi of no GPU": ("host=a/g.csv", "timestamp, utilization.gpu [%]\n2026/01/31 10:00:00.0, 5 %\n", "query index or uuid, too"),
    "dmon without times": ("host=a/d.txt", "# gpu   pwr    sm\n# Idx     W     %\n    0    30     5\n", "nvidia-smi dmon -o DT"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_used_says_what_to_do(extraction, tmp_path, case):
    name, text, message = FILES[case]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        extract(extraction, path)
    assert len(str(error.value).splitlines()) == 1


def test_rows_of_json_with_other_columns_are_parts_of_their_own_and_none_is_lost(extraction, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"ts": T0, "node": "n1", "job_id": 0, "load": 1}, {"ts": T0 + 10, "node": "n1", "job_id": 7, "load": 2, "big": 2**60}]
    path.write_text("\n".join(map(json.dumps, rows)) + "\nno json\n")
    assert extract(extraction, path) == "rows of nodes in JSON"
    found = rows_of(extraction).sort_values("timestamp")
    assert found.load.tolist() == [1, 2]
    assert found.job_id.fillna("none").tolist() == ["none", "7"], "job 0 is none"
    assert found.big.tolist()[1] == 2**60
    assert [line[1] for line in extraction.bad_lines] == [3]


@pytest.mark.parametrize("zone", ['"utc": 1', '"tz": "UTC"'])
def test_a_document_of_sadf_is_read_of_every_version(extraction, tmp_path, zone):
    """12.6 says whether a time is UTC, 12.7 of which zone it is."""
    stamp = '{"date": "2026-01-31", "time": "10:00:00", ' + zone + ', "interval": 60}'
    load = '"cpu-load": [{"cpu": "all", "user": 2.5}, {"cpu": "0", "user": 9}]'
    moment = f'{{"timestamp": {stamp}, "memory": {{"memfree": 7, "memused-percent": 50.5}}, {load}}}'
    text = '{"sysstat": {"hosts": [{"nodename": "n1", "statistics": [\nMOMENTS\n], "restarts": []}]}}'
    path = tmp_path / "sar.json"
    path.write_text(text.replace("MOMENTS", f"{moment},\n{moment.replace('10:00:00', '10:01:00').replace('7,', '8,')}"))
    assert extract(extraction, path) == "a document of sysstat (sadf -j)"
    rows = rows_of(extraction)
    assert rows["memory_memfree_kb::sar"].tolist() == [7, 8]
    assert rows["cpu-load_user::sar"].tolist() == [2.5, 2.5]
    assert rows.timestamp.astype(str).tolist() == ["2026-01-31 10:00:00+00:00", "2026-01-31 10:01:00+00:00"]
    path.write_text(text.replace("MOMENTS", moment.replace("UTC", "EST").replace('"utc": 1', '"utc": 0')))
    with pytest.raises(ValueError, match="its times are local, such as 2026-01-31 10:00:00"):
        extract(extraction, path)


def test_an_answer_may_say_what_it_is_behind_its_series_and_others_may_follow(extraction, tmp_path):
    """Two answers one after another; the first with native histograms and warnings at its end, the second in many lines."""
    one = [{"metric": {"__name__": "load", "host": "n1", "x": 'a"result":[b'}, "values": [[T0, "1"], [T0 + 15, "NaN"]]}]
    one += [{"metric": {"__name__": name, "host": "n1"}, "histograms": [[T0, {}]]} for name in ("b_seconds", "a_seconds")]
    first = {"status": "success", "data": {"resultType": "matrix", "result": one, "stats": {"n": [1]}}, "warnings": ["store b is down"]}
    second = {"data": {"result": [{"metric": {"__name__": "load", "host": "n2"}, "value": [T0, "3"]}], "resultType": "vector"}, "status": "success"}
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(first) + "\n" + json.dumps(second, indent=1))
    assert extract(extraction, path) == "a saved answer of a Prometheus"
    rows = rows_of(extraction)
    assert sorted(rows["load::prometheus"].dropna().tolist() + rows['load.a"result":[b::prometheus'].dropna().tolist()) == [1, 3]
    assert "store b is down" in extraction.warned
    [histograms] = extraction.warned - {"store b is down"}
    assert histograms.startswith("a_seconds, b_seconds gives native histograms")
    path.write_text(json.dumps(first)[:-40])
    with pytest.raises(ValueError, match="its JSON breaks off after 3 records"):
        extract(extraction, path)


def test_times_are_read_in_every_unit():
    for unit in (1, 1e3, 1e6, 1e9):
        assert (microseconds(np.array([T0 * unit])) / 1e6).tolist() == [T0]
    assert seconds_of(("2026-01-31 10:00:00 UTC",)).tolist() == seconds_of((str(int(T0)),)).tolist() == [T0]
    assert np.isnan(seconds_of(("2026-01-31 10:00:00 UTC", "2026-13-31 10:00:00 UTC"))).tolist() == [False, True]


def test_a_row_of_sadf_that_is_none_is_put_aside(extraction, tmp_path):
    row, more = "n1;10;2026-01-31 10:00:{:02} UTC;-1;{}", ["# a heading;10;x;-1;5", "n1;10;=1+1;-1;5", "n1;10;;-1;5", "# heading"]
    (tmp_path / "s.csv").write_text("\n".join([SADF.splitlines()[0], row.format(0, 5), *more, row.format(10, 6), row.format(20, "$x$")]))
    assert extract(extraction, tmp_path / "s.csv") == "a table of sysstat (sadf -d)"
    reasons = [(line, reason) for _, line, reason, _ in extraction.bad_lines]
    assert reasons == [(3, "no time"), (4, "no time"), (5, "no time"), (6, "1 columns, not 5")]
    assert rows_of(extraction)["%user::sar"].fillna(-1).tolist() == [5, 6, -1]


def test_a_row_of_a_file_of_collectd_that_is_none_is_put_aside(extraction, tmp_path):
    path = tmp_path / "n1/load/load-2026-01-31"
    path.parent.mkdir(parents=True)
    path.write_text(f"epoch,value\n{T0},1\n<b>,2\n ,3\n{T0 + 10}, \n{T0 + 20},=1+1\n{T0 + 30},4,5\n{T0 + 40},6\n")
    assert extract(extraction, path) == "a file of collectd (plugin csv)"
    reasons = [(line, reason) for _, line, reason, _ in extraction.bad_lines]
    assert sorted(reasons) == [(2, "no time"), (3, "no time"), (6, "3 columns, not 2")]
    [column] = [name for name in rows_of(extraction) if name.endswith("::collectd")]
    assert rows_of(extraction)[column].fillna(-1).tolist() == [1, -1, -1, 6]


def test_a_record_of_collectd_with_more_values_than_names_is_put_aside(extraction, tmp_path):
    record = {"dsnames": ["value"], "dstypes": ["gauge"], "values": [3], "time": T0, "host": "n1", "plugin": "load", "type": "load"}
    wrong = [record | {"values": [3, 4]}, record | {"dsnames": []}, record | {"dstypes": "gauge"}, {"values": [3]}, record | {"values": 3}]
    (tmp_path / "values.json").write_text(json.dumps([*wrong, record]))
    assert extract(extraction, tmp_path / "values.json") == "values of collectd in JSON"
    assert [(line, reason) for _, line, reason, _ in extraction.bad_lines] == [(n, "no values of collectd") for n in range(1, 6)]
    assert rows_of(extraction)["load::collectd"].tolist() == [3]
