"""What became of every entity, from the incidents of all nights that can be read.

histories = follow([Night("2026-01-31", incidents), ...])
histories[Entity("site", "JUNIPER-T2")].courses
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from nightshift.reporting.digests import GOING_ON
from nightshift.reporting.entities import Entity, namings_of
from nightshift.reporting.incident_view import SEVERITIES

RANK = {severity: place for place, severity in enumerate(reversed(SEVERITIES), 1)}  # the gravest is highest


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


@dataclass
class Course:
    """One incident over the nights in which it names one entity. incident : as it last stood. findings :
    those of them that name the entity.
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
    """All courses {id: Course} of one entity, what it is a part of or consists of, and how often other
    entities are named with it.
    """

    entity: Entity
    courses: dict = field(default_factory=dict)
    close: set = field(default_factory=set)
    together: dict = field(default_factory=dict)  # {Entity: ids of incidents}

    @property
    def last_day(self):
        """The last night that names it."""
        return max(course.last.day for course in self.courses.values())

    @property
    def first_day(self):
        """The first night that names it."""
        return min(course.nights[0].day for course in self.courses.values())

    @property
    def n_nights(self):
        """In how many nights it is named."""
        return len({one.day for course in self.courses.values() for one in course.nights})

    def open_in(self, day):
        """List the courses that were open in a night, the gravest first."""
        courses = [one for one in self.courses.values() if one.last.day == day and one.last.is_open]
        return sorted(courses, key=lambda one: -RANK.get(one.last.severity, 0))


def is_open(incident):
    """Whether an incident goes on and has not ended; that somebody knows of it closes nothing."""
    return incident["state"] in GOING_ON and not incident["ended"]


def follow(nights):
    """Follow every entity through the nights: {Entity: History}.

    nights : list of Night, the earliest first, with incidents as archive.read_incidents gives them.
    """
    histories = {}
    for night in nights:
        for incident in night.incidents:
            add_incident(histories, night.day, incident)
    return histories


def add_incident(histories, day, incident):
    """Add what one incident of a night names to the histories {Entity: History}."""
    findings, name = {}, incident["id"]
    pairs = namings_of(incident)
    for finding, naming in pairs:
        for entity in naming.entities:
            findings.setdefault(entity, []).extend([finding] if finding else [])
    seen = Seen(day, incident["severity"], incident["state"], is_open(incident))
    for entity, about in findings.items():
        history = histories.setdefault(entity, History(entity))
        history.entity = entity if entity.label else history.entity
        course = history.courses.setdefault(name, Course())
        course.nights.append(seen)
        course.incident, course.findings = incident, about
        for other in findings:
            if other != entity:
                history.together.setdefault(other, set()).add(name)
    for _, naming in pairs:
        for whole, part in naming.parts:
            histories[whole].close.add(part)
            histories[part].close.add(whole)
