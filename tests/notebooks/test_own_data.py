"""The examples of docs/sources.md are read as they stand there."""

import json

import pytest
import yaml
from conftest import run_here
from docs_examples import examples, settings

ROWS = {"transfers": 2, "accounting": 2, "telemetry": 2, "certification": 2, "tickets": 2}


@pytest.mark.parametrize("study", ROWS)
def test_the_example_of_a_source_is_read_with_its_configuration(study, tmp_path):
    examples(tmp_path / "data")
    config = next(config for text in settings(tmp_path / "data") if study in (config := yaml.safe_load(text))["studies"])
    parameters = config["studies"][study]["extract"]
    if study == "tickets":
        parameters |= {"accounts": ""}  # there is no Slurm here
    run_here(f"{study}/1_extract.ipynb", tmp_path, day=str(config["day"]), **parameters)
    status = json.loads((tmp_path / f"data/raw/{study}/status.json").read_text())
    assert (status["state"], status["rows"], status["bad_lines"]) == ("ok", ROWS[study], 0), status


def test_the_example_of_gracc_is_read(tmp_path):
    examples(tmp_path / "data")
    run_here("accounting/1_extract.ipynb", tmp_path, source=str(tmp_path / "data/gracc/*.jsonl"), day="2026-01-31")
    status = json.loads((tmp_path / "data/raw/accounting/status.json").read_text())
    assert (status["state"], status["rows"]) == ("ok", 2)
