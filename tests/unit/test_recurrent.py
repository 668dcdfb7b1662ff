"""Networks whose memory is carried: the values are those of Keras, and it does not matter in what parts a sequence comes."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

import helpers
from nightshift.analysis import transfers_scores
from nightshift.analysis.transfers_scores import first_day, score_days, write_scores
from nightshift.cleaning.transfers_folders import UNDATED, CleanTable
from nightshift.detectors import recurrent
from nightshift.detectors.recurrent import CarriedLoss, CarriedLSTM, CarryOver, Network, Pinball, State, predict_carried, recall, remember
from nightshift.detectors.transfers_predictors import score_transfers
from nightshift.detectors.transfers_quantiles import Chunking, Sequence, pinball, stream_batches
from nightshift.models import load_model, save_model

pytestmark = pytest.mark.usefixtures("quick_compiler")
UNITS, FEATURES = 6, 3


def network_of(units=UNITS, layers=1, layer=None, **options):
    """A small network of the shape that 3_train builds; without units one that has no memory."""
    import keras  # after helpers, which say by what it computes

    keras.utils.set_random_seed(1)
    numbers, codes = keras.Input((None, FEATURES), name="numbers"), keras.Input((None, 2), name="codes", dtype="int32")
    inputs = keras.layers.Concatenate()([numbers, keras.layers.Embedding(5, 2, embeddings_initializer="glorot_uniform")(codes[..., 0])])
    direct, context = keras.layers.Dense(4, activation="relu")(inputs), inputs
    for _ in range(layers if units else 0):
        context = (layer or keras.layers.LSTM)(units, **{"return_sequences": True} | options)(context)
    head = keras.layers.Dense(3, kernel_initializer="orthogonal", bias_initializer=keras.initializers.Constant(2.0))
    return keras.Model([numbers, codes], head(keras.layers.Concatenate()([direct, context])))


def rows(n, sequences=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(sequences, n, FEATURES)).astype("float32"), rng.integers(0, 5, (sequences, n, 2)).astype("int32")


@pytest.fixture(scope="module")
def network():
    return Network(network_of())


def test_values_and_gradients_are_those_of_the_layer_of_keras():
    import jax
    import keras

    rng = np.random.default_rng(2)
    x, hidden, cell, pull = (rng.normal(size=size).astype("float32") for size in ((3, 40, 5), (3, UNITS), (3, UNITS), (3, 40, UNITS)))
    of_keras, ours = (layer(UNITS, return_sequences=True, return_state=True) for layer in (keras.layers.LSTM, CarriedLSTM))
    of_keras(x), ours(x)
    weights = [rng.normal(size=v.shape).astype("float32") / 2 for v in of_keras.trainable_variables]

    def results(layer, weights, x, hidden, cell):
        return layer.stateless_call(weights, layer.non_trainable_variables, x, initial_state=[hidden, cell])[0]

    def total(layer, *arguments):  # of all that the layer returns, each number with a weight of its own
        outputs, *last = results(layer, *arguments)
        return (outputs * pull).sum() + (last[0] * pull[:, 0]).sum() + (last[1] * pull[:, 1]).sum()

    for one, other in zip(results(ours, weights, x, hidden, cell), results(of_keras, weights, x, hidden, cell), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    slopes = [jax.jit(jax.grad(total, argnums=(1, 2, 3, 4)), static_argnums=0)(layer, weights, x, hidden, cell) for layer in (ours, of_keras)]
    for one, other in zip(*map(jax.tree.leaves, slopes), strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_what_is_carried_predicts_as_keras_does(network):
    numbers, codes = rows(300)
    numbers[0, 7, 1] = np.nan  # what is missing counts as the mean
    predicted, _ = predict_carried(network, numbers, codes)
    np.testing.assert_allclose(predicted, network.model([np.nan_to_num(numbers), codes]), atol=1e-6)


@pytest.mark.parametrize("cut", [0, 1, 16, 40, 299, 300])
def test_two_parts_with_the_state_carried_equal_the_whole(network, cut):
    numbers, codes = rows(300)
    whole, last = predict_carried(network, numbers, codes)
    first, state = predict_carried(network, numbers[:, :cut], codes[:, :cut])
    second, end = predict_carried(network, numbers[:, cut:], codes[:, cut:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(end, last, atol=1e-6)


def test_a_prediction_depends_on_earlier_rows_and_on_no_later_one(network):
    numbers, codes = rows(100)
    before, _ = predict_carried(network, numbers, codes)
    numbers[:, 50] += 3
    after, _ = predict_carried(network, numbers, codes)
    np.testing.assert_array_equal(after[:, :50], before[:, :50])
    assert (np.abs(after - before)[:, 51].max(axis=-1) > 1e-4).all()  # the row after it remembers


def test_a_network_without_memory_carries_nothing(network):
    without = Network(network_of(units=0))
    numbers, codes = rows(40)
    predicted, state = predict_carried(without, numbers, codes)
    np.testing.assert_allclose(predicted, without.model([numbers, codes]), atol=1e-6)
    assert state.hidden.shape == (2, 0)


REFUSED = [({"layers": 2}, "^2 LSTMs"), ({"go_backwards": True}, "go_backwards True"), ({"activation": "relu"}, "relu")]


@pytest.mark.parametrize(("options", "line"), REFUSED)
def test_an_lstm_that_would_be_carried_wrongly_is_refused(options, line):
    with pytest.raises(ValueError, match=line):
        Network(network_of(**options))


@pytest.fixture
def predictor(tmp_path, network):
    save_model(network.model, tmp_path / "lstm.keras")
    scaling = {f"x{i}": {"mean": 0.1, "std": 2.0} for i in range(FEATURES)}
    return {"path": tmp_path / "lstm.keras", "numbers": scaling, "vocabulary": {"link": 4, "fts": 4}, "hidden": [1]}


def transfers(n=90):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({f"x{i}": rng.normal(size=n) for i in range(FEATURES)} | {name: rng.choice(list("abcde"), n) for name in ("link", "fts")})
    return table.assign(started=pd.date_range("2026-01-01", periods=n, freq="min", tz="UTC"), log_duration=rng.normal(2, 1, n))


CATEGORIES = {"link": list("abcd"), "fts": list("abcd")}


def test_transfers_in_two_parts_have_the_scores_that_they_have_at_once(predictor):
    table = transfers()
    whole, last = score_transfers(predictor, table, CATEGORIES)
    first, memory = score_transfers(predictor, table[:33], CATEGORIES)
    second, end = score_transfers(predictor, table[33:], CATEGORIES, json.loads(json.dumps(memory)))
    pd.testing.assert_frame_equal(pd.concat([first, second]), whole, atol=1e-6, rtol=1e-6)
    assert end.keys() == last.keys()
    np.testing.assert_allclose(end["cell"], last["cell"], atol=1e-6)
    apart, _ = score_transfers(predictor, table[33:], CATEGORIES)
    assert (apart.score[33] - whole.score[33]) ** 2 > 1e-10  # what was remembered had mattered
    again, same = score_transfers(predictor, table[:0], CATEGORIES, memory)
    assert len(again) == 0
    np.testing.assert_array_equal(same["hidden"], memory["hidden"])


def test_forecast_and_usual_duration_have_memories_of_their_own(predictor):
    table = transfers()
    _, memory = score_transfers(predictor, table, CATEGORIES)
    changed, other = score_transfers(predictor, table.assign(x1=0.0), CATEGORIES)  # which is hidden from the usual one
    whole, _ = score_transfers(predictor, table, CATEGORIES)
    pd.testing.assert_series_equal(changed.predicted_s, whole.predicted_s)
    assert (changed.forecast_s != whole.forecast_s).any()
    assert other["hidden"][0] != memory["hidden"][0]
    assert other["hidden"][1] == memory["hidden"][1]


def test_the_memory_of_another_model_is_refused_and_so_is_another_order(predictor, tmp_path, network):
    state = State(*np.zeros((2, 1, UNITS), "float32"))
    memory = remember(state, predictor["path"])
    np.testing.assert_array_equal(recall(memory, predictor["path"]), state)
    (tmp_path / "other.keras").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"other\.keras, which has been trained since"):
        recall(memory, tmp_path / "other.keras")
    with pytest.raises(ValueError, match="sorted by their starts"):
        score_transfers(predictor, transfers()[::-1], CATEGORIES)


def test_what_is_no_network_remembers_nothing(tmp_path):
    helpers.write_json([{"keys": [], "quantiles": {"": [1.0, 2.0, 3.0]}}], tmp_path / "constant.json")
    predictor = {"path": tmp_path / "constant.json", "numbers": {"x0": {"mean": 0, "std": 1}}, "vocabulary": {"link": 4}, "hidden": [0]}
    scores, memory = score_transfers(predictor, transfers(3), CATEGORIES)
    assert memory == {}
    np.testing.assert_allclose(scores.score, transfers(3).log_duration - 1)


# ------------------------------------------------------------------------------------------------------------ training


def test_streams_read_every_row_once_and_go_on_from_batch_to_batch():
    n, streams, length = 45, 3, 4
    table = Sequence(np.arange(1.0, n + 1)[:, None].repeat(2, axis=1), np.zeros((n, 1)), np.arange(n))
    weight = np.r_[np.ones(40), np.zeros(5)]
    batches = stream_batches(table, weight, chunking=Chunking(length, streams), seed=1, hide=[1])
    read = [batches[k] for k in range(len(batches))]
    assert len(read) == 4  # 40 rows, 12 in a batch
    rows = np.concatenate([x["numbers"][..., 0] for x, _, _ in read], axis=1) - 1  # (streams, steps)
    np.testing.assert_array_equal(rows, np.minimum(np.arange(48).reshape(3, 16), 44))  # a stream goes on where the one before it ends
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in read], axis=1), rows)
    counted = np.concatenate([w for _, _, w in read], axis=1) > 0
    assert sorted(rows[counted]) == list(range(40))
    halves = []
    for _ in range(20):
        hidden = np.concatenate([batches[k][0]["numbers"][..., 1] == 0 for k in range(4)], axis=1)
        assert (hidden.all(axis=1) == hidden.any(axis=1)).all()  # a stream is hidden from end to end
        halves.append(hidden[:, 0])
        batches.on_epoch_end()
    assert (np.sum(halves, axis=1) == 1).all()
    assert np.any(halves, axis=0).all()


def train(n=260, streams=4, epochs=1, learning_rate=0.03):
    """A network trained on a sequence whose target is the number of the row before it: (losses, its memory, the network to store)."""
    import keras

    numbers, codes = (one[0] for one in rows(n, 1))
    target = np.r_[0, numbers[:-1, 0]].astype("float32")
    stored, model = network_of(), network_of(layer=CarriedLSTM, streams=streams)
    sequence = Sequence(numbers, codes, target)
    batches = stream_batches(sequence, np.ones(n), chunking=Chunking(13, streams), seed=1)
    layer = next(one for one in model.layers if isinstance(one, CarriedLSTM))

    model.compile(keras.optimizers.Adam(learning_rate), loss=Pinball(reduction="mean_with_sample_weight"))
    measure = CarriedLoss(Network(stored), sequence, np.ones(n, bool), loss=pinball)
    fitted = model.fit(batches, epochs=epochs, callbacks=[CarryOver(layer), measure], verbose=0, shuffle=False)
    return fitted.history, layer, stored


def test_training_reads_a_stream_as_scoring_reads_it():
    history, _, _ = train(streams=1, learning_rate=1e-12)  # the weights stay, so that only the state could differ
    np.testing.assert_allclose(history["loss"], history["val_loss"], rtol=1e-6)
    apart, _, _ = train(streams=4, learning_rate=1e-12)
    assert abs(apart["loss"][0] / history["loss"][0] - 1) > 1e-5  # three streams began with nothing


def test_the_next_epoch_begins_where_the_stream_before_has_ended():
    both, layer, _ = train(streams=4, epochs=2, learning_rate=1e-12)
    np.testing.assert_allclose(both["loss"][1], both["val_loss"][1], rtol=1e-6)  # now each of them knows what came before it
    ended = np.asarray(layer.carried[1].value)
    CarryOver(layer).on_epoch_begin(2)
    np.testing.assert_array_equal(layer.carried[1].value, np.vstack([0 * ended[:1], ended[:-1]]))


def test_a_network_learns_by_its_memory_and_is_stored_as_one_of_keras(tmp_path):
    history, _, stored = train(epochs=25)
    assert history["val_loss"][-1] < history["val_loss"][0] / 3  # only what is remembered tells the target
    save_model(stored, tmp_path / "lstm.keras")
    assert [type(one).__name__ for one in load_model(tmp_path / "lstm.keras").layers].count("LSTM") == 1


@pytest.mark.parametrize(("warmup", "first"), [(0, 4), (2, 2), (9, 0)])
def test_a_validation_reads_rows_to_warm_up_and_counts_others_with_and_without_what_is_hidden(monkeypatch, warmup, first):
    seen = []
    monkeypatch.setattr(recurrent, "copy_weights", lambda source, target: None)
    monkeypatch.setattr(recurrent, "predict_carried", lambda network, numbers, codes: seen.extend([numbers, codes]) or (numbers[..., :1], None))
    sequence = Sequence(np.arange(1.0, 11)[:, None].repeat(2, axis=1), np.arange(10)[:, None], np.zeros(10))
    how = {"loss": lambda target, predicted: predicted[:, 0], "warmup": warmup, "hide": [0]}
    counts, logs = np.isin(np.arange(10), [4, 6]), {}
    CarriedLoss(SimpleNamespace(model=None), sequence, counts, **how).on_epoch_end(0, logs)
    assert logs == {"val_loss": (5 + 7 + 0 + 0) / 4}
    numbers, codes = seen
    assert codes[..., 0].tolist() == [list(range(first, 7))] * 2
    assert (numbers[..., 1] == codes[..., 0] + 1).all()
    CarriedLoss(SimpleNamespace(model=None), sequence, counts & False, **how).on_epoch_end(1, logs)
    assert logs == {"val_loss": 0}


DEVICES = """
import json, sys
import keras
sys.path[:0] = sys.argv[1:]
from test_recurrent import train
for n in (1, 2, 4):
    devices = keras.distribution.list_devices()[:n]
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    history, layer, _ = train(epochs=3)
    print(json.dumps([len(devices), len(layer.carried[0].value.devices()), history["loss"], history["val_loss"]]))
"""


def test_several_devices_that_share_each_batch_have_the_losses_of_one():
    quick = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", DEVICES, str(REPOSITORY / "tests/unit"), str(REPOSITORY / "tests")]
    done = subprocess.run(command, env=os.environ | quick, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    one, two, four = map(json.loads, done.stdout.splitlines())
    assert [run[:2] for run in (one, two, four)] == [[1, 1], [2, 2], [4, 4]]
    for run in (two, four):
        np.testing.assert_allclose(run[2:], one[2:], rtol=1e-4)
    assert one[2][-1] < one[2][0]


# ------------------------------------------------------------------------------------------------------------ day by day


def write_days(folder, table):
    """The clean table of transfers in a folder: a file per day, every seventh of them failed, and one that still waits."""
    table = table.assign(state=np.where(np.arange(len(table)) % 7 == 3, "failed", "done"), size_bin=1, attempt=1)
    table = table.assign(request_id=[f"r{i}" for i in range(len(table))], link=table.link.astype("category"))
    for day, rows in table.groupby(table.started.dt.strftime("%Y-%m-%d")):
        helpers.write_parquet(rows, folder / f"{day}.parquet")
    waits = table[:1].assign(state="queued", started=table.started[:0].reindex([0]))
    helpers.write_parquet(waits, folder / f"{UNDATED}.parquet")
    return table[table.state == "done"]


@pytest.fixture
def read_anew(monkeypatch):
    """How many transfers were scored anew, in a list of its own for each day that was."""
    counts = []

    def score(predictor, rows, *others):
        counts.append(len(rows))
        return score_transfers(predictor, rows, *others)

    monkeypatch.setattr(transfers_scores, "score_transfers", score)
    return counts


def test_days_are_scored_once_and_as_all_of_them_at_once(predictor, tmp_path, read_anew):
    table = transfers(60).assign(started=pd.date_range("2026-01-01", periods=60, freq="90min", tz="UTC"))  # 16 a day
    done = write_days(tmp_path / "clean", table[:40])
    how = {"predictor": predictor, "categories": CATEGORIES, "kept": tmp_path / "scores/.transfers"}
    score_days(CleanTable(tmp_path / "clean"), "2026-01-01", **how)
    assert len(read_anew) == 3
    done = write_days(tmp_path / "clean", table)  # the third day goes on, and a fourth begins
    scores, memory = score_days(clean := CleanTable(tmp_path / "clean"), "2026-01-01", **how)
    assert read_anew[3:] == [len(done[done.started.dt.day == day]) for day in (3, 4)]
    whole, last = score_transfers(predictor, done, CATEGORIES)
    assert scores.index.tolist() == done.index.tolist()
    pd.testing.assert_frame_equal(scores, whole, atol=1e-6, rtol=1e-6, check_names=False)
    np.testing.assert_allclose(memory["cell"], last["cell"], atol=1e-6)
    again, same = score_days(clean, "2026-01-01", **how)
    assert len(read_anew) == 5
    pd.testing.assert_frame_equal(again, scores)
    assert same == memory
    score_days(clean, "2026-01-02", **how)  # what came before is not remembered any more
    assert read_anew[5:] == [len(done[done.started.dt.day == day]) for day in (2, 3, 4)]
    assert not (tmp_path / "scores/.transfers/2026-01-01.parquet").exists()


def flip(path):
    """Change one digit of the last number in a file."""
    text = path.read_text()
    at = max(text.rindex(digit) for digit in "13579")
    path.write_text(text[:at] + "2" + text[at + 1 :])


DAMAGES = {"2026-01-02.json": [flip, lambda path: path.write_text("{"), lambda path: path.write_text("[]"), lambda path: path.unlink()]}
DAMAGES["2026-01-02.parquet"] = [lambda path: path.write_bytes(path.read_bytes()[:-40]), lambda path: path.unlink()]


@pytest.mark.parametrize(("file", "damage"), [(file, damage) for file, damages in DAMAGES.items() for damage in damages])
def test_scores_that_are_damaged_are_computed_again(predictor, tmp_path, read_anew, file, damage):
    write_days(tmp_path / "clean", transfers(60).assign(started=pd.date_range("2026-01-01", periods=60, freq="1h", tz="UTC")))
    clean, how = CleanTable(tmp_path / "clean"), {"predictor": predictor, "categories": CATEGORIES, "kept": tmp_path / "kept"}
    whole, memory = score_days(clean, "2026-01-01", **how)
    damage(tmp_path / "kept" / file)
    scores, after = score_days(clean, "2026-01-01", **how)
    assert len(read_anew) == 4
    pd.testing.assert_frame_equal(scores, whole)
    assert after == memory


@pytest.mark.parametrize("changed", ["predictor", "names", "table"])
def test_what_scores_are_made_of_makes_them_anew_when_it_changes(predictor, tmp_path, read_anew, changed):
    write_days(tmp_path / "clean", table := transfers(60).assign(started=pd.date_range("2026-01-01", periods=60, freq="1h", tz="UTC")))
    how = {"predictor": predictor, "categories": CATEGORIES, "kept": tmp_path / "kept"}
    score_days(CleanTable(tmp_path / "clean"), "2026-01-01", **how)
    if changed == "predictor":
        how["predictor"] = predictor | {"hidden": [0]}
    if changed == "names":
        how["categories"] = CATEGORIES | {"fts": list("dcba")}
    if changed == "table":  # the second day alone
        write_days(tmp_path / "clean", table.assign(x0=np.where(table.started.dt.day == 2, 0.5, table.x0)))
    scores, _ = score_days(CleanTable(tmp_path / "clean"), "2026-01-01", **how)
    assert len(read_anew) == 3 + (2 if changed == "table" else 3)
    anew, _ = score_days(CleanTable(tmp_path / "clean"), "2026-01-01", **how | {"kept": tmp_path / "other"})
    pd.testing.assert_frame_equal(scores, anew)


def test_the_predictor_reads_enough_transfers_before_the_first_that_counts(tmp_path):
    done = write_days(tmp_path, transfers(90).assign(started=pd.date_range("2026-01-01", periods=90, freq="1h", tz="UTC")))
    clean, noon = CleanTable(tmp_path), pd.Timestamp("2026-01-03 12:00", tz="UTC")
    assert first_day(clean, noon, 0) == first_day(clean, noon, 9) == "2026-01-03"
    assert first_day(clean, noon, int((done.started < noon).sum())) == "2026-01-01"
    assert first_day(clean, noon, 10**6) == "2026-01-01"
    assert first_day(clean, pd.Timestamp("2025-12-01", tz="UTC"), 1) == "2026-01-01"
    (tmp_path / "none").mkdir()
    assert first_day(CleanTable(tmp_path / "none"), noon, 1) == ""


def test_scores_are_written_with_the_ids_of_their_transfers_and_each_once(tmp_path):
    done = write_days(tmp_path / "clean", transfers(60).assign(started=pd.date_range("2026-01-01", periods=60, freq="1h", tz="UTC")))
    clean = CleanTable(tmp_path / "clean")
    scored = done[["started", "link"]].assign(**dict.fromkeys(["duration_s", "predicted_s", "forecast_s", "score", "p_value"], 0.5))
    scored = scored.assign(score=np.arange(len(done)), flagged=False)[20:]
    write_scores(scored, clean, tmp_path / "scores.parquet")
    written = pd.read_parquet(tmp_path / "scores.parquet")
    assert list(written) == transfers_scores.SCORES
    assert written.request_id.tolist() == done.request_id[20:].tolist()
    assert written.score.tolist() == list(range(20, len(done)))
    assert written.link.astype(str).tolist() == done.link[20:].astype(str).tolist()
    twice = pd.read_parquet(clean.path("2026-01-02"))
    helpers.write_parquet(twice.assign(request_id="r"), clean.path("2026-01-02"))
    with pytest.raises(ValueError, match="scored twice"):
        write_scores(scored, clean, tmp_path / "scores.parquet")
    assert pd.read_parquet(tmp_path / "scores.parquet").equals(written)
