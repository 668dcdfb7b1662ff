"""Surprises of tickets by hand: the law of a count, shares and seasons, hazards and paces, each computed once more ticket by ticket."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from nightshift.detectors.tickets_surprises import (
    GAP,
    LEAST,
    LEAST_CLOSINGS,
    LEAST_EARLIER,
    MOST,
    PAST,
    all_tests,
    backlog_surprise,
    backlog_tests,
    best_window,
    closings_of_others,
    counts_in,
    cumulative_hazard,
    earlier,
    growth_tests,
    judge_weeks,
    night_tests,
    share_surprise,
    slow_surprise,
    slow_tests,
    surprise,
    tail_p_values,
    waits_at,
    whole_weeks,
)

# ------------------------------------------------------------------------------------------------------------- the law


def test_a_surprise_is_minus_the_logarithm_of_the_tail_of_its_law():
    observed, expected, spread = np.full((1, GAP + 1), 4.0), np.full((1, GAP + 1), 4.0), np.full((1, GAP + 1), 0.25)
    observed[0, [0, GAP]] = 8, 9
    luck = 4 + 0.25 * 16
    over = max((16 - luck) / 16, 1e-3)  # of the first week alone, which ended GAP weeks before
    for week, extra in ((0, 1e-3), (GAP, over)):
        variance = luck + extra * 16
        law = stats.nbinom(16 / (variance - 4), 4 / variance)
        assert surprise(observed, expected, spread=spread)[0, week] == pytest.approx(-law.logsf(observed[0, week] - 1))
        assert surprise(observed, expected, spread=spread, below=True)[0, week] == pytest.approx(-law.logcdf(observed[0, week]))
    assert np.isnan(surprise(observed, expected * 0, spread=spread)).all()
    wild = np.where(np.arange(GAP + 1) == 0, 1000.0, 4.0)[None]
    variance = luck + (9 * luck - luck) / 16 * 16
    law = stats.nbinom(16 / (variance - 4), 4 / variance)
    assert surprise(wild, expected, spread=spread)[0, GAP] == pytest.approx(-law.logsf(3)), "a wild week counts at most nine variances"


@pytest.mark.parametrize(("observed", "expected", "below"), [(5000.0, 20.0, False), (0.0, 5000.0, True)])
def test_a_burst_whose_chance_is_nothing_in_floating_point_is_the_greatest_surprise_and_is_tested(observed, expected, below):
    least = np.full((1, 1), 1e-6)
    found = surprise(np.array([[observed]]), np.array([[expected]]), spread=least, below=below)
    assert found == MOST
    past = np.append(np.random.default_rng(1).exponential(1, (LEAST_EARLIER, 1)), np.full((LEAST_EARLIER, GAP - 1), np.nan), axis=1)
    now = np.full((LEAST_EARLIER, 1), np.nan)
    now[:1] = found
    table = night_tests({"growing": np.append(past, now, axis=1)}, GAP)
    assert (table.unit.tolist(), table.surprise.tolist()) == ([0], [MOST])
    assert table.p_value[0] < 1e-9


# -------------------------------------------------------------------------------------------------- counts and shares


def test_tickets_without_a_unit_or_a_week_are_left_out():
    assert counts_in(np.array([0, 0, 1, -1, 1]), np.array([0, 0, 1, 0, -1]), shape=(2, 2)).tolist() == [[2, 0], [0, 1]]


def test_what_a_unit_should_have_is_its_share_of_all_others():
    counts = np.random.default_rng(1).poisson([[3], [8], [5]], (3, PAST + 40)).astype(float)
    window, w = 4, PAST + 30

    def tickets(unit, first, last):
        own = counts[unit, max(first, 0) : last].sum()
        return own, counts[:, max(first, 0) : last].sum() - own

    usual, in_season, promised, now = [], [], [], []
    end = w + 1
    for unit in range(3):
        own, others = tickets(unit, end - window - PAST, end - window)
        usual.append((own + 0.5) / (others + 1))
        own, others = tickets(unit, end - window - PAST - 1, end - PAST + 1)
        in_season.append((own + 50 * usual[-1]) / (others + 50))
        own, others = tickets(unit, end - window, end)
        promised.append(others * usual[-1])
        now.append(own)
    calm = [min(own, due + 3 * np.sqrt(due) + 1) for own, due in zip(now, promised, strict=True)]
    by_hand = [(sum(calm) - calm[unit]) * max(usual[unit], in_season[unit]) for unit in range(3)]
    _, observed, expected = share_surprise(counts, window)
    assert observed[:, w].tolist() == now
    assert expected[:, w] == pytest.approx(by_hand)
    first = np.flatnonzero(expected.any(axis=0))[0]
    assert first == LEAST + window - 1


@pytest.mark.parametrize("counts", [(10, 10), (9, 11), (3, 17), (7, 13), (1, 40)])
def test_without_a_year_behind_it_a_burst_is_as_surprising_by_its_own_past_whatever_that_rounds_to(counts):
    """Half a year of the unit's own tickets tells its share to a few hundredths; a season that nobody has seen says nothing."""
    tickets = np.repeat(np.array(counts, float)[:, None], LEAST + 6, axis=1)
    tickets[0, -1] = 5 * counts[0] + 20
    for window in (1, 2, 4):
        found, observed, expected = (part[0, -1] for part in share_surprise(tickets, window))
        variance = expected + expected**2 / (counts[0] * (LEAST + 6 - window) + 0.5) + 1e-3 * expected**2
        law = stats.nbinom(expected**2 / (variance - expected), expected / variance)
        assert found == pytest.approx(-law.logsf(observed - 1), rel=1e-6)


def test_a_burst_elsewhere_is_no_growth_of_the_whole():
    """Of a unit with half of all tickets, ten a week, fifty times as many are expected where the other's burst counts in full."""
    counts = np.full((2, LEAST + 10), 10.0)
    _, _, usual = share_surprise(counts, 1)
    counts[1, -1] = 500
    _, _, expected = share_surprise(counts, 1)
    assert usual[0, -1] == pytest.approx(10, rel=0.05)
    assert expected[0, -1] == pytest.approx(10 + 3 * np.sqrt(10) + 1, rel=0.05)


def test_all_tickets_of_a_week_are_compared_with_half_a_year_and_with_last_year():
    counts = np.random.default_rng(2).poisson(20, PAST + LEAST + 10).astype(float)
    w = PAST + LEAST + 5
    level, level_ago = counts[w - LEAST : w].sum() / LEAST, counts[w - PAST - LEAST : w - PAST].sum() / LEAST
    p, expected = whole_weeks(counts)
    first = PAST + LEAST  # the first week with a half year behind it a year ago
    season, level_ago_first = counts[LEAST - 1 : LEAST + 2].sum() / 3, counts[:LEAST].sum() / LEAST
    assert expected[first] == pytest.approx(counts[PAST:first].sum() / LEAST * (season + 5) / (level_ago_first + 5))
    assert expected[first - 1] == pytest.approx(counts[PAST - 1 : first - 1].sum() / LEAST)
    season = counts[w - PAST - 1 : w - PAST + 2].sum() / 3
    assert expected[w] == pytest.approx(level * (season + 5) / (level_ago + 5))
    assert expected[LEAST + 3] == pytest.approx(counts[3 : LEAST + 3].sum() / LEAST), "without a year, as the half year"
    assert (np.isnan(expected[:LEAST]).all(), np.isfinite(expected[LEAST])) == (True, True)
    assert p[LEAST:].min() > 0
    assert p[LEAST:].max() <= 1


@pytest.mark.parametrize(("n_weeks", "n_judged"), [(LEAST, 0), (2 * LEAST - 1, 0), (2 * LEAST, LEAST)])
def test_weeks_are_judged_where_half_a_year_of_them_is(n_weeks, n_judged):
    counts = np.full(n_weeks, 20.0)
    counts[-1] = 500
    odd = judge_weeks(counts, false_discovery_rate=1.0)
    assert len(odd.judged) == len(odd.p_law) == n_judged
    if n_judged:
        assert (odd.judged[0], odd.odd[-1], odd.p_law.argmin()) == (LEAST, n_weeks - 1, n_judged - 1)
        assert odd.p_rank[-1] == odd.p_rank.min()
        assert odd.p_law[-1] > 0, "a burst that no law explains is judged all the same"


# ------------------------------------------------------------------------------------------------------------- hazards


def test_hazards_are_summed_up_to_the_age_of_a_ticket_of_the_group():
    base = (np.array([0, 0, 0, 1]), np.array([1.0, 2, 3, 9]), np.array([True, False, True, True]))
    hours = np.array([0.5, 1, 2.9, 3, 99, 8, 9])
    assert cumulative_hazard(base, np.array([0, 0, 0, 0, 0, 1, 1]), hours=hours) == pytest.approx([0, 1 / 3, 1 / 3, 4 / 3, 4 / 3, 0, 1])
    assert cumulative_hazard(base, np.array([2]), hours=np.array([5.0])).tolist() == [0]
    assert cumulative_hazard(tuple(part[:0] for part in base), np.array([0]), hours=np.array([5.0])).tolist() == [0]


def spans_of(opened, closed, unknown=None):
    unknown = np.zeros(len(opened), bool) if unknown is None else np.array(unknown)
    return SimpleNamespace(opened=np.array(opened, float), closed=np.array(closed, float), unknown=unknown)


def test_waits_are_those_of_tickets_since_a_moment_as_they_were_then():
    spans = spans_of([1, 2, 3, 4, 3], [9, 5, np.nan, 9, 4], [False, False, False, False, True])
    rows, hours, seen = waits_at(spans, 5.0, since=1.0, until=3.0)
    assert (rows.tolist(), hours.tolist(), seen.tolist()) == ([1, 2], [3, 2], [True, False])


def test_the_closings_of_others_leave_out_ones_own():
    near, whole = closings_of_others(np.array([3.0, 4, 5]), np.array([0, 0, 1]))
    assert (near.tolist(), whole.tolist()) == ([4, 3, 0], [10, 9, 8])


@pytest.fixture(scope="module")
def desk():
    """Tickets of three units, the first two of one queue, over more than a year: hours of the clock, ten a week."""
    rng = np.random.default_rng(3)
    week_ends = 10.0 * np.arange(1, LEAST + GAP + 12)
    opened = np.sort(rng.uniform(0, week_ends[-1], 900))
    closed = opened + rng.exponential(12, 900)
    closed[rng.random(900) < 0.1] = np.nan
    return spans_of(opened, closed), rng.integers(0, 3, 900), week_ends


def hazards_then(spans, unit, week_ends, *, w, now):
    """{unit: (its closings until `now`, a function of age)} of the tickets that were opened up to GAP weeks before week `w`."""
    then, since, found = week_ends[w - GAP], week_ends[max(w - GAP - PAST, 0)], {}
    for one in range(3):
        rows = np.flatnonzero((unit == one) & (spans.opened > since) & (spans.opened <= then))
        ended = spans.closed[rows] <= now
        waits = np.where(ended, spans.closed[rows], now) - spans.opened[rows]
        ends = sorted(waits[ended])
        found[one] = ended.sum(), lambda age, ends=ends, waits=waits: sum(1 / (waits >= end).sum() for end in ends if end <= age)
    return found


def test_a_backlog_is_compared_with_what_hazards_leave_open(desk):
    spans, unit, week_ends = desk
    w = len(week_ends) - 1
    now = week_ends[w]
    _, observed, expected = backlog_surprise(spans, unit, n_units=3, week_ends=week_ends)
    asked = np.flatnonzero((spans.opened > week_ends[max(w - PAST, 0)]) & (spans.opened <= now))
    for one, (closings, hazard) in hazards_then(spans, unit, week_ends, w=w, now=week_ends[w - GAP]).items():
        theirs = asked[unit[asked] == one]
        assert closings >= LEAST_CLOSINGS
        assert observed[one, w] == (~(spans.closed[theirs] <= now)).sum()
        assert expected[one, w] == pytest.approx(sum(np.exp(-hazard(now - at)) for at in spans.opened[theirs]))
    assert np.flatnonzero(observed.any(axis=0))[0] == LEAST + GAP
    tests = backlog_tests((["a", "b"], np.minimum(unit, 1)), spans, week_ends=week_ends)
    assert list(tests.names) == ["all queues", "a", "b"]
    assert tests.observed[0].tolist() == tests.observed[1:].sum(axis=0).tolist() == observed.sum(axis=0).tolist()
    assert tests.observed[1].tolist() == observed[0].tolist()
    assert tests.expected[1] == pytest.approx(expected[0])
    assert list(backlog_tests((["a"], np.zeros(900, int)), spans, week_ends=week_ends).names) == ["all queues"]


def test_a_topic_is_as_slow_as_its_hazards_promise_cut_to_the_pace_of_the_others(desk):
    spans, unit, week_ends = desk
    w, window, family = len(week_ends) - 1, 4, np.array([0, 0, 1])
    now = week_ends[w]
    _, seen, expected = slow_surprise(spans, unit, family=family, week_ends=week_ends, window=window)
    asked = np.flatnonzero((spans.opened > week_ends[w - window]) & (spans.opened <= now))
    done, promised = np.zeros(3), np.zeros(3)
    for one, (_, hazard) in hazards_then(spans, unit, week_ends, w=w, now=now).items():
        theirs = asked[unit[asked] == one]
        ended = spans.closed[theirs] <= now
        ages = np.where(ended, spans.closed[theirs], now) - spans.opened[theirs]
        done[one], promised[one] = ended.sum(), sum(map(hazard, ages))
    (near, whole), (near_due, whole_due) = closings_of_others(done, family), closings_of_others(promised, family)
    by_hand = promised * np.clip((near + 5 * whole / whole_due) / (near_due + 5), 0.2, 1)
    assert seen[:, w].tolist() == done.tolist()
    assert expected[:, w] == pytest.approx(np.where(by_hand < 1, 0, by_hand))
    tests = slow_tests({"topic": (["t", "u", "v"], unit), "queue": (["p", "q"], (unit == 2).astype(int))}, spans, week_ends=week_ends)
    assert list(tests.names) == ["t", "u", "v"]
    tried = [slow_surprise(spans, unit, family=family, week_ends=week_ends, window=weeks) for weeks in (4, 8)]
    by_hand = best_window(tried, (4, 8), names=tests.names)
    np.testing.assert_allclose(tests.surprise, by_hand.surprise)
    assert tests.window.tolist() == by_hand.window.tolist()


def test_the_four_questions_are_asked_of_their_own_units(desk):
    spans, unit, week_ends = desk
    groups = {"topic": (["t", "u", "v"], unit), "department": (["d"], np.where(unit == 1, -1, 0)), "queue": (["p", "q"], (unit == 2).astype(int))}
    asked = all_tests(groups, spans, week=np.searchsorted(week_ends, spans.opened), week_ends=week_ends)
    names = {"growing_topic": ["t", "u", "v"], "department_surge": ["d"], "backlog": ["all queues", "p", "q"], "slow_topic": ["t", "u", "v"]}
    assert {kind: list(test.names) for kind, test in asked.items()} == names
    assert {test.surprise.shape for test in asked.values()} == {(3, len(week_ends)), (1, len(week_ends))}
    assert asked["growing_topic"].by_week.sum() == 900
    assert asked["department_surge"].by_week.sum() == (unit != 1).sum()
    assert asked["backlog"].by_week is asked["slow_topic"].by_week is None


def test_growth_in_one_week_is_told_of_that_week_and_growth_in_two_of_both():
    weeks = LEAST + 10
    counts = np.full((2, weeks), 10)
    counts[0, -1], counts[1, [-6, -5]] = 40, 30
    unit, week = (np.repeat(numbers, counts.ravel()) for numbers in (np.repeat([0, 1], weeks), np.tile(np.arange(weeks), 2)))
    test = growth_tests((["a", "b"], np.append(unit, -1)), np.append(week, 0), n_weeks=weeks)
    assert test.by_week.tolist() == counts.tolist()
    assert (test.window[0, -1], test.observed[0, -1], test.window[1, -5], test.observed[1, -5]) == (1, 40, 2, 60)
    assert test.surprise[0, -1] > 15


# --------------------------------------------------------------------------------------------------- tests of a night


def test_beyond_a_fifth_of_the_past_an_exponential_law_goes_on():
    past = np.arange(101.0)
    excess = np.arange(81, 101) - 80.0
    scale = np.median(excess) / np.log(2)
    p = tail_p_values(np.array([50.0, 80.0, 90.0, 200.0]), past)
    assert p == pytest.approx([52 / 102, 22 / 102, 21 / 102 * np.exp(-10 / scale), 21 / 102 * np.exp(-120 / scale)])
    flat = tail_p_values(np.array([5.0]), np.full(99, 2.0))
    assert flat[0] == pytest.approx(1 / 100 * np.exp(-3)), "a surprise has a scale of one at least"


def test_weeks_of_the_past_end_before_the_gap():
    surprises = np.arange(GAP + 3.0)[None]
    assert [earlier(surprises, w).tolist() for w in (0, GAP - 1, GAP, GAP + 1)] == [[], [], [0], [0, 1]]
    surprises[0, 0] = np.nan
    assert earlier(surprises, GAP + 1).tolist() == [1]


@pytest.mark.parametrize(("n_units", "is_tested"), [(LEAST_EARLIER, True), (LEAST_EARLIER - 1, False)])
def test_a_kind_is_tested_with_enough_earlier_surprises(n_units, is_tested):
    surprises = np.full((n_units, GAP + 1), np.nan)
    surprises[:, 0] = np.arange(n_units)
    surprises[:2, GAP] = [1e3, 0]
    table = night_tests({"growing": surprises}, GAP)
    assert table.unit.tolist() == ([0, 1] if is_tested else [])
    if is_tested:
        assert table.p_value.tolist() == pytest.approx(tail_p_values(np.array([1e3, 0]), np.arange(float(n_units))))
        assert table.adjusted.tolist() == pytest.approx(stats.false_discovery_control(table.p_value))


def test_each_unit_and_week_keeps_what_its_own_strongest_window_saw():
    first = np.array([[5.0, 1, np.nan], [1, 7, 2]])
    second = np.array([[4.0, 3, 6], [2, 6, np.nan]])
    best = best_window([(first, first + 10, first + 20), (second, second + 30, second + 40)], [4, 8], names=["a", "b"])
    assert best.surprise.tolist() == [[5, 3, 6], [2, 7, 2]]
    assert best.window.tolist() == [[4, 8, 8], [8, 4, 4]]
    assert best.observed.tolist() == [[15, 33, 36], [32, 17, 12]]
    assert best.expected.tolist() == [[25, 43, 46], [42, 27, 22]]


def test_the_window_of_the_largest_surprise_is_kept():
    tried = [tuple(np.array([row], float) for row in rows) for rows in ([[1, np.nan], [10, 11], [5, 6]], [[2, np.nan], [20, 21], [7, 8]])]
    best = best_window(tried, [4, 8], names=["a"])
    assert best.surprise[0, 0] == 2
    assert np.isnan(best.surprise[0, 1])
    assert (best.observed.tolist(), best.expected.tolist(), best.window.tolist()) == ([[20, 11]], [[7, 6]], [[8, 4]])
