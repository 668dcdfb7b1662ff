"""The rows that made a finding, such as the transfers that were slow: how a finding is named in their table,
and what that table holds.

A table of rows, data/rows/<table>.parquet, stands beside the table of findings of that name. It begins with
the columns of ROW; the others are what the study judges by, named with their unit: `duration_s`, `size_gb`.
"""

import functools
import hashlib

import pandas as pd

from nightshift.wording import one_line

ROW = {  # columns that every table of rows has
    "finding": "str",  # which one, see `finding_id`
    "of": "int64",  # how many rows the finding has: more than are in the table where these were cut
    "time": "datetime64[us, UTC]",  # when it began; missing where the source has no times
}
MAX_ROWS = 200  # of one finding, the most telling ones; the others are left out


def finding_id(study, kind, entity, start):
    """Name a finding by what it is about, in ten hexadecimal digits: the same in its table, in digest.json
    and on a page.

    study, kind, entity : text. start : Timestamp, text in ISO 8601 in UTC, or a missing value.
    """
    at = time_in_words(start) if isinstance(start, str) else time_in_words.__wrapped__(start)
    words = "\0".join([study, kind, one_line(entity), at])
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:10]


@functools.lru_cache(20_000)
def time_in_words(time):
    """Write a time, as `finding_id` takes it, to the second; "" where it is missing. Cached, since pandas
    guesses the format of each text anew, and several pages of a night ask for the same.
    """
    began = pd.to_datetime(time, utc=True)
    return "" if pd.isna(began) else f"{began:%Y-%m-%dT%H:%M:%SZ}"


def ids_of(findings):
    """Name all findings of a table, DataFrame study, kind, entity, start: list of text."""
    columns = (findings[name] for name in ("study", "kind", "entity", "start"))
    return [finding_id(*one) for one in zip(*columns, strict=True)]


def build_rows(findings, rows):
    """Build the table of the rows that made findings: DataFrame of ROW and all other columns of `rows`.

    findings : DataFrame, as `build_findings` of helpers.py gives it. rows : a DataFrame per finding, in their
    order, with `time` in UTC and whatever its study judges by, the most telling row first; of more than
    MAX_ROWS, the last ones are left out. No finding gives an empty table. ValueError where a finding has no
    row, a time has no zone, or two findings have the same name.
    """
    names = ids_of(findings) if len(findings) else []
    if len(set(names)) < len(names):
        raise ValueError("two findings are of one kind, entity and start, so their rows cannot be told apart")
    parts = [rows_of_one(*one) for one in zip(names, findings.get("entity", []), rows, strict=True)]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(ROW))
    names_of_categories = table.select_dtypes("category").columns
    table = table.astype(ROW | dict.fromkeys(names_of_categories, "str"))
    return table[[*ROW, *(name for name in table if name not in ROW)]]


def rows_of_one(name, entity, rows):
    """Take the rows of one finding, at most MAX_ROWS of them, with its name and their number."""
    if not len(rows):
        raise ValueError(f"the finding of {one_line(entity)} has no row that shows it")
    if rows.time.notna().any() and not isinstance(rows.time.dtype, pd.DatetimeTZDtype):
        raise ValueError(f"the rows of {one_line(entity)} have times without a zone")
    first = rows.head(MAX_ROWS)
    times = {column: first[column].dt.tz_convert("UTC") for column in first.select_dtypes("datetimetz")}
    return first.assign(**times, finding=name, of=len(rows))
