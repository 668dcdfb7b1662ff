"""How long a transfer should take: the split in time, trivial predictors, what a stored one predicts, and
which calibration transfers are quiet enough to compare others with.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from nightshift.detectors.base import is_whole
from nightshift.detectors.transfers_quantiles import (
    QUANTILES,
    continue_quantiles,
    encode_inputs,
    number_combinations,
    predict_quantiles,
    standard_score,
)
from nightshift.products import read_json
from nightshift.statistics import rows_by_number

TRIVIAL = {  # what a person would guess, and the file that keeps it
    "constant": "constant.json",
    "link_size": "link_size.json",
    "log_size": "log_size.skops",
    "table_and_line": "table_and_line.json",
}
BASELINE = "table_and_line"  # serves where nothing learned is clearly better
RECENT = ("recent_log_rate", "last_log_duration", "failure_share")  # how things go just now
NUMBERS = [  # what a predictor looks at: the size, the wait, and the state of all at the start
    "log_bytes",
    "log_queue",
    *(f"{who}_{what}" for who in ("link", "src", "dst", "fts") for what in ("in_flight", *RECENT)),
]
DONE = ["state", "started"]  # what tells whether a transfer is one to learn from or to score


def split_by_time(start, end, shares):
    """Split rows in the order of time: the part of each, Categorical (n,), one of the keys of `shares` or
    "purged".

    start, end : datetime64 (n,), `start` sorted. shares : ordered {part: share of rows}, summing to 1. A row
    that ends after its part has ended is purged, since its duration was not known yet (de Prado 2018, ch. 7).
    ValueError when `start` is not sorted or the shares do not sum to 1.
    """
    start, end = pd.DatetimeIndex(start), pd.DatetimeIndex(end)
    if not start.is_monotonic_increasing or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError("split_by_time: start must be sorted and the shares must sum to 1")
    edges = np.round(np.cumsum([0, *shares.values()]) * len(start)).astype(int)
    part = np.zeros(len(start), "int8")
    for code, (low, high) in enumerate(pairwise(edges), start=1):
        part[low:high][end[low:high] < start[high] if high < len(start) else slice(None)] = code
    return pd.Categorical.from_codes(part, ["purged", *shares])


def split_transfers(transfers, shares, *, least, day):
    """Split finished `transfers` as `split_by_time` does; ValueError of one line when they are fewer than
    `least`, when the `shares` leave a tenth or less to train, or when the train, calibration or test part
    would be empty.

    shares : {"validation", "calibration", "test": share of rows}; what they leave is the part "train".
    """
    n, train_share = len(transfers), 1 - sum(shares.values())
    if n < least:
        raise ValueError(f"{n} finished transfers up to {day}: at least {least} are needed to train")
    if train_share <= 0.1:
        raise ValueError("test, calibration and validation share leave less than a tenth to train")
    part = split_by_time(transfers.started, transfers.finished, {"train": train_share, **shares})
    if not all((part == name).any() for name in ("train", "calibration", "test")):
        raise ValueError(
            f"the {n} finished transfers up to {day} lie too close together: none of them had ended before "
            "the others started"
        )
    return part


def is_done(transfers):
    """Which of `transfers`, DataFrame with the columns DONE, are finished and have a start: bool (n,)."""
    return (transfers.state == "done") & transfers.started.notna()


def fit_quantile_table(frame, target, keys, min_rows=5):
    """Fit quantiles per combination of `keys`, then of `keys[1:]`, ..., then of all rows, as a readable list
    of {"keys", "quantiles": {combination: list}}.

    frame : DataFrame with the columns `keys`. target : (n,). A combination with fewer than `min_rows` rows is
    left to the coarser tables.
    """
    tables, values = [], pd.Series(target)
    for used in (list(keys[i:]) for i in range(len(keys) + 1)):
        number, texts = number_combinations(frame, used)
        groups = values.groupby(number)
        found = groups.quantile(list(QUANTILES)).unstack()[groups.size() >= (min_rows if used else 1)]
        rows = ((texts[i], row) for i, row in zip(found.index, found.to_numpy(), strict=True) if i >= 0)
        tables.append({"keys": used, "quantiles": {key: list(map(float, row)) for key, row in rows}})
    return tables


def fit_scaling(transfers, columns, rows=slice(None)):
    """Fit mean and standard deviation of `columns`: {column: {"mean", "std"}}; a deviation of 0 is written as
    1; a column of missing values alone has mean 0 and deviation 1.

    rows : bool (n,) or a slice, those that count.
    """
    scaling = {}
    for column in columns:  # one at a time: a copy of all may be as large as what a training holds
        mean, std = transfers[column][rows].agg(["mean", "std"]).fillna(0)
        scaling[column] = {"mean": float(mean), "std": float(std) or 1.0}
    return scaling


def stored_predictor(paths, before):
    """The predictor of an earlier training as {"stored": its description}, as `predict_durations` takes it;
    {} where there is none that may be compared on data of `before`, a time as text, and later: it knows them,
    reads other numbers, or is damaged.

    paths : helpers.study_paths of the study.
    """
    old = read_json(paths.encoders / "inputs.json")
    fits = list(old.get("numbers", {})) == NUMBERS and old["training_window"][1] < before
    if not fits or not is_whole(paths.models, old["file"]):
        return {}
    return {"stored": old | {"path": str(paths.models / old["file"])}}


def predict_durations(predictor, transfers, categories, *, usual=False):
    """Predict quantiles of the log duration of `transfers` by a stored predictor, float (n, 3): the forecast,
    or the `usual` duration, without the numbers of the last hours.

    predictor : {"path", "numbers", "vocabulary", "hidden"}, as `inputs.json` has it, with the path of its
    file. A network reads the transfers in their order, and knows of none before the first.
    """
    inputs = inputs_of(predictor, transfers, categories, usual=usual)
    return predict_quantiles(Path(predictor["path"]), transfers, *inputs)


def inputs_of(predictor, transfers, categories, *, usual):
    """Encode `transfers` as a stored predictor reads them, with or without the numbers of the last hours."""
    hide = predictor["hidden"] if usual else ()
    return encode_inputs(transfers, predictor["numbers"], predictor["vocabulary"], categories, hide=hide)


def score_transfers(predictor, transfers, categories, memory=None):
    """Score transfers that follow those of a `memory`: (DataFrame score, forecast_s, predicted_s by the index
    of `transfers`; the memory after the last of them).

    transfers : DataFrame sorted by `started`, none of them before those of the memory, with log_duration and
    what `predict_durations` reads; ValueError when it is not sorted. memory : a dict that JSON holds, what
    this function has returned for the transfers before; by default that of none. A score depends on the
    transfer and on those before it alone, so that a sequence which comes in parts, each with the memory of
    the part before, has the scores that it has at once, to rounding. What is no network remembers nothing:
    its memory is empty. ValueError for the memory of another model. score : `standard_score` above the usual
    duration; forecast_s, predicted_s : forecast and usual median, s.
    """
    if not transfers.started.is_monotonic_increasing:
        raise ValueError("score_transfers: the transfers must be sorted by their starts")
    path = Path(predictor["path"])
    if path.suffix == ".keras":
        inputs = [inputs_of(predictor, transfers, categories, usual=usual) for usual in (False, True)]
        numbers, codes = map(np.stack, zip(*inputs, strict=True))  # the two are sequences of their own
        (forecast, usual), memory = continue_quantiles(path, numbers, codes, memory)
    else:
        forecast, usual = (
            predict_durations(predictor, transfers, categories, usual=of) for of in (False, True)
        )
        memory = {}
    score = standard_score(transfers.log_duration.to_numpy(), usual)
    seconds = {"forecast_s": np.expm1(forecast[:, 0]), "predicted_s": np.expm1(usual[:, 0])}
    return pd.DataFrame({"score": score, **seconds}, index=transfers.index), memory


def quiet_hours(transfers, score, rows, *, usual=None, least=3):
    """Find those of `rows` (bool (n,)) in no stretch of a link, source or destination (of at least `least`
    transfers) with a median score beyond the 99% point of the bulk: bool (n,).

    transfers : DataFrame link, src, dst, started (n,). score : float (n,). usual : scores of the bulk; by
    default those of the rows. An hour, or six, of a link counts, and a day of a source or a destination. The
    bulk is described by its 10, 50 and 90% points, which a few incidents do not move.
    """
    low, middle, high = np.quantile(score[rows] if usual is None else usual, [0.1, 0.5, 0.9])
    # 2.33 and 2.56 standard deviations are the 99% point and the 80% range of a normal law
    limit = middle + 2.33 * (high - low) / 2.56
    names, quiet = transfers[["link", "src", "dst"]].astype("category"), rows.copy()
    for some in in_whole_days(transfers.started, rows):
        here = names.iloc[some].assign(score=score[some], started=transfers.started.iloc[some])
        incident = np.zeros(len(here), bool)
        for whose, stretch in (("link", "1h"), ("link", "6h"), ("src", "1D"), ("dst", "1D")):
            together = here.groupby([whose, here.started.dt.floor(stretch)], observed=True).score
            many, late = together.transform("size") >= least, together.transform("median") > limit
            incident |= (many & late).to_numpy()
        quiet[some[incident]] = False
    return quiet


def in_whole_days(started, rows, most=250_000):
    """Part those of `rows`, bool (n,), by days, of which each part holds as many whole ones as have `most`
    transfers on average, or one: int arrays. What groups them in hours or days needs memory for a part.

    started : Series of UTC datetimes (n,).
    """
    number = started.dt.tz_localize(None).to_numpy().astype("datetime64[D]").astype(int)[rows]
    if not len(number):
        return []
    number -= number.min()
    n_days = number.max() + 1
    number //= np.clip(n_days * most // len(number), 1, n_days)
    return [np.flatnonzero(rows)[part] for part in rows_by_number(number).values()]
