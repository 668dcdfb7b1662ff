"""Figures over the nights as SVG within a page: stacked bars and lines, with axes and units.

They are drawn in the colours of the style sheet, by the classes that a Series names. A title and a table of
the numbers stand beside each: to a program that reads pages aloud, a figure is its label.
"""

import itertools
import json
import math
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup, escape

from nightshift.reporting.nights import day_before, days_between
from nightshift.series import LEAST, short

LEFT, RIGHT, TOP, BOTTOM = 52, 14, 26, 26  # pixels around the axes
LABEL = 84  # pixels that the date of a night takes
STEPS = (1, 2, 7, 14, 28, 56, 112, 364)  # days between dates on an axis


class Series(NamedTuple):
    """One quantity over the nights. values : a number per night, None where it is not known. mark : class of
    the style sheet. is_level : whether it is something to compare with, drawn without dots.
    """

    name: str
    values: list
    mark: str
    is_level: bool = False


class Size(NamedTuple):
    """Width and height of a figure, in pixels. top : the highest value of its axis; None is what is drawn."""

    wide: int
    high: int
    top: float | None = None


LARGE, SMALL = Size(960, 230), Size(340, 170)
SHARES = SMALL._replace(top=1)
NIGHT = 40  # pixels per night for which a large figure makes room


def large(days):
    """The Size of a figure that stands alone: as wide as its nights need, from SMALL to LARGE."""
    needed = LEFT + RIGHT + NIGHT * (days_between(days[0], days[-1]) + 1)
    return LARGE._replace(wide=min(max(needed, SMALL.wide), LARGE.wide))


class Frame(NamedTuple):
    """Axes of a figure. days : the nights. top : the highest value."""

    size: Size
    days: list
    top: float

    def x(self, day):
        """Pixels from the left to the middle of a night."""
        return LEFT + (days_between(self.days[0], day) + 0.5) * self.per_night

    @property
    def per_night(self):
        """Pixels that a night takes."""
        return (self.size.wide - LEFT - RIGHT) / (days_between(self.days[0], self.days[-1]) + 1)

    def y(self, value):
        """Pixels from the top to a value; one outside the axis lies at its end."""
        inside = self.size.high - TOP - BOTTOM
        return TOP + inside * (1 - min(max(value / self.top, 0), 1))


def ticks_of(top):
    """Round numbers from 0 to the first at or above `top`, at most six of them: list of float."""
    if not top > 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(top / 5))
    step = next(power * one for one in (1, 2, 5, 10) if top <= 5 * power * one)
    return [step * n for n in range(math.ceil(round(top / step, 9)) + 1)]


def axes(frame, unit, ticks):
    """Draw both axes of a figure, with round numbers on one and dates on the other: text of SVG."""
    right, base = frame.size.wide - RIGHT, frame.y(0)
    parts = [f'<text x="4" y="14">{escape(unit)}</text>']
    for one in ticks:
        y = frame.y(one)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{one:,.10g}</text>')
    span = days_between(frame.days[0], frame.days[-1])
    fit = max((right - LEFT) // LABEL, 1)
    step = next((one for one in STEPS if span / one < fit), STEPS[-1])
    for back in range(0, span + 1, step):
        day = day_before(frame.days[-1], back)
        x = frame.x(day)
        at = min(max(x, LABEL / 2), frame.size.wide - LABEL / 2)
        parts.append(f'<path class="base" d="M{x:.1f} {base:.1f}v4"/>')
        parts.append(f'<text x="{at:.1f}" y="{base + 18:.1f}" text-anchor="middle">{day}</text>')
    parts.append(f'<path class="base" d="M{LEFT} {base:.1f}H{right}"/>')
    return "".join(parts)


def picture(frame, label, inside):
    """Put what is drawn into an SVG that is read aloud as `label`: Markup."""
    wide, high, _ = frame.size
    attributes = f'role="img" aria-label="{escape(label)}" width="{wide}" height="{high}"'
    return Markup(f'<svg class="chart" {attributes} viewBox="0 0 {wide} {high}">{inside}</svg>')


def numbers_of(days, series, unit):
    """The same figure as numbers, for readers who zoom: text of JSON as nightshift/series.py describes it; ""
    for so few nights that there is nothing to zoom into.
    """
    if len(days) < LEAST:
        return ""
    seconds = [round(datetime.fromisoformat(f"{day}T00:00+00:00").timestamp()) for day in days]
    steps = [seconds[0], *(later - one for one, later in itertools.pairwise(seconds))]
    shown = [
        {
            "name": one.name.replace("_", " "),
            "mark": one.mark,
            "k": "points" if one.is_level else "line",
            "y": ",".join("n" if value is None else short(value) for value in one.values),
        }
        for one in series
    ]
    about = {"title": "", "y": unit, "log": False, "unit": "", "x": ",".join(map(str, steps))}
    panel = about | {"series": shown, "across": [], "along": [], "of": 0}
    return json.dumps({"panels": [panel]}, separators=(",", ":"))


def bands(frame, days):
    """Shade nights of which not all is known: text of SVG."""
    wide = frame.per_night
    shape = f'y="{TOP}" width="{wide:.1f}" height="{frame.y(0) - TOP:.1f}"'
    return "".join(f'<rect class="unknown" x="{frame.x(day) - wide / 2:.1f}" {shape}/>' for day in days)


def stacked_bars(days, series, *, unit, label, shaded=()):
    """Draw a bar per night, of one part per series from below: Markup of an SVG.

    days : the nights, the earliest first, at least one. series : list of Series. shaded : nights of which not
    all is known.
    """
    totals = [sum(one.values[i] or 0 for one in series) for i in range(len(days))]
    ticks = ticks_of(max(totals))
    frame = Frame(large(days), days, ticks[-1])
    wide, drawn = min(max(frame.per_night * 0.8, 1), 40), ""
    for i, day in enumerate(days):
        low = 0
        for one in series:
            if value := one.values[i]:
                y, x = frame.y(low + value), frame.x(day) - wide / 2
                shape = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{frame.y(low) - y:.1f}"'
                drawn += f'<rect class="{one.mark}" {shape}/>'
                low += value
    return picture(frame, label, bands(frame, shaded) + axes(frame, unit, ticks) + drawn)


def lines(days, series, *, unit, label, size=None):
    """Draw a line per series over the nights, with a dot per night, and gaps where nothing is known: Markup.

    days : the nights, the earliest first, at least one. series : list of Series. size : Size; None is
    `large`.
    """
    size = size or large(days)
    highest = max((value for one in series for value in one.values if value is not None), default=0)
    ticks = ticks_of(size.top or highest)
    frame = Frame(size, days, ticks[-1])
    drawn = "".join((level if one.is_level else line)(frame, one) for one in series)
    return picture(frame, label, axes(frame, unit, ticks) + drawn)


def level(frame, series):
    """Draw a series as a short line in every night: text of SVG."""
    wide, drawn = frame.per_night, ""
    for day, value in zip(frame.days, series.values, strict=True):
        if value is not None:
            place = f"M{frame.x(day) - wide / 2:.1f} {frame.y(value):.1f}"
            drawn += f'<path class="line {series.mark}" d="{place}h{wide:.1f}"/>'
    return drawn


def line(frame, series):
    """Draw a series as a line with dots: text of SVG."""
    path, dots, pen = "", "", "M"
    for day, value in zip(frame.days, series.values, strict=True):
        if value is None:
            pen = "M"
            continue
        x, y = frame.x(day), frame.y(value)
        path, pen = f"{path}{pen}{x:.1f} {y:.1f}", "L"
        dots += f'<circle class="{series.mark}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
    return f'<path class="line {series.mark}" d="{path}"/>{dots}' if path else ""
