"""What an extraction of node metrics notes of each file, and of each day of a server, so that the next one
does not read again what has not changed.

Earlier     what the last night left and noted             Earlier
Sources     what of it still holds, and what is noted      keep, add_source

A note is a small Parquet file: its rows say how many rows there are of each node, job and day, its metadata
what else was counted. Its counts are added up like those of what is read anew, so that a night that builds on
another one gives the same as one that starts from nothing.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import write_json
from nightshift.products import read_json, size_and_time
from nightshift.runs import warn
from nightshift.sources.parts import NOTE, link
from nightshift.status import sha256_of

MOST_LINES = 1000  # lines put aside that a note names: a file with more is read again
MOST_COUNTS = 200_000  # rows of a note, one per node, job and day: 2 MB; a file with more is read again
TIME, NAME = pa.timestamp("us", "UTC"), pa.string()
SEEN = pa.schema(
    {"node_id": NAME, "job_id": NAME, "day": TIME, "rows": pa.int64(), "first": TIME, "last": TIME}
)


class Earlier:
    """What the last extraction into the folder `raw` has left there."""

    def __init__(self, raw):
        self.raw, self.latest = raw, ("", None, None)

    def note(self, name):
        """({what is noted}, Arrow table of SEEN) of the source that is called `name`; ({}, None) where there
        is none.
        """
        if self.latest[0] != name:
            self.latest = (name, *read_note(self.raw / "notes" / f"{name}.parquet"))
        return self.latest[1:]

    @cached_property
    def parts(self):
        """{(digest, "day=2026-01-31"): [(path below `raw`, size, time in ns)]} of all parts of nodes."""
        found = {}
        for path in sorted((self.raw / "nodes").glob("node_id=*/day=*/*.parquet")):
            one = (path.relative_to(self.raw).as_posix(), *size_and_time(path))
            found.setdefault((path.stem, path.parent.name), []).append(one)
        return found

    def parts_of(self, noted):
        """List the parts that a note is of, found by name and day: all days of a server have parts of one
        name.
        """
        return [part for one in noted["parts_of"] for part in self.parts.get(tuple(one), [])]

    @cached_property
    def gpus(self):
        """The table of GPUs, where it is as it was left; else None."""
        path = self.raw / "gpus.parquet"
        left = read_json(self.raw / "notes/gpus.json").get("left")
        return pq.ParquetFile(path) if left and path.exists() and size_and_time(path) == left else None


def read_note(path):
    """Read a note, as `Earlier.note` gives it; what is damaged is none."""
    try:
        table = pq.read_table(path, partitioning=None)
        return json.loads(table.schema.metadata[NOTE]), table
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return {}, None


def state_of_parts(parts):
    """A hash of parts, (path, size, time) each."""
    return hashlib.sha256(json.dumps(sorted(map(list, parts))).encode()).hexdigest()


def what_holds(noted, window):
    """Return what of a note holds in a `window` [begin, end): "all" of it, "nothing within" where all rows
    lie outside, or "" where that is not known without the source.

    It is not known where rows lie on both sides of an end of the window, then or now: only those within it
    were counted.
    """
    begin, end = window
    ends = [pd.Timestamp(moment) for moment in noted["counted"]["ends"]]
    whole = not noted["counted"]["counts"]["outside"] and all(begin <= moment < end for moment in ends)
    if whole or noted["window"] == list(map(str, window)):
        return "all"
    return "nothing within" if max(ends) < begin or min(ends) >= end else ""


def nothing_within(counted):
    """What would have been counted if no row had been in the window."""
    of_whole, placed = counted["of_whole"], counted["counts"]["placed"]
    counts = {"unreadable": of_whole["unreadable"], "placed": placed, "outside": placed}
    none = {"gpu_blanks": {}, "measured": {}, "sha256": sha256_of([])}
    return counted | {"counts": counts, "blanks": of_whole["blanks"]} | none


def keep(extraction, name, made_of):
    """Add to an extraction what an earlier one noted of the source that is called `name`, where that followed
    from the same (`made_of`) and still holds in the window; return whether it does.

    Its parts are linked, so that they stay the same files; where a disk has no links they are copied, with
    their times.
    """
    earlier = extraction.earlier
    noted, seen = earlier.note(name)
    if noted.get("made_of") != made_of or not (holds := what_holds(noted, extraction.window)):
        return False
    parts = earlier.parts_of(noted)
    groups = range(*noted["gpu_groups"])
    if holds == "all" and (state_of_parts(parts) != noted["parts"] or (groups and earlier.gpus is None)):
        return False
    one = extraction.of_source(extraction.window)
    if holds == "all":
        link_parts(earlier.raw, extraction.folder, [path for path, *_ in parts])
        one.parts = [path for path, *_ in parts]
        for group in groups:
            extraction.gpu_table.write(earlier.gpus.read_row_group(group))
    counted = noted["counted"] if holds == "all" else nothing_within(noted["counted"])
    for sentence in counted["warnings"]:
        warn(sentence)
    seen = seen if holds == "all" else seen.slice(0, 0)
    write_note(extraction, name, one, counted=counted, seen=seen, made_of=made_of, asked=noted["asked"])
    extraction.add(counted, seen.to_pandas())
    return True


def link_parts(raw, folder, parts):
    """Link `parts`, paths below the folder `raw`, to the same paths below `folder`."""
    for path in {(folder / part).parent for part in parts}:
        path.mkdir(parents=True, exist_ok=True)
    for part in parts:
        link(raw / part, folder / part)


def keep_equal_parts(extraction, one):
    """Put earlier parts in the place of those of the Extraction `one` that are equal to them, so that the
    next step sees by size and time that they have not changed, such as earlier days of a file that has only
    grown.
    """
    for part in one.parts:
        old, new = extraction.earlier.raw / part, extraction.folder / part
        if old.exists() and old.stat().st_size == new.stat().st_size and old.read_bytes() == new.read_bytes():
            new.unlink()
            link(old, new)


def add_source(extraction, one, name, *, made_of, asked=""):
    """Add the Extraction `one` of a file, or of a day of a server, to the whole one, and note what was
    counted of it.

    made_of : JSON, all that it follows from but the window. asked : when a server was asked. A source whose
    rows depend on others, or are few, is not noted, and so is read again: points of labels, which are cut
    into stretches over all files; labels; values without a name, which are compared with those of other
    files.
    """
    keep_equal_parts(extraction, one)
    counted, seen = one.counted() | {"sha256": sha256_of_parts(one)}, seen_of(one)
    stands_alone = not (one.points or one.labels or one.compared)
    if stands_alone and len(one.bad_lines) <= MOST_LINES and len(seen) <= MOST_COUNTS:
        write_note(extraction, name, one, counted=counted, seen=seen, made_of=made_of, asked=asked)
    extraction.add(counted, seen.to_pandas())
    extraction.points += one.points
    extraction.labels += one.labels


def sha256_of_parts(one):
    """A sha256 over those of the parts of an Extraction, by name."""
    return sha256_of(one.folder / part for part in sorted(one.parts))


def seen_of(one):
    """What an Extraction has counted of nodes, jobs and days, each once: an Arrow table of SEEN."""
    empty = SEEN.empty_table().to_pandas()
    frame = pd.concat(one.seen, ignore_index=True) if one.seen else empty
    counts = frame.groupby(["node_id", "job_id", "day"], dropna=False)
    summed = counts.agg({"rows": "sum", "first": "min", "last": "max"}).reset_index()
    return pa.Table.from_pandas(summed, SEEN, preserve_index=False)


def write_note(extraction, name, one, *, counted, seen, made_of, asked):
    """Write the note of a source, whose Extraction `one` has its parts, beside what is extracted."""
    parts = [[part, *size_and_time(extraction.folder / part)] for part in one.parts]
    noted = {
        "made_of": made_of,
        "asked": asked,
        "window": list(map(str, one.window)),
        "counted": counted,
        "parts_of": sorted({(Path(part).stem, Path(part).parent.name) for part in one.parts}),
        "parts": state_of_parts(parts),
        "gpu_groups": [one.first_group, extraction.gpu_table.n_groups],
    }
    text = json.dumps(noted, default=int)  # numbers of NumPy
    pq.write_table(
        seen.replace_schema_metadata({NOTE: text}), extraction.folder / "notes" / f"{name}.parquet"
    )


def note_whole(extraction):
    """Note the size and time of the table of GPUs of a whole extraction, and take a sha256 over those of all
    that it wrote; parts that were kept are not read for it.
    """
    folder = extraction.folder
    write_json({"left": size_and_time(folder / "gpus.parquet")}, folder / "notes/gpus.json")
    tables = sha256_of([folder / "gpus.parquet", folder / "labels.parquet"])
    of_all = "".join([*extraction.sha256s, sha256_of_parts(extraction), tables])
    extraction.sha256 = hashlib.sha256(of_all.encode()).hexdigest()
