"""What commands say: lines for people, or JSON lines; with --quiet only what needs a person."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from conftest import REPOSITORY
from incident_tables import DAY, a_night, write_incidents, write_run

from nightshift.log import JsonLines, handler, print_line
from nightshift.night import say_steps


def nightshift(*arguments, **environment):
    """(exit code, lines on standard output, lines on standard error) of the command."""
    command = [sys.executable, "-m", "nightshift", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=os.environ | environment, timeout=120)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A configuration of a source that is not there, and a published night."""
    folder = tmp_path_factory.mktemp("said")
    write_incidents(folder, a_night())
    write_run(folder)
    config = {"day": DAY, "products": str(folder), "studies": {"accounting": {"extract": {"source": str(folder / "nothing")}}}}
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    return folder / "site.yaml"


def test_a_problem_is_the_only_line_of_a_quiet_check(site):
    code, out, err = nightshift("check", "--config", site, "--quiet")
    assert (code, err) == (1, [])
    assert [line.split(": ")[0] for line in out] == ["accounting"]
    code, out, err = nightshift("check", "--config", site)
    assert [line.split(":")[0] for line in out if not line.startswith(" ")] == ["accounting", "disk", "clock", "key"]


def test_lines_of_json_hold_time_level_and_message(site):
    code, out, err = nightshift("--log", "json", "check", "--config", site)
    lines = [json.loads(line) for line in out]
    assert (code, err) == (1, [])
    assert {line["level"] for line in lines} == {"info", "warning"}
    [problem] = [line for line in lines if line["level"] == "warning"]
    assert problem["study"] == "accounting"
    assert problem["time"].endswith("Z")
    code, out, [line] = nightshift("status", "--config", site, "--quiet", NIGHTSHIFT_LOG="json")
    assert (code, out, json.loads(line)["level"]) == (1, [], "error")


def test_in_json_each_step_of_the_night_says_how_it_ended(tmp_path, monkeypatch, capsys):
    report = tmp_path / DAY
    (report / "tickets").mkdir(parents=True)
    steps = {"tickets/1_extract": "2026-02-01T03:00:00", "tickets/2_preprocess": "2026-02-01T03:40:00", "digest_run": "2026-02-01T03:50:00"}
    for name, started in steps.items():
        study, _, step = name.rpartition("/")
        record = {"study": study, "step": step.removesuffix("_run"), "outcome": "ok", "started": started, "seconds": 2.5}
        (report / f"{name}.json").write_text(json.dumps(record))
    say_steps(report, "2026-02-01T03:30:00")
    assert capsys.readouterr().out == "", "text has lines of progress instead"
    monkeypatch.setattr(handler, "formatter", JsonLines())
    say_steps(report, "2026-02-01T03:30:00")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["digest: ok", "tickets 2_preprocess: ok"]
    expected = {"level": "info", "night": DAY, "study": "tickets", "step": "2_preprocess", "outcome": "ok", "seconds": 2.5}
    assert expected.items() <= lines[1].items()


def test_an_error_is_one_line_with_the_name_of_the_program(capsys):
    print_line(ValueError("two\nlines"), night=DAY)
    assert capsys.readouterr() == ("", "nightshift: two lines\n")
