"""Statistics that several studies use."""

import numpy as np
import pandas as pd
from scipy import stats


def share_interval(n_hits, n, z=1.96):
    """Wilson interval (low, high) of a share `n_hits` / `n`; (0, 1) of nothing at all. Source: Wilson
    1927.
    """
    if not n:
        return 0.0, 1.0
    share, spread = n_hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return float(max(middle - half, 0)), float(min(middle + half, 1))


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
    losses = pd.DataFrame({"model": np.asarray(model_loss), "baseline": np.asarray(baseline_loss), "n": 1})
    sums = losses.groupby((time - time.min()) // stretch).sum()
    if len(sums) < 2:
        raise ValueError("skill_interval: all rows fall into one stretch of time")
    times_drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    # (1 + resamples, 3), first what was seen
    drawn = np.vstack([np.ones(len(sums)), times_drawn]) @ sums.to_numpy()
    skill = 1 - drawn[:, 0] / np.maximum(drawn[:, 1], least * drawn[:, 2])
    return float(skill[0]), *map(float, np.quantile(skill[1:], [0.025, 0.975]))
