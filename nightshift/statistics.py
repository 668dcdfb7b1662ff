"""Statistics that several studies use."""

import numpy as np


def share_interval(n_hits, n, z=1.96):
    """Wilson interval (low, high) of a share `n_hits` / `n`; (0, 1) of nothing at all. Source: Wilson 1927."""
    if not n:
        return 0.0, 1.0
    share, spread = n_hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return float(max(middle - half, 0)), float(min(middle + half, 1))


def alarm_rate_sentence(stated, n_flagged, n):
    """One sentence that holds the observed share of flagged items, `n_flagged` of `n`, against the stated one, and says so where they disagree."""
    if not n:
        return f"Stated alarm rate {stated:.2%}; nothing was judged, so none was observed."
    low, high = share_interval(n_flagged, n)
    sentence = f"Stated alarm rate {stated:.2%}, observed {n_flagged / n:.2%} ({low:.2%} to {high:.2%})"
    if low > stated:
        return f"{sentence}: more is flagged than stated, so these alarms mean less than they say."
    if high < stated:
        return f"{sentence}: less is flagged than stated, so weaker troubles may be missed."
    return f"{sentence}: as stated."
