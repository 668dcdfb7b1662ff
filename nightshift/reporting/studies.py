"""One study on one night: how its steps ended, what it found, and what may be said of it."""

from collections import Counter
from datetime import date

import pandas as pd

from nightshift import catalog
from nightshift.assurance import verdict_of
from nightshift.catalog import STEPS, finding_tables, steps_of
from nightshift.products import read_notebook
from nightshift.reporting.products import (
    Damaged,
    count_scores,
    is_day,
    read_findings,
    read_models,
    read_status,
)
from nightshift.reporting.rendering import text_of
from nightshift.reporting.rows import sections_of_steps
from nightshift.runs import (
    RESERVATIONS,
    notebook_path,
    read_run,
    recorded_verdict,
    steps_of_tonight,
    without_pages,
)
from nightshift.wording import one_line, plural

UNREADABLE = {
    "bad_lines": "line",
    "unreadable": "cell",
    "unreadable_cells": "cell",
    "missing_days": "day",
}  # of status.json, what each counts


def read_step(report, study, step):
    """How one step of one study ended on one night, as `read_run` has it, with its name and, where it can
    be read, its executed notebook.
    """
    run, path = read_run(report, study, step), notebook_path(report, study, step)
    notebook = read_notebook(path)
    if notebook is None and path.exists():
        run |= {
            "outcome": "failed",
            "error": run["error"]
            or f"its executed notebook {path.name} cannot be read: it was cut off, or is none",
        }
    elif notebook is None and run["outcome"] == "ok":
        run |= {"outcome": "failed", "error": f"its executed notebook {path.name} is not there"}
    return run | {"name": step, "notebook": notebook}


def latest_with(reports, day, notebook):
    """The latest night up to `day` on which this notebook ran, as text; empty when there is none."""
    nights = sorted(
        folder.name
        for folder in reports.iterdir()
        if is_day(folder.name) and folder.name <= day and (folder / notebook).exists()
    )
    return nights[-1] if nights else ""


def read_study(root, day, study, last_day):
    """Collect everything that pages say of one study on `day`: a dict. Its data should end with `last_day`;
    whatever is wrong with it is its `error`.

    verdict : see `verdict_of`. reason : one sentence on a verdict that is no failure, "" where the verdict
    says all. found_by : {step: number of its findings}. warnings : sentences that its notebooks recorded,
    those on pages that failed, and on rows and data that cannot be read. findings : of tonight. tonight :
    names of the steps whose findings these are. rows : what its reports show of the rows of these, {name of a
    step: list}. hinders : whether it makes the night count as failed.
    """
    try:
        return study_of(root, day, study, last_day)
    except Exception as error:  # whatever it is, it must not cost the pages of the others
        line = one_line(
            error
            if isinstance(error, Damaged)
            else f"it cannot be published: {type(error).__name__}: {error}"
        )
        nothing = {
            "steps": [],
            "findings": pd.DataFrame(),
            "found_by": {},
            "status": {},
            "in_use": None,
            "models": [],
            "tonight": [],
            "rows": {},
            "warnings": [],
            "reason": "",
        }
        title = {
            "study": study,
            "title": study.capitalize(),
            "question": "",
            "headline": "",
            "state": "unknown",
        }
        return title | nothing | {"verdict": "failed", "error": line, "failed_step": "", "hinders": True}


def read_products(root, study, steps, named, state, ended):
    """What the steps of a study have left: ([(name of the step, its table of findings)], models, number of
    judged items, {step: line about what cannot be read}).

    named : the steps whose findings are of tonight. state : of the data, of which "empty" leaves nothing to
    read. ended : whether all steps ended well.
    """
    troubles = {}

    def careful(step, read, *arguments, otherwise):
        try:
            return read(root, *arguments)
        except Damaged as error:
            troubles.setdefault(step, str(error))
            return otherwise

    if state == "empty":
        return [], [], 0, troubles
    paths = [
        (step, f"data/findings/{table}.parquet")
        for step in steps
        if step["name"] in named
        for table in finding_tables(study, step["name"])
    ]
    tables = [
        careful(step["name"], read_findings, path, step_wrote(step, path), otherwise=None)
        for step, path in paths
    ]
    models = careful("3_train", read_models, study, otherwise=[]) if ended else []
    judged = careful("4_analyse", count_scores, study, otherwise=0) if ended else 0
    found = [(step, table) for (step, _), table in zip(paths, tables, strict=True) if table is not None]
    return [(step["name"], table) for step, table in found if len(table)], models, judged, troubles


def study_of(root, day, study, last_day):
    """What `read_study` returns, of a study of which nothing unexpected is wrong."""
    report = root / "reports" / day
    steps = [read_step(report, study, step) for step in steps_of(study)]
    by_name = {step["name"]: step for step in steps}
    status, unreadable = status_of(root, study, by_name["1_extract"]["outcome"])
    night = status.get("window", ["", last_day])[1]
    of_tonight = night == last_day
    state = status.get("state", "unknown") if of_tonight else "stale"
    outcomes = without_pages({name: step["outcome"] for name, step in by_name.items()}, study)
    finished = steps_of_tonight(outcomes)
    named, ended = finished if of_tonight else [], len(finished) == 1 + len(outcomes) - len(STEPS)
    tables, models, judged, troubles = read_products(root, study, steps, named, state, ended)
    troubles = unreadable | troubles
    findings, found_by = join_findings(tables)
    rows, damaged = sections_of_steps(root, study, [by_name[name] for name in named], findings)
    history, reason = recorded_verdict(steps)
    verdict = verdict_of(
        complete=ended and not troubles,
        state=state,
        of_tonight=of_tonight,
        n_findings=len(findings),
        n_judged=judged,
        history=history,
    )
    if verdict != "failed" and by_name["3_train"]["outcome"] == "not run":
        # the training that made the model has a page in this night too
        by_name["3_train"]["of"] = latest_with(root / "reports", day, f"{study}/3_train.ipynb")
    failed_step, error = "", ""
    if verdict == "failed":
        failed_step, error = what_failed([step for step in steps if step["name"] in outcomes], troubles)
    elif verdict == "stale" and not of_tonight:
        failed_step = "1_extract"
        error = f"its data end on {night}, not on {last_day}, so nothing is known of tonight"
    entry, failed_pages = catalog.study_of(study), failures_of_pages(study, steps)
    return {
        "study": study,
        "title": entry.title,
        "question": entry.question,
        "verdict": verdict,
        "reason": "" if error else reason_of(verdict, reason, status),
        "warnings": [*failed_pages, *damaged, *warnings_of(root, study, steps, status if of_tonight else {})],
        "error": error,
        "failed_step": failed_step,
        "hinders": bool(error or failed_pages),
        "headline": headline_of(verdict, [by_name[name] for name in named], status, last_day),
        "steps": steps,
        "tonight": named,
        "findings": findings,
        "found_by": found_by,
        "rows": rows,
        "status": status,
        "state": state,
        "models": models,
        "in_use": next((one for one in models if one["in_use"]), None),
    }


def status_of(root, study, outcome):
    """(status of the data, {step: line about what cannot be read}); outcome : of the extraction."""
    if outcome != "ok":
        return {}, {}
    try:
        return read_status(root, study), {}
    except Damaged as error:
        return {}, {"1_extract": str(error)}


def join_findings(tables):
    """(all findings, {step: how many it has found}) of pairs of the name of a step and a table."""
    found_by = Counter()
    for name, table in tables:
        found_by[name] += len(table)
    return pd.concat([table for _, table in tables], ignore_index=True) if tables else pd.DataFrame(), dict(
        found_by
    )


def failures_of_pages(study, steps):
    """Sentences on the mere pages of a study that failed; nothing else is lost with them."""
    failed = [one for one in steps if one["outcome"] == "failed" and catalog.is_mere_page(study, one["name"])]
    return [one_line(f"The page {one['name']} failed: {one['error']}", 600) for one in failed]


def reason_of(verdict, reason, status):
    """Why a study that did not fail does not report, in a sentence; "" where its verdict says all."""
    if verdict.endswith(RESERVATIONS):
        return one_line(reason, 600)
    newest = str(status.get("newest") or "")[:16]
    return f"The newest row of its source is of {newest} UTC." if verdict == "stale" and newest else ""


def step_wrote(step, path):
    """What the record of a step says of the file that it wrote at `path`, below the products folder; {}
    where it says nothing.
    """
    return one if isinstance(one := step["products"].get(path), dict) else {}


def what_failed(steps, troubles):
    """(name, error) of the step that a failed study failed in: the first that failed, else the first other
    than the training that did not run, else the first of `troubles` {step: line}.
    """
    stopped = next((s for s in steps if s["outcome"] == "failed"), None)
    stopped = stopped or next(
        (s for s in steps if s["outcome"] == "not run" and s["name"] != "3_train"), None
    )
    if stopped:
        reason = "" if stopped is steps[0] else ": the step before it left nothing"
        return stopped["name"], stopped["error"] or f"it did not run{reason}"
    return next(iter(troubles.items()), ("1_extract", "its source failed"))


def headline_of(verdict, steps, status, last_day):
    """What a study says of its night: the headlines of `steps`, or that its source is empty."""
    if verdict == "empty":
        return f"The source holds no row from {status['window'][0]} to {last_day}."
    headlines = [step["values"].get("headline") or text_of(step["notebook"], "headline") for step in steps]
    return " ".join(str(one) for one in headlines if one)


def warnings_of(root, study, steps, status):
    """Sentences that the notebooks of a study recorded as warnings, those of the training in use among
    them, and what its data lack; each once.
    """
    lines = [
        warning
        for step in steps
        for warning in [*step["values"]["warnings"], *trained_before(root, study, step)]
    ]
    if status.get("state") == "partial":
        counts = {
            name: len(n) if isinstance(n := status.get(key), list) else n for key, name in UNREADABLE.items()
        }
        parts = [plural(n, name) for name, n in counts.items() if isinstance(n, int) and n]
        lines.append(f"The data are partial: {', '.join(parts) or 'some of them'} missing or not readable.")
    return list(dict.fromkeys(one_line(one, 600) for one in lines))


def trained_before(root, study, step):
    """Warnings of an earlier night's training whose model is in use tonight."""
    return (
        read_run(root / "reports" / step["of"], study, step["name"])["values"]["warnings"]
        if step.get("of")
        else []
    )


# ------------------------------------------------------------------------------- what the digest should be of


def expected_of(studies, last_days):
    """What the digest of the night should have been made of: {"nights": {study: its last day}, "missing":
    names of tables, "ended": moment or None}.

    The chain tells the digest the same: a study counts if its analysis or an extra notebook has findings of
    tonight, and its other tables are missing. ended : when the last of the steps ended whose findings the
    digest reads.
    """
    nights, missing, ended = {}, [], []
    for s in studies:
        names = [step["name"] for step in s["steps"] if step["name"] not in STEPS[:-1]]
        tables = {name: finding_tables(s["study"], name) for name in names}
        if s["tonight"]:
            nights[s["study"]] = str(date.fromisoformat(last_days[s["study"]]))
            missing += [name for step, names in tables.items() if step not in s["tonight"] for name in names]
        else:
            missing.append(s["study"])
        ended += [step["ended"] for step in s["steps"] if step["name"] in s["tonight"] and step["ended"]]
    return {
        "nights": nights,
        "missing": missing,
        "ended": max((pd.to_datetime(at, utc=True) for at in ended), default=None),
    }
