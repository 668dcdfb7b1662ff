"""Executed notebooks to a static site: one page per notebook, a front page per night, an index of nights, run.json.

    python publish.py --config config.yaml [--day 2026-01-31]

Reads only what the chain left below the products folder, and works whether the chain succeeded or not: a failed notebook
becomes a page that shows its error first. Pages are written only when older than their notebook, atomically. Nothing on
them runs or loads: no script, no request, a content security policy that forbids both.
"""

import argparse
import base64
import functools
import io
import json
import platform
import re
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import yaml
from PIL import Image

from helpers import ROOT, atomic, git_revision, resolve, write_json
from steps import STEPS, error_of, findings_named, pages_of, read_notebook, told_tonight

TEMPLATES = ROOT / "templates"
PACKAGES = ["papermill", "nbconvert", "snakemake", "numpy", "pandas", "pyarrow", "scikit-learn", "keras", "jax", "numba"]
MAX_FINDINGS = 8  # rows of findings per study on the front page; the analysis page has all
MAX_HISTORY = 30  # nights in the small pictures

# ---------------------------------------------------------------------------------------------------- what was run


def parameters_of(notebook):
    """Rows of the parameter table: name, value of this run, default, whether they differ, meaning."""
    given = notebook["metadata"].get("papermill", {}).get("parameters", {})
    rows = []
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for line in "".join(cell["source"]).splitlines():
                if found := re.match(r"(\w+)\s*:[^=]+=\s*(.*?)\s*(?:#\s*(.*))?$", line):
                    name, default, meaning = found.groups()
                    default = yaml.safe_load(default)
                    value = given.get(name, default)
                    rows.append({"name": name, "value": value, "default": default, "changed": value != default, "meaning": meaning or ""})
    return rows


def text_of(notebook, tag):
    """Plain text of the first Markdown output of the cell with this tag; of a list, its first item."""
    import mistune
    from bs4 import BeautifulSoup

    for cell in notebook["cells"]:
        if tag in cell["metadata"].get("tags", []):
            for output in cell["outputs"]:
                if "text/markdown" in output.get("data", {}):
                    page = BeautifulSoup(mistune.html("".join(output["data"]["text/markdown"])), "html.parser")
                    return " ".join((page.li or page).get_text().split())
    return ""


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
    nights = sorted(folder.name for folder in reports.iterdir() if folder.name <= day and (folder / notebook).exists())
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


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else {}


def title_of(study):
    """Title and question of a study, from the first cell of its analysis."""
    first = "".join(read_notebook(ROOT / f"notebooks/{study}/4_analyse.ipynb")["cells"][0]["source"]).split("\n\n")
    return study.capitalize(), " ".join(first[1].split())


def record_run(root, day, studies):
    """Write run.json: code, versions, and per study its parameters, durations, data fingerprint, outcome and verdict."""
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
            "git": git_revision(),
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "studies": told,
        },
        root / "reports" / day / "run.json",
    )


# ------------------------------------------------------------------------------------------------------------ pages


@functools.cache
def templates():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def write_page(path, template, **values):
    """Render `template` to `path`, atomically."""
    defaults = {"style": (TEMPLATES / "style.css").read_text(), "up": "../", "footer": f"Nightshift {git_revision()}."}
    with atomic(path) as temporary:
        temporary.write_text(templates().get_template(template).render(**defaults | values), encoding="utf-8")


@functools.cache
def exporter():
    import bleach
    from nbconvert import HTMLExporter

    tags = {
        *bleach.ALLOWED_TAGS,
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "br",
        "hr",
        "div",
        "span",
        "pre",
        "sub",
        "sup",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
    }

    def allowed(tag, name, value):
        return name in ("class", "id", "title", "colspan") or (name == "href" and re.match(r"(https?://|#|[\w./-]+$)", value) is not None)

    made = HTMLExporter(template_name="notebook", extra_template_basedirs=[str(TEMPLATES)], exclude_input_prompt=True, exclude_output_prompt=True)
    made.register_filter("clean_html", lambda markup: bleach.clean(str(markup), tags=tags, attributes=allowed, strip_comments=True))
    return made


def render_notebook(notebook):
    """(HTML of the cells, contents as (id, text) of the level-2 headings) of an executed notebook."""
    import nbformat
    from bs4 import BeautifulSoup

    notebook = nbformat.reads(json.dumps(notebook), as_version=4)
    notebook.cells = [c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        join_streams(cell)
    page = BeautifulSoup(exporter().from_notebook_node(notebook)[0], "html.parser")
    for anchor in page.select("a.anchor-link"):
        anchor.decompose()
    if page.h1 and (answer := text_of(notebook, "headline")):  # the night's answer comes before what leads to it
        lead = page.new_tag("p", attrs={"class": "lead"})
        lead.string = answer
        page.h1.insert_after(lead)
    for number, table in enumerate(page.select("table"), 1):
        table.attrs.pop("border", None)
        table.wrap(page.new_tag("div", attrs={"class": "scroll", "tabindex": "0", "role": "region", "aria-label": f"Table {number}"}))
        align_numbers(table)
    for wide in page.select("pre, figure"):
        wide["tabindex"] = "0"  # they scroll on a narrow screen, so the keyboard must reach them
    headings = [(h["id"], h.get_text()) for h in page.select("h2[id]")]
    return str(page), [*headings, ("run", "Run")]


def join_streams(cell):
    """Make all that a cell printed one output, where it printed first: a log per epoch would be a wall of logs."""
    streams = [o for o in cell.get("outputs", []) if o.output_type == "stream"]
    for later in streams[1:]:
        streams[0].text += later.text
        cell.outputs.remove(later)


def align_numbers(table):
    """Mark the columns whose cells all read as numbers, to align on the right, or as times, to stay on one line."""
    rows = [row.select("td") for row in table.select("tbody tr")]
    for column, head in enumerate(table.select("thead th")):
        head["scope"] = "col"
        cells = [row[column] for row in rows if column < len(row)]
        if cells and all(re.fullmatch(r"[-+]?[\d,.]*%?|nan|inf", c.get_text().strip()) for c in cells):
            for cell in [head, *cells]:
                cell["class"] = "number"
        elif cells and all(re.fullmatch(r"[\d-]{5,10} \d\d:\d\d", c.get_text().strip()) for c in cells):
            for cell in cells:
                cell["class"] = "time"


def publish_notebook(path, *, day, front, steps, current):
    """Write the page of the executed notebook at `path` beside it, unless the page is newer than notebook and templates.

    front : path from it to the front page of its night; empty for a page that belongs to none.
    """
    page, newest_source = path.with_suffix(".html"), max(p.stat().st_mtime for p in [path, Path(__file__), *TEMPLATES.rglob("*.*")])
    if (page.exists() and page.stat().st_mtime > newest_source) or (notebook := read_notebook(path)) is None:
        return
    error, has_cell = error_of(notebook, path.with_suffix(".log"))
    content, contents = render_notebook(notebook)
    ran = notebook["metadata"].get("papermill", {})
    at = next((i for i, s in enumerate(steps) if s["name"] == current), 0)
    write_page(
        page,
        "page.html.j2",
        title=f"{path.stem} {day}",
        day=day,
        front=front,
        content=content,
        contents=contents,
        error=error,
        has_cell=has_cell,
        steps=[{**s, "current": s["name"] == current} for s in steps],
        previous=steps[at - 1] if at else None,
        next=steps[at + 1] if at + 1 < len(steps) else None,
        parameters=parameters_of(notebook),
        up="../" * (front.count("../") + 1),
        run=f"Started {(ran.get('start_time') or '?')[:19].replace('T', ' ')} UTC, took {ran.get('duration') or 0:.0f} s.",
    )


# ------------------------------------------------------------------------------------------------------- front page


def history(runs, study):
    """A small picture of the last nights: one bar per night, as high as its number of findings, with the numbers as its text."""
    nights = [(run["day"], run["studies"][study]) for run in runs if study in run["studies"]][-MAX_HISTORY:]
    most = max([n["findings"] for _, n in nights] + [1])
    bars = ""
    for i, (night, told) in enumerate(nights):
        height = 2 + round(24 * told["findings"] / most)
        bars += f'<rect class="{told["verdict"].split()[0]}" x="{8 * i}" width="6" y="{26 - height}" height="{height}">'
        bars += f"<title>{night}: {told['verdict']}</title></rect>"
    spoken = f"{len(nights)} night{'s' * (len(nights) != 1)}, at most {most} findings; last: " + ", ".join(n["verdict"] for _, n in nights[-5:])
    return f'<svg class="history" role="img" aria-label="{spoken}" width="{max(8 * len(nights), 8)}" height="26">{bars}</svg>'


def model_line(model):
    """The model that scores, as metrics.json names it (None: none does), with its skill against what baseline."""
    if not model:
        return "none"
    name, baseline = model["name"].replace("_", " "), model["baseline_name"].replace("_", " ")
    if name == baseline:
        return f"{name}, a trivial baseline"
    return f"{name}, skill {model['skill']:.2f} ({model['skill_low']:.2f} to {model['skill_high']:.2f}) against {baseline}"


def small_picture(path):
    """The figure at `path` as a data URL of 256 colours, a third of its size: the front page, which goes by mail, stays below 500 kB.

    By octree, which keeps a rare red that the default, median cut, turns brown.
    """
    small = io.BytesIO()
    Image.open(path).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(small, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()


def moment_of(at, pattern):
    """A moment as text; sources without times leave none."""
    return "not known" if pd.isna(at) else at.strftime(pattern)


def front_study(root, day, s, runs):
    """The values that templates/front.html.j2 shows for one study."""
    reports, moment = root / "reports", "%m-%d %H:%M"
    rows = list(s["findings"].itertuples())
    known = [at for f in rows for at in (f.start, f.end) if not pd.isna(at)]
    if all(at == at.normalize() for at in known):
        moment = "%Y-%m-%d"
    findings = [
        {
            "kind": f.kind.replace("_", " "),
            "entity": f.entity,
            "evidence": f.evidence,
            "start": moment_of(f.start, moment),
            "end": moment_of(f.end, moment),
        }
        for f in rows[:MAX_FINDINGS]
    ]
    pictures = [f for f in rows if f.figure and (root / f.figure).exists()]
    steps = []
    for step in s["steps"]:
        ran = step["outcome"] != "not run"
        earlier = "" if ran or s["verdict"] == "failed" else latest_with(reports, day, f"{s['study']}/{step['name']}.ipynb")
        href = f"{s['study']}/{step['name']}.html" if ran else f"../{earlier}/{s['study']}/{step['name']}.html" if earlier else ""
        took = f"{step['outcome']} in {step['seconds']:.0f} s" if ran and step.get("seconds") else step["outcome"]
        steps.append({"name": step["name"].replace("_", " "), "href": href, "outcome": f"of {earlier}" if earlier else took})
    status = s["status"]
    good = [run["day"] for run in runs if run["day"] < day and run["studies"].get(s["study"], {}).get("verdict", "failed") not in ("failed", "empty")]
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
        "figure": small_picture(root / pictures[0].figure) if pictures else "",
        "figure_alt": f"{pictures[0].kind.replace('_', ' ')} {pictures[0].entity}: {pictures[0].evidence}" if pictures else "",
    }


def publish(root, day, last_days):
    """Render everything of one night, whose studies have data up to `last_days` ({study: day}); returns its front page and the studies as read."""
    reports, report = root / "reports", root / "reports" / day
    studies = [read_study(root, day, *of) for of in last_days.items()]
    steps = {s["study"]: [t for t in s["steps"] if t["outcome"] != "not run"] for s in studies}
    of_sample = any(s["status"].get("source") == "sample" for s in studies)
    simulated = latest_with(reports, day, "simulate.ipynb") if of_sample else ""
    if (report / "simulate.ipynb").exists():
        publish_notebook(
            report / "simulate.ipynb", day=day, front="index.html", steps=[{"name": "simulate", "href": "simulate.html"}], current="simulate"
        )
    for study, ran in steps.items():
        chain = [{"name": "simulate", "href": f"../../{simulated}/simulate.html"}] if simulated else []
        chain += [{"name": step["name"], "href": f"{step['name']}.html"} for step in ran]
        for step in ran:
            publish_notebook(report / study / f"{step['name']}.ipynb", day=day, front="../index.html", steps=chain, current=step["name"])
    record_run(root, day, studies)
    runs = [read_json(p) for p in sorted(reports.glob("*/run.json"))]
    nights = [run["day"] for run in runs]
    at = nights.index(day)
    bad = [s for s in studies if s["verdict"] == "failed"]
    found = sum(len(s["findings"]) for s in studies)
    lead = f"{len(studies)} {'study' if len(studies) == 1 else 'studies'}, {found} problem{'s' * (found != 1)} found"
    write_page(
        report / "index.html",
        "front.html.j2",
        title=f"Night of {day}",
        day=day,
        lead=lead + (f", {len(bad)} failed." if bad else "."),
        of_sample=of_sample,
        simulated=simulated,
        studies=[front_study(root, day, s, runs) for s in studies],
        previous=nights[at - 1] if at else "",
        next=nights[at + 1] if at + 1 < len(nights) else "",
    )
    every = sorted({name for run in runs for name in run["studies"]})
    write_page(
        reports / "index.html",
        "days.html.j2",
        title="All nights",
        up="",
        studies=every,
        days=[{"day": run["day"], "studies": {name: run["studies"].get(name) for name in every}} for run in reversed(runs)],
    )
    return report / "index.html", studies


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="config.yaml", type=Path)
    parser.add_argument("--day", help="night to render; default: that of the configuration")
    options = parser.parse_args()
    try:
        config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
        day, root = str(date.fromisoformat(options.day or str(config["day"]))), resolve(config.get("products") or "")
        last_days = {name: str((steps or {}).get("day", day)) for name, steps in config["studies"].items()}
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        parser.exit(2, f"nightshift: {options.config} cannot be read: {type(error).__name__}: {' '.join(str(error).split())}\n")
    if (root / "reports" / day / "run.json").exists() and (night := other_night(root, last_days)):
        parser.exit(2, f"nightshift: the products are those of {night}; the pages of {day} stay as they are\n")
    front, studies = publish(root, day, last_days)
    for s in studies:
        if s["error"]:
            print(f"{s['study']} failed in {s['failed_step']}: {s['error']}", file=sys.stderr)
        elif s["verdict"] == "empty":
            print(f"{s['study']}: {s['headline']}", file=sys.stderr)
    print(f"Front page: {front}")
    return int(any(s["verdict"] == "failed" for s in studies))


if __name__ == "__main__":
    sys.exit(main())
