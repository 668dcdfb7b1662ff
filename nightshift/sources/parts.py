"""The raw table of a study as it is extracted: a folder of Parquet files, its parts, and what is left out.

Extraction      where parts go, of which window, and what was left out
PartFile        a file that becomes one part
part_name       the name of a part by what it was read from
write_rows      one part, page by page
"""

import hashlib
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import atomic
from nightshift.sources.base import FileSource


@dataclass(frozen=True)
class Extraction:
    """Where an extraction writes, what it looks for, and what it has left out so far.

    raw : folder of the parts. window : (begin, end), UTC; the end is outside. counts : {reason: records} that
    were left out. items : {reason: set of identities} of jobs left out that a source may name several times.
    bad_lines : (file, line number, reason, text) of what did not parse. missing : what the source should have
    and has not. parts : files that belong to this extraction.
    """

    raw: Path
    window: tuple[pd.Timestamp, pd.Timestamp]
    counts: Counter = field(default_factory=Counter)
    items: defaultdict = field(default_factory=lambda: defaultdict(set))
    bad_lines: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    parts: set = field(default_factory=set)

    def put_aside(self, path, bad):
        """Note the lines `bad`, (number, reason, text) each, of the file `path` that did not parse."""
        self.bad_lines.extend((str(path), number, why, text.rstrip("\n")[:500]) for number, why, text in bad)

    def within(self, at, begin=None, end=None):
        """Return which of the moments `at` (Series, UTC) lie in [begin, end), the window if not given, or are
        missing: bool (n,).
        """
        begin, end = begin or self.window[0], end or self.window[1]
        return at.isna() | ((at >= begin) & (at < end))


def remove_old_parts(extraction):
    """Remove from the folder of an `extraction` the parts of an earlier source or window."""
    for old in set(extraction.raw.glob("*.parquet")) - extraction.parts:
        old.unlink()


def part_name(kind, origin):
    """Name the part that is read from `origin`, a text such as a path or an address, in 12 digits of its
    SHA-256: "file-0123456789ab.parquet" of the kind "file".
    """
    return f"{kind}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}.parquet"


def write_rows(pages, path, schema):
    """Write `pages`, frames or tables with the columns of the Arrow `schema`, to one Parquet file; no page
    gives an empty table.

    Memory holds one page. The file gets its name only when it is complete.
    """
    # columns that do not repeat are given up as dictionaries after 64 kB, which makes files a fifth smaller;
    # the smallest and the largest text of a column, which nobody asks for, take an eighth of the time
    ordered = [field.name for field in schema if not pa.types.is_string(field.type)]
    options = {"compression": "zstd", "dictionary_pagesize_limit": 2**16, "write_statistics": ordered}
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as out:
        for page in pages:
            is_table = isinstance(page, pa.Table)
            out.write_table(
                page if is_table else pa.Table.from_pandas(page, schema=schema, preserve_index=False)
            )


class PartFile(FileSource):
    """A file that becomes one part of the raw table.

    schema : of the part, an Arrow schema. rows_of(pages, extraction) : which rows of what `read` yields
    belong to it, as frames or tables; the others are counted in the extraction.
    """

    schema = None

    def read(self, path, extraction):
        """Yield what is in the file `path`, page by page; what does not parse is put aside."""
        raise NotImplementedError(f"{type(self).__name__} has no `read`")

    def rows_of(self, pages, extraction):
        """Yield the frames that are written."""
        raise NotImplementedError(f"{type(self).__name__} has no `rows_of`")

    def extract(self, path, extraction):
        """Write the part of one file; an empty file is an empty part."""
        part = extraction.raw / part_name("file", path)
        pages = self.read(path, extraction) if os.path.getsize(path) else []
        write_rows(self.rows_of(pages, extraction), part, self.schema)
        extraction.parts.add(part)
