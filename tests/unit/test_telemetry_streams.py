"""Servers judged by their own last nights: both tests, a past that is too short, stretches as incidents, drift taken out."""

import numpy as np
import pandas as pd
import pytest

from nightshift.analysis.telemetry import Ranges, Setting, findings_of, rows_of
from nightshift.detectors import telemetry_streams
from nightshift.detectors.telemetry_distances import FAR, Whitened, without_level
from nightshift.detectors.telemetry_streams import judge_servers, stretch_incidents
from nightshift.statistics import StreamSettings

PER_DAY = 48
SETTINGS = StreamSettings(alarm_rate=0.01)


def servers(n_days, *names):
    """Windows of half an hour, one after the other."""
    starts = pd.date_range("2026-01-01", periods=n_days * PER_DAY, freq="30min", tz="UTC")
    parts = [pd.DataFrame({"node_id": name, "job_id": "", "app": "", "start": starts, "end": starts + pd.Timedelta("30min")}) for name in names]
    return pd.concat(parts, ignore_index=True)


def quiet(windows, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.normal(size=len(windows)) for name in ("classifier", "health")}, index=windows.index)


def test_a_trouble_that_one_of_two_tests_sees_is_a_stretch_and_an_incident():
    windows = servers(20, "n1", "n2", "n3")
    tests = quiet(windows)
    trouble = windows.index[windows.node_id == "n2"][19 * PER_DAY + 10 : 19 * PER_DAY + 16]
    tests.loc[trouble, "classifier"] += 12
    verdicts = judge_servers(windows, tests, SETTINGS, {"classifier": 0.5, "health": 0.5})
    assert verdicts.in_stretch[trouble].all()
    assert verdicts.flagged.drop(trouble).mean() < 0.03
    scored = windows.join(verdicts).assign(score=tests.classifier)
    chances = pd.DataFrame({"p none": 0.1, "p memleak": 0.9}, index=windows.index)
    how = {"gap": SETTINGS.gap, "finding_rate": SETTINGS.finding_rate, "least_confidence": 0.5}
    incidents = stretch_incidents(scored, chances, **how)
    first = incidents.iloc[0]
    assert (first.node_id, first.diagnosis) == ("n2", "memleak")
    assert first.windows >= 6
    assert first.start <= windows.start[trouble[0]]
    assert first.p_value < 0.02
    assert incidents.p_value.is_monotonic_increasing
    nothing = stretch_incidents(scored[~scored.in_stretch], chances[~scored.in_stretch], **how)
    assert nothing.empty
    assert list(nothing) == list(incidents)


def test_each_of_two_tests_has_its_share_of_alarms_and_findings_and_the_stronger_counts(monkeypatch):
    """The first test is sure of the first window, the second one of the second; the last one has too short a past by the second."""
    p = {"classifier": [0.01, 0.4, 0.3], "health": [0.5, 0.02, 0.3]}
    rates = []

    def judge(streams, settings):
        rates.append((settings.alarm_rate, settings.finding_rate))
        name = streams.score[0]
        in_stretch = {"classifier": [0, -1, -1], "health": [-1, -1, 3]}[name]
        return pd.DataFrame({"p_value": p[name], "chance": p[name], "stretch": in_stretch, "has_past": [True, True, name == "classifier"]})

    monkeypatch.setattr(telemetry_streams, "judge_streams", judge)
    names = pd.DataFrame({name: [name] * 3 for name in p})  # a score that says whose it is
    settings = StreamSettings(alarm_rate=0.08, finding_rate=0.04)
    verdicts = judge_servers(servers(1, "n1").head(3), names, settings, {"classifier": 0.75, "health": 0.25})
    assert np.array(rates) == pytest.approx(np.array([[0.06, 0.03], [0.02, 0.01]]))
    assert verdicts.p_value.tolist() == verdicts.chance.tolist() == pytest.approx([0.01 / 0.75, 0.08, 0.4])
    assert verdicts.flagged.tolist() == [True, True, False]
    assert verdicts.in_stretch.tolist() == [True, False, True]
    assert verdicts.has_past.tolist() == [True, True, False]


def test_the_end_of_a_finding_of_earlier_days_is_no_other_finding():
    windows = servers(1, "n1").assign(score=1.0, flagged=True, in_stretch=True, chance=0.2)
    windows.loc[:5, "chance"] = 0.001
    chances = pd.DataFrame({"p none": 1.0}, index=windows.index)
    how = {"gap": SETTINGS.gap, "finding_rate": 0.02, "least_confidence": 0.5}
    [whole] = stretch_incidents(windows, chances, **how).itertuples()
    assert (whole.windows, whole.p_value) == (PER_DAY, 0.001)
    assert stretch_incidents(windows.iloc[6:], chances.iloc[6:], **how).empty


def test_stretches_go_on_over_a_pause_as_long_as_the_gap_and_the_strongest_of_equal_chance_comes_first():
    windows = servers(1, "n1").assign(score=np.arange(PER_DAY), flagged=True, chance=0.001)
    chances = pd.DataFrame({"p none": 1.0}, index=windows.index)
    marked = windows.assign(in_stretch=windows.index.isin([1, 5, 10]))  # two hours, and two and a half
    found = stretch_incidents(marked, chances, gap=pd.Timedelta(hours=2), finding_rate=0.02, least_confidence=0.5)
    assert found[["windows", "score"]].to_numpy().tolist() == [[1, 10], [2, 5]]
    marked.loc[10, "chance"] = 0.01
    found = stretch_incidents(marked, chances, gap=pd.Timedelta(hours=2), finding_rate=0.02, least_confidence=0.5)
    assert found.p_value.tolist() == [0.001, 0.01]


@pytest.mark.parametrize(("flagged", "shown"), [([], [3, 4, 5, 6, 7]), ([4, 5], [4, 5])])
def test_a_stretch_that_is_strange_by_its_length_alone_is_shown_by_all_its_windows(flagged, shown):
    """None of its windows need be flagged; the temperature rises within the stretch, so that its windows differ."""
    windows = servers(2, "n1").assign(score=2.0, p_value=0.05, flagged=False, chance=0.001)
    windows["temperature|mean"] = np.where(windows.index < 8, 10.0 + windows.index, 5 + windows.index % 2)
    windows = windows.assign(in_stretch=windows.index.isin([3, 4, 5, 6, 7]))
    windows.loc[flagged, "flagged"] = True
    chances = pd.DataFrame({"p none": 0.9, "p hot": 0.1}, index=windows.index)
    reported = stretch_incidents(windows, chances, gap=SETTINGS.gap, finding_rate=0.02, least_confidence=0.5)
    past = servers(1, "n1").assign(**{"temperature|mean": [5.0, 6.0] * (PER_DAY // 2)})
    ranges = Ranges(windows, windows.flagged, past, {"temperature": "temperature|mean"})
    setting = Setting({"temperature": "C"}, pd.DataFrame(), 0.5, "(.*)")
    silent = pd.DataFrame(columns=["entity"])
    [finding] = findings_of(reported, silent, ranges=ranges, setting=setting, source_end=windows.end.max()).itertuples()
    rows = rows_of(finding, windows, ranges=ranges, setting=setting)
    assert rows.index.tolist() == shown
    assert rows.value.tolist() == [10.0 + at for at in shown]
    assert finding.observed == np.mean([10.0 + at for at in shown])
    assert "above the healthy range" in finding.evidence


def test_a_past_that_is_too_short_is_said_to_be_so():
    windows = servers(6, "n1")
    verdicts = judge_servers(windows, quiet(windows), SETTINGS, {"health": 1.0})
    day = (windows.start.dt.floor("D") - windows.start.min()).dt.days
    assert not verdicts.has_past[day < 3].any()  # 99 windows make a p-value of one hundredth, and two days have 96
    assert verdicts.has_past[day >= 3].all()
    assert judge_servers(windows.head(0), quiet(windows.head(0)), SETTINGS, {"health": 1.0}).empty


def test_drift_is_taken_out_of_servers_and_jobs_stay_as_they_are():
    windows = servers(30, "n1", "n2")
    z = np.zeros((len(windows), 2), "float32")
    drifting = (windows.node_id == "n1").to_numpy()
    z[drifting, 0] = np.linspace(0, 4, drifting.sum())  # four spreads in a month
    z[-1, 1] = 1e6
    left = without_level(z, windows)
    assert np.abs(left[drifting]).max() < 0.3
    assert left[-1, 1] == FAR
    np.testing.assert_array_equal(without_level(z, windows.assign(job_id="7")), z)
    assert without_level(z[:0], windows.head(0)).shape == (0, 2)


def test_a_broken_bond_between_metrics_weighs_as_much_as_a_value_out_of_range():
    rng = np.random.default_rng(1)
    common = rng.normal(size=(2000, 1))
    healthy = common + 0.2 * rng.normal(size=(2000, 2))  # two metrics that go together
    detector = Whitened(0.001).fit(healthy)
    together, apart = detector.score_samples(np.array([[2.0, 2.0], [2.0, -2.0]]))
    assert apart > 10 * together
    assert detector.score_samples(healthy).mean() == pytest.approx(1, abs=0.1)
    assert np.isfinite(Whitened(0.02).fit(np.zeros((5, 2))).score_samples(np.ones((3, 2)))).all()
