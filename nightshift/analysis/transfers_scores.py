"""Scores of the transfers, day by day: what a night has scored, the next one does not score again.

The score of a transfer depends only on itself and on the transfers before it, by way of the predictor's
memory. So each day is scored from the memory of the day before, and kept with its own memory. Where a day of
the clean table, the predictor, the names that it knows or the code has changed since, that day and those
after it are scored again.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from helpers import atomic, write_json, write_parquet
from nightshift.cleaning.transfers_folders import UNDATED, table_of
from nightshift.detectors.transfers_predictors import DONE, is_done, score_transfers
from nightshift.products import code_below, read_json

KEPT = ".transfers"  # folder beside the scores; pandas passes over what begins with a dot
SCORES = ["request_id", "attempt", "started", "link", "duration_s", "predicted_s", "forecast_s", "score"]
SCORES += ["p_value", "flagged"]  # columns of data/scores/transfers.parquet


def first_day(clean, moment, warmup):
    """The day from which transfers are read so that the predictor has read `warmup` of them before `moment`,
    as far as there are so many: its name, "" where nothing is dated.

    clean : a CleanTable. moment : a time in UTC.
    """
    days = [day for day in clean.days if day != UNDATED]
    until = [day for day in days if day <= f"{moment:%Y-%m-%d}"]
    read = 0
    for day in reversed(until):
        rows = clean.read(DONE, days=[day], keep=is_done)
        read += int((rows.started < moment).sum())
        if read >= warmup:
            return day
    return (until or days or [""])[0]


def score_days(clean, begin, *, predictor, categories, kept):
    """Score the finished transfers that have started on the day `begin` and later: (DataFrame score,
    forecast_s, predicted_s by their place in the clean table; memory after the last of them).

    clean : a CleanTable. predictor, categories : as `score_transfers` takes them. kept : folder of what was
    scored before, which is brought up to date.
    """
    kept, memory, tables = Path(kept), None, []
    kept.mkdir(parents=True, exist_ok=True)
    days = [day for day in clean.days if begin <= day != UNDATED]
    for path in kept.iterdir():
        if path.stem not in days:
            path.unlink()
    of = made_by(predictor, categories)
    for day in days:
        of = hashlib.sha256(of.encode() + clean.path(day).read_bytes()).hexdigest()
        scores, memory = scores_of(clean, day, of, kept, (predictor, categories, memory))
        tables.append(scores)
    empty = pd.DataFrame({name: np.empty(0) for name in ("score", "forecast_s", "predicted_s")})
    return pd.concat(tables) if tables else empty, memory or {}


def made_by(predictor, categories):
    """Hash what scores depend on besides transfers: the predictor, its files, names and the code."""
    path = Path(predictor["path"])
    described = {key: value for key, value in predictor.items() if key != "path"}
    names = {column: categories[column][:size] for column, size in predictor["vocabulary"].items()}
    made = hashlib.sha256(json.dumps([described, names, code_below("detectors")], default=str).encode())
    content = read_json(path) if path.suffix == ".json" else None
    others = content["mean_of"] if isinstance(content, dict) else []
    for file in (path.name, *others):
        made.update(path.with_name(file).read_bytes())
    return made.hexdigest()


def scores_of(clean, day, of, kept, scorer):
    """Return the scores of a day by place, and the memory after it: the `kept` ones where they are `of` the
    same, else computed. scorer : predictor, categories and memory before, as `score_transfers` takes them.
    """
    predictor, categories, memory = scorer
    note, table = kept / f"{day}.json", kept / f"{day}.parquet"
    columns = [*DONE, "log_duration", *predictor["numbers"], *predictor["vocabulary"]]
    places = clean.read(DONE, days=[day], keep=is_done).index
    if before := kept_scores(note, table, of, len(places)):
        return before[0].set_index(places), before[1]
    columns += ["link", "size_bin"]  # of the trivial predictors
    rows = clean.read(list(dict.fromkeys(columns)), days=[day], keep=is_done)
    scores, memory = score_transfers(predictor, rows, categories, memory)
    # removed first and written last, so that a day that was cut off in between is scored again
    note.unlink(missing_ok=True)
    write_parquet(scores, table)
    write_json({"of": of, "memory": memory, "check": check_of(of, memory)}, note)
    return scores, memory


def kept_scores(note, table, of, n_rows):
    """Read the scores in the file `table` and the memory in `note`, where both are whole, `of` what is wanted
    and have `n_rows` rows; None for anything else, so that what is damaged is computed again.
    """
    noted = read_json(note)
    if noted.get("of") != of or noted.get("check") != check_of(of, noted.get("memory")):
        return None
    try:
        scores = pd.read_parquet(table)
    except (OSError, ValueError):
        return None
    return (scores, noted["memory"]) if len(scores) == n_rows else None


def check_of(of, memory):
    """Hash what a note says, so that the change of a single digit of the memory is noticed."""
    return hashlib.sha256(json.dumps([of, memory]).encode()).hexdigest()


def write_scores(scored, clean, path):
    """Write scored transfers to `path`, the columns SCORES, day by day, so that memory does not hold their
    request ids. ValueError where a transfer is scored twice.

    scored : DataFrame of SCORES but request_id and attempt, by place in `clean`, a CleanTable, in their
    order.
    """
    ids = clean.read(["request_id", "attempt"], days=[])
    schema = table_of(scored[:0].join(ids)[SCORES]).schema
    keys = [np.empty(0, "uint64")]
    with atomic(path) as temporary:
        with pq.ParquetWriter(temporary, schema) as out:
            for day, places in clean.days.items():
                rows = scored[slice(*scored.index.searchsorted([places.start, places.stop]))]
                if len(rows):
                    ids = clean.read(["request_id", "attempt"], days=[day]).loc[rows.index]
                    keys.append(pd.util.hash_pandas_object(ids, index=False).to_numpy())
                    out.write_table(table_of(rows.join(ids)[SCORES]).cast(schema))
        keys = np.sort(np.concatenate(keys))
        if (keys[1:] == keys[:-1]).any():
            raise ValueError("a transfer is scored twice")
