"""The raw table of a study as it is extracted: a folder of Parquet files, its parts, and what is left out.

Extraction      where parts go, of which window, and what was left out
PartFile        a file that becomes one part
part_name       the name of a part by what it was read from
write_rows      one part, page by page
link            an earlier file under another name

A part holds a note, JSON in its metadata: what it was made of, and what was counted on the way. By it a file
that has not changed since an earlier night is not read again.
"""

import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import atomic
from nightshift.products import code_below
from nightshift.sources.base import FileSource

NOTE = b"nightshift"  # key of the note in the metadata of a part
MOST_NOTED = 1000  # bad lines and items that a note names: of more the file is read again


@dataclass(frozen=True)
class Extraction:
    """Where an extraction writes, what it looks for, and what it has left out so far.

    raw : folder of the parts. window : (begin, end), UTC; the end is outside. counts : {reason: records} that
    were left out. tallies : {what: {value: rows}} of the rows that were kept. items : {reason: set of
    identities} of jobs left out that a source may name several times. bad_lines : (file, line number, reason,
    text) of what did not parse. missing : what the source should have and has not. ends : moments of which
    the first and the last are those of what lies within. parts : files that belong to this extraction.
    notes : {part: note} of those that were looked at.
    """

    raw: Path
    window: tuple[pd.Timestamp, pd.Timestamp]
    counts: Counter = field(default_factory=Counter)
    tallies: defaultdict = field(default_factory=lambda: defaultdict(Counter))
    items: defaultdict = field(default_factory=lambda: defaultdict(set))
    bad_lines: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    parts: set = field(default_factory=set)
    notes: dict = field(default_factory=dict)

    def put_aside(self, path, bad):
        """Note the lines `bad`, (number, reason, text) each, of the file `path` that did not parse."""
        self.bad_lines.extend((str(path), number, why, text.rstrip("\n")[:500]) for number, why, text in bad)

    def within(self, at, begin=None, end=None):
        """Return which of the moments `at` (Series, UTC) lie in [begin, end), the window if not given, or are
        missing: bool (n,).
        """
        begin, end = begin or self.window[0], end or self.window[1]
        inside = at.isna() | ((at >= begin) & (at < end))
        self.ends.extend(at[inside].agg(["min", "max"]).dropna())
        self.counts["outside"] += int((~inside).sum())
        return inside

    def of_part(self):
        """Begin the extraction of one part, whose counts are its own."""
        return Extraction(self.raw, self.window)

    def note(self):
        """What has been counted, as JSON can hold it."""
        ends = [str(moment) for moment in (min(self.ends), max(self.ends))] if self.ends else []
        items = {reason: sorted(names) for reason, names in self.items.items()}
        counted = {"counts": self.counts, "tallies": self.tallies, "items": items, "ends": ends}
        return counted | {"bad_lines": self.bad_lines, "window": list(map(str, self.window))}

    def is_short(self):
        """Whether so little was put aside that a note of it may stand in the metadata of a file."""
        return len(self.bad_lines) + sum(map(len, self.items.values())) <= MOST_NOTED

    def still_holds(self, note):
        """Whether a part with this `note` would be the same in the window of this extraction: it is the one
        of the note, or leaves nothing out, as that did not.
        """
        begin, end = self.window
        of_all = not note["counts"].get("outside")
        return list(map(str, self.window)) == note["window"] or (
            of_all and all(begin <= pd.Timestamp(moment) < end for moment in note["ends"])
        )

    def add(self, note):
        """Count what the `note` of a part says."""
        self.counts.update(note["counts"])
        for reason, names in note["items"].items():
            self.items[reason].update(names)
        for what, tally in note["tallies"].items():
            self.tallies[what].update(tally)
        self.bad_lines.extend(map(tuple, note["bad_lines"]))
        self.ends.extend(map(pd.Timestamp, note["ends"]))


def remove_old_parts(extraction):
    """Remove from the folder of an `extraction` the parts of an earlier source or window."""
    for old in set(extraction.raw.glob("*.parquet")) - extraction.parts:
        old.unlink()


def part_name(kind, origin):
    """Name the part that is read from `origin`, a text such as a path or an address, in 12 digits of its
    SHA-256: "file-0123456789ab.parquet" of the kind "file".
    """
    return f"{kind}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}.parquet"


def write_rows(pages, path, schema, one=None, made_of=None):
    """Write `pages`, frames or tables with the columns of the Arrow `schema`, to one Parquet file; no page
    gives an empty table.

    Memory holds one page. The file gets its name only when it is complete. one : the Extraction of this part,
    of which a note stands in the file, beside what the part is `made_of`.
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
        if one and one.is_short():
            out.add_key_value_metadata({NOTE: json.dumps({"made_of": made_of, "of": one.note()})})


def read_note(path):
    """The note of the part at `path`, {} where there is none."""
    try:
        noted = pq.read_metadata(path).metadata or {}
        return json.loads(noted.get(NOTE, b"{}"))
    except (OSError, ValueError, pa.ArrowInvalid):
        return {}


def state_of_file(path):
    """[path, size, times in ns of its content and of its last change of any kind] of a file: a copy may have
    the time of another one, but not its time of change.
    """
    there = os.stat(path)
    return [str(path), there.st_size, there.st_mtime_ns, there.st_ctime_ns]


def link(old, new):
    """Make the path `new` the file at `old`, a copy of the same times where the disk has no links."""
    there = os.path.realpath(old) if os.path.islink(old) else old  # as try-outs have them
    try:
        os.link(there, new)
    except OSError:
        shutil.copy2(there, new)


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
        if self.keep(path, extraction):
            return
        part, made_of = extraction.raw / part_name("file", path), self.made_of(path)
        one = extraction.of_part()
        rows = self.rows_of(self.read(path, one) if os.path.getsize(path) else [], one)
        write_rows(rows, part, self.schema, one, made_of)
        extraction.add(one.note())

    def keep(self, path, extraction):
        """Count the part of the file `path` as it is, where neither the file nor what reads it has changed,
        and the window would leave out nothing else; returns whether that is so.
        """
        part = extraction.raw / part_name("file", path)
        extraction.parts.add(part)
        if part not in extraction.notes:
            extraction.notes[part] = read_note(part)
        noted = extraction.notes[part]
        if noted.get("made_of") != self.made_of(path) or not extraction.still_holds(noted["of"]):
            return False
        extraction.add(noted["of"])
        return True

    def made_of(self, path):
        """What the part of the file `path` follows from, but for the window: JSON."""
        there = os.stat(path)  # a copy may have the time of another file, but no time of change
        of_file = {"size": there.st_size, "mtime_ns": there.st_mtime_ns, "ctime_ns": there.st_ctime_ns}
        return of_file | {"reader": f"{type(self).__name__} {vars(self)}", "code": code_below("sources")}
