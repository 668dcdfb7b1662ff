"""Words in scripts that put no blanks between them: Chinese, Japanese, Thai, Lao, Khmer and Burmese.

None of the packages here has a dictionary, so short pieces that recur stand for words: every two adjacent Han
letters, since most Chinese words have two, and so have most Japanese ones written in Han letters; a whole run
of Katakana or Hiragana; every three adjacent letters, with their marks, of the scripts of South-East Asia.
Search engines index these languages by pairs as well (Nie, Gao, Zhang & Zhou 2000).

    words_in        all words of a text, whatever its scripts
    in_spaced_form  a text with blanks around them, for what takes words by blanks
    partly_shown    a run of which only some words may be seen
"""

import re

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
KANA = "[\u3041-\u309f]+|[\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff]+"
SOUTH_EAST = "\u0e01-\u0e3a\u0e40-\u0eff\u1000-\u109f\u1780-\u17ff"
MARKS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3"
RUN = re.compile(f"(?P<pairs>[{HAN}]+)|(?P<whole>{KANA})|(?P<threes>[{SOUTH_EAST}]+)")
LETTER = re.compile(f".[{MARKS}]*")
SIZE = {"pairs": 2, "threes": 3}  # letters of a word


def words_of(match):
    """List where the words of a run, a match of RUN, begin and end in it: [(begin, end)]; they overlap."""
    run = match[0]
    letters = [letter.span() for letter in LETTER.finditer(run)]
    size = SIZE.get(match.lastgroup, len(letters))
    if len(letters) <= size:
        return [(0, len(run))]
    return [(letters[i][0], letters[i + size - 1][1]) for i in range(len(letters) - size + 1)]


def words_in(text, plain, least=1):
    """List the words of a text: what the compiled pattern `plain` finds, and in scripts without blanks the
    words of at least `least` characters.
    """
    if not RUN.search(text):
        return plain.findall(text)
    words = plain.findall(RUN.sub(" ", text))
    for match in RUN.finditer(text):
        words += [match[0][begin:end] for begin, end in words_of(match) if end - begin >= least]
    return words


def in_spaced_form(text):
    """Put blanks around the words of scripts without blanks. The words lose their marks, which most programs
    do not take for letters.
    """
    if not RUN.search(text):
        return text
    return RUN.sub(lambda match: f" {' '.join(bare_words(match))} ", text)


def bare_words(match):
    """List the words of a run without marks."""
    return [re.sub(f"[{MARKS}]", "", match[0][begin:end]) for begin, end in words_of(match)]


def partly_shown(match, common):
    """Write a run, a match of RUN, with three dots in the place of letters that no word of the set `common`
    holds.
    """
    run = match[0]
    seen = [False] * len(run)
    for begin, end in words_of(match):
        if run[begin:end] in common:
            seen[begin:end] = [True] * (end - begin)
    letters = (letter if shown else "…" for letter, shown in zip(run, seen, strict=True))
    return re.sub("…+", "…", "".join(letters))
