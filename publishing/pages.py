"""Executed notebooks to pages: what a notebook says of itself, its HTML, the templates and pictures of the site.

A page needs nothing beside it and asks for nothing: no script, no request, a content security policy that forbids both. It is written
atomically, and again only when its notebook or the code that renders it is newer.
"""

import base64
import functools
import io
import json
import re
import secrets
from datetime import date
from pathlib import Path

import yaml
from PIL import Image

from helpers import ROOT, atomic, git_revision
from steps import error_of, read_notebook

TEMPLATES = ROOT / "templates"

# ------------------------------------------------------------------------------------------------- what a notebook says


def read_json(path):
    """The JSON object at `path`; an empty one when there is none, or what is there cannot be read."""
    return found if isinstance(found := read_notebook(path), dict) else {}


def parameters_of(notebook):
    """Rows of the parameter table: name, value of this run, default, whether they differ, meaning."""
    given = notebook["metadata"].get("papermill", {}).get("parameters", {})
    rows = []
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for line in "".join(cell["source"]).splitlines():
                if found := re.match(r"(\w+)\s*:[^=]+=\s*(.*?)\s*(?:#\s*(.*))?$", line):
                    name, default, meaning = found.groups()
                    default = yaml.safe_load(default)
                    value = given.get(name, default)
                    rows.append({"name": name, "value": value, "default": default, "changed": value != default, "meaning": meaning or ""})
    return rows


def text_of(notebook, tag):
    """Plain text of the first Markdown output of the cell with this tag; of a list, its first item."""
    import mistune
    from bs4 import BeautifulSoup

    for cell in notebook["cells"]:
        if tag in cell["metadata"].get("tags", []):
            for output in cell["outputs"]:
                if "text/markdown" in output.get("data", {}):
                    page = BeautifulSoup(mistune.html("".join(output["data"]["text/markdown"])), "html.parser")
                    return " ".join((page.li or page).get_text().split())
    return ""


def is_day(name):
    """Whether `name` is a night as folders are called by it: a date such as 2026-01-31."""
    try:
        return str(date.fromisoformat(name)) == name
    except ValueError:
        return False


# ------------------------------------------------------------------------------------------------------------ pages


@functools.cache
def templates():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


@functools.cache
def revision():
    return git_revision()  # takes 50 ms, and a night has 25 pages


def write_page(path, template, **values):
    """Render `template` to `path`, atomically."""
    defaults = {"style": (TEMPLATES / "style.css").read_text(), "up": "../", "footer": f"Nightshift {revision()}."}
    with atomic(path) as temporary:
        temporary.write_text(templates().get_template(template).render(**defaults | values), encoding="utf-8")


@functools.cache
def exporter():
    """(nbconvert's exporter, {mark: code}), which leaves a mark in the place of the words of code, coloured and escaped, of each cell.

    Nine of ten elements of a page are such words. Three parsers that clean and change pages would read them all: five studies take 7 s of a processor
    instead of 26.
    """
    import bleach
    from nbconvert import HTMLExporter
    from nbconvert.filters import Highlight2HTML

    tags = {*bleach.ALLOWED_TAGS, "h1", "h2", "h3", "h4", "p", "br", "hr", "div", "span", "pre", "sub", "sup", "details", "summary"}
    tags |= {"table", "thead", "tbody", "tr", "th", "td"}

    def allowed(tag, name, value):
        return name in ("class", "id", "title", "colspan") or (name == "href" and re.match(r"(https?://|#|[\w./-]+$)", value) is not None)

    highlight, aside = Highlight2HTML(), {}

    def set_aside(source, metadata):
        before, _, code = highlight(source, metadata=metadata).partition("<pre>")
        aside[mark := secrets.token_hex(16)], _, after = code.rpartition("</pre>")
        return f"{before}<pre>{mark}</pre>{after}"

    def clean(markup):
        return bleach.clean(str(markup), tags=tags, attributes=allowed, strip_comments=True)

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

    places : (id, name) of what other pages lead to: the first heading of level 3 or 4 that holds the id, or ends with the name, gets the id.
    """
    import nbformat
    from bs4 import BeautifulSoup

    notebook = nbformat.reads(json.dumps(notebook), as_version=4)
    notebook.cells = [c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        join_streams(cell)
    converter, aside = exporter()
    aside.clear()
    page = BeautifulSoup(converter.from_notebook_node(notebook)[0], "html.parser")
    for anchor in page.select("a.anchor-link"):
        anchor.decompose()
    if page.h1 and (answer := text_of(notebook, "headline")):  # the night's answer comes before what leads to it
        lead = page.new_tag("p", attrs={"class": "lead"})
        lead.string = answer
        page.h1.insert_after(lead)
    headings = [(heading, " ".join(heading.get_text().split())) for heading in page.select("h3, h4")]
    for name, title in places:
        if (at := next((i for i, (_, text) in enumerate(headings) if name in text or text.endswith(" ".join(title.split()))), None)) is not None:
            headings.pop(at)[0]["id"] = name
    for number, table in enumerate(page.select("table"), 1):
        table.attrs.pop("border", None)
        table.wrap(page.new_tag("div", attrs={"class": "scroll", "tabindex": "0", "role": "region", "aria-label": f"Table {number}"}))
        align_numbers(table)
    for wide in page.select("pre, figure"):
        wide["tabindex"] = "0"  # they scroll on a narrow screen, so the keyboard must reach them
    headings = [(h["id"], h.get_text()) for h in page.select("h2[id]")]
    text = str(page)
    for mark, code in aside.items():
        text = text.replace(mark, code)
    return text, [*headings, ("run", "Run")]


def join_streams(cell):
    """Make all that a cell printed one output, where it printed first: a log per epoch would be a wall of logs."""
    streams = [o for o in cell.get("outputs", []) if o.output_type == "stream"]
    for later in streams[1:]:
        streams[0].text += later.text
        cell.outputs.remove(later)


def align_numbers(table):
    """Mark the columns whose cells all read as numbers, to align on the right, or as times, to stay on one line."""
    rows = [row.select("td") for row in table.select("tbody tr")]
    for column, head in enumerate(table.select("thead th")):
        head["scope"] = "col"
        cells = [row[column] for row in rows if column < len(row)]
        if cells and all(re.fullmatch(r"[-+]?[\d,.]*%?|nan|inf", c.get_text().strip()) for c in cells):
            for cell in [head, *cells]:
                cell["class"] = "number"
        elif cells and all(re.fullmatch(r"[\d-]{5,10} \d\d:\d\d", c.get_text().strip()) for c in cells):
            for cell in cells:
                cell["class"] = "time"


def has_links(page, steps):
    """Whether the navigation of a page, which follows its style, holds all these steps: one more may have run since."""
    with page.open(encoding="utf-8") as file:
        head = file.read(50_000)
    return all(f'href="{step["href"]}"' in head for step in steps)


def publish_notebook(path, page, *, day, front, steps, current, of="", places=()):
    """Write `page` of the executed notebook at `path`, unless it is newer than notebook and templates and leads to all `steps`.

    front : path from it to the front page of its night; empty for a page that belongs to none.
    steps : name and href of the pages in its navigation; of : the night it was executed in, if not `day`; places : as in `render_notebook`.
    """
    newest_source = max(p.stat().st_mtime for p in [path, Path(__file__), *TEMPLATES.rglob("*.*")])
    if page.exists() and page.stat().st_mtime > newest_source and has_links(page, steps):
        return
    if (notebook := read_notebook(path)) is None:
        return
    error, has_cell = error_of(notebook, path.with_suffix(".log"))
    content, contents = render_notebook(notebook, places)
    ran = notebook["metadata"].get("papermill", {})
    at = next((i for i, s in enumerate(steps) if s["name"] == current), 0)
    write_page(
        page,
        "page.html.j2",
        title=f"{path.stem} {day}",
        day=day,
        of=of,
        front=front,
        content=content,
        contents=contents,
        error=error,
        has_cell=has_cell,
        steps=[{**s, "current": s["name"] == current} for s in steps],
        previous=steps[at - 1] if at else None,
        next=steps[at + 1] if at + 1 < len(steps) else None,
        parameters=parameters_of(notebook),
        up="../" * (front.count("../") + 1),
        run=f"Started {(ran.get('start_time') or '?')[:19].replace('T', ' ')} UTC, took {ran.get('duration') or 0:.0f} s.",
    )


def small_picture(path):
    """The picture at `path` with at most 64 colours and 1000 pixels across, a quarter of its size; None where it is none.

    By octree, which keeps a rare red that the default, median cut, turns brown.
    """
    try:
        picture = Image.open(path).convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None
    picture.thumbnail((1000, 4000), Image.Resampling.LANCZOS)
    return picture.quantize(64, Image.Quantize.FASTOCTREE)


def small_pictures(paths, room):
    """{path: data URL} of the pictures at `paths`, in their order and small, as long as they take at most `room` characters together.

    As WebP without loss, since it keeps letters sharp in four fifths of a PNG. A file that is no picture is left out.
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
