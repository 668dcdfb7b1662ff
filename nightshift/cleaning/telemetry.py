"""Rows of a node, from its sources to one regular grid: repeated rows, runs, rates of counters.

Rows        impossible and repeated ones, runs           Grid, moments, read_rows, place_rows
Counters    which metrics only grow, and how fast        is_counter, counter_rates, counter_events
Node        all of a node on its grid                    join_tables

A run is one job on one node; of a node without jobs, one day (UTC). What is computed of a run depends on its
own rows alone, those of a day on the first ones of the next day too, into which its last windows reach: a run
of which no row has changed need not be computed again.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from nightshift.cleaning.telemetry_counters import by_name
from nightshift.cleaning.telemetry_repeats import resolve_repeats
from nightshift.sources.times import DAY_US

KEYS = ("timestamp", "job_id")  # columns of a part that are no metrics
NO_DAY = -1  # of a job, whose days are one run, and of a row without a time

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


def moments(table):
    """Tell when, for which job and on which day each row of a source was taken: DataFrame time (missing where
    unknown), job ("" is none), day (since 1970, of rows without a job; NO_DAY of others).
    """
    time = table["timestamp"].cast(pa.timestamp("us", "UTC")).to_pandas()
    job = table["job_id"].cast(pa.string()).to_pandas()
    job = job.astype("str").where(job.notna(), "")
    day = time.astype("int64").to_numpy() // DAY_US
    return pd.DataFrame({"time": time, "job": job, "day": np.where((job == "") & time.notna(), day, NO_DAY)})


def read_rows(tables, grid):
    """List all rows of a node: (DataFrame source, row, time, job, day, ahead, why, start, index, extra;
    {source: DataFrame [row of the list, metric] of those whose gaps others have filled}).

    tables : sources, as `read_sources` gives them. ahead : whether the row is of the next day, and stands
    here a second time, since windows that begin on this one reach so far. why : the reason why a row is not
    used, "" is used. start : of its run. index : samples since then. extra : whether it repeats an earlier
    row, missing where none does. Clocks jitter, so times are counted in whole sampling periods from the first
    row of the same source and run; sources start at different moments of the second and meet on the grid.
    """
    rows = pd.concat({name: moments(table) for name, table in tables.items()}, names=["source", "row"])
    rows = with_rows_ahead(rows.reset_index(), pd.Timedelta(seconds=grid.window * grid.sampling_s))
    reasons = ["no time", "after the window"]
    rows["why"] = np.select([rows.time.isna(), rows.time >= grid.end], reasons, "").astype(object)
    good = rows[rows.why == ""]
    run = good.groupby(["job", "day"]).ngroup()
    first = good.time.groupby(run).transform("min")
    own = good.time.groupby([run, good.source]).transform("min") if len(tables) > 1 else first
    start = first.dt.round(pd.Timedelta(seconds=min(grid.sampling_s, 1)))
    period = pd.Timedelta(seconds=grid.sampling_s)
    rows["start"] = start
    rows["index"] = np.rint((good.time - own) / period) + np.rint((own - start) / period)
    again = rows.loc[good.index].duplicated(["source", "job", "day", "index"], keep=False)
    filled = {}
    for source, repeated in rows.loc[good.index[again]].groupby("source"):
        metrics = [name for name in tables[source].column_names if name not in KEYS]
        values = tables[source].select(metrics).take(repeated.row.to_numpy()).to_pandas().astype(float)
        cells = repeated.groupby(["job", "day", "index"])
        moment, time = cells.ngroup(), repeated.time.astype("int64")
        why, merged = resolve_repeats(moment.to_numpy(), time.to_numpy(), values.to_numpy())
        rows.loc[repeated.index, "why"] = why
        rows.loc[repeated.index, "extra"] = repeated.duplicated(["job", "day", "index"]).to_numpy()
        filled[source] = pd.DataFrame(merged, repeated.index, values.columns)
    return rows, filled


def with_rows_ahead(rows, window):
    """Add to each day the rows of the next one into which a window reaches that begins on it: the same rows
    with `ahead`, and copies behind them.

    rows : DataFrame time, job, day, as of `moments`. window : its length, a Timedelta.
    """
    into_day = rows.time - rows.time.dt.floor("D")
    early = rows[(rows.day != NO_DAY) & (into_day < window)]
    early = early[(early.day - 1).isin(rows.day.unique())]
    ahead = early.assign(day=early.day - 1, ahead=True)
    return pd.concat([rows.assign(ahead=False), ahead], ignore_index=True)


def place_rows(rows, grid):
    """Place rows on the node's grid: (the same rows with `place`, the position, or with the reason why they
    have none; DataFrame job, day, start, length, offset of its runs).

    First and last seconds of a job are left out; without a job nothing starts or stops. A gap longer than a
    window is shortened by whole steps, to less than a window and a step: no window with a sample changes, and
    a month of silence costs no memory.
    """
    used, why = rows[rows.why == ""], rows.why.to_numpy(object, copy=True)
    runs = used[["job", "day"]].drop_duplicates().sort_values(["job", "day"], ignore_index=True)
    run = pd.MultiIndex.from_frame(runs).get_indexer(pd.MultiIndex.from_frame(used[["job", "day"]]))
    index, trim = used["index"].to_numpy(float), np.where(runs.job == "", 0, grid.trim)[run]
    first, last = (extremes(run, index, len(runs), pick)[run] for pick in (np.fmin, np.fmax))
    short = last - first + 1 - 2 * trim < grid.window
    trimmed = ~short & ((index < first + trim) | (index > last - trim))
    why[used.index[short]] = "run too short for a window"
    why[used.index[trimmed]] = f"first or last {grid.trim_s:g} s of a run"
    inside = np.flatnonzero(~short & ~trimmed)
    inside = inside[np.lexsort((index[inside], run[inside], used.start.to_numpy("datetime64[us]")[inside]))]
    run, index = run[inside], index[inside]
    new_run = np.append(True, run[1:] != run[:-1])[: len(run)]
    new = new_run | np.append(True, index[1:] != index[:-1])[: len(run)]  # other rows share a cell
    gap = index - np.where(new_run, (first + trim)[inside], np.append(0, index[:-1])[: len(run)])
    # of what is longer than a window, whole steps are cut; from one run to the next it is one step
    gap -= np.maximum((gap - grid.window) // grid.step * grid.step, 0)
    place = np.full(len(rows), -1)
    cells = np.cumsum(np.where(new, gap + new_run, 0)).astype(int) - 1
    place[used.index[inside]] = cells
    begins = np.flatnonzero(new_run)
    offset = cells[begins] - gap[begins].astype(int)
    placed = runs.iloc[run[begins]].reset_index(drop=True).assign(start=used.start.array[inside[begins]])
    length = np.diff(np.append(offset, cells[-1:] + 1))
    return rows.assign(why=why, place=place), placed.assign(length=length, offset=offset)


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


def counter_rates(values, seconds, period_s=None, begins=(0,)):
    """Compute the increase per second of counters: (rates float64 (T, M), wraps int (M,), resets int (M,)).

    Arguments and rules are those of `counter_events`.
    """
    rates, wraps, resets = counter_events(values, seconds, period_s, begins)
    return rates, wraps.sum(axis=0), resets.sum(axis=0)


def counter_events(values, seconds, period_s=None, begins=(0,)):
    """Compute the increase per second of counters, and where they passed their end or began anew: (rates
    float64 (T, M), wraps bool (T, M), resets bool (T, M)); unknown rates, the first of a run too, are NaN.

    values : float (T, M), ever-growing counts. seconds : float (T,). begins : int (R,), the first row of each
    run, whose counters have nothing to do with those of the run before. A step of more than 1.5 `period_s`
    (default: the median step) is a gap, and what happened there is no sample's rate. A fall is a wrap at 2^32
    when it starts above 2^31 and the increase that it means is below 2^31 and, where the counter grew at all
    in the run, at most 10 times its largest other increase there; any other fall is a reset, whose increase
    nobody knows.
    """
    values, seconds = np.asarray(values, np.float64), np.asarray(seconds, np.float64)
    steps = np.diff(seconds, prepend=np.nan)[:, None]
    positive = steps[steps > 0]
    period_s = period_s or (float(np.median(positive)) if len(positive) else 1.0)
    rise = np.full(values.shape, np.nan)
    with np.errstate(invalid="ignore"):  # of infinite counts, which have no increase
        rise[1:] = np.diff(values, axis=0)
    steady = (steps > 0) & (steps <= 1.5 * period_s)
    steady[np.asarray(begins, int)[: len(steady)]] = False
    rise[~steady[:, 0]] = np.nan
    before = np.vstack([np.full_like(values[:1], np.nan), values[:-1]])
    wrapped = rise + 2.0**32
    usual = largest_in_runs(rise, begins)  # 0: nothing else grew
    wraps = (rise < 0) & (before > 2.0**31) & (before < 2.0**32) & (wrapped >= 0) & (wrapped < 2.0**31)
    wraps &= (usual == 0) | (wrapped <= 10 * usual)
    resets = (rise < 0) & ~wraps
    rates = np.full(values.shape, np.nan)
    np.divide(np.where(wraps, wrapped, rise), steps, out=rates, where=~resets & steady)
    return rates, wraps, resets


def largest_in_runs(rise, begins):
    """Give each row of `rise`, float (T, M), the largest value of its run that is above 0, else 0: (T, M).

    begins : int (R,), the first row of each run.
    """
    if not len(rise):
        return rise
    begins = np.asarray(begins, int)
    largest = np.fmax(np.fmax.reduceat(rise, begins, axis=0), 0.0)
    return np.repeat(largest, np.diff(np.append(begins, len(rise))), axis=0)


# ------------------------------------------------------------------------------------------------------- Node


def join_tables(tables, grid, wanted=None):
    """Join the sources of one node on its grid: (rows as `place_rows` gives them, with `wraps` and `resets`,
    how many counters did so at each; runs; metrics; values float64 (M, T)).

    tables : {samplers: Arrow table}, which is empty afterwards. wanted : the runs that are joined, pairs of
    job and day; all by default. Each counter is turned into its rate in the order of its own source, and then
    laid on the grid; a cell that two sources fill has the value of the first one.
    """
    rows, filled = read_rows(tables, grid)
    rows = rows[are_wanted(rows, wanted)].reset_index(names="listed")
    extra = rows.pop("extra").eq(True) if "extra" in rows else pd.Series(False, rows.index)
    rows, runs = place_rows(rows, grid)
    events = np.zeros((2, len(rows)), int)
    metrics = sorted({name for table in tables.values() for name in table.column_names} - set(KEYS))
    values = np.full((len(metrics), int(runs.length.sum())), np.nan)
    for source in list(tables):
        table, period_s = tables.pop(source), grid.periods[source]  # popped: its memory is free afterwards
        of_source = rows[(rows.source == source) & rows["index"].notna() & ~extra.to_numpy()]
        of_source = of_source.sort_values(["start", "job", "day", "index"])
        taken, place = of_source.row.to_numpy(), of_source.place.to_numpy()
        begins = np.flatnonzero((of_source[["job", "day"]] != of_source[["job", "day"]].shift()).any(axis=1))
        seconds = of_source.time.astype("int64").to_numpy() / 1e6
        gaps = filled.get(source, pd.DataFrame())
        gaps = gaps[gaps.index.isin(of_source.listed)]
        at = pd.Index(of_source.listed).get_indexer(gaps.index)
        for metric in [name for name in table.column_names if name in metrics]:
            column = table[metric].cast(pa.float64()).to_numpy()[taken]
            if len(at):
                column[at] = gaps[metric]
            if is_counter(metric, grid):
                rates, *changes = counter_events(column[:, None], seconds, period_s, begins)
                column = rates[:, 0]
                events[:, of_source.index] += np.hstack(changes).T
            cells = values[metrics.index(metric)]
            there = (place >= 0) & np.isfinite(column)
            there[there] = np.isnan(cells[place[there]])
            cells[place[there]] = column[there]
    return rows.assign(wraps=events[0], resets=events[1]), runs, metrics, values


def are_wanted(rows, wanted):
    """Tell which rows belong to runs that are wanted, pairs of job and day, all where it is None, and to days
    that have rows of their own: bool (n,).
    """
    run = pd.MultiIndex.from_frame(rows[["job", "day"]])
    theirs = run.isin(run[~rows.ahead.to_numpy()])
    return theirs if wanted is None else theirs & run.isin(list(wanted))
