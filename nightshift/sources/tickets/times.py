"""Times of help desks: the zone of a server, which of day and month comes first, examples without words.

ticket_times, time_reader    a column in UTC; all columns of one file
is_time_column, shown_value  whether a column holds times; an example that shows nobody's words
"""

import re
from functools import partial

import pandas as pd

from nightshift.sources.times import (
    BY_NUMBERS,
    MONTHS,
    as_iso,
    day_order,
    in_utc,
    is_missing,
    is_unreadable,
    read_times,
)

ORDERS = ("auto", "day first", "month first")


def ticket_times(texts, timezone, counts, order=None):
    """Read UTC times (Series, microseconds) from a Series of text, as `read_times` reads them; years may have
    two digits.

    A time that names no zone is of `timezone`; in the hour that autumn shows twice it is the first, in the
    one that spring leaves out the end of the gap. counts : a Counter, to whose "doubled", "skipped" and
    "unreadable" such times are added. order : "day first" or "month first"; None reads only dates that are
    the same in both. `0000-00-00`, `0`, `-` and the like say that nothing happened.
    """

    def clock(local, zone):
        counts["doubled"] += int(in_utc(local, zone, first="NaT").isna().sum() - local.isna().sum())
        counts["skipped"] += int(in_utc(local, zone, gap="NaT").isna().sum() - local.isna().sum())
        return in_utc(local, zone)

    times = read_times(texts, timezone, order=order, short_years=True, clock=clock)
    counts["unreadable"] += int(is_unreadable(texts, times).sum())
    return times


def shown_value(text):
    """Return `text` for a message, quoted and cut to 40 characters: a date or a number as it is.

    Of anything else, which may be a person's words, only the form is shown: letters as x and digits as 9.
    """
    text = " ".join(str(text).split())[:40]
    words = re.findall(r"[^\W\d_]+", text)
    dated = all(
        word.lower() in {"am", "pm", "t", "z", "utc", "gmt"} or word[:3].lower() in MONTHS for word in words
    )
    if dated and re.match(r"\d", text) and len(text) <= 30:
        return repr(text)
    return repr(re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", text)))


def is_time_column(name, values):
    """Say whether all of the `values` (iterable of str; a sample is enough) are times.

    Where all are digits and dots (1769853600, 31.01.2026), the `name` of the column must speak of a time.
    """
    values = pd.Series(list(values), dtype="string").str.strip()
    values = values[~is_missing(values)]
    # most columns hold words, and their first value settles it
    if values.empty or not all(re.search(r"\d", value) for value in values):
        return False
    rest = values
    for order in ORDERS[1:]:
        rest = rest[read_times(rest, order=order, short_years=True).isna()]
    if not rest.empty:
        return False
    speaks = re.search(
        r"creat|open|clos|resol|solv|updat|time|date|answer|respon|"
        r"erstell|geöffnet|gelöst|geschl|datum|zeit|_at$",
        name,
        re.I,
    )
    return bool(speaks) or not all(re.fullmatch(r"[\d.]+", value) for value in values)


def time_reader(rows, names, timezone, counts, order="auto"):
    """Return {our name: function of a text column that gives UTC times} for the time columns of one file.

    rows : DataFrame of text with some of our time columns; names : {our name: the file's name}. ValueError of
    one line, with column and example, for dates of which nobody can tell day and month; and from a function
    for a column in which no time at all can be read.
    """
    values = {ours: rows[ours].dropna().astype(str).str.strip() for ours in names if ours in rows}
    if order == "auto":
        order = day_order([value for column in values.values() for value in column.unique()])
        every = [
            (ours, text, BY_NUMBERS.fullmatch(text))
            for ours, column in values.items()
            for text in column.unique()
        ]
        slashed = [(ours, text) for ours, text, found in every if found and found["sign"] != "."]
        unsure = [(ours, text) for ours, text in slashed if order == "both" or not as_iso(text, order)]
        if unsure and order in ("both", None):
            ours, example = unsure[0]
            raise ValueError(
                f"column {names[ours]!r} holds dates such as {shown_value(example)}, and the file does not "
                "tell whether the day or the month comes first: set dates to day first or month first"
            )

    def read(ours, text):
        before = counts["unreadable"]
        times = ticket_times(text, timezone, counts, order)
        bad = counts["unreadable"] - before
        if bad and not times.notna().any():
            unread = text[is_unreadable(text, times)].iloc[0]
            raise ValueError(
                f"column {names[ours]!r} holds no time that can be read, such as {shown_value(unread)}: it "
                "needs 2026-01-31 10:00, "
                "31.01.2026 10:00, 01/31/2026 10:00 AM, or seconds or milliseconds since 1970"
            )
        return times

    return {ours: partial(read, ours) for ours in values}
