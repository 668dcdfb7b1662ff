"""Data of public generators for bench/validity.py: their truth is known, and nobody here has written what is usual in them.

Nodes come from GutenTAG (Wenig, Schmidl & Papenbrock 2022, "TimeEval: a benchmarking toolkit for time series anomaly detection algorithms"). It asks
for an older SciPy than this project, so it runs with a Python of its own, which the environment variable GENERATORS_PYTHON names.

Jobs come from the workload model of Lublin & Feitelson 2003, "The workload on parallel supercomputers: modeling the characteristics of rigid jobs",
J. Parallel Distrib. Comput. 63, 1105-1122, with the constants of the authors' program m_lublin99.c. The package parallelworkloads wraps that program,
but its release 0.1.3 lacks the wrapper's sources and installs nothing, so the model is written down here.

No public generator was found for lumisections, transfers and tickets: docs/validity.md says what was looked at.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import yaml
from scipy.stats import gamma

# ------------------------------------------------------------------------------------------- nodes of GutenTAG

GENERATORS_PYTHON = os.environ.get("GENERATORS_PYTHON", sys.executable)
GUTENTAG = "timeeval-GutenTAG==1.5.0"
N_NODES, N_SAMPLES, SAMPLE_S = 8, 10_000, 300  # 10,000 samples a series, as in the generator's own test cases: 35 days
WEEK_SAMPLES = 7 * 86_400 // SAMPLE_S
LENGTHS = (10, 50, 100, 500)  # samples, those of the generator's benchmark but for the shortest and the longest
CHANNELS_HIT = (1, 2, 5, 10)  # as in its multivariate test cases
KINDS = {  # what may go wrong, by base oscillation: all that the generator can do to one and that lasts
    "sine": ("amplitude", "frequency", "mean", "pattern", "platform", "variance"),
    "ecg": ("amplitude", "frequency", "mean", "pattern", "platform", "variance"),
    "cylinder-bell-funnel": ("amplitude", "mean", "pattern", "platform", "variance"),
    "random-walk": ("amplitude", "mean", "platform", "variance"),
}
STEADY = {"sine": 4, "ecg": 3, "cylinder-bell-funnel": 3}  # channels of a node
WANDERING = {"sine": 3, "ecg": 3, "cylinder-bell-funnel": 2, "random-walk": 2}


def lacking():
    """What to install for the nodes, one line; empty where nothing is lacking."""
    if not subprocess.run([GENERATORS_PYTHON, "-c", "import gutenTAG"], capture_output=True).returncode:
        return ""
    return f"`pip install {GUTENTAG}` brings it, in an environment of its own, whose Python GENERATORS_PYTHON names"


def oscillation(kind, rng, *, rises):
    """One channel as GutenTAG's configuration has it, by the ranges of its multivariate test cases; what `rises` gains its amplitude in a week."""
    noise, offset, amplitude = rng.uniform(0, 0.1), rng.uniform(-10, 10), rng.uniform(0.1, 10)
    own = {
        "sine": {"frequency": int(rng.integers(1, 50)), "amplitude": amplitude},
        "ecg": {"frequency": int(rng.integers(10, 50)), "variance": 0.001},
        "cylinder-bell-funnel": {
            "amplitude": amplitude,
            "avg-pattern-length": int(rng.integers(10, 200)),
            "variance-pattern-length": 0.2,
            "variance-amplitude": 0.5,
        },
        "random-walk": {"amplitude": 1.0, "smoothing": 0.01},
    }[kind]
    slope = own.get("amplitude", 1.0) / WEEK_SAMPLES  # polynomials count samples
    trend = {"trend": {"kind": "polynomial", "polynomial": [0.0, slope]}} if rises else {}
    return {"kind": kind, "variance": noise, "offset": offset} | own | trend


def anomaly(kind, rng):
    """One trouble as GutenTAG's configuration has it, by the ranges of its multivariate test cases."""
    factors = [0.1, 0.25, 0.5, 2.0, 3.0, 10.0]
    return {
        "amplitude": {"amplitude_factor": float(rng.choice(factors))},
        "frequency": {"frequency_factor": float(rng.choice(factors))},
        "mean": {"offset": rng.uniform(-10, 10)},
        "pattern": {"sinusoid_k": rng.uniform(), "cbf_pattern_factor": rng.uniform()},
        "platform": {"value": float(rng.integers(10))},
        "variance": {"variance": rng.uniform(0, 0.5)},
    }[kind] | {"kind": kind}


def troubles(kinds, rng, n):
    """n troubles of a node whose channels are of the `kinds`: each in its own part of the later half, on some of the channels at once."""
    starts = np.linspace(N_SAMPLES / 2, N_SAMPLES, n, endpoint=False)
    for first, last in zip(starts, starts + N_SAMPLES / 2 / n, strict=True):
        length, hit = int(rng.choice(LENGTHS)), rng.choice(len(kinds), int(rng.choice(CHANNELS_HIT)), replace=False)
        where = {"exact-position": int(rng.uniform(first, last - 1.2 * length)), "length": length}
        yield from (where | {"channel": int(channel), "kinds": [anomaly(str(rng.choice(KINDS[kinds[channel]])), rng)]} for channel in hit)


def write_nodes(folder, channels, *, seed, n_troubles=6, rises=False):
    """Generate nodes and write them to `folder` as a table like the real sets: its path.

    channels : {base oscillation: how many of a node's channels}. n_troubles : of each node, all in the later half; the earlier one is to learn from.
    rises : whether the channels have a trend. ValueError where the generator fails.
    """
    rng, series = np.random.default_rng(seed), []
    kinds = [kind for kind, n in channels.items() for _ in range(n)]
    for number in range(N_NODES):
        of_node = {"base-oscillations": [oscillation(kind, rng, rises=rises) for kind in kinds], "anomalies": list(troubles(kinds, rng, n_troubles))}
        series.append({"name": f"node{number}", "length": N_SAMPLES} | of_node)
    (folder / "gutentag.yaml").write_text(yaml.safe_dump({"timeseries": series}))
    command = [GENERATORS_PYTHON, "-m", "gutenTAG", "--config-yaml", folder / "gutentag.yaml", "--seed", str(seed), "--output-dir", folder / "series"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"GutenTAG failed: {done.stderr.strip().splitlines()[-1]}")
    nodes = [one_node(path, path.parent.name) for path in sorted(folder.glob("series/*/test.csv"))]
    pd.concat(nodes, ignore_index=True).to_parquet(folder / "nodes.parquet", index=False)
    return folder / "nodes.parquet"


def one_node(path, node):
    """The rows of one generated series: a row per sample, with a column per channel."""
    series = pd.read_csv(path)
    times = pd.date_range("2026-01-05", periods=len(series), freq=f"{SAMPLE_S}s", tz="UTC", unit="us")
    metrics = series.filter(like="value-").rename(columns=lambda name: f"metric_{int(name.removeprefix('value-')):02d}")
    split = np.where(np.arange(len(series)) < len(series) // 2, "train", "test")
    return metrics.assign(node_id=node, timestamp=times, split=split, anomalous=series.is_anomaly.astype(int))


# ---------------------------------------------------------------------------------- jobs by Lublin & Feitelson

N_SITES, WEEKS, MONDAY = 12, 104, pd.Timestamp("2024-01-01", tz="UTC")
LAST_DAY = (MONDAY + pd.Timedelta(weeks=WEEKS, days=-1)).date()
MACHINES = (6, 9)  # log2 of the processors of the smallest and of the largest machine; the model's own has 128
JOBS_A_WEEK = 1500  # enough for either queue: the busier one gets 980
LONGEST_RUN, LONGEST_GAP = 12, 13  # logarithms of seconds
HALF_HOURS, HALF_HOUR_S = 48, 1800
DAY_BEGINS = 11  # half hours after midnight, where the gamma distribution over the day begins
QUEUES = {
    "interactive": {
        "serial": 0.1541,  # share of jobs on one processor
        "power_of_two": 0.625,
        "sizes": (1.0, -4.0, -1.5),  # log2: the smallest parallel job; the bend and the largest one, from the machine's size
        "below_bend": 0.705,
        "short": (3.8351, 0.6605),  # shape and scale of a gamma distribution of the logarithm of the run time in seconds
        "long": (7.073, 0.6856),
        "share_short": (-0.0118, 0.9156),  # a line in the processors
        "gap": (6.5510 * 0.9797, 0.6621),  # between two submissions, of the logarithm of seconds
        "day": (8.9186, 3.6680),  # of submissions over the half hours of a day
    },
    "batch": {
        "serial": 0.2927,
        "power_of_two": 0.6686,
        "sizes": (1.2, -2.0, 0.0),
        "below_bend": 0.875,
        "short": (6.57, 0.823),
        "long": (639.1, 0.0156),
        "share_short": (-0.003, 0.6986),
        "gap": (6.0415 * 1.0519, 0.8531),
        "day": (6.1271, 5.2740),
    },
}


def drawn_below(limit, draw, n):
    """n values of `draw(rows)`, those above the limit drawn again."""
    values = draw(np.arange(n))
    while len(far := np.flatnonzero(values > limit)):
        values[far] = draw(far)
    return values


def submissions(queue, n, rng):
    """Seconds of n submissions since a midnight, float64 (n,): gaps are shorter where the day is busier."""
    shape, scale = queue["day"]
    half_hours = np.arange(DAY_BEGINS, DAY_BEGINS + HALF_HOURS)
    weights = np.empty(HALF_HOURS)
    weights[(half_hours - 1) % HALF_HOURS] = gamma.cdf(half_hours + 0.5, shape, scale=scale) - gamma.cdf(half_hours - 0.5, shape, scale=scale)
    busy = np.r_[0, np.cumsum(weights / weights.mean())]  # time as it would pass were all half hours alike
    gaps = np.exp(drawn_below(LONGEST_GAP, lambda rows: rng.gamma(*queue["gap"], len(rows)), n))
    days, rest = np.divmod(np.cumsum(gaps) / HALF_HOUR_S, HALF_HOURS)
    return HALF_HOUR_S * (HALF_HOURS * days + np.interp(rest, busy, np.arange(HALF_HOURS + 1)))


def processors(queue, n, rng, *, machine):
    """Processors of n jobs, int64 (n,), on a machine of 2**machine."""
    smallest, bend, largest = queue["sizes"][0], machine + queue["sizes"][1], machine + queue["sizes"][2]
    kind, low = rng.uniform(size=n), rng.uniform(size=n) <= queue["below_bend"]
    power = rng.uniform(np.where(low, smallest, bend), np.where(low, bend, largest))
    power = np.where(kind <= queue["serial"] + queue["power_of_two"], np.floor(power + 0.5), power)
    return np.where(kind <= queue["serial"], 1, np.floor(2**power + 0.5)).astype(int)


def run_times(queue, sizes, rng):
    """Seconds that jobs run, int64 (n,), by their processors `sizes` (n,): the larger, the longer."""
    slope, share = queue["share_short"]
    shares = np.clip(slope * sizes + share, 0, 1)

    def draw(rows):
        short = rng.uniform(size=len(rows)) <= shares[rows]
        return np.where(short, rng.gamma(*queue["short"], len(rows)), rng.gamma(*queue["long"], len(rows)))

    return np.exp(drawn_below(LONGEST_RUN, draw, len(sizes))).astype(int)


def jobs(queue, rng, *, machine, weeks):
    """Jobs of a queue in as many weeks, in order of submission: DataFrame of `submit`, `run` and `processors`."""
    n = JOBS_A_WEEK * weeks
    sizes = processors(queue, n, rng, machine=machine)
    frame = pd.DataFrame({"submit": submissions(queue, n, rng).astype(int), "run": run_times(queue, sizes, rng), "processors": sizes})
    return frame[frame.submit < weeks * 7 * 86_400]


def write_log(path, rng, *, machine):
    """Write a site's jobs of all weeks in the Standard Workload Format. The queue stands as group and user, since the model has neither."""
    both = pd.concat([jobs(queue, rng, machine=machine, weeks=WEEKS).assign(queue=number) for number, queue in enumerate(QUEUES.values())])
    both = both.sort_values("submit", ignore_index=True)
    fields = np.full((len(both), 18), -1)
    fields[:, 0] = np.arange(1, len(both) + 1)
    fields[:, [1, 3, 4]] = both[["submit", "run", "processors"]]
    fields[:, [11, 12, 14]] = both[["queue"]]
    header = f"; UnixStartTime: {MONDAY.timestamp():.0f}\n; MaxProcs: {2**machine}\n"
    path.write_text(header + pd.DataFrame(fields).to_csv(sep=" ", header=False, index=False))


def write_sites(folder, *, seed):
    """Write the logs of sites, each an own run of the model on a machine of its own size: the folder."""
    rng = np.random.default_rng(seed)
    (folder / "sites").mkdir()
    for number in range(N_SITES):
        write_log(folder / f"sites/site{number:02d}.swf", rng, machine=int(rng.integers(MACHINES[0], MACHINES[1] + 1)))
    return folder / "sites"
