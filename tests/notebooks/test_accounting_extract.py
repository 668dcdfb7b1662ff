"""The extraction of accounting records from every kind of file, on hand-made records good and bad, with values asserted."""

import gzip
import json
import re
import shutil

import pandas as pd
import pytest
from conftest import ACCOUNTING_FIELDS, GRACC_RECORD, REAL_DATA, refused, run_here

NOTEBOOK = "accounting/1_extract.ipynb"
SWF_HEADER = "; Version: 2.2\n;   UnixStartTime: 1769817600\n"  # 2026-01-31 00:00 UTC
SACCT = "JobID|Cluster|Account|State|End|ElapsedRaw|CPUTimeRAW|TotalCPU|AllocCPUS"


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def write_lines(path, records):
    return write(path, "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))


def extract(products, source, **parameters):
    return run_here(NOTEBOOK, products, source=str(source), **{"day": "2026-01-31", "weeks": 2} | parameters)


def extracted(products, source, **parameters):
    """The raw table, the status and what the notebook shows."""
    page = extract(products, source, **parameters)
    raw = products / "data/raw/accounting"
    table = pd.concat([pd.read_parquet(part) for part in sorted(raw.glob("*.parquet"))], ignore_index=True)
    assert list(table.columns) == ACCOUNTING_FIELDS
    assert all(pd.api.types.is_string_dtype(table[column].dropna()) for column in table)
    return table, json.loads((raw / "status.json").read_text()), page


def not_extracted(products, source, **parameters):
    """The one line with which the extraction ends, which leaves nothing."""
    line = refused(extract, products, source, **parameters)
    assert not list((products / "data/raw/accounting").glob("**/*.parquet")), "something half-written is left"
    return line


def test_every_form_of_gracc_file_gives_the_same_rows(tmp_path):
    records = [GRACC_RECORD | {"VOName": vo} for vo in ("atlas", "cms")]
    write_lines(tmp_path / "a.jsonl", records)
    write_lines(tmp_path / "b.json.gz", [{"_id": f"id-{r['VOName']}", "_index": "gracc", "_source": r} for r in records])
    pd.DataFrame(records).to_csv(tmp_path / "c.csv.gz", index=False)
    write(tmp_path / "d.json", json.dumps(records, indent=1))
    write(tmp_path / "e.json", json.dumps([{"data": r} for r in records]))
    write(tmp_path / "f.txt", pd.DataFrame(records).to_csv(index=False, sep=";"))
    files = ("a.jsonl", "b.json.gz", "c.csv.gz", "d.json", "e.json", "f.txt")
    tables = [extracted(tmp_path / name[0], tmp_path / name)[0] for name in files]
    for table in tables:
        assert table[list(GRACC_RECORD)].to_dict("records") == [{name: str(value) for name, value in r.items()} for r in records]
    assert tables[1].RecordId.tolist() == ["id-atlas", "id-cms"]
    assert json.loads(tables[1].more[0]) == {"_index": "gracc"}


def test_nothing_is_repaired_here_and_what_is_left_out_is_counted(tmp_path):
    records = [
        GRACC_RECORD,
        GRACC_RECORD,  # a copy keeps its identity
        GRACC_RECORD | {"CoreHours": -5.0},
        GRACC_RECORD | {"EndTime": "yesterday"},
        GRACC_RECORD | {"EndTime": "2026-01-31 09:00:00"},
        GRACC_RECORD | {"SiteName": None},
        {k: v for k, v in GRACC_RECORD.items() if k not in ("ResourceType", "VOName")} | {"Colour": ["red"]},
        GRACC_RECORD | {"ResourceType": "Payload"},
        GRACC_RECORD | {"EndTime": "2026-01-18T23:59:59Z"},  # the Sunday before the window
        GRACC_RECORD | {"EndTime": "2026-01-19T00:00:00Z", "VOName": "first"},
        GRACC_RECORD | {"EndTime": "2026-02-01T00:00:00Z"},
        GRACC_RECORD | {"EndTime": "2026-02-01T01:00:00+02:00", "VOName": "last"},
        "{broken",
        "[1]",
    ]
    table, status, page = extracted(tmp_path, write_lines(tmp_path / "mixed.jsonl", records))
    assert len(table) == 9
    assert table.RecordId[0] == table.RecordId[1]
    assert table.RecordId.nunique() == 8
    assert table.CoreHours.tolist().count("-5.0") == 1
    assert {"yesterday", "2026-01-31 09:00:00"} <= set(table.EndTime)
    assert {"first", "last"} <= set(table.VOName)
    assert table.SiteName.isna().sum() == 1
    assert json.loads(table.more[6]) == {"Colour": ["red"]}
    assert (status["state"], status["rows"], status["bad_lines"], status["window"]) == ("partial", 9, 2, ["2026-01-19", "2026-01-31"])
    assert status["newest"] == "2026-01-31 23:00:00+00:00"
    assert "9 records kept; left out: 1 of other kinds than batch, 2 of other weeks" in page
    bad = pd.read_csv(tmp_path / "data/raw/accounting/bad_lines.csv")
    assert bad.line.tolist() == [13, 14]
    assert bad.text.tolist() == ["{broken", "[1]"]


def test_swf_jobs_become_core_hours_of_group_or_user(tmp_path):
    # job submit wait run given cpu memory asked asked_s asked_memory status user group application queue partition previous think
    jobs = [
        "1 0 60 3600 4 1800 -1 4 -1 -1 1 7 1 -1 1 -1 -1 -1",
        "2 100 -1 1800 -1 -1 -1 2 -1 -1 1 8 2 -1 1 -1 -1 -1",  # waited and given unknown: asked counts
        "3 100 0 -1 4 -1 -1 4 -1 -1 5 8 2 -1 1 -1 -1 -1",  # never ran
        "4 100 0 10 0 -1 -1 -1 -1 -1 5 8 2 -1 1 -1 -1 -1",  # no processors
        "5 200 0 3600 1 3600 -1 1 -1 -1 1 9 -1 -1 1 -1 -1 -1",  # group unknown
        "6 200 0 3600 1 3600 -1 1 -1 -1 1 9 2 -1 1 -1 -1",  # cut off
        "7 200 zero 3600 1 3600 -1 1 -1 -1 1 9 2 -1 1 -1 -1 -1",
    ]
    write(tmp_path / "LPC-2004.swf.gz", SWF_HEADER + "\n".join(jobs) + "\n")
    table, status, page = extracted(tmp_path, tmp_path / "LPC-2004.swf.gz")
    assert table.RecordId.tolist() == ["LPC-2004/1", "LPC-2004/2", "LPC-2004/5"]
    assert table.EndTime.tolist() == ["2026-01-31T01:01:00Z", "2026-01-31T00:31:40Z", "2026-01-31T01:03:20Z"]
    assert set(table.SiteName) == {"LPC"}
    assert table.VOName.fillna("none").tolist() == ["group1", "group2", "none"]
    assert table.CoreHours.astype(float).tolist() == [4, 1, 1]
    assert table.CpuDuration.astype(float).fillna(-1).tolist() == [7200, -1, 3600]
    assert table.Processors.tolist() == ["4", "2", "1"]
    assert "2 that never ran" in page
    assert status["bad_lines"] == 2
    assert pd.read_csv(tmp_path / "data/raw/accounting/bad_lines.csv").line.tolist() == [8, 9]
    users = [re.sub(r" [12] -1 1 -1 -1 -1$", " 1 -1 1 -1 -1 -1", job) for job in jobs[:2]]  # one group only
    table, _, _ = extracted(tmp_path / "users", write(tmp_path / "HPC.swf", SWF_HEADER + "\n".join(users) + "\n"))
    assert table.VOName.tolist() == ["user7", "user8"]
    assert table.SiteName.tolist() == ["HPC"] * 2


def test_saved_sacct_becomes_core_hours_of_the_account(tmp_path):
    lines = [
        SACCT + "|QOS",
        "12|toy|atlas|COMPLETED|1769853600|3600|14400|03:59:00|4|normal",
        "12.batch|toy|atlas|COMPLETED|1769853600|3600|14400|03:59:00|4|",
        "13_7|toy|cms|CANCELLED by 1000|2026-01-31T10:00:00|60|120|00:01.500|2|normal",
        "14|toy|cms|RUNNING|Unknown|60|120|00:00:00|2|normal",
        "15|toy|cms|PENDING|Unknown|0|0|00:00:00|0|normal",
        "16|toy|cms|CANCELLED by 0|1769853600|0|0|00:00:00|16|normal",  # what it had asked for
        "19|toy|cms|NODE_FAIL|1769853600|0|0|00:00:00|0|normal",
        "20|toy|cms|FAILED|1769853600|0|0|00:00.020|2|normal",  # ran, for less than a second
        "17|toy||FAILED|1769853600|60|60|INVALID|1|normal",
        "18|toy|cms|COMPLETED|1769853600|3600",
        "",
    ]
    table, status, page = extracted(tmp_path, write(tmp_path / "jobs.txt.gz", "\n".join(lines)))
    assert table.RecordId.tolist() == ["toy/12/1769853600", "toy/13_7/2026-01-31T10:00:00", "toy/20/1769853600", "toy/17/1769853600"]
    assert table.EndTime.tolist() == ["2026-01-31T10:00:00Z", "2026-01-31T10:00:00", *["2026-01-31T10:00:00Z"] * 2]
    assert table.VOName.fillna("none").tolist() == ["atlas", "cms", "cms", "none"]
    assert table.CoreHours.astype(float).tolist() == pytest.approx([4, 120 / 3600, 0, 60 / 3600])
    assert table.CpuDuration.tolist() == ["14340", "1.5", "0.02", "INVALID"]
    assert table.Njobs.tolist() == ["1"] * 4
    assert json.loads(table.more[1]) == {"State": "CANCELLED by 1000", "QOS": "normal"}
    assert "2 jobs that have not ended, 2 that never ran" in page
    assert status["bad_lines"] == 1


def test_a_glob_may_mix_formats_and_empty_files(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_lines(folder / "a.jsonl", [GRACC_RECORD])
    write(folder / "SITE_B-log.swf", SWF_HEADER + "1 0 60 3600 4 1800 -1 4 -1 -1 1 7 1 -1 1 -1 -1 -1\n")
    write(folder / "c.txt", f"{SACCT}\n12|toy|atlas|COMPLETED|1769853600|3600|14400|03:59:00|4\n")
    write(folder / "d.txt", "")
    table, status, _ = extracted(tmp_path, folder / "*")
    assert sorted(table.SiteName) == ["SITE_A", "SITE_B", "toy"]
    assert status["state"] == "ok"
    table, _, _ = extracted(tmp_path, folder / "a.jsonl")
    assert table.SiteName.tolist() == ["SITE_A"], "parts of an earlier source are gone"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.jsonl",
            json.dumps({k: v for k, v in GRACC_RECORD.items() if k != "SiteName"}),
            "x.jsonl: it has no SiteName; it has EndTime, VOName, ProbeName,",
        ),
        ("x.csv", "EndTime,SiteName,CoreHours\n2026-01-31,A,1\n", "x.csv: it has no VOName; it has EndTime, SiteName, CoreHours; needed"),
        ("x.json", "[1, 2]", "x.json: none of its 2 lines is a JSON object"),
        ("x.jsonl", json.dumps(GRACC_RECORD | {"EndTime": "week 5"}), "x.jsonl: none of its times can be read, such as EndTime 'week 5'; needed is"),
        ("x.txt", SACCT.replace("|AllocCPUS", "") + "\n", "x.txt: it has no AllocCPUS or NCPUS; it has JobID, Cluster, Account, State, End,"),
        ("x.txt", "12|toy|atlas|COMPLETED|5\n", "x.txt: it has no header, and its first line, a row of 5 values, is not of the 16, 11"),
        ("x.txt", "JobID           Cluster    Account      State\n------- ----- -----\n", "x.txt: it is sacct's table for people"),
        ("x.swf", "; Version: 2\n1 0 60 3600 4 1800 -1 4 -1 -1 1 7 1 -1 1 -1 -1 -1\n", "its header has no UnixStartTime"),
        ("x.txt", "Dear reader,\nnothing.\n", "x.txt: it begins with 'Dear reader,' and is neither GRACC records (JSON or a table with EndTime, "),
        ("x.jsonl.gz", gzip.compress(b"".join(b'{"a": %d}\n' % i for i in range(9999)), mtime=0)[:-900], "x.jsonl.gz cannot be read: EOFError"),
        ("x.swf.gz", b"no archive", "x.swf.gz cannot be read: BadGzipFile"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_that_says_why(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in not_extracted(tmp_path, tmp_path / name)


def test_no_file_and_no_sample_are_said(tmp_path):
    assert "no file matches" in not_extracted(tmp_path, tmp_path / "*.swf")
    assert "run notebooks/simulate.ipynb first" in not_extracted(tmp_path, "sample")


def only_program(folder, monkeypatch, sacct):
    """Make `sacct`, a shell script or None, the only sacct of this machine."""
    folder.mkdir()
    for name in ("sh", "sleep", "cat"):
        (folder / name).symlink_to(shutil.which(name))
    if sacct:
        (folder / "sacct").write_text(sacct)
        (folder / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_job_that_runs_through_several_weeks_comes_once(tmp_path, monkeypatch):
    lines = [
        SACCT,
        "1|toy|atlas|COMPLETED|1769385600|864000|864000|10-00:00:00|1",  # ended on Monday 2026-01-26 00:00, when that week began
        "2|toy|atlas|COMPLETED|1769385599|864000|864000|10-00:00:00|1",
        "3|toy|atlas|RUNNING|Unknown|864000|864000|00:00:00|1",
        "4|toy|atlas|COMPLETED|1769904000|864000|864000|10-00:00:00|1",  # ended after the window
    ]
    write(tmp_path / "all.txt", "\n".join(lines) + "\n")
    only_program(tmp_path / "bin", monkeypatch, f"#!/bin/sh\nexec cat {tmp_path}/all.txt\n")
    table, _, page = extracted(tmp_path, "sacct")
    assert table.RecordId.tolist() == ["toy/2/1769385599", "toy/1/1769385600"]
    assert table.EndTime.tolist() == ["2026-01-25T23:59:59Z", "2026-01-26T00:00:00Z"]
    assert "1 jobs that have not ended" in page


@pytest.mark.parametrize(
    ("sacct", "message"),
    [
        (None, "there is no sacct on this machine: save its output where Slurm is"),
        ("#!/bin/sh\nexec sleep 60\n", "sacct gave no answer within 0.5 s"),
        ("#!/bin/sh\necho 'sacct: error: Access denied' >&2\nexit 1\n", "sacct failed (1): sacct: error: Access denied"),
    ],
    ids=["none", "silent", "not permitted"],
)
def test_a_live_sacct_that_gives_nothing_is_one_line(tmp_path, monkeypatch, sacct, message):
    only_program(tmp_path / "bin", monkeypatch, sacct)
    assert message in not_extracted(tmp_path, "sacct", timeout_s=0.5)


@pytest.mark.parametrize(("day", "state"), [("2026-02-06", "stale"), ("2027-01-31", "empty")])
def test_old_data_are_stale_and_no_data_are_empty(tmp_path, day, state):
    _, status, page = extracted(tmp_path, write_lines(tmp_path / "a.jsonl", [GRACC_RECORD]), day=day)
    assert status["state"] == state
    assert f"the data are {state}." in page
    assert "weeks hold no record: those of 20" in page


def test_a_hostile_name_stays_a_name(tmp_path):
    hostile = '<script>alert(1)</script> "quoted" | `x`'
    table, _, page = extracted(tmp_path, write_lines(tmp_path / "a.jsonl", [GRACC_RECORD | {"SiteName": hostile}]))
    assert table.SiteName[0] == hostile
    assert "<script>" not in page


def test_real_logs_are_read_whole(tmp_path):
    if not REAL_DATA.exists():
        pytest.skip(f"no real data at {REAL_DATA}")
    table, status, page = extracted(tmp_path, REAL_DATA / "accounting/[HL]*.swf.gz", day="2006-01-16", weeks=190)
    logs = (REAL_DATA / "accounting").glob("[HL]*.swf.gz")
    jobs = [line for path in logs for line in gzip.decompress(path.read_bytes()).splitlines() if not line.startswith(b";")]
    never = int(re.search(r"([\d,]+) that never ran", page)[1].replace(",", ""))
    assert len(table) + never == len(jobs)
    assert table.RecordId.is_unique
    sites = table.groupby("SiteName").VOName.nunique()
    assert sites.LPC == 8
    assert sites.HPC2N > 200
    assert status["newest"] == "2006-01-16 19:29:52+00:00"
