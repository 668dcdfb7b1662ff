"""Golden and DCS-only JSON: which lumisections of which runs are certified, {"run": [[first, last], ...]};
and the Good Run Lists of ATLAS, which say the same of luminosity blocks in XML.

A range may be open: it reaches to the end of its run, which was not known when the range was written.
LumiList of CMSSW (FWCore/PythonUtilities) writes 268435455 as the end of whole runs and reads 0 as such an
end; configurations for single runs use 9999; GoodRunsLists of ATLAS (athena) leaves the end out, or writes
2147483647. In the `ranges` of the functions here, the end of an open range is OPEN.
"""

import codecs
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import atomic
from nightshift.sources.tables import read_files

KEY = ["run", "lumisection"]
LONGEST = 100_000  # lumisections of about 23 s: 27 days, where fills last hours
OPEN = 0xFFFFFFF  # 268435455
OPEN_ENDS = (0, 9999, OPEN)
OPEN_IN_XML = ("", str(2**31 - 1))
EXAMPLE = '{"400123": [[1, 30]]}'
RUN = re.compile(r"<LumiBlockCollection>(.*?)</LumiBlockCollection>", re.DOTALL)
NUMBER = re.compile(r"<Run>\s*(\d+)\s*</Run>")
BLOCKS = re.compile(r'<LBRange\s+Start="(\d+)"(?:\s+End="(\d+)")?\s*/>')


def read_golden(path):
    """Read the lumisections that the Golden or DCS-only JSON `path`, or a Good Run List, names: {run:
    [[first, last], ...]}, sorted by run; a glob reads several files as one. The end of an open range becomes
    OPEN.

    ValueError, one line with the file and the run, for: a file that is neither a JSON object of runs nor such
    a list; a run that is no integer from 1 to 2**31 - 1; a range that is no pair of such integers, ends
    before it begins, or begins at or before the end of the one before it; a run that is named twice, in one
    file or in two. FileNotFoundError when no file matches.
    """
    ranges = {}

    def is_number(value):
        return type(value) is int and 0 < value < 2**31  # True is an int, 3.0 none

    def read(file):
        content = Path(file).read_bytes()
        if not content.strip():
            raise ValueError("it is empty; a file that certifies nothing holds {}")
        for name, pairs in named_ranges(content):
            if not (name.isascii() and name.isdigit() and is_number(int(name))):
                raise ValueError(f"run {name!r} is no positive integer")
            if (run := int(name)) in ranges:
                raise ValueError(f"run {run} is named twice")
            if type(pairs) is not list:
                raise ValueError(f"run {run} has no list of ranges but {str(pairs)[:80]}")
            before = 0
            pairs = [with_open_end(pair) for pair in pairs]
            for pair in pairs:
                if not (type(pair) is list and len(pair) == 2 and all(map(is_number, pair))):
                    raise ValueError(
                        f"run {run}: {str(pair)[:80]} is no pair of positive integers such as [1, 30], "
                        f"or [1, {OPEN}] where the end of the run is meant"
                    )
                if not before < pair[0] <= pair[1]:
                    raise ValueError(
                        f"run {run}: {pair} "
                        + ("ends before it begins" if pair[1] < pair[0] else f"begins at or before {before}")
                    )
                before = pair[1]
            ranges[run] = pairs

    read_files(path, read)
    return dict(sorted(ranges.items()))


def named_ranges(content):
    """The runs and their ranges in the bytes of a file, as pairs (name, ranges); ValueError of one line for
    anything but a JSON object or a Good Run List.
    """
    content = content.removeprefix(codecs.BOM_UTF8).lstrip()
    if content.startswith(b"<"):
        return good_runs(content.decode(errors="replace"))
    is_json = content.startswith((b"{", b"["))
    # a dict would silently keep the last of two equal runs
    named = json.loads(content, object_pairs_hook=tuple) if is_json else None
    if not isinstance(named, tuple):
        raise ValueError(f"it holds no JSON object such as {EXAMPLE}, and no Good Run List (XML)")
    return named


def good_runs(text):
    """The runs and their ranges, [(name, ranges)], of a Good Run List of ATLAS; ValueError of one line where
    it has none. If a file holds several lists, all count.
    """
    runs = []
    for run in RUN.findall(re.sub("<!--.*?-->", "", text, flags=re.DOTALL)):
        number, ranges = NUMBER.search(run), BLOCKS.findall(run)
        if not number or not ranges or len(ranges) != run.count("<LBRange"):
            raise ValueError(f"it has a run without number or ranges: {' '.join(run.split())[:80]}")
        pairs = [[int(first), OPEN if last in OPEN_IN_XML else int(last)] for first, last in ranges]
        runs.append((number[1], pairs))
    if not runs:
        raise ValueError(f"it is XML without runs: needed is a Good Run List, or JSON such as {EXAMPLE}")
    return runs


def with_open_end(pair):
    """The range `pair` with OPEN as its end, where its end is one of OPEN_ENDS; anything else as it is."""
    is_open = type(pair) is list and len(pair) == 2 and type(pair[1]) is int and pair[1] in OPEN_ENDS
    return [pair[0], OPEN] if is_open else pair


def write_golden(ranges, path):
    """Write {run: [[first, last], ...]} to `path` as Golden JSON, atomically: one run per line, by number."""
    lines = (f'"{run}": {json.dumps(pairs)}' for run, pairs in sorted(ranges.items()))
    with atomic(path) as temporary:
        temporary.write_text("{" + ",\n ".join(lines) + "}\n", encoding="utf-8")


def golden_ranges(frame):
    """The lumisections of `frame` (integer columns run, lumisection; any order, duplicates count once) as
    {run: [[first, last], ...]}.
    """
    each = np.unique(frame[["run", "lumisection"]].to_numpy("int64"), axis=0)  # (n, 2), sorted
    # the last row ends a range, if there is one
    ends = np.append(np.any(np.diff(each, axis=0) != [0, 1], axis=1), np.ones(len(each[:1]), bool))
    ranges = {}
    for (run, first), last in zip(each[np.roll(ends, 1)].tolist(), each[ends, 1].tolist(), strict=True):
        ranges.setdefault(run, []).append([first, last])
    return ranges


def in_ranges(frame, ranges):
    """Whether each row of `frame` (integer columns run, lumisection) lies in `ranges`, as `read_golden` gives
    them: bool (n,).
    """
    each = np.array(
        [(run, *pair) for run, pairs in sorted(ranges.items()) for pair in pairs], "int64"
    ).reshape(-1, 3)
    # run and lumisection as one number: both are below 2**31
    first, last = each[:, 0] * 2**32 + each[:, 1], each[:, 0] * 2**32 + each[:, 2]
    key = frame.run.to_numpy("int64") * 2**32 + frame.lumisection.to_numpy("int64")
    begun = np.searchsorted(first, key, side="right")
    return (begun > 0) & (key <= np.append(-1, last)[begun])


def read_labels(path):
    """Read the ranges of a Golden or DCS-only JSON, {run: [[first, last], ...]}; None for an empty path.

    Errors are those of `read_golden`, and a ValueError for a range that is not open and far longer than any
    run: it is a mistake of the file, and would fill the memory as a list of lumisections.
    """
    ranges = read_golden(path) if path else None
    for run, pairs in (ranges or {}).items():
        if too_long := [pair for pair in pairs if pair[1] != OPEN and pair[1] - pair[0] >= LONGEST]:
            raise ValueError(f"{path}: run {run}: {too_long[0]} is longer than any run")
    return ranges


def listed(ranges):
    """List one row per lumisection of {run: [[first, last], ...]}: DataFrame run, lumisection.

    An open range has its first one only: other sources say how many follow.
    """
    each = [
        (run, lumisection)
        for run, pairs in ranges.items()
        for first, last in pairs
        for lumisection in range(first, (first if last == OPEN else last) + 1)
    ]
    return pd.DataFrame(each, columns=KEY, dtype="int64")


def flags_of(table, ranges):
    """Tell whether each lumisection of `table` is in the ranges of a JSON (nullable boolean Series); missing
    in runs below its lowest and above its highest, of which it says nothing.
    """
    covered = table.run.between(min(ranges, default=0), max(ranges, default=0))
    return pd.Series(in_ranges(table, ranges), table.index, dtype="boolean").mask(~covered)
