"""What spans the nights: their history in small pictures, their index, an Atom feed, and how long they are
kept.

A night is a folder of reports/ with its date as name that holds run.json. Its pages need those of no other
night, and are not written again when later nights come.
"""

import functools
import shutil
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from helpers import atomic, write_json
from nightshift import former_names
from nightshift.assurance import assure, class_of, simulated_in_words
from nightshift.products import TOLD
from nightshift.reporting.digests import plain, pressing
from nightshift.reporting.incident_view import view_of
from nightshift.reporting.memos import remembered
from nightshift.reporting.pages import templates, write_page
from nightshift.reporting.products import Damaged, is_day, lacking, read_object
from nightshift.wording import one_line, skill_in_words

MAX_HISTORY = 30  # nights in the small pictures
MAX_ENTRIES = 30  # nights in the feed
# what stays of a night that is removed: its history, the page that links to it find, and who was told of what
STAYS = {"run.json", "index.html", *TOLD}
# keys of an incident of digest.json without which it cannot be shown
NEEDED = {
    *("id", "rank", "title", "severity", "state", "age_nights", "ended", "start", "end", "first_seen"),
    *("summary", "site", "impact", "change", "studies", "proposals", "silence"),
}
# keys of an incident, and of its findings, that pages which span the nights show or count
SPANNING = {
    *("id", "title", "severity", "state", "age_nights", "ended", "start", "end", "summary", "site"),
    *("change", "studies", "silence"),
}
SPANNING_FINDING = {"study", "kind", "entity", "site", "sites", "datasets", "evidence"}
TEXTS = ("id", "title", "severity", "state", "summary", "first_seen", "site")  # of an incident
ATOM = "http://www.w3.org/2005/Atom"


def read_nights(reports):
    """(what run.json says of every night, the earliest first, those whose pages were removed among them;
    {night: why its run.json is damaged}).
    """
    runs, damaged = [], {}
    for path in sorted(reports.glob("*/run.json")):
        if is_day(day := path.parent.name):
            try:
                runs.append(check_run(reports, path) | {"day": day})
            except Damaged as error:
                damaged[day] = one_line(error, 300)
    return runs, damaged


def check_run(reports, path):
    """The content of a run.json, or Damaged: its studies have verdicts, and its numbers are numbers."""
    run = former_names.rename_night(read_object(reports.parent, path))
    digest, studies = run.get("digest") or {}, run.get("studies")
    if not isinstance(studies, dict) or not all(
        isinstance(one, dict) and isinstance(one.get("verdict"), str) for one in studies.values()
    ):
        raise lacking(reports.parent, path, "it has no verdicts on studies")
    if not all(
        isinstance(one.get(name), int | float | None)
        for one in studies.values()
        for name in ("findings", "skill", "alarm_rate_stated", "alarm_rate_observed")
    ):
        raise lacking(reports.parent, path, "its findings and skills are no numbers")
    if not all(map(has_texts, studies.values())):
        raise lacking(reports.parent, path, "its headlines and warnings are no text")
    steps = [one.get("steps") or {} for one in studies.values()]
    if not all(isinstance(of, dict) and all(isinstance(step, dict) for step in of.values()) for of in steps):
        raise lacking(reports.parent, path, "its steps are none")
    counts = digest.get("counts") or {} if isinstance(digest, dict) else None
    if not isinstance(counts, dict) or not all(isinstance(n, int) for n in counts.values()):
        raise lacking(reports.parent, path, "its counts of incidents are none")
    return run


def has_texts(study):
    """Whether what a study says in a run.json is text."""
    warnings = study.get("warnings") or []
    texts = [
        study.get("headline"),
        study.get("error"),
        *(warnings if isinstance(warnings, list) else [warnings]),
    ]
    return isinstance(warnings, list) and all(isinstance(one, str | None) for one in texts)


def kept(runs):
    """The nights among `runs` whose pages are there."""
    return [run for run in runs if not run.get("removed")]


# --------------------------------------------------------------------------------------------- small pictures


def history(runs, study):
    """Draw a study's last nights in two small pictures: findings per night as bars, and the skill of the
    model in use as a line.

    runs : run.json of the nights, dicts, the earliest first. Returns a dict: nights (how many are shown),
    most (findings of one night, at least 1), findings and skill (text of an SVG, labelled with its numbers;
    "" without any skill).
    """
    nights = [(run["day"], run["studies"][study]) for run in runs if study in run["studies"]][-MAX_HISTORY:]
    wide = max(8 * len(nights), 8)
    most = max([1, *(record.get("findings") or 0 for _, record in nights)])
    bars, found = bars_of(nights, most)
    line, skills = line_of(nights)
    base = f'<path class="base" d="M0 26H{wide}"/>'

    def picture(label, inside):
        return (
            f'<svg class="history" role="img" aria-label="{label}" width="{wide}" height="27">{inside}</svg>'
        )

    with_skill = picture(f"Skill of the model in use, from 0 to 1: {', '.join(skills)}", line + base)
    return {
        "nights": len(nights),
        "most": most,
        "findings": picture(f"Findings per night: {', '.join(found)}", bars + base),
        "skill": with_skill if skills else "",
    }


def bars_of(nights, most):
    """Draw a bar for the findings of each of the `nights`, (day, record) each: (SVG, the same in words).

    A night of which nothing is known is a frame without a bar: it must not look like one without findings.
    """
    bars, words = "", []
    for i, (day, record) in enumerate(nights):
        verdict, n = plain(str(record.get("verdict", ""))) or "unknown", record.get("findings") or 0
        colour = class_of(verdict)
        if colour in ("ok", "anomalies"):
            kind, high = "bar", 2 + round(22 * n / most)
        else:
            kind, high = "failed" if colour == "failed" else "empty", 24
        bars += f'<rect class="{kind}" x="{8 * i + 1}" width="5" y="{25 - high}" height="{high}"/>'
        words.append(f"{day} {n if kind == 'bar' else verdict}")
    return bars, words


def line_of(nights):
    """Draw the skills of the `nights`, (day, record) each, as a line with gaps, and a dot on the last one:
    (SVG, the same in words, without nights that have none).
    """
    line, dot, words, pen = "", "", [], "M"
    for i, (day, record) in enumerate(nights):
        if (skill := record.get("skill")) is None:
            pen = "M"
            continue
        x, y = f"{8 * i + 3.5}", f"{25 - 23 * min(max(skill, 0), 1):.1f}"
        line += f"{pen}{x} {y}"
        dot = f'<circle cx="{x}" cy="{y}" r="2"/>'
        words.append(f"{day} {skill_in_words(skill)}")
        pen = "L"
    return f'<path class="line" d="{line}"/>{dot}', words


# --------------------------------------------------------------------------------------------- index and feed


def assurance_of(run):
    """What is known of a night, from its run.json."""
    return assure(
        {study: record["verdict"] for study, record in run["studies"].items()},
        (run.get("digest") or {}).get("outcome") or "not run",
    )


def sample_of(runs):
    """Say whether the data of nights are simulated, from their run.json: text, "" where none are."""
    records = [record for run in runs for record in run["studies"].values()]
    return simulated_in_words(source_of(record) for record in records)


def source_of(record):
    """Where the data of a study came from, as run.json has it; "" where it does not say."""
    data = record.get("data")
    source = data.get("source") if isinstance(data, dict) else ""
    return source if isinstance(source, str) else ""


def headline_of(run):
    """A night in a sentence or two, from its run.json; what an older version wrote is corrected."""
    digest, assurance = run.get("digest") or {}, assurance_of(run)
    counts = digest.get("counts") or {}
    n_pressing = sum(counts.get(state, 0) for state in ("new", "ended", "escalated", "ongoing"))
    text = digest.get("headline") if isinstance(digest.get("headline"), str) else ""
    return plain(
        assurance.headline(
            n_pressing=n_pressing,
            headline=text,
            n_silenced=counts.get("silenced", 0) + counts.get("acknowledged", 0),
        )
    )


def write_index(reports, runs, damaged=None):
    """Write reports/index.html: every night that is kept, the latest first; damaged : {night: why its
    run.json cannot be read}.
    """
    nights = kept(runs)
    every = sorted({name for run in nights for name in run["studies"]})
    days = [
        {"day": day, "headline": why, "assured": "", "counts": "", "studies": dict.fromkeys(every)}
        for day, why in (damaged or {}).items()
    ]
    for run in nights:
        assurance, counts = assurance_of(run), (run.get("digest") or {}).get("counts") or {}
        assured = "" if assurance.complete else plain(assurance.sentence)
        lead = headline_of(run).partition(" Incidents tonight: ")[0]  # whose numbers stand before it
        days.append(
            {
                "day": run["day"],
                # a long one is cut, what is not known is not
                "headline": lead.replace(assured, "").strip(),
                "assured": assured,
                "counts": assurance.in_words(counts, chip=False) if counts or assurance.complete else "",
                "studies": {name: run["studies"].get(name) for name in every},
            }
        )
    days.sort(key=lambda one: one["day"], reverse=True)
    write_page(
        reports / "index.html",
        "days.html.j2",
        title="All nights",
        up="",
        studies=every,
        days=days,
        removed=len(runs) - len(nights),
        sample=sample_of(nights),
    )


def site_of(runs):
    """The permanent URI of the site of these nights: drawn with its first night and carried from run.json to
    run.json.
    """
    return next((run["site"] for run in reversed(runs) if is_uuid(run.get("site"))), None) or uuid.uuid4().urn


def is_uuid(uri):
    """Whether a value of run.json is the URI of a UUID, as `site_of` draws it."""
    try:
        return uuid.UUID(uri).urn == uri
    except (TypeError, ValueError, AttributeError):
        return False


def updated(run):
    """When the last of a night's notebooks ended, as RFC 3339 writes it: publishing again changes nothing."""
    ended = [
        step.get("ended")
        for record in run["studies"].values()
        for step in (record.get("steps") or {}).values()
    ]
    ended = [
        at
        for at in [*ended, (run.get("digest") or {}).get("ended")]
        if isinstance(at, str) and is_day(at[:10])
    ]
    return f"{max(ended)[:19]}Z" if ended else f"{run['day']}T23:59:59Z"


def write_feed(reports, runs, site_url=""):
    """Write reports/feed.xml, an Atom feed (RFC 4287) of the last nights; links are absolute, and it names
    itself, where `site_url` is known.
    """
    nights, site = kept(runs)[-MAX_ENTRIES:], uuid.UUID(site_of(runs))
    ET.register_namespace("", ATOM)
    feed = ET.Element(f"{{{ATOM}}}feed")

    def add(parent, name, text=None, **attributes):
        element = ET.SubElement(parent, f"{{{ATOM}}}{name}", attributes)
        element.text = plain(text)
        return element

    add(feed, "title", "Nightshift")
    add(feed, "id", site.urn)
    add(feed, "updated", max(map(updated, nights), default="1970-01-01T00:00:00Z"))
    add(add(feed, "author"), "name", "Nightshift")
    add(feed, "link", rel="alternate", type="text/html", href=f"{site_url}index.html")
    if site_url:
        add(feed, "link", rel="self", type="application/atom+xml", href=f"{site_url}feed.xml")
    for run in reversed(nights):
        entry = add(feed, "entry")
        add(entry, "title", " ".join(f"Night of {run['day']}: {headline_of(run)}".split()))
        add(entry, "id", uuid.uuid5(site, run["day"]).urn)  # follows from site and night: the same for ever
        add(entry, "updated", updated(run))
        add(entry, "link", rel="alternate", type="text/html", href=f"{site_url}{run['day']}/index.html")
        report = reports / run["day"]
        files = [report / "run.json", report / "digest.json"]
        shown = remembered(report / ".entry.json", files, functools.partial(as_html, reports, run))
        add(entry, "content", shown, type="html")
    ET.indent(feed)
    with atomic(reports / "feed.xml") as temporary:
        ET.ElementTree(feed).write(temporary, encoding="utf-8", xml_declaration=True)


def read_incidents(reports, day):
    """The incidents that digest.json of a night holds, none where there is no such file; Damaged says why
    they cannot be read.
    """
    path = reports / day / "digest.json"
    if not path.exists():
        return []
    incidents = former_names.rename_night(read_object(reports.parent, path)).get("incidents")
    if not isinstance(incidents, list) or not all(
        isinstance(one, dict) and one.keys() >= NEEDED for one in incidents
    ):
        raise lacking(reports.parent, path, "its incidents lack what a reader needs")
    if not all(map(is_readable, incidents)):
        raise lacking(reports.parent, path, "its incidents hold what cannot be shown")
    return incidents


def spanning(reports, day):
    """The parts of a night's incidents that pages which span the nights need, half of digest.json, kept in a
    memo beside it; errors are those of `read_incidents`.
    """
    report = reports / day
    return remembered(
        report / ".incidents.json",
        [report / "digest.json"],
        lambda: list(map(spanning_part, read_incidents(reports, day))),
    )


def spanning_part(incident):
    """The keys SPANNING of an incident, and SPANNING_FINDING of its findings."""
    part = {key: incident[key] for key in SPANNING}
    return part | {
        "findings": [
            {key: value for key, value in one.items() if key in SPANNING_FINDING}
            for one in incident.get("findings") or []
        ]
    }


@dataclass(frozen=True)
class StoredIncidents:
    """The incidents of a night, which `spanning` reads anew for each loop over them, so that pages which span
    the nights never hold two nights in memory.
    """

    reports: Path
    day: str

    def __iter__(self):
        """Read them; errors are those of `read_incidents`."""
        return iter(spanning(self.reports, self.day))


def is_readable(incident):
    """Whether the texts and times of an incident, and of its findings, are text."""
    findings = incident.get("findings") or []
    if not isinstance(findings, list) or not all(isinstance(one, dict) for one in findings):
        return False
    if not isinstance(incident["silence"], dict | None):
        return False
    texts = [incident[name] for name in TEXTS]
    times = [one.get(name) for one in (incident, *findings) for name in ("start", "end", "evidence")]
    return all(isinstance(one, str) for one in texts) and all(isinstance(one, str | None) for one in times)


def as_html(reports, run):
    """The content of a night's entry in the feed, HTML: its incidents, and what is said of every study."""
    try:
        incidents, trouble = read_incidents(reports, run["day"]), ""
        urgent = [view_of(one, n_proposals=0) for one in incidents if pressing(one)]
        resolved = [
            view_of(one, n_proposals=0)
            for one in incidents
            if one["state"] == "resolved" and not one["silence"]
        ]
    except (Damaged, TypeError, ValueError, AttributeError) as error:
        urgent, resolved, trouble = [], [], one_line(error, 300)
    assurance = assurance_of(run)
    values = {
        "sentence": headline_of(run) if assurance.complete else assurance.sentence,
        "trouble": trouble,
        "complete": assurance.complete,
    }
    values |= {"studies": run["studies"], "pressing": urgent, "resolved": resolved}
    values["sample"] = sample_of([run])
    return templates().get_template("entry.html.j2").render(values)


# ----------------------------------------------------------------------------------------------- what is kept


def mark_removed(reports, runs, day, keep):
    """Mark the nights that are to go, all but the `keep` latest and `day`, as removed in their run.json, and
    return `runs` so marked.

    0 keeps all. It is called before any page is written, so that none links to what will be gone.
    """
    there = [run["day"] for run in kept(runs)]
    going = set(there[:-keep] if keep else []) - {day}
    for run in runs:
        # a link to another folder was put there by somebody
        if run["day"] in going and not (reports / run["day"]).is_symlink():
            run["removed"] = True
            write_json(run, reports / run["day"] / "run.json")
    return runs


def clear_removed(root, runs, needed=()):
    """Delete the pages and pictures of the nights that are marked as removed; a page that says so takes the
    place of their front page.

    needed : paths of notebooks that later nights still ask for. What a run that was killed left is removed
    too.
    """
    for run in runs:
        folder = root / "reports" / run["day"]
        if not run.get("removed") or folder.is_symlink():
            continue
        files = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
        if going := [
            path for path in files if path.parent != folder or path.name not in STAYS if path not in needed
        ]:
            title = f"Night of {run['day']}"
            write_page(folder / "index.html", "removed.html.j2", home="../", title=title, day=run["day"])
        for path in going:
            path.unlink(missing_ok=True)
        for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            if not any(path.iterdir()):
                path.rmdir()
        if (pictures := root / "plots/digest" / run["day"]).is_dir() and not pictures.is_symlink():
            shutil.rmtree(pictures)
