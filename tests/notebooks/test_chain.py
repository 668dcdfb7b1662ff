"""The chain itself, on a checkout whose notebooks take no time: errors before anything runs, failures, locks, resuming."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest
import yaml
from conftest import REPOSITORY, run_chain

NIGHT = "reports/2026-01-31"
WRITES = {
    "1_extract": ["data/raw/{study}/status.json"],
    "2_preprocess": ["data/clean/{study}.parquet"],
    "3_train": ["models/{study}/metrics.json"],
    "4_analyse": ["data/scores/{study}.parquet", "data/findings/{study}.parquet"],
}


@pytest.fixture
def checkout(tmp_path):
    return make_checkout(tmp_path)


@pytest.fixture(scope="module")
def one_night(tmp_path_factory):
    """A checkout whose study `left` has run once, well; and what that printed."""
    folder = make_checkout(tmp_path_factory.mktemp("one-night"))
    configure(folder, left={})
    code, printed = run_chain("config.yaml", folder)
    assert code == 0, printed
    return folder, printed


def make_checkout(folder):
    """A checkout with two studies of one-cell notebooks; every notebook sleeps `wait_s` and fails when `fail` is true."""
    for name in ("Snakefile", "Makefile", "helpers.py", "publish.py", "templates", "requirements.txt", "constraints.txt", "pyproject.toml"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    for study in ("left", "right"):
        for step, files in WRITES.items():
            write_notebook(folder / f"notebooks/{study}/{step}.ipynb", [f.format(study=study) for f in files])
    sample = ("truth.csv", "transfers.jsonl.gz", "perfsonar.csv", "accounting.jsonl.gz")
    write_notebook(folder / "notebooks/simulate.ipynb", [f"data/sample/{f}" for f in sample])
    return folder


def write_notebook(path, writes):
    parameters = (
        "source: str = 'sample'  # where from\ntable: str = 'sample'  # more of it\nday: str = '2026-01-31'  # night\nproducts: str = ''  # folder\n"
        "fail: bool = False  # whether to fail\nwait_s: float = 0.0  # time to take, seconds"
    )
    work = f"""import json, pathlib, time
time.sleep(wait_s)
assert not fail, "this study is told to fail"
for name in {writes!r}:
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = "study kind entity site start end score p_value observed expected unit evidence figure".split()
    if name.endswith(".parquet"):
        import pandas
        pandas.DataFrame(columns=columns).to_parquet(path)
    else:
        told = {{"day": day, "models": [], "state": "ok", "window": ["", day], "rows": 1, "newest": day, "source": source, "sha256": ""}}
        path.write_text(json.dumps(told))"""
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\nA question?"),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(work),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "x"}}), path
    )


def configure(checkout, **studies):
    content = {"day": "2026-01-31", "studies": studies or {"left": {}, "right": {}}}
    (checkout / "config.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"studies": {"nonsense": {}}}, "unknown study 'nonsense'; known are left, right"),
        ({"studies": {"left": {"extract": {"sauce": 1}}}}, "declares no parameter 'sauce', only source, table, day"),
        ({"studies": {"left": {"cook": {}}}}, "unknown step 'cook' of left"),
        ({"studies": {"left": {"extract": {"source": "missing/*.json"}}}}, "the source of left, missing/*.json, does not exist"),
        ({"studies": {"left": {"extract": {"source": "https://me:pw@host"}}}}, "credentials belong into the environment"),
        ({"studies": {}}, "names no study"),
        ({"studies": {"left": {}}, "colour": "red"}, "unknown setting 'colour'"),
        ({"studies": {"left": {}}, "day": "tomorrow"}, "day 'tomorrow' is no date"),
        ({"studies": {"left": {"train": 3}}}, "must be a mapping"),
        ({"studies": {"left": ["extract"]}}, "must be a mapping"),
        ({"studies": {"left": {"analyse": {"table": "nowhere.csv"}}}}, "left.analyse.table: nowhere.csv does not exist"),
        ({"studies": {"left": {}}, "alarm_rate": "5%"}, "alarm_rate is '5%': it must be a number"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line_before_anything_runs(checkout, change, message):
    (checkout / "config.yaml").write_text(yaml.safe_dump({"day": "2026-01-31"} | change))
    code, printed = run_chain("config.yaml", checkout)
    assert code != 0
    [line] = [line for line in printed.splitlines() if line.startswith("nightshift:")]
    assert message in line
    assert "Traceback" not in printed
    assert not (checkout / "reports").exists()


def test_a_failing_study_keeps_its_notebook_and_does_not_stop_the_other(checkout):
    configure(checkout, left={"preprocess": {"fail": True}}, right={})
    code, printed = run_chain("config.yaml", checkout)
    assert code != 0
    assert "left failed in 2_preprocess: AssertionError: this study is told to fail" in printed
    assert (checkout / "data/findings/right.parquet").exists()
    assert not (checkout / "data/findings/left.parquet").exists()
    assert (checkout / NIGHT / "left/2_preprocess.ipynb").exists()
    page = (checkout / NIGHT / "left/2_preprocess.html").read_text()
    assert "this study is told to fail" in page[page.index("<main") :][:600]
    told = json.loads((checkout / NIGHT / "run.json").read_text())["studies"]
    assert (told["left"]["verdict"], told["right"]["verdict"]) == ("failed", "ok")
    configure(checkout)
    code, printed = run_chain("config.yaml", checkout)  # mended: only the failed study goes on
    assert code == 0
    assert "left/2_preprocess" in printed
    assert "left/1_extract" not in printed
    assert "right" not in printed


def test_nothing_changed_means_nothing_runs_and_little_time(one_night):
    folder, printed = one_night
    assert "left/4_analyse: 4 of 4 cells" in printed
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        code, printed = run_chain("config.yaml", folder)
        seconds.append(time.monotonic() - begun)
        assert code == 0
        assert "cells" not in printed
        assert printed.strip().endswith("index.html")
    assert min(seconds) < 5


@pytest.mark.parametrize(
    ("day", "trains"),
    [("2026-01-31", False), ("2026-02-03", False), ("2026-02-07", True), ("2026-01-15", True)],
    ids=["same night", "within the week", "a week later", "a model from the future"],
)
def test_training_runs_weekly_and_scoring_nightly(one_night, day, trains):
    folder, _ = one_night
    plan = subprocess.run(
        [
            "snakemake",
            "-n",
            "--configfile",
            "config.yaml",
            "--config",
            f"day={day}",
            "--nolock",
            "--cores",
            "2",
            "--rerun-triggers",
            "mtime",
            "params",
            "input",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    ).stdout
    assert ("rule 3_train" in plan) == trains
    assert ("rule 4_analyse" in plan) == (day != "2026-01-31")


def test_a_server_is_asked_again_while_it_had_not_everything_and_a_file_is_not(checkout):
    (checkout / "events.csv").write_text("")
    configure(checkout, left={"extract": {"source": "sacct"}}, right={"extract": {"source": "events.csv"}})
    code, printed = run_chain("config.yaml", checkout)
    assert code == 0, printed
    plan = ["snakemake", "-n", "--configfile", "config.yaml", "--nolock", "--cores", "2", "--rerun-triggers", "mtime", "params", "input"]
    for state, asked in (("ok", False), ("partial", True)):
        for study in ("left", "right"):
            status = checkout / f"data/raw/{study}/status.json"
            status.write_text(json.dumps(json.loads(status.read_text()) | {"state": state}))
        planned = subprocess.run(plan, cwd=checkout, capture_output=True, text=True).stdout
        assert ("left/1_extract.ipynb" in planned) == asked, planned
        assert "right/1_extract.ipynb" not in planned


def test_this_machine_is_a_source_and_no_file(checkout):
    configure(checkout, left={"extract": {"source": "this_machine"}})
    plan = ["snakemake", "-n", "--configfile", "config.yaml", "--nolock", "--cores", "2"]
    assert "left/1_extract.ipynb" in subprocess.run(plan, cwd=checkout, capture_output=True, text=True, check=True).stdout
    (checkout / "config.yaml").write_text((checkout / "config.yaml").read_text().replace("this_machine", "that_machine"))
    refused = subprocess.run(plan, cwd=checkout, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "nightshift: the source of left, that_machine, does not exist" in refused.stderr


def test_two_runs_at_once_do_not_meet(checkout):
    configure(checkout, left={"extract": {"wait_s": 8}})
    command = ["make", "reports", f"ENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"]
    first = subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    for _ in range(200):
        if (checkout / NIGHT / "left/1_extract.log").exists():
            break
        time.sleep(0.1)
    code, printed = run_chain("config.yaml", checkout)
    assert code != 0
    assert "another run" in printed
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0, out


def test_a_killed_run_leaves_no_lock_and_the_next_one_completes(checkout):
    configure(checkout, left={"preprocess": {"wait_s": 30}}, right={})
    first = subprocess.Popen(
        ["make", "reports", f"ENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"],
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    for _ in range(300):
        if (checkout / NIGHT / "left/2_preprocess.ipynb").exists():
            break
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    configure(checkout)
    code, printed = run_chain("config.yaml", checkout)
    assert code == 0, printed
    assert (checkout / "data/findings/left.parquet").exists()
