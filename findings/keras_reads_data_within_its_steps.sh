#!/usr/bin/env bash
# In fit() of Keras 3.15.1 on JAX, the next batch is read after on_train_batch_begin, within the step: a callback that takes the time between
# on_train_batch_end and the next on_train_batch_begin for the wait for data, as with other trainers, sees none, however slow the loader is. Of a
# generator two batches are read before the first step. Who wants to know how long a fit waits for its data has to wrap the data.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6; } ||
  { echo "cannot install keras 3.15.1 and jax 0.10.2"; exit 2; }
KERAS_BACKEND=jax "$work/venv/bin/python" - <<'P'
import time

import jax
import keras
import numpy as np

WAIT_S, STEPS = 0.1, 10
read = []


def slow():
    while True:
        time.sleep(WAIT_S)
        read.append(1)
        yield np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32")


class Watch(keras.callbacks.Callback):
    between = within = 0.0
    ended = begun = None

    def on_train_begin(self, logs=None):
        self.read_before = len(read)

    def on_train_batch_begin(self, batch, logs=None):
        self.begun = time.perf_counter()
        self.between += self.begun - self.ended if self.ended else 0

    def on_train_batch_end(self, batch, logs=None):
        self.ended = time.perf_counter()
        self.within += self.ended - self.begun if batch > 1 else 0  # the first one compiles


model, watch = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), Watch()
model.compile("sgd", "mse")
model.fit(slow(), steps_per_epoch=STEPS, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
waited = WAIT_S * STEPS
print(f"keras {keras.__version__}, jax {jax.__version__}")
print(f"a loader that takes {waited:.1f} s shows as {watch.between:.2f} s between steps and {watch.within:.2f} s within them;")
print(f"batches read before the first step: {watch.read_before}")
assert watch.between < 0.2 * waited and watch.within > 0.6 * waited and watch.read_before == 2
P
