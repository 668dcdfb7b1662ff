"""Nodes between the nights: scores as those of a night, alarms by their filters, provisional findings that a night takes over."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from live_nodes import BEGIN, STEP_S, Clock, run, write_live_models
from telemetry_tables import run_of, write_clean

import helpers
from nightshift.live.filters import Rule, RunFilter, table_of_alarms
from nightshift.live.nodes import span_of, time_of
from nightshift.live.predictor import RuntimePredictor
from nightshift.live.provisional import build_provisional, judged_until, merge_alarms, read_provisional, take_over
from nightshift.live.samples import Samples
from nightshift.live.servers import past_of_servers
from nightshift.runs import VERSION
from nightshift.status import write_status

N = 42  # moments
RUNS = {("x-n01", "7"): run(N, 1, cpu=(18, 34, 70)), ("x-n02", "7"): run(N, 2), ("y-n01", "9"): run(N, 3), ("y-n02", "8"): run(20, 4, first=9)}


def at(moment):
    return pd.Timestamp((BEGIN + moment) * STEP_S, unit="s", tz="UTC")


@pytest.fixture
def products(tmp_path):
    write_live_models(tmp_path)
    return tmp_path


def judged_live(clock, products, moments, **how):
    """All windows that a stream judges, in their order, and (the alarms that begin, those that end) of each look."""
    watch, rows = clock.watch(products, **how), []
    filter_rows = watch.filter_rows
    watch.filter_rows = lambda judged, chances: rows.append(judged) or filter_rows(judged, chances)
    alarms = [clock.look(watch, moment) for moment in moments]
    return pd.concat(rows, ignore_index=True), alarms


@pytest.mark.parametrize(
    ("moments", "server"),
    [(range(24, N), {}), (range(5, N + 3, 5), {"lag": 2}), (range(21, N + 3, 3), {"repeats": 2})],
    ids=["each step", "late looks and samples", "repeated samples"],
)
def test_a_stream_gives_windows_the_scores_of_a_night(products, moments, server):
    clock = Clock(RUNS, **server)
    live, _ = judged_live(clock, products, moments)
    assert not live.duplicated(["node_id", "job_id", "start"]).any(), "no window is judged twice"
    predictor = RuntimePredictor(helpers.study_paths("telemetry", products).models)
    night, _ = predictor.judge(predictor.windows(clock.frame()))
    both = live.merge(night, on=["node_id", "job_id", "start"], suffixes=("", "_of_night"), how="left", indicator=True)
    only_live, both = both[both._merge == "left_only"], both[both._merge == "both"]
    ends = {"x-n01": at(N), "x-n02": at(N), "y-n01": at(N), "y-n02": at(29)}
    assert (only_live.end > only_live.node_id.map(ends) - pd.Timedelta("30s")).all(), "a night knows the end, and leaves out the last seconds"
    both = both[both.end < both.node_id.map(ends) - pd.Timedelta("30s")]  # those after which a night averages over less
    assert len(both) > len(night) - 10
    assert len(both) > 100
    assert np.abs(both.score - both.score_of_night).max() < 1e-6
    assert (both.p_value == both.p_value_of_night).all()
    assert (both.diagnosis == both.diagnosis_of_night).all()
    assert set(both.node_id) == set(ends)


# ------------------------------------------------------------------------------------------------------ Filters


def followed(flags, rule):
    """[(first, last flagged window, window with which it is an alarm)] of a run with these flags, and whether the last one goes on."""
    follow, ended = RunFilter(rule), []
    for number, flag in enumerate(flags):
        start = at(number)
        window = SimpleNamespace(node_id="n", job_id="1", start=start, end=start, flagged=flag == "x", score=1.0, p_value=0.01)
        ended.append(follow.add(window, np.array([0.2, 0.8])))
    goes_on = follow.alarm
    alarms = [*filter(None, ended), *filter(None, [follow.close()])]
    return [tuple(round((one - at(0)).total_seconds() / STEP_S) for one in (a.start, a.end, a.called_at)) for a in alarms], goes_on is not None


@pytest.mark.parametrize(
    ("flags", "alarms", "goes_on"),
    [
        ("..x..x..x..", [], False),
        ("..xx..xx...", [], False),
        ("..xxx......", [(2, 4, 4)], False),
        ("..xxx....x.", [(2, 9, 4)], True),  # within five windows
        ("xxx.....xxx", [(0, 2, 2), (8, 10, 10)], True),
        ("x.x.xxx", [(0, 6, 6)], True),
        ("", [], False),
    ],
)
def test_an_alarm_takes_three_in_a_row_among_five_and_ends_after_five_without(flags, alarms, goes_on):
    assert followed(flags, Rule()) == (alarms, goes_on)


def test_the_majority_counts_beside_what_is_in_a_row():
    assert followed("..x....xx..", Rule(consecutive=2, majority=5))[0] == [], "two of five"
    assert followed("..x.xx.....", Rule(consecutive=2, majority=5))[0] == [(2, 5, 5)], "three of five"
    for wrong in ({"consecutive": 6}, {"consecutive": 0}, {"alarm_rate": 1}):
        with pytest.raises(ValueError, match=r"must be above 0|at least one window"):
            Rule(**wrong)


def test_a_table_of_no_alarm_has_its_columns():
    table = table_of_alarms([], ["p memleak", "p none"], least_confidence=0.5)
    assert len(table) == 0
    assert {"node_id", "called_at", "delay_s", "diagnosis", "confidence"} < set(table)


# ------------------------------------------------------------------------------------------------------- Alarms


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A stream over a run with a trouble: what each look returned, the products, the clock."""
    products = tmp_path_factory.mktemp("watched")
    write_live_models(products)
    clock = Clock({("x-n01", "7"): run(N, 1, cpu=(18, 30, 70)), ("x-n02", "7"): run(N, 2)})
    watch = clock.watch(products)
    looks = {moment: clock.look(watch, moment) for moment in range(14, N, 2)}
    return SimpleNamespace(products=products, clock=clock, watch=watch, looks=looks)


def test_a_trouble_is_an_alarm_within_three_minutes_and_named(watched):
    kinds = ("begins", "changes", "ends")
    seen = {what: [(moment, one) for moment, look in watched.looks.items() for one in look[what].itertuples()] for what in kinds}
    [(moment, alarm)], [*_, (_, named)], [(_, ended)] = seen.values()
    assert (alarm.node_id, alarm.job_id, alarm.diagnosis) == ("x-n01", "7", "unknown"), "its first windows hold health as well"
    assert (named.diagnosis, named.probable) == ("cpuoccupy", "cpuoccupy")
    assert (moment - 18) * STEP_S <= 180
    assert alarm.delay_s == (alarm.called_at - alarm.start).total_seconds() <= 120
    assert at(30) <= ended.end <= at(34)
    assert ended.confidence > 0.5


def test_its_provisional_finding_has_the_columns_and_the_words_of_a_finding(watched):
    [found] = read_provisional(watched.products, "telemetry").itertuples()
    assert (found.study, found.kind, found.entity, found.site, found.job_id) == ("telemetry", "cpuoccupy", "x-n01", "X", "7")
    assert not found.goes_on
    assert found.impact_unit == "nodes"
    assert found.p_value <= 0.005
    assert found.observed == pytest.approx(70, abs=2)
    assert found.evidence.startswith("cpu (a) above what is usual: ")
    assert f"since {found.start:%Y-%m-%d %H:%M} UTC; occupied CPU with " in found.evidence
    nodes = pd.read_parquet(watched.products / "data/live/telemetry_nodes.parquet")
    assert nodes.node_id.tolist() == ["x-n01", "x-n02"] or nodes.node_id.tolist() == ["x-n02", "x-n01"]
    assert not nodes.in_alarm.any()
    state = json.loads((watched.products / "data/live/telemetry.json").read_text())
    assert (state["runs"], state["alarms"], state["step_s"]) == (2, 0, 15.0)
    assert state["flagged"] >= 12


def test_a_stream_that_begins_again_goes_on_with_the_same_finding(tmp_path):
    write_live_models(tmp_path)
    clock = Clock({("x-n01", "7"): run(N, 1, cpu=(12, N, 70))})
    first = clock.watch(tmp_path)
    for moment in range(14, 24, 3):
        clock.look(first, moment)
    [before] = read_provisional(tmp_path, "telemetry").itertuples()
    assert before.goes_on
    again = clock.watch(tmp_path)
    for moment in range(26, 36, 3):
        clock.look(again, moment)
    [after] = read_provisional(tmp_path, "telemetry").itertuples()
    assert (after.start, after.goes_on) == (before.start, True)
    assert after.end > before.end


def test_an_alarm_goes_on_by_models_that_know_other_kinds_of_trouble(tmp_path):
    """Here none, as where the labelled days have left the window."""
    write_live_models(tmp_path)
    clock = Clock({("x-n01", "7"): run(N, 1, cpu=(12, N, 70))})
    watch = clock.watch(tmp_path)
    before = [clock.look(watch, moment) for moment in range(14, 26, 3)]
    assert watch.table(watch.alarms).diagnosis.tolist() == ["cpuoccupy"]
    shutil.rmtree(tmp_path / "models")
    write_live_models(tmp_path, classes=[])
    after = [clock.look(watch, moment) for moment in range(26, 38, 3)]
    assert sum(len(look["begins"]) for look in [*before, *after]) == 1
    assert not any(len(look["ends"]) for look in after)
    [alarm] = watch.table(watch.alarms).itertuples()
    assert alarm.diagnosis == "unknown"
    assert alarm.windows > 8, "those from before count as well"


def test_the_probabilities_of_a_stretch_follow_their_classes():
    rule = Rule(consecutive=1, majority=1)
    follow = RunFilter(rule)
    follow.change_classes(["p a"], ["p b"])
    window = SimpleNamespace(node_id="n", job_id="7", start=at(0), end=at(4), flagged=True, score=5.0, p_value=0.001)
    follow.add(window, np.array([0.7, 0.2, 0.1]))
    follow.change_classes(["p a", "p b", "p none"], ["p none", "p new", "p a"])
    assert follow.stretch.chances.tolist() == [0.1, 0.0, 0.7]
    follow.add(window, np.array([0.5, 0.5, 0.0]))
    assert follow.stretch.chances.tolist() == [0.6, 0.5, 0.7]


def test_a_server_that_does_not_answer_costs_no_window(tmp_path):
    write_live_models(tmp_path)
    clock = Clock({("x-n01", "7"): run(N, 1)})
    watch = clock.watch(tmp_path)
    clock.look(watch, 20)
    now, clock.now = clock.now, -1
    with pytest.raises(TimeoutError):
        watch.look((BEGIN + 24) * STEP_S)
    clock.now = now
    clock.look(watch, 28)
    assert watch.counted["windows"] == 28 - 20 + 15  # with moment 20 there are windows from 2 to 16 whose neighbours are there


def test_a_clock_that_is_set_back_costs_no_window_and_judges_none_twice(tmp_path):
    write_live_models(tmp_path)
    counts = []
    for moments in ((30, 29, 20, 36), (30, 36)):
        clock = Clock({("x-n01", "7"): run(N, 1)})
        watch = clock.watch(tmp_path)
        for moment in moments:
            clock.look(watch, moment)
        counts.append(watch.counted["windows"])
    assert counts[0] == counts[1] > 15


def test_a_table_of_nodes_that_cannot_be_read_is_made_anew(tmp_path):
    write_live_models(tmp_path)
    path = tmp_path / "data/live/telemetry_nodes.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")  # after a loss of power, say
    clock = Clock({("x-n01", "7"): run(N, 1)})
    clock.look(clock.watch(tmp_path), 20)
    assert pd.read_parquet(path).node_id.tolist() == ["x-n01"]


def test_a_run_that_has_ended_ends_its_alarm_and_leaves(tmp_path):
    write_live_models(tmp_path)
    clock = Clock({("x-n01", "7"): run(20, 1, cpu=(8, 20, 70)), ("x-n02", ""): run(70, 2)})
    watch = clock.watch(tmp_path)
    looks = [clock.look(watch, moment) for moment in (14, 18, 22, 69)]
    assert sum(len(look["begins"]) for look in looks) == 1
    assert sum(len(look["ends"]) for look in looks) == 1
    assert pd.read_parquet(tmp_path / "data/live/telemetry_nodes.parquet").node_id.tolist() == ["x-n02"]


def test_a_job_is_diagnosed_from_its_own_samples_after_its_end(products):
    predictor = RuntimePredictor(helpers.study_paths("telemetry", products).models)
    alarms = predictor.diagnose(Clock({("x-n01", "7"): run(N, 1, mem=(20, N, 30)), ("x-n02", "7"): run(N, 2)}).frame())
    [alarm] = alarms.itertuples()
    assert (alarm.node_id, alarm.diagnosis) == ("x-n01", "memleak")
    assert at(15) < alarm.start < at(22)
    assert alarm.confidence > 0.5
    nothing = pd.DataFrame({"node_id": [], "timestamp": [], "cpu::a": []})
    assert len(predictor.diagnose(nothing)) == 0


def test_samples_that_the_models_cannot_read_are_refused_in_one_line(products):
    models = helpers.study_paths("telemetry", products).models
    predictor = RuntimePredictor(models)
    with pytest.raises(ValueError, match=r"^the samples have no column timestamp$"):
        predictor.diagnose(pd.DataFrame({"node_id": ["n"], "cpu::a": [1.0]}))
    with pytest.raises(ValueError, match=r"^the samples hold no metric that the models read, such as cpu::a$"):
        predictor.diagnose(pd.DataFrame({"node_id": ["n"], "timestamp": [at(0)]}))
    description = json.loads((models / "detector.json").read_text())
    description.pop("windows")
    helpers.write_json(description, models / "detector.json")
    with pytest.raises(ValueError, match="does not say how its windows were cut: delete the folder"):
        RuntimePredictor(models)


def test_a_run_of_which_no_number_is_there_has_no_sample():
    """Prometheus hands on NaN and infinite values of an exporter."""
    read = {("x-n01", "7"): np.nan, ("x-n02", "7"): np.inf, ("y-n01", "9"): 1.0}
    pull = SimpleNamespace(server=SimpleNamespace(step_s=STEP_S), read=lambda begin, n: {run: np.full((n, 2), value) for run, value in read.items()})
    samples = Samples(10)
    assert samples.update(pull, BEGIN) == 10
    assert list(samples.values) == [("y-n01", "9")]


@pytest.mark.parametrize("text", ["20260131", "202601310000", "20260131000000", "2026-01-31", "1769817600", "1769817600.0"])
def test_a_time_is_a_day_or_seconds_since_1970(text):
    assert time_of("--since", text) == pd.Timestamp("2026-01-31", tz="UTC")


def test_a_job_that_would_have_ended_before_it_began_is_refused():
    """As where its beginning is given in another zone: no sample would be read, and all be well."""
    assert span_of("2026-01-31T12:00", "2026-01-31T13:00") == (pd.Timestamp("2026-01-31 12:00", tz="UTC"), pd.Timestamp("2026-01-31 13:00", tz="UTC"))
    with pytest.raises(ValueError, match=r"^--since is '2026-01-31T12:00', after 2026-01-31T11:00: times are in UTC$"):
        span_of("2026-01-31T12:00", "2026-01-31T11:00")
    with pytest.raises(ValueError, match=r"^--since is '2200-01-01', after .*, which is now: times are in UTC$"):
        span_of("2200-01-01", "")


# -------------------------------------------------------------------------------------------------------- Nights


def provisional(*rows):
    """Provisional findings of x-n01 (or another node) from one moment to another: [(from, to)]."""
    about = {"kind": "memleak", "score": 1.0, "p_value": 0.01, "evidence": "x", "job_id": "7", "goes_on": False}
    table = [{"entity": (more or ["x-n01"])[0], "start": at(first), "end": at(last), **about} for first, last, *more in rows]
    return build_provisional(table, "telemetry")


def spans(findings):
    return [(one.entity, *(round((time - at(0)).total_seconds() / STEP_S) for time in (one.start, one.end))) for one in findings.itertuples()]


def test_what_a_night_has_judged_is_not_reported_twice():
    findings = provisional((0, 10), (5, 30, "x-n02"), (40, 50))
    assert spans(take_over(findings, None)) == spans(findings)
    assert spans(take_over(findings, at(20))) == [("x-n02", 20, 30), ("x-n01", 40, 50)]
    assert spans(take_over(findings, at(60))) == []


def test_alarms_of_one_run_that_are_near_are_one_finding():
    gap = pd.Timedelta(seconds=10 * STEP_S)
    merged = merge_alarms(provisional((0, 10), (100, 110)), provisional((15, 20), (60, 70, "x-n02")), gap)
    assert spans(merged) == [("x-n01", 0, 20), ("x-n02", 60, 70), ("x-n01", 100, 110)]
    assert spans(merge_alarms(merged, provisional((15, 25)), gap))[0] == ("x-n01", 0, 25), "the same one, as it is now"


def test_how_far_a_night_has_judged_is_its_end_or_that_of_its_source(tmp_path):
    assert judged_until(tmp_path, "telemetry") is None
    for day, outcome in (("2026-01-29", "ok"), ("2026-01-30", "ok"), ("2026-01-31", "failed")):
        report = tmp_path / "reports" / day / "telemetry"
        report.mkdir(parents=True)
        (report / "4_analyse.json").write_text(json.dumps({"version": VERSION, "outcome": outcome}))
    assert judged_until(tmp_path, "telemetry") == pd.Timestamp("2026-01-31", tz="UTC")
    raw = tmp_path / "data/raw/telemetry"
    raw.mkdir(parents=True)
    newest = "2026-01-30T18:00:00+00:00"
    write_status(raw, state="ok", rows=1, newest=newest, source="hand", window=["2026-01-01", "2026-01-30"])
    assert judged_until(tmp_path, "telemetry") == pd.Timestamp(newest)


def test_a_server_is_judged_by_its_own_nights_and_its_troubles_are_no_past(tmp_path):
    models = write_live_models(tmp_path)
    windows = run_of("s1", "", at(-2000), n=1500, level=50)
    paths = write_clean(tmp_path, windows)
    tests = windows[["node_id", "job_id", "start", "end"]].assign(classifier=-12.0, health=np.linspace(0, 3, len(windows)))
    gone = tests[:50].assign(node_id="gone")  # whose last windows have left the clean table since
    helpers.write_parquet(pd.concat([tests, gone]), paths.scores.with_name("telemetry_tests.parquet"))
    helpers.write_parquet(pd.DataFrame({"entity": ["s1"], "start": [windows.start[1400]], "end": [windows.end[1499]]}), paths.findings)
    predictor = RuntimePredictor(models)
    past = past_of_servers(paths, predictor.detector)
    assert len(past.tests["s1"]["health"]) == pytest.approx(1400, abs=4)
    assert past.tests["s1"]["health"].max() < 2.9
    assert np.abs(past.levels["s1"]).max() < 0.5, "it has not drifted"
    assert (set(past.tests), set(past.levels)) == ({"s1", "gone"}, {"s1"})
    clock = Clock({("s1", ""): run(N, 1), ("new", ""): run(N, 1)})
    judged = {}
    for name, one in (("own", past), ("pool", None)):
        predictor.past = one
        judged[name] = predictor.judge(predictor.windows(clock.frame()))[0].set_index("node_id")
    assert (judged["own"].loc["s1"].p_value > 0.999).all(), "below all that it did in its nights"
    assert (judged["pool"].loc["s1"].p_value < judged["own"].loc["s1"].p_value).all(), "by what all healthy windows are"
