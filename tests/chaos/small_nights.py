"""Two nights of a small study, accounting, which can be put back, run, disturbed and compared as often as a campaign likes.

Twelve series of seventy weeks, one site of which falls silent. On the first night somebody says what came of a proposal, and silences an incident;
the second one must go on with the names of its incidents. A night takes some seconds of a processor.
"""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml
from bs4 import BeautifulSoup

from nightshift.assurance import REASSURING
from nightshift.incidents.silences import SILENCES_FILE, read_recorded, record_silence
from nightshift.remediation.feedback import FEEDBACK_FILE, read_feedback, record_feedback

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY, BEFORE, NIGHT = "accounting", "2026-01-30", "2026-01-31"
QUICK = {"origins": 1, "injections": 1, "trees": 4, "blocks": 2, "sites_2021": 1, "train_weeks": 30}
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []  # root heeds no modes otherwise
RECORD = {"EndTime": "", "SiteName": "SITE_A", "VOName": "", "ProbeName": "htcondor:a.example", "ResourceType": "Batch", "CoreHours": 0.0}
RECORD |= {"WallDuration": 45000, "CpuDuration": 40000, "Njobs": 3, "Processors": 1}
SILENT = {"B": "2026-01-15", "C": "2026-01-10"}  # from when on a site writes nothing
PATIENCE_S = 300


def write_source(path):
    """Seventy weeks of three VOs at four sites, as GRACC has them."""
    rng, days = np.random.default_rng(1), pd.date_range(end=NIGHT, periods=490, tz="UTC")
    with path.open("w") as file:
        for site, vo in itertools.product("ABCD", "abc"):
            hours = rng.uniform(200, 2000) * rng.lognormal(0, 0.1, len(days))
            for day, value in zip(days, hours, strict=True):
                if day < pd.Timestamp(SILENT.get(site, "2100-01-01"), tz="UTC"):
                    row = RECORD | {"EndTime": f"{day:%Y-%m-%dT10:00:00Z}", "SiteName": f"SITE_{site}", "VOName": f"vo_{vo}"}
                    file.write(json.dumps(row | {"CoreHours": round(value, 1)}) + "\n")


class Runner:
    """A process that runs nights as its forks, see night_runner.py. how : what comes before its command."""

    def __init__(self, *how):
        command = [*how, sys.executable, Path(__file__).with_name("night_runner.py")]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment)

    def ask(self, *what):
        print(json.dumps([*map(str, what[:1]), *what[1:]]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Outcome:
    """How a command ended: its exit code, and its lines on standard error."""

    code: int
    lines: list


class Nights:
    """The folder of a campaign: a source, a configuration, products, and copies of these from between the nights and from after both."""

    def __init__(self, folder, runner):
        self.folder, self.runner = folder, runner
        self.root, self.source, self.config = folder / "products", folder / "gracc.jsonl", folder / "site.yaml"
        self.feedback, self.silences = self.root / FEEDBACK_FILE, self.root / SILENCES_FILE
        self.logs, self.started, self.done = tempfile.TemporaryDirectory(prefix="nightshift-chaos-"), 0, threading.Event()

    def prepare(self, *, alone=False):
        """Run both nights, or the second one `alone`; what it finds is that of an undisturbed one, and `took` its seconds."""
        write_source(self.source)
        study = {"extract": {"source": str(self.source)}, "train": QUICK, "analyse": {"max_pictures": 0}}
        self.config.write_text(yaml.safe_dump({"day": NIGHT, "products": str(self.root), "studies": {STUDY: study}}))
        self.keep("nothing")
        if not alone:
            self.must_end_well(self.run(BEFORE))
            self.speak(BEFORE)
            self.keep("before")
        begun = time.monotonic()
        self.must_end_well(self.run())
        self.took = time.monotonic() - begun
        self.keep("after")
        self.undisturbed = tables(self.root)

    def speak(self, night):
        """Say what came of a proposal for the first incident of a night, and silence the second one."""
        first, second = pd.read_parquet(self.root / f"data/incidents/{night}.parquet").incident[:2]
        record_feedback(first, "check-downtime", True, by="campaign", products=self.root)
        record_silence(self.silences, {"incident": second, "as": "silenced", "by": "campaign", "until": "2026-03-31", "why": "it moves"})

    def must_end_well(self, outcome):
        if outcome.code:
            raise RuntimeError("\n".join([f"an undisturbed night ended with {outcome.code}", *outcome.lines]))

    def keep(self, name):
        """Keep source and products as they are, to be put back by `put_back(name)`."""
        kept = self.folder / name
        kept.mkdir()
        shutil.copy2(self.source, kept)
        if self.root.exists():
            shutil.copytree(self.root, kept / "products", symlinks=True)

    def put_back(self, name):
        """Make source and products those of "nothing", "before" (the second night) or "after" it."""
        remove(self.root)
        remove(self.source)
        shutil.copy2(self.folder / name / self.source.name, self.source)
        if (self.folder / name / "products").exists():
            shutil.copytree(self.folder / name / "products", self.root, symlinks=True)

    def start(self, day=NIGHT, function="run_night", runner=None):
        """(number of the process of a night, the file of its standard error)."""
        self.started += 1
        errors = Path(self.logs.name, f"{self.started}.log")  # not on a disk that may be full
        more = ["1", True] if function == "run_night" else []
        return (runner or self.runner).ask("start", str(errors), function, str(self.config), day, *more), errors

    def end(self, night, runner=None):
        """Outcome of a night that `start` has started."""
        number, errors = night
        code = (runner or self.runner).ask("wait", number)
        return Outcome(code, errors.read_text(errors="replace").splitlines())

    def run(self, day=NIGHT, function="run_night", runner=None):
        return self.end(self.start(day, function, runner), runner)

    def run_disturbed(self, step, until, disturb, runner=None):
        """Run the second night, and call `disturb()` when the record of `step` says that it is `until`, "running" or "ok"; then its outcome."""
        night = self.start(runner=runner)
        self.done.clear()
        watcher = threading.Thread(target=self.watch, args=(step, until, disturb))
        watcher.start()
        try:
            return self.end(night, runner)
        finally:
            self.done.set()
            watcher.join()

    def watch(self, step, outcome, disturb):
        """Call `disturb()` once `step` has come to this outcome, unless the night is `done` before."""
        while not self.done.is_set() and not self.has_come_to(step, outcome):
            time.sleep(0.003)
        if not self.done.is_set():
            disturb()

    def has_come_to(self, step, outcome):
        report = self.root / "reports" / NIGHT
        path = report / "digest_run.json" if step == "digest" else report / STUDY / f"{step}.json"
        try:
            return json.loads(path.read_text())["outcome"] == outcome
        except (OSError, ValueError, KeyError):
            return False

    def parts_of(self, number):
        """{"kernel", "step", "chain", "publisher": process} of the second night as far as they run; `number` is that of its process.

        It has up to two children: the server of forks, whose children are steps and kernels (which lead sessions of their own), and Snakemake. What
        publishes is a child that is younger than the digest.
        """
        with contextlib.suppress(psutil.Error, OSError):
            children = sorted(psutil.Process(number).children(), key=lambda one: one.create_time())
            forks = children[0].children() if children else []
            ended = (self.root / "reports" / NIGHT / "digest_run.json").stat().st_mtime if self.has_come_to("digest", "ok") else float("inf")
            if children and children[-1].create_time() > ended:
                return {"publisher": children[-1]}
            kernels = [one for one in forks if os.getsid(one.pid) == one.pid]
            steps = [one for one in forks if one not in kernels]
            return {name: found[0] for name, found in {"kernel": kernels, "step": steps, "chain": children[1:]}.items() if found}
        return {}

    def spoken(self):
        """What people said: {name: content} of feedback and silences."""
        return {path.name: path.read_bytes() for path in (self.feedback, self.silences) if path.is_file()}


def remove(path):
    """Remove a file or folder, if it is there, whatever its modes and those below are."""
    for one in [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else []:
        if one.is_dir() and not one.is_symlink():
            one.chmod(0o700)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tables(root):
    """{name: table} of findings and of the incidents of both nights."""
    paths = [*(root / "data/findings").glob("[!.]*.parquet"), *(root / "data/incidents").glob("[!.]*.parquet")]
    return {str(path.relative_to(root)): pd.read_parquet(path) for path in sorted(paths)}


SAME = ["study", "kind", "entity", "incident", "title", "silenced_as"]  # what another model changes nothing of: one's scores are not the other's


def differing(root, undisturbed, *, exact=True):
    """Names of tables that are not those of an undisturbed night, with the reason where they cannot be read; unless `exact`, in what SAME names."""
    try:
        found = tables(root)
    except Exception as error:  # whatever a damaged table raises
        return [f"{type(error).__name__}: {error}"]
    if not exact:
        found, undisturbed = ({name: table[[c for c in SAME if c in table]] for name, table in of.items()} for of in (found, undisturbed))
    return sorted(name for name in found.keys() | undisturbed.keys() if name not in found or not found[name].equals(undisturbed.get(name)))


def reassurances(root):
    """Reassuring words on the front page of the second night, "" of a page that is not there."""
    path = root / f"reports/{NIGHT}/index.html"
    with contextlib.suppress(OSError):
        text = " ".join(BeautifulSoup(path.read_text(errors="replace"), "html.parser").get_text().split()).lower()
        return [phrase for phrase in REASSURING if phrase in text]
    return []


def falsehoods(root, undisturbed, outcome):
    """What is false of what a disturbed night has published, a line each.

    A study that is said to be well has the findings of an undisturbed night, and incidents that are shown are its incidents. After a failure nothing
    reassures.
    """
    path, wrong = root / f"reports/{NIGHT}/digest.json", []
    if not path.is_file():
        return wrong
    try:
        shown = json.loads(path.read_text())
    except ValueError as error:
        return [f"digest.json cannot be read: {error}"]
    if outcome.code and (found := reassurances(root)):
        wrong.append(f"it failed and reassures: {found}")
    true = set(undisturbed[f"data/incidents/{NIGHT}.parquet"].incident)
    if foreign := [one["id"] for one in shown["incidents"] if one["id"] not in true]:
        wrong.append(f"incidents that are none: {foreign}")
    if shown["studies"][STUDY]["verdict"] == "ok" and shown["digest"]["outcome"] == "ok" and {one["id"] for one in shown["incidents"]} != true:
        wrong.append("all is said to be well, and incidents are missing")
    return wrong


def lost(nights, spoken):
    """What of feedback and silences is not as people had `spoken`, a line each."""
    now = nights.spoken()
    return [f"{name} was changed or removed by a run" for name, content in spoken.items() if now.get(name) != content]


def unread(nights):
    """What a reader of feedback and silences says of them."""
    trouble, (_, lines) = read_feedback(nights.feedback)[1], read_recorded(nights.silences, NIGHT)
    return [line for line in [trouble, *lines] if line]
