"""Columns of text, as a page of an accounting holds them, converted all at once: Arrow arrays of strings to
NumPy arrays of numbers, NaN where a text is none, and back.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# [D-]HH:MM:SS[.mmm], MM:SS[.mmm]
DURATION = r"^(?:(?:(?P<d>\d+)-)?(?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+(?:\.\d+)?)$"
NUMBER = r"^\s*-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\s*$"
SIZE = r"^(?P<n>\d+(?:\.\d+)?)(?P<unit>[KMGTPE]?)[Bb]?$"
GIB = {unit: 2.0 ** (10 * power - 30) for power, unit in enumerate(["", *"KMGTPE"])}


def floats(array):
    """Convert an Arrow array of numbers, nulls among them, to float64 with NaN."""
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False)


def numbers(texts):
    """Read the decimal numbers of an array of text: float64 (n,), NaN where there is none."""
    is_number = pc.match_substring_regex(texts, NUMBER)
    return floats(pc.utf8_trim_whitespace(pc.if_else(is_number, texts, None)))


def seconds(texts):
    """Read an array of text with seconds, or durations such as 1-02:03:04.5 and 03:04: seconds, float64 (n,),
    NaN where there is neither.
    """
    plain = numbers(texts)
    if not np.isnan(plain).any():
        return plain
    parts = pc.extract_regex(texts, DURATION)
    days, hours, minutes, rest = (numbers(pc.struct_field(parts, name)) for name in "dhms")
    whole = 60 * (60 * (24 * np.nan_to_num(days) + np.nan_to_num(hours)) + minutes) + rest
    return np.where(np.isnan(plain), whole, plain)


def gibibytes(texts):
    """Read an array of text with sizes such as 1234K, 1.50G and 4096 (bytes): GiB, float64 (n,), NaN where
    there is none.
    """
    parts = pc.extract_regex(texts, SIZE)
    unit = pc.struct_field(parts, "unit")
    factor = np.full(len(texts), np.nan)
    for name, gib in GIB.items():
        factor[pc.fill_null(pc.equal(unit, name), False).to_numpy(zero_copy_only=False)] = gib
    return numbers(pc.struct_field(parts, "n")) * factor


def as_texts(values):
    """Write numbers, float64 (n,), as an array of text, whole ones without a point; null for NaN."""
    return pa.array(values, from_pandas=True).cast(pa.string())


def texts_or(values, texts):
    """Write numbers as text; NaN becomes what is in `texts`, or null where that is empty."""
    return pc.coalesce(as_texts(values), or_null(texts))


def or_null(texts):
    """Replace empty texts by nulls."""
    return pc.if_else(pc.equal(texts, ""), None, texts)


def utc_texts(moments):
    """Write whole seconds since 1970, float64 (n,), as text such as 2026-01-31T10:00:00Z, null for NaN."""
    stamps = pa.array(moments, from_pandas=True).cast(pa.int64()).cast(pa.timestamp("s")).cast(pa.string())
    return pc.binary_join_element_wise(pc.replace_substring(stamps, " ", "T"), "", "Z")


def joined(texts, mark="/"):
    """Join arrays of text, element by element, with `mark` between; what is empty or null is left out, except
    in the first array.
    """
    first, *others = (pc.fill_null(one, "") for one in texts)
    marked = (pc.if_else(pc.equal(one, ""), "", pc.binary_join_element_wise(mark, one, "")) for one in others)
    return pc.binary_join_element_wise(first, *marked, "")


def json_texts(columns):
    """Write `columns`, {name as JSON escapes it: array of text}, not empty, as one JSON object per element;
    control characters become blanks, and missing texts null.
    """
    parts = []
    for number, (name, texts) in enumerate(columns.items()):
        quoted = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '\\"')
        quoted = pc.replace_substring_regex(quoted, r"[\x00-\x1f]", " ")
        value = pc.if_else(
            pc.is_null(texts),
            "null",
            pc.binary_join_element_wise('"', pc.fill_null(quoted, ""), '"', ""),
        )
        parts += [f'{", " if number else "{"}"{name}": ', value]
    return pc.binary_join_element_wise(*parts, "}", "")
