"""What a night leaves when the disk is full in the middle of a step: `python bench/full_disk.py [STEP ...]`.

As root, since the products lie in a small tmpfs of their own. A night of one study, accounting, is run with nothing else there but feedback and
the night before; as soon as the record of a step says that it runs, a file takes all the room that is left. Then the file goes, and the same
command runs again. That is done for each step, the digest and the site, or for those that are named.

Three things are asked. Nothing is lost: what people said and the night before are as they were, and every product can be read or is absent. The
first run ends with 1 or 2 and says one line that names the full disk. The second one ends with 0 and finds what an undisturbed night does.
"""

import contextlib
import itertools
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from nightshift.catalog import steps_of
from nightshift.remediation.feedback import FEEDBACK_FILE, read_feedback, record_feedback

REPOSITORY = Path(__file__).resolve().parents[1]
kill = runpy.run_path(str(REPOSITORY / "bench/kill.py"))
STUDY, BEFORE, NIGHT = "accounting", "2026-01-30", "2026-01-31"
SIZE = "96m"  # of the disk
RECORD = {"EndTime": "", "SiteName": "SITE_A", "VOName": "", "ProbeName": "htcondor:a.example", "ResourceType": "Batch", "CoreHours": 0.0}
RECORD |= {"WallDuration": 45000, "CpuDuration": 40000, "Njobs": 3, "Processors": 1}


@contextlib.contextmanager
def small_disk():
    """A folder with a file system of its own that takes SIZE."""
    folder = Path(tempfile.mkdtemp(prefix="nightshift-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # a process that is still ending may hold a file there
        folder.rmdir()


def write_source(path, silent=(("C", "2026-01-10"),)):
    """Seventy weeks of eight VOs at five sites, of which those in `silent` write nothing from a day on."""
    rng, days = np.random.default_rng(1), pd.date_range(end=NIGHT, periods=490, tz="UTC")
    last = {site: pd.Timestamp(day, tz="UTC") for site, day in silent}
    with path.open("w") as file:
        for site, vo in itertools.product("ABCDE", "abcdefgh"):
            hours = rng.uniform(200, 2000) * rng.lognormal(0, 0.1, len(days))
            for day, value in zip(days, hours, strict=True):
                if site not in last or day < last[site]:
                    row = RECORD | {"EndTime": f"{day:%Y-%m-%dT10:00:00Z}", "SiteName": f"SITE_{site}", "VOName": f"vo_{vo}"}
                    file.write(json.dumps(row | {"CoreHours": round(value, 1)}) + "\n")


def run(config, night):
    """The command of a night: (exit code, lines on standard error). Where this program is stopped, it stops the night first."""
    command = [sys.executable, "-m", "nightshift", "run", "--config", str(config), "--day", night, "--quiet", "--cores", "1"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    # a session of its own: Ctrl-C reaches the night once, from here
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True, **streams) as night_run:
        try:
            _, errors = night_run.communicate()
        except BaseException:
            night_run.send_signal(signal.SIGINT)
            night_run.communicate()
            raise
    return night_run.returncode, errors.splitlines()


def is_in(root, step):
    """Whether the night is in the middle of a step, by its record; the site is made when the digest has ended."""
    report = root / "reports" / NIGHT
    path = report / "digest_run.json" if step in ("digest", "site") else report / STUDY / f"{step}.json"
    try:
        return json.loads(path.read_text())["outcome"] == ("ok" if step == "site" else "running")
    except (OSError, ValueError, KeyError):
        return False


def fill(root, step, ended):
    """Take all the room that is left as soon as the night is in a step, and what is freed later as well."""
    while not ended.is_set() and not is_in(root, step):
        time.sleep(0.005)
    while not ended.is_set():
        with (root / ".ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 65536) == 65536:
                pass
        ended.wait(0.05)


def filled_run(config, root, step):
    """Run the night on a disk that is full from the middle of a step on, as `run`."""
    ended = threading.Event()
    thread = threading.Thread(target=fill, args=(root, step, ended))
    thread.start()
    try:
        return run(config, NIGHT)
    finally:
        ended.set()
        thread.join()
        (root / ".ballast").unlink(missing_ok=True)


def kept_of(root):
    """What must not change: feedback, and all of the night before."""
    paths = [root / FEEDBACK_FILE, *sorted((root / "data/incidents").glob(f"{BEFORE}*")), *sorted((root / "reports" / BEFORE).rglob("*.json"))]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def attempt(config, root, step, undisturbed):
    """Fill the disk in a step and run again: (lines of what is wrong, what the first run said of it)."""
    before = kept_of(root)
    code, lines = filled_run(config, root, step)
    wrong, naming = [], [line for line in lines if "No space left" in line or "disk" in line]
    if code not in (1, 2):
        wrong.append(f"the first run ended with {code}")
    if len(naming) != 1:
        wrong.append(f"{len(naming)} lines name the full disk: {lines}")
    if "Traceback" in " ".join(lines):
        wrong.append("a traceback is shown")
    wrong += [f"cannot be read: {line}" for line in kill["broken"](root)]
    wrong += [f"changed: {name}" for name, content in before.items() if not (root / name).exists() or (root / name).read_bytes() != content]
    wrong += [trouble for trouble in [read_feedback(root / FEEDBACK_FILE)[1]] if trouble]
    code, lines = run(config, NIGHT)
    if code:
        wrong.append(f"the second run ended with {code}: {lines}")
    wrong += [f"not as of an undisturbed night: {name}" for name in kill["differing"](root, undisturbed)]
    return wrong, (naming or lines or [""])[0]


def prepared(folder, before):
    """Run the night before and an undisturbed one on the small disk, and copy to `before` what was there between the two: (configuration, products,
    findings)."""
    root, config = folder / "products", folder / "site.yaml"
    write_source(folder / "gracc.jsonl")
    train = {"origins": 1, "injections": 30, "trees": 40, "sites_2021": 5}
    study = {"extract": {"source": str(folder / "gracc.jsonl")}, "train": train}
    config.write_text(yaml.safe_dump({"day": NIGHT, "products": str(root), "retrain_days": 0.5, "studies": {STUDY: study}}))
    for night in (BEFORE, NIGHT):
        code, lines = run(config, night)
        if code:
            sys.exit(f"the night {night} ended with {code}:\n" + "\n".join(lines))
        if night == BEFORE:
            first = pd.read_parquet(root / f"data/incidents/{BEFORE}.parquet").incident.iloc[0]
            record_feedback(first, "check-downtime", True, by="bench", products=root)
            shutil.copytree(root, before, symlinks=True)
    return config, root, kill["findings"](root)


def main(*steps):
    bad = 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # as Ctrl-C: nothing stays mounted
    with small_disk() as folder, tempfile.TemporaryDirectory(prefix="nightshift-before-") as elsewhere:
        before = Path(elsewhere) / "products"
        config, root, undisturbed = prepared(folder, before)
        print(f"undisturbed: {sum(map(len, undisturbed.values()))} findings and incidents", flush=True)
        for step in steps or [*steps_of(STUDY), "digest", "site"]:
            shutil.rmtree(root)
            shutil.copytree(before, root, symlinks=True)
            wrong, first = attempt(config, root, step, undisturbed)
            bad += bool(wrong)
            print(f"{step:<14} {'well' if not wrong else 'BADLY':<6} {first[:150]}", flush=True)
            print("".join(f"      {line}\n" for line in wrong), end="", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
