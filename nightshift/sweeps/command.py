"""The commands `nightshift sweep` and `nightshift compare`."""

import os
import signal
from pathlib import Path
from typing import NamedTuple

from helpers import project_path
from nightshift import night
from nightshift.catalog import steps_of
from nightshift.chain import Night
from nightshift.config import load, nearest_of, notebook_of, products_in, read_yaml
from nightshift.log import print_line
from nightshift.products import expanded
from nightshift.sweeps.execute import Runner
from nightshift.sweeps.plan import INPUTS, copy_inputs, default_name, make_plan, night_files, open_sweep
from nightshift.sweeps.runs import TRAIN, find_runs, runs_of_sweep
from nightshift.sweeps.search import Search, skill_of
from nightshift.sweeps.space import grid_points, random_points, read_axes
from nightshift.wording import joined, plural

FOLDER = "sweeps"  # below the products folder


class Options(NamedTuple):
    """How `nightshift sweep` is to vary the values. config, day : the configuration and the night, "" for its
    own. name : of the sweep, "" for one by what it varies. jobs : runs at once. random, optuna : numbers of
    runs, 0 for a grid. seed : of both. model : whose skill Optuna looks at, "" for the model in use.
    """

    config: Path
    day: str = ""
    name: str = ""
    jobs: int = 1
    random: int = 0
    optuna: int = 0
    seed: int = 1
    model: str = ""


class Choices(NamedTuple):
    """What `nightshift compare` is to show. config : where the sweeps are. study : which one, where a folder
    has several. model : which one is shown, "" for the one in use of each run. reference : the run that
    others are held against, "" for the best. folder : where the page and the tables go, "" for below the
    sweeps. mlflow : whether to log the runs to MLflow.
    """

    config: Path
    study: str = ""
    model: str = ""
    reference: str = ""
    folder: str = ""
    mlflow: bool = False


def sweep(study, step, words, options):
    """Run a step of a study with each of the parameters that `words` name; returns the exit code."""
    try:
        path = expanded(options.config).resolve()
        os.chdir(night.REPOSITORY)
        config = load(path, options.day or None)
        step = full_step(study, step, config["studies"])
        if options.optuna and step != TRAIN:
            raise ValueError(
                f"--optuna chooses by the skills of models, and {step} trains none: use --random"
            )
        axes = read_axes(words, notebook_of(study, step), f"{study} {step}")
        points, search = points_of(axes, options)
    except (ValueError, RuntimeError) as error:
        return refuse(error)
    root = project_path(config.get("products") or "")
    plan = make_plan(asked_of(study, step, options, Night(config)), axes, points)
    folder = root / FOLDER / (options.name or default_name(plan))
    signal.signal(signal.SIGTERM, night.stop)
    try:
        with night.held(folder):
            made = open_sweep(folder, plan)
            copy_inputs(root, night_files(root, plan["day"], study, step), folder / INPUTS)
            return run_sweep(made, options, search)
    except night.Busy as error:
        print_line(error)
        return night.LOCKED
    except (ValueError, OSError) as error:
        return refuse(error)
    except KeyboardInterrupt as error:
        print_line("stopped; the same command goes on with the runs that are not complete")
        return 128 + (error.args[0] if error.args else signal.SIGINT)


def refuse(error):
    """Print each line of an error; returns the exit code of a wrong command."""
    for line in str(error).splitlines():
        print_line(line)
    return night.WRONG


def full_step(study, step, configured):
    """The name of a step as its notebook has it, "3_train" for "train" too; ValueError with the nearest name
    where there is none, and for a study that the configuration does not name.
    """
    if study not in configured:
        there = ", ".join(configured) + nearest_of(study, configured)
        raise ValueError(f"unknown study {study!r}; the configuration names {there}")
    steps = {name: name for name in steps_of(study)} | {name[2:]: name for name in steps_of(study)}
    if step not in steps:
        there = ", ".join(steps_of(study)) + nearest_of(step, steps)
        raise ValueError(f"unknown step {step!r} of {study}; known are {there}")
    return steps[step]


def points_of(axes, options):
    """(points that are certain before the first run ends, the Search that asks for more or None)."""
    if options.random and options.optuna:
        raise ValueError("--random and --optuna exclude each other")
    if options.random:
        return random_points(axes, options.random, options.seed), None
    if options.optuna:
        return [], Search(axes, model=options.model, seed=options.seed)
    return grid_points(axes), None


def asked_of(study, step, options, night_of_config):
    """Collect what identifies a sweep besides its axes: study, step, night, common parameters and search."""
    kind = "random" if options.random else "optuna" if options.optuna else "grid"
    parameters = night_of_config.parameters(study, step)
    day = str(night_of_config.day)
    seed = options.seed if kind != "grid" else None
    return {"study": study, "step": step, "day": day, "parameters": parameters, "search": kind, "seed": seed}


def run_sweep(made, options, search):
    """Execute the runs of a sweep that are not complete, then compare all; returns the exit code."""
    runs = list(made.plan["runs"])
    n = max(len(runs), options.optuna)
    complete = [run for run in runs if made.is_complete(run)]
    waiting = [run for run in runs if run not in complete]
    if search is not None:
        search.begin(len(runs))
    learn = learner(made, search)
    for run in complete:
        learn(run)
    print(
        f"{plural(n, 'run')} in {made.folder}, {len(complete)} complete, {options.jobs} at a time.",
        flush=True,
    )

    def ask():
        if waiting:
            return waiting.pop(0)
        grows = search is not None and len(made.plan["runs"]) < n
        return made.add(search.ask(f"{len(made.plan['runs']) + 1:03}")) if grows else None

    runner = Runner(made, jobs=options.jobs, show=show, n=n, n_ended=len(complete))
    runner.run_all(ask, lambda run, record: learn(run))
    return conclude(made)


def learner(made, search):
    """Make a function that lets `search` learn from the run that it names; without one it does nothing."""

    def learn(run):
        if search is not None:
            models = next(one for one in runs_of_sweep(made) if one.name == run).models
            if search.model and models and skill_of(models, search.model) is None:
                there = joined(dict.fromkeys(one["name"] for one in models))
                print_line(
                    f"Optuna learns nothing from run {run}: its models are {there}, not {search.model}"
                )
            search.answer(run, made.plan["runs"][run], models)

    return learn


def conclude(made):
    """Compare the runs of a sweep and say which failed; returns the exit code."""
    from nightshift.sweeps import comparison

    runs = runs_of_sweep(made)
    failed = [run.name for run in runs if run.ending["outcome"] != "ok"]
    if len(runs) > 1 and len(failed) < len(runs):
        print_comparison(comparison.compare(runs), made.folder)
    if failed:
        whom = "it" if len(failed) == 1 else "them"
        print_line(f"{plural(len(failed), 'run')} failed: {joined(failed)}; the same command repeats {whom}")
    return night.FAILED if failed else night.WELL


def show(line):
    """Print a line of progress at once."""
    print(line, flush=True)


def compare(names, chosen):
    """Compare the runs that `names` name, or all of a sweep, as the Choices `chosen` say; returns the exit
    code.
    """
    from nightshift.sweeps import comparison, tracking

    try:
        sweeps = products_of_config(chosen.config) / FOLDER
        runs = find_runs(names, sweeps, chosen.study)
        compared = comparison.compare(runs, model=chosen.model, reference=chosen.reference)
        if chosen.mlflow:
            show(tracking.log_runs(runs))
        folder = Path(chosen.folder).resolve() if chosen.folder else comparison.folder_of(runs, sweeps)
        print_comparison(compared, folder)
    except (ValueError, RuntimeError, OSError) as error:
        return refuse(error)
    return night.WELL


def products_of_config(path):
    """Return the products folder that a configuration names, of which nothing else is checked."""
    return project_path(products_in(read_yaml(path)))


def print_comparison(compared, folder):
    """Print the tables of a comparison, write its page and its tables to `folder`, and say where they are."""
    from nightshift.sweeps import comparison

    print()
    for text in comparison.as_text(compared):
        print(text, end="\n\n")
    page = comparison.write(compared, folder)
    print(f"Page: {page}\nTable: {page.with_name('results.parquet')} (and .csv)", flush=True)
