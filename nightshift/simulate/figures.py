"""Figures of the simulated sample.

core_hours              accounting by community
trouble, failures       troubled nodes, failing lumisections, beside good ones
tickets, open_tickets   tickets per week; what is open, queue by queue
timeline, outage        all incidents; one outage in two sources

Of each `plot_` takes data and axes, and returns the axes; `show_` says in a title what there is to see, saves
the figure and shows it.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from helpers import show_figure
from nightshift.catalog import label_in_any
from nightshift.simulate import accounting, certification, telemetry, tickets, transfers

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


def show_core_hours(records, settings, *, path):
    """Show the core hours of each community over the whole span, and how far those of users fall at the turn
    of the year.

    records : of `accounting.draw_records`.
    """
    weekly = accounting.sum_weeks(records, until=settings.this_monday)
    users = set(accounting.COMMUNITIES.vo[accounting.COMMUNITIES.users])
    of_users = weekly[[vo for vo in weekly if vo in users]].sum(axis=1)
    of_turn = (weekly.index.month == 12) & (weekly.index.day >= 25)
    at_turn = of_users[of_turn].median() / of_users.median()
    title = (
        f"{weekly.sum().sum() / 1e6:,.0f} million core hours in {settings.accounting_weeks} weeks; "
        f"users at {at_turn:.0%} in the last week of a year"
    )
    _, ax = plt.subplots(figsize=(9, 4))
    span = settings.first_monday, settings.end
    ax = plot_core_hours(weekly, ax, heights=spread_labels(weekly), span=span)
    show_figure(ax, path, title, "week, UTC", "core hours per week")


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


def show_trouble(runs, settings, *, gauges, rates, path):
    """Show the last troubled run of each kind beside the other nodes of its job.

    runs : of `telemetry.draw_runs`. gauges, rates : of `telemetry.simulate_nodes`.
    """
    title = (
        f"{len(telemetry.node_incidents(runs))} troubled runs in {settings.nights} nights: the last one of "
        "each kind (red) beside the other nodes of its job (grey)"
    )
    examples = telemetry.examples_of_trouble(runs, gauges, rates=rates)
    _, axes = plt.subplots(1, len(examples), figsize=(13, 2.8), layout="constrained")
    show_figure(plot_trouble(examples, axes), path, title, "second of the run", "")


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


def show_failures(failures, settings, *, contents, lumisections, path):
    """Show a strong failure of each kind beside good lumisections.

    failures : of `certification.draw_failures`. contents : of `certification.fill_histograms`.
    """
    examples = certification.examples_of_failures(failures, contents, lumisections=lumisections)
    title = (
        f"{len(failures)} failures in {settings.certification_runs} runs: one lumisection of a strong "
        "failure of each kind (red) beside good ones of other runs"
    )
    _, axes = plt.subplots(1, len(examples), figsize=(13, 2.9), layout="constrained")
    show_figure(plot_failures(examples, axes), path, title, "", "share of the entries, %")


def plot_tickets(per_week, ax, *, kinds, incidents, span):
    """Plot tickets `per_week`, Series [week], above a bar per incident, one row per kind.

    kinds : names, uppermost row first. incidents : kind, start, end. span : (first, last moment).
    """
    ax.step(per_week.index, per_week, where="post", color="0.3", lw=1)
    for i, kind in enumerate(kinds):
        of_kind, color, y = incidents[incidents.kind == kind], f"C{i}", -6 - 6 * i
        lasts = of_kind.end - of_kind.start
        ax.barh(y, lasts, left=of_kind.start, height=4, color=color, edgecolor=color)
        label = f"  {label_in_any(kind)}"
        ax.annotate(label, (span[1], y), color=color, va="center", fontsize=8, annotation_clip=False)
    ax.set_yticks(np.arange(0, per_week.max() + 20, 20))
    ax.set_xlim(*span)
    return ax


def show_tickets(asked, settings, *, incidents, path):
    """Show how many tickets are `asked` per week, of `tickets.draw_tickets`, with the `incidents` of the
    desk.
    """
    per_week, span = tickets.count_per_week(asked, settings), (settings.tickets_from, settings.end)
    title = (
        f"{per_week.sum():,} tickets in {settings.ticket_weeks} weeks, {np.median(per_week):.0f} in the "
        f"median week; {len(incidents)} incidents (coloured)"
    )
    _, ax = plt.subplots(figsize=(9, 3.2))
    ax = plot_tickets(per_week, ax, kinds=tickets.KINDS.index, incidents=incidents, span=span)
    show_figure(ax, path, title, "week", "tickets per week")


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


def show_open_tickets(asked, settings, *, intents, incidents, path):
    """Show how many of the tickets `asked`, of `tickets.draw_waits`, are open at the end of each week, in
    each queue, the one with most tickets on top.
    """
    queues = intents.groupby("queue").share.sum().sort_values(ascending=False).index
    waiting = tickets.count_open(asked, settings, queues=queues)
    backlogs, all_open = incidents[incidents.kind == "backlog"], waiting.sum(axis=1)
    title = (
        f"{np.median(all_open):.0f} tickets are open at the end of the median week, {all_open.iloc[-1]} now; "
        "staff away in grey"
    )
    _, ax = plt.subplots(figsize=(9, 3.2))
    ax = plot_open_tickets(waiting, ax, backlogs=backlogs, span=(settings.tickets_from, settings.end))
    show_figure(ax, path, title, "week", "open tickets, one step is 40")


def plot_timeline(incidents, ax, *, kinds, span):
    """Plot a bar per incident, one row per kind of `kinds` from the top. span : (first, last moment)."""
    rows = list(reversed(kinds))
    for y, kind in enumerate(rows):
        of_kind, color = incidents[incidents.kind == kind], f"C{y % 10}"
        lasts = of_kind.end - of_kind.start
        ax.barh(y, lasts, left=of_kind.start, height=0.6, color=color, edgecolor=color, lw=0.8)
    ax.set_yticks(range(len(rows)), list(map(label_in_any, rows)))
    ax.set_xlim(*span)
    return ax


def show_timelines(truth, settings, *, folder):
    """Show all incidents in the days of the transfers, and those of accounting and tickets in the years of
    the accounting: timeline.png and timeline_accounting.png.
    """
    slow_kinds = [*accounting.KINDS.index, *tickets.KINDS.index]
    others = [*telemetry.KINDS, "idle_gpu", *certification.FAILURES.kind.unique()]
    kinds = [*transfers.HOURS, *accounting.KINDS.index, *others, *tickets.KINDS.index]
    pictures = {
        "timeline": (kinds, settings.start),
        "timeline_accounting": (slow_kinds, settings.first_monday),
    }
    for name, (rows, since) in pictures.items():
        shown = truth[truth.kind.isin(rows) & (truth.end > since)]
        days = (settings.end - since).days
        title = (
            f"{len(shown)} incidents of {shown.kind.nunique()} kinds in the {days} days up to {settings.day}"
        )
        _, ax = plt.subplots(figsize=(9, 0.9 + 0.3 * len(rows)))
        ax = plot_timeline(shown, ax, kinds=rows, span=(since, settings.end))
        show_figure(ax, folder / f"{name}.png", title, "time, UTC", "")


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


def show_outage(outage, settings, *, share, longer, path):
    """Show one site outage in core hours and in transfer times.

    share : core hours of each day as a share of the median day, of `accounting.share_of_median`. longer : how
    many times as long transfers took, of `transfers.times_as_long`.
    """
    slower = longer.groupby(longer.index.floor("D")).median()
    whole_days = (share.index >= outage.start) & (share.index + pd.Timedelta(days=1) <= outage.end)
    factor = longer[(longer.index >= outage.start) & (longer.index < outage.end)].median()
    takes = f", transfers take {factor:.0f} times as long" if np.isfinite(factor) else ""
    title = (
        f"{outage.entity} is out, {outage.start:%Y-%m-%d} to {outage.end:%Y-%m-%d}: "
        f"{share[whole_days].median():.0%} of its core hours{takes}"
    )
    _, ax = plt.subplots(figsize=(9, 3))
    ax = plot_outage(outage, ax, core_hours=share, durations=slower, end=settings.end)
    show_figure(ax, path, title, "day, UTC", "times usual")
