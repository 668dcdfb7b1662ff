"""What the monitoring stack costs: series of a node, bytes of a sample on disk, memory of a series, measured; and the table of docs/monitoring.md.

    python bench/monitoring.py [SECONDS]

A real Prometheus scrapes the page of a real node exporter of this machine once a second, under the names of several nodes, then writes a snapshot. In
480 s a series has as many samples as in two hours of one every 15 s, which is what a block holds and what stays in memory.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/services"))
from daemons import free_ports, running  # noqa: E402

NODES = 12
DAY = 86400
GPU_FIELDS = len(re.findall(r"^DCGM", (ROOT / "deploy/monitoring/dcgm-counters.csv").read_text(), re.M))
PROFILES = {  # {profile: (nodes, processors of each, GPUs of each, trainings at once, scrape interval in s, retention in days)}
    "pc": (1, 16, 1, 1, 5, 30),
    "server": (8, 64, 4, 8, 15, 90),
    "datacentre": (500, 128, 4, 400, 30, 60),
}
OF_TRAINING = 23  # 12 buckets, their sum and count, six other metrics, and the moments at which three of all began


def series_of(page, kept=".*"):
    """(series of a page that do not depend on the number of processors, series per processor) whose names match `kept`."""
    names = [line for line in page.splitlines() if line and line[0] != "#" and re.fullmatch(kept, re.split(r"[{ ]", line)[0])]
    per_cpu = [name for name in names if re.search(r'\bcpu="\d+"', name)]
    cpus = len({re.search(r'\bcpu="(\d+)"', name)[1] for name in per_cpu})
    return len(names) - len(per_cpu), len(per_cpu) / cpus


def measure(seconds):
    """Let a Prometheus scrape NODES nodes: (page of the node exporter, number of samples, bytes of one in chunks, and with the index, memory of a
    series in bytes).
    """
    with tempfile.TemporaryDirectory() as name:
        folder, (node, server) = Path(name), free_ports(2)
        jobs = [{"job_name": f"n{i}", "static_configs": [{"targets": [f"127.0.0.1:{node}"], "labels": {"node": f"n{i}"}}]} for i in range(NODES)]
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        page, url = f"http://127.0.0.1:{node}/metrics", f"http://127.0.0.1:{server}"
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{server}", "--web.enable-admin-api"]
        exporter = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{node}", "--web.disable-exporter-metrics"]
        with running(exporter, folder, ready=lambda: answers(page)), running(command, folder, ready=lambda: answers(f"{url}/-/ready")):
            empty = own(url, "process_resident_memory_bytes")
            time.sleep(seconds)
            memory, series = own(url, "process_resident_memory_bytes") - empty, own(url, "prometheus_tsdb_head_series")
            requests.post(f"{url}/api/v1/admin/tsdb/snapshot", timeout=60).raise_for_status()
            [block] = [path.parent for path in (folder / "data/snapshots").rglob("meta.json")]
            samples = json.loads((block / "meta.json").read_text())["stats"]["numSamples"]
            chunks = sum(path.stat().st_size for path in (block / "chunks").iterdir())
            whole = sum(path.stat().st_size for path in block.rglob("*") if path.is_file())
            return requests.get(page, timeout=5).text, samples, chunks / samples, whole / samples, memory / series


def answers(page):
    """Whether a page is there."""
    try:
        return requests.get(page, timeout=2).ok
    except requests.RequestException:
        return False


def own(url, name):
    """A number that a Prometheus says of itself."""
    return float(re.search(rf"^{name} (\S+)", requests.get(f"{url}/metrics", timeout=5).text, re.M)[1])


def main(seconds=480):
    page, samples, chunk, whole, memory = measure(seconds)
    jobs = yaml.safe_load((ROOT / "deploy/monitoring/prometheus-datacentre.yml").read_text())["scrape_configs"]
    [kept] = [rule["regex"] for job in jobs if job["job_name"] == "node" for rule in job["metric_relabel_configs"] if rule.get("action") == "keep"]
    version = subprocess.run(["prometheus", "--version"], capture_output=True, text=True).stdout.split()[2]
    print(f"Prometheus {version}, {NODES} nodes, {samples:,} samples: {chunk:.2f} bytes a sample in chunks, {whole:.2f} with the index;")
    print(f"{memory / 1000:.1f} kB of memory a series")
    counts = {profile: series_of(page, kept if profile == "datacentre" else ".*") for profile in PROFILES}
    for profile, (base, per_cpu) in counts.items():
        print(f"{profile}: a node exporter has {base} series and {per_cpu:.0f} for each processor")
    for profile, (nodes, cpus, gpus, trainings, interval, days) in PROFILES.items():
        base, per_cpu = counts[profile]
        series = nodes * (base + per_cpu * cpus + gpus * GPU_FIELDS) + trainings * OF_TRAINING
        rate = series / interval
        disk = whole * rate * days * DAY
        size = f"{disk / 1e9:,.1f} GB | {series * memory / 1e9:.2f} GB"
        print(f"| {profile} | {nodes} | {cpus} | {gpus} | {series:,.0f} | {interval} s | {rate:,.0f} | {days} days | {size} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
