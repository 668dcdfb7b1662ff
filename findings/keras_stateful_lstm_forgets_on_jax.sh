#!/bin/bash
# `LSTM(stateful=True)` of Keras 3.15.1 carries its state from call to call, as documented, but not in `fit` and `predict` on the JAX backend: its
# states are variables that the layer does not track (they are made under `no_automatic_dependency_tracking`), so that each compiled call begins with
# zeros again. Nothing is said. The same layer called by hand gives two halves the values of the whole; `predict` gives the second half those of a
# sequence of its own.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6; } ||
  { echo "cannot install keras 3.15.1 and jax 0.10.2"; exit 2; }
result=$(KERAS_BACKEND=jax "$work/venv/bin/python" - <<'P' 2>/dev/null
import jax
import keras
import numpy as np
keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(1, 40, 3)).astype("float32")
layer = keras.layers.LSTM(4, return_sequences=True, stateful=True)
model = keras.Sequential([keras.Input(batch_shape=(1, 20, 3)), layer])
plain = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4, return_sequences=True)])
plain.set_weights([np.asarray(v) for v in model.trainable_variables])
whole, apart = plain(x)[:, 20:], plain(x[:, 20:])
layer.reset_state()
by_hand = [model(x[:, :20]), model(x[:, 20:])][1]
layer.reset_state()
predicted = [model.predict(x[:, half], verbose=0) for half in (slice(20), slice(20, 40))][1]
same = lambda one, other: bool(np.allclose(one, other, atol=1e-5))
print("keras", keras.__version__, "jax", jax.__version__)
print("by hand, as the whole:", same(by_hand, whole), "- predict, as the whole:", same(predicted, whole), "- predict, as apart:", same(predicted, apart))
P
)
echo "$result"
[[ $result == *"by hand, as the whole: True - predict, as the whole: False - predict, as apart: True" ]]
