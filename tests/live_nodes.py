"""Nodes on a clock that tests turn by hand: their samples, a Prometheus that holds them, and models that know them."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
from telemetry_tables import CLASSES, write_models

import helpers
from nightshift.live.filters import Rule
from nightshift.live.samples import Pull
from nightshift.live.telemetry import Watch

STEP_S, BEGIN = 15, 117_990_720  # number of the moment with which the samples begin, 2026-01-31 12:00 UTC
QUERIES = {"cpu::a": "cpu", "mem::b": "mem"}


def write_live_models(products, smoothing=3, classes=CLASSES):
    """The hand-made models, which say how their windows are cut: a minute of four samples, each 15 s; cpu::a is a counter."""
    write_models(products, classes)
    path = helpers.study_paths("telemetry", products).models / "detector.json"
    cut = {"sampling_s": 15.0, "window_s": 60.0, "step_s": 15.0, "trim_s": 30.0, "least_coverage": 0.5, "counters": ["cpu::a"]}
    helpers.write_json(json.loads(path.read_text()) | {"smoothing": smoothing, "windows": cut}, path)
    return path.parent


class Clock:
    """A Prometheus whose samples are made beforehand, and shown up to `now`, a number of moments after BEGIN.

    samples : {(node, job): (number of its first moment after BEGIN, {query: values (n,)})}. lag : so many of the newest are not there yet.
    repeats : so many of the newest are as the one before them, as VictoriaMetrics has it.
    """

    def __init__(self, samples, lag=0, repeats=0):
        self.samples, self.now, self.lag, self.repeats = samples, 0, lag, repeats

    def ask(self, query, begin, n):
        """Answer as `nightshift.sources.prometheus.connect` does."""
        if self.now < 0:
            raise TimeoutError("n1:9090 does not answer: refused")
        answer = []
        for (node, job), (first, values) in self.samples.items():
            at = BEGIN + first + np.arange(len(values[query])) - round(begin / STEP_S)
            shown = (at >= 0) & (at < n) & (at + round(begin / STEP_S) <= BEGIN + self.now - self.lag) & np.isfinite(values[query])
            if shown.any():
                newest = max(self.now - self.repeats - first, 0)
                repeated = np.where(np.arange(len(shown)) > newest, values[query][min(newest, len(shown) - 1)], values[query])
                answer.append(({"instance": f"{node}:9100", "slurm_job": job}, at[shown], repeated[shown]))
        return answer

    def pull(self, metrics):
        """The Pull of this server."""
        server = SimpleNamespace(step_s=STEP_S, node_label="instance", job_label="slurm_job", queries=QUERIES, chunk_points=100)
        return Pull(server, self.ask, metrics)

    def watch(self, products, rule=None):
        """A stream that looks at it."""
        paths = helpers.study_paths("telemetry", products)
        return Watch(paths, rule or Rule(), "(.+)-n[0-9]+", lambda predictor: self.pull(predictor.metrics))

    def look(self, watch, now):
        """Let a stream look at a moment, a second after its sample."""
        self.now = now
        return watch.look((BEGIN + now) * STEP_S + 1)

    def frame(self):
        """All samples as one table."""
        parts = []
        for (node, job), (first, values) in self.samples.items():
            times = pd.to_datetime((BEGIN + first + np.arange(len(values["cpu"]))) * STEP_S, unit="s", utc=True)
            parts.append(pd.DataFrame({"node_id": node, "job_id": job, "timestamp": times, "cpu::a": values["cpu"], "mem::b": values["mem"]}))
        return pd.concat(parts, ignore_index=True)


def run(n, seed, *, cpu=(), mem=(), first=0):
    """Samples of a run of `n` moments: 50 a second and 50, with the noise of the hand-made models; `cpu` and `mem` are (from, to, value)."""
    rng = np.random.default_rng(seed)
    rates, memory = 50 + rng.normal(size=n).clip(-1.5, 1.5), 50 + rng.normal(size=n).clip(-1.5, 1.5)
    for values, odd in ((rates, cpu), (memory, mem)):
        if len(odd):
            values[odd[0] : odd[1]] += odd[2] - 50
    return first, {"cpu": 1e6 + np.cumsum(rates * STEP_S), "mem": memory}
