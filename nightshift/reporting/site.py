"""Write one night as a static site: its front page, a page per notebook, run.json and digest.json, and the
pages that list it beside other nights.

Reads only what the chain left below the products folder, and works whether the chain succeeded or not: a
failed notebook becomes a page that shows its error first, and a product that is missing, damaged or of
another version costs one line and its own study. Beside it, studies.py reads what a study did, pages.py
renders notebooks, digests.py reads the incidents, archive.py is about all nights: a night needs no other one,
and stays as it is when others come.
"""

import contextlib
import errno
import functools
import platform
from datetime import date
from functools import partial
from importlib.metadata import version

from helpers import write_json
from nightshift.assurance import assure, simulated_in_words, verdict_in_words
from nightshift.catalog import STEPS
from nightshift.processes import each_in_a_process
from nightshift.products import read_json
from nightshift.reporting.archive import (
    StoredIncidents,
    clear_removed,
    kept,
    mark_removed,
    read_nights,
    site_of,
    spanning,
    write_feed,
    write_index,
)
from nightshift.reporting.digests import (
    VERSION,
    is_known,
    plain,
    pressing,
    read_digest,
)
from nightshift.reporting.downloads import downloads_of, downloads_of_digest
from nightshift.reporting.entity_pages import FOLDER
from nightshift.reporting.front import (
    figure_of,
    filter_rules,
    filters_of,
    incident_groups,
    silence_line,
    state_line,
    study_row,
)
from nightshift.reporting.glossary import reading_of, write_glossary
from nightshift.reporting.night_figures import night_figures
from nightshift.reporting.overview import Overview
from nightshift.reporting.pages import (
    can_zoom,
    clear_unused,
    frame_of,
    publish_notebook,
    publish_report,
    revision,
    script,
    write_page,
)
from nightshift.reporting.pictures import Album
from nightshift.reporting.products import Damaged, is_day, refuse_future
from nightshift.reporting.rendering import prepare
from nightshift.reporting.rows import places_of, row_links
from nightshift.reporting.studies import expected_of, latest_with, read_study
from nightshift.runs import notebook_path, read_run
from nightshift.wording import one_line

PACKAGES = [
    "papermill",
    "nbconvert",
    "snakemake",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "keras",
    "jax",
    "numba",
]


# ----------------------------------------------------------------------------------------------- for programs


def later_night(root, last_days):
    """The night on which the data below `root` end, where that of any study is after `last_days` {study:
    day}; "" where none is.
    """
    nights = {name: read_json(root / "data/raw" / name / "status.json").get("window") for name in last_days}
    ends = {
        name: window[1]
        for name, window in nights.items()
        if isinstance(window, list) and len(window) == 2 and is_day(window[1])
    }
    return next((night for name, night in ends.items() if night > last_days[name]), "")


@functools.cache
def versions():
    """{package: version} of what makes a night; looking them up takes 10 ms."""
    return {package: version(package) for package in PACKAGES}


def record_run(root, day, studies, digest, site):
    """Write run.json: code, versions, and per study its parameters, durations, data fingerprint, outcome
    and verdict; headline and counts of the digest.
    """
    of_data, of_step = (
        ("state", "rows", "newest", "source", "window", "sha256"),
        ("outcome", "error", "seconds", "ended", "parameters"),
    )
    by_study = {}
    for s in studies:
        model = s["in_use"] or {}
        by_study[s["study"]] = {
            **{key: s[key] for key in ("verdict", "reason", "warnings", "headline", "error")},
            "findings": len(s["findings"]),
            "data": {key: s["status"].get(key) for key in of_data},
            "model": model.get("name"),
            **{key: model.get(key) for key in ("skill", "alarm_rate_stated", "alarm_rate_observed")},
            "steps": {step["name"]: {key: step.get(key) for key in of_step} for step in s["steps"]},
        }
    night = {
        "day": day,
        "site": site,
        "git": revision(),
        "python": platform.python_version(),
        "versions": versions(),
    }
    night |= {"coverage": assurance_of(studies, digest).coverage, "studies": by_study}
    of_digest = {key: digest[key] for key in ("outcome", "error", "seconds", "ended")}
    night["digest"] = of_digest | summary_of(studies, digest)
    if digest["outcome"] == "ok":
        night["digest"] |= night_figures(digest["incidents"])
    write_json(plain(night), root / "reports" / day / "run.json")


def assurance_of(studies, digest):
    """What is known of the night, from its studies and its digest as read."""
    return assure({s["study"]: s["verdict"] for s in studies}, digest["outcome"])


def summary_of(studies, digest):
    """The headline of the night, and its counts of incidents, as the assurance allows them."""
    assurance, counts = assurance_of(studies, digest), digest["counts"]
    n_pressing = sum(map(pressing, digest["incidents"]))
    n_silenced = sum(map(is_known, digest["incidents"]))
    headline = assurance.headline(n_pressing=n_pressing, headline=digest["headline"], n_silenced=n_silenced)
    return {"headline": headline, "counts": assurance.counts(counts)}


def record_digest(root, day, studies, digest, troubles=()):
    """Write digest.json: verdicts and incidents of a night for programs, as reports/README.md says."""
    of_model, by_study = (
        ("name", "metric", "model", "baseline_name", "baseline", "skill", "skill_low", "skill_high"),
        {},
    )
    for s in studies:
        by_study[s["study"]] = {
            **{key: s[key] for key in ("verdict", "reason", "warnings", "headline", "error", "failed_step")},
            "findings": len(s["findings"]),
            "data": {key: s["status"].get(key) for key in ("state", "rows", "newest", "source")},
            "model": {key: s["in_use"].get(key) for key in of_model} if s["in_use"] else None,
        }
    summary = summary_of(studies, digest)
    of_digest = {key: digest[key] for key in ("outcome", "error", "notes", "missing", "seconds", "ended")}
    night = {
        "version": VERSION,
        "day": day,
        "headline": summary["headline"],
        "coverage": assurance_of(studies, digest).coverage,
    }
    night |= {"digest": of_digest, "counts": summary["counts"], "problems": list(troubles)}
    write_json(
        plain(night | {"studies": by_study, "incidents": digest["incidents"]}),
        root / "reports" / day / "digest.json",
    )


# ------------------------------------------------------------------------------------------------- front page


def front_digest(root, day, digest, pictures, studies):
    """The values that templates/front.html.j2 shows of the night's incidents.

    pictures : {path: address}.
    """
    page, assurance = root / "reports" / day / "digest.html", assurance_of(studies, digest)
    text = page.read_text(encoding="utf-8") if digest["outcome"] != "not run" and page.exists() else ""
    incidents = digest["incidents"]
    places = places_of(studies)
    groups = incident_groups(
        root,
        incidents,
        day,
        hrefs={one["id"]: href_of(one, text) for one in incidents},
        pictures={one["id"]: pictures.get(root / one["figure"], "") for one in incidents},
        rows={one["id"]: row_links(one, places) for one in incidents},
    )
    filters = filters_of(groups)
    return {
        **{key: digest[key] for key in ("outcome", "error", "notes", "missing")},
        **summary_of(studies, digest),
        "href": "digest.html" if text else "",
        "counts": assurance.in_words(digest["counts"]),
        "groups": groups,
        "filters": filters,
        "rules": filter_rules(filters),
    }


def href_of(incident, text):
    """Where the title of an incident leads: its place on the page of the digest, of which `text` is the HTML;
    "" where that page does not show it.
    """
    return f"digest.html#{incident['id']}" if f'id="{incident["id"]}"' in text else ""


# ------------------------------------------------------------------------------------------------------ pages


def notices_of(s, step):
    """Sentences above a page of a study: why it does not report, and the warnings of this step; above that of
    the analysis those of all steps.
    """
    warnings = (
        s["warnings"]
        if step["name"] == "4_analyse"
        else [one_line(one, 600) for one in step["values"]["warnings"]]
    )
    lines = []
    if s["verdict"] != "failed" and assure({"": s["verdict"]}).lacking:
        why = s["error"] or s["reason"]
        lines = [
            "This study does not report tonight: "
            f"{verdict_in_words(s['verdict'])}.{f' {why[:1].upper()}{why[1:]}' if why else ''}"
        ]
    return lines + [f"Warning: {one}" for one in warnings]


def publish_studies(root, day, studies, others):
    """Write the pages of the notebooks of all studies, with links to the pages `others` {title: href from
    the folder of the night}, of several studies at once. A page that cannot be made is the failure of its
    study.
    """
    prepare()
    failures = each_in_a_process(partial(publish_study, root, day, studies, others), range(len(studies)))
    for s, failed in zip(studies, failures, strict=True):
        s |= failed


def publish_study(root, day, studies, others, which):
    """Write the pages of the study at the place `which`; returns the values of the study that change where
    one cannot be made, else an empty dict.
    """
    s, failed = studies[which], {}
    ran = [step for step in s["steps"] if step["outcome"] != "not run" or step.get("of")]
    menus = {"study": s["title"], "steps": steps_menu(ran), "studies": menu_of(studies, others, s["study"])}
    for step in ran:
        trouble = publish_step(root, day, s | failed, step, menus)
        if trouble and (s | failed)["verdict"] != "failed":  # what failed first is said
            failed = {"verdict": "failed", "error": trouble, "failed_step": step["name"], "hinders": True}
    for step in [step for step in s["steps"] if step not in ran]:
        line = f"{step['name']} did not run, and this page was from an earlier run."
        page = root / "reports" / day / s["study"] / f"{step['name']}.html"
        for one in (page, page.with_name(code_page(page))):
            withdraw(one, day, line, "../")
    return failed


def publish_step(root, day, s, step, menus):
    """Write the page of a step of a study, or its report and the page of its code; returns what hindered it,
    in one line, "" where nothing did.

    menus : what `frame_of` needs to lead to other pages.
    """
    reports, folder, of = root / "reports", root / "reports" / day / s["study"], step.get("of", "")
    name, page = step["name"], folder / f"{step['name']}.html"
    words = f"{s['title']}: {name.replace('_', ' ')}"
    frame = frame_of(
        day,
        "../index.html",
        title=f"{words}, {day}",
        current=page.name,
        of=of,
        notices=notices_of(s, step),
        sample=simulated_in_words([s["status"].get("source")]),
        **menus,
    )
    source = notebook_path(reports / (of or day), s["study"], name)
    run = read_run(reports / of, s["study"], name) if of else step
    if name in STEPS[:-1]:
        return publish_notebook(source, page, run=run, frame=frame)
    frame |= beside_code(page, f"{words}, notebook, {day}") | {
        "elsewhere": found_elsewhere(s, name),
        "files": downloads_of(root, s, step, folder),
        "rows": s["rows"].get(name, []),
        # figures of findings: a library in every report would weigh too much
        "zoom": can_zoom() and name == STEPS[-1],
    }
    if name == STEPS[-1]:
        frame |= dict.fromkeys(("title", "report_title"), f"{s['title']}: report of {day}")
        frame["reading"] = reading_of(s["study"])
    return publish_report(source, page, run=run, frame=frame)


def found_elsewhere(s, name):
    """How many findings of tonight the other pages of a study have, seen from that of the step `name`: list
    of dicts n, words and href; empty for a page without findings.
    """
    if name not in s["found_by"]:
        return []
    return [
        {"words": page_in_words(step), "n": f"{n:,}", "href": f"{step}.html"}
        for step, n in s["found_by"].items()
        if step != name
    ]


def code_page(page):
    """Name of the page that shows the code of a notebook whose report is `page`."""
    return f"{page.stem}_notebook.html"


def beside_code(page, title):
    """What the frame of the report `page` says of the page of its code, called `title`."""
    other = {"name": "Notebook with the code", "href": code_page(page)}
    return {"report_title": "", "code_title": title, "other": other, "zoom": False}


def page_in_words(step):
    """What menus call the page of a step."""
    return "report" if step == STEPS[-1] else step.replace("_", " ")


def steps_menu(ran):
    """Names and hrefs of the pages of a study: its reports, then the steps that lead to them."""
    reports = [step["name"] for step in ran if step["name"] not in STEPS[:-1]]
    early = [step["name"] for step in ran if step["name"] in STEPS[:-1]]
    names = {name: page_in_words(name) for name in reports + early}
    return [{"name": words, "href": f"{name}.html"} for name, words in names.items()]


def menu_of(studies, others, current, up="../"):
    """Names and hrefs of the reports of all studies, from a page of the study `current`, and of the pages
    `others` {title: href from the folder of the night}, of which it may be one; a study without a report
    leads to its place on the front page. up : the way from the page to the folder of the night.
    """
    menu = []
    for s in studies:
        has_report = any(step["name"] == STEPS[-1] and step["outcome"] != "not run" for step in s["steps"])
        href = f"{up}{s['study']}/{STEPS[-1]}.html" if has_report else f"{up}index.html#{s['study']}"
        menu.append({"name": s["title"], "href": href, "current": s["study"] == current})
    return menu + [
        {"name": name, "href": f"{up}{href}", "current": name == current} for name, href in others.items()
    ]


def withdraw(page, day, line, up=""):
    """Replace a page of an earlier run of the night, if there is one, by one that says so."""
    if page.exists():
        title, heading = f"{page.stem.replace('_', ' ')}, {day}", "This page was withdrawn."
        write_page(page, "broken.html.j2", heading=heading, line=line, **bare_frame(day, title, up))


def bare_frame(day, title, up=""):
    """The frame of a page that only says why it is empty."""
    return frame_of(day, f"{up}index.html", title=title)


def publish_single(root, day, digest, simulated, studies, others):
    """Write the pages of the digest and of the simulation, which an earlier night may have run, each with
    links to the pages `others`; returns lines of what went wrong.
    """
    reports, report = root / "reports", root / "reports" / day
    assurance, troubles = assurance_of(studies, digest), []
    if simulated:
        source, of = notebook_path(reports / simulated, "", "simulate"), "" if simulated == day else simulated
        run, title = read_run(reports / simulated, "", "simulate"), f"Simulated data of {day}"
        frame = frame_of(day, "index.html", title=title, of=of)
        frame["studies"] = menu_of(studies, others, "Simulation", up="")
        troubles.append(publish_notebook(source, report / "simulate.html", run=run, frame=frame))
    source, page = notebook_path(report, "", "digest"), report / "digest.html"
    if source.exists() and digest["outcome"] != "not run":
        run, notices = read_run(report, "", "digest"), [] if assurance.complete else [assurance.sentence]
        if digest["error"] and not run["error"]:
            notices = [f"This digest is not used: {digest['error']}.", *notices]
        frame = frame_of(day, "index.html", title=f"Digest of {day}", notices=notices)
        frame["studies"] = menu_of(studies, others, "Digest", up="")
        frame["sample"] = simulated_in_words(s["status"].get("source") for s in studies)
        frame |= beside_code(page, f"Digest of {day}, notebook") | {"report_title": f"Digest of {day}"}
        frame["files"] = downloads_of_digest(report)
        rows = places_of(studies)
        places = [(one["id"], one["rank"], row_links(one, rows)) for one in digest["incidents"]]
        troubles.append(publish_report(source, page, run=run, frame=frame, places=places))
    else:
        for one in (page, page.with_name(code_page(page))):
            withdraw(one, day, "The digest did not run, and this page was from an earlier run.")
    return [line for line in troubles if line]


def read_others(reports, day, runs, damaged):
    """Try the incidents of all nights but `day`: ({night: StoredIncidents}, lines about what cannot be read).

    damaged : {night: why its run.json cannot be read}.
    """
    lines, incidents = [line for night, line in damaged.items() if night != day], {}
    for run in kept(runs):
        try:
            if run["day"] != day:
                spanning(reports, run["day"])
                incidents[run["day"]] = StoredIncidents(reports, run["day"])
        except Damaged as error:
            lines.append(str(error))
    return incidents, lines


def render_night(root, day, last_days, *, keep_nights=0, site_url=""):
    """Render everything of one night; returns its front page, the studies and the digest as read, with
    `troubles`, lines of what else went wrong.

    last_days : {study: last day of its data}; keep_nights : nights whose pages stay, 0 for all; site_url :
    where reports/ will be found, "" unknown. ValueError for a night after today.
    """
    refuse_future(day)
    reports, report = root / "reports", root / "reports" / day
    report.mkdir(parents=True, exist_ok=True)
    studies = [read_study(root, day, *of) for of in last_days.items()]
    of_sample = any(s["status"].get("source") == "sample" for s in studies)
    simulated = latest_with(reports, day, "simulate.ipynb") if of_sample else ""
    digest = read_digest(root, day, expected_of(studies, last_days))
    others = {"Digest": "digest.html"} if digest["outcome"] != "not run" else {}
    others |= {"Simulation": "simulate.html"} if simulated else {}
    publish_studies(root, day, studies, others)
    troubles = digest["troubles"] = publish_single(root, day, digest, simulated, studies, others)
    runs, damaged = read_nights(reports)
    incidents, lines = read_others(reports, day, runs, damaged)
    troubles += lines
    record_run(root, day, studies, digest, site_of(runs))
    record_digest(root, day, studies, digest, troubles)
    every = mark_removed(reports, read_nights(reports)[0], day, keep_nights)
    damaged.pop(day, None)
    before = len(troubles)
    front = report / "index.html"
    careful(
        troubles,
        front,
        lambda: write_front(root, day, studies, digest, every, troubles, others, of_sample),
        day,
    )
    careful(troubles, reports / "index.html", lambda: write_index(reports, every, damaged), day)
    overview = Overview(reports, every, incidents | {day: digest["incidents"]}, has_gaps=bool(lines))
    for page, write in overview.pages.items():
        careful(troubles, page, write, day)
    careful(troubles, reports / "glossary.html", lambda: write_glossary(reports), day)
    careful(troubles, reports / "feed.xml", lambda: write_feed(reports, every, site_url), day)
    if len(troubles) > before:
        record_digest(root, day, studies, digest, troubles)
    with contextlib.suppress(Damaged):
        spanning(reports, day)  # kept now, so that the night stays as it is when others come
    clear_unused(report)
    clear_removed(
        root,
        every,
        needed={path for study, last in last_days.items() for path in needed_later(root, day, study, last)},
    )
    return front, studies, digest


def careful(troubles, page, work, day):
    """Do `work`, which writes `page`; where it fails, a line in `troubles`, and a page that says so in the
    place of an older one.
    """
    try:
        work()
    except Exception as error:  # whatever it is, what else there is must be published
        if getattr(error, "errno", None) == errno.ENOSPC:  # a page that says so cannot be written either
            raise
        where = page.name if page.parent.name == "reports" else f"{page.parent.name}/{page.name}"
        line = f"reports/{where} could not be made: {one_line(f'{type(error).__name__}: {error}')}"
        troubles.append(line)
        if page.suffix == ".html":
            write_page(page, "broken.html.j2", line=line, **frame_at(page, day))


def frame_at(page, day):
    """The frame of a page that stands for one that could not be made, by its place in the site."""
    title = f"Night of {day}"
    if page.parent.name == day:
        return bare_frame(day, title)
    up = "../" if page.parent.name == FOLDER else ""
    return frame_of(day, f"{up}{day}/index.html", title=title) | {"up": up}


def write_front(root, day, studies, digest, every, troubles, others, of_sample):
    """Write the front page of the night.

    every : run.json of the nights, the earliest first, tonight among them. others : pages besides those of
    the studies, {title: href}.
    """
    nights, before = [run["day"] for run in kept(every)], [run for run in every if run["day"] <= day]
    at, assurance = nights.index(day), assurance_of(studies, digest)
    page = root / "reports" / day / "index.html"
    drawn = [root / one["figure"] for one in digest["incidents"] if one["shown"] and one["figure"]]
    drawn += [path for _, path in (figure_of(root, s) for s in studies) if path]
    pictures = Album.of(page, "").add_files(drawn)
    write_page(
        page,
        "front.html.j2",
        title=f"Night of {day}",
        day=day,
        complete=assurance.complete,
        assured=assurance.sentence,
        state=state_line(studies, assurance),
        lead=assurance.findings_line(sum(len(s["findings"]) for s in studies)),
        of_sample=of_sample,
        simulated="Simulation" in others,
        pages=menu_of(studies, others, "", up=""),
        digest=front_digest(root, day, digest, pictures, studies),
        troubles=[line for line in [silence_line(studies, day), *troubles] if line],
        studies=[study_row(root, s, before, pictures) for s in studies],
        script=script("front.js", "open.js"),
        previous=nights[at - 1] if at else "",
    )


def needed_later(root, day, study, last_day):
    """Executed notebooks of earlier nights that the chain compares parameters with and later nights show:
    those that made model and sample.
    """
    reports, trained = root / "reports", read_json(root / "models" / study / "metrics.json").get("day")
    nights = {latest_with(reports, day, f"{study}/3_train.ipynb")}
    if is_day(trained):  # as nightshift/chain.py finds it
        nights.add(
            str(date.fromisoformat(trained) + (date.fromisoformat(day) - date.fromisoformat(last_day)))
        )
    simulated = reports / latest_with(reports, day, "simulate.ipynb") / "simulate.ipynb"
    ran = {simulated, simulated.with_name("simulate_run.json")}
    return ran | {
        reports / night / study / f"3_train.{kind}" for night in nights for kind in ("ipynb", "json")
    }


def was_published(root, day):
    """Whether the night `day` has a record of having been published."""
    return (root / "reports" / day / "run.json").exists()
