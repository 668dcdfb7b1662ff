"""The simulated accelerators: allocations of GPUs, some of them never used, and what DCGM, the monitoring of
NVIDIA, writes of them.

make_devices, draw_allocations    GPUs, and who holds which when
gpu_incidents                     allocations that are never used
measure_gpus, write_gpus          one row per GPU and five minutes
"""

import numpy as np
import pandas as pd

from nightshift.simulate.timeline import write_gzip

SPAN = pd.Timedelta(days=14)  # before the end of the sample
JOBS_PER_GPU = 60  # more than fit into the span: one lasts 11 hours on average, the pause after it 4
IDLE_SHARE = 1 / 8  # of the allocations
MEMORY_MIB = 81920


def make_devices(clusters):
    """Make two nodes with four GPUs each for the first two of `clusters`: DataFrame site, node, gpu."""
    rows = [
        (site, f"{site.lower()}-g{i:02d}", gpu) for site in clusters[:2] for i in (1, 2) for gpu in range(4)
    ]
    return pd.DataFrame(rows, columns=["site", "node", "gpu"])


def draw_allocations(rng, settings, *, devices):
    """Draw the jobs of each GPU, one after the other, until the end of the sample.

    Returns `devices` with start, end, idle, user, load (percent), held_mib and hpc_job, one row per job.
    """
    shape = len(devices), JOBS_PER_GPU
    lasts_h, pause_h = 1 + rng.gamma(2, 5, shape), 0.2 + rng.exponential(4, shape)
    until_h = np.cumsum(lasts_h + pause_h, axis=1) - pause_h
    held = devices.loc[devices.index.repeat(JOBS_PER_GPU)].reset_index(drop=True)
    since = pd.to_timedelta((until_h - lasts_h).ravel(), unit="h")
    held["start"] = (settings.end - SPAN + since).floor("5min")
    held["end"] = (held.start + pd.to_timedelta(lasts_h.ravel(), unit="h")).dt.floor("5min")
    held["idle"] = rng.uniform(size=len(held)) < IDLE_SHARE
    held["user"] = [f"u{n:03d}" for n in rng.integers(1, 15, len(held))]
    held["load"], held["held_mib"] = 100 * rng.beta(6, 2, len(held)), rng.uniform(4e3, 70e3, len(held))
    held = held[held.start < settings.end].reset_index(drop=True)
    held["hpc_job"] = (70000 + 7 * held.start.rank(method="first")).astype("int64")
    return held


def gpu_incidents(held, outages, *, end):
    """Return the idle allocations of `held` as incidents, except those that begin while their site is out."""
    idle = held[held.idle]
    out = [
        ((outages.entity == h.site) & (outages.start <= h.start) & (outages.end > h.start)).any()
        for h in idle.itertuples()
    ]
    idle = idle[~np.array(out, bool)]
    return pd.DataFrame(
        {
            "kind": "idle_gpu",
            "start": idle.start,
            "end": idle.end.clip(upper=end),
            "strength": 1.0,
            "entity": idle.node + " gpu " + idle.gpu.astype(str),
            "site": idle.site,
        }
    )


def measure_gpus(rng, settings, *, devices, held, outages):
    """Measure every GPU every five minutes: DataFrame in DCGM's columns, by time, node and number.

    Power follows load and temperature power; an idle GPU draws 60 W. A site that is out writes nothing.
    """
    keys = ["site", "node", "gpu"]
    times = pd.date_range(settings.end - SPAN, settings.end, freq="5min", inclusive="left")
    rows = devices.merge(pd.DataFrame({"time": times.astype(held.start.dtype)}), how="cross")
    jobs = held.rename(columns={"start": "time"}).sort_values("time")
    rows = pd.merge_asof(rows.sort_values("time", kind="stable"), jobs, on="time", by=keys)
    dark = np.logical_or.reduce(
        [(rows.site == o.entity) & (rows.time >= o.start) & (rows.time < o.end) for o in outages.itertuples()]
    )
    rows = rows[~dark].sort_values(["time", "node", "gpu"], ignore_index=True)
    n, in_use = len(rows), (rows.time < rows.end).to_numpy()
    computes = in_use & rows.idle.ne(True)  # missing before the first job of a GPU
    load = np.clip(np.where(computes, rows["load"] + 8 * rng.normal(size=n), 0), 0, 100).round()
    power = 60 + 3.2 * load * rng.lognormal(0, 0.03, n) + rng.normal(0, 1.5, n)
    memory = np.where(in_use, rows.held_mib, 3).round()
    degrees = 28 + power / 8 + rng.normal(0, 1, n)
    return pd.DataFrame(
        {
            "timestamp": rows.time.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Hostname": rows.node,
            "gpu": rows.gpu,
            "hpc_job": rows.hpc_job.astype("Int64").astype("str").where(in_use, ""),
            "user": rows.user.where(in_use, ""),
            "DCGM_FI_DEV_GPU_UTIL": load.astype(int),
            "DCGM_FI_DEV_FB_USED": memory.astype(int),
            "DCGM_FI_DEV_FB_FREE": (MEMORY_MIB - memory).astype(int),
            "DCGM_FI_DEV_POWER_USAGE": power.round(1),
            "DCGM_FI_DEV_GPU_TEMP": degrees.round().astype(int),
        }
    )


def write_gpus(rows, path):
    """Write the rows of `measure_gpus` to `path` as CSV in gzip."""
    write_gzip(rows.to_csv(index=False), path)
