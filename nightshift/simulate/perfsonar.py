"""The simulated network measurements: loss, latency and throughput between hosts of the busiest links."""

import numpy as np
import pandas as pd


def draw_probes(rng, settings, *, files, storages, incidents):
    """Draw what perfSONAR measures every six hours between the hosts of the 60 busiest links.

    Returns DataFrame src_host, dst_host, time, loss_pct, latency_ms, throughput_mbps. A slow link or
    destination loses packets; a dead source or a stuck queue is no network trouble and leaves the probes
    alone.
    """
    host = storages.host.to_numpy()
    busy = files[["src", "dst"]].value_counts().head(60).reset_index()
    pairs = pd.DataFrame({"src_host": host[busy.src], "dst_host": host[busy.dst]}).drop_duplicates()
    times = pd.date_range(settings.start, settings.end, freq="6h", inclusive="left")
    probes = pairs.merge(pd.DataFrame({"time": times}), how="cross")
    n = len(probes)
    spread = rng.lognormal(0, 0.5, len(pairs)).repeat(n // len(pairs))
    bad = find_bad_probes(probes, storages, incidents=incidents)
    probes["loss_pct"] = (rng.gamma(0.5, 0.02, n) + np.where(bad, rng.gamma(4, 0.5, n), 0)).round(4)
    latency = 40 * spread * rng.lognormal(0, 0.05, n) * np.where(bad, 1.5, 1)
    probes["latency_ms"] = latency.round(2)
    probes["throughput_mbps"] = (4000 * rng.lognormal(0, 0.25, n) / np.where(bad, 6, 1)).round(1)
    return probes


def find_bad_probes(probes, storages, *, incidents):
    """Whether each of `probes` lies on a slow link, or ends at a slow destination: bool (probes,)."""
    host_of, bad = storages.set_index("rse").host, np.zeros(len(probes), bool)
    for row in incidents[incidents.kind.isin(["slow_link", "slow_destination"])].itertuples():
        ends = row.entity.split(" -> ")
        here = probes.dst_host == host_of[ends[-1]]
        if row.kind == "slow_link":
            here &= probes.src_host == host_of[ends[0]]
        bad |= (here & probes.time.between(row.start, row.end)).to_numpy()
    return bad
