"""The map of runs of the certification study: one line per run, one field per lumisection."""

import numpy as np
from matplotlib.colors import ListedColormap

COLOURS = {"good": "#8ecac0", "trivial": "#EE9944", "expert": "#AA2211", "unlabelled": "#c8ccd0"}


def run_grid(lumisections, n_runs=80):
    """Lay out the labels of the lumisections of the newest `n_runs` runs: (names of the runs, float (runs,
    n), the number of the label in COLOURS, NaN where there is no row).

    lumisections : DataFrame run, lumisection, label, a key of COLOURS. The few lumisections whose number is
    above the 99.9% quantile are cut off.
    """
    drawn = lumisections[lumisections.run.isin(sorted(lumisections.run.unique())[-n_runs:])]
    names = sorted(drawn.run.unique())
    grid = np.full((len(names), int(drawn.lumisection.quantile(0.999)) + 1), np.nan)
    inside = drawn[drawn.lumisection < grid.shape[1]]
    codes = inside.label.map(list(COLOURS).index)
    grid[np.searchsorted(names, inside.run), inside.lumisection] = codes
    return names, grid


def plot_runs(names, grid, ax):
    """Draw the map of runs, as `run_grid` gives it, the first one at the top, with a scale of labels."""
    fields = ax.pcolormesh(
        np.arange(grid.shape[1] + 1) - 0.5,
        np.arange(len(names) + 1),
        grid,
        cmap=ListedColormap(list(COLOURS.values())),
        vmin=0,
        vmax=3,
    )
    step = max(1, len(names) // 25)
    ax.set_yticks(np.arange(len(names))[::step] + 0.5, names[::step], fontsize="x-small")
    ax.invert_yaxis()
    bar = ax.figure.colorbar(fields, ticks=np.arange(0.375, 3, 0.75), pad=0.01, aspect=40)
    bar.set_ticklabels(list(COLOURS))


def plot_feature(rows, ax):
    """Draw how a feature moves from run to run, by label; a dashed line stands before the test runs.

    rows : DataFrame at, value, label, part; at is where it is drawn.
    """
    for label, color, size in (("", "0.8", 2), ("good", "0.6", 2), ("trivial", "C1", 6), ("expert", "C3", 6)):
        subset = rows[rows.label == label]
        legend = f"{label or 'not labelled'} ({len(subset):,})" if len(subset) else None
        ax.scatter(subset["at"], subset.value, s=size, color=color, label=legend)
    ax.axvline(rows["at"][rows.part == "test"].min() - 0.5, color="0.3", lw=1, ls="--")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
