"""What is unusual in the histograms of a lumisection: how badly a model of good ones rebuilds their numbers,
and how sure that is.
"""

import numpy as np
import pandas as pd

from nightshift.detectors.base import check_scores
from nightshift.models import load_model
from nightshift.statistics import alarm_rate_sentence, calibration_needed, is_exceeded

KEY = ["run", "lumisection"]

# ----------------------------------------------------------------------------------------------------- models


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
            scores = own_scores(model, x[is_known])
        else:
            scores = worst_error(feature_errors(model, x[is_known]), detector["usual"], detector["worst"])
        scores = check_scores(scores, is_known.sum(), name=detector["file"])
        out[is_known] = scores - detector["centre"]
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
    return bool(n) and is_exceeded(stated, n * float(np.mean(flags)), n)


def history_needed(n_runs, false_discovery_rate):
    """Good lumisections that the calibration needs so that one wholly bad run among `n_runs` can be a
    finding: Benjamini and Hochberg multiply the p-value of a single finding by the number of runs.
    """
    return calibration_needed(false_discovery_rate / n_runs)


def shortest_stretch(n_lumisections, n_runs, n_calibration, false_discovery_rate):
    """Flagged lumisections in a run of `n_lumisections` that it takes to be a finding, if each has the least
    p-value there is (Simes 1986).
    """
    return max(int(np.ceil(n_lumisections * n_runs / (n_calibration + 1) / false_discovery_rate - 1e-9)), 1)


def scale_features(frame, scaling):
    """(value - min) / (max - min) of the features of `scaling` {feature: {"min", "max"}}, in its order:
    float32 (n, F), clipped to [-10, 10].

    A feature that is constant there gives 0, a missing value NaN; KeyError names features that the frame
    lacks.
    """
    low, high = (np.array([bounds[end] for bounds in scaling.values()], float) for end in ("min", "max"))
    x = (frame[list(scaling)].to_numpy(float) - low) / np.where(high > low, high - low, np.inf)
    return x.clip(-10, 10).astype("float32")
