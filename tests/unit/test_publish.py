"""Pages of hand-made executed notebooks."""

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

import helpers
import publish
import sources

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def executed(path, *cells, error="", ended="2026-01-31T05:00:00+00:00", parameters=None):
    """Write an executed notebook with a title, the given (source, output) cells and perhaps a failing last cell."""
    notebook = nbformat.v4.new_notebook(metadata={"papermill": {"parameters": parameters or {}, "duration": 1.5, "end_time": ended}})
    notebook.cells = [nbformat.v4.new_markdown_cell("# A title\n\nA question?")]
    for source, output in cells:
        notebook.cells.append(nbformat.v4.new_code_cell(source, outputs=[nbformat.v4.new_output("display_data", output)] if output else []))
    if error:
        failing = nbformat.v4.new_output("error", ename="ValueError", evalue=error, traceback=["Traceback", f"ValueError: {error}"])
        notebook.cells.append(nbformat.v4.new_code_cell("fail()", outputs=[failing], metadata={"papermill": {"exception": True}}))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return notebook


@pytest.fixture
def night(tmp_path):
    """A products folder with one complete night of the transfers study."""
    for step in publish.STEPS:
        executed(tmp_path / f"reports/2026-01-31/transfers/{step}.ipynb")
    path = tmp_path / "reports/2026-01-31/transfers/4_analyse.ipynb"
    notebook = executed(path, ("say()", {"text/markdown": f"**Two problems**, {helpers.escape(HOSTILE)}."}))
    notebook.cells[-1].metadata["tags"] = ["headline"]
    nbformat.write(notebook, path)
    folder = tmp_path / "data/raw/transfers"
    folder.mkdir(parents=True)
    sources.write_status(folder, state="ok", rows=5, newest="2026-01-31 23:00", source="sample", window=["2026-01-01", "2026-01-31"])
    at = [pd.Timestamp("2026-01-31", tz="UTC")] * 2
    finding = ["transfers", "slow_link", HOSTILE, "S", *at, 1.0, 0.01, 9.0, 1.0, "s", HOSTILE, "", 2.0, "GB delayed"]
    findings = pd.DataFrame([finding], columns=helpers.FINDING_COLUMNS)
    helpers.write_parquet(findings, tmp_path / "data/findings/transfers.parquet")
    return tmp_path


@pytest.fixture
def further(night, monkeypatch):
    """The same night of a study that has a further page, which found one more problem."""
    for name in ("4_analyse", "5_more"):
        executed(night / f"notebooks/transfers/{name}.ipynb")
    monkeypatch.setattr(publish, "ROOT", night)
    path = night / "reports/2026-01-31/transfers/5_more.ipynb"
    notebook = executed(path, ("say()", {"text/markdown": "**One idle GPU.**"}))
    notebook.cells[0].source += "\n\n*Writes*: `data/findings/transfers_gpus.parquet` (one row per GPU)."
    notebook.cells[-1].metadata["tags"] = ["headline"]
    nbformat.write(notebook, path)
    found = pd.read_parquet(night / "data/findings/transfers.parquet").assign(kind="idle_gpu", entity="n1 gpu 0")
    helpers.write_parquet(found, night / "data/findings/transfers_gpus.parquet")
    return night


def page(path):
    return BeautifulSoup(path.read_text(), "html.parser")


def test_hostile_names_stay_text_on_every_page(night):
    front, _ = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    for path in [front, front.parent / "transfers/4_analyse.html", front.parents[1] / "index.html"]:
        assert not page(path).select("script, img[src=x], [onerror]")
        assert HOSTILE in page(path).get_text()


def test_markup_in_raw_outputs_is_disarmed(tmp_path):
    notebook = executed(tmp_path / "n.ipynb", ("x", {"text/html": f'<table><tr><td>{HOSTILE}</td></tr></table><a href="javascript:x()">l</a>'}))
    content, _ = publish.render_notebook(notebook)
    assert not BeautifulSoup(content, "html.parser").select("script, img, [onerror], a[href]")


def test_a_complete_night_says_what_was_found(night):
    front, [study] = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "anomalies 1"
    assert "Two problems" in page(front).get_text()
    run = publish.read_json(front.parent / "run.json")
    assert run["studies"]["transfers"]["steps"]["3_train"]["outcome"] == "ok"
    assert run["studies"]["transfers"]["data"]["sha256"]


def test_moments_that_a_source_does_not_know_are_said_to_be_unknown(night):
    path = night / "data/findings/transfers.parquet"
    found = pd.read_parquet(path)
    none = found.assign(start=found.start.where([False]), end=found.end.where([False]))
    helpers.write_parquet(none, path)
    front, [study] = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "anomalies 1"
    assert [cell.get_text() for cell in page(front).select("table td.time")] == ["not known", "not known"]
    helpers.write_parquet(pd.concat([found, none]), path)
    front, _ = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert [cell.get_text() for cell in page(front).select("table td.time")] == ["2026-01-31", "2026-01-31", "not known", "not known"]


def test_a_further_page_counts_on_the_front_page_and_is_in_the_navigation(further):
    front, [study] = publish.publish(further, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "anomalies 2"
    text = page(front).get_text()
    assert "2 problems found" in text
    assert "Two problems" in text
    assert "One idle GPU." in text
    assert "n1 gpu 0" in text
    assert page(front).select_one('a[href="transfers/5_more.html"]')
    assert page(front.parent / "transfers/4_analyse.html").select_one('header a[href="5_more.html"]')
    assert page(front.parent / "transfers/5_more.html").select_one('header [aria-current="page"]').get_text() == "5_more"


def test_a_further_page_that_failed_leaves_the_findings_of_the_analysis(further):
    report = further / "reports/2026-01-31/transfers"
    executed(report / "5_more.ipynb", error="no GPU")
    front, [study] = publish.publish(further, "2026-01-31", {"transfers": "2026-01-31"})
    assert (study["verdict"], study["failed_step"], study["error"]) == ("failed", "5_more", "ValueError: no GPU")
    assert list(study["findings"].kind) == ["slow_link"]
    assert "Two problems" in page(front).get_text()


def test_a_failed_analysis_leaves_the_findings_of_a_further_page(further):
    executed(further / "reports/2026-01-31/transfers/4_analyse.ipynb", error="no model")
    _, [study] = publish.publish(further, "2026-01-31", {"transfers": "2026-01-31"})
    assert (study["verdict"], study["failed_step"], study["headline"]) == ("failed", "4_analyse", "One idle GPU.")
    assert list(study["findings"].kind) == ["idle_gpu"]


def test_a_failed_step_comes_first_on_its_page_and_on_the_front_page(night):
    executed(night / "reports/2026-01-31/transfers/2_preprocess.ipynb", error="the column bytes is missing")
    for step in ("3_train", "4_analyse"):
        (night / f"reports/2026-01-31/transfers/{step}.ipynb").unlink()
    front, [study] = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "failed"
    assert "Failed in 2_preprocess. ValueError: the column bytes is missing" in " ".join(page(front).get_text().split())
    failed = page(front.parent / "transfers/2_preprocess.html")
    assert "the column bytes is missing" in failed.main.find().get_text()  # the first thing in the page
    assert failed.select_one("#failed-cell pre.traceback")
    assert "Two problems" not in page(front).get_text(), "findings of an earlier run shown as tonight's"


def test_a_notebook_that_was_killed_is_failed_with_its_last_words(night):
    path = night / "reports/2026-01-31/transfers/4_analyse.ipynb"
    executed(path, ended=None)
    path.with_suffix(".log").write_text("Killed\n")
    _, [study] = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "failed"
    assert "Killed" in study["error"]


@pytest.mark.parametrize(("judged", "verdict"), [(0, "nothing judged"), (1, "ok")])
def test_a_night_without_findings_is_ok_only_where_something_was_judged(night, judged, verdict):
    helpers.write_parquet(pd.DataFrame(columns=helpers.FINDING_COLUMNS), night / "data/findings/transfers.parquet")
    helpers.write_parquet(pd.DataFrame({"request_id": ["a"][:judged], "score": [1.0][:judged]}), night / "data/scores/transfers.parquet")
    front, [study] = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == verdict
    assert page(front).select_one("h2 .verdict").get_text() == verdict
    assert f".verdict.{verdict.split()[0]} {{" in (publish.ROOT / "templates/style.css").read_text()


@pytest.mark.parametrize(("state", "verdict"), [("stale", "stale"), ("empty", "empty"), ("partial", "anomalies 1")])
def test_the_state_of_the_data_shows_in_the_verdict(night, state, verdict):
    sources.write_status(night / "data/raw/transfers", state=state, rows=5, newest="2026-01-20", source="sample", window=["2026-01-01", "2026-01-31"])
    front, [study] = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == verdict
    assert state in page(front).get_text()


def test_pages_are_rendered_once_and_again_when_the_notebook_changes(night):
    front, _ = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    target = front.parent / "transfers/1_extract.html"
    before = target.stat().st_mtime_ns
    publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert target.stat().st_mtime_ns == before
    executed(target.with_suffix(".ipynb"), ("1", None))
    publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert target.stat().st_mtime_ns > before


def test_a_night_without_training_links_to_the_training_of_an_earlier_night(night):
    publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    for step in ("1_extract", "2_preprocess", "4_analyse"):
        executed(night / f"reports/2026-02-01/transfers/{step}.ipynb")
    front, [study] = publish.publish(night, "2026-02-01", {"transfers": "2026-02-01"})
    assert study["verdict"] == "anomalies 1"
    assert page(front).select_one('a[href="../2026-01-31/transfers/3_train.html"]')
    assert len(page(front).select("svg.history rect")) == 2


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (None, "none"),
        ({"name": "log_size", "baseline_name": "log_size"}, "log size, a trivial baseline"),
        (
            {"name": "lstm", "baseline_name": "log_size", "skill": 0.4, "skill_low": 0.35, "skill_high": 0.449},
            "lstm, skill 0.40 (0.35 to 0.45) against log size",
        ),
    ],
)
def test_the_model_that_scores_is_one_line(model, line):
    assert publish.model_line(model) == line


def test_parameters_show_value_default_and_meaning():
    cell = nbformat.v4.new_code_cell('days: int = 42  # length, days\nurl: str = "a=b"  # where', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"parameters": {"days": 7}}})
    assert publish.parameters_of(notebook) == [
        {"name": "days", "value": 7, "default": 42, "changed": True, "meaning": "length, days"},
        {"name": "url", "value": "a=b", "default": "a=b", "changed": False, "meaning": "where"},
    ]


def test_an_old_night_is_not_rendered_with_the_findings_of_a_new_one(night, monkeypatch, capsys):
    publish.publish(night, "2026-01-30", {"transfers": "2026-01-30"})
    before = (night / "reports/2026-01-30/run.json").read_bytes()
    (night / "site.yaml").write_text(f"day: 2026-01-30\nproducts: {night}\nstudies: {{transfers: {{}}}}\n")
    monkeypatch.setattr("sys.argv", ["publish.py", "--config", str(night / "site.yaml")])
    with pytest.raises(SystemExit) as stopped:
        publish.main()
    assert stopped.value.code == 2
    assert "the products are those of 2026-01-31" in capsys.readouterr().err
    assert (night / "reports/2026-01-30/run.json").read_bytes() == before


def test_an_empty_source_is_no_failure_on_the_front_page(night):
    sources.write_status(night / "data/raw/transfers", state="empty", rows=0, newest="", source="x", window=["2026-01-01", "2026-01-31"])
    executed(night / "reports/2026-01-31/transfers/3_train.ipynb", error="0 finished transfers")
    front, [study] = publish.publish(night, "2026-01-31", {"transfers": "2026-01-31"})
    assert study["verdict"] == "empty"
    assert "The source holds no row from 2026-01-01 to 2026-01-31." in page(front).get_text()
    assert "Failed in" not in page(front).get_text()
