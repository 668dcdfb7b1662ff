"""Properties that must hold for every input: no feature knows the future, round trips lose nothing, chunks see every row once."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rucio_events import states_at_starts

import helpers
from nightshift.detectors.transfers_quantiles import Chunking, Sequence, chunk_batches, stream_batches
from nightshift.statistics import p_values

seconds = st.integers(0, 60)


@st.composite
def transfers(draw):
    n = draw(st.integers(2, 25))
    start = np.sort(draw(hnp.arrays(np.int64, n, elements=seconds)))
    length = draw(hnp.arrays(np.int64, n, elements=seconds))
    group = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    rate = draw(hnp.arrays(np.float64, n, elements=st.floats(-5, 5)))
    failed = draw(hnp.arrays(np.bool_, n))
    return start, start + length, group, rate, failed


@settings(max_examples=200, deadline=None)
@given(transfers(), st.data())
def test_no_feature_changes_when_an_event_that_finishes_later_is_altered(table, data):
    start, end, group, rate, failed = table
    i = data.draw(st.integers(0, len(start) - 1))
    before = states_at_starts(start, end, group, rate, rate + 1, failed)[i]
    future = (end >= start[i]) & (np.arange(len(start)) != i)  # not finished when i starts
    future[i] = True
    new_end = np.where(future, np.maximum(start, start[i]) + data.draw(hnp.arrays(np.int64, len(start), elements=seconds)), end)
    new_rate = np.where(future, data.draw(hnp.arrays(np.float64, len(start), elements=st.floats(-9, 9))), rate)
    new_failed = np.where(future, data.draw(hnp.arrays(np.bool_, len(start))), failed)
    new_duration = np.where(future, new_rate - 3, rate + 1)
    after = states_at_starts(start, new_end, group, new_rate, new_duration, new_failed)[i]
    np.testing.assert_array_equal(after, before)


@settings(max_examples=100, deadline=None)
@given(transfers())
def test_state_features_equal_a_slow_loop(table):
    start, end, group, rate, failed = table
    state = states_at_starts(start, end, group, rate, rate, failed, time_constant_s=30)
    for i in range(len(start)):
        same_group = group == group[i]
        started = same_group & (np.arange(len(start)) < i)
        ended = same_group & (end < start[i])
        assert state[i, 0] == (started & ~ended).sum()
        good = np.flatnonzero(ended & ~failed)
        if len(good):
            w = np.exp(end[good] / 30.0)
            np.testing.assert_allclose(state[i, 1], (w * rate[good]).sum() / w.sum(), rtol=1e-4, atol=1e-4)
        else:
            assert np.isnan(state[i, 1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=30), st.lists(st.text(max_size=8), max_size=30))
def test_category_codes_go_back_to_the_same_names_and_survive_new_ones(names, later):
    first = helpers.fit_categories(pd.DataFrame({"c": pd.Series(names, dtype="str")}), ["c"])
    grown = helpers.fit_categories(pd.DataFrame({"c": pd.Series(later, dtype="str")}), ["c"], first)
    codes = helpers.encode_categories(pd.DataFrame({"c": pd.Series(names, dtype="str")}), grown).c
    assert [grown["c"][code - 1] for code in codes] == names
    assert grown["c"][: len(first["c"])] == first["c"]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.sampled_from([chunk_batches, stream_batches]))
def test_every_row_is_a_target_once_and_rows_of_a_chunk_follow_each_other(n, length, batch, cut):
    sequence = Sequence(np.arange(1.0, n + 1)[:, None], np.zeros((n, 1)), np.arange(n))
    batches, seen = cut(sequence, np.ones(n), chunking=Chunking(length, batch), seed=1), []
    for b in range(len(batches)):
        x, target, weight = batches[b]
        assert x["numbers"].shape == (batch, length, 1)
        counted = weight > 0
        seen += target[counted].astype(int).tolist()
        np.testing.assert_array_equal(x["numbers"][..., 0][counted], target[counted] + 1)  # a step reads its own row
        assert all((np.diff(target[row][counted[row]]) == 1).all() for row in range(batch))
    assert sorted(seen) == list(range(n))


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-5, 5)), hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-5, 5)))
def test_p_values_are_in_range_and_fall_with_the_score(calibration, scores):
    p = p_values(np.sort(scores), calibration)
    assert ((p >= 1 / (len(calibration) + 1)) & (p <= 1)).all()
    assert (np.diff(p) <= 0).all()


def test_the_stated_alarm_rate_is_the_real_one_for_exchangeable_scores():
    rng = np.random.default_rng(0)
    rates = [(p_values(rng.normal(size=500), rng.normal(size=400)) <= 0.05).mean() for _ in range(200)]
    assert abs(np.mean(rates) - 0.05) < 0.003
