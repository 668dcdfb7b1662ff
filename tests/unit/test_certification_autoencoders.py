"""The networks of the certification study: each term of the loss by hand, many at once against one alone, seeds, and what scores a lumisection."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import RobustScaler

from nightshift.detectors import certification
from nightshift.detectors.certification import scale_features
from nightshift.detectors.certification_autoencoders import (
    VARIANTS,
    Training,
    autoencoder,
    fill_up,
    fit_networks,
    groups_of,
    is_contractive,
    network_errors,
    network_of,
    prepare,
    terms_of,
    variants_to_train,
)
from nightshift.detectors.certification_choice import area, area_of
from nightshift.detectors.certification_training import run_limits
from nightshift.statistics import skill_score

pytestmark = pytest.mark.usefixtures("quick_compiler")

WIDTHS = (7, 5, 3)
SETTINGS = {"widths": WIDTHS, "epochs": 4, "patience": 2, "batch_size": 20, "together": 4, "learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999}
SETTINGS |= {"l1": 1e-4, "contractive": 1e-2, "variational": 1e-3}


@pytest.fixture(scope="module")
def network():
    import keras  # after helpers, which say by what it computes

    keras.utils.set_random_seed(1)  # else its weights, and how many rows lie on one piece of it, depend on the tests before
    return autoencoder(6, WIDTHS)[0]


@pytest.fixture(scope="module")
def weights(network):
    return [np.asarray(v) for v in network.trainable_variables]


X = np.random.default_rng(0).random((9, 6)).astype("float32")
ZEROS = np.zeros((9, 3), "float32")


def terms(network, weights, x=X, noise=ZEROS, sign=ZEROS):
    return [np.asarray(term) for term in terms_of(network, weights, x, noise=noise, sign=sign)]


# ---------------------------------------------------------------------------------------------------- terms of the loss


def test_the_contractive_penalty_is_on_average_the_squared_jacobian_of_finite_differences(network, weights):
    def code(x):
        return np.asarray(network.stateless_call(weights, [], [x, ZEROS])[0][1], float)

    def slopes(step):  # (n, code, F); the code is piecewise linear, so that a large step only has to stay on its piece
        return np.stack([(code(X + step * e) - code(X - step * e)) / (2 * step) for e in np.eye(6, dtype="float32")], axis=2)

    jacobian = slopes(0.01)
    straight = np.abs(jacobian - slopes(0.02)).max(axis=(1, 2)) < 1e-3  # no bend between, where finite differences mean nothing
    assert straight.sum() >= 5
    every = [terms(network, weights, sign=np.tile(np.array(s, "float32"), (9, 1)))[2] for s in itertools.product([-1, 1], repeat=3)]
    np.testing.assert_allclose(np.mean(every, axis=0)[straight], (jacobian**2).sum(axis=(1, 2))[straight], rtol=0.05)
    assert np.mean(every) > 1e-3
    one = terms(network, weights, sign=np.tile(np.array([1, -1, 1], "float32"), (9, 1)))[2]
    np.testing.assert_allclose(one[straight], ((np.array([1, -1, 1]) @ jacobian) ** 2).sum(axis=1)[straight], rtol=0.05)


def test_the_variational_divergence_is_that_of_the_textbook(network, weights):
    biases = [i for i, v in enumerate(network.trainable_variables) if v.shape == (3,) and v.name == "bias"]
    zeros = [np.zeros_like(w) for w in weights]
    zeros[biases[0]][:], zeros[biases[1]][:] = np.log(4), 2  # log variance, then mean
    _, mean, log_variance = network.stateless_call(zeros, [], [X, ZEROS])[0]
    assert (float(mean[0, 0]), float(log_variance[0, 0])) == (2, pytest.approx(np.log(4)))
    np.testing.assert_allclose(terms(network, zeros)[3], 3 * 0.5 * (2**2 + 4 - 1 - np.log(4)), rtol=1e-5)
    np.testing.assert_allclose(terms(network, [0 * w for w in weights])[3], 0)  # a standard normal code


def test_a_code_is_drawn_about_its_mean_by_the_square_root_of_its_variance(network, weights):
    """With a mean of 1 and a variance of 4, noise of 1 gives what a mean of 3 gives without noise."""
    kernels = [i for i, w in enumerate(weights) if w.shape == (5, 3)]
    biases = [i for i, v in enumerate(network.trainable_variables) if v.shape == (3,) and v.name == "bias"]

    def rebuilt(mean, noise):
        fixed = [0 * w if i in kernels else w for i, w in enumerate(weights)]
        fixed[biases[0]], fixed[biases[1]] = np.full(3, np.log(4), "float32"), np.full(3, mean, "float32")
        return np.asarray(network.stateless_call(fixed, [], [X, ZEROS + noise])[0][0])

    np.testing.assert_allclose(rebuilt(1.0, 1.0), rebuilt(3.0, 0.0), rtol=1e-5)
    assert np.abs(rebuilt(3.0, 0.0) - rebuilt(1.0, 0.0)).max() > 1e-3
    np.testing.assert_allclose(terms(network, weights)[0], (np.asarray(network([X, ZEROS])[0]) - X) ** 2, atol=1e-6)


def test_the_sparse_penalty_counts_every_weight_of_every_layer_and_no_bias(network, weights):
    kernels = [w for w in weights if w.ndim == 2]
    assert sorted(w.shape for w in kernels) == sorted([(6, 7), (7, 5), (5, 3), (5, 3), (3, 5), (5, 7), (7, 6)])
    assert float(terms(network, weights)[1]) == pytest.approx(sum(np.abs(w).sum() for w in kernels), rel=1e-5)


def test_noise_moves_the_code_by_its_standard_deviation_and_the_kept_network_uses_the_mean():
    to_train, to_keep = autoencoder(6, WIDTHS)
    rebuilt, _, _ = to_train([X, ZEROS])
    np.testing.assert_allclose(to_keep(X), rebuilt, rtol=1e-6)
    assert not np.allclose(to_train([X, ZEROS + 1])[0], rebuilt)
    slopes = np.concatenate([v.numpy().ravel() for v in to_train.trainable_variables if v.name == "alpha"])
    assert slopes == pytest.approx(0.1), "those of the original below zero"
    assert np.asarray(rebuilt).min() >= 0
    assert np.asarray(rebuilt).max() <= 1


# ------------------------------------------------------------------------------------------------------------ training


def made(spoil=0.0):
    """Two tables of different widths, and a task of each, which takes 0.2 off and doubles; rows 50 and later are in no task."""
    rng, tables, tasks = np.random.default_rng(1), {}, []
    for name, n_features, n in (("a", 6, 60), ("b", 4, 55)):
        hidden = rng.random((n, 2))
        tables[name] = (0.2 + np.clip(hidden @ rng.random((2, n_features)) / 2, 0, 1) / 2).astype("float32")
        tables[name][50:] += spoil
        fit, check = np.arange(40 if name == "a" else 30), np.arange(40, 50 if name == "a" else 47)
        low, scale = np.full(n_features, 0.2), np.full(n_features, 2.0)
        tasks.append(SimpleNamespace(dataset=name, split="run and time", fit=fit, check=check, low=low, scale=scale))
    return tables, tasks


def scaled(task, tables, rows):
    """Rows of the dataset of a task as its networks see them, with zeros for features that other datasets have."""
    x = (tables[task.dataset][rows] - task.low) * task.scale
    return np.pad(x, ((0, 0), (0, 6 - x.shape[1]))).astype("float32")


def fit(jobs, spoil=0.0, **settings):
    tables, tasks = made(spoil)
    return fit_networks(prepare(tables, tasks, training=Training(**SETTINGS | settings)), jobs)


JOBS = [(t, name, s) for t in (0, 1) for name in ("vanilla", "all three") for s in (1, 2)]


@pytest.fixture(scope="module")
def trained():
    return dict(zip(JOBS, fit(JOBS), strict=True))


def same(one, other, tolerance=1e-4):
    return all(np.allclose(w, v, atol=tolerance) for w, v in zip(one.weights, other.weights, strict=True))


@pytest.mark.parametrize("job", [JOBS[1], JOBS[-1]])
def test_one_network_of_many_equals_the_same_one_alone(trained, job):
    alone = fit([job], together=1)[0]
    assert same(alone, trained[job])
    np.testing.assert_allclose(alone.validation_losses, trained[job].validation_losses, rtol=1e-3)
    assert (alone.method, alone.seed, alone.task.dataset) == (trained[job].method, trained[job].seed, trained[job].task.dataset)


def test_the_same_seed_gives_the_same_network_and_another_seed_another(trained):
    again = dict(zip(JOBS, fit(JOBS), strict=True))
    assert all(same(again[job], trained[job], 1e-7) for job in JOBS)
    assert not same(trained[0, "vanilla", 1], trained[0, "vanilla", 2], 1e-2)
    assert not same(trained[0, "vanilla", 1], trained[0, "all three", 1], 1e-3)


def test_rows_of_no_task_teach_nothing(trained):
    spoilt = dict(zip(JOBS, fit(JOBS, spoil=5.0), strict=True))
    assert all(same(spoilt[job], trained[job], 1e-7) for job in JOBS)


def test_the_weights_of_the_best_epoch_are_kept(trained):
    tables, _ = made()
    network = autoencoder(6, WIDTHS)[0]
    for job in (*JOBS[:4], JOBS[-1]):
        task = trained[job].task
        x = scaled(task, tables, task.check)
        rebuilt = network.stateless_call(trained[job].weights, [], [x, np.zeros((len(x), 3), "float32")])[0][0]
        error = np.mean((np.asarray(rebuilt) - x)[:, : len(task.low)] ** 2)
        assert error == pytest.approx(np.nanmin(trained[job].validation_losses), rel=1e-3)


def test_a_trained_network_is_kept_without_the_room_for_wider_datasets(trained):
    tables, tasks = made()
    one = trained[JOBS[-1]]
    x = scaled(one.task, tables, slice(None))[:, :4]
    errors = network_errors(one, prepare(tables, tasks, training=Training(**SETTINGS)))
    assert errors.shape == (55, 4)
    np.testing.assert_allclose((np.asarray(network_of(one, WIDTHS)(x)) - x) ** 2, errors, atol=1e-5)
    assert errors[one.task.check].mean() == pytest.approx(np.nanmin(one.validation_losses), rel=1e-3)


def test_a_network_rests_after_epochs_without_a_better_one():
    done = fit([(0, "vanilla", 1), (0, "sparse", 1)], learning_rate=0.0, epochs=9, patience=3)
    for one in done:  # nothing is learned: the first epoch stays the best
        assert np.isfinite(one.validation_losses).sum() == len(one.validation_losses) == 4
    (tables, tasks), network = made(), autoencoder(6, WIDTHS)[0]
    x = scaled(tasks[0], tables, tasks[0].fit)  # two batches of 20
    rebuilt = network.stateless_call(done[0].weights, [], [x, np.zeros((len(x), 3), "float32")])[0][0]
    assert done[0].losses[0] == pytest.approx(np.mean((np.asarray(rebuilt) - x) ** 2), rel=1e-3)
    size = sum(np.abs(w).sum() for w in done[1].weights if w.ndim == 2)
    assert done[1].losses[0] - done[0].losses[0] == pytest.approx(SETTINGS["l1"] * size, rel=0.01)  # the same errors, and a penalty


def test_a_heavy_penalty_shrinks_what_it_weighs():
    size = {}
    for name in ("vanilla", "sparse"):
        size[name] = sum(np.abs(w).sum() for w in fit([(0, name, 1)], l1=0.1, epochs=6, patience=6)[0].weights if w.ndim == 2)
    assert size["sparse"] < 0.9 * size["vanilla"]


def test_networks_are_cut_into_groups_of_one_kind_and_of_equal_size_that_keep_all_workers_busy():
    contractive = [name for name in VARIANTS if is_contractive(name)]
    assert contractive == ["contractive", "sparse + contractive", "contractive + variational", "all three"]

    def cut(n_plain, n_contractive, together):
        return groups_of([(0, "vanilla", 1)] * n_plain + [(0, "contractive", 1)] * n_contractive, together=together, workers=2)

    assert cut(5, 3, 4) == [[0, 1, 2], [5, 6], [3, 4, 4], [7, 7]], "in turn, the last ones filled up"
    assert cut(2, 0, 4) == [[0], [1]]
    assert cut(0, 1, 4) == [[0]]
    assert cut(9, 0, 2) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 8]]
    assert cut(8, 0, 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert cut(0, 0, 4) == []


def test_arrays_of_several_sizes_are_filled_up_at_their_ends():
    assert fill_up([np.array([1, 2]), np.array([3])], -1).tolist() == [[1, 2], [3, -1]]
    assert fill_up([np.ones((1, 2)), np.ones((2, 1))]).tolist() == [[[1, 1], [0, 0]], [[1, 0], [1, 0]]]


# ------------------------------------------------------------------------------------------------------------ figures


def test_the_area_is_that_of_sklearn_with_weights_and_ties():
    rng = np.random.default_rng(2)
    bad, score, weight = rng.random(300) < 0.2, rng.integers(0, 20, 300).astype(float), rng.integers(0, 4, (5, 300)).astype(float)
    got = area(bad, score, weight)
    np.testing.assert_allclose(got, [roc_auc_score(bad, score, sample_weight=w) for w in weight])
    assert np.isnan(area(bad, score, np.where(bad, 0.0, 1.0)[None])).all()


def test_intervals_draw_whole_runs():
    frame = pd.DataFrame({"run": np.repeat([1, 2, 3, 4], 10), "label": np.repeat(["good", "good", "expert", "expert"], 10)})
    score = np.repeat([0.0, 2.0, 1.0, 3.0], 10)  # of the four pairs of runs, three are in order
    drawn = area_of(frame, score, kind="expert", draws=400, seed=1)
    assert drawn[0] == pytest.approx(0.75)
    assert np.nanmin(drawn[1:]) == 0  # runs 2 and 3 alone
    assert np.nanmax(drawn[1:]) == 1
    assert np.isnan(area_of(frame, score, kind="trivial")[0])


def test_limits_leave_no_more_than_the_stated_share_wrong_beyond_them():
    p, good = np.array([0.05, 0.1, 0.2, 0.5, 0.6, 0.8, 0.9, 0.95]), np.array([False, False, True, False, True, True, True, True])
    assert run_limits(p, good, run_error=0.1) == (0.1, 0.6)  # to the last digit, or the run itself would lie inside
    low, high = run_limits(p, ~good, run_error=0.1)
    assert low < 0
    assert high > 1  # every verdict would be wrong: none is given
    assert run_limits(np.full(4, 0.5), np.array([True, True, False, False]), run_error=0.1) == (-1.0, 2.0)


# ------------------------------------------------------------------------------------------ what scores a lumisection


def test_scaling_is_min_max_in_its_own_order_and_a_constant_feature_says_nothing():
    frame = pd.DataFrame({"a": [0.0, 5.0, np.nan, 1e9], "b": [3.0, 3.0, 3.0, 4.0], "other": 0.0})
    got = scale_features(frame, {"b": {"min": 3, "max": 3}, "a": {"min": 0, "max": 10}})
    np.testing.assert_array_equal(got, np.array([[0, 0], [0, 0.5], [0, np.nan], [0, 10]], "float32"))
    assert got.dtype == np.float32
    with pytest.raises(KeyError, match="absent"):
        scale_features(frame, {"absent": {"min": 0, "max": 1}})


def test_the_worst_features_count_in_units_of_their_usual_error():
    errors = np.array([[1.0, 4.0, 0.0, 0.0, 9.0]])
    assert certification.worst_error(errors, [1, 1, 1, 1, 9], 0.2)[0] == pytest.approx(np.log(4), abs=1e-5)
    assert certification.worst_error(errors, [1, 1, 1, 1, 9], 1.0)[0] == pytest.approx(np.log(6 / 5), abs=1e-5)


@pytest.mark.parametrize("kind", ["keras", "pca", "distance"])
def test_errors_of_reconstruction_by_hand(kind):
    if kind == "keras":
        model = autoencoder(6, WIDTHS)[1]
        expected = (np.asarray(model(X)) - X) ** 2
    elif kind == "pca":
        model = PCA(2).fit(X)
        expected = (X - X.mean(axis=0) - (X - X.mean(axis=0)) @ model.components_.T @ model.components_) ** 2
    else:
        model = RobustScaler().fit(X)
        expected = ((X - np.median(X, axis=0)) / np.subtract(*np.quantile(X, [0.75, 0.25], axis=0))) ** 2
    np.testing.assert_allclose(certification.feature_errors(model, X), expected, rtol=1e-3, atol=1e-6)
    assert certification.feature_errors(model, X[:0]).shape == (0, 6)


def test_a_lumisection_that_lacks_a_feature_has_no_decision_value(tmp_path):
    autoencoder(2, WIDTHS)[1].save(tmp_path / "d.keras")
    frame = pd.DataFrame({"a": [0.2, np.nan, 0.4], "b": [0.1, 0.1, 0.3]})
    detector = {"file": "d.keras", "scaling": {name: {"min": 0, "max": 1} for name in "ab"}, "usual": [0.1, 0.2], "worst": 0.5, "centre": 0.25}
    got = certification.decision_values(frame, detector, tmp_path)
    assert np.isfinite(got).tolist() == [True, False, True]
    x = frame.to_numpy("float32")[[0, 2]]
    expected = certification.worst_error(certification.feature_errors(certification.load_model(tmp_path / "d.keras"), x), [0.1, 0.2], 0.5) - 0.25
    np.testing.assert_allclose(got[[0, 2]], expected, rtol=1e-5)
    assert len(certification.decision_values(frame[:0], detector, tmp_path)) == 0


# ------------------------------------------------------------------------------------------------------------ how sure


def test_a_skill_over_an_all_but_perfect_baseline_stays_a_number_that_means_something():
    assert skill_score(0.9, 0.8) == pytest.approx(0.5)
    np.testing.assert_allclose(skill_score(np.array([0.5, 1.0, 0.9995, 0.0]), np.array([1.0, 1.0, 0.999, 0.99999999]), least=-1), [-1, 0, 0.5, -1])


def test_the_shortest_range_that_can_be_a_finding_is_that_of_its_rule():
    maxima = [0.0] * 30 + [1.0, 2.0, 6.0]
    least = certification.shortest_range(maxima, 999, alarm_rate=0.01, finding_rate=0.01)
    each = 1 + np.log(0.01 * 1000)
    chances = [4 / 35 * (1 + k * each / 9) ** -3 for k in (least, least - 1)]
    assert chances[0] <= 0.01 < chances[1]
    assert certification.range_strength([0.001] * least, 0.01) == pytest.approx(least * each)
    assert certification.shortest_range([0.0, 0.0], 999, alarm_rate=0.01, finding_rate=0.01) is None, "two runs promise nothing"


def test_parameters_of_a_training_out_of_range_are_one_line():
    assert variants_to_train(["sparse"], ["all three"]) == ["sparse", "all three"]
    assert variants_to_train(["sparse"], []) == list(VARIANTS)
    for candidates, variants, line in (([], [], "candidates must name one"), (["deep"], [], "candidates: "), (["sparse"], ["deep"], "variants: ")):
        with pytest.raises(AssertionError, match=f"^{line}"):
            variants_to_train(candidates, variants)
    good = dict.fromkeys(("epochs", "patience", "batch_size", "together"), 1)
    good |= dict.fromkeys(("learning_rate", "beta_1", "beta_2", "l1", "contractive", "variational"), 0.1)
    for wrong, line in (({"widths": (8,)}, r"widths is \[8\]"), ({"widths": (8, 0)}, "epochs, patience"), ({"epochs": 0}, "epochs, patience")):
        with pytest.raises(AssertionError, match=f"^{line}"):
            Training(**{"widths": (8, 4)} | good | wrong)
