"""Run the steps of one night: the chain, the digest, the site and the mail, with one run at a time below a
folder.
"""

import contextlib
import errno
import getpass
import importlib
import io
import json
import logging
import multiprocessing
import os
import re
import shlex
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from nightshift import catalog, forkserver, workers
from nightshift.log import log, print_line, speaks_json
from nightshift.products import TOLD_BY, correct_times, expanded, read_json
from nightshift.wording import plural

REPOSITORY = Path(__file__).resolve().parents[1]
WELL, FAILED, WRONG, LOCKED = range(4)  # exit codes
CATCH_UP = 7  # missed nights that are made up for, where the configuration does not say
LEAST_ROOM = 2**20  # bytes for the records and pages that say how a night failed
PATIENCE_S = 10  # for a process that was asked to end
# imported once, before the forks: Snakemake and the site take two seconds of a processor to import
SLOW = (
    # first, since skops, which the fork server imports, searches all modules in the order of their import for
    # each function of this one: 2.2 s where it comes first, else 3.6
    "scipy.special",
    "snakemake.cli",
    "pandas",
    "smart_open",
    "nightshift.reporting.site",
)


def run_night(path, day, cores="all", quiet=False):
    """Run chain, digest and site of one night; returns the exit code of the command."""
    return run_nights(path, lambda config, root: [config["day"]], cores, quiet, day=day)


def run_nightly(path, day, cores="all", quiet=False):
    """Do the same for the night `day` and those before it that were missed, the oldest first and with one
    mail at the end; returns the exit code of the command.
    """
    return run_nights(path, due_nights, cores, quiet, day=day)


def due_nights(config, root):
    """List the nights to run for that of `config`, in their order, and print which missed ones these are."""
    from nightshift.missed import nights_due, words_about

    due = nights_due(root / "reports", config["day"], catch_up=config.get("catch_up", CATCH_UP))
    for line in words_about(due):
        log.info(line)
    return due.nights


def opened(path, day=""):
    """Change to the repository, where relative paths of notebooks and products begin, and read a
    configuration: (its absolute path, the checked configuration, root of its products).

    path : relative to the working folder of the caller. day : replaces its night unless it is "". Raises
    ConfigError, ValueError for a path such as ~name/x where no user has that name, and RuntimeError for one
    whose links go in a circle.
    """
    from nightshift.config import load

    path = expanded(path).resolve()
    os.chdir(REPOSITORY)
    config = load(path, day or None)
    return path, config, expanded(config.get("products") or ".")


def run_nights(path, which, cores, quiet, *, day):
    """Run the nights that `which(config, root)` lists while the folder `root` is held; returns the exit code.

    day : replaces the night of the configuration that is passed to `which`, unless it is "".
    """
    try:
        path, config, root = opened(path, day)
        check_cores(cores)
        workers.choose(config.get("engine", workers.LOCAL), config.get("engine_workers", 2))
    except (ValueError, RuntimeError) as error:
        return refuse(error)
    signal.signal(signal.SIGTERM, stop)
    try:
        with held(root):
            if line := trouble_with_notes(root):
                return refuse(line)
            sweep(root)
            if n_ahead := correct_times(root):
                print_line(
                    f"{plural(n_ahead, 'product')} dated in the future, by a clock that was ahead: now counts"
                )
            *missed, last = which(config, root)
            codes = [run_held(path, config | {"day": one}, root, cores, quiet, tell=False) for one in missed]
            codes.append(run_held(path, config | {"day": last}, root, cores, quiet))
            prune_products(root, config)
            return max(codes)
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


def prune_products(root, config, *, dry_run=False):
    """Remove what is old by the rules of a checked configuration below `root`, and print what that is."""
    from nightshift.retention import prune, words_about

    for line in words_about(*prune(root, config, dry_run=dry_run), dry_run=dry_run):
        log.info(line)


def prune(path, dry_run=False):
    """Remove what is old by the rules of the configuration at `path`, or print what would be removed; returns
    the exit code.
    """
    try:
        _, config, root = opened(path)
        with held(root):
            prune_products(root, config, dry_run=dry_run)
    except Busy as error:
        print_line(error)
        return LOCKED
    except (ValueError, RuntimeError, OSError) as error:
        return refuse(error)
    return WELL


def check(path, day, quiet=False):
    """Look at the sources of a configuration and print what is there; returns the exit code."""
    with without_bars():
        from nightshift.check import print_reports

    def show(line, is_problem, study):
        level = logging.WARNING if is_problem else logging.INFO
        log.log(level, line, extra={"study": study, "stream": sys.stdout})

    try:
        path = expanded(path).resolve()
        os.chdir(REPOSITORY)
        return FAILED if print_reports(path, day, quiet, show=show) else WELL
    except (ValueError, RuntimeError) as error:
        return refuse(error)


def refuse(error):
    """Print what is wrong with a configuration, a line for each mistake, or with a path; returns the exit
    code. error : a ConfigError, another error, or a line of text.
    """
    for line in getattr(error, "lines", [error]):
        print_line(line)
    return WRONG


def this_user():
    """Name the user who runs this; ValueError where the account has no name, as in a container that does not
    know its user.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        raise ValueError("this account has no name: set the environment variable USER") from None


@contextlib.contextmanager
def without_bars():
    """Import tqdm so that it shows no progress bars: it reads its settings when it is imported."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before


def run_held(path, config, root, cores, quiet, *, tell=True):
    """Run the night of `config`, checked, in the folder `root` that this process holds, unless a run would
    change nothing; returns WELL or FAILED. tell : whether to send its mail and messages, which else a later
    night does.
    """
    from nightshift import unchanged
    from nightshift.chain import Night
    from nightshift.status import keep_private

    night = Night(config)
    read = unchanged.what_it_reads(night)
    if unchanged.is_unchanged(night, read):
        return FAILED if announce(root, config["day"], config, tell=tell) else WELL
    unchanged.forget(root)
    keep_private(root / "data/raw")
    code = run_chain(config, root, cores, quiet)
    if publish_night(path, config["day"], tell=tell) or code:
        return FAILED
    unchanged.remember(root, read)
    return WELL


def check_cores(cores):
    """Make sure that `cores`, a text, is a number of processors or all; ValueError says so in one line."""
    if not re.fullmatch(r"all|[1-9][0-9]*", cores):
        raise ValueError(f"cores is {cores!r}: it must be a number of processors, or all")


def trouble_with_notes(root):
    """Say in one line how to make `.snakemake` of the repository, where Snakemake keeps its notes, a link to
    the folder of products `root`; "" where this account can write there.
    """
    link, notes = REPOSITORY / ".snakemake", Path(".snakemake").resolve()
    with contextlib.suppress(OSError):
        notes.mkdir(parents=True, exist_ok=True)
    if os.access(notes, os.W_OK):
        return ""
    there, here = shlex.quote(f"{root.resolve()}/.snakemake"), shlex.quote(str(link))
    command = f"rm -rf {here} && ln -s {there} {here}"
    return f"{notes} cannot be written by this account; as the owner of the repository: {command}"


def stop(number, frame):
    """Stop the night because of the signal `number`, as an interrupt from the keyboard does."""
    raise KeyboardInterrupt(number)


def run_chain(config, root, cores, quiet=False, pages=True):
    """Run the steps of all studies and then the digest for the night of `config`, checked; WELL or FAILED.
    Without `pages`, notebooks that write no table of findings are left out.
    """
    log_file = root / "reports" / config["day"] / "chain.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    log_file.write_text("", encoding="utf-8")
    failed = []
    for name in SLOW:
        importlib.import_module(name)
    sys.modules["snakemake.cli"].get_argument_parser()  # finds the plugins, a quarter of a second
    # a link where the repository is read-only: Snakemake makes the folder, but not where a link leads
    Path(".snakemake").resolve().mkdir(parents=True, exist_ok=True)
    with temporary_folder() as folder, fork_server(folder, config):
        for target in ("all" if pages else "findings", "digest"):
            try:
                made = run_target(target, config, root, cores, log_file, quiet)
            except Exception as error:  # whatever it is, the rest of the night goes on and is published
                if is_full(error):
                    raise
                print_line(f"{target}: {type(error).__name__}: {' '.join(str(error).split())[:250]}")
                made = False
            failed += [] if made else [target]
    return FAILED if failed else WELL


def is_full(error):
    """Whether an error says that a disk is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def refuse_full_disk(root, made=False):
    """Make sure that a target was `made`, or else that the disk has LEAST_ROOM; OSError where it has not,
    since then neither records nor pages could say what happened.
    """
    system = os.statvfs(root)
    if not made and system.f_bavail * system.f_frsize < LEAST_ROOM:
        raise OSError(errno.ENOSPC, "No space left on device; make room and run the same command again")


def elsewhere():
    """Whether steps may run on other machines, as a profile of Snakemake says: see deploy/slurm/profile."""
    return bool(os.environ.get("SNAKEMAKE_PROFILE"))


def fork_server(folder, config):
    """Run a fork server for the night of `config`, with its socket in `folder`, while the block runs; none
    where steps run elsewhere: on other machines they would not find it, and on this one it would do their
    work outside the jobs that are charged for it.
    """
    if elsewhere():
        return contextlib.nullcontext()
    networks = any(catalog.study_of(study).networks for study in config["studies"])
    return forkserver.running(folder, networks=networks)


def temporary_folder(beside=None):
    """Make a folder that exists while the block runs; where `beside` is given, beside that file, so that
    other machines see it.
    """
    return tempfile.TemporaryDirectory(prefix="nightshift-", dir=beside and beside.parent)


def run_target(target, config, root, cores, log_file, quiet=False):
    """Let Snakemake make `target`, "all", "findings" or "digest"; returns whether it could. Its output goes
    to the file `log_file`, and is shown where no record says more.
    """
    from nightshift.runs import end_unrun, failed_since, iso

    report, begun, size = log_file.parent, iso(datetime.now(UTC)), log_file.stat().st_size
    with temporary_folder(beside=log_file if elsewhere() else None) as folder:
        arguments, lines = arguments_of(target, config, cores, Path(folder))
        for line in lines:
            print_line(line)
        code = watched(arguments, log_file, quiet or speaks_json())
    say_steps(report, begun)
    refuse_full_disk(report, made=code == 0)
    if code and not failed_since(report, begun):
        text = log_file.read_bytes()[size:].decode(errors="replace")
        words = last_words(text) if code > 0 else f"Snakemake was killed ({signal.Signals(-code).name})"
        what = "the digest" if target == "digest" else "the chain"
        print_line(f"{what} could not run: {words} (more in {log_file})")
        if target == "digest":  # the record that stands there is not of this run
            end_unrun(report, "", "digest", words)
    return code == 0


def arguments_of(target, config, cores, folder):
    """Return (arguments with which Snakemake makes `target` for the checked `config`, lines about products
    that it makes again). folder : where the configuration is written for the rules.
    """
    from nightshift.chain import Night

    typed, forced = folder / "config.json", Night(config).forced(target)
    typed.write_text(json.dumps(config), encoding="utf-8")  # JSON, so that each value arrives in its type
    arguments = [
        "--configfile",
        str(typed),
        "--cores",
        cores,
        "--scheduler",
        "greedy",  # the default scheduler starts a solver of integer programs each time
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


def say_steps(report, begun):
    """Say how each step of the night in `report` ended that began at `begun` or later, where lines are
    JSON.
    """
    paths = [*report.glob("*/*.json"), *report.glob("*_run.json")] if speaks_json() else []
    for record in map(read_json, sorted(paths)):
        if record.get("outcome") and (record.get("started") or "") >= begun:
            about = {name: record.get(name) for name in ("study", "step", "outcome", "seconds")}
            name = " ".join(part for part in (about["study"], about["step"]) if part)
            log.info(f"{name}: {about['outcome']}", extra=about | {"night": report.name})


def watched(arguments, log_file, quiet):
    """Run Snakemake with these arguments in a process of its own, and return its exit code. Its lines of
    progress are shown unless `quiet`; everything else goes to `log_file`.
    """
    reading, writing = os.pipe()
    with forked(run_snakemake, arguments, reading, writing, quiet) as child:
        os.close(writing)
        with open(reading, "rb") as messages, log_file.open("ab") as file:
            for line in messages:  # ends with the child and its children
                file.write(line)
                file.flush()
    return child.exitcode


def run_snakemake(arguments, reading, writing, quiet):
    """Call Snakemake, which ends this process; its standard error goes to `writing`, an end of a pipe."""
    from snakemake.cli import args_to_api, parse_args
    from snakemake.exceptions import print_exception

    os.close(reading)
    os.dup2(writing, 2)
    if quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w"), line_buffering=True) for n in (1, 2))
    try:
        parser, options = parse_args(arguments)
        # the command line has no option for this. With a limit, Snakemake 9.27 looks for jobs again a second
        # after each look, and once more a second after each job: 14 s of a processor in a night of 160 s
        options.max_jobs_per_timespan = None
        ended_well = args_to_api(options, parser)
    except Exception as error:
        print_exception(error)
        ended_well = False
    sys.exit(0 if ended_well else 1)


def publish_night(path, day, *, tell=True):
    """Publish the night of the configuration at `path` in a process of its own, and return its exit code."""
    with forked(publish_alone, path, day, tell) as child:
        pass
    if child.exitcode < 0:
        name = signal.Signals(-child.exitcode).name
        print_line(f"the site is not finished: its process was killed ({name}); the same command makes it")
    return child.exitcode


def publish_alone(path, day, tell):
    """Publish the night of the configuration at `path`, which ends this process; one that is stopped ends by
    the signal, since a traceback would say nothing of the night.
    """
    try:
        sys.exit(publish(path, day, tell=tell))
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


@contextlib.contextmanager
def forked(work, *arguments):
    """Start a process that calls `work(*arguments)` and has ended when the block ends. It is a fork of this
    one, so that it need not import again what this one has imported.
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
    if gone := re.search(r"--latency-wait:\s+(\S+)", text):
        return f"{gone[1]} was gone as soon as it was written; run the same command again"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    at = next((i for i, line in enumerate(lines) if re.search(r"\w*(Error|Exception)\b", line)), None)
    from nightshift.wording import one_line

    words = lines[at : at + 2] if at is not None else lines[-1:]
    return one_line(" ".join(words))[:250] or "it said nothing"


# ----------------------------------------------------------------------------------- publishing what it left


def night_of(path, day=""):
    """Read which night a command is about: (configuration, night as text, root of its products).

    The configuration is read but not checked, so that a mistake in one study prevents no page and no mail of
    the others. ValueError says in one line what is wrong.
    """
    from helpers import project_path
    from nightshift.config import products_in, read_yaml, unknown_studies
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
        return config, day, project_path(products_in(config))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def publish(path, day="", *, tell=True):
    """Render a night for the configuration at `path`, unless nothing has changed since that was done, and
    send its mail if it is to `tell`; returns the exit code.
    """
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
    try:
        return publish_checked(root, day, config, last_days, settings, tell=tell)
    except OSError as error:
        if not is_full(error):
            raise
        print_line(f"{root} cannot be written: {error}; make room and run the same command again")
        return FAILED


def publish_checked(root, day, config, last_days, settings, *, tell):
    """Publish a night as `publish`, its folder being there. Arguments and exit code as of
    `render_and_announce`.
    """
    from nightshift import unchanged

    read = unchanged.what_a_site_reads(config, day)
    if unchanged.is_as_left(root, read, unchanged.SITE):
        code = FAILED if announce(root, day, config, tell=tell) else WELL
    else:
        unchanged.memo_of(root, unchanged.SITE).unlink(missing_ok=True)
        code = render_and_announce(root, day, config, last_days, settings, tell=tell)
    if code == WELL:
        unchanged.remember(root, read, unchanged.SITE)
    return code


def render_and_announce(root, day, config, last_days, settings, *, tell=True):
    """Render the night `day` and send its mail if it is to `tell`; returns the exit code.

    last_days : {study: last day of its data}; settings : as `site_settings` has them.
    """
    from nightshift.reporting.site import later_night, render_night, was_published

    if was_published(root, day) and (later := later_night(root, last_days)):
        print_line(f"the products are those of {later}; the pages of {day} stay as they are")
        return WRONG
    keep_nights, site_url = settings
    _, studies, digest = render_night(root, day, last_days, keep_nights=keep_nights, site_url=site_url)
    unsent = announce(root, day, config, tell=tell)
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


def announce(root, day, config, *, tell=True):
    """Print what the published night `day` says and where its front page is, and send its mail if it is to
    `tell`; returns lines about what could not be sent, which changes nothing about the site.
    """
    from nightshift.reporting.summary_lines import lines_of

    report, unsent = REPOSITORY / root / "reports" / day, []
    for line in lines_of(read_json(report / "digest.json")):
        log.warning(line, extra={"night": day})
    if tell and any(map(config.get, TOLD_BY)):
        from nightshift.notify.policy import tell_night

        unsent = tell_night(REPOSITORY / root, day, config)
    for line in unsent:
        log.warning(line, extra={"night": day})
    page = report / "index.html"
    log.info(f"Front page: {page}", extra={"night": day, "path": str(page)})
    return unsent


def mail(path, day="", dry_run=False):
    """Send mail and messages of a published night, or write them as drafts; returns the exit code."""
    from nightshift.notify.policy import tell_night
    from nightshift.notify.settings import check_channels

    try:
        config, day, root = night_of(path, day)
        if not any(map(config.get, TOLD_BY)):
            raise ValueError(f"{path}: it says nothing under {', '.join(f'`{name}`' for name in TOLD_BY)}")
        if lines := check_channels(config):
            raise ValueError("; ".join(lines))
    except ValueError as error:
        print_line(error)
        return WRONG
    troubles = tell_night(root, day, config, dry_run)
    for line in troubles:
        print_line(line)
    return FAILED if troubles else WELL


# ------------------------------------------------------------------------------------------------- the folder


class Busy(Exception):
    """Another run writes to the folder."""


@contextlib.contextmanager
def held(folder):
    """Hold the lock of `folder` while the block runs, so that one run at a time writes there; Busy names the
    process that holds it. The system releases it, however this process ends.
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
