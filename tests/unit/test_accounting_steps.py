"""Accounting that is recorded by the month: which records are monthly, what their months are, and what is found in them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monthly_accounting import LAST, by_month, weekly_hours

from nightshift.analysis.accounting_wording import resolution_sentence, silent_source_words, weeks_without_anybody
from nightshift.cleaning.accounting import SCHEMA, find_grid, sum_steps, type_records, whole_steps, with_zeros
from nightshift.detectors.accounting import Resolution, SeriesGrid, findings_among, report_chances, resolution, silence_pool, silences_of
from nightshift.detectors.accounting_trials import Nights, all_tests, fit_detector, judge_by, ordinary_alarms
from nightshift.detectors.base import NullDetector
from nightshift.sources.accounting.steps import MONTH, WEEK, Step
from nightshift.sources.times import week_of

NIGHT = pd.Timestamp("2026-02-01", tz="UTC")  # the end of the window: January is over
RATES = {"alarm_rate": 0.01, "finding_rate": 0.5, "false_discovery_rate": 0.05}
WEIGHTS = {"silent": 0.95, "drop": 0.02, "surge": 0.02, "returned": 0.01}


def times(*texts):
    """Times in UTC, as typed records have them."""
    return pd.Series(pd.to_datetime(list(texts), utc=True, format="ISO8601")).astype("datetime64[us, UTC]")


def grid_of(end, *, start=None, texts=None, **settings):
    """The grid of records with these ends, and starts where there are any."""
    raw = pd.DataFrame({"EndTime": end.astype(str) if texts is None else texts})
    if start is not None:
        raw["more"] = [f'{{"StartTime": "{at}"}}' for at in start]
    return find_grid(raw, end, **settings)


def clean_of(raw, *, grid="auto", window_end=NIGHT, ended_weeks=26):
    """The clean table of raw records, as 2_preprocess makes it."""
    raw = raw.assign(RecordId=None).reset_index(drop=True)
    records = type_records(raw.astype({"EndTime": "str"}), "UTC")
    calendar = find_grid(raw, records.end, grid=grid)
    first, last, _ = whole_steps(*calendar.covered(records.end), window_end, calendar.step)
    records = records.assign(week=calendar.weeks_of(records.end))
    used = records[records.week.between(first, last)]
    clean = with_zeros(sum_steps(used), last, calendar.step, ended_steps=calendar.step.count(ended_weeks))
    return SCHEMA.validate(clean), calendar


# ------------------------------------------------------------------------------------------------------ a step


def test_steps_number_weeks_and_months_and_convert_what_parameters_count_in_weeks():
    at = pd.Series(pd.date_range("2023-12-25", "2026-02-03", freq="7h", tz="UTC")).astype("datetime64[us, UTC]")
    assert (WEEK.starts(at) == week_of(at)).all()
    assert (np.diff(np.unique(WEEK.number(at))) == 1).all()
    assert (MONTH.starts(at) == at.dt.tz_localize(None).dt.to_period("M").dt.to_timestamp().dt.tz_localize("UTC")).all()
    assert MONTH.ends(times("2024-02-29T23:59:59Z"))[0] == MONTH.shift(times("2024-01-15")[0], 2) == times("2024-03-01")[0]
    assert [WEEK.count(n) for n in (1, 3, 8, 26, 78)] == [1, 3, 8, 26, 78]
    assert [MONTH.count(n) for n in (1, 3, 9, 26, 52, 78)] == [1, 1, 2, 6, 12, 18]
    assert (WEEK.age(8), MONTH.age(8), MONTH.age(52)) == (8, 4, 12)
    assert (MONTH.last(1), WEEK.last(3), MONTH.several(1)) == ("last month", "last 3 weeks", "1 month")
    assert WEEK.span(times("2026-01-12", "2026-01-19").tolist()) == "2 weeks to the week of 2026-01-19"
    assert MONTH.span(times("2026-01-01").tolist()) == "month of 2026-01-01"


@pytest.mark.parametrize(
    ("starts", "step"),
    [
        (["2026-01-05", "2026-01-12"], WEEK),
        (["2025-12-01", "2026-01-01"], MONTH),
        (["2025-12-01"], WEEK),  # a Monday: one step, in which nothing can be judged
        (["2026-01-01"], MONTH),
        ([], WEEK),
    ],
)
def test_a_table_shows_its_step(starts, step):
    assert Step.of_starts(times(*starts)) is step


# ---------------------------------------------------------------------------------------------- which records are monthly


def every(days, phase, n):
    """Ends of `n` totals over so many days each."""
    return pd.Series(pd.date_range(pd.Timestamp("2015-12-25", tz="UTC") + pd.Timedelta(days=phase), periods=n, freq=f"{days}D"))


@pytest.mark.parametrize("days", [1, 7, 14, 28])
def test_what_is_recorded_by_other_periods_is_never_monthly(days):
    edges = [37, 38, 402, 403]  # 31 January and 1 February, before a February of 29 days and of exactly four weeks
    for phase in [*range(0, 1461, 61), *edges]:
        for n in (3, 13):
            assert grid_of(every(days, phase, n)).step is WEEK, (days, phase, n)


def test_jobs_of_five_weeks_and_quarters_and_half_months_are_not_monthly():
    rng = np.random.default_rng(1)
    jobs = times("2025-12-29")[0] + pd.to_timedelta(np.sort(rng.uniform(0, 35 * 24 * 3600, 500)), unit="s")
    assert grid_of(pd.Series(jobs)).step is WEEK
    ends = pd.Series(pd.date_range("2023-01-31", "2026-01-31", freq="ME", tz="UTC"))
    assert grid_of(ends[2::3]).step is WEEK
    assert grid_of(pd.concat([ends, ends - pd.Timedelta(days=15)])).step is WEEK
    assert grid_of(ends[:2]).step is WEEK, "two months are no habit"
    assert grid_of(ends[:3]).step is MONTH
    assert grid_of(ends[:0]).step is WEEK


@pytest.mark.parametrize("shift", ["0h", "23h", "24h", "29h", "-1h", "20min"])
def test_monthly_ends_are_known_by_any_hour_and_zone_and_a_few_others_do_not_matter(shift):
    ends = pd.Series(pd.date_range("2024-01-31", "2026-01-31", freq="ME", tz="UTC")) + pd.Timedelta(shift)
    ends = pd.concat([ends.clip(upper=ends)] * 4 + [times("2025-05-14T10:00:00Z"), times("2025-07-09T11:00:00Z")], ignore_index=True)
    grid = grid_of(ends)
    expected = shift != "-1h"  # dated on the day before the last
    assert (grid.step is MONTH) == expected
    if expected:
        assert grid.share == pytest.approx(100 / 102)
        assert "98.0% of 102 records end on the first or last day of a month, in 25 months" in grid.why
        months = pd.DatetimeIndex(grid.weeks_of(ends[:25])).strftime("%Y-%m")
        assert list(months) == list(pd.period_range("2024-01", "2026-01", freq="M").astype(str))


def test_a_parameter_overrides_what_the_records_say():
    weekly, monthly = every(7, 0, 60), pd.Series(pd.date_range("2024-01-31", "2026-01-31", freq="ME", tz="UTC"))
    forced = grid_of(weekly, grid="month")
    assert (forced.step, forced.dated) == (MONTH, "")
    assert forced.why.startswith("the parameter grid says so; ")
    assert (forced.weeks_of(weekly) == MONTH.starts(weekly)).all(), "each record stands for its own time"
    assert grid_of(monthly, grid="week").step is WEEK


@pytest.mark.parametrize(
    ("start", "text", "dated", "why"),
    [
        (None, None, "end", "it is called an end, and no start says otherwise"),
        (-31, None, "end", "it starts 31 days earlier (median)"),
        (0, None, "start", "it starts on the same day"),
        (None, "%Y-%m", "start", "EndTime names a month and no day"),
    ],
)
def test_a_record_on_the_first_closes_a_month_or_stands_for_its_own(start, text, dated, why):
    ends = pd.Series(pd.date_range("2024-02-01", "2026-02-01", freq="MS", tz="UTC"))
    begun = None if start is None else ends + pd.Timedelta(days=start)
    texts = ends.dt.strftime(text) if text else None
    grid = grid_of(ends, start=begun, texts=texts)
    assert (grid.step, grid.dated) == (MONTH, dated)
    assert grid.why_dated.endswith(f"since {why}.")
    first, newest = grid.covered(ends)
    months = {"end": ("2024-01-01", "2026-02-01"), "start": ("2024-02-01", "2026-03-01")}
    assert (str(first.date()), str(newest.date())) == months[dated]
    other = {"end": "start", "start": "end"}[dated]
    assert grid_of(ends, start=begun, texts=texts, dated=other).dated == other


# --------------------------------------------------------------------------------------------------- the clean table


@settings(max_examples=10, deadline=None)
@given(st.integers(4, 30), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_months_keep_all_core_hours_however_they_are_dated(months, sites, vos, seed):
    weekly = weekly_hours(months, sites, vos, seed=seed, fitful=sites // 2)
    last_day, calendar = clean_of(by_month(weekly))
    next_first, _ = clean_of(by_month(weekly, "next first"), window_end=NIGHT + pd.Timedelta(days=1))
    pd.testing.assert_frame_equal(last_day, next_first)
    assert calendar.step is MONTH
    assert last_day.core_hours.sum() == pytest.approx(weekly.core_hours.sum())
    month = weekly.monday.dt.tz_localize(None).dt.to_period("M").dt.to_timestamp().dt.tz_localize("UTC")
    truth = weekly.groupby(["site", "vo", month.rename("week")]).core_hours.sum()
    sums = last_day.set_index(["site", "vo", "week"]).core_hours
    pd.testing.assert_series_equal(sums[sums > 0], truth[truth > 0], check_index_type=False, check_freq=False)


def test_a_silent_month_is_a_row_until_the_series_has_ended_and_the_running_month_is_left_out():
    ends = ["2025-03-31", "2025-04-30", "2025-05-31", "2025-06-30", "2025-10-31", "2026-01-31", "2026-02-19"]
    raw = pd.DataFrame({"EndTime": ends, "SiteName": "A", "VOName": ["x"] * 3 + ["y"] * 4, "CoreHours": [1, 2, 3, 4, 5, 6, 7]})
    busy = pd.date_range("2022-01-31", "2026-01-31", freq="ME").strftime("%Y-%m-%d")
    raw = pd.concat([raw, pd.DataFrame({"EndTime": busy, "SiteName": "B", "VOName": "z", "CoreHours": 1})])
    raw = raw.assign(WallDuration=3600, CpuDuration=3600, Njobs=1, Processors=1)
    clean, calendar = clean_of(raw, window_end=pd.Timestamp("2026-02-20", tz="UTC"), ended_weeks=13)
    assert calendar.step is MONTH
    hours = {vo: dict(zip(t.week.dt.strftime("%y-%m"), t.core_hours, strict=True)) for vo, t in clean[clean.site == "A"].groupby("vo")}
    assert hours == {
        "x": {"25-03": 1, "25-04": 2, "25-05": 3, "25-06": 0, "25-07": 0, "25-08": 0},
        "y": {"25-06": 4, "25-07": 0, "25-08": 0, "25-09": 0, "25-10": 5, "25-11": 0, "25-12": 0, "26-01": 6},
    }


# ------------------------------------------------------------------------------------------------------- what is found


def night_of(raw):
    """One night by `raw`: (SeriesGrid, judged rows with their series, whether each holds a finding, the detector, the Resolution)."""
    clean, _ = clean_of(raw)
    grid = SeriesGrid.of_table(clean)
    nights = Nights(grid, np.ones((len(grid.series), 2), int), MONTH.count(78), MONTH.count(3), MONTH.age(8), **RATES)
    ordinary, judged = nights.parts(len(grid.weeks))
    detector = fit_detector(nights, ordinary, lambda rows: NullDetector(), lambda rows: {}, blocks=4)
    pool = nights.pool(len(grid.weeks), judged)
    tests = all_tests(grid.features, nights.codes, grid.panel, judged, detector)
    silences = silences_of(grid.core, pool, np.arange(len(grid.series)))[judged]
    scored = judge_by(WEIGHTS, tests, detector.calibration, silences, pool=pool)
    scored = grid.series.loc[np.nonzero(judged)[0]].reset_index(drop=True).join(scored)
    chances = report_chances(scored.p_ranked.to_numpy(), scored.early.to_numpy(), 1, pool)
    is_finding = findings_among(chances, **nights.finding_rates) & (scored.p_value <= RATES["alarm_rate"])
    can = resolution(grid.core, pool, judged, len(detector.calibration), min_age=nights.min_age, **RATES)
    return SimpleNamespace(grid=grid, scored=scored, is_finding=is_finding, detector=detector, can=can)


def test_a_series_that_falls_silent_in_the_last_of_15_months_is_found_and_quiet_ones_are_not():
    found, false = [], 0
    for seed in range(5):
        pair = (f"S{seed % 4}", f"V{seed % 3}")
        night = night_of(by_month(weekly_hours(15, seed=seed), silent=[pair]))
        named = night.scored[night.is_finding]
        is_pair = (named.site == pair[0]) & (named.vo == pair[1])
        found.append(is_pair.any() and (named.test[is_pair] == "silent").all())
        false += int((~is_pair).sum())
        assert night.can.silence
    assert all(found)
    assert false <= 5 * RATES["finding_rate"] + 3 * np.sqrt(5 * RATES["finding_rate"])


def test_ordinary_months_raise_no_more_alarms_than_stated():
    flagged = judged = 0
    for seed in range(10):
        night = night_of(by_month(weekly_hours(15 + 2 * seed, seed=100 + seed)))
        flagged, judged = flagged + int((night.scored.p_value <= RATES["alarm_rate"]).sum()), judged + len(night.scored)
        assert not ordinary_alarms(WEIGHTS, night.detector.calibration, RATES["alarm_rate"]).is_exceeded
    assert judged > 300
    assert flagged <= RATES["alarm_rate"] * judged + 3 * np.sqrt(RATES["alarm_rate"] * judged)


@pytest.mark.parametrize(
    ("step", "history", "n", "alarm_rate"), [(MONTH, 15, 44, 0.005), (MONTH, 15, 4, 0.01), (WEEK, 43, 1, 0.01), (WEEK, 43, 3, 0.005)]
)
def test_the_history_that_is_named_is_enough(step, history, n, alarm_rate):
    rates, age, n_judged = RATES | {"alarm_rate": alarm_rate}, step.age(8), step.count(3)

    def can_of(length):
        core = np.full((n, length), 10.0)
        judged = np.broadcast_to(np.arange(length) >= length - n_judged, core.shape)
        pool = silence_pool(core, np.ones(n, bool), judged, step=step, **rates)
        return resolution(core, pool, judged, n * (length - age - n_judged), min_age=age, **rates)

    can = can_of(history)
    assert not can.alone
    assert can.step is step
    assert can.other_weeks > history
    assert all(can_of(can.other_weeks + more).alone for more in (0, 1, 10))


def test_what_a_night_can_find_is_said_in_months():
    rates = {"finding_rate": 0.2, "false_discovery_rate": 0.05}
    none = Resolution(False, 0, False, 0.02, 14, 26, MONTH)
    sentence = resolution_sentence(none, 5, 49, alarm_rate=0.01, **rates)
    assert sentence == (
        "No change of a single series can be found: 49 ordinary series-months of 5 series give no rank below 0.02 at an alarm rate of 1.00%, and "
        "no series was active in each of 12 months or more; the silence of a series that is always active needs about 14 months of history, "
        "other changes need 26."
    )
    silence = resolution_sentence(Resolution(True, 3, False, 0.02, 14, 26, MONTH), 5, 49, alarm_rate=0.01, **rates)
    assert silence.endswith("(about 26 months of history are enough).")
    grid = SimpleNamespace(step=MONTH, weeks=MONTH.moments(MONTH.number(times("2025-11-01", "2025-12-01", "2026-01-01"))))
    [closed] = weeks_without_anybody(grid, np.array([True]))
    assert closed.startswith("No series of the accounting has a core hour in the month of 2026-01-01")


def test_a_source_that_is_published_by_the_month_is_not_silent_before_the_next_month_is_due():
    status = {"state": "stale", "newest": "2026-01-31 00:00:00+00:00"}
    assert silent_source_words(status, ["A"], "2026-03-01", step=MONTH) == []
    assert len(silent_source_words(status, ["A"], "2026-03-20", step=MONTH)) == 1
    assert len(silent_source_words(status, ["A"], "2026-03-01", step=WEEK)) == 1


def test_the_last_month_of_the_simulation_is_the_one_that_the_tests_judge():
    clean, _ = clean_of(by_month(weekly_hours(15)))
    assert clean.week.max() == LAST.start_time.tz_localize("UTC")
