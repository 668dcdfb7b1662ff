"""What a night would find of its sources and around it, before it runs: `nightshift check`.

Only the first and last rows of a source are read, a server is asked one or two cheap questions, and nothing
is written. Every problem is one line that says what to do.
"""

import traceback
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from helpers import study_paths
from nightshift import catalog
from nightshift.config import load, notebook_of
from nightshift.parameters import declared_at
from nightshift.sources.base import live_source, place_of, sources_of
from nightshift.sources.looks import look_at_source
from nightshift.surroundings import check_surroundings
from nightshift.wording import one_line, plural

SHOWN = 12  # columns that are named; of more, the number


@dataclass
class Report:
    """What a look at one study gave, or at the disk, the clock or a server: sentences, and problems, each a
    line.
    """

    study: str
    lines: list = field(default_factory=list)
    problems: list = field(default_factory=list)


def check_all(path, day=""):
    """Yield a Report of each study in the configuration at `path`, for the night `day` or its own, and of
    what a night needs beside its sources.

    ConfigError where the configuration is wrong. Must be called in the repository.
    """
    config = load(path, day or None)
    yield from check_sources(config)
    for found in check_surroundings(config):
        yield Report(*found)


def check_sources(config):
    """Yield a Report of each study of a checked configuration."""
    for study, steps in config["studies"].items():
        day = steps.get("day", config["day"])
        try:
            yield check_study(study, steps, day=day, products=config.get("products", ""))
        except Exception as error:  # of a module that somebody is writing; other studies are looked at
            yield Report(study, problems=[_crash_in_words(error)])


def _crash_in_words(error):
    """Say in one line what an unexpected error is and where in the code it happened."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    reason = f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")
    return f"its source cannot be looked at: {reason} (line {frame.lineno} of {frame.filename})"


def check_study(study, steps, *, day, products):
    """Look at all sources of a study: a Report.

    steps : {step: its parameters}, as the configuration has them.
    """
    settings, report = settings_of(study, steps, "extract"), Report(study)
    settings |= {"day": day, "products": products}
    try:
        place = place_of(study, settings["source"], study_paths(study, products).sample)
    except FileNotFoundError:
        report.lines.append("the sample is not made yet: a run makes it, and then it can be looked at")
        return report
    looks = look_at_source(study, place, settings)
    optional = {}
    for source, look in looks:
        describe(report, look)
        optional |= source.optional if source else {}
    filled = set().union(*(look.filled for _, look in looks))
    if filled:
        report.lines += [f"no {name}: {cost}" for name, cost in optional.items() if name not in filled]
    least = {unit: needed(study, steps, unit) for unit in ("days", "weeks", "rows")}
    check_times(report, looks, settings, least=least)
    check_rows(report, looks, least=least["rows"])
    check_others(report, study, settings)
    return report


def settings_of(study, steps, step):
    """Return the parameters of a step, {name: value}: the configuration's, else those of its notebook."""
    [notebook] = [one for one in catalog.steps_of(study) if one[2:] == step]
    declared = declared_at(notebook_of(study, notebook))
    return {name: one.default for name, one in declared.items()} | (steps.get(step) or {})


def describe(report, look):
    """Add to a Report what a Look has seen."""
    files = f", {plural(look.n_files, 'file')}" if look.n_files else ""
    rows = f", {plural(look.rows, 'row')} looked at" if look.rows else ""
    total = f" of {look.total:,}" if look.total else ""
    notes = "".join(f"; {note}" for note in look.notes)
    report.lines.append(f"{look.label}{files}{rows}{total}{notes}")
    if look.filled:
        names = sorted(look.filled)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        report.lines.append(f"columns: {', '.join(names[:SHOWN])}{more}")
    if look.bad:
        report.lines.append(f"{look.bad:,} of the lines looked at cannot be read: they will be put aside")
    report.problems += look.problems


def check_times(report, looks, settings, *, least):
    """Add to a Report how far the source reaches, and what is wrong with it.

    least : {unit: (the least that is needed, which parameters say so)}, see `needed`.
    """
    oldest = min((look.oldest for _, look in looks if look.oldest is not None), default=None)
    newest = max((look.newest for _, look in looks if look.newest is not None), default=None)
    if oldest is None:
        return
    end = pd.Timestamp(settings["day"], tz="UTC") + pd.Timedelta(days=1)
    days = max((min(newest, end) - oldest) / pd.Timedelta(days=1), 0)
    enough, why = least["days"][0] + 7 * least["weeks"][0], least["days"][1] + least["weeks"][1]
    needs = f"; at least {enough:g} are needed{why}" if enough else ""
    span = f"from {oldest:%Y-%m-%d} to {newest:%Y-%m-%d}, {plural(round(days), 'day')} up to the night"
    report.lines.append(span + needs)
    if oldest >= end:
        report.problems.append(f"its oldest row is of {oldest:%Y-%m-%d}, after the night: check day")
    elif newest < end - pd.Timedelta(hours=settings.get("stale_hours", 24)):
        report.problems.append(
            f"its newest row is of {newest:%Y-%m-%d %H:%M} UTC, long before the end of {settings['day']}: "
            "export it again, or give the study a day of its own"
        )
    elif days < enough:
        report.problems.append(
            f"its history is {plural(round(days), 'day')}, and at least {enough:g} are needed{why}: name "
            "older files, too, or wait until there are so many"
        )


def check_rows(report, looks, *, least):
    """Add to a Report that the source has no row, or fewer than the least, (number, which parameters say so);
    nothing where it has other problems.
    """
    if not report.problems and not any(
        look.rows or look.total or look.oldest or look.notes for _, look in looks
    ):
        report.problems.append("there is no row in it: export it again, or name other files")
    totals = [look.total for _, look in looks]
    if None not in totals and not report.problems and sum(totals) < least[0]:
        report.problems.append(
            f"it has {plural(sum(totals), 'row')}, and at least {least[0]:g} are needed{least[1]}: name more "
            "files, or wait until there are so many"
        )


def needed(study, steps, unit):
    """Return the least that a study needs in a unit, days, weeks or rows, and which parameters it comes from,
    a text; from its study.yaml.
    """
    parts = getattr(catalog.study_of(study).least_history, unit)
    values, names = [], []
    for part in parts:
        step, _, name = str(part).partition(".")
        values.append(settings_of(study, steps, step)[name] if name else part)
        names += [f"{part} is {values[-1]:g}"] if name else []
    return sum(values), f" ({', '.join(names)})" if names else ""


def check_others(report, study, settings):
    """Add to a Report what else is asked beside the source, such as the accounts of Slurm."""
    others = {kind.parameter for kind in sources_of(study)} - {"source"}
    for name in others:
        if live_source(study, settings[name], settings=settings, parameter=name):
            for _, look in look_at_source(study, settings[name], settings, parameter=name):
                describe(report, look)


def print_reports(path, day, quiet, *, show):
    """Check a configuration and show what was found, line by line; returns whether there is any problem.

    show : called with a line, whether it is a problem, and what it is about. quiet : only problems.
    """
    found = False
    for report in check_all(Path(path), day):
        found |= bool(report.problems)
        if not quiet:
            show(f"{report.study}: {'see below' if report.problems else 'well'}", False, report.study)
            for line in report.lines:
                show(f"  {line}", False, report.study)
        for line in report.problems:
            show(f"{report.study}: {line}" if quiet else f"  problem: {line}", True, report.study)
    return found
