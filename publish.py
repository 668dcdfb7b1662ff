"""One night to a static site: its front page, a page per notebook, run.json and digest.json, and what lists it beside other nights.

    python publish.py --config config.yaml [--day 2026-01-31]

Reads only what the chain left below the products folder, and works whether the chain succeeded or not: a failed notebook
becomes a page that shows its error first. In publishing/, pages.py renders notebooks, digests.py reads the incidents, archive.py is about all
nights: a night needs none but itself, and stays as it is when others come.
"""

import argparse
import platform
import sys
from datetime import date
from importlib.metadata import version

import pandas as pd
import pyarrow.parquet as pq

from helpers import ROOT, git_revision, write_json
from mail import send_night
from publishing.archive import clear_removed, history, kept, mark_removed, runs_of, site_of, write_feed, write_index
from publishing.digests import GOING_ON, VERSION, chance_in_words, in_words, plain, pressing, read_digest, rest_in_words, since, state_in_words
from publishing.options import read_options
from publishing.pages import is_day, parameters_of, publish_notebook, read_json, small_pictures, text_of, write_page
from steps import STEPS, error_of, findings_named, pages_of, read_notebook, site_settings, told_tonight

PACKAGES = ["papermill", "nbconvert", "snakemake", "numpy", "pandas", "pyarrow", "scikit-learn", "keras", "jax", "numba"]
MAX_FINDINGS = 8  # rows of findings per study on the front page; the analysis page has all
MAX_CARDS = 12  # incidents in full on the front page; the digest has all
STRIPS, FIGURES = 150_000, 210_000  # characters of pictures on the front page, of incidents and of studies: it stays below 500 kB


# ---------------------------------------------------------------------------------------------------- what was run


def read_step(report, study, step):
    """What is known about one step of one study on one night."""
    path = report / study / f"{step}.ipynb"
    notebook = read_notebook(path)
    if notebook is None:
        return {"name": step, "outcome": "not run"}
    error, _ = error_of(notebook, path.with_suffix(".log"))
    ran = notebook["metadata"].get("papermill", {})
    return {
        "name": step,
        "outcome": "failed" if error else "ok",
        "error": error,
        "notebook": notebook,
        "seconds": ran.get("duration"),
        "ended": ran.get("end_time"),
        "parameters": {p["name"]: p["value"] for p in parameters_of(notebook)},
    }


def latest_with(reports, day, notebook):
    """The latest night up to `day` on which this notebook ran, as text; empty when there is none."""
    nights = sorted(folder.name for folder in reports.iterdir() if is_day(folder.name) and folder.name <= day and (folder / notebook).exists())
    return nights[-1] if nights else ""


# ------------------------------------------------------------------------------------------------- one study's night


def findings_of(root, study, step):
    """The tables of findings that a step which ended well has left, those with a row; a further page names its own in its first cell."""
    paths = [f"data/findings/{study}.parquet"] if step["name"] in STEPS else findings_named(study, step["notebook"])
    return [table for path in paths if len(table := pd.read_parquet(root / path))]


def read_study(root, day, study, last_day):
    """Everything the front page says about one study on `day`, from its executed notebooks and products; its data end with `last_day`."""
    report = root / "reports" / day
    steps = [read_step(report, study, step) for step in [*STEPS, *pages_of(study, ROOT)]]
    status = read_json(root / "data/raw" / study / "status.json")
    failed = next((s for s in steps if s["outcome"] == "failed"), None)
    named = told_tonight({step["name"]: step["outcome"] for step in steps})
    told = [step for step in steps if step["name"] in named]
    complete = len(told) == 1 + len(steps) - len(STEPS)
    tables = [table for step in told for table in findings_of(root, study, step)]
    findings = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    state = status.get("state", "unknown") if status.get("window", ["", last_day])[1] == last_day else "unknown"
    if state == "empty":
        verdict = "empty"
    elif not complete:
        verdict = "failed"
    else:
        scores = root / "data/scores" / f"{study}.parquet"
        quiet = "ok" if not scores.exists() or pq.read_metadata(scores).num_rows else "nothing judged"  # no finding among no items is no good news
        verdict = "stale" if state == "stale" else f"anomalies {len(findings)}" if len(findings) else quiet
    stopped = failed or next((s for s in steps if s["outcome"] == "not run" and s["name"] != "3_train"), None)
    error = "" if verdict != "failed" else (stopped or {}).get("error") or "it did not run: the step before it left nothing"
    headline = " ".join(text_of(s["notebook"], "headline") for s in told)
    if verdict == "empty":
        headline = f"The source holds no row from {status['window'][0]} to {last_day}."
    train = steps[STEPS.index("3_train")]
    if verdict != "failed" and train["outcome"] == "not run":  # the training that made the model has a page in this night too
        train["of"] = latest_with(root / "reports", day, f"{study}/3_train.ipynb")
    title, question = title_of(study)
    models = read_json(root / "models" / study / "metrics.json").get("models", [])
    return {
        "study": study,
        "title": title,
        "question": question,
        "verdict": verdict,
        "error": error,
        "failed_step": (stopped or {}).get("name", ""),
        "headline": headline,
        "steps": steps,
        "findings": findings,
        "status": status,
        "state": state,
        "in_use": next((m for m in models if m["in_use"]), None),
    }


def other_night(root, last_days):
    """The night that the products below `root` belong to, when it is not that of `last_days` ({study: day}); empty when it is."""
    nights = {name: read_json(root / "data/raw" / name / "status.json").get("window", ["", day])[1] for name, day in last_days.items()}
    return next((night for name, night in nights.items() if night != last_days[name]), "")


def title_of(study):
    """Title and question of a study, from the first cell of its analysis."""
    first = "".join(read_notebook(ROOT / f"notebooks/{study}/4_analyse.ipynb")["cells"][0]["source"]).split("\n\n")
    return study.capitalize(), " ".join(first[1].split())


def record_run(root, day, studies, digest):
    """Write run.json: code, versions, and per study its parameters, durations, data fingerprint, outcome and verdict; what the digest said."""
    of_data, of_step = ("state", "rows", "newest", "source", "window", "sha256"), ("outcome", "error", "seconds", "ended", "parameters")
    told = {}
    for s in studies:
        model = s["in_use"] or {}
        told[s["study"]] = {
            "verdict": s["verdict"],
            "headline": s["headline"],
            "error": s["error"],
            "findings": len(s["findings"]),
            "data": {key: s["status"].get(key) for key in of_data},
            "model": model.get("name"),
            "skill": model.get("skill"),
            "steps": {step["name"]: {key: step.get(key) for key in of_step} for step in s["steps"]},
        }
    write_json(
        {
            "day": day,
            "site": site_of(runs_of(root / "reports")),
            "git": git_revision(),
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "studies": told,
            "digest": {key: digest[key] for key in ("outcome", "error", "headline", "counts", "seconds", "ended")},
        },
        root / "reports" / day / "run.json",
    )


def record_digest(root, day, studies, digest):
    """Write digest.json: verdicts and incidents of a night for programs, as reports/README.md says."""
    of_model, told = ("name", "metric", "model", "baseline_name", "baseline", "skill", "skill_low", "skill_high"), {}
    for s in studies:
        told[s["study"]] = {
            **{key: s[key] for key in ("verdict", "headline", "error", "failed_step")},
            "findings": len(s["findings"]),
            "data": {key: s["status"].get(key) for key in ("state", "rows", "newest")},
            "model": {key: s["in_use"].get(key) for key in of_model} if s["in_use"] else None,
        }
    of_digest = {key: digest[key] for key in ("outcome", "error", "notes", "missing", "seconds", "ended")}
    night = {"version": VERSION, "day": day, "headline": digest["headline"], "digest": of_digest, "counts": digest["counts"]}
    write_json(plain(night | {"studies": told, "incidents": digest["incidents"]}), root / "reports" / day / "digest.json")


# ------------------------------------------------------------------------------------------------------- front page


def model_line(model):
    """The model that scores, as metrics.json names it (None: none does), with its skill against what baseline."""
    if not model:
        return "none"
    name, baseline = model["name"].replace("_", " "), model["baseline_name"].replace("_", " ")
    if name == baseline:
        return f"{name}, a trivial baseline"
    return f"{name}, skill {model['skill']:.2f} ({model['skill_low']:.2f} to {model['skill_high']:.2f}) against {baseline}"


def moment_of(at, pattern):
    """A moment as text; sources without times leave none."""
    return "not known" if pd.isna(at) else at.strftime(pattern)


def front_digest(root, day, digest, pictures):
    """The values that templates/front.html.j2 shows of the night's incidents: cards, those that are over, those that somebody knows of."""
    page = root / "reports" / day / "digest.html"
    text = page.read_text(encoding="utf-8") if digest["outcome"] != "not run" and page.exists() else ""
    incidents = [
        {
            **{key: one[key] for key in ("id", "rank", "severity", "state", "what", "summary", "site", "studies", "impact", "change", "mark")},
            "href": f"digest.html#{one['id']}" if f'id="{one["id"]}"' in text else "digest.html" if text else "",
            "since": since(one),
            "told": state_in_words(one),
            "proposals": [{**proposal, "chance": chance_in_words(proposal)} for proposal in one["proposals"][:2]],
            "figure": pictures.get(root / one["figure"], ""),
            "ended": one["ended"],
            "shown": one["shown"],
        }
        for one in digest["incidents"]
    ]
    urgent = [one for one in incidents if pressing(one)]
    cards = [one for one in urgent if one["shown"]][:MAX_CARDS]
    return {
        **{key: digest[key] for key in ("outcome", "error", "notes", "headline", "missing")},
        "href": "digest.html" if text else "",
        "counts": in_words(digest["counts"]),
        "cards": cards,
        "more": rest_in_words([one for one in urgent if one not in cards]),
        "resolved": [one for one in incidents if one["state"] == "resolved" and not one["mark"]][:MAX_CARDS],
        "marked": [one for one in incidents if one["mark"] and one["state"] in GOING_ON],
    }


def figures_of(root, s):
    """The first finding of a study with a picture, and its path; (None, None) where there is none."""
    return next(((f, root / f.figure) for f in s["findings"].itertuples() if f.figure and (root / f.figure).is_file()), (None, None))


def front_study(root, s, runs, pictures):
    """The values that templates/front.html.j2 shows for one study."""
    pattern = "%m-%d %H:%M"
    rows = list(s["findings"].itertuples())
    known = [at for f in rows for at in (f.start, f.end) if not pd.isna(at)]
    if all(at == at.normalize() for at in known):
        pattern = "%Y-%m-%d"
    findings = [
        {
            "kind": f.kind.replace("_", " "),
            "entity": f.entity,
            "evidence": f.evidence,
            "start": moment_of(f.start, pattern),
            "end": moment_of(f.end, pattern),
        }
        for f in rows[:MAX_FINDINGS]
    ]
    of, path = figures_of(root, s)
    steps = []
    for step in s["steps"]:
        took = f"{step['outcome']} in {step['seconds']:.0f} s" if step.get("seconds") else step["outcome"]
        href = f"{s['study']}/{step['name']}.html" if step["outcome"] != "not run" or step.get("of") else ""
        steps.append({"name": step["name"].replace("_", " "), "href": href, "outcome": f"of {step['of']}" if step.get("of") else took})
    status = s["status"]
    told = {run["day"]: run["studies"].get(s["study"], {}).get("verdict", "failed") for run in kept(runs)[:-1]}
    good = [night for night, verdict in told.items() if verdict not in ("failed", "empty")]
    return {
        **{k: s[k] for k in ("study", "title", "question", "verdict", "headline", "error", "failed_step")},
        "findings": findings,
        "steps": steps,
        "more": max(len(s["findings"]) - MAX_FINDINGS, 0),
        "last_good": good[-1] if good else "",
        "history": history(runs, s["study"]),
        "data": f"{s['state']}; {status['rows']:,} rows, newest {str(status['newest'])[:16] + ' UTC' if status['newest'] else 'none'}"
        if status
        else "none",
        "model": model_line(s["in_use"]),
        "figure": pictures.get(path, ""),
        "figure_alt": f"{of.kind.replace('_', ' ')} {of.entity}: {of.evidence}" if of else "",
    }


def publish_night(root, day, studies, digest):
    """Write the pages of the night's notebooks; returns whether there is one of the simulation, which earlier nights may have run."""
    reports, report = root / "reports", root / "reports" / day
    of_sample = any(s["status"].get("source") == "sample" for s in studies)
    simulated = latest_with(reports, day, "simulate.ipynb") if of_sample else ""
    single = {"simulate": simulated, "digest": day if digest["outcome"] != "not run" else ""}
    places = [(one["id"], one["rank"]) for one in digest["incidents"]]
    for name in [name for name, night in single.items() if night]:
        source, page, of = reports / single[name] / f"{name}.ipynb", report / f"{name}.html", single[name] * (single[name] != day)
        steps = [{"name": name, "href": f"{name}.html"}]
        publish_notebook(source, page, day=day, front="index.html", steps=steps, current=name, of=of, places=places * (name == "digest"))
    for s in studies:
        ran = [step for step in s["steps"] if step["outcome"] != "not run" or step.get("of")]
        chain = [{"name": step["name"], "href": f"{step['name']}.html"} for step in ran]
        chain = [{"name": "simulate", "href": "../simulate.html"}] * bool(simulated) + chain
        chain += [{"name": "digest", "href": "../digest.html"}] * bool(single["digest"])
        for step in ran:
            path, of = f"{s['study']}/{step['name']}", step.get("of", "")
            source, page = reports / (of or day) / f"{path}.ipynb", report / f"{path}.html"
            publish_notebook(source, page, day=day, front="../index.html", steps=chain, current=step["name"], of=of)
    return bool(simulated)


def publish(root, day, last_days, *, keep_nights=0, site_url=""):
    """Render everything of one night; returns its front page, the studies and the digest as read.

    last_days : {study: last day of its data}; keep_nights : nights whose pages stay, 0 for all; site_url : where reports/ will be found, "" unknown.
    """
    reports, report = root / "reports", root / "reports" / day
    studies = [read_study(root, day, *of) for of in last_days.items()]
    digest = read_digest(root, day)
    simulated = publish_night(root, day, studies, digest)
    record_run(root, day, studies, digest)
    record_digest(root, day, studies, digest)
    every = mark_removed(reports, runs_of(reports), day, keep_nights)
    nights, before = [run["day"] for run in kept(every)], [run for run in every if run["day"] <= day]
    at = nights.index(day)
    bad = [s for s in studies if s["verdict"] == "failed"]
    found = sum(len(s["findings"]) for s in studies)
    lead = f"{len(studies)} {'study' if len(studies) == 1 else 'studies'}, {found} problem{'s' * (found != 1)} found"
    strips = small_pictures([root / one["figure"] for one in digest["incidents"] if one["shown"] and one["figure"]][:MAX_CARDS], STRIPS)
    figures = small_pictures([path for _, path in (figures_of(root, s) for s in studies) if path], FIGURES)
    write_page(
        report / "index.html",
        "front.html.j2",
        title=f"Night of {day}",
        day=day,
        lead=lead + (f", {len(bad)} failed." if bad else "."),
        of_sample=any(s["status"].get("source") == "sample" for s in studies),
        simulated=simulated,
        digest=front_digest(root, day, digest, strips),
        failed=[s["title"] for s in bad],
        studies=[front_study(root, s, before, figures) for s in studies],
        previous=nights[at - 1] if at else "",
    )
    write_index(reports, every)
    write_feed(reports, every, site_url)
    clear_removed(root, every, needed={path for study, last in last_days.items() for path in needed_later(root, day, study, last)})
    return report / "index.html", studies, digest


def needed_later(root, day, study, last_day):
    """Executed notebooks of earlier nights that the chain compares parameters with and later nights show: those that made model and sample."""
    reports, trained = root / "reports", read_json(root / "models" / study / "metrics.json").get("day")
    nights = {latest_with(reports, day, f"{study}/3_train.ipynb")}
    if is_day(str(trained)):  # as must_train of the Snakefile finds it
        nights.add(str(date.fromisoformat(trained) + (date.fromisoformat(day) - date.fromisoformat(last_day))))
    simulated = reports / latest_with(reports, day, "simulate.ipynb") / "simulate.ipynb"
    ran = {simulated, simulated.with_name("simulate_run.json")}
    return ran | {reports / night / study / f"3_train.{kind}" for night in nights for kind in ("ipynb", "json")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])

    def check(config, day):
        return {name: str((steps or {}).get("day", day)) for name, steps in config["studies"].items()}, *site_settings(config)

    _, config, day, root, (last_days, keep_nights, site_url) = read_options(parser, check)
    if (root / "reports" / day / "run.json").exists() and (night := other_night(root, last_days)):
        parser.exit(2, f"nightshift: the products are those of {night}; the pages of {day} stay as they are\n")
    front, studies, digest = publish(root, day, last_days, keep_nights=keep_nights, site_url=site_url)
    for s in studies:
        if s["error"]:
            print(f"{s['study']} failed in {s['failed_step']}: {s['error']}", file=sys.stderr)
        elif s["verdict"] == "empty":
            print(f"{s['study']}: {s['headline']}", file=sys.stderr)
    for line in [f"the digest failed: {digest['error']}"] * (digest["outcome"] == "failed") + digest["notes"]:
        print(line, file=sys.stderr)
    for line in send_night(root, day, config):  # the site is there, and whatever comes of the mail changes nothing about it
        print(f"mail: {line}", file=sys.stderr)
    print(f"Front page: {front}")
    return int(digest["outcome"] == "failed" or any(s["verdict"] == "failed" for s in studies))


if __name__ == "__main__":
    sys.exit(main())
