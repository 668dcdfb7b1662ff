"""Troubles that are put into copies of accounting series, and when a method finds them, on four series of twelve weeks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nightshift.detectors.accounting import activity_features
from nightshift.detectors.accounting_trials import Copies, busy_weeks, delays, draw_trials, inject, judge_by, recall_skill, skill_between
from nightshift.sources.accounting.steps import WEEK

WEEKS = pd.date_range("2025-11-03", periods=12, freq="7D", tz="UTC")
CODES = np.array([[1, 1], [1, 2], [2, 1], [1, 0]])  # sites A and B; the last is the total of A


def nights_of(core, **features):
    """Nights over CODES with these core hours (4, 12), of which the last two weeks are judged."""
    core = np.broadcast_to(np.asarray(core, float), (4, 12)).copy()
    usual = {"expected": 10.0, "weeks_active": 8, "weeks_known": 8, "silent_before": 0, "age": 20} | features
    grid = SimpleNamespace(
        series=pd.DataFrame({"site": ["A", "A", "B", "A"], "vo": ["x", "y", "x", ""]}),
        weeks=WEEKS,
        step=SimpleNamespace(long=10),
        panel={"core_hours": core, "jobs": core / 2},
        core=core,
        single=np.array([True, True, True, False]),
        features={name: np.broadcast_to(np.asarray(value, float), core.shape) for name, value in usual.items()},
        judgeable=lambda age: np.isfinite(core),
    )
    judged = np.broadcast_to(np.arange(12) >= 10, core.shape)
    rates = {"finding_rate": 0.2, "false_discovery_rate": 0.1}
    return SimpleNamespace(
        grid=grid, codes=CODES, min_age=8, report_weeks=2, alarm_rate=0.01, finding_rates=rates, parts=lambda end: (~judged, judged)
    )


def test_a_trouble_begins_where_a_series_is_active_as_in_half_of_its_weeks_and_the_week_before():
    core = np.full((4, 12), 5.0)
    core[1, 3], core[2, 4] = 0, np.nan
    active = np.full((4, 1), 8) + np.array([[0], [0], [0], [-5]])
    silent = np.zeros((4, 12))
    silent[0, 6] = 1
    busy = busy_weeks(nights_of(core, weeks_active=active, silent_before=silent))
    assert np.argwhere(~busy[:3]).tolist() == [[0, 6], [1, 3], [2, 4]]
    assert not busy[3].any(), "active in 3 of 8 weeks"
    assert busy_weeks(nights_of(core, weeks_active=4))[0].all(), "in half of them"


def test_every_kind_hits_each_drawn_series_and_a_silent_site_all_of_its_own():
    expected = np.array([[1.0], [2.0], [3.0], [4.0]]) + np.arange(12) / 100
    nights = nights_of(5.0, expected=expected, weeks_active=np.array([[8.0], [7.9], [9], [2]]))
    trials = draw_trials(nights, 10, np.array([True, True, True, False]), injections=9, rng=np.random.default_rng(1))
    assert trials.kind.value_counts().to_dict() == {"silent": 3, "halved": 3, "tripled": 3, "renamed": 3, "site_silent": 2}
    sites = trials[trials.kind == "site_silent"].set_index("site")
    assert sites.rows.to_dict() == {1: [0, 1, 3], 2: [2]}
    assert (sites.vo == 0).all()
    silent = trials[trials.kind == "silent"].sort_values("usual_core_hours")
    assert silent[["site", "vo"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1]]
    assert silent.usual_core_hours.tolist() == [1.1, 2.1, 3.1]
    assert silent.regular.tolist() == [True, False, True], "active in 8 of the 10 weeks of the long window"
    assert (trials.origin == WEEKS[10]).all()
    assert len(draw_trials(nights, 10, np.array([True, True, True, False]), injections=1, rng=np.random.default_rng(1))) == 5


def test_troubles_change_the_weeks_from_their_beginning_and_a_new_name_has_these_alone():
    core = np.arange(48.0).reshape(4, 12)
    trials = pd.DataFrame({"kind": ["halved", "renamed", "site_silent", "tripled"], "rows": [[0], [1], [2, 3], [2]]})
    copies = inject(nights_of(core), trials, 9, 11)
    assert copies.trial.tolist() == [0, 1, 2, 2, 3, 1]
    assert copies.row.tolist() == [0, 1, 2, 3, 2, -1]
    assert copies.codes.tolist() == [[1, 1], [1, 2], [2, 1], [1, 0], [2, 1], [1, 3]]
    got = copies.panel["core_hours"]
    assert got.shape == (6, 11)
    assert np.array_equal(got[:5, :9], core[[0, 1, 2, 3, 2], :9])
    assert np.isnan(got[5, :9]).all()
    late = core[:, 9:11]
    assert got[:, 9:].tolist() == [*(late[[0]] * 0.5).tolist(), *[[0, 0]] * 3, *(late[[2]] * 3).tolist(), *late[[1]].tolist()]
    assert np.array_equal(copies.panel["jobs"][0], got[0] / 2)


def judged(p_values, p_ranked=None, early=None):
    """The answers of a method on rows of two weeks."""
    p = np.array(p_values, float).ravel()
    ranked = p if p_ranked is None else np.array(p_ranked, float).ravel()
    return pd.DataFrame({"p_value": p, "p_ranked": ranked, "early": np.zeros(len(p), bool) if early is None else np.array(early, bool).ravel()})


def delays_of(before, after, kinds=("silent", "silent"), rows=(0, 2), trial=(0, 1)):
    """[[weeks until found, until flagged]] of trials, -1 for never."""
    copies = Copies(np.array(trial), np.array(rows), CODES[list(rows)], {})
    found = delays(nights_of(5.0), 12, trials=pd.DataFrame({"kind": list(kinds)}), copies=copies, before=before, after=after)
    return np.nan_to_num(found, nan=-1).tolist()


QUIET = judged(np.full((4, 2), 0.5))


def test_a_trouble_is_found_in_the_first_week_that_is_flagged_and_rare_enough_in_a_report():
    """Four series are judged, so a change is a finding alone where two weeks times its chance is at most 0.2 / 4."""
    assert delays_of(QUIET, judged([[0.5, 0.005], [0.01, 0.5]])) == [[1, 1], [0, 0]]
    assert delays_of(QUIET, judged([[0.5, 0.011], [0.5, 0.5]])) == [[-1, -1], [-1, -1]]
    assert delays_of(QUIET, judged([[0.01, 0.01], [0.01, 0.5]], p_ranked=[[0.03, 0.025], [0.026, 0.9]])) == [[0, 0], [-1, 0]]
    assert delays_of(QUIET, judged([[0.01, 0.5], [0.01, 0.5]], p_ranked=np.full((2, 2), 0.9), early=[[0, 1], [0, 0]]))[1] == [-1, 0]
    assert delays_of(QUIET, judged([[0.01, 0.5], [0.5, 0.5]], p_ranked=np.full((2, 2), 0.9), early=[[1, 0], [0, 0]]))[0] == [0, 0]


def test_what_is_flagged_without_the_trouble_is_no_merit():
    before = judged([[0.01, 0.5], [0.5, 0.5], [0.5, 0.01], [0.5, 0.5]])
    assert delays_of(before, judged([[0.001, 0.001], [0.5, 0.001]])) == [[1, 1], [-1, -1]]
    new_name = delays_of(before, judged([[0.5, 0.5], [0.001, 0.5]]), rows=(0, -1), trial=(0, 0), kinds=("renamed",))
    assert new_name == [[0, 0]], "a new name has no past that could be flagged"


def test_the_total_of_a_silent_site_speaks_for_its_members():
    sites, rows, trial = ("site_silent",), (0, 3), (0, 0)
    late = judged([[0.001, 0.5], [0.5, 0.001]])
    assert delays_of(QUIET, late, sites, rows, trial) == [[1, 0]], "found with the total, flagged by a member"
    assert delays_of(QUIET, judged([[0.001, 0.5], [0.5, 0.5]]), sites, rows, trial) == [[0, 0]]
    assert delays_of(QUIET, late, ("silent",), rows, trial) == [[0, 0]], "of other kinds each speaks for itself"


def test_skill_is_the_share_of_what_the_other_misses_or_of_what_is_lost():
    assert skill_between([0.75, 0.25, 0.5, 1.0, 0.0], [0.5, 0.5, 0.5, 1.0, 0.0]).tolist() == [0.5, -0.5, 0, 0, 0]
    merit = pd.Series({"ours": 0.8, "plain": 0.6})
    resampled = pd.DataFrame({"ours": np.linspace(0.7, 0.9, 201), "plain": 0.6})
    skill, low, high = recall_skill(merit, resampled, "ours", "plain")
    assert (skill, low, high) == (pytest.approx(0.5), pytest.approx(0.2625), pytest.approx(0.7375))


def test_a_silence_is_counted_from_the_last_week_in_which_a_series_was_active_be_it_its_first():
    core = np.array([[5.0, 0, 0, 0, 0, 0, 5], [np.nan, np.nan, 5, 5, 0, 5, 5]])
    features = activity_features(core, WEEK)
    assert np.nan_to_num(features["silent_before"], nan=-1).tolist() == [[-1, 0, 1, 2, 3, 4, 5], [-1, -1, -1, 0, 0, 1, 0]]
    assert np.nan_to_num(features["weeks_silent"], nan=-1).tolist() == [[0, 1, 2, 3, 4, 5, 0], [-1, -1, 0, 0, 1, 0, 0]]
    assert features["absent"][0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert features["age"].tolist() == [[0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 2, 3, 4]]
    assert features["weeks_active"][0, 6] == 1
    assert np.isnan(features["active"][1, 0])


def test_a_method_of_one_test_is_calibrated_without_incidents_and_one_of_several_with_them(monkeypatch):
    calibrated = []
    monkeypatch.setattr(
        "nightshift.detectors.accounting_trials.judge_weeks",
        lambda tests, calibrating, *others: calibrated.append(len(calibrating)) or tests.assign(**NOTHING)[list(NOTHING)].reset_index(drop=True),
    )
    tests = pd.DataFrame({"drop": [1.0, np.nan], "surge": [1.0, 2.0]})
    calibration = pd.DataFrame({"drop": [1.0, 2, 3, np.nan], "surge": 1.0, "incident": [True, False, False, False]})
    one, both = (judge_by(weights, tests, calibration, np.zeros(2, bool), pool=None) for weights in ({"drop": 1}, {"drop": 1, "surge": 1}))
    assert calibrated == [2, 3]
    assert one.p_value.tolist() == both.p_value.tolist() == [0.5, 1.0], "it says nothing of what it lacks"


NOTHING = {"score": 3.0, "p_value": 0.5, "p_ranked": 0.5, "test": "drop", "early": False}
