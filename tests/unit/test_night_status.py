"""`nightshift status`: what the last nights were, and when the newest one is too old."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from nightshift.night_status import recent_nights, status, table_of, too_old
from nightshift.surroundings import sizes_below
from nightshift.wording import NOTHING

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
INCIDENTS = [
    {"state": "new", "severity": "high", "silence": None},
    {"state": "ongoing", "severity": "low", "silence": None},
    {"state": "ongoing", "severity": "high", "silence": {"as": "silenced"}},
    {"state": "resolved", "severity": "high", "silence": None},
]


def publish(root, day, ended):
    """A night of one study of two, whose steps took 90 s and whose pages have 1,000 bytes more than its records."""
    report = root / "reports" / day
    (report / "tickets").mkdir(parents=True)
    digest = {"digest": {"ended": ended}, "coverage": {"reported": 1, "expected": 2}, "incidents": INCIDENTS}
    (report / "digest.json").write_text(json.dumps(digest))
    (report / "digest_run.json").write_text(json.dumps({"seconds": 30.0}))
    (report / "tickets/1_extract.json").write_text(json.dumps({"seconds": 60.0}))
    (report / "tickets/1_extract.html").write_text("x" * 1000)


@pytest.fixture
def products(tmp_path):
    for day, ended in (("2026-01-28", "2026-01-29T03:00:00+00:00"), ("2026-01-30", "2026-01-31T04:00:00+00:00")):
        publish(tmp_path, day, ended)
    (tmp_path / "reports/2026-01-31").mkdir()  # runs now
    return tmp_path


def configuration(products):
    path = products / "site.yaml"
    path.write_text(yaml.safe_dump({"day": "2026-01-31", "products": str(products), "studies": {}}))
    return path


def test_a_night_has_its_duration_its_size_and_what_is_open(products):
    nights = recent_nights(products, 7)
    records = sum(path.stat().st_size for path in (products / "reports/2026-01-30").rglob("*.json"))
    assert [night["day"] for night in nights] == ["2026-01-28", "2026-01-30"]
    expected = {"seconds": 90.0, "bytes": records + 1000, "reported": 1, "expected": 2, "open": 2, "high": 1}
    assert nights[1] == expected | {"day": "2026-01-30", "ended": "2026-01-31T04:00:00+00:00"}
    assert recent_nights(products, 1) == nights[1:]
    assert table_of(nights, NOW)[2].split() == ["2026-01-30", "8", "h", "1.5", "min", "0.0", "MB", "1", "of", "2", "2,", "1", "high"]


def test_a_file_that_is_gone_before_it_is_measured_has_no_size(products, monkeypatch):
    before = [night["bytes"] for night in recent_nights(products, 7)]
    (products / "reports/2026-01-30/.0123abcd-index.html").symlink_to("gone")
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: path.is_symlink() or is_file(path))
    assert [night["bytes"] for night in recent_nights(products, 7)] == before
    assert sorted(sizes_below(products)) == sorted(path.stat().st_size for path in products.rglob("*") if is_file(path))


def test_a_night_is_too_old_after_some_hours_and_where_there_is_none(products, tmp_path):
    nights = recent_nights(products, 7)
    assert too_old(nights, NOW, 8) == ""
    assert too_old(nights, NOW, 7.9) == "the last night, 2026-01-30, ended 8 hours ago"
    assert too_old([], NOW, 30) == "no night has been published"
    publish(tmp_path, "2026-02-01", None)
    assert too_old(recent_nights(products, 7), NOW, 30) == "the digest of 2026-02-01 did not end"


def test_a_night_whose_digest_is_damaged_is_a_line_of_the_table(products):
    (products / "reports/2026-01-30/digest.json").write_text('{"digest": {"en')
    [_, _, line] = table_of(recent_nights(products, 7), NOW)
    assert line.split() == ["2026-01-30", "no", "end", "1.5", "min", "0.0", "MB", NOTHING, "of", NOTHING, "0,", "0", "high"]


def test_the_exit_code_says_whether_the_night_is_too_old(products, capsys):
    path = configuration(products)
    age = (datetime.now(UTC) - datetime(2026, 1, 31, 4, tzinfo=UTC)) / timedelta(hours=1)
    assert status(path, max_age=age + 1) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert status(path, max_age=age - 1, quiet=True) == 1
    assert capsys.readouterr() == ("", f"nightshift: the last night, 2026-01-30, ended {age:.0f} hours ago\n")
    assert status(path, max_age=age + 1, as_json=True) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])["open"] == 2
    assert status(products / "none.yaml") == 2
