"""The stream of transfers: events of Rucio from brokers, on disk before they are acknowledged, scored
within a second.

    this process      a thread for each broker: messages to the journal, then the acknowledgement
      the scorer      a process: what the journal has to scores, in the store
        the finder    a process: flagged stretches to provisional findings, once a minute

Whichever is killed, the journal and the store say where to go on. All lies in data/live/transfers/ of the
products.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
from filelock import FileLock, Timeout

from helpers import study_paths, write_json
from nightshift.live.broker import receive
from nightshift.live.journal import Journal
from nightshift.live.stamp import check_night

FINDS_S = 60.0  # between two looks for problems
SETTLES_S = 3600.0  # between two times that transfers are scored again by what has become known
LOOKS_S = 0.05  # at the journal while nothing comes
SAYS_S = 10.0  # between two states that are written
HANDS_OVER_S = 60.0  # that a process which ends may take
FOLDER = "data/live/transfers"
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What scores, and how. products : the root, a path as text. alarm_rate, false_discovery_rate,
    site_pattern : as in 4_analyse. finds_s, settles_s : seconds between two times of each.
    """

    products: str
    alarm_rate: float
    false_discovery_rate: float
    site_pattern: str
    finds_s: float = FINDS_S
    settles_s: float = SETTLES_S

    @property
    def paths(self):
        """The products of the nights, of `study_paths`."""
        return study_paths("transfers", self.products)

    @property
    def folder(self):
        """Where the stream keeps what it has."""
        return self.paths.root / FOLDER


def run(settings, subscriptions):
    """Receive and score until SIGTERM or SIGINT; returns whether it ended because of that.

    subscriptions : list of Subscription, one for each broker. NoNight where no night has scored yet. The
    folder must be held by this process.
    """
    check_night(settings.paths)  # before anything is taken from a broker
    stopped, asked = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: (asked.set(), stopped.set()))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # batches are small, and the other processor receives
    context = multiprocessing.get_context("spawn")
    scorer = context.Process(target=score_journal, args=(settings,), name="scorer")
    scorer.start()
    try:
        with closing(Journal(settings.folder)) as journal:
            threads = follow(subscriptions, journal, stopped)
            while not stopped.wait(1.0):
                if not scorer.is_alive():
                    log.error("the scorer has ended with %s", scorer.exitcode)
                    stopped.set()
            for thread in threads:
                thread.join(HANDS_OVER_S)
    finally:  # it ends with this process, which in turn would wait for it
        scorer.terminate()
        scorer.join(HANDS_OVER_S)
    return asked.is_set()


def follow(subscriptions, journal, stopped):
    """Receive from each broker, in a thread of its own, until `stopped` is set: list of these. What cannot
    be kept ends all of it, unacknowledged.
    """
    lock = threading.Lock()

    def keep(bodies):
        with lock:
            journal.append(bodies)

    def receive_from(subscription):
        try:
            receive(subscription, keep, stopped)
        except BaseException:
            log.exception("what %s sends cannot be kept", subscription)
        finally:
            stopped.set()

    threads = [threading.Thread(target=receive_from, args=[one], daemon=True) for one in subscriptions]
    for thread in threads:
        thread.start()
    return threads


def score_journal(settings):
    """Score what the journal has, in a process of its own, until SIGTERM, or until the process that began
    it is gone.
    """
    from nightshift.live.scorer import Scorer  # which the process that receives has no need of

    logging.basicConfig(level=logging.INFO, format=FORM, stream=sys.stderr)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_parent(stopped)
    try:  # of several that were killed while one still ended, only the last has something to do
        lock = FileLock(settings.folder / ".scorer.lock").acquire(HANDS_OVER_S, cancel_check=stopped.is_set)
    except Timeout:
        if stopped.is_set():
            return
        raise
    with lock:
        scorer = Scorer(settings.paths, settings.folder, settings.alarm_rate)
        log.info("scoring what comes after the night up to %s", scorer.night.end)
        with Finder(settings) as finder:
            Clock(settings, scorer, finder).run(stopped)


def watch_parent(stopped):
    """Set `stopped` once the process that began this one is gone."""
    parent = multiprocessing.parent_process()

    def watch():
        parent.join()
        stopped.set()

    if parent:
        threading.Thread(target=watch, daemon=True).start()


class Finder:
    """Looks for problems in a process of its own, one look at a time."""

    def __init__(self, settings):
        self.settings, self.look, self.pool = settings, None, self.one_process()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in multiprocessing.active_children():  # of a million transfers a look takes a minute
            process.terminate()
        self.pool.shutdown(cancel_futures=True)

    @staticmethod
    def one_process():
        """Make a pool of one process, which begins with the first look."""
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def begin(self, since):
        """Begin a look, unless one is going on; say what is wrong with the one before. Returns whether it has
        begun.
        """
        if self.look and not self.look.done():
            return False
        if self.look and (error := self.look.exception()):
            log.error("problems cannot be looked for: %s", error)
        try:
            self.look = self.pool.submit(find, self.settings, since)
        except BrokenExecutor:  # its process was killed, for want of memory, say
            self.pool.shutdown()
            self.pool = self.one_process()
            self.look = self.pool.submit(find, self.settings, since)
        return True


def find(settings, since):
    """Find and write provisional findings; returns how many."""
    from nightshift.live.transfers_findings import find_provisional

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    rates = {name: getattr(settings, name) for name in ("alarm_rate", "false_discovery_rate", "site_pattern")}
    return len(find_provisional(settings.paths, settings.folder / "scores.sqlite", since, **rates))


class Clock:
    """What a Scorer does when: scores always, the rest every so many seconds."""

    def __init__(self, settings, scorer, finder):
        self.settings, self.scorer, self.finder = settings, scorer, finder
        now = time.monotonic()
        self.next = {"find": now + settings.finds_s, "settle": now + settings.settles_s, "say": now}
        self.new, self.seconds = False, 0.0

    def run(self, stopped):
        """Go on until `stopped`, a threading.Event, is set."""
        while not stopped.is_set():
            began = time.monotonic()
            if n := self.scorer.step():
                self.seconds = time.monotonic() - began
            self.new = self.new or n > 0
            self.look_at_the_clock()
            if not n:
                stopped.wait(LOOKS_S)
        self.say()

    def is_due(self, what, every):
        """Whether it is time for `what`; if so, the next time is in `every` seconds."""
        now = time.monotonic()
        if now < self.next[what]:
            return False
        self.next[what] = now + every
        return True

    def look_at_the_clock(self):
        """Do what it is time for."""
        scorer, settings = self.scorer, self.settings
        if self.is_due("say", SAYS_S):
            self.say()
            if scorer.has_new_night():
                scorer.settle()
                n, most = scorer.take_over()
                log.info(
                    "the night up to %s has taken over: %s scored by both, at most %.2g apart",
                    scorer.night.end,
                    n,
                    most,
                )
                self.new = True
        if self.is_due("settle", settings.settles_s):
            n, most = scorer.settle()
            log.info("%s scores have followed what has become known, by %.2g at most", n, most)
        if self.new and self.is_due("find", settings.finds_s):
            self.new = not self.finder.begin(scorer.night.end)

    def say(self):
        """Write data/live/transfers.json: how the stream does."""
        db, night = self.scorer.store.db, self.scorer.night
        numbers = "count(score), sum(flagged), max(scored_at), max(created)"
        scored, flagged, *ends = db.execute(f"select {numbers} from transfers where not of_night").fetchone()
        last, newest = (str(pd.Timestamp(end, unit="us", tz="UTC")) if end else "" for end in ends)
        state = {"looked": datetime.now(UTC).isoformat(), "seconds": round(self.seconds, 3), "step_s": SAYS_S}
        state |= {"scored": scored, "flagged": flagged or 0, "last_scored": last, "newest": newest}
        state |= {"night": str(night.end), "events": self.scorer.store.noted("counts", {})}
        write_json(state, self.settings.paths.root / "data/live/transfers.json")
