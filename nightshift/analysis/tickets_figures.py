"""Figures of the tickets study. Each `plot_` takes data and an `ax`, computes nothing, returns the `ax`."""

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import PercentFormatter

from nightshift.analysis.tickets_texts import drawn, font_path
from nightshift.catalog import label_of
from nightshift.figures import label_lines

GREY = "0.85"  # what was to be expected
WEEKS_SHOWN = 78  # of a finding: its last year and a half
DONE = {"resolution": "resolved", "response": "answered"}
Y_LABELS = {"tickets per week": "tickets a week", "hours": "closings a week"}


def hide_unused(axes, n):
    """Hide all but the first `n` of an array of axes."""
    for ax in axes.flat[n:]:
        ax.set_visible(False)


def plot_finding(ax, finding, *, week_ends, seen, expected):
    """Draw one finding beside its own past: seen blue, expected grey, the weeks of the finding red.

    finding : kind, entity, unit, start, end. week_ends : Series of datetime64 (W,). seen, expected : float
    (W,), NaN where nothing is expected.
    """
    at, shown = week_ends.to_numpy(), slice(max(len(week_ends) - WEEKS_SHOWN, 0), len(week_ends))
    ax.fill_between(at[shown], 0, expected[shown], color=GREY, lw=0, label="expected")
    ax.plot(at[shown], seen[shown], color="C0", lw=1, label="seen")
    red = ((week_ends > finding.start) & (week_ends <= finding.end)).to_numpy()
    ax.plot(at[red], seen[red], color="C3", marker="o", ms=3, lw=1, label="of the finding")
    ax.set_ylabel(Y_LABELS.get(finding.unit, finding.unit), fontsize="small")
    ax.set_ylim(0, None)
    title = f"{label_of('tickets', finding.kind)}: {drawn(finding.entity, 38)}"
    ax.set_title(title, loc="left", fontsize="medium", parse_math=False)
    return ax


def plot_months(ax, months):
    """Draw the tickets a day of each month, semester months orange, with their trend.

    months : DataFrame [first day] rate, trend, semester.
    """
    ax.bar(months.index, months.rate, width=25, color=np.where(months.semester, "C1", "C0"))
    ax.plot(months.index, months.trend, color="k", lw=2)
    ax.set_ylim(0, None)
    return ax


def plot_years(ax, months, semesters):
    """Draw the same months, one line a year; bands mark the months in which a semester begins."""
    years = months.assign(year=months.index.year, month=months.index.month)
    shades = colormaps["cividis_r"](np.linspace(0.25, 1, years.year.nunique()))  # later years darker
    for (year, of_year), color in zip(years.groupby("year"), shades, strict=True):
        ax.plot(of_year.month, of_year.rate, color=color, marker="o", ms=3, label=str(year))
    for month in semesters:
        ax.axvspan(month - 0.5, month + 0.5, color="C1", alpha=0.2, lw=0, zorder=0)
    ax.set(xticks=range(1, 13), xlim=(0.5, 12.5), ylim=(0, None))
    label_lines(ax)
    return ax


def plot_weeks(ax, week_ends, *, counts, expected, odd):
    """Draw the tickets of each week over the expected ones; `odd`, numbers of weeks, are marked red.

    week_ends : Series of datetime64 (W,). counts, expected : float (W,).
    """
    at = week_ends.to_numpy()
    ax.fill_between(at, 0, expected, color="0.88", lw=0)
    ax.plot(at, counts, color="C0", lw=1.2)
    ax.plot(at[odd], counts[odd], "o", color="C3")
    ax.set(ylim=(0, None), xlim=(at[0], at[-1] + np.timedelta64(7, "D")))
    return ax


def plot_backlog(ax, week_ends, *, n_open, expected):
    """Draw the open tickets at the ends of weeks, Series of datetime64 (W,), over the expected ones."""
    ax.fill_between(week_ends, 0, expected, color=GREY, lw=0)
    ax.plot(week_ends, n_open, color="C0", lw=1.5)
    ax.set_ylim(0, None)
    return ax


def plot_waits(ax, curves, *, column, what):
    """Draw the share of tickets done within so many hours, as steps, named from the fastest group to the
    slowest.

    column, what : which groups these are, and which wait. curves : list of (name of the group, hours, share),
    the latter two float (k,).
    """
    for name, hours, share in sorted(curves, key=lambda curve: np.interp(0.5, curve[2], curve[1])):
        ax.step(hours, share, where="post", lw=1.5, label=drawn(name, 26))
    ax.set(xscale="log", ylim=(0, 1.02), xlim=(0.1, None))
    ax.axhline(0.5, color="k", lw=0.8, ls=":")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1.03), fontsize="small")
    ax.set_title(f"{DONE[what]}, by {column}", loc="left", fontsize="medium")
    return ax


def plot_closures(ax, counts, *, labels, n_open):
    """Draw the closed tickets of each bin, by its upper edge in words, and the open ones apart, orange."""
    at = np.arange(len(counts))
    ax.bar(at, counts, width=0.9)
    ax.bar(len(counts) + 0.5, n_open, width=0.9, color="C1")
    ax.set_xticks([*at, len(counts) + 0.5], [*labels, "open"], fontsize="small", rotation=30)
    return ax


def plot_shares(ax, table, *, whole, title):
    """Draw the share of each group with its interval, and that of the `whole` dotted.

    table : DataFrame group, tickets, share, low, high, in the order from above.
    """
    at = np.arange(len(table))[::-1]
    ax.hlines(at, table.low, table.high, color="C0", lw=2)
    ax.plot(table.share, at, "o", color="C0")
    labels = [drawn(f"{t.group} ({t.tickets})", 34) for t in table.itertuples()]
    ax.set_yticks(at, labels, fontsize="small", parse_math=False)
    ax.axvline(whole, color="k", lw=0.8, ls=":")
    ax.set_xlim(0, None)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_title(title, loc="left", fontsize="medium")
    return ax


def plot_cloud(ax, weights, *, title, seed):
    """Draw the words of a group, larger the more they weigh. weights : {word: weight}, not empty."""
    from wordcloud import WordCloud

    cloud = WordCloud(
        width=300,
        height=140,
        max_words=25,
        font_path=font_path(),
        background_color="white",
        colormap="viridis",
        random_state=seed,
        prefer_horizontal=1,
    )
    ax.imshow(cloud.generate_from_frequencies(weights), interpolation="bilinear")
    ax.set_title(drawn(title, 40), loc="left", fontsize="small", parse_math=False)
    return ax


# ------------------------------------------------------------------------------------------- Of preprocessing


def plot_remaining(ax, names, n_left):
    """Draw how many tickets are left after each step, with their numbers; the first bar, grey, is all."""
    ax.barh(names, n_left, color=["0.7"] + ["C0"] * (len(names) - 1))
    ax.bar_label(ax.containers[0], [f"{n:,}" for n in n_left], padding=3)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * n_left[0])
    return ax


def plot_departments(ax, counts):
    """Draw the tickets of each department, Series [name], from above; names of no department are grey."""
    colours = ["0.7" if name in ("unknown", "external", "other") else "C0" for name in counts.index]
    ax.barh(range(len(counts)), counts, color=colours)
    ax.set_yticks(range(len(counts)), counts.index.str.slice(0, 40), parse_math=False)
    ax.invert_yaxis()
    return ax


# ------------------------------------------------------------------------------------------------ Of training


def plot_stability(ax, mean, *, error, chosen):
    """Draw the stability of each resolution, with the standard error of its difference from the best one.

    mean, error : Series [resolution]. chosen : one of them, marked red. The dotted line is the best mean: a
    resolution whose band reaches it is as stable.
    """
    ax.fill_between(mean.index, mean - error, mean + error, color="C0", alpha=0.2, lw=0)
    ax.plot(mean.index, mean, "o-", color="C0", ms=4)
    ax.axhline(mean.max(), color="0.5", lw=1, ls=":")
    ax.plot(chosen, mean[chosen], "o", color="C3", ms=9)
    above = {"xytext": (0, 10), "textcoords": "offset points", "ha": "center"}
    ax.annotate(f"chosen: {chosen:g}", (chosen, mean[chosen]), color="C3", **above)
    ax.set_xscale("log")
    ax.set_xticks(list(mean.index), [f"{r:g}" for r in mean.index])
    ax.minorticks_off()
    ax.margins(y=0.25)
    return ax


def label_apart(ax, places, names):
    """Write names at their places, the first ones first; one that would cover another is left out.

    places : float (n, 2). names : list of str (n,).
    """
    ax.figure.canvas.draw()
    boxes = []
    for place, name in zip(places, names, strict=True):
        above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
        text = ax.annotate(name, place, fontsize=8, parse_math=False, **above)
        box = text.get_window_extent().expanded(1.02, 1.1)
        if any(box.overlaps(other) for other in boxes):
            text.remove()
        else:
            boxes.append(box)


def plot_topic_map(ax, places, *, topics, is_new):
    """Draw topics at their places (n, 2), area by tickets, new ones red, the first 25 with their names.

    topics : DataFrame name, size (n rows). is_new : bool (n,).
    """
    ax.scatter(*places.T, s=4 * topics["size"], c=np.where(is_new, "C3", "C0"), alpha=0.4, lw=0)
    label_apart(ax, places[:25], [drawn(", ".join(name.split(", ")[:2]), 40) for name in topics.name[:25]])
    ax.set(xticks=[], yticks=[])
    return ax


def plot_topic_sizes(ax, topics):
    """Draw how many tickets each topic holds.

    topics : DataFrame topic, name, size, in the order from above.
    """
    ax.barh(range(len(topics)), topics["size"], color="C0")
    labels = [f"{t.topic}  {drawn(t.name, 60)}" for t in topics.itertuples()]
    ax.set_yticks(range(len(topics)), labels, fontsize=8, parse_math=False)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    return ax
