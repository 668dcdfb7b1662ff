"""The observed share of alarms beside the stated one: luck that groups share, and what it makes of a verdict."""

import numpy as np
import pytest

from nightshift import alarms
from nightshift.statistics import AlarmShare, effective_number

RUN = np.repeat(np.arange(40), 50)
ALIKE = np.repeat(np.arange(40) % 4 == 0, 50)


def test_the_effective_number_is_that_of_groups_where_groups_share_their_luck():
    assert effective_number(ALIKE, RUN) == pytest.approx(40, rel=0.03)
    independent = np.random.default_rng(1).random(2000) < 0.25
    assert 800 < effective_number(independent, RUN) <= 2000
    assert effective_number(np.zeros(2000, bool), RUN) == 40, "nothing tells their variance"
    assert (effective_number([True, False], [1, 1]), effective_number([], [])) == (1, 0)
    # of four groups of two, two differ from the mean by one: a variance of 2 * 4 / 3 / 8^2, and 0.25 / 0.0417 items
    assert effective_number([1, 0, 1, 0, 1, 1, 0, 0], [1, 1, 2, 2, 3, 3, 4, 4]) == pytest.approx(6)
    assert effective_number([1, 0, 1, 0], [1, 1, 2, 2]) == 4, "no more than there are items"


def test_a_stated_rate_is_exceeded_beyond_the_interval_only():
    assert AlarmShare.of(0.01, np.arange(1000) < 30).is_exceeded
    assert not AlarmShare.of(0.01, np.arange(1000) < 12).is_exceeded
    assert not AlarmShare.of(0.01, []).is_exceeded
    assert (AlarmShare.of(0.01, []).observed, AlarmShare.of(0.01, []).interval) == (0, (0, 1))
    assert AlarmShare.of(0.01, ALIKE, RUN).is_exceeded
    assert not AlarmShare.of(0.01, np.arange(2000) < 25, RUN).is_exceeded, "one run of forty may have them all"


def test_an_item_of_which_nobody_knows_whether_it_was_flagged_is_refused():
    with pytest.raises(ValueError, match="not known of every item"):
        AlarmShare.of(0.01, np.array([True, np.nan], object))


@pytest.mark.parametrize("end", [0, 1])
def test_a_stated_share_at_an_end_of_the_interval_is_as_stated(end):
    share = AlarmShare.of(AlarmShare.of(0.01, np.arange(100) < 5).interval[end], np.arange(100) < 5)
    assert share.sentence.endswith(": as stated.")
    assert not share.is_exceeded


@pytest.mark.parametrize(
    ("flags", "end"),
    [
        ([], "; nothing was judged, so none was observed."),
        (np.arange(100) < 5, ", observed 5.00% (2.15% to 11.18%) of 100 runs: more is flagged than stated, so these alarms mean less than they say."),
        (np.arange(100) < 1, ", observed 1.00% (0.18% to 5.45%) of 100 runs: as stated."),
        (np.arange(900) < 1, ", observed 0.11% (0.02% to 0.63%) of 900 runs: less is flagged than stated, so weaker troubles may be missed."),
    ],
)
def test_both_shares_are_held_against_each_other_in_one_sentence(flags, end):
    assert AlarmShare.of(0.01, flags, items="runs").sentence == f"Stated alarm rate 1.00%{end}"


@pytest.mark.parametrize(
    ("n_flagged", "verdict", "recorded"),
    [(10, "ok", None), (30, "ok", "not calibrated"), (30, "too little history", None)],
)
def test_more_alarms_than_stated_are_no_ok(monkeypatch, n_flagged, verdict, recorded):
    values, warnings, shown = {}, [], []
    monkeypatch.setattr(alarms, "record", values.__setitem__)
    monkeypatch.setattr(alarms, "warn", warnings.append)
    monkeypatch.setattr("helpers.show_sentence", lambda template, **named: shown.append(template.format(**named)))
    one = AlarmShare.of(0.01, np.arange(1000) < n_flagged)
    alarms.report_alarms(one, verdict=verdict)
    assert values.get("verdict") == recorded
    assert values.get("verdict_reason") == (one.sentence if recorded else None)
    assert (warnings, shown) == (([one.sentence], []) if n_flagged == 30 else ([], [one.sentence]))
