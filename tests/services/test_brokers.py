"""Transfers live, from a real ActiveMQ and a real RabbitMQ: what is killed loses nothing and does nothing twice, whom nobody trusts is refused."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import brokers
import numpy as np
import pandas as pd
import pytest
import stomp
import yaml
from conftest import REPOSITORY
from daemons import wait_until
from live_events import make_transfers, messages_of, run_night

from nightshift.live.broker import Refused, Subscription, connect, hang_up
from nightshift.live.store import Store

TOPIC = "/topic/rucio.events"
DAY = 86_400
KILLS = {"activemq": 2, "rabbitmq": 1}  # of our process
POISON = [b"\xff\xfe\x00", b"[1, 2]", b'{"event_type": ']


@pytest.fixture(scope="module", params=["activemq", "rabbitmq"])
def broker(request):
    if missing := brokers.missing(request.param):
        pytest.skip(f"no {request.param} here: {', '.join(missing)} missing")
    with tempfile.TemporaryDirectory(prefix=f"{request.param}-") as folder, brokers.Broker(request.param, Path(folder)) as one:
        yield one


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """(folder of a configuration and of products of a night, messages of the day after it)."""
    root = tmp_path_factory.mktemp("night")
    transfers = make_transfers(1500, "2026-01-29", 3 * DAY)
    transfers = transfers[transfers.created < 3 * DAY]
    messages, n = messages_of(transfers), int((transfers.created < 2 * DAY).sum())
    (root / "earlier.jsonl").write_bytes(b"\n".join(messages[:n]) + b"\n")
    run_night(root / "products", "2026-01-30", root / "earlier.jsonl", train=True)
    return root, messages[n:]


@pytest.fixture
def site(before, tmp_path):
    """Path of a configuration whose products are those of the night, in a copy."""
    subprocess.run(["cp", "-a", before[0] / "products", tmp_path / "products"], check=True)
    config = {"day": "2026-01-30", "products": str(tmp_path / "products"), "alarm_rate": 0.01}
    config["studies"] = {"transfers": {"extract": {"source": str(before[0] / "earlier.jsonl")}}}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "site.yaml"


def publish(broker, messages, destination=TOPIC):
    """Send messages as hermes does, each kept by the broker when this returns."""
    connection = stomp.Connection12([("127.0.0.1", broker.port)], vhost="/")
    waits = stomp.listener.WaitingListener("last")
    connection.set_listener("waits", waits)
    connection.connect(*brokers.LOGIN, wait=True)
    for i, message in enumerate(messages):
        last = {"receipt": "last"} if i == len(messages) - 1 else {}
        connection.send(destination, message, headers={"persistent": "true"} | last)
    waits.wait_on_receipt()
    connection.disconnect()


def live(broker, site):
    """Begin `nightshift live transfers`, its words in a file beside the configuration."""
    user, password = brokers.LOGIN
    environment = os.environ | {"STOMP_USER": user, "STOMP_PASSWORD": password, "STOMP_CA": str(broker.certificate)}
    command = [sys.executable, "-m", "nightshift", "live", "transfers", "--config", site, "--destination", TOPIC]
    command += ["--broker", f"stomp+ssl://127.0.0.1:{broker.tls}"]
    with (site.parent / "live.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=log, stderr=log)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def journal_lines(site, kind="."):
    return [line for path in (site.parent / "products/data/live/transfers" / kind).glob("2*.jsonl") for line in path.read_bytes().splitlines()]


def n_scored(site):
    path = site.parent / "products/data/live/transfers/scores.sqlite"
    try:
        return Store(path, read_only=True).count("transfers where not of_night")
    except Exception:  # there is none yet
        return 0


def n_read(site):
    """How many lines of the journal the scorer has read."""
    try:
        store = Store(site.parent / "products/data/live/transfers/scores.sqlite", read_only=True)
        return store.noted("counts", {}).get("read", 0)
    except Exception:  # there is none yet
        return 0


def subscribe(broker, subscription=None):
    """Let the broker know the subscriber, for which it keeps messages from then on."""
    connection, _ = connect(subscription or Subscription("127.0.0.1", broker.port, False, "", TOPIC))
    hang_up(connection)


@pytest.fixture
def login(monkeypatch):
    user, password = brokers.LOGIN
    monkeypatch.setenv("STOMP_USER", user)
    monkeypatch.setenv("STOMP_PASSWORD", password)


def test_whom_nobody_vouches_for_is_refused_and_so_is_a_wrong_password(broker, login, monkeypatch):
    secure = Subscription("127.0.0.1", broker.tls, True, "", TOPIC, name="other")
    with pytest.raises(Refused, match=r"its certificate is not trusted .*name the file of its authority in STOMP_CA"):
        connect(secure)
    monkeypatch.setenv("STOMP_CA", str(broker.certificate))
    connection, _ = connect(secure)
    assert connection.is_connected()
    hang_up(connection)
    monkeypatch.setenv("STOMP_PASSWORD", "wrong")
    with pytest.raises(Refused, match=rf"127.0.0.1:{broker.tls} cannot be had: .+"):
        connect(secure)


def test_a_queue_keeps_what_nobody_has_acknowledged(broker, login):
    queued = Subscription("127.0.0.1", broker.port, False, "", "/queue/rucio.events")
    subscribe(broker, queued)
    publish(broker, [b"1", b"2"], queued.destination)
    connection, inbox = connect(queued)
    assert wait_until(lambda: inbox.messages.qsize() == 2, 20)
    [(first, body), _] = inbox.take(2)
    connection.ack(first)
    assert body == b"1"
    hang_up(connection)
    bodies = []

    def receives(acknowledged):
        with contextlib.suppress(Refused):  # the broker still has the connection before
            connection, inbox = connect(queued)
            taken = inbox.take(2)
            bodies.extend(body for _, body in taken)
            for ack, _ in taken if acknowledged else []:
                connection.ack(ack)
            hang_up(connection)
            return bool(taken)

    assert wait_until(lambda: receives(False), 20)
    assert wait_until(lambda: receives(True), 20)
    assert bodies == [b"2", b"2"], "it comes until it is acknowledged"


def test_nothing_is_lost_and_nothing_scored_twice_whatever_is_killed(broker, before, site, login):
    """The broker is killed once, our process twice (once with the slower broker), at random moments of what it does."""
    messages, rng = before[1], np.random.default_rng()
    n, twice = len(messages), messages[:50]
    ids = {json.loads(message)["payload"]["request-id"] for message in messages}
    subscribe(broker)
    process = live(broker, site)
    for first, last in ((0, n // 3), (n // 3, 2 * n // 3))[: KILLS[broker.kind]]:
        publish(broker, messages[first:last] + POISON)
        assert wait_until(lambda first=first: len(journal_lines(site)) > first, 180), (site.parent / "live.log").read_text()[-2000:]
        time.sleep(rng.uniform(0, 1))
        kill(process)
        process = live(broker, site)
    broker.end()
    time.sleep(rng.uniform(0, 1))
    broker.start()
    publish(broker, messages[last:] + twice)
    try:
        settled = wait_until(lambda: n_scored(site) >= n and n_read(site) == len(journal_lines(site)) >= n + len(twice), 240)
        assert settled, (n_scored(site), len(journal_lines(site)), n, (site.parent / "live.log").read_text()[-2000:])
    finally:
        process.terminate()
        assert process.wait(60) == 0
    store = Store(site.parent / "products/data/live/transfers/scores.sqlite", read_only=True)
    rows = store.read("where not of_night")
    assert set(rows.request_id) == ids
    assert not rows.duplicated(["request_id", "attempt"]).any()
    assert (rows.score.notna() == (rows.state == "done")).all()
    counts = store.noted("counts")
    assert counts["read"] == len(journal_lines(site)) >= n + len(twice)
    assert counts["kept"] == n
    assert counts["kept"] + counts["rejected"] == counts["read"]
    reasons = Counter(json.loads(line)["reason"].partition(":")[0] for line in journal_lines(site, "rejected"))
    assert set(reasons) == {"no UTF-8", "no JSON object", "no JSON"}
    assert min(reasons.values()) >= KILLS[broker.kind]
    status = json.loads((site.parent / "products/data/live/transfers.json").read_text())
    assert status["events"] == counts
    assert pd.Timestamp(status["last_scored"]) > pd.Timestamp.now("UTC") - pd.Timedelta(minutes=10)
