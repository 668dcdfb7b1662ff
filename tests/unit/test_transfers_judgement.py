"""What the pages of the transfers rest on beside the findings: parts of the data, known incidents, what is normal, who scores."""

import numpy as np
import pandas as pd
import pytest

from nightshift.analysis.transfers import read_probes
from nightshift.analysis.transfers_quality import alarms_of, alarms_outside, models_table, overlaps, plot_losses, read_incidents, transfers_touched
from nightshift.detectors.transfers import site_of
from nightshift.detectors.transfers_predictors import split_transfers

NOON = pd.Timestamp("2026-01-30 12:00", tz="UTC")
HOUR = pd.Timedelta(hours=1)
SHARES = {"validation": 0.1, "calibration": 0.3, "test": 0.3}


def transfers_of(n, hours):
    """Finished transfers, one an hour, that last so many hours."""
    started = NOON + HOUR * np.arange(n)
    return pd.DataFrame({"started": started, "finished": started + HOUR * hours})


def test_parts_follow_time_and_what_ran_beyond_its_part_is_purged():
    part = split_transfers(transfers_of(100, 2.5), SHARES, least=60, day="2026-01-31")
    assert pd.Series(part).value_counts().to_dict() == {"train": 28, "validation": 8, "calibration": 28, "test": 30, "purged": 6}
    assert list(pd.unique(part)) == ["train", "purged", "validation", "calibration", "test"]


@pytest.mark.parametrize(
    ("n", "hours", "shares", "line"),
    [
        (59, 1, SHARES, "59 finished transfers up to 2026-01-31: at least 60 are needed to train"),
        (60, 1, SHARES | {"test": 0.5}, "test, calibration and validation share leave less than a tenth to train"),
        (60, 99, SHARES, "the 60 finished transfers up to 2026-01-31 lie too close together: none of them had ended before the others started"),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(n, hours, shares, line):
    with pytest.raises(ValueError, match=f"^{line}$"):
        split_transfers(transfers_of(n, hours), shares, least=60, day="2026-01-31")


def test_a_pattern_without_a_group_names_no_site():
    assert site_of(pd.Series(["NORTH_DISK", "SOUTH"]), "(.+)_[^_]+").tolist() == ["NORTH", "SOUTH"]
    with pytest.raises(ValueError, match=r"^site_pattern 'abc' has no group, such as \(\.\+\), that names the site$"):
        site_of(pd.Series(["NORTH_DISK"]), "abc")


def test_incidents_of_other_studies_and_times_are_left_out(tmp_path):
    rows = {
        "here": ("slow_link", NOON, NOON + HOUR),
        "before": ("slow_link", NOON - 2 * HOUR, NOON - HOUR),
        "after": ("failing_source", NOON + 9 * HOUR, NOON + 10 * HOUR),
        "outage": ("site_outage", NOON - HOUR, NOON + HOUR),
        "of tickets": ("slow_topic", NOON, NOON + HOUR),
    }
    table = pd.DataFrame([(name, *row, "A") for name, row in rows.items()], columns=["incident", "kind", "start", "end", "entity"])
    table.to_csv(tmp_path / "truth.csv", index=False)
    incidents = read_incidents(str(tmp_path / "truth.csv"), None, begin=NOON - HOUR, end=NOON + 9 * HOUR)
    assert incidents.incident.tolist() == ["here", "outage"]
    assert str(incidents.start.dt.tz) == "UTC"
    nothing = read_incidents("", None, begin=NOON, end=NOON)
    assert len(nothing) == 0
    assert overlaps(nothing, table).shape == (0, 5)


@pytest.fixture
def scored():
    """Three transfers of one hour each, at once: of a slow link, of a failing source, of others."""
    links = [("A_X", "B_X"), ("C_X", "D_X"), ("E_X", "F_X")]
    rows = pd.DataFrame([(src, dst, f"{src} -> {dst}") for src, dst in links], columns=["src", "dst", "link"])
    rows = rows.assign(src_site=rows.src.str[0], dst_site=rows.dst.str[0], fts="fts", started=NOON, finished=NOON + HOUR)
    return rows.assign(flagged=[True, False, False])


def test_what_incidents_touch_is_not_normal_nor_what_findings_hold_where_none_is_known(scored):
    incidents = pd.DataFrame({"kind": ["slow_link", "failing_source"], "entity": ["A_X -> B_X", "C_X"], "start": NOON, "end": NOON + HOUR})
    problems = pd.DataFrame({"entity_kind": ["link"], "entity": ["E_X -> F_X"], "start": [NOON], "end": [NOON]})
    touched = transfers_touched(scored, incidents, problems)
    assert touched.set_index("row").slowed.to_dict() == {0: True, 1: False}
    assert transfers_touched(scored, incidents.iloc[:0], problems).to_dict("records") == [{"row": 2, "slowed": False}]
    normal = scored.drop(index=touched.row)
    counts = {"stated": 0.005, "n_flagged": 0, "n": 1, "n_independent": 1.0}
    assert vars(alarms_outside(0.005, normal, incidents)) == counts | {"items": "transfers outside known incidents"}
    assert vars(alarms_outside(0.005, normal, incidents.iloc[:0])) == counts | {"items": "transfers outside the findings"}


def test_transfers_of_the_same_six_hours_share_their_luck():
    started = pd.Timestamp("2026-01-30", tz="UTC") + pd.to_timedelta(np.repeat(np.arange(40) * 6, 50), unit="h")
    alarms = alarms_of(0.01, pd.DataFrame({"started": started, "flagged": np.arange(2000) < 50}), "transfers")
    assert (alarms.observed, alarms.is_exceeded) == (0.025, False), "all alarms lie in one stretch of forty"
    assert alarms.n_independent == pytest.approx(40, rel=0.03)


def test_an_incident_is_met_by_its_name_and_an_outage_by_any_storage_of_its_site():
    incidents = pd.DataFrame({"kind": ["slow_link", "site_outage"], "entity": ["A_X -> B_X", "A"], "start": NOON, "end": NOON + HOUR})
    found = pd.DataFrame({"entity": ["A_X -> B_X", "A_Y", "B_X", "A_Y"], "start": NOON + HOUR * np.array([1, 0, 0, 2]), "end": NOON + 3 * HOUR})
    assert overlaps(incidents, found).tolist() == [[True, False, False, False], [True, True, False, False]]


def test_models_are_listed_best_first_and_without_skill_where_none_can_be_stated():
    models = [{"name": name, "model": loss, "skill": 1 - loss, "skill_low": 0.0, "skill_high": 1.0} for name, loss in (("line", 1.0), ("usual", 0.5))]
    models.append(models[0] | {"name": "lstm", "model": 0.4})
    metrics = {"models": [model | {"in_use": model["name"] == "lstm"} for model in models]}
    table = models_table(metrics)
    assert table.name.tolist() == ["lstm", "lstm, without the last hours", "line"]
    assert table.scores.tolist() == ["tonight", "", ""]
    assert models_table(metrics | {"skill_stated": False}).columns.tolist() == ["name", "pinball loss", "scores"]


def test_probes_have_times_in_utc_also_without_any(tmp_path):
    table = pd.DataFrame({"src_host": ["a"], "dst_host": ["b"], "time": ["2026-01-30 12:00:00+01:00"]})
    table.assign(loss_pct=0.1, latency_ms=1.0, throughput_mbps=9.0).to_csv(tmp_path / "probes.csv", index=False)
    assert read_probes(str(tmp_path / "probes.csv"), None).time.tolist() == [NOON - HOUR]
    assert str(read_probes("", None).time.dt.tz) == "UTC"


@pytest.mark.parametrize("apart", [0.001, -0.001])
def test_names_of_two_curves_that_end_close_to_each_other_lie_apart(apart):
    import matplotlib.pyplot as plt

    epoch = np.arange(1, 17)
    curve = pd.DataFrame({"epoch": epoch, "loss": 0.08 + 0.1 / epoch, "validation_loss": 0.08 + 0.05 / epoch})
    other = curve[:15].assign(validation_loss=lambda rows: rows.validation_loss + apart)
    losses = pd.concat([curve.assign(network="lstm"), other.assign(network="feed_forward")], ignore_index=True)
    figure, ax = plt.subplots(figsize=(8, 3.2))
    plot_losses(ax, losses)
    figure.canvas.draw()
    first, second = (text.get_window_extent() for text in ax.texts)
    plt.close(figure)
    assert not first.overlaps(second)
