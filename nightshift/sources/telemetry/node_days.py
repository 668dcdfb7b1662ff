"""Parts of the raw table of nodes: the rows of one source, node and UTC day each, and how wide rows in any
order become such parts.

Parts    the row groups of a part follow from its rows alone    write_part, regrouped
Rows     wide rows of many nodes and days, kept on disk         WideRows
"""

import shutil
import uuid
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.sources.times import DAY_US

GROUP = 2**21  # values of a row group of a part, 16 MB: a day of 60 metrics at 15 s has a sixth of them
RUN = 2**26  # bytes of rows that are sorted at once, and about as many again meanwhile
# one number stands for a node and a day: node * DAYS + FIRST_DAY + days since 1970, which may be negative
DAYS, FIRST_DAY = 2**20, 2**19
WHERE = "nodes/node_id={node}/day={day}/{digest}.parquet"


def digest_of(where):
    """Name the parts of the source `where`: 12 hexadecimal digits."""
    return uuid.uuid5(uuid.NAMESPACE_URL, where).hex[:12]


def part_schema(metrics):
    """The Arrow schema of a part with these names of metrics, a list."""
    keys = [("timestamp", pa.timestamp("us", "UTC")), ("job_id", pa.string())]
    return pa.schema([*keys, *((name, pa.float64()) for name in metrics)])


def write_part(extraction, tables, *, node, day, schema, where):
    """Write Arrow tables, the rows of the source `where` of one node and UTC `day` (days since 1970), as one
    part.

    Equal rows give equal bytes, however the tables cut them: by these the next step sees that a day has not
    changed. Measured values hardly repeat: without a dictionary of them a part takes a third less space and
    half the time to write. Names of nodes are percent-encoded, so that `../x` is a name and no path.
    """
    date = np.datetime64(day, "D")
    name = WHERE.format(node=quote(node, safe=""), day=date, digest=digest_of(where))
    path = extraction.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"compression": "zstd", "use_dictionary": ["job_id"], "write_statistics": ["timestamp"]}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for table in regrouped(tables, size=max(1, GROUP // len(schema))):
            writer.write_table(table, row_group_size=len(table))
    extraction.parts.append(name)


def regrouped(tables, *, size):
    """Yield Arrow tables of `size` rows each, the last one of the rest, with the rows of `tables`; each is
    in one piece.
    """
    waiting, n = [], 0
    for table in tables:
        waiting.append(table)
        n += len(table)
        while n >= size:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, size).combine_chunks()
            waiting, n = [joined.slice(size)], n - size
    if n:
        yield pa.concat_tables(waiting).combine_chunks()


class WideRows:
    """Wide rows of nodes in files of a new `folder`, RUN bytes of them each, sorted by node and day; the
    memory is that of two such files, whatever the number of nodes, days and rows.

    Rows of a node and day stay in the order in which they came.
    """

    def __init__(self, folder, n_metrics):
        folder.mkdir()
        self.folder, self.n_metrics = folder, n_metrics
        self.nodes, self.jobs, self.runs = {}, {}, []
        self.waiting, self.n_bytes = [], 0

    def add(self, keys, values):
        """Add rows: `keys`, a frame timestamp, node_id, job_id; `values`, an Arrow column of float64 of each
        metric, null where there is none.
        """
        at = keys.timestamp.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
        days = codes_of(keys.node_id, self.nodes) * DAYS + at // DAY_US + FIRST_DAY
        jobs = codes_of(keys.job_id, self.jobs)
        step = max(1, RUN // (8 * (3 + self.n_metrics)))
        for begin in range(0, len(keys), step):
            some = slice(begin, begin + step)
            rows = np.empty((3 + self.n_metrics, len(at[some])))
            whole = rows.view(np.int64)
            whole[0], whole[1], whole[2] = days[some], at[some], jobs[some]
            for row, column in zip(rows[3:], values, strict=True):
                row[:] = column.slice(begin, step).to_numpy(zero_copy_only=False)
            self.waiting.append(rows)
            self.n_bytes += rows.nbytes
            if self.n_bytes >= RUN:
                self.runs.append(Run(self.rest(), self.folder / f"{len(self.runs)}.run"))

    def rest(self):
        """Return the rows that wait, float (3 + n_metrics, n), and wait for new ones."""
        rows = np.concatenate([np.empty((3 + self.n_metrics, 0)), *self.waiting], axis=1)
        self.waiting, self.n_bytes = [], 0
        return rows

    def write(self, extraction, *, metrics, where):
        """Write a part of each node and day, and remove the folder."""
        runs, schema = [*self.runs, Run(self.rest())], part_schema(metrics)
        nodes, jobs = list(self.nodes), pa.array(list(self.jobs), pa.string())
        for code in np.unique(np.concatenate([run.codes for run in runs])).tolist():
            tables = (table_of(block, jobs, schema) for run in runs for block in run.block(code))
            node, day = nodes[code // DAYS], code % DAYS - FIRST_DAY
            write_part(extraction, tables, node=node, day=day, schema=schema, where=where)
        shutil.rmtree(self.folder)


class Run:
    """Rows of WideRows, float (3 + n_metrics, n), sorted by node and day: in the file `path`, or in memory
    without one.
    """

    def __init__(self, rows, path=None):
        codes = rows[0].view(np.int64)
        order = np.argsort(codes, kind="stable")
        self.codes, begins = np.unique(codes[order], return_index=True)
        self.ends, self.n_rows = np.append(begins, len(codes)), len(rows) - 1
        self.path, self.rows, self.order = path, rows, order
        if path:
            with open(path, "wb") as file:
                for begin, end in zip(self.ends[:-1], self.ends[1:], strict=True):
                    rows[1:, order[begin:end]].tofile(file)
            self.rows = self.order = None

    def block(self, code):
        """The rows of a node and day as a list, of one array (2 + n_metrics, n) or none."""
        at = int(np.searchsorted(self.codes, code))
        if at == len(self.codes) or self.codes[at] != code:
            return []
        begin, end = self.ends[at : at + 2].tolist()
        if self.path is None:
            return [self.rows[1:, self.order[begin:end]]]
        n = self.n_rows
        return [np.fromfile(self.path, float, n * (end - begin), offset=8 * n * begin).reshape(n, -1)]


def table_of(block, jobs, schema):
    """Make an Arrow table of the rows of a block: times in us, numbers of `jobs`, values."""
    block = np.ascontiguousarray(block)
    at, of_jobs = block[:2].view(np.int64)
    columns = [pa.array(at, schema.types[0]), jobs.take(pa.array(of_jobs))]
    columns += [pa.array(row, from_pandas=True) for row in block[2:]]
    return pa.Table.from_arrays(columns, schema=schema)


def codes_of(names, codes):
    """Number the `names` (Series, some may be missing) by `codes` {name: number}, which grows: int64 (n,)."""
    numbers, found = names.factorize(use_na_sentinel=False)
    found = [None if name != name else name for name in found]  # NaN is what does not equal itself
    return np.array([codes.setdefault(name, len(codes)) for name in found], np.int64)[numbers]
