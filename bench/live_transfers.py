"""Transfers live through a real broker: how many a second, how old they are when they are scored, and what is left after many kills.

`python bench/live_transfers.py [activemq|rabbitmq] [EVENTS] [KILLS]`, activemq, 1,000,000 and 20 unless stated. The events are those of Rucio's
hermes, of one day; a night before it trains gradient boosting. Four parts, each with a line of figures:

    age      500 events a second for half a minute: from the moment at which a message is sent to that at which it is scored
    rate     half of EVENTS wait in the broker; from when the first of them is scored to when all are
    kills    the other half arrives while the broker is killed KILLS times and our process as often, at random moments
    night    the scores of all of them beside those of the night that reads the journal

Broker, sender and our three processes share the processors of the machine; the sender is idle in part two. The load is that of the last minute.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import stomp
import yaml

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before scikit-learn is there; as the process that scores has it
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/services")]
import brokers  # noqa: E402
from live_events import make_transfers, messages_of, run_night  # noqa: E402

from helpers import study_paths  # noqa: E402
from nightshift.live.broker import Subscription, connect, hang_up  # noqa: E402
from nightshift.live.scorer import Scorer  # noqa: E402
from nightshift.live.store import Store  # noqa: E402

TOPIC, DAY = "/topic/rucio.events", 86_400
SITES = [f"SITE{i:03d}_DATADISK" for i in range(60)]
NIGHT_EVENTS, ROUNDS = 10_000, 200  # of boosting, as 3_train has
AGE_RATE, AGE_S = 500, 30


class Live:
    """Our process, that can be killed and begun again."""

    def __init__(self, folder, broker):
        self.folder, self.broker = folder, broker
        user, password = brokers.LOGIN
        self.environment = os.environ | {"STOMP_USER": user, "STOMP_PASSWORD": password, "PYTHONPATH": str(ROOT)}
        self.store = folder / "products/data/live/transfers/scores.sqlite"

    def begin(self):
        command = [sys.executable, "-m", "nightshift", "live", "transfers", "--config", self.folder / "site.yaml", "--destination", TOPIC]
        command += ["--broker", f"stomp://127.0.0.1:{self.broker.port}"]
        with (self.folder / "live.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=log, stderr=log)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait()

    def processor_seconds(self):
        """Of our processes since they began."""
        ours = psutil.Process(self.process.pid)
        return sum(sum(one.cpu_times()[:2]) for one in [ours, *ours.children(recursive=True)])

    def count(self):
        try:
            return Store(self.store, read_only=True).count("transfers where not of_night") if self.store.exists() else 0
        except sqlite3.OperationalError:  # it is being made
            return 0

    def wait_for(self, n, seconds):
        until = time.monotonic() + seconds
        while (found := self.count()) < n:
            if time.monotonic() > until:
                sys.exit(f"only {found:,} of {n:,} are scored after {seconds} s: {(self.folder / 'live.log').read_text()[-1500:]}")
            time.sleep(0.2)
        return time.time()


class Receipts(stomp.ConnectionListener):
    """Tells whether the broker confirmed what was sent, and does not wait for one that went away."""

    def __init__(self):
        self.answered, self.confirmed = threading.Event(), False

    def on_receipt(self, frame):
        self.confirmed = True
        self.answered.set()

    def on_disconnected(self):
        self.answered.set()


class Sender:
    """Sends messages as hermes does, those again that the broker had not confirmed when it went away."""

    def __init__(self, broker):
        self.broker, self.connection, self.sent_at = broker, None, []  # sent_at : of each message that is confirmed, s since 1970

    def send(self, messages, rate=0, chunk=500):
        """Send all, `rate` a second, 0 as fast as it goes; a chunk is confirmed before the next one."""
        began = time.monotonic()
        for first in range(0, len(messages), chunk if not rate else rate // 10):
            part = messages[first : first + (chunk if not rate else rate // 10)]
            while not self.confirmed(part):
                time.sleep(0.5)
            if rate:
                time.sleep(max(0, began + (first + len(part)) / rate - time.monotonic()))

    def confirmed(self, part):
        try:
            if not self.connection or not self.connection.is_connected():
                self.connection = stomp.Connection12([("127.0.0.1", self.broker.port)], vhost="/", reconnect_attempts_max=1)
                self.connection.connect(*brokers.LOGIN, wait=True)
            receipts = Receipts()
            self.connection.set_listener("receipts", receipts)
            now = time.time()
            for i, message in enumerate(part):
                last = {"receipt": "last"} if i == len(part) - 1 else {}
                self.connection.send(TOPIC, message, headers={"persistent": "true"} | last)
            receipts.answered.wait(30)
            if not receipts.confirmed:
                self.connection = None
                return False
            self.sent_at += [now] * len(part)
            return True
        except (stomp.exception.StompException, OSError, AttributeError):
            self.connection = None
            return False


def prepare(folder, n):
    """Run the night before; returns (messages that come after it, table of their transfers): what began before midnight and ended after it,
    then those of the day.
    """
    night = make_transfers(NIGHT_EVENTS, "2026-01-30", DAY - 3600, seed=1, sites=SITES)
    (folder / "earlier.jsonl").write_bytes(b"\n".join(messages_of(night)) + b"\n")
    run_night(folder / "products", "2026-01-30", folder / "earlier.jsonl", days=1, train=True, rounds=ROUNDS)
    config = {"day": "2026-01-30", "products": str(folder / "products"), "alarm_rate": 0.01}
    config["studies"] = {"transfers": {"extract": {"source": str(folder / "earlier.jsonl")}}}
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    transfers = make_transfers(n, "2026-01-31", DAY - 4 * 3600, seed=2, sites=SITES)
    late, transfers = night[night.created >= DAY], transfers[transfers.created < DAY]
    return messages_of(late) + messages_of(transfers), pd.concat([late, transfers], ignore_index=True)


def measure_age(live, sender, messages, transfers):
    """Part one: the ages of the events, s."""
    live.begin()
    live.wait_for(0, 10)
    sender.send(messages[:200])  # everything is compiled then
    live.wait_for(200, 300)
    sender.sent_at.clear()
    here = messages[200 : 200 + AGE_RATE * AGE_S]
    sender.send(here, AGE_RATE)
    live.wait_for(200 + len(here), 600)
    rows = Store(live.store, read_only=True).read("where not of_night").set_index("request_id")
    ids = transfers.request[200 : 200 + len(here)]
    age = rows.scored_at.loc[ids].astype("int64").to_numpy() / 1e6 - np.array(sender.sent_at)
    shown = "median {:.2f} s, 95% {:.2f} s, most {:.2f} s".format(*np.quantile(age, [0.5, 0.95, 1]))
    print(f"age: {AGE_RATE} a second, {len(here):,} events: {shown}; load {os.getloadavg()[0]:.0f}", flush=True)
    live.end()
    return 200 + len(here)


def measure_rate(live, sender, messages, done):
    """Part two: events a second of what waits in the broker."""
    sender.send(messages)
    live.begin()
    live.wait_for(done + 1, 300)
    began, there, used = time.time(), live.count(), live.processor_seconds()
    ended = live.wait_for(done + len(messages), 3600)
    n, used = done + len(messages) - there, live.processor_seconds() - used
    each, load = f"{1e3 * used / n:.3f} ms of processors each", f"load {os.getloadavg()[0]:.0f}"
    print(f"rate: {n / (ended - began):,.0f} a second, {n:,} events, {each}; {load}", flush=True)


def measure_kills(live, sender, broker, messages, done, kills):
    """Part three: the process is running when it begins, and when it ends."""
    sending = threading.Thread(target=sender.send, args=(messages,), kwargs={"rate": max(len(messages) // max(6 * kills, 1), 100)})
    sending.start()
    began = time.time()
    for _ in range(kills):
        time.sleep(random.uniform(1, 5))
        live.end(signal.SIGKILL)
        live.begin()
        time.sleep(random.uniform(0, 3))
        broker.end()
        broker.start()
    sending.join()
    ended = live.wait_for(done + len(messages), 3600)
    print(f"kills: {kills} of the broker and {kills} of our process within {ended - began:,.0f} s, {len(messages):,} events", flush=True)


def compare(folder, live, transfers):
    """Part four: how far the scores lie from those of the night, in its place and before."""
    live.end()
    products = folder / "products"
    scorer = Scorer(study_paths("transfers", str(products)), products / "data/live/transfers", 0.01)
    began = time.time()
    n_changed, _ = scorer.settle()
    took = time.time() - began
    rows = scorer.store.read("where not of_night")
    lost = len(set(transfers.request) - set(rows.request_id))
    twice = int(rows.duplicated(["request_id", "attempt"]).sum())
    counts = scorer.store.noted("counts")
    os.link(folder / "earlier.jsonl", folder / "source-0.jsonl")
    for path in (products / "data/live/transfers").glob("2*.jsonl"):
        os.link(path, folder / f"source-{path.name}")
    night = run_night(products, "2026-01-31", folder / "source-*.jsonl", days=2)
    both = rows.merge(night.scored, on=["request_id", "attempt"], suffixes=("", "_night"))
    apart, first = (both.score - both.score_night).abs(), (both.first_score - both.score_night).abs()
    print(f"night: {lost} lost, {twice} scored twice; {counts['read'] - len(rows):,} of {counts['read']:,} deliveries were repeated and put aside")
    print(f"       {len(both):,} scored by both, at most {apart.max():.2g} apart, once settled; {(apart > 1e-6).sum():,} more than 1e-6")
    print(f"       {n_changed:,} had been scored before all was known; to settle them took {took:.0f} s")
    print(f"       first scores: {(first <= 1e-6).mean():.1%} the same, 95% within {first.quantile(0.95):.3f}, at most {first.max():.2f} apart")


def main(kind="activemq", n="1000000", kills="20"):
    if missing := brokers.missing(kind):
        sys.exit(f"no {kind} here: {', '.join(missing)} missing")
    os.environ["STOMP_USER"], os.environ["STOMP_PASSWORD"] = brokers.LOGIN
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        folder, n = Path(folder), int(n)
        (folder / "broker").mkdir()
        messages, transfers = prepare(folder, n + 200 + AGE_RATE * AGE_S)
        with brokers.Broker(kind, folder / "broker") as broker:
            live, sender = Live(folder, broker), Sender(broker)
            hang_up(connect(Subscription("127.0.0.1", broker.port, False, "", TOPIC))[0])
            done = measure_age(live, sender, messages, transfers)
            half = done + (len(messages) - done) // (2 if int(kills) else 1)
            measure_rate(live, sender, messages[done:half], done)
            if int(kills):
                measure_kills(live, sender, broker, messages[half:], half, int(kills))
            compare(folder, live, transfers)


if __name__ == "__main__":
    main(*sys.argv[1:])
