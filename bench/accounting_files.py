"""Reading files of jobs, this revision against an earlier one in one run: seconds of a processor, their ratio, and the peak of memory.

    python -m bench.accounting_files [REVISION [FACTOR]]    # from the repository; by default the revision before files were streamed

Each file is read by a process of its own, in turn by both revisions, the earlier one in a worktree of git. Ratios are comparable, seconds are
this machine's; the least of three runs counts, since others may use the machine. FACTOR makes all files so many times longer.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

REVISION, RUNS = "02164ff", 3
FIRST_DAY = 1_704_067_200  # 2024-01-01, seconds since 1970
HEADER = "JobID|Cluster|Account|State|Submit|Start|End|ElapsedRaw|CPUTimeRAW|TotalCPU|AllocCPUS"
READ = """
import resource, sys, tempfile, time
from pathlib import Path
import pandas as pd
from nightshift.sources.base import read_source, sources_of
from nightshift.sources.parts import Extraction
import pyarrow.compute, pyarrow.csv, pyarrow.parquet as pq
path, folder = sys.argv[1], Path(sys.argv[2])
window = pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2030-01-01", tz="UTC")
extraction = Extraction(folder, window)
settings = dict(sacct_options="", index="", page_rows=1, timeout_s=1.0, retry_wait_s=1.0)
sources_of("accounting")  # imports take as long for a small file
begun = time.process_time()
read_source("accounting", path, extraction, **settings)
seconds, peak = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(pq.read_metadata(part).num_rows for part in extraction.parts)
hours = sum(pq.read_table(part, columns=["CoreHours"])["CoreHours"].to_pandas().astype(float).sum() for part in extraction.parts)
print(rows, hours, seconds, peak / 1024)
"""


def write_sacct(path, n_jobs, rng):
    """Write saved output of sacct: each job has a line of its own and two of steps, as with a batch script."""
    elapsed, cores = rng.integers(1, 90_000, n_jobs), rng.choice([1, 2, 8, 32, 128], n_jobs)
    start = FIRST_DAY + np.sort(rng.integers(0, 60_000_000, n_jobs))
    used, account = (elapsed * cores * rng.uniform(0.2, 1, n_jobs)).astype(int), rng.integers(0, 60, n_jobs)
    with open(path, "w") as out:
        out.write(HEADER + "\n")
        for job, (t, s, c, u, a) in enumerate(zip(start, elapsed, cores, used, account, strict=True), 1_000_000):
            cpu = f"{u // 86400}-{u // 3600 % 24:02d}:{u // 60 % 60:02d}:{u % 60:02d}"
            rest = f"|COMPLETED|{t - 60}|{t}|{t + s}|{s}|{s * c}|{cpu}|{c}\n"
            out.write(f"{job}|north|acc{a:02d}{rest}{job}.batch|north|acc{a:02d}{rest}{job}.extern|north|acc{a:02d}{rest}")


def write_swf(path, n_jobs, rng):
    """Write a log in the Standard Workload Format, with its columns aligned as archives have them."""
    run, cores = rng.integers(1, 90_000, n_jobs), rng.choice([1, 2, 8, 32, 128], n_jobs)
    submit, group = np.sort(rng.integers(0, 60_000_000, n_jobs)), rng.integers(1, 9, n_jobs)
    with open(path, "w") as out:
        out.write(f"; Version: 2.2\n; UnixStartTime: {FIRST_DAY}\n")
        for job, (t, s, c, g) in enumerate(zip(submit, run, cores, group, strict=True), 1):
            out.write(f"{job:8d} {t:9d} {60:6d} {s:6d} {c:4d} {s * 0.9:9.2f} -1 {c:4d} {s + 60:6d} -1 1 {g * 7:4d} {g:3d} -1 1 -1 -1 -1\n")


def measure(tree, path):
    """Read the file `path` with the revision in the folder `tree`: (rows, core hours, seconds, MiB)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", READ, str(path), folder]
        done = subprocess.run(command, cwd=tree, env={"PYTHONPATH": str(tree), "CI": "true"}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return tuple(map(float, done.stdout.split()))


FILES = {"sacct.txt": (write_sacct, 100_000), "north.swf": (write_swf, 500_000)}  # and their jobs


def main(revision=REVISION, factor=1):
    here, rng = Path(__file__).resolve().parents[1], np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder, "before")
        subprocess.run(["git", "worktree", "add", "--detach", str(before), revision], cwd=here, check=True, capture_output=True)
        try:
            print(f"{'file':<12}{'MB':>6}{'rows':>10}{'before, s':>11}{'now, s':>9}{'ratio':>7}{'before, MiB':>13}{'now, MiB':>10}")
            for name, (write, n_jobs) in FILES.items():
                write(path := Path(folder, name), factor * n_jobs, rng)
                pairs = [(measure(before, path), measure(here, path)) for _ in range(RUNS)]
                (rows, hours, *_), (rows_now, hours_now, *_) = pairs[0]
                assert rows == rows_now, "both revisions read the same jobs"
                assert np.isclose(hours, hours_now), "both revisions read the same hours"
                (old, old_mib), (new, new_mib) = ((min(run[i][2] for run in pairs), max(run[i][3] for run in pairs)) for i in (0, 1))
                size = path.stat().st_size / 1e6
                print(f"{name:<12}{size:>6.0f}{rows:>10,.0f}{old:>11.1f}{new:>9.1f}{old / new:>7.1f}{old_mib:>13,.0f}{new_mib:>10,.0f}")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=here, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
