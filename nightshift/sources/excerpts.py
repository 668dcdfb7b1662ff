"""The first and the last rows of a file, for a look at it that takes seconds whatever its size.

Each function takes the path of a file and a folder that holds nothing of its name, and returns (path of a
file of the same kind with these rows, whether the end is among them). A small file is returned as it is; the
end of a file that has to be read from its beginning may not be reached in time.
"""

import itertools
import json
import os
import time
from collections import deque
from pathlib import Path

from nightshift.sources.files import iter_documents, open_text, sniff_layout

ROWS = 1000  # at each end
SMALL = 2**21  # bytes; a plain file up to this size is read as it is
PATIENCE_S = 3.0  # for finding an end


def is_small(path):
    """Whether the file `path` is plain and small, so that it is read as it is."""
    return not str(path).endswith(".gz") and os.path.getsize(path) <= SMALL


def whole_file(path, folder):
    """Take all of a file that is read quickly, or cannot be read in parts."""
    return str(path), True


def excerpt_of_text(path, folder):
    """Take the first and the last lines of a text file, plain or .gz."""
    if is_small(path):
        return str(path), True
    with open_text(path) as lines:
        if str(path).endswith(".gz") or lines.encoding != "utf-8-sig":
            kept, has_end = both_ends(lines)
        else:
            kept, has_end = ends_of_plain(path)
    return written(kept, path, folder), has_end


def excerpt_of_records(path, folder):
    """Take the first and the last records, in any layout of `read_records`; JSON becomes JSON lines."""
    layout = sniff_layout(path)
    if layout in ("table", "lines", "empty") or is_small(path):
        return excerpt_of_text(path, folder)
    values, has_end = both_ends(iter_documents(path, "[" if layout == "array" else ""))
    return written((json.dumps(value) + "\n" for value in values), path, folder), has_end


def excerpt_of_prose(path, folder):
    """Take the first lines of a CSV table whose cells may hold line breaks within quotes, up to one at which
    every quote is closed: in the middle of such a file nothing tells where a row begins.
    """
    if is_small(path):
        return str(path), True
    kept, quotes = [], 0
    with open_text(path) as lines:
        for line in lines:
            kept.append(line)
            quotes += line.count('"')
            if len(kept) >= ROWS and quotes % 2 == 0:
                break
        has_end = not next(lines, "")
    return written(kept, path, folder), has_end


def excerpt_of_parquet(path, folder):
    """Take the first rows of a Parquet file, and the last of its last row group, none of them twice."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if is_small(path):
        return str(path), True
    file = pq.ParquetFile(path)
    first = pa.Table.from_batches([next(file.iter_batches(ROWS))])
    last = file.read_row_group(file.num_row_groups - 1)
    n_before = file.metadata.num_rows - len(last)
    begin = max(0, len(last) - ROWS, len(first) - n_before)
    target = Path(folder, Path(path).name)
    pq.write_table(pa.concat_tables([first, last.slice(begin)]), target)
    return str(target), True


def both_ends(values, patience_s=PATIENCE_S):
    """Return a list of the first and the last ROWS of an iterable, and whether its end was reached within
    `patience_s` seconds; where it was not, the list has the first only.
    """
    values, until = iter(values), time.monotonic() + patience_s
    first, last = list(itertools.islice(values, ROWS)), deque(maxlen=ROWS)
    for n, value in enumerate(values):
        last.append(value)
        if n % 1000 == 0 and time.monotonic() > until:
            return first, False
    return [*first, *last], True


def ends_of_plain(path):
    """Return a list of the first and the last ROWS lines of a plain text file in UTF-8, none of them twice,
    and whether its end is among them. It is read from both ends: a last line longer than SMALL is left out.
    """
    with open(path, "rb") as file:
        first = list(itertools.islice(file, ROWS))
        after, size = file.tell(), file.seek(0, os.SEEK_END)
        begin = max(after, size - SMALL)
        file.seek(begin)
        rest = file.read().splitlines(keepends=True)  # of bytes: U+2028 in a text ends no line
    last = rest if begin == after else rest[1:]  # else it begins within a line
    has_end = bool(last) or after == size
    return [line.decode(errors="replace") for line in [*first, *last[-ROWS:]]], has_end


def written(lines, path, folder):
    """Write `lines` to a plain file in `folder` with the name of `path` but for .gz, and return its path."""
    target = Path(folder, Path(path).name.removesuffix(".gz"))
    with open(target, "w", encoding="utf-8", newline="") as out:
        out.writelines(lines)
    return str(target)
