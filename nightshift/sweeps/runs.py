"""What one executed run tells: its parameters, its outcome, its metrics, its losses by epoch and its errors
on the test rows. A run is a products folder: of a sweep, of a try-out, or of the night itself.
"""

from functools import cached_property
from pathlib import Path

import pandas as pd

from nightshift.products import expanded, read_json
from nightshift.runs import read_run
from nightshift.sweeps.plan import PLAN, read_sweep

PLACES = ("day", "products")  # parameters that say where and when, and are none of the method
TRAIN = "3_train"


class Run:
    """One run of a step of a study. name : what tables call it. folder : its products folder."""

    def __init__(self, name, folder, study, step):
        self.name, self.folder, self.study, self.step = name, Path(folder), study, step

    @cached_property
    def report(self):
        """Folder of the newest night on which the step ran; that of no night where it never did."""
        records = sorted(self.folder.glob(f"reports/????-??-??/{self.study}/{self.step}.json"))
        return records[-1].parent.parent if records else self.folder / "reports/none"

    @cached_property
    def ending(self):
        """How it ended, as `read_run` gives it."""
        return read_run(self.report, self.study, self.step)

    @property
    def notebook(self):
        """Path of the executed notebook."""
        return self.report / self.study / f"{self.step}.ipynb"

    @property
    def page(self):
        """Path of its page."""
        return self.notebook.with_suffix(".html")

    @property
    def in_sweep(self):
        """Whether it is a run of a sweep, whose pages nobody else renders."""
        return (self.folder.parent / PLAN).exists()

    @property
    def parameters(self):
        """{name: value} of all parameters but night and folder; none where nobody recorded them."""
        return {name: value for name, value in self.ending["parameters"].items() if name not in PLACES}

    @cached_property
    def metrics(self):
        """The content of its metrics.json; an empty dict where the step writes none or did not end well."""
        is_whole = self.step == TRAIN and self.ending["outcome"] in ("ok", "not run")
        return read_json(self.folder / "models" / self.study / "metrics.json") if is_whole else {}

    @property
    def models(self):
        """The models of its metrics: [dict]."""
        return self.metrics.get("models", [])

    @property
    def losses(self):
        """Losses by epoch as the step wrote them, None where it wrote none: DataFrame with `epoch`, `loss`,
        `validation_loss`, and columns that say of which network.
        """
        return self.table("losses")

    @cached_property
    def test_errors(self):
        """Errors on the test rows, indexed by `row`: `group`, whose rows share their luck, and a column per
        model; None where the step wrote none.
        """
        frame = self.table("test_errors")
        return None if frame is None else frame.set_index("row")

    def table(self, name):
        """A table that the step wrote beside its models; None where there is none."""
        path = self.folder / "models" / self.study / f"{name}.parquet"
        return pd.read_parquet(path) if self.metrics and path.exists() else None

    def recorded_numbers(self):
        """{name: number} of what the notebook recorded and of how many findings it wrote."""
        values = self.ending["values"].items()
        numbers = {name: value for name, value in values if isinstance(value, int | float)}
        path = self.folder / "data/findings" / f"{self.study}.parquet"
        is_new = path.exists() and not path.is_symlink()
        return numbers | ({"findings": len(pd.read_parquet(path))} if is_new else {})


def point_in_words(point):
    """The parameters of a run as a user writes them: "lstm_units=64 seed=1"."""
    return " ".join(f"{name}={value_in_words(value)}" for name, value in point.items())


def value_in_words(value):
    """One value of a parameter as text."""
    if isinstance(value, list):
        return f"[{', '.join(map(value_in_words, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def runs_of_sweep(sweep):
    """The runs of a sweep, as its plan has them: [Run]."""
    plan = sweep.plan
    return [Run(name, sweep.run_folder(name), plan["study"], plan["step"]) for name in plan["runs"]]


def find_runs(names, sweeps, study=""):
    """The runs that `names` name: [Run]; ValueError has a line for each that is none.

    names : names of sweeps below the folder `sweeps`, of runs such as transfers/001, or folders of sweeps or
    of products; what is named twice counts once. study : which one is meant where a folder of products has
    several.
    """
    runs, lines = [], []
    for name in names:
        folder = place_of(name, sweeps)
        if not folder.is_dir():
            there = ", ".join(sorted(path.parent.name for path in sweeps.glob(f"*/{PLAN}"))) or "none"
            lines.append(f"there is no run or sweep {name}; sweeps are {there}")
            continue
        try:
            runs += runs_in(folder, name, study)
        except ValueError as error:
            lines.append(str(error))
    if others := sorted({f"{run.study} {run.step}" for run in runs}):
        lines += (
            [f"these are runs of {' and '.join(others)}: compare those of one step"] if others[1:] else []
        )
    runs = list({run.folder.resolve(): run for run in runs}.values())
    if not lines and len(runs) < 2:
        lines.append("a comparison takes two runs at least, or a sweep of several")
    if lines:
        raise ValueError("\n".join(lines))
    return named_apart(runs)


def place_of(name, sweeps):
    """The folder that `name` names: a sweep or a run below `sweeps`, else any, as a path."""
    below = sweeps / name
    return below if (below / PLAN).exists() or (below.parent / PLAN).exists() else expanded(name)


def runs_in(folder, name, study):
    """The runs in a folder: all of a sweep, or the one whose products folder it is."""
    if sweep := read_sweep(folder):
        return runs_of_sweep(sweep)
    if (sweep := read_sweep(folder.parent)) and folder.name in sweep.plan["runs"]:
        return [Run(folder.name, folder, sweep.plan["study"], sweep.plan["step"])]
    studies = sorted(path.parent.name for path in folder.glob("models/*/metrics.json"))
    if not studies:
        raise ValueError(f"{name} is no run: it has no models/*/metrics.json")
    if study and study not in studies:
        raise ValueError(f"{name} has trained {', '.join(studies)}, and not {study}")
    if not study and len(studies) > 1:
        raise ValueError(f"{name} has trained {', '.join(studies)}: say which one by --study")
    return [Run(folder.resolve().name, folder, study or studies[0], TRAIN)]


def named_apart(runs):
    """`runs` with names that tell them apart: where two share one, that of the folder above goes before."""
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            run.name = f"{run.folder.resolve().parent.name}/{run.name}"
    return runs
