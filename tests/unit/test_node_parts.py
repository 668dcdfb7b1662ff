"""Raw rows of many nodes at once, and their places on the grid."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.cleaning.telemetry import NO_DAY, Grid, place_rows, read_rows
from nightshift.sources.telemetry import parts
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
