"""Lines of events read column by column are what `json` and one record after another give, whatever the lines hold."""

import gzip
import json
from functools import partial
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rucio_events import GOOD, UNSTARTED

from nightshift.sources.files import line_blocks, read_lines
from nightshift.sources.transfers import event_lines
from nightshift.sources.transfers.parts import SCHEMA, table_of
from nightshift.sources.transfers.rucio import is_event

FULL = GOOD | {"file-size": 1000, "dataset": None, "datatype": "RAW", "created_at": "2026-01-31 09:58:00.25", "state": "DONE"}
WRAPPED = [
    lambda r: r,
    lambda r: {"event_type": "transfer-done", "payload": r, "created_at": "2026-01-31 10:01:05"},
    lambda r: {"id": "m1", "event_type": "Transfer Failed", "payload": r, "created_at": None, "services": "elastic"},
    lambda r: {"data": {"event_type": "transfer-done", **r}, "metadata": {"timestamp": 1769853700000}},
    lambda r: {"_index": "rucio", "_id": "7", "_score": 1, "_source": r},
    lambda r: {"payload": json.dumps(r), "event_type": "transfer-done"},
    lambda r: {"index": {}},
    lambda r: {name.replace("-", "_"): value for name, value in r.items()},
]
TEXTS = st.text(max_size=6) | st.sampled_from(["", " ", "\ud800", "\\/", "é\x7f", "{"])
NUMBERS = st.integers() | st.integers(10**17, 10**30) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
OTHER_NAMES = ["vo", "payload", "data", "status", "event_type", "src_rse", "filesize"]
JUNK = ["", "  ", "{", "[1]", "7", '{"a": 1} {"b": 2}', '{"request-id": "r", "request-id": "s"}', "\x0b"]
SPOILT = [*(("1000", wrong) for wrong in ("01", "1.", "-", "1e400", "NaN", "nulx", "1 2")), ("RAW", "\t"), ("RAW", "\\x")]
SEPARATORS = st.sampled_from([None, (",", ":"), (" , ", " : ")])
FORMS = st.tuples(st.sampled_from([FULL, UNSTARTED]), st.sampled_from(WRAPPED), st.booleans(), SEPARATORS, st.sampled_from(["/", "\\/"]))
KINDS = ["plain", "values", "values", "values", "spoilt", "names", "form", "junk"]


@st.composite
def files(draw):
    """The lines of a file: most of one form with a few odd values, some of another form or with other names, and junk."""
    usual, texts = draw(FORMS), []
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=25)):
        record, wrap, ascii_only, separators, slash = draw(FORMS) if kind == "form" else usual
        names = [*record, *OTHER_NAMES] if kind in ("names", "form") else list(record)
        changes = draw(st.dictionaries(st.sampled_from(names), VALUES if kind == "names" else SCALARS, max_size=3)) if kind != "plain" else {}
        text = json.dumps(wrap(record | changes), ensure_ascii=ascii_only, separators=separators).replace("/", slash)
        text = text.replace(*draw(st.sampled_from(SPOILT))) if kind == "spoilt" else text
        texts.append(draw(st.sampled_from(JUNK)) if kind == "junk" else text)
    return texts


def by_columns(path, size):
    with mock.patch.object(event_lines, "line_blocks", partial(line_blocks, first=size, size=size)):
        pages = list(event_lines.read_event_lines(path))
    tables = [page if isinstance(page, pa.Table) else table_of(page) for page, _ in pages]
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).to_pylist(), [one for _, bad in pages for one in bad]


def one_by_one(path):
    pages = list(read_lines(path, 100_000, fits=is_event))
    return table_of([record for records, _ in pages for record in records]).to_pylist(), [one for _, bad in pages for one in bad]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(files(), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([1, 900, 4000]), st.booleans())
@example([json.dumps(WRAPPED[1](FULL | {"bytes": value})) for value in (1, 0, -1, -0.0, 1e22, True, None, "7", 10**18, 10**17)], "\n", 900, True)
@example([json.dumps(WRAPPED[0](FULL | {"reason": value})) for value in ("", "x", '"', "\n", "\x7f", "é", "\ud800", None)], "\n", 900, False)
def test_columns_are_what_json_and_single_records_give(tmp_path, texts, end, size, last_ends):
    path = tmp_path / "events.jsonl"
    path.write_bytes((end.join(texts) + end * last_ends).encode("utf-8", "surrogatepass"))
    assert by_columns(path, size) == one_by_one(path)


@pytest.mark.parametrize("size", [1, 2**18])
def test_an_event_that_holds_an_empty_list_is_an_event(tmp_path, size):
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (FULL, FULL, FULL | {"items": []}, {"total": 0, "data": []})))
    rows, bad = by_columns(tmp_path / "events.jsonl", size)
    assert ([row["request-id"] for row in rows], bad) == (["r1"] * 3, [])


def test_pages_are_given_as_soon_as_they_are_long_enough(tmp_path):
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(FULL | {"bytes": i}) + "\n" for i in range(8)))
    one_line = partial(line_blocks, first=1, size=1)
    with mock.patch.object(event_lines, "line_blocks", one_line), mock.patch.object(event_lines, "PAGE_ROWS", 3):
        assert [len(page) for page, _ in event_lines.read_event_lines(tmp_path / "events.jsonl")] == [1, 3, 3, 1]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_most_lines_are_read_by_columns(tmp_path, name):
    path, text = tmp_path / name, "".join(json.dumps(WRAPPED[1](FULL | {"bytes": i})) + "\n" for i in range(2000))
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with mock.patch.object(event_lines, "read_each", wraps=event_lines.read_each) as each:
        rows, bad = by_columns(path, 2**16)
    assert [row["bytes"] for row in rows] == [str(i) for i in range(2000)]
    assert not bad
    assert len(each.mock_calls) > 5
    assert not any(numbered for call in each.mock_calls for numbered in call.args)
