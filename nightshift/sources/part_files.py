"""Files that become parts of the raw table, and what is noted of each, so that no night reads a file again
that has not changed, although its window moves on.

PartFile      a kind of file, each of which becomes a part or several
Noted         what the last extraction noted of a file, and what of it holds in the window of this one

A note is JSON in the folder NOTES beside the parts: what the file and its reader were, what was counted of
the whole file, and for each of its parts the size, the time, and what was counted of its rows. Rows that the
window leaves behind are taken out of the parts that have them. Rows that were too late for the window before,
such as those of the minutes after midnight in a daily log, become a part of their own; parts that are there
stay as they are.
"""

import hashlib
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import write_json
from nightshift.products import code_below, read_json, sha256, size_and_time
from nightshift.sources.base import FileSource
from nightshift.sources.files import LayoutError, is_empty
from nightshift.sources.parts import NOTES, lets_in, part_name, state_of_file, write_rows

MOST_NOTED = 1000  # bad lines and items that a note names: a file with more is read again each night
PAGE = 100_000  # rows of a part that are in memory while it is cut


class PartFile(FileSource):
    """A file that becomes a part of the raw table, or several.

    schema : that of the part, an Arrow schema. in_any_order : whether what is made of the rows does not
    depend on their order, so that those that a later window lets in may be a part of their own.
    """

    schema = None
    in_any_order = False

    def read(self, path, extraction):
        """Yield what is in the file `path`, page by page; what does not parse is put aside."""
        raise NotImplementedError(f"{type(self).__name__} has no `read`")

    def rows_of(self, pages, extraction):
        """Yield those rows of `pages`, as `read` gives them, that belong to the part, as frames or tables;
        the others are counted in the extraction.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `rows_of`")

    def extract(self, path, extraction):
        """Write the part of one file, or keep what holds of its parts; an empty file is an empty part."""
        if self.keep(path, extraction) or self.add_later(path, extraction):
            return
        noted = Noted.of(path, extraction)
        noted.forget()
        one, part = extraction.of_part(), noted.new_part()
        made_of = self.made_of(path)
        self.write(path, one, part)
        noted.begin(made_of, one)
        noted.add(part, one)
        noted.count()

    def write(self, path, one, part):
        """Write the rows of the file `path` that belong to the Extraction `one` as a part."""
        pages = [] if is_empty(path) else self.read(path, one)
        write_rows(self.rows_of(pages, one), part, self.schema, origin=path)

    def keep(self, path, extraction):
        """Keep the parts of the file `path` and count them, where neither the file nor what reads it has
        changed and the window lets no more of it in; rows outside of the window are taken out of them.
        Returns whether they are kept.
        """
        noted = Noted.of(path, extraction)
        if noted.made_of != self.made_of(path) or noted.lets_in():
            return False
        for part in noted.parts_to_cut():
            one = extraction.of_part()
            try:
                write_rows(self.rows_of(self.rows_in(part), one), part, self.schema, origin=path)
            except LayoutError:  # most times of these rows cannot be read; perhaps those of the file can
                return False
            noted.cut(part, one)
        noted.count()
        return True

    def rows_in(self, part):
        """Yield the rows of a part, page by page, as `read` gives them."""
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(PAGE):
                yield pa.Table.from_batches([batch])

    def add_later(self, path, extraction):
        """Write the rows of the file that were too late for the window before as a part of their own, where
        nothing else has changed; returns whether that is so.
        """
        noted = Noted.of(path, extraction)
        is_as_noted = self.in_any_order and noted.made_of == self.made_of(path)
        if not is_as_noted or noted.lets_in() != "later":
            return False
        one, part = extraction.of_part(begin=noted.end, dated=True), noted.new_part()
        self.write(path, one, part)
        noted.add_later(part, one)
        return self.keep(path, extraction)  # it may have left other rows behind

    def made_of(self, path):
        """What the parts of the file `path` follow from beside the window, as JSON can hold it."""
        reader = f"{type(self).__name__} {vars(self)}"
        return {"file": state_of_file(path), "reader": reader, "code": code_below("sources")}


class Noted:
    """What is noted of a file whose parts are called `stem`, for an extraction.

    made_of : what the parts follow from, None where nothing is noted. of_file : the note of an Extraction,
    with all that belongs to no single part. parts : {name: {"state": size and time, "sha256": text, "of":
    note of its rows}}.
    """

    def __init__(self, extraction, stem):
        self.extraction, self.stem = extraction, stem
        self.path = extraction.raw / NOTES / f"{stem}.json"
        self.made_of, self.of_file, self.parts = self.read() or (None, None, {})

    @classmethod
    def of(cls, path, extraction):
        """What is noted of the file `path`; an extraction reads it once."""
        stem = part_name("file", path).removesuffix(".parquet")
        if stem not in extraction.notes:
            extraction.notes[stem] = cls(extraction, stem)
        return extraction.notes[stem]

    def read(self):
        """(made_of, of_file, parts) as they were noted; None where the note is damaged, or a part has
        changed.
        """
        content = read_json(self.path)
        if content.pop("sha256", "") != sha256_of_json(content):
            return None
        parts = content["parts"]
        states = {name: size_and_time(self.extraction.raw / name) for name in parts}
        are_there = all(one["state"] == states[name] for name, one in parts.items())
        return (content["made_of"], content["of_file"], parts) if are_there else None

    @property
    def end(self):
        """The end of the window for which the parts were written."""
        return pd.Timestamp(self.of_file["window"][1])

    def lets_in(self):
        """What the window of the extraction has and the one before left out, see `parts.lets_in`."""
        return lets_in(self.of_file, self.extraction.window)

    def parts_to_cut(self):
        """The paths of parts of which some rows do not lie in the window any more."""
        begin, end = self.extraction.window
        ends = {name: map(pd.Timestamp, one["of"]["ends"]) for name, one in self.parts.items()}
        cut = [name for name, moments in ends.items() if not all(begin <= moment < end for moment in moments)]
        return [self.extraction.raw / name for name in cut]

    def new_part(self):
        """The path of the next part: stem.parquet, then stem_1.parquet, stem_2.parquet."""
        numbers = [int(name.removesuffix(".parquet").rpartition("_")[2]) for name in self.later_parts()]
        number = f"_{max(numbers, default=0) + 1}" if self.parts else ""
        return self.extraction.raw / f"{self.stem}{number}.parquet"

    def later_parts(self):
        """The names of all parts but the first."""
        return [name for name in self.parts if name != f"{self.stem}.parquet"]

    def forget(self):
        """Remove the note, and all parts but the first, which will be written anew."""
        self.path.unlink(missing_ok=True)
        for part in self.extraction.raw.glob(f"{self.stem}_*.parquet"):
            part.unlink()
        self.made_of, self.of_file, self.parts = None, None, {}

    def begin(self, made_of, one):
        """Begin a note with what the Extraction `one` has counted in a whole file."""
        noted = one.note()
        counts = {name: n for name, n in noted["counts"].items() if name != "kept"}
        self.made_of, self.of_file = made_of, noted | {"counts": counts, "tallies": {}, "ends": []}

    def add(self, part, one):
        """Note a part, whose rows are those that the Extraction `one` has kept."""
        noted = one.note()
        of_rows = {"counts": {"kept": one.counts["kept"]}, "tallies": noted["tallies"], "ends": noted["ends"]}
        about = {"state": size_and_time(part), "sha256": sha256(part)}
        self.parts[part.name] = about | {"of": of_rows}
        self.write()

    def add_later(self, part, one):
        """Note a part of rows that were left out before."""
        noted = one.note()
        self.of_file["counts"]["outside"] -= one.counts["kept"]
        self.of_file |= {"window": noted["window"], "after": noted["after"]}
        self.add(part, one)

    def cut(self, part, one):
        """Note a part again after the Extraction `one` has left some of its rows out; a later part without
        any row is removed.
        """
        noted, counts = one.note(), self.of_file["counts"]
        counts["outside"] = counts.get("outside", 0) + one.counts["outside"]
        for name, nearest in (("before", max), ("after", min)):
            moments = [moment for moment in (self.of_file[name], noted[name]) if moment]
            self.of_file[name] = nearest(moments, key=pd.Timestamp, default=None)
        self.of_file["window"] = noted["window"]
        if one.counts["kept"] or part.name not in self.later_parts():
            self.add(part, one)
        else:
            del self.parts[part.name]
            self.write()
            part.unlink()

    def write(self):
        """Write the note, unless it would name more than MOST_NOTED bad lines and items."""
        if len(self.of_file["bad_lines"]) + sum(map(len, self.of_file["items"].values())) <= MOST_NOTED:
            content = {"made_of": self.made_of, "of_file": self.of_file, "parts": self.parts}
            write_json(content | {"sha256": sha256_of_json(content)}, self.path)

    def count(self):
        """Add all that is noted to the extraction."""
        self.extraction.add(self.of_file)
        for name, one in self.parts.items():
            part = self.extraction.raw / name
            self.extraction.add(one["of"])
            self.extraction.parts.add(part)
            self.extraction.sha256s[part] = one["sha256"]


def sha256_of_json(content):
    """The SHA-256 of `content` written as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
