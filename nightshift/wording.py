"""Sentences from values: one line of foreign text, times, counts with their noun, lists, skills."""

import re
import unicodedata
from datetime import date, timedelta

# whatever a terminal may act on: its sequences (ECMA-48), and control characters but ends of lines and tabs
SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
NOTHING = "\N{EN DASH}"  # in a cell that has nothing to say: it does not apply, or is not known
LEAST_SKILL = -10  # below it the exact number says no more than that the model is useless


def one_line(value, most=300):
    """Return `value` as one line of at most `most` characters, without sequences of a terminal, control
    characters, marks of direction and other invisible ones.
    """
    text = SEQUENCES.sub(" ", str(value)[: 4 * most])
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    line = " ".join(visible.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def fold_site(name):
    """`name` of a site as it is looked up: plain letters (NFKC), without case, one blank between words."""
    return " ".join(unicodedata.normalize("NFKC", str(name)).casefold().split())


def moment(time):
    """Return a time as all pages and mails write it: "2026-01-31 04:00 UTC", or "2026-01-31" for a midnight,
    which is the day itself; "not known" where there is none.

    time : a datetime or Timestamp in UTC, or its text in ISO 8601.
    """
    if not time or time != time:  # NaT equals nothing
        return "not known"
    text = time if isinstance(time, str) else f"{time:%Y-%m-%dT%H:%M:%S}"
    return text[:10] if text[11:19] in ("", "00:00:00") else f"{text[:10]} {text[11:16]} UTC"


def last_moment(end, start):
    """Return an end as `moment` writes it, but a midnight as the day that it closes: "2026-01-25" for
    2026-01-26 00:00, so that what is said to last to a day holds that day; never earlier than the start.

    end, start : datetimes or Timestamps in UTC, or their texts in ISO 8601; None is not known.
    """
    text, first = moment(end), moment(start)
    is_midnight = len(text) == 10 and text != "not known" and len(str(end)) > 10
    if not is_midnight:
        return text
    closed = str(date.fromisoformat(text) - timedelta(days=1))
    return first if first != "not known" and closed < first[:10] else closed


def from_to(start, end):
    """Return a stretch of time, its day once: "2026-01-28 21:47 to 21:52 UTC", "2026-01-12 to 2026-01-18".

    start, end : as in `last_moment`.
    """
    first, last = moment(start), last_moment(end, start)
    if first[:10] != last[:10] or min(len(first), len(last)) == 10:
        return f"{first} to {last}" if first != last else first
    return f"{first.removesuffix(' UTC')} to {last[11:]}" if first != last else first


def lasting(seconds):
    """Return a length of time to two digits or so: "45 s", "5 min", "11 h", "3 d"."""
    for unit, length, least in (("d", 86_400, 172_800), ("h", 3_600, 7_200), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def plural(n, noun, many=""):
    """Return `n` with its noun: "1 rule", "7 rules", "2 studies"; many : the plural, where it is not the
    noun with an s (or -ies for -y).
    """
    if n == 1:
        return f"1 {noun}"
    ending = noun[:-1] + "ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else noun + "s"
    return f"{n:,} {many or ending}"


def joined(words):
    """Return `words` as a list in a sentence: "a", "a and b", "a, b and c"."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def first_few(words, most=3):
    """Return the first of `words` as a list in a sentence, and how many more there are: "a, b, c and 4 more";
    the last is named rather than counted.
    """
    words = list(words)
    if len(words) <= most + 1:
        return joined(words)
    return f"{', '.join(words[:most])} and {len(words) - most:,} more"


def skill_in_words(skill, low=None, high=None):
    """Return a skill with its interval: "0.40 (0.35 to 0.45)".

    Far below zero, where the quotient explodes, it is "below -10, far worse than the baseline".
    """
    if skill < LEAST_SKILL:
        return f"below {LEAST_SKILL}, far worse than the baseline"
    if low is None or high is None:
        return f"{skill:.2f}"
    least = f"below {LEAST_SKILL}" if low < LEAST_SKILL else f"{low:.2f}"
    return f"{skill:.2f} ({least} to {high:.2f})"
