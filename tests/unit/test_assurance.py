"""What a night may say of itself: nothing reassures unless every study reported and the digest joined what they found."""

import functools
import html
import itertools
import json
import re
import shutil
from email import message_from_bytes
from email.policy import default

import matplotlib
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import REPOSITORY
from incident_tables import DAY, MODEL, executed

from helpers import FINDING_COLUMNS, write_json
from nightshift import night
from nightshift.assurance import (
    COUNTED,
    REASSURING,
    STATES,
    assure,
    class_of,
    count_phrases,
    simulated_in_words,
    verdict_in_words,
    verdict_of,
)
from nightshift.notify import policy
from nightshift.reporting import pages
from nightshift.runs import execute
from nightshift.wording import joined, plural, skill_in_words

GOOD = {"complete": True, "state": "ok", "of_tonight": True, "n_findings": 0, "n_judged": 5}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ok"),
        ({"n_findings": 7}, "anomalies 7"),
        ({"n_judged": 0}, "nothing judged"),
        ({"history": "too little history"}, "too little history"),
        ({"history": "too little history", "n_findings": 7}, "anomalies 7, too little history"),
        ({"history": "not calibrated"}, "not calibrated"),
        ({"history": "most records rejected", "n_findings": 7}, "anomalies 7, most records rejected"),
        ({"history": "too little history", "n_judged": 0}, "too little history"),
        ({"state": "partial"}, "ok"),
        ({"state": "stale"}, "stale"),
        ({"state": "stale", "n_findings": 7, "history": "too little history"}, "stale"),
        ({"state": "empty", "complete": False}, "empty"),
        ({"state": "failed"}, "failed"),
        ({"state": "unknown", "complete": False}, "failed"),
        ({"complete": False, "n_findings": 7}, "failed"),
        ({"of_tonight": False}, "stale"),
        ({"of_tonight": False, "state": "empty"}, "stale"),
        ({"of_tonight": False, "complete": False}, "failed"),
    ],
)
def test_the_verdict_on_a_study(changes, verdict):
    assert verdict_of(**GOOD | changes) == verdict


def test_only_a_night_of_which_all_is_known_is_complete():
    verdicts = [*STATES, "anomalies 3", "anomalies 3, too little history", "anomalies 0"]
    verdicts += ["too little history", "not calibrated", "nothing judged", "", "unknown"]
    for pair in itertools.product(verdicts, repeat=2):
        for digest in ("ok", "failed", "not run"):
            reference = assure(dict(zip(("left", "right"), pair, strict=True)), digest)
            assert reference.complete == (set(pair) <= {"ok", "anomalies 3"} and digest == "ok")
            sentence = [reference.sentence, reference.chip, reference.in_words({}), reference.findings_line(0)]
            sentence += [reference.headline(n_pressing=n) for n in (0, 1)]
            sentence += [reference.open_line(n, DAY) for n in (None, 0, 1)]
            assert any(phrase in " ".join(sentence).lower() for phrase in REASSURING) == reference.complete
            assert all(reference.chip in one for one in (reference.sentence, reference.headline(n_pressing=1)) if not reference.complete)
            assert reference.counts({}) == ({} if reference.complete else None)
            assert reference.coverage["reported"] + len(reference.coverage["lacking"]) == reference.coverage["expected"] == 2
    assert not assure({}).complete, "no study is no evidence"


def test_what_is_not_known_is_named_with_its_reason():
    reference = assure({"transfers": "ok", "accounting": "failed", "telemetry": "anomalies 2", "certification": "ok", "tickets": "stale"})
    assert reference.sentence == "3 of 5 studies reported; nothing new is known of accounting (failed) and tickets (stale)."
    assert reference.headline(n_pressing=1, headline="An outage.") == f"An outage. {reference.sentence}"
    assert reference.headline(n_pressing=1, headline=f"An outage. {reference.sentence}") == f"An outage. {reference.sentence}", "not twice"
    assert reference.in_words({"new": 2}) == "2 new; 3 of 5 studies reported"
    assert reference.findings_line(7) == "3 of 5 studies reported, with 7 findings."
    partly = assure({"transfers": "anomalies 1, too little history", "tickets": "empty", "accounting": "ok"})
    unknown = "nothing new is known of tickets (empty); not all is known of transfers (1 finding, too little history)"
    assert partly.sentence == f"1 of 3 studies reported; {unknown}."
    digest = assure({"transfers": "ok"}, "failed").sentence
    assert digest == "1 of 1 study reported. The digest failed, so findings were not joined into incidents."


def test_counts_tell_what_goes_on_from_what_was_over_when_first_seen():
    counts = {"new": 14, "ended": 3, "unwatched": 20, "closed": 5}
    assert assure({"a": "ok"}).in_words(counts) == "17 new (3 of them ended), 20 ended before monitoring began"
    assert assure({"a": "ok"}).in_words({"closed": 5}) == "no incident"
    assert count_phrases({"new": 14, "ended": 2, "escalated": 1}) == ["16 new (2 of them ended)", "1 escalated"]
    assert count_phrases({"ended": 1}) == ["1 new (ended)"]
    assert count_phrases({"ended": 2, "new": 0}) == ["2 new (all of them ended)"]
    assert count_phrases({"new": 0, "closed": 3}) == count_phrases({}) == []
    assert not set(COUNTED) - {"new", "ended", "escalated", "ongoing", "resolved", "acknowledged", "silenced", "unwatched"}


@pytest.mark.parametrize(
    ("verdict", "words", "colour"),
    [
        ("anomalies 7", "7 findings", "anomalies"),
        ("anomalies 1", "1 finding", "anomalies"),
        ("anomalies 1, too little history", "1 finding, too little history", "anomalies"),
        ("too little history", "too little history", "too"),
        ("anomalies 2, not calibrated", "2 findings, not calibrated", "anomalies"),
        ("not calibrated", "not calibrated", "not"),
        ("ok", "ok", "ok"),
        ("nothing judged", "nothing judged", "nothing"),
        ("anomalies", "anomalies", "anomalies"),
        ("", "", "failed"),
    ],
)
def test_a_verdict_is_said_as_people_say_it(verdict, words, colour):
    assert (verdict_in_words(verdict), class_of(verdict)) == (words, colour)


def test_numbers_agree_with_their_nouns():
    assert [plural(n, "muting rule") for n in (0, 1, 2)] == ["0 muting rules", "1 muting rule", "2 muting rules"]
    assert [plural(1200, "study"), plural(2, "day"), plural(2, "datum", "data")] == ["1,200 studies", "2 days", "2 data"]
    assert [joined([]), joined(["a"]), joined(["a", "b, c"]), joined("abc")] == ["", "a", "a and b, c", "a, b and c"]
    assert skill_in_words(0.4, 0.35, 0.449) == "0.40 (0.35 to 0.45)"
    assert skill_in_words(-8.5e8, -9e8, 0.1) == "below -10, far worse than the baseline"


# ----------------------------------------------------------------------------------- every subset, through the real parts


TOY = "toystudy"
PARAMETERS = 'day: str = ""  # the night\nproducts: str = ""  # folder\nstate: str = "ok"  # of the data\nfail: bool = False  # whether to\n'
PARAMETERS += 'verdict: str = "ok"  # what is recorded'
CODE = {
    "1_extract": f"""import json, pathlib
assert not fail, "the source is away"
folder = pathlib.Path(products) / "data/raw/{TOY}"
folder.mkdir(parents=True, exist_ok=True)
told = {{"state": state, "rows": 5 * (state != "empty"), "newest": None, "source": "x", "window": ["2026-01-01", day], "sha256": ""}}
(folder / "status.json").write_text(json.dumps(told))""",
    "4_analyse": f"""import pathlib, pandas
from nightshift.runs import record
record("verdict", verdict)
record("verdict_reason", "3 weeks can show nothing; 60 would.")
for name, rows in (("scores", 1), ("findings", 0)):
    path = pathlib.Path(products) / f"data/{{name}}/{TOY}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame([[1.0] * {len(FINDING_COLUMNS)}] * rows, columns={FINDING_COLUMNS!r}).to_parquet(path)""",
}
RUNS = {  # each is executed once
    "ok": ("1_extract", {"state": "ok"}),
    "empty": ("1_extract", {"state": "empty"}),
    "stale": ("1_extract", {"state": "stale"}),
    "away": ("1_extract", {"fail": True}),
    "judged": ("4_analyse", {"verdict": "ok"}),
    "history": ("4_analyse", {"verdict": "too little history"}),
}
MADE_OF = {
    "ok": ["ok", "judged"],
    "empty": ["empty", "judged"],
    "stale": ["stale", "judged"],
    "failed": ["away"],
    "too little history": ["ok", "history"],
}  # the two steps between are written by hand: no state depends on them


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{name of RUNS: a products folder with what the real runner left of that one step of a toy study}."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("NIGHTSHIFT_RUN", "1")
        for name, (step, parameters) in RUNS.items():
            root = tmp_path_factory.mktemp("run")
            cells = [nbformat.v4.new_markdown_cell("# A title\n\nA question?")]
            cells.append(nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}))
            path = root / f"toy/{step}.ipynb"
            path.parent.mkdir()
            notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(CODE[step])])
            notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
            nbformat.write(notebook, path)
            run = execute(path, root / "reports" / DAY, TOY, {"day": DAY, "products": str(root)} | parameters, products=root)
            assert run["outcome"] == ("failed" if name == "away" else "ok"), run["error"]
            made[name] = root
    return made


@pytest.fixture(scope="module")
def rendered():
    """`render_notebook` that renders equal notebooks once, whatever names their cells have: of 195 pages of the subsets 38 differ."""
    kept, render = {}, pages.render_notebook

    def render_once(notebook, album, places=()):
        key = json.dumps([[cell | {"id": ""} for cell in notebook["cells"]], list(places)])
        if key not in kept:
            kept[key] = render(notebook, album, places)
        return kept[key]

    return render_once


def assemble(root, study, runs):
    """Write what the `runs` of the toy study left below `root`, under the name of `study`, and what lies between them."""
    if len(runs) > 1:
        for step in ("2_preprocess", "3_train"):
            executed(root / f"reports/{DAY}/{study}/{step}.ipynb")
        write_json({"study": study, "day": DAY, "models": [MODEL]}, root / f"models/{study}/metrics.json")
    for run in runs:
        for path in [path for folder in ("data", "models", "reports") for path in (run / folder).rglob("*") if path.is_file()]:
            target = root / str(path.relative_to(run)).replace(TOY, study)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".ipynb", ".json"):
                target.write_text(path.read_text().replace(TOY, study))
            else:
                shutil.copy2(path, target)


def execute_here(name, target, parameters):
    """Execute a notebook of the repository in this process, as the chain does in another, to the path `target`."""
    notebook = nbformat.read(REPOSITORY / "notebooks" / name, 4)
    names, outputs = {}, []

    def show(what, raw=False):
        methods = {"text/markdown": "_repr_markdown_", "text/html": "_repr_html_"}
        shown = {mime: getattr(what, method)() for mime, method in methods.items() if hasattr(what, method)}
        outputs.append(nbformat.v4.new_output("display_data", what if raw else {mime: text for mime, text in shown.items() if text}))

    with matplotlib.rc_context(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", show)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(cell.source, names)
                cell.execution_count, cell.outputs = 1, list(outputs)
                cell.source = cell.source if "parameters" in cell.metadata.get("tags", []) else "..."  # most of the page, and no part of this test
                outputs.clear()
            if "parameters" in cell.metadata.get("tags", []):
                names |= parameters
    times = {"start_time": f"{DAY}T00:00:00Z", "end_time": f"{DAY}T23:59:00Z", "duration": 1.0}
    notebook.metadata["papermill"] = {"parameters": parameters} | times | {"start_time": "2100-01-01T00:00:00Z"}  # after all that it reads
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


@functools.cache  # the subsets share most of their pages
def text_of_page(markup):
    """All text of a page but its code."""
    page = BeautifulSoup(markup, "html.parser")
    for code in page.select("details.code, style"):
        code.decompose()
    return page.get_text(" ")


def texts_of(root):
    """{name: all text that a person or a program finds in a product of the night, in lower case}, code of pages left out."""
    found = {}
    pages = [*root.glob("reports/**/*.html"), root / "reports/feed.xml", *root.glob(f"reports/{DAY}/*.json")]
    for path in [*pages, *root.glob(f"data/mail/{DAY}/*.eml")]:
        text = path.read_text()
        if path.suffix == ".html":
            text = text_of_page(text)
        elif path.suffix == ".eml":
            message = message_from_bytes(path.read_bytes(), policy=default)
            parts = [message.get_body((kind,)).get_content() for kind in ("plain", "html")]
            text = f"{message['Subject']} {parts[0]} {BeautifulSoup(parts[1], 'html.parser').get_text(' ')}"
        name = str(path.relative_to(root)).removeprefix("reports/").removeprefix("data/").replace(f"{DAY}/", "")
        found[name] = re.sub(r"\s+", " ", html.unescape(text)).lower()
    return found


@pytest.mark.parametrize("states", list(itertools.product(MADE_OF, repeat=2)), ids=lambda pair: "+".join(pair).replace(" ", "_"))
def test_nothing_reassures_unless_both_studies_reported(tmp_path, monkeypatch, capsys, runs, rendered, states):
    monkeypatch.setattr(pages, "render_notebook", rendered)
    studies = dict(zip(("left", "right"), states, strict=True))
    for study, state in studies.items():
        assemble(tmp_path, study, [runs[name] for name in MADE_OF[state]])
    nights = {study: DAY for study, state in studies.items() if state != "failed"}
    missing = [study for study in studies if study not in nights]
    parameters = {"day": DAY, "products": str(tmp_path), "nights": nights, "missing": missing}
    execute_here("digest.ipynb", tmp_path / f"reports/{DAY}/digest.ipynb", parameters)
    sends = {"from": "a@example.org", "server": "smtps://localhost:1", "to": [{"address": "b@example.org"}], "failures": ["c@example.org"]}
    config = {"day": DAY, "products": str(tmp_path), "studies": dict.fromkeys(studies), "mail": sends | {"only_changes": False}}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(config))
    with monkeypatch.context() as patch:
        patch.setattr("nightshift.notify.policy.send_night", lambda *_: [])
        patch.setattr("nightshift.config.unknown_studies", lambda _: [])  # these two have no study.yaml
        code, stderr = night.publish(tmp_path / "site.yaml"), capsys.readouterr().err.lower()
    assert policy.send_night(tmp_path, DAY, config, dry_run=True) == []
    texts, good = texts_of(tmp_path), states.count("ok")
    assert code == int("failed" in states), stderr
    shown = json.loads((tmp_path / f"reports/{DAY}/digest.json").read_text())
    assert {study: one["verdict"] for study, one in shown["studies"].items()} == studies
    lacking = {study: state for study, state in studies.items() if state != "ok"}
    assert shown["coverage"] == {"reported": good, "expected": 2, "lacking": lacking, "complete": good == 2}
    front = [name for name in texts if name.endswith((".eml", "feed.xml")) or name in ("index.html", "digest.json", "run.json")]
    assert {"index.html", "feed.xml", "digest.json", "run.json", "mail/1-digest.eml", "digest.html", "left/1_extract.html"} <= set(texts)
    if good == 2:
        assert (shown["counts"], [name for name in front if "nothing to report: all 2 studies reported" not in texts[name]]) == ({}, [])
        return
    assert {name: phrase for name, text in (texts | {"stderr": stderr}).items() for phrase in REASSURING if phrase in text} == {}
    sentence = f"{good} of 2 studies reported; nothing new is known of "
    assert [name for name in [*front, "digest.html"] if sentence not in texts[name]] == []
    assert shown["counts"] is None


def test_data_are_called_simulated_where_all_of_them_are():
    assert simulated_in_words(["sample", None, "sample", ""]) == "simulated data"
    assert simulated_in_words(["sample", "events/"]) == "partly simulated data"
    assert simulated_in_words(["events/", None]) == simulated_in_words([]) == ""
