"""What the models say of windows, day by day: night after night it is what they say of all at once."""

import json

import numpy as np
import pandas as pd
import pytest
from telemetry_tables import FEATURES, write_clean, write_models

import helpers
from nightshift.analysis.telemetry_scores import ABOUT, DayTests, windows_tested
from nightshift.detectors.telemetry_health import load_detector, node_tests

FIRST = pd.Timestamp("2026-01-01", tz="UTC")
MEANS = ["cpu::a|mean", "mem::b|mean"]
DAYS = 14


def windows_of(node, job, days, *, anomaly="", part=""):
    """Windows of half an hour, one each hour of some days, that wander."""
    start = FIRST + pd.to_timedelta([24 * day + hour for day in days for hour in range(24)], unit="h")
    wandering = np.random.default_rng([len(node), *map(ord, job)]).normal(0, 0.3, (len(start), 4)).cumsum(axis=0)
    values = (wandering + np.array([50, 1, 50, 1])).astype("float32")
    keys = {"job_id": job, "node_id": node, "app": "", "input": "", "anomaly": anomaly, "part": part}
    keys |= {"start": start, "end": start + pd.Timedelta("90min"), "coverage": 1.0}
    return pd.DataFrame(keys | dict(zip(FEATURES, values.T, strict=True)))


def table(days=DAYS):
    every = range(days)
    rows = [windows_of("server", "", every), windows_of("s2", "", [day for day in every if day not in (5, 6)])]
    rows += [windows_of("n1", "7", [day for day in every if day in (8, 9)]), windows_of("n1", "8", [day for day in every if day == 12])]
    rows += [windows_of("n2", "9", [day for day in every if day == 12], anomaly="membw")]
    return pd.concat(rows).sort_values(["node_id", "start"], ignore_index=True)


@pytest.fixture
def products(tmp_path):
    """A model that averages over three windows, one before and one after."""
    write_models(tmp_path, [])
    path = helpers.study_paths("telemetry", tmp_path).models / "detector.json"
    helpers.write_json(json.loads(path.read_text()) | {"smoothing": 3}, path)
    return tmp_path


def night(products, windows, last, monkeypatch=None):
    """What a night sees whose last day is the number `last`: (Tested, days that were tested)."""
    paths, tested = write_clean(products, windows), []
    original = DayTests.test
    if monkeypatch:
        monkeypatch.setattr(DayTests, "test", lambda self, rows, *more: tested.append(rows.start.dt.day.iloc[0] - 1) or original(self, rows, *more))
    end = FIRST + pd.Timedelta(days=last + 1)
    seen = windows_tested(paths, load_detector(paths.models), judged_from=end - pd.Timedelta(days=2), window_end=end, days=2, columns=MEANS)
    if monkeypatch:
        monkeypatch.setattr(DayTests, "test", original)
    return seen, tested


def test_night_after_night_gives_what_all_at_once_gives_and_tests_new_days_only(products, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    write_models(other, [])
    helpers.write_json(json.loads((products / "models/telemetry/detector.json").read_text()), other / "models/telemetry/detector.json")
    days = {}
    for last in (11, 12, 13):
        seen, days[last] = night(products, table(last + 1), last, monkeypatch)
    at_once, tested = night(other, table(), 13, monkeypatch)
    pd.testing.assert_frame_equal(seen.windows, at_once.windows)
    pd.testing.assert_frame_equal(seen.tests, at_once.tests, rtol=0, atol=1e-12)
    assert tested == list(range(3, 14)), "two judged days, eight nights before, and windows that end after midnight"
    assert days == {11: list(range(1, 12)), 12: [11, 12], 13: [12, 13]}
    assert night(products, table(), 13, monkeypatch)[1] == [], "nothing changed"


def test_judged_are_windows_from_which_nothing_is_learned_and_servers_bring_the_nights_before(products):
    seen, _ = night(products, table(), 13)
    windows, judged_from = seen.windows, FIRST + pd.Timedelta(days=12)
    assert windows.groupby(["node_id", "job_id"]).is_judged.sum().to_dict() == {("n1", "8"): 24, ("s2", ""): 48, ("server", ""): 48}
    assert set(windows.columns) == {*ABOUT, *MEANS, "is_judged"}
    assert (windows.is_judged == (windows.end > judged_from)).all()
    assert windows.end.min() > judged_from - pd.Timedelta(days=8)
    assert list(zip(windows.node_id, windows.start, strict=True)) == sorted(zip(windows.node_id, windows.start, strict=True))
    assert (len(seen.tests), seen.lacking) == (len(windows), [])
    learned, _ = night(products, table().assign(part="train"), 13)
    assert not learned.windows.is_judged.any()
    assert (len(learned.windows) > 0, learned.lacking) == (True, [])


def test_the_level_of_a_server_is_followed_over_four_days_and_distances_are_averaged_over_midnight(products):
    seen, _ = night(products, table(), 13)
    paths = helpers.study_paths("telemetry", products)
    detector, server = load_detector(paths.models), table().query("node_id == 'server'").reset_index(drop=True)
    day = server.start.dt.floor("D")
    around = server[(day >= FIRST + pd.Timedelta(days=6)) & (day <= FIRST + pd.Timedelta(days=11))].reset_index(drop=True)
    expected = node_tests(around, detector)[around.start.dt.day == 11]
    got = seen.tests[(seen.windows.node_id == "server") & (seen.windows.start.dt.day == 11)]
    np.testing.assert_allclose(got.to_numpy(), expected.to_numpy(), atol=1e-9)
    job = table().query("job_id == '8'").reset_index(drop=True)
    of_job = seen.tests[seen.windows.job_id == "8"]
    np.testing.assert_allclose(of_job.to_numpy(), node_tests(job, detector).to_numpy(), atol=1e-9)


@pytest.mark.parametrize("what", ["model", "day", "kept"])
def test_a_changed_model_or_day_and_what_is_damaged_are_tested_anew(products, monkeypatch, what):
    night(products, table(), 13)
    paths, windows = helpers.study_paths("telemetry", products), table()
    expected = list(range(3, 14))
    if what == "model":
        description = json.loads((paths.models / "detector.json").read_text())
        helpers.write_json(description | {"smoothing": 1}, paths.models / "detector.json")
    elif what == "day":
        windows.loc[(windows.node_id == "server") & (windows.start == FIRST + pd.Timedelta(days=7)), MEANS] += 1
        expected = [6, 7, 8, 9, 10, 11]
    else:
        (paths.scores.with_name(".telemetry") / "2026-01-09.parquet").write_bytes(b"no table")
        expected = [8]
    assert night(products, windows, 13, monkeypatch)[1] == expected


def test_without_a_window_there_is_an_empty_table(products):
    seen, _ = night(products, table()[:0], 13)
    assert (len(seen.windows), len(seen.tests), seen.lacking) == (0, 0, [])
    assert {"health", "distance"} <= set(seen.tests)
