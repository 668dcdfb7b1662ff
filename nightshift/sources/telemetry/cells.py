"""Cells of tables of node metrics: what they say as times, names and numbers, and arrays in them."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.tables import holds_lists
from nightshift.sources.times import SMALLEST, number_times, read_times

# What stands for "no value": DCGM's blanks (32 bits, 64 bits as a float), the largest numbers of 31 and 32
# bits, the smallest of 32.
SENTINELS = np.array(
    [2.0**31 - 16 + i for i in range(4)]
    + [2.0**47 + i for i in range(4)]
    + [2.0**31 - 1, 2.0**32 - 1, -(2.0**31)]
)
LARGE = SENTINELS.min(where=SENTINELS > 0, initial=np.inf)
# the largest numbers of 64 bits, DCGM's blanks among them, and those for "without limit" lie above
LARGEST_COUNT = 2.0**63 - 2**12
LARGEST_BESIDE = 10  # what a metric must reach for its -1 to stand for no value
LARGEST_SIZE = 2.0**50  # memory of a node, in bytes or kB: 1 PB, or more
SIZE = re.compile(r"mem|swap|buffers|cached|slab|anonpages|active|dirty|writeback|mapped", re.I)
ONE_NUMBER = r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*"
ARRAY = re.compile(
    r"""^\s*["'\[{(]?\s*[-+0-9.eE]+\s*(?:([:;|/_, ])\s*[-+0-9.eE]+\s*)(?:\1\s*[-+0-9.eE]+\s*)*["'\]})]?\s*$"""
)
# one of JSON, which may have one element or none
LIST = re.compile(r"\s*\[\s*(?:(?:[-+0-9.eE]+|null|NaN)\s*(?:,\s*|(?=\])))*\]\s*")


def times_of(column):
    """Read the UTC times (Series, microseconds) of an Arrow column; what cannot be read is NaT.

    A time is what `read_times` reads (UTC where it names no zone), but no date in which day and month may
    change places. A number too small for a time is one of a clock that was never set: so many seconds since
    1970, for `tables.check_times` to refuse.
    """
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    values = counts_of(column).to_pandas()
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).astype("datetime64[us, UTC]")
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    are_numbers = pd.api.types.is_numeric_dtype(values) or numbers.notna().all()
    times = number_times(numbers) if are_numbers else read_times(values, order=None)
    unset = numbers[((numbers >= 0) & (numbers < SMALLEST)).to_numpy()]
    return times if unset.empty else times.fillna(pd.to_datetime(unset, unit="s", utc=True))


def counts_of(column):
    """An Arrow column of text as float64 where every cell is one number, so that times written as counts are
    read in a fifth of the time; any other column as it is.
    """
    if column.null_count or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return column


def names_of(column):
    """Read the names (Series of objects) in an Arrow column: text without the blanks around it, None for
    empty cells and NaN; 12.0 is 12.
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        whole = pc.cast(column, pa.int64(), safe=False)
        column = pc.if_else(
            pc.equal(whole.cast(pa.float64()), column), whole.cast(pa.string()), column.cast(pa.string())
        )
    text = pc.utf8_trim_whitespace(column.cast(pa.string())).to_pandas().astype(object)
    return text.where(text.notna() & (text != ""), None)


def numbers_of(column, name=""):
    """Read the numbers of an Arrow column of any type: (float64 array, number of unreadable cells, number of
    cells that stand for no value).

    Both kinds of cell become null; empty cells and NaN are null and not counted. What stands for no value:
    SENTINELS, what no counter of 63 bits can be, -1 in a column that is never negative otherwise and reaches
    LARGEST_BESIDE, and more memory than a node can have (by the metric's `name`).
    """
    values, unreadable = finite_numbers(column)
    blank = is_blank(np.asarray(values.to_numpy() if len(values) else [], float), name)
    if not blank.any():
        return values, unreadable, 0
    return pc.if_else(pa.array(blank), pa.scalar(None, pa.float64()), values), unreadable, int(blank.sum())


def finite_numbers(column):
    """Read the finite numbers of an Arrow column of any type: (float64 array, number of unreadable cells,
    which are null in it).
    """
    try:
        numbers = column.cast(pa.float64())
        gaps = pc.sum(pc.is_nan(numbers)).as_py() or 0
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cells = pd.Series(column.to_pylist(), dtype=object)
        read = pd.to_numeric(cells, errors="coerce").astype(float)
        gaps = sum(str(cell).strip().lower() in ("", "nan") for cell in cells[read.isna().to_numpy()])
        numbers = pa.chunked_array([read])
    finite = pc.fill_null(pc.is_finite(numbers), False)
    unreadable = len(column) - column.null_count - gaps - (pc.sum(finite).as_py() or 0) if len(column) else 0
    return pc.if_else(finite, numbers, pa.scalar(None, pa.float64())), unreadable


def is_blank(values, name=""):
    """Which of the `values` (float (n,), NaN where there is none) stand for no value, as `numbers_of` says:
    bool (n,).
    """
    large = np.abs(values) >= LARGE
    blank = np.zeros(len(values), bool)
    if large.any():
        blank = (
            np.isin(values, SENTINELS)
            | (np.abs(values) >= LARGEST_COUNT)
            | ((values >= LARGEST_SIZE) & bool(SIZE.search(name)))
        )
    negative = values < 0
    if negative.any() and (values[negative] == -1).all() and np.nanmax(values) >= LARGEST_BESIDE:
        blank |= negative
    return blank


# ------------------------------------------------------------------------------------------ What a page holds


def split_arrays(pages, whole=()):
    """Give (pages, names of their columns) with cells such as 1:2:3 as columns NAME.0, NAME.1, NAME.2; the
    first page tells how many. [7] becomes NAME.0, and an empty list, or null in one, no value.

    pages : iterable of (number of the first row, Arrow table); without any, the names are None. whole :
    columns that hold no metric, such as times. Elements that a later page has beyond these make the last
    column unreadable there, so that they are counted.
    """
    pages = iter(pages)
    first = next(pages, None)
    if first is None:
        return iter(()), None
    widths = {
        name: width
        for name in first[1].column_names
        if name not in whole and (width := array_width(first[1][name]))
    }
    for name in widths:
        refuse_decimal_commas(name, first[1][name])

    def split(page):
        for name, width in widths.items():
            at, cells = page.column_names.index(name), as_lists(page[name])
            page = page.remove_column(at)
            for i in range(width):
                part = [cell[i] if i < len(cell) else None for cell in cells]
                if i == width - 1:
                    part = [
                        ":".join(map(str, cell[i:])) if len(cell) > width else value
                        for cell, value in zip(cells, part, strict=True)
                    ]
                page = page.add_column(at + i, f"{name}.{i}", pa.array(part, pa.string()))
        return page

    def every():
        yield first[0], split(first[1])
        yield from ((number, split(page)) for number, page in pages)

    return every(), split(first[1].slice(0, 0)).column_names


def refuse_decimal_commas(name, column):
    """ValueError of one line when the cells of the column `name` may be numbers with a comma, 3,5, as well
    as arrays of two.
    """
    if pa.types.is_string(column.type):
        odd = [cell.strip() for cell in odd_cells(column)]
        if odd and all(re.fullmatch(r"[-+]?\d+,\d+", cell) for cell in odd):
            raise ValueError(
                f"its column {name} holds {odd[0][:40]!r}, a number with a decimal comma or an array of two: "
                "needed are numbers with a point, and arrays as 3:5 or [3,5]"
            )


def odd_cells(column):
    """The different cells of an Arrow column of text that are neither empty nor written as one number."""
    cells = pc.unique(column)
    # most are numbers: Arrow drops them, and none becomes an object of Python
    cells = cells.filter(pc.invert(pc.match_substring_regex(cells, f"^{ONE_NUMBER}$")))
    # here \d and \s stand for digits and blanks of all scripts, in Arrow for those of ASCII
    return [cell for cell in cells.to_pylist() if cell and not re.fullmatch(ONE_NUMBER, cell)]


def as_lists(column):
    """The elements of each cell of an Arrow column: a list of lists of text, None for null."""
    if holds_lists(column):
        return [[None if x is None else str(x) for x in cell or []] for cell in column.to_pylist()]
    parts = [
        re.split(r"[:;|/_, ]+", cell.strip("\"'[]{}() \t")) if cell else []
        for cell in column.cast(pa.string()).to_pylist()
    ]
    return [[None if x in ("null", "NaN") else x for x in cell if x] for cell in parts]


def array_width(column):
    """The largest number of elements in a cell of an Arrow column, where all cells are arrays of numbers or
    single numbers; else 0.
    """
    if holds_lists(column):
        return max(map(len, as_lists(column)), default=0)
    if not pa.types.is_string(column.type):
        return 0
    odd = odd_cells(column)
    if not odd or not all(ARRAY.match(cell) or LIST.fullmatch(cell) for cell in odd):
        return 0
    # dates and times of the day are no arrays
    if all(re.fullmatch(r"\d{2,4}[-/]\d\d[-/]\d\d.*|\d\d:\d\d(:\d\d)?", cell) for cell in odd):
        return 0
    return max(map(len, as_lists(pa.chunked_array([pa.array(odd, pa.string())]))))
