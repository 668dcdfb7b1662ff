"""What studies say of themselves: values as YAML has them, one line for what is wrong, and that notebooks mean the same."""

import json
import os

import pytest
from conftest import REPOSITORY

from nightshift import catalog
from nightshift.catalog import FindingKind, Study

LEAST = "title: T\nquestion: Q?\nkinds: {}\n"


@pytest.fixture
def described(tmp_path, monkeypatch):
    """A function that makes a study of this name from the text of its study.yaml, the only studies that there are."""
    monkeypatch.setattr(catalog, "NOTEBOOKS", tmp_path)

    def describe(text, name="left"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "study.yaml").write_text(text)

    return describe


def test_a_study_says_what_it_is_and_the_rest_has_its_usual_value(described):
    described(LEAST)
    assert catalog.studies() == {"left": Study(title="T", question="Q?", kinds={})}
    assert catalog.steps_of("left") == catalog.STEPS
    assert catalog.finding_tables("left", "4_analyse") == ["left"]
    assert catalog.finding_tables("left", "3_train") == []
    assert catalog.study_of("gone").title == "Gone"
    assert catalog.finding_kinds() == catalog.impact_units() == catalog.troubles() == {}


def test_kinds_units_and_extra_notebooks_are_found_by_name(described):
    described(
        LEAST.replace("kinds: {}", "")
        + "cadence: week\nimpact_units: {cores: {noticeable: 5, whole: true}}\nextra_notebooks: {5_more: {findings: [left_more]}}\n"
        "kinds: {drop: {scope: site}, rise: {cadence: day, benign: true}}\ntroubles: {fall: {shown_by: [drop]}}\n"
    )
    kinds = catalog.finding_kinds()
    assert kinds[("left", "drop")] == FindingKind(scope="site", cadence="week", impact_unit="cores", rows="row")  # three by its study
    assert (kinds[("left", "rise")].cadence, kinds[("left", "rise")].benign) == ("day", True)
    assert catalog.impact_units()["cores"].noticeable == 5.0
    assert catalog.steps_of("left") == [*catalog.STEPS, "5_more"]
    assert catalog.finding_tables("left", "5_more") == ["left_more"]
    assert catalog.troubles()["fall"][0] == "left"


def test_an_extra_notebook_follows_the_step_that_it_reads(described):
    described(LEAST + "extra_notebooks: {5_more: {findings: [left_more]}, 6_good: {reads: 4_analyse}, 7_fits: {reads: 3_train}}\n")
    assert catalog.steps_after("left", "1_extract") == ["2_preprocess", "3_train", "4_analyse", "5_more", "6_good", "7_fits"]
    assert catalog.steps_after("left", "3_train") == ["4_analyse", "6_good", "7_fits"]
    assert catalog.steps_after("left", "4_analyse") == ["6_good"]
    assert catalog.steps_after("left", "6_good") == []
    outputs = [catalog.output_of("left", step) for step in ("4_analyse", "5_more", "6_good")]
    assert outputs == ["data/findings/left.parquet", "data/findings/left_more.parquet", "data/scores/.left_6_good"]


def test_a_changed_file_is_read_again(described, tmp_path):
    described(LEAST)
    assert catalog.studies()["left"].title == "T"
    described(LEAST.replace("title: T", "title: New"))
    os.utime(tmp_path / "left/study.yaml", ns=(1, 1))
    assert catalog.studies()["left"].title == "New"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (LEAST.replace("question: Q?\n", ""), "left/study.yaml: question: field required"),
        (LEAST + "colours: C1\n", "left/study.yaml: colours: extra inputs are not permitted"),
        (LEAST.replace("{}", "{x: {scope: moon}}"), "left/study.yaml: kinds.x.scope: input should be 'site', 'service'"),
        (LEAST.replace("{}", "{x: {cadence: month}}"), "left/study.yaml: kinds.x.cadence: input should be 'day' or 'week'"),
        (LEAST.replace("{}", "{x: {benign: 3}}"), "left/study.yaml: kinds.x.benign: input should be a valid boolean"),
        (LEAST.replace("{}", "{x: {impact_unit: tons}}"), "left/study.yaml: kinds.x.impact_unit: 'tons' is none of its impact_units"),
        (LEAST.replace("{}", "{x: 3}"), "left/study.yaml: kinds.x: input should be a valid dictionary"),
        (LEAST + "impact_units: {cores: {noticeable: 0}}\n", "impact_units.cores.noticeable: input should be greater than 0"),
        (LEAST + "troubles: {fall: {shown_by: []}}\n", "troubles.fall.shown_by: list should have at least 1 item"),
        (LEAST + "extra_notebooks: {5_more: {findings: [right_more]}}\n", "extra_notebooks.5_more: right_more must begin with left_"),
        ("", "left/study.yaml: it: input should be a valid dictionary"),
        ("title: [", "left/study.yaml cannot be read: it is no YAML: while parsing"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(described, text, line):
    described(text)
    with pytest.raises(ValueError, match=r"study\.yaml") as error:
        catalog.studies()
    assert line in str(error.value)
    assert "\n" not in str(error.value)


# --------------------------------------------------------------------------------------------------- the studies that there are


def first_cell(notebook):
    return " ".join("".join(json.loads((REPOSITORY / "notebooks" / notebook).read_text())["cells"][0]["source"]).split())


@pytest.mark.parametrize("study", sorted(catalog.studies()))
def test_a_study_and_its_notebooks_say_the_same(study):
    entry, folder = catalog.studies()[study], REPOSITORY / "notebooks" / study
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == catalog.steps_of(study)
    assert entry.question in first_cell(f"{study}/4_analyse.ipynb")
    for step in catalog.steps_of(study):
        named = first_cell(f"{study}/{step}.ipynb").partition("*Writes*")[2]
        assert all(f"data/findings/{table}.parquet" in named for table in catalog.finding_tables(study, step)), step


@pytest.mark.parametrize(("study", "kind"), list(catalog.finding_kinds()))
def test_every_kind_is_one_that_the_study_finds_and_has_words_for_people(study, kind):
    texts = [path.read_text() for path in (REPOSITORY / "notebooks" / study).glob("[45]_*.ipynb")]
    modules = [path for room in ("detectors", "analysis") for path in (REPOSITORY / "nightshift" / room).glob("*.py")]
    texts += [path.read_text() for path in [*modules, REPOSITORY / "helpers.py"]]
    node_trouble = ("cpuoccupy", "cachecopy", "membw", "memleak", "unknown")  # labels of the data
    assert kind in " ".join(texts) or kind in node_trouble or (study == "transfers" and kind.partition("_")[0] in " ".join(texts))
    meant = catalog.finding_kinds()[(study, kind)]
    assert meant.scope != "other"
    assert meant.label
    assert meant.description


def test_no_unit_trouble_or_colour_means_two_things():
    studies = catalog.studies().values()
    for names in ([unit for s in studies for unit in s.impact_units], [name for s in studies for name in s.troubles], [s.colour for s in studies]):
        assert len(names) == len(set(names))
    kinds = {kind for _, kind in catalog.finding_kinds()}
    for _, trouble in catalog.troubles().values():
        assert {*trouble.shown_by, *trouble.shown_at_site} <= kinds
