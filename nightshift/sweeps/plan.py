"""What a sweep is: a step of a study, the parameters that all runs share, and the point of each run.

A sweep is a folder. `sweep.json` holds its plan, `inputs/` what the night left for the step, and each run
has a products folder of its own, `001/` and on, that links to the inputs. Nothing is written to the night's
folders, and a night that runs meanwhile does not change what the runs read.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from helpers import write_json
from nightshift.catalog import STEPS, output_of, steps_of, study_of
from nightshift.products import differing, patterns_of, products_of, read_json
from nightshift.runs import read_run, record_path

PLAN, INPUTS, COMPARISON = "sweep.json", "inputs", "comparison.html"
VERSION = 1  # of a plan: goes up when a key changes its meaning or goes away
SEARCH = ("study", "step", "day", "parameters", "axes", "search", "seed")  # what makes two sweeps the same


class Sweep(NamedTuple):
    """One sweep. folder : where it lies. plan : the content of its sweep.json."""

    folder: Path
    plan: dict

    def run_folder(self, run):
        """The products folder of the run named `run`, such as "001"."""
        return self.folder / run

    def report(self, run):
        """The folder of the night in the products of a run, where its record lies."""
        return self.run_folder(run) / "reports" / self.plan["day"]

    def parameters(self, run):
        """All parameters that a run is given: those of its point over those of the whole sweep."""
        own = {"products": str(self.run_folder(run))}
        return self.plan["parameters"] | self.plan["runs"][run] | own

    def ending(self, run):
        """How a run ended, as `read_run` gives it."""
        return read_run(self.report(run), self.plan["study"], self.plan["step"])

    def record_path(self, run):
        """Where the record of a run lies."""
        return record_path(self.report(run), self.plan["study"], self.plan["step"])

    def is_complete(self, run):
        """Whether a run ended well with these parameters, and its products are as it left them."""
        done = self.ending(run)
        asked = json.loads(json.dumps(self.parameters(run)))
        same = done["given"] | {"products": ""} == asked | {"products": ""}  # wherever the sweep was moved to
        return done["outcome"] == "ok" and same and not differing(self.run_folder(run), done["products"])

    def add(self, point):
        """Add a run with the parameters `point` to the plan, and return its name."""
        run = f"{len(self.plan['runs']) + 1:03}"
        self.plan["runs"][run] = point
        self.save()
        return run

    def save(self):
        """Write the plan."""
        write_json(self.plan, self.folder / PLAN)


def make_plan(asked, axes, points):
    """Make the plan of a sweep, as JSON has it.

    asked : {study, step, day, parameters, search, seed}. axes : [Axis]. points : [{name: value}], those that
    are certain before the first run ends.
    """
    runs = {f"{number:03}": point for number, point in enumerate(points, 1)}
    axes = {axis.name: list(axis[1:]) for axis in axes}
    return json.loads(json.dumps({"version": VERSION, **asked, "axes": axes, "runs": runs}))


def default_name(plan):
    """Name a sweep that was given no name: the same for the same plan, whatever its number of runs."""
    text = json.dumps([plan[key] for key in SEARCH], sort_keys=True)
    return f"{plan['study']}-{plan['step']}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def open_sweep(folder, plan):
    """Begin the sweep of this `plan` in `folder`, or continue it: a Sweep. ValueError where another one is
    there.

    A random search, or one by Optuna, may grow: its runs stay, and more follow.
    """
    before = read_json(folder / PLAN)
    if before:
        if other := [key for key in SEARCH if before.get(key) != plan[key]]:
            raise ValueError(
                f"{folder} holds a sweep with other {' and '.join(other)}; choose another --name for this one"
            )
        plan = plan | {"runs": before["runs"] | plan["runs"]}
    elif folder.exists() and any(folder.glob("[!.]*")):
        raise ValueError(f"{folder} is no sweep, and not empty; choose another --name")
    sweep = Sweep(folder, plan)
    sweep.save()
    return sweep


def read_sweep(folder):
    """Read the sweep in `folder`: a Sweep, None where there is none."""
    plan = read_json(Path(folder) / PLAN)
    return Sweep(Path(folder), plan) if plan.get("version") == VERSION else None


# ------------------------------------------------------------------------------------------------- the inputs


def steps_before(study, step):
    """List the steps whose products a step of a study may read, in order; for the first one, the sample."""
    last = step if step in STEPS else study_of(study).extra_notebooks[step].reads
    position = STEPS.index(last) + (step not in STEPS)
    return STEPS[:position] or ["simulate"]


def night_files(root, day, study, step):
    """List what the night `day` below `root` left for a step of `study`: paths relative to `root`, sorted.

    What an earlier training left is no input of a training, so that each run is judged by itself. ValueError
    says in one line which step of the night is missing, failed or was replaced by that of another night.
    """
    names, before = set(), steps_before(study, step)
    for one in before:
        owner = "" if one == "simulate" else study
        run = read_run(root / "reports" / day, owner, one)
        if run["outcome"] == "failed":
            raise ValueError(f"{study}/{one} of {day} is no input, since it failed: {run['error']}")
        # training is weekly, so its products need not be of this night
        listed = {} if one == "3_train" else run["products"]
        if other := differing(root, listed):
            raise ValueError(f"{other[0]} is not as {one} of {day} left it: run that night again")
        there = products_of(root, patterns_of(owner, one))
        written = {path.relative_to(root).as_posix() for path in there}
        # parts of tables that were kept from an earlier night are in no record
        names |= set(listed) | {name for name in written if not listed or name.startswith("data/")}
    if "3_train" in before:  # scalings that go with the models
        names |= {path.relative_to(root).as_posix() for path in products_of(root, [f"encoders/{study}/**/*"])}
    of_steps = {one: output_of(study, one) for one in before if one in steps_of(study) and one != "3_train"}
    needed = [
        f"data/clean/{study}.parquet" if one == "2_preprocess" else path for one, path in of_steps.items()
    ]
    if lacking := [name for name in needed if not (root / name).exists()]:
        raise ValueError(f"{root} has no {lacking[0]}: `nightshift run --day {day}` makes it")
    return sorted(names)


def copy_inputs(root, names, folder):
    """Copy the files and folders `names` below `root` to `folder`, all or nothing; whatever is there already
    stays.
    """
    if folder.exists():
        return
    half = folder.with_name(f".{folder.name}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    for name in names:
        (half / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy2
        copy(root / name, half / name)
    os.replace(half, folder)


def begin_run(sweep, run):
    """Make the products folder of a run anew: links to the inputs, and nothing of what a killed run left."""
    folder, inputs = sweep.run_folder(run), sweep.folder / INPUTS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in products_of(inputs, ["**/*"]):
        there = folder / path.relative_to(inputs)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(os.path.relpath(path, there.parent))  # which still leads there when the sweep moves
