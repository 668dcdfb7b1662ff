"""What is executed outside the chain reads the night and changes nothing of it."""

import os

import pandas as pd
import pytest

from helpers import atomic, project_path, study_paths, write_json, write_parquet
from nightshift import tryout


@pytest.fixture
def sentences(monkeypatch):
    """What is shown by a process that the chain did not start."""
    monkeypatch.delenv("NIGHTSHIFT_RUN")
    monkeypatch.setattr(tryout, "shown", set())
    lines = []
    monkeypatch.setattr("IPython.display.display", lambda what, raw=False: lines.append(what.data))
    return lines


def night(root):
    """A products folder in which the chain has run."""
    write_parquet(pd.DataFrame({"x": [1, 2]}), root / "data/clean/left.parquet")
    write_parquet(pd.DataFrame({"x": [1]}), root / "data/findings/left.parquet")
    write_json({"day": "2026-01-31"}, root / "models/left/metrics.json")
    for day in ("2026-01-30", "2026-01-31"):  # of three bytes each, and six together
        (root / f"data/raw/left/nodes/node_id=a/day={day}").mkdir(parents=True)
        (root / f"data/raw/left/nodes/node_id=a/day={day}/part.parquet").write_bytes(b"raw")
    (root / "data/raw/left/.0a1b2c3d-half").touch()
    write_json({}, root / "reports/2026-01-31/run.json")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("copied_bytes", [2**24, 4])
def test_a_try_out_reads_the_night_and_writes_elsewhere(tmp_path, sentences, monkeypatch, copied_bytes):
    monkeypatch.setattr(tryout, "COPIED_BYTES", copied_bytes)
    before = night(tmp_path)
    paths = study_paths("left", tmp_path)
    assert paths.root == tmp_path / "try"
    assert pd.read_parquet(paths.clean).x.tolist() == [1, 2]
    assert (paths.raw / "nodes/node_id=a/day=2026-01-31/part.parquet").read_bytes() == b"raw"
    assert not list(paths.root.rglob(".*half")), "no half-written file is a product"
    assert paths.findings.is_symlink() == (copied_bytes == 4)
    assert (paths.raw / "nodes/node_id=a/day=2026-01-31/part.parquet").is_symlink() == (copied_bytes == 4), "a table of many parts is as large as all"
    if copied_bytes > 4:
        paths.findings.write_bytes(b"in place, as somebody's own cell may do it")
    write_parquet(pd.DataFrame({"x": [7]}), paths.findings)
    (paths.models / "metrics.json").unlink()
    with atomic(paths.models / "network.keras") as temporary:
        temporary.write_bytes(b"another")
    os.replace(paths.raw / "nodes", paths.raw / "old")
    assert pd.read_parquet(study_paths("left", tmp_path).findings).x.tolist() == [7], "the next step reads what this one wrote"
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert after == before
    [line] = sentences
    assert line.startswith("**Try-out:** this run reads the products of the night below")


def test_a_newer_night_replaces_what_was_tried_and_what_it_lost_goes(tmp_path, sentences):
    night(tmp_path)
    paths = study_paths("left", tmp_path)
    write_parquet(pd.DataFrame({"x": [7]}), paths.findings)
    write_parquet(pd.DataFrame({"x": [3]}), tmp_path / "data/findings/left.parquet")
    later = paths.findings.stat().st_mtime + 5
    os.utime(tmp_path / "data/findings/left.parquet", (later, later))
    (tmp_path / "models/left/metrics.json").unlink()
    paths = study_paths("left", tmp_path)
    assert pd.read_parquet(paths.findings).x.tolist() == [3]
    assert not os.path.lexists(paths.models / "metrics.json")


def test_where_the_chain_never_ran_and_in_its_own_kernels_notebooks_write_where_they_are_told(tmp_path, sentences, monkeypatch):
    write_parquet(pd.DataFrame({"x": [1]}), tmp_path / "data/clean/left.parquet")
    assert study_paths("left", tmp_path).root == tmp_path
    night(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_RUN", "1")
    assert study_paths("left", tmp_path).root == tmp_path
    assert sentences == []


def test_the_repository_keeps_its_try_outs_among_the_products(monkeypatch):
    assert tryout.tryout_folder(project_path("")) == project_path("products/try")


def test_a_parameter_that_is_left_as_it_is_means_less_by_hand_than_in_the_night(monkeypatch):
    shown = []
    values = {"in_night": [1, 2, 3], "by_hand": [1], "show": lambda sentence, **names: shown.append(sentence.format(**names))}
    monkeypatch.delenv("NIGHTSHIFT_RUN")
    assert tryout.usual("seeds", [], [], **values) == [1]
    assert shown == ["**Try-out:** to take less time, the parameter seeds is [1] here; in the night it is [1, 2, 3]."]
    monkeypatch.setenv("NIGHTSHIFT_RUN", "1")
    assert tryout.usual("seeds", [], [], **values) == [1, 2, 3]
    assert tryout.usual("seeds", [7], [], **values) == [7]
    assert len(shown) == 1
