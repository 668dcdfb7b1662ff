"""Networks with a memory: an LSTM whose state is carried along one sequence, in however many parts it comes.

LSTM      all steps of a layer, and the states after them       lstm
Network   a Keras network taken apart around its LSTM           State, Network, run_network
Carried   sequences, and the memory of what came before         predict_carried, remember, recall
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

from nightshift.models import load_model

BLOCKS = (16, 256, 4096)  # rows predicted at once: few shapes are compiled, whatever the number of rows


class State(NamedTuple):
    """What an LSTM remembers of each of several sequences: float32 (sequences, units) each."""

    hidden: np.ndarray
    cell: np.ndarray


# ------------------------------------------------------------------------------------------------------- LSTM


def lstm(projected, recurrent, state):
    """Run all steps of an LSTM: State of (T, B, U) arrays, what it holds after each step.

    projected : (T, B, 4 U), inputs times kernel plus bias, the gates in the order of Keras: input, forget,
    candidate, output. recurrent : (U, 4 U), the recurrent kernel. state : State (B, U) before the first step.
    Activations are those of `keras.layers.LSTM` (Hochreiter & Schmidhuber 1997, with a forget gate).
    """

    def step(before, drive):
        gates = drive + before.hidden @ recurrent
        enter, keep, candidate, leave = jnp.split(gates, 4, axis=-1)
        cell = jax.nn.sigmoid(keep) * before.cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
        after = State(jax.nn.sigmoid(leave) * jnp.tanh(cell), cell)
        return after, after

    return jax.lax.scan(step, state, projected)[1]


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
        rows = jnp.swapaxes(network.before(inputs), 0, 1)  # (T, B, D)
        states = lstm(rows @ cell.kernel.value + cell.bias.value, cell.recurrent_kernel.value, state)
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
