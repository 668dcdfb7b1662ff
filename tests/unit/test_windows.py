"""Statistics of windows, rates of counters and selected features, each against the definition of pandas or scipy, or a count by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from nightshift import compiled
from nightshift.cleaning.telemetry import counter_rates
from nightshift.detectors.telemetry_diagnosis import select_features


def by_pandas(values, window, step):
    """The same statistics from pandas, a fresh frame for each window: what rolling means, without its running sums. (n_windows, M, 11)"""
    out = []
    for start in range(0, len(values) - window + 1, step):
        rolling = pd.DataFrame(values[start : start + window]).rolling(window, min_periods=1)
        each = [getattr(rolling, name)().iloc[-1] for name in ("max", "min", "mean", "std", "skew", "kurt")]
        out.append(np.column_stack(each + [rolling.quantile(q).iloc[-1] for q in (0.05, 0.25, 0.5, 0.75, 0.95)]))
    return np.array(out).reshape(-1, values.shape[1], 11)


def assert_same(values, window, step, rtol=1e-6):
    got, expected = compiled.window_statistics(values, window, step), by_pandas(values, window, step)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-6)  # NaN must meet NaN


rng = np.random.default_rng(0)
NOISE = rng.normal(size=(200, 6))


@pytest.mark.parametrize(
    ("values", "window", "step"),
    [
        (NOISE, 60, 15),
        (NOISE[:90], 60, 1),
        (NOISE, 60, 50),  # more new samples than are ranked pair by pair
        (NOISE, 7, 20),  # windows that do not touch
        (NOISE, 200, 1),
        (np.where(rng.random((200, 6)) < 0.5, np.nan, NOISE), 20, 5),
        (np.where(rng.random((200, 6)) < 0.97, np.nan, NOISE), 20, 5),  # windows with no, one, two, three samples
        (np.round(NOISE), 30, 10),  # ties
        (np.exp(5 * NOISE), 60, 15),  # heavy tail
        (np.full((50, 2), 0.1), 10, 5),
        (np.full((50, 2), np.nan), 10, 5),
        (np.where(NOISE > 2, np.inf, NOISE), 30, 10),  # the infinite counts as missing, as in pandas
        (NOISE[:, :1], 1, 1),
        (NOISE[::2, ::-1], 60, 15),  # rows of no contiguous memory
    ],
)
def test_statistics_are_those_of_pandas(values, window, step):
    assert_same(values, window, step)


def test_a_large_counter_keeps_its_digits():
    small = rng.integers(0, 50, (120, 3)).astype(float)
    got, near_zero = compiled.window_statistics(1e12 + small, 60, 15), by_pandas(small, 60, 15)
    np.testing.assert_allclose(got[:, :, 3:6], near_zero[:, :, 3:6], rtol=1e-6)  # std, skew and kurtosis do not see the offset
    np.testing.assert_allclose(got[:, :, 2], 1e12 + near_zero[:, :, 2], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_statistics_are_those_of_pandas_on_anything(data):
    cells = st.one_of(st.just(np.nan), st.integers(-50, 50).map(lambda i: i / 4))
    values = data.draw(hnp.arrays(np.float64, st.tuples(st.integers(1, 25), st.integers(1, 2)), elements=cells))
    assert_same(values, data.draw(st.integers(1, 12)), data.draw(st.integers(1, 14)), rtol=1e-5)


def test_named_windows_are_those_of_the_same_start_and_short_input_has_none():
    every = compiled.window_statistics(NOISE, 30)
    np.testing.assert_array_equal(compiled.window_statistics(NOISE, 30, starts=[3, 3, 40, 170]), every[[3, 3, 40, 170]])
    assert compiled.window_statistics(NOISE[:29], 30).shape == (0, 6, 11)
    assert compiled.window_statistics(np.empty((40, 0)), 30).shape == (11, 0, 11)
    assert every.dtype == np.float32


@pytest.mark.parametrize("bad", [{"window": 0}, {"window": 9, "step": 0}, {"window": 9, "starts": [5, 4]}, {"window": 9, "starts": [192]}])
def test_windows_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="window_statistics"):
        compiled.window_statistics(NOISE, **bad)


def rates_of(counter, seconds=None, **more):
    rates, wraps, resets = counter_rates(np.array(counter, float)[:, None], np.arange(len(counter)) if seconds is None else seconds, **more)
    return rates[:, 0].tolist(), int(wraps[0]), int(resets[0])


nan = pytest.approx(np.nan, nan_ok=True)


@pytest.mark.parametrize(
    ("counter", "rates", "wraps", "resets"),
    [
        ([0, 10, 30, 30], [nan, 10, 20, 0], 0, 0),
        ([2**32 - 30, 2**32 - 10, 5, 25], [nan, 20, 15, 20], 1, 0),
        ([3e9, 3e9 + 20, 5, 25], [nan, 20, nan, 20], 0, 1),  # a restart: as a wrap it would be 1.3e9 in a second, beside 20
        ([500, 520, 5, 25], [nan, 20, nan, 20], 0, 1),
        ([2**40, 2**40 + 7, 3, 10], [nan, 7, nan, 7], 0, 1),  # more than 32 bits do not wrap there
        ([10, np.nan, 30, 40], [nan, nan, nan, 10], 0, 0),
        ([7], [nan], 0, 0),
    ],
)
def test_rates_know_wraps_resets_and_the_unknown(counter, rates, wraps, resets):
    assert rates_of(counter) == (rates, wraps, resets)


def test_a_rate_over_a_gap_or_back_in_time_is_unknown():
    assert rates_of([0, 10, 50, 60, 61], seconds=[0.0, 1, 5, 6, 6]) == ([nan, 10, nan, 10, nan], 0, 0)
    assert rates_of([0, 10, 50], seconds=[0.0, 10, 20]) == ([nan, 1, 4], 0, 0)  # the usual step is found, or given
    assert rates_of([0, 10, 50], seconds=[0.0, 10, 20], period_s=1) == ([nan, nan, nan], 0, 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30), st.integers(0, 2**32 - 1))
def test_rates_give_back_the_increases_of_a_32_bit_counter(increases, first):
    increases = [1_000_000, *increases]  # what is usual is seen before the counter may wrap
    counter = np.cumsum([first, *increases]) % 2**32
    rates, wraps, resets = rates_of(counter)
    if counter[1] > counter[0]:
        assert rates[1:] == increases
        assert (wraps, resets) == ((first + sum(increases)) // 2**32, 0)


def runs_of(n_apps=2, n_runs=24, n_features=30, windows=5):
    """Windows of runs of which the odd ones leak memory: `f0` tells it in the first application only, the others are noise."""
    table = pd.MultiIndex.from_product([range(n_apps), range(n_runs), range(windows)], names=["app", "job_id", "w"]).to_frame(index=False)
    table = table.assign(anomaly=np.where(table.job_id % 2, "memleak", "none"), node_id="n1")
    noise = pd.DataFrame(np.random.default_rng(1).normal(size=(len(table), n_features)), columns=[f"f{i}" for i in range(n_features)])
    noise["f0"] += 5 * ((table.anomaly == "memleak") & (table.app == 0))
    table["job_id"], table["app"] = (table.app * 1000 + table.job_id).astype(str), "app" + table.app.astype(str)
    return pd.concat([table, noise], axis=1), list(noise)


def test_selection_is_scipy_s_test_on_runs_adjusted_together():
    windows, features = runs_of()
    windows.loc[windows.job_id == "3", "f7"] = np.nan  # a run that lacks a metric is left out of its tests only
    windows = pd.concat([windows, windows.head(5).assign(anomaly="", f1=1e9)], ignore_index=True)  # the unlabelled do not speak
    table = select_features(windows, features, 1.0)
    runs = windows[windows.anomaly != ""].groupby(["app", "anomaly", "job_id"])[features].median()
    raw = {}
    for app in ("app0", "app1"):
        for f in features:
            sick, well = runs.loc[(app, "memleak")][f].dropna(), runs.loc[(app, "none")][f].dropna()
            raw[app, f] = stats.mannwhitneyu(sick, well, alternative="two-sided").pvalue
    adjusted = pd.Series(stats.false_discovery_control(list(raw.values())), pd.MultiIndex.from_tuples(raw))
    for app in ("app0", "app1"):
        np.testing.assert_allclose(table[app, "memleak"].loc[features], adjusted[app].loc[features], rtol=1e-9)
    selected = select_features(windows, features, 0.05)
    assert list(selected.index) == ["f0"]
    assert (selected.loc["f0"] <= 0.05).tolist() == [True, False]


def test_selection_of_noise_is_almost_always_empty():
    found = 0
    for seed in range(20):
        windows, features = runs_of(n_apps=1, windows=1)
        windows[features] = np.random.default_rng(seed).normal(size=(len(windows), len(features)))
        found += len(select_features(windows, features, 0.05)) > 0
    assert found <= 4  # 1 of 20 is expected; 5 or more have a chance of 0.003


@pytest.mark.parametrize("anomaly", ["", "none", "memleak"])
def test_without_two_kinds_of_runs_all_features_are_kept(anomaly):
    windows, features = runs_of()
    table = select_features(windows.assign(anomaly=anomaly), features, 0.05)
    assert list(table.index) == features
    assert table.shape[1] == 0
