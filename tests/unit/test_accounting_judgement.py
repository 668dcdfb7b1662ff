"""What the pages of the accounting say beside the findings: known incidents, normal weeks, doubts, sites that changed, what matters more."""

import numpy as np
import pandas as pd
import pytest

from nightshift.analysis.accounting import changes_by_site, find_events, follow_losses
from nightshift.analysis.accounting_importance import with_priorities
from nightshift.analysis.accounting_quality import UNMEASURED, alarms_outside, doubts_about, method_in_use, read_incidents, weeks_outside
from nightshift.analysis.accounting_wording import described, finding_at, silent_source_words, table_to_read
from nightshift.detectors.accounting import SeriesGrid
from nightshift.sources.accounting.steps import WEEK
from nightshift.statistics import check_shares

WEEKS = pd.date_range("2025-06-02", periods=30, freq="7D", tz="UTC")
BEGIN, END = WEEKS[-3], WEEKS[-1] + pd.Timedelta(days=7)


@pytest.fixture
def scored():
    """Two VOs at two sites with their totals, three judged weeks each, all of the first week flagged."""
    names = [(site, vo) for site in ("S", "T", "") for vo in ("a", "b", "") if site or vo]
    rows = [(site, vo, week) for site, vo in names for week in WEEKS[-3:]]
    scored = pd.DataFrame(rows, columns=["site", "vo", "week"])
    return scored.assign(flagged=scored.week == BEGIN)


def test_incidents_of_other_studies_and_times_are_left_out_and_old_ones_are_marked(tmp_path):
    hours = pd.Timedelta(hours=1)
    rows = {
        "new": ("silent", BEGIN, END),
        "half a week before": ("site_outage", BEGIN - 84 * hours, BEGIN + hours),
        "older": ("more_jobs", BEGIN - 85 * hours, BEGIN + hours),
        "over": ("drop", WEEKS[0], BEGIN),
        "later": ("drop", END, END + hours),
        "another study": ("slow_link", BEGIN, END),
    }
    table = pd.DataFrame([(name, *row, "a at S", None) for name, row in rows.items()], columns=["incident", "kind", "start", "end", "entity", "site"])
    table.to_csv(tmp_path / "truth.csv", index=False)
    incidents = read_incidents(str(tmp_path / "truth.csv"), None, begin=BEGIN, end=END)
    assert dict(zip(incidents.incident, incidents.new, strict=True)) == {"new": True, "half a week before": True, "older": False}
    assert set(incidents.site) == {""}
    assert str(incidents.start.dt.tz) == "UTC"
    assert len(read_incidents("", None, begin=BEGIN, end=END)) == 0


@pytest.mark.parametrize(
    ("entity", "site", "touched"),
    [
        ("a at S", "S", {("S", "a"), ("S", ""), ("", "a")}),
        ("S", "S", {("S", "a"), ("S", "b"), ("S", ""), ("", "a"), ("", "b")}),
        ("b", "", {("S", "b"), ("T", "b"), ("", "b"), ("S", ""), ("T", "")}),
        ("b", "T", {("T", "b"), ("T", ""), ("", "b")}),  # a VO that moved away from a site
    ],
)
def test_what_an_incident_touches_is_its_series_and_their_totals_meanwhile(scored, entity, site, touched):
    incidents = pd.DataFrame({"entity": [entity], "site": [site], "start": [WEEKS[-2]], "end": [END]})
    normal = weeks_outside(scored, incidents, pd.DataFrame(), {"S", "T"})
    inside = scored.drop(index=normal.index)
    assert set(zip(inside.site, inside.vo, strict=True)) == touched
    assert set(inside.week) == set(WEEKS[-2:])
    assert alarms_outside(0.5, normal, incidents).items == "series-weeks outside the known incidents"


def test_without_known_incidents_what_belongs_to_a_finding_is_not_normal(scored):
    findings = pd.DataFrame({"site": ["S"], "vo": ["a"]})
    normal = weeks_outside(scored, pd.DataFrame(), findings, {"S", "T"})
    inside = scored.drop(index=normal.index)
    assert set(zip(inside.site, inside.vo, strict=True)) == {("S", "a"), ("S", ""), ("", "a")}
    alarms = alarms_outside(0.3, normal, pd.DataFrame())
    assert (alarms.stated, alarms.n_flagged, alarms.n) == (0.3, 5, 15)
    assert alarms.sentence.endswith("of 15 series-weeks that belong to no finding: as stated.")


def model(name, merit, low, high, *, in_use=False):
    return {"name": name, "baseline_name": "robust_z", "model": merit, "skill_low": low, "skill_high": high, "in_use": in_use}


def test_what_does_better_than_the_method_in_use_is_a_doubt_beyond_its_interval_only():
    models = [model("combined", 0.5, 0.1, 0.3, in_use=True), model("isolation_forest", 0.6, 0.3, 0.5), model("method_2021", 0.8, 0.4, 0.9)]
    in_use = method_in_use(models)
    assert doubts_about(in_use, models) == [
        "Accounting: method 2021 found 80% of the injected troubles, combined, which scores, only 50%; the difference is beyond its interval."
    ]
    baseline = model("robust_z_and_first_silences", 0.4, 0.0, 0.0, in_use=True)
    assert doubts_about(baseline, [baseline]) == [
        "Accounting: no model is better than its best baseline beyond its interval, so this night is scored by robust z and first silences."
    ]
    assert method_in_use([]) == UNMEASURED
    assert doubts_about(UNMEASURED, []) == []


def test_sites_are_listed_by_how_much_they_changed_against_their_usual():
    hours = {("S", "a"): [100] * 27 + [10] * 3, ("S", "b"): [50] * 30, ("T", "a"): [20] * 27 + [50] * 3, ("U", "a"): [7] * 30}
    rows = [(*who, week, x) for who, xs in hours.items() for week, x in zip(WEEKS, xs, strict=True)]
    clean = pd.DataFrame(rows, columns=["site", "vo", "week", "core_hours"])
    table = changes_by_site(clean, WEEKS, n_judged=3, n=2)
    numbers = {"site": ["S", "T"], "now": [60, 50], "usual": [150, 20], "difference": [-90, 30]}
    assert table.to_dict("list") == numbers | {"vo": ["a", "a"], "idle": [0, 0]}
    gone = changes_by_site(clean[clean.week < BEGIN], WEEKS, n_judged=3)
    assert gone.now.tolist() == [0, 0, 0]  # a week without a row counts as nothing
    new = changes_by_site(clean, WEEKS[-3:], n_judged=3)
    assert new.now.tolist() == [60, 50, 7], "without a week before nothing is usual, and all is shown"


def test_a_site_that_changed_much_is_told_with_its_finding_or_why_it_has_none():
    hours = {("S", "a"): [100] * 20 + [0] * 4 + [100] * 3 + [0] * 3, ("T", "a"): [70] * 30, ("U", "b"): [7] * 27 + [1] * 3}
    rows = [(*who, week, x) for who, xs in hours.items() for week, x in zip(WEEKS, xs, strict=True)]
    by_site = changes_by_site(pd.DataFrame(rows, columns=["site", "vo", "week", "core_hours"]), WEEKS, n_judged=3)
    assert by_site[["site", "vo", "idle"]].values.tolist() == [["S", "a", 4], ["U", "b", 0], ["T", "a", 0]]
    found = pd.DataFrame({"site": ["U", ""], "kind": ["drop", "global_dip"], "entity": ["b at U", "c"], "sites": [None, "T, V"]})

    def finding_words(found):
        return [finding_at(site, found, step=WEEK) for site in by_site.itertuples()]

    burst = "none: a, which makes most of it, computed nothing in 4 of the 26 weeks before, too"
    assert finding_words(found.assign(status="reported")) == [burst, "drop of b at U", "dip of c"]
    by_chance = "none: what was flagged is no rarer than chance allows"
    assert finding_words(found.assign(status="by chance")) == [burst, by_chance, by_chance]
    assert finding_words(found[:0].assign(status=""))[2] == "none: no series of the site is strange by itself"


def test_what_is_back_after_more_than_the_long_window_has_nothing_as_its_usual():
    """A baseline flags such a week, of which no trailing window knows an active one: its hours are all gained."""
    weeks = pd.date_range("2025-01-06", periods=71, freq="7D", tz="UTC")
    hours = np.r_[np.full(30, 100.0), np.zeros(26), 500.0]  # after half a year of silence the series has ended
    clean = pd.DataFrame({"site": "S", "vo": "a", "week": [*weeks[:56], weeks[-1]], "core_hours": hours})
    grid = SeriesGrid.of_table(clean.assign(wall_hours=hours, cpu_hours=hours, jobs=hours))
    scored = pd.DataFrame({"row": [0], "week": weeks[-1:], "test": "robust_z", "score": 9.0, "p_value": 1e-4, "flagged": True})
    found = described(grid, follow_losses(grid, [], find_events(grid, scored, n_judged=3)))
    assert found[["kind", "expected", "change_hours"]].to_numpy().tolist() == [["returned", 0, 500]]
    assert found.evidence[0].startswith("back after 40 silent weeks with 500 core hours a week, usually 0 (0 to 0)")


def test_what_matters_more_moves_up_and_other_jobs_for_as_many_hours_come_last():
    found = pd.DataFrame({"site": ["S", "T", "S"], "vo": ["a", "a", ""], "kind": ["drop", "surge", "longer_jobs"], "start": 1, "end": 2})
    found = found.assign(change_hours=[-10.0, 20.0, 0.0], observed=[1.0, 2.0, 300.0])
    assert with_priorities(found, {"s": 3, "A": 2})[["impact", "priority"]].to_numpy().tolist() == [[10, 60], [20, 40], [600, 0]]
    assert with_priorities(found, None).priority.tolist() == [10, 20, 0]


@pytest.mark.parametrize("wrong", [0, 1, -0.1, np.nan, np.inf])
def test_a_share_that_is_none_is_refused_by_name(wrong):
    check_shares(first=0.5, second=1e-9)
    with pytest.raises(ValueError, match=rf"^second is {wrong}: it must lie between 0 and 1$"):
        check_shares(first=0.5, second=wrong)


@pytest.mark.parametrize(
    ("state", "sites", "sentences"),
    [
        ("ok", ["S"], []),
        ("stale", ["S", "T"], []),
        ("stale", ["", "S"], ["S has been silent for 20 days, since 2006-01-16 19:29 UTC: the whole site, or only its accounting?"]),
        ("stale", [], []),
    ],
)
def test_the_end_of_a_source_with_one_site_is_the_silence_of_that_site(state, sites, sentences):
    status = {"state": state, "newest": "2006-01-16 19:29:52+00:00"}
    assert silent_source_words(status, sites, "2006-02-05") == sentences


def test_a_table_to_read_says_once_since_when():
    begin, end = pd.Timestamp("2026-01-12", tz="UTC"), pd.Timestamp("2026-01-26", tz="UTC")
    found = {"status": ["kept", "kept"], "kind": ["drop", "longer_jobs"], "entity": ["a at B", "c at D"], "change_hours": [-1200.4, 7.0]}
    found |= {"from": begin, "until": end, "evidence": ["848 core hours a week; 1,200 lost; since 2026-01-12", "13 h per job; since 2026-01-12"]}
    table = table_to_read(pd.DataFrame(found), "kept")
    assert table.evidence.tolist() == ["848 core hours a week; 1,200 lost", "13 h per job"]
    assert table["core hours"].tolist() == ["-1,200", ""]
    assert table.until.astype(str).str[:10].tolist() == ["2026-01-25"] * 2
    assert table.since.tolist() == [begin] * 2
    nothing = table_to_read(pd.DataFrame(found | {"evidence": [float("nan")] * 2}), "by chance")
    assert (len(nothing), list(nothing)) == (0, ["kind", "entity", "since", "until", "core hours", "evidence"])
