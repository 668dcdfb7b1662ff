"""What a run leaves that is killed at any moment: `python bench/kill.py [KILLS] [SEED] [STUDY ...]`; by default 20, 1 and all.

`make reports` on a small sample is killed, with every process that it started, at moments drawn from the first third of its time, and started again
where it was cut off. After each kill, every product must be readable or absent. A run that ends before its moment must end well, with the findings of
a run that nobody disturbed; then all is removed, and the next one begins anew, until there have been enough kills. Prints a table. Twenty kills take
about as long as seven small chains, so be alone on the machine.
"""

import contextlib
import gzip
import json
import os
import random
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.parquet as pq
import yaml
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
small_config = runpy.run_path(str(REPOSITORY / "tests/conftest.py"))["small_config"]


def whole_zip(path):
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None


def whole_page(path):
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def whole_database(path):
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


READ = {  # how each kind of file proves to be whole
    ".parquet": pq.read_table,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".keras": whole_zip,
    ".skops": whole_zip,
    ".html": whole_page,
    ".png": lambda path: Image.open(path).load(),
    ".webp": lambda path: Image.open(path).load(),
    ".gz": lambda path: gzip.decompress(path.read_bytes()),
    ".csv": pd.read_csv,
    ".sqlite": whole_database,
}


def broken(products):
    """Products that cannot be read, each with its error. Logs and executed notebooks, which say how far a run came, are none; nor what is hidden."""
    found = []
    for path in sorted(products.rglob("*.*")):
        if path.is_file() and path.suffix in READ and not any(part.startswith(".") for part in path.relative_to(products).parts):
            try:
                READ[path.suffix](path)
            except Exception as error:  # each reader has its own ways to say so
                found.append(f"{path.relative_to(products)}: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
    return found


def start(config, log):
    """`make reports` in a session of its own."""
    make = ["make", "--no-print-directory", "reports", f"CONFIG={config}", f"ENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"]
    return subprocess.Popen(make, cwd=REPOSITORY, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True)


def kill(run):
    """Kill a run with all that it started; kernels have sessions of their own."""
    everybody = [run, *psutil.Process(run.pid).children(recursive=True)]
    for process in everybody:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(everybody[1:], timeout=10)
    run.wait()


def findings(products):
    """{name: table} of all findings and incidents; pictures are named by their paths, which are the same in every folder."""
    return {
        str(path.relative_to(products)): pd.read_parquet(path)
        for folder in ("findings", "incidents")
        for path in sorted((products / "data" / folder).glob("[!.]*.parquet"))
    }


def differing(products, undisturbed):
    """Names of the tables of findings that are not those of the undisturbed run."""
    found = findings(products)
    return sorted(name for name in found.keys() | undisturbed.keys() if name not in found or not found[name].equals(undisturbed.get(name)))


def ended_well(run, products, undisturbed, log):
    """Whether a run that nobody killed ended well and found the same; tells what did not."""
    different = differing(products, undisturbed)
    if run.returncode or different:
        print(f"FAILED: exit {run.returncode}, other findings: {', '.join(different) or 'none'}\n{log.read_text()[-2000:]}", flush=True)
    return not run.returncode and not different


def main(kills=20, seed=1, *studies):
    kills = int(kills)
    rng = random.Random(int(seed))
    folder = Path(tempfile.mkdtemp(prefix="nightshift-kill-"))
    products, log, config = folder / "products", folder / "log", folder / "config.yaml"
    settings = small_config(products)
    settings["studies"] = {name: steps for name, steps in settings["studies"].items() if name in studies or not studies}
    config.write_text(yaml.safe_dump(settings))
    begun = time.monotonic()
    if start(config, log).wait():
        sys.exit(f"the undisturbed run failed:\n{log.read_text()[-2000:]}")
    took, undisturbed = time.monotonic() - begun, findings(products)
    print(f"undisturbed: {took:.0f} s, {sum(map(len, undisturbed.values()))} findings and incidents; {kills} kills, seed {seed}", flush=True)
    shutil.rmtree(products)
    killed, bad, ended, begun = 0, 0, [], time.monotonic()
    while killed < kills:
        run, moment = start(config, log), rng.uniform(0, took / 3)
        try:
            run.wait(moment)
            ended.append(ended_well(run, products, undisturbed, log))
            print(f"      ended before {moment:5.1f} s, {'well' if ended[-1] else 'badly'}; begins anew", flush=True)
            shutil.rmtree(products)
        except subprocess.TimeoutExpired:
            kill(run)
            killed += 1
            cut, left = broken(products), len([path for path in products.rglob(".*-*") if path.is_file()])
            bad += len(cut)
            last = (log.read_text().strip().splitlines() or ["nothing said yet"])[-1][:60]
            print(f"{killed:>3}   killed at {moment:5.1f} s   {len(cut)} broken   {left} temporary files left   after: {last}", flush=True)
            print("".join(f"      {line}\n" for line in cut), end="", flush=True)
    run = start(config, log)
    run.wait()
    ended.append(ended_well(run, products, undisturbed, log))
    print(
        f"{killed} kills in {time.monotonic() - begun:.0f} s: {bad} broken products; {sum(ended)} of {len(ended)} runs that were let end did so well"
    )
    shutil.rmtree(folder)
    return int(bad > 0 or not all(ended))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
