"""How figures look, and text from outside that stays text: no name of a file, site or user reaches
matplotlib's parser of mathematical text.

Importing this module sets the style of `figures.mplstyle` and turns the parser off for whatever is drawn from
then on, also where a figure is measured before it is shown. Only the formatters of logarithmic axes write
formulas of their own; `plain_text` lets them write the same in plain characters.
"""

import re
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import Formatter, LogFormatter, LogitFormatter

matplotlib.rcParams.update(
    matplotlib.rc_params_from_file(Path(__file__).with_suffix(".mplstyle"), use_default_template=False)
)
matplotlib.rcParams["text.parse_math"] = False

DOTS_PER_INCH = 110
TIMES = "\N{MULTIPLICATION SIGN}"
RAISED = str.maketrans("0123456789+-\N{MINUS SIGN}", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")


def plain_number(text):
    r"""Write a label of matplotlib's logarithmic formatters without markup: "$\mathdefault{2\times10^{-3}}$"
    becomes 2 times 10⁻³."""
    text = text.replace(r"\mathdefault", "").replace(r"\times", TIMES).replace(r"\cdot", TIMES)
    text = re.sub(r"\\d?frac\{(.+?)\}\{(.+?)\}", r"\1/\2", text)
    text = re.sub(r"\^\{(.+?)\}", lambda found: found[1].translate(RAISED), text)
    return re.sub(r"[${}]", "", text)


class PlainNumbers(Formatter):
    """Format ticks as the formatter `numbers` does, without markup."""

    def __init__(self, numbers):
        self.numbers = numbers

    def set_axis(self, axis):
        super().set_axis(axis)
        self.numbers.set_axis(axis)

    def set_locs(self, locs):
        super().set_locs(locs)
        self.numbers.set_locs(locs)

    def __call__(self, x, pos=None):
        return plain_number(self.numbers(x, pos))


def spread(at, least, highest):
    """Move the positions `at`, ascending, apart by at least `least`, upwards first, and no further than
    `highest`: float (n,).
    """
    up = np.arange(len(at)) * least
    apart = up + np.maximum.accumulate(np.asarray(at, float) - up)
    return np.minimum(apart, highest - up[::-1])


def label_lines(ax, *, size="small"):
    """Write the label of each line of `ax` at its right end, in its colour, in the place of a legend; labels
    that would overlap are moved apart, in the order of their lines.

    Lines without a label, or without a finite point, stay as they are.
    """
    named = [line for line in ax.lines if not line.get_label().startswith("_")]
    points = [np.asarray(line.get_xydata(), float) for line in named]
    finite = [xy[np.isfinite(xy).all(axis=1)] for xy in points]
    to_axes = ax.transData + ax.transAxes.inverted()
    ends = [(to_axes.transform(xy[-1])[1], line) for line, xy in zip(named, finite, strict=True) if len(xy)]
    ends.sort(key=lambda end: end[0])
    height = ax.get_window_extent().height / ax.figure.dpi * 72  # points
    line_height = 1.25 * FontProperties(size=size).get_size_in_points() / height
    for up, (_, line) in zip(spread([up for up, _ in ends], line_height, 1.0), ends, strict=True):
        style = {"color": line.get_color(), "size": size, "va": "center"}
        ax.text(1.01, up, line.get_label(), transform=ax.transAxes, **style)


def artists_of(parent):
    """Yield the artists that make up `parent`, those of an axis left out but for its label: to ask for its
    ticks makes them, also the small ones that nobody draws, a tenth of the time that a figure takes.
    """
    from matplotlib.axis import Axis

    for artist in parent.get_children():
        yield artist
        yield from [artist.label] if isinstance(artist, Axis) else artists_of(artist)


def plain_text(figure):
    """Show every text of `figure` as it is written, and number its logarithmic axes in plain characters; a
    factor of all numbers of an axis, such as 1e6, stands above them. Returns `figure`.

    A second call changes nothing. Formatters that show names, such as those of categories, are left alone.
    """
    from matplotlib.axis import Axis, YAxis
    from matplotlib.text import Text

    for artist in artists_of(figure):
        if isinstance(artist, Axis):
            for numbers, set_numbers in (
                (artist.get_major_formatter(), artist.set_major_formatter),
                (artist.get_minor_formatter(), artist.set_minor_formatter),
            ):
                if isinstance(numbers, LogFormatter | LogitFormatter):
                    set_numbers(PlainNumbers(numbers))
            factor = artist.get_offset_text()
            if isinstance(artist, YAxis) and factor.get_horizontalalignment() == "left":
                # above the numbers that it stands for, beside the title
                factor.set(ha="right", x=-0.01)
        elif isinstance(artist, Text):
            wraps = artist.get_wrap()
            if wraps:  # matplotlib 3.11 breaks lines by the width of the formula, whatever is said of parsing
                dollar = r"(?<!\\)\$" if artist.get_parse_math() else r"\$"
                artist.set_text(re.sub(dollar, r"\\$", artist.get_text()))
            # the parser, finding no dollar but those with a backslash, then does nothing
            artist.set_parse_math(wraps)
    return figure


def save_figure(figure, path):
    """Write the `figure` to `path`, cut to what it shows: pixel for pixel savefig(bbox_inches="tight"), which
    goes over all of it once more to find out how large that is, a twelfth of the time.
    """
    figure.set_dpi(DOTS_PER_INCH)
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    shown = figure.get_tightbbox(figure.canvas.get_renderer())
    area = shown.padded(matplotlib.rcParams["savefig.pad_inches"])
    figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches=area)
