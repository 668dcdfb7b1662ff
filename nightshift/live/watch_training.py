"""What a training of a network tells a Prometheus while it runs: how long its steps take, how long they wait
for data, samples, loss. With the utilisation of the GPU, "idle because the loader stalls" is told from "idle
because nothing runs".

    with watch_training("resnet") as watched:
        for images, labels in watched.batches(loader):  # PyTorch, JAX, anything that is iterated
            watched.loss(train_step(images, labels))

    with watch_training("resnet") as watched:
        model.fit(watched.batches(loader, repeat=True), steps_per_epoch=len(loader), epochs=90,
                  callbacks=[watched.keras_callback()])

It serves them at a port of this machine, and writes them to a file for the textfile collector of a node
exporter, which keeps what a job says that ends before it is scraped. It never stops a training: what it
cannot serve or write is one warning.

A step reaches from the request for its data to the next such request, or to the end of an epoch. No step
waits for the GPU on account of this module: the loss is read when somebody asks for it. Where steps are
dispatched without waiting for the GPU, as JAX and PyTorch do, time spent in the loader may be time in which
the GPU computes: look at its utilisation as well.
"""

import os
import re
import socket
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
    write_to_textfile,
)
from prometheus_client.core import CounterMetricFamily

PORT = 9794
N_PORTS = 8  # of as many trainings on one machine, from PORT on; a Prometheus scrapes all of them
WRITES_S = 15.0  # between two writings of the file
BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)  # of the duration of steps, s
LABELS = ("run", "node", "hpc_job", "user", "rank")
END = object()  # what follows the last batch


def labels_of(run):
    """Tell trainings apart, {label: text}: by the name that the user gives, and by what Slurm says of the
    job. The job has the label of the DCGM exporter, so that both are joined by it.
    """
    setting = os.environ.get
    node = setting("SLURMD_NODENAME") or socket.gethostname()
    rank = setting("SLURM_PROCID") or setting("RANK") or "0"
    about = (run, node, setting("SLURM_JOB_ID", ""), setting("SLURM_JOB_USER", ""), rank)
    return {name: " ".join(str(text).split())[:120] for name, text in zip(LABELS, about, strict=True)}


def samples_of(batch):
    """Count the samples of a batch: the length of its first array; 0 where there is none."""
    while isinstance(batch, dict | list | tuple) and len(batch):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    shape = getattr(batch, "shape", None)
    return int(shape[0]) if shape else 0


def number_of(value):
    """Read a loss as a number; NaN for what is none, or is not there any more."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # the last one of a JAX array that was deleted
        return float("nan")


class Waits:
    """A counter of the time that is waited for data, with the wait that goes on: a loader that hangs shows
    before it answers.
    """

    def __init__(self, labels, clock):
        self.labels, self.clock, self.lock = labels, clock, threading.Lock()
        self.seconds, self.since = 0.0, None

    @contextmanager
    def waiting(self):
        """Count the time within."""
        self.since = self.clock()
        try:
            yield
        finally:
            with self.lock:
                self.seconds, self.since = self.seconds + self.clock() - self.since, None

    def collect(self):
        """Yield the counter, as `prometheus_client` collects it."""
        with self.lock:
            seconds = self.seconds + (0 if self.since is None else self.clock() - self.since)
        text = "Time that steps waited for their data."
        family = CounterMetricFamily("nightshift_training_loader_wait_seconds", text, labels=LABELS)
        family.add_metric([self.labels[name] for name in LABELS], seconds)
        yield family


class Training:
    """One training that is watched; `watch_training` makes it."""

    def __init__(self, run, clock=time.perf_counter):
        self.clock, self.registry, self.labels = clock, CollectorRegistry(), labels_of(run)
        self.step_s = self.metric(
            Histogram, "step_seconds", "Duration of a step, waiting included.", buckets=BUCKETS
        )
        self.steps = self.metric(Counter, "steps", "Steps that have ended.")
        self.samples = self.metric(Counter, "samples", "Samples of these steps.")
        self.epoch = self.metric(Gauge, "epoch", "Epochs that have ended.")
        self.last = self.metric(Gauge, "last_step_timestamp_seconds", "When a step last ended.")
        self.waited = self.losses = None  # not known is no series, and not 0
        self.begun, self.by_keras = None, False  # when the step that goes on began

    def metric(self, kind, name, text, **more):
        """Make a metric `nightshift_training_<name>` with the labels of this training."""
        metric = kind(f"nightshift_training_{name}", text, LABELS, registry=self.registry, **more)
        return metric.labels(**self.labels)

    def batches(self, loader, *, repeat=False):
        """Iterate over a loader, and measure how long each batch is waited for.

        loader : iterable of batches, first axis samples, as arrays or tensors, or in a tuple, list or dict.
        repeat : begin anew where it ends, without end, which Keras wants of a generator.
        """
        if self.waited is None:
            self.waited = Waits(self.labels, self.clock)
            self.registry.register(self.waited)
        iterator = None  # begun within the first step, since workers start then
        while True:
            if not self.by_keras:
                self.begin_step()
            with self.waited.waiting():
                iterator = iter(loader) if iterator is None else iterator
                batch = next(iterator, END)
                if batch is END and repeat:
                    iterator = iter(loader)
                    batch = next(iterator, END)
            if batch is END:
                self.begun = None  # the end of a loader is that of an epoch, and no step
                self.epoch.inc()
                return
            self.samples.inc(samples_of(batch))
            yield batch
            if not self.by_keras:
                self.end_step()

    def begin_step(self):
        """Begin a step."""
        self.begun = self.clock()

    def end_step(self):
        """End the step that goes on, if one does."""
        if self.begun is None:
            return
        self.step_s.observe(self.clock() - self.begun)
        self.steps.inc()
        self.last.set_to_current_time()
        self.begun = None

    def loss(self, value):
        """Keep the loss of the last step, a number, or an array or tensor of one element, which is read only
        when metrics are asked for.
        """
        value = value.detach() if hasattr(value, "detach") else value  # else its graph would stay
        if self.losses is None:
            self.losses = self.metric(Gauge, "loss", "Loss of the last step.")
        self.losses.set_function(lambda: number_of(value))

    def keras_callback(self):
        """Make a callback of Keras, which reports steps, epochs and the loss of epochs. How long steps wait
        for data, Keras does not say: it reads them within a step. Give it `batches`.

        It has no hook for the end of a step, for which Keras would wait for the GPU each time.
        """
        import keras

        watched = self
        self.by_keras = True  # it asks for batches before they are due: its steps are not those of `batches`

        class Watched(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                watched.end_step()
                watched.begin_step()

            def on_test_begin(self, logs=None):  # a validation is no part of a step
                watched.end_step()

            def on_epoch_end(self, epoch, logs=None):
                watched.end_step()
                watched.epoch.inc()
                if "loss" in (logs or {}):
                    watched.loss(logs["loss"])

        return Watched()


@contextmanager
def watch_training(run, *, port=PORT, folder=None):
    """Watch a training until the block ends; gives a Training.

    run : its name, one of few: each name is a series. port : of 127.0.0.1, at which metrics are served, or
    the next of N_PORTS that is free; 0 takes any free one, None serves none. folder : of the textfile
    collector; default: NIGHTSHIFT_TEXTFILES of the environment, "" writes no file.
    """
    training, ended = Training(run), threading.Event()
    folder = os.environ.get("NIGHTSHIFT_TEXTFILES", "") if folder is None else folder
    server, training.port = serve(training.registry, port)
    path = Path(folder) / file_name(training.labels) if folder else None
    writer = threading.Thread(target=write_until, args=(ended, training.registry, path), daemon=True)
    writer.start()
    try:
        yield training
    finally:
        ended.set()
        writer.join()
        if server:
            server.shutdown()
            server.server_close()


def serve(registry, port):
    """Serve a registry at 127.0.0.1: (server, port); (None, None) where it is not to be served, or no port is
    free.
    """
    if port is None:
        return None, None
    why = "there is no such port"
    for one in range(port, min(port + N_PORTS, 65536)) if port else [0]:
        try:
            server, _ = start_http_server(one, "127.0.0.1", registry)
            return server, server.server_port
        except OSError as error:
            why = error.strerror
    warnings.warn(f"metrics of this training are not served, ports from {port} on: {why}", stacklevel=4)
    return None, None


def file_name(labels):
    """Name the file of a training, so that no two on a node share one."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{labels['run'][:60]}-{labels['hpc_job'][:20]}")
    return f"nightshift_training-{plain}-{os.getpid()}.prom"


def write_until(ended, registry, path):
    """Write a registry to the file at `path` every WRITES_S, and once more when the event `ended` is set."""
    trouble = path is None
    while not trouble:
        last = ended.wait(WRITES_S)
        try:
            write_to_textfile(path, registry)
        except OSError as error:
            warnings.warn(
                f"metrics of this training are not written to {path}: {error.strerror}", stacklevel=1
            )
            trouble = True
        trouble = trouble or last
