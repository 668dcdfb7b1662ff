"""What tables of node metrics say, in every form that LDMS, DCGM and a Prometheus give, with values asserted."""

import datetime
import gzip
import os
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tables as pytables

from nightshift.cleaning import telemetry_repeats
from nightshift.detectors import telemetry_sites
from nightshift.detectors.telemetry_history import little_history
from nightshift.sources import prometheus
from nightshift.sources.base import Head, file_sources, source_of
from nightshift.sources.files import LayoutError
from nightshift.sources.telemetry import cells, dcgm, dstat, ldms, nvidia_smi, opening, tables
from nightshift.sources.telemetry.advice import advice_on

T0 = 1769853600  # 2026-01-31 10:00 UTC
HEADER = "#Time,Time_usec,ProducerName,component_id,job_id,app_id,MemFree"


def column(*values):
    return pa.chunked_array([pa.array(list(values))])


def store(path, *, bad=None):
    """What a store says: rows of (time, node, job, {metric: value}) of all its parts, repeated headers left out."""
    rows, bad_lines = [], [] if bad is None else bad
    for names, pages, _ in ldms.read_store(path, bad_lines):
        layout, metrics = ldms.layout_of_store(names)
        pages, names = cells.split_arrays(pages)
        metrics = tables.split_metrics(metrics, names)
        for _, page in pages:
            times = ldms.exact_times(cells.times_of(page[layout["timestamp"]]), page, layout)
            jobs = ldms.without_no_job(cells.names_of(page[layout["job_id"]])) if "job_id" in layout else [None] * len(page)
            nodes = cells.names_of(page[layout["node_id"]])
            values = {metric: cells.numbers_of(page[name])[0].to_pylist() for name, metric in metrics.items()}
            measured = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
            rows += [one for one in zip(times, nodes, jobs, measured, strict=True) if one[0] is not pd.NaT]
    return rows


def lines(path, *text):
    data = ("\n".join(text) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


FORMS = {
    "classic": [HEADER, f"{T0}.000250,250,n1,1,41,0,7"],
    "with a mark of its encoding": ["\ufeff" + HEADER, f"{T0}.000250,250,n1,1,41,0,7"],
    "milliseconds": [HEADER.replace("#Time,", "#Time_msec,"), f"{T0}000,250,n1,1,41,0,7"],
    "quoted": ["#" + ",".join(f'"{name}"' for name in HEADER[1:].split(",")), f'{T0}.000250,250,"n1",1,41,0,7'],
    "quoted with its sign": [",".join(f'"{name}"' for name in HEADER.split(",")), f'{T0}.000250,250,"n1",1,41,0,7'],
    "old": [HEADER.replace(",", ", "), f"{T0}.000250, 250, n1, 1, 41, 0, 7"],
    "users' data": [HEADER.replace("MemFree", "MemFree.userdata,MemFree.value"), f"{T0}.000250,250,n1,1,41,0,99,7"],
    "function": ["#Time,Time_usec,DT,DT_usec,ProducerName,job_id,MemFree,MemFree.Flag,TimeFlag", f"{T0}.000250,250,1.0,0,n1,41,7,0,0"],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_store_says_the_same(tmp_path, form):
    path = lines(tmp_path / "meminfo.csv.gz", *FORMS[form])
    assert ldms.is_store(path)
    assert store(path) == [(pd.Timestamp(T0, unit="s", tz="UTC") + pd.Timedelta("250us"), "n1", "41", {"MemFree": 7.0})]


@pytest.mark.parametrize("job", ["0", " 0", "", "18446744073709551615", "4294967295"])
def test_what_stands_for_no_job_is_none(tmp_path, job):
    [(_, node, found, _)] = store(lines(tmp_path / "meminfo", HEADER.replace(",", ", "), f"{T0}.0, 0, n1, 1, {job}, 0, 7"))
    assert (node, found) == ("n1", None)


def test_a_header_lies_beside_and_rolled_files_share_the_one_before(tmp_path):
    row = f"{T0}.0,0,n1,1,41,0,"
    for at, value in ((100, 1), (200, 2), (300, 3)):
        lines(tmp_path / f"meminfo.{at}", row + str(value))
    lines(tmp_path / "meminfo.HEADER.100", HEADER)
    lines(tmp_path / "meminfo.HEADER.300", HEADER.replace("MemFree", "Active"))
    lines(tmp_path / "meminfo.KIND.100", "kinds")
    lines(tmp_path / "vmstat.HEADER", HEADER.replace("MemFree", "pgfault"))
    lines(tmp_path / "vmstat", row + "4")
    found = [store(tmp_path / name)[0][3] for name in ("meminfo.100", "meminfo.200", "meminfo.300", "vmstat")]
    assert found == [{"MemFree": 1}, {"MemFree": 2}, {"Active": 3}, {"pgfault": 4}]
    assert [path.name for path in sorted(tmp_path.iterdir()) if ldms.is_beside(path)] == [
        "meminfo.HEADER.100", "meminfo.HEADER.300", "meminfo.KIND.100", "vmstat.HEADER"]  # fmt: skip
    lines(tmp_path / "vmstat", row + "4,5")
    with pytest.raises(ValueError, match=r"^it has 8 columns, its header beside names 7$"):
        store(tmp_path / "vmstat")


def test_a_store_that_was_opened_again_repeats_its_header_or_begins_another(tmp_path):
    rows = [f"{T0 + i}.0,0,n1,1,41,0,{i}" for i in range(4)]
    bad = []
    same = store(lines(tmp_path / "a", HEADER, *rows[:2], HEADER, *rows[2:]), bad=bad)
    assert [one[3]["MemFree"] for one in same] == [0, 1, 2, 3]
    assert bad == []
    other = store(lines(tmp_path / "b", HEADER, *rows[:2], HEADER + ",Slab", rows[2] + ",9", rows[3], HEADER, rows[3]), bad=bad)
    assert [one[3] for one in other] == [{"MemFree": 0}, {"MemFree": 1}, {"MemFree": 2, "Slab": 9}, {"MemFree": 3}]
    assert [(file, row, reason) for file, row, reason, _ in bad] == [(str(tmp_path / "b"), 2, "7 columns, not 8")]


def test_arrays_in_a_cell_become_metrics_and_nothing_is_lost_without_a_count():
    pages = [(1, pa.table({"x": ["0:0:0", "1:2:3", None], "y": ["[4, 5]", "6", ""], "clock": ["10:00", "10:01", "10:02"], "name": ["a:b"] * 3})),
             (4, pa.table({"x": ["7:8:9:10"], "y": ["1"], "clock": [""], "name": [""]}))]  # fmt: skip
    split, names = cells.split_arrays(pages)
    first, second = (page for _, page in split)
    assert names == ["x.0", "x.1", "x.2", "y.0", "y.1", "clock", "name"]
    assert first["x.1"].to_pylist() == ["0", "2", None]
    assert first["y.1"].to_pylist() == ["5", None, None]
    assert cells.numbers_of(second["x.2"])[1] == 1, "what is beyond the third is counted as unreadable"
    assert tables.split_metrics({"x": "load::jobstat"}, names) == {f"x.{i}": f"load.{i}::jobstat" for i in range(3)}


def test_a_decimal_comma_is_no_array_and_times_are_none():
    page = pa.table({"time": ["1769853600,25", "1769853660,25"], "load": ["3,5", "4"], "list": ["[1, 2]", "[3, 4]"]})
    assert cells.split_arrays([(1, page.drop_columns("load"))], whole={"time"})[1] == ["time", "list.0", "list.1"]
    with pytest.raises(ValueError, match="its column load holds '3,5', a number with a decimal comma or an array of two"):
        cells.split_arrays([(1, page)], whole={"time"})


def test_an_index_without_a_name_is_no_metric_and_json_is_no_table():
    names = ["timestamp", "node_id", "value", "__index_level_0__"]
    assert tables.layout_of_table(names, {}, "cpu_idle.parquet")[1] == {"value": "cpu_idle"}
    with pytest.raises(ValueError, match="it is JSON, not a table"):
        tables.check_names(['{"status": "success"', '"data": {'])


@pytest.mark.parametrize("first", ["node_load1,nid00001:9100,4.5,1769853600", "nid00001,2026-01-31 10:00:00,4.5"])
def test_a_first_line_of_values_is_no_header(first):
    with pytest.raises(ValueError, match=r"a row of [34] values, names no columns: export it with its header"):
        tables.check_names(first.split(","))
    tables.check_names(["0", "1", "2026", "node_id"])  # short numbers may be names


@pytest.mark.parametrize("date", ["20260131", "2026/01/31", "2026-01-31"])
def test_a_monitor_of_gpus_writes_dates_with_and_without_strokes(tmp_path, date):
    (tmp_path / "host=gpu06").mkdir()
    path = lines(tmp_path / "host=gpu06/dmon.txt", "#Date Time gpu pwr sm", f"{date} 10:00:00 0 301 97")
    settings = {"columns": {}, "sampler": "", "counters": None, "node_label": "instance", "job_label": ""}
    look = source_of(file_sources("telemetry", settings), str(path)).look(str(path), settings=settings, folder=tmp_path)
    assert (look.newest, look.rows) == (pd.Timestamp("2026-01-31 10:00", tz="UTC"), 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['"Host:","n1"', '"system"', '"time"', '"31-01 10:00:00"'], "record with dool -T --output FILE"),
        (['"epoch"', '"epoch"', "1769853600"], "breaks off before its names of columns"),
        (['"Host:","n1"', '"epoch","total cpu usage"'], "breaks off before its names of columns"),
    ],
)
def test_a_recording_of_dool_without_epochs_or_host_is_one_line(tmp_path, rows, message):
    path = lines(tmp_path / "dool.csv", '"dool 1.3.8 CSV output"', *rows)
    with pytest.raises(LayoutError, match=message):
        list(dstat.read_dstat(path, []))


def test_a_store_without_nodes_is_one_line():
    with pytest.raises(ValueError, match="without a column of nodes: it needs one of ProducerName"):
        ldms.layout_of_store(["Time", "MemFree"])


# --------------------------------------------------------------------------------------------------------------- records


def instances(*rows, **more):
    """(columns that tell apart, how, {metric: value} of all) of rows (second, node, name, value)."""
    page = pa.table({"t": [str(T0 + r[0]) for r in rows], "n": [r[1] for r in rows], "name": [r[2] for r in rows], "rx": [str(r[3]) for r in rows]})
    layout, metrics = {"timestamp": "t", "node_id": "n"}, {"name": "name", "rx": "rx::net"}
    pages, found, how, texts = tables.find_instances([(1, page)], layout, metrics)
    metrics = {name: metric for name, metric in metrics.items() if name not in {*texts, *found}}
    pages = tables.long_pages(pages, layout, metrics, found, how, lambda column, metric: cells.numbers_of(column)[0])
    table = pa.concat_tables([page for _, page in pages]).to_pandas() if how else None
    return found, how, None if table is None else list(zip(table["metric name"], table["metric value"], strict=True))


def test_rows_of_a_moment_that_a_text_tells_apart_are_metrics_of_their_own():
    found, how, values = instances((0, "n1", "lo", 1), (0, "n1", "hsn0", 5), (1, "n1", "lo", 2), (1, "n1", "hsn0", 9), (0, "n2", "lo", 3))
    assert (found, how) == (["name"], "instance")
    assert values == [("rx.lo::net", 1), ("rx.hsn0::net", 5), ("rx.lo::net", 2), ("rx.hsn0::net", 9), ("rx.lo::net", 3)]


def test_very_many_instances_are_added_up_without_loopback():
    found, how, values = instances(*((0, "n1", "lo" if i == 0 else f"task{i}", i) for i in range(70)))
    assert (found, how) == (["name"], "sum")
    assert {metric for metric, _ in values} == {"rx::net"}
    assert len(values) == 69


def test_copies_and_a_text_that_tells_nothing_apart_need_no_instances():
    assert instances((0, "n1", "a", 1), (0, "n1", "a", 1), (1, "n1", "b", 2))[:2] == ([], "")


def test_rows_that_nothing_tells_apart_are_one_line():
    with pytest.raises(ValueError, match=r"^50% of its rows differ from another row of the same node and moment, first on n1 at \d+, and no column"):
        instances((0, "n1", "a", 1), (0, "n1", "a", 2), (1, "n1", "a", 1), (1, "n1", "a", 3))


def test_an_index_tells_apart_where_no_text_does_and_two_columns_where_one_does_not():
    page = pa.table({"t": ["1"] * 4, "n": ["a"] * 4, "port": ["0", "1"] * 2, "device": ["x", "x", "y", "y"], "v": ["1", "2", "3", "4"]})
    keys = page.select(["t", "n"]).to_pandas()
    assert tables.tell_apart(keys, page, ["device", "port"]) == (["device", "port"], 0.75)
    assert tables.tell_apart(keys, page, ["v"])[0] == ["v"]
    assert tables.instance_names(page, ["device", "port"]).tolist() == ["x/0", "x/1", "y/0", "y/1"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("/d/plugin=ganglia_pub/metric=cpu_idle/a_0.parquet", "cpu_idle"), ("/d/sensor=fan%2F1/part-0.parquet", "fan/1"),
     ("/d/cpu_idle.csv.gz", "cpu_idle"),
     ("/d/part-00000-1a2b.parquet", ""), ("/d/a_0.parquet", ""), ("/d/values_2026-01-31.csv", "")],
)  # fmt: skip
def test_the_path_names_a_metric(path, name):
    partitions = tables.partitions_of(path)
    assert tables.metric_in_path(path, partitions) == name
    layout, metrics = tables.layout_of_table(["timestamp", "node_id", "value", *partitions], {}, path)
    assert metrics == {"value": name or "value"}
    assert layout == {"timestamp": "timestamp", "node_id": "node_id"}


def test_one_metric_of_two_plugins_keeps_the_names_of_both():
    paths = [f"/d/month={month}/plugin={plugin}/metric=load/a_0.parquet" for month in (1, 2) for plugin in ("ganglia", "ipmi")]
    assert tables.metrics_in_several_places(paths) == {"load"}
    assert tables.metrics_in_several_places([*paths[::2], "/d/plugin=ipmi/metric=fan/a_0.parquet"]) == set()
    names = ["timestamp", "node_id", "value", "month", "plugin", "metric"]
    assert tables.layout_of_table(names, {}, paths[1], {"load"})[1] == {"value": "load::ipmi"}


def test_a_table_that_nobody_knows_names_what_it_has_and_needs():
    with pytest.raises(ValueError, match=r"it lacks the columns node_id and timestamp, which the parameter columns can name.*has host, when, x"):
        tables.layout_of_table(["host", "when", "x"], {}, "x.csv")
    with pytest.raises(ValueError, match="must name that of the values"):
        tables.layout_of_table(["h", "t", "m"], {"node_id": "h", "timestamp": "t", "metric": "m"}, "x.csv")


def test_rows_of_one_moment_are_copies_fill_gaps_or_contradict():
    group, time = np.array([0, 0, 1, 1, 2, 2, 0]), np.array([0.0, 0, 5, 5, 9, 9.2, 0])
    values = np.array([[1, np.nan], [1, np.nan], [2, 3], [2, 4], [5, 6], [7, 6], [np.nan, 8]])
    why, merged = telemetry_repeats.resolve_repeats(group, time, values)
    assert why.tolist() == ["", telemetry_repeats.COPY, "", telemetry_repeats.CONTRADICTION, "", telemetry_repeats.TOO_SOON, ""]
    assert merged[0].tolist() == [1, 8]
    assert telemetry_repeats.resolve_repeats(group[:0], time[:0], values[:0])[0].tolist() == []


def test_parts_that_share_a_metric_are_one_source_and_files_of_one_metric_each_are_not():
    parts = [(1, ["a::mem", "b::mem"]), (2, ["b::mem", "c::mem"]), (3, ["idle"]), (4, ["load"]), (5, ["idle"]), (6, ["x::cpu"])]
    assert telemetry_repeats.group_parts(parts) == {"mem": [1, 2], "idle": [3, 5], "load": [4], "cpu": [6]}


# ------------------------------------------------------------------------------------------------------- times and numbers


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T11:00:00+01:00", "2026-01-31 10:00:00 UTC", "2026-01-31T10:00:00,000Z", "20260131100000", "202601311000", f"{T0}.0"],
)
def test_a_time_is_read_in_many_forms(text):
    assert cells.times_of(column(text)).tolist() == [pd.Timestamp(T0, unit="s", tz="UTC")]
    assert cells.times_of(column("20260131")).tolist() == [pd.Timestamp("2026-01-31", tz="UTC")]


@pytest.mark.parametrize(
    ("texts", "message"),
    [(["31/01/2026 10:00"] * 3, "3 of 3 times in the column when cannot be read, such as '31/01/2026 10:00'"),
     (["0.5", "1.5"], "the times in the column when lie before 1990, such as '0.5'")],
)  # fmt: skip
def test_times_that_cannot_be_read_are_refused_with_an_example(texts, message):
    with pytest.raises(ValueError, match=message):
        tables.check_times(cells.times_of(column(*texts)), "when", texts)
    tables.check_times(cells.times_of(column(str(T0), "noon", None)), "when", [str(T0), "noon", None])


def test_numbers_that_stand_for_no_value_are_missing_and_counted():
    signs = ["18446744073709551615", "4294967295", "9223372036854775794", "140737488355328"]
    values, unreadable, blank = cells.numbers_of(column(*signs, "12", "x"))
    assert values.to_pylist() == [None] * 4 + [12.0, None]
    assert (unreadable, blank) == (1, 4)
    assert cells.numbers_of(column(-1, 50, 3))[0].to_pylist() == [None, 50, 3]
    assert cells.numbers_of(column(-1, -2, 30))[2] == 0, "what is negative now and then is no sign"
    assert cells.numbers_of(column(-1, 0, 1))[2] == 0
    assert cells.numbers_of(column(2.0**51, 1.0), "MemFree::meminfo")[0].to_pylist() == [None, 1]
    assert cells.numbers_of(column(2.0**51, 1.0), "rx_bytes::net")[2] == 0


def test_what_no_gpu_can_have_is_missing():
    gpus = pd.DataFrame({"power_w": [300.0, 2.0**47, -3], "temperature_c": [65.0, 2147483632, 201], "utilisation_pct": [0.0, 100, 101]})
    gpus = gpus.assign(memory_used_mib=[1.0, 2.0**63, 5], memory_total_mib=[2.0, 9, 4])
    kept, counts = dcgm.blank_impossible(gpus)
    assert kept.power_w.notna().tolist() == kept.temperature_c.notna().tolist() == [True, False, False]
    assert kept.memory_used_mib.notna().tolist() == [True, False, False]
    assert counts == {"power_w": 2, "temperature_c": 2, "utilisation_pct": 1, "memory_used_mib": 2}


def test_either_name_of_the_host_is_taken_and_what_lacks_is_named():
    for host in ("Hostname", "hostname"):
        names = ["timestamp", host, "gpu", "DCGM_FI_DEV_GPU_UTIL"]
        assert dcgm.is_gpu_table(names)
        assert dcgm.layout_of_gpus(names) == {"timestamp": "timestamp", "node_id": host, "gpu": "gpu", "utilisation_pct": "DCGM_FI_DEV_GPU_UTIL"}
        assert dcgm.host_of({host: "gn01:9400", "instance": "10.0.0.1:9400"}) == "gn01"
    assert dcgm.host_of({"instance": "10.0.0.1:9400"}) == ""
    with pytest.raises(ValueError, match=r"lacks node_id \(Hostname, hostname"):
        dcgm.layout_of_gpus(["timestamp", "gpu", "DCGM_FI_DEV_GPU_UTIL"])


# ------------------------------------------------------------------------------------------------------------- prometheus


def test_series_that_differ_in_who_scrapes_them_are_one_and_sums_stay_sums():
    at = np.arange(3)
    labels = [{"instance": "n1:9100", "job": "a"}, {"instance": "n1:9100", "job": "b", "replica": "1"}, {"instance": "n2:9100", "job": "a"}]
    values = [np.array([1.0, 5, np.nan]), np.array([2.0, 4, 6]), np.array([7.0, 8, 9])]
    merged, twice = prometheus.merge_scrapes([*zip(labels, [at] * 3, values, strict=True)], lambda found: prometheus.node_of(found, "instance"))
    assert {key: found[1].tolist() for key, found in merged.items()} == {"n1": [2, 5, 6], "n2": [7, 8, 9]}
    assert twice == {"n1": ["job", "replica"]}
    assert prometheus.scraped_twice_sentence(twice).startswith("1 node is scraped more than once (n1; the series differ in job, replica)")
    assert prometheus.scraped_twice_sentence({}) == ""
    query = prometheus.summed("node_cpu_seconds_total", ["instance", "job"])
    assert query.startswith("sum by (instance, job, exported_job, replica,")
    assert query.endswith(") (node_cpu_seconds_total)")
    assert not {"mode", "cpu", "device"} & set(query[8 : query.index(")")].split(", "))


def test_the_end_of_an_address_is_no_port():
    names = ["n1:9100", "n1", "[2001:db8::11]:9100", "2001:db8::11", "2001:db8::12", "a:b:9100", "10.0.0.1:9400"]
    without = ["n1", "n1", "[2001:db8::11]", "2001:db8::11", "2001:db8::12", "a:b", "10.0.0.1"]
    assert [prometheus.node_of({"node": name}, "node") for name in names] == without
    assert [dcgm.host_of({"Hostname": name}) for name in names] == without


def test_a_job_that_follows_another_is_no_second_scrape():
    parts = [({"instance": "n1", "job": "old"}, np.array([0, 1]), np.array([1.0, 2]))]
    parts += [({"instance": "n1", "job": "new"}, np.array([2]), np.array([3.0]))]
    merged, twice = prometheus.merge_scrapes(parts, lambda labels: labels["instance"])
    assert merged["n1"][1].tolist() == [1, 2, 3]
    assert twice == {}


# ------------------------------------------------------------------------------------------------------- sites and history


def test_sites_are_the_first_group_and_a_pattern_that_fits_nothing_is_said():
    pattern = "(.+)-[ng][0-9]+"
    assert [telemetry_sites.site_of(node, pattern) for node in ("ember-n01", "login", "x-g7")] == ["EMBER", "", "X"]
    assert telemetry_sites.site_of("a-n1", "") == telemetry_sites.site_of("a-n1", "(x)?.*") == ""
    sentence = telemetry_sites.unmatched_pattern(["login"], pattern)
    assert sentence.startswith("site_pattern '(.+)-[ng][0-9]+' names the site of none of 1 nodes, such as login")
    assert telemetry_sites.unmatched_pattern(["login", "a-n1"], pattern) == telemetry_sites.unmatched_pattern([], pattern) == ""
    for bad, message in (("a(", "is no regular expression"), ("abc", "has no group")):
        with pytest.raises(ValueError, match=message):
            telemetry_sites.check_site_pattern(bad)


def test_too_little_history_is_said_with_what_would_be_enough():
    assert "it takes 199, that is more healthy days or labels" in little_history(150, 0.005, 1, 10)
    assert little_history(199, 0.005, 1, 10) == ""
    assert "5 incidents must be as strange at once on 8 nodes; about 1,000 healthy windows" in little_history(200, 0.005, 5, 8)
    assert little_history(200, 0.005, 4, 8) == little_history(200, 0.005, 1, 1) == ""


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (
            b"Linux 6.1.0 (n1) \t01/31/26 \t_x86_64_\t(2 CPU)\n\n10:00:00  CPU  %user\n",
            "it is sar's table for people, which is not read: print it with sadf -d",
        ),
        (b"n1\t60\t2026-01-31 10:00:00 UTC\tall\t%user\t84.58\n", "it is the output of sadf -p, which is not read: print it with sadf -d"),
        (b"10:00:00 UTC; CPU; -1; %user; 100245; 100414;\n", "it is the output of sadf -r"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE sysstat PUBLIC "x">\n', "it is the output of sadf -x, which is not read"),
        (b"\x96\xd5\x75\x21\x0c\x06\x01\x00" + bytes(400), "it is a data file of sysstat, which is not read: print it with sadf -d"),
        (b"AAA,progname,nmon\nAAA,version,16n\n", "it is a recording of nmon"),
        (b"RESET\nCPU n1 1769853600 2026/01/31 10:00:00 855 100 2\n", "it is the output of atop -P"),
        (b"cpu,cpu=cpu0,host=n1 usage_idle=98.5,usage_user=1\n", "it is InfluxDB's line protocol without times, which is not read: write it"),
        (b"<html><body>Log in</body></html>\n", "it is XML, which is not read: of XML, pages of Ganglia are read"),
    ],
)
def test_another_form_of_a_known_producer_is_refused_with_the_form_that_is_read(tmp_path, content, advice):
    path = tmp_path / "n1.txt"
    path.write_bytes(content)
    kinds = file_sources("telemetry", {"columns": {}, "sampler": "", "counters": None, "node_label": "instance", "job_label": ""})
    with pytest.raises(LayoutError) as refused:
        source_of(kinds, str(path)).extract(str(path), None)
    assert advice in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "first",
    [
        "timestamp,node,MemFree",
        "epoch,rx,tx",
        "#Time,Time_usec,ProducerName",
        "# hostname;interval;timestamp;CPU;%user",
        'up{a="b"} 1 2',
        "node, a=b c=d",
    ],
)
def test_what_is_read_is_not_taken_for_another_form(tmp_path, first):
    (tmp_path / "a.txt").write_text(first + "\n")
    assert advice_on(Head(tmp_path / "a.txt")) is None


@pytest.mark.parametrize(("form", "texts"), [("fixed", False), ("table", False), ("fixed", True)])
def test_a_long_file_of_hdf5_is_read_by_pages(tmp_path, form, texts):
    """70,000 rows: two pages of numbers; with text, of which pandas reads all for each page, one."""
    table = pd.DataFrame({"load": np.arange(70_000.0), "free": 1.5}, index=pd.Index(np.arange(70_000), name="#Time"))
    table = table.assign(host="n1") if texts else table
    table.to_hdf(tmp_path / "run.h5", key="data", format=form)
    names, pages = opening.read_hdf(tmp_path / "run.h5")
    assert names == ["#Time", *table]
    pages = list(pages)
    assert [(first, len(page)) for first, page in pages] == ([(1, 70_000)] if texts else [(1, 65_536), (65_537, 4_464)])
    assert np.concatenate([page["load"].to_numpy() for _, page in pages]).tolist() == table.load.tolist()
    assert opening.read_hdf(tmp_path / "run.h5", 3)[0] == names
    assert [len(page) for _, page in opening.read_hdf(tmp_path / "run.h5", 3)[1]] == [3]


class Named:
    """What pickle writes as a call of `function` by its name."""

    def __init__(self, function, *positional):
        self.call = function, positional

    def __reduce__(self):
        return self.call


@pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")
@pytest.mark.parametrize("where", ["a column", "an attribute", "a part of a class"])
def test_no_program_in_hdf5_is_run(tmp_path, where):
    path, made = tmp_path / "run.h5", tmp_path / "made"
    object_ = Named(getattr, datetime.date, "today") if where == "a part of a class" else Named(os.mkdir, str(made))
    table = pd.DataFrame({"#Time": [0, 1], "load": [1.0, 2.0]})
    if where != "an attribute":
        table["x"] = pd.Series([object_, object_], dtype=object)
    table.to_hdf(path, key="data")
    if where == "an attribute":
        with pytables.open_file(path, "a") as file:
            file.root.data._v_attrs.info = object_
    with pytest.raises(ValueError, match=r"it holds Python objects that may be programs, and are not read \((posix\.mkdir|getattr of today)\)"):
        opening.read_hdf(path)
    assert not made.exists()
    path.unlink()  # and it is not left open
    table[["load"]].to_hdf(path, key="data")
    assert opening.read_hdf(path)[0] == ["load"]


@pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")
def test_numbers_texts_and_times_in_objects_of_hdf5_are_read(tmp_path):
    path, at = tmp_path / "run.h5", pd.date_range("2026-01-31", periods=3, freq="h", tz=ZoneInfo("Europe/Berlin"))
    mixed = pd.Series(["n1", datetime.date(2026, 1, 31), Decimal("1.5")], dtype=object)
    table = pd.DataFrame(
        {"mixed": mixed, "array": pd.Series([np.float64(1), np.arange(2), pd.NaT], dtype=object), "at": pd.Series(list(at), dtype=object)}
    )
    table.to_hdf(path, key="data")
    read = opening.hdf_rows(path, 0, 3)
    assert read.mixed.tolist() == mixed.tolist()
    assert read["at"].tolist() == list(at)
    assert read.array[1].tolist() == [0, 1]
    pd.DataFrame({"load": 1.0}, index=at).to_hdf(path, key="data", format="table", mode="w")
    assert opening.hdf_rows(path, 0, 3).index.equals(at)


# ------------------------------------------------------------------------------------------------------ cells at their edges


def test_a_clock_that_was_never_set_is_told_from_what_is_no_time():
    assert cells.times_of(column(-5, 0, T0)).isna().tolist() == [True, False, False]
    assert cells.times_of(column(0.0, T0 + 0.5)).dt.year.tolist() == [1970, 2026]


def test_names_that_are_numbers_are_whole_where_the_numbers_are():
    assert cells.names_of(column(12.0, 1.5, None)).tolist() == ["12", "1.5", None]
    assert cells.names_of(column(" n1 ", "", None)).tolist() == ["n1", None, None]
    assert cells.names_of(column(12.0, np.nan)).tolist() == ["12", None], "no job is none called nan"


@pytest.mark.parametrize(
    ("values", "numbers", "unreadable"),
    [(["1", None, "x"], [1, None, None], 1), (["x", "y"], [None, None], 2), ([1.0, np.nan, np.inf, None], [1, None, None, None], 1),
     (["1", "", " ", "nan", " NaN", "x", None], [1, *[None] * 6], 1), ([None, None], [None, None], 0), ([], [], 0)],
)  # fmt: skip
def test_cells_that_are_no_number_are_counted_and_empty_ones_are_not(values, numbers, unreadable):
    found, n = cells.finite_numbers(column(*values))
    assert (found.to_pylist(), n) == (numbers, unreadable)


@pytest.mark.parametrize(
    ("values", "name", "blank"),
    [([2.0**31 - 16], "", [True]), ([2.0**31 - 17], "", [False]), ([2.0**63 - 2.0**12], "", [True]), ([2.0**63 - 2.0**12 - 2.0**10], "", [False]),
     ([2.0**50], "MemFree", [True]), ([2.0**50 - 1], "MemFree", [False]), ([2.0**50], "rx", [False]),
     ([-1, 0, 10], "", [True, False, False]), ([-1, 9.5], "", [False, False]), ([-1, -2, 10], "", [False] * 3), ([], "", [])],
)  # fmt: skip
def test_what_stands_for_no_value_is_told_by_its_size_its_name_and_the_others(values, name, blank):
    assert cells.is_blank(np.array(values, float), name).tolist() == blank


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)])
def test_lists_of_every_kind_become_metrics(kind):
    page = pa.table({"x": pa.array([[1, 2], [3, None], None], kind), "whole": pa.array([[1, 2]] * 3, kind)})
    pages, names = cells.split_arrays([(1, page)], whole={"whole"})
    assert names == ["x.0", "x.1", "whole"]
    [(_, split)] = pages
    assert [split[name].to_pylist() for name in names[:2]] == [["1", "3", None], ["2", None, None]]
    assert cells.split_arrays([(1, page.slice(0, 0))])[1] == ["x", "whole"]


@pytest.mark.parametrize("one", [["[7]", "[]", None, "[ 8.5 ]"], [[7], [], None, [8.5]]])
def test_lists_of_one_element_are_metrics_too_and_null_is_no_value(one):
    """As of a node with one GPU, and at a moment without any."""
    page = pa.table({"one": one, "two": ["[1, null]", "[]", "[2,3]", "[NaN, 4]"], "none": ["[]"] * 4, "text": ["[a]", "[]", "[7]", "[8]"]})
    pages, names = cells.split_arrays([(1, page), (5, page)])
    assert names == ["one.0", "two.0", "two.1", "none", "text"]
    for _, split in pages:
        numbers = {name: cells.numbers_of(split[name]) for name in names[:3]}
        assert [values.to_pylist() for values, *_ in numbers.values()] == [[7, None, None, 8.5], [1, None, 2, None], [None, None, 3, 4]]
        assert [unreadable for _, unreadable, _ in numbers.values()] == [0, 0, 0]


def test_forty_letters_of_a_decimal_comma_are_shown():
    with pytest.raises(ValueError, match=f"column x holds '1,{'2' * 38}', a number with a decimal comma"):
        cells.refuse_decimal_commas("x", column("1," + "2" * 50))


# ----------------------------------------------------------------------------------------------------- tables at their edges


@pytest.mark.parametrize(
    ("values", "is_text"),
    [(["a", "b"], True), (["a", "1"], False), (["a", None], True), (["ERR", "NA", None], False), (["ERR", "a"], True), ([None, None], False)],
)
def test_a_column_of_words_is_text_however_they_are_kept(values, is_text):
    texts = pa.array(values, pa.string())
    page = pa.table(
        {"plain": texts, "long": texts.cast(pa.large_string()), "categories": texts.dictionary_encode(), "numbers": [1, 2, 3][: len(texts)]}
    )
    assert tables.text_columns(page, page.column_names) == (["plain", "long", "categories"] if is_text else [])


def test_as_few_columns_as_suffice_tell_rows_apart():
    page = pa.table({"t": ["1"] * 4, "device": ["x", "x", "y", "y"], "of": ["z"] * 4, "port": ["0", "1"] * 2, "v": ["1", "2", "3", "4"]})
    assert tables.tell_apart(page.select(["t"]).to_pandas(), page, ["device", "of", "port"]) == (["device", "port"], 0.75)


def test_an_instance_is_called_by_eighty_letters_without_marks_of_names():
    page = pa.table({"a": ["x" * 90, "a::b|c", None], "b": ["1", "2", "3"]})
    assert tables.instance_names(page, ["a"]).tolist() == ["x" * 80, "a:b_c", "none"]
    assert tables.instance_names(page, ["a", "b"])[2] == "none/3"


def test_a_quarter_of_rows_that_nothing_tells_apart_is_let_through_and_sixty_four_instances_are_metrics():
    rows = [(0, "n1", "a", 1), (0, "n1", "a", 2), (1, "n1", "a", 1), (2, "n1", "a", 3)]
    assert instances(*rows)[:2] == ([], "")
    with pytest.raises(ValueError, match=r"^33% of its rows"):
        instances(*rows[:3])
    assert instances(*((0, "n1", f"task{i}", i) for i in range(64)))[:2] == (["name"], "instance")


@pytest.mark.parametrize(
    ("path", "columns", "names", "metrics"),
    [("/d/cpu_idle.csv", {}, ["timestamp", "node_id", "value", "load"], {"value": "value", "load": "load"}),
     ("/d/metric=idle/a_0.csv", {}, ["timestamp", "node_id", "value", "quality", "metric"], {"value": "idle", "quality": "quality"}),
     ("/d/cpu_idle.csv", {"timestamp": "t", "node_id": "n", "value": "v"}, ["t", "n", "v", "w"], {"v": "cpu_idle"}),
     ("/d/cpu_idle.csv", {}, ["timestamp", "node_id", "value", "data"], {"value": "value", "data": "data"})],
)  # fmt: skip
def test_one_column_without_a_name_is_called_after_the_folder_and_after_the_file_where_it_is_alone(path, columns, names, metrics):
    assert tables.layout_of_table(names, columns, path)[1] == metrics


def test_a_column_that_is_named_and_not_there_is_one_line():
    with pytest.raises(ValueError, match=r"it has no column 'when', but t, n$"):
        tables.named_layout(["t", "n"], {"timestamp": "when", "node_id": "n"})


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "b", "b"], "two of its columns are called 'b'"), (["{"], "it is JSON"), (["["], "it is JSON"), (["[{'a'"], "it is JSON"),
     (["1769853600"], "a row of 1 values")],
)  # fmt: skip
def test_names_that_are_none_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        tables.check_names(names)


def test_half_of_the_times_may_be_odd_and_the_first_of_1990_is_a_time():
    def check(*texts):
        tables.check_times(cells.times_of(column(*texts)), "when", list(texts))

    check("0.5", str(T0))
    check("1990-01-01")
    with pytest.raises(ValueError, match="lie before 1990, such as '1989-12-31'"):
        check("1989-12-31")
    with pytest.raises(ValueError, match=f"1 of 1 times in the column when cannot be read, such as '{'x' * 60}': a time is"):
        check("x" * 70)


def test_folders_say_what_the_file_does_not():
    assert tables.partitions_of("/d/a=1/b=/=c/x=%2F/file=1.csv") == {"a": "1", "x": "/"}
    page = pa.table({"host": ["n1"], "load": [1]})
    names, pages = tables.add_partitions(["host", "load"], [(4, page)], {"host": "x", "rack": "r"})
    [(first, whole)] = pages
    assert (names, first, whole.to_pydict()) == (["host", "load", "rack"], 4, {"host": ["n1"], "load": [1], "rack": ["r"]})
    assert tables.add_partitions(["a"], [], {"a": "1"}) == (["a"], [])


def test_files_without_a_folder_of_their_metric_do_not_share_one():
    assert tables.metrics_in_several_places(["/d/rack=a/cpu.csv", "/d/rack=b/cpu.csv"]) == set()


# ---------------------------------------------------------------------------------------------------------- rarer forms


def test_rows_before_a_header_within_have_that_beside_or_the_first_that_there_is(tmp_path):
    row = f"{T0}.0,0,n1,1,41,0,"
    lines(tmp_path / "meminfo.HEADER.100", HEADER)
    lines(tmp_path / "meminfo.50", row + "1")
    lines(tmp_path / "meminfo.100", row + "1", row + "2", HEADER, row + "3")
    lines(tmp_path / "meminfo.200", row + "1", row + "2", HEADER + ",Slab", row + "3,9")
    assert [one[3] for one in store(tmp_path / "meminfo.50")] == [{"MemFree": 1}]
    assert [one[3] for one in store(tmp_path / "meminfo.100")] == [{"MemFree": 1}, {"MemFree": 2}, {"MemFree": 3}]
    assert [one[3] for one in store(tmp_path / "meminfo.200")] == [{"MemFree": 1}, {"MemFree": 2}, {"MemFree": 3, "Slab": 9}]
    assert not ldms.is_store(lines(tmp_path / "meminfo.300", "# a remark", row + "1"))


def test_an_unreadable_fraction_leaves_the_time_as_it_is():
    page = pa.table({"Time": [f"{T0}.5"] * 2, "Time_usec": ["250", None]})
    exact = ldms.exact_times(cells.times_of(page["Time"]), page, {"timestamp": "Time", "Time_usec": "Time_usec"})
    assert [at.microsecond for at in exact] == [250, 500_000]


def test_a_recording_of_dool_is_read_row_by_row_by_both_lines_of_names(tmp_path, monkeypatch):
    monkeypatch.setattr(dstat, "PAGE_ROWS", 2)
    names = ['"Host:","n1",,,,"User:","root"', '"epoch","total cpu usage",,"memory usage"', '"epoch","usr","sys","used"']
    rows = ["1,0,0,0", f"{T0},1,2,3", f"{T0 + 1},4,5", f"{T0 + 2},6,7,8", f"{T0 + 3},9", f"{T0 + 4},{'x' * 600}"]
    path, bad = lines(tmp_path / "dool.csv", '"dool 1.3.8 CSV output"', *names, *rows), []
    [(names, pages)] = [(names, list(pages)) for names, pages in dstat.read_dstat(path, bad)]
    assert names == ["epoch", "total_cpu_usage_usr", "total_cpu_usage_sys", "memory_usage_used", "host"]
    assert [(first, page["epoch"].to_pylist()) for first, page in pages] == [(1, [str(T0)]), (3, [str(T0 + 2)]), (5, [])]
    assert pages[1][1]["host"].to_pylist() == ["n1"]
    assert [(row, why) for _, row, why, _ in bad] == [(2, "3 columns, not 4"), (4, "2 columns, not 4"), (5, "2 columns, not 4")]
    assert [len(text) for *_, text in bad] == [len(f"{T0},4,5"), len(f"{T0},9"), 500]


def test_a_recording_of_dool_that_is_begun_again_in_one_file_has_means_and_names_once_more(tmp_path):
    """Both dool and dstat add to a file that is there: two empty lines, their head, means since the machine was started, rows."""
    host = ['"Host:","n1",,,,"User:","root"', '"Cmdline:","dool -T",,,,"Date:","31 Jan 2026"', ""]
    cpu = ['"epoch","total cpu usage",', '"epoch","usr","sys"']
    memory = ['"epoch","memory usage",', '"epoch","used","free"']
    text = [*host, *cpu, "1,0,0", f"{T0},1,2", "", "", *host, *cpu, "1,0,0", f"{T0 + 1},3,4", "", "", *host, *memory, "1,0,0", f"{T0 + 2},5,6"]
    path, bad, found = lines(tmp_path / "dool.csv", '"dool 1.3.8 CSV output"', *text, *host, '"usr","sys"', "7,8"), [], []
    for names, pages in dstat.read_dstat(path, bad):
        found.append((names, [row for _, page in pages for row in zip(*page.to_pydict().values(), strict=True)]))
    assert found == [
        (["epoch", "total_cpu_usage_usr", "total_cpu_usage_sys", "host"], [(str(T0), "1", "2", "n1"), (str(T0 + 1), "3", "4", "n1")]),
        (["epoch", "memory_usage_used", "memory_usage_free", "host"], [(str(T0 + 2), "5", "6", "n1")]),
    ]
    assert [(why, shown) for _, _, why, shown in bad] == [("no epoch", "usr,sys"), ("no epoch", "7,8")], "of the last, which was begun without -T"


def test_cells_of_nvidia_smi_lose_their_units_and_what_says_no_value():
    cells_of = {"timestamp": ["2026/01/31 10:00:00.0"] * 3, "power.draw [W]": ["61.25 W", "[N/A]", "[Unknown Error]"], "index": ["0", "1", "2"]}
    found = {"timestamp": "timestamp", "gpu": "index", "power_w": "power.draw [W]", "memory_used_mib": "memory.used", "temperature_c": None}
    assert nvidia_smi.readable(pa.table(cells_of | {"memory.used": ["5 MiB", "-", "N/A"]}), found, host="g1").to_pydict() == {
        "timestamp": ["2026-01-31 10:00:00.0"] * 3,
        "gpu": ["0", "1", "2"],
        "power_w": ["61.25", None, None],
        "memory_used_mib": ["5", None, None],
        "node_id": ["g1"] * 3,
    }
    assert nvidia_smi.host_of_file(["timestamp", "Host"], "/d/a.csv") == ("Host", None)
    assert nvidia_smi.host_of_file(["timestamp"], "/d/host=g1/a.csv") == (None, "g1")


def test_a_monitor_repeats_its_header_and_may_change_it(tmp_path, monkeypatch):
    monkeypatch.setattr(nvidia_smi, "PAGE_ROWS", 2)
    header, row, bad = ("#Date Time gpu pwr", "# YYYYMMDD HH:MM:SS Idx W"), "20260131 10:00:0{0} 0 {0}", []
    path = lines(tmp_path / "dmon.txt", *header, row.format(1), row.format(2), *header, row.format(3), "broken", "#Date Time gpu sm", row.format(9))
    pages = [(names[-1], [one[names[-1]] for one in rows]) for names, rows in nvidia_smi.rows_of_monitor(path, bad)]
    assert pages == [("pwr", ["1", "2"]), ("pwr", ["3"]), ("sm", ["9"])]
    assert bad == [(path, 8, "1 columns, not 4", "broken\n")]
    path = lines(tmp_path / "once.txt", header[0], *(row.format(n) for n in range(5)))
    assert [len(rows) for _, rows in nvidia_smi.rows_of_monitor(path, bad)] == [2, 2, 1], "whether the header is repeated or not"


@pytest.mark.parametrize(
    ("first", "is_one"),
    [("# gpu pwr sm", True), ("# gpu sm", True), ("# gpu pid type sm", False), ("gpu pwr sm", False), ("# gpu fb", False), ("# pwr sm", False)],
)
def test_a_monitor_of_devices_is_none_of_processes(tmp_path, first, is_one):
    assert nvidia_smi.SmiMonitor({}).recognises(Head(lines(tmp_path / "dmon.txt", first))) is is_one


KINDS = [
    ("n1/load/load-2026-01-31", "epoch,value", "a file of collectd (plugin csv)"),
    ("a.csv", 'Time,"kernel.all.load-1 minute"', "the CSV of pmrep (PCP)"),
    ("host=g1/a.csv", "timestamp, index, utilization.gpu [%]", "a table of nvidia-smi"),
    ("a.csv", "timestamp,gpu,Hostname,x", "a table of a GPU exporter (DCGM)"),
    ("a.csv", "job_id,anomaly", "a table of labels"),
    ("meminfo.csv", HEADER, "a store of LDMS (store_csv)"),
    ("a.csv", "when,host,load", "a table of nodes (CSV, Parquet or HDF5)"),
    ("a.csv", "timestamp,gpu,load", "a table of nodes (CSV, Parquet or HDF5)"),
    ("a.csv", "timestamp,Hostname,load", "a table of nodes (CSV, Parquet or HDF5)"),
    ("plugin=ipmi/metric=fan/a_0.parquet", ["timestamp", "value", "node"], "a partition of ExaMon (one metric)"),
    ("metric=fan/a_0.parquet", ["timestamp", "value", "node"], "a table of nodes (CSV, Parquet or HDF5)"),
    ("a.parquet", ["timestamp", "producer", "MemFree"], "rows of LDMS in Parquet"),
    ("a.parquet", ["timestamp", "producer", "node_id", "MemFree"], "a table of nodes (CSV, Parquet or HDF5)"),
    ("a.parquet", ["producer", "MemFree"], "a table of nodes (CSV, Parquet or HDF5)"),
]


@pytest.mark.parametrize(("name", "content", "label"), KINDS)
def test_a_file_is_of_the_kind_that_it_shows_and_of_nodes_where_the_user_names_its_columns(tmp_path, name, content, label):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        pd.DataFrame({one: ["1"] for one in content}).to_parquet(path)
    else:
        lines(path, content)

    def kind_of(columns):
        return source_of(file_sources("telemetry", {"columns": columns, "node_label": "instance", "job_label": ""}), str(path)).label

    assert kind_of({}) == label
    assert kind_of({"timestamp": "t"}) == "a table of nodes (CSV, Parquet or HDF5)"


def test_a_long_parquet_file_is_read_by_pages(tmp_path):
    pd.DataFrame({"load": np.arange(70_000.0)}).to_parquet(tmp_path / "a.parquet")
    names, pages = opening.read_parquet(tmp_path / "a.parquet")
    assert (names, [(first, len(page)) for first, page in pages]) == (["load"], [(1, 65_536), (65_537, 4_464)])
    groups = pd.DataFrame({"load": np.arange(100_000), "node_id": pd.Categorical(["n1"] * 100_000)})
    groups.to_parquet(tmp_path / "b.parquet", row_group_size=50_000)
    _, pages = opening.read_parquet(tmp_path / "b.parquet")
    numbers = [(first, page["load"].to_pylist()) for first, page in pages]  # with categories a page ends where a row group does
    assert [number for _, some in numbers for number in some] == [*range(100_000)]
    assert all(some[0] == first - 1 for first, some in numbers)


# ----------------------------------------------------------------------------------------------------------------- GPUs


def test_memory_that_is_all_used_is_possible_and_a_slice_is_a_gpu_of_its_own():
    full = pd.DataFrame({"memory_used_mib": [5.0], "memory_total_mib": [5.0]})
    assert dcgm.blank_impossible(full)[0].to_numpy().tolist() == [[5, 5]]
    assert [dcgm.number_of(labels) for labels in ({"gpu": "0", "GPU_I_ID": "3"}, {"gpu": "", "UUID": "u"}, {})] == ["0/3", "u", ""]
    assert dcgm.first_label({"user": "", "account_user": "u"}, "user") == "u"


def test_a_server_is_asked_for_every_name_of_a_quantity_in_its_unit():
    asked = dcgm.queries()
    activity = '{__name__=~"(amd_)?gpu_gfx_activity",gpu_id!=""}'
    ratios = "100 * nvidia_smi_utilization_gpu_ratio", "100 * DCGM_FI_PROF_GR_ENGINE_ACTIVE"
    assert asked["utilisation_pct"] == f"DCGM_FI_DEV_GPU_UTIL or {ratios[0]} or {activity} or {ratios[1]}"
    total, used = (f"9.5367431640625e-07 * nvidia_smi_memory_{which}_bytes" for which in ("total", "used"))
    vram, used_vram = ('{__name__=~"(amd_)?' + name + '",gpu_id!=""}' for name in ("gpu_total_vram", "gpu_used_vram"))
    assert asked["memory_free_mib"] == f"DCGM_FI_DEV_FB_FREE or ({total} - {used}) or ({vram} - {used_vram})"
