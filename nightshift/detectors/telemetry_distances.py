"""How far a window of a node is from what is usual there, in five ways, and in which units."""

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from nightshift.detectors.base import Detector
from nightshift.statistics import follow_level

# usual spreads: a deviation of a server counts as this at most, or a single wild metric hides all others
FAR = 10.0
LEVEL_DAYS = 1.0  # half-life with which the level of a server is followed
LEVEL_NIGHTS = 4  # nights that are read for it, as many half-lives: what was before weighs 6%


def robust_z_scores(windows, usual):
    """Distance of every window from what is usual on its node, in usual spreads: (float32 (n, F), group
    (n,)); 0 where nothing is measured.

    usual : DataFrame [(group, when), feature]: medians at any time (""), medians of a half hour of the day in
    UTC ("0" to "47"; NaN where that tells nothing), and the usual deviation from them ("spread"). A node that
    is no group of its own belongs to "all".
    """
    group = windows.node_id.where(windows.node_id.isin(usual.index.levels[0]), "all").to_numpy(object)
    half_hour = (windows.end.dt.hour * 2 + windows.end.dt.minute // 30).astype(str).to_numpy(object)
    timed, plain, spread = (
        usual.reindex(pd.MultiIndex.from_arrays([group, np.broadcast_to(when, len(group))])).to_numpy()
        for when in (half_hour, "", "spread")
    )
    z = (
        windows.reindex(columns=usual.columns).to_numpy() - np.where(np.isfinite(timed), timed, plain)
    ) / spread
    return np.nan_to_num(z).astype("float32"), group


def without_level(z, windows, levels=None):
    """Take out of the deviations z (n, F) what each server has drifted by, and bound what is left by FAR.

    windows : DataFrame node_id, job_id, start, sorted by node and start. A server is a node without jobs; it
    lives long, and its level drifts far from that of its training. Windows of jobs stay as they are. levels :
    {server: (F,)}, where what came before these windows is known already; then it is not followed in them.
    """
    followed, servers = z.copy(), np.flatnonzero(windows.job_id.to_numpy() == "")
    nodes = windows.node_id.to_numpy()[servers]
    for node, rows in pd.Series(servers).groupby(nodes).agg(list).items():
        if levels is None:
            half_life = level_half_life(windows.start.iloc[rows])
            followed[rows] -= follow_level(z[rows], half_life)
        else:
            followed[rows] -= levels.get(node, 0.0)
        followed[rows] = np.clip(followed[rows], -FAR, FAR)
    return followed


def level_half_life(starts):
    """Give the half-life of a level in windows, whose `starts` are a Series in the order of time: float, 1
    for a single one.
    """
    step = starts.diff().median() / pd.Timedelta(days=1)
    return LEVEL_DAYS / step if step > 0 else 1.0


class Distance(Detector):
    """Mean square of all deviations."""

    def fit(self, x):
        """Learn nothing: deviations are in units of what is usual already."""
        return self

    def measure(self, x):
        """Average over the features."""
        return np.mean(x**2, axis=1)


class Residual(Detector):
    """Mean square of what the principal components of healthy windows, with a `share` of their variance, do
    not rebuild (SPE, Jackson & Mudholkar 1979).
    """

    def __init__(self, share):
        self.components = PCA(share)

    def fit(self, x):
        """Find the components."""
        self.components.fit(x)
        return self

    def measure(self, x):
        """Rebuild, and average what is left."""
        return np.mean((x - self.components.inverse_transform(self.components.transform(x))) ** 2, axis=1)


class Whitened(Detector):
    """Mean square along the principal axes of healthy windows, each in its own spread: what breaks the bond
    between metrics weighs as much as what breaks out of their range (Mahalanobis 1936).

    least : the variance that an axis counts with at least, as a share of that of the widest axis; below lies
    only rounding.
    """

    def __init__(self, least):
        self.least, self.axes = least, PCA()

    def fit(self, x):
        """Find the axes and their spreads."""
        with np.errstate(invalid="ignore"):  # of windows that never vary, the axes have no shares of variance
            variance = self.axes.fit(x).explained_variance_
        self.spread = np.sqrt(np.maximum(variance, self.least * max(variance.max(initial=0), 1e-12)))
        return self

    def measure(self, x):
        """Turn to the axes, bound each by FAR spreads, and average."""
        return np.mean(np.clip(self.axes.transform(x) / self.spread, -FAR, FAR) ** 2, axis=1)


class Neighbours(Detector):
    """Mean square distance to the `n` nearest healthy windows, per feature (Ramaswamy, Rastogi & Shim
    2000).
    """

    def __init__(self, n):
        self.n = n

    def fit(self, x):
        """Keep the windows."""
        n = min(self.n, len(x))
        self.nearest = NearestNeighbors(n_neighbors=n, algorithm="brute").fit(x)
        return self

    def measure(self, x):
        """Find the nearest, and average."""
        return np.mean(self.nearest.kneighbors(x)[0] ** 2, axis=1) / x.shape[1]


def network_errors(z, rows, network):
    """Measure what the network cannot rebuild of the windows z (n, F), in units of its usual error: mean
    squares (m, G), the windows of each group in its column, repeated where it has fewer than others.

    rows : {group: numbers of its windows}. network : a Keras model (B, G, F) -> the same.
    """
    if not len(z):
        return np.zeros((0, len(rows)))
    most = max(map(len, rows.values()))
    beside = np.stack([np.resize(r if len(r) else [0], most) for r in rows.values()], axis=1)  # (m, G)
    return np.mean(network.predict(z[beside], batch_size=1024, verbose=0) ** 2, axis=2)


def novelty_scores(z, group, reference, network, fitted=None):
    """Five distances from health: DataFrame [window, (distance, whitened, pca, neighbours, autoencoder)] of
    mean squares, higher = stranger.

    z, group : of `robust_z_scores`. reference : {group: z of healthy windows (m, F)}, which the detectors of
    a group learn from. network : of `network_errors`, with the groups in the order of `reference`. fitted :
    {group: its detectors}, to which those are added that are fitted here: who keeps it fits each once.
    """
    fitted = {} if fitted is None else fitted
    out = pd.DataFrame(0.0, range(len(z)), ["distance", "whitened", "pca", "neighbours", "autoencoder"])
    rows = {g: np.flatnonzero(group == g) for g in reference}
    errors = network_errors(z, rows, network)
    for i, (g, members) in enumerate(rows.items()):
        if len(members):
            if g not in fitted:
                detectors = (Distance(), Whitened(0.02), Residual(0.9), Neighbours(5))
                fitted[g] = [one.fit(reference[g]) for one in detectors]
            scores = [one.score_samples(z[members]) for one in fitted[g]]
            out.iloc[members] = np.column_stack([*scores, errors[: len(members), i]])
    return out


def smooth_runs(scores, windows, n):
    """Mean of the scores of `n` consecutive windows of one run, half of them ahead, which a report on a whole
    day may use.

    scores : DataFrame with a row per row of `windows`, which is sorted by node_id and start.
    """
    rolled = (
        scores.reset_index(drop=True)
        .groupby([windows.node_id.to_numpy(), windows.job_id.to_numpy()])
        .rolling(n, min_periods=1, center=True)
    )
    return rolled.mean().droplevel([0, 1]).sort_index()


def normalise_scores(scores, group, units):
    """Logarithms of `novelty_scores` in `units`, DataFrame [detector, distance], the median healthy ones, at
    least a millionth; `together`: of the mean of pca, neighbours and autoencoder; `combined`: the mean of the
    logarithms of distance and whitened, which see different things.
    """
    scaled = (scores[units.columns] / units.clip(lower=1e-12).reindex(group).set_index(scores.index)).clip(
        lower=1e-6
    )
    logs = np.log(scaled.assign(together=scaled[["pca", "neighbours", "autoencoder"]].mean(axis=1)))
    if "whitened" not in logs:  # a model stored before there was one
        return logs
    return logs.assign(combined=logs[["distance", "whitened"]].mean(axis=1))
