"""What a second night of LDMS stores costs 1_extract beside the first: `python bench/node_stores.py [NODES] [METRICS] [DAYS]`, else 200, 60 and 3.

A file per day is written as LDMS's store_csv does, a sample of each node every 15 s. The first night extracts a window of all days, the second one
the same window a day later, by papermill in a process of its own, of which seconds of processors and the largest memory are counted; papermill and
imports are part of both. The third one is the second again, with nothing new.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from steps import run

FIRST, STEP_S = pd.Timestamp("2026-01-01", tz="UTC"), 15
ROWS = 997  # that differ


def write_day(path, day, n_nodes, n_metrics):
    """Write the samples of a day, of all nodes moment by moment."""
    rng = np.random.default_rng(day)
    rows = [",".join(map(str, values)) for values in rng.integers(0, 2**30, (ROWS, n_metrics)).tolist()]
    begin = int((FIRST + pd.Timedelta(days=day)).timestamp())
    with open(path, "w") as out:
        out.write("#Time,Time_usec,ProducerName,component_id,job_id,app_id," + ",".join(f"metric_{n}" for n in range(n_metrics)) + "\n")
        for number, at in enumerate(range(begin, begin + 86_400, STEP_S)):
            out.writelines(f"{at}.001,1000,nid{n:05d},{n},0,0,{rows[(number * n_nodes + n) % ROWS]}\n" for n in range(n_nodes))


def main():
    n_nodes, n_metrics, days = map(int, [*sys.argv[1:], *("200", "60", "3")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "store").mkdir()
        for day in range(days):
            write_day(folder / f"store/meminfo_{FIRST + pd.Timedelta(days=day):%Y-%m-%d}.csv", day, n_nodes, n_metrics)
        size = sum(path.stat().st_size for path in (folder / "store").iterdir()) / 1e9
        print(f"{n_nodes} nodes x {n_metrics} metrics x {days} days at {STEP_S} s, {size:.1f} GB", flush=True)
        for which, last in (("first", days - 1), ("next", days), ("the same again", days)):
            file = folder / f"store/meminfo_{FIRST + pd.Timedelta(days=last):%Y-%m-%d}.csv"
            if not file.exists():
                write_day(file, last, n_nodes, n_metrics)
            os.sync()
            begun = time.perf_counter()
            end = str((FIRST + pd.Timedelta(days=last)).date())
            seconds, gib = run("telemetry/1_extract", folder, source=str(folder / "store/*.csv"), day=end, days=days)
            taken = time.perf_counter() - begun
            print(f"1_extract, {which:<15} {seconds:7.1f} s of processors {gib:5.2f} GiB, {taken:6.0f} s", flush=True)


if __name__ == "__main__":
    main()
