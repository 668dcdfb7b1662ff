"""The values that a sweep tries: read from its command line, checked as the configuration is, laid out as
points.

lstm_units=64,128              each of these values
widths=[64, 16],[32]           the same of a parameter that is a list
learning_rate=log:1e-4:1e-2:5  five values at even ratios from 0.0001 to 0.01, both included
test_share=lin:0.1:0.4:4       four values at even distances
learning_rate=log:1e-4:1e-2    any value between, for a random search and for Optuna
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import yaml

from nightshift.config import as_number, typed
from nightshift.parameters import declared_at
from nightshift.wording import one_line
from nightshift.yaml_files import read_safely

SPACINGS = {"log": np.geomspace, "lin": np.linspace}
MOST_RUNS = 1000  # of one sweep: a slip such as log:1e-4:1e-2:50000 is refused before it fills a disk
FIXED = {"day": "the night is that of --day", "products": "each run has a folder of its own"}


class Axis(NamedTuple):
    """One parameter that a sweep varies. values : what a grid tries, none for a range without a number.
    spacing : "log" or "lin" of a range from low to high, "" of a list. whole : only whole numbers.
    """

    name: str
    values: tuple
    spacing: str = ""
    low: float = 0.0
    high: float = 0.0
    whole: bool = False


def read_axes(words, notebook, where):
    """Read `words`, a list of NAME=VALUES, for a `notebook`: [Axis]; ValueError has a line for each mistake.

    where : what the lines begin with, such as "transfers 3_train". Names, types and ranges are those that the
    notebook declares.
    """
    axes, lines = [], []
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not name or not text:
            lines.append(f"{where}: {word!r} is no parameter with its values, such as seed=1,2,3")
        elif name in FIXED:
            lines.append(f"{where}.{name} cannot be varied: {FIXED[name]}")
        elif name in [axis.name for axis in axes]:
            lines.append(f"{where}.{name} is given twice")
        else:
            axis, more = read_axis(name, text, notebook, where)
            axes += [axis] if axis else []
            lines += more
    if not words:
        lines.append(f"{where}: name at least one parameter with its values, such as seed=1,2,3")
    if lines:
        raise ValueError("\n".join(lines))
    return axes


def read_axis(name, text, notebook, where):
    """(Axis of the parameter `name` whose values are `text`, lines of what is wrong with it)."""
    declared = declared_at(notebook).get(name)
    if declared is None:
        return None, typed(where, {name: text}, notebook)[1]
    whole = declared.kind == "int"
    try:
        if declared.kind in ("int", "float") and text.partition(":")[0] in SPACINGS and ":" in text:
            axis = range_axis(name, text.split(":"), whole)
        else:
            axis = Axis(name, tuple(read_values(text)), whole=whole)
    except ValueError as error:
        return None, [f"{where}.{name}: {error}"]
    tried, lines = [], []
    for value in axis.values or (axis.low, axis.high):
        good, wrong = typed(where, {name: value}, notebook)
        tried += [good[name]] if not wrong else []
        lines += wrong
    if axis.values and not lines:
        axis = axis._replace(values=tuple(without_repeats(tried)))
    return axis, list(dict.fromkeys(lines))


def range_axis(name, parts, whole):
    """Axis of a range, from its parts: spacing, low, high and perhaps a number of values. ValueError says
    what is wrong with them.
    """
    example = f"{parts[0]}:LOW:HIGH or {parts[0]}:LOW:HIGH:NUMBER"
    numbers = [as_number(part) for part in parts[1:]]
    if len(numbers) not in (2, 3) or not all(
        isinstance(one, float) and math.isfinite(one) for one in numbers
    ):
        raise ValueError(f"{':'.join(parts)} is no range: it must be {example}")
    low, high, *count = numbers
    if not low < high:
        raise ValueError(f"the range {':'.join(parts)} holds nothing: LOW must be below HIGH")
    if parts[0] == "log" and low <= 0:
        raise ValueError(f"the range {':'.join(parts)} begins at {low:g}: a logarithm needs more than 0")
    if count and not (count[0].is_integer() and 2 <= count[0] <= MOST_RUNS):
        raise ValueError(f"{parts[3]} is no number of values: it must be a whole number in [2, {MOST_RUNS}]")
    spaced = SPACINGS[parts[0]](low, high, int(count[0])) if count else ()
    values = [round(value) if whole else float(f"{value:.6g}") for value in spaced]
    return Axis(name, tuple(without_repeats(values)), parts[0], low, high, whole)


def read_values(text):
    """The values in `text`, separated by commas, as YAML reads them; ValueError where it cannot."""
    try:
        values, refused = read_safely(f"[{text}]")  # as the configuration is read
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} cannot be read: {one_line(getattr(error, 'problem', error))}") from None
    if refused:
        raise ValueError(f"{text!r} cannot be read: {refused[0]}")
    if None in values:
        raise ValueError(f"{text!r} has an empty value")
    return values


def without_repeats(values):
    """`values` in their order, each once; they may be lists."""
    return [value for n, value in enumerate(values) if value not in values[:n]]


# ------------------------------------------------------------------------------------------------- the points


def grid_points(axes):
    """All combinations of the values of `axes`, the last one varying fastest: [{name: value}]. ValueError
    where a range has no number of values, or where there are more than MOST_RUNS.
    """
    if endless := [axis.name for axis in axes if not axis.values]:
        raise ValueError(
            f"{endless[0]} is a range without a number of values: write one, such as log:1e-4:1e-2:5, or use "
            "--random or --optuna"
        )
    n = math.prod(len(axis.values) for axis in axes)
    if n > MOST_RUNS:
        raise ValueError(f"the grid has {n:,} points, more than {MOST_RUNS:,}: use --random or --optuna")
    names = [axis.name for axis in axes]
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))
    ]


def random_points(axes, n, seed):
    """`n` points drawn from `axes`, no two alike: [{name: value}], fewer where there are not so many. The
    first points of a larger `n` are those of a smaller one.
    """
    rng, points = np.random.default_rng(seed), []
    for _ in range(100 * n):
        point = {axis.name: drawn(axis, rng) for axis in axes}
        if point not in points:
            points.append(point)
        if len(points) == n:
            break
    return points


def drawn(axis, rng):
    """One value of `axis`: any of its range, or one of its list."""
    if not axis.spacing:
        return axis.values[rng.integers(len(axis.values))]
    share = rng.random()
    value = (
        axis.low * (axis.high / axis.low) ** share
        if axis.spacing == "log"
        else axis.low + share * (axis.high - axis.low)
    )
    return round(value) if axis.whole else float(f"{value:.6g}")
