"""Raw samples of nodes, as the extraction of the telemetry would leave them."""

from urllib.parse import quote

import numpy as np
import pandas as pd

import helpers
from nightshift.status import write_status

DAY, START = "2026-01-31", pd.Timestamp("2026-01-30T12:00", tz="UTC")
GPU = {"timestamp": START, "node_id": "a1", "gpu": "0", "job_id": "7", "user": "u1", "utilisation_pct": 50.0, "memory_used_mib": 100.0}
GPU |= {"memory_total_mib": 200.0, "power_w": 90.0, "temperature_c": 40.0}
LABEL = {"job_id": None, "node_id": None, "app": None, "input": None, "anomaly": None, "part": None, "start": pd.NaT, "end": pd.NaT}
SMALL = {"window_s": 10, "step_s": 5, "trim_s": 5}


def samples(seconds, job="7", start=START, **metrics):
    """Raw rows at `seconds` after `start`; a metric is a number or one per row, named metric__sampler."""
    times = (start + pd.to_timedelta(seconds, unit="s")).astype("datetime64[us, UTC]")
    columns = {name.replace("__", "::"): np.broadcast_to(np.asarray(x, float), len(times)) for name, x in metrics.items()}
    return pd.DataFrame({"timestamp": times, "job_id": pd.Series([job] * len(times), dtype="str"), **columns})


def write_raw(products, nodes, labels=(), gpus=()):
    """The raw folder, as the extraction would leave it: nodes {name: [parts]}."""
    raw = helpers.study_paths("telemetry", products).raw
    for node, parts in nodes.items():
        for number, part in enumerate(parts):
            days = part.timestamp.dt.floor("D").ffill().fillna(START.floor("D"))
            for day, rows in part.groupby(days):
                folder = raw / "nodes" / f"node_id={quote(node, safe='')}" / f"day={day:%Y-%m-%d}"
                helpers.write_parquet(rows.reset_index(drop=True), folder / f"part-{number}.parquet")
    written = pd.DataFrame([LABEL | label for label in labels], columns=list(LABEL))
    for name in ("start", "end"):
        written[name] = pd.to_datetime(written[name], utc=True).astype("datetime64[us, UTC]")
    helpers.write_parquet(written, raw / "labels.parquet")
    frame = pd.DataFrame([GPU | gpu for gpu in gpus], columns=list(GPU)).astype({"timestamp": "datetime64[us, UTC]"})
    helpers.write_parquet(frame, raw / "gpus.parquet")
    write_status(raw, state="ok", rows=1, newest=DAY, source="hand", window=[DAY, DAY])
