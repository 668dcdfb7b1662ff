"""Tables by day in folders, and rows that are put aside until all of a day or a bucket are there.

DayFolder                   a table in its folder
CleanTable                  the clean table, of which only the rows that are asked for are read
Aside                       rows put aside, by a key
table_of, frame_of          frames as Arrow tables that fit together, and back
day_numbers, day_name       the days of moments
count_names, are_in_order   questions to a folder that need not hold all its rows in memory
"""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from helpers import atomic
from nightshift.cleaning import days as utc_days
from nightshift.sources.times import DAY_US

UNDATED = "undated"  # name of the day of rows without a time, which sorts after all days
NO_DAY = np.iinfo("int64").max // 2  # number of UNDATED
INDEX = ".index"  # pandas passes over what begins with a dot
ORIGIN = ["request", "part", "row"]  # what the index says of each row
NAME = pa.dictionary(pa.int32(), pa.string())  # of all tables, so that those of several days fit together
PIECE = 250_000  # rows that are worked on at once, some 100 MB with all columns


class DayFolder:
    """A table by day in the folder `path`, and beside it the ORIGIN of each row: its `request` as a number,
    the `part` of the raw table that it came from and its `row` there. The file UNDATED is always there.
    """

    def __init__(self, path):
        self.path = Path(path)
        if self.path.is_file():  # of a version that kept the table in one file
            self.path.unlink()
        (self.path / INDEX).mkdir(parents=True, exist_ok=True)

    @property
    def days(self):
        """List the names of the days, the earliest first and UNDATED last."""
        return days_in(self.path)

    def file(self, day):
        """The path of the file of a day."""
        return self.path / f"{day}.parquet"

    def index(self, day, columns=ORIGIN):
        """Read some `columns` of the ORIGIN of the rows of a day: DataFrame."""
        return read_rows(self.path / INDEX / f"{day}.parquet", columns)

    def read(self, day):
        """Read the rows of a day, with their ORIGIN: DataFrame."""
        return read_rows(self.file(day)).assign(**dict(self.index(day)))

    def write(self, day, frame):
        """Replace the rows of a day by `frame`, with ORIGIN; an empty one removes any day but UNDATED."""
        index = self.path / INDEX / f"{day}.parquet"
        if frame.empty and day != UNDATED:
            self.file(day).unlink(missing_ok=True)
            index.unlink(missing_ok=True)
            return
        write_rows(frame.drop(columns=ORIGIN), self.file(day), compression="lz4")
        write_rows(frame[ORIGIN], index, compression="none")


def days_in(folder):
    """List the names of the days of a table in a folder, the earliest first and UNDATED last."""
    return sorted(path.stem for path in Path(folder).glob("*.parquet"))


def read_rows(path, columns=None):
    """Read some `columns` of a Parquet file: DataFrame. On one processor, since one day is read quickly."""
    return pq.ParquetFile(path).read(columns, use_threads=False).to_pandas(split_blocks=True)


def write_rows(frame, path, *, compression):
    """Write a frame to `path`, its categories without those that it does not use. Statistics are written of
    `started` alone, by which alone rows are filtered, and numbers get no dictionary, since they hardly
    repeat.
    """
    table = table_of(frame.assign(**{name: used_only(frame[name]) for name in names_in(frame)}))
    statistics = [name for name in ("started",) if name in frame]
    options = {"use_dictionary": names_in(frame), "write_statistics": statistics or False}
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression=compression, **options)


def names_in(frame):
    """List the columns of a frame that are categorical."""
    return [name for name in frame if frame[name].dtype == "category"]


def used_only(names):
    """Return a categorical Series without the categories that it does not use."""
    codes, categories = names.cat.codes.to_numpy(), names.cat.categories
    used = np.bincount(codes[codes >= 0], minlength=len(categories)) > 0
    if used.all():
        return names
    place = np.append(np.cumsum(used) - 1, -1)
    return pd.Series(pd.Categorical.from_codes(place[codes], categories[used]), names.index)


def table_of(frame):
    """Turn a frame into an Arrow table, with categories of the type NAME."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(NAME))
    return table


def frame_of(tables):
    """Join Arrow tables, as `table_of` gives them, at least one, to a frame."""
    return pa.concat_tables(tables).unify_dictionaries().to_pandas(split_blocks=True)


def day_numbers(moments):
    """The day of each of the `moments`, int64 (n,) of microseconds since 1970 as `moments_of` gives them:
    int64 (n,), NO_DAY where there is none.
    """
    return np.where(moments == np.iinfo("int64").min, NO_DAY, moments // DAY_US)


def day_name(number):
    """The name of a day that has a number of `day_numbers`, "2026-01-31"; UNDATED for NO_DAY."""
    return UNDATED if number == NO_DAY else utc_days.day_name(number)


def day_number(name):
    """The number of the day that has a name, as `day_name` gives it."""
    return NO_DAY if name == UNDATED else int(np.datetime64(name, "D").astype(int))


class CleanTable:
    """The clean table in `folder`, whose rows are read when they are needed, so that no step holds all of it.

    A row is known by its place: its number in the whole table, the days in their order, UNDATED last. days :
    {name of a day: RangeIndex of the places of its rows}. n_rows : of all days.
    """

    def __init__(self, folder):
        self.folder, self.days, first = Path(folder), {}, 0
        for day in days_in(folder):
            n_rows = pq.read_metadata(self.path(day)).num_rows
            self.days[day] = pd.RangeIndex(first, first := first + n_rows)
        self.n_rows = first

    def path(self, day):
        """The file of a day."""
        return self.folder / f"{day}.parquet"

    def read(self, columns, *, days=None, keep=None, change=None):
        """DataFrame of `columns` by place, of all days or those named.

        keep : function of the rows of a day, a DataFrame of all `columns`, that returns which of them are
        wanted: bool (n,). change : function of these rows that returns the DataFrame that is wanted of them.
        """
        tables = [self.rows_of(day, columns, keep, change) for day in (self.days if days is None else days)]
        if not tables:
            tables = [self.rows_of(UNDATED, columns, lambda rows: np.zeros(len(rows), bool), change)]
        together = pa.concat_tables(tables).unify_dictionaries()
        del tables  # so that each column is freed as soon as pandas has it, and memory holds one copy
        frame = together.to_pandas(split_blocks=True, self_destruct=True).set_index("place")
        pa.default_memory_pool().release_unused()  # what Arrow would keep, 10 bytes a row of a large table
        return frame

    def pieces(self, columns, *, begin=0, end=None, keep=None, rows=PIECE):
        """Yield the rows with places in [begin, end), by default all, as DataFrames like those of `read` with
        at most `rows` rows: the days one after the other, small ones together.
        """
        end = self.n_rows if end is None else end

        def wanted(rows):
            inside = (rows.index >= begin) & (rows.index < end)
            return inside if keep is None else inside & keep(rows)

        for days in self.together(self.days_between(begin, end), rows):
            frame = self.read(columns, days=days, keep=wanted)
            for first in range(0, len(frame), rows):
                yield frame.iloc[first : first + rows]

    def together(self, days, rows):
        """Group consecutive days of at most `rows` rows in all, larger ones alone: lists of their names."""
        groups, n = [], rows
        for day in days:
            n += len(self.days[day])
            if n > rows or not groups:
                groups.append([])
                n = len(self.days[day])
            groups[-1].append(day)
        return groups

    def days_between(self, begin=0, end=None):
        """List the names of the days that have rows with places in [begin, end)."""
        end = self.n_rows if end is None else end
        return [day for day, of in self.days.items() if len(of) and of.start < end and begin < of.stop]

    def rows_of(self, day, columns, keep=None, change=None):
        """Arrow table of `columns` and the place of the rows of a day, as `read` takes them."""
        rows = read_rows(self.path(day), columns).set_index(self.days[day])
        rows = rows if keep is None else rows[np.asarray(keep(rows), bool)]
        rows = rows if change is None else change(rows)
        return table_of(rows).append_column("place", pa.array(rows.index.to_numpy()))

    def take(self, places, columns):
        """DataFrame of `columns` of the rows at `places`, int (n,), in their order, by place."""
        places, tables = np.asarray(places), []
        for day, of_day in self.days.items():
            here = np.unique(places[(places >= of_day.start) & (places < of_day.stop)])
            if len(here):
                tables.append(self.rows_of(day, columns).take(here - of_day.start))
        if not tables:
            return self.read(columns, days=[])
        return frame_of(tables).set_index("place").loc[places]


class Aside:
    """Rows that are put aside by a key, a number, until they are asked for, each once.

    folder : where they lie until then, in memory-mapped files of Arrow; None keeps them in memory.
    """

    def __init__(self, folder=None):
        self.folder, self.pieces = folder, defaultdict(list)

    def keys(self):
        """The keys of what is there."""
        return self.pieces.keys()

    def add(self, table, keys):
        """Put the rows of a table aside by the `keys`, int (n,), each piece in the order of the table."""
        if not len(table):
            return
        order = np.argsort(keys, kind="stable")
        table = table if (np.diff(order) > 0).all() else table.take(order)
        found, begins = np.unique(keys[order], return_index=True)
        sizes = np.diff(begins, append=len(table))
        [batch] = table.combine_chunks().to_batches()
        slices = [batch.slice(begin, size) for begin, size in zip(begins, sizes, strict=True)]
        if self.folder:
            slices = put_aside(slices, self.folder)
        for key, piece in zip(found.tolist(), slices, strict=True):
            self.pieces[key].append(piece)

    def take(self, key):
        """The rows that were put aside with a key, a list of Arrow tables in the order in which they came."""
        pieces = self.pieces.pop(key, [])
        return [pa.Table.from_batches([get_back(*piece) if self.folder else piece]) for piece in pieces]


def put_aside(batches, folder):
    """Write batches of one schema and the same dictionaries to a new file in the folder: [(path, place)]."""
    path = folder / f"{len(list(folder.iterdir()))}.arrow"
    with pa.ipc.new_file(path, batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    return [(path, i) for i in range(len(batches))]


def get_back(path, place):
    """One of the batches that `put_aside` wrote."""
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(place)


def count_names(folder, days, columns):
    """Count how often each name stands in `columns` of the `days` of a table: {column: Counter}."""
    counts = {column: Counter() for column in columns}
    for day in days:
        file = pq.ParquetFile(Path(folder) / f"{day}.parquet", read_dictionary=columns)
        rows = file.read(columns, use_threads=False)
        for column in columns:
            for one in pc.value_counts(rows[column]).to_pylist():
                counts[column].update({one["values"]: one["counts"]} if one["values"] is not None else {})
    return counts


def are_in_order(folder):
    """Whether the days of the clean table follow each other by the first and the last start of each."""
    moments = []
    for day in days_in(folder):
        file = pq.read_metadata(Path(folder) / f"{day}.parquet")
        started = [
            file.row_group(i).column(file.schema.names.index("started")) for i in range(file.num_row_groups)
        ]
        ends = [one.statistics for one in started if one.statistics and one.statistics.has_min_max]
        moments += [moment for one in ends for moment in (one.min, one.max)]
    return moments == sorted(moments)
