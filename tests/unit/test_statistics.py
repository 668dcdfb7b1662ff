"""Statistics that several studies share, against SciPy, a definition, or a count by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nightshift.statistics import (
    allowance_for_unseen,
    benjamini_hochberg,
    calibration_needed,
    chance_of_maximum,
    check_shares,
    combine_tests,
    draw_groups,
    flags_across_folds,
    flags_of_unseen,
    judge_across_folds,
    p_values,
    percentile_interval,
    poisson_interval,
    resampled_sums,
    robust_spread,
    score_limit,
    share_interval,
    skill_interval,
    skill_score,
)


@pytest.mark.parametrize(("n_hits", "n"), [(0, 5), (5, 5), (3, 40), (401, 2000)])
def test_the_interval_of_a_share_is_that_of_scipy(n_hits, n):
    """With 1.96 for the quantile, as it was until the functions were one, the ends were off by up to 2e-5."""
    interval = stats.binomtest(n_hits, n).proportion_ci(method="wilson")
    assert share_interval(n_hits, n) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert share_interval(0, 0) == (0, 1)


def test_the_interval_of_all_and_of_none_ends_at_one_and_at_nought():
    """Rounding must not pass them: a share beyond 100% is none."""
    for n in range(1, 200):
        of_none, of_all = share_interval(0, n), share_interval(n, n)
        assert (of_none[0], of_all[1]) == pytest.approx((0, 1), abs=1e-12)
        assert of_none[0] >= 0
        assert of_all[1] <= 1


@pytest.mark.parametrize("n", [1, 2, 10])
def test_the_interval_of_a_count_is_that_of_garwood(n):
    """At its low end so many or more are seen with a chance of 1 in 40, at its high end so many or fewer."""
    low, high = poisson_interval(n)
    assert (stats.poisson.sf(n - 1, low), stats.poisson.cdf(n, high)) == pytest.approx((0.025, 0.025))
    assert poisson_interval(0) == pytest.approx((0, np.log(40)))


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, np.nan])
def test_a_stated_share_lies_between_nought_and_one(share):
    check_shares(alarm_rate=0.01, finding_rate=0.999)
    with pytest.raises(ValueError, match=f"^finding_rate is {share}: it must lie between 0 and 1$"):
        check_shares(alarm_rate=0.01, finding_rate=share)


def test_p_values_and_limit_agree():
    calibration = np.arange(1, 200)  # 199 scores
    assert p_values([199, 199.5, 0], calibration) == pytest.approx([2 / 200, 1 / 200, 1])
    limit = score_limit(calibration, 0.01)
    assert p_values([limit], calibration)[0] > 0.01
    assert p_values([limit + 1e-9], calibration)[0] <= 0.01
    assert score_limit(calibration[:50], 0.01) == np.inf
    assert (score_limit(calibration[:98], 0.01), score_limit(calibration[:99], 0.01)) == (np.inf, 99), "1 in 100 needs 99 beside it"


def test_p_values_use_the_group_where_it_is_large_enough():
    calibration, groups = np.r_[np.zeros(100), np.full(100, 10.0)], ["quiet"] * 100 + ["loud"] * 100
    p = p_values([5, 5, 5], calibration, ["quiet", "loud", "new"], groups, min_calibration=100)
    assert p == pytest.approx([1 / 101, 1, 101 / 201])


def test_groups_are_the_same_by_category_by_text_or_missing():
    calibration, groups = np.r_[np.zeros(100), np.full(100, 10.0)], ["quiet"] * 100 + [None] * 100
    by_category = p_values([5, 5, 5], calibration, pd.Categorical(["quiet", None, "new"]), pd.Series(groups, dtype="category"))
    assert by_category == pytest.approx([1 / 101, 1, 101 / 201])
    assert p_values([5, 5, 5], calibration, ["quiet", None, "new"], groups) == pytest.approx(by_category)
    assert len(p_values([], calibration, [], groups)) == 0
    assert p_values([5, 5], calibration, [1, 2], np.repeat([1, 2], 100)) == pytest.approx([1 / 101, 1])


@pytest.mark.parametrize(("scores", "calibration"), [([1.0], []), ([np.nan], [1.0]), ([1.0], [np.inf])])
def test_p_values_refuse_what_has_no_answer(scores, calibration):
    with pytest.raises(ValueError, match="p_values"):
        p_values(scores, calibration)


def test_skill_interval_covers_and_says_when_it_cannot():
    rng = np.random.default_rng(0)
    time = pd.date_range("2026-01-01", periods=1000, freq="30min", tz="UTC")
    skill, low, high = skill_interval(rng.gamma(2, 0.5, 1000), rng.gamma(2, 1, 1000), time, rng=rng)
    assert low < 0.5 < high
    assert low < skill < high
    with pytest.raises(ValueError, match="one stretch"):
        skill_interval([1.0, 1.0], [2.0, 2.0], time[[0, 0]], rng=rng)
    assert skill_interval([1.0, 1.0], [2.0, 2.0], time[[0, 1]], rng=rng) == (0.5, 0.5, 0.5), "two stretches are enough"


def test_a_skill_against_a_baseline_without_loss_stays_a_number():
    rng = np.random.default_rng(0)
    time = pd.date_range("2026-01-01", periods=200, freq="30min", tz="UTC")
    skill, low, high = skill_interval(np.full(200, 0.02), np.full(200, 1e-12), time, rng=rng, least=0.01)
    assert (skill, low, high) == pytest.approx((-1, -1, -1))
    assert skill_interval(np.zeros(200), np.zeros(200), time, rng=rng, least=0.01) == (1, 1, 1)
    assert skill_interval(np.full(200, 0.1), np.full(200, 0.2), time, rng=rng, least=0.01) == pytest.approx((0.5, 0.5, 0.5))


def test_skill_interval_is_wider_when_losses_share_their_luck():
    rng = np.random.default_rng(0)
    time = pd.date_range("2026-01-01", periods=2000, freq="10min", tz="UTC")
    shared = np.repeat(rng.gamma(1, 1, 2000 // 36 + 1), 36)[:2000]
    alone = rng.permutation(shared)
    width = {name: np.diff(skill_interval(loss, np.ones(2000), time, rng=rng)[1:])[0] for name, loss in (("shared", shared), ("alone", alone))}
    assert width["shared"] > 2 * width["alone"]


@pytest.mark.parametrize("n", [1, 48, 199, 999])
def test_the_least_p_value_is_reached_with_so_many_calibration_scores(n):
    """1 / (1 / 49) is more than 49 in floating point, and took one score more until the functions were one."""
    assert calibration_needed(1 / (n + 1)) == n
    assert p_values([1.0], np.zeros(n))[0] == pytest.approx(1 / (n + 1))


def test_adjusted_p_values_count_the_tests_that_are_not_listed():
    p = np.array([0.01, 0.001, 0.04])
    by_hand = {0.001: 4 * 0.001 / 1, 0.01: 4 * 0.01 / 2, 0.04: 4 * 0.04 / 3}
    np.testing.assert_allclose(benjamini_hochberg(p, 4), [by_hand[one] for one in p])
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    assert benjamini_hochberg([], 7).tolist() == []


def test_each_fold_is_judged_by_the_others():
    rng = np.random.default_rng(2)
    tests, fold = pd.DataFrame({"a": rng.normal(size=600), "b": rng.normal(size=600)}), np.arange(600) % 3
    weights = {"a": 0.5, "b": 0.5}
    flags = flags_across_folds(tests, fold, weights, 0.05)
    first = combine_tests(tests[fold == 0], tests[fold != 0], weights)[1] <= 0.05
    assert flags[fold == 0].tolist() == first.tolist()
    assert flags.mean() == pytest.approx(0.05, abs=0.02)


def test_an_item_at_the_alarm_rate_is_flagged():
    """Each is judged by three others, so that the strangest of all has a p-value of 1 in 4."""
    tests, fold = pd.DataFrame({"a": [1.0, 2, 3, 4, 5, 6]}), np.array([0, 0, 0, 1, 1, 1])
    assert flags_across_folds(tests, fold, {"a": 1.0}, 0.25).tolist() == [False] * 3 + [True] * 3
    assert not flags_across_folds(tests, fold, {"a": 1.0}, 0.249).any()


@pytest.mark.parametrize("unit", [1, 0.1])
def test_an_allowance_is_the_first_of_16384_steps_that_is_enough(unit):
    """Both of the second fold are flagged, half of all at a stated 40%, until 4 is taken from 5, which is then no more than the 1 that judges it."""
    tests = pd.DataFrame({"a": np.array([0.0, 1, 5, 6]) * unit})
    step = (6 * unit + 1) / 2**14
    assert allowance_for_unseen(tests, [0, 0, 1, 1], {"a": 1.0}, 0.4) == pytest.approx(np.ceil(4 * unit / step) * step, rel=1e-12)


def test_unseen_groups_are_granted_what_brings_their_alarms_to_the_stated_share():
    rng = np.random.default_rng(3)
    level = rng.normal(0, 2, 20)  # of each of twenty groups, which lie apart
    group = np.repeat(np.arange(20), 100)
    tests, fold, weights = pd.DataFrame({"a": rng.normal(level[group], 0.3)}), group % 5, {"a": 1.0}
    assert flags_across_folds(tests, fold, weights, 0.01).mean() > 0.03, "more than stated without it"
    allowance = allowance_for_unseen(tests, fold, weights, 0.01)
    shares = [flags_across_folds(tests, fold, weights, 0.01, allowance=one).mean() for one in (allowance, 0.95 * allowance)]
    assert shares[0] <= 0.01 < shares[1]
    step = (np.ptp(tests.to_numpy()) + 1) / 2**14
    assert allowance / step == pytest.approx(round(allowance / step)), "it is found by halves"
    assert flags_across_folds(tests, fold, weights, 0.01, allowance=allowance - step).mean() > 0.01
    assert allowance_for_unseen(tests, np.zeros(2000), weights, 0.01) == 0, "a single fold says nothing"
    assert allowance_for_unseen(tests, group % 2, weights, 0.01) > 0, "two judge each other"
    unseen = flags_of_unseen(tests, fold, weights, 0.01)
    rest = fold != 2
    granted = allowance_for_unseen(tests[rest], fold[rest], weights, 0.01)
    by_hand = combine_tests(tests[~rest] - granted, tests[rest], weights)[1] <= 0.01
    assert unseen[~rest].tolist() == by_hand.tolist(), "the fold that is judged has no say in its own allowance"
    alike = pd.DataFrame({"a": rng.normal(size=2000)})
    assert allowance_for_unseen(alike, fold, weights, 0.01) < 0.5


def test_the_chance_of_a_maximum_is_kept_and_few_groups_promise_little():
    rng = np.random.default_rng(4)
    chances = []
    for _ in range(400):  # nights: thirty ordinary groups, of which two in three hold nothing, and another one
        drawn = rng.exponential(3, 31) * (rng.random(31) < 1 / 3)
        chances.append(chance_of_maximum(drawn[30:], drawn[:30])[0])
    assert np.mean(np.array(chances) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(chances) <= 0.01) <= 0.025
    assert chance_of_maximum([1e9], [0.0] * 8)[0] == pytest.approx(1 / 10)
    assert chance_of_maximum([0.0, 5.0], []).tolist() == [1, 1]
    assert chance_of_maximum([0.0], [1.0, 2.0])[0] == 1
    assert chance_of_maximum([0.5], [0.5, 0.0]) == pytest.approx([2 / 4 * (1 + 0.5 / 0.5) ** -1]), "whatever the unit is"
    more = chance_of_maximum([5.0, 10.0, 20.0], [0.0, 1.0, 2.0, 3.0])
    assert more == pytest.approx([4 / 6 * (1 + x / 6) ** -3 for x in (5, 10, 20)])


def test_whole_groups_are_drawn_and_first_all_of_them_once():
    draws = draw_groups(5, rng=np.random.default_rng(1), resamples=200)
    assert draws[0].tolist() == [1] * 5
    assert (draws.sum(axis=1) == 5).all()
    values = pd.DataFrame({"hits": [1.0, 0, 1, 1], "n": 1.0})
    sums = resampled_sums(values, ["a", "a", "b", "b"], rng=np.random.default_rng(1), resamples=200)
    assert sums[0].tolist() == [3, 4]
    assert {tuple(row) for row in sums} == {(2, 4), (3, 4), (4, 4)}  # a twice, one of each, b twice


def test_percentiles_leave_out_what_is_no_number():
    assert percentile_interval([np.nan, *range(101)]) == pytest.approx((2.5, 97.5))
    assert percentile_interval([1.0, np.inf, np.inf], method="nearest") == (1, np.inf)
    assert np.isnan(percentile_interval([np.nan])).all()


def test_a_skill_has_a_floor_where_one_is_asked_for():
    assert skill_score(0.9, 0.8) == pytest.approx(0.5)
    assert skill_score(0.5, 0.9) == pytest.approx(-4)
    assert skill_score(0.5, 0.9, least=-1) == -1
    assert skill_score(0.9998, 0.9996) == pytest.approx(0.2), "a baseline lacks at least a thousandth"
    assert skill_score(1.2, 0.8) == 1


@pytest.mark.parametrize(("every", "stretch"), [("2h", "6h"), ("30min", "150min"), ("100ms", "1s")])
def test_losses_of_six_hours_or_of_a_twentieth_of_the_span_are_drawn_together(every, stretch):
    time, rng = pd.date_range("2026-01-01", periods=101, freq=every, tz="UTC"), np.random.default_rng(5)
    losses = pd.DataFrame({"model": rng.gamma(2, 1, 101), "baseline": rng.gamma(2, 2, 101)})
    sums = resampled_sums(losses, (time - time[0]) // pd.Timedelta(stretch), rng=np.random.default_rng(6), resamples=1000)
    skill = 1 - sums[:, 0] / sums[:, 1]
    expected = (1 - losses.model.mean() / losses.baseline.mean(), *percentile_interval(skill[1:]))
    assert skill_interval(losses.model, losses.baseline, time, rng=np.random.default_rng(6)) == pytest.approx(expected, rel=1e-12)


def test_the_robust_spread_is_that_of_scipy():
    values = np.append(np.random.default_rng(0).normal(3, 2, 500), [1e6, np.nan])
    expected = stats.median_abs_deviation(values, scale="normal", nan_policy="omit")
    assert robust_spread(values) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(robust_spread([]))


def test_beyond_all_calibration_the_statistic_breaks_ties():
    calibration, far = pd.DataFrame({"a": np.arange(99.0)}), pd.DataFrame({"a": [200.0, 1000.0, -5.0]})
    score, p, _ = combine_tests(far, calibration, {"a": 1.0})
    assert list(np.argsort(score)) == [2, 0, 1]
    np.testing.assert_allclose(p[:2], 0.01)
    small, _, _ = combine_tests(pd.DataFrame({"a": [0.2, 0.5]}), pd.DataFrame({"a": [0.1]}), {"a": 1.0})
    assert small[0] < small[1]


def test_the_strongest_of_several_tests_is_ranked_among_the_strongest_of_the_calibration():
    """The items that calibrate have the evidence 1.25 and 0.56 (b), 0.15 (b) and -0.13 (b), each counted without itself."""
    calibration = pd.DataFrame({"a": [0.0, 1, 2, 3], "b": [5.0, 1, 0, 2]})
    weights = {"a": 0.3, "b": 0.7}
    score, p, name = combine_tests(pd.DataFrame({"a": [2.5, 3.5, -1], "b": [-1.0, -1, 6]}), calibration, weights)
    assert score == pytest.approx(
        [np.log(0.3 / 0.4) + 1e-3 * np.log(3.5), np.log(0.3 / 0.2) + 1e-3 * np.log(4.5), np.log(0.7 / 0.2) + 1e-3 * np.log(7)]
    )
    assert p == pytest.approx([5 / 5, 3 / 5, 1 / 5])
    assert name.tolist() == ["a", "a", "b"]
    score, p, name = combine_tests(calibration, calibration, weights)
    assert score[0] == pytest.approx(np.log(0.7 / 0.2) + 1e-3 * np.log(6))
    assert (p.tolist(), name.tolist()) == (pytest.approx([2 / 5, 4 / 5, 5 / 5, 3 / 5]), ["b"] * 4)


def test_items_that_may_not_calibrate_judge_no_others():
    tests, fold = pd.DataFrame({"a": [1.0, 2, 3, 4, 5, 6]}), np.array([0, 0, 0, 1, 1, 1])
    calibrates = np.array([1, 1, 0, 0, 1, 1], bool)
    assert judge_across_folds(tests, fold, {"a": 1.0})[1] == pytest.approx([1, 1, 1, 1 / 4, 1 / 4, 1 / 4])
    assert judge_across_folds(tests, fold, {"a": 1.0}, calibrates=calibrates)[1] == pytest.approx([1, 1, 1, 1 / 3, 1 / 3, 1 / 3])
