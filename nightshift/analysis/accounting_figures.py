"""Figures of the accounting: the year of a finding, all series together. Nothing is computed here."""

from textwrap import shorten

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter

from nightshift.analysis.accounting import SHAPES, quantity_of
from nightshift.catalog import label_of


def last_year(grid):
    """Return where the last year of the `grid` lies, and what is judged after it, as a slice of its weeks."""
    return slice(max(len(grid.weeks) - grid.step.year - 3, 0), len(grid.weeks))


def plot_finding(ax, grid, finding):
    """Draw the last year of one finding, week by week or month by month: grey the usual range, red the weeks
    of the change. Returns `ax`.
    """
    weeks, year = grid.weeks, last_year(grid)
    label, values = quantity_of(grid, finding.kind)
    margin = pd.Timedelta(days=grid.step.days)
    y = values[finding.row, year]
    ax.plot(weeks[year], y, color="C0", lw=1, label="seen")
    inside = (np.arange(len(weeks)) >= finding.start) & (np.arange(len(weeks)) <= finding.end)
    ax.plot(
        weeks[inside], values[finding.row, inside], color="C3", marker="o", ms=4, lw=1, label="of the change"
    )
    if finding.kind not in SHAPES:
        ax.axhspan(finding.low, finding.high, color="0.88", zorder=0)
    ax.set(ylim=(-0.05 * np.nanmax(y), None), xlim=(weeks[year][0] - margin, weeks[-1] + margin))
    entity = finding.entity
    if finding.kind == "moved":
        entity = f"{entity}, {finding.site} to {finding.to}"
    who = shorten(entity, 44, placeholder=" ...")
    title = f"{label_of('accounting', finding.kind)}: {who[:44]}, {weeks[finding.start]:%Y-%m-%d}"
    ax.set_title(title, loc="left", fontsize="medium", parse_math=False)
    ax.set_ylabel(label, fontsize="small")
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    return ax


def plot_all_together(ax, grid, total, *, n_judged):
    """Draw the core hours `total` (n,) of all series together in the last weeks or months of the `grid`, a
    bar for each; the `n_judged` last ones are red. Returns `ax`.
    """
    judged = np.arange(len(total)) >= len(total) - n_judged
    ax.bar(grid.weeks[-len(total) :], total, width=grid.step.days - 1, color=np.where(judged, "C3", "C0"))
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    return ax
