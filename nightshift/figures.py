"""Figures in which text from outside is only text: no name of a file, site or user reaches matplotlib's
parser of mathematical text.

Importing this module turns the parser off for whatever is drawn from then on, also where a figure is measured
before it is shown. Only the formatters of logarithmic axes write formulas of their own; `plain_text` lets
them write the same in plain characters.
"""

import re

import matplotlib
from matplotlib.ticker import Formatter, LogFormatter, LogitFormatter

matplotlib.rcParams["text.parse_math"] = False  # seaborn's themes leave it as it is

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


def artists_of(parent):
    """Yield the artists that make up `parent`, those of an axis left out but for its label: to ask for its
    ticks makes them, also the small ones that nobody draws, a tenth of the time that a figure takes.
    """
    from matplotlib.axis import Axis

    for artist in parent.get_children():
        yield artist
        yield from [artist.label] if isinstance(artist, Axis) else artists_of(artist)


def plain_text(figure):
    """Show every text of `figure` as it is written, and number its logarithmic axes in plain characters;
    returns `figure`.

    A second call changes nothing. Formatters that show names, such as those of categories, are left alone.
    """
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    for artist in artists_of(figure):
        if isinstance(artist, Axis):
            for numbers, set_numbers in (
                (artist.get_major_formatter(), artist.set_major_formatter),
                (artist.get_minor_formatter(), artist.set_minor_formatter),
            ):
                if isinstance(numbers, LogFormatter | LogitFormatter):
                    set_numbers(PlainNumbers(numbers))
        elif isinstance(artist, Text):
            wraps = artist.get_wrap()
            if wraps:  # matplotlib 3.11 breaks lines by the width of the formula, whatever is said of parsing
                dollar = r"(?<!\\)\$" if artist.get_parse_math() else r"\$"
                artist.set_text(re.sub(dollar, r"\\$", artist.get_text()))
            # the parser, finding no dollar but those with a backslash, then does nothing
            artist.set_parse_math(wraps)
    return figure
