"""What stands in deploy/ for systemd, cron and Slurm does what it says: installed below a folder, then its command lines are executed."""

import configparser
import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import containerfile
import joblib
import numpy as np
import pandas as pd
import pytest
import slurm_cluster
import yaml
from conftest import REPOSITORY, run_here, today
from daemons import PATH, lacking, wait_until
from kustomization import containers, render
from telemetry_raw import DAY, SMALL, samples, write_raw

from helpers import study_paths
from nightshift import workers
from nightshift.backup import read_backup
from nightshift.runs import read_run

DEPLOY = REPOSITORY / "deploy"
SERVICES = ["nightshift-check.service", "nightshift-nightly.service", "nightshift-serve.service"]
SERVICES += ["nightshift-live-export.service", "nightshift-live-telemetry.service", "nightshift-live-transfers.service"]
TIMERS = ["nightshift-check.timer", "nightshift-nightly.timer"]
# root without capabilities cannot write what is read-only, like any account
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)


@pytest.fixture(scope="module")
def installed():
    """Folder of what deploy/Containerfile copies of the repository, in opt/nightshift, from which `deploy/install` has installed into root/."""
    if missing := lacking(["systemd-sysusers", "systemctl", "systemd-analyze", "setpriv"]):
        pytest.skip(f"no systemd here: {', '.join(missing)} missing")
    folder = Path(tempfile.mkdtemp(prefix="deploy-", dir="/tmp"))
    tree = folder / "opt/nightshift"
    names = [*containerfile.copied(), "deploy", "Makefile"]
    for name in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *names, cwd=REPOSITORY).stdout.split("\0")[:-1]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, tree / name)
    for compiled in (REPOSITORY / "nightshift").rglob("__pycache__"):  # else each process of a night compiles the package anew
        run("cp", "--archive", compiled, tree / compiled.relative_to(REPOSITORY).parent)
    (tree / ".venv").symlink_to(sys.prefix)
    install(folder)
    run("chmod", "-R", "a-w", tree)
    assert run(*UNPRIVILEGED, "touch", tree / "written").returncode == 1
    yield folder
    run("chmod", "-R", "u+w", tree)
    shutil.rmtree(folder)


def install(folder):
    make = {"MAKE": "make -o .venv/.installed", "DESTDIR": str(folder / "root")}
    done = run(folder / "opt/nightshift/deploy/install", env=os.environ | make)
    assert done.returncode == 0, done.stderr


def unit(folder, name):
    """The settings of an installed service, its drop-in included, as systemd reads them: {section: {name: last value}}."""
    units = folder / "root/etc/systemd/system"
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read([units / name, units / "nightshift-.service.d/hardening.conf"])
    return parser


def analyze(folder, *arguments):
    """Let systemd-analyze look at the installed units beside those of this machine."""
    units = {"SYSTEMD_UNIT_PATH": f"{folder}/root/etc/systemd/system:"}
    return run("systemd-analyze", *arguments, env={"PATH": PATH} | units)


def test_systemd_accepts_all_units_and_the_timers_are_enabled(installed):
    done = analyze(installed, "verify", *SERVICES, *TIMERS)
    assert (done.returncode, done.stderr) == (0, "")
    wanted = installed / "root/etc/systemd/system/timers.target.wants"
    assert sorted(path.name for path in wanted.iterdir()) == TIMERS
    assert (installed / "root/etc/passwd").read_text().startswith("nightshift:")


def test_a_unit_that_names_no_program_is_not_accepted(installed):
    units = installed / "root/etc/systemd/system"
    (units / "nightshift-wrong.service").write_text((units / SERVICES[2]).read_text().replace("bin/nightshift", "bin/none"))
    done = analyze(installed, "verify", "nightshift-wrong.service")
    (units / "nightshift-wrong.service").unlink()
    assert "bin/none is not executable" in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_hardened(installed, service):
    """The exposure that systemd reckons, from 0 to 10, is at most 2; that of a service without settings is 9.6."""
    options = ["security", "--offline=true", "--no-pager", f"--root={installed}/root"]
    done = analyze(installed, *options, "--threshold=20", service)
    assert done.returncode == 0, done.stdout
    assert analyze(installed, *options, "--threshold=10", service).returncode == 1


def test_the_sources_are_looked_at_an_hour_before_the_night(installed):
    hours = []
    for timer in TIMERS:
        when = re.search("OnCalendar=(.*)", (installed / "root/etc/systemd/system" / timer).read_text())[1]
        shown = run("systemd-analyze", "calendar", when, env={"PATH": PATH, "TZ": "UTC"}).stdout
        hours.append(re.search(r"Next elapse: \w+ [\d-]+ (\d\d:\d\d):00 UTC", shown)[1])
    assert hours == ["02:30", "03:30"]


def test_installing_again_keeps_what_is_configured(installed):
    etc = installed / "root/etc/nightshift"
    assert yaml.safe_load((etc / "site.yaml").read_text())["products"] == f"{installed}/root/var/lib/nightshift"
    assert oct((etc / "site.env").stat().st_mode & 0o777) == "0o600"
    before = (etc / "site.yaml").read_text()
    try:
        (etc / "site.yaml").write_text("day: 2026-01-31\n")
        install(installed)
        assert (etc / "site.yaml").read_text() == "day: 2026-01-31\n"
    finally:
        (etc / "site.yaml").write_text(before)


def configure(folder, products):
    """Write site.yaml and site.env below `folder`: accounting alone, of the example of GRACC."""
    source = shutil.copy(REPOSITORY / "tests/examples/accounting/gracc.jsonl", folder)
    config = {"day": "2026-01-31", "products": str(products), "studies": {"accounting": {"extract": {"source": source}}}}
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    (folder / "site.env").write_text("NIGHTSHIFT_KEY='a secret of two words'\n")


def command_of(installed, service):
    """(command of an installed service, its environment), as for an account that cannot write to the repository."""
    settings, root = unit(installed, service)["Service"], installed / "root"
    words = dict(re.findall(r"(\w+)=(\S+)", settings["Environment"]))
    for path in ("var/lib/nightshift", "var/cache/nightshift", "run/credentials"):
        (root / path).mkdir(parents=True, exist_ok=True)
    environment = {name: value.replace("/var/cache", f"{root}/var/cache") for name, value in words.items()}
    if "LoadCredential" in settings:
        name, _, path = settings["LoadCredential"].partition(":")
        shutil.copy(f"{root}{path}", root / "run/credentials" / name)  # as systemd does it
        environment["CREDENTIALS_DIRECTORY"] = str(root / "run/credentials")
    command = shlex.split(settings["ExecStart"].replace("$$", "$").replace("/etc/nightshift", f"{root}/etc/nightshift"))
    # PYTHONPATH: the environment belongs to the repository, not to its copy
    return [*UNPRIVILEGED, *command], {"PATH": PATH, "PYTHONPATH": str(installed / "opt/nightshift")} | environment


def report_of(products, begun):
    """The folder of the only night that was reported, which is the day before the run began, on the day `begun` or just behind it."""
    [report] = (products / "reports").glob("20??-??-??")
    assert begun - timedelta(1) <= date.fromisoformat(report.name) < today()
    return report


def test_the_nightly_service_publishes_a_night_and_writes_nothing_to_the_repository(installed):
    root = installed / "root"
    configure(root / "etc/nightshift", root / "var/lib/nightshift")
    before = sorted(path for path in (installed / "opt").rglob("*") if path.is_file())
    command, environment = command_of(installed, "nightshift-nightly.service")
    begun, done = today(), run(*command, env=environment, cwd="/")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    digest = json.loads((report_of(root / "var/lib/nightshift", begun) / "digest.json").read_text())
    assert digest["digest"]["outcome"] == "ok"
    assert sorted(path for path in (installed / "opt").rglob("*") if path.is_file()) == before


def test_the_service_before_it_says_what_the_source_lacks(installed):
    command, environment = command_of(installed, "nightshift-check.service")
    done = run(*command, env=environment, cwd="/")
    assert done.returncode == 1, done.stderr
    assert "accounting" in done.stdout


def test_the_line_of_cron_runs_the_same_night(installed):
    """Nothing has changed since the service ran, so that it takes two seconds."""
    [line] = [line for line in (DEPLOY / "crontab").read_text().splitlines() if line.startswith("30 ")]
    times, user, command = line.split()[:5], line.split()[5], line.split(None, 6)[6]
    assert (times, user) == (["30", "3", "*", "*", "*"], "nightshift")
    etc, tree = installed / "root/etc/nightshift", installed / "opt/nightshift"
    command = command.replace("/srv/nightshift", str(etc)).replace("/opt/nightshift", str(tree))
    _, environment = command_of(installed, "nightshift-nightly.service")
    done = run("/bin/sh", "-c", command, env=environment | {"HOME": "/root"})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_repository_of_somebody_else_without_a_link_is_one_line_that_makes_it(installed, tmp_path):
    """As for cron or Slurm where `deploy/install` has not run."""
    tree = installed / "opt/nightshift"
    configure(tmp_path, tmp_path / "products")
    command = [*UNPRIVILEGED, tree / ".venv/bin/python", "-m", "nightshift", "run", "--config", tmp_path / "site.yaml"]
    environment = {"PATH": PATH, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    tree.chmod(0o755)
    before = os.readlink(tree / ".snakemake")
    (tree / ".snakemake").unlink()
    tree.chmod(0o555)
    done = run(*command, env=environment, cwd="/")
    makes = f"rm -rf {tree}/.snakemake && ln -s {tmp_path}/products/.snakemake {tree}/.snakemake"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"nightshift: {tree}/.snakemake cannot be written by this account; as the owner of the repository: {makes}\n"
    assert run("/bin/sh", "-c", f"chmod u+w {tree} && {makes}").returncode == 0
    assert os.readlink(tree / ".snakemake") == f"{tmp_path}/products/.snakemake"
    (tree / ".snakemake").unlink()
    (tree / ".snakemake").symlink_to(before)
    tree.chmod(0o555)


def test_root_has_the_command_as_the_services_run_it(installed, tmp_path):
    """By their user, for whom this test takes its own, and with their credentials."""
    root, me = installed / "root", pwd.getpwuid(os.getuid()).pw_name
    configure(root / "etc/nightshift", root / "var/lib/nightshift")
    text = (root / "usr/local/sbin/nightshift").read_text()
    assert "-o nightshift -g nightshift " in text
    assert "--reuid nightshift --regid nightshift --clear-groups" in text
    text = re.sub("/(etc|var/lib|var/cache)/nightshift", rf"{root}/\1/nightshift", text.replace("-o nightshift -g nightshift ", ""))
    text = text.replace("--reuid nightshift --regid nightshift --clear-groups", f"--reuid {me}")
    command = ["backup", tmp_path / "kept.tar.gz", "--config", root / "etc/nightshift/site.yaml"]
    done = run("/bin/sh", "-c", text, "nightshift", *command, env={"PATH": PATH, "PYTHONPATH": str(installed / "opt/nightshift")}, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert read_backup(tmp_path / "kept.tar.gz")["keys.env"] == b"NIGHTSHIFT_KEY='a secret of two words'\n"


def in_image(installed, command, **variables):
    """Run a command line of the image or of Kubernetes on the installed tree, with further environment variables: (exit code, what it prints)."""
    tree = installed / "opt/nightshift"

    def here(text):
        text = text.replace("/opt/nightshift", str(tree))
        return re.sub("/(etc|var/lib)/nightshift", rf"{installed}/root/\1/nightshift", text)

    environment = {name: here(value) for name, value in containerfile.environment().items()} | {"PYTHONPATH": str(tree)}
    environment |= variables
    done = run(*UNPRIVILEGED, *map(here, command), env=environment, cwd=tree)
    return done.returncode, done.stdout, done.stderr


def test_the_command_lines_of_the_container_and_of_kubernetes_run_the_same_night(installed):
    [container] = [one for one in containers(render(DEPLOY / "kubernetes/overlays/example")) if one["name"] == "nightly"]
    for arguments in (containerfile.command(), container["args"]):
        # compiled before: to compile all libraries again takes 10 s; the check of the health does so with those that it needs
        assert in_image(installed, [*containerfile.entry(), *arguments], PYTHONPYCACHEPREFIX="")[:2] == (0, "")
    cache = installed / "root/var/lib/nightshift/.cache"
    assert (cache / "tmp").is_dir()
    assert in_image(installed, containerfile.command("HEALTHCHECK")) == (0, "", "")
    assert list((cache / "python").rglob("nightshift/cli.*.pyc")), "what is compiled stays in the volume"


def test_the_health_of_a_container_without_a_night_is_bad(installed):
    site = installed / "root/etc/nightshift/site.yaml"
    before = site.read_text()
    site.write_text(before.replace("var/lib/nightshift", "var/lib/nothing"))
    code, _, error = in_image(installed, containerfile.command("HEALTHCHECK"))
    site.write_text(before)
    assert (code, error) == (1, "nightshift: no night has been published\n")


@pytest.fixture(scope="module")
def slurm():
    """The environment of a cluster, whose clients find it although Snakemake hands no variable SLURM_* to its jobs."""
    if missing := slurm_cluster.missing():
        pytest.skip(f"no Slurm here: {', '.join(missing)} missing")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    try:
        with slurm_cluster.cluster(folder, ["physics"]) as environment:
            (folder / "bin").mkdir()
            for name in ("sbatch", "sacct", "sacctmgr", "scancel", "scontrol", "sinfo", "squeue", "srun"):
                program = shutil.which(name, path=PATH)
                (folder / "bin" / name).write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program} "$@"\n')
                (folder / "bin" / name).chmod(0o755)
            yield environment | {"PATH": f"{folder}/bin:{PATH}"}
    finally:
        shutil.rmtree(folder)


def scrontab():
    """(options of sbatch, command) of the entry in deploy/slurm/scrontab: what Slurm makes a batch job of."""
    lines = (DEPLOY / "slurm/scrontab").read_text().splitlines()
    [entry] = [line.split() for line in lines if not line.startswith("#")]
    assert entry[:5] == ["30", "3", "*", "*", "*"]
    return [line.removeprefix("#SCRON ") for line in lines if line.startswith("#SCRON ")], entry[5]


def test_a_night_of_scrontab_lets_each_step_be_a_job_of_slurm(slurm, tmp_path):
    """Its source is not there, so that it has two steps: one job that fails, and the digest, which does not."""
    configure(tmp_path, tmp_path / "products")
    (tmp_path / "gracc.jsonl").unlink()
    options, command = scrontab()
    options = [option.replace("/srv/nightshift", str(tmp_path)) for option in options]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    nightshift = {"NIGHTSHIFT": str(tmp_path), "SNAKEMAKE_PROFILE": str(DEPLOY / "slurm/profile"), "PYTHONPATH": str(REPOSITORY)}
    script = REPOSITORY / command.removeprefix("/opt/nightshift/")
    begun, job = today(), run("sbatch", "--parsable", *options, script, env=slurm | nightshift).stdout.strip()
    states = ["sacct", "--allocations", "--noheader", "--parsable2", "--format=JobName,State,ReqMem"]
    assert wait_until(lambda: re.search("nightshift.(COMPLETED|FAILED)", run(*states, env=slurm).stdout), 480)
    jobs = sorted(row.split("|")[1:] for row in run(*states, env=slurm).stdout.split() if not row.startswith("nightshift"))
    log = (tmp_path / f"nightshift-{job}.log").read_text()
    assert jobs == [["COMPLETED", "2000M"], ["FAILED", "2000M"]], log
    report = report_of(tmp_path / "products", begun)
    assert read_run(report, "accounting", "1_extract")["error"].endswith(f"no file matches {tmp_path}/gracc.jsonl")
    assert read_run(report, "", "digest")["outcome"] == "ok"
    assert log.startswith("accounting failed in 1_extract: FileNotFoundError")
    assert not list(report.glob("nightshift-*"))


@pytest.fixture
def engine(slurm, monkeypatch):
    """Slurm as the engine of heavy tables, reached from this process on the loopback."""
    for name, value in (slurm | {workers.ENGINE: workers.SLURM, workers.COUNT: "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__SCHEDULER_OPTIONS", "{'host': '127.0.0.1'}")


def test_workers_of_slurm_window_nodes_as_this_machine_does(engine, monkeypatch, tmp_path):
    x, written = np.random.default_rng(0).normal(size=(4, 600)), {}
    for products in (tmp_path / "slurm", tmp_path / "local"):
        nodes = {f"n{i}": [samples(range(600), Free__mem=values)] for i, values in enumerate(x)}
        write_raw(products, nodes)
        run_here("telemetry/2_preprocess.ipynb", products, day=DAY, n_jobs=2, **SMALL)
        written[products.name] = pd.read_parquet(study_paths("telemetry", products).clean)
        monkeypatch.setenv(workers.ENGINE, workers.LOCAL)
    assert len(written["slurm"]) == 4 * 117
    pd.testing.assert_frame_equal(written["slurm"], written["local"])
    states = run("sacct", "--allocations", "--noheader", "--parsable2", "--format=JobName").stdout.split()
    assert states.count("dask-worker") == 2


def test_a_queue_that_starts_no_worker_is_one_line(engine):
    run("scontrol", "update", "PartitionName=all", "State=DOWN")
    try:
        with pytest.raises(TimeoutError, match=r"^after 1 s Slurm has started no worker: see squeue$"):
            list(workers.results_of([joblib.delayed(abs)(1), joblib.delayed(abs)(2)], -1, patience_s=1))
    finally:
        run("scontrol", "update", "PartitionName=all", "State=UP")
    assert wait_until(lambda: run("squeue", "-h").stdout == "", 60), "a worker is left in the queue"
