"""Nodes and GPUs of a Prometheus: what is asked for, and how its series become rows of an extraction."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from nightshift.sources.prometheus import connect, merge_scrapes, node_of, summed
from nightshift.sources.telemetry import dcgm
from nightshift.sources.telemetry.parts import GPU_TEXTS, write_gpus, write_parts
from nightshift.sources.telemetry.tables import ROLES

MODES = ["user", "system", "nice", "iowait", "irq", "softirq", "steal", "idle"]
MEMORY = ["MemFree", "MemAvailable", "Buffers", "Cached", "Active", "Inactive", "AnonPages", "Mapped", "Slab"]
MEMORY += ["Dirty", "Writeback", "SwapFree"]
PLAIN = ["context_switches_total", "intr_total", "forks_total", "load1", "load5", "procs_running"]
PLAIN += ["procs_blocked", "disk_read_bytes_total", "disk_written_bytes_total", "disk_io_time_seconds_total"]
PLAIN += ["vmstat_pgfault", "vmstat_pgmajfault", "vmstat_pswpin", "vmstat_pswpout", "sockstat_TCP_inuse"]
PLAIN += ["filefd_allocated"]
# of the node exporter; totals are counters since the start of the node
NODE_QUERIES = {
    **{f"cpu_{mode}_seconds_total": f'node_cpu_seconds_total{{mode="{mode}"}}' for mode in MODES},
    **{name: f"node_memory_{name}_bytes" for name in MEMORY},
    **{name: f"node_{name}" for name in PLAIN},
    **{
        f"network_{way}_bytes_total": f'node_network_{way}_bytes_total{{device!="lo"}}'
        for way in ("receive", "transmit")
    },
}
# of the DCGM exporter, or of nvidia_gpu_exporter brought to the same units
GPU_QUERIES = {
    "utilisation_pct": "DCGM_FI_DEV_GPU_UTIL or 100 * nvidia_smi_utilization_gpu_ratio",
    "memory_used_mib": "DCGM_FI_DEV_FB_USED or nvidia_smi_memory_used_bytes / 1048576",
    "memory_free_mib": "DCGM_FI_DEV_FB_FREE or "
    "(nvidia_smi_memory_total_bytes - nvidia_smi_memory_used_bytes) / 1048576",
    "power_w": "DCGM_FI_DEV_POWER_USAGE or nvidia_smi_power_draw_watts",
    "temperature_c": "DCGM_FI_DEV_GPU_TEMP or nvidia_smi_temperature_gpu",
}


@dataclass(frozen=True)
class Server:
    """A Prometheus and how it is asked: labels that name the node and the job ("" is none), distance of the
    moments (s), moments per answer (at most 11,000), longest waits for an answer and between two tries (s).
    """

    url: str
    node_label: str
    job_label: str
    step_s: float
    chunk_points: int
    timeout_s: float
    retry_wait_s: float


def ask_once(extraction, ask, *, query, begin, n, key_of):
    """Ask for one series of each key: {key: (positions, values)}; nodes that are scraped more than once are
    noted in the extraction.
    """
    merged, twice = merge_scrapes(ask(query, begin, n), key_of)
    extraction.asked_twice.update({str(key[0]): names for key, names in twice.items()})
    return merged


def chunks(window, server):
    """Cut a window [begin, end), up to now, into what one answer may hold: [(begin in s, moments)]."""
    step_s, most = server.step_s, server.chunk_points
    begin, end = np.ceil(window[0].timestamp() / step_s) * step_s, min(window[1], pd.Timestamp.now("UTC"))
    n_points = max(0, int(np.ceil((end.timestamp() - begin) / step_s)))
    return [(begin + at * step_s, min(most, n_points - at)) for at in range(0, n_points, most)]


def read_series(extraction, ask, *, queries, names, key_of, server):
    """Give pages, (number of the first row, table), with the columns timestamp, `names` (as key_of(labels)
    gives them) and those of `queries`: a row per key and moment with any value.

    The window is asked for in chunks, so that neither the server nor this process has to hold all of it.
    """
    first_row = 1
    for begin, n in tqdm(chunks(extraction.window, server), desc="chunks", unit="chunk"):
        rows = {}
        for i, query in enumerate(queries.values()):
            answer = ask_once(extraction, ask, query=query, begin=begin, n=n, key_of=key_of)
            for key, (at, values) in answer.items():
                rows.setdefault(key, np.full((n, len(queries)), np.nan))[at, i] = values
        moments = begin + server.step_s * np.arange(n)
        for key, values in rows.items():
            there = ~np.isnan(values).all(axis=1)
            columns = {"timestamp": pa.array(moments[there])}
            for name, value in zip(names, key, strict=True):
                columns[name] = pa.array([value] * there.sum(), pa.string())
            for i, name in enumerate(queries):
                columns[name] = pa.array(values[there, i], pa.float64())
            yield first_row, pa.table(columns)
            first_row += int(there.sum())


def gpu_of(extraction, labels, *, server):
    """Tell what a series of a GPU exporter belongs to: (node, GPU, job, user); a slice of a GPU is a GPU of
    its own.

    A series without a label of its host is noted in the extraction, and called after the label of nodes.
    """
    number = labels.get("gpu") or labels.get("uuid") or labels.get("UUID")
    part = "/".join(filter(None, (number, labels.get("GPU_I_ID"))))
    host = dcgm.host_of(labels)
    if not host:
        host = node_of(labels, server.node_label)
        extraction.nameless_gpus.add(host)
    return host, part, labels.get("hpc_job") or labels.get(server.job_label), labels.get("user")


def extract_prometheus(extraction, server, *, node_queries):
    """Add metrics of the nodes, then of their GPUs, of a Prometheus to an extraction.

    node_queries : {name of the metric: PromQL}, by default NODE_QUERIES where it is empty. Each is added up
    over what is measured beside the node and the job (modes, devices), so that every node gives one series.
    Series that differ only in who scrapes them are copies and never added: of those the largest value counts.
    """
    ask = connect(
        server.url,
        step_s=server.step_s,
        timeout_s=server.timeout_s,
        retry_wait_s=server.retry_wait_s,
        warned=extraction.warned,
    )
    identity = list(filter(None, (server.node_label, server.job_label)))
    queries = {
        name if "::" in name else f"{name}::prometheus": summed(query, identity)
        for name, query in (node_queries or NODE_QUERIES).items()
    }

    def node_and_job(labels):
        return node_of(labels, server.node_label), labels.get(server.job_label)

    read = partial(read_series, extraction, ask, server=server)
    write_parts(
        extraction,
        read(queries=queries, names=["node_id", "job_id"], key_of=node_and_job),
        layout={role: role for role in ROLES[:3]},
        metric_names={name: name for name in queries},
        where=server.url,
    )
    write_gpus(
        extraction,
        read(
            queries=GPU_QUERIES,
            names=GPU_TEXTS,
            key_of=lambda labels: gpu_of(extraction, labels, server=server),
        ),
        layout={name: name for name in ["timestamp", *GPU_TEXTS, *dcgm.NUMBERS]},
        where=server.url,
    )
