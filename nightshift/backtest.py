"""Replay the chain night by night, and score its incidents against the troubles that are known.

A night is what `make reports` does, digest included, without its pages. Everything is written below a folder
of its own, products/backtest by default, whatever folder the configuration names. A night that is complete is
not run again, so that a backtest continues where it was stopped. Since incidents live on from night to night,
a night is complete only if those before it are, all with the same settings. At the end
notebooks/backtest.ipynb compares.
"""

import hashlib
import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import date, timedelta

import yaml

from helpers import ROOT, atomic, project_path, write_json
from nightshift import night
from nightshift.config import SIMULATE, ConfigError, load, read_yaml
from nightshift.config import check as check_config
from nightshift.night import Busy, check_cores, held, run_chain
from nightshift.parameters import completed
from nightshift.products import read_json, read_notebook
from nightshift.reporting.pages import frame_of, publish_notebook
from nightshift.reporting.studies import read_study
from nightshift.runs import read_run
from nightshift.wording import plural


def stop(message, code=2):
    """End with one line."""
    sys.exit(print(f"nightshift: {message}", file=sys.stderr) or code)


# ---------------------------------------------------------------------------------------------- what is asked


def read_config(paths):
    """The configuration in the YAML files `paths`, each laid over those before it, without its night and
    its folder; ends with one line.
    """
    from snakemake.utils import update_config

    config = {}
    for path in paths:
        try:
            update_config(config, read_yaml(path))
        except ConfigError as error:
            stop("; ".join(error.lines))
    if not isinstance(config.get("studies"), dict) or not config["studies"]:
        stop(f"{' and '.join(map(str, paths))} names no study")
    return {name: value for name, value in config.items() if name not in ("day", "products")}


def read_day(name, text):
    """The night that the option FROM or TO names; ends with one line."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        stop(f"{name}={text} is no night such as 2026-01-31")


def reads_sample(config):
    """Whether a study reads the sample, as one does that names no source."""
    studies = [study or {} for study in config["studies"].values() if isinstance(study or {}, dict)]
    extracts = [study.get("extract") or {} for study in studies]
    return any(one.get("source", "sample") == "sample" for one in extracts if isinstance(one, dict))


def nights_of_sample(settings):
    """Find the first and the last night on which every source of the sample has data. settings : the
    parameters of simulate.ipynb that are set.
    """
    parameters = completed(ROOT / SIMULATE, settings)
    last = date.fromisoformat(parameters["day"])
    return last - timedelta(
        min(parameters["days"], parameters["nights"], parameters["certification_days"]) - 1
    ), last


def check(first, last, config, truth):
    """End with one line when these nights cannot be replayed and scored, whatever else is wrong with the
    `config`, as `read_config` gives it.
    """
    if first > last:
        stop(f"FROM={first} comes after TO={last}")
    if truth and not project_path(truth).is_file():
        stop(f"there is no table of known incidents {truth}")
    if not truth and not reads_sample(config):
        stop(
            "there is nothing to be scored against: no study reads the sample, and TRUTH names no table of "
            "known incidents"
        )


def check_sample(first, last, config):
    """End with one line when a study of the checked `config` reads the sample, and that lacks some of these
    nights.
    """
    if reads_sample(config):
        begins, ends = nights_of_sample(config.get("simulate") or {})
        if not begins <= first <= last <= ends:
            stop(
                f"the sample has the nights from {begins} to {ends}, and FROM={first} TO={last} ask for "
                "others"
            )


# ------------------------------------------------------------------------------------------------- the nights


def run_night(root, day, config, cores):
    """Run chain and digest of one night with the configuration at `config`; (2 if they could not begin,
    else 0; path of the log).
    """
    log = root / "reports" / day / "chain.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        checked = load(config, day) | {"products": str(root)}
    except ConfigError as error:
        log.write_text("".join(f"nightshift: {line}\n" for line in error.lines), encoding="utf-8")
        return 2, log
    run_chain(checked, root, cores, quiet=True, pages=False)  # nobody reads them
    return 0, log


def failures(root, day, studies):
    """{study: step and error} of the studies that failed on `day`."""
    ended = [read_study(root, day, study, day) for study in studies]
    return {s["study"]: f"{s['failed_step']}: {s['error']}" for s in ended if s["verdict"] == "failed"}


def complete_nights(root, days, settings):
    """Count how many of `days`, from the first on, are complete with these `settings` (a hash), and forget
    what is there of other nights: their incidents had other settings, or other nights before them.
    """
    replayed = {
        path.parent.name: read_json(path).get("settings") for path in root.glob("reports/*/replayed.json")
    }
    complete = next((i for i, day in enumerate(days) if replayed.get(day) != settings), len(days))
    for day in replayed:
        if replayed[day] != settings or (complete < len(days) and day >= days[complete]):
            (root / "reports" / day / "replayed.json").unlink()
    for path in root.glob("data/incidents/*"):
        if not (root / "reports" / path.name[: len(days[0])] / "replayed.json").exists():
            path.unlink()
    return complete


def replay(root, days, config, cores):
    """Run those of the nights `days` that are not complete, and print of each how long it took, what failed
    and how much is left.
    """
    text = yaml.safe_dump(config)
    settings = hashlib.sha256(text.encode()).hexdigest()
    complete = complete_nights(root, days, settings)
    with atomic(root / "config.yaml") as temporary:
        temporary.write_text(text, encoding="utf-8")
    if complete:
        print(f"{complete} of {len(days)} nights {'is' if complete == 1 else 'are'} complete", flush=True)
    begun = time.monotonic()
    for done, day in enumerate(days[complete:], 1):
        started = time.monotonic()
        code, log = run_night(root, day, root / "config.yaml", cores)
        if code == 2:
            lines = re.findall(r"^nightshift: (.+)$", log.read_text(errors="replace"), re.M)
            stop(lines[-1] if lines else f"the chain could not begin: {log}")
        if not (root / f"data/incidents/{day}.parquet").exists():
            stop(
                f"the digest of {day} failed, and later nights need it: {log}; once mended, the same command "
                "goes on from there",
                1,
            )
        failed = failures(root, day, config["studies"])
        taken, left = time.monotonic() - started, len(days) - complete - done
        write_json(
            {"day": day, "settings": settings, "seconds": round(taken, 1), "failed": failed},
            root / "reports" / day / "replayed.json",
        )
        rest = (
            f"; {plural(left, 'night')} left, about {(time.monotonic() - begun) / done * left / 60:.0f} min"
            if left
            else ""
        )
        print(f"{day}: {taken:.0f} s{rest}", flush=True)
        for study, error in failed.items():
            print(f"{day}: {study} failed in {error}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------- the result


def score(root, first, last, truth):
    """Execute the notebook that compares, write its page; (what it concludes, line by line, or [] where it
    failed; page).
    """
    executed, log = root / "reports/backtest.ipynb", root / "reports/backtest.log"
    parameters = {"first": str(first), "last": str(last), "products": str(root)} | (
        {"truth": str(truth)} if truth else {}
    )
    command = [
        sys.executable,
        "-m",
        "nightshift.runs",
        "notebooks/backtest.ipynb",
        "--log",
        str(log),
        "--products",
        str(root),
    ]
    subprocess.run(
        [*command, "--parameters", json.dumps(parameters)], cwd=ROOT, stdout=subprocess.DEVNULL, check=False
    )
    if (notebook := read_notebook(executed)) is None:
        stop(f"the comparison could not begin: {log}", 1)
    run = read_run(log.parent, "", "backtest")
    frame = frame_of(str(last), "", title=f"Comparison up to {last}")
    publish_notebook(executed, executed.with_suffix(".html"), run=run, frame=frame)
    if error := run["error"]:
        print(f"nightshift: the comparison failed: {error}", file=sys.stderr)
    shown = [
        o["data"]["text/markdown"]
        for o in notebook["cells"][-1].get("outputs", [])
        if "text/markdown" in o.get("data", {})
    ]
    return html.unescape("".join("".join(text) for text in shown)).replace(
        "**", ""
    ).splitlines(), executed.with_suffix(".html")


def replay_and_score(first, last, paths, truth="", products="products/backtest", cores="all"):
    """Replay the nights from `first` to `last` (dates as text) with the configuration in the files
    `paths`, and score them; returns the exit code.
    """
    first, last = read_day("FROM", first), read_day("TO", last)
    config = read_config(paths)
    os.chdir(ROOT)
    try:
        check(first, last, config, truth)
        check_cores(cores)
        check_sample(first, last, check_config(config | {"day": str(last)}))
        root = project_path(products)
    except ConfigError as error:
        stop("; ".join(error.lines))
    except (ValueError, RuntimeError) as error:
        stop(str(error))
    days = [str(first + timedelta(i)) for i in range((last - first).days + 1)]
    signal.signal(signal.SIGTERM, night.stop)  # else Snakemake would go on without this process
    try:
        with held(root):
            replay(root, days, config, cores)
            lines, page = score(root, first, last, truth)
    except Busy as error:
        stop(str(error), 3)
    except OSError as error:
        stop(f"{root} cannot be written: {error}")
    except KeyboardInterrupt as error:
        code = 128 + (error.args[0] if error.args else signal.SIGINT)
        stop("stopped; the same command goes on with the night that was cut off", code)
    print("\n".join(lines))
    print(f"Backtest: {page}")
    return 0 if lines else 1
