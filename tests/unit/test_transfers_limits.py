"""Limits of slow transfers that follow the grid: their rank among those before, the share of alarms, incidents left out."""

import numpy as np
import pandas as pd
import pytest

from nightshift.detectors.transfers_limits import block_rows, judge_transfers, ranks_among
from nightshift.statistics.trailing import steered

NOON = pd.Timestamp("2026-01-30 12:00", tz="UTC")


def scored(scores, *, link="A -> B", seconds=600):
    """Transfers of these scores, one every so many seconds."""
    src, dst = link.split(" -> ")
    started = NOON + pd.Timedelta(seconds=seconds) * np.arange(len(scores))
    return pd.DataFrame({"link": link, "src": src, "dst": dst, "started": started, "score": np.asarray(scores, float)})


def test_a_block_is_a_twentieth_of_the_calibration_or_what_expects_half_an_alarm():
    assert block_rows(16_000, 0.005) == 800
    assert block_rows(150, 0.02) == 25
    assert block_rows(0, 0.005) == 100


def test_no_alarm_raises_the_level_by_half_twice_as_many_lower_it_by_a_third_and_it_stays_within_bounds():
    assert steered(0.01, 0.0, 0.01) == pytest.approx(0.0149, abs=1e-4)
    assert steered(0.01, 0.02, 0.01) == pytest.approx(0.0067, abs=1e-4)
    assert steered(0.01, 0.01, 0.01) == 0.01
    assert steered(0.029, 0.0, 0.01) == pytest.approx(0.03)
    assert steered(0.01, 1.0, 0.01) == pytest.approx(0.0005)


def test_the_first_block_is_ranked_among_the_calibration_and_its_alarms_move_the_level_of_the_next():
    calibration = scored(np.arange(99))
    judged = judge_transfers(scored([98.5] + [0.0] * 98 + [98.5]), calibration, 0.01)  # two blocks of 50
    assert judged.p_value.iloc[0] == pytest.approx(0.01)
    assert judged.flagged.tolist() == [True] + [False] * 99  # the second is ranked behind the first: 2 of 100, at a level of 0.67%
    assert judged.p_value.iloc[-1] == pytest.approx(0.02 / np.exp(-0.4))
    assert judged.quiet.all()


def test_scores_that_drift_are_flagged_at_the_stated_rate_where_a_limit_that_stays_flags_most():
    rng = np.random.default_rng(1)
    calibration = scored(rng.normal(size=2000))
    drifts = scored(rng.normal(size=20_000) + np.linspace(0, 3, 20_000))
    judged = judge_transfers(drifts, calibration, 0.01)
    fixed = (drifts.score > np.quantile(calibration.score, 0.99)).mean()
    assert fixed > 0.2
    assert 0.008 < judged.flagged.mean() < 0.0125


def test_an_incident_is_not_quiet_and_does_not_calibrate_what_comes_after():
    rng = np.random.default_rng(2)
    calibration, trouble = scored(rng.normal(size=1000)), slice(110, 130)  # of the block from 100 to 149
    transfers = scored(rng.normal(size=1000), link="C -> D")
    transfers.iloc[trouble, :4] = scored(np.zeros(20)).assign(started=transfers.started[trouble].to_numpy()).iloc[:, :4]
    calm = judge_transfers(transfers, calibration, 0.01)
    transfers.loc[110:129, "score"] += 8
    judged = judge_transfers(transfers, calibration, 0.01)
    assert judged.flagged[trouble].all()
    assert not judged.quiet[trouble].any()
    assert judged.quiet[130:].mean() > 0.95
    assert judged.flagged[150:].sum() == pytest.approx(calm.flagged[150:].sum(), abs=2)


def test_a_calibration_that_is_too_short_flags_nothing_however_long_nothing_is_flagged():
    judged = judge_transfers(scored([9.0] * 500), scored(np.zeros(50)), 0.01)
    assert not judged.flagged.any()
    assert len(judge_transfers(scored([]), scored(np.zeros(50)), 0.01)) == 0


def test_transfers_are_not_judged_without_any_that_calibrate():
    with pytest.raises(ValueError, match="needs at least one calibration score"):
        judge_transfers(scored([1.0]), scored([]), 0.01)


def test_stage_ins_are_ranked_among_stage_ins_and_others_among_others():
    """Scores of stage-ins are far above those from disk; no name has enough calibration of its own."""
    disk, tape = ["A -> B", "C -> B"], ["A (tape) -> B", "C (tape) -> B"]
    among = [name for name in (*disk, *tape) for _ in range(50)], np.concatenate([np.arange(100), 1000 + np.arange(100)])
    ranks = ranks_among([50, 1050, 99.5, 1099.5], among[1], [disk[0], tape[0], "new -> B", "new (tape) -> B"], among[0], least=100)
    assert ranks == pytest.approx([51 / 101, 51 / 101, 1 / 101, 1 / 101])
    own = ranks_among([1099.5], among[1], [tape[1]], among[0], least=50)
    assert own == pytest.approx([1 / 51]), "of the 50 of its own link"
    assert ranks_among([9999.0], among[1][:100], tape[:1], among[0][:100], least=50).tolist() == [1], "no stage-in calibrates"


def test_a_stage_in_is_flagged_by_the_limit_of_stage_ins():
    rng = np.random.default_rng(3)
    disk, tape = scored(rng.normal(0, 1, 1000)), scored(rng.normal(20, 1, 1000), link="A (tape) -> B")
    late = scored([20.0] * 20 + [30.0] * 3, link="A (tape) -> B")
    calibration = pd.concat([disk, tape], ignore_index=True)
    assert judge_transfers(late, calibration, 0.01).flagged.tolist() == [False] * 20 + [True] * 3
    assert not judge_transfers(late, disk, 0.01).flagged.any(), "without stage-ins that calibrate none can be told"
