"""Nodes and GPUs of a Prometheus: what is asked for, day by day, and how its series become rows of an
extraction.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from nightshift.products import code_below
from nightshift.sources.base import LiveSource, Look
from nightshift.sources.prometheus import connect, merge_scrapes, node_of, summed
from nightshift.sources.telemetry import dcgm, trainings
from nightshift.sources.telemetry.node_days import digest_of
from nightshift.sources.telemetry.notes import add_source, keep
from nightshift.sources.telemetry.opening import OPTIONAL
from nightshift.sources.telemetry.parts import GPU_TEXTS, write_gpus, write_parts
from nightshift.sources.telemetry.tables import ROLES
from nightshift.wording import plural

# What is scraped late, or sent by an agent that had no connection, comes after the end of its day: an agent
# of Prometheus keeps it for four hours unless set otherwise. A night runs an hour or so after its day, and
# with a day and a half it asks again for the two days before that.
SETTLED = pd.Timedelta(hours=36)
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


@dataclass
class Prometheus(LiveSource):
    """A Prometheus and how it is asked: metrics ({name: PromQL}, NODE_QUERIES where it is empty), labels that
    name the node and the job ("" is none), distance of the moments (s), moments per answer (at most 11,000),
    longest waits for an answer and between two tries (s).
    """

    label = "a Prometheus with node exporters"
    addresses = ("http://", "https://")
    optional = OPTIONAL

    metrics: dict
    node_label: str
    job_label: str
    step_s: float
    chunk_points: int
    timeout_s: float
    retry_wait_s: float

    def connect(self, url, warned):
        """Return `ask` of `prometheus.connect`; warnings of the answers are added to the set `warned`."""
        waits = {"timeout_s": self.timeout_s, "retry_wait_s": self.retry_wait_s}
        return connect(url, step_s=self.step_s, warned=warned, **waits)

    @property
    def queries(self):
        """{metric with its sampler: PromQL}, each added up over what is measured beside the node and the job
        (modes, devices), so that every node gives one series.
        """
        identity = list(filter(None, (self.node_label, self.job_label)))
        return {
            name if "::" in name else f"{name}::prometheus": summed(query, identity)
            for name, query in (self.metrics or NODE_QUERIES).items()
        }

    def extract(self, address, extraction):
        """Add metrics of the nodes, of their GPUs and of trainings on these, day by day. A day that had
        settled when it was asked for is not asked for again.
        """
        warned = set()
        ask = self.connect(address, warned)
        for begin, end in tqdm(days_of(extraction.window), desc="days", unit="day"):
            name, made_of = digest_of(f"{address} {begin:%Y-%m-%d}"), self.made_of(address, begin, end)
            noted, seen = extraction.earlier.note(name)
            if is_settled(noted, seen, end) and keep(extraction, name, made_of):
                continue
            one, asked = extraction.of_source([begin, end]), pd.Timestamp.now("UTC")
            warned.clear()
            self.extract_day(address, one, ask)
            one.warned |= warned
            add_source(extraction, one, name, made_of=made_of, asked=str(asked))

    def made_of(self, address, begin, end):
        """Return, as JSON, what the answers of a day, or a piece of one, follow from."""
        asked = [self.queries, self.node_label, self.job_label, self.step_s]
        return {
            "address": address,
            "span": [str(begin), str(end)],
            "asked": asked,
            "code": code_below("sources"),
        }

    def extract_day(self, address, extraction, ask):
        """Add the values in the window of an extraction. Series that differ only in who scrapes them are
        copies, of which the largest value counts; they are not added up.
        """
        read = partial(read_series, extraction, ask, server=self)
        queries = self.queries

        def node_and_job(labels):
            return node_of(labels, self.node_label), labels.get(self.job_label)

        write_parts(
            extraction,
            read(queries=queries, names=["node_id", "job_id"], key_of=node_and_job),
            layout={role: role for role in ROLES[:3]},
            metric_names={name: name for name in queries},
            where=address,
        )
        gpus = partial(gpu_of, extraction, server=self)
        waits = trainings.read_waits(ask, chunks(extraction.window, self), self.step_s)
        pages = read(queries=dcgm.queries(), names=GPU_TEXTS, key_of=gpus)
        write_gpus(
            extraction,
            trainings.with_waits(pages, waits),
            layout={name: name for name in ["timestamp", *GPU_TEXTS, *dcgm.NUMBERS, trainings.WAIT]},
            where=address,
        )

    def look(self, address, *, settings):
        """Ask which nodes have a value in the first and in the last hour of the window, which ends now at the
        latest.
        """
        ask, end = (
            self.connect(address, set()),
            pd.Timestamp(settings["day"], tz="UTC") + pd.Timedelta(days=1),
        )
        begin, end = end - pd.Timedelta(days=settings["days"]), min(end, pd.Timestamp.now("UTC"))
        metric, query = next(iter(self.queries.items()))
        times, nodes = [], set()
        for at in (begin, end - pd.Timedelta(hours=1)):
            n = int(3600 // self.step_s) + 1
            for labels, positions, _ in ask(query, at.timestamp(), n):
                nodes.add(node_of(labels, self.node_label))
                times += [
                    at + pd.Timedelta(seconds=self.step_s * int(one))
                    for one in (min(positions), max(positions))
                ]
        look = Look(self.label, notes=[plural(len(nodes), "node")])
        if times:
            look.oldest, look.newest = min(times), max(times)
        else:
            look.problems.append(
                f"it has no value of {metric} at either end of the window: is the node exporter scraped, and "
                "do metrics fit?"
            )
        return look


def days_of(window):
    """Cut a window [begin, end) where a UTC day ends, without days that have not begun: [(begin, end)]."""
    begin, end = window[0], min(window[1], pd.Timestamp.now("UTC"))
    days = pd.date_range(begin.floor("D"), end, freq="D", inclusive="left")
    return [(max(day, begin), min(day + pd.Timedelta(days=1), window[1])) for day in days]


def is_settled(noted, seen, end):
    """Whether what a note has of the day that ends at `end` is all that there will be: it was asked for at
    least SETTLED after its end, came without a warning, and had rows, of nodes or of GPUs. A store that has
    forgotten a day, or cannot be reached by the server, gives none.
    """
    if not noted or noted["counted"]["warned"] or not (len(seen) or range(*noted["gpu_groups"])):
        return False
    return pd.Timestamp(noted["asked"]) >= end + SETTLED


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
    """Yield pages, (number of the first row, table), with the columns timestamp, `names` (as key_of(labels)
    gives them) and those of `queries`: a row per key and moment with any value.

    The window is asked for in chunks, so that neither the server nor this process has to hold all of it.
    """
    first_row = 1
    for begin, n in chunks(extraction.window, server):
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

    A series without a label of its host is called after the label of nodes, which is noted in the extraction.
    """
    host = dcgm.host_of(labels)
    if not host:
        host = node_of(labels, server.node_label)
        extraction.nameless_gpus.add(host)
    job = dcgm.first_label(labels, "job_id") or labels.get(server.job_label)
    return host, dcgm.number_of(labels), job, dcgm.first_label(labels, "user")
