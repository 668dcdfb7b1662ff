"""Bootstrap over whole groups, such as runs, jobs, series or weeks, whose members share their luck."""

import numpy as np
import pandas as pd


def draw_groups(n, *, rng, resamples):
    """Draw `n` groups with replacement: how often each counts, float (1 + resamples, n), first all once.

    Source: Efron 1979; with groups of rows, Davison & Hinkley 1997, section 3.8.
    """
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=resamples)])


def resampled_sums(values, group, *, rng, resamples):
    """Sum up the columns of `values`, DataFrame (n, k), with whole groups drawn anew: float
    (1 + resamples, k), first as they are.

    group : (n,), of each row. The groups are drawn in sorted order.
    """
    sums = values.groupby(np.asarray(group)).sum().to_numpy(float)
    return draw_groups(len(sums), rng=rng, resamples=resamples) @ sums


def percentile_interval(drawn, *, method="linear"):
    """Return the 95% interval (low, high) of a figure from its values `drawn` anew, (resamples,); values that
    are NaN are left out, and without any other both ends are NaN.

    method : of `numpy.quantile`; "nearest" where a value may be infinite. Source: Efron 1981.
    """
    drawn = np.asarray(drawn, float)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return np.nan, np.nan
    low, high = np.quantile(drawn, [0.025, 0.975], method=method)
    return float(low), float(high)


def skill_score(model, baseline, *, least=-np.inf):
    """Return the share of what a baseline lacks to 1 that the model makes good, (model - baseline) /
    (1 - baseline), from `least` to 1; arrays too.

    model, baseline : figures of merit in [0, 1], such as an area or a macro-F1. A baseline that is all but
    perfect counts as one that lacks a thousandth. Source: Murphy 1988.
    """
    return np.clip((model - baseline) / np.maximum(1 - np.asarray(baseline), 0.001), least, 1)


def skill_interval(model_loss, baseline_loss, time, *, rng, resamples=1000, least=0.0):
    """Skill of a model against a baseline with its 95% interval: (skill, low, high), 1 - mean model loss /
    mean baseline loss on the same rows.

    time (n,) : datetimes of the rows. Those of one stretch of six hours (of a twentieth of the whole span, if
    that is less) are drawn together in a block bootstrap, since they share their luck (Kuensch 1989). least :
    mean loss that the baseline counts with at least, since a skill against no loss is no number. ValueError
    when all rows fall into one stretch: there is no interval.
    """
    time = pd.DatetimeIndex(time)
    stretch = min(pd.Timedelta("6h"), max((time.max() - time.min()) / 20, pd.Timedelta("1s")))
    stretches = (time - time.min()) // stretch
    if stretches.nunique() < 2:
        raise ValueError("skill_interval: all rows fall into one stretch of time")
    losses = pd.DataFrame({"model": np.asarray(model_loss), "baseline": np.asarray(baseline_loss), "n": 1})
    drawn = resampled_sums(losses, stretches, rng=rng, resamples=resamples)
    skill = 1 - drawn[:, 0] / np.maximum(drawn[:, 1], least * drawn[:, 2])
    return float(skill[0]), *percentile_interval(skill[1:])
