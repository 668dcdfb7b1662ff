"""The chain itself, on a checkout whose notebooks take no time: errors before anything runs, failures, locks, resuming."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, run_chain

from bench import golden
from nightshift import catalog, unchanged
from nightshift.chain import Night
from nightshift.config import ConfigError, check, read_yaml
from nightshift.night import sweep
from nightshift.products import fingerprint
from nightshift.runs import read_run
from nightshift.schemas import FINDING, PROPOSAL, PUBLISHED

NIGHT = "reports/2026-01-31"
PARAMETERS = {
    "1_extract": "source: str = 'sample'  # where from\ntable: str = 'sample'  # more of it",
    "2_preprocess": "lists: str = 'lists.txt'  # what is in use",
    "3_train": "known: str = ''  # what else there is to learn from",
    "4_analyse": "truth: str = 'sample'  # what it is measured against",
    "digest": "nights: dict = {}  # studies with findings of tonight\nmissing: list = []  # the others\nsilences: list = []  # what is silenced\n"
    "sites: str = 'sites.yaml'  # their names\nremediations: str = 'remediations.yaml'  # what may be tried",
}  # of each step of its own
HALF = "data/raw/left/.0a1b2c3d-status.json"  # what a killed run left half written
WRITES = {
    "1_extract": ["data/raw/{study}/status.json"],
    "2_preprocess": ["data/clean/{study}.parquet"],
    "3_train": ["models/{study}/metrics.json"],
    "4_analyse": ["data/scores/{study}.parquet", "data/findings/{study}.parquet"],
}
EXTRA = {"right": {"extra_notebooks": {"5_extra": {"findings": ["right_more"]}, "6_page": {"reads": "4_analyse"}}}}
OF_DIGEST = list(dict.fromkeys(["incident", *PUBLISHED, *FINDING, *PROPOSAL]))  # what the site reads of its tables
INCIDENTS = (".parquet", "_findings.parquet", "_proposals.parquet", ".json")
ASKS, READS = (
    {"extract": {"source": "mysql://desk.example:3306/tickets?charset=utf8mb4", "table": "sacctmgr"}},
    {"extract": {"source": "events.csv", "table": "t*.csv"}, "train": {"known": "known.csv"}, "analyse": {"truth": "incidents.csv"}},
)  # servers, and files: neither needs the sample, which takes its time


@pytest.fixture
def checkout(tmp_path):
    return make_checkout(tmp_path)


@pytest.fixture(scope="module")
def one_night(tmp_path_factory):
    """A checkout whose study `left` has run once, well; what that printed; and (exit code, print) of another run that was started meanwhile."""
    folder = make_checkout(tmp_path_factory.mktemp("one-night"))
    configure(folder, left={})
    first = started(folder, until="left/1_extract.log")
    second = run_chain("config.yaml", folder)
    printed, _ = first.communicate(timeout=120)
    assert first.returncode == 0, printed
    return folder, printed, second


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A checkout in which `left`, which asks a server, failed in its second step, and `right`, which reads a file, did not; code and print."""
    folder = make_checkout(tmp_path_factory.mktemp("failed"))
    configure(folder, left=ASKS | {"preprocess": {"fail": True}}, right=READS)
    return folder, *run_chain("config.yaml", folder)


@pytest.fixture(scope="module")
def mended(failed, tmp_path_factory):
    """A copy of that checkout after another run, in which nothing fails, and before which one was killed in the second step; code and print."""
    folder = shutil.copytree(failed[0], tmp_path_factory.mktemp("mended"), dirs_exist_ok=True)
    (folder / NIGHT / "left/2_preprocess.ipynb").unlink()
    configure(folder, left=ASKS | {"preprocess": {"wait_s": 30}}, right=READS)
    run = started(folder, until="left/2_preprocess.ipynb")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    (folder / HALF).touch()
    os.utime(folder / HALF, (time.time() - 7200,) * 2)
    configure(folder, left=ASKS, right=READS)
    return folder, *run_chain("config.yaml", folder)


def make_checkout(folder):
    """A checkout with two studies of one-cell notebooks, `right` with a further page; each sleeps `wait_s` and fails when `fail` is true."""
    for name in (
        "workflow",
        "Makefile",
        "helpers.py",
        "nightshift",
        "templates",
        "requirements.txt",
        "constraints.txt",
        "pyproject.toml",
        "sites.yaml",
        "remediations.yaml",
        "notebooks/tickets/phrases.yaml",
        "notebooks/tickets/osticket.sql",
    ):
        source = REPOSITORY / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    server = folder / "nightshift/forkserver.py"  # these notebooks need no library, and importing all takes 4 s of each chain
    server.write_text(re.sub(r"(?<=LIBRARIES = \()[^)]*", "'ipykernel.kernelapp', 'papermill'", server.read_text()))
    for study in ("left", "right"):
        for step, files in WRITES.items():
            write_notebook(folder / f"notebooks/{study}/{step}.ipynb", [f.format(study=study) for f in files])
        described = {"title": study.capitalize(), "question": "What is wrong?", "sample": [f"{study}.csv"], "kinds": {"drop": {"scope": "site"}}}
        (folder / f"notebooks/{study}/study.yaml").write_text(yaml.safe_dump(described | EXTRA.get(study, {})))
    write_notebook(folder / "notebooks/right/5_extra.ipynb", ["data/findings/right_more.parquet"])
    write_notebook(folder / "notebooks/right/6_page.ipynb", [])
    write_notebook(folder / "notebooks/simulate.ipynb", [f"data/sample/{name}" for name in ("truth.csv", "left.csv", "right.csv")])
    write_notebook(folder / "notebooks/digest.ipynb", [f"data/incidents/{{day}}{end}" for end in INCIDENTS])
    for name in ("events.csv", "table.csv", "lists.txt", "known.csv", "incidents.csv"):
        (folder / name).write_text("")
    (folder / "tables").mkdir()
    for name, columns in {"clean": list(FINDING), "scores": list(FINDING), "findings": list(FINDING), "incidents": OF_DIGEST}.items():
        rows = [columns] * (name == "scores")  # one thing is judged, and nothing is found
        pd.DataFrame(rows, columns=columns).to_parquet(folder / f"tables/{name}.parquet")  # which a notebook copies, as it takes no time
    return folder


def write_notebook(path, writes):
    parameters = PARAMETERS.get(path.stem, "") + (
        "\nday: str = '2026-01-31'  # night\nproducts: str = ''  # folder\n"
        "fail: bool = False  # whether to fail\nwait_s: float = 0.0  # time to take, seconds; in [0, 60]\n"
        "die: bool = False  # whether to be killed\nrate: float = 0.5  # written to what comes of it; in (0, 1)"
    )
    source = 'source.partition("?")[0]' if path.stem == "1_extract" else "None"  # what follows may be secret
    reads = """import glob
if source not in ("sample", "this_machine") and "://" not in source and not glob.glob(source):
    raise FileNotFoundError(f"no file matches {source}")
"""
    work = f"""import json, os, pathlib, shutil, signal, time
from nightshift.tryout import output_root
{reads if path.stem == "1_extract" else ""}
time.sleep(wait_s)
if die:
    os.kill(os.getpid(), signal.SIGKILL)
assert not fail, "this study is told to fail"
for name in {writes!r}:
    path = output_root(pathlib.Path(), lambda text, **more: print(text)) / name.replace("{{day}}", day)
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".parquet"):
        shutil.copyfile(f"tables/{{path.parent.name}}.parquet", path)
    else:
        told = {{x: globals()[x] for x in ("nights", "missing") if x in globals()}}
        told |= {{"day": day, "models": [], "state": "ok", "window": ["", day], "rows": 1, "newest": day, "source": {source}, "sha256": ""}}
        path.write_text(json.dumps(told))"""
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\nA question?\n\n*Writes*: " + ", ".join(f"`{name}`" for name in writes)),
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


def started(checkout, until):
    """The chain, run in the background and in a process group of its own; returns once the file `until` of the night is there."""
    command = ["make", "--no-print-directory", "reports", f"ENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"]
    run = subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    for _ in range(900):
        if (checkout / NIGHT / until).exists():
            return run
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    raise TimeoutError(f"{until} is not there after 90 s: {run.communicate()[0]}")


@pytest.fixture(scope="module")
def planned():
    """`planned(checkout, target="all", **config)`: what Snakemake would run, as the command nightshift calls it."""
    command = [sys.executable, REPOSITORY / "tests/planning.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as planner:

        def planned(checkout, target="all", **config):
            print(json.dumps([str(checkout), target, config]), file=planner.stdin, flush=True)
            code, plan = json.loads(planner.stdout.readline())
            assert code == 0, plan
            return plan

        yield planned


WRONG = [
    ({"studies": {"nonsense": {}}}, "unknown study 'nonsense'; known are left, right"),
    ({"studies": {"left": {"extract": {"sauce": 1}}}}, "declares no parameter 'sauce', only source, table, day"),
    ({"studies": {"left": {"cook": {}}}}, "unknown step 'cook' of left; known are extract, preprocess, train, analyse"),
    ({"studies": {"right": {"extra": {"colour": 1}}}}, "studies.right.extra: notebooks/right/5_extra.ipynb declares no parameter 'colour'"),
    ({"studies": {"left": {"extract": {"source": "https://me:pw@host"}}}}, "credentials belong in the environment"),
    ({"studies": {"left": {"extract": {"source": "mysql://me:pw@host:3306/desk"}}}}, "left.extract.source is an address with a user or"),
    ({"studies": {"left": {"extract": {"source": "sacct", "table": "https://me:pw@host"}}}}, "left.extract.table is an address with a user"),
    ({"studies": {"left": {"preprocess": {"wait_s": 1}}}}, "studies.left has settings and no source: name it under extract, or write"),
    ({"studies": {}}, "names no study"),
    ({"studies": {"left": {}}, "colour": "red"}, "unknown setting 'colour'"),
    ({"studies": {"left": {}}, "day": "tomorrow"}, "day is 'tomorrow': it must be a date"),
    ({"studies": {"left": {"train": 3}}}, "must be a mapping"),
    ({"studies": {"left": ["extract"]}}, "must be a mapping"),
    ({"studies": {"left": {"analyse": {"truth": "nowhere.csv"}}}}, "studies.left.analyse.truth, nowhere.csv, does not exist or is no file"),
    ({"studies": {"left": {}}, "alarm_rate": "5%"}, "alarm_rate is '5%': it must be a number"),
    ({"studies": {"left": {}}, "digest": {"colour": 1}}, "digest: notebooks/digest.ipynb declares no parameter 'colour'"),
    ({"studies": {"left": {}}, "digest": {"nights": {}}}, "digest: nights is found by the chain"),
    ({"studies": {"left": {}}, "mail": ["me"]}, "mail must be a mapping"),
    (
        {"studies": {"left": {}}, "digest": {"silences": [{"sites": "A", "as": "silenced", "by": "me", "until": "2026-03-31", "why": "known"}]}},
        "digest.silences[0] has an unknown 'sites'; the nearest is site",
    ),
    ({"studies": {"left": {}}, "digest": {"silences": "A"}}, "digest.silences is 'A': it must be a list"),
    ({"studies": {"left": {}}, "digest": {"mark": []}}, "digest.mark is no setting any more: write the entries under digest.silences"),
    ({"studies": {"left": {"analyse": {"mute": []}}}}, "studies.left.analyse.mute is no setting any more: write the entries under digest.silences"),
    ({"studies": {"left": {}}, "digest": {"remediations": "nowhere.yaml"}}, "digest.remediations, nowhere.yaml, does not exist or is no file"),
    ({"studies": {"left": {}}, "keep_nights": -1}, "keep_nights is -1: it must be a whole number, 0 to keep all"),
    ({"studies": {"left": {}}, "mail": {"to": [{"address": "a@b.example\nBcc: c@d.example"}]}}, "mail.to[0].address: 'a@b.example Bcc"),
    ({"studies": {"left": {}}, "day": "2126-01-31"}, "day is 2126-01-31, in the future: today is "),
    ({"studies": {"left": {"day": "2126-01-31"}}}, "studies.left.day is 2126-01-31, in the future"),
    ({"studies": {"left": {}}, "products": "a{x}"}, "products is 'a{x}': braces cannot be in the name of the folder"),
    ({"studies": {"left": {}}, "retrain_dais": 3}, "unknown setting 'retrain_dais'; the nearest is retrain_days"),
    ({"studies": {"left": {}}, "digest": {"day": "2026-01-31"}}, "digest.day cannot be set here"),
    ({"studies": {"left": {}}, "simulate": {"products": "elsewhere"}}, "simulate.products cannot be set here"),
    *[
        ({"studies": {"left": {"extract": {"source": "sample"}, "analyse": {name: value}}}}, f"studies.left.analyse.{name} {says}")
        for name, value, says in [
            ("day", "2026-01-31", "cannot be set here"),
            ("products", "elsewhere", "cannot be set here"),
            ("rate", 2, "is 2: it must be a number in (0, 1)"),
            ("rate", 0, "is 0: it must be a number in (0, 1)"),
            ("rate", float("nan"), "is nan: it must be a number in (0, 1)"),
            ("rate", "much", "is 'much': it must be a number in (0, 1)"),
            ("rate", True, "is True: it must be a number in (0, 1)"),
            ("wait_s", float("inf"), "is inf: it must be a number in [0, 60]"),
            ("fail", "yes", "is 'yes': it must be true or false"),
            ("fail", 1, "is 1: it must be true or false"),
            ("truth", False, "is False: it must be text (YAML reads no, off, yes and on as truth values"),
        ]
    ],
]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A checkout in which nothing ever runs."""
    return make_checkout(tmp_path_factory.mktemp("untouched"))


@pytest.fixture
def in_untouched(untouched, monkeypatch):
    """The same as the folder in which the configuration is checked."""
    monkeypatch.chdir(untouched)
    monkeypatch.setattr(catalog, "NOTEBOOKS", untouched / "notebooks")


def mistakes(change):
    """The lines about a configuration with this change."""
    with pytest.raises(ConfigError) as error:
        check({"day": "2026-01-31"} | change)
    return error.value.lines


@pytest.mark.parametrize(("change", "message"), WRONG)
@pytest.mark.usefixtures("in_untouched")
def test_a_wrong_configuration_is_one_clear_line(change, message):
    [line] = mistakes(change)
    assert message in line
    assert "\n" not in line


@pytest.mark.usefixtures("in_untouched")
def test_all_mistakes_are_said_at_once():
    lines = mistakes({"alarm_rate": 2, "studies": {"left": {"extract": {"sauce": 1, "wait_s": -1}}, "rihgt": {}}, "keep_nights": -1})
    assert len(lines) == 5, lines
    assert any("unknown study 'rihgt'; known are left, right; the nearest is right" in line for line in lines)


@pytest.mark.usefixtures("in_untouched")
def test_good_silences_and_files_of_the_digest_are_no_obstacle(untouched, monkeypatch):
    monkeypatch.setattr("nightshift.sources.files.REPOSITORY", untouched)
    silence = {"site": "A", "as": "silenced", "by": "b", "until": date(2026, 2, 28), "why": "w"}
    read = {name: {"extract": {"source": "events.csv"}} for name in ("left", "right")}
    checked = check({"day": date(2026, 1, 31), "studies": read, "digest": {"silences": [silence], "remediations": "events.csv"}})
    assert (checked["day"], checked["digest"]["silences"][0]["until"]) == ("2026-01-31", "2026-02-28")
    assert check(checked) == checked


def test_what_killed_runs_left_half_written_is_removed_after_an_hour(tmp_path):
    left = {"data/raw/left/.0a1b2c3d-status.json", "models/left/.ffffffff-metrics.json", "reports/2026-01-31/.12345678-a b.html", "plots/.00000000-x"}
    stay = {"data/raw/left/status.json", "data/.0a1b2c3-short", "data/.0a1b2c3g-other", "data/0a1b2c3d-name", "feedback/.0a1b2c3d-feedback.last"}
    for name in [*left, *stay, "data/.aaaaaaaa-new"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 3700 * ("new" not in name),) * 2)
    sweep(tmp_path)
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there == stay | {"data/.aaaaaaaa-new"}


@pytest.mark.parametrize(("change", "message"), [WRONG[0], WRONG[-1]])
def test_a_wrong_configuration_ends_the_chain_before_anything_runs(checkout, change, message):
    (checkout / "config.yaml").write_text(yaml.safe_dump({"day": "2026-01-31"} | change))
    done = subprocess.run([sys.executable, "-m", "nightshift", "run"], cwd=checkout, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("nightshift: ")
    assert message in line
    assert not (checkout / "reports").exists()


def test_a_failing_study_keeps_its_notebook_and_does_not_stop_the_other(failed):
    folder, code, printed = failed
    assert code != 0
    assert "left failed in 2_preprocess: AssertionError: this study is told to fail" in printed
    assert (folder / "data/findings/right.parquet").exists()
    assert not (folder / "data/findings/left.parquet").exists()
    assert (folder / NIGHT / "left/2_preprocess.ipynb").exists()
    page = (folder / NIGHT / "left/2_preprocess.html").read_text()
    assert "this study is told to fail" in page[page.index("<main") :][:600]
    studies = json.loads((folder / NIGHT / "run.json").read_text())["studies"]
    assert (studies["left"]["verdict"], studies["right"]["verdict"]) == ("failed", "ok")


def test_further_pages_run_after_the_step_that_they_read_and_are_pages_of_their_study(failed, mended, planned):
    folder, _, printed = failed
    assert "right/5_extra: 4 of 4 cells" in printed
    assert (folder / "data/findings/right_more.parquet").exists()
    assert (folder / NIGHT / "right/5_extra.html").exists()
    steps = json.loads((folder / NIGHT / "run.json").read_text())["studies"]["right"]["steps"]
    assert steps["5_extra"]["outcome"] == steps["6_page"]["outcome"] == "ok"
    assert steps["6_page"]["ended"] >= steps["4_analyse"]["ended"]
    assert (folder / NIGHT / "right/6_page.html").exists()
    notebook = mended[0] / "notebooks/right/2_preprocess.ipynb"
    text, before = notebook.read_text(), notebook.stat()
    notebook.write_text(text + "\n")
    plan = planned(mended[0])
    notebook.write_text(text)
    os.utime(notebook, ns=(before.st_atime_ns, before.st_mtime_ns))  # for the tests that come later
    assert "rule right_5_extra" in plan, plan
    assert "rule right_6_page" in plan, plan
    assert "rule right_1_extract" not in plan


def test_only_the_failed_study_goes_on_when_it_is_mended(mended):
    _, code, printed = mended
    assert code == 0
    assert "left/2_preprocess" in printed
    assert "left/1_extract" not in printed
    assert "right" not in printed


def test_the_digest_knows_which_studies_have_findings_of_tonight(failed, mended):
    folder, _, printed = failed
    assert "digest: 4 of 4 cells" in printed
    digest = json.loads((folder / "data/incidents/2026-01-31.json").read_text())
    assert (digest["nights"], digest["missing"]) == ({"right": "2026-01-31"}, ["left"])
    digest = json.loads((mended[0] / "data/incidents/2026-01-31.json").read_text())
    assert (digest["nights"], digest["missing"]) == ({"left": "2026-01-31", "right": "2026-01-31"}, [])


def test_nothing_changed_means_nothing_runs_and_little_time(one_night, planned):
    folder, printed, _ = one_night
    assert "left/4_analyse: 4 of 4 cells" in printed
    assert "left/" not in planned(folder), "Snakemake itself would run nothing"
    left = published(folder)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, again = run_chain("config.yaml", folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 0
    assert "cells" not in again
    assert again.splitlines() == [line for line in printed.splitlines() if " cells, " not in line]  # the same warnings and front page
    assert published(folder) == left
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2, "of a processor: other tests run on the same ones"


def rewritten(path):
    """Other bytes of the same number, at the same time by its clock."""
    content, before = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + b"#")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def added(path):
    """A file where none was."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("")


CHANGES = {
    rewritten: [
        *("helpers.py", "nightshift/cleaning/transfers.py", "nightshift/reporting/pages.py", "workflow/rules/study.smk"),
        *("notebooks/left/2_preprocess.ipynb", "notebooks/left/study.yaml", "notebooks/tickets/phrases.yaml", "templates/front.html.j2"),
        *("sites.yaml", "remediations.yaml", "data/sample/left.csv", "data/findings/left.parquet", "models/left/metrics.json"),
        *(f"{NIGHT}/index.html", f"{NIGHT}/left/4_analyse.ipynb", f"{NIGHT}/left/4_analyse.json", "data/.unchanged.json"),
    ],
    Path.touch: ["models/left/.trained", "lists.txt"],
    Path.unlink: ["data/clean/left.parquet", f"{NIGHT}/left/4_analyse.html", "reports/index.html", "reports/feed.xml"],
    added: [
        *("feedback/feedback.csv", "feedback/silences.yaml", "data/incidents/2026-01-30.parquet", "notebooks/left/more.yaml"),
        *("templates/more.html.j2", "plots/left.png"),
    ],
}


@pytest.fixture(scope="module")
def another_night(one_night, tmp_path_factory):
    """A copy of that checkout for changes of any kind."""
    return shutil.copytree(one_night[0], tmp_path_factory.mktemp("another-night"), dirs_exist_ok=True)


@pytest.fixture
def night(another_night, monkeypatch):
    """Its night, as the command nightshift has it."""
    monkeypatch.chdir(another_night)
    monkeypatch.setattr(catalog, "NOTEBOOKS", another_night / "notebooks")
    for module in ("nightshift.sources.files", "nightshift.chain"):
        monkeypatch.setattr(f"{module}.REPOSITORY", another_night)
    return Night(check(read_yaml("config.yaml")))


@pytest.mark.parametrize(("name", "change"), [(name, change) for change, names in CHANGES.items() for name in names])
def test_whatever_is_changed_added_or_removed_lets_a_night_run_again(another_night, night, name, change):
    path = another_night / name
    content, before = (None, None) if change is added else (path.read_bytes(), path.stat())
    unchanged.remember(night.root, unchanged.what_it_reads(night))
    assert unchanged.is_unchanged(night, unchanged.what_it_reads(night))
    change(path)
    assert not unchanged.is_unchanged(night, unchanged.what_it_reads(night))
    path.unlink(missing_ok=True)
    if content is not None and name != "data/.unchanged.json":
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [{"alarm_rate": 0.01}, {"keep_nights": 3}, {"day": "2026-01-30"}, {"studies": {"left": {"extract": {"rate": 0.1, "source": "sample"}}}}]
)
def test_another_setting_lets_a_night_run_again(night, change):
    unchanged.remember(night.root, unchanged.what_it_reads(night))
    assert not unchanged.is_unchanged(night, unchanged.what_it_reads(Night(check(read_yaml("config.yaml") | change))))


def test_what_changes_while_a_night_runs_counts_as_changed(another_night, night):
    read = unchanged.what_it_reads(night)
    (another_night / "sites.yaml").touch()
    unchanged.remember(night.root, read)
    assert not unchanged.is_unchanged(night, unchanged.what_it_reads(night))


@pytest.mark.parametrize("target", ["all", "digest"])
def test_what_must_run_again_though_no_file_changed_does(night, target, monkeypatch):
    """Such as a server that had not everything yet."""
    read = unchanged.what_it_reads(night)
    unchanged.remember(night.root, read)
    monkeypatch.setattr(night, "forced", lambda asked: {"data/raw/left/status.json": "due"} if asked == target else {})
    assert not unchanged.is_unchanged(night, read)


def test_a_night_that_failed_is_never_passed_over(failed):
    assert failed[1] != 0
    assert not unchanged.memo_of(failed[0]).exists()


def test_two_runs_of_a_night_are_golden_alike(one_night, tmp_path):
    """bench/golden.py, by which versions of the code are compared, leaves out what no two runs share and nothing else."""
    folder, *_ = one_night
    again = shutil.copytree(folder, tmp_path / "again")
    record = again / NIGHT / "left/1_extract.json"
    run = json.loads(record.read_text())
    record.write_text(json.dumps(run | {"seconds": 1.25, "started": "2026-02-01T00:00:00+00:00", "ended": "2026-02-01T00:00:01+00:00"}))
    names = golden.write(folder, tmp_path / "first")
    assert golden.write(again, tmp_path / "second") == names
    assert {"front.txt", "feed.txt", "digest.json", "jobs.json", "tables.json", "findings/left.csv"} <= set(names)
    texts = [{name: (tmp_path / version / name).read_text() for name in names} for version in ("first", "second")]
    assert texts[0] == texts[1]
    assert str(folder) not in "".join(texts[0].values())
    record.write_text(json.dumps(run | {"parameters": run["parameters"] | {"rate": 0.25}}))
    golden.write(again, tmp_path / "second")
    assert (tmp_path / "second/jobs.json").read_text() != texts[0]["jobs.json"]


def test_another_name_of_the_same_python_makes_nothing_run_again(one_night):
    """`make` calls it python, and the command of the environment python3."""
    ours = Path(sys.executable)
    command = [ours.with_name("python3" if ours.name == "python" else "python"), REPOSITORY / "tests/planning.py"]
    asked = json.dumps([str(one_night[0]), "all", {}]) + "\n"
    code, plan = json.loads(subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout)
    assert code == 0
    assert "left/" not in plan


@pytest.mark.parametrize(
    ("day", "trains"),
    [("2026-01-31", False), ("2026-02-03", False), ("2026-02-07", True), ("2026-01-15", True)],
    ids=["same night", "within the week", "a week later", "a model from the future"],
)
def test_training_runs_weekly_and_scoring_nightly(one_night, planned, day, trains):
    plan = planned(one_night[0], day=day)
    assert ("rule 3_train" in plan) == trains
    assert ("rule 4_analyse" in plan) == (day != "2026-01-31")


def test_a_server_is_asked_again_while_it_had_not_everything_and_a_file_is_not(mended, planned):
    folder, code, printed = mended
    assert code == 0, printed
    for state, asked in (("ok", False), ("partial", True)):
        kept = []
        for study in ("left", "right"):
            status, record = folder / f"data/raw/{study}/status.json", folder / NIGHT / study / "1_extract.json"
            kept += [(path, path.read_text(), path.stat()) for path in (status, record)]
            status.write_text(json.dumps(json.loads(status.read_text()) | {"state": state}))
            run = json.loads(record.read_text())
            run["products"][f"data/raw/{study}/status.json"] = fingerprint(status)
            record.write_text(json.dumps(run))
        plan = planned(folder)
        for path, text, before in kept:  # so that it does not pass for a new one in later tests
            path.write_text(text)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert ("left/1_extract.log" in plan) == asked, plan
        assert "right/1_extract.log" not in plan
    plan = planned(folder, day="2026-02-01")
    assert "left/4_analyse.log" in plan
    assert "left/3_train.log" not in plan, "the model is of the same source"


@pytest.fixture(scope="module")
def settled(mended, planned):
    """Why a step would run before any file has changed: no test leaves a change behind."""
    return reasons(planned(mended[0]))


def reasons(plan):
    """The lines of a plan that say why a step would run; earlier tests may have left others to be run."""
    return "\n".join(line for line in plan.splitlines() if line.strip().startswith("reason:"))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("events.csv", "1_extract"),
        ("table.csv", "1_extract"),
        ("lists.txt", "2_preprocess"),
        ("known.csv", "3_train"),
        ("incidents.csv", "4_analyse"),
    ],
)
def test_a_file_of_the_source_or_beside_it_that_changed_is_read_again(mended, settled, planned, name, step):
    file, before = mended[0] / name, (mended[0] / name).stat()
    assert name not in settled
    file.write_text("another line\n")  # the time alone does not count: Snakemake compares small files by their content
    plan = planned(mended[0])
    file.write_text("")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert f"right/{step}.log" in plan
    assert name in reasons(plan)
    assert ("right/1_extract.log" in plan) == (step == "1_extract")


@pytest.mark.parametrize("name", ["notebooks/left/study.yaml", "sites.yaml", "events.csv"])
def test_a_file_that_the_digest_is_told_to_read_starts_it_again(mended, planned, name):
    """What studies say of themselves, sites.yaml by default, and the proposals where the configuration says."""
    folder, config = mended[0], (mended[0] / "config.yaml").read_text()
    text, before = (folder / name).read_text(), (folder / name).stat()
    record = folder / NIGHT / "digest_run.json"
    run = record.read_text()
    (folder / "config.yaml").write_text(yaml.safe_dump(yaml.safe_load(config) | {"digest": {"remediations": "events.csv"}}))
    record.write_text(json.dumps(json.loads(run) | {"given": json.loads(run)["given"] | {"remediations": "events.csv"}}))  # else that starts it
    (folder / name).write_text(text + "# another line\n")
    plan = planned(folder, target="digest")
    record.write_text(run)
    (folder / "config.yaml").write_text(config)
    (folder / name).write_text(text)
    os.utime(folder / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    [inputs] = [line for line in plan.splitlines() if line.strip().startswith("input:") and "notebooks/digest.ipynb" in line]
    files = {"notebooks/left/study.yaml", "notebooks/right/study.yaml", "sites.yaml", "events.csv", "nightshift/remediation/model.py"}
    assert files <= set(inputs.replace(",", "").split())
    assert "remediations.yaml" not in inputs
    assert f"Updated input files: {name}" in reasons(plan)


def test_modules_of_the_sample_are_read_by_the_sample_and_by_nothing_else(checkout, planned):
    configure(checkout)
    plans = planned(checkout) + planned(checkout, target="digest")
    inputs = [line.replace(",", " ").split() for line in plans.splitlines() if line.strip().startswith("input:")]
    modules = {str(path.relative_to(checkout)) for path in (checkout / "nightshift/simulate").glob("*.py")}
    readers = [files for files in inputs if modules & set(files)]
    assert len(inputs) > 5
    assert sum("notebooks/digest.ipynb" in files for files in inputs) == 1
    assert len(readers) == 1
    assert "notebooks/simulate.ipynb" in readers[0]
    assert modules <= set(readers[0])


def test_an_executed_training_that_was_cut_off_is_no_obstacle(one_night, planned):
    executed = one_night[0] / NIGHT / "left/3_train.ipynb"
    text, before = executed.read_text(), executed.stat()
    executed.write_text(text[:200])
    plan = planned(one_night[0])
    executed.write_text(text)
    os.utime(executed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "rule all:" in plan or "Nothing to be done" in plan
    assert "rule 3_train" not in plan, "the model is of this week"


def test_this_machine_is_a_source_and_no_file(checkout, planned):
    configure(checkout, left={"extract": {"source": "this_machine"}})
    assert "left/1_extract" in planned(checkout)


def test_two_runs_at_once_do_not_meet(one_night):
    _, printed, (code, second) = one_night
    assert code != 0
    assert "another run" in second
    assert "4_analyse: 4 of 4 cells" in printed  # the first one went on


def test_a_killed_run_leaves_no_lock_and_the_next_one_completes(mended):
    folder, code, printed = mended
    assert code == 0, printed
    assert (folder / "data/findings/left.parquet").exists()
    assert not (folder / HALF).exists()


@pytest.fixture(scope="module")
def tried(mended, tmp_path_factory):
    """A copy of that checkout in which somebody runs an analysis with another parameter; {product: content} before and after."""
    folder = shutil.copytree(mended[0], tmp_path_factory.mktemp("tried"), dirs_exist_ok=True)
    before = published(folder)
    command = [sys.executable, "-m", "papermill", "notebooks/right/4_analyse.ipynb", "out.ipynb", "-k", "python3", "-p", "rate", "0.9"]
    outside = {name: value for name, value in os.environ.items() if name != "NIGHTSHIFT_RUN"}
    subprocess.run(command, cwd=folder, env=outside, check=True, capture_output=True)
    return folder, before, published(folder)


def published(folder):
    """{path: (content, time)} of all that a checkout publishes."""
    files = [path for name in ("data", "models", "reports") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_try_out_changes_nothing_that_is_published_and_makes_nothing_run_again(tried, planned):
    folder, before, after = tried
    assert after == before
    [written] = folder.rglob("try/data/findings/right.parquet")
    assert written.stat().st_mtime_ns > (folder / "data/findings/right.parquet").stat().st_mtime_ns
    assert "**Try-out:** this run reads the products of the night below" in (folder / "out.ipynb").read_text()
    assert "right/" not in planned(folder)


@pytest.fixture(scope="module")
def disturbed(tried):
    """That checkout after a run before which products were changed by hand and the source of `left` went away; code and print."""
    folder = tried[0]
    (folder / "data/findings/right.parquet").write_bytes((folder / "data/scores/right.parquet").read_bytes())
    (folder / "models/right/metrics.json").write_text("{")
    configure(folder, left={"extract": {"source": "gone/*.csv"}}, right=READS)
    return folder, *run_chain("config.yaml", folder)


def test_what_the_chain_did_not_make_itself_is_made_again(tried, disturbed, planned):
    folder, _, printed = disturbed
    assert "nightshift: right: data/findings/right.parquet is not as 4_analyse left it, so it is made again" in printed
    assert "nightshift: right: models/right/metrics.json cannot be read, so it is made again" in printed
    for step in ("3_train", "4_analyse"):
        assert f"right/{step}: 4 of 4 cells" in printed
    assert "right/2_preprocess" not in printed
    assert (folder / "data/findings/right.parquet").read_bytes() == tried[1]["data/findings/right.parquet"][0]
    assert json.loads((folder / NIGHT / "run.json").read_text())["studies"]["right"]["verdict"] == "ok"
    assert "right/" not in planned(folder), "and once more there is nothing to do"


def test_a_source_without_a_file_is_the_failure_of_its_study_alone(disturbed):
    folder, code, printed = disturbed
    assert code != 0
    assert "left failed in 1_extract: FileNotFoundError: no file matches gone/*.csv" in printed
    run = read_run(folder / NIGHT, "left", "1_extract")
    assert (run["outcome"], run["error"]) == ("failed", "FileNotFoundError: no file matches gone/*.csv")
    assert read_run(folder / NIGHT, "left", "4_analyse")["outcome"] == "not run", "that of the run before does not stand"
    digest = json.loads((folder / "data/incidents/2026-01-31.json").read_text())
    assert (digest["nights"], digest["missing"]) == ({"right": "2026-01-31"}, ["left"])


def test_without_its_memory_the_chain_publishes_no_other_night_as_tonight(disturbed, planned, tmp_path):
    folder = shutil.copytree(disturbed[0], tmp_path / "moved", ignore=shutil.ignore_patterns(".snakemake"))
    assert "right/" not in planned(folder)
    plan = planned(folder, day="2026-02-01")
    assert "right/1_extract.log" in plan
    assert "right/3_train.log" not in plan
    shutil.copy2(folder / "data/scores/right.parquet", folder / "data/clean/right.parquet")
    assert "right: data/clean/right.parquet is not as 2_preprocess left it, so it is made again" in planned(folder)
