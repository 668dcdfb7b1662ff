"""The first and the last rows of a file, for a look at it that takes seconds whatever its size."""

import itertools
import json
import os
import time
from collections import deque
from pathlib import Path

from nightshift.sources.files import iter_documents, open_text, sniff_layout

ROWS = 1000  # at each end
SMALL = 2**21  # bytes; a plain file up to this size is read as it is
PATIENCE_S = 3.0  # for finding the end of a file that has to be read from its beginning


def both_ends(values, rows=ROWS, patience_s=PATIENCE_S):
    """Return the first and the last `rows` of an iterable, a list, and whether its end was reached within
    `patience_s` seconds; the last of those seen stand for the end otherwise.
    """
    values, until = iter(values), time.monotonic() + patience_s
    first, last = list(itertools.islice(values, rows)), deque(maxlen=rows)
    for n, value in enumerate(values):
        last.append(value)
        if n % 1000 == 0 and time.monotonic() > until:
            return [*first, *last], False
    return [*first, *last], True


def last_lines(path, rows=ROWS):
    """Return the last `rows` lines of a plain text file in UTF-8, read from its end."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - SMALL))
        return file.read().decode(errors="replace").splitlines(keepends=True)[1:][-rows:]


def excerpt_of_text(path, folder):
    """Write the first and the last lines of the text file `path` to a file of its name in `folder`, and
    return its path; a plain file of at most SMALL bytes is returned as it is.
    """
    packed = str(path).endswith(".gz")
    if not packed and os.path.getsize(path) <= SMALL:
        return str(path)
    with open_text(path) as lines:
        if packed or lines.encoding != "utf-8-sig":
            kept, _ = both_ends(lines)
        else:
            kept = [*itertools.islice(lines, ROWS), *last_lines(path)]
    return written(kept, path, folder)


def excerpt_of_records(path, folder):
    """Do the same for a file of records in any layout of `read_records`; JSON becomes one record a line."""
    layout = sniff_layout(path)
    if layout in ("table", "lines", "empty"):
        return excerpt_of_text(path, folder)
    values, _ = both_ends(iter_documents(path, "[" if layout == "array" else ""))
    return written((json.dumps(value) + "\n" for value in values), path, folder)


def excerpt_of_prose(path, folder):
    """Do the same for a table of CSV whose cells may hold line breaks, within quotes: its first lines only,
    up to one at which every quote is closed.
    """
    if not str(path).endswith(".gz") and os.path.getsize(path) <= SMALL:
        return str(path)
    kept, quotes = [], 0
    with open_text(path) as lines:
        for line in lines:
            kept.append(line)
            quotes += line.count('"')
            if len(kept) >= ROWS and quotes % 2 == 0:
                break
    return written(kept, path, folder)


def excerpt_of_parquet(path, folder):
    """Do the same for a Parquet file: its first and its last row group, cut to ROWS rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if os.path.getsize(path) <= SMALL:
        return str(path)
    file = pq.ParquetFile(path)
    first = next(file.iter_batches(ROWS))
    last = file.read_row_group(file.num_row_groups - 1)
    table = pa.concat_tables([pa.Table.from_batches([first]), last.slice(max(0, len(last) - ROWS))])
    target = Path(folder, Path(path).name)
    pq.write_table(table, target)
    return str(target)


def written(lines, path, folder):
    """Write `lines` to a plain file in `folder` that is called as `path` is, and return its path."""
    target = Path(folder, Path(path).name.removesuffix(".gz"))
    with open(target, "w", encoding="utf-8", newline="") as out:
        out.writelines(lines)
    return str(target)
