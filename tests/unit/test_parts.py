"""A file that has not changed since an earlier night is not read again, and counts as if it were."""

import json
import os
import shutil
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest

from nightshift import status
from nightshift.sources import base, part_files
from nightshift.sources.accounting.gracc import GraccFiles
from nightshift.sources.parts import Extraction, in_order_of_files, remove_old_parts
from nightshift.sources.transfers.files import RucioFiles
from nightshift.status import sha256_of

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

    return SimpleNamespace(path=path, raw=tmp_path / "raw", reads=reads, extract=extract, lines=lines)


def counted(extraction):
    of = {name: getattr(extraction, name) for name in ("counts", "tallies", "bad_lines", "ends", "parts")}
    return of | {"counts": +of["counts"], "ends": (min(of["ends"], default=None), max(of["ends"], default=None))}


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
        monkeypatch.setattr(part_files, "code_below", lambda _: "another version")
    else:
        part.write_bytes(part.read_bytes()[:100])
    assert night.extract().counts["kept"] == pq.ParquetFile(part).metadata.num_rows == {"longer": 3, "replaced": 1}.get(change, 2)
    assert len(night.reads) == 2


WINDOWS = [
    ("2026-01-05", "2026-02-05", 2, 1),  # all of it still lies within
    ("2026-01-11", "2026-02-05", 1, 1),  # some has left the window: it is taken out of the part
    ("2026-01-15", "2026-02-05", 0, 1),
    ("2025-12-01", "2026-01-11", 1, 1),
]


@pytest.mark.parametrize(("begin", "end", "kept", "reads"), WINDOWS)
def test_a_window_that_moves_reads_a_file_again_only_where_it_lets_more_in(night, begin, end, kept, reads):
    night.extract()
    moved = night.extract(*pd.to_datetime([begin, end], utc=True))
    assert (moved.counts["kept"], moved.counts["outside"], len(night.reads)) == (kept, 2 - kept, reads)
    assert counted(moved) == counted(read_anew(night, begin, end))
    back = night.extract()
    assert (back.counts["kept"], back.counts["outside"]) == (2, 0), "what was left out is there again"


def read_anew(night, begin, end):
    """The Extraction of a window that has no night before it; what the nights have made stays as it is."""
    raw, aside = night.raw, night.raw.with_name("aside")
    raw.rename(aside)
    whole = night.extract(*pd.to_datetime([begin, end], utc=True))
    shutil.rmtree(raw)
    aside.rename(raw)
    return whole


def test_what_came_too_late_for_the_window_before_becomes_a_part_of_its_own(night):
    """As of a daily log that goes on some minutes after midnight: what is there stays the same file."""
    night.path.write_text("\n".join([*night.lines, event("2026-02-01 00:10:00", "r5"), event("", "r6")]) + "\n")
    first = night.extract()
    (part,) = first.parts
    before = part.stat()
    second = night.extract(*pd.to_datetime(["2026-01-02", "2026-02-02"], utc=True))
    assert (first.counts["kept"], first.counts["outside"], second.counts["kept"], second.counts["outside"]) == (3, 1, 4, 0)
    (later,) = second.parts - first.parts
    assert (part.stat().st_mtime_ns, part.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert pq.read_table(later)["request-id"].to_pylist() == ["r5"], "without the one that has no time"
    assert second.tallies["day"] == {"2026-01-10": 1, "2026-01-11": 1, "2026-02-01": 1}
    assert night.extract(*pd.to_datetime(["2026-01-02", "2026-02-03"], utc=True)).parts == second.parts
    assert len(night.reads) == 2
    assert second.bad_lines == first.bad_lines


def test_a_window_that_slides_over_one_file_keeps_what_a_first_night_would(night, tmp_path):
    """Night after night, of some nights nothing, and back again: rows, counts and tallies are those of one night alone."""
    days = pd.date_range("2026-01-08", "2026-01-20", freq="7h")
    lines = [event(f"{at:%Y-%m-%d %H:%M:%S}", f"r{i}", kind) for i, at in enumerate(days) for kind in ("transfer-queued", "deletion-done")]
    night.path.write_text("\n".join([lines[6], *lines[:6], *lines[7:]]) + "\n")
    for end in [11, 12, 12, 13, 17, 18, 19, 10, 14, 15]:
        begin, end = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta([end - 4, end], unit="D")
        extraction = night.extract(begin, end)
        remove_old_parts(extraction)
        inside = [f"r{i}" for i, at in enumerate(days) if begin <= at.tz_localize("UTC") < end]
        rows = [one for part in sorted(night.raw.glob("*.parquet")) for one in pq.read_table(part)["request-id"].to_pylist()]
        assert sorted(rows) == sorted(inside)
        assert counted(extraction) | {"parts": 0} == counted(read_anew(night, begin, end)) | {"parts": 0}
        assert len(extraction.parts) <= 5, "parts from which all has gone are removed"
    assert len(list((night.raw / "notes").iterdir())) == 1


def test_parts_are_in_the_order_of_their_files_whatever_they_are_called(tmp_path):
    """A total that is sent again, in a later file, replaces the earlier one."""
    extraction = Extraction(tmp_path / "raw", WINDOW)
    extraction.raw.mkdir()
    paths = [tmp_path / f"{n}.json" for n in range(9)]
    for n, path in enumerate(paths):
        ends = ("2026-01-10T00:00:00Z", "2026-01-20T00:00:00Z")
        path.write_text("".join(json.dumps({"SiteName": "A", "VOName": "v", "EndTime": end, "CoreHours": n}) + "\n" for end in ends))
    for window in (WINDOW, (pd.Timestamp("2026-01-15", tz="UTC"), WINDOW[1])):
        for path in paths:
            GraccFiles().extract(str(path), Extraction(extraction.raw, window))
        parts = in_order_of_files(extraction.raw.glob("*.parquet"))
        assert [pq.read_table(part)["CoreHours"].to_pylist()[-1] for part in parts] == list("012345678")
    assert pq.read_metadata(parts[0]).num_rows == 1, "the window has moved"
    assert parts != sorted(parts)


def test_the_hash_of_all_parts_is_known_from_their_notes(night, monkeypatch):
    first = night.extract()
    assert first.sha256() == sha256_of(sorted(first.parts))
    again = night.extract()
    monkeypatch.setattr(status, "sha256", None)
    assert again.sha256() == first.sha256()


@pytest.mark.parametrize(("old", "new"), [('"kept": 2', '"kept": 3'), ('"of"', '"on"'), ("}", ""), ("2026-01-10", "2026-01-1x")])
def test_a_note_with_another_letter_is_none(night, old, new):
    (part,) = night.extract().parts
    note = night.raw / "notes" / f"{part.stem}.json"
    note.write_text(note.read_text().replace(old, new, 1))
    assert night.extract().counts["kept"] == 2
    assert len(night.reads) == 2


@pytest.mark.parametrize("gone", ["part", "note"])
def test_a_part_or_a_note_that_is_gone_is_made_again(night, gone):
    (part,) = night.extract().parts
    (part if gone == "part" else night.raw / "notes" / f"{part.stem}.json").unlink()
    assert night.extract().counts["kept"] == pq.ParquetFile(part).metadata.num_rows == 2
    assert len(night.reads) == 2


def test_the_note_of_a_file_that_is_gone_goes_with_its_part(night, tmp_path):
    night.extract()
    remove_old_parts(Extraction(night.raw, WINDOW))
    assert [path.name for path in night.raw.rglob("*")] == ["notes"]


def test_what_is_too_much_for_a_note_is_read_again(night, monkeypatch):
    monkeypatch.setattr(part_files, "MOST_NOTED", 0)
    night.extract()
    assert night.extract().counts["kept"] == 2
    assert len(night.reads) == 2
