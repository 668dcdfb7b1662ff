"""Programs that waste one resource each, as their namesakes in the HPC Performance Anomaly Suite do (Ates et
al. 2019), and a small workload to run beside them.

Each takes the arguments until, the time (seconds since 1970) at which it stops by itself, and n_bytes, the
memory that it may take, which only `memleak` does. The module imports little, since each program runs in a
process of its own.
"""

import time

import numpy as np


def workload(until, n_bytes):
    """Multiply matrices for a tenth of a second, pause as long, and so on."""
    a, b = np.random.default_rng(0).random((2, 200, 200))
    while (now := time.time()) < until:
        while time.time() < now + 0.1:
            a @ b
        time.sleep(0.1)


def memleak(until, n_bytes):
    """Allocate memory five times a second, write to it and keep it: `n_bytes` in all."""
    kept, pause = [], 0.2
    piece = int(n_bytes * pause / max(until - time.time(), pause))
    while time.time() < until:
        if (len(kept) + 1) * piece <= n_bytes:
            kept.append(np.ones(piece, "uint8"))
        time.sleep(pause)


def cpuoccupy(until, n_bytes):
    """Compute without pause on a few numbers."""
    x = np.random.default_rng(0).random(1000)
    while time.time() < until:
        x = np.sin(x)


def membw(until, n_bytes):
    """Copy 128 MiB back and forth: more than a cache holds, so that all of it passes through memory."""
    a, b = np.ones((2, 2**24))
    while time.time() < until:
        np.copyto(b, a)
        np.copyto(a, b)


def cachecopy(until, n_bytes):
    """Copy 512 KiB back and forth, within the cache, so that the data of a workload are evicted from it."""
    a, b = np.ones((2, 2**16))
    while time.time() < until:
        np.copyto(b, a)
        np.copyto(a, b)


GENERATORS = {
    "none": None,
    "memleak": memleak,
    "cpuoccupy": cpuoccupy,
    "membw": membw,
    "cachecopy": cachecopy,
}
