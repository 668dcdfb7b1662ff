"""What a mail says: one night as a recipient may see it, as a message with text, HTML and figures. policy.py
says who gets it, and sends it.

Names of sites, topics and errors are written by others. Here each becomes one line without invisible
characters, so that it can end no header, and the HTML template escapes whatever it shows.
"""

import functools
import hashlib
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from types import SimpleNamespace

from nightshift import former_names
from nightshift.assurance import assure, simulated_in_words
from nightshift.notify.settings import SEVERITIES
from nightshift.reporting.digests import (
    count_word,
    going_on,
    pressing,
    rest_in_words,
)
from nightshift.reporting.incident_view import view_of
from nightshift.reporting.pages import templates
from nightshift.reporting.pictures import small_picture
from nightshift.wording import joined, one_line

# bytes of all figures of a message, which base64 makes a third larger: below 1 MB with its text
MAX_FIGURES = 650_000
# incidents with their figure and all that is known, and names of each kind of news; the table has the others
FEW = 5
NEWS = {
    "new": "New",
    "escalated": "Escalated",
    "resolved": "Resolved",
    "not yet notified": "Ongoing, new to you",
}

# -------------------------------------------------------------------------------------------------- one night


def read_night(root, day):
    """Read what a mail may say of a published night, from its digest.json; ValueError where that cannot be
    read.

    A namespace of day, incidents (dicts of digest.json by rank, None without a digest), failed (dicts: study,
    how, step, error, page), concerns (dicts: id, study, how, text: what is no failure and yet to be known),
    missing (studies), headline, sample (whether the data are simulated, in words), assurance, room (number of
    incidents shown in full).
    """
    path = root / "reports" / day / "digest.json"
    try:
        record = former_names.rename_night(json.loads(path.read_text(encoding="utf-8")))
        digest, studies = record["digest"], record["studies"]
        return SimpleNamespace(
            day=day,
            headline=one_line(record["headline"], 500),
            sample=simulated_in_words((one.get("data") or {}).get("source") for one in studies.values()),
            missing=[one_line(study) for study in digest["missing"]],
            failed=[
                {
                    "study": study,
                    "how": how,
                    "step": step,
                    "error": one_line(error),
                    "page": page_of(root, day, page),
                }
                for study, how, step, error, page in failures_of(record)
            ],
            concerns=[concern for study, one in studies.items() for concern in concerns_of(study, one)],
            assurance=assure({study: one["verdict"] for study, one in studies.items()}, digest["outcome"]),
            incidents=[checked_incident(one) for one in record["incidents"]]
            if digest["outcome"] == "ok"
            else None,
            room=sum(bool(one["shown"]) for one in record["incidents"]),
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{type(error).__name__}: {one_line(error, 120)}"
        raise ValueError(
            f"reports/{day}/digest.json cannot be read ({why}), so nothing of that night is sent"
        ) from None


def failures_of(record):
    """List what failed on a night, from the content of its digest.json: tuples of what (a study, "digest" or
    "site"), how, step, error and page.
    """
    digest = record["digest"]
    failed = [
        (study, one["verdict"], one["failed_step"], one["error"], f"{study}/{one['failed_step']}.html")
        for study, one in record["studies"].items()
        if one["error"]
    ]
    if digest["outcome"] != "ok":
        failed.append(("digest", "failed", "", digest["error"] or "it did not run", "digest.html"))
    failed += [("digest", "incomplete", "", note, "digest.html") for note in digest["notes"]]
    failed += [("site", "incomplete", "", line, "index.html") for line in record.get("problems") or []]
    return failed


def page_of(root, day, page):
    """Return the path of a page of a night, below reports/; "" where there is none."""
    return f"{day}/{page}" if (root / "reports" / day / page).exists() else ""


def concerns_of(study, one):
    """What is to be known of a study that did not fail: that it does not report and why, and its warnings;
    equal ones have equal ids every night.
    """
    reasons = [("warning", warning) for warning in one.get("warnings") or []]
    if assure({study: one["verdict"]}).lacking and not one["error"]:
        reasons.insert(0, (one["verdict"].split(", ")[-1], one.get("reason") or one["headline"]))
    concerns = [{"study": study, "how": how, "text": one_line(text, 600) or how} for how, text in reasons]
    for concern in concerns:
        # its numbers change every night
        kind = re.sub(r"\d+", "", concern["text"]) if concern["how"] == "warning" else concern["how"]
        concern["id"] = (
            "concern-" + hashlib.sha256(f"{study} {concern['how']} {kind}".encode()).hexdigest()[:12]
        )
    return concerns


def checked_incident(incident):
    """Return an incident of digest.json, its studies each on one line and its figure as text, if all that a
    mail shows of it is there; else KeyError, TypeError or AttributeError.
    """
    view_of(incident)
    return incident | {
        "studies": [one_line(study) for study in incident["studies"]],
        "figure": str(incident["figure"] or ""),
    }


# --------------------------------------------------------------------------------------------------- messages


def mail_view(night, settings, address, notified):
    """Prepare what `address` may see of a night for the templates, or None where no mail is due.

    night : as `read_night` gives it. settings : as `read_settings`. notified : set of ids of the incidents
    and concerns that earlier mails to them named.
    """
    rules = settings.people.get(address, [])
    seen = [one for one in night.incidents or [] if may_see(rules, one)]
    news = news_of(seen, notified)
    digest = bool(rules) and night.incidents is not None and (any(news.values()) or not settings.only_changes)
    mends = address in settings.failures
    if not digest and not (mends and (night.failed or {one["id"] for one in night.concerns} - notified)):
        return None
    subscribed = [study for studies, _ in rules for study in ([None] if studies is None else studies)]

    def theirs(ones):
        return [one for one in ones if mends or one["study"] in subscribed or None in subscribed]

    whole, concerns = len(seen) == len(night.incidents or []), theirs(night.concerns)
    urgent = [one for one in seen if pressing(one)]
    counts, headline = counts_of(night, seen), night.headline if whole and digest else ""
    assured = (
        ""
        if night.assurance.complete or night.assurance.sentence in headline
        else sentence_of(night, subscribed, mends)
    )
    return {
        "digest": digest,
        "day": night.day,
        "lead": (headline or assured)
        if counts == night.assurance.chip
        else f"{counts[:1].upper()}{counts[1:]}.",
        "news": {NEWS[name]: list(map(view_of, ones)) for name, ones in news.items() if ones},
        "shown": numbered_views(urgent[: night.room]) if digest else [],
        "more": rest_in_words(urgent[night.room :]),
        "silenced": [view_of(one) for one in seen if one["silence"] and one["state"] != "closed"],
        "seen": [one["id"] for one in seen if not one["silence"]] + [one["id"] for one in concerns],
        "headline": headline,
        "sample": night.sample,
        "counts": counts,
        "assured": assured,
        "chip": night.assurance.chip if night.assurance.lacking else "",
        "failed": theirs(night.failed),
        "concerns": concerns,
        "missing": [study for study in night.missing if mends or study in subscribed or None in subscribed],
    }


def may_see(rules, incident):
    """Tell whether one of the rules of a recipient, (studies or None for all, position of the least severity)
    each, lets them see an incident of digest.json.
    """
    seen_by, severity = {*incident["studies"]}, incident["severity"]
    return any(
        (studies is None or studies & seen_by) and severity not in SEVERITIES[:least]
        for studies, least in rules
    )


def news_of(incidents, notified):
    """Sort incidents that are news by the reason why: {one of NEWS: list}. notified : as for `mail_view`."""
    heard = [one for one in incidents if not one["silence"]]
    news = {state: [one for one in heard if one["state"] == state] for state in NEWS}
    news["not yet notified"] = [
        one for one in incidents if going_on(one) and one["state"] == "ongoing" and one["id"] not in notified
    ]
    return news


def numbered_views(incidents):
    """Prepare the incidents of one mail, numbered as they stand in it, each with the path of its `figure`."""
    return [view_of(one, figure=one["figure"]) | {"rank": n} for n, one in enumerate(incidents, 1)]


def counts_of(night, seen):
    """Count in words the incidents that a recipient may see: "no incident" only of a complete night, and
    "nothing for you" where only incidents that they may not see are urgent.
    """
    heard = [one for one in seen if not one["silence"]]
    if night.assurance.complete and not heard and any(pressing(one) for one in night.incidents or []):
        return "nothing for you"
    return night.assurance.in_words(Counter(map(count_word, heard)), chip=False)


def sentence_of(night, subscribed, mends):
    """What is not known of a night, naming only the studies that a recipient asks for."""
    if mends or None in subscribed:
        return night.assurance.sentence
    verdicts = {
        study: night.assurance.lacking[study] for study in subscribed if study in night.assurance.lacking
    }
    unknown = joined([f"{study} ({how})" for study, how in verdicts.items()])
    return f"{night.assurance.chip}{f'; not all is known of {unknown}' if verdicts else ''}."


def subject_of(view):
    """The subject, one line that nothing in it can end, in which an encoded word of a name is not decoded."""
    if view["digest"]:
        ends = Counter(how for how, _ in dict.fromkeys((one["how"], one["study"]) for one in view["failed"]))
        first = [
            one["title"]
            for one in view["shown"]
            if any(one["id"] == new["id"] for ones in view["news"].values() for new in ones)
        ]
        parts = [
            view["counts"],
            *(one_line(what, 70) for what in first[:1]),
            view["chip"] if view["chip"] != view["counts"] else "",
        ]
        text = "; ".join([part for part in parts if part] + [f"{n} {how}" for how, n in ends.items()])
    else:
        ends = [
            f"{one['study']} {one['how']}" + (f" in {one['step']}" if one["step"] else "")
            for one in view["failed"]
        ]
        ends += [f"{one['study']}: {one['how']}" for one in view["concerns"]]
        text = ", ".join(dict.fromkeys(ends))
    return one_line(f"Nightshift {view['day']}: {text}", 150).replace("=?", "= ?")


def png(path):
    """The picture at `path`, small, as PNG, which all mail programs show; empty where it is none."""
    buffer = io.BytesIO()
    if picture := small_picture(path, widest=1000):
        picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def figures_of(root, view):
    """{content id: PNG} of the first FEW incidents that are shown, as far as a message may hold; `figure` of
    each of these is replaced by its address in the message, "" without one.
    """
    figures, left = {}, MAX_FIGURES
    for one in view["shown"][:FEW]:
        path = (root / one["figure"]).resolve()
        picture = png(path) if one["figure"] and path.is_relative_to(root.resolve()) else b""
        if fits := bool(picture) and len(picture) <= left:
            figures[f"figure{one['rank']}.{view['day']}@nightshift"] = picture
            left -= len(picture)
        one["figure"] = f"cid:figure{one['rank']}.{view['day']}@nightshift" if fits else ""
    return figures


class Folding(EmailPolicy):
    """The policy SMTP, but no header begins with an empty line, which some programs do not show; Python makes
    one where a value fits a line, but not beside the name of its header.
    """

    def fold_binary(self, name, value):
        folded = super().fold_binary(name, value)
        # folded for the room beside the name, the value begins on the first line
        if folded.startswith(f"{name}:\r\n".encode()):
            folded = SMTP.clone(max_line_length=self.max_line_length - len(name) - 2).fold_binary(name, value)
        return folded


@functools.cache
def mail_templates():
    """The templates of the site, as mail needs them, compiled once: it took 60 ms for each message."""
    return templates().overlay(lstrip_blocks=True, autoescape=lambda name: name.endswith(".html.j2"))


def message_of(root, view, settings, addresses):
    """Make the message to `addresses` that holds `view`: text, HTML and figures; equal content for equal
    recipients has an equal Message-ID.
    """
    # figures get addresses of this message, and the view may belong to another one too
    view = view | {"shown": [dict(one) for one in view["shown"]]}
    figures, subject = figures_of(root, view), subject_of(view)
    values = view | {"subject": subject, "site_url": settings.site_url, "few": FEW}
    text, markup = (
        mail_templates().get_template(f"mail.{kind}.j2").render(values) for kind in ("txt", "html")
    )
    content = "\n".join([view["day"], *sorted(addresses), subject, text, markup])
    digest = hashlib.sha256(content.encode()).hexdigest()[:24]
    message = EmailMessage(policy=Folding(linesep=SMTP.linesep))
    message["Subject"] = subject
    message["From"] = Address("Nightshift", addr_spec=settings.sender)
    message["To"] = [Address(addr_spec=address) for address in addresses]
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{view['day']}.{digest}@{settings.sender.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # so that no notice of absence answers it (RFC 3834)
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(markup, subtype="html", cte="quoted-printable")
    for cid, picture in figures.items():
        message.get_payload()[1].add_related(picture, "image", "png", cid=f"<{cid}>", disposition="inline")
    return message
