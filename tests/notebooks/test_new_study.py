"""A study that nobody has written by hand: what `nightshift new-study` makes runs, finds, and is published and scored, with no other file touched.

The same for a kind of finding that is added to it: an entry of its study.yaml, and a cell that finds it."""

import json
import re
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
from nightshift.statistics import benjamini_hochberg

DAY = "2026-01-31"
CODE = ("workflow", "helpers.py", "nightshift", "templates", "sites.yaml", "remediations.yaml", "notebooks/digest.ipynb", "notebooks/backtest.ipynb")
CODE += ("notebooks/simulate.ipynb", "pyproject.toml")  # the simulation does not run, but its parameters are read


def nightshift(folder, *arguments):
    """What the command prints in this checkout, with its exit code."""
    done = subprocess.run([sys.executable, "-m", "nightshift", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


KIND = "  quiet:\n    scope: site\n    label: quiet sensor\n    description: it has stopped sending\n"
CELL = """quiet = daily.groupby(["entity", "site"], as_index=False).date.max()
quiet = quiet[quiet.date < end - pd.Timedelta(days=3)]
quiet = quiet.assign(kind="quiet", start=quiet.date, end=end, score=3.0, p_value=1e-4)
quiet["evidence"] = quiet.entity + " has sent nothing for three days"
made_by += [daily[daily.entity == entity].tail(3).rename(columns={"date": "time"}) for entity in quiet.entity]
findings = write_findings(pd.concat([findings, quiet]), paths.findings, "demo", made_by)
"""


def add_kind(study):
    """Add the kind `quiet` to the study in this folder: one entry under `kinds`, one cell behind the one that writes findings."""
    described, notebook = study / "study.yaml", study / "4_analyse.ipynb"
    described.write_text(described.read_text().replace("\nkinds:\n", f"\nkinds:\n{KIND}"))
    content = json.loads(notebook.read_text())
    at = next(i for i, cell in enumerate(content["cells"]) if "write_findings" in "".join(cell["source"]))
    content["cells"].insert(at + 1, content["cells"][at] | {"id": "quiet", "source": CELL})
    notebook.write_text(json.dumps(content))


def write_source(path):
    """Sixty days of twenty sensors at two sites; the last day of one of them is far off, another is quiet before, and one row is broken."""
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
    table = table[(table.entity != "sensor-07") | (table.time < "2026-01-28")]
    table.to_csv(path, index=False)
    return table


TOY = '''
"""Readings of a logger that writes cards."""

import pandas as pd

from nightshift.sources.demo.values import COLUMNS, ValueFile
from nightshift.sources.files import open_text


class Cards(ValueFile):
    """A card per reading: `sensor @ site | time = value`, below the name of the logger."""

    label = "cards of the Acme logger"

    def recognises(self, head):
        return head.line == "ACME CARDS"

    def read(self, path, bad_lines):
        rows = []
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                who, bar, reading = line.partition(" | ")
                if bar:
                    rows.append([reading.split(" = ")[0], *who.split(" @ "), reading.split(" = ")[1].strip()])
                elif number > 1:
                    bad_lines.append((path, number, "no card", line))
        yield pd.DataFrame(rows, columns=COLUMNS)
'''  # all that a further kind of source takes: one file


def write_cards(table, path):
    """The rows of a table as cards of the Acme logger, and one line that is none."""
    cards = [f"{row.entity} @ {row.site} | {row.time} = {row.value}\n" for row in table.itertuples()]
    path.write_text("".join(["ACME CARDS\n", *cards, "out of paper\n"]))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout without any other study, after a night of a new one, replayed, scored and published; what each command printed."""
    folder = tmp_path_factory.mktemp("new-study")
    for name in CODE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2)(REPOSITORY / name, folder / name)
    printed = {"new-study": nightshift(folder, "new-study", "demo", "--question", "Which sensors are off?")}
    add_kind(folder / "notebooks/demo")
    table = write_source(folder / "values.csv")
    is_card = table.entity.isin(["sensor-04", "sensor-05"])
    table[~is_card].to_csv(folder / "values.csv", index=False)
    (folder / "nightshift/sources/demo/toy.py").write_text(TOY)
    write_cards(table[is_card], folder / "values.cards")
    config = {"day": DAY, "products": str(folder / "nights"), "studies": {"demo": {"extract": {"source": "values.c*"}}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    truth = [["I1", "unusual", DAY, DAY, 60.0, "sensor-04", "ALPHA", ""]]
    pd.DataFrame(truth, columns=["incident", "kind", "start", "end", "strength", "entity", "site", "cause"]).to_csv(folder / "truth.csv", index=False)
    asked = ["--from", DAY, "--to", DAY, "--products", str(folder / "nights"), "--truth", "truth.csv"]
    printed["check"] = nightshift(folder, "check")
    printed["backtest"] = nightshift(folder, "backtest", *asked)
    printed["publish"] = nightshift(folder, "publish")
    return folder, printed


def test_each_command_ends_well(checkout):
    folder, printed = checkout
    assert {name: code for name, (code, _) in printed.items()} == dict.fromkeys(printed, 0), printed
    assert "extract: {source: values.csv}" in printed["new-study"][1]
    assert sorted(path.name for path in (folder / "notebooks/demo").iterdir()) == [*(f"{step}.ipynb" for step in catalog.STEPS), "study.yaml"]


def test_findings_are_kept_among_all_things_that_were_looked_at():
    """Of a thousand quiet things, 35 have a flagged day in a week: only among these would each be a finding."""
    cells = json.loads((REPOSITORY / "templates/study/4_analyse.ipynb").read_text())["cells"]
    decides = next("".join(cell["source"]) for cell in cells if "benjamini_hochberg(worst" in "".join(cell["source"]))
    things = pd.DataFrame({"entity": np.repeat(np.arange(1000).astype(str), 7), "site": "A", "date": np.tile(pd.date_range("2026-01-25", DAY), 1000)})
    p_value = np.random.default_rng(1).permutation(np.arange(1, 7001)) / 7001
    judged = things.assign(value=1.0, usual=0.0, score=1 / p_value, p_value=p_value, flagged=p_value <= 0.005)
    rates = {"judged_days": 7, "finding_rate": 0.5, "false_discovery_rate": 0.05, "n_things": 1000}
    for least, n in ((1.0, 0), (1e-6, 1)):  # one that lies beyond all others stands out alone
        names = {"judged": judged.assign(p_value=judged.p_value.where(judged.score < judged.score.max(), judged.p_value * least))} | rates
        exec(decides.partition("findings = worst")[0], names | {"np": np, "pd": pd, "benjamini_hochberg": benjamini_hochberg}, names)
        assert len(names["worst"]) == n


def test_its_incident_is_on_the_front_page_in_the_feed_and_in_the_digest(checkout):
    reports = checkout[0] / "nights/reports"
    digest = json.loads((reports / DAY / "digest.json").read_text())
    incident = next(one for one in digest["incidents"] if one["title"] != "quiet sensor at BETA")
    assert (incident["title"], incident["site"], incident["studies"]) == ("unusual value at ALPHA", "ALPHA", ["demo"])
    assert incident["impact"] == "1 unusual day"
    assert digest["studies"]["demo"]["verdict"] == "anomalies 2"
    for page in (reports / DAY / "index.html", reports / "feed.xml"):
        assert "unusual value at ALPHA" in page.read_text()
    front = (reports / DAY / "index.html").read_text()
    assert "Which sensors are off?" in front
    assert "sensor-04 was at 75 and not at 40" in front


def test_a_kind_of_source_is_one_file_that_nothing_else_names(checkout):
    folder, printed = checkout
    extracted = pd.read_parquet(folder / "nights/data/raw/demo/values.parquet")
    assert extracted.entity.value_counts().reindex(["sensor-04", "sensor-05"]).tolist() == [60, 60]
    bad = pd.read_csv(folder / "nights/data/raw/demo/bad_lines.csv")
    assert bad.text.str.strip().tolist() == ["out of paper"]
    for line in ("cards of the Acme logger, 1 file, 120 rows", "a CSV with the columns time, entity, site and value, 1 file, 1,076 rows"):
        assert line in printed["check"][1]
    here, there = ({str(path.relative_to(root)): path.read_bytes() for path in (root / "nightshift").rglob("*.py")} for root in (REPOSITORY, folder))
    assert {name for name, content in there.items() if here.get(name) != content} == {
        f"nightshift/sources/demo/{name}.py" for name in ("__init__", "values", "toy")
    }


def test_a_kind_of_one_entry_and_one_cell_is_an_incident_with_its_label_everywhere(checkout):
    reports = checkout[0] / "nights/reports"
    digest = json.loads((reports / DAY / "digest.json").read_text())
    [incident] = [one for one in digest["incidents"] if one["kinds"] == ["quiet"]]
    assert (incident["title"], incident["site"], incident["studies"]) == ("quiet sensor at BETA", "BETA", ["demo"])
    for page in (reports / DAY / "index.html", reports / "feed.xml"):
        assert "quiet sensor at BETA" in page.read_text(), page
    assert "sensor-07 has sent nothing for three days" in (reports / DAY / "index.html").read_text()


def test_each_incident_leads_to_the_days_that_made_its_finding(checkout):
    reports = checkout[0] / "nights/reports"
    rows = pd.read_csv(reports / DAY / "demo/demo_rows.csv", parse_dates=["time"])
    assert rows.time.dt.tz is not None
    assert sorted(rows.groupby("finding").entity.first()) == ["sensor-04", "sensor-07"]
    places = set("rows-" + rows.finding)
    leading = re.findall(r'<p>Rows behind it: <a href="demo/4_analyse.html#([^"]+)">(\d days?)', (reports / DAY / "index.html").read_text())
    assert {place for place, _ in leading} == places
    assert sorted(words for _, words in leading) == ["1 day", "3 days"]
    report = (reports / DAY / "demo/4_analyse.html").read_text()
    assert all(f'id="{place}"' in report for place in places)


def test_every_row_is_kept_or_rejected_with_a_reason(checkout):
    rejected = pd.read_parquet(checkout[0] / "nights/data/clean/demo_rejected.parquet")
    assert rejected.rejected_because.tolist() == ["unreadable time"]
    assert len(pd.read_parquet(checkout[0] / "nights/data/clean/demo.parquet")) == 20 * 60 - 1 - 4


def test_the_backtest_scores_it(checkout):
    result = json.loads((checkout[0] / "nights/data/backtest.json").read_text())
    assert result["figures"]["recall"]["of"] == "1 of 1"
    assert result["figures"]["precision"]["of"] == "1 of 2"  # the table of true troubles does not list the quiet one


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
