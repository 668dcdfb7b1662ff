"""What must run again whatever Snakemake remembers."""

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from nightshift.catalog import STEPS
from nightshift.chain import Night
from nightshift.config import check
from nightshift.products import SMALL, correct_times, differing, fingerprint, is_ahead, products_of, size_and_time, state_of
from nightshift.runs import NOTHING, VERSION, notebook_path, record_path, write_record


@pytest.fixture
def night(tmp_path):
    return Night(check({"day": "2026-01-31", "products": str(tmp_path), "studies": {"tickets": {"extract": {"source": "none.csv"}}}}))


def ended_well(night, study, step, parameters):
    run = NOTHING | {"version": VERSION, "study": study, "step": step, "outcome": "ok", "given": json.loads(json.dumps(parameters))}
    write_record(run, record_path(night.report, study, step))


@pytest.mark.parametrize("study", ["tickets", ""])
def test_a_step_whose_executed_notebook_is_gone_runs_again(night, study):
    step = "4_analyse" if study else "digest"
    ended_well(night, study, step, night.step_parameters(study, step) if study else night.digest_parameters())
    again = (lambda: night.again(study, step)) if study else night.digest_again
    assert again() == f"the executed notebook {step}.ipynb cannot be read"
    notebook_path(night.report, study, step).write_text(json.dumps({"cells": [], "metadata": {}}))
    assert again() == ""


OTHER, DAMAGED = "data/raw/tickets is that of another night", "data/raw/tickets/status.json cannot be read"


@pytest.mark.parametrize(
    ("status", "reason"),
    [("[" * 100_000, DAMAGED), ("{", DAMAGED), ("[1]", DAMAGED), ('{"window": ["", "2026-01-31"]}', ""), ('{"state": "ok"}', OTHER)]
    + [(json.dumps({"window": window}), OTHER) for window in (3, "x", [], ["", "2026-01-30"])],
)
def test_raw_data_whose_last_day_is_not_tonight_are_read_again(night, status, reason):
    ended_well(night, "tickets", "1_extract", night.step_parameters("tickets", "1_extract"))
    notebook_path(night.report, "tickets", "1_extract").write_text(json.dumps({"cells": [], "metadata": {}}))
    path = night.root / "data/raw/tickets/status.json"
    path.parent.mkdir(parents=True)
    path.write_text(status)
    assert night.again("tickets", "1_extract") == reason


def test_a_source_that_was_not_whole_when_it_was_read_is_read_again(night, tmp_path):
    ended_well(night, "tickets", "1_extract", night.step_parameters("tickets", "1_extract"))
    notebook_path(night.report, "tickets", "1_extract").write_text(json.dumps({"cells": [], "metadata": {}}))
    path, source = night.root / "data/raw/tickets/status.json", tmp_path / "tickets.csv"
    path.parent.mkdir(parents=True)
    path.write_text('{"window": ["", "2026-01-31"]}')
    source.write_text("half of it")
    record = record_path(night.report, "tickets", "1_extract")
    values = {"just_written": {str(source): size_and_time(source)}}
    write_record(json.loads(record.read_text()) | {"values": values}, record)
    assert night.again("tickets", "1_extract") == ""
    source.write_text("all of it, with the rest")
    assert night.again("tickets", "1_extract") == "due"


def test_a_replayed_night_makes_no_mere_page(night):
    whole, findings = (set(night.outputs(target)) for target in ("all", "findings"))
    assert whole - findings == {("tickets", step) for step in ("5_quality", "6_waiting", "7_asking")}
    assert {("tickets", step) for step in STEPS} <= findings


def rewritten(path, text):
    """Write a text to a file and give it the times that it had."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("length", [10, SMALL + 10])
def test_a_file_that_is_put_back_with_its_old_time_is_another_one(tmp_path, length):
    path = tmp_path / "source.csv"
    path.write_text("a" * length)
    before, states = path.stat(), [state_of([path])]
    path.write_text("b" * length)
    states.append(state_of([path]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    rewritten(path, "a" * length + "b")
    states.append(state_of([path]))
    path.unlink()
    states.append(state_of([path]))
    path.mkdir()
    states.append(state_of([path]))
    states.append(state_of([]))
    assert len(set(states)) == 6


def test_the_time_of_a_small_file_is_nothing_and_that_of_another_one_all_that_is_looked_at(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(SMALL))
    large.write_bytes(bytes(SMALL + 1))
    before = [state_of([path]) for path in (small, large)]
    os.utime(small, (1e9, 1e9))
    rewritten(large, "b" * (SMALL + 1))
    assert [state_of([path]) for path in (small, large)] == before


def test_a_step_sees_its_source_and_what_it_reads_beside_it(tmp_path):
    source = tmp_path / "source.csv"
    source.write_text("1")
    night = Night(check({"day": "2026-01-31", "products": str(tmp_path), "studies": {"tickets": {"extract": {"source": str(source)}}}}))
    before = [night.state_read("tickets", step) for step in ("1_extract", "2_preprocess")]
    rewritten(source, "2")
    after = [night.state_read("tickets", step) for step in ("1_extract", "2_preprocess")]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]
    assert night.files_of_source("tickets") == [str(source)]


@pytest.mark.parametrize(("hours", "zone", "is_due"), [(-1, True, False), (1, True, True), (-1, False, False), (1, False, True)])
@pytest.mark.parametrize("study", ["tickets", ""])
def test_what_a_clock_dated_in_the_future_runs_again(night, study, hours, zone, is_due):
    step = "4_analyse" if study else "digest"
    ended_well(night, study, step, night.step_parameters(study, step) if study else night.digest_parameters())
    notebook_path(night.report, study, step).write_text(json.dumps({"cells": [], "metadata": {}}))
    moment, path = datetime.now(UTC) + timedelta(hours=hours), record_path(night.report, study, step)
    write_record(json.loads(path.read_text()) | {"ended": (moment if zone else moment.replace(tzinfo=None)).isoformat()}, path)
    reason = night.again(study, step) if study else night.digest_again()
    words = "the record of 4_analyse is dated in the future" if study else "its record is dated in the future"
    assert reason == (words if is_due else "")


def test_parts_of_nodes_are_one_product_and_any_of_them_that_is_another_is_seen(tmp_path):
    raw = tmp_path / "data/raw/telemetry"
    parts = [raw / f"nodes/node_id=n{n}/day=2026-01-31/x.parquet" for n in range(3)]
    for path in parts:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"part")
        os.utime(path, (10**9, 10**9))  # kept from an earlier night
    (raw / "status.json").write_text("{}")
    found = products_of(tmp_path, ["data/raw/telemetry/**/*"], since=parts[0].parent.stat().st_mtime - 1)
    assert found == [raw / "nodes", raw / "status.json"]
    left = {path.relative_to(tmp_path).as_posix(): fingerprint(path) for path in found}
    assert left["data/raw/telemetry/nodes"]["size"] == 12
    assert differing(tmp_path, left) == []
    parts[1].write_bytes(b"trap")
    assert differing(tmp_path, left) == ["data/raw/telemetry/nodes"]
    parts[1].write_bytes(b"part")
    os.utime(parts[1], (10**9, 10**9))
    assert differing(tmp_path, left) == []
    parts[2].unlink()
    assert differing(tmp_path, left) == ["data/raw/telemetry/nodes"]
    table = tmp_path / "data/raw/certification/histograms.parquet"
    for folder in (table, table.with_name("notes")):
        folder.mkdir(parents=True)
        (folder / "0.parquet").write_bytes(b"part")
    assert products_of(tmp_path, ["data/raw/certification/**/*"]) == [table, table.with_name("notes")]


def test_products_of_the_future_count_as_written_now(tmp_path):
    ahead, past, kept = tmp_path / "data/clean/x.parquet", tmp_path / "models/x/y.skops", tmp_path / "feedback/feedback.csv"
    for path, hours in ((ahead, 24), (past, -24), (kept, 24)):
        path.parent.mkdir(parents=True)
        path.write_text("")
        os.utime(path, (time.time() + 3600 * hours,) * 2)
    before = past.stat().st_mtime_ns
    assert [is_ahead(path) for path in (ahead, past, kept, tmp_path / "none")] == [True, False, True, False]
    assert correct_times(tmp_path) == 1
    assert [is_ahead(path) for path in (ahead, past, kept)] == [False, False, True]
    assert past.stat().st_mtime_ns == before
    assert correct_times(tmp_path) == 0
