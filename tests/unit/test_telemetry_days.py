"""Windows day by day: night after night they are those of all at once, and a night cuts what has changed."""

import numpy as np
import pandas as pd
import pytest
from telemetry_raw import samples

import helpers
from nightshift.cleaning import telemetry_parts
from nightshift.cleaning.telemetry import NO_DAY, Grid
from nightshift.cleaning.telemetry_days import WindowTable, read_windows
from nightshift.cleaning.telemetry_parts import find_parts, sampling_periods
from nightshift.cleaning.telemetry_windows import clean_labels, window_node

MIDNIGHT = pd.Timestamp("2026-01-28", tz="UTC")
FIRST = 20481  # the day of MIDNIGHT, since 1970
DAY_S = 86400
LABELS = pd.DataFrame(
    {"job_id": "", "node_id": "server", "app": "", "input": "", "anomaly": "membw", "part": ""}
    | {"start": [MIDNIGHT + pd.Timedelta("26h")], "end": [MIDNIGHT + pd.Timedelta("30h")]}
)


def write_parts(folder, rows, node):
    """A part for each day of a node's rows, as the extraction leaves them."""
    for day, of_day in rows.groupby(rows.timestamp.dt.strftime("%Y-%m-%d")):
        path = folder / f"node_id={node}" / f"day={day}" / "source-0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        helpers.write_parquet(of_day, path)


def three_days(until=3.0):
    """A server, a sample each 5 min but for a gap and some jitter, and a node with jobs, of which one passes midnight: {node: rows}."""
    rng = np.random.default_rng(1)
    at = np.arange(int(3 * DAY_S / 300)) * 300.0
    grown = np.cumsum(rng.integers(1, 9, len(at)))
    server = samples(at + rng.uniform(0, 5, len(at)), None, MIDNIGHT, load__node=rng.normal(size=len(at)), ctxt__node=grown).drop(range(200, 230))
    jobs = [
        samples(at[40:80], "1", MIDNIGHT, load__node=rng.normal(size=40), ctxt__node=grown[40:80]),
        samples(at[280:300], "2", MIDNIGHT, load__node=rng.normal(size=20), ctxt__node=grown[280:300]),
        samples(at[600:640], "3", MIDNIGHT, load__node=rng.normal(size=40), ctxt__node=grown[600:640]),
    ]
    end = MIDNIGHT + pd.Timedelta(days=until)
    return {name: rows[rows.timestamp < end].reset_index(drop=True) for name, rows in {"server": server, "worker": pd.concat(jobs)}.items()}


def night(tmp_path, table, days=3, labels=LABELS, **settings):
    """Cut windows as a night does; returns what it had to cut, {node: runs}."""
    clean = WindowTable(tmp_path / table)
    parts = find_parts(tmp_path / "raw", clean.earlier_parts)
    sources = sampling_periods(parts)
    settings = {"window": 4, "step": 1, "trim_s": 300.0} | settings
    periods = dict(zip(sources.samplers, sources.period_s, strict=True))
    end = MIDNIGHT + pd.Timedelta(days=days)
    grid = Grid(300.0, periods=periods, least_coverage=0.5, end=end, counters=("ctxt*",), gauges=(), **settings)
    labels = clean_labels(labels)
    changes = clean.compare(parts, grid=grid, labels=labels)
    batches = changes.batches()
    files = [(node, tmp_path / f"{number}.arrow") for number, (node, _) in enumerate(batches)]
    results = [
        window_node(node, changes.sources[node], runs, labels=labels, grid=grid, target=file)
        for (node, runs), (_, file) in zip(batches, files, strict=True)
    ]
    clean.replace(changes, results, files, day="2026-01-30")
    clean.note(parts)
    assert clean.runs.kept.sum() + clean.rejected.rows.sum() == sum(part.rows for of_node in parts.values() for part in of_node)
    return changes.todo


def write_days(tmp_path, until):
    for node, rows in three_days(until).items():
        write_parts(tmp_path / "raw", rows, node)


def tables(tmp_path, name):
    """The clean table and what is known of it."""
    clean = WindowTable(tmp_path / name)
    return [read_windows(tmp_path / name), *(getattr(clean, one) for one in ("runs", "rejected", "medians", "ranges"))]


def assert_same(tmp_path, one, other):
    for first, second in zip(tables(tmp_path, one), tables(tmp_path, other), strict=True):
        pd.testing.assert_frame_equal(first, second)


def test_night_after_night_gives_what_all_at_once_gives(tmp_path):
    cut = []
    for until in (1, 2, 3):
        write_days(tmp_path, until)
        cut.append(night(tmp_path, "nightly"))
    assert cut == [
        {"server": [("", FIRST)], "worker": [("1", NO_DAY), ("2", NO_DAY)]},
        {"server": [("", FIRST), ("", FIRST + 1)], "worker": [("2", NO_DAY)]},  # the last windows of a day reach into the next; job 2 went on
        {"server": [("", FIRST + 1), ("", FIRST + 2)], "worker": [("3", NO_DAY)]},
    ]
    night(tmp_path, "at once")
    assert_same(tmp_path, "nightly", "at once")
    assert night(tmp_path, "nightly") == {}


@pytest.mark.parametrize(("most", "batches"), [(0, [[0], [1], [2]]), (1200, [[0], [1, 2]]), (1668, [[0, 1, 2]])])
def test_runs_cut_in_batches_give_what_all_at_once_gives(tmp_path, monkeypatch, most, batches):
    """The parts of the server have 556 values a day, and a day needs the next one: a batch holds at most so many, or one run."""
    write_days(tmp_path, 3)
    night(tmp_path, "at once")
    monkeypatch.setattr(telemetry_parts, "MOST_VALUES", most)
    sources = telemetry_parts.sources_of(find_parts(tmp_path / "raw")["server"])
    found = telemetry_parts.batches_of(sources, [("", FIRST + day) for day in (2, 0, 1)])
    assert found == [[("", FIRST + day) for day in batch] for batch in batches]
    night(tmp_path, "batches")
    assert_same(tmp_path, "batches", "at once")


def test_windows_of_a_server_pass_midnight_without_a_gap(tmp_path):
    write_days(tmp_path, 3)
    night(tmp_path, "clean")
    windows = read_windows(tmp_path / "clean")
    server = windows[windows.node_id == "server"]
    steps = server.start.diff().dt.total_seconds().dropna()
    assert ((steps - 300).abs() <= 5)[server.start.diff() < pd.Timedelta("30min")].all(), "at midnight the grid begins anew, with the first row"
    assert server.start.is_unique
    passing = server[server.start.dt.floor("D") != (server.end - pd.Timedelta("1us")).dt.floor("D")]
    assert passing.groupby(passing.start.dt.floor("D")).size().tolist() == [4, 4, 1], "those that begin in the last twenty minutes"
    assert (windows[windows.node_id == "worker"].groupby("job_id").size() == [40 - 2 - 3, 20 - 2 - 3, 40 - 2 - 3]).all()


@pytest.mark.parametrize("what", ["rows", "label", "window", "gone", "file", "code"])
def test_what_changes_is_cut_again_and_nothing_else(tmp_path, monkeypatch, what):
    write_days(tmp_path, 3)
    night(tmp_path, "clean")
    every = {"server": [("", FIRST + day) for day in range(3)], "worker": [("1", NO_DAY), ("2", NO_DAY), ("3", NO_DAY)]}
    labels, settings, expected = LABELS, {}, every
    part = tmp_path / "raw/node_id=worker/day=2026-01-28/source-0.parquet"
    if what == "rows":
        helpers.write_parquet(pd.read_parquet(part).assign(**{"load::node": 1.0}), part)
        expected = {"worker": [("1", NO_DAY), ("2", NO_DAY)]}
    elif what == "label":  # from the second day to the third
        labels = LABELS.assign(end=MIDNIGHT + pd.Timedelta("50h"))
        expected = {"server": [("", FIRST + 1), ("", FIRST + 2)]}
    elif what == "window":
        settings = {"window": 5}
    elif what == "gone":
        part.unlink()
        expected = {"worker": [("2", NO_DAY)]}
    elif what == "file":
        file = tmp_path / "clean/2026-01-29.parquet"
        helpers.write_parquet(pd.read_parquet(file).iloc[1:], file)
    else:
        monkeypatch.setattr("nightshift.cleaning.telemetry_days.code_of_windows", lambda: "other")
    assert night(tmp_path, "clean", labels=labels, **settings) == expected
    night(tmp_path, "anew", labels=labels, **settings)
    assert_same(tmp_path, "clean", "anew")


def test_what_is_known_of_a_part(tmp_path):
    """In any order, with rows without a time or a job: two jobs, one of them without any time, and two days of the node."""
    minutes, jobs = [60, 0, 20, None, 30, 1450, None, 10], ["", "", "9", "", "9", None, "10", "9"]
    times = pd.Series([pd.NaT if one is None else MIDNIGHT + pd.Timedelta(minutes=one) for one in minutes], dtype="datetime64[us, UTC]")
    rows = pd.DataFrame({"timestamp": times, "job_id": pd.Series(jobs, dtype="str"), "load::node": 1.0})
    path = tmp_path / "part.parquet"
    rows.to_parquet(path, index=False)
    part = telemetry_parts.describe_part(path)
    day = MIDNIGHT.value // (86400 * 10**9)
    assert part.runs == (*(("", one) for one in sorted([day, day + 1, NO_DAY])), ("10", NO_DAY), ("9", NO_DAY))
    assert (part.rows, part.period_s, part.metrics) == (8, 2100.0, ("load::node",)), "steps of 60 and 1390 min without a job, of 10 and 10 in job 9"
    assert (part.first, part.last) == (MIDNIGHT.isoformat(), (MIDNIGHT + pd.Timedelta(minutes=1450)).isoformat())
    rows.head(0).to_parquet(path, index=False)
    assert telemetry_parts.describe_part(path)[4:] == (0, "", "", None, ("load::node",), ())
