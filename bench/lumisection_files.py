"""What a second night of lumisections costs beside the first: `python bench/lumisection_files.py [HISTOGRAMS] [DAYS]`, else 90,000 and 35.

A Parquet file per day is written, of 1,500 lumisections in ten runs and so many elements of 50 bins that there are as many histograms, and a table of
luminosities beside it. The first night has a window of all days, the second one the same window a day later; each step runs by papermill in a process
of its own, of which seconds of processors and the largest memory are counted; papermill and imports are part of both. The third one has nothing new.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from steps import run

FIRST, LUMISECTIONS, RUNS, BINS = pd.Timestamp("2026-01-01", tz="UTC"), 1500, 10, 50


def write_day(folder, day, n_elements):
    """Write the histograms of a day lumisection by lumisection, and its luminosities; a lumisection takes 23.31 s."""
    date, rng = FIRST + pd.Timedelta(days=day), np.random.default_rng(day)
    section = np.arange(LUMISECTIONS)
    keys = {"run": 400_000 + day * RUNS + section * RUNS // LUMISECTIONS, "lumisection": 1 + section % (LUMISECTIONS // RUNS)}
    times = date + pd.to_timedelta(section * 23.31, unit="s")
    pd.DataFrame(keys | {"time": times, "recorded": 0.3, "dcs": True, "golden": True}).to_csv(folder / f"lumi-{date:%Y-%m-%d}.csv", index=False)
    names = pa.array([f"Tracker/element_{n}" for n in range(n_elements)] * LUMISECTIONS)
    counts = rng.poisson(50, LUMISECTIONS * n_elements * BINS).astype(float)
    columns = {name: np.repeat(values, n_elements) for name, values in keys.items()}
    columns |= {"dataset": ["ZeroBias"] * len(names), "element": names, "x_min": np.zeros(len(names)), "x_max": np.ones(len(names))}
    columns["contents"] = pa.ListArray.from_arrays(pa.array(np.arange(len(names) + 1) * BINS, pa.int32()), pa.array(counts))
    pq.write_table(pa.table(columns), folder / f"{date:%Y-%m-%d}.parquet", row_group_size=2**14)


def main():
    n_histograms, days = map(int, [*sys.argv[1:], *("90000", "35")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        for day in range(days):
            write_day(folder / "source", day, n_histograms // LUMISECTIONS)
        print(f"{n_histograms:,} histograms a day of {BINS} bins, {days} days", flush=True)
        settings = {"source": str(folder / "source/*.parquet"), "luminosity": str(folder / "source/lumi-*.csv"), "days": days}
        for which, last in (("first", days - 1), ("next", days), ("the same again", days)):
            if which == "next":
                write_day(folder / "source", last, n_histograms // LUMISECTIONS)
            night = str((FIRST + pd.Timedelta(days=last)).date())
            steps = {"1_extract": settings, "2_preprocess": {"datasets": ""}}
            for step, parameters in steps.items():
                seconds, gib = run(f"certification/{step}", folder, day=night, **parameters)
                print(f"{step}, {which:<15} {seconds:7.1f} s of processors {gib:5.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
