"""Summary records of GRACC in files.

A record says who (`VOName`) used how much where (`SiteName`) until when (`EndTime`). It comes bare or as a
hit of an Elasticsearch, `{"_id": ..., "_source": {...}}`.
"""

import hashlib
import json
import re

from nightshift.sources.accounting.records import (
    FIELDS,
    NEEDED,
    AccountingFile,
    frame_of,
    require_columns,
)
from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import LayoutError, as_text, read_records
from nightshift.sources.times import FORMS, read_times


def gracc_row(record):
    """Make a flat row of text from one bare record or hit, a dict: {name of SCHEMA: text or None}.

    `RecordId` is the identity that the source gave; a record without one gets a digest of its content, so
    that copies are recognised.
    """
    inner = record.get("_source")
    flat = {**record, **inner} if isinstance(inner, dict) else dict(record)
    flat.pop("_source", None)
    identity = flat.pop("_id", None) or flat.get("RecordId")
    identity = identity or hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:32]
    row = {field: as_text(flat.pop(field, None)) for field in FIELDS}
    return {**row, "RecordId": as_text(identity), "more": json.dumps(flat) if flat else None}


def read_gracc(path, extraction):
    """Yield pages of rows from a file of GRACC records in any layout; bad lines are put aside.

    A record may lack a field of NEEDED. A file in which all records lack one, or in which not one time can be
    read, is of something else: LayoutError, one line.
    """
    present, n_bad, example, readable = {}, 0, "", False
    for records, bad in read_records(path, keep_hits=True, fits=set(NEEDED).intersection):
        extraction.put_aside(path, bad)
        n_bad += len(bad)
        for record in records:
            present |= dict.fromkeys(inner if isinstance(inner := record.get("_source"), dict) else record)
        page = frame_of([gracc_row(record) for record in records])
        example = example or next((text for text in page.EndTime.dropna() if text.strip()), "")
        readable = readable or read_times(page.EndTime).notna().any()
        yield page
    if n_bad and not present:
        raise LayoutError(
            f"none of its {n_bad:,} lines is a JSON object; needed are GRACC records with {', '.join(NEEDED)}"
        )
    if present:
        require_columns(NEEDED, present, "it")
    if example and not readable:  # otherwise they would pass for times of another window
        raise LayoutError(
            f"none of its times can be read, such as EndTime {example[:60]!r}; needed is {FORMS}"
        )


class GraccFiles(AccountingFile):
    """JSON in any layout, or a table that is called .csv or has at least two of the needed columns."""

    label = f"GRACC records (JSON or a table with {', '.join(NEEDED)})"
    excerpt = staticmethod(excerpt_of_records)
    asked_last = True

    def recognises(self, head):
        """By a brace or bracket at its beginning, its name, or its columns."""
        first = head.line
        named = ".csv" in head.name or ".json" in head.name
        return (
            not first or first[0] in "{[" or named or len(set(re.findall(r"\w+", first)) & set(NEEDED)) >= 2
        )

    def read(self, path, extraction):
        """Yield pages of rows, see `read_gracc`."""
        return read_gracc(path, extraction)
