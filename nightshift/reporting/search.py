"""Search over incidents and entities of all nights: an index that is built here and bundled in its page.

The page sends no request: templates/search.js looks words up in the index, as a whole, by their beginning
and, where nothing begins with a word, by the letters that it shares with others.
"""

import re
import unicodedata
from typing import NamedTuple

from nightshift.reporting.entity_pages import (
    FOLDER,
    anchor,
    index_groups,
    newest_source,
    sample_of_nights,
    write_current,
)
from nightshift.reporting.incident_view import severity_of, status_of
from nightshift.reporting.pages import script
from nightshift.wording import one_line, plural

MAX_WORDS = 80  # of one entry: names and the beginning of its sentence


class Entry(NamedTuple):
    """One thing to be found: its title, what else is shown of it, where it leads, and further words."""

    title: str
    about: str
    href: str
    words: str


def words_of(text):
    """Split text into words to look up: lower case, without accents, letters and digits only."""
    plain = unicodedata.normalize("NFKD", text).lower()
    letters = "".join(one for one in plain if not unicodedata.combining(one))
    return [word for word in re.split(r"[\W_]+", letters) if word][:MAX_WORDS]


def build_index(entries):
    """Build the index of a list of Entry: a dict that templates/search.js reads.

    Keys: entries, [title, about, href] of each; titles, {word: numbers of the entries with it in their
    title}; words, the same for words that an entry has only elsewhere.
    """
    titles, words = {}, {}
    for number, one in enumerate(entries):
        in_title = dict.fromkeys(words_of(one.title))
        for word in in_title:
            titles.setdefault(word, []).append(number)
        for word in dict.fromkeys(words_of(f"{one.about} {one.words}")):
            if word not in in_title:
                words.setdefault(word, []).append(number)
    shown = [[one.title, one.about, one.href] for one in entries]
    return {"entries": shown, "titles": titles, "words": words}


def entity_entries(groups):
    """The entries of entities, list of Entry, from the groups of their index, as of `index_groups`."""
    entries = []
    for group in groups:
        for row in group["rows"]:
            incidents = plural(row["n_incidents"], "incident")
            n_open = f", {row['n_open']} open in the latest night" if row["n_open"] else ""
            about = f"{group['kind']}, {incidents}{n_open}, last named {row['last']}"
            entries.append(Entry(row["words"], about, f"{FOLDER}/{row['href']}", ""))
    return entries


def incident_entries(histories, nights):
    """The entries of incidents, list of Entry, each as it last stood, the latest first."""
    last, names = {}, {}
    for night in nights:
        for one in night.incidents:
            last[one["id"]] = night.day, one
    for entity, history in histories.items():
        for name in history.courses:
            names.setdefault(name, []).append(entity.words)
    entries = []
    for name, (day, one) in last.items():
        about = f"{severity_of(one['severity'])} severity, {status_of(one)}, night of {day}"
        words = " ".join([*map(str, one["studies"]), name, *names.get(name, []), one["summary"]])
        title = one_line(one["title"], 120)
        entries.append((day, Entry(title, one_line(about, 120), anchor(day, one), words)))
    return [entry for _, entry in sorted(entries, key=lambda pair: pair[0], reverse=True)]


def write_search(reports, nights, histories):
    """Write search.html below `reports`.

    nights : list of Night, the earliest first. histories : {Entity: History} of them.
    """
    latest = nights[-1].day if nights else ""
    groups = index_groups(histories, latest)
    write_current(
        reports / "search.html",
        "search.html.j2",
        newest_source(),
        title="Search",
        up="",
        folder=FOLDER,
        groups=groups,
        n_nights=len(nights),
        sample=sample_of_nights(nights),
        unknown=f"The latest night, {latest}: {nights[-1].assured}" if nights and nights[-1].assured else "",
        index=build_index([*entity_entries(groups), *incident_entries(histories, nights)]),
        script=script("search.js"),
    )
