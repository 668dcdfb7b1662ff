"""Events of Rucio: names of fields, what an event says, and which event is which, against records made by hand in every order."""

import itertools
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rucio_events import GOOD, UNSTARTED

from nightshift.detectors.transfers import site_of
from nightshift.sources import files
from nightshift.sources.times import read_times
from nightshift.sources.transfers import rucio


def envelope(kind, at, payload):
    return {"event_type": f"transfer-{kind}", "created_at": f"2026-01-31 {at}", "payload": payload}


def clean(records):
    raw = pd.DataFrame([rucio.read_event(record) for record in records], columns=[*rucio.FIELDS, "more"], dtype=object)
    kept, rejected = rucio.clean_events(rucio.type_events(raw))
    assert len(kept) + len(rejected) == len(records)
    return kept, dict(zip(rejected.index, rejected.rejected_because, strict=True))


OTHER_NAMES = {
    "underscores": lambda r: {k.replace("-", "_"): v for k, v in r.items()},
    "hyphens": lambda r: {k.replace("_", "-"): v for k, v in r.items()},
    "camel case": lambda r: {"".join(p if not i else p.title() for i, p in enumerate(k.replace("-", "_").split("_"))): v for k, v in r.items()},
    "capitals": lambda r: {k.upper().replace("-", "_"): v for k, v in r.items()},
    "columns of Kibana": lambda r: {f"_source.data.{k}": v for k, v in r.items()},
    "envelope with text": lambda r: {"event_type": "transfer-done", "created_at": r["transferred_at"], "payload": json.dumps(r)},
    "envelope": lambda r: {"event_type": "TRANSFER-DONE", "created_at": r["transferred_at"], "payload": r},
    "flat with type": lambda r: {"event_type": "transfer_done", **r},
    "state of the database": lambda r: {"state": "D", **r},
    "milliseconds": lambda r: r | {c: int(pd.Timestamp(r[c]).timestamp() * 1000) for c in ("submitted_at", "started_at", "transferred_at")},
}


@pytest.mark.parametrize("names", OTHER_NAMES)
def test_an_event_is_the_same_under_any_names(names):
    kept, _ = clean([OTHER_NAMES[names](GOOD)])
    expected, _ = clean([GOOD])
    assert rucio.is_event(OTHER_NAMES[names](GOOD))
    pd.testing.assert_frame_equal(kept.drop(columns="created"), expected.drop(columns="created"))
    assert expected.iloc[0][["state", "src", "fts", "src_host", "bytes"]].tolist() == ["done", "A_DISK", "fts.example", "a.example", 1000]


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_activity_or_a_protocol_that_says_nothing_is_unknown(nothing):
    kept, _ = clean([GOOD | {"activity": nothing, "protocol": nothing}, GOOD | {"request-id": "r2"}])
    assert kept[["activity", "protocol"]].to_numpy().tolist() == [["unknown", "unknown"], ["T0 Export", "davs"]]


def test_a_waiting_transfer_has_its_place_and_time_under_the_names_of_its_event():
    queued = {"request-id": "q", "dst-rse": "B_DISK", "state": "queued", "file-size": 7, "queued_at": "2026-01-31 08:00:00.5"}
    kept, _ = clean([envelope("queued", "08:00:01", queued), envelope("submitted", "08:01:00", GOOD | {"request-id": "s", "bytes": 0})])
    rows = kept.set_index("request_id")
    assert rows.state.tolist() == ["queued", "queued"]
    assert (rows.src["q"], rows.bytes["q"], str(rows.submitted["q"])) == ("unknown", 7, "2026-01-31 08:00:00.500000+00:00")


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"reason": "Job canceled by the user"}, "failed"),
        ({"reason": "The FTS job lost"}, "failed"),
        ({"reason": "SOURCE [2] no such file", "transferred_at": "2026-01-31 10:00:54"}, "failed"),
        ({"state": "FAILED"}, "failed"),
        ({"state": "L"}, "failed"),
        ({"state": "SUBMISSION_FAILED"}, "failed"),
        ({"state": "NO_SOURCES", "src-rse": None}, "failed"),
        ({"event_type": "transfer-lost"}, "failed"),
        ({"event_type": "transfer-submission_failed"}, "failed"),
        ({"reason": ""}, "queued"),
        ({"state": "SUBMITTED"}, "queued"),
        ({"event_type": "transfer-waiting"}, "queued"),
        ({"state": "U"}, "queued"),
        ({"state": "FINISHED"} | {name: GOOD[name] for name in ("started_at", "transferred_at")}, "done"),
    ],
)
def test_a_failure_is_one_whether_it_started_or_not(change, state):
    kept, _ = clean([UNSTARTED | change])
    assert kept.state.tolist() == [state]


@pytest.mark.parametrize("state", [*rucio.LETTERS.values(), "canceled", "cancelled"])
def test_a_type_that_is_a_mere_state_is_that_of_a_transfer(state):
    """Any other type is of another kind, and its event would be left out."""
    assert rucio.plain_type(state.upper()) == f"transfer-{state}"
    assert rucio.plain_type(f"deletion-{state}") == f"deletion-{state}"


def test_a_state_that_nobody_knows_is_no_waiting_transfer_and_ends_none():
    strange = UNSTARTED | {"state": "FINISHEDDIRTY"}
    kept, rejected = clean([strange | {"request-id": "x"}, UNSTARTED, envelope("vanished", "10:09:00", UNSTARTED)])
    assert kept.state.tolist() == ["queued"]
    assert rejected == {0: "unknown state", 2: "unknown state"}


WORDS = [
    envelope("queued", "09:58:00", UNSTARTED),
    envelope("submitted", "09:59:00", UNSTARTED),
    envelope("failed", "10:00:30", GOOD | {"transferred_at": "2026-01-31 10:00:20", "reason": "TRANSFER [110] timed out"}),
    envelope("done", "10:01:05", GOOD),
    envelope("queued", "12:00:00", UNSTARTED),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7])
def test_the_newest_final_word_counts_in_whatever_order_the_events_came(order):
    kept, rejected = clean([WORDS[i] for i in order])
    assert kept.state.tolist() == ["done"]
    ended = dict.fromkeys([0, 1, 4], "the transfer has ended since")
    assert {order[i]: why for i, why in rejected.items()} == ended | {2: "corrected by a later event"}


def test_a_final_word_that_contradicts_itself_leaves_no_transfer_waiting():
    kept, rejected = clean([WORDS[0], envelope("done", "10:01:05", GOOD | {"bytes": -1})])
    assert not len(kept)
    assert rejected == {0: "the transfer has ended since", 1: "unknown size"}


def test_attempts_that_were_measured_differently_stay_and_copies_go():
    second = GOOD | {"started_at": "2026-01-31 10:05:00", "transferred_at": "2026-01-31 10:06:00"}
    events = [
        envelope("failed", "10:01:00", GOOD | {"reason": "x"}),
        envelope("done", "10:06:00", second),
        envelope("done", "10:06:09", second),  # a broker repeats itself
        envelope("done", "10:06:00", second | {"request-id": "r2"}),
        envelope("failed", "11:00:00", UNSTARTED | {"request-id": "r3", "reason": "x"}),
        envelope("failed", "12:00:00", UNSTARTED | {"request-id": "r3", "reason": "x", "submitted_at": "2026-01-31 11:59:00"}),
    ]
    kept, rejected = clean(events)
    found = kept[["request_id", "attempt", "state"]].astype(str).agg(" ".join, axis=1)
    assert sorted(found) == ["r1 1 failed", "r1 2 done", "r2 1 done", "r3 1 failed", "r3 2 failed"]
    assert rejected == {1: "copy of another event"}  # the last one announced stays


def test_one_second_is_no_contradiction_and_two_are():
    records = [
        GOOD | {"request-id": "same", "submitted_at": "2026-01-31 10:00:00.606276", "transferred_at": "2026-01-31 10:00:40"},
        GOOD | {"request-id": "short", "started_at": "2026-01-31 10:00:59.700000", "transferred_at": "2026-01-31 10:00:59"},
        GOOD | {"request-id": "before", "submitted_at": "2026-01-31 10:00:01.0"},
        GOOD | {"request-id": "back", "transferred_at": "2026-01-31 09:59:59"},
    ]
    kept, rejected = clean(records)
    rows = kept.set_index("request_id")
    assert sorted(rows.index) == ["same", "short"]
    queue, duration = rows.started - rows.submitted, rows.finished - rows.started
    assert (queue["same"], duration["same"], duration["short"]) == (pd.Timedelta(0), pd.Timedelta("40s"), pd.Timedelta(0))
    assert rejected == {2: "started before it was submitted", 3: "finished before it started"}


def test_what_cannot_be_used_is_named_with_its_reason():
    records = [
        GOOD | {"request-id": ""},
        GOOD | {"request-id": "a", "dst-rse": None},
        GOOD | {"request-id": "b", "started_at": "yesterday"},
        UNSTARTED | {"request-id": "c", "submitted_at": "soon"},
        {k: v for k, v in UNSTARTED.items() if k != "submitted_at"} | {"request-id": "d"},
        GOOD | {"request-id": "e", "transferred_at": None, "event_type": "transfer-done"},
        GOOD | {"request-id": "f", "submitted_at": "2024-01-01"},
        GOOD | {"request-id": "g", "bytes": "many"},
        GOOD | {"request-id": None},
    ]
    reasons = ["no request id", "no source or destination", "unreadable time", "unreadable time", "no time", "missing time"]
    reasons += ["more than a year in the queue", "unknown size", "no request id"]
    kept, rejected = clean(records)
    assert not len(kept)
    assert list(rejected.values()) == reasons


def test_a_column_of_times_that_cannot_be_read_is_one_line():
    page = pd.DataFrame([rucio.read_event(GOOD | {"started_at": f"week 5 of 2026, {i}"}) for i in range(9)])
    check = rucio.TimeCheck()
    check.add(page, rucio.moments_read(page))
    with pytest.raises(files.LayoutError, match=r"^9 of 9 times in started_at cannot be read, such as 'week 5 of 2026, 0'; needed: ISO 8601"):
        check.refuse()
    few = rucio.TimeCheck()
    mixed = pd.concat([page.head(3), pd.DataFrame([rucio.read_event(GOOD) for _ in range(9)])], ignore_index=True)
    few.add(mixed, rucio.moments_read(mixed))
    few.refuse()  # these three are rejected by name


@pytest.mark.parametrize(("n", "wrong", "is_refused"), [(9, 5, True), (10, 5, False), (4, 4, False), (11, 6, True)])
def test_a_column_is_refused_from_five_unreadable_times_on_that_are_more_than_half(n, wrong, is_refused):
    check = rucio.TimeCheck(["started_at"])
    check.counts["started_at"] = [n, wrong, "x" * 70]
    if is_refused:
        with pytest.raises(files.LayoutError, match=f"^{wrong} of {n} times in started_at cannot be read, such as '{'x' * 60}'; needed"):
            check.refuse()
    else:
        check.refuse()


def test_times_are_counted_where_there_are_some_and_the_first_that_is_none_is_the_example():
    page = pd.DataFrame({"started_at": ["2026-01-31 10:00:00", "", None, "soon", "later", "0"]})
    check = rucio.TimeCheck(["started_at"])
    for _ in range(2):
        check.add(page, pd.DataFrame({"started_at": read_times(page.started_at)}))
    assert check.counts == {"started_at": [8, 4, "soon"]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"submitted_at": "2025-01-30 10:00:00"}, None), ({"submitted_at": "2025-01-30 09:59:59"}, "more than a year in the queue"),
        ({"submitted_at": "2026-01-31 10:00:00"}, None), ({"transferred_at": "2026-01-31 10:00:00"}, None),
        ({"bytes": 1}, None), ({"bytes": 0}, "unknown size"), ({"bytes": "inf"}, "unknown size"), ({"bytes": None}, "unknown size"),
    ],
)  # fmt: skip
def test_a_transfer_that_is_just_possible_is_kept(change, reason):
    kept, rejected = clean([GOOD | change])
    assert (len(kept), rejected) == ((0, {0: reason}) if reason else (1, {}))


@pytest.mark.parametrize(
    ("row", "state", "kind"),
    [({"event_type": " Transfer_Done "}, None, "transfer-done"), ({"event_type": "stagein.queued"}, None, "stagein-queued"),
     ({"event_type": "Done"}, "f", "transfer-done"), ({"event_type": "deletion-done"}, None, "deletion-done"), ({}, " G ", "transfer-submitting"),
     ({"reason": " "}, None, "transfer-queued"), ({"reason": "x", "transferred_at": "2026"}, "", "transfer-failed"),
     ({"transferred_at": "-1"}, None, "transfer-queued"), ({"transferred_at": "2026"}, None, "transfer-done"),
     ({"transferred_at": "1970-01-01 00:00:00"}, None, "transfer-queued"), ({"transferred_at": " None "}, None, "transfer-queued")],
)  # fmt: skip
def test_what_a_row_announces(row, state, kind):
    assert rucio.event_type({"event_type": None, "reason": None, "transferred_at": None} | row, state) == kind


@pytest.mark.parametrize(
    ("record", "is_one"),
    [
        ({"request-id": "r", "submitted_at": "2026"}, True),
        ({"event_type": "deletion-done", "created_at": "2026"}, True),
        ({"event_type": "transfer-done", "name": "/f"}, False),
        ({"request-id": "r", "lfn": "/f"}, False),
        ({"lfn": "/f"}, False),
        ({"request-id": {"0": "r"}, "submitted_at": {"0": "2026"}, "event_type": {"0": "transfer-done"}}, False),  # pandas, by columns
    ],
)
def test_what_an_event_of_rucio_is(record, is_one):
    assert rucio.is_event(record) == is_one


def test_parts_of_many_names_are_one_table():
    parts = [rucio.type_events(pd.DataFrame([rucio.read_event(GOOD | {"src-rse": f"S{100 * k + i}"}) for i in range(100)])) for k in range(2)]
    both = rucio.concat_events([*parts, parts[0].iloc[:0]])
    assert both.src.astype(str).tolist() == [f"S{i}" for i in range(200)]
    assert both.dst.cat.categories.tolist() == ["B_DISK"]
    assert both.started.equals(pd.concat([part.started for part in parts], ignore_index=True))
    assert np.all(both.state == "done")


def test_an_event_is_dated_by_the_latest_of_its_moments():
    bare = GOOD | {"created_at": "2026-01-29 08:00:00"}  # of the request
    announced = envelope("done", "10:02:00", GOOD)
    failed = UNSTARTED | {"reason": "x", "created_at": "2026-01-29 08:00:00"}
    events = pd.DataFrame([rucio.read_event(one) for one in (bare, announced, failed, {"request-id": "r"})])
    at = rucio.event_times(events)
    assert at[:3].astype(str).tolist() == ["2026-01-31 10:01:00+00:00", "2026-01-31 10:02:00+00:00", "2026-01-31 09:59:00+00:00"]
    assert pd.isna(at[3])


def test_a_stage_in_is_known_by_its_event_its_source_or_its_activity_and_stands_apart():
    records = [
        envelope("done", "10:01:00", GOOD),
        envelope("done", "10:01:00", GOOD | {"request-id": "r2", "src-type": "tape"}),
        envelope("done", "10:01:00", GOOD | {"request-id": "r3", "activity": "Staging"}),
        envelope("done", "10:01:00", GOOD | {"request-id": "r4"}) | {"event_type": "stagein-done"},
    ]
    kept, _ = clean(records)
    assert kept.kind.tolist() == ["transfer"] + ["stage-in"] * 3
    assert kept.src.tolist() == ["A_DISK"] + ["A_DISK (tape)"] * 3
    assert kept.fts.tolist() == ["fts.example"] + ["fts.example (tape)"] * 3
    assert site_of(kept.src, "(.+)_DISK").tolist() == ["A"] * 4
    assert not len(rucio.type_events(pd.DataFrame(columns=rucio.FIELDS, dtype="str")))


def test_a_file_is_the_same_in_all_its_requests_and_without_a_name_that_of_its_request():
    named = {"scope": "mc", "name": "f1"}
    about = [named, named | {"request-id": "r2"}, named | {"scope": "data"}, {"name": None}, {"name": None}, {"name": None, "request-id": "r2"}]
    raw = pd.DataFrame([rucio.read_event(GOOD | one) for one in about])
    files = rucio.type_events(raw).file
    assert files.dtype == "uint64"
    assert pd.factorize(files)[0].tolist() == [0, 0, 1, 2, 2, 3]


def test_texts_have_numbers_of_their_own_and_none_has_zero():
    texts = pd.Series([f"request-{i}" for i in range(50_000)] + ["", None, "request-7"])
    numbers = rucio.number_texts(texts)
    assert len(set(numbers[:50_000])) == 50_000
    assert numbers[50_000:].tolist() == [0, 0, numbers[7]]
    assert (rucio.number_texts(pa.array(texts)[7:9]) == numbers[7:9]).all(), "a slice has other numbers"
    assert abs(np.mean(numbers[:50_000] >> np.uint64(63)) - 0.5) < 0.02, "the first bits are not even"
