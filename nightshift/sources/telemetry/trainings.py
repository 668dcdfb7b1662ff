"""How long the trainings of a job wait for their data, as `nightshift.live.watch_training` reports to a
Prometheus, beside the GPUs that the job holds.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

WAIT = "loader_wait_pct"  # share of the time, %
LEAST_RATE_S = 300  # over which a rate is taken: several scrapes, and several steps


def query(step_s):
    """PromQL for the share of the time that the trainings of a job on a node wait for their data, %, the mean
    of their ranks, over `step_s` seconds and at least LEAST_RATE_S.
    """
    waits = f"rate(nightshift_training_loader_wait_seconds_total[{max(LEAST_RATE_S, round(step_s))}s])"
    return f"clamp_max(100 * avg by (node, hpc_job) ({waits}), 100)"


def key_of(node, job):
    """What a GPU and a training have in common: the node without its domain, and the job."""
    return str(node).partition(".")[0], str(job)


def read_waits(ask, chunks, step_s):
    """Ask for all waits: {(node, job): Series [seconds since 1970] of %}.

    ask : as `prometheus.connect` gives it. chunks : [(begin in s, moments)].
    """
    found = {}
    for begin, n in chunks:
        for labels, at, values in ask(query(step_s), begin, n):
            key = key_of(labels.get("node", ""), labels.get("hpc_job", ""))
            # a moment has one value: two names of a node, with a domain and without, may give two
            found.setdefault(key, {}).update(zip(begin + step_s * at, values, strict=True))
    return {key: pd.Series(values, dtype=float).sort_index() for key, values in found.items()}


def with_waits(pages, waits):
    """Yield the same pages, (number of the first row, table of one job on one GPU) each, with the column
    WAIT: missing where no training of the job was watched.
    """
    for first_row, page in pages:
        key = key_of(page["node_id"][0], page["job_id"][0]) if len(page) else None
        moments = page["timestamp"].to_numpy()
        values = waits[key].reindex(moments).to_numpy() if key in waits else np.full(len(page), np.nan)
        yield first_row, page.append_column(WAIT, pa.array(values, pa.float64()))
