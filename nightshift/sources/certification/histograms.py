"""Tables of histograms or features per lumisection: what their columns are called, and what their
cells hold.

A page is (number of its first row, Arrow table). All functions that read a column take an Arrow column and
return NumPy arrays or pandas Series.
"""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.certification.luminosity import picobarns
from nightshift.sources.files import names_in_words
from nightshift.sources.tables import holds_lists
from nightshift.sources.times import read_times

# The role, then its own name and those that CMS uses, in small letters; the parameter `columns` gives others.
ROLES = {
    "run": "run fromrun run_number runnumber",
    "lumisection": "lumisection fromlumi lumisection_number ls_number ls lumi",
    "dataset": "dataset primary_dataset pd datasetname dataset_name dataset_id",
    "element": "element hname me histogram",
    "folder": "folder dirname pathname me_path",
    "version": "version processing reprocessing processing_version",
    "last_run": "torun last_run",
    "last_lumisection": "tolumi last_lumisection",
    "contents": "contents histo data",
    "bins": "bins xbins x_bin x_bins",
    "entries": "entries",
    "x_min": "x_min xmin",
    "x_max": "x_max xmax",
    "fill": "fill fill_number",
    "time": "time start_time",
    "delivered_lumi": "delivered_lumi delivered",
    "recorded_lumi": "recorded_lumi recorded",
    "pileup": "pileup pile_up avgpu",
    "taken": "taken",
    "dcs": "dcs dcs_good",
    "golden": "golden",
}
WITH_UNITS = {"delivered_lumi", "recorded_lumi"}
UNIT = re.compile(r"\s*[(\[](?P<unit>[^)\]]*)[)\]]\s*$")  # such as that of "delivered(/ub)"


def without_unit(column):
    """(name, unit) in the name of a column: ("delivered", "/ub") for "delivered(/ub)"; the unit is "" where
    there is none.
    """
    found = UNIT.search(column)
    return (column[: found.start()], found["unit"].strip()) if found else (column, "")


def layout_of(names, columns):
    """{role: name of the column} for the columns `names` of one table whose role is known.

    columns : {role: name}, the parameter. It counts in tables that have such a column; in all others the
    known names of that role do. ValueError when two columns have the same name.
    """
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(f"two of its columns are called {repeated[0]!r}")
    layout = {role: column for role, column in columns.items() if column in names}
    free = [name for name in names if name not in layout.values()]
    plain_names = {name.lower(): name for name in reversed(free)}
    with_units = {without_unit(name)[0].lower(): name for name in reversed(free)}
    for role, aliases in ROLES.items():
        folded = with_units | plain_names if role in WITH_UNITS else plain_names
        present = [folded[alias] for alias in aliases.split() if alias in folded]
        if role not in layout and present:
            layout[role] = present[0]
    return layout


def require(layout, names, wanted):
    """Raise a ValueError of one line when the `layout` of the columns `names` lacks a role of `wanted`."""
    if missing := [role for role in wanted if role not in layout]:
        raise ValueError(
            f"it has no column for {', '.join(missing)}, but {names_in_words(names)}: "
            "name its columns by `columns`"
        )


# ------------------------------------------------------------------------------------------------------ cells


def as_numbers(column):
    """Numbers, float64 (n,), of an Arrow column of any type; NaN where a cell holds none."""
    try:
        texts = pc.utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column
        return texts.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pd.to_numeric(column.cast(pa.string()).to_pandas().astype(object), errors="coerce").to_numpy(
            float
        )


def as_whole(column):
    """Positive whole numbers, int64 (n,), of an Arrow column; 0 where there is none. `400123.0` is the run
    400123.
    """
    numbers = as_numbers(column)
    return np.where((numbers >= 1) & (numbers < 2**31) & (numbers == np.floor(numbers)), numbers, 0).astype(
        "int64"
    )


def as_times(column):
    """UTC times (Series, microseconds) of an Arrow column, in any form that `read_times` knows; NaT for other
    cells.
    """
    values = column.to_pandas()
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).astype("datetime64[us, UTC]")
    return read_times(values)


def as_flags(column):
    """Flags (nullable boolean Series) of an Arrow column: true and false in any case, or 1 and 0; anything
    else is missing.
    """
    texts = column.cast(pa.string()).to_pandas().str.strip().str.lower()
    return texts.map({"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}).astype(
        "boolean"
    )


def as_fills(column):
    """Positive whole numbers (nullable Series) of an Arrow column, missing where there is none."""
    return pd.Series(as_whole(column), dtype="Int64").replace(0, pd.NA)


def as_names(column):
    """Texts (Series of objects) of an Arrow column, None where a cell is empty."""
    text = column.cast(pa.string()).to_pandas().astype(object)
    return text.where(text.notna() & (text != ""), None)


def is_filled(column):
    """Whether each cell of an Arrow column holds something, bool (n,); nan, none and null in any case are
    nothing.
    """
    texts = column.cast(pa.string()).to_pandas().astype("string").str.strip().str.lower()
    return (texts.notna() & ~texts.isin(["", "nan", "none", "null"])).to_numpy()


KINDS = {
    "fill": as_fills,
    "time": as_times,
    "delivered_lumi": as_numbers,
    "recorded_lumi": as_numbers,
    "pileup": as_numbers,
    "dcs": as_flags,
    "golden": as_flags,
}  # what a row may say of its lumisection
NEEDED = {
    as_fills: "a positive whole number",
    as_numbers: "a number with a decimal point",
    as_flags: "true or false, or 1 or 0",
    as_times: "a time such as 2026-01-20T00:00:23Z",
}


class Cells:
    """Reads cells, and counts for each column of each file how many could and how many could not be read."""

    def __init__(self):
        self.read, self.unreadable, self.example, self.need = Counter(), Counter(), {}, {}

    def column(self, page, name, read, where):
        """Read the column `name` of a page of the file `where` by the function `read`; count its cells."""
        values = read(page[name])
        missing = np.asarray(pd.isna(values))
        wrong = missing & is_filled(page[name]) if missing.any() else missing
        key = (where, name)
        self.read[key] += int((~missing).sum())
        self.unreadable[key] += int(wrong.sum())
        if wrong.any():
            self.example.setdefault(key, str(page[name][int(wrong.argmax())].as_py()))
        self.need[key] = NEEDED.get(read, "")
        return values

    def about(self, page, layout, where):
        """{role of KINDS: values (n,)} of what the rows of a page say about their lumisections; luminosities
        in inverse picobarns.
        """
        found = {
            role: self.column(page, layout[role], read, where)
            for role, read in KINDS.items()
            if role in layout
        }
        for role in WITH_UNITS & set(found):
            found[role] = found[role] * picobarns(without_unit(layout[role])[1])
        return found

    def check(self, where, layout):
        """Raise a ValueError of one line when a column that says something about lumisections has cells and
        none of them could be read, in all of the file `where`.
        """
        for role in KINDS:
            key = (where, layout.get(role))
            if self.unreadable[key] and not self.read[key]:
                raise ValueError(
                    f"its column {key[1]!r} holds {self.example[key][:60]!r}, and in none of its rows "
                    f"{self.need[key]}, as {role} needs it"
                )


def as_contents(column):
    """Bin contents of an Arrow column of n lists, or of texts that hold lists.

    Returns all contents one after another, float64 (m,), the length of each list (n,), and whether each is a
    list of numbers, bool (n,). All lists are taken apart at once: seven million bins take about half a second
    and never become numbers of Python, which need four times the memory. ValueError of one line for lists of
    lists.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if holds_lists(column):
        if pa.types.is_nested(column.type.value_type):
            raise ValueError(
                "its histograms are of two dimensions: needed are those of one, such as h1d of DIALS"
            )
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(int)
        return as_numbers(pc.list_flatten(column)), lengths, lengths > 0
    texts = pc.fill_null(column.cast(pa.string()), "")
    is_list = pc.match_substring_regex(texts, r"^\s*\[[^\[\]]*\]\s*$")
    lists = pc.split_pattern(pc.utf8_trim(pc.if_else(is_list, texts, ""), characters="[] \t\r\n"), ",")
    lengths, flat = (
        pc.list_value_length(lists).to_numpy().astype(int),
        pc.utf8_trim_whitespace(pc.list_flatten(lists)),
    )
    numbers = as_numbers(pc.if_else(pc.equal(pc.utf8_lower(flat), "null"), "nan", flat))
    strange = np.isnan(numbers) & ~pc.is_in(pc.utf8_lower(flat), pa.array(["nan", "null"])).to_numpy(
        zero_copy_only=False
    )
    is_read = np.add.reduceat(strange, np.cumsum(lengths) - lengths) == 0
    return numbers, lengths, is_list.to_numpy(zero_copy_only=False) & is_read


def without_overflow(flat, lengths, bins):
    """(contents, lengths) without the first and last bin of lists that are longer by two than `bins` (n,)
    says: these hold the counts beyond the axis. flat, lengths : as `as_contents` gives them.
    """
    longer = (bins > 0) & (lengths == bins + 2)
    ends = np.cumsum(lengths)
    inside = np.ones(len(flat), bool)
    inside[(ends - lengths)[longer]] = inside[ends[longer] - 1] = False
    return flat[inside], lengths - 2 * longer


def contents_of(page, layout):
    """(contents of all histograms of a page one after another, their lengths, whether each is a list of
    numbers, how many bins the page says that each has), without underflow and overflow.
    """
    flat, lengths, numbers = as_contents(page[layout["contents"]])
    bins = as_numbers(page[layout["bins"]]) if "bins" in layout else lengths
    return *without_overflow(flat, lengths, bins), numbers, bins


# ------------------------------------------------------------------------------------------------------- rows

WHOLE_NAME = r"^/([^/]+)/([^/]+)/[A-Z][A-Z0-9-]*$"  # of a dataset of CMS: primary dataset, processing, tier


def primary_of(dataset):
    """Return the primary dataset of each name (Series of text), such as ZeroBias of
    /ZeroBias/Run2026A-PromptReco-v1/DQMIO; other names stay as they are.
    """
    return dataset.str.replace(WHOLE_NAME, r"\1", regex=True)


def processing_of(page, layout):
    """Return how the rows of a page were processed, their version (Series of text): from its column, else
    from the full name of the dataset, else "".
    """
    if "version" in layout:
        return as_names(page[layout["version"]]).fillna("")
    if "dataset" not in layout:
        return pd.Series("", range(len(page)))
    return as_names(page[layout["dataset"]]).str.extract(WHOLE_NAME)[1].fillna("")


def keys_of(page, layout, dataset):
    """DataFrame run, lumisection, dataset, element of the rows of a page; 0 or None where there is none.

    dataset : that of tables that name none. A path in a column of its own is put before the name of the
    element; the element of a wide table is "".
    """
    names = {"dataset": dataset, "element": ""}
    if "dataset" in layout:
        names["dataset"] = primary_of(as_names(page[layout["dataset"]]))
    if "element" in layout:
        names["element"] = as_names(page[layout["element"]])
    if {"folder", "element"} <= set(layout):
        folder, element = as_names(page[layout["folder"]]).fillna("").str.strip("/"), names["element"]
        lacks = [
            bool(path) and name is not None and not name.startswith(f"{path}/")
            for path, name in zip(folder, element, strict=True)
        ]
        names["element"] = element.mask(lacks, folder + "/" + element.fillna(""))
    return pd.DataFrame(
        {"run": as_whole(page[layout["run"]]), "lumisection": as_whole(page[layout["lumisection"]]), **names}
    )


def goes_on(page, layout, keys):
    """Whether each row of a page ends in another run or lumisection than it begins: bool (n,)."""
    ends = {
        name: as_whole(page[layout[f"last_{name}"]])
        for name in ("run", "lumisection")
        if f"last_{name}" in layout
    }
    return np.any(
        [np.zeros(len(keys), bool), *((end > 0) & (end != keys[name]) for name, end in ends.items())], axis=0
    )


def is_number(column):
    """Whether an Arrow column holds numbers, or texts at least half of which are numbers."""
    if pa.types.is_string(column.type):
        return bool(np.isfinite(as_numbers(column)).sum() * 2 >= max(1, len(column) - column.null_count))
    return (
        pa.types.is_integer(column.type)
        or pa.types.is_floating(column.type)
        or pa.types.is_decimal(column.type)
    )
