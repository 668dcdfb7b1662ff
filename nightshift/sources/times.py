"""Moments as text, in whatever form a producer writes them, as times in UTC."""

import re
import warnings
from datetime import datetime

import numpy as np
import pandas as pd

MISSING = re.compile(  # what stands for none
    r"\s*(?:|-|-?[01](?:\.0+)?|null|none|nan|nat|n/?a|unknown|(?:000[01]-|1970-01-01).*)\s*", re.IGNORECASE
)
UNITS = (
    (1e8, 1e11, 1e6),
    (1e11, 1e14, 1e3),
    (1e14, 1e17, 1.0),
    (1e17, 1e20, 1e-3),
)  # seconds to ns since 1970: from, to, in us
COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # what would be 1970, 1976 and the year 2612
NUMBERS = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{2,4})(?!\d)")
FORMS = "ISO 8601, seconds or milliseconds since 1970, or a date with its year, month and day"


def read_times(text):
    """The moments that the Series `text` holds (text, numbers or None): datetime64[us, UTC], NaT where
    there is none or none can be read.

    Read are ISO 8601; seconds, milliseconds, microseconds and nanoseconds since 1970; digits such as
    20260131100000; dates as 2026/01/31, 31.01.2026, 30 Jan 2026 and those of RFC 2822. A moment without
    zone is UTC. Whether 01/02/2026 is in January or in February is taken from the others of the same
    Series; where all of them leave it open, or contradict each other, they cannot be read.
    """
    text = pd.Series(text, dtype=object).astype("str").str.strip()  # None stays missing
    at = pd.Series(pd.NaT, index=text.index, dtype="datetime64[us, UTC]")
    number = pd.to_numeric(text, errors="coerce").astype(float)
    numeric = np.isfinite(number)
    if numeric.any():
        at[numeric] = read_numbers(number[numeric])
    rest = text.notna() & ~numeric & (text != "")
    at[rest] = pd.to_datetime(text[rest], utc=True, format="ISO8601", errors="coerce").astype(at.dtype)
    left = text[rest & at.isna()]
    if len(left):
        unique = left.unique()
        day_first = reads_day_first(unique)
        at[left.index] = pd.to_datetime(
            left.map({one: read_date(one, day_first) for one in unique}), utc=True
        ).astype(at.dtype)
    return at.where(at >= pd.Timestamp("1970-01-02", tz="UTC"))  # the beginning of a clock is no moment


def is_unreadable(text, at):
    """Where the Series `text` holds something that `at`, as `read_times` gives it, lacks: bool (n,)."""
    lacking = pd.Series(text, dtype=object)[at.isna()].dropna().astype(str)
    found = pd.Series(False, index=at.index)
    found[lacking.index] = np.array([MISSING.fullmatch(one) is None for one in lacking], bool)
    return found


def read_numbers(number):
    """Moments of the numbers `number` (float Series): counts since 1970 by their size, or digits of a date;
    NaT for others."""
    size = number.astype("float64")
    factor = np.select(
        [(size >= low) & (size < high) for low, high, _ in UNITS], [unit for _, _, unit in UNITS], np.nan
    )
    counted = pd.Series(np.round(size * factor), index=number.index)
    at = pd.to_datetime(counted, unit="us", utc=True, errors="coerce").astype("datetime64[us, UTC]")
    for digits, form in COMPACT.items():
        compact = (size >= 1.9 * 10 ** (digits - 1)) & (size < 2.1 * 10 ** (digits - 1)) & (size % 1 == 0)
        if compact.any():
            at[compact] = pd.to_datetime(
                size[compact].astype("int64").astype(str), format=form, utc=True, errors="coerce"
            ).astype(at.dtype)
    return at


def reads_day_first(texts):
    """Whether dates such as 01/02/2026 among `texts` begin with the day: True, False, or None where nothing
    tells."""
    found = [NUMBERS.search(one) for one in texts if "/" in one or "-" in one]
    pairs = [(int(one[1]), int(one[2])) for one in found if one and len(one[3]) == 4]
    day, month = any(first > 12 for first, _ in pairs), any(second > 12 for _, second in pairs)
    return None if day == month else day


def read_date(text, day_first):
    """The moment that one text names, in UTC; NaT where it cannot be read, names no full date, or leaves
    open which number is the day."""
    from dateutil import parser

    text = re.sub(r"^(\d{1,2}/\w{3}/\d{4}):", r"\1 ", text.replace("@", " "))  # Kibana's and Apache's
    numbers = NUMBERS.match(text)
    if numbers:
        day_first = True if "." in numbers[0] else day_first
        if len(numbers[3]) != 4 or (day_first is None and numbers[1] != numbers[2]):
            return pd.NaT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the name of a zone that it does not know
            each = [
                parser.parse(text, default=datetime(*some), dayfirst=bool(numbers and day_first))
                for some in ((2000, 1, 1), (2001, 2, 2))
            ]
            at = pd.Timestamp(each[0])
            at = at.tz_localize("UTC") if at.tz is None else at.tz_convert("UTC")
    except (ValueError, OverflowError, Warning):
        return pd.NaT
    return at if each[0] == each[1] else pd.NaT  # else a part came from the default


def week_of(at):
    """The Monday, 00:00 UTC, of the week of each moment of the Series `at` (datetime64, UTC); missing
    stays missing.
    """
    return (at.dt.floor("D") - pd.to_timedelta(at.dt.day_of_week, unit="D")).astype("datetime64[us, UTC]")
