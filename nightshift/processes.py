"""Work that several processors do at once, in forks of this process."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

_work = None  # in a fork: the function that it was made for


def each_in_a_process(work, items):
    """Call `work(item)` for each of `items`, as many at once as there are processors; returns the list of its
    results, in the order of the items, and raises the first error that it raises.

    A fork inherits the memory of this process: only items and results are pickled. Threads do not survive a
    fork, so `work` must start its own. Where a fork is killed, everything is done again in this process.
    """
    items, n = list(items), processors()
    if min(n, len(items)) < 2:
        return list(map(work, items))
    forks = {"mp_context": multiprocessing.get_context("fork"), "initializer": keep, "initargs": (work,)}
    try:
        with ProcessPoolExecutor(min(n, len(items)), **forks) as pool:
            return list(pool.map(do, items))
    except BrokenProcessPool:
        return list(map(work, items))


def processors():
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def keep(work):
    """Keep the function that this fork is to call, and leave an interrupt from the keyboard to the process
    that waits for it: each fork would print a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _work
    _work = work


def do(item):
    """Call the function that this fork was made for."""
    return _work(item)
