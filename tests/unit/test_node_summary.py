"""What an extraction of node metrics says of itself, and labels that stand in files, on small tables with values by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from nightshift.sources.telemetry import dcgm
from nightshift.sources.telemetry.labels import read_labels, stretches
from nightshift.sources.telemetry.summary import (
    gpu_rows,
    oddities,
    plot_rows_per_day,
    rows_per_day,
    sampler_table,
    state_of,
    summarise_rows,
    vain_settings,
)

NOON = pd.Timestamp("2026-01-30T12:00", tz="UTC")


def extraction(**counted):
    nothing = {"bad_lines": [], "counts": {"unreadable": 0}, "warned": set(), "measured": {}, "blanks": {}, "gpu_blanks": {}}
    return SimpleNamespace(**nothing | {"asked_twice": {}, "nameless_gpus": set()} | counted)


@pytest.mark.parametrize(
    ("counted", "empty", "stale", "state"),
    [
        ({}, False, False, "ok"),
        ({}, True, True, "empty"),
        ({"bad_lines": [1]}, False, True, "stale"),
        ({"bad_lines": [1]}, False, False, "partial"),
        ({"counts": {"unreadable": 1}}, False, False, "partial"),
        ({"warned": {"a part is missing"}}, False, False, "partial"),
    ],
)
def test_a_state_is_the_worst_that_holds(counted, empty, stale, state):
    assert state_of(extraction(**counted), empty=empty, stale=stale) == state


def test_rows_of_gpus_are_counted_with_their_newest_time(tmp_path):
    times = pa.array([NOON, NOON + pd.Timedelta("1h"), None], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"timestamp": times}), tmp_path / "gpus.parquet")
    pq.write_table(pa.table({"timestamp": times[:0]}), tmp_path / "none.parquet")
    assert gpu_rows(tmp_path / "gpus.parquet") == (3, NOON + pd.Timedelta("1h"))
    assert gpu_rows(tmp_path / "none.parquet") == (0, None)


def test_odd_values_are_named_where_there_are_any():
    measured = {"a::x": (5, 9), "b::x": (0, 9), **{f"c{n}::x": (1, 9) for n in range(4)}}
    blanks = {"a::x": 1200, "b::x": 7, **{f"c{n}::x": 1 for n in range(4)}}
    odd = extraction(measured=measured, blanks=blanks, gpu_blanks={"power_w": 2, "memory": 1}, nameless_gpus={"10.0.0.1", "10.0.0.2", "n1"})
    first, gpus, nameless = oddities(odd, {"n1"}, node_label="instance")
    assert first.startswith("1,204 cells of 5 metrics hold a number")
    assert first.endswith("count as missing: a::x, c0::x, c1::x, c2::x ....")
    assert gpus.startswith("3 values of GPUs are blanks of DCGM or impossible")
    assert gpus.endswith("2 of power_w, 1 of memory.")
    assert "The series of 2 GPU exporters" in nameless
    assert "as on 10.0.0.1, 10.0.0.2, and" in nameless
    assert oddities(extraction(), set(), node_label="instance") == []
    [single] = oddities(extraction(nameless_gpus={"10.0.0.1"}), set(), node_label="instance")
    assert single.startswith("The series of 1 GPU exporter have no label")
    four = dict(list(blanks.items())[:1] + list(blanks.items())[2:5])
    assert oddities(extraction(measured=measured, blanks=four), set(), node_label="i")[0].endswith("a::x, c0::x, c1::x, c2::x.")


def test_settings_that_fit_nothing_are_named():
    labels, measured = pd.DataFrame({"anomaly": ["memleak", "none"]}), {"load::x": (3, 9), "temperature::x": (0, 9)}
    names = {"1": "memleak", "2": "membw"}
    lines = vain_settings(names, labels, metrics={"load::prometheus": "up", "temperature::x": "t"}, measured=measured)
    assert lines == ["No column of anomalies holds '2' of anomaly_names.", "metrics: no node has a value of temperature::x."]
    assert vain_settings({"1": "memleak"}, labels, metrics={"load::x": "up"}, measured=measured) == []


def test_each_sampler_has_its_metrics_its_rows_and_the_share_of_empty_cells():
    shown, never = sampler_table({"a::meminfo": (5, 10), "b::meminfo": (0, 8), "c": (4, 4)})
    assert shown.to_numpy().tolist() == [["(none)", 1, 4, 0.0, 0], ["meminfo", 2, 10, pytest.approx(13 / 18), 1]]
    assert never.tolist() == ["b::meminfo"]


def test_rows_are_counted_by_node_and_day_with_days_without_any():
    days = [NOON.floor("D") + pd.Timedelta(days=n) for n in (0, 2)]
    seen = [pd.DataFrame({"node_id": ["a", "a", "b"], "job_id": ["1", "2", "1"], "day": [days[0], days[0], days[1]], "rows": [3, 4, 5]})]
    per_day, sums = rows_per_day(summarise_rows(seen))
    assert per_day.to_numpy().tolist() == [[7, 0, 0], [0, 0, 5]]
    assert sums.to_dict() == {"b": 5, "a": 7}
    assert list(sums.index) == ["b", "a"]
    assert list(summarise_rows([]).columns) == ["node_id", "job_id", "day", "rows", "first", "last"]
    ax = plot_rows_per_day(per_day, Figure().subplots())
    drawn = ax.collections[0]
    assert np.ma.filled(drawn.get_array(), -1).tolist() == [[7, -1, -1], [-1, -1, 5]]
    assert (drawn.norm.vmin, drawn.norm.vmax) == (1, 10)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["30 Jan", "31 Jan", "01 Feb"]
    assert ax.get_yticks().tolist() == [0.5, 1.5]
    assert ax.yaxis_inverted()


def test_a_file_of_labels_says_what_it_can_and_names_what_it_lacks():
    page = pa.table({"job_id": ["1", "2"], "anom": ["membw", None], "start": ["2026-01-30 12:00:00", None]})
    labels = read_labels(page.column_names, [(1, page)])
    assert labels[["job_id", "anomaly"]].fillna("").to_numpy().tolist() == [["1", "membw"], ["2", ""]]
    assert labels.node_id.isna().all()
    assert labels.start[0] == NOON
    assert labels[["start", "end"]].isna().to_numpy().tolist() == [[False, True], [True, True]]
    both = pa.table({"node_id": ["a"], "anom": ["other"], "anomaly": ["memleak"]})
    assert read_labels(both.column_names, [(1, both)]).anomaly.tolist() == ["memleak"], "its own name comes before a short one"
    assert len(read_labels(["job_id", "anomaly"], [])) == 0
    for names in (["job_id", "app"], ["anomaly", "app"]):
        with pytest.raises(ValueError, match=r"^labels need the columns anomaly, and job_id or node_id; it has \w+, app$"):
            read_labels(names, [])


def test_a_label_whose_stretch_cannot_be_read_is_none_of_the_whole_run():
    """Among them a day that comes first or second, and seconds since the job began."""
    starts = ["2026-01-30 12:00:00", "31/01/2026 10:00", None, "-", "600", "soon"]
    page = pa.table({"job_id": [*"123456"], "anomaly": ["membw"] * 6, "start": starts, "end": [None, "soon", "", "2026-01-31", "0", "then"]})
    bad = []
    labels = read_labels(page.column_names, [(1, page.slice(0, 4)), (5, page.slice(4))], path="a.csv", bad_lines=bad)
    assert labels.job_id.tolist() == ["1", "3", "4"]
    assert labels.start.tolist() == [NOON, pd.NaT, pd.NaT]
    assert labels.end.tolist() == [pd.NaT, pd.NaT, pd.Timestamp("2026-01-31", tz="UTC")]
    assert bad == [("a.csv", row, "no time of its start", text) for row, text in ((2, "31/01/2026 10:00"), (5, "600"), (6, "soon"))]


def test_of_many_that_fit_nothing_the_first_are_named():
    labels, names = pd.DataFrame({"anomaly": ["none"]}), {str(n): f"a{n}" for n in range(4)}
    lines = vain_settings(names, labels, metrics={f"m{n}": "up" for n in range(5)}, measured={})
    assert lines == ["No column of anomalies holds '0', '1', '2' of anomaly_names.", "metrics: no node has a value of m0, m1, m2, m3."]
    [nameless] = oddities(extraction(nameless_gpus={f"10.0.0.{n}" for n in range(4)}), set(), node_label="instance")
    assert "The series of 4 GPU exporters" in nameless
    assert "as on 10.0.0.0, 10.0.0.1, 10.0.0.2, and" in nameless


def test_seven_days_of_many_are_named_below_the_picture_and_thirty_letters_of_a_node_beside_it():
    days = pd.date_range("2026-01-19", periods=13, tz="UTC")
    ax = plot_rows_per_day(pd.DataFrame(5, ["n" * 31], days), Figure().subplots())
    assert ax.get_xticks().tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["n" * 30]


@pytest.mark.parametrize(("seconds", "end"), [([0], 1), ([0, 10], 20), ([0, 10, 20], 30), ([0, 5, 20], 30)])
def test_the_last_stretch_of_a_run_ends_a_step_after_its_last_row(seconds, end):
    rows = pd.DataFrame({"timestamp": NOON + pd.to_timedelta(seconds, unit="s"), "node_id": "n1", "job_id": "7", "anomaly": "membw"})
    rows = pd.concat([rows, rows.head(1).assign(job_id="8", timestamp=NOON + pd.Timedelta("1h"))], ignore_index=True).assign(
        app=None, input=None, part=None
    )
    cut = stretches(rows)
    assert (cut.end - NOON).dt.total_seconds().tolist() == [end, 3601]
    assert cut.job_id.tolist() == ["7", "8"]


@pytest.mark.parametrize(
    ("names", "is_one"),
    [
        (["x", "DCGM_FI_DEV_GPU_UTIL"], True),
        (["timestamp", "gpu", "hostname"], True),
        (["timestamp", "gpu"], False),
        (["timestamp", "Hostname"], False),
    ],
)
def test_a_table_of_gpus_has_a_metric_of_dcgm_or_says_when_on_which_host_and_which_gpu(names, is_one):
    assert dcgm.is_gpu_table(names) is is_one
