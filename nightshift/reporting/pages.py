"""Pages of the site: templates, the small scripts that may run in them, and the pages of executed notebooks.

A page needs nothing but the folder of its night, where style sheets and pictures lie, each once, named by a
hash of its content. It sends no request to any host, and runs only scripts that its content security policy
names by their hash. It is written atomically, and again only when its notebook or the code that renders it is
newer, or its links, notices or parameters differ.
"""

import base64
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from helpers import atomic
from nightshift.assurance import class_of, verdict_in_words
from nightshift.parameters import declared
from nightshift.products import git_revision, read_notebook
from nightshift.reporting.pictures import FOLDER, Album
from nightshift.reporting.rendering import TEMPLATES, render_notebook, render_report
from nightshift.wording import one_line

# what a page loads: names that Album and shared_style give
SHOWN = re.compile(r'(?:src|href)="((?:\.\./)?(?:pictures/[0-9a-f]+\.webp|style-[0-9a-f]+\.css))"')
# what stays as it is when dates are kept whole: tags, cells of tables, whose columns are marked, and no prose
NO_PROSE = r"(?s:<(script|style|pre|textarea|title|option|svg)\b.*?</\1|<td\b[^>]*>[^<]*|<[^>]*>)"
DATED = re.compile(rf"{NO_PROSE}|(?<![\w/.-])(?P<date>\d{{4}}-\d\d-\d\d)(?![\w/-])")
RENDERERS = [Path(__file__).with_name(f"{name}.py") for name in ("pages", "pictures", "rendering")]

# --------------------------------------------------------------------------------------- what a notebook says


def parameters_of(notebook, values):
    """Rows of the parameter table, dicts: name, value of this run, default, changed (whether they differ),
    meaning. values : {name: value} of the run.
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


# ------------------------------------------------------------------------------------------------------ pages


@functools.cache
def templates():
    """Make the Jinja2 environment of templates/: all values are escaped, and an undefined one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters |= {"verdict": verdict_in_words, "colour": class_of}
    return made


class Parts(NamedTuple):
    """Names of style sheets and scripts in templates/."""

    styles: tuple
    scripts: tuple


# with these a reader zooms into figures; the licence of the library must stand in every copy
UPLOT = "vendor/node_modules/uplot"
CHARTS = Parts(
    (f"{UPLOT}/dist/uPlot.min", "charts"),
    (f"{UPLOT}/LICENSE", f"{UPLOT}/dist/uPlot.iife.min.js", "charts.js"),
)


def can_zoom():
    """Whether npm has installed the library of charts; without it figures are pictures."""
    return (TEMPLATES / UPLOT).is_dir()


class Script(NamedTuple):
    """A small script of the site, and how the content security policy names it: no other may run."""

    text: str
    source: str


@functools.cache
def script(*names):
    """Read scripts of templates/, as one Script."""
    texts = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in names}
    licences = {name: f"/*! {text.strip()} */" for name, text in texts.items() if name.endswith("LICENSE")}
    text = "\n".join((texts | licences).values())
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(text, f"'sha256-{digest}'")


@functools.cache
def revision():
    """Return `git_revision`, asked once for all pages."""
    return git_revision()  # takes 50 ms, and a night has 25 pages


@functools.cache
def style_of(*names):
    """The style sheets `names` of templates/ as one, without comments and spaces around braces."""
    sheets = [(TEMPLATES / f"{name}.css").read_text(encoding="utf-8") for name in names]
    return re.sub(r"\s*([{};])\s*", r"\1", re.sub(r"(?s)/\*.*?\*/", "", "".join(sheets)))


def shared_style(folder, names):
    """Write the style sheets `names` as one file to `folder`, unless it is there; returns its name, which
    holds a hash of its content.
    """
    text = style_of(*names)
    path = folder / f"style-{hashlib.sha256(text.encode()).hexdigest()[:12]}.css"
    if not path.exists():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path.name


def write_page(path, template, *, style=("style", "front", "print"), home="", **values):
    """Render `template` to `path`, atomically; style : names of its style sheets in templates/; home : what
    leads from the page to the folder where they lie, "" or "../".
    """
    values = {"up": "../", "script": None, "footer": f"Nightshift {revision()}."} | values
    values["style"] = home + shared_style(path.parent / home, style)
    text = dates_kept_whole(templates().get_template(template).render(**values))
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def dates_kept_whole(markup):
    """HTML in which no line breaks within a date of its prose: browsers would break it at its hyphens."""
    return DATED.sub(lambda one: f"<time>{one['date']}</time>" if one["date"] else one[0], markup)


def bare_page(template, *, title, **values):
    """Render `template` for a page that belongs to no night, as text."""
    frame = frame_of("", "", title=title) | {"style": style_of("style", "front", "print"), "script": None}
    return templates().get_template(template).render(frame | values, footer=f"Nightshift {revision()}.")


def is_current(page, made, newest):
    """Whether the page at `page` is younger than `newest`, a moment, holds `made`, the hash of the values
    that it was made of, and has beside it the pictures and style sheets that it loads.
    """
    if not page.exists() or page.stat().st_mtime <= newest:
        return False
    text = page.read_text(encoding="utf-8", errors="replace")
    return f'content="{made}"' in text[:5_000] and all((page.parent / one).exists() for one in shown_by(text))


def shown_by(text):
    """Addresses of the pictures and style sheets that a page loads, of which `text` is the HTML: a set."""
    return set(SHOWN.findall(text))


def clear_unused(folder):
    """Delete the style sheets and pictures of the night `folder` that no page in it or below loads any more.

    What a study offers may be a page in any encoding.
    """
    pages = [page for page in folder.rglob("*.html") if page.is_file()]
    texts = (page.read_text(encoding="utf-8", errors="replace") for page in pages)
    used = {Path(one).name for text in texts for one in shown_by(text)}
    for path in [*folder.glob("style-*.css"), *folder.glob(f"{FOLDER}/*.webp")]:
        if path.name not in used:
            path.unlink(missing_ok=True)


def frame_of(day, front, *, title, current="", **more):
    """What stands around the content of a page of the night `day`, a dict for templates/page.html.j2.

    front : path from the page to the front page of its night, "" for a page that belongs to none. title : of
    the tab. current : name of the page among `steps`. more : `of`, the night it was executed in, if not
    `day`; `study`, its title; `studies` and `steps`, name and href of the pages in its menus; `notices`,
    sentences above everything else; `other`, name and href of its report or notebook; `files` to download;
    `reading`, sentences that say how a report is read; `rows` of its findings, as rows.py prepares them;
    `elsewhere`, n, words and href of other pages with findings of the study.
    """
    frame = {"of": "", "study": "", "studies": [], "steps": [], "notices": [], "other": None}
    frame |= {"files": [], "reading": [], "rows": [], "elsewhere": []}
    frame |= more | {"title": title, "day": day, "front": front, "current": current, "is_report": False}
    home = "../" * front.count("../")
    return frame | {"home": home, "up": f"../{home}"}


def publish_notebook(path, page, *, run, frame, places=()):
    """Write `page` of the executed notebook at `path`; returns "" or, in one line, what hindered it, which
    the page then says instead.

    A page that is newer than notebook and templates, and says the same, stays. run : how it ended, as
    `read_run` has it. frame : as `frame_of` gives it; places : as in `render_notebook`.
    """
    return publish(path, {page: frame}, run, lambda *of: [render_notebook(*of, places)], places)


def publish_report(path, page, *, run, frame, places=()):
    """Write `page`, the report that the executed notebook at `path` makes, and beside it the page of its
    code; returns what hindered it, as `publish_notebook` does.

    frame : of the report; besides what `frame_of` says it has `report_title`, "" for that of the notebook,
    `code_title`, that of the page of the code, which is its `other`, and whether its figures are to `zoom`.
    places : as in `render_notebook`.
    """
    code = page.with_name(frame["other"]["href"])
    back = {"name": "Report without code", "href": page.name}
    of_code = frame | {"title": frame["code_title"], "other": back, "files": [], "rows": [], "current": ""}
    shown = {page: frame | {"is_report": True}, code: of_code}
    how = {"title": frame["report_title"], "href": page.name, "zooms": frame["zoom"], "places": places}
    return publish(path, shown, run, lambda *of: render_report(*of, **how), places)


def publish(path, shown, run, render, places=()):
    """Write the pages `shown` {path: frame} of the executed notebook at `path`, which `render` makes of it
    and of the Album for its pictures; returns what hindered it, in one line.
    """
    frames = {}
    for page, frame in shown.items():
        frame = frame | {"error": run["error"], "has_cell": run["has_cell"]}
        stated = json.dumps([frame, run["parameters"], list(places)], default=str)
        frames[page] = frame | {"made": hashlib.sha256(stated.encode()).hexdigest()[:24]}
    try:
        if not path.exists():
            raise ValueError(f"{path.name} is not there: its run was stopped before it wrote anything")
        newest = max(p.stat().st_mtime for p in [path, *RENDERERS, *TEMPLATES.rglob("*.*")])
        if all(is_current(page, frame["made"], newest) for page, frame in frames.items()):
            return ""
        if (notebook := read_notebook(path)) is None:
            raise ValueError(f"{path.name} cannot be read: it was cut off, or is no notebook")
        parameters = parameters_of(notebook, run["parameters"])
        first, frame = next(iter(frames.items()))
        made = render(notebook, Album.of(first, frame["home"]))
        for (page, frame), rendered in zip(frames.items(), made, strict=True):
            zooms = "data-series=" in rendered.content
            write_page(
                page,
                "page.html.j2",
                style=("style", "notebook", *(CHARTS.styles if zooms else ()), "print"),
                **rendered._asdict(),
                **frame,
                parameters=parameters,
                run=run_line(run),
                script=script("tables.js", "open.js", *(CHARTS.scripts if zooms else ()))
                if frame["is_report"]
                else None,
            )
    except Exception as error:
        # whatever it is: the other pages are made, and no older page stands for this one
        line = one_line(error if type(error) is ValueError else f"{type(error).__name__}: {error}")
        for page, frame in frames.items():
            write_page(page, "broken.html.j2", line=line, **frame)
        page = next(iter(frames))
        return f"the page {page.parent.name}/{page.name} could not be made: {line}"
    return ""


def run_line(run):
    """When a notebook ran and how long it took, in a sentence."""
    started = (run["started"] or "?")[:16].replace("T", " ")
    return f"Started {started} UTC, took {run['seconds'] or 0:.0f} s."
