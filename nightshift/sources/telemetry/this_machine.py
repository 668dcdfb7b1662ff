"""This machine as a source: a workload runs again and again, alone or beside a generator that wastes one
resource, while all that the system counts is read once a second.
"""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
from tqdm import tqdm

from nightshift.generators import GENERATORS, workload
from nightshift.sources.base import LiveSource, Look
from nightshift.sources.telemetry.parts import write_parts
from nightshift.sources.telemetry.tables import ROLES


def read_machine():
    """Read everything that this machine counts, {metric: value}.

    Names are those of psutil: processor seconds by mode, memory, swap, load, switches and interrupts, disks
    and network, and on Linux every counter of /proc/vmstat, among them page faults. What a system does not
    count is left out.
    """
    groups = {
        "cpu": psutil.cpu_times(),
        "stats": psutil.cpu_stats(),
        "mem": psutil.virtual_memory(),
        "swap": psutil.swap_memory(),
        "disk": psutil.disk_io_counters(),
        "net": psutil.net_io_counters(),
        "freq": psutil.cpu_freq(),
    }
    values = {
        f"{group}_{name}::psutil": value
        for group, counts in groups.items()
        if counts
        for name, value in counts._asdict().items()
    }
    loads = zip((1, 5, 15), psutil.getloadavg(), strict=True)
    values |= {f"load_{span}::psutil": value for span, value in loads}
    if os.path.exists("/proc/vmstat"):
        lines = (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        values |= {f"{name}::vmstat": int(value) for name, value in lines}
    return values


def schedule(minutes, run_s, *, seed):
    """Order the runs at random: names of GENERATORS, each equally often and at least once, so that runs of
    `run_s` seconds together come closest to `minutes`.
    """
    repetitions = max(1, round(minutes * 60 / run_s / len(GENERATORS)))
    return np.random.default_rng(seed).permutation(np.repeat(list(GENERATORS), repetitions))


def measure(anomaly, job_id, *, run_s):
    """Measure one run of `run_s` seconds: rows {timestamp, node_id, job_id, metric: value}, one per second.

    The workload and the generator `anomaly` run in processes of their own, which start before the run does,
    and are stopped where this is interrupted. A leak takes a tenth of the memory that is free at its start
    and gives it back at its end.
    """
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        # its processes start before the run does
        joblib.Parallel(n_jobs=2)(joblib.delayed(time.sleep)(0) for _ in range(2))
        time.sleep(1 - time.time() % 1)  # rows on whole seconds: none comes twice when times are rounded
        until, rows, node = time.time() + run_s, [], socket.gethostname()
        programs = [work for work in (workload, GENERATORS[anomaly]) if work]
        beside = [joblib.delayed(work)(until, psutil.virtual_memory().available // 10) for work in programs]
        running = joblib.Parallel(n_jobs=2, return_as="generator")(beside)  # they run while this goes on
    try:
        while (now := time.time()) < until:
            rows.append({"timestamp": now, "node_id": node, "job_id": job_id, **read_machine()})
            time.sleep(max(0, min(1 - time.time() % 1, until - time.time())))
        list(running)
    finally:
        running.close()  # stops them when this was interrupted, and does nothing when they have ended
    return rows


@dataclass
class ThisMachine(LiveSource):
    """minutes : how long it is measured. run_s : length of a run, seconds. seed : order of the runs."""

    label = "this machine, which measures itself"
    addresses = ("this_machine",)

    minutes: float
    run_s: float
    seed: int

    def extract(self, address, extraction):
        """Add one job per run, with its label; the window of the extraction becomes the time that it took."""
        begin, rows = pd.Timestamp.now("UTC"), []
        runs = tqdm(schedule(self.minutes, self.run_s, seed=self.seed), desc="runs", unit="run")
        for number, anomaly in enumerate(runs, 1):
            runs.set_postfix(now=anomaly)
            job_id = f"{begin:%Y%m%dT%H%M%S}-{number:03d}"
            rows += measure(anomaly, job_id, run_s=self.run_s)
            label = {"job_id": job_id, "node_id": socket.gethostname(), "app": "workload", "input": "200x200"}
            extraction.labels.append(pd.DataFrame([label | {"anomaly": anomaly}]))
        extraction.window = [begin, pd.Timestamp.now("UTC")]
        table = pd.DataFrame(rows)
        write_parts(
            extraction,
            [(1, pa.Table.from_pandas(table, preserve_index=False))],
            layout={role: role for role in ROLES[:3]},
            metric_names={name: name for name in table.columns[3:]},
            where="this_machine",
        )

    def look(self, address, *, settings):
        """Read the counters of this machine once."""
        return Look(
            self.label, 1, frozenset(read_machine()), notes=[f"measuring takes {self.minutes:g} minutes"]
        )
