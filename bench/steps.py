"""What one notebook costs: no measurement by itself, but a part of bench/nights.py and bench/scale.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

# prints what a command took: seconds of processors, and KiB of the largest process among those that it starts
WATCH = """import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(done.returncode)"""


def run(notebook, products, **parameters):
    """Run a notebook, such as transfers/1_extract, by papermill in a process of its own: (seconds of processors, GiB)."""
    path = REPOSITORY / f"notebooks/{notebook}.ipynb"
    command = ["-m", "papermill", path, Path(products) / "executed.ipynb", "-k", "python3", "--no-progress-bar"]
    settings = ["-y", json.dumps({"products": str(products)} | parameters)]
    watch = [sys.executable, "-c", WATCH, sys.executable, *map(str, command), *settings]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # as a step of a night has
    done = subprocess.run(watch, capture_output=True, text=True, cwd=REPOSITORY, env=one_thread)
    if done.returncode:
        sys.exit(f"{notebook}: {done.stderr.strip().splitlines()[-1]}")
    seconds, kib = done.stdout.split()
    return float(seconds), int(kib) / 2**20
