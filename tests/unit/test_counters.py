"""Counters and gauges told apart by what they do: rises, falls and new beginnings."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.cleaning import telemetry_counters
from nightshift.cleaning.telemetry_counters import behaviour_sentence, by_behaviour, changes_of, count_changes

COUNTERS, GAUGES = ["*::procstat", "disk_*"], ["procs_*"]


def part(folder, name, start, columns):
    """A part of a node with a row a second."""
    n = len(next(iter(columns.values())))
    time = pd.date_range("2026-01-31 10:00", periods=n, freq="s", tz="UTC") + pd.Timedelta(seconds=start)
    table = pa.table({"timestamp": pa.array(time.astype("datetime64[us, UTC]")), "job_id": [None] * n, **columns})
    pq.write_table(table, folder / name)
    return folder / name


def test_changes_are_those_of_successive_moments_and_gaps_are_passed_over():
    values = np.array([5, 6, np.nan, 7, 6.9, 1, 2, 2])
    assert changes_of(values, np.ones(7, bool)).tolist() == [3, 1, 1]
    assert changes_of(np.array([5, 4, 6.0]), np.array([False, True])).tolist() == [1, 0, 0], "a second row of a moment is no change"
    assert changes_of(np.array([]), np.array([], bool)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"x": (200, 0, 0)}, {"x": True}),
        ({"x": (199, 0, 0)}, {}),
        ({"x": (1000, 1, 10)}, {"x": True}),
        ({"x": (1000, 2, 0)}, {}),
        ({"x": (1000, 0, 11)}, {}),
        ({"user::procstat": (900, 80, 0)}, {}),
        ({"user::procstat": (10, 9, 0)}, {}),
        ({"disk_used_percent": (15, 9, 0)}, {"disk_used_percent": False}),
        ({"procs_running": (1000, 0, 0)}, {}),
    ],
)
def test_a_metric_is_what_it_does_where_that_is_clear(changes, kind):
    assert by_behaviour(changes, COUNTERS, GAUGES) == kind


def test_a_full_name_decides():
    changes = {"disk_used_percent": (15, 9, 0)}
    assert by_behaviour(changes, [*COUNTERS, "disk_used_percent"], GAUGES) == {}


def test_parts_are_read_in_the_order_of_their_times_and_no_further_than_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(telemetry_counters, "ROWS", 5)
    first = part(tmp_path, "a.parquet", 0, {"energy_uj": [1.0, 2, 3], "watts": [9.0, 8, 9]})
    second = part(tmp_path, "b.parquet", 3, {"energy_uj": [4.0, 5, 0], "watts": [9.0, 9, 9]})
    other = part(tmp_path, "c.parquet", 0, {"load": [2.0, 1.5, 0.5]})
    third = part(tmp_path, "d.parquet", 6, {"energy_uj": [9.0, 8, 7], "watts": [1.0, 2, 3]})
    changes = count_changes({"n1": [first, second, other, third]})
    assert changes == {"energy_uj": (3, 0, 0), "watts": (1, 1, 0), "load": (0, 1, 1)}
    assert count_changes({}) == {}


def test_the_sentence_names_both_kinds_and_only_those_that_there_are():
    both = behaviour_sentence({"b": True, "a": True, "used_percent": False})
    assert both.startswith("By their behaviour, not by their names, there are 2 counters (a, b) and 1 gauges (used_percent). A full name in")
    many = behaviour_sentence({f"m{i}": True for i in range(7)})
    assert "there are 7 counters (m0, m1, m2, m3, m4, m5 and others). A full" in many
