"""Diagnoses, incidents and silent nodes on hand-made windows and models, with values asserted."""

import html
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import run_cells, run_here
from telemetry_tables import (
    CLASSES,
    DAY,
    FEATURES,
    NOON,
    cells,
    days_of,
    run_of,
    windows_of_nodes,
    write_clean,
    write_models,
    write_night,
    write_servers,
)

import helpers
from nightshift.analysis.telemetry import amounts

NOTEBOOK = "telemetry/4_analyse.ipynb"


def analysed(products, **parameters):
    """The page as text, the findings by entity and the scores."""
    page = html.unescape(run_here(NOTEBOOK, products, **({"day": DAY} | parameters)))
    paths = helpers.study_paths("telemetry", products)
    findings, scores = pd.read_parquet(paths.findings), pd.read_parquet(paths.scores)
    assert list(findings.columns) == helpers.FINDING_COLUMNS
    assert list(scores.columns) == ["node_id", "job_id", "start", "end", "score", "p_value", "flagged", "diagnosis", "confidence"]
    return SimpleNamespace(page=page, findings=findings, scores=scores, of={f.entity: f for f in findings.itertuples()}, products=products)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """One analysis of nodes with known troubles."""
    products = tmp_path_factory.mktemp("telemetry")
    return analysed(products, truth=write_night(products))


def seconds(after):
    return NOON + pd.Timedelta(seconds=after)


def test_flagged_windows_of_a_run_become_one_finding_and_a_lone_one_none(night):
    assert set(night.of) == {"x-n01", "y-n01", "y-n02", "y-n03", "z01", "w01", "GONE", "lost-n01"}
    assert len(night.findings) == 8
    assert set(night.findings.impact_unit) == {"nodes"}
    assert night.findings.impact.sum() == 9  # one of the eight is a site of two nodes
    long, with_gap = night.of["x-n01"], night.of["y-n01"]
    assert (long.kind, long.site, long.start, long.end) == ("cpuoccupy", "X", seconds(120), seconds(345))
    assert (with_gap.kind, with_gap.start, with_gap.end) == ("memleak", seconds(45), seconds(165))  # windows 3, 4, 6, 7 but not 15
    assert long.p_value == with_gap.p_value == pytest.approx(6 / 2001)  # six windows of 60 s fit into 345 s
    assert night.of["z01"].site == ""


def test_evidence_names_the_metric_its_direction_the_range_and_whose_it_is(night):
    quiet = windows_of_nodes().query("job_id == '1' and node_id != 'x-n01'")["cpu::a|mean"].astype("float32")
    low, usual, high = quiet.quantile([0.05, 0.5, 0.95])
    found = night.of["x-n01"]
    assert found.evidence == (
        f"cpu (a) above the healthy range: 70.00 per s, healthy {low:.2f} to {high:.2f} (the job's 3 other nodes); from 120 s into job 1 "
        "(2026-01-30 12:02 UTC); occupied CPU with 90% confidence"
    )
    assert (found.observed, found.unit) == (70, "1/s")
    assert found.expected == pytest.approx(usual)
    assert night.of["y-n01"].evidence.startswith("mem (b) below the healthy range: 30.00, healthy 4")


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ((0.52911, 31.534, 12.3e9), ["0.529", "31.53", "12.30G"]),
        ((0.7, 0.5, 0.5004), ["0.7", "0.5", "0.5004"]),
        ((2.0, 1.99999, 1.0), ["2.00000", "1.99999", "1.00000"]),
        ((70, 4.0, 4.0), ["70.00", "4.00", "4.00"]),
        ((5_000_100.0, 5_000_200.0, 0.0), ["5.0001M", "5.0002M", "0.0000"]),
    ],
)
def test_numbers_of_the_evidence_have_the_digits_that_tell_them_apart(numbers, texts):
    assert amounts(*numbers) == texts


def test_without_three_neighbours_the_range_is_the_nodes_own_past_or_that_of_all(night):
    own, every = night.of["z01"].evidence, night.of["w01"].evidence
    low, high = map(float, re.search(r"healthy ([\d.]+) to ([\d.]+) \(this node when healthy\)", own).groups())
    assert 58 < low < 60 < high < 62
    low, high = map(float, re.search(r"healthy ([\d.]+) to ([\d.]+) \(all nodes\)", every).groups())
    assert 48 < low < 50 < high < 52


def test_unknown_is_what_the_two_disagree_about(night):
    unsure, healthy = night.of["y-n02"], night.of["y-n03"]
    assert unsure.kind == healthy.kind == "unknown"
    assert unsure.evidence.endswith("unknown trouble: the classifier says occupied CPU with 40%, below 50%")
    assert healthy.evidence.endswith("unknown trouble: the classifier says healthy with 100%, the healthy-only detector does not agree")
    assert "inside the healthy range, yet farthest from usual: " in healthy.evidence  # it is the spread that is odd


def test_scores_keep_their_contract(night):
    scores = night.scores
    assert len(scores) == 20 * (4 + 4 + 1 + 1 + 1 + 40)  # what has a label is not judged
    assert not scores.duplicated(["node_id", "start"]).any()
    assert scores.flagged.sum() == 12 + 5 + 5 + 5 + 4 + 4 + 2
    assert (scores.flagged == (scores.p_value <= 0.005)).all()
    assert (scores.flagged == (scores.diagnosis != "none")).all()
    assert scores.diagnosis.value_counts().to_dict() == {"none": 1020 - 37, "cpuoccupy": 12, "memleak": 13, "unknown": 12}
    named = scores[scores.diagnosis == "cpuoccupy"]
    assert named.confidence.to_numpy() == pytest.approx(0.9, abs=1e-4)


def test_what_so_many_runs_bring_about_by_chance_is_listed_and_not_reported(night):
    assert "Suspicions that are no findings: 1." in night.page
    assert cells(night.page, "<b>v01", "5", "2026-01-30 12:01 UTC", "2", "0.021")  # 7 / 2001 times six windows: not below 0.05 times 7 / 51
    assert "8 findings: 6 of 15 nodes misbehaved (3 memory leak, 2 unknown trouble, 1 occupied CPU), for 105 s to 4 min, most clearly " in night.page
    escaped = run_here(NOTEBOOK, night.products, day=DAY, false_discovery_rate=0.5, max_pictures=0)
    assert "<b>v01" not in escaped
    assert "&lt;b&gt;v01" in escaped
    assert len(pd.read_parquet(helpers.study_paths("telemetry", night.products).findings)) == 9


def test_silence_is_a_finding_of_a_node_or_of_its_whole_site(night):
    site, node = night.of["GONE"], night.of["lost-n01"]
    assert (site.kind, site.site, node.kind, node.site) == ("silent", "GONE", "silent", "LOST")
    assert site.start == node.start == pd.Timestamp("2026-01-26T12:01", tz="UTC")
    assert site.observed == node.observed == pytest.approx(5)
    assert site.expected == pytest.approx(1, abs=0.001)
    assert "no sample of all 2 nodes of the site for 5.0 days" in site.evidence
    assert (site.impact, node.impact) == (2, 1)
    assert "; 3 nodes fell silent.**" in night.page
    assert "lost-n02" not in set(night.findings.entity)


# ------------------------------------------------------------------------------------------------------- other sources


def test_nothing_to_judge_is_a_page_that_says_so_and_empty_tables(tmp_path):
    write_models(tmp_path, CLASSES)
    write_clean(tmp_path, days_of("a-n01", "2026-01-05", "2026-01-07"))
    night = analysed(tmp_path)
    assert "**Nothing to judge: these days hold no window that the models have not learned from.**" in night.page
    assert "not counted, since the source itself ended on 2026-01-07 12:01" in night.page
    assert "No finding." in night.page
    assert len(night.findings) == len(night.scores) == 0
    assert night.findings.p_value.dtype == night.findings.impact.dtype == float


def test_servers_without_jobs_and_kinds_are_judged_by_their_own_past(tmp_path):
    write_servers(tmp_path)
    night = analysed(tmp_path)
    assert set(night.findings.kind) == {"unknown"}
    assert night.scores.confidence.isna().all()
    assert all(f.evidence.endswith("unknown trouble: there were no labelled troubles to learn from") for f in night.findings.itertuples())
    assert "(this node when healthy); since 2026-01-30 12:07" in night.of["s1"].evidence
    assert json.loads((tmp_path / "models/telemetry/detector.json").read_text())["classes"] == []


def test_a_server_with_a_past_is_judged_by_it_and_a_drifting_one_raises_no_alarm(tmp_path):
    write_models(tmp_path, [])
    first, n = pd.Timestamp("2026-01-11", tz="UTC"), 21 * 48
    runs = {name: run_of(name, "", first, n=n, step_s=1800) for name in ("s1", "s2", "drifts")}
    runs["drifts"]["cpu::a|mean"] += np.linspace(0, 25, n)  # far out of what the models have learned
    trouble = slice(n - 20, n - 14)
    runs["s2"].loc[trouble, "cpu::a|mean"] += 12
    write_clean(tmp_path, pd.concat(runs.values(), ignore_index=True))
    night = analysed(tmp_path, alarm_rate=0.01)
    assert night.findings.entity.tolist() == ["s2"]
    assert night.findings.p_value[0] < 0.02
    assert night.of["s2"].start == runs["s2"].start[n - 20]
    assert "(this node when healthy); since " in night.of["s2"].evidence  # not of all nodes, of which one lies elsewhere
    shares = night.scores.groupby("node_id").flagged.mean()
    assert shares["drifts"] < 0.03
    assert night.scores.groupby("node_id").size().eq(7 * 48).all()  # the nights that calibrate are not judged again


@pytest.mark.parametrize(("calibration", "constant"), [(100, False), (250, True)])
def test_few_data_are_a_page_without_a_number_that_is_none_and_say_what_they_cannot_tell(tmp_path, calibration, constant):
    write_models(tmp_path, [])
    models = helpers.study_paths("telemetry", tmp_path).models
    few = pd.read_parquet(models / "calibration.parquet").iloc[:: -(-2000 // calibration)]
    helpers.write_parquet(few.head(calibration), models / "calibration.parquet")
    jobs = [(str(hour), NOON - hour * pd.Timedelta("1h")) for hour in range(20)] + [("20", NOON)]  # the last two share the node
    windows = pd.concat([run_of("login", job, start, n=3) for job, start in (jobs if constant else [("", NOON)])])
    write_clean(tmp_path, windows.assign(**dict(zip(FEATURES, (50.0, 1.0, 50.0, 1.0), strict=True))) if constant else windows)
    names, page = run_cells(NOTEBOOK, tmp_path, day=DAY)
    assert names["RECORDED"]["verdict"] == "too little history"
    reason = "no window can be flagged: 100 healthy windows" if calibration == 100 else "no trouble of one node can be told from chance: with 250"
    assert names["RECORDED"]["verdict_reason"].startswith(reason)
    assert f"**Too little history: {reason}" in html.unescape(page)
    assert not re.search(r"\bnan\b|NaT", page)
    assert names["RECORDED"]["warnings"] == [
        "site_pattern '(.+)-[ng][0-9]+' names the site of none of 1 nodes, such as login: their findings belong to no site."
    ]
