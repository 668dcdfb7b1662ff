"""Raw rows of many nodes at once, what is counted and noted of them, answers of a server that become such rows, and their places on the grid."""

import contextlib
import gzip
import os
import time
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.cleaning.telemetry import NO_DAY, Grid, place_rows, read_rows
from nightshift.generators import GENERATORS, workload
from nightshift.sources.base import file_sources, read_source, source_of
from nightshift.sources.certification.lumisections import staged
from nightshift.sources.prometheus import node_of
from nightshift.sources.telemetry import ldms_parquet, long_rows, node_days, notes, nvidia_smi, parts, prometheus, this_machine, trainings, turning
from nightshift.sources.telemetry.label_files import LabelTable
from nightshift.sources.telemetry.opening import EVER
from nightshift.sources.telemetry.parts import extraction_into, write_parts
from nightshift.sources.telemetry.summary import plot_rows_per_day, rows_per_day, summarise_rows


def test_six_hundred_nodes_at_once_leave_one_part_each(tmp_path):
    """Rows of all nodes take turns, page by page: with 500 open files each page began other parts."""
    names = [f"n{i:03d}" for i in range(600)]
    tables = [{"at": [f"2026-01-31T00:0{k}:00Z"] * 600, "host": names, "load": [float(k)] * 600} for k in range(4)]
    pages = [(1 + 600 * k, pa.table(table)) for k, table in enumerate(tables)]
    window = pd.to_datetime(["2026-01-31", "2026-02-01"], utc=True)
    with extraction_into(tmp_path, window) as extraction:
        layout, metric_names = {"timestamp": "at", "node_id": "host"}, {"load": "load"}
        write_parts(extraction, iter(pages), layout=layout, metric_names=metric_names, where="here")
        (extraction.folder / "labels.parquet").touch()
    files = sorted((tmp_path / "nodes").rglob("*.parquet"))
    assert len(files) == 600
    assert {tuple(pq.ParquetFile(file).read(["load"])["load"].to_pylist()) for file in files} == {(0.0, 1.0, 2.0, 3.0)}


def test_counts_of_very_many_pages_are_added_up_on_the_way(tmp_path, monkeypatch):
    """Else the memory grows with the pages of a source: a row for each of its nodes per page."""
    monkeypatch.setattr(parts, "MANY_COUNTS", 4)
    at = pd.Timestamp("2026-01-31", tz="UTC")
    with extraction_into(tmp_path, [at, at + pd.Timedelta(days=1)]) as extraction:
        for page in range(30):
            times = at + pd.to_timedelta([page, page + 0.5, page], unit="s")
            keys = pd.DataFrame({"timestamp": times, "node_id": ["n1", "n1", "n2"], "job_id": [None, None, "j1"]})
            parts.note(extraction, keys, have={"load": 3})
            assert len(extraction.seen) < 4
        rows = summarise_rows(extraction.seen).groupby("node_id").agg({"rows": "sum", "first": "min", "last": "max"})
        (extraction.folder / "labels.parquet").touch()
    assert rows.rows.to_dict() == {"n1": 60, "n2": 30}
    assert rows["first"].eq(at).all()
    assert rows.loc["n1", "last"] == at + pd.Timedelta(seconds=29.5)
    assert extraction.measured == {"load": (90, 90)}


def test_runs_of_a_node_are_placed_one_after_another_without_long_gaps():
    at = pd.Timestamp("2026-01-31", tz="UTC") + pd.to_timedelta([0, 1, 2, 3, 100, 101, 102, 9, 200, 201, 202, 203], unit="s")
    jobs = ["j10"] * 7 + ["alone"] + ["j9"] * 4
    table = pa.table({"timestamp": pa.array(at, pa.timestamp("us", "UTC")), "job_id": jobs, "x": np.ones(12)})
    grid = Grid(1.0, {"s": 1.0}, 3, 2, 0.0, 0.5, pd.Timestamp("2026-02-01", tz="UTC"), (), ())
    rows, runs = place_rows(read_rows({"s": table}, grid)[0], grid)
    # of the 96 s without a row, whole steps of two samples are cut, down to the length of a window
    assert rows.place.tolist() == [0, 1, 2, 3, 6, 7, 8, -1, 9, 10, 11, 12]
    assert rows.why[7] == "run too short for a window"
    assert runs.to_dict("list") == {"job": ["j10", "j9"], "day": [NO_DAY] * 2, "start": [at[0], at[8]], "length": [9, 4], "offset": [0, 9]}


def test_rows_of_a_day_without_any_are_none_and_names_are_no_formulas():
    days = pd.to_datetime(["2026-01-29", "2026-01-31", "2026-01-31"], utc=True)
    per_day, sums = rows_per_day(pd.DataFrame({"node_id": ["$n_{1$", "$n_{1$", "n2"], "day": days, "rows": [5, 6, 7]}))
    assert per_day.to_numpy().tolist() == [[5, 0, 6], [0, 0, 7]]
    assert sums.to_dict() == {"n2": 7, "$n_{1$": 11}
    figure, ax = plt.subplots()
    plot_rows_per_day(per_day, ax)
    figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["$n_{1$", "n2"]
    plt.close(figure)


# --------------------------------------------------------------------------------------------- what is counted of a file

T0 = 1769853600  # 2026-01-31 10:00 UTC


def at(*seconds):
    return [pd.Timestamp(T0 + one, unit="s", tz="UTC") for one in seconds]


def extracted(folder, name, text, *, window=EVER, columns=None):
    """What an extraction has counted of a file of this name and text."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with extraction_into(folder / "raw", window, columns=columns) as one:
        settings = {"columns": columns or {}, "node_label": "instance", "job_label": ""}
        source_of(file_sources("telemetry", settings), str(path)).add(str(path), one)
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")
    return one


@pytest.mark.parametrize("into", [lambda raw: extraction_into(raw, EVER), staged])
def test_the_folder_of_a_night_that_was_killed_is_removed_two_days_later(tmp_path, into):
    for name, days in ((".0123abcd", 3), (".0123abce", 1), (".my notes", 3), ("nodes", 3)):
        (tmp_path / name / "nodes").mkdir(parents=True)
        os.utime(tmp_path / name, (0, time.time() - days * 86_400))
    with pytest.raises(ValueError, match="nothing"), into(tmp_path):
        raise ValueError("nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".0123abce", ".my notes", "nodes"]


def test_a_file_in_which_nothing_is_packed_adds_nothing(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b""))
    with extraction_into(tmp_path / "raw", EVER) as one:
        read_source("telemetry", str(tmp_path / "a.csv.gz"), one, columns={}, node_label="instance", job_label="")
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")
    assert (one.counts["placed"], one.bad_lines, one.seen) == (0, [], [])


def test_a_column_of_nodes_that_holds_lists_is_one_line(tmp_path):
    pd.DataFrame({"timestamp": [T0], "node_id": [["n1"]], "load": [1.0]}).to_parquet(tmp_path / "a.parquet")
    with extraction_into(tmp_path / "raw", EVER) as one:
        with pytest.raises(ValueError, match=r"a\.parquet cannot be read: ArrowNotImplementedError: Unsupported cast from list") as error:
            read_source("telemetry", str(tmp_path / "a.parquet"), one, columns={}, node_label="instance", job_label="")
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")
    assert len(str(error.value).splitlines()) == 1


def test_what_stands_for_no_value_is_counted_by_its_metric(tmp_path):
    one = extracted(tmp_path, "a.csv", f"timestamp,node_id,load,fan\n{T0},n1,4294967295,-1\n{T0 + 1},n1,ERR,20\n{T0 + 2},n1,3,30\n")
    assert one.counts == {"unreadable": 1, "placed": 3, "outside": 0}
    assert (one.blanks, one.measured) == ({"load": 1, "fan": 1}, {"load": (1, 3), "fan": (2, 3)})


def test_minus_one_stands_for_no_value_in_a_long_table_where_a_metric_reaches_ten(tmp_path):
    rows = [("fan", 0, -1), ("fan", 1, 10), ("temp", 0, -1), ("temp", 1, 9), ("big", 0, 2**32 - 1), ("load", 0, "ERR"), ("load", 1, 5)]
    columns = {"timestamp": "t", "node_id": "n", "metric": "m", "value": "v"}
    text = "".join(f"{T0 + second},n1,{name},{value}\n" for name, second, value in rows)
    one = extracted(tmp_path, "a.csv", "t,n,m,v\n" + text, columns=columns)
    assert one.counts == {"unreadable": 1, "placed": 7, "outside": 0}
    assert one.blanks == {"fan": 1, "big": 1}
    assert one.measured == {"big": (0, 2), "fan": (1, 2), "load": (1, 2), "temp": (2, 2)}


def test_cells_of_records_that_a_text_tells_apart_are_counted_once(tmp_path):
    one = extracted(tmp_path, "a.csv", f"timestamp,node_id,name,rx\n{T0},n1,a,4294967295\n{T0},n1,b,ERR\n{T0},n1,c,7\n")
    assert (one.counts, one.blanks) == ({"unreadable": 1, "placed": 3, "outside": 0}, {"rx": 1})
    assert one.measured == {"rx.a": (0, 1), "rx.b": (0, 1), "rx.c": (1, 1)}


def test_rows_outside_of_the_window_and_those_that_belong_nowhere_are_told_apart(tmp_path):
    text = f"timestamp,node_id,load\n{T0 - 1},n1,1\n{T0},n1,2\nnoon,n1,3\n{T0 + 1},,4\n{T0 + 60},n1,5\n{T0},{'n' * 201},6\n"
    one = extracted(tmp_path, "a.csv", text, window=at(0, 60))
    assert one.counts == {"unreadable": 0, "placed": 3, "outside": 2}
    reasons = [(3, "no time", "noon"), (4, "no node", str(T0 + 1)), (6, parts.TOO_LONG, str(T0))]
    assert [(row, why, shown.partition(",")[0]) for _, row, why, shown in one.bad_lines] == reasons
    [part] = (tmp_path / "raw/nodes").rglob("*.parquet")
    assert pq.ParquetFile(part).read()["load"].to_pylist() == [2]


LONG_TABLE = {"timestamp": "timestamp", "node_id": "node_id", "metric": "m", "value": "v"}


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (f"timestamp,node_id,load\n{T0},,1\n", {}, "none of its rows has both a time and a node in the columns timestamp and node_id"),
        (f"timestamp,node_id,m,v\n{T0},,load,1\n", LONG_TABLE, "none of its rows has both a time and a node in the columns timestamp and node_id"),
        (f"timestamp,node_id,name\n{T0},n1,a\n", {}, "none of its columns holds numbers; it has timestamp, node_id, name"),
        ("timestamp,node_id,load\n", {}, ""), ("timestamp,node_id,m,v\n", LONG_TABLE, ""),
    ],
)  # fmt: skip
def test_a_table_that_says_nothing_is_refused_and_one_without_a_row_is_not(tmp_path, text, columns, message):
    if message:
        with pytest.raises(ValueError, match=message):
            extracted(tmp_path, "a.csv", text, columns=columns)
    else:
        assert extracted(tmp_path, "a.csv", text, columns=columns).counts == {"unreadable": 0, "placed": 0, "outside": 0}


@pytest.mark.parametrize("other", [5, 6])
def test_two_files_of_one_metric_without_a_name_must_say_the_same(tmp_path, other):
    sources = file_sources("telemetry", {"columns": {}, "node_label": "instance", "job_label": ""})
    with extraction_into(tmp_path / "raw", EVER) as one:
        for name, value in (("1.csv", 5), ("2.csv", other)):
            (tmp_path / name).write_text(f"timestamp,node_id,value\n{T0},n1,{value}\n")
            source = source_of(sources, str(tmp_path / name))
            if name == "2.csv" and other != 5:
                with pytest.raises(ValueError, match=r"it and \S*/1\.csv measure the same 'value' of the same node and moment"):
                    source.add(str(tmp_path / name), one)
            else:
                source.add(str(tmp_path / name), one)
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")
    assert not [*(tmp_path / "raw/notes").glob("*.parquet")], "what is held against other files is read again"


def test_values_that_no_gpu_can_have_are_counted_and_what_is_free_makes_the_total(tmp_path):
    names = "timestamp,Hostname,gpu,GPU_I_ID,DCGM_FI_DEV_GPU_UTIL,DCGM_FI_DEV_FB_USED,DCGM_FI_DEV_FB_FREE,DCGM_FI_DEV_POWER_USAGE"
    one = extracted(tmp_path, "a.csv", f"{names}\n{T0},g1,0,3,101,10,90,140737488355328\n{T0 + 1},g1,0,,50,10,,300\n")
    assert (one.gpu_blanks, one.blanks) == ({"utilisation_pct": 1, "power_w": 1}, {})
    gpus = pd.read_parquet(tmp_path / "raw/gpus.parquet")
    assert gpus.gpu.tolist() == ["0/3", "0"]
    assert gpus[["utilisation_pct", "memory_total_mib", "power_w"]].fillna(-1).to_numpy().tolist() == [[-1, 100, -1], [50, -1, 300]]


def test_an_odd_line_of_a_monitor_has_its_number_among_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(nvidia_smi, "PAGE_ROWS", 2)
    header = "#Date Time gpu pwr sm"
    rows = [f"{day} 10:00:0{n} 0 1 2" for n, day in enumerate(["20260131", "20260131", "2026xx31", "20260131"])]
    one = extracted(tmp_path, "host=g1/dmon.txt", "\n".join([header, *rows[:2], header, *rows[2:], ""]))
    assert [(row, why) for _, row, why, _ in one.bad_lines] == [(3, "no time")]


@pytest.mark.parametrize(("limit", "most", "is_noted"), [("MOST_LINES", 2, 1), ("MOST_LINES", 1, 0), ("MOST_COUNTS", 2, 1), ("MOST_COUNTS", 1, 0)])
def test_a_file_of_which_a_note_would_hold_too_much_has_none(tmp_path, monkeypatch, limit, most, is_noted):
    monkeypatch.setattr(notes, limit, most)
    extracted(tmp_path, "a.csv", f"timestamp,node_id,load\n{T0},n1,2\nnoon,n1,3\nsoon,n1,3\n{T0},n2,4\n")
    assert len([*(tmp_path / "raw/notes").glob("*.parquet")]) == is_noted


def test_a_look_at_labels_counts_them(tmp_path):
    (tmp_path / "labels.csv").write_text("job_id,node_id,anomaly\n1,n1,membw\n2,n1,none\n")
    look = LabelTable({}).look(str(tmp_path / "labels.csv"), settings={"columns": {}, "sampler": ""}, folder=tmp_path)
    assert (look.rows, look.oldest, look.bad) == (2, None, 0)


BEGIN, END = pd.to_datetime(["2026-01-30", "2026-01-31"], utc=True)


@pytest.mark.parametrize(
    ("first", "last", "outside", "window", "holds"),
    [
        ("30 00:00", "30 23:59", 0, "another", "all"), ("30 00:00", "30 23:59", 2, "another", ""), ("30 00:00", "30 23:59", 2, "the same", "all"),
        ("30 00:00", "31 00:00", 0, "another", ""), ("29 23:59", "30 05:00", 0, "another", ""),
        ("31 00:00", "31 05:00", 1, "another", "nothing within"), ("29 00:00", "29 23:59", 1, "another", "nothing within"),
        ("29 00:00", "30 00:00", 1, "another", ""),
    ],
)  # fmt: skip
def test_what_a_note_holds_is_known_where_its_rows_lie_on_one_side_of_each_end(first, last, outside, window, holds):
    counted = {"ends": [f"2026-01-{moment}+00:00" for moment in (first, last)], "counts": {"outside": outside}}
    noted = {"window": [str(BEGIN), str(END)] if window == "the same" else ["", ""], "counted": counted}
    assert notes.what_holds(noted, [BEGIN, END]) == holds


def test_what_was_counted_of_sources_is_added_up(tmp_path):
    counted = {"counts": {"unreadable": 1, "placed": 2, "outside": 3}, "blanks": {"x": 1}, "gpu_blanks": {"power_w": 1}, "left_out": {"y": 2}}
    counted |= {"measured": {"x": [1, 2]}, "text_left_out": ["t"], "warned": [], "nameless_gpus": [], "asked_twice": {"n1": ["job"]}}
    counted |= {"bad_lines": [["f", 1, "why", "text"]], "sha256": "s"}
    one = parts.Extraction(tmp_path, EVER, None)
    for _ in range(2):
        one.add(counted, pd.DataFrame())
    assert one.counts == {"unreadable": 2, "placed": 4, "outside": 6}
    assert (one.blanks, one.gpu_blanks, one.left_out, one.measured) == ({"x": 2}, {"power_w": 2}, {"y": 4}, {"x": (2, 4)})
    assert (one.bad_lines, one.sha256s, one.seen) == ([("f", 1, "why", "text")] * 2, ["s", "s"], [])
    one.add_whole(3, {"x": 1, "z": 5})
    assert (one.counts["unreadable"], one.blanks) == (5, {"x": 3, "z": 5})
    assert one.of_whole == {"unreadable": 3, "blanks": {"x": 1, "z": 5}}
    ends = []
    for first, last in ((5, 9), (3, 4), (4, 10)):
        one.reaches(first, last)
        ends.append(one.ends)
    assert ends == [[5, 9], [3, 9], [3, 10]]


def test_a_page_without_a_gpu_is_no_group_of_rows(tmp_path):
    rows, page = parts.GpuRows(tmp_path / "gpus.parquet"), pa.Table.from_pylist([{"gpu": "0"}, {"gpu": "1"}], parts.GPU_SCHEMA)
    with rows.writer:
        for table in (page, page.slice(0, 0), page.slice(1)):
            rows.write(table)
    assert rows.n_groups == pq.ParquetFile(tmp_path / "gpus.parquet").num_row_groups == 2


# -------------------------------------------------------------------------------------------------- rows on their way to parts


def test_wide_rows_of_nodes_days_and_jobs_come_together_again(tmp_path, monkeypatch):
    times = pd.to_datetime(
        ["1969-12-31 23:59:59", "1970-01-01 00:00:00", "2026-01-31 00:00:00", "2026-01-31 00:00:01", "2026-01-31 00:00:02"], utc=True
    )
    keys = pd.DataFrame({"timestamp": times, "node_id": ["n1", "n2", "n1", "n2", "n1"], "job_id": [None, "7", None, "7", "8"]})
    for name, run in (("two", 2 * 8 * 4), ("all", 2**26)):  # rows that are sorted at once
        monkeypatch.setattr(node_days, "RUN", run)
        made = SimpleNamespace(folder=tmp_path / name, parts=[])
        made.folder.mkdir()
        rows = node_days.WideRows(made.folder / "wide", 1)
        rows.add(keys, [pa.array([1.0, 2.0, None, 4.0, 5.0])])
        rows.write(made, metrics=["load"], where="here")
        found = {tuple(part.split("/")[1:3]): pq.ParquetFile(made.folder / part).read() for part in made.parts}
        assert {of: list(zip(table["job_id"].to_pylist(), table["load"].to_pylist(), strict=True)) for of, table in found.items()} == {
            ("node_id=n1", "day=1969-12-31"): [(None, 1)],
            ("node_id=n2", "day=1970-01-01"): [("7", 2)],
            ("node_id=n1", "day=2026-01-31"): [(None, None), ("8", 5)],
            ("node_id=n2", "day=2026-01-31"): [("7", 4)],
        }
    assert node_days.digest_of("a") == "e14074793136", "parts of an earlier version are found again"


def test_names_are_numbered_as_they_come_with_none_among_them():
    codes = {"z": 0}
    assert node_days.codes_of(pd.Series(["a", None, "z", "a", np.nan], dtype=object), codes).tolist() == [1, 2, 0, 1, 2]
    assert codes == {"z": 0, "a": 1, None: 2}


@pytest.mark.parametrize(("sizes", "groups"), [([3, 4], [5, 2]), ([5], [5]), ([12], [5, 5, 2]), ([1, 1], [2]), ([], [])])
def test_rows_are_grouped_by_their_number_however_they_come(sizes, groups):
    ends = np.cumsum([0, *sizes])
    tables = [pa.table({"n": range(begin, end)}) for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    found = [table["n"].to_pylist() for table in node_days.regrouped(tables, size=5)]
    assert list(map(len, found)) == groups
    assert [n for group in found for n in group] == list(range(sum(sizes)))


@pytest.mark.parametrize("cells", [1, 2**22])
@pytest.mark.parametrize(
    ("how", "times", "table"),
    [("", [0, 0, 5], [[1, 3], [2, -9], [4, -9]]), ("first", [0, 5], [[1, 3], [4, -9]]), ("sum", [0, 5], [[3, 3], [4, -9]])],
)
def test_several_rows_of_a_cell_are_further_rows_or_the_first_or_their_sum(monkeypatch, cells, how, times, table):
    monkeypatch.setattr(long_rows, "CELLS", cells)
    rows = np.array([(0, 0, 1), (0, 0, 2), (1, 0, 3), (0, 5, 4)], long_rows.ROW)
    pieces = [*zip(*long_rows.turned(rows, np.zeros(4, int), rows["series"], n_columns=2, how=how), strict=True)]
    assert np.concatenate(pieces[0]).tolist() == times
    assert np.nan_to_num(np.concatenate(pieces[2]), nan=-9).tolist() == table


def test_a_sum_of_nothing_but_missing_values_is_missing():
    nan = np.nan
    assert np.nan_to_num(long_rows.added_up(np.array([1, nan, 2, nan, nan]), np.array([0, 2, 3])), nan=-9).tolist() == [1, 2, -9]
    assert long_rows.added_up(np.empty(0), np.empty(0, int)).tolist() == []


def test_the_range_of_a_series_begins_above_minus_one(tmp_path):
    long = long_rows.LongRows(tmp_path / "long")
    assert [long.new_series(node) for node in ("n1", "n2", "n1")] == [0, 1, 2]
    long.add(0, np.array([5, 1, 3]), np.array([-1.0, 7, 2]))
    long.add(1, np.array([2]), np.array([-1.0]))
    assert long.ends() == ([2, np.inf, np.inf], [7, -1, -np.inf])
    [part] = long.parts("n1")
    assert (part["at"].tolist(), part["value"].tolist()) == ([1, 3, 5], [7, 2, -1])


def test_rows_are_cut_where_a_day_ends_and_names_are_in_their_order():
    times, values = np.array([0, node_days.DAY_US - 1, node_days.DAY_US, 3 * node_days.DAY_US]), np.arange(4.0)
    pieces = [(day, *map(list, more)) for day, *more in turning.pieces_of_days([(times, times, values)])]
    assert [(day, last) for day, _, _, last in pieces] == [(0, [0, 1]), (1, [2]), (3, [3])]
    assert turning.numbered([("n1", "b"), ("n1", None), ("n2", "c"), ("n1", "a"), ("n1", "b")]) == {"n1": {None: 0, "a": 1, "b": 2}, "n2": {"c": 0}}


def test_jobs_of_ldms_in_parquet_that_stand_for_none_are_empty():
    page = pa.table({"load": [1, 2, 3], "job_id": pa.array([0, 7, 2**64 - 1], pa.uint64())})
    [(first, cleaned)] = ldms_parquet.without_no_job([(5, page)], "job_id")
    assert (first, cleaned.column_names, cleaned["job_id"].to_pylist()) == (5, ["load", "job_id"], [None, "7", None])
    assert list(ldms_parquet.without_no_job([(5, page)], None)) == [(5, page)]


def test_metrics_without_a_sampler_get_that_of_the_source():
    assert parts.add_sampler({"a": "a", "b": "b::x"}, "s") == {"a": "a::s", "b": "b::x"}
    assert parts.add_sampler({"a": "a"}, "") == {"a": "a"}


# ------------------------------------------------------------------------------------------------------- answers of a server

SERVER = prometheus.Prometheus({}, "instance", "batch", step_s=15.0, chunk_points=2, timeout_s=1.0, retry_wait_s=0.0)


def test_what_is_asked_for_has_the_name_of_its_sampler():
    server = prometheus.Prometheus({"up": "up", "a::b": "x"}, "instance", "", step_s=15.0, chunk_points=2, timeout_s=1.0, retry_wait_s=0.0)
    assert {name: query.rpartition(" ")[2] for name, query in server.queries.items()} == {"up::prometheus": "(up)", "a::b": "(x)"}
    assert server.queries["a::b"].startswith("sum by (instance, job, exported_job,")


def test_answers_become_a_row_for_each_key_and_moment_with_any_value():
    answers = {
        ("load", 0): [({"instance": "n1:1"}, [0, 1], [1, np.nan]), ({"instance": "n2:1"}, [1], [5])],
        ("free", 0): [({"instance": "n1:1"}, [0], [2])],
        ("load", 30): [({"instance": "n1:1"}, [0], [3])],
    }

    def ask(query, begin, n):
        return [(labels, np.array(where), np.array(values, float)) for labels, where, values in answers.get((query, begin - T0), [])]

    one = SimpleNamespace(window=at(0, 45), asked_twice={})
    queries, names = {"load": "load", "free": "free"}, ["node_id", "job_id"]
    pages = prometheus.read_series(one, ask, queries=queries, names=names, key_of=lambda of: (node_of(of, "instance"), None), server=SERVER)
    found = [(first, *(column.to_pylist() for column in page.columns[:4])) for first, page in pages]
    assert found == [(1, [T0], ["n1"], [None], [1]), (2, [T0 + 15], ["n2"], [None], [5]), (3, [T0 + 30], ["n1"], [None], [3])]


@pytest.mark.parametrize(
    ("asked", "warned", "n_rows", "groups", "is_settled"),
    [("01 12:00:00", [], 1, [3, 3], True), ("01 11:59:59", [], 1, [3, 3], False), ("05 00:00:00", ["x"], 1, [3, 3], False),
     ("05 00:00:00", [], 0, [3, 3], False), ("05 00:00:00", [], 0, [3, 4], True)],
)  # fmt: skip
def test_a_day_has_settled_a_day_and_a_half_after_its_end_with_rows_and_without_a_warning(asked, warned, n_rows, groups, is_settled):
    """Rows of nodes, or of GPUs alone."""
    noted = {"asked": f"2026-02-{asked}+00:00", "counted": {"warned": warned}, "gpu_groups": groups}
    assert prometheus.is_settled(noted, range(n_rows), END) is is_settled
    assert not prometheus.is_settled({}, range(1), END)


def test_a_window_is_cut_where_days_end():
    six, end = pd.Timestamp("2026-01-30 06:00", tz="UTC"), pd.Timestamp("2026-02-01", tz="UTC")
    assert prometheus.days_of([six, end]) == [(six, END), (END, end)]
    assert prometheus.days_of([six, six + pd.Timedelta("1h")]) == [(six, six + pd.Timedelta("1h"))]


def test_a_look_asks_for_the_first_and_the_last_hour(monkeypatch):
    asked, answer = [], [({"instance": "n1:1"}, np.array([0, 240]), np.array([1.0, 2.0]))]

    def ask(query, begin, n):
        asked.append((begin, n))
        return answer

    monkeypatch.setattr(prometheus.Prometheus, "connect", lambda self, url, warned: ask)
    look = SERVER.look("http://p", settings={"day": "2026-01-30", "days": 7})
    week_before = END - pd.Timedelta(days=7)
    assert asked == [(week_before.timestamp(), 241), (END.timestamp() - 3600, 241)]
    assert (look.oldest, look.newest, look.notes, look.problems) == (week_before, END, ["1 node"], [])
    answer.clear()
    look = SERVER.look("http://p", settings={"day": "2026-01-30", "days": 7})
    assert look.notes == ["0 nodes"]
    assert look.problems[0].startswith("it has no value of cpu_user_seconds_total::prometheus at either end of the window")


def test_a_gpu_is_of_its_host_or_of_the_label_of_nodes():
    one = SimpleNamespace(nameless_gpus=set())
    assert prometheus.gpu_of(one, {"Hostname": "g1:9400", "gpu": "0", "hpc_job": "7"}, server=SERVER) == ("g1", "0", "7", None)
    assert one.nameless_gpus == set()
    nameless = {"instance": "10.0.0.1:9400", "gpu": "1", "batch": "8", "user": "u"}
    assert prometheus.gpu_of(one, nameless, server=SERVER) == ("10.0.0.1", "1", "8", "u")
    assert one.nameless_gpus == {"10.0.0.1"}


def test_the_wait_of_a_training_stands_beside_the_gpus_of_its_job():
    def ask(query, begin, n):
        return [({"node": "g1.example", "hpc_job": "7"}, np.arange(2), np.array([10.0, 20.0]))]

    waits = trainings.read_waits(ask, [(T0, 2), (T0 + 30, 2)], 15.0)
    assert {key: one.to_dict() for key, one in waits.items()} == {("g1", "7"): {T0: 10, T0 + 15: 20, T0 + 30: 10, T0 + 45: 20}}
    pages = [pa.table({"timestamp": [T0 + 15.0, T0 + 60.0], "node_id": ["g1"] * 2, "job_id": [job] * 2}) for job in ("7", "8")]
    found = dict(trainings.with_waits([(1, pages[0]), (3, pages[1]), (5, pages[0].slice(0, 0))], waits))
    assert {first: np.nan_to_num(page[trainings.WAIT].to_numpy(), nan=-1).tolist() for first, page in found.items()} == {
        1: [20, -1],
        3: [-1, -1],
        5: [],
    }
    assert ["[300s]" in trainings.query(15), "[601s]" in trainings.query(600.6)] == [True, True]


# ------------------------------------------------------------------------------------------------------------ this machine


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self, now):
        self.now = now

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("anomaly", ["membw", "none"])
def test_a_run_is_measured_on_whole_seconds_beside_what_runs_until_its_end(monkeypatch, anomaly):
    started = []

    def parallel(n_jobs, return_as=None):
        return lambda jobs: (job for job in [started.append([*jobs])])

    fakes = {"parallel_config": lambda *positional, **more: contextlib.nullcontext(), "Parallel": parallel}
    monkeypatch.setattr(this_machine, "joblib", SimpleNamespace(**fakes, delayed=lambda function: lambda *how: (function, *how)))
    monkeypatch.setattr(this_machine, "time", Clock(100.25))
    monkeypatch.setattr(this_machine, "read_machine", lambda: {"load": 1})
    monkeypatch.setattr(this_machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=1005))
    rows = this_machine.measure(anomaly, "j1", run_s=3.0)
    assert [(row["timestamp"], row["job_id"], row["load"]) for row in rows] == [(second, "j1", 1) for second in (101, 102, 103)]
    beside = [(workload, 104, 100), (GENERATORS[anomaly], 104, 100)]
    assert started[-1] == beside[: 1 + (anomaly != "none")], "a tenth of the free memory is for what leaks"


def test_every_run_of_this_machine_is_a_job_with_its_label(tmp_path, monkeypatch):
    def measured(anomaly, job_id, *, run_s):
        return [{"timestamp": time.time(), "node_id": "n1", "job_id": job_id, "load": run_s}]

    monkeypatch.setattr(this_machine, "measure", measured)
    with extraction_into(tmp_path / "raw", EVER) as one:
        this_machine.ThisMachine(minutes=0.1, run_s=30.0, seed=0).extract("this_machine", one)
        pd.DataFrame().to_parquet(one.folder / "labels.parquet")
    labels = pd.concat(one.labels)
    assert labels.job_id.str[-4:].tolist() == [f"-00{n}" for n in range(1, 6)]
    assert sorted(labels.anomaly) == sorted(GENERATORS)
    rows = pd.concat([pq.ParquetFile(part).read().to_pandas() for part in (tmp_path / "raw/nodes").rglob("*.parquet")])
    assert sorted(rows.job_id) == labels.job_id.tolist()
    assert (rows.load == 30).all()
    assert list(rows) == ["timestamp", "job_id", "load"]
