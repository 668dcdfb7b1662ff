"""The seven numbers of a histogram against a slow loop, against samples, and under what must change nothing."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nightshift.cleaning import certification_histograms
from nightshift.cleaning.certification import split_runs
from nightshift.cleaning.certification_histograms import describe, describe_table, find_copies, fingerprints, merge_rows, seven_numbers

SHARES = [0.1, 0.3, 0.5, 0.7, 0.9]
counts_of_some = hnp.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.integers(0, 50))


def on(counts, x_min=0.0, x_max=None):
    """`seven_numbers` of histograms on one axis, by default with bins of width 1."""
    counts = np.asarray(counts, float)
    ends = np.full(len(counts), x_min), np.full(len(counts), float(counts.shape[1]) if x_max is None else x_max)
    return seven_numbers(counts, *ends)


def slow(counts, x_min, x_max):
    """The same of one histogram, bin by bin, in whole numbers where it decides which bin."""
    width, total = (x_max - x_min) / len(counts), sum(counts)
    out = []
    for tenths in (1, 3, 5, 7, 9):
        below = 0
        for i, count in enumerate(counts):
            if count and 10 * (below + count) >= tenths * total:
                out.append(x_min + width * (i + (tenths * total / 10 - below) / count))
                break
            below += count
    mean = sum(count * (x_min + width * (i + 0.5)) for i, count in enumerate(counts)) / total
    variance = sum(count * (x_min + width * (i + 0.5) - mean) ** 2 for i, count in enumerate(counts)) / total
    return [*out, mean, variance**0.5]


@settings(max_examples=300, deadline=None)
@given(counts_of_some, st.floats(-100, 100), st.floats(0.1, 100))
def test_the_seven_numbers_are_those_of_a_loop_over_bins(counts, x_min, length):
    counts = counts[counts.sum(axis=1) > 0]
    expected = np.array([slow(row.tolist(), x_min, x_min + length) for row in counts]).reshape(-1, 7)
    np.testing.assert_allclose(on(counts, x_min, x_min + length), expected, rtol=1e-9, atol=1e-7)


@settings(max_examples=100, deadline=None)
@given(counts_of_some, st.integers(-1000, 1000))
def test_a_shifted_axis_shifts_quantiles_and_mean_and_not_the_rms(counts, by):
    shift = on(counts, by, by + counts.shape[1]) - on(counts)
    np.testing.assert_allclose(shift[counts.any(axis=1)], np.tile([by] * 6 + [0.0], (counts.any(axis=1).sum(), 1)), atol=1e-9)
    assert np.isnan(shift[~counts.any(axis=1)]).all()


@settings(max_examples=100, deadline=None)
@given(counts_of_some, st.floats(1e-6, 1e6))
def test_more_counts_of_the_same_shape_change_nothing(counts, times):
    np.testing.assert_allclose(on(counts * times), on(counts), rtol=1e-9, atol=1e-7)


@settings(max_examples=100, deadline=None)
@given(counts_of_some, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(counts, random):
    order = random.sample(range(len(counts)), len(counts))
    np.testing.assert_array_equal(on(counts)[order], on(counts[order]))


@settings(max_examples=100, deadline=None)
@given(counts_of_some)
def test_quantiles_increase_inside_the_axis_and_the_mirror_image_has_mirrored_numbers(counts):
    assume(counts.any(axis=1).all())
    there = on(counts)
    assert (np.diff(there[:, :5], axis=1) >= -1e-9).all()
    assert (there[:, :6] >= 0).all()
    assert (there[:, :6] <= counts.shape[1]).all()
    mirrored = on(counts[:, ::-1])
    np.testing.assert_allclose(counts.shape[1] - mirrored[:, 5], there[:, 5], atol=1e-9)
    np.testing.assert_allclose(mirrored[:, 6], there[:, 6], atol=1e-7)
    inside = (np.cumsum(counts, axis=1)[:, :, None] * 10 == np.array([1, 3, 5, 7, 9]) * counts.sum(axis=1)[:, None, None]).any(axis=1)
    both = ~inside & ~inside[:, ::-1]  # a quantile between two bins is the end of the first, from either side
    np.testing.assert_allclose((counts.shape[1] - mirrored[:, 4::-1])[both], there[:, :5][both], atol=1e-7)


def test_by_hand():
    by_hand = on([[0, 10, 0, 0], [5, 5, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]])
    np.testing.assert_allclose(by_hand[0], [1.1, 1.3, 1.5, 1.7, 1.9, 1.5, 0])  # all counts in one bin
    np.testing.assert_allclose(by_hand[1], [0.2, 0.6, 1.0, 1.4, 1.8, 1.0, 0.5])
    np.testing.assert_allclose(by_hand[2], [0.2, 0.6, 1.0, 3.4, 3.8, 2.0, 1.5])  # the median is the end of the first of two equal bins
    np.testing.assert_allclose(by_hand[3], [0.4, 1.2, 2.0, 2.8, 3.6, 2.0, np.sqrt(1.25)])
    np.testing.assert_allclose(on([[3, 1]], -2, 2)[0, :5], [-2 + 2 * 0.4 / 3, -2 + 2 * 1.2 / 3, -2 + 2 * 2 / 3, -2 + 2 * 2.8 / 3, 1.2])
    assert on([[1] * 9 + [0, 0, 1]])[0, 4] == pytest.approx(9)  # nine times 0.1 is 0.8999999999999999
    assert np.isnan(on([[0, 0, 0]])).all()
    assert on(np.zeros((0, 5))).shape == (0, 7)


@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform"])
def test_the_numbers_are_those_of_the_sample_to_a_fraction_of_a_bin(draw):
    rng = np.random.default_rng(5)
    samples = getattr(rng, draw)(size=(20, 100_000)).clip(-4, 8)
    counts = np.stack([np.histogram(sample, 120, (-4, 8))[0] for sample in samples])
    width = 0.1
    found = on(counts, -4.0, 8.0)
    np.testing.assert_allclose(found[:, :5], np.quantile(samples, SHARES, axis=1).T, atol=0.05 * width)
    np.testing.assert_allclose(found[:, 5], samples.mean(axis=1), atol=0.05 * width)
    np.testing.assert_allclose(found[:, 6], samples.std(axis=1), atol=0.05 * width)


def test_a_batch_names_what_is_no_histogram_and_spares_its_neighbours():
    contents = [[1, 2, 3], None, [1, np.nan, 3], [], [1, None, 3], [0, np.inf, 1], [4, -1, 0], [1, 1], [0, 0, 0], [1e308, 1e308, 1e308]]
    n = len(contents)
    batch = (
        pa.table(
            {
                "dataset": ["d"] * n,
                "run": [1] * n,
                "lumisection": list(range(1, n + 1)),
                "element": ["e"] * n,
                "entries": [6.0] * n,
                "x_min": [0.0] * n,
                "x_max": [3.0] * n,
                "contents": pa.array(contents, pa.list_(pa.float64())),
            }
        )
        .combine_chunks()
        .to_batches()[0]
    )
    found = describe(batch).to_pandas()
    assert found.bad.tolist() == [0, 1, 2, 1, 2, 2, 3, 0, 0, 2]
    assert found.bins.tolist() == [3, 0, 3, 0, 3, 3, 3, 2, 3, 3]
    numbers = found[["q10", "q30", "q50", "q70", "q90", "mean", "rms"]]
    assert numbers.notna().all(axis=1).tolist() == [i in (0, 7) for i in range(n)]
    np.testing.assert_allclose(numbers.iloc[0], slow([1, 2, 3], 0, 3), rtol=1e-6)
    np.testing.assert_allclose(numbers.iloc[7], slow([1, 1], 0, 3), rtol=1e-6)
    assert numbers.dtypes.eq("float32").all()


def test_a_file_is_described_batch_by_batch_and_an_empty_one_has_the_same_columns(tmp_path, monkeypatch):
    columns = ["dataset", "run", "lumisection", "element", "entries", "x_min", "x_max", "contents"]
    rows = {"dataset": ["d"] * 5, "run": [1] * 5, "lumisection": range(1, 6), "element": list("abcab"), "entries": 6.0, "x_min": 0.0, "x_max": 3.0}
    table = pd.DataFrame(rows).assign(contents=[[1.0, 2.0, float(n)] for n in range(5)])
    table.to_parquet(tmp_path / "all.parquet")
    table[:0].to_parquet(tmp_path / "none.parquet", schema=pq.read_schema(tmp_path / "all.parquet"))
    at_once = describe_table(tmp_path / "all.parquet", columns)
    monkeypatch.setattr(certification_histograms, "BATCH", 2)
    pd.testing.assert_frame_equal(describe_table(tmp_path / "all.parquet", columns), at_once)
    assert at_once.element.tolist() == list("abcab")
    assert list(describe_table(tmp_path / "none.parquet", columns)) == list(at_once)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 80), st.randoms(use_true_random=False), st.booleans(), st.integers(0, 9))
def test_runs_are_split_in_time_with_the_newest_in_the_test(n, random, timed, per_fill):
    days = random.sample(range(1000), n)
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(days, unit="D")
    runs = pd.DataFrame({"run": random.sample(range(1, 1000), n), "time": times if timed else pd.NaT})
    place = runs.time.rank() if timed else runs.run.rank()
    runs["fill"] = (place // per_fill).astype("Int64") if per_fill else pd.array([pd.NA] * n, "Int64")
    parts = split_runs(runs, test_share=0.25, validation_share=0.15, folds=5)
    assert sorted(parts.run) == sorted(runs.run)
    order = parts.time if timed else parts.run
    assert order.is_monotonic_increasing
    assert (parts.part == "test").sum() == max(round(n / 4), 1)
    assert (parts.part.iloc[-max(round(n / 4), 1) :] == "test").all()
    learned = parts[parts.part != "test"]
    assert (parts.fold[parts.part == "test"] == -1).all()
    dealt = learned.drop_duplicates("fill") if per_fill and learned.fill.nunique() >= 5 else learned
    assert dealt.fold.value_counts().reindex(range(5), fill_value=0).pipe(lambda size: size.max() - size.min()) <= 1
    if dealt is not learned:
        assert (learned.groupby("fill").fold.nunique() == 1).all()  # runs of one fill share beams
    watched = np.flatnonzero(learned.part == "validation")
    assert len(watched) == (max(round(0.15 * len(learned)), 1) if len(learned) > 1 else 0)
    if len(watched) > 1:
        assert np.ptp(np.diff(watched)) <= 1  # spread evenly


# ------------------------------------------------------------------------------------------------------------ copies


def states(*histograms):
    """What `find_copies` says of (item, contents, entries, version)."""
    item, contents, entries, version = zip(*histograms, strict=True)
    rows = {"item": item, "fingerprint": fingerprints(np.array(contents, float)), "entries": np.array(entries, float), "version": version}
    return find_copies(pd.DataFrame(rows)).tolist()


def test_a_copy_differs_in_nothing_and_of_others_the_newest_version_counts_or_none():
    assert states((1, [1, 2], 3, ""), (1, [1, 2], 3, ""), (2, [1, 2], 3, "")) == [0, 1, 0]
    assert states((1, [1, 2], 3, ""), (2, [1, 1], 2, ""), (1, [1, 3], 3, ""), (1, [1, 2], 3, "")) == [3, 0, 3, 3]
    assert states((1, [1, 2], 3, ""), (1, [1, 2], 4, "")) == [3, 3], "counts beyond the axis are measured too"
    assert states((1, [1, 2], np.nan, ""), (1, [1, 2], np.nan, "")) == [0, 1]
    assert states((1, [1, 2], 3, "V0002"), (1, [1, 3], 3, "V0010"), (1, [9, 3], 3, "V0001")) == [2, 0, 2]
    assert states((1, [1, 2], 3, "A-v1 V0001"), (1, [1, 3], 3, "B-v1 V0002")) == [3, 3], "nobody says which processing is right"
    assert states((1, [1, 2], 3, "V0002"), (1, [1, 3], 3, "V0002"), (1, [9, 3], 3, "V0001")) == [3, 3, 2]
    assert states((1, [1, 2], 3, "V0001"), (1, [1, 2], 3, "V0002")) == [0, 1]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=st.integers(-1, 1)))
def test_equal_rows_have_equal_fingerprints_and_others_do_not(counts):
    found = fingerprints(counts.astype(float))
    same = (counts[:, None] == counts[None]).all(axis=2)
    np.testing.assert_array_equal(found[:, None] == found[None], same)
    np.testing.assert_array_equal(fingerprints(counts * -0.0), fingerprints(counts * 0.0))


def test_rows_of_two_wide_tables_make_one_where_they_agree():
    nan = np.nan
    values = np.array([[1, nan], [nan, 2], [3, 4], [3, 4 + 1e-12], [5, 6], [5, 7], [nan, nan], [8, nan]])
    state, merged = merge_rows(values, [10, 10, 11, 11, 12, 12, 13, 13])
    assert state.tolist() == [0, 0, 0, 1, 3, 3, 0, 0]
    assert merged.loc[[10, 11]].to_numpy().tolist() == [[1, 2], [3, 4]]
    assert (list(merged.index), merged.loc[13, 0]) == ([10, 11, 13], 8)
    state, merged = merge_rows(np.zeros((0, 2)), [])
    assert (len(state), len(merged)) == (0, 0)
