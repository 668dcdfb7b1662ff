"""Tables of one row per metric and moment become parts with a column per metric: in the memory of a page,
of a part of the rows of one node, and of the names of all series.
"""

import shutil
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.sources.telemetry.cells import LARGE, finite_numbers, is_blank
from nightshift.sources.telemetry.long_rows import LongRows, turned
from nightshift.sources.telemetry.parts import NO_ROW, add_sampler, digest_of, note, place

LARGEST_BESIDE = 10  # what a metric must reach for its -1 to stand for no value


def write_long(extraction, pages, *, layout, where, how=""):
    """Write the pages of a long table, one row per metric and moment in any order, as one part per node.

    how : "sum" adds up what comes twice at one moment. Else it makes a second row: that is a duplicate of the
    source, and the next step's to reject. ValueError where no row has a time and a node.
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
    """Write LongRows as one part per node, a row per job and moment, and remove their folder.

    series : [(node, job, metric)] by their numbers. clean : what is done to the rows of a node, part by part.
    """
    sampled = add_sampler({metric: metric for *_, metric in series}, extraction.sampler)
    key, column = np.zeros((2, len(series)), np.int32)
    jobs, metrics = {}, {}
    for number, (node, job, metric) in enumerate(series):
        key[number] = code_of(job, jobs.setdefault(node, {}))
        column[number] = code_of(sampled[metric], metrics.setdefault(node, {}))
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


def code_of(name, codes):
    """The code of a name in {name: code}, which grows by it."""
    return codes.setdefault(name, len(codes))


def write_node(extraction, tables, *, node, names, where):
    """Write (times in us since 1970, jobs, values (rows, names)) of one node as a part; none is no part."""
    fields = [("timestamp", pa.timestamp("us", "UTC")), ("job_id", pa.string())]
    schema = pa.schema(fields + [(name, pa.float64()) for name in names])
    folder, writer = extraction.folder / "nodes" / f"node_id={quote(node, safe='')}", None
    for at, jobs, values in tables:
        if writer is None:
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f"{digest_of(where)}-0.parquet"
            writer = pq.ParquetWriter(part, schema, compression="zstd", use_dictionary=["job_id"])
        times = pd.to_datetime(pd.Series(at), unit="us", utc=True)
        keys = pd.DataFrame({"timestamp": times, "node_id": node, "job_id": jobs})
        have = (~np.isnan(values)).sum(axis=0).tolist()
        note(extraction, keys, have=dict(zip(names, have, strict=True)))
        columns = [pa.array(column, from_pandas=True) for column in values.T]
        texts = [pa.array(at, fields[0][1]), pa.array(jobs, pa.string(), from_pandas=True)]
        writer.write_table(pa.Table.from_arrays([*texts, *columns], schema=schema))
    if writer is not None:
        writer.close()


def never_negative(long, names):
    """Names of the metrics that are never negative but for -1, which stands for no value there, a set.

    names : of the metric of each series. As in `is_blank`, but of all values that a source has of a metric.
    """
    ends = pd.DataFrame({"metric": names, "low": long.low, "high": long.high}, dtype=object)
    ends = (
        ends.astype({"low": float, "high": float})
        .groupby("metric")
        .agg(low=("low", "min"), high=("high", "max"))
    )
    return set(ends.index[(ends.low >= 0) & (ends.high >= LARGEST_BESIDE)])


def without_blanks(extraction, rows, column, names, unset):
    """Rows of a node in which what stands for no value is NaN, and counted.

    column : number of the metric of each series, by which `names` has its name. unset : metrics whose -1 says
    so.
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
