"""The figure of the backtest: true incidents and false ones over time."""

import numpy as np
import pandas as pd

from nightshift.catalog import label_in_any
from nightshift.truth import ONE_DAY


def plot_time_line(incidents, false_nights, ax, *, kinds, window):
    """Draw true incidents as bars from their start to their end, with a triangle at the end of the night on
    which each was first reported, and false ones as crosses below; returns `ax`.

    incidents : kind, start, end, shown, found; those never found are hollow. false_nights : Series of dates
    as text, one per false incident. kinds : names of the rows, from above. window : first and last moment,
    UTC.
    """
    for y, kind in enumerate(kinds):
        of_kind = incidents[incidents.kind == kind]
        ends = of_kind.end.clip(upper=window[1])
        ax.barh(
            [-y] * len(of_kind),
            ends - of_kind.start,
            left=of_kind.start,
            height=0.5,
            color=["C0" if found else "white" for found in of_kind.found],
            edgecolor=["C0" if found else "C3" for found in of_kind.found],
            lw=1.2,
            zorder=2,
        )
        ax.plot(of_kind.shown.dropna() + ONE_DAY, [-y] * int(of_kind.found.sum()), "v", color="0.15", ms=5)
    crosses = pd.to_datetime(false_nights, utc=True) + ONE_DAY
    ax.plot(crosses, [-len(kinds)] * len(crosses), "x", color="C3", ms=6)
    ax.set_yticks(-np.arange(len(kinds) + 1), [*map(label_in_any, kinds), "false"])
    ax.set_xlim(window[0], window[1] + ONE_DAY / 4)
    return ax
