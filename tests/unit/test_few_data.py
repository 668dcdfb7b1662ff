"""What is said where data are too few, and how rows are parted for training and testing, on small tables with values by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nightshift.detectors.certification_choice import out_of_fold
from nightshift.detectors.certification_training import (
    can_classify_runs,
    figure_in_use,
    fold_task,
    make_task,
    same_features,
    tasks_of,
    too_little_reason,
    unseen_probabilities,
)
from nightshift.detectors.certification_verdicts import both_limits, first_limit, limit_interval, verdicts, why_refused
from nightshift.detectors.telemetry_history import little_history, too_few_to_train
from nightshift.detectors.telemetry_measures import mean_precision, precision
from nightshift.detectors.telemetry_sites import check_site_pattern, site_of, unmatched_pattern
from nightshift.detectors.tickets import history_verdict, kaplan_meier_median, log_rank, welch_ratio

# -------------------------------------------------------------------------------------------------- history of nodes


def test_windows_to_compare_with_must_make_a_p_value_as_small_as_the_alarm_rate():
    few = little_history(98, 0.01, 1, 5)
    assert few.startswith("no window can be flagged: 98 healthy windows")
    assert "the alarm rate of 1.00%; it takes 99," in few
    assert little_history(99, 0.01, 1, 5) == ""


def test_the_trouble_of_one_node_must_not_need_more_than_half_of_all():
    assert little_history(500, 0.01, 3, 6) == ""
    line = little_history(500, 0.01, 4, 6)
    assert "4 incidents must be as strange at once on 6 nodes; about 2,000 healthy windows" in line
    assert little_history(500, 0.01, 1, 1) == ""
    assert "on 1 node;" in little_history(500, 0.01, 2, 1)
    assert little_history(500, 0.01, 9, 0) == ""


@pytest.mark.parametrize(
    ("truth", "jobs", "unlabelled", "says"),
    [
        ([], [], False, "there is no window: no run up to 2026-01-31 is long enough for one"),
        (["none"] * 20, ["1", "2"] * 10, True, "all 20 windows lie in the 3 days that are judged"),
        (["none"] * 20, ["1"] * 20, False, "the 20 healthy windows are all of one job"),
        (["none"] * 20, [""] * 20, False, ""),
        (["none"] * 10 + ["membw"], ["1", "2"] * 5 + ["3"], False, ""),
        (["none"] * 9 + ["membw"], ["1", "2"] * 5, False, "9 healthy windows are too few"),
    ],
)
def test_why_nothing_can_be_learned_from_windows(truth, jobs, unlabelled, says):
    windows = pd.DataFrame({"truth": truth, "job_id": jobs})
    line = too_few_to_train(windows, windows, unlabelled=unlabelled, day="2026-01-31", judged_days=3.0)
    assert line.startswith(says)
    assert bool(line) == bool(says)


def test_a_site_is_the_first_group_of_a_pattern_in_capitals():
    assert [site_of(*one) for one in (("t2-n1", r"(\w+)-"), ("x", r"(\w+)-"), ("t2-n1", ""), ("n1", r"(t\d)?n"))] == ["T2", "", "", ""]
    assert "names the site of none of 2 nodes, such as n1" in unmatched_pattern(["n1", "", "n2"], r"(t\d)-")
    assert unmatched_pattern(["n1", "t2-n1"], r"(t\d)-") == unmatched_pattern(["n1"], "") == unmatched_pattern([""], "(x)") == ""
    check_site_pattern("")
    check_site_pattern("(a)")
    for pattern, says in (("a", "has no group"), ("(", "is no regular expression")):
        with pytest.raises(ValueError, match=says):
            check_site_pattern(pattern)


def test_precision_is_the_mean_over_troubles_of_the_share_of_troubles_up_to_each():
    ill, score = np.array([True, False, True, False]), np.array([4.0, 3.0, 2.0, 1.0])
    assert precision(ill, score, np.ones((1, 4))).tolist() == pytest.approx([(1 + 2 / 3) / 2])
    assert precision(ill, score, np.array([[1, 3, 1, 1.0]])).tolist() == pytest.approx([(1 + 2 / 5) / 2])
    assert np.isnan(precision(ill, score, np.array([[0, 1, 0, 1.0]]))).all()


def test_the_precision_of_several_kinds_is_their_mean_and_of_one_kind_that_of_nodes():
    windows = pd.DataFrame({"truth": ["a", "none", "b", "none"], "node_id": ["n1", "n1", "n2", "n2"], "score": [4.0, 3.0, 2.0, 1.0]})
    assert mean_precision(windows, "score", np.ones((1, 4))).tolist() == pytest.approx([(1 + 1 / 2) / 2])
    one_kind = windows.assign(truth=["a", "none", "a", "none"], score=[1.0, 3.0, 4.0, 2.0])
    assert mean_precision(one_kind, "score", np.ones((1, 4))).tolist() == pytest.approx([(1 / 2 + 1) / 2])
    assert mean_precision(one_kind, "score", np.array([[3, 1, 1, 1.0]])).tolist() == pytest.approx([(3 * 3 / 4 + 1) / 4])


# ------------------------------------------------------------------------------------------------------ certification


def rows_of(*rows):
    """Rows (run, lumisection, label, part, fold), all measured."""
    return pd.DataFrame(rows, columns=["run", "lumisection", "label", "part", "fold"]).assign(measured=True)


OLDER = rows_of(
    *[(1, n, "good", "train", 0) for n in range(4)],
    *[(2, n, "good" if n else "expert", "train", 1) for n in range(4)],
    *[(3, n, "good", "validation", 1) for n in range(3)],
    *[(4, n, "good", "validation", 0) for n in range(3)],
    *[(5, n, "good" if n else "trivial", "test", 0) for n in range(4)],
)
X = np.column_stack([np.arange(18.0), np.full(18, 7.0)])


def test_what_lacks_for_a_training_is_counted_in_lumisections_of_older_runs():
    twice = pd.concat([OLDER, OLDER.assign(dataset="b")])
    twice.loc[twice.run == 3, "measured"] = False
    line = too_little_reason(twice, 50)
    assert line.startswith("no dataset has 50 good lumisections to train on and two to validate; of 14 in older runs 10 are good and measured")


def test_a_task_scales_by_what_it_fits_and_a_constant_to_nothing():
    task = make_task(X, np.array([2, 6]), check=np.array([0, 1]), score=np.array([9]), name=("d", "s"))
    assert (task.dataset, task.split, task.low.tolist(), task.scale.tolist()) == ("d", "s", [2.0, 7.0], [0.25, 0.0])
    for fit, check in (([2], [0, 1]), ([2, 6], [0])):
        with pytest.raises(AssertionError, match="too few good lumisections"):
            make_task(X, np.array(fit), check=np.array(check), score=np.array([9]), name=("d", "s"))


def test_a_fold_is_scored_by_what_good_older_runs_outside_of_it_taught():
    fold = OLDER.fold.where(OLDER.part != "test", -1).to_numpy()
    task = fold_task(OLDER, X, dataset="d", fold=fold, number=0)
    assert (task.fit.tolist(), task.check.tolist(), task.score.tolist()) == ([5, 6, 7], [8, 9, 10], [0, 1, 2, 3, 11, 12, 13])
    assert task.split == "fold 0"
    no_others = OLDER.assign(part=OLDER.part.replace("validation", "train"))
    task = fold_task(no_others, X, dataset="d", fold=fold, number=0)
    assert (task.fit.tolist(), task.check.tolist()) == ([8, 9, 10], [5, 6, 7]), "every fifth run stops, from the first on"


def test_the_random_split_has_the_shares_of_the_honest_one():
    frame = pd.concat([OLDER.assign(run=OLDER.run + 10 * n) for n in range(300)], ignore_index=True)
    x = np.tile(X, (300, 1))
    honest, random, *folds = tasks_of(frame, x, dataset="d", rng=np.random.default_rng(1))
    assert (honest.split, random.split, [one.split for one in folds]) == ("run and time", "random", ["fold 0", "fold 1"])
    assert [len(part) for part in (honest.fit, honest.check, honest.score)] == [2100, 1800, 1200]
    assert len(random.fit) == pytest.approx(2100, rel=0.06)
    assert len(random.check) == pytest.approx(1800, rel=0.06)
    assert len(random.score) == pytest.approx(3 / 16 * 5400, rel=0.1)
    assert (frame.label[random.fit] == "good").all()
    assert not set(random.fit) & set(random.score)
    assert not set(random.check) & {*random.fit, *random.score}


def test_runs_can_be_classified_with_five_of_each_kind_and_both_outside_of_each_fold():
    good = pd.Series([True, False] * 5)
    assert can_classify_runs(good, np.arange(10) % 3)
    assert not can_classify_runs(good[:9], np.arange(9) % 3)
    assert not can_classify_runs(good, np.arange(10) % 2), "outside of a fold all are of one kind"


def test_each_run_is_judged_by_a_classifier_of_the_other_folds():
    class Share:
        def get_params(self, deep=False):
            return {}

        def fit(self, x, y):
            self.good, self.seen = y.mean(), set(x[:, 0])
            return self

        def predict_proba(self, x):
            assert not self.seen & set(x[:, 0])
            return np.column_stack([np.full(len(x), 1 - self.good), np.full(len(x), self.good)])

    runs, good = pd.DataFrame({"f": np.arange(4.0)}), pd.Series([True, False, True, True])
    assert unseen_probabilities(Share(), runs, is_good=good, fold=np.array([0, 0, 1, 1])).tolist() == [1, 1, 0.5, 0.5]


def test_the_figure_in_use_is_that_of_its_kind_of_bad_ones():
    rows = [{"metric": "AUC, expert bad lumisections", "model": value, "in_use": used} for value, used in ((0.9, False), (0.7, True))]
    rows += [{"metric": "AUC, trivial bad lumisections", "model": 0.99, "in_use": True}]
    assert figure_in_use(rows, "expert") == ([rows[1]], 0.7)
    assert figure_in_use(rows[:1], "expert") == ([], -1.0)


def test_a_stored_detector_serves_with_the_same_features_in_the_same_order():
    stored, today = {"datasets": {"d": {"scaling": {"a": 1, "b": 2}}}}, {"d": {"a": 5, "b": 6}, "e": {}}
    assert same_features(stored, today, ["d"])
    assert not same_features(stored, {"d": {"b": 6, "a": 5}}, ["d"])
    assert not same_features(stored, today, ["d", "e"])
    assert not same_features({}, today, ["d"])


def test_values_out_of_fold_are_those_of_the_folds_of_one_method():
    frame = OLDER.iloc[:4]
    fits = [
        SimpleNamespace(method=method, scores=np.arange(4) + 10 * n, task=SimpleNamespace(dataset="d", split=split, score=np.array(score)))
        for n, (method, split, score) in enumerate([("m", "fold 0", [0, 2]), ("m", "fold 1", [3]), ("m", "random", [1]), ("o", "fold 0", [1])])
    ]
    index = pd.MultiIndex.from_frame(frame[["run", "lumisection"]])
    assert out_of_fold(fits, "m", frames={"d": frame}, index=index).d.fillna(-1).tolist() == [0, -1, 2, 13]


@pytest.mark.parametrize(
    ("n", "columns", "alarm_rate", "says"),
    [
        (99, ["d"], 0.01, ""),
        (98, ["d"], 0.01, "98 good lumisections cannot tell a share of 1.00%, which takes 99"),
        (500, [], 0.01, "bad lumisections look more usual than good ones in every dataset"),
    ],
)
def test_why_nothing_can_be_certified(n, columns, alarm_rate, says):
    line = why_refused(pd.DataFrame(1.0, range(n), columns), alarm_rate)
    assert line.startswith(says)
    assert bool(line) == bool(says)


def test_what_fails_dcs_is_dcs_whatever_else_and_what_nobody_measured_is_undecided():
    scored = pd.DataFrame({"label": ["trivial", "good", "good", "good", "good"], "flagged": [True, True, True, True, False]})
    decided, beyond = np.array([False, False, True, True, True]), np.array([True, True, True, False, True])
    assert verdicts(scored, decided, beyond=beyond).tolist() == ["dcs", "undecided", "bad", "grey", "good"]


def test_the_first_limit_is_where_a_dataset_flags_alone_and_the_second_its_strangest_good_one():
    calibration = pd.DataFrame({"a": np.arange(200.0), "b": np.zeros(200)})
    grid = np.linspace(0, 300, 601)
    first = first_limit("a", grid, calibration=calibration, weights={"a": 1.0, "b": 1.0}, alarm_rate=0.05)
    assert 185 < first <= 199
    assert first_limit("a", grid[:10], calibration=calibration, weights={"a": 1.0, "b": 1.0}, alarm_rate=0.05) == grid[9], "none is flagged"
    decision = pd.DataFrame({"a": [-5.0, 250.0]})
    limits = both_limits(decision, calibration=calibration, weights={"a": 1.0, "b": 1.0}, alarm_rate=0.05)
    assert limits["a"][1] == 199
    assert limits["a"][0] == pytest.approx(first, abs=1)


def test_the_interval_of_a_limit_is_over_drawn_runs():
    scores = np.arange(100.0)
    low, high = limit_interval(scores, np.arange(100), alarm_rate=0.05, rng=np.random.default_rng(1), resamples=500)
    assert low < 95 < high <= 99
    assert low > 85
    assert limit_interval(scores, np.zeros(100), alarm_rate=0.05, rng=np.random.default_rng(1), resamples=50) == (95, 95)


# ------------------------------------------------------------------------------------------------------------ tickets


def test_groups_that_wait_alike_and_those_that_do_not():
    hours, seen = np.array([1.0, 2, 3, 4, 10, 20, 30, 40]), np.ones(8, bool)
    apart = log_rank(hours, seen, ["a"] * 4 + ["b"] * 4)
    assert apart.p_value < 0.02
    assert (apart.why, apart.left_out) == ("", [])
    assert log_rank(hours, seen, ["a", "b"] * 4).p_value > 0.3


@pytest.mark.parametrize(
    ("hours", "seen", "group", "says", "left_out"),
    [
        ([1, 2], [1, 1], ["a", "a"], "there are fewer than two groups", []),
        ([1, 2], [0, 0], ["a", "b"], "no wait has ended yet", []),
        ([1, 2, 5], [0, 0, 1], ["a", "a", "b"], "only one group", ["a"]),
        ([5, 6, 5], [1, 1, 0], ["a", "a", "b"], None, []),
    ],
)
def test_why_groups_cannot_be_compared(hours, seen, group, says, left_out):
    found = log_rank(hours, seen, group)
    assert found.left_out == left_out
    assert np.isnan(found.p_value) == bool(found.why)
    assert says is None or found.why.startswith(says)


def test_a_median_wait_that_is_not_reached_is_infinite():
    assert kaplan_meier_median([1, 2, 3, 4, 5], [1, 1, 1, 1, 1])[0] == 3
    median, low, high = kaplan_meier_median(range(1, 102), np.ones(101))
    assert median == 51
    assert 36 < low < 51 < high < 66, "ten to either side: 1.96 times five hundredths"
    assert kaplan_meier_median([1, 2], [0, 0]) == (np.inf, np.inf, np.inf)
    assert kaplan_meier_median([1, 2, 9, 9, 9], [1, 0, 0, 0, 0])[0] == np.inf


def test_means_of_logarithms_are_compared_as_a_ratio():
    ours, others = np.log([2, 4, 8]), np.log([1, 2, 4])
    ratio, low, high = welch_ratio(ours, others)
    assert ratio == pytest.approx(2)
    assert low < 1 < 2 < high
    assert low * high == pytest.approx(4)
    assert np.isnan(welch_ratio(ours[:1], others)).all()
    assert np.isfinite(welch_ratio(ours[:2], others)).all()
    same = welch_ratio([1.0, 1.0], [0.0, 0.0])
    assert same[0] == pytest.approx(np.e)
    assert np.isnan(same[1:]).all()


def test_a_night_of_tickets_says_what_lacks_for_a_test():
    assert history_verdict(0, False, 0, {"growth"}, least_weeks=8) == ("ok", "")
    lines = [history_verdict(*of, set(), least_weeks=8) for of in ((0, True, 5), (9, False, 5), (1, True, 1), (2000, True, 5))]
    assert {verdict for verdict, _ in lines} == {"too little history"}
    assert lines[0][1].endswith("there is no ticket.")
    assert "no times of creation" in lines[1][1]
    assert "a past of 1 week with 1 ticket is too short; a test needs 8 weeks" in lines[2][1]
    assert "a past of 5 weeks with 2,000 tickets" in lines[3][1]
    assert "at least 100 earlier values" in lines[3][1]
