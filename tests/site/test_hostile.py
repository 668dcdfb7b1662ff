"""The texts of tests/hostile.py as names, sites, sentences, errors and rows of one night: on every page in a real browser, in files, feed, mail, and
in what the command says in a terminal.
"""

import csv
import email
import json
import logging
import re
import xml.etree.ElementTree as ET
from email.policy import default
from urllib.parse import quote

import pandas as pd
import pyte
import pytest
from bs4 import BeautifulSoup
from conftest import asked_outside, console_errors, show
from hostile import COMPUTED, TERMINAL, TEXTS
from incident_tables import DAY, incident, proposal, record_rows, write_digest, write_study

import helpers
from nightshift.log import JsonLines, handler, log, print_line
from nightshift.notify.policy import send_night
from nightshift.reporting import site
from nightshift.reporting.digests import plain
from nightshift.reporting.front import MAX_ROWS
from nightshift.wording import one_line

SETTINGS = {"from": "a@example.org", "server": "smtp://mail.example.org", "to": [{"address": "b@example.org"}], "failures": ["c@example.org"]}
AT = pd.Timestamp("2026-01-31 04:00", tz="UTC")


def visible(text):
    """What a reader can see of a text, as one line."""
    return one_line(text, 60).rstrip("…")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A published night with an incident of each text, whose finding has rows that hold it, and its mail."""
    root = tmp_path_factory.mktemp("hostile")
    write_study(root, "transfers")
    rows, findings = [], []
    for n, text in enumerate(TEXTS):
        about = {"kind": "slow_link", "entity": f"{n} {text}", "site": text, "start": AT, "end": AT, "score": 9.0, "p_value": 0.01}
        findings.append(about | {"evidence": f"{text} is slow.", "impact": 1.0})
        rows.append(pd.DataFrame({"time": [AT], "link": [text], "error": [text], "duration_s": [1.0]}))
    helpers.write_findings(findings, root / "data/findings/transfers.parquet", "transfers", rows)
    record_rows(root, "transfers")
    texts = [dict.fromkeys(("site", "summary", "change", "impact"), text) for text in TEXTS]
    incidents = [incident(f"{n} {text}", kinds=["slow_link"], start=AT) | texts[n] for n, text in enumerate(TEXTS)]
    silenced = [{"silenced_as": "silenced", "silenced_by": text, "silenced_why": text} for text in TEXTS]
    incidents += [incident(f"silenced {n} {text}", "ongoing", **silenced[n]) for n, text in enumerate(TEXTS)]
    proposals = {one["title"]: [proposal(f"try {text}", effort=text)] for one, text in zip(incidents, TEXTS, strict=False)}
    write_digest(root, incidents, ["transfers"], proposals=proposals, headline=TEXTS[0], max_incidents=200)
    site.render_night(root, DAY, {"transfers": DAY})
    assert send_night(root, DAY, {"day": DAY, "studies": {"transfers": {}}, "mail": SETTINGS}, dry_run=True) == []
    return root


def test_every_text_is_counted_and_shown(root):
    published = json.loads((root / f"reports/{DAY}/digest.json").read_text(), parse_constant=pytest.fail)
    assert len(published["incidents"]) == 2 * len(TEXTS)
    assert published["counts"]["new"] == len(TEXTS)
    assert {one["title"] for one in published["incidents"]} >= {plain(f"{n} {text}") for n, text in enumerate(TEXTS)}
    front, search = (BeautifulSoup((root / path).read_text(), "html.parser") for path in (f"reports/{DAY}/index.html", "reports/search.html"))
    front = " ".join(front.get_text().split())
    assert [text for n, text in enumerate(TEXTS[:MAX_ROWS]) if visible(f"{n} {text}") not in front] == []
    assert len(TEXTS) - MAX_ROWS > 30
    titles = [title for title, _, _ in json.loads(search.select_one("#index").get_text())["entries"]]
    assert [text for n, text in enumerate(TEXTS) if not any(re.search(rf"(^|: ){n}( |$)", title) for title in titles)] == []
    for path in root.glob("reports/**/*.json"):
        assert COMPUTED not in path.read_text()


def test_nothing_runs_loads_or_is_computed_in_a_browser(root, browser):
    every = sorted((root / "reports").rglob("*.html"))
    for page in [path for path in every if path.parent.name != "entities"] + sorted((root / "reports/entities").glob("*.html"))[::40]:
        show(browser, page, 1200)
        assert browser.execute_script("return [window.hit, document.title.includes('hit=1') && document.title.length > 200]") == [None, False]
        assert browser.find_elements("css selector", "[onerror], [onload], [onfocus], base, object, iframe, meta[http-equiv=refresh]") == []
        assert browser.current_url == page.as_uri()
        assert [one for one in asked_outside(browser) if "hit" in one] == []
        assert [one for one in console_errors(browser) if "hit" in one["message"]] == []
        assert COMPUTED not in browser.find_element("css selector", "body").text
    assert browser.execute_script("return document.body.offsetHeight") > 0


def test_no_file_lies_where_a_name_leads(root):
    assert [path for folder in (root, root.parent) for path in folder.glob("**/hit" if folder == root else "hit")] == []
    assert all(re.fullmatch(r"[\w.%~ -]+", path.name) for path in (root / "reports").rglob("*"))
    assert not any(path.name.casefold() in ("con", "..", quote("../../hit")) for path in (root / "reports").rglob("*"))


def test_no_cell_of_a_table_is_a_formula_or_moves_a_terminal(root):
    tables = sorted((root / "reports").rglob("*.csv"))
    assert len(tables) >= 2
    for path in tables:
        lines = list(csv.reader(path.open(newline="", encoding="utf-8")))
        assert len({len(line) for line in lines}) == 1
        cells = [cell for line in lines[1:] for cell in line if not re.fullmatch(r"-?[\d.e+-]+", cell)]
        assert [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")] == []
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", path.read_text(encoding="utf-8"))
        assert len(lines) - 1 == len(TEXTS), path.name


def test_the_feed_is_xml_without_anything_that_runs(root):
    text = (root / "reports/feed.xml").read_text(encoding="utf-8")
    for one in ET.fromstring(text).iter():
        if one.get("type") == "html":  # any other is text
            page = BeautifulSoup(one.text, "html.parser")
            assert not page.select("script, img, iframe, object, base, meta, link, style, [onerror], [onload]")
    assert COMPUTED not in text


def test_a_mail_has_its_headers_and_no_others(root):
    messages = [email.message_from_bytes(path.read_bytes(), policy=default) for path in sorted((root / f"data/mail/{DAY}").glob("*.eml"))]
    assert messages
    for message in messages:
        assert not message.defects
        assert set(message.keys()) == {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
        page = BeautifulSoup(message.get_body(("html",)).get_content(), "html.parser")
        assert not page.select("script, iframe, object, base, meta[http-equiv=refresh], link, form, [onerror], [onload], [onfocus]")
        assert {one.get("src", "cid:")[:4] for one in page.select("img")} <= {"cid:"}
        assert COMPUTED not in message.as_string()
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", message.get_body(("plain",)).get_content())


def test_what_is_said_in_a_terminal_leaves_it_as_it_was(capsys):
    """In a real emulator: nothing is cleared, moved, coloured or answered, and each line stands for itself."""
    answers, screen = [], pyte.Screen(200, 2 * len(TEXTS) + 4)
    screen.write_process_input = answers.append
    screen.title = "before"
    stream = pyte.Stream(screen)
    capsys.readouterr()
    print_line("first")
    for text in TEXTS:
        print_line(f"transfers failed in 1_extract: {text}")
    printed = capsys.readouterr()
    stream.feed((printed.err + printed.out).replace("\n", "\r\n"))
    shown = [line.rstrip() for line in screen.display if line.strip()]
    assert shown[0].endswith("first")
    assert (screen.title, answers) == ("before", [])
    assert all(cell.fg == "default" and not cell.reverse for row in screen.buffer.values() for cell in row.values())
    assert "".join(shown).count("transfers failed in 1_extract") == len(TEXTS)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed.err + printed.out)


def test_the_emulator_would_have_noticed():
    screen = pyte.Screen(80, 5)
    pyte.Stream(screen).feed("first\r\n" + TERMINAL[1] + TERMINAL[0])
    assert screen.title == "title"
    assert not any("first" in line for line in screen.display)


def test_lines_of_json_hold_one_text_each(capsys, monkeypatch):
    monkeypatch.setattr(handler, "formatter", JsonLines())
    for text in TEXTS:
        log.log(logging.WARNING, "%s", text)
    lines = [json.loads(line)["message"] for line in capsys.readouterr().err.split("\n")[:-1]]
    assert lines == TEXTS
