"""Figures of the certification study: what is drawn, and how.

Findings    the numbers of a range                           range_table, plot_range, draw_ranges
Shares      of each run that is certified                    certified_amounts, plot_certified
Values      decision values by label, with both thresholds   plot_values, draw_values
Plane       two principal components                         plane_dataset, plane_of, plot_plane
"""

from textwrap import shorten

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from nightshift.analysis.certification import element_of, number_of, numbers_of, range_reasons
from nightshift.analysis.certification_quality import NAMES
from nightshift.detectors.certification import KEY, scale_features

COLORS = {"good": "C0", "expert": "C3", "trivial": "C1", "": "0.5"}


def range_table(strange, one):
    """Gather the numbers of one range that a picture shows, those of the first histogram, or, where that has
    only one, of the first seven: (DataFrame z, low_z, high_z, in usual deviations from the usual value, and
    label; whether they are those of one histogram).

    strange : a `Strange`. one : a row of `bad_ranges`.
    """
    why = range_reasons(strange, one)
    table = numbers_of(strange, one, elements=[why.index[0]])
    of_one = len(table) > 1
    if not of_one:
        table = numbers_of(strange, one, elements=list(why.index[:7]))
        label = [shorten(element_of(f), 14, placeholder="..") for f in table.index]
    else:
        table = table.loc[[f for f in strange.trained.features if f in table.index]]
        label = [number_of(f) for f in table.index]
    spread = (table.high - table.low) / 3.29 + 1e-12
    low_z, high_z = ((table[edge] - table.usual) / spread for edge in ("low", "high"))
    return table.assign(low_z=low_z, high_z=high_z, label=label), of_one


def plot_range(table, ax, *, title, of_one):
    """Draw the numbers of one range, as `range_table` gives them; grey is where nine of ten good lumisections
    lie.

    of_one : whether they are those of one histogram, which are joined by a line.
    """
    at = np.arange(len(table))
    low, high = table.low_z, table.high_z
    ax.fill_between(
        [-0.5, *at, len(table) - 0.5],
        [low.iloc[0], *low, low.iloc[-1]],
        [high.iloc[0], *high, high.iloc[-1]],
        color="0.88",
        zorder=0,
    )
    ax.plot(at, table.z, color="C3", marker="o", ms=5, lw=1 if of_one else 0)
    ax.set_yscale("symlog", linthresh=3)
    ax.set_xticks(at, list(table.label), fontsize="small", rotation=0 if of_one else 20, parse_math=False)
    ax.set_title(title, loc="left", fontsize="medium", parse_math=False)


def draw_ranges(axes, ranges, *, strange):
    """Draw one panel of `axes` per range of bad lumisections, and hide the panels that are left over."""
    for ax, one in zip(axes, ranges.itertuples(), strict=False):
        table, of_one = range_table(strange, one)
        what = f": {shorten(range_reasons(strange, one).index[0], 30)}" if of_one else ""
        plot_range(table, ax, title=f"run {one.run}, {one.first}-{one.last}{what}", of_one=of_one)
    for ax in axes[len(ranges) :]:
        ax.set_visible(False)


def certified_amounts(scored, ours, *, official):
    """Sum what is certified in each run: DataFrame [run] ours, official (NaN where there is no official
    verdict) and all, /pb or lumisections; runs without any are left out.

    scored : DataFrame run, amount, golden. ours, official : bool (n,).
    """
    amounts = pd.DataFrame(
        {
            "ours": scored.amount * ours,
            "official": (scored.amount * official).where(scored.golden.notna()),
            "all": scored.amount,
        }
    )
    amounts = amounts.groupby(scored.run).sum(min_count=1)
    return amounts[amounts["all"] > 0]


def plot_certified(ours, official, ax):
    """Draw which share of each run is certified, by us and officially, joined by a line.

    ours, official : Series [run], NaN where there is no official verdict.
    """
    at = np.arange(len(ours))
    ax.vlines(at, ours, official.fillna(ours), color="0.6", lw=2, zorder=1)
    ax.scatter(at, official, color="C0", s=55, label="official", zorder=2)
    ax.scatter(at, ours, color="C3", s=18, label="ours", zorder=3)
    step = max(len(at) // 15, 1)
    ax.set_xticks(at[::step], ours.index[::step], rotation=45, fontsize="small")
    ax.set(ylim=(-0.04, 1.04))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1))


def plot_values(values, label, ax, *, bins, limits, name):
    """Draw the decision values of one dataset by label, with both thresholds; grey between them.

    values, label (n,), of lumisections that are judged. limits : (first, second) threshold.
    """
    ax.axvspan(min(limits), max(limits), color="0.85", zorder=0)
    for kind in [kind for kind in NAMES if (label == kind).any()]:
        of_kind = values[label == kind]
        ax.hist(of_kind, bins, histtype="step", lw=1.5, color=COLORS[kind], label=NAMES[kind])
    for limit in limits:
        ax.axvline(limit, color="k", lw=1, ls="--")
    ax.set_yscale("log")
    title = f"{shorten(name, 40)}: {limits[0]:.2f} and {limits[1]:.2f}"
    ax.set_title(title, loc="left", fontsize="medium", parse_math=False)


def draw_values(axes, decision, label, *, reference, limits):
    """Draw one panel of `axes` per dataset of `decision`, and hide the panels that are left over.

    decision : DataFrame, decision values by dataset. label (n,), of the same rows. reference : DataFrame of
    the good lumisections of the calibration, without NaN. limits : {dataset: both thresholds}.
    """
    for ax, name in zip(axes, decision, strict=False):
        values, good = decision[name].to_numpy(), reference[name]
        low, high = min(np.nanmin(values), good.min()), max(np.nanmax(values), good.max()) + 0.1
        plot_values(values, label, ax, bins=np.linspace(low, high, 60), limits=limits[name], name=name)
    for ax in axes[len(decision.columns) :]:
        ax.set_visible(False)


def plane_dataset(detector, decision):
    """Choose the dataset whose plane is drawn: of those in use with two features and two decision values at
    least, the one with the largest share of the alarms; None where there is none.

    detector : the content of detector.json. decision : DataFrame, decision values by dataset.
    """
    weights, of_set = detector["weights"], detector["datasets"]
    wide_enough = [
        name for name in weights if len(of_set[name]["scaling"]) > 1 and decision[name].notna().sum() > 1
    ]
    return max(wide_enough, key=weights.get, default=None)


def plane_of(rows, good, *, scaling, value):
    """Project the lumisections `rows` of one dataset on two principal components of the `good` ones:
    (DataFrame x, y in standard deviations (asinh), label, value; share of the variance of the good ones).

    rows, good : the clean table. scaling : {feature: its range}. value : Series [(run, lumisection)],
    decision values.
    """
    pca = PCA(2).fit(scale_features(good, scaling))
    xy = pca.transform(scale_features(rows, scaling)) / np.sqrt(pca.explained_variance_)
    xy = np.arcsinh(xy)  # far ones stay in the picture
    value = value.reindex(pd.MultiIndex.from_frame(rows[KEY])).to_numpy()
    plane = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "label": rows.label.to_numpy(), "value": value})
    return plane, pca.explained_variance_ratio_.sum()


def plot_plane(plane, axes):
    """Draw a plane, as `plane_of` gives it, by label on the left of two axes, by decision value on the right;
    returns the points of the right one, for a scale of colours.
    """
    for kind in [kind for kind in NAMES if (plane.label == kind).any()]:
        of_kind = plane[plane.label == kind]
        axes[0].scatter(of_kind.x, of_kind.y, s=7, color=COLORS[kind], label=NAMES[kind], alpha=0.7, lw=0)
    axes[0].legend(
        loc="lower right",
        bbox_to_anchor=(1.02, 1),
        ncol=3,
        markerscale=2,
        fontsize="small",
        columnspacing=1,
    )
    plane = plane.sort_values("value")
    highest = plane.value.quantile(0.98)
    return axes[1].scatter(plane.x, plane.y, s=7, c=plane.value, cmap="magma_r", lw=0, vmax=highest)
