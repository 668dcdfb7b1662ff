"""The troubles that are known, which findings show them, and how well a digest agrees with them."""

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from scipy import stats

from nightshift.backtest_scores import (
    NOTHING,
    alone,
    by_site_and_day,
    chain_findings,
    finite_or_none,
    found_by_strength,
    kinds_in_words,
    last_reports,
    measure_digest,
    median_delay,
    rate_figure,
    share_figure,
    troubles_of_mixed,
    verdict,
    when_told,
    with_interval,
)
from nightshift.statistics import poisson_interval
from nightshift.truth import (
    first_report,
    hits_of_incidents,
    intents_of,
    join_troubles,
    parts_of,
    read_intent_words,
    same_thing,
    trouble_kinds,
)


def at(text):
    return pd.Timestamp(text, tz="UTC")


def test_a_name_is_that_before_the_colon_and_names_its_parts():
    name, parts = parts_of("Quarry at DELTA-T1: CPU, wall")
    assert (name, parts) == ("quarry at delta-t1", {"quarry at delta-t1", "quarry", "delta-t1"})
    assert "harbor-t2" in parts_of("HARBOR-T2_DATADISK -> EMBER-T2_TAPE")[1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("HARBOR-T2_DATADISK", "HARBOR-T2", True),
        ("HARBOR-T2", "harbor-t2_datadisk: slow", True),
        ("HARBOR-T2_DATADISK", "EMBER-T2", False),
        ("", "", False),
    ],
)
def test_things_are_the_same_where_one_is_a_part_of_the_other(one, other, same):
    assert same_thing(one, other) is same_thing(other, one) is same


def test_a_topic_is_about_the_intents_with_most_of_its_words():
    words = {"down": {"cluster", "down", "login"}, "python": {"conda", "pip", "login"}}
    assert intents_of("t001: cluster, down, login", words) == {"down"}
    assert intents_of("t001: conda, cluster", words) == set()  # one word each
    assert intents_of("t001: conda, pip", {}) == set()
    assert len(read_intent_words(REPOSITORY / "notebooks/tickets/phrases.yaml")) > 5


@pytest.mark.parametrize(
    ("start", "reports_after", "end"),
    [
        ("2026-01-06 10:00", "day", "2026-01-07"),
        ("2026-01-06 10:00", "week", "2026-01-13 10:00"),
        ("2026-01-06 10:00", "calendar_week", "2026-01-12"),  # a Tuesday: its week is that of 5 January
        ("2026-01-09 10:00", "calendar_week", "2026-01-19"),  # a Friday: most of its first week is in the next one
    ],
)
def test_a_study_can_report_at_the_end_of_what_it_waits_for(start, reports_after, end):
    assert first_report(at(start), reports_after) == at(end)


def test_every_trouble_of_the_catalog_says_what_shows_it():
    kinds = trouble_kinds()
    assert {"study", "reports_after", "shown_by", "shown_at_site", "stronger_is_higher"} <= set(kinds)
    assert set(kinds.reports_after) <= {"day", "week", "calendar_week"}


def test_troubles_with_a_cause_and_idle_gpus_that_overlap_are_one_incident():
    rows = [
        ("I1", "site_outage", "", "A", "2026-01-05", "2026-01-06"),
        ("I2", "outage_tickets", "I1", "A", "2026-01-05", "2026-01-06"),
        ("I3", "idle_gpu", "", "B", "2026-01-05", "2026-01-07"),
        ("I4", "idle_gpu", "", "B", "2026-01-06", "2026-01-08"),
        ("I5", "idle_gpu", "", "B", "2026-01-10", "2026-01-11"),
        ("I6", "idle_gpu", "", "C", "2026-01-06", "2026-01-08"),
    ]
    troubles = pd.DataFrame(rows, columns=["incident", "kind", "cause", "site", "start", "end"])
    troubles[["start", "end"]] = troubles[["start", "end"]].apply(pd.to_datetime, utc=True)
    joined = join_troubles(troubles)
    assert list(joined) == ["I1", "I1", "I3", "I3", "I5", "I6"]
    names, hits = hits_of_incidents(np.eye(6, dtype=bool), joined)
    assert names == ["I1", "I3", "I5", "I6"]
    assert hits.argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 3]
    names, hits = hits_of_incidents(np.zeros((3, 0), bool), joined.head(0))
    assert (names, hits.shape) == ([], (3, 0))


FINDINGS = pd.DataFrame(
    [
        ("transfers", "slow", "A_DISK: 1", "A", "2026-01-05 03:00", "2026-01-05 23:00"),
        ("tickets", "topic", "t1: down", "A", "2026-01-05 06:00", "2026-01-07 00:00"),
        ("transfers", "slow", "A_DISK: 2", "A", "2026-01-06 20:00", "2026-01-06 22:00"),
        ("transfers", "slow", "B_DISK", "", "2026-01-06 20:00", "2026-01-06 22:00"),
    ],
    columns=["study", "kind", "entity", "site", "start", "end"],
)
FINDINGS[["start", "end"]] = FINDINGS[["start", "end"]].apply(pd.to_datetime, utc=True)


def test_trivial_digests_join_by_name_or_by_site():
    assert chain_findings(FINDINGS, ["study"], pd.Timedelta(0)).nunique() == 3
    assert alone(FINDINGS).nunique() == 3  # the first and the third have one name, and are less than a day apart
    assert by_site_and_day(FINDINGS).nunique() == 2


def test_a_digest_is_measured_by_what_its_incidents_hold():
    hits = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], bool)
    figures, judged = measure_digest(["x", "x", "x", "y"], FINDINGS, hits)
    assert figures == {"incidents": 2, "right": 1, "false": 1, "mixed": 1, "several": 1, "merged": 1, "pieces": 1.0}
    assert judged.mixed.to_dict() == {"x": True, "y": False}
    apart = measure_digest(["x", "y", "z", "z"], FINDINGS, hits)[0]
    assert (apart["merged"], apart["pieces"], apart["mixed"]) == (0, 2.0, 0)
    nothing = measure_digest([], FINDINGS.head(0), hits[:0])[0]
    assert (nothing["incidents"], nothing["several"]) == (0, 0)
    assert np.isnan(nothing["pieces"])


def test_figures_have_the_intervals_of_their_sources():
    wilson = stats.binomtest(6, 7).proportion_ci(method="wilson")
    assert share_figure(6, 7) == pytest.approx((6 / 7, wilson.low, wilson.high), abs=1e-12)
    assert share_figure(0, 0) == median_delay(pd.Series(dtype=float), rng=None, resamples=9) == NOTHING
    assert poisson_interval(0) == pytest.approx((0, 3.6889), abs=1e-4)
    assert poisson_interval(10) == pytest.approx((4.7954, 18.3904), abs=1e-4)
    assert rate_figure(10, 5) == pytest.approx((2, 4.7954 / 5, 18.3904 / 5), abs=1e-4)
    late = median_delay(pd.Series([1.0, np.nan, np.nan]), rng=np.random.default_rng(1), resamples=50)
    assert (late[0], finite_or_none(late)) == (np.inf, [None, 1.0, None])


def test_figures_in_words():
    assert [verdict("delay", (value, 0, 9), 1) for value in (1, 2, np.nan)] == ["yes", "no", "not measured"]
    assert [verdict("recall", (value, 0, 1), 0.8) for value in (0.8, 0.7)] == ["yes", "no"]
    assert (with_interval((6 / 7, 0.487, 0.974)), with_interval(NOTHING)) == ("0.86 (0.49 to 0.97)", "nothing to measure")
    assert (kinds_in_words(["slow_link", "surge", "surge"]), kinds_in_words([])) == ("surge 2, slow link 1", "none")


def test_the_stronger_half_of_a_dip_is_that_with_the_smaller_factor():
    some = pd.DataFrame({"strength": [0.1, 0.2, 0.8, 0.9], "found": [True, True, False, True]})
    assert found_by_strength(some, stronger_is_higher=False) == ("2 of 2", "1 of 2")
    assert found_by_strength(some, stronger_is_higher=True) == ("1 of 2", "2 of 2")
    assert found_by_strength(some.assign(strength=1.0), stronger_is_higher=True) == ("", "")


def test_a_study_has_reported_on_a_night_with_which_its_data_end():
    nights = {"2026-01-05": {"studies": {"tickets": "2026-01-05"}}, "2026-01-06": {"studies": {"tickets": "2026-01-05", "transfers": "2026-01-06"}}}
    last = last_reports(nights, {"tickets", "transfers", "accounting"})
    assert (last["tickets"], last["transfers"]) == (at("2026-01-06"), at("2026-01-07"))
    assert last["accounting"] < at("1900-01-01")


def test_a_trouble_is_told_on_the_night_of_its_first_finding_and_mixed_incidents_name_theirs():
    starts = [at("2026-01-05 23:00"), at("2026-01-06")]
    true_incidents = pd.DataFrame({"kind": ["drop", "surge"], "entity": ["a", "b"], "start": starts}, index=["I1", "I2"])
    findings = pd.DataFrame({"incident": ["x", "x", "y"], "seen": ["2026-01-07", "2026-01-06", "2026-01-06"]})
    hits = np.array([[True, False], [True, False], [False, False]])
    told_when = when_told(true_incidents, findings, hits)
    assert (told_when.shown["I1"], told_when.delay["I1"]) == (at("2026-01-06"), 1.0)  # nights count from the day of the start
    assert told_when.found.tolist() == [True, False]
    assert pd.isna(told_when.delay["I2"])
    both = np.array([[True, False], [False, True], [False, False]])
    assert troubles_of_mixed(["x", "y"], findings, both, true_incidents=true_incidents) == ["drop a, surge b", ""]
    assert troubles_of_mixed([], findings, both, true_incidents=true_incidents) == []
