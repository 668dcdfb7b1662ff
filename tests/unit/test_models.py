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

from nightshift.models import load_skops, save_skops


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
