"""Each script of findings/ brings what it runs, by exact version, or says in a line that it needs it."""

import re

import pytest
from conftest import REPOSITORY

INSTALLS = {"pip": r'/pip" install (.*?)(?:;|&&|\|\|)', "apt-get": r"apt-get download (.*?) >"}
OPEN = {"grafana_sdk_newest_is_oldest": ["grafana-foundation-sdk>=11"]}  # which release an open range gives is what it shows
SCRIPTS = sorted((REPOSITORY / "findings").glob("*.sh"))


def installed(script):
    """The requirements that a script installs, without options and quotes."""
    text = script.read_text().replace("\\\n", " ")
    commands = [command for pattern in INSTALLS.values() for command in re.findall(pattern, text, re.S)]
    return [word.strip("'\"") for command in commands for word in command.split() if not word.startswith("-")]


def test_every_file_of_the_findings_is_a_script_that_can_be_started():
    assert len(SCRIPTS) >= 20
    assert [path.name for path in (REPOSITORY / "findings").iterdir() if path not in SCRIPTS or not path.stat().st_mode & 0o100] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_installs_exact_versions_or_names_what_it_needs(script):
    header = script.read_text().partition("\nset -")[0]
    wanted = installed(script)
    assert wanted or re.search(r"^# .*\bNeeds \w", header, re.M)
    versions = [re.split("[-+]", word.partition("=")[2].strip("=").rpartition("!")[2])[0] for word in wanted]
    assert not wanted or any(version in header for version in versions)
    ranges = [word for word in wanted if not re.search(r"^[\w.-]+==?[^=,<>*]+$", word)]
    assert ranges == OPEN.get(script.stem, [])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_cleans_up_and_tells_a_failed_installation_from_another_behaviour(script):
    text = script.read_text()
    assert re.search(r"=\$\(mktemp -d\b", text)
    assert re.search(r"^\s*trap .* EXIT$", text, re.M)
    assert re.search(r'rm -rf "\$(work|folder)"', text)
    failures = re.findall(r'\|\|\s+\{ echo "[^"]+"; exit 2; \}', text)
    assert len(failures) >= max(1, len(re.findall(r"\bpython3 -m venv|apt-get download", text)))
