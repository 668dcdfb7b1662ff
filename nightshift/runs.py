"""One run of a notebook and the record that it leaves for programs: how it ended, with which parameters, what
it recorded, what it wrote.

    python -m nightshift.runs notebooks/telemetry/4_analyse.ipynb --study telemetry \\
        --log reports/2026-01-31/telemetry/4_analyse.log --parameters '{}'

A record is one JSON object, `reports/<day>/<study>/<step>.json`; `record_path` says where. It is written when
the run begins and once more when it ends, so that a run that was stopped leaves one too. Whoever asks how a
step ended calls `read_run`; nobody but the renderer shows what executed notebooks hold.
"""

import argparse
import contextlib
import copy
import json
import logging
import os
import signal
import socket
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from nightshift.catalog import STEPS, is_mere_page, steps_of
from nightshift.parameters import declared
from nightshift.products import fingerprint, patterns_of, products_of, read_notebook
from nightshift.wording import SEQUENCES, one_line

HISTORY, REJECTED, UNCALIBRATED = "too little history", "most records rejected", "not calibrated"
RESERVATIONS = (REJECTED, HISTORY, UNCALIBRATED)  # verdicts that a study records of itself, the gravest first
MIME = "application/vnd.nightshift+json"
# name under which files of the source are recorded that may not have been whole, {path: [size, time in ns]}
JUST_WRITTEN = "just_written"
VERSION = 1  # of a record: goes up when a key changes its meaning or goes away
LONGEST_LOG = 10_000_000  # bytes; a night prints some thousands
REDACTED_OF_LONGEST = 1_000_000  # characters, its last, that stay of such a log where its step has failed
STOPPED = "it was stopped before it ended"


# ------------------------------------------------------------------------------------ what a notebook records


def record(name, value):
    """Record `value`, anything that JSON holds, under `name` in the record of this run; nothing is shown.

    Names that the reports read: `verdict` ("ok" or one of RESERVATIONS), `verdict_reason` (one sentence),
    `warnings` (see `warn`). A name that is recorded twice keeps its last value.
    """
    from IPython.display import display

    display({MIME: {"name": name, "value": value}}, raw=True)


def warn(sentence):
    """Show `sentence`, one line of plain text, and add it to the warnings of this run: the front page, the
    mail and the shell repeat it.
    """
    from helpers import show_sentence

    show_sentence("**Warning:** {text}", text=sentence)
    record("warnings", sentence)


def recorded_verdict(runs):
    """Return the (verdict, reason) that a study recorded of itself, the gravest one of its `runs`, which are
    as `read_run` gives them; ("", "") where none recorded one.
    """
    recorded = [
        (one.get("verdict"), one.get("verdict_reason") or "") for one in (run["values"] for run in runs)
    ]
    for verdict in (*RESERVATIONS, "ok"):
        for found, reason in recorded:
            if found == verdict:
                return verdict, str(reason)
    return "", ""


def recorded(notebook):
    """Collect what the executed `notebook`, a dict, recorded: {name: value}; `warnings` is the list of all
    warnings.
    """
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


# -------------------------------------------------------------------------------------------- how a run ended


def record_path(report, study, step):
    """Where the record of a step lies below the folder `report` of a night; `study` is "" for the sample
    (step "simulate") and for the digest.

    These two have `_run` in their names, since digest.json is what the night tells other programs.
    """
    return Path(report) / study / f"{step}.json" if study else Path(report) / f"{step}_run.json"


def notebook_path(report, study, step):
    """Where the executed notebook of a step lies below the folder `report` of a night."""
    return Path(report) / study / f"{step}.ipynb"


def read_run(report, study, step):
    """Read how the run of a step ended: a dict. This is the one reader of records.

    outcome : "ok", "failed" or "not run". error : one line of at most 300 characters, "" unless it failed.
    cell : number of the cell that failed, as in `In [7]`, or None; has_cell : whether that cell shows the
    error. parameters : {name: value} of all that the notebook declares; given : those that the chain set.
    started, ended : ISO 8601 in UTC, or None; seconds : between them, or None. values : what the notebook
    recorded, `warnings` always among it. products : {path below the products folder: {"size", "mtime_ns",
    "sha256"}}. A night that was published before there were records is read from its executed notebook. A
    record that cannot be read is a failure and says so.
    """
    path, nothing = record_path(report, study, step), copy.deepcopy(NOTHING)
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if not fits(run):
            raise ValueError("it is no record of this version")
    except FileNotFoundError:
        executed = read_notebook(notebook_path(report, study, step))
        return nothing | (run_of(executed) if executed else {})
    except (OSError, ValueError, RecursionError) as error:
        return nothing | {
            "outcome": "failed",
            "error": one_line(f"its record {path.name} cannot be read: {error}"),
        }
    if run["outcome"] == "running":
        run |= {
            "outcome": "failed",
            "error": "it has not ended yet" if is_alive(run.get("process")) else STOPPED,
        }
    values = nothing["values"] | run.get("values", {})
    return nothing | {name: run[name] for name in NOTHING if name in run} | {"values": values}


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
    "values": {"warnings": []},
    "products": {},
}  # what `read_run` returns of a step that did not run
MAY_BE_NONE = {"cell": int, "started": str, "ended": str, "seconds": int | float}


def outcomes_of(report, study):
    """{step: ok, failed or not run} of a study on the night whose records lie below `report`; its mere pages,
    which its findings do not need, are left out.
    """
    outcomes = {step: read_run(report, study, step)["outcome"] for step in steps_of(study)}
    return without_pages(outcomes, study)


def without_pages(outcomes, study):
    """Leave out of {step: ok, failed or not run} the mere pages of a study."""
    return {step: outcome for step, outcome in outcomes.items() if not is_mere_page(study, step)}


def steps_of_tonight(outcomes):
    """Names of the steps of one study whose findings are of this night, given {step: ok, failed or not
    run}: its analysis, unless a step of the chain has failed, and extra notebooks that ended well.
    """
    analysed = outcomes.get(STEPS[-1]) == "ok" and "failed" not in [outcomes.get(step) for step in STEPS]
    extra = [step for step, outcome in outcomes.items() if step not in STEPS and outcome == "ok"]
    return [STEPS[-1], *extra] if analysed else extra


def failed_since(report, moment):
    """Whether a record below the folder `report` says that a step failed at `moment`, ISO 8601 in UTC, or
    later.
    """
    for path in [*Path(report).glob("*/*.json"), *Path(report).glob("*_run.json")]:
        study, step = (
            (path.parent.name, path.stem)
            if path.parent != Path(report)
            else ("", path.stem.removesuffix("_run"))
        )
        run = read_run(report, study, step)
        if run["outcome"] == "failed" and max(run["ended"] or "", run["started"] or "") >= moment:
            return True
    return False


def end_unrun(report, study, step, reason):
    """Write a record that a step failed without having run, for this `reason`, and remove the notebook of an
    earlier run.
    """
    notebook_path(report, study, step).unlink(missing_ok=True)
    now = iso(datetime.now(UTC))
    run = NOTHING | {
        "version": VERSION,
        "study": study,
        "step": step,
        "outcome": "failed",
        "error": one_line(f"it did not run: {reason}"),
    }
    write_record(
        run | {"values": {"warnings": []}, "started": now, "ended": now, "seconds": 0.0},
        record_path(report, study, step),
    )


def fits(run):
    """Whether `run`, read from a file, is a record of this version: its keys hold what they should."""
    if (
        not isinstance(run, dict)
        or run.get("outcome") not in ("running", "ok", "failed")
        or run.get("version") != VERSION
    ):
        return False
    kinds = {name: MAY_BE_NONE.get(name, type(value)) for name, value in NOTHING.items()}
    may_be_none = [name for name in MAY_BE_NONE if run.get(name) is None]
    if not all(
        isinstance(run[name], kinds[name]) for name in kinds if name in run and name not in may_be_none
    ):
        return False
    return isinstance(run.get("values", {}).get("warnings", []), list)


def run_of(notebook):
    """What the executed `notebook`, a dict, tells of its run: the keys of `read_run` but `products`."""
    error, cell = error_in(notebook)
    ran = notebook["metadata"].get("papermill", {})
    parameters = ran.get("parameters") or {}
    return {
        "outcome": "failed" if error else "ok",
        "error": error,
        "cell": cell,
        "has_cell": cell is not None,
        "parameters": defaults_of(notebook) | parameters,
        "given": parameters,
        "started": ran.get("start_time"),
        "ended": ran.get("end_time"),
        "seconds": ran.get("duration"),
        "values": recorded(notebook),
    }


def defaults_of(notebook):
    """{name: default} of the parameters that `notebook`, a dict, declares; none that nobody can read."""
    try:
        return {one.name: one.default for one in declared(notebook)}
    except (ValueError, SyntaxError):
        return {}


def error_in(notebook):
    """(one line, number of its cell) for an executed notebook that failed, ("", None) for one that ended
    well.

    papermill 2.7.0 marks a notebook as completed whose kernel has died: what tells is a cell with code that
    it never executed.
    """
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return one_line(f"{output['ename']}: {output['evalue']}"), cell.get("execution_count")
    code = [
        cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]
    asked = [cell for cell in code if "papermill" in cell["metadata"]]
    ended = notebook["metadata"].get("papermill", {}).get("end_time")
    return ("", None) if ended and all(cell.get("execution_count") for cell in asked) else (STOPPED, None)


def this_process():
    """What tells this process from all others: machine, number and the moment it began (numbers are used
    again).
    """
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def is_alive(process):
    """Whether the `process`, as `this_process` describes it, still runs here; one of another machine counts
    as ended.
    """
    import psutil

    try:
        same = process["host"] == socket.gethostname()
        return same and abs(psutil.Process(process["pid"]).create_time() - process["began"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


# ----------------------------------------------------------------------------------------- running a notebook


class Stopped(BaseException):
    """The run was asked to end, by a signal."""


def execute(notebook, report, study, parameters, *, products, later=()):
    """Execute the notebook at the path `notebook` and write its record; returns the record, whose outcome is
    "ok" or "failed".

    report : folder of the night. study : "" for the sample and the digest. parameters : {name: value} that
    the notebook is given, as JSON has them. products : folder below which it writes. later : names of the
    steps that this one makes out of date; their notebooks and records are removed.

    Its kernel is the Python that runs this, whatever Jupyter knows as python3. Everything that papermill and
    the kernel print goes to a .log file beside the executed notebook, and a line of progress every few
    seconds to standard output.
    """
    report, step = Path(report), Path(notebook).stem
    for name in [step, *later]:
        for path in (record_path(report, study, name), notebook_path(report, study, name)):
            path.unlink(missing_ok=True)
    started = datetime.now(UTC)
    run = NOTHING | {
        "version": VERSION,
        "study": study,
        "step": step,
        "outcome": "running",
        "process": this_process(),
    }
    run |= {
        "given": parameters,
        "parameters": defaults_of(read_notebook(notebook) or {"cells": []}) | parameters,
        "started": iso(started),
    }
    write_record(run, record_path(report, study, step))
    executed = notebook_path(report, study, step)
    error, cell, has_cell = failure_of(notebook, executed, parameters, f"{study}/{step}" if study else step)
    error = keep_private(error, executed) if error else ""
    ended = datetime.now(UTC)
    patterns = [pattern.format(day=parameters.get("day", "")) for pattern in patterns_of(study, step)]
    # a model that was kept counts as the step's, however old it is; some disks round times to two seconds
    since = 0.0 if step == "3_train" else started.timestamp() - 2
    written = products_of(products, patterns, since=since)
    run |= {
        "outcome": "failed" if error else "ok",
        "error": error,
        "cell": cell,
        "has_cell": has_cell,
        "ended": iso(ended),
        "seconds": round((ended - started).total_seconds(), 3),
        "values": recorded(read_notebook(executed) or {"cells": []}),
        "products": {path.relative_to(products).as_posix(): fingerprint(path) for path in written},
    }
    write_record(run, record_path(report, study, step))
    return run


def failure_of(notebook, executed, parameters, title):
    """Execute `notebook` to the path `executed` and say what failed: (one line, number of the cell, whether
    the cell shows it); ("", None, False) if it ended well.
    """
    import papermill

    from nightshift import engine
    from nightshift.kernel import ENDED_WELL, Kernel

    Kernel.processes.clear()
    try:
        with logged(executed.with_suffix(".log")) as progress:
            papermill.execute_notebook(
                notebook,
                executed,
                parameters=parameters,
                kernel_name="python3",
                language="python",
                kernel_manager_class=Kernel,
                engine_name=engine.NAME,
                autosave_cell_every=3,
                progress_bar={
                    "bar_format": f"{title}: {{n_fmt}} of {{total_fmt}} cells, {{elapsed}}\n",
                    "mininterval": 3,
                    "file": progress,
                },
            )
    except papermill.PapermillExecutionError as error:
        return one_line(f"{error.ename}: {error.evalue}"), error.exec_count, True
    except Stopped as error:
        return f"{STOPPED}: {error}", None, False
    except Exception as error:  # whatever nbclient, zmq or the disk raises ends this step, and no other
        died = Kernel.death()
        if died == ENDED_WELL and type(error).__name__ != "DeadKernelError":
            died = ""  # the kernel was asked to end, and the error came while it did
        cell = last_cell(read_notebook(executed)) if died else None
        at = f" in cell {cell}" if cell else ""
        return (
            (f"the kernel died{at}: {died}" if died else one_line(f"{type(error).__name__}: {error}")),
            cell,
            False,
        )
    line, cell = error_in(read_notebook(executed) or {"cells": [], "metadata": {}})
    return line, cell, cell is not None


def last_cell(notebook):
    """Number, as in `In [7]`, of the last cell with code that the executed `notebook`, a dict or None, began;
    None where none did.
    """
    begun = [
        cell
        for cell in (notebook or {"cells": []})["cells"]
        if cell["cell_type"] == "code"
        and "".join(cell["source"]).strip()
        and cell["metadata"].get("papermill", {}).get("start_time")
    ]
    return len(begun) or None


def keep_private(error, executed):
    """Return the line `error` without what it says of people, and take that out of the errors and printed
    lines of the `executed` notebook and of its log: they lie where pages are published. Of a log that was cut
    to LONGEST_LOG only the last REDACTED_OF_LONGEST characters stay.
    """
    from nightshift.privacy import redact  # which needs pandas

    def shown(text):
        if isinstance(text, list):
            return [shown(one) for one in text]
        plain = SEQUENCES.sub("", text)
        return text if (private := redact(plain)) == plain else private

    if (notebook := read_notebook(executed)) is not None:
        for output in (one for cell in notebook["cells"] for one in cell.get("outputs", [])):
            output |= {key: shown(output[key]) for key in ("evalue", "traceback", "text") if key in output}
        write_record(notebook, executed)
    log = executed.with_suffix(".log")
    if log.exists():
        text = log.read_text(encoding="utf-8", errors="replace")
        if log.stat().st_size >= LONGEST_LOG:  # in whole lines, since half a name would not be known for one
            text = text[-REDACTED_OF_LONGEST:].partition("\n")[2]
        log.write_text("".join(map(shown, text.splitlines(keepends=True))), encoding="utf-8")
    return redact(error)


@contextlib.contextmanager
def logged(path):
    """Send what this process, papermill and the kernel print to the file at `path`; yield where lines of
    progress are written, which are shown too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("papermill")
    try:
        with (
            open(path, "wb", buffering=0) as log,
            open(kept[0], "w", closefd=False, errors="replace") as shown,
        ):
            for number in (1, 2):
                os.dup2(log.fileno(), number)
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            yield Progress(shown)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        logger.removeHandler(handler)
        for number, file in zip((1, 2), kept, strict=True):
            os.dup2(file, number)
            os.close(file)
        with contextlib.suppress(OSError):  # of a full disk, which the step has said itself
            without_sequences(path)


def without_sequences(path):
    """Take out of the log at `path` what a terminal would act on: whoever shows it sees plain text. A longer
    one than LONGEST_LOG keeps its end only.
    """
    with open(path, "rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(size - LONGEST_LOG, 0))
        text = log.read().decode("utf-8", errors="replace")
    plain = SEQUENCES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    if size > LONGEST_LOG:  # in whole lines, since half a name would not be known for one
        plain = plain.partition("\n")[2]
    if plain != text or size > LONGEST_LOG:
        path.write_text(plain, encoding="utf-8")


class Progress:
    """A file for a progress bar: every line goes to the log, those that count cells are shown as well."""

    encoding = "utf-8"

    def __init__(self, shown):
        self.shown = shown

    def write(self, text):
        sys.stderr.write(text)
        if " cells, " in text:
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                self.shown.write(text.strip() + "\n")
                self.shown.flush()

    def flush(self):
        sys.stderr.flush()

    def isatty(self):
        return False


def iso(at):
    """Write the datetime `at`, in UTC, as ISO 8601 to the millisecond."""
    return at.isoformat(timespec="milliseconds")


def write_record(run, path):
    """Write the record `run`, a dict, to `path` as JSON, atomically; what JSON does not hold, such as NaN,
    becomes text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # named as by `atomic` of helpers.py, so that what a crash leaves is swept away with the rest
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        text = json.dumps(run, indent=1, allow_nan=False, default=str)
    except ValueError:  # a recorded value is NaN
        text = json.dumps(json.loads(json.dumps(run, default=str), parse_constant=str), indent=1)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def main():
    """Run one notebook as the command line says; returns the exit code, 1 where it failed, and ends with 2
    where its arguments or parameters cannot be read.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument(
        "--log",
        type=Path,
        required=True,
        help="reports/DAY/STUDY/STEP.log; record and notebook stand beside it",
    )
    parser.add_argument("--products", type=Path, default=Path(), help="folder below which it writes")
    parser.add_argument("--study", default="", help="empty for the sample and the digest")
    parser.add_argument("--parameters", default="{}", help="parameters as one JSON object")
    parser.add_argument("--later", nargs="*", default=[], help="steps that this one makes out of date")
    options = parser.parse_args()
    try:
        parameters = json.loads(options.parameters, parse_constant=refuse_constant)
        if not isinstance(parameters, dict):
            raise ValueError("they are no JSON object")
    except ValueError as error:
        parser.error(f"the parameters cannot be read: {error}")
    os.environ |= {
        "NIGHTSHIFT_RUN": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }  # see tryout.py; paths of this environment before those of the user
    signal.signal(signal.SIGTERM, stop_run)
    signal.signal(signal.SIGINT, stop_run)
    report = options.log.parent.parent if options.study else options.log.parent
    run = execute(
        options.notebook, report, options.study, parameters, products=options.products, later=options.later
    )
    return int(run["outcome"] != "ok")


def refuse_constant(name):
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(f"{name} is no number")


def stop_run(number, frame):
    """End the run because of the signal `number`."""
    raise Stopped(f"signal {number} ({signal.Signals(number).name})")


if __name__ == "__main__":
    sys.exit(main())
