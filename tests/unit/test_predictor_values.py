"""Durations of transfers by hand and at the edges: parts in time, tables of quantiles, losses, batches, quiet hours, blocks."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import helpers
from nightshift.detectors import transfers_predictors, transfers_quantiles
from nightshift.detectors.transfers_limits import Limits, block_rows, quiet_block, ranks_among
from nightshift.detectors.transfers_predictors import (
    NUMBERS,
    fit_quantile_table,
    fit_scaling,
    in_whole_days,
    is_done,
    quiet_hours,
    split_by_time,
    split_transfers,
    stored_predictor,
)
from nightshift.detectors.transfers_quantiles import (
    Chunking,
    Sequence,
    batch_of,
    chunk_batches,
    number_combinations,
    pinball,
    predict_quantiles,
    quantiles_of_tables,
    standard_score,
    stream_batches,
    tabular_inputs,
)

AT = pd.Timestamp("2026-01-05", tz="UTC")


def hours(*values):
    return AT + pd.to_timedelta(list(values), unit="h")


# --------------------------------------------------------------------------------------------------------------- parts


def test_what_ends_with_its_part_is_purged_and_the_last_part_keeps_all():
    start, end = hours(0, 1, 2, 3, 4, 5, 6, 7), hours(1, 3.9, 4, 5, 5, 9, 6.9, 99)
    part = split_by_time(start, end, {"train": 0.5, "test": 0.25, "late": 0.25})
    assert list(part) == ["train", "train", "purged", "purged", "test", "purged", "late", "late"]
    for wrong in ((start[::-1], end, {"train": 1.0}), (start, end, {"train": 0.5, "test": 0.49})):
        with pytest.raises(ValueError, match="must sum to 1"):
            split_by_time(*wrong)
    assert list(split_by_time(start, end, {"train": 0.1 + 0.2, "test": 0.7})).count("train") >= 1, "a sum in floating point"


def test_too_few_transfers_are_not_split():
    rows = pd.DataFrame({"started": hours(*range(20)), "finished": hours(*np.arange(20) + 0.5)})
    shares = {"validation": 0.2, "calibration": 0.2, "test": 0.2}
    part = split_transfers(rows, shares, least=20, day="d")
    assert [list(part).count(name) for name in ("train", "validation", "calibration", "test")] == [8, 4, 4, 4]
    with pytest.raises(ValueError, match="at least 21"):
        split_transfers(rows, shares, least=21, day="d")
    with pytest.raises(ValueError, match="less than a tenth"):
        split_transfers(rows, dict.fromkeys(shares, 0.301), least=20, day="d")
    with pytest.raises(ValueError, match="too close together"):
        split_transfers(rows.assign(finished=hours(*[99] * 20)), shares, least=20, day="d")


def test_a_transfer_is_done_that_has_a_start():
    table = pd.DataFrame({"state": ["done", "done", "failed"], "started": [AT, pd.NaT, AT]})
    assert is_done(table).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("change", "before", "is_compared"),
    [
        ({}, "2026-01-21", True),
        ({}, "2026-01-20", False),  # it has learned of that day
        ({"numbers": dict.fromkeys(NUMBERS[1:], 0)}, "2026-01-21", False),
        ({"file": "gone.json"}, "2026-01-21", False),
    ],
)
def test_a_stored_predictor_is_compared_that_reads_the_same_numbers_and_does_not_know_the_days(tmp_path, change, before, is_compared):
    paths = SimpleNamespace(encoders=tmp_path / "encoders", models=tmp_path / "models")
    assert stored_predictor(paths, before) == {}
    inputs = {"numbers": dict.fromkeys(NUMBERS, 0), "training_window": ["2026-01-01", "2026-01-20"], "file": "table.json"} | change
    helpers.write_json(inputs, paths.encoders / "inputs.json")
    helpers.write_json([], paths.models / "table.json")
    stored = {"stored": inputs | {"path": str(paths.models / "table.json")}}
    assert stored_predictor(paths, before) == (stored if is_compared else {})


# -------------------------------------------------------------------------------------------------------------- tables


def test_a_combination_of_five_rows_has_quantiles_of_its_own():
    frame = pd.DataFrame({"link": ["a"] * 5 + ["b"] * 4 + [None], "src": ["s"] * 9 + ["t"]})
    target = np.array([1.0, 2, 3, 4, 5, 10, 10, 10, 10, 7])
    tables = fit_quantile_table(frame, target, ["link", "src"])
    assert [one["keys"] for one in tables] == [["link", "src"], ["src"], []]
    assert [len(one["quantiles"]) for one in tables] == [1, 1, 1]
    found = quantiles_of_tables(tables, frame)
    assert found[0].tolist() == pytest.approx([3, 4.6, 4.96])
    assert found[5].tolist() == pytest.approx(np.quantile(target[:9], [0.5, 0.9, 0.99]))
    assert found[9].tolist() == pytest.approx(np.quantile(target, [0.5, 0.9, 0.99]))
    assert np.isnan(quantiles_of_tables(tables[:1], frame)[5:]).all()
    number, texts = number_combinations(frame, ["link", "src"])
    assert (number.tolist(), len(texts)) == ([0] * 5 + [1] * 4 + [-1], 2)
    assert [part if isinstance(part, list) else part.tolist() for part in number_combinations(frame, [])] == [[0] * 10, [""]]


def test_a_single_transfer_is_the_table_of_all():
    assert [table["quantiles"] for table in fit_quantile_table(pd.DataFrame({"link": ["a"]}), np.array([7.0]), ["link"])] == [{}, {"": [7.0] * 3}]


def test_quantiles_of_three_regressors_never_cross(monkeypatch):
    models = [SimpleNamespace(predict=lambda table, times=times: times * table[:, 0] + table[:, 1]) for times in (3, 1, 2)]
    monkeypatch.setattr(transfers_quantiles, "stored_model", lambda path: models)
    numbers, codes = np.array([[1.0], [2]]), np.array([[10], [999]])
    assert predict_quantiles(Path("trees.skops"), pd.DataFrame(index=[0, 1]), numbers, codes).tolist() == [[11, 12, 13], [2, 4, 6]]
    assert predict_quantiles(Path("trees.skops"), pd.DataFrame(), numbers[:0], codes[:0]).shape == (0, 3)


def test_numbers_are_scaled_by_those_that_count_and_a_constant_by_one():
    rows = pd.DataFrame({"a": [1.0, 3, 99], "b": [2.0, 2, 2], "c": [np.nan] * 3})
    scaling = fit_scaling(rows, ["a", "b", "c"], np.array([True, True, False]))
    assert scaling == {"a": {"mean": 2, "std": pytest.approx(np.sqrt(2))}, "b": {"mean": 2, "std": 1}, "c": {"mean": 0, "std": 1}}


def test_losses_and_scores_by_hand():
    predicted = np.array([[1.0, 2, 4]])
    assert pinball(np.array([3.0]), predicted)[0] == pytest.approx((0.5 * 2 + 0.9 * 1 + 0.01 * 1) / 3)
    assert pinball(np.array([0.0]), predicted)[0] == pytest.approx((0.5 * 1 + 0.1 * 2 + 0.01 * 4) / 3)
    assert standard_score(np.array([3.0, 3.0]), np.array([[1, 2, 4], [1, 1.05, 4]])).tolist() == pytest.approx([2, 20])
    assert tabular_inputs(np.array([[0.5]]), np.array([[249, 250]])).tolist() == [[0.5, 249, 0]]


# ------------------------------------------------------------------------------------------------------------- batches

SEQUENCE = Sequence(np.array([[1.0, 2], [np.nan, 4], [5, 6], [7, 8], [9, 10]]), np.arange(5)[:, None], np.arange(5) / 10)


def test_rows_behind_the_last_only_fill_up():
    x, target, weight = batch_of(SEQUENCE, np.full(5, 2.0), np.array([[0, 1], [4, 5]]), hide=(np.array([False, True]), [1]))
    assert x["numbers"].tolist() == [[[1, 2], [0, 4]], [[9, 0], [9, 0]]]
    assert x["codes"].ravel().tolist() == [0, 1, 4, 4]
    assert target.ravel().tolist() == pytest.approx([0, 0.1, 0.4, 0.4])
    assert weight.tolist() == [[2, 2], [2, 0]]


def test_chunks_without_weight_are_left_out_and_the_last_batch_is_filled_up():
    weight = np.array([1.0, 0, 0, 0, 1])
    chunks = chunk_batches(SEQUENCE, weight, chunking=Chunking(length=2, batch=2), seed=1)
    assert (len(chunks), sorted(chunks.firsts)) == (1, [0, 4])
    x, _, shown = chunks[0]
    assert (x["numbers"].shape, shown.sum()) == ((2, 2, 2), 2)
    assert len(chunk_batches(SEQUENCE, np.ones(5), chunking=Chunking(length=2, batch=2), seed=1)) == 2
    assert (Chunking().length, Chunking().batch) == (512, 32)


def test_of_about_half_of_the_chunks_what_is_to_be_hidden_is_hidden():
    sequence = Sequence(np.ones((64, 2)), np.zeros((64, 1)), np.zeros(64))
    x, _, _ = chunk_batches(sequence, np.ones(64), chunking=Chunking(length=1, batch=64), seed=1, hide=[0])[0]
    assert 0.25 < (x["numbers"][..., 0] == 0).mean() < 0.75
    assert (x["numbers"][..., 1] == 1).all()


def test_streams_end_with_the_last_row_that_has_weight():
    streams = stream_batches(SEQUENCE, np.array([1.0, 1, 1, 1, 0]), chunking=Chunking(length=1, batch=2), seed=1)
    assert len(streams) == 2
    assert [streams[k][0]["codes"].ravel().tolist() for k in range(2)] == [[0, 2], [1, 3]]
    assert len(stream_batches(SEQUENCE, np.ones(5), chunking=Chunking(length=1, batch=2), seed=1)) == 3
    assert len(streams.hidden) == 1


# --------------------------------------------------------------------------------------------------------- quiet hours


def scored(*rows):
    """Transfers of (hour, link, score)."""
    table = pd.DataFrame(rows, columns=["hour", "link", "score"])
    return table.assign(started=hours(*table.hour), src="s" + table.link.str[0], dst="d" + table.link.str[0])


@pytest.mark.parametrize(("score", "is_quiet"), [(0.5 + 2.33 * 0.8 / 2.56 - 0.001, True), (0.5 + 2.33 * 0.8 / 2.56 + 0.001, False)])
def test_a_stretch_is_an_incident_beyond_the_99_percent_point_of_the_bulk(score, is_quiet):
    rows = scored((0, "a", score), (0.5, "a", score), (0.9, "a", score), (0, "b", 0.0))
    quiet = quiet_hours(rows, rows.score.to_numpy(), np.ones(4, bool), usual=np.linspace(0, 1, 101))
    assert quiet.tolist() == [is_quiet] * 3 + [True]


@pytest.mark.parametrize(
    ("when", "quiet"),
    [((0, 0.5), [True, True]), ((0, 0.5, 0.9), [False] * 3), ((0, 2, 5), [False] * 3), ((0, 7, 23), [False] * 3), ((0, 7, 25), [True] * 3)],
)
def test_three_transfers_of_an_hour_six_or_a_day_are_a_stretch(when, quiet):
    rows = scored(*[(hour, "a", 9.0) for hour in when])
    assert quiet_hours(rows, rows.score.to_numpy(), np.ones(len(rows), bool), usual=np.linspace(0, 1, 101)).tolist() == quiet


def test_days_are_parted_by_how_many_transfers_they_have_on_average():
    started = pd.Series(hours(*np.arange(0, 24 * 4, 6)))  # four a day, for four days
    rows = np.ones(16, bool)
    rows[0] = False
    assert [len(part) for part in in_whole_days(started, rows, most=8)] == [7, 8]
    assert [len(part) for part in in_whole_days(started, rows, most=1)] == [3, 4, 4, 4]
    assert [len(part) for part in in_whole_days(started, rows)] == [15]
    assert in_whole_days(started, np.zeros(16, bool)) == []


# -------------------------------------------------------------------------------------------------------------- blocks


def test_a_block_follows_as_many_quiet_ones_as_calibrate():
    calibration = pd.DataFrame({"link": ["a -> b"] * 199, "score": np.arange(199.0)})
    limits = Limits(calibration, 0.01)
    assert (limits.size, block_rows(199, 0.01), limits.level) == (block_rows(199, 0.01), limits.size, 0.01)
    assert limits.p_values(np.array([198.5, 197.5, 0]), ["a -> b"] * 3) == pytest.approx([1 / 200, 2 / 200, 1])
    later = pd.DataFrame({"link": ["c -> d"] * 10, "score": np.full(10, 500.0)})
    limits.follow(later, np.full(10, 0.01))  # all of them are alarms
    assert (len(limits.reference), limits.reference.score.iloc[0], limits.level) == (199, 10, pytest.approx(0.0005))
    short = Limits(calibration.head(98), 0.01)
    short.follow(later, np.ones(10))
    assert short.level == 0.01, "where no alarm is possible the level stays"
    just = Limits(calibration.head(99), 0.01)
    just.follow(later, np.ones(10))
    assert just.level == pytest.approx(0.01 * np.exp(0.4))


def test_a_link_of_enough_transfers_is_judged_by_its_own():
    links = ["a -> b"] * 3 + ["c -> d"] * 5
    p = ranks_among([2.5, 2.5], np.array([0.0, 1, 2, 3, 4, 5, 6, 7]), ["a -> b", "c -> d"], links, least=3)
    assert p == pytest.approx([1 / 4, 6 / 6])
    p = ranks_among([2.5, 2.5], np.array([0.0, 1, 2, 3, 4, 5, 6, 7]), ["a -> b", "c -> d"], links, least=4)
    assert p == pytest.approx([6 / 9, 6 / 6])


def test_what_holds_half_of_the_time_is_no_incident():
    rows = scored(*[(0, "a", 9.0)] * 3, *[(0, "b", 0.0)] * 3)
    usual = np.linspace(0, 1, 101)
    assert quiet_block(rows, usual, first=0, size=6).tolist() == [True] * 6
    rows = scored(*[(0, "a", 9.0)] * 3, *[(0, "b", 0.0)] * 4)
    assert quiet_block(rows, usual, first=0, size=7).tolist() == [False] * 3 + [True] * 4
    assert len(quiet_block(rows, usual, first=4, size=2)) == 2, "a row for each of the block, wherever it begins"
    assert quiet_block(rows, usual, first=2, size=5).tolist() == [False] + [True] * 4, "the block before is looked at too"


def test_a_duration_is_foretold_by_the_median_and_judged_by_what_is_usual(monkeypatch):
    """The columns are the median and two quantiles above it."""
    quantiles = {False: [1.0, 1.5, 3.0], True: [2.0, 2.5, 4.0]}
    monkeypatch.setattr(
        transfers_predictors, "predict_durations", lambda predictor, rows, categories, usual: np.array([quantiles[usual]] * len(rows))
    )
    started = pd.date_range("2026-01-31", periods=2, freq="h", tz="UTC")
    table = pd.DataFrame({"started": started, "log_duration": [2.0, 4.0]}, index=[7, 9])
    scored_table, memory = transfers_predictors.score_transfers({"path": "trees.skops"}, table, {})
    assert scored_table.forecast_s.tolist() == pytest.approx(np.expm1([1.0, 1.0]))
    assert scored_table.predicted_s.tolist() == pytest.approx(np.expm1([2.0, 2.0]))
    assert scored_table.score.tolist() == transfers_predictors.standard_score(np.array([2.0, 4.0]), np.array([quantiles[True]] * 2)).tolist()
    assert (scored_table.index.tolist(), memory) == ([7, 9], {})
    with pytest.raises(ValueError, match="sorted by their starts"):
        transfers_predictors.score_transfers({"path": "trees.skops"}, table[::-1], {})
