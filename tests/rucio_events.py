"""Events of Rucio, written by hand: what the tests of the reader and of the transfers notebooks vary."""

import numpy as np

from nightshift.cleaning.transfers import Ends, new_memory, recall_at_starts

GOOD = {
    "activity": "T0 Export",
    "bytes": 1000,
    "src-rse": "A_DISK",
    "dst-rse": "B_DISK",
    "protocol": "davs",
    "request-id": "r1",
    "src-url": "davs://a.example:443/x",
    "dst-url": "davs://b.example:443/x",
    "transfer-endpoint": "https://fts.example:8446",
    "reason": None,
    "submitted_at": "2026-01-31 09:59:00",
    "started_at": "2026-01-31 10:00:00",
    "transferred_at": "2026-01-31 10:01:00",
}
UNSTARTED = GOOD | {"started_at": None, "transferred_at": None}


def states_at_starts(start, end, group, log_rate, log_duration, failed, time_constant_s=14400.0):
    """What is known at the starts of transfers in the order of these, float32 (n, 4), as 2_preprocess computes it day by day."""
    start, end, group = np.asarray(start, float), np.asarray(end, float), np.asarray(group, "int64")
    order = np.argsort(end, kind="stable")
    numbers = [np.asarray(one, float)[order] for one in (log_rate, log_duration)]
    ends = Ends(end[order], group[order], *numbers, np.asarray(failed, bool)[order])
    states = np.empty((len(start), 4), np.float32)
    recall_at_starts(start, group, ends, float(time_constant_s), new_memory(group.max(initial=0) + 1), states)
    return states
