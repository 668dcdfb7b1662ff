"""What must run again whatever Snakemake remembers."""

import json

import pytest

from nightshift.chain import Night
from nightshift.config import check
from nightshift.runs import NOTHING, VERSION, notebook_path, record_path, write_record


@pytest.mark.parametrize("study", ["tickets", ""])
def test_a_step_whose_executed_notebook_is_gone_runs_again(tmp_path, study):
    night = Night(check({"day": "2026-01-31", "products": str(tmp_path), "studies": {"tickets": {"extract": {"source": "none.csv"}}}}))
    step = "4_analyse" if study else "digest"
    given = night.given(study, step) if study else night.digest_given()
    run = NOTHING | {"version": VERSION, "study": study, "step": step, "outcome": "ok", "given": json.loads(json.dumps(given))}
    write_record(run, record_path(night.report, study, step))
    again = (lambda: night.again(study, step)) if study else night.digest_again
    assert again() == f"the executed notebook {step}.ipynb cannot be read"
    notebook_path(night.report, study, step).write_text(json.dumps({"cells": [], "metadata": {}}))
    assert again() == ""
