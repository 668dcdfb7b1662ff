"""95% intervals of shares and counts, and what a stated share must be."""

import numpy as np
from scipy import stats

Z = stats.norm.ppf(0.975)


def share_interval(n_hits, n):
    """Return Wilson's 95% interval (low, high) of a share `n_hits` / `n`, which need not be whole numbers;
    (0, 1) of nothing at all. Source: Wilson 1927.
    """
    if not n:
        return 0.0, 1.0
    share, spread = n_hits / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return float(max(middle - half, 0)), float(min(middle + half, 1))


def check_shares(**shares):
    """Raise ValueError, which names the first, unless all `shares` lie between 0 and 1, both excluded."""
    for name, share in shares.items():
        if not 0 < share < 1:  # NaN is not
            raise ValueError(f"{name} is {share}: it must lie between 0 and 1")


def poisson_interval(n):
    """Return the exact 95% interval (low, high) of the expected number of events where `n` were seen; the low
    end is 0 for none. Source: Garwood 1936.
    """
    low = stats.chi2.ppf(0.025, 2 * n) / 2 if n else 0.0
    return float(low), float(stats.chi2.ppf(0.975, 2 * n + 2) / 2)
