"""What the last night has left for the hours after it: its model, its limits, and what was known at its
last midnight.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nightshift.cleaning.transfers_days import CARRIED, STATES, Carried
from nightshift.cleaning.transfers_folders import UNDATED, DayFolder
from nightshift.detectors.transfers_limits import Limits, judge_blocks
from nightshift.detectors.transfers_predictors import score_transfers
from nightshift.live.stamp import NoNight, check_night
from nightshift.products import read_json

MEMORY = "transfers_memory.json"
ONE_DAY = pd.Timedelta(days=1)


@dataclass
class LastNight:
    """What the last night provides for scoring the transfers after it.

    begin : midnight from which transfers are followed, the one before the last day of the night. end :
    midnight at which its window ends; both UTC. carried : Carried of `begin`. time_constant_s : as in
    2_preprocess. predictor, categories : of the model. memory : of `score_transfers`, after the last transfer
    of the night; None where that has none. limits : Limits. stamp : `stamp_of` its files.
    """

    begin: pd.Timestamp
    end: pd.Timestamp
    carried: Carried
    time_constant_s: float
    predictor: dict
    categories: dict
    memory: dict | None
    limits: Limits
    stamp: tuple

    def score(self, rows, memory=None):
        """Score transfers in the order of their starts: (DataFrame of `score_transfers`, memory after
        them).
        """
        return score_transfers(self.predictor, rows, self.categories, memory)


def read_night(paths, alarm_rate):
    """Read the LastNight of the products at `paths`; NoNight where there is none that has scored.

    alarm_rate : share of normal transfers that may be flagged, as the night has it.
    """
    stamp = check_night(paths)
    inputs, categories = (
        json.loads((paths.encoders / f"{name}.json").read_text()) for name in ("inputs", "categories")
    )
    names = {column: categories[column][:size] for column, size in inputs["vocabulary"].items()}
    if hashlib.sha256(json.dumps(names).encode()).hexdigest() != inputs["names_sha256"]:
        raise NoNight(f"{paths.encoders}/categories.json is not the one the model was trained with")
    carried = paths.clean / CARRIED
    days = [day for day in DayFolder(paths.clean).days if day != UNDATED]
    kept = {path.name.removesuffix("-memory.parquet") for path in carried.glob("*-memory.parquet")}
    begin = max((day for day in days if day in kept), default="")
    if not begin:
        raise NoNight(f"{carried} holds nothing that is known at a midnight: run `nightshift run` first")
    window = read_json(paths.raw / "status.json")["window"]
    memory = paths.scores.with_name(MEMORY)
    return LastNight(
        begin=pd.Timestamp(begin, tz="UTC"),
        end=pd.Timestamp(window[1], tz="UTC") + ONE_DAY,
        carried=Carried.load(carried, begin),
        time_constant_s=float(read_json(carried / "made_of.json")["settings"]["time_constant_s"]),
        predictor=inputs | {"path": paths.models / inputs["file"]},
        categories=categories,
        memory=read_json(memory) if memory.exists() else None,
        limits=limits_after(paths, alarm_rate),
        stamp=stamp,
    )


def limits_after(paths, alarm_rate):
    """Compute the Limits that hold after the transfers that a night has scored."""
    limits = Limits(pd.read_parquet(paths.models / "calibration.parquet"), alarm_rate)
    scored = pd.read_parquet(paths.scores, columns=["link", "started", "score"])
    ends = scored.link.astype("category").cat.categories.to_series().str.split(" -> ", n=1)
    judge_blocks(scored.assign(src=scored.link.map(ends.str[0]), dst=scored.link.map(ends.str[1])), limits)
    return limits


def rows_of_night(paths, begin):
    """Read the attempts of the days from `begin` on, by their starts, with the scores of the night: DataFrame
    of the clean table with score, p_value, flagged, predicted_s and forecast_s, missing where it gave none.
    """
    days = [day for day in DayFolder(paths.clean).days if day != UNDATED and day >= f"{begin:%Y-%m-%d}"]
    rows = [pd.read_parquet(Path(paths.clean) / f"{day}.parquet").drop(columns=STATES) for day in days]
    scores = pd.read_parquet(paths.scores, filters=[("started", ">=", begin)])
    scores = scores.drop(columns=["started", "link", "duration_s"])
    rows = pd.concat(rows, ignore_index=True)
    rows = rows[rows.state != "queued"]
    return rows.merge(scores, "left", ["request_id", "attempt"]).reset_index(drop=True)
