"""Tables of node metrics in any file: what their columns are, and what tells rows of one moment apart."""

import re
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.files import names_in_words
from nightshift.sources.telemetry.cells import names_of

ROLES = ["timestamp", "node_id", "job_id", "app", "input", "anomaly", "part"]
# interfaces or disks of a node are metrics of their own; processes are not, they are added up
MANY_INSTANCES = 64
MOMENT = re.compile(r"[12]\d{9,18}(\.\d+)?|\d{4}-\d\d-\d\d[ T].*")  # no name of a column
# share of rows that contradict another one of their moment, above which a table is not understood
TOO_MANY_CONFLICTS = 0.25
NO_JOB = ["0", "-1", "none", "None", "null", "N/A", str(2**32 - 1), str(2**64 - 1)]
# columns that do not say what they measure
UNNAMED = {"value", "values", "val", "reading", "metric_value", "data", "v", "measurement"}
INDEX_COLUMN = re.compile(
    r"(^|[._])(entry_idx|idx|index|device|dev|interface|iface|port|gpu|"
    r"pid|core|socket|rank|lane|slot|disk|ost|fan)$",
    re.I,
)


# ------------------------------------------------------------------------------------------ What a page holds


def text_columns(page, names):
    """Those of the columns `names` of an Arrow table that hold text: cells, none of which is a number, and
    not only signs of a missing one such as N/A.
    """
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
            ):  # a number among the first cells settles most columns
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
    first. Returns (columns, share of the rows that contradict an earlier one): ([], 0.0) where none does, and
    no column where none tells them apart.
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
        r"(\.(csv|gz|txt|tsv|parquet|pq|h5|hdf5?|jsonl?|ndjson)|[._-]?\d{4}-?\d\d(-?\d\d)?|[._-]\d{9,})+$",
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
    """ValueError of one line where two columns have one name, or the first line is JSON or holds values."""
    if names and (list(names) in (["{"], ["["]) or str(names[0]).lstrip().startswith(('{"', "[{", "{'"))):
        raise ValueError(
            "it is JSON, not a table: needed are columns of nodes, times and metrics in CSV, Parquet or HDF5 "
            "(a Prometheus is asked by its URL)"
        )
    if any(MOMENT.fullmatch(str(name)) for name in names):
        raise ValueError(
            f"its first line, a row of {len(names)} values, names no columns: export it with its header; "
            "from a VictoriaMetrics take the lines of /api/v1/export"
        )
    if len(set(names)) < len(names):
        raise ValueError(
            f"two of its columns are called {next(name for name in names if names.count(name) > 1)!r}"
        )


def named_layout(names, columns):
    """{role: column} of a table whose columns are named by the parameter `columns`, or by their roles;
    ValueError of one line names what is missing.
    """
    layout = dict(columns) or {role: role for role in ROLES if role in names}
    if not {"timestamp", "node_id"} <= set(layout):
        lacking = " and ".join(role for role in ("node_id", "timestamp") if role not in layout)
        raise ValueError(
            f"it lacks the columns {lacking}, which the parameter columns can name; it is no LDMS store and "
            f"no table of a GPU exporter either, and has {names_in_words(names)}"
        )
    if missing := [column for column in layout.values() if column not in names]:
        raise ValueError(f"it has no column {missing[0]!r}, but {names_in_words(names)}")
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
    """({role: column}, {column: name of the metric}) of a table that is no LDMS store; ValueError as of
    `named_layout`, and where its metrics have a column and their values none.

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
    where no column tells rows apart. ValueError of one line where that is so and more than TOO_MANY_CONFLICTS
    of the rows differ from another one of their node and moment.
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
