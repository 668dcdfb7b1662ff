"""Every layout that docs/sources.md lists, by an example of its own: what `check` says of it, what is read, kept and rejected, and values.

tests/examples/<study>/layouts.yaml has one entry per layout, with the files beside it:

    - layout: Rucio transfer events, as hermes sends them to a queue     # as the table of docs/sources.md names it
      source: hermes_queue.jsonl          # file or pattern below the folder of the study; {folder} in other parameters is that folder
      extract: {}                         # further parameters of 1_extract
      preprocess: {}                      # of 2_preprocess
      day: 2026-01-31
      check: Rucio events                 # what a line of `check` holds
      read: 4                             # rows of the raw table, of GPUs too
      put_aside: {no JSON object: 1}      # lines that 1_extract could not read, by reason
      rejected: {unknown size: 1}         # of 2_preprocess, by reason
      table: telemetry_gpus               # the clean table, where it is not called after the study
      clean: 3                            # rows of the clean table
      values: {src: [A_DISK, A_DISK, B_DISK], duration_s: [60, 60, 40]}  # columns of the clean table, in its order; times as text
"""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, run_here

import helpers
from nightshift.check import check_study
from nightshift.yaml_files import load_yaml

FOLDER = REPOSITORY / "tests/examples"
LAYOUTS = [(path.parent.name, one) for path in sorted(FOLDER.glob("*/layouts.yaml")) for one in load_yaml(path)]


@pytest.fixture(params=LAYOUTS, ids=[f"{study}: {one['layout']}" for study, one in LAYOUTS])
def example(request):
    """(study, entry, parameters of 1_extract)."""
    study, one = request.param
    folder = FOLDER / study
    extract = {"source": str(folder / one["source"])} | {
        name: value.replace("{folder}", str(folder)) if isinstance(value, str) else value for name, value in (one.get("extract") or {}).items()
    }
    return study, one, extract


def test_check_tells_the_layout(example, tmp_path):
    study, one, extract = example
    report = check_study(study, {"extract": extract, "preprocess": one.get("preprocess") or {}}, day=str(one["day"]), products=str(tmp_path))
    assert any(one["check"] in line for line in report.lines), report.lines
    assert not [line for line in report.problems if "are needed" not in line], "an example is short, and else nothing is wrong with it"


def test_nothing_is_lost_and_the_values_are_right(example, tmp_path):
    study, one, extract = example
    run_here(f"{study}/1_extract.ipynb", tmp_path, day=str(one["day"]), **extract)
    run_here(f"{study}/2_preprocess.ipynb", tmp_path, day=str(one["day"]), **(one.get("preprocess") or {}))
    paths = helpers.study_paths(study, tmp_path)
    status = json.loads((paths.raw / "status.json").read_text())
    assert status["rows"] + status.get("gpu_rows", 0) == one["read"]
    assert reasons(paths.rejected, pd.read_parquet) == (one.get("rejected") or {})
    assert reasons(paths.raw / "bad_lines.csv", pd.read_csv) == (one.get("put_aside") or {})
    clean = pd.read_parquet(paths.clean.with_stem(one.get("table", paths.clean.stem)))
    assert len(clean) == one["clean"]
    for column, values in one["values"].items():
        assert_column(clean[column], values)


def reasons(path, read):
    """{reason: rows} of a file of what is not used, one by one or counted; {} where there is none."""
    table = read(path) if path.exists() else pd.DataFrame({"reason": []})
    if "rows" in table:
        return table.groupby("reason").rows.sum().to_dict()
    return table["rejected_because" if "rejected_because" in table else "reason"].value_counts().to_dict()


def assert_column(column, values):
    """Assert that a column of the clean table has these values, numbers to six digits, missing ones as null."""
    assert len(column) == len(values)
    for there, value in zip(column, values, strict=True):
        if value is None:
            assert pd.isna(there), (column.name, there)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert np.isclose(there, value, rtol=1e-6), (column.name, there, value)
        else:
            assert str(there) == str(value), (column.name, there, value)


def test_every_layout_has_its_row_in_the_documents():
    documented = (REPOSITORY / "docs/sources.md").read_text()
    assert not [one["layout"] for _, one in LAYOUTS if f"| {one['layout']} |" not in documented]
    assert len({(study, one["layout"]) for study, one in LAYOUTS}) == len(LAYOUTS)
