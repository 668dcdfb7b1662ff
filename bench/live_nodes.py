"""Nodes between the nights: how fast a stream looks at many of them, and how soon it tells troubles of this machine.

    python bench/live_nodes.py load [NODES] [METRICS]            200 nodes x 60 metrics, a sample every 15 s, on one core
    python bench/live_nodes.py troubles [RUNS] [TRIES] [REST]    40 labelled runs, models of them, ten tries, two hours of REST

`load` fills a VictoriaMetrics with minutes of noise, and looks again and again as they go by: first all nodes run jobs, and then each is a
server, with a detector of its own. What a look costs does not depend on how good the models are, so they learn noise. The server has the other core.

`troubles` has a real node exporter and a real Prometheus. Each run is a job of its own, in which a small workload runs alone or beside a program that
wastes one resource (nightshift/generators.py); the notebooks of the study make models of them. `nightshift live telemetry` looks all the while, at
first by models of noise, since what it takes of this machine must be part of what is usual there. Then troubles come in the midst of jobs, and REST
minutes of the workload alone count false alarms. By default it takes four hours. It measures the machine as it is: leave it alone.
"""

import json
import multiprocessing
import os
import shutil
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
import psutil  # noqa: E402
import requests  # noqa: E402
import yaml  # noqa: E402
from conftest import run_cells  # noqa: E402
from daemons import free_ports, running, wait_until  # noqa: E402

from helpers import study_paths  # noqa: E402
from nightshift.compiled import STATISTICS  # noqa: E402
from nightshift.detectors.telemetry_health import Health, store_detector  # noqa: E402
from nightshift.generators import GENERATORS, workload  # noqa: E402
from nightshift.live.filters import Rule  # noqa: E402
from nightshift.live.samples import Pull  # noqa: E402
from nightshift.live.servers import Past  # noqa: E402
from nightshift.live.telemetry import Watch  # noqa: E402
from nightshift.sources.telemetry.prometheus import Prometheus  # noqa: E402

STEP_S, MINUTES, LOOKS = 15, 20, 12
KINDS = ["none", "cpuoccupy", "memleak", "membw"]
SCRAPE_S, RUN_S, WITHIN_S = 2, 70, 180
ALARM_RATE = 0.01
TRAINED = {  # parameters of the steps
    "2_preprocess": {"window_s": 30.0, "step_s": 2.0, "trim_s": 6.0},
    "3_train": {"experiments": [], "folds": 4, "alarm_rate": ALARM_RATE},
    "4_analyse": {"alarm_rate": ALARM_RATE},
}


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
    """Store MINUTES of noise up to the time `end`, ms, every third metric a counter."""
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


def write_noise_models(paths, metrics, servers, cut):
    """Models of the sizes that 3_train gives them, of noise: four statistics of each metric for the detector, all for boosting of 50 rounds.

    cut : how windows are cut, as detector.json says it.
    """
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
            cut = {"sampling_s": STEP_S, "window_s": 300, "step_s": STEP_S, "trim_s": 60, "least_coverage": 0.5}
            write_noise_models(paths, metrics, servers, cut)
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
            f"{np.median(used):.2f} s of a core, of {STEP_S} s: headroom {STEP_S / np.median(used):.1f} of that; {judged:.0f} windows judged a look",
            flush=True,
        )


# --------------------------------------------------------------------------------------------------- Troubles


class Machine:
    """A node exporter of this machine and the Prometheus that scrapes it, the job of the node being one that can be changed."""

    def __init__(self, folder):
        self.folder, (self.exporter, port) = folder, free_ports(2)
        self.url = f"http://127.0.0.1:{port}"

    def set_job(self, job):
        """Let the node run a job from now on; waits until Prometheus has a sample of it."""
        target = [{"targets": [f"127.0.0.1:{self.exporter}"], "labels": {"slurm_job": job} if job else {}}]
        (self.folder / "new.json").write_text(json.dumps(target))
        (self.folder / "new.json").replace(self.folder / "targets.json")
        query = {"query": f'count_over_time(node_load1{{slurm_job="{job}"}}[6s])'}
        asked = f"{self.url}/api/v1/query"
        assert wait_until(lambda: requests.get(asked, query, timeout=5).json()["data"]["result"], 30), "the job is not scraped"

    @contextmanager
    def scraped(self):
        """Run both daemons."""
        scrape = f"file_sd_configs: [{{files: ['{self.folder}/targets.json']}}]"
        times = f"scrape_interval: {SCRAPE_S}s, scrape_timeout: {SCRAPE_S}s"
        text = f"global: {{{times}}}\nscrape_configs:\n  - job_name: node\n    {scrape}\n"
        (self.folder / "prometheus.yml").write_text(text)
        (self.folder / "targets.json").write_text("[]")
        node = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.exporter}"]
        server = ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data"]
        server += [f"--web.listen-address={self.url.removeprefix('http://')}"]
        page = f"http://127.0.0.1:{self.exporter}/metrics"
        with running(node, self.folder, ready=lambda: answers(page)), running(server, self.folder, ready=lambda: answers(f"{self.url}/-/ready")):
            yield self


@contextmanager
def working(*programs, seconds):
    """Run programs of nightshift/generators.py, each in a process of its own, at most so many seconds."""
    until, share = time.time() + seconds, psutil.virtual_memory().available // 10
    processes = [multiprocessing.Process(target=one, args=(until, share)) for one in programs if one]
    for one in processes:
        one.start()
    try:
        yield
    finally:
        for one in processes:
            one.terminate()
            one.join()


def sized_workload(rng):
    """A workload that holds up to a GB of memory as well, since jobs are not all alike."""
    size = int(rng.integers(2**30))

    def program(until, n_bytes):
        kept = np.ones(size, "uint8")
        workload(until, n_bytes)
        del kept

    return program


def record(machine, n_runs):
    """Record labelled runs, half of them healthy, in a random order; writes labels.csv."""
    kinds = np.resize(["none", "cpuoccupy", "none", "memleak", "none", "membw"], n_runs)
    rows, rng = ["job_id,app,anomaly"], np.random.default_rng(1)
    for number, kind in enumerate(rng.permutation(kinds)):
        with working(sized_workload(rng), GENERATORS[kind], seconds=RUN_S + 60):
            machine.set_job(f"record-{number:03}")
            time.sleep(RUN_S)
            machine.set_job("between")
        rows.append(f"record-{number:03},workload,{kind}")
        (machine.folder / "labels.csv").write_text("\n".join(rows) + "\n")
        print(rows[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)


def train(url, folder):
    """Train on what was recorded, by the notebooks of the study; writes metrics.json below `folder`/trained."""
    day = str(pd.Timestamp.now("UTC").date())
    extract = {"source": url, "labels": f"{folder}/labels.csv", "days": 1, "step_s": float(SCRAPE_S), "job_label": "slurm_job"}
    for step, parameters in ({"1_extract": extract} | TRAINED).items():
        run_cells(f"telemetry/{step}.ipynb", f"{folder}/trained", day=day, **parameters)


class Stream:
    """`nightshift live telemetry` in a process of its own, and the lines that it prints."""

    def __init__(self, machine):
        self.folder, self.paths = machine.folder, study_paths("telemetry", f"{machine.folder}/products")
        extract = {"source": machine.url, "job_label": "slurm_job", "step_s": SCRAPE_S}
        study = {"extract": extract, "analyse": {"alarm_rate": ALARM_RATE}}
        config = {"day": str(pd.Timestamp.now("UTC").date()), "products": str(self.paths.root), "studies": {"telemetry": study}}
        (self.folder / "site.yaml").write_text(yaml.safe_dump(config))
        metrics = [name.removesuffix("::prometheus") for name in Prometheus({}, "instance", "", SCRAPE_S, 60, 5.0, None).queries]
        cut = {"sampling_s": SCRAPE_S, "least_coverage": 0.5, **TRAINED["2_preprocess"]}
        process = multiprocessing.Process(target=write_noise_models, args=(self.paths, metrics, [], cut))  # JAX stays out of this one, which forks
        process.start()
        process.join()

    @contextmanager
    def looking(self):
        """Look from now on."""
        command = [sys.executable, "-m", "nightshift", "live", "telemetry", "--config", str(self.folder / "site.yaml")]
        with open(self.folder / "alarms.jsonl", "w") as lines, open(self.folder / "stream.log", "w") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=lines, stderr=log, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
        try:
            assert wait_until(self.state, 120), "the stream does not look"
            yield self
        finally:
            self.process.terminate()
            self.process.wait()

    def state(self):
        """What it says of itself; {} before it has looked."""
        assert self.process.poll() is None, (self.folder / "stream.log").read_text()[-500:]
        path = self.paths.root / "data/live/telemetry.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def take(self, models):
        """Let it take the models in a folder in the place of its own."""
        own, last = self.paths.models, "detector.json"  # without that one it waits for a training to end
        before = json.loads((own / last).read_text())["trained_day"]
        (own / last).unlink()
        for path in sorted(models.iterdir(), key=lambda one: one.name == last):
            shutil.copy(path, own / path.name)
        assert wait_until(lambda: self.state().get("trained_day") != before, 60), "the models are not taken"

    def follow(self, job, seconds, name=""):
        """Wait for an alarm of a job that is called `name`: (seconds until then, None where there is none; number of alarms that begin)."""
        began, path, after, n_alarms = time.monotonic(), self.folder / "alarms.jsonl", None, 0
        read = len(path.read_bytes())
        while time.monotonic() - began < seconds and after is None:
            time.sleep(1)
            assert self.state(), "the stream has ended"
            text = path.read_bytes()[read:].rpartition(b"\n")[0]
            read += len(text)
            alarms = [alarm for alarm in map(json.loads, filter(None, text.split(b"\n"))) if alarm["job"] == job]
            n_alarms += sum(alarm["alarm"] == "begins" for alarm in alarms)
            if name and any(alarm["diagnosis"] == name and alarm["alarm"] != "ends" for alarm in alarms):
                after = time.monotonic() - began
        return after, n_alarms


def troubles(n_runs=40, n_tries=10, rest=120):
    """Print what the models are worth, and how soon which trouble is told."""
    with tempfile.TemporaryDirectory() as folder, Machine(Path(folder)).scraped() as machine, Stream(machine).looking() as stream:
        record(machine, n_runs)
        subprocess.run([sys.executable, __file__, "train", machine.url, folder], check=True)  # of which nothing stays in memory
        trained = study_paths("telemetry", f"{folder}/trained").models
        models = json.loads((trained / "metrics.json").read_text())["models"]
        for one in models:
            used = "in use" if one["in_use"] else "not in use"
            print(f"{one['name']}, {used}: {one['metric']} {one['model']:.2f} ({one['baseline_name']}: {one['baseline']:.2f})", flush=True)
        stream.take(trained)
        is_told, n_false, rng = [], 0, np.random.default_rng(2)
        for number in range(n_tries):
            kind, job = KINDS[1 + number % 3], f"try-{number:03}"
            with working(sized_workload(rng), seconds=3600):
                machine.set_job(job)
                n_before = stream.follow(job, RUN_S)[1]
                with working(GENERATORS[kind], seconds=WITHIN_S):
                    seconds, n_alarms = stream.follow(job, WITHIN_S, kind)
                machine.set_job("between")
            is_told.append(seconds is not None)
            n_false += n_before
            outcome = f"told after {seconds:.0f} s" if is_told[-1] else "not told"
            print(f"{kind}: {outcome}; {n_before} alarms before it, {n_alarms} in it, load {os.getloadavg()[0]:.1f}", flush=True)
        with working(sized_workload(rng), seconds=60 * rest + 60):
            machine.set_job("rest")
            n_resting = stream.follow("rest", 60 * rest)[1]
        print(f"told within {WITHIN_S} s: {sum(is_told)} of {n_tries}")
        print(f"false alarms: {n_resting} in {rest} minutes of rest, {n_false} in {n_tries * RUN_S / 60:.0f} minutes before the troubles")


if __name__ == "__main__":
    mode, *words = sys.argv[1:] or ["load"]  # "train" is for a process of `troubles`
    train(*words) if mode == "train" else {"load": load, "troubles": troubles}[mode](*map(int, words))
