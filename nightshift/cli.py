"""The command `nightshift`: what users call, and what `make` calls for them.

    nightshift run --config site.yaml --day 2026-01-31

Exit codes, unless `--help` of a command says otherwise: 0 all is well; 1 the site is published, but a study,
the digest or the mail failed; 2 the configuration or the command is wrong, and nothing ran, or products
cannot be written; 3 another run writes to the same folder, and this one did nothing.
"""

import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightshift import night
from nightshift.live.command import app as live
from nightshift.log import keep_quiet, print_line, speak_json

CODES = (
    "Exit codes: 0 all is well; 1 published, but a study, the digest or the mail failed; "
    "2 the configuration or the command is wrong, and nothing ran, or products cannot be written; "
    "3 another run writes to the same folder."
)
CODES_OF_SWEEP = (
    "Exit codes: 0 all runs ended well; 1 a run failed; "
    "2 the command or the night is wrong, and nothing ran, or its folder cannot be written; "
    "3 this sweep is running."
)
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=CODES,
)
app.add_typer(live, name="live")
Config = Annotated[Path, typer.Option(help="the configuration, a YAML file")]
Day = Annotated[str, typer.Option(help="the night, such as 2026-01-31; default: that of the configuration")]
Cores = Annotated[str, typer.Option(help="processors to use at once: a number, or all")]


def hear_quiet(is_quiet):
    """Print only warnings and errors from now on, where the option --quiet is given."""
    if is_quiet:
        keep_quiet()
    return is_quiet


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", callback=hear_quiet, help="say only what needs a person; nothing where all is well"
    ),
]


class Outcome(StrEnum):
    """What came of a proposal."""

    worked = "worked"
    failed = "failed"


class Form(StrEnum):
    """The form of the lines that a command prints."""

    text = "text"
    json = "json"


@app.callback()
def nightshift(
    form: Annotated[
        Form, typer.Option("--log", envvar="NIGHTSHIFT_LOG", help="lines of text, or a JSON object a line")
    ] = Form.text,
):
    """Nightly anomaly reports for research computing."""
    if form == Form.json:
        speak_json()


@app.command(epilog=CODES)
def run(config: Config = Path("config.yaml"), day: Day = "", cores: Cores = "all", quiet: Quiet = False):
    """Run the chain for one night, the digest, and publish the site."""
    raise typer.Exit(night.run_night(config, day, cores, quiet))


@app.command(epilog=CODES)
def nightly(config: Config = Path("config.yaml"), cores: Cores = "all", quiet: Quiet = False):
    """Do the same as `run` for the night that has just ended (UTC), for cron, after the nights that were
    missed since the last one.
    """
    raise typer.Exit(night.run_nightly(config, str(datetime.now(UTC).date() - timedelta(1)), cores, quiet))


@app.command(epilog=CODES)
def check(config: Config = Path("config.yaml"), day: Day = "", quiet: Quiet = False):
    """Look at the sources of a configuration, the disk, the clock and the servers of mail and chats, in
    seconds, and say what is there and what a night would lack; nothing is written or sent. It ends with 1
    where there is a problem.
    """
    raise typer.Exit(night.check(config, day, quiet))


@app.command(epilog=CODES)
def publish(config: Config = Path("config.yaml"), day: Day = ""):
    """Render the site of a night again from what its run has left, and send its mail."""
    raise typer.Exit(night.publish_again(config, day))


@app.command(epilog=CODES)
def mail(
    config: Config = Path("config.yaml"),
    day: Day = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="write the messages to data/mail/<day>/ and send nothing")
    ] = False,
):
    """Send the mail of a published night."""
    raise typer.Exit(night.mail(config, day, dry_run))


@app.command(epilog="Exit codes: 0 all is well; 1 the last night is too old; 2 the configuration is wrong.")
def status(
    config: Config = Path("config.yaml"),
    nights: Annotated[int, typer.Option(min=1, help="how many of the last nights to show")] = 7,
    max_age: Annotated[float, typer.Option(min=0, help="hours after which the last night is too old")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="one object of JSON a line")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="only say that the last night is too old")] = False,
):
    """Show the last nights: when they ended, how long their steps took, their size, what is open."""
    from nightshift.night_status import status

    raise typer.Exit(status(config, nights, max_age, quiet, as_json))


@app.command(epilog=CODES)
def prune(
    config: Config = Path("config.yaml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, and remove nothing")] = False,
):
    """Remove data and models of studies that have not run for long, by `keep_raw_days` and `keep_model_days`
    of the configuration, as each night does at its end.
    """
    raise typer.Exit(night.prune(config, dry_run))


@app.command(epilog=CODES)
def backup(
    archive: Annotated[Path, typer.Argument(help="the file to write, such as nightshift.tar.gz")],
    config: Config = Path("config.yaml"),
):
    """Put what cannot be made again into one archive: feedback, silences, names of incidents, the history of
    nights, records of sent messages, the key of pseudonyms and the configuration.
    """
    from nightshift.backup import backup

    raise typer.Exit(backup(config, archive))


@app.command(epilog=CODES)
def restore(
    archive: Annotated[Path, typer.Argument(help="what `nightshift backup` has written")],
    products: Annotated[str, typer.Option(help="the folder of products, an empty one")],
    config: Annotated[str, typer.Option(help="where to write the configuration; default: nowhere")] = "",
):
    """Restore an archive to a folder of products. No file is replaced: where one is there and differs, it
    ends with 2, and nothing is written.
    """
    from nightshift.backup import restore

    raise typer.Exit(restore(archive, products, config))


@contextmanager
def in_one_line():
    """End the command with one line: code 2 for a ValueError, what was asked for is wrong, and 1 for an
    OSError, it cannot be written.
    """
    try:
        yield
    except ValueError as error:
        print_line(error)
        raise typer.Exit(night.WRONG) from None
    except OSError as error:
        print_line(error)
        raise typer.Exit(night.FAILED) from None


@app.command(epilog=CODES)
def feedback(
    incident: Annotated[str, typer.Argument(help="as the digest names it, such as 20260119-3f2a")],
    remediation: Annotated[str, typer.Argument(help="id of what was tried, such as restart-fts")],
    outcome: Annotated[Outcome, typer.Argument(help="what came of it")],
    by: Annotated[str, typer.Option(help="who says so; stays in the table, on no page")] = "",
    products: Annotated[
        str, typer.Option(help="the folder of products, where the configuration names one")
    ] = "",
    remediations: Annotated[
        str, typer.Option(help="the file of proposals, where not that of the digest")
    ] = "",
):
    """Note whether a proposal of the digest worked for an incident. It ends with 1 where that cannot be
    written.
    """
    from nightshift.remediation.feedback import record_feedback
    from nightshift.remediation.model import chance_now

    with in_one_line():
        row = record_feedback(incident, remediation, outcome == Outcome.worked, by, products, remediations)
        typer.echo(f"Noted. {chance_now(row, products)}")


@app.command(epilog=CODES)
def silence(
    incident: Annotated[str, typer.Argument(help="as the digest names it, such as 20260119-3f2a")],
    until: Annotated[str, typer.Option(help="the last day on which it holds, such as 2026-02-14")],
    why: Annotated[str, typer.Option(help="for what reason")],
    by: Annotated[str, typer.Option(help="who wants it so; default: the user")] = "",
    acknowledged: Annotated[
        bool,
        typer.Option("--acknowledged", help="somebody is working on it; the digest then says so instead"),
    ] = False,
    products: Annotated[
        str, typer.Option(help="the folder of products, where the configuration names one")
    ] = "",
):
    """Silence an incident from the next digest on: it is listed apart and sends no mail. It ends with 1
    where that cannot be written.
    """
    from helpers import project_path
    from nightshift.serve.replies import say_silence

    fields = {"incident": incident, "as": "acknowledged" if acknowledged else "silenced"}
    fields |= {"until": until, "why": why}
    with in_one_line():
        typer.echo(say_silence(project_path(products), fields, by=by or night.this_user()))


@app.command(epilog=CODES)
def serve(
    config: Config = Path("config.yaml"),
    host: Annotated[str, typer.Option(help="address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    user_header: Annotated[
        str, typer.Option(help="header in which a proxy says who reads, such as X-Forwarded-User")
    ] = "",
):
    """Serve the published site until Ctrl-C, with forms for feedback and silences on its pages. Only a
    proxy that says who reads may reach it from elsewhere.
    """
    from nightshift.serve import command

    raise typer.Exit(command.serve(config, host, port, user_header))


@app.command(epilog=CODES)
def backtest(
    first: Annotated[str, typer.Option("--from", help="first night, such as 2026-01-02")],
    last: Annotated[str, typer.Option("--to", help="last night")],
    config: Annotated[
        list[Path], typer.Option(help="the configuration; a later file overlays those before it")
    ] = (Path("config.yaml"),),
    truth: Annotated[
        str, typer.Option(help="table of known incidents, CSV or Parquet; default: that of the sample")
    ] = "",
    products: Annotated[
        str, typer.Option(help="folder for everything that is written")
    ] = "products/backtest",
    cores: Cores = "all",
):
    """Replay nights one by one and score their incidents against the troubles that are known."""
    from nightshift.backtest import replay_and_score

    raise typer.Exit(replay_and_score(first, last, list(config), truth, products, cores))


@app.command(epilog=CODES_OF_SWEEP)
def sweep(
    study: Annotated[str, typer.Argument(help="such as transfers")],
    step: Annotated[str, typer.Argument(help="its notebook, such as 3_train")],
    values: Annotated[
        list[str],
        typer.Argument(help="lstm_units=64,128, learning_rate=log:1e-4:1e-2:5, test_share=lin:0.1:0.4:4"),
    ],
    config: Config = Path("config.yaml"),
    day: Day = "",
    name: Annotated[str, typer.Option(help="name of the sweep; default: one by what it varies")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="runs at once")] = 1,
    random: Annotated[int, typer.Option(min=0, help="so many random points instead of the grid")] = 0,
    optuna: Annotated[int, typer.Option(min=0, help="so many points that Optuna chooses")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="of the random points and of Optuna")] = 1,
    model: Annotated[str, typer.Option(help="whose skill Optuna looks at; default: the one in use")] = "",
):
    """Run a notebook with other parameters, on what the night left and in folders of its own, and compare.
    After an interruption, the same command continues.
    """
    from nightshift.sweeps import command

    options = command.Options(config, day, name, jobs, random, optuna, seed, model)
    raise typer.Exit(command.sweep(study, step, values, options))


@app.command(epilog="Exit codes: 0 all is well; 2 there is no such run, or nothing to compare.")
def compare(
    runs: Annotated[list[str], typer.Argument(help="sweeps, runs such as SWEEP/001, or products folders")],
    config: Config = Path("config.yaml"),
    study: Annotated[str, typer.Option(help="which one, where a products folder has several")] = "",
    model: Annotated[str, typer.Option(help="which model is shown; default: the one in use")] = "",
    reference: Annotated[str, typer.Option(help="the run to hold others against; default: the best")] = "",
    folder: Annotated[str, typer.Option(help="for the page and the tables; default: below sweeps/")] = "",
    mlflow: Annotated[bool, typer.Option("--mlflow", help="log the runs to MLflow as well")] = False,
):
    """Compare runs: what differs, skills with intervals, differences on the same test rows, learning curves;
    as a table, a page, Parquet and CSV.
    """
    from nightshift.sweeps import command

    chosen = command.Choices(config, study, model, reference, folder, mlflow)
    raise typer.Exit(command.compare(runs, chosen))


@app.command("new-study")
def new_study(
    name: Annotated[str, typer.Argument(help="name of the study: small letters and digits, such as power")],
    question: Annotated[str, typer.Option(help="what it shall answer, in a sentence")] = "",
):
    """Make the folder of a new study: notebooks that run as they are, on a CSV of values, and its
    study.yaml.
    """
    from nightshift.new_study import make_study

    with in_one_line():
        folder = make_study(name, " ".join(question.split()))
    typer.echo(
        f"{folder} is there. Its source is a CSV with the columns time, entity, site and value; name it in "
        f"the configuration:\n\nstudies:\n  {name}:\n    extract: {{source: values.csv}}"
    )


@app.command(epilog=CODES)
def schema():
    """Print the JSON Schema of a configuration, by which editors complete and check it."""
    import json
    import os

    os.chdir(night.REPOSITORY)
    from nightshift.config_schema import config_schema

    with in_one_line():  # a study.yaml may be wrong
        typer.echo(json.dumps(config_schema(), indent=1, ensure_ascii=False))


def main():
    """Entry point of the command."""
    sys.exit(app(prog_name="nightshift"))


if __name__ == "__main__":
    main()
