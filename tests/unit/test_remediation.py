"""Solutions: what is proposed, that feedback is never lost nor forged by accident, and that what worked comes first."""

import collections
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift import catalog
from nightshift.cli import app
from nightshift.error_classes import ERRORS, errors_named
from nightshift.remediation import model
from nightshift.remediation.feedback import COLUMNS, UnknownIncident, _append, as_cell, find_incident, read_feedback, record_feedback
from nightshift.remediation.knowledge import holds, offered, read_remediations
from nightshift.remediation.model import SHOWN, chances, first_choices, rank, table_of_proposals
from nightshift.remediation.worlds import Record, belief, choices_of, draw_around, estimate

INCIDENTS = [
    {"incident": "20260119-3f2a", "kinds": ["stuck_queue", "slow_fts_server"], "studies": ["transfers"], "site": "", "age_nights": 2},
    {"incident": "20260120-aaaa", "kinds": ["silent"], "studies": ["telemetry"], "site": "=SITE()", "age_nights": 1},
    {"incident": "20260121-b0b0", "kinds": ["slow_destination"], "studies": ["transfers", "tickets"], "site": "AURORA-T1", "age_nights": 1},
]
KNOWN = read_remediations()


@pytest.fixture
def products(tmp_path):
    """A products folder in which three incidents are known, the first two of an earlier night."""
    return with_incidents(tmp_path / "products")


@pytest.fixture
def five(tmp_path, five_given):
    """The file of five feedbacks, in a products folder of its own."""
    return shutil.copytree(five_given, tmp_path / "products") / "feedback/feedback.csv"


@pytest.fixture(scope="module")
def five_given(tmp_path_factory):
    products = with_incidents(tmp_path_factory.mktemp("five") / "products")
    for incident, remediation, worked in [
        ("20260119-3f2a", "restart-fts", True),
        ("20260119-3f2a", "other-fts", False),
        ("20260120-aaaa", "restart-sampler", True),
        ("20260121-b0b0", "fewer-streams", True),
        ("20260121-b0b0", "storage-space", False),
    ]:
        record_feedback(incident, remediation, worked, products=products)
    return products


def with_incidents(products):
    (products / "data/incidents").mkdir(parents=True)
    pd.DataFrame(INCIDENTS[:2]).to_parquet(products / "data/incidents/2026-01-20.parquet")
    pd.DataFrame(INCIDENTS[2:]).to_parquet(products / "data/incidents/2026-01-21.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(products / "data/incidents/2026-01-21_findings.parquet")
    return products


def feedback_of(*rows):
    """A table of feedback from (incident, kind, site, remediation, worked)."""
    return pd.DataFrame(rows, columns=["incident", "kind", "site", "remediation", "worked"]).astype({"worked": bool})


def shown(count, worked, kind, site, remediation):
    """Rows of feedback on `count` incidents of which `worked` were solved."""
    return [(f"{kind}-{site}-{n}", kind, site, remediation, n < worked) for n in range(count)]


# ------------------------------------------------------------------------------------------------------------ knowledge


def kinds_of_studies():
    """(study, kind) of every kind of finding that a study.yaml describes."""
    return list(catalog.finding_kinds())


def proposed(study, kind, evidence="", night=3):
    """Ids of what is proposed for an incident of one kind, in the order of the file."""
    incident = {"kinds": [kind], "studies": [study], "site": "", "age_nights": night, "evidence": evidence}
    return [one["id"] for one, _, _ in offered(KNOWN, incident)]


def test_every_kind_of_every_study_has_two_to_five_proposals():
    assert len(kinds_of_studies()) >= 32
    for study, kind in kinds_of_studies():
        fitting = proposed(study, kind) + [one["id"] for one in KNOWN if one["when"].get("several_studies") and kind in one["kinds"]]
        assert 2 <= len(fitting) <= 5, (study, kind, fitting)


def test_no_proposal_is_for_a_kind_that_no_study_has():
    names = {name for study, kind in kinds_of_studies() for name in (kind, f"{study}.{kind}")}
    assert {kind for one in KNOWN for kind in one["kinds"]} <= names


def test_proposals_are_short_and_many_serve_several_kinds():
    assert all(40 <= len(one["proposal"]) <= 200 and one["proposal"].endswith((".", "?")) for one in KNOWN)
    assert sum(len(one["kinds"]) > 1 for one in KNOWN) > len(KNOWN) / 2


def test_every_proposal_of_the_repository_says_by_what_one_sees_that_it_helped():
    without = [one["id"] for one in KNOWN if not (30 <= len(one["verify"]) <= 140 and one["verify"].endswith("."))]
    assert not without
    assert len({one["verify"] for one in KNOWN}) == len(KNOWN)


def test_a_file_of_ones_own_may_leave_out_how_to_verify(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump([GOOD, GOOD | {"id": "other-one", "verify": "It runs."}]))
    remediations = read_remediations(path)
    assert [one["verify"] for one in remediations] == ["", "It runs."]
    assert chances(remediations, feedback_of(), "drop", "").verify.tolist() == ["", "It runs."]


GOOD = {"id": "try-it", "kinds": ["drop"], "proposal": "Try it.", "effort": "10 min"}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("a text", "must have id"),
        ({"id": "x1"}, "must have id"),
        (GOOD | {"colour": "red"}, "nothing else"),
        (GOOD | {"id": "=cmd()"}, "id of 2 to 40"),
        (GOOD | {"id": None}, "id of 2 to 40"),
        (GOOD | {"kinds": "drop"}, "a list"),
        (GOOD | {"kinds": []}, "a list"),
        (GOOD | {"kinds": [1]}, "a list"),
        (GOOD | {"proposal": " "}, "in words"),
        (GOOD | {"effort": "soon"}, "10 min"),
        (GOOD | {"effort": 10}, "10 min"),
        (GOOD | {"when": {"site": "("}}, "conditions"),
        (GOOD | {"when": {"moon": True}}, "conditions"),
        (GOOD | {"when": {"lasting_nights": True}}, "conditions"),
        (GOOD | {"when": ["site"]}, "conditions"),
        (GOOD | {"when": {"named_error": "yes"}}, "conditions"),
        (GOOD | {"evidence": "tape"}, "needs as evidence a list"),
        (GOOD | {"evidence": [""]}, "needs as evidence a list"),
        (GOOD | {"evidence": ["("]}, "needs as evidence a list"),
        (GOOD | {"verify": ""}, "needs as verify a sentence"),
        (GOOD | {"verify": ["It runs."]}, "needs as verify a sentence"),
    ],
)
def test_a_bad_entry_is_named_in_one_line(tmp_path, entry, says):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump([GOOD, entry]))
    with pytest.raises(ValueError, match=says) as error:
        read_remediations(path)
    assert str(error.value).startswith("mine.yaml: proposal 2")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- [", "a: 1", yaml.safe_dump([GOOD, GOOD]), "\t- x", "- \xff"])
def test_a_bad_file_is_named_in_one_line(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"mine\.yaml") as error:
        read_remediations(path)
    assert "\n" not in str(error.value)


def test_conditions():
    one = {"studies": ["a", "b"], "site": "AURORA-T1", "age_nights": 3}
    assert holds({}, one)
    assert holds({"several_studies": True, "site": "-T1$", "lasting_nights": 3}, one)
    assert not holds({"several_studies": False}, one)
    assert not holds({"site": "-T2$"}, one)
    assert not holds({"lasting_nights": 4}, one)
    assert holds({"several_studies": False}, one | {"studies": ["a"]})


# ------------------------------------------------------------------------------------------------------------- feedback


def test_feedback_comes_back_as_it_was_given(five):
    feedback, trouble = read_feedback(five)
    assert trouble == ""
    assert list(feedback.remediation) == ["restart-fts", "other-fts", "restart-sampler", "fewer-streams", "storage-space"]
    assert list(feedback.worked) == [True, False, True, True, False]
    assert list(feedback.kind) == ["stuck_queue", "stuck_queue", "telemetry.silent", "slow_destination", "slow_destination"]
    assert pd.to_datetime(feedback["at"], utc=True).is_monotonic_increasing
    assert list(five.read_text().splitlines()[0].split(",")) == COLUMNS


def test_a_damaged_note_of_the_last_row_is_one_line(five):
    five.with_suffix(".last").write_bytes(b"\xff\xfe")
    feedback, trouble = read_feedback(five)
    assert len(feedback) == 5
    assert trouble.startswith("feedback.csv ends with row 5, which is not that which feedback.last says was the last")


def test_no_file_is_no_feedback_and_no_trouble(tmp_path):
    feedback, trouble = read_feedback(tmp_path / "feedback.csv")
    assert (len(feedback), trouble, feedback.worked.dtype) == (0, "", bool)


def test_what_a_table_program_would_run_becomes_text(products):
    for by in ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", " =1", "\u202e=1\x00"]:
        row = record_feedback("20260120-aaaa", "restart-sampler", True, by=by, products=products)
        assert row["by"].startswith("'")
        assert row["site"] == "'=SITE()"
    feedback, trouble = read_feedback(products / "feedback/feedback.csv")
    assert trouble == ""
    assert len(feedback) == 8
    assert not feedback.map(lambda cell: str(cell).startswith(("=", "+", "-", "@"))).any(axis=None)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=120), max_size=4))
def test_any_name_of_a_person_can_be_kept_and_stays_one_line(names):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feedback.csv"
        for name in names:
            _append(path, ["t", "i", "k", "s", "x", "worked", as_cell(name)])
        feedback, trouble = read_feedback(path)
        assert trouble == ""
        assert list(feedback.by) == [as_cell(name) for name in names]
        assert not names or len(path.read_bytes().splitlines()) == len(names) + 1


def change(lines, number, edit):
    return [*lines[:number], edit(lines[number]), *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("edit", "line", "left"),
    [
        (lambda x: change(x, 3, lambda row: row.replace(b",worked,", b",failed,")), 4, 2),
        (lambda x: change(x, 1, lambda row: row.replace(b"restart-fts", b"other-fts")), 2, 0),
        (lambda x: change(x, 5, lambda row: row.replace(b"AURORA", b"BOREAS")), 6, 4),
        (lambda x: x[:2] + x[3:], 3, 1),
        (lambda x: x[:1] + x[2:], 2, 0),
        (lambda x: [x[0], x[2], x[1], *x[3:]], 2, 0),
        (lambda x: [*x[:3], x[2], *x[3:]], 4, 2),
        (lambda x: x[1:], 1, 0),
        (lambda x: [*x[:4], b"2026-01-01,a,b,c,d,worked,me,0\n", *x[4:]], 5, 3),
        (lambda x: [*x[:4], b"\xff\xfe\x00\n", *x[4:]], 5, 3),
        (lambda x: [*x[:4], b"\x00", *x[4:]], 5, 3),
        (lambda x: [line.replace(b",", b";") for line in x], 1, 0),
    ],
)
def test_a_changed_lost_or_moved_row_is_named_and_ends_the_feedback(five, edit, line, left):
    five.write_bytes(b"".join(edit(five.read_bytes().splitlines(keepends=True))))
    before = five.read_bytes()
    feedback, trouble = read_feedback(five)
    assert f"feedback.csv line {line} " in trouble
    assert trouble.endswith(f"; only the feedback before it counts ({left})")
    assert len(feedback) == left
    with pytest.raises(ValueError, match=f"feedback.csv line {line} .* Nothing was recorded") as error:
        record_feedback("20260119-3f2a", "fts-database", True, products=five.parents[1])
    assert "\n" not in str(error.value)
    assert five.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 3, 5])
def test_rows_cut_off_at_the_end_are_missed(five, kept):
    lines = five.read_bytes().splitlines(keepends=True)
    five.write_bytes(b"".join(lines[:kept]))
    feedback, trouble = read_feedback(five)
    assert len(feedback) == max(kept - 1, 0)
    assert "its end was removed" in trouble
    with pytest.raises(ValueError, match="its end was removed"):
        record_feedback("20260119-3f2a", "fts-database", True, products=five.parents[1])


def test_a_table_that_was_deleted_is_missed_and_one_that_was_moved_away_is_not(five):
    five.unlink()
    assert "its end was removed" in read_feedback(five)[1]
    shutil.move(five.parent, five.parents[1] / "old")
    record_feedback("20260119-3f2a", "fts-database", True, products=five.parents[1])
    assert len(read_feedback(five)[0]) == 1


def test_what_a_table_program_does_to_the_look_of_it_does_no_harm(five):
    rows = five.read_text().splitlines()
    quoted = ["\ufeff" + rows[0], *(",".join(f'"{cell}"' for cell in row.split(",")) for row in rows[1:])]
    five.write_bytes("\r\n".join([*quoted, "", ""]).encode())
    feedback, trouble = read_feedback(five)
    assert (len(feedback), trouble) == (5, "")
    record_feedback("20260119-3f2a", "fts-database", False, products=five.parents[1])
    assert (len(read_feedback(five)[0]), read_feedback(five)[1]) == (6, "")


def test_a_last_row_without_its_line_end_is_whole(five):
    five.write_bytes(five.read_bytes().rstrip(b"\n"))
    record_feedback("20260119-3f2a", "fts-database", False, products=five.parents[1])
    feedback, trouble = read_feedback(five)
    assert (len(feedback), trouble) == (6, "")


@pytest.mark.parametrize("torn", [b"2", b"2026-01-31T08:00:00Z,20260119-3f2a,stuck", b'2026,"an open', b"\xe2\x82"])
def test_a_torn_last_line_is_set_aside_by_the_next_feedback(five, torn):
    whole = five.read_bytes()
    five.write_bytes(whole + torn)
    assert (len(read_feedback(five)[0]), read_feedback(five)[1]) == (5, "")
    record_feedback("20260119-3f2a", "fts-database", False, products=five.parents[1])
    assert (len(read_feedback(five)[0]), read_feedback(five)[1]) == (6, "")
    assert five.read_bytes().startswith(whole)
    assert five.with_suffix(".torn").read_bytes() == torn


def test_a_changed_row_is_named_though_another_is_being_written_behind_it(five):
    five.write_bytes(five.read_bytes().replace(b"storage-space", b"fewer-streams") + b"2026-01")
    feedback, trouble = read_feedback(five)
    assert (len(feedback), trouble.startswith("feedback.csv line 6 was changed")) == (4, True)


def test_a_torn_first_line_is_no_obstacle(products):
    path = products / "feedback/feedback.csv"
    path.parent.mkdir()
    path.write_bytes(b"at,incid")
    record_feedback("20260119-3f2a", "fts-database", False, products=products)
    assert (len(read_feedback(path)[0]), read_feedback(path)[1]) == (1, "")


def child(code, products, **more):
    """Run Python code with `products` in a process of its own; (exit code, stdout, stderr)."""
    head = "import os, resource; from nightshift.cli import app; from nightshift.remediation import feedback\n"
    head += f"products = {str(products)!r}\n"
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=60, cwd=REPOSITORY, **more)
    return done.returncode, done.stdout, done.stderr


def test_a_full_disk_loses_nothing_and_says_so_in_one_line(five):
    """The system takes a part of the row and refuses the rest, as a full disk does."""
    before = five.read_bytes()
    code = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 30}, {len(before) + 30}))\n"
    code += "app(['feedback', '20260119-3f2a', 'fts-database', 'worked', '--products', products])"
    status, out, err = child(code, five.parents[1])
    assert (status, out) == (1, "")
    assert err.startswith("nightshift: ")
    assert "nothing was recorded" in err
    assert len(err.splitlines()) == 1
    assert five.read_bytes() == before
    assert read_feedback(five)[1] == ""


def test_no_permission_loses_nothing_and_says_so_in_one_line():
    folder = Path(tempfile.mkdtemp())  # not below tmp_path, which nobody else may enter
    try:
        folder.chmod(0o755)
        with_incidents(folder)
        record_feedback("20260119-3f2a", "restart-fts", True, products=folder)
        before = (folder / "feedback/feedback.csv").read_bytes()
        (folder / "feedback/feedback.csv").chmod(0o444)
        code = "known = feedback.read_remediations(); feedback.read_remediations = lambda path: known\n"
        code += "import nightshift.remediation.model  # what is imported may not be everybody's\n"
        code += "feedback.find_incident(feedback.Path(products) / 'data/incidents', '20260119-3f2a')\n"
        code += "os.geteuid() or os.setuid(65534)\n"
        code += "app(['feedback', '20260119-3f2a', 'fts-database', 'worked', '--products', products])"
        status, out, err = child(code, folder)
        assert (status, out) == (1, "")
        assert "Permission denied; nothing was recorded" in err
        assert len(err.splitlines()) == 1
        assert (folder / "feedback/feedback.csv").read_bytes() == before
    finally:
        shutil.rmtree(folder)


def test_a_table_that_nobody_may_read_is_trouble_and_no_crash(tmp_path):
    (tmp_path / "feedback.csv").mkdir()
    feedback, trouble = read_feedback(tmp_path / "feedback.csv")
    assert len(feedback) == 0
    assert trouble.startswith("feedback.csv cannot be read")


def write_ten(products, name):
    for _ in range(10):
        record_feedback("20260119-3f2a", "restart-fts", True, by=name, products=products)


def test_those_who_write_at_once_wait_for_one_another(products):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_ten, args=(products, f"writer {n}")) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    feedback, trouble = read_feedback(products / "feedback/feedback.csv")
    assert trouble == ""
    assert collections.Counter(feedback.by) == {f"writer {n}": 10 for n in range(4)}


def test_a_writer_that_is_killed_while_it_writes_holds_up_nobody(five):
    code = "write = feedback.os.fsync; feedback.os.fsync = lambda file: os.kill(os.getpid(), 9)\n"
    code += "app(['feedback', '20260119-3f2a', 'fts-database', 'worked', '--products', products])"
    assert child(code, five.parents[1])[0] == -9
    record_feedback("20260120-aaaa", "console-node", False, products=five.parents[1])
    feedback, trouble = read_feedback(five)
    assert trouble == ""
    assert list(feedback.remediation[5:]) == ["fts-database", "console-node"]  # the row was written, only its end was not reached


@pytest.mark.parametrize(
    ("incident", "remediation", "says"),
    [
        ("20260119-3f2b", "restart-fts", "there is no incident '20260119-3f2b'; the nearest: 20260119-3f2a"),
        ("", "restart-fts", "there is no incident ''"),
        ("x\n" * 99, "restart-fts", "there is no incident"),
        ("20260119-3f2a", "restart-ftx", "there is no remediation 'restart-ftx'; the nearest: restart-fts"),
        ("20260119-3f2a", None, "there is no remediation 'None'"),
        ("20260120-aaaa", "restart-fts", "restart-fts is not for silent; for it are: drain-reboot, console-node, restart-sampler"),
    ],
)
def test_wrong_ids_are_answered_in_one_line_and_nothing_is_written(products, incident, remediation, says):
    with pytest.raises(ValueError, match=r"^" + says) as error:
        record_feedback(incident, remediation, True, products=products)
    assert "\n" not in str(error.value)
    assert not (products / "feedback").exists()


@pytest.mark.parametrize("worked", ["worked", "failed", None, 1, np.nan])
def test_worked_is_true_or_false(products, worked):
    with pytest.raises(ValueError, match="must be True or False"):
        record_feedback("20260119-3f2a", "restart-fts", worked, products=products)


def test_without_a_digest_there_is_nothing_to_give_feedback_on(tmp_path):
    with pytest.raises(ValueError, match="the digest left none in"):
        record_feedback("20260119-3f2a", "restart-fts", True, products=tmp_path)


def test_an_incident_is_of_the_kinds_of_all_its_nights_and_of_the_newest_first(products):
    later = INCIDENTS[0] | {"kinds": ["slow_link"]}
    pd.DataFrame([later]).to_parquet(products / "data/incidents/2026-01-22.parquet")
    assert record_feedback("20260119-3f2a", "test-network", True, products=products)["kind"] == "slow_link"
    assert record_feedback("20260119-3f2a", "restart-fts", True, products=products)["kind"] == "stuck_queue"
    with pytest.raises(ValueError, match="restart-sampler is not for slow_link, stuck_queue, slow_fts_server; for it are: "):
        record_feedback("20260119-3f2a", "restart-sampler", True, products=products)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("2026-01-22.parquet", b"PAR1 and no more"),
        ("2026-01-22.parquet", b""),
        ("2026-01-21.json", b'{"remediations":'),
        ("2026-01-21.json", b"\xff"),
        ("2026-01-21.json", b"[]"),
    ],
)
def test_a_night_that_cannot_be_read_is_skipped_in_one_line(products, capsys, name, content):
    (products / "data/incidents" / name).write_bytes(content)
    record_feedback("20260119-3f2a", "restart-fts", True, products=products)
    assert len(read_feedback(products / "feedback/feedback.csv")[0]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nightshift: the night {name[:10]} is skipped, it cannot be read: ")


def test_why_a_night_is_skipped_is_said_in_150_characters(products, capsys, monkeypatch):
    def damaged(path):
        raise OSError("x" * 200)

    monkeypatch.setattr(pd, "read_parquet", damaged)
    with pytest.raises(UnknownIncident, match="the digest left none in"):
        find_incident(products / "data/incidents", "20260119-3f2a")
    reasons = [line.partition("cannot be read: ")[2] for line in capsys.readouterr().err.splitlines()]
    assert reasons == ["x" * 150] * 2


def test_an_incident_has_the_site_and_age_of_its_newest_night_and_kinds_and_studies_of_all(products):
    later = INCIDENTS[0] | {"kinds": ["slow_link", "stuck_queue"], "studies": ["tickets"], "site": "B", "age_nights": 5}
    pd.DataFrame([INCIDENTS[2], later]).to_parquet(products / "data/incidents/2026-01-22.parquet")
    assert find_incident(products / "data/incidents", "20260119-3f2a") == later | {
        "kinds": ["slow_link", "stuck_queue", "slow_fts_server"],
        "studies": ["tickets", "transfers"],
        "remediations": "remediations.yaml",
    }


def test_a_night_that_lacks_a_column_is_skipped_in_one_line(products, capsys):
    pd.DataFrame({"incident": ["20260119-3f2a"]}).to_parquet(products / "data/incidents/2026-01-22.parquet")
    record_feedback("20260119-3f2a", "restart-fts", True, products=products)
    assert capsys.readouterr().err.startswith("nightshift: the night 2026-01-22 is skipped")


MINE = [{"id": "ask-desk", "kinds": ["stuck_queue"], "proposal": "Ask.", "effort": "1 h"}, GOOD | {"kinds": ["stuck_queue"]}]


def test_the_proposals_are_those_of_the_digest_that_told_of_the_incident_last(products, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(MINE))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(MINE[1:]))
    with pytest.raises(ValueError, match="there is no remediation 'ask-desk'"):
        record_feedback("20260119-3f2a", "ask-desk", True, products=products)
    for night, path in (("2026-01-20", tmp_path / "mine.yaml"), ("2026-01-21", tmp_path / "none.yaml")):  # the later one does not know the incident
        (products / f"data/incidents/{night}.json").write_text(json.dumps({"day": night, "remediations": str(path)}))
    assert record_feedback("20260119-3f2a", "ask-desk", True, products=products)["remediations"] == str(tmp_path / "mine.yaml")
    row = record_feedback("20260120-aaaa", "restart-sampler", True, products=products, remediations="remediations.yaml")
    assert row["kind"] == "telemetry.silent"
    with pytest.raises(ValueError, match="there is no remediation 'ask-desk'; the nearest: try-it"):
        record_feedback("20260119-3f2a", "ask-desk", True, products=products, remediations=tmp_path / "other.yaml")


def noted(arguments):
    """Exit code of `nightshift feedback` with these arguments, in this process."""
    with pytest.raises(SystemExit) as ended:
        app(["feedback", *arguments], prog_name="nightshift")
    return ended.value.code


def test_the_command(products, capsys):
    arguments = ["20260119-3f2a", "restart-fts", "worked", "--by", "night-shift", "--products", str(products)]
    assert noted(arguments) == 0
    assert "restart-fts worked in 1 of 1 trial; its chance is now 7" in capsys.readouterr().out
    assert read_feedback(products / "feedback/feedback.csv")[0].by[0] == "night-shift"
    assert noted(["20260119-3f2b", *arguments[1:]]) == 2
    assert capsys.readouterr().err.startswith("nightshift: there is no incident")
    assert noted(["20260121-b0b0", "fewer-streams", "failed", "--products", str(products)]) == 0
    assert "its chance at AURORA-T1 is now" in capsys.readouterr().out


def test_the_command_takes_a_file_of_proposals(products, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(MINE))
    arguments = ["20260119-3f2a", "ask-desk", "worked", "--products", str(products), "--remediations"]
    assert noted([*arguments, str(tmp_path / "mine.yaml")]) == 0
    assert "For stuck queue, ask-desk worked in 1 of 1 trial;" in capsys.readouterr().out
    assert noted([*arguments, str(tmp_path / "none.yaml")]) == 1
    err = capsys.readouterr().err
    assert "none.yaml" in err
    assert len(err.splitlines()) == 1


# -------------------------------------------------------------------------------------------------------------- chances


def test_before_any_feedback_every_chance_is_open():
    table = chances(KNOWN, feedback_of(), "stuck_queue", "")
    assert list(table.chance) == [0.5] * 3
    assert (table.low < 0.01).all()
    assert (table.high > 0.99).all()
    assert (table[["trials", "worked", "elsewhere"]] == 0).all(axis=None)


def test_a_kind_without_proposals_gives_no_row():
    assert len(chances(KNOWN, feedback_of(), "never heard of", "")) == 0


def test_own_trials_outweigh_those_of_others():
    rows = shown(200, 20, "slow_fts_server", "", "restart-fts") + shown(200, 180, "stuck_queue", "", "restart-fts")
    for kind, rate in (("slow_fts_server", 0.1), ("stuck_queue", 0.9)):
        one = chances(KNOWN, feedback_of(*rows), kind, "").set_index("remediation").loc["restart-fts"]
        assert one.chance == pytest.approx(rate, abs=0.02)
        assert one.high - one.low < 0.12
        assert (one.trials, one.elsewhere) == (200, 200)


def test_what_works_for_other_kinds_is_expected_here_and_not_known():
    rows = shown(50, 45, "stuck_queue", "", "restart-fts") + shown(50, 45, "slow_fts_server", "", "restart-fts")
    table = chances(KNOWN, feedback_of(*rows), "failing_fts_server", "").set_index("remediation")
    assert table.chance["restart-fts"] > 0.65
    assert table.high["restart-fts"] - table.low["restart-fts"] > 0.5
    assert table.trials["restart-fts"] == 0
    assert table.elsewhere["restart-fts"] == 100
    assert table.chance["restart-fts"] > table.chance["other-fts"] + 0.1


def test_a_site_starts_at_what_works_at_other_sites_of_this_kind():
    rows = [row for site in "ABCD" for row in shown(10, 9, "membw", site, "end-strays")]
    rows += [row for site in "ABCD" for row in shown(10, 1, "cachecopy", site, "end-strays")]
    strays = [chances(KNOWN, feedback_of(*rows), kind, "E").set_index("remediation").chance["end-strays"] for kind in ("membw", "cachecopy")]
    assert strays[0] > 0.7
    assert strays[1] < 0.3
    bad_here = feedback_of(*rows, *shown(20, 0, "membw", "E", "end-strays"))
    at = {site: chances(KNOWN, bad_here, "membw", site).set_index("remediation").chance["end-strays"] for site in "AE"}
    assert at["E"] < 0.3 < 0.7 < at["A"]


def test_the_last_word_on_an_incident_and_a_solution_counts():
    wrong = ("i1", "stuck_queue", "", "restart-fts", True)
    corrected = chances(KNOWN, feedback_of(wrong, (*wrong[:4], False)), "stuck_queue", "")
    pd.testing.assert_frame_equal(corrected, chances(KNOWN, feedback_of((*wrong[:4], False)), "stuck_queue", ""))
    assert corrected.trials[0] == 1


def exact_mean(counts, of, rng):
    """Posterior mean of the chance of kind `of` of one proposal: draws from the tree of chances, weighed by the counts {kind: (worked, trials)}."""
    draws = 100_000

    def around(mean, strength):
        return rng.beta(np.maximum(mean * strength, 1e-9), np.maximum((1 - mean) * strength, 1e-9))

    proposal = around(rng.beta(*model.ALL, draws), model.STRENGTHS[0])
    of_kind = {kind: around(proposal, model.STRENGTHS[1]) for kind in counts}
    at_site = {kind: around(of_kind[kind], model.STRENGTHS[2]).clip(1e-12, 1 - 1e-12) for kind in counts}
    weight = np.exp(sum(w * np.log(at_site[kind]) + (n - w) * np.log1p(-at_site[kind]) for kind, (w, n) in counts.items()))
    return np.average(at_site[of], weights=weight)


@pytest.mark.parametrize(
    "counts",
    [{"stuck_queue": (1, 1)}, {"stuck_queue": (0, 3), "slow_fts_server": (4, 5)}, {"stuck_queue": (0, 0), "slow_fts_server": (9, 10)},
     {"stuck_queue": (2, 8), "slow_fts_server": (1, 1), "failing_fts_server": (6, 7)}],
)  # fmt: skip
def test_the_closed_form_is_near_the_exact_posterior(counts):
    rows = [row for kind, (worked, n) in counts.items() for row in shown(n, worked, kind, "", "restart-fts")]
    ours = chances(KNOWN, feedback_of(*rows), "stuck_queue", "").set_index("remediation").chance["restart-fts"]
    assert ours == pytest.approx(exact_mean(counts, "stuck_queue", np.random.default_rng(1)), abs=0.05)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["membw", "cachecopy", "cpuoccupy"]), st.sampled_from("AB"), st.booleans()), max_size=30), st.booleans())
def test_one_more_success_never_lowers_a_chance(trials, elsewhere):
    rows = [(f"i{n}", kind, site, "end-strays", worked) for n, (kind, site, worked) in enumerate(trials)]
    more = ("more", "cachecopy" if elsewhere else "membw", "A", "end-strays", True)
    before, after = (chances(KNOWN, feedback_of(*x), "membw", "A").set_index("remediation").loc["end-strays"] for x in (rows, [*rows, more]))
    assert 0 <= before.low <= before.chance <= before.high <= 1
    assert after.chance > before.chance - 1e-9 if elsewhere else after.chance > before.chance


def test_pairs_are_proposals_for_kinds_and_kinds_may_have_fewer_than_others():
    choices = choices_of([{"kinds": ["a", "b"]}, {"kinds": ["b"]}, {"kinds": ["b", "c"]}])
    assert (choices.n_proposals, choices.n_kinds, choices.most) == (3, 3, 3)
    assert list(choices.proposal_of) == [0, 0, 1, 2, 2]
    assert choices.of_kind.tolist() == [[0, -1, -1], [1, 2, 3], [4, -1, -1]]


def test_chances_are_drawn_around_their_mean_by_their_strength():
    drawn = draw_around(np.full((20_000, 2), [0.1, 0.9]), 2.0, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(axis=0), [0.1, 0.9], atol=0.01)
    np.testing.assert_allclose(drawn.var(axis=0), 0.1 * 0.9 / 3, atol=0.002)


def test_an_estimate_is_the_mean_over_worlds_with_its_interval():
    half = 1.96 / np.sqrt(3)  # the spread of 1, 2 and 3 is 1
    np.testing.assert_allclose(estimate(np.array([1, np.nan, 2, 3])), (2, 2 - half, 2 + half), rtol=1e-12)


def test_the_simulated_worlds_have_the_model_that_ranks():
    some = [one for one in KNOWN if {"membw", "cachecopy", "cpuoccupy"} & set(one["kinds"])]
    choices = choices_of([one | {"kinds": [kind for kind in one["kinds"] if kind in ("membw", "cachecopy", "cpuoccupy")]} for one in some])
    kinds = list(dict.fromkeys(kind for one in some for kind in one["kinds"] if kind in ("membw", "cachecopy", "cpuoccupy")))
    pairs = [(choices.proposal_of[pair], kind) for number, kind in enumerate(kinds) for pair in choices.of_kind[number] if pair >= 0]
    record, rng, rows = Record(1, choices), np.random.default_rng(1), []
    for n, (pair, site, worked) in enumerate(zip(rng.integers(len(pairs), size=80), rng.integers(3, size=80), rng.random(80) < 0.4, strict=True)):
        record.learn(np.array([pair]), np.array([site]), np.array([worked]))
        rows.append((f"i{n}", pairs[pair][1], f"S{site}", some[pairs[pair][0]]["id"], worked))
    for site in range(3):
        a, b = belief(record, np.arange(len(pairs))[None], np.array([site]))
        tables = {kind: chances(some, feedback_of(*rows), kind, f"S{site}").set_index("remediation") for kind in kinds}
        ours = [tables[kind].loc[some[number]["id"], ["a", "b"]].tolist() for number, kind in pairs]
        np.testing.assert_allclose(np.stack([a[0], b[0]], axis=1), np.array(ours, float), rtol=1e-9)


# -------------------------------------------------------------------------------------------------------------- ranking

STUCK = INCIDENTS[0]


def test_the_best_is_first_and_each_proposal_is_there_once():
    rows = shown(30, 27, "stuck_queue", "", "fts-database") + shown(30, 3, "stuck_queue", "", "restart-fts")
    ranked = rank(KNOWN, feedback_of(*rows), STUCK, "2026-01-31")
    assert ranked.remediation[0] == "fts-database"
    assert list(ranked["rank"]) == [1, 2, 3, 4]
    assert list(ranked) == [*SHOWN, "elsewhere", "kind", "a", "b", "reason", "rank", "ranked"]
    assert sorted(ranked.remediation) == ["fewer-streams", "fts-database", "other-fts", "restart-fts"]
    assert dict(zip(ranked.remediation, ranked.kind, strict=True))["fewer-streams"] == "slow_fts_server"


def test_another_run_of_the_night_shows_the_same_and_other_nights_and_incidents_vary():
    def orders(days, names):
        return [tuple(rank(KNOWN, feedback_of(), STUCK | {"incident": name}, day).remediation) for day in days for name in names]

    assert len(set(orders(["2026-01-31"] * 3, ["a"]))) == 1
    assert len(set(orders([f"2026-01-{n:02}" for n in range(1, 13)], ["a"]))) > 3
    assert len(set(orders(["2026-01-31"], list("abcdefghijkl")))) > 3


def test_the_unknown_is_tried_sooner_than_what_is_known_to_fail():
    rows = shown(30, 27, "stuck_queue", "", "fts-database") + shown(30, 0, "stuck_queue", "", "restart-fts")
    second = collections.Counter(rank(KNOWN, feedback_of(*rows), STUCK | {"kinds": ["stuck_queue"]}, day).remediation[1] for day in range(30))
    assert second["other-fts"] > 24
    assert set(second) <= {"other-fts", "restart-fts"}


def test_a_kind_without_proposals_and_conditions_that_do_not_hold():
    assert len(rank(KNOWN, feedback_of(), STUCK | {"kinds": ["strange"]}, "2026-01-31")) == 0
    idle = {"incident": "i", "kinds": ["idle_gpu"], "studies": ["telemetry"], "site": "A", "age_nights": 1}
    assert "limit-idle-gpu" not in set(rank(KNOWN, feedback_of(), idle, "d").remediation)
    assert "limit-idle-gpu" in set(rank(KNOWN, feedback_of(), idle | {"age_nights": 3}, "d").remediation)


def test_of_equals_one_that_is_made_for_the_case_comes_first():
    dip = {"incident": "i", "kinds": ["global_dip", "growing_topic"], "studies": ["accounting", "tickets"], "site": "A", "age_nights": 1}
    for day in range(10):
        order = list(rank(KNOWN, feedback_of(), dip, day).remediation)
        assert order[0] == "power-network-batch"
        assert "write-answer" not in order  # for topics that nothing else explains
    rows = shown(5, 5, "global_dip", "B", "check-downtime")
    assert rank(KNOWN, feedback_of(*rows), dip, "d").remediation[0] == "check-downtime"


def test_two_studies_with_a_kind_of_the_same_name_have_proposals_of_their_own():
    of = {
        study: set(rank(KNOWN, feedback_of(), STUCK | {"kinds": ["silent"], "studies": [study]}, "d").remediation)
        for study in ("accounting", "telemetry")
    }
    assert "restart-compute-element" in of["accounting"]
    assert "restart-sampler" in of["telemetry"]
    assert not of["accounting"] & of["telemetry"]


# ------------------------------------------------------------------------------------------------------------- evidence

MESSAGES = {  # as servers and clients write them; names and numbers may be there or taken out
    "connection refused": [
        "SOURCE [111] connection to se01.north.example refused after 3 s",
        "41 of 50 fail with “SOURCE [N] connection to HOST refused after N s”, 70% of it from NORTH-T1_MCTAPE",
        "TRANSFER ERROR: Copy failed (3rd pull). Last attempt: Failed to connect to se port 443: Connection refused",
        "srm-ifce err: Connection refused, err: [SE][srmRm] httpg://se:8443/srm/tape/managerv2: CGSI-gSOAP",
        "Result curl error (7): Couldn't connect to server after 1 attempts",
    ],
    "connection lost": [
        "SOURCE [112] Result curl error (56): Failure when receiving data from the peer after 1 attempts",
        "Copy failed (3rd pull). Last attempt: Connection terminated abruptly; Status of TPC request unknown",
        "globus_xio: System error in recv: Connection reset by peer",
        "an end-of-file was reached globus_xio: An end of file occurred",
    ],
    "unreachable": ["Unable to connect to host: No route to host", "Could not resolve host: se01.north.example", "Name or service not known"],
    "timeout": ["TRANSFER [110] Operation timed out after 3600 s", "DESTINATION [N] Timer expired", "no perf markers, stalled for 300 s"],
    "certificate": [
        "The certificate has expired: Credential with subject expired",
        "SSL handshake problem: certificate verify failed",
        "Error submitting to FTS: Proxy expired!",
        "Remote error: the CRL of the issuer has run out",
    ],
    "permission": ["DESTINATION [1] HTTP 403 : Permission refused", "SOURCE [13] Permission denied", "HTTP 401 : Authentication Error"],
    "no space": [
        "DESTINATION [28] No space left on device, pool 7",
        "TRANSFER [5] TRANSFER ERROR: Copy failed (3rd pull). Last attempt: copy HTTP 507 : Insufficient Storage",
        "Disk quota exceeded",
        "the space token is full",
    ],
    "checksum": ["TRANSFER CHECKSUM MISMATCH: source and destination ADLER32 checksum do not match", "file size mismatch: 5 and 7"],
    "file missing": ["SOURCE [2] No such file or directory", "Result HTTP 404 : File not found after 1 attempts"],
    "file exists": ["DESTINATION [17] Destination file exists and overwrite is not enabled"],
    "tape": ["STAGING [110] bring-online timeout has been exceeded", "the file is NEARLINE and was not staged", "recall from tape failed"],
    "queue expired": ["Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)"],
    "server error": [
        "Copy failed. Last attempt: copy HTTP 500 : Unexpected server error: 500",
        "503 Service Unavailable",
        "the pool is unavailable",
    ],
    "cancelled": ["Unused hop in multi-hop", "The transfer was cancelled"],
    "job lost": ["The FTS job lost"],
    "packet loss": [
        "perfSONAR: loss 2.1% (usually 0.0%), latency 41 ms",
        "packet loss of 3% on the way",
        "losses of 0.8% both ways",
        "perfSONAR saw a loss of 2.0%",
        "perfSONAR saw a throughput of 210 Mb/s (usually 940)",
    ],
    "clean probes": [
        "perfSONAR probes of the same hosts are clean",
        "perfSONAR: loss 0.0% (usually 0.0%)",
        "12 perfSONAR probes clean, as at other times",
    ],
}
FIRST = {  # what is tried first, or the only one of several that are meant for it, for a failing source
    "connection refused": {"restart-doors", "ask-service"},
    "connection lost": {"restart-doors", "test-network"},
    "unreachable": {"ask-service", "test-network"},
    "timeout": {"restart-doors", "test-network"},
    "certificate": {"renew-certificates"},
    "permission": {"map-identities"},
    "no space": {"free-space"},
    "checksum": {"verify-replicas"},
    "file missing": {"verify-replicas"},
    "file exists": {"verify-replicas"},
    "tape": {"stage-first"},
    "server error": {"restart-doors", "ask-service"},
    "packet loss": {"test-network"},
    "clean probes": {"restart-doors"},
}


@pytest.mark.parametrize("name", MESSAGES)
def test_errors_are_recognised_as_they_are_written(name):
    assert set(MESSAGES) == set(ERRORS)
    for message in MESSAGES[name]:
        assert list(errors_named(message))[:1] == [name], message
        assert errors_named(message.upper()), message


@pytest.mark.parametrize(
    "evidence",
    [
        "",
        "141 of 152 transfers failed where 4.9 are normal (93%, usually 3.2%)",
        "31 of 76 transfers beyond their limit where 0.4 are normal; median 96 s, usually 18 s",
        "no core hours, usually 41,802 (27,255 to 64,112) a week; 83,603 lost; since 2026-01-12",
        "numa_miss (vmstat) above the healthy range: 327.23 per s, healthy 35.24 to 48.13; memleak with 80% confidence",
        "17 tickets in 4 weeks from 16 users, 3.3 expected by its share before, and its season; 16 of 17 name NORTH-T1_DATATAPE",
        "24 of 25 lumisections flagged, 9.04 /pb recorded in them: Tracker/hit_eta 62.4 times its usual squared error",
    ],
)
def test_evidence_that_names_no_error_is_not_read_into(evidence):
    assert errors_named(evidence) == {}
    assert proposed("transfers", "failing_source", evidence) == proposed("transfers", "failing_source")


@pytest.mark.parametrize("name", FIRST)
def test_what_the_evidence_names_comes_first_and_says_why(name):
    for message in MESSAGES[name]:
        shown = rank(KNOWN, feedback_of(), STUCK | {"kinds": ["failing_source"], "site": "A", "evidence": f"9 of 9 failed; {message}"}, "2026-01-31")
        reasons = shown.reason != ""
        assert FIRST[name] <= set(shown.remediation[reasons]), message
        assert reasons.is_monotonic_decreasing
        assert shown.reason[0].removeprefix("the evidence says “").removesuffix("”").casefold() in " ".join(message.split()).casefold()
        assert ("stage-first" in set(shown.remediation)) == (name == "tape"), message  # nobody looks for tapes because a connection was refused
        assert set(shown.remediation[~reasons]) == {"ban-endpoint", "show-error"}  # which fit whatever it is


def test_a_clean_network_speaks_for_the_storage_only_while_no_error_is_named():
    refused, clean = MESSAGES["connection refused"][1], MESSAGES["clean probes"][-1]
    assert list(errors_named(f"{refused}; {clean}")) == ["connection refused"]
    assert "storage-space" in proposed("transfers", "slow_destination", clean)
    assert "storage-space" not in proposed("transfers", "slow_destination", f"5 others failed: {refused}; {clean}")


def test_every_kind_of_transfers_has_a_proposal_whatever_its_evidence_names():
    for name, (message, *_) in MESSAGES.items():
        for kind in [kind for study, kind in kinds_of_studies() if study == "transfers"]:
            ids = proposed("transfers", kind, message, night=1)
            assert 1 <= len(ids) <= 6, (name, kind, ids)
            assert "stage-first" not in ids or name == "tape"


def test_a_pattern_of_ones_own_is_evidence_too():
    chosen = [GOOD | {"when": {}, "evidence": ["fan [0-9]+ failed"]}, GOOD | {"id": "other-one", "when": {}, "evidence": ["tape"]}]
    incident = {"incident": "i", "kinds": ["drop"], "studies": ["accounting"], "site": "", "age_nights": 1}
    shown = rank(chosen, feedback_of(), incident | {"evidence": "Fan 7 failed in rack 3"}, "d")
    assert shown[["remediation", "reason"]].values.tolist() == [["try-it", "the evidence says “Fan 7 failed”"]]
    assert len(rank(chosen, feedback_of(), incident | {"evidence": "nothing of the kind"}, "d")) == 2


def test_feedback_orders_what_the_evidence_names_and_never_puts_the_rest_before_it():
    incident = STUCK | {"kinds": ["failing_source"], "site": "", "age_nights": 2, "evidence": "connection refused"}
    rows = shown(30, 1, "failing_source", "", "restart-doors") + shown(30, 29, "failing_source", "", "ask-service")
    rows += shown(30, 30, "failing_source", "", "ban-endpoint")
    for day in range(5):
        assert list(rank(KNOWN, feedback_of(*rows), incident, day).remediation)[:3] == ["ask-service", "restart-doors", "ban-endpoint"]


def test_an_order_of_which_nothing_was_tried_is_no_ranking():
    assert not rank(KNOWN, feedback_of(), STUCK, "d").ranked.any()
    assert not rank(KNOWN, feedback_of(*shown(3, 1, "membw", "", "end-strays")), STUCK, "d").ranked.any()  # tried for something else
    assert rank(KNOWN, feedback_of(*shown(1, 0, "stuck_queue", "", "restart-fts")), STUCK, "d").ranked.all()
    assert rank(KNOWN, feedback_of(*shown(1, 0, "failing_fts_server", "", "restart-fts")), STUCK, "d").ranked.all()
    both = shown(1, 0, "failing_fts_server", "", "restart-fts") + shown(1, 0, "stuck_queue", "", "restart-fts")
    assert rank(KNOWN, feedback_of(*both), STUCK, "d").ranked.all(), "as often here as elsewhere"
    assert rank(KNOWN, feedback_of(), STUCK | {"kinds": ["strange"]}, "d").ranked.dtype == bool


def test_proposals_of_several_incidents_are_one_table_and_the_first_tried_ones_stand_out():
    tried = rank(KNOWN, feedback_of(*shown(1, 1, "stuck_queue", "", "restart-fts")), STUCK, "d")
    untried = rank(KNOWN, feedback_of(), STUCK, "d")
    table = table_of_proposals({"a": tried, "b": untried})
    assert (len(table), set(table.incident)) == (len(tried) + len(untried), {"a", "b"})
    firsts = first_choices(table, pd.Series({"a": "one", "b": "two"}))
    assert firsts[["title", "remediation"]].values.tolist() == [["one", "restart-fts"]]
    empty = table_of_proposals({})
    assert (list(empty.columns), len(empty), empty.ranked.dtype) == (list(table.columns), 0, bool)
    assert first_choices(empty, pd.Series(dtype=object)).empty


# ----------------------------------------------------------------------------------------------------------- repository


def test_clean_keeps_feedback_and_removes_products(tmp_path):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    gone = [
        f"{root}{folder}/x/file"
        for root in ("", "products/site/", "products/other/")
        for folder in ("data", "encoders", "models", "plots", "reports")
    ]
    kept = [
        "feedback/feedback.csv",
        "feedback/README.md",
        "data/README.md",
        "products/site/feedback/feedback.csv",
        "products/site/feedback/feedback.last",
    ]
    for name in [*gone, *kept, ".snakemake/x"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted([*kept, "Makefile"])
    assert not (tmp_path / "products/other").exists()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)


def test_feedback_is_ignored_by_git_and_explained():
    assert (REPOSITORY / "feedback/README.md").exists()
    for name in ("feedback.csv", "feedback.last", "feedback.torn"):
        assert subprocess.run(["git", "check-ignore", "-q", f"feedback/{name}"], cwd=REPOSITORY).returncode == 0
