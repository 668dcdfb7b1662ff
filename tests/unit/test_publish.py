"""Pages of hand-made executed notebooks."""

import base64
import io
import json
import re
import shutil
import uuid
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from incident_tables import MODEL, a_night, data_of, executed, incident, proposal, write_incidents, write_study
from PIL import Image

import helpers
from nightshift import catalog
from nightshift import night as commands
from nightshift.catalog import STEPS
from nightshift.incidents import NOT_WATCHED
from nightshift.products import read_json
from nightshift.remediation.feedback import read_feedback
from nightshift.remediation.knowledge import read_remediations
from nightshift.remediation.model import chances
from nightshift.reporting import archive, digests, downloads, pages, pictures, rendering, site, strips
from nightshift.reporting import front as front_page
from nightshift.reporting.settings import site_settings
from nightshift.schemas import FINDING, PUBLISHED
from nightshift.status import write_status
from nightshift.wording import NOTHING

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def night(first_night, tmp_path):
    """A products folder with one complete night of the transfers study, of which only the pages of its notebooks are written."""
    return shutil.copytree(first_night, tmp_path, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def first_night(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("night")
    for step in STEPS:
        executed(tmp_path / f"reports/2026-01-31/transfers/{step}.ipynb")
    path = tmp_path / "reports/2026-01-31/transfers/4_analyse.ipynb"
    notebook = executed(path, ("show_sentence()", {"text/markdown": f"**Two problems**, {helpers.escape(HOSTILE)}."}))
    notebook.cells[-1].metadata["tags"] = ["headline"]
    nbformat.write(notebook, path)
    folder = tmp_path / "data/raw/transfers"
    folder.mkdir(parents=True)
    write_status(folder, state="ok", rows=5, newest="2026-01-31 23:00", source="sample", window=["2026-01-01", "2026-01-31"])
    at = [pd.Timestamp("2026-01-31", tz="UTC")] * 2
    finding = ["transfers", "slow_link", HOSTILE, "S", *at, 1.0, 0.01, 9.0, 1.0, "s", HOSTILE, "", 2.0, "GB delayed"]
    findings = pd.DataFrame([finding], columns=helpers.FINDING_COLUMNS)
    helpers.write_parquet(findings, tmp_path / "data/findings/transfers.parquet")
    helpers.write_parquet(pd.DataFrame({"request_id": ["a"], "score": [1.0]}), tmp_path / "data/scores/transfers.parquet")
    helpers.write_json({"study": "transfers", "day": "2026-01-31", "models": [MODEL]}, tmp_path / "models/transfers/metrics.json")
    site.render_night(tmp_path, "2026-01-31", {"transfers": "2026-01-31"})
    for path in [*tmp_path.glob("reports/*/*.*"), *tmp_path.glob("reports/*.*")]:
        path.unlink()
    return tmp_path


@pytest.fixture
def further(night, monkeypatch):
    """The same night of a study that has a further page, which found one more problem."""
    described = catalog.studies()["transfers"].model_dump() | {"extra_notebooks": {"5_more": {"findings": ["transfers_gpus"]}}}
    (night / "notebooks/transfers").mkdir(parents=True)
    (night / "notebooks/transfers/study.yaml").write_text(yaml.safe_dump(described))
    monkeypatch.setattr(catalog, "NOTEBOOKS", night / "notebooks")
    path = night / "reports/2026-01-31/transfers/5_more.ipynb"
    notebook = executed(path, ("show_sentence()", {"text/markdown": "**One idle GPU.**"}))
    notebook.cells[-1].metadata["tags"] = ["headline"]
    nbformat.write(notebook, path)
    found = pd.read_parquet(night / "data/findings/transfers.parquet").assign(kind="idle_gpu", entity="n1 gpu 0")
    helpers.write_parquet(found, night / "data/findings/transfers_gpus.parquet")
    return night


def page(path):
    return BeautifulSoup(path.read_text(), "html.parser")


def test_hostile_names_stay_text_on_every_page(night):
    front, _, _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    for path in [front, front.parent / "transfers/4_analyse.html"]:
        assert not foreign_parts(path)
        assert HOSTILE in page(path).get_text()


def rendered(notebook, folder):
    """The HTML of a page of this notebook, with pictures below `folder`."""
    return pages.render_notebook(notebook, pictures.Album.of(folder / "n.html", "")).content


def test_markup_in_raw_outputs_is_disarmed(tmp_path):
    notebook = executed(tmp_path / "n.ipynb", ("x", {"text/html": f'<table><tr><td>{HOSTILE}</td></tr></table><a href="javascript:x()">l</a>'}))
    content = rendered(notebook, tmp_path)
    assert not BeautifulSoup(content, "html.parser").select("script, img, [onerror], a[href]")


def test_styles_and_scripts_of_raw_outputs_leave_no_text(tmp_path):
    frame = pd.DataFrame({"a": [1]})
    markup = f"<div><style scoped>.dataframe tbody {{ vertical-align: top; }}</style>{frame.to_html()}<SCRIPT>let x = 1</SCRIPT ></div>"
    content = rendered(executed(tmp_path / "n.ipynb", ("x", {"text/html": markup})), tmp_path)
    text = BeautifulSoup(content, "html.parser").get_text()
    assert not [word for word in ("vertical-align", "let x") if word in text]
    assert "a" in text


def test_what_a_notebook_recorded_is_on_no_page_and_no_warning_is_printed(tmp_path, recwarn):
    recorded = {"application/vnd.nightshift+json": {"name": "verdict", "value": "ok-for-programs"}}
    content = rendered(executed(tmp_path / "n.ipynb", ("record()", recorded), ("1", {"text/plain": "shown"})), tmp_path)
    assert "ok-for-programs" not in content
    assert "shown" in content
    assert not [warning for warning in recwarn if "mimetype" in str(warning.message)]


@pytest.mark.parametrize(
    ("source", "coloured"),
    [
        ("for x in y: pass", "<k>for</i> x <k>in</i> y: <k>pass</i>"),
        ("x1 = 1e-5 + 5j - 0x1F", "x1 = <n>1e-5</i> + <n>5j</i> - <n>0x1F</i>"),
        (r'''f"if {1}\"" # "not"''', r"""<s>f"if {1}\""</i> <c># "not"</i>"""),
        ('"""a\n# b""" if r\'n\' else None_', '<s>"""a\n# b"""</i> <k>if</i> <s>r\'n\'</i> <k>else</i> None_'),
        ("'no end\nprint(a < b & c)", "<s>'no end</i>\nprint(a &lt; b &amp; c)"),
    ],
)
def test_words_of_python_have_their_colours(source, coloured):
    assert re.sub("<i class=(.)>", r"<\1>", rendering.coloured(source)) == coloured


@pytest.mark.parametrize(
    ("markup", "harmless"),
    [
        (pd.DataFrame({"a&b": ["<b>", '"'], "c": [1.5, None]}).to_html(), True),
        ('<h2 id="a">A<a class="anchor-link" href="#a">b</a></h2>\n<p>It <em>is</em> 5 &lt; 6 &amp; <code>x</code></p>', True),
        ('<div class="x"><p title="on">a</p></div><a href="https://example.org/?a=1">b</a>', True),
        ('<p onclick="x()">a</p>', False),
        ('<a href="javascript:x()">a</a><a href=https://example.org>b</a>', False),
        ("<p class='x' onmouseover=y>a</p><!-- <p> --><svg><a>b</a></svg>", False),
        ('<p class="a"onclick="x">b</p>', False),
        ("a</div><div>b", False),
        ('<p title="&quot;><img src=x>">a</p>', False),
        ('<a href="//example.org">a</a><a href="data:text/html,x">b</a>', False),
        ("<math><p>a</p></math><p", False),
    ],
)
def test_what_passes_for_harmless_is_what_the_sanitiser_would_leave(markup, harmless, monkeypatch):
    converter, _ = rendering.exporter()
    clean, passed = converter.environment.filters["clean_html"], []
    test = rendering.is_harmless
    monkeypatch.setattr(rendering, "is_harmless", lambda text: passed.append(test(text)) or passed[-1])
    seen = BeautifulSoup(clean(markup), "html.parser")
    monkeypatch.setattr(rendering, "is_harmless", lambda text: False)
    assert (passed, seen) == ([harmless], BeautifulSoup(clean(markup), "html.parser"))
    assert not seen.select("[onclick], [onmouseover], svg, math, img, [href^=javascript], [href^=data]")


def test_code_is_coloured_and_stays_text(tmp_path):
    source = 'x = "</pre><script>alert(1)</script> &amp;"  # why'
    content = rendered(executed(tmp_path / "n.ipynb", ("1", {"text/plain": "1"}), (source, {"text/plain": "2"})), tmp_path)
    soup = BeautifulSoup(content, "html.parser")
    code = soup.select("details.code pre")[-1]
    assert code.get_text().strip() == source
    assert [word.get_text() for word in code.select("i.c")] == ["# why"]
    assert code["tabindex"] == "0"
    assert not soup.select("script")


ANALYSIS = [  # cells of an analysis: prose, or (source, output, tag)
    "# Transfers 4: analyse\n\nWhich ones are slow?\n\n*Reads*: all.\n\n*Not claimed*: causes.",
    "## Headline\n\nFirst the scores.",
    ("print(1)", nbformat.v4.new_output("stream", text="a line of the log\n"), ""),
    ("show_sentence()", {"text/markdown": "Two are slow."}, "headline"),
    "## Findings\n\nStrongest first.",
    ("show_table()", {"text/html": "<table><thead><tr><th>who</th></tr></thead><tbody><tr><td>S1</td></tr></tbody></table>"}, ""),
    ("show_figure()", {"image/png": ""}, ""),
    "## How sure\n\nFairly.",
    "## Limits\n\n- Few links.",
]


def write_analysis(path):
    """Write an executed notebook of ANALYSIS with a real picture."""
    picture = io.BytesIO()
    Image.fromarray(np.tile(np.arange(700, dtype="uint8"), (90, 1))).save(picture, "PNG")
    notebook = executed(path)
    notebook.cells = []
    for cell in ANALYSIS:
        if isinstance(cell, str):
            notebook.cells.append(nbformat.v4.new_markdown_cell(cell))
            continue
        source, output, tag = cell
        if "image/png" in output:
            output = {"image/png": base64.b64encode(picture.getvalue()).decode()}
        shown = output if "output_type" in output else nbformat.v4.new_output("display_data", output, metadata={"image/png": {"alt": "A grey ramp"}})
        notebook.cells.append(nbformat.v4.new_code_cell(source, outputs=[shown], execution_count=1, metadata={"tags": [tag] if tag else []}))
    nbformat.write(notebook, path)
    return notebook


def test_a_report_begins_with_its_findings_and_its_code_is_one_click_away(night):
    folder = night / "reports/2026-01-31/transfers"
    write_analysis(folder / "4_analyse.ipynb")
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    report, code = page(folder / "4_analyse.html"), page(folder / "4_analyse_notebook.html")
    assert [one.get_text() for one in report.main.find_all(["h1", "h2"])] == [
        *("Transfers: report of 2026-01-31", "Findings", "How it was found", "How sure", "Limits", "Files")
    ]
    read = ["Which ones are slow?", "Two are slow.", "S1", "Strongest first.", "Reads: all.", "First the scores."]
    read += ["Fairly.", "Not claimed: causes.", "Few links."]
    places = [report.main.get_text().index(sentence) for sentence in read]
    assert places == sorted(places), "the order in which it is read"
    assert report.main.get_text().count("Two are slow.") == 1, "the answer stands below the title only"
    assert not [words for words in ("show_table", "print(1)", "a line of the log") if words in report.main.get_text()]
    assert [one.get_text() for one in code.main.find_all("h2")] == ["Headline", "Findings", "How sure", "Limits", "Run"], "its own order"
    for sentence in [*read, "a line of the log", "print(1)"]:
        assert sentence in code.main.get_text(), "all is in the notebook"
    assert report.select_one('aside a[href="4_analyse_notebook.html"]')
    assert code.select_one('aside a[href="4_analyse.html"]')


def test_a_picture_stands_in_the_report_alone_small_and_in_its_size(night):
    folder = night / "reports/2026-01-31/transfers"
    write_analysis(folder / "4_analyse.ipynb")
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    figure = page(folder / "4_analyse.html").select_one("#figure-1 img")
    assert re.fullmatch(r"\.\./pictures/[0-9a-f]+\.webp", figure["src"])
    shown = Image.open(folder / figure["src"])
    assert (shown.format, shown.size, figure["alt"]) == ("WEBP", (700, 90), "A grey ramp")
    assert (figure["width"], figure["height"]) == ("700", "90")
    assert 16 <= len(shown.convert("RGB").getcolors()) <= 32
    code = page(folder / "4_analyse_notebook.html")
    assert not code.select("img")
    assert code.select_one('a[href="4_analyse.html#figure-1"]').parent.get_text() == "Figure 1 in the report: A grey ramp"


def test_a_large_table_stands_in_the_report_and_the_notebook_leads_to_it(night):
    """The findings of a report come first, whatever came before them in the notebook: each link leads to its own table."""
    folder = night / "reports/2026-01-31/transfers"
    notebook = write_analysis(folder / "4_analyse.ipynb")
    for name, n, place in (("early", 30, "## Headline"), ("strong", 40, "## Findings"), ("small", 2, "## Limits")):
        table = pd.DataFrame({name: [f"{name} {i}" for i in range(n)], "n": range(n)}).to_html(index=False)
        cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", {"text/html": table})])
        notebook.cells.insert(next(i for i, one in enumerate(notebook.cells) if one.source.startswith(place)) + 1, cell)
    nbformat.write(notebook, folder / "4_analyse.ipynb")
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    report, code = page(folder / "4_analyse.html"), page(folder / "4_analyse_notebook.html")
    assert "small 1" in code.main.get_text()
    for name, n in (("early", 30), ("strong", 40)):
        [line] = [one for one in code.select("p.quiet:has(a)") if f"in the report: {name}, n; {n} rows" in one.get_text()]
        file, _, anchor = line.a["href"].partition("#")
        assert file == "4_analyse.html"
        assert f"{name} {n - 1}" in report.find(id=anchor).get_text()
        assert f"{name} {n - 1}" not in code.main.get_text()
    assert dead_links(night / "reports") == []


def test_a_failed_analysis_shows_its_error_in_the_report_and_the_cell_in_its_notebook(night):
    folder = night / "reports/2026-01-31/transfers"
    executed(folder / "4_analyse.ipynb", ("1", {"text/markdown": "So far."}), error="no model")
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    report, code = page(folder / "4_analyse.html"), page(folder / "4_analyse_notebook.html")
    assert "ValueError: no model" in report.main.find().get_text()
    assert report.select_one('a[href="4_analyse_notebook.html#failed-cell"]')
    assert not report.select("pre")
    assert "So far." in report.main.get_text()
    assert code.select_one("#failed-cell pre.traceback")
    assert not report.select('.files a[href$="_findings.csv"]'), "findings of an earlier run are none of tonight"


def test_titles_differ_and_the_menu_leads_to_the_reports_of_all_studies(night):
    write_study(night, "accounting")
    front, _, _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31", "accounting": "2026-01-31"})
    titles = {path: page(path).title.get_text() for path in front.parent.rglob("*.html")}
    assert len(set(titles.values())) == len(titles) == 11
    folder = front.parent / "transfers"
    assert titles[folder / "4_analyse.html"] == "Transfers: report of 2026-01-31 · Nightshift"
    assert titles[folder / "4_analyse_notebook.html"] == "Transfers: 4 analyse, notebook, 2026-01-31 · Nightshift"
    assert titles[folder / "3_train.html"] == "Transfers: 3 train, 2026-01-31 · Nightshift"
    menu = {one.get_text(): one["href"] for one in page(folder / "3_train.html").select("header nav.night a")}
    assert menu == {"2026-01-31": "../index.html", "Accounting": "../accounting/4_analyse.html", "Transfers": "../transfers/4_analyse.html"}
    steps = {one.get_text(): one["href"] for one in page(folder / "3_train.html").select("nav.steps a")}
    assert steps == {"report": "4_analyse.html", "1 extract": "1_extract.html", "2 preprocess": "2_preprocess.html", "3 train": "3_train.html"}
    assert dead_links(night / "reports") == []


def test_every_page_has_the_same_menus_and_marks_itself(night):
    digested(night, [incident("an outage", site="A")])
    front, _, _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    reports = night / "reports"
    of_site, of_night = {}, {}
    for path in reports.rglob("*.html"):
        of_site[path] = [one.get_text() for one in page(path).select('header nav[aria-label="Site"] a')]
        of_night[path] = [one.get_text() for one in page(path).select("header nav.night a")]
    assert set(map(tuple, of_site.values())) == {("All nights", "Entities", "Trends", "Search", "Glossary")}
    assert {tuple(names) for path, names in of_night.items() if front.parent in path.parents} == {("2026-01-31", "Transfers", "Digest")}
    assert {tuple(names) for path, names in of_night.items() if front.parent not in path.parents} == {()}
    marked = {path: [one.get_text() for one in page(path).select("header nav [aria-current]")] for path in of_site}
    assert marked[front] == ["2026-01-31"]
    assert marked[front.parent / "digest.html"] == ["Digest"]
    assert marked[front.parent / "transfers/4_analyse.html"] == ["Transfers"]
    assert marked[reports / "trends.html"] == ["Trends"]
    assert marked[reports / "glossary.html"] == ["Glossary"]


def test_a_report_gives_its_findings_and_the_files_of_its_run_with_their_sizes(night):
    path = night / "data/findings/transfers.parquet"
    helpers.write_parquet(pd.read_parquet(path).assign(entity="=HYPERLINK(1)"), path)
    folder = night / "reports/2026-01-31/transfers"
    (folder / "4_analyse.log").write_text("x" * 1234)
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    shown = [" ".join(one.get_text().split()) for one in page(folder / "4_analyse.html").select(".files li")]
    sizes = {name: downloads.size_of(folder / name) for name in ("transfers_findings.csv", "transfers_findings.parquet", "4_analyse.ipynb")}
    assert shown == [
        f"transfers_findings.csv {sizes['transfers_findings.csv']}, findings, for a spreadsheet",
        f"transfers_findings.parquet {sizes['transfers_findings.parquet']}, findings, for programs",
        f"4_analyse.ipynb {sizes['4_analyse.ipynb']}, executed notebook, for Jupyter",
        "4_analyse.log 1 kB, log of the run",
    ]
    [row] = pd.read_csv(folder / "transfers_findings.csv").to_dict("records")
    [exact] = pd.read_parquet(folder / "transfers_findings.parquet").to_dict("records")
    assert (row["entity"], exact["entity"]) == ("'=HYPERLINK(1)", "=HYPERLINK(1)"), "no spreadsheet computes what a source says"
    assert (row["start"], row["score"], row["evidence"]) == ("2026-01-31T00:00:00Z", 1.0, " ".join(HOSTILE.split()))
    assert exact["start"] == pd.Timestamp("2026-01-31", tz="UTC")


def test_a_study_offers_its_files_on_the_night_that_made_them(night):
    write_study(night, "certification")
    golden, folder = night / "data/scores/certification_golden.json", night / "reports/2026-01-31/certification"
    golden.write_text('{"400001": [[1, 20]]}')
    site.render_night(night, "2026-01-31", {"certification": "2026-01-31"})
    assert json.loads((folder / golden.name).read_text()) == {"400001": [[1, 20]]}
    assert "21 bytes" in page(folder / "4_analyse.html").select_one(f'.files li:has(a[href="{golden.name}"])').get_text()
    executed(folder / "4_analyse.ipynb", error="no model")
    site.render_night(night, "2026-01-31", {"certification": "2026-01-31"})
    assert not (folder / golden.name).exists(), "that of an earlier run is none of tonight"


def test_columns_are_marked_by_what_they_hold_and_sentences_make_cards():
    columns = {"n": ["3e-07", "1,200"], "day": ["2026-01-12"] * 2, "at": ["2026-01-12 04:00 UTC"] * 2}
    columns |= {"since": ["2026-01-12", "2026-01-12 04:00 UTC"], "node": ["ember-t2-n01", "n2"]}
    table = pd.DataFrame(columns | {"why": ["x" * 61, ""], "who": ["a", "b"]})
    soup = BeautifulSoup(table.to_html(index=False), "html.parser")
    rendering.mark_columns(soup.table)
    assert [cell.get("class") for cell in soup.select_one("tbody tr").select("td")] == ["number", "date", "time", "day", "name", "prose", None]
    assert soup.table["class"] == "cards"
    assert [cell["data-of"] for cell in soup.select("tbody tr")[1].select("td")] == [*columns, "why", "who"]
    assert [cell.get_text() for cell in soup.select("tbody tr")[1].select("td")][-2:] == [NOTHING, "b"]


def test_a_date_of_prose_is_kept_whole_and_nothing_else_is_touched():
    tags = '<p title="2026-01-31">2026-01-31 04:00, 17-2026-01-31, <a href="2026-01-31/">2026-01-30</a></p>'
    others = "<td>2026-01-31</td><pre>2026-01-31</pre><script>'2026-01-31'</script><title>2026-01-31</title>reports/2026-01-31"
    others += "<svg><title>a</title><text>2026-01-31</text></svg><pre><i>a</i> 2026-01-31</pre>"
    kept = pages.dates_kept_whole(tags + others)
    shown = '<p title="2026-01-31"><time>2026-01-31</time> 04:00, 17-2026-01-31, <a href="2026-01-31/"><time>2026-01-30</time></a></p>'
    assert kept == shown + others


@pytest.mark.parametrize(
    ("newest", "line", "reach"),
    [
        (["2026-01-31 23:57:00+00:00", "2026-01-30 08:00:00+00:00"], "", ["to 23:57", "to 2026-01-30"]),
        (["2026-01-31", "2026-01-31 00:00:00+00:00"], "", ["to 2026-01-31", "to 2026-01-31"]),
        (["2026-01-30 23:57:00+00:00", None], "", ["to 2026-01-30", ""]),  # of one nobody knows
        (
            ["2026-01-30 23:57:00+00:00", "2026-01-29 08:00:00+00:00"],
            "No study has data of 2026-01-31; the newest are from 2026-01-30, so what follows was known before.",
            ["to 2026-01-30", "to 2026-01-29"],
        ),
    ],
)
def test_a_front_page_says_until_when_data_reach_and_whether_any_is_of_the_night(newest, line, reach):
    studies = [{"status": {"newest": one}} for one in newest]
    assert front_page.silence_line(studies, "2026-01-31") == line
    assert [front_page.reach_of(one, "2026-01-31") for one in studies] == reach


def test_the_digest_is_a_report_whose_code_is_a_page_of_its_own(night):
    executed(night / "reports/2026-01-31/digest.ipynb", ("x = 1", None))
    site.render_night(night, "2026-01-31", {"certification": "2026-01-31"})
    report, code = (page(night / f"reports/2026-01-31/{name}.html") for name in ("digest", "digest_notebook"))
    assert report.h1.get_text() == "Digest of 2026-01-31"
    assert not report.select("details.code")
    assert code.select("details.code")
    assert (report.select_one("aside a")["href"], code.select_one("aside a")["href"]) == ("digest_notebook.html", "digest.html")


def test_a_complete_night_says_what_was_found(night):
    front, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "anomalies 1"
    assert "Two problems" in page(front).get_text()
    run = read_json(front.parent / "run.json")
    assert run["studies"]["transfers"]["steps"]["3_train"]["outcome"] == "ok"
    assert run["studies"]["transfers"]["data"]["sha256"]


def test_moments_that_a_source_does_not_know_are_said_to_be_unknown(night):
    path = night / "data/findings/transfers.parquet"
    found = pd.read_parquet(path)
    none = found.assign(start=found.start.where([False]), end=found.end.where([False]))
    helpers.write_parquet(none, path)
    front, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "anomalies 1"
    assert [cell.get_text() for cell in page(front).select("table td.time")] == ["not known", "not known"]
    helpers.write_parquet(pd.concat([found, none]), path)
    front, _, _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert [cell.get_text() for cell in page(front).select("table td.time")] == ["2026-01-31", "2026-01-31", "not known", "not known"]


def test_a_further_page_counts_on_the_front_page_and_is_in_the_navigation(further):
    front, [study], _ = site.render_night(further, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "anomalies 2"
    text = page(front).get_text()
    assert "with 2 findings" in text
    assert "Two problems" in text
    assert "One idle GPU." in text
    assert "n1 gpu 0" in text
    assert page(front).select_one('a[href="transfers/5_more.html"]')
    assert page(front.parent / "transfers/4_analyse.html").select_one('nav a[href="5_more.html"]')
    assert page(front.parent / "transfers/5_more.html").select_one('[aria-current="page"]').get_text() == "5 more"


def test_a_further_page_that_failed_leaves_the_findings_of_the_analysis(further):
    report = further / "reports/2026-01-31/transfers"
    executed(report / "5_more.ipynb", error="no GPU")
    front, [study], _ = site.render_night(further, "2026-01-31", {"transfers": "2026-01-31"})
    assert (study["verdict"], study["failed_step"], study["error"]) == ("failed", "5_more", "ValueError: no GPU")
    assert list(study["findings"].kind) == ["slow_link"]
    assert "Two problems" in page(front).get_text()


def test_a_mere_page_costs_the_study_nothing_whether_it_failed_or_did_not_run(night):
    """Of a night that ran before the page on quality was there, the findings stay; a page that failed is a failure of the night."""
    assert catalog.is_mere_page("transfers", "5_quality")
    _, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert (study["verdict"], study["failed_step"], study["hinders"]) == ("anomalies 1", "", False)
    executed(night / "reports/2026-01-31/transfers/5_quality.ipynb", error="no model")
    _, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert (study["verdict"], study["failed_step"], study["hinders"], len(study["findings"])) == ("anomalies 1", "", True, 1)
    assert study["warnings"] == ["The page 5_quality failed: ValueError: no model"]


def test_a_failed_analysis_leaves_the_findings_of_a_further_page(further):
    executed(further / "reports/2026-01-31/transfers/4_analyse.ipynb", error="no model")
    _, [study], _ = site.render_night(further, "2026-01-31", {"transfers": "2026-01-31"})
    assert (study["verdict"], study["failed_step"], study["headline"]) == ("failed", "4_analyse", "One idle GPU.")
    assert list(study["findings"].kind) == ["idle_gpu"]


def test_a_failed_step_comes_first_on_its_page_and_on_the_front_page(night):
    executed(night / "reports/2026-01-31/transfers/2_preprocess.ipynb", error="the column bytes is missing")
    for step in ("3_train", "4_analyse"):
        (night / f"reports/2026-01-31/transfers/{step}.ipynb").unlink()
    front, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "failed"
    assert "Failed in 2_preprocess. ValueError: the column bytes is missing" in " ".join(page(front).get_text().split())
    failed = page(front.parent / "transfers/2_preprocess.html")
    assert "the column bytes is missing" in failed.main.find().get_text()  # the first thing in the page
    assert failed.select_one("#failed-cell pre.traceback")
    assert "Two problems" not in page(front).get_text(), "findings of an earlier run shown as tonight's"


def test_a_notebook_that_was_killed_is_failed(night):
    path = night / "reports/2026-01-31/transfers/4_analyse.ipynb"
    executed(path, ended=None)
    _, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert (study["verdict"], study["error"]) == ("failed", "it was stopped before it ended")


@pytest.mark.parametrize(("judged", "verdict"), [(0, "nothing judged"), (1, "ok")])
def test_a_night_without_findings_is_ok_only_where_something_was_judged(night, judged, verdict):
    helpers.write_parquet(pd.DataFrame(columns=helpers.FINDING_COLUMNS), night / "data/findings/transfers.parquet")
    helpers.write_parquet(pd.DataFrame({"request_id": ["a"][:judged], "score": [1.0][:judged]}), night / "data/scores/transfers.parquet")
    front, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == verdict
    assert page(front).select_one("h3 .verdict").get_text() == verdict
    assert f".verdict.{verdict.split()[0]}" in (helpers.ROOT / "templates/style.css").read_text()


@pytest.mark.parametrize(("state", "verdict"), [("stale", "stale"), ("empty", "empty"), ("partial", "anomalies 1")])
def test_the_state_of_the_data_shows_in_the_verdict(night, state, verdict):
    write_status(night / "data/raw/transfers", state=state, rows=5, newest="2026-01-20", source="sample", window=["2026-01-01", "2026-01-31"])
    front, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == verdict
    assert state in page(front).get_text()


def test_pages_are_rendered_once_and_again_when_the_notebook_changes(night):
    front, _, _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    target = front.parent / "transfers/1_extract.html"
    before = target.stat().st_mtime_ns
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert target.stat().st_mtime_ns == before
    executed(target.with_suffix(".ipynb"), ("1", None))
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert target.stat().st_mtime_ns > before


def test_a_night_without_training_has_a_page_of_the_training_of_an_earlier_night(night):
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    for step in ("1_extract", "2_preprocess", "4_analyse"):
        executed(night / f"reports/2026-02-01/transfers/{step}.ipynb")
    data_of(night, "2026-02-01")
    front, [study], _ = site.render_night(night, "2026-02-01", {"transfers": "2026-02-01"})
    assert study["verdict"] == "anomalies 1"
    assert "of 2026-01-31" in page(front).select_one('li:has(a[href="transfers/3_train.html"])').get_text()
    training = page(front.parent / "transfers/3_train.html")
    assert "of the night of 2026-01-31" in training.main.get_text()
    assert training.select_one('nav.steps a[href="4_analyse.html"]'), "its navigation is that of its own night"
    assert len(page(front).select("svg.history rect")) == 2


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (None, "none"),
        ({"name": "log_size", "baseline_name": "log_size"}, "log size, a trivial baseline"),
        (MODEL, "lstm, skill 0.40 (0.35 to 0.45) against log size"),
        (MODEL | {"skill": -8.5e8, "skill_low": -9e8}, "lstm, skill below -10, far worse than the baseline against log size"),
        (MODEL | {"skill_low": -0.1}, "lstm, skill 0.40 (-0.10 to 0.45) against log size, so it is not shown to be better"),
        (MODEL | {"skill": -3, "skill_low": -9e8, "skill_high": -1}, "lstm, skill -3.00 (below -10 to -1.00) against log size"),
    ],
)
def test_the_model_that_scores_is_one_line(model, line):
    assert front_page.model_line(model) == line


def test_the_line_of_the_model_says_which_other_one_is_better():
    size = MODEL | {"name": "log_size", "skill": 0.0, "skill_low": 0.0, "skill_high": 0.0}
    better = MODEL | {"name": "route_median", "in_use": False, "skill": 0.2, "skill_low": 0.1, "skill_high": 0.3}
    line = "log size, a trivial baseline; route median is better, skill 0.20 (0.10 to 0.30), and does not score"
    assert front_page.model_line(size, [size, better]) == line
    for other in ({"skill_low": -0.1}, {"metric": "AUC"}, {"split": "shuffled"}, {"in_use": True}):
        assert front_page.model_line(size, [size, better | other]) == "log size, a trivial baseline"
    assert front_page.model_line(MODEL, [MODEL, better]) == "lstm, skill 0.40 (0.35 to 0.45) against log size"


def test_parameters_show_value_default_and_meaning():
    cell = nbformat.v4.new_code_cell('days: int = 42  # length, days\nurl: str = "a=b"  # where', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"parameters": {"days": 7}}})
    assert pages.parameters_of(notebook, {"days": 7}) == [
        {"name": "days", "value": 7, "default": 42, "changed": True, "meaning": "length, days"},
        {"name": "url", "value": "a=b", "default": "a=b", "changed": False, "meaning": "where"},
    ]


def test_an_old_night_is_not_rendered_with_the_findings_of_a_new_one(night, monkeypatch, capsys):
    site.render_night(night, "2026-01-30", {"transfers": "2026-01-30"})
    before = (night / "reports/2026-01-30/run.json").read_bytes()
    (night / "site.yaml").write_text(f"day: 2026-01-30\nproducts: {night}\nstudies: {{transfers: {{}}}}\n")
    assert commands.publish(night / "site.yaml") == 2
    assert "the products are those of 2026-01-31" in capsys.readouterr().err
    assert (night / "reports/2026-01-30/run.json").read_bytes() == before


def test_an_empty_source_is_no_failure_on_the_front_page(night):
    write_status(night / "data/raw/transfers", state="empty", rows=0, newest="", source="x", window=["2026-01-01", "2026-01-31"])
    executed(night / "reports/2026-01-31/transfers/3_train.ipynb", error="0 finished transfers")
    front, [study], _ = site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "empty"
    assert "The source holds no row from 2026-01-01 to 2026-01-31." in page(front).get_text()
    assert "Failed in" not in page(front).get_text()


@pytest.mark.parametrize("verdict", ["failed", "ok"])
def test_a_mail_that_cannot_be_sent_is_a_line_and_changes_no_page(night, monkeypatch, capsys, verdict):
    if verdict == "failed":
        executed(night / "reports/2026-01-31/transfers/1_extract.ipynb", error="no disk")
    mail = "{from: a@a.example, server: 'smtps://127.0.0.1:1', to: [{address: b@b.example}], failures: [b@b.example]}"
    (night / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {night}\nstudies: {{transfers: {{}}}}\nmail: {mail}\n")
    assert commands.publish(night / "site.yaml") == 1, "what was not mailed is a failure of the night"
    sentence = capsys.readouterr()
    [line] = [line for line in sentence.err.splitlines() if line.startswith("mail: ")]
    assert line == "mail: 2026-01-31 to b@b.example: 127.0.0.1:1: [Errno 111] Connection refused; tried again at the next run"
    assert sentence.out.startswith("Front page: ")
    assert (night / "reports/2026-01-31/index.html").exists()


# ------------------------------------------------------------------------------------------------------------ incidents


def digested(root, incidents, day="2026-01-31", **more):
    """A digest of `day` that ended well, with a heading per incident, and what it left; returns the rows."""
    nights = {} if "transfers" in more.get("missing", []) else {"transfers": day}
    rows = write_incidents(root, incidents, day, **more)
    heads = [("show_sentence()", {"text/markdown": f"### {row['rank']}. {helpers.escape(row['title'])}"}) for row in rows if row["shown"]]
    parameters = {"nights": nights, "missing": list(more.get("missing", []))}
    executed(root / f"reports/{day}/digest.ipynb", *heads, parameters=parameters, ended=f"{day}T23:00:00+00:00")
    return rows


def published(root, day="2026-01-31", **more):
    """(the front page as soup, what digest.json says) of a night that is published."""
    front, _, _ = site.render_night(root, day, {"transfers": day}, **more)
    return page(front), json.loads((front.parent / "digest.json").read_text(), parse_constant=pytest.fail)


def foreign_parts(path):
    """What a page holds that could run or load, apart from the scripts of the site, which its policy names."""
    content = page(path)
    policy = content.select_one("meta[http-equiv=Content-Security-Policy]")["content"]
    allowed = {one.text for one in (pages.script(name, "open.js") for name in ("front.js", "tables.js")) if one.source in policy}
    return [one for one in content.select("script, img[src=x], [onerror]") if one.name != "script" or one.get_text() not in allowed]


def in_text(soup):
    return " ".join(soup.get_text().split())


def test_the_front_page_begins_with_the_incidents(night):
    tried = {"site outage at ISTHMUS-T2": [proposal("Ask the site", 0.62, trials=13, worked=8), proposal("Wait", 0.3, trials=0)]}
    tried["site outage at ISTHMUS-T2"] += [proposal("Third"), proposal("Fourth")]
    rows = digested(night, a_night(), proposals=tried, headline="First: site outage at ISTHMUS-T2.")
    front, _ = published(night)
    first, second, third = front.select(".pressing details.incident")
    assert "open" not in first.attrs
    assert "First:" not in in_text(front), "the first row says it"
    text = in_text(first)
    row = "high site outage at ISTHMUS-T2 ISTHMUS-T2 2026-01-30 19:40 accounting, transfers, tickets"
    assert in_text(first.summary) == f"{row} 103,178 core hours, 12 GB delayed, 18 tickets new, open"
    assert "ISTHMUS-T2 fails or is idle since 30 Jan 2026 19:40 UTC" in text
    assert f"{rows[0]['incident']} · findings and evidence" in text
    assert text.count("since") == 1
    assert "Ask the site (chance 62% (31% to 81%), 8 of 13 trials worked, takes 10 min; ask)" in text
    assert "Wait (chance 30% (15% to 65%), not tried yet, takes 10 min; wait)" in text
    assert "Third" in text
    worked, failed, silence = (one.get_text() for one in first.select("pre"))
    command = f".venv/bin/nightshift feedback {rows[0]['incident']} ask worked --products {night}"
    assert worked.splitlines()[0] == command
    assert failed == worked.replace(" worked ", " failed "), "the reader chooses"
    assert silence.startswith(f".venv/bin/nightshift silence {rows[0]['incident']} --until 2026-02-14 --why ")
    assert "Fourth" not in text
    assert "escalated, night 3" in in_text(second)
    assert in_text(second).count("impact 12 GB delayed last night, 48 GB tonight") == 1
    assert "ongoing, night 3" in in_text(third)
    link = first.select_one("a")["href"]
    assert link == f"digest.html#{rows[0]['incident']}"
    digest = page(night / "reports/2026-01-31/digest.html")
    assert "site outage at ISTHMUS-T2" in digest.find(id=rows[0]["incident"]).get_text()
    assert page(night / "reports/2026-01-31/transfers/4_analyse.html").select_one('header a[href="../digest.html"]')


def test_what_is_closed_says_why_and_which_of_it_is_the_gravest():
    unwatched = {"title": "a", "state": "closed", "severity": "low", "priority": 3.0, "change": NOT_WATCHED, "ended": True, "silence": None}
    grave = unwatched | {"title": "an outage", "severity": "high", "priority": 8.0}
    assert front_page.closed_in_words([]) == ""
    assert front_page.closed_in_words([unwatched]) == "1 closed: ended before monitoring began"
    assert front_page.closed_in_words([grave, unwatched | {"change": ""}]) == (
        "2 closed: ended before monitoring began, or reported as ended on an earlier night; the gravest: an outage"
    )
    merged = unwatched | {"change": "now part of 20260130-3f2a"}
    assert front_page.closed_in_words([merged]) == "1 closed: now part of another one"
    assert front_page.closed_in_words([unwatched, merged]) == "2 closed: ended before monitoring began, or now part of another one"


def test_bars_of_all_studies_lie_within_a_strip():
    start, end = "2026-01-30T00:00:00Z", "2026-01-31T00:00:00Z"
    for n, top, high in ((1, "2", "4"), (3, "12", "4"), (5, "14", "2")):
        findings = [{"study": f"s{number}", "start": start, "end": end} for number in range(n)]
        last = BeautifulSoup(strips.strip_of({"findings": findings}, "2026-01-31"), "html.parser").select("rect")[-1]
        assert (last["y"], last["height"]) == (top, high)


def test_a_page_in_another_encoding_that_a_study_offers_is_no_obstacle(tmp_path):
    (tmp_path / "offered.html").write_bytes(b'<p>\xfc<link href="style-0123abcd.css">')
    for name in ("style-0123abcd.css", "style-4567abcd.css"):
        (tmp_path / name).touch()
    pages.clear_unused(tmp_path)
    assert [path.name for path in tmp_path.glob("*.css")] == ["style-0123abcd.css"]


def test_what_is_new_is_chosen_by_whether_it_is_open(night):
    rows = [incident("an outage"), incident("a queue", ended=True), incident("a leak", "ongoing")]
    digested(night, rows, proposals={name: [proposal("Wait", 0.5)] for name in ("an outage", "a queue")})
    front, _ = published(night)
    options = {in_text(one): one["value"] for one in front.select("#by-state option")}
    assert list(options) == ["all", "new, open", "new, ended", "ongoing"]
    shown = {in_text(one.select_one(".title")): one["data-state"] for one in front.select(".rows > li")}
    assert shown == {"an outage": options["new, open"], "a queue": options["new, ended"], "a leak": options["ongoing"]}
    shown = {in_text(one.select_one(".title")): in_text(one) for one in front.select("details.incident")}
    assert "It has ended; this is for when it comes back. To try" in shown["a queue"]
    assert "It has ended" not in shown["an outage"]


def test_what_no_page_of_the_digest_shows_has_its_evidence_on_the_front_page_and_no_link_beside_it(night):
    over = incident("bad run 1", "closed", change=NOT_WATCHED, age_nights=1, first_seen="2026-01-31", end=pd.Timestamp("2026-01-20 10:00", tz="UTC"))
    digested(night, [incident("an outage"), over | {"summary": "Bad run 1 was bad."}])
    front, _ = published(night)
    shown, folded = front.select("details.incident")
    assert "findings and evidence" in in_text(shown)
    assert not shown.select(".evidence")
    assert "findings and evidence" not in in_text(folded)
    assert [in_text(one) for one in folded.select(".evidence li")] == ["Bad run 1 was bad."]
    assert in_text(folded.select_one(".status")) == "closed"
    assert in_text(front.select_one("#closed > summary")) == "1 closed: ended before monitoring began"
    assert not front.select('a[href="digest.html"]:not(header a)')


def test_an_incident_of_several_sites_names_the_first_and_is_found_by_each(night):
    row = incident("a dip", studies=["accounting", "transfers", "tickets", "telemetry"], site="A")
    digested(night, [row, incident("another", site="B")])
    path = night / "data/incidents/2026-01-31_findings.parquet"
    findings = pd.read_parquet(path)
    findings["sites"] = np.where(findings.incident == row["incident"], "C, D, B", "")
    helpers.write_parquet(findings, path)
    front, shown = published(night)
    first, second = front.select(".pressing > li")
    assert in_text(first.select_one(".place")) == "A, C and 2 more"
    assert "All sites: A, C, D, B." in in_text(first)
    assert "All sites" not in in_text(second)
    chosen = {one.get_text(): one.get("value") for one in front.select("#by-site option")}
    assert list(chosen) == ["all", "A", "B", "C", "D"]
    assert [chosen["B"] in one["data-site"].split() for one in (first, second)] == [True, True]
    assert [chosen["D"] in one["data-site"].split() for one in (first, second)] == [True, False]
    assert shown["incidents"][0]["findings"][0]["sites"] == "C, D, B"


def test_each_proposal_says_how_to_verify_that_it_helped_where_that_is_known(night):
    tried = {"an outage": [proposal("Ask the site", verify="A test job ends."), proposal("Wait")]}
    digested(night, [incident("an outage")], proposals=tried)
    front, shown = published(night)
    assert [in_text(one) for one in front.select(".try .verify")] == ["Verify: A test job ends."]
    assert [one["verify"] for one in shown["incidents"][0]["proposals"]] == ["A test job ends.", ""]


def test_an_incident_without_proposals_says_why_it_has_none(night):
    digested(night, [incident("an outage", site="A"), incident("a dip", "closed"), incident("a surge")], proposals={"a surge": [proposal("Ask")]})
    front, _ = published(night)
    unknown, advised, ended = front.select("details.incident")
    nothing = "No proposal for it is known; remediations.yaml takes some for its kind."
    assert [in_text(one) for one in unknown.select(".try")] == [nothing]
    assert nothing not in in_text(advised)
    assert [in_text(one) for one in ended.select(".try")] == ["Nothing is proposed, since it has ended."]


def test_every_page_of_the_sample_says_that_the_data_are_simulated(night):
    digested(night, [incident("an outage", site="A")])
    front, shown = published(night)
    reports = night / "reports"
    assert "simulated data" in in_text(front.select_one(".state"))
    pages_of_data = [*(reports / "entities").glob("*.html"), *(reports / "2026-01-31/transfers").glob("*.html")]
    pages_of_data += [reports / f"{name}.html" for name in ("trends", "search", "index")] + [reports / "2026-01-31/digest.html"]
    assert len(pages_of_data) > 8
    for path in pages_of_data:
        assert in_text(page(path).select_one("header .sample")) == "simulated data", path.name
    assert "Simulated data." in (reports / "feed.xml").read_text()
    assert shown["studies"]["transfers"]["data"]["source"] == "sample"
    write_status(night / "data/raw/transfers", state="ok", rows=5, newest="2026-01-31 23:00", source="events/", window=["2026-01-01", "2026-01-31"])
    published(night)
    for path in (reports / "trends.html", reports / "entities/index.html", reports / "2026-01-31/transfers/4_analyse.html"):
        assert not page(path).select(".sample"), path.name


def test_known_incidents_are_folded_with_who_until_and_why_and_resolved_ones_are_told(night):
    digested(night, a_night())
    front, shown = published(night)
    folded = next(one for one in front.select("details") if "silenced or acknowledged" in one.summary.get_text())
    assert "open" not in folded.attrs
    assert "memory leak on meridian-t2-n03" in in_text(folded)
    muted = "It is silenced by the operator on duty until 2026-02-07: a known leak, mended with the next release."
    assert muted in in_text(folded)
    assert "backlog of Accounts" in in_text(folded)
    assert "1 resolved since the night before" in in_text(front.select_one("#resolved summary"))
    assert "bad run 400461" in in_text(front.select_one("#resolved"))
    assert "aerosol" in in_text(front.select_one("#closed")), "it had ended before"
    assert shown["counts"] == {"new": 1, "escalated": 1, "ongoing": 1, "silenced": 1, "acknowledged": 1, "resolved": 1, "closed": 1}


def test_what_is_not_shown_in_full_is_counted(night):
    digested(night, [incident(f"trouble {i}") for i in range(200)], max_incidents=50)
    front, shown = published(night)
    assert len(front.select(".pressing details.incident")) == front_page.MAX_ROWS
    assert f"Less urgent: {200 - front_page.MAX_ROWS} open; the digest lists all." in in_text(front)
    assert len(shown["incidents"]) == 200
    digested(night, [incident(f"trouble {i}", ended=i > front_page.MAX_ROWS) for i in range(front_page.MAX_ROWS + 5)], max_incidents=1)
    front, _ = published(night)
    assert "Less urgent: 1 open, 4 ended; the digest lists all." in in_text(front)
    silence = {"as": "acknowledged", "by": "somebody", "until": "2026-02-07", "why": "known"}
    incidents = [incident(f"trouble {i}", "ongoing") | {f"silenced_{key}": words for key, words in silence.items()} for i in range(20)]
    digested(night, incidents, max_incidents=1)
    front, _ = published(night)
    assert len(front.select("#known details.incident")) == front_page.MAX_FOLDED
    assert f"{20 - front_page.MAX_FOLDED} more; the digest lists all." in in_text(front.select_one("#known"))


def test_what_changed_is_said_once_and_is_not_called_worse_where_it_is_not(night):
    kept = "as it was, since there is no news of accounting"
    split = "split from 20260101-abcd"
    rows = [incident("a dip", "ongoing", change=kept, summary=f"A dip; {kept}."), incident("a link", change=split, ended=True)]
    digested(night, rows)
    front, _ = published(night)
    first, second = map(in_text, front.select(".pressing details.incident"))
    assert (first.count(kept), second.count(split)) == (1, 1)
    assert "Worse" not in first + second
    assert "new, ended" in second


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ({"chance": 0.5, "low": 0.0015, "high": 0.9985, "trials": 0, "worked": 0}, "not tried yet"),  # Jeffreys' prior
        ({"chance": 0.7, "low": 0.3, "high": 0.9, "trials": 0, "worked": 0}, "chance 70% (30% to 90%), not tried yet"),  # tried for other kinds
        ({"chance": 0.75, "low": 0.15, "high": 1.0, "trials": 1, "worked": 1}, "chance 75% (15% to 100%), 1 of 1 trials worked"),
        ({"chance": None, "low": None, "high": None, "trials": 0, "worked": 0}, "chance not known"),
    ],
)
def test_a_chance_is_told_only_where_something_is_known(reference, shown):
    assert digests.chance_in_words(reference) == shown


def test_proposals_that_nobody_has_tried_are_no_ranking(night):
    unknown = {"low": 0.0015, "high": 0.9985, "trials": 0, "worked": 0}
    texts = ["Wait", "Ask the site", "Look at the network"]
    offered = [proposal(text, 0.5, **unknown) for text in texts]
    digested(night, [incident("an outage"), incident("a leak")], proposals={"an outage": offered, "a leak": [proposal("Restart"), offered[0]]})
    front, shown = published(night)
    assert [one["ranked"] for one in shown["incidents"]] == [False, True]
    assert [one["proposal"] for one in shown["incidents"][0]["proposals"]] == sorted(texts)
    first, second = front.select(".pressing details.incident")
    assert "To try, none tried yet, in no particular order:" in in_text(first)
    assert [item.get_text().split(" (")[0] for item in first.select("ul.try li")] == sorted(texts), "all of them, since none is better"
    assert not first.select("ol")
    assert "%" not in in_text(first)
    assert "To try, in this order:" in in_text(second)
    assert "chance 50%" in in_text(second)


def test_a_proposal_for_which_the_evidence_speaks_comes_first_and_says_why(night):
    unknown = {"low": 0.0015, "high": 0.9985, "trials": 0, "worked": 0}
    offered = [proposal("Ask the site", 0.5, **unknown), proposal("Open the port", 0.5, **unknown)]
    digested(night, [incident("an outage")], proposals={"an outage": offered})
    path = night / "data/incidents/2026-01-31_proposals.parquet"
    table = pd.read_parquet(path)
    helpers.write_parquet(table.assign(reason=["", "the evidence says “connection refused”"], ranked=False), path)
    front, shown = published(night)
    assert [one["proposal"] for one in shown["incidents"][0]["proposals"]] == ["Open the port", "Ask the site"]
    assert "Open the port, since the evidence says “connection refused” (takes 10 min" in in_text(front)
    helpers.write_parquet(table.assign(reason="", ranked=True), path)
    assert published(night)[1]["incidents"][0]["ranked"] is True, "tried elsewhere, as the table says"


@pytest.mark.parametrize(
    ("root", "more"),
    [(helpers.ROOT, ""), (helpers.ROOT / "products/my site", " --products 'products/my site'"), (Path("/srv/night"), " --products /srv/night")],
)
def test_the_command_for_feedback_runs_in_a_plain_shell(root, more):
    commands = [front_page.feedback_command(root, "20260131-db7a", "ask", outcome) for outcome in ("worked", "failed")]
    assert commands == [f".venv/bin/nightshift feedback 20260131-db7a ask {outcome}{more}" for outcome in ("worked", "failed")]


def test_what_ended_before_it_was_seen_is_counted_apart(night):
    rows = [incident("a"), incident("b", ended=True), incident("c", "closed", change="ended before it was watched"), incident("d", "closed")]
    digested(night, rows)
    front, shown = published(night)
    assert shown["counts"] == {"new": 1, "ended": 1, "unwatched": 1, "closed": 1}
    assert in_text(front.select_one("#incidents")) == "Incidents 2 new (1 of them ended), 1 ended before monitoring began"


def test_the_chance_of_a_new_installation_is_not_tried_yet(tmp_path):
    reference = read_remediations(helpers.ROOT / "remediations.yaml")
    feedback, _ = read_feedback(tmp_path / "feedback.csv")
    first = chances(reference, feedback, reference[0]["kinds"][0], "").iloc[0].to_dict()
    assert digests.chance_in_words(first) == "not tried yet"


def test_a_night_with_nothing_to_report_says_so(night):
    digested(night, [])
    front, shown = published(night)
    sentence = "Nothing to report: the only study reported, and no incident is new or ongoing"
    assert f"{sentence}." in in_text(front)
    assert (shown["incidents"], shown["counts"], shown["headline"]) == ([], {}, f"{sentence}.")
    assert shown["coverage"] == {"reported": 1, "expected": 1, "lacking": {}, "complete": True}
    digested(night, [incident("a leak", silenced_as="silenced"), incident("an outage", "resolved")])
    assert f"{sentence} apart from those silenced or acknowledged." in in_text(published(night)[0])


def test_a_night_whose_digest_failed_or_did_not_run_says_so_and_shows_the_studies(night):
    front, shown = published(night)
    assert "The digest did not run" in in_text(front)
    assert shown["digest"]["outcome"] == "not run"
    digested(night, a_night())
    executed(night / "reports/2026-01-31/digest.ipynb", error="no kinds")
    front, shown = published(night)
    assert "the digest failed. ValueError: no kinds" in in_text(front)
    assert front.select_one('a[href="digest.html"]')
    assert not front.select("details.incident"), "incidents of an earlier run shown as tonight's"
    assert (shown["digest"]["outcome"], shown["digest"]["error"], shown["incidents"]) == ("failed", "ValueError: no kinds", [])
    assert shown["studies"]["transfers"]["verdict"] == "anomalies 1"


@pytest.mark.parametrize(("name", "shown"), [(".parquet", 0), ("_findings.parquet", 3), ("_proposals.parquet", 3), (".json", 3)])
@pytest.mark.parametrize("damage", ["missing", "cut off", "older"])
def test_a_damaged_table_costs_one_line_and_what_it_held(night, monkeypatch, capsys, name, shown, damage):
    digested(night, a_night(), proposals={"site outage at ISTHMUS-T2": [proposal("Ask the site")]})
    path = night / f"data/incidents/2026-01-31{name}"
    if damage == "missing":
        path.unlink()
    elif damage == "cut off" or name == ".json":
        path.write_bytes(path.read_bytes()[:40])
    else:
        pd.read_parquet(path).drop(columns={".parquet": "severity", "_findings.parquet": "evidence"}.get(name, "chance")).to_parquet(path)
    (night / "site.yaml").write_text(f"day: 2026-01-31\nproducts: {night}\nstudies: {{transfers: {{}}}}\n")
    assert commands.publish(night / "site.yaml") == 1
    line = capsys.readouterr().err.splitlines()[0]
    assert f"data/incidents/2026-01-31{name}" in line
    front = page(night / "reports/2026-01-31/index.html")
    assert f"data/incidents/2026-01-31{name}" in in_text(front), "the reader is told too"
    assert len(front.select(".pressing details.incident")) == shown
    assert ("To try:" in in_text(front)) == (name in ("_findings.parquet", ".json"))
    assert front.select("article.study")


def test_what_the_digest_notes_is_on_the_front_page(night):
    digested(night, a_night())
    path = night / "data/incidents/2026-01-31.json"
    about = json.loads(path.read_text()) | {"notes": [f"feedback.csv: line 3 was changed {HOSTILE}", 7]}
    path.write_text(json.dumps(about))
    front, shown = published(night)
    assert [in_text(one) for one in front.select(".incidents .banner")] == [f"feedback.csv: line 3 was changed {HOSTILE}"]
    assert shown["digest"]["notes"] == about["notes"][:1]
    path.write_text(json.dumps(about | {"notes": "no list", "missing": {}}))
    assert published(night)[1]["digest"]["notes"] == []


def test_the_answer_of_a_page_stands_below_its_title(tmp_path):
    table = "<table><tbody><tr><td>an outage</td></tr></tbody></table>"
    notebook = executed(
        tmp_path / "n.ipynb",
        ("show_sentence()", {"text/markdown": "One outage."}),
        ("before()", {"text/plain": "more"}),
        ("t()", {"text/html": table}),
    )
    notebook.cells[1].metadata["tags"], notebook.cells[3].metadata["tags"] = ["headline"], ["answer"]
    content = rendered(notebook, tmp_path)
    page = BeautifulSoup(content, "html.parser")
    lead = page.h1.find_next_sibling()
    assert lead.get_text() == "One outage."
    assert lead.find_next_sibling().select_one(".scroll table").get_text().strip() == "an outage"
    assert content.count("an outage") == 1, "moved, not copied"
    assert page.select("details.code")[-1].find_parent("section"), "its code stays where it was"


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [("anomalies 7", "7 findings"), ("anomalies 1", "1 finding"), ("ok", "ok"), ("nothing judged", "nothing judged"), ("anomalies", "anomalies")],
)
def test_a_verdict_is_said_as_people_say_it(verdict, shown):
    assert pages.verdict_in_words(verdict) == shown


def test_pages_and_feed_show_verdicts_as_people_say_them_and_programs_read_them_as_before(night):
    front, outcome = published(night)
    reports = night / "reports"
    for shown in (in_text(front), in_text(page(reports / "index.html")), (reports / "feed.xml").read_text()):
        assert "1 finding" in shown
        assert "anomalies 1" not in shown
    assert front.select(".verdict.anomalies")
    assert outcome["studies"]["transfers"]["verdict"] == "anomalies 1"
    assert read_json(reports / "2026-01-31/run.json")["studies"]["transfers"]["verdict"] == "anomalies 1"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("day: 2026-01-31\n", "{}: it has no readable `studies`"),
        ("day: 2026-01-31\nstudies: [transfers]\n", "{}: studies is no mapping"),
        ("day: soon\nstudies: {}\n", "{}: day is 'soon': it must be a date such as 2026-01-31"),
        ("[", "{} cannot be read: while parsing"),
        ("just text", "{} is no mapping of settings"),
        ("day: 2026-01-31\nstudies: {}\nkeep_nights: -1\n", "keep_nights is -1"),
        (None, "there is no configuration {}"),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path, monkeypatch, capsys, written, shown):
    if written:
        (tmp_path / "site.yaml").write_text(written)
    assert commands.publish(tmp_path / "site.yaml") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nightshift: {shown.format(tmp_path / 'site.yaml')}")


def test_hostile_incidents_stay_text_everywhere(night):
    bad = HOSTILE + "\x00\x1b\u202e]]>&"
    (night / "secret.png").write_bytes(b"no picture")
    more = dict.fromkeys(("site", "summary", "change", "impact", "severity", "silenced_why"), bad) | {"figure": "secret.png"}
    rows = [incident(bad, "escalated", **more), incident(bad + "2", "resolved", **more)]
    rows.append(incident(bad + "3", "ongoing", silenced_as="silenced", **more))
    digested(night, rows, proposals={bad: [proposal(bad, effort=bad)]}, headline=bad)
    front, shown = published(night)
    for path in [*night.glob("reports/*/*.html"), night / "reports/index.html"]:
        assert not foreign_parts(path), path
    assert in_text(front).count("alert(1)") >= 8
    assert shown["incidents"][0]["title"] == HOSTILE + "]]>&"
    [entry] = ET.parse(night / "reports/feed.xml").getroot().findall(f"{{{archive.ATOM}}}entry")
    content = BeautifulSoup(entry.find(f"{{{archive.ATOM}}}content").text, "html.parser")
    assert not content.select("script, img")
    assert HOSTILE in content.get_text()


def test_a_picture_of_the_night_before_is_the_same_file_until_it_changes(tmp_path):
    def added(night, content):
        album = pictures.Album.of(tmp_path / night / "transfers/3_train.html", "../")
        return album.path / Path(album.add(content).address.result()).name

    contents = {colour: io.BytesIO() for colour in ("red", "blue")}
    for colour, content in contents.items():
        Image.new("RGB", (40, 40), colour).save(content, "PNG")
    first, second, third = (added(f"2026-01-{day}", contents["red"].getvalue()) for day in (29, 30, 31))
    assert first.samefile(second)
    assert first.samefile(third)
    assert not first.samefile(added("2026-01-31", contents["blue"].getvalue()))
    second.unlink()
    assert Image.open(third).convert("RGB").getpixel((0, 0)) == (255, 0, 0), "what one night loses, the others keep"


def test_pictures_are_shared_described_and_left_out_when_they_are_none(night):
    path = night / "plots/digest/2026-01-31/one.png"
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(1).integers(0, 256, (400, 900, 3)).astype("uint8")
    Image.fromarray(noise).save(path)
    (path.parent / "two.png").write_bytes(path.read_bytes()[:1000])
    rows = [incident("an outage", figure="plots/digest/2026-01-31/two.png"), incident("a leak", figure="../../../etc/hostname")]
    digested(night, [incident(f"noise {i}", figure="plots/digest/2026-01-31/one.png") for i in range(3)] + rows)
    front, _ = published(night)
    folder = night / "reports/2026-01-31"
    assert [one["alt"] for one in front.select(".incident img")] == [f"Times of the findings of noise {i}, seen by transfers" for i in range(3)]
    [address] = {one["src"] for one in front.select(".incident img")}
    assert [str(one.relative_to(folder)) for one in folder.glob("pictures/*")] == [address], "one file, though three rows show it"
    assert (folder / "index.html").stat().st_size < 350_000
    Image.fromarray(noise // 255 * 255).save(path)
    front, _ = published(night)
    [other] = {one["src"] for one in front.select(".incident img")}
    assert [str(one.relative_to(folder)) for one in folder.glob("pictures/*")] == [other] != [address], "what no page shows any more is gone"


def test_a_picture_keeps_its_rare_colours_and_has_no_more_than_it_needs():
    plain = Image.new("RGB", (400, 300), "white")
    plain.paste((200, 0, 0), (10, 10, 12, 12))
    content = io.BytesIO()
    plain.save(content, "PNG")
    assert sorted(pictures.small_picture(content).convert("RGB").getcolors()) == [(4, (200, 0, 0)), (119_996, (255, 255, 255))]
    hues = np.array(Image.merge("HSV", [Image.linear_gradient("L"), *[Image.new("L", (256, 256), 255)] * 2]).convert("RGB"))
    Image.fromarray(hues).save(content := io.BytesIO(), "PNG")
    small = np.asarray(pictures.small_picture(content).convert("RGB"), dtype=int)
    assert len(np.unique(small.reshape(-1, 3), axis=0)) <= 32
    assert np.abs(small - hues).max() <= pictures.FARTHEST


def test_a_copied_night_is_whole_and_what_is_lost_of_it_is_made_again(night, tmp_path):
    write_analysis(night / "reports/2026-01-31/transfers/4_analyse.ipynb")
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    folder, copied = night / "reports/2026-01-31", tmp_path / "mailed/2026-01-31"
    shutil.copytree(folder, copied)
    for path in copied.rglob("*.html"):
        text = path.read_text()
        assert not re.search("<style>(?!</style>)|data:image", text), path
        loaded = pages.shown_by(text)
        assert [one for one in loaded if one.endswith(".css")], path
        assert all((path.parent / one).resolve().is_relative_to(copied) and (path.parent / one).exists() for one in loaded), path
    lost = [next(folder.glob("pictures/*.webp")), *folder.glob("style-*.css")]
    for path in lost:
        path.unlink()
    site.render_night(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert all(path.exists() for path in lost)


def test_digest_json_holds_every_number_and_no_nan(night):
    rows = [incident("an outage", p_value=np.nan, priority=np.inf, start=None, impacts=[{"study": "transfers", "value": 12.5, "unit": "GB delayed"}])]
    digested(night, rows, proposals={"an outage": [proposal("Ask", 0.5, low=np.nan)]})
    _, shown = published(night)
    assert (shown["version"], shown["day"]) == (3, "2026-01-31")
    [one] = shown["incidents"]
    apart = {"incident", "silenced_as", "silenced_by", "silenced_until", "silenced_why"}
    assert set(one) == {*PUBLISHED, "id", "silence", "findings", "proposals", "ranked"} - apart
    assert (one["id"], one["state"], one["age_nights"], one["silence"]) == (rows[0]["incident"], "new", 1, None)
    assert (one["p_value"], one["priority"], one["start"], one["proposals"][0]["low"]) == (None, None, None, None)
    assert one["impacts"] == [{"study": "transfers", "value": 12.5, "unit": "GB delayed"}]
    assert set(one["findings"][0]) == set(FINDING)
    assert one["proposals"][0] | {"chance": 0.5, "trials": 4, "worked": 2, "rank": 1} == one["proposals"][0]
    digested(night, [incident("an outage", start=pd.Timestamp("2026-01-30T20:40+01:00"))])
    _, shown = published(night)
    assert shown["incidents"][0]["start"] == "2026-01-30T19:40:00Z"
    assert shown["incidents"][0]["findings"][0]["start"] == "2026-01-30T19:40:00Z"


# ------------------------------------------------------------------------------------------------------------- nights


def next_night(root, day, incidents=(), train=False):
    """Another night of the study, without training unless told so."""
    for step in STEPS:
        if train or step != "3_train":
            executed(root / f"reports/{day}/transfers/{step}.ipynb", ended=f"{day}T23:00:00+00:00")
    data_of(root, day)
    digested(root, list(incidents), day)
    plot = root / f"plots/digest/{day}/one.png"
    plot.parent.mkdir(parents=True)
    plot.write_bytes(b"")


def state_of(folder):
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def dead_links(reports):
    """Links of all pages and of the feed that lead nowhere."""
    dead = []
    for path in [*reports.rglob("*.html"), reports / "feed.xml"]:
        for href in re.findall(r'href="([^"]+)"', path.read_text()):
            where, _, anchor = href.partition("#")
            target = path.parent / where if where else path
            if not href.startswith(("http", "data:")) and (not target.exists() or (anchor and f'id="{anchor}"' not in target.read_text())):
                dead.append((str(path), href))
    return dead


def test_earlier_nights_stay_as_they_were(night):
    digested(night, a_night())
    published(night)
    before = state_of(night / "reports/2026-01-31")
    for day in ("2026-02-01", "2026-02-02"):
        next_night(night, day, a_night()[:1])
        front, _ = published(night, day)
    assert state_of(night / "reports/2026-01-31") == before
    assert front.select_one('a[rel="prev"]')["href"] == "../2026-02-01/index.html"
    index = page(night / "reports/index.html")
    assert [a.get_text() for a in index.select("th a")] == ["2026-02-02", "2026-02-01", "2026-01-31"]
    assert "1 new. 1 incidents, the first: site outage at ISTHMUS-T2." in in_text(index)
    assert "1 new, 1 escalated, 1 ongoing, 1 resolved, 1 acknowledged, 1 silenced." in in_text(index)
    assert dead_links(night / "reports") == []


def test_nights_beyond_those_kept_are_removed_and_no_link_dies(night):
    digested(night, a_night())
    published(night)
    executed(night / "reports/2026-01-31/simulate.ipynb")
    reports = night / "reports"
    for name in ("notes", "2026-01-03", "2026-13-45", "2025-12-01-copy"):  # none of them is a night that was published
        (reports / name).mkdir()
        (reports / name / "keep.txt").write_text("mine")
    (reports / "2026-13-45/run.json").write_text("{}")
    (reports / "2026-01-04").symlink_to(night / "data")
    (night / "data/run.json").write_text('{"studies": {}}')
    (night / "data/index.html").write_text("moved to another disk")
    for day in ("2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"):
        next_night(night, day, a_night()[:1])
        kept = state_of(reports / "2026-02-02")
        published(night, day, keep_nights=3)
    assert state_of(reports / "2026-02-02") == kept, "what is kept is not touched"
    assert {p.name for p in (reports / "2026-02-01").rglob("*")} == {"index.html", "run.json"}
    assert {p.name for p in (night / "plots/digest").iterdir()} == {"2026-02-02", "2026-02-03", "2026-02-04"}
    index = in_text(page(reports / "index.html"))
    assert "2026-02-02" in index
    assert "2026-02-01" not in index
    assert "The pages of 2 earlier nights were removed" in index
    assert "pages of this night were removed" in in_text(page(reports / "2026-02-01/index.html"))
    assert (reports / "2026-02-04/transfers/3_train.html").exists()
    assert (reports / "2026-01-31/transfers/3_train.ipynb").exists(), "the chain compares its parameters with those of tonight"
    assert (reports / "2026-01-31/simulate.ipynb").exists()
    assert not (reports / "2026-01-31/transfers/4_analyse.ipynb").exists()
    assert len(page(reports / "2026-02-04/index.html").select("svg.history rect")) == 5, "their history stays"
    assert all((reports / name / "keep.txt").read_text() == "mine" for name in ("notes", "2026-01-03", "2026-13-45", "2025-12-01-copy"))
    assert (night / "data/run.json").read_text() == '{"studies": {}}'
    assert dead_links(reports) == []


def test_the_training_of_the_stored_model_stays_until_another_takes_its_place(night):
    published(night)
    path, old = night / "models/transfers/metrics.json", night / "reports/2026-01-31/transfers/3_train.ipynb"
    helpers.write_json({"day": "2026-01-31", "models": []}, path)
    next_night(night, "2026-02-01", train=True)  # trained, and what it made was not better
    published(night, "2026-02-01", keep_nights=1)
    assert old.exists()
    helpers.write_json({"day": "2026-02-01", "models": []}, path)
    published(night, "2026-02-01", keep_nights=1)
    assert not old.exists()


def test_tonight_is_never_removed_and_a_removal_that_was_killed_is_finished(night, monkeypatch):
    published(night)
    for day in ("2026-02-01", "2026-02-02"):
        next_night(night, day)
        published(night, day)
    monkeypatch.setattr(site, "clear_removed", lambda *_, **__: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        published(night, "2026-01-31", keep_nights=1)  # the night that is published is not the latest
    monkeypatch.undo()
    assert (night / "reports/2026-02-01/transfers/4_analyse.html").exists()
    published(night, "2026-01-31", keep_nights=1)
    assert not (night / "reports/2026-02-01/transfers").exists()
    assert all((night / f"reports/{day}/transfers/4_analyse.html").exists() for day in ("2026-01-31", "2026-02-02"))
    next_night(night, "2026-02-01") if not (night / "plots/digest/2026-02-01").exists() else None
    front, _ = published(night, "2026-02-01")
    assert "Night of 2026-02-01" in in_text(front), "a night that runs once more is there again"
    assert "removed" not in json.loads((night / "reports/2026-02-01/run.json").read_text())


def test_history_draws_findings_and_skill_and_tells_their_numbers():
    nights = [(0, 0.4, "ok"), (3, None, "anomalies 3"), (6, 0.5, "anomalies 6"), (0, 0.45, "failed")]
    runs = [
        {"day": f"2026-01-0{i}", "studies": {"a": {"findings": n, "skill": skill, "verdict": verdict}}}
        for i, (n, skill, verdict) in enumerate(nights, 1)
    ]
    drawn = archive.history([*runs, {"day": "2026-01-05", "studies": {}}], "a")
    found, skill = BeautifulSoup(drawn["findings"], "html.parser").svg, BeautifulSoup(drawn["skill"], "html.parser").svg
    assert found["aria-label"] == "Findings per night: 2026-01-01 0, 2026-01-02 3, 2026-01-03 6, 2026-01-04 failed"
    assert [float(bar["height"]) for bar in found.select("rect.bar")] == [2, 13, 24]
    assert len(found.select("rect.failed")) == 1
    assert skill["aria-label"].endswith("2026-01-01 0.40, 2026-01-03 0.50, 2026-01-04 0.45")
    assert skill.select_one(".line")["d"].count("M") == 2, "no line across a night without a model"
    assert archive.history(runs[1:2], "a")["skill"] == ""


def test_the_feed_is_atom_and_its_names_last(night):
    digested(night, a_night(), headline="First: an outage.")
    published(night)
    next_night(night, "2026-02-01")
    published(night, "2026-02-01")
    path = night / "reports/feed.xml"
    relative, atom = path.read_bytes(), f"{{{archive.ATOM}}}"
    published(night, "2026-02-01")
    assert path.read_bytes() == relative, "nothing happened"
    path.unlink()
    published(night, "2026-02-01", site_url="https://ops.example/nightshift/")
    feed, first = ET.parse(path).getroot(), ET.fromstring(relative)
    for root, links in ((first, {"alternate": "index.html"}), (feed, {"alternate": f"{SITE}index.html", "self": f"{SITE}feed.xml"})):
        assert root.tag == atom + "feed"
        assert {link.get("rel"): link.get("href") for link in root.findall(atom + "link")} == links
        for part in [root, *root.findall(atom + "entry")]:
            assert all(len(part.findall(atom + name)) == 1 and part.find(atom + name).text for name in ("id", "title", "updated"))
            assert uuid.UUID(part.find(atom + "id").text).urn == part.find(atom + "id").text
            assert datetime.strptime(part.find(atom + "updated").text, "%Y-%m-%dT%H:%M:%SZ")
        assert root.find(f"{atom}author/{atom}name").text
        assert root.find(atom + "updated").text == "2026-02-01T23:00:00Z"
    ids = [[e.find(atom + "id").text for e in root.findall(atom + "entry")] for root in (first, feed)]
    assert ids[0] == ids[1], "a feed that was lost comes back under its name"
    assert len(set(ids[0])) == 2
    tonight, before = feed.findall(atom + "entry")
    assert before.find(atom + "title").text == "Night of 2026-01-31: First: an outage."
    assert before.find(atom + "link").get("href") == f"{SITE}2026-01-31/index.html"
    assert before.find(atom + "content").get("type") == "html"
    assert "site outage at ISTHMUS-T2" in before.find(atom + "content").text
    assert "Nothing to report: the only study reported" in tonight.find(atom + "content").text


SITE = "https://ops.example/nightshift/"


@pytest.mark.parametrize("content", ['{"day": "2026-01-3', '{"studies": {}, "digest": [1]}'])
def test_a_run_json_that_cannot_be_read_is_one_line_and_costs_no_other_night(night, content):
    folder = night / "reports/2026-01-30"
    folder.mkdir()
    (folder / "run.json").write_text(content)
    digested(night, [])
    front, shown = published(night, keep_nights=1)
    assert (folder / "run.json").exists()
    [line] = shown["problems"]
    assert line.startswith("reports/2026-01-30/run.json: ")
    assert line in in_text(page(night / "reports/index.html"))
    assert line in in_text(front)
    assert shown["headline"].startswith("Nothing to report: "), "the night itself is complete"


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ({"keep_nights": -1}, "keep_nights is -1: it must be a whole number"),
        ({"keep_nights": "7"}, "keep_nights is '7': it must be a whole number"),
        ({"keep_nights": True}, "keep_nights is True: it must be a whole number"),
        ({"site_url": "ops.example"}, "site_url is 'ops.example': it must be an address such as"),
        ({"site_url": "https://me:secret@ops.example"}, "it must be an address"),
        ({"site_url": "https://ops.example/?a"}, "it must be an address"),
        ({"site_url": 7}, "site_url is 7: it must be an address"),
    ],
)
def test_settings_of_the_site_are_checked_in_one_line(parameters, shown):
    with pytest.raises(ValueError, match=re.escape(shown)):
        site_settings(parameters)


def test_settings_of_the_site():
    assert site_settings({}) == (0, "")
    assert site_settings({"keep_nights": 7, "site_url": SITE[:-1]}) == (7, SITE)


def test_of_several_pages_that_cannot_be_made_the_first_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "publish_step", lambda root, day, s, step, menus: f"{step['name']} is damaged")
    steps = [{"name": name, "outcome": "ok"} for name in ("1_extract", "2_preprocess")]
    study = {"study": "transfers", "title": "Transfers", "verdict": "ok", "steps": steps}
    failed = site.publish_study(tmp_path, "2026-01-31", [study], {}, 0)
    assert (failed["verdict"], failed["failed_step"], failed["error"]) == ("failed", "1_extract", "1_extract is damaged")
    assert site.publish_study(tmp_path, "2026-01-31", [study | {"verdict": "failed"}], {}, 0) == {}, "it has failed before"
