"""Topics of tickets: who is near whom, clusterings, the resolution of Leiden, and what judges clusters.

A clustering gives the number of the cluster of each ticket, int (n,). Vectors are float32 (n, d) of length
one.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples
from sknetwork.clustering import Leiden

from nightshift.compiled import keep_nearest

C_LIBRARY = ctypes.CDLL(None)
BEYOND = 4  # resolutions that are tried beyond the last of the list: five times as fine, no more


@dataclass(frozen=True)
class TopicSettings:
    """How topics are found; the parameters of the same names of `3_train` say what each means."""

    neighbours: int = 15
    resolutions: tuple = (1, 2, 4, 6, 8, 10, 12, 16, 24)
    bootstraps: int = 10
    sample_share: float = 0.8
    memory: float = 1.0


# -------------------------------------------------------------------------------------------------- Baselines


def exact_match(texts):
    """Cluster equal texts, but for upper and lower case and spaces: int (n,)."""
    return pd.factorize(np.array([" ".join(text.casefold().split()) for text in texts], object))[0]


def string_similarity(texts, similar, *, block=500):
    """Cluster texts that hang together through pairs of similar strings: int (n,).

    similar : cosine of the counts of three or four neighbouring letters from which two texts are such a pair.
    All pairs are looked at, in blocks. Where no text has a letter, each is a cluster of its own.
    """
    try:
        counts = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, dtype=np.float32, max_features=20_000
        )
        x = counts.fit_transform(texts).tocsr()
    except ValueError:  # no text has a letter
        return np.arange(len(texts))
    parts = []
    for first in range(0, len(texts), block):
        cosine = (x[first : first + block] @ x.T).tocoo()
        near = cosine.data > similar
        places = (cosine.row[near] + first, cosine.col[near])
        parts.append(sparse.coo_matrix((cosine.data[near], places), (len(texts),) * 2))
    return connected_components(sum(parts).tocsr(), directed=False)[1]


def k_means(x, k, *, seed):
    """Cluster vectors (n, d) by k-means into k clusters, or fewer where there are fewer different vectors."""
    if not len(x):
        return np.zeros(0, int)
    return KMeans(min(k, len(np.unique(x, axis=0))), random_state=seed).fit_predict(x)


def ward(x, limit):
    """Cluster vectors (n, d) by Ward's method, which stops at the distance `limit`. Source: Ward 1963.

    All distances are needed at once; between vectors of length one they follow from the cosines.
    """
    if len(x) < 2:
        return np.ones(len(x), int)
    upper = np.triu_indices(len(x), 1)
    squared = np.maximum(2 - 2 * (x @ x.T)[upper], 0)
    return fcluster(linkage(np.sqrt(squared, dtype=float), "ward"), limit, "distance")


# -------------------------------------------------------------------------------------------------- The graph


def nearest_tickets(x, k, *, block=4096):
    """Find the k nearest other rows of x (n, d), by cosine, nearest first: int32 and float32 (n, k).

    -1 where there are not so many. All pairs are compared in blocks of matrix products, each pair once, and
    only the nearest are kept: exact, in little memory, about a minute for a hundred thousand tickets.
    """
    nearest, cosine = np.full((len(x), k), -1, "int32"), np.full((len(x), k), -1, "float32")
    for first in range(0, len(x), block):
        for second in range(first, len(x), block):
            products = x[first : first + block] @ x[second : second + block].T
            keep_nearest(products, first, second, nearest, cosine)
    return nearest, cosine


def graph_of(x, neighbours):
    """Join every ticket to its nearest ones: sparse, symmetric (n, n), of cosines.

    Two are joined where one is among the nearest of the other, and their cosine is above 0.
    """
    nearest, cosine = nearest_tickets(x, neighbours)
    row, kept = np.repeat(np.arange(len(x)), neighbours), (nearest >= 0).ravel() & (cosine > 0).ravel()
    joined = sparse.csr_matrix((cosine.ravel()[kept], (row[kept], nearest.ravel()[kept])), (len(x), len(x)))
    return joined.maximum(joined.T).tocsr()


@dataclass(frozen=True)
class TextGraph:
    """The graph of the different texts of some tickets.

    graph : sparse (k, k). first : int (k,), one ticket of each text. copy : int (m,), for each of the tickets
    the place of its text. Copies of a text would only be near each other, and cut the graph into stars.
    """

    graph: sparse.csr_matrix
    first: np.ndarray
    copy: np.ndarray


def graph_of_texts(texts, vectors, *, rows, neighbours):
    """Join the different texts of the tickets `rows`, int (m,), by the vectors (n, d) of all: TextGraph."""
    copy = pd.factorize(np.array([texts[i] for i in rows], object))[0]
    first = rows[np.unique(copy, return_index=True)[1]]
    return TextGraph(graph_of(vectors[first], neighbours), first, copy)


# ----------------------------------------------------------------------------------------------------- Leiden


def leiden(graph, resolution, *, random_state):
    """Part the graph by Leiden: int (n,); a node without joints is a cluster of its own.

    A larger `resolution` gives more, smaller clusters. Source: Traag, Waltman & van Eck 2019.
    """
    if not graph.nnz:
        return np.arange(graph.shape[0])
    # scikit-network 0.33 refines by C's rand(), which its random_state does not reach: without this, no two
    # runs would be alike
    C_LIBRARY.srand(random_state)
    model = Leiden(resolution=resolution, shuffle_nodes=True, random_state=random_state)
    return model.fit_predict(graph)


def sampled(graph, resolution, *, settings, seed, runs):
    """Part samples of the nodes: int (runs, n), -1 where a node was not in the sample."""
    draw, size = np.random.default_rng(seed), graph.shape[0]
    n_drawn = min(max(round(settings.sample_share * size), 1), size)
    out = np.full((runs, size), -1)
    for run in out:
        rows = np.sort(draw.choice(size, n_drawn, replace=False))
        run[rows] = leiden(graph[rows][:, rows], resolution, random_state=int(draw.integers(2**31)))
    return out


def consensus(graph, resolution, *, settings, seed, before=None):
    """Find the clusters that samples of the nodes agree on: int (n,).

    A joint weighs as much as the share of samples in which both of its ends came into one cluster; the graph
    with these weights is parted once more (consensus clustering, Lancichinetti & Fortunato 2012). before :
    last night's topic of each node, int (n,), -1 where it was not known or had none. A joint between two that
    had one is averaged with whether they shared it, with the weight `settings.memory`.
    """
    upper = sparse.triu(graph, 1).tocoo()
    i, j, together, seen = upper.row, upper.col, np.zeros(upper.nnz), np.zeros(upper.nnz)
    for found in sampled(graph, resolution, settings=settings, seed=seed, runs=settings.bootstraps):
        both = (found[i] >= 0) & (found[j] >= 0)
        together, seen = together + (both & (found[i] == found[j])), seen + both
    share = np.where(seen > 0, together / np.maximum(seen, 1), 1)  # never drawn together: it stays as it was
    if before is not None:
        both, memory = (before[i] >= 0) & (before[j] >= 0), settings.memory
        share = np.where(both, (share + memory * (before[i] == before[j])) / (1 + memory), share)
    weighed = sparse.csr_matrix((upper.data * share, (i, j)), graph.shape)
    weighed.eliminate_zeros()
    return leiden((weighed + weighed.T).tocsr(), resolution, random_state=seed)


def cluster_texts(joined, resolution, *, settings, seed, before=None):
    """Cluster the tickets of a TextGraph by `consensus`: int (m,); copies of a text follow it.

    before : last night's topic of all tickets, int (n,), of which the graph holds some.
    """
    before = None if before is None else before[joined.first]
    found = consensus(joined.graph, resolution, settings=settings, seed=seed, before=before)
    return found[joined.copy]


# --------------------------------------------------------------------------------------------- The resolution


def stability_of(graph, resolution, *, settings, seed, runs):
    """Compare the clusters of samples with those of the whole graph: adjusted Rand index (runs,).

    1 where there is nothing to part. Source: Lange et al. 2004.
    """
    if graph.shape[0] < 2:
        return np.ones(runs)
    whole = leiden(graph, resolution, random_state=seed)
    samples = sampled(graph, resolution, settings=settings, seed=seed, runs=runs)
    return np.array([adjusted_rand_score(whole[found >= 0], found[found >= 0]) for found in samples])


def finest_stable(stability, before=None):
    """Choose the finest resolution that is not less stable than the best by more than the standard error of
    their difference.

    stability : DataFrame [resolution, run], whose runs draw the same samples at every resolution, so that
    differences are paired: what a sample does to both cancels out. before : last night's resolution, which
    stays while it passes the same test. The rule is that of Breiman et al. 1984 for trees.
    """
    behind = stability.loc[stability.mean(axis=1).idxmax()] - stability
    passes = behind.index[behind.mean(axis=1) <= behind.sem(axis=1).fillna(0)]
    return before if before in passes else passes.max()


def choose_resolution(graph, settings, *, seed, before=None):
    """Choose the resolution by `finest_stable`: (the resolution, DataFrame [resolution, run] of stability).

    While the finest that was tried is chosen, up to BEYOND finer ones are tried, each by half as much again.
    With very many tickets, stability is known well from fewer samples.
    """
    runs = int(np.clip(400_000 // max(graph.shape[0], 1), 4, settings.bootstraps))

    def measured(resolutions):
        values = [stability_of(graph, one, settings=settings, seed=seed, runs=runs) for one in resolutions]
        return pd.DataFrame(values, pd.Index(resolutions, dtype=float, name="resolution"))

    stability = measured(sorted(settings.resolutions))
    for _ in range(BEYOND):
        finest = stability.index.max()
        if finest_stable(stability) < finest:
            break
        stability = pd.concat([stability, measured([1.5 * finest])])
    return finest_stable(stability, before), stability


# ------------------------------------------------------------------------------------------------- The topics


def topics_in(found, min_group):
    """Number clusters (n,) as topics, the largest first: int (n,), -1 in those below `min_group` tickets."""
    _, cluster, size = np.unique(found, return_inverse=True, return_counts=True)
    rank = np.empty(len(size), int)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return np.where(size[cluster] >= min_group, rank[cluster], -1)


def centres_of(x, topic):
    """Compute the centre of each topic, the mean direction of its members: float32 (topics, d), length one.

    x : (n, d). topic : int (n,), -1 for none.
    """
    member = np.flatnonzero(topic >= 0)
    belongs = (np.ones(len(member), "float32"), (topic[member], member))
    sums = sparse.csr_matrix(belongs, (topic.max(initial=-1) + 1, len(x))) @ x
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)


def as_topics(centres):
    """Write centres as the table that `assign_topics` reads, with their numbers as names."""
    return pd.DataFrame({"topic": range(len(centres)), "state": "steady", "centroid": list(centres)})


# --------------------------------------------------------------------------------------- What judges clusters


def silhouettes(x, found, *, most=2000):
    """Compute the silhouettes, by cosine, of at most so many of the tickets: float (min(n, most),).

    x : (n, d). found : int (n,). All are 0 where there is one cluster, or each ticket is one.
    """
    some = np.arange(len(x))
    if len(x) > most:
        some = np.random.default_rng(0).choice(len(x), most, replace=False)
    if not 1 < len(np.unique(found[some])) < len(some):
        return np.zeros(len(some))
    distances = np.maximum(1 - x[some] @ x[some].T, 0) * ~np.eye(len(some), dtype=bool)
    return silhouette_samples(distances, found[some], metric="precomputed")


def judge_clusters(found, x, *, label):
    """Judge the clusters of some tickets: dict of clusters, tickets, silhouette, ARI and NMI.

    found : int (n,). x : (n, d). label : object (n,), "" where a ticket has none; ARI and NMI are NaN where
    none has one, and all of them without tickets.
    """
    labelled = label != ""
    scores = {"ARI": np.nan, "NMI": np.nan}
    if labelled.any():
        scores["ARI"] = adjusted_rand_score(label[labelled], found[labelled])
        scores["NMI"] = normalized_mutual_info_score(label[labelled], found[labelled])
    silhouette = float(silhouettes(x, found).mean()) if len(found) else np.nan
    return {"clusters": len(np.unique(found)), "tickets": len(found), "silhouette": silhouette} | scores


def agreement(truth, found, *, weight):
    """Compute the adjusted Rand index over pairs of different tickets; 0 where it is not defined.

    weight : float (n,); each pair counts as often as the product of its weights.
    """

    def pairs(group):
        return (np.square(np.bincount(group, weight)).sum() - np.square(weight).sum()) / 2

    a, b = np.unique(truth, return_inverse=True)[1], np.unique(found, return_inverse=True)[1]
    both = np.unique(a * (b.max() + 1) + b, return_inverse=True)[1]
    first, second, together = pairs(a), pairs(b), pairs(both)
    expected = first * second / max(pairs(np.zeros(len(a), int)), 1e-9)
    most = (first + second) / 2
    return float((together - expected) / (most - expected)) if most > expected else 0.0


def agreements(found, weights, *, truth, vectors):
    """Measure the clusters of tickets once per line of `weights`: float (k,).

    found : (n,). weights : float (k, n), how often each ticket counts. By `agreement` with the `truth` (n,);
    where that is None, by the mean silhouette of the `vectors` (n, d).
    """
    if truth is None:
        values = silhouettes(vectors, found, most=len(found))
        return weights @ values / np.maximum(weights.sum(axis=1), 1)
    return np.array([agreement(truth, found, weight=weight) for weight in weights])
