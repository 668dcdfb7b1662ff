"""Series in files: whose they are, which copies count, and what is refused, each in one line."""

import json
import re
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nightshift.sources.base import Head, file_sources, source_of
from nightshift.sources.files import LayoutError
from nightshift.sources.telemetry import collectd, json_rows, long_rows, series_file, telegraf
from nightshift.sources.telemetry import series as series_of_nodes
from nightshift.sources.telemetry.exposition import Exposition, parsed
from nightshift.sources.telemetry.job_archive import JobArchive
from nightshift.sources.telemetry.line_protocol import LineProtocol
from nightshift.sources.telemetry.opening import EVER
from nightshift.sources.telemetry.parts import extraction_into
from nightshift.sources.telemetry.prometheus_answer import PrometheusAnswer, check_answer
from nightshift.sources.telemetry.series import extract_series, job_in, metric_in
from nightshift.sources.telemetry.series_rows import ends_of
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


def test_copies_that_are_asked_for_at_the_same_moments_lose_none_of_them(extraction):
    """Answers of a query_range have moments in common, so that a copy goes on a step after the last value of another one."""
    copies = ({"job": "pods"}, [-30, -15, 0], [7, 8, 9]), ({"job": "node"}, [0, 15, 30, 45], [1, 2, 3, 4]), ({"job": "late"}, [45, 60, 75], [5, 6, 7])
    assert load_of(extraction, *copies) == {-30: 7, -15: 8, 0: 1, 15: 2, 30: 3, 45: 4, 60: 6, 75: 7}


def test_of_copies_with_one_value_each_that_of_one_moment_counts_once(extraction):
    assert load_of(extraction, ({"job": "a"}, [0], [1]), ({"job": "b"}, [0], [9]), ({"job": "c"}, [20], [5])) == {0: 1, 20: 5}


def test_how_long_each_series_of_a_node_lasts_is_told_over_all_parts():
    parts = [(0, 0, 1), (1, 5, 1), (0, 10, 1), (0, 20, 1), (0, 20, 2)], [(1, 45, 1), (0, 50, 1), (1, 65, 1)], []
    found = ends_of(np.array(part, long_rows.ROW) for part in parts)
    assert found == {0: (4, 0, 50, 10), 1: (3, 5, 65, 20)}, "a moment that comes twice counts once"


def test_a_window_of_series_takes_its_begin_and_leaves_its_end(tmp_path):
    window = [pd.Timestamp(T0 + s, unit="s", tz="UTC") for s in (0, 60)]
    with extraction_into(tmp_path / "raw", window) as one:
        rows = load_of(one, ({}, [-15, 0, 30, 45, 60, np.nan], [1, 2, np.inf, 3, 4, 5]))
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")
    assert {at: None if np.isnan(value) else value for at, value in rows.items()} == {0: 2, 30: None, 45: 3}
    assert one.counts == {"unreadable": 1, "placed": 5, "outside": 2}
    assert [line[:3] for line in one.bad_lines] == [("here", 0, "1 without time")]


@pytest.mark.parametrize(
    ("times", "message"),
    [([0, -T0], ""), ([0, -T0, 5 - T0], "2 of 3 times cannot be read or lie before 1990, such as 0.0: a time is"), ([631152000 - T0], ""),
     ([631151999 - T0], "1 of 1 times cannot be read or lie before 1990")],
)  # fmt: skip
def test_half_of_the_times_of_series_may_be_none_and_the_first_of_1990_is_one(extraction, times, message):
    if message:
        with pytest.raises(ValueError, match=message):
            load_of(extraction, ({}, times, times))
    else:
        assert sorted(load_of(extraction, ({}, times, times))) == sorted(times)


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


def test_names_of_any_characters_stand_in_quotes(extraction):
    """Prometheus 3 writes names such as those of OpenTelemetry so; what of them was not read, other series would have had in common."""
    lines = [r'{"system.net.io", "net.dev"="eth\"0", host="n1"} 5', '{__name__="system.net.io","net.dev"="eth1",host="n1"} 7', 'up{"a.b"="",c="d"} 1']
    found = [dict(labels) for line in lines for _, labels, *_ in parsed(line, 1, page_at=T0, path="p", extraction=extraction)]
    assert found == [
        {"__name__": "system.net.io", "net.dev": 'eth"0', "host": "n1"},
        {"__name__": "system.net.io", "net.dev": "eth1", "host": "n1"},
        {"__name__": "up", "a.b": "", "c": "d"},
    ]


def test_a_line_that_is_none_is_put_aside(extraction):
    for number, line in enumerate(["load1 = 9", "load1 9 1.2.3"], 3):
        assert list(parsed(line, number, page_at=T0, path="p", extraction=extraction)) == []
    assert extraction.bad_lines == [("p", 3, "no metric", "load1 = 9"), ("p", 4, "no metric", "load1 9 1.2.3")]


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


def test_rows_of_the_bulk_format_and_those_below_a_damaged_line_are_rows_of_json(extraction, tmp_path):
    row = json.dumps({"ts": T0, "node": "n1", "load": 1})
    for first in ('{"index": {"_id": "1"}}', '{"ts": 17698', '{"hits": {"hits": []}}'):
        (tmp_path / "rows.jsonl").write_text(f"{first}\n{row}\n")
        assert extract(extraction, tmp_path / "rows.jsonl") == "rows of nodes in JSON"
        assert rows_of(extraction).load.tolist() == [1]


def test_a_row_of_json_that_holds_an_empty_list_is_a_row(extraction, tmp_path):
    rows = [{"ts": T0, "node": "n1", "events": [], "load": 1}, {"data": [], "total": 0}, {"ts": T0 + 10, "node": "n1", "events": [], "load": 2}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert extract(extraction, tmp_path / "rows.jsonl") == "rows of nodes in JSON"
    assert rows_of(extraction).load.tolist() == [1, 2]


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
    assert rows["memory_memused-percent::sar"].tolist() == [50.5, 50.5]
    assert rows.shape[1] == 5
    assert rows.timestamp.astype(str).tolist() == ["2026-01-31 10:00:00+00:00", "2026-01-31 10:01:00+00:00"]
    path.write_text(text.replace("MOMENTS", moment.replace("UTC", "EST").replace('"utc": 1', '"utc": 0')))
    with pytest.raises(ValueError, match="its times are local, such as 2026-01-31 10:00:00"):
        extract(extraction, path)


def test_a_moment_of_sadf_that_is_none_is_put_aside_and_a_document_without_hosts_is_one_line(extraction, tmp_path):
    stamp = {"date": "2026-01-31", "time": "10:00:00", "utc": 1}
    moments = [5, {"timestamp": "noon"}, {"timestamp": {"date": "2026-01-31", "utc": 1}}, {}]
    moments += [{"timestamp": stamp, "queue": {"runq-sz": 6}, "disk": [{}, 5, {"disk-device": "sda", "tps": 1.5}]}]
    path = tmp_path / "sar.json"
    path.write_text(json.dumps({"sysstat": {"hosts": [{"nodename": "n1", "statistics": moments}]}}))
    extract(extraction, path)
    assert [(number, why) for _, number, why, _ in extraction.bad_lines] == [(1, "no time"), (2, "no time"), (3, "no time")]
    [row] = rows_of(extraction).drop(columns=["timestamp", "job_id"]).to_dict("records")
    assert row == {"queue_runq-sz::sar": 6, "disk_tps.sda::sar": 1.5}
    hosts = [{"nodename": "n0"}, {"nodename": "n2", "statistics": moments[-1:]}, {"nodename": "n3", "statistics": moments[-1:]}]
    path.write_text(json.dumps({"sysstat": {"hosts": hosts}}))
    extract(extraction, path)
    assert sorted(part.parent.parent.name for part in extraction.folder.glob("nodes/*/*/*.parquet")) == [f"node_id=n{n}" for n in (1, 2, 3)]
    for wrong in ({"hosts": 5}, {"hosts": [5]}, {"hosts": [{"statistics": []}]}, {"hosts": [{"nodename": "n1", "statistics": 5}]}, [], {}):
        path.write_text(json.dumps({"sysstat": wrong}))
        with pytest.raises(LayoutError, match=r"^it is no document of sadf -j, which lists hosts with a nodename and statistics$"):
            extract(extraction, path)
        for unfinished in extraction.folder.glob("series*"):  # of a night that has ended there
            shutil.rmtree(unfinished)


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


def test_an_answer_whose_names_are_sorted_is_one(extraction, tmp_path):
    series = [{"metric": {"__name__": "load", "host": f"n{n}"}, "values": [[T0, "1"]]} for n in range(40)]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": series}}
    (tmp_path / "a.json").write_text(json.dumps(answer, sort_keys=True, indent=1))
    assert extract(extraction, tmp_path / "a.json") == "a saved answer of a Prometheus"
    assert rows_of(extraction)["load::prometheus"].tolist() == [1] * 40


def test_an_answer_that_is_an_error_says_so_in_a_line():
    with pytest.raises(ValueError, match=f"^it is no answer but an error: {'x' * 150}$"):
        check_answer({"status": "error", "error": "x" * 200})
    check_answer({"status": "success"})


@pytest.mark.parametrize("data", ["", ', "data": {}', ', "data": [5]', ', "data": {"result": 5}', ', "data": {"resultType": "matrix", "result": {}}'])
def test_a_success_that_holds_no_series_is_no_answer(extraction, tmp_path, data):
    (tmp_path / "a.json").write_text(f'{{"status": "success"{data}}}')
    with pytest.raises(ValueError, match=r"^it is no answer of a Prometheus: needed is one of /api/v1/query_range$"):
        list(PrometheusAnswer({}, "instance", "").series(tmp_path / "a.json", extraction))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[5]", "it is no answer of a Prometheus"),
        ('{"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}', "its result is a scalar"),
    ],
)
def test_a_result_of_another_type_is_one_line(extraction, tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=f"^{message}: needed is one of /api/v1/query_range$"):
        list(PrometheusAnswer({}, "instance", "").series(tmp_path / "a.json", extraction))


def test_native_histograms_that_promtool_printed_are_named(extraction, tmp_path):
    (tmp_path / "a.json").write_text(f'[{LOAD}, {{"metric": {{"__name__": "a_seconds"}}, "histograms": [[1769853600, {{}}]]}}]')
    extract(extraction, tmp_path / "a.json")
    assert (len(rows_of(extraction)), extraction.bad_lines) == (1, [])
    [warning] = extraction.warned
    assert warning.startswith("a_seconds gives native histograms")


def test_times_are_read_in_every_unit():
    for unit in (1, 1e3, 1e6, 1e9):
        assert (microseconds(np.array([T0 * unit])) / 1e6).tolist() == [T0]
    assert seconds_of(("2026-01-31 10:00:00 UTC",)).tolist() == seconds_of((str(int(T0)),)).tolist() == [T0]
    assert np.isnan(seconds_of(("2026-01-31 10:00:00 UTC", "2026-13-31 10:00:00 UTC"))).tolist() == [False, True]
    with pytest.raises(ValueError, match="its times are not in UTC, such as '2026-01-31 10:00:00 EST': print them in UTC"):
        seconds_of(("2026-01-31 10:00:00 UTC", "2026-01-31 10:00:00 EST"))


def test_a_row_of_sadf_that_is_none_is_put_aside(extraction, tmp_path):
    row, more = "n1;10;2026-01-31 10:00:{:02} UTC;-1;{}", ["# a heading;10;x;-1;5", "n1;10;=1+1;-1;5", "n1;10;;-1;5", "# heading"]
    (tmp_path / "s.csv").write_text("\n".join([SADF.splitlines()[0], row.format(0, 5), *more, row.format(10, 6), row.format(20, "$x$")]))
    assert extract(extraction, tmp_path / "s.csv") == "a table of sysstat (sadf -d)"
    reasons = [(line, reason) for _, line, reason, _ in extraction.bad_lines]
    assert reasons == [(3, "no time"), (4, "no time"), (5, "no time"), (6, "1 columns, not 5")]
    assert rows_of(extraction)["%user::sar"].fillna(-1).tolist() == [5, 6, -1]


def test_numbers_of_another_language_are_counted_as_unreadable(extraction, tmp_path):
    rows = [f"n1;10;2026-01-31 10:00:{s} UTC;-1;{value}" for s, value in (("00", "5,2"), ("10", "6"), ("20", ""), ("30", "nan"))]
    (tmp_path / "s.csv").write_text("\n".join([SADF.splitlines()[0], *rows]))
    extract(extraction, tmp_path / "s.csv")
    assert rows_of(extraction)["%user::sar"].fillna(-1).tolist() == [-1, 6, -1, -1]
    assert (extraction.counts["unreadable"], extraction.of_whole["unreadable"]) == (1, 1)
    path = tmp_path / "n1/load/load-2026-01-31"
    path.parent.mkdir(parents=True)
    path.write_text(f"epoch,value\n{T0},$1\n{T0 + 10},2\n{T0 + 20},nan\n")
    extract(extraction, path)
    assert (extraction.counts["unreadable"], extraction.of_whole["unreadable"]) == (2, 2)


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
    wrong += [record | {"time": None}, record | {"host": {}}, record | {"type_instance": 5}, record | {"values": [[3]]}, record | {"dsnames": [1]}]
    (tmp_path / "values.json").write_text(json.dumps([*wrong, record]))
    assert extract(extraction, tmp_path / "values.json") == "values of collectd in JSON"
    assert [(line, reason) for _, line, reason, _ in extraction.bad_lines] == [(n, "no values of collectd") for n in range(1, 11)]
    assert rows_of(extraction)["load::collectd"].tolist() == [3]


LONG = "x" * 600
PAGE = "HTTP/1.1 200 OK\nDate:Sat, 31 Jan 2026 10:00:00 GMT\n\n# TYPE load1 gauge\nload1 2\n"
VICTORIA = '{"metric":{"__name__":"load","node":"n1"},"values":[1],"timestamps":[1769853600000]}\n{"metric":{"a":"LONG"},"timestamps":[]}'
COLLECTD = {"dsnames": ["value"], "dstypes": ["gauge"], "values": [3], "time": T0, "host": "n1", "plugin": "load", "type": "load"}
TELEGRAF = '{"fields":{"user":1},"name":"cpu","tags":{"host":"n1"},"timestamp":1769853600}\n{"tags":"LONG"}'
GANGLIA = '<GANGLIA_XML VERSION="3"><HOST NAME="n1" REPORTED="1769853600"><METRIC NAME="a" VAL="1" TYPE="float"/>'
LOAD = '{"metric": {"__name__": "load", "instance": "n1"}, "values": [[1769853600, "1"]]}'
ANSWER = '{"status":"success","data":{"resultType":"matrix","result":[SERIES]}}'
NO_SERIES = [
    f'"{LONG}"',
    f'{{"values": [[1769853600, "1"]], "x": "{LONG}"}}',
    f'{{"metric": "{LONG}", "value": [1769853600, "1"]}}',
    f'{{"metric": {{"a": 5, "x": "{LONG}"}}, "value": [1769853600, "1"]}}',
    *(f'{{"metric": {{"x": "{LONG}"}}, "values": {values}}}' for values in ("5", "[5]", "[[1]]", '[[1, "x"]]', '[[1, "1", 2]]', '[[1, ["1"]]]')),
]
ODD = {  # path, text, number of the odd line, reason
    "an exporter": ("instance=n1/p.txt", PAGE + LONG, 6, "no metric"),
    "VictoriaMetrics": ("a.jsonl", VICTORIA.replace("LONG", LONG), 2, "no series"),
    "VictoriaMetrics, one value": ("a.jsonl", VICTORIA.replace("LONG", LONG).replace('"timestamps":[]', '"values":5,"timestamps":5'), 2, "no series"),
    "VictoriaMetrics, a word": ("a.jsonl", VICTORIA.replace("LONG", LONG).replace(":[]", ':[1769853600000],"values":["x"]'), 2, "no series"),
    **{f"promtool, {one}"[:40]: ("a.json", f"[{LOAD}, {one}]", 2, "no series") for one in NO_SERIES},
    **{f"Prometheus, {one}"[:40]: ("a.json", ANSWER.replace("SERIES", f"{LOAD}, {one}"), 2, "no series") for one in NO_SERIES},
    "collectd": ("a.json", json.dumps([COLLECTD, {"dsnames": LONG}]), 2, "no values of collectd"),
    "a file of collectd": ("n1/load/load-2026-01-31", f"epoch,value\n{T0},1\n{LONG},2\n", 2, "no time"),
    "Telegraf": ("a.jsonl", TELEGRAF.replace("LONG", LONG), 2, "no metric"),
    "Telegraf, a tag": ("a.jsonl", TELEGRAF.replace('"LONG"', f'{{"host":["{LONG}"]}},"fields":{{"user":1}},"timestamp":1769853600'), 2, "no metric"),
    "Telegraf, time": ("a.jsonl", TELEGRAF.replace('"LONG"', f'{{"host":"n1"}},"fields":{{"user":1}},"timestamp":"{LONG}"'), 2, "no metric"),
    "Telegraf, tags": ("a.jsonl", TELEGRAF.replace('"LONG"', f'"{LONG}","fields":{{"user":1}},"timestamp":1769853600'), 2, "no metric"),
    "InfluxDB": ("a.txt", f"# x\n\ncpu,host=n1 user=1 1769853600\n{LONG}\n", 4, "no line of InfluxDB's protocol"),
    "sadf, no row": ("s.csv", f"{SADF.replace(':00;', ':00 UTC;')}{LONG}\n", 3, "1 columns, not 5"),
    "sadf, no time": ("s.csv", f"{SADF.replace(':00;', ':00 UTC;')}n1;10;{LONG};-1;5\n", 3, "no time"),
    "Ganglia": ("g.xml", f'{GANGLIA}<METRIC NAME="b" VAL="{LONG}" TYPE="float"/>', 3, f"could not convert string to float: '{LONG}"[:100]),
    "a table": ("a.csv", f"timestamp,node_id,load\n{T0},n1,1\n{LONG},n1,2\n", 2, "no time"),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_line_is_put_aside_by_its_number_with_five_hundred_letters_and_the_others_count(extraction, tmp_path, case):
    name, text, number, reason = ODD[case]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    extract(extraction, tmp_path / name)
    assert [(line, why, len(shown)) for _, line, why, shown in extraction.bad_lines] == [(number, reason, 500)]
    assert len(rows_of(extraction)) == 1


def test_values_without_a_time_are_counted_and_the_first_is_named_where_others_have_one(extraction, tmp_path):
    (tmp_path / "instance=n1").mkdir()
    (tmp_path / "instance=n1/p.txt").write_text(PAGE + "HTTP/1.1 200 OK\n\nload1 3\nload1 4\n")
    extract(extraction, tmp_path / "instance=n1/p.txt")
    assert [(line, reason) for _, line, reason, _ in extraction.bad_lines] == [(8, "2 without time")]
    rows = rows_of(extraction)
    assert (rows["load1::prometheus"].tolist(), rows.timestamp.tolist()) == ([2], [pd.Timestamp(T0, unit="s", tz="UTC")])


def test_a_date_that_is_none_costs_its_page_alone_and_one_without_a_zone_is_utc(extraction, tmp_path):
    (tmp_path / "instance=n1").mkdir()
    damaged, later = PAGE.replace("31 Jan", "37 Jxn"), PAGE.replace("10:00:00 GMT", "10:01:00").replace("load1 2", "load1 3")
    (tmp_path / "instance=n1/p.txt").write_text(PAGE + damaged + later)
    extract(extraction, tmp_path / "instance=n1/p.txt")
    assert [(line, reason) for _, line, reason, _ in extraction.bad_lines] == [(7, "no time"), (10, "1 without time")]
    rows = rows_of(extraction)
    assert rows["load1::prometheus"].tolist() == [2, 3]
    assert rows.timestamp.astype(str).tolist() == ["2026-01-31 10:00:00+00:00", "2026-01-31 10:01:00+00:00"]


@pytest.mark.parametrize(
    ("text", "source", "is_one"),
    [
        ("HTTP/1.1 200 OK\n\n# HELP up x\n", Exposition, True), ("HTTP/1.1 200 OK\n\n<html>\n", Exposition, False),
        ("# TYPE up gauge\n", Exposition, True), ('up{a="b"} 1 2\n', Exposition, True), ('up{a="b"} = x y\n', Exposition, False),
        ("up 2\n", Exposition, False), ("# x\ncpu,host=n1 user=1 17\n", LineProtocol, True), ("cpu,host=n1 user=1\n", LineProtocol, False),
        ("cpu user=1 17\n", LineProtocol, False),
    ],
)  # fmt: skip
def test_metrics_of_an_exporter_and_of_telegraf_are_told_by_their_first_lines(tmp_path, text, source, is_one):
    (tmp_path / "a.txt").write_text(text)
    assert source({}, "instance", "").recognises(Head(tmp_path / "a.txt")) is is_one


def test_the_folders_of_a_file_of_collectd_say_whose_values_it_holds():
    labels = {"host": "n1", "plugin": "interface", "plugin_instance": "eth0", "type": "if_octets", "type_instance": "tx"}
    assert collectd.labels_of("/data/n1/interface-eth0/if_octets-tx-2026-01-31.gz") == labels
    for path in ("load/load-2026-01-31", "/load/load-2026-01-31"):
        with pytest.raises(ValueError, match="leave it in its folders, HOST/PLUGIN/FILE"):
            collectd.labels_of(path)


def test_counts_of_processors_are_added_up_and_their_percentages_are_devices(extraction, tmp_path):
    records = []
    for n in ("0", "1"):
        of = COLLECTD | {"plugin": "cpu", "plugin_instance": n, "type_instance": "idle"}
        records += [of | {"type": "cpu", "dstypes": ["derive"]}, of | {"type": "percent"}]
    bytes_of = {"dsnames": ["rx", "tx"], "dstypes": ["counter"] * 2, "values": [5, None], "plugin": "interface", "type": "if_octets"}
    (tmp_path / "a.json").write_text(json.dumps([*records, COLLECTD | bytes_of | {"plugin_instance": "eth0"}]))
    extract(extraction, tmp_path / "a.json")
    [row] = rows_of(extraction).drop(columns=["timestamp", "job_id"]).fillna(-1).to_dict("records")
    assert row == {
        "cpu_total.idle::collectd": 6,
        "cpu_percent.0/idle::collectd": 3,
        "cpu_percent.1/idle::collectd": 3,
        "interface_if_octets_rx_total.eth0::collectd": 5,
        "interface_if_octets_tx_total.eth0::collectd": -1,
    }


def test_the_metrics_of_a_job_begin_with_it_and_those_of_parts_of_nodes_are_counted(extraction, tmp_path):
    one = {"hostname": "n1", "data": [1, None, 3]}
    load = {"node": {"timestep": 60, "series": [one, one | {"hostname": "n2"}]}, "socket": {"timestep": 60, "series": [one] * 2}, "core": {}}
    (tmp_path / "data.json").write_text(json.dumps({"load": load, "flops": {"core": {"timestep": 60, "series": [one] * 3}}}))
    archive = JobArchive({}, "instance", "")
    with pytest.raises(LayoutError, match=r"keep meta\.json, with startTime, beside it"):
        list(archive.series(tmp_path / "data.json", extraction))
    (tmp_path / "meta.json").write_text(json.dumps({"startTime": T0, "jobId": 7}))
    found = list(archive.series(tmp_path / "data.json", extraction))
    assert [labels for labels, *_ in found] == [{"__name__": "load", "host": node, "jobid": "7"} for node in ("n1", "n2")]
    assert found[0][1].tolist() == [T0, T0 + 60, T0 + 120]
    assert np.isnan(found[0][2]).tolist() == [False, True, False]
    assert extraction.left_out == {"parts of nodes": 5}


def test_what_is_no_series_in_a_job_is_put_aside_and_the_others_count(extraction, tmp_path):
    one = {"hostname": "n1", "data": [1, 2]}
    wrong = [5, {"hostname": "n1"}, one | {"data": [{}]}, one | {"data": ["1"]}, one | {"hostname": None}]
    metrics = {"load": {"node": {"timestep": 60, "series": [*wrong, one]}, "core": {"series": None}}, "a": [], "b": {"node": 5}}
    metrics |= {"c": {"node": {"series": [one]}}, "d": {"node": {"timestep": 60, "series": {"x": 1}}}, "e": {"core": {"series": "x"}}}
    (tmp_path / "meta.json").write_text(json.dumps({"startTime": T0}))
    (tmp_path / "data.json").write_text(json.dumps(metrics))
    extract(extraction, tmp_path / "data.json")
    assert (rows_of(extraction)["load::clustercockpit"].tolist(), dict(extraction.left_out)) == ([1, 2], {})
    odd = [(number, why) for _, number, why, _ in extraction.bad_lines]
    assert odd == [(1, "no series of a node")] * 5 + [(2, "no metric of a job"), (3, "no metric of a job"), (4, "no series of a node")] + [
        (5, "no metric of a job"), (6, "no metric of a job")
    ]  # fmt: skip
    (tmp_path / "meta.json").write_text("[]")
    with pytest.raises(LayoutError, match=r"keep meta\.json, with startTime, beside it"):
        extract(extraction, tmp_path / "data.json")


def test_fields_that_are_numbers_of_a_whole_node_are_values():
    found, counts = series_file.Pieces(), SimpleNamespace(left_out=Counter())
    record = {"name": "cpu", "timestamp": T0, "fields": {"idle": 1, "user": 2.5, "up": True, "text": "x"}, "tags": {"host": "n1", "cpu": "cpu-total"}}
    telegraf.add_fields(found, record, counts)
    telegraf.add_fields(found, record | {"tags": {"host": "n1", "cpu": "cpu0"}}, counts)
    telegraf.add_fields(found, {"timestamp": T0, "fields": {"x": 3}, "tags": None}, counts)
    idle, user = ({"__name__": f"cpu_{name}", "host": "n1"} for name in ("idle", "user"))
    assert found.rest() == [(idle, [T0], [1]), (user, [T0], [2.5]), ({"__name__": "_x"}, [T0], [3])]
    assert counts.left_out == {"single processors": 1}
    telegraf.add_fields(
        found, {"name": "net", "timestamp": T0, "fields": {"x": 4}, "tags": {"port": 5, "up": True, "host": "n1", "zone": None}}, counts
    )
    assert found.rest() == [({"__name__": "net_x", "host": "n1", "port": "5", "up": "true"}, [T0], [4])], "tags are text"


def test_pieces_are_given_away_as_soon_as_there_are_enough(monkeypatch):
    monkeypatch.setattr(series_file, "PIECE_VALUES", 2)
    found = series_file.Pieces()
    for _ in range(2):
        found.add((("a", "b"),), 1, 2)
        assert found.full() == ()
        found.add((("a", "b"),), 3, 4)
        assert found.full() == [({"a": "b"}, [1, 3], [2, 4])]
    assert found.rest() == []


def test_records_are_numbered_from_one_over_all_pages_of_a_file(extraction, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(1, 6)))
    found = series_file.numbered_records(tmp_path / "a.jsonl", extraction, chunk_rows=2)
    assert [(number, record["n"]) for number, record in found] == [(n, n) for n in range(1, 6)]


def test_the_label_that_is_named_comes_first_and_an_empty_one_names_no_job():
    assert job_in({"batch": "9", "jobid": "8"}, "batch") == "9"
    assert job_in({"hpc_job": "", "jobid": "8"}, "") == "8"
    assert job_in({"x": "1"}, "batch") is None
    assert metric_in({"__name__": "a", "device": "x" * 90}, set()) == ("a", "x" * 80)
    assert metric_in({"__name__": "a", "device": "", "mode": "idle"}, set()) == ("a", "idle")


def test_devices_are_added_up_where_there_are_more_than_the_most_and_four_such_metrics_are_named(extraction, monkeypatch):
    monkeypatch.setattr(series_of_nodes, "MANY_INSTANCES", 2)
    names = [("two", n) for n in range(2)] + [(f"m{i}", n) for i in range(5) for n in range(3)]
    series = [({"__name__": name, "device": f"d{n}", "host": "n1"}, np.array([T0]), np.array([1.0])) for name, n in names]
    extract_series(extraction, series, where="here", sampler="x", server=Exposition({}, "instance", ""))
    [row] = rows_of(extraction).drop(columns=["timestamp", "job_id"]).to_dict("records")
    assert row == {"two.d0::x": 1, "two.d1::x": 1} | {f"m{i}::x": 3 for i in range(5)}
    assert extraction.warnings == ["There are more than 2 devices on a node in m0, m1, m2, m3: these are added up."]


def test_of_two_metrics_for_one_quantity_of_a_gpu_the_better_counts(tmp_path):
    of = {"gpu": "0", "GPU_I_ID": "3", "Hostname": "g1:9400", "hpc_job": "7", "job": "dcgm"}
    values = {"DCGM_FI_PROF_GR_ENGINE_ACTIVE": [0.25, 0.5], "DCGM_FI_DEV_GPU_UTIL": [7.0]}
    values |= {"nvidia_smi_memory_used_bytes": [3 * 2**20], "nvidia_smi_memory_total_bytes": [2**23]}
    series = [({"__name__": name, **of}, T0 + 15.0 * np.arange(len(numbers)), np.array(numbers)) for name, numbers in values.items()]
    with extraction_into(tmp_path / "raw", EVER) as one:
        extract_series(one, series, where="here", sampler="x", server=Exposition({}, "instance", ""))
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")
    gpus = pd.read_parquet(tmp_path / "raw/gpus.parquet")
    assert gpus[["node_id", "gpu", "job_id"]].to_numpy().tolist() == [["g1", "0/3", "7"]] * 2
    assert gpus[["utilisation_pct", "memory_used_mib", "memory_total_mib"]].fillna(-1).to_numpy().tolist() == [[7, 3, 8], [50, -1, -1]]


def test_rows_of_one_processor_and_interrupts_are_left_out_of_sadf(extraction, tmp_path):
    at, first = "2026-01-31 10:00:00 UTC", "# hostname;interval;timestamp;"
    text = [f"{first}CPU;%user", f"n1;10;{at};-1;5", f"n1;10;{at};0;9", f"n1;-1;{at};LINUX-RESTART\t(2 CPU)", f"{first}IFACE;rxkB/s"]
    text += [f"n1;10;{at};eth0;1.5", f"{first}INTR;CPU*", f"n1;10;{at};9;1;2;3", f"{first}kbmemfree", f"n1;10;{at};7", "n1;10;5"]
    (tmp_path / "s.csv").write_text("\n".join(text))
    extract(extraction, tmp_path / "s.csv")
    [row] = rows_of(extraction).drop(columns=["timestamp", "job_id"]).to_dict("records")
    assert row == {"%user::sar": 5, "rxkB/s.eth0::sar": 1.5, "kbmemfree::sar": 7}
    assert extraction.left_out == {"interrupts": 1}
    assert [(line, reason) for _, line, reason, _ in extraction.bad_lines] == [(11, "3 columns, not 4")]


def test_rows_of_json_of_every_page_and_shape_are_kept(extraction, tmp_path, monkeypatch):
    rows = [{"ts": T0 + n, "node": "n1", ["load", "free"][n % 2]: n} for n in range(4)]
    monkeypatch.setattr(json_rows, "read_records", lambda path, fits: iter([(rows[:2], []), (rows[2:], [])]))
    json_rows.JsonRows({}).extract(str(tmp_path / "a.jsonl"), extraction)
    found = rows_of(extraction).sort_values("timestamp")
    assert found.load.fillna(found.free).tolist() == [0, 1, 2, 3]


def test_times_and_values_of_gpus_are_checked_as_those_of_nodes_are(extraction):
    labels, server = {"__name__": "DCGM_FI_DEV_GPU_UTIL", "Hostname": "g1", "gpu": "0"}, Exposition({}, "instance", "")
    extract_series(extraction, [(labels, np.array([T0]), np.array([np.inf]))], where="here", sampler="x", server=server)
    assert extraction.counts["unreadable"] == 1
    extract_series(extraction, [(labels, np.array([T0, np.nan, T0 + 15]), np.ones(3))], where="here", sampler="x", server=server)
    assert [line[:3] for line in extraction.bad_lines] == [("here", 0, "1 without time")]
    with pytest.raises(ValueError, match=r"^1 of 1 times cannot be read or lie before 1990, such as -5"):
        extract_series(extraction, [(labels, np.array([-5.0]), np.array([1.0]))], where="here", sampler="x", server=server)


def test_rows_of_json_without_what_the_user_names_are_one_line(extraction, tmp_path):
    (tmp_path / "a.jsonl").write_text(f'{{"t": {T0}, "n": "n1", "load": 1}}\n{{"t": {T0}, "beat": 1}}\n')
    with pytest.raises(ValueError, match=r"^it has no column 'n', but t, beat$"):
        json_rows.JsonRows({"timestamp": "t", "node_id": "n"}).extract(str(tmp_path / "a.jsonl"), extraction)
    with pytest.raises(ValueError, match=r"^a row lacks a time or a node, and has ts, load: name both"):
        json_rows.layout_of(["ts", "load"])


def test_rows_of_json_whose_values_the_user_names_are_those_of_a_table(extraction, tmp_path):
    path, columns = tmp_path / "cpu_idle-2026-01-31.jsonl", {"timestamp": "t", "node_id": "n", "value": "v"}
    path.write_text(f'{{"t": {T0}, "n": "n1", "v": 3, "what": "load"}}\n')
    json_rows.JsonRows(columns).extract(str(path), extraction)
    assert rows_of(extraction)["cpu_idle"].tolist() == [3], "it is called after the file"
    with pytest.raises(ValueError, match=r"^its metrics are in the column what: the parameter columns must name that of the values"):
        json_rows.JsonRows({"timestamp": "t", "node_id": "n", "metric": "what"}).extract(str(path), extraction)


@pytest.mark.parametrize(
    ("names", "is_row"), [(["ts", "node"], True), (["ts", "load"], False), (["node", "load"], False), (["time", "host", "dsnames"], False)]
)
def test_a_row_of_json_says_when_and_on_which_node(names, is_row):
    assert json_rows.is_row(names) is is_row
    assert json_rows.sampler_of("/d/meminfo.2026-01-31.jsonl.gz") == "meminfo"
