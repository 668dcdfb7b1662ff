"""From usable events to the table of transfers: durations, links, and what was known at each start.

measure_durations, name_links    what a transfer took, and between which storages
recall_at_starts                 what was known about its link, storages and server when it started
check_transfers                  the contract of the clean table

The table lies in a folder, a file per day: transfers_days.py brings it up to date.
"""

from typing import NamedTuple

import numba
import numpy as np
import pandas as pd

from helpers import check_schema
from nightshift.sources.transfers.rucio import number_texts

CONTRACT = {  # of the clean table: type of a column, its least value, whether it may be missing
    "request_id": ("str", None, False),
    "attempt": ("int16", 1, False),
    "file": ("uint64", None, False),  # the same in all attempts and requests for one file
    "state": ("category", None, False),
    "submitted": ("datetime64[us, UTC]", None, True),
    "started": ("datetime64[us, UTC]", None, True),
    "finished": ("datetime64[us, UTC]", None, True),
    "queue_s": ("float32", 0, True),
    "duration_s": ("float32", 0, True),
}
KEY = ["request_id", "attempt"]  # no two rows have the same
ENTITIES = ("link", "src", "dst", "fts")  # whose state is remembered
AT_START = ("in_flight", "recent_log_rate", "last_log_duration", "failure_share")


def clean_schema():
    """CONTRACT and KEY as a schema of pandera, which says what of a table breaks them, and where."""
    import pandera.pandas as pandera

    columns = {
        name: pandera.Column(dtype, [] if least is None else pandera.Check.ge(least), nullable=nullable)
        for name, (dtype, least, nullable) in CONTRACT.items()
    }
    return pandera.DataFrameSchema(columns, unique=KEY)


def check_transfers(rows, name):
    """Return `rows` of the clean table; ValueError, as of `check_schema`, where they break CONTRACT or KEY.

    Pandera is asked only of rows that may break them: importing it and asking it of each day took a fifth of
    a night.
    """
    return rows if keeps_contract(rows) else check_schema(rows, clean_schema(), name)


def keeps_contract(rows):
    """Whether a frame keeps CONTRACT and KEY for certain; request ids are compared by their numbers, of
    which two may be equal by chance.
    """
    for column, (dtype, least, nullable) in CONTRACT.items():
        if column not in rows or rows[column].dtype != dtype:
            return False
        if not nullable and rows[column].isna().any():
            return False
        if least is not None and (rows[column] < least).any():
            return False
    key = number_texts(rows.request_id) + rows.attempt.to_numpy().astype(np.uint64)
    return pd.Index(key).is_unique


def measure_durations(kept):
    """Give the transfers queue_s, duration_s (seconds), their logarithms, those of bytes and of bytes per
    second, and size_bin.

    Logarithms are natural; one second is added to durations, since transfers of zero seconds exist on a clock
    of whole seconds. size_bin : decades of bytes, -1 where the size is unknown.
    """
    kept = kept.copy(deep=False)  # 10 million rows are not to be in memory twice
    kept["queue_s"] = (kept.started - kept.submitted).dt.total_seconds().astype("float32")
    kept["duration_s"] = (kept.finished - kept.started).dt.total_seconds().astype("float32")
    kept["log_duration"] = np.log1p(kept.duration_s)
    kept["log_bytes"] = np.log(kept.bytes.where(kept.bytes > 0)).astype("float32")
    kept["log_queue"] = np.log1p(kept.queue_s)
    kept["log_rate"] = kept.log_bytes - kept.log_duration
    kept["size_bin"] = np.floor(np.log10(kept.bytes.clip(lower=1))).fillna(-1).astype("int8")
    return kept


def name_links(src, dst):
    """Name the link of each transfer, a Categorical (n,): an ordered pair of storages, "A -> B".

    src, dst : categorical Series.
    """
    width = max(len(dst.cat.categories), 1)
    pair, links = pd.factorize(src.cat.codes.astype("int64") * width + dst.cat.codes)
    sources, destinations = src.cat.categories[links // width], dst.cat.categories[links % width]
    return pd.Categorical.from_codes(pair, sources.astype(str) + " -> " + destinations.astype(str))


# ---------------------------------------------------------------------------------------- What was known then

MEMORY = np.dtype(
    [
        (name, float)
        for name in ("in_flight", "clock", "good", "rate_sum", "rate_weight", "fail_sum", "weight", "last")
    ]
)
# time constants after which a speed is forgotten: a fortnight where one is four hours, and exp(-84) of its
# weight is left
FORGOTTEN = 84


class Ends(NamedTuple):
    """Ends of transfers in the order of time, each (n,): time in seconds, group at least 0; log_rate and
    log_duration, natural logarithms, which are read only where `failed` is False.
    """

    time: np.ndarray
    group: np.ndarray
    log_rate: np.ndarray
    log_duration: np.ndarray
    failed: np.ndarray


@numba.njit(cache=True)
def remember(memory, end, log_rate, log_duration, failed, time_constant):
    """Enter a transfer that has ended into the memory of its group.

    What the memory holds fades with the time since the end before, and the new end enters with weight one; a
    failure says nothing about speed. A speed that is FORGOTTEN is dropped, instead of staying the mean of
    what has faded: so what is known at a start does not depend on how long ago the table begins.
    """
    decay = np.exp((memory.clock - end) / time_constant)
    memory.clock = end
    memory.in_flight -= 1
    memory.fail_sum, memory.weight = decay * memory.fail_sum + failed, decay * memory.weight + 1
    memory.rate_sum, memory.rate_weight = decay * memory.rate_sum, decay * memory.rate_weight
    if not failed:
        if end - memory.good > FORGOTTEN * time_constant:
            memory.rate_sum, memory.rate_weight = 0.0, 0.0
        memory.rate_sum, memory.rate_weight = memory.rate_sum + log_rate, memory.rate_weight + 1
        memory.last, memory.good = log_duration, end


@numba.njit(cache=True)
def recall(memory, start, time_constant, out):
    """Write to `out` (4,) what is known at `start`: transfers in flight, mean log rate, last log duration,
    failure share.
    """
    fade = np.exp((memory.clock - start) / time_constant)
    is_recent = start - memory.good <= FORGOTTEN * time_constant
    out[0], out[2] = memory.in_flight, memory.last if is_recent else np.nan
    out[1] = memory.rate_sum / memory.rate_weight if is_recent else np.nan
    # + 1: an old or single failure is weak evidence
    out[3] = fade * memory.fail_sum / (fade * memory.weight + 1)


@numba.njit(cache=True)
def enter_ends(ends, n_entered, before, time_constant, memory):
    """Enter into `memory` (n_groups,) the Ends after the first `n_entered` that lie before `before`, in
    seconds; returns how many have been entered then.
    """
    while n_entered < len(ends.time) and ends.time[n_entered] < before:
        j = n_entered
        ended = memory[ends.group[j]]
        remember(ended, ends.time[j], ends.log_rate[j], ends.log_duration[j], ends.failed[j], time_constant)
        n_entered += 1
    return n_entered


@numba.njit(cache=True)
def recall_at_starts(starts, groups, ends, time_constant, memory, out):
    """Fill `out` (n, 4), in one pass over time, with what `memory` (n_groups,) recalls at each of the sorted
    `starts` (n,), in seconds; returns how many of the Ends it has entered.

    Only what ended strictly before a start counts for it: what ends in the same second may have ended after
    it, which a clock of whole seconds cannot tell.
    """
    n_entered = 0
    for i in range(len(starts)):
        n_entered = enter_ends(ends, n_entered, starts[i], time_constant, memory)
        recall(memory[groups[i]], starts[i], time_constant, out[i])
        memory[groups[i]].in_flight += 1
    return n_entered


def new_memory(n):
    """Make a memory of `n` groups that holds nothing yet: array of MEMORY (n,)."""
    memory = np.zeros(n, MEMORY)
    memory["last"] = np.nan
    memory["clock"] = memory["good"] = -np.inf
    return memory
