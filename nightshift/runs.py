"""One run of a notebook and the record that it leaves for programs: how it ended, with which parameters, what it recorded, what it wrote.

    python -m nightshift.runs notebooks/telemetry/4_analyse.ipynb --report reports/2026-01-31 --study telemetry '{"day": "2026-01-31"}'

A record is one JSON object, `reports/<day>/<study>/<step>.json`; `record_path` says where. It is written when the run begins and once more when it
ends, so that a run that was stopped leaves one too. Who asks how a step ended calls `read_run`; nobody but the renderer reads executed notebooks.
"""

import json
import os
import re
import socket
from pathlib import Path

from nightshift.parameters import declared

MIME = "application/vnd.nightshift+json"
VERSION = 1  # of a record: goes up when a key changes its meaning or goes away
MAX_ERROR = 300  # characters of the line that says what went wrong
STOPPED = "it was stopped before it ended"


# ------------------------------------------------------------------------------------------- what a notebook records


def record(name, value):
    """Record `value`, anything that JSON holds, under `name` in the record of this run; nothing is shown.

    Names that the reports read: `verdict` ("ok" or "too little history"), `verdict_reason` (one sentence), `warnings` (see `warn`).
    A name that is recorded twice keeps its last value.
    """
    from IPython.display import display

    display({MIME: {"name": name, "value": value}}, raw=True)


def warn(sentence):
    """Show `sentence`, one line of plain text, and add it to the warnings of this run: the front page, the mail and the shell repeat it."""
    from helpers import say

    say("**Warning:** {sentence}", sentence=sentence)
    record("warnings", sentence)


def recorded(notebook):
    """Values that the executed `notebook`, a dict, recorded: {name: value}; `warnings` is the list of all of them."""
    values = {"warnings": []}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            one = (output.get("data") or {}).get(MIME)
            if not isinstance(one, dict) or "name" not in one:
                continue
            if one["name"] == "warnings":
                values["warnings"].append(str(one["value"]))
            else:
                values[one["name"]] = one["value"]
    return values


# ---------------------------------------------------------------------------------------------------- how a run ended


def record_path(report, study, step):
    """Where the record of a step lies below the folder `report` of a night; `study` is "" for the sample (step "simulate") and for the digest.

    These two have `_run` in their names, since digest.json is what the night tells other programs.
    """
    return Path(report) / study / f"{step}.json" if study else Path(report) / f"{step}_run.json"


def notebook_path(report, study, step):
    """Where the executed notebook of a step lies below the folder `report` of a night."""
    return Path(report) / study / f"{step}.ipynb"


def read_run(report, study, step):
    """How the run of a step ended, as a dict; the one reader of records.

    outcome : "ok", "failed" or "not run". error : one line of at most 300 characters, "" unless it failed. cell : number of the cell that failed, as in
    `In [7]`, or None; has_cell : whether one is known. parameters : {name: value} of all that the notebook declares; given : those that the chain
    set. started, ended : ISO 8601 in UTC, or None; seconds : between them, or None. values : what the notebook recorded, `warnings` always among it.
    products : {path below the products folder: {"size", "mtime_ns", "sha256"}}. A night that was published before there were records is read from its
    executed notebook. A record that cannot be read is a failure and says so.
    """
    path = record_path(report, study, step)
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if not fits(run):
            raise ValueError("it is no record of this version")
    except FileNotFoundError:
        executed = read_notebook(notebook_path(report, study, step))
        return NOTHING | {"values": {"warnings": []}} | (run_of(executed) if executed else {})
    except (OSError, ValueError) as error:
        return NOTHING | {"values": {"warnings": []}, "outcome": "failed", "error": one_line(f"its record {path.name} cannot be read: {error}")}
    if run["outcome"] == "running":
        run |= {"outcome": "failed", "error": "it has not ended yet" if is_alive(run.get("process")) else STOPPED}
    return NOTHING | {name: run[name] for name in NOTHING if name in run} | {"values": {"warnings": []} | run.get("values", {})}


NOTHING = {
    "outcome": "not run",
    "error": "",
    "cell": None,
    "has_cell": False,
    "parameters": {},
    "given": {},
    "started": None,
    "ended": None,
    "seconds": None,
    "values": {},
    "products": {},
}  # what `read_run` returns of a step that did not run
MAY_BE_NONE = {"cell": int, "started": str, "ended": str, "seconds": int | float}


def fits(run):
    """Whether `run`, read from a file, is a record of this version: its keys hold what they should."""
    if not isinstance(run, dict) or run.get("outcome") not in ("running", "ok", "failed") or run.get("version") != VERSION:
        return False
    kinds = {name: MAY_BE_NONE[name] | None if name in MAY_BE_NONE else type(value) for name, value in NOTHING.items()}
    return all(isinstance(run[name], kind) for name, kind in kinds.items() if name in run)


def read_notebook(path):
    """The executed notebook at `path` as a dict; None when it does not exist, is no notebook or was cut off while being written."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        return notebook if isinstance(notebook["cells"], list) and isinstance(notebook["metadata"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_of(notebook):
    """What the executed `notebook`, a dict, tells of its run: the keys of `read_run` but `products`."""
    error, cell = error_in(notebook)
    ran = notebook["metadata"].get("papermill", {})
    given = ran.get("parameters") or {}
    return {
        "outcome": "failed" if error else "ok",
        "error": error,
        "cell": cell,
        "has_cell": cell is not None,
        "parameters": defaults_of(notebook) | given,
        "given": given,
        "started": ran.get("start_time"),
        "ended": ran.get("end_time"),
        "seconds": ran.get("duration"),
        "values": recorded(notebook),
    }


def defaults_of(notebook):
    """{name: default} of the parameters that `notebook`, a dict, declares; none where nobody can read them."""
    try:
        return {one.name: one.default for one in declared(notebook)}
    except (ValueError, SyntaxError):
        return {}


def error_in(notebook):
    """(one line, number of its cell) for an executed notebook that failed, ("", None) for one that ended well.

    papermill 2.7.0 marks a notebook as completed whose kernel has died: what tells is a cell with code that was never executed.
    """
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return one_line(f"{output['ename']}: {output['evalue']}"), cell.get("execution_count")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    ended = notebook["metadata"].get("papermill", {}).get("end_time")
    return ("", None) if ended and all(cell.get("execution_count") for cell in code) else (STOPPED, None)


def one_line(text):
    """`text` on one line, of at most MAX_ERROR characters, without the colours of a terminal."""
    line = " ".join(re.sub("\x1b\\[[0-9;]*m", "", str(text)).split())
    return line if len(line) <= MAX_ERROR else f"{line[: MAX_ERROR - 4].rstrip()} ..."


def this_process():
    """What tells this process from all others: machine, number and the moment it began (numbers are given again)."""
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def is_alive(process):
    """Whether the `process`, as `this_process` describes it, still runs here; one of another machine counts as ended."""
    import psutil

    try:
        same = process["host"] == socket.gethostname()
        return same and abs(psutil.Process(process["pid"]).create_time() - process["began"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
