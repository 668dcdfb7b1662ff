"""What is known at the starts of transfers that are announced one after another, in the order of their ends.

A night computes it in one pass over starts and ends. Here a transfer is announced when it has ended, so that
it comes after transfers that started later: it was in flight at their starts, and its end belongs where it
was in time. Checkpoints of the memory hold what the pass would have known at a moment; from the last one
before a start the same functions go on. The result is, to the bit, what a night would compute from the same
transfers.
"""

import numpy as np

from nightshift.cleaning.transfers import AT_START, ENTITIES, Ends, enter_ends, new_memory, recall_at_starts
from nightshift.cleaning.transfers_days import STATES

# starts between two checkpoints: about 2 ms to pass over again, and 2 MB of memory for 2,000 links
SPACING = 5_000
ID_BYTES = 38  # of a request by which transfers of one moment are in order; one of Rucio has 32


def order_keys(rows):
    """Make keys by which transfers sort as in the clean table, by start, request and attempt: bytes (n,).

    rows : DataFrame started, request_id, attempt.
    """
    starts = rows.started.astype("int64").to_numpy().astype(">u8").tobytes()
    numbers = rows.attempt.to_numpy().astype(">u2").tobytes()
    ids = rows.request_id.astype(object).to_numpy()
    keys = [
        starts[8 * i : 8 * i + 8]
        + one.encode()[:ID_BYTES].ljust(ID_BYTES, b"\0")
        + numbers[2 * i : 2 * i + 2]
        for i, one in enumerate(ids)
    ]
    return np.array(keys, f"S{ID_BYTES + 10}")


def seconds_of(times):
    """Times in UTC as seconds since 1970, float (n,), as the night has them."""
    return times.astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6


class Table:
    """Columns of equal length, {name: array}, kept sorted by the first of them."""

    def __init__(self, **columns):
        self.columns = columns
        self.by = next(iter(columns))

    def __getitem__(self, name):
        return self.columns[name]

    def __len__(self):
        return len(self.columns[self.by])

    def insert(self, at, rows):
        """Insert rows, {name: array}, before the positions `at`, which rise."""
        for name, values in rows.items():
            self.columns[name] = np.insert(self.columns[name], at, values, axis=0)

    def delete(self, at):
        """Delete the rows at the positions `at`."""
        self.columns = {name: np.delete(values, at, axis=0) for name, values in self.columns.items()}


class AtStarts:
    """What is known of each of ENTITIES at the starts of transfers, from a midnight on.

    carried : the Carried of that midnight, which new names are added to. begin : the midnight, seconds.
    time_constant_s : as for the night.
    """

    def __init__(self, carried, begin, time_constant_s):
        self.carried, self.begin, self.time_constant_s = carried, begin, float(time_constant_s)
        self.starts = Table(
            key=np.empty(0, f"S{ID_BYTES + 10}"), time=np.empty(0), group=np.empty((0, 4), "int64")
        )
        numbers = {"time": float, "log_rate": float, "log_duration": float, "failed": bool}
        columns, group = (
            {name: np.empty(0, kind) for name, kind in numbers.items()},
            np.empty((0, 4), "int64"),
        )
        if carried.running is not None:
            columns = {name: carried.running[name].to_numpy(kind) for name, kind in numbers.items()}
            group = carried.running[list(ENTITIES)].to_numpy("int64")
        rank = np.array([b""] * len(group), f"S{ID_BYTES + 10}")  # carried ones started before all that come
        self.ends = Table(**columns, key=rank, group=group)
        self.times, self.memories = [begin], [self.memory_of_carried()]

    def groups_of(self, rows):
        """The groups of transfers, int64 (n, 4), one column for each of ENTITIES; new names get new ones."""
        return np.column_stack(
            [self.carried.groups(entity, rows[entity].astype("category")) for entity in ENTITIES]
        )

    def memory_of_carried(self):
        """The memory of the midnight, a list of MEMORY arrays; groups that came later are empty in it."""
        return [self.carried.memory[entity].copy() for entity in ENTITIES]

    def add(self, rows):
        """Take in transfers that have ended, and return what was known at their starts: float32 (n,
        len(STATES)).

        rows : DataFrame as the clean table has it, each started at or after the midnight.
        """
        if not len(rows):
            return np.empty((0, len(STATES)), np.float32)
        keys, group = order_keys(rows), self.groups_of(rows)
        started, finished = seconds_of(rows.started), seconds_of(rows.finished)
        order = np.argsort(keys, kind="stable")
        self.starts.insert(
            np.searchsorted(self.starts["key"], keys[order]),
            {"key": keys[order], "time": started[order], "group": group[order]},
        )
        ended = {
            "time": finished,
            "log_rate": rows.log_rate.fillna(0).to_numpy(float),
            "key": keys,
            "group": group,
        }
        ended |= {
            "log_duration": rows.log_duration.to_numpy(float),
            "failed": (rows.state == "failed").to_numpy(bool),
        }
        order = np.lexsort([keys, finished])
        self.ends.insert(
            self.places_of_ends(finished[order], keys[order]), {name: of[order] for name, of in ended.items()}
        )
        self.change_checkpoints(started, finished, group, 1)
        return self.states_at(keys)

    def places_of_ends(self, times, keys):
        """Where ends belong among those that are there: by time, then by the order of their starts; int
        (n,).
        """
        low, high = (np.searchsorted(self.ends["time"], times, side=side) for side in ("left", "right"))
        within = [
            a + np.searchsorted(self.ends["key"][a:b], key) for a, b, key in zip(low, high, keys, strict=True)
        ]
        return np.array(within, int)

    def remove(self, rows):
        """Leave out transfers that were added before, as they were then."""
        keys = order_keys(rows)
        at = np.searchsorted(self.starts["key"], keys)
        group = self.starts["group"][at]
        self.starts.delete(at)
        self.ends.delete(np.flatnonzero(np.isin(self.ends["key"], keys)))
        self.change_checkpoints(seconds_of(rows.started), seconds_of(rows.finished), group, -1)

    def change_checkpoints(self, started, finished, group, by):
        """Bring the checkpoints up to date with transfers that have been added (`by` is 1) or removed (-1):
        a checkpoint within their time has one more or one fewer in flight; those after their end are dropped.
        """
        keep = int(np.searchsorted(self.times, finished.min(), side="right"))
        self.times, self.memories = self.times[: max(keep, 1)], self.memories[: max(keep, 1)]
        for time, memories in zip(self.times[1:], self.memories[1:], strict=True):
            running = (started < time) & (finished >= time)
            for i, memory in enumerate(memories):
                memory = memories[i] = grown(memory, len(self.carried.numbers[ENTITIES[i]]))
                np.add.at(memory["in_flight"], group[running, i], by)

    def states_at(self, keys):
        """What is known at the starts with these `keys`, all of which have been added: float32 (n,
        len(STATES)).
        """
        self.checkpoint()
        at = np.searchsorted(self.starts["key"], keys)
        edges = np.append(np.searchsorted(self.starts["time"], self.times, side="left"), len(self.starts))
        edges[0], out = 0, np.empty((len(at), len(STATES)), np.float32)
        stretch = np.searchsorted(edges, at, side="right") - 1
        for i in np.unique(stretch):
            chosen = stretch == i
            states, _ = self.run(i, edges[i], at[chosen].max() + 1)
            out[chosen] = states[at[chosen] - edges[i]]
        return out

    def states_of_all(self):
        """What is known at all starts, in their order: float32 (n, len(STATES))."""
        return self.states_at(self.starts["key"])

    def checkpoint(self):
        """Set checkpoints up to the newest start, one each SPACING starts."""
        while True:
            first = (
                int(np.searchsorted(self.starts["time"], self.times[-1], side="left"))
                if len(self.times) > 1
                else 0
            )
            if len(self.starts) - first < 2 * SPACING:  # the newest ends would soon undo one that lies closer
                return
            time = float(self.starts["time"][first + SPACING])
            last = int(np.searchsorted(self.starts["time"], time, side="left"))
            if last <= first:
                return  # so many starts of one moment
            _, memories = self.run(len(self.times) - 1, first, last, until=time)
            self.times.append(time)
            self.memories.append(memories)

    def run(self, i, first, last, until=None):
        """Pass over the starts [first, last) after checkpoint number i: (states float32 (n, len(STATES)),
        memories, with what ends before `until`, seconds).
        """
        time, starts = self.times[i], self.starts["time"][first:last]
        upper = until if until is not None else (starts[-1] if len(starts) else time)
        low, high = np.searchsorted(self.ends["time"], [-np.inf if i == 0 else time, upper], side="left")
        ends = {name: self.ends[name][low:high] for name in ("time", "log_rate", "log_duration", "failed")}
        states, memories = np.empty((len(starts), len(ENTITIES), len(AT_START)), np.float32), []
        for j, entity in enumerate(ENTITIES):
            memory = grown(self.memories[i][j], len(self.carried.numbers[entity])).copy()
            of = Ends(
                ends["time"],
                self.ends["group"][low:high, j],
                ends["log_rate"],
                ends["log_duration"],
                ends["failed"],
            )
            out = np.empty((len(starts), len(AT_START)), np.float32)
            n = recall_at_starts(
                starts, self.starts["group"][first:last, j], of, self.time_constant_s, memory, out
            )
            if until is not None:
                enter_ends(of, n, until, self.time_constant_s, memory)
            out[:, 0] = np.log1p(out[:, 0])
            states[:, j] = out
            memories.append(memory)
        return states.reshape(len(starts), len(STATES)), memories


def grown(memory, n):
    """A memory with at least `n` groups, the new ones empty."""
    return memory if len(memory) >= n else np.concatenate([memory, new_memory(n - len(memory))])
