"""Tables of node metrics in any file: what their columns are, and what their cells say as times, names and
numbers.
"""

import re
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

ROLES = ["timestamp", "node_id", "job_id", "app", "input", "anomaly", "part"]
# interfaces or disks of a node are metrics of their own; processes are not, they are added up
MANY_INSTANCES = 64
# share of rows that contradict another one of their moment, above which a table is not understood
TOO_MANY_CONFLICTS = 0.25
# What stands for "no value": DCGM's blanks (32 bits, 64 bits as a float), the largest numbers of 31 and 32
# bits, the smallest of 32.
SENTINELS = np.array(
    [2.0**31 - 16 + i for i in range(4)]
    + [2.0**47 + i for i in range(4)]
    + [2.0**31 - 1, 2.0**32 - 1, -(2.0**31)]
)
LARGEST_COUNT = (
    2.0**63 - 2**12
)  # of 64 bits, the largest and DCGM's blanks lie above, and so does what stands for "without limit"
LARGEST_SIZE = 2.0**50  # memory of a node, in bytes or kB: 1 PB, or more
SIZE = re.compile(r"mem|swap|buffers|cached|slab|anonpages|active|dirty|writeback|mapped", re.I)
NO_JOB = ["0", "-1", "none", "None", "null", "N/A", str(2**32 - 1), str(2**64 - 1)]
# columns that do not say what they measure
UNNAMED = {"value", "values", "val", "reading", "metric_value", "data", "v", "measurement"}
INDEX_COLUMN = re.compile(
    r"(^|[._])(entry_idx|idx|index|device|dev|interface|iface|port|gpu|"
    r"pid|core|socket|rank|lane|slot|disk|ost|fan)$",
    re.I,
)
ONE_NUMBER = r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*"
ARRAY = re.compile(
    r"""^\s*["'\[{(]?\s*[-+0-9.eE]+\s*(?:([:;|/_, ])\s*[-+0-9.eE]+\s*)(?:\1\s*[-+0-9.eE]+\s*)*["'\]})]?\s*$"""
)


# ------------------------------------------------------------------------------------------------------ Cells


def times_of(column):
    """Read the UTC times (Series, microseconds) of an Arrow column; what cannot be read is NaT.

    A time is a date and time in ISO 8601 (UTC where it names no zone), a number since 1970 in seconds,
    milli-, micro- or nanoseconds, which its size tells, or the digits of a date, 20260131, with those of
    hour, minute and second or without.
    """
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    values = column.to_pandas()
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).astype("datetime64[us, UTC]")
    number = pd.to_numeric(values, errors="coerce").astype(float)
    micro = number * np.select([number < 1e11, number < 1e14, number < 1e17], [1e6, 1e3, 1], 1e-3)
    times = pd.to_datetime(micro.where(micro.between(0, 4e15)).round(), unit="us", utc=True).astype(
        "datetime64[us, UTC]"
    )
    for low, high, form in (
        (19e6, 21e6, "%Y%m%d"),
        (19e10, 21e10, "%Y%m%d%H%M"),
        (19e12, 21e12, "%Y%m%d%H%M%S"),
    ):
        digits = number.between(low, high)
        if digits.any():
            dates = pd.to_datetime(
                number[digits].astype("int64").astype(str), format=form, utc=True, errors="coerce"
            )
            times = times.mask(digits, dates.astype(times.dtype))
    if not number.isna().any():
        return times
    texts = values.where(number.isna()).astype("string").str.strip()
    texts = texts.str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True).str.replace(
        r"(:\d\d),(\d)", r"\1.\2", regex=True
    )
    return times.fillna(
        pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce").astype(times.dtype)
    )


def names_of(column):
    """Read the names (Series of objects) in an Arrow column: text without the blanks around it, None where
    there is none; 12.0 is 12.
    """
    if pa.types.is_floating(column.type):
        whole = pc.cast(column, pa.int64(), safe=False)
        column = pc.if_else(
            pc.equal(whole.cast(pa.float64()), column), whole.cast(pa.string()), column.cast(pa.string())
        )
    text = pc.utf8_trim_whitespace(column.cast(pa.string())).to_pandas().astype(object)
    return text.where(text.notna() & (text != ""), None)


def numbers_of(column, name=""):
    """Read the numbers of an Arrow column of any type: (float64 array, number of unreadable cells, number of
    cells that stand for no value).

    Both kinds of cell become null; empty cells and NaN are null and not counted. What stands for no value:
    SENTINELS, what no counter of 63 bits can be, -1 in a metric that is never negative otherwise, and more
    memory than a node can have (by the metric's `name`).
    """
    try:
        numbers = column.cast(pa.float64())
        gaps = pc.sum(pc.is_nan(numbers)).as_py() or 0
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        numbers, gaps = (
            pa.chunked_array(
                [pd.to_numeric(pd.Series(column.to_pylist(), dtype=object), errors="coerce").astype(float)]
            ),
            0,
        )
    finite = pc.fill_null(pc.is_finite(numbers), False)
    unreadable = len(column) - column.null_count - gaps - (pc.sum(finite).as_py() or 0) if len(column) else 0
    values = pc.if_else(finite, numbers, pa.scalar(None, pa.float64()))
    blank = is_blank(np.asarray(values.to_numpy() if len(values) else [], float), name)
    if not blank.any():
        return values, unreadable, 0
    return pc.if_else(pa.array(blank), pa.scalar(None, pa.float64()), values), unreadable, int(blank.sum())


def is_blank(values, name=""):
    """Which of the `values` (float (n,), NaN where there is none) stand for no value: bool (n,)."""
    large = np.abs(values) >= min(SENTINELS[0], 2.0**31 - 16)
    blank = np.zeros(len(values), bool)
    if large.any():
        blank = (
            np.isin(values, SENTINELS)
            | (np.abs(values) >= LARGEST_COUNT)
            | ((values >= LARGEST_SIZE) & bool(SIZE.search(name)))
        )
    negative = values < 0
    if negative.any() and (values[negative] == -1).all() and np.nanmax(values) >= 10:
        blank |= negative
    return blank


# ------------------------------------------------------------------------------------------ What a page holds


def split_arrays(pages, whole=()):
    """Give (pages, names of their columns) with cells such as 1:2:3 as columns NAME.0, NAME.1, NAME.2; the
    first page tells how many.

    pages : iterable of (number of the first row, Arrow table). whole : columns that hold no metric, such as
    times. An element that a later page has beyond these stays unreadable in the last column, so that it is
    counted.
    """
    pages = iter(pages)
    first = next(pages, None)
    if first is None:
        return iter(()), None
    widths = {
        name: width
        for name in first[1].column_names
        if name not in whole and (width := array_width(first[1][name])) > 1
    }
    for name in widths:
        refuse_decimal_commas(name, first[1][name])

    def split(page):
        for name, width in widths.items():
            at, cells = page.column_names.index(name), as_lists(page[name])
            page = page.remove_column(at)
            for i in range(width):
                part = [cell[i] if i < len(cell) else None for cell in cells]
                if i == width - 1:
                    part = [
                        ":".join(cell[i:]) if len(cell) > width else value
                        for cell, value in zip(cells, part, strict=True)
                    ]
                page = page.add_column(at + i, f"{name}.{i}", pa.array(part, pa.string()))
        return page

    def every():
        yield first[0], split(first[1])
        yield from ((number, split(page)) for number, page in pages)

    return every(), split(first[1].slice(0, 0)).column_names


def refuse_decimal_commas(name, column):
    """ValueError of one line when the cells of the column `name` may be numbers with a comma, 3,5, as well
    as arrays of two.
    """
    if pa.types.is_string(column.type):
        odd = [cell.strip() for cell in odd_cells(column)]
        if odd and all(re.fullmatch(r"[-+]?\d+,\d+", cell) for cell in odd):
            raise ValueError(
                f"its column {name} holds {odd[0][:40]!r}, a number with a decimal comma or an array of two: "
                "needed are numbers with a "
                "point, and arrays as 3:5 or [3,5]"
            )


def odd_cells(column):
    """The different cells of an Arrow column of text that are neither empty nor written as one number."""
    cells = pc.unique(column)
    # most are numbers, and none becomes an object of Python
    cells = cells.filter(pc.invert(pc.match_substring_regex(cells, f"^{ONE_NUMBER}$")))
    # whose digits and blanks are those of all scripts
    return [cell for cell in cells.to_pylist() if cell and not re.fullmatch(ONE_NUMBER, cell)]


def as_lists(column):
    """The elements of each cell as lists of text."""
    if (
        pa.types.is_list(column.type)
        or pa.types.is_large_list(column.type)
        or pa.types.is_fixed_size_list(column.type)
    ):
        return [["" if x is None else str(x) for x in cell or []] for cell in column.to_pylist()]
    return [
        [x for x in re.split(r"[:;|/_, ]+", cell.strip("\"'[]{}() \t")) if x] if cell else []
        for cell in column.cast(pa.string()).to_pylist()
    ]


def array_width(column):
    """Most elements in a cell of an Arrow column, where all cells are arrays of numbers or single numbers;
    else 1.
    """
    if (
        pa.types.is_list(column.type)
        or pa.types.is_large_list(column.type)
        or pa.types.is_fixed_size_list(column.type)
    ):
        return max(map(len, as_lists(column)), default=1)
    if not pa.types.is_string(column.type):
        return 1
    odd = odd_cells(column)
    if not odd or not all(ARRAY.match(cell) for cell in odd):
        return 1
    # dates and times of the day are no arrays
    if all(re.fullmatch(r"\d{2,4}[-/]\d\d[-/]\d\d.*|\d\d:\d\d(:\d\d)?", cell) for cell in odd):
        return 1
    return max(map(len, as_lists(pa.chunked_array([pa.array(odd, pa.string())]))))


def text_columns(page, names):
    """Those of the columns `names` of an Arrow table that hold text: a cell, but no number at all."""
    found = []
    for name in names:
        if (
            pa.types.is_string(page[name].type)
            or pa.types.is_large_string(page[name].type)
            or pa.types.is_dictionary(page[name].type)
        ):
            if (
                pd.to_numeric(pd.Series(page[name][:100].to_pylist(), dtype=object), errors="coerce")
                .notna()
                .any()
            ):  # settles most columns
                continue
            cells = pd.Series(pc.unique(page[name]).drop_null().to_pylist(), dtype=object)
            if (
                len(cells)
                and pd.to_numeric(cells, errors="coerce").isna().all()
                and not set(map(str, cells)) <= {"ERR", "NA", "N/A", "null", "-"}
            ):
                found.append(name)
    return found


def tell_apart(keys, page, candidates):
    """Find the columns that tell apart the rows that share all `keys` and are no copies.

    keys : DataFrame, one row per row of the Arrow table `page`. candidates : names of columns, the best
    first. Returns (columns, share): [] and 0.0 where no two rows contradict each other; ([], share) of rows
    that do and that no column tells apart.
    """
    again = keys.duplicated(keep=False).to_numpy()
    if not again.any():
        return [], 0.0
    cells = page.filter(pa.array(again)).to_pandas().astype(str)
    rows = pd.concat(
        [keys[again].reset_index(drop=True).astype(str), cells], axis=1, keys=["key", "cell"]
    ).drop_duplicates()
    key = [name for name in rows if name[0] == "key"]
    conflicts = rows.duplicated(key, keep="first").sum()
    if not conflicts:
        return [], 0.0
    cell = [("cell", name) for name in candidates]
    for one in cell:
        if not rows.duplicated([*key, one]).any():
            return [one[1]], conflicts / len(page)
    if not cell or rows.duplicated([*key, *cell]).any():
        return [], conflicts / len(page)
    for one in reversed(cell):  # all together do: as few as suffice
        fewer = [other for other in cell if other != one]
        if not rows.duplicated([*key, *fewer]).any():
            cell = fewer
    return [name for _, name in cell], conflicts / len(page)


def instance_names(page, columns):
    """One name per row of an Arrow table from the columns that tell instances apart, such as hsn0 or
    mlx5_0/1.
    """
    names = [names_of(page[column]).fillna("none").astype(str) for column in columns]
    joined = names[0].str.cat(names[1:], sep="/") if len(names) > 1 else names[0]
    return joined.str.replace("::", ":").str.replace("|", "_").str.slice(0, 80)


# -------------------------------------------------------------------------------------------- What a table is


def partitions_of(path):
    """What the folders of `path` say: {name: value} of every folder NAME=VALUE."""
    pairs = (part.partition("=") for part in Path(path).parts[:-1])
    return {name: unquote(value) for name, equals, value in pairs if equals and name and value}


def add_partitions(names, pages, partitions):
    """(names, pages) with the `partitions` of the path as columns, where the file has none of that name."""
    new = {name: value for name, value in partitions.items() if name not in names}
    if not new:
        return names, pages

    def more():
        for first_row, page in pages:
            for name, value in new.items():
                page = page.append_column(name, pa.array([value] * len(page), pa.string()))
            yield first_row, page

    return [*names, *new], more()


def metric_in_path(path, partitions):
    """Name of the metric that the path of a file gives: its folder metric=NAME, else the file's name where
    that is one; "" where neither is.
    """
    for key in ("metric", "metric_name", "name", "sensor", "measurement"):
        if key in partitions:
            return partitions[key]
    stem = re.sub(
        r"(\.(csv|gz|txt|tsv|parquet|pq|h5|hdf5?)|[._-]?\d{4}-?\d\d(-?\d\d)?|[._-]\d{9,})+$",
        "",
        Path(path).name,
    )
    plain = re.fullmatch(
        r"(part|data|file|chunk|values?|table|export|dump|out|output|[a-z])?[-_.]?[0-9a-f-]*(?:_\d+)?",
        stem,
        re.I,
    )
    return "" if plain else stem


def check_names(names):
    """ValueError of one line where two columns have one name, or the first line of the file is JSON."""
    if names and (list(names) in (["{"], ["["]) or str(names[0]).lstrip().startswith(('{"', "[{", "{'"))):
        raise ValueError(
            "it is JSON, not a table: needed are columns of nodes, times and metrics in CSV, Parquet or HDF5 "
            "(a Prometheus is "
            "asked by its URL)"
        )
    if len(set(names)) < len(names):
        raise ValueError(
            f"two of its columns are called {next(name for name in names if names.count(name) > 1)!r}"
        )


def named_layout(names, columns):
    """{role: column} of a table whose columns are named by the parameter `columns`, or by their roles;
    ValueError of one line names what lacks.
    """
    layout = dict(columns) or {role: role for role in ROLES if role in names}
    if not {"timestamp", "node_id"} <= set(layout):
        lacking = " and ".join(role for role in ("node_id", "timestamp") if role not in layout)
        raise ValueError(
            f"it lacks the columns {lacking}, which the parameter columns can name; it is no LDMS store and "
            "no table of a GPU exporter "
            f"either, and has {', '.join(names)[:120]!r}"
        )
    if missing := [column for column in layout.values() if column not in names]:
        raise ValueError(f"it has no column {missing[0]!r}, but {', '.join(names)[:150]}")
    return layout


def check_times(times, column, texts):
    """ValueError of one line when most of the `times` (Series) of a table could not be read, or lie before
    1990; `texts` are the cells.
    """
    there = pd.Series(texts).notna().to_numpy()
    lost = there & times.isna().to_numpy()
    need = "a time is ISO 8601 (2026-01-31T10:00:00Z) or a number of seconds, ms, us or ns since 1970"
    if lost.sum() > there.sum() / 2:
        raise ValueError(
            f"{lost.sum():,} of {there.sum():,} times in the column {column} cannot be read, such as "
            f"{str(pd.Series(texts)[lost].iloc[0])[:60]!r}: {need}"
        )
    old = times < pd.Timestamp("1990-01-01", tz="UTC")
    if old.sum() > there.sum() / 2:
        raise ValueError(
            f"the times in the column {column} lie before 1990, such as "
            f"{str(pd.Series(texts)[old.to_numpy()].iloc[0])[:60]!r}: {need}"
        )


def metrics_in_several_places(paths):
    """Names of metrics that the folders of `paths` give more than once, apart from their times and nodes:
    under two plugins, say.
    """
    places = {}
    for path in paths:
        partitions = partitions_of(path)
        if (
            name := metric_in_path(path, partitions)
            if {"metric", "metric_name", "name", "sensor", "measurement"} & set(partitions)
            else ""
        ):
            places.setdefault(name, set()).add(tuple(plugin_of(partitions)))
    return {name for name, found in places.items() if len(found) > 1}


def plugin_of(partitions):
    """What the folders of a path say beside the metric, the time and the node."""
    other = re.compile(
        r"^(metric|metric_name|name|sensor|measurement)$|year|month|day|date|hour|time|node|host", re.I
    )
    return [value for name, value in partitions.items() if not other.search(name)]


def layout_of_table(names, columns, path, repeated=()):
    """({role: column}, {column: name of the metric}) of a table that is no LDMS store; ValueError of one line
    when it is none that is known.

    A column called `value`, or that of the role `value` where no column names metrics, is called after the
    path; with what other folders say, where the metric is in `repeated`.
    """
    layout, partitions = named_layout(names, columns), partitions_of(path)
    # an index without a name, as pandas writes it to Parquet: a number of the row
    index = re.compile(r"__index_level_\d+__")
    metric_names = {
        name: name
        for name in names
        if name not in {*layout.values(), *partitions} and not index.fullmatch(name)
    }
    if "metric" in layout:
        if "value" not in layout:
            raise ValueError(
                f"its metrics are in the column {layout['metric']}: the parameter columns must name that of "
                "the values (value) too"
            )
        return layout, metric_names
    if "value" in layout:
        metric_names = {layout.pop("value"): "value"}
    named = metric_in_path(path, partitions)
    named = "::".join([named, "_".join(plugin_of(partitions))]) if named in repeated else named
    nameless = [name for name in metric_names if metric_names[name].lower() in UNNAMED]
    if named and len(nameless) == 1 and (len(metric_names) == 1 or named != metric_in_path(path, {})):
        metric_names[nameless[0]] = named
    return layout, metric_names


# -------------------------------------------------------------------------------------------------- Instances


def find_instances(pages, layout, metric_names):
    """Find out, by the first page, what tells rows of one node and moment apart: (pages, columns, how,
    columns of text).

    how : "instance", each becomes metrics of its own; "sum", there are more than MANY_INSTANCES on a node; ""
    where no two rows differ. ValueError of one line where rows differ and no column tells them apart.
    """
    pages = iter(pages)
    if (first := next(pages, None)) is None:
        return iter(()), [], "", []
    page = first[1]
    texts = text_columns(page, metric_names)
    roles = [role for role in ("timestamp", "node_id", "job_id", "metric") if role in layout]
    keys = pd.DataFrame({role: names_of(page[layout[role]].cast(pa.string())) for role in roles})
    indices = [name for name in metric_names if name not in texts and INDEX_COLUMN.search(name)]
    found, share = tell_apart(keys, page, [*texts, *indices])
    if share > TOO_MANY_CONFLICTS and not found:
        at = keys[keys.duplicated()].iloc[0]
        raise ValueError(
            f"{share:.0%} of its rows differ from another row of the same node and moment, first on "
            f"{at.node_id} at {at.timestamp}, "
            "and no column tells these apart: it needs one that names the interface, process or device"
        )
    most = (
        instance_names(page, found).groupby(keys.node_id.fillna("").to_numpy()).nunique().max()
        if found
        else 0
    )
    how = "" if not found else "sum" if most > MANY_INSTANCES else "instance"
    return chain([first], pages), found, how, texts


def long_pages(pages, layout, metric_names, found, how, as_numbers):
    """Pages of a long table, with the columns "metric name" and "metric value", of a table whose columns
    `found` tell instances apart.

    A metric becomes NAME.INSTANCE, before the sampler; with `how` "sum" its name stays, and rows of the
    loopback interface `lo` are left out. as_numbers(column, metric) reads a column.
    """
    roles = list(dict.fromkeys(column for role, column in layout.items() if role not in ("metric", "value")))
    for first_row, page in pages:
        names = instance_names(page, found)
        if how == "sum":
            page = page.filter(pa.array((names != "lo").to_numpy()))
            names = names[names != "lo"].reset_index(drop=True)
        parts = []
        for column, metric in ({layout["value"]: None} if "metric" in layout else metric_names).items():
            base, colons, own = (metric or "").partition("::")
            kinds = (
                names_of(page[layout["metric"]]).fillna("").astype(str)
                if metric is None
                else pd.Series([base] * len(page), dtype=object)
            )
            joined = kinds if how == "sum" else kinds.str.cat(names, sep=".")
            part = page.select(roles).append_column(
                "metric name", pa.array(joined + colons + own, pa.string())
            )
            parts.append(part.append_column("metric value", as_numbers(page[column], metric or "")))
        if parts:
            yield first_row, pa.concat_tables(parts)


def split_metrics(metric_names, split_names):
    """{column: name of the metric} after `split_arrays`: load::jobstat is load.0::jobstat and
    load.1::jobstat.
    """
    named = {}
    for name in split_names:
        base, dot, number = name.rpartition(".")
        if name in metric_names:
            named[name] = metric_names[name]
        elif dot and number.isdigit() and base in metric_names:
            metric, colons, own = metric_names[base].partition("::")
            named[name] = f"{metric}.{number}{colons}{own}"
    return named


def contradiction(rows, others):
    """Find the file among `others` whose values differ from `rows` (both DataFrame node, time, value) at
    the same node and moment; None is none.
    """
    for path, theirs in others.items():
        both = rows.merge(theirs, on=["node", "time"], suffixes=("", "_other"))
        if (both.value != both.value_other).any():
            return path
    return None
