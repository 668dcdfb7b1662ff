"""The command `nightshift`: what users call, and what `make` calls for them.

    nightshift run --config site.yaml --day 2026-01-31

Exit codes, the same for every command: 0 all is well; 1 the site is published, but a study, the digest or the
mail failed; 2 the configuration or the command is wrong, and nothing ran; 3 another run writes to the same
folder, and this one did nothing.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from nightshift import forkserver

REPOSITORY = Path(__file__).resolve().parents[1]
WELL, FAILED, WRONG, LOCKED = range(4)
PATIENCE_S = 10  # for a process that was asked to end
# what Snakemake and the site take two seconds of a processor to import: once, and not for each of them again
SLOW = ("snakemake.cli", "pandas", "smart_open", "publish")
CODES = (
    "Exit codes: 0 all is well; 1 published, but a study, the digest or the mail failed; "
    "2 the configuration or the command is wrong, and nothing ran; "
    "3 another run writes to the same folder."
)
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=CODES,
)
Config = Annotated[Path, typer.Option(help="the configuration, a YAML file")]
Cores = Annotated[str, typer.Option(help="processors to use at once: a number, or all")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no lines of progress; what went wrong is still said")]


@app.callback()
def nightshift():
    """Nightly anomaly reports for research computing."""


@app.command(epilog=CODES)
def run(
    config: Config = Path("config.yaml"),
    day: Annotated[
        str, typer.Option(help="the night to report, such as 2026-01-31; default: that of the configuration")
    ] = "",
    cores: Cores = "all",
    quiet: Quiet = False,
):
    """Run the chain for one night, the digest, and publish the site."""
    raise typer.Exit(run_night(config, day, cores, quiet))


@app.command(epilog=CODES)
def nightly(config: Config = Path("config.yaml"), cores: Cores = "all", quiet: Quiet = False):
    """Do the same for the night that has just ended (UTC), as cron calls it."""
    raise typer.Exit(run_night(config, str(datetime.now(UTC).date() - timedelta(1)), cores, quiet))


def main():
    """Entry point of the command."""
    app(prog_name="nightshift")


# -------------------------------------------------------------------------------------------------- one night


def run_night(path, day, cores="all", quiet=False):
    """Run chain, digest and site of one night; returns the exit code of the command."""
    path = (
        Path(path).expanduser().resolve()
    )  # before the folder changes: notebooks and products count from the repository
    os.chdir(REPOSITORY)
    from nightshift.config import ConfigError, load

    try:
        config = load(path, day or None)
        if not re.fullmatch(r"all|[1-9][0-9]*", cores):
            raise ConfigError([f"cores is {cores!r}: it must be a number of processors, or all"])
    except ConfigError as error:
        for line in error.lines:
            say(line)
        return WRONG
    root = Path(config.get("products") or ".").expanduser()
    signal.signal(signal.SIGTERM, stop)
    try:
        with held(root):
            sweep(root)
            code = run_chain(config, root, cores, quiet)
            return code if publish_night(path, config["day"]) == 0 else FAILED
    except Busy as error:
        say(str(error))
        return LOCKED
    except OSError as error:
        say(f"{root.resolve()} cannot be written: {error}")
        return WRONG
    except KeyboardInterrupt as error:
        say("stopped; the same command goes on with what was cut off")
        return 128 + (error.args[0] if error.args else signal.SIGINT)


def stop(number, frame):
    """Stop the night because of the signal `number`, as an interrupt from the keyboard does."""
    raise KeyboardInterrupt(number)


def run_chain(config, root, cores, quiet=False):
    """Run the steps of all studies and then the digest for the night of `config`, checked; WELL or FAILED."""
    log = root / "reports" / config["day"] / "chain.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    failed = []
    for name in SLOW:
        importlib.import_module(name)
    sys.modules["snakemake.cli"].get_argument_parser()  # finds the plugins, a quarter of a second
    with tempfile.TemporaryDirectory(prefix="nightshift-") as folder, forkserver.running(folder):
        for target in ("all", "digest"):
            try:
                made = run_target(target, config, root, cores, log, quiet)
            except Exception as error:  # whatever it is, the rest of the night goes on and is published
                say(f"{target}: {type(error).__name__}: {' '.join(str(error).split())[:250]}")
                made = False
            failed += [] if made else [target]
    return FAILED if failed else WELL


def run_target(target, config, root, cores, log, quiet=False):
    """Let Snakemake make `target`, "all" or "digest"; whether it could. What it says goes to the file `log`;
    it is shown where no record says more.
    """
    from nightshift.runs import end_unrun, failed_since, iso

    report, begun, size = log.parent, iso(datetime.now(UTC)), log.stat().st_size
    with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
        arguments, lines = arguments_of(target, config, cores, Path(folder))
        for line in lines:
            say(line)
        code = watched(arguments, log, quiet)
    if code and not failed_since(report, begun):
        words = last_words(log.read_bytes()[size:].decode(errors="replace"))
        say(f"{'the digest' if target == 'digest' else 'the chain'} could not run: {words} (more in {log})")
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
    """Exit code of publish.py for the configuration at `path` and this night, in a process of its own."""
    with forked(run_publish, path, day) as child:
        pass
    return child.exitcode


def run_publish(path, day):
    """Call publish.py and end this process with its exit code."""
    import publish

    sys.argv = ["publish.py", "--config", str(path), "--day", day]
    sys.exit(publish.main())


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
    from nightshift.runs import one_line

    words = lines[at : at + 2] if at is not None else lines[-1:]
    return one_line(" ".join(words))[:250] or "it said nothing"


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


def say(line):
    """Print one line of our own where errors go."""
    print(f"nightshift: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
