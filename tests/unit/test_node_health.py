"""What healthy windows teach, how flagged windows become incidents, and which nodes are silent, on small tables with values by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from nightshift.detectors.telemetry_health import fit_usual, groups_of, half_hours, is_late, median_units, stored_before
from nightshift.detectors.telemetry_incidents import keep_findings, merge_flagged, node_rhythms, run_looks, silent_entities, spans_of, window_step
from nightshift.models import save_model

NOON = pd.Timestamp("2026-01-30T12:00", tz="UTC")
MINUTE = pd.Timedelta("1min")


def windows_of(*rows):
    """Windows of ten minutes from rows (node, job, minutes after noon, values ...)."""
    frame = pd.DataFrame([row[:3] for row in rows], columns=["node_id", "job_id", "at"])
    start = NOON + frame.pop("at") * MINUTE
    values = pd.DataFrame([row[3:] for row in rows]).add_prefix("x")
    return frame.assign(start=start, end=start + 10 * MINUTE, day=start.dt.floor("D")).join(values)


# -------------------------------------------------------------------------------------------------------------- health


def test_servers_have_the_half_hour_in_which_a_window_ends_and_jobs_have_none():
    assert half_hours(windows_of(("a", "", 0), ("a", "", 19), ("a", "", 20), ("a", "7", 0))).tolist() == ["24", "24", "25", ""]


def test_a_server_has_a_detector_of_its_own_from_the_least_number_of_windows_on():
    healthy = windows_of(*[("a", "", n) for n in range(4)], *[("b", "", n) for n in range(3)], *[("c", "1", n) for n in range(9)])
    groups = groups_of(healthy, 4)
    assert list(groups) == ["all", "a"]
    assert groups["a"].tolist() == [0, 1, 2, 3]
    assert groups["all"].tolist() == list(range(16)), "as many as there are detectors of servers: every one"
    assert groups_of(healthy, 3)["all"].tolist() == list(range(0, 16, 2))
    assert list(groups_of(healthy, 10)) == ["all"]


def test_the_last_tenth_by_time_is_late_and_a_job_is_late_as_a_whole():
    servers = windows_of(*[("a", "", 10 * n) for n in range(20)])
    assert is_late(servers, np.arange(20)).tolist() == [False] * 18 + [True] * 2
    jobs = windows_of(*[("a", str(n), 100 * n + m) for n in range(10) for m in (0, 10)])
    assert is_late(jobs, np.arange(20)).tolist() == [False] * 18 + [True] * 2
    at_once = windows_of(*[(node, "1", 10 * n) for n in range(10) for node in "ab"])
    assert is_late(at_once, np.arange(20)).sum() == 2, "all jobs began at once: the windows themselves are ranked"


def test_a_half_hour_has_a_median_of_its_own_where_it_comes_closer_and_no_spread_is_nothing():
    """x0 is 10 in the first half hour and 20 in the second; x1 hardly varies on this node, but does on the other; x2 nowhere."""
    rows = [("a", "", 30 * n, 10.0 + 10 * (n % 2) + 0.01 * (n % 3), 5.0, 200.0) for n in range(48 * 10)]
    other = [("b", str(n), 30 * n, 15.0, float(n % 2), 200.0) for n in range(40)]
    usual = fit_usual(windows_of(*rows, *other).assign(x3=0.5), ["x0", "x1", "x2", "x3"], min_healthy=100)
    assert set(usual.index.get_level_values(0)) == {"all", "a"}
    assert usual.loc["all"].index.tolist() == ["", "spread"], "nodes that share a detector share no half hour"
    of_a = usual.loc["a"]
    assert of_a.x0[["24", "25"]].round(1).tolist() == [10.0, 20.0]
    assert of_a.x1.drop("spread").dropna().tolist() == [5.0], "the half hour tells nothing of what never changes"
    assert of_a.x0["spread"] < 0.5 < usual.loc["all"].x0["spread"]
    everywhere = usual.loc[("all", "spread")]
    assert of_a.x1["spread"] == pytest.approx(0.05 * everywhere.x1 / np.hypot(1, 0.05))
    assert of_a.x2["spread"] == pytest.approx(0.05 * 0.01 * 200)
    assert of_a.x3["spread"] == pytest.approx(0.05 * 0.01), "of what is smaller than one, as of one"


def test_a_unit_is_the_median_of_its_detector_or_that_of_all():
    distances = pd.DataFrame({"mean": [1.0, 3.0, 5.0, 40.0], "group": ["a", "a", "a", "all"]})
    assert median_units(distances, ["all", "a", "b"])["mean"].to_dict() == {"all": 40.0, "a": 3.0, "b": 4.0}


def stored(folder, **description):
    """Paths of a study whose earlier training says this of itself, beside what today's extraction and preparation say."""
    paths = SimpleNamespace(models=folder / "models", raw=folder / "raw", encoders=folder / "encoders")
    models = [{"name": "stored trees", "metric": "macro-F1 of 5 classes", "model": 0.8, "in_use": True}]
    models += [{"name": "others", "metric": "macro-F1 of 5 classes", "model": 0.9, "in_use": False}]
    contents = {
        paths.models / "detector.json": {"inputs": ["x0"], "features": ["x1"], "source": "ldms"} | description,
        paths.models / "metrics.json": {"models": models},
        paths.raw / "status.json": {"source": "ldms"},
        paths.encoders / "metrics.json": {"windows": {"window_s": 60}, "metrics": {"b": {"kind": "counter"}, "c": {"kind": "gauge"}}},
    }
    for path, content in contents.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    save_model(RandomForestClassifier(1).fit([[0], [1]], [0, 1]), paths.models / "classifier.skops")
    return paths


def test_a_stored_classifier_serves_where_its_features_and_source_are_those_of_today(tmp_path):
    before = stored_before(stored(tmp_path), {"x0", "x1", "x2"})
    assert (before.fits, before.figure) == (True, 0.8)
    assert before.about_data == {"source": "ldms", "windows": {"window_s": 60, "counters": ["b"]}}
    assert [row["name"] for row in before.rows_in_use()] == ["stored trees"]
    assert stored_before(stored(tmp_path), {"x0", "x1"}).fits
    assert not stored_before(stored(tmp_path), {"x0"}).fits
    assert not stored_before(stored(tmp_path, source="prometheus"), {"x0", "x1"}).fits
    assert stored_before(stored(tmp_path, windows={"window_s": 60, "counters": []}), {"x0", "x1"}).fits
    assert not stored_before(stored(tmp_path, windows={"window_s": 600, "counters": ["b"]}), {"x0", "x1"}).fits
    paths = stored(tmp_path)
    (paths.models / "classifier.skops").unlink()
    assert not stored_before(paths, {"x0", "x1"}).fits
    (paths.models / "detector.json").unlink()
    nothing = stored_before(paths, {"x0", "x1"})
    assert (nothing.models, nothing.description, nothing.figure) == ([], {}, -1)


# ----------------------------------------------------------------------------------------------------------- incidents


def test_a_run_is_looked_at_as_often_as_windows_fit_in_it_and_not_oftener_than_it_has_windows():
    scored = windows_of(("a", "1", 0), ("a", "1", 5), ("a", "1", 10), ("a", "1", 15), ("b", "1", 0), ("b", "1", 60))
    assert run_looks(scored, 10 * MINUTE).tolist() == [3, 3, 3, 3, 2, 2]
    assert window_step(scored, 10 * MINUTE) == 5 * MINUTE
    assert window_step(scored.iloc[[0, 4]], 10 * MINUTE) == 10 * MINUTE


def flagged_windows():
    """Windows of two runs, five minutes apart: of the first are flagged 0, 5, 15 (one gap), and 40 alone; of the second 0 and 5."""
    at = {("a", "1"): [0, 5, 10, 15, 40], ("b", "2"): [0, 5]}
    scored = windows_of(*[(*run, minute) for run, minutes in at.items() for minute in minutes])
    flagged, p = [True, True, False, True, True, True, True], [0.01, 0.002, 0.9, 0.03, 0.04, 0.2, 0.3]
    scored = scored.assign(app="x", flagged=flagged, p_value=p, looks=[3.0] * 5 + [4.0] * 2, score=[2.0, 3.0, 0.0, 1.0, 1.5, 9.0, 8.0])
    chances = pd.DataFrame({"p none": 0.1, "p memleak": [0.5, 0.7, 0.0, 0.6, 0.2, 0.2, 0.2], "p membw": [0.4, 0.2, 0.9, 0.3, 0.7, 0.7, 0.7]})
    return scored, chances


def test_flagged_windows_of_a_run_merge_over_one_gap_and_single_ones_are_no_incident():
    scored, chances = flagged_windows()
    merged = merge_flagged(scored, chances, step=5 * MINUTE, consecutive=2, least_confidence=0.55)
    assert merged[["node_id", "job_id", "windows", "score"]].to_numpy().tolist() == [["a", "1", 3, 3.0], ["b", "2", 2, 9.0]]
    assert merged.p_value.tolist() == pytest.approx([0.006, 0.8])
    assert ((merged.start - NOON) / MINUTE).tolist() == [0, 0]
    assert ((merged.end - NOON) / MINUTE).tolist() == [25, 15]
    assert ((merged.called_at - NOON) / MINUTE).tolist() == [15, 15], "when its second window had ended"
    assert merged.diagnosis.tolist() == ["memleak", "membw"]
    assert merged.confidence.tolist() == pytest.approx([0.6, 0.7])
    alone = merge_flagged(scored, chances, step=5 * MINUTE, consecutive=1, least_confidence=0.65)
    assert sorted(alone.windows) == [1, 2, 3]
    assert alone.diagnosis.tolist()[0] == "unknown"


def test_quiet_runs_count_as_tests_by_the_day():
    scored, chances = flagged_windows()
    more = windows_of(("c", "", 0), ("c", "", 10), ("c", "", 24 * 60), ("d", "3", 0)).assign(looks=3.0)
    incidents = merge_flagged(scored, chances, step=5 * MINUTE, consecutive=2, least_confidence=0.5)
    judged = keep_findings(incidents, pd.concat([scored, more]), n_calibration=299, false_discovery_rate=0.1)
    assert judged.judgements == 2 + 3
    assert judged.least == pytest.approx(3 / 300)
    assert judged.alone == 1
    assert (judged.reported.node_id.tolist(), judged.by_chance.node_id.tolist()) == (["a"], ["b"])
    assert keep_findings(incidents, scored, n_calibration=29, false_discovery_rate=0.1).alone == 2


# ------------------------------------------------------------------------------------------------------------- silence


def test_a_node_may_pause_three_times_as_long_as_it_usually_does_and_a_day_at_least():
    days = {("a", "1"): [0], ("a", "2"): [2], ("a", "3"): [4], ("b", "4"): [0, 0.1], ("c", "5"): [1]}
    history = windows_of(*[(*run, 24 * 60 * day) for run, at in days.items() for day in at])
    spans = spans_of(history)
    assert spans.pause.round(2).fillna(-1).tolist() == [-1, 1.99, 1.99, -1, -1]
    nodes = node_rhythms(spans, NOON + pd.Timedelta(days=5))
    assert (nodes.limit / pd.Timedelta(days=1)).round(2).tolist() == [5.98, 5.98, 5.98], "who never paused has the rhythm of the others"
    assert (nodes.silence / pd.Timedelta(days=1)).round(2).tolist() == [0.99, 4.89, 3.99]
    assert (node_rhythms(spans[spans.node_id == "c"], NOON).limit == pd.Timedelta(days=1)).all()


def test_nodes_that_fell_silent_with_all_of_their_site_are_one_row():
    nodes = pd.DataFrame({"node_id": ["t2-n1", "t2-n2", "t3-n1", "t3-n2", "t4-n1"], "usual": [1.0, 2.0, 3.0, 4.0, 5.0]})
    nodes["last"] = NOON + pd.to_timedelta([1, 2, 3, 4, 5], unit="h")
    nodes["silence"] = pd.to_timedelta([9, 8, 7, 6, 5], unit="h")
    silent = silent_entities(nodes.iloc[[0, 1, 2, 4]], nodes, r"^(\w+)-").set_index("entity")
    assert silent.nodes.to_dict() == {"T2": 2, "t3-n1": 1, "t4-n1": 1}
    assert (silent.usual["T2"], silent.silence["T2"], silent["last"]["T2"]) == (2.0, pd.Timedelta("8h"), NOON + pd.Timedelta("2h"))
