"""Times as producers write them, read as moments in UTC: the one parser of all sources.

One text   as ISO 8601; which of day and month comes first   as_iso, day_order
A column   in UTC; what of it cannot be read                 read_times, is_unreadable, has_zone
Local      times of a zone, where its clock changes          in_utc
Weeks      the Monday of each                                week_of
"""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MISSING = re.compile(  # what stands for none: words, where clocks begin, empty cells of databases
    r"\s*(?:|-|-?[01](?:\.0+)?|null|none|nan|nat|n/?a|unknown|never|not set"
    r"|(?:0000|0001-|1970-01-01).*)\s*",
    re.IGNORECASE,
)
DAY_US = 86_400_000_000  # microseconds of a day
SMALLEST = 1e8  # seconds since 1970, in 1973: a smaller number is not taken for a time
UNITS = (
    (SMALLEST, 1e11, 1e6),
    (1e11, 1e14, 1e3),
    (1e14, 1e17, 1.0),
    (1e17, 1e20, 1e-3),
)  # seconds to ns since 1970: from, to, in us
COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # as counts of 1970, 1976 and 2612
MONTH_NAMES = [
    "jan",
    "feb",
    "mar mär mrz",
    "apr",
    "may mai",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct okt",
    "nov",
    "dec dez",
]
MONTHS = {name: number for number, names in enumerate(MONTH_NAMES, 1) for name in names.split()}
CLOCK = (  # also Apache's, 31/Jan/2026:10:00:00, and Kibana's, Jan 31, 2026 @ 10:00:00.000
    r"(?:(?:,|T|\s@|:)?\s*(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}(?:[.,]\d+)?))?"
    r"\s*(?P<half>[ap]\.?m\.?)?)?\s*(?:uhr)?"
)
ZONE = r"\s*(?P<zone>z|utc|gmt|cest|cet|mesz|mez|[+-]\d{2}:?\d{2})?"
WEEKDAY = r"(?:[^\W\d_]{2,10}\.?,?\s+)?"
SHAPES = [
    re.compile(rf"(?P<y>\d{{4}})[./](?P<m>\d{{1,2}})[./](?P<d>\d{{1,2}}){CLOCK}{ZONE}", re.I),
    re.compile(rf"(?P<y>\d{{4}})-(?P<m>\d{{1,2}})-(?P<d>\d{{1,2}}){CLOCK}{ZONE}", re.I),
    re.compile(
        rf"{WEEKDAY}(?P<a>\d{{1,2}})(?P<sign>[./-])\s?(?P<b>\d{{1,2}})(?P=sign)\s?(?P<y>\d{{4}}|\d\d)(?!\d)"
        rf"{CLOCK}{ZONE}",
        re.I,
    ),
    re.compile(
        rf"{WEEKDAY}(?P<d>\d{{1,2}})[ ./-]+(?P<name>[^\W\d_]{{3,9}})\.?[ ./,-]+(?P<y>\d{{4}}|\d\d)(?!\d)"
        rf"{CLOCK}{ZONE}",
        re.I,
    ),
    re.compile(
        rf"{WEEKDAY}(?P<name>[^\W\d_]{{3,9}})\.?\s+(?P<d>\d{{1,2}}),?\s+(?P<y>\d{{4}}){CLOCK}{ZONE}", re.I
    ),
    re.compile(
        r"(?:[^\W\d_]{2,10}\s+)(?P<name>[^\W\d_]{3,9})\s+(?P<d>\d{1,2})\s+"
        rf"(?P<h>\d{{1,2}}):(?P<min>\d{{2}}):(?P<s>\d{{2}}){ZONE}\s+(?P<y>\d{{4}})",
        re.I,
    ),
]
BY_NUMBERS = SHAPES[2]  # the one in which either the day or the month may come first
ISO = r"\d{4}-?\d\d-?\d\d[T ]\d\d(?::?\d\d){0,2}(?:[.,]\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?"
RFC = (
    r"^(?:[A-Z][a-z]{2}, )?(?P<day>\d{1,2}) (?P<month>[A-Z][a-z]{2}) (?P<year>\d{4})"
    r" (?P<clock>\d{2}:\d{2}:\d{2}) (?:UTC|GMT|\+0000)$"
)
RFC_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
ZONED = r"[T ]\d\d\S*\s*(?:Z|[+-]\d\d(?::?\d\d)?)$"  # of ISO 8601; Ruby and Git put a blank before a zone
ZONES = {
    "z": "Z",
    "utc": "Z",
    "gmt": "Z",
    "cet": "+01:00",
    "mez": "+01:00",
    "cest": "+02:00",
    "mesz": "+02:00",
}
NAMED_UTC = r"\s*(?:UTC|GMT)$"
FIRST = pd.Timestamp("1970-01-02", tz="UTC")  # what is earlier is the zero of a clock, and no time
FORMS = "ISO 8601, seconds or milliseconds since 1970, or a date with its year, month and day"

# --------------------------------------------------------------------------------------------------- one text


def day_order(texts):
    """Return what comes first in dates such as 31/01/2026: "day first" or "month first"; None where no value
    tells, "both" where values disagree.

    texts : iterable of str. Dates with dots have the day first everywhere, and tell nothing of those with
    slashes.
    """
    dates = [
        match for text in texts if (match := BY_NUMBERS.fullmatch(text.strip())) and match["sign"] != "."
    ]
    day, month = (any(int(match[part]) > 12 for match in dates) for part in "ab")
    return "both" if day and month else "day first" if day else "month first" if month else None


def as_iso(text, order=None, *, short_years=True):
    """Return a date with its time as ISO 8601, without a zone where the text names none; "" where it is no
    date.

    order : "day first" or "month first", for dates such as 01/02/2026; None reads no such date, unless both
    orders give the same day. short_years : whether 31.01.26 is a date of 2026.
    """
    text = " ".join(text.split())
    match = next((match for shape in SHAPES if (match := shape.fullmatch(text))), None)
    if not match or (len(match["y"]) == 2 and not short_years):
        return ""
    part = {"d": None, "m": None, "half": None, "zone": None} | match.groupdict()
    if "a" in part:
        first = order if part["sign"] != "." else "day first"
        if first is None and part["a"].zfill(2) != part["b"].zfill(2):
            return ""
        part["d"], part["m"] = (part["b"], part["a"]) if first == "month first" else (part["a"], part["b"])
    month = int(part["m"]) if part["m"] else MONTHS.get(part["name"][:3].lower(), 0)
    hour, year = int(part["h"] or 0), int(part["y"])
    if part["half"]:
        if not 1 <= hour <= 12:
            return ""
        hour = hour % 12 + 12 * (part["half"][0] in "pP")
    year += 2000 * (year < 70) + 1900 * (70 <= year < 100)
    zone = ZONES.get((part["zone"] or "").lower(), part["zone"] or "")
    second = (part["s"] or "00").replace(",", ".")
    return f"{year:04d}-{month:02d}-{int(part['d']):02d}T{hour:02d}:{part['min'] or '00'}:{second}{zone}"


# --------------------------------------------------------------------------------------------------- a column


def read_times(text, zone="UTC", *, order="auto", short_years=False, clock=None):
    """Read the moments that the Series `text` (n,) holds as text, numbers or None: datetime64[us, UTC] (n,),
    NaT where there is none or it cannot be read.

    It reads ISO 8601; seconds, milliseconds, microseconds and nanoseconds since 1970; digits such as
    20260131100000; dates such as 2026/01/31, 31.01.2026, 30 Jan 2026 and those of RFC 2822. zone : that of
    moments that name none. order : "day first" or "month first", for dates such as 01/02/2026; "auto" takes
    it from the other dates of the Series. With None, or where these leave it open or contradict each other,
    only those are read that are the same day in both orders. short_years : as in `as_iso`. clock : function
    of local times (Series) and `zone` that gives them in UTC; `in_utc` where it is None.
    """
    iso = read_iso(text) if zone == "UTC" else None
    if iso is not None:
        return iso
    text = pd.Series(text, dtype=object).astype("str").str.strip()  # None stays missing
    number = pd.to_numeric(text, errors="coerce").astype(float)
    numeric = np.isfinite(number)
    compact, counted = split_numbers(number[numeric])
    text = text.mask(numeric)
    at = iso_times(text)
    if not (left := text[at.isna()].dropna()).empty:
        others = other_forms(left, order, short_years)
        text = text.mask(text.index.isin(others.index), others.reindex(text.index))
        at = at.fillna(iso_times(text))
    at[compact.index] = compact
    if zone != "UTC":
        local = at.notna() & ~text.str.contains(ZONED, na=False)
        at[local] = (clock or in_utc)(at[local].dt.tz_localize(None), zone)
    at[counted.index] = counted
    return at.where(at >= FIRST)


def read_iso(text):
    """`read_times` by Arrow, in a twentieth of the time, of a Series of text that is all ISO 8601 without a
    zone, all ISO 8601 with one, or all RFC 2822 in UTC; None for any other.
    """
    column = pa.array(text, from_pandas=True) if isinstance(text.dtype, pd.StringDtype) else None
    if column is None or len(column) == column.null_count:
        return None
    try:
        at = pc.cast(column, pa.timestamp("us"))
    except pa.ArrowInvalid:
        try:
            zoned = rfc_as_iso(column)
            if zoned is None:
                zoned = pc.replace_substring_regex(column, NAMED_UTC, "Z")
            at = pc.cast(zoned, pa.timestamp("us", "UTC"))
        except pa.ArrowInvalid:
            return None
    at = pd.Series(at.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False), text.index)
    at = at.dt.tz_localize("UTC")
    return at.where(at >= FIRST)


def rfc_as_iso(column):
    """Rewrite an Arrow array of text such as "Sat, 31 Jan 2026 10:00:00 UTC", the form of Rucio's hermes, as
    ISO 8601; None where any of it is something else.
    """
    parts = pc.extract_regex(column.cast(pa.string()), RFC)
    year, name, day, clock = (pc.struct_field(parts, one) for one in ("year", "month", "day", "clock"))
    month = pc.index_in(name, value_set=pa.array(RFC_MONTHS))
    if month.null_count > column.null_count:
        return None
    numbers = pa.array([f"{number:02d}" for number in range(1, 13)])
    days = pc.binary_join_element_wise(year, numbers.take(month), pc.utf8_lpad(day, 2, "0"), "-")
    return pc.binary_join_element_wise(days, "T", clock, "Z", "")


def iso_times(text):
    """Read the Series `text` of ISO 8601, in UTC where it names no zone: datetime64[us, UTC]; NaT for other
    forms, and for a month or a year alone.
    """
    full = text.where(text.str.len() >= 8)
    at = pd.to_datetime(full, utc=True, format="ISO8601", errors="coerce")
    return at.astype("datetime64[us, UTC]")


def other_forms(text, order, short_years):
    """Rewrite the Series `text` of dates in other forms as ISO 8601; "" for what is no date.

    order, short_years : as in `read_times`. What is not ISO 8601 even with "Z" for "UTC" is read text by
    text, each different one once.
    """
    text = text.str.replace(r"(?<=\d)\s*(?:UTC|GMT)$", "Z", case=False, regex=True)
    rest = text[~text.str.fullmatch(ISO)]
    unique = rest.unique()
    first = day_order(unique) if order == "auto" else order
    first = None if first == "both" else first
    iso = rest.map({one: as_iso(one, first, short_years=short_years) for one in unique})
    return text.where(~text.index.isin(rest.index), iso.reindex(text.index)).str.replace(",", ".")


def number_times(number):
    """Read numbers (float Series) that are digits of a date or counts since 1970: datetime64[us, UTC], NaT
    for what is neither.
    """
    compact, counted = split_numbers(number)
    return counted if compact.empty else pd.concat([compact, counted]).reindex(number.index)


def split_numbers(number):
    """Read numbers (float Series): (times of those that are digits of a date, times of the others as counts
    since 1970).
    """
    compact = digits_of(number)
    return compact, count_times(number if compact.empty else number.drop(compact.index))


def digits_of(number):
    """Read those of the numbers (float Series) that are digits of a date or a time in UTC, such as 20260131:
    a Series of these alone.
    """
    dates = [pd.Series(dtype="datetime64[us, UTC]")]
    for digits, form in COMPACT.items():
        low, high = 1.9 * 10 ** (digits - 1), 2.1 * 10 ** (digits - 1)
        some = number[((number >= low) & (number < high)).to_numpy()]
        if some.empty:
            continue
        some = some[some % 1 == 0].astype("int64").astype(str)
        dates.append(pd.to_datetime(some, format=form, utc=True, errors="coerce").astype(dates[0].dtype))
    return pd.concat(dates)


def count_times(number):
    """Read counts since 1970 (float Series), whose size tells their unit: datetime64[us, UTC], NaT for other
    numbers.
    """
    at = pd.to_datetime(microseconds(number), unit="us", utc=True, errors="coerce")
    return at.astype("datetime64[us, UTC]")


def microseconds(number):
    """Convert counts since 1970, floats (n,) of s, ms, us or ns as their size tells, into us; NaN for other
    numbers.
    """
    bounds = [(number >= low) & (number < high) for low, high, _ in UNITS]
    return np.round(number * np.select(bounds, [unit for _, _, unit in UNITS], np.nan))


def in_utc(local, zone, *, first=True, gap="shift_forward"):
    """Convert the Series `local` (datetime64 without zone) of times in a zone: datetime64[us, UTC].

    first : whether a time in the hour that occurs twice in autumn is the first of the two; "NaT" takes
    neither. gap : what becomes of a time in the hour that spring leaves out: "shift_forward" takes the end of
    the gap, "NaT" none.
    """
    which = first if first == "NaT" else np.full(len(local), first)
    at = local.dt.tz_localize(zone, ambiguous=which, nonexistent=gap)
    return at.dt.tz_convert("UTC").astype("datetime64[us, UTC]")


def is_missing(text):
    """Which values of the Series `text` say that there is no moment: bool (n,)."""
    text = pd.Series(text, dtype=object)
    return text.isna() | text.astype("string").str.fullmatch(MISSING, na=False).astype(bool)


def is_unreadable(text, at):
    """Which values of the Series `text` say something that `read_times`, whose result `at` is, could not
    read: bool (n,).
    """
    text = pd.Series(text)
    wrong = pd.Series(at.isna()) & text.notna()
    if wrong.any():
        codes, different = pd.factorize(text[wrong].astype(object))  # there are few different ones in a table
        wrong[wrong] = ~is_missing(different).to_numpy()[codes]
    return wrong


def has_zone(text):
    """Which times of the Series `text` name their zone or are a count since 1970: bool (n,)."""
    zone = r"\d[T ]\d\d.*(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)\s*$"
    named = text.str.contains(zone, case=False, regex=True, na=False)
    return named | text.str.fullmatch(r"\s*(?:\d{9,11}(?:\.\d+)?|\d{13}|\d{15,19})\s*", na=False)


def week_of(at):
    """The Monday, 00:00 UTC, of the week of each moment of the Series `at` (datetime64, UTC); missing
    stays missing.
    """
    return (at.dt.floor("D") - pd.to_timedelta(at.dt.day_of_week, unit="D")).astype("datetime64[us, UTC]")
