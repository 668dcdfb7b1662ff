"""Reading files of node metrics, this revision against an earlier one in one run: seconds of a processor, their ratio, and the peak of memory.

    python -m bench.series_files [REVISION [FACTOR]]    # from the repository; by default the revision before series were read by parts
    python -m bench.series_files whole [FACTOR]         # sources of many values through 1_extract as it is; FACTOR 0.01 is for a try

Each file is read by a process of its own, in turn by both revisions, the earlier one in a worktree of git; the rows must be equal. Then this
revision reads files FACTOR times longer (10 by default), whose peak must stay below 1 GiB. Ratios are comparable, seconds are this machine's.

`whole` takes partitions of ExaMon with 20 million values of 500 nodes, a CSV of nvidia-smi of 1 GB and one of LDMS of 1 GB, each through the
notebook 1_extract in a process of its own, and prints what it peaked at, and how much more that is than for a file of two rows.
"""

import json
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

REVISION, RUNS, BAR_MIB = "1b76378", 2, 1024
T0 = 1769853600  # 2026-01-31 10:00 UTC
READ = """
import hashlib, resource, sys, time
from pathlib import Path
import pandas as pd
import pyarrow.dataset as ds
from nightshift.sources.base import file_sources, source_of
from nightshift.sources.telemetry.parts import extraction_into
path, folder, compare = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "compare"
window = [pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp("2027-01-01", tz="UTC")]
sources = file_sources("telemetry", {"columns": {}, "node_label": "instance", "job_label": ""})
begun = time.process_time()
with extraction_into(folder / "raw", window) as extraction:
    source_of(sources, path).extract(path, extraction)
    pd.DataFrame().to_parquet(extraction.folder / "labels.parquet")
seconds, peak = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
values, rows, digest = sum(n for n, _ in extraction.measured.values()), 0, ""
if compare:
    table = ds.dataset(folder / "raw" / "nodes", partitioning="hive").to_table().to_pandas()
    table = table.sort_values(["node_id", "timestamp"]).reset_index(drop=True)
    numbers = table.select_dtypes(float)
    cells = [table.node_id.astype(str), table.timestamp.astype(str), numbers[sorted(numbers)].round(6).astype(str)]
    digest = hashlib.sha256(pd.util.hash_pandas_object(pd.concat(cells, axis=1), index=False).to_numpy().tobytes()).hexdigest()
    rows = len(table)
print(rows, values, seconds, peak / 1024, digest)
"""


def series(n_nodes, n_metrics, n_moments, rng):
    """Yield (labels, times, values) of made metrics of nodes."""
    for node in range(n_nodes):
        for metric in range(n_metrics):
            labels = {"__name__": f"node_metric_{metric}", "instance": f"nid{node:05d}:9100", "job": "node"}
            yield labels, T0 + 15 * np.arange(n_moments), np.round(rng.normal(50, 5, n_moments), 3)


def write_answer(path, factor, rng):
    """Write one answer of query_range, with an array of all series."""
    with open(path, "w") as out:
        out.write('{"status":"success","data":{"resultType":"matrix","result":[')
        for n, (labels, at, values) in enumerate(series(10, 5 * factor, 4000, rng)):
            pairs = [[int(t), str(v)] for t, v in zip(at, values, strict=True)]
            out.write("," * (n > 0) + json.dumps({"metric": labels, "values": pairs}, separators=(",", ":")))
        out.write("]}}\n")


def write_export(path, factor, rng):
    """Write lines of VictoriaMetrics' export, a series each; all of one node."""
    with open(path, "w") as out:
        for labels, at, values in series(1, 20, 10_000 * factor, rng):
            record = {"metric": labels, "values": values.tolist(), "timestamps": (at * 1000).tolist()}
            out.write(json.dumps(record, separators=(",", ":")) + "\n")


def write_pages(path, factor, rng):
    """Write pages of an exporter one after another, each below its header."""
    with open(path, "w") as out:
        for moment in range(1000 * factor):
            out.write(f"HTTP/1.1 200 OK\r\nDate: {formatdate(T0 + 15 * moment, usegmt=True)}\r\n\r\n# TYPE node_metric_0 gauge\n")
            out.writelines(f'node_metric_{i}{{host="nid{i % 4:05d}"}} {value:.3f}\n' for i, value in enumerate(rng.normal(50, 5, 200)))


def write_examon(path, factor, rng):
    """Write a partition of ExaMon: one metric of many nodes, in the order of times."""
    n, nodes = 300_000 * factor, 980
    at = (T0 + 20 * (np.arange(n) // nodes)).astype("datetime64[s]")
    table = {"timestamp": at.astype("datetime64[ms]"), "value": rng.integers(0, 500, n).astype(str), "node": (np.arange(n) % nodes).astype(str)}
    pq.write_table(pa.table(table), path)


FILES = {
    "answer.json": write_answer,
    "export.jsonl": write_export,
    "pages.txt": write_pages,
    "plugin=ipmi_pub/metric=p0_power/a_0.parquet": write_examon,
}

WHOLE = """
import json, resource, sys, time
from pathlib import Path
import IPython.display
source, products = sys.argv[1:3]
IPython.display.display = lambda *what, **how: None
names, begun = {}, time.process_time()
for cell in json.loads(Path("notebooks/telemetry/1_extract.ipynb").read_text())["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= {"source": source, "products": products, "day": "2026-03-01", "labels": ""}
seconds, peak = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(names["n_rows"] + names["n_gpu_rows"], sum(n for n, _ in names["measured"].values()), seconds, peak / 1024)
"""


def write_partitions(folder, factor, rng):
    """Write partitions of ExaMon: 20 metrics of 500 nodes, 2,000 moments at factor 1, a file each."""
    moments = max(int(2000 * factor), 2)
    for metric in range(20):
        path = folder / f"year_month=26-01/plugin=ganglia_pub/metric=metric_{metric:02d}/a_0.parquet"
        path.parent.mkdir(parents=True)
        at = (T0 + 20 * np.repeat(np.arange(moments), 500)).astype("datetime64[s]").astype("datetime64[ms]")
        value = rng.normal(50, 5, len(at)).round(3).astype(str)
        pq.write_table(pa.table({"timestamp": at, "value": value, "node": np.tile(np.arange(500), moments).astype(str)}), path)


def write_smi(folder, factor, rng):
    """Write what nvidia-smi writes of eight GPUs of one node, 1 GB at factor 1."""
    path = folder / "host=gpu01/gpus.csv"
    path.parent.mkdir(parents=True)
    names = "timestamp, index, utilization.gpu [%], memory.used [MiB], memory.total [MiB], power.draw [W], temperature.gpu"
    lines = [f", {gpu}, {rng.integers(100)} %, {rng.integers(80_000)} MiB, 81559 MiB, {rng.normal(300, 50):.2f} W, 55\n" for gpu in range(8)]
    with open(path, "w") as out:
        out.write(names + "\n")
        for moment in range(max(int(1_600_000 * factor), 2)):
            at = np.datetime_as_string(np.datetime64(T0 + moment, "s")).replace("-", "/").replace("T", " ")
            out.writelines(f"{at}.000{line}" for line in lines)


def write_ldms(folder, factor, rng):
    """Write what store_csv of LDMS writes of 200 nodes and 50 metrics in the order of times, 1 GB at factor 1."""
    rows = [",".join(f"{number}" for number in rng.integers(0, 2**30, 50)) for _ in range(200)]
    with open(folder / "meminfo.csv", "w") as out:
        out.write("#Time,Time_usec,ProducerName,component_id,job_id,app_id," + ",".join(f"metric_{n}" for n in range(50)) + "\n")
        for moment in range(max(int(9_400 * factor), 2)):
            at = T0 + 15 * moment
            out.writelines(f"{at}.001001,1001,nid{node:05d},{node},0,0,{row}\n" for node, row in enumerate(rows))


SOURCES = {"partitions": (write_partitions, "**/*.parquet"), "nvidia-smi": (write_smi, "**/*.csv"), "LDMS": (write_ldms, "*.csv")}


def extract_whole(write, pattern, factor):
    """Write a source and take it through 1_extract: (MB of its files, rows, values, seconds, MiB)."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as products:
        write(Path(folder), factor, np.random.default_rng(0))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
        command = [sys.executable, "-c", WHOLE, f"{folder}/{pattern}", products]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return size, *map(float, done.stdout.split()[-4:])


def measure_whole(factor):
    """Print the peak of memory of 1_extract on each of SOURCES."""
    print(f"{'source':<14}{'MB':>7}{'rows':>13}{'values':>13}{'seconds':>9}{'MiB':>7}{'more, MiB':>11}", flush=True)
    for name, (write, pattern) in SOURCES.items():
        least = extract_whole(write, pattern, 0)[-1]
        size, rows, values, seconds, mib = extract_whole(write, pattern, factor)
        line = f"{name:<14}{size:>7,.0f}{rows:>13,.0f}{values:>13,.0f}{seconds:>9.0f}{mib:>7,.0f}{mib - least:>11,.0f}"
        print(f"{line}  {'below' if mib < BAR_MIB else 'ABOVE'} 1 GiB", flush=True)


def measure(tree, path, *, compare=True):
    """Read the file `path` with the revision in the folder `tree`: (rows, values, seconds, MiB, digest of the rows)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", READ, str(path), folder, "compare" if compare else "count"]
        done = subprocess.run(command, cwd=tree, env={"PYTHONPATH": str(tree), "CI": "true"}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    *numbers, digest = (done.stdout + " -").split()[:5]
    return *map(float, numbers), digest


def main(revision=REVISION, factor=10):
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder, "before")
        subprocess.run(["git", "worktree", "add", "--detach", str(before), revision], cwd=here, check=True, capture_output=True)
        try:
            print(f"{'file':<14}{'MB':>6}{'values':>12}{'before, s':>11}{'now, s':>9}{'ratio':>7}{'before, MiB':>13}{'now, MiB':>10}", flush=True)
            for name, write in FILES.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, 1, np.random.default_rng(0))
                pairs = [(measure(before, path), measure(here, path)) for _ in range(RUNS)]
                assert all(one[:2] + one[4:] == pairs[0][0][:2] + pairs[0][0][4:] for pair in pairs for one in pair), "both read the same"
                (old, old_mib), (new, new_mib) = ((min(run[i][2] for run in pairs), max(run[i][3] for run in pairs)) for i in (0, 1))
                line = f"{path.name:<14}{path.stat().st_size / 1e6:>6.0f}{pairs[0][0][1]:>12,.0f}"
                print(f"{line}{old:>11.1f}{new:>9.1f}{old / new:>7.1f}{old_mib:>13,.0f}{new_mib:>10,.0f}", flush=True)
                write(path, factor, np.random.default_rng(0))
                _, values, seconds, mib, _ = measure(here, path, compare=False)
                line = f"{path.name:<14}{path.stat().st_size / 1e6:>6.0f}{values:>12,.0f}{'':>11}{seconds:>9.1f}{'':>20}{mib:>10,.0f}"
                print(f"{line}  {'below' if mib < BAR_MIB else 'ABOVE'} 1 GiB", flush=True)
                path.unlink()
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=here, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["whole"]:
        measure_whole(float((sys.argv[2:] or [1])[0]))
    else:
        main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
