"""Runs compared: the table of the terminal, the page, and the tables for pandas."""

import os
from typing import NamedTuple

import pandas as pd

from nightshift.catalog import study_of
from nightshift.config import nearest_of
from nightshift.reporting.pages import frame_of, publish_notebook, write_page
from nightshift.sweeps import charts
from nightshift.sweeps.plan import COMPARISON, read_sweep
from nightshift.sweeps.runs import point_in_words, value_in_words
from nightshift.sweeps.tables import (
    curves_of,
    differing_parameters,
    paired_difference,
    results_of,
    varying_models,
    write_results,
)
from nightshift.wording import joined, plural, skill_in_words

IN_USE = "in use"  # the column of differences between the models that would score the night
NOT_RECORDED = "not recorded"


class Comparison(NamedTuple):
    """Runs and how they differ. names : parameters that are not the same in all. sections : {metric: [row of
    a run]}. best : the Run of the highest skill, None without. reference : the Run that the others are held
    against. differences : {model: {name of the run: Difference}}. model : the one that was asked for, or "".
    """

    runs: list
    names: list
    sections: dict
    best: object
    reference: object
    differences: dict
    model: str

    @property
    def ended_well(self):
        """The runs that did not fail."""
        return [run for run in self.runs if run.ending["outcome"] != "failed"]


def compare(runs, *, model="", reference=""):
    """Compare `runs`, [Run]. model : the one that is shown, "" for that in use in each. reference : name of
    the run that the others are held against, "" for the best. ValueError where there is no such model or run.
    """
    named = {run.name: run for run in runs}
    models = dict.fromkeys(one["name"] for run in runs for one in run.models)
    refuse_unknown("model", model, models)
    refuse_unknown("run", reference, named)
    sections = sections_of(runs, model)
    rows = next(iter(sections.values()), [])
    is_ranked = len(rows) == sum(bool(run.models) for run in runs) > 0  # else they have other metrics
    best = named[max(rows, key=lambda row: row["skill"])["run"]] if is_ranked else None
    against = named.get(reference, best)
    differences = differences_of(runs, against, model) if against else {}
    return Comparison(runs, differing_parameters(runs), sections, best, against, differences, model)


def refuse_unknown(what, name, available):
    """Raise ValueError, with the nearest, where `name` is given and not among the `available` ones."""
    if name and name not in available:
        there = ", ".join(available) or "none"
        raise ValueError(f"no {what} here is called {name!r}, only {there}{nearest_of(name, available)}")


def sections_of(runs, model):
    """{metric: [row]}: of each run that has it, the model that is shown and its figures."""
    sections = {}
    for run in runs:
        for metric in dict.fromkeys(one["metric"] for one in run.models):
            there = [one for one in run.models if one["metric"] == metric]
            if (shown := shown_model(there, model)) is not None:
                sections.setdefault(metric, []).append(
                    {"run": run.name, **shown, "model_name": shown["name"]}
                )
    return sections


def shown_model(models, name):
    """Of the `models` of one metric the one called `name`, or, where that is "", the one in use, or else the
    one of the highest skill; None where there is none.
    """
    if name:
        return next((one for one in models if one["name"] == name), None)
    return next((one for one in models if one["in_use"]), max(models, key=lambda one: one["skill"]))


def model_in_use(run):
    """Name of the first model in use of a run; "" without."""
    return next((one["name"] for one in run.models if one["in_use"]), "")


def differences_of(runs, reference, model):
    """{model: {name of the run: Difference}} against the run `reference`, only models with errors per row."""
    pairs = {name: [(name, name) for _ in runs] for name in ([model] if model else varying_models(runs))}
    if not model:
        pairs = {IN_USE: [(model_in_use(run), model_in_use(reference)) for run in runs]} | pairs
    found = {}
    for name, of_runs in pairs.items():
        for run, (own, other) in zip(runs, of_runs, strict=True):
            difference = paired_difference(run, reference, own, other) if run is not reference else None
            if difference is not None:
                found.setdefault(name, {})[run.name] = difference
    return found


# ------------------------------------------------------------------------------------------------- sentences


def lead(compared):
    """The answer in one sentence or two, plain text."""
    best, runs = compared.best, compared.runs
    if best is None:
        reason = "they are measured by other metrics" if compared.sections else "none has metrics"
        return f"{plural(len(runs), 'run')}; none is best, since {reason}."
    rows = next(iter(compared.sections.values()))
    row = next(row for row in rows if row["run"] == best.name)
    words = skill_in_words(row["skill"], row["skill_low"], row["skill_high"])
    skill = f"{row['model_name']} has a skill of {words} against {row['baseline_name']}."
    if len(rows) == len(runs) and len({one["skill"] for one in rows}) == 1:
        return f"All {len(runs)} runs are alike: {skill}"
    point = point_in_words({name: best.parameters.get(name) for name in compared.names})
    sentence = f"Run {best.name}{f' ({point})' if point else ''} is best: {skill}"
    found = compared.differences.get(compared.model or IN_USE, {}).values()
    return f"{sentence} {counted(compared, found)}" if found else sentence


def counted(compared, found):
    """A sentence on how many of the differences `found` are clear."""
    whom = "it" if compared.reference is compared.best else f"run {compared.reference.name}"
    counts = {
        f"clearly worse than {whom}": sum(one.low > 0 for one in found),
        f"clearly better than {whom}": sum(one.high < 0 for one in found),
        f"not to be told apart from {whom}": sum(not one.is_clear for one in found),
    }
    words = [f"{n} {'is' if n == 1 else 'are'} {what}" for what, n in counts.items() if n]
    return f"Of the other {len(found)}, on the same test rows, {joined(words)}."


def notes(compared):
    """What a reader must know before they believe the table: one sentence each."""
    runs, lines = compared.runs, []
    if len(compared.ended_well) < len(runs):
        failed = [f"{run.name}: {run.ending['error']}" for run in runs if run not in compared.ended_well]
        lines.append(f"{plural(len(failed), 'run')} failed. {'; '.join(failed)}.")
    if ahead := [run for run in runs if run.ending["outcome"] == "not run" and not run.models]:
        lines.append(
            f"{plural(len(ahead), 'run')} of the sweep {'has' if len(ahead) == 1 else 'have'} not run yet."
        )
    days = {run.metrics.get("day") for run in runs} - {None}
    if len(days) > 1:
        lines.append(
            f"The runs are of different nights ({joined(sorted(days))}), so their test rows are not the same."
        )
    versions = {run.metrics.get("git") for run in runs} - {None}
    if len(versions) > 1:
        lines.append(f"The runs were made by different versions of the code ({joined(sorted(versions))}).")
    n = {len(run.test_errors) for run in runs if run.test_errors is not None}
    n |= {one.n for of_model in compared.differences.values() for one in of_model.values()}
    if len(n) > 1:
        lines.append(
            f"The runs share {min(n):,} test rows of up to {max(n):,}: differences are on those alone."
        )
    if len(runs) > 2 and compared.best is not None:
        lines.append(
            f"The best of {len(runs)} is flattered: it was chosen on the rows that measure it. Runs that "
            "differ in nothing but their seed show how much is chance."
        )
    return lines


def as_text(compared):
    """The tables for a terminal, one text each."""
    texts = [lead(compared)]
    for metric, rows in compared.sections.items():
        frame = pd.DataFrame([text_row(compared, row) for row in rows])
        texts.append(f"{metric}\n{frame.to_string(index=False)}")
    if not compared.sections:
        texts.append(
            results_of(compared.runs)[["run", *compared.names, *recorded_names(compared)]].to_string(
                index=False
            )
        )
    return texts + [f"Note: {note}" for note in notes(compared)]


def text_row(compared, row):
    """One row of a table for a terminal."""
    run = next(run for run in compared.runs if run.name == row["run"])
    found = compared.differences.get(compared.model or IN_USE, {})
    against = f"error against {compared.reference.name}" if found else ""
    words = difference_in_words(found[run.name]) if run.name in found else ""
    return {
        "run": run.name,
        **{name: value_of(run, name) for name in compared.names},
        "model": row["model_name"],
        "value": f"{row['model']:.4g}",
        "skill": skill_in_words(row["skill"], row["skill_low"], row["skill_high"]),
    } | ({against: words} if found else {})


def value_of(run, name):
    """The value of a parameter of a run as text."""
    return value_in_words(run.parameters[name]) if name in run.parameters else NOT_RECORDED


def difference_in_words(one):
    """A Difference as text: "+2.1% (+0.3 to +3.9)", or "the same"."""
    if one.share == one.low == one.high == 0:
        return "the same"
    return f"{one.share:+.1%} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def recorded_names(compared):
    """Names of the numbers that the notebooks recorded and that differ between the runs."""
    numbers = [run.recorded_numbers() for run in compared.runs]
    names = dict.fromkeys(name for one in numbers for name in one)
    return [name for name in names if len({one.get(name) for one in numbers}) > 1]


# --------------------------------------------------------------------------------------------------- the page


def folder_of(runs, sweeps):
    """Where the comparison of `runs` goes: to their sweep if they are all of its runs, else to a folder of
    its own below `sweeps`.
    """
    [folder, *others] = {run.folder.parent for run in runs}
    whole = None if others else read_sweep(folder)
    return folder if whole and len(runs) == len(whole.plan["runs"]) else sweeps / "compared"


def write(compared, folder):
    """Write the page, results.parquet and results.csv to `folder`, and the page of each executed notebook
    beside it; returns the path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for run in compared.runs:
        if run.in_sweep and run.notebook.exists():
            name = f"{run.report.name} run {run.name}"
            publish_notebook(run.notebook, run.page, run=run.ending, frame=frame_of(name, "", title=name))
    write_results(results_of(compared.runs), folder)
    page = folder / COMPARISON
    write_page(page, "comparison.html.j2", **page_values(compared, folder))
    return page


def page_values(compared, folder):
    """What the template shows."""
    first = compared.runs[0]
    same = {name: value for name, value in first.parameters.items() if name not in compared.names}
    return {
        "title": f"{first.study} {first.step}: {plural(len(compared.runs), 'run')} compared",
        "question": study_of(first.study).question,
        "lead": lead(compared),
        "notes": notes(compared),
        "names": compared.names,
        "compared": compared,
        "sections": [section_values(compared, metric, rows) for metric, rows in compared.sections.items()],
        "recorded": recorded_names(compared) if not compared.sections else [],
        "runs": {run.name: run_values(compared, run, folder) for run in compared.runs},
        "curves": charts.curve_charts(
            changed_curves(compared.runs), compared.runs, compared.names, best=compared.best
        ),
        "paired": [
            run.name for run in compared.runs if any(run.name in d for d in compared.differences.values())
        ],
        "differences": {model: intervals_of(found) for model, found in compared.differences.items()},
        "measure": next(
            (
                run.test_errors.attrs.get("measure", "error")
                for run in compared.runs
                if run.test_errors is not None
            ),
            "",
        ),
        "same": {name: value_in_words(value) for name, value in same.items()},
    }


def section_values(compared, metric, rows):
    """One metric: its rows with the picture of each interval, and the skill of every model in every run."""
    scale = charts.Scale.of([row[key] for row in rows for key in ("skill_low", "skill_high")] + [0.0])
    pictured = [
        row
        | {
            "words": skill_in_words(row["skill"], row["skill_low"], row["skill_high"]),
            "picture": scale.interval(row["skill"], row["skill_low"], row["skill_high"]),
        }
        for row in rows
    ]
    of_runs = {run.name: skills_of(run, metric) for run in compared.runs}
    every = {run: skills for run, skills in of_runs.items() if skills}
    first, changed = next(iter(every.values())), varying_models(compared.runs)
    varying = [name for name in changed if any(name in skills for skills in every.values())]
    steady = {name: skill for name, skill in first.items() if name not in varying}
    return {"metric": metric, "rows": pictured, "every": every, "varying": varying, "steady": steady}


def skills_of(run, metric):
    """{model: its skill} of a run by one metric."""
    return {one["name"]: one["skill"] for one in run.models if one["metric"] == metric}


def intervals_of(found):
    """{name of the run: its Difference as words, and as a picture on the scale of all}."""
    scale = charts.Scale.of([end for one in found.values() for end in (one.low, one.high)] + [0.0])
    return {
        run: {
            "words": difference_in_words(one).partition(" ("),
            "is_clear": one.is_clear,
            "picture": scale.interval(one.share, one.low, one.high),
        }
        for run, one in found.items()
    }


def run_values(compared, run, folder):
    """One run: values of the parameters that differ, how it ended, and where its notebook is."""
    seconds = run.ending["seconds"]
    return {
        "values": {name: value_of(run, name) for name in compared.names},
        "outcome": run.ending["outcome"],
        "time": f"{seconds:.0f} s" if seconds is not None else "",
        "page": os.path.relpath(run.page, folder) if run.page.exists() else "",
        "numbers": run.recorded_numbers() if not run.models else {},
    }


def changed_curves(runs):
    """The learning curves of networks that did not learn in the same way in all runs."""
    return {
        network: lines
        for network, lines in curves_of(runs).items()
        if any(not line.equals(next(iter(lines.values()))) for line in lines.values())
    }
