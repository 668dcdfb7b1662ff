"""The backtest: which nights are run, and the comparison with the truth on three nights made by hand, whose figures are worked out here."""

import html
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from conftest import REPOSITORY, refused, run_cells

import helpers
from nightshift.cli import app
from nightshift.products import read_json
from nightshift.truth import find_hits, trouble_kinds

NOTEBOOK = "backtest.ipynb"
DAYS = ["2026-01-05", "2026-01-06", "2026-01-07"]  # from a Monday on
COLUMNS = ["study", "kind", "entity", "site", "start", "end"]
TIMES = dict.fromkeys(["start", "end"], "datetime64[us, UTC]")
OUTAGE = ("site_outage", "2026-01-05 02:00", "2026-01-08 00:00", 10.0, "HARBOR-T2", "HARBOR-T2", "")
TRUTH = [
    OUTAGE,
    ("outage_tickets", "2026-01-05 05:00", "2026-01-08 00:00", 9.0, "cluster_down", "HARBOR-T2", "I01"),  # of the outage: no incident of its own
    ("failing_source", "2026-01-06 10:00", "2026-01-06 20:00", 1.0, "EMBER-T2_DATADISK", "EMBER-T2", ""),
    ("slow_link", "2026-01-06 10:00", "2026-01-06 20:00", 9.0, "FJORD-T2_DATADISK -> DELTA-T1_DATADISK", "DELTA-T1", ""),  # missed
    ("drop", "2026-01-06 01:00", "2026-01-20 00:00", 0.1, "quarry at DELTA-T1", "DELTA-T1", ""),  # its week is not complete
    ("idle_gpu", "2026-01-05 08:00", "2026-01-05 20:00", 1.0, "juniper-t2-g01 gpu 0", "JUNIPER-T2", ""),
    ("idle_gpu", "2026-01-05 12:00", "2026-01-06 12:00", 1.0, "juniper-t2-g01 gpu 1", "JUNIPER-T2", ""),  # overlaps that before it: one incident
    ("stuck_queue", "2026-01-04 01:00", "2026-01-05 12:00", 1.0, "fts-a.example", "", ""),  # began too early to be counted
    ("dead_sector", "2026-01-07 01:00", "2026-01-07 01:10", 2.0, "run 7: 3-9: Muon/eta", "", ""),
    ("memleak", "2026-01-07 03:00", "2026-01-07 03:10", 0.5, "isthmus-t2-n01", "ISTHMUS-T2", ""),
    ("growing_topic", "2025-12-10 00:00", "2026-01-09 00:00", 5.0, "python_env", "", ""),  # began too early to be counted
]
SLOW = ("transfers", "slow_source", "HARBOR-T2_DATADISK", "HARBOR-T2", "2026-01-05 03:00", "2026-01-05 23:00")
FALSE = ("accounting", "surge", "wetland at LAGOON-T2", "LAGOON-T2", "2025-12-29", "2026-01-05")
TOLD = {  # night: (incident, *finding)
    DAYS[0]: [
        ("outage", *SLOW),
        ("rise", *FALSE),
        ("queue", "transfers", "stuck_queue", "fts-a.example", "", "2026-01-04 02:00", "2026-01-05 10:00"),
        ("words", "tickets", "growing_topic", "t001: conda, pip, environment, wheels", "", "2025-12-15", "2026-01-06"),
    ],
    DAYS[1]: [
        ("outage", *SLOW[:-1], "2026-01-06 22:00"),
        ("outage", "tickets", "growing_topic", "t002: harbor, down, status, login", "HARBOR-T2", "2025-12-30", "2026-01-07"),
        ("rise", *FALSE),
        ("idle", "telemetry", "idle_gpu", "juniper-t2-g01 gpu 1", "JUNIPER-T2", "2026-01-05 12:00", "2026-01-06 12:00"),
    ],
    DAYS[2]: [
        ("failing", "transfers", "failing_source", "EMBER-T2_DATADISK", "EMBER-T2", "2026-01-06 11:00", "2026-01-06 19:00"),
        ("both", "certification", "bad_lumisections", "run 7, lumisections 3-9", "", "2026-01-07 01:00", "2026-01-07 01:10"),
        ("both", "telemetry", "memleak", "isthmus-t2-n01", "ISTHMUS-T2", "2026-01-07 03:01", "2026-01-07 03:09"),
        ("rise", *FALSE),
    ],
}
STUDIES = ["accounting", "certification", "telemetry", "tickets", "transfers"]


def write_truth(products, rows):
    table = pd.DataFrame(rows, columns=["kind", "start", "end", "strength", "entity", "site", "cause"])
    table.insert(0, "incident", [f"I{i:02d}" for i in range(1, len(table) + 1)])
    (products / "data/sample").mkdir(parents=True, exist_ok=True)
    table.to_csv(products / "data/sample/truth.csv", index=False)


def write_night(products, day, reported, missing=(), changes=None):
    """What the digest leaves of one night, as far as the backtest reads it."""
    findings = pd.DataFrame([row[1:] for row in reported], columns=COLUMNS).astype(TIMES | dict.fromkeys(COLUMNS[:4], "str"))
    findings = findings.assign(p_value=0.01, evidence="as seen", incident=pd.Series([row[0] for row in reported], dtype="str"))
    incidents = pd.DataFrame({"incident": findings.incident.drop_duplicates()}).assign(title=lambda table: "about " + table.incident)
    incidents["change"] = [(changes or {}).get(name, "") for name in incidents.incident]
    path = products / f"data/incidents/{day}.parquet"
    helpers.write_parquet(incidents, path)
    helpers.write_parquet(findings, path.with_name(f"{day}_findings.parquet"))
    studies = {study: day for study in STUDIES if study not in missing}
    helpers.write_json({"day": day, "studies": studies, "missing": list(missing)}, path.with_suffix(".json"))


def compare(products, reported=None, truth=TRUTH, missing=(), **parameters):
    """(names that the notebook leaves, its text, its figures as JSON) for nights that tell `told`."""
    write_truth(products, truth)
    for day, rows in (TOLD if reported is None else reported).items():
        write_night(products, day, rows, missing)
    names, text = run_cells(NOTEBOOK, products, **{"first": DAYS[0], "last": DAYS[-1], "resamples": 50} | parameters)
    return names, html.unescape(text), read_json(products / "data/backtest.json")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return compare(tmp_path_factory.mktemp("compared"))


def test_figures_are_those_worked_out_by_hand(compared):
    _, text, result = compared
    figures = {name: (figure["value"][0], figure["of"], figure["kept"]) for name, figure in result["figures"].items()}
    assert figures == {
        "precision": (pytest.approx(6 / 7, abs=1e-4), "6 of 7", "yes"),  # all but the rise
        "recall": (pytest.approx(5 / 6, abs=1e-4), "5 of 6", "yes"),  # outage, failing source, GPUs, sector, leak; not the link
        "delay": (0.5, "2 of 2 told", "yes"),  # the outage on its own night, the failing source one later
        "false": (pytest.approx(1 / 3, abs=1e-4), "1 in 3 nights", "no"),
        "merged": (1.0, "1 of 1", "yes"),
    }
    low, high = result["figures"]["precision"]["value"][1:]
    assert (low, high) == (pytest.approx(0.4869, abs=1e-4), pytest.approx(0.9743, abs=1e-4))  # Wilson: 6 of 7
    low, high = result["figures"]["false"]["value"][1:]
    assert (low, high) == (pytest.approx(0.0253 / 3, abs=1e-3), pytest.approx(5.5716 / 3, abs=1e-3))  # Garwood: 1 event
    assert "Missed: false." in text
    assert "2 known incidents that began before the first night, 1 that no study could have told of yet" in text
    assert "False by kind: surge 1. Missed by kind: slow link 1. Later than the bar: none. Mixed: 1." in text


def test_trivial_digests_are_measured_on_the_same_findings(compared):
    names, _, _ = compared
    ways = names["compared"].set_index("way")
    # alone: slow source, rise, queue, two topics, GPU, failing source, run, leak; by site: the slow source and the topic of its site are one
    assert list(ways.incidents) == [7, 9, 8]
    assert list(ways.right) == [6, 8, 7]
    assert list(ways.merged) == ["1 of 1", "0 of 1", "1 of 1"]
    assert list(ways.pieces) == [1, 2, 1]
    assert list(ways.mixed) == [1, 0, 0]  # the run and the leak


def test_an_outage_in_two_incidents_is_not_merged(tmp_path):
    reported = TOLD | {DAYS[1]: [("questions", *row[1:]) if row[2] == "growing_topic" else row for row in TOLD[DAYS[1]]]}
    _, text, result = compare(tmp_path, reported)
    assert (result["figures"]["merged"]["of"], result["figures"]["merged"]["kept"]) == ("0 of 1", "no")
    assert result["figures"]["precision"]["of"] == "7 of 8"
    assert "Missed: false, merged." in text


def test_what_became_part_of_an_incident_is_that_incident(tmp_path):
    last = [row for row in TOLD[DAYS[2]] if row[0] != "failing"]
    reported = TOLD | {DAYS[1]: [("questions", *row[1:]) if row[2] == "growing_topic" else row for row in TOLD[DAYS[1]]]}
    write_truth(tmp_path, TRUTH)
    for day, rows in (reported | {DAYS[2]: [*last, ("questions", *SLOW), ("failing", *TOLD[DAYS[2]][0][1:])]}).items():
        write_night(tmp_path, day, rows, changes={"questions": "now part of outage"} if day == DAYS[2] else None)
    run_cells(NOTEBOOK, tmp_path, first=DAYS[0], last=DAYS[-1], resamples=50)
    assert read_json(tmp_path / "data/backtest.json")["figures"]["merged"]["of"] == "1 of 1"


@pytest.mark.parametrize(
    ("finding", "right"),
    [
        (SLOW, 1),
        ((*SLOW[:4], "2026-01-02", "2026-01-04"), 0),  # before it
        ((*SLOW[:2], "EMBER-T2_DATADISK", "EMBER-T2", *SLOW[4:]), 0),  # elsewhere
        (("transfers", "slow_link", "HARBOR-T2_DATADISK -> EMBER-T2_DATADISK", "EMBER-T2", *SLOW[4:]), 1),  # from it
        (("accounting", "efficiency_drop", "quarry at HARBOR-T2", "HARBOR-T2", *SLOW[4:]), 0),  # an outage does not show so
        (("accounting", "silent", "quarry at HARBOR-T2", "HARBOR-T2", *SLOW[4:]), 1),
        (("transfers", "slow_source", "", "", *SLOW[4:]), 0),  # about nothing
    ],
)
def test_what_shows_an_outage(compared, finding, right):
    names, _, _ = compared
    outages = names["troubles"][names["troubles"].kind == "site_outage"]
    findings = pd.DataFrame([finding], columns=COLUMNS).astype(TIMES)
    assert find_hits(findings, outages, trouble_kinds(), intent_words=names["intent_words"]).sum() == right


def test_an_outage_that_was_never_told_is_endlessly_late(tmp_path):
    names, text, result = compare(tmp_path, {day: [] for day in DAYS}, [OUTAGE])
    assert names["figures"]["delay"][0] == float("inf")
    assert (result["figures"]["delay"]["value"][0], result["figures"]["delay"]["kept"]) == (None, "no")
    assert "Later than the bar: site outage 1." in text


def test_an_incident_counts_only_once_its_study_has_reported(tmp_path):
    tickets = [("department_surge", f"2025-12-{day} 12:00", "2026-02-01", 4.0, "biology", "", "") for day in (30, 31)]
    first = {"first": "2025-12-30"}
    reported = {str(day.date()): [] for day in pd.date_range("2025-12-30", DAYS[-1])}
    names, text, result = compare(tmp_path, reported, tickets, **first)  # after a week: nights of 6 and 7 January
    assert list(names["true_incidents"].counted) == [True, True]
    assert result["figures"]["recall"]["value"][0] == 0
    assert (result["figures"]["precision"]["kept"], result["figures"]["precision"]["value"]) == ("not measured", [None] * 3)
    assert "nothing to measure" in text
    names, _, result = compare(tmp_path, reported, tickets, missing=["tickets"], **first)
    assert list(names["true_incidents"].counted) == [False, False]
    assert result["failed"] == {"tickets": 9}


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path):
    compare(tmp_path)
    assert "2026-01-04.parquet does not exist: replay 1 of 4 nights first" in refused(compare, tmp_path, first="2026-01-04")
    assert refused(compare, tmp_path, first=DAYS[2], last=DAYS[0]) == f"the first night, {DAYS[2]}, comes after the last, {DAYS[0]}"
    assert "names a cause that is none of them" in refused(compare, tmp_path, truth=[(*OUTAGE[:-1], "I99")])
    pd.DataFrame({"kind": ["drop"]}).to_csv(tmp_path / "mine.csv", index=False)
    lacking = refused(lambda: run_cells(NOTEBOOK, tmp_path, first=DAYS[0], last=DAYS[-1], truth=str(tmp_path / "mine.csv")))
    assert "mine.csv has no column incident, start, end, strength, entity, site, cause" in lacking


# ------------------------------------------------------------------------------------------------------ the nights


def called(*options):
    """Exit code of `nightshift backtest` with these options, in this process."""
    with pytest.raises(SystemExit) as ended:
        app(["backtest", *map(str, options)], prog_name="nightshift")
    return ended.value.code


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["2026-01-05", "2026-01-02"], "FROM=2026-01-05 comes after TO=2026-01-02"),
        (["soon", "2026-01-02"], "FROM=soon is no night such as 2026-01-31"),
        (["2026-01-05", ""], "TO= is no night such as 2026-01-31"),
        (["2026-01-05", "2026-02-01"], "the sample has the nights from 2025-12-28 to 2026-01-31, and FROM=2026-01-05 TO=2026-02-01 ask for others"),
        (["2026-01-05", "2026-01-06", "--config", "tests/real.yaml"], "there is nothing to be scored against: no study reads the sample, and TRUTH"),
        (["2026-01-05", "2026-01-06", "--config", "none.yaml"], "there is no configuration none.yaml"),
        (["2026-01-05", "2026-01-06", "--config", "requirements.txt"], "requirements.txt cannot be read: "),
        (["2026-01-05", "2026-01-06", "--truth", "none.csv"], "there is no table of known incidents none.csv"),
    ],
)
def test_a_wrong_request_is_one_clear_line_before_anything_runs(options, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    code = called("--from", options[0], "--to", options[1], *options[2:], "--products", tmp_path / "replayed")
    printed = capsys.readouterr()
    assert code == 2
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith(f"nightshift: {line}")
    assert not (tmp_path / "replayed").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("simulate: {day: 2026-01-20}", "the sample has the nights from "),
        ("simulate: {day: soon}", "simulate.day is 'soon': it must be a date such as 2026-01-31"),
        ("studies: {transfers: 3}", "studies.transfers must be a mapping of steps, such as {}"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line_before_anything_runs(text, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "more.yaml").write_text(f"{text}\n")
    options = ["--config", "config.yaml", "--config", tmp_path / "more.yaml", "--products", tmp_path / "replayed"]
    assert called("--from", "2026-01-25", "--to", "2026-01-26", *options) == 2
    [printed] = capsys.readouterr().err.splitlines()
    assert printed.startswith(f"nightshift: {line}")
    assert not (tmp_path / "replayed").exists()


def test_make_hands_over_what_is_asked():
    make = ["make", "--no-print-directory", "backtest", f"ENV={sys.prefix}", "-o", f"{sys.prefix}/.installed", "FROM=2026-01-09", "TO=2026-01-08"]
    done = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("nightshift: FROM=2026-01-09 comes after TO=2026-01-08\n")


@pytest.fixture
def nights(monkeypatch, tmp_path):
    """The nights that were run, in order; the chain itself is replaced by what its digest leaves, but for nights in `cut`, which are killed."""
    ran = []

    def run_night(root, day, config, cores):
        if day in ran.cut:
            raise KeyboardInterrupt
        ran.append(day)
        write_night(root, day, TOLD[day])
        return 0, root / "chain.log"

    class Ran(list):
        cut = ()

    ran = Ran()
    write_truth(tmp_path, TRUTH)
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr("nightshift.backtest.run_night", run_night)
    monkeypatch.setattr("nightshift.backtest.failures", lambda root, day, studies: {"tickets": "4_analyse: it broke"} if day == DAYS[1] else {})
    return ran


def asked(products, first=DAYS[0], last=DAYS[2], config=()):
    return ["--from", first, "--to", last, "--products", products, *(option for path in ("config.yaml", *config) for option in ("--config", path))]


def test_a_backtest_goes_on_where_it_was_stopped_and_ends_with_its_page(nights, tmp_path, monkeypatch, capsys):
    nights.cut = [DAYS[1]]
    assert called(*asked(tmp_path)) == 130
    assert "stopped; the same command goes on with the night that was cut off" in capsys.readouterr().err
    nights.cut = []
    assert called(*asked(tmp_path)) == 0
    assert nights == DAYS
    printed = capsys.readouterr()
    assert "1 of 3 nights is complete" in printed.out
    assert "1 night left, about 0 min" in printed.out
    assert f"{DAYS[1]}: tickets failed in 4_analyse: it broke" in printed.err
    assert "incidents that are right: 0.86 (0.49 to 0.97), 6 of 7; bar 0.8: yes." in printed.out
    assert printed.out.endswith(f"Backtest: {tmp_path}/reports/backtest.html\n")
    page = (tmp_path / "reports/backtest.html").read_text()
    assert "3 nights, 2026-01-05 to 2026-01-07: precision 0.86" in BeautifulSoup(page, "html.parser").get_text()
    assert 'index.html"' not in page  # it belongs to no night, and none has pages
    write_truth(tmp_path, [(*OUTAGE[:-1], "I99")])
    assert called(*asked(tmp_path)) == 1
    line = "nightshift: the comparison failed: AssertionError: the table of known incidents names a cause that is none of them\n"
    assert capsys.readouterr().err == line
    assert "This notebook failed." in (tmp_path / "reports/backtest.html").read_text()


def test_a_backtest_that_is_asked_to_end_stops_what_it_runs(nights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nightshift.backtest.run_night", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert called(*asked(tmp_path)) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "nightshift: stopped; the same command goes on with the night that was cut off\n"


def test_nights_are_run_anew_when_those_before_them_or_the_settings_change(nights, tmp_path, monkeypatch):
    monkeypatch.setattr("nightshift.backtest.score", lambda root, *_: (["compared"], root))
    settings = tmp_path / "more.yaml"
    settings.write_text("alarm_rate: 0.01")
    assert called(*asked(tmp_path, first=DAYS[1])) == 0
    assert called(*asked(tmp_path)) == 0
    assert nights == [DAYS[1], DAYS[2], *DAYS]
    del nights[:]
    assert called(*asked(tmp_path, config=[settings])) == 0
    assert nights == DAYS
    del nights[:]
    assert called(*asked(tmp_path, last=DAYS[1], config=[settings])) == 0
    assert nights == []


def test_a_digest_that_fails_stops_the_replay_and_a_chain_that_cannot_begin_says_why(tmp_path, monkeypatch, capsys):
    write_truth(tmp_path, TRUTH)
    log = tmp_path / "chain.log"
    log.write_text("nightshift: unknown study 'x'\nmore\n")
    monkeypatch.chdir(REPOSITORY)
    for code, line in ((0, f"the digest of {DAYS[0]} failed, and later nights need it: {log}"), (2, "unknown study 'x'\n")):
        monkeypatch.setattr("nightshift.backtest.run_night", lambda *_, code=code: (code, log))
        assert called(*asked(tmp_path)) > 0
        assert capsys.readouterr().err.startswith(f"nightshift: {line}")
        assert not list(tmp_path.glob("reports/*/replayed.json"))
