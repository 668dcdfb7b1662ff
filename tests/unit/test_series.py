"""Weekly series on hand-made tables whose answer is known, and what must hold for every series: no future, no scale, no lost name."""

import importlib.util
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra import pandas as hpd

import helpers
from nightshift import compiled
from nightshift.analysis.accounting_quality import decode_categories
from nightshift.analysis.accounting_wording import measured_in, resolution_sentence
from nightshift.detectors import accounting as weekly_series
from nightshift.detectors.accounting_trials import skill_between
from nightshift.detectors.base import NullDetector
from nightshift.sources.accounting.steps import WEEK
from nightshift.sources.times import week_of
from nightshift.statistics import combine_tests


def module_at(path):
    """The module in the file `path` of the repository, which is in no package."""
    spec = importlib.util.spec_from_file_location(path, REPOSITORY / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


accounting_small = module_at("bench/accounting_small.py")

MONDAY = pd.Timestamp("2024-01-01", tz="UTC")
QUANTITIES = ["core_hours", "wall_hours", "cpu_hours", "jobs"]
DEVIATIONS = ["level_short", "level_long", "jobs", "job_length", "cores_per_job", "efficiency"]
CONSTANT = NullDetector()  # a forest to which all weeks are alike
steady = 100 * np.exp(np.random.default_rng(0).normal(0, 0.05, 60))


def table(series):
    """The clean table of {(site, vo): core hours from the first week on, NaN outside life}; wall as core, 80% CPU, one job per 10 hours."""
    rows = [(*who, MONDAY + pd.Timedelta(days=7 * w), x, x, 0.8 * x, x / 10) for who, core in series.items() for w, x in enumerate(core)]
    return pd.DataFrame(rows, columns=["site", "vo", "week", *QUANTITIES]).dropna(subset="core_hours").reset_index(drop=True)


def one(core):
    """Features and tests of one series, with a row of tests per week."""
    _, _, panel = weekly_series.series_panel(table({("A", "atlas"): core}))
    features = weekly_series.series_features(panel)
    return {name: x[0] for name, x in features.items()}, weekly_series.change_tests(features, np.ones(panel["core_hours"].shape, bool), CONSTANT)


def test_a_regular_series_is_silent_in_its_first_silent_week_only():
    features, tests = one(np.append(steady[:40], np.zeros(6)))
    assert np.flatnonzero(tests.silent).tolist() == [40]
    assert tests.silent[40] > weekly_series.REGULAR
    assert features["weeks_silent"][38:].tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    assert (features["expected"][40:44] > 90).all()  # silence does not become what is expected


def test_a_series_that_often_pauses_is_never_silent():
    _, tests = one(np.where(np.arange(60) % 2, steady, 0))
    assert (tests.silent == 0).all()


@pytest.mark.parametrize(("gap", "back"), [(3, []), (4, [34]), (9, [39])])
def test_a_return_counts_after_four_silent_weeks_or_more(gap, back):
    _, tests = one(np.concatenate([steady[:30], np.zeros(gap), steady[30:40]]))
    assert np.flatnonzero(tests.returned).tolist() == back


@pytest.mark.parametrize(("factor", "kind", "other"), [(0.5, "drop", "surge"), (2.0, "surge", "drop")])
def test_a_step_of_a_steady_series_is_seen_at_once_and_with_its_sign(factor, kind, other):
    _, tests = one(steady * np.where(np.arange(60) >= 45, factor, 1))
    assert tests[kind][:45].max() < 1.5
    assert tests[kind][45] > 2.5  # log 2 in spreads of 0.22: 8 weeks of 5% noise, and two of 0.5
    assert tests[other][45] == 0
    assert (tests[["silent", "returned"]] == 0).all(axis=None)
    assert (tests.longer_jobs < 0.1).all()  # as many hours per job as ever


def test_a_slow_drift_is_no_change():
    _, tests = one(steady * 0.97 ** np.arange(60))
    assert tests[["drop", "surge"]].to_numpy().max() < 1.2
    assert (tests[["silent", "returned"]] == 0).all(axis=None)


def test_levels_that_disagree_are_no_change():
    features, tests = one(np.concatenate([np.full(30, 100.0), np.full(9, 400.0), [200.0]]))
    assert features["level_short"][39] < 0 < features["level_long"][39]
    assert tests.loc[39, ["drop", "surge"]].tolist() == [0, 0]


def test_efficiency_and_jobs_change_without_core_hours():
    clean = table({("A", "atlas"): steady})
    late = clean.index >= 50
    clean.loc[late, "cpu_hours"] *= 0.4
    clean.loc[late, "jobs"] *= 5
    _, _, panel = weekly_series.series_panel(clean)
    tests = weekly_series.change_tests(weekly_series.series_features(panel), np.ones((1, 60), bool), CONSTANT)
    assert tests.efficiency_drop[50] == pytest.approx(np.log(2.5) / np.sqrt(2 * 0.5**2 / 28))  # a constant past: spread of two weeks of 0.5
    assert tests.more_jobs[50] > 4
    assert tests.longer_jobs[50] == 0
    assert max(tests[k][:50].max() for k in ("efficiency_drop", "longer_jobs")) < 1e-6
    assert tests["drop"][50] < 1.5


def test_a_zero_is_a_week_of_life_and_a_missing_week_is_not():
    features, _ = one([np.nan, np.nan, 5.0, 0.0, 5.0, 0.0, 0.0])  # the table, and so the panel, begins with the life
    assert features["age"].tolist() == [0, 1, 2, 3, 4]
    assert features["active"].tolist() == [1, 0, 1, 0, 0]
    assert features["weeks_active"].tolist() == [0, 1, 1, 2, 2]
    _, _, panel = weekly_series.series_panel(table({("A", "x"): [1.0, 0.0, 2.0], ("B", "y"): [np.nan, 3.0, np.nan]}))
    np.testing.assert_array_equal(panel["core_hours"], [[1, 0, 2], [np.nan, 3, np.nan]])
    assert weekly_series.series_features(panel)["age"].tolist() == [[0, 1, 2], [0, 0, 1]]


def test_a_series_shorter_than_the_window_is_not_compared_until_four_weeks_are_known():
    features, tests = one([10.0, 10.0, 10.0, 10.0, 1000.0])
    assert np.isnan(features["level_long"][:4]).all()
    assert features["level_long"][4] == features["level_short"][4]  # the same four weeks lie in both windows
    assert features["level_long"][4] == pytest.approx(np.log(100) / np.sqrt(2 * 0.5**2 / 6))
    assert (tests.surge[:4] == 0).all()


def test_an_empty_table_has_no_series_and_no_features():
    series, weeks, panel = weekly_series.series_panel(table({}).astype({"site": str, "vo": str, "week": "datetime64[us, UTC]"}))
    assert (len(series), len(weeks), list(series.columns)) == (0, 0, ["site", "vo"])
    features = weekly_series.series_features(panel)
    assert {x.shape for x in features.values()} == {(0, 0)}
    tests = weekly_series.change_tests(features, np.zeros((0, 0), bool), CONSTANT)
    score, _, strongest = combine_tests(tests, pd.DataFrame({"drop": [1.0]}), {"drop": 1.0})
    assert (len(tests), len(score), len(strongest)) == (0, 0, 0)


def test_totals_are_the_sums_of_their_members_and_only_of_two_or_more():
    members = {("A", "atlas"): [1.0, 2, 3], ("A", "cms"): [np.nan, 10, 0], ("B", "atlas"): [100.0, np.nan, np.nan], ("C", "lhcb"): [5.0, 5, 5]}
    series, weeks, panel = weekly_series.series_panel(table(members))
    at = {tuple(who): row for row, who in enumerate(series.to_numpy())}
    assert set(at) == {*members, ("A", ""), ("", "atlas")}  # not of B, C, cms or lhcb, which have one
    assert list(series[(series.site != "") & (series.vo != "")].index) == [0, 1, 2, 3]  # totals come last
    assert panel["core_hours"][at["A", ""]].tolist() == [1, 12, 3]
    assert panel["core_hours"][at["", "atlas"]].tolist() == [101, 2, 3]
    assert panel["jobs"][at["A", ""]] == pytest.approx([0.1, 1.2, 0.3])
    assert list(weeks) == [MONDAY + pd.Timedelta(days=7 * w) for w in range(3)]


def test_one_series_alone_has_no_total():
    series, _, panel = weekly_series.series_panel(table({("A", "atlas"): steady}))
    assert series.to_numpy().tolist() == [["A", "atlas"]]
    np.testing.assert_array_equal(panel["core_hours"], [steady])


weekly = st.one_of(st.just(np.nan), st.just(0.0), st.floats(1e-3, 1e6))


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=weekly), st.integers(1, 12))
def test_trailing_median_equals_a_slow_loop(values, weeks):
    middle, spread, counts = compiled.trailing_median(values, weeks)
    for s, t in np.ndindex(values.shape):
        window = values[s, max(t - weeks, 0) : t]
        window = window[np.isfinite(window)]
        assert counts[s, t] == len(window)
        expected = np.median(window) if len(window) else np.nan
        np.testing.assert_allclose(middle[s, t], expected)
        np.testing.assert_allclose(spread[s, t], 1.4826 * np.median(np.abs(window - expected)) if len(window) else np.nan)


def drawn_panel(seed):
    """Three series of 70 weeks, so that a year ago exists: lives that begin late, silent weeks, and CPU times that are not known."""
    rng = np.random.default_rng(seed)
    panel = {name: np.exp(rng.normal(3, 1, (3, 70))) for name in QUANTITIES}
    silent, unborn = rng.random((3, 70)) < rng.choice([0.05, 0.6]), np.arange(70) < rng.integers(0, 60, (3, 1))
    panel = {name: np.where(unborn, np.nan, np.where(silent, 0, x)) for name, x in panel.items()}
    panel["cpu_hours"][rng.random((3, 70)) < 0.1] = np.nan
    return panel


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 68))
def test_no_feature_and_no_test_knows_the_weeks_after_its_own(seed, other, t):
    panel, foreign = drawn_panel(seed), drawn_panel(other)
    altered = {name: np.hstack([x[:, : t + 1], 7 * foreign[name][:, t + 1 :]]) for name, x in panel.items()}
    before, after = weekly_series.series_features(panel), weekly_series.series_features(altered)
    for name, x in before.items():
        np.testing.assert_array_equal(after[name][:, : t + 1], x[:, : t + 1], err_msg=name)
    past = np.broadcast_to(np.arange(70) <= t, (3, 70))
    pd.testing.assert_frame_equal(weekly_series.change_tests(before, past, CONSTANT), weekly_series.change_tests(after, past, CONSTANT))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_a_small_series_looks_like_a_large_one(seed, factor):
    panel = drawn_panel(seed)
    scaled = {name: np.vstack([x[:1] * factor, x[1:]]) for name, x in panel.items()}
    before, after = weekly_series.series_features(panel), weekly_series.series_features(scaled)
    for name in [*DEVIATIONS, "trend", "share", "weeks_silent"]:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(after["expected"][0], factor * before["expected"][0])


def test_forest_inputs_are_finite_and_bounded():
    features = dict.fromkeys(weekly_series.FOREST_INPUTS, np.array([[np.nan, 1.0, -50.0]]))
    assert weekly_series.forest_inputs(features, np.array([[True, False, True]])).tolist() == [[0.0] * 9, [-8.0] * 9]


def drawn_tests(rng, n):
    """Statistics of ordinary weeks: one with a size, one that says nothing in nine of ten, one that never says anything."""
    return pd.DataFrame({"drop": rng.exponential(size=n), "silent": rng.random(n) * (rng.random(n) < 0.1), "returned": np.zeros(n)})


def test_all_weight_on_one_test_ranks_as_that_test():
    rng = np.random.default_rng(2)
    tests, calibration = drawn_tests(rng, 300), drawn_tests(rng, 500)
    score, _, strongest = combine_tests(tests, calibration, {"drop": 1.0})
    np.testing.assert_array_equal(np.argsort(score), np.argsort(tests["drop"]))
    assert set(strongest) == {"drop"}


def test_the_strongest_test_is_named_and_ties_beyond_all_calibration_are_broken_by_size():
    calibration = drawn_tests(np.random.default_rng(3), 500)
    tests = pd.DataFrame({"drop": [0.0, 40.0, 50.0], "silent": [2.0, 0.0, 0.0], "returned": 0.0})
    score, _, strongest = combine_tests(tests, calibration, {"drop": 0.5, "silent": 0.4, "returned": 0.1})
    assert strongest.tolist() == ["silent", "drop", "drop"]
    assert score[0] < score[1] < score[2]
    both = pd.DataFrame({"drop": [40.0], "silent": [2.0]})  # beyond all calibration by either test: the weights decide
    assert [combine_tests(both, calibration, {"drop": w, "silent": 1 - w})[2][0] for w in (0.7, 0.3)] == ["drop", "silent"]


@pytest.mark.parametrize("weights", [{"drop": 1.0}, {"drop": 0.05, "silent": 0.9, "returned": 0.05}, {"drop": 0.4, "silent": 0.1, "returned": 0.5}])
def test_ordinary_weeks_have_uniform_p_values_whatever_the_weights(weights):
    rng, levels, rates = np.random.default_rng(4), np.array([0.01, 0.05, 0.2, 0.5]), []
    for _ in range(60):
        tests, calibration = drawn_tests(rng, 2000), drawn_tests(rng, 2000)  # fewer rank themselves too well: 1.5% at 1% with 400
        _, p, _ = combine_tests(tests, calibration, weights)
        rates.append((p <= levels[:, None]).mean(axis=1))
    rate = np.mean(rates, axis=0)
    np.testing.assert_allclose(rate[:2], levels[:2], rtol=0.2)
    assert (rate[2:] <= 1.05 * levels[2:]).all()  # weeks in which no test says anything tie: then fewer, never more


def test_rows_are_judged_by_their_rank_among_the_calibration():
    calibration = pd.DataFrame({"drop": [1.0, 2.0, 3.0, 4.0], "silent": 0.0})
    score, p, strongest = combine_tests(pd.DataFrame({"drop": [5.0, 3.0, 0.5], "silent": 0.0}), calibration, {"drop": 0.9, "silent": 0.1})
    assert p.tolist() == [1 / 5, 3 / 5, 1]  # none, the two upper ones, all four at or above
    assert strongest[:2].tolist() == ["drop", "drop"]
    assert score[0] > score[1] > score[2]
    assert [len(x) for x in combine_tests(calibration.iloc[:0], calibration, {"drop": 1.0})] == [0, 0, 0]


def test_a_week_begins_on_monday_midnight_utc():
    moments = ["2026-01-25T23:59:59.999999Z", "2026-01-26T00:00:00Z", "2026-01-26T00:30:00+01:00", None, "2024-12-31T12:00:00Z"]
    weeks = week_of(pd.Series(pd.to_datetime(moments, utc=True, format="ISO8601")))
    assert weeks.dtype == "datetime64[us, UTC]"
    assert weeks.dt.strftime("%Y-%m-%d %H:%M").fillna("").tolist() == [
        "2026-01-19 00:00",
        "2026-01-26 00:00",
        "2026-01-19 00:00",  # Sunday evening in UTC
        "",
        "2024-12-30 00:00",
    ]


names = hpd.data_frames([hpd.column(c, elements=st.one_of(st.none(), st.text(max_size=6)), dtype=object) for c in ("site", "vo")])


@settings(max_examples=60, deadline=None)
@given(names)
def test_codes_go_back_to_names_and_the_callers_frame_keeps_its_own(frame):
    before = frame.copy(deep=True)
    categories = helpers.fit_categories(frame, ["site", "vo"])
    codes = helpers.encode_categories(frame, categories)
    pd.testing.assert_frame_equal(frame, before)  # codes written into the frame would have cost the names
    assert (codes.dtypes == "int32").all()
    again = codes.copy(deep=True)
    decoded = decode_categories(codes, categories)
    pd.testing.assert_frame_equal(codes, again)
    assert decoded.index.equals(frame.index)
    for column in ("site", "vo"):
        assert [None if pd.isna(x) else x for x in decoded[column]] == [None if pd.isna(x) else x for x in before[column]]


def test_codes_that_no_list_knows_have_no_name():
    decoded = decode_categories(pd.DataFrame({"vo": [0, 1, 2, 3]}, index=[9, 8, 7, 6]), {"vo": ["atlas", "cms"], "site": ["A"]})
    assert decoded.columns.tolist() == ["vo"]
    assert decoded.vo.fillna("missing").to_dict() == {9: "missing", 8: "atlas", 7: "cms", 6: "missing"}


def test_a_figure_of_many_axes_has_one_title_and_common_labels(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    figure, axes = plt.subplots(2, 2)
    helpers.show_figure(axes, tmp_path / "f.png", "a $claim", "weeks", "hours")
    assert (figure.get_suptitle(), figure.get_supxlabel(), figure.get_supylabel()) == (r"a \$claim", "weeks", "hours")  # as it is wrapped
    assert all(ax.get_title() == "" for ax in axes.flat)
    assert (tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"
    assert [image.alt for image in shown] == ["a $claim"]
    assert not plt.fignum_exists(figure.number)


# ------------------------------------------------------------------------------------------------- small centres, first silences


def slow_conformal(x, calibration, weights):
    """p-value of one item by the definition: its rank in the set that it makes with the calibration."""
    both = pd.concat([calibration, x], ignore_index=True)[list(weights)]
    evidence = np.max(
        [np.log(w * len(both) / np.array([(both[k] >= v).sum() for v in both[k]])) + 1e-3 * np.log1p(both[k]) for k, w in weights.items()], axis=0
    )
    return (evidence >= evidence[-1]).mean()


def test_few_ordinary_weeks_rank_exactly():
    rng, weights = np.random.default_rng(6), {"drop": 0.4, "silent": 0.1, "returned": 0.5}
    calibration, tests = drawn_tests(rng, 60), drawn_tests(rng, 40)
    score, p, strongest = weekly_series.judge_exactly(tests, calibration, weights)
    assert p == pytest.approx([slow_conformal(tests.iloc[[i]], calibration, weights) for i in range(40)])
    assert (np.diff(p[np.argsort(score)]) <= 1e-12).all()
    assert set(strongest) <= set(weights)
    flagged = [weekly_series.judge_exactly(drawn_tests(rng, 5), drawn_tests(rng, 99), weights)[1] <= 0.05 for _ in range(400)]
    assert np.mean(flagged) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize(("n", "share", "breaks"), [(1, 1 / 41, 0), (5, 0.2 / 41, 0), (5, 1 / 41, 1), (3, 0.5 / 41, 1)])
def test_first_silences_are_no_more_frequent_than_their_bound(n, share, breaks):
    rng = np.random.default_rng(8)
    past = rng.binomial(40, share, (200_000, n))
    alarms = ((past == 0) & (rng.random(past.shape) < share)).sum(axis=1) * ((past == 1).sum(axis=1) <= breaks)
    bound = weekly_series.silence_chance(np.full(n, 40), breaks)
    assert alarms.mean() <= bound + 3 * alarms.std() / np.sqrt(len(past))
    assert bound <= (0.465 if breaks == 0 else 1.05) / 40  # 1 / e for one series, and at most 0.465 for any number
    assert weekly_series.silence_chance([40], 0) == pytest.approx((40 / 41) ** 40 / 41, rel=1e-3)
    assert weekly_series.silence_chance([], 0) == 0


FINDING_RATES = {"finding_rate": 0.2, "false_discovery_rate": 0.05}


def pool_of(core, single=None):
    judged = np.isfinite(core) & (np.arange(core.shape[1]) >= core.shape[1] - 3)
    single = np.ones(len(core), bool) if single is None else single
    pool = weekly_series.silence_pool(core, single, judged, alarm_rate=0.01, finding_rate=0.05, false_discovery_rate=0.05)
    return pool, weekly_series.silences_of(core, pool, np.arange(len(core)))


def test_a_first_silence_counts_once_and_a_week_in_which_nobody_computes_is_nobodys():
    core = np.full((3, 43), 10.0)
    core[0, -2:] = 0
    core[:, 20] = 0  # closed
    pool, first = pool_of(core)
    assert pool.usable
    assert (pool.breaks, np.flatnonzero(pool.common).tolist()) == (0, [20])
    assert np.argwhere(first).tolist() == [[0, 41]]
    core[1, 5] = 0  # one series was silent before: with 43 weeks, one more such week is no news
    pool, first = pool_of(core)
    assert (pool.breaks, pool.usable, first.any()) == (1, False, False)
    pool, first = pool_of(np.hstack([np.full((3, 40), 10.0), core]))
    assert (pool.breaks, pool.usable, np.argwhere(first[:, -3:]).tolist()) == (1, True, [[0, 1]])
    assert pool_of(core[:, -30:])[0].usable is False  # 27 weeks are known before the judged ones


def test_what_a_series_does_anyway_is_a_habit_and_no_news():
    happened = np.zeros((4, 100), bool)
    happened[:3, 98] = True
    happened[0, [30, 50, 70]] = True
    happened[1, [50, 70]] = True  # twice
    happened[2, [98 - 79, 50, 70]] = True  # one of them a week too long ago
    happened[3, [30, 50, 70]] = True  # and not now
    assert np.argwhere(weekly_series.is_habit(happened)[:, 97:]).tolist() == [[0, 1]]
    happened[2, 98 - 78] = True
    assert np.argwhere(weekly_series.is_habit(happened)[:, 97:]).tolist() == [[0, 1], [2, 1]]
    assert not weekly_series.is_habit(np.ones((2, 3), bool)).any()


def test_the_silence_of_a_series_that_comes_and_goes_is_no_finding_where_the_others_never_stop():
    """All together they are silent in 0.3% of the weeks, so that the marginal chance alone would call it rare."""
    rng = np.random.default_rng(4)
    core = rng.lognormal(3, 0.1, (60, 110))
    core[0, 4::5] = 0  # every fifth week, the last one too
    core[1, 109] = 0
    features = weekly_series.series_features(dict.fromkeys(["core_hours", "wall_hours", "cpu_hours", "jobs"], core))
    tests = weekly_series.change_tests(features, np.broadcast_to(np.arange(110) >= 20, core.shape), CONSTANT)
    last = np.tile(np.arange(20, 110) == 109, 60)
    judged = weekly_series.judge_weeks(tests[last], tests[~last], {"silent": 0.9, "drop": 0.1}, np.zeros(60, bool))
    assert judged.p_value[:2].max() <= 0.01, "both are flagged"
    assert judged.p_ranked[0] == 1
    assert judged.p_ranked[1] < 0.001


def test_a_report_of_ordinary_series_holds_as_many_false_findings_however_many_series_there_are():
    rng, rates = np.random.default_rng(3), {"finding_rate": 0.2, "false_discovery_rate": 0.01}
    for n_series in (5, 50, 500):
        reports = rng.random((4000, n_series))
        false = sum(weekly_series.findings_among(chances, **rates).sum() for chances in reports) / len(reports)
        assert 0.17 < false < 0.23, n_series


def test_a_single_clear_change_among_many_quiet_series_is_a_finding():
    pool = SimpleNamespace(p_value=0.001)
    p_ranked, early = np.array([0.001, 0.01, 0.4, 0.2]), np.array([False, False, False, True])
    assert weekly_series.report_chances(p_ranked, early, 3, pool) == pytest.approx([0.003, 0.03, 1.0, 0.003])
    assert weekly_series.lone_limit(1000, **FINDING_RATES) == 0.0002
    assert weekly_series.lone_limit(2, **FINDING_RATES) == 0.1
    quiet, rare = np.full(99, 0.8), np.array([0.0019])
    assert weekly_series.findings_among(np.append(quiet, rare), **FINDING_RATES).nonzero()[0].tolist() == [99], "alone among many"
    many = np.append(np.full(60, 0.8), np.full(40, 0.015))
    assert weekly_series.findings_among(many, **FINDING_RATES).sum() == 40, "rarer together than each alone"
    assert not weekly_series.findings_among(np.array([0.21]), **FINDING_RATES).any()
    assert weekly_series.findings_among(np.array([0.19]), **FINDING_RATES).all(), "one report in five may hold a false finding"
    assert weekly_series.findings_among(np.zeros(0), **FINDING_RATES).tolist() == []


@pytest.mark.parametrize(
    ("weeks", "n", "alarm_rate", "silence", "alone"),
    [(43, 1, 0.01, True, False), (43, 1, 0.005, False, False), (43, 3, 0.005, True, False), (30, 3, 0.01, False, False), (90, 5, 0.01, True, True)],
)
def test_a_night_knows_what_it_can_find(weeks, n, alarm_rate, silence, alone):
    core, rates = np.full((n, weeks), 10.0), {"alarm_rate": alarm_rate} | FINDING_RATES
    judged = np.broadcast_to(np.arange(weeks) >= weeks - 3, core.shape)
    pool = weekly_series.silence_pool(core, np.ones(n, bool), judged, **rates)
    can = weekly_series.resolution(core, pool, judged, n * (weeks - 11), min_age=8, **rates)
    assert (can.silence, can.alone) == (silence, alone)
    sentence = resolution_sentence(can, n, n * (weeks - 11), **rates)
    assert ("the first silence can be found" in sentence) == silence
    assert silence or sentence.startswith("No change of a single series can be found")
    if not silence:  # the history that it names is enough, and no more than that
        for more, enough in ((can.silence_weeks, True), (can.silence_weeks - 1, False)):
            core, judged = np.full((n, more), 10.0), np.broadcast_to(np.arange(more) >= more - 3, (n, more))
            assert weekly_series.silence_pool(core, np.ones(n, bool), judged, **rates).usable is enough


@pytest.mark.parametrize(("model", "baseline", "skill"), [(0.9, 0.8, 0.5), (0.4, 0.8, -0.5), (0.0, 1.0, -1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0)])
def test_a_skill_is_bounded(model, baseline, skill):
    assert skill_between(model, baseline) == pytest.approx(skill)
    assert skill_between(np.array([model]), np.array([baseline])) == pytest.approx([skill])


def test_small_centres_find_one_silent_series_and_keep_their_alarm_rate():
    found, quiet, flagged = [], 0, 0
    for n in (1, 2, 3, 4, 5):
        for i in range(4):
            rng = np.random.default_rng([20, n, i])
            jobs = accounting_small.simulate_jobs(rng, n)
            if i == 0:
                scored, _ = accounting_small.judge_night(accounting_small.weekly_table(rng, jobs), trees=3)
                quiet, flagged = quiet + len(scored), flagged + int(scored.flagged.sum())
            jobs[0, -rng.integers(1, 4)] = 0
            found.append(accounting_small.found(accounting_small.weekly_table(rng, jobs), "account0", trees=3))
    assert np.mean(found) >= 0.9
    assert flagged <= 0.01 * quiet + 3 * np.sqrt(0.01 * quiet)


def test_a_change_of_the_jobs_is_measured_in_its_own_unit_and_others_in_core_hours():
    panel = {"wall_hours": np.array([[10.0, 10, 10, 40, 60]]), "jobs": np.array([[10.0, 5, 10, 10, 10]]), "core_hours": np.full((1, 5), 80.0)}
    grid = SimpleNamespace(panel=panel, step=WEEK)
    finding = SimpleNamespace(kind="longer_jobs", row=0, start=3, end=4, observed=80.0, expected=70.0)
    assert measured_in(grid, finding) == (5.0, 1.0, "h per job")  # (4 + 6) / 2, and the median of 1, 2 and 1
    finding.kind = "drop"
    assert measured_in(grid, finding) == (80.0, 70.0, "core hours a week")


def test_a_change_of_level_needs_both_trailing_levels_to_agree_and_is_the_nearer_one():
    names = ["silent_before", "share_before", "share", "usual_jobs", "absent", "efficiency", "job_length", "jobs"]
    features = {name: np.zeros((1, 5)) for name in names} | {"active": np.ones((1, 5))}
    features |= {"level_short": np.array([[3.0, -3, 3, -2, 3]]), "level_long": np.array([[2.0, -5, -2, 4, 2]])}
    features["silent_before"][0, 4] = 1  # back after a silence: no steady week
    changes = weekly_series.directed_changes(features)
    np.testing.assert_array_equal(changes["surge"], [[2, -3, 0, 0, 0]])
    np.testing.assert_array_equal(changes["drop"], [[-2, 3, 0, 0, 0]])


def test_of_equally_regular_series_the_one_with_many_jobs_is_missed_most():
    """A series is `silent` by its share, 0.02 more at most for its jobs: with 10 a week half of it; never in a week that was active, or irregular."""
    names = ["silent_before", "share_before", "absent", "efficiency", "job_length", "jobs", "level_short", "level_long"]
    features = {name: np.zeros((1, 6)) for name in names}
    features |= {"active": np.array([[0.0, 0, 0, 1, 0, np.nan]]), "share": np.array([[0.9, 0.9, 0.9, 0.9, weekly_series.REGULAR, 0.9]])}
    features["usual_jobs"] = np.array([[0.0, 10, 990, 990, 990, 990]])
    np.testing.assert_allclose(weekly_series.directed_changes(features)["silent"], [[0.9, 0.91, 0.9198, 0, 0, 0]], atol=1e-12)


def test_who_returns_counts_by_how_regular_it_had_been():
    names = ["silent_before", "share", "usual_jobs", "efficiency", "job_length", "jobs", "level_short", "level_long"]
    features = {name: np.zeros((1, 5)) for name in names}
    features |= {"active": np.array([[1.0, 1, 0, 1, 1]]), "absent": np.array([[6.0, 0, 6, 6, 1]])}
    features["share_before"] = np.array([[0.9, 0.9, 0.9, weekly_series.REGULAR, 0.7]])
    np.testing.assert_array_equal(weekly_series.directed_changes(features)["returned"], [[0.9, 0, 0, 0, 0.7]])
