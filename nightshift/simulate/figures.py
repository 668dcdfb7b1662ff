"""Figures of the simulated sample. Each plot takes data and axes, and returns the axes.

plot_core_hours                  accounting by community
plot_trouble, plot_failures      troubled nodes, failing lumisections, beside good ones
plot_tickets, plot_open_tickets  tickets per week; what is open, queue by queue
plot_timeline, plot_outage       all incidents; one outage in two sources
"""

import numpy as np
import pandas as pd

TROUBLED, USUAL = {"color": "C3", "zorder": 2}, {"color": "0.75", "zorder": 1}
OPEN_STEP = 40  # tickets between two queues


def spread_labels(weekly):
    """Where labels of the lines of `weekly`, DataFrame [week, vo], stand: {vo: height}, in the order of the
    last week.

    Evenly on a logarithmic axis, between the least and the largest median.
    """
    usual, last = weekly.replace(0, np.nan).median(), weekly.iloc[-1].sort_values()
    return dict(zip(last.index, np.geomspace(usual.min(), usual.max(), len(last)), strict=True))


def plot_core_hours(weekly, ax, *, heights, span):
    """Plot `weekly` core hours, DataFrame [week, vo], on a logarithmic axis with a label at each line.

    heights : of `spread_labels`. span : (first, last moment).
    """
    for i, (vo, height) in enumerate(heights.items()):
        ax.plot(weekly.index, weekly[vo].replace(0, np.nan), lw=1, color=f"C{i}")
        place = (span[1], height)
        ax.annotate(f" {vo}", place, color=f"C{i}", va="center", fontsize=8, annotation_clip=False)
    ax.set_yscale("log")
    ax.set_xlim(*span)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    return ax


def plot_trouble(examples, axes):
    """Plot one troubled run of each kind (red) beside the other nodes of its job (grey).

    examples : {kind: (label, healthy, troubled)}, arrays (runs, seconds).
    """
    for ax, (kind, (label, healthy, troubled)) in zip(axes, examples.items(), strict=True):
        ax.plot(healthy.T, lw=0.7, **USUAL)
        ax.plot(troubled.T, lw=1.2, **TROUBLED)
        ax.set_title(kind, loc="left", fontsize="medium")
        ax.set_ylabel(label, fontsize="small")
    return axes


def plot_failures(examples, axes):
    """Plot one failing lumisection of each kind (red) beside good ones (grey).

    examples : {kind: (element, centres of its bins, usual (n, bins), failing (bins,))}.
    """
    for ax, (kind, (element, centres, usual, failing)) in zip(axes, examples.items(), strict=True):
        ax.step(centres, usual.T, where="mid", lw=0.6, **USUAL)
        ax.step(centres, failing, where="mid", lw=1.3, **TROUBLED)
        ax.set_title(kind.replace("_", " "), loc="left", fontsize="medium")
        ax.set_xlabel(element, fontsize="small")
    return axes


def plot_tickets(per_week, ax, *, kinds, incidents, span):
    """Plot tickets `per_week`, Series [week], above a bar per incident, one row per kind.

    kinds : names, uppermost row first. incidents : kind, start, end. span : (first, last moment).
    """
    ax.step(per_week.index, per_week, where="post", color="0.3", lw=1)
    for i, kind in enumerate(kinds):
        of_kind, color, y = incidents[incidents.kind == kind], f"C{i}", -6 - 6 * i
        lasts = of_kind.end - of_kind.start
        ax.barh(y, lasts, left=of_kind.start, height=4, color=color, edgecolor=color)
        label = f"  {kind.replace('_', ' ')}"
        ax.annotate(label, (span[1], y), color=color, va="center", fontsize=8, annotation_clip=False)
    ax.set_yticks(np.arange(0, per_week.max() + 20, 20))
    ax.set_xlim(*span)
    return ax


def plot_open_tickets(waiting, ax, *, backlogs, span):
    """Plot what is `waiting`, DataFrame [end of the week, queue], queue by queue from the top, backlogs in
    grey.

    backlogs : incidents, whose entities are queues. span : (first, last moment).
    """
    n = waiting.shape[1]
    for i, (queue, waits) in enumerate(waiting.items()):
        row, color = n - 1 - i, f"C{i}"
        ax.step(waiting.index, waits + OPEN_STEP * row, color=color, lw=1)
        label, place = f"  {queue}, {waits.iloc[-1]} now", (span[1], OPEN_STEP * row + 4)
        ax.annotate(label, place, color=color, fontsize=8, annotation_clip=False)
        for incident in backlogs[backlogs.entity == queue].itertuples():
            ax.axvspan(incident.start, incident.end, row / n, (row + 1) / n, color="0.9", zorder=0)
    ax.set_ylim(0, OPEN_STEP * n)
    ax.set_yticks(OPEN_STEP * np.arange(n), ["0"] * n)
    ax.set_xlim(*span)
    return ax


def plot_timeline(incidents, ax, *, kinds, span):
    """Plot a bar per incident, one row per kind of `kinds` from the top. span : (first, last moment)."""
    rows = list(reversed(kinds))
    for y, kind in enumerate(rows):
        of_kind, color = incidents[incidents.kind == kind], f"C{y % 10}"
        lasts = of_kind.end - of_kind.start
        ax.barh(y, lasts, left=of_kind.start, height=0.6, color=color, edgecolor=color, lw=0.8)
    ax.set_yticks(range(len(rows)), [kind.replace("_", " ") for kind in rows])
    ax.set_xlim(*span)
    return ax


def plot_outage(outage, ax, *, core_hours, durations, end):
    """Plot one site outage (grey) in two sources, from two weeks before it to `end`, on a logarithmic axis.

    core_hours, durations : Series [day], in times of the usual; a share below 0.01 is drawn there.
    """
    shown = slice(outage.start - pd.Timedelta(days=14), end)
    ax.axvspan(outage.start, outage.end, color="0.9", zorder=0)
    lines = [
        (core_hours.clip(lower=0.01), "core hours", "min", "C0"),
        (durations, "transfer time", "max", "C3"),
    ]
    for values, label, extreme, color in lines:
        part = values.loc[shown]
        ax.plot(part.index, part, marker="o", ms=4, color=color)
        if len(part):
            ax.annotate(f"  {label}", (outage.end, part.agg(extreme)), color=color, va="center")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    return ax
