"""Executed notebooks to pages: what a notebook says of itself, its HTML, the templates and pictures of the
site.

A page needs nothing beside it and asks for nothing: no script, no request, a content security policy that
forbids both. It is written atomically, and again only when its notebook or the code that renders it is newer.
"""

import base64
import functools
import hashlib
import io
import json
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from helpers import ROOT, atomic
from nightshift.assurance import class_of, verdict_in_words
from nightshift.parameters import declared
from nightshift.products import git_revision, read_notebook
from nightshift.runs import MIME
from nightshift.wording import one_line

TEMPLATES = ROOT / "templates"
# pixels: a picture up to this was drawn to be read on a phone, and shrinks with its page where others scroll
NARROW = 640
TIME = re.compile(r"[\d-]{5,10} \d\d:\d\d(:\d\d)?( UTC)?")

# --------------------------------------------------------------------------------------- what a notebook says


def parameters_of(notebook, values):
    """Rows of the parameter table: name, value of this run, default, whether they differ, meaning; values
    : {name: value} of the run.
    """
    try:
        declaration = declared(notebook)
    except (ValueError, SyntaxError):  # of an older version: its page must not fail for that
        return []
    rows = []
    for one in declaration:
        value = values.get(one.name, one.default)
        rows.append(
            {
                "name": one.name,
                "value": value,
                "default": one.default,
                "changed": value != one.default,
                "meaning": one.meaning,
            }
        )
    return rows


def text_of(notebook, tag):
    """Plain text of the first Markdown output of the cell with this tag; of a list, its first item."""
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


# ------------------------------------------------------------------------------------------------------ pages


@functools.cache
def templates():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters |= {"verdict": verdict_in_words, "colour": class_of}
    return made


class Script(NamedTuple):
    """The small script of the front page, and how the content security policy names it: no other may run."""

    text: str
    source: str


@functools.cache
def script():
    """Read templates/front.js, as a Script."""
    text = (TEMPLATES / "front.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(text, f"'sha256-{digest}'")


@functools.cache
def revision():
    return git_revision()  # takes 50 ms, and a night has 25 pages


def write_page(path, template, **values):
    """Render `template` to `path`, atomically."""
    defaults = {
        "style": (TEMPLATES / "style.css").read_text(),
        "up": "../",
        "script": None,
        "footer": f"Nightshift {revision()}.",
    }
    with atomic(path) as temporary:
        temporary.write_text(templates().get_template(template).render(**defaults | values), encoding="utf-8")


@functools.cache
def exporter():
    """(nbconvert's exporter, {mark: code}), which leaves a mark in the place of the words of code, coloured
    and escaped, of each cell.

    Nine of ten elements of a page are such words. Three parsers that clean and change pages would read them
    all: five studies take 7 s of a processor instead of 26.
    """
    import bleach
    from nbconvert import HTMLExporter
    from nbconvert.filters import Highlight2HTML

    tags = {
        *bleach.ALLOWED_TAGS,
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "br",
        "hr",
        "div",
        "span",
        "pre",
        "sub",
        "sup",
        "details",
        "summary",
    }
    tags |= {"article", "table", "thead", "tbody", "tr", "th", "td"}

    def allowed(tag, name, value):
        return name in ("class", "id", "title", "colspan") or (
            name == "href" and re.match(r"(https?://|#|[\w./-]+$)", value) is not None
        )

    highlight, aside = Highlight2HTML(), {}

    def set_aside(source, metadata):
        before, _, code = highlight(source, metadata=metadata).partition("<pre>")
        aside[mark := secrets.token_hex(16)], _, after = code.rpartition("</pre>")
        return f"{before}<pre>{mark}</pre>{after}"

    def clean(markup):
        # bleach takes the tags away and leaves what is between them
        shown = re.sub(r"(?is)<(style|script)\b.*?</\1\s*>", "", str(markup))
        return bleach.clean(shown, tags=tags, attributes=allowed, strip_comments=True)

    made = HTMLExporter(
        template_name="notebook",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        filters={"highlight_code": set_aside, "clean_html": clean},
    )
    return made, aside


def render_notebook(notebook, places=()):
    """(HTML of the cells, contents as (id, text) of the level-2 headings) of an executed notebook.

    The answer comes before what leads to it: below the title stand what the cell tagged `headline` says and,
    moved there, what a cell tagged `answer` shows. places : (id, number) of what other pages lead to: the
    first heading of level 3 or 4 that holds the id, or begins with the number and a dot, gets the id.
    """
    import nbformat
    from bs4 import BeautifulSoup

    notebook = nbformat.reads(json.dumps(notebook), as_version=4)
    notebook.cells = [
        c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])
    ]
    for cell in notebook.cells:
        join_streams(cell)
        if "outputs" in cell:  # what a notebook recorded is for programs, and nbconvert warns of it
            cell.outputs = [one for one in cell.outputs if set(one.get("data", ())) != {MIME}]
    converter, aside = exporter()
    aside.clear()
    page = BeautifulSoup(converter.from_notebook_node(notebook)[0], "html.parser")
    for anchor in page.select("a.anchor-link"):
        anchor.decompose()
    if page.h1:
        move_answer(page, text_of(notebook, "headline"))
    headings = [(heading, " ".join(heading.get_text().split())) for heading in page.select("h3, h4")]
    for name, number in places:
        if (
            at := next(
                (i for i, (_, text) in enumerate(headings) if name in text or text.startswith(f"{number}. ")),
                None,
            )
        ) is not None:
            headings.pop(at)[0]["id"] = name
    for number, table in enumerate(page.select("table"), 1):
        table.attrs.pop("border", None)
        table.wrap(
            page.new_tag(
                "div",
                attrs={"class": "scroll", "tabindex": "0", "role": "region", "aria-label": f"Table {number}"},
            )
        )
        align_numbers(table)
    for wide in page.select("pre, figure"):
        wide["tabindex"] = "0"  # they scroll on a narrow screen, so the keyboard must reach them
    for picture in page.select("figure img"):
        if pixels_across(picture["src"]) <= NARROW:
            picture["class"] = "narrow"
    headings = [(h["id"], h.get_text()) for h in page.select("h2[id]")]
    text = str(page)
    for mark, code in aside.items():
        text = text.replace(mark, code)
    return text, [*headings, ("run", "Run")]


def move_answer(page, headline):
    """Put `headline`, unless it is empty, and the outputs of cells tagged `answer` below the title of a
    page; their code stays where it was.
    """
    place = page.h1
    if headline:
        lead = page.new_tag("p", attrs={"class": "lead"})
        lead.string = headline
        place.insert_after(lead)
        place = lead
    for cell in page.select("section.answer:not(.failed)"):
        for output in [one for one in cell.find_all(recursive=False) if "code" not in one.get("class", [])]:
            place.insert_after(output.extract())
            place = output


def pixels_across(url):
    """Width of the PNG in a data URL, from its first chunk."""
    head = base64.b64decode(url.partition(",")[2][:40])  # signature 8, length and name 8, width 4
    return int.from_bytes(head[16:20], "big")


def join_streams(cell):
    """Make all that a cell printed one output, where it printed first: a log per epoch would be a wall of
    logs.
    """
    streams = [o for o in cell.get("outputs", []) if o.output_type == "stream"]
    for later in streams[1:]:
        streams[0].text += later.text
        cell.outputs.remove(later)


def align_numbers(table):
    """Mark the columns whose cells all read as numbers, to align on the right, or as times, to stay on one
    line.
    """
    rows = [row.select("td") for row in table.select("tbody tr")]
    for column, head in enumerate(table.select("thead th")):
        head["scope"] = "col"
        cells = [row[column] for row in rows if column < len(row)]
        if cells and all(re.fullmatch(r"[-+]?[\d,.]*%?|nan|inf", c.get_text().strip()) for c in cells):
            for cell in [head, *cells]:
                cell["class"] = "number"
        elif cells and all(TIME.fullmatch(c.get_text().strip()) for c in cells):
            for cell in cells:
                cell["class"] = "time"


def is_current(page, made, newest):
    """Whether the page at `page` is younger than `newest`, a moment, and was made of what `made` tells
    apart: its links and notices.
    """
    if not page.exists() or page.stat().st_mtime <= newest:
        return False
    with page.open(encoding="utf-8", errors="replace") as file:
        return f'content="{made}"' in file.read(5_000)


def publish_notebook(path, page, *, run, day, front, steps, current, of="", places=(), notices=()):
    """Write `page` of the executed notebook at `path`; returns what hindered it, in one line, "" where
    nothing did: then the page says so instead.

    A page that is newer than notebook and templates, and says the same, stays. run : how it ended, as
    `read_run` has it. front : path from it to the front page of its night; empty for a page that belongs to
    none. steps : name and href of the pages in its navigation; of : the night it was executed in, if not
    `day`; places : as in `render_notebook`; notices : sentences that stand above everything else.
    """
    at = next((i for i, s in enumerate(steps) if s["name"] == current), 0)
    frame = {
        "title": f"{path.stem} {day}",
        "day": day,
        "of": of,
        "front": front,
        "steps": [{**s, "current": s["name"] == current} for s in steps],
        "previous": steps[at - 1] if at else None,
        "next": steps[at + 1] if at + 1 < len(steps) else None,
        "notices": list(notices),
        "error": run["error"],
        "has_cell": run["has_cell"],
        "up": "../" * (front.count("../") + 1),
    }
    shown = json.dumps([frame, run["parameters"], list(places)], default=str)
    frame["made"] = hashlib.sha256(shown.encode()).hexdigest()[:24]
    try:
        if is_current(
            page,
            frame["made"],
            max(p.stat().st_mtime for p in [path, Path(__file__), *TEMPLATES.rglob("*.*")]),
        ):
            return ""
        if (notebook := read_notebook(path)) is None:
            raise ValueError(f"{path.name} cannot be read: it was cut off, or is no notebook")
        content, contents = render_notebook(notebook, places)
        parameters = parameters_of(notebook, run["parameters"])
        started = (run["started"] or "?")[:19].replace("T", " ")
        took = f"Started {started} UTC, took {run['seconds'] or 0:.0f} s."
        write_page(
            page, "page.html.j2", content=content, contents=contents, parameters=parameters, run=took, **frame
        )
    except (
        Exception
    ) as error:  # whatever it is: the other pages are made, and no older page stands for this one
        line = one_line(error if type(error) is ValueError else f"{type(error).__name__}: {error}")
        write_page(page, "broken.html.j2", line=line, **frame)
        return f"the page {page.parent.name}/{page.name} could not be made: {line}"
    return ""


def small_picture(path):
    """The picture at `path` with at most 64 colours and 1000 pixels across, a quarter of its size; None where
    it is none.

    By octree, which keeps a rare red that the default, median cut, turns brown.
    """
    try:
        picture = Image.open(path).convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None
    picture.thumbnail((1000, 4000), Image.Resampling.LANCZOS)
    return picture.quantize(64, Image.Quantize.FASTOCTREE)


def small_pictures(paths, room):
    """{path: data URL} of the pictures at `paths`, in their order and small, as long as they take at most
    `room` characters together.

    As WebP without loss, since it keeps letters sharp in four fifths of a PNG. A file that is no picture is
    left out.
    """
    taken = {}
    for path in dict.fromkeys(paths):
        small = io.BytesIO()
        if not (picture := small_picture(path)):
            continue
        picture.convert("RGB").save(small, "WEBP", lossless=True, quality=50, method=2)
        url = "data:image/webp;base64," + base64.b64encode(small.getvalue()).decode()
        if len(url) <= room:
            taken[path], room = url, room - len(url)
    return taken
