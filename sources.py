"""What lies outside: files and servers as their sources wrote them, into `data/raw`.

    files      whatever matches a pattern, pages of CSV                 read_files, read_csv_pages, read_optional
    servers    Slurm: one-line errors                                   ask_slurm
    records    what did not parse, and how the source was               write_bad_lines, write_status

Records of any layout and Elasticsearch are in nightshift/sources. What is particular to one source stays in the `1_extract` of its study.
"""

import csv
import hashlib
import os
import re
import subprocess
import zlib

import pandas as pd
from tqdm import tqdm

from helpers import atomic, resolve, write_json
from nightshift.sources.files import LayoutError, matching_files, no_file, open_text


def read_files(pattern, read):
    """Call `read(path)` for every file that `pattern` names (relative to the repository root; see `matching_files`), in the order of their names.

    FileNotFoundError when there is none; what goes wrong in reading one becomes a ValueError of one line that names the file.
    """
    if not (files := matching_files(pattern)):
        raise FileNotFoundError(no_file(pattern))
    for path in tqdm(files, desc="files", unit="file"):
        try:
            read(path)
        except LayoutError as error:      # it was read, and is something else
            raise LayoutError(f"{path}: {error}") from None
        except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:        # a damaged archive raises any of them
            raise ValueError(f"{path} cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from None


def read_csv_pages(path, bad_lines, *, prose=False, names=None, header=True):
    """(names of the columns, pages) of a CSV file, plain or .gz, separated by commas, semicolons or tabs; memory holds one page of 8 MB.

    A page is (number of its first row, Arrow table with every cell as text); rows count from 1 after the header. A row with too few or too many
    columns is left out, and added to the list `bad_lines` as (file, row, reason, text) after the last page; what the caller has added by then to
    that list is counted on over such rows. prose : cells are what people wrote: line breaks within quotes belong to them, and only an
    empty cell is missing, no `NA` or `null`. names : of the columns, separated by commas, where the file's first line (`header`: it is none of the
    rows) does not name them. ValueError of one line from the pages of a file that is not in UTF-8.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    with open_text(path) as lines:
        first = next(lines, "").lstrip("\ufeff")
    separator = "," if names else max(",;\t", key=first.count)
    names, skipped = names or [name.strip() for name in next(csv.reader([first], delimiter=separator), [])], []

    def pages():
        first_row, n_before = 1, len(bad_lines)
        try:
            for batch in pa_csv.open_csv(
                    path, pa_csv.ReadOptions(use_threads=False, block_size=2**23, column_names=names, skip_rows=int(header)),
                    pa_csv.ParseOptions(delimiter=separator, newlines_in_values=prose, invalid_row_handler=lambda row: skipped.append(row) or "skip"),
                    pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True,
                                          null_values=[""] if prose else None)):
                yield first_row, pa.Table.from_batches([batch])
                first_row += len(batch)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            raise ValueError("it is no text in UTF-8: save it as such") from None
        for number in sorted(row.number - header for row in skipped):      # what was put aside moves all later rows on by one
            bad_lines[n_before:] = [(file, line + (line >= number), *more) for file, line, *more in bad_lines[n_before:]]
        bad_lines.extend((path, row.number - header, f"{row.actual_columns} columns, not {row.expected_columns}", row.text[:500]) for row in skipped)

    return names, pages()


def ask_slurm(command, path, *, timeout_s, parameter):
    """Save what the list `command`, a client of Slurm, prints to the file `path`, its times in UTC and in seconds since 1970.

    FileNotFoundError where there is no Slurm (it names `parameter`, which takes a saved file instead), TimeoutError after `timeout_s`,
    ConnectionError with the client's own words: one line each.
    """
    name = command[0]
    try:
        with open(path, "wb") as out:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, timeout=timeout_s,
                                  env={**os.environ, "TZ": "UTC", "SLURM_TIME_FORMAT": "%s"})
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {name} on this machine: save its output where Slurm is, and name that file as {parameter}") from None
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{name} gave no answer within {timeout_s:g} s: is slurmdbd up?") from None
    if done.returncode:
        raise ConnectionError(f"{name} failed ({done.returncode}): {' '.join(done.stderr.decode(errors='replace').split())[:300]}")


def read_optional(path, sample, columns):
    """The table at `path` (CSV or Parquet; FileNotFoundError), or `sample`, a path or None, for "sample"; `columns` without a row for "" or None;
    ValueError of one line names the columns that the table lacks, or says why it cannot be read."""
    path = sample if path == "sample" else resolve(path) if path else None
    if path is None:
        return pd.DataFrame(columns=columns)
    try:
        frame = pd.read_parquet(path) if str(path).endswith(".parquet") else pd.read_csv(path)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8: save it as such") from None
    except ValueError as error:      # an empty file, a row with too many cells, a Parquet file that is none
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from None
    if lacking := [column for column in columns if column not in frame]:
        raise ValueError(f"{path} has no column {', '.join(lacking)}; it needs {', '.join(columns)}")
    return frame


def write_bad_lines(raw, bad_lines):
    """Write `raw`/bad_lines.csv, atomically: what did not parse, as (file, line number, reason, text); no bad line leaves the header."""
    with atomic(raw / "bad_lines.csv") as temporary:
        pd.DataFrame(bad_lines, columns=["file", "line", "reason", "text"]).to_csv(temporary, index=False)


def write_status(raw, *, state, rows, newest, source, window, **more):
    """Write `raw`/status.json: state (ok, partial, stale, empty, failed), rows, newest timestamp, source without secrets,
    window (first day, last day) and a sha256 over those of the Parquet files below `raw`, by name."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(raw.rglob("*.parquet"))))
    source = re.sub(r"://(?:[^/@]*@)?([^?#]*).*", r"://\1", source)
    newest = newest if rows and newest not in ("NaT", "None", "nan") else None      # rows without any time have no newest one
    status = dict(state=state, rows=int(rows), newest=newest, source=source, window=list(window), sha256=digest.hexdigest(), **more)
    write_json(status, raw / "status.json")
    return status
