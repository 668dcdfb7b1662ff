"""Spread that a few outliers do not move."""

import numpy as np

NORMAL_MAD = 1.4826  # standard deviations of a normal law in one median absolute deviation


def robust_spread(values):
    """Return the median absolute deviation of `values` (n,), NaN left out, as the standard deviation of a
    normal law: float, in the unit of the values; NaN for none. Source: Hampel 1974.
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(NORMAL_MAD * np.median(np.abs(values - np.median(values)))) if len(values) else np.nan
