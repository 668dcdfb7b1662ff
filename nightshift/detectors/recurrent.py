"""Networks with a memory: an LSTM whose state is carried along one sequence, in however many parts it comes.

LSTM      all steps, their gradient, a layer of Keras   State, run_steps, lstm, CarriedLSTM
Training  loss, state from epoch to epoch, validation   Pinball, CarryOver, CarriedLoss, copy_weights
Network   a Keras network taken apart at its LSTM       Network, run_network
Carried   sequences, and what came before them          predict_carried, remember, recall
"""

import hashlib
import os
from functools import lru_cache, partial
from typing import NamedTuple

os.environ.setdefault("KERAS_BACKEND", "jax")  # as in helpers.py, before Keras is there

import jax
import jax.numpy as jnp
import keras
import numpy as np

from nightshift.detectors.transfers_quantiles import pinball
from nightshift.models import load_model

BLOCKS = (16, 256, 4096)  # rows predicted at once: few shapes are compiled, whatever the number of rows


class State(NamedTuple):
    """What an LSTM remembers of each of several sequences: float32 (sequences, units) each."""

    hidden: np.ndarray
    cell: np.ndarray


# ------------------------------------------------------------------------------------------------------- LSTM


def gates_of(bent):
    """Split the tanh of halved sums, (..., 4 U), into the gates of Keras: input, forget, candidate, output.

    The logistic function is a tanh of half its argument, so that one tanh serves all four.
    """
    enter, keep, candidate, leave = jnp.split(bent, 4, axis=-1)
    return (1 + enter) / 2, (1 + keep) / 2, candidate, (1 + leave) / 2


def run_steps(projected, recurrent, state):
    """Run all steps of an LSTM: (State of (T, B, U) arrays, what it holds after each step; (T, B, 4 U), of
    which `gates_of` makes the gates of each step).

    projected : (T, B, 4 U), inputs times kernel plus bias, the gates in the order of Keras. recurrent :
    (U, 4 U), the recurrent kernel. state : State (B, U) before the first step. Activations are those of
    `keras.layers.LSTM` (Hochreiter & Schmidhuber 1997, with a forget gate).
    """
    half = np.repeat(np.array([0.5, 0.5, 1, 0.5], "float32"), recurrent.shape[0])

    def step(before, drive):
        bent = jnp.tanh((drive + before.hidden @ recurrent) * half)
        enter, keep, candidate, leave = gates_of(bent)
        cell = keep * before.cell + enter * candidate
        after = State(leave * jnp.tanh(cell), cell)
        return after, (after, bent)

    return jax.lax.scan(step, state, projected)[1]


@jax.custom_vjp
def lstm(projected, recurrent, state):
    """Run all steps of an LSTM, as `run_steps` does: (hidden (T, B, U), State (B, U) after the last step).

    Its gradient is that of Keras. The product that gives the gradient of the recurrent kernel is taken once,
    after the last step back; differentiation of a loop would take it, and add it up, at each step.
    """
    return lstm_forward(projected, recurrent, state)[0]


def lstm_forward(projected, recurrent, state):
    """Compute what `lstm` returns, and what `lstm_backward` needs."""
    states, bent = run_steps(projected, recurrent, state)
    last = State(states.hidden[-1], states.cell[-1])
    return (states.hidden, last), (recurrent, state, states, bent)


def lstm_backward(kept, slopes):
    """Compute the gradients of `lstm` by its arguments from those by its results, `slopes`."""
    recurrent, first, states, bent = kept
    by_hidden, by_last = slopes
    before = State(*(jnp.concatenate([x[None], xs[:-1]]) for x, xs in zip(first, states, strict=True)))

    def step(back, here):
        by_hidden, cell, cell_before, bent = here
        enter, keep, candidate, leave = gates_of(bent)
        by_hidden, out = by_hidden + back.hidden, jnp.tanh(cell)
        by_cell = back.cell + by_hidden * leave * (1 - out**2)
        by_gates = [
            by_cell * candidate * enter * (1 - enter),
            by_cell * cell_before * keep * (1 - keep),
            by_cell * enter * (1 - candidate**2),
            by_hidden * out * leave * (1 - leave),
        ]
        by_projected = jnp.concatenate(by_gates, axis=-1)
        return State(by_projected @ recurrent.T, by_cell * keep), by_projected

    steps = by_hidden, states.cell, before.cell, bent
    by_state, by_projected = jax.lax.scan(step, by_last, steps, reverse=True)
    n_units, n_gates = recurrent.shape
    # as a product of two matrices it takes half the time that it takes of arrays with three axes
    by_recurrent = before.hidden.reshape(-1, n_units).T @ by_projected.reshape(-1, n_gates)
    return by_projected, by_recurrent, by_state


lstm.defvjp(lstm_forward, lstm_backward)


def project(rows, cell):
    """Multiply rows (B, T, D) by the kernel of an LSTM and add its bias, for all steps in one product of two
    matrices: (T, B, 4 U).
    """
    rows = jnp.swapaxes(rows, 0, 1)
    projected = rows.reshape(-1, rows.shape[-1]) @ cell.kernel.value + cell.bias.value
    return projected.reshape(*rows.shape[:2], -1)


class CarriedLSTM(keras.layers.LSTM):
    """An LSTM of Keras, with its weights, that computes by `lstm`: to train; what is stored is one of Keras.

    streams : with it, the state of each of so many sequences goes on in the next batch, and gradients end
    where a batch ends (truncated backpropagation through time, Williams & Peng 1990). The states are
    variables of the layer: those of a `stateful` layer of Keras are lost in `fit` on JAX.
    """

    def __init__(self, units, *, streams=None, **options):
        super().__init__(units, **options)
        self.streams, self.carried = streams, None

    def build(self, sequences_shape, initial_state_shape=None):
        """Make the weights, and the states, which begin at zero."""
        super().build(sequences_shape, initial_state_shape)
        if self.streams:
            zeros = {"shape": (self.streams, self.units), "initializer": "zeros", "trainable": False}
            self.carried = [self.add_weight(name=name, **zeros) for name in State._fields]

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the layer on (B, T, D): (last hidden, all hidden (B, T, U), [hidden, cell])."""
        first = [state.value for state in self.carried] if self.streams else initial_state
        projected = project(sequences, self.cell)
        hidden, last = lstm(projected, self.cell.recurrent_kernel.value, State(*first))
        for state, now in zip(self.carried or [], last, strict=False):
            state.assign(now)
        return last.hidden, jnp.swapaxes(hidden, 0, 1), list(last)

    def get_config(self):
        """Return what makes the same layer."""
        return super().get_config() | {"streams": self.streams}


# --------------------------------------------------------------------------------------------------- Training


class Pinball(keras.losses.Loss):
    """The pinball loss of quantiles, as a loss that Keras trains by: (B, T) of (B, T) and (B, T, Q)."""

    def call(self, actual, predicted):
        """Compute `pinball`."""
        return pinball(actual, predicted, maximum=keras.ops.maximum)


class CarryOver(keras.callbacks.Callback):
    """Begin each stream of an epoch with the state in which the stream before it ended the last epoch.

    layer : a CarriedLSTM that reads the streams of `stream_batches`, each of which goes on where the one
    before it ends. Nothing is read twice to warm up; the state is that of weights a few steps older.
    """

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def on_epoch_begin(self, epoch, logs=None):
        """Move the states on by one stream; nothing comes before the first one."""
        for state in self.layer.carried:
            moved = np.roll(np.asarray(state.value), 1, axis=0)
            moved[0] = 0
            state.assign(moved)


def copy_weights(source, target):
    """Give a model the trainable weights of another one of the same layers."""
    for old, new in zip(target.trainable_variables, source.trainable_variables, strict=True):
        old.assign(new.value)


class CarriedLoss(keras.callbacks.Callback):
    """Write the validation loss of each epoch to its logs, measured as the night scores: along one sequence.
    To be named before callbacks that read it.

    network : a Network of the layers that are trained, which is given their weights. sequence : numbers
    (n, F), codes (n, C), target (n,). counts : bool (n,), the rows in the loss. loss : (target (n,),
    predicted (n, Q)) -> (n,). `warmup` rows before the first that counts are read as well. It is the mean
    loss of the sequence as it is and with the columns `hide` of numbers at 0; without rows it is 0.
    """

    def __init__(self, network, sequence, counts, *, loss, warmup=0, hide=()):
        super().__init__()
        at = np.flatnonzero(counts)
        read = slice(max(at[0] - warmup, 0), at[-1] + 1) if len(at) else slice(0)
        self.network, self.loss, self.counts = network, loss, counts[read]
        self.target, self.codes = sequence.target[read], np.stack([sequence.codes[read]] * 2)
        self.numbers = np.stack([sequence.numbers[read]] * 2)
        self.numbers[1][:, list(hide)] = 0

    def on_epoch_end(self, epoch, logs=None):
        """Measure the loss with the weights of this epoch."""
        copy_weights(self.model, self.network.model)
        predicted, _ = predict_carried(self.network, self.numbers, self.codes)
        losses = [self.loss(self.target, one)[self.counts] for one in predicted]
        logs["val_loss"] = float(np.mean(losses)) if self.counts.any() else 0.0


# ---------------------------------------------------------------------------------------------------- Network


class Network:
    """A Keras network of numbers (B, T, F) and codes (B, T, C), taken apart around its one LSTM.

    model : the network that has the weights. twin : the same layers, which are given weights for each
    computation. memory : its LSTM, None for a network without one, which remembers nothing. before, after :
    what computes the inputs of the LSTM, and the outputs from its own. ValueError for two LSTMs, or one that
    is not as `lstm` computes.
    """

    def __init__(self, model):
        twin = keras.models.clone_model(model)  # Keras cannot store a model of which parts were made others
        memories = [layer for layer in twin.layers if isinstance(layer, keras.layers.LSTM)]
        if len(memories) > 1:
            raise ValueError(f"{len(memories)} LSTMs in one network: the state of one can be carried")
        self.model, self.twin, self.memory = model, twin, memories[0] if memories else None
        if self.memory is not None:
            self.check()
            self.before = keras.Model(twin.inputs, self.memory.input)
            self.after = keras.Model([*twin.inputs, self.memory.output], twin.output)
        self.compiled = jax.jit(partial(run_network, self))

    def check(self):
        """Refuse an LSTM whose options are not those that `lstm` has."""
        options = self.memory.get_config()
        needed = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
        needed |= {"return_sequences": True, "return_state": False, "go_backwards": False, "dropout": 0.0}
        for name, value in needed.items():
            if options[name] != value:
                raise ValueError(f"the LSTM has {name} {options[name]!r}: only {value!r} can be carried")

    def new_state(self, n_sequences=1):
        """Return the State before the first step of each sequence: zeros, as in Keras."""
        zeros = np.zeros((n_sequences, self.memory.units if self.memory else 0), "float32")
        return State(zeros, zeros)


def run_network(network, weights, inputs, state):
    """Compute outputs (B, T, Q) of a Network and the State (T, B, U) after each step; pure, for `jax.jit`.

    weights : values of the trainable variables of the model, in their order. inputs : [numbers (B, T, F),
    codes (B, T, C)], nothing missing. state : State (B, U) before the first step.
    """
    with keras.StatelessScope(state_mapping=zip(network.twin.trainable_variables, weights, strict=True)):
        if network.memory is None:
            return network.twin(inputs), State(*(x[None] for x in state))
        cell = network.memory.cell
        projected = project(network.before(inputs), cell)
        states, _ = run_steps(projected, cell.recurrent_kernel.value, state)
        return network.after([*inputs, jnp.swapaxes(states.hidden, 0, 1)]), states


# ---------------------------------------------------------------------------------------------------- Carried


def predict_carried(network, numbers, codes, state=None):
    """Predict along sequences, given what the network remembers of them: (outputs (B, n, Q), State (B, U)).

    numbers : float (B, n, F), NaN where missing, which counts as 0, the mean. codes : int (B, n, C). state :
    State after the rows before; by default that of no row. The outputs of a row depend on that row and those
    before it alone; a sequence that comes in parts, each with the state of the part before, has the outputs
    that it has at once. No row: empty outputs and the same state.
    """
    weights = [v.value for v in network.model.trainable_variables]
    state, n, outputs = state or network.new_state(len(numbers)), numbers.shape[1], []
    first = 0
    while first < n:
        block = next((size for size in BLOCKS if size >= n - first), BLOCKS[-1])
        inside = min(block, n - first)
        ends = ((0, 0), (0, block - inside), (0, 0))
        part = slice(first, first + inside)
        inputs = [
            np.pad(np.nan_to_num(numbers[:, part]).astype("float32"), ends),
            np.pad(codes[:, part].astype("int32"), ends),
        ]
        predicted, states = network.compiled(weights, inputs, state)
        outputs.append(np.asarray(predicted)[:, :inside])
        if network.memory is not None:
            state = State(*(np.asarray(x[inside - 1]) for x in states))
        first += inside
    empty = np.empty((len(numbers), 0, network.model.output_shape[-1]), "float32")
    return np.concatenate([empty, *outputs], axis=1), state


@lru_cache(maxsize=4)
def load_network(path, fingerprint):
    """Load the Network of a file of Keras once, and compile it once, as long as the file has the same
    `fingerprint`, as `fingerprint_of` gives it.
    """
    return Network(load_model(path))


def fingerprint_of(path):
    """Return the SHA-256 of a file, which says which model a memory belongs to."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def remember(state, path):
    """Return a State of the network at `path` as a dict that JSON can hold without loss."""
    arrays = {name: np.asarray(x).tolist() for name, x in state._asdict().items()}
    return {"model": fingerprint_of(path), **arrays}


def recall(memory, path):
    """Return the State that `remember` has made a dict of, None for no memory; ValueError when it is that
    of another model than the one at `path`.
    """
    if not memory:
        return None
    if memory["model"] != fingerprint_of(path):
        raise ValueError(f"this memory is not that of {path.name}, which has been trained since")
    return State(*(np.array(memory[name], "float32") for name in State._fields))
