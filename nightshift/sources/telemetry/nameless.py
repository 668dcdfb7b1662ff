"""Values of a metric without a name, compared with those of other files at the same node and moment."""

import numpy as np
import pandas as pd

KEPT = 2**18  # values


class Nameless:
    """A sample of the values of nodes and moments, at most KEPT of them whatever the number of rows.

    It holds those whose hash of node and moment is at most `limit`, which falls when they become too many, so
    that the same moments of every file are held: files that contradict each other do so at nearly all moments
    that they share. files : names by their number in `of`. key : the hashes, sorted.
    """

    def __init__(self):
        self.files, self.limit = [], np.iinfo(np.uint64).max
        self.key, self.value, self.of = np.empty(0, np.uint64), np.empty(0), np.empty(0, np.int32)

    def contradicted(self, rows, file):
        """Find another file whose values differ from `rows` (DataFrame node, time, value) of the `file` at
        the same node and moment; None where there is none, and then take the rows in.
        """
        number = self.number_of(file)
        rows = rows.dropna()
        key = pd.util.hash_pandas_object(rows[["node", "time"]], index=False).to_numpy()
        among = key <= self.limit
        key, value = key[among], rows.value.to_numpy(float)[among]
        first, last = (np.searchsorted(self.key, key, side) for side in ("left", "right"))
        counts = last - first
        there = np.repeat(np.arange(len(key)), counts)  # positions of the rows, each beside one in `held`
        held = first[there] + np.arange(len(there)) - (np.cumsum(counts) - counts)[there]
        differs = (self.value[held] != value[there]) & (self.of[held] != number)
        if differs.any():
            return self.files[self.of[held][differs][0]]
        self.take(key, value, number)
        return None

    def number_of(self, file):
        """The number of a file, a new one where it is not the last that came."""
        if file not in self.files[-1:]:
            self.files.append(file)
        return len(self.files) - 1

    def take(self, key, value, number):
        """Take in values, and let go of those with the highest hashes where they are too many."""
        order = np.argsort(key, kind="stable")
        at = np.searchsorted(self.key, key[order], "right")
        self.key = np.insert(self.key, at, key[order])
        self.value = np.insert(self.value, at, value[order])
        self.of = np.insert(self.of, at, number)
        if len(self.key) > KEPT:
            self.limit = self.key[KEPT // 2]
            kept = np.searchsorted(self.key, self.limit, "right")
            self.key, self.value, self.of = self.key[:kept], self.value[:kept], self.of[:kept]
