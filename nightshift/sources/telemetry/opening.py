"""Files of node metrics: how tables of every form are opened, and what all kinds of them share."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.products import code_below
from nightshift.sources.base import FileSource, Look
from nightshift.sources.excerpts import excerpt_of_parquet, excerpt_of_text, whole_file
from nightshift.sources.parts import state_of_file
from nightshift.sources.tables import numbered_pages, read_csv_pages
from nightshift.sources.telemetry import ldms, tables
from nightshift.sources.telemetry.hdf_objects import RefusedError, guard
from nightshift.sources.telemetry.node_days import digest_of
from nightshift.sources.telemetry.notes import add_source, keep
from nightshift.sources.telemetry.parts import extraction_into
from nightshift.wording import one_line

PARQUET, HDF = (".parquet", ".pq"), (".h5", ".hdf", ".hdf5")
OPTIONAL = {"job_id": "runs are not told apart, and labels of jobs fit nothing"}
EVER = [pd.Timestamp("1970-01-01", tz="UTC"), pd.Timestamp("2200-01-01", tz="UTC")]  # a window for all rows


def read_parquet(path):
    """Open a Parquet file: (names of the columns, pages of at most 65,536 rows, each with the number of its
    first one). Where a column is of categories, no page goes beyond a row group.
    """
    file = pq.ParquetFile(path)
    pages = (pa.Table.from_batches([batch]) for batch in file.iter_batches(2**16))
    return file.schema_arrow.names, numbered_pages(pages)


def read_hdf(path, n_rows=None):
    """Open the one table in an HDF5 file of pandas, or its first `n_rows`: (names of the columns, pages), as
    `read_parquet` gives them; a named index counts as columns.

    Errors are those of `hdf_rows`. Where a column is text, pages are sixteen times as long, since pandas
    reads all of it for each.
    """
    first = hdf_rows(path, 0, n_rows or 2**16)
    others = first.select_dtypes(exclude=["number", "datetime", "datetimetz"])
    names, is_text = list(first.columns), bool(others.shape[1])
    size = 2**20 if is_text and not n_rows else 2**16

    def pages():
        start, rows = 0, first if size == 2**16 else hdf_rows(path, 0, size)
        while len(rows):
            yield start + 1, pa.Table.from_pandas(rows, preserve_index=False)
            start += size
            if n_rows or len(rows) < size:
                return
            rows = hdf_rows(path, start, start + size)

    return names, pages()


def hdf_rows(path, start, stop):
    """Read rows of the one table in an HDF5 file of pandas: DataFrame, empty behind its end.

    ValueError of one line for what is damaged or was not written by pandas, and for Python objects other
    than numbers, texts and times: what a file names could be any program.
    """
    guard()
    try:
        with pd.HDFStore(path, mode="r") as store:
            table = pd.read_hdf(store, start=start, stop=stop)
    except RefusedError as error:
        raise ValueError(
            f"it holds Python objects that may be programs, and are not read ({error})"
        ) from None
    except ModuleNotFoundError as error:
        # objects in the file, such as zones of time, are of classes that Python must find
        raise ValueError(
            f"it holds objects of the package {error.name}, which is not installed here"
        ) from None
    except (
        RuntimeError,
        NotImplementedError,
        AttributeError,
        TypeError,
        pickle.UnpicklingError,
    ) as error:
        # what PyTables raises differs with what is wrong
        what = f"{type(error).__name__}: {one_line(error, 100)}"
        raise ValueError(f"it is damaged, or no HDF5 file that pandas wrote ({what})") from None
    table = table.reset_index([name for name in table.index.names if name])
    return table.set_axis(table.columns.astype(str), axis=1)


def open_table(path, bad_lines):
    """Open a table of any kind, told by its name: (names of the columns, pages), those of its folders
    included.

    CSV may be separated by commas, semicolons or tabs and may be a .gz; a line with too few or too many
    columns is added to `bad_lines`. A folder of the path that says `metric=cpu_idle` is a column of the file.
    Errors are those of `read_hdf` and `check_names`.
    """
    kind = Path(path).suffix.lower()
    if kind in PARQUET:
        names, pages = read_parquet(path)
    elif kind in HDF:
        names, pages = read_hdf(path)
    else:
        names, pages = read_csv_pages(path, bad_lines)
    tables.check_names(names)
    return tables.add_partitions(names, pages, tables.partitions_of(path))


def excerpt_of_table(path, folder):
    """Take the first and the last rows of a table of any form; an HDF5 file is taken as a whole."""
    suffix = Path(path).suffix.lower()
    excerpts = dict.fromkeys(PARQUET, excerpt_of_parquet) | dict.fromkeys(HDF, whole_file)
    return excerpts.get(suffix, excerpt_of_text)(path, folder)


@dataclass
class NodeFile(FileSource):
    """A file of node metrics. columns : the parameter, {role: column}; where it is set, every table is one of
    nodes.
    """

    optional = OPTIONAL
    excerpt = staticmethod(excerpt_of_table)

    columns: dict

    def names_of(self, head):
        """Return the names of the columns of a table, those that its folders say included."""
        names = read_hdf(head.path, 1)[0] if head.suffix in HDF else head.names
        return [*names, *tables.partitions_of(head.path)]

    def keep(self, path, extraction):
        """Add what an earlier night noted of the file `path`, where it is of this kind, neither it nor what
        reads it has changed, and the note holds in the window: whether that is so.
        """
        name = digest_of(path)
        noted, _ = extraction.earlier.note(name)
        is_of_kind = noted.get("made_of", {}).get("kind") == type(self).__name__
        return is_of_kind and keep(extraction, name, self.made_of(path, extraction))

    def add(self, path, extraction):
        """Add the file `path`, and note what was counted of it."""
        one, made_of = extraction.of_source(), self.made_of(path, extraction)
        self.extract(path, one)
        add_source(extraction, one, digest_of(path), made_of=made_of)

    def made_of(self, path, extraction):
        """Return, as JSON, what the rows of the file `path` follow from besides the window."""
        return {
            "kind": type(self).__name__,
            "files": [state_of_file(one) for one in (path, *self.files_beside(path))],
            "settings": [vars(self), extraction.columns, extraction.sampler, sorted(extraction.repeated)],
            "code": code_below("sources"),
        }

    def files_beside(self, path):
        """Return the paths of files that say what the file `path` is: a header beside it makes it a store."""
        binary = Path(path).suffix.lower() in (*PARQUET, *HDF)
        return [] if binary else [one for one in [ldms.header_beside(path)] if one]

    def look(self, path, *, settings, folder):
        """Extract the file into the folder, and sum up the rows of its nodes and GPUs."""
        raw = Path(folder) / "raw"
        names = {"columns": settings["columns"], "sampler": settings["sampler"]}
        with extraction_into(raw, EVER, **names) as extraction:
            self.extract(path, extraction)
            pd.DataFrame().to_parquet(extraction.folder / "labels.parquet")
        return look_at(self.label, extraction, pd.read_parquet(raw / "gpus.parquet"))


def look_at(label, extraction, gpus):
    """Sum up what a scratch extraction has read, and the GPUs (DataFrame) that it has written: a Look."""
    empty = pd.DataFrame(columns=["node_id", "job_id", "rows", "first", "last"])
    seen = pd.concat([empty, *extraction.seen], ignore_index=True)
    times = pd.concat([seen["first"], seen["last"], gpus.timestamp]).dropna().map(pd.Timestamp)
    filled = {name for name in ("node_id", "job_id") if seen[name].notna().any()}
    filled |= {metric for metric, (values, _) in extraction.measured.items() if values}
    filled |= {name for name in gpus if gpus[name].notna().any()}
    return Look(
        label,
        rows=int(seen.rows.sum()) + len(gpus) + sum(map(len, extraction.labels)),
        filled=frozenset(filled),
        oldest=times.min() if len(times) else None,
        newest=times.max() if len(times) else None,
        bad=len(extraction.bad_lines),
    )
