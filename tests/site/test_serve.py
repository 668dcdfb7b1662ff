"""The served front page in real Chromium: what is said there is noted, with and without a script, and it can be read on any screen."""

import pytest
from conftest import console_errors, set_width
from incident_tables import DAY
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from served import LEAK, SLOW, publish_night, serving

from nightshift.incidents.silences import read_recorded
from nightshift.remediation.feedback import read_feedback


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def address(root):
    with serving(publish_night(root)) as address:
        yield f"{address}/{DAY}/index.html"


@pytest.fixture
def unscripted(browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    yield browser
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def opened(browser, address, incident):
    """The row of an incident on the front page, with its forms open."""
    browser.get(address)
    row = browser.find_element(By.ID, incident["incident"])
    row.find_element(By.CSS_SELECTOR, "summary").click()
    if not row.find_element(By.CSS_SELECTOR, "form button").is_displayed():  # they are open where something was said
        row.find_element(By.CSS_SELECTOR, ".tell summary").click()
    return row


def answer_to(browser, button):
    """What the page says below a form once the server has answered."""
    output = button.find_element(By.XPATH, "ancestor::form//output")
    WebDriverWait(browser, 30).until(lambda _: output.text not in ("", "…"))
    return output.text


def test_a_click_is_noted_and_confirmed_on_the_page(browser, address, root):
    set_width(browser, 1400)
    worked = opened(browser, address, SLOW).find_element(By.CSS_SELECTOR, "[aria-label='storage-space worked']")
    worked.click()
    assert answer_to(browser, worked).startswith("Noted. For slow destination, storage-space worked in 1 of 1 trial")
    feedback, trouble = read_feedback(root / "feedback/feedback.csv")
    assert (feedback.incident.tolist(), feedback.worked.tolist(), trouble) == ([SLOW["incident"]], [True], "")
    assert console_errors(browser) == []


def test_a_reader_silences_an_incident_and_every_reader_sees_it(browser, address, root):
    row = opened(browser, address, LEAK)
    silence = row.find_element(By.CSS_SELECTOR, "[value=silenced]")
    silence.click()
    assert read_recorded(root / "feedback/silences.yaml", DAY) == ([], []), "the browser asks for a reason first"
    row.find_element(By.NAME, "why").send_keys("burn-in of a new rack")
    silence.click()
    assert answer_to(browser, silence) == "Noted. The next digest lists it as silenced, up to and including 2026-02-14."
    [entry], _ = read_recorded(root / "feedback/silences.yaml", DAY)
    assert (entry["incident"], entry["why"]) == (LEAK["incident"], "burn-in of a new rack")
    browser.get(address)
    sentence = browser.find_element(By.ID, LEAK["incident"]).find_element(By.CSS_SELECTOR, ".message").get_attribute("textContent")
    assert sentence == f"Silenced by {entry['by']} until 2026-02-14: burn-in of a new rack. It counts from the next digest on."
    assert console_errors(browser) == []


def test_without_a_script_the_page_comes_back_with_the_row_open(unscripted, address):
    set_width(unscripted, 1400)
    opened(unscripted, address, SLOW).find_element(By.CSS_SELECTOR, "[aria-label='fewer-streams did not work']").click()
    WebDriverWait(unscripted, 30).until(lambda chrome: "opened=" in chrome.current_url)
    sentences = unscripted.find_element(By.ID, SLOW["incident"]).find_elements(By.CSS_SELECTOR, ".message")
    assert any(one.is_displayed() and one.text.startswith("fewer-streams did not work, noted ") for one in sentences)


def test_what_is_refused_is_said_on_the_page(browser, address):
    worked = opened(browser, address, SLOW).find_element(By.CSS_SELECTOR, "[aria-label='storage-space worked']")
    browser.delete_all_cookies()
    worked.click()
    assert answer_to(browser, worked) == "The form does not belong to the cookie: reload the page and try again."


@pytest.mark.parametrize("width", [390, 1400])
def test_the_forms_fit_on_the_screen(browser, address, width):
    set_width(browser, width)
    row = opened(browser, address, SLOW)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    buttons = row.find_elements(By.CSS_SELECTOR, "form button")
    assert len(buttons) == 6
    assert all(one.is_displayed() and one.rect["height"] >= 24 and one.rect["x"] + one.rect["width"] <= width for one in buttons)
