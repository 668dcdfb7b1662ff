"""Verdicts on nodes and on lumisections by hand and at the edges: diagnoses, incidents, silence, too little history, limits, ranges."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

from nightshift.detectors import certification_training
from nightshift.detectors import certification_verdicts as verdicts_of
from nightshift.detectors.certification import own_scores, range_strength, run_medians, scale_features, shortest_range, worst_error
from nightshift.detectors.certification_choice import (
    OutOfFold,
    all_together,
    area_of,
    experiments_of,
    gate,
    held_out_by_folds,
    measure_fit,
    nested_scores,
    together_of,
    upright,
)
from nightshift.detectors.certification_training import (
    Methods,
    classical,
    combine_fits,
    combined_fits,
    fit_classical,
    fold_task,
    judge_fit,
    make_task,
    store_fit,
)
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


def test_what_is_rebuilt_wholly_or_has_a_twin_is_as_usual_as_a_millionth():
    model = make_pipeline(RobustScaler(), NearestNeighbors(n_neighbors=2)).fit(np.arange(5.0)[:, None])
    assert own_scores(model, np.array([[2.0]])).tolist() == pytest.approx([np.log((0 + 1 / 2) / 2 + 1e-6)], abs=1e-9), "in ranges of two"
    model = make_pipeline(RobustScaler(), NearestNeighbors(n_neighbors=1)).fit(np.arange(5.0)[:, None])
    assert own_scores(model, np.array([[2.0]])).tolist() == pytest.approx([np.log(1e-6)])
    assert worst_error(np.zeros((1, 3)), [1, 1, 1], 0.5).tolist() == pytest.approx([np.log(1e-6)])


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


def test_a_table_of_decisions_has_every_lumisection_once_and_every_dataset(monkeypatch):
    monkeypatch.setattr(verdicts_of, "decision_values", lambda part, detector, folder: part.x.to_numpy() * detector["times"])
    rows = pd.DataFrame({"run": [1, 1, 1, 0], "lumisection": [2, 1, 2, 5], "dataset": ["A", "A", "B", "B"], "x": [1.0, 2, 3, 4]})
    detector = {"datasets": {"B": {"times": 10}, "A": {"times": 1}, "C": {"times": 1}}}
    table = verdicts_of.decision_table(rows, detector, folder=None)
    assert table.index.tolist() == [(0, 5), (1, 1), (1, 2)]
    assert table.fillna(-1).to_dict("list") == {"B": [40, -1, 30], "A": [-1, 2, 1], "C": [-1, -1, -1]}


def test_the_interval_of_an_area_is_that_of_drawn_runs_and_what_is_not_measured_is_left_out():
    values, bad = np.array([0.0, 2, 1, 3, np.nan]), np.array([False, False, True, True, True])
    area, low, high = verdicts_of.auc_interval(values, bad, run=np.arange(5), rng=np.random.default_rng(1), resamples=200)
    assert area == 0.75
    assert 0 <= low < 0.75 < high <= 1
    assert np.isnan(verdicts_of.auc_interval(values[:2], bad[:2], run=np.arange(2), rng=np.random.default_rng(1), resamples=9)).all()


def lumisections(run, verdict, flagged, *, score, p=0.01):
    """Lumisections of a run from the first on, of which the dcs fail DCS and the others are good."""
    rows = pd.DataFrame({"run": run, "lumisection": np.arange(1, len(verdict) + 1), "verdict": verdict, "flagged": flagged})
    return rows.assign(label=np.where(rows.verdict == "dcs", "trivial", "good"), score=score, p_value=np.where(rows.flagged, p, 0.9))


def test_a_range_counts_what_could_be_flagged_and_the_strongest_and_then_the_strangest_comes_first():
    verdict, flagged = ["good", "undecided", "undecided", "dcs", "good", "good"], [False, True, False, True, True, False]
    scored = [lumisections(1, verdict, flagged, score=1.0), lumisections(2, ["grey"], [True], score=0.0, p=1e-4)]
    scored = pd.concat([*scored, lumisections(3, verdict, flagged, score=9.0)], ignore_index=True)
    ranges = verdicts_of.bad_ranges(scored, gap=2, alarm_rate=0.01)
    assert ranges[["run", "first", "last", "flagged", "looked_at"]].to_numpy().tolist() == [[2, 1, 1, 1, 1], [3, 2, 5, 2, 4], [1, 2, 5, 2, 4]]
    assert ranges.strength.tolist() == pytest.approx([1 + np.log(100), 2, 2])
    assert ranges.score.tolist() == [0, 9, 1]


def test_two_good_runs_judge_each_other_and_one_alone_or_no_dataset_nothing():
    """The second run has five values beyond all of the first one's 150, the first one none beyond those."""
    index = pd.MultiIndex.from_product([[7, 8], range(150)], names=["run", "lumisection"])
    good = pd.DataFrame({"A": np.tile(np.arange(150.0), 2)}, index)
    good.loc[(8, slice(145, 149)), "A"] = 999.0
    how = {"allowance": 0.0, "gap": 2, "alarm_rate": 0.01}
    strongest = verdicts_of.strongest_of_good_runs(good, {"A": 1.0}, **how)
    assert strongest.to_dict() == {7: 0, 8: pytest.approx(5 * (1 + np.log(1.51)))}
    assert verdicts_of.strongest_of_good_runs(good.loc[[8]], {"A": 1.0}, **how).to_dict() == {8: 0}
    assert verdicts_of.strongest_of_good_runs(good, {}, **how).to_dict() == {7: 0, 8: 0}


# ------------------------------------------------------------------------------------------------ methods of a dataset


def fit_of(method, scores, rows, *, split="fold 0", dataset="A", seed=1):
    """A judged fit whose task scores these rows."""
    task = SimpleNamespace(dataset=dataset, split=split, score=np.array(rows))
    return SimpleNamespace(method=method, seed=seed, scores=np.array(scores, float), task=task)


def test_fits_are_measured_on_what_their_split_scores_and_random_scores_beside_them():
    frame = pd.DataFrame({"run": [1, 1, 2, 2, 3], "label": ["good", "good", "expert", "good", "expert"]})
    fits = [fit_of("m", [9, 1, 2, 3, 0], [1, 2, 3, 4], split="run and time"), fit_of("m", [9, 1, 2, 3, 0], [0, 1])]
    table = experiments_of(fits, {"A": frame}, seeds=[5, 6])
    assert table[["model", "seed", "split", "dataset", "bad", "n_good", "n_bad"]].to_numpy().tolist() == [
        ["m", 1, "run and time", "A", "expert", 2, 2],
        ["random", 5, "run and time", "A", "expert", 2, 2],
        ["random", 6, "run and time", "A", "expert", 2, 2],
    ]
    assert table.auc[0] == 0.25, "of four pairs one is in order"
    trivial, expert = measure_fit(fits[0], frame.assign(label="expert"))
    assert [(row["bad"], row["n_good"], row["n_bad"]) for row in (trivial, expert)] == [("trivial", 0, 0), ("expert", 0, 4)]
    assert np.isnan([trivial["auc"], expert["auc"]]).all()


def test_an_area_is_that_of_one_kind_against_the_good_ones_that_have_a_score():
    frame = pd.DataFrame({"run": [1, 2, 3, 4], "label": ["good", "expert", "good", "trivial"]})
    score = np.array([2.0, 1, np.nan, 5])
    assert [area_of(frame, score, kind=kind)[0] for kind in ("expert", "trivial")] == [0, 1]
    assert area_of(frame, score, kind="expert", draws=5).shape == area_of(frame[:1], score[:1], kind="expert", draws=5).shape == (6,)


def test_methods_are_compared_on_lumisections_of_learned_runs_by_models_that_had_not_seen_them():
    columns = ["run", "lumisection", "label", "fold", "part"]
    a = pd.DataFrame([(2, 1, "good", 0, "train"), (1, 1, "expert", 0, "train"), (3, 1, "good", -1, "test")], columns=columns)
    b = pd.DataFrame([(1, 2, "good", 0, "validation"), (1, 1, "expert", 0, "train")], columns=columns)
    fits = [fit_of("m", [5, 6, 7], [0, 1]), fit_of("m", [8, 9], [0], dataset="B")]
    held_out = held_out_by_folds(fits, {"A": a, "B": b}, methods=["m"], min_bad_runs=2)
    assert held_out.rows.index.tolist() == [(1, 1), (1, 2), (2, 1)]
    assert held_out.rows.to_numpy().tolist() == [["expert", 0], ["good", 0], ["good", 0]]
    assert held_out.values["m"].fillna(-1).to_numpy().tolist() == [[6, -1], [-1, 8], [5, -1]]


def held_out_of(values, label, fold, *, min_bad_runs=1):
    """What methods, {name: {dataset: values}}, say of runs of one lumisection each."""
    index = pd.MultiIndex.from_arrays([np.arange(len(fold)), np.ones(len(fold), int)], names=["run", "lumisection"])
    tables = {name: pd.DataFrame(of, index, dtype=float) for name, of in values.items()}
    return OutOfFold(pd.DataFrame({"label": label, "fold": fold}, index), tables, min_bad_runs)


def strange(times, value):
    """The strength of a value whose chance among good ones is one in `times`, with the least bit more for a larger value."""
    return np.log(times) + 1e-3 * np.log1p(value)


def test_a_lumisection_is_as_strange_as_to_the_dataset_that_finds_it_strangest_among_good_ones_of_other_folds():
    label, fold = ["good", "good", "expert"] * 2, [0, 0, 0, 1, 1, 1]
    values = {"m": {"A": [0, 1, 5, 2, 3, np.nan], "B": [0, 0, 0, 0, 0, 7]}}
    held_out = held_out_of(values, label, fold)
    alone = [strange(1, 0), strange(1, 1), strange(3, 5), strange(3, 2), strange(3, 3), strange(1, 0)]
    assert together_of(held_out, "m", ("A",)) == pytest.approx(alone), "what is not measured is as usual as can be"
    both = together_of(held_out, "m", ("A", "B"))
    assert both[[2, 5]] == pytest.approx([strange(1.5, 5), strange(1.5, 7)])
    assert together_of(held_out, "m", ()).tolist() == [0] * 6


def test_a_dataset_is_upright_that_tells_nothing_and_where_nothing_measures_it():
    label, every = ["good", "expert"] * 2, np.ones(4, bool)
    values = {"m": {"flat": [1, 1, 1, 1], "inverted": [1, 0, 1, 0]}}
    assert upright(held_out_of(values, label, [0, 0, 1, 1], min_bad_runs=2), "m", rows=every) == ("flat",)
    assert upright(held_out_of(values, label, [0, 0, 1, 1], min_bad_runs=3), "m", rows=every) == ("flat", "inverted")


def test_the_method_that_scores_a_fold_is_chosen_by_the_others():
    """P tells good from bad in the second fold only, so it is chosen for the first one, where it tells nothing; and Q the other way round."""
    flat, apart = [1, 1, 1, 1], [0, 1, 8, 9]
    values = {"P": {"A": [*flat, *apart]}, "Q": {"A": [*apart, *flat]}}
    held_out = held_out_of(values, ["good", "good", "expert", "expert"] * 2, [0] * 4 + [1] * 4)
    nested = nested_scores(held_out, candidates=["P", "Q"], otherwise="P")
    assert nested == pytest.approx([strange(1.5, 1)] * 8)
    seen = [strange(1, 0), strange(1, 1), strange(3, 8), strange(3, 9)]
    assert all_together(held_out, "P") == pytest.approx([strange(1.5, 1)] * 4 + seen)


@pytest.mark.parametrize(
    ("chosen", "combined", "baseline", "serves"),
    [
        ([0.5] * 3, [0.45] * 3, [0.3] * 3, "m"),  # a half is no worse than a coin
        ([0.49] * 3, [0.45] * 3, [0.3] * 3, "distance"),
        ([0.49] * 3, [0.5] * 3, [0.3] * 3, "mean"),
        ([0.7, 0.6, 0.9], [0.8] * 3, [0.8] * 3, "mean"),  # as good as the baseline is not worse
        ([0.7, 0.6, 0.9], [0.79] * 3, [0.8] * 3, "distance"),
    ],
)
def test_what_serves_is_surely_better_than_the_baseline_and_no_worse_than_a_coin(chosen, combined, baseline, serves):
    areas = {"m": np.array(chosen), "mean": np.array(combined), "distance": np.array(baseline)}
    name, models = gate(areas, "m", kind="expert", baselines=["distance"], combined="mean")
    assert name == serves
    first = models[0]
    assert (first["name"], first["model"], first["baseline_name"], first["baseline"]) == ("m", chosen[0], "distance", baseline[0])
    assert first["skill"] == pytest.approx((chosen[0] - baseline[0]) / (1 - baseline[0]))


def settings_of(**changes):
    return Methods(**{"components": 2, "trees": 2, "svm_rows": 100, "worst": 0.5} | changes)


def test_principal_components_are_a_third_of_the_features_at_most_and_one_at_least():
    sizes = [(2, 5), (9, 2), (9, 5)]
    made = [classical("PCA", n, settings=settings_of(components=most), random_state=1).n_components for n, most in sizes]
    assert made == [1, 2, 3]


def test_a_decision_value_is_the_logarithm_of_the_worst_errors_in_usual_ones_less_that_of_the_median_good_one():
    errors, task = np.array([[1.0, 2], [3, 4], [10, 20], [0, 0]]), SimpleNamespace(check=np.array([0, 1]))
    fit = judge_fit(SimpleNamespace(task=task, method="PCA", usual=None), errors, worst=0.5)
    assert (fit.usual.tolist(), fit.worst) == ([2, 3], 0.5)
    centre = (np.log(2 / 3) + np.log(3 / 2)) / 2  # of 1/2 and 2/3, 3/2 and 4/3 the worse
    assert fit.centre == pytest.approx(centre, abs=1e-5)
    assert fit.scores == pytest.approx([np.log(2 / 3), np.log(3 / 2), np.log(20 / 3), np.log(1e-6)], abs=1e-5)
    fit = judge_fit(SimpleNamespace(task=task, method="distance", usual=None), errors, worst=0.5)
    assert (fit.usual.tolist(), fit.worst) == ([1, 1], 1.0)
    assert fit.scores[2] == pytest.approx(np.log(15) - (np.log(1.5) + np.log(3.5)) / 2, abs=1e-5)
    fit = judge_fit(SimpleNamespace(task=task, method="PCA", usual=None), 0 * errors, worst=0.5)
    assert fit.usual.tolist() == [1e-5] * 2, "what is rebuilt wholly is not divided by nothing"
    fit = judge_fit(SimpleNamespace(task=task, method="neighbours", usual=None), None, worst=0.5, own=np.array([1.0, 3, 9, 0]))
    assert (fit.scores.tolist(), fit.centre, fit.usual) == ([-1, 1, 7, -2], 2, None)


@pytest.mark.parametrize(("name", "most", "learned"), [("one-class SVM", 5, 5), ("one-class SVM", 99, 20), ("PCA", 5, 20)])
def test_a_one_class_svm_alone_learns_from_some_of_the_rows_only(name, most, learned):
    x = np.random.default_rng(1).random((24, 3))
    task = make_task(x, np.arange(20), check=np.arange(20, 24), score=np.arange(4), name=("A", "fold 0"))
    fit = fit_classical(task, name, table=x, random_state=1, settings=settings_of(svm_rows=most))
    rows = fit.model.n_samples_ if name == "PCA" else fit.model[-1].shape_fit_[0]
    assert rows == learned
    assert np.median(fit.scores[20:]) == pytest.approx(0, abs=1e-6)


def test_fits_of_a_task_and_a_seed_are_combined_in_units_of_their_spread_and_of_no_less_than_a_thousandth():
    tasks = [SimpleNamespace(fit=np.array([0, 1]), check=np.array([2])) for _ in range(2)]
    made = [(0, "distance", 1), (0, "PCA", 1), (0, "distance", 2), (0, "vanilla", 1), (1, "neighbours", 1)]
    fits = [SimpleNamespace(task=tasks[of], method=name, seed=seed, scores=np.array([0.0, 1, 2, 9])) for of, name, seed in made]
    both = combined_fits(fits, tasks, seed=1)
    assert [[one.method for one in fit.members] for fit in both] == [["distance", "PCA"], ["neighbours"]]
    assert [(fit.method, fit.seed, fit.task) for fit in both] == [("combined", 1, task) for task in tasks]
    fits[0].scores = np.array([0.0, 0, 0, 1])
    combined = combine_fits(fits[:2])
    assert combined.spreads == pytest.approx([1e-3, 1.4826])
    assert combined.scores[3] == pytest.approx((1000 + 9 / 1.4826) / 2)


def test_a_stored_model_is_of_its_kind_and_takes_the_place_of_what_judged_the_same_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(certification_training, "save_model", lambda model, path: path.write_text(model))
    others = {"AB.skops": "", "A-B.skops": ""}  # models of other datasets
    for name in ("A.skops", "A-PCA.skops", *others):
        (tmp_path / name).touch()
    network = SimpleNamespace(task=SimpleNamespace(dataset="A"), method="vanilla", worst=0.5, centre=0.1, usual=np.array([0.2, 0.3]))
    stored = store_fit(network, tmp_path, scaling={"x": 1}, network_of=lambda fit: "network")
    assert stored == {"scaling": {"x": 1}, "file": "A.keras", "worst": 0.5, "centre": 0.1, "usual": [0.2, 0.3]}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"A.keras": "network"} | others
    forest = SimpleNamespace(task=network.task, method="isolation forest", model="forest", worst=0.5, centre=0.1, usual=None)
    stored = store_fit(forest, tmp_path, scaling={"x": 1}, network_of=None)
    assert (stored["file"], stored["usual"]) == ("A.skops", None)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"A.skops": "forest"} | others
