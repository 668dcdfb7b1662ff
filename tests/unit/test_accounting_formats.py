"""What batch systems and clients of accounting write, on hand-made lines: amounts of the raw table, and what is refused."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from nightshift.cleaning.accounting_efficiency import COLUMNS, efficiency_by_vo
from nightshift.sources import excerpts
from nightshift.sources.accounting.htcondor import read_long, wall_of
from nightshift.sources.accounting.lsf import slots_of
from nightshift.sources.accounting.pbs import cores_in, seconds
from nightshift.sources.accounting.sacct_json import name_of, state_of
from nightshift.sources.accounting.swf import parse_block
from nightshift.sources.base import file_sources, source_of
from nightshift.sources.files import LayoutError
from nightshift.sources.parts import Extraction

EXAMPLES = REPOSITORY / "tests/examples/accounting"
SETTINGS = {"sacct_options": "", "index": "", "page_rows": 1, "timeout_s": 1.0, "retry_wait_s": 1.0}


def read(path, folder):
    """(rows of the raw table, the extraction)"""
    extraction = Extraction(folder, (None, None))
    source = source_of(file_sources("accounting", SETTINGS), path)
    return pd.concat(source.read(str(path), extraction), ignore_index=True), extraction


@pytest.mark.parametrize(("name", "column", "amounts"), [
    ("sacct_2205.json", "GpuHours", [4, None, None, None, None]),
    ("sacct_2411.json", "GpuHoursUsed", [3, None, None, None, None]),
    ("sacct_2205.json", "MemoryUsedGiB", [3, 0.5, 1, 1, 1]),
    ("sacct_2411.json", "MemoryAskedGiB", [16, 16, 16, 16, 16]),
    ("sacct_parsable2.txt", "MemoryAskedGiB", [16, 2, 4, 4, 2, 2]),
    ("sacct_before_2108.txt", "MemoryAskedGiB", [8, 6]),
    ("xdmod_shredder.log", "GpuHours", [4, None]),
    ("slurm_jobcomp.log", "GpuHours", [4, None]),
    ("harbor.accounting", "WallDuration", [7200, 3600]),
    ("ember.flux.json", "WallDuration", [7200, 3600]),
    ("condor_history.json", "GpuHours", [4, None]),
    ("condor_history_long.txt", "MemoryUsedGiB", [2, 1]),
    ("torque_20260126", "Processors", [6, 2]),
    ("openpbs_20260126", "GpuHours", [2, None]),
    ("openpbs_20260126", "MemoryUsedGiB", [16, 16]),
    ("north.accounting", "Processors", [8, 1, 16]),
    ("apel_summary", "CoreHours", [16, 8, 24, 1, None]),
    ("apel_summary", "Njobs", [2, 1, 3, 1, 1]),
    ("accounting.db", "MemoryUsedGiB", [3.814697265625, 1]),
    ("auditor.json", "Processors", [8, 4, 16]),
])  # fmt: skip
def test_amounts_of_the_raw_table(tmp_path, name, column, amounts):
    rows, _ = read(EXAMPLES / name, tmp_path)
    assert rows[column].astype(float).fillna(-1).tolist() == [-1 if amount is None else amount for amount in amounts]


@pytest.mark.parametrize("name", ["sacct_2205.json", "sacct_2411.json", "car.xml", "gratia.xml"])
def test_an_excerpt_of_a_document_is_a_document_that_can_be_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(excerpts, "SMALL", 0)
    monkeypatch.setattr(excerpts, "ROWS", 1)
    source = source_of(file_sources("accounting", SETTINGS), EXAMPLES / name)
    path, has_end = source.excerpt(str(EXAMPLES / name), tmp_path)
    look = source.look(path, settings=SETTINGS, folder=tmp_path)
    assert (look.rows > 0, look.bad, has_end) == (True, 0, True)


def test_jobs_without_hours_are_named_and_not_lost(tmp_path):
    left_out = {name: dict(read(EXAMPLES / name, tmp_path)[1].items) for name in (
        "condor_history.json", "north.accounting", "sacct_2411.json", "accounting.db", "auditor.json",
    )}  # fmt: skip
    assert left_out == {
        "condor_history.json": {"never ran": {"ce.north.example@vm#23.0#1769418000"}},
        "north.accounting": {"never ran": {"north/44"}},
        "sacct_2411.json": {"not ended": {"north/1011"}},
        "accounting.db": {"not ended": {"j3"}, "never ran": {"j4"}},
        "auditor.json": {"not ended": {"north-4"}},
    }


def test_a_total_of_a_month_ends_with_it_and_replaces_an_earlier_one(tmp_path):
    text = (EXAMPLES / "apel_summary").read_text()
    (tmp_path / "again").write_text(text + text.replace("WallDuration: 7200", "WallDuration: 9000"))
    rows, _ = read(tmp_path / "again", tmp_path)
    assert rows.EndTime.unique().tolist() == ["2025-11-30T23:59:59Z", "2025-12-31T23:59:59Z", "2026-01-31T23:59:59Z"]
    assert rows.RecordId.nunique() == 5
    assert json.loads(rows.more[0])["StartTime"] == "2025-11-01T00:00:00Z"


@pytest.mark.parametrize(("text", "message"), [
    ("APEL-cloud-message: v0.2\nVMUUID: 1\n%%\n", "neither"),
    ("APEL-summary-job-message: v0.2\nSite: A\nMonth: 1\n%%\n", "none of its records is a whole one of APEL's summaries or individual jobs"),
    ("01/26/2026 12:00:00;Q;21.pbs;queue=long\n", "none of its lines is of a job that ended"),
    ('[{"ClusterId": 1, "ProcId": 0}]\n', "none of its jobs has a GlobalJobId"),
    ("ClusterId = 1\nProcId = 0\nOwner = \"a\"\n", "none of its jobs has a GlobalJobId"),
    ('{"job": {"t_submit": 1, "t_inactive": 2, "ntasks": 1}}\n', "its only record is no job of Flux: the first has job; needed: id, t_submit"),
    ('{"meta": {"Slurm": {}}, "errors": [{"error": "Unable to parse time format"}]}\n', "it has no jobs: Slurm 22.05 needs sacct --json without"),
])  # fmt: skip
def test_a_file_without_a_job_is_one_line_that_says_what_is_needed(tmp_path, text, message):
    (tmp_path / "file").write_text(text)
    with pytest.raises(LayoutError, match=re.escape(message)):
        read(tmp_path / "file", tmp_path)


def test_lines_and_jobs_that_are_none_are_put_aside_with_their_reason(tmp_path):
    for name, broken in (("torque_20260126", "garbage"), ("north.accounting", "a:b:c"), ("condor_history_long.txt", "not an attribute")):
        path = tmp_path / name
        path.write_text((EXAMPLES / name).read_text() + broken + "\n")
        whole, _ = read(EXAMPLES / name, tmp_path)
        rows, extraction = read(path, tmp_path)
        pd.testing.assert_frame_equal(rows.drop(columns="RecordId"), whole.drop(columns="RecordId"))
        assert [text for *_, text in extraction.bad_lines] == [broken]
    jobs = json.loads((EXAMPLES / "sacct_2411.json").read_text())
    del jobs["jobs"][0]["time"]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    rows, extraction = read(tmp_path / "jobs.json", tmp_path)
    assert (len(rows), [why for _, _, why, _ in extraction.bad_lines]) == (4, ["no job of sacct: 'time'"])


def test_one_bad_record_ends_no_file(tmp_path):
    """A month that is none, an amount that is no number and a name that is no text cost the record that has them, and no other."""
    total = (EXAMPLES / "apel_summary").read_text()
    (tmp_path / "apel_summary").write_text(total.replace("Month: 1\n", "Month: 13\n", 1))
    line = next(line for line in (EXAMPLES / "north.accounting").read_text().splitlines() if line[0] != "#").split(":")
    broken = {8: "soon", 34: "1.5", 36: "much"}
    lines = [":".join(text if at != field else bad for at, text in enumerate(line)) for field, bad in broken.items()]
    (tmp_path / "north.accounting").write_text((EXAMPLES / "north.accounting").read_text() + "\n".join(lines) + "\n")
    jobs = json.loads((EXAMPLES / "condor_history.json").read_text())
    odd = jobs[0] | {"GlobalJobId": 7}
    (tmp_path / "condor_history.json").write_text(json.dumps([*jobs, odd, jobs[0] | {"GlobalJobId": "s@x#9.0#1", "AcctGroup": 5}]))
    n_bad = {"apel_summary": 1, "north.accounting": 2, "condor_history.json": 1}  # the time of submission is a name only
    n_more = {"apel_summary": -1, "north.accounting": 1, "condor_history.json": 1}
    for name in n_bad:
        before, _ = read(EXAMPLES / name, tmp_path)
        rows, extraction = read(tmp_path / name, tmp_path)
        assert len(extraction.bad_lines) == n_bad[name], name
        assert len(rows) == len(before) + n_more[name], name
    assert rows.VOName.iloc[-1] == "5"


@pytest.mark.parametrize(("exec_host", "cores"), [
    ("n1/0+n1/1+n2/0", 3), ("b391/0-1,5,11", 4), ("n1/0*8+n2/0*8", 16), ("n1/0", 1), ("", None), (None, None),
])  # fmt: skip
def test_cores_are_counted_in_every_form_of_exec_host(exec_host, cores):
    assert cores_in(exec_host) == cores


def test_hosts_of_lsf_are_slots_one_by_one_or_with_their_number():
    assert slots_of(["n1", "n1", "4*n2"]) == 6
    assert slots_of([]) == 0


def test_a_line_of_lsf_that_names_no_event_is_put_aside_and_other_events_are_not(tmp_path):
    whole = (EXAMPLES / "north.lsb.acct").read_text().splitlines()[0]
    other = '"JOB_RESIZE" "10.1" 1769853650 13'
    (tmp_path / "north.lsb.acct").write_text("\n".join([whole, other, "", whole.replace('"JOB_FINISH"', "<b>", 1), "=1+1", whole]))
    rows, extraction = read(tmp_path / "north.lsb.acct", tmp_path)
    assert len(rows) == 2
    assert [(line, reason) for _, line, reason, _ in extraction.bad_lines] == [(4, "no whole line of lsb.acct"), (5, "no whole line of lsb.acct")]


@pytest.mark.parametrize(
    ("fields", "vo"),
    [
        ("user=ada group=ada project=muon", "muon"),
        ("user=ada group=physics project=_pbs_project_default", "physics"),
        ("user=ada group=ada project=_pbs_project_default", "no group"),
        ('user=ada group=ada account="biology" project=muon', "biology"),
    ],
)
def test_a_job_of_pbs_counts_for_its_account_its_project_or_its_group(tmp_path, fields, vo):
    path = tmp_path / "20260126"
    path.write_text(f"01/26/2026 12:00:00;E;21.pbs;{fields} start=1769425200 end=1769428800 resources_used.walltime=01:00:00 exec_host=n1/0*2\n")
    assert read(path, tmp_path)[0].VOName.tolist() == [vo]


def test_small_parts_of_formats():
    assert [seconds(text) for text in ("19:23:04", "96:00:00", "3600", "", None, "x")] == [69784, 345600, 3600, None, None, None]
    assert state_of({"current": ["PENDING", "REQUEUED"]}) == "REQUEUED"
    assert name_of({"job_id": 7, "array": {"job_id": 2, "task_id": {"set": True, "infinite": False, "number": 0}}, "het": {"job_id": 0}}) == "2_0"
    assert wall_of({"cumulativeslottime": 40, "cpusprovisioned": 4}) == 10, "it is weighted by cores"


def test_bad_lines_of_a_workload_log_are_found_in_their_block():
    good = " 1 0  10\t3600 4 -1 -1 4 -1 -1 1 7 1 -1 1 -1 -1 -1 \n"
    jobs, bad = parse_block(f"; a comment\n{good}{good}", 5)
    assert (jobs.shape, bad) == ((2, 9), [])
    jobs, bad = parse_block(f"; a comment\n{good}1 2 3\n\n{good.replace('3600', 'nan')}{good}", 5)
    assert (len(jobs), [number for number, *_ in bad]) == (2, [7, 9])
    assert parse_block("; only a comment\n", 1)[0].shape == (0, 9)


def test_shares_are_of_the_hours_that_know_both_sides():
    raw = pd.DataFrame({"GpuHours": ["4", "8", None, None], "GpuHoursUsed": ["1", None, None, None], "MemoryAskedGiB": ["2", None, "4", "4"]})
    raw["MemoryUsedGiB"] = ["1", "9", "1", None]
    records = pd.DataFrame({"vo": ["a", "a", "b", "c"], "jobs": 1.0, "wall_s": [3600.0, 3600, 7200, 3600], "core_hours": [2.0, 6, 4, 0]})
    records["cpu_s"] = [3600, np.nan, 7200, 0]
    table = efficiency_by_vo(raw, records).set_index("vo")
    assert table.index.tolist() == ["a", "b", "c"]
    assert table.loc["a"].round(6).tolist() == [2, 8, 0.5, 12, 0.25, 0.333333, 0.5]
    assert table.loc["b"].fillna(-1).tolist() == [1, 4, 0.5, 0, -1, -1, 0.25]
    assert efficiency_by_vo(raw[[]], records).columns.tolist() == COLUMNS
    assert efficiency_by_vo(raw.assign(**dict.fromkeys(raw, np.nan)), records).empty


def test_a_database_of_something_else_is_refused_in_one_line(tmp_path):
    with pytest.raises(LayoutError, match=r"no accounting database of ARC .*: no such table: AAR; needed is accounting/accounting.db"):
        read(REPOSITORY / "tests/examples/tickets/osticket_1_18.sqlite", tmp_path)


def test_auditor_measures_a_run_by_its_times_where_it_does_not_say_how_long_it_took(tmp_path):
    parts = [{"name": "CPU", "amount": 4}, {"name": "GPU", "amount": 2}]
    record = {"record_id": "a", "components": parts, "start_time": "2026-01-31T10:00:00+00:00", "stop_time": "2026-01-31T12:30:00.5Z"}
    lines = [record, record | {"record_id": 5}, record | {"record_id": "b", "stop_time": "soon"}]
    (tmp_path / "auditor.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, extraction = read(tmp_path / "auditor.jsonl", tmp_path)
    assert rows[["RecordId", "EndTime", "WallDuration"]].to_numpy().tolist() == [["a", "2026-01-31T12:30:00Z", "9000.5"], ["b", None, None]]
    assert rows[["CoreHours", "GpuHours", "SiteName", "VOName"]].to_numpy().tolist()[0] == ["10.000555555555556", "5.000277777777778", None, None]
    assert [reason for _, _, reason, _ in extraction.bad_lines] == ["no record_id"]


def test_a_string_of_a_classad_may_go_on_in_the_next_lines(tmp_path):
    """As HTCondor 25.14.1 prints it: quotes within are escaped, line breaks are not."""
    text = 'ClusterId = 21\nEnvironment = "A=1\nB=\\"2\\"\n\nC=3"\nOwner = "user1"\n\nClusterId = 22\nno attribute\n\n'
    (tmp_path / "history.txt").write_text(text)
    [(jobs, bad)] = read_long(tmp_path / "history.txt")
    assert [job["ClusterId"] for job in jobs] == [21, 22]
    assert jobs[0]["Owner"] == "user1"
    assert bad == [(9, "no attribute of a ClassAd", "no attribute\n")]


def test_jobs_of_flux_and_of_the_log_of_slurm_that_have_no_hours_are_named(tmp_path):
    _, of_flux = read(EXAMPLES / "ember.flux.json", tmp_path)
    assert {reason: sorted(jobs) for reason, jobs in of_flux.items.items()} == {"never ran": ["ember/19"], "not ended": ["ember/20"]}
    rows, of_slurm = read(EXAMPLES / "slurm_jobcomp.log", tmp_path)
    assert dict(of_slurm.items) == {"never ran": {"slurm_jobcomp/19"}}
    assert rows.RecordId[0] == "north/17/2026-01-26T10:00:00/2026-01-26T12:00:00"


def test_records_of_gratia_that_are_no_batch_jobs_say_so(tmp_path):
    rows, _ = read(EXAMPLES / "gratia.xml", tmp_path)
    assert rows[["VOName", "ResourceType"]].to_numpy().tolist() == [["physics", "Batch"], ["biology", "Batch"], ["physics", "BatchPilot"]]


def test_a_colon_in_the_name_of_a_job_moves_no_field_of_grid_engine(tmp_path):
    line = (EXAMPLES / "harbor.accounting").read_text().splitlines()[0]
    path = tmp_path / "north.accounting"
    path.write_text("\n".join([line, line.replace(":fit:", ":fit:all:"), line.replace(":-q all.q:", ":-l host=a:b:")]))
    rows, extraction = read(path, tmp_path)
    assert (len(rows), [bad[1] for bad in extraction.bad_lines]) == (1, [2, 3])
