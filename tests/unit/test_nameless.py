"""Values of a metric without a name: files that measure different things are told by them, in memory that does not grow with the rows."""

import numpy as np
import pandas as pd

from nightshift.sources.telemetry import nameless
from nightshift.sources.telemetry.nameless import Nameless

T0 = pd.Timestamp("2026-01-31 10:00", tz="UTC")


def rows(node, begin, values):
    times = T0 + pd.to_timedelta(begin + np.arange(len(values)), unit="s")
    return pd.DataFrame({"node": node, "time": times, "value": np.asarray(values, float)})


def test_another_value_of_the_same_moment_in_another_file_is_a_contradiction():
    held = Nameless()
    assert held.contradicted(rows("n1", 0, [1, 2, np.nan]), "a") is None
    assert held.contradicted(rows("n1", 1, [3, 3]), "a") is None, "several rows of one moment in one file are records of their own"
    assert held.contradicted(rows("n2", 0, [7, 8]), "b") is None, "another node"
    assert held.contradicted(rows("n1", 0, [1]), "b") is None, "the same value"
    assert held.contradicted(rows("n1", 2, [3, 9]), "b") is None, "what is missing is no value"
    assert held.contradicted(rows("n1", 0, [5]), "c") == "a"
    assert held.contradicted(rows("n2", 1, [5]), "c") == "b"


def test_of_very_many_rows_a_share_of_the_moments_is_held_and_tells_the_same(monkeypatch):
    monkeypatch.setattr(nameless, "KEPT", 1000)
    held, values = Nameless(), np.arange(2000.0)
    for begin in range(0, 100_000, 2000):
        assert held.contradicted(rows("n1", begin, values), "a") is None
        assert len(held.key) == len(held.value) == len(held.of) <= 1000
        assert (np.diff(held.key.astype(float)) >= 0).all()
    assert held.contradicted(rows("n1", 0, values), "b") is None, "the same values are no contradiction"
    assert held.contradicted(rows("n1", 2000, values + 0.5), "c") == "a"
