"""The digest on findings made by hand: clear pages for every kind of night, tables that others read, errors in one line."""

import html
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, refused, run_cells
from incident_tables import write_run
from PIL import Image

from helpers import FINDING_COLUMNS, write_findings
from nightshift.catalog import STEPS, steps_of
from nightshift.incidents.archive import names_since, read_nights, watched_studies
from nightshift.incidents.figures import show_strip
from nightshift.incidents.intake import check_findings, read_verdicts
from nightshift.incidents.silences import record_silence
from nightshift.remediation.feedback import record_feedback
from nightshift.runs import VERSION
from nightshift.schemas import FOLLOWED

NOTEBOOK = "digest.ipynb"
STUDIES = ["accounting", "certification", "telemetry", "tickets", "transfers"]
QUICK = {"permutations": 3}  # of the measure of chance
HOSTILE = '<script>alert(1)</script> | [x](javascript:1) {x} $a_{ $$ \\ `"\n\r\x00\u202eBcc: all@x ' + "very long " * 40
REPORTED = ["incident", "state", "age_nights", "rank", "shown", "silenced_as", "silenced_by", "silenced_until", "silenced_why"]
REPORTED += ["severity", "priority", "site", "title"]
REPORTED += ["summary", "kinds", "studies", "start", "end", "ended", "first_seen", "p_value", "impact", "impacts", "figure", "change"]


def finding(study, kind, entity, site="", start="2026-01-30", end="2026-01-31 23:00", **more):
    start, end = (pd.Timestamp(time, tz="UTC") if time else pd.NaT for time in (start, end))
    shown = {"study": study, "kind": kind, "entity": entity, "site": site, "start": start, "end": end, "score": 1.0, "p_value": 1e-4, "observed": 9.0}
    return shown | {"expected": 1.0, "unit": "s", "evidence": "9 of 9", "figure": "", "impact": 5.0, "impact_unit": "GB delayed"} | more


DIP = finding("accounting", "global_dip", "A", "A", "2026-01-19", "2026-01-26", impact=5000.0, impact_unit="core hours")
DISK = finding("transfers", "failing_source", "A_DISK", "A", "2026-01-25")
LEAK = finding("telemetry", "memleak", "n1", "B", "2026-01-31 12:00", "2026-01-31 12:05", impact=1.0, impact_unit="nodes")
SURGE = finding("accounting", "surge", "vo at C", "C", "2026-01-19", "2026-01-26", impact=2000.0, impact_unit="core hours")


def night(products, *findings, day="2026-01-31", **parameters):
    """One night of the digest on these findings: (names of the notebook, what it shows as text)."""
    for study in STUDIES:
        rows = [f for f in findings if f["study"] == study]
        write_findings(rows, products / f"data/findings/{study}.parquet", study)
    names, page = run_cells(NOTEBOOK, products, day=day, **QUICK | parameters)
    return names, html.unescape(page)


def incidents(products, day="2026-01-31"):
    return pd.read_parquet(products / f"data/incidents/{day}.parquet")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A first night with four findings, one of them with a picture of its study, one with none where it says: products and page."""
    products = tmp_path_factory.mktemp("first")
    (products / "plots/transfers").mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(products / "plots/transfers/one.png")
    pictured = DISK | {"figure": "plots/transfers/one.png"}
    return products, *night(products, DIP, pictured, LEAK | {"figure": "plots/telemetry/none.png"}, SURGE, drawn=True)


def test_a_first_night_is_all_new_and_its_headline_is_the_most_pressing(first):
    products, names, page = first
    shown = incidents(products)
    assert list(shown.columns)[: len(REPORTED)] == REPORTED
    assert list(shown.title) == ["site trouble at A", "memory leak on n1", "surge of vo at C"]
    assert shown[["state", "age_nights", "silenced_as", "shown"]].drop_duplicates().values.tolist() == [["new", 1, "", True]]
    assert shown.studies[0].tolist() == ["accounting", "transfers"]
    assert shown.impact[0] == "5,000 core hours lost, 5 GB delayed"
    assert [dict(one) for one in shown.impacts[1]] == [{"study": "telemetry", "unit": "nodes", "value": 1.0}]
    assert (str(shown.start.dtype), shown.start[0]) == ("datetime64[us, UTC]", DIP["start"])
    assert shown.ended.tolist() == [False, True, False]
    began = "Site trouble at A since 2026-01-19 (new, open): most of its series fell together; "
    assert names["headline"].startswith(f"{began}2 findings of accounting and")
    assert "Incidents tonight: 3 new (1 of them ended)." in page
    assert "No earlier night is known" in page
    kept = json.loads((products / "data/incidents/2026-01-31.json").read_text())
    assert kept["counts"] == {"new": 2, "ended": 1, "escalated": 0, "ongoing": 0, "resolved": 0, "closed": 0, "unwatched": 0}
    assert (kept["nights"], kept["studies"], kept["missing"]) == (1, dict.fromkeys(STUDIES, "2026-01-31"), [])
    assert kept["unknown"] == {}
    rows = pd.read_parquet(products / "data/incidents/2026-01-31_findings.parquet")
    assert rows.groupby("incident").size().to_dict() == dict(zip(shown.incident, [2, 1, 1], strict=True))
    assert list(rows.columns)[: len(FINDING_COLUMNS) + 1] == [*FINDING_COLUMNS, "incident"]


def test_each_shown_incident_has_a_small_picture_and_proposals(first):
    products, names, page = first
    shown = incidents(products)
    for figure in shown.figure:
        assert figure.startswith("plots/digest/2026-01-31/")
        assert (products / figure).stat().st_size < 25_000
        assert Image.open(products / figure).width > 300
    assert list(names["pictured"]) == ["plots/transfers/one.png"]
    assert "No picture shows more than one incident." in page
    assert "Pictures that are not on this page: plots/telemetry/none.png." in page
    proposals = pd.read_parquet(products / "data/incidents/2026-01-31_proposals.parquet")
    assert set(proposals.incident) == set(shown.incident)
    assert proposals.groupby("incident")["rank"].min().eq(1).all()


def test_what_goes_on_beyond_those_shown_in_full_has_proposals_too_and_what_ended_has_none(tmp_path):
    ended = finding("transfers", "failing_source", "E_DISK", "E", "2026-01-20", "2026-01-21")
    night(tmp_path, DIP, DISK, SURGE, ended, max_incidents=1)
    shown = incidents(tmp_path).set_index("title")
    assert shown.shown.sum() == 1
    proposals = pd.read_parquet(tmp_path / "data/incidents/2026-01-31_proposals.parquet")
    assert set(proposals.incident) == set(shown.incident[shown.state == "new"])
    assert shown.incident["failing source E_DISK"] not in set(proposals.incident)


def test_the_same_night_again_says_the_same_and_the_next_one_knows_it(first):
    products, _, _ = first
    before = incidents(products)
    rows = [DIP, DISK | {"figure": "plots/transfers/one.png"}, LEAK | {"figure": "plots/telemetry/none.png"}, SURGE]
    night(products, *reversed(rows))
    pd.testing.assert_frame_equal(incidents(products), before)
    _, page = night(products, DIP, DISK | {"end": pd.Timestamp("2026-02-01 23:00", tz="UTC")}, LEAK, day="2026-02-01")
    shown = incidents(products, "2026-02-01").set_index("incident")
    assert shown.state[before.incident].tolist() == ["ongoing", "closed", "resolved"]
    assert shown.age_nights[before.incident].tolist() == [2, 1, 1]
    assert "Against 2026-01-31:" in page
    assert "<td>ongoing, night 2</td>" in page
    pd.testing.assert_frame_equal(incidents(products), before)  # an earlier night stays as it was
    assert all((products / figure).exists() for figure in before.figure)


def test_a_night_that_runs_again_keeps_its_names_and_touches_no_later_one(tmp_path):
    def rows(last):
        end = {"end": pd.Timestamp(f"2026-01-{last} 23:00", tz="UTC")}
        return [DISK | end, finding("transfers", "failing_source", "C_DISK", "C", f"2026-01-{last}", f"2026-01-{last} 23:00")]

    for last in (28, 29, 30):
        night(tmp_path, *rows(last), day=f"2026-01-{last}")
    files = {path: path.read_bytes() for path in (tmp_path / "data/incidents").iterdir()}
    second = incidents(tmp_path, "2026-01-29").set_index("title").incident
    assert second["failing source C_DISK"].startswith("20260128-")
    more = finding("transfers", "slow_source", "C_DISK", "C", "2026-01-20", "2026-01-20 23:00")  # the first of its night: another hash
    new = finding("transfers", "failing_source", "D_DISK", "D", "2026-01-29", "2026-01-29 23:00")
    night(tmp_path, *rows(29), more, new, day="2026-01-29")
    again = incidents(tmp_path, "2026-01-29").set_index("title").incident
    assert again[second.index].to_dict() == second.to_dict()
    assert again["failing source D_DISK"] not in set(second)
    assert all(path.read_bytes() == content for path, content in files.items() if path.name.startswith("2026-01-30"))


def test_what_had_ended_before_the_first_night_is_listed_apart_and_is_no_news(tmp_path):
    ended = finding("transfers", "failing_source", "E_DISK", "E", "2026-01-20", "2026-01-21")
    names, page = night(tmp_path, DISK, ended, day="2026-01-30")
    shown = incidents(tmp_path, "2026-01-30").set_index("title")
    assert shown.state.to_dict() == {"failing source A_DISK": "new", "failing source E_DISK": "closed"}
    assert names["counts"] == {"new": 1, "ended": 0, "escalated": 0, "ongoing": 0, "resolved": 0, "closed": 0, "unwatched": 1}
    assert "Incidents tonight: 1 new. 1 more ended before monitoring began." in names["headline"]
    assert "<summary>1 incident that ended before monitoring began</summary>" in page
    late = finding("transfers", "failing_source", "F_DISK", "F", "2026-01-29", "2026-01-29 05:00")
    night(tmp_path, DISK, ended, late)  # the night after: what a watched source tells late is news
    assert incidents(tmp_path).set_index("title").state.to_dict() == {
        "failing source A_DISK": "ongoing",
        "failing source E_DISK": "closed",
        "failing source F_DISK": "new",
    }


def test_the_evidence_chooses_what_is_proposed_and_says_why(tmp_path):
    sentence = "41 of 50 transfers failed where 2.1 are normal; most often “SOURCE [N] connection to HOST refused after N s”, 70% of it from B_DISK"
    _, page = night(tmp_path, DISK | {"evidence": sentence}, LEAK)
    shown = pd.read_parquet(tmp_path / "data/incidents/2026-01-31_proposals.parquet")
    assert list(shown.columns[:4]) == ["incident", "rank", "remediation", "proposal"]
    shown = shown[shown.incident == incidents(tmp_path).set_index("title").incident["failing source A_DISK"]]
    assert set(shown.remediation[:2]) == {"restart-doors", "ask-service"}
    assert "stage-first" not in set(shown.remediation)
    assert shown.reason.iloc[0] == "the evidence says “connection to HOST refused”"
    assert not shown.ranked.any()
    assert "To try, none tried yet; those with a reason come first:" in page
    assert "trials worked" not in page
    record_feedback(shown.incident.iloc[0], "ask-service", True, products=tmp_path)
    _, page = night(tmp_path, DISK | {"evidence": sentence}, LEAK)
    shown = pd.read_parquet(tmp_path / "data/incidents/2026-01-31_proposals.parquet").set_index("remediation")
    assert (shown["rank"]["ask-service"], shown.ranked["ask-service"]) == (1, True)
    assert page.count("To try, in this order:") == 1
    assert "1 of 1 trials worked" in page


def test_without_a_file_of_proposals_nothing_is_proposed(tmp_path):
    _, page = night(tmp_path, DISK, remediations="")
    assert len(pd.read_parquet(tmp_path / "data/incidents/2026-01-31_proposals.parquet")) == 0
    assert "No proposal for it is known" in page


def test_a_night_without_findings_is_a_clear_page(tmp_path):
    names, page = night(tmp_path)
    nothing = "Nothing to report: all 5 studies reported, and no incident is new or ongoing."
    assert f"**{nothing}**" in page
    assert "**Nothing to report on 2026-01-31.**" in page
    assert len(incidents(tmp_path)) == 0
    assert list(incidents(tmp_path).columns)[: len(REPORTED)] == REPORTED
    assert len(pd.read_parquet(tmp_path / "data/incidents/2026-01-31_proposals.parquet")) == 0
    assert names["headline"] == nothing
    night(tmp_path, DISK, day="2026-02-01")
    assert incidents(tmp_path, "2026-02-01").state.tolist() == ["new"]


def test_without_news_of_a_study_its_incidents_stay_and_the_page_says_so(tmp_path):
    night(tmp_path, DISK, LEAK)
    nights = {study: "2026-02-01" for study in STUDIES if study != "transfers"}
    _, page = night(tmp_path, DISK | {"entity": "not of tonight"}, day="2026-02-01", nights=nights, missing=["transfers"])
    shown = incidents(tmp_path, "2026-02-01")
    assert shown[["title", "state", "age_nights"]].values.tolist() == [["failing source A_DISK", "ongoing", 1]]
    assert "as it was, since there is no news of transfers" in page
    silent = "4 of 5 studies reported; nothing new is known of transfers (failed)."
    assert silent in page
    kept = json.loads((tmp_path / "data/incidents/2026-02-01.json").read_text())
    assert kept["headline"].endswith(silent)
    assert kept["unknown"] == {"transfers": "failed"}
    none = tmp_path / "none"
    names, page = night(none, nights={}, missing=STUDIES)
    assert names["headline"].startswith("0 of 5 studies reported; nothing new is known of accounting (failed), certification (")
    assert not re.search("nothing to report|no incident|incidents tonight: none", page.lower())


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


def of_others(path):
    pd.DataFrame({"incident": ["x"]}).to_parquet(path)


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """The archive of two nights, of which the second has an incident more."""
    products = tmp_path_factory.mktemp("two")
    night(products, DISK, day="2026-01-30")
    night(products, DISK, LEAK, day="2026-01-31")
    return products


@pytest.mark.parametrize(
    ("table", "damage", "why"),
    [
        ("2026-01-31.parquet", cut, "Parquet"),
        ("2026-01-31_findings.parquet", cut, "Parquet"),
        ("2026-01-31_findings.parquet", lambda path: path.unlink(), "it is missing"),
        ("2026-01-31.parquet", of_others, "it has no column state, age_nights,"),
        ("2026-01-31.parquet", lambda path: pd.read_parquet(path).assign(studies="x").to_parquet(path), "its column studies holds no lists"),
        ("2026-01-31_findings.parquet", lambda path: pd.read_parquet(path).assign(start="x").to_parquet(path), "its column start holds no times"),
    ],
)
def test_a_damaged_table_of_a_night_leaves_that_night_out_and_says_why(two_nights, tmp_path, table, damage, why):
    archive = shutil.copytree(two_nights / "data/incidents", tmp_path / "data/incidents")
    damage(archive / table)
    nights, [note] = read_nights(archive, "2026-01-01", "2026-02-01")
    assert list(nights) == ["2026-01-30"]
    assert note.startswith(f"The night 2026-01-31 is left out, since data/incidents/{table} cannot be read (")
    assert why in note
    assert str(tmp_path) not in note
    assert len(names_since(archive, "2026-01-31")) == 0


def remove(path):
    path.unlink()


def remove_all_of_that_night(path):
    for one in path.parent.glob("2026-01-31*"):
        one.unlink()


def rename_away(path):
    path.parent.rename(path.parent.with_name("lost"))


@pytest.mark.parametrize("damage", [cut, remove, remove_all_of_that_night, rename_away])
@pytest.mark.parametrize("table", ["2026-01-31.parquet", "2026-01-31_findings.parquet"])
def test_a_damaged_table_of_a_published_night_is_read_as_it_was_published(two_nights, tmp_path, table, damage):
    root = shutil.copytree(two_nights, tmp_path, dirs_exist_ok=True)
    write_run(root, day="2026-01-31", studies=STUDIES)
    archive = root / "data/incidents"
    incidents, findings = read_nights(archive, "2026-01-31", "2026-02-01")[0]["2026-01-31"]
    names, watched = names_since(archive, "2026-01-31"), watched_studies(archive, "2026-02-01")
    damage(archive / table)
    nights, [note] = read_nights(archive, "2026-01-31", "2026-02-01")
    unread = table if (archive / "2026-01-31.parquet").exists() or damage is remove else "2026-01-31.parquet"
    assert note.startswith(f"The night 2026-01-31 is read as it was published, since data/incidents/{unread} cannot be read (")
    assert note.endswith("): its incidents keep their names")
    assert watched_studies(archive, "2026-02-01") == watched
    of_names = ["incident", "first_seen", "study", "kind", "entity", "start"]
    by_name = [one.sort_values(of_names, ignore_index=True)[of_names] for one in (names_since(archive, "2026-01-31"), names)]
    pd.testing.assert_frame_equal(*by_name, check_dtype=False)
    columns = [*FOLLOWED, "of", "site", "title", "scope", "benign", "description"]
    by_name = [table.sort_values("incident", ignore_index=True)[columns] for table in (nights["2026-01-31"][0], incidents)]
    pd.testing.assert_frame_equal(*by_name, check_dtype=False)
    of_findings = ["incident", "study", "kind", "entity", "site", "start", "end", "impact", "impact_unit", "night", "kept", "table"]
    by_name = [table.sort_values(of_findings[:4], ignore_index=True)[of_findings] for table in (nights["2026-01-31"][1], findings)]
    pd.testing.assert_frame_equal(*by_name, check_dtype=False)


def test_studies_are_watched_that_reported_on_the_last_night_unless_it_is_long_ago(two_nights, tmp_path):
    archive = shutil.copytree(two_nights / "data/incidents", tmp_path / "incidents")
    assert watched_studies(archive, "2026-01-30") == set()  # the first night
    assert watched_studies(archive, "2026-02-01") == watched_studies(archive, "2026-02-03") == set(STUDIES)  # over a week-end
    assert watched_studies(archive, "2026-02-04") == set()
    about = json.loads((archive / "2026-01-31.json").read_text())
    (archive / "2026-01-31.json").write_text(json.dumps(about | {"studies": {"transfers": "2026-01-31"}}))
    assert watched_studies(archive, "2026-02-01") == {"transfers"}  # the others return after a night without them
    cut(archive / "2026-01-31.json")
    (archive / "2026-01-31.json").write_text("{")
    assert watched_studies(archive, "2026-02-01") is None  # nobody knows, so all is news


def test_a_night_without_a_table_whose_digest_failed_is_no_night(two_nights, tmp_path):
    root = shutil.copytree(two_nights, tmp_path, dirs_exist_ok=True)
    write_run(root, day="2026-01-31", studies=STUDIES)
    archive, path = root / "data/incidents", root / "reports/2026-01-31/digest.json"
    remove_all_of_that_night(archive / "2026-01-31.parquet")
    shown = json.loads(path.read_text())
    for digest in ({"outcome": "failed", "missing": []}, {"outcome": "not run", "missing": []}, None):
        path.write_text(json.dumps(shown | {"digest": digest, "incidents": []}))
        nights, notes = read_nights(archive, "2026-01-01", "2026-02-01")
        assert (list(nights), notes) == (["2026-01-30"], [])
        assert len(names_since(archive, "2026-01-31")) == 0
        assert watched_studies(archive, "2026-02-02") == set(STUDIES)  # of the night before, which is near enough
    path.write_text("{")
    assert list(read_nights(archive, "2026-01-01", "2026-02-01")[0]) == ["2026-01-30"]


def test_an_earlier_night_with_a_damaged_table_is_left_out_and_noted(two_nights, tmp_path):
    shutil.copytree(two_nights / "data/incidents", tmp_path / "data/incidents")
    cut(tmp_path / "data/incidents/2026-01-31.parquet")
    later = {"end": pd.Timestamp("2026-02-01 23:00", tz="UTC")}
    names, page = night(tmp_path, DISK | later, LEAK | later, day="2026-02-01")
    shown = incidents(tmp_path, "2026-02-01").set_index("title")
    assert shown[["state", "first_seen"]].T.to_dict("list") == {
        "failing source A_DISK": ["ongoing", "2026-01-30"],  # known from the night before
        "memory leak on n1": ["new", "2026-02-01"],  # begins anew
    }
    kept = json.loads((tmp_path / "data/incidents/2026-02-01.json").read_text())
    assert names["RECORDED"]["warnings"] == names["notes"] == kept["notes"]
    assert "its incidents are known from the other nights, or begin anew" in page
    assert kept["nights"] == 2


def test_a_sentence_says_what_has_ended_when_it_was_last_seen_and_no_p_value_of_nothing(tmp_path):
    old = DISK | {"start": pd.Timestamp("2026-01-12", tz="UTC"), "p_value": 6e-152}
    night(tmp_path, LEAK, old | {"impact": 5.0}, DIP, day="2026-01-30")
    _, page = night(tmp_path, LEAK, DIP | {"site": "D", "entity": "D"}, old | {"impact": 50.0})
    says = incidents(tmp_path).set_index("title").summary
    leak = "Memory leak on n1 seen from 2026-01-31 12:00 to 12:05 UTC (resolved, seen in 1 night): “"
    assert says["memory leak on n1"].startswith(leak)
    [at_d] = [text for title, text in says.items() if title.endswith("D")]
    assert " since 2026-01-19, seen to 2026-01-25, the last day that is judged (new, open): " in at_d
    grown = says["failing source A_DISK"]
    assert "p-value below 1e-12; 50 GB delayed" in grown
    assert "since 2026-01-12 (escalated, night 2)" in grown
    assert "10.0 times as many" not in grown  # the change has a column of its own
    assert "10.0 times as many" in page


def test_a_picture_of_several_incidents_comes_once_below_them_with_their_numbers(tmp_path):
    (tmp_path / "plots/transfers").mkdir(parents=True)
    for name in ("own", "shared"):
        Image.new("RGB", (40, 30), "red").save(tmp_path / f"plots/transfers/{name}.png")
    shared, own = {"figure": "plots/transfers/shared.png"}, {"figure": "plots/transfers/own.png"}
    some = [finding("transfers", "failing_source", f"S{i}_DISK", f"S{i}", p_value=10.0**-i, **shared) for i in range(1, 5)]
    names, page = night(tmp_path, *some, DISK | own | {"p_value": 1e-9}, max_incidents=3)
    assert list(incidents(tmp_path).title[:3]) == ["failing source A_DISK", "failing source S4_DISK", "failing source S3_DISK"]
    assert page.count("**Incidents 2 and 3, and 2 that are not shown in full**, by transfers:") == 1
    assert list(names["pictured"]) == [
        "plots/transfers/own.png",
        "plots/transfers/shared.png",
    ]  # own ones come first
    assert "Pictures that are not on this page" not in page


def test_labels_of_a_strip_stay_inside_and_its_quiet_end_is_told(tmp_path, monkeypatch):
    old = [finding("transfers", "failing_source", f"A_DISK: {i}", "A", "2026-01-01", f"2026-01-2{i}", unit="W" * 30) for i in range(9)]
    names, _ = night(tmp_path, DISK, *old)
    taken, path = [], tmp_path / incidents(tmp_path).figure[0]
    monkeypatch.setattr("nightshift.incidents.figures.show_figure", lambda ax, *more: taken.append(ax))
    row = next(names["shown"].itertuples())
    tonight = names["tonight"]
    for findings in (tonight, tonight[tonight.end < pd.Timestamp("2026-01-28", tz="UTC")]):
        show_strip(row, findings, day="2026-01-31", path=path)
    for ax, words in zip(taken, ["3 more, not drawn; tonight", "1 more, not drawn; 4 days later: tonight"], strict=True):
        frame = ax.get_window_extent()
        labels = [(text.get_text(), text.get_window_extent()) for text in ax.texts]
        assert len(labels) == 8
        assert labels[-1][0] == words
        for text, box in labels:
            assert box.x0 >= frame.x0 - 1, text
            assert box.x1 <= frame.x1 + 1, text
        assert all(text.startswith("transfers, failing source") and "W" not in text for text, _ in labels[:-1])  # no room for the unit, no number
    two = tonight.head(2).assign(name=["EMBER-T2_DATADISK -> HARBOR-T2_DATADISK", "EMBER-T2_DATADISK -> CINDER-T2_DATADISK"])
    show_strip(row, two, day="2026-01-31", path=path)  # what would say the same is told by its name
    assert {text.get_text() for text in taken[-1].texts[:2]} == set(two.name)
    picture = Image.open(path)
    assert picture.width <= 640  # 5.2 inches, a margin, and half a date: on a phone its letters keep their size


def test_many_findings_get_fewer_drawings_of_chance_and_very_many_none(tmp_path):
    dips = [DIP | {"site": f"S{i}", "entity": f"S{i}"} for i in range(5)]
    disks = [DISK | {"site": f"S{i}", "entity": f"S{i}_DISK"} for i in range(5)]
    _, page = night(tmp_path, *dips, *disks, permutations=200, pairs_drawn=2500)
    assert re.search(r"Studies meet 5 times at a site; .* of 25 drawings", page)
    _, page = night(tmp_path, *dips, *disks, permutations=200, pairs_drawn=1999)
    assert "What chance would give is left out: 10 findings at sites leave 19 drawings of 200, too few to tell." in page
    _, page = night(tmp_path, *dips, *disks, permutations=0)
    assert "leave 0 drawings of 0" in page


def test_the_table_of_tonight_is_what_the_cell_with_the_answer_shows():
    cells = json.loads((REPOSITORY / "notebooks" / NOTEBOOK).read_text())["cells"]
    (answer,) = ["".join(cell["source"]) for cell in cells if "answer" in cell["metadata"].get("tags", [])]
    assert "show_table(listed(shown))" in answer
    assert "Nothing to report on" in answer


def test_a_kind_that_nobody_knows_and_findings_without_times_are_reported_all_the_same(tmp_path):
    strange = finding("telemetry", "gremlins", "X", "A", "", "", p_value=0.0, impact=np.nan)  # a label of its source
    _, page = night(tmp_path, strange, DISK)
    shown = incidents(tmp_path).set_index("title")
    assert set(shown.index) == {"failing source A_DISK", "gremlins: X"}
    assert pd.isna(shown.start["gremlins: X"])
    assert not shown.ended["gremlins: X"]
    assert "Gremlins: X at times that the source does not know (new, open): gremlins;" in page
    assert "No proposal for it is known" in page
    assert incidents(tmp_path).state.tolist() == ["new", "new"]
    night(tmp_path, strange, day="2026-02-01")
    assert incidents(tmp_path, "2026-02-01").set_index("title").state.to_dict() == {"gremlins: X": "ongoing", "failing source A_DISK": "resolved"}


def test_hostile_names_stay_text(tmp_path):
    names, page = run_hostile(tmp_path)
    assert "<script" not in page
    assert "[x]" not in re.sub("<(table|article).*?</\\1>", "", page, flags=re.S)  # these are HTML, in which brackets mean nothing
    shown = incidents(tmp_path)
    assert not shown.summary.str.contains("[\n\r\x00]").any()
    assert "<script>" in shown.summary[0]  # raw in the table: who shows it escapes it
    assert "\n" not in names["headline"]


def run_hostile(products):
    for study in STUDIES:
        rows = [finding("transfers", "failing_source", HOSTILE, HOSTILE, evidence=HOSTILE, unit=HOSTILE)] * (study == "transfers")
        write_findings(rows, products / f"data/findings/{study}.parquet", study)
    silences = [{"kind": "nothing", "as": "silenced", "by": HOSTILE, "until": "2026-02-01", "why": HOSTILE}]
    return run_cells(NOTEBOOK, products, silences=silences, **QUICK)


def test_of_many_incidents_the_first_are_shown_and_the_rest_counted(tmp_path):
    many = [finding("transfers", "failing_source", f"S{i}_DISK", f"S{i}", p_value=10.0 ** -(i % 7 + 1), figure=f"plots/{i}.png") for i in range(80)]
    _, page = night(tmp_path, *many, max_incidents=10)
    shown = incidents(tmp_path)
    assert (len(shown), int(shown.shown.sum())) == (80, 10)
    assert shown.incident.is_unique
    assert len(list((tmp_path / "plots/digest/2026-01-31").glob("20260131-*.png"))) == 10
    assert (shown.figure != "").tolist() == shown.shown.tolist()
    assert "Further incidents: 70, " in page
    assert "<summary>70 further incidents</summary>" in page


def test_silences_fold_incidents_and_say_when_they_have_expired(tmp_path):
    silences = [
        {"kind": "memleak", "as": "silenced", "by": "b. & co", "until": "2026-02-01", "why": "burn-in"},
        {"site": "C", "as": "acknowledged", "by": "night shift", "until": "2026-01-31", "why": "wished for"},
        {"entity": "A*", "as": "silenced", "by": "x", "until": "2026-01-30", "why": "moved house"},
        {"entity": "nowhere", "as": "silenced", "by": "y", "until": "2026-02-28", "why": "not there"},
    ]
    names, page = night(tmp_path, DISK, LEAK, SURGE, silences=silences)
    shown = incidents(tmp_path).set_index("title")
    assert shown.silenced_as.to_dict() == {"failing source A_DISK": "", "memory leak on n1": "silenced", "surge of vo at C": "acknowledged"}
    assert shown.loc["memory leak on n1", ["silenced_by", "silenced_until", "silenced_why"]].tolist() == ["b. & co", "2026-02-01", "burn-in"]
    assert shown.shown.tolist() == [True, False, False]
    assert "<summary>2 silenced or acknowledged incidents</summary>" in page
    assert "Entries that have expired: “moved house” of x. Entries that match nothing tonight: “not there” of y." in page
    [warning] = names["RECORDED"]["warnings"]
    assert warning.startswith("The silence “not there” of y matches nothing of tonight or of the 30 nights before")
    assert names["counts"]["new"] == 1


def test_silences_of_readers_count_after_those_of_the_configuration_and_a_wrong_one_is_a_warning(tmp_path):
    path = tmp_path / "feedback/silences.yaml"
    entry = {"as": "silenced", "by": "a reader", "until": "2026-02-14"}
    for kind, why in (("memleak", "burn-in"), ("surge", "first"), ("surge", "corrected")):
        record_silence(path, entry | {"kind": kind, "why": why})
    record_silence(path, entry | {"kind": "memleak", "until": "2026-01-30", "why": "long over"})
    path.write_text(path.read_text() + "- {kind: drop, as: hidden, by: b, until: 2026-02-14, why: w}\n")
    names, page = night(tmp_path, DISK, LEAK, SURGE, silences=[entry | {"kind": "memleak", "by": "the operator", "why": "planned"}])
    shown = incidents(tmp_path).set_index("title")
    assert shown.silenced_why.to_dict() == {"failing source A_DISK": "", "memory leak on n1": "planned", "surge of vo at C": "corrected"}
    assert names["RECORDED"]["warnings"] == ["A silence does not count: silences.yaml[4].as is 'hidden': it must be silenced or acknowledged"]
    assert "<summary>2 silenced or acknowledged incidents</summary>" in page


@pytest.mark.parametrize(
    ("silence", "words"),
    [
        ({"kind": "memleak"}, "silences[0] needs as, by, until, why, and lacks as, by, until, why"),
        ({"as": "silenced", "by": "b", "until": "2026-02-01", "why": "w"}, "needs an incident or patterns"),
        ({"kind": "x", "as": "hidden", "by": "b", "until": "2026-02-01", "why": "w"}, "silences[0].as is 'hidden': it must be silenced"),
        ({"kind": "x", "as": "silenced", "by": "b", "until": "soon", "why": "w"}, "silences[0].until is 'soon': it must be a date"),
        ("all", "needs an incident or patterns"),
    ],
)
def test_a_silence_that_nobody_understands_is_one_clear_line(tmp_path, silence, words):
    assert words in refused(run_cells, NOTEBOOK, tmp_path, silences=[silence])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns=["p_value", "impact"]), "transfers.parquet has no column p_value, impact; a table of findings has study,"),
        (lambda table: pd.DataFrame(), "transfers.parquet has no column study, kind,"),
        (lambda table: table.assign(p_value=2.0), "transfers.parquet: column 'p_value' holds 2.0; it must be a probability"),
        (lambda table: table.assign(p_value=np.nan), "transfers.parquet: column 'p_value' holds nan; it must be a probability"),
        (lambda table: table.assign(impact=-1.0), "transfers.parquet: column 'impact' holds -1.0; it must be 0 or more, or missing"),
        (lambda table: table.assign(impact=np.inf), "transfers.parquet: column 'impact' holds inf; it must be 0 or more, or missing"),
        (lambda table: table.assign(start="yesterday"), "transfers.parquet: column 'start':"),
        (lambda table: table.assign(score="high"), "transfers.parquet: column 'score':"),
    ],
)
def test_a_table_that_is_no_table_of_findings_is_one_clear_line(change, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        check_findings(change(pd.DataFrame([DISK])), "transfers.parquet")
    assert len(str(error.value).splitlines()) == 1


def test_an_empty_table_of_any_types_has_no_finding_and_text_from_outside_is_one_clean_line():
    empty = check_findings(pd.DataFrame(columns=FINDING_COLUMNS, dtype=object), "x.parquet")
    assert len(empty) == 0
    assert str(empty.start.dtype) == "datetime64[us, UTC]"
    clean = check_findings(pd.DataFrame([DISK | {"entity": "a\n\u202eb\x07\t{x} $y$", "site": None}]), "x.parquet")
    assert clean.loc[0, ["entity", "site"]].tolist() == ["a b {x} $y$", ""]


def test_one_study_does_not_stop_the_others(tmp_path):
    """A table cut off, one without columns, one that is not there, a damaged status.json: all of it is named, and the rest is reported."""
    night(tmp_path, DISK, LEAK, day="2026-01-30")
    later = {"start": pd.Timestamp("2026-01-31", tz="UTC"), "end": pd.Timestamp("2026-01-31 23:00", tz="UTC")}
    for study, rows in (("telemetry", [LEAK | later]), ("transfers", [DISK]), ("tickets", [])):
        write_findings(rows, tmp_path / f"data/findings/{study}.parquet", study)
    cut(tmp_path / "data/findings/transfers.parquet")
    pd.DataFrame().to_parquet(tmp_path / "data/findings/accounting.parquet")
    (tmp_path / "data/findings/certification.parquet").unlink()
    for study, status in (("telemetry", "{"), ("tickets", '{"newest": "soon"}')):
        (tmp_path / "data/raw" / study).mkdir(parents=True)
        (tmp_path / "data/raw" / study / "status.json").write_text(status)
    names, page = run_cells(NOTEBOOK, tmp_path, day="2026-01-31", nights=dict.fromkeys(STUDIES, "2026-01-31"), **QUICK)
    shown = incidents(tmp_path).set_index("title")
    assert shown.state.to_dict() == {"memory leak on n1": "ongoing", "failing source A_DISK": "ongoing"}
    kept = json.loads((tmp_path / "data/incidents/2026-01-31.json").read_text())
    assert sorted(kept["missing"]) == ["accounting", "certification", "transfers"]
    assert kept["studies"] == {"telemetry": "2026-01-31", "tickets": "2026-01-31"}
    assert list(kept["unknown"]) == STUDIES
    assert kept["unknown"]["certification"] == "failed"
    assert len(names["RECORDED"]["warnings"]) == 5
    assert "Findings are left out, as of a study that failed: certification.parquet is not there" in names["RECORDED"]["warnings"]
    assert any("accounting.parquet has no column" in warning for warning in names["RECORDED"]["warnings"])
    assert all(study in " ".join(names["RECORDED"]["warnings"]) for study in STUDIES)
    sentence = (
        "0 of 5 studies reported; nothing new is known of accounting (failed), certification (failed), telemetry (failed), tickets (failed) and"
    )
    assert f"{sentence} transfers (failed)." in html.unescape(page)


@pytest.mark.parametrize(
    ("status", "verdict", "says"),
    [
        ("stale", "ok", "nothing new is known of telemetry (stale)"),
        ("empty", "ok", "nothing new is known of telemetry (empty)"),
        ("ok", "too little history", "nothing new is known of telemetry (too little history)"),
        ("ok", "ok", ""),
    ],
)
def test_a_night_without_findings_reassures_only_where_every_study_could_find_something(tmp_path, status, verdict, says):
    (tmp_path / "data/raw/telemetry").mkdir(parents=True)
    (tmp_path / "data/raw/telemetry/status.json").write_text(json.dumps({"state": status, "newest": "2026-01-31T23:50:00+00:00"}))
    (tmp_path / "reports/2026-01-31/telemetry").mkdir(parents=True)
    record = {"version": VERSION, "outcome": "ok", "values": {"verdict": verdict}}
    (tmp_path / "reports/2026-01-31/telemetry/4_analyse.json").write_text(json.dumps(record))
    names, page = night(tmp_path)
    nothing = "Nothing to report: all 5 studies reported, and no incident is new or ongoing."
    assert names["headline"] == (f"4 of 5 studies reported; {says}." if says else nothing)
    assert ("nothing to report" in page.lower()) == (says == "")
    assert ("no incident" in page.lower()) == (says == "")


def test_a_verdict_is_that_of_the_front_page(tmp_path):
    """What is found with too little history, a further page that failed, data of another night, an empty source, nothing at all."""
    ended = {"version": VERSION, "outcome": "ok", "values": {}}
    for study, steps in {"telemetry": STEPS, "certification": steps_of("certification"), "transfers": STEPS}.items():
        (tmp_path / "reports/2026-01-31" / study).mkdir(parents=True)
        for step in steps:
            record = ended | {"values": {"verdict": "too little history"} if (study, step) == ("transfers", "4_analyse") else {}}
            (tmp_path / f"reports/2026-01-31/{study}/{step}.json").write_text(json.dumps(record))
    statuses = {"certification": {"state": "ok", "night": "2026-01-30"}, "accounting": {"state": "empty", "night": "2026-01-31"}}
    lacking = ["telemetry_gpus", "certification", "accounting", "tickets"]
    assert read_verdicts(tmp_path, "2026-01-31", {"transfers": 7, "telemetry": 2}, lacking, statuses) == {
        "transfers": "anomalies 7, too little history",
        "telemetry": "failed",
        "certification": "stale",
        "accounting": "empty",
        "tickets": "failed",
    }


def test_tables_of_further_pages_are_read_and_missed_by_name(tmp_path):
    gpus = pd.DataFrame([finding("telemetry", "idle_gpu", f"b-g1 gpu {i}", "B") for i in range(3)])
    write_findings(gpus, tmp_path / "data/findings/telemetry_gpus.parquet", "telemetry")
    night(tmp_path, LEAK)
    assert set(incidents(tmp_path).title) == {"idle GPUs at B", "memory leak on n1"}
    nights = dict.fromkeys(STUDIES, "2026-02-01")
    night(tmp_path, LEAK, day="2026-02-01", nights=nights, missing=["telemetry_gpus"])
    shown = incidents(tmp_path, "2026-02-01").set_index("title")
    assert shown.state.to_dict() == {"idle GPUs at B": "ongoing", "memory leak on n1": "closed"}
    assert "no news of telemetry" in shown.change["idle GPUs at B"]
    write_findings([], tmp_path / "data/findings/telemetry_gpus.parquet", "telemetry")
    cut(tmp_path / "data/findings/telemetry.parquet")
    run_cells(NOTEBOOK, tmp_path, day="2026-02-02", nights=dict.fromkeys(STUDIES, "2026-02-02"), **QUICK)
    shown = incidents(tmp_path, "2026-02-02").set_index("title")
    assert shown.state.to_dict() == {"idle GPUs at B": "resolved"}, "its own table has been read"


def test_every_parameter_of_the_ranking_is_explained_with_its_value(first):
    page = first[2]
    assert "Severity is high from 4.5 points of evidence on, and medium from 2.5." in page
    assert "- surprise: 0.5 per factor of ten" in page
    assert "1,000 core hours, 1 /pb, 1 node, 24 GPU hours, 5 tickets and 100 GB delayed" in page
    assert "weights" in (REPOSITORY / "notebooks" / NOTEBOOK).read_text()


@pytest.mark.parametrize(("newest", "ended"), [("2026-01-31T23:50:00+00:00", True), ("2026-01-31T12:30:00+00:00", False), (None, True)])
def test_what_is_no_longer_seen_has_ended_only_where_its_source_goes_on(tmp_path, newest, ended):
    status = tmp_path / "data/raw/telemetry/status.json"
    status.parent.mkdir(parents=True)
    status.write_text(json.dumps({"newest": newest}))
    night(tmp_path, LEAK)
    assert incidents(tmp_path).ended.tolist() == [ended]
