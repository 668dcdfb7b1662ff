"""What people tried and whether it worked: a table that only grows, each row sealed with its past."""

import csv
import difflib
import fcntl
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import atomic, project_path
from nightshift import former_names
from nightshift.remediation.knowledge import kind_for, read_remediations

FEEDBACK_FILE = "feedback/feedback.csv"  # below the products folder
COLUMNS = ["at", "incident", "kind", "site", "remediation", "worked", "by", "checksum"]


class UnknownIncident(ValueError):
    """No night of the archive has the incident."""


def read_feedback(path):
    """(feedback, trouble): the rows of feedback.csv that are as they were written, and in one line what is
    wrong with the rest, "" if nothing.

    feedback : one row each: at, incident, kind, site, remediation, by (text), worked (bool); none where there
    is no file. Once a row was changed, moved or lost, it and all later ones do not count: nobody knows what
    else was. A last line without its end is still being written.
    """
    try:
        rows, trouble, _ = _replay(Path(path))
    except OSError as error:
        rows, trouble = [], f"{Path(path).name} cannot be read ({error.strerror}), so no feedback counts"
    feedback = pd.DataFrame(rows, columns=COLUMNS, dtype="str").drop(columns="checksum")
    return feedback.assign(worked=(feedback.worked == "worked").astype(bool)), trouble


def _replay(path):
    """(rows that are as written, each a list of texts; what is wrong; length of a torn last line, bytes)."""
    last = path.with_suffix(".last")  # read before the table, which may grow meanwhile
    newest = last.read_text(encoding="utf-8", errors="replace") if last.exists() else ""
    data = path.read_bytes() if path.exists() else b""
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace"), newline=""))
    rows, wrong = [], ""
    try:
        for row in reader:
            first = reader.line_num == 1
            if row and (
                not is_header(row) if first else row[-1] != _seal(row[:-1], rows) or len(row) != len(COLUMNS)
            ):
                wrong = (
                    "names other columns" if first else "was changed or moved, or what came before it is lost"
                )
                break
            rows += [row] if row and not first else []
    except csv.Error as error:
        wrong = f"cannot be read ({error})"
    torn = len(data) - data.rfind(b"\n") - 1 if wrong and reader.line_num > data.count(b"\n") else 0
    wrong = "" if torn else wrong
    if wrong:
        wrong = (
            f"{path.name} line {reader.line_num} {wrong}; only the feedback before it counts ({len(rows)})"
        )
    elif newest and newest not in (f"{number} {row[-1]}\n" for number, row in enumerate(rows, 1)):
        wrong = (
            f"{path.name} ends with row {len(rows)}, which is not that which {last.name} says was the last: "
            "its end was removed or replaced"
        )
    return rows, wrong, torn


def is_header(row):
    """Whether a row names the columns of the table, be it by their former names."""
    return [former_names.FEEDBACK_COLUMNS.get(name, name) for name in row] == COLUMNS


def _seal(texts, rows):
    """Checksum of a row's texts and of the row before; of the values, since table programs change quotes
    and line ends without harm.
    """
    return hashlib.sha256(json.dumps([rows[-1][-1] if rows else "", *texts]).encode()).hexdigest()


def as_cell(text, length=80):
    """`text` as one cell that no table program takes for a formula: one line, printable, at most `length`
    characters, ' before = + - and @.
    """
    text = "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:length]
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def record_feedback(incident, remediation, worked, by="", products="", remediations=""):
    """Append to <products>/feedback/feedback.csv whether `remediation` worked (bool) for `incident`; returns
    the row as a dict, and `remediations`.

    remediations : file of proposals; empty is that of the digest that told of the incident last. ValueError
    in one line for an incident or remediation that is not known, a remediation that is not for its kinds, a
    table that somebody changed; OSError when it cannot be written: the table stays as it was. The last
    feedback on an incident and a remediation counts, so that a mistake can be corrected.
    """
    if not isinstance(worked, bool | np.bool_):
        raise ValueError(f"worked is {worked!r}: it must be True or False")
    root = project_path(products)
    about = find_incident(root / "data/incidents", str(incident))
    path = project_path(remediations or about["remediations"])
    by_id = {one["id"]: one for one in read_remediations(path)}
    kinds = {name: kind for name, one in by_id.items() if (kind := kind_for(one, about))}
    if remediation not in by_id:
        nearest = ", ".join(difflib.get_close_matches(str(remediation), by_id, cutoff=0))
        raise ValueError(f"there is no remediation {str(remediation)[:60]!r}; the nearest: {nearest}")
    if remediation not in kinds:
        raise ValueError(
            f"{remediation} is not for {', '.join(about['kinds'])}; for it are: "
            f"{', '.join(kinds) or f'none, add one to {path.name}'}"
        )
    row = [
        f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ}",
        about["incident"],
        kinds[remediation],
        as_cell(about["site"]),
        remediation,
        "worked" if worked else "failed",
        as_cell(by),
    ]
    try:
        _append(root / FEEDBACK_FILE, row)
    except OSError as error:
        raise OSError(f"{root / FEEDBACK_FILE}: {error.strerror or error}; nothing was recorded") from None
    return dict(zip(COLUMNS, row, strict=False)) | {"remediations": str(path)}


def find_incident(folder, incident):
    """The incident as a dict: incident, site, age_nights and remediations (its file of proposals) of the
    newest night; kinds, studies of all nights. UnknownIncident names the nearest where there is none.

    folder : data/incidents. All kinds count, since a leak of last night may be a full memory tonight, and
    what was tried for the one is still feedback. A night that cannot be read is skipped, with a line on
    stderr.
    """
    seen, nights = set(), []
    for path in sorted(folder.glob("????-??-??.parquet"), reverse=True):
        try:
            night = former_names.rename_table(pd.read_parquet(path))
            night = night[["incident", "kinds", "studies", "site", "age_nights"]]
            digest = (
                json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
                if path.with_suffix(".json").exists()
                else {}
            )
            if not isinstance(digest, dict):
                raise ValueError(f"{path.stem}.json holds no object")
        except (OSError, ValueError, KeyError) as error:  # all that Arrow, pandas and JSON raise are of these
            print(
                f"nightshift: the night {path.stem} is skipped, it cannot be read: "
                f"{' '.join(str(error).split())[:150]}",
                file=sys.stderr,
            )
            continue
        nights += [
            {"remediations": digest.get("remediations") or "remediations.yaml"} | one
            for one in night[night.incident == incident].to_dict("records")
        ]
        seen |= set(night.incident)
    if nights:
        return nights[0] | {
            column: list(dict.fromkeys(one for night in nights for one in night[column]))
            for column in ("kinds", "studies")
        }
    nearest = difflib.get_close_matches(incident, sorted(seen), cutoff=0) or [
        f"none, for the digest left none in {folder}"
    ]
    raise UnknownIncident(f"there is no incident {incident[:60]!r}; the nearest: {', '.join(nearest)}")


def _append(path, texts):
    """Seal and append a row, all or nothing: it is on the disk when this returns. A torn last line moves
    to feedback.torn.
    """
    path.parent.mkdir(exist_ok=True)
    with open(path, "ab", buffering=0) as file:
        # others wait; the system ends the lock however this process ends
        fcntl.flock(file, fcntl.LOCK_EX)
        rows, trouble, torn = _replay(path)
        if trouble:
            raise ValueError(
                f"{trouble}. Nothing was recorded: restore {path.parent} from a copy, or move it away to "
                "begin anew"
            )
        data = path.read_bytes()
        size = len(data) - torn
        if torn:
            path.with_suffix(".torn").write_bytes(data[size:])
            file.truncate(size)
        row, text = [*texts, _seal(texts, rows)], io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [[]] * (data[size - 1 : size] not in (b"", b"\n")) + ([row] if size else [COLUMNS, row])
        )
        rest = text.getvalue().encode()
        try:
            while rest:  # a disk that is nearly full takes a part, and refuses the next
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
            with atomic(path.with_suffix(".last")) as temporary:
                temporary.write_text(f"{len(rows) + 1} {row[-1]}\n")
        except OSError:
            file.truncate(size)
            raise
