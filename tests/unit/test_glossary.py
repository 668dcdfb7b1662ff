"""The glossary of the site: every word that a reader meets stands there, and every page leads to it."""

import pytest
from bs4 import BeautifulSoup
from incident_tables import DAY, write_study

from nightshift import catalog
from nightshift.assurance import COUNTED, STATES
from nightshift.reporting.glossary import reading_of, write_glossary
from nightshift.reporting.incident_view import SEVERITIES
from nightshift.reporting.site import render_night
from nightshift.wording import NOTHING


@pytest.fixture
def page(tmp_path):
    write_glossary(tmp_path)
    return BeautifulSoup((tmp_path / "glossary.html").read_text(), "html.parser")


def test_states_and_verdicts_are_terms(page):
    terms = {head.get_text() for head in page.select("#terms + div tbody th")}
    assert terms >= {*COUNTED.values(), "closed", "ended", "open", *set(STATES) - {"ok"}, "too little history", "not calibrated", "nothing judged"}
    assert terms >= {"finding", "incident", "flagged", "severity", "p-value", "stated alarm rate", "observed alarm rate", "baseline", "skill"}
    assert terms >= {"VO", "lumisection", "DCS", "FTS", "series", "core hours", "pinball loss", "perfSONAR", NOTHING}
    severity = page.find(string="severity").find_next("td").get_text().casefold()
    assert all(name in severity for name in SEVERITIES)
    assert len(terms) == len(page.select("#terms + div tbody tr")), "a term stands there twice"


def test_every_kind_of_every_study_and_every_unit_is_described(page):
    rows = {" ".join(row.get_text(" ").split()) for row in page.select("#kinds ~ div tbody tr")}
    for name_of_study, study in catalog.studies().items():
        assert page.find("h3", string=study.title)
        for name, kind in study.kinds.items():
            label = catalog.label_of(name_of_study, name)
            assert any(row.startswith(label) and kind.description in row and kind.scope in row for row in rows)
    assert [row.th.get_text() for row in page.select("#units + div tbody tr")] == sorted(catalog.impact_units())


def test_pages_of_a_night_lead_to_it(tmp_path):
    write_study(tmp_path, "transfers")
    render_night(tmp_path, DAY, {"transfers": DAY})
    for path in (tmp_path / "reports").rglob("*.html"):
        links = [a["href"] for a in BeautifulSoup(path.read_text(), "html.parser").select("footer a")]
        if path.name != "glossary.html":
            assert [(path.parent / link).resolve() for link in links] == [tmp_path / "reports/glossary.html"]


def test_every_report_says_folded_how_it_is_read(tmp_path):
    write_study(tmp_path, "transfers")
    render_night(tmp_path, DAY, {"transfers": DAY})
    folder = tmp_path / f"reports/{DAY}/transfers"
    report, code = (BeautifulSoup((folder / f"4_analyse{name}.html").read_text(), "html.parser") for name in ("", "_notebook"))
    [reading] = report.select("details.reading")
    assert not reading.has_attr("open")
    assert reading.summary.get_text() == "How to read this"
    text = reading.p.get_text()
    assert "slow link" in text
    assert "GB delayed" in text
    assert all((folder / link["href"]).resolve().exists() for link in reading.select("a[href$=html]"))
    assert all(report.find(id=link["href"][1:]) for link in reading.select('a[href^="#"]'))
    assert code.select("details.reading") == []


@pytest.mark.parametrize("study", catalog.studies())
def test_how_a_report_is_read_is_three_to_five_sentences_of_what_its_study_says(study):
    described = catalog.studies()[study]
    sentences = reading_of(study)
    assert 3 <= len(sentences) <= 4, "the page adds where to see how sure it is"
    assert all(kind.label in sentences[0] for kind in described.kinds.values())
    assert all((unit.label or name) in sentences[1] for name, unit in described.impact_units.items())
    assert ("what is usually intended" in sentences[1]) == any(kind.benign for kind in described.kinds.values())
    assert any(one.startswith("Weeks are judged") for one in sentences) == (described.cadence == "week")
