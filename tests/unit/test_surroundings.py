"""What `nightshift check` says of disk, clock and key."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from nightshift import surroundings
from nightshift.surroundings import check_clock, check_disk, check_surroundings


@pytest.fixture
def system(monkeypatch):
    """Make the file system say what room it has: free GB, files that it takes."""

    def room(gigabytes, files=10**6):
        answer = SimpleNamespace(f_bavail=int(gigabytes * 1e9), f_frsize=1, f_favail=files, f_files=10**7)
        monkeypatch.setattr(surroundings.os, "statvfs", lambda _: answer)

    return room


def test_a_disk_needs_room_for_the_tables_of_a_night_beside_those_of_the_last(tmp_path, system):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/table.parquet").write_bytes(b"x" * 200_000_000)
    system(1.3)
    assert check_disk(tmp_path) == ([f"1.3 GB free at {tmp_path}, the tables of the last night take 0.2 GB"], [])
    system(1.1)
    _, [problem] = check_disk(tmp_path)
    assert problem.startswith(f"1.1 GB are free at {tmp_path}, and 1.2 GB are needed")
    system(50, files=100)
    _, [problem] = check_disk(tmp_path / "not/there/yet")
    assert problem == f"the file system of {tmp_path} takes 100 more files, and 20,000 are needed"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings.os, "access", lambda path, mode: mode != os.W_OK)  # root may write everywhere
    assert check_disk(tmp_path)[1] == [f"{tmp_path} cannot be written by the user that runs this"]


def test_a_clock_goes_on_since_the_last_night_and_agrees_with_others(tmp_path):
    report = tmp_path / "reports/2026-01-31"
    report.mkdir(parents=True)
    now = datetime.now(UTC)
    near = ("mail.example", now + timedelta(seconds=20))
    for hours, expected in ((-5, 0), (5, 1)):
        ended = (now + timedelta(hours=hours)).isoformat()
        (report / "digest.json").write_text(json.dumps({"digest": {"ended": ended}}))
        lines, problems = check_clock(tmp_path, [near])
        assert len(problems) == expected
        assert lines[0].endswith("as mail.example") == (not problems)
    assert "UTC, and the last night ended at" in problems[0]
    _, problems = check_clock(tmp_path / "none", [near, ("alerts.example", now - timedelta(hours=1))])
    assert len(problems) == 1
    assert "that of alerts.example" in problems[0]


def test_a_server_that_says_no_time_is_no_clock_to_compare_with(monkeypatch):
    dates = []
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    for moment in ("now", "Fri, 31 Dec 9999 23:59:59 -0500", "Sat, 31 Jan 2026 04:00:00 GMT", "Sat, 31 Jan 2026 05:00:00 -0000"):
        answer = 200, "", {"Date": moment}
        monkeypatch.setattr("nightshift.notify.http.ask", lambda *_, answer=answer, **__: answer)
        assert surroundings.look_at_address("https://a.example/", "a.example", dates, "HEAD") == ""
    monkeypatch.delenv("TZ")
    time.tzset()
    assert dates == [("a.example", datetime(2026, 1, 31, hour, tzinfo=UTC)) for hour in (4, 5)]


def test_all_is_looked_at_without_anyone_who_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_KEY", "x")
    found = list(check_surroundings({"products": str(tmp_path)}))
    assert [name for name, _, _ in found] == ["disk", "clock", "key"]
    assert found[2] == ("key", ["pseudonyms stay from night to night"], [])
    monkeypatch.delenv("NIGHTSHIFT_KEY")
    assert "NIGHTSHIFT_KEY is not set" in list(check_surroundings({"products": str(tmp_path)}))[2][1][0]
