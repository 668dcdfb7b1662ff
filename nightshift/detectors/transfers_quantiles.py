"""Durations of transfers: inputs of the models, the sequence in chunks, quantiles that stored models
predict.
"""

import json
from dataclasses import dataclass

import numpy as np

from helpers import encode_categories, table_key
from nightshift.detectors.base import check_scores
from nightshift.models import load_model


def encode_inputs(frame, scaling, vocabulary, categories, hide=()):
    """Model inputs of `frame`: (float32 (n, n_numbers), int32 (n, n_categories)).

    scaling : {column: {"mean", "std"}} of the training rows; a missing number stays NaN. hide : positions of
    numbers to be made missing. vocabulary : {column: codes known when the model was trained}; later codes
    become 0, unseen.
    """
    scaled = np.column_stack(
        [(frame[c].to_numpy("float32", na_value=np.nan) - s["mean"]) / s["std"] for c, s in scaling.items()]
    )
    scaled[:, list(hide)] = np.nan
    return scaled, encode_categories(
        frame, {c: categories[c][:size] for c, size in vocabulary.items()}
    ).to_numpy()


@dataclass(frozen=True)
class Sequence:
    """One long sequence in the order of time: numbers (n, F), codes (n, C), target (n,); memory maps will
    do.
    """

    numbers: np.ndarray
    codes: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Chunking:
    """How a sequence is cut: rows that a chunk reads first, rows that it predicts, chunks per batch."""

    warmup: int = 0
    length: int = 512
    batch: int = 32


def chunk_batches(sequence, weight, *, chunking, seed=None, hide=()):
    """A Keras dataset over a Sequence, cut into chunks with a loss at many steps and no window held in
    memory.

    weight (n,) : of each row in the loss. Chunk k predicts rows [k * length, (k + 1) * length) after reading
    the `warmup` rows before them, so that every target sees at least `warmup` predecessors and a row costs
    1 + warmup / length steps. What is missing, or before the first row, is 0, the mean. Batches are
    ({"numbers": (B, T, F), "codes": (B, T, C)}, (B, T), (B, T)) with T = warmup + length; the weight of
    warm-up steps is 0. With `seed` (training) chunks are shuffled, those without weight left out, and the
    columns `hide` are 0 in a random half of them. Else in order.
    """
    from keras.utils import PyDataset

    numbers, codes, target = sequence.numbers, sequence.codes, sequence.target
    warmup, length, batch = chunking.warmup, chunking.length, chunking.batch

    class Chunks(PyDataset):
        rng = np.random.default_rng(seed)

        def __init__(self):
            super().__init__()
            firsts = np.arange(0, len(target), length)
            has_loss = np.add.reduceat(weight, firsts) > 0 if len(target) else firsts
            self.firsts = firsts if seed is None else self.rng.permutation(firsts[has_loss])

        def __len__(self):
            return -(-len(self.firsts) // batch)

        def __getitem__(self, b):
            # the last batch is filled up with empty chunks: one shape, one compilation
            firsts = np.full(batch, len(target))
            part = self.firsts[b * batch : (b + 1) * batch]
            firsts[: len(part)] = part
            rows = firsts[:, None] + np.arange(-warmup, length)  # (B, T)
            inside = (rows >= 0) & (rows < len(target)) & (firsts < len(target))[:, None]
            at = np.where(inside, rows, 0)
            w = np.where(inside & (np.arange(-warmup, length) >= 0), weight[at], 0).astype("float32")
            x = {
                "numbers": np.nan_to_num(np.where(inside[..., None], numbers[at], 0)).astype("float32"),
                "codes": np.where(inside[..., None], codes[at], 0).astype("int32"),
            }
            if seed is not None and len(hide):
                x["numbers"][np.ix_(self.rng.random(batch) < 0.5, range(warmup + length), hide)] = 0
            return x, target[at].astype("float32"), w

        def on_epoch_end(self):
            self.firsts = self.firsts if seed is None else self.rng.permutation(self.firsts)

    return Chunks()


QUANTILES = (0.5, 0.9, 0.99)  # the typical case, the edge of the usual, the edge of the possible


def pinball(target, predicted, quantiles=QUANTILES, *, maximum=np.maximum):
    """Mean pinball loss over `quantiles` (Koenker & Bassett 1978): target (...,), predicted (..., Q) ->
    (...,).

    `maximum` is `keras.ops.maximum` where the same formula serves as a training loss.
    """
    error = target[..., None] - predicted
    return sum(maximum(q * error[..., i], (q - 1) * error[..., i]) for i, q in enumerate(quantiles)) / len(
        quantiles
    )


def quantiles_of_tables(tables, frame):
    """Look up the quantiles of the rows of `frame` in the tables that `fit_quantile_table` wrote, in the
    first that has their combination: float (n, 3), NaN where none has.
    """
    out = np.full((len(frame), len(QUANTILES)), np.nan)
    for table in tables:
        found = table_key(frame, table["keys"]).map(table["quantiles"])
        fill = np.isnan(out[:, 0]) & found.notna().to_numpy()
        out[fill] = found[fill].tolist() or out[fill]
    return out


def predict_quantiles(path, frame, numbers, codes):
    """Quantiles of the log target predicted by the stored model `path`: float (n, 3), increasing along the
    last axis.

    The suffix says how: .json a quantile table over columns of `frame`, or {"mean_of": files beside it}, the
    mean of their quantiles; .skops one scikit-learn regressor per quantile over [numbers, codes], by
    `load_model`; .keras a sequence network, which reads the rows in their order and remembers nothing before
    the first. No rows: an empty array.
    """
    if not len(frame):
        return np.empty((0, len(QUANTILES)))
    content = json.loads(path.read_text()) if path.suffix == ".json" else None
    if isinstance(content, dict):
        files = [path.with_name(name) for name in content["mean_of"]]
        out = np.mean([predict_quantiles(one, frame, numbers, codes) for one in files], axis=0)
    elif content is not None:
        out = quantiles_of_tables(content, frame)
    elif path.suffix == ".skops":
        # gradient boosting takes 255 categories per column at most
        table = np.hstack([numbers, np.where(codes < 250, codes, 0)])
        out = np.column_stack([model.predict(table) for model in load_model(path)])
    else:
        out, _ = continue_quantiles(path, numbers[None], codes[None])
        return out[0]
    return np.sort(out, axis=1)


def continue_quantiles(path, numbers, codes, memory=None):
    """Quantiles predicted by the network in the file `path` (.keras) for rows that follow those of a
    `memory`: (float (B, n, 3), increasing along the last axis; the memory after the last row).

    numbers (B, n, F), codes (B, n, C) : B sequences of n rows. memory : a dict that JSON holds, as this
    function has returned it for the rows before; by default that of no row. ValueError for the memory of
    another model.
    """
    from nightshift.detectors.recurrent import fingerprint_of, load_network, predict_carried, recall, remember

    network = load_network(path, fingerprint_of(path))
    out, state = predict_carried(network, numbers, codes, recall(memory, path))
    return np.sort(out, axis=-1), remember(state, path)


def standard_score(target, predicted):
    """Distance of `target` (n,) above the predicted median, in predicted spreads (q90 - q50): float (n,),
    higher = stranger.

    predicted (n, 3) as `predict_quantiles` gives it. Spreads under 0.1 (a tenth in log duration) count as
    0.1.
    """
    scores = (target - predicted[:, 0]) / np.maximum(predicted[:, 1] - predicted[:, 0], 0.1)
    check_scores(scores, len(target), name="the predictor of durations")
    return scores
