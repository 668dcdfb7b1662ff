"""Figures of the accounting: the year of a finding, all series together. Nothing is computed here."""

from textwrap import shorten

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter

from nightshift.analysis.accounting import SHAPES


def plot_finding(ax, finding, weeks, *, label, values):
    """Draw the last year of one finding, week by week: grey the usual range, red the weeks of the change.

    label, values : of `quantity_of`, what changed, (S, W). Returns `ax`.
    """
    one_week = pd.Timedelta(days=7)
    year = slice(max(len(weeks) - 55, 0), len(weeks))
    y = values[finding.row, year]
    ax.plot(weeks[year], y, color="C0", lw=1, label="seen")
    inside = (np.arange(len(weeks)) >= finding.start) & (np.arange(len(weeks)) <= finding.end)
    ax.plot(
        weeks[inside], values[finding.row, inside], color="C3", marker="o", ms=4, lw=1, label="of the change"
    )
    if finding.kind not in SHAPES:
        ax.axhspan(finding.low, finding.high, color="0.88", zorder=0)
    ax.set(ylim=(-0.05 * np.nanmax(y), None), xlim=(weeks[year][0] - one_week, weeks[-1] + one_week))
    entity = finding.entity
    if finding.kind == "moved":
        entity = f"{entity}, {finding.site} to {finding.to}"
    who = shorten(entity, 44, placeholder=" ...")
    title = f"{finding.kind.replace('_', ' ')}: {who[:44]}, {weeks[finding.start]:%Y-%m-%d}"
    ax.set_title(title, loc="left", fontsize="medium", parse_math=False)
    ax.set_ylabel(label, fontsize="small")
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    return ax


def plot_all_together(ax, weeks, total, *, n_judged):
    """Draw the core hours `total` (W,) of all series together, a bar per week; the `n_judged` last ones are
    red. Returns `ax`.
    """
    judged = np.arange(len(total)) >= len(total) - n_judged
    ax.bar(weeks, total, width=6, color=np.where(judged, "C3", "C0"))
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    return ax
