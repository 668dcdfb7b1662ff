"""The numbers that a figure over time shows, by which its page lets readers zoom and read values.

    {"panels": [{"title", "y", "log", "unit", "x", "series", "across", "along", "of"}]}

title, y : the title and the label of the y axis. log : whether that axis is logarithmic. x : text of numbers
separated by commas, seconds since 1970, the first one and then the steps from one to the next. unit : of x
where it is no time, else "". series : of each its name, "c" its colour, "k" its kind and "y" its values, for
an area also "low", as text: empty where the series has no point at an x, "n" for a gap in its line. across,
along : marked stretches of y and of x. of : how many points there were, 0 where none was left out. Texts take
half the room of lists.
"""

import math
from functools import reduce

import numpy as np
from matplotlib import colors, dates
from matplotlib.collections import PathCollection, PolyCollection, QuadMesh
from matplotlib.container import BarContainer

MIME = "application/vnd.nightshift.series+json"
MOST = 1000  # points of a figure; the rest are thinned, the farthest from their neighbours kept
LEAST = 3  # points of a panel, below which there is nothing to zoom into
NUMBERS = "time in "  # how the gid begins of an axis whose numbers stand for time: "time in minutes"


def series_of(figure):
    """Take the numbers of all axes of a figure that are over time: dict as above; None where none is."""
    axes = [ax for ax in figure.axes if ax.get_visible() and is_over_time(ax)]
    panels = [panel for ax in axes if (panel := panel_of(ax, MOST // len(axes)))]
    return {"panels": panels} if panels else None


def is_over_time(ax):
    """Whether the x axis of `ax` has dates, or says that its numbers stand for time; a map has no lines."""
    if any(isinstance(one, QuadMesh) for one in ax.collections):
        return False
    return isinstance(ax.xaxis.get_major_locator(), dates.DateLocator) or bool(unit_of(ax))


def unit_of(ax):
    """Unit of an x axis whose numbers stand for time; "" for one of dates."""
    return (ax.xaxis.get_gid() or "").partition(NUMBERS)[2]


def panel_of(ax, most):
    """Take the numbers of one `ax`, at most `most` points: dict of a panel; None for fewer than LEAST."""
    is_time = not unit_of(ax)
    scale = 86_400 if is_time else 1  # matplotlib counts days
    drawn = [*areas_of(ax), *bars_of(ax), *lines_of(ax), *points_of(ax)]  # as they lie on each other
    if len(drawn) == 1 and not drawn[0][0]["name"]:
        drawn[0][0]["name"] = ax.get_ylabel()
    drawn = [(about, xy[np.isfinite(xy[:, 0])]) for about, xy in drawn]
    drawn = [(about, xy) for about, xy in drawn if len(xy)]
    n = sum(len(xy) for _, xy in drawn)
    if n < LEAST:
        return None
    room = rooms([len(xy) for _, xy in drawn], most)
    drawn = [(about, thinned(xy, size)) for (about, xy), size in zip(drawn, room, strict=True)]
    ticks = [np.round(xy[:, 0] * scale, 0 if is_time else 3) for _, xy in drawn]
    x = reduce(np.union1d, ticks)
    return {
        "title": ax.get_title(loc="left") or ax.get_title(),
        "y": ax.get_ylabel(),
        "log": ax.get_yscale() == "log",
        "unit": unit_of(ax),
        "x": ",".join(f"{step:.0f}" if is_time else f"{step:.6g}" for step in [x[0], *np.diff(x)]),
        "series": [about | columns(x, at, xy[:, 1:]) for at, (about, xy) in zip(ticks, drawn, strict=True)],
        "across": [[low, high] for low, high in spans(ax, "y")],
        "along": [[low * scale, high * scale] for low, high in spans(ax, "x")],
        "of": n if n > sum(len(xy) for _, xy in drawn) else 0,
    }


# ------------------------------------------------------------------------------------------- what axes show


def about(artist, colour, kind):
    """Describe one series: dict of name ("" for none), c (its colour) and k (line, points, area or bars)."""
    label = str(artist.get_label())
    return {"name": "" if label.startswith("_") else label, "c": colors.to_hex(colour), "k": kind}


def lines_of(ax):
    """List the lines in the units of `ax`: (dict of `about`, float (n, 2) of x and y) each."""
    lines = [line for line in ax.lines if line.get_transform() == ax.transData]
    kinds = ["points" if line.get_linestyle() == "None" else "line" for line in lines]
    return [
        (about(line, line.get_color(), kind), np.asarray(line.get_xydata(), float))
        for line, kind in zip(lines, kinds, strict=True)
    ]


def points_of(ax):
    """List the scattered points of one colour each, as `lines_of` does."""
    clouds = [one for one in ax.collections if isinstance(one, PathCollection) and len(one.get_offsets())]
    return [
        (about(one, one.get_facecolors()[0], "points"), np.ma.filled(one.get_offsets().astype(float), np.nan))
        for one in clouds
    ]


def areas_of(ax):
    """List the filled areas between two lines: (dict of `about`, float (n, 3) of x, low and high) each."""
    areas = []
    for one in ax.collections:
        if isinstance(one, PolyCollection) and one.get_paths():
            corners = np.concatenate([path.vertices for path in one.get_paths()])
            x, place = np.unique(corners[:, 0], return_inverse=True)
            low, high = np.full(len(x), np.inf), np.full(len(x), -np.inf)
            np.minimum.at(low, place, corners[:, 1])
            np.maximum.at(high, place, corners[:, 1])
            areas.append((about(one, one.get_facecolor()[0], "area"), np.column_stack([x, low, high])))
    return areas


def bars_of(ax):
    """List the bars of each call of `bar`, as `lines_of` does."""
    groups = [one for one in ax.containers if isinstance(one, BarContainer) and len(one.patches)]
    return [
        (
            about(one, one.patches[0].get_facecolor(), "bars"),
            np.array([[bar.get_x() + bar.get_width() / 2, bar.get_height()] for bar in one.patches], float),
        )
        for one in groups
    ]


def spans(ax, axis):
    """List the stretches of an `axis`, "x" or "y", that are marked across the whole other axis: pairs."""
    along = {"x": ax.get_xaxis_transform(which="grid"), "y": ax.get_yaxis_transform(which="grid")}[axis]
    marked = [one for one in ax.patches if one.get_data_transform() == along and hasattr(one, "get_width")]
    if axis == "x":
        return [(one.get_x(), one.get_x() + one.get_width()) for one in marked]
    return [(one.get_y(), one.get_y() + one.get_height()) for one in marked]


# ------------------------------------------------------------------------------------------------- as numbers


def rooms(sizes, most):
    """Share `most` points among series of these `sizes`, small ones whole: list of how many each may have."""
    left, kept = most, dict.fromkeys(range(len(sizes)), 0)
    for n_open, at in zip(range(len(sizes), 0, -1), sorted(kept, key=sizes.__getitem__), strict=True):
        kept[at] = min(sizes[at], max(left // n_open, 1))
        left -= kept[at]
    return list(kept.values())


def thinned(points, most):
    """Take at most `most` of the `points` (n, 2 or 3), by x: of each stretch, the one farthest from its
    middle.
    """
    points = points[np.argsort(points[:, 0], kind="stable")]
    if len(points) <= most:
        return points
    parts = np.array_split(np.arange(len(points)), most)
    y = np.nan_to_num(points[:, -1])
    return points[[part[np.abs(y[part] - np.median(y[part])).argmax()] for part in parts]]


def columns(x, at, values):
    """Write the `values` (n, 1 or 2) of a series, which stand `at` (n,) some of the `x`, as texts: dict of y,
    and of low for an area.
    """
    texts = [[""] * len(x) for _ in range(values.shape[1])]
    for place, row in zip(np.searchsorted(x, at), values, strict=True):
        for text, value in zip(texts, row, strict=True):
            text[place] = short(value) if math.isfinite(value) else "n"
    *low, y = [",".join(text) for text in texts]
    return {"y": y} | ({"low": low[0]} if low else {})


def short(number):
    """Write a number to four digits, in the shorter of two ways: 0.1235, 21350, 2.135e9."""
    short = f"{number:.4g}"
    if "e" not in short:
        return short
    plain, (digits, power) = f"{float(short):.0f}", short.split("e")
    return min(plain if abs(number) > 1 else short, f"{digits}e{int(power)}", key=len)


# ---------------------------------------------------------------------------------------------- in notebooks


class Picture:
    """A picture that an executed notebook keeps together with the numbers in it, of `series_of`.

    data : bytes of the PNG. It becomes an IPython.display.Image only when it is shown, since importing
    IPython takes a sixth of the time that a command needs to start.
    """

    def __init__(self, png, *, alt, series):
        self.data, self.alt, self.series = png, alt, series

    def __repr__(self):  # stands in executed notebooks, in which an address would be another one each night
        return f"<{__name__}.{type(self).__name__} object>"

    def _repr_mimebundle_(self, include=None, exclude=None):
        from IPython.display import Image

        data, about = Image(self.data, alt=self.alt)._repr_mimebundle_(include, exclude)
        return data | {MIME: self.series}, about
