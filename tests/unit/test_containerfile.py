"""deploy/Containerfile: what can be said of an image without building it. bench/container.py builds it and runs a night inside."""

import re
import subprocess
from datetime import date

import yaml
from conftest import REPOSITORY
from containerfile import command, copied, entry, environment, stages

from nightshift.config import SIMULATE
from nightshift.parameters import declared_at

TEXT = (REPOSITORY / "deploy/Containerfile").read_text()
TOOLS = ("gcc", "g++", "build-essential", "make", "cmake", "python3-dev", "python3-venv", "pip", "git")


def requirements():
    """Lines of requirements.txt that the image installs, as the command of the build says it."""
    [line] = [words for instruction, words in stages()[1] if instruction == "RUN" and "requirements.txt" in words]
    program = re.match(r"sed '([^']*)'", line)[1]
    done = subprocess.run(["sed", program, "requirements.txt"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [re.split(r"[<>= ]", text)[0] for text in done.stdout.splitlines() if text and not text.startswith("#")]


def test_the_image_has_what_a_night_needs_and_no_tools_of_tests():
    installed = requirements()
    assert {"papermill", "snakemake", "keras", "jax", "sentence-transformers", "tornado", "snakemake-executor-plugin-slurm"} <= set(installed)
    tools = {"pytest", "hypothesis", "selenium", "pyte", "aiosmtpd", "ruff", "jupyterlab", "kubernetes-validate", "grafana-foundation-sdk"}
    assert set(installed) & tools == set()


def test_every_installation_is_pinned():
    installs = re.findall(r"pip install [^&]*", TEXT)
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in line for line in installs)
    assert subprocess.run(["grep", "^torch==", "constraints.txt"], cwd=REPOSITORY, capture_output=True).stdout.count(b"\n") == 1


def test_no_host_is_named():
    assert "://" not in TEXT
    assert not re.search(r"\b[\w-]+\.(io|com|org|net|dev)\b", TEXT)


def test_the_last_stage_has_no_compiler_and_runs_as_nobody_of_the_host():
    before, build, last = stages()
    assert [words for instruction, words in before] == ["BASE=debian:bookworm-slim"]
    assert (build[0][1], last[0][1]) == ("${BASE} AS build", "${BASE}")
    packages = " ".join(words for instruction, words in last if instruction == "RUN").split()
    assert "python3" in packages
    assert not set(packages) & set(TOOLS)
    names = [instruction for instruction, _ in last]
    uid, gid = map(int, dict(last)["USER"].split(":"))
    assert min(uid, gid) >= 10000
    assert f"--uid {uid} --gid {gid}" in TEXT
    assert environment()["USER"] == "nightshift"
    assert "RUN" not in names[names.index("USER") :]  # nothing of the image belongs to that user
    assert all(words.startswith("--from=build") for instruction, words in last if instruction == "COPY")


def test_what_is_written_goes_to_the_one_volume():
    [volume] = [words for instruction, words in stages()[2] if instruction == "VOLUME"]
    assert all(environment()[name].startswith(f"{volume}/") for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"))


def test_the_build_copies_what_is_there_and_git_does_not_ignore():
    for name in copied():
        tracked = subprocess.run(["git", "ls-files", "--error-unmatch", name], cwd=REPOSITORY, capture_output=True)
        assert tracked.returncode == 0, name


def test_a_service_reports_the_sample_of_the_day_on_which_it_ends():
    done = subprocess.run(["sed", "--file", "deploy/site.sed", "config.yaml"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    site, config = yaml.safe_load(done.stdout), yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    ends = [date.fromisoformat(declared_at(REPOSITORY / SIMULATE)["day"].default)] * len(config["studies"])
    assert [study.pop("day") for study in site["studies"].values()] == ends
    assert site == config | {"products": "/var/lib/nightshift"}, "else it is the same"


def test_the_container_starts_a_night_and_its_health_is_the_age_of_the_last_one():
    assert entry()[:2] == ["/bin/sh", "-c"]
    assert command() == ["nightly", "--config", "/etc/nightshift/site.yaml", "--quiet"]
    assert command("HEALTHCHECK") == ["nightshift", "status", "--config", "/etc/nightshift/site.yaml", "--quiet"]
