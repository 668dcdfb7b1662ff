"""The raw table of a study as it is extracted: a folder of Parquet files, its parts, and what is left out.

Extraction          where parts go, of which window, and what was left out
part_name           the name of a part by what it was read from
write_rows          one part, page by page
in_order_of_files   parts in the order of the files that they were read from
link                an earlier file under another name
remove_abandoned    the folders of extractions that were killed

What was counted of a part is noted: for a file as part_files.py says, for an index in the metadata of its
part.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import atomic
from nightshift.status import sha256_of

NOTE = b"nightshift"  # key of the note in the metadata of a part
ORIGIN = b"file"  # key of the path of the file that a part was read from
NOTES = "notes"  # folder beside the parts
ABANDONED_S = 2 * 86_400


@dataclass(frozen=True)
class Extraction:
    """Where an extraction writes, what it looks for, and what it has left out so far.

    raw : folder of the parts. window : (begin, end), UTC; the end is outside. counts : {reason: number of
    records} left out, and the number "kept". tallies : {what: {value: rows}} of the rows that were kept.
    items : {reason: set of identities} of jobs left out that a source may name several times. bad_lines :
    (file, line number, reason, text) of what did not parse. missing : what the source should have and has
    not. ends : moments, the first and the last of which are those of what lies within the window. before,
    after : moments, the last of what lies before it and the first of what lies after it among them. parts :
    files that belong to this extraction; sha256s : {path: text} of those for which it is known. notes : what
    is noted of files, by the names of their parts. dated : whether what has no time is left out.
    """

    raw: Path
    window: tuple[pd.Timestamp, pd.Timestamp]
    counts: Counter = field(default_factory=Counter)
    tallies: defaultdict = field(default_factory=lambda: defaultdict(Counter))
    items: defaultdict = field(default_factory=lambda: defaultdict(set))
    bad_lines: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    before: list = field(default_factory=list)
    after: list = field(default_factory=list)
    parts: set = field(default_factory=set)
    sha256s: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    dated: bool = False

    def put_aside(self, path, bad):
        """Note the lines `bad`, (number, reason, text) each, of the file `path` that did not parse."""
        self.bad_lines.extend((str(path), number, why, text.rstrip("\n")[:500]) for number, why, text in bad)

    def within(self, at, begin=None, end=None):
        """Return which of the moments `at` (Series, UTC) lie in [begin, end), the window if not given, or are
        missing where the extraction is not `dated`: bool (n,). They are counted as kept or outside.
        """
        begin, end = begin or self.window[0], end or self.window[1]
        early, late = at < begin, at >= end
        inside = ~(early | late | (at.isna() & self.dated))
        self.ends.extend(at[inside].agg(["min", "max"]).dropna())
        self.before.extend([at[early].max()] if early.any() else [])
        self.after.extend([at[late].min()] if late.any() else [])
        self.counts.update(kept=int(inside.sum()), outside=int((~inside).sum()))
        return inside

    def of_part(self, *, begin=None, dated=False):
        """Return a new Extraction for one part, with counts of its own, for the window or, where it is given,
        from `begin` on.
        """
        return Extraction(self.raw, (begin or self.window[0], self.window[1]), dated=dated)

    def sha256(self):
        """The SHA-256, as text, over those of the parts that exist, in the order of their names; a missing
        day has none. A part whose hash is known is not read.
        """
        there = sorted(part for part in self.parts if part.exists())
        return sha256_of(there, hashes=self.sha256s)

    def note(self):
        """What has been counted, as JSON can hold it."""
        ends = [str(moment) for moment in (min(self.ends), max(self.ends))] if self.ends else []
        before = str(max(self.before)) if self.before else None
        after = str(min(self.after)) if self.after else None
        items = {reason: sorted(names) for reason, names in self.items.items()}
        counted = {
            "counts": self.counts,
            "tallies": self.tallies,
            "items": items,
            "bad_lines": self.bad_lines,
        }
        window = list(map(str, self.window))
        return counted | {"ends": ends, "before": before, "after": after, "window": window}

    def add(self, note):
        """Add the counts of a note."""
        self.counts.update(note["counts"])
        for reason, names in note.get("items", {}).items():
            self.items[reason].update(names)
        for what, tally in note["tallies"].items():
            self.tallies[what].update(tally)
        self.bad_lines.extend(map(tuple, note.get("bad_lines", [])))
        self.ends.extend(map(pd.Timestamp, note["ends"]))


def remove_old_parts(extraction):
    """Remove from the folder of an `extraction` the parts of an earlier source or window, and their notes."""
    for old in set(extraction.raw.glob("*.parquet")) - extraction.parts:
        old.unlink()
    for note in extraction.raw.glob(f"{NOTES}/*.json"):
        if extraction.raw / f"{note.stem}.parquet" not in extraction.parts:
            note.unlink()


def part_name(kind, origin):
    """Name the part that is read from `origin`, a text such as a path or an address, by 12 digits of its
    SHA-256: "file-0123456789ab.parquet" for the kind "file".
    """
    return f"{kind}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}.parquet"


def in_order_of_files(parts):
    """Sort the paths of parts by the files that they were read from, as `read_files` reads these: the names
    of parts are hashes, and what is in a later file may replace what is in an earlier one. Parts that are of
    no file come first, by their names.
    """

    def origin(part):
        return (pq.read_metadata(part).metadata or {}).get(ORIGIN, b"")

    return sorted(parts, key=lambda part: (origin(part), part))


def write_rows(pages, path, schema, one=None, *, origin=None):
    """Write `pages`, frames or tables with the columns of the Arrow `schema`, to one Parquet file; no page
    gives an empty table.

    Memory holds one page. The file gets its name only when it is complete. one : the Extraction of this part,
    whose note is written into the file. origin : path of the file that the rows are of.
    """
    # a column that does not repeat gets no dictionary beyond 64 kB, which makes files a fifth smaller;
    # leaving out the smallest and the largest text of a column, which nobody needs, saves an eighth of time
    ordered = [field.name for field in schema if not pa.types.is_string(field.type)]
    options = {"compression": "zstd", "dictionary_pagesize_limit": 2**16, "write_statistics": ordered}
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as out:
        for page in pages:
            is_table = isinstance(page, pa.Table)
            out.write_table(
                page if is_table else pa.Table.from_pandas(page, schema=schema, preserve_index=False)
            )
        if one:
            out.add_key_value_metadata({NOTE: json.dumps(one.note())})
        if origin:
            out.add_key_value_metadata({ORIGIN: os.fsencode(origin)})


def read_note(path):
    """The note in the metadata of the part at `path`; {} where there is none that can be read."""
    try:
        noted = pq.read_metadata(path).metadata or {}
        return json.loads(noted.get(NOTE, b"{}"))
    except (OSError, ValueError, pa.ArrowInvalid):
        return {}


def lets_in(note, window):
    """What a `window` (begin, end) has and an earlier one left out, by the `note` of that one: "" for
    nothing, "later" rows, or "earlier" rows and perhaps later ones too.
    """
    begin, end = window
    before, after = (pd.Timestamp(note.get(name)) for name in ("before", "after"))  # NaT for none
    return "earlier" if before >= begin else "later" if after < end else ""


def state_of_file(path):
    """[path, size, time of its content, time of its last change of any kind; in ns] of a file: a copy may
    keep the time of the content of the original, but not that of its last change.
    """
    there = os.stat(path)
    return [str(path), there.st_size, there.st_mtime_ns, there.st_ctime_ns]


def remove_abandoned(folder):
    """Remove what extractions into `folder` that were killed have left: the hidden folders in which they
    wrote, once nothing has been made there for ABANDONED_S.
    """
    for path in folder.glob(".*"):
        is_old = path.stat().st_mtime < time.time() - ABANDONED_S
        if is_old and path.is_dir() and re.fullmatch(r"\.[0-9a-f]{8}", path.name):
            shutil.rmtree(path, ignore_errors=True)


def link(old, new):
    """Make `new` another path of the file `old`; a copy with the same times where the disk has no links."""
    there = os.path.realpath(old) if os.path.islink(old) else old  # a try-out has symbolic links
    try:
        os.link(there, new)
    except OSError:
        shutil.copy2(there, new)
