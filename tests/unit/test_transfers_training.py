"""Training on more transfers than memory holds: pieces give what all give at once, names are counted and not copied."""

import gc
import weakref
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

import helpers
from nightshift.detectors.transfers_predictors import NUMBERS, fit_quantile_table, fit_scaling, in_whole_days, predict_durations, quiet_hours
from nightshift.detectors.transfers_quantiles import (
    QUANTILES,
    Chunking,
    Sequence,
    chunk_batches,
    encode_inputs,
    quantiles_of_tables,
    scale_numbers,
    standard_score,
    stream_batches,
)
from nightshift.detectors.transfers_training import (
    half_second_losses,
    losses_of,
    measure_losses,
    predict_along,
    quantile_seconds,
    score_usual,
    stack_inputs,
    write_in_parts,
    write_test_tables,
)

BEGIN = pd.Timestamp("2026-01-28", tz="UTC")
NAMES = ["A -> B", "C -> B", "C -> D"]


def transfers_of(n=400, days=4, seed=1):
    """Transfers of some days in the order of their starts; a few have no link."""
    rng = np.random.default_rng(seed)
    started = BEGIN + pd.to_timedelta(np.sort(rng.uniform(0, days * 86400, n)), unit="s")
    numbers = {name: rng.normal(3, 2, n).astype("float32") for name in NUMBERS}
    link = pd.Categorical(np.where(rng.random(n) < 0.05, None, rng.choice(NAMES, n)), NAMES)
    ends = {"src": pd.Series(link).str[0].astype("category"), "dst": pd.Series(link).str[-1].astype("category")}
    duration = rng.lognormal(3, 1, n).round().astype("float32")
    rows = pd.DataFrame({"started": started, "link": link, "size_bin": rng.integers(0, 3, n), "duration_s": duration} | ends | numbers)
    return rows.assign(log_duration=np.log1p(duration))


def in_pieces(rows, *cuts):
    return [rows.iloc[low:high] for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


def test_tables_count_the_combinations_and_a_missing_name_is_left_to_the_coarser_ones():
    rows = transfers_of()
    target = rows.log_duration.to_numpy("float32")
    tables = fit_quantile_table(rows, target, ["link", "size_bin"], min_rows=20)
    here = (rows.link == "A -> B") & (rows.size_bin == 1)
    assert tables[0]["quantiles"]["A -> B|1"] == pytest.approx(np.quantile(target[here], [0.5, 0.9, 0.99]).tolist())
    assert list(tables[0]["quantiles"]) == sorted(tables[0]["quantiles"])
    assert [len(table["quantiles"]) for table in tables[1:]] == [3, 1]
    asked = pd.DataFrame({"link": pd.Categorical(["A -> B", None, "new"]), "size_bin": [1, 1, 7]})
    found = quantiles_of_tables(tables, asked)
    assert found.tolist() == [tables[0]["quantiles"]["A -> B|1"], tables[1]["quantiles"]["1"], tables[2]["quantiles"][""]]
    np.testing.assert_array_equal(quantiles_of_tables(tables, asked.astype({"link": object})), found)
    assert np.isnan(quantiles_of_tables(tables[:2], asked[2:])).all()


def test_inputs_that_come_in_pieces_are_scaled_in_place_as_those_of_all():
    rows, categories = transfers_of(), {"link": NAMES[:2]}
    rows.loc[5, "log_bytes"] = np.nan
    counts = np.arange(400) < 300
    sequence = stack_inputs(in_pieces(rows, 150, 170), 400, {"link": 2}, categories)
    scaling = fit_scaling(pd.DataFrame(sequence.numbers, columns=NUMBERS, copy=False), NUMBERS, counts)
    assert scaling == fit_scaling(rows[counts], NUMBERS)
    assert scaling["log_queue"]["mean"] == pytest.approx(rows.log_queue[:300].mean())
    scale_numbers(sequence.numbers, scaling)
    numbers, codes = encode_inputs(rows, scaling, {"link": 2}, categories)
    np.testing.assert_array_equal(sequence.numbers, numbers)
    np.testing.assert_array_equal(sequence.codes, codes)
    np.testing.assert_array_equal(sequence.target, rows.log_duration)
    with pytest.raises(ValueError, match="150 transfers came where 400 were expected"):
        stack_inputs([rows[:150]], 400, {"link": 2}, categories)


@pytest.mark.parametrize("cut", [chunk_batches, stream_batches])
def test_inputs_are_given_up_with_the_batches_that_were_cut_from_them(cut):
    import_module("keras.utils")  # errors that are caught when it is first imported hold on to what asked for it
    sequence = Sequence(np.ones((40, 2), "float32"), np.ones((40, 1), "int32"), np.ones(40, "float32"))
    batches = cut(sequence, np.arange(40) < 30, chunking=Chunking(4, 2), seed=1)
    inputs, targets, weights = batches[0]
    assert (inputs["numbers"].shape, targets.shape, weights.dtype) == ((2, 4, 2), (2, 4), "float32")
    held = weakref.ref(sequence.numbers)
    gc.disable()
    try:
        del sequence, batches
        assert held() is None, "only the collection of garbage would free it"
    finally:
        gc.enable()


@pytest.fixture
def predictor(tmp_path):
    rows = transfers_of(seed=2)
    helpers.write_json(fit_quantile_table(rows, rows.log_duration.to_numpy("float32"), ["link"]), tmp_path / "link.json")
    return {"path": str(tmp_path / "link.json"), "numbers": fit_scaling(rows, NUMBERS), "vocabulary": {"link": 3}, "hidden": [3]}


def test_transfers_in_pieces_are_predicted_scored_and_measured_as_all_at_once(predictor):
    rows, categories = transfers_of(), {"link": NAMES}
    pieces = list(predict_along({"table": predictor}, in_pieces(rows, 90, 130, 300), categories, since=100))
    late, predicted = pd.concat([piece for piece, _ in pieces]), np.concatenate([one["table"] for _, one in pieces])
    pd.testing.assert_frame_equal(late, rows[100:])
    np.testing.assert_array_equal(predicted, predict_durations(predictor, rows, categories)[100:])
    score, losses = score_usual(predictor, in_pieces(rows, 130), categories, since=100)
    np.testing.assert_array_equal(score, standard_score(late.log_duration.to_numpy(), predicted))
    np.testing.assert_array_equal(losses, losses_of(late, {"table": predicted}).table)
    assert losses.dtype == "float32"


def test_losses_and_tables_of_the_test_transfers_are_those_of_all_at_once(predictor, tmp_path):
    rows, categories = transfers_of().assign(attempt=1), {"link": NAMES}
    rows["request_id"] = [f"r{i}" for i in rows.index]
    late, test = rows[100:], np.arange(300) >= 180
    measured = {"late": late.index, "test": test, "path": tmp_path / "test_predictions.parquet"}
    losses, half_second = measure_losses({"table": predictor}, in_pieces(rows, 90, 130, 300), categories, **measured)
    predicted = predict_durations(predictor, late, categories)
    pd.testing.assert_frame_equal(losses, losses_of(late, {"table": predicted}))
    np.testing.assert_allclose(half_second, half_second_losses(late), rtol=1e-6)
    written = pd.read_parquet(tmp_path / "test_predictions.parquet")
    assert written.request_id.tolist() == late.request_id[test].tolist()
    np.testing.assert_allclose(written.table_q90, np.expm1(predicted[test, 1]))
    scores = pd.DataFrame({"score": np.arange(300.0), "flagged": np.arange(300) > 290, "quiet": True}, late.index)
    write_test_tables(tmp_path, in_pieces(late, 170, 230), losses=losses, scores=scores, test=test)
    back, errors = (pd.read_parquet(tmp_path / f"test_{what}.parquet") for what in ("scores", "errors"))
    assert list(back) == ["request_id", "started", "score", "flagged", "quiet"]
    assert (back.score.tolist(), back.flagged.sum()) == (list(range(180, 300)), 9)
    assert errors.attrs == {"measure": "pinball loss"}
    assert errors.row.tolist() == [f"r{i}|1" for i in range(280, 400)]
    np.testing.assert_array_equal(errors.table, losses.table[test])
    write_in_parts(late[["link", "started"]], tmp_path / "names.parquet", rows=70)
    names = late[["link", "started"]].astype({"link": "str"}).reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "names.parquet"), names)


def test_losses_and_seconds_by_hand():
    rows = pd.DataFrame({"duration_s": np.float32([0, 9]), "log_duration": np.log1p(np.float32([0, 9]))})
    predicted = {"one": np.log1p([[1.0, 2, 3], [9, 9, 9]])}
    shares = 1 - np.array([0.5, 0.9, 0.99])
    assert losses_of(rows, predicted).one.tolist() == pytest.approx([(np.log([2, 3, 4]) * shares).sum() / 3, 0], abs=1e-6)
    assert half_second_losses(rows).tolist() == pytest.approx([np.log(1.5) * np.mean(QUANTILES), np.log(10.5 / 10) * np.mean(QUANTILES)], rel=1e-5)
    assert quantile_seconds(predicted)["one_q90"].tolist() == pytest.approx([2, 9])


def test_parts_of_whole_days_hold_every_row_once():
    rows = transfers_of()
    chosen = rows.index >= 50
    parts = in_whole_days(rows.started, chosen, most=200)
    assert len(parts) > 1
    assert np.sort(np.concatenate(parts)).tolist() == list(range(50, 400))
    days = [set(rows.started.iloc[part].dt.floor("1D")) for part in parts]
    assert len(set.union(*days)) == sum(map(len, days))
    [all_of_them] = in_whole_days(rows.started, chosen)
    assert all_of_them.tolist() == list(range(50, 400))
    assert in_whole_days(rows.started[:0], chosen[:0]) == []


def test_an_hour_of_a_link_and_a_day_of_a_source_are_incidents_and_a_missing_link_is_none():
    rows, score = transfers_of(6000, days=10), np.random.default_rng(3).normal(size=6000)
    every = np.ones(6000, bool)
    hour = (rows.started.dt.floor("1h") == BEGIN + pd.Timedelta("30h")) & (rows.link == "A -> B")
    day = (rows.started.dt.floor("1D") == BEGIN + pd.Timedelta("72h")) & (rows.src == "A")
    unknown = (rows.started.dt.floor("1D") == BEGIN) & rows.link.isna()
    assert min(hour.sum(), day.sum(), unknown.sum()) > 5
    late = score + 9 * (hour | day | unknown)
    quiet = quiet_hours(rows, late, every)
    assert not quiet[hour | day].any()
    assert quiet[unknown].all()
    assert quiet[~(hour | day)].mean() > 0.95
    as_texts = rows.assign(**rows[["link", "src", "dst"]].astype(object))
    np.testing.assert_array_equal(quiet_hours(as_texts, late, every), quiet)
    assert (quiet_hours(rows, late, ~unknown.to_numpy()) == ~unknown)[:500].mean() > 0.95, "those that are not asked for are not quiet"
