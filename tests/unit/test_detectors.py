"""The contract of detectors: higher is stranger, scores are finite, and what is stored scores alike."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from nightshift.detectors.base import Detector, EstimatorDetector, NullDetector, check_scores, is_whole
from nightshift.detectors.telemetry_distances import Distance, Neighbours, Residual
from nightshift.statistics import p_values

rng = np.random.default_rng(7)
ORDINARY, OTHERS = rng.normal(size=(400, 3)), rng.normal(size=(200, 3))
STRANGE = rng.normal(4, 1, (50, 3))
FACTORIES = {
    "forest": lambda: EstimatorDetector(IsolationForest(n_estimators=30, random_state=1)),
    "distance": Distance,
    "residual": lambda: Residual(0.6),
    "neighbours": lambda: Neighbours(5),
}


@pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES)
def test_what_is_strange_scores_higher_and_beats_the_null_detector(make):
    strange = np.repeat([False, True], [len(OTHERS), len(STRANGE)])
    items = np.vstack([OTHERS, STRANGE])
    detector, nothing = make().fit(ORDINARY), NullDetector().fit(ORDINARY)
    assert roc_auc_score(strange, nothing.score_samples(items)) == 0.5
    assert roc_auc_score(strange, detector.score_samples(items)) > 0.75
    assert detector.score_samples(items[:0]).shape == (0,)


def test_the_null_detector_flags_nothing():
    nothing = NullDetector().fit(ORDINARY)
    assert set(p_values(nothing.score_samples(STRANGE), nothing.score_samples(OTHERS))) == {1.0}


def test_a_stored_detector_scores_alike(tmp_path):
    detector = FACTORIES["forest"]().fit(ORDINARY)
    detector.save(tmp_path, "forest")
    assert [path.name for path in tmp_path.iterdir()] == ["forest.skops"]
    np.testing.assert_array_equal(EstimatorDetector.load(tmp_path, "forest").score_samples(OTHERS), detector.score_samples(OTHERS))


class Broken(NullDetector):
    def measure(self, x):
        return np.full(len(x), [np.nan] + [1.0] * (len(x) - 1))


def test_a_score_that_is_no_number_names_its_detector():
    with pytest.raises(ValueError, match=r"^Broken gave 1 of 50 items a score that is no finite number$"):
        Broken().score_samples(STRANGE)
    with pytest.raises(ValueError, match=r"^d\.skops gave scores of the shape \(2,\) for 3 items$"):
        check_scores([1, 2], 3, name="d.skops")
    with pytest.raises(TypeError, match="abstract"):
        Detector()


@pytest.mark.parametrize(("name", "content"), [("forest.skops", b"PK"), ("calibration.parquet", b"PAR1"), ("detector.json", b"{"), ("a.keras", b"")])
def test_a_stored_model_that_is_damaged_is_compared_with_none_and_replaced(tmp_path, monkeypatch, name, content):
    warnings = []
    monkeypatch.setattr("nightshift.detectors.base.warn", warnings.append)
    assert not is_whole(tmp_path, "detector.json"), "there is none"
    (tmp_path / "detector.json").write_text("{}")
    pd.DataFrame({"score": [1.0]}).to_parquet(tmp_path / "calibration.parquet")
    (tmp_path / ".trained").touch()
    assert is_whole(tmp_path, "detector.json", "calibration.parquet")
    assert warnings == []
    (tmp_path / name).write_bytes(content)
    assert not is_whole(tmp_path, "detector.json")
    [line] = warnings
    assert line.startswith(f"The stored model cannot be read ({name}: ")
    assert line.endswith("the new one takes its place without a comparison.")
