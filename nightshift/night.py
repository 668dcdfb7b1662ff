"""Run the steps of one night: the chain, the digest, the site and the mail, with one run at a time below a
folder.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from nightshift import forkserver, workers

REPOSITORY = Path(__file__).resolve().parents[1]
WELL, FAILED, WRONG, LOCKED = range(4)  # exit codes
PATIENCE_S = 10  # for a process that was asked to end
# what Snakemake and the site take two seconds of a processor to import: once, and not for each of them again
SLOW = ("snakemake.cli", "pandas", "smart_open", "nightshift.reporting.site")


def run_night(path, day, cores="all", quiet=False):
    """Run chain, digest and site of one night; returns the exit code of the command."""
    from nightshift.config import load

    try:
        # before the folder changes: notebooks and products count from the repository
        path = Path(path).expanduser().resolve()
        os.chdir(REPOSITORY)
        config = load(path, day or None)
        check_cores(cores)
        root = Path(config.get("products") or ".").expanduser()
        workers.choose(config.get("engine", workers.LOCAL), config.get("engine_workers", 2))
    except (ValueError, RuntimeError) as error:
        return refuse(error)
    signal.signal(signal.SIGTERM, stop)
    try:
        with held(root):
            sweep(root)
            return run_held(path, config, root, cores, quiet)
    except Busy as error:
        print_line(str(error))
        return LOCKED
    except OSError as error:
        print_line(f"{root} cannot be written: {error}")
        return WRONG
    except ValueError as error:
        print_line(f"products is {str(root)!r}: {error}")
        return WRONG
    except KeyboardInterrupt as error:
        print_line("stopped; the same command goes on with what was cut off")
        return 128 + (error.args[0] if error.args else signal.SIGINT)


def check(path, day, quiet=False):
    """Look at the sources of a configuration and print what is there; returns the exit code."""
    with without_bars():
        from nightshift.check import print_reports

    try:
        path = Path(path).expanduser().resolve()
        os.chdir(REPOSITORY)
        return FAILED if print_reports(path, day, quiet, show=print) else WELL
    except (ValueError, RuntimeError) as error:
        return refuse(error)


def refuse(error):
    """Print what is wrong with a configuration, a line for each mistake, or with a path, such as a home of
    nobody; returns the exit code.
    """
    for line in getattr(error, "lines", [error]):
        print_line(line)
    return WRONG


@contextlib.contextmanager
def without_bars():
    """Import what shows progress so that it shows none: tqdm reads its settings when it is imported."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before


def run_held(path, config, root, cores, quiet):
    """Run the night of `config`, checked, in the folder `root` that this process holds, unless a run would
    change nothing; WELL or FAILED.
    """
    from nightshift import unchanged
    from nightshift.chain import Night

    night = Night(config)
    read = unchanged.what_it_reads(night)
    if unchanged.is_unchanged(night, read):
        return FAILED if announce(root, config["day"], config) else WELL
    unchanged.forget(root)
    code = run_chain(config, root, cores, quiet)
    if publish_night(path, config["day"]) or code:
        return FAILED
    unchanged.remember(root, read)
    return WELL


def check_cores(cores):
    """Make sure that `cores`, a text, is a number of processors or all; ValueError says so in one line."""
    if not re.fullmatch(r"all|[1-9][0-9]*", cores):
        raise ValueError(f"cores is {cores!r}: it must be a number of processors, or all")


def stop(number, frame):
    """Stop the night because of the signal `number`, as an interrupt from the keyboard does."""
    raise KeyboardInterrupt(number)


def run_chain(config, root, cores, quiet=False, pages=True):
    """Run the steps of all studies and then the digest for the night of `config`, checked; WELL or FAILED.
    Without `pages`, notebooks that write no table of findings are left out.
    """
    log = root / "reports" / config["day"] / "chain.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    failed = []
    for name in SLOW:
        importlib.import_module(name)
    sys.modules["snakemake.cli"].get_argument_parser()  # finds the plugins, a quarter of a second
    # a link where the repository is read-only: Snakemake makes the folder, but not where a link leads
    Path(".snakemake").resolve().mkdir(parents=True, exist_ok=True)
    with temporary_folder() as folder, fork_server(folder):
        for target in ("all" if pages else "findings", "digest"):
            try:
                made = run_target(target, config, root, cores, log, quiet)
            except Exception as error:  # whatever it is, the rest of the night goes on and is published
                print_line(f"{target}: {type(error).__name__}: {' '.join(str(error).split())[:250]}")
                made = False
            failed += [] if made else [target]
    return FAILED if failed else WELL


def elsewhere():
    """Whether steps may run on other machines, as a profile of Snakemake says: see deploy/slurm/profile."""
    return bool(os.environ.get("SNAKEMAKE_PROFILE"))


def fork_server(folder):
    """A fork server with its socket in `folder`, while the block runs; none where steps run elsewhere: there
    they do not find it, and from here it would do their work outside of the jobs that are charged for it.
    """
    return contextlib.nullcontext() if elsewhere() else forkserver.running(folder)


def temporary_folder(beside=None):
    """A folder that is there while the block runs; beside the file `beside`, which other machines see."""
    return tempfile.TemporaryDirectory(prefix="nightshift-", dir=beside and beside.parent)


def run_target(target, config, root, cores, log, quiet=False):
    """Let Snakemake make `target`, "all", "findings" or "digest"; whether it could. What it says goes to the
    file `log`; it is shown where no record says more.
    """
    from nightshift.runs import end_unrun, failed_since, iso

    report, begun, size = log.parent, iso(datetime.now(UTC)), log.stat().st_size
    with temporary_folder(beside=log if elsewhere() else None) as folder:
        arguments, lines = arguments_of(target, config, cores, Path(folder))
        for line in lines:
            print_line(line)
        code = watched(arguments, log, quiet)
    if code and not failed_since(report, begun):
        words = last_words(log.read_bytes()[size:].decode(errors="replace"))
        what = "the digest" if target == "digest" else "the chain"
        print_line(f"{what} could not run: {words} (more in {log})")
        if target == "digest":  # what stands there is not of this run
            end_unrun(report, "", "digest", words)
    return code == 0


def arguments_of(target, config, cores, folder):
    """(arguments with which Snakemake makes `target` for the checked `config`, which is written to `folder`;
    lines about products that it makes again).
    """
    from nightshift.chain import Night

    typed, forced = folder / "config.json", Night(config).forced(target)
    typed.write_text(json.dumps(config), encoding="utf-8")  # JSON, so that each value arrives in its type
    arguments = [
        "--configfile",
        str(typed),
        "--cores",
        cores,
        "--keep-going",
        "--rerun-incomplete",
        "--nolock",
    ]
    arguments += [
        *(["--forcerun", *forced] if forced else []),
        "--rerun-triggers",
        "mtime",
        "params",
        "input",
        "--",
        target,
    ]
    return arguments, [line for line in forced.values() if line != "due"]


def watched(arguments, log, quiet):
    """Exit code of Snakemake with these arguments, in a process of its own; its lines of progress are shown
    unless `quiet`, all else goes to `log`.
    """
    reading, writing = os.pipe()
    with forked(run_snakemake, arguments, reading, writing, quiet) as child:
        os.close(writing)
        with open(reading, "rb") as messages, log.open("ab") as file:
            for line in messages:  # ends with the child and its children
                file.write(line)
                file.flush()
    return child.exitcode


def run_snakemake(arguments, reading, writing, quiet):
    """Call Snakemake, which ends this process; its standard error goes to `writing`, an end of a pipe."""
    import snakemake.cli

    os.close(reading)
    os.dup2(writing, 2)
    if quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w"), line_buffering=True) for n in (1, 2))
    snakemake.cli.main(arguments)


def publish_night(path, day):
    """Publish the night of the configuration at `path` in a process of its own, and return its exit code."""
    with forked(lambda: sys.exit(publish(path, day))) as child:
        pass
    return child.exitcode


@contextlib.contextmanager
def forked(work, *arguments):
    """A process that calls `work(*arguments)` and has ended when the block ends. It is a fork of this one, so
    that it finds imported what this one has imported.
    """
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    try:
        yield child
        child.join()
    except BaseException:
        child.terminate()
        child.join(PATIENCE_S)
        child.kill()  # Snakemake 9.27 may wait for ever when its jobs end by the same signal as itself
        child.join()
        raise


def last_words(text):
    """What Snakemake says of an error in its output `text`, as one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    at = next((i for i, line in enumerate(lines) if re.search(r"\w*(Error|Exception)\b", line)), None)
    from nightshift.wording import one_line

    words = lines[at : at + 2] if at is not None else lines[-1:]
    return one_line(" ".join(words))[:250] or "it said nothing"


# ------------------------------------------------------------------------------------ what it has left behind


def night_of(path, day=""):
    """Read which night a command is about: (configuration, night as text, root of its products).

    The configuration is read and not checked, so that a mistake in one study hinders no page and no mail of
    the others. ValueError says in one line what is wrong.
    """
    from helpers import project_path
    from nightshift.config import read_yaml, unknown_studies
    from nightshift.reporting.products import is_day, refuse_future

    config = read_yaml(path)
    if day and not is_day(day):
        raise ValueError(f"--day is {day!r}: it must be a date such as 2026-01-31")
    try:
        day = day or str(config.get("day") or "")
        if not is_day(day):
            raise ValueError(f"day is {day!r}: it must be a date such as 2026-01-31")
        refuse_future(day)
        if not isinstance(config.get("studies") or {}, dict):
            raise ValueError("studies is no mapping of studies to their steps")
        if lines := unknown_studies(config.get("studies") or {}):
            raise ValueError("; ".join(lines))
        if not isinstance(products := config.get("products") or "", str):
            raise ValueError(f"products is {products!r}: it must be a path")
        return config, day, project_path(products)
    except (ValueError, RuntimeError) as error:  # the latter of a home of nobody
        raise ValueError(f"{path}: {error}") from None


def publish(path, day=""):
    """Render a night for the configuration at `path`, unless all is as it was after that had been done, and
    send its mail; returns the exit code.
    """
    from nightshift import unchanged
    from nightshift.reporting.settings import site_settings

    try:
        config, day, root = night_of(path, day)
        last_days = {name: str((steps or {}).get("day", day)) for name, steps in config["studies"].items()}
        settings = site_settings(config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        print_line(error if isinstance(error, ValueError) else f"{path}: it has no readable `studies`")
        return WRONG
    try:
        (root / "reports" / day).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        print_line(f"{root} cannot be written: {error}")
        return WRONG
    read = unchanged.what_a_site_reads(config, day)
    if unchanged.is_as_left(root, read, unchanged.SITE):
        code = FAILED if announce(root, day, config) else WELL
    else:
        unchanged.memo_of(root, unchanged.SITE).unlink(missing_ok=True)
        code = render_and_announce(root, day, config, last_days, settings)
    if code == WELL:
        unchanged.remember(root, read, unchanged.SITE)
    return code


def render_and_announce(root, day, config, last_days, settings):
    """Render the night `day` and send its mail; returns the exit code.

    last_days : {study: last day of its data}; settings : as `site_settings` has them.
    """
    from nightshift.reporting.site import later_night, render_night, was_published

    if was_published(root, day) and (later := later_night(root, last_days)):
        print_line(f"the products are those of {later}; the pages of {day} stay as they are")
        return WRONG
    keep_nights, site_url = settings
    _, studies, digest = render_night(root, day, last_days, keep_nights=keep_nights, site_url=site_url)
    unsent = announce(root, day, config)
    failed = digest["outcome"] != "ok" or digest["damaged"] or digest["troubles"] or unsent
    return FAILED if failed or any(s["hinders"] for s in studies) else WELL


def publish_again(path, day=""):
    """Publish a night that has run, as `publish`; one that left nothing is refused, since its red page would
    stay in the list of nights for good.
    """
    try:
        _, asked, root = night_of(path, day)
    except (ValueError, TypeError, KeyError, AttributeError):
        return publish(path, day)  # which says what is wrong
    if not any((root / "reports" / asked).glob("*")):
        how = f"`nightshift run --day {asked}` runs it"
        print_line(f"{asked} has not run, so there is nothing to publish: {how}")
        return WRONG
    return publish(path, day)


def announce(root, day, config):
    """Say what the published night `day` says and where its front page is, and send its mail; returns lines
    of what could not be sent, which changes nothing about the site.
    """
    from nightshift.products import read_json
    from nightshift.reporting.summary_lines import lines_of

    report, unsent = REPOSITORY / root / "reports" / day, []
    for line in lines_of(read_json(report / "digest.json")):
        print(line, file=sys.stderr)
    if config.get("mail"):
        from nightshift.notify.policy import send_night

        unsent = send_night(REPOSITORY / root, day, config)
    for line in unsent:
        print(f"mail: {line}", file=sys.stderr)
    print(f"Front page: {report / 'index.html'}", flush=True)
    return unsent


def mail(path, day="", dry_run=False):
    """Send the mail of a published night, or write it as drafts; returns the exit code."""
    from nightshift.notify.policy import send_night
    from nightshift.notify.settings import read_settings

    try:
        config, day, root = night_of(path, day)
        if not read_settings(config):
            raise ValueError(f"{path}: it says nothing under `mail`")
    except ValueError as error:
        print_line(error)
        return WRONG
    troubles = send_night(root, day, config, dry_run=dry_run)
    for line in troubles:
        print_line(f"mail: {line}")
    return FAILED if troubles else WELL


# ------------------------------------------------------------------------------------------------- the folder


class Busy(Exception):
    """Another run writes to the folder."""


@contextlib.contextmanager
def held(folder):
    """Let one run at a time write below `folder`; Busy names the process that does. The system releases it,
    however this process ends.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / ".lock", blocking=False), folder / ".lock.holder"
    try:
        with lock:
            holder.write_text(str(os.getpid()))
            yield
    except Timeout:
        who = holder.read_text().strip() if holder.exists() else "unknown"
        raise Busy(
            f"another run (process {who}) writes to {folder.resolve()}; wait for it, "
            "or set another `products` folder"
        ) from None


def sweep(folder):
    """Remove what killed runs left half written below `folder`: hidden files with 8 hexadecimal digits before
    their name, as `atomic` in helpers.py makes them. Those of the last hour stay, in case somebody works in a
    notebook beside the chain.
    """
    for name in ("data", "encoders", "models", "plots", "reports"):
        for path in (folder / name).rglob(f".{'[0-9a-f]' * 8}-*"):
            with contextlib.suppress(OSError):  # it is somebody else's
                if path.is_file() and path.stat().st_mtime < time.time() - 3600:
                    path.unlink()


def print_line(line):
    """Print `line`, a text or an error, as one line of our own where errors go."""
    print(f"nightshift: {' '.join(str(line).split())}", file=sys.stderr, flush=True)
