"""Whatever stands in one row more of a documented layout: all other rows are read, nothing is lost, and a study that ends does so in one line.

Each reader of text is driven by the same property, on the examples of tests/examples: a row of its own is damaged in a way that Hypothesis draws, and
put in before the last one. NIGHTSHIFT_EXAMPLES sets how many are drawn; then they are other ones in each run.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY, run_here
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import helpers
from bench import hostile_rows
from nightshift.yaml_files import load_yaml

FOLDER = REPOSITORY / "tests/examples"
BINARY = (".json", ".parquet", ".root", ".db", ".sqlite")  # a JSON document is one value, of which no row can be damaged alone
EXAMPLES = [
    (path.parent.name, one)
    for path in sorted(FOLDER.glob("*/layouts.yaml"))
    for one in load_yaml(path)
    if (path.parent / one["source"]).is_file() and not one["source"].endswith(BINARY)
]
DRAWN = os.environ.get("NIGHTSHIFT_EXAMPLES")
VALUES = [b"", b"null", b"nan", b"-1", b"9" * 20, b"9" * 400, b"1e308", b"-0", b"\xff\xfe", b"\\ud800", b"\x1b]0;x\x07", b"{", b"[[", b'"', b"=1+1"]


@st.composite
def damaged(draw, line):
    """A line of bytes with one thing wrong: a part of it cut away, doubled, or replaced by a value that does not belong there."""
    begin = draw(st.integers(0, len(line)))
    end = draw(st.integers(begin, min(len(line), begin + 40)))
    how = draw(st.sampled_from(["cut off", "cut out", "doubled", "replaced", "bytes"]))
    value = draw(st.sampled_from(VALUES)) if how == "replaced" else draw(st.binary(max_size=12)) if how == "bytes" else b""
    parts = {"cut off": line[:begin], "cut out": line[:begin] + line[end:], "doubled": line[:end] + line[begin:]}
    return parts.get(how, line[:begin] + value + line[end:]).replace(b"\n", b" ").replace(b"\r", b" ")


def written(folder, study, one, extra):
    """Copy an example into `folder` with one line more before its last one; the parameters of its extraction."""
    source = FOLDER / study / one["source"]
    shutil.copytree(source.parent, folder, dirs_exist_ok=True)
    lines = source.read_bytes().splitlines()
    (folder / source.name).write_bytes(b"\n".join([*lines[:-1], extra, lines[-1]]) + b"\n")
    named = (one.get("extract") or {}).items()
    more = {name: value.replace("{folder}", str(FOLDER / study)) if isinstance(value, str) else value for name, value in named}
    return more | {"source": str(folder / source.name)}


def read_and_put_aside(study, products):
    """(rows of the raw tables, lines that could not be read) of an extraction."""
    raw = helpers.study_paths(study, products).raw
    status = json.loads((raw / "status.json").read_text())
    aside = pd.read_csv(raw / "bad_lines.csv")
    return status["rows"] + status.get("gpu_rows", 0), int(aside["rows"].sum()) if "rows" in aside else len(aside)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Arrow's own, of a row that it cannot decode
@settings(
    max_examples=int(DRAWN or 24),
    derandomize=not DRAWN,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.sampled_from(EXAMPLES), st.data())
def test_a_damaged_row_costs_no_other_row_and_no_study_without_a_line(example, data):
    study, one = example
    line = (FOLDER / study / one["source"]).read_bytes().splitlines()[-1]
    extra = data.draw(damaged(line))
    note(f"{study}: {one['layout']}: {extra!r}")
    with tempfile.TemporaryDirectory() as folder:
        source, products = Path(folder, "source"), Path(folder, "products")
        extract = written(source, study, one, extra)
        try:
            run_here(f"{study}/1_extract.ipynb", products, day=str(one["day"]), **extract)
            run_here(f"{study}/2_preprocess.ipynb", products, day=str(one["day"]), **(one.get("preprocess") or {}))
        except (AssertionError, OSError, ValueError) as error:  # of any other kind is a traceback that nobody is meant to see
            line = str(error)
            assert len(line.splitlines()) == 1
            assert "lost" not in line, "kept and rejected are not what was read"
            return
        read, aside = read_and_put_aside(study, products)
    assert read + aside >= one["read"] + sum((one.get("put_aside") or {}).values())


COUNTED = [  # a layout or two of each study whose rows are what is counted; bench/hostile_rows.py has them all
    *("accounting: flux jobs --json", "accounting: GRACC summary records", "certification: DIALS, a page of its API"),
    *("telemetry: LDMS store_csv, milliseconds", "telemetry: nvidia-smi, CSV of a query", "tickets: GitLab issues, CSV"),
    *("tickets: Jira, answer of a search", "transfers: Rucio events, one JSON object a line"),
    # and one of each that is no text
    *("accounting: accounting database of an ARC computing element", "tickets: osTicket, copy of its database in SQLite"),
    *("certification: DIALS, to_pandas saved as Parquet", "certification: histograms in ROOT files of the DQM GUI"),
    *("telemetry: Taxonomist runs", "transfers: Parquet with hits of a search as structs"),
]


@pytest.mark.parametrize("layout", COUNTED)
def test_a_hundred_hostile_texts_are_a_row_each(layout):
    study, _, name = layout.partition(": ")
    [one] = [one for one in load_yaml(FOLDER / study / "layouts.yaml") if one["layout"] == name]
    written, read, aside, _, left, is_clean = hostile_rows.counts(study, one)
    assert written > 100
    assert read + aside + left >= written
    assert is_clean
