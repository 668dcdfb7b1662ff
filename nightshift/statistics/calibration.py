"""Scores to p-values: against calibration scores, several tests together, corrected for their number."""

import numpy as np
import pandas as pd
from scipy import stats


def p_values(scores, calibration, groups=None, calibration_groups=None, *, min_calibration=100):
    """Return the conformal p-value of each score, in (0, 1]: (1 + number of calibration scores at or above) /
    (m + 1).

    scores (n,), higher = stranger; calibration (m,), scores of items that the model did not train on. With
    `groups` (n,) and `calibration_groups` (m,) a group with at least `min_calibration` calibration scores is
    judged by its own, the others by all. ValueError when there is no calibration score or a score is not
    finite. Method: Vovk 2012, conditional validity.
    """
    scores, calibration = np.asarray(scores, float), np.asarray(calibration, float)
    if not len(calibration) or not (np.isfinite(scores).all() and np.isfinite(calibration).all()):
        raise ValueError("p_values: needs at least one calibration score, and finite scores only")

    def against(sample, values):
        return (1 + len(sample) - np.searchsorted(np.sort(sample), values, side="left")) / (len(sample) + 1)

    p = against(calibration, scores)
    if groups is not None:
        rows, samples = map(rows_by_number, number_names(groups, calibration_groups))
        for group in [g for g in rows if len(samples.get(g, ())) >= min_calibration]:
            p[rows[group]] = against(calibration[samples[group]], scores[rows[group]])
    return p


def number_names(*several):
    """Number the names in several arrays alike, by the texts that they are: a list of int32 arrays. A missing
    name is "nan". Only categories become texts, so that millions of rows with a few names stay small.
    """
    coded = [pd.Categorical(names) for names in several]
    texts = [np.append(np.asarray(names.categories, str), "nan") for names in coded]
    distinct = np.unique(np.concatenate(texts))
    return [
        np.searchsorted(distinct, text).astype("int32")[names.codes]  # the code of a missing name is -1
        for text, names in zip(texts, coded, strict=True)
    ]


def rows_by_number(numbers):
    """The rows of each number in `numbers`, int (n,): {number: int (rows,)}, each in their order."""
    order = np.argsort(numbers, kind="stable")
    found, begins = np.unique(numbers[order], return_index=True)
    ends = np.append(begins[1:], len(order))
    return {int(one): order[i:j] for one, i, j in zip(found, begins, ends[: len(found)], strict=True)}


def combine_tests(tests, calibration, weights):
    """Combine several tests of items: (score, p-value, name of the strongest test), each (n,); no item gives
    empty arrays.

    tests, calibration : frames of n and of m items with a column per test, higher = stranger. weights :
    {name: share of the alarms}, summing to 1. The score, log(weight / p-value) of the strongest test, is a
    weighted Bonferroni rule (Genovese, Roeder & Wasserman 2006), ranked again among the `calibration`: alarms
    that one test does not use go to the others. Beyond all calibration the statistic breaks ties. Errors of
    `p_values`.
    """

    def evidence(of, itself=0.0):  # (tests, items)
        return np.stack(
            [
                np.log(weight / (p_values(of[name], calibration[name]) - itself))
                + 1e-3 * np.log1p(np.maximum(of[name].to_numpy(), 0))
                for name, weight in weights.items()
            ]
        )

    # an item of the calibration has been counted among it already
    calibrated = evidence(calibration, itself=1 / (len(calibration) + 1))
    found = calibrated if tests is calibration else evidence(tests)
    return (
        found.max(axis=0),
        p_values(found.max(axis=0), calibrated.max(axis=0)),
        np.array(list(weights), object)[found.argmax(axis=0)],
    )


def score_limit(calibration, alarm_rate):
    """Return the limit above which a score has a p-value at or below `alarm_rate`; inf when there are too few
    calibration scores.
    """
    # above the k-th highest there are at most k - 1
    k = int(np.floor(alarm_rate * (len(calibration) + 1)))
    return float(np.sort(calibration)[-k]) if k else float("inf")


def calibration_needed(p_value):
    """Return the least number of calibration scores among which a p-value can be as small as `p_value`, in
    (0, 1): the smallest is 1 / (n + 1).
    """
    return int(np.ceil(1 / p_value - 1e-9)) - 1


def judge_across_folds(tests, fold, weights, *, allowance=0.0, calibrates=None):
    """Judge items, those of each fold by the others, by `combine_tests`: (score, p-value), each (n,).

    tests : statistics of the items, a DataFrame with the columns of `weights`. fold : (n,), of each item.
    allowance : what is taken from the tests of the judged items, a number or {fold: number}. calibrates :
    bool (n,), the items that may judge others; by default all.
    """
    fold = np.asarray(fold)
    calibrates = np.ones(len(fold), bool) if calibrates is None else calibrates
    score, p = np.zeros(len(fold)), np.ones(len(fold))
    for one in np.unique(fold):
        judged = fold == one
        taken = allowance[one] if isinstance(allowance, dict) else allowance
        score[judged], p[judged], _ = combine_tests(
            tests[judged] - taken, tests[~judged & calibrates], weights
        )
    return score, p


def flags_across_folds(tests, fold, weights, alarm_rate, *, allowance=0.0):
    """Flag ordinary items, those of each fold judged by the others: bool (n,). Their mean is the observed
    alarm rate. tests, fold, weights, allowance : as for `judge_across_folds`.
    """
    return judge_across_folds(tests, fold, weights, allowance=allowance)[1] <= alarm_rate


def allowance_for_unseen(tests, fold, weights, alarm_rate):
    """Find how much must be taken from the tests of an unseen group, so that no more than the stated share of
    its ordinary items is flagged: float, at least 0, in units of the tests.

    tests, fold, weights : as for `flags_across_folds`; whole groups (runs, jobs) share a fold. Items of one
    group are alike, so that a new one lies farther out than those that calibrate: where each fold is judged
    by the others, several times the stated share may be flagged. The least allowance that brings this share
    down to the stated one is what a group that nobody has seen is granted. 0 for a single fold.
    """
    if len(np.unique(fold)) < 2:
        return 0.0

    def too_many(allowance):
        return flags_across_folds(tests, fold, weights, alarm_rate, allowance=allowance).mean() > alarm_rate

    if not too_many(0.0):
        return 0.0
    low, high = 0.0, float(np.ptp(tests.to_numpy())) + 1.0  # beyond it, nothing is flagged
    for _ in range(14):  # to a ten-thousandth of the range
        middle = (low + high) / 2
        low, high = (middle, high) if too_many(middle) else (low, middle)
    return high


def flags_of_unseen(tests, fold, weights, alarm_rate):
    """Flag ordinary items, those of each fold judged by the others and granted the allowance that these ask
    for: bool (n,). Their mean is the observed alarm rate of groups that nobody has seen.

    tests, fold, weights : as for `flags_across_folds`. With the allowance of all folds, the share that
    `allowance_for_unseen` was fitted to would come out as stated, and nothing would be tested.
    """
    fold = np.asarray(fold)
    allowance = {
        one: allowance_for_unseen(tests[fold != one], fold[fold != one], weights, alarm_rate)
        for one in np.unique(fold)
    }
    return flags_across_folds(tests, fold, weights, alarm_rate, allowance=allowance)


def chance_of_maximum(strengths, maxima):
    """Give the chance of an ordinary group to hold something as strong, from the strongest thing that each of
    n ordinary groups holds: (k,), in (0, 1].

    strengths : (k,), not negative. maxima : (n,), 0 for a group without anything. The share of groups with
    anything is (m + 1) / (n + 2); how strong it is follows an exponential law, of which the m positive maxima
    tell the scale, so that a strength x is surpassed with the chance (1 + x / sum)^-m. This is the predictive
    law for a scale that is known from m values only (Aitchison & Dunsmore 1975, chapter 2): a few groups
    promise no small chance. No group gives 1.
    """
    x, maxima = np.asarray(strengths, float), np.asarray(maxima, float)
    positive = maxima[maxima > 0]
    if not len(maxima):
        return np.ones(len(x))
    share = (len(positive) + 1) / (len(maxima) + 2)
    beyond = (1 + x / positive.sum()) ** -len(positive) if len(positive) else np.ones(len(x))
    return np.where(x > 0, share * beyond, 1.0)


def benjamini_hochberg(p_values, n_tests=0):
    """Adjust `p_values` (n,) for the number of tests, so that the expected share of false ones among those
    at or below a rate is at most that rate: float (n,); none gives none.

    n_tests : number of all tests, where it is larger: those that are not listed count with a p-value of 1.
    Source: Benjamini & Hochberg 1995.
    """
    p = np.asarray(p_values, float)
    if not len(p):
        return p
    return stats.false_discovery_control(np.append(p, np.ones(max(n_tests - len(p), 0))))[: len(p)]
