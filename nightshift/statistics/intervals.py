"""95% intervals of shares and counts, what a stated share must be, and what an observed alarm rate says."""

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


def alarm_rate_sentence(stated, n_flagged, n, items=""):
    """One sentence that holds the observed share of flagged items, `n_flagged` of `n`, against the stated
    one, and says where they disagree.

    items : which ones were counted, as a noun in the plural; "" where the sentence before says so.
    """
    if not n:
        return f"Stated alarm rate {stated:.2%}; nothing was judged, so none was observed."
    low, high = share_interval(n_flagged, n)
    counted = f" of {n:,} {items}" if items else ""
    sentence = (
        f"Stated alarm rate {stated:.2%}, observed {n_flagged / n:.2%} ({low:.2%} to {high:.2%}){counted}"
    )
    if low > stated:
        return f"{sentence}: more is flagged than stated, so these alarms mean less than they say."
    if high < stated:
        return f"{sentence}: less is flagged than stated, so weaker troubles may be missed."
    return f"{sentence}: as stated."


def is_exceeded(stated, n_flagged, n):
    """Return whether more than the `stated` share is flagged, `n_flagged` of `n`, beyond the interval of
    `alarm_rate_sentence`; False where nothing was judged.
    """
    return share_interval(n_flagged, n)[0] > stated
