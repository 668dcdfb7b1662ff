"""Which silences of a configuration are wrong, and what each holds for."""

import os
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
import requests

from nightshift.config import read_yaml
from nightshift.incidents.silences import (
    SILENCES_FILE,
    apply_silences,
    check_silences,
    lift_silence,
    never_matched,
    read_recorded,
    read_silences,
    reasons_of,
    record_silence,
)
from nightshift.live import export
from nightshift.live.alertmanager import PAIRS_FILE, Alertmanager, exchange, matchers_of, pattern_of, silence_of

GOOD = {"site": "T2-*", "as": "silenced", "by": "b", "until": "2026-02-28", "why": "w"}


def test_good_silences_are_text_whatever_yaml_made_of_them():
    assert check_silences(None) == check_silences([]) == ([], [])
    read = {"site": "T2-*", "kind": None, "as": "silenced", "by": 7, "until": date(2026, 2, 28), "why": " w "}
    table = read_silences([read, GOOD | {"incident": "20260119-3f2a"}])
    assert table[["site", "kind", "by", "until", "why"]].values.tolist() == [["T2-*", "", by, "2026-02-28", "w"] for by in ("7", "b")]
    assert table.incident.tolist() == ["", "20260119-3f2a"]
    assert read_silences([]).columns.tolist() == table.columns.tolist()


@pytest.mark.parametrize(
    ("entries", "lines"),
    [
        ("all", ["digest.silences is 'all': it must be a list of entries"]),
        ("x" * 100, [f"digest.silences is '{'x' * 79}: it must be a list of entries"]),
        ({"site": "A"}, ["digest.silences is {'site': 'A'}: it must be a list of entries"]),
        (["all"], ["digest.silences[0] is 'all': it needs an incident or patterns of study, kind, site, entity"]),
        ([GOOD, {**GOOD, "site": ""}], ["digest.silences[1] is {'site': '', "]),
        ([{key: value for key, value in GOOD.items() if key != "site"}], ["it needs an incident or patterns"]),
        ([{}], ["digest.silences[0] needs as, by, until, why, and lacks as, by, until, why"]),
        ([{key: value for key, value in GOOD.items() if key != "why"}], ["digest.silences[0] needs as, by, until, why, and lacks why"]),
        ([GOOD | {"as": "mute"}], ["digest.silences[0].as is 'mute': it must be silenced or acknowledged"]),
        ([GOOD | {"by": " "}], ["digest.silences[0].by is empty: it must say who wants it so"]),
        ([GOOD | {"until": "soon"}], ["digest.silences[0].until is 'soon': it must be a date such as 2026-03-31"]),
        ([GOOD | {"until": "03/04/2026"}], ["digest.silences[0].until is '03/04/2026': it must be a date"]),  # March or April?
        ([GOOD | {"entity": False}], ["digest.silences[0].entity is False: it must be a text"]),  # a VO called no, without quotes
        ([GOOD | {"site": ["A", "B"]}], ["digest.silences[0].site is ['A', 'B']: it must be one text; write one entry for each"]),
        ([GOOD | {"sites": "A"}], ["digest.silences[0] has an unknown 'sites'; the nearest is site"]),
        ([GOOD | {7: "A"}], ["digest.silences[0] has an unknown '7'; the nearest is "]),
        ([GOOD | {None: "A"}], ["digest.silences[0] has an unknown 'None'; the nearest is "]),
        ([GOOD | {"as": "x", "until": "x"}], ["digest.silences[0].as is 'x'", "digest.silences[0].until is 'x'"]),
    ],
)
def test_each_mistake_is_one_line_with_its_path(entries, lines):
    silences, wrong = check_silences(entries, "digest.silences")
    assert silences == []
    assert len(wrong) == len(lines)
    for line, expected in zip(wrong, lines, strict=True):
        assert expected in line
        assert "\n" not in line
    with pytest.raises(ValueError, match="silences"):
        read_silences(entries)


FINDINGS = pd.DataFrame(
    [
        ("a", "accounting", "drop", "S0", "v0 at S0"),
        ("b", "accounting", "drop", "S0", "v1 at S0"),
        ("c", "accounting", "moved", "S1", "v0"),
        ("d", "accounting", "drop", "S2", "v0 at S2"),
        ("d", "transfers", "failing_source", "S2", "S2_DISK"),
    ],
    columns=["incident", "study", "kind", "site", "entity"],
)
INCIDENTS = pd.DataFrame({"incident": ["a", "b", "c", "d"]})


@pytest.mark.parametrize(
    ("patterns", "held"),
    [
        ({"incident": "c"}, "c"),
        ({"study": "accounting", "site": "s0"}, "ab"),  # a site, whatever the case of its letters
        ({"study": "accounting", "entity": "V0 at S0"}, "a"),  # a VO at a site
        ({"study": "accounting", "entity": "v0*"}, "ac"),  # a VO everywhere; d holds a finding of another study
        ({"entity": "v0*", "site": "S1"}, "c"),  # what moved away from a site
        ({"kind": "drop"}, "ab"),
        ({"site": "S2"}, "d"),
        ({"incident": "a", "site": "S1"}, ""),
        ({"incident": "nobody"}, ""),
    ],
)
def test_patterns_hold_for_incidents_all_of_whose_findings_match(patterns, held):
    silences = read_silences([{key: value for key, value in GOOD.items() if key != "site"} | patterns])
    shown, used = apply_silences(INCIDENTS, FINDINGS, silences, "2026-02-28")
    assert "".join(shown.incident[shown.silenced_as == "silenced"]) == held
    assert used.used.tolist() == [len(held)]
    late, _ = apply_silences(INCIDENTS, FINDINGS, silences, "2026-03-01")
    assert set(late.silenced_as) == {""}


def test_of_several_silences_the_first_counts_and_no_incident_is_no_obstacle():
    silences = read_silences([GOOD | {"site": "S1", "as": "acknowledged", "by": "x", "why": "y"}, GOOD | {"site": "S*"}])
    shown, used = apply_silences(INCIDENTS, FINDINGS, silences, "2026-02-01")
    assert shown.silenced_as.tolist() == ["silenced", "silenced", "acknowledged", "silenced"]
    assert shown.loc[2, ["silenced_by", "silenced_until", "silenced_why"]].tolist() == ["x", "2026-02-28", "y"]
    assert used.used.tolist() == [1, 4]
    none, used = apply_silences(INCIDENTS.head(0), FINDINGS.head(0), silences, "2026-02-01")
    assert (len(none), used.used.tolist()) == (0, [0, 0])


def test_an_entry_that_never_matched_is_named_with_its_reason():
    entries = read_silences([GOOD | {"site": "S1", "why": "y"}, GOOD | {"site": "S9", "by": "x", "why": "z"}])
    _, entries = apply_silences(INCIDENTS.head(0), FINDINGS.head(0), entries, "2026-02-01")
    idle = never_matched(entries, INCIDENTS, FINDINGS, "2026-02-01")
    assert idle.site.tolist() == ["S9"]
    assert reasons_of(idle) == "“z” of x"
    assert reasons_of(idle.head(0)) == "none"
    assert never_matched(entries.head(0), INCIDENTS, FINDINGS, "2026-02-01").empty


# ------------------------------------------------------------------------------------------------- silences of readers


def test_recorded_silences_come_back_the_last_one_first_until_their_day(tmp_path):
    path = tmp_path / "feedback/silences.yaml"
    assert read_recorded(path, "2026-02-01") == ([], [])
    for why in ("“#1”: {a}, [b] - 'c' \\ ü", "later"):
        assert record_silence(path, GOOD | {"why": why}).why == why
    recorded, wrong = read_recorded(path, "2026-02-28")
    assert ([one["why"] for one in recorded], wrong) == (["later", "“#1”: {a}, [b] - 'c' \\ ü"], [])
    assert len(read_silences(recorded)) == 2
    assert "“#1”" in path.read_text(encoding="utf-8"), "people read that file"
    assert read_recorded(path, "2026-03-01") == ([], [])
    record_silence(tmp_path / "new/feedback/silences.yaml", GOOD)
    assert [one["site"] for one in read_recorded(tmp_path / "new/feedback/silences.yaml", "2026-02-28")[0]] == ["T2-*"]


def test_a_file_that_somebody_edited_keeps_its_text(tmp_path):
    path = tmp_path / "silences.yaml"
    path.write_text("# by hand\n- site: A   # a comment\n  as: silenced\n  by: x\n  until: 2026-03-01\n  why: y")
    record_silence(path, GOOD)
    assert path.read_text().startswith("# by hand\n- site: A   # a comment\n  as: silenced")
    assert [one["by"] for one in read_recorded(path, "2026-02-01")[0]] == ["b", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {site: A", "silences.yaml is no YAML"),
        ("site: A", "silences.yaml is no list of entries"),
        ("[{site: A}]", "silences.yaml is no YAML"),
        ("  - {site: A}\n", "silences.yaml is no YAML"),
        (b"\xff", "silences.yaml is no YAML"),
    ],
)
def test_a_file_to_which_nothing_can_be_added_stays_as_it_is(tmp_path, text, words):
    path = tmp_path / "silences.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"^{words}") as error:
        record_silence(path, GOOD)
    assert str(error.value).endswith("; nothing was recorded")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} <= {".silences.yaml.lock", "silences.yaml"}


IN_LINES = "- site: T2-*\n  as: silenced\n  by: b\n  until: '2026-02-28'\n  why: w\n"


@pytest.mark.parametrize("text", ["- {site: A", "site: A\n", "# nothing\n", IN_LINES])
def test_nothing_is_lifted_from_a_file_that_has_no_line_of_it(tmp_path, text):
    path = tmp_path / "silences.yaml"
    path.write_text(text)
    assert lift_silence(path, GOOD) is False
    assert path.read_text() == text


def test_a_recorded_entry_that_is_wrong_is_named_by_its_place_and_what_it_says(tmp_path):
    path = tmp_path / "silences.yaml"
    path.write_text("- {site: A, as: silenced, by: x, until: 2026-03-01, why: y}\n- {site: A, as: silenced, by: x, until: '[0]', why: y}\n")
    recorded, wrong = read_recorded(path, "2026-02-01")
    assert [one["until"] for one in recorded] == ["2026-03-01"]
    assert wrong == ["A silence does not count: silences.yaml[1].until is '[0]': it must be a date such as 2026-03-31"]


def test_a_file_that_cannot_be_read_is_one_line_and_no_silence(tmp_path):
    path = tmp_path / "silences.yaml"
    path.write_text("- {site: A")
    recorded, [line] = read_recorded(path, "2026-02-01")
    assert recorded == []
    assert line.startswith("silences.yaml is no YAML: ")
    assert line.endswith("; no silence in silences.yaml counts")


@pytest.mark.parametrize("pattern", ["T2-*", "*", "biology at NORTH", "grid.example (a), b", "run 7, lumisections 1-5?", "[*]x"])
def test_what_is_written_for_an_alertmanager_is_read_back(pattern):
    for name in ("study", "entity"):
        if "[" not in pattern:  # a class of characters of a pattern comes back as none
            assert pattern_of(matchers_of({name: pattern})[1]) == pattern
    assert pattern_of({"name": "site", "value": pattern, "isRegex": False}) == pattern.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


@pytest.mark.parametrize(
    ("value", "is_regex", "pattern"),
    [
        ("T2-.*", True, "T2-*"),
        ("T2-[^,]*(,T2-[^,]*)*", True, "T2-*"),
        (r"(?i)grid\.example[^,]", True, "grid.example?"),
        ("T2-[^,]*(,T1-[^,]*)*", True, None),
        ("grid.example", True, None),
        ("A|B", True, None),
        (r"T\d", True, None),
        ("A,B", False, None),
        ("run 7, lumisections 1-51", False, "run 7, lumisections 1-51"),
    ],
)
def test_a_matcher_is_a_pattern_only_where_a_pattern_says_the_same(value, is_regex, pattern):
    assert pattern_of({"name": "entity", "value": value, "isRegex": is_regex}) == pattern
    assert pattern_of({"name": "incident", "value": "20260119-.*", "isRegex": True}) is None


def test_a_silence_is_on_the_disk_before_it_is_confirmed(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(Path(os.readlink(f"/proc/self/fd/{number}"))))
    record_silence(tmp_path / "silences.yaml", GOOD)
    [file, folder] = synced
    assert file.name.endswith("-silences.yaml"), "under its last name it is whole"
    assert folder == tmp_path


# ------------------------------------------------------------------------------------------------ an Alertmanager

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


class InMemory:
    """An Alertmanager: {id: its silence}; one with the comment `refused` is not taken."""

    def __init__(self, refused=""):
        self.made, self.refused = {}, refused

    def alerts(self):
        return []

    def silences(self):
        return list(self.made.values())

    def silence(self, silence):
        if silence["comment"] == self.refused:
            raise ConnectionError("http://127.0.0.1:9093 refuses POST silences: read only")
        number = f"n{len(self.made)}"
        self.made[number] = silence | {"id": number, "status": {"state": "active"}}
        return number

    def expire(self, number):
        self.made[number]["status"] = {"state": "expired"}


def recorded_in(root):
    """What for each entry that readers have recorded was said to be the reason."""
    return [one["why"] for one in read_recorded(root / SILENCES_FILE, "2026-02-01")[0]]


def test_the_silences_of_a_configuration_are_exchanged_as_yaml_reads_them(tmp_path):
    path, alertmanager = tmp_path / "site.yaml", InMemory()
    entry = "- {{site: {}, as: silenced, by: b, until: {}, why: {}}}"
    path.write_text("\n".join(["silences:", entry.format("T2-*", "2026-02-28", "w"), entry.format("T1-*", "9999-12-31", "for ever")]))
    configured = read_yaml(path)["silences"]
    lines = [f"silenced in the Alertmanager, as here: {why}" for why in ("w", "for ever")]
    assert exchange(alertmanager, tmp_path, configured, NOW) == lines
    assert alertmanager.made["n0"]["endsAt"] == "2026-03-01T00:00:00+00:00"
    assert exchange(alertmanager, tmp_path, configured, NOW) == []
    with pytest.raises(ValueError, match=r"^digest\.silences\[0\] needs as, by, until, why, and lacks "):
        exchange(alertmanager, tmp_path, [{}], NOW)


def test_a_silence_that_leaves_the_configuration_is_lifted_while_the_exporter_runs(tmp_path, monkeypatch):
    path, ended, alertmanager, looks = tmp_path / "site.yaml", threading.Event(), InMemory(), []

    def silences():
        looks.append(1)
        if len(looks) == 2:
            path.write_text("digest:\n")
        if len(looks) == 3:
            ended.set()
        return list(alertmanager.made.values())

    monkeypatch.setattr(alertmanager, "silences", silences)
    monkeypatch.setattr(export, "Alertmanager", lambda address: alertmanager)
    monkeypatch.setattr(export, "EXCHANGE_S", 0.0)
    path.write_text("digest: {silences: [{site: T2-*, as: silenced, by: b, until: 2999-12-31, why: w}]}")
    export.exchange_until(ended, "http://127.0.0.1:9093", tmp_path, path)
    assert [one["status"]["state"] for one in alertmanager.made.values()] == ["expired"]


def test_what_was_exchanged_before_an_error_is_exchanged_once(tmp_path):
    alertmanager = InMemory(refused="w")
    alertmanager.silence(silence_of(GOOD | {"incident": "20260119-0001", "why": "theirs"}, NOW))
    first = GOOD | {"site": "T1-*", "why": "first"}
    for _ in range(3):
        with pytest.raises(ConnectionError, match="read only"):
            exchange(alertmanager, tmp_path, [first, GOOD], NOW)
    assert recorded_in(tmp_path) == ["theirs"]
    assert [one["comment"] for one in alertmanager.silences()] == ["theirs", "first"]


def test_an_exchange_that_was_killed_before_it_was_noted_records_nothing_twice(tmp_path):
    alertmanager = InMemory()
    alertmanager.silence(silence_of(GOOD | {"incident": "20260119-0001", "why": "theirs"}, NOW))
    record_silence(tmp_path / SILENCES_FILE, GOOD | {"site": "T1-*", "why": "a reader's"})
    assert len(exchange(alertmanager, tmp_path, [GOOD], NOW)) == 3
    (tmp_path / PAIRS_FILE).unlink()
    assert exchange(alertmanager, tmp_path, [GOOD], NOW) == []
    assert sorted(recorded_in(tmp_path)) == ["a reader's", "theirs"]
    assert len(alertmanager.made) == 3
    assert exchange(alertmanager, tmp_path, [], NOW) == ["lifted in the Alertmanager: w"]


def test_nothing_is_lifted_there_because_of_a_file_that_cannot_be_read_here(tmp_path):
    alertmanager, path = InMemory(), tmp_path / SILENCES_FILE
    record_silence(path, GOOD)
    exchange(alertmanager, tmp_path, [], NOW)
    path.write_text(path.read_text() + "- {site: A")  # as somebody saves it who is not done
    with pytest.raises(ValueError, match=r"^silences\.yaml is no YAML: "):
        exchange(alertmanager, tmp_path, [], NOW)
    assert alertmanager.made["n0"]["status"] == {"state": "active"}


def test_an_alertmanager_that_has_lost_its_silences_gets_them_again(tmp_path):
    alertmanager = InMemory()
    record_silence(tmp_path / SILENCES_FILE, GOOD)
    exchange(alertmanager, tmp_path, [], NOW)
    alertmanager.made.clear()
    assert exchange(alertmanager, tmp_path, [], NOW) == ["silenced in the Alertmanager, as here: w"]
    assert recorded_in(tmp_path) == ["w"]
    alertmanager.silence(alertmanager.made["n0"])  # as by another Alertmanager of its cluster, which knows it still
    alertmanager.made["n1"]["status"] = {"state": "active"}
    assert exchange(alertmanager, tmp_path, [], NOW) == []
    alertmanager.expire("n1")
    assert exchange(alertmanager, tmp_path, [], NOW) == [], "the other one holds"
    alertmanager.expire("n0")
    assert exchange(alertmanager, tmp_path, [], NOW) == ["lifted here: w"]
    assert recorded_in(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "it answers without JSON"),
        (b'{"status": "success"}', "silences are no list"),
        (b"[5]", "silences are no list"),
        (b"", "silences are no list"),
    ],
)
def test_what_answers_in_the_place_of_an_alertmanager_is_one_line(monkeypatch, body, why):
    answer = requests.Response()
    answer.status_code, answer._content = 200, body
    monkeypatch.setattr(requests.Session, "request", lambda *what, **how: answer)
    with pytest.raises(ConnectionError, match=f"^http://h:9093 is no Alertmanager: {why}$"):
        Alertmanager("http://h:9093").silences()
