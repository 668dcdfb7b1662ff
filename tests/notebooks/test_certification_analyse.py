"""Verdicts, ranges, reasons and Golden JSON on hand-made lumisections and models, with values asserted."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from certification_tables import (
    BEGIN,
    DAY,
    JUDGED,
    LEARNED,
    LS,
    NOTEBOOK,
    SETS,
    TRUTH,
    analysed,
    blank,
    cells,
    clean_table,
    deviate,
    lumisections,
    numbers,
    quality,
    rows,
    write_classifier,
    write_clean,
    write_models,
    write_study,
    write_truth,
)
from conftest import refused, run_here
from sklearn.metrics import roc_auc_score

import helpers
from nightshift.analysis.certification import telling
from nightshift.analysis.certification_night import files_of, read_judged
from nightshift.detectors.certification_verdicts import auc_interval, limit_interval, strongest_of_good_runs
from nightshift.sources.certification.golden import write_golden
from nightshift.statistics import score_limit


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """One analysis, with known failures: one found and rightly named, one half named, one without a trace."""
    products = tmp_path_factory.mktemp("certification")
    write_study(products, suffix="keras")
    return analysed(products, truth=write_truth(products, TRUTH))


GOLDEN = {run: [[1, LS]] for run in JUDGED} | {
    102: [[1, 4], [10, 11], [14, LS]],
    104: [[3, LS - 1]],
    105: [[1, 6], [8, LS]],
}
del GOLDEN[103]


def test_verdicts_and_the_golden_json_are_those_worked_out_by_hand(night):
    verdict = night.scores.verdict
    assert verdict.value_counts().to_dict() == {"good": 169, "bad": 27, "dcs": 2, "undecided": 1, "grey": 1}
    assert set(verdict[103]) == {"bad"}
    assert list(verdict[104])[:2] == ["dcs", "dcs"]
    assert (verdict[104, LS], verdict[105, 7], verdict[107, 4]) == ("undecided", "grey", "good")
    assert night.golden == GOLDEN
    assert night.recorded == {"verdict": "ok", "warnings": []}


def test_thresholds_are_the_stated_rate_and_the_strangest_good_one(night):
    calibration = pd.read_parquet(night.paths.models / "calibration.parquet")
    n = len(calibration)
    assert n == 800
    scores, least = night.scores, 1 / (n + 1)
    assert (scores.flagged == (scores.p_value <= 0.01)).all()
    assert scores.p_value[102, 5] == pytest.approx(least)
    grey = scores.loc[(105, 7)]
    assert least < grey.p_value <= 0.01


def test_a_wider_rate_flags_more_and_makes_more_grey_but_nothing_more_bad(night, tmp_path):
    write_study(tmp_path)
    wide = analysed(tmp_path, alarm_rate=0.5)
    assert wide.scores.flagged.sum() > night.scores.flagged.sum()
    assert (wide.scores.verdict == "bad").sum() == 27
    assert (wide.scores.verdict == "grey").sum() > 1


def test_flagged_lumisections_become_ranges_with_small_gaps_joined(night, tmp_path):
    assert set(night.of) == {"run 102, lumisections 5-13", "run 103, lumisections 1-20"}
    part, whole = night.of["run 102, lumisections 5-13"], night.of["run 103, lumisections 1-20"]
    assert (part.kind, whole.kind, part.site, part.study) == ("bad_lumisections", "bad_run", "", "certification")
    each = 1 + np.log(0.01 * 801)  # the strength of a lumisection with the smallest p-value there can be
    calibration = pd.read_parquet(night.paths.models / "calibration.parquet").set_index(["run", "lumisection"])
    maxima = strongest_of_good_runs(calibration.fillna(calibration.min()), dict.fromkeys(SETS, 0.5), allowance=0.0, gap=2, alarm_rate=0.01)
    some = maxima[maxima > 0]
    share = (len(some) + 1) / (len(maxima) + 2)
    assert part.p_value == pytest.approx(share * (1 + 7 * each / some.sum()) ** -len(some))
    assert whole.p_value == pytest.approx(share * (1 + 20 * each / some.sum()) ** -len(some))
    assert part.start == BEGIN + pd.Timedelta(seconds=3600 + 5 * 23.31)
    assert part.end == BEGIN + pd.Timedelta(seconds=3600 + 14 * 23.31)
    assert "Flagged and not kept, since a good run holds as much often enough: 1 range, 1 lumisection." in night.page
    write_study(tmp_path)
    assert {"run 102, lumisections 5-9", "run 102, lumisections 12-13"} <= set(analysed(tmp_path, gap=1, finding_rate=0.5).of)


def test_evidence_has_the_cost_the_histogram_its_number_and_the_official_verdict(night):
    found = night.of["run 102, lumisections 5-13"]
    what = r"7 of 9 lumisections flagged in ZeroBias, 3\.5 /pb recorded in them: a (\d+) times its usual squared error "
    what += r"\(q50 3\.5, usually (0\.3\d*) to (0\.6\d*)\); "  # b and c are as usual and not named
    times, low, high = re.match(what, found.evidence).groups()
    good = clean_table().query("dataset == 'ZeroBias' and part == 'validation'")
    assert (float(low), float(high)) == pytest.approx(tuple(good["a|q50"].quantile([0.05, 0.95])), abs=1e-3)
    usual = ((good[numbers("ZeroBias")[:2]] - 0.5) ** 2).mean()
    by_hand = (9 / usual.iloc[0] + 1) / 2  # the other number of a is as usual: the mean of its excess over one is at least 0
    assert found.observed == pytest.approx(by_hand, rel=0.01)
    assert float(times) == pytest.approx(found.observed, rel=0.01)
    assert found.evidence.endswith("officially bad")
    whole = night.of["run 103, lumisections 1-20"].evidence
    assert whole.startswith("20 of 20 lumisections flagged in ZeroBias and JetHT, 10 /pb recorded in them: b ")
    assert found.impact == pytest.approx(3.5)
    assert night.of["run 103, lumisections 1-20"].impact == pytest.approx(10)
    assert set(night.findings.impact_unit) == {"/pb"}


def test_a_finding_names_the_primary_datasets_in_which_its_run_is_strange(night):
    assert night.of["run 102, lumisections 5-13"].datasets == "ZeroBias"  # in which alone a is
    assert set(night.of["run 103, lumisections 1-20"].datasets.split(", ")) == {"ZeroBias", "JetHT"}


def test_the_difference_to_the_official_json_is_the_one_by_hand(night):
    got = {(d.run, d.lumisection): (d.side, d.verdict, d.why) for d in night.difference.itertuples()}
    assert {at: side for at, (side, _, _) in got.items()} == {(106, 3): "gained", (106, 4): "gained", (106, 5): "gained"} | {
        (102, 10): "gained",
        (102, 11): "gained",
        (104, LS): "lost",
        (105, 7): "lost",
    }
    assert got[104, LS][1:] == ("undecided", "measured in no dataset")
    assert got[105, 7][1] == "grey"
    assert got[105, 7][2] == "c"
    assert "Gained against the official Golden JSON: 5 lumisections, 2.5 /pb; lost: 2, 1 /pb." in night.page


def test_reasons_name_the_histogram_that_was_spoiled(night):
    assert cells(night.page, "b", "20", "20")  # first in run 103, in 102 a comes first, in the grey one c; what is as usual is not named
    assert cells(night.page, "a", "7", "7")
    assert cells(night.page, "c", "1", "1")


def test_reasons_are_the_first_and_what_else_is_beyond_chance():
    chance = pd.Series({"a": 2.0, "b": 0.99, "c": 1.0, "d": 1.0})
    assert list(telling(pd.Series({"a": 30.0, "b": 1.0, "c": 0.9, "d": 5.0}), chance).index) == ["a", "b"]
    assert list(telling(pd.Series({"a": 0.2, "b": 0.1}), chance).index) == ["a"], "the first is always told"
    assert list(telling(pd.Series({"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}), chance).index) == ["a", "b", "c"]


def test_one_and_several_are_told_in_the_right_number(night, tmp_path):
    assert "Findings: 2 (1 bad run, 1 range of bad lumisections in other runs)." in night.page
    assert f"Our Golden JSON of {DAY} is data/scores/certification_golden.json." in night.page
    write_study(tmp_path, clean_table().query("run < 104"), {"ZeroBias": 0.5})
    write_clean(tmp_path, clean_table().query("(run < 41 or run == 103) and dataset == 'ZeroBias'"))
    alone = analysed(tmp_path)
    assert alone.page.startswith(
        "**1 finding: bad lumisections in 1 of 1 run; the first: run 103, lumisections 1-20.** Judged: 20 lumisections of 1 run;"
    )


def test_an_element_that_the_models_know_and_the_table_lacks_is_one_line(tmp_path):
    write_study(tmp_path)
    write_clean(tmp_path, clean_table().drop(columns=["c|q50", "c|rms"]))
    line = refused(run_here, NOTEBOOK, tmp_path, day=DAY)
    assert line == "certification.parquet has no c|q50, which the models have learned: run 3_train again"


def test_what_was_decided_is_left_for_the_page_on_its_quality(night):
    left = read_judged(files_of(night.paths))
    pd.testing.assert_frame_equal(left.scored.set_index(["run", "lumisection"])[list(night.scores)], night.scores)
    assert left.failures[["kind", "words", "run", "first", "last"]].to_numpy().tolist() == [
        ["dead_sector", "strong", 102, 5, 13],
        ["shifted_scale", "medium", 103, 1, 20],
        ["noisy_channel", "weak", 108, 2, 9],
    ]
    assert left.scored.failure.value_counts().to_dict() == {-1: 163, 0: 9, 1: 20, 2: 8}
    assert left.first_three[102, 5] == ["a"]
    assert len(left.first_three) == left.scored.flagged.sum() - (left.scored.flagged & (left.scored.label == "trivial")).sum()
    assert list(left.decision) == list(SETS)
    assert left.decision.notna().any(axis=1).equals(left.scored.decided)
    assert (left.alarm_rate, left.refused, left.can_judge, left.certifies) == (0.01, "", True, True)


def test_without_any_model_in_use_nothing_is_certified(tmp_path):
    write_study(tmp_path, weights=dict.fromkeys(SETS, 0))
    paths = helpers.study_paths("certification", tmp_path)
    paths.scores.parent.mkdir(parents=True)
    write_golden({101: [[1, 20]]}, paths.scores.with_name("certification_golden.json"))  # of an earlier night
    night = analysed(tmp_path)
    assert night.page.startswith(
        "**No certification: bad lumisections look more usual than good ones in every dataset (AUC below 0.5).** No Golden JSON"
    )
    assert night.golden is None
    assert len(night.findings) == len(night.difference) == 0
    assert night.scores.verdict.value_counts().to_dict() == {"undecided": 198, "dcs": 2}
    assert "- No certification" in night.page


def test_one_inverted_dataset_does_not_judge(tmp_path):
    write_study(tmp_path, weights={"ZeroBias": 1.0, "JetHT": 0})
    night = analysed(tmp_path)
    assert night.scores.verdict[105, 7] == "good"  # only JetHT saw it
    assert set(night.scores.verdict[103]) == {"bad"}


def test_labels_of_the_judged_runs_have_a_veto(tmp_path):
    clean = clean_table()
    for run in (101, 106, 108, 109, 110):  # what experts rejected is as usual as can be, in runs whose good ones are not
        usual = rows(clean, run, 1, 10)
        clean.loc[usual, "label"] = "expert"
        for feature in {*numbers("ZeroBias"), *numbers("JetHT")}:
            clean.loc[usual & clean[feature].notna(), feature] = 0.5
    for run in (102, 103):
        clean.loc[rows(clean, run, 1, LS), "label"] = "good"
    write_study(tmp_path, clean)
    night = analysed(tmp_path)
    what = "No certification: in these runs bad lumisections look more usual than good ones"
    stated = re.match(rf"\*\*{what} \(AUC (\S+), \S+ to (\S+)\)", night.page)
    assert float(stated[1]) <= float(stated[2]) < 0.5
    assert "- No certification: in these runs" in night.page
    assert night.golden is None
    assert len(night.findings) == len(night.difference) == 0
    assert night.scores.verdict.value_counts().to_dict() == {"undecided": 198, "dcs": 2}
    assert night.scores.p_value.min() < 0.01  # the scores stay what they are


def test_too_few_good_lumisections_for_the_stated_rate_are_refused(tmp_path):
    write_study(tmp_path)
    night = analysed(tmp_path, alarm_rate=0.001)
    reason = "800 good lumisections cannot tell a share of 0.10%, which takes 999"
    assert night.page.startswith(f"**No certification: {reason}.**")
    assert night.recorded["verdict"] == "too little history"
    assert night.recorded["verdict_reason"] == f"No lumisection could be certified: {reason}."
    assert night.golden is None
    assert not night.scores.flagged.any()


def test_a_night_on_which_not_even_a_bad_run_could_be_found_says_so_and_not_that_it_is_quiet(tmp_path):
    write_study(tmp_path)
    night = analysed(tmp_path, finding_rate=1e-12, truth=write_truth(tmp_path, [("dead_sector", 3, "run 999: 1-2: a")]))
    reason = "Even a wholly bad run among the 10 judged runs could not be found: 40 good runs in the calibration"
    reason += " cannot tell so much from chance"
    assert night.page.startswith(f"**{reason}.**")
    assert (night.recorded["verdict"], night.recorded["verdict_reason"]) == ("too little history", f"{reason}.")
    assert len(night.findings) == 0
    assert night.recorded["warnings"] == [f"truth names no failure in the 10 judged runs: {tmp_path / 'truth.csv'}"]
    assert re.search(r"Resolution: a finding takes \d+ flagged lumisections, each as strange as can be", night.page)


def test_more_alarms_than_stated_are_a_warning_and_no_ok(tmp_path):
    clean = clean_table()
    for run in (104, 105, 106, 108, 109, 110):  # strange and yet good, in six runs
        deviate(clean, rows(clean, run, 8, 15), 30, "a")
    write_study(tmp_path, clean)
    night = analysed(tmp_path)
    [warned] = night.recorded["warnings"]
    assert re.match(r"Stated alarm rate 1.00%, observed 3\d.\d\d% \(.*\) of 1\d\d good lumisections of \d judged runs: ", warned)
    assert (night.recorded["verdict"], night.recorded["verdict_reason"]) == ("not calibrated", warned)
    assert warned.endswith("more is flagged than stated, so these alarms mean less than they say.")


def test_a_dataset_that_is_not_measured_leaves_the_verdict_to_the_others(tmp_path):
    clean = clean_table()
    blank(clean, (clean.dataset == "JetHT") & clean.run.isin(JUDGED))
    write_models(tmp_path, clean, dict.fromkeys(SETS, 0.5))
    write_clean(tmp_path, clean)
    night = analysed(tmp_path)
    assert night.golden == GOLDEN | {105: [[1, LS]]}
    assert "run 103, lumisections 1-20" in night.of


def test_a_model_that_is_older_than_all_runs_in_the_table_still_says_why(tmp_path):
    write_study(tmp_path)
    clean = clean_table()
    write_clean(tmp_path, clean[clean.run.isin(JUDGED)])
    night = analysed(tmp_path)
    assert night.of["run 103, lumisections 1-20"].evidence.startswith(
        "20 of 20 lumisections flagged in ZeroBias and JetHT, 10 /pb recorded in them: b "
    )
    assert not re.search(r"\bnan\b", night.page)
    assert "judged runs, newer" in quality(tmp_path)


def test_nothing_to_judge_is_said_and_leaves_empty_tables(tmp_path):
    write_study(tmp_path, learned_runs=[*LEARNED, *JUDGED])
    night = analysed(tmp_path)
    assert night.page.startswith(f"**Nothing to judge: the models have learned from every run there is.** No Golden JSON is written on {DAY}.")
    assert night.recorded["verdict_reason"] == "Nothing to judge: the models have learned from every run there is."
    assert night.golden is None
    assert len(night.scores) == len(night.findings) == len(night.difference) == 0


def test_no_lumisection_at_all_is_said_too(tmp_path):
    write_study(tmp_path)
    write_clean(tmp_path, clean_table().head(0))
    night = analysed(tmp_path)
    assert night.page.startswith("**Nothing to judge: there is no lumisection at all.**")
    assert night.golden is None
    assert len(night.scores) == len(night.findings) == 0


def test_a_quiet_night_certifies_everything(tmp_path):
    clean = pd.concat([lumisections(name, run, part, spread) for name in SETS for run, part, spread in ((LEARNED, "train", 9), (JUDGED, "test", 1))])
    write_models(tmp_path, clean, dict.fromkeys(SETS, 0.5))
    write_clean(tmp_path, clean)
    night = analysed(tmp_path)
    assert night.page.startswith(
        "**No lumisection is flagged beyond those that fail DCS.** Judged: 200 lumisections of 10 runs; certified good: 100.0%"
    )
    assert night.golden == {run: [[1, LS]] for run in JUDGED}
    assert len(night.findings) == 0
    helpers.record_metrics(night.paths.models / "metrics.json", study="certification", day=DAY, models=[])
    page = analysed(tmp_path).page
    assert page.startswith("**No lumisection is flagged beyond those that fail DCS, and how well bad ones are found is not known, since too few runs")


def test_without_labels_nothing_is_compared_and_findings_say_so(tmp_path):
    clean = clean_table()
    clean.loc[clean.run.isin(JUDGED), "label"] = ""
    write_study(tmp_path, clean)
    night = analysed(tmp_path)
    assert "(no official verdict yet)" in night.page
    assert "nothing can be compared" in night.page
    assert night.of["run 103, lumisections 1-20"].evidence.endswith("not certified yet")
    assert len(night.difference) == 0


def test_a_wide_table_without_times_and_luminosity_is_judged_alike(tmp_path):
    columns = {f"{f.partition('|')[0]}_$x$<b>{f.partition('|')[2]}": f for f in numbers("ZeroBias")}
    clean = clean_table().query("dataset == 'ZeroBias'").drop(columns=numbers("JetHT")[2:])
    clean = clean.rename(columns={old: f"{new}|value" for new, old in columns.items()}).assign(dataset="wide", recorded_lumi=np.nan)
    clean["time"] = clean.time.where(clean.run.isna())
    clean["fill"] = clean.fill.where(clean.run.isna())
    write_study(tmp_path, clean, {"wide": 1.0})
    night = analysed(tmp_path)
    assert set(night.of) == {"run 102, lumisections 5-13", "run 103, lumisections 1-20"}
    assert night.findings.start.isna().all()
    assert night.findings.impact.isna().all()  # an unknown luminosity, not none
    assert str(night.findings.start.dtype) == "datetime64[us, UTC]"
    assert night.of["run 102, lumisections 5-13"].evidence.startswith("7 of 9 lumisections flagged in wide: a_$x$<b>q50 ")
    assert "/pb" not in night.page
    assert "The source gives no luminosity, so lumisections are counted." in night.page
    assert night.golden == GOLDEN | {105: [[1, LS]]}


def test_two_steps_change_verdicts_of_sure_runs_only(night, tmp_path):
    clean = clean_table()
    deviate(clean, rows(clean, 109, 1, LS), 25, "a")  # a whole run that the classifier sees too
    deviate(clean, rows(clean, 110, 1, LS), 10, "a")  # at 1.5: its grey zone
    write_study(tmp_path, clean)
    alone = analysed(tmp_path, two_step=True)
    assert alone.recorded["warnings"][-1] == (
        "two_step asks for verdicts on whole runs, and there are none: there were too few bad runs to learn from; lumisections are judged alone"
    )
    write_classifier(tmp_path, 0.1, 0.9)
    beside, both = analysed(tmp_path), analysed(tmp_path, two_step=True)
    assert (beside.scores.verdict == alone.scores.verdict).all()
    assert beside.golden == alone.golden
    assert set(both.scores.verdict[109]) == {"bad"}
    assert (both.scores.verdict[110] == alone.scores.verdict[110]).all()
    assert set(both.scores.verdict[102]) == {"good"}  # the classifier is sure of a run of which most is good
    assert set(both.scores.verdict[104]) == {"dcs", "good"}
    assert beside.recorded["warnings"] == both.recorded["warnings"] == alone.recorded["warnings"][:-1]


def test_parameters_out_of_range_are_refused_with_one_line(night):
    products = night.paths.root
    assert "alarm_rate is 2" in refused(run_here, NOTEBOOK, products, alarm_rate=2)
    assert "gap is -1" in refused(run_here, NOTEBOOK, products, gap=-1)


def test_the_auc_and_its_interval_count_pairs_with_ties():
    rng = np.random.default_rng(3)
    values, bad, run = rng.integers(0, 9, 400).astype(float), rng.random(400) < 0.3, rng.integers(0, 12, 400)
    values[bad] += 1
    interval = partial(auc_interval, rng=rng, resamples=400)
    auc, low, high = interval(values, bad, run=run)
    assert auc == pytest.approx(roc_auc_score(bad, values))
    assert low < auc < high
    drawn = [np.concatenate([np.flatnonzero(run == r) for r in rng.integers(0, 12, 12)]) for _ in range(400)]
    slow = np.quantile([roc_auc_score(bad[d], values[d]) for d in drawn], [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(slow), abs=0.02)
    assert np.isnan(interval(values, np.zeros(400, bool), run=run)).all()
    values[bad] = np.nan
    assert np.isnan(interval(values, bad, run=run)).all()


def test_the_interval_of_the_threshold_is_that_of_drawn_runs():
    rng = np.random.default_rng(4)
    scores, run = rng.normal(size=3000), np.repeat(np.arange(30), 100)
    low, high = limit_interval(scores, run, rng=rng, resamples=500, alarm_rate=0.05)
    drawn = [np.concatenate([scores[run == r] for r in rng.integers(0, 30, 30)]) for _ in range(500)]
    slow = np.quantile([score_limit(sample, 0.05) for sample in drawn], [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(slow), abs=0.03)
    assert low < score_limit(scores, 0.05) < high
