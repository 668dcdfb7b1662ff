"""A page per entity that incidents name, and their index.

A page depends on the nights that name its entity, and on no other: most pages stay as they are when a night
is published. Pages of entities that no night names any more are deleted.
"""

import hashlib
import json
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup, escape

from nightshift.assurance import simulated_in_words
from nightshift.reporting.archive import sample_of, source_of
from nightshift.reporting.entities import KINDS, entities_of
from nightshift.reporting.entity_history import RANK
from nightshift.reporting.incident_view import clock, severity_of, silence_in_words, status_of
from nightshift.reporting.nights import day_before, days_between, runs_of
from nightshift.reporting.pages import TEMPLATES, is_current, write_page
from nightshift.wording import last_moment, one_line, plural

FOLDER = "entities"
MAX_COURSES = 60  # incidents on one page, the latest
MAX_EVIDENCE = 3  # findings of one incident
MAX_RELATED = 24  # entities of one kind
MAX_LINKS = 12  # entities below an incident on the front page
LEAST_DAYS = 14  # that a timeline spans


# ------------------------------------------------------------------------------------------------- one entity


def anchor(day, incident):
    """Where the row of an incident stands on the front page of a night, seen from the top of the site."""
    return f"{day}/index.html#{quote(one_line(incident['id'], 60))}"


def course_row(course):
    """The values that templates/entity.html.j2 shows of one incident."""
    one, first, last = course.incident, course.nights[0].day, course.last
    evidence = list(dict.fromkeys(one_line(each.get("evidence") or "", 600) for each in course.findings))
    until = (
        last_moment(one["end"], one["start"]).removesuffix(" UTC")
        if one["ended"]
        else "open"
        if last.is_open
        else "not known"
    )
    return {
        "id": one_line(one["id"], 60),
        "title": one_line(one["title"], 120),
        "href": f"../{anchor(last.day, one)}",
        "first": first,
        "first_href": f"../{anchor(first, one)}",
        "last": last.day,
        "severity": severity_of(last.severity),
        "status": status_of(one),
        "silence": silence_in_words(one["silence"]),
        "evidence": evidence[:MAX_EVIDENCE] or [one_line(one["summary"], 600)],
        "more": max(len(evidence) - MAX_EVIDENCE, 0),
        "since": clock(one["start"]),
        "until": until,
    }


def timeline(course, first, last):
    """Draw on which nights from `first` to `last` an incident was seen: Markup of a wide SVG.

    A night in which it was open is a high bar, one in which it had ended a low one, in the colour of its
    severity.
    """
    bars, spoken = "", []
    for run in runs_of(course.nights, key=lambda one: (one.severity, one.is_open)):
        x, wide = days_between(first, run[0].day), days_between(run[0].day, run[-1].day) + 1
        y, high = (1, 12) if run[0].is_open else (9, 4)
        shape = f'x="{x}" y="{y}" width="{wide}" height="{high}"'
        bars += f'<rect class="{severity_of(run[0].severity)}" {shape}/>'
    for run in runs_of(course.nights, key=lambda one: one.state):
        until = f" to {run[-1].day}" if len(run) > 1 else ""
        spoken.append(f"{one_line(run[0].state, 20)} {run[0].day}{until}")
    label = escape(f"{severity_of(course.last.severity)} severity; {', '.join(spoken)}")
    span = days_between(first, last) + 1
    return Markup(
        f'<svg class="course" role="img" aria-label="{label}" viewBox="0 0 {span} 14"'
        f' preserveAspectRatio="none">{bars}<path class="base" d="M0 13.5H{span}"/></svg>'
    )


def state_of(history, latest):
    """Say in a sentence how many incidents of an entity were open when it was last named; latest : the last
    night.
    """
    day, courses = history.last_day, history.open_in(history.last_day)
    when = "in the latest night" if day == latest else "when it was last named, in the night of"
    if not courses:
        return f"Last named in the night of {day}; none of its incidents was open then."
    gravest = severity_of(courses[0].last.severity)
    of_severity = "of unknown severity" if gravest == "unknown" else f"of {gravest} severity"
    worst = of_severity if len(courses) == 1 else f"the gravest {of_severity}"
    separator = ", " if day == latest else " "
    return f"{plural(len(courses), 'incident')} open {when}{separator}{day}, {worst}."


def related_groups(entities, histories):
    """Group entities by kind, as templates/entity.html.j2 lists them: those named in most nights first."""
    groups = []
    for kind, heading in KINDS.items():
        members = [histories[one] for one in entities if one.kind == kind]
        members.sort(key=lambda one: (-one.n_nights, one.entity.name))
        shown = [link_of(one.entity) for one in members[:MAX_RELATED]]
        if shown:
            groups.append({"heading": heading, "links": shown, "more": max(len(members) - MAX_RELATED, 0)})
    return groups


def link_of(entity, folder=""):
    """What a page needs to link to an entity: dict of words, kind and href."""
    return {"words": one_line(entity.words, 120), "kind": entity.kind, "href": f"{folder}{entity.page}"}


def entity_view(history, histories, *, latest, assured):
    """The values that templates/entity.html.j2 shows of one entity.

    latest : the last night. assured : {night: what is not known of it, "" where it is complete}.
    """
    courses = sorted(history.courses.values(), key=lambda one: one.nights[0].day, reverse=True)
    courses.sort(
        key=lambda one: (one.last.day, one.last.is_open, RANK.get(one.last.severity, 0)), reverse=True
    )
    shown, last = courses[:MAX_COURSES], history.last_day
    first = min(one.nights[0].day for one in shown)
    first = first if days_between(first, last) >= LEAST_DAYS - 1 else day_before(last, LEAST_DAYS - 1)
    lasting = f"{plural(len(courses), 'incident')} in {plural(history.n_nights, 'night')}"
    return {
        "kind": history.entity.kind,
        "name": one_line(history.entity.words, 200),
        "state": state_of(history, latest),
        "unknown": assured[last] and f"Not all is known of the night of {last}: {assured[last]}",
        "lasting": lasting,
        "rows": [course_row(one) | {"strip": timeline(one, first, last)} for one in shown],
        "more": len(courses) - len(shown),
        "first": first,
        "last": last,
        "close": related_groups(history.close, histories),
        "together": related_groups(history.together.keys() - history.close, histories),
    }


# ----------------------------------------------------------------------------------------------------- index


def trouble_of(history, latest):
    """How troubled an entity is, to sort by: the gravest incident that is open in the latest night, how many
    are, in how many nights it was named, and in which last; the most troubled is the highest.
    """
    courses = history.open_in(latest)
    gravest = max((RANK.get(one.last.severity, 0) for one in courses), default=-1)
    return gravest, len(courses), history.n_nights, history.last_day


def index_row(history, latest):
    """The values that templates/entities.html.j2 shows of one entity."""
    courses = history.open_in(latest)
    return link_of(history.entity) | {
        "n_open": len(courses),
        "severity": severity_of(courses[0].last.severity) if courses else "",
        "n_incidents": len(history.courses),
        "n_nights": history.n_nights,
        "last": history.last_day,
    }


def index_groups(histories, latest):
    """Group all entities by kind, the most troubled first, as templates/entities.html.j2 lists them."""
    groups = []
    for kind, heading in KINDS.items():
        members = [one for one in histories.values() if one.entity.kind == kind]
        members.sort(key=lambda one: one.entity.name)
        members.sort(key=lambda one: trouble_of(one, latest), reverse=True)
        if members:
            rows = [index_row(one, latest) for one in members]
            groups.append({"kind": kind, "heading": heading, "rows": rows})
    return groups


# ----------------------------------------------------------------------------------------------------- pages


def write_current(path, template, newest, **values):
    """Write a page unless the one at `path` shows the same and is younger than `newest`, a moment; returns
    whether it was written.
    """
    made = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:24]
    if current := is_current(path, made, newest):
        return not current
    write_page(path, template, made=made, home=values.get("up", "../"), **values)
    return True


def sample_of_nights(nights):
    """Say whether the data of nights, list of Night, are simulated: text, "" where none are."""
    return sample_of([night.run for night in nights if night.run])


def sources_of(night):
    """Where the data of a Night came from, a set of texts."""
    return {source_of(record) for record in night.run["studies"].values()} if night.run else set()


def newest_source():
    """When the code and templates that draw pages last changed, a moment."""
    files = [*Path(__file__).parent.glob("*.py"), *TEMPLATES.rglob("*.*")]
    return max(path.stat().st_mtime for path in files)


def write_entities(reports, nights, histories, *, keep=False):
    """Write the pages of all entities, and their index; returns how many pages were written.

    nights : list of Night, the earliest first. histories : {Entity: History} of them. keep : whether pages of
    other entities stay, since a night that cannot be read may link to them.
    """
    folder, newest = reports / FOLDER, newest_source()
    latest = nights[-1].day if nights else ""
    assured = {one.day: one.assured for one in nights}
    pages = {folder / entity.page: history for entity, history in histories.items()}
    sources = {one.day: sources_of(one) for one in nights}
    written = 0
    for path, history in pages.items():
        view = entity_view(history, histories, latest=latest, assured=assured)
        title = f"{view['name']}, {view['kind']}"
        named = {seen.day for course in history.courses.values() for seen in course.nights}
        sample = simulated_in_words(source for day in named for source in sources[day])
        written += write_current(path, "entity.html.j2", newest, title=title, sample=sample, **view)
    values = {
        "groups": index_groups(histories, latest),
        "latest": latest,
        "n_nights": len(nights),
        "unknown": nights[-1].assured if nights else "",
        "sample": sample_of_nights(nights),
    }
    index = folder / "index.html"
    written += write_current(index, "entities.html.j2", newest, title="Entities", **values)
    if not keep:
        for path in folder.glob("*.html"):
            if path != index and path not in pages:
                path.unlink()
    return written


def entity_links(incident):
    """Links from a front page to the entities of an incident, at most MAX_LINKS: list of `link_of`."""
    return [link_of(one, f"../{FOLDER}/") for one in entities_of(incident)[:MAX_LINKS]]
