"""The pages that span all nights: entities, trends and search."""

import functools
from dataclasses import dataclass
from pathlib import Path

from nightshift.reporting.archive import assurance_of, kept
from nightshift.reporting.entity_history import Night, follow
from nightshift.reporting.entity_pages import FOLDER, write_entities
from nightshift.reporting.search import write_search
from nightshift.reporting.trends import write_trends


@dataclass(frozen=True)
class Overview:
    """What there is of all nights. runs : run.json of each. incidents : {night: incidents} of those that can
    be read. has_gaps : whether a night that is kept cannot.
    """

    reports: Path
    runs: list
    incidents: dict
    has_gaps: bool

    @functools.cached_property
    def nights(self):
        """The nights that are kept and can be read, list of Night."""
        nights = []
        for run in kept(self.runs):
            if run["day"] in self.incidents:
                assurance = assurance_of(run)
                assured = "" if assurance.complete else assurance.sentence
                nights.append(Night(run["day"], self.incidents[run["day"]], assured, run))
        return nights

    @functools.cached_property
    def histories(self):
        """What became of every entity, {Entity: History}."""
        return follow(self.nights)

    def write_entities(self):
        """Write the pages of entities and their index."""
        write_entities(self.reports, self.nights, self.histories, keep=self.has_gaps)

    def write_search(self):
        """Write the page of the search."""
        write_search(self.reports, self.nights, self.histories)

    def write_trends(self):
        """Write the page of trends."""
        write_trends(self.reports, self.runs, self.incidents)

    @property
    def pages(self):
        """The pages, each with what writes it, {path: function}."""
        return {
            self.reports / FOLDER / "index.html": self.write_entities,
            self.reports / "trends.html": self.write_trends,
            self.reports / "search.html": self.write_search,
        }
