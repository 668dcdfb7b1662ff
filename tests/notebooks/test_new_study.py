"""A study that nobody has written by hand: what `nightshift new-study` makes runs, finds, and is published and scored, with no other file touched."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY

from nightshift import catalog
from nightshift.new_study import make_study

DAY = "2026-01-31"
CODE = ("workflow", "helpers.py", "nightshift", "templates", "sites.yaml", "remediations.yaml", "notebooks/digest.ipynb", "notebooks/backtest.ipynb")
CODE += ("notebooks/simulate.ipynb", "pyproject.toml")  # the simulation does not run, but its parameters are read


def nightshift(folder, *arguments):
    """What the command prints in this checkout, with its exit code."""
    done = subprocess.run([sys.executable, "-m", "nightshift", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def write_source(path):
    """Sixty days of twenty sensors at two sites; the last day of one of them is far off, and one row is broken."""
    rng = np.random.default_rng(4)
    days = pd.date_range("2025-12-03", DAY, tz="UTC")
    rows = [
        {"time": str(day), "entity": f"sensor-{i:02}", "site": ("ALPHA", "BETA")[i % 2], "value": round(10 * i + rng.normal(), 4)}
        for i in range(20)
        for day in days
    ]
    table = pd.DataFrame(rows)
    table.loc[(table.entity == "sensor-04") & (table.time >= DAY), "value"] = 75.0
    table.loc[3, "time"] = "yesterday"
    table.to_csv(path, index=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout without any other study, after a night of a new one, replayed, scored and published; what each command printed."""
    folder = tmp_path_factory.mktemp("new-study")
    for name in CODE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2)(REPOSITORY / name, folder / name)
    printed = {"new-study": nightshift(folder, "new-study", "demo", "--question", "Which sensors are off?")}
    write_source(folder / "values.csv")
    config = {"day": DAY, "products": str(folder / "nights"), "studies": {"demo": {"extract": {"source": "values.csv"}}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    truth = [["I1", "unusual", DAY, DAY, 60.0, "sensor-04", "ALPHA", ""]]
    pd.DataFrame(truth, columns=["incident", "kind", "start", "end", "strength", "entity", "site", "cause"]).to_csv(folder / "truth.csv", index=False)
    asked = ["--from", DAY, "--to", DAY, "--products", str(folder / "nights"), "--truth", "truth.csv"]
    printed["backtest"] = nightshift(folder, "backtest", *asked)
    printed["publish"] = nightshift(folder, "publish")
    return folder, printed


def test_each_command_ends_well(checkout):
    folder, printed = checkout
    assert {name: code for name, (code, _) in printed.items()} == dict.fromkeys(printed, 0), printed
    assert "extract: {source: values.csv}" in printed["new-study"][1]
    assert sorted(path.name for path in (folder / "notebooks/demo").iterdir()) == [*(f"{step}.ipynb" for step in catalog.STEPS), "study.yaml"]


def test_its_incident_is_on_the_front_page_in_the_feed_and_in_the_digest(checkout):
    reports = checkout[0] / "nights/reports"
    digest = json.loads((reports / DAY / "digest.json").read_text())
    [incident] = digest["incidents"]
    assert (incident["what"], incident["site"], incident["studies"]) == ("unusual value at ALPHA", "ALPHA", ["demo"])
    assert incident["impact"] == "1 unusual day"
    assert digest["studies"]["demo"]["verdict"] == "anomalies 1"
    for page in (reports / DAY / "index.html", reports / "feed.xml"):
        assert "unusual value at ALPHA" in page.read_text()
    front = (reports / DAY / "index.html").read_text()
    assert "Which sensors are off?" in front
    assert "sensor-04 was at 75 and not at 40" in front


def test_every_row_is_kept_or_rejected_with_a_reason(checkout):
    rejected = pd.read_parquet(checkout[0] / "nights/data/clean/demo_rejected.parquet")
    assert rejected.rejected_because.tolist() == ["unreadable time"]
    assert len(pd.read_parquet(checkout[0] / "nights/data/clean/demo.parquet")) == 20 * 60 - 1


def test_the_backtest_scores_it(checkout):
    result = json.loads((checkout[0] / "nights/data/backtest.json").read_text())
    assert result["figures"]["recall"]["of"] == "1 of 1"
    assert result["figures"]["precision"]["of"] == "1 of 1"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Power", "'Power' is no name for a study"),
        ("a_b", "'a_b' is no name"),
        ("for", "'for' is no name"),
        ("true", "'true' is no name"),
        ("a" * 300, "is no name"),
        ("digest", "notebooks/digest.ipynb is there already"),
    ],
)
def test_a_name_that_cannot_be_is_one_line_and_makes_nothing(name, line):
    before = sorted(catalog.NOTEBOOKS.iterdir())
    with pytest.raises(ValueError, match=line):
        make_study(name)
    assert sorted(catalog.NOTEBOOKS.iterdir()) == before
