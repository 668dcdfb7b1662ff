"""How good the transfers are: their page on measurements written by hand, and on those of the sample's chain."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from conftest import run_here, tables_of

import helpers

NOON = pd.Timestamp("2026-01-30 12:00", tz="UTC")
HOUR = pd.Timedelta(hours=1)
N = 400  # held-out transfers, and scored ones


def write_measured(products, *, stated=True, incidents=True, limit=3.0):
    """What training and analysis leave of transfers that take 100 s each, but for the last 40 scored ones."""
    paths = helpers.study_paths("transfers", products)
    losses = {"lstm": 0.5, "usual": 0.6, "constant": 1.0, "link_size": 1.2, "log_size": 1.1}
    models = [
        {"name": name, "model": loss, "baseline_name": "constant", "skill": 1 - loss, "skill_low": 0.9 - loss, "skill_high": 1.1 - loss}
        | {"in_use": name == "lstm"}
        for name, loss in losses.items()
    ]
    helpers.write_json({"models": models, "threshold": limit, "skill_stated": stated}, paths.models / "metrics.json")
    started, ids = NOON + HOUR * np.arange(N) / 100, [f"r{i}" for i in range(N)]
    errors = {"lstm": 10, "constant": 400, "link_size": 500, "log_size": 450}  # s
    held_out = pd.DataFrame({"request_id": ids, "started": started, "duration_s": 100.0})
    held_out = held_out.assign(**{f"{name}_q50": 100.0 + error for name, error in errors.items()})
    by_epoch = pd.DataFrame({"network": ["lstm"] * 3 + ["feed_forward"] * 2, "epoch": [1, 2, 3, 1, 2], "loss": 1.0})
    tables = {"test_predictions": held_out, "losses": by_epoch.assign(validation_loss=[0.9, 0.5, 0.7, 0.8, 0.75])}
    tables["calibration"] = pd.DataFrame({"link": "A -> B", "score": np.linspace(-1, 1, 999)})
    tables["test_scores"] = pd.DataFrame({"request_id": ids, "score": np.linspace(-1, 5, N), "quiet": np.arange(N) < 350})
    for name, table in tables.items():
        helpers.write_parquet(table, paths.models / f"{name}.parquet")
    late = np.arange(N) >= 360
    scored = pd.DataFrame({"request_id": ids, "attempt": 1, "duration_s": 100.0 + 2000 * late, "forecast_s": 100.0})
    scored = scored.assign(score=np.where(late, 9.0, 0.0), flagged=late | (np.arange(N) < 3))
    helpers.write_parquet(scored, paths.scores)
    hit = pd.DataFrame({"incident": [1, 2], "kind": "slow_link", "entity": ["A -> B", "C -> D"], "start": NOON, "end": NOON + 3 * HOUR})
    problems = pd.DataFrame({"kind": "slow_link", "entity": ["A -> B", "A -> B", "E"], "start": NOON + HOUR, "end": NOON + 2 * HOUR})
    problems.loc[1, ["start", "end"]] = [NOON + 4 * HOUR, NOON + 5 * HOUR]  # when the incident has ended
    touched = pd.DataFrame({"row": np.flatnonzero(late), "slowed": True})
    outside = "known incidents" if incidents else "the findings"
    counts = {"stated": 0.005, "n_flagged": 3, "n": 360, "n_independent": 360.0, "items": f"transfers outside {outside}"}
    helpers.write_json(counts, paths.scores.with_name("transfers_alarms.json"))
    found = {"incidents": hit if incidents else hit.iloc[:0], "problems": problems, "touched": touched}
    for name, table in found.items():
        helpers.write_parquet(table, paths.scores.with_name(f"transfers_{name}.parquet"))


def text_of(path):
    """What a page of the report says, without its code."""
    soup = BeautifulSoup(path.read_text(), "html.parser")
    for code in soup.select(".code"):
        code.decompose()
    return " ".join(soup.get_text().split())


def test_every_predictor_stands_beside_its_baseline_in_losses_and_in_seconds(tmp_path):
    write_measured(tmp_path)
    page = html.unescape(run_here("transfers/5_quality.ipynb", tmp_path))
    models, within, in_seconds = tables_of(page)[:3]
    assert models.name.tolist() == ["lstm", "lstm, without the last hours", "constant", "log_size", "link_size"]
    assert models.scores.tolist() == ["tonight", "", "", "", ""]
    assert models.loc[0, ["pinball loss", "skill", "low", "high"]].tolist() == ["0.500", "0.500", "0.400", "0.600"]
    within = within.set_index("within, min")
    assert within.lstm["1"] == "100.00%"
    assert (within.constant["5"], within.constant["10"]) == ("0.00%", "100.00%")
    assert dict(zip(in_seconds.name, in_seconds["MAE, s"], strict=True)) == {
        "lstm": "10.0",
        "constant": "400.0",
        "log_size": "450.0",
        "link_size": "500.0",
    }
    assert in_seconds["MAE skill"].tolist() == ["0.975", "0.000", "-0.125", "-0.250"]
    assert "- lstm scores; skill 0.50 (0.40 to 0.60) against constant on 400 held-out transfers." in page


def test_alarms_and_incidents_are_counted_against_what_is_stated_and_known(tmp_path):
    write_measured(tmp_path)
    page = html.unescape(run_here("transfers/5_quality.ipynb", tmp_path))
    rate = "Stated alarm rate 0.50%, observed 0.83% (0.28% to 2.42%) of 360 transfers outside known incidents: as stated."
    assert page.count(rate) == 2  # where it is measured, and in the conclusion
    *_, rules, listed = tables_of(page)
    assert rules["flagged of normal"].tolist() == ["0.00%", "0.00%", "0.83%"]
    assert rules["flagged inside slow incidents"].tolist() == ["100.0%", "100.0%", "100.0%"]
    assert "**1 of 2 known incidents found (recall 0.50); 1 of 3 findings name one (precision 0.33).**" in page
    assert list(zip(listed.entity, listed.found, strict=True)) == [("A -> B", "yes"), ("C -> D", "no")]


@pytest.mark.parametrize("limit", [None, 3.0])
def test_a_page_without_skill_limit_or_known_incidents_says_so(tmp_path, limit):
    write_measured(tmp_path, stated=False, incidents=False, limit=limit)
    page = html.unescape(run_here("transfers/5_quality.ipynb", tmp_path))
    assert "skill" not in tables_of(page)[0]
    assert "- lstm scores; no skill can be stated against constant" in page
    assert "No table of known incidents is given: recall cannot be measured here." in page
    assert "of 360 transfers outside the findings: as stated." in page
    assert not re.search(r"\bnan\b|NaT", page)


def test_the_page_of_the_sample_shows_which_incidents_are_found(sample_chain):
    products = sample_chain["products"]
    truth, metrics = pd.read_csv(products / "data/sample/truth.csv"), json.loads((products / "models/transfers/metrics.json").read_text())
    analysed, page = (text_of(sample_chain["report"] / f"transfers/{step}.html") for step in ("4_analyse", "5_quality"))
    found, n_known = map(int, re.search(r"(\d+) of (\d+) known incidents found", page).groups())
    assert "slow topic" in set(truth.kind.str.replace("_", " "))
    assert "slow topic" not in analysed + page  # that of another study
    assert n_known >= 4
    assert found / n_known >= 0.5  # a small sample, hardly trained; bench/ measures the full one
    assert not re.search(r"\bnan\b|NaT|\d\.0 of \d", analysed + page)
    [rate] = set(re.findall(r"Stated alarm rate 0\.50%, observed [^:]* transfers outside known incidents: [^.]*\.", analysed))
    assert page.count(rate) == 2  # where it is measured, and in the conclusion
    [in_use] = [m["name"] for m in metrics["models"] if m["in_use"]]
    assert f"{in_use} scores; skill " in page
    losses = pd.read_parquet(products / "models/transfers/losses.parquet")
    assert losses.groupby("network").epoch.agg(["min", "max"]).isin(range(1, 7)).all(axis=None)  # as many as were trained
    assert set(losses.network) == {"feed_forward", "lstm"}
