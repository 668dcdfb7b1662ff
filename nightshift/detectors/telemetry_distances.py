"""How far a window of a node is from what is usual there, in four ways, and in which units."""

import numpy as np
import pandas as pd


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


def novelty_scores(z, group, reference, network, neighbours=5, share=0.9):
    """Four distances from health: DataFrame [window, (distance, pca, neighbours, autoencoder)] of mean
    squares, higher = stranger.

    z, group : of `robust_z_scores`. reference : {group: z of healthy windows (m, F)}, for the principal
    components with a `share` of the variance (SPE, Jackson & Mudholkar 1979) and the nearest `neighbours`
    (Ramaswamy, Rastogi & Shim 2000). network : a Keras model (B, G, F) -> the same, what it cannot rebuild in
    units of its usual error, with the groups in the order of `reference`.
    """
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    out = np.zeros((len(z), 4))
    rows = {g: np.flatnonzero(group == g) for g in reference}
    beside = np.stack(
        [np.resize(r if len(r) else [0], max(map(len, rows.values()))) for r in rows.values()], axis=1
    )  # (m, G)
    errors = (
        np.mean(network.predict(z[beside], batch_size=1024, verbose=0) ** 2, axis=2)
        if len(z)
        else np.zeros((0, len(rows)))
    )
    for i, (g, members) in enumerate(rows.items()):
        if len(members):
            x, usual = z[members], reference[g]
            pca = PCA(share).fit(usual)
            near = NearestNeighbors(n_neighbors=min(neighbours, len(usual)), algorithm="brute").fit(usual)
            residual = x - pca.inverse_transform(pca.transform(x))
            out[members] = np.column_stack(
                [
                    np.mean(x**2, axis=1),
                    np.mean(residual**2, axis=1),
                    np.mean(near.kneighbors(x)[0] ** 2, axis=1) / x.shape[1],
                    errors[: len(members), i],
                ]
            )
    return pd.DataFrame(out, columns=["distance", "pca", "neighbours", "autoencoder"])


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
    """Logarithms of `novelty_scores` in units of the median healthy one of each detector, at least a
    millionth, and `together`: of the mean of the three that learn.
    """
    scaled = (scores[units.columns] / units.clip(lower=1e-12).reindex(group).set_index(scores.index)).clip(
        lower=1e-6
    )
    return np.log(scaled.assign(together=scaled[["pca", "neighbours", "autoencoder"]].mean(axis=1)))
