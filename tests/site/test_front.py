"""The rows of the front page in real Chromium: filtered without any script, and with it sorted, found by typing and remembered."""

import pytest
from conftest import show
from incident_tables import DAY, incident, write_incidents, write_study
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from nightshift.reporting import site

SHOWN = """
return [...document.querySelectorAll('.pressing > li')].filter(one => one.checkVisibility()).map(one => one.querySelector('.title').textContent)
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """The front page of a night with three incidents that press and one that is over."""
    root = tmp_path_factory.mktemp("front")
    rows = [
        incident("a leak", "ongoing", site="B", severity="high", studies=["telemetry"], summary="Memory of n01 grows."),
        incident("an outage", site="A", severity="medium", studies=["transfers", "accounting"], summary="All links fail."),
        incident("a dip", site="B", severity="low", studies=["accounting"], summary="Less work."),
        incident("an old one", "closed", site="A", severity="low", studies=["transfers"], summary="Over."),
    ]
    write_incidents(root, rows)
    write_study(root, "transfers")
    made_of = {"nights": {"transfers": DAY}, "missing": []}
    write_digest(root, made_of)
    page, _, _ = site.render_night(root, DAY, {"transfers": DAY})
    return page


def write_digest(root, made_of):
    """An executed notebook of the digest that was made of these nights."""
    import nbformat

    notebook = nbformat.v4.new_notebook(metadata={"papermill": {"end_time": f"{DAY}T05:00:00", "parameters": made_of}})
    notebook.cells = [nbformat.v4.new_markdown_cell("# A title"), nbformat.v4.new_code_cell("1", execution_count=1)]
    nbformat.write(notebook, root / f"reports/{DAY}/digest.ipynb")


def choose(browser, name, words):
    Select(browser.find_element("id", f"by-{name}")).select_by_visible_text(words)


@pytest.fixture
def unscripted(browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    yield browser
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def visible(browser):
    """Titles of the incidents that a person sees, found without a script of the page."""
    return [one.text.removeprefix("▸ ") for one in browser.find_elements("css selector", ".pressing .title") if one.is_displayed()]


@pytest.mark.parametrize(
    ("name", "words", "shown"),
    [
        ("severity", "high", ["a leak"]),
        ("study", "Accounting", ["an outage", "a dip"]),
        ("site", "B", ["a leak", "a dip"]),
        ("state", "new, open", ["an outage", "a dip"]),
    ],
)
def test_incidents_are_filtered_without_any_script(unscripted, front, name, words, shown):
    show(unscripted, front, 1400)
    assert visible(unscripted) == ["a leak", "an outage", "a dip"]
    choose(unscripted, name, words)
    assert visible(unscripted) == shown
    assert not unscripted.find_element("id", "by-words").is_displayed(), "what needs the script is not offered"


def test_incidents_are_found_by_typing_sorted_and_remembered(browser, front):
    show(browser, front, 1400)
    browser.find_element("id", "by-words").send_keys("links")
    assert browser.execute_script(SHOWN) == ["an outage"]
    assert browser.find_element("id", "matching").text == "1 of 4 match"
    browser.find_element("id", "by-words").send_keys("\b" * 5)
    choose(browser, "site", "B")
    assert browser.execute_script(SHOWN) == ["a leak", "a dip"]
    browser.find_element("css selector", ".head [data-by=title] button").click()
    assert browser.execute_script(SHOWN) == ["a dip", "a leak"]
    browser.find_element("css selector", ".head [data-by=title] button").click()
    assert browser.execute_script(SHOWN) == ["a leak", "a dip"]
    show(browser, front, 1400)
    assert browser.execute_script(SHOWN) == ["a leak", "a dip"], "the choice is remembered"
    outage = next(
        one.get_attribute("id") for one in browser.find_elements("css selector", ".pressing [id]") if "an outage" in one.get_property("textContent")
    )
    browser.get(f"{front.as_uri()}#{outage}")
    browser.refresh()
    assert browser.execute_script(SHOWN) == ["a leak", "an outage", "a dip"], "a link shows where it leads"
    show(browser, front, 1400)
    assert browser.execute_script(SHOWN) == ["a leak", "a dip"], "and changes no choice"
    browser.find_element("id", "show-all").click()
    assert browser.execute_script(SHOWN) == ["a leak", "an outage", "a dip"]
    assert not browser.find_element("id", "show-all").is_displayed()
    choose(browser, "site", "A")
    browser.execute_script("location.hash = document.querySelector('.pressing [id]').id")
    WebDriverWait(browser, 5).until(lambda _: browser.execute_script(SHOWN) == ["a leak", "an outage", "a dip"])
    choose(browser, "site", "all")


def test_a_filter_opens_the_fold_that_holds_matches_and_no_other(browser, front):
    show(browser, front, 1400)
    over = browser.find_element("id", "closed")
    for where, is_open in (("A", True), ("B", False), ("A", True), ("all", False)):
        choose(browser, "site", where)
        assert bool(over.get_attribute("open")) is is_open, where


def test_a_link_to_an_incident_opens_it_also_where_it_is_folded(browser, front):
    browser.get("about:blank")
    over = browser_id(front)
    browser.get(f"{front.as_uri()}#{over}")
    assert browser.find_element("id", over).get_attribute("open")
    assert "Over." in browser.find_element("id", over).text


def test_a_link_followed_on_the_open_page_opens_its_target_again_and_again(browser, front):
    show(browser, front, 1400)
    name = browser_id(front)
    follow = "const link = document.createElement('a'); link.href = '#' + arguments[0]; document.body.append(link); link.click();"
    for _ in range(2):  # the second time the address is there already
        browser.execute_script(follow, name)
        WebDriverWait(browser, 10).until(lambda browser: browser.find_element("id", name).get_attribute("open"))
        assert browser.find_element("id", "closed").get_attribute("open")
        browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = false")


def browser_id(front):
    """The name of the incident that is over."""
    from bs4 import BeautifulSoup

    return BeautifulSoup(front.read_text(), "html.parser").select_one("#closed details")["id"]
