"""Executed notebooks to HTML: the page of a notebook with its code, and the report that it makes, without.

Notebook    prose, results and code in their order    render_notebook
Report      answers first, no code, no logs           render_report
"""

import binascii
import functools
import html
import itertools
import json
import keyword
import re
import secrets
from typing import NamedTuple

from helpers import ROOT
from nightshift.runs import MIME
from nightshift.series import MIME as SERIES
from nightshift.wording import NOTHING, plural

TEMPLATES = ROOT / "templates"
# pixels: a picture up to this was drawn to be read on a phone, and shrinks with its page where others scroll
NARROW = 640
DATE = re.compile(r"\d{4}-\d\d-\d\d")
NAME = re.compile(r"[^\s-]\S{0,19}")  # of a node, an incident: browsers would break it at its hyphens
NUMBER = re.compile(r"[-+]?[\d,.]*(e[-+]?\d+)?%?|nan|inf")
TIME = re.compile(r"[\d-]{5,10} \d\d:\d\d(:\d\d)?( UTC)?")
LARGE = 1000  # characters of HTML: a smaller table is not worth a link
WORDY = 3  # columns of words that a narrow screen holds
SENTENCE = 60  # characters: a longer cell is read as a sentence
JUDGING = ("How sure", "How good", "Limits", "Conclusion")  # sections that come after how it was found
PANDAS = r'<(table|tr)(?: border="1"| style="text-align: right;")'  # its attributes that no page keeps
# what a notebook may show
TAGS = {
    *("p", "br", "hr", "div", "span", "pre", "sub", "sup", "details", "summary", "h1", "h2", "h3", "h4"),
    *("a", "abbr", "acronym", "b", "blockquote", "code", "em", "i", "li", "ol", "strong", "ul"),
    *("article", "table", "thead", "tbody", "tr", "th", "td"),
}
HARMLESS_TAG = re.compile(
    rf"</?(?:{'|'.join(sorted(TAGS))})"
    r"""(?: (?:class|id|title|colspan)="[^"<>]*"| href="(?:https?://|#)[^"<>]*")*\s*/?>"""
)
ESCAPED = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"})
# what is coloured in Python: comments, strings with their prefix, keywords, numbers
WORDS = re.compile(
    r"""(?P<c>\#[^\n]*)
    |(?P<s>(?<!\w)[rbufRBUF]{0,2}(?:\"{3}.*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)
        |"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))
    |(?P<k>\b(?:KEYWORDS)\b)
    |(?P<n>(?<![\w.])\d[\w.]*(?:(?<=[eE])[+-]\d+)?)""".replace("KEYWORDS", "|".join(keyword.kwlist)),
    re.VERBOSE | re.DOTALL,
)


class Rendered(NamedTuple):
    """The HTML of a page's cells. contents : (id, text) of its level-2 headings; opening : of a report, its
    title, question and answer, which are no part of `content`.
    """

    content: str
    contents: list
    opening: str = ""


# --------------------------------------------------------------------------------------------------- exporter


class Aside:
    """What is set aside while the rest of a page is made. parts : {mark: HTML, or the Future of it}; album :
    where its pictures go, a pictures.Album.
    """

    def __init__(self):
        self.parts, self.album = {}, None

    def put(self, part):
        """Set a part aside; returns the mark that stands in its place."""
        self.parts[mark := secrets.token_hex(16)] = part
        return mark


@functools.cache
def exporter():
    """(nbconvert's exporter, the Aside in which it sets coloured code and addresses of pictures aside).

    These are most of a page, and three parsers that clean and change pages would read all of them.
    """
    import bleach
    from nbconvert import HTMLExporter

    aside = Aside()

    def allowed(tag, name, value):
        return name in ("class", "id", "title", "colspan") or (
            name == "href" and re.match(r"(https?://|#|[\w./-]+$)", value) is not None
        )

    cleaner = bleach.Cleaner(tags=TAGS, attributes=allowed, strip_comments=True)

    def clean(markup):
        # bleach takes the tags away and leaves what is between them
        markup = re.sub(r"(?is)<(style|script)\b.*?</\1\s*>", "", str(markup))
        markup = re.sub(PANDAS, r"<\1", markup)
        # from most the cleaner would take nothing, and it costs an eighth of the time of all pages
        return markup if is_harmless(markup) else cleaner.clean(markup)

    def code(source, **_):
        return f"<pre>{aside.put(coloured(source))}</pre>"

    def picture(data, alt):
        stated = ""
        if series := data.get(SERIES):
            numbers = json.dumps(series, separators=(",", ":"), ensure_ascii=False)
            stated = f' data-series="{aside.put(html.escape(numbers))}"'
        return f"<figure{stated}>{picture_tag(data['image/png'], alt, aside)}</figure>"

    made = HTMLExporter(
        template_name="notebook",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        default_preprocessors=[],  # they serve other templates
        filters={"clean_html": clean, "highlight_code": code, "picture": picture},
    )
    return made, aside


def prepare():
    """Import and compile what renders notebooks, so that forked processes need not do it again."""
    import bs4  # noqa: F401
    import mistune  # noqa: F401

    _ = exporter()[0].template


def is_harmless(markup):
    """Whether all tags of HTML are of those that a notebook may show, with nothing in them that could run or
    lead astray, and none ends a box that it did not begin.
    """
    if "<" in HARMLESS_TAG.sub("", markup):
        return False
    depth = list(itertools.accumulate(-1 if "/" in tag else 1 for tag in re.findall("</?div", markup)))
    return not depth or (min(depth) >= 0 and depth[-1] == 0)


def picture_tag(png, alt, aside):
    """The tag of a picture of a notebook, its address set aside; its description where it is no picture."""
    try:
        shown = aside.album.add_png(png)
    except binascii.Error:
        shown = None
    if not shown:
        return f"<p>{html.escape(alt)}</p>"
    size = f' width="{shown.width}" height="{shown.height}"'
    narrow = ' class="narrow"' if shown.width <= NARROW else ""
    return f'<img src="{aside.put(shown.address)}" alt="{html.escape(alt)}"{size}{narrow}>'


def coloured(source):
    """Python code as HTML, coloured by four classes: keywords k, strings s, comments c, numbers n.

    One regular expression takes a fiftieth of the time of a Pygments lexer, which was a seventh of that of
    all pages, and makes half as many elements: an f-string is one, whatever it computes.
    """
    parts, at = [], 0
    for word in WORDS.finditer(source):
        between, text = (one.translate(ESCAPED) for one in (source[at : word.start()], word.group()))
        parts += [between, f"<i class={word.lastgroup}>{text}</i>"]
        at = word.end()
    return "".join([*parts, source[at:].translate(ESCAPED)]).rstrip("\n")


def converted(notebook, album):
    """(HTML of the cells of an executed notebook, {mark: what stands in its place}); its pictures go to
    `album`.
    """
    import nbformat
    from nbconvert.exporters import TemplateExporter

    # not read again from its text: to check that it is a notebook takes as long as to render a page
    notebook = nbformat.v4.rwbase.rejoin_lines(nbformat.from_dict(notebook))
    notebook.cells = [
        c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])
    ]
    for cell in notebook.cells:
        join_streams(cell)
        if "outputs" in cell:  # what a notebook recorded is for programs, and nbconvert warns of it
            cell.outputs = [one for one in cell.outputs if set(one.get("data", ())) != {MIME}]
    converter, aside = exporter()
    aside.parts, aside.album = {}, album
    # past HTMLExporter, which would parse and write all of it again for pictures that have no description
    return TemplateExporter.from_notebook_node(converter, notebook)[0], aside.parts


def join_streams(cell):
    """Make all that a cell printed one output, where it printed first: a log per epoch would be a wall of
    logs.
    """
    streams = [o for o in cell.get("outputs", []) if o.output_type == "stream"]
    for later in streams[1:]:
        streams[0].text += later.text
        cell.outputs.remove(later)


# ------------------------------------------------------------------------------------------------------ pages


def text_of(notebook, tag):
    """Plain text of the first Markdown output of the cells with this tag, or, where that has a list, of its
    first item; "" where there is none.
    """
    import mistune
    from bs4 import BeautifulSoup

    for cell in notebook["cells"]:
        if tag in cell["metadata"].get("tags", []):
            for output in cell.get("outputs", []):
                if "text/markdown" in output.get("data", {}):
                    page = BeautifulSoup(
                        mistune.html("".join(output["data"]["text/markdown"])), "html.parser"
                    )
                    return " ".join((page.li or page).get_text().split())
    return ""


def render_notebook(notebook, album, places=()):
    """Render an executed notebook with its code, as Rendered; its pictures go to `album`.

    The answer comes before what leads to it: below the title stand what the cell tagged `headline` says and,
    moved there, what a cell tagged `answer` shows. places : (id, number, links) of what other pages lead to:
    the first heading of level 3 or 4 that holds the id, or begins with the number and a dot, gets the id and,
    below it, the links to rows of findings.
    """
    markup, aside = converted(notebook, album)
    page = parsed(markup)
    move_answer(page, text_of(notebook, "headline"))
    name_places(page, places)
    drop_numbers(page)
    return finished(page, aside)


def render_report(notebook, album, *, title, href, zooms=True, places=()):
    """Render an executed notebook twice, as (report, notebook), each Rendered; its pictures go to `album`.

    The report has the `title`, "" for that of the notebook, answers first, no code and no log. The notebook
    has all in its order; its pictures and larger tables stand in the report, at `href`, and it leads to them.
    zooms : whether figures keep their numbers, which takes a library of 60 kB to draw. places : of the
    report, as in `render_notebook`.
    """
    markup, aside = converted(notebook, album)
    report, code = parsed(markup), parsed(markup)
    if not zooms:
        drop_numbers(report)
    headline = text_of(notebook, "headline")
    lead_to_report(code, report, href)
    drop_code(report, headline)
    if report.h1 and title:
        report.h1.string = title
    move_answer(report, headline)
    name_places(report, places)
    opening = arrange(report)
    return finished(report, aside)._replace(opening=opening), finished(code, aside)


def drop_numbers(page):
    """Remove the numbers of the figures of a page, so that they are only pictures."""
    for figure in page.find_all("figure"):
        figure.attrs.pop("data-series", None)


def drop_code(report, headline):
    """Remove code, logs and the cells that show nothing else from a report, and the cell whose `headline`
    will stand below its title.
    """
    for part in report.select("details.code, details.log, pre.traceback"):
        part.decompose()
    for cell in report.select("section.cell"):
        cell.attrs.pop("id", None)
        text = " ".join(cell.get_text().split())
        is_lead = report.h1 and "headline" in cell["class"] and text == headline
        if is_lead or not (text or cell.img):
            cell.decompose()


def lead_to_report(code, report, href):
    """Replace the pictures and larger tables on the page of the code by links to them in the report, which is
    at `href`. Both pages are as converted: their parts have the same order.
    """
    for kind in ("figure", "table"):
        pairs = zip(report.find_all(kind), code.find_all(kind), strict=True)
        for number, (there, here) in enumerate(pairs, 1):
            if kind == "figure" or len(str(here)) > LARGE:
                there["id"] = f"{kind}-{number}"
                lead_to(here, code, f"{href}#{there['id']}")


def lead_to(part, page, href):
    """Replace a figure or a table by a link to it and a line about what it shows."""
    shows = part.img["alt"] if part.img else part.get_text()
    if part.name == "table":
        heads = [head.get_text().strip() for head in part.select("thead th")]
        shows = f"{', '.join(filter(None, heads))}; {plural(len(part.select('tbody tr')), 'row')}"
    link, line = page.new_tag("a", href=href), page.new_tag("p", attrs={"class": "quiet"})
    link.string = href.partition("#")[2].replace("-", " ").capitalize()
    line.extend([link, f" in the report: {shows}"])
    part.replace_with(line)


def parsed(markup):
    """The HTML of cells, to be changed, without nbconvert's signs of paragraphs and boxes."""
    from bs4 import BeautifulSoup

    page = BeautifulSoup(markup, "html.parser")
    for anchor in page.find_all("a", class_="anchor-link"):
        anchor.decompose()
    for around in page.find_all("div", class_="code_cell"):
        around.unwrap()
    return page


def finished(page, aside):
    """Mark tables and whatever scrolls on a page, and put back what was set aside: Rendered."""
    for number, table in enumerate(page.find_all("table"), 1):
        table.attrs.pop("border", None)
        label = table.get("id", f"part-{number}").replace("-", " ").capitalize()
        around = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": label}
        table.wrap(page.new_tag("div", attrs=around))
        mark_columns(table)
    for wide in page.find_all(["pre", "figure"]):
        wide["tabindex"] = "0"  # they scroll on a narrow screen, so the keyboard must reach them
    contents = [(h["id"], h.get_text()) for h in page.find_all("h2", id=True)]
    return Rendered(put_back(compact(str(page)), aside), contents)


def put_back(markup, aside):
    """HTML with what was set aside, text or the Future of a text, in the place of its marks."""

    def part(mark):
        there = aside.get(mark.group(), mark.group())
        return there if isinstance(there, str) else there.result()

    return re.sub("[0-9a-f]{32}", part, markup)


def compact(markup):
    """HTML without the indents of its tags, a tenth of it; what stands in <pre> stays as it is."""
    parts = re.split(r"(?s)(<pre.*?</pre>)", markup)
    parts[::2] = [re.sub(r">\s*\n\s*<", ">\n<", part) for part in parts[::2]]
    return "".join(parts)


def move_answer(page, headline):
    """Put `headline`, unless it is empty, and the outputs of cells tagged `answer` below the title of a
    page; their code stays where it was.
    """
    if not (place := page.h1):
        return
    if headline:
        lead = page.new_tag("p", attrs={"class": "lead"})
        lead.string = headline
        place.insert_after(lead)
        place = lead
    for cell in page.select("section.answer:not(.failed)"):
        for output in [one for one in cell.find_all(recursive=False) if "code" not in one.get("class", [])]:
            place.insert_after(output.extract())
            place = output


def name_places(page, places):
    """Give the headings that other pages lead to their ids, and put below them links to the rows of findings;
    places : as in `render_notebook`.
    """
    headings = [(heading, " ".join(heading.get_text().split())) for heading in page.find_all(["h3", "h4"])]
    for name, number, links in places:
        at = next(
            (i for i, (_, text) in enumerate(headings) if name in text or text.startswith(f"{number}. ")),
            None,
        )
        if at is not None:
            heading, _ = headings.pop(at)
            heading["id"] = name
            if links:
                *_, last = [heading, *heading.find_next_siblings("p", limit=2)]  # its marks and its summary
                last.insert_after(rows_behind(page, links))


def rows_behind(page, links):
    """A paragraph that leads to the rows of findings; links : as `row_links` gives them."""
    line = page.new_tag("p")
    line.append("Rows behind it: ")
    for number, one in enumerate(links):
        link = page.new_tag("a", href=one["href"])
        link.string = one["words"]
        line.extend([", " if number else "", link, f" ({one['about']})"])
    line.append(".")
    return line


def arrange(page):
    """Bring a report into the order in which it is read: question, answer, findings and what supports them,
    how they were found, how sure, limits.

    How they were found is what the notebook begins with: what it reads and writes, and its section Headline.
    What it does not claim joins its limits. Returns title, question and answer, taken off the page.
    """
    intro, sections = sections_of(page)
    prose = [one for one in intro if one.name in ("p", "ul", "ol") and not is_opening(one)]
    if page.h1 and prose:
        prose[0]["class"] = "question"
        page.h1.insert_after(prose.pop(0).extract())
    if limits := sections.get("Limits"):
        for claim in [one for one in prose if one.get_text().startswith("Not claimed")]:
            prose.remove(claim)
            limits[0].insert_after(claim.extract())
    put_first(sections.get("Findings"), next(iter(sections.values()), None))
    how = [one.extract() for one in [*prose, *sections.pop("Headline", [])]]
    how = [one for one in how if one.name != "h2"]
    heading = page.new_tag("h2", id="how")
    heading.string = "How it was found" if "Findings" in sections else "How this page was made"
    if any(one.get_text(strip=True) for one in how):
        place = next((sections[name][0] for name in JUDGING if name in sections), None)
        section = wrapped(page, heading, how)
        if place:
            place.insert_before(section)
        else:
            page.append(section)
    return "".join(
        str(one.extract()) for one in page.find_all(["h1", "p"], recursive=False) if is_opening(one)
    )


def wrapped(page, heading, parts):
    """A section of a page, of a heading and parts."""
    made = page.new_tag("section")
    made.extend([heading, *parts])
    return made


def put_first(findings, first):
    """Put the section of the findings before the `first`, and its table before what is said of it; a section
    is the list of its elements, None where there is none.
    """
    if not findings:
        return
    if findings is not first:
        first[0].insert_before(*[one.extract() for one in findings])
    if table := next((one for one in findings if one.name == "section" and one.table), None):
        findings[0].insert_after(table.extract())


def is_opening(part):
    """Whether a part of a page is its title, question or answer."""
    return part.name == "h1" or bool({"question", "lead"} & {*part.get_attribute_list("class")})


def sections_of(page):
    """([elements before the first heading of level 2], {heading: [it, the elements below it]})."""
    intro, sections, at = [], {}, None
    for one in list(page.children):
        if one.name == "h2":
            at = sections.setdefault(" ".join(one.get_text().split()), [])
        if one.name or str(one).strip():
            below = intro if at is None else at
            below.append(one)
    return intro, sections


def look_of(texts):
    """The class of a column by the texts of its cells: "number", to align on the right; "date", "time", "day"
    (some of either) and "name", short, to stay on one line; "prose"; "" for other words or no cell.
    """
    if not texts:
        return ""
    if all(map(NUMBER.fullmatch, texts)):
        return "number"
    dates, times = ([one.fullmatch(text) for text in texts] for one in (DATE, TIME))
    if all(a or b for a, b in zip(dates, times, strict=True)):
        return "date" if all(dates) else "time" if all(times) else "day"
    if any("-" in text for text in texts) and all(map(NAME.fullmatch, texts)):
        return "name"
    return "prose" if max(map(len, texts)) > SENTENCE else ""


def mark_columns(table):
    """Give the cells of each column the class of its look. A table with sentences, or with more than WORDY
    columns that are neither numbers nor times, becomes one card per row where the screen is narrow. An empty
    cell shows NOTHING, except in the first column, where it means that the row belongs to the one above.
    """
    heads = table.thead.find_all("th") if table.thead else []
    rows = [row.find_all("td") for row in table.find_all("tr") if row.parent.name == "tbody"]
    looks = []
    for column, head in enumerate(heads):
        head["scope"] = "col"
        cells = [row[column] for row in rows if column < len(row)]
        look = look_of([cell.get_text().strip() for cell in cells])
        looks.append(look)
        for cell in [head, *cells] if look == "number" else cells if look else []:
            cell["class"] = look
    if rows and ("prose" in looks or sum(look in ("name", "") for look in looks) > WORDY):
        table["class"] = "cards"
    for cell in (cell for row in rows for cell in row[1:] if not cell.get_text().strip() and not cell.find()):
        cell.string = NOTHING
    for row in rows if "cards" in table.get_attribute_list("class") else []:
        for head, cell in zip(heads, row, strict=False):
            cell["data-of"] = head.get_text().strip()
