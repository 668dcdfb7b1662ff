"""What an extraction of lumisections keeps of each file, so that the next one need not read again what has
not changed.

Files       what the last night noted of a file, or what it holds now      Night
Parts       histograms of the runs that are kept, a part per file          place_parts, keep_runs

A note is a small Parquet file: its rows are lumisections, elements and lines put aside, its metadata what was
counted. A file that is read anew is added from its note, too, so that a night after another one gives the
same as one that begins with nothing. Parts hold rows and nothing else: equal rows are equal bytes.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from helpers import write_json
from nightshift.products import code_below, read_json, size_and_time
from nightshift.sources.certification.lumisections import HISTOGRAM_SCHEMA, TYPES, Extraction
from nightshift.sources.parts import NOTE, link, part_name, state_of_file
from nightshift.sources.tables import reading
from nightshift.status import sha256_of

HISTOGRAMS, PARTS = "histograms.parquet", "notes/parts.json"
KEY = {"run": pa.int64(), "lumisection": pa.int64()}
ABOUT = {"fill": pa.int64(), "time": pa.timestamp("us", "UTC"), "delivered_lumi": pa.float64()}
ABOUT |= {"recorded_lumi": pa.float64(), "pileup": pa.float64(), "dcs": pa.bool_(), "golden": pa.bool_()}
ROWS = {  # what a note has rows of, and their columns
    "placed": {"dataset": pa.string(), **KEY, "rows": pa.int64()},
    "elements": {"dataset": pa.string(), "run": pa.int64(), "element": pa.string()},
    "about_rows": KEY | ABOUT,
    "about_lumi": KEY | ABOUT,
    "about_untaken": KEY | ABOUT,
    "bad_lines": {"line": pa.int64(), "reason": pa.string(), "text": pa.string()},
}
COLUMNS = {name: kind for columns in ROWS.values() for name, kind in columns.items()}
NOTED = pa.schema([("what", pa.string()), *COLUMNS.items()])


@dataclass
class Night:
    """An extraction that starts from what the last one left.

    whole : the Extraction of all files. folder : where parts and notes are written. raw : the folder that the
    last one left. files : (path, runs of its histograms, function that reads it into an Extraction) of each
    file of histograms, in their order. latest : (name, content) of the note that was read last.
    """

    whole: Extraction
    folder: Path
    raw: Path
    files: list = field(default_factory=list)
    latest: tuple = ("", None)

    def __post_init__(self):
        for name in (HISTOGRAMS, "notes", "new"):
            (self.folder / name).mkdir()
        self.parts = read_json(self.raw / PARTS)

    def keep(self, path, kind, role):
        """Add what the last night noted of a file, where neither the file nor what reads it has changed;
        return whether that is so. kind : a LumisectionFile. role : "source" or "luminosity".
        """
        name = part_name(role, path)
        if self.latest[0] != name:
            self.latest = (name, read_note(self.raw / "notes" / name))
        noted = self.latest[1]
        if not noted or noted["made_of"] != self.made_of(path, kind):
            return False
        for file in noted["files"]:
            link(self.raw / "notes" / file, self.folder / "notes" / file)
        self.count(path, kind, role, noted)
        return True

    def add(self, path, kind, role):
        """Read a file, and note what was counted in it; its histograms lie in new/ until `place_parts`."""
        name, made_of = part_name(role, path), self.made_of(path, kind)
        one = read_part(self.whole.settings, self.folder / "new" / name, kind.reader(path, role))
        write_note(one, self.folder / "notes" / name, made_of)
        self.count(path, kind, role, read_note(self.folder / "notes" / name))

    def count(self, path, kind, role, noted):
        """Add what a note says to the whole extraction."""
        self.whole.add(path, noted["counted"], noted["rows"], noted["wide"])
        if True in noted["counted"]["are_histograms"]:
            runs = set(noted["rows"]["placed"].run.tolist()) if "placed" in noted["rows"] else set()
            self.files.append((path, runs, kind.reader(path, role)))

    def made_of(self, path, kind):
        """What the extraction of a file depends on, as JSON can hold it."""
        settings = [vars(kind), vars(self.whole.settings)]
        made_of = {"kind": type(kind).__name__, "file": state_of_file(path), "settings": settings}
        return made_of | {"code": code_below("sources")}


# ---------------------------------------------------------------------------------------------------- notes


def write_note(one, path, made_of):
    """Write the note of the file that the Extraction `one` has read to `path`, and the rows of a wide table
    to a file beside it. made_of : see `Night.made_of`.
    """
    bad_lines = pd.DataFrame([line[1:] for line in one.bad_lines], columns=list(ROWS["bad_lines"]))
    elements = pd.DataFrame(sorted(one.elements), columns=list(ROWS["elements"]))
    frames = {"bad_lines": [bad_lines], "elements": [elements]}
    frames |= {what: getattr(one, what) for what in ROWS if what not in frames}
    tables = [noted_rows(what, parts) for what, parts in frames.items() if sum(map(len, parts))]
    files = [path.name]
    if one.wide_parts:
        files.append(f"{path.stem}-wide.parquet")
        pd.concat(one.wide_parts, ignore_index=True).to_parquet(path.with_name(files[1]), index=False)
    text = json.dumps({"made_of": made_of, "files": files, "counted": one.counted()})
    whole = pa.concat_tables([NOTED.empty_table(), *tables])
    pq.write_table(whole.replace_schema_metadata({NOTE: text}), path, compression="zstd")


def noted_rows(what, frames):
    """Make an Arrow table of NOTED from `frames`, with only the first of equal rows about a lumisection."""
    frame = pd.concat(frames, ignore_index=True)
    if what.startswith("about"):
        frame = frame.drop_duplicates()
    of = frame.assign(what=what)
    columns = [
        pa.array(of[one.name], one.type, from_pandas=True) if one.name in of else pa.nulls(len(of), one.type)
        for one in NOTED
    ]
    return pa.Table.from_arrays(columns, schema=NOTED)


def read_note(path):
    """Read the note at `path`: {"made_of", "files", "counted", "rows": {name in ROWS: DataFrame, not empty},
    "wide": the wide table or None}; {} where there is no note, or it is damaged.
    """
    try:
        table = pq.read_table(path, partitioning=None)
        noted = json.loads(table.schema.metadata[NOTE])
        rows = {what: rows_of(table, what) for what in table["what"].unique().to_pylist()}
        wide = [pd.read_parquet(path.with_name(name)) for name in noted["files"][1:]]
        return noted | {"rows": rows, "wide": wide[0] if wide else None}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return {}


def rows_of(table, what):
    """The rows of a note, an Arrow table of NOTED, that are `what`: DataFrame with their columns in ROWS."""
    columns = list(ROWS[what])
    frame = table.filter(pc.equal(table["what"], what)).select(columns).to_pandas()
    whole = {name: "int64" for name in ("run", "lumisection", "rows", "line") if name in columns}
    return frame.astype({name: TYPES.get(name, "float64") for name in ABOUT if name in columns} | whole)


# ---------------------------------------------------------------------------------------------------- parts


def read_part(settings, path, read):
    """Read a file by `read`, a function of an Extraction; return this Extraction. Its histograms go to the
    new part at `path`.
    """
    with pq.ParquetWriter(path, HISTOGRAM_SCHEMA, compression="zstd") as table:
        one = Extraction(settings, table)
        read(one)
    return one


def place_parts(night, runs):
    """Make the table of histograms of `runs`: a folder, read as one table, with a part for each file that has
    any, in the order of the files.

    A part of the last night is linked; where it lacks a run that is kept now, its file is read again.
    """
    placed, kept = {}, set(runs)
    for path, of_file, read in night.files:
        name = part_name("source", path)
        if wanted := sorted(of_file & kept):
            there = night.folder / HISTOGRAMS / f"{len(placed):06d}-{name}"
            held = place_part(night, name, wanted, there)
            if not held:
                with reading(path):
                    read_anew(night, name, there, read)
                held = {"runs": sorted(of_file), "sha256": sha256_of([there])}
            if held["runs"] != wanted:
                keep_runs(there, wanted)
                held = {"runs": wanted, "sha256": sha256_of([there])}
            placed[name] = held | {"file": there.name, "state": size_and_time(there)}
    if not placed:
        pq.write_table(HISTOGRAM_SCHEMA.empty_table(), night.folder / HISTOGRAMS / "none.parquet")
    write_json(placed, night.folder / PARTS)
    shutil.rmtree(night.folder / "new")


def place_part(night, name, wanted, there):
    """Link the part of the last night to `there`, and return what was noted of it; None where there is none,
    it has changed or lacks a run of `wanted`, or its file was read anew.
    """
    held = night.parts.get(name)
    old = night.raw / HISTOGRAMS / held["file"] if held else None
    if not held or (night.folder / "new" / name).exists() or not set(wanted) <= set(held["runs"]):
        return None
    if not old.exists() or size_and_time(old) != held["state"]:
        return None
    link(old, there)
    return held


def read_anew(night, name, there, read):
    """Move the part that was made from a file tonight to `there`; where there is none, make it by `read`."""
    new = night.folder / "new" / name
    if not new.exists():
        read_part(night.whole.settings, new, read)
    os.replace(new, there)


def keep_runs(path, runs):
    """Keep only rows of `runs` in the Parquet file `path`; memory holds one row group."""
    whole, part = pq.ParquetFile(path), path.with_suffix(".part")
    with pq.ParquetWriter(part, whole.schema_arrow, compression="zstd") as out:
        for group in range(whole.num_row_groups):
            page = whole.read_row_group(group)
            page = page.filter(pc.is_in(page["run"], pa.array(runs, pa.int64()))).combine_chunks()
            if len(page):
                out.write_table(page)
    os.replace(part, path)


def sha256_of_tables(raw):
    """The SHA-256 over those of the tables that an extraction has left in the folder `raw`; parts whose hash
    is noted are not read.
    """
    parts = [part["sha256"] for part in read_json(raw / PARTS).values()]
    others = sha256_of([raw / "lumisections.parquet", raw / "wide.parquet"])
    return hashlib.sha256("".join([*parts, others]).encode()).hexdigest()
