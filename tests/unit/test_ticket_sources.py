"""What a night asks of a source of tickets, and what it makes of the answers, without any source: by hand."""

import json
from collections import Counter

import mysql.connector
import pandas as pd
import pyarrow as pa
import pytest

from nightshift.sources.base import file_sources, source_of
from nightshift.sources.tickets import files
from nightshift.sources.tickets.changes import an_hour_before, merge, read_progress
from nightshift.sources.tickets.files import layout_of, told_apart
from nightshift.sources.tickets.jira import with_answers
from nightshift.sources.tickets.rows import SCHEMA, Extraction, as_counts, as_tickets, in_window, open_sentence
from nightshift.sources.tickets.sacctmgr import read_schools, users_table
from nightshift.sources.tickets.server import address_of, explained, may_pass


def extraction(**fields):
    return Extraction(day="2026-01-31", **fields)


def test_the_window_is_that_of_the_clock_of_the_server():
    asked = extraction(days=7, timezone="Europe/Berlin")
    assert (asked.edge, asked.first) == (pd.Timestamp("2026-02-01", tz="UTC"), pd.Timestamp("2026-01-25", tz="UTC"))
    assert asked.begin == "2026-01-25 01:00:00"
    assert extraction().first is None
    assert extraction().begin == "1000-01-01 00:00:00"
    tickets = as_tickets(pd.DataFrame({"ticket_id": ["1", "2", "3"], "created": ["2026-01-25 00:30", "2026-01-25 01:00", None]}), asked)
    assert in_window(tickets, asked).tolist() == [False, True, True]
    assert in_window(tickets, extraction()).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"timezone": "Mars"}, "timezone 'Mars' is no time zone"),
        ({"table_prefix": "x y"}, "table_prefix 'x y' is no name"),
        ({"dates": "year first"}, "dates is 'year first': it must be one of auto, day first, month first"),
        ({"states": {"parked": "asleep"}}, "states must say of each state"),
        ({"columns": {"colour": "x"}}, "columns names 'colour'; it can name ticket_id, number"),
    ],
)
def test_parameters_that_mean_nothing_are_one_line(fields, message):
    with pytest.raises(ValueError, match=message):
        extraction(**fields)


def test_rows_of_text_become_tickets_with_all_columns_and_the_word_of_the_desk():
    asked = extraction(states={"Parked": "open"})
    rows = pd.DataFrame({"ticket_id": ["1", "2"], "state": ["parked", "done"], "replies": ["3", "many"], "created": ["2026-01-30 10:00", "soon"]})
    tickets = as_tickets(rows, asked)
    assert list(tickets) == SCHEMA.names
    assert tickets[["status", "state"]].to_numpy().tolist() == [["parked", "open"], ["done", "done"]]
    assert tickets.replies.fillna(-1).tolist() == [3, -1]
    assert asked.counts["unreadable"] == 2
    assert as_tickets(pd.DataFrame(), asked).empty


def test_what_states_mean_is_kept_for_desks_that_have_a_status_alone():
    """Later steps read the raw table without the parameter."""
    rows = pd.DataFrame({"ticket_id": ["1", "2", "3"], "status": ["6", "Open", "6"], "state": [None, None, "closed"]})
    tickets = as_tickets(rows, extraction(states={"6": "deleted"}))
    assert tickets.state.fillna("").tolist() == ["deleted", "", "closed"]
    assert tickets.status.tolist() == ["6", "Open", "6"]


def test_counts_are_whole_numbers_or_missing():
    counts = Counter()
    texts = pd.Series(["1", "2.0", "", None, "-1", "1.5", "9999999999", "x"], dtype="string")
    assert as_counts(texts, counts).fillna(-1).tolist() == [1, 2, -1, -1, -1, -1, -1, -1]
    assert counts == {"unreadable": 4}
    ends = pd.Series(["0", "2147483647", "2147483648"], dtype="string")
    assert as_counts(ends, counts).fillna(-1).tolist() == [0, 2147483647, -1]


@pytest.mark.parametrize(
    ("opened", "sentence"),
    [
        ([], "of which 0 are open"),
        ([True, False], "of which 1 are open"),
        ([None, None], "and how many are open is not known"),
        ([True, None], "of which 1 are open and 1 of which the source does not say it"),
    ],
)
def test_how_many_are_open_is_said_as_far_as_it_is_known(opened, sentence):
    assert open_sentence(opened) == sentence


def test_what_changed_takes_its_place_and_what_is_gone_is_left_out():
    def page(*rows):
        return pd.DataFrame(rows, columns=["ticket_id", "subject"], dtype="str").assign(created=pd.NaT)

    base = [page(("1", "a"), ("3", "c")), page(("9", "i"), ("10", "j"))]
    changes = page(("9", "old"), ("2", "new"), ("9", "new"), ("12", "new"), ("77", "gone"))
    pages = list(merge(base, changes, ids={1, 2, 9, 12}, asked=extraction()))
    assert [list(zip(one.ticket_id, one.subject, strict=True)) for one in pages] == [
        [("1", "a"), ("2", "new")],
        [("9", "new")],
        [("12", "new")],
    ]


def test_progress_counts_only_for_the_same_source_and_a_window_that_began_no_later(tmp_path):
    file = tmp_path / "run.json"
    assert read_progress(file, {"source": "a"}, "2026") == {}
    file.write_text('{"source": "a", "begin": "2026-01-01"}')
    assert read_progress(file, {"source": "a"}, "2026-01-02")["begin"] == "2026-01-01"
    assert read_progress(file, {"source": "b"}, "2026-01-02") == read_progress(file, {"source": "a"}, "2025-12-31") == {}
    file.write_text("[1")
    assert read_progress(file, {"source": "a"}, "2026") == {}
    assert an_hour_before("2026-01-31 00:30:00") == "2026-01-30 23:30:00"
    assert an_hour_before(None) == "1000-01-01 00:00:00"


def test_addresses_and_faults_of_a_server():
    assert address_of("mysql://db.example/osticket") == ("db.example", 3306, "osticket")
    assert address_of("mariadb://[::1]:3307/desk") == ("::1", 3307, "desk")
    full = mysql.connector.errors.get_mysql_exception(1040, "Too many connections")
    denied = mysql.connector.errors.get_mysql_exception(1045, "Access denied for user")
    assert (may_pass(full), may_pass(denied), may_pass(ValueError("x"))) == (True, False, False)
    line = explained(denied, ("db.example", 3306, "osticket"), timeout_s=5.0)
    assert line == "db.example:3306 refuses this login: check OSTICKET_USER and OSTICKET_PASSWORD, or the option file (1045)"


def test_users_have_the_organisation_of_their_account_and_its_school():
    school_of = read_schools({" Physics": "Natural sciences "})
    users = users_table({"b": "phys", "a": "none"}, {"phys": "physics"}, school_of=school_of)
    assert users.to_numpy().tolist() == [["a", "none", "", ""], ["b", "phys", "physics", "Natural sciences"]]
    assert users_table({}, {}, school_of={}).empty
    with pytest.raises(ValueError, match="schools must give each department"):
        read_schools({"physics": ["x"]})


@pytest.mark.parametrize("first", ["-- MySQL dump 10.13  Distrib 8.0.36", "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19"])
def test_a_dump_of_a_database_is_refused_with_what_to_do(tmp_path, first):
    path = tmp_path / "osticket.sql"
    path.write_text(first + "\n--\nCREATE TABLE `ost_ticket` (`ticket_id` int);\n")
    with pytest.raises(ValueError, match=r"load it into a MySQL or MariaDB .* and name mysql://HOST:PORT/DATABASE"):
        source_of(file_sources("tickets", {}), path).extract(path, None)


def test_a_dump_of_postgresql_is_not_sent_to_a_mysql(tmp_path):
    path = tmp_path / "zammad.sql"
    path.write_text("--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.tickets (id integer);\n")
    with pytest.raises(ValueError, match=r"^it is a dump of PostgreSQL, which no osTicket uses: export the tickets"):
        source_of(file_sources("tickets", {}), path).extract(path, None)


def test_columns_are_found_by_our_names_or_by_those_of_the_parameter():
    assert layout_of(["Ticket_ID", "Subject", "state.name"], {}) == {"ticket_id": "Ticket_ID", "subject": "Subject", "state": "state.name"}
    assert layout_of(["key", "subject"], {"ticket_id": "key", "queue": ""}) == {"ticket_id": "key", "subject": "subject"}
    with pytest.raises(ValueError, match="of its 1 columns none is subject") as error:
        layout_of(["My passphrase"], {})
    assert "passphrase" not in str(error.value)


def test_an_answer_of_zammad_whose_states_are_numbers_is_refused_with_what_to_do(tmp_path):
    record = {"id": 1, "number": "5", "title": "a", "state_id": 4, "article_count": 1, "first_response_at": None, "close_at": None, "customer_id": 2}
    (tmp_path / "z.json").write_text(json.dumps([record]))
    kind = source_of(file_sources("tickets", {}), tmp_path / "z.json")
    with pytest.raises(ValueError, match="its states have no names: save it with"):
        kind.pages(tmp_path / "z.json", [])


AT = "2026-01-31T10:00:00Z"
IN_PROJECTS = {  # kind: a ticket, what differs in one of another project, its number
    "GitlabRest": ({"iid": 5, "title": "x", "created_at": AT, "project_id": 7}, {"project_id": 8}, "iid"),
    "GithubRest": (
        {"number": 5, "title": "x", "created_at": AT, "comments_url": "", "events_url": "", "repository_url": "https://x/repos/a/b"},
        {"repository_url": "https://x/repos/c/d"},
        "number",
    ),
    "GithubCli": (
        {"number": 5, "title": "x", "createdAt": AT, "repository": {"nameWithOwner": "a/b"}},
        {"repository": {"nameWithOwner": "c/d"}},
        "number",
    ),
}


@pytest.mark.parametrize("kind", IN_PROJECTS)
def test_tickets_of_two_projects_that_have_one_number_are_refused(tmp_path, kind):
    """A group of GitLab and a search of GitHub answer so: each project counts from one."""
    one, other, number = IN_PROJECTS[kind]
    path = tmp_path / "a.json"
    for records in ([one, one], [one, one | {number: 6} | other]):
        path.write_text(json.dumps(records))
        source = source_of(file_sources("tickets", {}), path)
        assert (type(source).__name__, len(source.pages(path, [])[1][0][1])) == (kind, 2)
    path.write_text(json.dumps([one, one | other]))
    with pytest.raises(ValueError, match=r"^it has tickets of several projects, and several of the number 5: save those of each"):
        source.pages(path, [])


def test_a_comment_of_jira_is_an_answer_only_where_its_people_have_the_names_of_the_columns():
    comments = {"Comment": ["31/Jan/26 9:20 AM;lomi;a; b", None], "Comment (2)": ["31/Jan/26 9:30 AM;ada;c", "no comment"]}
    same = pa.table({"Reporter": ["lomi", "suwo"], "Assignee": ["ada", None]} | comments)
    assert with_answers(same)["first_response"].to_pylist() == ["31/Jan/26 9:30 AM", None]
    other = pa.table({"Reporter": ["Lo Mi", "Su Wo"], "Assignee": ["Ada Nor", None]} | comments)
    assert with_answers(other)["first_response"].to_pylist() == [None, None]
    nobody = pa.table({"Reporter": [None, "lomi"], "Assignee": ["ada", None]} | comments)
    assert with_answers(nobody)["first_response"].to_pylist() == [None, None], "who asked may have commented"


def test_a_name_of_a_column_that_comes_again_gets_a_number():
    assert told_apart(["Key", "Comment", "Comment", "Comment"]) == ["Key", "Comment", "Comment (2)", "Comment (3)"]
    assert told_apart(["A", "A", "A (2)", "A (2)", "A"]) == ["A", "A (3)", "A (2)", "A (2) (2)", "A (4)"], "which no other column has"


@pytest.mark.parametrize(("of_server", "written"), [(False, [True]), (True, [])])
def test_tickets_of_files_are_written_at_the_end_and_a_server_writes_its_own(tmp_path, monkeypatch, of_server, written):
    ends = []
    monkeypatch.setattr(files.TicketRun, "write", lambda run: ends.append(run.raw == tmp_path))
    monkeypatch.setattr(files, "read_source", lambda study, place, run: run.__dict__.update({"of_server": True} if of_server else {}))
    assert files.extract_source("x.csv", tmp_path, asked=None, labels=None).of_server is of_server
    assert ends == written
