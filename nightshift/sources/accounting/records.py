"""The raw table of the accounting: one row per record, job or weekly total, as text under the field names of
GRACC, whatever its source.

Records of other kinds of resource (a payload inside a pilot would count its hours twice) and of other weeks
are counted and left out; records whose time cannot be read are kept: the next step rejects them by name. A
time without zone counts as UTC here, which matters at the edges of the window only.
"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from nightshift.sources.base import Look
from nightshift.sources.files import LayoutError, names_in_words
from nightshift.sources.part_files import PartFile
from nightshift.sources.parts import Extraction
from nightshift.sources.times import FIRST, read_times

FIELDS = [
    "RecordId",
    "EndTime",
    "SiteName",
    "VOName",
    "ProbeName",
    "ResourceType",
    "CoreHours",
    "WallDuration",
    "CpuDuration",
    "Njobs",
    "Processors",
    "GpuHours",
    "GpuHoursUsed",
    "MemoryAskedGiB",
    "MemoryUsedGiB",
]
NO_GROUP = "no group"  # the VO of jobs for which a source names a user only
NEEDED = ["EndTime", "SiteName", "VOName", "CoreHours"]
SCHEMA = pa.schema([(field, pa.string()) for field in [*FIELDS, "more"]])  # more : all other fields, JSON
OPTIONAL = {
    "CpuDuration": "a drop of efficiency is not seen",
    "WallDuration": "longer jobs are not seen",
    "Njobs": "more and shorter jobs are not seen",
}


def frame_of(rows):
    """Make a page of `rows`, dicts: DataFrame with the columns of SCHEMA, missing ones None."""
    return pd.DataFrame(rows, columns=SCHEMA.names, dtype=object)


def page_of(table):
    """Make a page of an Arrow table with the columns of SCHEMA, without a copy of its text."""
    return table.to_pandas(split_blocks=True)


def utc_text(seconds):
    """Write seconds since 1970, a number or an array (n,), as text such as 2026-01-31T10:00:00Z; parts of
    seconds are cut off.
    """
    return np.datetime_as_string(np.asarray(seconds, "int64").astype("datetime64[s]"), timezone="UTC")


def times_of(text):
    """Read the Series `text` as `read_times` does, but quickly where all of it is ISO 8601 with a zone."""
    try:
        at = pa.array(text, pa.string(), from_pandas=True).cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return read_times(text)
    at = pd.Series(at.to_pandas().array, text.index)
    return at.where(at >= FIRST)


def as_text_of(amount):
    """Write a finite number as text, a whole one without a point; text and None stay as they are."""
    if amount is None or isinstance(amount, str):
        return amount
    return str(int(amount)) if amount == int(amount) else str(amount)


def amount_of(value):
    """Return a JSON value as a float; None where it is no finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def row_of_job(identity, site, vo, *, end, amounts, more=None):
    """Make the row of one job, or of a total of jobs, a dict with the columns of SCHEMA.

    end : seconds since 1970, None where it is missing. amounts : {column: number or None}, durations in
    seconds; core hours and GPU hours follow from `WallDuration`, `Processors` and `Gpus`, which is no column,
    and hours of GPUs in use are at most those for which they were held. more : what else is worth keeping, as
    JSON can hold it.
    """
    wall, cores, gpus = (amounts.get(name) for name in ("WallDuration", "Processors", "Gpus"))
    amounts = {"Njobs": 1, **amounts}
    amounts["CoreHours"] = None if None in (wall, cores) else wall * cores / 3600
    amounts["GpuHours"] = None if wall is None or not gpus else wall * gpus / 3600
    used = amounts.get("GpuHoursUsed")
    amounts["GpuHoursUsed"] = None if None in (used, amounts["GpuHours"]) else min(used, amounts["GpuHours"])
    return {
        "RecordId": identity,
        "EndTime": None if end is None else str(utc_text(end)),
        "SiteName": str(site) if site else None,
        "VOName": str(vo) if vo else None,
        "ResourceType": "Batch",
        **{name: as_text_of(amount) for name, amount in amounts.items() if name in FIELDS},
        "more": json.dumps(more) if more else None,
    }


def require_columns(columns, present, place):
    """Raise a LayoutError, one line, when `place` lacks one of the `columns` altogether."""
    if missing := [column for column in columns if column not in present]:
        raise LayoutError(
            f"{place} has no {' and no '.join(missing)}; it has {names_in_words(present)}; "
            f"needed are {', '.join(columns)}"
        )


def batch_rows(pages, extraction, begin=None, end=None):
    """Yield those rows of `pages`, frames with the columns of SCHEMA, that are of batch jobs and end in
    [begin, end), the window if not given; the others are counted.
    """
    for page in pages:
        is_batch = page.ResourceType.isna() | page.ResourceType.isin(["", "Batch"])
        batch = page if is_batch.all() else page[is_batch]
        inside = extraction.within(times_of(batch.EndTime), begin, end)
        kept = batch if inside.all() else batch[inside]
        extraction.counts["other kinds"] += len(page) - len(batch)
        yield kept


class AccountingFile(PartFile):
    """A file of accounting; a kind of it says how to `read` its rows."""

    optional = OPTIONAL
    schema = SCHEMA
    rows_of = staticmethod(batch_rows)

    def read(self, path, extraction):
        """Yield pages of rows of the file `path`, frames with the columns of SCHEMA; what does not parse is
        put aside in the extraction.
        """
        raise NotImplementedError

    def rows_in(self, part):
        """Yield the rows of a part as frames, as `read` gives them."""
        return (page.to_pandas() for page in super().rows_in(part))

    def look(self, path, *, settings, folder):
        """Read all rows of the file, whatever their time and kind."""
        scratch = Extraction(Path(folder), (None, None))
        rows = pd.concat([frame_of([]), *self.read(path, scratch)], ignore_index=True)
        return Look.of_rows(self.label, rows, read_times(rows.EndTime), scratch.bad_lines)
