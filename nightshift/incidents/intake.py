"""Read what the studies hand to the digest, so that one study's damaged table costs that study and no other.

Findings   tables of tonight, checked at the border                   check_findings, read_tables
Sources    how far each goes, and what lies behind a study's silence   read_statuses, read_verdicts
Known      of which studies finding nothing is news                   unknown_studies, silence
"""

import contextlib
import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from helpers import FINDING_COLUMNS
from nightshift.runs import RESERVATIONS, read_run, recorded_verdict

TEXTS = ["study", "kind", "entity", "site", "unit", "evidence", "figure", "impact_unit"]
NUMBERS = ["score", "p_value", "observed", "expected", "impact"]
# Control characters, and those that turn the direction of reading around: on no page do they say anything.
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def one_line(text):
    """Write `text` on one line, without control characters."""
    return UNFIT.sub("", " ".join(str(text).split()))


def check_findings(findings, name):
    """Return `findings` with FINDING_COLUMNS only, text on one line, numbers as float, times in UTC; no row
    gives no row.

    ValueError names the table `name` and the column that is wrong.
    """
    if lacking := [column for column in FINDING_COLUMNS if column not in findings]:
        raise ValueError(
            f"{name} has no column {', '.join(lacking)}; a table of findings has {', '.join(FINDING_COLUMNS)}"
        )
    checked = findings[FINDING_COLUMNS].reset_index(drop=True)
    for column in TEXTS:
        texts = checked[column].astype(object).where(checked[column].notna(), "")
        checked[column] = pd.Series([one_line(text) for text in texts], checked.index, "str")
    try:
        for column in NUMBERS:
            checked[column] = pd.to_numeric(checked[column]).astype(float)
        for column in ("start", "end"):
            checked[column] = pd.to_datetime(checked[column], utc=True).astype("datetime64[us, UTC]")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: column {column!r}: {one_line(error)[:150]}") from None
    for column, right, why in (
        ("p_value", checked.p_value.between(0, 1), "it must be a probability, 0 to 1"),
        ("impact", ~(checked.impact < 0) & ~np.isinf(checked.impact), "it must be 0 or more, or missing"),
    ):
        if not right.all():
            raise ValueError(f"{name}: column {column!r} holds {checked[column][~right].iloc[0]}; {why}")
    return checked


def tables_of(folder, study, nights, missing):
    """Names of the tables of findings below `folder` of a study: its own, and those of its further pages, but
    for those that are `missing`."""
    further = sorted(path.stem for path in folder.glob(f"{study}_*.parquet"))
    return [
        name for name in [study, *further] if name not in missing and (name == study or name not in nights)
    ]


def read_tables(folder, nights, missing):
    """Read the tables of findings of tonight: (list of DataFrames with table, night and kept; {table: why it
    cannot be read}).

    folder : data/findings. nights : {study: day that its data end}. missing : studies or tables that have
    none of tonight.
    """
    tables, damaged = [], {}
    for study, night in nights.items():
        for name in tables_of(folder, study, nights, missing):
            path = folder / f"{name}.parquet"
            try:
                tables.append(
                    check_findings(pd.read_parquet(path), path.name).assign(
                        table=name, night=str(night), kept=False
                    )
                )
            except FileNotFoundError:
                damaged[name] = f"{path.name} is not there"
            except Exception as error:  # whatever Arrow, pandas or the disk say of a damaged file
                said = one_line(error).replace(str(path), path.name)[:200]
                damaged[name] = said if path.name in said else f"{path.name} cannot be read: {said}"
    return tables, damaged


def read_statuses(folder, studies):
    """Read status.json of the `studies` below `folder`, data/raw: ({study: {"state", "newest" as Timestamp or
    None}}, {study: what is wrong}).

    A study without such a file is in neither.
    """
    statuses, damaged = {}, {}
    for study in studies:
        path = folder / study / "status.json"
        try:
            status = json.loads(path.read_text(encoding="utf-8"))
            newest = pd.Timestamp(status["newest"]) if status.get("newest") else pd.NaT
            known = (
                None
                if newest is pd.NaT
                else newest.tz_localize("UTC")
                if newest.tz is None
                else newest.tz_convert("UTC")
            )
            statuses[study] = {"state": str(status.get("state", "")), "newest": known}
        except FileNotFoundError:
            continue
        except Exception as error:  # no JSON, no object, no time
            damaged[study] = (
                f"its status.json cannot be read ({type(error).__name__}: {one_line(error)[:100]})"
            )
    return statuses, damaged


def read_verdicts(folder, studies):
    """Read which verdicts the `studies` recorded of themselves below `folder`, reports/<day>: {study: "ok" or
    one of RESERVATIONS}; none where they were run by hand, or by a version that records none."""
    verdicts = {
        study: recorded_verdict([read_run(folder, study, step) for step in ("2_preprocess", "4_analyse")])[0]
        for study in studies
    }
    return {study: verdict for study, verdict in verdicts.items() if verdict}


def studies_that_judged_nothing(folder, studies):
    """List the `studies` whose table of scores below `folder`, data/scores, is there without a row: nothing found among nothing is no news."""
    unjudged = []
    for study in studies:
        with contextlib.suppress(OSError, ValueError):  # a table that is not there or damaged is the failure of its study
            unjudged += [study] * (pq.read_metadata(folder / f"{study}.parquet").num_rows == 0)
    return unjudged


def unknown_studies(nights, missing, statuses, verdicts, damaged):
    """Of which studies finding nothing says nothing: {study or table: why}, in the order of their names.

    nights, missing : as the digest is given them. statuses, verdicts : as read. damaged : {study or table:
    what cannot be read}.
    """
    unknown = dict.fromkeys(missing, "no findings of tonight")
    expected = {*nights, *missing}
    unknown |= {
        study: status["state"]
        for study, status in statuses.items()
        if study in expected and status["state"] in ("stale", "empty", "failed")
    }
    unknown |= {
        study: verdict
        for study, verdict in verdicts.items()
        if study in nights and verdict in RESERVATIONS
    }
    return dict(sorted((unknown | damaged).items()))


def silence(nights, unknown):
    """Say what it means that nothing is pressing: good news only if nothing is unknown."""
    if not unknown:
        return "Nothing to report." if nights else "No study reported, so that nothing is known."
    studies = {
        *nights,
        *(name for name in unknown if not any(name.startswith(f"{study}_") for study in nights)),
    }
    lacking = [f"{name} ({why})" for name, why in unknown.items()]
    joined = " and ".join(", ".join(lacking).rsplit(", ", 1)) if len(lacking) > 1 else lacking[0]
    return f"{len(studies - set(unknown))} of {len(studies)} studies reported; nothing is known of {joined}."
