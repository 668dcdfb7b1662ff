"""Raw parts of node metrics: what each holds, and which of them are one source.

Parts       what is known of one without its values     Part, find_parts, paths_of
Sources     of a node, and how often they sample        sources_of, read_sources, sampling_periods
Batches     runs that are cut into windows together     batches_of
"""

import zlib
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.cleaning.telemetry import KEYS, NO_DAY
from nightshift.cleaning.telemetry_repeats import group_parts
from nightshift.sources.times import DAY_US

MOST_VALUES = 70_000_000  # of a node that are joined at once, a day of 800 metrics at 1 Hz: 2.5 GiB in all
WHOLE = 0.004  # of a period, by which it may differ from whole seconds


class Part(NamedTuple):
    """A Parquet file with rows of one node.

    size, mtime_ns, crc : of the file, which tell whether it has changed. rows : how many. first, last : ISO
    8601, "" where no row has a time. period_s : median step between successive rows of a run, None where
    there is none. metrics : names of its columns. runs : pairs of job and day, as `moments` gives them.
    """

    path: Path
    size: int
    mtime_ns: int
    crc: int
    rows: int
    first: str
    last: str
    period_s: float | None
    metrics: tuple
    runs: tuple


def find_parts(folder, earlier=None):
    """Find the parts of all nodes below a folder: {node: list of Part}, sorted by node, and of one node by
    their first moment and, where two have the same one, by their checksum.

    That order later decides between two rows of the same moment. The names of the parts must not, since they
    change with the folder of the source. earlier : {path: Part} of another night; a part whose size and time
    are the same is not read.
    """
    folder, earlier, found = Path(folder), earlier or {}, {}
    for of_node in sorted(folder.glob("node_id=*")):
        parts = found.setdefault(unquote(of_node.name.partition("=")[2]), [])
        for path in of_node.rglob("*.parquet"):
            part, stat = earlier.get(str(path)), path.stat()
            same = part and (part.size, part.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
            parts.append(part if same else describe_part(path))
    return {
        node: sorted(found[node], key=lambda part: (part.first or "~", part.crc)) for node in sorted(found)
    }


def describe_part(path):
    """Read what the file at `path` holds: Part. By NumPy in 0.9 ms, where pandas took 8: a month of the
    sample has thousands of small ones.
    """
    stat, file = path.stat(), pq.ParquetFile(path)
    table = file.read(list(KEYS))
    time = table["timestamp"].cast(pa.timestamp("us", "UTC"))
    at, has_time = pc.fill_null(time.cast(pa.int64()), 0).to_numpy(), time.is_valid().to_numpy()
    job = pc.fill_null(table["job_id"].cast(pa.string()), "").combine_chunks().dictionary_encode()
    runs = runs_among(at, has_time, job.indices.to_numpy(), job.dictionary.to_pylist())
    at, of_job = at[has_time], job.indices.to_numpy()[has_time]
    order = np.lexsort([at, of_job])
    steps = np.diff(at[order])
    steps = steps[(np.diff(of_job[order]) == 0) & (steps > 0)] / 1e6
    ends = (at.min(), at.max()) if len(at) else ()
    first, last = (pd.Timestamp(end, unit="us", tz="UTC").isoformat() for end in ends) if ends else ("", "")
    return Part(
        path=path,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        crc=zlib.crc32(path.read_bytes()),
        rows=len(table),
        first=first,
        last=last,
        period_s=float(np.median(steps)) if len(steps) else None,
        metrics=tuple(name for name in file.schema_arrow.names if name not in KEYS),
        runs=tuple(runs),
    )


def runs_among(at, has_time, of_job, names):
    """List the runs of some rows, pairs of job and day, sorted: a job is one run; without a job, each day is.

    at : microseconds since 1970, int (n,), where `has_time`, bool (n,). of_job : index of `names`, int (n,).
    """
    free = of_job == names.index("") if "" in names else np.zeros(len(at), bool)
    days = np.unique(np.where(has_time, at // DAY_US, NO_DAY)[free])
    return [*(("", day) for day in days.tolist()), *((name, NO_DAY) for name in sorted(names) if name)]


def paths_of(parts):
    """Paths of the parts of all nodes, {node: list of Part}: {node: list}."""
    return {node: [part.path for part in of_node] for node, of_node in parts.items()}


def sources_of(parts):
    """Join the parts of a node into its sources: {samplers: list of Part, in their order}, sorted.

    Parts with the same samplers that share a metric are one source, whatever file or day they came from;
    files that hold one metric each are sources of their own.
    """
    of_metrics = {}
    for part in parts:
        of_metrics.setdefault(part.metrics, []).append(part)
    grouped = group_parts([(metrics, metrics) for metrics in of_metrics])
    return {name: [part for part in parts if part.metrics in {*of}] for name, of in sorted(grouped.items())}


def touching(parts, runs):
    """List the parts that have rows of some runs, pairs of job and day, or of the day after one, into which
    its last windows reach.
    """
    needed = {*runs, *((job, day + 1) for job, day in runs if day != NO_DAY)}
    return [part for part in parts if not needed.isdisjoint(part.runs)]


def read_sources(sources, runs=None):
    """Read the sources of a node, as `sources_of` gives them: {samplers: Arrow table of timestamp, job_id and
    its metrics}; of the parts that are `touching` some runs, where these are named.
    """
    tables = {}
    for name, parts in sources.items():
        files = [pq.ParquetFile(part.path) for part in (parts if runs is None else touching(parts, runs))]
        if files:
            tables[name] = pa.concat_tables([file.read() for file in files], promote_options="permissive")
    return tables


def batches_of(sources, runs):
    """Divide runs of a node, pairs of job and day, into batches that are cut one after the other: each
    touches parts of MOST_VALUES values at most, unless it is a single run. Runs are taken by their first
    moments, so that few parts are read twice.
    """
    touched = {run: [part for of in sources.values() for part in touching(of, [run])] for run in runs}
    firsts = {
        run: min((part.first or "~" for part in of_run), default="~") for run, of_run in touched.items()
    }
    batches, held = [[]], {}
    for run in sorted(runs, key=lambda run: (firsts[run], run)):
        values = {part.path: part.rows * len(part.metrics) for part in touched[run]}
        if batches[-1] and sum((held | values).values()) > MOST_VALUES:
            batches.append([])
            held = {}
        batches[-1].append(run)
        held |= values
    return batches


def bytes_touched(sources, todo):
    """Add up the sizes of the parts that hold rows of some runs: int. sources : {node: its sources}. todo :
    {node: runs}.
    """
    parts = {
        part
        for node, runs in todo.items()
        for of_source in sources[node].values()
        for part in touching(of_source, runs)
    }
    return sum(part.size for part in parts)


def sampling_periods(parts):
    """Find how often each source samples: DataFrame samplers, nodes, rows, period_s, the median over its
    parts of the median step between successive rows of a run.

    parts : {node: list of Part}. A period within 0.4% of whole seconds is rounded to them: clocks jitter, and
    a period that differed from night to night would have all windows cut anew. A source with a single row has
    no step, and is taken to be as fast as the fastest other one, or to sample once a second.
    """
    steps = [
        (samplers, node, part.rows, part.period_s)
        for node, of_node in parts.items()
        for samplers, of_source in sources_of(of_node).items()
        for part in of_source
    ]
    sources = pd.DataFrame(steps, columns=["samplers", "nodes", "rows", "period_s"]).astype(
        {"period_s": float}
    )
    sources = sources.groupby("samplers", as_index=False)
    sources = sources.agg({"nodes": "nunique", "rows": "sum", "period_s": "median"})
    periods = sources.period_s.fillna(sources.period_s.min()).fillna(1.0)
    whole = (periods - periods.round()).abs() <= WHOLE * periods
    return sources.assign(period_s=periods.round().where(whole, periods.round(2)).clip(lower=0.01))
