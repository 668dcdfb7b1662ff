"""Files of transfers of other producers than Rucio: what is no transfer, and what is refused with the form that is read."""

import gzip
import json

import pytest

from nightshift.sources.base import file_sources, source_of
from nightshift.sources.files import LayoutError
from nightshift.sources.parts import Extraction
from nightshift.sources.transfers.parts import EVER

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
