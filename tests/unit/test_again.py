"""What must run again whatever Snakemake remembers."""

import json

import pytest

from nightshift.catalog import STEPS
from nightshift.chain import Night
from nightshift.config import check
from nightshift.runs import NOTHING, VERSION, notebook_path, record_path, write_record


@pytest.fixture
def night(tmp_path):
    return Night(check({"day": "2026-01-31", "products": str(tmp_path), "studies": {"tickets": {"extract": {"source": "none.csv"}}}}))


def ended_well(night, study, step, parameters):
    run = NOTHING | {"version": VERSION, "study": study, "step": step, "outcome": "ok", "given": json.loads(json.dumps(parameters))}
    write_record(run, record_path(night.report, study, step))


@pytest.mark.parametrize("study", ["tickets", ""])
def test_a_step_whose_executed_notebook_is_gone_runs_again(night, study):
    step = "4_analyse" if study else "digest"
    ended_well(night, study, step, night.step_parameters(study, step) if study else night.digest_parameters())
    again = (lambda: night.again(study, step)) if study else night.digest_again
    assert again() == f"the executed notebook {step}.ipynb cannot be read"
    notebook_path(night.report, study, step).write_text(json.dumps({"cells": [], "metadata": {}}))
    assert again() == ""


OTHER, DAMAGED = "data/raw/tickets is that of another night", "data/raw/tickets/status.json cannot be read"


@pytest.mark.parametrize(
    ("status", "reason"),
    [("[" * 100_000, DAMAGED), ("{", DAMAGED), ("[1]", DAMAGED), ('{"window": ["", "2026-01-31"]}', ""), ('{"state": "ok"}', OTHER)]
    + [(json.dumps({"window": window}), OTHER) for window in (3, "x", [], ["", "2026-01-30"])],
)
def test_raw_data_whose_last_day_is_not_tonight_are_read_again(night, status, reason):
    ended_well(night, "tickets", "1_extract", night.step_parameters("tickets", "1_extract"))
    notebook_path(night.report, "tickets", "1_extract").write_text(json.dumps({"cells": [], "metadata": {}}))
    path = night.root / "data/raw/tickets/status.json"
    path.parent.mkdir(parents=True)
    path.write_text(status)
    assert night.again("tickets", "1_extract") == reason


def test_a_replayed_night_makes_no_mere_page(night):
    whole, findings = (set(night.outputs(target)) for target in ("all", "findings"))
    assert whole - findings == {("tickets", step) for step in ("5_quality", "6_waiting", "7_asking")}
    assert {("tickets", step) for step in STEPS} <= findings
