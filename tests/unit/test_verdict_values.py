"""Verdicts on nodes and on lumisections by hand and at the edges: diagnoses, incidents, silence, too little history, limits, ranges."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nightshift.detectors import certification_verdicts as verdicts_of
from nightshift.detectors.certification import own_scores, range_strength, run_medians, scale_features, shortest_range
from nightshift.detectors.certification_training import fold_task
from nightshift.detectors.telemetry_history import little_history, too_few_to_train
from nightshift.detectors.telemetry_incidents import (
    diagnose,
    keep_findings,
    merge_flagged,
    node_rhythms,
    rule_of,
    run_looks,
    silent_entities,
    spans_of,
    window_step,
)
from nightshift.statistics import chance_of_maximum, combine_tests, draw_groups, percentile_interval

AT = pd.Timestamp("2026-01-30", tz="UTC")


def after(minutes):
    return AT + pd.to_timedelta(minutes, unit="min")


# --------------------------------------------------------------------------------------------------------------- nodes


def test_a_flagged_window_is_called_what_the_classifier_is_sure_of():
    chances = pd.DataFrame({"p none": [0.6, 0.5, 0.51, 0.2], "p memleak": [0.4, 0.5, 0.49, 0.8]})[["p memleak", "p none"]]
    found, confidence, probable = diagnose(chances, [0, 1, 1, 1], least_confidence=0.5)
    assert (found.tolist(), probable.tolist()) == (["none", "memleak", "unknown", "memleak"], ["none", "memleak", "none", "memleak"])
    assert confidence.tolist() == [0.6, 0.5, 0.51, 0.8]
    assert diagnose(chances, [1] * 4, least_confidence=0.8)[0].tolist() == ["unknown"] * 3 + ["memleak"]
    lines = rule_of(chances, [0, 1, 1, 1], least_confidence=0.6)[0].tolist()
    assert lines == ["not flagged", "unknown: not sure enough", "unknown: the classifier says healthy", "named"]
    assert diagnose(pd.DataFrame(index=[0, 1]), [0, 1], least_confidence=0.5)[0].tolist() == ["none", "unknown"]


def windows(*minutes, node="a", job="", flagged=True, length=10, p=0.01, looks=2.0):
    """Windows of a run which begin after so many minutes."""
    start = after(list(minutes))
    rows = pd.DataFrame({"node_id": node, "job_id": job, "app": "x", "start": start, "end": start + pd.Timedelta(minutes=length)})
    return rows.assign(flagged=flagged, p_value=p, looks=looks, score=np.arange(len(rows), dtype=float), day=start.floor("D"))


def test_a_run_is_looked_at_as_often_as_windows_fit_in_it():
    step, length = pd.Timedelta(minutes=5), pd.Timedelta(minutes=10)
    rows = windows(0, 5, 10, 15)
    assert run_looks(rows, length).tolist() == [3] * 4  # 25 minutes
    assert run_looks(windows(0, 50), length).tolist() == [2, 2], "not oftener than it has windows"
    assert (window_step(rows, length), window_step(rows[:1], length)) == (step, length)


def test_flagged_windows_merge_over_one_other_and_no_more():
    scored = pd.concat([windows(0, 5, 15, 30, 35), windows(0, 5, node="b", p=[0.2, 0.9]), windows(0, node="c")], ignore_index=True)
    chances = pd.DataFrame({"p none": 0.1, "p memleak": 0.9}, scored.index)
    merged = merge_flagged(scored, chances, step=pd.Timedelta(minutes=5), consecutive=2, least_confidence=0.5)
    assert merged[["node_id", "windows", "score"]].values.tolist() == [["a", 2, 4], ["a", 3, 2], ["b", 2, 1]]
    assert merged.p_value.tolist() == [0.02, 0.02, 0.4]
    assert merged.start.tolist() == [after(30), after(0), after(0)]
    assert merged.end.tolist() == [after(45), after(25), after(15)]
    assert merged.called_at.tolist() == [after(45), after(15), after(15)]
    assert set(merged.diagnosis) == {"memleak"}
    assert merged.confidence.tolist() == pytest.approx([0.9] * 3)
    apart = scored.assign(flagged=[True, False, False, True, False, False, False, False])
    assert merge_flagged(apart, chances, step=pd.Timedelta(minutes=5), consecutive=1, least_confidence=0.5).windows.tolist() == [1, 1]


def test_an_incident_is_a_finding_among_all_runs_that_were_judged():
    scored = pd.concat([windows(0, node=node) for node in "abcde"], ignore_index=True)
    incidents = windows(0, node="a").assign(p_value=0.01)
    incidents = pd.concat([incidents, windows(0, node="b").assign(p_value=0.03)], ignore_index=True)
    kept = keep_findings(incidents, scored, n_calibration=199, false_discovery_rate=0.05)
    assert (kept.judgements, kept.least, kept.alone) == (5, 0.01, 1)
    assert (kept.reported.node_id.tolist(), kept.by_chance.node_id.tolist()) == (["a"], ["b"])  # 5 x 0.01 and 5 x 0.03 / 2
    assert keep_findings(incidents, scored, n_calibration=198, false_discovery_rate=0.05).alone == 2
    nothing = keep_findings(incidents.head(0), scored.head(0), n_calibration=99, false_discovery_rate=0.05)
    assert (nothing.judgements, nothing.least, nothing.alone, len(nothing.reported)) == (0, 0.01, 1, 0)


def test_a_node_may_pause_three_times_its_longest_usual_pause_and_a_day_at_least():
    day = 24 * 60
    rows = [windows(0, 2 * day, node="a", job="1"), windows(3 * day, node="a", job="2"), windows(0, node="b"), windows(0, 60, node="c", job="1")]
    rows += [windows(100, node="c", job="2")]
    spans = spans_of(pd.concat(rows))
    assert spans.node_id.tolist() == ["a", "a", "b", "c", "c"]
    assert spans.pause[1] == pytest.approx(1 - 10 / day)
    assert spans.pause[4] == pytest.approx(30 / day)
    nodes = node_rhythms(spans, after(10 * day)).set_index("node_id")
    usual = [1 - 10 / day, 30 / day]
    assert nodes.limit.dt.total_seconds().tolist() == pytest.approx([3 * 86400 * usual[0], 3 * 86400 * np.median(usual), 86400])
    assert nodes.silence["b"] == pd.Timedelta(minutes=10 * day - 10)


def test_nodes_that_are_silent_with_all_of_their_site_are_one_row():
    nodes = pd.DataFrame({"node_id": ["a.x", "b.x", "a.y", "b.y", "a.z"], "last": after([1, 2, 3, 4, 5]), "usual": [1.0, 2, 3, 4, 5]})
    nodes["silence"] = pd.to_timedelta([50, 40, 30, 20, 10], unit="min")
    rows = silent_entities(nodes.drop(3), nodes, r".*\.(.)").set_index("entity")
    assert rows.nodes.to_dict() == {"a.y": 1, "a.z": 1, "X": 2}, "a site of one node is that node"
    assert rows.loc["X", ["last", "silence", "usual"]].tolist() == [after(2), pd.Timedelta(minutes=40), 2]


@pytest.mark.parametrize(
    ("n", "alone", "nodes", "words"),
    [
        (98, 1, 5, "no window can be flagged: 98 healthy windows"), (99, 1, 5, ""), (99, 2, 4, ""),
        (99, 3, 4, "3 incidents must be as strange at once on 4 nodes"),
        (99, 1, 1, ""), (99, 2, 1, "2 incidents must be as strange at once on 1 node; about 198 healthy windows"), (99, 9, 0, ""),
    ],
)  # fmt: skip
def test_little_history_finds_nothing_where_half_of_the_nodes_would_have_to_misbehave(n, alone, nodes, words):
    sentence = little_history(n, 0.01, alone, nodes)
    assert words in sentence
    assert bool(words) == bool(sentence)


@pytest.mark.parametrize(
    ("n_windows", "healthy", "jobs", "words"),
    [(0, 0, [], "there is no window"), (20, 9, ["1", "2"], "9 healthy windows are too few"), (20, 10, ["1", "2"], ""),
     (20, 12, ["1"], "all of one job"), (20, 12, [""], "")],
)  # fmt: skip
def test_ten_healthy_windows_of_two_jobs_can_teach(n_windows, healthy, jobs, words):
    usable = pd.DataFrame({"truth": ["none"] * healthy + ["memleak"] * 3, "job_id": (jobs * 20)[:healthy] + ["9"] * 3})
    sentence = too_few_to_train(np.zeros(n_windows), usable, unlabelled=False, day="d", judged_days=2)
    assert words in sentence
    assert bool(words) == bool(sentence)
    sentence = too_few_to_train(np.zeros(5), usable, unlabelled=True, day="d", judged_days=2.0)
    assert sentence.startswith("all 5 windows lie in the 2 days")


# -------------------------------------------------------------------------------------------------------- lumisections


def test_a_range_is_as_strong_as_its_p_values_together():
    assert range_strength([], 0.01) == 0
    assert range_strength([0.01, 0.01 / np.e], 0.01) == pytest.approx(1 + 2)
    maxima = np.array([0.0, 2, 4, 0, 3])
    strengths = np.arange(1, 2001) * (1 + np.log(0.01 * 200))
    by_hand = int(np.flatnonzero(chance_of_maximum(strengths, maxima) <= 0.05)[0]) + 1
    assert shortest_range(maxima, 199, alarm_rate=0.01, finding_rate=0.05) == by_hand > 1
    assert shortest_range(maxima, 199, alarm_rate=0.01, finding_rate=0.05, longest=by_hand) == by_hand
    assert shortest_range(maxima, 199, alarm_rate=0.01, finding_rate=0.05, longest=by_hand - 1) is None


def test_features_are_scaled_by_their_bounds_up_to_ten():
    frame = pd.DataFrame({"a": [0.0, 2, 99, -99], "b": [5.0, 6, np.nan, 4]})
    scaled = scale_features(frame, {"a": {"min": 0, "max": 4}, "b": {"min": 5, "max": 5}})
    assert scaled[:, 0].tolist() == [0, 0.5, 10, -10]
    assert scaled[:2, 1].tolist() == [0, 0]
    assert np.isnan(scaled[2, 1])


def test_own_scores_are_logarithms_of_distances_or_per_weight_of_vectors():
    model = SimpleNamespace(score_samples=lambda x: x[:, 0])
    assert own_scores(model, np.array([[2.0]])).tolist() == [-2]
    weighed = SimpleNamespace(score_samples=lambda x: x[:, 0], dual_coef_=np.array([[1.0, 3]]))
    assert own_scores(weighed, np.array([[2.0]])).tolist() == [-0.5]


def test_medians_of_a_run_are_those_of_its_measured_lumisections():
    rows = pd.DataFrame({"run": [1, 1, 1, 2], "dataset": ["A", "A", "A", "B"], "measured": [True, True, False, True], "f": [1.0, 2, 99, 5]})
    medians = run_medians(rows, {"A": {"f": {}}, "B": {"f": {}}})
    assert medians.columns.tolist() == ["A: f", "B: f"]
    assert medians["A: f"][1] == 1.5
    assert medians.isna().to_numpy().tolist() == [[False, True], [True, False]]


def test_the_limit_of_a_score_has_the_interval_of_drawn_runs():
    scores, run = np.arange(100.0), np.repeat(np.arange(10), 10)
    by_hand = []
    for drawn in draw_groups(10, rng=np.random.default_rng(1), resamples=50)[1:]:
        all_scores = np.sort(np.repeat(scores, drawn[run].astype(int)))[::-1]
        by_hand.append(all_scores[max(int(np.floor(0.05 * (len(all_scores) + 1))), 1) - 1])
    found = verdicts_of.limit_interval(scores, run, alarm_rate=0.05, rng=np.random.default_rng(1), resamples=50)
    assert found == pytest.approx(percentile_interval(by_hand))


def test_the_first_limit_is_the_least_value_that_is_flagged_and_the_second_the_strangest_good_one():
    calibration = pd.DataFrame({"a": np.arange(200.0), "b": np.arange(200.0)[::-1]})
    weights, decision = {"a": 0.5, "b": 0.5}, pd.DataFrame({"a": [-5.0, 250], "b": [0.0, 1]})
    grid = np.linspace(0, 250, 500)
    tests = pd.DataFrame({"a": grid, "b": np.zeros(500)})
    by_hand = grid[combine_tests(tests, calibration, weights)[1] <= 0.02][0]
    assert verdicts_of.first_limit("a", grid, calibration=calibration, weights=weights, alarm_rate=0.02) == by_hand
    assert verdicts_of.first_limit("a", grid[:5], calibration=calibration, weights=weights, alarm_rate=0.02) == grid[4]
    limits = verdicts_of.both_limits(decision, calibration=calibration, weights=weights, alarm_rate=0.02)
    assert [second for _, second in limits.values()] == [199, 199]
    whole = np.linspace(-5, 250.1, 2000)
    assert limits["a"][0] == verdicts_of.first_limit("a", whole, calibration=calibration, weights=weights, alarm_rate=0.02)


@pytest.mark.parametrize(("n_good", "is_refused"), [(98, True), (99, False)])
def test_enough_good_lumisections_reach_the_alarm_rate(n_good, is_refused):
    assert bool(verdicts_of.why_refused(pd.DataFrame({"a": np.zeros(n_good)}), 0.01)) == is_refused
    assert "AUC below 0.5" in verdicts_of.why_refused(pd.DataFrame(index=range(99)), 0.01)


def test_words_of_lumisections_and_of_runs(monkeypatch):
    scored = pd.DataFrame({"label": ["trivial", "good", "good", "good", "good"], "flagged": [True, True, True, True, False]})
    decided, beyond = np.array([1, 0, 1, 1, 1], bool), np.array([1, 1, 1, 0, 1], bool)
    assert verdicts_of.verdicts(scored, decided, beyond=beyond).tolist() == ["dcs", "undecided", "bad", "grey", "good"]
    p = np.array([0.8, 0.79, 0.2, 0.21])
    monkeypatch.setattr(verdicts_of, "run_medians", lambda rows, scaling: pd.DataFrame({"f": p}, index=[1, 2, 3, 4]))
    monkeypatch.setattr(verdicts_of, "load_model", lambda path: SimpleNamespace(predict_proba=lambda x: np.column_stack([1 - x[:, 0], x[:, 0]])))
    detector = {"runs": {"features": ["f"], "high": 0.8, "low": 0.2}, "datasets": {}}
    assert verdicts_of.run_verdicts(None, detector, folder=Path("x")).tolist() == [
        "good", "grey", "bad", "grey"
    ]  # fmt: skip


@pytest.mark.parametrize(("n_validation", "check"), [(3, [6, 7, 8]), (2, [6, 7]), (1, [0, 5])])
def test_a_fold_is_stopped_by_two_rows_of_validation_or_more_and_else_by_every_fifth_run(n_validation, check):
    part = ["train"] * 6 + ["validation"] * n_validation + ["train"] * (6 - n_validation)
    frame = pd.DataFrame({"run": np.arange(12), "label": ["good"] * 11 + ["bad"], "part": part})
    fold = np.array([1] * 9 + [0] * 3)
    task = fold_task(frame, np.arange(12.0)[:, None], dataset="A", fold=fold, number=0)
    assert task.check.tolist() == check
    assert task.fit.tolist() == [row for row in range(9) if row not in check]
    assert task.score.tolist() == [9, 10, 11]
