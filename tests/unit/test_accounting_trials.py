"""Troubles that are put into copies of accounting series, and when a method finds them, on four series of twelve weeks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nightshift.detectors.accounting import SeriesGrid, activity_features
from nightshift.detectors.accounting_trials import (
    SIZED,
    Copies,
    Nights,
    all_tests,
    backtest,
    busy_weeks,
    delays,
    draw_trials,
    fit_detector,
    inject,
    judge_by,
    ordinary_alarms,
    recall_skill,
    skill_between,
    without_incidents,
)
from nightshift.detectors.base import NullDetector
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


# ------------------------------------------------------------------------------------------------------- whole nights


@pytest.fixture(scope="module")
def steady():
    """Nights over 140 weeks of four series that compute 100 core hours a week, give or take 5% but in the last three, and of their totals."""
    rng, weeks = np.random.default_rng(5), pd.date_range("2023-05-08", periods=140, freq="7D", tz="UTC")
    tables = []
    for site, vo in (("A", "x"), ("A", "y"), ("B", "x"), ("B", "z")):
        hours = 100 * np.exp(rng.normal(0, 0.05, 140) * (np.arange(140) < 137))
        amounts = {"core_hours": hours, "wall_hours": hours, "cpu_hours": 0.8 * hours, "jobs": hours / 10}
        tables.append(pd.DataFrame({"site": site, "vo": vo, "week": weeks} | amounts))
    grid = SeriesGrid.of_table(pd.concat(tables))
    codes = np.array([[1, 1], [1, 2], [2, 1], [2, 3], [1, 0], [2, 0], [0, 1]])
    return Nights(grid, codes, train_weeks=78, report_weeks=3, min_age=8, alarm_rate=0.01, finding_rate=0.2, false_discovery_rate=0.05)


def test_a_night_judges_its_last_weeks_by_those_before_them_that_are_old_enough(steady):
    assert steady.grid.series.to_numpy().tolist() == [["A", "x"], ["A", "y"], ["B", "x"], ["B", "z"], ["A", ""], ["B", ""], ["", "x"]]
    assert steady.grid.single.tolist() == [True] * 4 + [False] * 3
    for end, ordinary_weeks in ((100, range(19, 97)), (20, range(8, 17))):
        ordinary, judged = steady.parts(end)
        assert (ordinary == np.isin(np.arange(140), ordinary_weeks)).all()
        assert (judged == np.isin(np.arange(140), range(end - 3, end))).all()


@pytest.mark.parametrize(("end", "can_find"), [(140, (True, True)), (43, (True, False)), (20, (False, False))])
def test_a_night_can_find_first_silences_before_other_changes(steady, end, can_find):
    """After 40 weeks a first silence is rare enough, while the ranks of 224 ordinary weeks are not beside what is kept for such silences."""
    assert steady.can_find(end) == can_find


def test_the_method_of_2021_judges_pairs_of_its_own_sites_and_no_totals(steady):
    grid = steady.grid
    detector = SimpleNamespace(forest=NullDetector(), of_2021={1: SimpleNamespace(score_samples=lambda pairs: pairs @ [1000, 1])})
    tests = all_tests(grid.features, steady.codes, grid.panel, np.broadcast_to(np.arange(140) == 139, grid.core.shape), detector)
    assert tests.method_2021.fillna(-1).tolist() == pytest.approx([1100, 2100, -1, -1, -1, -1, -1])


def test_what_an_exponential_tail_holds_once_in_a_thousand_weeks_is_ordinary_and_beyond_it_is_an_incident():
    """Of 40 weeks with a drop the 90% point is 1; three times as much is still ordinary."""
    drop = np.r_[np.zeros(400), np.ones(38), 3.0, 3.5]
    kept = without_incidents(pd.DataFrame(dict.fromkeys(SIZED, 0.0), range(440)).assign(drop=drop))
    assert np.flatnonzero(kept["incident"]).tolist() == [439]
    assert kept["drop"].tolist() == [*drop[:-1], 0]
    assert kept["surge"].tolist() == [0] * 440


def test_each_block_of_ordinary_weeks_is_scored_by_a_forest_of_the_others(steady):
    learned = []

    def fit_forest(rows):
        learned.append(np.flatnonzero(rows.any(axis=0)).tolist())
        return NullDetector()

    ordinary = (np.arange(7) == 2)[:, None] & (np.arange(140) >= 134)
    calibration = fit_detector(steady, ordinary, fit_forest, lambda rows: {}, blocks=3).calibration
    assert learned == [[136, 137, 138, 139], [134, 135, 138, 139], [134, 135, 136, 137], list(range(134, 140))]
    assert calibration.block.tolist() == [0, 0, 1, 1, 2, 2]
    assert calibration[["site", "vo"]].drop_duplicates().to_numpy().tolist() == [["B", "x"]]
    assert calibration.week.tolist() == list(steady.grid.weeks[134:])
    learned.clear()
    fit_detector(steady, ordinary & (np.arange(140) == 139), fit_forest, lambda rows: {}, blocks=3)
    assert learned == [[139], [139]], "where there are no others, of itself"


def test_ordinary_weeks_are_judged_block_by_block_and_incidents_are_none():
    drop = [*range(1, 11), *range(1, 10), 100.0, 1000.0]
    calibration = pd.DataFrame({"site": "A", "vo": "x", "block": [0] * 10 + [1] * 10 + [0], "drop": drop, "habit": False})
    calibration["incident"] = calibration["drop"] == 1000
    alarms = ordinary_alarms({"drop": 1.0}, calibration, 1 / 11)
    assert (alarms.n_flagged, alarms.n, alarms.n_independent) == (1, 20, 1), "100, above all ten of the other block"
    assert ordinary_alarms({"drop": 1.0}, calibration, 0.09).n_flagged == 0


def test_troubles_of_steady_series_are_found_at_once_by_what_can_see_them(steady):
    """A first silence is told by the pool alone, also where only drops are tested; what triples is no drop. The pool says nothing where all fall
    silent, and a plain method has none.
    """
    ordinary, _ = steady.parts(140)
    detector = fit_detector(steady, ordinary, lambda rows: NullDetector(), lambda rows: {}, blocks=4)
    trials = draw_trials(steady, 137, steady.grid.single, injections=4, rng=np.random.default_rng(1))
    whole = pd.DataFrame({"kind": ["site_silent"], "rows": [list(range(7))]})
    trials = pd.concat([trials, whole], ignore_index=True)
    found, raised = backtest(steady, 140, trials, detector, {"drops": {"drop": 1.0}, "robust_z": {"robust_z": 1.0}})
    assert raised.equals(found)
    assert (found.robust_z == 0).all()
    is_found = found.drops.iloc[:-1].eq(0).groupby(trials.kind[:-1]).agg(["all", "any"])
    assert is_found.to_numpy().tolist() == [[kind != "tripled"] * 2 for kind in ("halved", "renamed", "silent", "site_silent", "tripled")]
    assert np.isnan(found.drops.iloc[-1])
