"""The transfers notebooks, executed on a small sample and on hand-made bad records, with values asserted."""

import gzip
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run_cells, run_here
from rucio_events import GOOD

import helpers
from nightshift.detectors.transfers_predictors import BASELINE, TRIVIAL


def write_lines(path, records):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + "\n")
    return str(path)


def preprocessed(tmp_path, records):
    """Clean and rejected tables of these records, through the first two notebooks, and what the second one shows."""
    run_here("transfers/1_extract.ipynb", tmp_path, source=write_lines(tmp_path / "events.jsonl", records), day="2026-01-31")
    page = run_here("transfers/2_preprocess.ipynb", tmp_path, day="2026-01-31")
    paths = helpers.study_paths("transfers", tmp_path)
    return pd.read_parquet(paths.clean), pd.read_parquet(paths.rejected), page


def test_every_bad_record_is_counted_with_its_reason_and_nothing_is_lost(tmp_path):
    bad = {
        "finished before it started": {"transferred_at": "2026-01-31 09:00:00"},
        "unreadable time": {"started_at": "yesterday"},
        "unknown size": {"bytes": -1},
        "no source or destination": {"dst-rse": None},
        "started before it was submitted": {"submitted_at": "2026-01-31 12:00:00"},
        "no request id": {"request-id": None},
    }
    records = [
        GOOD,
        *({**GOOD, "request-id": f"bad{i}"} | change for i, change in enumerate(bad.values())),
        {**GOOD, "request-id": "huge", "bytes": "not a number"},
        {
            "event_type": "transfer-queued",
            "created_at": "2026-01-31 08:00:00",
            "payload": {**GOOD, "request-id": "q", "started_at": None, "transferred_at": None},
        },
        {"event_type": "transfer-queued", "created_at": "2026-01-31 08:00:00", "payload": {**GOOD, "started_at": None, "transferred_at": None}},
        {"event_type": "transfer-failed", "created_at": "2026-01-31 10:01:00", "payload": {**GOOD, "request-id": "f", "reason": "x"}},
        {"event_type": "deletion-done", "created_at": "2026-01-31 08:00:00", "payload": {}},
        "{broken",
        GOOD,
    ]
    clean, rejected, _ = preprocessed(tmp_path, records)
    assert sorted(clean.request_id) == ["f", "q", "r1"]
    assert clean.set_index("request_id").state.to_dict() == {"r1": "done", "f": "failed", "q": "queued"}
    counts = rejected.rejected_because.value_counts().to_dict()
    assert counts == dict.fromkeys(bad, 1) | {"unknown size": 2, "the transfer has ended since": 1, "copy of another event": 1}
    row = clean[clean.request_id == "r1"].iloc[0]
    assert (row.duration_s, row.queue_s, row.link, row.fts, row.src_host) == (60, 60, "A_DISK -> B_DISK", "fts.example", "a.example")
    assert str(row.started) == "2026-01-31 10:00:00+00:00"
    assert "{broken" in pd.read_csv(tmp_path / "data/raw/transfers/bad_lines.csv").text[0]
    assert json.loads((tmp_path / "data/raw/transfers/status.json").read_text())["state"] == "partial"


def test_a_time_with_a_zone_counts_by_its_utc_day(tmp_path):
    inside = {**GOOD, "request-id": "zone", "started_at": "2026-02-01T00:30:00+02:00", "transferred_at": "2026-02-01T01:30:00+02:00"}
    outside = {**GOOD, "request-id": "late", "submitted_at": None, "started_at": None, "transferred_at": "2026-01-31T23:30:00-05:00"}
    clean, rejected, _ = preprocessed(tmp_path, [{"metadata": {"topic": "events"}, "data": r} for r in (GOOD, inside, outside)])
    assert sorted(clean.request_id) == ["r1", "zone"]
    rows = clean.set_index("request_id")
    assert rows.duration_s["zone"] == 3600
    assert str(rows.started["zone"]) == "2026-01-31 22:30:00+00:00"
    assert not len(rejected)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ([{"lfn": "/a", "site": "A"}], "its only record is no transfer event of Rucio: the first has lfn, site; needed: request-id"),
        ([{**GOOD, "request-id": f"r{i}", "submitted_at": f"week 5, {i}"} for i in range(9)], "9 of 9 times in submitted_at cannot be read, such as"),
    ],
)
def test_a_file_that_is_not_understood_is_one_line(tmp_path, text, line):
    assert f"e.jsonl: {line}" in refused(run_here, "transfers/1_extract.ipynb", tmp_path, source=write_lines(tmp_path / "e.jsonl", text))
    assert not list(tmp_path.rglob("*.parquet"))


def test_one_unreadable_file_is_named(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 1000)[:-30])
    (tmp_path / "b.csv").write_text("")
    line = refused(run_here, "transfers/1_extract.ipynb", tmp_path, source=str(tmp_path / "*.*"), day="2026-01-31")
    assert "a.jsonl.gz cannot be read: EOFError" in line


def test_hostile_names_pass_through_as_text(tmp_path):
    hostile = '<script>alert(1)</script>\n# "quoted" | `x` ='
    clean, _, page = preprocessed(tmp_path, [{**GOOD, "src-rse": hostile}])
    assert clean.src[0] == hostile
    assert "<script>" not in page


def test_an_empty_window_is_a_state_and_not_a_crash(tmp_path):
    run_here("transfers/1_extract.ipynb", tmp_path, source=write_lines(tmp_path / "e.jsonl", [GOOD]), day="2025-01-31")
    assert json.loads((tmp_path / "data/raw/transfers/status.json").read_text())["state"] == "empty"
    run_here("transfers/2_preprocess.ipynb", tmp_path, day="2025-01-31")
    assert len(pd.read_parquet(tmp_path / "data/clean/transfers.parquet")) == 0


def test_metrics_stand_beside_their_baseline(sample_chain):
    metrics = json.loads((sample_chain["products"] / "models/transfers/metrics.json").read_text())
    models = {m["name"]: m for m in metrics["models"]}
    assert {*TRIVIAL, "gradient_boosting", "feed_forward", "lstm"} <= set(models)
    in_use = [m for m in metrics["models"] if m["in_use"]]
    assert len(in_use) == 1
    assert in_use[0]["skill"] == pytest.approx(1 - in_use[0]["model"] / in_use[0]["baseline"])
    assert in_use[0]["skill_low"] > 0
    assert in_use[0]["skill"] > 0.15  # 28 days of 500 transfers and 6 epochs; the full sample reaches more
    assert {m["baseline_name"] for m in metrics["models"]} == {BASELINE}
    assert models[BASELINE]["model"] <= (models["link_size"]["model"] + models["log_size"]["model"]) / 2  # the loss is convex
    assert models[metrics["baseline_in_hindsight"]]["model"] == min(models[name]["model"] for name in TRIVIAL)


def test_scores_and_findings_keep_their_contracts(sample_chain):
    paths = helpers.study_paths("transfers", sample_chain["products"])
    scores, clean, findings = pd.read_parquet(paths.scores), pd.read_parquet(paths.clean), pd.read_parquet(paths.findings)
    assert scores.request_id.is_unique
    assert np.isfinite(scores.score).all()
    assert ((scores.p_value > 0) & (scores.p_value <= 1)).all()
    assert (scores.flagged == (scores.p_value <= 0.005)).all()
    trained_until = json.loads((paths.encoders / "inputs.json").read_text())["calibration_end"]
    assert scores.started.min() >= pd.Timestamp(trained_until)
    assert scores.request_id.isin(clean.request_id).all()
    assert list(findings.columns) == helpers.FINDING_COLUMNS
    assert (findings.p_value <= 0.05).all()
    assert (findings.end >= findings.start).all()
    assert all((sample_chain["products"] / f).exists() for f in findings.figure if f)
    assert set(findings.impact_unit) == {"GB delayed"}
    at = {"source": "src", "destination": "dst", "link": "link", "server": "fts"}
    slow = scores[scores.flagged].drop(columns="link").merge(clean, on=["request_id", "attempt"], suffixes=("", "_"))
    failed = clean[clean.state == "failed"].assign(started=lambda t: t.started.fillna(t.finished).fillna(t.submitted).fillna(t.created))
    for f in findings[findings.kind != "stuck_queue"].itertuples():
        late = slow if f.kind.startswith("slow") else failed
        if f.kind.endswith("_site"):
            hit = late.src.str.startswith(f.entity + "_") | late.dst.str.startswith(f.entity + "_")
        else:
            hit = late[at[f.kind.rpartition("_")[2]]] == f.entity
        subset = late[hit & late.started.between(f.start, f.end)].drop_duplicates("file")  # a file counts once, however often tried
        if late is slow and f.start < pd.Timestamp(trained_until):  # it began among transfers that are not scored anew
            assert f.impact >= subset.bytes.sum() / 1e9
            continue
        assert f.impact == pytest.approx(subset.bytes.sum() / 1e9)
        assert f.impact > 0


def test_alarms_mean_what_they_say_and_evidence_quotes_the_errors(sample_chain):
    paths = helpers.study_paths("transfers", sample_chain["products"])
    scores, truth = pd.read_parquet(paths.scores), pd.read_csv(paths.sample / "truth.csv", parse_dates=["start", "end"])
    scores[["src", "dst"]] = scores.link.astype(str).str.split(" -> ", expand=True)
    inside = np.zeros(len(scores), bool)
    for incident in truth.itertuples():
        who = (scores[["link", "src", "dst"]].astype(str) == incident.entity).any(axis=1) | (incident.kind == "stuck_queue")
        if incident.kind == "site_outage":
            who = scores.src.str.startswith(incident.entity + "_") | scores.dst.str.startswith(incident.entity + "_")
        inside |= (who & (scores.started <= incident.end) & (scores.started >= incident.start - pd.Timedelta("6h"))).to_numpy()
    assert scores.flagged[~inside].mean() <= 0.01
    [failing] = pd.read_parquet(paths.findings).query("kind == 'failing_source'").evidence
    assert re.search(r"; \d+% of the failures say “SOURCE \[111\] connection to HOST refused after N s”", failing)


def test_a_window_without_transfers_is_a_page_and_no_reassurance(sample_chain, tmp_path):
    products = tmp_path / "products"
    shutil.copytree(sample_chain["products"], products, ignore=shutil.ignore_patterns("reports", "sample"))
    clean = pd.read_parquet(products / "data/clean/transfers.parquet")
    shutil.rmtree(products / "data/clean/transfers.parquet")
    helpers.write_parquet(clean.iloc[:0], products / "data/clean/transfers.parquet/undated.parquet")
    calibration = pd.read_parquet(products / "models/transfers/calibration.parquet")
    helpers.write_parquet(calibration.head(50), products / "models/transfers/calibration.parquet")
    names, page = run_cells("transfers/4_analyse.ipynb", products, day="2026-01-31", truth="", perfsonar="")
    assert "0 findings in 7 days" in page
    assert len(pd.read_parquet(products / "data/findings/transfers.parquet")) == 0
    assert names["RECORDED"]["verdict"] == "too little history"
    reason = names["RECORDED"]["verdict_reason"]
    assert "50 calibration transfers are too few for an alarm rate of 0.50%: at least 199 are needed" in reason
    assert "no transfer of 2026-01-31 counts" in reason
    page += run_here("transfers/5_quality.ipynb", products, day="2026-01-31")
    assert "No table of known incidents is given: recall cannot be measured here." in page
    assert page.count("Stated alarm rate 0.50%; nothing was judged, so none was observed.") == 4  # on both pages, and in their conclusions
    assert not re.search(r"\bnan\b|NaT", page)
