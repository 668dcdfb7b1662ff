"""Luminosities of lumisections, as brilcalc, the tool of CMS for them, prints them."""

import csv
import re

import numpy as np
import pandas as pd
import pyarrow as pa

from nightshift.sources.files import names_in_words, open_text
from nightshift.sources.times import read_times

LUMISECTION_S = 23.31  # how long one lasts in CMS: 2**18 orbits of 88.92 microseconds
# {prefix of the barn in a unit such as /fb: that unit in /pb}
PREFIXES = {"a": 1e6, "f": 1e3, "p": 1.0, "n": 1e-3, "u": 1e-6, "µ": 1e-6, "m": 1e-9, "": 1e-12, "k": 1e-15}
INVERSE_BARN = re.compile(
    r"(?P<scale>[0-9.]*(?:[eE][+-]?\d+)?)\s*(?:/\s*(?P<slash>[afpnuµmk]?)b|(?P<power>[afpnuµmk]?)b\s*\^?-1)",
    re.ASCII,
)
MIXED = (
    "its luminosities are in {unit!r}: needed is an integral over the lumisection, in /ub, /nb, /pb or /fb "
    "(brilcalc -u /pb)"
)
# our columns for what brilcalc writes as two things in one column, or in a form of its own
NAMES = ["run", "fill", "ls", "taken", "time"]


def picobarns(unit):
    """The factor by which a luminosity in `unit`, such as "/ub" or "1e9/b", becomes one in /pb; 1 for "".

    ValueError of one line for what is no inverse of a multiple of the barn, such as the rate "hz/ub".
    """
    if not unit:
        return 1.0
    found = INVERSE_BARN.fullmatch(unit.strip())
    if not found:
        raise ValueError(MIXED.format(unit=unit))
    prefix = found["slash"] if found["slash"] is not None else found["power"]
    return float(found["scale"] or 1) * PREFIXES[prefix]


def cells_of(line, separator):
    """Cells of a line of brilcalc, in its table style, with "|" as separator, or in its CSV style."""
    if separator == "|":
        return [cell.strip() for cell in line.strip().strip("|").split("|")]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def header_of(line):
    """(cells, separator) of the line of brilcalc that names the columns, (None, "") of any other."""
    text = line.strip().lstrip("\ufeff#").strip()
    if not text.strip("| ").lower().startswith("run"):
        return None, ""
    separator = max("|,;\t", key=text.count)
    cells = cells_of(text, separator)
    return (cells, separator) if cells[0].lower().replace(" ", "") == "run:fill" else (None, "")


def is_brilcalc(lines):
    """Whether `lines`, the first ones of a file, are those of brilcalc: one of them names the columns, and
    begins with run:fill.
    """
    return any(header_of(line)[0] for line in lines if "run" in line.lower())


def read_brilcalc(path, bad_lines):
    """(names of the columns, pages) of what `brilcalc lumi --byls` printed, in CSV or in table style, plain
    or .gz; also several outputs in one file.

    Names: run, fill, ls, taken, time, then those of brilcalc with their units, such as delivered(/ub); every
    cell is text. An ls `a:b` is section b of CMS in section a of the machine; b = 0 means that CMS did not
    take it: its ls is a, and its taken "0". Times are UTC, mm/dd/yy. A row with another number of cells is
    added to `bad_lines`. ValueError of one line for luminosities of whole runs (without ls) or of trigger
    paths, and where a later output has other columns.
    """
    header, separator, rows, columns, unit_names = None, "", [], None, None
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            cells, its_separator = header_of(line)
            if cells:
                header, separator = cells, its_separator
                columns = [name.lower() for name in header]
                if "ls" not in columns or "time" not in columns:
                    raise ValueError(
                        f"it has the columns {names_in_words(header)}, luminosities of whole runs: needed "
                        "are those of lumisections (brilcalc lumi --byls)"
                    )
                if "hltpath" in columns:
                    raise ValueError(
                        "its luminosities are those of trigger paths, divided by their prescales: needed are "
                        "those of lumisections (brilcalc lumi --byls without --hltpath)"
                    )
                if unit_names not in (None, columns[2:]):
                    raise ValueError(
                        f"line {number}: its columns are {names_in_words(header)}, those before are others"
                    )
                unit_names = columns[2:]
            elif line.lstrip().startswith("#"):
                header = None if "summary" in line.lower() else header  # the table below it sums up
            elif header and line.strip() and not line.startswith("+"):
                cells = cells_of(line, separator)
                # luminosities of bunches come as a list at the end, with commas
                if len(cells) != len(header) and not header[-1].startswith("["):
                    bad_lines.append(
                        (path, number, f"{len(cells)} columns, not {len(header)}", line.strip()[:500])
                    )
                    continue
                rows.append(cells[: len(header)])
    names = [*NAMES, *(name for name in header_names(columns) if name not in ("run:fill", "ls", "time"))]
    return names, [(1, table_of(rows, columns))] if rows else []


def header_names(columns):
    """The names among `columns` of brilcalc, without that of the list of bunches."""
    return [name for name in columns if not name.startswith("[")]


def table_of(rows, columns):
    """Make an Arrow table of text with NAMES and the other `columns` from rows of cells of brilcalc."""
    frame = pd.DataFrame([row[: len(columns)] for row in rows], columns=columns)[
        header_names(columns)
    ].astype("str")
    run, _, fill = frame.pop("run:fill").str.partition(":").to_numpy().T
    machine, colon, cms = frame.pop("ls").str.partition(":").to_numpy().T
    taken = ~((colon == ":") & (cms == "0"))
    times = frame.pop("time")
    read = read_times(times, order="month first", short_years=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    section = pd.Series(cms).where((colon == ":") & taken, machine)
    ours = [run, fill, section, taken.astype(int).astype(str), read.fillna(times)]
    return pa.table(
        {
            **{name: pa.array(list(values), pa.string()) for name, values in zip(NAMES, ours, strict=True)},
            **{name: pa.array(list(frame[name]), pa.string()) for name in frame},
        }
    )


# ------------------------------------------------------------------- what several rows say of one lumisection


def differ(first, second):
    """Whether two Series of one type differ, bool (n,): numbers by more than rounding (0.1%), times by more
    than a lumisection (30 s), others at all.
    """
    if pd.api.types.is_datetime64_any_dtype(first):
        return ((first - second).abs() > pd.Timedelta(seconds=30)).to_numpy()
    if pd.api.types.is_float_dtype(first):
        a, b = first.to_numpy(float), second.to_numpy(float)
        return np.abs(a - b) > 1e-3 * np.maximum(np.abs(a), np.abs(b))
    return (first != second).fillna(False).to_numpy(bool)


def contradictions(parts, role, index):
    """(values of `role` in the order of `index`, missing where no part has one; the rows that contradict an
    earlier one).

    parts : frames run, lumisection, and perhaps `role`. index : MultiIndex (run, lumisection). The first
    value of a lumisection counts, but contradictory flags leave it without one. The second result is a
    DataFrame first, other, indexed by (run, lumisection); empty where all agree.
    """
    answers = [part.set_index(["run", "lumisection"])[role].dropna() for part in parts if role in part]
    answers = [one for one in answers if len(one)]
    if not answers:
        return pd.Series(index=index, dtype=object), pd.DataFrame({"first": [], "other": []})
    every = pd.concat(answers)
    again = every.index.duplicated()
    first, others = every[~again], every[again]
    against = first.reindex(others.index)
    wrong = differ(against, others)
    rows = pd.DataFrame({"first": against[wrong], "other": others[wrong]})
    if pd.api.types.is_bool_dtype(first):
        first = first.drop(rows.index.unique())
    return first.reindex(index), rows
