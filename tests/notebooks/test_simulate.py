"""The sample, above all its accounting: what every record promises, and each incident measured in the records themselves."""

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, refused, run_here

SHAPE = {
    "EndTime": str,
    "SiteName": str,
    "VOName": str,
    "ProbeName": str,
    "ResourceType": str,
    "CoreHours": float,
    "WallDuration": int,
    "CpuDuration": int,
    "Njobs": int,
    "Processors": int,
}
OTHER_KINDS = {"slow_link", "slow_destination", "failing_source", "stuck_queue"}  # of the transfers, and those of the nodes:
OTHER_KINDS |= {"memleak", "cpuoccupy", "membw", "cachecopy", "throttled", "idle_gpu"}
CERTIFICATION_KINDS = {"dead_sector", "noisy_channel", "shifted_scale", "wrong_conditions"}
TICKET_KINDS = {"outage_tickets", "growing_topic", "department_surge", "backlog", "slow_topic"}
OTHER_KINDS |= CERTIFICATION_KINDS | TICKET_KINDS
LAST_WEEKS = pd.Timestamp("2026-01-05", tz="UTC"), pd.Timestamp("2026-01-26", tz="UTC")  # the three complete weeks before Saturday 2026-01-31
SMALL = {"days": 28, "transfers_per_day": 300, "accounting_weeks": 60, "nights": 7}
LEAST = {"days": 14, "transfers_per_day": 100, "accounting_weeks": 40, "nights": 7}
LEAST |= {"certification_runs": 60, "ticket_weeks": 60, "tickets_per_week": 10}


def hash_of(products):
    return hashlib.sha256((products / "data/sample/accounting.jsonl.gz").read_bytes()).hexdigest()


class Sample:
    """One sample, with its records and with daily sums per series under the names that communities have today."""

    def __init__(self, products):
        folder = products / "data/sample"
        self.products = products
        self.raw = [json.loads(line) for line in gzip.decompress((folder / "accounting.jsonl.gz").read_bytes()).splitlines()]
        self.truth = pd.read_csv(folder / "truth.csv", parse_dates=["start", "end"], keep_default_na=False)
        self.recent = self.truth[~self.truth.kind.isin(OTHER_KINDS) & (self.truth.start >= LAST_WEEKS[0])].set_index("kind")
        self.records = pd.DataFrame(self.raw).assign(day=lambda t: pd.to_datetime(t.EndTime), vo=lambda t: t.VOName.str.lower())
        self.records["vo"] = self.records.vo.replace("lumen", "lumen.survey")
        days = pd.date_range(self.records.day.min(), self.records.day.max(), freq="D")
        columns = ["CoreHours", "WallDuration", "CpuDuration", "Njobs"]
        daily = self.records.assign(CpuHours=self.records.CpuDuration / 3600).groupby(["day", "vo", "SiteName"])[[*columns, "CpuHours"]].sum()
        self.daily = daily.unstack(["vo", "SiteName"], fill_value=0).reindex(days, fill_value=0)

    def of(self, entity, column="CoreHours"):
        """Daily values of a series "vo at SITE", of a whole VO or of a whole site."""
        vo, _, site = entity.partition(" at ")
        frame = self.daily[column]
        keys = frame.columns.to_frame()
        return frame.loc[:, (keys.SiteName == site) & (keys.vo == vo) if site else (keys.vo == entity) | (keys.SiteName == entity)].sum(axis=1)

    def during(self, incident, values):
        """The values of the days that lie wholly inside an incident."""
        return values[(values.index >= incident.start) & (values.index + pd.Timedelta(days=1) <= incident.end)]

    def before(self, incident, values, weeks=4):
        """The values of some weeks that end before the turn of the year, when the user communities rest, or before the incident."""
        stop = min(incident.start.floor("D"), pd.Timestamp("2025-12-20", tz="UTC"))
        return values[(values.index >= stop - pd.Timedelta(weeks=weeks)) & (values.index < stop)]

    def change(self, kind, column="CoreHours", per=None):
        """The mean inside this kind's recent incident over the mean before it, of a column or of the ratio of two."""
        incident = self.recent.loc[kind]
        entity = incident.entity
        sums = [[part(incident, self.of(entity, c)).mean() for c in (column, per) if c] for part in (self.during, self.before)]
        inside, usual = (s[0] / s[1] if per else s[0] for s in sums)
        return inside / usual


@pytest.fixture(scope="module", autouse=True)
def without_samplers():
    """Leave out the samplers of the nodes, which take longest: nothing here reads them; what the chain of the sample extracts are real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightshift.simulate.telemetry.write_samplers", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    products = tmp_path_factory.mktemp("simulated")
    run_here("simulate.ipynb", products, **SMALL)
    return Sample(products)


@pytest.fixture(scope="module")
def least(tmp_path_factory):
    """The smallest sample that there is."""
    products = tmp_path_factory.mktemp("least")
    run_here("simulate.ipynb", products, **LEAST)
    return Sample(products)


def run_elsewhere(notebook, products, **parameters):
    """Run the cells of a notebook in a process of its own, with a hash seed of its own, and without the samplers of the nodes."""
    code = f"""import conftest, nightshift.simulate.telemetry
nightshift.simulate.telemetry.write_samplers = lambda *_, **__: None
conftest.run_here({notebook!r}, {str(products)!r}, **{parameters!r})"""
    own = os.environ | {"PYTHONHASHSEED": "5", "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=own, check=True)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(least, tmp_path):
    run_elsewhere("simulate.ipynb", tmp_path / "again", **LEAST)
    run_here("simulate.ipynb", tmp_path / "other", **LEAST, seed=7)
    assert hash_of(tmp_path / "again") == hash_of(least.products)
    assert hash_of(tmp_path / "other") != hash_of(least.products)
    one, again = (folder / "data/sample" for folder in (least.products, tmp_path / "again"))
    certification = [f"certification/{name}" for name in ("histograms.csv.gz", "lumisections.csv", "golden.json", "dcs.json")]
    tickets = [f"tickets/{name}" for name in ("osticket.sqlite", "accounts.txt", "labels.csv")]
    for name in ("truth.csv", "perfsonar.csv", *certification, *tickets):
        assert (one / name).read_bytes() == (again / name).read_bytes()
    for name in (*certification, *tickets):
        assert (one / name).read_bytes() != (tmp_path / "other/data/sample" / name).read_bytes()
    lines = [gzip.decompress((folder / "transfers.jsonl.gz").read_bytes()) for folder in (one, again)]
    assert lines[0] == lines[1]


def test_every_record_is_a_gracc_summary(sample):
    assert all({name: type(value) for name, value in record.items()} == SHAPE for record in sample.raw)
    t = sample.records
    assert np.allclose(t.CoreHours, t.WallDuration * t.Processors / 3600, rtol=0, atol=1e-6)
    assert t.EndTime.str.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z").all()
    assert (t.ResourceType == "Batch").all()
    assert not t.duplicated(["day", "SiteName", "VOName", "ProbeName", "Processors"]).any()
    assert (t.Njobs > 0).all()
    assert (t.CpuDuration <= t.WallDuration * t.Processors).all()
    assert set(t.Processors) == {1, 4, 8}
    assert sample.daily.index[0] == pd.Timestamp("2024-12-02", tz="UTC")  # 60 weeks before Monday 2026-01-26
    assert sample.daily.index[0].day_name() == "Monday"
    assert sample.daily.index[-1] == pd.Timestamp("2026-01-31", tz="UTC")


def test_series_names_and_sizes_are_as_various_as_announced(sample):
    t = sample.records
    series = t.groupby(["vo", "SiteName"]).CoreHours.sum()
    assert 70 <= len(series) <= 90
    assert t.SiteName.nunique() == 14
    assert series.quantile(0.98) / series.quantile(0.02) > 100  # three decades, less the ends
    names = t.groupby("VOName").day.agg(["min", "max"])
    assert names.loc["lumen", "max"] < names.loc["lumen.survey", "min"]
    loud = t[t.VOName != t.VOName.str.lower()]
    assert loud.ProbeName.nunique() == 1
    assert set(loud.vo) <= set(t.vo[t.VOName == t.vo])
    sites_of = t.groupby("vo").SiteName.nunique()
    assert sites_of.max() >= 13
    assert sites_of.min() == 1


def test_user_communities_rest_at_the_turn_of_the_year(sample):
    """Nobody starts work: wetland is one of them, quarry is not."""
    turn = pd.date_range("2025-12-27", "2026-01-02", tz="UTC")
    usual = pd.date_range("2025-11-15", "2025-12-12", tz="UTC")
    rest = {vo: sample.of(vo).loc[turn].mean() / sample.of(vo).loc[usual].mean() for vo in ("tessera", "polymer", "quarry", "moraine")}
    assert (rest["tessera"] + rest["polymer"]) / 2 < 0.75 < (rest["quarry"] + rest["moraine"]) / 2


def test_one_incident_of_each_kind_lies_in_the_last_three_complete_weeks(sample):
    recent = sample.recent
    assert sorted(recent.index) == sorted(
        ["silent", "drop", "surge", "returned", "efficiency_drop", "longer_jobs", "more_jobs", "moved", "global_dip", "reporting_gap", "site_outage"]
    )
    assert (recent.start < LAST_WEEKS[1]).all()
    days_from_monday = (recent.start - LAST_WEEKS[0]) / pd.Timedelta(weeks=1)
    assert ((days_from_monday - days_from_monday.round()).abs() <= 1 / 7).all()
    long_enough = (recent.end - recent.start >= pd.Timedelta(days=7)) | (recent.end == pd.Timestamp("2026-02-01", tz="UTC"))
    assert long_enough.drop("site_outage").all()
    assert recent.drop(["global_dip", "moved", "reporting_gap", "site_outage"]).entity.is_unique
    truth = sample.truth
    assert truth.start.is_monotonic_increasing
    assert truth.incident.tolist() == [f"I{i + 1:03d}" for i in range(len(truth))]
    outages = truth[truth.kind == "site_outage"]
    assert outages.start.between(pd.Timestamp("2025-11-09", tz="UTC"), LAST_WEEKS[0]).sum() == 1
    assert (outages.end - outages.start).between(pd.Timedelta(days=4), pd.Timedelta(days=9)).all()


@pytest.mark.parametrize(
    ("kind", "column", "per", "low", "high"),
    [
        ("silent", "CoreHours", None, 0, 0),
        ("reporting_gap", "CoreHours", None, 0, 0),
        ("site_outage", "CoreHours", None, 0.001, 0.1),
        ("drop", "CoreHours", None, 0.02, 0.6),
        ("global_dip", "CoreHours", None, 0.05, 0.6),
        ("surge", "CoreHours", None, 2, 15),
        ("efficiency_drop", "CpuHours", "CoreHours", 0.2, 0.55),
        ("efficiency_drop", "CoreHours", None, 0.5, 2),
        ("longer_jobs", "WallDuration", "Njobs", 2.5, 7),
        ("longer_jobs", "CoreHours", None, 0.5, 2),
        ("more_jobs", "Njobs", "WallDuration", 3.5, 11),
        ("more_jobs", "CoreHours", None, 0.5, 2),
        ("moved", "CoreHours", None, 0.7, 1.3),
    ],
)
def test_the_records_show_what_the_truth_says(sample, kind, column, per, low, high):
    assert low <= sample.change(kind, column, per) <= high


def test_a_series_that_returned_was_silent_for_weeks_and_is_back(sample):
    incident = sample.recent.loc["returned"]
    hours = sample.of(incident.entity)
    silent = pd.Timedelta(weeks=incident.strength)
    assert 6 <= incident.strength <= 10
    away = hours[(hours.index >= incident.start - silent) & (hours.index + pd.Timedelta(days=1) <= incident.start)]
    assert len(away) >= 41
    assert (away == 0).all()
    earlier = hours[(hours.index < incident.start - silent - pd.Timedelta(days=1))].tail(28).mean()
    assert sample.during(incident, hours).mean() > 0.3 * earlier > 0


def test_what_a_moved_community_loses_at_one_site_another_gains(sample):
    incident = sample.recent.loc["moved"]
    hours = sample.daily["CoreHours"][incident.entity]
    inside, usual = sample.during(incident, hours).mean(), sample.before(incident, hours).mean()
    change = inside / usual
    assert change.idxmin() == incident.site
    assert change.min() < 0.5
    gained = change.idxmax()
    assert change[gained] > 1.3
    assert (inside - usual)[gained] == pytest.approx((usual - inside)[incident.site], rel=0.6)  # the two sites' own noise is in it


def test_a_dip_is_everywhere_and_a_gap_is_at_one_site_alone(sample):
    dip, gap = sample.recent.loc["global_dip"], sample.recent.loc["reporting_gap"]
    hours = sample.daily["CoreHours"]
    changes = sample.during(dip, hours[dip.entity]).mean() / sample.before(dip, hours[dip.entity]).mean()
    assert (changes < 1).mean() >= 0.75  # at nearly every site; a site's own weeks are noisy
    others = hours.loc[:, hours.columns.get_level_values("SiteName") != gap.entity].sum(axis=1)
    assert sample.during(gap, others).min() > 0.3 * sample.before(gap, others).mean()


def test_an_outage_is_seen_by_both_sources_and_a_gap_by_one(sample):
    lines = gzip.decompress((sample.products / "data/sample/transfers.jsonl.gz").read_bytes()).splitlines()
    events = pd.DataFrame([e["payload"] for line in lines if (e := json.loads(line))["event_type"] == "transfer-done"])
    events["started"] = pd.to_datetime(events.started_at, utc=True)

    def times_slower(incident):
        here = events["src-rse"].str.startswith(f"{incident.entity}_") | events["dst-rse"].str.startswith(f"{incident.entity}_")
        inside = here & (events.started >= incident.start) & (events.started < incident.end)
        assert inside.sum() >= 20
        return events.duration[inside].median() / events.duration[here & ~inside].median()

    outage, gap = sample.recent.loc["site_outage"], sample.recent.loc["reporting_gap"]
    assert times_slower(outage) > 3
    assert times_slower(gap) < 2
    assert sample.change("site_outage") < 0.1


def test_forty_weeks_do_and_fewer_are_refused(least, tmp_path):
    assert least.daily.index[0] == pd.Timestamp("2025-04-21", tz="UTC")
    assert len(least.recent) == 11
    assert len(pd.read_csv(least.products / "data/sample/certification/lumisections.csv").run.unique()) == 60
    assert "the accounting needs 40 weeks" in refused(run_here, "simulate.ipynb", tmp_path, accounting_weeks=39)


# ------------------------------------------------------------------------------------------------------ certification

FAILING = r"run (?P<run>\d+): (?P<first>\d+)-(?P<last>\d+): (?P<elements>.+)"


class Lumisections:
    """The certification of one sample: its tables, the failures, and the shares of each histogram's entries in its bins."""

    def __init__(self, sample):
        folder = sample.products / "data/sample/certification"
        self.table = pd.read_csv(folder / "lumisections.csv", parse_dates=["time"]).set_index(["run", "lumisection"])
        self.histograms = pd.read_csv(folder / "histograms.csv.gz")
        self.contents = [np.array(json.loads(text)) for text in self.histograms.histo]
        self.ranges = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("dcs", "golden")}
        for name in self.ranges:
            self.table[name] = [any(a <= n <= b for a, b in self.ranges[name].get(str(run), [])) for run, n in self.table.index]
        truth = sample.truth[sample.truth.kind.isin(CERTIFICATION_KINDS)].reset_index(drop=True)
        self.failures = truth.join(truth.entity.str.extract(FAILING)).astype({"run": int, "first": int, "last": int})
        self.failures["elements"] = self.failures.elements.str.split(", ")
        failing = {(f.run, n) for f in self.failures.itertuples() for n in range(f.first, f.last + 1)}
        self.clean = self.table.golden & ~self.table.index.isin(failing) & (self.table.recorded_lumi > 0.5 * self.table.delivered_lumi)

    def shares(self, element):
        """Mean histogram of each lumisection over the datasets that have it, normalised: a frame, columns are bins."""
        rows = np.flatnonzero(self.histograms.hname == element)
        keys = pd.MultiIndex.from_frame(self.histograms.loc[rows, ["fromrun", "fromlumi"]].set_axis(["run", "lumisection"], axis=1))
        counts = pd.DataFrame(np.stack([self.contents[i] for i in rows]), index=keys).groupby(level=[0, 1]).sum()
        return counts.div(counts.sum(axis=1), axis=0)


@pytest.fixture(scope="module")
def lumisections(sample):
    return Lumisections(sample)


def test_every_lumisection_has_every_histogram_of_every_dataset_once(lumisections):
    t = lumisections.histograms
    assert t.columns.tolist() == ["dataset", "fromrun", "fromlumi", "hname", "histo", "entries", "Xmin", "Xmax"]
    assert not t.duplicated(["dataset", "fromrun", "fromlumi", "hname"]).any()
    listed = yaml.safe_load((REPOSITORY / "notebooks/certification/datasets.yaml").read_text())
    assert {name: set(subset.hname) for name, subset in t.groupby("dataset")} == {name: set(elements) for name, elements in listed.items()}
    assert len(t) == len(lumisections.table) * sum(map(len, listed.values()))
    assert (t.entries == [counts.sum() for counts in lumisections.contents]).all()
    assert (t.assign(bins=[len(counts) for counts in lumisections.contents]).groupby("hname")[["bins", "Xmin", "Xmax"]].nunique() == 1).all(axis=None)
    assert {len(counts) for counts in lumisections.contents} <= set(range(30, 51))
    assert (t.Xmin < t.Xmax).all()
    least = t.apply(lambda row: listed[row.dataset][row.hname], axis=1)
    assert (t.groupby(["dataset", "hname"]).entries.median() > 5 * least.groupby([t.dataset, t.hname]).first()).all()
    few = (t.entries < least).groupby([t.fromrun, t.fromlumi])
    assert 0.005 < few.any().mean() < 0.03
    assert few.all().sum() > 0.9 * few.any().sum()  # dead time is dead time for all of them


def test_beams_burn_off_and_runs_follow_each_other(lumisections):
    t = lumisections.table
    runs = t.groupby("run").agg(fill=("fill", "first"), fills=("fill", "nunique"), start=("time", "min"), pileup=("pileup", "mean"))
    assert len(runs) == 70
    assert (runs.fills == 1).all()
    assert runs.fill.is_monotonic_increasing
    assert runs.start.is_monotonic_increasing
    assert runs.start.min() > pd.Timestamp("2025-12-27", tz="UTC")  # 35 days
    assert t.time.max() < pd.Timestamp("2026-02-01", tz="UTC")
    assert (runs.groupby("fill").pileup.diff().dropna() < 0).all()
    assert np.allclose(t.groupby("run").time.diff().dropna().dt.total_seconds(), 23.31, atol=0.0015)
    assert 20 < t.pileup.min() < 35 < 55 < t.pileup.max() < 65
    assert (t.recorded_lumi <= t.delivered_lumi).all()
    assert np.corrcoef(t.delivered_lumi, t.pileup)[0, 1] > 0.999
    entries = lumisections.histograms.query("hname == 'Tracker/hit_phi'").groupby(["fromrun", "fromlumi"]).entries.sum()
    assert np.corrcoef(entries[lumisections.clean.to_numpy()], t.pileup[lumisections.clean])[0, 1] > 0.9


def test_experts_call_strong_and_medium_failures_bad_and_miss_the_weak_ones(lumisections):
    t = lumisections.table
    for ranges in lumisections.ranges.values():
        for run, subset in ranges.items():
            flat = [n for pair in subset for n in pair]
            assert flat == sorted(flat)
            assert all(b[0] > a[1] + 1 for a, b in itertools.pairwise(subset))  # neighbours are one range
            assert flat[0] >= 1
            assert flat[-1] <= t.loc[int(run)].index.max()
    strength = pd.Series(0, index=t.index)
    for f in lumisections.failures.itertuples():
        strength.loc[(f.run, slice(f.first, f.last))] = f.strength
    assert (t.golden == (t.dcs & (strength < 2))).all()
    assert 0.03 < (~t.dcs).mean() < 0.1
    assert 0.1 < (t.dcs & ~t.golden).mean() < 0.3
    runs = t.index.unique("run").astype(str)
    assert {runs[0], runs[-1]} <= set(lumisections.ranges["golden"]), "a certificate covers the runs between its first and its last one"


def test_each_failure_is_in_the_timeline_with_its_run_range_and_elements(lumisections):
    f = lumisections.failures
    runs = lumisections.table.index.unique("run")
    newest = f.run.isin(runs[-17:])  # a quarter of 70
    graded = [(kind, strength) for kind in sorted(CERTIFICATION_KINDS) for strength in (1, 2, 3)]
    assert sorted(zip(f.kind[newest], f.strength[newest], strict=True)) == graded
    assert sorted(zip(f.kind[~newest], f.strength[~newest], strict=True)) == sorted(graded * 2)
    assert f.run.is_unique
    assert (f.site == "").all()
    times, lengths = lumisections.table.time, lumisections.table.groupby("run").size()
    whole = (f["first"] == 1) & (f["last"] == f.run.map(lengths))
    assert 5 <= whole.sum() <= 12
    assert (whole | (f["last"] - f["first"] + 1).between(5, 30)).all()
    assert (f["last"] <= f.run.map(lengths)).all()
    for row in f.itertuples():
        assert row.start == times[row.run, row.first].floor("s")
        assert row.end == (times[row.run, row.last] + pd.Timedelta(seconds=23.31)).floor("s")
        assert 1 <= len(row.elements) <= 3
        assert len({element.split("/")[0] for element in row.elements}) == 1


def test_failures_show_in_the_elements_that_they_name_and_the_stronger_the_more(lumisections):
    """Distance: half the sum of absolute differences between mean shares, here in units of that of a clean run from all clean runs."""
    excess = []
    for element in lumisections.histograms.hname.unique():
        shares = lumisections.shares(element)
        clean = shares[lumisections.clean]
        usual = clean.groupby("run").mean()
        unit = (usual - usual.mean()).abs().sum(axis=1).median() / 2
        for f in lumisections.failures.itertuples():
            inside = shares.loc[f.run][lumisections.table.dcs[f.run]].loc[f.first : f.last]
            away = (inside.mean() - usual.mean()).abs().sum() / 2 / unit
            excess.append((f.kind, f.strength, element in f.elements, element.startswith("Vertex/count"), away))
    excess = pd.DataFrame(excess, columns=["kind", "strength", "named", "of_pileup", "away"])
    named = excess[excess.named].groupby(["kind", "strength"]).away.agg(["min", "median", "max"]).unstack()
    assert (named["median"].diff(axis=1).iloc[:, 1:] > 1).all(axis=None)
    assert (named["min"][3] > 7).all()
    assert (named["min"][2] > 4).all()
    assert (named["max"][1] < 7).all()
    assert excess[~excess.named & ~excess.of_pileup].away.quantile(0.95) < 2.5


def test_a_tracker_without_voltage_is_blind_on_one_side(lumisections):
    shares = lumisections.shares("Tracker/hit_phi")
    left = shares.iloc[:, : shares.shape[1] // 2].sum(axis=1)
    enough = lumisections.table.recorded_lumi > 0.5 * lumisections.table.delivered_lumi
    assert left[enough & ~lumisections.table.dcs].max() < 0.1
    assert left[lumisections.clean].between(0.4, 0.6).all()


def test_conditions_wander_from_run_to_run_and_drift(lumisections):
    """Means of runs spread more than chance explains, and runs that follow each other are more alike than runs half of the span apart."""
    alike = []
    for element in ("Tracker/hit_eta", "Tracker/track_pt", "Vertex/z", "Calorimeter/tower_eta", "Electron/eta", "Jet/phi", "Muon/eta"):
        clean = lumisections.shares(element)[lumisections.clean]
        mean = (clean * np.arange(clean.shape[1])).sum(axis=1).groupby("run").agg(["mean", "sem"])
        assert mean["mean"].std() > 1.5 * mean["sem"].mean()
        by_run = clean.groupby("run").mean().reindex(lumisections.table.index.unique("run"))
        near, far = (((by_run - by_run.shift(n)) ** 2).sum(axis=1, skipna=False).mean() for n in (2, 35))
        alike.append(near / far)
    assert np.mean(alike) < 0.9


def test_sixty_runs_do_and_fewer_are_refused(tmp_path):
    line = refused(run_here, "simulate.ipynb", tmp_path, certification_runs=59)
    assert line.startswith("the certification needs 60 runs")
    assert not (tmp_path / "data").exists()


# ------------------------------------------------------------------------------------------------------------ tickets

NIGHT = pd.Timestamp("2026-02-01", tz="UTC")  # the end of it
JOINED = """
    SELECT t.*, u.name, e.address, c.subject, p.priority, p.priority_urgency AS urgency, s.name AS status, s.state, h.topic, d.name AS queue,
        r.id AS thread, r.object_type FROM ost_ticket t
    LEFT JOIN ost_user u ON u.id = t.user_id LEFT JOIN ost_user_email e ON e.id = u.default_email_id
    LEFT JOIN ost_ticket__cdata c ON c.ticket_id = t.ticket_id LEFT JOIN ost_ticket_priority p ON p.priority_id = c.priority
    LEFT JOIN ost_ticket_status s ON s.id = t.status_id LEFT JOIN ost_help_topic h ON h.topic_id = t.topic_id
    LEFT JOIN ost_department d ON d.id = t.dept_id LEFT JOIN ost_thread r ON r.object_id = t.ticket_id ORDER BY t.ticket_id"""


def in_utc(texts):
    """The server's times, of Berlin; what the clock shows twice or never, in two nights of the year, is missing."""
    return pd.to_datetime(texts).dt.tz_localize("Europe/Berlin", ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")


class HelpDesk:
    """The help desk of one sample: `tickets`, one row each, as the joins of osTicket's tables give it, with department and label; `entries`."""

    def __init__(self, sample):
        folder = sample.products / "data/sample/tickets"
        with contextlib.closing(sqlite3.connect(folder / "osticket.sqlite")) as database:
            self.n_tickets = database.execute("SELECT count(*) FROM ost_ticket").fetchone()[0]
            t, self.entries = pd.read_sql(JOINED, database), pd.read_sql("SELECT * FROM ost_thread_entry ORDER BY id", database)
        _, users, accounts = (folder / "accounts.txt").read_text().replace("Account|Descr|Org\n", "User|Def Acct\n").split("User|Def Acct\n")
        self.organisation = {line.split("|")[0]: line.split("|")[2] for line in accounts.splitlines()}
        self.account = dict(line.split("|") for line in users.splitlines())
        t["department"] = t.address.str.lower().str.split("@").str[0].map(self.account).map(self.organisation)
        t["label"] = t.ticket_id.map(pd.read_csv(folder / "labels.csv").set_index("ticket_id").label)
        t["body"] = t.thread.map(self.entries[self.entries.type == "M"].groupby("thread_id").body.first())
        t["asked"], t["ended"] = in_utc(t.created), in_utc(t.closed)
        self.tickets, self.people = t, t[t.label.notna()]
        self.truth = sample.truth[sample.truth.kind.isin(TICKET_KINDS)].reset_index(drop=True)
        self.all_truth = sample.truth

    def inside(self, incident):
        return self.people.asked.between(incident.start, incident.end)

    def hit(self, incident):
        """Tickets of the intent, department or queue that an incident hits."""
        column = {"department_surge": "department", "backlog": "queue"}.get(incident.kind, "label")
        return self.people[column] == incident.entity

    def calm(self):
        """Tickets of intents and departments that no incident brings more of."""
        more = self.truth[self.truth.kind.isin(["growing_topic", "department_surge", "outage_tickets"])]
        return ~np.logical_or.reduce([self.hit(incident) for incident in more.itertuples()])


@pytest.fixture(scope="module")
def desk(sample):
    return HelpDesk(sample)


def test_the_joins_of_osticket_give_every_ticket_once_with_user_form_and_thread(desk):
    t, entries = desk.tickets, desk.entries
    assert len(t) == desk.n_tickets
    assert t.ticket_id.is_unique
    assert t.number.is_unique
    needed = t.drop(columns=["closed", "ended", "department", "label", "asked"])
    assert needed.notna().all(axis=None), needed.isna().sum()
    assert (t.closed.isna() == (t.state == "open")).all()
    opening = entries[entries.type == "M"].groupby("thread_id").agg(created=("created", "first"), user_id=("user_id", "first"))
    assert (opening.loc[t.thread].to_numpy() == t[["created", "user_id"]].to_numpy()).all()
    assert set(entries.thread_id) == set(t.thread)
    newest = entries.groupby("thread_id").created.max().loc[t.thread].to_numpy()
    assert (t.lastupdate == np.maximum(newest, t.closed.fillna("").to_numpy(str).astype(object))).mean() > 0.999  # but where the clock is put back
    assert t.lastupdate.max() <= "2026-02-01 01:00:00"
    assert t.created.is_monotonic_increasing or t.asked.dropna().is_monotonic_increasing
    assert len(t) == pytest.approx(130 * 23, rel=0.25)


def test_departments_come_from_the_accounts_and_two_are_too_small_to_be_named(desk):
    sizes = desk.tickets.department.value_counts()
    assert len(sizes) == 12
    assert (sizes < 5).sum() == 2
    assert sizes.iloc[-3] > 50
    assert set(desk.organisation.values()) == {*sizes.index, "root"}
    assert all(name == name.lower() for name in [*desk.account, *desk.organisation.values()])
    assert 0.05 < desk.people.department.isna().mean() < 0.25
    per_user = desk.people.address.str.lower().value_counts()
    assert per_user.head(len(per_user) // 10).sum() > 0.3 * per_user.sum()  # a tenth of the users writes a third of it
    domains = desk.people.address.str.split("@").str[1]
    assert set(domains.str.lower()) == {"campus.example", "students.campus.example", "partner.example"}
    assert domains.nunique() == 6  # each in two ways to write it


def test_priority_is_no_status_and_machines_duplicates_and_merged_tickets_are_there(desk):
    t = desk.tickets
    assert set(t.status) == {"Open", "Resolved", "Closed", "Archived", "Deleted"}
    assert pd.crosstab(t.priority, t.state == "open").gt(0).sum().to_list() in ([4, 3], [4, 4])  # few emergencies are left open, perhaps none
    assert t.priority.value_counts(normalize=True)["normal"] > 0.5
    assert t.loc[t.priority == "emergency", "urgency"].eq(1).all()
    assert 0.002 < (t.state == "deleted").mean() < 0.02
    senders = t.address[t.label.isna()].str.split("@").str[0].str.lower().unique()
    assert sorted(senders) == ["monitoring", "no-reply", "webform"]
    assert 0.005 < (t.object_type == "C").mean() < 0.03
    twice = desk.people[desk.people.duplicated(["user_id", "subject", "body"], keep=False)].groupby(["user_id", "subject", "body"]).asked
    assert 0.01 < len(twice) / len(t) < 0.03
    assert (twice.max() - twice.min() <= pd.Timedelta(hours=1)).mean() > 0.9  # the others happen to say the same few words


def test_texts_are_many_and_nothing_of_the_grammar_is_left_in_them(desk):
    phrases = yaml.safe_load((REPOSITORY / "notebooks/tickets/phrases.yaml").read_text())
    assert set(desk.people.label) == set(phrases["intents"])
    assert desk.people.label.value_counts().min() > 15
    texts = [*desk.tickets.subject, *desk.entries.body]
    assert not any(set(text) & set("{}|()") for text in texts)
    assert all(text == text.strip() and text for text in texts)
    once = desk.people.drop_duplicates(["user_id", "subject", "body"])
    assert (once.subject.str.lower() + once.body.str.lower()).is_unique
    words = " ".join(texts)
    assert set(re.findall(r"@([\w.-]*[\w-])", words.lower())) <= {"campus.example", "students.campus.example", "partner.example"}
    assert not re.search(r"\+49 (?!555 \d{6})", words)


def test_each_kind_of_ticket_trouble_has_happened_before_and_lasts_into_the_last_weeks(desk):
    for kind, subset in desk.truth.groupby("kind"):
        assert 3 <= len(subset) <= 8, kind
        assert (subset.end > NIGHT - pd.Timedelta(weeks=4)).any(), kind
        if kind != "outage_tickets":
            assert subset.end.max() == NIGHT
            assert subset.entity.is_unique
    newest = desk.truth[desk.truth.end == NIGHT].set_index("kind").entity
    queue_of = desk.people.groupby("label").queue.agg(lambda own: own.mode()[0])
    assert newest["backlog"] not in queue_of[[newest["growing_topic"], newest["slow_topic"]]].to_list()
    assert newest["growing_topic"] != newest["slow_topic"]


def test_tickets_about_an_outage_follow_it_within_hours_and_name_its_site(desk):
    called = yaml.safe_load((REPOSITORY / "sites.yaml").read_text())
    about = {
        "cluster_down": "site_outage",
        "transfer_failing": "failing_source",
        "transfer_slow": "slow_destination",
        "transfer_stuck": "stuck_queue",
    }
    bursts = desk.truth[desk.truth.kind == "outage_tickets"]
    assert set(bursts.entity) == set(about)
    outages = desk.all_truth[desk.all_truth.kind == "site_outage"]
    assert set(outages.site) == set(bursts.site[bursts.entity == "cluster_down"])
    for burst in bursts.itertuples():
        causes = desk.all_truth[(desk.all_truth.kind == about[burst.entity]) & (desk.all_truth.site == burst.site)]
        assert (burst.start - causes.start).between(pd.Timedelta(hours=2), pd.Timedelta(hours=6)).sum() == 1
        subset = desk.people[desk.hit(burst) & desk.inside(burst)]
        assert burst.strength <= len(subset) <= 1.5 * burst.strength + 3
        names = "|".join(called[burst.site]) if burst.site else "|".join(causes.entity.unique())
        assert (subset.subject + " " + subset.body).str.contains(rf"\b(?:{names})\b", case=False).mean() > 0.7
    assert bursts.strength.between(8, 30).all()


@pytest.mark.parametrize("kind", ["growing_topic", "department_surge"])
def test_a_topic_grows_and_a_department_surges_by_its_strength(desk, kind):
    calm, ratios = desk.calm(), []
    for incident in desk.truth[desk.truth.kind == kind].itertuples():
        risen = desk.people.asked >= incident.start + (incident.end - incident.start) / 4  # a topic needs a quarter of its time to grow
        hit, inside = desk.hit(incident), desk.inside(incident)
        usual = (hit & ~inside).sum() / (calm & ~inside).sum()
        ratio = (hit & inside & risen).sum() / (calm & inside & risen).sum() / usual
        assert ratio > 1.8, incident
        ratios.append(ratio / incident.strength)
    assert np.mean(ratios) == pytest.approx(1, abs=0.35)


def test_without_incidents_counts_are_poisson_around_season_and_growth(desk):
    asked = desk.people.asked[desk.calm()].dropna()
    week = (asked - NIGHT) // pd.Timedelta(weeks=1) + 130
    counts = np.bincount(week, minlength=130)
    assert len(counts) == 130
    one, next_one = counts[:-1], counts[1:]
    assert np.mean((one - next_one) ** 2 / (one + next_one)) == pytest.approx(1, abs=0.35)  # 1 for Poisson, error 0.12
    assert counts[-52:].sum() / counts[-104:-52].sum() == pytest.approx(1.2, abs=0.15)
    by_day = asked.dt.day_of_week.value_counts().sort_index()
    assert by_day[5:].mean() < 0.4 * by_day[:5].mean()
    local = asked.dt.tz_convert("Europe/Berlin")
    assert local.dt.hour.between(8, 18).mean() > 0.75
    months = local.dt.month[local >= pd.Timestamp("2024-01-01", tz="UTC")].value_counts() / pd.Series({1: 3}).reindex(range(1, 13), fill_value=2)
    assert months[[4, 10]].min() > 1.1 * months[[2, 3, 5, 6, 7, 8, 9]].mean()


def test_a_backlog_doubles_what_is_open_and_a_slow_topic_takes_several_times_as_long(desk):
    t, month = desk.people, pd.Timedelta(days=30)
    for incident in desk.truth[desk.truth.kind == "backlog"].itertuples():
        subset, days = t[desk.hit(incident)], pd.date_range(incident.start - 4 * month, min(incident.end + 4 * month, NIGHT))
        is_open = pd.Series([((subset.asked <= day) & ~(subset.ended <= day)).sum() for day in days], index=days)
        usual = is_open[(days < incident.start) | (days > incident.end + month)].median()  # by then it has been worked off
        late = is_open[(days > incident.end - pd.Timedelta(days=7)) & (days <= incident.end)].mean()
        assert late > 1.5 * usual, incident
    for incident in desk.truth[desk.truth.kind == "slow_topic"].itertuples():
        subset, inside = t[desk.hit(incident)], desk.inside(incident)[desk.hit(incident)]
        hours = (subset.ended.fillna(NIGHT) - subset.asked) / pd.Timedelta(hours=1)
        assert hours[inside].median() > 1.8 * hours[~inside].median(), incident


def test_sixty_weeks_of_tickets_do_and_fewer_are_refused(tmp_path):
    line = refused(run_here, "simulate.ipynb", tmp_path, ticket_weeks=59)
    assert line.startswith("the tickets need 60 weeks")
    assert not (tmp_path / "data").exists()
