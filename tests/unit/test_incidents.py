"""Links, names, states and ranks of incidents, on findings made by hand and at random, with values asserted."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers import FINDING_COLUMNS
from nightshift import catalog
from nightshift.incidents import NOT_WATCHED
from nightshift.incidents.correlation import attach_delayed, carry_over_topic_links, correlate_findings, describe_findings
from nightshift.incidents.ranking import rank_incidents
from nightshift.incidents.silences import apply_silences, read_silences
from nightshift.incidents.summary import add_impacts, combine_p_values, impact_text, summarise_incidents
from nightshift.incidents.tracking import growth, new_incident_id, track_incidents

STUDY_OF = {kind: study for study, kind in reversed(catalog.finding_kinds()) if (study, kind) != ("telemetry", "silent")}
SITES = {"a": "A", "alpha": "A", "b": "B"}
WEIGHTS = {"decade": 0.5, "decades": 6, "tenfold": 1, "study": 1, "site": 1, "new": 1, "going_on": 1, "tonight": 1, "benign": -1.5}
SCALES, LIMITS = {"core hours": 1000, "GB delayed": 100}, {"high": 4.5, "medium": 2.5}


def at(day, hour=0):
    """A moment of January 2026; day 0 is the last of December."""
    return pd.Timestamp("2025-12-31", tz="UTC") + pd.Timedelta(days=day, hours=hour)


def finding(kind, entity, site="", start=None, end=None, **more):
    start, end = (pd.NaT if x is None else x if isinstance(x, pd.Timestamp) else at(x) for x in (start, end))
    study = STUDY_OF.get(kind, "elsewhere")
    shown = {"study": study, "kind": kind, "entity": entity, "site": site, "start": start, "end": end}
    shown |= {"score": 1.0, "p_value": 0.001, "observed": 2.0}
    return shown | {"expected": 1.0, "unit": "s", "evidence": "", "figure": "", "impact": np.nan, "impact_unit": ""} | more


def told_by_studies(*rows, night=8):
    """Findings as studies tell them, of the night `night` of January 2026."""
    frame = pd.DataFrame(rows, columns=FINDING_COLUMNS)
    for time in ("start", "end"):
        frame[time] = pd.to_datetime(frame[time], utc=True).astype("datetime64[us, UTC]")
    return frame.assign(night=str(at(night).date()), table=frame.study, kept=False)


def table(*rows, night=8):
    """The same as `describe_findings` gives them."""
    return describe_findings(told_by_studies(*rows, night=night), SITES)


def groups(found):
    """The incidents of findings as sets of entities."""
    return {frozenset(chosen.entity) for _, chosen in found.groupby(correlate_findings(found))}


def together(*rows):
    """Whether all these findings are one incident."""
    return len(set(correlate_findings(table(*rows)))) == 1


DIP = finding("global_dip", "A", "A", 5, 12)
DISK = finding("slow_source", "A_DISK", "A", 7, 8)


# ------------------------------------------------------------------------------------------------------------------ links


@pytest.mark.parametrize(
    ("other", "linked"),
    [
        (finding("failing_source", "A_DISK", "A", at(8, 23), at(9)), True),  # 23 hours later
        (finding("failing_source", "A_DISK", "A", at(9), at(10)), False),  # a day later
        (finding("failing_source", "A_TAPE", "A", at(8, 23), at(9)), False),  # another name, and no overlap
        (finding("failing_source", "A_TAPE", "A", at(7, 23), at(9)), True),  # an hour of overlap at the site
        (finding("failing_source", "B_DISK", "B", 7, 8), False),
        (finding("stuck_queue", "fts", "", 7, 8), False),  # no site is no common site
        (DIP, True),
        (finding("global_dip", "vo", "", 5, 12), False),
        (finding("reporting_gap", "alpha", "alpha", 5, 12), True),  # the site by another name
        (finding("drop", "vo at A", "A", 5, 12), True),
        (finding("surge", "vo at A", "A", 5, 12), False),
        (finding("memleak", "a-n01", "A", 7, 8), False),
        (finding("silent", "A", "A", 7, 8, study="telemetry"), True),  # all nodes of the site
        (finding("silent", "a-n01", "A", 7, 8, study="telemetry"), False),
        (finding("idle_gpu", "a-g01 gpu 0", "A", 7, 8), False),
        (finding("bad_run", "run 1, lumisections 1-9", "", 7, 8), False),
        (finding("gremlins", "A_DISK", "A", 7, 8), False),  # a kind that nobody knows stands alone
    ],
)
def test_which_findings_are_linked_to_a_slow_storage(other, linked):
    assert together(DISK, other) == linked


def test_work_that_moves_away_joins_the_outage_that_it_flees():
    outage, gone = finding("slow_site", "A", "A", 6, 10), finding("moved", "vo", "A", 5, 12)
    assert together(outage, gone)
    assert not together(outage, finding("moved", "vo", "B", 5, 12))
    assert not together(finding("slow_site", "A", "A", 13, 14), gone)


def test_what_is_weekly_may_lie_a_week_apart_and_weeks_end_where_the_next_begin():
    assert together(finding("drop", "vo at A", "A", 5, 12), finding("silent", "vo at A", "A", 18, 25))
    assert not together(finding("drop", "vo at A", "A", 5, 12), finding("silent", "vo at A", "A", 19, 26))
    assert not together(finding("global_dip", "A", "A", 5, 12), finding("slow_source", "A_DISK", "A", 12, 13))


def test_a_node_and_the_gpus_of_a_site_are_one_incident_each_within_a_day_and_a_run_always():
    assert together(finding("memleak", "a-n01", "A", 1, 1), finding("membw", "a-n01", "A", 1.5, 2))
    assert not together(finding("memleak", "a-n01", "A", 1, 1), finding("membw", "a-n01", "A", 7, 7))  # another trouble of the same node
    assert not together(finding("memleak", "a-n01", "A", 1, 2), finding("memleak", "a-n02", "A", 1, 2))
    assert together(finding("bad_run", "run 1, lumisections 1-9", "", 1, 1), finding("bad_lumisections", "run 1, lumisections 30-40", "", 3, 3))
    assert together(finding("idle_gpu", "a-g01 gpu 0", "A", 1, 2), finding("idle_gpu", "a-g07 gpu 3", "A", 2.5, 4))
    assert not together(finding("idle_gpu", "a-g01 gpu 0", "A", 1, 2), finding("idle_gpu", "a-g07 gpu 3", "A", 6, 7))
    assert not together(finding("idle_gpu", "a-g01 gpu 0", "A", 1, 2), finding("idle_gpu", "b-g01 gpu 0", "B", 1, 2))


def test_a_topic_follows_sites_and_services_and_not_a_node_that_is_nearer():
    node, topic = finding("memleak", "a-n01", "A", 5, 6), finding("growing_topic", "t1: status, down", "A", 5, 12)
    assert groups(table(DISK, node, topic)) == {frozenset({DISK["entity"], topic["entity"]}), frozenset({"a-n01"})}


def test_a_community_joins_what_overlaps_most_and_bridges_no_strangers():
    early, late = finding("slow_source", "A_DISK", "A", 4, 6), finding("slow_link", "B -> A", "A", 8, 12)
    lost = finding("silent", "vo at A", "A", 5, 12)
    assert groups(table(early, lost, late)) == {frozenset({"A_DISK"}), frozenset({"vo at A", "B -> A"})}
    again = finding("drop", "vo at A", "A", 12, 19)  # the same community, linked to the first; the later storage overlaps it more
    latest = finding("failing_source", "A_TAPE", "A", 13, 20)
    assert groups(table(early, lost, late, again, latest)) == {
        frozenset({"A_DISK"}),
        frozenset({"B -> A"}),
        frozenset({"vo at A", "A_TAPE"}),
    }
    assert len(groups(table(DIP, lost))) == 2  # the same study does not confirm itself


@pytest.mark.parametrize(
    ("start", "follows"), [(0, "nothing"), (1, "A_DISK"), (5, "A_DISK"), (9, "A_DISK"), (11, "A_TAPE"), (19, "A_TAPE"), (21, "nothing")]
)
def test_a_topic_follows_the_nearest_incident_of_its_site_that_begins_within_a_week(start, follows):
    topic = finding("growing_topic", "t1: status, down", "A", start, start + 7)
    made = groups(table(finding("slow_source", "A_DISK", "A", 7, 8), finding("slow_source", "A_TAPE", "A", at(13, 12), 15), topic))
    assert next(one for one in made if "t1: status, down" in one) - {"t1: status, down"} == frozenset({follows} - {"nothing"})


def test_a_topic_without_a_site_follows_by_two_words_and_only_what_has_no_site():
    server = finding("stuck_queue", "fts", "", 7, 8)
    storage = finding("stuck_queue", "A_fts", "A", 7, 8)
    sentence = "t2: requests, Rules, weather, cat"
    assert together(server, finding("growing_topic", sentence, "", 5, 12))
    assert not together(server, finding("growing_topic", "t2: requests, dog, weather, cat", "", 5, 12))
    assert not together(storage, finding("growing_topic", sentence, "", 5, 12))
    assert not together(server, finding("growing_topic", sentence, "B", 5, 12))
    assert not together(server, finding("department_surge", "physics", "", 5, 12))
    assert len(groups(table(server, finding("growing_topic", sentence, "", 5, 12), finding("growing_topic", "t3: rule, stuck", "", 6, 13)))) == 1


def test_unknown_times_are_no_overlap_but_the_same_name_is_the_same():
    assert not together(DISK, finding("slow_source", "A_TAPE", "A"))
    assert together(DISK, finding("slow_destination", "A_DISK", "A"))
    assert not together(finding("slow_source", "A_DISK", "A", 7, None), finding("global_dip", "A", "A", 8, 15))
    assert together(finding("slow_source", "A_DISK", "A", 9, None), finding("global_dip", "A", "A", 8, 15))
    assert not together(finding("slow_source", "A_DISK", "A"), finding("growing_topic", "t1: down", "A", 5, 12))


def test_no_finding_makes_no_incident():
    found = table()
    assert list(correlate_findings(found)) == []
    made = summarise_incidents(found, correlate_findings(found))
    incidents, tonight, kept = track_incidents(found, [], made, pd.DataFrame(), table().assign(incident=[]), day="2026-01-08")
    assert (len(made), len(incidents), len(tonight), len(kept)) == (0, 0, 0, 0)


names = st.sampled_from(["A_DISK", "B_DISK", "vo at A", "A", "n1", "t1: rule, stuck", "t1: status", "run 1, lumisections 1-2", "|,:"])
any_findings = st.lists(
    st.builds(
        lambda kind, entity, site, start, length, p: finding(kind, entity, site, start, None if start is None else start + length, p_value=p),
        st.sampled_from([*sorted(STUDY_OF), "gremlins"]),
        names,
        st.sampled_from(["", "A", "B", "alpha"]),
        st.one_of(st.none(), st.integers(0, 20)),
        st.integers(0, 9),
        st.floats(0, 1),
    ),
    max_size=9,
)


@settings(max_examples=40, deadline=None)
@given(any_findings, st.randoms())
def test_every_finding_is_in_one_incident_whatever_the_order_of_the_rows(rows, random):
    found = table(*rows)
    label = correlate_findings(found)
    assert len(label) == len(rows)
    assert sorted(set(label)) == list(range(len(set(label))))  # numbered from 0 without a gap
    mixed = random.sample(rows, len(rows))
    again = table(*mixed)
    pd.testing.assert_frame_equal(again, found)
    assert list(correlate_findings(again)) == list(label)


# --------------------------------------------------------------------------------------------------------------- one row


def test_combined_p_values_are_those_of_the_cauchy_combination():
    p = np.array([0.01, 0.2, 0.5])
    assert combine_p_values(p) == pytest.approx(0.5 - np.arctan(np.mean(np.tan((0.5 - p) * np.pi))) / np.pi)
    assert combine_p_values([0.03]) == pytest.approx(0.03)
    assert combine_p_values([]) == 1.0
    assert combine_p_values([0.0, 1e-320]) == pytest.approx(1e-300)
    assert combine_p_values([1e-9, 1.0]) < 1e-8  # one finding of no weight does not cost the other
    drawn = stats.norm.sf(np.random.default_rng(1).normal(size=(4000, 1)) + np.random.default_rng(2).normal(size=(4000, 5)) * 0)  # wholly dependent
    assert np.mean([combine_p_values(row) <= 0.05 for row in drawn]) == pytest.approx(0.05, abs=0.011)


def test_impacts_are_summed_by_unit_and_nothing_counts_twice():
    cost = {"impact_unit": "GB delayed"}
    found = table(
        finding("slow_source", "A_DISK", "A", 1, 3, impact=10.0, **cost),
        finding("failing_source", "A_DISK", "A", 2, 4, impact=4.0, **cost),  # the same storage meanwhile: in the ten
        finding("slow_source", "A_DISK", "A", 5, 6, impact=3.0, **cost),  # later
        finding("slow_source", "A_TAPE", "A", 2, 3, impact=100.0, **cost),
        finding("memleak", "n1", "A", 1, 1, impact=1.0, impact_unit="nodes"),
        finding("membw", "n1", "A", 5, 5, impact=1.0, impact_unit="nodes"),  # a node is one node
        finding("global_dip", "A", "A", 1, 8, impact=12345.6, impact_unit="core hours"),
        finding("surge", "vo at A", "A", 1, 8),  # nobody can say
    )
    assert add_impacts(found.to_dict("records")) == [
        {"study": "accounting", "value": 12345.6, "unit": "core hours"},
        {"study": "telemetry", "value": 1.0, "unit": "nodes"},
        {"study": "transfers", "value": 113.0, "unit": "GB delayed"},
    ]
    assert impact_text(add_impacts(found.to_dict("records"))) == "12,346 core hours affected, 1 node, 113 GB delayed"
    assert impact_text([]) == ""
    assert catalog.impact_labels({("accounting", "surge")}) == {"core hours": "core hours more than usual"}
    assert catalog.impact_labels({("accounting", "drop"), ("accounting", "silent")}) == {"core hours": "core hours lost"}
    assert catalog.impact_labels({("accounting", "returned")}) == {"core hours": "core hours affected"}, "it may return with less than usual"
    assert catalog.impact_labels({("accounting", "surge"), ("accounting", "drop")}) == {"core hours": "core hours affected"}, "they disagree"
    assert catalog.impact_labels({("telemetry", "idle_gpu"), ("accounting", "nobody_knows")})["GPU hours"] == "GPU hours unused"
    assert impact_text(add_impacts(found.to_dict("records")), {"core hours": "core hours lost"}) == "12,346 core hours lost, 1 node, 113 GB delayed"
    assert impact_text([{"study": "tickets", "value": 16.1, "unit": "tickets"}]) == "16 tickets beyond the usual"
    assert impact_text([{"study": "tickets", "value": 1.2, "unit": "tickets"}]) == "1 ticket beyond the usual"


@pytest.mark.parametrize(
    ("kind", "end", "ended"),
    [
        ("slow_source", at(9), False),
        ("slow_source", at(8, 19), False),
        ("slow_source", at(8, 18), True),  # six hours before the end of the night
        ("global_dip", at(3), False),  # six days: the week is not complete yet
        ("global_dip", at(2), True),
        ("growing_topic", at(9), False),
        ("bad_run", None, False),
    ],
)
def test_an_incident_ends_hours_or_a_week_before_the_end_of_its_night(kind, end, ended):
    found = table(finding(kind, "A", "A", None if end is None else at(1), end), night=8)
    assert summarise_incidents(found, correlate_findings(found)).ended.tolist() == [ended]


@pytest.mark.parametrize(("newest", "ended"), [(None, True), ("2026-01-08", True), ("2026-01-07 06:00", True), ("2026-01-06 18:00", False)])
def test_no_news_is_no_end_of_what_goes_on(newest, ended):
    found = table(finding("slow_source", "A_DISK", "A", 5, 6.6))  # to 6 January 14:24; the night is the 8th
    reference = {"transfers": pd.Timestamp(newest, tz="UTC")} if newest else {}
    assert summarise_incidents(found, correlate_findings(found), newest=reference).ended.tolist() == [ended]


@pytest.mark.parametrize(("newest", "ended"), [("2026-01-11 00:00", False), ("2026-01-18 00:00", False), ("2026-01-19 00:00", True)])
def test_a_week_is_over_when_the_whole_next_one_is_known(newest, ended):
    found = table(finding("silent", "vo at A", "A", 5, 13), night=25)  # the week that ends with the 12th
    assert summarise_incidents(found, correlate_findings(found), newest={"accounting": pd.Timestamp(newest, tz="UTC")}).ended.tolist() == [ended]


def test_where_a_daily_source_sees_it_its_word_on_the_end_counts():
    found = table(finding("global_dip", "A", "A", 1, 8), finding("slow_source", "A_DISK", "A", 3, 5))
    assert summarise_incidents(found, correlate_findings(found)).ended.tolist() == [True]
    assert summarise_incidents(table(finding("global_dip", "A", "A", 1, 8)), [0]).ended.tolist() == [False]


def test_growth_is_per_day_of_the_findings_and_of_the_study_that_grew_most():
    slow = {"study": "transfers", "unit": "GB delayed"}
    long, short = table(finding("slow_source", "A_DISK", "A", 1, 21)), table(finding("slow_source", "A_DISK", "A", 19, 21))
    assert growth((short, [slow | {"value": 800.0}]), (long, [slow | {"value": 2000.0}])) == {"GB delayed": 4.0}
    both = [slow | {"value": 10.0}, slow | {"study": "another", "value": 10.0}]
    assert growth((short, [both[0] | {"value": 100.0}, both[1]]), (short, both)) == {"GB delayed": 10.0}


def test_an_incident_is_called_by_its_gravest_finding_or_by_its_site():
    def called(*rows):
        found = table(*rows)
        return summarise_incidents(found, correlate_findings(found)).title.tolist()

    assert called(DISK) == ["slow source A_DISK"]
    assert called(DISK, DIP) == ["site trouble at A"]
    assert called(DIP) == ["dip at A"]
    assert called(DIP, finding("slow_site", "A", "A", 6, 10)) == ["site trouble at A"]
    assert called(DISK, finding("failing_source", "A_DISK", "A", 7, 8)) == ["failing source A_DISK"]
    assert called(finding("global_dip", "vo", "", 5, 12)) == ["dip of vo"]
    assert called(finding("idle_gpu", "g1 gpu 1", "A", 1, 2)) == ["idle GPUs at A"]
    assert called(finding("growing_topic", "t1: status, down", "", 1, 8)) == ["growing topic: status, down"]
    assert called(finding("gremlins", "x" * 300, "", 1, 8)) == ["gremlins: " + "x" * 110]


# ----------------------------------------------------------------------------------------------------------------- nights


class Nights:
    """Nights after one another, each with its findings; remembers what the digest would."""

    def __init__(self):
        self.rows, self.found = [], []

    def night(self, day, *rows, kept=(), watched=None, stored=None, newest=None):
        """Incidents (DataFrame) of the night `day` with these findings, and with those of last night that are kept for want of news."""
        name = str(at(day).date())
        earlier = pd.concat(self.rows).drop_duplicates("incident", keep="last") if self.rows else pd.DataFrame()
        parts = [chosen[chosen.incident.isin(earlier.incident[earlier["of"] == of])] for of, chosen in self.found]
        earlier_found = pd.concat(parts, ignore_index=True) if parts else table().assign(incident=[])
        found = pd.concat([told_by_studies(*rows, night=day), *(earlier_found[earlier_found.entity == one].assign(kept=True) for one in kept)])
        found = describe_findings(found[[*FINDING_COLUMNS, "night", "table", "kept"]], SITES)
        every = pd.concat([chosen for _, chosen in self.found], ignore_index=True) if self.found else earlier_found
        remembered = every.drop_duplicates(["study", "kind", "entity"], keep="last", ignore_index=True)
        label = attach_delayed(found, carry_over_topic_links(found, correlate_findings(found), earlier_found), remembered)
        made = summarise_incidents(found, label, newest=newest)
        incidents, tonight, resolved = track_incidents(
            found, label, made, earlier, earlier_found, day=name, remembered=remembered, watched=watched, stored=stored
        )
        self.rows.append(incidents.assign(of=name))
        self.found.append((name, pd.concat([tonight, resolved], ignore_index=True)))
        return incidents


def test_an_incident_is_new_goes_on_gets_worse_is_resolved_and_is_over():
    nights, cost = Nights(), {"impact_unit": "GB delayed"}
    shown = [
        nights.night(1, finding("slow_source", "A_DISK", "A", at(1), at(1, 23), impact=10.0, **cost)),
        nights.night(2, finding("slow_source", "A_DISK", "A", at(1), at(2, 23), impact=20.0, **cost)),  # as much a day
        nights.night(3, finding("slow_source", "A_DISK", "A", at(1), at(3, 23), impact=60.0, **cost)),
        nights.night(4, finding("slow_source", "A_DISK", "A", at(2), at(3, 23), impact=50.0, **cost)),  # forgets how it began
        nights.night(5, finding("slow_source", "A_DISK", "A", at(2), at(3, 23), impact=50.0, **cost)),
        nights.night(6),
    ]
    assert [list(one.state) for one in shown] == [["new"], ["ongoing"], ["escalated"], ["resolved"], ["closed"], []]
    assert [one.age_nights.tolist() for one in shown[:5]] == [[1], [2], [3], [3], [3]]
    assert len({name for one in shown for name in one.incident}) == 1
    assert shown[0].incident[0].startswith("20260101-")
    assert shown[2].change[0] == "2.0 times as many GB delayed a day"
    assert shown[3].start[0] == at(1)


def test_what_is_gone_is_resolved_once_unless_it_had_ended_and_what_comes_back_says_so():
    nights = Nights()
    first = nights.night(1, finding("slow_source", "A_DISK", "A", 1, at(1, 23)), finding("stuck_queue", "fts", "", 1, at(1, 3)))
    gone = nights.night(2)
    assert gone.set_index("incident").state.to_dict() == {first.set_index("title").incident["slow source A_DISK"]: "resolved"}
    assert len(nights.night(3)) == 0
    back = nights.night(4, finding("slow_source", "A_DISK", "A", at(2), at(4, 23)))
    assert back[["incident", "state", "change", "age_nights"]].values.tolist() == [[gone.incident[0], "escalated", "it is back", 2]]


def test_what_comes_every_night_and_ends_before_the_night_does_is_news_every_night():
    nights = Nights()
    found = [finding("slow_source", "A_DISK", "A", at(day, 2), at(day, 6)) for day in (1, 2, 3)]
    shown = [nights.night(1, found[0]), nights.night(2, *found[:2]), nights.night(3, *found), nights.night(4, *found)]
    assert [one[["state", "age_nights", "ended"]].values.tolist() for one in shown] == [
        [["new", 1, True]], [["escalated", 2, True]], [["escalated", 3, True]], [["closed", 3, True]],
    ]  # fmt: skip
    assert len({name for one in shown for name in one.incident}) == 1
    assert (shown[1].change[0], shown[1].end[0], shown[3].end[0]) == ("it is back", at(2, 6), at(3, 6))


def test_a_study_that_fails_ends_nothing_whose_source_had_stopped_early():
    nights = Nights()
    for day in (1, 2, 3):
        found = [finding("slow_source", "A_DISK", "A", at(1), at(1, 10))] if day == 1 else []
        still = nights.night(day, *found, kept=["A_DISK"] if day > 1 else (), newest={"transfers": at(1, 10)})
        assert still[["state", "ended", "age_nights"]].values.tolist() == [["new" if day == 1 else "ongoing", False, 1]]


def test_a_week_that_only_moved_on_with_the_night_brings_nothing_back():
    nights = Nights()
    topic = {"kind": "growing_topic", "entity": "t001: slow, A", "site": "A"}
    seen = nights.night(8, finding("slow_site", "A", "A", at(2), at(5, 3)), finding(start=at(1), end=at(8), **topic))
    assert (len(seen), seen.ended.item()) == (1, True)
    later = [nights.night(day, finding(start=at(day - 14), end=at(day), **topic)) for day in (10, 14, 15)]
    assert [one[["incident", "state", "change"]].values.tolist() for one in later] == [
        [[seen.incident.item(), "closed", ""]],
        [[seen.incident.item(), "closed", ""]],
        [[seen.incident.item(), "escalated", "it is back"]],  # the week after the one in which it was seen last
    ]


def test_what_is_closed_stays_as_it_was_though_its_source_forgets_how_it_began():
    nights, cost = Nights(), {"impact_unit": "GB delayed"}
    seen = nights.night(3, finding("slow_source", "A_DISK", "A", at(1), at(2, 3), impact=50.0, **cost))
    later = nights.night(4, finding("slow_source", "A_DISK", "A", at(2), at(2, 3), impact=9.0, **cost))
    columns = ["start", "impact", "impacts"]
    assert later.state.item() == "closed"
    assert later[columns].values.tolist() == seen[columns].values.tolist()
    assert seen.impact.item() == "50 GB delayed"


def test_another_study_makes_it_worse_and_joins_what_were_two():
    nights = Nights()
    two = nights.night(8, DIP, finding("slow_source", "A_DISK", "A", 13, 14))
    one = nights.night(14, DIP, finding("slow_source", "A_DISK", "A", 11, at(14, 23)))
    assert list(two.state) == ["new", "new"]
    main, other = one.set_index("incident").loc[list(two.incident)].itertuples()
    assert (main.state, main.change, other.state) == ("escalated", "now also seen by transfers", "closed")
    assert other.change == f"now part of {two.incident[0]}"
    stays = nights.night(15, DIP, finding("slow_source", "A_DISK", "A", 12, at(15, 23)))  # though its source has forgotten what overlapped
    assert stays.incident.tolist() == [two.incident[0]]


def test_trouble_of_a_storage_that_turns_out_to_be_the_sites_is_the_same_incident():
    nights = Nights()
    shown = [
        nights.night(1, finding("slow_source", "A_DISK", "A", at(1), at(1, 23))),
        nights.night(2, finding("slow_site", "A", "A", at(1), at(2, 23))),
        nights.night(3, finding("slow_destination", "A_TAPE", "A", at(2), at(3, 23))),
    ]
    assert [one.title.tolist() for one in shown] == [["slow source A_DISK"], ["slow transfers at A"], ["slow destination A_TAPE"]]
    assert len({name for one in shown for name in one.incident}) == 1
    assert "new" in set(nights.night(4, finding("slow_site", "B", "B", at(4), at(4, 23))).state)
    two = Nights()
    first = two.night(1, finding("slow_source", "A_DISK", "A", at(1), at(1, 23)))
    second = two.night(2, finding("slow_source", "A_TAPE", "A", at(2), at(2, 23))).set_index("title")
    assert second.state["slow source A_TAPE"] == "new"  # two storages stay two
    assert second.incident["slow source A_TAPE"] != first.incident[0]


def test_what_was_over_says_what_it_has_become_part_of_and_that_is_what_holds_most_of_it():
    nights = Nights()
    nights.night(8, DIP)
    disk = nights.night(14, finding("slow_source", "A_DISK", "A", 13, 14), DIP).set_index("title").incident["slow source A_DISK"]
    nights.night(15, DIP, finding("slow_source", "A_DISK", "A", 13, 14))
    joined = nights.night(16, finding("global_dip", "A", "A", 5, 16), finding("slow_source", "A_DISK", "A", 13, 14)).set_index("incident")
    assert (joined.state[disk], joined.change[disk]) == ("closed", f"now part of {joined.index[joined.title == 'site trouble at A'][0]}")
    for day in (17, 18, 19):  # told once, though the dip is found again and the storage is not
        assert disk not in nights.night(day, finding("global_dip", "A", "A", 5, 16)).incident.tolist()


def test_an_incident_that_falls_apart_goes_on_as_what_holds_most_of_it():
    nights, disk = Nights(), [finding(kind, "A_DISK", "A", 5, at(9, 23)) for kind in ("slow_source", "failing_source")]
    whole = nights.night(9, finding("slow_destination", "A_TAPE", "A", 5, 9), *disk)
    assert len(whole) == 1
    apart = nights.night(10, finding("slow_destination", "A_TAPE", "A", 8.5, 8.6), *[f | {"start": at(9), "end": at(9, 20)} for f in disk])
    assert apart.set_index("incident").title[whole.incident[0]] == "failing source A_DISK"
    assert apart.query("state == 'new'").change.tolist() == [f"split from {whole.incident[0]}"]


def test_what_had_ended_is_no_news_when_it_falls_apart():
    nights, ends = Nights(), [finding("slow_source", "A_DISK", "A", 5, 6), finding("slow_source", "A_TAPE", "A", 7, 8)]
    [whole] = nights.night(9, finding("slow_site", "A", "A", 5, 8), *ends).incident
    apart = nights.night(10, *ends).set_index("title")  # what joined them is forgotten
    assert apart.state.to_dict() == {"slow source A_DISK": "closed", "slow source A_TAPE": "closed"}
    assert sorted(apart.change) == ["", f"split from {whole}"]
    assert set(nights.night(11, *ends).state) == {"closed"}


def test_the_same_storage_goes_before_its_site():
    nights = Nights()
    first = nights.night(2, finding("slow_source", "A_DISK", "A", at(2, 12), at(2, 23)))
    both = nights.night(3, finding("failing_site", "A", "A", at(2, 1), at(2, 5)), finding("slow_source", "A_DISK", "A", at(2, 12), at(3, 23)))
    names = both.set_index("title").incident
    assert names["slow source A_DISK"] == first.incident[0]
    assert both.set_index("title").state["failing transfers at A"] == "new"


def test_what_a_weekly_source_tells_late_joins_what_the_others_have_forgotten():
    nights = Nights()
    outage = nights.night(6, finding("slow_site", "A", "A", 5, 6), finding("slow_link", "B -> C", "C", 5, 6)).set_index("title")
    nights.night(7)
    shown = [DIP, finding("drop", "vo at A", "A", 5, 12), finding("drop", "vo at C", "C", 5, 12), finding("global_dip", "D", "D", 5, 12)]
    late = nights.night(14, *shown).set_index("title")
    assert late.incident["site trouble at A"] == outage.incident["slow transfers at A"]
    assert late.incident["drop of vo at C"] == outage.incident["slow link B -> C"]
    assert late.state.to_dict() == {"site trouble at A": "closed", "drop of vo at C": "closed", "dip at D": "new"}  # it was told when it was there
    assert late.change["site trouble at A"] == "now also seen by accounting"
    assert set(nights.night(15, *shown).state) == {"closed", "ongoing"}
    back = nights.night(19, finding("slow_site", "A", "A", 18, 19), *shown).set_index("title")
    assert back.state["slow transfers at A"] == "new"  # what the week does not hold is another trouble


def test_what_is_told_late_joins_an_incident_that_still_goes_on():
    nights = Nights()
    first = nights.night(6, finding("slow_site", "A", "A", 5, 6))
    nights.night(9, finding("slow_site", "A", "A", 5, 9))
    shown = nights.night(14, finding("slow_site", "A", "A", 9.5, at(14, 23)), finding("drop", "vo at A", "A", 2, 9))  # no overlap tonight
    assert shown.incident.tolist() == first.incident.tolist()
    assert shown.studies[0] == ["accounting", "transfers"]
    other = Nights()
    other.night(6, finding("slow_site", "A", "A", 5, 6))
    assert "new" in other.night(14, finding("global_dip", "A", "A", 8, 15)).state.tolist()  # at another time
    gap = Nights()
    gap.night(12, finding("reporting_gap", "A", "A", 0, 12))
    assert "new" in gap.night(21, finding("slow_link", "B -> A", "A", 11.9, 21)).state.tolist()  # a daily source is not late
    reference = Nights()
    reference.night(6, finding("slow_site", "A", "A", 5, 6))
    dip = reference.night(8, finding("global_dip", "A", "A", -2, 5)).query("state == 'new'").incident.item()
    grown = reference.night(14, finding("global_dip", "A", "A", -2, 12))
    assert dip in grown.incident.tolist()  # what continues an incident of its own is not late either
    again = Nights()
    again.night(6, finding("reporting_gap", "A", "A", 5, 12))
    assert len(again.night(8, finding("drop", "vo at A", "A", 5, 12))) == 2  # the same study does not confirm itself


def test_what_a_source_forgot_for_a_night_comes_back_under_its_name():
    nights = Nights()
    [name] = nights.night(8, finding("global_dip", "A", "A", 1, 8), finding("slow_source", "A_DISK", "A", 7, 8)).incident
    nights.night(9, finding("slow_source", "A_DISK", "A", 7, 9))
    back = nights.night(10, finding("global_dip", "A", "A", 1, 8))
    assert back.incident.tolist() == [name]


def test_a_topic_stays_with_its_incident_when_its_weeks_begin_too_early():
    nights = Nights()
    topic = finding("growing_topic", "t1: status, down", "A", 1, 8)
    [name] = nights.night(8, finding("slow_source", "A_DISK", "A", 5, 8), topic).incident
    assert nights.night(9, finding("slow_source", "A_DISK", "A", 5, 9), topic | {"start": at(-20), "end": at(9)}).incident.tolist() == [name]
    alone = nights.night(10, finding("slow_source", "B_DISK", "B", 5, 9), topic | {"start": at(-20), "end": at(10)})
    assert set(alone.title) >= {"growing topic: status, down", "slow source B_DISK"}  # what it followed is gone, and strangers do not matter


def test_without_news_an_incident_stays_as_it_was():
    nights = Nights()
    nights.night(1, finding("slow_source", "A_DISK", "A", 1, at(1, 23)))
    still = nights.night(2, kept=["A_DISK"])
    assert still[["state", "age_nights", "change"]].values.tolist() == [["ongoing", 1, "as it was, since there is no news of transfers"]]
    assert list(nights.night(3, finding("slow_source", "A_DISK", "A", 1, at(3, 23))).state) == ["ongoing"]
    assert list(nights.night(4).state) == ["resolved"]


def test_the_same_name_long_after_is_another_incident_and_hashes_never_meet():
    nights = Nights()
    first = nights.night(1, finding("slow_source", "A_DISK", "A", 1, at(1, 23)), finding("slow_source", "A_DISK", "A", -5, -4))
    assert first.incident.is_unique  # two of one name in one night
    assert len(first) == 2
    later = nights.night(9, finding("slow_source", "A_DISK", "A", 8, at(9, 23)))
    assert later.state.tolist()[0] == "new"
    used = set()
    for _ in range(3):  # two of 300 incidents of one night share a hash with a chance of one in two
        used.add(new_incident_id(("transfers", "service", "A_DISK"), "2026-01-01", used))
    assert len(used) == 3
    assert first.incident[0] in used


@settings(max_examples=12, deadline=None)
@given(st.lists(any_findings, min_size=1, max_size=4), st.randoms())
def test_a_night_run_again_says_the_same_and_names_stay_unique(history, random):
    def shown(mix):
        nights = Nights()
        return [nights.night(day, *random.sample(rows, len(rows)) if mix else rows) for day, rows in enumerate(history, 5)], nights

    (one, nights), (other, _) = shown(False), shown(True)
    for chosen, again, (_, found) in zip(one, other, nights.found, strict=True):
        pd.testing.assert_frame_equal(chosen, again)
        assert chosen.incident.is_unique
        assert set(found.incident) >= set(chosen.incident[chosen.state != "closed"])
        assert set(chosen.state) <= {"new", "ongoing", "escalated", "resolved", "closed"}
    seen = set()
    for day, (chosen, rows) in enumerate(zip(one, history, strict=True), 5):
        begins = (chosen.state == "new") | chosen.change.str.startswith("split from ")
        assert begins.tolist() == [name not in seen for name in chosen.incident]
        assert all(name.startswith(f"202601{day:02d}-") for name in chosen.incident[chosen.state == "new"])
        assert len(nights.found[day - 5][1]) >= len(rows)
        seen |= set(chosen.incident)


# --------------------------------------------------------------------------------------------------------------- ranks


def test_priority_is_the_sum_of_its_points_and_puts_in_order():
    found = table(
        DISK | {"p_value": 1e-20, "impact": 900.0, "impact_unit": "GB delayed"},
        DIP,
        finding("surge", "vo at B", "B", 5, 12, p_value=0.01),
        finding("memleak", "n1", "B", 1, 1),
        finding("moved", "vo", "B", 5, 12, p_value=0.01),
        night=12,
    )
    label = correlate_findings(found)
    made, nothing = summarise_incidents(found, label), table().assign(incident=[])
    incidents, found, _ = track_incidents(found, label, made, pd.DataFrame(), nothing, day="2026-01-12")
    silences = read_silences([{"kind": "surge", "as": "silenced", "by": "b", "until": "2026-02-01", "why": "w"}])
    shown, _ = apply_silences(incidents, found, silences, "2026-01-12")
    ranked = rank_incidents(shown, WEIGHTS, SCALES, LIMITS, 1)
    assert list(ranked.title) == ["site trouble at A", "memory leak on n1", "move of vo", "surge of vo at B"]
    first = ranked.iloc[0]
    assert first.priority == pytest.approx(0.5 * 6 + np.log10(10) + 1 + 1 + 1)  # surprise, impact, study, site, new; the storage has ended
    assert ranked.priority[1] == pytest.approx(0.5 * 3 + 1)
    assert ranked.priority[2] == pytest.approx(0.5 * 2 + 1 + 1 - 1.5)
    assert list(ranked.severity) == ["high", "low", "low", "low"]  # 0.5 * 6 + 1 + 1 + 1 points of evidence; 1.5, -0.5 and 1
    assert (ranked["rank"].tolist(), ranked.shown.tolist()) == ([1, 2, 3, 4], [True, False, False, False])
    parts = [column for column in ranked if column.startswith("points ")]
    np.testing.assert_allclose(ranked[parts].sum(axis=1), ranked.priority, atol=0.001)


GRADES = {  # findings whose evidence stays the same: what they make, and how grave it is
    "slow transfers at A": ("high", finding("slow_site", "A", "A", 1, 2, p_value=1e-9, impact=500.0, impact_unit="GB delayed")),
    "failing source B_DISK": ("medium", finding("failing_source", "B_DISK", "B", 1, 2, p_value=1e-5)),
    "memory leak on n1": ("low", finding("memleak", "n1", "C", 1, 2, p_value=1e-3)),
    "reporting gap at D": ("high", finding("reporting_gap", "D", "D", -6, 1, p_value=1e-9, impact=5000.0, impact_unit="core hours")),
    "surge of vo at E": ("low", finding("surge", "vo at E", "E", -6, 1, p_value=1e-4)),
    "gremlins: x": ("medium", finding("gremlins", "x", "", p_value=1e-6)),
}


@pytest.mark.parametrize("moves", [False, True], ids=["ends", "goes on"])
def test_the_severity_of_an_incident_whose_evidence_does_not_change_is_the_same_on_every_night(moves):
    nights = Nights()
    for day in range(1, 11):
        rows = [row | ({"end": at(day, 23)} if moves and row["end"] is not pd.NaT else {}) for _, row in GRADES.values()]
        shown = rank_incidents(nights.night(day, *rows, watched=set()).assign(silenced_as=""), WEIGHTS, SCALES, LIMITS, 10).set_index("title")
        assert shown.severity.to_dict() == {what: severity for what, (severity, _) in GRADES.items()}, day
        if moves:
            assert set(shown.state) == {"new" if day == 1 else "ongoing"}
        assert (shown["points news"] == (shown.state == "new")).all()  # news puts in order, and makes nothing graver


def test_what_is_resolved_is_as_grave_as_it_was_so_that_who_was_told_of_it_hears_its_end():
    nights = Nights()
    for day, rows in ((1, [GRADES["slow transfers at A"][1]]), (2, [])):
        shown = rank_incidents(nights.night(day, *rows).assign(silenced_as=""), WEIGHTS, SCALES, LIMITS, 10)
        assert shown.severity.tolist() == ["high"]
    assert shown.state.tolist() == ["resolved"]


# ------------------------------------------------------------------------------------------ what nobody watched, names of then


@pytest.mark.parametrize("watched", [set(), {"transfers", "telemetry", "accounting"}, None])
def test_what_had_ended_before_anybody_looked_is_no_news_and_is_listed(watched):
    nights = Nights()
    first = nights.night(
        8,
        finding("slow_source", "A_DISK", "A", at(7, 1), at(7, 9)),  # ended the day before
        finding("slow_source", "B_DISK", "B", at(7, 1), at(8, 2)),  # was there on the night itself
        finding("slow_source", "C_DISK", "C", at(3), at(8, 23)),  # goes on
        finding("drop", "vo at D", "D", -13, -6),  # a week that ended two weeks ago
        finding("bad_run", "run 7, lumisections 1-9", "", None, None),  # no time, no end
        finding("bad_run", "run 5, lumisections 1-9", "", at(3), at(3, 9)),  # has to be decided on, though it ended days ago
        watched=watched,
    ).set_index("title")
    was_watched = watched is None or "transfers" in watched
    old = ("new", "") if was_watched else ("closed", NOT_WATCHED)
    assert {what: (one.state, one.change) for what, one in first.iterrows()} == {
        "slow source A_DISK": old,
        "slow source B_DISK": ("new", ""),
        "slow source C_DISK": ("new", ""),
        "drop of vo at D": old,
        "bad run 7": ("new", ""),
        "bad run 5": ("new", ""),
    }
    again = nights.night(9, finding("slow_source", "A_DISK", "A", at(7, 1), at(7, 9)), watched=None).set_index("title")
    assert (again.state["slow source A_DISK"], again.change["slow source A_DISK"]) == ("closed", "")  # listed apart once
    back = nights.night(10, finding("slow_source", "A_DISK", "A", at(7, 1), at(10, 23)), watched=None)
    assert back[["state", "change"]].values.tolist() == [["escalated", "it is back"]]
    assert back.incident.item() == first.incident["slow source A_DISK"]


def test_of_two_studies_it_is_enough_that_one_was_watched():
    rows = [finding("global_dip", "A", "A", -13, -6), finding("slow_source", "A_DISK", "A", -9, -8)]
    for watched, state in ((set(), "closed"), ({"accounting"}, "new"), ({"transfers"}, "new")):
        assert Nights().night(8, *rows, watched=watched).state.tolist() == [state]


def test_a_night_that_runs_again_takes_the_names_it_had():
    rows = [finding("slow_source", f"{site}_DISK", site, at(7), at(8, 23)) for site in "ABC"]
    nights = Nights()
    names = nights.night(8, *rows).set_index("title").incident
    stored = nights.found[0][1].merge(nights.rows[0][["incident", "first_seen"]], on="incident")
    earlier = finding("failing_source", "A_DISK", "A", at(6, 12), at(8, 23))  # one finding more, the first of its incident: another hash
    more = finding("slow_source", "Z_DISK", "Z", at(8), at(8, 23))
    for again in (rows, [earlier, *rows], [more, *rows]):
        shown = Nights().night(8, *again, stored=stored).set_index("title").incident
        assert {what: shown[what] for what in names.index if what in shown} == {what: names[what] for what in names.index if what in shown}
        assert shown.is_unique
        assert set(names) <= set(shown)
    assert shown["slow source Z_DISK"] not in set(names)
    one_name = new_incident_id(("transfers", "service", "Z_DISK"), "2026-01-08", set())
    later = stored.head(1).assign(incident=one_name, name="elsewhere", first_seen="2026-01-08")  # a later night's name, of something else
    shown = Nights().night(8, more, stored=later).incident.item()
    assert shown != one_name
    assert shown.startswith("20260108-")


def test_what_begins_anew_gets_no_name_that_the_night_gave_to_something_else_before():
    nights = Nights()
    first = nights.night(8, finding("slow_source", "A_DISK", "A", at(1), at(2)))
    stored = nights.found[0][1].merge(first[["incident", "first_seen"]], on="incident")
    again = Nights().night(8, finding("slow_source", "A_DISK", "A", at(7), at(8, 23)), stored=stored)  # the same storage, five days later
    assert again.incident.item() != first.incident.item()
    same = Nights().night(8, finding("slow_source", "A_DISK", "A", at(1), at(2)), stored=stored)
    assert same.incident.item() == first.incident.item()


def test_the_earliest_start_of_its_findings_is_that_of_the_incident_and_stays():
    nights = Nights()
    two = [finding("slow_source", "A_DISK", "A", at(4), at(8, 23)), finding("failing_source", "A_DISK", "A", at(2), at(8, 23))]
    assert nights.night(8, *two).start.tolist() == [at(2)]
    assert nights.night(9, finding("slow_source", "A_DISK", "A", at(7), at(9, 23))).start.tolist() == [at(2)]
