"""Texts of the tickets study for people: short, without tricks of writing, drawn with what the font has."""

import functools
import re
import unicodedata

import numpy as np
import pandas as pd
from matplotlib import font_manager

from nightshift.personal import MASKS
from nightshift.unspaced import words_in

LETTERS = re.compile(r"[^\W\d_]{3,}")
UNNAMED = ["", "unknown", "other"]  # what a column holds where a group has no name


def readable(text, width=80):
    """Put a text on one line of at most `width` characters, without control and formatting characters."""
    kept = str(text)[: 20 * width]
    kept = "".join(c if c.isspace() or unicodedata.category(c)[0] != "C" else "" for c in kept)
    kept = " ".join(kept.split())
    return kept if len(kept) <= width else kept[: width - 1].rstrip() + "…"


def font_path():
    """Find the font of the figures: the path of its file."""
    return font_manager.findfont(font_manager.FontProperties())


@functools.cache
def font_glyphs():
    """List the characters that the font of the figures can draw: a set of their numbers in Unicode."""
    return frozenset(font_manager.get_font(font_path()).get_charmap())


def drawn(text, width=30, *, glyphs=None):
    """Make a text readable in a figure: as `readable`, and "?" for each character without a glyph.

    glyphs : numbers of the characters that can be drawn; those of the font of the figures where it is None.
    """
    glyphs = font_glyphs() if glyphs is None else glyphs
    return "".join(c if ord(c) in glyphs else "?" for c in readable(text, width))


def examples(rows, n=3):
    """List the `n` different subjects (at most) of some tickets that lie nearest to their topic.

    rows : DataFrame subject, distance. A subject that holds nothing to read is left out.
    """
    subjects = [readable(subject) for subject in rows.sort_values("distance").subject]
    return list(dict.fromkeys(subject for subject in subjects if subject.strip("… ")))[:n]


def word_weights(rows, column, *, names, min_group, glyphs=None):
    """Weigh the words of the masked subjects of some groups: {group: {word: weight}}, by class-based TF-IDF.

    rows : DataFrame ticket_id, user, subject and `column`. names : the groups of that column. Words of fewer
    than `min_group` users of the group are left out; where users are not known at all, each ticket counts as
    one. glyphs : as for `drawn`; a word that the font cannot draw is left out. Source: Grootendorst 2022.
    """
    from wordcloud import STOPWORDS

    glyphs = font_glyphs() if glyphs is None else glyphs
    words = rows[[column, "user", "ticket_id", "subject"]]
    found = [words_in(subject, LETTERS, least=2) for subject in rows.subject.str[:300].str.lower()]
    words = words.assign(word=pd.Series(found, rows.index, dtype=object))
    words = words.explode("word").dropna(subset="word")
    words = words[~words.word.isin(STOPWORDS | MASKS) & words[column].isin(names)]
    words = words[words.word.str.len() <= 25]  # longer ones fit no cloud
    no_users = not (rows.user != "").any()
    who = words.user.where(words.user != "", words.ticket_id) if no_users else words.user.replace("", np.nan)
    counts = words.assign(who=who).groupby([column, "word"])
    counts = counts.agg(n=("ticket_id", "nunique"), users=("who", "nunique")).reset_index()
    mean = counts.n.sum() / max(counts[column].nunique(), 1)
    counts["weight"] = counts.n * np.log1p(mean / counts.groupby("word").n.transform("sum"))
    can_be_drawn = counts.word.map(lambda word: all(ord(c) in glyphs for c in word)).astype(bool)
    counts = counts[(counts.users >= min_group) & can_be_drawn]
    return {name: of.set_index("word").weight.to_dict() for name, of in counts.groupby(column)}


def clouds_of(rows, groups, *, min_group):
    """List the clouds of words to be drawn, (group, {word: weight}) each, in the order of the groups.

    groups : {column: names of its groups}. A group without a word that enough users wrote is left out.
    """
    clouds = []
    for column, names in groups.items():
        weights = word_weights(rows, column, names=names, min_group=min_group)
        clouds += [(name, weights[name]) for name in names if name in weights]
    return clouds
