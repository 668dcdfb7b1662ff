"""Findings between the nights: data/live/<study>.parquet, a table that streams write and the night never
reads.

It has the columns of findings, `job_id`, "" where there is none, and `goes_on`. What the last night has
judged is the night's to say: it leaves this table, so that no stretch of time is reported twice.

    judged_until     how far the last night has judged
    take_over        what is left to a stream after it
    merge_alarms     alarms of a stream into the table
    read_provisional, write_provisional
"""

import pandas as pd

from helpers import build_findings, write_parquet
from nightshift.products import read_json
from nightshift.reporting.products import is_day
from nightshift.runs import read_run
from nightshift.schemas import FINDING

MORE = {"job_id": "", "goes_on": False}  # columns beside those of findings, and what is in them otherwise


def provisional_path(root, study):
    """Give the path of the table below the folder of products `root`."""
    return root / "data/live" / f"{study}.parquet"


def judged_until(root, study):
    """Tell up to when the last night has judged a study: Timestamp in UTC, None before the first night.

    That is the end of its day, or its newest row where the source ended before.
    """
    reports = root / "reports"
    days = [path.name for path in reports.glob("*") if is_day(path.name)]
    for day in sorted(days, reverse=True):
        if read_run(reports / day, study, "4_analyse")["outcome"] == "ok":
            end = pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)
            status = read_json(root / "data/raw" / study / "status.json")
            of_day = (status.get("window") or [""])[-1] == day and status.get("newest")
            return min(end, pd.Timestamp(status["newest"])) if of_day else end
    return None


def take_over(findings, until):
    """Leave to the night what lies before `until`, a Timestamp or None: findings that ended by then go, and
    those that went on begin there.
    """
    if until is None:
        return findings
    left = findings[findings.end > until].reset_index(drop=True)
    return left.assign(start=left.start.clip(lower=until))


def merge_alarms(findings, alarms, gap):
    """Merge alarms into provisional findings: an alarm that began no later than `gap` after the end of a
    finding of the same entity and job replaces it, with the first start, the latest end and the stronger
    score and p-value of both.

    findings, alarms : tables as `read_provisional` gives them. gap : Timedelta. Returns the table by start.
    """
    merged = findings.to_dict("records")
    for alarm in alarms.to_dict("records"):
        same = [
            number
            for number, one in enumerate(merged)
            if (one["entity"], one["job_id"]) == (alarm["entity"], alarm["job_id"])
            and one["start"] <= alarm["end"]
            and alarm["start"] <= one["end"] + gap
        ]
        before = [merged[number] for number in same]
        merged = [one for number, one in enumerate(merged) if number not in same]
        alarm["start"] = min([alarm["start"], *(one["start"] for one in before)])
        alarm["end"] = max([alarm["end"], *(one["end"] for one in before)])
        alarm["p_value"] = min([alarm["p_value"], *(one["p_value"] for one in before)])
        alarm["score"] = max([alarm["score"], *(one["score"] for one in before)])
        merged.append(alarm)
    table = pd.DataFrame(merged, columns=findings.columns).astype(findings.dtypes)
    return table.sort_values("start", kind="stable", ignore_index=True)


def build_provisional(rows, study):
    """Build a table of provisional findings of a study: `build_findings` of these rows, with MORE."""
    rows = pd.DataFrame(rows)
    table = build_findings(rows, study)
    return table.assign(
        job_id=rows.job_id.astype("str") if len(rows) else pd.Series(dtype="str"),
        goes_on=rows.goes_on.astype(bool) if len(rows) else pd.Series(dtype=bool),
    )


def read_provisional(root, study):
    """Read the table of a study; an empty one where there is none, or none that can be read: a stream makes
    it anew, and a night has no need of it.
    """
    try:
        return pd.read_parquet(provisional_path(root, study))[[*FINDING, *MORE]]
    except (OSError, ValueError, KeyError):
        return build_provisional([], study)


def write_provisional(root, study, findings):
    """Write the table of a study, atomically."""
    write_parquet(findings[[*FINDING, *MORE]], provisional_path(root, study))
