"""Entities, trends and search in real Chromium, from disk: words lead to pages, pages to each other, and all can be read."""

import pytest
from conftest import REPOSITORY, asked_outside, console_errors, set_width, show
from incident_tables import DAY, data_of, incident, write_digest, write_study

from nightshift.reporting import site
from nightshift.reporting.entities import Entity

AXE = REPOSITORY / "tests/site/node_modules/axe-core/axe.min.js"
# without preload: it would ask for the style sheets again, which the policy of the page forbids
RUN_AXE = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations'], preload: false}).then(done)"
AT = {"kinds": ["slow_destination"], "studies": ["transfers"]}
HITS = "return [...document.querySelectorAll('#results a')].map(one => one.textContent)"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Two nights of transfers, in which three storages are slow."""
    root = tmp_path_factory.mktemp("overview")
    for day, state in (("2026-01-30", "new"), (DAY, "ongoing")):
        first = {"first_seen": "2026-01-30", "day": day}
        rows = [
            incident("MERIDIAN-T2_DISK", state, site="MERIDIAN-T2", severity="high", summary="Copies to it crawl.", **AT, **first),
            incident("HARBOR-T2_TAPE", state, site="HARBOR-T2", summary="Its tapes crawl.", **AT, **first),
            incident("an </script> & a name that is much longer than any name should be" + "_X" * 20, state, site="HARBOR-T2", **AT, **first),
        ]
        write_study(root, "transfers", day)
        data_of(root, day)
        write_digest(root, rows, ["transfers"], day=day)
        site.render_night(root, day, {"transfers": day})
    return root / "reports"


@pytest.fixture(scope="module")
def pages(reports):
    entity = reports / "entities" / Entity("storage", "HARBOR-T2_TAPE").page
    return [entity, reports / "entities/index.html", reports / "trends.html", reports / "search.html", reports / "index.html"]


def ask(browser, words):
    """Type words into the search; returns the titles that it shows."""
    box = browser.find_element("id", "words")
    box.clear()
    box.send_keys(words)
    return browser.execute_script(HITS)


def test_words_beginnings_and_misspellings_lead_to_what_is_meant(browser, reports):
    asked_outside(browser)
    show(browser, reports / "search.html", 1300)
    assert ask(browser, "harbor tape") == ["HARBOR-T2_TAPE", "HARBOR-T2_TAPE"], "the storage first, then its incident"
    assert browser.find_element("id", "matching").text == "2 matches"
    assert ask(browser, "MERID")[:2] == ["MERIDIAN-T2", "MERIDIAN-T2_DISK"]
    assert ask(browser, "meridain")[:1] == ["MERIDIAN-T2"]
    assert ask(browser, "crawl meridian") == ["MERIDIAN-T2_DISK"], "words of the sentence of an incident"
    assert ask(browser, "zzzz") == []
    assert browser.find_element("id", "matching").text == "0 matches"
    assert not browser.find_element("id", "all").is_displayed()
    assert len(ask(browser, "script")) == 2
    assert console_errors(browser) == []
    assert asked_outside(browser) == []


def test_a_match_leads_to_the_row_of_the_incident_and_from_there_to_its_entity(browser, reports):
    browser.get("about:blank")
    browser.get((reports / "search.html").as_uri() + "#tapes")
    assert browser.execute_script("return document.activeElement.id") == "words"
    browser.find_element("css selector", "#results a").click()
    assert f"/{DAY}/index.html#" in browser.current_url
    row = browser.find_element("id", browser.current_url.partition("#")[2])
    assert row.get_attribute("open")
    row.find_element("partial link text", "HARBOR-T2_TAPE").click()
    assert browser.find_element("css selector", "h1").text == "HARBOR-T2_TAPE"
    assert "1 incident open in the latest night, 2026-01-31" in browser.find_element("css selector", ".lead").text
    browser.find_element("css selector", "#parts + dl a").click()
    assert browser.find_element("css selector", "h1").text == "HARBOR-T2"
    for name in ("Entities", "Trends", "Search", "All nights"):
        browser.find_element("link text", name).click()
        assert browser.find_element("css selector", "h1").text == name
        assert browser.find_element("css selector", "[aria-current=page]").text == name


def test_without_scripts_the_search_lists_all_entities_and_says_so(browser, reports):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, reports / "search.html", 1300)
        assert "All entities are listed instead" in browser.find_element("id", "unscripted").text
        assert not browser.find_element("id", "words").is_displayed()
        browser.find_element("link text", "MERIDIAN-T2_DISK").click()
        assert browser.find_element("css selector", "h1").text == "MERIDIAN-T2_DISK"
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1300, False)], ids=["390-dark", "1300-light"])
def test_pages_are_readable_on_phone_and_desk(browser, pages, width, dark):
    for page in pages:
        show(browser, page, width, dark)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page.name
        assert console_errors(browser) == []
        if AXE.exists():
            browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
            browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
            result = browser.execute_async_script(RUN_AXE)
            serious = [(v["id"], v["nodes"][0]["html"][:120]) for v in result["violations"] if v["impact"] in ("serious", "critical")]
            assert serious == [], f"{page.name} at {width}"
    set_width(browser, 1300)
