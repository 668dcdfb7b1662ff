"""From an incident to the rows of its finding in real Chromium, from disk, with scripts and without."""

import pandas as pd
import pytest
from conftest import asked_outside, console_errors, set_width, show
from incident_tables import night_with_rows

LINK = "AURORA-T1_DATADISK -> CIRRUS-T1_DATADISK"


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The report of a night with an incident of a link that 60 transfers made."""
    times = pd.date_range("2026-01-31 04:10:20", periods=60, freq="37s", tz="UTC")
    rows = pd.DataFrame({"time": times, "link": LINK, "size_gb": [i % 7 / 3 for i in range(60)], "error": "timed out"})
    return night_with_rows(tmp_path_factory.mktemp("rows"), LINK, rows)


@pytest.fixture(params=[True, False], ids=["scripted", "unscripted"])
def reader(request, browser):
    """The browser, and whether scripts run in it."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not request.param})
    yield browser, request.param
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_click_on_the_card_of_an_incident_opens_the_rows_of_its_finding(reader, night):
    browser, scripted = reader
    asked_outside(browser)
    show(browser, night / "index.html", 1300)
    browser.find_element("css selector", ".pressing details.incident > summary").click()
    browser.find_element("link text", "60 transfers").click()
    shown = [row for row in browser.find_elements("css selector", "details.rows tbody tr") if row.is_displayed()]
    assert len(shown) == 50
    assert shown[0].text.startswith(f"2026-01-31 04:10:20 {LINK}")
    assert -5 < browser.execute_script("return document.querySelector('details.rows').getBoundingClientRect().top") < 300
    assert browser.find_element("css selector", "details.rows > .quiet").text == "The first 50 of 60; all are in the files."
    assert browser.find_elements("css selector", "details.rows thead button") == [] or scripted
    assert console_errors(browser) == []
    assert asked_outside(browser) == []


def test_rows_are_sorted_as_numbers_and_filtered(browser, night):
    show(browser, night / "transfers/4_analyse.html", 1300)
    browser.find_element("css selector", "details.rows > summary").click()
    *_, size, _ = browser.find_elements("css selector", "details.rows thead button")
    size.click()
    cells = [float(cell.text) for cell in browser.find_elements("css selector", "details.rows td:nth-child(3)")]
    assert cells == sorted(cells)
    assert len(cells) == 50
    browser.find_element("css selector", "details.rows .filters input").send_keys("04:10")
    assert browser.find_element("css selector", "details.rows output").text == "2 of 50 match"


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1400, False)], ids=["390-dark", "1400-light"])
def test_a_table_of_rows_makes_no_page_wider_than_its_window(browser, night, width, dark):
    show(browser, night / "transfers/4_analyse.html", width, dark)
    set_width(browser, width)
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    number = browser.find_element("css selector", "details.rows td:nth-child(3)")
    assert number.value_of_css_property("text-align") == "right"
