"""A product that is missing, damaged or of another version costs one line and its own study or night, and the rest is published."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from incident_tables import DAY, MODEL, executed, incident, write_digest, write_study

from helpers import write_json, write_parquet
from nightshift import night
from nightshift.assurance import REASSURING
from nightshift.notify import policy
from nightshift.reporting import archive, pages, products, site, studies
from nightshift.runs import RESERVATIONS, VERSION, read_run, record_path, write_record

BEFORE = "2026-01-30"
CONFIG = f"""day: {DAY}
studies: {{transfers: , accounting: }}
mail: {{from: a@example.org, server: 'smtps://localhost:1', to: [{{address: b@example.org}}], failures: [c@example.org]}}
"""


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """A products folder with two nights of two studies, in which nothing goes on; both are published."""
    root = tmp_path_factory.mktemp("nights")
    for day in (BEFORE, DAY):
        for study in ("transfers", "accounting"):
            write_study(root, study, day)
        write_digest(root, [], ["transfers", "accounting"], day=day)
        site.render_night(root, day, dict.fromkeys(("transfers", "accounting"), day))
    return root


@pytest.fixture
def nights(two_nights, tmp_path):
    return shutil.copytree(two_nights, tmp_path, dirs_exist_ok=True)


def published(root, monkeypatch, capsys):
    """(exit code, lines of stderr, front page as text, digest.json, all mail as text) of the night as the command publishes it."""
    config = root / "site.yaml"
    config.write_text(f"{CONFIG}products: {root}\n")
    with monkeypatch.context() as patch:
        patch.setattr("nightshift.notify.policy.send_night", lambda *_: [])  # the drafts below say what would go out
        code = night.publish(config)
    lines = capsys.readouterr().err.splitlines()
    assert policy.send_night(root, DAY, yaml.safe_load(config.read_text()), dry_run=True) == []
    capsys.readouterr()
    drafts = [message_from_bytes(path.read_bytes(), policy=default) for path in sorted((root / f"data/mail/{DAY}").glob("*.eml"))]
    texts = [f"{one['Subject']} to {one['To']}: {one.get_body(('plain',)).get_content()}" for one in drafts]
    front = " ".join(BeautifulSoup((root / f"reports/{DAY}/index.html").read_text(), "html.parser").get_text().split())
    return code, lines, front, json.loads((root / f"reports/{DAY}/digest.json").read_text(), parse_constant=pytest.fail), "\n".join(texts)


def test_a_night_is_rendered_again_only_after_something_changed(nights, monkeypatch, capsys):
    rendered, render, folder = [], site.render_night, nights / f"reports/{DAY}"
    monkeypatch.setattr(site, "render_night", lambda *of, **more: rendered.append(of[1]) or render(*of, **more))

    monkeypatch.setattr("nightshift.notify.policy.send_night", lambda *_: [])
    (nights / "site.yaml").write_text(f"{CONFIG}products: {nights}\n")

    def publish():
        code = night.publish(nights / "site.yaml")
        return code, capsys.readouterr(), (folder / "index.html").read_text()

    first = publish()
    assert (first[0], rendered) == (0, [DAY])
    assert publish() == first
    assert rendered == [DAY]
    for path in (folder / "index.html", nights / "data/other.json", folder / "pictures/0.webp"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("other")
        assert publish() == first
        assert publish() == first
    assert rendered == [DAY] * 4, "once for each change"


def test_a_night_that_went_wrong_is_rendered_again(nights, monkeypatch, capsys):
    (nights / f"data/incidents/{DAY}.parquet").write_bytes(b"PAR1")
    assert published(nights, monkeypatch, capsys)[0] == 1
    assert not (nights / "data/.published.json").exists()


def test_an_undamaged_night_may_reassure(nights, monkeypatch, capsys):
    code, lines, front, shown, _ = published(nights, monkeypatch, capsys)
    assert (code, lines) == (0, [])
    assert shown["headline"] == "Nothing to report: all 2 studies reported, and no incident is new or ongoing."
    assert shown["headline"] in front


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(column):
    return lambda path: pd.read_parquet(path).drop(columns=column).to_parquet(path)


def text(content):
    return lambda path: path.write_text(content)


def metrics(**changes):
    return lambda path: path.write_text(json.dumps({"models": [{name: value for name, value in (MODEL | changes).items() if value != "gone"}]}))


def status(**changes):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def times(path):
    found = pd.read_parquet(path)
    found = found.astype(object)
    found.loc[0] = "soon"
    found.to_parquet(path)


STATUS, METRICS, SCORES, FINDINGS = (
    "data/raw/transfers/status.json",
    "models/transfers/metrics.json",
    "data/scores/transfers.parquet",
    "data/findings/transfers.parquet",
)
NOTEBOOK, RECORD = f"reports/{DAY}/transfers/4_analyse.ipynb", f"reports/{DAY}/transfers/4_analyse.json"
DAMAGES = [
    *[(path, what) for path in (STATUS, METRICS, SCORES, FINDINGS) for what in (lambda path: path.unlink(), cut, text(""))],
    *[(path, text(content)) for path in (STATUS, METRICS) for content in ("{}", "[]", "null", '"ok"', "{" * 5000)],
    *[(STATUS, status(**{name: value})) for name, value in (("state", "fine"), ("window", None), ("window", ["a", "b"]))],
    *[(STATUS, status(rows=value)) for value in ("many", float("inf"))],
    *[(METRICS, metrics(**change)) for change in ({"in_use": "gone"}, {"skill": "gone"}, {"skill": float("nan")}, {"model": "good"}, {"name": 3})],
    *[(METRICS, text(content)) for content in ('{"models": {}}', '{"models": [1]}')],
    (SCORES, lambda path: pd.DataFrame({"value": [1.0]}).to_parquet(path)),
    (SCORES, lambda path: pd.DataFrame().to_parquet(path)),
    (FINDINGS, lambda path: pd.DataFrame().to_parquet(path)),
    (FINDINGS, lambda path: pd.DataFrame({"kind": ["drop"]}).to_parquet(path)),
    (FINDINGS, without("evidence")),
    (FINDINGS, times),
    (NOTEBOOK, cut),
    (NOTEBOOK, text('{"cells": 3}')),
    (RECORD, text("{")),
    (RECORD, text("[]")),
]


NAMES = [f"{n}-{path.split('/')[-1]}" for n, (path, _) in enumerate(DAMAGES)]


@pytest.mark.parametrize(("path", "damage"), DAMAGES, ids=NAMES)
def test_whatever_is_wrong_with_a_product_is_one_line_of_its_study(two_nights, path, damage):
    whole = (two_nights / path).read_bytes() if (two_nights / path).exists() else None
    try:
        damage(two_nights / path)
        study = studies.read_study(two_nights, DAY, "transfers", DAY)
    finally:
        (two_nights / path).unlink(missing_ok=True)
        if whole is not None:
            (two_nights / path).write_bytes(whole)
    assert (study["verdict"], study["hinders"]) == ("failed", True)
    assert path.split("/")[-1] in study["error"]
    assert study["failed_step"] == {STATUS: "1_extract", METRICS: "3_train"}.get(path, "4_analyse")
    assert len(study["error"].splitlines()) == 1
    assert str(two_nights) not in study["error"]


@pytest.mark.parametrize(("path", "damage"), [(STATUS, text("{}")), (METRICS, metrics(in_use="gone")), (SCORES, cut), *DAMAGES[-6:]])
def test_a_damaged_product_is_the_failure_of_its_study(nights, monkeypatch, capsys, path, damage):
    damage(nights / path)
    code, lines, front, outcome, mailed = published(nights, monkeypatch, capsys)
    assert code == 1
    bad, good = outcome["studies"]["transfers"], outcome["studies"]["accounting"]
    assert (bad["verdict"], good["verdict"]) == ("failed", "ok")
    assert path.split("/")[-1] in bad["error"]
    assert " ".join(bad["error"].split()) in front
    assert any(bad["error"] in line for line in lines)
    assert "c@example.org" in mailed
    assert bad["error"][:60] in " ".join(mailed.split())
    assert "1 of 2 studies reported; nothing new is known of transfers (failed)" in outcome["headline"]
    assert not [phrase for phrase in REASSURING if phrase in (front + mailed + outcome["headline"]).lower()]
    for name in ("transfers/4_analyse", "accounting/4_analyse", "digest"):
        assert (nights / f"reports/{DAY}/{name}.html").exists()
    shown = (nights / f"reports/{DAY}/transfers/4_analyse.html").read_text()
    assert ("This page could not be made." in shown) == (path == NOTEBOOK), "no older page stands for it"


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"studies": 3, "incidents": 3}', '{"studies": {"a": {"verdict": "ok", "warnings": 3}}}'),
        '{"studies": {"a": {"verdict": 1}}, "incidents": [{}]}',
    ],
)
def test_a_record_of_a_night_is_read_whole_or_not_at_all(tmp_path, content):
    folder = tmp_path / "reports" / DAY
    folder.mkdir(parents=True)
    for name in ("run.json", "digest.json"):
        (folder / name).write_text(content)
    runs, damaged = archive.read_nights(tmp_path / "reports")
    assert (runs, list(damaged)) == ([], [DAY])
    with pytest.raises(products.Damaged, match=rf"^reports/{DAY}/digest\.json: "):
        archive.read_incidents(tmp_path / "reports", DAY)


@pytest.mark.parametrize("name", ["run.json", "digest.json"])
def test_a_damaged_record_of_an_earlier_night_is_one_line(nights, monkeypatch, capsys, name):
    (nights / f"reports/{BEFORE}/{name}").write_text('{"studies": 3, "incidents": 3}')
    code, lines, front, shown, mailed = published(nights, monkeypatch, capsys)
    assert code == 1
    [line] = lines
    assert line.startswith(f"reports/{BEFORE}/{name}: ")
    assert [line] == shown["problems"]
    assert line in front
    assert line in " ".join(mailed.split())
    index, feed = ((nights / "reports" / page).read_text() for page in ("index.html", "feed.xml"))
    assert BEFORE in index
    assert DAY in feed


def test_what_the_digest_warned_of_is_said_everywhere(nights, monkeypatch, capsys):
    path, warning = record_path(nights / "reports" / DAY, "", "digest"), "Some feedback is left out: feedback.csv line 2 was changed"
    run = read_run(nights / "reports" / DAY, "", "digest")
    write_record(run | {"version": VERSION, "study": "", "step": "digest", "values": {"warnings": [warning, warning, 3]}}, path)
    code, lines, front, shown, mailed = published(nights, monkeypatch, capsys)
    assert (code, lines, shown["digest"]["notes"]) == (0, [warning], [warning])
    assert warning in front
    assert warning in " ".join(mailed.split())


def test_a_page_that_cannot_be_rendered_is_replaced_and_is_a_failure(nights, monkeypatch, capsys):
    path = nights / f"reports/{DAY}/transfers/2_preprocess.ipynb"
    executed(path, ("1", {"text/html": "x"}), ended=f"{DAY}T05:00:00+00:00")
    render = pages.render_notebook

    def fails(notebook, *others):
        if len(notebook["cells"]) > 1:
            raise RecursionError("too deep")
        return render(notebook, *others)

    monkeypatch.setattr(pages, "render_notebook", fails)
    code, _, front, shown, _ = published(nights, monkeypatch, capsys)
    line = "the page transfers/2_preprocess.html could not be made: RecursionError: too deep"
    assert (code, shown["studies"]["transfers"]["verdict"], shown["studies"]["transfers"]["error"]) == (1, "failed", line)
    assert line in front
    assert "too deep" in path.with_suffix(".html").read_text()
    monkeypatch.undo()
    assert published(nights, monkeypatch, capsys)[0] == 0, "the next try makes the page"


@pytest.mark.parametrize("name", ["front.html.j2", "days.html.j2"])
def test_a_front_page_that_cannot_be_made_says_so_and_is_no_older_one(nights, monkeypatch, capsys, name):
    write, target = pages.write_page, nights / "reports" / (DAY if name == "front.html.j2" else "") / "index.html"

    def fails(path, template, **values):
        if template == name:
            raise ValueError("no template")
        write(path, template, **values)

    for module in (site, archive):
        monkeypatch.setattr(module, "write_page", fails)
    code, lines, _, shown, mailed = published(nights, monkeypatch, capsys)
    assert code == 1
    assert any("could not be made: ValueError" in line for line in lines)
    assert "could not be made: ValueError" in target.read_text()
    assert "could not be made: ValueError" in shown["problems"][0]
    assert "could not be made: ValueError" in " ".join(mailed.split())


def test_a_step_that_did_not_run_leaves_no_older_page(nights, monkeypatch, capsys):
    for path in (NOTEBOOK, f"reports/{DAY}/digest.ipynb"):
        (nights / path).unlink()
    code, _, front, shown, _ = published(nights, monkeypatch, capsys)
    assert (code, shown["digest"]["outcome"]) == (1, "not run")
    for name in ("transfers/4_analyse", "digest"):
        assert "did not run, and this page was from an earlier run." in (nights / f"reports/{DAY}/{name}.html").read_text()
    assert "The digest did not run" in front


def test_a_step_that_was_killed_before_its_notebook_was_written_is_one_line(nights, monkeypatch, capsys):
    (nights / NOTEBOOK).unlink()
    run = read_run(nights / "reports" / DAY, "transfers", "4_analyse")
    write_record(run | {"version": VERSION, "study": "transfers", "step": "4_analyse", "outcome": "running", "process": {}}, nights / RECORD)
    code, lines, front, shown, _ = published(nights, monkeypatch, capsys)
    assert (code, shown["studies"]["transfers"]["verdict"]) == (1, "failed")
    assert "transfers failed in 4_analyse: it was stopped before it ended" in lines
    assert "it was stopped before it ended" in front
    page = (nights / f"reports/{DAY}/transfers/4_analyse.html").read_text()
    assert "4_analyse.ipynb is not there: its run was stopped before it wrote anything" in page


def test_data_of_another_night_are_stale_whatever_ran(nights, monkeypatch, capsys):
    status(window=["2026-01-01", BEFORE])(nights / STATUS)
    write_digest(nights, [], ["accounting"], ["transfers"])
    code, _, front, shown, mailed = published(nights, monkeypatch, capsys)
    line = f"its data end on {BEFORE}, not on {DAY}, so nothing is known of tonight"
    assert (code, shown["studies"]["transfers"]["verdict"], shown["studies"]["transfers"]["error"]) == (1, "stale", line)
    assert shown["headline"] == "1 of 2 studies reported; nothing new is known of transfers (stale)."
    assert line in front
    assert line in " ".join(mailed.split())


def test_products_of_a_later_night_leave_the_pages_of_an_earlier_one(nights, capsys):
    status(window=["2026-01-01", "2026-02-01"])(nights / STATUS)
    (nights / "site.yaml").write_text(f"{CONFIG}products: {nights}\n")
    assert night.publish(nights / "site.yaml") == 2
    assert "the products are those of 2026-02-01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ((["transfers"], ["accounting"]), "it was made from the findings of transfers, and tonight's are those of accounting and transfers"),
        ((["transfers", "accounting", "tickets"], []), "it was made from the findings of accounting, tickets and transfers"),
        (([], []), "it does not say which studies it was made from"),
    ],
)
def test_a_digest_of_other_studies_is_not_that_of_tonight(nights, monkeypatch, capsys, parameters, line):
    write_digest(nights, [incident("an outage")], *parameters)
    code, lines, front, shown, _ = published(nights, monkeypatch, capsys)
    assert (code, shown["digest"]["outcome"], shown["incidents"], shown["counts"]) == (1, "failed", [], None)
    assert line in shown["digest"]["error"]
    assert any(line in one for one in lines)
    assert line in front
    assert "an outage" not in front
    page = " ".join(BeautifulSoup((nights / f"reports/{DAY}/digest.html").read_text(), "html.parser").main.get_text().split())
    assert page.startswith("This digest is not used: it ")


def test_a_digest_that_began_before_a_study_ended_is_not_that_of_tonight(nights, monkeypatch, capsys):
    executed(nights / NOTEBOOK, ended=f"{DAY}T23:30:00+00:00")
    _, _, front, shown, _ = published(nights, monkeypatch, capsys)
    assert shown["digest"]["error"] == "it is out of date: it began before the last of the studies had ended"
    assert shown["digest"]["error"] in front


def test_findings_that_somebody_changed_are_not_published(nights, monkeypatch, capsys):
    record = {"version": 1, "outcome": "ok", "products": {FINDINGS: {"size": 1, "mtime_ns": 1, "sha256": "0" * 64}}, "ended": f"{DAY}T05:00:00Z"}
    write_json(record, nights / RECORD)
    _, _, front, shown, _ = published(nights, monkeypatch, capsys)
    assert shown["studies"]["transfers"]["error"] == f"{FINDINGS}: it is not what the chain wrote; somebody changed it since"
    assert shown["studies"]["transfers"]["error"] in front


@pytest.mark.parametrize("verdict", RESERVATIONS)
def test_warnings_and_reservations_are_on_every_page_that_is_read(nights, monkeypatch, capsys, verdict):
    warnings, reason = ["The alias lumen fits no record."], "43 weeks of 3 accounts can show nothing; 60 weeks would."
    values = {"verdict": verdict, "verdict_reason": reason, "warnings": warnings}
    write_json({"version": 1, "outcome": "ok", "values": values, "ended": f"{DAY}T05:00:00Z"}, nights / RECORD)
    code, lines, front, outcome, mailed = published(nights, monkeypatch, capsys)
    assert code == 0, "it ran; that it knows little is no failure"
    assert outcome["studies"]["transfers"]["verdict"] == verdict
    assert f"{verdict.capitalize()}. {reason}" in front
    assert (outcome["studies"]["transfers"]["warnings"], outcome["studies"]["transfers"]["reason"]) == (warnings, reason)
    shown = BeautifulSoup((nights / f"reports/{DAY}/transfers/4_analyse.html").read_text(), "html.parser").main.get_text()
    run = json.loads((nights / f"reports/{DAY}/run.json").read_text())["studies"]["transfers"]
    for sentence in (front, "\n".join(lines), shown, " ".join(mailed.split()), json.dumps(run)):
        assert warnings[0] in sentence
        assert reason in sentence
    write_study(nights, "transfers", findings=3)
    write_digest(nights, [incident("an outage")], ["transfers", "accounting"], headline="An outage.")
    _, _, front, outcome, _ = published(nights, monkeypatch, capsys)
    assert outcome["studies"]["transfers"]["verdict"] == f"anomalies 3, {verdict}"
    assert f"3 findings, {verdict}" in front
    assert outcome["headline"] == f"An outage. 1 of 2 studies reported; not all is known of transfers (3 findings, {verdict})."


def test_moments_that_are_none_and_pictures_that_are_gone_are_no_obstacle(nights, monkeypatch, capsys):
    status(newest="NaT", state="partial", bad_lines=3, missing_days=[DAY])(nights / STATUS)
    found = pd.read_parquet(nights / FINDINGS)
    found.loc[0] = ["transfers", "slow_link", "link", "S", pd.NaT, pd.NaT, 1.0, 0.01, None, None, "s", "It is slow.", "plots/gone.png", 2.0, "GB"]
    write_parquet(found, nights / FINDINGS)
    code, lines, front, _, _ = published(nights, monkeypatch, capsys)
    assert code == 0
    assert lines == ["transfers: warning: The data are partial: 3 lines, 1 day missing or not readable."]
    assert "partial; 5 rows, newest not known" in front
    assert not [bad for bad in ("NaT", "nan", "None") if bad in front]


def test_a_night_that_has_not_begun_is_refused(nights, monkeypatch, capsys):
    tomorrow = str(datetime.now(UTC).date() + timedelta(1))
    before = {path: path.stat().st_mtime_ns for path in nights.rglob("*")}
    with pytest.raises(ValueError, match=f"the night {tomorrow} has not begun"):
        site.render_night(nights, tomorrow, {"transfers": tomorrow})
    (nights.parent / "site.yaml").write_text(f"{CONFIG}products: {nights}\n")
    assert night.publish(nights.parent / "site.yaml", tomorrow) == 2
    assert f"the night {tomorrow} has not begun" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in nights.rglob("*")} == before
