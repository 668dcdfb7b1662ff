"""Real data of all studies through the whole chain, and who scores them."""

import json

import pandas as pd
import pytest
import yaml
from conftest import QUICK, REAL_DATA, REPOSITORY, run_chain

# Settings, by study and step, that nothing asserted below needs as they stand in tests/real.yaml; that all of the data is read, other tests say.
THINNER = {
    "transfers": {"train": {"lstm_units": 16, "epochs": 6}},
    "accounting": {"train": {"trees": 10, "sites_2021": 5}},
    "telemetry": {"day": "2024-01-28", "extract": {"days": 10}},  # a week of training and three days of test data: 34,000 of 154,000 rows
    "certification": {"analyse": {"resamples": 100}},
    "tickets": {"train": {"resolutions": [8, 12, 16], "bootstraps": 5, "nights": 0}, "analyse": {"resamples": 100}},
}


def test_real_data_run_through_the_chain_and_say_who_scores(tmp_path):
    if not REAL_DATA.exists():
        pytest.skip(f"no real data at {REAL_DATA}")
    config, products = yaml.safe_load((REPOSITORY / "tests/real.yaml").read_text()), tmp_path / "products"
    for study, thinner in [*((study, {"train": quick}) for study, quick in QUICK.items()), *THINNER.items()]:
        steps = config["studies"][study]
        steps |= {step: steps[step] | changes if isinstance(changes, dict) else changes for step, changes in thinner.items()}
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(config | {"products": str(products)}))
    code, printed = run_chain(tmp_path / "real.yaml")
    assert code == 0, printed
    metrics = json.loads((products / "models/transfers/metrics.json").read_text())
    [in_use] = [m for m in metrics["models"] if m["in_use"]]
    assert in_use["n_test"] == pytest.approx(300, abs=10)
    constant = next(m for m in metrics["models"] if m["name"] == "constant")
    assert in_use["model"] <= constant["model"]
    page = (products / "reports/2017-06-18/transfers/4_analyse.html").read_text()
    assert in_use["name"] in page
    scores = pd.read_parquet(products / "data/scores/accounting.parquet")
    assert {"HPC2N", "LPC"} <= set(scores.site)
    assert scores.week.max() == pd.Timestamp("2005-05-02", tz="UTC")  # the last whole week of the study's own last day
    [in_use] = [m for m in json.loads((products / "models/accounting/metrics.json").read_text())["models"] if m["in_use"]]
    assert in_use["name"].replace("_", " ") in (products / "reports/2017-06-18/accounting/4_analyse.html").read_text()
    methods = pd.read_parquet(products / "models/tickets/experiments.parquet")
    leiden = methods[methods.method == "Leiden"]
    assert leiden.seed.nunique() >= 3
    assert leiden.ARI.min() >= 0.55
    assert leiden.NMI.min() >= 0.81
    assert leiden.ARI.max() - leiden.ARI.min() <= 0.03
    assert leiden.ARI.min() > methods.ARI[~methods.method.isin(["Leiden"])].max()
