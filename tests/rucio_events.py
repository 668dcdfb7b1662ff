"""Events of Rucio, written by hand: what the tests of the reader and of the transfers notebooks vary."""

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
