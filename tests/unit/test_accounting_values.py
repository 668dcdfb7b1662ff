"""Formats of accounting, function by function, against values by hand: what steps, TRES, ClassAds and fields say, and what they leave out."""

import json
import os
import re
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_accounting_formats import read

from nightshift.sources.accounting import (
    apel,
    auditor,
    flux,
    gracc_server,
    grid_engine,
    htcondor,
    lsf,
    pbs,
    sacct_json,
    slurm_jobcomp,
    swf,
    usage_records,
)
from nightshift.sources.accounting.columns import gibibytes, json_texts, numbers, seconds, texts_or, utc_texts
from nightshift.sources.accounting.gracc import GraccFiles, gracc_row
from nightshift.sources.accounting.records import SCHEMA, batch_rows, frame_of, row_of_job, times_of
from nightshift.sources.accounting.sacct import Sacct
from nightshift.sources.accounting.sacct_runs import (
    ends,
    gpus_in,
    gpus_of,
    memory_asked,
    number_runs,
    rows_of_lines,
    rows_of_tables,
    says_cpu,
    used_by_steps,
    why_left_out,
)
from nightshift.sources.accounting.sacct_text import Layout, find_delimiter, fits, layout_of, looks_like_sacct, parse_block, split_line
from nightshift.sources.accounting.swf import USED, rows_of, with_processors
from nightshift.sources.files import LayoutError
from nightshift.sources.parts import Extraction
from nightshift.sources.tables import read_files

GIB = 2**30


def texts(*values):
    return pa.array(values, pa.string())


def table_of(**columns):
    return pa.table({name: texts(*values) for name, values in columns.items()})


# ------------------------------------------------------------------------------------------------- rows and columns


def test_core_hours_and_gpu_hours_follow_from_the_time_and_what_was_held():
    amounts = {"WallDuration": 7200, "Processors": 4, "Gpus": 2, "GpuHoursUsed": 5.0, "CpuDuration": 0.5}
    row = row_of_job("a/1", "A", "physics", end=1769853600, amounts=amounts, more={"user": "u"})
    assert row == {
        "RecordId": "a/1", "EndTime": "2026-01-31T10:00:00Z", "SiteName": "A", "VOName": "physics", "ResourceType": "Batch", "Njobs": "1",
        "WallDuration": "7200", "Processors": "4", "CoreHours": "8", "GpuHours": "4", "GpuHoursUsed": "4", "CpuDuration": "0.5",
        "more": '{"user": "u"}',
    }  # fmt: skip
    bare = row_of_job("a/1", "", None, end=None, amounts={"WallDuration": None, "Processors": 4, "Gpus": 2, "GpuHoursUsed": 1.0, "Njobs": 3})
    assert (bare["CoreHours"], bare["GpuHours"], bare["GpuHoursUsed"], bare["Njobs"]) == (None, None, None, "3")
    assert (bare["EndTime"], bare["SiteName"], bare["VOName"], bare["more"]) == (None, None, None, None)
    assert row_of_job("a/1", "A", "v", end=0, amounts={"WallDuration": 0, "Processors": 4, "Gpus": 0})["EndTime"] == "1970-01-01T00:00:00Z"


def test_a_moment_at_the_beginning_of_the_clock_is_none():
    first = ["1970-01-01T12:00:00Z", "1970-01-02T00:00:00Z", None, "2026-01-31T10:00:00Z"]
    assert times_of(frame_of([{"EndTime": text} for text in first]).EndTime).isna().tolist() == [True, False, True, False]


def test_other_kinds_and_other_weeks_are_counted_and_left_out(tmp_path):
    begin, end = (np.datetime64(day) for day in ("2026-01-19", "2026-01-26"))
    window = tuple(pd.Timestamp(day, tz="UTC") for day in (begin, end))
    extraction = Extraction(tmp_path, window)
    kinds = ["Batch", "", None, "Pilot", "Batch", "Batch"]
    times = ["2026-01-19T00:00:00Z", "2026-01-25T23:59:59Z", "soon", "2026-01-20T00:00:00Z", "2026-01-26T00:00:00Z", "2026-01-18T23:59:59Z"]
    page = frame_of([{"RecordId": str(n), "ResourceType": kind, "EndTime": time} for n, (kind, time) in enumerate(zip(kinds, times, strict=True))])
    [kept] = batch_rows([page], extraction)
    assert kept.RecordId.tolist() == ["0", "1", "2"]
    assert {name: extraction.counts[name] for name in ("kept", "other kinds", "outside")} == {"kept": 3, "other kinds": 1, "outside": 2}


def test_sizes_durations_and_numbers_of_columns():
    np.testing.assert_allclose(gibibytes(texts("1048576K", "1.50G", "4294967296", "2T", "512MB", "x", None)), [1, 1.5, 4, 2048, 0.5, np.nan, np.nan])
    found = seconds(texts("1-02:03:04.5", "03:04", "02:00:00", "90", "", None, "1:2:3:4"))
    np.testing.assert_allclose(found, [93784.5, 184, 7200, 90, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(numbers(texts(" 1e3 ", "-2.5", "0x10", "")), [1000, -2.5, np.nan, np.nan])
    assert texts_or(np.array([1.0, np.nan, np.nan, 2.5]), texts("a", "b", "", None)).to_pylist() == ["1", "b", None, "2.5"]
    assert utc_texts(np.array([0.0, np.nan, 1769853600])).to_pylist() == ["1970-01-01T00:00:00Z", None, "2026-01-31T10:00:00Z"]
    assert [json.loads(text) for text in json_texts({"a": texts('x"\\', None), "b": texts("1\n2", "")}).to_pylist()] == [
        {"a": 'x"\\', "b": "1 2"}, {"a": None, "b": ""}
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------- sacct --json


def set_to(number, *, is_set=True, infinite=False):
    return {"set": is_set, "infinite": infinite, "number": number}


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), (None, None), (set_to(5), 5), (set_to(0), 0), (set_to(5, is_set=False), None), (set_to(5, infinite=True), None)],
)
def test_a_number_that_is_not_set_or_has_no_end_is_none(value, number):
    assert sacct_json.number_of(value) == number


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ({"job_id": 12}, "12"), ({"job_id": 15, "array": {"job_id": 12, "task_id": set_to(0)}}, "12_0"),
        ({"job_id": 12, "array": {"job_id": 12, "task_id": None}}, "12"), ({"job_id": 12, "array": {"job_id": 0, "task_id": 0}}, "12"),
        ({"job_id": 16, "array": None, "het": {"job_id": 15, "job_offset": set_to(1)}}, "15+1"),
        ({"job_id": 15, "het": {"job_id": 15, "job_offset": None}}, "15+0"), ({"job_id": 15, "het": {"job_id": 0, "job_offset": 0}}, "15"),
    ],
)  # fmt: skip
def test_a_job_of_json_is_called_as_sacct_calls_it(job, name):
    assert sacct_json.name_of(job) == name


def tres(**counts):
    """A list of TRES from name=count; gres_gpu_a100 is gres/gpu:a100."""
    parts = {name: name.split("_", 2) for name in counts}
    return [{"type": part[0], "name": ":".join(part[1:]) or None, "count": counts[name]} for name, part in parts.items()]


def test_gpus_of_types_count_where_the_count_of_all_is_missing():
    typed = tres(cpu=8, gres_gpu_a100=2, gres_gpu_h100=1, mem=-2, node=0)
    assert [sacct_json.count_of(typed, *kind) for kind in (["cpu"], ["gres", "gpu"], ["mem"], ["node"], ["gres", "gpuutil"])] == [8, 3, None, 0, None]
    assert sacct_json.count_of([*typed, *tres(gres_gpu=4)], "gres", "gpu") == 4
    assert sacct_json.count_of(tres(cpu=None), "cpu") == 0
    assert sacct_json.count_of(None, "cpu") is None


def step(seconds=0, microseconds=0, elapsed=3600, **used):
    return {"time": {"total": {"seconds": seconds, "microseconds": microseconds}, "elapsed": elapsed}, "tres": {"requested": used}}


def test_steps_add_up_their_times_and_the_greatest_memory_is_that_of_the_run():
    first = step(3, 500_000, max=tres(mem=GIB), total=tres(mem=3 * GIB, gres_gpuutil=150))
    second = step(1, None, elapsed=1800, total=tres(gres_gpuutil=100, mem=2 * GIB))
    assert sacct_json.steps_use({"steps": [first, second, step(None, 250_000) | {"tres": None}]}) == (4.75, 3, 2)
    assert sacct_json.steps_use({}) == (0, None, None)
    assert sacct_json.steps_use({"steps": [step(5)]}) == (5, None, None), "a step that says no memory has not used none"
    assert sacct_json.steps_use({"steps": [step(max=tres(mem=0), total=tres(gres_gpuutil=0))]}) == (0, 0, 0)


@pytest.mark.parametrize(
    ("job", "gib"),
    [
        ({"tres": {"allocated": tres(mem=2048), "requested": tres(mem=1024)}}, 2),
        ({"tres": {"allocated": tres(cpu=1), "requested": tres(mem=1024)}}, 1),
        ({"tres": {}, "required": {"memory_per_node": set_to(512), "memory_per_cpu": set_to(4096)}}, 0.5),
        ({"tres": {}, "required": {"memory_per_node": set_to(0), "memory_per_cpu": set_to(1024)}}, 4), ({"tres": {}}, None),
    ],
)  # fmt: skip
def test_memory_is_what_a_run_was_given_else_what_it_asked_for(job, gib):
    assert sacct_json.memory_asked(job, 4) == gib


def slurm_job(number, state="COMPLETED", elapsed=3600, end=1769853600, **more):
    job = {"job_id": number, "cluster": "north", "account": "physics", "state": {"current": [state]}, "user": "u"}
    job |= {"time": {"submission": 1, "start": set_to(2), "end": end, "elapsed": elapsed}, "tres": {"allocated": tres(cpu=4, gres_gpu=1)}}
    return job | {"steps": [step(1800, total=tres(gres_gpuutil=400))]} | more


@pytest.mark.parametrize(
    ("job", "cores", "why"),
    [
        (slurm_job(1), 4, ""), (slurm_job(1, end=0), 4, "not ended"), (slurm_job(1, "RUNNING"), 4, "not ended"), (slurm_job(1), 0, "never ran"),
        (slurm_job(1), None, "never ran"), (slurm_job(1, "CANCELLED", elapsed=0), 4, "never ran"), (slurm_job(1, "CANCELLED", elapsed=5), 4, ""),
        (slurm_job(1, "COMPLETED", elapsed=0), 4, ""),
    ],
)  # fmt: skip
def test_jobs_that_go_on_or_never_ran_have_no_row(job, cores, why):
    assert sacct_json.why_left_out(job, cores) == why


def test_a_run_of_json_is_a_row_with_what_its_steps_say(tmp_path):
    row = sacct_json.row_of(slurm_job(7), 4)
    assert (row["RecordId"], row["EndTime"]) == ("north/7/1/2/1769853600", "2026-01-31T10:00:00Z")
    amounts = ["CoreHours", "WallDuration", "CpuDuration", "Processors", "GpuHours", "GpuHoursUsed"]
    assert [row[name] for name in amounts] == ["4", "3600", "1800", "4", "1", "1"], "in use for no longer than they were held"
    assert sacct_json.row_of(slurm_job(7, steps=[]), 4)["CpuDuration"] is None
    asked = slurm_job(8, tres={"allocated": [], "requested": tres(cpu=2)})
    (tmp_path / "jobs.json").write_text(json.dumps({"jobs": [slurm_job(7), {"job_id": 9}, asked, slurm_job(10, "PENDING", end=0)]}))
    extraction = Extraction(tmp_path, (None, None))
    [page] = sacct_json.read_json(tmp_path / "jobs.json", extraction)
    assert page.Processors.tolist() == ["4", "2"]
    assert [(number, why) for _, number, why, _ in extraction.bad_lines] == [(2, "no job of sacct: 'tres'")]
    assert dict(extraction.items) == {"not ended": {"north/10"}}


@pytest.mark.parametrize("block", [2**20, 8])
def test_documents_of_sacct_after_one_another_are_all_read(tmp_path, monkeypatch, block):
    monkeypatch.setattr("nightshift.sources.files.BLOCK", block)
    weeks = [{"meta": {}, "jobs": jobs, "errors": []} for jobs in ([slurm_job(7), slurm_job(8)], [], [slurm_job(9)])]
    path, extraction = tmp_path / "jobs.json", Extraction(tmp_path, (None, None))
    path.write_text("".join(json.dumps(week, indent=1) + "\n" for week in weeks))
    [page] = sacct_json.read_json(path, extraction)
    assert ([identity.split("/")[1] for identity in page.RecordId], extraction.bad_lines) == (["7", "8", "9"], [])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="its JSON breaks off after"):
        list(sacct_json.read_json(path, extraction))


# ------------------------------------------------------------------------------------------------ lines of sacct


def test_steps_belong_to_the_job_before_them_and_to_no_other():
    jobs = table_of(JobID=["5.batch", "7", "7.batch", "7.0", "8", "9.0"])
    is_step = np.array([1, 0, 1, 1, 0, 1], bool)
    assert number_runs(jobs, is_step).tolist() == [-1, 0, 0, 0, 1, -1]
    assert number_runs(table_of(JobID=["5.batch"]), np.array([True])).tolist() == [-1]
    assert number_runs(table_of(JobID=["7.batch", "7"]), np.array([True, False])).tolist() == [-1, 0], "a step before its job is of the table before"


def test_memory_is_that_of_the_greatest_step_and_gpu_hours_are_those_of_all():
    usage = ["", "mem=2G,gres/gpuutil=50", "gres/gpuutil=100", "mem=1G", "", "mem=9G,gres/gpuutil=100"]
    elapsed, names = ["1"] + ["3600"] * 5, ["7", "7.0", "7.1", "7.2", "8", "9.0"]
    table = table_of(JobID=names, MaxRSS=["", "1G", "3G", "", "", ""], TRESUsageInTot=usage, ElapsedRaw=elapsed)
    memory, hours = used_by_steps(table, np.array([0, 0, 0, 0, 1, -1]), np.array([0, 1, 1, 1, 0, 1], bool))
    np.testing.assert_array_equal([memory, hours], [[3, np.nan], [1.5, np.nan]])


def test_gpus_and_memory_of_a_run_of_sacct():
    counted = texts("cpu=8,gres/gpu=2,gres/gpu:a100=2", "gres/gpu:a100=1,gres/gpu:h100=2", "cpu=1", None, "gres/gpu:a100=many")
    np.testing.assert_array_equal(gpus_of(counted), [2, 3, np.nan, np.nan, np.nan])
    assert np.isnan(gpus_of(texts("cpu=1", None))).all()
    asked = table_of(AllocTRES=["mem=4G", "", "", "", "cpu=1"], ReqMem=["9G", "4Gc", "4Gn", "512M", ""], AllocCPUS=["2"] * 5, NNodes=["3"] * 5)
    np.testing.assert_array_equal(memory_asked(asked), [4, 8, 12, 0.5, np.nan])


def test_why_a_line_of_sacct_is_no_run_that_ended():
    rows = [
        ("7", "COMPLETED", "2026-01-31T10:00:00", "60", "4"), ("7.batch", "COMPLETED", "2026-01-31T10:00:00", "60", "4"),
        ("8", "RUNNING", "Unknown", "60", "4"), ("9", "PENDING", "2026-01-31T10:00:00", "60", "4"),
        ("10", "CANCELLED by 5", "2026-01-31T10:00:00", "0", "4"),
        ("11", "CANCELLED by 5", "2026-01-31T10:00:00", "1", "4"), ("12", "COMPLETED", "2026-01-31T10:00:00", "60", "0"),
        ("13", "REQUEUED", "2026-01-31T10:00:00", "60", "4"), ("14", "FAILED", "2026-01-31T10:00:00", "0", "4"),
    ]  # fmt: skip
    table = table_of(**dict(zip(["JobID", "State", "End", "ElapsedRaw", "AllocCPUS"], zip(*rows, strict=True), strict=True)))
    assert why_left_out(table).tolist() == ["", "step", "not ended", "not ended", "never ran", "", "never ran", "", ""]


def sacct_lines(*rows, **more):
    names = ["JobID", "State", "End", "ElapsedRaw", "AllocCPUS", "TotalCPU"]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return table_of(**columns, Cluster=["north"] * len(rows), **more)


END = "2026-01-31T10:00:00"


def test_core_hours_are_those_of_the_time_where_slurm_says_none():
    lines = sacct_lines(("State", "State", "End", "ElapsedRaw", "AllocCPUS", "TotalCPU"), ("7", "COMPLETED", END, "1800", "4", "00:30:00"))
    rows, left_out = rows_of_lines(lines)
    assert (rows["CoreHours"].to_pylist(), rows["CpuDuration"].to_pylist(), rows["Njobs"].to_pylist()) == (["2"], ["1800"], ["1"])
    assert left_out == {"not ended": [], "never ran": []}
    assert json.loads(rows["more"][0].as_py()) == {"State": "COMPLETED"}
    unknown, _ = rows_of_lines(lines, with_cpu=False)
    assert unknown["CpuDuration"].to_pylist() == [None]
    stated, _ = rows_of_lines(lines.append_column("CPUTimeRAW", texts("x", "3600")))
    assert stated["CoreHours"].to_pylist() == ["1"]
    _, left_out = rows_of_lines(sacct_lines(("8", "RUNNING", "Unknown", "5", "4", ""), ("9", "CANCELLED", END, "0", "4", "")))
    assert left_out == {"not ended": ["north/8"], "never ran": ["north/9"]}


def test_processor_time_is_known_where_a_job_or_a_step_has_any():
    job = ("7", "COMPLETED", END, "1800", "4", "00:00:00")
    assert not says_cpu(sacct_lines(job))
    assert says_cpu(sacct_lines((*job[:5], "00:00:01")))
    assert says_cpu(sacct_lines(job, ("7.batch", *job[1:])))


def test_the_last_run_of_a_table_waits_for_its_steps_in_the_next():
    def part(*names, size):
        return sacct_lines(*((name, "COMPLETED", END, "1800", "4", "00:10:00") for name in names), MaxRSS=[size] * len(names))

    parts = [part("6", "7", size=""), part("7.batch", size="1G"), part("7.0", "8", size="3G")]
    tables = [rows for rows, _ in rows_of_tables(parts)]
    assert [table["MemoryUsedGiB"].to_pylist() for table in tables] == [[None], [], ["3"], [None]]
    assert [name for table in tables for name in table["RecordId"].to_pylist()] == [f"north/{n}/{END}" for n in (6, 7, 8)]
    assert list(rows_of_tables([])) == []


def test_ends_in_seconds_become_times_and_others_stay():
    assert ends(texts("1769853600", "soon", None)).to_pylist() == ["2026-01-31T10:00:00Z", "soon", None]
    assert ends(texts("1769853600")).to_pylist() == ["2026-01-31T10:00:00Z"]


HEADER = "JobID|Account|State|End|ElapsedRaw|AllocCPUS|JobName"


def test_the_header_of_sacct_says_what_stands_between_columns_and_behind_them():
    assert layout_of(HEADER) == Layout("|", HEADER.split("|"), False, True)
    assert layout_of(f"{HEADER}|") == Layout("|", HEADER.split("|"), True, True)
    assert layout_of(HEADER.replace("|", "<>").replace("JobName", "JobName%30")) == Layout("<>", HEADER.split("|"), False, True)
    assert (find_delimiter("JobID,Account"), find_delimiter("no,header")) == (",", "")
    assert looks_like_sacct("JobID|Account|State")
    assert not looks_like_sacct("JobID|Account|other"), "two names are no header"
    assert looks_like_sacct("12_3|x|COMPLETED")
    with pytest.raises(LayoutError, match=r"^it has no State and no End; it has"):
        layout_of("JobID|Account|ElapsedRaw|AllocCPUS")
    with pytest.raises(LayoutError, match=r"^it is sacct's table for people"):
        layout_of(HEADER.replace("|", "  "))
    with pytest.raises(LayoutError, match=r"^it has the column State more than once; needed is"):
        layout_of(f"{HEADER}|State")


def test_a_file_without_header_is_known_by_its_number_of_columns():
    cells = ["12_3", "north", "physics", "COMPLETED", END, END, END, "60", "240", "00:01:00", "4"]
    names = ["JobID", "Cluster", "Account", "State", "Submit", "Start", "End", "ElapsedRaw", "CPUTimeRAW", "TotalCPU", "AllocCPUS"]
    assert layout_of("|".join(cells)) == Layout("|", names, False, False)
    assert layout_of(";".join([*cells, ""])) == Layout(";", names, True, False)
    without_start = [name for name in names if name not in ("Submit", "Start")]
    assert layout_of(",".join(cells[:4] + cells[6:])) == Layout(",", without_start, False, False)
    for line in ("|".join(cells[:-1]), "a|b|c", "12"):
        with pytest.raises(LayoutError, match=r"^it has no header, and its first line, .*, is not of the 16, 11, 9, 26, 25 columns"):
            layout_of(line)


def test_bars_in_the_name_of_a_job_are_its_own_where_nothing_else_could_have_them():
    layout = layout_of(HEADER)
    whole = ["7", "physics", "COMPLETED", END, "60", "4", "fit"]
    assert split_line("|".join(whole), layout) == whole
    assert split_line("|".join([*whole, "all"]), layout) == [*whole[:-1], "fit|all"]
    assert len(split_line("|".join(whole[:-1]), layout)) == 6
    ending = Layout("|", layout.names, True, True)
    assert split_line("|".join([*whole, ""]), ending) == whole
    both = Layout("|", [*layout.names, "Comment"], False, True)
    assert len(split_line("|".join([*whole, "c", "d"]), both)) == 9, "nobody knows whose it is"


@pytest.mark.parametrize("mark", ["|", "<>", "\x1f\x1f"])
def test_a_block_is_read_whatever_stands_between_its_columns(mark):
    layout = Layout(mark, ["JobID", "State"], False, True)
    table, bad = parse_block(f"7{mark}COMPLETED\n8{mark}\n", layout, 2)
    assert (table.to_pydict(), bad) == ({"JobID": ["7", "8"], "State": ["COMPLETED", ""]}, [])
    table, bad = parse_block(f"7{mark}COMPLETED\nbroken\n\n9{mark}FAILED\n", layout, 2)
    assert (table["JobID"].to_pylist(), bad) == (["7", "9"], [(3, "not 2 columns", "broken")])


def test_a_first_line_without_header_fits_where_states_and_amounts_do():
    names = ["JobID", "State", "AllocCPUS"]
    assert fits(names, ["7", "COMPLETED", "4"])
    for cells in (["7", "COMPLETED"], ["7", "completed", "4"], ["7", "COMPLETED", "4G"]):
        assert not fits(names, cells)


# ------------------------------------------------------------------------------------------- other batch systems


def test_a_job_of_htcondor_held_what_its_slot_gave_it():
    job = {"globaljobid": "sched1@host.example#12.0#17", "remotewallclocktime": 7200.0, "cpusprovisioned": 4, "requestcpus": 1, "gpusprovisioned": 1}
    job |= {"memoryprovisioned": 2048, "residentsetsize_raw": 2**20, "cumulativeremoteusercpu": 90.0, "remotesyscpu": 10.0, "owner": "u"}
    row = htcondor.row_of(job | {"completiondate": 0, "enteredcurrentstatus": 1769853600})
    assert [row[name] for name in ("SiteName", "VOName", "EndTime")] == ["sched1", "no group", "2026-01-31T10:00:00Z"]
    amounts = ["CoreHours", "CpuDuration", "GpuHours", "MemoryAskedGiB", "MemoryUsedGiB"]
    assert [row[name] for name in amounts] == ["8", "100", "2", "2", "1"]
    bare = htcondor.row_of({"globaljobid": "#1", "requestcpus": 2, "cumulativeslottime": 7200, "remoteusercpu": 5})
    assert (bare["SiteName"], bare["WallDuration"], bare["CpuDuration"], bare["MemoryAskedGiB"], bare["EndTime"]) == (None, "3600", None, None, None)


@pytest.mark.parametrize(
    ("job", "vo"),
    [
        ({"x509userproxyvoname": "atlas", "acctgroup": "g"}, "atlas"), ({"acctgroup": "g"}, "g"),
        ({"accountinggroup": "g.sub.u", "owner": "u"}, "g.sub"),
        ({"accountinggroup": "g.sub", "owner": "u"}, "g.sub"), ({"accountinggroup": "u", "owner": "u"}, "no group"), ({}, "no group"),
        ({"accountinggroup": "g.v", "acctgroupuser": "v", "owner": "u"}, "g"),
        ({"accountinggroup": "v.u", "acctgroupuser": "v", "owner": "u"}, "no group"),
    ],
)  # fmt: skip
def test_a_job_of_htcondor_is_of_its_group_and_not_of_its_user(job, vo):
    assert htcondor.vo_of(job) == vo


def test_jobs_of_htcondor_that_left_the_queue_and_ran_have_a_row():
    job = {"jobstatus": 4, "remotewallclocktime": 5}
    assert [htcondor.why_left_out(job | more) for more in ({}, {"jobstatus": 3}, {"jobstatus": 2}, {"remotewallclocktime": 0})] == [
        "", "", "not ended", "never ran"
    ]  # fmt: skip
    assert htcondor.why_left_out({"remotewallclocktime": 5}) == ""
    source = htcondor.CondorHistory()

    def recognised(*lines):
        return source.recognises(SimpleNamespace(line=lines[0], lines=lines))

    assert recognised("[", '"ProcId": 0, "QDate": 5')
    assert not recognised("[", '"ProcId": 0, "other": 5')
    assert recognised("{", '"ClusterId": 0')
    assert recognised("ClusterId = 1", "A = 1", "B = 2")
    assert not recognised("ClusterId = 1", "A = 1")
    assert not recognised("C = 1", "A = 1", "B = 2")


def lsf_line(cpu=("10.5", "0"), project="physics", started="1769846400", index="0"):
    cells = ['"JOB_FINISH"', '"10.1"', "1769853600", "77", "1", "0", "4", "1769840000", "0", "0", started, '"user1"', '"normal"', *['""'] * 9]
    behind = [str(n) for n in range(30)]
    behind[4], behind[5], behind[24], behind[29] = *cpu, f'"{project}"', index
    return " ".join([*cells, "1", '"asked"', "2", '"2*n1"', '"n2"', *behind]) + "\n"


def test_a_line_of_lsf_has_its_fields_behind_two_lists_of_hosts():
    job = lsf.job_of(lsf_line())
    assert job == {"job": "77", "submitted": "1769840000", "started": 1769846400, "ended": 1769853600, "user": "user1", "queue": "normal"} | {
        "slots": 3, "cpu": 10.5, "project": "physics"
    }  # fmt: skip
    assert lsf.job_of(lsf_line(("-1", "3")))["cpu"] is None
    row = lsf.row_of("south", job)
    assert [row[name] for name in ("RecordId", "VOName", "CoreHours")] == ["south/77/1769840000/1769846400/1769853600", "physics", "6"]
    assert [lsf.row_of("south", lsf.job_of(lsf_line(project=name)))["VOName"] for name in ("default", "")] == ["no group"] * 2


def test_the_jobs_of_an_array_of_lsf_are_no_copies_of_each_other(tmp_path):
    path, extraction = tmp_path / "south.lsb.acct", Extraction(tmp_path, (None, None))
    lines = [lsf_line(index=index) for index in "012"] + [lsf_line(started="0", index=index) for index in "12"]
    path.write_text("".join(lines) + lsf_line().rsplit(" ", 1)[0])  # an old version writes no index
    [page] = lsf.read_accounting(path, extraction)
    assert [identity.split("/")[1] for identity in page.RecordId] == ["77", "77[1]", "77[2]", "77"]
    assert extraction.items == {"never ran": {"south/77[1]", "south/77[2]"}}


def test_a_file_of_lsf_without_a_job_that_ended_is_refused_and_an_empty_one_is_empty(tmp_path):
    path = tmp_path / "south.lsb.acct"
    path.write_text(lsf_line() + '"JOB_NEW" "10.1" 1769853600 78\n' + lsf_line(started="0") + '"JOB_FINISH" "10.1" 5\nnothing\n\n')
    extraction = Extraction(tmp_path, (None, None))
    [page] = lsf.read_accounting(path, extraction)
    assert (page.SiteName.tolist(), dict(extraction.items)) == (["south"], {"never ran": {"south/77"}})
    assert [number for _, number, _, _ in extraction.bad_lines] == [4, 5]
    path.write_text('"JOB_NEW" "10.1" 1769853600 78\n')
    with pytest.raises(LayoutError, match="none of its lines is of a job that ended"):
        list(lsf.read_accounting(path, extraction))
    path.write_text("")
    assert list(lsf.read_accounting(path, extraction)) == []
    first = SimpleNamespace(line='"JOB_FINISH2" "10.1" 1769853600 3')
    assert lsf.LsfAccounting().recognises(first)


def test_a_job_of_flux_is_of_its_bank_its_project_or_nobody(tmp_path):
    job = {"id": 17, "t_submit": 1.0, "t_run": 1769846400.0, "t_cleanup": 1769853600.0, "t_inactive": 1769853601.0, "ncores": 8, "userid": 0}
    row = flux.row_of("ember", job | {"bank": "b", "project": "p", "queue": None})
    assert [row[name] for name in ("RecordId", "VOName", "CoreHours", "more")] == ["ember/17/1769846400.0", "b", "16", '{"userid": 0}']
    assert [flux.row_of("ember", job | more)["VOName"] for more in ({"bank": "", "project": "p"}, {})] == ["p", "no group"]
    (tmp_path / "ember.json").write_text("".join(json.dumps(one) + "\n" for one in (job, {"id": 18}, job | {"t_inactive": 0})))
    extraction = Extraction(tmp_path, (None, None))
    [page] = flux.read_jobs(tmp_path / "ember.json", extraction)
    assert (len(page), [(why, text) for *_, why, text in extraction.bad_lines]) == (1, [("no job of Flux", '{"id": 18}')])
    assert dict(extraction.items) == {"not ended": {"ember/17"}}


def test_a_job_or_a_record_that_holds_an_empty_list_is_no_empty_answer(tmp_path):
    job = {"id": 17, "t_submit": 1.0, "t_run": 1769846400.0, "t_cleanup": 1769853600.0, "t_inactive": 1769853601.0, "ncores": 8, "events": []}
    record = {"record_id": "a", "components": [], "start_time": "2026-01-31T10:00:00Z", "stop_time": "2026-01-31T11:00:00Z", "data": []}
    extraction = Extraction(tmp_path, (None, None))
    for reader, one in ((flux.read_jobs, job), (auditor.read_auditor, record)):
        (tmp_path / "a.json").write_text(f'{json.dumps(one)}\n{{"total": 0, "data": []}}\n')
        [page] = reader(tmp_path / "a.json", extraction)
        assert (len(page), extraction.bad_lines) == (1, [])


def test_jobs_of_arc_without_an_end_or_without_hours_are_named(tmp_path):
    path = tmp_path / "accounting.db"
    with closing(sqlite3.connect(path)) as connection:
        for table, column in (("Endpoints", "URL"), ("WLCGVOs", "Name"), ("Queues", "Name"), ("Status", "Name")):
            connection.execute(f"CREATE TABLE {table} (ID INTEGER, {column} TEXT)")
            connection.execute(f"INSERT INTO {table} VALUES (1, 'https://ce.north.example:443/arex')")
        names = (
            "RecordID, JobID, EndpointID, VOID, QueueID, StatusID, EndTime, UsedWalltime, UsedCPUUserTime, UsedCPUKernelTime, CPUCount, UsedMemory"
        )
        connection.execute(f"CREATE TABLE AAR ({names})")
        jobs = [("ran", 1769853600, 3600, 8), ("idle", 1769853600, 0, 8), ("open", 0, 3600, 8), ("bare", 1769853600, 60, 0)]
        for number, (job, end, wall, cores) in enumerate(jobs):
            connection.execute(f"INSERT INTO AAR VALUES ({number}, '{job}', 1, 1, 1, 1, {end}, {wall}, 5, 2, {cores}, {2**20})")
        connection.commit()
    rows, extraction = read(path, tmp_path)
    assert dict(extraction.items) == {"not ended": {"open"}, "never ran": {"idle"}}
    columns = ["RecordId", "SiteName", "CoreHours", "CpuDuration", "MemoryUsedGiB"]
    assert rows[columns].to_numpy().tolist() == [["ran", "ce.north.example", "8", "7", "1"], ["bare", "ce.north.example", None, "7", "1"]]


@pytest.mark.parametrize(
    ("text", "amount"), [("01:30:05", 5405), ("100:00:00", 360_000), ("90", 90), ("1:30", 90), ("1:2:3:4", None), ("", None), (None, None)]
)
def test_seconds_of_pbs_are_of_hours_or_plain(text, amount):
    assert pbs.seconds(text) == amount


def test_a_job_of_pbs_has_used_what_pbs_counted_else_what_it_was_given():
    job = {"resources_used.walltime": "01:00:00", "resources_used.cput": "1800", "resources_used.mem": "1048576kb", "Resource_List.mem": "2gb"}
    job |= {"exec_host": "n1/0*2+n2/0-1", "Resource_List.ncpus": "9", "end": "1769853600", "ctime": "1", "start": "2", "user": "u", "group": "g"}
    row = pbs.row_of("21.pbs.example", job)
    assert [row[name] for name in ("RecordId", "SiteName", "VOName")] == ["21.pbs.example/1/2/1769853600", "pbs.example", "g"]
    amounts = ["CoreHours", "CpuDuration", "Processors", "MemoryAskedGiB", "MemoryUsedGiB"]
    assert [row[name] for name in amounts] == ["4", "1800", "4", "2", "1"]
    assert pbs.row_of("21.pbs", job | {"total_execution_slots": "6", "resources_used.ncpus": "7"})["Processors"] == "6"
    assert pbs.row_of("21.pbs", job | {"resources_used.ncpus": "7"})["Processors"] == "7"
    assert pbs.row_of("21.pbs", job | {"exec_host": ""})["Processors"] == "9"
    assert [pbs.gibibytes(text) for text in ("1tb", "512mb", "2048b", "2kw", "x", None)] == [1024, 0.5, 2048 / GIB, None, None, None]


def test_grid_engine_of_univa_counts_milliseconds(tmp_path):
    job = {"started": "1769846400", "ended": "1769853600", "cpu": "5.5", "slots": "2", "task": "0", "job": "9", "submitted": "1", "owner": "o"}
    job |= {"project": "NONE", "department": "defaultdepartment", "group": "g"}
    row = grid_engine.row_of("harbor", job)
    assert [row[name] for name in ("RecordId", "VOName", "CoreHours", "EndTime")] == [
        "harbor/9/1/1769846400/1769853600", "g", "4", "2026-01-31T10:00:00Z"
    ]  # fmt: skip
    univa = grid_engine.row_of("harbor", job | {"started": "1769846400000", "ended": "1769853600500", "task": "3"})
    assert [univa[name] for name in ("WallDuration", "EndTime")] == ["7200.5", "2026-01-31T10:00:00Z"]
    assert univa["RecordId"].startswith("harbor/9.3/")
    assert grid_engine.vo_of(job | {"department": "d"}) == "d"
    assert grid_engine.vo_of(job | {"project": "p"}) == "p"
    assert grid_engine.vo_of(job | {"group": ""}) is None
    cells = ["0"] * 45
    cells[42] = cells[13] = cells[36] = "1.5"
    cells[41] = "NONE"
    assert grid_engine.job_of(":".join(cells))["wall"] == "1.5"
    assert grid_engine.job_of(":".join(cells[:44])) is None
    for at, text in ((41, "5"), (9, "soon"), (34, "1.5"), (36, "x")):
        assert grid_engine.job_of(":".join([*cells[:at], text, *cells[at + 1 :]])) is None


def test_records_of_apel_say_whose_they_are_and_how_much():
    assert [apel.vo_of(record) for record in ({"VO": "atlas"}, {"VO": "None", "FQAN": "/cms/Role=x"}, {"FQAN": "none"}, {})] == [
        "atlas",
        "cms",
        None,
        None,
    ]
    record = {"WallDuration": "7200", "CpuDuration": "x", "Processors": "0", "MemoryReal": str(2**20)}
    assert apel.amounts_of(record) == {"WallDuration": 7200, "CpuDuration": None, "Processors": None, "MemoryUsedGiB": 1}
    total = record | {"Site": "N", "Year": "2028", "Month": "2", "NumberOfJobs": "3", "Processors": "2", "UpdateTime": "a"}
    row = apel.row_of_total(total)
    assert [row[name] for name in ("EndTime", "Njobs", "CoreHours")] == ["2028-02-29T23:59:59Z", "3", "4"]
    again = apel.row_of_total(
        total | {"NumberOfJobs": "9", "WallDuration": "1", "UpdateTime": "b", "NormalisedWallDuration": "4", "LatestEndTime": "5"}
    )
    assert again["RecordId"] == row["RecordId"], "what was sent again replaces the earlier one"
    assert apel.row_of_total(total | {"Month": "3"})["RecordId"] != row["RecordId"]
    lines = ["APEL-summary-job-message: v0.2", "Site: A", "Month: 1", "%%", "Site: B", "", "%%", "APEL-individual-job-message: v0.3", "Site: C"]
    assert list(apel.records_of(lines)) == [
        (2, lines[0], {"Site": "A", "Month": "1"}), (5, lines[0], {"Site": "B"}), (9, lines[7], {"Site": "C"})
    ]  # fmt: skip


def test_records_of_auditor_name_their_cores_as_they_like():
    record = {"record_id": "r", "meta": {"site_id": ["NORTH"], "group_id": ["%2Fcms%2Fx"]}, "runtime": 3600}
    record["components"] = [{"name": "Cores", "amount": 8}, {"name": "cpu", "amount": 2}, {"name": "gpu", "amount": True}, {"name": None}]
    row = auditor.row_of(record, 0.0, 1769853600.0)
    assert [row[name] for name in ("SiteName", "VOName", "CoreHours", "GpuHours", "EndTime")] == ["NORTH", "cms", "10", None, "2026-01-31T10:00:00Z"]
    assert auditor.meta_of({"meta": {"vo": [], "group_id": "g"}}, "vo", "group_id") == "g"
    assert (auditor.meta_of({}, "vo"), auditor.amount_in({}, {"cpu"})) == ("", None)
    assert auditor.row_of({"record_id": "r"}, np.nan, np.nan)["WallDuration"] is None
    endless = {"record_id": "r", "runtime": float("inf")}  # as JSON such as 1e999 is read
    assert auditor.row_of(endless, np.nan, np.nan)["WallDuration"] is None


def test_times_of_usage_records_are_sums_of_their_parts():
    durations = {"PT1H30M": 5400, "P1DT0.5S": 86400.5, "P2D": 172_800, "PT": None, "": None, None: None, "1H": None}
    assert [usage_records.seconds(text) for text in durations] == list(durations.values())
    assert usage_records.cpu_time([("user", 5.0), ("system", 2.0)]) == 7
    assert usage_records.cpu_time([("user", 5.0), ("all", 9.0)]) == usage_records.cpu_time([("", 9.0), ("user", 1.0)]) == 9
    assert usage_records.cpu_time([("all", None)]) is None
    assert usage_records.cpu_time([]) is None


def test_a_line_of_jobcomp_is_a_row_of_its_account_or_group():
    job = {"JobId": "17", "StartTime": "2026-01-31T08:00:00", "EndTime": "2026-01-31T10:00:00", "ProcCnt": "8", "Tres": "cpu=8,gres/gpu=2"}
    row = slurm_jobcomp.row_of("north", job | {"UserId": "u(1)", "GroupId": "physics(2)"})
    assert [row[name] for name in ("RecordId", "VOName", "CoreHours", "GpuHours")] == [
        "north/17/2026-01-31T08:00:00/2026-01-31T10:00:00",
        "physics",
        "16",
        "4",
    ]
    assert slurm_jobcomp.row_of("north", job | {"Cluster": "south", "Tres": "cpu=8"})["SiteName"] == "south"
    counts = {"cpu=8": None, "gres/gpu=2": 2, "cpu=8,gres/gpu:a100=2,gres/gpu:v100=1": 3, "gres/gpu:a100=2,gres/gpu=2": 2, "gres/gpu=0": 0, "": None}
    assert {tres: gpus_in(tres) for tres in counts} == counts
    assert slurm_jobcomp.vo_of({"GroupId": "u(1)", "UserId": "u(1)"}) == slurm_jobcomp.vo_of({}) == "no group"
    assert slurm_jobcomp.vo_of({"Account": "a", "GroupId": "g(1)"}) == "a"
    assert slurm_jobcomp.vo_of({"Account": "(null)", "GroupId": "g(1)"}) == "g"


def test_jobs_of_a_workload_log_ran_where_they_have_a_time_and_processors():
    names = ["job", "submit", "wait", "run", "allocated", "cpu", "requested", "user", "group"]
    rows = [
        (1, 100, 50, 3600, 4, 1800, 8, 7, 2),
        (2, 100, -1, 0, -1, -1, 2, 7, -1),
        (3, 0, 0, -1, 4, 0, 4, 7, 2),
        (4, 0, 0, 60, 0, 0, 0, 7, 2),
        (5, 0, 0, 60, 0, 0, 2, 7, 2),
    ]
    page = with_processors(np.array(rows, float)[:, [names.index(name) for name in USED]])
    assert (page.processors.tolist(), page.ran.tolist()) == ([4, 2, 4, 0, 2], [True, True, False, False, True])
    table = rows_of(page[page.ran].head(2), "NASA-1993", start=1769853600, who="group").to_pydict()
    assert table["RecordId"] == ["NASA-1993/1", "NASA-1993/2"]
    assert table["EndTime"] == ["2026-01-31T11:02:30Z", "2026-01-31T10:01:40Z"], "a wait that is not known is none"
    assert (table["SiteName"][0], table["VOName"], table["CoreHours"], table["CpuDuration"]) == ("NASA", ["group2", None], ["4", "0"], ["7200", None])


def test_a_workload_log_tells_its_jobs_apart_by_groups_unless_nearly_all_are_of_one(tmp_path):
    def line(job, group, user, run=60):
        return f"{job} 0 0 {run} 2 30 -1 2 -1 -1 1 {user} {group} -1 -1 -1 -1 -1"

    def vos(*lines):
        path = tmp_path / "NASA-1993.swf"
        path.write_text("; UnixStartTime: 1769853600\n" + "\n".join(lines))
        extraction = Extraction(tmp_path, (None, None))
        return [vo for page in swf.read_swf(path, extraction) for vo in page.VOName], dict(extraction.items)

    assert vos(*(line(n, n % 2, 7) for n in range(1, 5)))[0] == ["group1", "group0", "group1", "group0"]
    assert vos(*(line(n, 0, n) for n in range(1, 11)))[0] == [f"user{n}" for n in range(1, 11)]
    assert vos(*(line(n, int(n == 10), n) for n in range(1, 11)))[0][0] == "user1", "nine of ten are nearly all"
    assert vos(line(1, -1, 3), line(2, -1, 4, run=-1)) == (["user3"], {"never ran": {"NASA-1993/2"}})
    assert vos() == ([], {})
    (tmp_path / "x.swf").write_text(line(1, 1, 1))
    with pytest.raises(ValueError, match="no UnixStartTime"):
        list(swf.read_swf(tmp_path / "x.swf", Extraction(tmp_path, (None, None))))
    source = swf.SwfLogs()
    found = [source.recognises(SimpleNamespace(name=name, line=text)) for name, text in (("a.swf.gz", "1 2"), ("a", "; Version"), ("a", "1 2"))]
    assert found == [True, True, False]


def test_an_array_of_pbs_has_no_hours_but_those_of_its_jobs(tmp_path):
    line = "01/31/2026 12:00:00;E;21{}.pbs;user=u group=g resources_used.walltime=01:00:00 resources_used.ncpus=2 end=1769853600\n"
    path = tmp_path / "20260131"
    path.write_text(line.format("[]") + line.format("[1]") + line.replace(";E;", ";S;").format(""))
    [page] = pbs.read_pbs(path, Extraction(tmp_path, (None, None)))
    assert page.RecordId.tolist() == ["21[1].pbs/1769853600"]
    path.write_text("")
    assert list(pbs.read_pbs(path, Extraction(tmp_path, (None, None)))) == []


def test_an_end_that_no_clock_reaches_is_one_line(tmp_path):
    path = tmp_path / "20260126"
    path.write_text("01/26/2026 12:00:00;E;21.pbs;user=a group=b start=1769425200 end=99999999999999999999\n")
    with pytest.raises(ValueError, match=r"20260126 cannot be read: OverflowError: "):
        read_files(str(path), lambda path: list(pbs.read_pbs(path, Extraction(tmp_path, (None, None)))))


def test_a_file_without_a_line_of_grid_engine_is_refused_and_an_empty_one_is_empty(tmp_path):
    path = tmp_path / "harbor.accounting"
    path.write_text("# a comment\n\n")
    assert [len(page) for page in grid_engine.read_accounting(path, Extraction(tmp_path, (None, None)))] == [0]
    path.write_text("a:b\n")
    with pytest.raises(LayoutError, match="none of its lines has the 45 fields"):
        list(grid_engine.read_accounting(path, Extraction(tmp_path, (None, None))))


def test_a_classad_may_begin_a_string_with_a_line_break(tmp_path):
    path = tmp_path / "history"
    path.write_text('A = "\nB = 2"\nOwner = "u"\nE = ""\nN = 5\n\nOwner = "v"\n')
    [(jobs, bad)] = htcondor.read_long(path)
    assert [(sorted(job), job["Owner"]) for job in jobs] == [(["A", "E", "N", "Owner"], "u"), (["Owner"], "v")]
    assert (jobs[0]["N"], bad) == (5, [])


def test_what_runs_beside_a_schedd_of_htcondor_is_no_batch_job(tmp_path):
    """A DAGMan waits for its jobs for days, and holds no slot."""
    job = {"GlobalJobId": "s#1.0#1", "JobStatus": 4, "RemoteWallClockTime": 3600.0, "RequestCpus": 1, "CompletionDate": 1769853600}
    jobs = [job | {"JobUniverse": universe, "GlobalJobId": f"s#{universe}.0#1"} for universe in (5, 7, 9, 12)] + [job]
    (tmp_path / "history.json").write_text(json.dumps(jobs))
    extraction = Extraction(tmp_path, (pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp("2026-03-01", tz="UTC")))
    [page] = batch_rows(htcondor.read_history(tmp_path / "history.json", extraction), extraction)
    assert page.RecordId.tolist() == ["s#5.0#1", "s#9.0#1", "s#1.0#1"]
    assert extraction.counts["other kinds"] == 2


def test_an_expression_of_a_classad_that_begins_with_a_string_ends_with_its_line(tmp_path):
    """What follows it, the blank line between two jobs above all, would otherwise be taken for the rest of the string."""
    path = tmp_path / "history"
    path.write_text('Kind = "a" =?= MY.Kind\nN = 1\n\nPath = "C:\\new\\"\nText = "b\nc"\nN = 2\n')
    [(jobs, bad)] = htcondor.read_long(path)
    assert [(sorted(job), job["N"]) for job in jobs] == [(["Kind", "N"], 1), (["N", "Path", "Text"], 2)]
    assert (jobs[0]["Kind"], bad) == ('"a" =?= MY.Kind', [])


def test_a_resource_of_a_usage_record_is_its_type_only_where_it_says_so(tmp_path):
    record = (
        '<UsageRecord><RecordIdentity recordId="r"/><Resource description="{}">BatchPilot</Resource><WallDuration>PT1H</WallDuration></UsageRecord>'
    )
    path = tmp_path / "records.xml"
    for description, kind in (("ResourceType", "BatchPilot"), ("Probe", "Batch")):
        path.write_text(f"<UsageRecords>{record.format(description)}</UsageRecords>")
        [page] = usage_records.read_usage_records(path)
        assert page[["RecordId", "ResourceType", "WallDuration"]].to_numpy().tolist() == [["r", kind, "3600"]]
    path.write_text("<UsageRecords><UsageRecord>")
    with pytest.raises(LayoutError, match=r"^its XML breaks off after 0 records"):
        list(usage_records.read_usage_records(path))
    path.write_text("<a/>")
    with pytest.raises(LayoutError, match=r"^it is XML without usage records"):
        list(usage_records.read_usage_records(path))


# ------------------------------------------------------------------------------------------------------ GRACC


def test_a_record_of_gracc_is_called_by_its_source_or_by_all_that_it_says():
    row = gracc_row({"_id": "x", "_source": {"SiteName": "A", "CoreHours": 1.5, "RecordId": "y", "Extra": 1}})
    assert (row["RecordId"], row["SiteName"], row["CoreHours"], json.loads(row["more"])) == ("x", "A", "1.5", {"Extra": 1})
    bare = gracc_row({"SiteName": "A", "RecordId": "y"})
    assert (bare["RecordId"], bare["more"], bare["VOName"]) == ("y", None, None)
    first, same, other = (
        gracc_row(one)["RecordId"] for one in ({"SiteName": "A", "VOName": "v"}, {"VOName": "v", "SiteName": "A"}, {"SiteName": "B"})
    )
    assert (first, len(first)) == (same, 32)
    assert first != other


NAMES = {"EndTime", "CoreHours", "SiteName", "VOName.keyword", "ResourceType", "Njobs"}
WINDOW = tuple(pd.Timestamp(day, tz="UTC") for day in ("2026-01-05", "2026-01-19"))


class Index:
    """An Elasticsearch of GRACC: two pages of totals, and three records of other kinds."""

    def __init__(self, names=NAMES, texts=("VOName",)):
        self.kinds = {name: {"k": {"aggregatable": True}} for name in names} | {name: {"text": {"aggregatable": False}} for name in texts}
        self.asked = []

    def __call__(self, call, **how):
        self.asked.append((call, how))
        if call == "field_caps":
            return {"fields": self.kinds}
        if "aggs" not in how:
            return {"hits": {"total": {"value": 3}}}
        first = "after" not in how["aggs"]["totals"]["composite"]
        ends = [1767970800000, 1768575600500] if first else []
        keys = [{"SiteName": "A", "VOName": None, "week": 1767571200000}, {"SiteName": "B", "VOName": "v", "week": 1768176000000}]
        buckets = [
            {"key": key, "EndTime": {"value": end}, "doc_count": 2, "CoreHours": {"value": 8.0}, "Njobs": {"value": 5.0}}
            for key, end in zip(keys, ends, strict=False)
        ]
        return {"aggregations": {"totals": {"buckets": buckets} | ({"after_key": keys[-1]} if first else {})}}


def test_a_server_of_gracc_adds_up_by_week_site_and_group(tmp_path):
    ask, extraction = Index(), Extraction(tmp_path, WINDOW)
    pages = list(gracc_server.read_totals(ask, "gracc", extraction=extraction, page_rows=2))
    assert [len(page) for page in pages] == [2, 0]
    rows = pages[0][["RecordId", "EndTime", "VOName", "CoreHours", "Njobs", "more"]].to_numpy().tolist()
    assert rows == [
        ["A||2026-01-05", "2026-01-09T15:00:00Z", None, "8.0", "5.0", '{"records": 2}'],
        ["B|v|2026-01-12", "2026-01-16T15:00:00Z", "v", "8.0", "5.0", '{"records": 2}'],
    ]
    assert extraction.counts["other kinds"] == 3
    assert ask.asked[1][1]["track_total_hits"] is True
    first, second = (how["aggs"]["totals"]["composite"] for _, how in ask.asked[2:])
    assert (first["size"], "after" in first, second["after"]["SiteName"]) == (2, False, "B")
    assert [list(group) for group in first["sources"]] == [["week"], ["SiteName"], ["VOName"]]
    assert first["sources"][2]["VOName"]["terms"] == {"field": "VOName.keyword", "missing_bucket": True}
    with pytest.raises(LayoutError, match=r"^the index gracc has no VOName; "):
        gracc_server.field_names(Index(NAMES - {"VOName.keyword"}), "gracc")
    plain = gracc_server.field_names(Index({*NAMES, "VOName"}, texts=()), "gracc")
    assert plain["VOName"] == "VOName", "the field itself, where it can be added up by"


def test_an_index_without_kinds_has_batch_jobs_only():
    within = {"range": {"EndTime": {"gte": "2026-01-05T00:00:00+00:00", "lt": "2026-01-19T00:00:00+00:00"}}}
    query, other = gracc_server.batch_queries({}, WINDOW)
    assert query == {"bool": {"filter": [within]}}
    assert other == {"bool": {"must_not": [{"match_all": {}}]}}
    query, other = gracc_server.batch_queries({"ResourceType": "R.keyword"}, WINDOW)
    kinds = {"bool": {"filter": [{"exists": {"field": "R.keyword"}}], "must_not": [{"terms": {"R.keyword": ["Batch", ""]}}]}}
    assert (query, other) == ({"bool": {"filter": [within], "must_not": [kinds]}}, {"bool": {"filter": [within, kinds]}})


def test_a_look_at_a_server_of_gracc_asks_for_its_ends(monkeypatch):
    source = gracc_server.GraccServer(index="gracc", page_rows=5, timeout_s=1.0, retry_wait_s=None)
    ends = {"aggregations": {"oldest": {"value": 1767571200000}, "newest": {"value": None}}, "hits": {"total": {"value": 12}}}
    asked, index = [], Index()
    monkeypatch.setattr(source, "connect", lambda address: lambda call, **how: asked.append(how) or (ends if call == "search" else index(call)))
    look = source.look("https://h", settings={})
    assert (look.oldest, look.newest, look.total, "VOName" in look.filled) == (pd.Timestamp("2026-01-05", tz="UTC"), None, 12, True)
    assert (asked[1]["size"], asked[1]["track_total_hits"]) == (0, True)


# -------------------------------------------------------------------------------------------------- sacct, live


def test_a_week_that_is_over_is_asked_once_and_the_running_one_every_night(tmp_path, monkeypatch):
    source, asked = Sacct("", 1.0), []
    monkeypatch.setattr(source, "command", lambda folder: ["sacct"])
    head = "JobID|Cluster|Account|State|End|ElapsedRaw|AllocCPUS"

    def ask(command, begin, end, answer):
        asked.append((f"{begin:%m-%d}", f"{end:%m-%d}"))
        lines = [f"{n}|north|physics|COMPLETED|{day}T10:00:00|60|2" for n, day in enumerate([f"{begin:%Y-%m-%d}", "2026-01-15"])]
        answer.write_text("\n".join([head, *lines]))

    monkeypatch.setattr(source, "ask", ask)
    extraction = Extraction(tmp_path, tuple(pd.Timestamp(day, tz="UTC") for day in ("2026-01-05", "2026-01-16")))
    source.extract("sacct", extraction)
    assert asked == [("01-05", "01-12"), ("01-12", "01-16")]
    first, second = (part for _, part in source.weeks("x", extraction))
    parts = sorted(tmp_path.glob("*.parquet"))
    assert [part.name[19:] for part in parts] == [first.name[2:], second.name[2:]] == ["2026-01-05.parquet", "2026-01-12-2026-01-16.parquet"]
    ends = [pd.read_parquet(part).EndTime.tolist() for part in parts]
    assert ends == [["2026-01-05T10:00:00"], ["2026-01-12T10:00:00", "2026-01-15T10:00:00"]], "each run in the week in which it ended"
    assert (extraction.counts["outside"], extraction.parts) == (0, set(parts))
    over = pd.Timestamp("2026-01-12 01:00", tz="UTC").timestamp()
    for written, again in ((over, 1), (over + 1, 0)):
        asked.clear()
        os.utime(parts[0], (written, written))
        os.utime(parts[1], (written, written))
        source.extract("sacct", extraction)
        assert asked == [("01-05", "01-12")] * again + [("01-12", "01-16")]
    asked.clear()
    long_after = pd.Timestamp("2026-03-01", tz="UTC").timestamp()
    os.utime(parts[1], (long_after, long_after))
    source.extract("sacct", Extraction(tmp_path, (extraction.window[0], pd.Timestamp("2026-01-17", tz="UTC"))))
    assert asked == [("01-12", "01-17")], "a week that an earlier window had cut is asked for again, however old it is"


def test_a_look_at_sacct_asks_for_the_last_day_and_for_that_weekday_of_the_first_week(monkeypatch):
    source, asked = Sacct("", 1.0), []
    monkeypatch.setattr(source, "command", lambda folder: ["sacct"])

    def ask(command, begin, end, answer):
        asked.append((str(begin.date()), str(end.date())))
        answer.write_text(f"JobID|Cluster|Account|State|End|ElapsedRaw|AllocCPUS\n1|n|p|COMPLETED|{begin:%Y-%m-%d}T10:00:00|60|2\nbroken\n")

    monkeypatch.setattr(source, "ask", ask)
    look = source.look("sacct", settings={"day": "2026-01-31", "weeks": 3})
    assert asked == [("2026-01-17", "2026-01-18"), ("2026-01-31", "2026-02-01")]
    assert (look.rows, look.bad, str(look.oldest), str(look.newest)) == (2, 2, "2026-01-17 10:00:00+00:00", "2026-01-31 10:00:00+00:00")


def test_files_of_gracc_are_known_by_their_beginning_their_name_or_their_columns():
    source = GraccFiles()

    def recognised(line="", name="x"):
        return source.recognises(SimpleNamespace(line=line, name=name))

    assert all(recognised(line) for line in ("", "[1", '{"a": 1}'))
    assert all(recognised("a", name) for name in ("x.csv.gz", "x.json"))
    assert recognised("EndTime;VOName")
    assert not recognised("EndTime;other")


def test_every_row_by_hand_has_columns_of_the_raw_table():
    assert set(row_of_job("a", "A", "v", end=0, amounts={})) <= set(SCHEMA.names)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row_of_job("a", "A", "v", end=1, amounts={})["EndTime"])
