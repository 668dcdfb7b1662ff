"""The page on how good the diagnoses of nodes and their detector are, after an analysis of hand-made windows, with values asserted."""

import html
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import run_cells
from sklearn.metrics import average_precision_score
from telemetry_tables import CLASSES, DAY, NOON, cells, days_of, labelled_windows, run_of, write_clean, write_models, write_night, write_servers

import helpers
from nightshift.analysis.telemetry_quality import LabelledRuns, delays_and_alarms, in_a_row, majority


def judged(products, **parameters):
    """The page on quality as text, the names that it leaves and the scores, after an analysis without pictures."""
    run_cells("telemetry/4_analyse.ipynb", products, **({"day": DAY, "max_pictures": 0} | parameters))
    names, page = run_cells("telemetry/5_quality.ipynb", products, day=DAY)
    scores = pd.read_parquet(helpers.study_paths("telemetry", products).scores)
    return SimpleNamespace(page=html.unescape(page), names=names, scores=scores)


@pytest.fixture(scope="module")
def quality(tmp_path_factory):
    """A night of nodes with troubles that are known."""
    products = tmp_path_factory.mktemp("telemetry")
    return judged(products, truth=write_night(products))


def test_models_stand_beside_their_baselines_and_detectors_beside_a_coin(quality):
    assert cells(quality.page, "forest", "macro-F1", "0.90", "tree", "0.50", "0.80", "0.70", "0.90", "yes")
    assert cells(quality.page, "random scores", "average precision, no point adjustment", "0.20")
    assert cells(quality.page, "forest", "0.900", "1.00%", "10.00%")
    assert quality.names["each"].loc["memleak"].to_dict() == {"distance": 0.9, "together": 0.8}
    assert quality.names["serving"] == "distance"


def test_alarms_are_stated_and_observed_of_the_training_and_of_the_night(quality):
    normal = quality.scores.merge(quality.names["tested"][["node_id", "start", "state"]]).query("state == ''")
    assert cells(quality.page, "across folds of the training", "2,000", "0.50%", "0.50%")
    assert cells(quality.page, "judged tonight", f"{len(normal):,}", "0.50%", f"{normal.flagged.mean():.2%}")
    assert 0 < normal.flagged.sum() < quality.scores.flagged.sum()


def test_known_incidents_are_counted_as_found_and_as_rightly_named(quality):
    assert "**3 of 4 known incidents are found, 3 of them with the right name; 3 of 6 reported incidents are one.**" in quality.page
    assert cells(quality.page, "D", "memory leak", "y-n04", "2026-01-30 12:01:00 UTC", "2026-01-30 12:03:20 UTC", "not found")
    # of x-n01 the second flagged window ends 195 s after noon, of y-n01 120 s, of y-n03 150 s
    assert "Median delay 60 s." in quality.page


def test_filters_buy_fewer_false_alarms_with_more_misses(quality):
    def rates(name):
        return re.search(rf"<td>{name}</td>\s*<td>[\d.]+</td>\s*<td>([\d.]+%)</td>\s*<td>([\d.]+%)</td>", quality.page.replace("\xa0", " ")).groups()

    assert rates("none") == ("2.50%", f"{12 / 110:.1%}")
    assert rates("majority of 3") == ("0.00%", f"{18 / 110:.1%}")
    assert rates("2 in a row") == ("0.00%", f"{23 / 110:.1%}")
    assert rates("E2EWatch, other data") == ("0.09%", "5.0%")
    assert cells(quality.page, "distance", "0.50 (0.23)", "1.00 (1.00)")
    assert cells(quality.page, "out of fold", "named", "103", f"{98 / 103:.1%}", f"{98 / 103:.1%}")


def test_delay_counts_until_the_last_window_that_is_needed_and_misses_with_their_whole_length():
    folds = labelled_windows()
    runs = LabelledRuns(folds, smoothing=5)
    assert (runs.step, runs.ahead) == (pd.Timedelta("15s"), pd.Timedelta("30s"))
    p = np.where(folds.diagnosis == "none", 1.0, 0.001)
    days = 200 * 15 / 86_400  # of 200 healthy windows
    assert delays_and_alarms(p, runs, limit=0.005, n=1) == pytest.approx(((6 * 90 + 5 * 60) / 11 + 30, 1, 5 / days))
    assert delays_and_alarms(p, runs, limit=0.005, n=2) == pytest.approx(((6 * 105 + 5 * 75) / 11 + 30, 1, 0))
    assert delays_and_alarms(p, runs, limit=0.005, n=9) == pytest.approx(((6 * 195 + 5 * (180 + 30)) / 11, 5 / 11, 0))
    assert delays_and_alarms(p, runs, limit=0.0001, n=1) == pytest.approx((195, 0, 0))


def test_of_equally_frequent_diagnoses_the_latest_counts_and_runs_do_not_mix():
    codes, run = np.array([0, 1, 2, 2, 1, 0, 0]), np.array([0, 0, 0, 0, 1, 1, 1])
    assert majority(codes, run, 3).tolist() == [0, 1, 2, 2, 1, 0, 0]
    assert in_a_row(codes, run, 2, 1).tolist() == [1, 1, 1, 2, 1, 1, 0]


def test_without_labels_and_windows_the_page_says_so_in_every_place(tmp_path):
    write_models(tmp_path, CLASSES)
    write_clean(tmp_path, days_of("a-n01", "2026-01-05", "2026-01-07"))
    page = judged(tmp_path).page
    assert "No window that could be learned from has a label of a trouble, so no diagnosis can be measured" in page
    assert "The source sets no labelled windows aside for testing." in page
    assert "No incident is known, so what is found and missed cannot be counted." in page
    assert "- Limit: " in page


def test_servers_are_measured_without_point_adjustment(tmp_path):
    windows = write_servers(tmp_path)
    quality = judged(tmp_path)
    truth = windows[windows.part == "test"].sort_values(["node_id", "start"]).groupby("node_id").anomaly.agg(lambda a: (a != "none").tolist())
    areas = [average_precision_score(truth[node], scores.score) for node, scores in quality.scores.groupby("node_id")]
    assert 0.5 < min(areas) < 1
    assert f"**AUPRC {np.mean(areas):.2f}, the mean over 2 nodes without point adjustment; a coin has {6 / 80:.2f}.**" in quality.page


def test_windows_without_a_label_are_no_test(tmp_path):
    write_models(tmp_path, [])
    write_clean(tmp_path, pd.concat([run_of("login", str(job), NOON - job * pd.Timedelta("1h"), n=3) for job in range(3)]))
    page = judged(tmp_path).page
    assert "AUPRC" not in page
    assert not re.search(r"\bnan\b|NaT", page)
