"""What detectors compute, by hand and at the edges: series of an accounting, deviations of nodes, cells and windows of a scan, errors and probes."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from nightshift.detectors import accounting
from nightshift.detectors.accounting import (
    FOREST_INPUTS,
    activity_features,
    change_tests,
    deviation,
    findings_among,
    first_silences,
    forest_inputs,
    is_habit,
    judge_exactly,
    judge_weeks,
    level_features,
    lone_limit,
    report_chances,
    resolution,
    series_features,
    silence_chance,
    silence_pool,
    silences_of,
    weeks_ago,
)
from nightshift.detectors.accounting_trials import judge_by
from nightshift.detectors.telemetry_distances import (
    Distance,
    Neighbours,
    Residual,
    Whitened,
    level_half_life,
    network_errors,
    normalise_scores,
    smooth_runs,
    without_level,
)
from nightshift.detectors.transfers import (
    choose_predictor,
    compare_probes,
    describe_errors,
    error_table,
    error_words,
    trouble_of_probes,
)
from nightshift.detectors.transfers_scan import (
    RECOVERED,
    Rest,
    Windows,
    best_possible,
    best_windows,
    chance_of,
    correlation_of,
    count_cells,
    extend_window,
    reach,
    scan_incidents,
    together,
)
from nightshift.sources.accounting.steps import WEEK
from nightshift.statistics import follow_level

nan = np.nan

# ----------------------------------------------------------------------------------------------------------- accounting


def test_a_week_is_compared_with_those_before_it_in_robust_spreads():
    distance, median, spread = deviation(np.array([[1.0, 3, 2, 6, 4, 9]]), 4)
    assert np.isnan(distance[0, :2]).all(), "of four weeks two are enough, one is not"
    assert median[0, 2:].tolist() == [2, 2, 2.5, 3.5]
    mad = 1.4826 * 1.0  # of 1, 3, 2, 6 about 2.5: 1.5, 0.5, 0.5, 3.5
    assert spread[0, 4] == pytest.approx(np.sqrt((4 * mad**2 + 2 * 0.25) / 6))
    assert distance[0, 4] == pytest.approx((4 - 2.5) / spread[0, 4])
    is_known = np.isfinite(deviation(np.arange(8.0)[None], 26)[0][0])
    assert is_known.tolist() == [False] * 4 + [True] * 4, "of a long window four weeks are enough"
    assert np.isfinite(deviation(np.arange(8.0)[None], 6)[0][0]).tolist() == [False] * 3 + [True] * 5, "of six weeks three are enough"


def test_weeks_ago_begins_with_what_is_missing():
    x = np.array([[1.0, 2, 3], [4, 5, 6]])
    assert weeks_ago(x, 1, -1).tolist() == [[-1, 1, 2], [-1, 4, 5]]
    assert weeks_ago(x, 4, -1).tolist() == [[-1, -1, -1]] * 2


@pytest.mark.parametrize(("weeks", "is_one"), [([0, 1, 2, 78], True), ([0, 1, 2, 79], False), ([5, 9, 12], False), ([5, 6, 7, 8], True)])
def test_what_happened_three_times_in_the_last_78_weeks_is_a_habit(weeks, is_one):
    happened = np.zeros((1, 90), bool)
    happened[0, weeks] = True
    assert np.flatnonzero(is_habit(happened)[0]).tolist() == ([weeks[-1]] if is_one else [])


def test_activity_counts_the_weeks_before():
    features = {name: x[0] for name, x in activity_features(np.array([[5.0, 0, 5, 0, 0, 0, 0, 0, 7, nan]]), WEEK).items()}
    assert features["silent_before"][1:].tolist() == [0, 1, 0, 1, 2, 3, 4, 5, 0]
    assert features["weeks_silent"].tolist()[1:] == [1, 0, 1, 2, 3, 4, 5, 0, 1]
    assert features["absent"].tolist() == [0] * 7 + [1, 1, 0]
    assert features["share"][8] == pytest.approx((2 + 8 * 0.3) / (8 + 8))
    assert features["share_before"][8] == pytest.approx((2 + 8 * 0.3) / (8 - 5 + 8))
    assert features["age"].tolist() == list(range(10))
    assert (features["weeks_known"][8], features["weeks_active"][8]) == (8, 2)
    assert np.isnan(features["share"][9])
    assert np.isnan(features["active"][9])
    long = {name: x[0] for name, x in activity_features(np.r_[np.ones(10), np.zeros(20)][None], WEEK).items()}
    assert (long["weeks_known"][29], long["weeks_active"][29]) == (26, 7), "the window of 26 weeks begins with the fourth"
    assert long["share"][29] == pytest.approx((7 + 2.4) / (26 + 8))


def test_the_fourth_silence_and_the_fourth_return_in_78_weeks_are_habits():
    every_fifth = np.where(np.arange(27) % 5 == 0, 5.0, 0.0)[None]
    assert np.flatnonzero(activity_features(every_fifth, WEEK)["habit"][0]).tolist() == [16, 20, 21, 25, 26]
    often = np.where(np.arange(40) % 4 == 3, 0.0, 5.0)[None]  # back after a week: no return that anybody would tell
    assert np.flatnonzero(activity_features(often, WEEK)["habit"][0]).tolist() == list(range(15, 40, 4))


def test_how_regular_a_series_had_been_is_a_share_however_long_it_has_been_silent():
    silent = activity_features(np.r_[np.ones(10), np.zeros(40)][None], WEEK)
    assert silent["share_before"][0, 49] == pytest.approx(0.3), "nothing is known of the weeks before"
    unknown = activity_features(np.r_[np.ones(13), np.full(13, nan), 1.0][None], WEEK)
    assert unknown["share_before"][0, 26] == 1


def test_levels_are_logarithms_of_core_hours_and_of_what_a_job_takes():
    core = np.array([[100.0, 200, 100, 200, 100, 200, 400]])
    panel = {"core_hours": core, "wall_hours": core / 2, "cpu_hours": core / 4, "jobs": core / 10}
    features = {name: x[0] for name, x in level_features(panel, WEEK).items()}
    usual, spread = np.log(np.sqrt(2) * 100), np.sqrt((6 * (1.4826 * np.log(2) / 2) ** 2 + 0.5) / 8)
    assert features["expected"][6] == pytest.approx(np.exp(usual))
    assert features["level_long"][6] == features["level_short"][6] == pytest.approx((np.log(400) - usual) / spread)
    assert (features["low"][6], features["high"][6]) == pytest.approx((np.exp(usual - 1.2816 * spread), np.exp(usual + 1.2816 * spread)))
    assert features["usual_jobs"][6] == pytest.approx(np.exp(usual) / 10)
    assert features["change"][6] == features["season"][6] == pytest.approx(np.log(401 / 201))
    assert features["trend"][6] == pytest.approx(0, abs=1e-12)
    assert [features[name][6] for name in ("job_length", "cores_per_job", "efficiency")] == pytest.approx([0, 0, 0], abs=1e-12)
    zeros = np.log(101), np.log(201)
    spread = np.sqrt((6 * (1.4826 * (zeros[1] - zeros[0]) / 2) ** 2 + 0.5) / 8)
    assert features["zero_level"][6] == pytest.approx((np.log(401) - np.mean(zeros)) / spread)
    years = np.r_[np.full(52, 10.0), 20.0, 40.0][None]
    season = level_features(dict.fromkeys(panel, years), WEEK)["season"][0]
    assert season[52:] == pytest.approx([np.log(21 / 11), np.log(41 / 11)])


def test_jobs_and_ratios_are_those_of_active_weeks_and_nothing_is_infinitely_long():
    core, jobs = np.array([[100.0, 0] * 7]), np.array([[10.0, 50] * 7])
    jobs[0, 12] = 0  # core hours of no job, as a source may say
    panel = {"core_hours": core, "wall_hours": core / 2, "cpu_hours": core / 4, "jobs": jobs}
    features = {name: x[0] for name, x in level_features(panel, WEEK).items()}
    assert features["usual_jobs"][13] == pytest.approx(10), "what is counted in silent weeks is no job"
    assert (features["jobs"][10], features["job_length"][10]) == (0, 0)
    assert np.isnan(features["jobs"][11:]).all()
    assert np.isnan(features["job_length"][12])


def test_what_is_unknown_is_usual_to_the_forest_and_nothing_counts_more_than_eight():
    features = dict.fromkeys(FOREST_INPUTS, np.array([[nan, 9.0, -9.0, 7.5]]))
    assert forest_inputs(features, np.ones((1, 4), bool)).tolist() == [[value] * 9 for value in (0.0, 8.0, -8.0, 7.5)]
    core = np.array([[100.0, 100, 100, 100, 50, 0]])
    of_series = series_features({"core_hours": core, "wall_hours": core, "cpu_hours": core, "jobs": core / 10})
    forest = SimpleNamespace(score_samples=lambda x: np.array([-0.5, 0.25]))
    tests = change_tests(of_series, np.arange(6)[None] >= 4, forest)
    assert tests.unusual.tolist() == [0, 0.25], "less strange than usual is no change"
    assert tests.season.tolist() == pytest.approx([np.log(101 / 51), np.log(51)])
    assert tests.robust_z[0] == pytest.approx(np.log(101 / 51) / np.sqrt(0.5 / 6))


def test_few_ordinary_weeks_rank_in_the_set_that_each_makes_with_them():
    calibration, tests = pd.DataFrame({"a": [0.0, 1, 2], "b": [3.0, 0, 1]}), pd.DataFrame({"a": [1.5, 9], "b": [-1.0, 0]})
    score, p, name = judge_exactly(tests, calibration, {"a": 0.5, "b": 0.5})
    # of four, itself counted: 1.5 is surpassed by one in a; b of -1 is 0, which all reach
    assert score == pytest.approx([np.log(0.5 * 4 / 2) + 1e-3 * np.log(2.5), np.log(0.5 * 4 / 1) + 1e-3 * np.log(10)])
    assert name.tolist() == ["a", "a"]
    assert p == pytest.approx([3 / 4, 1 / 4])  # 2 of a and 3 of b lie alone above
    small = judge_exactly(pd.DataFrame({"a": [0.2, 0.5]}), pd.DataFrame({"a": [0.1]}), {"a": 1.0})[0]
    assert small[0] < small[1]


def test_first_silences_are_those_of_a_life():
    assert first_silences(np.array([[nan, 1, 0, 0, 1, 0], [nan, nan, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1.0]])).tolist() == [
        [False, False, True, False, False, False],
        [False, False, True, False, False, False],
        [False] * 6,
    ]


def test_the_chance_of_a_first_silence_is_bounded_by_the_share_that_makes_it_most_likely():
    assert silence_chance([], 0) == 0
    assert silence_chance([99], 0) == pytest.approx(0.01 * 0.99**99, rel=2e-3)  # a (1 - a)^w is largest at 1 / (w + 1)
    assert silence_chance([99, 99], 1) == pytest.approx(2 * 0.01 * 0.99**99, rel=2e-3)
    assert silence_chance([99, 99], 0) < 2 * 0.01 * 0.99**99
    assert silence_chance([49], 0) == pytest.approx(0.02 * 0.98**49, rel=2e-3)
    assert silence_chance([1], 0) == pytest.approx(0.5 * 0.5, rel=2e-3), "nobody is silent in more than half of the weeks"


@pytest.mark.parametrize(("n", "breaks"), [(2, 0), (3, 0), (3, 1), (4, 1), (6, 2)])
def test_the_chance_of_a_first_silence_is_the_largest_over_shares_and_over_how_many_series_have_them(n, breaks):
    share, w = np.linspace(1e-5, 0.05, 5000), 99
    once = w * share * (1 - share) ** (w - 1)
    by_hand = max((m * share * (1 - share) ** w * stats.binom.cdf(breaks, m - 1, once)).max() for m in range(1, n + 1))
    assert silence_chance([w] * n, breaks) == pytest.approx(by_hand, rel=5e-3)


def test_the_past_of_all_series_says_how_often_one_falls_silent_first():
    core = np.full((6, 45), 5.0)
    core[:, 20] = 0  # nobody computed
    core[1, 30] = core[2, 30] = core[2, 32] = 0  # once, twice
    core[3, :15] = nan  # 28 weeks known before those that are judged, without the common one
    core[4, :12] = nan  # 31
    judged = np.zeros(core.shape, bool)
    judged[:5, 43:] = True
    single = np.array([True] * 5 + [False])
    pool = silence_pool(core, single, judged, alarm_rate=0.5, finding_rate=0.5, false_discovery_rate=0.05)
    assert pool.rows.tolist() == [True, True, True, False, True, True]
    assert np.flatnonzero(pool.common).tolist() == [20]
    assert pool.breaks == 1
    lives = [42, 42, 42, 30, 42]
    assert pool.chance == pytest.approx(silence_chance(lives, 1))
    assert pool.p_value == pytest.approx(silence_chance(lives, 1) / 4), "of the five that are judged one is too young"
    most = max(k for k in range(10) if 2 * silence_chance(lives, k) / 4 <= 0.5 / 4)
    assert pool.usable == (most >= 1)
    assert pool.budget == pytest.approx(silence_chance(lives, most) / 4)
    now = np.full((3, 45), 5.0)
    now[:, 43] = now[:, 20] = 0
    first = silences_of(now, pool, np.array([0, 3, -1]))
    assert np.argwhere(first).tolist() == ([[0, 43]] if pool.usable else [])


def test_a_silence_of_two_weeks_is_one_and_a_series_alone_is_not_everybody():
    core, rates = np.full((3, 120), 5.0), {"alarm_rate": 0.01, "finding_rate": 0.05, "false_discovery_rate": 0.05}
    core[0, 30:32] = 0
    judged = np.broadcast_to(np.arange(120) >= 117, core.shape)
    pool = silence_pool(core, np.ones(3, bool), judged, **rates)
    assert (pool.breaks, pool.common.any()) == (1, False)
    core[1, [50, 60]] = 0
    assert silence_pool(core, np.ones(3, bool), judged, **rates).breaks == 1, "who was silent twice is no such series"
    assert silence_pool(core / 10, np.ones(3, bool), judged, **rates).breaks == 1, "half a core hour is no silence"
    alone = np.full((1, 43), 5.0)
    alone[0, 41] = 0
    pool = silence_pool(alone, np.ones(1, bool), np.arange(43)[None] >= 40, **rates)
    assert not pool.common.any()
    assert np.argwhere(silences_of(alone, pool, np.array([0]))).tolist() == [[0, 41]]
    assert pool.budget == pool.p_value == pytest.approx(silence_chance([40], 0)), "no other series could have been silent"
    two = silence_pool(np.repeat(alone, 2, axis=0), np.ones(2, bool), np.arange(43)[None].repeat(2, axis=0) >= 40, **rates)
    assert np.flatnonzero(two.common).tolist() == [41]


def test_what_a_night_can_find_counts_series_that_were_never_silent_before_it():
    core, rates = np.full((5, 120), 5.0), {"alarm_rate": 0.05, "finding_rate": 0.5, "false_discovery_rate": 0.05}
    core[0, 30] = core[1, 118] = 0  # of these, one was silent before
    core[2, :100] = nan  # too young
    judged = np.broadcast_to(np.arange(120) >= 117, core.shape).copy()
    judged[3] = False
    pool = silence_pool(core, np.ones(5, bool), judged, **rates)
    can = resolution(core, pool, judged, 99, min_age=8, **rates)
    assert (can.silence, can.watched, can.least_p) == (True, 2, 0.01)
    assert (can.silence_weeks, can.other_weeks) == (30 + 3, 6 + 8 + 3), "24 ordinary weeks, 3 / 0.125, of four series"
    strict = resolution(core, pool, judged, 99, min_age=8, **rates | {"alarm_rate": 0.01})
    assert (strict.silence_weeks, strict.other_weeks) == (33, 68), "1 / (4 x 57 + 1) and 1 / (2.718 x 65.5), kept for silences, make a hundredth"
    assert not resolution(core, pool, judged & False, 99, min_age=8, **rates).silence
    assert not resolution(core, pool, judged, 2, min_age=8, **rates).alone


def test_a_judged_week_without_anybody_takes_no_week_from_the_past():
    core, rates = np.full((3, 120), 5.0), {"alarm_rate": 0.05, "finding_rate": 0.5, "false_discovery_rate": 0.05}
    core[0, 116] = 0  # in the last week before the judged ones
    core[:, 118] = 0
    judged = np.broadcast_to(np.arange(120) >= 117, core.shape)
    pool = silence_pool(core, np.ones(3, bool), judged, **rates)
    assert np.flatnonzero(pool.common).tolist() == [118]
    assert resolution(core, pool, judged, 99, min_age=8, **rates).watched == 2


def test_weeks_have_the_chance_of_their_rank_and_first_silences_that_of_their_pool():
    tests = pd.DataFrame({"silent": [5.0, 5, 0, 0], "drop": [0.0, 0, 2.5, 0], "habit": [True, False, False, False]})
    calibration = pd.DataFrame({"silent": [0.0] * 3, "drop": [0.0, 1, 2]})
    weights = {"silent": 0.5, "drop": 0.5}
    judged = judge_weeks(tests, calibration, weights, np.zeros(4, bool))
    assert judged.p_value.tolist() == [0.25, 0.25, 0.25, 1.0]
    assert judged.p_ranked.tolist() == [1.0, 0.25, 0.25, 1.0]
    assert judged.test.tolist()[:3] == ["silent", "silent", "drop"]
    strength = judge_exactly(tests, calibration, weights)[0]
    assert judged.score.to_numpy() == pytest.approx(-np.log(judged.p_value) + 1e-6 * strength)
    assert judged.score[0] > judged.score[2], "of equal chances the stronger one comes first"
    pool = accounting.SilencePool(WEEK, None, None, 1, 0.1, 0.01, 0.05, True)
    early = judge_weeks(tests, calibration, weights, [False, False, True, False], pool)
    assert early.p_value.tolist() == pytest.approx([0.3, 0.3, 0.01, 1.0])
    assert (early.test[2], early.early.tolist()) == ("silent", [False, False, True, False])
    nothing = judge_weeks(tests, calibration.head(0), weights, np.zeros(4, bool), pool._replace(usable=False))
    assert (nothing.p_value.tolist(), nothing.early.any(), nothing.test[0]) == ([1.0] * 4, False, "silent")
    assert nothing.score.tolist() == [0] * 4


def test_a_method_that_says_nothing_of_a_week_finds_nothing_there():
    tests = pd.DataFrame({"drop": [3.0, nan], "habit": [False, False]})
    calibration = pd.DataFrame({"drop": [0.0, 1, 2, 9], "incident": [False, False, False, True]})
    judged = judge_by({"drop": 1.0}, tests, calibration, np.zeros(2, bool), pool=None)
    assert judged.p_value.tolist() == judged.p_ranked.tolist() == [0.25, 1.0]
    assert (judged.score[1], judged.test[1], judged.early.tolist()) == (0, "", [False, False])


def test_a_change_is_a_finding_alone_or_among_many():
    rates = {"finding_rate": 0.1, "false_discovery_rate": 0.2}
    assert findings_among(np.array([0.025, 0.026, 1, 1]), **rates).tolist() == [True, True, False, False]
    assert findings_among(np.array([0.025, 0.9, 1, 1]), **rates).tolist() == [True, False, False, False]
    assert findings_among(np.array([0.06, 0.9, 1, 1]), **rates).tolist() == [False] * 4
    assert (lone_limit(4, **rates), lone_limit(0, **rates)) == (0.05, 0.2)
    pool = accounting.SilencePool(WEEK, None, None, 1, 0.1, 0.01, 0.05, True)
    assert report_chances(np.array([0.3, 0.3, 0.02]), [False, True, False], 4, pool).tolist() == pytest.approx([1.0, 0.04, 0.08])


# ------------------------------------------------------------------------------------------------------- nodes


def test_what_a_server_has_drifted_by_is_taken_out_and_jobs_stay():
    starts = pd.date_range("2026-01-01", periods=4, freq="6h", tz="UTC")
    windows = pd.DataFrame({"node_id": ["a"] * 4 + ["b"] * 4, "job_id": [""] * 4 + ["7"] * 4, "start": [*starts, *starts]})
    z = np.array([[1.0], [2], [30], [-30]] * 2, "float32")
    left = without_level(z, windows)
    half_life = level_half_life(windows.start[:4])
    assert half_life == 4  # a day, in steps of six hours
    assert left[:4] == pytest.approx(np.clip(z[:4] - follow_level(z[:4], 4), -10, 10))
    assert left[4:].tolist() == z[4:].tolist()
    assert without_level(z, windows, {"a": np.array([1.5])})[:4].ravel().tolist() == [-0.5, 0.5, 10, -10]
    assert without_level(z, windows, {})[:4].ravel().tolist() == [1, 2, 10, -10]
    assert level_half_life(windows.start[:1]) == level_half_life(pd.Series([starts[0]] * 3)) == 1


def test_distances_are_mean_squares_of_what_each_leaves():
    x = np.array([[3.0, 0], [-3, 0], [3, 0.1], [-3, -0.1]] * 5)
    far = np.array([[0.0, 2.0]])
    assert Distance().fit(x).measure(np.array([[3.0, 4.0]])).tolist() == [12.5]
    assert Residual(0.9).fit(x).measure(far)[0] == pytest.approx(2, rel=0.05)  # all of it lies off the main axis: 4 / 2
    assert Neighbours(3).fit(np.array([[0.0, 0], [1, 0], [2, 0], [9, 0]])).measure(np.zeros((1, 2))).tolist() == [(0 + 1 + 4) / 3 / 2]
    assert Neighbours(5).fit(np.zeros((2, 2))).nearest.n_neighbors == 2
    whitened = Whitened(0.02).fit(x)
    assert whitened.spread == pytest.approx(np.sqrt([whitened.axes.explained_variance_[0], 0.02 * whitened.axes.explained_variance_[0]]))
    assert whitened.measure(np.array([[0.0, 1e9]]))[0] == pytest.approx(100, rel=0.01), "no axis counts more than ten spreads"
    assert Whitened(0.02).fit(np.zeros((3, 2))).spread == pytest.approx([np.sqrt(0.02e-12)] * 2)


class Nothing:
    """A network that rebuilds nothing."""

    def predict(self, z, **how):
        return z


def test_each_group_has_the_errors_of_its_own_windows():
    z = np.array([[1.0, 1], [2, 2], [3, 3]])
    rows = {"a": np.array([0, 2]), "b": np.array([1]), "c": np.array([], int)}
    assert network_errors(z, rows, Nothing()).tolist() == [[1, 4, 1], [9, 4, 1]]
    assert network_errors(z[:0], rows, Nothing()).shape == (0, 3)


def test_scores_are_smoothed_within_a_run_and_stand_in_units_of_health():
    windows = pd.DataFrame({"node_id": ["a"] * 4, "job_id": ["", "", "", "7"]})
    assert smooth_runs(pd.DataFrame({"x": [0.0, 3, 6, 100]}), windows, 3).x.tolist() == [1.5, 3, 4.5, 100]
    scores = pd.DataFrame({"distance": [4.0], "whitened": [1.0], "pca": [2.0], "neighbours": [0.0], "autoencoder": [8.0]})
    units = pd.DataFrame(2.0, ["all"], list(scores))
    units.loc["all", "whitened"] = 0
    logs = normalise_scores(scores, ["all"], units).iloc[0]
    assert logs[["distance", "pca", "neighbours", "whitened"]].tolist() == pytest.approx(np.log([2, 1, 1e-6, 1e12]))
    assert logs.together == pytest.approx(np.log((1 + 1e-6 + 4) / 3))
    assert logs.combined == pytest.approx((np.log(2) + np.log(1e12)) / 2)
    assert "combined" not in normalise_scores(scores.drop(columns="whitened"), ["all"], units.drop(columns="whitened"))


# --------------------------------------------------------------------------------------------------------------- scan

AT = pd.Timestamp("2026-01-01", tz="UTC")


def items(*rows):
    """Items of (minutes, link, flagged): one in ten is flagged on a normal night."""
    table = pd.DataFrame(rows, columns=["minutes", "link", "flagged"])
    ends = table.link.str.split(" -> ", expand=True)
    sites = {"src": ends[0], "dst": ends[1], "src_site": ends[0], "dst_site": ends[1], "fts": "f"}
    return table.assign(time=AT + pd.to_timedelta(table.minutes, unit="min"), flagged=table.flagged.astype(bool), expected=0.1, **sites)


THREE = items((0, "A -> B", 1), (59, "A -> B", 0), (60, "A -> A", 1), (200, "A -> B", 1))
KINDS = {"link": ["link"], "site": ["src_site", "dst_site"]}


def test_items_are_counted_by_the_hour_and_by_what_they_share():
    cells = count_cells(THREE, KINDS, clump="link", since=None)
    assert cells.of_item.tolist() == [0, 0, 1, 2]
    assert cells.hour.tolist() == [0, 1, 3]
    assert (cells.n.tolist(), cells.flagged.tolist(), cells.expected.tolist()) == ([2, 1, 1], [1, 1, 1], pytest.approx([0.2, 0.1, 0.1]))
    assert (cells.size.tolist(), cells.share.tolist()) == ([2, 1, 1], [0.5, 1, 1])
    assert [[cells.names["site"][code] for code in row if code >= 0] for row in cells.codes["site"]] == [["A", "B"], ["A"], ["A", "B"]]
    late = count_cells(THREE, KINDS, clump="link", since=AT + pd.Timedelta(minutes=60))
    assert (late.hour.tolist(), late.scanned.tolist()) == ([-1, 0, 2], [False, True, True])
    both, found = together([(np.array([1, 0, 1]), 2), (np.array([2, 2, 2]), 3)])
    assert (both.tolist(), [one.tolist() for one in found]) == ([0, 1, 0], [[1, 0], [2, 2]])


def test_what_is_taken_lies_between_the_first_flagged_item_and_the_last():
    table = items(
        (10, "A -> B", 0), (20, "A -> B", 1), (30, "A -> B", 0), (70, "A -> B", 0), (130, "A -> B", 1), (150, "A -> B", 0), (151, "C -> D", 1)
    )
    cells = count_cells(table, KINDS, clump="link", since=None)
    rest = Rest.of(cells)
    ends, n, flagged, expected = rest.take(cells, cells.codes["link"][:, 0] == 0)
    assert (ends.tolist(), n, flagged, expected) == ([1, 4], 4, 2, pytest.approx(0.4))
    assert rest.free.tolist() == [True, False, False, True, False, True, True]
    assert (rest.n.tolist(), rest.flagged.tolist()) == ([1, 0, 1, 1], [0, 0, 0, 1])


def test_the_best_window_is_that_of_the_largest_likelihood_ratio():
    n, flagged, expected = (np.array([[0.0, *np.cumsum(x)]]) for x in ([2, 2, 2, 2.0], [0, 2, 2, 0.0], [0.2] * 4))
    best, searched = best_windows(n, flagged, expected)
    assert best[0] == pytest.approx([4 * np.log(4 / 0.4) - 3.6, 2, 1, 4, 4, 0.4])
    assert searched.tolist() == [4 + 3 + 2 + 1]
    assert best_windows(n, flagged * 0, expected)[0][0, 0] == 0
    sparse = np.array([[0.0, 1, 1, 2]])
    assert best_windows(sparse, sparse, sparse / 10)[1].tolist() == [2 + 2 + 1], "a window with a single item is searched, an empty one is not"


def test_entities_are_looked_at_by_what_holds_their_names():
    windows = Windows(np.array([[0, 1], [1, -1], [2, -1]]), np.array([0, 0, 1]), 3, 3)
    windows.look(np.arange(3), [np.full(3, 2.0), np.array([2.0, 2, 0]), np.full(3, 0.2)])
    assert windows.best[:, 4].tolist() == [2, 4, 0]
    assert windows.strongest() == 1
    assert windows.searched.tolist() == [2, 2, 2]
    alike = Windows(np.array([[0], [1]]), np.array([0, 0]), 2, 2)
    alike.best[:, :2] = [[5, 3], [5, 2]]
    assert alike.strongest() == 1, "of equal gains the shorter window"
    assert chance_of(np.array([9, 1, 0, 4, 3, 0.4]), 5) == pytest.approx(5 * (4 * 0.1**3 * 0.9 + 0.1**4))
    assert chance_of(np.array([9, 1, 0, 2, 2, 3.0]), 5) == 5 * special.bdtrc(1, 2, 1)


def test_a_trouble_reaches_to_the_largest_sum_before_it_has_recovered():
    assert reach(np.array([1.0, 2, -1, 3, -2])) == 4
    assert reach(np.array([1.0, -RECOVERED - 0.01, 99])) == 1
    assert reach(np.array([1.0, -RECOVERED + 0.01, 99])) == 3
    assert reach(np.array([-1.0, -1])) == reach(np.array([])) == 0


def test_items_that_share_their_luck_are_correlated_wholly_or_not_at_all():
    alike = items(*[(60 * hour + minute, "A -> B", hour % 2) for hour in range(10) for minute in range(4)])
    cells = count_cells(alike, KINDS, clump="link", since=None)
    assert correlation_of(cells, Rest.of(cells)) == pytest.approx(1)
    halves = items(*[(60 * hour + minute, "A -> B", minute % 2) for hour in range(10) for minute in range(4)])
    cells = count_cells(halves, KINDS, clump="link", since=None)
    assert correlation_of(cells, Rest.of(cells)) == 0
    mixed = items(*[(60 * hour + minute, "A -> B", minute < 3 if hour % 2 else minute < 1) for hour in range(10) for minute in range(4)])
    cells = count_cells(mixed, KINDS, clump="link", since=None)
    within, variance = 0.1875 * 4 / 3, 0.25 * 40 / 39  # 3 or 1 of four; half of all
    assert correlation_of(cells, Rest.of(cells)) == pytest.approx(1 - within / variance)
    single = count_cells(mixed.assign(flagged=np.arange(40) == 5), KINDS, clump="link", since=None)
    assert correlation_of(single, Rest.of(single)) == 0, "one that is flagged tells too"
    quiet = count_cells(mixed.assign(flagged=False), KINDS, clump="link", since=None)
    assert correlation_of(quiet, Rest.of(quiet)) == 1


def test_the_strongest_thing_that_could_be_found_is_that_all_of_the_busiest_fail():
    table = items(*[(60 * hour, "A -> B", 0) for hour in range(6)], (0, "C -> B", 0), (1, "A -> B", 0))
    entities = 2 + 2 + 1 + 1 + 2  # links, sources, destinations, servers, and the first end of a site
    searched = 5 * entities * (5 / 3 + 1) * 10
    p, n = best_possible(table, AT)
    assert (p, n) == (pytest.approx(searched * 0.1**7), 8)  # of the destination: seven clumps of eight transfers
    assert best_possible(table, AT + pd.Timedelta(days=1)) == (1.0, 0)
    assert best_possible(table.head(2), AT) == (1.0, 2)


def test_a_trouble_is_extended_where_it_has_half_as_many_flags_again_as_usual():
    hour, n, mu = np.arange(10), np.full(10, 100.0), np.full(10, 10.0)
    for flagged, reached in ((16.0, (3, 8)), (13.0, (5, 6))):  # the odds of a flag are 1.7 and 1.3 times the usual ones
        k = np.where((hour >= 3) & (hour < 8), flagged, 10.0)
        assert extend_window(hour, (n, k, mu), 5, 6) == reached


def test_a_trouble_is_extended_by_hours_that_speak_for_it_and_by_no_empty_one():
    whole, one = np.full(5, 1.0), np.arange(10, 15)
    assert extend_window(one, (whole, whole, whole / 100), 12, 13) == (10, 15), "all are flagged, and before them is nothing"
    hour = np.arange(10)
    k = np.where((hour >= 3) & (hour < 8), 1.0, 0.0)
    assert extend_window(hour, (np.full(10, 100.0), k, np.full(10, 0.01)), 5, 6) == (3, 8), "one of a hundred, where one of ten thousand is usual"


def test_an_incident_has_the_gain_and_the_chance_of_its_window_among_all_that_were_searched():
    """A day with an item an hour, one in ten of them flagged usually, and three in a row now: eight bins make 30 windows of up to eight bins."""
    hours = np.arange(24)
    table = items(*[(60 * hour, "A -> B", 9 <= hour < 12) for hour in hours])
    [found] = scan_incidents(table, {"link": ["link"]}, clump="link", level=0.05).itertuples()
    assert (found.entity_kind, found.entity, found.items, found.flagged) == ("link", "A -> B", 3, 3)
    assert (found.start, found.end) == (AT + pd.Timedelta(hours=9), AT + pd.Timedelta(hours=11))
    assert found.expected == pytest.approx(0.3)
    assert found.score == pytest.approx(3 * np.log(10) - 2.7 - np.log(30))
    assert found.p_value == pytest.approx(30 * 0.1**3)
    assert len(scan_incidents(table, {"link": ["link"]}, clump="link", level=0.02)) == 0
    both = scan_incidents(table, {"link": ["link"], "src": ["src"]}, clump="link", level=0.2)
    assert both.p_value.tolist() == pytest.approx([60 * 0.1**3]), "each of two kinds has half of the level, and the first is named"
    assert both.entity_kind.tolist() == ["link"]


# ---------------------------------------------------------------------------------------------------- errors and probes


def test_an_error_has_ninety_characters_at_most():
    assert error_words("ab " * 30) == ("ab " * 30).strip()
    assert error_words("x" + "y" * 89) == "x" + "y" * 89
    assert error_words("x" + "y" * 90) == "x" + "y" * 88 + "…"


def failures(*rows):
    return pd.DataFrame(rows, columns=["reason", "src", "dst"])


def test_errors_are_counted_by_their_class_with_where_most_of_them_come_from():
    table = failures(*[("Connection refused", "A", "B")] * 3, ("Connection refused", "A", "C"), (None, "A", "B"), ("checksum mismatch", "D", "B"))
    rows = error_table(table)[["failures", "share", "from", "from_share", "to", "to_share"]].to_numpy().tolist()
    assert rows == [[4, 4 / 6, "A", 1.0, "B", 0.75], [1, 1 / 6, "D", 1.0, "B", 1.0]]


@pytest.mark.parametrize(
    ("n_refused", "n_others", "kind", "says"),
    [
        (4, 1, "", "80% of the failures say “Connection refused”, 100% of these from A; 20% say “checksum mismatch”"),
        (5, 1, "", "83% of the failures say “Connection refused”, 100% of these from A"),
        (4, 1, "src", "80% of the failures say “Connection refused”, 50% of these to B0; 20% say “checksum mismatch”"),
        (3, 0, "src", "100% of the failures say “Connection refused”, 67% of these to B0"),
        (1, 0, "", "100% of the failures say “Connection refused”"),
        (2, 0, "link", "100% of the failures say “Connection refused”"),
    ],
)
def test_a_second_error_is_told_from_a_fifth_on_and_a_side_from_half_on(n_refused, n_others, kind, says):
    rows = [("Connection refused", "A", f"B{n % 2}") for n in range(n_refused)] + [("checksum mismatch", "D", "B")] * n_others
    assert describe_errors(failures(*rows), kind) == says


@pytest.mark.parametrize(
    ("loss", "usual_loss", "rate", "parts"),
    [
        (0.5, 0.0, 500.0, []), (0.6, 0.2, 500.0, []), (0.61, 0.2, 500.0, ["a loss of 0.6% (usually 0.2%)"]), (0.6, nan, 500.0, ["a loss of 0.6%"]),
        (0.0, 0.0, 499.0, ["a throughput of 499 Mb/s (usually 1,000)"]), (9.0, 1.0, 1.0, None),
    ],
)  # fmt: skip
def test_probes_are_bad_by_three_times_the_loss_or_half_the_rate(loss, usual_loss, rate, parts):
    then = pd.Series({"loss_pct": loss, "latency_ms": 9.0, "throughput_mbps": rate})
    usually = pd.Series({"loss_pct": usual_loss, "latency_ms": 1.0, "throughput_mbps": 1000.0})
    found = trouble_of_probes(then, usually)
    assert len(found) == 2 if parts is None else found == parts


def test_probes_of_the_six_hours_in_which_it_began_count():
    hours = [-1, 0, 5, 8, 9]
    probes = pd.DataFrame({"src_host": "a", "dst_host": "b", "time": [AT + pd.Timedelta(hours=h) for h in hours], "loss_pct": [1.0, 2, 4, 6, 8]})
    probes = probes.assign(latency_ms=[1.0, 2, 9, 4, 5], throughput_mbps=[1.0, 2, 9, 4, 5])
    n, then, usually = compare_probes(
        probes, pd.DataFrame({"src_host": ["a"], "dst_host": ["b"]}), AT + pd.Timedelta(hours=5), AT + pd.Timedelta(hours=8)
    )
    assert (n, then.tolist(), usually.tolist()) == (3, [4.0, 4.0, 4.0], [4.5, 3.0, 3.0])
    assert compare_probes(probes, pd.DataFrame({"src_host": ["a"], "dst_host": ["c"]}), AT, AT)[0] == 0


def test_what_has_no_skill_does_not_score():
    losses = pd.Series({"lstm": 1.0, "boosting": 2.0})
    assert choose_predictor(losses, {"lstm": (0.5, 0.0, 1), "boosting": (0.1, 1e-9, 1)}, "median") == "boosting"
    assert choose_predictor(losses, {"lstm": (0.5, 0.1, 1), "boosting": (0.1, 0.1, 1)}, "median") == "lstm"
    assert choose_predictor(losses, {"lstm": (0.5, -0.1, 1), "boosting": (0.1, 0.0, 1)}, "median") == "median"
