"""What sacct prints, in every form that people save it in, on hand-made lines with values asserted."""

import gzip
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.sources.files import LayoutError
from nightshift.sources.slurm import COLUMNS, FORMAT, cpu_seconds, looks_like_sacct, read_sacct, run_of, sacct_command, why_left_out

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
    pages = list(read_sacct(path))
    return [job for jobs, _ in pages for job in jobs], [bad for _, bads in pages for bad in bads]


def test_every_run_of_a_job_is_a_row_of_its_own(tmp_path):
    jobs, bad = read(saved(tmp_path, ["|".join(FORMAT), *RUNS]))
    assert [why_left_out(job) for job in jobs] == ["", "", "", "step", "", "", "", "not ended", "not ended", "never ran"]
    rows = [run_of(job) for job in jobs if not why_left_out(job)]
    assert bad == []
    assert len({row["RecordId"] for row in rows}) == 6
    assert sum(float(row["CoreHours"]) for row in rows) == 20 + 20 + 10 + 10 + 10 + 2
    assert [row["EndTime"] for row in rows[:2]] == ["2026-01-05T02:00:00Z", "2026-01-05T04:01:00Z"]


@pytest.mark.parametrize(("columns", "header", "delimiter", "bar"), [
    (FORMAT, True, "|", True),
    (FORMAT, True, ",", False),
    (FORMAT, True, ";", False),
    (FORMAT, True, "^", True),
    (FORMAT, True, "||", False),
    (FORMAT, True, "\t", False),
    (FORMAT, False, "|", False),
    (FORMAT, False, "|", True),
    (FORMAT, False, ",", False),
    (COLUMNS, True, "|", False),
    (COLUMNS, False, ";", False),
])  # fmt: skip
def test_any_delimiter_with_and_without_header_gives_the_same_jobs(tmp_path, columns, header, delimiter, bar):
    expected, _ = read(saved(tmp_path, ["|".join(FORMAT), *RUNS], name="plain.txt.gz"))
    kept = ["|".join(dict(zip(FORMAT, line.split("|"), strict=True))[name] for name in columns) for line in RUNS]
    path = saved(tmp_path, ["|".join(columns)] * header + kept, delimiter, bar)
    assert looks_like_sacct(path.read_text().splitlines()[0])
    jobs, bad = read(path)
    assert bad == []
    assert jobs == [{name: job[name] for name in columns} for job in expected]


@pytest.mark.parametrize(("lines", "message"), [
    (["JobID|Cluster|Account|State|End", RUNS[0]], "it has no ElapsedRaw and no CPUTimeRAW and no TotalCPU and no AllocCPUS; it has JobID, Cluster"),
    (["       JobID    Cluster    Account      State ", "--- --- --- ---"], "it is sacct's table for people, whose columns are cut"),
    (["101|alpine|bio|COMPLETED|3600"], "it has no header, and its first line '101|alpine|bio|COMPLETED|3600' is not of the 11 or 9"),
    (["101|alpine|COMPLETED|bio|a|b|c|d|e|f|g"], "it has no header"),
])  # fmt: skip
def test_another_layout_is_one_line_that_says_what_is_needed(tmp_path, lines, message):
    with pytest.raises(LayoutError) as error:
        read(saved(tmp_path, lines))
    assert str(error.value).startswith(message)
    assert "needed is the output of sacct --parsable2 --format=JobID,Cluster," in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_lines_with_too_many_cells_are_put_aside(tmp_path):
    jobs, bad = read(saved(tmp_path, ["|".join(FORMAT), RUNS[0], RUNS[1] + "|more|", RUNS[2]]))
    assert len(jobs) == 2
    assert bad == [(3, "not 11 columns", RUNS[1] + "|more|\n")]


def test_a_live_sacct_is_asked_for_every_run():
    command = sacct_command(date(2026, 1, 5), date(2026, 1, 12), ["--allclusters"])
    assert {"--duplicates", "--parsable2", "--starttime=2026-01-05", "--endtime=2026-01-12", "--allclusters"} <= set(command)
    assert {"--format=" + ",".join(FORMAT)} <= set(command)
    assert {"Submit", "Start", "End"} <= set(FORMAT)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_cpu_times_of_sacct_read_back_as_they_were(days, hours, minutes, seconds, ms):
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert cpu_seconds((f"{days}-" if days else "") + f"{hours:02d}:{minutes:02d}:{seconds:02d}") == str(whole)
    assert float(cpu_seconds(f"{minutes:02d}:{seconds:02d}.{ms:03d}")) == pytest.approx(minutes * 60 + seconds + ms / 1000)


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("INVALID", "INVALID"), ("1-02:03", "1-02:03"), ("00:00.004", "0.004")])
def test_a_cpu_time_that_is_none_is_passed_on(text, seconds):
    assert cpu_seconds(text) == seconds
