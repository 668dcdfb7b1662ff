"""What is unusual in the histograms of a lumisection: seven numbers of each, how badly a model of good ones
rebuilds them, and how sure that is.
"""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from helpers import scale_features
from nightshift.models import load_skops
from nightshift.statistics import alarm_rate_sentence, share_interval

# ------------------------------------------------------------------------------------------------- histograms

SHARES = {"q10": 0.1, "q30": 0.3, "q50": 0.5, "q70": 0.7, "q90": 0.9}
SEVEN = [*SHARES, "mean", "rms"]


def seven_numbers(counts, x_min, x_max):
    """SEVEN numbers of each histogram, in the unit of its axis: float64 (n, 7), NaN for one without counts.

    counts : float (n, bins), finite, not negative. x_min, x_max : float (n,), ends of the axis. A quantile is
    interpolated linearly inside its bin; between two bins that share out the counts exactly, it is the end of
    the first. Mean and rms (ROOT's name of the standard deviation) take all counts at the centres of their
    bins.
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN, which is meant
        part = counts / counts.sum(axis=1, keepdims=True)
    reached, centre, each = np.cumsum(part, axis=1), np.arange(counts.shape[1]) + 0.5, np.arange(len(counts))
    out = np.empty((len(counts), len(SEVEN)))
    for k, q in enumerate(SHARES.values()):
        # the first bin that reaches q; what rounding lacks (below 1e-13) must not move it on
        at = (reached < q - 1e-9).sum(axis=1)
        out[:, k] = at + np.clip(1 - (reached[each, at] - q) / part[each, at], 0, 1)
    # not part @ centre, whose last digit depends on the neighbours in the batch
    out[:, 5] = (part * centre).sum(axis=1)
    out[:, 6] = np.sqrt((part * (centre - out[:, 5:6]) ** 2).sum(axis=1))
    width = (x_max - x_min) / counts.shape[1]
    # a spread does not move with its axis
    return out * width[:, None] + np.where(np.arange(len(SEVEN)) < 6, x_min[:, None], 0)


def fingerprints(counts):
    """A number, uint64 (n,), for each row of counts, float (n, bins): equal rows have equal ones, others but
    for a chance of 1 in 2**60.
    """
    weights = np.random.default_rng(0).integers(2**63, size=counts.shape[1], dtype="uint64") * 2 + 1
    bits = np.ascontiguousarray(counts + 0.0).view("uint64")  # + 0.0 makes of -0.0 what it is
    mixed = (bits ^ (bits >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed ^ (mixed >> np.uint64(32))) * weights).sum(axis=1, dtype="uint64")


IMPOSSIBLE = ["", "no bins", "NaN or infinite contents", "negative contents"]


def describe(batch):
    """A batch of `histograms.parquet` without its bins: an Arrow table of its other columns, bins, bad (index
    in IMPOSSIBLE), counts, fingerprint and SEVEN. Where the source has no versions, the version is "".
    """
    bins = pc.fill_null(pc.list_value_length(batch["contents"]), 0).to_numpy(zero_copy_only=False)
    flat, first = batch["contents"].flatten().to_numpy(zero_copy_only=False), np.cumsum(bins) - bins
    bad, total, numbers = (
        np.where(bins == 0, 1, 0),
        np.zeros(len(bins)),
        np.full((len(bins), len(SEVEN)), np.nan, "float32"),
    )
    x_min, x_max = (batch[name].to_numpy(zero_copy_only=False).astype(float) for name in ("x_min", "x_max"))
    fingerprint = np.zeros(len(bins), "uint64")
    for n in np.unique(bins[bins > 0]):
        alike = np.flatnonzero(bins == n)
        counts = flat[first[alike][:, None] + np.arange(n)]  # (histograms, bins)
        with np.errstate(invalid="ignore", over="ignore"):
            total[alike] = counts.sum(axis=1)
        fingerprint[alike] = fingerprints(counts)
        bad[alike] = np.select([~np.isfinite(total[alike]), (counts < 0).any(axis=1)], [2, 3], 0)
        fine = alike[bad[alike] == 0]
        # of an axis without length, which is rejected below
        with np.errstate(invalid="ignore", over="ignore"):
            numbers[fine] = seven_numbers(counts[bad[alike] == 0], x_min[fine], x_max[fine])
    texts = {name: batch[name].cast(pa.string()) for name in ("dataset", "element")}
    texts["version"] = (
        batch["version"].cast(pa.string()) if "version" in batch.schema.names else pa.array([""] * len(bins))
    )
    names = {name: text.dictionary_encode() for name, text in texts.items()}
    others = {name: batch[name] for name in ("run", "lumisection", "entries", "x_min", "x_max")}
    added = {
        "bins": bins.astype("int32"),
        "bad": bad.astype("int8"),
        "counts": total,
        "fingerprint": fingerprint,
    }
    return pa.table(names | others | added | dict(zip(SEVEN, numbers.T, strict=True)))


COUNTS, COPY, OLDER, DIFFERS = range(4)


def version_ranks(versions):
    """(stem, rank) of versions, a Series of text: those of one stem differ in nothing but numbers, and a
    higher one has a higher rank.
    """
    order = sorted(versions.unique(), key=lambda text: [int(number) for number in re.findall(r"\d+", text)])
    return versions.str.replace(r"\d+", "#", regex=True), versions.map(
        {version: rank for rank, version in enumerate(order)}
    )


def find_copies(rows):
    """Which of several histograms of one item counts: int (n,), COUNTS, COPY of an earlier one, OLDER version
    of another, or DIFFERS.

    rows : DataFrame item (what is described), fingerprint, entries, version, in the order of the source. Of
    histograms that differ the highest version counts, where versions differ in nothing but numbers (V0001 and
    V0002); else nobody can say which is right, and none counts.
    """
    out = np.full(len(rows), COUNTS)
    several = rows.item.duplicated(keep=False).to_numpy()
    if not several.any():
        return out
    part = rows[several].reset_index(drop=True)
    part["content"] = part.groupby(["fingerprint", "entries"], dropna=False).ngroup()
    part["version"] = part.version.astype("str").fillna("")
    part["stem"], part["rank"] = version_ranks(part.version)

    def n_different(column, frame=part):
        return frame.groupby("item")[column].transform("nunique").to_numpy()

    differ = n_different("content") > 1
    ranked = differ & (n_different("stem") == 1) & (n_different("version") > 1)
    older = ranked & (part["rank"] < part.groupby("item")["rank"].transform("max")).to_numpy()
    rest = part[~older]
    state = np.where(older, OLDER, COUNTS)
    state[~older] = np.where(
        n_different("content", rest) > 1, DIFFERS, np.where(rest.item.duplicated(), COPY, COUNTS)
    )
    out[several] = state
    return out


def merge_rows(values, item):
    """(state of each row, values of the items): rows of a wide table that describe one item, as far as they
    agree.

    values : float (n, F), NaN is missing; item (n,). A row that adds no value to those before it is a COPY;
    where two have other values, nobody can say which is right: both DIFFERS. The values are a DataFrame
    [item] of those that COUNT together.
    """
    frame, item = pd.DataFrame(values), pd.Series(np.asarray(item), name="item")
    by_item = frame.groupby(item)
    low, high = by_item.min(), by_item.max()
    apart = (high - low > 1e-9 * np.maximum(high.abs(), low.abs())).any(axis=1)
    there = frame.notna()
    adds = (there & (there.astype(int).groupby(item).cumsum() == 1)).any(axis=1) | ~item.duplicated()
    state = np.where(item.map(apart).astype(bool), DIFFERS, np.where(adds, COUNTS, COPY))
    return state, by_item.first()[~apart]


def split_runs(runs, *, test_share, validation_share, folds):
    """The runs (DataFrame run, time, fill) in order, of time where all have one and of number otherwise, with
    part and fold (-1 in the test).

    test_share : of the runs, the newest. validation_share : of the others, spread evenly. folds : into so
    many are whole fills dealt, or runs, where the source does not tell as many fills.
    """
    runs = runs.sort_values("run" if runs.time.isna().any() else ["time", "run"], ignore_index=True)
    learnt = len(runs) - max(min(max(round(test_share * len(runs)), 1), len(runs) - 1), 0)
    watched = max(min(max(round(validation_share * learnt), 1), learnt - 1), 0)
    part = np.repeat(["train", "test"], [learnt, len(runs) - learnt]).astype(object)
    part[((np.arange(watched) + 0.5) * learnt / max(watched, 1)).astype(int)] = "validation"
    fill = pd.factorize(runs.fill[:learnt])[0] if runs.fill[:learnt].notna().all() else np.zeros(learnt)
    group = fill if len(set(fill)) >= folds else np.arange(learnt)
    return runs.assign(
        part=part, fold=np.append(group % folds, np.full(len(runs) - learnt, -1)).astype("int64")
    )


# ----------------------------------------------------------------------------------------------------- models


def load_model(path):
    """The Keras network (.keras) or scikit-learn model (.skops, see `load_skops`) stored at `path`."""
    if path.suffix == ".skops":
        return load_skops(path)
    import keras

    return keras.saving.load_model(path, compile=False)


def feature_errors(model, x):
    """What `model` cannot rebuild of x (n, F): float32 (n, F), squared errors; no row gives (0, F).

    model : an autoencoder of Keras, or scikit-learn's PCA. A RobustScaler, alone or as the first step of a
    Pipeline, rebuilds nothing: its squared errors are those of the median, in interquartile ranges.
    """
    if not len(x):
        return np.zeros(x.shape, "float32")
    if hasattr(model, "stateless_call"):
        return (model.predict(x, batch_size=4096, verbose=0) - x) ** 2
    if hasattr(model, "components_"):
        return ((model.inverse_transform(model.transform(x)) - x) ** 2).astype("float32")
    return (getattr(model, "steps", [("", model)])[0][1].transform(x) ** 2).astype("float32")


def worst_error(errors, usual, worst):
    """Logarithm of the mean of a lumisection's `worst` share of squared `errors` (n, F), in units of the
    `usual` one (F,) of each feature: (n,).
    """
    kept = max(1, round(worst * errors.shape[1]))
    return np.log(np.sort(errors / np.asarray(usual), axis=1)[:, -kept:].mean(axis=1) + 1e-6)


def own_scores(model, x):
    """How strange x (n, F) is to a scikit-learn model with a score of its own: (n,), -score_samples.

    That of a one-class SVM is a sum over its support vectors and grows with the rows fitted: it is taken per
    unit of their weights.
    """
    last = getattr(model, "steps", [("", model)])[-1][1]
    return -model.score_samples(x) / (last.dual_coef_.sum() if hasattr(last, "dual_coef_") else 1.0)


def decision_values(frame, detector, folder):
    """How strange the lumisections `frame` of one dataset are: float (n,), higher = stranger, 0 the median
    good one; NaN where a feature is missing.

    detector : what detector.json says of the dataset: file (below `folder`), scaling, centre, worst (see
    `worst_error`) and usual, the usual squared error of each feature; null for a method with a score of its
    own (see `own_scores`).
    """
    x = scale_features(frame, detector["scaling"])
    is_known, out = np.isfinite(x).all(axis=1), np.full(len(x), np.nan)
    if is_known.any():
        model = load_model(folder / detector["file"])
        if detector["usual"] is None:
            out[is_known] = own_scores(model, x[is_known])
        else:
            out[is_known] = worst_error(
                feature_errors(model, x[is_known]), detector["usual"], detector["worst"]
            )
        out[is_known] -= detector["centre"]
    return out


def run_medians(rows, scaling):
    """Medians of the measured lumisections of every run: DataFrame [run, "<dataset>: <feature>"], NaN where a
    run has none.

    rows : the clean table of certification, scaling : {dataset: {feature: ...}}. What the classifier of whole
    runs reads.
    """
    of = {
        name: rows[(rows.dataset == name) & rows.measured].groupby("run")[list(scaled)].median()
        for name, scaled in scaling.items()
    }
    return pd.concat([medians.add_prefix(f"{name}: ") for name, medians in of.items()], axis=1).sort_index()


# --------------------------------------------------------------------------------------------------- how sure


def gain(model, baseline):
    """Skill of an area under the ROC curve over that of a baseline, (model - baseline) / (1 - baseline), from
    -1 to 1; arrays too.

    A baseline that is all but perfect counts as one that lacks a thousandth, and a skill below -1 as -1: what
    lies beyond says nothing but that the baseline left no room.
    """
    return np.clip((model - baseline) / np.maximum(1 - np.asarray(baseline), 0.001), -1, 1)


def effective_number(hits, run):
    """Number of independent lumisections that say as much about the share of true `hits` (n,) as these, whose
    runs are `run` (n,): float.

    Lumisections of one run share their luck: the variance of the share is that between runs (Kish 1965,
    design effect). It lies between the number of runs and that of lumisections, and is the number of runs
    where all hits are alike, since then nothing tells their variance.
    """
    hits = np.asarray(hits, float)
    residual = (
        pd.Series(hits - hits.mean()).groupby(np.asarray(run)).sum() if len(hits) else pd.Series(dtype=float)
    )
    n_runs, share = len(residual), hits.mean() if len(hits) else 0.0
    if n_runs < 2 or share in (0.0, 1.0):
        return float(n_runs)
    variance = float((residual**2).sum()) * n_runs / (n_runs - 1) / len(hits) ** 2
    return float(np.clip(share * (1 - share) / max(variance, 1e-12), n_runs, len(hits)))


def rate_sentence(stated, flags, run):
    """`alarm_rate_sentence` of flags (n,) of lumisections whose runs are `run` (n,), with the interval of
    their effective number.
    """
    n = effective_number(flags, run)
    return alarm_rate_sentence(stated, n * float(np.mean(flags)) if n else 0.0, n)


def is_beyond(stated, flags, run):
    """Whether more is flagged than stated, beyond the interval of `rate_sentence`."""
    n = effective_number(flags, run)
    return bool(n) and share_interval(n * float(np.mean(flags)), n)[0] > stated


def history_needed(n_runs, false_discovery_rate):
    """Good lumisections that the calibration needs so that one wholly bad run among `n_runs` can be a
    finding.

    The least p-value is 1 / (n + 1), and Benjamini and Hochberg multiply that of a single finding by the
    number of runs.
    """
    return int(np.ceil(n_runs / false_discovery_rate - 1e-9)) - 1


def shortest_stretch(n_lumisections, n_runs, n_calibration, false_discovery_rate):
    """Flagged lumisections in a run of `n_lumisections` that it takes to be a finding, if each has the least
    p-value there is (Simes 1986).
    """
    return max(int(np.ceil(n_lumisections * n_runs / (n_calibration + 1) / false_discovery_rate - 1e-9)), 1)
