"""What is usual, distances from it and what is stored of them, each against a computation by hand or an independent library."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from nightshift.detectors.telemetry_diagnosis import confusion_rates, temperature_scale
from nightshift.detectors.telemetry_distances import normalise_scores, novelty_scores, robust_z_scores, smooth_runs

NOON = pd.Timestamp("2026-01-30T12:00", tz="UTC")
FEATURES = ["Free::mem|mean", "user::stat|mean"]
rng = np.random.default_rng(0)


def windows(node_id, end, *values, job_id=""):
    frame = pd.DataFrame({"node_id": node_id, "job_id": job_id, "end": pd.DatetimeIndex(end)})
    frame[FEATURES] = np.array(values, "float32")
    return frame.assign(start=frame.end - pd.Timedelta("60s"))


def usual_table(**groups):
    """{group: {when: values}} as `robust_z_scores` reads it."""
    return pd.concat({name: pd.DataFrame.from_dict(rows, orient="index", columns=FEATURES) for name, rows in groups.items()})


@pytest.fixture(scope="module")
def network():
    """(B, 2, 2) -> the same: the first group's errors are twice its inputs, the second's five times."""
    import keras

    inputs = keras.Input((2, 2))
    scale = np.array([[0.5, 0.5], [0.2, 0.2]])
    return keras.Model(inputs, keras.layers.Normalization(axis=(1, 2), mean=np.zeros((2, 2)), variance=scale**2)(inputs))


# ----------------------------------------------------------------------------------------------------- probabilities


def test_temperature_one_changes_nothing_and_others_keep_the_order():
    p = rng.dirichlet([0.5] * 4, 50).clip(1e-5)
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(temperature_scale(p, 1.0), p, rtol=1e-9)
    for temperature in (0.5, 3.0):
        tempered = temperature_scale(p, temperature)
        np.testing.assert_allclose(tempered.sum(axis=1), 1)
        assert (tempered.argsort(axis=1) == p.argsort(axis=1)).all()
    assert (temperature_scale(p, 3.0).max(axis=1) < p.max(axis=1)).all()  # less sure
    assert (temperature_scale(p, 0.5).max(axis=1) > p.max(axis=1)).all()
    np.testing.assert_allclose(temperature_scale(np.array([[0.8, 0.2]]), 0.5), [[0.64 / 0.68, 0.04 / 0.68]])


def test_a_certain_model_leaves_finite_odds():
    p = temperature_scale(np.array([[1.0, 0.0, 0.0]]), 0.5)
    assert np.isfinite(np.log((1 - p) / p)).all()


# ------------------------------------------------------------------------------------------------------ what is usual


def test_a_node_with_a_group_of_its_own_is_compared_with_itself_and_any_other_with_all():
    usual = usual_table(all={"": [10, 20], "spread": [2, 4]}, n1={"": [100, 200], "spread": [10, 50]})
    z, group = robust_z_scores(windows(["n1", "n2"], [NOON] * 2, [110, 100], [14, 16]), usual)
    assert group.tolist() == ["n1", "all"]
    np.testing.assert_allclose(z, [[1, -2], [2, -1]])
    assert z.dtype == np.float32


def test_the_half_hour_counts_where_it_is_known_and_the_plain_median_elsewhere():
    usual = usual_table(n1={"": [0, 0], "24": [5, np.nan], "spread": [1, 1]}, all={"": [0, 0], "spread": [1, 1]})
    ends = [NOON, NOON + pd.Timedelta("29min"), NOON + pd.Timedelta("30min")]
    z, _ = robust_z_scores(windows("n1", ends, [5, 5], [5, 5], [5, 5]), usual)
    np.testing.assert_allclose(z, [[0, 5], [0, 5], [5, 5]])


def test_the_half_hour_of_a_window_is_that_of_its_end_also_at_midnight():
    usual = usual_table(n1={"": [0, 0], "0": [3, 3], "47": [7, 7], "spread": [1, 1]}, all={"": [0, 0], "spread": [1, 1]})
    midnight = pd.Timestamp("2026-01-31", tz="UTC")
    z, _ = robust_z_scores(windows("n1", [midnight - pd.Timedelta("1s"), midnight], [7, 7], [7, 7]), usual)
    np.testing.assert_allclose(z, [[0, 0], [4, 4]])


def test_what_is_not_measured_is_no_deviation():
    usual = usual_table(all={"": [10, np.nan], "spread": [2, 1]})
    z, _ = robust_z_scores(windows("n1", [NOON] * 2, [np.nan, 3], [12, np.nan]), usual)
    np.testing.assert_allclose(z, [[0, 0], [1, 0]])


def test_a_feature_that_no_window_has_is_no_deviation():
    usual = usual_table(all={"": [10, 20], "spread": [2, 4]})
    z, _ = robust_z_scores(windows("n1", [NOON], [12, 99]).drop(columns=FEATURES[1]), usual)
    np.testing.assert_allclose(z, [[1, 0]])


# --------------------------------------------------------------------------------------------------- distances from it


def scored(network, z, group, reference=None):
    reference = reference or {"all": rng.normal(size=(40, 2)), "n1": rng.normal(size=(30, 2))}
    return novelty_scores(np.asarray(z, "float32"), np.asarray(group, object), reference, network)


def test_every_row_gets_its_distance_and_the_error_of_its_own_group(network):
    z = [[1, 3], [0, 2], [2, 2], [4, 0], [0, 0]]
    scores = scored(network, z, ["all", "n1", "all", "all", "n1"])  # three of one, two of the other
    np.testing.assert_allclose(scores.distance, [5, 2, 4, 8, 0])
    np.testing.assert_allclose(scores.autoencoder, [5 * 2**2, 2 * 5**2, 4 * 2**2, 8 * 2**2, 0], rtol=1e-5)
    alone = scored(network, z[1:2], ["n1"])
    assert alone.autoencoder[0] == pytest.approx(50, rel=1e-5)  # the other group has no row


def test_the_residual_is_what_the_leading_components_leave(network):
    line = rng.normal(size=(60, 1)) * [3, 1] + rng.normal(0, 0.05, (60, 2)) + [1, 2]
    z = rng.normal(size=(7, 2)).astype("float32")
    scores = scored(network, z, ["all"] * 7, {"all": line, "n1": line})
    direction = np.linalg.svd(line - line.mean(axis=0))[2][0]  # holds more than 90% of the variance
    centred = z - line.mean(axis=0)
    residual = centred - np.outer(centred @ direction, direction)
    np.testing.assert_allclose(scores.pca, np.mean(residual**2, axis=1), rtol=1e-4)


def test_neighbours_are_the_nearest_of_the_own_group(network):
    reference = {"all": rng.normal(size=(25, 2)), "n1": rng.normal(5, 1, size=(3, 2))}  # fewer than are asked for
    z = rng.normal(size=(8, 2)).astype("float32")
    group = np.array(["all", "n1"] * 4, object)
    scores = scored(network, z, group, reference)
    for row, name, got in zip(z, group, scores.neighbours, strict=True):
        squares = np.sort(((reference[name] - row) ** 2).sum(axis=1))[:5]
        assert got == pytest.approx(squares.mean() / 2, rel=1e-5)


def test_axes_along_which_windows_hardly_vary_count_in_a_fiftieth_of_the_widest(network):
    line = rng.normal(size=(60, 1)) * [3, 1] + rng.normal(0, 0.05, (60, 2))
    z = np.array([[1, 3], [0.5, 0.2]], "float32")
    _, singular, axes = np.linalg.svd(line - line.mean(axis=0))
    variance = singular**2 / 59
    assert variance[1] < variance[0] / 50
    along = (z - line.mean(axis=0)) @ axes.T / np.sqrt([variance[0], variance[0] / 50])
    scores = scored(network, z, ["all"] * 2, {"all": line, "n1": line})
    np.testing.assert_allclose(scores.whitened, np.mean(along**2, axis=1), rtol=1e-4)


def test_detectors_that_are_kept_are_fitted_once(network):
    z, group, fitted = np.array([[1, 3], [0, 2]], "float32"), np.array(["all", "n1"], object), {}
    reference = {name: rng.normal(size=(30, 2)) for name in ("all", "n1")}
    once = novelty_scores(z, group, reference, network, fitted)
    again = novelty_scores(z, group, {name: 9 * healthy for name, healthy in reference.items()}, network, fitted)
    pd.testing.assert_frame_equal(again, once)


def test_no_window_has_no_score(network):
    scores = scored(network, np.zeros((0, 2)), [])
    assert scores.shape == (0, 5)
    assert smooth_runs(scores, windows("n1", [NOON], [1, 1])[:0], 3).shape == (0, 5)


def test_smoothing_never_mixes_runs_or_nodes():
    frame = pd.DataFrame({"node_id": list("aaaaab"), "job_id": list("111221")})
    scores = pd.DataFrame({"distance": [1.0, 2, 6, 100, 200, 1000]}, index=[9, 8, 7, 6, 5, 4])
    got = smooth_runs(scores, frame, 3)
    np.testing.assert_allclose(got.distance, [1.5, 3, 4, 150, 150, 1000])
    assert got.index.tolist() == list(range(6))
    np.testing.assert_allclose(smooth_runs(scores, frame, 1).distance, scores.distance)


def test_smoothing_returns_the_order_of_the_windows_when_a_node_takes_jobs_in_turn():
    frame = pd.DataFrame({"node_id": "a", "job_id": ["2", "1", "2", "1"]})
    got = smooth_runs(pd.DataFrame({"distance": [1.0, 10, 3, 30]}), frame, 2)
    np.testing.assert_allclose(got.distance, [1, 10, 2, 20])


def test_units_are_those_of_the_own_detector_and_together_is_the_mean_of_those_that_learn():
    names = ["distance", "pca", "neighbours", "autoencoder"]
    units = pd.DataFrame([[1.0, 2, 4, 8], [10, 10, 10, 10]], index=["all", "n1"], columns=names)
    scores = pd.DataFrame([[1.0, 2, 4, 8], [20, 10, 20, 30]], columns=names)
    got = normalise_scores(scores, np.array(["all", "n1"]), units)
    np.testing.assert_allclose(np.exp(got), [[1, 1, 1, 1, 1], [2, 1, 2, 3, 2]])
    assert list(got) == [*names, "together"]


def test_a_window_that_measures_nothing_or_a_unit_of_nothing_stays_finite():
    names = ["distance", "pca", "neighbours", "autoencoder"]
    units = pd.DataFrame([[1.0, 0, 1, 1]], index=["all"], columns=names)
    got = normalise_scores(pd.DataFrame(np.zeros((1, 4)), columns=names), np.array(["all"]), units)
    assert np.isfinite(got.to_numpy()).all()
    assert (got.distance < -10).all()  # and is the healthiest of all


# ------------------------------------------------------------------------------------------------------ figures of merit


def test_rates_are_those_of_a_count_by_hand():
    rates = confusion_rates([[6, 2, 0], [1, 8, 1], [0, 1, 4]], ["leak", "none", "slow"])
    assert rates["false_alarms"] == pytest.approx(2 / 10)
    assert rates["misses"] == pytest.approx(3 / 13)
    assert rates["f1 leak"] == pytest.approx(12 / 15)
    assert rates["macro_f1"] == pytest.approx((12 / 15 + 16 / 21 + 8 / 10) / 3)


def test_macro_f1_is_that_of_sklearn():
    classes = ["cpu", "leak", "none"]
    truth, predicted = rng.choice(classes, (2, 300), p=[0.2, 0.3, 0.5])
    counts = pd.crosstab(truth, predicted).reindex(index=classes, columns=classes).to_numpy()
    assert confusion_rates(counts, classes)["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_a_class_without_windows_does_not_count_and_an_empty_side_is_no_number():
    rates = confusion_rates([[5, 1, 0], [2, 9, 1], [0, 0, 0]], ["leak", "none", "slow"])
    assert np.isnan(rates["f1 slow"])
    assert rates["macro_f1"] == pytest.approx((10 / 13 + 18 / 22) / 2)
    healthy_only = confusion_rates([[0, 0], [1, 3]], ["leak", "none"])
    assert np.isnan(healthy_only["misses"])
    assert healthy_only["false_alarms"] == pytest.approx(0.25)
    ill_only = confusion_rates([[3, 1], [0, 0]], ["leak", "none"])
    assert np.isnan(ill_only["false_alarms"])
    assert ill_only["misses"] == pytest.approx(0.25)
