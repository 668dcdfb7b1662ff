"""What the digest is handed and what earlier nights knew, by hand: tables, statuses, verdicts, nights, names."""

import re

import numpy as np
import pandas as pd
import pytest
from incident_tables import DAY, data_of, executed, incident, published_finding, published_incident, write_incidents, write_run, write_study

from helpers import write_json
from nightshift import catalog
from nightshift.incidents import PART_OF
from nightshift.incidents.archive import (
    findings_without_news,
    known_nights,
    names_since,
    newest_of,
    read_night,
    read_published,
    watched_studies,
)
from nightshift.incidents.intake import (
    LONGEST,
    check_findings,
    gather_findings,
    judged_nothing,
    newest_rows,
    nights_of_tables,
    read_statuses,
    read_tables,
    read_verdicts,
    tables_of,
)
from nightshift.runs import HISTORY, MIME
from nightshift.schemas import FINDING, FINDING_MAY_HAVE


def told(n=1, **columns):
    """A table of `n` findings as a study writes it."""
    table = pd.DataFrame({name: ["x"] * n for name in FINDING})
    table = table.assign(start=pd.Timestamp("2026-01-30", tz="UTC"), end=pd.Timestamp("2026-01-31", tz="UTC"), score=1.0, p_value=0.5)
    return table.assign(observed=1.0, expected=1.0, impact=2.0, **columns)


# ------------------------------------------------------------------------------------------------------------- intake


@pytest.mark.parametrize(("column", "values"), [("p_value", [0.0, 1.0, 0.5]), ("impact", [0.0, 1e9, np.nan])])
def test_the_ends_of_what_a_number_may_be_are_right(column, values):
    assert check_findings(told(3).assign(**{column: values}), "x.parquet")[column].tolist() == pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize(("column", "value"), [("p_value", -0.001), ("p_value", 1.001), ("impact", -0.001), ("impact", np.inf)])
def test_the_first_number_that_cannot_be_is_named(column, value):
    with pytest.raises(ValueError, match=rf"^x.parquet: column '{column}' holds {value}; it must be"):
        check_findings(told(3).assign(**{column: [0.5, value, -7]}), "x.parquet")


def test_texts_are_one_line_numbers_are_floats_and_times_are_utc():
    checked = check_findings(told(2, entity=["a\nb", None], score=["1", "2"], start=["2026-01-30", "2026-01-31"], other=1), "x.parquet")
    assert checked.entity.tolist() == ["a b", ""]
    assert checked.score.tolist() == [1.0, 2.0]
    assert checked.start.dtype == "datetime64[us, UTC]"
    assert list(checked) == [*FINDING, *FINDING_MAY_HAVE]
    assert (checked.sites == "").all()
    assert len(check_findings(told(1, entity=["x" * (LONGEST + 5)]), "x.parquet").entity[0]) == LONGEST
    with pytest.raises(ValueError, match=r"^x.parquet: column 'score': .{150}$"):
        check_findings(told(1, score=["x" * 300]), "x.parquet")


def test_tables_of_a_study_are_its_own_and_those_of_its_extra_notebooks(tmp_path):
    for name in ("jobs", "jobs_gpus", "jobs_late", "jobs_night", "jobsother"):
        (tmp_path / f"{name}.parquet").touch()
    assert tables_of(tmp_path, "jobs", {"jobs": DAY, "jobs_night": DAY}, ["jobs_late"]) == ["jobs", "jobs_gpus"]
    assert tables_of(tmp_path, "jobs", {"jobs": DAY}, ["jobs"]) == ["jobs_gpus", "jobs_late", "jobs_night"]
    assert nights_of_tables(tmp_path, DAY) == {"jobs": DAY, "jobsother": DAY}


def test_a_damaged_table_costs_only_itself(tmp_path):
    told(2).to_parquet(tmp_path / "jobs.parquet")
    (tmp_path / "jobs_gpus.parquet").write_bytes(b"PAR1 no")
    tables, damaged = read_tables(tmp_path, {"jobs": DAY, "gone": "2026-01-30"}, [])
    assert [(len(one), *one.loc[0, ["table", "night", "kept"]]) for one in tables] == [(2, "jobs", DAY, False)]
    assert list(damaged) == ["jobs_gpus", "gone"]
    assert damaged["gone"] == "gone.parquet is not there"
    assert damaged["jobs_gpus"].count("jobs_gpus.parquet") == 1
    assert len(damaged["jobs_gpus"]) <= 250
    assert len(gather_findings(tables)) == 2
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "jobs_gpus.parquet")
    why = read_tables(tmp_path, {"jobs": DAY}, [])[1]["jobs_gpus"]
    assert (len(why), why.startswith("jobs_gpus.parquet has no column study, kind, entity")) == (200, True)
    nothing = gather_findings([tables[0].head(0)])
    assert (list(nothing)[-3:], len(nothing), nothing.start.dtype) == (["table", "night", "kept"], 0, "datetime64[us, UTC]")


def test_a_status_says_how_far_a_source_goes_and_a_damaged_one_costs_its_study(tmp_path):
    data_of(tmp_path, DAY, "jobs")
    data_of(tmp_path, DAY, "empty", state="empty", newest=None)
    (tmp_path / "data/raw/bad").mkdir()
    (tmp_path / "data/raw/bad/status.json").write_text("[]")
    write_json({}, tmp_path / "data/raw/odd/status.json")
    statuses, damaged = read_statuses(tmp_path / "data/raw", ["jobs", "empty", "bad", "odd", "none"])
    assert statuses["jobs"] == {"state": "ok", "newest": pd.Timestamp(f"{DAY} 23:00", tz="UTC"), "night": DAY}
    assert statuses["empty"] == {"state": "empty", "newest": None, "night": DAY}
    assert statuses["odd"] == {"state": "", "newest": None, "night": ""}
    assert set(statuses) == {"jobs", "empty", "odd"}
    assert set(damaged) == {"bad"}
    assert newest_rows(statuses) == {"jobs": pd.Timestamp(f"{DAY} 23:00", tz="UTC")}
    write_json({"newest": "x" * 200}, tmp_path / "data/raw/odd/status.json")
    assert re.fullmatch(r"its status.json cannot be read \(\w+: .{100}\)", read_statuses(tmp_path / "data/raw", ["odd"])[1]["odd"])


@pytest.mark.parametrize(
    ("n_findings", "lacking", "status", "verdict"),
    [
        ({"transfers": 2}, [], "ok", "anomalies 2"),
        ({"transfers": 0}, [], "ok", "ok"),
        ({"transfers": 2}, ["transfers_extra"], "ok", "failed"),
        ({}, ["transfers"], "ok", "failed"),
        ({"transfers": 0}, [], "empty", "empty"),
    ],
)
def test_finding_nothing_is_news_of_a_study_that_is_whole(tmp_path, n_findings, lacking, status, verdict):
    write_study(tmp_path, "transfers")
    data_of(tmp_path, DAY, "transfers", state=status)
    statuses, _ = read_statuses(tmp_path / "data/raw", ["transfers"])
    assert read_verdicts(tmp_path, DAY, n_findings, lacking, statuses) == {"transfers": verdict}


def test_what_another_study_lacks_is_its_own_trouble_and_what_a_study_recorded_of_itself_is_its_verdict(tmp_path):
    write_study(tmp_path, "transfers")
    statuses, _ = read_statuses(tmp_path / "data/raw", ["transfers"])
    assert read_verdicts(tmp_path, DAY, {"transfers": 2}, ["tickets"], statuses) == {"transfers": "anomalies 2", "tickets": "failed"}
    recorded = [("record()", {MIME: {"name": name, "value": value}}) for name, value in (("verdict", HISTORY), ("verdict_reason", "Two nights."))]
    executed(tmp_path / f"reports/{DAY}/transfers/3_train.ipynb", *recorded)
    assert read_verdicts(tmp_path, DAY, {"transfers": 0}, [], statuses) == {"transfers": HISTORY}


def test_a_study_that_judged_nothing_or_whose_data_end_before_the_night_gives_no_news(tmp_path):
    write_study(tmp_path, "transfers")
    pd.DataFrame({"score": []}).to_parquet(tmp_path / "data/scores/transfers.parquet")
    assert read_verdicts(tmp_path, DAY, {"transfers": 0}, [], {}) == {"transfers": "nothing judged"}
    data_of(tmp_path, "2026-01-30", "transfers")
    statuses, _ = read_statuses(tmp_path / "data/raw", ["transfers"])
    assert read_verdicts(tmp_path, DAY, {}, ["transfers"], statuses) == {"transfers": "stale"}


def test_scores_without_a_row_judged_nothing(tmp_path):
    for name, n in (("none", 0), ("one", 1)):
        pd.DataFrame({"score": [1.0] * n}).to_parquet(tmp_path / name)
    (tmp_path / "bad").write_bytes(b"x")
    assert [judged_nothing(tmp_path / name) for name in ("none", "one", "bad", "gone")] == [True, False, False, False]


# ------------------------------------------------------------------------------------------------------------ archive


@pytest.fixture
def nights(tmp_path):
    """The products of two nights: "goes on" is in both, "is back" in the first only; the folder of their incidents."""
    goes_on, is_back = incident("goes on", first_seen="2026-01-29"), incident("is back", first_seen="2026-01-29", studies=["telemetry"])
    write_incidents(tmp_path, [goes_on, is_back], "2026-01-29")
    write_incidents(tmp_path, [goes_on | {"state": "ongoing"}, incident("is new", day="2026-01-30")], "2026-01-30")
    for path in (tmp_path / "data/incidents").glob("*_findings.parquet"):
        table = pd.read_parquet(path)
        table.assign(table=table.study, night=path.name[:10], kept=False).to_parquet(path)
    return tmp_path / "data/incidents"


def test_nights_are_known_from_the_first_and_up_to_the_one_before(nights):
    assert known_nights(nights) == ["2026-01-29", "2026-01-30"]
    assert known_nights(nights, "2026-01-30") == ["2026-01-30"]
    assert known_nights(nights, before="2026-01-30") == ["2026-01-29"]
    write_run(nights.parents[1], day="2026-01-28")  # no digest ran
    write_run(nights.parents[1], day="2026-01-29")
    (nights / "2026-01-29.parquet").unlink()
    assert known_nights(nights) == ["2026-01-29", "2026-01-30"], "what was published counts"


def test_of_each_incident_the_newest_row_counts_with_its_findings(nights):
    pairs = [read_night(nights, night) for night in known_nights(nights)]
    newest, findings, every = newest_of(pairs)
    assert dict(zip(newest.title, newest["of"], strict=True)) == {"is back": "2026-01-29", "goes on": "2026-01-30", "is new": "2026-01-30"}
    assert dict(zip(newest.title, newest.state, strict=True))["goes on"] == "ongoing"
    assert dict(zip(findings.entity, findings.night, strict=True)) == {"is back": "2026-01-29", "goes on": "2026-01-30", "is new": "2026-01-30"}
    assert sorted(every.entity) == ["goes on", "is back", "is new"]
    assert isinstance(newest.studies[0], list)
    assert [len(one) for one in newest_of([])] == [0, 0, 0]


def night_of(of, **entities):
    """[incidents, findings] of a night with one finding, of that entity, in each incident."""
    incidents = pd.DataFrame({"incident": [*entities], "state": "ongoing", "of": of})
    return [incidents, pd.DataFrame({"incident": [*entities], "study": "transfers", "kind": "slow_link", "entity": [*entities.values()]})]


@pytest.mark.parametrize(
    ("nights", "of_their_nights", "every_one"),
    [
        ([{"a": "x"}, {"b": "y"}], [("a", "x"), ("b", "y")], [("a", "x"), ("b", "y")]),
        ([{"a": "x", "b": "y"}, {"a": "z"}], [("b", "y"), ("a", "z")], [("a", "x"), ("b", "y"), ("a", "z")]),
        ([{"a": "x"}, {"b": "x"}], [("a", "x"), ("b", "x")], [("b", "x")]),
        ([{"a": "x"}, {}], [("a", "x")], [("a", "x")]),
    ],
)
def test_findings_are_those_of_the_night_in_which_their_incident_was_last_seen_and_all_that_were_ever_found(nights, of_their_nights, every_one):
    newest, findings, every = newest_of([night_of(f"2026-01-{day}", **of) for day, of in enumerate(nights, 28)])
    assert [[*zip(table.incident, table.entity, strict=True)] for table in (findings, every)] == [of_their_nights, every_one]
    assert sorted(newest.incident) == sorted({name for of in nights for name in of})
    assert all(table.index.is_unique for table in (newest, findings, every)), "each row can be told from the others"


def test_what_went_on_stays_where_its_study_has_no_news(nights):
    newest, findings, _ = newest_of([read_night(nights, night) for night in known_nights(nights)])

    def kept(last_night, of_tonight, missing):
        return sorted(findings_without_news(newest, findings, last_night=last_night, nights=of_tonight, missing=missing).entity)

    assert kept("2026-01-30", {"telemetry": DAY}, ["transfers"]) == ["goes on", "is new"]
    assert kept("2026-01-29", {}, ["telemetry"]) == ["is back"]
    assert kept("2026-01-30", {"transfers": DAY}, []) == []
    ended = newest.assign(state=newest.state.where(newest.title != "is new", "closed"))
    assert findings_without_news(ended, findings, last_night="2026-01-30", nights={}, missing=["transfers"]).entity.tolist() == ["goes on"]
    page = findings.assign(table="transfers_page")
    stays = findings_without_news(newest, page, last_night="2026-01-30", nights={"transfers": DAY}, missing=["transfers_page"])
    assert (sorted(stays.entity), stays.kept.all(), "incident" in stays) == (["goes on", "is new"], True, False)
    assert kept("2026-01-30", {}, []) == [], "nobody waits for a study that is no longer asked"
    stays = findings_without_news(newest, page, last_night="2026-01-30", nights={}, missing=["transfers"])
    assert sorted(stays.entity) == ["goes on", "is new"], "the tables of its extra notebooks are missing with a study"


def test_a_night_that_runs_again_knows_what_it_and_later_ones_were_said_to_hold(nights):
    assert names_since(nights, "2026-01-31").empty
    later = names_since(nights, "2026-01-30")
    assert dict(zip(later.entity, later.first_seen, strict=True)) == {"goes on": "2026-01-29", "is new": "2026-01-30"}
    both = names_since(nights, "2026-01-29")
    assert (both.night.tolist(), both.index.is_unique) == (["2026-01-29"] * 2 + ["2026-01-30"] * 2, True)
    (nights / "2026-01-30.parquet").write_bytes(b"x")
    assert set(names_since(nights, "2026-01-29").night) == {"2026-01-29"}, "a night that nobody can read has no say"


@pytest.mark.parametrize(
    ("day", "watched"),
    [("2026-02-02", {"transfers"}), ("2026-02-03", set()), ("2026-01-30", {"transfers", "telemetry"}), ("2026-01-29", set())],
)
def test_a_study_is_watched_that_reported_at_most_three_nights_ago(nights, day, watched):
    assert watched_studies(nights, day) == watched


def test_of_a_night_without_its_list_of_studies_those_it_published_were_watched(nights):
    root = nights.parents[1]
    write_run(root, day="2026-01-30", studies=("transfers", "telemetry"))
    (nights / "2026-01-30.json").write_text("{")
    shown = read_json_of(root)
    assert watched_studies(nights, DAY) == set(shown["studies"]) - set(shown["digest"]["missing"])
    (root / "reports/2026-01-30/digest.json").unlink()
    assert watched_studies(nights, DAY) is None
    (nights / "2026-01-30.json").unlink()
    assert watched_studies(nights, DAY) is None, "its table says that there was a digest"


def test_a_night_that_lost_its_table_was_watched_by_the_studies_of_its_list(nights):
    (nights / "2026-01-30.parquet").unlink()
    assert watched_studies(nights, DAY) == {"transfers"}


def read_json_of(root):
    return pd.read_json(root / "reports/2026-01-30/digest.json", typ="series").to_dict()


def test_what_a_night_published_takes_the_place_of_its_tables(tmp_path):
    folder = tmp_path / "data/incidents"
    shown = {
        "incidents": [published_incident("20260130-aaaa", [published_finding(), published_finding(entity="n02")], impacts=[], kinds=["memleak"])]
    }
    write_json(shown, tmp_path / "reports/2026-01-30/digest.json")
    incidents, findings = read_published(folder, "2026-01-30")
    assert incidents.loc[0, ["incident", "of", "state", "scope"]].tolist() == ["20260130-aaaa", "2026-01-30", "new", "node"]
    assert incidents.start[0] == pd.Timestamp("2026-01-30T04:00Z")
    assert incidents.end.isna().all()
    assert findings[["entity", "incident", "night", "table", "kept"]].values.tolist() == [
        ["n01", "20260130-aaaa", "2026-01-30", "telemetry", False],
        ["n02", "20260130-aaaa", "2026-01-30", "telemetry", False],
    ]
    shown["incidents"][0]["findings"][1] |= {"study": "transfers", "kind": "slow_site"}
    write_json(shown, tmp_path / "reports/2026-01-30/digest.json")
    incidents, findings = read_published(folder, "2026-01-30")
    of_first = [catalog.kind_of("telemetry", "memleak").description, "node"]
    assert (incidents.loc[0, ["description", "scope"]].tolist(), findings.table.tolist()) == (of_first, ["telemetry", "transfers"])
    write_json({"incidents": [published_incident("20260130-aaaa", [])]}, tmp_path / "reports/2026-01-30/digest.json")
    assert read_published(folder, "2026-01-30") is None
    assert read_published(folder, "2026-01-29") is None


def test_what_became_part_of_another_incident_has_no_finding_and_hinders_nothing_of_what_its_night_published(tmp_path):
    more = {"impacts": [], "kinds": ["memleak"]}
    merged = published_incident("20260129-bbbb", [], "closed", change=f"{PART_OF}20260130-aaaa", **more)
    shown = {"incidents": [published_incident("20260130-aaaa", [published_finding()], **more), merged]}
    write_json(shown, tmp_path / "reports/2026-01-30/digest.json")
    incidents, findings = read_published(tmp_path / "data/incidents", "2026-01-30")
    assert incidents[["incident", "state", "scope"]].values.tolist() == [["20260130-aaaa", "new", "node"], ["20260129-bbbb", "closed", "other"]]
    assert findings.incident.tolist() == ["20260130-aaaa"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"start": ["2026-01-30"]}, "its column start holds no times in UTC"),
        ({"studies": ["transfers"]}, "its column studies holds no lists"),
        ({"state": None}, "it has no column state"),
    ],
)
def test_a_table_of_an_earlier_night_that_is_none_is_named(tmp_path, columns, words):
    write_incidents(tmp_path, [incident("one")])
    path = tmp_path / f"data/incidents/{DAY}.parquet"
    table = pd.read_parquet(path)
    pd.DataFrame(table.drop(columns=list(columns)) if None in columns.values() else table.assign(**columns)).to_parquet(path)
    with pytest.raises(ValueError, match=rf"^data/incidents/{DAY}.parquet cannot be read \({words}\)$"):
        read_night(path.parent, DAY)


def test_what_is_wrong_with_an_earlier_table_is_said_in_150_characters(tmp_path):
    write_incidents(tmp_path, [incident("one")])
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / f"data/incidents/{DAY}_findings.parquet")
    with pytest.raises(ValueError, match=rf"^data/incidents/{DAY}_findings.parquet cannot be read \(it has no column study, kind, .*\)$") as error:
        read_night(tmp_path / "data/incidents", DAY)
    assert len(str(error.value).partition(" (")[2]) == 150 + 1
