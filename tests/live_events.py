"""Transfers as the hermes of Rucio 41.5.1 announces them (`deliver_to_activemq`, and `add_monitor_message` of its core), and a night made of them."""

import hashlib
import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from helpers import extend_categories, study_paths, write_findings, write_json, write_parquet
from nightshift.cleaning.transfers_days import update
from nightshift.cleaning.transfers_folders import count_names
from nightshift.detectors.transfers_limits import judge_transfers
from nightshift.detectors.transfers_predictors import NUMBERS, RECENT, fit_scaling, score_transfers
from nightshift.detectors.transfers_quantiles import QUANTILES, encode_inputs
from nightshift.models import save_model
from nightshift.sources.base import read_source
from nightshift.sources.parts import Extraction, remove_old_parts
from nightshift.status import write_status

RFC = "%a, %d %b %Y %H:%M:%S UTC"  # of `date_to_str`, by which Rucio stores the payload of a message
SITES = [f"{name}_DATADISK" for name in ("AURORA-T1", "BOREAS-T1", "HARBOR-T2", "LAGOON-T2", "NORTH-T2", "SOUTH-T2")]
TIME_CONSTANT_S = 4 * 3600.0


def make_transfers(n, begin, seconds, *, seed=1, sites=SITES):
    """Attempts of transfers that start within some seconds from `begin` on, in the order in which they are announced: DataFrame."""
    rng = np.random.default_rng(seed)
    started = np.sort(rng.integers(0, seconds, n))
    src, hops = rng.integers(0, len(sites), n), rng.integers(1, len(sites), n)
    bytes_ = np.exp(rng.normal(20, 1.5, n)).astype("int64")
    rate = 5e6 * np.exp(0.4 * np.sin(src) + rng.normal(0, 0.5, n))
    table = pd.DataFrame({"started": started, "src": src, "dst": (src + hops) % len(sites), "bytes": bytes_})
    table["finished"] = started + np.maximum(np.round(bytes_ / rate), 1).astype("int64")
    table["submitted"] = started - rng.integers(1, 300, n)
    table["created"] = table.finished + rng.exponential(20, n)
    table["failed"] = rng.random(n) < 0.03
    table["request"] = [f"{high:016x}{low:016x}" for high, low in rng.integers(0, 2**63, (n, 2), dtype="int64")]
    table["begin"] = pd.Timestamp(begin, tz="UTC")
    table["sites"] = [sites] * n
    return table.sort_values("created", kind="stable", ignore_index=True)


def messages_of(transfers):
    """The messages about transfers, of `make_transfers`, as bytes."""
    begin = transfers.begin.iloc[0]
    times = {name: (begin + pd.to_timedelta(transfers[name], unit="s")).dt.strftime(RFC).tolist() for name in ("submitted", "started", "finished")}
    created = (begin + pd.to_timedelta(transfers.created, unit="s")).dt.strftime("%Y-%m-%d %H:%M:%S.%f").tolist()
    sites, out = transfers.sites.iloc[0], []
    for i, row in enumerate(transfers.itertuples()):
        src, dst = sites[row.src], sites[row.dst]
        state = "failed" if row.failed else "done"
        payload = {
            "activity": "Production Output",
            "request-id": row.request,
            "duration": int(row.finished - row.started),
            "checksum-adler": "0cc737eb",
            "checksum-md5": None,
            "file-size": int(row.bytes),
            "bytes": int(row.bytes),
            "guid": None,
            "previous-request-id": None,
            "protocol": "davs",
            "scope": "mc23_13p6TeV",
            "name": f"EVNT.{row.request[:8]}.pool.root.1",
            "dataset": None,
            "datasetScope": None,
            "src-type": "DISK",
            "src-rse": src,
            "src-url": f"davs://{src[:-9].lower()}.example:443/data",
            "dst-type": "DISK",
            "dst-rse": dst,
            "dst-url": f"davs://{dst[:-9].lower()}.example:443/data",
            "reason": "TRANSFER [110] Connection timed out" if row.failed else None,
            "transfer-endpoint": f"https://fts-{row.dst % 2}.example:8446",
            "transfer-id": f"{row.request[:8]}-fts",
            "transfer-link": None,
            "created_at": None,
            "submitted_at": times["submitted"][i],
            "started_at": times["started"][i],
            "transferred_at": times["finished"][i],
            "tool-id": "rucio-conveyor",
            "account": "root",
            "datatype": None,
        }
        out.append(json.dumps({"event_type": f"transfer-{state}", "payload": payload, "created_at": created[i]}).encode())
    return out


def run_night(root, day, source, *, days=3, alarm_rate=0.01, train=False, rounds=20):
    """The steps 1_extract, 2_preprocess and 4_analyse of a night in the products `root`, but for its report and its findings; with `train`
    step 3 too, in brief.
    """
    paths = study_paths("transfers", str(root))
    end = pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)
    window = end - pd.Timedelta(days=days), end
    extraction = Extraction(paths.raw, window)
    paths.raw.mkdir(parents=True, exist_ok=True)
    read_source("transfers", str(source), extraction)
    remove_old_parts(extraction)
    first = str(window[0].date())
    about = {"state": "ok", "rows": extraction.counts["kept"], "newest": "", "source": str(source)}
    write_status(paths.raw, **about, window=[first, day], missing_days=[], bad_lines=0)
    done = update(paths.raw, paths.clean, paths.rejected, begin=window[0], time_constant_s=TIME_CONSTANT_S)
    file = paths.encoders / "categories.json"
    names = count_names(paths.clean, done.days, ["activity", "src", "dst", "fts", "protocol"])
    categories = extend_categories(names, json.loads(file.read_text()) if file.exists() else {})
    write_json(categories, file)
    clean = pd.read_parquet(paths.clean)
    transfers = clean[(clean.state == "done") & clean.started.notna()].reset_index(drop=True)
    if train:
        train_model(paths, transfers, categories, rounds)
    inputs = json.loads((paths.encoders / "inputs.json").read_text())
    since = pd.Timestamp(inputs["calibration_end"])
    scored = transfers[transfers.started >= since].reset_index(drop=True)
    scores, memory = score_transfers(inputs | {"path": paths.models / inputs["file"]}, scored, categories)
    scored = scored.join(scores)
    scored = scored.join(judge_transfers(scored, pd.read_parquet(paths.models / "calibration.parquet"), alarm_rate)[["p_value", "flagged"]])
    columns = ["request_id", "attempt", "started", "link", "duration_s", "predicted_s", "forecast_s", "score", "p_value", "flagged"]
    write_parquet(scored[columns], paths.scores)
    write_json(memory, paths.scores.with_name("transfers_memory.json"))
    write_findings([], paths.findings, "transfers")
    return SimpleNamespace(paths=paths, scored=scored, clean=clean, rejected=pd.read_parquet(paths.rejected))


def train_model(paths, transfers, categories, rounds):
    """Leave a model that looks at what was known at the start, gradient boosting, with what a night asks of it."""
    paths.models.mkdir(parents=True, exist_ok=True)
    vocabulary = {column: len(names) for column, names in categories.items()}
    hidden = [i for i, name in enumerate(NUMBERS) if name.endswith(RECENT)]
    inputs = {"numbers": fit_scaling(transfers, NUMBERS), "vocabulary": vocabulary, "hidden": hidden, "file": "boosting.skops"}
    inputs |= {"windows": {"warmup": 0, "length": 64, "batch": 8}, "calibration_end": str(transfers.started.max().floor("D"))}
    inputs["names_sha256"] = hashlib.sha256(json.dumps(categories).encode()).hexdigest()
    numbers, codes = encode_inputs(transfers, inputs["numbers"], vocabulary, categories)
    boosting = partial(HistGradientBoostingRegressor, loss="quantile", max_iter=rounds, min_samples_leaf=20, random_state=1)
    models = [boosting(quantile=q).fit(np.hstack([numbers, codes]), transfers.log_duration) for q in QUANTILES]
    save_model(models, paths.models / "boosting.skops")
    scores, _ = score_transfers(inputs | {"path": paths.models / "boosting.skops"}, transfers, categories)
    judge = transfers[["link", "fts"]].astype(str).assign(score=scores.score, queue_s=transfers.queue_s)
    write_parquet(judge, paths.models / "calibration.parquet")
    write_json(inputs, paths.encoders / "inputs.json")
