"""Training on more transfers than memory holds: what is learned from in arrays, all others in pieces.

A piece is a DataFrame of some transfers; pieces come in the order of the starts, and their index is that of
the transfers, sorted.

    Inputs      of the transfers that are learned from                stack_inputs
    Predictions of pieces, whose networks remember the one before     predict_along, score_usual
    Losses      of the predictions                                    measure_losses, losses_of
    Tables      of the test transfers, and others                     write_test_tables, write_in_parts
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers import parquet_in_parts, table_key, table_of_errors
from nightshift.detectors.transfers_predictors import NUMBERS, inputs_of, predict_durations
from nightshift.detectors.transfers_quantiles import (
    QUANTILES,
    Sequence,
    continue_quantiles,
    encode_inputs,
    pinball,
    standard_score,
)


def stack_inputs(pieces, n, vocabulary, categories):
    """Put the model inputs of `n` transfers, which come in `pieces`, into one Sequence, its numbers not yet
    scaled; ValueError when they are not so many.

    pieces : DataFrames of NUMBERS, log_duration and the columns of `vocabulary` and `categories`, which are
    as in `encode_inputs`.
    """
    as_they_are = {name: {"mean": 0.0, "std": 1.0} for name in NUMBERS}
    numbers, codes = np.empty((n, len(NUMBERS)), "float32"), np.empty((n, len(vocabulary)), "int32")
    target, first = np.empty(n, "float32"), 0
    for piece in pieces:
        here = slice(first, first := first + len(piece))
        numbers[here], codes[here] = encode_inputs(piece, as_they_are, vocabulary, categories)
        target[here] = piece.log_duration
    if first != n:
        raise ValueError(f"stack_inputs: {first} transfers came where {n} were expected")
    return Sequence(numbers, codes, target)


def predict_along(candidates, pieces, categories, *, since, usual=False):
    """Predict the durations of transfers that come in `pieces`, DataFrames in the order of their starts:
    yields of each piece those transfers whose index is `since` or above, as a DataFrame, and {name: float
    (n, 3)}, their quantiles as `predict_durations` has them, by each of the `candidates`, {name: predictor}.

    What a network remembers goes on from piece to piece, so that they may be cut anywhere; those before
    `since` are read for this alone.
    """
    memories = dict.fromkeys(candidates)
    for piece in pieces:
        late, predicted = piece.index >= since, {}
        rows = piece[late]
        for name, predictor in candidates.items():
            path = Path(predictor["path"])
            if path.suffix == ".keras":
                numbers, codes = inputs_of(predictor, piece, categories, usual=usual)
                [out], memories[name] = continue_quantiles(path, numbers[None], codes[None], memories[name])
                predicted[name] = out[late]
            else:
                predicted[name] = predict_durations(predictor, rows, categories, usual=usual)
        if len(rows):
            yield rows, predicted


def score_usual(predictor, pieces, categories, *, since):
    """Score transfers that come in pieces by how long they usually take: (their scores by `standard_score`,
    (n,); the losses of the predictions, float32 (n,)).

    predictor, pieces, categories, since : as for `predict_along`.
    """
    scores, losses = [], []
    for piece, predicted in predict_along({"usual": predictor}, pieces, categories, since=since, usual=True):
        scores.append(standard_score(piece.log_duration.to_numpy("float32"), predicted["usual"]))
        losses.append(losses_of(piece, predicted).usual)
    return np.concatenate(scores), np.concatenate(losses)


def measure_losses(candidates, pieces, categories, *, late, test, path):
    """Measure the pinball losses of predictors on the late transfers: (DataFrame float32 [late transfer,
    predictor]; the losses of predictions that are half a second too short, float32 (n,)). What they predict
    of the test transfers goes to a Parquet file at `path`, in seconds.

    candidates, pieces, categories : as for `predict_along`. late : index of the late transfers, (n,), to the
    last of the pieces. test : bool (n,).
    """
    losses = pd.DataFrame(np.empty((len(late), len(candidates)), "float32"), late, list(candidates))
    half_second = np.empty(len(late), "float32")
    with parquet_in_parts(path) as write:
        for piece, predicted in predict_along(candidates, pieces, categories, since=late[0]):
            at = late.searchsorted(piece.index)
            losses.iloc[at], half_second[at] = losses_of(piece, predicted), half_second_losses(piece)
            held_out = piece[["request_id", "started", "duration_s"]].assign(**quantile_seconds(predicted))
            write(held_out[test[at]])
    return losses, half_second


def losses_of(transfers, predicted):
    """The pinball losses of the predictions of some transfers, DataFrame float32 [transfer, predictor].

    transfers : DataFrame with log_duration. predicted : {name: float (n, 3)}.
    """
    target = transfers.log_duration.to_numpy("float32")
    losses = {name: pinball(target, quantiles) for name, quantiles in predicted.items()}
    return pd.DataFrame(losses, transfers.index, dtype="float32")


def half_second_losses(transfers):
    """The losses of predictions that are half a second too short, (n,).

    transfers : DataFrame with duration_s and log_duration.
    """
    later = np.log1p(transfers.duration_s.to_numpy() + 0.5)
    return pinball(later, transfers.log_duration.to_numpy("float32")[:, None].repeat(len(QUANTILES), axis=1))


def quantile_seconds(predicted):
    """The quantiles of predictors, s: {"lstm_q50": (n,), ...}. predicted : {name: float (n, 3)} in log."""
    return {
        f"{name}_q{int(100 * q)}": np.expm1(quantiles[:, i])
        for name, quantiles in predicted.items()
        for i, q in enumerate(QUANTILES)
    }


def write_in_parts(frame, path, rows=250_000):
    """Write a frame with categories to a Parquet file of texts, so many rows at a time: as texts, names of
    millions of rows would take ten times their memory.
    """
    with parquet_in_parts(path) as write:
        for first in range(0, max(len(frame), 1), rows):
            write(frame.iloc[first : first + rows])


def write_test_tables(folder, pieces, *, losses, scores, test):
    """Write `test_scores.parquet` and `test_errors.parquet`, with a row per test transfer, to a folder.

    pieces : DataFrames of request_id, attempt and started, of late transfers. losses : of `measure_losses`,
    by the index of the late transfers (n,). scores : DataFrame score, flagged, quiet by it. test : bool (n,).
    """
    files = (Path(folder) / f"test_{what}.parquet" for what in ("scores", "errors"))
    scores_file, errors_file = map(parquet_in_parts, files)
    with scores_file as write_scores, errors_file as write_errors:
        for piece in pieces:
            at = losses.index.searchsorted(piece.index)
            rows, at = piece[test[at]], at[test[at]]
            write_scores(pd.concat([rows[["request_id", "started"]], scores.iloc[at]], axis=1))
            # no two attempts have the same name, so that rows may be named piece by piece
            named = {"row": table_key(rows, ["request_id", "attempt"]), "group": rows.started.dt.floor("6h")}
            write_errors(table_of_errors(losses.iloc[at], measure="pinball loss", **named))
