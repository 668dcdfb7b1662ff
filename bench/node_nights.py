"""What a second night of node metrics costs beside the first: `python bench/node_nights.py [NODES] [DAYS]`, 100 and 28 unless stated.

Servers without jobs, 30 metrics a minute each, a Parquet file of all nodes per day, cut into windows of 15 minutes every five. The first night
extracts and preprocesses a window of all days, the second one the same window a day later. Each step runs by papermill in a process of its own, of
which seconds of processors and the largest memory are counted; papermill, imports and the compiler of numba are part of both. In the end all is made
anew in a folder of its own, and the windows must be the same.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from steps import run

from helpers import study_paths
from nightshift.cleaning.telemetry_days import read_windows

FIRST = pd.Timestamp("2026-01-01", tz="UTC")
METRICS = 30
CUT = {"window_s": 900, "step_s": 300, "trim_s": 0}


def write_day(path, day, nodes, rng):
    """Write a minute of each node after the other: gauges that wander, and counters that grow."""
    minutes = FIRST + pd.Timedelta(days=day) + pd.to_timedelta(60 * np.arange(1440), unit="s")
    frame = pd.DataFrame({"timestamp": np.repeat(minutes, nodes), "node_id": np.tile([f"n{i:04d}" for i in range(nodes)], 1440)})
    noise = rng.normal(size=(METRICS, 1440, nodes)).astype("float32").astype(float)
    noise[::3] = day * 1440 * 50 + np.cumsum(np.abs(noise[::3] * 50).round(), axis=1)
    metrics = pd.DataFrame({f"m{i:02d}{'_total' if i % 3 == 0 else ''}::perf": values.ravel() for i, values in enumerate(noise)})
    pd.concat([frame, metrics], axis=1).to_parquet(path, index=False)


def night(products, source, day, days):
    """Extract and preprocess the window that ends with `day`: {step: (seconds of processors, GiB)}."""
    name = str((FIRST + pd.Timedelta(days=day)).date())
    asked = {"source": str(source / "*.parquet"), "day": name, "days": days, "columns": {"node_id": "node_id", "timestamp": "timestamp"}}
    return {"1_extract": run("telemetry/1_extract", products, **asked), "2_preprocess": run("telemetry/2_preprocess", products, day=name, **CUT)}


def main():
    nodes, days = map(int, [*sys.argv[1:], *("100", "28")[len(sys.argv) - 1 :]])
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for one in ("source", "nightly", "anew"):
            (folder / one).mkdir()
        begun = time.perf_counter()
        for day in range(days):
            write_day(folder / f"source/{day:03d}.parquet", day, nodes, rng)
        print(f"{nodes} nodes, {days} days, {nodes * days * 1440:,} rows, written in {time.perf_counter() - begun:.0f} s", flush=True)
        first = night(folder / "nightly", folder / "source", days - 1, days)
        write_day(folder / f"source/{days:03d}.parquet", days, nodes, rng)
        second = night(folder / "nightly", folder / "source", days, days)
        for step in first:
            (s1, m1), (s2, m2) = first[step], second[step]
            nights = f"first night {s1:7.1f} s {m1:5.2f} GiB, second {s2:6.1f} s {m2:5.2f} GiB"
            print(f"{step:<14} {nights}; 1/{s1 / s2:.1f} of the time, {m2 / m1:.2f} of the memory", flush=True)
        night(folder / "anew", folder / "source", days, days)
        nightly, anew = (read_windows(study_paths("telemetry", str(folder / one)).clean) for one in ("nightly", "anew"))
        pd.testing.assert_frame_equal(nightly, anew, check_exact=True)
        print(f"{len(nightly):,} windows, the same when all is made anew")


if __name__ == "__main__":
    main()
