"""Nodes between the nights: how fast a stream looks at many of them, and how soon it tells troubles of this machine.

    python bench/live_nodes.py load [NODES] [METRICS]       200 nodes x 60 metrics, a sample every 15 s, on one core; two minutes
    python bench/live_nodes.py record FOLDER [RUNS]         labelled runs of this machine, by a real node exporter and Prometheus; 20 runs, 35 minutes
    python bench/live_nodes.py tries FOLDER [TRIES] [REST]  models of these runs, then troubles while a stream looks; 10 tries, and REST minutes without

`load` fills a VictoriaMetrics with an hour of noise, and looks again and again as the hour goes by: first all nodes run jobs, and then each is a
server, with a detector of its own. What a look costs does not depend on how good the models are, so they learn noise. The server of the metrics has
the other core. `record` and `tries` measure the machine as it is: whatever else runs on it is part of what is healthy.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "KERAS_BACKEND": "jax", "NIGHTSHIFT_RUN": "1"}
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests/services"), str(REPOSITORY / "tests")]

import numpy as np  # noqa: E402 - after the number of threads is set
import pandas as pd  # noqa: E402
import requests  # noqa: E402
from daemons import free_ports, running  # noqa: E402

from helpers import study_paths, write_json, write_parquet  # noqa: E402
from nightshift.compiled import STATISTICS  # noqa: E402
from nightshift.detectors.telemetry_health import Health, store_detector  # noqa: E402
from nightshift.live.filters import Rule  # noqa: E402
from nightshift.live.samples import Pull  # noqa: E402
from nightshift.live.servers import Past  # noqa: E402
from nightshift.live.telemetry import Watch  # noqa: E402
from nightshift.sources.telemetry.prometheus import Prometheus  # noqa: E402

STEP_S, MINUTES, LOOKS = 15, 60, 20
KINDS = ["none", "cpuoccupy", "memleak", "membw"]
SCRAPE_S, RUN_S = 2, 70


# ------------------------------------------------------------------------------------------------------- Load


def answers(url):
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@contextmanager
def victoria(folder):
    """A VictoriaMetrics on the second core; yields its address."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = ["victoria-metrics", f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=1s"]
    with running(command, folder, ready=lambda: answers(f"{url}/health")) as server:
        os.sched_setaffinity(server.pid, {max(os.sched_getaffinity(0))})
        yield url


def fill(url, nodes, metrics, end, job):
    """Store an hour of noise up to the time `end`, ms, every third metric a counter."""
    rng, moments = np.random.default_rng(1), end - 1000 * STEP_S * np.arange(60 * MINUTES // STEP_S)[::-1]
    for node in nodes:
        lines = []
        for number, metric in enumerate(metrics):
            values = rng.normal(50, 5, len(moments))
            labels = {"__name__": metric, "instance": f"{node}:9100"} | ({"slurm_job": job} if job else {})
            values = np.cumsum(np.abs(values)) if number % 3 == 0 else values
            lines.append(json.dumps({"metric": labels, "values": values.tolist(), "timestamps": moments.tolist()}))
        requests.post(f"{url}/api/v1/import", data="\n".join(lines), timeout=60).raise_for_status()
    requests.get(f"{url}/internal/force_flush", timeout=60)


def noise_network(groups, n):
    """An autoencoder as 3_train builds it."""
    import keras
    from keras import layers

    z = keras.Input((groups, n))
    layer = z
    for width, act in ((32, "tanh"), (8, None), (32, "tanh"), (n, None)):
        layer = layers.EinsumDense("bgi,gio->bgo", (groups, width), bias_axes="go", activation=act)(layer)
    return keras.Model(z, layers.Subtract()([z, layer]))


def write_noise_models(paths, metrics, servers):
    """Models of the sizes that 3_train gives them, of noise: four statistics of each metric for the detector, all for boosting of 50 rounds."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng, features = np.random.default_rng(2), [f"{metric}::prometheus|{name}" for metric in metrics for name in STATISTICS]
    inputs = [name for name in features if name.rpartition("|")[2] in ("mean", "std", "min", "max")]
    names, rows = ["all", *servers], 500 if servers else 2000
    x, y = rng.normal(size=(2000, len(features))), rng.choice([*KINDS, "cachecopy"], 2000)
    booster = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=7, max_features=0.1, early_stopping=False).fit(x, y)
    usual = pd.concat({name: pd.DataFrame(np.tile([[50.0], [5.0]], len(inputs)), ["", "spread"], inputs) for name in names})
    reference = {name: rng.normal(size=(rows, len(inputs))).astype("float32") for name in names}
    distances = ["distance", "whitened", "pca", "neighbours", "autoencoder"]
    units = pd.DataFrame(1.0, names, distances)
    calibration = pd.DataFrame(rng.normal(size=(4000, 2)), columns=["classifier", "health"]).assign(job_id="1", node_id="n")
    cut = {"sampling_s": STEP_S, "window_s": 300, "step_s": STEP_S, "trim_s": 60, "least_coverage": 0.5}
    counters = [f"{metric}::prometheus" for metric in metrics[::3]]
    description = {"classes": list(booster.classes_), "inputs": inputs, "features": features, "temperature": 1.0, "smoothing": 7}
    description |= {"weights": {"classifier": 0.5, "health": 0.5}, "in_use": "together", "detectors": names, "trained_day": "2026-01-31"}
    description |= {"windows": cut | {"counters": counters}}
    health = Health(usual, reference, noise_network(len(names), len(inputs)))
    store_detector(paths.models, description, health=health, units=units, calibration=calibration, classifier=booster)


def load(n_nodes=200, n_metrics=60):
    """Print how long a look takes on one core, of nodes with jobs and of servers."""
    nodes, metrics = [f"n{i:03}" for i in range(n_nodes)], [f"m{i:02}" for i in range(n_metrics)]
    end = int(time.time() // STEP_S * STEP_S * 1000)
    for what, job, servers in (("jobs", "4711", []), ("servers", "", nodes)):
        with tempfile.TemporaryDirectory() as folder, victoria(Path(folder)) as url:
            fill(url, nodes, metrics, end, job)
            paths = study_paths("telemetry", folder)
            write_noise_models(paths, metrics, servers)
            server = Prometheus({name: name for name in metrics}, "instance", "slurm_job", STEP_S, 3600, 30.0, None)
            watch = Watch(paths, Rule(), "", lambda predictor, s=server, u=url: Pull(s, s.connect(u, set()), predictor.metrics))
            os.sched_setaffinity(0, {0})
            watch.load()
            if servers:
                usual = np.sort(np.random.default_rng(3).normal(size=20_000))
                levels = {node: np.zeros(len(watch.predictor.detector.inputs)) for node in servers}
                watch.predictor.past = Past({node: dict.fromkeys(["classifier", "health"], usual) for node in servers}, levels)
            begin, seconds, used = end / 1000 - STEP_S * (LOOKS + 4), [], []
            for number in range(LOOKS + 3):
                clock, process = time.monotonic(), time.process_time()
                watch.look(begin + STEP_S * number + 1)
                seconds.append(time.monotonic() - clock)
                used.append(time.process_time() - process)
            first, seconds, used = seconds[0], seconds[3:], used[3:]  # the first ones read the history, and compile
            judged = watch.counted["windows"] / (LOOKS + 3)
            os.sched_setaffinity(0, range(os.cpu_count()))
        print(
            f"{n_nodes} {what} x {n_metrics} metrics: a look takes {np.median(seconds):.2f} s (longest {max(seconds):.2f}, first {first:.1f}), "
            f"{np.median(used):.2f} s of a core, of {STEP_S} s: headroom {STEP_S / np.median(seconds):.1f}; {judged:.0f} windows judged a look",
            flush=True,
        )


if __name__ == "__main__":
    mode, *words = sys.argv[1:] or ["load"]
    {"load": load}[mode](*map(int, words))
