"""Functions of the certification study that say in words, ranges or labels what the numbers are."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

from nightshift.analysis.certification import Trained, luminosity_share, official_words, usual_rows
from nightshift.analysis.certification_figures import plane_dataset
from nightshift.analysis.certification_night import (
    answer_words,
    history_words,
    nothing_words,
    official_share,
    quiet_words,
    resolution_words,
    verdict_title,
)
from nightshift.analysis.certification_quality import (
    as_text,
    failure_of,
    failure_rows,
    named_by_strength,
    overlapped,
    parse_failures,
    ranges_of,
    step_rows,
    steps_in_words,
    why_lost,
)
from nightshift.analysis.certification_training import area_table, area_words
from nightshift.cleaning.certification import label_of, list_pairs, mark_measured, usual_binning, with_gaps
from nightshift.detectors.certification import decision_values, own_scores
from nightshift.detectors.certification_choice import OutOfFold, choose, gate, kind_of, upright
from nightshift.detectors.certification_training import (
    JOINED,
    Methods,
    combine_fits,
    figure_in_use,
    fit_classical,
    make_task,
    read_stored,
    run_table,
    same_features,
    store_fit,
)
from nightshift.detectors.certification_verdicts import (
    bad_ranges,
    both_limits,
    in_two_steps,
    strongest_of_good_runs,
    verdicts,
    why_refused,
)
from nightshift.sources.certification.golden import LONGEST, flags_of, listed, read_labels, write_golden
from nightshift.sources.certification.lumisections import runs_kept, staged
from nightshift.sources.certification.notes import keep_runs
from nightshift.wording import plural

# ------------------------------------------------------------------------------------------------------------ extract


def test_a_json_speaks_of_the_runs_between_its_lowest_and_its_highest():
    ranges = {3: [[1, 2]], 5: [[4, 4]]}
    assert listed(ranges).to_numpy().tolist() == [[3, 1], [3, 2], [5, 4]]
    assert listed({}).dtypes.tolist() == [np.dtype("int64")] * 2
    table = pd.DataFrame({"run": [2, 3, 3, 4, 5, 6], "lumisection": [1, 2, 3, 1, 4, 4]})
    assert flags_of(table, ranges).tolist() == [pd.NA, True, False, False, True, pd.NA]
    assert flags_of(table, {}).isna().all()


def test_a_range_that_is_longer_than_any_run_is_refused_before_it_is_written_out(tmp_path):
    write_golden({7: [[1, LONGEST]]}, tmp_path / "fine.json")
    write_golden({7: [[1, LONGEST + 1]]}, tmp_path / "long.json")
    assert read_labels(str(tmp_path / "fine.json")) == {7: [[1, LONGEST]]}
    assert read_labels("") is None
    with pytest.raises(ValueError, match=r"run 7: .* is longer than any run"):
        read_labels(str(tmp_path / "long.json"))


def test_an_open_range_names_no_lumisection_beyond_its_first(tmp_path):
    (tmp_path / "open.json").write_text('{"7": [[1, 2], [5, 0]], "8": [[3, 268435455]]}')
    ranges = read_labels(str(tmp_path / "open.json"))
    assert listed(ranges).values.tolist() == [[7, 1], [7, 2], [7, 5], [8, 3]]
    table = pd.DataFrame({"run": [7, 7, 8, 8], "lumisection": [3, 4000, 2, 900]})
    assert flags_of(table, ranges).tolist() == [False, True, False, True]


def test_runs_of_a_window_are_those_whose_newest_lumisection_lies_in_it(tmp_path):
    edge = pd.Timestamp("2026-02-01", tz="UTC")
    times = [edge - pd.Timedelta(days=n) for n in (9, 3, 2, 0)]
    table = pd.DataFrame({"run": [1, 1, 2, 3], "time": times})
    table = pd.concat([table, pd.DataFrame({"run": [4], "time": [pd.NaT]})], ignore_index=True)
    assert runs_kept(table, days=0, edge=edge).tolist() == [1, 2, 3, 4]
    assert runs_kept(table, days=3, edge=edge).tolist() == [1, 2], "the end of the day is outside, and so is what has no time"
    with pytest.raises(ValueError, match="no time is known"):
        runs_kept(table.assign(time=pd.NaT), days=3, edge=edge)
    path = tmp_path / "t.parquet"
    table[["run"]].to_parquet(path, index=False)
    keep_runs(path, [1, 4])
    assert pd.read_parquet(path).run.tolist() == [1, 1, 4]


def test_a_staged_folder_is_swapped_in_only_when_all_went_well(tmp_path):
    (tmp_path / "one").write_text("before")

    def damaged():
        with staged(tmp_path) as staging:
            (staging / "one").write_text("after")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        damaged()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    with staged(tmp_path) as staging:
        (staging / "one").write_text("after")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["after"]
    for content in ("a folder", "another"):  # first in the place of a file, as earlier versions left it
        with staged(tmp_path) as staging:
            (staging / "one").mkdir()
            (staging / "one" / content).touch()
        assert [path.name for path in tmp_path.rglob("*")] == ["one", content]


# --------------------------------------------------------------------------------------------------------- preprocess


def test_labels_follow_from_both_flags_and_nobody_is_bad_without_having_passed():
    dcs = pd.Series([False, False, True, True, True, pd.NA, pd.NA, pd.NA], dtype="boolean")
    golden = pd.Series([True, pd.NA, True, False, pd.NA, True, False, pd.NA], dtype="boolean")
    assert label_of(dcs, golden).tolist() == ["trivial", "trivial", "good", "expert", "", "good", "", ""]


def test_pairs_are_numbered_and_what_is_in_no_list_has_no_least_entries():
    raw = pd.DataFrame({"dataset": ["B", "A", "B"], "element": ["x", "y", "x"]})
    number, pairs = list_pairs(raw, {"B": {"x": 7}}, min_entries=100.0)
    assert number.tolist() == [1, 0, 1]
    assert pairs.min_entries.fillna(-1).tolist() == [-1, 7]
    assert list_pairs(raw, {}, min_entries=100.0)[1].min_entries.tolist() == [100, 100]


def test_the_usual_binning_is_that_of_training_and_only_else_that_of_all():
    rows = pd.DataFrame({"pair": [0, 0, 0, 1, 1, 1], "bins": [5, 9, 9, 5, 9, 9], "x_min": 0.0, "x_max": 1.0})
    usual = usual_binning(rows, np.array([True, False, False, False, False, False]))
    assert usual.bins.to_dict() == {0: 5, 1: 9}


def test_a_lumisection_without_histograms_becomes_a_row_of_each_dataset_of_its_run():
    seen = pd.DataFrame({"dataset": ["A", "B"], "run": [1, 2], "lumisection": [1, 1]})
    rows = with_gaps(seen, pd.DataFrame({"run": [1, 1, 3], "lumisection": [1, 2, 1]}))
    assert rows.to_numpy().tolist() == [["A", 1, 1, True], ["A", 1, 2, False], ["B", 2, 1, True]]


def test_what_most_good_lumisections_lack_is_left_out_before_rows_are_measured():
    there = np.array([[True, True, False], [True, False, False], [True, True, True]])
    measured, low, names = mark_measured(there, ["a", "b", "c"], good_train=np.array([True, True, False]), least_known=0.5)
    assert names == ["a", "b"]
    assert measured.tolist() == [True, False, True]
    assert low.tolist() == ["", "b", ""]
    assert mark_measured(there, ["a", "b", "c"], good_train=np.zeros(3, bool), least_known=0.5)[2] == ["a", "b", "c"]


# -------------------------------------------------------------------------------------------------------------- train


def test_a_task_scales_by_what_it_fits_and_a_constant_feature_is_zero():
    x = np.array([[0.0, 1.0], [4.0, 1.0], [8.0, 1.0]])
    one = make_task(x, np.array([0, 1]), check=np.array([1, 2]), score=np.array([2]), name=("A", "fold 0"))
    assert ((x - one.low) * one.scale).tolist() == [[0, 0], [1, 0], [2, 0]]
    with pytest.raises(AssertionError, match="A, fold 0: too few good lumisections"):
        make_task(x, np.array([0]), check=np.array([1, 2]), score=np.array([2]), name=("A", "fold 0"))


def test_a_choice_needs_bad_runs_and_an_inverted_dataset_has_no_part_in_it():
    index = pd.MultiIndex.from_product([range(6), [1, 2]], names=["run", "lumisection"])
    bad = index.get_level_values("run") >= 3
    rows = pd.DataFrame({"label": np.where(bad, "expert", "good"), "fold": index.get_level_values("run") % 2}, index)
    better, worse = np.where(bad, 2.0, 0.0) + np.arange(12) / 100, np.where(bad, 0.0, 2.0)
    values = {"sparse": pd.DataFrame({"A": worse, "B": worse}, index), "PCA": pd.DataFrame({"A": better, "B": worse}, index)}
    every = np.ones(12, bool)
    held_out = OutOfFold(rows, values, min_bad_runs=3)
    assert kind_of(held_out, every) == "expert"
    assert (upright(held_out, "PCA", rows=every), upright(held_out, "sparse", rows=every)) == (("A",), ())
    assert choose(held_out, every, candidates=["sparse", "PCA"], otherwise="combined") == "PCA"
    few = OutOfFold(rows, values, min_bad_runs=4)
    assert kind_of(few, every) is None
    assert choose(few, every, candidates=["sparse", "PCA"], otherwise="combined") == "combined"


def test_the_gate_asks_the_choice_first_and_lets_the_combination_serve_where_none_surely_gains():
    areas = {"vanilla": np.array([0.9, 0.89, 0.91]), "PCA": np.array([0.95, 0.94, 0.96]), "distance": np.array([0.8, 0.8, 0.8])}
    areas["mean"] = np.array([0.97, 0.96, 0.98])
    decide = partial(gate, areas, "vanilla", kind="expert", baselines=["distance"], combined="mean")
    serves, models = decide()
    assert (serves, [model["name"] for model in models]) == ("vanilla", ["vanilla", "mean", "PCA", "distance"])
    areas["vanilla"] = np.array([0.9, 0.7, 0.99])
    assert decide()[0] == "mean", "of those that surely gain, the one with the largest area"
    areas["PCA"] = areas["mean"] = areas["vanilla"]
    assert decide()[0] == "mean", "none surely gains"
    areas["mean"] = np.array([0.7, 0.69, 0.71])
    assert decide()[0] == "distance", "the combination is surely worse than the baseline"


def test_the_combination_is_the_mean_in_units_of_the_spread_among_good_ones_and_is_stored_as_such(tmp_path):
    rng = np.random.default_rng(5)
    x = rng.normal(0.5, 0.1, (400, 4)).astype("float32")
    x[390:] += 2
    one = make_task(x, np.arange(300), check=np.arange(300, 390), score=np.arange(390, 400), name=("A", "fold 0"))
    one.low, one.scale = np.zeros(4), np.ones(4)
    settings = Methods(components=2, trees=20, svm_rows=100, worst=0.5)
    fits = [fit_classical(one, name, table=x, random_state=1, settings=settings) for name in JOINED]
    both = combine_fits(fits)
    spreads = [1.4826 * np.median(np.abs(fit.scores[:390] - np.median(fit.scores[:390]))) for fit in fits]
    np.testing.assert_allclose(both.spreads, spreads, rtol=1e-6)
    np.testing.assert_allclose(both.scores, np.mean([fit.scores / s for fit, s in zip(fits, spreads, strict=True)], axis=0), rtol=1e-6)
    assert both.scores[390:].min() > both.scores[:390].max()
    scaling = {name: {"min": 0.0, "max": 1.0} for name in "abcd"}
    (tmp_path / "A.keras").touch()  # what judged before
    stored = json.loads(json.dumps(store_fit(both, tmp_path, scaling=scaling, network_of=None)))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(one["file"] for one in stored["members"])
    np.testing.assert_allclose(decision_values(pd.DataFrame(x, columns=list("abcd")), stored, tmp_path), both.scores, rtol=1e-4, atol=1e-4)


def test_few_rows_have_fewer_neighbours():
    x = np.random.default_rng(1).random((6, 2))
    model = make_pipeline(RobustScaler(), NearestNeighbors(n_neighbors=20)).fit(x)
    assert np.isfinite(own_scores(model, x)).all()


def test_an_earlier_training_that_cannot_be_read_is_none(tmp_path):
    path = tmp_path / "detector.json"
    assert read_stored(path) == {}
    for text in ('{"models": [', "[1]", "\xff"):
        path.write_text(text, encoding="latin-1")
        assert read_stored(path) == {}
    detector = {"datasets": {"A": {"scaling": {"x": {}, "y": {}}}}}
    assert same_features(detector, {"A": {"x": {}, "y": {}}}, ["A"])
    assert not same_features(detector, {"A": {"y": {}, "x": {}}}, ["A"])
    assert not same_features({}, {"A": {"x": {}}}, ["A"])


def test_areas_in_words_name_what_measures_nothing():
    assert area_words("A", {"auc_expert": 0.9, "auc_trivial": 0.99}) == "A has an AUC of 0.900 for expert and 0.990 for trivial bad ones"
    assert area_words("A", {"auc_expert": None, "auc_trivial": None}) == "A is measured by nothing"
    rows = [("run and time", "A", "vanilla", 0.5), ("run and time", "A", "vanilla", 0.7), ("random", "A", "vanilla", 0.8)]
    rows = pd.DataFrame(rows, columns=["split", "dataset", "model", "auc"])
    assert area_table(rows, ["random", "vanilla"]).to_numpy().tolist() == [["vanilla", "0.600 ± 0.141 (0.800)"]]
    assert area_table(rows[:2], ["vanilla"]).A.tolist() == ["0.600 ± 0.141 (unknown)"]


# ------------------------------------------------------------------------------------------------------------ analyse


def test_flagged_lumisections_near_each_other_are_one_range_and_what_fails_dcs_is_in_none():
    flagged = [2, 3, 6, 10]
    scored = pd.DataFrame({"run": 1, "lumisection": range(1, 11), "label": "good", "verdict": "good", "score": 1.0, "p_value": 0.5})
    scored["flagged"] = scored.lumisection.isin(flagged)
    scored.loc[scored.flagged, "p_value"] = 0.01
    ranges = bad_ranges(scored, gap=2, alarm_rate=0.02)
    assert sorted(zip(ranges["first"], ranges["last"], ranges.flagged, strict=True)) == [(2, 6, 3), (10, 10, 1)]
    assert ranges.strength.tolist() == pytest.approx([3 * (1 + np.log(2)), 1 + np.log(2)])
    scored.loc[scored.lumisection == 3, ["label", "verdict"]] = ["trivial", "dcs"]
    assert sorted(bad_ranges(scored, gap=2, alarm_rate=0.02)["first"]) == [2, 6, 10]
    assert len(bad_ranges(scored.assign(flagged=False), gap=2, alarm_rate=0.02)) == 0


def test_the_strongest_range_of_each_good_run_is_judged_by_the_other_runs():
    index = pd.MultiIndex.from_product([range(10), range(1, 51)], names=["run", "lumisection"])
    values = pd.DataFrame({"A": np.random.default_rng(2).random(500)}, index)
    values.loc[(3, slice(11, 20)), "A"] = 5.0  # ten in a row, as strange as nothing else
    strongest = partial(strongest_of_good_runs, values, {"A": 1.0}, gap=2, alarm_rate=0.01)
    assert strongest(allowance=0.0)[3] == pytest.approx(10 * (1 + np.log(0.01 * 451)), rel=1e-6)
    assert (strongest(allowance=0.0).drop(3) < 10).all()
    assert strongest(allowance=6.0).tolist() == [0.0] * 10


def test_verdicts_of_one_and_of_two_steps():
    scored = pd.DataFrame({"label": ["trivial", "good", "good", "good", "good"], "flagged": [True, True, True, True, False]})
    one = verdicts(scored, np.array([True, False, True, True, True]), beyond=np.array([True, True, True, False, True]))
    assert one.tolist() == ["dcs", "undecided", "bad", "grey", "good"]
    assert in_two_steps(one, np.array(["good", "good", "grey", "good", "bad"], object)).tolist() == ["dcs", "good", "bad", "good", "bad"]


def test_numbers_are_told_in_words():
    assert [plural(n, "run") for n in (0, 1, 1234)] == ["0 runs", "1 run", "1,234 runs"]
    assert (as_text(np.nan, np.nan, np.nan), as_text(0.9, np.nan, np.nan), as_text(0.9, 0.8, 1)) == ("", "0.900", "0.900 (0.800 to 1.000)")
    for golden, words in (
        ([pd.NA], "not certified yet"),
        ([True, pd.NA], "officially good"),
        ([False], "officially bad"),
        ([True, False], "officially 50% good"),
    ):
        assert official_words(pd.DataFrame({"golden": pd.array(golden, "boolean")})) == words
    scored = pd.DataFrame({"amount": [1.0, 2.0, 5.0]})
    chosen = pd.Series([True, False, False])
    assert luminosity_share(scored, chosen) == pytest.approx(1 / 8)
    assert luminosity_share(scored, chosen, pd.Series([True, True, False])) == pytest.approx(1 / 3)
    assert luminosity_share(scored[:0], chosen[:0]) == 0


def test_usual_are_validation_lumisections_where_there_are_enough_and_datasets_go_by_their_weight():
    good, judged = pd.DataFrame({"part": ["train"] * 10 + ["validation"] * 50}), pd.DataFrame({"part": ["test"] * 3})
    assert set(usual_rows(good, judged).part) == {"validation"}
    assert len(usual_rows(good[:59], judged)) == 59
    assert len(usual_rows(good[:0], judged)) == 3  # the model is older than all runs in the table
    of_set = {name: {"scaling": {f"{name}|mean": {}, "all|mean": {}}} for name in "ab"}
    trained = Trained({"weights": {"a": 0.2, "b": 0.8}, "datasets": of_set}, None, {})
    assert (trained.in_order, trained.features) == (["b", "a"], ["b|mean", "all|mean", "a|mean"])


def test_known_failures_are_parsed_placed_and_met():
    truth = pd.DataFrame({"entity": ["run 7: 2-3: a, b", "run 9: 1-1: a", "site X"], "strength": [3, 1.5, 1], "kind": "k"})
    failures = parse_failures(truth, [7])
    assert failures[["run", "first", "last", "elements", "words"]].to_numpy().tolist() == [[7, 2, 3, "a, b", "strong"]]
    scored = pd.DataFrame({"run": [7, 7, 9], "lumisection": [1, 3, 1]})
    assert failure_of(scored, failures).tolist() == [-1, 0, -1]
    ranges = pd.DataFrame({"run": [7, 7], "first": [4, 3], "last": [9, 4]})
    assert overlapped(failures, ranges).tolist() == [True]
    assert overlapped(ranges, failures).tolist() == [False, True]
    assert overlapped(failures, ranges[:0]).tolist() == [False]


def test_known_failures_of_unknown_strength_are_counted_too():
    truth = pd.DataFrame({"entity": ["run 7: 2-3: a"], "strength": [np.nan], "kind": "dead_cells"})
    failures = parse_failures(truth, [7]).assign(found=True)
    assert failures.words.tolist() == ["unknown"]
    scored = pd.DataFrame({"run": [7, 7], "lumisection": [1, 2], "score": [0.1, 0.9], "strange": [False, True]})
    scored["failure"] = failure_of(scored, failures)
    inside = (scored.failure >= 0).to_numpy()
    table = failure_rows(failures, scored, inside=inside, reference=~inside, interval=lambda values, bad, run: (1.0, np.nan, np.nan))
    rows = table[["strength", "kind", "failures", "found", "lumisections", "flagged", "AUC"]].to_numpy().tolist()
    assert rows == [["unknown", kind, 1, 1, 1, 1.0, "1.000"] for kind in ("all kinds", "dead cells")]
    named = pd.DataFrame({"failure": [0], "one": [True], "all": [False]})
    assert named_by_strength(named, failures).strength.tolist() == ["unknown"]


def test_what_is_lost_and_let_through_is_counted():
    row = SimpleNamespace(run=1, lumisection=2, verdict="bad")
    assert why_lost(row, {(1, 2): ["a", "b"]}) == "a, b"
    assert why_lost(row, {}) == "its run as a whole"
    assert why_lost(SimpleNamespace(run=1, lumisection=2, verdict="undecided"), {}) == "measured in no dataset"
    words = np.array(["good", "bad", "good", "grey"])
    [line] = step_rows({"alone": words}, np.array([True, True, False, False]))
    assert line == {"verdict by": "alone", "kept": 0.5, "let through": 0.5, "grey": 0.25, "lumisections": 4}
    alone = "By alone, of 4 lumisections that experts judged, 50.0% of the good are kept and 50.0% of the bad let through, 25.0% of all are grey"
    assert steps_in_words([line, line | {"verdict by": "runs first"}]) == f"{alone}; runs first, the same."
    assert steps_in_words([line, line | {"verdict by": "runs first", "kept": 1.0}]) == f"{alone}; runs first, 100.0%, 50.0%, 25.0%."
    assert "not known of the bad" in steps_in_words([line | {"let through": float("nan")}])


def test_only_a_model_in_use_that_was_measured_alike_is_the_earlier_figure():
    rows = [{"metric": "AUC, expert bad lumisections", "model": figure, "in_use": used} for figure, used in ((0.9, False), (0.8, True))]
    assert figure_in_use(rows, "expert") == (rows[1:], 0.8)
    assert figure_in_use(rows, "trivial") == figure_in_use([], "expert") == ([], -1.0)


def test_runs_are_good_when_half_of_what_passes_is_golden_and_those_without_values_teach_nothing():
    labels = ["good", "expert", "trivial", "expert", "expert", "good", "good"]
    rows = pd.DataFrame({"run": [1, 1, 1, 2, 2, 2, 3], "lumisection": [1, 2, 3, 1, 2, 3, 1], "label": labels, "fold": [0, 0, 0, 1, 1, 1, 0]})
    rows = rows.assign(dataset="A", measured=rows.run < 3, x=[1.0, 2, 9, 3, 4, 5, 6])
    runs, is_good, fold = run_table(rows, {"A": {"x": {}}})
    assert is_good.to_dict() == {1: True, 2: False}
    assert runs["A: x"].to_dict() == {1: 2.0, 2: 4.0}
    assert fold.tolist() == [0, 1]


def test_nothing_is_certified_without_a_dataset_in_use_or_enough_good_ones():
    good = pd.DataFrame({"A": np.arange(99.0)})
    assert why_refused(good, 0.01) == ""
    assert why_refused(good[1:], 0.01) == "98 good lumisections cannot tell a share of 1.00%, which takes 99"
    assert why_refused(good[[]], 0.01).endswith("in every dataset (AUC below 0.5)")


def test_the_two_thresholds_are_the_rate_and_the_strangest_good_one():
    calibration = pd.DataFrame({"A": np.arange(100.0), "B": np.arange(100.0)[::-1]})
    limits = both_limits(calibration.head(50), calibration=calibration, weights={"A": 0.5, "B": 0.5}, alarm_rate=0.1)
    for first, second in limits.values():
        assert second == 99
        assert 90 < first < 97  # each has half of the alarms: about 5 of 100 good ones


def test_what_a_night_says_is_worked_out_by_hand():
    scored = pd.DataFrame({"run": [1, 1, 2], "label": ["good", "expert", "good"], "amount": [1.0, 1, 2], "golden": [True, False, None]})
    good = np.array([True, True, False])
    assert official_share(scored, good) == "of those with an official verdict 100.0%, by it 50.0%"
    assert official_share(scored.assign(golden=None), good) == ""
    quiet = quiet_words(scored, good, by_chance=[1], is_measured=False)
    assert quiet.startswith("No range of bad lumisections is certain enough to be a finding, and 1 that experts call bad are let through, and how")
    assert quiet_words(scored, ~good, by_chance=[], is_measured=True) == "No lumisection is flagged beyond those that fail DCS"
    assert history_words(scored, 2, 30) == history_words(scored[:0], None, 30) == ""
    few = "Even a wholly bad run among the 2 judged runs could not be found: 1 good run in the calibration cannot tell so much from chance"
    assert history_words(scored, 3, 1) == history_words(scored, None, 1) == few
    takes = "a finding takes 3 flagged lumisections, each as strange as can be; if all judged runs were good, 0.2 would have one by chance"
    assert resolution_words(3, 20, 0.01) == takes
    assert nothing_words("few", 3) == "No lumisection could be certified: few"
    assert nothing_words("", 0) == "Nothing to judge: there is no lumisection at all"
    ranges = pd.DataFrame({"run": [7], "first": [2], "last": [3], "p_value": [0.1]})
    assert answer_words(ranges, 2) == "1 finding: bad lumisections in 1 of 2 runs; the first: run 7, lumisections 2-3"
    assert answer_words(ranges[:0], 2) == ""
    assert verdict_title(scored.assign(verdict=["grey", "bad", "bad"]), "") == "1 of 3 lumisections (33.3%) are grey, 2 bad"
    assert verdict_title(scored, "few") == "No verdict: few"


def test_ranges_are_read_from_the_entities_of_findings():
    ranges = ranges_of(pd.DataFrame({"entity": ["run 400461, lumisections 1-49"]}))
    assert ranges.to_numpy().tolist() == [[400461, 1, 49]]
    assert ranges_of(pd.DataFrame({"entity": []})).empty


def test_the_plane_is_drawn_for_the_weightiest_dataset_that_has_one():
    scaling = {"A": ["x", "y"], "B": ["x"], "C": ["x", "y"]}
    detector = {"weights": {"A": 0.2, "B": 0.5, "C": 0.3}, "datasets": {name: {"scaling": features} for name, features in scaling.items()}}
    decision = pd.DataFrame({"A": [1.0, 2], "B": [1.0, 2], "C": [1.0, 2]})
    assert plane_dataset(detector, decision) == "C"
    assert plane_dataset(detector, decision.assign(C=np.nan)) == "A"
    assert plane_dataset(detector, decision[:1]) is None


def test_settings_of_methods_out_of_range_are_one_line():
    for wrong, line in (({"trees": 0}, "trees and svm_rows"), ({"worst": 0}, "worst is 0"), ({"worst": 1.1}, "worst is 1.1")):
        with pytest.raises(AssertionError, match=f"^{line}"):
            Methods(**{"components": 1, "trees": 1, "svm_rows": 1, "worst": 1} | wrong)
