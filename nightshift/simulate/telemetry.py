"""The simulated clusters: jobs on watched nodes, trouble beside them, and what LDMS writes every second.

Jobs       a labelled campaign, then nights               choose_clusters, make_nodes, draw_jobs
Runs       one row per node of a job, and its trouble     draw_runs, node_incidents
Behaviour  one row per run, one column per second         Chance, compute_work, compute_load
LDMS       gauges, counters, a file per sampler           simulate_nodes, draw_clock, write_samplers
"""

import gzip
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv
from scipy.signal import lfilter

from helpers import atomic
from nightshift.simulate.timeline import write_csv

RUN_S, N_CORES, NODES_PER_CLUSTER = 420, 32, 4
KIB_PER_GIB = 2.0**20
TOTAL_KIB = 128 * KIB_PER_GIB  # memory of a node
SAMPLERS = ["meminfo", "procstat", "vmstat", "procnetdev", "perfevent"]
CAMPAIGN_DAYS = 20  # before the nights
LABELLED_KINDS = [
    "memleak",
    "cpuoccupy",
    "membw",
    "cachecopy",
]  # those that the literature injects, Ates et al. 2019
KINDS = [*LABELLED_KINDS, "throttled"]  # a node whose clock is lowered is nowhere among the labels

# How busy an application keeps the cores, how long a round of computing and communicating takes and how
# much of it is communication, instructions per cycle, cache misses per thousand instructions, network,
# memory, page faults.
APPS = pd.DataFrame(
    [
        ("stencil", 0.90, 20, 0.25, 1.1, 12, 40, 60, 18, 4),
        ("particles", 0.95, 35, 0.10, 1.9, 3, 15, 20, 8, 2),
        ("sparse", 0.86, 12, 0.35, 0.7, 20, 45, 120, 26, 6),
        ("spectral", 0.82, 25, 0.45, 1.4, 8, 30, 400, 22, 9),
        ("training", 0.60, 8, 0.30, 1.2, 6, 25, 35, 40, 12),
    ],
    columns=["app", "busy", "round_s", "swing", "ipc", "llc", "l2", "net_mb_s", "memory_gib", "faults_k"],
)
INPUTS = pd.Series({"small": 0.6, "medium": 1.0, "large": 1.7}, name="size")  # more memory and longer rounds


# ------------------------------------------------------------------------------------------------------- Jobs


def choose_clusters(outages, sites):
    """Choose the three sites whose nodes are watched: those of `outages` first, then the most popular."""
    return pd.unique(np.concatenate([outages.entity, sites.site]))[:3]


def make_nodes(clusters):
    """Make four nodes for each cluster: DataFrame site, node."""
    numbers = range(1, NODES_PER_CLUSTER + 1)
    rows = [(site, f"{site.lower()}-n{i:02d}") for site in clusters for i in numbers]
    return pd.DataFrame(rows, columns=["site", "node"])


def plan_campaign(settings, clusters):
    """Plan the labelled campaign, in random order: DataFrame app, input, trouble, site, start, night (-1).

    Every application runs with every input, twice healthy and once beside each of LABELLED_KINDS; each
    cluster begins a job every 15 minutes, 20 days before the first night.
    """
    kinds = [*LABELLED_KINDS, "none", "none"]
    jobs = [(app, size, kind) for app in APPS.app for size in INPUTS.index for kind in kinds]
    campaign = pd.DataFrame(jobs, columns=["app", "input", "trouble"])
    campaign = campaign.sample(frac=1, random_state=settings.seed, ignore_index=True)
    campaign["site"] = clusters[np.arange(len(campaign)) % len(clusters)]
    begins = (settings.end - pd.Timedelta(days=settings.nights + CAMPAIGN_DAYS)).floor("D")
    campaign["start"] = begins + pd.to_timedelta(np.arange(len(campaign)) // len(clusters) * 900, unit="s")
    return campaign.assign(night=-1)


def draw_night_jobs(rng, settings, *, clusters, outages):
    """Draw one job a night on each cluster, between 6 and 23 h: DataFrame night, site, start, app, input.

    While its site is out, by `outages`, a cluster runs nothing.
    """
    jobs = pd.DataFrame({"night": np.arange(settings.nights)})
    jobs = jobs.merge(pd.DataFrame({"site": clusters}), how="cross")
    n = len(jobs)
    at_s = jobs.night * 86400 + rng.uniform(6 * 3600, 23 * 3600, n)
    first = settings.end - pd.Timedelta(days=settings.nights)
    jobs["start"] = first + pd.to_timedelta(at_s.round(), unit="s")
    jobs["app"], jobs["input"] = rng.choice(APPS.app, n), rng.choice(INPUTS.index, n)
    lasts = pd.Timedelta(seconds=RUN_S)
    out = [
        ((outages.entity == job.site) & (outages.start < job.start + lasts) & (outages.end > job.start)).any()
        for job in jobs.itertuples()
    ]
    return jobs[~np.array(out)]


# ------------------------------------------------------------------------------------------------------- Runs


def draw_jobs(rng, settings, *, nodes, outages):
    """Draw the jobs of campaign and nights, with the nodes of each: DataFrame with a row per node of a job,
    by start and node.

    nodes : of `make_nodes`. Columns: those of `plan_campaign`, job_id, node, those of APPS, size.
    """
    clusters = nodes.site.unique()
    campaign = plan_campaign(settings, clusters)
    night_jobs = draw_night_jobs(rng, settings, clusters=clusters, outages=outages)
    jobs = pd.concat([campaign, night_jobs.assign(trouble="none")], ignore_index=True)
    jobs = jobs.sort_values("start", ignore_index=True)
    jobs["job_id"] = (41000 + 3 * jobs.index).astype(str)
    runs = jobs.merge(nodes, on="site").merge(APPS, on="app")
    runs = runs.merge(INPUTS, left_on="input", right_index=True)
    return runs.sort_values(["start", "node"], ignore_index=True)


def draw_runs(rng, settings, *, runs):
    """Return `runs`, of `draw_jobs`, with anomaly ("none" or one of KINDS), strength and onset_s.

    In the campaign two of the four nodes of a job have its trouble, from the start. Of the nights, the last
    five hold one run of each kind, earlier ones one in two nights; it begins 60 to 180 s after the job.
    Strengths lie between 0.4 and 1, 0 without trouble.
    """

    def choose_two(nodes):
        return nodes.isin(rng.choice(nodes, 2, replace=False))

    hit = runs.groupby("job_id").node.transform(choose_two)
    runs = runs.assign(anomaly=runs.trouble.where(hit, "none"))
    last_nights, nights = rng.permutation(KINDS), settings.nights
    for night in range(nights):
        kind = last_nights[night % 5] if night >= nights - 5 or night % 2 else "none"
        runs.loc[rng.choice(runs.index[runs.night == night]), "anomaly"] = kind
    runs["strength"] = np.where(runs.anomaly != "none", rng.uniform(0.4, 1, len(runs)), 0).round(2)
    runs["onset_s"] = np.where(runs.night >= 0, rng.uniform(60, 180, len(runs)).round(), 0)
    return runs


def node_incidents(runs):
    """Return the troubled runs of the nights among `runs`, of `draw_runs`, as incidents."""
    hit = runs[(runs.night >= 0) & (runs.anomaly != "none")]
    return pd.DataFrame(
        {
            "kind": hit.anomaly,
            "start": hit.start + pd.to_timedelta(hit.onset_s, unit="s"),
            "end": hit.start + pd.Timedelta(seconds=RUN_S),
            "strength": hit.strength,
            "entity": hit.node,
            "site": hit.site,
        }
    )


def write_labels(runs, path):
    """Write which run of the campaign had which trouble to `path`, one row per run of a node."""
    labels = runs.loc[runs.night < 0, ["job_id", "node", "app", "input", "anomaly"]]
    write_csv(labels.rename(columns={"node": "node_id"}), path)


# -------------------------------------------------------------------------------------------------- Behaviour


@dataclass(frozen=True)
class Chance:
    """Draw what differs between seconds, runs and nodes; arrays are (runs, seconds)."""

    rng: np.random.Generator
    of_node: np.ndarray  # number of the node of each run
    n_nodes: int

    @property
    def shape(self):
        """(number of runs, seconds of a run)."""
        return len(self.of_node), RUN_S

    def about_one(self, sd, *, of_run=0.03, of_each=0.015):
        """Factors around one: noise of deviation `sd` with a memory of 5 s, offsets of the run and of the
        node.
        """
        step = np.exp(-1 / 5.0)
        steps = self.rng.normal(size=self.shape)
        noise = lfilter([np.sqrt(1 - step**2)], [1, -step], steps, axis=1)
        offset = of_run * self.rng.normal(size=self.shape[0])
        offset = offset + of_each * self.rng.normal(size=self.n_nodes)[self.of_node]
        return np.exp(sd * noise + offset[:, None])


def compute_work(chance, runs):
    """Compute what the applications do: dict of (runs, seconds) communicates, ramp, busy, memory_gib.

    The nodes of a job go through its rounds together; `communicates` is 0 while they compute and 1 while they
    communicate; a job starts and ends slowly (`ramp`).
    """
    app = {name: runs[name].to_numpy()[:, None] for name in [*APPS.columns[1:], "size"]}
    seconds, of_job = np.arange(RUN_S), runs.job_id.factorize()[0]
    phase = chance.rng.uniform(size=runs.job_id.nunique())[of_job][:, None]
    rounds = seconds / (app["round_s"] * app["size"] ** 0.3) + phase
    communicates = 1 / (1 + np.exp(-12 * (np.sin(2 * np.pi * rounds) - 0.4)))
    ramp = np.clip(np.minimum(seconds / 30, (RUN_S - seconds) / 20), 0.05, 1)
    busy = app["busy"] * (1 - app["swing"] * communicates) * ramp
    busy = np.clip(busy * chance.about_one(0.02, of_run=0.01, of_each=0.004), 0, 0.99)
    memory = app["memory_gib"] * app["size"] * np.clip(seconds / 45, 0.05, 1)
    memory = memory * chance.about_one(0.004, of_run=0.04)
    return app | {"communicates": communicates, "ramp": ramp, "busy": busy, "memory_gib": memory}


def amounts(runs):
    """Strength of each of KINDS, {kind: (runs, seconds)}: 0 where there is none."""
    begun = np.arange(RUN_S) >= runs.onset_s.to_numpy()[:, None]
    return {kind: runs.strength.where(runs.anomaly == kind, 0).to_numpy()[:, None] * begun for kind in KINDS}


def compute_load(chance, work, *, trouble):
    """Compute what nodes do under `trouble`, of `amounts`: dict of (runs, seconds), rates per second.

    user, system, waits : cores. `cpuoccupy` is the hard one: it takes up to 1.6 of 32 cores that are nearly
    all busy, seen in some more user time, a longer run queue and somewhat fewer instructions of the
    application. The two memory troubles differ in which cache misses. A leak grows by up to 0.06 GiB a
    second.
    """
    leak, occupy, bandwidth, cache, throttle = (trouble[kind] for kind in KINDS)
    communicates, swing = work["communicates"], work["swing"]
    user = N_CORES * work["busy"] + 1.6 * occupy
    user = user + 0.5 * (bandwidth > 0) + 0.5 * (cache > 0) + 0.1 * (leak > 0)
    user = np.minimum(user, N_CORES * 0.998)
    system = N_CORES * (0.008 + 0.05 * communicates * swing) * chance.about_one(0.05) * (1 + 0.3 * leak)
    waits = N_CORES * 0.002 * chance.rng.gamma(0.4, 2.5, chance.shape)
    cycles = 2.6e9 * user * (1 - 0.35 * throttle) * chance.about_one(0.01, of_run=0.005, of_each=0.004)
    ipc = work["ipc"] * (1 - 0.4 * bandwidth - 0.26 * cache - 0.03 * occupy) * (1 - 0.2 * communicates)
    instructions = cycles * (ipc * chance.about_one(0.02))
    llc = instructions / 1000 * work["llc"] * chance.about_one(0.04) + 5e8 * bandwidth + 0.5e8 * cache
    l2 = instructions / 1000 * work["l2"] * chance.about_one(0.04) + 4e8 * bandwidth + 15e8 * cache
    faults = work["faults_k"] * 1000 * work["ramp"] * chance.about_one(0.08) + 12_000 * leak + 300 * bandwidth
    traffic = work["net_mb_s"] * 1e6 * (0.1 + communicates) * work["ramp"] * chance.about_one(0.1)
    rates = {"cycles": cycles, "instructions": instructions, "llc_misses": llc, "l2_misses": l2}
    rates |= {"faults": faults, "traffic": traffic, "user": user, "system": system, "waits": waits}
    return rates | {"leaked_gib": np.cumsum(0.06 * leak, axis=1)}


# ------------------------------------------------------------------------------------------------------- LDMS


def compute_gauges(chance, work, *, load, trouble):
    """Compute the metrics that go up and down: {sampler: {metric: (runs, seconds) or a number}}, memory in
    KiB.
    """
    anonymous = (work["memory_gib"] + load["leaked_gib"] + 1.2) * KIB_PER_GIB
    cached = 6 * KIB_PER_GIB * chance.about_one(0.002, of_run=0.1)
    free = np.maximum(TOTAL_KIB - anonymous - cached - 3 * KIB_PER_GIB, 0.5 * KIB_PER_GIB)
    queue = load["user"] + 2.5 * trouble["cpuoccupy"] + 0.8 * chance.rng.normal(size=chance.shape)
    memory = {
        "MemTotal": TOTAL_KIB,
        "MemFree": free,
        "MemAvailable": free + 0.8 * cached,
        "Cached": cached,
        "AnonPages": anonymous,
        "Active": 0.9 * anonymous + 0.4 * cached,
        "Inactive": 0.1 * anonymous + 0.5 * cached,
        "SwapFree": 0.0,
        "HugePages_Total": 0.0,
        "Slab": 0.9 * KIB_PER_GIB * chance.about_one(0.002),
        "Dirty": 900 * chance.rng.gamma(1, 1, chance.shape),
    }
    processes = {
        "procs_running": np.maximum(queue, 0),
        "procs_blocked": chance.rng.poisson(load["waits"]),
    }
    return {"meminfo": memory, "procstat": processes}


def compute_rates(chance, load, *, trouble):
    """Compute how fast the counters grow: {sampler: {metric: (runs, seconds) or a number}}, per second.

    Times are in hundredths of a second.
    """
    user, system, waits = load["user"], load["system"], load["waits"]
    faults, traffic, leak = load["faults"], load["traffic"], trouble["memleak"]
    processes = {
        "user": 100 * user,
        "sys": 100 * system,
        "idle": 100 * np.maximum(N_CORES - user - system - waits, 0),
        "iowait": 100 * waits,
        "nice": 0.0,
        "intr": 4000 * chance.about_one(0.05) + traffic / 9000,
        "ctxt": (2500 + traffic / 30_000) * chance.about_one(0.06) + 600 * trouble["cpuoccupy"],
        "processes": chance.rng.poisson(0.3, chance.shape) + 0.0,
    }
    memory = {
        "pgfault": faults,
        "pgmajfault": chance.rng.poisson(0.02 + 0.3 * leak),
        "pgalloc_normal": 1.3 * faults * chance.about_one(0.05),
        "pgfree": np.maximum(1.3 * faults - 12_000 * leak, 0) * chance.about_one(0.05),
        "numa_hit": 1.2 * faults * chance.about_one(0.05),
        "numa_miss": 40 * chance.about_one(0.3) + 500 * leak,
        "pswpin": 0.0,
    }
    network = {
        "rx_bytes": traffic * chance.about_one(0.03),
        "tx_bytes": traffic * chance.about_one(0.03),
        "rx_packets": traffic / 4000 * chance.about_one(0.03),
    }
    events = {name: load[name] for name in ("cycles", "instructions", "llc_misses", "l2_misses")}
    return {"procstat": processes, "vmstat": memory, "procnetdev": network, "perfevent": events}


def simulate_nodes(rng, runs, *, n_nodes):
    """Simulate what the nodes of `runs`, of `draw_runs`, do in every second: (gauges, rates), as
    `compute_gauges` and `compute_rates` give them.
    """
    chance = Chance(rng, runs.node.factorize()[0], n_nodes)
    trouble, work = amounts(runs), compute_work(chance, runs)
    load = compute_load(chance, work, trouble=trouble)
    gauges = compute_gauges(chance, work, load=load, trouble=trouble)
    return gauges, compute_rates(chance, load, trouble=trouble)


@dataclass(frozen=True)
class Clock:
    """When the samplers wrote: there (runs * seconds,), micro (rows that are there,) since 1970, up_s
    (runs, 1).
    """

    there: np.ndarray
    micro: np.ndarray
    up_s: np.ndarray

    def keep(self, values):
        """Values of the rows that are there, (rows,), of `values` that broadcast to (runs, seconds)."""
        return np.broadcast_to(values, (len(self.up_s), RUN_S)).ravel()[self.there]


def draw_clock(rng, runs, *, nodes):
    """Draw when samplers wrote: one second in 2,000 is missing, and one run in fifty has a gap of 5 to 24 s.

    A counter goes on growing through a gap, and has grown since the node was started.
    """
    shape = len(runs), RUN_S
    since_boot = {node: rng.integers(10**5, 10**7) for node in nodes.node}
    missing = rng.uniform(size=shape) < 0.0005
    for run in np.flatnonzero(rng.uniform(size=len(runs)) < 0.02):
        gap = rng.integers(60, RUN_S - 100)
        missing[run, gap : gap + rng.integers(5, 25)] = True
    there = ~missing.ravel()
    began = runs.start.dt.tz_convert(None).to_numpy("datetime64[us]").astype("int64")
    micro = began[:, None] + 1_000_000 * np.arange(RUN_S) + rng.integers(0, 3000, shape)
    up_s = (began / 1e6 - began.min() / 1e6 + runs.node.map(since_boot).to_numpy())[:, None]
    return Clock(there, micro.ravel()[there], up_s)


def write_samplers(folder, runs, *, gauges, rates, clock):
    """Write one file per LDMS sampler into `folder`, in gzip: one row per node and second of a job.

    gauges, rates : of `compute_gauges` and `compute_rates`; what has a rate is written as its counter.
    """
    keys = {
        "#Time": pc.divide(pa.array(clock.micro), pa.scalar(1e6)),
        "Time_usec": pa.array(clock.micro % 1_000_000),
        "ProducerName": pa.array(clock.keep(runs.node.to_numpy()[:, None])),
        "component_id": pa.array(clock.keep(runs.node.factorize()[0][:, None] + 1)),
        "job_id": pa.array(clock.keep(runs.job_id.to_numpy()[:, None])),
    }
    for sampler in SAMPLERS:
        metrics = dict(gauges.get(sampler, {}))
        for name, rate in rates.get(sampler, {}).items():
            grown = np.cumsum(rate + np.zeros((len(runs), RUN_S)), axis=1)
            metrics[name] = grown + np.max(rate) * clock.up_s
        whole = {name: np.rint(clock.keep(values)).astype("int64") for name, values in metrics.items()}
        write_sampler(pa.table(keys | whole), folder / f"{sampler}.csv.gz")


def write_sampler(table, path):
    """Write a pyarrow table to `path` as CSV in gzip, atomically, with no time and no name inside."""
    with (
        atomic(path) as temporary,
        open(temporary, "wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as out,
    ):
        out.write((",".join(table.column_names) + "\n").encode())
        options = pacsv.WriteOptions(include_header=False, quoting_style="none")
        pacsv.write_csv(table, out, options)


def examples_of_trouble(runs, gauges, *, rates):
    """Choose the last troubled run of the nights of each kind, in the metric that tells most of it.

    Returns {kind: (metric with unit, healthy, troubled)}: (other nodes of its job, seconds), (1, seconds).
    """
    events = rates["perfevent"]
    metrics = {
        "memleak": ("MemFree, GiB", gauges["meminfo"]["MemFree"], KIB_PER_GIB),
        "cpuoccupy": ("procs_running, processes", gauges["procstat"]["procs_running"], 1),
        "membw": ("llc_misses, million/s", events["llc_misses"], 1e6),
        "cachecopy": ("l2_misses, million/s", events["l2_misses"], 1e6),
        "throttled": ("cycles, billion/s", events["cycles"], 1e9),
    }
    examples = {}
    for kind, (label, values, unit) in metrics.items():
        job = runs.job_id[(runs.anomaly == kind) & (runs.night >= 0)].iloc[-1]
        of_job, ill = runs.job_id == job, runs.anomaly == kind
        examples[kind] = label, values[of_job & ~ill] / unit, values[of_job & ill] / unit
    return examples
