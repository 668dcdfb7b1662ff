"""What is unusual in the histograms of a lumisection: how badly a model of good ones rebuilds their numbers,
and how sure that is.
"""

import numpy as np
import pandas as pd

from nightshift.detectors.base import check_scores
from nightshift.models import load_model
from nightshift.statistics import chance_of_maximum

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
    """How strange x (n, F) is to a scikit-learn model with a score of its own: (n,), -score_samples, or the
    logarithm of the mean distance from the nearest neighbours.

    That of a one-class SVM is a sum over its support vectors and grows with the rows fitted: it is taken per
    unit of their weights.
    """
    last = getattr(model, "steps", [("", model)])[-1][1]
    if hasattr(last, "kneighbors"):
        nearest = min(last.n_neighbors, last.n_samples_fit_)
        distances, _ = last.kneighbors(model[:-1].transform(x), nearest)
        return np.log(distances.mean(axis=1) + 1e-6)
    return -model.score_samples(x) / (last.dual_coef_.sum() if hasattr(last, "dual_coef_") else 1.0)


def decision_values(frame, detector, folder):
    """How strange the lumisections `frame` of one dataset are: float (n,), higher = stranger, 0 the median
    good one; NaN where a feature is missing.

    detector : what detector.json says of the dataset, its `scaling` and its models (see `members_of`), which
    lie in `folder`. Several models judge by their mean, each in units of its usual spread.
    """
    x = scale_features(frame, detector["scaling"])
    is_known, out = np.isfinite(x).all(axis=1), np.full(len(x), np.nan)
    if is_known.any():
        members = members_of(detector)
        values = [member_values(x[is_known], one, folder) / one["spread"] for one in members]
        out[is_known] = np.mean(values, axis=0)
    return out


def members_of(detector):
    """List the models that judge a dataset together: dicts of file, centre, worst (see `worst_error`), usual,
    the usual squared error of each feature, null for a method with a score of its own, and spread.

    detector : what detector.json says of the dataset. A model that judges alone is its only member.
    """
    return detector.get("members") or [detector | {"spread": 1.0}]


def member_values(x, member, folder):
    """How strange the features x (n, F) are to a member of a detector: float (n,), 0 the median good one."""
    model, usual = load_model(folder / member["file"]), member["usual"]
    alone = usual is None  # a method with a score of its own
    scores = own_scores(model, x) if alone else worst_error(feature_errors(model, x), usual, member["worst"])
    return check_scores(scores, len(x), name=member["file"]) - member["centre"]


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


def shortest_range(maxima, n_calibration, *, alarm_rate, finding_rate, longest=2000):
    """Number of flagged lumisections that make a finding, if each has the least p-value that there is; None
    where `longest` are too few.

    maxima : (n,), the strength of the strongest range of each good run, see `range_strength`. n_calibration :
    good lumisections with which others are compared.
    """
    lengths = np.arange(1, longest + 1)
    strengths = lengths * range_strength([1 / (n_calibration + 1)], alarm_rate)
    enough = np.flatnonzero(chance_of_maximum(strengths, maxima) <= finding_rate)
    return int(lengths[enough[0]]) if len(enough) else None


def range_strength(p_values, alarm_rate):
    """How much the flagged lumisections of a range say together: the sum of 1 + log(alarm_rate / p) of their
    p-values (n,), each at most `alarm_rate`; 0 for none.
    """
    return float(np.sum(1 + np.log(alarm_rate / np.asarray(p_values, float))))


def scale_features(frame, scaling):
    """(value - min) / (max - min) of the features of `scaling` {feature: {"min", "max"}}, in its order:
    float32 (n, F), clipped to [-10, 10].

    A feature that is constant there gives 0, a missing value NaN; KeyError names features that the frame
    lacks.
    """
    low, high = (np.array([bounds[end] for bounds in scaling.values()], float) for end in ("min", "max"))
    x = (frame[list(scaling)].to_numpy(float) - low) / np.where(high > low, high - low, np.inf)
    return x.clip(-10, 10).astype("float32")
