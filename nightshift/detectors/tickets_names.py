"""What topics of tickets are called, and which of them are those of last night."""

import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from nightshift.detectors.tickets_topics import TextGraph, centres_of, cluster_texts, topics_in
from nightshift.personal import MASKS
from nightshift.unspaced import words_in

SURE = 0.01  # chance at or below which a topic grows or shrinks

# --------------------------------------------------------------------------------------------------- Keywords


def shared_words(texts, user, *, min_group):
    """Count the words that at least `min_group` different users wrote: (sparse (n, words), object (words,)).

    user : object (n,), "" where it is not known. Where no user is known at all, every ticket counts as one of
    its own; otherwise all unknown ones count as one. Stop words and masks are left out; there may be no word.
    """
    pattern = re.compile(r"\b(?<!['\u2019])[^\W\d_]{2,}\b(?!['\u2019])")
    found = CountVectorizer(
        tokenizer=partial(words_in, plain=pattern, least=2),
        token_pattern=None,
        stop_words=list(ENGLISH_STOP_WORDS | MASKS),
    )
    try:
        counts = found.fit_transform(texts)
    except ValueError:  # no text has such a word
        return sparse.csr_matrix((len(texts), 0)), np.array([], object)
    who = pd.factorize(user)[0] if (user != "").any() else np.arange(len(user))
    belongs = sparse.csr_matrix((np.ones(len(who)), (who, np.arange(len(who)))), (who.max() + 1, len(who)))
    users = np.asarray((belongs @ (counts > 0) > 0).sum(axis=0)).ravel()
    enough = np.flatnonzero(users >= min_group)
    return counts[:, enough], found.get_feature_names_out()[enough]


def keywords_of(counts, words, *, topic, n_topics, most=10):
    """List the words of each topic, most telling first: n_topics lists of at most `most`.

    counts : sparse (n, words). topic : int (n,), -1 for none. Weight of a word: its share of the words of the
    topic, times log(1 + mean number of words per topic / number of times it is used at all). Source:
    class-based TF-IDF, Grootendorst 2022.
    """
    member = topic >= 0
    belongs = (np.ones(member.sum()), (topic[member], np.flatnonzero(member)))
    sums = sparse.csr_matrix(belongs, (n_topics, len(topic))) @ counts
    share = sums.multiply(1 / np.maximum(np.asarray(sums.sum(axis=1)), 1)).toarray()
    used = np.maximum(np.asarray(sums.sum(axis=0)).ravel(), 1)
    weight = share * np.log1p(sums.sum() / max(n_topics, 1) / used)
    best = np.argsort(-weight, axis=1, kind="stable")[:, :most]
    return [[str(words[w]) for w in line if weight[i, w] > 0] for i, line in enumerate(best)]


# ------------------------------------------------------------------------------------------------- Identities


def match_topics(old, new, *, centres, radius, min_group):
    """Find which old topic each new one is, int (new,), -1 where it is none of them.

    old, new : int (n,), topic of the tickets of tonight, -1 for none or not known. centres : those of the old
    and of the new topics, (k, d) each, of length one. radius : (old,), median distance of last night's
    members from their centre, 1 - cosine. Each is matched to at most one, such that they share as many
    tickets as possible; a pair counts when it shares at least half of the tickets that both nights know of
    either (as in MONIC, Spiliopoulou et al. 2006). Where fewer than `min_group` members of an old topic are
    among tonight's tickets, its centre must be closer to the new one than half its radius.
    """
    old_centre, new_centre = centres
    match, taken = np.full(len(new_centre), -1), np.zeros(len(old_centre), bool)
    both = (old >= 0) & (new >= 0)
    shared = np.zeros((len(old_centre), len(new_centre)))
    np.add.at(shared, (old[both], new[both]), 1)
    members = np.bincount(old[old >= 0], minlength=len(old_centre))
    union = members[:, None] + np.bincount(new[both], minlength=len(new_centre)) - shared
    for i, j in zip(*linear_sum_assignment(-shared), strict=True):
        if shared[i, j] > 0 and shared[i, j] >= union[i, j] / 2:
            match[j], taken[i] = i, True
    far = np.full(shared.shape, 9.0)
    rows, columns = np.flatnonzero(~taken & (members < min_group)), np.flatnonzero(match < 0)
    if len(rows) and len(columns):
        far[np.ix_(rows, columns)] = 1 - old_centre[rows] @ new_centre[columns].T
        for i, j in zip(*linear_sum_assignment(far), strict=True):
            if far[i, j] < radius[i] / 2:
                match[j] = i
    return match


def ids_of(match, present, *, taken):
    """Give every topic its id: that of last night's topic that it is, else a new number; object (topics,).

    match : int (topics,), places in `present`, ids of last night, -1 for none. taken : all ids that were ever
    given, such as "t007"; a number is never given twice.
    """
    first_free = 1 + max([int(name[1:]) for name in taken], default=0)
    fresh = (f"t{number:03d}" for number in range(first_free, first_free + len(match)))
    return np.array([present[i] if i >= 0 else next(fresh) for i in match], object)


def states_of(match, topic, *, sizes_before, is_fresh):
    """Tell how each topic develops: list of "new", "growing", "steady" or "shrinking".

    match : int (topics,), places of last night's topics, -1 for none. topic : int (n,), -1 for none.
    sizes_before : tickets of last night's topics. is_fresh : bool (n,), tickets that are new since last
    night; a topic grows when it takes a larger share of these than it had, beyond what chance gives at one in
    a hundred.
    """
    states, total = [], int((is_fresh & (topic >= 0)).sum())
    for place, i in enumerate(match):
        if i < 0:
            states.append("new")
            continue
        share = sizes_before[i] / max(sizes_before.sum(), 1)
        came = int((is_fresh & (topic == place)).sum())
        grows = binom.sf(came - 1, total, share) <= SURE
        shrinks = binom.cdf(came, total, share) <= SURE
        states.append("growing" if grows else "shrinking" if shrinks else "steady")
    return states


def stored_names(match, keywords, *, present, words):
    """List last night's name of each topic while half of its keywords stay and all may be shown, else "".

    match : int (topics,), rows of `present` (DataFrame name, keywords), -1 for none. words : those that
    enough users wrote.
    """
    names, allowed = [], set(words)
    for place, i in enumerate(match):
        name = ""
        if i >= 0:
            was = present.loc[i]
            alike = len(set(was.keywords) & set(keywords[place])) * 2 >= max(len(was.keywords), 1)
            name = was["name"] if alike and set(was["name"].split(", ")) <= allowed else ""
        names.append(name)
    return names


def names_of(ids, keywords, *, stays):
    """Name topics, each differently: list of str.

    stays : the name that a topic keeps, "" for none; these come first. Else the name is the first four
    keywords, and as many more as it takes; at last the id is added.
    """
    names = {}
    for place in sorted(range(len(ids)), key=lambda i: not stays[i]):
        first = ", ".join(keywords[place][:4]) or "no shared word"
        longer = [", ".join(keywords[place][:count]) for count in range(5, len(keywords[place]) + 1)]
        choices = [stays[place], first, *longer, f"{first}, {ids[place]}"]
        names[place] = next(name for name in choices if name and name not in names.values())
    return [names[place] for place in range(len(ids))]


@dataclass(frozen=True)
class TwoNights:
    """Tickets of a first night, `rows`, int (m,), and of a second, all with their `vectors` (n, d): the
    TextGraph `older` of these, and that of all, `whole`.
    """

    rows: np.ndarray
    vectors: np.ndarray
    older: TextGraph
    whole: TextGraph


def try_identities(nights, resolutions, *, settings, seed, min_group):
    """Count how many topics find themselves again when new tickets come: (topics of the older ones, kept).

    nights : TwoNights. resolutions : those of the first and the second. The second night has the topics of
    the first as last night's.
    """
    earlier, later = resolutions
    first = topics_in(cluster_texts(nights.older, earlier, settings=settings, seed=seed), min_group)
    last_night = np.full(len(nights.vectors), -1)
    last_night[nights.rows] = first
    found = cluster_texts(nights.whole, later, settings=settings, seed=seed + 1, before=last_night)
    second = topics_in(found, min_group)
    centres = centres_of(nights.vectors[nights.rows], first), centres_of(nights.vectors, second)
    radius = np.zeros(len(centres[0]))
    match = match_topics(last_night, second, centres=centres, radius=radius, min_group=min_group)
    return len(centres[0]), int((match >= 0).sum())
