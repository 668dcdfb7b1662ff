"""Records of runs: how they are read, what they say of a run that died, and what nights without records tell."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from conftest import REPOSITORY

from nightshift.runs import (
    MIME,
    STOPPED,
    error_in,
    main,
    one_line,
    outcomes_of,
    read_run,
    record_path,
    recorded,
    steps_of_tonight,
    this_process,
    warn,
)

GOOD = {"version": 1, "outcome": "ok", "error": "", "cell": None, "has_cell": False, "parameters": {"rate": 5e-05}, "given": {}, "seconds": 1.5}


def written(report, run, study="left", step="4_analyse"):
    path = record_path(report, study, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(run if isinstance(run, str) else json.dumps(run))
    return read_run(report, study, step)


def notebook(*cells, ended="2026-02-01T01:00:00+00:00", parameters=None):
    """An executed notebook of a parameters cell and `cells`: (code, execution count, outputs)."""
    first = {"cell_type": "code", "source": "rate: float = 0.5  # share; in (0, 1)\n", "execution_count": 1, "outputs": []}
    made = [first | {"metadata": {"tags": ["parameters"]}}]
    made += [
        {"cell_type": "code", "source": code, "execution_count": count, "outputs": outputs, "metadata": {"papermill": {}}}
        for code, count, outputs in cells
    ]
    return {"cells": made, "metadata": {"papermill": {"end_time": ended, "duration": 2.0, "parameters": parameters or {}}}}


def test_a_record_comes_back_as_it_was_written(tmp_path):
    run = written(tmp_path, GOOD)
    assert (run["outcome"], run["seconds"], run["parameters"], run["values"]) == ("ok", 1.5, {"rate": 5e-05}, {"warnings": []})
    assert read_run(tmp_path, "left", "3_train")["outcome"] == "not run"
    assert record_path(tmp_path, "", "digest").name == "digest_run.json", "digest.json is what the night tells other programs"


@pytest.mark.parametrize("text", ["", "{", "[]", '"ok"', '{"outcome": "ok"}', json.dumps(GOOD | {"version": 2}), json.dumps(GOOD | {"values": 3})])
def test_a_record_that_nobody_can_read_is_a_failure_and_says_so(tmp_path, text):
    run = written(tmp_path, text)
    assert run["outcome"] == "failed"
    assert run["error"].startswith("its record 4_analyse.json cannot be read: ")
    assert run["values"] == {"warnings": []}


def test_a_run_whose_process_has_ended_was_stopped(tmp_path):
    running = GOOD | {"outcome": "running"}
    for gone in ({}, {"process": None}, {"process": this_process() | {"began": 1.0}}, {"process": this_process() | {"host": "elsewhere"}}):
        run = written(tmp_path, running | gone)
        assert (run["outcome"], run["error"]) == ("failed", STOPPED)
    run = written(tmp_path, running | {"process": this_process()})
    assert (run["outcome"], run["error"]) == ("failed", "it has not ended yet")
    assert this_process()["pid"] == os.getpid()


def test_a_night_without_records_is_read_from_its_notebooks(tmp_path):
    (tmp_path / "left").mkdir()
    value = {"output_type": "display_data", "data": {MIME: {"name": "headline", "value": "All is well."}}}
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no\nrows", "traceback": []}
    for executed, outcome, line, cell in [
        (notebook(("x", 2, [value])), "ok", "", None),
        (notebook(("x", 2, [error]), ("y", None, [])), "failed", "ValueError: no rows", 2),
        (notebook(("x", None, []), ("y", None, [])), "failed", STOPPED, None),  # papermill says it is complete: the kernel died
        (notebook(("x", 2, []), ended=None), "failed", STOPPED, None),
    ]:
        (tmp_path / "left/4_analyse.ipynb").write_text(json.dumps(executed))
        run = read_run(tmp_path, "left", "4_analyse")
        assert (run["outcome"], run["error"], run["cell"], run["has_cell"]) == (outcome, line, cell, cell is not None)
        assert run["parameters"] == {"rate": 0.5}
    (tmp_path / "left/4_analyse.ipynb").write_text(json.dumps(notebook(("x", 2, [value]), parameters={"rate": 0.1})))
    run = read_run(tmp_path, "left", "4_analyse")
    assert (run["parameters"], run["values"]["headline"], run["seconds"]) == ({"rate": 0.1}, "All is well.", 2.0)
    (tmp_path / "left/4_analyse.ipynb").write_text('{"cells": [')
    assert read_run(tmp_path, "left", "4_analyse")["outcome"] == "not run"


def test_an_error_is_one_line_of_at_most_300_characters():
    assert one_line("\x1b[31mKernel\x1b[0m died\n  at once") == "Kernel died at once"
    assert len(one_line("word " * 200)) <= 300


def test_a_warning_is_shown_and_recorded(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda what, raw=False: shown.append(what if raw else what.data))
    warn("3 of 7 aliases fit nothing: a|b.")
    assert "3 of 7 aliases fit nothing" in shown[0]
    assert recorded({"cells": [{"outputs": [{"data": shown[1]}]}]}) == {"warnings": ["3 of 7 aliases fit nothing: a|b."]}


WORK = """from nightshift.runs import record
import os, signal, sys
record("rate", [rate, type(rate).__name__])
record("python", sys.executable)
record("not a number", float("nan"))
print("\\x1b]0;title\\x07mail of kora@x.example")
print("\\x1b[31mpassword=hunter2", file=sys.stderr)
os.system("printf '\\x1b[2J/home/klumbe/x of kora@x.example'")"""
DIES = "os.kill(os.getpid(), signal.SIGKILL)"


def test_a_kernel_that_is_killed_failed_whatever_papermill_says_and_ran_with_our_python(tmp_path):
    """With a kernelspec of the user that is called python3 and starts no kernel, and a value that YAML 1.1 would read as text."""
    spec = tmp_path / "home/.local/share/jupyter/kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "old", "language": "python"}))
    cells = [nbformat.v4.new_code_cell(code) for code in ("rate: float = 0.5  # share; in (0, 1)", WORK, DIES)]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "1_extract.ipynb")
    later = tmp_path / "report/left/2_preprocess.json"
    later.parent.mkdir(parents=True)
    later.touch()
    command = [sys.executable, "-m", "nightshift.runs", tmp_path / "1_extract.ipynb", "--log", tmp_path / "report/left/1_extract.log"]
    command += ["--study=left", "--products", tmp_path, "--parameters", '{"rate": 5e-05}', "--later", "2_preprocess"]
    settings = os.environ | {"HOME": str(tmp_path / "home"), "JUPYTER_PREFER_ENV_PATH": "0"}
    done = subprocess.run(command, cwd=REPOSITORY, env=settings, capture_output=True, text=True)
    run = read_run(tmp_path / "report", "left", "1_extract")
    assert done.returncode == 1, done.stderr
    assert "left/1_extract: " in done.stdout
    assert (run["outcome"], run["cell"], run["has_cell"]) == ("failed", 4, False)
    assert run["error"] == "the kernel died in cell 4: killed by signal 9 (SIGKILL), perhaps out of memory"
    assert run["values"]["rate"] == [5e-05, "float"]
    assert run["values"]["python"] == sys.executable
    assert run["values"]["not a number"] in ("nan", "NaN")
    assert (run["given"], run["parameters"]) == ({"rate": 5e-05}, {"rate": 5e-05})
    assert not later.exists(), "what was made from an earlier run of this step is not of tonight"
    executed = json.loads((tmp_path / "report/left/1_extract.ipynb").read_text())
    shown = json.dumps(executed["cells"][2]["outputs"]) + (tmp_path / "report/left/1_extract.log").read_text()
    assert ("mail of address" in shown, "password=secret" in shown, "/home/user/x of address" in shown) == (True, True, True)
    assert [one for one in ("kora@", "hunter2", "klumbe", "\x1b", "\x07") if one in shown] == []
    assert executed["metadata"]["papermill"]["end_time"], "papermill counts it as complete"


@pytest.mark.parametrize("parameters", ['{"rate": NaN}', '{"rate": Infinity}', "[1]", "{"])
def test_parameters_that_are_no_json_are_refused(parameters, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["runs", "x.ipynb", "--log", "x.log", "--parameters", parameters])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "the parameters cannot be read" in capsys.readouterr().err


def test_how_steps_ended_is_what_their_records_say(tmp_path):
    for step, outcome in {"1_extract": "ok", "2_preprocess": "failed", "3_train": "running"}.items():
        written(tmp_path, GOOD | {"outcome": outcome}, step=step)
    ended = outcomes_of(tmp_path, "left")
    assert ended == {"1_extract": "ok", "2_preprocess": "failed", "3_train": "failed", "4_analyse": "not run"}
    assert steps_of_tonight(ended | {"4_analyse": "ok", "5_extra": "ok"}) == ["5_extra"], "an analysis on what failed is not of tonight"


def test_an_error_in_a_cell_is_the_line_of_its_notebook():
    cell = {"outputs": [{"output_type": "error", "ename": "ValueError", "evalue": "no\nrows"}], "execution_count": 3}
    assert error_in({"cells": [cell], "metadata": {}}) == ("ValueError: no rows", 3)
    assert error_in({"cells": [], "metadata": {"papermill": {"end_time": None}}}) == ("it was stopped before it ended", None)
