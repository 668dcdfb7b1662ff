"""Clocks, hazards, surprises, rates and words of the tickets study, against values worked out by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nightshift.analysis.tickets_groups import cross_table, monthly, semester_ratio, shrunken_rates
from nightshift.analysis.tickets_texts import drawn, readable, word_weights
from nightshift.analysis.tickets_waiting import closure_bins, hours_before, in_hours, median_wait
from nightshift.detectors.tickets_surprises import (
    Spans,
    backlog_surprise,
    cumulative_hazard,
    earlier,
    night_tests,
    share_surprise,
    slow_surprise,
    surprise,
    tail_p_values,
    whole_weeks,
)
from nightshift.statistics import p_values

WEEKS = 100
BERLIN = "Europe/Berlin"


def moments(*local, timezone="Europe/Berlin"):
    return pd.Series(pd.to_datetime(list(local), format="ISO8601").tz_localize(timezone).tz_convert("UTC").astype("datetime64[us, UTC]"))


OFFICE = "mon-fri 08:00-18:00"


@pytest.mark.parametrize(
    ("clock", "opened", "closed", "hours"),
    [
        ("", "2026-01-30 17:00", "2026-02-02 09:00", 64),
        ("", "2026-03-28 12:00", "2026-03-29 12:00", 23),  # the clocks go forward
        (OFFICE, "2026-01-30 17:00", "2026-02-02 09:00", 2),  # over a weekend
        (OFFICE, "2026-03-27 17:00", "2026-03-30 09:00", 2),  # and over one in which the clocks go forward
        (OFFICE, "2025-10-24 17:30", "2025-10-27 08:15", 0.75),  # or back
        (OFFICE, "2026-01-31 10:00", "2026-02-01 20:00", 0),  # within a weekend
        (OFFICE, "2026-01-28 06:00", "2026-01-28 07:59", 0),
        (OFFICE, "2026-01-28 03:00", "2026-01-28 23:00", 10),
        (OFFICE, "2026-01-28 20:00", "2026-01-29 08:30", 0.5),
        (OFFICE, "2026-01-05 08:00", "2026-01-26 08:00", 150),  # three weeks
        (OFFICE, "2026-03-02 12:00", "2026-04-13 12:00", 300),  # six, with the change of clocks
        ("mon-sun 00:00-24:00", "2026-03-28 12:00", "2026-03-29 12:00", 23),
        ("mon-sun 00:00-24:00", "2025-10-25 12:00", "2025-10-26 12:00", 25),
        ("sun-thu 09:00-17:00", "2026-01-29 16:00", "2026-02-01 10:00", 2),  # Thursday to Sunday
        ("SAT-SUN 22:15-23:45", "2026-01-25 23:00", "2026-01-31 23:00", 1.5),
    ],
)
def test_waiting_is_counted_on_the_clock(clock, opened, closed, hours):
    at = hours_before(moments("2026-01-01 00:00" if opened >= "2026" else "2025-10-01", opened, closed), clock, timezone=BERLIN)
    assert at[2] - at[1] == pytest.approx(hours, abs=1e-4)


def test_a_missing_moment_stays_missing_and_times_never_run_back():
    grid = pd.Series([*pd.date_range("2026-03-20", "2026-04-10", freq="7min", tz="UTC"), pd.NaT])
    at = hours_before(grid, OFFICE, timezone=BERLIN)
    assert np.isnan(at[-1])
    assert (np.diff(at[:-1]) >= 0).all()
    assert np.diff(at[:-1]).max() == pytest.approx(7 / 60)


@pytest.mark.parametrize(
    ("clock", "closed_days", "opened", "closed", "hours"),
    [
        ("", ["12-24 to 01-01"], "2025-12-23 12:00", "2026-01-02 06:00", 18),  # over the turn of the year, every year
        ("", ["12-24 to 01-01"], "2026-12-26 12:00", "2026-12-31 06:00", 0),
        ("", ["12-24 to 01-01"], "2026-03-28 12:00", "2026-03-29 12:00", 23),  # on other days the clock is that on the wall
        ("", ["2026-01-01"], "2026-01-01 06:00", "2026-01-01 18:00", 0),
        (OFFICE, ["12-24 to 01-01"], "2025-12-23 17:00", "2026-01-05 09:00", 12),  # 1 + 10 + 1: the 2nd is a Friday
        ("", ["05-01"], "2026-04-30 12:00", "2026-05-02 12:00", 24),
        ("", ["2026-04-03 to 2026-04-06", "05-01"], "2026-04-02 12:00", "2026-05-02 12:00", 12 + 24 * 24 + 12),
        ("", ["2026-04-03"], "2027-04-02 12:00", "2027-04-04 12:00", 48),  # of that year only
        ("", ["01-01 to 12-31"], "2026-04-02 12:00", "2026-04-05 12:00", 0),
    ],
)
def test_closed_days_are_no_waiting(clock, closed_days, opened, closed, hours):
    at = hours_before(moments("2025-10-01", opened, closed), clock, timezone=BERLIN, closed_days=closed_days)
    assert at[2] - at[1] == pytest.approx(hours, abs=1e-4)
    assert at[2] > at[1]  # what came first stays first: a week that ends on a closed day knows nothing of the next one


@pytest.mark.parametrize(
    "day", ["Christmas", "13-01", "24-12 to 01-01", "12-24 until 01-01", "2026-04-06 to 2026-04-03", "12-24 to 2027-01-01", "05-01 to ", ""]
)
def test_a_closed_day_that_cannot_be_read_is_one_line(day):
    with pytest.raises(ValueError, match=r"^closed_days names .*: a day reads like 05-01 or 2026-04-03, a stretch like 12-24 to 01-01$"):
        hours_before(moments("2026-01-01"), "", timezone=BERLIN, closed_days=[day])


def test_closed_days_as_one_text_are_one_line():
    with pytest.raises(ValueError, match=r'^closed_days is .12-24 to 01-01.: it must be a list, such as \["12-24 to 01-01"\]$'):
        hours_before(moments("2026-01-01"), "", timezone=BERLIN, closed_days="12-24 to 01-01")


@pytest.mark.parametrize("clock", ["mon-fri", "mon-fri 8-18", "mon-fri 18:00-08:00", "lun-ven 08:00-18:00", "mon-fri 08:00-24:30"])
def test_a_clock_that_cannot_be_read_is_one_line(clock):
    with pytest.raises(ValueError, match=r"^working_hours is .*: it must read like mon-fri 08:00-18:00$"):
        hours_before(moments("2026-01-01"), clock, timezone=BERLIN)


def test_hazards_are_those_of_nelson_and_aalen():
    base = (np.array([0, 0, 0, 0, 2]), np.array([3.0, 1, 2, 4, 1]), np.array([False, True, True, True, True]))
    at = cumulative_hazard(base, np.array([0, 0, 0, 0, 1, 2, 2]), hours=np.array([0.5, 1, 2.5, 100, 100, 0.5, 1]))
    assert at == pytest.approx([0, 1 / 4, 1 / 4 + 1 / 3, 1 / 4 + 1 / 3 + 1, 0, 0, 1])
    empty = np.zeros(0)
    assert list(cumulative_hazard((empty.astype(int), empty, empty), np.array([0]), hours=np.array([5.0]))) == [0]


def test_hazards_agree_with_the_curves_of_statsmodels():
    from statsmodels.duration.survfunc import SurvfuncRight

    rng = np.random.default_rng(1)
    hours, seen = rng.exponential(20, 2000), rng.random(2000) < 0.7
    curve = SurvfuncRight(hours, seen)
    base, group = (np.zeros(2000, int), hours, seen), np.zeros(len(curve.surv_times), int)
    left = np.exp(-cumulative_hazard(base, group, hours=curve.surv_times))
    early = curve.surv_prob > 0.1
    assert left[early] == pytest.approx(curve.surv_prob[early], abs=0.01)


def test_a_surprise_is_a_chance_under_the_null_and_nothing_later_changes_it():
    rng = np.random.default_rng(2)
    for dispersion, most in ((0.0, 0.06), (0.5, 0.1)):
        expected = np.full((40, WEEKS), 8.0)
        law = stats.nbinom(1 / dispersion, 1 / (1 + 8 * dispersion)) if dispersion else stats.poisson(8)
        counts = law.rvs((40, WEEKS), random_state=rng).astype(float)
        for below in (False, True):
            p = np.exp(-surprise(counts, expected, spread=np.zeros_like(expected), below=below))[:, 30:]
            assert 0.01 < (p <= 0.05).mean() < most
    assert (stats.poisson.sf(counts[:, 30:] - 1, 8) <= 0.05).mean() > 0.15  # what luck alone would have said of the last ones
    assert (surprise(counts[:, :60], expected[:, :60], spread=0 * expected[:, :60]) == surprise(counts, expected, spread=0 * expected)[:, :60]).all()
    assert np.isnan(surprise(counts, 0 * expected, spread=0 * expected)).all()


def panel(rng, topics=12, weeks=WEEKS, mean=3.0):
    """Counts whose whole doubles over the span and every half year, shares that stay."""
    whole = (1 + np.arange(weeks) / weeks) * np.where(np.arange(weeks) % 26 < 4, 2.0, 1.0)
    return rng.poisson(mean * rng.dirichlet(np.full(topics, 5), 1).T * topics * whole).astype(float)


def test_growth_and_season_of_the_whole_are_no_news_of_a_topic():
    counts = panel(np.random.default_rng(3))
    for window in (1, 4):
        found, observed, expected = share_surprise(counts, window)
        assert np.isnan(found[:, : 26 + window - 1]).all()
        assert np.isfinite(found[:, 26 + window - 1 :]).all()
        assert (np.exp(-found[:, 40:]) <= 0.05).mean() < 0.06
        assert observed[:, -1] == pytest.approx(counts[:, -window:].sum(axis=1))
        assert expected[:, -30:].sum() == pytest.approx(observed[:, -30:].sum(), rel=0.1)


def test_a_growing_topic_is_a_surprise_of_its_own_and_of_no_other():
    counts = panel(np.random.default_rng(4))
    counts[3, -4:] = 5 * counts[3, -4:].clip(2)
    found = share_surprise(counts, 4)[0]
    assert np.argmax(found[:, -1]) == 3
    assert found[3, -1] > 15
    assert np.delete(found[:, -1], 3).max() < 6


def test_a_burst_of_one_topic_is_no_growth_of_the_whole():
    counts = panel(np.random.default_rng(4))
    before = share_surprise(counts, 4)[2][:, -1]
    burst = counts.copy()
    burst[3, -4:] += 100
    expected = share_surprise(burst, 4)[2][:, -1]
    assert np.delete(expected / before, 3) == pytest.approx(np.full(11, 1), abs=0.25)
    assert burst.sum(axis=0)[-1] > 2 * counts.sum(axis=0)[-1]


def test_a_season_of_the_topic_itself_is_expected():
    counts = np.full((8, WEEKS), 5.0)
    counts[0, -55:-51] = counts[0, -2:] = 40
    found, observed, _ = (x[0, -1] for x in share_surprise(counts, 2))
    assert (observed, found < 4) == (80, True)
    counts[0, -55:-51] = 5
    assert share_surprise(counts, 2)[0][0, -1] > 15


def test_no_later_week_changes_what_a_night_said():
    counts = panel(np.random.default_rng(5))
    for now, whole in zip(share_surprise(counts[:, :70], 4), share_surprise(counts, 4), strict=True):
        assert np.array_equal(now, whole[:, :70], equal_nan=True)


def test_p_values_are_ranks_inside_and_go_on_beyond():
    past = stats.expon.ppf((np.arange(500) + 0.5) / 500)
    inside = np.array([0.0, 0.3, 1.0])
    assert tail_p_values(inside, past) == pytest.approx(p_values(inside, past))
    assert tail_p_values(np.array([10.0]), past)[0] == pytest.approx(np.exp(-10), rel=0.3)  # ranks alone end at 1/501
    grid = tail_p_values(np.linspace(0, 30, 400), past)
    assert (np.diff(grid) <= 1e-12).all()
    assert grid.min() > 0


def test_troubles_of_the_past_hide_none_of_today_and_a_calm_past_promises_nothing_more():
    past = stats.expon.ppf((np.arange(500) + 0.5) / 500)
    troubled = np.concatenate([past, np.full(25, 60.0)])
    assert tail_p_values(np.array([15.0]), troubled)[0] < 1e-4 < p_values([15.0], troubled)[0]
    calm = past / 100
    limit = np.quantile(calm, 0.8)
    assert tail_p_values(np.array([limit + 2]), calm)[0] == pytest.approx(0.2 * np.exp(-2), rel=0.02)
    assert list(tail_p_values(np.array([0.0, 1.0]), np.zeros(200))) == pytest.approx([1, np.exp(-1) / 201])


def test_only_weeks_that_ended_before_the_gap_judge_a_night():
    surprises = np.arange(40.0)[None]
    surprises[0, 3] = np.nan
    assert list(earlier(surprises, 20)) == [0, 1, 2, *range(4, 13)]
    assert not len(earlier(surprises, 5))


def test_a_night_without_a_hundred_earlier_surprises_has_no_test():
    few, many = np.ones((3, 40)), np.ones((4, 40))
    assert set(night_tests({"few": few, "many": many}, 39).kind) == {"many"}
    none = night_tests({"few": few}, 39)
    assert list(none.columns) == ["kind", "unit", "surprise", "p_value", "adjusted"]
    assert not len(none)


@pytest.fixture(scope="module")
def desk():
    """Two topics, two tickets of each a day, done after 10 hours on average; hours of opening and closing, and the ends of the weeks."""
    rng = np.random.default_rng(6)
    opened = np.sort(np.concatenate([rng.uniform(0, WEEKS * 168, WEEKS * 14) for _ in range(2)]))
    unit = np.arange(len(opened)) % 2
    return unit, opened, opened + rng.exponential(10, len(opened)), 168.0 * np.arange(1, WEEKS + 1)


def spans(opened, closed, unknown=False):
    return Spans(opened, closed, np.full(len(opened), unknown) if np.ndim(unknown) == 0 else unknown)


def test_a_backlog_is_what_is_open_beside_what_usual_hazards_leave(desk):
    unit, opened, closed, ends = desk
    away = np.where((closed > ends[-3]) & (closed <= ends[-1]), ends[-1] + 5, closed)  # nobody closes anything for two weeks
    for world in (np.where(closed > ends[-1], np.nan, closed), np.where(away > ends[-1], np.nan, away)):
        found, observed, expected = backlog_surprise(spans(opened, world), 0 * unit, n_units=1, week_ends=ends)
        assert observed[0, -1] == np.isnan(world[opened > ends[-1] - 52 * 168]).sum()
        assert expected[0, 40:].mean() == pytest.approx(4 * 10 / 24, rel=0.5)  # Little's law: a day's tickets times their hours
        assert np.isnan(found[0, :34]).all()
        quiet = found[0, 40:-3]
        assert (np.exp(-quiet) < 0.01).mean() < 0.05
    assert found[0, -1] > 20
    early = spans(opened[opened <= ends[69]], np.where(closed > ends[69], np.nan, closed)[opened <= ends[69]])
    now = backlog_surprise(early, 0 * unit[opened <= ends[69]], n_units=1, week_ends=ends[:70])
    whole = backlog_surprise(spans(opened, closed), 0 * unit, n_units=1, week_ends=ends)
    assert np.array_equal(now[0], whole[0][:, :70], equal_nan=True)


def test_a_slow_topic_is_slower_than_itself_and_than_the_others_now(desk):
    (unit, opened, closed, ends), one = desk, np.zeros(2, int)  # one queue
    slow = slow_surprise(spans(opened, closed), unit, family=one, week_ends=ends, window=4)[0]
    assert (np.exp(-slow[:, 40:]) < 0.05).mean() < 0.1
    recent = opened > ends[-5]
    for struck, low, high in ((unit == 0, 15, 1e9), (unit >= 0, 0, 6)):
        late = np.where(recent & struck, opened + 8 * (closed - opened), closed)
        found, seen, _ = slow_surprise(spans(opened, late), unit, family=one, week_ends=ends, window=4)
        assert low < found[0, -1] < high
        assert found[1, -1] < 6
        assert seen[0, -1] == ((late <= ends[-1]) & recent & (unit == 0)).sum()
    early = spans(opened[opened <= ends[69]], closed[opened <= ends[69]])
    now = slow_surprise(early, unit[opened <= ends[69]], family=one, week_ends=ends[:70], window=8)
    whole = slow_surprise(spans(opened, closed), unit, family=one, week_ends=ends, window=8)
    assert np.array_equal(now[0], whole[0][:, :70], equal_nan=True)


def test_a_topic_is_no_slower_than_a_queue_that_piles_up(desk):
    unit, opened, closed, ends = desk
    unit = np.where(unit == 1, 1 + np.arange(len(unit)) % 3, 0)  # topic 0 and three others
    late = np.where((opened > ends[-5]) & (unit < 2), opened + 8 * (closed - opened), closed)
    alone, shared = (
        slow_surprise(spans(opened, late), unit, family=np.array(family), week_ends=ends, window=4)[0][0, -1]
        for family in ([0, 1, 1, 1], [0, 0, 1, 1])
    )
    assert alone > 8
    assert shared < alone / 2


def test_a_topic_is_not_slow_since_the_others_are_quicker_than_ever(desk):
    (unit, opened, closed, ends), one = desk, np.zeros(2, int)
    quick = np.where((opened > ends[-5]) & (unit == 1), opened + 0.1 * (closed - opened), closed)
    found, _, expected = slow_surprise(spans(opened, quick), unit, family=one, week_ends=ends, window=4)
    as_ever = slow_surprise(spans(opened, closed), unit, family=one, week_ends=ends, window=4)
    assert found[0, -1] < 6
    assert expected[0, -1] <= 1.2 * as_ever[2][0, -1]


def waits(hours, seen):
    return pd.DataFrame({"resolution_h": np.array(hours, float), "resolution_seen": np.array(seen, bool)})


def test_a_ticket_that_was_closed_nobody_knows_when_is_no_backlog(desk):
    unit, opened, closed, ends = desk
    lost = np.where(opened > ends[-4], np.nan, closed)  # the closing times of the last weeks
    found, observed, _ = backlog_surprise(spans(opened, lost), 0 * unit, n_units=1, week_ends=ends)
    assert observed[0, -1] > 50
    assert found[0, -1] > 15
    found, observed, expected = backlog_surprise(spans(opened, lost, opened > ends[-4]), 0 * unit, n_units=1, week_ends=ends)
    assert observed[0, -1] == 0
    assert expected[0, -1] < 1
    assert found[0, -1] < 3


def test_medians_count_open_tickets_and_say_when_they_are_not_reached():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert median_wait(waits([1, 2, 3, 4, 5], [1, 1, 1, 1, 1]))[0] == 3
        assert median_wait(waits([1, 2, 3, 100, 100], [1, 1, 1, 0, 0]))[0] == 3  # the closed ones alone have 2
        assert median_wait(waits([1, 9, 9, 9], [1, 0, 0, 0]))[0] == np.inf
        assert median_wait(waits([5, 9], [0, 0])) == (np.inf,) * 3
    assert in_hours((3.04, 1, np.inf)) == "3.0 h (1.0 to not reached)"
    assert in_hours((np.inf, 12, np.inf)) == "not reached (at least 12.0 h)"
    assert in_hours((np.inf, np.inf, np.inf)) == "not reached"


@given(st.lists(st.floats(0, 1e5) | st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 8192.0]), max_size=40), st.booleans())
def test_every_closed_ticket_lies_in_exactly_one_bin(hours, log):
    edges = closure_bins(np.array(hours), log)
    assert edges[0] == 0
    assert (np.diff(edges) > 0).all()
    assert edges[-1] > max(hours, default=0)
    assert np.histogram(hours, edges)[0].sum() == len(hours)


def test_rates_of_small_groups_are_drawn_to_the_whole():
    hits, n = np.array([3, 20, 400, 30]), np.array([4, 200, 1000, 300])
    rate, low, high = shrunken_rates(hits, n)
    whole = hits.sum() / n.sum()
    assert whole < rate[0] < 0.6
    assert rate[2] == pytest.approx(0.4, abs=0.01)
    assert ((low < rate) & (rate < high)).all()
    assert high[0] - low[0] > 5 * (high[2] - low[2])
    alike = shrunken_rates(np.array([10, 20, 30]), np.array([100, 200, 300]))[0]
    assert alike == pytest.approx([0.1] * 3, abs=0.002)
    assert np.isfinite(shrunken_rates(np.array([0]), np.array([7]))).all()
    assert np.isfinite(shrunken_rates(np.array([5, 5]), np.array([5, 5]))).all()


def test_months_are_tickets_a_day_and_semesters_stand_beside_the_trend():
    end = pd.Timestamp("2026-02-01", tz="UTC")
    days = pd.date_range("2023-02-15", "2026-01-31", freq="D", tz="UTC")
    per_day = np.where(days.month.isin([4, 10]), 4, 2)
    created = pd.Series(np.repeat(days, per_day))
    months = monthly(created, end=end, semesters=[4, 10])
    assert len(months) == 36
    assert list(months.rate) == pytest.approx(np.where(months.index.month.isin([4, 10]), 4.0, 2.0))  # the first month, cut in its middle, too
    assert months.trend.notna().sum() == 24
    assert months.trend.dropna().to_numpy() == pytest.approx(np.full(24, 28 / 12))
    assert semester_ratio(months)[0] == pytest.approx(2)
    assert np.isnan(semester_ratio(months.tail(5))).all()


def test_an_anomalous_week_is_one_beyond_level_and_season():
    rng = np.random.default_rng(7)
    busy = np.isin(np.arange(140) % 52, [10, 11, 12, 13])
    counts = rng.poisson(np.where(busy, 50.0, 25.0)).astype(float)
    counts[[100, 125]] = 70, 2
    p = whole_weeks(counts)[0]
    assert np.isnan(p[:26]).all()
    assert p[100] < 1e-4
    assert p[125] < 1e-4
    assert p[115:117].min() > 0.01 > p[63:65].max()  # the first busy month was news, the same of the year after is none
    ordinary = ~busy & (np.arange(140) >= 26) & ~np.isin(np.arange(140), [100, 125])
    assert (p[ordinary] < 0.01).mean() < 0.06


@pytest.mark.parametrize(
    ("given_text", "shown", "figure"),
    [
        ("two\n words\x00 \u202eevil\u200b", "two words evil", "two words evil"),
        ("x" * 10_000, "x" * 79 + "…", "x" * 29 + "…"),
        ("disk \U0001f4a5 full", "disk \U0001f4a5 full", "disk ? full"),
        ("=cmd() $x$ <script>", "=cmd() $x$ <script>", "=cmd() $x$ <script>"),
        ("", "", ""),
    ],
)
def test_texts_for_people_are_short_and_without_tricks(given_text, shown, figure):
    assert readable(given_text) == shown
    assert drawn(given_text, glyphs=set(map(ord, "=$()<> …")) | set(range(97, 123))) == figure


def test_cells_of_few_tickets_are_masked_and_never_alone_in_their_line():
    sizes = {"math": (30, 9, 4), "bio": (20, 8, 7), "physics": (12, 11, 10), "art": (1, 2, 1), "unknown": (9, 9, 9)}
    rows = [(name, priority) for name, n in sizes.items() for priority, k in zip(("low", "normal", "high"), n, strict=True) for _ in range(k)]
    table = cross_table(pd.DataFrame(rows, columns=["department", "priority"]), "priority", index="department", min_group=5)
    assert list(table.index) == ["math", "bio", "physics"]  # by size; four tickets are no group, and unknown is none
    assert table.loc["math"].to_dict() == {"low": 30, "normal": "small", "high": "small"}  # 43 tickets, of which 13 may be shared in any way
    assert table.loc["physics"].to_dict() == {"low": 12, "normal": 11, "high": 10}
    assert table.loc["bio"].to_dict() == {"low": 20, "normal": "small", "high": "small"}  # else its columns would tell


def test_words_in_clouds_were_written_by_five_users_of_the_group():
    rows = pd.DataFrame(
        [("math", f"user-{i}", "gpu broken") for i in range(5)]
        + [("math", f"user-{i % 4}", "hidden plan") for i in range(20)]
        + [("bio", "", "gpu")] * 9,
        columns=["department", "user", "subject"],
    ).assign(ticket_id=lambda t: t.index.astype(str))

    def weights(rows, column, names):
        return word_weights(rows, column, names=names, min_group=5, glyphs=set(range(97, 123)))

    assert {name: set(words) for name, words in weights(rows, "department", ["math", "bio"]).items()} == {"math": {"gpu", "broken"}}
    nobody = weights(rows.assign(user=""), "department", ["math", "bio"])
    assert set(nobody["bio"]) == {"gpu"}
    assert set(nobody["math"]) == {"gpu", "broken", "hidden", "plan"}
