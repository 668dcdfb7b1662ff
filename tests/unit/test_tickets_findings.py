"""What findings of the tickets study say, how they are held against known incidents, and how topics keep who they are."""

import numpy as np
import pandas as pd
import pytest

from nightshift.analysis.tickets import (
    backlog_evidence,
    finding_series,
    first_week,
    growth_evidence,
    growth_words,
    last_week,
    site_of,
    slowest_words,
)
from nightshift.analysis.tickets_truth import excess_words, explained, false_findings, found_by, observed_rates
from nightshift.analysis.tickets_waiting import adjust_p_values, large_groups, panels_of, unused_closed_days, weeks_until
from nightshift.detectors.tickets import LogRank
from nightshift.detectors.tickets_names import ids_of, states_of, stored_names
from nightshift.detectors.tickets_surprises import LEAST, WeeklyTest, judge_weeks

NIGHT = pd.Timestamp("2026-02-01", tz="UTC")


def of_one_unit(by_week, window, expected):
    """One unit whose test is that of the last week only."""
    n = len(by_week)
    row = np.zeros((1, n))
    return WeeklyTest(row, row, row + expected, np.full((1, n), window), np.array(["t001"], object), np.array([by_week], float))


def test_a_growing_topic_begins_and_ends_with_the_weeks_beyond_the_expected_ones():
    found = of_one_unit([2, 2, 2, 9, 9, 1], window=4, expected=10)  # two and a half a week
    assert first_week("growing_topic", found, unit=0, week=5) == 3
    assert last_week(found, unit=0, week=5) == 4
    uncounted = WeeklyTest(found.surprise, found.observed, found.expected, found.window, found.names)
    assert first_week("slow_topic", uncounted, unit=0, week=5) == 2
    assert last_week(uncounted, unit=0, week=5) == 5


def test_what_is_drawn_of_a_finding_is_of_one_week_and_unknown_where_nothing_is_expected():
    found = of_one_unit([2, 2, 2, 9], window=2, expected=0)
    seen, expected = finding_series(found, pd.Series({"kind": "growing_topic", "unit": "tickets per week", "of": 0}))
    assert list(seen) == [2, 2, 2, 9]
    assert np.isnan(expected).all()


@pytest.mark.parametrize(
    ("sites", "site"),
    [(["A"] * 3, "A"), (["A"] * 3 + ["B"] * 3, "A"), (["A"] * 3 + [""] * 4, ""), (["A", "A"], ""), ([], "")],
)
def test_a_finding_names_a_site_when_most_of_its_tickets_do(sites, site):
    found, words = site_of(pd.DataFrame({"site": np.array(sites, object)}))
    assert found == site
    assert bool(words) == bool(site)


def test_the_evidence_counts_weeks_and_users():
    rows = pd.DataFrame({"user": ["a", "b", "b", ""]})
    assert (
        growth_evidence(rows, (4.0, 1.5, 1)).sentence == "4 tickets in the last week from 2 users, 1.5 expected by its share before, and its season"
    )
    nobody = growth_evidence(rows.assign(user=""), (4.0, 8.0, 2))
    assert nobody.sentence.startswith("4 tickets in the last 2 weeks, 8.0 expected")
    assert growth_evidence(rows[:1], (4.0, 1.5, 1)).sentence.startswith("4 tickets in the last week from 1 user, ")
    assert (nobody.observed, nobody.expected, nobody.impact) == (2, 4, 0)


def test_the_wait_of_a_backlog_is_in_the_hours_of_its_clock():
    rows = pd.DataFrame({"open": [True, True, False], "resolution_h": [30.0, 50, 9]})
    sentence = backlog_evidence(rows, (2.0, 1.0, 1), hour="h of work").sentence
    assert sentence.endswith("half of them have waited for 40 h of work or longer")


def test_a_backlog_begins_no_later_than_the_week_in_which_it_is_found():
    alike = of_one_unit([0] * 40, window=1, expected=1)  # no week has a p-value of 0.05 or less
    assert first_week("backlog", alike, unit=0, week=39) == 39


def test_the_headline_says_nothing_that_is_not_known():
    growing = pd.DataFrame({"entity": ["t001: disk", "t002: gpu"]})
    assert growth_words(growing, ["growing_topic"]) == "2 topics above the usual, first t001: disk"
    assert growth_words(growing[:0], ["growing_topic"]) == "No topic grows"
    assert growth_words(growing[:0], ["backlog"]) == "Whether a topic grows cannot be known yet"
    waits = pd.DataFrame({"group": ["t001", "t002"], "median": [50.0, 9], "low": [40.0, 7], "high": [60.0, 12]})
    names = {"called": {"t001": "disk", "t002": "gpu"}, "hour": "h"}
    assert slowest_words(waits, 10, closing_known=True, **names) == "“disk” clearly waits longer than usual, 50.0 h (40.0 to 60.0)"
    assert slowest_words(waits, 45, closing_known=True, **names) == "no topic clearly waits longer than usual"
    assert slowest_words(waits[:1], 45, closing_known=True, **names) == "which topics wait longer than usual is not known"


# --------------------------------------------------------------------------------------------------------------- truth


def week_of(first, last):
    return {"start": NIGHT - pd.Timedelta(days=7 * first), "end": NIGHT - pd.Timedelta(days=7 * last)}


INCIDENTS = pd.DataFrame(
    [
        {"kind": "outage_tickets", "entity": "Disk", **week_of(4, 2)},
        {"kind": "backlog", "entity": "storage", **week_of(4, 2)},
        {"kind": "slow_topic", "entity": "disk", **week_of(4, 2)},
    ]
)


def report(kind, about, first, last):
    return {"kind": kind, "about": about, "name": about, "night": -last, **week_of(first, last)}


def test_a_report_is_right_by_its_cause_its_subject_and_its_weeks():
    reports = pd.DataFrame(
        [
            report("growing_topic", "disk", 3, 1),
            report("growing_topic", "gpu", 3, 1),
            report("growing_topic", "disk", 2, 1),  # begins when the incident ends
            report("backlog", "all queues", 3, 1),
            report("backlog", "computing", 3, 1),
        ]
    )
    right = explained(reports, INCIDENTS)
    assert np.argwhere(right).tolist() == [[0, 0], [3, 1]]
    assert explained(reports[:0], INCIDENTS).shape == (0, 3)
    late = found_by(INCIDENTS, reports, right=right)
    assert list(late.found) == [True, True, False]
    assert list(late.delay_days[:2]) == [21, 21]
    assert false_findings(reports, right).to_dict() == {"growing_topic": 2, "backlog": 1}


def test_a_false_finding_that_stays_for_several_nights_is_one():
    reports = pd.DataFrame([report("backlog", "computing", 30 - night, 30 - night) for night in (1, 2, 3, 7)])
    assert false_findings(reports, np.zeros((4, 0), bool)).to_dict() == {"backlog": 2}


def test_rates_of_earlier_weeks_are_said_where_they_go_beyond_what_is_stated():
    nights = pd.DataFrame({"kind": "backlog", "night": np.arange(400), "p_value": np.where(np.arange(400) % 4, 0.5, 0.04)})
    rates = observed_rates(nights, None, rng=np.random.default_rng(0), resamples=100)
    assert list(rates.observed) == [0.25, 0, 0]
    assert rates.unexplained.isna().all()
    assert excess_words(rates).startswith("backlog 25.00% (")
    assert excess_words(rates.assign(unexplained=0.0)) == ""
    assert excess_words(observed_rates(nights[:0], None, rng=np.random.default_rng(0), resamples=10)) == ""
    first = observed_rates(nights[:7], None, rng=np.random.default_rng(0), resamples=100)  # of one stretch, whose weeks share their luck
    assert first[["observed", "low", "high"]].to_numpy()[0].tolist() == [2 / 7, 0, 1]
    assert excess_words(first) == ""


# --------------------------------------------------------------------------------------------------------------- weeks


def test_weeks_end_with_the_night():
    created = pd.Series(NIGHT - pd.to_timedelta([0, 6.9, 7.1, 20], unit="D"))
    week, ends = weeks_until(created, NIGHT)
    assert list(week) == [2, 2, 1, 0]
    assert list(ends) == [NIGHT - pd.Timedelta(days=14), NIGHT - pd.Timedelta(days=7), NIGHT]
    week, ends = weeks_until(pd.Series([pd.NaT], dtype="datetime64[us, UTC]"), NIGHT)
    assert len(week) == 1
    assert not len(ends)


def test_weeks_are_judged_where_half_a_year_is_behind_them():
    counts = np.random.default_rng(1).poisson(30, 2 * LEAST + 10).astype(float)
    counts[-3] = 120
    judged = judge_weeks(counts, false_discovery_rate=0.05)
    assert list(judged.odd) == [len(counts) - 3]
    assert list(judged.judged) == list(range(LEAST, len(counts)))
    assert np.isnan(judged.expected[:LEAST]).all()
    for few in (0, 5, LEAST + 3):
        assert not len(judge_weeks(counts[:few], false_discovery_rate=0.05).judged)


def test_closed_days_that_change_nothing_are_said():
    span = (NIGHT - pd.Timedelta(days=40), NIGHT)
    sentence = unused_closed_days(*span, closed_days=["05-01"], timezone="Europe/Berlin")
    assert sentence == "None of the closed_days (05-01) lies between 2025-12-23 and 2026-02-01: they change nothing yet."
    assert unused_closed_days(*span, closed_days=["05-01", "12-24 to 01-01"], timezone="Europe/Berlin") == ""
    assert unused_closed_days(*span, closed_days=[], timezone="Europe/Berlin") == ""


def test_only_groups_of_enough_tickets_are_drawn():
    rows = pd.DataFrame({"priority": ["high"] * 4 + ["low"] * 2, "department": ["math"] * 3 + ["unknown"] * 3, "resolution_seen": True})
    rows["response_seen"] = False
    assert large_groups(rows, "department", 3) == ["math"]
    topics = pd.DataFrame({"group": [f"t{i}" for i in range(8)]})
    panels = panels_of(rows, priorities=["low", "high"], topics=topics, least=3)
    assert panels == [
        ("priority", "resolution", ["high"]),
        ("department", "resolution", ["math"]),
        ("topic", "resolution", ["t0", "t1", "t2", "t5", "t6", "t7"]),
    ]


def test_only_tests_that_could_be_made_are_adjusted():
    made = {"a": LogRank(0.01, "", []), "b": LogRank(np.nan, "why", []), "c": LogRank(0.5, "", [])}
    assert adjust_p_values(made) == {"a": 0.02, "c": 0.5}
    assert adjust_p_values({"b": made["b"]}) == {}


# -------------------------------------------------------------------------------------------------------------- topics


def test_a_number_is_never_given_twice():
    assert list(ids_of(np.array([1, -1, 0, -1]), ["t003", "t009"], taken=["t003", "t009", "t011"])) == ["t009", "t012", "t003", "t013"]
    assert list(ids_of(np.array([-1]), [], taken=[])) == ["t001"]


def test_a_topic_grows_when_it_takes_more_of_the_new_tickets_than_it_had():
    topic = np.repeat([0, 1, 2, -1], [40, 40, 5, 3])
    states = states_of(np.array([0, 1, -1]), topic, sizes_before=np.array([10, 90]), is_fresh=np.ones(88, bool))
    assert states == ["growing", "shrinking", "new"]
    assert states_of(np.array([0, 1, -1]), topic, sizes_before=np.array([10, 90]), is_fresh=np.zeros(88, bool))[:2] == ["steady"] * 2


def test_of_three_new_tickets_all_make_a_topic_of_a_tenth_grow_and_two_do_not():
    """Three of three have a chance of 0.001, two or more of 0.028."""
    for topic, states in (([0, 0, 1], ["steady", "steady"]), ([0, 0, 0], ["growing", "shrinking"])):
        assert states_of(np.array([0, 1]), np.array(topic), sizes_before=np.array([1, 9]), is_fresh=np.ones(3, bool)) == states


def test_a_name_stays_while_half_of_its_keywords_do_and_all_may_be_shown():
    present = pd.DataFrame({"name": ["disk, full", "gpu, idle"], "keywords": [["disk", "full", "quota", "home"], ["gpu", "idle"]]})
    keywords = [["disk", "full", "scratch"], ["gpu", "busy", "slow"], ["login"]]
    match, words = np.array([0, 1, -1]), ["disk", "full", "gpu", "idle", "busy"]
    assert stored_names(match, keywords, present=present, words=words) == ["disk, full", "gpu, idle", ""]
    assert stored_names(match, keywords, present=present, words=["disk"]) == ["", "", ""]
    assert stored_names(match, [["disk"], ["x"], []], present=present, words=words) == ["", "", ""]
    of_three = pd.DataFrame({"name": ["gpu"], "keywords": [["gpu", "idle", "busy"]]})
    for keywords, name in ((["gpu", "slow"], ""), (["gpu", "busy"], "gpu")):
        assert stored_names(match[1:2] - 1, [keywords], present=of_three, words=["gpu"]) == [name]
