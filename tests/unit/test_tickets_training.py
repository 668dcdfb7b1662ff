"""What the training of topics remembers, compares and measures."""

import numpy as np
import pandas as pd
import pytest

import helpers
from nightshift.detectors import tickets_training
from nightshift.detectors.tickets_embeddings import assign_topics
from nightshift.detectors.tickets_topics import as_topics, centres_of
from nightshift.detectors.tickets_training import FoundTopics, LastNight, compare_methods, count_beyond, model_row, topics_table

AXES = np.eye(3, dtype="float32")
NONE = LastNight(pd.DataFrame({"topic": [], "state": []}), pd.DataFrame({"ticket_id": [], "topic": []}), [])


def test_a_night_reads_what_earlier_ones_learned_and_forgets_later_ones(tmp_path):
    assert tickets_training.read_detector(tmp_path, day="2026-01-31") == ({}, "")
    helpers.write_json({"trained_day": "2026-01-24", "learned_until": "2026-01-24 10:00"}, tmp_path / "detector.json")
    (tmp_path / "words.skops").write_bytes(b"")
    assert tickets_training.read_detector(tmp_path, day="2026-01-24")[0]["trained_day"] == "2026-01-24"
    assert tickets_training.read_detector(tmp_path, day="2026-01-23") == ({}, "2026-01-24")
    assert list(tmp_path.iterdir()) == []


def test_last_night_has_topics_that_are_not_gone_and_all_ids_stay_taken(tmp_path):
    topics = pd.DataFrame({"topic": ["t1", "t2", "t3"], "state": ["gone", "new", "steady"]})
    helpers.write_parquet(topics, tmp_path / "topics.parquet")
    helpers.write_parquet(pd.DataFrame({"ticket_id": ["a", "b", "c"], "topic": ["t3", "t1", ""]}), tmp_path / "members.parquet")
    last = tickets_training.read_last_night(tmp_path, remembers=True)
    assert last.topic_of(pd.Series(["a", "b", "c", "d"])).tolist() == [1, -1, -1, -1]
    forgotten = tickets_training.read_last_night(tmp_path, remembers=False)
    assert (len(forgotten.topics), len(forgotten.members), forgotten.taken) == (0, 0, ["t1", "t2", "t3"])
    assert forgotten.topic_of(pd.Series(["a"])).tolist() == [-1]


def test_methods_are_judged_on_the_same_tickets_and_by_samples_of_them():
    methods = {"parity": lambda rows: rows % 2, "first half": lambda rows: (np.arange(len(rows)) < len(rows) / 2).astype(int)}
    draws = [np.array([0, 1, 2])]
    table, partition = compare_methods(methods, np.arange(4, 10), draws=draws, judge=lambda found: {"clusters": len(set(found))}, seed=7)
    assert partition["parity"].tolist() == [0, 1, 0, 1, 0, 1]
    assert [(row["method"], row["seed"], row["stability"], row["clusters"]) for row in table] == [("parity", 7, 1.0, 2), ("first half", 7, 0.0, 2)]


def test_k_means_is_told_the_true_number_only_where_there_is_one():
    vectors = np.repeat(AXES, 4, axis=0)
    methods = tickets_training.classical_methods(vectors, 0.4, n_found=2, n_true=3, seed=1)
    assert list(methods) == ["k-means, k = 2", "k-means, told the true k = 3", "Ward at 0.4"]
    assert [len(set(find(np.arange(12)))) for find in methods.values()] == [2, 3, 3]
    assert len(tickets_training.classical_methods(vectors, 0.4, n_found=2, n_true=0, seed=1)) == 2


def test_the_earlier_half_judges_the_later_one_where_both_are_large_enough():
    distance = np.concatenate([np.linspace(0, 1, 99), [2.0], np.full(98, 0.5)])
    is_earlier = np.arange(198) < 99
    assert count_beyond(distance, is_earlier, alarm_rate=0.01) == (1, 99)
    assert count_beyond(distance, is_earlier, alarm_rate=0.001) == (None, 99)
    assert count_beyond(distance[1:], is_earlier[1:], alarm_rate=0.01) == (None, 99), "98 make no rank of one hundredth"


def test_a_model_stands_beside_the_better_baseline():
    areas = {"Leiden": np.array([0.8, 0.8, 0.8]), "exact": np.array([0.1, 0.1, 0.1]), "similar": np.array([0.6, 0.6, 0.7])}
    row = model_row(areas, "Leiden", metric="ARI")
    assert (row["baseline_name"], row["model"], row["baseline"]) == ("similar", 0.8, 0.6)
    assert row["skill"] == pytest.approx(0.5)
    assert row["skill_low"] < row["skill_high"] == pytest.approx(0.5, abs=0.01)


def test_a_ticket_without_a_topic_is_as_far_as_the_nearest_one():
    vectors, topic = AXES[[0, 0, 1, 2]], np.array([0, 0, -1, -1])
    assert tickets_training.distances_of(vectors, topic, AXES[:2]).tolist() == [0, 0, 0, 1]
    assert tickets_training.distances_of(vectors, np.full(4, -1), AXES[:0]).tolist() == [1, 1, 1, 1]
    assert tickets_training.distances_of(AXES[:1], np.array([0]), AXES[:1]).tolist() == [1]  # it is all of its topic


def test_a_ticket_that_was_learned_is_as_far_as_one_that_comes_later():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(60, 8)) + 2 * np.eye(8)[np.arange(60) % 3]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")
    topic = np.arange(60) % 3
    distance = tickets_training.distances_of(vectors, topic, centres_of(vectors, topic), block=7)
    for ticket in (0, 1, 59):
        others = np.delete(np.arange(60), ticket)
        topics = as_topics(centres_of(vectors[others], topic[others]))
        assert distance[ticket] == pytest.approx(assign_topics(vectors[[ticket]], topics)[1][0], abs=1e-5)
    assert (distance > 1 - (vectors @ centres_of(vectors, topic).T).max(axis=1) - 1e-6).all()


def found_topics(ids, topic, keywords):
    centres = AXES[: max(topic) + 1]
    return FoundTopics(pd.Series(ids), np.array(topic), np.full(len(topic), 0.1), centres, keywords, np.array(["quota", "login"], object))


def test_topics_keep_their_ids_and_names_and_those_that_nobody_asks_are_gone():
    first = topics_table(found_topics(list("abcd"), [0, 0, 1, 1], [["quota"], ["login"]]), NONE, day="2026-01-24", min_group=2)
    assert first[["topic", "name", "size", "state", "first_seen"]].to_numpy().tolist() == [
        ["t001", "quota", 2, "new", "2026-01-24"],
        ["t002", "login", 2, "new", "2026-01-24"],
    ]
    assert first.size_before.tolist() == [0, 0]
    members = pd.DataFrame({"ticket_id": list("abcd"), "topic": ["t001", "t001", "t002", "t002"]})
    last = LastNight(first, members, first.topic.tolist())
    second = topics_table(found_topics(list("cde"), [0, 0, 0], [["login"]]), last, day="2026-01-31", min_group=2)
    assert second[["topic", "state", "size", "size_before", "first_seen"]].to_numpy().tolist() == [
        ["t002", "steady", 3, 2, "2026-01-24"],
        ["t001", "gone", 0, 2, "2026-01-24"],
    ]


def test_the_radius_of_a_topic_is_that_of_its_own_members():
    found = found_topics(list("abcde"), [0, 1, 0, 1, -1], [["quota"], ["login"]])
    found.distance[:] = [0.1, 0.2, 0.3, 0.2, 0.9]
    table = topics_table(found, NONE, day="2026-01-24", min_group=2)
    assert np.array(table.radius.tolist()) == pytest.approx(np.array([[0.2, 0.28, 0.298], [0.2, 0.2, 0.2]]))
