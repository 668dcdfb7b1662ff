"""The strip of time of one incident: a bar per finding, and the night that is reported."""

from textwrap import shorten

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.dates import ConciseDateFormatter
from PIL import Image

from helpers import atomic, show_figure
from nightshift import catalog
from nightshift.incidents.wording import status_in_words
from nightshift.wording import plural

MAX_BARS = 7  # of one incident; more than these say no more
# ticks at years, months, days, hours, minutes and seconds; those that begin a longer stretch; below the axis
DATES = {
    "formats": ["%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M", "%S"],
    "zero_formats": ["", "%Y-%m", "%m-%d", "%m-%d", "%H:%M", "%H:%M"],
    "offset_formats": ["UTC", "UTC", "%Y, UTC", "%Y, UTC", "%Y-%m-%d, UTC", "%Y-%m-%d, UTC"],
}
FONT = 11  # points; on a phone, where 5.2 inches become 340 pixels, 10 pixels
LONGEST_LABEL = 50  # characters of a label that has nothing left to leave out


def bar_labels(finding, *, has_twin):
    """Write what may stand above the bar of a finding, who saw what and what is usual, from the longest to
    the shortest text; numbers never lose their unit.

    has_twin : whether a bar of another name shares its study and kind. It is then called by its name instead.
    """
    numbers = ""
    if pd.notna(finding.observed):
        observed, expected = (
            f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
            for value in (finding.observed, finding.expected)
        )
        numbers = f": {observed}, usually {expected} {finding.unit}"
    what = [finding.name] if has_twin else [f"{finding.study}, {finding.label}", finding.label]
    return [*(f"{one}{numbers}" for one in what), shorten(what[0], LONGEST_LABEL, placeholder=" ...")]


def plot_bar(finding, ax, *, height, has_twin):
    """Draw one finding as a bar at `height`, from its start to its end in the colour of its study; returns
    the text above it, the longest that has room, which begins with the bar.
    """
    begin, end = (time.tz_localize(None) for time in (finding.start, max(finding.start, finding.end)))
    colour = catalog.study_of(finding.study).colour
    ax.plot([begin, end], [height, height], color=colour, lw=6, solid_capstyle="butt", marker="|", ms=8)
    text = ax.text(
        begin, height - 0.22, "", va="bottom", fontsize=FONT, color="0.15", parse_math=False, clip_on=True
    )
    for label in bar_labels(finding, has_twin=has_twin):
        text.set_text(label)
        if text.get_window_extent().width <= 0.98 * ax.bbox.width:
            break
    return text


def plot_tonight(timed, ax, *, height, day):
    """Shade the night that is reported and label it at `height`, with the number of timed findings that have
    no bar and the days since the last one ended.

    timed : the findings of the incident that have times. day : the night, date as text.
    """
    night = pd.Timestamp(day)
    ax.axvspan(night, night + pd.Timedelta(days=1), color="0.92", lw=0, zorder=0)
    last = timed.end.max().tz_localize(None) if len(timed) else night
    quiet_days, n_more = (night - last).days, len(timed) - MAX_BARS
    words = "tonight"
    if quiet_days > 0:
        ax.plot([last, night], [height - 0.3, height - 0.3], color="0.4", lw=1, ls=":")
        words = f"{plural(quiet_days, 'day')} later: {words}"
    if n_more > 0:
        words = f"{n_more} more, not drawn; {words}"
    place = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
    ax.text(0.99, height, words, fontsize=FONT, color="0.3", **place)


def plot_strip(findings, ax, *, day):
    """Draw the findings of one incident on a strip of time; returns `ax`.

    Of those with times the MAX_BARS most surprising have a bar, in the order of their starts. If none has
    times, the strip says so.
    """
    timed = findings[findings.start.notna() & findings.end.notna()]
    timed = timed.sort_values(["p_value", "end"], ascending=[True, False], kind="stable")
    drawn = timed.head(MAX_BARS).sort_values("start", kind="stable")
    last = max(len(drawn), 1)
    twins = drawn.groupby(["study", "label"])["name"].transform("nunique") > 1
    labels = [
        plot_bar(finding, ax, height=height, has_twin=has_twin)
        for height, (finding, has_twin) in enumerate(zip(drawn.itertuples(), twins, strict=True))
    ]
    plot_tonight(timed, ax, height=last - 0.2, day=day)
    if not len(timed):
        ax.text(0.01, 0.5, "its source knows no times", transform=ax.transAxes, va="center", fontsize=FONT)
    ax.set(ylim=(last + 0.15, -0.8), yticks=[])
    finish_time_axis(ax)
    move_inside(labels, ax)
    return ax


def finish_time_axis(ax):
    """Leave only the time axis on a strip, with two to five dates, which have room on a phone, and below them
    the year and UTC, once.
    """
    ax.tick_params(labelsize=FONT)
    ax.spines.left.set_visible(False)
    ticks = ax.xaxis.get_major_locator()
    ticks.minticks, ticks.maxticks = 2, dict.fromkeys(ticks.maxticks, 5)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ticks, **DATES))
    ax.xaxis.get_offset_text().set_fontsize(FONT)


def move_inside(labels, ax):
    """Move labels that extend beyond the left or right of `ax` into it. Their extents are known only when all
    is drawn.
    """
    for label in labels:
        box = label.get_window_extent().transformed(ax.transAxes.inverted())
        label.set(transform=ax.get_yaxis_transform(), x=max(0, min(box.x0, 0.98 - box.width)))


def show_strip(row, findings, *, day, path):
    """Draw the strip of one incident, save it to `path` and show it.

    row : title, severity, state, age_nights, ended, change of the incident. findings : its findings, not
    empty. day : the night that is reported, date as text.
    """
    n_bars = int((findings.start.notna() & findings.end.notna()).sum())
    height = 0.9 + 0.42 * min(max(n_bars, 1), MAX_BARS)
    _, ax = plt.subplots(figsize=(5.2, height), gridspec_kw={"left": 0.01, "right": 0.99})
    plot_strip(findings, ax, day=day)
    what = shorten(row.title, 60, placeholder=" ...")
    status = status_in_words(row.state, row.age_nights, bool(row.ended), change=row.change)
    title = f"{what}: {plural(len(findings), 'finding')}, {row.severity}, {status}"
    show_figure(ax, path, title, "", "")
    reduce_colours(path)


def reduce_colours(path):
    """Save a picture anew with 64 colours, at a third of its size, since mails carry it; an octree keeps the
    colour of a short bar.
    """
    with atomic(path) as smaller:
        with Image.open(path) as picture:
            few = picture.convert("RGB").quantize(64, method=Image.Quantize.FASTOCTREE)
        few.save(smaller, "PNG", optimize=True)
