"""The rendered site in real Chromium, from disk: no request, no console error, one script, readable, accessible."""

import json
import re

import pandas as pd
import pytest
from conftest import REPOSITORY, asked_outside, console_errors, set_scheme, set_width, show

from nightshift.catalog import STEPS, label_of, steps_of, studies

AXE = REPOSITORY / "tests/site/node_modules/axe-core/axe.min.js"
WIDTHS = [380, 1600]
# Nine of ten elements are words of code, coloured by their class: the longest of each class in a page (axe passes over single letters) tells as
# much as all of them, and a round over all pages takes 6 s instead of 45.
THIN_CODE = """
const words = document.querySelectorAll("details.code pre i"), longest = {};
for (const word of words)
    if (!(longest[word.className]?.textContent.length >= word.textContent.length)) longest[word.className] = word;
for (const word of words)
    if (longest[word.className] !== word) word.replaceWith(...word.childNodes);
"""


@pytest.fixture(scope="module")
def pages(sample_chain):
    report = sample_chain["report"]
    found = sorted([report.parent / "index.html", *report.rglob("*.html")])
    of_studies = {step for study in studies() for step in steps_of(study)}
    assert {"5_accelerators", "5_quality", "6_waiting", "7_asking"} <= of_studies
    of_code = {f"{step}_notebook" for step in of_studies if step not in STEPS[:-1]}
    assert {p.stem for p in found} == {"index", "simulate", "digest", "digest_notebook"} | of_studies | of_code
    return found


def is_report(page):
    """Whether a page is the report of a study or of one of its extra notebooks."""
    return page.with_name(f"{page.stem}_notebook.html").exists()


# The scheme changes colours only and the width places only: each of the four is looked at once. All pages share one style sheet: every page is
# looked at in one of the two ways in turn, and in both ways those that hold what the others do not.
WAYS = {"1600-light": (1600, False), "380-dark": (380, True)}
OPEN_ALL = "document.querySelectorAll('details').forEach(d => d.open = true)"
# without preload, by which axe asks for the style sheet once more, which the content security policy denies it
RUN_AXE = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations'], preload: false}).then(done)"


@pytest.fixture(scope="module")
def seen(browser, pages):
    """{page: what a look at it in each of WIDTHS tells, and what axe finds in some of WAYS}, loaded once; and what was asked of the network."""
    looks = {}
    asked_outside(browser)
    for i, page in enumerate(pages):
        show(browser, page, WIDTHS[0])
        errors, widths = console_errors(browser), {}
        for width in WIDTHS:
            set_width(browser, width)
            widths[width] = browser.execute_script("return document.documentElement.scrollWidth")
        assert browser.find_element("css selector", "h1").is_displayed()
        alts = browser.execute_script("return [...document.images].map(i => i.alt)")
        looks[page] = {"errors": errors + console_errors(browser), "widths": widths, "alts": alts, "serious": {}}
        for way in WAYS if page.stem in ("index", "digest") else [list(WAYS)[i % 2]]:
            looks[page]["serious"][way] = serious(browser, *WAYS[way])
    return looks, asked_outside(browser)


def serious(browser, width, dark):
    """What axe finds of serious or critical in the page that is open, all of it unfolded, at a width and in a scheme; None without axe."""
    if not AXE.exists():
        return None
    set_width(browser, width)
    set_scheme(browser, dark)
    browser.execute_script(OPEN_ALL)
    browser.execute_script(THIN_CODE)
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})  # past the pages' content security policy
    found = browser.execute_async_script(RUN_AXE)["violations"]
    return [(one["id"], one["nodes"][0]["html"][:120]) for one in found if one["impact"] in ("serious", "critical")]


def test_pages_load_from_disk_without_request_or_console_error(seen):
    looks, asked = seen
    assert {page.name: one["errors"] for page, one in looks.items() if one["errors"]} == {}
    assert asked == []


def test_only_front_page_and_reports_hold_a_script_and_all_work_without(browser, pages, sample_chain):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        for page in pages:
            scripts = page.read_text().lower().count("<script")
            assert scripts == (page == sample_chain["report"] / "index.html" or is_report(page))
            if scripts:  # others are the same without
                show(browser, page, 1600)
                assert browser.find_element("css selector", "h1").is_displayed()
        show(browser, next(p for p in pages if p.stem == "4_analyse_notebook"), 1600)
        first, other = browser.find_elements("css selector", "details.code pre")[:2]
        assert not visible(browser, first)
        browser.find_element("css selector", "details.code summary").click()
        assert visible(browser, first)
        assert not visible(browser, other)
        browser.find_element("css selector", "label[for=show-code]").click()
        assert visible(browser, other)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def visible(browser, element):
    """Whether a person sees the element; Selenium's own answer takes every closed <details> for hidden."""
    return browser.execute_script("return arguments[0].checkVisibility()", element)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(seen, width):
    assert {page.name: one["widths"][width] for page, one in seen[0].items() if one["widths"][width] > width} == {}


@pytest.mark.parametrize("way", WAYS)
def test_axe_finds_nothing_serious(seen, pages, way):
    if not AXE.exists():
        pytest.skip(f"no axe-core at {AXE}: `make test` installs it where npm is present")
    found = {page: one["serious"][way] for page, one in seen[0].items() if way in one["serious"]}
    assert len(found) > len(pages) // 2, "every other page, and those that are looked at in both ways"
    assert {page.name: one for page, one in found.items() if one} == {}


def test_every_internal_link_leads_somewhere(pages):
    for page in pages:
        text = page.read_text()
        for href in re.findall(r'href="([^"]+)"', text):
            if href.startswith(("http", "data:")):
                continue
            path, _, anchor = href.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page}: {href}"
            if anchor:
                assert f'id="{anchor}"' in target.read_text(), f"{page}: {href}"


def test_pages_are_small_and_say_what_a_reader_needs(pages):
    front = next(p for p in pages if p.name == "index.html" and p.parent.name != "reports")
    assert front.stat().st_size < 350_000
    assert all(p.stat().st_size < 2_000_000 for p in pages)
    text = front.read_text()
    assert all(word in text for word in ("finding" if "finding" in text else "ok", "Data", "Model", "skill", "studies reported"))


def test_every_incident_on_the_front_page_has_its_place_in_the_digest_and_its_picture(browser, sample_chain):
    show(browser, sample_chain["report"] / "index.html", 1600)
    rows = browser.find_elements("css selector", ".pressing details.incident")
    digest = json.loads((sample_chain["report"] / "digest.json").read_text())
    assert digest["digest"]["outcome"] == "ok", digest["digest"]
    pressing = [one for one in digest["incidents"] if one["state"] in ("new", "escalated", "ongoing") and not one["silence"]]
    assert len(rows) == min(len(pressing), 60)
    for row, one in list(zip(rows, pressing, strict=True))[:12]:
        assert all(words in row.text for words in (one["title"], one["severity"], *one["studies"]))
        row.find_element("css selector", "summary").click()
        assert one["summary"] in row.text
        if one["shown"]:
            assert row.find_element("css selector", ".about a").get_attribute("href").endswith(f"digest.html#{one['id']}")
            assert browser.execute_script("const i = arguments[0].querySelector('img'); return i.complete && i.naturalWidth", row) > 300


def test_a_report_shows_findings_first_and_no_code_and_its_tables_can_be_sorted_and_filtered(browser, sample_chain):
    show(browser, sample_chain["report"] / "accounting/4_analyse.html", 1300)
    assert not browser.find_elements("css selector", "main :is(details.code, details.log, .traceback)")
    heading = browser.find_element("css selector", "main h2")
    assert heading.text == "Findings"
    assert heading.rect["y"] < 700
    table = browser.find_element("css selector", "main h2 + section table")
    kinds = [row.text for row in table.find_elements("css selector", "tbody td:first-child")]
    findings = pd.read_csv(sample_chain["report"] / "accounting/accounting_findings.csv")
    assert kinds == [label_of("accounting", kind) for kind in findings.kind]
    table.find_element("css selector", "thead button").click()
    assert [row.text for row in table.find_elements("css selector", "tbody td:first-child")] == sorted(kinds)
    words = browser.find_element("css selector", ".filters input")
    words.send_keys(findings.entity[0])
    shown = [row for row in table.find_elements("css selector", "tbody tr") if row.is_displayed()]
    assert 0 < len(shown) < len(kinds)
    assert all(findings.entity[0] in row.text for row in shown)


def test_reports_print_without_menus_and_in_dark_ink(browser, sample_chain):
    show(browser, sample_chain["report"] / "transfers/4_analyse.html", 1300, dark=True)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [dark]})
    try:
        assert not [one for one in browser.find_elements("css selector", "header, nav, aside") if one.is_displayed()]
        assert browser.find_element("css selector", "main h2").is_displayed()
        assert browser.find_element("css selector", "main a").value_of_css_property("color") == "rgba(0, 0, 0, 1)"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_night_is_light_and_its_pages_have_titles_of_their_own(browser, pages, sample_chain):
    of_night = [page for page in pages if page.parent.name != "reports"]
    titles = [re.search("<title>(.*?)</title>", page.read_text())[1] for page in of_night]
    assert len(set(titles)) == len(titles)
    night = sample_chain["report"]
    shown = [*of_night, *night.glob("pictures/*"), *night.glob("*.css"), night / "run.json", night / "digest.json"]
    assert sum(path.stat().st_size for path in shown) < 3_000_000
    for page in filter(is_report, of_night):
        text = page.read_text()
        assert not re.search("data:image", text)
        sizes = re.findall(r'<li><a href="([^"]+)"[^>]*>\1</a> <span class="quiet">([\d.]+) (bytes|kB|MB)', text)
        record = f"{page.stem}{'_run' * (page.stem == 'digest')}.json"  # digest.json are the incidents
        assert {f"{page.stem}.ipynb", record} <= {name for name, *_ in sizes}
        for name, number, unit in sizes:
            size = (page.parent / name).stat().st_size / {"bytes": 1, "kB": 1e3, "MB": 1e6}[unit]
            assert size == pytest.approx(float(number), abs=0.51), name


def test_every_picture_has_a_description(seen):
    for page, one in seen[0].items():
        assert all(alt and alt != "Figure without description" for alt in one["alts"]), page.name


def test_keyboard_reaches_the_content_first(browser, pages):
    show(browser, pages[0], 1600)
    browser.find_element("css selector", "body").send_keys("\t")
    assert browser.switch_to.active_element.get_attribute("href").endswith("#main")
