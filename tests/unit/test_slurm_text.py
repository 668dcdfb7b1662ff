"""What sacct prints, in every form that people save it in, on hand-made lines with values asserted."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.sources.accounting.columns import gibibytes, json_texts, seconds, texts_or
from nightshift.sources.accounting.sacct import Sacct, read_runs
from nightshift.sources.accounting.sacct_runs import gpus_of
from nightshift.sources.accounting.sacct_text import FORMAT, looks_like_sacct, read_tables
from nightshift.sources.files import LayoutError
from nightshift.sources.parts import Extraction

BEFORE = FORMAT[:11]  # what was documented before GPUs and memory were
SHORT = [name for name in BEFORE if name not in ("Submit", "Start")]
RUNS = [  # of two jobs: the first was preempted and requeued, then ran to its end; the ids began anew after the second
    "101|alpine|bio|PREEMPTED|1767570000|1767571200|1767578400|7200|72000|01:50:00|10",
    "101|alpine|bio|REQUEUED|1767570000|1767578460|1767585660|7200|72000|01:50:00|10",
    "101|alpine|bio|COMPLETED|1767570000|1767585720|1767589320|3600|36000|00:55:00|10",
    "101.batch|alpine|bio|COMPLETED|1767570000|1767585720|1767589320|3600|36000|00:55:00|10",
    "101|alpine|bio|COMPLETED|1768570000|1768571200|1768574800|3600|36000|00:55:00|10",
    "102+0|alpine|bio|COMPLETED|1768570000|1768571200|1768574800|3600|36000|00:55:00|10",
    "102+1|alpine|bio|COMPLETED|1768570000|1768571200|1768574800|3600|7200|00:55:00|2",
    "103_[2-9]|alpine|bio|PENDING|1768570000|Unknown|Unknown|0|0|00:00:00|10",
    "104|alpine|bio|REQUEUED|1768570000|Unknown|Unknown|0|0|00:00:00|10",
    "105|alpine|bio|CANCELLED by 7|1768570000|1768571200|1768571200|0|0|00:00:00|10",
]


def saved(folder, lines, delimiter="|", bar=False, name="sacct.txt"):
    text = "".join(line.replace("|", delimiter) + delimiter * bar + "\n" for line in lines)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def read(path):
    """(cells of every line, what does not fit)"""
    pages = list(read_tables(path))
    return [job for table, _ in pages for job in table.to_pylist()], [bad for _, bads in pages for bad in bads]


def runs(path, folder):
    """(rows of the accounting, names of jobs left out by reason)"""
    extraction = Extraction(folder, (None, None))
    return pd.concat(read_runs(path, extraction), ignore_index=True), dict(extraction.items)


def test_every_run_of_a_job_is_a_row_of_its_own(tmp_path):
    rows, left_out = runs(saved(tmp_path, ["|".join(BEFORE), *RUNS]), tmp_path)
    assert left_out == {"not ended": {"alpine/103_[2-9]", "alpine/104"}, "never ran": {"alpine/105"}}
    assert rows.RecordId.is_unique
    assert rows.RecordId[0] == "alpine/101/1767570000/1767571200/1767578400"
    assert rows.CoreHours.astype(float).tolist() == [20, 20, 10, 10, 10, 2]
    assert rows.EndTime[:2].tolist() == ["2026-01-05T02:00:00Z", "2026-01-05T04:01:00Z"]
    assert json.loads(rows.more[1]) == {"State": "REQUEUED"}


def test_a_name_with_a_point_is_no_step_and_no_run_is_lost(tmp_path):
    """A step is the number of a job and what stands behind the point; all else is a run, whatever it is called."""
    line = "|alpine|bio|COMPLETED|1|2|1767578400|60|60|00:55|1|1||2G||"
    rows, _ = runs(saved(tmp_path, ["|".join(FORMAT), *(name + line for name in ("7", "7.batch", "..", "../../hit", "a.b"))]), tmp_path)
    assert [one.removesuffix("/1/2/1767578400") for one in rows.RecordId] == ["alpine/7", "alpine/..", "alpine/../../hit", "alpine/a.b"]


def test_the_last_job_of_a_block_waits_for_its_steps(tmp_path, monkeypatch):
    lines = [f"{n}{step}|alpine|bio|COMPLETED|1|2|1767578400|60|60|00:55|1|1||{rss}||" for n in range(9) for step, rss in (("", ""), (".0", f"{n}G"))]
    path = saved(tmp_path, ["|".join(FORMAT), *lines])
    whole, _ = runs(path, tmp_path)
    monkeypatch.setattr("nightshift.sources.files.blocks_of.__defaults__", (100,))
    cut, _ = runs(path, tmp_path)
    pd.testing.assert_frame_equal(whole, cut)
    assert cut.MemoryUsedGiB.tolist() == [str(n) for n in range(9)]


def test_gpus_and_memory_are_those_of_the_job_and_of_its_steps(tmp_path):
    lines = [
        "1|a|p|COMPLETED|1|2|1767578400|7200|57600|08:00:00|8|2|4Gc||cpu=8,gres/gpu:a100=2,gres/gpu=2|",
        "1.batch|a|p|COMPLETED|2|2|1767578400|7200|57600|08:00:00|8|2||512M||cpu=01:00:00,mem=2G",
        "1.0|a|p|COMPLETED|2|2|1767578400|3600|57600|08:00:00|8|2||3G||gres/gpumem=9G,gres/gpuutil=150,mem=4G",
        "2|a|p|COMPLETED|1|2|1767578400|3600|3600|00:00:00|1|2|2Gn||cpu=1,gres/gpu:a100=1,gres/gpu:h100=2|",
        "3.0|a|p|COMPLETED|2|2|1767578400|3600|57600|08:00:00|8|2||99G||",
        "4|a|p|COMPLETED|1|2|1767578400|3600|3600|00:00:00|1|1|2G||cpu=1,mem=1G|",
    ]
    rows, _ = runs(saved(tmp_path, ["|".join(FORMAT), *lines]), tmp_path)
    amounts = rows[["GpuHours", "GpuHoursUsed", "MemoryAskedGiB", "MemoryUsedGiB"]].astype(float)
    assert amounts.fillna(-1).to_numpy().tolist() == [[4, 1.5, 32, 4], [3, -1, 4, -1], [-1, -1, 1, -1]]


def test_a_bar_in_a_name_is_no_column(tmp_path):
    names = ["JobName", *FORMAT]
    jobs, bad = read(saved(tmp_path, ["|".join(names), "a|b|" + RUNS[0] + "|1|1G|||"]))
    assert bad == []
    assert (jobs[0]["JobName"], jobs[0]["JobID"], jobs[0]["ReqMem"], jobs[0]["TRESUsageInTot"]) == ("a|b", "101", "1G", "")


def test_the_header_of_a_file_that_was_appended_is_no_job(tmp_path):
    rows, left_out = runs(saved(tmp_path, ["|".join(BEFORE), RUNS[0], "|".join(BEFORE), RUNS[1]]), tmp_path)
    assert (len(rows), left_out) == (2, {"not ended": set(), "never ran": set()})


@pytest.mark.parametrize(("columns", "header", "delimiter", "bar"), [
    (BEFORE, True, "|", True),
    (BEFORE, True, ",", False),
    (BEFORE, True, ";", False),
    (BEFORE, True, "^", True),
    (BEFORE, True, "||", False),
    (BEFORE, True, "\t", False),
    (BEFORE, False, "|", False),
    (BEFORE, False, "|", True),
    (BEFORE, False, ",", False),
    (SHORT, True, "|", False),
    (SHORT, False, ";", False),
])  # fmt: skip
def test_any_delimiter_with_and_without_header_gives_the_same_jobs(tmp_path, columns, header, delimiter, bar):
    expected, _ = read(saved(tmp_path, ["|".join(BEFORE), *RUNS], name="plain.txt.gz"))
    kept = ["|".join(dict(zip(BEFORE, line.split("|"), strict=True))[name] for name in columns) for line in RUNS]
    path = saved(tmp_path, ["|".join(columns)] * header + kept, delimiter, bar)
    assert looks_like_sacct(path.read_text().splitlines()[0])
    jobs, bad = read(path)
    assert bad == []
    assert jobs == [{name: job[name] for name in columns} for job in expected]


@pytest.mark.parametrize(("lines", "message"), [
    (["JobID|Cluster|Account|State|End", RUNS[0]], "it has no ElapsedRaw or Elapsed and no AllocCPUS or NCPUS; it has JobID, Cluster"),
    (["       JobID    Cluster    Account      State ", "--- --- --- ---"], "it is sacct's table for people, whose columns are cut"),
    (["101|alpine|bio|COMPLETED|3600"], "it has no header, and its first line, a row of 5 values, is not of the 16, 11, 9, 26, 25"),
    (["101|alpine|COMPLETED|bio|a|b|c|d|e|f|g"], "it has no header"),
])  # fmt: skip
def test_another_layout_is_one_line_that_says_what_is_needed(tmp_path, lines, message):
    with pytest.raises(LayoutError) as error:
        read(saved(tmp_path, lines))
    assert str(error.value).startswith(message)
    assert "needed is the output of sacct --parsable2 --format=JobID,Cluster," in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_lines_with_too_many_cells_are_put_aside(tmp_path):
    jobs, bad = read(saved(tmp_path, ["|".join(BEFORE), RUNS[0], RUNS[1] + "|more|", RUNS[2]]))
    assert len(jobs) == 2
    assert bad == [(3, "not 11 columns", RUNS[1] + "|more|")]


@pytest.mark.parametrize(("there", "asked"), [(FORMAT, FORMAT), (BEFORE, BEFORE)])
def test_a_live_sacct_is_asked_for_every_run_and_for_the_columns_that_it_has(tmp_path, monkeypatch, there, asked):
    monkeypatch.setattr("nightshift.sources.accounting.sacct.sacct_fields", lambda path, **options: set(there))
    command = Sacct("--allclusters", 1.0).command(tmp_path)
    assert {"--allusers", "--duplicates", "--parsable2", "--allclusters", "--format=" + ",".join(asked)} <= set(command)
    with pytest.raises(ValueError, match=r"^sacct_options: --comment='x cannot be read: No closing quotation$"):
        Sacct("--comment='x", 1.0).command(tmp_path)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_cpu_times_of_sacct_read_back_as_they_were(days, hours, minutes, s, ms):
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + s
    texts = [(f"{days}-" if days else "") + f"{hours:02d}:{minutes:02d}:{s:02d}", f"{minutes:02d}:{s:02d}.{ms:03d}", str(whole)]
    assert seconds(pa.array(texts)).tolist() == [whole, pytest.approx(minutes * 60 + s + ms / 1000), whole]


def test_a_text_that_is_no_amount_is_passed_on():
    texts = pa.array(["", "INVALID", "1-02:03", "00:00.004"])
    assert texts_or(seconds(texts), texts).to_pylist() == [None, "INVALID", "1-02:03", "0.004"]


def test_sizes_counts_and_json_of_columns():
    assert gibibytes(pa.array(["1048576K", "1.5G", "1073741824", "2T"])).tolist() == [1, 1.5, 1, 2048]
    assert np.isnan(gibibytes(pa.array(["", "2Gx", None], pa.string()))).all()
    assert np.isnan(gpus_of(pa.array(["cpu=1,gres/gpumem=3", ""]))).all()
    texts = json_texts({"State": pa.array(['a "b" \\c\t', None]), "User": pa.array(["u", "v"])})
    assert [json.loads(text) for text in texts.to_pylist()] == [{"State": 'a "b" \\c ', "User": "u"}, {"State": None, "User": "v"}]


def test_jobs_without_their_steps_say_nothing_of_processor_time(tmp_path):
    """sacct -X reads no steps, of which TotalCPU is the sum, and prints 0 for every job; a job among others with steps may have used none."""
    zero = [line.replace("01:50:00", "00:00:00").replace("00:55:00", "00:00:00") for line in RUNS if not line.startswith("101.batch")]
    rows, _ = runs(saved(tmp_path, ["|".join(BEFORE), *zero]), tmp_path)
    assert len(rows) == 6
    assert rows.CpuDuration.isna().all()
    assert rows.CoreHours.astype(float).tolist() == [20, 20, 10, 10, 10, 2], "all else is as with them"
    idle = "106|alpine|bio|FAILED|1768570000|1768571200|1768571210|10|100|00:00:00|10"
    rows, _ = runs(saved(tmp_path, ["|".join(BEFORE), *RUNS, idle]), tmp_path)
    assert rows.CpuDuration.tolist()[-2:] == ["3300", "0"]
