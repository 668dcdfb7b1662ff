"""Models come back from their files as they were, and nothing else does."""

import datetime
import functools
import zipfile

import numpy as np
import pytest
import sklearn
import skops.io
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import FunctionTransformer

from nightshift.models import load_model, save_model, stored_model


def test_a_forest_comes_back_as_it_was(tmp_path):
    inputs = np.random.default_rng(1).normal(size=(200, 9))
    forest = IsolationForest(n_estimators=5, random_state=1).fit(inputs)
    save_model(forest, tmp_path / "forest.skops")
    np.testing.assert_array_equal(load_model(tmp_path / "forest.skops").score_samples(inputs), forest.score_samples(inputs))


def test_a_stored_model_is_read_once_until_its_file_changes(tmp_path):
    path, rows = tmp_path / "model.skops", np.arange(12.0).reshape(6, 2)
    save_model(IsolationForest(n_estimators=2, random_state=1).fit(rows), path)
    first = stored_model(path)
    assert stored_model(path) is first
    save_model(IsolationForest(n_estimators=3, random_state=1).fit(rows), path)
    assert len(stored_model(path).estimators_) == 3
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read as a model"):
        stored_model(path)


@pytest.mark.parametrize(
    ("model", "foreign"),
    [
        (KMeans(2), "sklearn.cluster._kmeans.KMeans"),  # skops itself would trust all estimators of scikit-learn
        (FunctionTransformer(np.log1p), "numpy.log1p"),
        (FunctionTransformer(functools.partial(np.genfromtxt)), "numpy.genfromtxt"),
        ({"a": [datetime.timedelta(1)]}, "datetime.timedelta"),
    ],
)
def test_a_model_of_types_that_are_not_listed_is_neither_stored_nor_loaded(tmp_path, model, foreign):
    with pytest.raises(ValueError, match=f"^model.skops holds .*{foreign}, and is refused: .*models.py"):
        save_model(model, tmp_path / "model.skops")
    assert list(tmp_path.iterdir()) == []
    skops.io.dump(model, tmp_path / "model.skops")
    with pytest.raises(ValueError, match=f"^model.skops holds .*{foreign}, and is refused: .*models.py") as refused:
        load_model(tmp_path / "model.skops")
    assert "\n" not in str(refused.value)


def test_a_network_of_layers_that_are_not_listed_is_neither_stored_nor_loaded(tmp_path):
    import keras

    network = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    network.save(tmp_path / "network.keras")
    for do in (lambda path: save_model(network, path), load_model):
        with pytest.raises(ValueError, match=r"^network.keras holds keras.layers.Softmax, and is refused: .*LAYERS"):
            do(tmp_path / "network.keras")


def changed_file(path, name, old, new):
    """Rewrite the archive `path` with `old` replaced in its file `name`."""
    with zipfile.ZipFile(path) as file:
        content = {one: file.read(one) for one in file.namelist()}
    assert old in content[name]
    content[name] = content[name].replace(old, new)
    with zipfile.ZipFile(path, "w") as file:
        for one, text in content.items():
            file.writestr(one, text)


@pytest.mark.parametrize("harm", ["another version", "no archive", "cut", "no schema"])
def test_a_model_that_cannot_be_read_is_refused_in_a_line_that_says_what_to_do(tmp_path, harm):
    path = tmp_path / "models/forest.skops"
    save_model(IsolationForest(n_estimators=2, random_state=1).fit([[0.0], [1.0]]), path)
    if harm == "another version":
        changed_file(path, "schema.json", sklearn.__version__.encode(), b"1.0.0")
    elif harm == "no schema":
        changed_file(path, "schema.json", b"{", b"[")
    else:
        path.write_bytes(path.read_bytes()[:1000] if harm == "cut" else b"no archive")
    with pytest.raises(ValueError, match=rf"forest.skops cannot be read as a model.*: remove {path.parent}/metrics.json, and") as refused:
        load_model(path)
    assert "\n" not in str(refused.value)


def test_a_network_and_a_list_of_estimators_are_stored_by_their_suffix(tmp_path):
    import keras

    x = np.random.default_rng(1).normal(size=(30, 2))
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    save_model(network, tmp_path / "new/network.keras")
    np.testing.assert_allclose(load_model(tmp_path / "new/network.keras").predict(x, verbose=0), network.predict(x, verbose=0))
    save_model([IsolationForest(n_estimators=2, random_state=1).fit(x)], tmp_path / "new/forests.skops")
    assert [type(one) for one in load_model(tmp_path / "new/forests.skops")] == [IsolationForest]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["forests.skops", "network.keras"]
