"""Lumisections night after night: what has not changed is not read again, and nothing differs from a night that reads everything."""

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import run_cells

from nightshift.sources.certification.lumisections import Extraction

DATA = "data/raw/certification"
TABLES = ("histograms", "wide", "lumisections")
DAYS = [f"2026-01-{day}" for day in range(26, 32)]


def write_day(folder, n):
    """Histograms of two runs of a day, and of the end of one of the day before, and one row that has no run; luminosities of these runs."""
    runs = [(100 * n + run, ls) for run in (1, 2) for ls in (1, 2, 3)] + [(100 * n - 98, 4)] * (n > 0)
    rows = [(f"{name}", run, ls, element, f"[{run}, {ls}, 1]", 0, 1, DAYS[n]) for name in ("A", "B") for run, ls in runs for element in ("x", "y")]
    rows.insert(3, ("A", 0, 1, "x", "[1]", 0, 1, ""))
    rows[5] = (*rows[5][:-1], "soon")  # no time, and one of a section of which another row says it
    names = ["dataset", "run", "lumisection", "element", "contents", "x_min", "x_max", "time"]
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=names).to_csv(folder / f"{DAYS[n]}.csv", index=False)
    sections = pd.DataFrame(runs, columns=["run", "ls"]).assign(time=f"{DAYS[n]}T12:00:00Z", recorded=0.1 * (n + 1), taken=1)
    sections.loc[1, "taken"] = 0
    sections.to_csv(folder / f"lumi-{DAYS[n]}.csv", index=False)


def night(products, source, n, monkeypatch, *, days=3, **parameters):
    """What a night leaves and shows; read : names of the files that it opened."""
    read, of_source, of_lumi = [], Extraction.read_source, Extraction.read_luminosity
    monkeypatch.setattr(Extraction, "read_source", lambda self, path, opened: read.append(Path(path).name) or of_source(self, path, opened))
    monkeypatch.setattr(Extraction, "read_luminosity", lambda self, path, opened: read.append(Path(path).name) or of_lumi(self, path, opened))
    luminosity = {"luminosity": str(source / "lumi-*.csv")} if any(source.glob("lumi-*")) else {}
    _, page = run_cells("certification/1_extract.ipynb", products, source=str(source / "2*"), day=DAYS[n], days=days, **luminosity, **parameters)
    monkeypatch.undo()
    raw = products / DATA
    assert not [*raw.glob(".*"), *raw.glob("new")]
    tables = [pd.read_parquet(raw / f"{name}.parquet") for name in TABLES]
    pd.testing.assert_frame_equal(pq.read_table(raw / "histograms.parquet").to_pandas(), tables[0])
    parts = {path.name[7:]: path for path in sorted((raw / "histograms.parquet").iterdir())}
    left = {name: (raw / name).read_text() for name in ("status.json", "bad_lines.csv")}
    return {"read": sorted(read), "page": page, "tables": tables, "parts": parts, **left}


def assert_same(one, other):
    """Assert that two nights say the same and leave the same bytes."""
    for table, same in zip(one["tables"], other["tables"], strict=True):
        pd.testing.assert_frame_equal(table, same, check_exact=True)
    assert [one[name] for name in ("status.json", "bad_lines.csv", "page")] == [other[name] for name in ("status.json", "bad_lines.csv", "page")]
    assert [(path.name, path.read_bytes()) for path in one["parts"].values()] == [(path.name, path.read_bytes()) for path in other["parts"].values()]


def test_a_second_night_reads_its_own_day_and_is_as_one_from_nothing(tmp_path, monkeypatch):
    source = tmp_path / "source"
    for n in range(5):
        write_day(source, n)
    first = night(tmp_path / "a", source, 4, monkeypatch)
    left = {name: path.stat().st_mtime_ns for name, path in first["parts"].items()}
    assert len(first["read"]) == 10
    write_day(source, 5)
    second, whole = night(tmp_path / "a", source, 5, monkeypatch), night(tmp_path / "b", source, 5, monkeypatch)
    assert second["read"] == [f"{DAYS[5]}.csv", f"lumi-{DAYS[5]}.csv"]
    assert_same(second, whole)
    histograms = second["tables"][0]
    assert histograms.run.unique().tolist() == [202, 301, 302, 401, 402, 501, 502], "the first of them ended in the window; its part is cut"
    assert histograms[histograms.run == 202].lumisection.unique().tolist() == [1, 2, 3, 4], "of the files of two days"
    assert (json.loads(second["status.json"])["bad_lines"], json.loads(second["status.json"])["rows"]) == (6, len(histograms))
    kept = [name for name, path in second["parts"].items() if left.get(name) == path.stat().st_mtime_ns]
    assert (len(second["parts"]), len(kept)) == (4, 2), "of four days two as they were, one is new, and one cut"
    back = night(tmp_path / "a", source, 4, monkeypatch)
    assert back["read"] == [f"{day}.csv" for day in DAYS[1:3]], "whose parts lack runs of this window"
    assert back["tables"][0].run.unique().tolist() == [102, 201, 202, 301, 302, 401], "the next one ends after it"


def test_what_has_changed_is_read_again(tmp_path, monkeypatch):
    source, products = tmp_path / "source", tmp_path / "products"
    for n in (3, 4, 5):
        write_day(source, n)
    every = [*(f"{day}.csv" for day in DAYS[3:]), *(f"lumi-{day}.csv" for day in DAYS[3:])]

    def read(**parameters):
        return night(products, source, 5, monkeypatch, **parameters)["read"]

    first = night(products, source, 5, monkeypatch)
    assert (first["read"], read()) == (every, [])
    assert read(columns={"pileup": "mu"}) == every, "which may be in any of them"
    assert read() == every
    os.utime(source / f"{DAYS[4]}.csv")
    assert read() == [f"{DAYS[4]}.csv"]
    parts = sorted((products / DATA / "histograms.parquet").iterdir())
    parts[0].write_bytes(parts[0].read_bytes())
    parts[2].unlink()
    assert read() == [f"{DAYS[3]}.csv", f"{DAYS[5]}.csv"], "whose parts are not as they were left"
    for note in (products / DATA / "notes").glob("luminosity-*"):
        note.write_bytes(note.read_bytes()[:-9])
    assert read() == every[3:], "whose notes are damaged"
    assert_same(night(products, source, 5, monkeypatch), first)
    (source / f"{DAYS[3]}.csv").unlink()
    assert len(night(products, source, 5, monkeypatch)["parts"]) == 2, "of a file that is gone nothing stays"


def test_wide_tables_of_several_columns_are_kept_too(tmp_path, monkeypatch):
    source, cells = tmp_path / "source", {"run": [1, 1], "ls": [1, 2], "dcs": ["true", None], "rate": [1.5, None], "unit": ["", "x"]}
    source.mkdir()
    pd.DataFrame(cells).to_csv(source / "2a.csv", index=False)
    pq.write_table(pa.table({"run": [2, 2, 1], "ls": [1, 0, 1], "golden": [True, None, False], "jets": [1, 2, 3]}), source / "2b.parquet")
    first = night(tmp_path / "a", source, 5, monkeypatch, days=0)
    assert first["tables"][1].columns.tolist() == ["dataset", "run", "lumisection", "rate", "jets"]
    assert first["tables"][1].fillna(-1).iloc[:, 1:].to_numpy().tolist() == [[1, 1, 1.5, -1], [1, 2, -1, -1], [2, 1, -1, 1], [1, 1, -1, 3]]
    pd.DataFrame({"run": [3], "ls": [1], "rate": [2.5]}).to_csv(source / "2c.csv", index=False)
    second = night(tmp_path / "a", source, 5, monkeypatch, days=0)
    assert second["read"] == ["2c.csv"]
    assert_same(second, night(tmp_path / "b", source, 5, monkeypatch, days=0))
