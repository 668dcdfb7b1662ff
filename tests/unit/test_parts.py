"""A file that has not changed since an earlier night is not read again, and counts as if it were."""

import json
import os
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest

from nightshift.sources import base, parts
from nightshift.sources.parts import Extraction, read_note
from nightshift.sources.transfers.files import RucioFiles

WINDOW = tuple(pd.to_datetime(["2026-01-01", "2026-02-01"], utc=True))


def event(at, request="r1", kind="transfer-done"):
    """A line with an event of Rucio."""
    payload = {"request-id": request, "src-rse": "A", "dst-rse": "B", "transferred_at": at}
    return json.dumps({"event_type": kind, "created_at": at, "payload": payload})


@pytest.fixture
def night(tmp_path, monkeypatch):
    """`extract(window)` reads the file of events again, and gives an Extraction; `reads` are its paths as they were read."""
    path, reads = tmp_path / "events.jsonl", []
    lines = [event("2026-01-10 00:00:00"), event("2026-01-11 00:00:00", "r2"), event("2026-01-12 00:00:00", "r3", "deletion-done"), "{no json"]
    path.write_text("\n".join(lines) + "\n")
    really = RucioFiles.read
    monkeypatch.setattr(RucioFiles, "read", lambda *of: reads.append(of[1]) or really(*of))

    def extract(*window):
        extraction = Extraction(tmp_path / "raw", window or WINDOW)
        extraction.raw.mkdir(exist_ok=True)
        RucioFiles().extract(str(path), extraction)
        return extraction

    return SimpleNamespace(path=path, reads=reads, extract=extract, lines=lines)


def counted(extraction):
    return {name: getattr(extraction, name) for name in ("counts", "tallies", "bad_lines", "ends", "parts")}


def test_an_unchanged_file_is_not_read_again_and_counts_the_same(night):
    first = night.extract()
    again = night.extract()
    assert night.reads == [str(night.path)]
    assert counted(again) == counted(first)
    assert (first.counts["kept"], first.counts["other kinds"]) == (2, 1)
    assert first.tallies == {"event type": {"transfer-done": 2}, "day": {"2026-01-10": 1, "2026-01-11": 1}}
    assert [line[1:3] for line in again.bad_lines] == [(4, first.bad_lines[0][2])]
    assert (min(again.ends), max(again.ends)) == tuple(pd.to_datetime(["2026-01-10", "2026-01-11"], utc=True))


def test_an_unchanged_file_is_not_even_looked_into(night, tmp_path, monkeypatch):
    first, again = night.extract(), Extraction(tmp_path / "raw", WINDOW)
    monkeypatch.setattr(base, "source_of", None)
    base.read_source("transfers", str(night.path), again, index="", page_rows=1, timeout_s=1.0, retry_wait_s=0.0)
    assert counted(again) == counted(first)


@pytest.mark.parametrize("change", ["longer", "touched", "replaced", "code", "damaged"])
def test_what_may_have_changed_is_read_again(night, monkeypatch, change):
    (part,) = night.extract().parts
    if change == "longer":
        night.path.write_text("\n".join([*night.lines[:-1], event("2026-01-12 00:00:00", "r4")]) + "\n")
    elif change == "touched":
        night.path.touch()
    elif change == "replaced":  # by a file of the same size and time, as archives that set all times give it
        before, other = night.path.stat(), night.path.with_name("other")
        other.write_text(night.path.read_text().replace("2026-01-11", "2026-03-11"))
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(night.path)
    elif change == "code":
        monkeypatch.setattr(parts, "code_below", lambda _: "another version")
    else:
        part.write_bytes(part.read_bytes()[:100])
    assert night.extract().counts["kept"] == pq.ParquetFile(part).metadata.num_rows == {"longer": 3, "replaced": 1}.get(change, 2)
    assert len(night.reads) == 2


@pytest.mark.parametrize(
    ("begin", "end", "kept", "reads"),
    [
        ("2026-01-05", "2026-02-05", 2, 1),  # all of it still lies within
        ("2026-01-11", "2026-02-05", 1, 2),  # some has left the window
        ("2025-12-01", "2026-01-11", 1, 2),
    ],
)
def test_a_window_that_moves_reads_again_what_it_cuts(night, begin, end, kept, reads):
    night.extract()
    moved = night.extract(*pd.to_datetime([begin, end], utc=True))
    assert (moved.counts["kept"], len(night.reads)) == (kept, reads)
    assert night.extract().counts["kept"] == 2, "what was left out is there again"


def test_what_is_too_much_for_a_note_is_read_again(night, monkeypatch):
    monkeypatch.setattr(parts, "MOST_NOTED", 0)
    (part,) = night.extract().parts
    assert read_note(part) == {}
    assert night.extract().counts["kept"] == 2
    assert len(night.reads) == 2
