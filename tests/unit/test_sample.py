"""Functions that simulate the sample, each on a few rows; what they write together is asserted in tests/notebooks/test_simulate.py."""

import inspect
import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from nightshift.chain import Night
from nightshift.config import check
from nightshift.simulate.accounting import OLD_NAMES, RECORD, Days, apply_incidents, count_lives, draw_records, hit_by, part_of_day
from nightshift.simulate.certification import DATASETS, ELEMENTS, Detector
from nightshift.simulate.figures import spread_labels
from nightshift.simulate.tickets import KINDS as TICKET_KINDS
from nightshift.simulate.tickets import OPEN, hours_after, list_queues, usual_waits, work_of_queues
from nightshift.simulate.tickets_desk import Calendar, list_intents, read_phrases, read_site_names, write_accounts
from nightshift.simulate.tickets_osticket import server_times
from nightshift.simulate.tickets_texts import Writer
from nightshift.simulate.timeline import (
    INCIDENT_COLUMNS,
    Settings,
    check_lengths,
    join_incidents,
    list_kinds,
    make_generators,
    make_sites,
)
from nightshift.simulate.transfers import RETRY_S, SLOTS, TRIES, Luck, Network, Queue, make_networks, make_storages, run_twice

START = pd.Timestamp("2026-01-05", tz="UTC")  # a Monday
LEAST = dict.fromkeys(inspect.signature(Settings).parameters, 7) | {"day": "2026-01-31", "accounting_weeks": 40}


def hours(n):
    return pd.Timedelta(hours=n)


def incident(kind, entity, start, end, strength=1.0, site="", **more):
    return dict(zip(INCIDENT_COLUMNS, (kind, start, end, strength, entity, site), strict=True)) | more


def incidents(*rows):
    table = pd.DataFrame([incident(*row) for row in rows], columns=INCIDENT_COLUMNS)
    return table.astype(dict.fromkeys(["start", "end"], "datetime64[us, UTC]"))


# ------------------------------------------------------------------------------------------------------------ timeline


@pytest.mark.parametrize(("day", "monday"), [("2026-01-31", "2026-01-26"), ("2026-02-01", "2026-02-02"), ("2026-02-02", "2026-02-02")])
def test_the_accounting_begins_on_a_monday_and_ends_with_the_day(day, monday):
    settings = Settings(**LEAST | {"day": day})
    assert settings.this_monday == pd.Timestamp(monday, tz="UTC")
    assert settings.accounting_days[0] == settings.this_monday - pd.Timedelta(weeks=40)
    assert settings.accounting_days[-1] == pd.Timestamp(day, tz="UTC")


LENGTHS = {"transfers_per_day": 50, "incidents_per_week": 1, "certification_runs": 60, "ticket_weeks": 60, "tickets_per_week": 10}


@pytest.mark.parametrize(
    ("name", "value", "need"),
    [
        ("days", 6, "the sample needs 7 days, 50 transfers a day, 1 incident a week"),
        ("transfers_per_day", 49, "the sample needs 7 days"),
        ("incidents_per_week", 0, "the sample needs 7 days"),
        ("nights", 6, "the nodes need 7 nights"),
        ("accounting_weeks", 39, "the accounting needs 40 weeks"),
        ("certification_runs", 59, "the certification needs 60 runs"),
        ("certification_days", 6, "the certification needs 7 days"),
        ("ticket_weeks", 59, "the tickets need 60 weeks"),
        ("tickets_per_week", 9, "the tickets need 60 weeks, a year before the newest incidents, and 10 tickets a week"),
    ],
)
def test_what_is_too_short_for_its_incidents_is_refused(name, value, need):
    check_lengths(Settings(**LEAST | LENGTHS))
    with pytest.raises(ValueError, match=need):
        check_lengths(Settings(**LEAST | LENGTHS | {name: value}))


def test_every_study_draws_from_a_generator_of_its_own():
    first, again = ([one.integers(10**9) for one in make_generators(7)] for _ in range(2))
    assert first == again
    assert len(set(first)) == 5


def test_the_timeline_is_sorted_and_names_causes():
    outage = incident("site_outage", "AURORA-T1", START, START + hours(9), 10.0, "AURORA-T1")
    tickets = incident("outage_tickets", "cluster_down", START + hours(3), START + hours(50), 9, "AURORA-T1")
    caused = tickets | {"about": "site_outage", "since": START, "service": "AURORA-T1"}
    alone = incident("backlog", "compute", START - hours(1), START, 8.0)
    truth = join_incidents([pd.DataFrame([caused, alone]), pd.DataFrame([outage])])
    assert truth.kind.to_list() == ["backlog", "site_outage", "outage_tickets"]
    assert truth.cause.to_list() == ["", "", "I002"]
    assert truth.columns.to_list() == ["incident", *INCIDENT_COLUMNS, "cause"]


def test_the_chain_makes_the_sample_again_when_a_module_of_it_changes(tmp_path):
    night = Night(check({"day": "2026-01-31", "products": str(tmp_path), "studies": {"tickets": {"extract": {"source": "none.csv"}}}}))
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "nightshift/simulate").glob("*.py")}
    assert "nightshift/simulate/timeline.py" in modules
    assert modules < set(night.texts_of_sample())


def test_kinds_lives_and_queues_are_tables_for_people():
    assert list_kinds(TICKET_KINDS).columns.to_list() == ["kind", "weakest", "strongest", "least days", "most days", "meaning of strength"]
    assert list_kinds(TICKET_KINDS).kind[0] == "growing topic"
    series = pd.DataFrame({"life": ["ended", "all along", "ended"], "series": list("abc"), "core_h": [1.0, 2.0, 3.0], "noise_sd": [0.1, 0.2, 0.3]})
    assert count_lives(series).values.tolist() == [["all along", 1, 2.0, 0.2], ["ended", 2, 4.0, 0.2]]
    intents = pd.DataFrame({"queue": list("aab"), "topic": list("xyz"), "share": [0.25, 0.25, 0.5]})
    intents = intents.assign(reply_h=[1.0, 3.0, 5.0], solve_h=[2.0, 2.0, 8.0])
    assert list_queues(intents).values.tolist() == [["a", 2, 0.5, 2.0, 2.0], ["b", 1, 0.5, 5.0, 8.0]]


# ----------------------------------------------------------------------------------------------------------- transfers


@pytest.fixture
def storages():
    rng = np.random.default_rng(1)
    return make_storages(rng, make_sites(rng))


def network(storages, *rows):
    return Network(storages, np.zeros((50, len(storages))), incidents=incidents(*rows), start=START)


def asked(storages, times, src=0, dst=3):
    """Files of 100 MB that are asked for on one link at these seconds."""
    files = pd.DataFrame({"asked_s": np.array(times, float), "src": src, "dst": dst, "bytes": 10**8})
    return files.assign(fts=storages.fts.to_numpy()[files.dst])


def test_no_more_transfers_than_slots_run_on_a_link_and_all_requests_are_served(storages):
    attempts = Queue(asked(storages, np.arange(40)), network(storages), luck=Luck(np.random.default_rng(2))).run()
    events = [(at, 1) for at in attempts.started] + [(at, -1) for at in attempts.finished]
    running = np.cumsum([step for _, step in sorted(events)])
    assert running.max() <= SLOTS
    assert set(attempts.file) == set(range(40))
    assert (attempts.started >= attempts.submitted).all()


def test_a_dead_source_refuses_and_each_request_is_tried_three_times(storages):
    dead = network(storages, ("failing_source", storages.rse[0], START, START + hours(40)))
    attempts = Queue(asked(storages, [0, 5, 9]), dead, luck=Luck(np.random.default_rng(3))).run()
    refused = attempts[attempts.why.str.contains("refused")]
    assert len(refused) >= 6
    assert refused.groupby("file").attempt.max().max() == TRIES - 1
    again = attempts[attempts.attempt > 0].merge(attempts.assign(attempt=attempts.attempt + 1), on=["file", "attempt"])
    assert np.allclose(again.submitted_x, again.finished_y + RETRY_S)


def test_a_stuck_server_starts_nothing_until_it_is_free(storages):
    stuck = network(storages, ("stuck_queue", storages.fts[3], START, START + hours(2)))
    attempts = Queue(asked(storages, [60.0]), stuck, luck=Luck(np.random.default_rng(4))).run()
    assert attempts.started.min() >= 2 * 3600
    assert stuck.release_s("another.example", 60.0) == 60.0


def test_two_networks_differ_in_site_outages_alone(storages):
    outage, slow = (("site_outage", storages.site[0]), 9.0), (("slow_destination", storages.rse[3]), 4.0)
    rows = incidents(*((*hit, START, START + hours(2), strength) for hit, strength in (outage, slow)))
    settings = Settings(**LEAST | {"day": str((START + hours(6 * 24)).date())})  # seven days from START
    calm, full = make_networks(np.random.default_rng(1), settings, storages=storages, incidents=rows)
    assert (calm.slowness((0, 3), 60.0), full.slowness((0, 3), 60.0)) == (4.0, 9.0)
    assert calm.drift is full.drift


def test_the_strongest_incident_slows_a_transfer_down_while_it_lasts(storages):
    rse, site = storages.rse, storages.site
    rows = [("slow_link", f"{rse[0]} -> {rse[3]}", START, START + hours(2), 8.0), ("site_outage", site[3], START, START + hours(1), 12.0)]
    slow = network(storages, *rows)
    assert [slow.slowness((0, 3), at_s) for at_s in (0.0, 3600.0, 7200.0)] == [12.0, 8.0, 1]
    assert slow.slowness((3, 0), 0.0) == 12.0
    assert slow.slowness((1, 6), 0.0) == 1


def test_what_an_outage_does_not_touch_goes_as_it_went_without(storages):
    there, elsewhere = asked(storages, np.arange(0, 4000, 400)), asked(storages, np.arange(0, 4000, 300), src=6, dst=9)
    assert storages.site[9] not in (storages.site[0], storages.site[3])
    files = pd.concat([there, elsewhere]).sort_values("asked_s", ignore_index=True)
    out = network(storages, ("site_outage", storages.site[3], START, START + hours(1), 10.0))
    calm, real = run_twice(files, Luck(np.random.default_rng(5)), calm=network(storages), network=out, rng=np.random.default_rng(6))
    both = calm.merge(real, on=["file", "attempt"], suffixes=("", "_out"))
    touched = files.dst[both.file].to_numpy() == 3
    longer = (both.finished_out - both.started_out) / (both.finished - both.started)
    assert np.allclose(longer[~touched], 1)
    assert longer[touched & (both.started < 3000)].median() > 2


# ---------------------------------------------------------------------------------------------------------- accounting


def make_series(vo="lumen.survey", sites=("AURORA-T1", "BOREAS-T1", "CIRRUS-T1"), core_h=(700.0, 100.0, 650.0)):
    series = pd.DataFrame({"vo": vo, "site": sites, "core_h": core_h, "cores": 4, "steady": True})
    return series.assign(series=series.vo + " at " + series.site)


def test_parts_of_days_are_those_that_an_incident_covers():
    dates = pd.date_range(START, periods=4, freq="D")
    assert part_of_day(dates, START + hours(12), ends=START + hours(54)).ravel().tolist() == [0.5, 1, 0.25, 0]


def test_a_move_goes_between_the_two_series_most_alike_in_size_and_loses_nothing():
    series = make_series()
    assert hit_by(series, "moved", name="lumen.survey").tolist() == [0, 2]
    dates = pd.date_range(START, periods=3, freq="D")
    days = Days(dates, np.full((3, 3), 24.0), np.full((3, 3), 3.0), np.full((3, 3), 0.9))
    apply_incidents(days, series, incidents=incidents(("moved", "lumen.survey", START, START + hours(36), 0.5)))
    assert days.core_h.tolist() == [[12, 24, 36], [18, 24, 30], [24, 24, 24]]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [("site_outage", "core_h", 0.03), ("efficiency_drop", "efficiency", 4), ("more_jobs", "job_h", 0.25), ("surge", "core_h", 4)],
)
def test_an_incident_multiplies_what_its_kind_says_and_nothing_else(kind, values, expected):
    series = make_series()
    entity = series.site[0] if kind == "site_outage" else series.series[0]
    arrays = {name: np.ones((2, 3)) for name in ("core_h", "job_h", "efficiency")}
    days = Days(pd.date_range(START, periods=2, freq="D"), **arrays)
    apply_incidents(days, series, incidents=incidents((kind, entity, START, START + hours(24), 4.0)))
    assert arrays.pop(values).tolist() == [[pytest.approx(expected), 1, 1], [1, 1, 1]]
    assert all((other == 1).all() for other in arrays.values())


def test_records_have_an_older_name_in_the_first_half_and_agree_with_the_hours():
    series, dates = make_series(), pd.date_range(START, periods=29, freq="D")  # four weeks, and a day of the next one
    days = Days(dates, np.full((29, 3), 2000.0), np.full((29, 3), 3.0), np.full((29, 3), 0.9))
    records = draw_records(np.random.default_rng(7), days, series=series, sites=make_sites(np.random.default_rng(8)))
    renamed = records.day >= START + pd.Timedelta(weeks=2)
    assert set(records.VOName[~renamed]) == set(OLD_NAMES.values())
    assert set(records.VOName[renamed]) == set(records.vo) == set(OLD_NAMES)
    assert records.groupby(["day", "SiteName"]).CoreHours.sum().mean() == pytest.approx(2000, rel=0.05)
    assert set(RECORD) < set(records.columns)


def test_labels_of_lines_are_spread_in_the_order_of_the_last_week():
    weekly = pd.DataFrame({"a": [10.0, 10.0, 900.0], "b": [1000.0, 1000.0, 1.0], "c": [100.0, 100.0, 100.0]})
    heights = spread_labels(weekly)
    assert list(heights) == ["b", "c", "a"]
    assert list(heights.values()) == pytest.approx([10, 100, 1000])


# -------------------------------------------------------------------------------------------------------- certification


def test_without_failures_shares_sum_to_one_and_a_tracker_that_is_off_sees_one_side():
    settings = Settings(**LEAST | {"certification_runs": 2})
    lumisections = pd.DataFrame({"position": [0, 0, 1], "pileup": [55.0, 54.0, 30.0], "dcs": [True, False, True]})
    none = pd.DataFrame({"kind": pd.Series(dtype=str), "struck": pd.Series(dtype=object)})
    detector = Detector(np.random.default_rng(9), settings, lumisections=lumisections, failures=none)
    hits = detector.shares(ELEMENTS.index[ELEMENTS.element == "Tracker/hit_phi"][0])
    assert hits[[0, 2]].sum(axis=1) == pytest.approx([1, 1])
    left = hits[:, : hits.shape[1] // 2].sum(axis=1) / hits.sum(axis=1)
    assert left[1] < 0.1 < 0.4 < left[0] < 0.6
    assert {element for elements in DATASETS.values() for element in elements} == set(ELEMENTS.element)


# -------------------------------------------------------------------------------------------------------------- tickets


@pytest.fixture
def writer():
    phrases = read_phrases()
    person = {"first": "Bado", "last": "Bamiko", "user": "bbamiko", "name": "Bado Bamiko", "phone": "1", "department": "physics"}
    users = pd.DataFrame([person | {"address": "bbamiko@campus.example"}])
    return Writer(np.random.default_rng(10), phrases, users=users, intents=list_intents(phrases), site_names=read_site_names())


def test_a_text_has_one_of_each_choice_and_its_own_words(writer):
    texts = Counter(writer.fill("(Hello|Good (day|morning)) {first}, ( |now) .", {"first": "Bado"}) for _ in range(200))
    assert set(texts) == {f"{greeting} Bado,{end}" for greeting in ("Hello", "Good day", "Good morning") for end in (".", " now.")}
    with pytest.raises(KeyError, match="nowhere"):
        writer.fill("{nowhere}", {})


def test_mistakes_exchange_two_letters_of_one_longer_word(writer):
    assert writer.mistype("a cat sat") == "a cat sat"
    for _ in range(20):
        text = writer.mistype("my account expired")
        assert sorted(text) == sorted("my account expired")
        assert sum(a != b for a, b in zip(text, "my account expired", strict=True)) in (0, 2)


def test_other_words_are_not_taken_within_addresses_and_paths(writer):
    word = next(iter(writer.phrases["also"]))
    fixed = f"/home/{word}/run {word}.example x@{word}"
    assert all(writer.reword(fixed).startswith(f"/home/{word}/run") and writer.reword(fixed).endswith(f"x@{word}") for _ in range(20))
    assert len({writer.reword(word) for _ in range(50)}) > 1


def test_a_queue_works_in_the_day_and_slower_in_a_backlog():
    clock = pd.date_range(START, periods=7 * 24, freq="h")
    calendar = Calendar(clock, clock, np.zeros(len(clock), bool), np.ones(len(clock)))
    backlog = incidents(("backlog", "slow", START, START + hours(7 * 24), 10.0))
    worked = work_of_queues(calendar, ["usual", "slow"], incidents=backlog)
    assert worked["usual"][[0, 8, 17]] == pytest.approx([0, 0.16, 0.16 + 9 * 1.02])
    tickets = pd.DataFrame({"queue": ["usual", "slow", "slow"], "asked_h": 8.0})
    ends = hours_after(tickets, np.array([1.02 * 3, 1.02 * 0.3, 1000.0]), worked=worked)
    assert ends == pytest.approx([11, 11, np.inf])


def test_half_of_the_tickets_that_ended_waited_no_longer_than_is_said():
    asked = {"asked_h": [0.0, 10.0, 20.0, 30.0], "reply_h": [2.0, 14.0, 26.0, np.inf], "closed_h": [5.0, 20.0, 35.0, np.inf]}
    tickets = pd.DataFrame(asked | {"status": [OPEN + 1, OPEN + 1, OPEN + 1, OPEN]})
    assert usual_waits(tickets) == {"n_open": 1, "reply_h": 4.0, "close_h": 10.0}


def test_times_of_the_server_are_those_of_its_zone():
    assert server_times(np.array([0.0, 1.5, np.inf, np.nan]), START) == ["2026-01-05 01:00:00", "2026-01-05 02:30:00", None, None]


def test_accounts_are_what_sacctmgr_prints(tmp_path):
    users = pd.DataFrame({"user": ["bz", "ba", "gu"], "last": ["Zado", "Ado", "Gudo"], "department": ["physics", "physics", "biology"]})
    write_accounts(users.assign(in_slurm=[True, True, False]), tmp_path / "accounts.txt")
    lines = (tmp_path / "accounts.txt").read_text().splitlines()
    assert lines[:4] == ["User|Def Acct", "root|root", "ba|phys_a", "bz|phys_b"]
    assert lines[4:] == ["Account|Descr|Org", "root|default root account|root", "phys_a|group phys_a|physics", "phys_b|group phys_b|physics"]


def test_the_notebook_defines_no_function():
    cells = json.loads((REPOSITORY / "notebooks/simulate.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert not re.search(r"^(def|class) ", code, re.M)
