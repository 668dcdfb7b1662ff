"""What became of every entity, from the incidents of all nights that can be read.

histories = follow([Night("2026-01-31", incidents), ...])
histories[Entity("site", "JUNIPER-T2")].courses
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from nightshift.reporting.digests import GOING_ON
from nightshift.reporting.entities import FURTHER, Entity, namings_of
from nightshift.reporting.incident_view import SEVERITIES

RANK = {severity: place for place, severity in enumerate(reversed(SEVERITIES), 1)}  # the gravest is highest
NAMED_BY = ("study", "kind", "entity", "site", *FURTHER)  # keys of a finding that say what it names


class Night(NamedTuple):
    """The incidents of one night, a list or archive.StoredIncidents. assured : a sentence on what is not
    known of it, "" where all is. run : its run.json, None where nothing else of it is known.
    """

    day: str
    incidents: Iterable
    assured: str = ""
    run: dict | None = None


class Seen(NamedTuple):
    """How an incident stood in one night."""

    day: str
    severity: str
    state: str
    is_open: bool


@dataclass(slots=True)
class Course:
    """One incident over the nights in which it names one entity. incident : as it last stood. findings :
    those of its findings then that name the entity.
    """

    nights: list = field(default_factory=list)  # Seen, the earliest first
    incident: dict = field(default_factory=dict)
    findings: list = field(default_factory=list)

    @property
    def last(self):
        """How it last stood, a Seen."""
        return self.nights[-1]


@dataclass
class History:
    """All courses {id: Course} of one entity, the entities that it is part of or consists of (`close`), and
    those named with it. Its cached properties are right only once all nights are followed.
    """

    entity: Entity
    courses: dict = field(default_factory=dict)
    close: set = field(default_factory=set)
    together: dict = field(default_factory=dict)  # {Entity: ids of incidents}

    @functools.cached_property
    def last_day(self):
        """The last night that names it."""
        return max(course.last.day for course in self.courses.values())

    @property
    def first_day(self):
        """The first night that names it."""
        return min(course.nights[0].day for course in self.courses.values())

    @functools.cached_property
    def n_nights(self):
        """In how many nights it is named."""
        return len({one.day for course in self.courses.values() for one in course.nights})

    def open_in(self, day):
        """List the courses that were open in a night, the gravest first."""
        courses = [one for one in self.courses.values() if one.last.day == day and one.last.is_open]
        return sorted(courses, key=lambda one: -RANK.get(one.last.severity, 0))


def is_open(incident):
    """Whether an incident goes on and has not ended; one that is silenced or acknowledged is open too."""
    return incident["state"] in GOING_ON and not incident["ended"]


def follow(nights):
    """Follow every entity through the nights: {Entity: History}.

    nights : list of Night, the earliest first, with incidents as archive.StoredIncidents gives them.
    """
    histories, before = {}, {}
    for night in nights:
        now = {}
        for incident in night.incidents:
            name = incident["id"]
            now[name] = add_incident(histories, night.day, incident, before.get(name))
        before = now
    return histories


def add_incident(histories, day, incident, before=None):
    """Add what one incident of a night names to the histories {Entity: History}; returns (incident, list of
    (Entity, its Course, places of the findings that name it)).

    before : what this returned for the incident on another night. Where it still names the same, as most that
    go on do, only its state is added.
    """
    if before and is_named_alike(before[0], incident):
        _, places = before
    else:
        places = add_names(histories, incident)
    seen = Seen(day, incident["severity"], incident["state"], is_open(incident))
    found = incident.get("findings") or []
    for entity, course, at in places:
        history = histories[entity]
        history.entity = entity if entity.label else history.entity
        course.nights.append(seen)
        course.incident, course.findings = incident, [found[place] for place in at]
    return incident, places


def is_named_alike(one, other):
    """Whether an incident names the same on two nights, by its site and what its findings are about."""
    names = [
        (incident["site"], [[of.get(key) for key in NAMED_BY] for of in incident.get("findings") or []])
        for incident in (one, other)
    ]
    return names[0] == names[1]


def add_names(histories, incident):
    """Add the entities that an incident names, with what they are a part of and named with; returns list of
    (Entity, Course of the incident, places of the findings that name it).
    """
    pairs, findings, places = namings_of(incident), {}, []
    for place, (finding, naming) in enumerate(pairs):
        for entity in naming.entities:
            findings.setdefault(entity, []).extend([place] if finding is not None else [])
    for entity, about in findings.items():
        history = histories.setdefault(entity, History(entity))
        course = history.courses.setdefault(incident["id"], Course())
        places.append((entity, course, about))
        for other in findings:
            if other != entity:
                history.together.setdefault(other, set()).add(incident["id"])
    for _, naming in pairs:
        for whole, part in naming.parts:
            histories[whole].close.add(part)
            histories[part].close.add(whole)
    return places
