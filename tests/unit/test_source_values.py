"""What sources read, by hand and at the edges: ends of files, moments and counts, events of other transfer services, looks at several files."""

import gzip
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import requests

from nightshift.sources import excerpts, looks, prometheus
from nightshift.sources.addresses import is_server, live_words
from nightshift.sources.base import Look
from nightshift.sources.retries import TRIES, patient
from nightshift.sources.times import as_iso, day_order, digits_of, has_zone, in_utc, is_missing, microseconds, number_times, read_times, week_of
from nightshift.sources.transfers import dcache, fts, fts_jobs, globus, gridftp

# ------------------------------------------------------------------------------------------------------- ends of files


@pytest.fixture
def few(monkeypatch):
    """Excerpts of three rows at each end, of files of more than 20 bytes."""
    monkeypatch.setattr(excerpts, "ROWS", 3)
    monkeypatch.setattr(excerpts, "SMALL", 20)


def lines_of(path):
    return Path(path).read_text().splitlines()


@pytest.mark.parametrize(("size", "name", "is_small"), [(20, "a.csv", True), (21, "a.csv", False), (5, "a.csv.gz", False)])
def test_a_file_is_small_up_to_its_limit_and_plain(few, tmp_path, size, name, is_small):
    (tmp_path / name).write_bytes(b"x" * size)
    assert excerpts.is_small(tmp_path / name) == is_small
    if is_small:
        assert excerpts.excerpt_of_text(tmp_path / name, tmp_path) == (str(tmp_path / name), True)
        assert excerpts.excerpt_of_prose(tmp_path / name, tmp_path) == (str(tmp_path / name), True)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_an_excerpt_has_the_first_lines_and_the_last(few, tmp_path, name):
    (tmp_path / "out").mkdir()
    with (gzip.open if name.endswith("gz") else open)(tmp_path / name, "wt") as file:
        file.writelines(f"{n:02}\n" for n in range(30))
    path, has_end = excerpts.excerpt_of_text(tmp_path / name, tmp_path / "out")
    assert (path, has_end) == (str(tmp_path / "out/a.csv"), True)
    assert [int(line) for line in lines_of(path)] == [0, 1, 2, 27, 28, 29]


def test_what_is_not_reached_in_time_has_no_end(few):
    assert excerpts.both_ends(range(10)) == ([0, 1, 2, 7, 8, 9], True)
    assert excerpts.both_ends(range(5)) == ([0, 1, 2, 3, 4], True)
    assert excerpts.both_ends(range(2)) == ([0, 1], True)
    assert excerpts.both_ends(range(10), patience_s=-1) == ([0, 1, 2], False)


def test_a_line_ends_where_a_file_says_so_and_not_at_other_marks(few, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f'"{n}\u2028\x85"\n' for n in range(9)), encoding="utf-8")
    (tmp_path / "out").mkdir()
    path, _ = excerpts.excerpt_of_text(tmp_path / "a.jsonl", tmp_path / "out")
    texts = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    assert texts[:3] == [f'"{n}\u2028\x85"' for n in range(3)]
    assert texts[3:] == [f'"{n}\u2028\x85"' for n in (7, 8)], "the last 20 bytes hold two whole lines"


def test_a_small_array_is_read_as_it_is(few, tmp_path):
    (tmp_path / "a.json").write_text('[{"n": 1}]')
    assert excerpts.excerpt_of_records(tmp_path / "a.json", tmp_path) == (str(tmp_path / "a.json"), True)


def test_records_of_an_array_become_lines(few, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"n": n} for n in range(9)]))
    (tmp_path / "out").mkdir()
    path, has_end = excerpts.excerpt_of_records(tmp_path / "a.json", tmp_path / "out")
    assert ([json.loads(line)["n"] for line in lines_of(path)], has_end) == ([0, 1, 2, 6, 7, 8], True)


@pytest.mark.parametrize(
    ("text", "n_lines", "has_end"), [('a\nb\n"c\nd"\ne\nffffffffffffff\n', 4, False), ('aaaaaaaaaaaaaaaaaaaaaaaaa\nb\n"c\nd"\n', 4, True)]
)
def test_cells_of_prose_are_cut_where_every_quote_is_closed(few, tmp_path, text, n_lines, has_end):
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "out").mkdir()
    path, reached = excerpts.excerpt_of_prose(tmp_path / "a.csv", tmp_path / "out")
    assert (lines_of(path), reached) == (text.splitlines()[:n_lines], has_end)


def test_an_excerpt_of_parquet_has_the_first_rows_and_those_of_its_last_group(few, tmp_path):
    pd.DataFrame({"n": range(20)}).to_parquet(tmp_path / "a.parquet", row_group_size=8)  # the last group has four
    (tmp_path / "out").mkdir()
    path, has_end = excerpts.excerpt_of_parquet(tmp_path / "a.parquet", tmp_path / "out")
    assert (pd.read_parquet(path).n.tolist(), has_end) == ([0, 1, 2, 17, 18, 19], True)


# --------------------------------------------------------------------------------------------------------------- looks


def a_look(**more):
    return Look(**({"label": "x"} | more))


def test_looks_at_files_of_a_kind_are_added_up():
    whole, day = a_look(total=0), [pd.Timestamp(f"2026-01-{n:02}", tz="UTC") for n in (1, 2, 3, 4)]
    looks.add(whole, a_look(n_files=1, rows=5, bad=1, total=7, oldest=day[1], newest=day[2], notes=["n"], problems=["p"], filled={"a"}))
    looks.add(whole, a_look(n_files=1, rows=2, bad=2, total=3, oldest=day[0], newest=day[1], notes=["n", "m"], problems=["p"], filled={"b"}))
    assert (whole.n_files, whole.rows, whole.bad, whole.total, whole.oldest, whole.newest) == (2, 7, 3, 10, day[0], day[2])
    assert (whole.notes, whole.problems, whole.filled) == (["n", "m"], ["p", "p"], {"a", "b"})
    looks.add(whole, a_look(n_files=1, total=None))
    assert (whole.total, whole.oldest, whole.newest) == (None, day[0], day[2])


def test_the_first_the_last_and_the_newest_file_are_read_and_the_others_recognised(tmp_path, monkeypatch):
    files, read = [tmp_path / f"{n}" for n in range(5)], []
    for n, path in enumerate(files):
        path.write_text("" if n == 3 else "x")
        os.utime(path, (100 + (n == 1), 100 + (n == 1)))
    monkeypatch.setattr(
        looks, "look_at_file", lambda sources, path, settings: (read.append((path.name, settings)), (None, a_look(n_files=1, total=1)))[1]
    )
    [(_, whole)] = looks.look_at_files([], files, "s")
    assert read == [("0", "s"), ("4", "s"), ("1", "s"), ("2", None)]
    assert (whole.n_files, whole.total, whole.notes) == (4, 4, ["1 of 5 files are empty"])
    read.clear()
    monkeypatch.setattr(looks, "PATIENCE_S", -1)
    looks.look_at_files([], files, "s")
    assert [name for name, _ in read] == ["0", "4", "1"], "those that must be read are, whatever the time"
    [(source, nothing)] = looks.look_at_files([], files[3:4], "s")
    assert (source, nothing.problems) == (None, ["every file is empty: export the source again"])
    assert (looks.newest(files), looks.newest([])) == ([files[1]], [])


def test_a_word_that_names_a_server_is_no_path():
    assert "sacct" in live_words()
    assert is_server("sacct")
    assert is_server("https://x")
    assert not is_server("data/sacct")
    assert not is_server("never_heard_of")
    assert not any("://" in word for word in live_words())


def test_a_server_is_asked_six_times_at_most(monkeypatch):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    asked = []

    def ask():
        asked.append(1)
        raise TimeoutError

    for ask_again, n in ((patient(ask, 1.0), TRIES), (patient(ask, None), 1)):
        asked.clear()
        with pytest.raises(TimeoutError):
            ask_again()
        assert len(asked) == n


def answered(status, content, text=""):
    """What `requests` gives for an answer of a Prometheus; content None is no JSON."""
    return SimpleNamespace(status_code=status, text=text, json=lambda: content if content is not None else json.loads(text))


@pytest.mark.parametrize(
    ("answer", "kind", "line"),
    [
        (answered(401, {}), ConnectionError, r"^h refuses these credentials \(401\): check PROMETHEUS_TOKEN"),
        (answered(403, None, "no"), ConnectionError, r"^h refuses these credentials \(403\)"),
        (answered(429, {}), TimeoutError, r"^h does not answer: 429:$"),
        (answered(500, {"errorType": "internal", "error": "x"}), TimeoutError, r"^h does not answer: internal: x$"),
        (answered(499, {"errorType": "bad_data", "error": "y" * 300}), ConnectionError, f"^h refuses this: bad_data: {'y' * 240}$"),
        (answered(200, None, "<html>\n  hello"), ConnectionError, r"^h is no Prometheus: 200: <html> hello$"),
    ],
)  # fmt: skip
def test_what_is_no_answer_of_a_prometheus_is_one_line(answer, kind, line):
    with pytest.raises(kind, match=line):
        prometheus.series_of(answer, "h", set())


def test_moments_of_an_answer_are_counted_from_the_first_that_was_asked_for(monkeypatch):
    asked, warned = [], set()
    result = [{"metric": {"a": "b"}, "values": [[100, "1"], [130.2, "NaN"]]}, {"metric": {"__name__": "h"}, "histograms": [[100, {}]]}]

    def post(session, url, data, timeout):
        asked.append((url, data, timeout))
        return answered(200, {"status": "success", "warnings": ["w"], "data": {"result": result}})

    monkeypatch.setattr("requests.Session.post", post)
    ask = prometheus.connect("http://h:9090/", step_s=15.0, timeout_s=7.0, retry_wait_s=None, warned=warned)
    [(labels, at, values)] = ask("up", 100, 3)
    assert asked == [("http://h:9090/api/v1/query_range", {"query": "up", "start": 100, "end": 130, "step": 15}, 7)]
    assert (labels, at.tolist(), np.nan_to_num(values, nan=-1).tolist()) == ({"a": "b"}, [0, 2], [1, -1])
    assert sorted(warned)[0].startswith("h gives native histograms")
    assert sorted(warned)[1:] == ["w"]


def test_an_answer_of_a_prometheus_that_breaks_off_is_asked_for_again(monkeypatch):
    asked = []

    def post(session, url, data, timeout):
        asked.append(url)
        if len(asked) < 3:
            raise requests.exceptions.ChunkedEncodingError("Connection broken: IncompleteRead(7 bytes read)")
        return answered(200, {"status": "success", "data": {"result": []}})

    monkeypatch.setattr("requests.Session.post", post)
    settings = {"step_s": 15.0, "timeout_s": 7.0, "warned": set()}
    assert prometheus.connect("http://h:9090", retry_wait_s=0, **settings)("up", 100, 3) == []
    assert len(asked) == 3
    asked.clear()
    with pytest.raises(TimeoutError, match=r"^h:9090 does not answer: its answer was cut off$"):
        prometheus.connect("http://h:9090", retry_wait_s=None, **settings)("up", 100, 3)


def test_three_nodes_that_are_scraped_twice_are_named():
    sentences = [prometheus.scraped_twice_sentence({f"n{i}": ["job"] for i in range(n)}) for n in (3, 4)]
    assert sentences[0].startswith("3 nodes are scraped more than once (n0, n1, n2; the series differ in job)")
    assert sentences[1].startswith("4 nodes are scraped more than once (n0, n1, n2 and others; the series differ in job)")


# ------------------------------------------------------------------------------------------------------------- moments


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("31.01.69", "2069-01-31T00:00:00"), ("31.01.70", "1970-01-31T00:00:00"), ("31.01.99", "1999-01-31T00:00:00"),
        ("2026/1/3", "2026-01-03T00:00:00"),
        ("2026-01-31 12:05 am", "2026-01-31T00:05:00"), ("2026-01-31 12:05 pm", "2026-01-31T12:05:00"), ("2026-01-31 1:05 pm", "2026-01-31T13:05:00"),
        ("2026-01-31 0:05 pm", ""), ("2026-01-31 13:05 pm", ""), ("31 Dez 2026, 10:00 CET", "2026-12-31T10:00:00+01:00"),
        ("31 Foo 2026", "2026-00-31T00:00:00"),
        ("05/05/2026", "2026-05-05T00:00:00"), ("05/06/2026", ""), ("31.01.2026 10:00:01,5 MESZ", "2026-01-31T10:00:01.5+02:00"),
    ],
)  # fmt: skip
def test_one_date_is_written_as_iso(text, iso):
    assert as_iso(text) == iso


def test_the_order_of_day_and_month_is_told_by_numbers_above_twelve():
    assert as_iso("05/06/2026", "day first") == "2026-06-05T00:00:00"
    assert as_iso("05/06/2026", "month first") == "2026-05-06T00:00:00"
    assert as_iso("31.01.26", short_years=False) == ""
    orders = [day_order(texts) for texts in (["13/12/2026"], ["12/13/2026"], ["12/12/2026"], ["13/12/2026", "12/13/2026"], ["13.12.2026"])]
    assert orders == ["day first", "month first", None, "both", None]


@pytest.mark.parametrize(
    ("number", "us"),
    [(1e8 - 1, None), (1e8, 1e14), (1e11 - 1, 1e17 - 1e6), (1e11, 1e14), (1e14, 1e14), (1e17, 1e14), (1e20, None), (1769853600.5, 1769853600500000)],
)
def test_the_size_of_a_count_tells_its_unit(number, us):
    found = microseconds(pd.Series([number]).to_numpy())[0]
    assert np.isnan(found) if us is None else found == pytest.approx(us, rel=1e-15)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (20260131, "2026-01-31"), (202601311005, "2026-01-31 10:05"), (20260131100507, "2026-01-31 10:05:07"), (19000101, "1900-01-01"),
        (20991231, "2099-12-31"), (18991231, None), (21000000, None), (20261301, "NaT"), (20260131.5, None),
    ],
)  # fmt: skip
def test_digits_are_a_date_of_two_centuries(number, moment):
    found = digits_of(pd.Series([float(number)]))
    assert len(found) == (moment is not None)
    if moment:
        assert found.iloc[0] is pd.NaT if moment == "NaT" else found.iloc[0] == pd.Timestamp(moment, tz="UTC")


def test_numbers_of_a_column_keep_their_places_and_the_beginning_of_a_clock_is_none():
    found = number_times(pd.Series([1769853600.0, 20260131.0, 5.0]))
    assert [str(one) for one in found] == ["2026-01-31 10:00:00+00:00", "2026-01-31 00:00:00+00:00", "NaT"]
    times = read_times(pd.Series(["1970-01-01T23:59:59", "1970-01-02T00:00:00", "2026-01", "2026-01-31"]))
    assert times.isna().tolist() == [True, False, True, False]
    assert read_times(pd.Series(["2026-01-31 10:00", "2026-01-31 10:00Z", 1769853600]), "Europe/Berlin").dt.hour.tolist() == [9, 10, 10]


def test_times_of_a_clock_that_changes():
    twice, never = pd.Series(pd.to_datetime(["2026-10-25 02:30"])), pd.Series(pd.to_datetime(["2026-03-29 02:30"]))
    assert in_utc(twice, "Europe/Berlin").dt.hour.tolist() == [0]
    assert in_utc(twice, "Europe/Berlin", first=False).dt.hour.tolist() == [1]
    assert in_utc(twice, "Europe/Berlin", first="NaT").isna().all()
    assert in_utc(never, "Europe/Berlin")[0] == pd.Timestamp("2026-03-29 01:00", tz="UTC")
    assert in_utc(never, "Europe/Berlin", gap="NaT").isna().all()


def test_what_says_that_there_is_no_moment_and_what_names_its_zone():
    assert is_missing(pd.Series(["-1", "0.0", "N/A", None, "0000-00-00", "-2", "2026", "1970-01-01T00:00"])).tolist() == [True] * 5 + [False] * 2 + [
        True
    ]
    zoned = [
        "2026-01-31T10:00Z",
        "2026-01-31 10:00 gmt",
        "2026-01-31T10:00+01",
        "1769853600",
        "1769853600.5",
        "1769853600000",
        "2026-01-31T10:00",
        "12345678",
    ]
    assert has_zone(pd.Series(zoned)).tolist() == [True] * 6 + [False] * 2
    monday = week_of(pd.Series(pd.to_datetime(["2026-01-26 00:00:00", "2026-02-01 23:59:59", None], utc=True)))
    assert monday[:2].tolist() == [pd.Timestamp("2026-01-26", tz="UTC")] * 2
    assert monday.isna()[2]


# --------------------------------------------------------------------------------------------------- transfer services

BILLING = (
    '01.31 10:01:00 [pool:p1:transfer] [0000AA,{size}] [/a b] g:s@osm {size} 1500 {to} {{Http-1.1:{client}:0:d}} [{door}] {{{code}:"{message}"}}'
)


def billed(to="true", client="192.0.2.7", door="door:W@d:A:1", code=0, message=""):
    return dcache.event_of(BILLING.format(size=20, to=to, client=client, door=door, code=code, message=message), "2026")


def test_a_transfer_of_dcache_goes_from_the_client_to_the_pool_or_back():
    event = billed()
    ends = {"src-rse": "192.0.2.7", "dst-rse": "p1", "bytes": 20, "name": "/a b", "protocol": "http", "transfer-endpoint": "W@d", "reason": ""}
    times = {"submitted_at": "2026-01-31 10:00:58.500000", "transferred_at": "2026-01-31 10:01:00", "event_type": "transfer-done"}
    assert {name: event[name] for name in ends | times} == ends | times
    assert event["request-id"] == "p1/0000AA/door:W@d:A:1/2026-01-31 10:01:00"
    back = billed("false", "2001:db8:0:0:0:0:0:1", "door", 666, "no room")
    ends = {"src-rse": "p1", "dst-rse": "2001:db8:0:0:0:0:0:1", "event_type": "transfer-failed", "reason": "no room", "transfer-endpoint": None}
    assert {name: back[name] for name in ends} == ends
    assert billed(code=5)["reason"] == "code 5"
    assert dcache.event_of("01.31 10:01:00 [pool:p1:remove] [x]", "2026") is None
    for line in ("01.31 10:01:00 [pool:p1:transfer] [x]", "nothing"):
        with pytest.raises(ValueError, match="no whole line"):
            dcache.event_of(line, "2026")
    assert [dcache.is_no_comment(line) for line in ("# x", " \n", "x")] == [False, False, True]


def test_a_line_of_gridftp_says_which_end_its_server_is():
    line = "DATE=20260131100100.5 HOST=h START=20260131100000 FILE=/a b NBYTES=7 DEST=1[d] TYPE={} CODE={}"
    event = gridftp.as_event(line.format("STOR", 226))
    ends = {"src-rse": "d", "dst-rse": "h", "bytes": 7, "name": "/a b", "event_type": "transfer-done", "reason": "", "transfer-endpoint": "h"}
    times = {"started_at": "2026-01-31 10:00:00", "transferred_at": "2026-01-31 10:01:00.5"}
    assert {name: event[name] for name in ends | times} == ends | times
    failed = gridftp.as_event(line.format("RETR", 500).replace("1[d]", "e"))
    assert [failed[name] for name in ("src-rse", "dst-rse", "event_type", "reason")] == ["h", "e", "transfer-failed", "code 500"]
    assert gridftp.as_event(line.format("MLSD", 226)) is None, "the listing of a folder"
    for wrong, error in ((line.format("SITE", 226), "it is no transfer"), (line.format("RETR", 226).replace("20260131100000", "2026"), "is no time")):
        with pytest.raises(ValueError, match=error):
            gridftp.as_event(wrong)
    with pytest.raises(KeyError, match="TYPE"):
        gridftp.as_event("DATE=20260131100100.5 HOST=h")


def test_a_task_of_globus_is_a_transfer_when_it_has_ended():
    task = {"task_id": "t", "request_time": "2026-01-31T10:00", "completion_time": "2026-01-31T11:00", "status": "FAILED", "bytes_transferred": 9}
    task |= {"source_endpoint_display_name": "A", "destination_endpoint_display_name": "", "destination_endpoint_id": "b", "label": "l"}
    event = globus.as_event(task | {"fatal_error": {"description": "no"}, "nice_status": "bad"})
    wanted = {"src-rse": "A", "dst-rse": "b", "event_type": "transfer-failed", "bytes": 9, "reason": "no", "started_at": "2026-01-31T10:00"}
    assert {name: event[name] for name in wanted} == wanted
    assert (globus.as_event(task | {"nice_status": "bad"})["reason"], event["transferred_at"]) == ("bad", "2026-01-31T11:00")
    others = [task | {"status": "ACTIVE"}, task | {"type": "DELETE"}, task | {"type": "TRANSFER", "status": "SUCCEEDED"}]
    listed = {"DATA_TYPE": "task_list", "DATA": [task, *others, {"task_id": "x"}, 5]}
    events, n_others = globus.GlobusTasks.events_of(None, [listed, {"x": 1}])
    assert ([one["event_type"] for one in events], n_others) == (["transfer-failed", "transfer-done"], 2)
    assert globus.tasks_of({"DATA_TYPE": "task_list", "DATA": None}) == []


def test_a_job_of_fts_has_an_event_of_each_file_that_has_ended():
    one = {
        "file_state": "FINISHED",
        "source_surl": "davs://a.example/x",
        "dest_surl": "root://b.example/x",
        "filesize": 0,
        "user_filesize": 5,
        "file_id": 3,
    }
    job = {"job_id": "j", "submit_time": "s", "finish_time": "f", "vo_name": "v", "files": [one, one | {"file_state": "ACTIVE"}]}
    [event] = fts_jobs.events_of(job)
    wanted = {"src-rse": "a.example", "dst-rse": "b.example", "event_type": "transfer-done", "request-id": "j/3", "transfer-id": "j", "vo": "v"}
    wanted |= {"protocol": "root", "submitted_at": "s", "transferred_at": "f", "src-url": "davs://a.example/x"}
    assert {name: event[name] for name in wanted} == wanted
    named = fts_jobs.events_of(job | {"files": [one | {"finish_time": "g", "file_metadata": {"request_id": "r", "src_rse": "A", "activity": "a"}}]})
    [event] = named
    assert [event[name] for name in ("request-id", "src-rse", "dst-rse", "activity", "transferred_at")] == ["r", "A", "b.example", "a", "g"]
    assert [event["protocol"] for url in (None, "b/x") for event in fts_jobs.events_of(job | {"files": [one | {"dest_surl": url}]})] == ["", ""]
    events, n_others = fts_jobs.FtsJobs.events_of(None, [job, {"files": []}, {"job_id": "k", "submit_time": "s", "files": []}])
    assert (len(events), n_others) == (1, 2)


def test_a_message_of_fts_is_an_event_when_its_transfer_has_ended():
    record = {
        "tr_id": "2026__a__b",
        "t_final_transfer_state": "Ok",
        "src_hostname": "a",
        "dst_hostname": "b",
        "dst_url": "davs://b/x",
        "activity": "w",
    }
    event = fts.as_event(record)
    wanted = {"event_type": "transfer-done", "request-id": "2026__a__b", "transfer-id": "b", "src-rse": "a", "dst-rse": "b", "protocol": "davs"}
    assert {name: event[name] for name in wanted} == wanted
    metadata = {"request_id": "r", "src_rse": "A", "dst_rse": "B", "request_type": "STAGEIN", "activity": "m"}
    event = fts.as_event(record | {"file_metadata": metadata, "t_final_transfer_state": "Error"})
    wanted = {"event_type": "stagein-failed", "request-id": "r", "src-rse": "A", "dst-rse": "B", "activity": "m"}
    assert {name: event[name] for name in wanted} == wanted
    assert fts.as_event(record | {"dst_url": None})["protocol"] == ""
    assert fts.FtsMessages.events_of(None, [record, record | {"t_final_transfer_state": "?"}, {}])[1] == 2
