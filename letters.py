"""What a mail says: one night as a recipient may see it, as a message with text, HTML and figures. mail.py says who gets it, and sends it.

Names of sites, topics and errors are written by others. Here each becomes one line without invisible characters, so that it can end no header, and
the HTML template escapes whatever it shows.
"""

import hashlib
import io
import json
import unicodedata
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from helpers import ROOT

MAX_FIGURES = 650_000       # bytes of all figures of a message, which base64 makes a third larger: below 1 MB with its text
WIDTH = 1200                # pixels of a figure: twice the 600 that it is shown with
SEVERITIES = ["low", "medium", "high"]
NEWS = {"new": "New", "worse": "Worse", "resolved": "Resolved", "untold": "Goes on, not told before"}

# -------------------------------------------------------------------------------------------------------------- one night


def plain(value, most=300):
    """`value` as one line of at most so many characters, without control characters, marks of direction and other invisible ones."""
    seen = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(value)[:4 * most])
    line = " ".join(seen.split())
    return line if len(line) <= most else line[:most - 1] + "…"


def read_night(root, day):
    """What can be told of one night: a namespace of incidents (dicts by rank, each with its proposals; None without a digest), failed (dicts: study,
    step, error, page), missing studies, headline, max_incidents. ValueError where the night has no run.json.
    """
    path = root / "reports" / day / "run.json"
    if not path.exists():
        raise ValueError(f"there is no {path}: the night of {day} has not been published")
    night = SimpleNamespace(day=day, incidents=None, missing=[], headline="", max_incidents=0, failed=[
        failure_of(day, study, told) for study, told in json.loads(path.read_text())["studies"].items() if told["verdict"] == "failed"])
    folder = root / "data/incidents"
    try:
        about = json.loads((folder / f"{day}.json").read_text())
        proposals = [{name: plain(value) if isinstance(value, str) else value for name, value in one.items()}
                     for one in pd.read_parquet(folder / f"{day}_proposals.parquet").sort_values("place").to_dict("records")]
        night.incidents = [told_of(one, [p for p in proposals if p["incident"] == plain(one["incident"])])
                           for one in pd.read_parquet(folder / f"{day}.parquet").sort_values("rank").to_dict("records")]
        night.missing, night.headline, night.max_incidents = about["missing"], plain(about["headline"], 500), about["max_incidents"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        night.incidents, why = None, f"its tables cannot be read: {type(error).__name__}: {error}"
        if isinstance(error, FileNotFoundError):
            why = f"it left no {Path(error.filename).name}"
        night.failed.append({"study": "digest", "step": "", "error": plain(why), "page": ""})
    return night


def failure_of(day, study, told):
    """Where a study failed: its failed step, or the first that did not run, and the page that shows it."""
    outcomes = {name: step["outcome"] for name, step in told["steps"].items()}
    failed = [name for name, outcome in outcomes.items() if outcome == "failed"]
    at = (failed or [name for name, outcome in outcomes.items() if outcome == "not run" and name != "3_train"] or [""])[0]
    return {"study": study, "step": at, "error": plain(told["error"] or "it did not run"), "page": f"{day}/{study}/{at}.html" if failed else ""}


def told_of(one, proposals):
    """An incident as the templates show it: one line of text each, times as text."""
    start = one["start"]
    since = one["first_seen"] if pd.isna(start) else start.strftime("%Y-%m-%d" if start == start.normalize() else "%Y-%m-%d %H:%M")
    names = ["incident", "summary", "impact", "change", "figure", "severity", "state", "mark", "marked_by", "marked_until", "marked_why"]
    text = {name: plain(one[name], 600) for name in names} | {name: plain(one[name], 100) for name in ("what", "site")}
    live = not text["mark"] and text["state"] not in ("resolved", "over")
    return text | {"since": plain(since), "night": int(one["night"]), "studies": [*one["studies"]], "live": live, "proposals": proposals}


# --------------------------------------------------------------------------------------------------------------- messages


def view_of(night, settings, address, told):
    """What `address` may see of a night, as the templates need it, or None where no mail is due; told : ids of incidents they know of."""
    rules = settings.people.get(address, [])
    seen = [one for one in night.incidents or [] if any((studies is None or studies & {*one["studies"]})
            and SEVERITIES.index(one["severity"]) >= SEVERITIES.index(severity) for studies, severity in rules)]
    news = {state: [one for one in seen if not one["mark"] and one["state"] == state] for state in NEWS}
    news["untold"] = [one for one in seen if one["live"] and one["state"] == "ongoing" and one["incident"] not in told]
    digest = bool(rules) and night.incidents is not None and (any(news.values()) or not settings.only_changes)
    mends = address in settings.failures
    if not digest and not (mends and night.failed):
        return None
    own = [study for studies, _ in rules for study in (studies or [None])]
    live = [one for one in seen if one["live"]]
    return {"digest": digest, "day": night.day, "news": {NEWS[name]: ones for name, ones in news.items() if ones},
            "shown": [one | {"at": n} for n, one in enumerate(live[:night.max_incidents], 1)] if digest else [],
            "more": len(live[night.max_incidents:]),
            "marked": [one for one in seen if one["mark"] and one["state"] != "over"], "seen": [one["incident"] for one in seen if not one["mark"]],
            "headline": night.headline if len(seen) == len(night.incidents or []) else "", "counts": counts_of(seen),
            "failed": [one for one in night.failed if mends or one["study"] in own or None in own],
            "missing": [plain(study) for study in night.missing if mends or study in own or None in own]}


def counts_of(incidents):
    """Such as "1 new, 2 ongoing"; marked and over ones do not count."""
    states = [one["state"] for one in incidents if not one["mark"]]
    return ", ".join(f"{states.count(state)} {state}" for state in ("new", "worse", "ongoing", "resolved") if state in states) or "no incident"


def subject_of(view):
    """One line for a header: what is in it cannot end it, and an encoded word in a name stays as it is written."""
    if view["digest"]:
        first = [one["what"] for one in view["shown"] if any(one["incident"] == new["incident"] for ones in view["news"].values() for new in ones)]
        text = view["counts"] + (f"; {first[0]}" if first else "") + (f"; {len(view['failed'])} failed" if view["failed"] else "")
    else:
        text = ", ".join(f"{one['study']} failed" + (f" in {one['step']}" if one["step"] else "") for one in view["failed"])
    return plain(f"Nightshift {view['day']}: {text}", 150).replace("=?", "= ?")


def chance_of(proposal):
    """Such as "chance 64% (41 to 83%), 7 trials"."""
    chance, low, high = (f"{100 * proposal[name]:.0f}" for name in ("chance", "low", "high"))
    return f"chance {chance}% ({low} to {high}%), {proposal['trials']} trial{'s' * (proposal['trials'] != 1)}"


def mark_of(one):
    """Such as "muted by the operator until 2026-02-07: a known leak"."""
    words = [(" by", "marked_by"), (" until", "marked_until"), (":", "marked_why")]
    return one["mark"] + "".join(f"{word} {one[name]}" for word, name in words if one[name])


def small_figure(path):
    """The figure at `path` as a PNG of at most WIDTH pixels and 128 colours, None where it cannot be read."""
    from PIL import Image

    small = io.BytesIO()
    try:
        picture = Image.open(path).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    picture.thumbnail((WIDTH, 4 * WIDTH))
    picture.quantize(128, Image.Quantize.FASTOCTREE).save(small, "PNG", optimize=True)
    return small.getvalue()


def figures_of(root, view):
    """{content id: PNG} of the shown incidents, by rank, as far as a message may hold; each of these incidents is told its `cid`."""
    figures, left = {}, MAX_FIGURES
    for one in view["shown"]:
        path = (root / one["figure"]).resolve()
        picture = small_figure(path) if one["figure"] and path.is_relative_to(root.resolve()) else None
        one["cid"] = f"figure{one['at']}.{view['day']}@nightshift" if picture and len(picture) <= left else ""
        if one["cid"]:
            figures[one["cid"]] = picture
            left -= len(picture)
    return figures


def message_of(root, view, settings, addresses):
    """The message to `addresses` that tells `view`: text, HTML and figures; equal content for equal recipients has an equal Message-ID."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(loader=FileSystemLoader(ROOT / "templates"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                       autoescape=lambda name: name.endswith(".html.j2"))
    figures, subject = figures_of(root, view), subject_of(view)
    values = view | {"subject": subject, "site_url": settings.site_url, "chance": chance_of, "mark": mark_of}
    text, markup = (made.get_template(f"mail.{kind}.j2").render(values) for kind in ("txt", "html"))
    mark = hashlib.sha256("\n".join([view["day"], *sorted(addresses), subject, text, markup]).encode()).hexdigest()[:24]
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject
    message["From"] = Address("Nightshift", addr_spec=settings.sender)
    message["To"] = [Address(addr_spec=address) for address in addresses]
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{view['day']}.{mark}@{settings.sender.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"      # so that nobody's absence is answered to us (RFC 3834)
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(markup, subtype="html", cte="quoted-printable")
    for cid, picture in figures.items():
        message.get_payload()[1].add_related(picture, "image", "png", cid=f"<{cid}>", disposition="inline")
    return message
