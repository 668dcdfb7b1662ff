"""1_extract against a local stand-in for Elasticsearch (no server of it can be installed here): paging, faults, resuming, clear errors."""

import json
import shutil
import subprocess

import pandas as pd
import pytest
from conftest import execute
from elastic_standin import standin
from papermill.exceptions import PapermillExecutionError

DAYS = ["2026-01-29", "2026-01-30", "2026-01-31"]


def documents(day, n=25):
    return [
        {
            "event_type": "transfer-done",
            "created_at": f"{day} 10:00:{i:02d}",
            "payload": {"request-id": f"{day}-{i}", "src-rse": "A_DISK", "dst-rse": "B_DISK", "bytes": i, "transferred_at": f"{day} 10:00:{i:02d}"},
        }
        for i in range(n)
    ]


def name_of(day):
    return f"atlas_rucio-events-{day.replace('-', '.')}"


@pytest.fixture
def indices():
    return {name_of(day): documents(day) for day in DAYS}


def extract(url, products, **parameters):
    return execute(
        "transfers/1_extract.ipynb",
        products,
        source=url,
        day=DAYS[-1],
        days=3,
        **{"page_rows": 10, "timeout_s": 1.0, "retry_wait_s": 0.2} | parameters,
    )


def raw(products):
    parts = sorted((products / "data/raw/transfers").glob("*.parquet"))
    return parts, [i for part in parts for i in pd.read_parquet(part)["request-id"]]


def test_each_document_comes_once_through_every_fault(indices, tmp_path):
    with standin(indices, faults=[429, None, "cut", 503, None, "stall", None, "shard"]) as (url, log):
        extract(url, tmp_path)
    parts, ids = raw(tmp_path)
    assert len(parts) == 3
    assert sorted(ids) == sorted(d["payload"]["request-id"] for docs in indices.values() for d in docs)
    searches = [body for _, path, body in log if path.startswith("/_search")]
    assert all(body["size"] == 10 for body in searches), "pages are bounded"
    assert sum(command == "DELETE" for command, _, _ in log) == 3, "points in time are closed"
    assert json.loads((tmp_path / "data/raw/transfers/status.json").read_text())["rows"] == 75


def test_an_interrupted_run_keeps_whole_days_only_and_goes_on_at_the_first_missing_one(indices, tmp_path):
    with standin(indices, faults=[None] * 4 + [None, 503, 503, 503, 503, 503, 503, 503]) as (url, _):
        with pytest.raises(PapermillExecutionError, match="does not answer"):
            extract(url, tmp_path)
        parts, ids = raw(tmp_path)
        assert [p.name[-18:-8] for p in parts] == DAYS[:1]
        assert len(ids) == 25
        assert not list((tmp_path / "data/raw/transfers").glob(".*")), "a half-written file is left"
        assert not (tmp_path / "data/raw/transfers/status.json").exists()
    with standin(indices, port=int(url.rsplit(":", 1)[1])) as (url, log):  # the address is part of what a source is
        extract(url, tmp_path)
    asked = {path.split("/")[1] for command, path, _ in log if "_pit" in path and command == "POST"}
    assert asked == {name_of(day) for day in DAYS[1:]}
    assert len(raw(tmp_path)[1]) == 75


def test_a_missing_day_is_named_and_the_rest_is_kept(indices, tmp_path):
    del indices[name_of(DAYS[1])]
    with standin(indices) as (url, _):
        extract(url, tmp_path)
    status = json.loads((tmp_path / "data/raw/transfers/status.json").read_text())
    assert (status["state"], status["rows"], status["missing_days"]) == ("partial", 50, [DAYS[1]])


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("login", "refuses these credentials (401): check ELASTIC_API_KEY"),
        ("index", "exists for no day from 2026-01-29 to 2026-01-31: check the parameter index"),
        ("host", "does not answer"),
        ("shard", "answered for some of its shards only"),
    ],
)
def test_one_clear_line_and_nothing_half_written(indices, tmp_path, monkeypatch, case, message):
    monkeypatch.setenv("ELASTIC_USER", "reader")
    monkeypatch.setenv("ELASTIC_PASSWORD", "wr0ng-secret")
    with (
        standin(
            {} if case == "index" else indices,
            login=("reader", "right") if case == "login" else None,
            faults=["shard"] * 6 if case == "shard" else (),
        ) as (url, _),
        pytest.raises(PapermillExecutionError) as error,
    ):
        extract("http://127.0.0.1:9" if case == "host" else url, tmp_path)
    assert message in error.value.evalue
    assert len(error.value.evalue.splitlines()) == 1
    assert raw(tmp_path)[0] == []
    assert "wr0ng-secret" not in (tmp_path / "executed-1_extract.ipynb").read_text()


def test_an_unknown_certificate_is_refused_and_its_authority_accepts_it(indices, tmp_path, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    with standin(indices, certificate=(certificate, key)) as (url, log):
        with pytest.raises(PapermillExecutionError, match="is not trusted: name the file of its authority"):
            extract(url, tmp_path)
        assert log == []
        monkeypatch.setenv("ELASTIC_CA", str(certificate))
        extract(url, tmp_path)
    assert len(raw(tmp_path)[1]) == 75
