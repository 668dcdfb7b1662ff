"""The command: who may write to a folder, what it says where Snakemake says little, and its exit codes."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY

from nightshift import night, unchanged
from nightshift.runs import failed_since, read_run


def test_one_run_at_a_time_and_the_other_names_it(tmp_path):
    holds = "import sys\nfrom pathlib import Path\nfrom nightshift.night import held\n"
    holds += f"with held(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{holds}    sys.stdin.read()"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "held\n"
    for _ in range(2):  # who asks takes nothing away
        with pytest.raises(night.Busy, match=rf"another run \(process {other.pid}\) writes to {tmp_path}; wait for it"), night.held(tmp_path):
            pass
    other.kill()
    other.wait()
    with night.held(tmp_path):
        pass


def test_an_error_of_snakemake_itself_is_said_and_its_text_is_kept(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").write_text('rule all:\n    input: "{name}.txt"\n')
    (tmp_path / "log").touch()
    monkeypatch.chdir(tmp_path)
    assert night.watched(["--cores", "1"], tmp_path / "log", True) == 1
    printed = night.last_words((tmp_path / "log").read_text())
    assert printed.startswith("WildcardError in rule all")
    assert "Wildcards in input files cannot be determined" in printed
    assert night.last_words("") == "it said nothing"
    latency = "consider to increase the wait time with --latency-wait:\n/p/data/scores/x.parquet (missing locally, parent dir contents: y)\n"
    waited = f"MissingOutputException in rule 4_analyse:\nJob 1 completed successfully, but some output files are missing. {latency}"
    assert night.last_words(waited) == "/p/data/scores/x.parquet was gone as soon as it was written; run the same command again"


def test_a_digest_that_could_not_run_is_no_digest_of_an_earlier_run(tmp_path, monkeypatch, capsys):
    report = tmp_path / "reports/2026-01-31"
    report.mkdir(parents=True)
    (report / "chain.log").write_text("")
    (report / "digest_run.json").write_text('{"version": 1, "outcome": "ok"}')
    monkeypatch.setattr(night, "arguments_of", lambda *_: ([], ["left: x is not as 4_analyse left it, so it is made again"]))
    monkeypatch.setattr(night, "watched", lambda arguments, log, quiet: log.write_text("WorkflowError:\nno space left\n") and 1)
    assert not night.run_target("digest", {}, tmp_path, "1", report / "chain.log")
    run = read_run(report, "", "digest")
    assert (run["outcome"], run["error"]) == ("failed", "it did not run: WorkflowError: no space left")
    assert failed_since(report, run["ended"])
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "nightshift: left: x is not as 4_analyse left it, so it is made again"
    assert printed[1].startswith("nightshift: the digest could not run: WorkflowError: no space left (more in ")
    monkeypatch.setattr(night, "watched", lambda arguments, log, quiet: log.write_text("resources: tmpdir=/tmp\n") and -signal.SIGKILL)
    (report / "digest_run.json").unlink()
    assert not night.run_target("digest", {}, tmp_path, "1", report / "chain.log")
    assert "nightshift: the digest could not run: Snakemake was killed (SIGKILL) (more in " in capsys.readouterr().err


def test_a_site_whose_process_is_killed_is_said_not_to_be_finished(monkeypatch, capsys):
    monkeypatch.setattr(night, "publish", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    assert night.publish_night("site.yaml", "2026-01-31") == -signal.SIGKILL
    [line] = capsys.readouterr().err.splitlines()
    assert line == "nightshift: the site is not finished: its process was killed (SIGKILL); the same command makes it"


@pytest.mark.parametrize(("published", "chain", "code"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (2, 0, 1)])
def test_a_night_that_was_published_ends_with_0_or_1(published, chain, code, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(night, "run_chain", lambda *_: chain)
    monkeypatch.setattr(night, "publish", lambda path, day, tell: published)
    (tmp_path / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {tmp_path}\nstudies:\n  tickets: {{}}\n")
    (tmp_path / "data").mkdir()
    unchanged.memo_of(tmp_path).write_text("{}")
    assert night.run_night(tmp_path / "site.yaml", "", "2") == code
    assert unchanged.memo_of(tmp_path).exists() == (code == 0)


def test_a_disk_that_becomes_full_ends_the_night_with_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(night, "watched", lambda *_: 1)
    monkeypatch.setattr(night.os, "statvfs", lambda _: SimpleNamespace(f_bavail=10, f_frsize=4096))
    monkeypatch.setattr(night, "publish", None)  # is not come to
    (tmp_path / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {tmp_path}\nstudies:\n  tickets: {{}}\n")
    assert night.run_night(tmp_path / "site.yaml", "", "2", True) == 2
    why = "cannot be written: [Errno 28] No space left on device; make room and run the same command again"
    assert capsys.readouterr().err == f"nightshift: {tmp_path} {why}\n"


def test_a_site_for_which_there_is_no_room_is_one_line(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "run.json")

    monkeypatch.setattr(night, "render_and_announce", full)
    (tmp_path / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {tmp_path}\nstudies:\n  tickets: {{}}\n")
    assert night.publish(tmp_path / "site.yaml") == 1
    why = "cannot be written: [Errno 28] No space left on device: 'run.json'; make room and run the same command again"
    assert capsys.readouterr().err == f"nightshift: {tmp_path} {why}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_site_that_is_stopped_is_one_line(number, monkeypatch, capfd):
    monkeypatch.setattr(night, "publish", lambda *_, **__: night.stop(number, None))
    assert night.publish_night("site.yaml", "2026-01-31") == -number
    line = f"the site is not finished: its process was killed ({number.name}); the same command makes it"
    assert capfd.readouterr().err == f"nightshift: {line}\n"


def test_missed_nights_are_made_up_for_in_order_and_told_with_the_last(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    done = []

    def publish(path, day, tell):
        done.append(("published", day, tell))
        (tmp_path / "reports" / day).mkdir(parents=True)
        for name in ("run.json", "index.html"):
            (tmp_path / "reports" / day / name).write_text("{}")
        return int(day == "2026-01-29")

    monkeypatch.setattr(night, "run_chain", lambda config, *_: done.append(("ran", config["day"])))
    monkeypatch.setattr(night, "publish_night", lambda path, day, *, tell: publish(path, day, tell))
    (tmp_path / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {tmp_path}\nstudies:\n  tickets: {{}}\n")
    assert night.run_nightly(tmp_path / "site.yaml", "2026-01-27") == 0, "the first night ever"
    assert night.run_nightly(tmp_path / "site.yaml", "2026-01-30") == 1, "one of them had a failure"
    assert done == [
        *[("ran", "2026-01-27"), ("published", "2026-01-27", True)],
        *[("ran", "2026-01-28"), ("published", "2026-01-28", False)],
        *[("ran", "2026-01-29"), ("published", "2026-01-29", False)],
        *[("ran", "2026-01-30"), ("published", "2026-01-30", True)],
    ]
    assert capsys.readouterr().out == "2 missed nights first: 2026-01-28, 2026-01-29\n"
    done.clear()
    assert night.run_night(tmp_path / "site.yaml", "2026-02-04") == 0, "a night that is asked for makes up for none"
    assert done == [("ran", "2026-02-04"), ("published", "2026-02-04", True)]


def test_a_night_that_was_stopped_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(night, "run_chain", lambda *_: night.stop(signal.SIGTERM, None))
    (tmp_path / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {tmp_path}\nstudies:\n  tickets: {{}}\n")
    (tmp_path / "data").mkdir()
    unchanged.memo_of(tmp_path).write_text("{}")
    assert night.run_night(tmp_path / "site.yaml", "", "2") == 128 + signal.SIGTERM
    assert not unchanged.memo_of(tmp_path).exists()


def test_what_is_wrong_ends_with_2_and_a_folder_in_use_with_3(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(night, "run_chain", lambda *_: pytest.fail("nothing may run"))
    site = tmp_path / "site.yaml"
    site.write_text(f"day: 2026-01-31\nproducts: {tmp_path}\nstudies:\n  tickets: {{}}\n")
    assert night.run_night(site, "2126-01-31") == 2
    assert night.run_night(site, "", "none") == 2
    assert night.run_night(tmp_path / "none.yaml", "") == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 3
    assert all(line.startswith("nightshift: ") for line in printed)
    monkeypatch.setattr(night, "held", lambda folder: (_ for _ in ()).throw(night.Busy("another run")))
    assert night.run_night(site, "") == 3


def deaf():
    """Do not end when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


def test_a_night_that_is_asked_to_end_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(night, "PATIENCE_S", 0.2)
    children = []

    def a_night():
        with night.forked(deaf) as child:
            children.append(child)
            time.sleep(0.5)
            night.stop(signal.SIGTERM, None)

    with pytest.raises(KeyboardInterrupt):
        a_night()
    assert children[0].exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("products", "line"),
    [
        ("~nobody9/x", "no home folder is known for ~nobody9/x"),
        ('"a\\0b"', "products holds U+0000"),
        ("/proc/nope", "cannot be written"),
        ("[a]", "products is ['a']"),
    ],
)
@pytest.mark.parametrize("command", [night.run_night, night.publish])
def test_a_folder_that_cannot_be_is_one_line(command, products, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(night, "run_chain", lambda *_: pytest.fail("nothing may run"))
    (tmp_path / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {products}\nstudies: {{tickets: {{}}}}\n")
    assert command(tmp_path / "site.yaml", "") == 2
    [printed] = capsys.readouterr().err.splitlines()
    assert line in printed


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_an_account_without_a_name_is_one_line(error, monkeypatch):
    def nobody():
        raise error("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(night.getpass, "getuser", nobody)
    with pytest.raises(ValueError, match=r"^this account has no name: set the environment variable USER$"):
        night.this_user()


@pytest.mark.parametrize("command", [night.run_night, night.check])
def test_a_configuration_in_a_home_that_nobody_has_is_one_line(command, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert command("~nobody9/site.yaml", "") == 2
    assert capsys.readouterr().err == "nightshift: no home folder is known for ~nobody9/site.yaml\n"


def test_the_command_that_links_the_notes_of_snakemake_takes_a_path_with_blanks_as_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(night, "REPOSITORY", tmp_path / "a b")
    monkeypatch.setattr(night.os, "access", lambda path, mode: False)
    line = night.trouble_with_notes(tmp_path / "products")
    assert line.endswith(f": rm -rf '{tmp_path}/a b/.snakemake' && ln -s {tmp_path}/products/.snakemake '{tmp_path}/a b/.snakemake'")


def test_a_night_that_never_ran_is_not_published_and_leaves_no_trace(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {tmp_path}\nstudies: {{tickets: {{}}}}\n")
    assert night.publish_again(tmp_path / "site.yaml", "2026-01-30") == 2
    [printed] = capsys.readouterr().err.splitlines()
    assert printed == "nightshift: 2026-01-30 has not run, so there is nothing to publish: `nightshift run --day 2026-01-30` runs it"
    assert not (tmp_path / "reports").exists()
    assert night.publish_again(tmp_path / "site.yaml", "xx") == 2
    assert capsys.readouterr().err.strip() == "nightshift: --day is 'xx': it must be a date such as 2026-01-31"


@pytest.mark.parametrize("command", [night.run_night, night.publish, night.mail])
def test_a_file_that_holds_itself_or_lies_with_nobody_is_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "site.yaml").write_text("x: &a [*a]\n")
    for path in (tmp_path / "site.yaml", "~nobody9/x.yaml"):
        assert command(path, "") == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
