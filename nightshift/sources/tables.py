"""Tables in files: whatever matches a pattern, pages and columns of CSV, a table that may be missing."""

import csv
import gzip
import zlib
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from helpers import project_path
from nightshift.sources.files import LayoutError, matching_files, names_in_words, no_file, open_text
from nightshift.wording import one_line

# What reading a file raises: a damaged archive the first ones, a cell without end csv.Error, a number that no
# clock or counter reaches OverflowError, a column of lists as names that of Arrow.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RecursionError,
    zlib.error,
    csv.Error,
    OverflowError,
    pa.ArrowException,
)


def read_files(pattern, read):
    """Call `read(path)` for every file that `pattern` names (see `matching_files`), in the order of their
    names.

    FileNotFoundError when there is none; what goes wrong in reading one becomes a ValueError of one line that
    names the file.
    """
    if not (files := matching_files(pattern)):
        raise FileNotFoundError(no_file(pattern))
    for path in tqdm(files, desc="files", unit="file"):
        with reading(path):
            read(path)


@contextmanager
def reading(path):
    """Turn what goes wrong in reading the file `path` into one line that names it: a LayoutError where the
    file was read and is something else, else a ValueError.
    """
    try:
        yield
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from None
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {one_line(error)}") from None


def read_csv_pages(path, bad_lines, *, prose=False, names=None, header=True):
    """(names of the columns, pages) of a CSV file, plain or .gz, separated by commas, semicolons or tabs;
    memory holds one page of 8 MB.

    A page is (number of its first row, Arrow table with every cell as text); rows count from 1 after the
    header. A row with too few or too many columns is left out, and added to the list `bad_lines` as (file,
    row, reason, text) after the last page; the rows that the caller has added for this file by then are
    renumbered, so that such rows count. prose : whether people wrote the cells: line breaks within quotes
    belong to them, and only an empty cell is missing, not `NA` or `null`. names : those of the columns, where
    the first line of the file does not give them; the separator is then a comma. header : whether the first
    line is no row. ValueError of one line from the pages of a file that is in neither UTF-8 nor UTF-16.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    with open_text(path) as lines:
        n_first, first = next(((n, line) for n, line in enumerate(lines, 1) if line.strip()), (1, ""))
        first, encoding = first.lstrip("\ufeff"), lines.encoding.removesuffix("-sig")
    skip_rows = n_first if header else 0
    separator, skipped = "," if names else max(",;\t", key=first.count), []
    names = names or [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]

    def pages():
        first_row, n_before = 1, len(bad_lines)
        try:
            for batch in pa_csv.open_csv(
                path,
                pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=2**23,
                    column_names=names,
                    skip_rows=skip_rows,
                    encoding=encoding,
                ),
                pa_csv.ParseOptions(
                    delimiter=separator,
                    newlines_in_values=prose,
                    invalid_row_handler=lambda row: skipped.append(row) or "skip",
                ),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=True,
                    null_values=[""] if prose else None,
                ),
            ):
                yield first_row, pa.Table.from_batches([batch])
                first_row += len(batch)
        except pa.ArrowInvalid as error:
            # Arrow asks what to do with a row of too many columns only where it can decode the row
            if "UTF8" not in str(error) and "CSV parse error" not in str(error):
                raise
            raise ValueError("it is no text in UTF-8: save it as such") from None
        note_skipped(path, skipped, bad_lines, n_before, skip_rows)

    return names, pages()


def note_skipped(path, skipped, bad_lines, n_before, skip_rows):
    """Add the rows of a CSV file that Arrow has put aside to the list `bad_lines`, and renumber what the
    caller has added to it for the same file.

    skipped : Arrow's InvalidRows. n_before : length of the list before the file. skip_rows : how many lines
    stand before the rows.
    """
    for number in sorted(row.number - skip_rows for row in skipped):  # each moves all later rows on by one
        later = [(file, line + (line >= number), *more) for file, line, *more in bad_lines[n_before:]]
        bad_lines[n_before:] = later
    for row in skipped:
        reason = f"{row.actual_columns} columns, not {row.expected_columns}"
        bad_lines.append((path, row.number - skip_rows, reason, row.text[:500]))


def holds_lists(column):
    """Whether the cells of an Arrow column are lists."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(column.type) for is_one in tests)


def numbered_pages(pages):
    """Yield (number of its first row, page) of the pages of a table, whose rows count from 1."""
    first_row = 1
    for page in pages:
        yield first_row, page
        first_row += len(page)


def read_column_pages(path, columns, bad_lines):
    """Yield `columns` of the CSV file `path` page by page: DataFrame [row, column] of text.

    bad_lines : list to which rows with too few or too many cells are added, as (file, row, reason, text).
    LayoutError where the file lacks one of the columns, which an empty file does: it says which, and what the
    file has.
    """
    names, pages = read_csv_pages(path, bad_lines)
    if lacking := [column for column in columns if column not in names]:
        raise LayoutError(f"it has no column {', '.join(lacking)}; it has {names_in_words(names)}")
    for _, page in pages:
        yield page.select(columns).to_pandas()


def read_optional(path, sample, columns, *, text=False):
    """The table at `path`, CSV or Parquet; for "sample" the one at the path `sample`. Without a path ("", or
    None as `sample`) a table of `columns` without rows.

    text : whether the cells of a CSV are text as it is written, such as 007 or NA, and only an empty one is
    missing; whole numbers that Parquet keeps as fractions, since one is missing, are whole again.
    FileNotFoundError where there is no such file; ValueError of one line where the table lacks one of
    `columns`, or cannot be read.
    """
    path = sample if path == "sample" else project_path(path) if path else None
    if path is None:
        return pd.DataFrame(columns=columns)
    try:
        how = {"dtype": str, "keep_default_na": False, "na_values": [""]} if text else {}
        frame = pd.read_parquet(path) if str(path).endswith(".parquet") else pd.read_csv(path, **how)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8: save it as such") from None
    # an empty file, a row with too many cells, a Parquet file that is none, a damaged archive
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {one_line(error)}") from None
    if lacking := [column for column in columns if column not in frame]:
        raise ValueError(f"{path} has no column {', '.join(lacking)}; it needs {', '.join(columns)}")
    return frame.convert_dtypes() if text else frame
