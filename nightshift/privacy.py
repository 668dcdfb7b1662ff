r"""The privacy boundary: what of a text, an id or a group of people may be shown to others.

Whatever masks or pseudonymises what people wrote is here. It reads no file and knows no notebook.

    Characters   what a reader sees, cut between words               visible, shorten, beginning
    Patterns     secrets, addresses, hosts, paths, phones            searched, Forms, mask_patterns
    Names        words that name somebody, when they are words       name_words, ordinary_words, Names,
                                                                     mask_names
    Sites        what is no person, and stays                        Sites
    Masking      all of it, until nothing changes                    mask, mask_within
    Machines     what programs write about people                    redact
    Ids          of users and of tickets that are no plain ones      is_plain, hash_ids, pseudonyms,
                                                                     are_pseudonyms
    Shown        words of enough users, groups of enough users       common_words, mask_strangers, dotted,
                                                                     small_groups
"""

import hmac
import os
import re
import secrets
import unicodedata
from collections import Counter, defaultdict
from functools import cached_property
from itertools import permutations

import pandas as pd
from ahocorasick import Automaton

from nightshift.personal import CALLED, CAPITAL, MASKS, PATTERNS, UPPER
from nightshift.unspaced import RUN, partly_shown, words_in
from nightshift.wording import fold_site

# ------------------------------------------------------------------------------------------------- Characters

# control characters, NUL, marks that turn the direction of writing, blanks without width: they would hide a
# name from the masking, or turn a page around
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ue000-\uf8ff\U000e0000-\U0010ffff]"
)


def visible(text):
    """Return `text` in plain letters (NFKC), without what cannot be seen; "" gives "".

    Line ends become newlines and the apostrophe a straight one. Letters that only look special (full width,
    ligatures) become plain ones.
    """
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", UNSEEN.sub("", text).replace("\u2019", "'"))


def shorten(text, limit):
    """Cut `text` to at most `limit` characters, between words where there are any."""
    if len(text) <= limit:
        return text
    words = re.match(r"(?s:.*\S)(?=\s)", text[: limit + 1])
    return words[0] if words else text[:limit]


def beginning(text, limit):
    """Return the first words of `text`, at most four times `limit` characters: masking makes it shorter."""
    return shorten(text, 4 * limit)


# --------------------------------------------------------------------------------------------------- Patterns

NUMBER = re.compile(r"\d+")
# a mask that stands beside its like, as in first and last name, is one
TWICE = re.compile(rf"\b({'|'.join(sorted(MASKS))})(?:[ -]\1\b)+")


def searched(text):
    """Return `text` in the form in which the needs of PATTERNS are searched; the dot of a full stop goes,
    since it is none of a host's.
    """
    return NUMBER.sub("0", f"{text} ".lower().replace(". ", "  ")).replace(" 0 ", " # ")


class Forms:
    """Some of PATTERNS, each of which is tried on a text that holds one of its needs and on no other.

    All needs are sought in one pass: one by one, their search took half the time of masking a ticket.
    """

    def __init__(self, patterns):
        self.patterns = [
            (kind, pattern, rf"\g<keep>{kind}" if "keep" in pattern.groupindex else kind)
            for kind, _, pattern in patterns
        ]
        self.needs = Automaton()  # each with the places of its patterns, as bits of a number
        for place, (_, needs, _) in enumerate(patterns):
            for need in needs:
                self.needs.add_word(need, self.needs.get(need, 0) | 1 << place)
        self.needs.make_automaton()

    def tried(self, text):
        """Return the places of the patterns that are tried on `text`, as bits of a number."""
        places = 0
        for _, found in self.needs.iter(searched(text)):
            places |= found
        return places

    def mask(self, text, tally=None):
        """Return `text` with the kind of a pattern for what it finds; `tally`, a Counter, gets the kinds."""
        tried = self.tried(text)
        for place, (kind, pattern, instead) in enumerate(self.patterns):
            if tried >> place & 1:
                text, n = pattern.subn(instead, text)
                if n:
                    if tally is not None:
                        tally[kind] += n
                    # where an address was there may be no dot left, and no number where a host was
                    tried = self.tried(text)
        return text


FORMS = Forms(PATTERNS)


def mask_patterns(text, tally=None):
    """Return `text` with neutral words for what PATTERNS find, each inside one line.

    tally : Counter that gets the masks by kind, or None.
    """
    return TWICE.sub(r"\1", FORMS.mask(text, tally))


# ------------------------------------------------------------------------------------------------------ Names

WORD = re.compile(r"[^\W_]+")
BESIDE = re.compile(r"[ -]name\b")  # what follows the first of two names once the second is masked
SPECIAL = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "\u0131": "i", "þ": "th"}
)
# of names, but no names by themselves
PARTICLES = (
    "dr prof mr mrs ms herr frau von van der den de di da la le bin al zu and und root admin guest test"
)
NO_NAMES = MASKS | set(PARTICLES.split())


def fold(word):
    """Return `word` without case, accents and special letters."""
    word = word.casefold()
    if word.isascii():
        return word
    letters = unicodedata.normalize("NFKD", word)  # the marks of Kana make other letters, and stay
    kept = (letter for letter in letters if letter in "\u3099\u309a" or not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", "".join(kept)).translate(SPECIAL)


def name_words(names, addresses):
    """Return the words, folded, that name somebody: a set, empty for no name and no address.

    Words of `names` of two letters or more, words of `addresses` before the @ of three or more, and any two
    of the first four words of a name joined without a blank. Letters that are written in two ways, such as ü
    and ue, are here in both.
    """
    written = [visible(name).casefold() for name in names]
    for spelling in ({"ä": "ae", "ö": "oe", "ü": "ue"}, {"å": "aa", "ø": "oe"}):
        written += [name.translate(str.maketrans(spelling)) for name in written]
    parts = [[fold(word) for word in WORD.findall(name) if len(word) > 1] for name in written]
    words = {word for name in parts for word in [*name, *map("".join, permutations(name[:4], 2))]}
    for address in addresses:
        local = visible(address).partition("@")[0]
        words |= {fold(word) for word in WORD.findall(local) if len(word) > 2}
    return {word for word in words if not word.isdigit()} - NO_NAMES


class Names(dict):
    """What words of texts are, looked up once each: 0 no name, 1 a name, 2 a name that is also a word.

    listed : set of folded words that name somebody, as `name_words` gives it. words : those of them that are
    words, too, as `ordinary_words` gives them.
    """

    def __init__(self, listed, words=()):
        self.listed, self.words = listed, words

    @cached_property
    def unspaced(self):
        """The names in scripts without blanks, which stand inside of runs, a compiled pattern."""
        inside = sorted(filter(RUN.fullmatch, self.listed), key=len, reverse=True)
        return re.compile("|".join(inside) or "(?!)")

    def __missing__(self, word):
        folded = fold(word)
        folded = folded if folded in self.listed else folded.strip("0123456789")
        if folded not in self.listed:
            self[word] = 0
        else:
            self[word] = 2 if folded in self.words else 1
        return self[word]


def ordinary_words(texts, masked, *, authors, listed, least):
    """Return those of the names `listed` that are words ("May", "Long"): a set, folded; no text gives none.

    What is a word, the texts say themselves: at least `least` authors wrote it in small letters where no name
    stands, and all together did so three times as often as with a capital anywhere. texts (n,) of `authors`
    (n,), before and, as `masked` (n,), after `mask_patterns`.
    """
    names, users, small, capital = Names(listed), defaultdict(set), Counter(), Counter()
    for text, rest, user in zip(texts, masked, authors, strict=True):
        capital.update(fold(word) for word in WORD.findall(text) if names[word] and not word.islower())
        for word in WORD.findall(rest):
            if names[word] and word.islower():
                users[fold(word)].add(user)
                small[fold(word)] += 1
    return {word for word, of in users.items() if len(of) >= least and small[word] >= 3 * capital[word]}


def stands_as_name(text, match):
    """Whether the word that `match` found in `text`, a name that is also a word, stands as a name there.

    It does as a capital inside a sentence, or beside a name.
    """
    word = match[0]
    if not word[0].isupper() or (len(word) > 1 and word.isupper()):
        return False
    before = text[max(match.start() - 12, 0) : match.start()]
    clause = before.rstrip(" \"'([")
    inside = bool(clause) and "\n" not in before and clause[-1] not in ".!?:;-*…"
    return inside or bool(BESIDE.match(text, match.end()))


def mask_names(text, names, tally=None):
    """Return `text` with the word "name" for each word that `names` (Names) knows.

    A name that is also a word is masked where `stands_as_name` says so. tally : Counter that gets their
    number.
    """

    def instead(match):
        verdict = names[match[0]]
        if not verdict or (verdict == 2 and not stands_as_name(text, match)):
            return match[0]
        if tally is not None:
            tally["name"] += 1
        return "name"

    if RUN.search(text):
        text, n = names.unspaced.subn("name", text)
        if n and tally is not None:
            tally["name"] += n
    if not any(map(names.__getitem__, WORD.findall(text))):
        return text
    return TWICE.sub(r"\1", WORD.sub(instead, text))


# ------------------------------------------------------------------------------------------------------ Sites


class Sites:
    """Sites in texts, which are no persons and stay: half of what makes a ticket worth reading.

    A site is found where it stands for itself and is no part of a host or a path. It is put aside under a
    private character, which no text can hold once `visible` has dropped all such. names : {name, as
    `fold_site` gives it: site}.
    """

    def __init__(self, names):
        longest = sorted(map(re.escape, names), key=len, reverse=True)
        self.names, self.signs = names, {}
        either = "|".join(longest).replace("ss", "(?:ss|ß)").replace(r"\ ", r"\s+")
        alone = rf"(?<![\w.@/\\-])(?:{either})(?![\w@/\\-]|\.\w)"
        self.pattern = re.compile(alone if names else "(?!)", re.I)

    def found(self, text):
        """Return the mentions of sites in `text`, an iterator of matches."""
        small = " ".join(text.casefold().split())
        return self.pattern.finditer(text) if any(map(small.__contains__, self.names)) else iter(())

    def put_aside(self, text):
        """Return `text` with a private character for each mention of a site."""
        mentions = {one[0] for one in self.found(text)}
        for mention in mentions:
            self.signs.setdefault(mention, chr(0xF0000 + len(self.signs)))
        return self.pattern.sub(lambda one: self.signs[one[0]], text) if mentions else text

    def put_back(self, text):
        """Undo `put_aside`."""
        if text.isascii():  # no sign is
            return text
        return text.translate({ord(sign): mention for mention, sign in self.signs.items()})

    def of(self, text):
        """Return the first site that `text` mentions, "" where there is none."""
        first = next(self.found(text), None)
        return self.names.get(fold_site(first[0]), "") if first else ""


# ---------------------------------------------------------------------------------------------------- Masking


def mask(text, names, *, sites, tally=None):
    """Return `text` with neutral words for what PATTERNS and `names` (Names) find, but not for `sites`.

    Masking is repeated until nothing changes, so that masking twice is masking once: a mask may complete a
    pattern that the text did not have before, and what one more pass would find, a reader could find.
    """
    masked, before = sites.put_aside(text), None
    while masked != before:
        before = masked
        masked = mask_names(mask_patterns(masked, tally), names, tally)
    return sites.put_back(masked)


def mask_within(text, limit, *, names, sites, tally=None):
    """Return `text` masked, at most `limit` characters of it; what the cut changes is masked again."""
    masked = mask(text, names, sites=sites, tally=tally)
    while (cut := shorten(masked, limit)) != masked:
        masked = mask(cut, names, sites=sites, tally=tally)
    return masked


# --------------------------------------------------------------------------------------------------- Machines

# what is said of people by programs; hosts and links are what they speak about, and stay
OF_PEOPLE = Forms([one for one in PATTERNS if one[0] in ("address", "phone", "secret", "user")])
# below what is called home or user, by letters where there are many
HOMES = re.compile(
    r"((?:/(?:homes?|users?|people)/(?:[a-z]/)?)|\\(?:home|users)\\|(?<![\w~/])~(?=[a-z]))[^\s/\\,;:\"']+",
    re.I,
)
# who asks, and with which key, in a link
ASKING = re.compile(r"(?<=://)[^\s/@]+@|(?<=\?)[^\s?\"']+=[^\s\"']*")
NUMBERS = re.compile(
    r"(?<![\w.:-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"
    r"|(?<![\w:.])(?=[0-9a-f:]*::|(?:[0-9a-f]+:){7})(?=[a-f:]*\d)"
    r"(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])",
    re.I,
)
# who is meant by a message: "user Jane Doe", "for Jane Doe (jdoe)"
PERSONS = re.compile(
    rf"(?P<keep>\b(?:[Uu]ser|USER|[Oo]wner|OWNER|[Aa]ccount|[Ii]dentity|[Cc]lient|[Ss]ubject|"
    rf"[Rr]equested by|[Ss]ubmitted by|[Oo]n behalf of|[Ff]or user)[ ]+[\"'(]?){CALLED}{{0,3}}{CAPITAL}"
)


def redact(text):
    """Return `text`, which a program wrote, without what it says of people: neutral words for mail addresses,
    logins, certificate subjects, telephone numbers, passwords and tokens, network addresses, the names of
    home directories, and names after "user" and the like. Names of hosts stay, since the text is about them.
    """
    text = ASKING.sub(lambda one: "" if one[0].endswith("@") else "secret", text)
    text = OF_PEOPLE.mask(HOMES.sub(r"\1user", NUMBERS.sub("host", text)))
    return TWICE.sub(r"\1", PERSONS.sub(r"\g<keep>name", text))


# -------------------------------------------------------------------------------------------------------- Ids

PLAIN = re.compile(r"(?=.{1,20}$)(?=.*[0-9])[0-9_#-]*(?:[A-Za-z]+[0-9_#-]*)?")


def is_plain(ticket_id, listed):
    """Whether `ticket_id` may be shown: it is short, with a digit and at most one run of letters.

    Neither PATTERNS nor a name of `listed` (folded) may be found in it. Leading zeros of a number are left
    out before the patterns are tried, since with them such an id looks like a host.
    """
    unfilled = re.sub(r"(?<=[A-Za-z])([_#-]?)0+(?=[0-9])", r"\1", ticket_id)
    folded = {fold(word) for word in WORD.findall(ticket_id.replace("_", " "))}
    words = folded | {word.strip("0123456789") for word in folded}
    return (
        bool(PLAIN.fullmatch(ticket_id)) and listed.isdisjoint(words) and mask_patterns(unfilled) == unfilled
    )


def hash_ids(ids):
    """Return {id: "id-" and 64 bits of a keyed hash} of the Series `ids`; none gives {}.

    That is twice the bits of a user: among a million ids two share one with a chance of one in 30 million. A
    hash without a key would not do, for whoever guesses an address could try the ids that go with it; as to
    the key, see `pseudonyms`.
    """
    hashes = "id-" + pseudonyms(ids)[0].str[5:] + pseudonyms(ids + "\n")[0].str[5:]  # two of 32 bits each
    return dict(zip(ids, hashes, strict=True))


# ------------------------------------------------------------------------------------------------------ Shown


# two words or more, each a capital and small letters, in one line
STRANGERS = re.compile(rf"(?<![^\W_])[{UPPER}][^\W\d_A-Z]+(?:[ -][{UPPER}][^\W\d_A-Z]+)+(?![^\W_])")


def common_words(texts, authors, least):
    """Return the words, without case, that enough different authors wrote: a set.

    texts (n,) of `authors` (n,); at least `least` of them wrote each word. No text gives an empty set.
    """
    written = defaultdict(set)
    for text, user in zip(texts, authors, strict=True):
        written[user].update(words_in(text.casefold(), WORD))
    counts = Counter()
    for words in written.values():
        counts.update(words)
    return {word for word, n in counts.items() if n >= least}


def dotted(text, common, sites):
    """Return `text` with three dots for each run of words that are not in `common`; `sites` (Sites) stay."""
    parts, end, text = [], 0, sites.put_aside(text)
    for run in [*RUN.finditer(text), None]:
        between = text[end : run.start() if run else None]
        parts.append(WORD.sub(lambda word: word[0] if word[0].casefold() in common else "…", between))
        if run:
            parts.append(partly_shown(run, common))
            end = run.end()
    dots = "".join(parts)
    return sites.put_back(re.sub(r"…(?:[\s.,;:!?()'\"/_-]*…)+", "…", dots))


def mask_strangers(text, common):
    """Return `text` with the word "name" for two or more words beside each other that begin with a capital
    and are not in `common`, as `common_words` gives it: a name that nobody has listed.

    A surname alone cannot be distinguished from the name of a program. Titles of few words that few people
    wrote ("Advanced Rendering") are masked as well.
    """

    def instead(match):
        return match[0] if any(word.casefold() in common for word in WORD.findall(match[0])) else "name"

    return TWICE.sub(r"\1", STRANGERS.sub(instead, text))


def small_groups(groups, authors, least):
    """Return those of `groups` (Series, n) in which fewer than `least` different `authors` (n,) are: a list.

    A group in which one person asks is that person, however often. Who is unknown, or from outside, belongs
    to a group that says nothing of them, however small it is.
    """
    sizes = pd.Series(authors).groupby(groups).nunique()
    return [group for group, n in sizes.items() if n < least and group not in ("unknown", "external")]


def pseudonyms(names):
    """Return what each of the Series `names` is called in public, and whether that lasts: "user-" and 32 bits
    of a keyed hash; "" stays "".

    The key is the secret in NIGHTSHIFT_KEY; without it nobody can try names against the pseudonyms. Where
    there is none, or an empty one, each call draws its own, and the pseudonyms do not last. Two of 10,000
    names share one with a chance of 1%.
    """
    key = os.environ.get("NIGHTSHIFT_KEY", "").encode()
    drawn = key or secrets.token_bytes(16)
    called = {
        name: name and "user-" + hmac.digest(drawn, name.encode(), "sha256").hex()[:8]
        for name in names.unique()
    }
    return names.map(called).astype("str"), bool(key)


def are_pseudonyms(names):
    """Whether all of the Series `names` are as `pseudonyms` calls them, or "", and whether these last."""
    return bool(names.str.fullmatch("(?:user-[0-9a-f]{8})?").all()), bool(os.environ.get("NIGHTSHIFT_KEY"))
