"""The page for accelerators, on hand-made tables: what is held and idle, for how long, and what is not."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run_here

import helpers
from nightshift.status import write_status

NIGHT = pd.Timestamp("2026-01-31", tz="UTC")
EVERY = pd.Timedelta(minutes=5)
AMOUNTS = {"memory_used_mib": 20480.0, "memory_total_mib": 81920.0, "power_w": 60.0, "temperature_c": 35.0}
COLUMNS = ["timestamp", "node_id", "gpu", "job_id", "user", "utilisation_pct", *AMOUNTS]


def gpu(*stretches, name="site-a-g01", number="0", start="2026-01-31", user="ada"):
    """One GPU as the clean table has it, a row every five minutes; stretches are (hours, job, utilisation), None as job is a gap."""
    rows, at = [], pd.Timestamp(start, tz="UTC")
    for hours, job, utilisation in stretches:
        for _ in range(round(hours * 12)):
            if job is not None:
                rows.append([at, name, number, job, user if job else "", float(utilisation), *AMOUNTS.values()])
            at += EVERY
    return pd.DataFrame(rows, columns=COLUMNS)


def page(products, *tables, source="hand", **parameters):
    """(findings, text of the page) of the GPUs in `tables`."""
    text = dict.fromkeys(["node_id", "gpu", "job_id", "user"], "str") | {"timestamp": "datetime64[us, UTC]"}
    clean = pd.concat([pd.DataFrame(columns=COLUMNS), *tables])
    clean = clean.astype(text | dict.fromkeys([name for name in clean if name not in text], float))
    paths = helpers.study_paths("telemetry", products)
    helpers.write_parquet(clean.sort_values(["node_id", "gpu", "timestamp"]), paths.clean.with_name("telemetry_gpus.parquet"))
    write_status(paths.raw, state="ok", rows=len(clean), newest="2026-01-31", source=source, window=["2026-01-31", "2026-01-31"])
    shown = run_here("telemetry/5_accelerators.ipynb", products, **{"max_gpus": 0} | parameters)  # without figures, which take longest
    findings = pd.read_parquet(paths.findings.with_name("telemetry_gpus.parquet"))
    assert list(findings.columns) == helpers.FINDING_COLUMNS
    assert np.isfinite(findings[["score", "p_value", "observed"]]).all(axis=None)
    return findings, html.unescape(shown)


def busy(n):
    """`n` GPUs of one other node, each used for two hours by a job of its own."""
    return [gpu((2, f"9{i:02d}", 90), name="site-b-n7", number=str(i), start="2026-01-30") for i in range(n)]


def test_an_allocation_that_was_never_used_is_found_with_its_hours(tmp_path):
    findings, text = page(tmp_path, gpu((1, "", 0), (4, "77", 1), (1, "", 0)), *busy(40), max_gpus=5)
    [found] = findings.itertuples()
    assert (found.study, found.kind, found.entity, found.site, found.unit) == ("telemetry", "idle_gpu", "site-a-g01 gpu 0", "SITE-A", "%")
    assert (found.start, found.end) == (NIGHT + pd.Timedelta(hours=1), NIGHT + pd.Timedelta(hours=5))
    assert (found.score, found.observed, found.expected) == (4.0, 1.0, 90.0)
    assert found.p_value == pytest.approx(1 / 41)
    assert found.evidence.startswith(
        "4.0 GPU hours held and not used, from its start; mean utilisation 1.0%; 20.0 of 80 GiB of memory held; 60 W drawn"
    )
    assert "0.2 kWh" in found.evidence
    assert "still held" not in found.evidence
    assert (tmp_path / found.figure).exists()
    assert "41 GPUs were held for 84 GPU hours" in text
    assert "; 4.0 GPU hours were wasted (4.8%, 0.2 kWh)" in text


def test_a_training_that_waits_for_its_data_is_told_from_a_gpu_that_nothing_uses(tmp_path):
    """Its GPU may compute a little; one that computes while the loader works is used, and one that waits for nothing is idle."""
    waits = {"0": (3, 96), "1": (30, 60), "2": (45, 90), "3": (70, 90), "4": (3, 2), "5": (3, np.nan)}
    held = [gpu((4, number, pct), number=number).assign(loader_wait_pct=wait) for number, (pct, wait) in waits.items()]
    findings, text = page(tmp_path, *held, *busy(60))
    found = findings.set_index("entity")
    assert {name[-1]: kind for name, kind in found.kind.items()} == {
        **dict.fromkeys("012", "stalled_loader"),
        **dict.fromkeys("45", "idle_gpu"),
    }
    assert found.loc["site-a-g01 gpu 1", ["score", "observed", "impact"]].tolist() == [4.0, 30.0, pytest.approx(2.8)]
    assert found.loc["site-a-g01 gpu 4", "impact"] == pytest.approx(4.0)
    begins = "4.0 GPU hours held by a training that waits for data 60% of the time, from its start; mean utilisation 30.0%"
    assert found.loc["site-a-g01 gpu 1", "evidence"].startswith(begins)
    assert "5 findings of a job that held a GPU for 2 h or more without using it, 3 of them since its training waits for data" in text
    rows = pd.read_parquet(tmp_path / "data/rows/telemetry_gpus.parquet")
    assert rows[rows.gpu == "site-a-g01 gpu 1"].loader_wait_pct.tolist() == [60.0] * 48
    assert rows[rows.gpu == "site-a-g01 gpu 4"].loader_wait_pct.isna().all()
    stricter, _ = page(tmp_path, *held, *busy(60), stall_pct=95.0)
    assert {one.entity[-1]: one.kind for one in stricter.itertuples()} == {"0": "stalled_loader", "4": "idle_gpu", "5": "idle_gpu"}


def test_a_gpu_that_no_job_holds_is_not_idle_but_free(tmp_path):
    findings, text = page(tmp_path, gpu((10, "", 0)), gpu((3, "5", 80), number="1"))
    assert findings.empty
    assert "No job held a GPU for 2 h or more without using it" in text
    assert "1 GPUs were held for 3 GPU hours" in text
    assert "; 0.0 GPU hours were wasted" in text


def test_a_source_without_jobs_is_said_to_tell_nothing(tmp_path):
    findings, text = page(tmp_path, gpu((10, "", 0)))
    assert findings.empty
    assert "No GPU has a job's name on it" in text


def test_idleness_that_is_broken_or_not_seen_is_not_added_up(tmp_path):
    broken = gpu((1.5, "1", 0), (1 / 12, "1", 50), (1.5, "1", 0))
    other_job = gpu((1.5, "2", 0), (1.5, "3", 0), number="1")
    unseen = gpu((1.5, "4", 0), (5, None, 0), (1.5, "4", 0), number="2")
    unknown = gpu((1.5, "5", 0), (5, "5", np.nan), (1.5, "5", 0), number="3")
    findings, text = page(tmp_path, broken, other_job, unseen, unknown)
    assert findings.empty
    assert "; 0.0 GPU hours were wasted (0.0%, 0.0 kWh)" in text
    assert len(page(tmp_path, broken, other_job, unseen, unknown, idle_hours=1.5)[0]) == 5  # jobs 1 to 5, each once


def test_a_few_missing_samples_do_not_break_a_stretch(tmp_path):
    table = gpu((4, "1", 0))
    table.loc[20:21, "utilisation_pct"] = np.nan
    findings, _ = page(tmp_path, table.drop(index=[10, 11, 30]))
    assert findings.score.tolist() == [4.0]


def test_a_job_that_stopped_using_its_gpu_is_found_since_then_and_the_mean_misses_it(tmp_path):
    findings, text = page(tmp_path, gpu((6, "1", 95), (3, "1", 0)), day="2026-01-31")
    [found] = findings.itertuples()
    assert found.start == NIGHT + pd.Timedelta(hours=6)
    assert "3.0 GPU hours held and not used, after 6.0 h" in found.evidence
    assert "still held" in found.evidence
    assert "1 of 1 findings are of jobs whose mean utilisation is above 5%" in text


def test_one_job_on_one_gpu_is_one_finding_by_its_longest_stretch(tmp_path):
    findings, _ = page(tmp_path, gpu((3, "1", 0), (1, "1", 60), (5, "1", 2)), gpu((2, "1", 0), number="1"))
    assert findings.entity.tolist() == ["site-a-g01 gpu 0", "site-a-g01 gpu 1"]
    assert findings.score.tolist() == [5.0, 2.0]
    assert findings.impact.tolist() == pytest.approx([8, 2])  # the hours of both stretches
    assert set(findings.impact_unit) == {"GPU hours"}
    assert "the longest of 2 such stretches" in findings.evidence[0]


def test_where_used_jobs_pause_as_long_a_pause_is_no_finding(tmp_path):
    pausing = [gpu((4, f"8{i:02d}", 90), (3, f"8{i:02d}", 0), name="c-n1", number=str(i), start="2026-01-20") for i in range(20)]
    findings, text = page(tmp_path, gpu((2.5, "1", 0)), *pausing)
    assert findings.empty
    assert "no finding, since used jobs pause as long: 1." in text
    findings, text = page(tmp_path, gpu((2.5, "1", 0)), *pausing[:10])
    assert len(findings) == 1
    assert "too few to tell what is unusual" in text


@pytest.mark.parametrize(("end", "n"), [("2026-01-25 00:00", 0), ("2026-01-25 00:05", 1)])
def test_what_ended_before_the_judged_days_is_left_to_earlier_reports(tmp_path, end, n):
    start = str(pd.Timestamp(end) - pd.Timedelta(hours=6))
    assert len(page(tmp_path, gpu((6, "1", 0), start=start), gpu((1, "2", 9), number="1"))[0]) == n


def test_users_are_called_as_they_were_left_and_the_page_says_how(tmp_path, monkeypatch):
    monkeypatch.delenv("NIGHTSHIFT_KEY", raising=False)
    findings, text = page(tmp_path, gpu((3, "1", 0), user="user-0a1b2c3d"))
    assert "of user-0a1b2c3d" in findings.evidence[0]
    assert "by pseudonyms of this run only" in text
    monkeypatch.setenv("NIGHTSHIFT_KEY", "secret")
    assert "named by pseudonyms;" in page(tmp_path, gpu((3, "1", 0), user="user-0a1b2c3d"))[1]
    findings, text = page(tmp_path, gpu((3, "1", 0), user="Ada Lovelace"))
    assert "of Ada Lovelace" in findings.evidence[0]
    assert "named by name;" in text


def test_hostile_names_stay_names(tmp_path):
    hostile = '<img src=x onerror="alert(1)"> $\\frac{ | `x` {n} %s'
    findings, _ = page(tmp_path, gpu((3, hostile, 0), name=hostile, number=hostile, user=hostile), site_pattern="(x)?.*")
    assert findings.entity[0] == f"{hostile} gpu {hostile}"
    assert findings.site[0] == ""
    shown = run_here("telemetry/5_accelerators.ipynb", tmp_path)
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_what_the_source_does_not_know_is_left_out_of_the_sentence(tmp_path):
    findings, _ = page(tmp_path, gpu((3, "1", 0), user="").assign(**dict.fromkeys(AMOUNTS, np.nan)))
    assert findings.evidence.tolist() == ["3.0 GPU hours held and not used, from its start; mean utilisation 0.0%; still held; job 1"]


def test_no_gpu_at_all_is_a_page_that_says_so(tmp_path):
    findings, text = page(tmp_path)
    assert findings.empty
    assert findings.start.dtype == "datetime64[us, UTC]"
    assert findings.impact.dtype == float
    assert "**No GPU was seen in the 7 days up to 2026-01-31.**" in text
    assert "Findings: 0" in text


def test_known_incidents_measure_both_methods(tmp_path):
    truth = pd.DataFrame([["idle_gpu", "2026-01-31T00:00Z", "2026-01-31T04:00Z", f"site-a-g01 gpu {i}"] for i in (0, 2)])
    truth.set_axis(["kind", "start", "end", "entity"], axis=1).to_csv(tmp_path / "truth.csv", index=False)
    used_first = gpu((2, "2", 90), (4, "2", 0), number="1")
    findings, text = page(tmp_path, gpu((4, "1", 0)), used_first, gpu((4, "3", 50), number="2"), truth=str(tmp_path / "truth.csv"))
    assert len(findings) == 2
    cells = re.findall(r"<td>(.*?)</td>", text[text.index("<td>idle stretch</td>") :])
    assert cells[:5] == ["idle stretch", "2", "1", "2", "1"]
    assert cells[5].startswith("0.50 (0.09 to 0.91)")
    assert cells[7:12] == ["mean utilisation", "2", "1", "1", "1"]


def test_bad_parameters_and_a_missing_table_are_one_line(tmp_path):
    page(tmp_path, gpu((1, "1", 0)))
    assert "idle_hours is 0" in refused(run_here, "telemetry/5_accelerators.ipynb", tmp_path, idle_hours=0)
    assert "idle_pct is 100" in refused(run_here, "telemetry/5_accelerators.ipynb", tmp_path, idle_pct=100)
    (tmp_path / "data/clean/telemetry_gpus.parquet").unlink()
    assert "run 2_preprocess first" in refused(run_here, "telemetry/5_accelerators.ipynb", tmp_path)
