"""The command `nightshift live export`: what a Prometheus shall know of the last night, of the streams, and
of Nightshift itself.

    Exporter     reads the products at each scrape, and makes families of metrics of them
    serve        until a signal ends it; silences are exchanged with an Alertmanager meanwhile

Labels are bounded: studies, severities and streams are few; of incidents and nodes the first MOST are shown,
and how many were left out is a metric of its own. Names come from outside and are cut to LONGEST characters.
"""

import contextlib
import signal
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily

from nightshift import former_names, night
from nightshift.config import read_yaml
from nightshift.incidents.silences import PATTERNS
from nightshift.live.alertmanager import PAIRS_FILE, Alertmanager, exchange
from nightshift.live.provisional import provisional_path
from nightshift.notify.alertmanager import LONGEST, labels_of
from nightshift.products import read_json
from nightshift.reporting.digests import is_known, pressing
from nightshift.reporting.products import is_day
from nightshift.wording import one_line

MOST = {"incidents": 100, "nodes": 1000}  # series of each kind
EXCHANGE_S = 30.0  # between two exchanges of silences


def timestamp(text):
    """Seconds since 1970 of a time as text; None where there is none."""
    with contextlib.suppress(ValueError, TypeError):
        time = pd.Timestamp(text)
        return None if pd.isna(time) else (time if time.tz else time.tz_localize("UTC")).timestamp()
    return None


def gauge(name, text, rows, labels=()):
    """Make a family of gauges `nightshift_<name>` of rows [(values of the labels, value)], but for None."""
    family = GaugeMetricFamily(f"nightshift_{name}", text, labels=labels)
    for values, value in rows:
        if value is not None:
            family.add_metric([one_line(one, LONGEST) for one in values], float(value))
    return family


@dataclass(frozen=True)
class Exporter:
    """Families of metrics of the products below `root`, as `prometheus_client` collects them."""

    root: Path

    def collect(self):
        """Read what is there now, and yield families; what is missing or damaged has no series."""
        reports = self.root / "reports"
        days = sorted(path.parent.name for path in reports.glob("*/digest.json") if is_day(path.parent.name))
        digest = former_names.rename_night(read_json(reports / days[-1] / "digest.json")) if days else {}
        yield from self.night(digest, reports)
        yield from self.studies(digest)
        yield from self.incidents(digest)
        yield from self.streams()
        yield from self.nodes()

    def night(self, digest, reports):
        """The last night: when it ended, which it was, how long its steps took, how many studies reported."""
        day, coverage = digest.get("day", ""), digest.get("coverage") or {}
        records = [*reports.glob(f"{day}/*/*.json"), *reports.glob(f"{day}/*_run.json")] if day else []
        seconds = sum(read_json(path).get("seconds") or 0 for path in records) if day else None
        ended = timestamp((digest.get("digest") or {}).get("ended"))
        yield gauge(
            "night_ended_timestamp_seconds", "When the digest of the last night ended.", [((), ended)]
        )
        yield gauge(
            "night_day_timestamp_seconds", "Beginning of the day of the last night.", [((), timestamp(day))]
        )
        yield gauge(
            "night_duration_seconds", "Time of all steps of the last night together.", [((), seconds)]
        )
        counts = [((name,), coverage.get(name)) for name in ("reported", "expected")]
        yield gauge("night_studies", "Studies that reported, and that should have.", counts, ["state"])

    def studies(self, digest):
        """Each study: its failure, findings, newest row, alarms beside what is stated, scored items."""
        studies = digest.get("studies") or {}

        def of(value):
            return [((study,), value(study, about)) for study, about in studies.items()]

        def rate(name):
            return of(lambda study, about: self.alarm_rates(study).get(name))

        def newest(study, about):
            return timestamp((about.get("data") or {}).get("newest"))

        yield gauge(
            "study_failed",
            "1 where a step of the study failed.",
            of(lambda _, it: bool(it.get("failed_step"))),
            ["study"],
        )
        yield gauge(
            "study_findings", "Findings of the last night.", of(lambda _, it: it.get("findings")), ["study"]
        )
        yield gauge("study_newest_timestamp_seconds", "Newest row of its source.", of(newest), ["study"])
        stated = "Share of ordinary items that may be flagged."
        yield gauge("study_alarm_share_stated", stated, rate("alarm_rate_stated"), ["study"])
        observed = "Share of ordinary items that its models in use flag, the largest."
        yield gauge("study_alarm_share_observed", observed, rate("alarm_rate_observed"), ["study"])
        scored = {study: self.scored(study) for study in studies}
        for name, text in (
            ("scored", "Items that the last night scored."),
            ("flagged", "Items that it flagged."),
        ):
            yield gauge(
                f"study_{name}", text, of(lambda study, _, name=name: scored[study].get(name)), ["study"]
            )

    def alarm_rates(self, study):
        """Stated and observed alarm rate of the models in use, those that flag most."""
        models = read_json(self.root / f"models/{study}/metrics.json").get("models") or []
        used = [one for one in models if one.get("in_use") and one.get("alarm_rate_observed") is not None]
        return max(used, key=lambda one: one["alarm_rate_observed"], default={})

    def scored(self, study):
        """How many items a study has scored and flagged; nothing where it has no table of scores."""
        try:
            flagged = pq.read_table(self.root / f"data/scores/{study}.parquet", columns=["flagged"])[
                "flagged"
            ]
        except (OSError, ValueError, KeyError):
            return {}
        return {"scored": len(flagged), "flagged": flagged.to_pandas().fillna(False).astype(bool).sum()}

    def incidents(self, digest):
        """Incidents that go on: counted by severity, and the first ones as alerts see them, by what an entry
        of `silences` may match; 0 where one is silenced here.
        """
        every = digest.get("incidents") or []
        silenced = [one for one in every if is_known(one)]
        is_open = [one for one in every if pressing(one)]
        severities = {
            name: sum(one["severity"] == name for one in is_open) for name in ("high", "medium", "low")
        }
        rows = [((name,), n) for name, n in severities.items() if digest]
        yield gauge("incidents_open", "Incidents that go on and are not silenced.", rows, ["severity"])
        n_silenced = len(silenced) if digest else None
        yield gauge("incidents_silenced", "Silenced or acknowledged incidents.", [((), n_silenced)])
        names = ["incident", "severity", *PATTERNS]
        shown = [*is_open, *silenced][: MOST["incidents"]]
        rows = [([labels_of(one)[name] for name in names], not one.get("silence")) for one in shown]
        yield gauge(
            "incident_open", "1 for an incident that goes on, 0 for one that is silenced.", rows, names
        )
        left_out = len(is_open) + len(silenced) - len(shown)
        yield gauge("incidents_left_out", "Incidents that have no series of their own.", [((), left_out)])
        yield self.wide_silences()

    def wide_silences(self):
        """Silences of the Alertmanager that mute incidents there which are not silenced here by them."""
        pairs = read_json(self.root / PAIRS_FILE)
        rows = [
            ((number, pair["entry"]["by"], pair["entry"]["why"]), len(pair["mutes_too"]))
            for number, pair in pairs.items()
            if pair.get("mutes_too")
        ]
        text = "Incidents that a silence of the Alertmanager mutes beyond what it names."
        return gauge("silence_mutes_too", text, rows, ["silence", "by", "why"])

    def streams(self):
        """What scores between the nights: when each stream last looked, how long that took, what it found."""
        states = {path.stem: read_json(path) for path in (self.root / "data/live").glob("*.json")}
        families = [
            (
                "looked_timestamp_seconds",
                "When the stream last looked.",
                lambda it: timestamp(it.get("looked")),
            ),
            ("look_duration_seconds", "How long that took.", lambda it: it.get("seconds")),
            ("step_seconds", "Time from one look to the next.", lambda it: it.get("step_s")),
            ("scored", "Items it has scored since it began.", lambda it: it.get("scored", it.get("windows"))),
            ("flagged", "Items of those that it has flagged.", lambda it: it.get("flagged")),
        ]
        for name, text, value in families:
            yield gauge(
                f"live_{name}", text, [((stream,), value(it)) for stream, it in states.items()], ["stream"]
            )
        rows = []
        for stream in states:
            with contextlib.suppress(OSError, ValueError, KeyError):
                findings = pd.read_parquet(provisional_path(self.root, stream), columns=["kind", "goes_on"])
                rows += [
                    ((stream, kind), n) for kind, n in findings.kind[findings.goes_on].value_counts().items()
                ]
        yield gauge("live_findings", "Provisional findings that go on.", rows, ["stream", "kind"])

    def nodes(self):
        """Nodes that a stream watches, the strangest first: their newest scores, and which are in alarm."""
        try:
            nodes = pd.read_parquet(self.root / "data/live/telemetry_nodes.parquet")
        except (OSError, ValueError):
            return
        # a node that runs several jobs has one series, that of the strangest
        nodes = nodes.sort_values(["in_alarm", "score"], ascending=False).drop_duplicates("node_id")
        shown = nodes.head(MOST["nodes"])
        scores = [((one.node_id,), one.score) for one in shown.itertuples()]
        yield gauge("live_node_score", "Newest score of a node, higher is stranger.", scores, ["node"])
        alarms = [((one.node_id, one.diagnosis), 1) for one in shown[shown.in_alarm].itertuples()]
        yield gauge("live_node_alarm", "1 for a node that is in alarm.", alarms, ["node", "diagnosis"])
        yield gauge("live_nodes_left_out", "Nodes that have no series.", [((), len(nodes) - len(shown))])


def serve(path, host, port, address=""):
    """Serve metrics for the configuration at `path` until a signal ends it, and exchange silences with the
    Alertmanager at `address`, where there is one; returns the exit code.
    """
    try:
        _, _, root = night.night_of(path)
        registry = CollectorRegistry()
        registry.register(Exporter(root))
        server, thread = start_http_server(port, host, registry)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return night.refuse(error)
    except OSError as error:
        return night.refuse(f"{host}:{port} cannot be used: {error.strerror}")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print(f"Serving metrics of {root} at http://{host}:{server.server_port}/metrics until Ctrl-C", flush=True)
    exchange_until(ended, address, root, path)
    server.shutdown()
    server.server_close()
    thread.join()
    return night.WELL


def configured_silences(path):
    """Read the entries of `digest.silences` of the configuration at `path`, as it is now: a list."""
    digest = read_yaml(path).get("digest")
    return (digest.get("silences") or []) if isinstance(digest, dict) else []


def exchange_until(ended, address, root, path):
    """Exchange silences every EXCHANGE_S until the event `ended`; without an address, only wait for it. What
    goes wrong is one line, however often the same goes wrong in succession.

    path : of the configuration, which may change meanwhile.
    """
    alertmanager, trouble = Alertmanager(address) if address else None, ""
    while not ended.is_set():
        if alertmanager:
            try:
                for line in exchange(alertmanager, root, configured_silences(path), datetime.now(UTC)):
                    night.print_line(line)
                trouble = ""
            except (ConnectionError, OSError, ValueError) as error:
                if str(error) != trouble:
                    night.print_line(error)
                trouble = str(error)
        ended.wait(EXCHANGE_S if alertmanager else None)
