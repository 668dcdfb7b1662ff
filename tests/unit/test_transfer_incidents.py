"""Where an incident of the transfers begins, whether any could be found, and what its errors and perfSONAR say."""

import runpy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from nightshift.analysis.transfers import (
    attempts_of,
    drawn_of,
    evidence_of,
    failing_items,
    failures_by_hour,
    find_problems,
    probes_table,
    requests_of,
    size_of_files,
    stuck_items,
    usual_failures,
)
from nightshift.detectors.transfers import (
    choose_predictor,
    describe_errors,
    describe_probes,
    error_table,
    error_words,
    meets,
    of_entity,
    site_of,
)
from nightshift.detectors.transfers_scan import ENTITIES, best_possible, extend_window, scan_incidents
from nightshift.error_classes import error_class

START = pd.Timestamp("2026-01-03", tz="UTC")


def hourly(flagged_share, per_hour=2, seed=0):
    """Items of one entity, `per_hour` an hour, flagged with the share of each hour: hour, flagged."""
    rng = np.random.default_rng(seed)
    hour = np.repeat(np.arange(len(flagged_share)), per_hour)
    return hour, rng.random(len(hour)) < np.asarray(flagged_share)[hour]


def counts(flagged):
    """What `extend_window` reads of items of which one in a hundred is flagged on a normal night."""
    return np.ones(len(flagged)), flagged, np.full(len(flagged), 0.01)


@pytest.mark.parametrize(("begin", "length", "share"), [(200, 40, 0.9), (40, 336, 0.9), (40, 336, 0.4), (0, 200, 0.9), (100, 400, 0.5)])
def test_an_incident_is_followed_to_its_start_and_end(begin, length, share):
    hour, flagged = hourly(np.where((np.arange(500) >= begin) & (np.arange(500) < begin + length), share, 0.01), seed=1)
    middle = begin + length // 2
    low, high = extend_window(hour, counts(flagged), middle - 6, middle + 6)
    assert abs(low - begin) <= 4
    assert abs(high - begin - length) <= 4


def test_a_day_of_health_between_two_incidents_keeps_them_apart():
    at = np.arange(300)
    shares = np.where(((at >= 100) & (at < 124)) | ((at >= 148) & (at < 172)), 0.9, 0.01)
    hour, flagged = hourly(shares)
    assert extend_window(hour, counts(flagged), 150, 170) == (148, 172)
    gap = (hour < 124) | (hour >= 148)  # hours without transfers say nothing
    assert extend_window(hour[gap], counts(flagged[gap]), 150, 170) == (100, 172)


def test_a_window_of_normal_hours_stays_as_it_is():
    hour, flagged = hourly(np.full(100, 0.01))
    assert extend_window(hour, counts(flagged), 40, 50) == (40, 50)


def test_the_start_of_an_outage_of_days_is_found_within_six_hours():
    one_seed = runpy.run_path(str(REPOSITORY / "bench/outage_start.py"))["one_seed"]
    found = [one_seed(seed, per_day=500, storages=8, quiet=False) for seed in range(10)]  # more of more: python bench/outage_start.py
    late = np.array([one["late_h"] for one in found])
    assert (np.abs(late) <= 6).sum() >= 9
    assert max(one["days"] for one in found) > 7


def items_at(hours, **columns):
    base = {"src": "A", "dst": "B", "link": "A -> B", "fts": "f", "src_site": "A", "dst_site": "B", "expected": 0.01, "flagged": True}
    return pd.DataFrame({"time": START + pd.to_timedelta(hours, unit="h")}).assign(**(base | columns))


def test_what_began_before_the_scanned_transfers_began_then_and_is_no_finding_by_itself():
    hours = np.arange(0, 240, 0.5)
    items = items_at(hours, flagged=(hours >= 60) & (hours < 200))
    [found] = scan_incidents(items, ENTITIES, clump="link", since=START + pd.Timedelta("100h")).itertuples()
    assert (found.start, found.end, found.flagged) == (START + pd.Timedelta("60h"), START + pd.Timedelta("199.5h"), 280)
    assert not len(scan_incidents(items, ENTITIES, clump="link", since=START + pd.Timedelta("201h")))


@pytest.mark.parametrize(("per_day", "possible"), [(1, False), (2, False), (12, True)])
def test_a_night_of_hardly_any_transfers_can_hold_no_finding(per_day, possible):
    items = items_at(np.arange(0, 14 * 24, 24 / per_day), flagged=False)
    tonight = START + pd.Timedelta(days=13)
    p, n = best_possible(items, tonight)
    assert (p <= 0.05) == possible
    assert n == per_day
    flagged = scan_incidents(items.assign(flagged=items.time >= tonight), ENTITIES, clump="link", level=0.05)
    assert len(flagged) == possible  # and so says the scan when all of them are flagged
    assert best_possible(items.iloc[:0], tonight) == (1.0, 0)


# ------------------------------------------------------------------------------------------------------------ what the errors say


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (
            "TRANSFER [5] TRANSFER ERROR: Copy failed (3rd pull). Last attempt: copy HTTP 507 : Insufficient Storage",
            "no space",
            "copy HTTP 507 : Insufficient Storage",
        ),
        (
            "Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)",
            "queue expired",
            "Job has been canceled because it stayed in the queue for too long (max-time-in-queue time…",
        ),
        ("DESTINATION [1] HTTP 403 : Permission refused", "permission", "DESTINATION [1] HTTP 403 : Permission refused"),
        (
            "SOURCE [112] Result curl error (56): Failure when receiving data from the peer after 1 attempts",
            "connection lost",
            "SOURCE [112] Result curl error (56): Failure when receiving data from the peer after N at…",
        ),
        (
            "DESTINATION [111] connect to se01.harbor.example:1094 /pool/a/f.root, pool 339: Connection refused",
            "connection refused",
            "DESTINATION [111] connect to HOST PATH, pool N: Connection refused",
        ),
        ("SOURCE [2] davs://se.a.example/f No such file or directory", "file missing", "SOURCE [2] URL No such file or directory"),
        ("TRANSFER CHECKSUM MISMATCH Source and destination checksums do not match 1a2b3c4d != 00ff00aa", "checksum", None),
        ("STAGING [110] bring-online timeout has been exceeded", "tape", None),
        ("Transfer canceled because the gsiftp performance marker timeout of 360 seconds has been exceeded", "timeout", None),
        ("TRANSFER [70] globus_xio: The GSI XIO driver failed: certificate has expired", "certificate", None),
        ("TRANSFER [5] Copy failed: HTTP 500 : Unexpected server error: 500", "server error", None),
        ("DESTINATION OVERWRITE Destination file exists and overwrite is not enabled", "file exists", None),
        ("SOURCE [111] connection to se.aurora.example refused after 404 s", "connection refused", None),
        ("The FTS job lost", "job lost", None),
        ("Unused hop in multi-hop", "cancelled", None),
        ("what nobody has written before", "other", "what nobody has written before"),
    ],
)
def test_errors_are_told_apart_in_the_words_of_their_producers(text, name, words):
    assert error_class(text) == name
    assert len(error_words(text)) <= 90
    assert words is None or error_words(text) == words


def failures(n_refused=7, n_other=3):
    refused = [f"DESTINATION [111] Connection refused by s{i}.b.example" for i in range(n_refused)]
    reasons = refused + ["HTTP 507 : Insufficient Storage"] * n_other
    sources = ["A_DISK"] * (n_refused - 1) + ["C_DISK"] * (n_other + 1)
    return pd.DataFrame({"reason": reasons, "src": sources, "dst": "B_DISK"})


def test_the_evidence_quotes_the_errors_with_their_shares():
    sentence = describe_errors(failures(), "dst")
    assert sentence == (
        "70% of the failures say “DESTINATION [111] Connection refused by HOST”, 86% of these from A_DISK; "
        "30% say “HTTP 507 : Insufficient Storage”, 100% of these from C_DISK"
    )
    assert describe_errors(failures(9, 1), "link") == "90% of the failures say “DESTINATION [111] Connection refused by HOST”"
    assert describe_errors(failures().assign(reason=""), "dst") == ""
    assert describe_errors(failures().iloc[:0], "dst") == ""
    table = error_table(failures())
    assert table[["error", "failures", "from"]].values.tolist() == [["connection refused", 7, "A_DISK"], ["no space", 3, "C_DISK"]]


@pytest.mark.parametrize(
    ("loss", "rate", "sentence"),
    [
        (3.2, 900, "perfSONAR saw a loss of 3.2% (usually 0.0%)"),
        (0.0, 100, "perfSONAR saw a throughput of 100 Mb/s (usually 900)"),
        (5.0, 100, "perfSONAR saw a loss of 5.0% (usually 0.0%) and a throughput of 100 Mb/s (usually 900)"),
        (0.01, 880, "4 perfSONAR probes clean, as at other times"),
    ],
)
def test_the_evidence_says_what_perfsonar_saw(loss, rate, sentence):
    time = pd.date_range(START, periods=20, freq="6h")
    during = (time >= START + pd.Timedelta("48h")) & (time <= START + pd.Timedelta("66h"))
    probes = pd.DataFrame({"src_host": "a", "dst_host": "b", "time": time, "loss_pct": np.where(during, loss, 0.01), "latency_ms": 9.0})
    probes["throughput_mbps"] = np.where(during, rate, 900.0)
    pairs = pd.DataFrame({"src_host": ["a", "a"], "dst_host": ["b", "b"]})
    assert describe_probes(probes, pairs, START + pd.Timedelta("49h"), START + pd.Timedelta("67h")) == sentence
    assert describe_probes(probes, pairs.assign(dst_host="c"), START, START + pd.Timedelta("67h")) == ""


def test_the_table_of_probes_has_the_numbers_of_the_evidence_and_says_what_is_bad():
    time = pd.date_range(START, periods=20, freq="6h")
    during = (time >= START + pd.Timedelta("48h")) & (time <= START + pd.Timedelta("66h"))
    loss = np.where(during, [0.0, 6.8, 0.0, 0.0] * 5, 0.0)  # one of four probes: their median is 0
    probes = pd.DataFrame({"src_host": "a", "dst_host": "b", "time": time, "loss_pct": loss, "latency_ms": 9.0, "throughput_mbps": 900.0})
    attempts = {"src_host": ["a", "c"], "dst_host": ["b", "d"], "src": ["A", "C"], "dst": ["B", "D"], "link": ["A -> B", "C -> D"]}
    failing = pd.DataFrame(attempts | {"time": START + pd.Timedelta("50h"), "flagged": False, "expected": 0.0, "reason": ""})
    about = {"entity_kind": "src", "start": START + pd.Timedelta("49h"), "end": START + pd.Timedelta("67h"), "flagged": 2, "items": 3}
    about |= {"expected": 0.1, "observed": 20.0, "usual": 2.0}
    found = pd.DataFrame([about | {"way": "slow", "kind": "slow_source", "entity": one} for one in "AC"])
    found = pd.concat([found, found.head(1).assign(way="stuck", kind="stuck_queue")])
    slow, unseen = probes_table(found, failing, probes).to_dict("records")
    assert slow == {
        "kind": "slow source",
        "entity": "A",
        "probes": 4,
        "verdict": "loss",
        "mean loss, % (usually)": "1.7 (0.0)",
        "median latency, ms (usually)": "9.0 (9.0)",
        "median throughput, Mb/s (usually)": "900 (900)",
    }
    assert "a loss of 1.7% (usually 0.0%)" in evidence_of(next(found.itertuples()), failing, probes)
    assert (unseen["probes"], unseen["verdict"]) == (0, "")
    assert unseen["mean loss, % (usually)"] == "not measured (not measured)"


@pytest.mark.parametrize(
    ("lstm", "boosting", "scores"),
    [((0.2, 0.1, 0.3), (0.3, 0.2, 0.4), "lstm"), ((0.2, -0.1, 0.3), (0.1, 0.05, 0.2), "boosting"), ((0.1, -0.1, 0.3), (-1.0, -2.0, 0.0), "log_size")],
)
def test_the_best_that_beats_the_best_baseline_scores_and_else_that_baseline(lstm, boosting, scores):
    losses = pd.Series({"boosting": 0.2, "lstm": 0.1})
    assert choose_predictor(losses, {"lstm": lstm, "boosting": boosting, "log_size": (0.0, 0.0, 0.0)}, "log_size") == scores


# --------------------------------------------------------------------------------------------------------- names of places


def test_the_site_of_a_storage_is_what_the_pattern_says_or_its_own_name():
    storages = pd.Series(["A-T2_DATADISK", "T2_US_MIT", "T1_US_FNAL_Disk", "_X", "lone"])
    assert site_of(storages, "(.+)_[^_]+").tolist() == ["A-T2", "T2_US", "T1_US_FNAL", "_X", "lone"]
    assert site_of(storages, "(T[0-3]_[A-Z]{2}_[^_]+).*").tolist() == ["A-T2_DATADISK", "T2_US_MIT", "T1_US_FNAL", "_X", "lone"]


def test_problems_of_a_missing_name_hold_their_transfers():
    items = pd.DataFrame({"fts": pd.Series(["f1", None, "f2"], dtype="category"), "src_site": ["A", "B", "A"], "dst_site": ["B", "A", "C"]})
    assert of_entity(items, "fts", "unknown").tolist() == [False, True, False]
    assert of_entity(items, "fts", "f1").tolist() == [True, False, False]
    assert of_entity(items, "site", "B").tolist() == [True, True, False]


def test_a_site_outage_is_met_by_the_site_and_at_either_end_by_every_storage_of_it_and_by_no_other():
    names = pd.Series(
        ["A-T2_DATADISK", "B_DISK -> A-T2_SCRATCHDISK", "A-T2_DATADISK -> B_DISK", "AA-T2_DISK", "B_DISK -> AA-T2_DISK", "A-T2", "fts.A-T2_x"]
    )
    outage = SimpleNamespace(kind="site_outage", entity="A-T2")
    assert meets(names, outage).tolist() == [True, True, True, False, False, True, False]
    link = SimpleNamespace(kind="slow_link", entity="A-T2_DATADISK -> B_DISK")
    assert meets(names, link).tolist() == [False, False, True, False, False, False, False]


def test_a_queue_was_stuck_until_the_last_who_waited_got_through():
    """Requests of two hours wait eight hours each: it was over when the last of them began, not when it was asked for."""
    start = pd.Timestamp("2026-01-25", tz="UTC")
    times = start + pd.to_timedelta(np.arange(0, 7 * 24, 0.25), unit="h")
    caught = (times >= start + pd.Timedelta(days=4)) & (times < start + pd.Timedelta(days=4, hours=2))
    items = pd.DataFrame({"time": times, "value": np.where(caught, 8 * 3600.0, 10.0), "usual": 10.0, "expected": 0.005, "flagged": caught})
    items = items.assign(link="A -> B", src="A", dst="B", fts="f", bytes=1e9, file=np.arange(len(items)))
    [problem] = find_problems(items, "stuck", since=start).itertuples()
    assert (problem.kind, problem.flagged) == ("stuck_queue", 8)
    assert problem.end == times[caught].max()
    assert problem.until == times[caught].max() + pd.Timedelta(hours=8)
    assert problem.delayed_gb == pytest.approx(8.0)


def test_a_file_counts_once_as_delayed_however_often_it_was_tried():
    """Eight files of 2 GB are each tried four times, and fail; a ninth says no size."""
    start = pd.Timestamp("2026-01-25", tz="UTC")
    times = start + pd.to_timedelta(np.arange(0, 7 * 24, 0.25), unit="h")
    failed = (times >= start + pd.Timedelta(days=4)) & (times < start + pd.Timedelta(days=4, hours=9))
    files = np.where(failed, np.cumsum(failed) % 9, 100 + np.arange(len(times)))
    items = pd.DataFrame({"time": times, "value": failed.astype(float), "usual": 0.02, "expected": 0.02, "flagged": failed, "file": files})
    items = items.assign(link="A -> B", src="A", dst="B", src_site="A", dst_site="B", fts="f", bytes=np.where(files == 8, np.nan, 2e9))
    [problem] = find_problems(items, "failing", since=start).itertuples()
    assert problem.flagged == 36
    assert problem.delayed_gb == pytest.approx(16.0)
    assert np.isnan(size_of_files(items[items.file == 8]))


WORDS = {"slow": "stage-ins beyond their limit", "stuck": "stage-ins waited beyond", "failing": "stage-ins failed"}


@pytest.mark.parametrize(("way", "noun"), WORDS.items())
def test_a_problem_of_what_comes_from_tape_is_one_of_stage_ins(way, noun):
    """For nine hours every stage-in to B is in trouble, and no transfer from disk to B is."""
    start = pd.Timestamp("2026-01-25", tz="UTC")
    times = np.repeat(start + pd.to_timedelta(np.arange(0, 7 * 24, 0.25), unit="h"), 2)
    tape = np.arange(len(times)) % 2 == 0
    caught = tape & (times >= start + pd.Timedelta(days=4)) & (times < start + pd.Timedelta(days=4, hours=9))
    items = pd.DataFrame({"time": times, "value": caught * 9.0, "usual": 0.02, "expected": 0.02, "flagged": caught, "file": np.arange(len(times))})
    names = {"src": np.where(tape, "A (tape)", "A"), "fts": np.where(tape, "f (tape)", "f"), "link": np.where(tape, "A (tape) -> B", "A -> B")}
    items = items.assign(**names, dst="B", src_site="A", dst_site="B", bytes=1e9, reason="")
    [problem] = find_problems(items, way, since=start).itertuples()
    assert (problem.kind, problem.flagged) == (f"{way}_stage_in", 36)
    assert "(tape)" in problem.entity
    assert noun in evidence_of(problem, items, pd.DataFrame())
    items["link"] = "A -> B"
    assert not find_problems(items, way, since=start).kind.str.contains("stage_in").any()


def test_stage_ins_have_their_own_usual_wait_and_share_of_failures():
    """From disk 10 s in the queue and 1% of failures, from tape three hours and 10%; the servers and links of the night are new."""
    rng, n = np.random.default_rng(0), 4000
    tape, time = np.arange(n) % 4 == 0, START + pd.to_timedelta(np.arange(n) * 60, unit="s")
    mark = np.where(tape, " (tape)", "")
    calibration = pd.DataFrame({"fts": "f" + pd.Series(mark), "queue_s": np.where(tape, 10_800.0, 10.0) * rng.uniform(0.5, 2, n)})
    new = pd.DataFrame({"fts": ["g", "g (tape)", "g (tape)"], "submitted": time[-1], "queue_s": [10_000.0, 10_000.0, 50_000.0], "state": "done"})
    stuck = stuck_items(requests_of(new, earlier=START), calibration, now=time[-1], alarm_rate=0.005)
    assert stuck.flagged.tolist() == [True, False, True]
    assert stuck.usual.tolist() == [calibration.queue_s[~tape].median(), *[calibration.queue_s[tape].median()] * 2]
    state = np.where(rng.random(n) < np.where(tape, 0.1, 0.01), "failed", "done")
    tried = pd.DataFrame({"link": "A" + pd.Series(mark) + " -> B", "state": state, "started": time})
    tonight, since = tried.tail(2).assign(link=["N -> B", "N (tape) -> B"], started=time[-1] + pd.Timedelta("1h")), time[-1] + pd.Timedelta("1min")
    tried = pd.concat([tried, tonight], ignore_index=True).assign(finished=pd.NaT, submitted=pd.NaT, created=pd.NaT)
    tried = attempts_of(tried)
    failing = failing_items(tried[tried.time >= since], failures_by_hour(tried, until=since))
    assert failing.expected.tolist() == pytest.approx([0.01, 0.1], abs=0.02)


def test_a_figure_draws_no_more_points_than_can_be_told_apart():
    items = pd.DataFrame({"time": START + pd.to_timedelta(np.arange(500), unit="h"), "flagged": np.arange(500) % 10 == 0})
    pd.testing.assert_frame_equal(drawn_of(items, rng=np.random.default_rng(0), most=450), items)
    drawn = drawn_of(items, rng=np.random.default_rng(0), most=60)
    assert (drawn.flagged.sum(), (~drawn.flagged).sum()) == (50, 60)
    assert drawn.time.is_monotonic_increasing


def test_an_hour_in_which_most_of_a_link_failed_is_nothing_usual_however_its_counts_come():
    """100 hours of ten attempts, one of which fails; in the last hour nine do."""
    hour = np.repeat(np.arange(100), 10)
    failed = (np.arange(1000) % 10 == 0) | ((hour == 99) & (np.arange(1000) % 10 < 9))
    clean = pd.DataFrame({"link": "A -> B", "state": np.where(failed, "failed", "done"), "started": START + pd.to_timedelta(hour, unit="h")})
    tried = attempts_of(clean.assign(finished=pd.NaT, submitted=pd.NaT, created=pd.NaT))
    hours = failures_by_hour(tried, until=START + pd.Timedelta("200h"))
    assert (hours.tried.sum(), hours.failed.sum(), len(hours)) == (1000, 108, 100)
    of_link, overall = usual_failures(hours)
    assert overall == pytest.approx(99.5 / 1000)  # of 990 attempts
    assert of_link["A -> B"] == pytest.approx((99 + 20 * overall) / 1010)
    parts = pd.concat([failures_by_hour(tried[part::3], until=START + pd.Timedelta("200h")) for part in range(3)])
    assert usual_failures(parts)[1] == overall, "counts of days that share an hour are those of the hour"
    assert failures_by_hour(tried, until=START).empty
