"""What `nightshift live export` serves, in a real Prometheus with the rules of deploy/; its alerts in a real Alertmanager; silences of both."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pytest
import requests
import yaml
from conftest import REPOSITORY, today
from daemons import PATH, free_ports, lacking, running, wait_until
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from typer.testing import CliRunner

from nightshift.cli import app
from nightshift.incidents.silences import SILENCES_FILE, apply_silences, read_recorded, read_silences, record_silence
from nightshift.live.alertmanager import PAIRS_FILE, Alertmanager, exchange
from nightshift.live.export import MOST, Exporter
from nightshift.live.provisional import build_provisional, write_provisional

RULES = REPOSITORY / "deploy/monitoring/rules"
SCRAPES = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - {{job_name: nightshift, static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]}}
alerting:
  alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]}}]
"""
ROUTES = "{route: {receiver: nobody, group_wait: 0s}, receivers: [{name: nobody}]}"


def incident(number, *, severity="high", silence=None, entity="HARBOR-T2", site="HARBOR-T2"):
    finding = {"study": "transfers", "kind": "slow_site", "entity": entity, "site": site}
    about = {"id": f"20260119-{number:04x}", "state": "new", "severity": severity, "ended": False, "site": site}
    return about | {"silence": silence, "findings": [finding, finding | {"study": "accounting", "kind": "drop"}]}


def write_night(root, incidents):
    """What a night of today and a stream leave, as far as metrics are made of it."""
    report = root / "reports" / str(today())
    (report / "transfers").mkdir(parents=True, exist_ok=True)
    (report / "transfers/3_train.json").write_text('{"seconds": 90.5}')
    (report / "digest_run.json").write_text('{"seconds": 9.5}')
    newest = str(datetime.now(UTC) - timedelta(hours=2))
    studies = {"transfers": {"failed_step": "", "findings": 5, "data": {"newest": newest}}, "tickets": {"failed_step": "3_train"}}
    digest = {"version": 3, "day": str(today()), "coverage": {"reported": 1, "expected": 2}, "digest": {"ended": str(datetime.now(UTC))}}
    (report / "digest.json").write_text(json.dumps(digest | {"studies": studies, "incidents": incidents}))
    for name in ("models/transfers", "data/scores", "data/live"):
        (root / name).mkdir(parents=True, exist_ok=True)
    models = [{"in_use": True, "alarm_rate_stated": 0.005, "alarm_rate_observed": 0.0052}, {"in_use": False, "alarm_rate_observed": 1.0}]
    (root / "models/transfers/metrics.json").write_text(json.dumps({"models": models}))
    pd.DataFrame({"flagged": [True, False, False, False]}).to_parquet(root / "data/scores/transfers.parquet")
    state = {"looked": str(datetime.now(UTC)), "seconds": 0.5, "step_s": 15.0, "windows": 100, "flagged": 3}
    (root / "data/live/telemetry.json").write_text(json.dumps(state))
    nodes = {"node_id": ["n1", "n2", "n1"], "job_id": ["1", "1", "2"], "score": [9.0, 1.0, 3.0], "in_alarm": [True, False, False]}
    pd.DataFrame(nodes | {"diagnosis": ["memleak", "none", "none"]}).to_parquet(root / "data/live/telemetry_nodes.parquet")
    now = pd.Timestamp.now("UTC")
    finding = {"kind": "memleak", "entity": "n1", "start": now, "end": now, "score": 9.0, "p_value": 0.001, "evidence": "x", "job_id": "1"}
    write_provisional(root, "telemetry", build_provisional([finding | {"goes_on": True}, finding | {"goes_on": False}], "telemetry"))


def scraped(root):
    """{series as text: value} of what a Prometheus would read."""
    registry = CollectorRegistry()
    registry.register(Exporter(root))
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_metrics_say_what_the_night_and_the_streams_left(tmp_path):
    silenced = incident(2, severity="low", silence={"as": "silenced"})
    write_night(tmp_path, [incident(1, entity='evil"\n{x="y"} ' + "a" * 300), silenced, incident(3, severity="low") | {"state": "closed"}])
    series = scraped(tmp_path)
    expected = {
        "nightshift_night_duration_seconds": 100,
        'nightshift_night_studies{state="expected"}': 2,
        'nightshift_study_failed{study="tickets"}': 1,
        'nightshift_study_failed{study="transfers"}': 0,
        'nightshift_study_findings{study="transfers"}': 5,
        'nightshift_study_alarm_share_observed{study="transfers"}': 0.0052,
        'nightshift_study_scored{study="transfers"}': 4,
        'nightshift_study_flagged{study="transfers"}': 1,
        'nightshift_incidents_open{severity="high"}': 1,
        'nightshift_incidents_open{severity="low"}': 0,
        "nightshift_incidents_silenced": 1,
        'nightshift_live_findings{kind="memleak",stream="telemetry"}': 1,
        'nightshift_live_flagged{stream="telemetry"}': 3,
        'nightshift_live_node_score{node="n1"}': 9,
        'nightshift_live_node_score{node="n2"}': 1,
        'nightshift_live_node_alarm{diagnosis="memleak",node="n1"}': 1,
        "nightshift_live_nodes_left_out": 0,
    }
    assert {name: series.get(name) for name in expected} == expected
    now = datetime.now(UTC).timestamp()
    assert now - series["nightshift_night_ended_timestamp_seconds"] < 60
    assert now - series['nightshift_study_newest_timestamp_seconds{study="transfers"}'] == pytest.approx(7200, abs=60)
    [first, second] = [(name, value) for name, value in series.items() if name.startswith("nightshift_incident_open")]
    assert 'kind="drop,slow_site",severity="high",site="HARBOR-T2",study="accounting,transfers"' in first[0]
    assert "\n" not in first[0]
    assert max(map(len, first[0].split("entity=")[1].split('",'))) < 200
    assert (first[1], second[1]) == (1, 0)


def test_a_night_of_an_earlier_version_is_read_under_the_present_names(tmp_path):
    former = {{"silence": "mark"}.get(key, key): value for key, value in incident(1, silence={"as": "muted"}).items()}
    write_night(tmp_path, [former | {"state": "worse"}])
    assert scraped(tmp_path)["nightshift_incidents_silenced"] == 1


def test_labels_are_bounded_and_an_empty_folder_has_no_incident(tmp_path):
    assert [name for name in scraped(tmp_path) if name.startswith("nightshift_incident_open")] == []
    write_night(tmp_path, [incident(number) for number in range(MOST["incidents"] + 7)])
    series = scraped(tmp_path)
    assert sum(name.startswith("nightshift_incident_open") for name in series) == MOST["incidents"]
    assert series["nightshift_incidents_left_out"] == 7


def test_promtool_finds_the_rules_right_and_their_unit_tests_pass():
    if missing := lacking(["promtool"]):
        pytest.skip(f"{missing[0]} is not here")
    for command in ("check", "test"):
        file = "nightshift.yml" if command == "check" else "nightshift_tests.yml"
        done = subprocess.run(["promtool", command, "rules", file], cwd=RULES, env={"PATH": PATH}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    rules, tests = (yaml.safe_load((RULES / name).read_text()) for name in ("nightshift.yml", "nightshift_tests.yml"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    tested = {one["alertname"] for test in tests["tests"] for one in test["alert_rule_test"]}
    assert tested == alerts, "each alert has a unit test"


def test_every_metric_that_the_rules_name_is_served(tmp_path):
    write_night(tmp_path, [incident(1)])
    (tmp_path / PAIRS_FILE).parent.mkdir()
    pairs = {"5f1c": {"entry": {"by": "storage", "why": "it moves"}, "mutes_too": ["20260119-0001"]}, "77aa": {"entry": {}}}
    (tmp_path / PAIRS_FILE).write_text(json.dumps(pairs))
    assert scraped(tmp_path)['nightshift_silence_mutes_too{by="storage",silence="5f1c",why="it moves"}'] == 1
    served = {name.partition("{")[0] for name in scraped(tmp_path)}
    text = (RULES / "nightshift.yml").read_text()
    words = {word.strip("(),\"'") for line in text.splitlines() if "expr:" in line for word in line.replace("[", " ").replace("(", " ").split()}
    assert {word for word in words if word.startswith("nightshift_")} - served == set()


# ----------------------------------------------------------------------------------------------- an Alertmanager


def answers(url):
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    """A night with two incidents, served to a Prometheus whose alerts go to an Alertmanager: root, alertmanager, alerts()."""
    if missing := lacking(["prometheus", "prometheus-alertmanager"]):
        pytest.skip(f"{', '.join(missing)} missing")
    folder = tmp_path_factory.mktemp("alertmanager")
    root, (alertmanager, prometheus) = folder / "products", free_ports(2)
    write_night(root, [incident(1), incident(2, severity="low", entity="GLACIER-T2", site="GLACIER-T2")])
    registry = CollectorRegistry()
    registry.register(Exporter(root))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    text = SCRAPES.format(rules=RULES / "nightshift.yml", exporter=server.server_port, alertmanager=alertmanager)
    (folder / "prometheus.yml").write_text(text)
    (folder / "alertmanager.yml").write_text(ROUTES)
    address = f"http://127.0.0.1:{alertmanager}"
    am = ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/am"]
    am += [f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="]
    prom = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    prom += [f"--web.listen-address=127.0.0.1:{prometheus}"]

    def alerts():
        """{incident: its alert} of what fires."""
        found = requests.get(f"{address}/api/v2/alerts", timeout=5).json()
        return {one["labels"]["incident"]: one for one in found if one["labels"]["alertname"] == "NightshiftIncident"}

    with (
        running(am, folder, ready=lambda: answers(f"{address}/-/ready")),
        running(prom, folder, ready=lambda: answers(f"http://127.0.0.1:{prometheus}/-/ready")),
    ):
        assert wait_until(lambda: len(alerts()) == 2, 60), "no alert has arrived"
        yield SimpleNamespace(root=root, alertmanager=Alertmanager(address), alerts=alerts)
    server.shutdown()
    server.server_close()
    thread.join()


def exchanged(monitored, configured=()):
    return exchange(monitored.alertmanager, monitored.root, list(configured), datetime.now(UTC))


def silenced_in_the_digest(root):
    """{incident: who silenced it} as the digest of tonight would set apart."""
    recorded, wrong = read_recorded(root / SILENCES_FILE, str(today()))
    assert wrong == []
    incidents = pd.DataFrame({"incident": ["20260119-0001", "20260119-0002"]})
    sites = ["HARBOR-T2", "GLACIER-T2"]
    findings = incidents.assign(study="transfers", kind="slow_site", site=sites, entity=sites)
    apart, _ = apply_silences(incidents, findings, read_silences(recorded), str(today()))
    return {one.incident: (one.silenced_as, one.silenced_by) for one in apart.itertuples() if one.silenced_as}


def state_of(monitored, number):
    """Whether the alert of an incident is active or suppressed; "" while there is none."""
    return monitored.alerts().get(number, {"status": {"state": ""}})["status"]["state"]


def test_an_alert_that_fires_reaches_the_alertmanager_with_what_it_is_about(monitored):
    first = monitored.alerts()["20260119-0001"]
    assert first["status"]["state"] == "active"
    assert first["labels"]["severity"] == "high"
    assert first["annotations"]["summary"] == "20260119-0001: drop,slow_site of HARBOR-T2 at HARBOR-T2 (accounting,transfers)"


def test_a_silence_made_in_the_alertmanager_is_one_of_the_digest_until_it_is_lifted_there(monitored):
    until = today() + timedelta(2)
    end = datetime.combine(until, datetime.min.time(), UTC) + timedelta(hours=12)
    matchers = [{"name": "incident", "value": "20260119-0001", "isRegex": False, "isEqual": True}]
    silence = {"matchers": matchers, "startsAt": str(datetime.now(UTC)).replace(" ", "T"), "endsAt": end.isoformat()}
    number = monitored.alertmanager.silence(silence | {"createdBy": "night shift", "comment": "acknowledged: cooling\nis repaired"})
    assert exchanged(monitored) == ["silenced here, as in the Alertmanager: cooling is repaired"]
    assert silenced_in_the_digest(monitored.root) == {"20260119-0001": ("acknowledged", "night shift")}
    recorded, _ = read_recorded(monitored.root / SILENCES_FILE, str(today()))
    assert recorded[0]["until"] == str(until)
    assert exchanged(monitored) == [], "it does not come back as another one"
    assert len([one for one in monitored.alertmanager.silences() if one["status"]["state"] == "active"]) == 1
    monitored.alertmanager.expire(number)
    assert exchanged(monitored) == ["lifted here: cooling is repaired"]
    assert silenced_in_the_digest(monitored.root) == {}


def test_silences_of_readers_and_of_the_configuration_mute_the_alerts_until_they_are_lifted_here(monitored):
    path = monitored.root / SILENCES_FILE
    until = today() + timedelta(3)
    entry = {"site": "glacier-*", "study": "*n*", "as": "silenced", "by": "storage", "until": str(until), "why": "it moves"}
    record_silence(path, entry)
    configured = {"incident": "20260119-0001", "as": "acknowledged", "by": "ops", "until": str(until), "why": "a disk"}
    before = path.read_text()
    assert exchanged(monitored, [configured]) == ["silenced in the Alertmanager, as here: a disk", "silenced in the Alertmanager, as here: it moves"]
    assert wait_until(lambda: {state_of(monitored, f"20260119-000{i}") for i in (1, 2)} == {"suppressed"}, 30)
    made = {one["comment"]: one for one in monitored.alertmanager.silences() if one["status"]["state"] == "active"}
    assert made["acknowledged: a disk"]["createdBy"] == "ops"
    assert made["it moves"]["endsAt"].startswith(str(until + timedelta(1)))
    assert exchanged(monitored, [configured]) == []
    assert path.read_text() == before, "what came from here is not recorded again"
    path.write_text("".join(line for line in before.splitlines(True) if "it moves" not in line))
    assert exchanged(monitored, [configured]) == ["lifted in the Alertmanager: it moves"]
    assert wait_until(lambda: state_of(monitored, "20260119-0002") == "active", 30)
    assert wait_until(lambda: state_of(monitored, "20260119-0001") == "suppressed", 30), "which is silenced on"


def test_silences_of_other_alerts_and_those_that_no_entry_can_say_are_left_alone(monitored):
    now, end = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1)
    before = (monitored.root / SILENCES_FILE).read_text()
    other = {"createdBy": "a", "comment": "b", "startsAt": now.isoformat(), "endsAt": end.isoformat()}
    for name, value, is_regex in (("alertname", "DiskFull", False), ("site", "A|B", True), ("instance", "n1", False)):
        monitored.alertmanager.silence(other | {"matchers": [{"name": name, "value": value, "isRegex": is_regex, "isEqual": True}]})
    monitored.alertmanager.silence(other | {"matchers": [{"name": "site", "value": "A", "isRegex": False, "isEqual": False}]})
    assert exchanged(monitored) == ["lifted in the Alertmanager: a disk"], "which the configuration names no more"
    assert (monitored.root / SILENCES_FILE).read_text() == before


def test_a_service_has_the_address_of_its_alertmanager_from_the_environment(monkeypatch):
    asked = []
    monkeypatch.setattr("nightshift.live.export.serve", lambda *arguments: asked.append(arguments) or 0)
    for environment in ({}, {"ALERTMANAGER_ADDRESS": "http://127.0.0.1:9093"}):
        assert CliRunner().invoke(app, ["live", "export", "--port", "0"], env=environment).exit_code == 0
    assert [address for *_, address in asked] == ["", "http://127.0.0.1:9093"]


def test_an_alertmanager_that_is_not_there_is_one_line(tmp_path):
    [port] = free_ports(1)
    with pytest.raises(ConnectionError, match=rf"^http://127\.0\.0\.1:{port} does not answer: ") as error:
        exchange(Alertmanager(f"http://127.0.0.1:{port}/"), tmp_path, [], datetime.now(UTC))
    assert len(str(error.value).splitlines()) == 1
