"""Rows of a node, from raw parts to one regular grid: sources, repeated rows, runs, rates of counters.

Sources     parts of a node, their sampling periods      sorted_parts, read_sources, sampling_periods
Rows        impossible and repeated ones, runs           Grid, read_rows, place_rows
Counters    which metrics only grow, and how fast        is_counter, counter_rates
Node        all of a node on its grid                    join_node, join_tables
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.cleaning.telemetry_counters import by_name
from nightshift.cleaning.telemetry_repeats import group_parts, resolve_repeats

KEYS = ("timestamp", "job_id")  # columns of a part that are no metrics

# ---------------------------------------------------------------------------------------------------- Sources


def sorted_parts(folder):
    """Sort the Parquet parts of a node by their first moment and, where two have the same one, by a checksum
    of what they hold.

    That order decides later between two rows of the same moment. What the parts are called decides nothing,
    since that changes with the folder that the source lies in.
    """

    def begins(part):
        first = pc.min(pq.ParquetFile(part).read(["timestamp"])["timestamp"])
        return str(first.as_py()), zlib.crc32(part.read_bytes())

    return sorted(folder.rglob("*.parquet"), key=begins)


def read_sources(parts, columns=None):
    """Read the sources of one node from its parts, in their order: {samplers: Arrow table of timestamp,
    job_id and its metrics}, sorted by name.

    Parts with the same samplers that share a metric are one source, whatever file or day they came from;
    files that hold one metric each are sources of their own. columns : those that are read, all by default.
    """
    files = {path: pq.ParquetFile(path) for path in parts}
    metrics = {
        path: [name for name in file.schema_arrow.names if name not in KEYS] for path, file in files.items()
    }
    sources = group_parts(list(metrics.items()))
    return {
        name: pa.concat_tables([files[path].read(columns) for path in paths], promote_options="permissive")
        for name, paths in sorted(sources.items())
    }


def moments(table):
    """Tell when and for which job each row of a source was taken: DataFrame time (missing where unknown), job
    ("" is none).
    """
    time = table["timestamp"].cast(pa.timestamp("us", "UTC")).to_pandas()
    job = table["job_id"].cast(pa.string()).to_pandas()
    return pd.DataFrame({"time": time, "job": job.astype("str").where(job.notna(), "")})


def sampling_periods(parts):
    """Find how often each source samples: DataFrame samplers, nodes, rows, period_s, the median step between
    successive rows of a job.

    parts : {node: its parts}. A source with one row alone has no step, and is taken for as fast as the
    fastest other one, or for one sample a second.
    """
    steps = []
    for node, files in parts.items():
        for samplers, table in read_sources(files, list(KEYS)).items():
            by_job = moments(table).sort_values(["job", "time"]).groupby("job")
            step = by_job.time.diff().dt.total_seconds()
            steps.append((samplers, node, table.num_rows, step[step > 0].median()))
    sources = pd.DataFrame(steps, columns=["samplers", "nodes", "rows", "period_s"])
    sources = sources.groupby("samplers", as_index=False)
    sources = sources.agg({"nodes": "nunique", "rows": "sum", "period_s": "median"})
    periods = sources.period_s.fillna(sources.period_s.min()).fillna(1.0)
    return sources.assign(period_s=periods.round(2).clip(lower=0.01))


# ------------------------------------------------------------------------------------------------------- Rows


@dataclass(frozen=True)
class Grid:
    """How rows become windows.

    sampling_s : period of the fastest source, s, which is the step of the grid. periods : {source: its
    period, s}. window, step : samples of a window, and from one to the next. trim_s : left out at both ends
    of a run, s. least_coverage : share of a window's samples that must be there. end : rows at or after it
    are of no use. counters, gauges : patterns of the metrics that only grow, and of exceptions. behaviour :
    {metric: whether it is a counter} of those that behave otherwise than they are called.
    """

    sampling_s: float
    periods: dict
    window: int
    step: int
    trim_s: float
    least_coverage: float
    end: pd.Timestamp
    counters: tuple
    gauges: tuple
    behaviour: dict = field(default_factory=dict)

    @property
    def trim(self):
        """Return the samples that are left out at both ends of a run."""
        return int(np.ceil(self.trim_s / self.sampling_s))


def read_rows(tables, grid):
    """List all rows of a node: (DataFrame source, row, time, job, why, start, index, extra; {source:
    DataFrame [row, metric] of the rows whose gaps others have filled}).

    tables : sources, as `read_sources` gives them. why : the reason why a row is not used, "" is used. start
    : of its run. index : samples since then. extra : whether it repeats an earlier row, missing where none
    does. Clocks jitter, so times are counted in whole sampling periods from the first row of the same source;
    sources start at different moments of the second and meet on the grid.
    """
    rows = pd.concat({name: moments(table) for name, table in tables.items()}, names=["source", "row"])
    rows = rows.reset_index()
    reasons = ["no time", "after the window"]
    rows["why"] = np.select([rows.time.isna(), rows.time >= grid.end], reasons, "").astype(object)
    good = rows[rows.why == ""]
    by_job = good.groupby("job").time
    own = (
        good.groupby(["job", "source"]).time.transform("min") if len(tables) > 1 else by_job.transform("min")
    )
    start = by_job.transform("min").dt.round(pd.Timedelta(seconds=min(grid.sampling_s, 1)))
    period = pd.Timedelta(seconds=grid.sampling_s)
    rows["start"] = start
    rows["index"] = np.rint((good.time - own) / period) + np.rint((own - start) / period)
    again = rows.loc[good.index].duplicated(["source", "job", "index"], keep=False)
    filled = {}
    for source, repeated in rows.loc[good.index[again]].groupby("source"):
        metrics = [name for name in tables[source].column_names if name not in KEYS]
        values = tables[source].select(metrics).take(repeated.row.to_numpy()).to_pandas().astype(float)
        moment, time = repeated.groupby(["job", "index"]).ngroup(), repeated.time.astype("int64")
        why, merged = resolve_repeats(moment.to_numpy(), time.to_numpy(), values.to_numpy())
        rows.loc[repeated.index, "why"] = why
        rows.loc[repeated.index, "extra"] = repeated.duplicated(["job", "index"]).to_numpy()
        filled[source] = pd.DataFrame(merged, repeated.row.to_numpy(), values.columns)
    return rows, filled


def place_rows(rows, grid):
    """Place rows on the node's grid: (the same rows with `place`, the position, or with the reason why they
    have none; DataFrame job, start, length, offset of its runs).

    A run is one job on one node; without jobs, it is all of a node. Its first and last seconds are left out.
    A long gap is shortened by whole steps to the length of a window: no window with a sample changes, and a
    month of silence costs no memory.
    """
    used, why = rows[rows.why == ""], rows.why.to_numpy(object, copy=True)
    (job, names), index = pd.factorize(used.job, sort=True), used["index"].to_numpy(float)
    first, last = (extremes(job, index, len(names), pick)[job] for pick in (np.fmin, np.fmax))
    short = last - first + 1 - 2 * grid.trim < grid.window
    trimmed = ~short & ((index < first + grid.trim) | (index > last - grid.trim))
    why[used.index[short]] = "run too short for a window"
    why[used.index[trimmed]] = f"first or last {grid.trim_s:g} s of a run"
    inside = np.flatnonzero(~short & ~trimmed)
    inside = inside[np.lexsort((index[inside], job[inside], used.start.to_numpy("datetime64[us]")[inside]))]
    job, index = job[inside], index[inside]
    new_job = np.append(True, job[1:] != job[:-1])[: len(job)]
    new = new_job | np.append(True, index[1:] != index[:-1])[: len(job)]  # other rows share a cell
    ahead = index - np.where(new_job, first[inside] + grid.trim, np.append(0, index[:-1])[: len(job)])
    # of what is longer than a window, whole steps are cut; from one run to the next it is one step
    ahead -= np.maximum((ahead - grid.window) // grid.step * grid.step, 0)
    place = np.full(len(rows), -1)
    cells = np.cumsum(np.where(new, ahead + new_job, 0)).astype(int) - 1
    place[used.index[inside]] = cells
    begins = np.flatnonzero(new_job)
    offset = cells[begins] - ahead[begins].astype(int)
    runs = pd.DataFrame({"job": names[job[begins]], "start": used.start.array[inside[begins]]})
    length = np.diff(np.append(offset, cells[-1:] + 1))
    return rows.assign(why=why, place=place), runs.assign(length=length, offset=offset)


def extremes(group, values, n, pick):
    """Find the least or largest of `values` (N,) in each of `n` groups, by `pick`, np.fmin or np.fmax: float
    (n,), NaN where a group has none. group : int (N,).
    """
    found = np.full(n, np.nan)
    pick.at(found, group, values)
    return found


# --------------------------------------------------------------------------------------------------- Counters


def is_counter(metric, grid):
    """Tell whether a metric is a counter, by its behaviour in the Grid, else by the patterns there."""
    named = by_name(metric, grid.counters, grid.gauges)
    return grid.behaviour.get(metric, named)


def counter_rates(values, seconds, period_s=None):
    """Compute the increase per second of counters: (rates float64 (T, M), wraps int (M,), resets int (M,));
    unknown rates, the first too, are NaN.

    values : float (T, M), ever-growing counts. seconds : float (T,). A step of more than 1.5 `period_s`
    (default: the median step) is a gap, and one of zero or less ends a run: what happened there is no
    sample's rate. A fall is a wrap at 2^32 when it starts above 2^31 and the increase that it means is below
    2^31 and at most 10 times the counter's largest other one; any other fall is a reset, whose increase
    nobody knows.
    """
    values, steps = np.asarray(values, np.float64), np.diff(np.asarray(seconds, np.float64))
    period_s = period_s or (float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0)
    with np.errstate(invalid="ignore"):  # of infinite counts, which have no increase
        rise = np.diff(values, axis=0)
    steady = (steps > 0) & (steps <= 1.5 * period_s)
    rise[~steady] = np.nan
    before, wrapped = values[:-1], rise + 2.0**32
    usual = np.fmax.reduce(rise, axis=0, initial=0.0)  # 0: nothing else grew
    wraps = (rise < 0) & (before > 2.0**31) & (before < 2.0**32) & (wrapped >= 0) & (wrapped < 2.0**31)
    wraps &= (usual == 0) | (wrapped <= 10 * usual)
    resets = (rise < 0) & ~wraps
    rates, rise = np.full(values.shape, np.nan), np.where(wraps, wrapped, rise)
    np.divide(rise, steps[:, None], out=rates[1:], where=~resets & steady[:, None])
    return rates, wraps.sum(axis=0), resets.sum(axis=0)


# ------------------------------------------------------------------------------------------------------- Node


def join_node(parts, grid):
    """Join all sources of one node on its grid: (rows as `place_rows` gives them, runs, metrics, values
    float64 (M, T), number of wraps and of resets).

    parts : of the node, paths of Parquet files. The rest is said of `join_tables`.
    """
    return join_tables(read_sources(parts), grid)


def join_tables(tables, grid):
    """Join the sources of one node, {samplers: Arrow table}, on its grid; gives what `join_node` does, and
    empties `tables`.

    Each counter is turned into its rate in the order of its own source, and then laid on the grid; a cell
    that two sources fill has the value of the first one.
    """
    rows, filled = read_rows(tables, grid)
    extra = rows.pop("extra").eq(True) if "extra" in rows else pd.Series(False, rows.index)
    rows, runs = place_rows(rows, grid)
    metrics = sorted({name for table in tables.values() for name in table.column_names} - set(KEYS))
    values, events = np.full((len(metrics), int(runs.length.sum())), np.nan), np.zeros(2, int)
    for source in list(tables):
        table, period_s = tables.pop(source), grid.periods[source]  # popped: its memory is free afterwards
        of_source = rows[(rows.source == source) & rows["index"].notna() & ~extra.to_numpy()]
        of_source = of_source.sort_values(["start", "job", "index"])
        taken, place = of_source.row.to_numpy(), of_source.place.to_numpy()
        seconds = of_source.time.astype("int64").to_numpy() / 1e6
        for metric in [name for name in table.column_names if name in metrics]:
            column = table[metric].cast(pa.float64()).to_numpy().copy()
            if source in filled:
                column[filled[source].index] = filled[source][metric]
            column = column[taken]
            if is_counter(metric, grid):
                rates, wraps, resets = counter_rates(column[:, None], seconds, period_s)
                column, events = rates[:, 0], events + np.append(wraps, resets)
            cells = values[metrics.index(metric)]
            there = (place >= 0) & np.isfinite(column)
            there[there] = np.isnan(cells[place[there]])
            cells[place[there]] = column[there]
    return rows, runs, metrics, values, events
