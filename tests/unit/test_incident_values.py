"""Edges of what makes an incident, by hand and on both sides: parts in time, ends, growth, points of its place, labels of its picture."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_incidents import LIMITS, SCALES, WEIGHTS, at, finding, table, told_by_studies

from nightshift import catalog
from nightshift.incidents import chance, figures
from nightshift.incidents.correlation import (
    attach_losses,
    correlate_findings,
    describe_findings,
    hours_of,
    hours_shared,
    is_retrospective,
    match_retrospective,
    pairs_alike,
    same_entity,
    same_place,
    within_gap,
)
from nightshift.incidents.figures import LONGEST_LABEL, MAX_BARS, bar_labels, plot_bar, plot_strip, show_strip
from nightshift.incidents.ranking import MAX_ADVISED, amounts_in_words, listed_points, needs_advice, rank_incidents, standing_in_words
from nightshift.incidents.silences import apply_silences, lift_silence, read_recorded, read_silences, record_silence
from nightshift.incidents.summary import add_impacts, combine_p_values, impact_text, largest_of_parts, states_of, summarise_incidents
from nightshift.incidents.tracking import (
    continued,
    ended_unwatched,
    growth,
    ids_of_earlier_run,
    match_identities,
    new_incident_id,
    row_continued,
    rows_gone,
    seen_after,
    with_older,
)
from nightshift.incidents.wording import incident_sentence, severities_in_words, sites_of, when_in_words, where_in_words


def part(first_h, last_h, impact):
    return {"first_h": first_h, "last_h": last_h, "impact": impact}


def test_of_findings_that_overlap_the_largest_counts_and_of_those_that_touch_both():
    assert largest_of_parts([part(0, 2, 5.0), part(1, 9, 3.0), part(8, 9, 4.0), part(9, 10, 7.0)]) == 5 + 7
    assert largest_of_parts([part(0, 9, 5.0), part(1, 2, 3.0), part(8, 9, 6.0)]) == 6
    assert largest_of_parts([part(np.nan, np.nan, 5.0), part(np.nan, np.nan, 6.0)]) == 6, "unknown times overlap"


def test_what_nobody_can_say_in_numbers_or_in_a_unit_is_no_impact():
    found = table(finding("slow_source", "A_DISK", "A", 1, 3, impact=np.nan), finding("gremlins", "x", "A", 1, 3, impact=5.0))
    assert found.impact_unit.tolist() == ["", "GB delayed"]
    assert add_impacts(found.to_dict("records")) == []


@pytest.mark.parametrize(("sites", "site"), [(["A", "B", "B"], "B"), (["A", "B"], "A"), (["", "", "B"], "B"), (["", ""], "")])
def test_an_incident_is_at_the_site_of_most_of_its_findings_and_of_equals_at_the_first(sites, site):
    found = table(*[finding("memleak", f"n{n}", place, at(1, n), at(2)) for n, place in enumerate(sites)])
    assert summarise_incidents(found, [0] * len(sites)).site.tolist() == [site]


def test_p_values_are_combined_within_what_can_be_told():
    assert combine_p_values([]) == 1
    assert combine_p_values([0.03]) == pytest.approx(0.03)
    assert combine_p_values([1.0]) == combine_p_values([0.99]) == pytest.approx(0.99)
    assert combine_p_values([0.0]) == combine_p_values([1e-300])


def test_an_amount_has_three_figures_below_a_hundred_and_none_behind_the_point_above():
    def said(*values, unit="GB delayed"):
        return impact_text([{"study": "transfers", "value": value, "unit": unit} for value in values])

    assert [said(99.96), said(99.94), said(100.4), said(1.2345)] == ["100 GB delayed", "99.9 GB delayed", "100 GB delayed", "1.23 GB delayed"]
    assert said(60, 60) == "120 GB delayed"
    assert [said(1, unit="nodes"), said(2, unit="nodes")] == ["1 node", "2 nodes"]
    assert said() == ""


@pytest.mark.parametrize(
    ("kind", "end", "newest", "has_ended", "was_seen"),
    [
        ("slow_source", at(8, 18), None, True, True),  # six hours before the night's end
        ("slow_source", at(8, 19), None, False, True),
        ("slow_source", at(8), None, True, False),  # a day before
        ("slow_source", at(8, 1), None, True, True),
        ("slow_source", at(8), at(8, 6), True, True),  # the source knows six hours more
        ("slow_source", at(8), at(8, 5), False, True),
        ("drop", at(2), None, True, False),  # a week before
        ("drop", at(3), None, False, False),
        ("drop", at(2), at(8, 23), True, False),  # of a weekly source its whole last day is known
        ("drop", at(2), at(7, 23), False, False),
    ],
)
def test_what_has_ended_is_told_by_hours_or_by_a_week(kind, end, newest, has_ended, was_seen):
    found = table(finding(kind, "A_DISK", "A", at(1), end))
    newest_of = {found.study[0]: newest} if newest is not None else None
    ended, seen = states_of(found, 6.0, newest_of)
    assert (bool(ended[0]), bool(seen[0])) == (has_ended, was_seen)


def test_findings_that_are_kept_know_of_their_night_whatever_the_source_says_now():
    found = table(finding("slow_source", "A_DISK", "A", at(1), at(8))).assign(kept=True)
    assert states_of(found, 6.0, {"transfers": at(8, 1)})[0].tolist() == [True]


def test_an_incident_is_as_long_as_its_findings_and_benign_only_if_all_are():
    rows = [finding("slow_source", "A_DISK", "A", at(7), at(8, 3)), finding("failing_source", "A_DISK", "A", at(7, 20), None)]
    found = table(*rows)
    made = summarise_incidents(found.assign(benign=[True, False]), [0, 0])
    assert (made.start[0], made.end[0]) == (at(7), at(8, 3))
    assert made.benign.tolist() == [False]
    assert made.kinds[0] == ["slow_source", "failing_source"]
    assert summarise_incidents(found.assign(benign=True), [0, 1]).benign.tolist() == [True, True]


# ------------------------------------------------------------------------------------------------------------- tracking


@pytest.mark.parametrize(
    ("kind", "last", "told_late", "seen"),
    [
        ("slow_source", at(8, 1), False, True), ("slow_source", at(8), False, False), ("slow_source", at(7, 23), False, False),
        ("drop", at(15), False, True), ("drop", at(14, 23), False, False), ("slow_source", at(15, 1), True, True),
        ("slow_source", at(14), True, False),
    ],
)  # fmt: skip
def test_a_finding_of_a_week_was_there_after_an_end_if_it_ends_a_week_later(kind, last, told_late, seen):
    assert seen_after(at(8), table(finding(kind, "A", "A", at(1), last), night=20), told_late) == seen


def test_growth_is_by_day_and_of_less_than_a_day_by_a_whole_one():
    def costing(hours, *values):
        impacts = [{"study": study, "unit": "GB", "value": value} for study, value in zip("ab", values, strict=False)]
        return pd.DataFrame({"first_h": [0.0], "last_h": [hours]}), impacts

    assert growth(costing(48, 40.0), costing(24, 10.0)) == {"GB": 2.0}
    assert growth(costing(12, 40.0), costing(6, 10.0)) == {"GB": 4.0}
    assert growth(costing(24, 40.0, 10.0), costing(24, 20.0, 2.0)) == {"GB": 5.0}
    assert growth(costing(24, 40.0), costing(24, 0.0)) == growth(costing(24, 40.0), costing(np.nan, 1.0)) == {}
    assert growth(costing(24, 5.0), costing(24, 10.0)) == {"GB": 0.5}


def then(**more):
    return SimpleNamespace(
        **{"ended": False, "state": "new", "studies": ["transfers"], "age_nights": 3, "end": at(7), "impacts": [], "change": ""} | more
    )


@pytest.mark.parametrize(("n_gb", "state", "change"), [(15.0, "escalated", "1.5 times as many GB delayed a day"), (14.0, "ongoing", "")])
def test_an_incident_escalates_from_the_factor_on(n_gb, state, change):
    def impacts(value):
        return [{"study": "transfers", "unit": "GB delayed", "value": value}]

    found = table(finding("slow_source", "A_DISK", "A", at(8), at(9)))
    one = {"studies": ["transfers"], "ended": False, "impacts": impacts(n_gb)}
    assert continued(one, then(impacts=impacts(10.0)), found, found, 1.5) == {"state": state, "age_nights": 4, "change": change}
    ended = continued(one | {"ended": True}, then(impacts=impacts(10.0)), found, found, 1.5)
    assert ended == {"state": "resolved", "age_nights": 3, "change": ""}
    kept = continued(one, then(), found.assign(kept=True), found, 1.5)
    as_it_was = {"state": "ongoing", "ended": False, "age_nights": 3, "change": "as it was, since there is no news of transfers"}
    assert kept == as_it_was
    assert continued(one | {"ended": True}, then(), found.assign(kept=True), found, 1.5) == as_it_was, "no news is no end"
    also = continued(one | {"studies": ["accounting", "transfers"]}, then(), found, found, 1.5)
    assert also == {"state": "escalated", "age_nights": 4, "change": "now also seen by accounting"}


def test_what_had_ended_is_back_only_if_it_was_there_after_its_end():
    one, over = {"studies": ["transfers"], "ended": False, "impacts": []}, then(ended=True, state="closed")
    found = table(finding("slow_source", "A_DISK", "A", at(6), at(7)))
    assert continued(one, over, found, found, 1.5) == {"state": "closed", "age_nights": 3, "change": "", "ended": True, "end": at(7)}
    found = table(finding("slow_source", "A_DISK", "A", at(6), at(7, 1)))
    assert continued(one, over, found, found, 1.5) == {"state": "escalated", "age_nights": 4, "change": "it is back"}


@pytest.mark.parametrize(
    ("end", "first", "last", "state", "change"),
    [
        (at(7, 9), at(8, 4), at(8, 10), "escalated", "it is back"), (at(7), at(6), at(8, 1), "escalated", "it is back"),
        (at(7, 9), at(7, 20), at(7, 23), "escalated", "it is back"), (at(7, 9), at(7, 10), at(7, 15), "closed", ""),
        (at(5), at(5, 20), at(6, 20), "closed", ""), (pd.NaT, at(8, 4), at(8, 10), "closed", ""),
    ],
)  # fmt: skip
def test_what_came_back_of_late_is_news_though_it_has_ended_once_more(end, first, last, state, change):
    found = table(finding("slow_source", "A_DISK", "A", first, last))  # of the night of the 8th
    found["night_h"] = hours_of(found.night)
    one = {"studies": ["transfers"], "ended": True, "impacts": []}
    row = continued(one, then(ended=True, state="closed", end=end), found, found, 1.5)
    assert (row["state"], row["change"], row.get("ended")) == (state, change, None)
    weekly = continued(one, then(ended=True, state="closed", end=end), found.assign(cadence="week"), found, 1.5)
    assert weekly["state"] == "closed", "of a weekly source nobody knows the day"


@pytest.mark.parametrize(
    ("last", "state", "change"), [(at(8), "closed", "now also seen by telemetry"), (at(14, 1), "escalated", "it is back; now also seen by telemetry")]
)
def test_a_study_that_did_not_know_what_had_ended_may_name_a_whole_week_of_it(last, state, change):
    one, found = {"studies": ["telemetry"], "ended": False, "impacts": []}, table(finding("silent", "A", "A", at(6), last, study="telemetry"))
    row = continued(one, then(ended=True, state="closed"), found, found, 1.5)
    assert (row["state"], row["change"]) == (state, change)


@pytest.mark.parametrize(
    ("start", "n_gb", "shown"), [(at(1), 60.0, (at(1), "60 GB")), (at(2), 9.0, (at(1), "50 GB")), (at(0), 70.0, (at(0), "70 GB"))]
)
def test_what_is_closed_stays_as_it_was_where_its_source_has_forgotten_how_it_began(start, n_gb, shown):
    found = table(finding("slow_source", "A_DISK", "A", start, at(2, 3)))
    found["night_h"] = hours_of(found.night)
    past = pd.Series(vars(then(ended=True, start=at(1), impact="50 GB", first_seen="2026-01-01")))
    one = {"studies": ["transfers"], "ended": True, "start": start, "impact": f"{n_gb:.0f} GB", "impacts": []}
    row = row_continued(one, past, found, found, 1.5)
    assert (row["state"], (row["start"], row["impact"]), row["first_seen"]) == ("closed", shown, "2026-01-01")


@pytest.mark.parametrize(
    ("kinds", "ended", "watched", "last", "unwatched"),
    [
        (["slow_source"], True, set(), at(8), True), (["slow_source"], True, set(), at(8, 1), False), (["slow_source"], False, set(), at(8), False),
        (["slow_source"], True, {"transfers"}, at(8), False), (["slow_source"], True, None, at(8), False), (["bad_run"], True, set(), at(8), False),
    ],
)  # fmt: skip
def test_what_had_ended_before_its_night_began_is_no_news(kinds, ended, watched, last, unwatched):
    found = table(*[finding(kind, "x", "", at(7), last) for kind in kinds])
    found["night_h"] = hours_of(found.night)
    assert ended_unwatched({"studies": [found.study[0]], "ended": ended}, found, watched) == unwatched


def test_the_word_of_a_daily_source_on_the_end_counts_for_what_had_ended():
    found = table(finding("slow_source", "A_DISK", "A", at(7), at(8)), finding("global_dip", "A", "A", at(7), at(9)))
    found["night_h"] = hours_of(found.night)
    one = {"studies": ["accounting", "transfers"], "ended": True}
    assert ended_unwatched(one, found, set()), "the week goes on, the daily source has seen the end"
    assert not ended_unwatched(one, found.assign(cadence="week"), set())
    assert not ended_unwatched(one, found.assign(last_h=np.nan), set()), "nobody knows when it ended"


def test_names_hold_the_day_and_four_digits_and_the_next_hash_where_one_is_taken():
    first = new_incident_id(("a", "site", "A"), "2026-01-31", set())
    second = new_incident_id(("a", "site", "A"), "2026-01-31", {first})
    assert (first, second) == ("20260131-8822", "20260131-fb44"), "SHA-256 of a|site|A| and of a|site|A|1: silences and links hold over upgrades"


def test_of_what_is_gone_the_last_night_is_told_once():
    before = pd.DataFrame(
        [
            ("a", "2026-01-30", "ongoing", False, ""), ("b", "2026-01-30", "ongoing", True, ""), ("c", "2026-01-30", "resolved", True, ""),
            ("d", "2026-01-29", "ongoing", False, ""), ("e", "2026-01-30", "new", False, ""), ("f", "2026-01-30", "closed", True, "now part of x"),
            ("g", "2026-01-30", "new", False, ""), ("h", "2026-01-30", "closed", True, ""),
        ],
        columns=["incident", "of", "state", "ended", "change"],
    ).set_index("incident")  # fmt: skip
    gone = {row["incident"]: (row["state"], row["change"], row["ended"]) for row in rows_gone(before, ["g"], {"e": [0], "f": [0], "h": [0]})}
    part = ("closed", "now part of g", True)
    assert gone == {"a": ("resolved", "", True), "e": part, "h": part}


def test_what_joins_an_incident_that_joins_another_goes_with_it():
    rows = [("a", "site", "X", False), ("b", "community", "X", True), ("b", "site", "Y", False), ("c", "community", "Y", True)]
    found = pd.DataFrame(rows, columns=["study", "scope", "site", "is_loss"]).assign(first_h=0.0, last_h=9.0)
    assert attach_losses(found, np.array([0, 1, 1, 2])).tolist() == [0, 0, 0, 0]
    assert attach_losses(found[:2], np.array([0, 1])).tolist() == [0, 0]


def as_then(*rows, incidents, **more):
    """Findings, in the order of `table`, each of its incident."""
    return table(*rows).assign(incident=list(incidents), **more)


def test_of_what_sources_have_forgotten_counts_what_the_same_incidents_held_but_not_what_users_asked():
    last = as_then(finding("slow_source", "A_DISK", "A", 7, 8), incidents="a")
    older = [finding("global_dip", "A", "A", 1, 8), finding("growing_topic", "t1: down", "A", 1, 8), finding("stuck_queue", "fts", "", 1, 2)]
    remembered, before = as_then(*older, incidents="aac"), pd.DataFrame({"state": "new"}, index=["a"])
    assert with_older(last, remembered, before).entity.tolist() == ["A_DISK", "A"]
    assert with_older(last, remembered[1:], before).entity.tolist() == with_older(last, None, before).entity.tolist() == ["A_DISK"]


NIGHT = "2026-01-08"
AGAIN = [finding(kind, name, name[0], 7, 8) for kind, name in (("failing_source", "A_DISK"), ("slow_source", "A_DISK"), ("slow_source", "B_DISK"))]


@pytest.mark.parametrize(
    ("label", "names", "names_of"),
    [
        ([0, 0, 1], "xxx", {0: "x"}), ([1, 1, 0], "xxx", {1: "x"}), ([0, 0, 0], "xxy", {0: "x"}), ([0, 0, 0], "yxx", {0: "x"}),
        ([0, 0, 1], "xxy", {0: "x", 1: "y"}),
    ],
)  # fmt: skip
def test_when_a_night_runs_again_a_name_goes_to_what_holds_most_of_its_findings(label, names, names_of):
    stored = as_then(*AGAIN, incidents=names, first_seen=NIGHT)
    assert ids_of_earlier_run(table(*AGAIN), label, {}, stored, NIGHT) == (names_of, set(names))


@pytest.mark.parametrize(
    ("start", "first_seen", "taken", "names_of"),
    [
        (at(8), NIGHT, {}, {0: "x"}), (at(8, 1), NIGHT, {}, {}), (at(7), "2026-01-07", {}, {}), (at(7), NIGHT, {5: "x"}, {}),
        (at(7), NIGHT, {0: "y"}, {}),
    ],
)  # fmt: skip
def test_a_name_of_the_night_is_given_again_to_what_overlaps_or_touches_and_once(start, first_seen, taken, names_of):
    stored = as_then(AGAIN[1], incidents="x", first_seen=first_seen)
    assert ids_of_earlier_run(table(finding("slow_source", "A_DISK", "A", start, at(9))), [0], taken, stored, NIGHT)[0] == names_of


@pytest.mark.parametrize(
    ("past", "lost", "met"),
    [
        ([("slow_site", 5, 6)], [at(5, 23.5)], {0: "x"}), ([("slow_site", 5, 6)], [at(6)], {}),
        ([("slow_site", 5, 6), ("slow_source", 6, 8)], [at(5)], {0: "y"}), ([("slow_site", 5, 6), ("slow_source", 7, 8)], [at(5)], {0: "x"}),
        ([("slow_site", 5, 6)], [at(4), at(5)], {0: "x", 1: "x"}), ([("drop", 4, 11), ("slow_site", 5, 6)], [at(4, 1), at(5)], {0: "y"}),
    ],
)  # fmt: skip
def test_what_a_weekly_study_tells_late_is_of_the_incident_that_it_overlaps_most_and_of_equals_the_first(past, lost, met):
    """Weekly losses v0 and v1 at A begin at `lost`; each finding of earlier nights is an incident, x or y. The drop of then is that of v1."""
    names = {"slow_site": "A", "slow_source": "A_DISK", "drop": "v1 at A"}
    earlier = as_then(*[finding(kind, names[kind], "A", *days) for kind, *days in past], incidents="xy"[: len(past)])
    tonight = table(*[finding("drop", f"v{n} at A", "A", start, 12) for n, start in enumerate(lost)])
    assert list(match_retrospective(tonight, range(len(lost)), earlier).items()) == list(met.items())


def test_of_two_that_are_told_late_of_one_incident_the_first_takes_its_name():
    earlier = as_then(finding("slow_site", "A", "A", 5, 6), incidents="x")
    tonight = table(finding("drop", "v0 at A", "A", 4, 12), finding("drop", "v1 at A", "A", 5, 12))
    before = pd.DataFrame({"incident": ["x"], "first_seen": ["2026-01-06"], "start": [at(5)]}).set_index("incident")
    assert match_identities(tonight, [0, 1], before, earlier) == ({0: "x"}, {})


# -------------------------------------------------------------------------------------------------------------- linking


def test_hours_that_two_findings_share_and_how_near_they_are():
    found = table(finding("slow_source", "A_DISK", "A", at(1), at(2)), finding("slow_source", "A_DISK", "A", at(3), at(4)))
    here, there = pairs_alike(found, found, ["study", "name"])
    assert list(zip(here.tolist(), there.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert hours_shared(found, here, found, there).tolist() == [24, -24, -24, 24]
    assert within_gap(found, here, found, there).tolist() == [True, False, False, True]
    weekly = found.assign(cadence=["day", "week"])
    assert within_gap(weekly, here, weekly, there).all()
    whole_weeks = found.assign(cadence="week")
    assert within_gap(whole_weeks, here, found, there).all(), "a week, if one of both is weekly, whichever it is"
    assert within_gap(found, here, whole_weeks, there).all()
    assert table(finding("slow_source", "A_DISK", "A", at(1), at(1))).eval("last_h - first_h")[0] == pytest.approx(1 / 3600)


def test_which_findings_go_on_and_which_are_about_the_site_of_earlier_ones():
    """Storages at A and B and the site A tonight; then the storage at A, twice, a tape there, and the site B. The first is three days too old."""
    tonight = table(
        *[finding(kind, name, name[0], 5, 6) for kind, name in (("slow_source", "A_DISK"), ("slow_source", "B_DISK"), ("slow_site", "A"))]
    )
    then = [("slow_source", "A_DISK", 1, 2), ("slow_source", "A_DISK", 4, 5), ("slow_source", "A_TAPE", 4, 5), ("slow_site", "B", 4, 5)]
    earlier = table(*[finding(kind, name, name[0], *days) for kind, name, *days in then])
    assert tonight.name.tolist() + earlier.name.tolist() == ["A_DISK", "B_DISK", "A", "A_DISK", "A_DISK", "A_TAPE", "B"]
    pairs = [[*zip(*map(list, relation(tonight, earlier).nonzero()), strict=True)] for relation in (same_entity, same_place)]
    assert pairs == [[(0, 1)], [(1, 3), (2, 1), (2, 2)]]


def test_a_node_that_is_called_as_its_site_is_the_site_and_nothing_else_is():
    rows = [
        ("node", "A", "A"),
        ("node", "A-n1", "A"),
        ("node", "", ""),
        ("gpu", "A", "A"),
        ("site", "A", "A"),
        ("site", "vo", ""),
        ("desk", "A", "A"),
    ]
    kinds = {("s", f"k{n}"): catalog.FindingKind(scope=scope) for n, (scope, *_) in enumerate(rows)}
    found = [finding(f"k{n}", entity, site, at(1), at(2), study="s") for n, (_, entity, site) in enumerate(rows)]
    described = describe_findings(told_by_studies(*found), {}, kinds).set_index("kind").scope
    assert described.sort_index().tolist() == ["site", "node", "node", "gpu", "site", "community", "desk"]


@pytest.mark.parametrize(("hours", "joined"), [(23.5, True), (24, False)])
def test_a_loss_joins_what_it_overlaps_by_half_an_hour_and_not_what_begins_where_it_ends(hours, joined):
    found = table(finding("drop", "vo at A", "A", 5, 12), finding("slow_source", "A_DISK", "A", at(11, hours), 13))
    assert (len(set(correlate_findings(found))) == 1) == joined


@pytest.mark.parametrize(("scopes", "n"), [(["detector"] * 2, 1), (["detector", "other"], 2), (["other", "detector"], 2)])
def test_findings_of_a_run_belong_together_whenever_they_are_and_with_nothing_else_of_its_name(scopes, n):
    found = table(finding("bad_run", "run 1, lumisections 1-9", "", 1, 1), finding("bad_lumisections", "run 1, lumisections 30-40", "", 19, 19))
    assert len(set(correlate_findings(found.assign(scope=scopes)))) == n


def test_what_a_weekly_study_says_of_a_site_or_of_a_loss_there_is_told_late():
    rows = [("site", False, "A", "week"), ("service", False, "A", "week"), ("community", True, "A", "week")]
    rows += [("community", False, "A", "week"), ("node", True, "A", "week"), ("site", False, "A", "day"), ("site", False, "", "week")]
    found = pd.DataFrame(rows, columns=["scope", "is_loss", "site", "cadence"])
    assert is_retrospective(found).tolist() == [True, True, True, False, False, False, False]


@pytest.mark.parametrize(("words", "is_one"), [("quota, disk", True), ("quota, login", False), ("Quotas, DISKS ", True)])
def test_a_topic_without_a_site_shares_two_words_with_what_it_follows(words, is_one):
    ground = table(finding("stuck_queue", "fts", "", at(8), at(9))).assign(keywords=[("quota", "disks")])
    topic = table(finding("growing_topic", f"topic 3: {words}", "", at(8), at(9)))
    found = pd.concat([ground, topic], ignore_index=True)
    assert (len(set(correlate_findings(found))) == 1) == is_one


# -------------------------------------------------------------------------------------------------------------- ranking


def test_each_part_of_the_points_is_what_the_rules_say():
    one = {"p_value": 1e-3, "studies": ["a", "b", "c"], "scope": "site", "benign": False, "state": "new", "ended": False, "silenced_as": ""}
    one |= {
        "active_last_day": True,
        "impacts": [{"unit": "GB delayed", "value": 900.0}, {"unit": "other", "value": 1e9}],
        "incident": "a",
        "title": "x",
    }
    rows = [one, one | {"p_value": 0.0, "benign": True, "state": "ongoing", "ended": True, "active_last_day": None, "impacts": [], "scope": "node"}]
    ranked = rank_incidents(pd.DataFrame(rows), WEIGHTS, SCALES, LIMITS, 1).filter(like="points").to_numpy()
    np.testing.assert_allclose(ranked, [[1.5, 1, 2, 1, 0, 1, 1, 1], [3, 0, 2, 0, -1.5, 0, 0, 0]])


@pytest.mark.parametrize(("studies", "severity"), [(4, "high"), (3, "medium"), (2, "medium"), (1, "low")])
def test_an_incident_is_grave_from_its_limit_on(studies, severity):
    one = {"p_value": 1e-3, "studies": ["a"] * studies, "scope": "node", "benign": False, "state": "new", "ended": False, "silenced_as": ""}
    one |= {"active_last_day": True, "impacts": [], "incident": "a", "title": "x"}  # the evidence is 1.5 and 1 for each further study
    assert rank_incidents(pd.DataFrame([one]), WEIGHTS, SCALES, LIMITS, 1).severity.tolist() == [severity]


def test_points_are_rounded_to_thousandths_before_they_are_held_against_a_limit_and_none_is_less_than_nought():
    one = {"p_value": 10**-4.9992, "studies": ["a"], "scope": "node", "benign": False, "state": "ongoing", "ended": True, "silenced_as": ""}
    one |= {"active_last_day": False, "impacts": [], "incident": "a", "title": "x"}
    ranked = rank_incidents(pd.DataFrame([one]), WEIGHTS | {"new": -1.0, "tonight": -1.0}, SCALES, LIMITS, 1)
    assert (ranked.severity.tolist(), ranked.priority.tolist()) == (["medium"], [2.5]), "half of 4.9992 decades"
    assert "-" not in listed_points(ranked).to_csv()


def test_silenced_and_past_ones_come_last_and_only_the_first_are_shown():
    one = {"p_value": 1e-3, "studies": ["a"], "scope": "node", "benign": False, "state": "new", "ended": False, "silenced_as": "", "title": "x"}
    one |= {"active_last_day": True, "impacts": []}
    rows = [
        one | {"incident": "past", "state": "closed", "silenced_as": "x", "p_value": 1e-9},
        one | {"incident": "silent", "silenced_as": "x", "p_value": 1e-6},
    ]
    rows += [one | {"incident": name, "p_value": p} for name, p in (("third", 1e-2), ("second", 1e-3), ("first", 1e-4))]
    ranked = rank_incidents(pd.DataFrame(rows), WEIGHTS, SCALES, LIMITS, 2)
    assert ranked.incident.tolist() == ["first", "second", "third", "silent", "past"]
    assert ranked["rank"].tolist() == [1, 2, 3, 4, 5]
    assert ranked.shown.tolist() == [True, True, False, False, False]
    assert needs_advice(ranked).incident.tolist() == ["first", "second", "third", "silent"]
    many = pd.concat([ranked[:1]] * (MAX_ADVISED + 1))
    assert len(needs_advice(many.assign(shown=False))) == MAX_ADVISED
    assert len(needs_advice(many)) == MAX_ADVISED + 1, "what is shown in full is shown with its proposals"


def test_what_a_place_is_owed_to_leaves_out_what_shows_as_nothing():
    evidence, night = {"impact": 3.2, "site": 0.0, "surprise": 0.05, "benign": -1.5, "sources": 0.049}, {"news": 0.0}
    assert standing_in_words(evidence, night) == "1.8 points: 1.8 of the evidence (impact 3.2, benign -1.5, surprise 0.05)"
    assert standing_in_words({"impact": 0.0}, {"news": 0.0}) == "0.0 points"
    assert amounts_in_words({"core hours": 1000, "nodes": 1}) == "1,000 core hours and 1 node"


# ------------------------------------------------------------------------------------------------------------- pictures


def test_a_bar_says_what_was_seen_and_what_is_usual():
    one = SimpleNamespace(name="n" * 60, study="transfers", label="slow source", observed=123.4, expected=1.2345, unit="s")
    assert bar_labels(one, has_twin=False)[:2] == ["transfers, slow source: 123, usually 1.23 s", "slow source: 123, usually 1.23 s"]
    named = bar_labels(one, has_twin=True)
    assert named[0] == f"{'n' * 60}: 123, usually 1.23 s"
    assert len(named[-1]) <= LONGEST_LABEL
    one.observed, one.expected = -100.0, 99.96
    assert bar_labels(one, has_twin=False)[1] == "slow source: -100, usually 100 s"
    one.observed = np.nan
    assert bar_labels(one, has_twin=False)[1] == "slow source"


def test_a_strip_has_the_most_surprising_bars_by_their_starts_and_counts_the_rest():
    rows = [finding("slow_source", f"D{n}", "A", at(4, n), at(5, n), p_value=0.001 * (n + 1)) for n in range(MAX_BARS + 2)]
    figure, ax = plt.subplots(figsize=(5.2, 4))
    plot_strip(table(*rows[::-1]), ax, day="2026-01-08")
    bars = [line for line in ax.lines if line.get_linewidth() == 6]
    assert [line.get_ydata()[0] for line in bars] == list(range(MAX_BARS))
    assert ax.get_ylim() == (MAX_BARS + 0.15, -0.8)
    texts = [text.get_text() for text in ax.texts]
    assert texts[0].startswith("D0: ")
    assert texts[-1] == "2 more, not drawn; 2 days later: tonight"  # the last ended on the sixth at 8
    assert ax.texts[0].get_position()[1] == pytest.approx(-0.22)
    assert ax.texts[-1].get_position() == (0.99, MAX_BARS - 0.2)
    plt.close(figure)


def texts_of_strip(*rows):
    """The texts of a strip of these findings, drawn, each with its place."""
    figure, ax = plt.subplots(figsize=(5.2, 1.5))
    plot_strip(table(*rows), ax, day="2026-01-08")
    figure.canvas.draw()
    plt.close(figure)
    return {text.get_text(): text.get_position() for text in ax.texts}


def test_a_bar_alone_is_called_by_its_study_and_what_has_no_end_has_no_bar():
    assert list(texts_of_strip(finding("slow_source", "D1", "A", at(7), at(8, 12)))) == ["transfers, slow source: 2, usually 1 s", "tonight"]
    without = texts_of_strip(finding("slow_source", "D1", "A", at(7), None))
    assert (list(without), without["its source knows no times"]) == (["tonight", "its source knows no times"], (0.01, 0.5))


def test_names_are_drawn_as_they_are_written_though_they_look_like_formulae():
    rows = [finding("slow_source", name, "A", at(7), at(8, 12)) for name in ("$^$", "D2")]
    assert "$^$: 2, usually 1 s" in texts_of_strip(*rows)


def test_a_label_leaves_a_fiftieth_of_its_strip_free_and_becomes_shorter_where_it_has_no_room():
    figure, ax = plt.subplots(figsize=(5.2, 1.5))
    [row], widths = table(finding("slow_source", "D1", "A", at(7), at(8))).itertuples(), {}
    for n in range(60):
        text = plot_bar(row._replace(unit="i" * n), ax, height=0, has_twin=False)
        widths[text.get_text()] = text.get_window_extent().width / ax.bbox.width
    plt.close(figure)
    assert max(widths.values()) <= 0.98
    assert list(dict.fromkeys(text.partition(": ")[0] for text in widths)) == ["transfers, slow source", "slow source"]
    assert list(widths)[-1] == "transfers, slow source", "at last without numbers"


def test_of_equally_surprising_findings_those_that_ended_last_have_bars():
    rows = [finding("slow_source", f"D{n}", "A", at(2, n), at(6, n)) for n in range(MAX_BARS + 1)]
    assert [text.partition(":")[0] for text in texts_of_strip(*rows)][:MAX_BARS] == [f"D{n}" for n in range(1, MAX_BARS + 1)]


def test_labels_stay_within_the_strip():
    figure, ax = plt.subplots(figsize=(5.2, 1.5))
    plot_strip(table(finding("slow_source", "D1", "A", at(1), at(2)), finding("slow_source", "D2", "A", at(8, 20), at(9))), ax, day="2026-01-08")
    figure.canvas.draw()
    edges = [text.get_window_extent().transformed(ax.transAxes.inverted()) for text in ax.texts[:2]]
    assert all(edge.x0 >= 0 and edge.x1 <= 0.985 for edge in edges)
    assert edges[1].x1 == pytest.approx(0.98, abs=0.005)
    plt.close(figure)


@pytest.mark.parametrize(("timed", "untimed", "height"), [(1, 0, 1.32), (0, 2, 1.32), (3, 1, 2.16), (MAX_BARS + 2, 0, 3.84)])
def test_a_strip_is_as_high_as_it_has_bars(tmp_path, monkeypatch, timed, untimed, height):
    shown = []
    monkeypatch.setattr(figures, "reduce_colours", lambda path: None)
    monkeypatch.setattr(figures, "show_figure", lambda ax, path, title, *labels: shown.append((ax.figure.get_size_inches().tolist(), title)))
    rows = [finding("slow_source", f"D{n}", "A", at(8), at(9)) for n in range(timed)]
    rows += [finding("slow_source", f"E{n}", "A") for n in range(untimed)]
    one = SimpleNamespace(title="t", severity="high", state="ongoing", age_nights=3, ended=False, change="")
    show_strip(one, table(*rows), day="2026-01-08", path=tmp_path / "x.png")
    n = timed + untimed
    assert shown == [([5.2, pytest.approx(height)], f"t: {n} finding{'s' if n > 1 else ''}, high, ongoing, night 3")]
    plt.close("all")


def test_a_strip_fills_its_picture_and_its_title_has_sixty_characters_of_that_of_the_incident(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "reduce_colours", lambda path: None)
    monkeypatch.setattr(figures, "show_figure", lambda ax, path, title, *labels: shown.append((ax, title)))
    one = SimpleNamespace(title=f"{'a' * 56} bbbb", severity="high", state="ongoing", age_nights=3, ended=False, change="")
    rows = [finding("slow_source", f"D{n}", "A", at(8), None if n == 2 else at(9)) for n in range(3)]
    show_strip(one, table(*rows), day="2026-01-08", path=tmp_path / "x.png")
    [(ax, title)] = shown
    assert title == f"{'a' * 56} ...: 3 findings, high, ongoing, night 3"
    assert (ax.get_position().x0, ax.get_position().x1, ax.figure.get_figheight()) == pytest.approx((0.01, 0.99, 1.74)), "as high as two bars"
    plt.close("all")


# ------------------------------------------------------------------------------------------------- words and silences


def told(**more):
    one = {"title": "slow A", "start": at(7), "end": at(8), "ended": False, "state": "new", "change": "", "age_nights": 1, "p_value": 1e-12}
    return SimpleNamespace(**(one | {"studies": ["transfers"], "description": "It is slow", "kinds": ["slow_source"], "impact": ""} | more))


def test_a_sentence_says_how_sure_and_until_when():
    assert incident_sentence(told(), 1, "2026-01-07").endswith("(new, open): It is slow; 1 finding of transfers, p-value 1e-12.")
    end = ": “It is slow”; 2 findings of transfers, combined p-value below 1e-12; 5 GB."
    assert incident_sentence(told(p_value=9e-13, ended=True, impact="5 GB"), 2, "2026-01-07").endswith(end)
    assert when_in_words(told(), "2026-01-07").startswith("since ")
    assert "the last day that is judged" not in when_in_words(told(), "2026-01-07")
    ends = "since 2026-01-07, seen to 2026-01-07, the last day that is judged"
    assert when_in_words(told(), "2026-01-08") == ends, "it ends as the night begins"
    assert when_in_words(told(start=pd.NaT), "2026-01-08") == "at times that the source does not know"
    assert where_in_words("slow A", ["A"]) == where_in_words("slow A and B", ["A", "B"]) == ""
    assert (where_in_words("slow", ["A", "B"]), where_in_words("slow A", ["A", "B"])) == (" at A and B", ", also at B")
    assert sites_of([{"site": "B"}, {"site": "C", "sites": "C, D"}, {"site": "C"}, {"site": None}], "A") == ["A", "C", "B", "D"]
    assert severities_in_words(pd.DataFrame({"severity": ["low", "high", "low"]})) == "1 of high severity and 2 of low severity"


ENTRY = {"site": "A", "as": "silenced", "by": "somebody", "until": "2026-01-31", "why": "it moves"}


@pytest.mark.parametrize(("night", "holds"), [("2026-01-31", True), ("2026-02-01", False)])
def test_a_silence_holds_up_to_and_including_its_last_day(tmp_path, night, holds):
    incidents, found = pd.DataFrame({"incident": ["x"]}), pd.DataFrame({"incident": ["x"], "study": "s", "kind": "k", "site": "A", "entity": "e"})
    marked, used = apply_silences(incidents, found, read_silences([ENTRY]), night)
    assert (marked.silenced_as.tolist(), used.used.tolist()) == (["silenced" if holds else ""], [int(holds)])
    path = tmp_path / "silences.yaml"
    if not holds:
        with pytest.raises(ValueError, match="until is 2026-01-31, which is before 2026-02-01, the newest night"):
            record_silence(path, ENTRY, night)
        record_silence(path, ENTRY)
    else:
        record_silence(path, ENTRY, night)
    assert path.read_text().splitlines()[-1] == "- {site: A, as: silenced, by: somebody, until: '2026-01-31', why: it moves}"
    assert read_recorded(path, night) == ([ENTRY | dict.fromkeys(("incident", "study", "kind", "entity"), "")] if holds else [], [])


def test_of_equal_entries_the_last_is_lifted(tmp_path):
    path = tmp_path / "silences.yaml"
    for entry in (ENTRY, ENTRY | {"by": "else"}, ENTRY):
        record_silence(path, entry)
    assert lift_silence(path, ENTRY)
    assert [one["by"] for one in read_recorded(path, "2026-01-01")[0]] == ["else", "somebody"]
    assert lift_silence(path, ENTRY)
    assert not lift_silence(path, ENTRY)
    assert not lift_silence(tmp_path / "none.yaml", ENTRY)


@pytest.mark.parametrize(
    ("pairs_drawn", "permutations", "says"),
    [
        (36 * 20, 500, "% of 20 drawings"), (36 * 20 - 1, 500, "leave 19 drawings of 500, too few"), (1e9, 7, "% of 7 drawings"),
        (36 * 5, 5, "% of 5 drawings"), (35, 1, "leave 0 drawings of 1"),
    ],
)  # fmt: skip
def test_chance_needs_twenty_drawings_or_as_many_as_are_asked_for(pairs_drawn, permutations, says):
    rows = [finding("slow_source", f"{site}_DISK", site, 7, 8) for site in "ABC"] + [finding("global_dip", site, site, 7, 8) for site in "ABD"]
    found = table(*rows)
    sentence = chance.links_in_words(found, "ABCDEF", permutations=permutations, pairs_drawn=pairs_drawn, rng=np.random.default_rng(1))
    assert says in sentence
    assert chance.count_links(found) == 2
    assert ("**Studies meet 2 times at a site; " in sentence) == ("% of" in sentence)
    nobody = chance.links_in_words(found[found.study == "transfers"], "AB", permutations=9, pairs_drawn=1e9, rng=np.random.default_rng(1))
    assert nobody.startswith("Fewer than two studies")


def test_what_lies_at_a_site_and_is_not_about_it_is_no_link_and_what_chance_gives_as_well_is_no_surprise():
    rows = [finding("slow_source", "A_DISK", "A", 7, 8), finding("global_dip", "A", "A", 7, 8), finding("memleak", "a-n1", "A", 7, 8)]

    def said(pairs_drawn):
        return chance.links_in_words(table(*rows), ["A"], permutations=20, pairs_drawn=pairs_drawn, rng=np.random.default_rng(1))

    by_chance = "by chance alone they would 1.0 times, and as often or more in 100.0% of 20 drawings.**"
    assert said(4 * 20) == f"**Studies meet 1 times at a site; {by_chance}"
    assert said(4 * 20 - 1).startswith("What chance would give is left out: 2 findings at sites leave 19 drawings of 20")
