"""What a second worker of Slurm is worth: `python bench/engines.py [NODES]`, 32 unless stated, on a Slurm of its own, which needs two processors.

Every node has 200 metrics once a second for eight hours. Its windows are made by one worker, by two, and by this machine alone with two processes;
seconds of all nodes less those of a quarter of them, so that how long a queue, imports and compilers take is left out.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from joblib import delayed

from helpers import write_parquet
from nightshift import workers
from nightshift.cleaning.telemetry import Grid
from nightshift.cleaning.telemetry_parts import describe_part, sources_of
from nightshift.cleaning.telemetry_windows import clean_labels, window_node

SERVICES = Path(__file__).resolve().parents[1] / "tests/services"
N_METRICS, SECONDS = 200, 8 * 3600
END = pd.Timestamp("2026-02-01", tz="UTC")
LABELS = ["job_id", "node_id", "app", "input", "anomaly", "part", "start", "end"]


def write_node(folder, name, rng):
    """Write the raw samples of a node: its sources, of one part."""
    times = pd.date_range("2026-01-31", periods=SECONDS, freq="s", tz="UTC", unit="us")
    metrics = {f"m{i}::meminfo": rng.normal(size=SECONDS) for i in range(N_METRICS)}
    path = folder / f"node_id={quote(name, safe='')}" / "day=2026-01-31/part.parquet"
    write_parquet(pd.DataFrame({"timestamp": times, "job_id": pd.Series(["1"] * SECONDS, dtype="str"), **metrics}), path)
    return sources_of([describe_part(path)])


def seconds(nodes, folder, engine, count):
    """Seconds in which an engine windows nodes, {name: its sources}."""
    workers.choose(engine, count)
    labels, targets = clean_labels(pd.DataFrame(columns=LABELS)), {node: folder / f"{node}.arrow" for node in nodes}
    grid = Grid(1.0, periods={"meminfo": 1.0}, window=60, step=15, trim_s=30, least_coverage=0.8, end=END, counters=(), gauges=(), behaviour={})
    calls = [delayed(window_node)(node, sources, labels=labels, grid=grid, target=targets[node]) for node, sources in nodes.items()]
    begun = time.perf_counter()
    kept = sum(result.runs.kept.sum() for result in workers.results_of(calls, 2))
    assert kept == len(nodes) * (SECONDS - 60), kept
    return time.perf_counter() - begun


def main():
    sys.path.insert(0, str(SERVICES))
    import slurm_cluster

    n, rng = int((sys.argv[1:] or ["32"])[0]), np.random.default_rng(1)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="engines-") as name:
        folder = Path(name)
        (folder / "slurm").mkdir()
        nodes = {f"n{i}": write_node(folder, f"n{i}", rng) for i in range(n)}
        few = dict(list(nodes.items())[: n // 4])
        with slurm_cluster.cluster(folder / "slurm", ["physics"]) as environment:
            os.environ |= environment | {"DASK_JOBQUEUE__SLURM__SCHEDULER_OPTIONS": "{'host': '127.0.0.1'}"}
            alone = None
            for words, engine, count in (("one worker", "slurm", 1), ("two workers", "slurm", 2), ("this machine", "local", 2)):
                taken = seconds(nodes, folder, engine, count) - seconds(few, folder, engine, count)
                alone = alone or taken
                print(f"{words:<14} {taken:6.1f} s for {n - len(few)} nodes; {alone / taken:.2f} times one worker", flush=True)


if __name__ == "__main__":
    main()
