"""Figures over time in real Chromium, from disk: a picture without scripts, and with them to zoom into and to read values of."""

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, asked_outside, console_errors, set_width, show
from incident_tables import DAY, data_of, executed, write_digest, write_study
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from helpers import show_figure
from nightshift.reporting import pages, site

AXE = REPOSITORY / "tests/site/node_modules/axe-core/axe.min.js"
# without preload: it would ask for the style sheets again, which the policy of the page forbids
RUN_AXE = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations'], preload: false}).then(done)"
LEGEND = "return [...document.querySelectorAll('.u-value')].map(one => one.textContent)"


def figure_over_time(folder, monkeypatch):
    """What a notebook keeps of a figure of 200 hours, 0 to 199: its picture and its numbers."""
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    _, ax = plt.subplots(figsize=(9, 3))
    ax.plot(pd.date_range("2026-01-20", periods=200, freq="h", tz="UTC"), np.arange(200), label="seen <b>")
    show_figure(ax, folder / "x.png", "It grows", "time, UTC", "tickets")
    return shown[0]._repr_mimebundle_()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Three nights of transfers, whose report shows one figure over time."""
    root = tmp_path_factory.mktemp("charts")
    with pytest.MonkeyPatch.context() as patch:
        data, about = figure_over_time(root, patch)
    for day in ("2026-01-29", "2026-01-30", DAY):
        write_study(root, "transfers", day)
        for step in ("4_analyse", "5_quality"):
            path = root / f"reports/{day}/transfers/{step}.ipynb"
            notebook = executed(path, ("show_figure()", data), ended=f"{day}T05:00:00+00:00")
            notebook.cells[-1].outputs[0].metadata = about
            nbformat.write(notebook, path)
        data_of(root, day)
        write_digest(root, [], ["transfers"], day=day)
        site.render_night(root, day, {"transfers": day})
    return root / "reports"


@pytest.fixture
def report(reports):
    return reports / DAY / "transfers/4_analyse.html"


def opened(browser, page, width=1300, dark=False):
    """Open a page and its first figure; returns the plot within the axes."""
    show(browser, page, width, dark)
    browser.find_element("css selector", ".zoom button").click()
    return browser.find_element("css selector", ".u-over")


def test_without_scripts_a_figure_is_a_picture(browser, report):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, report, 1300)
        assert browser.find_element("css selector", "figure[data-series] img").is_displayed()
        assert browser.find_elements("css selector", ".zoom") == []
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_values_are_read_under_the_cursor_and_a_part_is_enlarged_by_dragging(browser, report):
    asked_outside(browser)
    over = opened(browser, report)
    assert not browser.find_element("css selector", "figure[data-series] img").is_displayed()
    ActionChains(browser).move_to_element(over).perform()
    time, value = browser.execute_script(LEGEND)
    assert abs(int(value) - 100) <= 2
    assert time == f"{pd.Timestamp('2026-01-20') + pd.Timedelta(hours=int(value)):%Y-%m-%d %H:%M}".replace(" 00:00", "")
    quarter = over.rect["width"] // 4
    ActionChains(browser).move_to_element_with_offset(over, 0, 0).click_and_hold().move_by_offset(quarter, 0).release().perform()
    ActionChains(browser).move_to_element_with_offset(over, -2 * quarter + 2, 0).perform()
    assert 95 <= int(browser.execute_script(LEGEND)[1]) <= 105, "the left end is the middle of before"
    browser.find_element("css selector", ".zoom button[title='Show all']").click()
    ActionChains(browser).move_to_element_with_offset(over, -2 * quarter + 3, 1).perform()
    assert int(browser.execute_script(LEGEND)[1]) <= 3
    assert browser.find_element("css selector", ".u-legend").text.count("seen <b>") == 1
    assert console_errors(browser) == []
    assert asked_outside(browser) == []


def test_the_keyboard_reads_zooms_and_goes_back_to_the_picture(browser, report):
    opened(browser, report)
    place = browser.find_element("css selector", ".plots > div")
    place.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.execute_script(LEGEND) == ["2026-01-20 01:00", "1"]
    place.send_keys("+", Keys.ARROW_LEFT)
    assert browser.execute_script(LEGEND) == ["2026-01-20", "0"], "the window follows"
    button = browser.find_element("css selector", ".zoom button")
    assert (button.text, button.get_attribute("aria-expanded")) == ("Show the picture", "true")
    button.send_keys(Keys.ENTER)
    assert browser.find_element("css selector", "figure[data-series] img").is_displayed()
    assert not browser.find_element("css selector", ".plots").is_displayed()


def test_the_picture_is_what_prints(browser, report):
    opened(browser, report)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert browser.find_element("css selector", "figure[data-series] img").is_displayed()
        assert not browser.find_element("css selector", ".plots").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1400, False)], ids=["390-dark", "1400-light"])
@pytest.mark.parametrize("name", ["report", "trends"])
def test_a_figure_fits_its_window_and_axe_finds_nothing_serious(browser, reports, report, name, width, dark):
    page = {"report": report, "trends": reports / "trends.html"}[name]
    over = opened(browser, page, width, dark)
    assert over.rect["width"] > width / 3
    set_width(browser, width - 30)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width - 30
    assert console_errors(browser) == []
    if not AXE.exists():
        pytest.skip(f"no axe-core at {AXE}: `make test` installs it where npm is present")
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
    result = browser.execute_async_script(RUN_AXE)
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in result["violations"] if one["impact"] in ("serious", "critical")] == []


def test_the_nights_of_trends_are_read_in_the_colours_of_the_page(browser, reports):
    opened(browser, reports / "trends.html", dark=True)
    place = browser.find_element("css selector", ".plots > div")
    place.send_keys(Keys.ARROW_LEFT)
    assert browser.execute_script(LEGEND)[0] == DAY
    filters = "return getComputedStyle(document.querySelector('.plots canvas')).filter"
    assert browser.execute_script(filters) == "none"


def test_the_report_of_a_study_holds_the_library_and_no_other_page_of_it(reports):
    texts = {path.name: path.read_text() for path in (reports / DAY / "transfers").glob("*.html")}
    assert [name for name, text in texts.items() if "var uPlot" in text] == ["4_analyse.html"]
    assert "Permission is hereby granted, free of charge" in texts["4_analyse.html"]
    assert [name for name, text in texts.items() if "data-series=" in text] == ["4_analyse.html"]
    assert "<img" in texts["5_quality.html"]
    assert list(reports.parent.glob("style-*")) == [], "the style sheet of the trends lies beside them"


def test_without_the_library_figures_are_pictures(reports, monkeypatch):
    assert pages.can_zoom(), "`make test` installs it where npm is present"
    monkeypatch.setattr(pages, "UPLOT", "vendor/none")
    page = reports / "2026-01-29/transfers/4_analyse.html"
    page.unlink()
    site.render_night(reports.parent, "2026-01-29", {"transfers": "2026-01-29"})
    assert "uPlot" not in page.read_text()
    assert "<img" in page.read_text()
