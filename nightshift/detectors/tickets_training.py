"""Training of the topics of tickets: last night's, methods side by side, and topics as a table."""

import json
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from nightshift.detectors.tickets_names import ids_of, match_topics, names_of, states_of, stored_names
from nightshift.detectors.tickets_topics import k_means, ward
from nightshift.statistics import p_values, percentile_interval, skill_score

# ------------------------------------------------------------------------------------------------- Last night


@dataclass(frozen=True)
class LastNight:
    """Topics of the training before tonight's; the tables are empty where nothing is remembered.

    topics : DataFrame of topics.parquet. members : DataFrame ticket_id, topic. taken : all ids of topics that
    were ever given.
    """

    topics: pd.DataFrame
    members: pd.DataFrame
    taken: list

    @property
    def present(self):
        """Select the topics that are not gone, with rows from 0."""
        return self.topics[self.topics.state != "gone"].reset_index(drop=True)

    def topic_of(self, ticket_id):
        """Find the row in `present` of the topic of each ticket: int (n,), -1 where it had none."""
        row = {name: i for i, name in enumerate(self.present.topic)}
        topic = dict(zip(self.members.ticket_id, self.members.topic, strict=True))
        return ticket_id.map(topic).map(row).fillna(-1).to_numpy(int)


def read_detector(models, *, day):
    """Read detector.json of the folder `models` as it may be known on `day`: (dict, "" or a later day).

    A night knows nothing of later ones: topics that were learned after `day` are not remembered. Then the
    dict is empty, and where words stand in for the language model, they and detector.json are deleted. {}
    without such a file.
    """
    stored, substitute = models / "detector.json", models / "words.skops"
    last = json.loads(stored.read_text()) if stored.exists() else {}
    later = max(last.get("trained_day") or "", last.get("learned_until") or "")[:10]
    if later <= day:
        return last, ""
    if substitute.exists():
        stored.unlink()
        substitute.unlink()
    return {}, later


def read_last_night(models, *, remembers):
    """Read the LastNight from the folder `models`; where it is not remembered, only the taken ids."""
    path = models / "topics.parquet"
    topics = pd.read_parquet(path) if path.exists() else pd.DataFrame({"topic": [], "state": []})
    taken = topics.topic.tolist()
    if not remembers:
        return LastNight(
            pd.DataFrame({"topic": [], "state": []}), pd.DataFrame({"ticket_id": [], "topic": []}), taken
        )
    return LastNight(topics, pd.read_parquet(models / "members.parquet"), taken)


# ----------------------------------------------------------------------------------------- Methods and checks


def classical_methods(vectors, ward_distance, *, n_found, n_true, seed):
    """List k-means, and Ward's method up to a distance: {name: function of rows, int (m,)}.

    vectors : (n, d). n_found, n_true : numbers of topics that k-means is told; 0 leaves the second one out.
    """
    methods = {f"k-means, k = {n_found}": lambda rows: k_means(vectors[rows], n_found, seed=seed)}
    if n_true:
        name = f"k-means, told the true k = {n_true}"
        methods[name] = lambda rows: k_means(vectors[rows], n_true, seed=seed)
    return methods | {f"Ward at {ward_distance:g}": lambda rows: ward(vectors[rows], ward_distance)}


def compare_methods(methods, sample, *, draws, judge, seed):
    """Cluster the tickets `sample`, int (m,), by each method: (list of dicts, {name: clusters, int (m,)}).

    methods : {name: function of rows}. draws : samples of the places in `sample`, by which the stability is
    measured, the adjusted Rand index with the clusters of all. judge : function of clusters that gives more
    columns. seed : is written to a column.
    """
    table, partition = [], {}
    for name, find in methods.items():
        begun = time.perf_counter()
        partition[name] = find(sample)
        spent = time.perf_counter() - begun
        steady = [adjusted_rand_score(partition[name][rows], find(sample[rows])) for rows in draws]
        row = {"method": name, "seed": seed, "stability": np.mean(steady), "seconds": spent}
        table.append(row | judge(partition[name]))
    return table, partition


def count_beyond(distance, is_earlier, *, alarm_rate):
    """Let the earlier half of held-out tickets judge the later one: (flagged, of how many).

    distance : float (n,) from the nearest topic. is_earlier : bool (n,). flagged is None where the earlier
    ones are too few to flag anything at `alarm_rate`, or the later ones to measure it.
    """
    older, newer = distance[is_earlier], distance[~is_earlier]
    if min(len(older), len(newer)) < 1 / alarm_rate - 1:
        return None, len(newer)
    return int((p_values(newer, older) <= alarm_rate).sum()), len(newer)


def model_row(areas, model, *, metric):
    """Write a row of metrics.json: a model beside the better one of its baselines, and its skill.

    areas : {name: float (1 + k,)}, agreement of the model and of each baseline, first of all tickets, then of
    k samples, which give the interval. metric : what agreement this is.
    """
    baseline = max((name for name in areas if name != model), key=lambda name: areas[name][0])
    skill = skill_score(areas[model], areas[baseline])
    low, high = percentile_interval(skill[1:])
    row = {"name": model, "metric": metric, "model": float(areas[model][0]), "baseline_name": baseline}
    row |= {"baseline": float(areas[baseline][0]), "skill": float(skill[0])}
    return row | {"skill_low": low, "skill_high": high}


# ------------------------------------------------------------------------------------------------- The topics


@dataclass(frozen=True)
class FoundTopics:
    """Topics as tonight's tickets have them.

    ticket_id : Series (n,). topic : int (n,), -1 for none. distance : float (n,), of `distances_of`. centres
    : (k, d), length one. keywords : k lists. words : object, those that enough users wrote.
    """

    ticket_id: pd.Series
    topic: np.ndarray
    distance: np.ndarray
    centres: np.ndarray
    keywords: list
    words: np.ndarray


def distances_of(vectors, topic, centres, *, block=10_000):
    """Compute how far each ticket would be from the nearest topic if it had come later: float (n,).

    vectors : (n, d). topic : int (n,), -1 for none. centres : (k, d), length one. The centre of the ticket's
    own topic is taken without the ticket: a centre lies nearer to the tickets that made it, so that only half
    as many learned tickets as new ones would lie beyond a limit. 1 where there is no topic but its own, and
    no other ticket in that.
    """
    nearest = np.full(len(vectors), -1.0)  # the cosine
    for first in range(0, len(vectors) if len(centres) else 0, block):
        cosine, of = vectors[first : first + block] @ centres.T, topic[first : first + block]
        cosine[np.flatnonzero(of >= 0), of[of >= 0]] = -1
        nearest[first : first + block] = cosine.max(axis=1)
    own = np.flatnonzero(topic >= 0)
    along = np.einsum("ij,ij->i", vectors[own], centres[topic[own]])
    length = np.bincount(topic[own], along, len(centres))[topic[own]]  # of the sum of all members
    left = np.sqrt(np.maximum(length**2 - 2 * length * along + 1, 0))  # of the sum of the others
    without = np.divide(length * along - 1, left, out=np.full(len(own), -1.0), where=left > 1e-3)
    nearest[own] = np.maximum(nearest[own], without)
    return np.where(nearest > -1, 1 - nearest, 1.0)


def topics_table(found, last, *, day, min_group):
    """Write topics as topics.parquet has them, those of last night under their ids: DataFrame.

    found : FoundTopics, which come first, in their order. last : LastNight; what it had and nobody asks any
    more follows as "gone". Ids come from `match_topics` and `ids_of`, states from `states_of`, names from
    `names_of`. radius : quantiles of the distances of the members.
    """
    present, n_topics = last.present, len(found.centres)
    before = last.topic_of(found.ticket_id)
    sizes, was = np.zeros(0, int), (np.zeros((0, found.centres.shape[1])), np.zeros(0))
    if len(present):
        sizes = present["size"].to_numpy()
        was = np.stack(present.centroid.to_numpy()), np.array([radius[0] for radius in present.radius])
    centres = (was[0], found.centres)
    match = match_topics(before, found.topic, centres=centres, radius=was[1], min_group=min_group)
    ids = ids_of(match, present.topic, taken=last.taken)
    is_fresh = ~found.ticket_id.isin(last.members.ticket_id).to_numpy()
    stays = stored_names(match, found.keywords, present=present, words=found.words)
    first_seen = dict(zip(last.topics.topic, last.topics.get("first_seen", []), strict=True))
    table = {"topic": ids, "name": names_of(ids, found.keywords, stays=stays), "keywords": found.keywords}
    table["size"] = np.bincount(found.topic[found.topic >= 0], minlength=n_topics)
    table["size_before"] = [int(sizes[i]) if i >= 0 else 0 for i in match]
    table["state"] = states_of(match, found.topic, sizes_before=sizes, is_fresh=is_fresh)
    table |= {"first_seen": [first_seen.get(i, day) for i in ids], "centroid": list(found.centres)}
    members = [found.distance[found.topic == i] for i in range(n_topics)]
    table["radius"] = [list(np.quantile(own, [0.5, 0.9, 0.99])) for own in members]
    table, gone = pd.DataFrame(table), last.topics[~last.topics.topic.isin(ids)]
    if not len(gone):
        return table
    gone = gone.assign(size=0, size_before=gone.get("size"), state="gone")
    return pd.concat([table, gone], ignore_index=True)
