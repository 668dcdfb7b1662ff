"""Functions of the telemetry study that its notebooks call, on small tables with values by hand; the notebooks' own tests run the rest."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nightshift.analysis import accelerators
from nightshift.analysis.telemetry import answer_of, elapsed, label_incident, node_map
from nightshift.analysis.telemetry_night import (
    headline_notes,
    healthy_past,
    lacking_words,
    lone_node_words,
    waiting_nodes,
    watched_words,
)
from nightshift.analysis.telemetry_quality import (
    called_as,
    delays_of,
    labels_enough,
    meeting,
    models_table,
    read_stored,
    read_truth,
    shares_in_words,
    stated_and_observed,
)
from nightshift.analysis.telemetry_training import classifier_sentence, labelled_rows, limit_of, metrics_rows, others_in_words
from nightshift.cleaning.telemetry_windows import clean_gpus, clean_labels, label_windows, ranges_of_metrics, telling_features
from nightshift.detectors.telemetry_diagnosis import Examples, fit_on_all, fold_numbers, label_curves, write_diagnosis_errors
from nightshift.detectors.telemetry_health import Before, side_by_side
from nightshift.detectors.telemetry_incidents import diagnose, keep_findings, rule_of
from nightshift.detectors.telemetry_measures import alarms_among, independent_lengths, precision_by, precision_rows, skill_rows
from nightshift.detectors.telemetry_streams import held_out_flags
from nightshift.sources.telemetry.labels import all_labels, stretches
from nightshift.sources.telemetry.prometheus import Prometheus, chunks
from nightshift.sources.telemetry.summary import match_labels, newest_rows, state_of
from nightshift.sources.telemetry.this_machine import schedule

NOON = pd.Timestamp("2026-01-30T12:00", tz="UTC")
SECOND = pd.Timedelta("1s")


# ---------------------------------------------------------------------------------------------------------- extraction


@pytest.mark.parametrize(("step_s", "most"), [(15.0, 7), (15.0, 1000), (60.0, 1)])
def test_chunks_cover_the_window_once_in_steps_from_a_multiple_of_the_step(step_s, most):
    server = Prometheus({}, "instance", "", step_s=step_s, chunk_points=most, timeout_s=1.0, retry_wait_s=0.0)
    window = [NOON + SECOND, NOON + 301 * SECOND]
    parts = chunks(window, server)
    moments = np.concatenate([begin + step_s * np.arange(n) for begin, n in parts])
    first = NOON.timestamp() + step_s
    assert moments.tolist() == np.arange(first, NOON.timestamp() + 301, step_s).tolist()
    assert max(n for _, n in parts) <= most
    assert chunks([pd.Timestamp.now("UTC") + pd.Timedelta("1h"), pd.Timestamp.now("UTC") + pd.Timedelta("2h")], server) == []


def test_stretches_of_equal_anomalies_end_where_the_next_begins_and_names_are_translated():
    rows = pd.DataFrame({"timestamp": NOON + SECOND * np.arange(6), "node_id": "n1", "job_id": "7", "app": None, "input": None, "part": None})
    rows["anomaly"] = ["0", "0", "1", "1", "1", None]
    cut = stretches(rows)
    assert cut.anomaly.tolist() == ["0", "1"]
    assert (cut.start - NOON).tolist() == [0 * SECOND, 2 * SECOND]
    assert (cut.end - NOON).tolist() == [2 * SECOND, 5 * SECOND]
    table = all_labels([], [rows], anomaly_names={"0": "none"})
    assert table.anomaly.tolist() == ["none", "1"]
    assert len(all_labels([], [], anomaly_names={})) == 0


def test_a_label_without_rows_and_a_job_without_label_are_counted_and_a_label_of_a_node_is_one_of_its_jobs():
    rows = pd.DataFrame({"node_id": ["a", "a", "b"], "job_id": ["1", "2", "3"]})
    labels = pd.DataFrame({"node_id": [None, "b", "c"], "job_id": ["1", None, None]})
    unlabelled, strangers = match_labels(labels, rows)
    assert unlabelled.tolist() == ["2"]
    assert strangers.tolist() == [False, False, True]


def test_the_older_of_nodes_and_gpus_makes_the_data_stale_and_nothing_makes_them_empty():
    rows, older = pd.DataFrame({"last": [NOON]}), NOON - pd.Timedelta("3D")
    assert newest_rows(rows, older, old_before=NOON - pd.Timedelta("4D")) == (NOON, False)
    assert newest_rows(rows, older, old_before=NOON - pd.Timedelta("1D")) == (older, True)
    assert newest_rows(rows[:0], None, old_before=NOON) == (None, False)
    whole = SimpleNamespace(bad_lines=[], counts={"unreadable": 0}, warned=set())
    assert state_of(whole, empty=False, stale=False) == "ok"
    assert state_of(SimpleNamespace(**vars(whole) | {"warned": {"x"}}), empty=False, stale=False) == "partial"
    assert (state_of(whole, empty=True, stale=True), state_of(whole, empty=False, stale=True)) == ("empty", "stale")


def test_every_kind_of_run_comes_as_often_as_the_time_allows_and_once_at_least():
    assert sorted(schedule(0.1, 30.0, seed=0)) == ["cachecopy", "cpuoccupy", "membw", "memleak", "none"]
    assert set(pd.Series(schedule(10, 30.0, seed=1)).value_counts()) == {4}


# ------------------------------------------------------------------------------------------------------------ cleaning


def test_a_label_of_a_stretch_beats_that_of_the_run_and_what_it_leaves_open_others_say():
    columns = ["job_id", "node_id", "app", "input", "anomaly", "part", "start", "end"]
    stretch = ("1", "", None, None, "membw", None, NOON, NOON + 5 * SECOND)
    labels = pd.DataFrame([stretch, ("1", "n", "solver", None, "none", None, None, None)], columns=columns)
    windows = pd.DataFrame({"job_id": ["1", "1", "2"], "last": NOON + SECOND * np.array([0, 5, 0])})
    got = label_windows(windows, "n", labels=clean_labels(labels))
    assert got.anomaly.tolist() == ["membw", "none", ""]
    assert got.app.tolist() == ["solver", "solver", ""]


def test_rows_of_gpus_are_kept_or_rejected_by_the_first_reason_that_holds():
    row = {"node_id": "a", "gpu": "0", "job_id": "1", "user": None, "utilisation_pct": 50.0, "memory_used_mib": 1.0, "memory_total_mib": 2.0}
    row |= {"power_w": 100.0, "temperature_c": 40.0, "timestamp": NOON}
    changes = [{}, {}, {"power_w": 120.0}, {"job_id": "2"}, {"timestamp": None}, {"gpu": None}, {"timestamp": NOON + pd.Timedelta("2D")}]
    changes += [{"timestamp": NOON + SECOND, "utilisation_pct": 1e15}]
    clean, rejected, blanked = clean_gpus(pd.DataFrame([row | change for change in changes]), NOON + pd.Timedelta("1D"))
    assert len(clean) == 2
    assert blanked == {"utilisation_pct": 1}
    assert rejected.set_index("reason").rows.to_dict() == {
        "GPU: copy of another row": 1,
        "GPU: other values at the same moment": 1,
        "GPU: held by another job at the same moment": 1,
        "GPU: no time": 1,
        "GPU: no node or no number": 1,
        "GPU: after the window": 1,
    }


def test_the_range_of_a_metric_is_that_of_all_nodes_that_have_it():
    one, other = pd.DataFrame({"low": [1.0, 0.0], "high": [2.0, 0.0]}, ["b", "a"]), pd.DataFrame({"low": [0.5], "high": [9.0]}, ["b"])
    overall = ranges_of_metrics(
        pd.concat([one.assign(node_id="n1"), one.assign(node_id="n1"), other.assign(node_id="n2")]).reset_index(names="metric")
    )
    assert overall.reset_index().to_numpy().tolist() == [["a", 0.0, 0.0, 1], ["b", 0.5, 9.0, 2]]
    assert len(ranges_of_metrics(pd.DataFrame(columns=["node_id", "metric", "low", "high"]))) == 0


def test_features_are_selected_from_the_runs_of_all_nodes_together():
    runs = pd.DataFrame({"job_id": [str(i) for i in range(20)], "app": "", "anomaly": ["none", "membw"] * 10, "x|mean": [0.0, 9.0] * 10})
    of_nodes = pd.concat([runs.assign(node_id="a"), runs.assign(node_id="b", **{"x|mean": np.nan})])
    together = telling_features(of_nodes, ["x|mean", "y|mean"], 0.05)
    assert list(together.index) == ["x|mean"]
    assert together.columns.tolist() == [("", "membw")]
    assert telling_features(runs.head(0), ["x|mean"], 0.05).shape == (1, 0)
    assert telling_features(runs.assign(node_id="a"), [], 0.05).shape == (0, 0)


# ----------------------------------------------------------------------------------------------------------- detection


def test_a_flagged_window_is_unknown_where_the_classifier_calls_it_healthy_or_is_not_sure():
    chances = pd.DataFrame({"p membw": [0.9, 0.4, 0.2, 0.9], "p memleak": [0.0, 0.35, 0.1, 0.0], "p none": [0.1, 0.25, 0.7, 0.1]})
    diagnosis, confidence, probable = diagnose(chances, [True, True, True, False], least_confidence=0.5)
    assert diagnosis.tolist() == ["membw", "unknown", "unknown", "none"]
    assert confidence.tolist() == [0.9, 0.4, 0.7, 0.1]
    assert probable.tolist() == ["membw", "membw", "none", "membw"]
    lines, _ = rule_of(chances, [True, True, True, False], least_confidence=0.5)
    assert lines.tolist() == ["named", "unknown: not sure enough", "unknown: the classifier says healthy", "not flagged"]
    nameless, sure, _ = diagnose(chances[[]], [True, False, False, False], least_confidence=0.5)
    assert nameless.tolist() == ["unknown", "none", "none", "none"]
    assert np.isnan(sure).all()


def test_a_quiet_run_is_a_test_too_that_makes_an_incident_less_certain():
    scored = pd.DataFrame({"node_id": list("abcd"), "job_id": "1", "start": NOON, "day": NOON.floor("D"), "looks": 1.0})
    incidents = scored[:1].assign(p_value=0.01)
    few = keep_findings(incidents, scored, n_calibration=99, false_discovery_rate=0.05)
    assert (few.judgements, few.least, few.alone) == (4, 0.01, 1)
    assert few.reported.node_id.tolist() == ["a"]
    strict = keep_findings(incidents, scored, n_calibration=99, false_discovery_rate=0.03)
    assert (len(strict.reported), strict.by_chance.node_id.tolist(), strict.alone) == (0, ["a"], 2)


def test_precision_of_each_kind_is_against_all_healthy_windows():
    windows = pd.DataFrame({"truth": ["none", "none", "x", "y"], "node_id": ["n", "m", "n", "n"], "s": [1.0, 2.0, 3.0, 1.5]})
    assert precision_by(windows, "truth", ["s"]).s.to_dict() == {"x": 1.0, "y": 0.5}


def test_what_a_detector_sees_of_all_of_each_kind_and_by_chance_are_rows():
    windows = pd.DataFrame({"truth": ["none", "none", "x", "y"], "node_id": "n", "s": [1.0, 2.0, 3.0, 1.5]})
    rows = precision_rows(windows, {"s": 0.75}, chance=0.1, in_use="s").set_index(["of", "detector"])
    assert rows.precision.to_dict() == {("", "s"): 0.75, ("x", "s"): 1.0, ("y", "s"): 0.5, ("", "random scores"): 0.1}
    assert rows.in_use.tolist() == [True, True, True, False]
    assert len(precision_rows(windows, {}, chance=np.nan, in_use="s")) == 0
    of_nodes = precision_rows(windows.assign(truth=["none", "none", "x", "x"]), {"s": 0.75}, chance=0.1, in_use="s")
    assert set(of_nodes.of) == {"", "n"}


def test_models_are_measured_against_the_baseline_among_them():
    values, drawn = {"a": 0.6, "b": 0.2}, {"a": np.array([0.6, 0.6]), "b": np.array([0.2, 0.2])}
    a, b = skill_rows(values, drawn, baseline="b", metric="m")
    assert (a["name"], a["baseline_name"], a["skill"], b["skill"]) == ("a", "b", pytest.approx(0.5), 0)
    assert a["skill_low"] == a["skill_high"] == pytest.approx(0.5)
    of_classifiers, of_detectors = {"n_test": 1}, {"n_test": 2}
    rows = metrics_rows([a, b], of_classifiers, of_detectors, methods=["b"], in_use={"b", ""})
    assert [(row["n_test"], row["in_use"]) for row in rows] == [(1, False), (2, True)]


def test_the_halves_of_a_group_stand_beside_those_of_the_others_and_short_ones_begin_again():
    z, rows_of = np.array([[0.0], [1.0], [2.0], [9.0]]), {"all": np.array([0, 1, 2]), "n": np.array([2, 3])}
    late_of = {"all": np.array([False, False, True]), "n": np.array([False, True])}
    assert side_by_side(z, rows_of, late_of, late=False)[:, :, 0].tolist() == [[0, 2], [1, 2]]
    assert side_by_side(z, rows_of, late_of, late=True)[:, :, 0].tolist() == [[2, 5]]  # 9 is cut


def test_windows_have_the_number_of_their_fold_and_servers_two_halves():
    windows = pd.DataFrame({"node_id": "n", "start": NOON + SECOND * np.arange(4)})
    assert fold_numbers([([0, 1], [2, 3]), ([2, 3], [0, 1])], windows).tolist() == [1, 1, 0, 0]
    assert fold_numbers([([0, 1], [2, 3])], windows).tolist() == [False, False, False, True]


def test_servers_are_flagged_from_their_fourth_day_on_and_jobs_across_folds():
    start = NOON.floor("D") + pd.Timedelta("1h") * np.arange(24 * 12)
    servers = pd.DataFrame({"node_id": "s", "start": start, "end": start + pd.Timedelta("1h"), "job_id": ""})
    tests = pd.DataFrame({"health": np.random.default_rng(1).normal(size=len(start))})
    more = {"weights": {"health": 1.0}, "alarm_rate": 0.1}
    flags = held_out_flags(servers, tests, None, **more)
    assert flags.index.tolist() == list(range(24 * 3, 24 * 12))
    of_jobs = held_out_flags(servers, tests, np.arange(len(start)) % 2, **more)
    assert len(of_jobs) == len(start)
    assert np.mean(of_jobs) == pytest.approx(0.1, abs=0.05)


def test_a_single_candidate_is_fitted_as_it_is_and_labels_are_drawn_three_times():
    from sklearn.tree import DecisionTreeClassifier

    kinds = np.repeat(["none", "membw"], 8)
    windows = pd.DataFrame({"job_id": np.arange(16).astype(str), "node_id": "n", "app": "", "anomaly": kinds, "truth": kinds})
    windows = windows.assign(start=NOON + SECOND * np.arange(16), **{"x|mean": np.r_[np.zeros(8), np.ones(8)] + np.arange(16) / 100})
    examples = Examples(windows, ["x|mean"], ["membw", "none"], thin=1, false_discovery_rate=0.05)
    tree = DecisionTreeClassifier(random_state=1)
    assert fit_on_all(examples, [tree], seed=1).temperature == 1
    assert fit_on_all(examples, [tree, DecisionTreeClassifier(max_depth=1)], seed=1).setting in (0, 1)
    halves = np.arange(0, 16, 2), np.arange(1, 16, 2)
    curves = label_curves(examples, halves, forest=tree, seed=1)
    assert curves.groupby(["part", "repeat"]).size().to_dict() == {(order, n): 2 for order in ("active", "random") for n in range(3)}
    assert curves.labels.max() == 8


def test_runs_of_one_window_have_its_length_as_step():
    one = pd.DataFrame({"job_id": ["1", "2"], "node_id": "n", "start": NOON, "end": NOON + 60 * SECOND})
    assert independent_lengths(one) == (60, 60)
    two = pd.concat([one, one.assign(start=NOON + 15 * SECOND, end=NOON + 75 * SECOND)])
    assert independent_lengths(two) == (60, 15)


def test_the_windows_of_a_run_and_day_share_their_luck():
    day = NOON + 60 * SECOND * np.arange(40)
    windows = pd.DataFrame({"job_id": np.repeat(["1", "2", "3"], 40), "node_id": "n", "start": np.tile(day, 3), "flagged": np.arange(120) < 40})
    alarms = alarms_among(0.01, windows, "windows")
    assert (alarms.n_flagged, alarms.n) == (40, 120)
    assert alarms.n_independent == 3, "one run of three has all alarms"
    assert alarms_among(0.01, windows[:0]).sentence.endswith("nothing was judged, so none was observed.")


# ------------------------------------------------------------------------------------------------------------ analysis


def test_a_picture_calls_its_trouble_as_the_page_does():
    finding = pd.Series({"kind": "memleak", "entity": "n1", "start": NOON})
    ax = label_incident(finding, Figure().subplots(), metric="MemFree::meminfo", unit="kB")
    assert ax.get_title(loc="left") == "memory leak: n1, 2026-01-30 12:00 UTC"
    assert ax.get_ylabel() == "MemFree (meminfo), kB"


def test_answers_and_times_are_read_as_a_person_says_them():
    assert [elapsed(s) for s in (45, 720, 39_600)] == ["45 s", "12 min", "11 h"]
    judged = pd.DataFrame({"node_id": ["a", "b"], "end": NOON + pd.Timedelta(days=1)})
    reported = pd.DataFrame({"node_id": ["a"], "diagnosis": ["membw"], "start": [NOON], "end": [NOON + pd.Timedelta(minutes=5)]})
    none, silent = reported[:0], pd.DataFrame({"nodes": [2, 1]})
    quiet = {"judged": judged, "newest": NOON + pd.Timedelta(days=1), "silent": silent[:0], "reason": ""}
    what = "memory bandwidth contention"
    found = f"1 of 2 nodes misbehaved (1 {what}), for 5 min, most clearly a ({what}, 2026-01-30 12:00 to 12:05 UTC)"
    assert answer_of(reported, none, **quiet) == f"1 finding: {found}"
    assert answer_of(reported, none, **quiet | {"silent": silent}) == f"3 findings: {found}; 3 nodes fell silent"
    goes_on = reported.assign(end=NOON + pd.Timedelta(hours=20))
    answer = answer_of(goes_on, none, **quiet)
    assert answer == f"1 finding: 1 of 2 nodes misbehaves (1 {what}), for 20 h, most clearly a ({what}, since 2026-01-30 12:00 UTC)"
    later = answer_of(goes_on, none, **quiet | {"newest": NOON + pd.Timedelta(days=2)})
    assert later.endswith("2026-01-30 12:00 UTC to 2026-01-31 08:00 UTC)"), "the newest data count, which models may have learned from"
    both = pd.concat([reported, goes_on.assign(node_id="b", diagnosis="memleak")])
    words = f"2 of 2 nodes misbehaved (1 {what}, 1 memory leak), for 5 min to 20 h, most clearly a ({what}, 2026-01-30 12:00 to 12:05 UTC)"
    assert answer_of(both, none, **quiet) == f"2 findings: {words}; 1 still does"
    assert answer_of(none, none, **quiet | {"silent": silent}) == "2 findings: 3 nodes fell silent, and no other node misbehaved"
    assert answer_of(none, none, **quiet | {"silent": silent[1:], "reason": "few"}) == "1 finding: 1 node fell silent"
    assert answer_of(none, reported, **quiet) == "No suspicion is certain enough to be a finding"
    assert answer_of(none, none, **quiet) == "No node misbehaved"
    assert answer_of(none, none, **quiet | {"reason": "few"}) == "Too little history: few"
    assert answer_of(none, none, **quiet | {"reason": "few", "judged": judged[:0]}).startswith("Nothing to judge: ")


def test_the_conclusion_of_a_training_says_what_serves_and_what_stands_against_it():
    before = Before([], {"trained_day": "2026-01-24"}, {}, fits=True, figure=0.9)
    best = pd.Series({"macro_f1": 0.8, "false_alarms": 0.01, "misses": 0.1}, name="forest")
    sentence, values = classifier_sentence(best, ("tree", 0.5), before=before, stays=False, since="")
    assert "**Diagnosis by forest**: macro-F1 0.80 on unseen jobs (tree: 0.50), false alarms 1.00%" in sentence.format(**values)
    sentence, values = classifier_sentence(best, ("forest", 0.8), before=before, stays=True, since="")
    assert "**Diagnosis by the stored classifier, macro-F1 0.90, not by forest**: macro-F1 0.80" in sentence.format(**values)
    assert values["other"] == "no model is certain to be better"
    sentence, values = classifier_sentence(None, None, before=before, stays=True, since="2026-01-01")
    assert "macro-F1 0.90, trained up to 2026-01-24. Since 2026-01-01 too few" in sentence.format(**values)
    assert others_in_words("distance", {}, 0.1) == "random scores have 0.10"
    assert others_in_words("pca", {"distance": 0.3}, 0.1).startswith("the distance from what is usual has 0.30, random")
    limits = [limit_of(can_classify=can, stays=stays) for can, stays in ((True, True), (False, True), (False, False))]
    assert [whose for _, whose in limits] == ["", ", by the detector that is not in use", ""]
    assert len({limit for limit, _ in limits}) == 3


def test_rows_of_predicted_windows_are_kept_where_there_is_a_label():
    columns = {"job_id": "1", "node_id": "n", "app": "", "input": "", "anomaly": ["none", "", "x"], "start": NOON, "end": NOON}
    tests = pd.DataFrame({"health": [1.0, 2.0]}, index=[1, 2])
    rows = labelled_rows(pd.DataFrame(columns), tests, np.array([[0, 1], [0.3, 0.7], [0.8, 0.2]]), ["none", "x"])
    assert rows[["anomaly", "p none", "diagnosis", "health"]].to_numpy().tolist() == [["x", 0.8, "none", 2.0]]
    assert "diagnosis" not in labelled_rows(pd.DataFrame(columns), tests, None, ["none"])


def nights():
    """A server and a job on another node at noon of three days, of which the last one is judged."""
    rows = [{"node_id": node, "job_id": job, "end": NOON - pd.Timedelta(days=n)} for n in range(3) for node, job in (("s", ""), ("n", "1"))]
    return pd.DataFrame(rows).assign(app="", anomaly="", part="", start=lambda t: t.end - 60 * SECOND, **{"x|mean": 1.0})


def test_the_healthy_past_of_a_node_ends_before_the_judged_days(tmp_path):
    nights().to_parquet(tmp_path / "clean.parquet")
    more = {"judged": nights()[:0], "columns": {"x": "x|mean"}, "judged_from": NOON - pd.Timedelta("12h")}
    past = healthy_past(tmp_path / "clean.parquet", ["s"], **more)
    assert set(past.node_id) == {"s"}
    assert past.end.max() == NOON - pd.Timedelta("1D")
    assert len(healthy_past(tmp_path / "clean.parquet", [], **more)) == 0


def test_a_labelled_trouble_is_no_healthy_past_even_where_it_is_for_training(tmp_path):
    training = nights().assign(part="train")
    more = {"columns": {"x": "x|mean"}, "judged_from": NOON - pd.Timedelta("12h")}
    assert len(healthy_past(tmp_path, [], judged=training, **more)) == len(training)
    assert len(healthy_past(tmp_path, [], judged=training.assign(anomaly="memleak"), **more)) == 0
    assert len(healthy_past(tmp_path, [], judged=training.assign(anomaly="none", part=""), **more)) == len(training)


def test_what_was_watched_is_said_by_runs_of_jobs_or_by_nodes():
    windows = pd.DataFrame({"node_id": ["a", "b", "b", "b"], "job_id": "7", "start": NOON, "flagged": [True, False, False, False]})
    windows["end"] = windows.start + 60 * SECOND
    looked_at = watched_words(windows, n_runs=2, days=7, day="2026-01-31")
    assert looked_at == (
        "In the 7 days to 2026-01-31, 2 runs of jobs on 2 nodes were watched in windows of 60 s: 1 of 4 windows (25.00%) look unlike healthy ones."
    )
    servers = watched_words(windows.assign(job_id="", end=NOON + 3600 * SECOND), n_runs=2, days=7, day="2026-01-31")
    assert "31, 2 nodes were watched in windows of 60 min: " in servers
    assert watched_words(windows[:0], n_runs=0, days=7, day="2026-01-31") == "In the 7 days to 2026-01-31, no window was judged."


def test_two_shares_of_alarms_are_said_to_be_of_different_windows():
    model = {"alarm_rate_stated": 0.005, "alarm_rate_observed": 0.0115}
    rates = stated_and_observed([model], 4080, pd.Series([False] * 50), 0.005)
    words = shares_in_words(rates)
    assert words.startswith("In training 1.15% of the healthy windows were flagged, ")
    assert "of those judged tonight it is 0.00%, " in words
    assert shares_in_words(rates.tail(1)) == ""


def test_notes_and_warnings_are_said_only_where_they_apply():
    assert headline_notes(0, [], source_end=None) == ""
    ended = "Silent nodes are not counted, since the source itself ended on 2026-01-30 12:00 UTC."
    gone = "Metrics that the models know and no node has any more: 2."
    assert headline_notes(3, ["a", "b"], source_end=NOON) == f"{ended} 3 further suspicions are too weak to be a finding. {gone}"
    assert headline_notes(1, [], source_end=None) == "1 further suspicion is too weak to be a finding."
    assert lone_node_words(900, 1) == lacking_words([]) == ""
    assert "about 1,800 would be enough" in lone_node_words(900, 2)
    assert lacking_words(list("abcd")).endswith("a, b, c and others.")
    assert lacking_words(list("ab")).endswith("a, b.")


def test_nodes_wait_that_pause_for_half_a_day_and_are_not_gone():
    nodes = pd.DataFrame({"node_id": list("abc"), "last": NOON, "silence": pd.to_timedelta([1, 0.2, 9], "D"), "limit": pd.Timedelta("2D")})
    waiting = waiting_nodes(nodes, nodes[2:])
    assert waiting.to_dict("list") == {"node": ["a"], "last seen": [NOON], "silent, days": [1.0], "allowed, days": [2.0]}


def test_the_map_has_a_column_per_stretch_and_the_nodes_with_findings_first():
    scored = pd.DataFrame({"node_id": ["a", "b"], "score": 1.0, "p_value": [0.001, 0.1], "end": NOON + pd.Timedelta("1min")})
    table, edges, hours = node_map(scored, scored[1:], judged_from=NOON, days=7, max_nodes=40)
    assert (table.index.tolist(), table.shape, hours, len(edges)) == (["b", "a"], (2, 84), 2, 85)
    assert table[0].tolist() == pytest.approx([1, 3])
    assert node_map(scored[:0], scored[:0], judged_from=NOON, days=1, max_nodes=40)[0].shape == (0, 24)
    at_the_end = scored[:1].assign(end=NOON + pd.Timedelta(days=7))
    table, _, _ = node_map(at_the_end, scored[:0], judged_from=NOON, days=7, max_nodes=40)
    assert table[83].tolist() == pytest.approx([3]), "the judged time holds its end"


def test_models_stand_beside_their_baselines_and_a_coin_has_a_line():
    numbers = {"model": 0.8, "baseline": 0.5, "skill": 0.6, "skill_low": 0.4, "skill_high": 0.7}
    row = {"name": "pca", "metric": "average precision", "baseline_name": "distance", "in_use": True} | numbers
    table = models_table([row, row | {"in_use": False}], 0.1)
    assert table["in use"].tolist() == ["yes", "", ""]
    assert table.iloc[2, :4].tolist() == ["random scores", "average precision", 0.1, ""]
    assert len(models_table([])) == 0
    assert models_table([row]).columns.tolist()[-4:] == ["skill", "low", "high", "in use"]


def test_the_share_of_alarms_is_observed_where_there_is_a_window(tmp_path):
    model = {"alarm_rate_stated": 0.01, "alarm_rate_observed": 0.02}
    rates = stated_and_observed([model], 50, pd.Series([True, False]), 0.005)
    assert rates.to_numpy().tolist() == [["across folds of the training", 50, 0.01, 0.02], ["judged tonight", 2, 0.005, 0.5]]
    assert len(stated_and_observed([], 50, pd.Series([], dtype=bool), 0.005)) == 0
    assert read_stored(tmp_path / "none.parquet").shape == (0, 0)


def test_a_known_incident_is_late_by_the_first_that_meets_it_and_called_by_all():
    true = pd.DataFrame({"entity": ["a", "b", "c"], "start": NOON, "end": NOON + 60 * SECOND})
    incidents = pd.DataFrame({"node_id": ["a", "a", "b"], "start": NOON, "end": NOON + 90 * SECOND, "diagnosis": ["x", "y", "z"]})
    incidents["called_at"] = NOON + SECOND * np.array([50, 40, 30])
    assert delays_of(true, incidents[:2], 7.5).tolist()[:1] == [47.5]
    assert delays_of(true, incidents[:2], 7.5).isna().tolist() == [False, True, True]
    assert called_as(true, incidents[:2], incidents[2:]) == ["x, y", "z, not kept", "not found"]
    assert delays_of(true, incidents[:0].astype(object), 0).isna().all()


def test_known_incidents_are_of_nodes_whose_names_are_numbers_too(tmp_path):
    """As those that LDMS calls by component_id: a table of such incidents alone would hold numbers."""
    (tmp_path / "status.json").write_text('{"source": "x.csv"}')
    (tmp_path / "truth.csv").write_text("incident,kind,start,end,entity\n1,memleak,2026-01-31T10:00Z,2026-01-31T11:00Z,12\n")
    begin, end = (pd.Timestamp(f"2026-01-31 {hour}", tz="UTC") for hour in ("09:00", "12:00"))
    judged = pd.DataFrame({"node_id": ["12"], "start": [begin], "end": [end]})
    found = read_truth(str(tmp_path / "truth.csv"), SimpleNamespace(raw=tmp_path), judged, window=(begin, end), classes=["memleak"])
    assert found[["entity", "name"]].to_numpy().tolist() == [["12", "memleak"]]


def test_labels_are_enough_where_the_mean_first_reaches_19_twentieths_of_the_best():
    needed = pd.DataFrame({"part": ["random"] * 3 + ["active"] * 3, "labels": [6, 10, 15] * 2, "macro_f1": [0.1, 0.5, 0.9, 0.2, 0.96, 1.0]})
    assert labels_enough(needed) == ({"active": 10}, 1.0)


def test_incidents_meet_on_the_same_node_when_they_overlap():
    true = pd.DataFrame({"entity": ["a", "b"], "start": NOON, "end": NOON + 60 * SECOND})
    incidents = pd.DataFrame({"node_id": ["a", "a"], "start": [NOON + 30 * SECOND, NOON + 60 * SECOND], "end": NOON + 90 * SECOND})
    assert meeting(true, incidents).tolist() == [[True, False], [False, False]]
    assert meeting(true[:0], incidents).shape == (0, 2)


def test_short_incidents_need_not_be_found_and_are_no_false_alarms():
    incidents = pd.DataFrame({"entity": ["g", "h"], "start": NOON, "end": [NOON + pd.Timedelta("3h"), NOON + pd.Timedelta("1h")]})
    alarms = pd.DataFrame({"device": ["h", "i"], "start": NOON, "end": NOON + pd.Timedelta("2h")})
    row = accelerators.compare("x", alarms, incidents=incidents, idle_hours=2.0)
    assert (row["incidents"], row["found"], row["alarms"], row["true"]) == (1, 0, 2, 1)
    assert row["recall"].startswith("0.00 (0.00 to ")
    assert row["precision"].startswith("0.50 (")
    assert accelerators.rate_text(0, 0) == ""


def test_energy_is_counted_where_power_is_known():
    held = pd.DataFrame({"hours": [1.0, 3.0], "power_w": [100.0, 100.0], "kwh": [0.1, 0.3]})
    assert accelerators.energy_words(held, held[1:]) == ", 0.3 kWh"
    half = held.assign(power_w=[np.nan, 100.0])
    assert accelerators.energy_words(half, half[1:]) == ", 0.3 kWh where power was measured, 75% of the held hours"
    assert accelerators.energy_words(held.assign(power_w=np.nan), held) == accelerators.energy_words(held[:0], held[:0]) == ""


def test_ranges_of_devices_are_sorted_with_memory_in_gib():
    held = pd.DataFrame({"device": ["b", "a", "a", "c"], "memory_used_mib": 2048.0, "utilisation_pct": 1.0, "power_w": 5.0})
    ranges = accelerators.ranges_of(held.assign(temperature_c=np.nan), ["b", "a"])
    assert ranges.index.tolist() == ["a", "b"]
    assert ranges["memory_used_mib"].to_numpy().tolist() == [[2.0] * 3] * 2
    assert ranges["temperature_c"].isna().all(axis=None)


def test_a_gap_ends_a_stretch_and_stands_for_one_period_only():
    minutes = np.array([0, 5, 10, 60, 65, 70])
    gpus = pd.DataFrame({"device": "g", "node_id": "n", "user": "u", "job_id": "1", "timestamp": NOON + minutes * pd.Timedelta("1min")})
    gpus = gpus.assign(utilisation_pct=[0, 0, 0, 0, 0, 90], power_w=60.0, memory_used_mib=1.0, memory_total_mib=2.0)
    weighed = accelerators.weigh_samples(gpus, window_end=NOON + pd.Timedelta("1D"), gap_periods=3.0, idle_pct=5.0, stall_pct=50.0)
    assert weighed.hours.mul(60).round(6).tolist() == [5, 5, 5, 5, 5, 5]
    samples, idle = accelerators.mark_stretches(weighed, 0.2)
    assert idle.hours.mul(60).round(6).tolist() == [15, 10]
    assert samples.wasted.tolist() == [True, True, True, False, False, False]
    assert accelerators.idle_lengths(weighed, 100).mul(60).round(3).tolist() == [15, 15]
    allocations = accelerators.allocations_of(samples, idle)
    assert allocations.longest_h.tolist() == [0.25]
    assert allocations.idle_share.tolist() == pytest.approx([5 / 6])


def test_wrong_diagnoses_are_written_of_the_windows_that_all_classifiers_predict(tmp_path):
    windows = pd.DataFrame({"job_id": ["1", "1", "2"], "node_id": "a", "start": [NOON, NOON + SECOND, NOON]})
    examples = SimpleNamespace(classes=["membw", "none"], windows=windows, y=np.array(["none", "none", "membw"]))
    forest = np.array([[0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])
    boosting = np.array([[np.nan, np.nan], [0.3, 0.7], [0.1, 0.9]])
    write_diagnosis_errors(tmp_path, examples, {"forest": forest, "boosting": boosting})
    back = pd.read_parquet(tmp_path / "test_errors.parquet")
    assert back[["forest", "boosting"]].values.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert back.group.tolist() == ["1", "2"]
    assert back.row.is_unique
