"""The command `nightshift live telemetry`: which Prometheus is asked with which parameters, and when; a job
on its own after its end.
"""

import json
import signal
import time
from typing import NamedTuple

import pandas as pd

from helpers import study_paths
from nightshift import night
from nightshift.live.configured import all_parameters, night_of_study
from nightshift.live.filters import Rule
from nightshift.live.predictor import RuntimePredictor
from nightshift.live.samples import Pull, read_span
from nightshift.live.servers import past_of_servers
from nightshift.live.telemetry import STUDY, Watch, line_of
from nightshift.sources.base import live_source

PATIENCE_S = 5.0  # for one answer: a step is a few seconds, and the next one asks again


class Options(NamedTuple):
    """How nodes are watched. config : path of the configuration. address : of a Prometheus, "" for the source
    of the configuration. consecutive, majority : as for Rule. looks : how often before it ends; 0 is without
    end. quiet : no line for each alarm.
    """

    config: object
    address: str = ""
    consecutive: int = 3
    majority: int = 5
    looks: int = 0
    quiet: bool = False


class Setting(NamedTuple):
    """What a configuration says of nodes. paths : of the study. extract : all parameters of 1_extract.
    address : of the Prometheus. rule : when flagged windows are an alarm. site_pattern : as for `site_of`.
    """

    paths: object
    extract: dict
    address: str
    rule: Rule
    site_pattern: str


def setting_of(options):
    """Read what a configuration says; ValueError, with a line for each mistake, where that is wrong or names
    no Prometheus.
    """
    of_night = night_of_study(options.config, STUDY)
    extract, analyse = (all_parameters(of_night, STUDY, step) for step in ("1_extract", "4_analyse"))
    address = options.address or extract["source"]
    if not address.startswith(("http://", "https://")):
        raise ValueError(
            f"studies.{STUDY}.extract.source is {address!r}, which is no Prometheus that could be asked now: "
            "name one by --address"
        )
    rule = Rule(analyse["alarm_rate"], options.consecutive, options.majority, analyse["least_confidence"])
    paths = study_paths(STUDY, of_night.config.get("products") or "")
    return Setting(paths, extract, address, rule, analyse["site_pattern"])


def pull_of(setting, predictor):
    """Make a Pull that asks for the metrics of the models, at their sampling period."""
    settings = setting.extract | {
        "step_s": predictor.grid.sampling_s,
        "timeout_s": PATIENCE_S,
        "retry_wait_s": None,
    }
    server = live_source(STUDY, setting.address, settings=settings)
    return Pull(server, server.connect(setting.address, set()), predictor.metrics)


def watch(options):
    """Watch nodes until a signal ends it, or after `looks`; returns the exit code."""
    signal.signal(signal.SIGTERM, night.stop)
    try:
        setting = setting_of(options)
        stream = Watch(setting.paths, setting.rule, setting.site_pattern, lambda one: pull_of(setting, one))
        stream.load()
        with night.held(setting.paths.root / "data/live/.telemetry"):  # one stream of nodes at a time
            keep_looking(stream, looks=options.looks, quiet=options.quiet)
    except (ValueError, LookupError) as error:
        return night.refuse(error)
    except night.Busy as error:
        night.print_line(error)
        return night.LOCKED
    except OSError as error:
        night.print_line(f"the products cannot be read or written: {error}")
        return night.FAILED
    except KeyboardInterrupt:
        pass
    return night.WELL


def keep_looking(stream, *, looks, quiet):
    """Look at whole multiples of the step, `looks` times or, for 0, without end. A server that does not
    answer is one line, and is asked again at the next step.
    """
    done, silent = 0, ""
    while not looks or done < looks:
        time.sleep(stream.step_s - time.time() % stream.step_s)
        try:
            seen, silent = stream.look(time.time()), ""
        except (TimeoutError, ConnectionError) as error:
            if str(error) != silent:
                night.print_line(error)
            seen, silent = {}, str(error)
        for what, table in seen.items() if not quiet else ():
            for alarm in table.itertuples():
                print(line_of(alarm, what), flush=True)
        done += 1


def diagnose_job(options, job, since, until):
    """Diagnose one job from its start to its end, as an epilog of Slurm does; prints one line of JSON per
    alarm, or one that there is none. Returns the exit code: FAILED where a node was in alarm.
    """
    try:
        setting = setting_of(options)
        predictor = RuntimePredictor(setting.paths.models, setting.rule)
        predictor.past = past_of_servers(setting.paths, predictor.detector)
        begin, end = span_of(since, until)
        samples = read_span(pull_of(setting, predictor), begin, end, job=job)
        alarms = predictor.diagnose(samples)
    except (ValueError, LookupError, FileNotFoundError) as error:
        return night.refuse(error)
    except (TimeoutError, ConnectionError) as error:
        night.print_line(error)
        return night.FAILED
    for alarm in alarms.itertuples():
        print(line_of(alarm, "ended"))
    if not len(alarms):
        nodes = samples.node_id.nunique()
        print(json.dumps({"alarm": None, "job": job, "nodes": nodes, "samples": len(samples)}))
    return night.FAILED if len(alarms) else night.WELL


def span_of(since, until):
    """Read from when to when a job ran, "" for until now: two Timestamps in UTC; ValueError of one line where
    it would have ended before it began.
    """
    begin, end = time_of("--since", since), time_of("--until", until) if until else pd.Timestamp.now("UTC")
    if begin > end:
        now = "" if until else ", which is now"
        raise ValueError(f"--since is {since!r}, after {end:%Y-%m-%dT%H:%M}{now}: times are in UTC")
    return begin, end


def time_of(option, text):
    """Read a time in UTC, ISO 8601 or seconds since 1970 (nine or ten digits before the point); ValueError of
    one line names the option.
    """
    is_number = text.replace(".", "", 1).isdigit()
    is_seconds = is_number and len(text.partition(".")[0]) in (9, 10)  # 20260131 is a day
    try:
        time_ = pd.Timestamp(float(text), unit="s") if is_seconds else pd.Timestamp(text)
        return time_.tz_localize("UTC") if time_.tz is None else time_.tz_convert("UTC")
    except ValueError:
        raise ValueError(f"{option} is {text!r}: it must be a time such as 2026-01-31T12:00") from None
