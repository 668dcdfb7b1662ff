"""Windows of nodes, kept day by day: a night cuts only the runs whose rows have changed.

Table       a file of each day on which windows begin       WindowTable, read_windows, features_of
Changes     which runs a night cuts                         Changes, marks_of
Days        the file of a day, node by node                 write_day, nodes_in

A run of which no part, no label and no setting has changed keeps its windows. The folder .made_of/ beside the
days says what all of them were made of, and is written last: where a night did not end, or somebody has
touched a file, everything is made anew.
"""

import hashlib
import heapq
import json
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

from helpers import atomic, write_json, write_parquet
from nightshift.cleaning.days import day_name, files_below
from nightshift.cleaning.telemetry import NO_DAY, is_counter
from nightshift.cleaning.telemetry_parts import Part, batches_of, sources_of, touching
from nightshift.cleaning.telemetry_windows import KEY_TYPES, LABELS, RUN, WINDOW_KEYS, day_of
from nightshift.compiled import STATISTICS
from nightshift.products import code_below, read_json

MADE_OF = ".made_of"  # pandas passes over what begins with a dot
ROWS_OF_GROUP = 20_000  # of a Parquet file, at least: 26 MB with 30 metrics
# the statistics hardly repeat a value, and nobody filters by their smallest and largest ones
WRITTEN = {
    "compression": "zstd",
    "use_dictionary": ["job_id", "node_id", *LABELS],
    "write_statistics": WINDOW_KEYS,
}
RUN_OF_NODE = ["node_id", *RUN]
OF_RUN = {"node_id": "str", "job_id": "str", "day": "int64"}
MOMENT = "datetime64[us, UTC]"
TABLES = {
    "runs": dict.fromkeys(["kept", "wraps", "resets", "first_day", "last_day"], "int64") | {"mark": "str"},
    "rejected": {"reason": "str", "rows": "int64", "first": MOMENT, "last": MOMENT},
    "medians": {"app": "str", "anomaly": "str"},
    "ranges": {"metric": "str", "low": "float64", "high": "float64"},
}


class Changes(NamedTuple):
    """What a night has to do.

    sources : {node: as `sources_of` gives them}. marks : {(node, job, day): text, as of `marks_of`} of all
    runs. todo : {node: runs that are to be cut}, pairs of job and day. dropped : {node: runs whose windows
    are to be removed}.
    """

    sources: dict
    marks: dict
    todo: dict
    dropped: dict

    def batches(self):
        """List the batches of runs that are cut in one go: (node, runs) each."""
        return [
            (node, runs)
            for node, of_node in self.todo.items()
            for runs in batches_of(self.sources[node], of_node)
        ]


class WindowTable:
    """The clean table in the folder `path`, DAY.parquet for each day on which windows begin.

    runs, rejected, medians, ranges : of all nodes, DataFrames as those of NodeWindows; runs with their mark.
    earlier_parts : {path of a raw part: Part}.
    """

    def __init__(self, path):
        self.path, self.made_of = Path(path), Path(path) / MADE_OF / "made_of.json"
        if self.path.is_file():  # of a version that kept the table in one file
            self.path.unlink()
        before = read_json(self.made_of)
        self.earlier_parts = unpacked(before.get("parts", {}))
        self.goes_on = before.get("code") == code_of_windows() and before.get("left") == files_below(
            self.path, "*.parquet"
        )
        for name, types in TABLES.items():
            empty = pd.DataFrame(columns=[*OF_RUN, *types]).astype(OF_RUN | types)
            file = self.made_of.with_name(f"{name}.parquet")
            setattr(self, name, pd.read_parquet(file) if self.goes_on else empty)

    def compare(self, parts, *, grid, labels):
        """Tell what has changed since last night: Changes.

        parts : as `find_parts` gives them. grid : a Grid. labels : as `clean_labels` gives them.
        """
        sources = {node: sources_of(of_node) for node, of_node in parts.items()}
        labels = summed_up(labels)
        marks = {
            (node, *run): mark
            for node, of_node in sources.items()
            for run, mark in marks_of(node, of_node, grid=grid, labels=labels).items()
        }
        earlier = dict(zip(runs_in(self.runs), self.runs.mark, strict=True))
        todo = by_first(run for run in marks if earlier.get(run) != marks[run])
        dropped = by_first(run for run in earlier if earlier[run] != marks.get(run))
        return Changes(sources, marks, todo, {node: set(runs) for node, runs in dropped.items()})

    def replace(self, changes, results, files, *, day):
        """Replace the windows of the runs that are dropped by those of a night, one day after the other, so
        that memory holds some nodes' windows of one day.

        results : NodeWindows of each batch of runs. files : node and arrow file of the windows of each. day :
        the newest one, as text; where there is no window at all, the table is an empty file of this day.
        """
        self.made_of.parent.mkdir(parents=True, exist_ok=True)
        self.made_of.unlink(missing_ok=True)  # first of all, so that no night continues from half a table
        for old in [] if self.goes_on else self.path.glob("*.parquet"):
            old.unlink()
        gone = self.runs[are_among(self.runs, changes.dropped)]
        new = pd.concat([result.runs for result in results], ignore_index=True) if results else gone.head(0)
        nodes_on = nodes_by_day(new)
        for number in sorted({*nodes_on, *nodes_by_day(gone)}):
            of_day = [(node, file) for node, file in files if node in nodes_on.get(number, ())]
            write_day(self.path / f"{day_name(number)}.parquet", number, changes.dropped, of_day)
        days = sorted(self.path.glob("*.parquet"))
        if not any(pq.read_metadata(file).num_rows for file in days):
            write_parquet(no_windows().to_pandas(), self.path / f"{day}.parquet")
        marks = pd.Series(changes.marks, dtype="str")
        for name, types in TABLES.items():
            before = getattr(self, name)
            frames = [before[~are_among(before, changes.dropped)], *(getattr(one, name) for one in results)]
            if name == "runs":
                frames[1:] = [frame.assign(mark=marks[runs_in(frame)].array) for frame in frames[1:]]
            frames = [frame for frame in frames if len(frame)] or [before]
            together = pd.concat(frames, ignore_index=True).astype(OF_RUN | types)
            setattr(self, name, together.sort_values(RUN_OF_NODE, ignore_index=True, kind="stable"))
            write_parquet(getattr(self, name), self.made_of.with_name(f"{name}.parquet"))

    def note(self, parts):
        """Write down what the table was made of, from which the next night continues.

        parts : of the raw table, as `find_parts` gives them.
        """
        left = files_below(self.path, "*.parquet")
        write_json({"code": code_of_windows(), "left": left, "parts": packed(parts)}, self.made_of)


def read_windows(path, *, features=None, columns=None, filters=None):
    """Read windows of the clean table: DataFrame sorted by node, start and job, "" where a label is missing.

    path : its folder, or a file of an earlier version. features : those that are read beside the keys, as far
    as a node has them; or columns : all that is read. filters : as of `pandas.read_parquet`.
    """
    files = days_of_table(path)
    schema = pa.unify_schemas([pq.read_schema(file).remove_metadata() for file in files])
    if features is not None:
        columns = [name for name in (*WINDOW_KEYS, *features) if name in schema.names]
    frame = pq.read_table(files, schema=schema, columns=columns, filters=filters).to_pandas()
    frame = frame.fillna(dict.fromkeys([name for name in ("job_id", *LABELS) if name in frame], ""))
    order = [name for name in ("node_id", "start", "job_id") if name in frame]
    return frame.sort_values(order, ignore_index=True, kind="stable") if order else frame


def days_of_table(path):
    """List the files of the clean table, the earliest day first. path : its folder, or a file of an earlier
    version, which is the only one.
    """
    path = Path(path)
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def run_of(window):
    """Name the run of a window, a Series of WINDOW_KEYS: (node, job, day)."""
    day = NO_DAY if window.job_id else int(day_of(pd.Series([window.start]))[0])
    return window.node_id, window.job_id, day


def windows_of(path, node, job, day, *, columns):
    """Read the windows of one run, as `read_windows` does. path : of the clean table."""
    of_run = [("node_id", "==", node), ("job_id", "==", job)]
    if day != NO_DAY:
        begin = pd.Timestamp(day, unit="D", tz="UTC")
        of_run += [("start", ">=", begin), ("start", "<", begin + pd.Timedelta(days=1))]
    return read_windows(path, columns=columns, filters=of_run)


def features_of(metrics):
    """Name the columns of the statistics of `metrics`, in their order."""
    return [f"{metric}|{name}" for metric in metrics for name in STATISTICS]


def no_windows():
    """An Arrow table of windows without a row."""
    return pa.schema(list(KEY_TYPES.items())).empty_table()


# ---------------------------------------------------------------------------------------------------- Changes


def marks_of(node, sources, *, grid, labels):
    """Hash what the windows of each run of a node follow from: {(job, day): text}, which changes with them.

    sources : as `sources_of` gives them. labels : as `summed_up` gives them. What is hashed are the parts
    that hold rows of the run, how they are read and which labels may apply to it.
    """
    parts, end = [part for of_source in sources.values() for part in of_source], grid.end.isoformat()
    cut = [grid.sampling_s, grid.window, grid.step, float(grid.trim_s), float(grid.least_coverage)]
    marks = {}
    for run in sorted({run for part in parts for run in part.runs}):
        touched = {name: touching(of_source, [run]) for name, of_source in sources.items()}
        touched = {name: of_source for name, of_source in touched.items() if of_source}
        metrics = {name for of_source in touched.values() for part in of_source for name in part.metrics}
        late = any(part.last >= end for of_source in touched.values() for part in of_source)
        made_of = [
            *cut,
            end if late else "",
            [[name, grid.periods[name], [part.crc for part in of]] for name, of in touched.items()],
            sorted(name for name in metrics if is_counter(name, grid)),
            labels_on(labels, node, *run, window=pd.Timedelta(seconds=grid.window * grid.sampling_s)),
        ]
        marks[run] = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    return marks


def summed_up(labels):
    """Index labels, as `clean_labels` gives them, so that those of a run are found quickly: {(node, job):
    list of (number, start, end, hash)}, "" for any node or job.
    """
    found, hashes = {}, pd.util.hash_pandas_object(labels, index=False)
    rows = zip(labels.node_id, labels.job_id, labels.start, labels.end, hashes, strict=True)
    for number, (node, job, *rest) in enumerate(rows):
        found.setdefault((node, job), []).append((number, *rest))
    return found


def labels_on(labels, node, job, day, *, window):
    """List the hashes of the labels that may apply to a run, the first label first.

    labels : as `summed_up` gives them. window : length of a window, by which those of a day reach into the
    next one.
    """
    on = [label for key in {(a, b) for a in (node, "") for b in (job, "")} for label in labels.get(key, ())]
    if day != NO_DAY and on:
        begin = pd.Timestamp(day, unit="D", tz="UTC")
        on = [one for one in on if one[1] < begin + pd.Timedelta(days=1) + window and one[2] > begin]
    return [int(one[-1]) for one in sorted(on)]


def by_first(runs):
    """Group runs (node, job, day) by their node: {node: list of (job, day)}, all sorted."""
    grouped = groupby(sorted(runs), itemgetter(0))
    return {node: [run[1:] for run in of_node] for node, of_node in grouped}


def runs_in(frame):
    """The runs that the rows of a DataFrame are of: list of (node, job, day)."""
    return list(zip(*(frame[name].tolist() for name in RUN_OF_NODE), strict=True))


def are_among(frame, runs):
    """Tell which rows of a DataFrame are of some runs, {node: set of (job, day)}: bool (n,)."""
    return np.array([(job, day) in runs.get(node, ()) for node, job, day in runs_in(frame)], bool)


def code_of_windows():
    """Hash the code that makes windows."""
    return code_below("cleaning", "compiled.py")


def packed(parts):
    """Bring parts, {node: list of Part}, into a form for JSON, in which each list of metrics stands once."""
    of_metrics = {}
    for part in (part for of_node in parts.values() for part in of_node):
        of_metrics.setdefault(part.metrics, []).append([str(part.path), *part[1:8], part.runs])
    return [[metrics, found] for metrics, found in of_metrics.items()]


def unpacked(noted):
    """Undo `packed`: {path: Part}."""
    return {
        path: Part(Path(path), *values, tuple(metrics), tuple(map(tuple, runs)))
        for metrics, found in noted
        for path, *values, runs in found
    }


# ------------------------------------------------------------------------------------------------------- Days


def nodes_by_day(runs):
    """Find the nodes with a run of which a window may begin on each day: {day: set of nodes}.

    runs : DataFrame node_id, first_day, last_day.
    """
    nodes = {}
    found = runs[runs.first_day != NO_DAY][["node_id", "first_day", "last_day"]].drop_duplicates()
    for node, first, last in found.itertuples(index=False, name=None):
        for day in range(first, last + 1):
            nodes.setdefault(day, set()).add(node)
    return nodes


def write_day(path, day, dropped, files):
    """Write the file of a day anew, node by node: what it held, without the runs that are dropped, and what
    new files, pairs of node and path, hold of that day. A day without any window has no file.

    dropped : {node: set of (job, day)}. A group of rows holds whole nodes.
    """
    old, new = nodes_in(path, dropped), ((node, windows_on(file, day)) for node, file in files)
    in_order = [("start", "ascending"), ("job_id", "ascending")]
    schema = joint_schema([*([path] if path.exists() else []), *(file for _, file in files)])
    n_rows, waiting = 0, [schema.empty_table()]
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, **WRITTEN) as writer:
        for _, of_node in groupby(heapq.merge(old, new, key=itemgetter(0)), itemgetter(0)):
            tables = [with_columns(table, schema) for _, table in of_node if len(table)]
            windows = pa.concat_tables(tables) if tables else schema.empty_table()
            # sorting 900 columns takes as long as writing them, and a single table is in order already
            waiting.append(windows.sort_by(in_order) if len(tables) > 1 else windows)
            n_rows += len(windows)
            if sum(map(len, waiting)) >= ROWS_OF_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = [schema.empty_table()]
        writer.write_table(pa.concat_tables(waiting))
    if not n_rows:
        path.unlink()


def with_columns(table, schema):
    """Give an Arrow table all columns of a schema, those that it lacks without a value."""
    if table.schema.names == schema.names:  # as for most nodes, which saves 3 ms
        return table
    return pa.concat_tables([schema.empty_table(), table], promote_options="default")


def nodes_in(path, dropped):
    """Yield (node, Arrow table) of the file of a day, which need not be there, in the order of the nodes,
    without the runs that are dropped, {node: set of (job, day)}.
    """
    file = pq.ParquetFile(path) if path.exists() else None
    for group in range(file.num_row_groups if file else 0):
        table = file.read_row_group(group)
        nodes = table["node_id"].to_pandas()
        begins = np.flatnonzero(nodes != nodes.shift())
        for begin, end in zip(begins, [*begins[1:], len(nodes)], strict=True):
            node, windows = nodes[begin], table.slice(begin, end - begin)
            if node in dropped:
                goes = [run in dropped[node] for run in runs_of_windows(windows)]
                windows = windows.filter(pa.array(~np.array(goes, bool)))
            yield node, windows


def runs_of_windows(windows):
    """List the run of each row of an Arrow table of windows: [(job, day)]."""
    jobs = windows["job_id"].to_pylist()
    days = day_of(windows["start"].to_pandas()).tolist()
    return [(job, NO_DAY if job else day) for job, day in zip(jobs, days, strict=True)]


def windows_on(file, day):
    """Read from an arrow file of windows, sorted by their start, those that begin on a day, since 1970."""
    windows = feather.read_table(file, memory_map=True)
    first, end = np.searchsorted(day_of(windows["start"].to_pandas()), [day, day + 1])
    return windows.slice(first, end - first)


def joint_schema(files):
    """Put the columns of several files of windows together: first the keys, then the statistics of each
    metric, sorted by metric; an Arrow schema.
    """
    metrics = set()
    for file in files:
        names = pq.read_schema(file).names if file.suffix == ".parquet" else ipc_names(file)
        metrics.update(name.rpartition("|")[0] for name in names if "|" in name)
    features = [(name, pa.float32()) for name in features_of(sorted(metrics))]
    return pa.schema([*KEY_TYPES.items(), *features])


def ipc_names(file):
    """Names of the columns of an arrow file."""
    with pa.memory_map(str(file)) as mapped:
        return pa.ipc.open_file(mapped).schema.names
