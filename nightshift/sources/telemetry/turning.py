"""Tables of one row per metric and moment become parts with a column per metric: in the memory of a page,
of a part of the rows of one node, and of the names of all series.
"""

import shutil
from itertools import groupby, pairwise

import numpy as np
import pandas as pd
import pyarrow as pa

from nightshift.sources.telemetry.cells import LARGE, LARGEST_BESIDE, finite_numbers, is_blank
from nightshift.sources.telemetry.long_rows import LongRows, begins, turned
from nightshift.sources.telemetry.node_days import part_schema, write_part
from nightshift.sources.telemetry.parts import NO_ROW, add_sampler, note, place
from nightshift.sources.times import DAY_US


def write_long(extraction, pages, *, layout, where, how=""):
    """Write the pages of a long table, one row per metric and moment in any order, as one part per node and
    day.

    how : "sum" adds up what comes twice at one moment. With "" it makes a second row, a duplicate of the
    source that the next step rejects. ValueError where no row has a time and a node.
    """
    placed, n_rows, series = extraction.counts["placed"], 0, {}
    long = LongRows(extraction.folder / "long")
    for first_row, page in pages:
        keys, kept = place(extraction, page, layout=layout, where=where, first_row=first_row)
        keys, page, n_rows = keys[kept], page.filter(pa.array(kept)), n_rows + len(page)
        values, unreadable = finite_numbers(page[layout["value"]])
        extraction.counts["unreadable"] += unreadable
        if "anomaly" in layout:
            extraction.points.append(keys)
        add_page(long, series, keys, values)
    if n_rows and extraction.counts["placed"] == placed:
        raise ValueError(NO_ROW.format(**layout))
    write_turned(extraction, long, list(series), where=where, how=how)


def add_page(long, series, keys, values):
    """Add the rows of a page to LongRows: `keys`, a frame as `place` gives it, and values, Arrow numbers.

    series : {(node, job, metric): number}; new ones are taken in.
    """
    if keys.empty:
        return
    named = keys[["node_id", "job_id", "metric"]]
    code = named.groupby(list(named), dropna=False, sort=False).ngroup().to_numpy()
    numbers = []
    for row in named.iloc[np.unique(code, return_index=True)[1]].itertuples(index=False, name=None):
        one = tuple(None if pd.isna(name) else name for name in row)
        if one not in series:
            series[one] = long.new_series(one[0])
        numbers.append(series[one])
    at = keys.timestamp.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    long.add(np.array(numbers, np.int32)[code], at, values.to_numpy())


def write_turned(extraction, long, series, *, where, how, clean=lambda rows: rows):
    """Write LongRows as one part per node and day, a row per job and moment, and remove their folder.

    series : [(node, job, metric)] by their numbers. clean : what is done to the rows of a node, part by part.
    Jobs and metrics of a node are sorted: which of them comes first in a source means nothing, and changes
    when older days leave the window.
    """
    sampled = add_sampler({metric: metric for *_, metric in series}, extraction.sampler)
    jobs = numbered((node, job) for node, job, _ in series)
    metrics = numbered((node, sampled[metric]) for node, _, metric in series)
    key = np.array([jobs[node][job] for node, job, _ in series], np.int32)
    column = np.array([metrics[node][sampled[metric]] for node, _, metric in series], np.int32)
    unset = never_negative(long, [sampled[metric] for *_, metric in series])
    for node in long.nodes:
        names = list(metrics[node])
        rows = (without_blanks(extraction, clean(part), column, names, unset) for part in long.parts(node))
        tables = (
            (at, np.array(list(jobs[node]), object)[keys], table)
            for part in rows
            for at, keys, table in turned(
                part, key[part["series"]], column[part["series"]], n_columns=len(names), how=how
            )
        )
        write_node(extraction, tables, node=node, names=names, where=where)
    shutil.rmtree(long.folder)


def numbered(pairs):
    """{node: {name: number}} of pairs of a node and a name, in the order of the names; None comes first."""
    names = {}
    for node, name in pairs:
        names.setdefault(node, set()).add(name)
    ordered = {
        node: sorted(some, key=lambda one: (one is not None, one or "")) for node, some in names.items()
    }
    return {node: {name: number for number, name in enumerate(some)} for node, some in ordered.items()}


def write_node(extraction, tables, *, node, names, where):
    """Write (times in us since 1970, jobs, values (rows, names)), in the order of the times, of one node as a
    part per day; without any there is no part.
    """
    schema = part_schema(names)
    for day, pieces in groupby(pieces_of_days(tables), key=lambda piece: piece[0]):
        rows = (counted_rows(extraction, *piece, node=node, schema=schema) for _, *piece in pieces)
        write_part(extraction, rows, node=node, day=day, schema=schema, where=where)


def pieces_of_days(tables):
    """Yield (day, times, jobs, values) of tables (times, jobs, values), cut where a day ends."""
    for at, jobs, values in tables:
        days = at // DAY_US
        for begin, end in pairwise([*np.flatnonzero(begins(days)).tolist(), len(at)]):
            yield int(days[begin]), at[begin:end], jobs[begin:end], values[begin:end]


def counted_rows(extraction, at, jobs, values, *, node, schema):
    """Make an Arrow table of some rows of a node, and count these."""
    times = pd.to_datetime(pd.Series(at), unit="us", utc=True)
    keys = pd.DataFrame({"timestamp": times, "node_id": node, "job_id": jobs})
    have = (~np.isnan(values)).sum(axis=0).tolist()
    note(extraction, keys, have=dict(zip(schema.names[2:], have, strict=True)))
    columns = [pa.array(column, from_pandas=True) for column in values.T]
    texts = [pa.array(at, schema.types[0]), pa.array(jobs, pa.string(), from_pandas=True)]
    return pa.Table.from_arrays([*texts, *columns], schema=schema)


def never_negative(long, names):
    """Names of the metrics that are never negative but for -1, which stands for no value there, a set.

    names : of the metric of each series. As in `is_blank`, but by all values that a source has of a metric.
    """
    low, high = long.ends()
    ends = pd.DataFrame({"metric": names, "low": low, "high": high}, dtype=object)
    ends = (
        ends.astype({"low": float, "high": float})
        .groupby("metric")
        .agg(low=("low", "min"), high=("high", "max"))
    )
    return set(ends.index[(ends.low >= 0) & (ends.high >= LARGEST_BESIDE)])


def without_blanks(extraction, rows, column, names, unset):
    """Rows of a node in which what stands for no value is NaN, and counted.

    column : number of the metric of each series, its position in `names`. unset : metrics whose -1 stands for
    no value.
    """
    values, columns = rows["value"], column[rows["series"]]
    blank = (values == -1) & np.isin(names, list(unset))[columns]
    large = np.abs(values) >= LARGE
    for one in np.unique(columns[large]):
        some = np.flatnonzero(large & (columns == one))
        blank[some] = is_blank(values[some], names[one])
    for one, n in zip(*np.unique(columns[blank], return_counts=True), strict=True):
        extraction.blanks[names[one]] = extraction.blanks.get(names[one], 0) + int(n)
    values[blank] = np.nan
    return rows
