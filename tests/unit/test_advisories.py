"""The check of pinned versions against advisories, as a release runs it: deploy/advisories.py, and the list that stands beside it."""

import json
import runpy
from datetime import date

import pytest
from conftest import REPOSITORY
from packaging.version import Version

ADVISORIES = runpy.run_path(str(REPOSITORY / "deploy/advisories.py"))


def record(name="Some.Package", *, versions=(), events=(), **more):
    """A record of OSV about one package."""
    affected = {"package": {"ecosystem": "PyPI", "name": name}, "versions": list(versions), "ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}
    return {"id": "X-1", "summary": "it does harm", "affected": [affected]} | more


@pytest.mark.parametrize(
    ("version", "events", "affected"),
    [
        ("1.9", [{"introduced": "0"}, {"fixed": "2.0"}], True),
        ("2.0", [{"introduced": "0"}, {"fixed": "2.0"}], False),
        ("2.0rc1", [{"introduced": "0"}, {"fixed": "2.0"}], True),
        ("1.10", [{"introduced": "1.9"}, {"fixed": "1.11"}], True),
        ("1.8", [{"introduced": "1.9"}, {"fixed": "1.11"}], False),
        ("3.1", [{"introduced": "0"}, {"fixed": "2.0"}, {"introduced": "3.0"}], True),
        ("2.5", [{"introduced": "3.0"}, {"fixed": "2.0"}, {"introduced": "0"}], False),
        ("2.0", [{"introduced": "1.0"}, {"last_affected": "2.0"}], True),
        ("2.0.1", [{"introduced": "1.0"}, {"last_affected": "2.0"}], False),
        ("1.0", [], False),
    ],
)
def test_a_version_lies_in_the_ranges_of_an_advisory(version, events, affected):
    [(_, about)] = ADVISORIES["packages_of"](record(events=events))
    assert ADVISORIES["is_affected"](Version(version), about) == affected


def test_a_pin_is_found_by_its_name_in_any_spelling_and_its_version(tmp_path):
    (tmp_path / "constraints.txt").write_text("# pins\nsome_package==1.0.0\nOther[extra]==2.0  # why\nthird>=3\n")
    pins = ADVISORIES["read_pins"](tmp_path / "constraints.txt")
    assert pins == {"some-package": Version("1.0"), "other": Version("2.0")}
    affected = ADVISORIES["affected_pins"]
    [(name, version, one)] = affected(pins, [record(versions=["1.0"])])
    assert (name, str(version), one["id"]) == ("some-package", "1.0.0", "X-1")
    assert affected(pins, [record(versions=["1.1"])]) == []
    assert affected(pins, [record(versions=["1.0"], withdrawn="2026-01-01T00:00:00Z")]) == []
    other = record(versions=["1.0"])
    other["affected"][0]["package"]["ecosystem"] = "npm"
    assert affected(pins, [other]) == []


def test_a_list_is_made_of_what_is_about_our_packages(tmp_path):
    for number, one in enumerate([record(), record("elsewhere"), record(withdrawn="2026-01-01T00:00:00Z"), record(details="long")]):
        (tmp_path / f"{number}.json").write_text(json.dumps(one))
    found = ADVISORIES["collect"](tmp_path, {"some-package": Version("9")})
    assert [list(one) for one in found] == [["id", "summary", "affected"]] * 2, "a version that is pinned next may be affected"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere", "2026-01-31"], "nowhere holds no records (*.json): advisories.json stays as it is"),
        (["nowhere"], "DATE must say when the records were fetched, such as 2026-01-31, not ''"),
        (["nowhere", "31.1."], "DATE must say when the records were fetched, such as 2026-01-31, not '31.1.'"),
    ],
)
def test_no_records_and_no_day_are_one_line_and_the_list_stays(arguments, line, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = (REPOSITORY / "deploy/advisories.json").read_bytes()
    assert ADVISORIES["main"](*arguments) == 2
    assert capsys.readouterr().err == f"advisories.py: {line}\n"
    assert (REPOSITORY / "deploy/advisories.json").read_bytes() == before


def test_no_version_that_is_pinned_is_known_to_do_harm():
    pins, bundled = ADVISORIES["read_pins"](REPOSITORY / "constraints.txt"), json.loads((REPOSITORY / "deploy/advisories.json").read_text())
    assert len(pins) == sum("==" in line for line in (REPOSITORY / "constraints.txt").read_text().splitlines())
    assert bundled["source"]
    assert date.fromisoformat(bundled["date"]) <= date.today()
    assert ADVISORIES["affected_pins"](pins, bundled["advisories"]) == []
