"""Do alarms mean what they say on real data? Runs studies on real sets and holds their decisions against labels.

    python bench/validity.py            # prints a table in Markdown, that of docs/validity.md; about ten minutes on two cores

So far: telemetry, on servers and on services with labels (see ../shared/data/README.md). Stated and observed share of alarms in healthy windows
per node, labelled segments that a finding meets, false findings per node-day, and the ranking: average precision, the mean over nodes, without
point adjustment. Other sets of the same form: python bench/validity.py NAME=FILE ...
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.metrics import average_precision_score

from nightshift.statistics import share_interval

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared/data/telemetry"
SETS = {"servers": DATA / "asd12_servers.parquet", "services": DATA / "services15.parquet"}
ALARM_RATE = 0.01
COLUMNS = {"node_id": "node_id", "timestamp": "timestamp", "anomaly": "anomalous", "part": "split"}
WINDOWS = {"window_s": 900, "step_s": 300, "trim_s": 0}  # of three samples, one per sample


def run_telemetry(source, products):
    """Run the whole study on a table of nodes with labels; its test data, however many days, are judged."""
    times = pd.read_parquet(source, columns=["timestamp"]).timestamp
    days = int((times.max() - times.min()).days) + 2
    steps = {
        "extract": {"source": str(source), "labels": "", "days": days, "columns": COLUMNS, "anomaly_names": {"0": "none", "1": "anomalous"}},
        "preprocess": WINDOWS,
        "train": {"alarm_rate": ALARM_RATE},
        "analyse": {"alarm_rate": ALARM_RATE, "judged_days": days},
    }
    config = {"day": str(times.max().date()), "products": str(products), "studies": {"telemetry": steps}}
    path = Path(products) / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run([sys.executable, "-m", "nightshift", "run", "--config", path], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1])


def stretches_of(flags):
    """First and last row of each stretch of true `flags` (n,): list of pairs."""
    edges = np.flatnonzero(np.diff(np.r_[0, np.asarray(flags, int), 0]))
    return list(zip(edges[::2], edges[1::2] - 1, strict=True))


def measure_telemetry(products):
    """Figures of one set: a dict; see the head of this file."""
    folder = Path(products)
    labels = pd.read_parquet(folder / "data/clean/telemetry.parquet", columns=["node_id", "start", "anomaly", "part"])
    scores = pd.read_parquet(folder / "data/scores/telemetry.parquet").merge(labels, on=["node_id", "start"])
    scores = scores[scores.part == "test"].sort_values(["node_id", "start"])
    scores["ill"] = ~scores.anomaly.isin(["none", ""])
    findings = pd.read_parquet(folder / "data/findings/telemetry.parquet").query("kind != 'silent'").reset_index(drop=True)
    true, met, n_segments, areas = np.zeros(len(findings), bool), 0, 0, []
    for node, windows in scores.groupby("node_id"):
        of_node = (findings.entity == node).to_numpy()
        areas.append(average_precision_score(windows.ill, windows.score) if windows.ill.any() else np.nan)
        for first, last in stretches_of(windows.ill):
            touches = of_node & (findings.start <= windows.end.iloc[last]) & (findings.end >= windows.start.iloc[first])
            n_segments, met, true = n_segments + 1, met + touches.any(), true | touches
    shares = scores[~scores.ill].groupby("node_id").flagged.mean()
    days = scores.groupby("node_id").start.agg(lambda start: start.dt.floor("D").nunique()).sum()
    models = json.loads((folder / "models/telemetry/metrics.json").read_text())["models"]
    return {
        "shares": shares,
        "met": int(met),
        "n_segments": n_segments,
        "n_false": int((~true).sum()),
        "node_days": int(days),
        "area": float(np.nanmean(areas)),
        "each": {model["name"]: model["model"] for model in models},
        "in_use": [model["name"] for model in models if model["in_use"]],
    }


def row_of(name, figures):
    """One row of the table."""
    low, high = share_interval(figures["met"], figures["n_segments"])
    shares, false = figures["shares"], figures["n_false"]
    others = ", ".join(f"{method} {area:.2f}" for method, area in figures["each"].items())
    cells = [
        f"{name}, {len(shares)} nodes",
        f"{ALARM_RATE:.0%}",
        f"{shares.mean():.2%}",
        f"{shares.max():.1%}",
        f"{figures['met']} of {figures['n_segments']}, {figures['met'] / figures['n_segments']:.0%} ({low:.0%} to {high:.0%})",
        f"{false} in {figures['node_days']} node-days, {1000 * false / figures['node_days']:.0f} per 1,000",
        f"{figures['area']:.2f} ({', '.join(figures['in_use'])}; {others})",
    ]
    return f"| {' | '.join(cells)} |"


def main():
    """Print the table."""
    sets = dict(one.split("=", 1) for one in sys.argv[1:]) or SETS
    heads = [
        "set",
        "stated",
        "flagged of healthy windows, mean of nodes",
        "worst node",
        "labelled segments met",
        "false findings",
        "average precision",
    ]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for name, source in sets.items():
        with tempfile.TemporaryDirectory() as products:
            run_telemetry(Path(source).resolve(), products)
            print(row_of(name, measure_telemetry(products)), flush=True)


if __name__ == "__main__":
    main()
