"""Accounting from raw records to findings, on hand-made tables good and bad, with values asserted."""

import html
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ACCOUNTING_FIELDS, GRACC_RECORD, REAL_DATA, refused, run_cells, run_here

import helpers
from nightshift.status import write_status

GOOD = {name: str(value) for name, value in GRACC_RECORD.items()}  # as the raw table has it
SUNDAY = "2026-02-01"  # the last day, on which a week ends
ONE_WEEK = pd.Timedelta(days=7)
MONDAYS = pd.date_range(end="2026-01-26", periods=74, freq="7D", tz="UTC")
SMALL = {"day": SUNDAY, "trees": 20, "origins": 2, "injections": 20, "sites_2021": 3, "alarm_rate": 0.01}


def write_raw(products, records, lacking=()):
    """The raw table and its status, as the extraction would leave them."""
    frame = records if isinstance(records, pd.DataFrame) else pd.DataFrame(records, columns=ACCOUNTING_FIELDS[:-1])
    frame = frame.reindex(columns=ACCOUNTING_FIELDS).astype("str").drop(columns=list(lacking))
    raw = helpers.study_paths("accounting", products).raw
    helpers.write_parquet(frame, raw / "records.parquet")
    write_status(raw, state="ok", rows=len(frame), newest=SUNDAY, source="hand", window=[SUNDAY, SUNDAY])


def preprocessed(products, records, **parameters):
    """The clean table, the rejected records and what the notebook shows."""
    write_raw(products, records)
    page = step("2_preprocess", products, **parameters)
    paths = helpers.study_paths("accounting", products)
    clean, rejected = pd.read_parquet(paths.clean), pd.read_parquet(paths.rejected)
    assert f"**{len(records) - len(rejected):,} records kept, {len(rejected):,} rejected.**" in page
    return clean, rejected, page


def step(name, products, **parameters):
    """Run one notebook of the study in this process, for a Sunday if not told otherwise; all text shown."""
    return run_here(f"accounting/{name}.ipynb", products, **{"day": SUNDAY} | parameters)


def weekly(products):
    """Core hours of each series by the day of their Monday, as the clean table has them."""
    clean = pd.read_parquet(helpers.study_paths("accounting", products).clean)
    return {f"{vo} at {site}": dict(zip(t.week.dt.strftime("%m-%d"), t.core_hours, strict=True)) for (site, vo), t in clean.groupby(["site", "vo"])}


# ------------------------------------------------------------------------------------------------------------ 2_preprocess


def test_every_record_that_is_not_used_has_its_reason(tmp_path):
    hostile = "<script>alert(\"1\")</script>\n# 'quoted' | `x` {n} $y$"
    bad = {
        "no site": [{"SiteName": None}, {"SiteName": "  "}],
        "no VO": [{"VOName": None}],
        "time without zone (parameter time_zone)": [{"EndTime": "2026-01-31 10:00:00"}, {"EndTime": "2026-01-31"}],
        "no time": [{"EndTime": None}],
        "time that cannot be read": [{"EndTime": "yesterday"}, {"EndTime": "2026-02-30T10:00:00Z"}],
        "after the window": [{"EndTime": "2026-02-02T00:00:00Z"}, {"EndTime": "2026-02-01T23:30:00-05"}],
        "missing or unreadable core hours": [
            {"CoreHours": "many", "WallDuration": "long"},
            {"CoreHours": "inf"},
            {"CoreHours": None, "Processors": None},
        ],
        "negative amount": [{"CoreHours": "-1"}, {"CpuDuration": "-0.5"}, {"Njobs": "-3"}],
        "infinite amount": [{"WallDuration": "inf"}],
    }
    records = [GOOD | {"RecordId": f"{reason}{i}"} | change for reason, changes in bad.items() for i, change in enumerate(changes)]
    records += [
        GOOD | {"RecordId": "r0", "EndTime": "2026-01-26T00:00:00Z"},  # so that the week is whole
        GOOD | {"RecordId": "r1", "CoreHours": "-7"},  # a spoilt copy does not displace the good one
        GOOD | {"RecordId": "r1"},
        GOOD | {"RecordId": "r1"},
        GOOD | {"RecordId": "r1", "CoreHours": "10", "CpuDuration": None},  # made again: this one counts
        GOOD | {"RecordId": "r1"},  # what it replaced, once more
        GOOD | {"RecordId": "r1", "ProbeName": "another", "CoreHours": "2.5", "CpuDuration": None},  # another record: not only its amounts differ
        GOOD,  # without identity, nothing is a copy
        GOOD,
        GOOD | {"RecordId": "r2", "CoreHours": None, "Processors": "8", "CpuDuration": "odd", "EndTime": "2026-01-31T12:00:00+02"},
        GOOD | {"RecordId": "r3", "SiteName": hostile, "EndTime": "20260201T100000Z"},
    ]
    clean, rejected, page = preprocessed(tmp_path, records)
    counts = {reason: len(changes) for reason, changes in bad.items()}
    assert rejected.rejected_because.value_counts().to_dict() == counts | {
        "negative amount": 4,
        "same record again": 2,
        "replaced by a later record with other amounts": 1,
    }
    assert rejected.set_index("RecordId").EndTime["time that cannot be read0"] == "yesterday"  # as the source gave it
    assert clean.core_hours.tolist() == pytest.approx([12.5, 4 * 12.5 + 100])
    assert clean.jobs.tolist() == [3, 18]
    assert clean.cpu_hours[1] == pytest.approx(4 * 40000 / 3600 * (4 * 12.5 + 100) / (4 * 12.5))  # what is not known is as efficient
    assert clean.site.tolist() == [" ".join(hostile.split()), "SITE_A"]
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_times_without_zone_are_those_of_the_given_zone_and_a_skipped_hour_is_none(tmp_path):
    times = {
        "2026-01-26 00:30:00": "2026-01-19",  # Sunday evening in UTC
        "2026-01-26T02:00:00": "2026-01-26",
        "2026-01-26T00:30:00Z": "2026-01-26",  # has a zone of its own
        "2026-01-26T00:30:00-01": "2026-01-26",
        "20260126T003000+0100": "2026-01-19",
        "2025-10-27 00:30:00": "2025-10-20",
        "2025-03-30 02:30:00": "",  # an hour that there was not
        "2026-01-01T10:00:00 EST": "",
        "noon": "",
    }
    whole = [GOOD | {"EndTime": "2025-03-24T10:00:00Z"}, GOOD | {"EndTime": "2026-02-01T10:00:00Z"}]
    records = whole + [GOOD | {"VOName": f"vo{i}", "EndTime": at} for i, at in enumerate(times)]
    clean, rejected, _ = preprocessed(tmp_path, records, time_zone="Europe/Berlin")
    assert rejected.rejected_because.tolist() == ["time that cannot be read"] * 3
    assert set(rejected.EndTime) == {at for at, monday in times.items() if not monday}
    first = clean[clean.core_hours > 0].groupby("vo").week.min().dt.strftime("%Y-%m-%d").to_dict()
    assert first == {"atlas": "2025-03-24"} | {f"vo{i}": monday for i, monday in enumerate(times.values()) if monday}


def test_what_cannot_be_preprocessed_ends_in_one_line_and_leaves_the_last_table(tmp_path):
    file = helpers.study_paths("accounting", tmp_path).clean
    helpers.write_parquet(pd.DataFrame({"old": [1]}), file)
    write_raw(tmp_path, [GOOD], lacking=["VOName", "Njobs"])
    assert re.search(r"lacks the columns VOName, Njobs: run 1_extract again$", refused(step, "2_preprocess", tmp_path))
    write_raw(tmp_path, [GOOD | {"SiteName": None}, GOOD | {"SiteName": None, "CoreHours": "-1"}])
    assert refused(step, "2_preprocess", tmp_path) == "all 2 records are rejected, 2 of them for: no site"
    assert pd.read_parquet(file).columns.tolist() == ["old"]


def test_weeks_are_whole_and_begin_on_monday_and_silence_is_a_row(tmp_path):
    def at(day, vo, hours, site="A"):
        return GOOD | {"EndTime": f"{day}T12:00:00Z", "SiteName": site, "VOName": vo, "CoreHours": str(hours)}

    records = [
        at("2025-11-06", "whole", 1000),  # a Thursday: of this week the source has only a part
        at("2025-11-10", "whole", 1),
        at("2025-11-16", "whole", 2),  # the Sunday of the same week
        at("2025-12-08", "whole", 4),
        at("2026-01-28", "whole", 2000),  # this week is not over: the source ends on Wednesday
        at("2025-11-10", "ended", 8),
        at("2025-11-17", "Old Name", 16),
        at("2025-11-24", "new_name", 32),
        at("2025-12-01", "NEW_NAME", 64, site=" a "),
        at("2025-12-01", "new_name", 128, site="B"),
        at("2025-12-22", "zero", 0),
    ]
    clean, rejected, page = preprocessed(tmp_path, records, vo_aliases={"old  NAME": "new_name"}, site_aliases={"b": "a"}, ended_weeks=3)
    assert rejected.empty
    assert (clean.week.dt.day_of_week == 0).all()
    zeros = dict.fromkeys(["11-17", "11-24", "12-01"], 0)
    assert weekly(tmp_path) == {
        "ended at A": {"11-10": 8} | zeros,
        "new_name at A": {"11-17": 16, "11-24": 32, "12-01": 192, "12-08": 0, "12-15": 0, "12-22": 0},
        "whole at A": {"11-10": 3} | zeros | {"12-08": 4, "12-15": 0, "12-22": 0, "12-29": 0},
    }
    assert "Weeks from 2025-11-10 to 2026-01-19 (both Mondays). 2 records lie in incomplete weeks" in page
    assert "its source ends on 2026-01-28" in page
    assert "3 spellings of sites are 1 site, 6 of VOs are 4 VOs." in page


def test_an_empty_night_is_an_empty_table_and_then_one_line(tmp_path, chain):
    clean, rejected, page = preprocessed(tmp_path, [])
    assert (len(clean), len(rejected)) == (0, 0)
    assert "0 series over 0 weeks" in page
    assert json.loads((tmp_path / "encoders/accounting/categories.json").read_text()) == {"site": [], "vo": []}
    assert "holds no week: no record up to 2026-02-01 has core hours above 0" in refused(step, "3_train", tmp_path)
    shutil.copytree(chain.products / "models", tmp_path / "models")
    assert refused(step, "4_analyse", tmp_path).startswith("accounting.parquet holds no week at all")
    assert not helpers.study_paths("accounting", tmp_path).findings.exists()


# --------------------------------------------------------------------------------------------------- 2, 3 and 4 as a chain


def grid(troubles):
    """Raw records of 8 sites x 4 VOs x 74 weeks, two a week; with what happens in the last three weeks, or without."""
    rng = np.random.default_rng(5)
    hours = np.exp(rng.normal(np.log(1000), 0.6, (8, 4, 1)) + rng.normal(0, 0.12, (8, 4, 74)))
    hours[6:] *= (rng.random((2, 4, 74)) < 0.65) * np.exp(rng.normal(0, 0.6, (2, 4, 74)))  # two sites of fitful users
    efficiency, length = 0.8 * np.exp(rng.normal(0, 0.03, hours.shape)), 4 * np.exp(rng.normal(0, 0.05, hours.shape))
    usual = hours[:, :, -3:].copy()
    if troubles:
        hours[0, 0, -3:] = 0
        hours[1, :, -2:] = 0
        hours[:, 3, -2:] *= 0.3
        hours[3, 1, -3:] += hours[2, 1, -3:]
        hours[2, 1, -3:] = 0
        hours[4, 2, -2:] *= 5
        efficiency[5, 0, -3:] *= 0.3
    site, vo, week = (x.ravel() for x in np.indices(hours.shape))
    half = hours.ravel() / 2
    once = pd.DataFrame({"SiteName": np.char.add("S", site.astype(str)), "VOName": np.char.add("V", vo.astype(str)), "CoreHours": half})
    once = once.assign(WallDuration=half * 3600, CpuDuration=half * 3600 * efficiency.ravel(), Njobs=half / length.ravel(), Processors=1)
    ends = [(MONDAYS[week] + pd.Timedelta(hours=h)).strftime("%Y-%m-%dT%H:%M:%SZ") for h in (10, 164)]  # Monday morning, Sunday evening
    records = pd.concat([once.assign(EndTime=end) for end in ends], ignore_index=True)
    return records[records.CoreHours > 0], usual, hours[:, :, -3:]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Preprocess, train and analyse once on a grid with known troubles."""
    products = tmp_path_factory.mktemp("accounting")
    records, usual, now = grid(troubles=True)
    write_raw(products, records)
    step("2_preprocess", products)
    trained, analysed = step("3_train", products, **SMALL), step("4_analyse", products, alarm_rate=0.01)
    paths = helpers.study_paths("accounting", products)
    metrics = json.loads((paths.models / "metrics.json").read_text())
    return SimpleNamespace(
        products=products, paths=paths, usual=usual, now=now, metrics=metrics, findings=pd.read_parquet(paths.findings),
        scores=pd.read_parquet(paths.scores), trained=trained, page=analysed,
    )  # fmt: skip


def entity(chain, name):
    """The one finding about an entity."""
    [finding] = chain.findings[chain.findings.entity == name].to_dict("records")
    return finding


def core_hours(evidence):
    """Core hours lost or gained according to the evidence."""
    return float(re.search(r"([\d,]+) (?:lost|gained)", evidence)[1].replace(",", ""))


@pytest.mark.parametrize(
    ("name", "kind", "site", "weeks", "series"),
    [
        ("V0 at S0", "silent", "S0", 3, np.s_[0, 0]),
        ("S1", "reporting_gap", "S1", 2, np.s_[1]),
        ("V3", "global_dip", "", 2, np.s_[:, 3]),
        ("V1", "moved", "S2", 3, np.s_[2, 1]),
        ("V2 at S4", "surge", "S4", 2, np.s_[4, 2]),
    ],
)
def test_each_trouble_is_one_finding_with_its_kind_week_and_core_hours(chain, name, kind, site, weeks, series):
    found = entity(chain, name)
    assert (found["kind"], found["site"], found["start"], found["end"]) == (kind, site, MONDAYS[-weeks], MONDAYS[-1] + ONE_WEEK)
    truth = (chain.now - chain.usual)[series][..., -weeks:].sum()
    assert core_hours(found["evidence"]) == pytest.approx(abs(truth), rel=0.2)
    assert ("lost" in found["evidence"]) == (truth < 0)
    assert found["impact"] == pytest.approx(core_hours(found["evidence"]), abs=0.5)
    assert found["observed"] * weeks == pytest.approx(chain.now[series][..., -weeks:].sum(), rel=1e-6)
    assert f"since {MONDAYS[-weeks]:%Y-%m-%d}" in found["evidence"]
    assert 0 < found["p_value"] <= 0.05


def test_a_move_names_both_sites_and_efficiency_its_two_values(chain):
    assert re.search(r"there, [\d,]+ gained at S3", entity(chain, "V1")["evidence"])
    slow = entity(chain, "V0 at S5")
    assert (slow["kind"], slow["start"]) == ("efficiency_drop", MONDAYS[-3])
    now, then = map(float, re.match(r"([\d.]+) CPU h per core h, usually ([\d.]+);", slow["evidence"]).groups())
    assert now == pytest.approx(0.24, rel=0.1)
    assert then == pytest.approx(0.8, rel=0.05)
    assert slow["impact"] == pytest.approx(chain.now[5, 0, -3:].sum())  # no core hour is lost: these are the ones that are affected


def test_findings_keep_their_contract_and_what_is_one_thing_is_said_once(chain):
    findings = chain.findings
    assert list(findings.columns) == [*helpers.FINDING_COLUMNS, "sites"]
    assert set(findings.study) == {"accounting"}
    assert set(findings.impact_unit) == {"core hours"}
    planted = {"V0 at S0", "S1", "V3", "V1", "V2 at S4", "V0 at S5"}
    assert planted <= set(findings.entity)
    assert len(findings) <= len(planted) + 2  # a false one in twenty is expected
    assert findings.entity.is_unique
    assert all((chain.products / figure).read_bytes()[:4] == b"\x89PNG" for figure in findings.figure if figure)
    assert f"{len(findings)} findings in the 3 weeks to the week of 2026-01-26" in chain.page


def test_scores_keep_their_contract(chain):
    scores = chain.scores
    assert list(scores.columns) == ["site", "vo", "week", "core_hours", "score", "p_value", "flagged", "test"]
    assert not scores.duplicated(["site", "vo", "week"]).any()
    assert str(scores.week.dtype) == "datetime64[us, UTC]"
    assert set(scores.week) == set(MONDAYS[-3:])
    assert len(scores) == 3 * (8 * 4 + 8 + 4)
    assert np.isfinite(scores.score).all()
    assert scores.p_value.between(0, 1, inclusive="right").all()
    assert (scores.flagged == (scores.p_value <= 0.01)).all()
    assert (np.diff(scores.sort_values("score").p_value) <= 0).all()
    silent = scores[(scores.site == "S0") & (scores.vo == "V0")]
    assert silent.flagged.tolist() == [True, False, False]  # news in its first week only
    assert silent.core_hours.tolist() == [0, 0, 0]


MODEL_KEYS = {"name", "metric", "model", "baseline_name", "baseline", "skill", "skill_low", "skill_high", "n_train", "n_test", "split"}
MODEL_KEYS |= {"alarm_rate_stated", "alarm_rate_observed", "in_use"}


def test_metrics_keep_their_contract_and_follow_from_the_injected_troubles(chain):
    metrics, models = chain.metrics, {m["name"]: m for m in chain.metrics["models"]}
    assert {"study", "day", "git", "models", "threshold", "features", "weights", "seed", "training_window"} <= set(metrics)
    assert (metrics["study"], metrics["day"]) == ("accounting", SUNDAY)
    assert metrics["training_window"] == [str(MONDAYS[8].date()), str(MONDAYS[-4].date())]  # all but the first eight weeks
    assert set(models) == {"combined", "isolation_forest", "robust_z", "seasonal_naive", "method_2021"}
    assert all(set(m) == MODEL_KEYS for m in models.values())
    assert [name for name, m in models.items() if m["in_use"]] == ["combined"]
    assert sum(metrics["weights"].values()) == pytest.approx(1)
    injected = pd.read_parquet(chain.paths.models / "injections.parquet")
    recall = injected.assign(found=injected.delay_weeks.notna()).groupby(["method", "kind"]).found.mean().groupby("method").mean()
    for name, m in models.items():
        assert m["model"] == pytest.approx(recall[name])
        assert m["baseline"] == pytest.approx(recall[["robust_z", "seasonal_naive"]].max())
        better = m["model"] - m["baseline"]
        assert m["skill"] == pytest.approx(better / (1 - m["baseline"] if better >= 0 else m["baseline"]))
        assert -1 <= m["skill_low"] <= 1
        assert m["skill_low"] <= m["skill"] <= m["skill_high"]
        assert (m["n_train"], m["n_test"], m["alarm_rate_stated"]) == (44 * 63 - 9, len(injected) // 5, 0.01)  # fitful series began late
    flagged = injected.assign(found=injected.flag_delay_weeks.notna()).groupby(["method", "kind"]).found.mean().groupby("method").mean()
    assert flagged["combined"] > 0.8
    silent = injected[(injected.method == "combined") & (injected.kind == "silent")]
    assert silent.delay_weeks.notna().mean() > 0.8  # as findings, when it is the only change of the night
    assert models["combined"]["model"] > 0.5
    assert "**combined scores the night**" in chain.trained


def test_the_stored_forest_holds_types_of_its_libraries_only(chain):
    import skops.io

    types = skops.io.get_untrusted_types(file=chain.paths.models / "forest.skops")
    assert [t for t in types if not t.startswith(("sklearn.", "numpy.", "scipy."))] == []
    calibration = pd.read_parquet(chain.paths.models / "calibration.parquet")
    assert len(calibration) == 44 * 63 - 9
    assert calibration.week.max() < chain.scores.week.min()
    assert not calibration.duplicated(["site", "vo", "week"]).any()


# ------------------------------------------------------------------------------------------------------- the next nights


def copy_of(chain, folder):
    shutil.copytree(chain.products, folder, dirs_exist_ok=True)
    return folder, helpers.study_paths("accounting", folder)


def test_what_is_important_comes_first_and_a_name_that_nothing_has_is_a_warning(chain, tmp_path):
    products, paths = copy_of(chain, tmp_path)
    page = step("4_analyse", products, alarm_rate=0.01, importance={"v2": 1000, "nobody": 2})
    findings = pd.read_parquet(paths.findings)
    assert set(findings.entity) == set(chain.findings.entity)
    assert findings.entity[0] == "V2 at S4" != chain.findings.entity[0]
    assert "**Warning:** importance: no site and no VO of the accounting is called nobody." in html.unescape(page)


def test_a_quiet_night_is_a_page_that_says_so_and_an_empty_table_of_findings(chain, tmp_path):
    products, paths = copy_of(chain, tmp_path)
    write_raw(products, grid(troubles=False)[0])
    step("2_preprocess", products)
    page = step("4_analyse", products, alarm_rate=0.01)
    assert "**Nothing unusual in the 3 weeks to the week of 2026-01-26.**" in page
    findings, scores = pd.read_parquet(paths.findings), pd.read_parquet(paths.scores)
    assert len(findings) == 0
    assert findings.dtypes.to_dict() == chain.findings.dtypes.to_dict()
    assert len(scores) == len(chain.scores)
    assert scores.flagged.mean() <= 0.05


def test_a_worse_detector_does_not_replace_the_stored_one_and_an_equal_one_does(chain, tmp_path):
    products, paths = copy_of(chain, tmp_path)
    kept = ["detector.json", "forest.skops", "calibration.parquet"]
    before = [(paths.models / name).read_bytes() for name in kept]
    by_flags = {"finding_rate": 1e-9, "false_discovery_rate": 1e-9}  # nothing can be a finding
    step("3_train", products, **SMALL | {"day": "2026-02-02", "silence_weight": 1e-9} | by_flags)
    assert [(paths.models / name).read_bytes() for name in kept] == before
    metrics = json.loads((paths.models / "metrics.json").read_text())
    assert metrics["day"] == "2026-02-02"  # trained, so that tomorrow need not
    assert [m["name"] for m in metrics["models"] if m["in_use"]] == ["stored"]
    step("4_analyse", products, alarm_rate=0.01)  # has a page to write when no model of the metrics is in use
    assert "- stored scores: it finds " in step("5_quality", products)
    pd.testing.assert_frame_equal(pd.read_parquet(paths.scores), chain.scores)
    step("3_train", products, **SMALL | {"day": "2026-02-03"})
    assert json.loads((paths.models / "detector.json").read_text())["trained_day"] == "2026-02-03"
    metrics = json.loads((paths.models / "metrics.json").read_text())
    assert [m["name"] for m in metrics["models"] if m["in_use"]] == ["combined"]
    assert [m["model"] for m in metrics["models"]] == [m["model"] for m in chain.metrics["models"]]  # the same seed, the same figures
    step("3_train", products, **SMALL | {"day": "2026-02-04", "silence_weight": 1e-9, "report_weeks": 2} | by_flags)
    assert json.loads((paths.models / "detector.json").read_text())["report_weeks"] == 2  # not three, as of one that is better


def test_too_short_a_past_is_said_before_nothing_unusual(chain, tmp_path):
    products, paths = copy_of(chain, tmp_path)
    clean = pd.read_parquet(chain.paths.clean)
    helpers.write_parquet(clean[(clean.week >= MONDAYS[-14]) & (clean.site == "S0")], paths.clean)
    shutil.rmtree(paths.models)
    step("3_train", products, **SMALL)
    names, page = run_cells("accounting/4_analyse.ipynb", products, day=SUNDAY, alarm_rate=0.01)
    assert names["RECORDED"]["verdict"] == "too little history"
    reason = names["RECORDED"]["verdict_reason"]
    assert reason == (
        "No change of a single series can be found: 15 ordinary series-weeks of 5 series give no rank below 0.062 at an alarm rate of 1.00%, "
        "and no series was active in each of 30 weeks or more; the silence of a series that is always active needs about 33 weeks of history, "
        "other changes need 63."
    )
    assert page.startswith("**Too little history to find anything in the 3 weeks to the week of 2026-01-26.**")
    assert html.escape(reason[:60]) in page
    assert "Nothing unusual" not in page
    helpers.write_parquet(clean[(clean.week >= MONDAYS[-3]) & (clean.site == "S0")], paths.clean)  # nothing before the judged weeks
    names, page = run_cells("accounting/4_analyse.ipynb", products, day=SUNDAY, alarm_rate=0.01)
    assert page.startswith("**Too little history to find anything in the 3 weeks to the week of 2026-01-26.**")
    assert names["title"].endswith("in the mean of the last 3 weeks (red)")
    assert not re.search(r"\b(nan|inf)\b", page)


@pytest.mark.parametrize(
    ("step_name", "wrong"),
    [
        ("3_train", {"alarm_rate": 2}),
        ("4_analyse", {"alarm_rate": -1}),
        ("4_analyse", {"finding_rate": float("nan")}),
        ("3_train", {"silence_weight": 1.0}),
    ],
)
def test_a_rate_out_of_range_is_one_line(chain, step_name, wrong):
    [(name, value)] = wrong.items()
    assert refused(step, step_name, chain.products, **wrong) == f"{name} is {value}: it must lie between 0 and 1"


# --------------------------------------------------------------------------------------------------------- a real log


def test_silence_on_a_real_log_is_found_in_its_first_week(tmp_path):
    log = REAL_DATA / "accounting/LPC-EGEE-2004-1.2-cln.swf.gz"
    if not log.exists():
        pytest.skip(f"no real data at {log}")
    day = {"day": "2005-05-11"}
    step("1_extract", tmp_path, source=str(log), **day)
    step("2_preprocess", tmp_path, **day)
    step("3_train", tmp_path, **day, alarm_rate=0.01)
    paths = helpers.study_paths("accounting", tmp_path)
    clean, injected = pd.read_parquet(paths.clean), pd.read_parquet(paths.models / "injections.parquet")
    assert json.loads((paths.raw / "status.json").read_text())["rows"] == 220_695
    assert (len(clean), clean.site.nunique(), clean.vo.nunique(), clean.week.nunique()) == (219, 1, 8, 33)
    assert clean.core_hours.sum() == pytest.approx(195_274, abs=1)
    assert len(pd.read_parquet(paths.rejected)) == 0
    silent = injected[(injected.method == "combined") & (injected.kind == "silent") & injected.regular]
    assert len(silent) >= 2  # eight groups at one site, few of them regular, and no earlier night has 30 weeks of history
    assert (silent.delay_weeks == 0).all()  # as findings
