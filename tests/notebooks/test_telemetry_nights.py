"""The extraction of telemetry night after night: what has not changed is not read or asked for again, and all is as from nothing."""

import json
import os
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import run_cells

from nightshift.sources.telemetry import node_days, parts, prometheus
from nightshift.sources.telemetry.node_days import WideRows
from nightshift.sources.telemetry.opening import NodeFile

NOTEBOOK = "telemetry/1_extract.ipynb"
DATA = "data/raw/telemetry"
DAYS = pd.date_range("2026-01-27", "2026-01-31", tz="UTC")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def seconds(day, n, step=600):
    """Seconds since 1970 of the first `n` moments of a day."""
    return [int(day.timestamp()) + step * i for i in range(n)]


def write_stores(folder, day, n):
    """What LDMS keeps of a day: odd cells and lines, a header beside, a column of text, and very many processes."""
    rows = [f"{at}.5,500000,n{at // 600 % 2},1,{n},{17 * i % 90},{[-1, 'ERR', 2**32 - 1, 7][i % 4]}" for i, at in enumerate(seconds(day, 40))]
    rows += ["noon,0,n1,1,1,1,1", f"{seconds(day, 1)[0]},0,n1"] if n == 1 else []
    write(folder / f"meminfo.{day:%Y-%m-%d}.csv", "\n".join(["#Time,Time_usec,ProducerName,component_id,job_id,Free,Odd", *rows, ""]))
    lines = [f"{at},0,n1,1,0,fast,{at % 7}" for at in seconds(day, 5)]
    write(folder / f"lustre.{int(day.timestamp())}", "\n".join([*lines, ""]))
    write(folder / f"lustre.HEADER.{int(day.timestamp())}", "#Time,Time_usec,ProducerName,component_id,job_id,how,reads\n")
    many = [f"{at},n1,p{i},{ {7: 'ERR', 8: 2**32 - 1}.get(i, i) }" for at in seconds(day, 3) for i in range(65)]
    write(folder / f"top_{day:%Y-%m-%d}.csv", "\n".join(["timestamp,node_id,name,rss", *many, ""]))


def write_others(folder, day, n):
    """Series of two who scrape, with what is infinite; a GPU; a column of anomalies; values without a name."""
    series = []
    for job, step in (("a", 600), ("b", 1200)):
        for metric in ("load", "disk_ops", "DCGM_FI_DEV_GPU_UTIL"):
            labels = {"__name__": metric, "node": "n2", "job": job} | ({"gpu": "0"} if "GPU" in metric else {"device": "sda"})
            at = seconds(day, 30, step)
            values = [None if i == 3 else float(i * n) for i in range(30)]
            series.append(json.dumps({"metric": labels, "values": values, "timestamps": [1000 * t for t in at]}).replace("9.0", "1e999"))
    write(folder / f"export-{day:%Y-%m-%d}.jsonl", "\n".join([*series, '{"metric":{"a":"b"},"timestamps":[]}', ""]))
    smi = [f"{pd.Timestamp(at, unit='s'):%Y/%m/%d %H:%M:%S}.0, {i % 2}, {i * n} %, 99999999 MiB" for i, at in enumerate(seconds(day, 8))]
    write(folder / f"host=g1/smi-{day:%Y-%m-%d}.csv", "\n".join(["timestamp, index, utilization.gpu [%], memory.used [MiB]", *smi, ""]))
    points = [f"{at},n3,{i},{['none', 'membw'][i > 3]}" for i, at in enumerate(seconds(day, 6))]
    write(folder / f"points-{day:%Y-%m-%d}.csv", "\n".join(["timestamp,node_id,load,anomaly", *points, ""]))
    nameless = [f"{at},n4,{n}" for at in seconds(day, 2)]
    write(folder / f"{n}.csv", "\n".join(["timestamp,node_id,value", *nameless, ""]))


def night(products, source, day, days=3, **parameters):
    """Extract a night: (what the page shows, the status, {part: bytes}, the tables, the paths of the files that were read)."""
    read = []
    with pytest.MonkeyPatch.context() as patch:
        add = NodeFile.add
        patch.setattr(NodeFile, "add", lambda self, path, extraction: read.append(os.path.basename(path)) or add(self, path, extraction))
        names, page = run_cells(NOTEBOOK, products, source=str(source), day=str(day.date()), days=days, **parameters)
    raw = products / DATA
    files = {path.relative_to(raw).as_posix(): path for path in raw.glob("nodes/**/*.parquet")}
    tables = [pd.read_parquet(raw / f"{name}.parquet") for name in ("gpus", "labels")]
    status = json.loads((raw / "status.json").read_text())
    return {"page": page, "warnings": names["RECORDED"].get("warnings"), "status": status, "files": files, "tables": tables, "read": read}


def assert_same(one, other):
    """Whether two nights have found the same, and say the same of it."""
    assert one["status"] == other["status"]
    assert one["page"] == other["page"]
    assert one["warnings"] == other["warnings"]
    assert one["files"].keys() == other["files"].keys()
    assert all(path.read_bytes() == other["files"][name].read_bytes() for name, path in one["files"].items())
    for table, same in zip(one["tables"], other["tables"], strict=True):
        pd.testing.assert_frame_equal(table, same)


def test_a_second_night_reads_its_own_day_and_is_as_one_from_nothing(tmp_path):
    source = tmp_path / "source/**/*"
    for n, day in enumerate(DAYS[:4]):
        write_stores(tmp_path / "source", day, n)
        write_others(tmp_path / "source", day, n)
    first = night(tmp_path / "a", source, DAYS[3])
    left = {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in first["files"].items()}
    write_stores(tmp_path / "source", DAYS[4], 4)
    write_others(tmp_path / "source", DAYS[4], 4)
    second, whole = night(tmp_path / "a", source, DAYS[4]), night(tmp_path / "b", source, DAYS[4])
    assert_same(second, whole)
    assert len(second["warnings"]) >= 4, "of many processes, of numbers that are none, of blanks of GPUs, of nodes that are scraped twice"
    assert len(second["tables"][0]) > 30
    again = [name for name in second["read"] if str(DAYS[4].date()) not in name and str(int(DAYS[4].timestamp())) not in name]
    assert sorted(again) == sorted([*(f"{n}.csv" for n in range(5)), *(f"points-{day:%Y-%m-%d}.csv" for day in DAYS[:4])])
    kept = [name for name in second["files"] if name in left and "node_id=n3" not in name and "node_id=n4" not in name]
    assert len(kept) == 2 * 5, "of two days, memory of two nodes, a file system, processes and an export"
    assert {name: left[name] for name in kept} == {n: (second["files"][n].stat().st_ino, second["files"][n].stat().st_mtime_ns) for n in kept}
    back = night(tmp_path / "a", source, DAYS[3])
    assert back["status"]["rows"] == first["status"]["rows"]
    for table, same in zip(back["tables"], first["tables"], strict=True):
        pd.testing.assert_frame_equal(table, same)


def lines_of(*moments):
    return "\n".join(["timestamp,node_id,load", *(f"{at:%Y-%m-%dT%H:%M:%SZ},n1,{at.hour}" for at in moments), ""])


def test_what_has_changed_or_is_partly_outside_is_read_again(tmp_path):
    files = {day.day: write(tmp_path / f"source/{day.day}.csv", lines_of(day, day + pd.Timedelta(hours=9))) for day in DAYS[1:]}
    write(tmp_path / "source/both.csv", lines_of(DAYS[1], DAYS[4]))
    source, products = tmp_path / "source/*.csv", tmp_path / "products"

    def read(**parameters):
        found = night(products, source, DAYS[4], **parameters)
        assert found["status"]["rows"] == 7, "all but that of the day before the window"
        return sorted(found["read"])

    every = ["28.csv", "29.csv", "30.csv", "31.csv", "both.csv"]
    assert read() == every
    assert read() == []
    assert read(days=3, sampler="x") == every, "which is in the names of the metrics"
    assert read() == every
    times = {path: path.stat().st_mtime_ns for path in (products / DATA / "nodes").rglob("*.parquet")}
    os.utime(files[30])
    assert read() == ["30.csv"], "of another time"
    assert times == {path: path.stat().st_mtime_ns for path in times}, "and what is made of it is the same file as before"
    files[31].write_text(files[31].read_text().replace(",9", ",8"))
    assert read() == ["31.csv"], "of other content"
    for part in (products / DATA).glob("nodes/*/day=2026-01-29/*"):
        part.write_bytes(part.read_bytes())
    assert read() == ["29.csv"], "whose part is not as it was left"
    for part in (products / DATA).glob("nodes/*/day=2026-01-30/*"):
        part.unlink()
    assert read() == ["30.csv"], "whose part is gone"
    (products / DATA / "notes/gpus.json").unlink()
    assert read() == [], "they have no GPUs"
    for note in (products / DATA / "notes").glob("*.parquet"):
        note.write_bytes(note.read_bytes()[:-9])
    assert read() == every, "whose notes are damaged"
    wider = night(products, source, DAYS[4], days=4)
    assert (sorted(wider["read"]), wider["status"]["rows"]) == (["28.csv", "both.csv"], 10)


def test_a_disk_without_links_gets_copies_of_the_same_times(tmp_path, monkeypatch):
    write(tmp_path / "a.csv", lines_of(DAYS[4]))

    def refuse(*_):
        raise OSError(95, "not supported")

    first = night(tmp_path, tmp_path / "a.csv", DAYS[4])["files"]
    times = {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in first.items()}
    monkeypatch.setattr(os, "link", refuse)
    second = night(tmp_path, tmp_path / "a.csv", DAYS[4])
    assert (second["read"], {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in second["files"].items()}) == ([], times)


def test_equal_rows_of_a_day_are_equal_bytes_whatever_else_is_in_the_source(tmp_path, monkeypatch):
    """Rows of two nodes and three days in runs of some 50 rows and row groups of 64, in pages of any length, and with another day before them."""
    monkeypatch.setattr(node_days, "RUN", 50 * 5 * 8)
    monkeypatch.setattr(node_days, "GROUP", 64 * 4)
    rng, window = np.random.default_rng(0), [DAYS[0], DAYS[4]]
    n = 900
    table = pd.DataFrame({"timestamp": DAYS[1] + pd.to_timedelta(np.sort(rng.integers(0, 2 * 86400, n)), unit="s"), "job_id": None})
    table = table.assign(node_id=rng.choice(["n1", "n2"], n), x=rng.normal(size=n), y=np.where(rng.random(n) < 0.2, np.nan, 1.0))
    table.loc[::3, "job_id"] = "7"
    before = table.assign(timestamp=table.timestamp - pd.Timedelta(days=1), node_id="n2")
    found = []
    for name, frame, cuts in (("a", table, [0, n]), ("b", pd.concat([before, table], ignore_index=True), [0, 7, 300, 1777, 2 * n])):
        with parts.extraction_into(tmp_path / name, window) as extraction:
            rows = WideRows(extraction.folder / "wide", 2)
            for begin, end in pairwise(cuts):
                page = frame.iloc[begin:end].reset_index(drop=True)
                rows.add(page, [pd.Series(page[one]).pipe(parts.pa.array, from_pandas=True) for one in ("x", "y")])
            rows.write(extraction, metrics=["x", "y"], where="here")
            (extraction.folder / "labels.parquet").touch()
        found.append({path.relative_to(tmp_path / name).parent.as_posix(): path for path in (tmp_path / name / "nodes").rglob("*.parquet")})
    assert len(found[0]) == 4
    assert set(found[1]) - set(found[0]) == {"nodes/node_id=n2/day=2026-01-27"}
    assert all(path.read_bytes() == found[1][name].read_bytes() for name, path in found[0].items() if "n1" in name or "29" in name)
    part = parts.pq.ParquetFile(found[0]["nodes/node_id=n1/day=2026-01-28"])
    assert [part.metadata.row_group(i).num_rows for i in range(part.num_row_groups)][:3] == [64, 64, 64]
    of_day = table[(table.node_id == "n1") & (table.timestamp < DAYS[2])].reset_index(drop=True)
    found = part.read().to_pandas()
    assert found.timestamp.tolist() == of_day.timestamp.tolist()
    assert found.x.tolist() == of_day.x.tolist()
    assert found.y.isna().tolist() == of_day.y.isna().tolist()
    assert found.job_id.isna().tolist() == of_day.job_id.isna().tolist()


def test_days_of_a_prometheus_are_asked_for_once_they_have_settled(tmp_path, monkeypatch):
    asked, warnings = [], []

    def connect(url, *, step_s, warned, **_):
        def ask(query, begin, n):
            asked.append(str(pd.Timestamp(begin, unit="s").date()))
            warned.update(warnings)
            labels = {"instance": "n1:9100", "gpu": "0", "Hostname": "n1"}
            silent = "nightshift_training" in query or pd.Timestamp(begin, unit="s", tz="UTC") < DAYS[1]
            return [] if silent else [(labels, np.arange(n), begin + 1.0 * np.arange(n)), (labels | {"job": "b"}, np.arange(1), np.ones(1))]

        return ask

    monkeypatch.setattr(prometheus, "connect", connect)

    def look(products, day, hour=3, **parameters):
        asked.clear()
        now = day + pd.Timedelta(days=1, hours=hour)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prometheus.pd.Timestamp, "now", lambda *_: now)
            parameters = {"step_s": 3600.0, "metrics": {"load": "load", "x": "y"}} | parameters
            found = night(products, "http://127.0.0.1:9", day, days=4, **parameters)
        return found, sorted(set(asked))

    def days(*numbers):
        return [f"2026-01-{number}" for number in numbers]

    assert look(tmp_path / "a", DAYS[3])[1] == days(27, 28, 29, 30)
    second, of_second = look(tmp_path / "a", DAYS[4])
    assert of_second == days(29, 30, 31), "its own day, and the last two of the night before"
    assert len(asked) == 3 * (2 + 1 + 5)
    whole = look(tmp_path / "b", DAYS[4])[0]
    assert_same(second, whole)
    assert (whole["status"]["rows"], whole["status"]["gpu_rows"]) == (96, 96)
    assert look(tmp_path / "a", DAYS[4], hour=35)[1] == days(30, 31), "29 was asked for long enough after its end"
    warnings.append("a store is down")
    assert look(tmp_path / "a", DAYS[4], hour=35)[1] == days(31), "30 was, too"
    assert look(tmp_path / "a", DAYS[4], hour=60)[1] == days(31), "which came with a warning"
    assert look(tmp_path / "a", DAYS[4], hour=60)[1] == days(31)
    warnings.clear()
    assert look(tmp_path / "a", DAYS[4], hour=60)[1] == days(31)
    assert look(tmp_path / "a", DAYS[4], hour=60)[1] == []
    assert look(tmp_path / "a", DAYS[4], hour=60, step_s=1800.0)[1] == days(28, 29, 30, 31), "other moments"
    assert look(tmp_path / "a", DAYS[3], hour=84, step_s=1800.0)[1] == days(27), "and a day without rows every time"
    assert look(tmp_path / "a", DAYS[3], hour=84, step_s=1800.0)[1] == days(27)
