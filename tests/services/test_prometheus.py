"""1_extract of the telemetry study against a real Prometheus and a real VictoriaMetrics with a real node exporter, and what it says when one does
not answer.
"""

import json
import os
import re
import socket
import threading
import time

import pandas as pd
import prometheus_server
import pyarrow.dataset as ds
import pytest
import requests
from conftest import run_cells

from nightshift.live.samples import Pull, Samples, read_span
from nightshift.sources.looks import look_at_source
from nightshift.sources.prometheus import connect
from nightshift.sources.retries import TRIES
from nightshift.sources.telemetry.prometheus import Prometheus

NOTEBOOK = "telemetry/1_extract.ipynb"
DATA = "data/raw/telemetry"
EVERY_SECOND = {"step_s": 1.0, "chunk_points": 11000}
EMPTY = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}, "warnings": ["store b is down"]})


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    if lacking := prometheus_server.missing():
        pytest.skip(f"no Prometheus here: {', '.join(lacking)} missing")
    with prometheus_server.prometheus(tmp_path_factory.mktemp("prometheus")) as urls:
        yield urls


@pytest.fixture(scope="module", params=list(prometheus_server.SERVERS))
def server(request, tmp_path_factory):
    if request.param == "prometheus":
        yield request.getfixturevalue("prometheus")
        return
    if lacking := prometheus_server.missing(request.param):
        pytest.skip(f"no {request.param} here: {', '.join(lacking)} missing")
    with prometheus_server.prometheus(tmp_path_factory.mktemp(request.param), program=request.param) as urls:
        yield urls


def window(**parameters):
    """The parameters of a look at today, in few steps; in the first hour of a day at the day before as well, where servers may have begun."""
    now = pd.Timestamp.now("UTC")
    return {"day": str(now.date()), "days": 2 if now.hour == 0 else 1, "retry_wait_s": 0.01, "step_s": 600.0} | parameters


def exported(page):
    """{name: sum over all series, without loopback} of what the exporter says now."""
    lines = [line for line in requests.get(page, timeout=5).text.splitlines() if not line.startswith("#") and 'device="lo"' not in line]
    values = pd.DataFrame([line.rsplit(" ", 1) for line in lines], columns=["series", "value"]).astype({"value": float})
    names = values.series.str.replace(r'\{.*mode="(\w+)".*', r"_\1", regex=True).str.replace(r"\{.*", "", regex=True)
    return values.value.groupby(names).sum()


def test_values_are_those_of_the_exporters(server, tmp_path):
    url, page = server
    first = requests.get(f"{url}/api/v1/query", {"query": "min_over_time(timestamp(node_load1)[1m:1s])"}, timeout=5).json()
    began = float(first["data"]["result"][0]["value"][1])
    names, shown = run_cells(NOTEBOOK, tmp_path, source=url, **window(**EVERY_SECOND))
    after = exported(page)
    rows = ds.dataset(tmp_path / DATA / "nodes", partitioning="hive").to_table().to_pandas().sort_values("timestamp")
    assert set(rows.node_id) == {"127.0.0.1"}, "the port is cut off"
    assert len(rows) >= 5
    assert rows.timestamp.min().timestamp() >= began - 1
    assert rows.timestamp.diff().dropna().eq(pd.Timedelta("1s")).all()
    assert rows.job_id.isna().all()
    counters = {
        "cpu_user_seconds_total": "node_cpu_seconds_total_user",
        "cpu_idle_seconds_total": "node_cpu_seconds_total_idle",
        "context_switches_total": "node_context_switches_total",
        "network_receive_bytes_total": "node_network_receive_bytes_total",
    }
    for name, theirs in counters.items():
        values = rows[f"{name}::prometheus"].dropna()
        assert values.is_monotonic_increasing, name
        assert 0 <= after[theirs] - values.iloc[-1] < max(0.1 * after[theirs], 100), name
    assert rows["MemFree::prometheus"].iloc[-1] == pytest.approx(after["node_memory_MemFree_bytes"], rel=0.5)
    status = json.loads((tmp_path / DATA / "status.json").read_text())
    assert (status["state"], status["nodes"], status["bad_lines"]) == ("ok", 1, 0)
    assert status["metrics"] > 30
    assert re.search(r"\d+ metrics never had a value", shown)
    [warning] = [one for one in names["RECORDED"]["warnings"] if "scraped" in one]
    assert warning.startswith("1 node is scraped more than once (127.0.0.1; the series differ in job, pod): they are not added")
    modes = ["user", "system", "nice", "iowait", "irq", "softirq", "steal", "idle"]
    cores = rows[[f"cpu_{mode}_seconds_total::prometheus" for mode in modes]].sum(axis=1)
    rate = cores.diff().sum() / rows.timestamp.diff().dt.total_seconds().sum()
    assert rate == pytest.approx(os.cpu_count(), rel=0.35), "modes and processors are added up, jobs that scrape are not"


def test_what_a_stream_pulls_is_what_an_extraction_reads(server, tmp_path):
    url, _ = server
    metrics = {"load": "node_load1", "user": 'node_cpu_seconds_total{mode="user"}', "free": "node_memory_MemFree_bytes"}
    run_cells(NOTEBOOK, tmp_path, source=url, **window(metrics=metrics, **EVERY_SECOND))
    extracted = ds.dataset(tmp_path / DATA / "nodes", partitioning="hive").to_table().to_pandas().sort_values("timestamp")
    extracted = extracted.iloc[:-5]  # what is scraped late, and what VictoriaMetrics repeats until it shows the next sample
    source = Prometheus(metrics, "instance", "", 1.0, 3600, 5.0, None)
    pull = Pull(source, source.connect(url, set()), ["free::prometheus", "load::prometheus", "user::prometheus", "other::prometheus"])
    begin, end = extracted.timestamp.iloc[[0, -1]]
    span = read_span(pull, begin, end)
    assert (set(span.node_id), set(span.job_id)) == ({"127.0.0.1"}, {""})
    assert span.timestamp.astype("int64").tolist() == extracted.timestamp.astype("int64").tolist()
    for name in ("free::prometheus", "load::prometheus", "user::prometheus"):
        assert span[name].tolist() == extracted[name].tolist(), name
    assert span["other::prometheus"].isna().all(), "no query gives it"
    samples, last = Samples(length=len(span)), int(end.timestamp())
    for now in (last - 3, last):
        samples.update(pull, now)
    assert samples.values[("127.0.0.1", "")][:, 1].tolist() == extracted["load::prometheus"].tolist(), "what came later is put behind"


def test_a_look_says_how_many_nodes_there_are_now(server):
    settings = {"metrics": {}, "node_label": "instance", "job_label": "", "chunk_points": 3600, "timeout_s": 5.0, "columns": {}}
    [(_, seen)] = look_at_source("telemetry", server[0], window(**EVERY_SECOND | settings))
    assert (seen.problems, seen.notes) == ([], ["1 node"])
    assert pd.Timestamp.now("UTC") - seen.newest < pd.Timedelta("1min")


def test_gpus_of_all_kinds_of_exporter_become_one_table(server, tmp_path):
    names, _ = run_cells(NOTEBOOK, tmp_path, source=server[0], **window(metrics={"load": "node_load1"}, **EVERY_SECOND))
    gpus = pd.read_parquet(tmp_path / DATA / "gpus.parquet")
    assert gpus.groupby("gpu").size().min() >= 4
    last = gpus.drop_duplicates("gpu", keep="last").set_index("gpu")
    numbers = ["utilisation_pct", "memory_used_mib", "memory_total_mib", "power_w", "temperature_c"]
    assert last.loc["0", ["node_id", "job_id", "user"]].tolist() == ["gpu-node-1", "4711", "u001"]
    assert last.loc["0", numbers].tolist() == [97, 30000, 40000, 301.5, 71]
    assert last.loc["1", ["job_id", "user", "memory_total_mib", "power_w"]].isna().all()
    assert last.loc["1", ["utilisation_pct", "memory_used_mib"]].tolist() == [0, 5]
    assert last.loc["c", numbers].tolist() == [50, 1000, 4000, 120, 50]
    assert last.node_id["c"] == "127.0.0.1"
    assert last.loc["4/7", ["utilisation_pct", "memory_used_mib"]].tolist() == [25, 64], "a slice has a ratio only"
    amd = ["node_id", "job_id", "user", "utilisation_pct", "memory_used_mib", "memory_total_mib"]
    assert last.loc["2", amd].tolist() == ["gpu-node-3", "8", "u002", 88, 20000, 196608]
    assert last.loc["3", ["node_id", "utilisation_pct"]].tolist() == ["gpu-node-2", 11]
    assert pd.isna(last.power_w["3"]), "a blank of DCGM"
    assert [one for one in names["RECORDED"]["warnings"] if "no label" in one] == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"metrics": {"x": "sum(("}}, r"127\.0\.0\.1:\d+ refuses this: bad_data: .*parse error"),
        ({"days": 3, "chunk_points": 20000}, r"refuses this: bad_data: exceeded maximum resolution of 11,000 points"),
        ({"node_label": "host"}, r"a series has no label 'host' but job, pod: check the parameter node_label"),
    ],
    ids=["no PromQL", "too many points", "no such label"],
)
def test_what_a_prometheus_refuses_is_said_in_its_words(prometheus, tmp_path, parameters, message):
    with pytest.raises((ConnectionError, LookupError), match=message) as error:
        run_cells(NOTEBOOK, tmp_path, source=prometheus[0], **window(**EVERY_SECOND | parameters))
    assert len(str(error.value).splitlines()) == 1
    assert not list((tmp_path / DATA).iterdir())


@pytest.mark.parametrize(
    ("status", "text", "kind", "message"),
    [
        (401, "who are you?", ConnectionError, "refuses these credentials (401): check PROMETHEUS_TOKEN"),
        (404, "<html>\nno such page", ConnectionError, "is no Prometheus: 404: <html> no such page"),
        (200, "<html>please log in", ConnectionError, "is no Prometheus: 200: <html>please log in"),
        (503, '{"status": "error", "errorType": "timeout", "error": "query timed out"}', TimeoutError, "does not answer: timeout: query timed out"),
    ],
)
def test_an_answer_that_is_none_is_one_line(tmp_path, status, text, kind, message):
    asked = []
    with prometheus_server.answering(lambda headers: asked.append(1) or (status, text)) as port, pytest.raises(kind) as error:
        run_cells(NOTEBOOK, tmp_path, source=f"http://127.0.0.1:{port}", **window())
    assert str(error.value) == f"127.0.0.1:{port} {message}" + (", or PROMETHEUS_USER and _PASSWORD" if status == 401 else "")
    assert len(asked) == (6 if status == 503 else 1)


def test_native_histograms_are_named_and_left_out(tmp_path):
    """As the documentation of Prometheus 2.40 and later gives them: no Prometheus of Debian 12 has one of its own."""
    series = {"metric": {"instance": "n1:9100"}, "histograms": [[time.time(), {"count": "2", "sum": "3", "buckets": []}]]}
    answer = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}})
    with prometheus_server.answering(lambda headers: (200, answer)) as port:
        _, shown = run_cells(NOTEBOOK, tmp_path, source=f"http://127.0.0.1:{port}", **window(metrics={"duration": "request_duration_seconds"}))
    assert "an expression gives native histograms, which are no numbers: ask for" in shown
    assert json.loads((tmp_path / DATA / "status.json").read_text())["state"] == "empty"


def test_refused_and_silent_servers_are_one_line(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=r"^127\.0\.0\.1:\d+ does not answer: .*refused"):
            run_cells(NOTEBOOK, tmp_path, source=url, **window())
        silent.listen()
        with pytest.raises(TimeoutError, match=r"^127\.0\.0\.1:\d+ gives no answer within 0\.05 s"):
            run_cells(NOTEBOOK, tmp_path, source=url, **window(timeout_s=0.05))


def test_an_answer_that_is_cut_off_is_asked_for_again():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            for _ in range(TRIES):
                connection, _ = server.accept()
                with connection:
                    asked = b""
                    while b"step=" not in asked:
                        asked += connection.recv(65_536)
                    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status": ')

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        ask = connect(f"http://127.0.0.1:{port}", step_s=15.0, timeout_s=5.0, retry_wait_s=0.01, warned=set())
        with pytest.raises(TimeoutError, match=rf"^127\.0\.0\.1:{port} does not answer: its answer was cut off$"):
            ask("up", 0.0, 2)


@pytest.mark.parametrize(
    ("variables", "sent"),
    [({"PROMETHEUS_TOKEN": "abc"}, "Bearer abc"), ({"PROMETHEUS_USER": "u", "PROMETHEUS_PASSWORD": "p"}, "Basic dTpw"), ({}, "Basic bmV0OnJj")],
    ids=["token", "password", "netrc"],
)
def test_credentials_come_from_the_environment_or_netrc_and_failures_that_pass_are_tried_again(tmp_path, monkeypatch, variables, sent):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login net password rc\n")
    for name, value in (variables | {"NETRC": str(tmp_path / "netrc")}).items():
        monkeypatch.setenv(name, value)
    asked = []

    def answer(headers):
        asked.append(headers["Authorization"])
        return (503, "") if len(asked) < 3 else (200, EMPTY)

    with prometheus_server.answering(answer) as port:
        _, shown = run_cells(NOTEBOOK, tmp_path, source=f"http://127.0.0.1:{port}", **window(metrics={"load": "node_load1"}))
    assert set(asked) == {sent}
    assert len(asked) == 2 + window()["days"] * (1 + 1 + 5), "two failures; of each day one metric of nodes, what trainings wait, five of GPUs"
    assert "1 answers came with a warning that something is missing: store b is down" in shown
    assert json.loads((tmp_path / DATA / "status.json").read_text())["state"] == "empty"
