r"""From raw to clean tickets: what was known at the end of a day, who wrote, and what a person said.

    Tables      raw tickets and users, what a clean ticket is   read_raw, clean_schema
    Times       what a night could know                         as_of
    Senders     machines, user ids, departments                 read_patterns, bare_addresses, is_automatic,
                                                                identify_people, groups_of
    Text        without markup, quotations and signatures       is_markup, html_text, own_words, own_subject
    Duplicates  what one user wrote twice                       find_duplicates

What may be shown of it to others is in nightshift/privacy.py.
"""

import html
import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow.parquet as pq
from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning
from bs4.builder import ParserRejectedMarkup

from nightshift.personal import GREETS
from nightshift.privacy import WORD
from nightshift.sources.tickets.tables import meanings_of
from nightshift.unspaced import words_in

# ----------------------------------------------------------------------------------------------------- Tables

TEXTS = ["address", "user_name", "subject", "body", "format", "state", "priority", "help_topic", "queue"]
TEXTS += ["thread", "label"]
TIMES = ["created", "closed", "first_response", "lastupdate"]
USERS = ["user", "department", "school"]
OPTIONAL = ["staff", "status"]  # names of who answered; the desk's words for its states


def columns_of(file, needed):
    """Return the names of the columns of a Parquet `file`; AssertionError where one of `needed` is absent."""
    assert file.exists(), f"{file.parent} holds no {file.name}: run 1_extract first"
    names = pq.read_schema(file).names
    lacking = [column for column in needed if column not in names]
    assert not lacking, f"{file} lacks the columns {', '.join(lacking)}: run 1_extract again"
    return names


def read_raw(folder):
    """Read what 1_extract wrote to `folder`: (tickets, people); AssertionError of one line for another form.

    tickets : DataFrame ticket_id, TEXTS ("" for missing), OPTIONAL where they are there, TIMES in UTC,
    urgency, and `meaning` of the state: open, closed, deleted, merged, or "" where nobody knows. people :
    DataFrame department, school by user in small letters. An error never shows a value: even an id may hold
    an address.
    """
    needed = {"tickets": ["ticket_id", *TEXTS, *TIMES, "urgency"], "users": USERS}
    names = {name: columns_of(folder / f"{name}.parquet", columns) for name, columns in needed.items()}
    more = [column for column in OPTIONAL if column in names["tickets"]]
    raw = pd.read_parquet(folder / "tickets.parquet", columns=["ticket_id", *TEXTS, *more, *TIMES, "urgency"])
    for name in TIMES:
        assert raw[name].dtype == "datetime64[us, UTC]", (
            f"tickets.parquet: column {name!r} holds {raw[name].dtype}, no times in UTC: run 1_extract again"
        )
    raw = raw.astype({"urgency": "Int64"} | dict.fromkeys(["ticket_id", *TEXTS, *more], "str"))
    assert raw.ticket_id.fillna("").ne("").all(), "tickets.parquet: a ticket has no id: run 1_extract again"
    assert raw.ticket_id.is_unique, "tickets.parquet: an id of a ticket comes twice: run 1_extract again"
    filled = TEXTS + [column for column in more if column == "staff"]
    raw[filled] = raw[filled].fillna("")
    raw["meaning"] = meanings_of(raw)
    people = pd.read_parquet(folder / "users.parquet", columns=USERS).astype(dict.fromkeys(USERS, "str"))
    people = people.fillna("").assign(user=lambda table: table.user.str.strip().str.lower())
    return raw, people.drop_duplicates("user").set_index("user")


def clean_schema(max_chars, has_times):
    """Return the pandera schema of the clean table.

    Subjects have at most `max_chars` characters, users are pseudonyms or "", and a time of creation may be
    missing only where the source says no times at all (`has_times`).
    """
    column, check = pandera.Column, pandera.Check
    text, label = column(str), column(str, check.str_length(min_value=1))
    moment, number = column("datetime64[us, UTC]", nullable=True), column("Int64", nullable=True)
    return pandera.DataFrameSchema(
        {
            "ticket_id": column(str, check.str_length(min_value=1), unique=True),
            "created": column(moment.dtype, nullable=not has_times),
            "closed": moment,
            "first_response": moment,
            "open": column(bool),
            "user": column(str, check.str_matches("^(user-[0-9a-f]{8})?$")),
            "department": label,
            "school": label,
            "priority": text,
            "urgency": number,
            "help_topic": text,
            "queue": text,
            "site": text,
            "subject": column(str, check(lambda s: s.str.len() <= max_chars, name="length")),
            "text": text,
            "label": text,
        },
        ordered=True,
    )


# ------------------------------------------------------------------------------------------------------ Times


def as_of(tickets, window_end):
    """Return (`tickets` as the night before `window_end` could know them, counts of what was changed).

    A closing or an answer later than the night has not happened yet; one before the ticket was written is a
    wrong clock, and taken as unknown. A state beats a date: a ticket that is closed by its state, though
    nobody knows when, is not open; one that is open by its state was opened again, and its closing is no end.
    Only where the ticket changed after the night, the closing stays: that night saw it closed. tickets :
    DataFrame created, closed, first_response, lastupdate, meaning; the result has the column `open`, too.
    counts : {"reopened", "later", "early"}.
    """
    tickets = tickets.copy(deep=False)  # columns are replaced, never written into
    ends = ("closed", "first_response")
    later = {name: tickets[name] >= window_end for name in (*ends, "lastupdate")}
    early = {name: tickets[name] < tickets.created for name in ends}
    for name in ends:
        tickets[name] = tickets[name].mask(later[name] | early[name])
    reopened = (tickets.meaning == "open") & tickets.closed.notna() & ~later["lastupdate"]
    tickets["closed"] = tickets.closed.mask(reopened)
    still_open = tickets.meaning.isin(["open", ""]) | later["closed"] | later["lastupdate"]
    tickets["open"] = tickets.closed.isna() & still_open
    counts = {
        "reopened": int(reopened.sum()),
        "later": sum(int(later[name].sum()) for name in ends),
        "early": sum(int(early[name].sum()) for name in ends),
    }
    return tickets, counts


# ---------------------------------------------------------------------------------------------------- Senders


def read_patterns(patterns):
    """Join the list `patterns` to one regular expression, in any case; no pattern matches nothing.

    ValueError of one line names the one that is none.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"automatic_senders: {pattern!r} is no regular expression: {error}") from None
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or "(?!)", re.I)


def bare_addresses(addresses):
    """Return `addresses` (Series of str) in small letters; "Name <address>" is an address."""
    return addresses.str.strip().str.lower().str.replace(r"^.*<([^<>]*)>$", r"\1", regex=True)


def is_automatic(addresses, names, machine):
    """Whether machines wrote: bool (n,), by `addresses` or `names` (Series) that the pattern finds."""
    names = names.str.strip()
    matches = {text: bool(machine.search(text)) for text in {*addresses, *names}}
    return np.array(
        [matches[mail] or matches[name] for mail, name in zip(addresses, names, strict=True)], bool
    )


def identify_people(addresses, names, domains):
    """Return who wrote: DataFrame person, internal (bool).

    `person` is a user id, else an address or a name, and "" for nobody. An address of one of the `domains`
    (list) begins with the user id, which Slurm knows too; a plus and what follows is a mark that users add
    themselves. Any other address is somebody from outside. A source that gives a bare user id, or only a
    name, is taken at its word. addresses : as `bare_addresses` gives them.
    """
    parts = addresses.str.extract(r"^([^@+]*)[^@]*@?(.*)$")
    local, domain = parts[0], parts[1]
    own_domains = [name.strip().lower().removeprefix("@") for name in domains]
    internal = domain.isin(own_domains) | (domain == "")
    person = local.where(internal, addresses).where(addresses != "", names.str.strip().str.lower())
    return pd.DataFrame({"person": person, "internal": internal})


def groups_of(writers, people):
    """Return the department and school of `writers`, as `identify_people` gives them: DataFrame of str.

    "external" is who writes from outside, "unknown" whom `people` (DataFrame by user) does not list.
    """
    joined = people.reindex(writers.person.where(writers.internal, ""))
    groups = pd.DataFrame(index=writers.index)
    for name in ("department", "school"):
        names = pd.Series(joined[name].to_numpy(), writers.index, dtype="str").fillna("").str.strip()
        groups[name] = names.mask(names == "", "unknown").mask(~writers.internal, "external")
    return groups


# ------------------------------------------------------------------------------------------------------- Text

BLOCKS = {
    *("address", "br", "div", "dd", "dt", "h1", "h2", "h3", "h4", "hr", "li", "ol", "p", "pre", "table"),
    *("td", "th", "tr", "ul"),
}
DROPPED = {
    *("script", "style", "head", "title", "template", "noscript", "blockquote", "svg", "object", "iframe"),
}
HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|"
    r"font-size\s*:\s*0+(?:px|pt|em|%)?\s*(?:;|$)",
    re.I,
)
MARKUP = re.compile(r"</?(?:html|body|p|div|br|span|table|a|b|i|ul|li|pre)\b[^<>]*>", re.I)
# characters of HTML that are read, some hundred times what is kept: a pasted log of 10 MB would take a minute
MAX_MARKUP = 100_000


def is_markup(tickets):
    """Whether bodies are HTML, bool Series: by the column `format`, or where that is "" by a tag."""
    return (tickets.format == "html") | ((tickets.format == "") & tickets.body.str.contains(MARKUP))


def html_text(markup):
    """Return what a reader of the HTML `markup` sees, a line per block; "" gives "".

    Neither scripts nor styles nor what is hidden are seen, and a quotation is somebody else's words. Markup
    that cannot be parsed loses its tags only.
    """
    try:
        with warnings.catch_warnings():
            # a ticket may well be nothing but a path
            warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
            soup = BeautifulSoup(markup[:MAX_MARKUP], "html.parser")
    except (ParserRejectedMarkup, RecursionError):
        return html.unescape(re.sub(r"<[^<>]*>", " ", markup[:MAX_MARKUP]))
    for tag in soup(True):
        hidden = tag.has_attr("hidden") or HIDING.search(str(tag.get("style", "")))
        if tag.name in DROPPED or hidden or "gmail_quote" in tag.get("class", ""):
            tag.extract()
        elif tag.name in BLOCKS:
            tag.insert(0, "\n")
            tag.append("\n")
    return soup.get_text()


# fmt: off
WROTE = (r"(?:^|(?<=[.?!)]))[ \t]*(?:On|Am|Le|El)\b[^\n]{3,160}(?:\n[^\n]{0,120})?"
         r"\b(?:wrote|schrieb|a écrit|escribió)\b[^\n]{0,80}:[ \t]*$")
QUOTED = re.compile(rf"{WROTE}\s*(?:^[ \t]*>[^\n]*\n?)+|^[ \t]*>[^\n]*$", re.M)
EARLIER = re.compile(
    rf"{WROTE}|(?<!-)-{{3,}}+[ \t]*"
    r"(?:original|forwarded|ursprüngliche|weitergeleitete|message d'origine)[^\n]{0,30}-{3,}"
    r"|^[ \t]*_{10,}[ \t]*$|^[ \t*]*begin forwarded message"
    r"|(?:^|\s)\*?(?:from|von|de)\*?:[^\n]{3,160}\s\*?(?:sent|gesendet|date|datum|envoyé|to|an)\*?:",
    re.I | re.M)
# in lower case, one of these is in any EARLIER
ANSWERS = ["wrote", "schr", "écr", "escr", "---", "___", "forwarded message", "from:", "from*:", "von:",
           "von*:", "de:", "de*:"]
FAREWELL = (r"(?:with |mit )?"
            r"(?:best|kind|kindest|warm|warmest|freundlichen?|besten?|vielen?|lieben?|schönen?|herzlichen?)"
            rf" (?:regards|wishes|{GREETS})|(?:yours )?(?:sincerely|faithfully|truly)(?: yours)?")
THANKS = ("(?:many |best )?thanks(?: a lot| in advance| again)?|thank you(?: very much| in advance)?|"
          "(?:vielen |besten )?danke?(?: im voraus| schön)?")
SIGNATURE = re.compile(
    rf"^--[ ]?$|^[ \t]*(?:{FAREWELL}|regards|best|cheers|{GREETS}|mfg|vg|lg)\b[ \t,.!]*"
    r"(?:[\w.'-]+[ \t,.]*){0,4}$"
    rf"|^[ \t]*(?:{THANKS})[ \t]*[,.!]*[ \t]*$|^[ \t]*(?:{THANKS}),[ \t]*(?:[\w.'-]+[ \t]*){{1,3}}$"
    rf"|(?<=[.!?,;:)\s])(?:{FAREWELL})\b[^\n]{{0,80}}\Z|^sent from my |^von meinem [^\n]{{2,40}} gesendet",
    re.I | re.M)
SALUTATION = re.compile(
    r"^([ \t]*(?:dear|hi|hello|hallo|hey|moin|liebe[rs]?|sehr geehrte[rs]?)\b[^\n,.!:;?]{1,40})$",
    re.I | re.M)
TAG = r"\[[^\[\]]{1,40}\]\s*"
PREFIX = re.compile(
    rf"^(?:{TAG})*(?:(?:re|fwd?|aw|wg|antw)(?:\[\d+\]|\(\d+\))?\s*:\s*(?:{TAG})*)+|^\[[^\[\]]*#[^\[\]]*\]",
    re.I)
# fmt: on


def own_words(body):
    """Return the plain text `body` without quoted messages and signature, on one line.

    Quoted messages follow a line that says who wrote when, or stand behind angle brackets; where both are
    there, what follows the brackets is the user's own again. A closing formula and everything behind it is a
    signature, if something stands before it. A salutation that ends with its line gets the comma that it
    lacks, so that a name in it is still one when lines are joined.
    """
    body = QUOTED.sub("", body) if ">" in body else body
    earlier = EARLIER.search(body) if any(map(body.lower().__contains__, ANSWERS)) else None
    body = body[: earlier.start()] if earlier else body
    ends = (one.start() for one in SIGNATURE.finditer(body) if body[: one.start()].strip())
    return " ".join(SALUTATION.sub(r"\1,", body[: next(ends, None)]).split())


def own_subject(subject):
    """Return the plain text `subject` without Re:, Fw: and the like, on one line.

    The tags among these prefixes go, too, unless nothing else is in the subject.
    """
    subject = " ".join(subject.split())
    while (shorter := PREFIX.sub("", subject).strip()) != subject and shorter:
        subject = shorter
    return subject


# ------------------------------------------------------------------------------------------------- Duplicates


def find_duplicates(messages, within_s):
    """Return {row: id of the first ticket} of what the same user wrote in the same words shortly before.

    messages : DataFrame [row] user, message, seconds, id. The first one stays, and later ones within
    `within_s` seconds of it are its duplicates; after that the next one is a first again. No message gives
    {}.
    """
    ordered = messages.sort_values(["seconds", "id"])
    again = ordered[ordered.duplicated(["user", "message"], keep=False)]
    duplicates = {}
    for _, same in again.groupby(["user", "message"]):
        first = None
        for row in same.itertuples():
            if first is not None and row.seconds - first.seconds <= within_s:
                duplicates[row.Index] = first.id
            else:
                first = row
    return duplicates


class WordCounts(NamedTuple):
    """Words of all subjects, those of them shown as dots, and subjects that are not shown as written."""

    all: int
    dots: int
    altered: int


def count_words(subjects, masked, *, shown, common, places):
    """Count what masking and dots took away from subjects: WordCounts.

    subjects, masked, shown : list of str (n,), as they were written, masked, and with dots. common : words
    that may be shown, in small letters. places : Sites, whose names are never dots.
    """
    left = [word for text in masked for word in words_in(places.put_aside(text), WORD)]
    return WordCounts(
        sum(len(words_in(subject, WORD)) for subject in subjects),
        sum(word.casefold() not in common for word in left),
        sum(one != other for one, other in zip(subjects, shown, strict=True)),
    )
