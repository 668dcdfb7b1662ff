"""What all simulated sources share: the span of the sample, its sites, and the one timeline of incidents.

Settings                the parameters of notebooks/simulate.ipynb and the moments that follow from them
check_lengths           whether all incidents have room in them
make_generators         one generator of random numbers for each study
make_sites              the sites at which everything happens
list_kinds              kinds of incidents as a table for people
select_outages          the incidents that several sources see
join_incidents          the timeline: one row per incident of every study, with the one that caused it
write_csv, write_gzip   files that are the same bytes for the same content

Every function that draws takes its generator first. One seed gives one sample, byte for byte, so the order
of the draws from a generator is part of what a function does.
"""

import gzip
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from helpers import atomic
from nightshift.catalog import label_in_any

SITE_NAMES = ["AURORA", "BOREAS", "CIRRUS", "DELTA", "EMBER", "FJORD", "GLACIER"]
SITE_NAMES += ["HARBOR", "ISTHMUS", "JUNIPER", "KESTREL", "LAGOON", "MERIDIAN", "NIMBUS"]
SERVERS = ["fts-north.example", "fts-east.example", "fts-south.example"]
TIMES = "%Y-%m-%d %H:%M:%S+00:00"  # of the CSV files of the sample
INCIDENT_COLUMNS = ["kind", "start", "end", "strength", "entity", "site"]


@dataclass(frozen=True)
class Settings:
    """Hold the parameters of notebooks/simulate.ipynb, which states meaning and range of each, and what
    follows from them. All moments are in UTC.
    """

    day: str
    seed: int
    days: int
    transfers_per_day: int
    incidents_per_week: int
    accounting_weeks: int
    more_outages: int
    nights: int
    certification_days: int
    certification_runs: int
    ticket_weeks: int
    tickets_per_week: int
    complaints: int

    @cached_property
    def end(self):
        """The first moment after the sample."""
        return pd.Timestamp(self.day, tz="UTC") + pd.Timedelta(days=1)

    @cached_property
    def start(self):
        """The first moment of the transfers."""
        return self.end - pd.Timedelta(days=self.days)

    @cached_property
    def this_monday(self):
        """The start of the last week, which is not complete unless `day` is a Sunday."""
        return self.end.floor("D") - pd.Timedelta(days=self.end.day_of_week)

    @cached_property
    def first_monday(self):
        """The first moment of the accounting."""
        return self.this_monday - pd.Timedelta(weeks=self.accounting_weeks)

    @cached_property
    def accounting_days(self):
        """The days of the accounting, those of the incomplete week included."""
        return pd.date_range(self.first_monday, self.end, freq="D", inclusive="left")

    @cached_property
    def tickets_from(self):
        """The first moment of the tickets."""
        return self.end - pd.Timedelta(weeks=self.ticket_weeks)


def check_lengths(settings):
    """Raise ValueError with what `settings` are too short for, in one line, if they cannot hold the incidents
    of every source.
    """
    rates = settings.transfers_per_day / 50, settings.incidents_per_week
    needs = [
        (
            min(settings.days / 7, *rates) >= 1,
            "the sample needs 7 days, 50 transfers a day, 1 incident a week",
        ),
        (settings.nights >= 7, "the nodes need 7 nights: the last five hold one trouble of each kind"),
        (
            settings.accounting_weeks >= 40,
            "the accounting needs 40 weeks: a series may be silent for 10 of them, and must have been steady "
            "before",
        ),
        (
            settings.certification_runs >= 60,
            "the certification needs 60 runs: twelve failures hit a run each in the newest quarter of them",
        ),
        (settings.certification_days >= 7, "the certification needs 7 days"),
        (
            min(settings.ticket_weeks / 60, settings.tickets_per_week / 10) >= 1,
            "the tickets need 60 weeks, a year before the newest incidents, and 10 tickets a week",
        ),
    ]
    for kept, need in needs:
        if not kept:
            raise ValueError(need)


def make_generators(seed):
    """Make a generator for each study, so that none depends on another: of sites and transfers, accounting,
    telemetry, certification, tickets.
    """
    return [np.random.default_rng(seed), *(np.random.default_rng([seed, n]) for n in (2, 3, 4, 5))]


def make_sites(rng):
    """Make the sites, most popular first: DataFrame site, popularity, fts, drift_sd.

    Popularity falls like a power of the rank, as on the real grid; `fts` is the server that moves files to
    the site; `drift_sd` is the spread of its log throughput over days, since some storages are steadier
    than others.
    """
    sites = pd.DataFrame({"site": [f"{name}-T{1 if i < 4 else 2}" for i, name in enumerate(SITE_NAMES)]})
    sites["popularity"] = (np.arange(len(sites)) + 1.0) ** -1.0
    sites["fts"] = np.array(SERVERS)[np.arange(len(sites)) % 3]
    sites["drift_sd"] = rng.uniform(0.2, 0.5, len(sites))
    return sites


def select_outages(incidents):
    """Return the site outages among `incidents`, in the same order with a new index; none gives an empty
    table.
    """
    return incidents[incidents.kind == "site_outage"].reset_index(drop=True)


def join_incidents(parts):
    """Join the incidents of all studies to one timeline: DataFrame incident, INCIDENT_COLUMNS, cause, by
    start.

    parts : tables with INCIDENT_COLUMNS; one of them may have `about`, `since` and `service`, which are
    kind, start and entity of the incident that caused this one. `cause` names that incident, "" where there
    is none.
    """
    truth = pd.concat(parts).sort_values("start", kind="stable", ignore_index=True)
    truth.insert(0, "incident", [f"I{i + 1:03d}" for i in range(len(truth))])
    named = truth.set_index(["kind", "start", "entity"]).incident
    truth["cause"] = [named.get((t.about, t.since, t.service), "") for t in truth.itertuples()]
    return truth.drop(columns=["service", "about", "since"])


def list_kinds(kinds):
    """Return kinds of incidents, DataFrame [kind], as a table for people."""
    table = kinds.reset_index().assign(kind=lambda t: t.kind.map(label_in_any))
    names = {"least_days": "least days", "most_days": "most days", "strength": "meaning of strength"}
    return table.rename(columns=names)


def write_csv(table, path, **how):
    """Write `table` to `path` as CSV without its index, atomically; `how` goes to pandas."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, **how)


def write_gzip(text, path):
    """Write `text` to `path` in gzip, atomically, with no time and no name inside: the same text, the same
    bytes.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), compresslevel=4, mtime=0))
