"""A sweep of a toy study by the real command: killed twice and gone on with, compared, and its page in real Chromium."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, asked_outside, console_errors, set_width, show, tables_of

from helpers import write_json, write_parquet
from nightshift.products import fingerprint
from nightshift.runs import record_path, write_record

DAY, STUDY = "2026-01-31", "toy"
CODE = ("helpers.py", "nightshift", "templates", "notebooks/digest.ipynb", "notebooks/simulate.ipynb", "remediations.yaml", "sites.yaml")
PARAMETERS = """day: str = ""  # night
products: str = ""  # folder
source: str = "sample"  # of the data
width: int = 1  # of the network; in [1, 99]
rate: float = 0.1  # of learning; in (0, 1)
pause: float = 0.0  # seconds that training takes; in [0, inf)
"""
TRAINING = """import json, pathlib, time
import pandas as pd
from helpers import record_metrics, study_paths, write_parquet, write_test_errors
paths = study_paths("toy", products)
clean = pd.read_parquet(paths.clean)
assert not (paths.models / "metrics.json").exists(), "a run begins with the model of another"
assert width != 13, "13 is no width"
time.sleep(pause)
net = clean.x * (1 + 1 / width)
write_test_errors(paths.models, pd.DataFrame({"net": net, "mean": 4.0}), row=clean.name, group=clean.group, measure="absolute error")
losses = pd.DataFrame({"network": "net", "epoch": range(1, 6), "loss": 1.0, "validation_loss": [(1 + 1 / width) / e for e in range(1, 6)]})
write_parquet(losses, paths.models / "losses.parquet")
figures = {"metric": "mean absolute error", "baseline_name": "mean", "baseline": 4.0, "n_train": 4, "n_test": 4, "split": "by hand",
           "alarm_rate_stated": 0.01, "alarm_rate_observed": None}
models = [{"name": name, "model": float(value), "skill": 1 - value / 4, "skill_low": 0.9 - value / 4, "skill_high": 1.1 - value / 4,
           "in_use": name == "net", **figures} for name, value in (("net", net.mean()), ("mean", 4.0))]
record_metrics(paths.models / "metrics.json", study="toy", day=day, models=models)
"""


def write_notebook(path, code):
    cells = [nbformat.v4.new_markdown_cell("# Toy\n\nHow wide?")]
    cells += [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(code)]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository with one study of toy notebooks, and a night of it."""
    folder = tmp_path_factory.mktemp("swept")
    for name in CODE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    server = folder / "nightshift/forkserver.py"  # importing what real trainings need takes 4 s
    names = "'ipykernel.kernelapp', 'papermill', 'pandas', 'pyarrow.parquet'"
    server.write_text(re.sub(r"(?<=LIBRARIES = \()[^)]*", names, server.read_text()))
    for step in ("1_extract", "2_preprocess", "4_analyse"):
        write_notebook(folder / f"notebooks/{STUDY}/{step}.ipynb", "")
    write_notebook(folder / f"notebooks/{STUDY}/3_train.ipynb", TRAINING)
    described = {"title": "Toy", "question": "How <b>wide</b>?", "sample": ["toy.csv"], "kinds": {"drop": {"scope": "site"}}}
    (folder / f"notebooks/{STUDY}/study.yaml").write_text(yaml.safe_dump(described))
    (folder / "config.yaml").write_text(yaml.safe_dump({"day": DAY, "studies": {STUDY: {"extract": {"source": "sample"}, "train": {"rate": 0.2}}}}))
    write_json({}, folder / f"data/raw/{STUDY}/status.json")
    write_json({"models": ["of the night"]}, folder / f"models/{STUDY}/metrics.json")
    rows = pd.DataFrame({"name": list("abcd"), "group": [0, 0, 1, 1], "x": [1.0, 2.0, 3.0, 2.0]})
    write_parquet(rows, folder / f"data/clean/{STUDY}.parquet")
    for step, name in (("1_extract", f"data/raw/{STUDY}/status.json"), ("2_preprocess", f"data/clean/{STUDY}.parquet")):
        run = {"version": 1, "outcome": "ok", "products": {name: fingerprint(folder / name)}}
        write_record(run, record_path(folder / "reports" / DAY, STUDY, step))
    return folder


def command(checkout, *arguments):
    """The command in that repository, as a process that leads a group of its own, as in a terminal."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    environment.pop("NIGHTSHIFT_RUN")
    to_pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    arguments = [sys.executable, "-m", "nightshift", *arguments]
    return subprocess.Popen(arguments, cwd=checkout, env=environment, start_new_session=True, **to_pipe)


def ended(process):
    """(exit code, lines that it printed)."""
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed.splitlines()


SWEEP = ("sweep", STUDY, "train", "width=1,2,13,4,8", "pause=0.7", "--jobs", "2", "--name", "widths")


def moments(folder):
    """{run: when the run that its record is of began} of the runs that ended well."""
    paths = folder.glob(f"sweeps/widths/*/reports/{DAY}/{STUDY}/3_train.json")
    records = {path.parts[-5]: json.loads(path.read_text()) for path in paths}
    return {run: record["started"] for run, record in records.items() if record["outcome"] == "ok"}


def hashes(folder):
    """Hashes of the products of the night."""
    paths = [path for name in ("data", "models", "reports") for path in (folder / name).rglob("*") if path.is_file()]
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="module")
def swept(checkout):
    """The folder of a sweep that was killed twice: after its first run ended, and when others had ended; and what was seen meanwhile."""
    before, seen = hashes(checkout), []
    for n_complete in (1, 2):
        process = command(checkout, *SWEEP)
        until = time.time() + 60
        while len(moments(checkout)) < n_complete and process.poll() is None and time.time() < until:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        printed = process.communicate()[0]
        seen.append((moments(checkout), printed))
    code, lines = ended(command(checkout, *SWEEP))
    return {"folder": checkout / "sweeps/widths", "seen": seen, "code": code, "lines": lines, "before": before, "after": hashes(checkout)}


def test_a_sweep_that_was_killed_twice_ends_complete_and_repeats_no_run_that_had_ended(checkout, swept):
    assert swept["code"] == 1, "one of its runs fails"
    last = moments(checkout)
    assert sorted(last) == ["001", "002", "004", "005"]
    for complete, _ in swept["seen"]:
        assert 1 <= len(complete) < 4, "each kill came in the midst"
        assert {run: last[run] for run in complete} == complete
    n = len(swept["seen"][-1][0])
    assert f"5 runs in {swept['folder']}, {n} complete, 2 at a time." in swept["lines"]
    assert len([line for line in swept["lines"] if " took " in line]) == 4 - n


def test_the_night_is_as_it_was(swept):
    assert swept["after"] == swept["before"]


def test_runs_get_what_the_configuration_says_and_what_they_vary(swept):
    record = json.loads((swept["folder"] / f"004/reports/{DAY}/{STUDY}/3_train.json").read_text())
    assert record["given"] == {"day": DAY, "products": str(swept["folder"] / "004"), "rate": 0.2, "width": 4, "pause": 0.7}
    assert (swept["folder"] / f"004/reports/{DAY}/{STUDY}/3_train.ipynb").exists()
    assert (swept["folder"] / "004/data/clean/toy.parquet").is_symlink()


def test_the_table_that_it_prints_is_right_by_hand(swept):
    table = [line.split() for line in swept["lines"] if re.match(r"00\d ", line)]
    assert table == [  # the mean of x is 2, and a width of 8 errs 1 1/8 times as much
        ["001", "1", "net", "4", "0.00", "(-0.10", "to", "0.10)", "+77.8%", "(+77.8", "to", "+77.8)"],
        ["002", "2", "net", "3", "0.25", "(0.15", "to", "0.35)", "+33.3%", "(+33.3", "to", "+33.3)"],
        ["004", "4", "net", "2.5", "0.38", "(0.28", "to", "0.48)", "+11.1%", "(+11.1", "to", "+11.1)"],
        ["005", "8", "net", "2.25", "0.44", "(0.34", "to", "0.54)"],
    ]
    frame = pd.read_parquet(swept["folder"] / "results.parquet")
    assert frame[frame.model == "net"].value.tolist() == [4.0, 3.0, 2.5, 2.25]
    assert len(pd.read_csv(swept["folder"] / "results.csv")) == 9


def test_a_run_that_fails_costs_no_other_and_is_repeated(swept):
    assert [line for line in swept["lines"] if " runs: 003 (width=13 pause=0.7) failed: AssertionError: 13 is no width" in line]
    assert swept["lines"][-1] == "nightshift: 1 run failed: 003; the same command repeats it"
    assert "Note: 1 run failed. 003: AssertionError: 13 is no width." in swept["lines"]


def test_the_page_can_be_read_in_any_window_and_without_a_request(browser, swept):
    page = swept["folder"] / "comparison.html"
    asked_outside(browser)
    for width in (1300, 390):
        for dark in (False, True):
            show(browser, page, width, dark)
            set_width(browser, width)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.find_element("css selector", "h1").text == "toy 3_train: 5 runs compared"
    assert browser.find_element("css selector", ".question").text == "How <b>wide</b>?", "what a study says is text"
    assert "Run 005 (width=8) is best" in browser.find_element("css selector", ".lead").text
    assert [head.text for head in browser.find_elements("css selector", "tr.best th")] == ["005"]
    line = browser.find_element("css selector", ".panel .best polyline")
    assert browser.execute_script("return getComputedStyle(arguments[0]).stroke !== 'none' && arguments[0].getTotalLength() > 100", line)
    assert len(browser.find_elements("css selector", ".panel polyline")) == 4
    assert (console_errors(browser), asked_outside(browser)) == ([], [])
    links = [a.get_attribute("href").removeprefix("file://") for a in browser.find_elements("css selector", "main a")]
    assert len(links) > 4
    assert [link for link in links if not os.path.exists(link)] == []


def test_the_paired_differences_of_the_page_are_those_of_the_table(swept):
    skills, differences = tables_of((swept["folder"] / "comparison.html").read_text())
    assert skills.run.tolist() == ["001", "002", "004", "005"]
    assert differences["net"].str.removeprefix("net ").tolist() == ["+77.8% (+77.8 to +77.8)", "+33.3% (+33.3 to +33.3)", "+11.1% (+11.1 to +11.1)"]
