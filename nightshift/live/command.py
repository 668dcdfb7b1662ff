"""The command `nightshift live`: one row per stream."""

from pathlib import Path
from typing import Annotated

import typer

CODES = (
    "Exit codes: 0 it was ended, or all is well; 1 a node of the job was in alarm, nothing answered, or a "
    "stream ended by itself; 2 the configuration or the command is wrong; 3 the same stream is running."
)
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What scores between the nights.")
Config = Annotated[Path, typer.Option(help="the configuration, a YAML file")]


@app.command(epilog=CODES)
def transfers(
    config: Config = Path("config.yaml"),
    broker: Annotated[
        list[str],
        typer.Option(
            envvar="STOMP_BROKERS",
            help="address, such as stomp+ssl://mq.example.org:61612; once for each of several",
        ),
    ] = (),
    destination: Annotated[
        str, typer.Option(envvar="STOMP_DESTINATION", help="topic or queue, such as /topic/rucio.events")
    ] = "",
    name: Annotated[str, typer.Option(help="by which brokers keep messages while it is away")] = "nightshift",
    prefetch: Annotated[int, typer.Option(min=1, help="messages that a broker sends unacknowledged")] = 2000,
):
    """Score transfers as Rucio announces them, by the model of the last night, and find troubles."""
    from nightshift.live import transfers_command

    options = transfers_command.Options(config, list(broker), destination, name, prefetch)
    raise typer.Exit(transfers_command.follow(options))


@app.command(epilog=CODES)
def telemetry(
    config: Config = Path("config.yaml"),
    address: Annotated[
        str, typer.Option(help="of a Prometheus or VictoriaMetrics; default: the source of the configuration")
    ] = "",
    consecutive: Annotated[int, typer.Option(min=1, help="flagged windows in a row that make an alarm")] = 3,
    majority: Annotated[int, typer.Option(min=1, help="windows of which more than half must be flagged")] = 5,
    looks: Annotated[int, typer.Option(min=0, help="how often to look before it ends; 0: until Ctrl-C")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="no line for each alarm")] = False,
    job: Annotated[
        str, typer.Option(help="diagnose this job, which has ended, and end, as an epilog does")
    ] = "",
    since: Annotated[str, typer.Option(help="when it began, UTC, such as 2026-01-31T12:00")] = "",
    until: Annotated[str, typer.Option(help="when it ended; default: now")] = "",
):
    """Watch the nodes of a Prometheus by the models of the last training, and print a line of JSON when an
    alarm begins and when it ends.
    """
    from nightshift.live import nodes

    options = nodes.Options(config, address, consecutive, majority, looks, quiet)
    if job and not since:
        raise typer.BadParameter("--job needs --since")
    raise typer.Exit(nodes.diagnose_job(options, job, since, until) if job else nodes.watch(options))


@app.command(epilog=CODES)
def export(
    config: Config = Path("config.yaml"),
    host: Annotated[str, typer.Option(help="address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 9793,
    alertmanager: Annotated[
        str,
        typer.Option(
            envvar="ALERTMANAGER_ADDRESS",
            help="address of an Alertmanager, with which silences are exchanged",
        ),
    ] = "",
):
    """Serve scores, incidents and the health of Nightshift itself as metrics for a Prometheus."""
    from nightshift.live import export as exporter

    raise typer.Exit(exporter.serve(config, host, port, alertmanager))
