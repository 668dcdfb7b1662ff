"""Coordinates of the pictures of a comparison, drawn by its template as SVG in the colours of the page."""

from typing import NamedTuple

import numpy as np
import pandas as pd

WIDTH = 150  # of the picture of an interval, pixels
SIZE = (330, 210)  # width and height of a panel of learning curves
LEFT, RIGHT, TOP, BASE = 46, 318, 10, 176  # ends of its axes
# of ticks within a power of ten, from coarse to fine
STEPS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), np.arange(1, 10, 0.5), np.arange(1, 10, 0.1))
COLOURS = 6  # classes of colours in the template, from the lowest value of a parameter to the highest


class Scale(NamedTuple):
    """Values from `low` to `high` on the width of a picture."""

    low: float
    high: float

    @classmethod
    def of(cls, values):
        """The scale that holds all finite `values`, with room at both ends."""
        finite = [value for value in values if np.isfinite(value)]
        low, high = max(min(finite), -2.0), max(finite)  # a skill far below zero says no more than that
        room = 0.06 * (high - low) or 0.01
        return cls(low - room, high + room)

    def at(self, value):
        """Place of `value` in pixels."""
        place = (np.clip(value, self.low, self.high) - self.low) / (self.high - self.low)
        return round(float(place) * WIDTH, 1)

    def interval(self, value, low, high):
        """Places of an interval: {"at", "low", "high", "zero"}, the last one where nothing differs."""
        return {"at": self.at(value), "low": self.at(low), "high": self.at(high), "zero": self.at(0.0)}


def curve_charts(curves, runs, names, *, best):
    """Panels of learning curves, and which parameter their colours show: {"panels": [...], "colour": name or
    "", "legend": [(class, value)], "best": name}.

    curves : {network: {name of the run: Series by epoch}}. names : the parameters that differ.
    """
    if not curves:
        return {"panels": [], "colour": "", "legend": [], "best": ""}
    runs = [run for run in runs if any(run.name in lines for lines in curves.values())]
    name = strongest(curves, runs, names)
    values = {run.name: run.parameters.get(name) for run in runs}
    ordered = sorted({value for value in values.values() if is_number(value)}) or list(
        dict.fromkeys(map(str, values.values()))
    )
    place = {value: colour_of(n, len(ordered)) for n, value in enumerate(ordered)}
    classes = {run: place.get(value, place.get(str(value), 0)) for run, value in values.items()}
    return {
        "panels": [panel(network, lines, classes) for network, lines in curves.items()],
        "colour": name,
        "legend": legend_of(ordered, place) if name else [],
        "best": best.name if best else "",
        "size": SIZE,
        "axes": (LEFT, RIGHT, BASE),
    }


def is_number(value):
    """Whether a value can be put in order with others."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def colour_of(position, n):
    """Class of the colour of the value at a `position` among `n` in order."""
    return round(position * (COLOURS - 1) / max(n - 1, 1))


def legend_of(ordered, place):
    """[(class of the colour, value as text)]; of many values the first of each colour."""
    seen = {}
    for value in ordered:
        seen.setdefault(place[value], f"{value:g}" if is_number(value) else str(value))
    return list(seen.items())


def strongest(curves, runs, names):
    """The one of the parameters `names` that explains most of the lowest losses of runs: its groups of runs
    differ most in their mean log losses; "" without any.
    """
    last = pd.DataFrame({n: {run: line.min() for run, line in lines.items()} for n, lines in curves.items()})
    last = np.log(last.clip(lower=1e-12))
    shares = {}
    for name in names:
        group = pd.Series({run.name: str(run.parameters.get(name)) for run in runs}).reindex(last.index)
        n_free = max(len(group) - group.nunique(), 0)  # a parameter with a value per run explains nothing
        within = last - last.groupby(group).transform("mean")
        shares[name] = (
            0.0
            if not n_free
            else 1 - float((within**2).sum().sum() / max(((last - last.mean()) ** 2).sum().sum(), 1e-12))
        )
    return max(shares, key=shares.get, default="")


class Frame(NamedTuple):
    """Where epochs and losses stand in a panel."""

    epochs: int
    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, lines):
        """The frame that holds all finite values of `lines`, a list of Series by epoch."""
        values = pd.concat(lines)
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        epochs = max(int(line.index.max()) for line in lines)
        return cls(epochs, low, high if high > low else low + 1.0, bool((values > 0).all()))

    def x(self, epoch):
        """Place of an epoch in pixels from the left."""
        return round(LEFT + (epoch - 1) / max(self.epochs - 1, 1) * (RIGHT - LEFT), 1)

    def y(self, loss):
        """Place of a loss in pixels from the top."""
        low, high, at = (np.log(v) if self.logarithmic else v for v in (self.low, self.high, loss))
        return round(float(BASE - (at - low) / (high - low) * (BASE - TOP)), 1)


def panel(network, lines, classes):
    """One panel: its lines as points of SVG, and its ticks. classes : {run: class of its colour}."""
    frame = Frame.of(list(lines.values()))
    return {
        "network": network,
        "lines": [drawn(run, line.dropna(), frame, classes.get(run, 0)) for run, line in lines.items()],
        "logarithmic": frame.logarithmic,
        "x_ticks": [(frame.x(epoch), epoch) for epoch in epoch_ticks(frame.epochs)],
        "y_ticks": [(frame.y(value), f"{value:g}") for value in loss_ticks(*frame[1:])],
    }


def drawn(run, line, frame, colour):
    """One line of a panel."""
    places = [(frame.x(epoch), frame.y(value)) for epoch, value in line.items()]
    return {
        "run": run,
        "colour": colour,
        "least": f"{line.min():.4g}",
        "last": f"{line.iloc[-1]:.4g}",
        "points": " ".join(f"{x},{y}" for x, y in places),
        "end": places[-1],
    }


def epoch_ticks(epochs):
    """At most seven epochs at even distances, from the first on."""
    return list(range(1, epochs + 1, -(-epochs // 7)))


def loss_ticks(low, high, logarithmic):
    """Two to six values from `low` to `high`, to two or three digits; round ones on a logarithmic axis."""
    if not logarithmic:
        return [float(f"{value:.2g}") for value in np.linspace(low, high, 4)]
    for steps in STEPS:
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        ticks = [round(step * 10.0**power, 12) for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks if len(ticks) <= 6 else ticks[:: -(-len(ticks) // 6)]
    return [float(f"{low:.3g}"), float(f"{high:.3g}")]
