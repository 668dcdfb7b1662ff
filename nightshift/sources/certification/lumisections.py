"""Extraction of lumisections: a source of histograms or of a wide table, a table of luminosities.

Reading     files of the source and of luminosities, page by page     Settings, Extraction, extract, staged
Table       what is known of each lumisection, runs of a window       gather, runs_kept
Warnings    settings that fit nothing, contradictions                 setting_lines, contradiction_lines
"""

import contextlib
import os
import shutil
import uuid
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from nightshift.sources.certification.golden import flags_of, listed
from nightshift.sources.certification.histograms import (
    KINDS,
    Cells,
    as_numbers,
    contents_of,
    goes_on,
    is_number,
    keys_of,
    layout_of,
    processing_of,
    require,
)
from nightshift.sources.certification.luminosity import contradictions
from nightshift.sources.certification.root import NoLumisectionError
from nightshift.sources.files import is_empty, names_in_words
from nightshift.sources.parts import remove_abandoned

KEY = ["run", "lumisection"]
HISTOGRAM_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("run", pa.int64()),
        ("lumisection", pa.int64()),
        ("element", pa.string()),
        ("entries", pa.float64()),
        ("x_min", pa.float64()),
        ("x_max", pa.float64()),
        ("contents", pa.list_(pa.float64())),
        ("version", pa.string()),
    ]
)
UNNAMED = ("", "Unnamed: 0")  # the row numbers of DataFrame.to_csv, as written and as pandas reads them again
TYPES = {"fill": "Int64", "time": "datetime64[us, UTC]", "dcs": "boolean", "golden": "boolean"}

# ---------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Settings:
    """How the tables of a source are read; certification/1_extract explains each."""

    columns: dict  # {role: name of a column}
    dataset: str  # of rows in whose table no column names one
    features: list  # columns of a wide table that are features; empty is every column of numbers


class Extraction:
    """What has been read so far, and what was noted on the way.

    Histograms go to `table`, an open Parquet writer with HISTOGRAM_SCHEMA, a page at a time; a wide table is
    kept in parts. Rows that cannot be used are put aside among the `bad_lines`, as (file, row, reason, text).
    """

    def __init__(self, settings, table):
        self.settings, self.table = settings, table
        self.cells, self.bad_lines = Cells(), []
        self.counts = Counter()  # rows that were read, and those put aside
        self.left_out = Counter()  # objects of ROOT files that are no histograms of a lumisection
        self.no_lumisections = []  # one line for each ROOT file of whole runs
        self.are_histograms = set()  # whether the files of the source hold histograms or a wide table
        self.found_columns = set()  # roles of `columns` that some table has
        self.placed = []  # rows per dataset and lumisection, a frame per page
        self.elements = set()  # (dataset, run, element)
        # what is known of lumisections, a frame per page: by the source, by the table of luminosities, and of
        # sections that were not taken
        self.about_rows, self.about_lumi, self.about_untaken = [], [], []
        self.wide_parts, self.feature_names = [], {}

    def read_source(self, path, open_file):
        """Add one file of the source to the raw tables; an empty file adds nothing.

        open_file : that of its kind, see `LumisectionFile.open`. The columns of a file say what it holds: a
        table with bin contents holds histograms, any other with run and lumisection is a wide one. ValueError
        of one line when columns are missing, or when none of its rows can be used.
        """
        if is_empty(path):
            return
        try:
            names, pages = open_file(path, self.bad_lines, self.left_out)
        except NoLumisectionError as error:
            self.no_lumisections.append(f"{path}: {error}")
            return
        layout = self.layout_in(names)
        is_histogram = "contents" in layout
        require(layout, names, [*KEY, *(["element", "x_min", "x_max"] if is_histogram else [])])
        self.are_histograms.add(is_histogram)
        keep, n_kept, n_bad = self.keep_wide, sum(map(len, self.placed)), len(self.bad_lines)
        if is_histogram:
            keep = self.keep_histograms
        name = os.path.basename(path)
        with tqdm(desc=name, unit="row", unit_scale=True, leave=False, delay=3) as bar:
            for first_row, page in pages:
                keep(page, layout, where=path, first_row=first_row)
                bar.update(len(page))
        self.cells.check(path, layout)
        if n_kept == sum(map(len, self.placed)) and len(self.bad_lines) > n_bad:
            _, _, why, text = self.bad_lines[n_bad]
            raise ValueError(f"none of its rows can be used; of the first: {why} ({text[:150]})")

    def read_luminosity(self, path, open_file):
        """Gather what a table of luminosities says about lumisections; its rows are none of the source, and
        an empty file adds nothing.

        Sections that CMS did not take are kept apart. open_file : as in `read_source`. ValueError of one line
        when columns are missing.
        """
        if is_empty(path):
            return
        names, pages = open_file(path, self.bad_lines, self.left_out)
        layout = self.layout_in(names)
        require(layout, names, KEY)
        if not set(layout) & set(KINDS):
            raise ValueError(
                f"it has none of {', '.join(KINDS)}, but {names_in_words(names)}: "
                "name its columns by `columns`"
            )
        for first_row, page in pages:
            keys = keys_of(page, {role: layout[role] for role in KEY}, "")
            why = np.where((keys.run == 0) | (keys.lumisection == 0), "no run or lumisection", "")
            kept = self.put_aside(page, layout, where=path, first_row=first_row, why=why)
            page, keys = page.filter(pa.array(kept)), keys.loc[kept, KEY].reset_index(drop=True)
            rows = keys.assign(**self.cells.about(page, layout, path))
            untaken = untaken_rows(page, layout)
            self.about_lumi.append(rows[~untaken])
            self.about_untaken.append(rows[untaken])
        self.cells.check(path, layout)

    def layout_in(self, names):
        """Find the columns of one table whose role is known, {role: name}, and note which of the parameter
        `columns` it has.
        """
        layout, columns = layout_of(names, self.settings.columns), self.settings.columns
        self.found_columns.update(role for role, column in columns.items() if layout.get(role) == column)
        return layout

    def put_aside(self, page, layout, *, where, first_row, why):
        """Note the rows of a page that have a reason in `why`, text (n,), among the bad lines; return which
        rows have none, bool (n,).
        """
        for i in np.flatnonzero(why != ""):
            shown = (f"{column}: {str(page[column][i].as_py())[:100]}" for column in layout.values())
            self.bad_lines.append((where, first_row + i, why[i], ", ".join(shown)[:500]))
        return why == ""

    def note(self, page, layout, *, where, keys, kept):
        """Count the kept rows by lumisection, and gather what they say of their lumisections."""
        self.counts["rows"] += len(kept)
        self.counts["put aside"] += int((~kept).sum())
        rows, page = keys[kept].reset_index(drop=True), page.filter(pa.array(kept))
        sizes = rows.groupby(["dataset", *KEY], sort=False).size()
        self.placed.append(sizes.rename("rows").reset_index())
        elements = rows[["dataset", "run", "element"]].drop_duplicates()
        self.elements.update(elements.itertuples(index=False, name=None))
        about = rows[KEY].assign(**self.cells.about(page, layout, where))
        self.about_rows.append(about.drop_duplicates())

    def keep_histograms(self, page, layout, *, where, first_row):
        """Write the histograms of a page to the table; entries that it does not give are the sum of the
        contents. Lumisection 0 stands for a whole run.
        """
        keys = keys_of(page, layout, self.settings.dataset)
        flat, lengths, numbers, bins = contents_of(page, layout)
        reasons = {
            "no run": keys.run == 0,
            "of a whole run, lumisection 0": as_numbers(page[layout["lumisection"]]) == 0,
            "no lumisection": keys.lumisection == 0,
            "of several lumisections": goes_on(page, layout, keys),
            "no dataset": keys.dataset.isna(),
            "no element": keys.element.isna(),
            "contents are no list of numbers": ~numbers,
            "not as many contents as bins": lengths != bins,
        }
        why = np.select(list(reasons.values()), list(reasons), "")
        kept = self.put_aside(page, layout, where=where, first_row=first_row, why=why)
        sums = np.add.reduceat(np.append(flat, 0), np.cumsum(lengths) - lengths)
        values = {
            name: self.cells.column(page, layout[name], as_numbers, where)
            for name in ("entries", "x_min", "x_max")
            if name in layout
        }
        entries = values.get("entries", np.full(len(keys), np.nan))
        values["entries"] = np.where(np.isnan(entries), sums, entries)
        rows = keys.assign(**values, version=processing_of(page, layout))[kept]
        offsets = pa.array(np.append(0, np.cumsum(lengths[kept])), pa.int32())
        contents = pa.ListArray.from_arrays(offsets, pa.array(flat[np.repeat(kept, lengths)]))
        arrays = [
            contents if f.name == "contents" else pa.array(rows[f.name], f.type, from_pandas=True)
            for f in HISTOGRAM_SCHEMA
        ]
        self.table.write_table(pa.Table.from_arrays(arrays, schema=HISTOGRAM_SCHEMA))
        self.note(page, layout, where=where, keys=keys, kept=kept)

    def keep_wide(self, page, layout, *, where, first_row):
        """Add the rows of a page to the wide table; the first page of a file says which columns are
        features.
        """
        keys = keys_of(page, layout, self.settings.dataset)
        if where not in self.feature_names:
            self.feature_names[where] = features_of(page, layout, self.settings.features)
        reasons = {
            "no run": keys.run == 0,
            "no lumisection": keys.lumisection == 0,
            "no dataset": keys.dataset.isna(),
            "of several lumisections": goes_on(page, layout, keys),
            "not taken by CMS": untaken_rows(page, layout),
        }
        why = np.select(list(reasons.values()), list(reasons), "")
        kept = self.put_aside(page, layout, where=where, first_row=first_row, why=why)
        names = self.feature_names[where]
        values = {name: self.cells.column(page, name, as_numbers, where) for name in names}
        whole = pd.concat([keys.drop(columns="element"), pd.DataFrame(values, keys.index)], axis=1)
        self.wide_parts.append(whole[kept])
        self.note(page, layout, where=where, keys=keys, kept=kept)

    def counted(self):
        """Return what has been counted, except by lumisection, as JSON can hold it."""
        counts = self.counts | {"unreadable": sum(self.cells.unreadable.values())}
        sets = {name: sorted(getattr(self, name)) for name in ("are_histograms", "found_columns")}
        return sets | {"counts": counts, "left_out": self.left_out, "no_lumisections": self.no_lumisections}

    def add(self, path, counted, rows, wide):
        """Add what was `counted` in the file `path`; `rows`, {name: frame} of its lumisections, elements and
        bad lines; and `wide`, its wide table or None. ValueError where it holds histograms and earlier files
        do not, or the other way round.
        """
        for is_histogram in counted["are_histograms"]:
            self.are_histograms.add(is_histogram)
            if len(self.are_histograms) > 1:
                kind = "histograms" if is_histogram else "a wide table"
                raise ValueError(f"it holds {kind}, and files before it do not: extract the two apart")
        self.counts.update(counted["counts"])
        self.left_out.update(counted["left_out"])
        self.no_lumisections += counted["no_lumisections"]
        self.found_columns.update(counted["found_columns"])
        self.wide_parts += [wide] if wide is not None else []
        for name, frame in rows.items():
            if name == "elements":
                self.elements.update(frame.itertuples(index=False, name=None))
            elif name == "bad_lines":
                self.bad_lines += [(path, *line) for line in frame.itertuples(index=False, name=None)]
            else:
                getattr(self, name).append(frame)

    def wide(self):
        """Put together the wide table: DataFrame dataset, run, lumisection and features; without rows where
        the source is no wide table.
        """
        keys = {name: pd.Series(dtype="int64") for name in KEY}
        none = pd.DataFrame({"dataset": pd.Series(dtype=str), **keys})
        return pd.concat([none, *self.wide_parts], ignore_index=True)

    def rows_placed(self):
        """Put together how many rows each page has of each lumisection of each dataset: DataFrame dataset,
        run, lumisection, rows.
        """
        numbers = {name: pd.Series(dtype="int64") for name in [*KEY, "rows"]}
        none = pd.DataFrame({"dataset": pd.Series(dtype=object), **numbers})
        return pd.concat([none, *self.placed], ignore_index=True)


def untaken_rows(page, layout):
    """Find which rows of a page say that CMS did not take their section, bool (n,)."""
    if "taken" not in layout:
        return np.zeros(len(page), bool)
    return as_numbers(page[layout["taken"]]) == 0


def features_of(page, layout, features):
    """List the columns of a page that are features: `features`, or if that is empty, every column of numbers
    that is nothing else: no key, time or flag, and not the row numbers that pandas writes without a name.

    A CSV file does not say which of its columns hold numbers: those do of which at least half the cells do.
    ValueError when one of `features` is missing.
    """
    if missing := [name for name in features if name not in page.column_names]:
        raise ValueError(
            f"it has no column {missing[0]!r}, which features names, but {', '.join(page.column_names)[:150]}"
        )
    others = {*layout.values(), "dataset", *KEY, *UNNAMED}
    if features:
        return list(features)
    return [name for name in page.column_names if name not in others and is_number(page[name])]


@contextlib.contextmanager
def staged(folder):
    """Yield a new folder in `folder`; what it holds moves to `folder` when the block ends well, and an error
    in the block leaves `folder` as it was.
    """
    remove_abandoned(folder)
    staging = folder / f".{uuid.uuid4().hex[:8]}"
    staging.mkdir(parents=True)
    try:
        yield staging
        for path in list(staging.iterdir()):
            there = folder / path.name
            if path.is_dir() and there.exists():  # os.replace replaces no folder that holds anything
                os.replace(there, staging / f"old {path.name}")
            os.replace(path, there)
    finally:
        shutil.rmtree(staging)


# ------------------------------------------------------------------------------------------------------ table


def gather(extraction, labels):
    """Gather what is known of each lumisection that the source, the table of luminosities or a JSON names:
    (DataFrame run, lumisection, KINDS, dcs_column, golden_column, sorted and unique; {(who, role):
    contradictions}).

    labels : {dcs or golden: ranges, or None}. The table of luminosities has priority, then the source in its
    own order, then sections that were not taken. A JSON takes the place of a column of the source, which
    stays beside it as dcs_column or golden_column.
    """
    named = [listed(ranges or {}) for ranges in labels.values()]
    about = [*named, *extraction.about_lumi, *extraction.about_rows]
    pairs = pd.concat([part[KEY] for part in about], ignore_index=True)
    table = pairs.drop_duplicates().sort_values(KEY, ignore_index=True).astype("int64")
    index, contradicted = pd.MultiIndex.from_frame(table), {}
    sources = {
        "the table of luminosities": extraction.about_lumi,
        "the source": extraction.about_rows,
        "sections not taken": extraction.about_untaken,
    }
    # the frames of many files are put together once, not once per role
    sources = {who: [pd.concat(parts, ignore_index=True)] if parts else [] for who, parts in sources.items()}
    for role in KINDS:
        column = pd.Series(index=index, dtype=TYPES.get(role, "float64"))
        for who, parts in sources.items():
            values, contradicted[who, role] = contradictions(parts, role, index)
            column = column.fillna(values.astype(column.dtype))
        table[role] = column.array
    own = {f"{name}_column": table[name] for name in labels}
    by_json = {name: flags_of(table, ranges) for name, ranges in labels.items() if ranges is not None}
    return table.assign(**own, **by_json), contradicted


def runs_kept(table, *, days, edge):
    """Find the runs, a sorted index, whose newest lumisection began in the `days` before `edge` (UTC); all
    runs where `days` is 0.

    table : DataFrame run, time. ValueError when `days` is not 0 and no time is known.
    """
    newest = table.groupby("run").time.max()
    if not days:
        return newest.index
    if len(newest) and newest.isna().all():
        raise ValueError(
            f"days is {days}, but no time is known: name a table of luminosities that has times, "
            "or set days to 0"
        )
    return newest.index[newest.between(edge - pd.Timedelta(days=days), edge, inclusive="left")]


# --------------------------------------------------------------------------------------------------- warnings


def setting_lines(extraction, labels, *, runs, luminosity):
    """Write one line for each setting that fits nothing in the source.

    labels : {golden or dcs: ranges, or None}. runs : set of those of the source. luminosity : whether a table
    of luminosities was named.
    """
    lines, columns = [], extraction.settings.columns
    for role in sorted(set(columns) - extraction.found_columns):
        column = str(columns[role])
        lines.append(f"columns says that {role} is called {column!r}, and no table has such a column")
    for name, ranges in labels.items():
        if ranges is not None and not ranges:
            lines.append(f"the JSON of the parameter {name} names no run, so that it labels no lumisection")
        elif ranges and runs and not runs & set(ranges):
            lines.append(
                f"none of the {len(ranges):,} runs of the JSON of the parameter {name} ({min(ranges)} to "
                f"{max(ranges)}) is in the source, which has {len(runs):,} ({min(runs)} to {max(runs)})"
            )
    of_lumi = {run for part in extraction.about_lumi for run in part.run.unique()}
    if luminosity and runs and not runs & of_lumi:
        lines.append(f"the table of luminosities has none of the {len(runs):,} runs of the source")
    if unused := extraction.no_lumisections:
        lines.append(f"{len(unused):,} ROOT files are left out; the first: {unused[0]}")
    return lines


def contradiction_lines(contradicted, labels):
    """Write one line for each source that says something of one lumisection twice and differently.

    contradicted : {(who, role): rows with first and other}, as `gather` gives it. labels : the roles that are
    flags; of contradictory flags neither counts.
    """
    lines = []
    for (who, role), rows in contradicted.items():
        if len(rows):
            (run, lumisection), one = rows.index[0], rows.iloc[0]
            counts = "neither counts" if role in labels else "the first counts"
            lines.append(
                f"{who} says {role} of {rows.index.nunique():,} lumisections twice and differently, such as "
                f"{one['first']} and {one['other']} of run {run}, lumisection {lumisection}; {counts}"
            )
    return lines
