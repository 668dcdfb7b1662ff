"""The runs of a sweep: each notebook in processes of its own, by the runner of the night, some at a time.

A run that ended well is never repeated. One that was killed or failed starts again when the same command is
given once more.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from nightshift import forkserver
from nightshift.catalog import study_of
from nightshift.config import notebook_of
from nightshift.products import read_json
from nightshift.runs import is_alive
from nightshift.sweeps.plan import begin_run
from nightshift.sweeps.runs import point_in_words
from nightshift.wording import plural

PATIENCE_S = 15  # for a run whose sweep was killed: its processes end by themselves within seconds
# as in the chain: with more threads, runs would wait for one another
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Runner:
    """Runs of one `sweep`, `jobs` at a time.

    show : function of a line of progress. n : number of runs in all, of which `n_ended` have ended before.
    """

    def __init__(self, sweep, *, jobs, show, n, n_ended=0):
        self.sweep, self.jobs, self.show, self.n, self.n_ended = sweep, jobs, show, n, n_ended
        self.processes, self.lock, self.is_stopped = {}, threading.Lock(), False
        self.seconds = []  # of the runs that this process executed

    def run_all(self, ask, answer):
        """Execute runs until there are no more. ask : function that returns the name of the next run, or
        None. answer : function that is called with the name and the record of each run that has ended.
        """
        pending = set()
        with (
            tempfile.TemporaryDirectory(prefix="nightshift-") as folder,
            forkserver.running(folder, networks=study_of(self.sweep.plan["study"]).networks),
            ThreadPoolExecutor(self.jobs) as pool,
        ):
            try:
                while True:
                    while len(pending) < self.jobs and (run := ask()):
                        pending.add(pool.submit(self.run_one, run))
                    if not pending:
                        return
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for run, record in (one.result() for one in done):
                        self.n_ended += 1
                        answer(run, record)
                        self.show(self.line_after(run, record))
            except BaseException:
                self.stop()
                raise

    def run_one(self, run):
        """Execute a run from its beginning; returns (name, record)."""
        self.wait_for_the_killed(run)
        begin_run(self.sweep, run)
        words = point_in_words(self.sweep.plan["runs"][run])
        process = self.start(run)
        for line in process.stdout:
            self.show(f"  {run} ({words}): {line.strip().partition(': ')[2]}")
        process.wait()
        with self.lock:
            del self.processes[run]
        return run, self.sweep.ending(run)

    def start(self, run):
        """Start the processes of a run; returns the first of them, whose output are lines of progress."""
        plan, folder = self.sweep.plan, self.sweep.run_folder(run)
        arguments = [notebook_of(plan["study"], plan["step"]), "--study", plan["study"]]
        arguments += [
            "--products",
            str(folder),
            "--log",
            str(self.sweep.record_path(run).with_suffix(".log")),
        ]
        arguments += ["--parameters", json.dumps(self.sweep.parameters(run))]
        command = [sys.executable, "-m", "nightshift.forkserver", "nightshift.runs:main", *arguments]
        with self.lock:
            if self.is_stopped:
                raise KeyboardInterrupt
            self.processes[run] = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD
            )
        return self.processes[run]

    def wait_for_the_killed(self, run):
        """Wait until no process of an earlier sweep executes this run; ValueError where one does not end."""
        path, until = self.sweep.record_path(run), time.time() + PATIENCE_S
        while (record := read_json(path)).get("outcome") == "running" and is_alive(record.get("process")):
            if time.time() > until:
                raise ValueError(f"run {run} is still executed by process {record['process']['pid']}")
            time.sleep(0.2)

    def stop(self):
        """End all runs that go on; each writes in its record that it was stopped."""
        with self.lock:
            self.is_stopped = True
            for process in self.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()

    def line_after(self, run, record):
        """Write the line of progress after a run has ended."""
        words = f"{self.n_ended} of {self.n} runs: {run} ({point_in_words(self.sweep.plan['runs'][run])})"
        if record["outcome"] != "ok":
            return f"{words} failed: {record['error'] or 'it left no record'}"
        self.seconds.append(record["seconds"])
        rest = (self.n - self.n_ended) * sum(self.seconds) / len(self.seconds) / self.jobs
        left = f"; about {plural(max(round(rest / 60), 1), 'minute')} left" if self.n > self.n_ended else ""
        return f"{words} took {record['seconds']:.0f} s{left}"
