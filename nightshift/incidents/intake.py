"""Read what the studies hand to the digest, so that one study's damaged table costs that study and no other.

Findings   tables of tonight, checked at the border      check_findings, nights_of_tables, read_tables
Sources    how far each goes                             read_statuses, newest_rows
Known      of which studies finding nothing is news      read_verdicts
"""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from nightshift.assurance import verdict_of
from nightshift.catalog import STEPS, steps_of
from nightshift.runs import read_run, recorded_verdict, steps_of_tonight, without_pages
from nightshift.schemas import FINDING, FINDING_MAY_HAVE, NUMBER, TEXT, TIME, columns_of
from nightshift.wording import one_line

LONGEST = 10_000  # characters of a text of a finding


def check_findings(findings, name):
    """Return `findings` with the columns of FINDING and FINDING_MAY_HAVE only, text on one line, numbers as
    float, times in UTC; no row gives no row.

    ValueError names the table `name` and the column that is wrong.
    """
    if lacking := [column for column in FINDING if column not in findings]:
        raise ValueError(
            f"{name} has no column {', '.join(lacking)}; a table of findings has {', '.join(FINDING)}"
        )
    columns = [*FINDING, *FINDING_MAY_HAVE]
    checked = findings.reindex(columns=columns).reset_index(drop=True)
    for column in [*columns_of(TEXT), *columns_of(TEXT, FINDING_MAY_HAVE)]:
        texts = checked[column].astype(object).where(checked[column].notna(), "")
        checked[column] = pd.Series([one_line(text, LONGEST) for text in texts], checked.index, "str")
    try:
        for column in columns_of(NUMBER):
            checked[column] = pd.to_numeric(checked[column]).astype(float)
        for column in columns_of(TIME):
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
    """Names of the tables of findings of a study below `folder`: its own and those of its extra notebooks,
    without those that are `missing` or are another study of `nights`.
    """
    further = sorted(path.stem for path in folder.glob(f"{study}_*.parquet"))
    return [
        name for name in [study, *further] if name not in missing and (name == study or name not in nights)
    ]


def nights_of_tables(folder, day):
    """Return {study: `day`} of the studies that have a table of findings below `folder`; a table that is
    named after another one, as those of extra notebooks are, is no study.
    """
    names = sorted(path.stem for path in folder.glob("*.parquet"))
    return {name: day for name in names if not any(_is_page(name, other) for other in names)}


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
                reason = one_line(error).replace(str(path), path.name)[:200]
                damaged[name] = reason if path.name in reason else f"{path.name} cannot be read: {reason}"
    return tables, damaged


def read_statuses(folder, studies):
    """Read status.json of the `studies` below `folder`, data/raw: ({study: {"state", "newest" as Timestamp or
    None, "night", the last day of its window}}, {study: what is wrong}).

    A study without such a file is in neither.
    """
    statuses, damaged = {}, {}
    for study in studies:
        path = folder / study / "status.json"
        try:
            status = json.loads(path.read_text(encoding="utf-8"))
            newest = pd.to_datetime(status.get("newest") or None, utc=True)
            night = str((status.get("window") or [""])[-1])
            newest = None if pd.isna(newest) else newest
            statuses[study] = {"state": str(status.get("state", "")), "newest": newest, "night": night}
        except FileNotFoundError:
            continue
        except Exception as error:  # no JSON, no object, no time
            damaged[study] = (
                f"its status.json cannot be read ({type(error).__name__}: {one_line(error)[:100]})"
            )
    return statuses, damaged


def newest_rows(statuses):
    """Return the newest time in each source that knows it: {study: Timestamp}, of what `read_statuses`
    gives.
    """
    return {study: status["newest"] for study, status in statuses.items() if status["newest"] is not None}


def read_verdicts(root, day, n_findings, lacking, statuses):
    """Read what is known of each study of the night `day`, as `verdict_of` says it: {study: verdict}.

    n_findings : {study with findings of tonight: how many}. lacking : studies and tables of extra notebooks
    that have none, or cannot be read. statuses : as `read_statuses` gives them. A study that was run by hand
    left no records; if it has findings of tonight, it counts as one that ended well.
    """
    names = [*n_findings, *(name for name in dict.fromkeys(lacking) if name not in n_findings)]
    verdicts = {}
    for study in (
        name for name in names if name in n_findings or not any(_is_page(name, of) for of in names)
    ):
        runs = {step: read_run(root / "reports" / day, study, step) for step in steps_of(study)}
        outcomes = without_pages({step: run["outcome"] for step, run in runs.items()}, study)
        ended = steps_of_tonight(outcomes)
        status = statuses.get(study, {"state": "", "night": ""})
        of_tonight = study in n_findings or status["night"] == day
        whole = study in n_findings and not any(name == study or _is_page(name, study) for name in lacking)
        verdicts[study] = verdict_of(
            complete=whole or (not of_tonight and len(ended) == 1 + len(outcomes) - len(STEPS)),
            state=status["state"],
            of_tonight=of_tonight,
            n_findings=n_findings.get(study, 0),
            n_judged=not judged_nothing(root / f"data/scores/{study}.parquet"),
            history=recorded_verdict(runs.values())[0],
        )
    return verdicts


def _is_page(name, study):
    """Whether `name` is that of the table of an extra notebook of the `study`."""
    return name.startswith(f"{study}_")


def judged_nothing(scores):
    """Whether the table of `scores` is there without a row; one that cannot be read is the failure of its
    study.
    """
    try:
        return pq.read_metadata(scores).num_rows == 0
    except (OSError, ValueError):
        return False


def gather_findings(tables):
    """Join tables of findings, as `read_tables` gives them, to one; without any row, an empty one with the
    columns of FINDING, table, night and kept.
    """
    if filled := [table for table in tables if len(table)]:
        return pd.concat(filled, ignore_index=True)
    columns = [*FINDING, "table", "night", "kept"]
    return pd.DataFrame(columns=columns).astype(dict.fromkeys(["start", "end"], "datetime64[us, UTC]"))
