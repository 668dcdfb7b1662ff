"""Products of one study, checked while they are read: whatever is missing, damaged or of another version
becomes one line, and costs only that study.
"""

import hashlib
import json
import math
from datetime import UTC, date, datetime
from numbers import Real

import pandas as pd
import pyarrow.parquet as pq

from nightshift.assurance import STATES
from nightshift.schemas import FINDING, TEXT, TIME, columns_of
from nightshift.wording import one_line

OF_MODEL = {
    "name": str,
    "metric": str,
    "baseline_name": str,
    "model": Real,
    "baseline": Real,
    "skill": Real,
    "skill_low": Real,
    "skill_high": Real,
}


class Damaged(ValueError):
    """A product that cannot be used; its text is one line that names the file and says what is wrong with
    it.
    """


def reading(root, path, error):
    """Return the Damaged that says why the file at `path`, below `root`, cannot be read."""
    words = one_line(error).replace(str(root), ".") or type(error).__name__
    why = "it is not there" if isinstance(error, FileNotFoundError) else f"it cannot be read: {words}"
    return Damaged(f"{path.relative_to(root)}: {why}")


def lacking(root, path, what):
    """Return the Damaged that says `what` is wrong with the content of the file at `path`, below `root`."""
    return Damaged(f"{path.relative_to(root)}: {what}; it is damaged, or another version wrote it")


def read_object(root, path):
    """Return the JSON object at `path`; Damaged where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise reading(root, path, error) from None
    if not isinstance(content, dict):
        raise lacking(root, path, f"it holds a {type(content).__name__} and no object")
    return content


def is_day(text):
    """Return whether `text` is the name of the folder of a night: a date such as 2026-01-31."""
    try:
        return str(date.fromisoformat(text)) == text
    except (TypeError, ValueError):
        return False


def refuse_future(day):
    """Raise ValueError for a night, a date as text, that has not begun: what is published as of then would
    stand before every later night.
    """
    today = datetime.now(UTC).date()
    if date.fromisoformat(day) > today:
        raise ValueError(f"the night {day} has not begun: today is {today} (UTC)")


def read_status(root, study):
    """Return status.json of a study, with `newest` None where that names no time; Damaged where it is not as
    the chain writes it.
    """
    path = root / "data/raw" / study / "status.json"
    status = read_object(root, path)
    if status.get("state") not in STATES:
        raise lacking(
            root, path, f"state is {one_line(repr(status.get('state')), 40)}, none of {', '.join(STATES)}"
        )
    window, rows = status.get("window"), status.get("rows")
    if not isinstance(window, list) or len(window) != 2 or not is_day(window[1]):
        raise lacking(root, path, f"window is {one_line(repr(window), 60)}, not a first and a last day")
    if isinstance(rows, bool) or not isinstance(rows, Real) or not 0 <= rows < math.inf:
        raise lacking(root, path, f"rows is {one_line(repr(rows), 40)}, no number of rows")
    newest = (
        pd.to_datetime(status["newest"], errors="coerce", utc=True)
        if isinstance(status.get("newest"), str)
        else pd.NaT
    )
    return status | {"rows": int(rows), "newest": None if pd.isna(newest) else status["newest"]}


def read_models(root, study):
    """Return the models of a study as metrics.json lists them, dicts; Damaged where one lacks OF_MODEL."""
    path = root / "models" / study / "metrics.json"
    models = read_object(root, path).get("models")
    if not isinstance(models, list) or not all(isinstance(one, dict) for one in models):
        raise lacking(root, path, "it has no list `models`")
    for one in models:
        model = f"model {one_line(repr(one.get('name')), 40)}"
        if not isinstance(one.get("in_use"), bool):
            raise lacking(root, path, f"{model} does not say whether it is in use")
        for name, kind in OF_MODEL.items():
            value = one.get(name)
            if not isinstance(value, kind) or (kind is Real and not math.isfinite(value)):
                raise lacking(root, path, f"{name} of {model} is {one_line(repr(value), 40)}")
    return models


def read_findings(root, name, wrote):
    """Return the table of findings at the path `name` below `root`, with the columns of FINDING, text on one
    line and times in UTC; Damaged where it cannot be used or is not what the chain wrote.

    wrote : what the record of its step says of it, {} where it says nothing.
    """
    path = root / name
    try:
        if wrote.get("sha256") not in (None, hashlib.sha256(path.read_bytes()).hexdigest()):
            raise Damaged(f"{name}: it is not what the chain wrote; somebody changed it since")
        found = pd.read_parquet(path)
    except Damaged:
        raise
    except Exception as error:  # whatever pyarrow says of a damaged file
        raise reading(root, path, error) from None
    if missing := [column for column in FINDING if column not in found]:
        raise lacking(root, path, f"it lacks the column {missing[0]}")
    found = found[list(FINDING)].reset_index(drop=True)
    for column in columns_of(TEXT):
        found[column] = [
            one_line(text, 6000) for text in found[column].astype(object).where(found[column].notna(), "")
        ]
    try:
        for column in columns_of(TIME):
            found[column] = pd.to_datetime(found[column], utc=True)
    except (ValueError, TypeError) as error:
        raise lacking(root, path, f"column {column}: {one_line(error, 100)}") from None
    return found


def count_scores(root, study):
    """Return how many items a study has judged; Damaged where its table of scores cannot be used."""
    path = root / "data/scores" / f"{study}.parquet"
    try:
        table = pq.ParquetFile(path)
    except Exception as error:  # whatever pyarrow says of a damaged file
        raise reading(root, path, error) from None
    with table:
        if "score" not in table.schema_arrow.names:
            raise lacking(root, path, "it lacks the column score")
        return table.metadata.num_rows
