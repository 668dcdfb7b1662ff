"""Work that several processors do at once, in forks of this process."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

_work = None  # of a fork: what its process has been given to do


def each_in_a_process(work, items):
    """Do `work(item)` for each of `items`, as many at once as there are processors; returns what it returns,
    in their order, and raises what it raises first.

    A fork holds all that this process holds: nothing but an item and what is returned is pickled. Threads do
    not survive a fork, so `work` starts its own. Where a fork is killed, all is done here once more.
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
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def keep(work):
    """Keep what this fork is to do."""
    global _work
    _work = work


def do(item):
    """Do in this fork what it was made for."""
    return _work(item)
