"""A stream judged by its own recent past: alarms as stated under drift, and stretches that a usual day does not hold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from nightshift.statistics.trailing import (
    Maxima,
    Stream,
    StreamSettings,
    fit_maxima,
    follow_level,
    judge_streams,
    steered,
    stretches_of,
)

SETTINGS = StreamSettings(alarm_rate=0.01)
PER_DAY = 288


def noise(days, seed, memory=0.8):
    """Scores of a quiet entity, one every five minutes, each like the one before."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=days * PER_DAY)
    return pd.Series(steps).ewm(alpha=1 - memory).mean().to_numpy(copy=True)


def windows_of(scores, node="n1"):
    starts = pd.date_range("2026-01-01", periods=len(scores), freq="5min", tz="UTC")
    return pd.DataFrame({"node_id": node, "start": starts, "score": scores})


def test_a_level_follows_a_lasting_change_and_hardly_an_outage():
    values = np.zeros((3000, 2))
    values[1000:, 0] = 4.0  # for good
    values[1000:1010, 1] = 1000.0  # for ten steps
    level = follow_level(values, half_life=288)
    assert level[999, 0] == 0
    assert level[1000, 0] == 0  # nothing of a moment is in the level it is compared with
    assert abs(level[-1, 0] - 4) < 0.1
    assert level[1011:, 1].max() < 5 * 10 / 288
    assert follow_level(np.zeros((0, 2)), 10).shape == (0, 2)


@pytest.mark.parametrize("drift", ["none", "level", "spread", "steps"])
def test_the_share_of_alarms_is_the_stated_one_whatever_drifts(drift):
    days = 60
    part = np.arange(days * PER_DAY) / (days * PER_DAY)
    shares = []
    for seed in range(6):
        scores = noise(days, seed)
        scores = {
            "none": scores,
            "level": scores + 3 * part,  # nine spreads in two months
            "spread": scores * (1 + 3 * part),
            "steps": scores + np.floor(4 * part),  # three spreads, every fortnight
        }[drift]
        days_after_steps = np.arange(days * PER_DAY) % (15 * PER_DAY) < PER_DAY  # a change is seen, for a day
        judged = judge_streams(windows_of(scores), SETTINGS)
        assert judged.p_value.between(0, 1, inclusive="right").all()
        shares.append(judged.flagged[~days_after_steps][14 * PER_DAY :].mean())
    assert 0.01 / 2 <= np.mean(shares) <= 0.01 * 1.5  # after a step the past is mixed, and less is flagged
    assert max(shares) < 0.05


def test_one_clear_incident_among_many_quiet_entities_is_found_and_little_else():
    quiet = [windows_of(noise(30, seed), f"n{seed}") for seed in range(20)]
    troubled = quiet[3].copy()
    begin = 28 * PER_DAY + 60
    troubled.loc[begin : begin + 23, "score"] += 6.0  # two hours
    windows = pd.concat([*quiet[:3], troubled, *quiet[4:]], ignore_index=True)
    judged = judge_streams(windows, SETTINGS)
    strange = windows.node_id.eq("n3") & windows.index.isin(troubled.index[begin : begin + 24] + 3 * len(troubled))
    assert (judged.stretch[strange] >= 0).mean() > 0.9
    assert judged.chance[strange].min() < 0.001
    others = judged[~strange].assign(node=windows.node_id)
    false = others[others.stretch >= 0].drop_duplicates(["node", "stretch"])
    node_days = 20 * (30 - 4)
    assert len(false) <= 2 * SETTINGS.finding_rate * node_days


def test_a_moderate_trouble_of_many_hours_adds_up():
    troubled = slice(28 * PER_DAY + 60, 28 * PER_DAY + 150)
    parts = [windows_of(noise(30, seed, memory=0.5), f"n{seed:02}") for seed in range(20)]
    for part in parts[:12]:
        part.loc[troubled.start : troubled.stop - 1, "score"] += 0.5  # for seven hours, less than a spread
    windows, n_found = pd.concat(parts, ignore_index=True), {}
    for name, settings in {"hours": SETTINGS, "windows": replace(SETTINGS, scales=())}.items():
        stretch = judge_streams(windows, settings).stretch.groupby(windows.node_id)
        n_found[name] = sum((of_node.iloc[troubled] >= 0).any() for _, of_node in list(stretch)[:12])
    assert n_found["hours"] >= 9
    assert n_found["windows"] <= n_found["hours"] / 2


@pytest.mark.parametrize("together", [1, 10])
def test_as_many_findings_are_false_as_stated_whether_one_entity_is_judged_or_many(together):
    n_false, days = 0, 40
    for first in range(0, 10, together):
        parts = [windows_of(noise(days, seed), f"n{seed}") for seed in range(first, first + together)]
        windows = pd.concat(parts, ignore_index=True)
        judged = judge_streams(windows, SETTINGS).assign(node=windows.node_id)
        n_false += len(judged[judged.stretch >= 0].drop_duplicates(["node", "stretch"]))
    expected = SETTINGS.finding_rate * 10 * (days - 4)  # 7.2
    assert 1 <= n_false <= 2 * expected


def test_a_nightly_burst_of_one_entity_is_its_habit():
    parts = [windows_of(noise(40, seed), f"n{seed}") for seed in range(10)]
    rows = np.arange(40 * PER_DAY)
    parts[4].loc[rows % PER_DAY < 6, "score"] += 12.0  # half an hour every night: less than the units of strength feel
    judged = judge_streams(pd.concat(parts, ignore_index=True), SETTINGS)
    of_entity = judged.iloc[4 * 40 * PER_DAY + 14 * PER_DAY : 5 * 40 * PER_DAY]
    assert of_entity.strength.max() > 3  # beyond the limit of the others
    assert of_entity.stretch[of_entity.stretch >= 0].nunique() <= 4  # of 26 nights


def test_a_found_trouble_does_not_hide_the_next_one_but_a_lasting_change_becomes_usual():
    scores = noise(40, 7)
    first, second = 30 * PER_DAY + 50, 33 * PER_DAY + 50
    scores[first : first + 60] += 8
    scores[second : second + 30] += 5
    stream = judge_streams(windows_of(scores), SETTINGS)
    assert (stream.stretch[second : second + 30] >= 0).mean() > 0.8
    lasting = noise(40, 7)
    lasting[30 * PER_DAY :] += 8
    stream = judge_streams(windows_of(lasting), SETTINGS)
    assert stream.flagged[30 * PER_DAY : 31 * PER_DAY].mean() > 0.9
    assert stream.flagged[39 * PER_DAY :].mean() < 0.05
    assert not (stream.stretch[38 * PER_DAY :] >= 0).any()


def test_nothing_is_judged_by_too_short_a_past():
    scores = noise(3, 1)
    scores[100:110] += 50  # on the first day, which has nothing before it
    stream = judge_streams(windows_of(scores), SETTINGS)
    assert (stream.p_value[:PER_DAY] == 1).all()
    assert not stream.flagged[:PER_DAY].any()
    assert (stream.stretch == -1).all()  # two daily maxima fit no distribution
    assert judge_streams(windows_of(scores).head(0), SETTINGS).empty
    with pytest.raises(ValueError, match="not finite"):
        judge_streams(windows_of([0.0, np.nan]), SETTINGS)


def test_constant_scores_raise_no_alarm():
    scores = np.zeros(20 * PER_DAY)
    stream = judge_streams(windows_of(scores), SETTINGS)
    assert not stream.flagged.any()
    assert (stream.stretch == -1).all()


def test_the_limit_is_that_of_the_distribution_even_with_troubled_days():
    rng = np.random.default_rng(3)
    exact = 2.0 + 0.5 * norm.ppf(0.98)
    calm = rng.normal(2.0, 0.5, size=4000)
    troubled = np.append(calm, np.full(400, 50.0))
    found = troubled < 40
    for maxima, is_usual in ((calm, np.ones(4000, bool)), (troubled, found)):
        fitted = Maxima({"a": maxima}, {"a": is_usual}, 0.02)
        assert abs(fitted.limit("a") - exact) < 0.05
        np.testing.assert_allclose(fitted.chance("a", np.array([2.0, exact])), [0.5, 0.02], atol=0.02)
    unseen = Maxima({"a": troubled}, {"a": np.ones(4400, bool)}, 0.02)
    assert exact < unseen.limit("a") < 1.1 * exact  # trouble that nobody found moves it little


def test_few_days_are_judged_with_more_care_and_too_few_not_at_all():
    rng = np.random.default_rng(4)
    passed = []
    for _ in range(400):
        maxima = rng.normal(1.0, 0.3, size=(21, 1)).T
        limit = Maxima({"a": maxima[0]}, {"a": np.ones(21, bool)}, 0.02).limit("a")
        passed.append(norm.sf(limit, 1.0, 0.3))
    assert 0.005 < np.mean(passed) < 0.03  # by a normal distribution it would be 0.06
    few = Maxima({"few": np.array([1.0, 2.0])}, {"few": np.ones(2, bool)}, 0.02)
    assert few.limit("few") is None


def test_entities_share_a_limit_unless_their_days_pass_it_often():
    rng = np.random.default_rng(5)
    maxima = {name: rng.normal(1.0, 0.3, size=21) for name in "abcdef"} | {"burst": rng.normal(8.0, 0.3, size=21)}
    fitted = Maxima(maxima, {name: np.ones(21, bool) for name in maxima}, 0.02)
    assert fitted.limit("a") == fitted.limit("f") < 4
    assert fitted.limit("burst") > 8.4


def test_stretches_join_what_lies_close():
    starts = np.array(pd.date_range("2026-01-01", periods=10, freq="h"))
    marked = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 0], bool)
    assert stretches_of(marked, starts, np.timedelta64(2, "h")) == [(1, 4), (8, 8)]
    assert stretches_of(np.zeros(10, bool), starts, np.timedelta64(2, "h")) == []


@pytest.mark.parametrize(("least", "has_past"), [(PER_DAY + 1, True), (PER_DAY + 2, False)])
def test_a_past_is_enough_when_its_least_p_value_reaches_the_alarm_rate(least, has_past):
    """The second day has the 288 windows of the first one behind it, whose least p-value is 1 in 289."""
    stream = judge_streams(windows_of(noise(2, 1)), replace(SETTINGS, alarm_rate=1 / least))
    assert not stream.has_past[:PER_DAY].any()
    assert (stream.has_past[PER_DAY:] == has_past).all()


def test_an_entity_that_was_silent_for_a_day_is_judged_by_the_days_that_it_has():
    alone, other = windows_of(noise(12, 1), "a"), windows_of(noise(12, 2), "b")
    alone = alone[alone.start.dt.day != 6]
    both = judge_streams(pd.concat([alone, other], ignore_index=True), replace(SETTINGS, finding_rate=1e-9)).head(len(alone))
    only = judge_streams(alone, replace(SETTINGS, finding_rate=1e-9))
    pd.testing.assert_frame_equal(both[["p_value", "strength", "has_past"]], only[["p_value", "strength", "has_past"]].reset_index(drop=True))


def test_a_window_of_no_entity_is_judged_by_nothing():
    windows = windows_of(noise(4, 1)).assign(node_id=lambda table: table.node_id.where(table.index != len(table) - 1))
    last = judge_streams(windows, SETTINGS).iloc[-1]
    assert last.to_dict() == {"p_value": 1, "flagged": False, "strength": 0, "chance": 1, "stretch": -1, "has_past": False}


# ----------------------------------------------------------------------------------------------- by hand


def stream_of(scores, every, **settings):
    """A stream of one score each `every` from the beginning of a year on, of which nothing is averaged unless the settings say so."""
    starts = pd.date_range("2026-01-01", periods=len(scores), freq=every)
    return Stream(scores, starts, StreamSettings(**{"alarm_rate": 0.45, "scales": ()} | settings))


def test_a_level_is_the_weighted_mean_of_what_was_before_each_within_five_spreads():
    level = follow_level(np.array([[0.0], [100], [0], [-100], [0]]), half_life=1)
    assert level.ravel().tolist() == [0, 0, 2.5, 1.25, -1.875]


def test_the_level_of_alarms_is_steered_within_its_bounds():
    assert steered(0.01, 0.01, 0.01) == pytest.approx(0.01)
    assert steered(0.01, 0.02, 0.01) == pytest.approx(0.01 * np.exp(-0.4))
    assert steered(0.01, 0.0, 0.01) == pytest.approx(0.01 * np.exp(0.4))
    assert steered(0.0006, 0.5, 0.01) == pytest.approx(0.0005)
    assert steered(0.029, 0.0, 0.01) == pytest.approx(0.03)


def test_maxima_are_fitted_by_median_and_third_quartile():
    assert fit_maxima([1.0, 2, 3, 4, 5]) == pytest.approx((5 / 6.4, 3, 1 / norm.ppf(0.75)))
    assert fit_maxima([2.0, 2, 2]) == pytest.approx((3 / 6.4, 2, 0.05))


@pytest.mark.parametrize(("usual", "fitted"), [([1, 1, 1, 0], [1.0, 2, 4]), ([1, 1, 0, 0], [1.0, 2, 4, 9]), ([1, 0, 0, 0], [1.0, 2, 4, 9])])
def test_three_usual_days_are_enough_and_of_fewer_all_days_count(usual, fitted):
    maxima = Maxima({"a": np.array([1.0, 2, 4, 9])}, {"a": np.array(usual, bool)}, 0.02)
    assert maxima.limit("a") == pytest.approx(t.isf(0.02, *fit_maxima(fitted)))
    assert maxima.chance("a", np.array([1.0, 30])) == pytest.approx(t.sf([1.0, 30], *fit_maxima(fitted)))


def test_an_entity_of_three_days_is_judged_and_one_of_two_is_not():
    maxima = {"three": np.array([1.0, 2, 3]), "two": np.array([1.0, 2])}
    judged = Maxima(maxima, {name: np.ones(len(days), bool) for name, days in maxima.items()}, 0.02)
    assert judged.limit("three") == pytest.approx(t.isf(0.02, *fit_maxima(maxima["three"])))
    assert judged.limit("two") is None


def test_stretches_end_where_the_pause_is_longer_than_the_gap_and_not_where_it_is_as_long():
    starts = np.array(["2026-01-01T00:00", "2026-01-01T02:00", "2026-01-01T04:01"], "datetime64[m]")
    assert stretches_of(np.ones(3, bool), starts, np.timedelta64(2, "h")) == [(0, 1), (2, 2)]


def test_scores_are_averaged_over_hours_on_both_sides():
    scores = stream_of([0.0, 0, 6, 0, 0, 3], "h", scales=(pd.Timedelta(hours=3),)).scores
    np.testing.assert_allclose(scores, [[0, 0, 6, 0, 0, 3], [0, 2, 2, 2, 1, 1.5]])
    assert stream_of([5.0], "h", scales=(pd.Timedelta(hours=3),)).scores.tolist() == [[5], [5]]


def test_a_night_is_ranked_among_those_before_it():
    stream = stream_of([0.0, 1, 2, 3, 1.5, 10, 0, 3, 4, 4, 4, 4], "6h", days=1)
    day = np.datetime64("2026-01-02")
    assert stream.rows_of(day).tolist() == [4, 8]
    stream.rank_night(0, 4)  # nothing is before it
    assert (stream.p_value[:4].tolist(), stream.nights) == ([1, 1, 1, 1], [])
    stream.rank_night(*stream.rows_of(day))
    assert stream.p_value[4:8] == pytest.approx([3 / 5, 1 / 5, 1, 2 / 5])
    assert stream.flagged[4:8].tolist() == [False, True, False, True]
    assert stream.strength[4:8] == pytest.approx((np.array([1.5, 10, 0, 3]) - 1.5) / (2.85 - 1.5))  # median 1.5, 95th percentile 2.85
    assert stream.has_past.tolist() == [False] * 4 + [True] * 4 + [False] * 4
    assert stream.level == pytest.approx(steered(0.45, 0.5, 0.45))
    level = stream.level
    stream.rank_night(8, 12)  # one day calibrates, in which one of four was higher
    assert stream.p_value[8:] == pytest.approx(np.full(4, 2 / 5 * 0.45 / level))
    assert stream.nights == [slice(4, 8), slice(8, 12)]


def test_a_window_whose_p_value_is_the_alarm_rate_is_flagged():
    stream = stream_of([0.0, 1, 2, 1.5, 0.5, 9], "8h", days=1, alarm_rate=0.5)
    stream.rank_night(3, 6)
    assert stream.p_value[3:] == pytest.approx([2 / 4, 3 / 4, 1 / 4])
    assert stream.flagged[3:].tolist() == [True, False, True]


def test_a_night_without_trouble_calibrates_unless_trouble_leaves_too_little():
    stream = stream_of(np.arange(24.0), "6h", days=4)
    for n_troubled, n_calm in ((0, 16), (12, 4), (13, 16)):  # a fourth of four days is one
        stream.is_trouble[:] = False
        stream.is_trouble[4 : 4 + n_troubled] = True
        past, calm = stream.past_of(20)
        assert (past[0], past[-1], len(past), len(calm)) == (4, 19, 16, n_calm)


def test_three_times_the_nights_that_calibrate_say_what_a_usual_day_holds():
    stream = stream_of(np.zeros(5), "D", days=1)
    stream.nights, stream.strength[:] = [slice(n, n + 1) for n in range(5)], [9, 1, 2, 3, 4]
    stream.is_trouble[3] = True
    maxima, is_usual = stream.days_before()
    assert (maxima.tolist(), is_usual.tolist()) == ([2, 3, 4], [True, False, True])


class Stated:
    """Stands for Maxima: the limit of every entity, and a chance that can be told apart."""

    def __init__(self, limit):
        self.of_every = limit

    def limit(self, name):
        return self.of_every

    def chance(self, name, strengths):
        return strengths / 100


def found(strength, limit=2.0, begin=24, **settings):
    """A stream of hours with these strengths, of which the stretches of the day that begins with row `begin` were sought."""
    stream = stream_of(np.zeros(48), "h", **settings)
    stream.strength[list(strength)] = list(strength.values())
    stream.find_stretches(begin, begin + 24, Stated(limit), "a")
    return stream


def test_a_stretch_is_kept_that_passes_the_limit_and_reaches_into_the_night():
    stream = found({22: 0.8, 23: 1.0, 24: 3.0, 26: 0.71, 30: 2.0, 34: 2.1, 35: 0.7})
    numbers = {row: number for row, number in enumerate(stream.stretch) if number >= 0}
    assert numbers == {22: 0, 23: 0, 24: 0, 25: 0, 26: 0, 34: 1}  # 30 only reaches the limit; 35 only where a stretch begins
    assert stream.chance[22:27] == pytest.approx([0.008, 0.01, 0.03, 0, 0.0071])
    assert (np.delete(stream.chance, [22, 23, 24, 25, 26, 34]) == 1).all()
    assert np.flatnonzero(stream.is_trouble).tolist() == [22, 23, 24, 25, 26, 34]
    assert (found({23: 3.0}).stretch == -1).all(), "it ended the night before"
    assert found({24: 3.0}).stretch[24] == 0
    assert (found({24: 3.0}, limit=None).stretch == -1).all()


def test_a_stretch_that_goes_on_keeps_its_number():
    stream = found({2: 3.0, 23: 3.0, 24: 3.0}, begin=0)
    assert (stream.stretch[2], stream.stretch[23], stream.stretch[24]) == (0, 1, -1)
    stream.strength[30] = 5.0
    stream.find_stretches(24, 48, Stated(2.0), "a")
    assert (stream.stretch[2], stream.stretch[23], stream.stretch[24], stream.stretch[30]) == (0, 1, 1, 2)


def test_the_first_stretch_of_all_keeps_its_number_too():
    stream = found({23: 3.0}, begin=0)
    assert stream.stretch[23] == 0
    stream.strength[24] = 3.0
    stream.find_stretches(24, 48, Stated(2.0), "a")
    assert stream.stretch[22:26].tolist() == [-1, 0, 0, -1]


@pytest.mark.parametrize(("hours", "is_trouble"), [(6, True), (7, False)])
def test_a_stretch_longer_than_the_longest_is_the_new_usual(hours, is_trouble):
    stream = found(dict.fromkeys(range(25, 26 + hours), 3.0), longest=pd.Timedelta(hours=6))
    assert (stream.stretch[25 : 26 + hours] == 0).all()
    assert (stream.is_trouble[25 : 26 + hours] == is_trouble).all()
