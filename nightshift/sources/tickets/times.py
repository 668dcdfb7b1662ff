"""Times as help desks write them: forms, day and month, the zone of a server.

as_iso, day_order            one time as ISO 8601; which of day and month comes first
read_times, time_reader      a column in UTC; all columns of one file
is_time_column, shown_value  whether a column holds times; an example that shows no word of a person
"""

import re
from functools import partial

import numpy as np
import pandas as pd

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
CLOCK = (
    r"(?:(?:,|T)?\s*(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}(?:[.,]\d+)?))?\s*(?P<half>[ap]\.?m\.?)?)?"
    r"\s*(?:uhr)?"
)
ZONE = r"\s*(?P<zone>z|utc|gmt|cest|cet|mesz|mez|[+-]\d{2}:?\d{2})?"
WEEKDAY = r"(?:[^\W\d_]{2,10}\.?,?\s+)?"
FORMS = [
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
        r"(?P<h>\d{1,2}):(?P<min>\d{2}):(?P<s>\d{2})\s+(?P<y>\d{4})"
    ),
]
EPOCH = {9: 1, 10: 1, 13: 1e3, 16: 1e6}  # digits: units in a second; 9 and 10 digits are 1973 to 2286
ZONES = {
    "z": "Z",
    "utc": "Z",
    "gmt": "Z",
    "cet": "+01:00",
    "mez": "+01:00",
    "cest": "+02:00",
    "mesz": "+02:00",
}
ORDERS = ("auto", "day first", "month first")
NOTHING = {"", "0", "-", "n/a", "null", "none", "never", "not set", "nan", "nat"}


def day_order(texts):
    """Return what comes first in dates such as 31/01/2026: "day first" or "month first".

    None where no value tells, "both" where values disagree. texts : iterable of str. Dates with dots are
    written with the day first everywhere, and tell nothing of those with slashes.
    """
    dates = [found for text in texts if (found := FORMS[2].fullmatch(text.strip())) and found["sign"] != "."]
    day, month = (any(int(found[part]) > 12 for found in dates) for part in "ab")
    return "both" if day and month else "day first" if day else "month first" if month else None


def as_iso(text, order=None):
    """Return one time as ISO 8601, or "" where it is none; the zone stays away where the text names none.

    order : "day first" or "month first", for dates such as 01/02/2026; None reads no such date, unless both
    orders give the same day.
    """
    text = " ".join(text.split())
    if re.fullmatch(r"\d+(?:\.\d+)?", text) and (digits := len(text.partition(".")[0])) in EPOCH:
        return pd.Timestamp(round(float(text) * 1e6 / EPOCH[digits]), unit="us", tz="UTC").isoformat()
    if re.fullmatch(r"(?:19|20)\d{12}", text):
        return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}"
    found = next((match for form in FORMS if (match := form.fullmatch(text))), None)
    if not found:
        return ""
    part = {"d": None, "m": None, "half": None, "zone": None} | found.groupdict()
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


def read_times(texts, timezone, counts, order=None):
    """Read UTC times (Series, microseconds) from a Series of text in any form that `as_iso` knows.

    What cannot be read is missing.

    A time that names no zone is of `timezone`; in the hour that autumn shows twice it is the first, in the
    one that spring leaves out the end of the gap. counts : a Counter, which gets "doubled", "skipped" and
    "unreadable". `0000-00-00`, `0`, `-` and the like say that nothing happened.
    """
    texts = texts.astype("string").str.strip()
    written = texts.notna() & ~texts.str.lower().isin(NOTHING) & ~texts.str.startswith("0000-00-00", na=False)
    zoned = texts.str.contains(r"\d\d:\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$", na=False)
    iso = texts.str.fullmatch(
        r"\d{4}-\d\d-\d\d(?:[T ]\d\d(?::?\d\d){0,2}(?:[.,]\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?|(?:19|20)\d{6}",
        na=False,
    )
    if (odd := written & ~iso).any():
        texts = texts.mask(odd, texts[odd].map({text: as_iso(text, order) for text in texts[odd].unique()}))
        zoned = zoned.mask(
            odd, texts.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", na=False) & texts.str.contains("T", na=False)
        )
    utc = pd.to_datetime(texts.where(written & zoned), utc=True, format="ISO8601", errors="coerce").astype(
        "datetime64[us, UTC]"
    )
    local = pd.to_datetime(texts.where(written & ~zoned), format="ISO8601", errors="coerce").astype(
        "datetime64[us]"
    )
    localize, first_of_two = partial(local.dt.tz_localize, timezone), np.ones(len(local), bool)
    counts["doubled"] += int(
        localize(ambiguous="NaT", nonexistent="shift_forward").isna().sum() - local.isna().sum()
    )
    counts["skipped"] += int(
        localize(ambiguous=first_of_two, nonexistent="NaT").isna().sum() - local.isna().sum()
    )
    counts["unreadable"] += int((written & utc.isna() & local.isna()).sum())
    on_server = localize(ambiguous=first_of_two, nonexistent="shift_forward").dt.tz_convert("UTC")
    return utc.fillna(on_server.astype(utc.dtype))


def shown_value(text):
    """Return `text` for a message: a date as it is, of anything else the form alone.

    That is letters as x and digits as 9, since it may be a person's words.
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
    """Say whether all of the `values` (iterable of str, some of them enough) are times.

    Mere numbers count where the `name` of the column speaks of a time, too.
    """
    some = [
        value.strip()
        for value in values
        if value.strip().lower() not in NOTHING and not value.startswith("0000-00-00")
    ]
    if not some or not all(as_iso(value, "day first") or as_iso(value, "month first") for value in some):
        return False
    speaks = re.search(
        r"creat|open|clos|resol|solv|updat|time|date|answer|respon|"
        r"erstell|geöffnet|gelöst|geschl|datum|zeit|_at$",
        name,
        re.I,
    )
    return bool(speaks) or not all(re.fullmatch(r"[\d.]+", value) for value in some)


def time_reader(rows, names, timezone, counts, order="auto"):
    """Return {our name: function of a text column that gives UTC times} for the time columns of one file.

    rows : DataFrame of text with some of our time columns; names : {our name: the file's name}. ValueError of
    one line, with column and example: dates of which nobody can tell day and month, or a column in which no
    time at all can be read.
    """
    values = {ours: rows[ours].dropna().astype(str).str.strip() for ours in names if ours in rows}
    if order == "auto":
        order = day_order([value for column in values.values() for value in column.unique()])
        every = [
            (ours, text, FORMS[2].fullmatch(text))
            for ours, column in values.items()
            for text in column.unique()
        ]
        slashed = [(ours, text) for ours, text, found in every if found and found["sign"] != "."]
        unsure = [(ours, text) for ours, text in slashed if order == "both" or not as_iso(text, order)]
        if unsure and order in ("both", None):
            ours, example = unsure[0]
            raise ValueError(
                f"column {names[ours]!r} holds dates such as {shown_value(example)}, and the file does not "
                "tell whether the day or the month comes "
                "first: set dates to day first or month first"
            )

    def read(ours, text):
        before = counts["unreadable"]
        times = read_times(text, timezone, counts, order)
        bad = counts["unreadable"] - before
        if bad and not times.notna().any():
            unread = text[text.notna() & ~text.str.strip().str.lower().isin(NOTHING)].iloc[0]
            raise ValueError(
                f"column {names[ours]!r} holds no time that can be read, such as {shown_value(unread)}: it "
                "needs 2026-01-31 10:00, "
                "31.01.2026 10:00, 01/31/2026 10:00 AM, or seconds or milliseconds since 1970"
            )
        return times

    return {ours: partial(read, ours) for ours in values}
