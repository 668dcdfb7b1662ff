"""One bad row in each text layout: whether the study still reads all others, and puts that one aside.

    python bench/bad_rows.py [STUDY ...]

Each example of tests/examples that is text of lines gets one line more, a copy of one of its own that is
spoiled in one of KINDS ways, and is extracted and cleaned as a night does it. A line says of each kind what
came of it: "put aside" or "rejected" (one row more is), "kept" (it can be read), "ENDED" (the study would not
run, with the error) or "LOST" (fewer rows than before, and no reason).
"""

import contextlib
import io
import re
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from conftest import run_here  # noqa: E402

import helpers  # noqa: E402

FOLDER = REPOSITORY / "tests/examples"
NUMBER = re.compile(rb"\d{6,}")


def spoil_quoted(line, text):
    """The line with `text` at the beginning of its last quoted value, None where it has none."""
    at = [one.end() for one in re.finditer(rb'[:,]\s*"', line)]
    return line[: at[-1]] + text + line[at[-1] :] if at else None


def replaced(line, digits):
    """The line with its longest number replaced, None where it has none of six digits."""
    found = max(NUMBER.finditer(line), key=lambda one: len(one[0]), default=None)
    return line[: found.start()] + digits + line[found.end() :] if found else None


KINDS = {
    "half of a surrogate pair": lambda line: spoil_quoted(line, rb"\ud800") if line.startswith(b"{") else None,
    "20 digits": lambda line: replaced(line, b"9" * 20),
    "400 digits": lambda line: replaced(line, b"9" * 400),
    "a negative number": lambda line: replaced(line, b"-99999999999"),
    "too many cells": lambda line: line + max((b",", b";", b"\t", b"|"), key=line.count) * 3,
    "too few cells": lambda line: line.rpartition(max((b",", b";", b"\t", b"|"), key=line.count))[0] or None,
    "cut in half": lambda line: line[: len(line) // 2],
    "NUL": lambda line: line[: len(line) // 2] + b"\0" + line[len(line) // 2 :],
    "no UTF-8": lambda line: line[: len(line) // 2] + b"\xff\xfe" + line[len(line) // 2 :],
    "an open quote": lambda line: line + b'"',
    "300,000 letters": lambda line: line + b"x" * 300_000,
    "sequences of a terminal": lambda line: b"\x1b]0;title\x07" + line,
    "no number": lambda line: replaced(line, b"nan"),
    "braces": lambda line: b"{" * 2000,
}


def examples(studies):
    """Yield (study, entry of layouts.yaml, path) of the examples that are one text file of lines."""
    for layouts in sorted(FOLDER.glob("*/layouts.yaml")):
        for one in yaml.safe_load(layouts.read_text()) if not studies or layouts.parent.name in studies else []:
            path = layouts.parent / one["source"]
            if path.is_file() and path.suffix not in (".json", ".parquet", ".root", ".db", ".sqlite"):
                yield layouts.parent.name, one, path


def rows_of(study, one, path, products):
    """(rows kept, {reason: rows} put aside, {reason: rows} rejected) of an extraction and a cleaning."""
    folder = str(path.parent)
    extract = {name: value.replace("{folder}", str(FOLDER / study)) if isinstance(value, str) else value
               for name, value in (one.get("extract") or {}).items()}  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_here(f"{study}/1_extract.ipynb", products, day=str(one["day"]), **extract | {"source": f"{folder}/{path.name}"})
        run_here(f"{study}/2_preprocess.ipynb", products, day=str(one["day"]), **(one.get("preprocess") or {}))
    paths = helpers.study_paths(study, products)
    clean = pd.read_parquet(paths.clean.with_stem(one.get("table", paths.clean.stem)))
    rejected = pd.read_parquet(paths.rejected) if paths.rejected.exists() else pd.DataFrame()
    return len(clean), len(pd.read_csv(paths.raw / "bad_lines.csv")), len(rejected)


def what_came(study, one, path, spoiled):
    """What came of the example with the line `spoiled` before its last one, in words."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder, "source", path.name)
        there.parent.mkdir()
        shutil.copytree(path.parent, there.parent, dirs_exist_ok=True)
        lines = path.read_bytes().splitlines()
        there.write_bytes(b"\n".join([*lines[:-1], *([] if spoiled is None else [spoiled]), lines[-1]]) + b"\n")
        try:
            return rows_of(study, one, there, Path(folder, "products"))
        except Exception as error:  # whatever it is, it is what the campaign looks for
            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"ENDED: {type(error).__name__}: {str(error).splitlines()[0][:150]} ({Path(where.filename).name}:{where.lineno})"


def main(studies):
    tally = Counter()
    for study, one, path in examples(studies):
        before = what_came(study, one, path, None)
        for kind, spoil in KINDS.items():
            lines = path.read_bytes().splitlines()
            spoiled = spoil(lines[-2] if len(lines) > 2 else lines[-1])
            if spoiled is None:
                continue
            after = what_came(study, one, path, spoiled)
            came = after
            if not isinstance(after, str):
                more = [now - then for now, then in zip(after, before, strict=True)]
                came = "put aside" if more[1] > 0 else "rejected" if more[2] > 0 else "kept" if more[0] > 0 else "the same"
                came = came if after[0] >= before[0] else f"LOST: {before} before, {after} now"
            tally[came.partition(":")[0]] += 1
            if came.startswith(("ENDED", "LOST")):
                print(f"{study}: {one['layout']}: {kind}: {came}", flush=True)
    print(", ".join(f"{n} {came}" for came, n in tally.most_common()))


if __name__ == "__main__":
    main(sys.argv[1:])
