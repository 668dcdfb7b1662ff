"""Names of 5,000 letters on every page and in the mail of a night, in real Chromium: they break, and nothing is wider than the window."""

import base64
import email
import json
from email.policy import default

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from conftest import show
from incident_tables import DAY, incident, proposal, write_incidents, write_study
from PIL import Image

import helpers
from nightshift.notify.policy import send_night
from nightshift.reporting import site

LONG = "N" * 5000
MARKED = "a\u202eb\x1bc"  # marks of direction and controls go on the way to a page
SETTINGS = {"from": "a@example.org", "server": "smtp://mail.example.org", "to": [{"address": "b@example.org"}]}
WIDER = """
const wide = [];
for (const one of document.querySelectorAll('main *, main'))
    if (!one.closest('.scroll, pre, svg') && one.scrollWidth > one.clientWidth + 1 && one.clientWidth && getComputedStyle(one).display != 'inline')
        wide.push(one.tagName + '.' + one.className);
return wide;
"""  # elements that hold more than they show


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of a night whose every name is long, and its mail as a page; a strip is 570 pixels wide, a picture of a study 1,200."""
    root = tmp_path_factory.mktemp("long")
    strip = root / "plots/strip.png"
    strip.parent.mkdir()
    Image.new("RGB", (570, 120), "white").save(strip)
    texts = dict.fromkeys(["title", "site", "summary", "change", "impact"], LONG) | {
        "figure": "plots/strip.png",
        "site": "S" * 5000,
        "studies": ["transfers"],
    }
    marked = {"silenced_as": "silenced", "silenced_by": LONG, "silenced_why": LONG}
    rows = [incident("a") | texts, incident(MARKED), incident("b", "resolved") | texts, incident("c", "ongoing") | texts | marked]
    write_incidents(root, rows, proposals={LONG: [proposal(LONG, effort=LONG)]}, headline=LONG)
    table = f"<table><thead><tr><th>what</th><th>n</th></tr></thead><tbody><tr><td>{LONG}</td><td>1</td></tr></tbody></table>"
    outputs = [nbformat.v4.new_output("display_data", {"text/markdown": f"### {n}. {helpers.escape(name)}"}) for n, name in ((1, LONG), (2, MARKED))]
    outputs += [nbformat.v4.new_output("display_data", {"text/html": table})]
    wide = root / "plots/wide.png"
    Image.new("RGB", (1200, 200), "white").save(wide)
    for path in (strip, wide):
        data = {"image/png": base64.b64encode(path.read_bytes()).decode()}
        outputs += [nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": LONG}})]
    made_of = {"nights": {"transfers": DAY}, "missing": []}
    notebook = nbformat.v4.new_notebook(metadata={"papermill": {"end_time": f"{DAY}T05:00:00", "parameters": made_of}})
    notebook.cells = [nbformat.v4.new_markdown_cell("# A title"), nbformat.v4.new_code_cell("show_sentence()", execution_count=1, outputs=outputs)]
    write_study(root, "transfers")
    nbformat.write(notebook, root / f"reports/{DAY}/digest.ipynb")
    finding = ["transfers", LONG, LONG, LONG, pd.NaT, pd.NaT, 1.0, 0.01, 9.0, 1.0, "s", LONG, "", 2.0, "GB delayed"]
    helpers.write_parquet(pd.DataFrame([finding], columns=helpers.FINDING_COLUMNS), root / "data/findings/transfers.parquet")
    site.render_night(root, DAY, {"transfers": DAY})
    assert send_night(root, DAY, {"studies": {"transfers": {}}, "mail": SETTINGS}, dry_run=True) == []
    return root / "reports"


@pytest.fixture(scope="module")
def mailed(pages):
    """The HTML of the night's mail."""

    message = email.message_from_bytes((pages.parent / "data/mail" / DAY / "1-digest.eml").read_bytes(), policy=default)
    path = pages / "mail.html"
    path.write_text(message.get_body(("html",)).get_content())
    return path


@pytest.mark.parametrize("width", [380, 1600])
def test_long_names_make_nothing_wider_than_the_window(browser, pages, mailed, width):
    for page in [pages / DAY / "index.html", pages / DAY / "digest.html", pages / "index.html", mailed]:
        show(browser, page, width)
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page.name
        if page.name != "digest.html":  # its pictures of studies scroll
            assert browser.execute_script(WIDER) == [], page.name
        if page == pages / "index.html":  # a verdict keeps the name of its study
            assert browser.find_element("css selector", "td > .only-narrow").is_displayed() == (width == 380)
        tables = browser.execute_script("return [...document.querySelectorAll('table')].map(t => t.scrollWidth)")
        assert max(tables, default=0) < 1600, f"{page.name}: a table is wider than a large window"
    front = (pages / DAY / "index.html").read_text()
    assert LONG in front
    assert "1 finding" in front, "the table of a study's findings is there"


def test_a_strip_shrinks_with_its_card_and_a_picture_of_a_study_scrolls(browser, pages):
    widths = {}
    for width in (380, 1600):
        show(browser, pages / DAY / "index.html", width)
        widths[width] = browser.execute_script("return document.querySelector('.incident img').getBoundingClientRect().width")
        show(browser, pages / DAY / "digest.html", width)
        widths[width, "digest"] = browser.execute_script("return [...document.images].map(i => i.getBoundingClientRect().width)")
    assert widths[380] < 360
    assert widths[1600] == 570, "its natural size"
    assert widths[380, "digest"][0] < 360
    assert widths[380, "digest"][1] == 576, "its letters would be too small"
    assert widths[1600, "digest"][0] == 570


def test_a_name_with_marks_of_direction_has_its_place_in_the_digest(pages):

    published = json.loads((pages / DAY / "digest.json").read_text())
    front, digest = (BeautifulSoup((pages / DAY / name).read_text(), "html.parser") for name in ("index.html", "digest.html"))
    links = [one["href"] for one in front.select(".pressing .about a[href^=digest]")]
    assert links == [f"digest.html#{one['id']}" for one in published["incidents"][:2]]
    assert digest.find(id=published["incidents"][1]["id"]).get_text().startswith("2. a")
