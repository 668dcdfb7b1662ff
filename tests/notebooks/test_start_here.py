"""The notebook that a newcomer opens first reads a real night, and says what to do where there is none."""

import pandas as pd
from conftest import run_cells


def test_it_reads_the_night_and_writes_nothing(sample_chain):
    root = sample_chain["products"]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    names, text = run_cells("start_here.ipynb", root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    findings = [pd.read_parquet(path) for path in root.glob("data/findings/*.parquet")]
    assert len(names["findings"]) == sum(map(len, findings)) > 0
    assert set(names["shares"].study) == {"transfers", "accounting", "telemetry", "certification", "tickets"}
    assert names["shares"].share.between(0, 0.5).all()
    assert names["in_use"].skill.notna().all()
    assert (names["times"].seconds > 0).all()
    assert f"**{len(names['incidents'])} incidents**" in text
    assert "Sweep none yet: 0 runs." in text


def test_where_no_night_has_run_it_says_how_to_run_one(tmp_path):
    names, text = run_cells("start_here.ipynb", tmp_path)
    assert "There is no such night yet" in text
    assert "findings" not in names
