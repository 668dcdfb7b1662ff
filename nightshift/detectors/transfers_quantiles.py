"""Durations of transfers: inputs of the models, the sequence in chunks, quantiles that stored models
predict.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import encode_categories, table_key
from nightshift.detectors.base import check_scores
from nightshift.models import stored_model


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


def scale_numbers(numbers, scaling):
    """Scale the columns of `numbers`, float32 (n, F), in place, as `encode_inputs` does those of a frame."""
    for column, moments in zip(numbers.T, scaling.values(), strict=True):
        column -= moments["mean"]
        column /= moments["std"]


def tabular_inputs(numbers, codes):
    """Model inputs as one table (n, F + C) for models of scikit-learn: boosting takes 255 categories per
    column at most.
    """
    return np.hstack([numbers, np.where(codes < 250, codes, 0)])


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
    """How a sequence is cut for a gradient step: rows of a chunk, chunks of a batch."""

    length: int = 512
    batch: int = 32


def batch_of(sequence, weight, rows, *, hide=()):
    """Gather rows (B, T) of a Sequence as what Keras trains on: ({"numbers": (B, T, F), "codes": (B, T, C)},
    target (B, T), weight (B, T)).

    Rows after the last only fill up: they have weight 0. What is missing is 0, the mean. hide : (which of
    the B chunks, which columns of numbers) are made 0.
    """
    inside, at = rows < len(sequence.target), np.minimum(rows, len(sequence.target) - 1)
    numbers = np.nan_to_num(sequence.numbers[at]).astype("float32")
    if len(hide):
        chunks, columns = hide
        numbers[np.ix_(chunks, range(rows.shape[1]), columns)] = 0
    x = {"numbers": numbers, "codes": sequence.codes[at].astype("int32")}
    return x, sequence.target[at].astype("float32"), (weight[at] * inside).astype("float32")


def chunk_batches(sequence, weight, *, chunking, seed, hide=()):
    """A Keras dataset over a Sequence, cut into chunks in random order, for a network that remembers nothing.

    weight (n,) : of each row in the loss. Chunk k holds rows [k * length, (k + 1) * length); those without
    weight are left out. Batches are those of `batch_of`; the columns `hide` are 0 in a random half of the
    chunks.
    """
    from keras.utils import PyDataset

    length, batch, n = chunking.length, chunking.batch, len(sequence.target)

    class Chunks(PyDataset):  # a class lives until garbage is collected: what is large belongs to the object
        rng = np.random.default_rng(seed)

        def __init__(self, sequence, weight):
            super().__init__()
            self.sequence, self.weight = sequence, weight
            firsts = np.arange(0, n, length)
            self.firsts = firsts[np.add.reduceat(weight, firsts) > 0] if n else firsts
            self.on_epoch_end()

        def __len__(self):
            return -(-len(self.firsts) // batch)

        def __getitem__(self, b):
            # the last batch is filled up with empty chunks: one shape, one compilation
            firsts = np.full(batch, n)
            part = self.firsts[b * batch : (b + 1) * batch]
            firsts[: len(part)] = part
            rows = firsts[:, None] + np.arange(length)
            hidden = self.rng.random(batch) < 0.5, hide
            return batch_of(self.sequence, self.weight, rows, hide=hidden)

        def on_epoch_end(self):
            self.firsts = self.rng.permutation(self.firsts)

    return Chunks(sequence, weight)


def stream_batches(sequence, weight, *, chunking, seed, hide=()):
    """A Keras dataset over a Sequence, cut into parallel streams that a stateful network reads in step.

    weight (n,) : of each row in the loss. The rows up to the last one with weight are cut into `batch`
    streams of equal length, one after the other in time; batch k holds steps [k * length, (k + 1) * length)
    of each. So a row costs one step, and what a network remembers of a stream goes on in the next batch,
    whose order must stay: `shuffle=False`. What the last stream lacks is filled up with rows of weight 0.
    Batches are those of `batch_of`. In each epoch, the columns `hide` are 0 in another half of the
    streams, from end to end, so that nothing else is remembered of them.
    """
    from keras.utils import PyDataset

    n_streams, length = chunking.batch, chunking.length
    n_batches = -(-(int(np.flatnonzero(weight)[-1]) + 1) // (n_streams * length))
    firsts = np.arange(n_streams)[:, None] * n_batches * length

    class Streams(PyDataset):  # as Chunks
        rng = np.random.default_rng(seed)

        def __init__(self, sequence, weight):
            super().__init__()
            self.sequence, self.weight = sequence, weight
            self.on_epoch_end()

        def __len__(self):
            return n_batches

        def __getitem__(self, k):
            rows = firsts + k * length + np.arange(length)  # (streams, length)
            return batch_of(self.sequence, self.weight, rows, hide=(self.hidden, hide))

        def on_epoch_end(self):
            self.hidden = self.rng.permutation(n_streams)[: n_streams // 2]

    return Streams(sequence, weight)


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
    nothing = [np.nan] * len(QUANTILES)
    out = np.full((len(frame), len(QUANTILES)), np.nan)
    for table in tables:
        number, texts = number_combinations(frame, table["keys"])
        found = np.array([*(table["quantiles"].get(text, nothing) for text in texts), nothing])
        left = np.isnan(out[:, 0])
        out[left] = found[number[left]]
    return out


def number_combinations(frame, keys):
    """Number the combinations of the columns `keys`: (int (n,), the number of that of each row, -1 where a
    name is missing; their texts, as `table_key` has them, sorted). No keys: one combination, the empty text.

    Only a row of each combination becomes a text, so that millions of rows stay small.
    """
    if not keys:
        return np.zeros(len(frame), int), [""]
    same = frame.groupby(keys, observed=True, dropna=False, sort=False).ngroup()
    firsts = np.flatnonzero(~same.duplicated())
    number, texts = pd.factorize(table_key(frame.iloc[firsts], keys), sort=True)
    return number[same.to_numpy()], list(texts)


def predict_quantiles(path, frame, numbers, codes):
    """Quantiles of the log target predicted by the stored model `path`: float (n, 3), increasing along the
    last axis.

    The suffix says how: .json a quantile table over columns of `frame`, or {"mean_of": files beside it}, the
    mean of their quantiles; .skops one scikit-learn regressor per quantile over [numbers, codes], by
    `stored_model`; .keras a sequence network, which reads the rows in their order and remembers nothing
    before the first. No rows: an empty array.
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
        table = tabular_inputs(numbers, codes)
        out = np.column_stack([model.predict(table) for model in stored_model(path)])
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
