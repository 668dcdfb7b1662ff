"""What an earlier version left is read by this one, from a backup: products of a night of the small sample by revision edca15a, with feedback.

A name of a column, key or setting that is changed without a word in nightshift/former_names.py fails here. bench/upgrade.py runs whole nights.
"""

import pytest
import yaml
from conftest import REPOSITORY

from nightshift.backup import restore_backup
from nightshift.config import check
from nightshift.incidents.archive import newest_of, read_nights, watched_studies
from nightshift.remediation.feedback import FEEDBACK_FILE, find_incident, read_feedback, record_feedback
from nightshift.reporting.archive import headline_of
from nightshift.reporting.archive import read_nights as read_runs

NIGHT = "2026-01-30"
OPEN = {"20260130-db7a": "dip of seismo.lab", "20260130-d1fa": "failing source AURORA-T1_DATADISK", "20260130-bff0": "move of quarry"}


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    """Products and configuration of the earlier version."""
    root = tmp_path_factory.mktemp("earlier")
    restore_backup(REPOSITORY / "tests/earlier/products.tar.gz", root / "products", root / "site.yaml")
    return root


def test_incidents_keep_their_names(restored):
    nights, notes = read_nights(restored / "products/data/incidents", "2026-01-01", "2026-01-31")
    assert (list(nights), notes) == ([NIGHT], [])
    newest, findings, _ = newest_of(list(nights.values()))
    titles = newest.set_index("incident").title
    assert {name: titles[name] for name in OPEN} == OPEN
    assert newest.state.value_counts().to_dict() == {"new": 13, "closed": 12}
    assert set(findings.incident) == set(newest.incident), "each has its findings"
    assert watched_studies(restored / "products/data/incidents", "2026-01-31") == {"accounting", "certification", "tickets", "transfers"}


def test_feedback_counts_and_goes_on(restored):
    table = restored / "products" / FEEDBACK_FILE
    feedback, trouble = read_feedback(table)
    assert (feedback[["incident", "remediation", "worked"]].values.tolist(), trouble) == ([["20260130-db7a", "roll-back", True]], "")
    assert find_incident(restored / "products/data/incidents", "20260130-db7a")["kinds"] == ["global_dip"]
    record_feedback("20260130-db7a", "roll-back", False, products=restored / "products")
    feedback, trouble = read_feedback(table)
    assert (feedback.worked.tolist(), trouble) == ([True, False], "")


def test_the_history_has_the_night(restored):
    [run], damaged = read_runs(restored / "products/reports")
    assert damaged == {}
    assert {study: one["verdict"] for study, one in run["studies"].items()} == {
        "accounting": "anomalies 12",
        "certification": "anomalies 7",
        "tickets": "anomalies 6",
        "transfers": "anomalies 4",
    }
    assert headline_of(run)


def test_its_configuration_is_one_of_this_version(restored, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert check(yaml.safe_load((restored / "site.yaml").read_text()))["day"] == "2026-01-31"
