"""The observed share of alarms beside the stated one, and whether chance explains the difference."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.statistics.intervals import share_interval


def effective_number(hits, group):
    """Count the independent items that say as much about the share of true `hits` (n,) as these, whose groups
    (runs, days, series) are `group` (n,): float.

    Items of one group share their luck: the variance of the share is that between groups (Kish 1965, design
    effect). It lies between the number of groups and that of items, and is the number of groups where all
    hits are alike, since then nothing tells their variance.
    """
    hits = np.asarray(hits, float)
    if not len(hits):
        return 0.0
    share = hits.mean()
    residual = pd.Series(hits - share).groupby(pd.Index(group)).sum()
    n_groups = len(residual)
    if n_groups < 2:
        return float(n_groups)
    variance = float((residual**2).sum()) * n_groups / (n_groups - 1) / len(hits) ** 2
    return float(np.clip(share * (1 - share) / max(variance, 1e-12), n_groups, len(hits)))


@dataclass(frozen=True)
class AlarmShare:
    """How many ordinary items were flagged, beside the share that is stated.

    stated : in (0, 1). n_flagged of n items were flagged; n_independent items that share no luck would say as
    much. items : what was counted, as a noun in the plural; "" where the sentence before says so.
    """

    stated: float
    n_flagged: float
    n: float
    n_independent: float
    items: str = ""

    @classmethod
    def of(cls, stated, flags, group=None, items=""):
        """Count the `flags`, bool (n,), of items whose groups share their luck; without `group` (n,) each
        item stands for itself. ValueError where it is not known of an item whether it was flagged.
        """
        if pd.isna(np.asarray(flags)).any():
            raise ValueError("AlarmShare: it is not known of every item whether it was flagged")
        flags = np.asarray(flags, bool)
        n_independent = len(flags) if group is None else effective_number(flags, group)
        return cls(stated, int(flags.sum()), len(flags), n_independent, items)

    @property
    def observed(self):
        """The share that was flagged, 0 of nothing."""
        return self.n_flagged / self.n if self.n else 0.0

    @property
    def interval(self):
        """Its 95% interval, (low, high); (0, 1) of nothing."""
        return share_interval(self.observed * self.n_independent, self.n_independent)

    @property
    def is_exceeded(self):
        """Whether more is flagged than stated, beyond the interval; False where nothing was judged."""
        return self.interval[0] > self.stated

    @property
    def sentence(self):
        """One sentence that holds both shares against each other, and says where they disagree."""
        if not self.n:
            return f"Stated alarm rate {self.stated:.2%}; nothing was judged, so none was observed."
        low, high = self.interval
        counted = f" of {self.n:,} {self.items}" if self.items else ""
        shares = f"observed {self.observed:.2%} ({low:.2%} to {high:.2%}){counted}"
        judgement = "as stated"
        if low > self.stated:
            judgement = "more is flagged than stated, so these alarms mean less than they say"
        if high < self.stated:
            judgement = "less is flagged than stated, so weaker troubles may be missed"
        return f"Stated alarm rate {self.stated:.2%}, {shares}: {judgement}."
