"""Networks whose memory is carried: the values are those of Keras, and it does not matter in what parts a sequence comes."""

import json

import numpy as np
import pandas as pd
import pytest

import helpers
from nightshift.detectors.recurrent import Network, State, predict_carried, recall, remember
from nightshift.detectors.transfers_predictors import score_transfers
from nightshift.models import save_model

pytestmark = pytest.mark.usefixtures("quick_compiler")
UNITS, FEATURES = 6, 3


def network_of(units=UNITS, layers=1, **options):
    """A small network of the shape that 3_train builds; without units one that has no memory."""
    import keras  # after helpers, which say by what it computes

    keras.utils.set_random_seed(1)
    numbers, codes = keras.Input((None, FEATURES), name="numbers"), keras.Input((None, 2), name="codes", dtype="int32")
    inputs = keras.layers.Concatenate()([numbers, keras.layers.Embedding(5, 2)(codes[..., 0])])
    direct, context = keras.layers.Dense(4, activation="relu")(inputs), inputs
    for _ in range(layers if units else 0):
        context = keras.layers.LSTM(units, **{"return_sequences": True} | options)(context)
    head = keras.layers.Dense(3, kernel_initializer="normal", bias_initializer=keras.initializers.Constant(2.0))
    return keras.Model([numbers, codes], head(keras.layers.Concatenate()([direct, context])))


def rows(n, sequences=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(sequences, n, FEATURES)).astype("float32"), rng.integers(0, 5, (sequences, n, 2)).astype("int32")


@pytest.fixture(scope="module")
def network():
    return Network(network_of())


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
