"""The last minutes of all nodes, pulled from a Prometheus, and their newest windows.

Pull       which metrics, which moments               Pull
Samples    the last moments of all runs on one grid   Samples
Windows    of runs that go on                         newest_windows
A span     of one job, or of some nodes               read_span
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from nightshift.cleaning.telemetry import counter_rates, is_counter
from nightshift.cleaning.telemetry_days import features_of
from nightshift.compiled import window_statistics
from nightshift.sources.prometheus import merge_scrapes, node_of

# how far back each pull asks again: VictoriaMetrics shows a sample after 30 s, and remote writers lag
AGAIN_S = 60.0


class Pull:
    """Asks for the metrics of a model.

    server : the Prometheus of `nightshift.sources.telemetry`, with its parameters. ask : of its `connect`.
    metrics : those that the models read; ValueError of one line where the server is asked for none of them.
    """

    def __init__(self, server, ask, metrics):
        queries = server.queries
        self.server, self.ask, self.metrics = server, ask, metrics
        self.queries = {metric: queries[metric] for metric in metrics if metric in queries}
        if not self.queries:
            raise ValueError(
                f"the models read {metrics[0]} and others, and no query gives any of them: were they trained "
                "on this source?"
            )

    def key_of(self, labels):
        """Name the run that a series belongs to: (node, job), "" where it has no job."""
        server = self.server
        return node_of(labels, server.node_label), str(labels.get(server.job_label) or "")

    def read(self, begin, n):
        """Read `n` moments from the number `begin` on, in steps of the server: {run: float (n, M)}, NaN where
        there is no sample. The moment with the number i is i steps after 1970.
        """
        values = {}
        for column, metric in enumerate(self.metrics):
            if metric not in self.queries:
                continue
            series = self.ask(self.queries[metric], begin * self.server.step_s, n)
            for run, (at, numbers) in merge_scrapes(series, self.key_of)[0].items():
                if run not in values:
                    values[run] = np.full((n, len(self.metrics)), np.nan)
                there = (at >= 0) & (at < n)
                values[run][at[there], column] = numbers[there]
        return values


@dataclass
class Samples:
    """The last `length` moments of all runs that go on, up to the number `end` (not included).

    values : {run: float (length, M)}. first : {run: number of its first moment, None where it was not seen}.
    lag : how many of the newest moments may still change, since the server repeats an older sample until it
    shows the newer one; measured by asking again, and AGAIN_S before that.
    """

    length: int
    end: int = 0
    lag: int = 0
    n_pulls: int = 0
    values: dict = field(default_factory=dict)
    first: dict = field(default_factory=dict)

    def update(self, pull, now):
        """Pull what has come since the last update, up to the moment with the number `now`, included; returns
        how many moments were asked for.
        """
        if now + 1 < self.end:  # the clock was set back: all is asked for anew
            self.end, self.lag, self.n_pulls, self.values, self.first = 0, 0, 0, {}, {}
        again = int(np.ceil(AGAIN_S / pull.server.step_s))
        begin = max(now + 1 - self.length, self.end - again) if self.end else now + 1 - self.length
        newest, self.n_pulls = pull.read(begin, now + 1 - begin), self.n_pulls + 1
        lag = again if self.n_pulls == 1 else 0
        self.shift(now + 1)
        at = begin - (self.end - self.length)
        for run, values in newest.items():
            if run not in self.values:
                there = np.flatnonzero(np.isfinite(values).any(axis=1))
                if not len(there):  # NaN or infinite, which Prometheus may hold, is no sample
                    continue
                seen = begin + int(there[0])
                # what is there from the beginning of the first pull on may have begun any time before
                self.first[run] = seen if seen > self.end - self.length else None
                self.values[run] = np.full((self.length, values.shape[1]), np.nan)
            kept = self.values[run][at:]
            changed = (np.isfinite(kept) & np.isfinite(values) & (kept != values)).any(axis=1)
            lag = max(lag, now - begin - int(changed.argmax())) if changed.any() else lag
            kept[:] = np.where(np.isfinite(values), values, kept)
        # the first lag is assumed, the second one measured, as that pull asks again; then it only grows
        self.lag = lag if self.n_pulls <= 2 else max(lag, self.lag)
        return now + 1 - begin

    def shift(self, end):
        """Move on to the number `end`, and forget the runs of which nothing is left."""
        by = min(end - self.end, self.length) if self.end else 0
        for run in list(self.values):
            moved = np.full_like(self.values[run], np.nan)
            moved[: self.length - by] = self.values[run][by:]
            self.values[run] = moved
            if not np.isfinite(moved).any():
                del self.values[run], self.first[run]
        self.end = end


def newest_windows(samples, metrics, grid, *, n):
    """Describe the windows of all runs at the `n` newest places: DataFrame node_id, job_id, start, end,
    at_edge (it lies at the oldest of these places, so that earlier ones of its run may be left out) and
    "<metric>|<statistic>", float32, sorted by node, job and start.

    samples : a Samples. metrics : of its columns. grid : of the model. The windows of a job lie where a night
    cuts them, from its first sample and the seconds that are left out there on; those of a server, which a
    night cuts from midnight on, and of a job whose beginning was not seen, on whole multiples of the step. No
    window with enough samples gives no row.
    """
    runs, parts = sorted(samples.values), []
    phases = np.array([phase_of(samples.first[run] if run[1] else None, grid) for run in runs], int)
    for phase in np.unique(phases):
        of_phase = [run for run, its in zip(runs, phases, strict=True) if its == phase]
        parts += windows_of_phase(samples, of_phase, metrics, grid=grid, phase=phase, n=n)
    if not parts:
        names = features_of(metrics)
        return pd.DataFrame(columns=["node_id", "job_id", "start", "end", "at_edge", *names])
    windows = pd.concat(parts, ignore_index=True)
    return windows.sort_values(["node_id", "job_id", "start"], ignore_index=True)


def phase_of(first, grid):
    """Tell in which moment of a step a run's windows begin; `first` : number of its first one, or None."""
    return 0 if first is None else (first + grid.trim) % grid.step


def windows_of_phase(samples, runs, metrics, *, grid, phase, n):
    """Describe the newest windows of runs that begin in the same step: a list with one DataFrame, unsorted,
    or none.
    """
    begin, length, width = samples.end - samples.length, samples.length, grid.window
    # the first moment of the samples has no rate
    starts = np.array(
        [at for at in range(1, length - width + 1) if (begin + at - phase) % grid.step == 0], int
    )
    starts = starts[-n:]
    if not len(starts):
        return []
    values = np.stack([samples.values[run] for run in runs], axis=1)  # (T, R, M)
    counters = [i for i, metric in enumerate(metrics) if is_counter(metric, grid)]
    seconds = (begin + np.arange(length)) * grid.sampling_s
    grown = values[:, :, counters].reshape(length, -1)
    values[:, :, counters] = counter_rates(grown, seconds, grid.sampling_s)[0].reshape(length, len(runs), -1)
    present = np.isfinite(values).any(axis=2)
    counted = np.vstack([np.zeros((1, len(runs)), int), np.cumsum(present, axis=0)])
    enough = (counted[starts + width] - counted[starts]) / width >= grid.least_coverage  # (W, R)
    settled = length - 1 - np.maximum(np.argmax(present[::-1], axis=0), samples.lag)
    # a window must not reach into what has not come yet, or beyond the end of its run
    enough &= starts[:, None] + width - 1 <= settled
    earliest = np.array(
        [-1 if samples.first[run] is None else samples.first[run] + grid.trim for run in runs]
    )
    enough &= begin + starts[:, None] >= earliest
    if not enough.any():
        return []
    described = window_statistics(values.reshape(length, -1), width, starts=starts)
    described = described.reshape(len(starts), len(runs), -1)[enough]
    window, run = np.nonzero(enough)
    start = pd.to_datetime((begin + starts[window]) * grid.sampling_s, unit="s", utc=True).as_unit("us")
    nodes, jobs = ([one[part] for one in runs] for part in (0, 1))
    keys = {"node_id": np.take(np.array(nodes, object), run), "job_id": np.take(np.array(jobs, object), run)}
    keys |= {
        "start": start,
        "end": start + pd.Timedelta(seconds=width * grid.sampling_s),
        "at_edge": window == 0,
    }
    return [pd.concat([pd.DataFrame(keys), pd.DataFrame(described, columns=features_of(metrics))], axis=1)]


def read_span(pull, begin, end, *, job=None, nodes=()):
    """Read the samples of some runs from a time to another: DataFrame node_id, job_id, timestamp and metrics,
    as `RuntimePredictor.diagnose` takes them; none gives no row.

    begin, end : Timestamps in UTC. job : only the runs of this job. nodes : only these.
    """
    step_s, parts = pull.server.step_s, []
    first, last = int(np.ceil(begin.timestamp() / step_s)), int(end.timestamp() // step_s)
    for at in range(first, last + 1, pull.server.chunk_points):
        read = pull.read(at, min(pull.server.chunk_points, last + 1 - at))
        for (node, of_job), values in read.items():
            if (job is None or of_job == job) and (not nodes or node in nodes):
                seen = np.flatnonzero(np.isfinite(values).any(axis=1))
                rows = pd.DataFrame(values[seen], columns=pull.metrics)
                times = pd.to_datetime((at + seen) * step_s, unit="s", utc=True)
                parts.append(rows.assign(node_id=node, job_id=of_job, timestamp=times))
    columns = ["node_id", "job_id", "timestamp", *pull.metrics]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
