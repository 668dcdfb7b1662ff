"""Accounting by the month from raw records to findings and their quality, on a small table by hand, with values asserted."""

import html
import json
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import ACCOUNTING_FIELDS, refused, run_cells, run_here
from monthly_accounting import by_month, weekly_hours

import helpers
from nightshift.status import write_status

NIGHT = "2026-02-10"  # the running month has a record already, and is left out
SMALL = {"trees": 5, "blocks": 2, "origins": 1, "injections": 6, "sites_2021": 2, "alarm_rate": 0.01}
JANUARY, FEBRUARY = pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp("2026-02-01", tz="UTC")


def write_raw(products, records):
    """The raw table and its status, as the extraction would leave them; the source is published by the month, so it is stale."""
    records = records.assign(RecordId=None).reindex(columns=ACCOUNTING_FIELDS).astype("str")
    raw = helpers.study_paths("accounting", products).raw
    helpers.write_parquet(records, raw / "records.parquet")
    write_status(raw, state="stale", rows=len(records), newest="2026-02-09 00:00:00+00:00", source="hand", window=["2024-10-01", NIGHT])


def step(name, products, **parameters):
    """Run one notebook of the study in this process: all text shown."""
    return html.unescape(run_here(f"accounting/{name}.ipynb", products, **{"day": NIGHT} | parameters))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Fifteen months and a bit of 24 series, one of which falls silent in January, through all notebooks."""
    products, weekly = tmp_path_factory.mktemp("months"), weekly_hours(15)
    running = {"SiteName": "S1", "VOName": "V1", "EndTime": "2026-02-09T00:00:00Z", "CoreHours": 5.0}
    write_raw(products, pd.concat([by_month(weekly, "next first", silent=[("S0", "V2")]), pd.DataFrame([running])]))
    pages = {"2_preprocess": step("2_preprocess", products), "3_train": step("3_train", products, **SMALL)}
    names, page = run_cells("accounting/4_analyse.ipynb", products, day=NIGHT, alarm_rate=0.01)
    pages |= {"4_analyse": html.unescape(page), "5_quality": step("5_quality", products)}
    paths = helpers.study_paths("accounting", products)
    return SimpleNamespace(products=products, paths=paths, weekly=weekly, pages=pages, recorded=names["RECORDED"])


def test_the_page_says_that_the_grid_is_monthly_and_why_and_cuts_to_the_last_whole_month(chain):
    page, clean = chain.pages["2_preprocess"], pd.read_parquet(chain.paths.clean)
    n = len(pd.read_parquet(chain.paths.raw / "records.parquet"))
    share = f"{(n - 1) / n:.1%} of {n} records end on the first or last day of a month, in 15 months"
    assert f"**The grid is monthly**: {share}" in page
    assert "A record dated on the first closes the month before, since it is called an end, and no start says otherwise." in page
    assert "Months from 2024-11-01 to 2026-01-01 (both first days). 1 records lie in incomplete months" in page
    assert f"24 series over 15 months: {len(clean)} rows" in page
    lost = chain.weekly.query("site == 'S0' and vo == 'V2' and monday >= @JANUARY").core_hours.sum()
    assert clean.core_hours.sum() == pytest.approx(chain.weekly.core_hours.sum() - lost)
    assert (clean.week.dt.day == 1).all()
    assert clean[(clean.site == "S0") & (clean.vo == "V2")].core_hours.iloc[-1] == 0


def test_the_detector_learns_months_and_measures_itself_by_the_month(chain):
    metrics, detector = (json.loads((chain.paths.models / name).read_text()) for name in ("metrics.json", "detector.json"))
    assert (detector["grid"], detector["report_weeks"], detector["min_age"], metrics["grid"]) == ("month", 1, 4, "month")
    assert metrics["training_window"] == ["2025-03-01", "2025-12-01"]
    [in_use] = [model for model in metrics["models"] if model["in_use"]]
    assert in_use["alarm_rate_observed"] <= 0.01 + 3 * (0.01 / in_use["n_train"]) ** 0.5
    assert in_use["n_train"] == len(pd.read_parquet(chain.paths.models / "calibration.parquet"))
    injected = pd.read_parquet(chain.paths.models / "injections.parquet")
    sites = json.loads((chain.paths.encoders / "categories.json").read_text())["site"]
    never_silent = injected.site.map(dict(enumerate(sites, 1))).isin(["S0", "S1", "S2", "S3"])  # those of the others were silent in other months
    silent = injected[(injected.method == "combined") & (injected.kind == "silent") & never_silent]
    assert len(silent) >= 3
    assert silent.delay_weeks.eq(0).all()
    assert "ordinary series-months train and calibrate" in chain.pages["3_train"]
    assert "of the last month are judged.**" in chain.pages["3_train"]
    assert "within 1 month, at 1.0% alarms" in chain.pages["3_train"]


def test_the_silent_series_is_the_finding_of_its_month_and_quiet_ones_are_none(chain):
    findings, scores = pd.read_parquet(chain.paths.findings), pd.read_parquet(chain.paths.scores)
    [silent] = findings[findings.entity == "V2 at S0"].to_dict("records")
    assert (silent["kind"], silent["site"], silent["start"], silent["end"]) == ("silent", "S0", JANUARY, FEBRUARY)
    assert (silent["observed"], silent["unit"]) == (0.0, "core hours a month")
    usual = pd.read_parquet(chain.paths.clean).query("site == 'S0' and vo == 'V2' and core_hours > 0").core_hours
    assert silent["expected"] == pytest.approx(usual[-12:].median(), rel=0.05)
    assert silent["impact"] == pytest.approx(silent["expected"])
    assert silent["evidence"].endswith(" lost; since 2026-01-01")
    assert " a month; " in silent["evidence"]
    assert len(findings) == 1
    assert set(scores.week) == {JANUARY}
    assert scores.flagged.sum() == 1
    assert chain.recorded["verdict"] == "ok"


def test_all_that_is_computed_speaks_of_months(chain):
    page = chain.pages["4_analyse"]
    assert page.startswith("**1 finding in the month of 2026-01-01; first the silence of V2 at S0,")
    assert "series-months are flagged." in page
    assert "longer than 1 month:" in page
    assert "silent for" not in page.partition("Series that used to be")[0], "a source of months is not silent between them"
    quality = chain.pages["5_quality"]
    assert "mean delay, months" in quality
    assert "usual core hours a month" in quality
    shown = "".join(chain.pages[name] for name in ("2_preprocess", "3_train", "4_analyse", "5_quality"))
    assert "weeks to the week" not in shown
    assert "core hours a week" not in shown
    assert "series-week" not in shown


def test_a_detector_of_another_grid_judges_nothing_and_is_replaced(chain, tmp_path):
    shutil.copytree(chain.products, tmp_path, dirs_exist_ok=True)
    paths = helpers.study_paths("accounting", tmp_path)
    assert "**The grid is weekly**: the parameter grid says so;" in step("2_preprocess", tmp_path, grid="week")
    assert refused(step, "4_analyse", tmp_path) == "the series are by the week, and the detector has learned another grid: train again"
    step("3_train", tmp_path, **SMALL)
    assert json.loads((paths.models / "detector.json").read_text())["grid"] == "week"
    step("2_preprocess", tmp_path)
    page = step("3_train", tmp_path, **SMALL)
    assert "scores the night" in page
    assert json.loads((paths.models / "detector.json").read_text())["grid"] == "month"


def test_a_label_of_its_own_month_is_read_as_one_where_the_parameter_says_so(chain, tmp_path):
    write_raw(tmp_path, by_month(chain.weekly, "next first"))
    page = step("2_preprocess", tmp_path, month_dated="start")
    assert "A record dated on the first stands for the month that begins, since the parameter month_dated says so." in page
    assert "Months from 2024-12-01 to 2026-01-01 (both first days)." in page
