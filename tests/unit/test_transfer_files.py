"""Files of transfers of other producers than Rucio: what is no transfer, and what is refused with the form that is read."""

import gzip
import json
import os
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from elasticsearch import NotFoundError
from rucio_events import GOOD

from nightshift.sources.base import Head, file_sources, source_of
from nightshift.sources.files import LayoutError
from nightshift.sources.parts import Extraction
from nightshift.sources.transfers import advice, fts, parquet_files
from nightshift.sources.transfers.parts import EVER, table_of, transfer_rows
from nightshift.sources.transfers.server import RucioServer, is_complete

LINE = '01.31 10:01:00 [pool:pool1:transfer] [0000AA11,20] [/a] g:s@osm 20 1000 true {Http-1.1:192.0.2.7:0:d:e:/a} [door:W@d:A:1] {0:""}\n'
ACCESS = {"file_lfn": "/a", "server_host": "s1", "client_host": "c1", "read_bytes": 7, "start_time": 1769853600, "end_time": 1769853700}
STATE = {"file_state": "FINISHED", "job_state": "ACTIVE", "submit_time": 1769853600000, "source_se": "davs://a", "dest_se": "davs://b"}


def read(path, folder):
    """(rows of the raw table, the extraction)"""
    extraction = Extraction(folder, EVER)
    source = source_of(file_sources("transfers", {"index": "", "page_rows": 1, "timeout_s": 1.0, "retry_wait_s": 1.0}), path)
    return [row for page in source.read(str(path), extraction) for row in page.to_pylist()], extraction


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("a.json", json.dumps(ACCESS), "accesses to files of XRootD, which last as long as a program keeps a file open: name what moves files"),
        ("a.json", json.dumps({"data": STATE, "metadata": {}}), "when a transfer began: take those of its topic transfer.fts_monitoring_complete"),
        ("billing", LINE, "keep the name that dCache gives such a file, billing-2026.01.31"),
        ("billing-2026.01.31", LINE.replace(":transfer]", ":remove]"), "none of its lines is a transfer of a pool"),
    ],
)
def test_what_is_not_read_is_refused_with_what_to_do(tmp_path, name, text, advice):
    (tmp_path / name).write_text(text)
    with pytest.raises(LayoutError) as refused:
        read(tmp_path / name, tmp_path)
    assert advice in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["billing-2026.01.31", "billing-20260131.gz", "old-2026-01-31.log"])
def test_a_transfer_of_dcache_has_the_year_of_its_file(tmp_path, name):
    with (gzip.open if name.endswith(".gz") else open)(tmp_path / name, "wt") as out:
        out.write(LINE + LINE.replace("01.31 ", "02.30 "))
    rows, extraction = read(tmp_path / name, tmp_path)
    assert [(row["src-rse"], row["dst-rse"], row["started_at"], row["transferred_at"]) for row in rows] == [
        ("192.0.2.7", "pool1", "2026-01-31 10:00:59", "2026-01-31 10:01:00")
    ]
    assert len(extraction.bad_lines) == 1, "the 30th of February"


def test_a_page_of_blank_lines_ends_no_log(tmp_path, monkeypatch):
    monkeypatch.setattr("nightshift.sources.transfers.parts.PAGE", 2)
    line = "DATE=20260131100100.5 HOST=a PROG=p NL.EVNT=FTP_INFO START=20260131100000.5 FILE=/a NBYTES=2 DEST=[b] TYPE={} CODE=226\n"
    (tmp_path / "gridftp.log").write_text(line.format("RETR") + "\n" * 5 + line.format("STOR"))
    rows, _ = read(tmp_path / "gridftp.log", tmp_path)
    assert [(row["src-rse"], row["dst-rse"]) for row in rows] == [("a", "b"), ("b", "a")]


def test_listings_of_folders_are_counted_and_not_put_aside(tmp_path):
    line = "DATE=20260131100100.5 HOST=a PROG=p NL.EVNT=FTP_INFO START=20260131100000.5 FILE=/a NBYTES=2 DEST=[b] TYPE={} CODE=226\n"
    (tmp_path / "gridftp.log").write_text("".join(line.format(kind) for kind in ("LIST", "RETR", "MLSD", "SITE")))
    rows, extraction = read(tmp_path / "gridftp.log", tmp_path)
    assert (len(rows), extraction.counts["other kinds"], [number for _, number, *_ in extraction.bad_lines]) == (1, 2, [4])


def test_lines_of_other_kinds_are_counted_and_what_is_none_has_its_number(tmp_path):
    (tmp_path / "billing-2026.01.31").write_text("# a remark\n" + LINE + LINE.replace(":transfer]", ":remove]") + "garbage\n" + LINE)
    rows, extraction = read(tmp_path / "billing-2026.01.31", tmp_path)
    assert (len(rows), extraction.counts["other kinds"]) == (2, 1)
    assert [(number, why) for _, number, why, _ in extraction.bad_lines] == [(4, "no whole line of a transfer")]


@pytest.mark.parametrize(
    ("record", "has_ended"),
    [({"tr_id": "x", "t_final_transfer_state": "Ok"}, True), ({"tr_id": "x", "t_final_transfer_state": "ok", "is_archiving": True}, False),
     ({"tr_id": "x", "t_final_transfer_state": "Error", "is_archiving": True}, True), ({"tr_id": "", "t_final_transfer_state": "Ok"}, False),
     ({"tr_id": "x", "t_final_transfer_state": "?"}, False), ({"tr_id": "x"}, False)],
)  # fmt: skip
def test_a_transfer_of_fts_has_ended_when_its_file_need_not_go_to_tape(record, has_ended):
    assert fts.has_ended(record) is has_ended


def test_values_of_fts_that_say_nothing_give_way_to_the_next():
    assert fts.first_of({"a": 0, "b": "-1", "c": "", "d": "0", "e": -1, "f": 7, "g": 8}, "abcdefg") == 7
    assert fts.first_of({"a": 0}, "ab") is None
    metadata = ['{"x": 1}', "{", "[1]", None, {"y": 2}]
    assert [fts.metadata_of({"file_metadata": one}) for one in metadata] == [{"x": 1}, {}, {}, {}, {"y": 2}]


@pytest.mark.parametrize(
    ("text", "is_one"), [(json.dumps(STATE), True), (json.dumps(STATE | {"files": []}), False), ("x" + json.dumps(STATE), False), ('{"a": 1}', False)]
)
def test_states_of_files_are_refused_and_jobs_with_their_files_are_not(tmp_path, text, is_one):
    (tmp_path / "a").write_text(text)
    assert advice.OtherTransfers().recognises(Head(tmp_path / "a")) is is_one


def test_times_decimals_and_categories_of_parquet_become_text_within_structs_too():
    kinds = {"t": pa.timestamp("us"), "d": pa.decimal128(5, 2), "c": pa.dictionary(pa.int32(), pa.string()), "n": pa.int64()}
    texts = {"t": pa.string(), "d": pa.string(), "c": pa.string(), "n": pa.int64()}
    assert parquet_files.as_json(pa.schema({"s": pa.struct(kinds), **kinds})) == pa.schema({"s": pa.struct(texts), **texts})
    large = pa.schema({"a": pa.large_list(pa.timestamp("us")), "b": pa.large_binary(), "c": pa.binary(2)})
    assert parquet_files.as_json(large) == pa.schema({"a": pa.large_list(pa.string()), "b": pa.string(), "c": pa.string()})


def test_bytes_and_times_in_lists_of_parquet_are_text(tmp_path):
    moment = pd.Timestamp("2026-01-31 10:00:00")
    events = [{name: value.encode() if isinstance(value, str) else value for name, value in GOOD.items()} | {"tried": [moment]}]
    pd.DataFrame(events).to_parquet(tmp_path / "a.parquet")
    [page] = parquet_files.ParquetEvents().read(tmp_path / "a.parquet", None)
    assert page["request-id"].to_pylist() == [GOOD["request-id"]]
    assert json.loads(page["more"][0].as_py())["tried"][0].startswith("2026-01-31 10:00:00")


DAY = pd.Timestamp("2026-01-31", tz="UTC")


@pytest.mark.parametrize(("hours", "is_whole"), [(25, False), (25.001, True), (24, False)])
def test_a_part_is_whole_that_was_written_an_hour_after_its_day(tmp_path, hours, is_whole):
    assert not is_complete(tmp_path / "part", DAY)
    (tmp_path / "part").touch()
    os.utime(tmp_path / "part", (DAY.timestamp() + 3600 * hours,) * 2)
    assert is_complete(tmp_path / "part", DAY) is is_whole


def event_at(moment):
    return GOOD | {"request-id": moment, "event_type": "transfer-done", "created_at": moment}


@pytest.fixture
def night(tmp_path, monkeypatch):
    """night(indices, n): the Extraction of n days from DAY on of a server with these indices, and the indices that it read."""

    def run(indices, n):
        read = []

        def ask(call, *, index="", pit=None, search_after=None, **_):
            name = pit["id"] if pit else index
            if call != "close_point_in_time" and name not in indices:
                raise NotFoundError("index_not_found", SimpleNamespace(status=404), {})
            read.extend([name[-2:]] if call == "open_point_in_time" else [])
            hits = [] if search_after else indices.get(name, [])
            return {"id": name, "hits": {"hits": [{"_source": one, "sort": [1]} for one in hits]}}

        extraction = Extraction(tmp_path, (DAY, DAY + pd.Timedelta(days=n)))
        monkeypatch.setattr(RucioServer, "connect", lambda self, address: ask)
        RucioServer("rucio-{day}", 1, 1.0, 1.0).extract("http://h", extraction)
        return extraction, read

    return run


def test_events_after_midnight_in_the_index_of_a_day_are_of_the_next_night(night):
    first = {"rucio-2026.01.31": [event_at("2026-01-31 23:59:55"), event_at("2026-02-01 00:00:05")]}
    both = first | {"rucio-2026.02.01": [event_at("2026-02-01 10:00:00")]}
    kept = [(extraction.counts["kept"], extraction.counts["outside"], read) for extraction, read in (night(first, 1), night(both, 2), night(both, 2))]
    assert kept == [(1, 1, ["31"]), (3, 0, ["31", "01"]), (3, 0, [])]


def test_a_day_that_was_empty_is_asked_for_again(night):
    for events in ([], [event_at("2026-01-31 10:00:00")], [event_at("2026-01-31 10:00:00")] * 2):
        extraction, read = night({"rucio-2026.01.31": events}, 1)
        assert (extraction.counts["kept"], read) == (min(len(events), 1), ["31"] if len(events) < 2 else [])


def test_the_part_of_a_day_stays_when_its_index_is_deleted(night):
    first = {"rucio-2026.01.31": [event_at("2026-01-31 23:59:55"), event_at("2026-02-01 00:00:05")]}
    night(first, 1)
    extraction, _ = night({}, 2)
    assert (extraction.counts["kept"], extraction.missing) == (1, ["2026-02-01"])


def test_days_without_a_transfer_whose_indices_were_deleted_since_are_an_empty_night(night):
    assert night({"rucio-2026.01.31": []}, 1)[0].counts["kept"] == 0
    extraction, read = night({}, 1)
    assert (extraction.counts["kept"], extraction.missing, read) == (0, [], [])


def test_an_index_is_one_for_each_day_or_one_for_all_and_what_is_not_there_is_named():
    daily, whole = (RucioServer(index, 1, 1.0, 1.0) for index in ("rucio-{day}", "rucio"))
    assert daily.indices([DAY]) == {"rucio-2026.01.31": DAY}
    assert RucioServer("{site}-{day}", 1, 1.0, 1.0).indices([DAY]) == {"{site}-2026.01.31": DAY}, "which the server refuses in one line"
    assert whole.indices([DAY, DAY - pd.Timedelta(days=1)]) == {"rucio": None}
    with pytest.raises(LookupError, match=r"^rucio-\{day\} exists for no day from 2026-01-25 to 2026-01-31: check the parameter index$"):
        daily.refuse(DAY - pd.Timedelta(days=6), DAY + pd.Timedelta(days=1))
    with pytest.raises(LookupError, match=r"^there is no index rucio: check the parameter index$"):
        whole.refuse(DAY, DAY)


def test_events_of_other_kinds_and_of_other_days_are_counted_and_left_out(tmp_path):
    late = {name: GOOD[name].replace("01-31", "02-01") for name in ("submitted_at", "started_at", "transferred_at")}
    others = [GOOD | {"event_type": "deletion-done"}, GOOD | late, GOOD | {"event_type": "stagein-failed"}]
    extraction = Extraction(tmp_path, (DAY, DAY + pd.Timedelta(days=1)))
    pages = list(transfer_rows([table_of([GOOD, *others]), table_of([GOOD])], extraction))
    assert [page["event_type"].to_pylist() for page in pages] == [["transfer-done", "stagein-failed"], ["transfer-done"]]
    assert (extraction.counts["other kinds"], extraction.counts["outside"]) == (1, 1)
    assert extraction.tallies == {"event type": {"transfer-done": 2, "stagein-failed": 1}, "day": {"2026-01-31": 3}}
