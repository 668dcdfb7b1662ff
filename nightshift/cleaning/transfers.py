"""From usable events to the table of transfers: durations, links, and what was known at each start.

measure_durations, name_links    what a transfer took, and between which storages
add_states, state_features       what was known about its link, storages and server when it started
SCHEMA                           the contract of the clean table
"""

from typing import NamedTuple

import numba
import numpy as np
import pandas as pd
import pandera.pandas as pandera

MOMENT = pandera.Column("datetime64[us, UTC]", nullable=True)
SECONDS = pandera.Column("float32", pandera.Check.ge(0), nullable=True)
SCHEMA = pandera.DataFrameSchema(
    {
        "request_id": pandera.Column(str),
        "attempt": pandera.Column("int16", pandera.Check.ge(1)),
        "state": pandera.Column("category", pandera.Check(lambda s: s.notna(), name="a state is given")),
        "submitted": MOMENT,
        "started": MOMENT,
        "finished": MOMENT,
        "queue_s": SECONDS,
        "duration_s": SECONDS,
    },
    unique=["request_id", "attempt"],
)
ENTITIES = ("link", "src", "dst", "fts")  # whose state is remembered
AT_START = ("in_flight", "recent_log_rate", "last_log_duration", "failure_share")


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
        for name in ("in_flight", "clock", "rate_sum", "rate_weight", "fail_sum", "weight", "last")
    ]
)


@numba.njit
def remember(memory, end, log_rate, log_duration, failed, time_constant):
    """Enter a transfer that has ended into the memory of its group.

    What the memory holds fades with the time since the end before, and the new end enters with weight one; a
    failure tells nothing of speed.
    """
    decay = np.exp((memory.clock - end) / time_constant)
    memory.clock = end
    memory.in_flight -= 1
    memory.fail_sum, memory.weight = decay * memory.fail_sum + failed, decay * memory.weight + 1
    memory.rate_sum, memory.rate_weight = decay * memory.rate_sum, decay * memory.rate_weight
    if not failed:
        memory.rate_sum, memory.rate_weight = memory.rate_sum + log_rate, memory.rate_weight + 1
        memory.last = log_duration


@numba.njit
def recall(memory, start, time_constant, out):
    """Write to `out` (4,) what is known at `start`: transfers in flight, mean log rate, last log duration,
    failure share.
    """
    fade = np.exp((memory.clock - start) / time_constant)
    out[0], out[2] = memory.in_flight, memory.last
    out[1] = memory.rate_sum / memory.rate_weight if memory.rate_weight > 0 else np.nan
    # + 1: an old or single failure is weak evidence
    out[3] = fade * memory.fail_sum / (fade * memory.weight + 1)


class Runs(NamedTuple):
    """Transfers by their start, each (n,): start and end in seconds, group at least 0; log_rate and
    log_duration, natural logarithms, which are read only where `failed` is False.
    """

    start: np.ndarray
    end: np.ndarray
    group: np.ndarray
    log_rate: np.ndarray
    log_duration: np.ndarray
    failed: np.ndarray


@numba.njit
def recall_at_starts(runs, by_end, time_constant, memory, out):
    """Fill `out` (n, 4), in one pass over time, with what `memory` (n_groups,) recalls at each start;
    `by_end` orders the Runs by their ends.

    Only what ended strictly before a start may speak to it: what ends in the same second may have ended
    after it, which a clock of whole seconds cannot tell.
    """
    n_ended = 0  # ends that have been remembered
    for i in range(len(runs.start)):
        while n_ended < len(runs.start) and runs.end[by_end[n_ended]] < runs.start[i]:
            j = by_end[n_ended]
            ended = memory[runs.group[j]]
            remember(
                ended, runs.end[j], runs.log_rate[j], runs.log_duration[j], runs.failed[j], time_constant
            )
            n_ended += 1
        recall(memory[runs.group[i]], runs.start[i], time_constant, out[i])
        memory[runs.group[i]].in_flight += 1


def state_features(runs, *, time_constant_s=4 * 3600.0):
    """Compute what was known about the group of each transfer at the moment it started: float32 (n, 4).

    runs : Runs, of arrays or lists. Columns: transfers in flight; exponentially weighted mean log rate (NaN
    before the first end); last finished log duration (NaN likewise); recent failure share. O(n log n).
    ValueError when the starts are not sorted, or a transfer ends before it starts.
    """
    types = (np.float64, np.float64, np.int64, np.float64, np.float64, np.bool_)
    runs = Runs(*(np.asarray(values, kind) for values, kind in zip(runs, types, strict=True)))
    if (np.diff(runs.start) < 0).any() or (runs.end < runs.start).any():
        raise ValueError("state_features: starts must be sorted and no end before its start")
    memory = np.zeros(runs.group.max(initial=-1) + 1, MEMORY)
    memory["last"] = np.nan
    out = np.empty((len(runs.start), 4), np.float32)
    recall_at_starts(runs, np.argsort(runs.end, kind="stable"), float(time_constant_s), memory, out)
    return out


def add_states(kept, *, time_constant_s):
    """Give the transfers what was known at each start, four numbers for each of ENTITIES:
    {entity}_{AT_START}, float32.

    The count enters as its logarithm. Requests that never ran, or whose times are unknown, have none.
    """
    kept = kept.copy(deep=False)
    ran = kept.started.notna() & kept.finished.notna()
    seconds = {c: kept[c][ran].astype("int64").to_numpy() / 1e6 for c in ("started", "finished")}
    ended = kept.log_rate[ran].fillna(0), kept.log_duration[ran], kept.state[ran] == "failed"
    for entity in ENTITIES:
        runs = Runs(seconds["started"], seconds["finished"], kept[entity][ran].cat.codes + 1, *ended)
        state = state_features(runs, time_constant_s=time_constant_s)
        state[:, 0] = np.log1p(state[:, 0])
        for column, name in enumerate(AT_START):
            kept[f"{entity}_{name}"] = np.float32(np.nan)
            kept.loc[ran, f"{entity}_{name}"] = state[:, column]
    return kept
