"""Models come back from their files as they were, and nothing else does."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import FunctionTransformer
from skops.io.exceptions import UntrustedTypesFoundException

from nightshift.models import load_model, load_skops, save_model, save_skops


def test_a_forest_comes_back_as_it_was(tmp_path):
    inputs = np.random.default_rng(1).normal(size=(200, 9))
    forest = IsolationForest(n_estimators=5, random_state=1).fit(inputs)
    save_skops(forest, tmp_path / "forest.skops")
    np.testing.assert_array_equal(load_skops(tmp_path / "forest.skops").score_samples(inputs), forest.score_samples(inputs))


@pytest.mark.parametrize("function", [os.system, np.genfromtxt])
def test_a_function_that_is_not_of_scikit_learn_is_refused(tmp_path, function):
    save_skops(FunctionTransformer(functools.partial(function)), tmp_path / "foreign.skops")  # named in the file, not stored
    with pytest.raises(UntrustedTypesFoundException, match=function.__name__):
        load_skops(tmp_path / "foreign.skops")


def test_storing_models_does_not_import_pytorch_and_hides_it_from_nobody():
    """Tickets import PyTorch after it."""
    code = "import sys, nightshift.models; assert 'torch' not in sys.modules; import torch; print(torch.add(1, 2).item())"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_a_network_and_a_list_of_estimators_are_stored_by_their_suffix(tmp_path):
    import keras

    x = np.random.default_rng(1).normal(size=(30, 2))
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    save_model(network, tmp_path / "new/network.keras")
    np.testing.assert_allclose(load_model(tmp_path / "new/network.keras").predict(x, verbose=0), network.predict(x, verbose=0))
    save_model([IsolationForest(n_estimators=2, random_state=1).fit(x)], tmp_path / "new/forests.skops")
    assert [type(one) for one in load_model(tmp_path / "new/forests.skops")] == [IsolationForest]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["forests.skops", "network.keras"]
