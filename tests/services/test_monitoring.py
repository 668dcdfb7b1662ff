"""deploy/monitoring: what it configures is right, each query of its dashboards has data in a real Prometheus, and a real training shows there.

The DCGM exporter and Grafana do not run here: their series are made by hand, and the dashboards are held against Grafana's own library.
"""

import importlib
import json
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recorded_series
import requests
import yaml
from conftest import REPOSITORY
from daemons import PATH, free_ports, lacking, running, wait_until

from nightshift.live.watch_training import watch_training
from nightshift.sources.prometheus import connect
from nightshift.sources.telemetry.prometheus import NODE_QUERIES
from nightshift.sources.telemetry.trainings import read_waits

STACK = REPOSITORY / "deploy/monitoring"
PROFILES = ["pc", "server", "datacentre"]
NODE_EXPORTER = "prometheus-node-exporter"
VARIABLES = {"$node": "g01|g02|pc", "$job": "4711", "$user": ".*", "$run": "slow|fast", "$__rate_interval": "5m"}
JOB = {"SLURM_JOB_ID": "815", "SLURM_JOB_USER": "u003", "SLURM_JOB_ACCOUNT": "physics", "SLURM_JOB_GPUS": "0,3"}


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(scope="module")
def generated():
    """The module deploy/monitoring/generate.py."""
    pytest.importorskip("grafana_foundation_sdk")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STACK))
        yield importlib.import_module("generate")


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((STACK / "grafana/dashboards").glob("*.json"))}


def queries():
    """[(dashboard, panel, query with values in the place of variables, whether it is asked over a range)] of the committed dashboards."""
    found = []
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"]
                for variable, value in VARIABLES.items():
                    query = query.replace(variable, value)
                assert "$" not in query
                found.append((name, panel["title"], query, target.get("range", False)))
    return found


# ------------------------------------------------------------------------------------------------------------------ files


def test_the_committed_dashboards_are_those_that_are_generated_and_grafanas_library_reads_them(generated):
    from grafana_foundation_sdk.models.dashboard import Dashboard

    texts = generated.texts()
    assert texts == {path.name: path.read_text() for path in (STACK / "grafana/dashboards").iterdir()}, "run deploy/monitoring/generate.py"
    for text in texts.values():
        again = json.dumps(Dashboard.from_json(json.loads(text)), cls=generated.JSONEncoder, indent=1, sort_keys=True)
        assert json.loads(again) == json.loads(text)


def test_dashboards_name_the_provisioned_source_and_have_panels_of_their_own_number():
    [prometheus, _] = yaml.safe_load((STACK / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    for name, dashboard in dashboards().items():
        assert dashboard["uid"] == name.removesuffix(".json")
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert sorted(set(numbers)) == list(range(1, len(numbers) + 1))
        assert {panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"} == {prometheus["uid"]}
        variables = [variable["name"] for variable in dashboard["templating"].get("list", [])]
        assert set(re.findall(r"\$(\w+)", json.dumps([panel.get("targets") for panel in dashboard["panels"]]))) <= {*variables, "__rate_interval"}


def test_promtool_parses_each_query_and_finds_configurations_and_rules_right(tmp_path):
    if missing := lacking(["promtool", "amtool"]):
        pytest.skip(f"no {' and '.join(missing)} here")
    rules = [{"record": f"query{n}", "expr": query} for n, (_, _, query, _) in enumerate(queries())]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    commands = [["promtool", "check", "rules", tmp_path / "queries.yml"], ["promtool", "test", "rules", "stack_tests.yml"]]
    commands += [["promtool", "check", "config", f"../prometheus-{name}.yml"] for name in PROFILES]
    commands += [["amtool", "check-config", "../alertmanager.yml"]]
    for command in commands:
        done = run(*command, cwd=STACK / "rules", env={"PATH": PATH})
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 70


def test_what_a_data_centre_keeps_is_what_dashboards_rules_and_nights_ask_for():
    jobs = yaml.safe_load((STACK / "prometheus-datacentre.yml").read_text())["scrape_configs"]
    [kept] = [rule["regex"] for job in jobs if job["job_name"] == "node" for rule in job["metric_relabel_configs"] if rule.get("action") == "keep"]
    texts = [query for _, _, query, _ in queries()] + list(NODE_QUERIES.values()) + [(STACK / "rules/stack.yml").read_text()]
    asked = {name for text in texts for name in re.findall(r"\bnode_[A-Za-z0-9_]+", text)}
    assert len(asked) > 50
    assert {name for name in asked if not re.fullmatch(kept, name)} == set()
    assert not re.fullmatch(kept, "node_scrape_collector_duration_seconds")


def test_containers_mount_what_there_is_and_say_the_same_as_the_services():
    compose = yaml.safe_load((STACK / "compose.yaml").read_text())
    text = (STACK / "compose.yaml").read_text()
    services, volumes = compose["services"], compose["volumes"]
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:v?\d[\w.-]+", service["image"]), f"{name} names no version"
        assert service["network_mode"] == "host"
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            assert source in volumes or (STACK / source).exists(), volume
    inside = set(re.findall(r"/etc/monitoring/([\w./${}:-]+)", text))
    assert inside == {"prometheus-${PROFILE:-pc}.yml", "dcgm-counters.csv", "alertmanager.yml", "grafana/provisioning"}
    for path in inside:
        assert [*STACK.glob(re.sub(r"\$\{.*\}", "*", path))], path
    units = {path.stem.removeprefix("monitoring-"): path.read_text() for path in (STACK / "systemd").glob("*.service")}
    assert set(units) == set(services)
    for name, unit in units.items():
        words = {word for word in services[name].get("command", []) if "address" in word}
        assert {re.sub(r":-[^}]*", "", word) for word in words} <= set(unit.split()), f"{name} listens elsewhere"
    for profile in PROFILES:
        settings = dict(line.split("=") for line in (STACK / f"profile-{profile}.env").read_text().split())
        assert settings["PROFILE"] == profile
        assert set(settings) == set(re.findall(r"\$\{(PROFILE|RETENTION|RETENTION_SIZE|EXPORTERS_AT)\b", "".join(units.values())))


# --------------------------------------------------------------------------------------------------------------- installed


def test_scripts_are_clean():
    if missing := lacking(["shellcheck"]):
        pytest.skip(f"no {missing[0]} here")
    scripts = [*STACK.rglob("*.sh"), STACK.parent / "install"]
    assert len(scripts) == 5
    done = run("shellcheck", *scripts, env={"PATH": PATH})
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which install.sh has installed the profile server."""
    root = tmp_path_factory.mktemp("installed")
    done = run(STACK / "install.sh", "server", env={"PATH": PATH, "DESTDIR": str(root)})
    assert done.returncode == 0, done.stderr
    return root


def test_what_is_installed_is_a_configuration_that_prometheus_takes_and_units_that_systemd_takes(installed, tmp_path):
    if missing := lacking(["promtool", "systemd-analyze"]):
        pytest.skip(f"no {' and '.join(missing)} here")
    etc = installed / "etc/monitoring"
    assert run("promtool", "check", "config", etc / "prometheus-server.yml", env={"PATH": PATH}).returncode == 0
    assert "PROFILE=server\n" in (etc / "profile.env").read_text()
    assert oct((etc / "grafana-password").stat().st_mode & 0o777) == "0o600"
    assert len((etc / "grafana-password").read_text()) == 36
    units = sorted((installed / "etc/systemd/system").glob("*.service"))
    programs = {}
    for unit in units:
        text = unit.read_text()
        program = re.search(r"ExecStart=(\S+)", text)[1]
        programs[unit.name] = program
        # those that this machine lacks stand for programs of vendors: whatever else is wrong, systemd says
        unit.write_text(text.replace(f"ExecStart={program}", "ExecStart=/bin/true", 1) if not Path(program).exists() else text)
    done = run("systemd-analyze", "verify", *units, env={"PATH": PATH, "SYSTEMD_UNIT_PATH": f"{installed}/etc/systemd/system:"})
    assert (done.returncode, done.stderr) == (0, "")
    assert {name for name, program in programs.items() if "prometheus" in program} == {
        "monitoring-prometheus.service",
        "monitoring-node-exporter.service",
        "monitoring-alertmanager.service",
    }
    options = ["security", "--offline=true", "--no-pager", f"--root={installed}"]
    for name, most in {"prometheus": 20, "alertmanager": 20, "grafana": 20, "node-exporter": 25}.items():
        done = run("systemd-analyze", *options, f"--threshold={most}", f"monitoring-{name}.service", env={"PATH": PATH})
        assert done.returncode == 0, done.stdout


def test_installing_again_keeps_what_is_configured_and_no_profile_is_refused(installed):
    node = installed / "etc/monitoring/targets/node.yml"
    assert "node: localhost" not in node.read_text(), "the name of this machine"
    node.write_text("[]\n")
    password = (installed / "etc/monitoring/grafana-password").read_text()
    assert run(STACK / "install.sh", "datacentre", env={"PATH": PATH, "DESTDIR": str(installed)}).returncode == 0
    assert (node.read_text(), (installed / "etc/monitoring/grafana-password").read_text()) == ("[]\n", password)
    assert "PROFILE=datacentre\n" in (installed / "etc/monitoring/profile.env").read_text()
    done = run(STACK / "install.sh", "laptop", env={"PATH": PATH, "DESTDIR": str(installed)})
    assert (done.returncode, done.stderr) == (2, "install.sh: name a profile: pc, server or datacentre\n")


def test_a_virtual_machine_installs_what_its_metadata_say(tmp_path):
    if missing := lacking(["git", "curl"]):
        pytest.skip(f"no {' and '.join(missing)} here")
    origin, metadata = tmp_path / "origin", tmp_path / "metadata/computeMetadata/v1/instance/attributes"
    (origin / "deploy/monitoring").mkdir(parents=True)
    (origin / "deploy/monitoring/install.sh").write_text('#!/bin/sh\necho "installed: $*"\n')
    (origin / "deploy/monitoring/install.sh").chmod(0o755)
    for words in ("init -q -b main", "add .", "-c user.name=a -c user.email=a@example.org commit -qm first"):
        assert run("git", "-C", origin, *words.split()).returncode == 0
    metadata.mkdir(parents=True)
    environment = {"PATH": PATH, "METADATA": f"file://{tmp_path}/metadata", "TREE": str(tmp_path / "tree"), "HOME": str(tmp_path)}
    done = run(STACK / "gcp-startup.sh", env=environment)
    assert (done.returncode, done.stderr) == (2, "gcp-startup.sh: the metadata of this machine has no nightshift-repository\n")
    (metadata / "nightshift-repository").write_text(str(origin))
    (metadata / "monitoring-profile").write_text("pc")
    for _ in range(2):  # at the next start it brings itself up to date
        done = run(STACK / "gcp-startup.sh", env=environment)
        assert (done.returncode, done.stdout) == (0, "installed: pc\n"), done.stderr


def test_a_target_without_a_node_mutes_no_alert():
    """To an Alertmanager two alerts agree in a label that neither has: an exporter of Nightshift that does not run would mute its incidents."""
    [rule] = yaml.safe_load((STACK / "alertmanager.yml").read_text())["inhibit_rules"]
    assert rule["equal"] == ["node"]
    assert 'node != ""' in rule["source_matchers"]
    for profile in PROFILES:
        jobs = yaml.safe_load((STACK / f"prometheus-{profile}.yml").read_text())["scrape_configs"]
        assert [job["job_name"] for job in jobs if "relabel_configs" not in job] == ["nightshift", "monitoring"]


def test_a_job_of_slurm_is_named_while_it_runs(tmp_path):
    jobs, texts = tmp_path / "jobs", tmp_path / "texts"
    jobs.mkdir()
    texts.mkdir()
    environment = JOB | {"PATH": PATH, "MONITORING_JOBS": str(jobs), "MONITORING_TEXTFILES": str(texts)}
    assert run(STACK / "slurm/prolog.sh", env=environment).returncode == 0
    assert {path.name: path.read_text() for path in jobs.iterdir()} == {"0": "815\n", "3": "815\n"}
    [text] = texts.iterdir()
    assert text.read_text().splitlines()[1] == 'nightshift_job_info{hpc_job="815",user="u003",account="physics"} 1'
    assert run(STACK / "slurm/epilog.sh", env=environment).returncode == 0
    assert ([*texts.iterdir()], {path.read_text() for path in jobs.iterdir()}) == ([], {""})


@pytest.mark.parametrize("script", ["prolog.sh", "epilog.sh"])
def test_no_node_is_drained_because_a_job_cannot_be_named(tmp_path, script):
    environment = JOB | {"PATH": PATH, "MONITORING_JOBS": str(tmp_path / "none"), "MONITORING_TEXTFILES": str(tmp_path / "none")}
    done = run(STACK / "slurm" / script, env=environment)
    assert done.returncode == 0
    assert "none" in done.stderr, "the log of slurmd says why"


def test_what_a_prolog_has_written_stays_for_as_long_as_its_job(tmp_path):
    """A node exporter that may write nothing leaves the time of the last reading as it is, so that the file would be as old as its job."""
    if missing := lacking(["systemd-tmpfiles"]):
        pytest.skip(f"no {missing[0]} here")
    jobs, texts, rules = tmp_path / "var/lib/monitoring-jobs", tmp_path / "var/lib/monitoring-textfiles", tmp_path / "a_day_later.conf"
    jobs.mkdir(parents=True)
    texts.mkdir()
    environment = JOB | {"PATH": PATH, "MONITORING_JOBS": str(jobs), "MONITORING_TEXTFILES": str(texts)}
    assert run(STACK / "slurm/prolog.sh", env=environment).returncode == 0
    (texts / "nightshift_training-resnet-1.prom").write_text("")
    rules.write_text((STACK / "systemd/monitoring.tmpfiles.conf").read_text().replace(" 1d\n", " 0\n"))
    for options, left in ((["--clean"], {"nightshift_job-815.prom", "0", "3"}), (["--remove", "--boot"], set())):
        done = run("systemd-tmpfiles", f"--root={tmp_path}", *options, rules, env={"PATH": PATH})
        assert (done.returncode, done.stderr) == (0, "")
        assert {path.name for folder in (jobs, texts) for path in folder.iterdir()} == left


# ------------------------------------------------------------------------------------------------------------- Prometheus


def configured(folder, ports):
    """The configuration of the profile pc with these targets, {job: port}, once a second: files in `folder`; returns its path."""
    config = yaml.safe_load((STACK / "prometheus-pc.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(STACK / name) for name in config["rule_files"]]
    del config["alerting"]
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in ports]
    (folder / "targets").mkdir()
    for job, port in ports.items():
        (folder / f"targets/{job}.yml").write_text(yaml.safe_dump([{"targets": [f"127.0.0.1:{port}"], "labels": {"node": "here"}}]))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yml"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A Prometheus that holds recorded series up to its start, and scrapes a node exporter with a textfile collector and a training."""
    if missing := lacking(["prometheus", "promtool", NODE_EXPORTER]):
        pytest.skip(f"no {', '.join(missing)} here")
    folder = tmp_path_factory.mktemp("monitoring")
    server, node, training = free_ports(3)
    (folder / "texts").mkdir()
    end = int(time.time()) - 1
    (folder / "series.txt").write_text(recorded_series.openmetrics(end))
    done = run("promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", folder / "series.txt", folder / "data", env={"PATH": PATH})
    assert done.returncode == 0, done.stderr
    exporter = [NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{node}", f"--collector.textfile.directory={folder}/texts"]
    exporter += ["--collector.disable-defaults", "--collector.textfile"]
    config, url = configured(folder, {"node": node, "training": training}), f"http://127.0.0.1:{server}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{server}"]

    def answers(page):
        try:
            return requests.get(page, timeout=2).ok
        except requests.RequestException:
            return False

    with (
        running(exporter, folder, ready=lambda: answers(f"http://127.0.0.1:{node}/metrics")),
        running(command, folder, ready=lambda: answers(f"{url}/-/ready")),
    ):
        stack = SimpleNamespace(url=url, texts=folder / "texts", training=training, end=end)
        of_groups = (
            "gpu:nightshift_idle:bool",
            'ALERTS{alertname="GpuMemoryFails"}',
            "nightshift:night_age:seconds",
            'ALERTS{alertname="NightshiftNode"}',
        )
        assert wait_until(lambda: all(value(stack, f"count({name})") for name in of_groups), 20), "a group of rules was not evaluated"
        yield stack


def asked(stack, path, **parameters):
    """(result, seconds) of a question to the Prometheus."""
    begun = time.monotonic()
    answer = requests.get(f"{stack.url}/api/v1/{path}", parameters, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]["result"], time.monotonic() - begun


def value(stack, query):
    """The number that a query of one series gives now; None where there is none."""
    result, _ = asked(stack, "query", query=query)
    return float(result[0]["value"][1]) if result else None


def values(stack, query, *labels):
    """{labels: number} of what a query gives now; one label is no tuple."""
    result, _ = asked(stack, "query", query=query)
    keyed = {tuple(one["metric"].get(label, "") for label in labels): float(one["value"][1]) for one in result}
    return {key[0] if len(labels) == 1 else key: number for key, number in keyed.items()}


def test_no_query_of_a_dashboard_is_without_data_or_takes_five_seconds(prometheus):
    now, empty, slow = time.time(), [], {}
    for name, panel, query, over in queries():
        result, seconds = asked(prometheus, "query", query=query)
        if over:
            lines, more = asked(prometheus, "query_range", query=query, start=now - 3600, end=now, step=30)
            result, seconds = result and lines, seconds + more
        if not result:
            empty.append((name, panel, query))
        slow[seconds] = query
    assert empty == []
    assert max(slow) < 5, slow[max(slow)]


def test_queries_of_the_dashboards_tell_what_was_recorded(prometheus):
    shown = {(name.removesuffix(".json").removeprefix("nightshift-"), panel): query for name, panel, query, _ in queries()}
    waits = values(prometheus, shown["training", "Waits for its data"], "run")
    assert waits == {"slow": pytest.approx(0.8, abs=0.01), "fast": pytest.approx(0.02, abs=0.01)}
    assert values(prometheus, shown["training", "Utilisation of its GPUs"], "run") == {"slow": 8, "fast": 96}
    assert values(prometheus, shown["training", "Loader stalls"], "run") == {"slow": 1, "fast": 0}
    idle = values(prometheus, shown["training", "GPUs that nothing uses"], "node", "gpu")
    assert idle == {("g02", "0"): 0, ("g02", "1"): 1, ("pc", ""): 0}, "that on g01 waits for data"
    assert values(prometheus, shown["training", "Samples per second"], "run") == {"slow": pytest.approx(64), "fast": pytest.approx(640)}
    assert values(prometheus, shown["gpu", "Slowed by the limit of power"], "node", "gpu") == dict.fromkeys(
        [("g01", "0"), ("g02", "0"), ("g02", "1"), ("pc", "")], 1
    )
    assert set(values(prometheus, shown["gpu", "Slowed by the hardware"], "node").values()) == {0}
    assert values(prometheus, shown["job", "Mean utilisation of its GPUs"], "hpc_job") == {"4711": 52}
    assert values(prometheus, shown["job", "Processors"], "node") == {"g01": pytest.approx(0.9, abs=0.01), "g02": pytest.approx(0.5, abs=0.01)}
    assert values(prometheus, shown["storage", "Busy"], "node")["pc"] == pytest.approx(0.4, abs=0.01)
    assert value(prometheus, shown["own", "Age of the last night"]) == pytest.approx(7200, abs=120)


def test_an_extraction_reads_how_long_the_trainings_of_a_job_waited(prometheus):
    ask = connect(prometheus.url, step_s=60, timeout_s=10, retry_wait_s=0.01, warned=set())
    begin = prometheus.end - 1800
    waits = read_waits(ask, [(begin, 20)], 60)
    assert {key: len(one) for key, one in waits.items()} == {("g01", "4711"): 20, ("g02", "4711"): 20}
    assert waits["g01", "4711"].tolist() == pytest.approx([80] * 20, abs=1)
    assert waits["g02", "4711"].index.tolist() == [begin + 60 * n for n in range(20)]


# ---------------------------------------------------------------------------------------------------------- real trainings


def slow_batches(n, wait_s):
    """`n` batches of 16 rows, each after a wait, as a list that begins anew whenever it is iterated."""
    rng = np.random.default_rng(1)
    rows = [(rng.normal(size=(16, 8)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")) for _ in range(n)]

    class Loader:
        def __iter__(self):
            for row in rows:
                time.sleep(wait_s)
                yield row

    return Loader()


@pytest.mark.parametrize(("run_name", "wait_s"), [("keras-slow", 0.05), ("keras-fast", 0.0)])
def test_a_keras_fit_shows_whether_its_loader_stalls(prometheus, quick_compiler, monkeypatch, run_name, wait_s):
    """The loader of one sleeps 0.05 s a batch, the steps of the other compute as long: the same number of steps, and of seconds."""
    import keras

    monkeypatch.setenv("SLURM_JOB_ID", "99")
    busy = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: time.sleep(0.05 - wait_s))
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((16, 8), "float32"), np.zeros((16, 1), "float32"))  # which compiles it
    with watch_training(run_name, port=prometheus.training, folder=prometheus.texts) as watched:
        assert watched.port == prometheus.training
        batches = watched.batches(slow_batches(10, wait_s), repeat=True)
        callbacks = [watched.keras_callback(), busy]
        model.fit(batches, steps_per_epoch=10, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
        of_run, steps = f'{{run="{run_name}",node="here",job="training"}}', f'nightshift_training_steps_total{{run="{run_name}",job="training"}}'
        assert wait_until(lambda: value(prometheus, steps) == 30, 10)
        share = value(prometheus, f"nightshift_training_loader_wait_seconds_total{of_run} / nightshift_training_step_seconds_sum{of_run}")
        assert share > 0.6 if wait_s else share < 0.2
        assert value(prometheus, f"nightshift_training_samples_total{of_run}") >= 480
        assert value(prometheus, f"nightshift_training_epoch{of_run}") == 3
        assert 0 < value(prometheus, f"nightshift_training_loss{of_run}") < 10
        assert values(prometheus, steps, "hpc_job", "exported_node") == {("99", ""): 30}
    left = f'nightshift_training_steps_total{{run="{run_name}",job="node",node="here"}}'
    assert wait_until(lambda: value(prometheus, left) == 30, 10), "what it left for the textfile collector"
