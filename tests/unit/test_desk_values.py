"""What is asked of the database of an osTicket and what its answers become, by hand: prefixes, merged tickets, logins, progress, changes; and what
other desks call a ticket.
"""

import json
import os
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from nightshift.sources.tickets import changes, files, freshdesk, github, jira, json_files, request_tracker, sacctmgr, server, servicenow, sqlite
from nightshift.sources.tickets.osticket import WINDOW, find_prefix, has_flags, lacking, moved_words, open_sqlite, origin_of, plain, with_own_words
from nightshift.sources.tickets.rows import FIRST, Extraction, as_tickets
from nightshift.sources.tickets.server import login, read_option_file
from nightshift.sources.tickets.tables import flat, read_json_tickets

ASKED = Extraction(day="2026-01-31", table_prefix="ost_", page_rows=2)


def database(path, script):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


# ----------------------------------------------------------------------------------------------------------- osTicket


@pytest.mark.parametrize(
    ("tables", "prefix"),
    [
        (["ost_ticket", "ost_thread", "ost_ticket_status"], "ost_"), (["x_ticket", "x_thread", "x_ticket_status", "y_ticket_status"], "x_"),
        (["a"], "ost_"),
        (["ticket", "thread", "ticket_status"], ""), (["a_ticket", "a_thread", "a_ticket_status", "b_ticket", "b_thread", "b_ticket_status"], None),
    ],
)  # fmt: skip
def test_the_prefix_of_tables_is_that_of_the_one_osticket(tmp_path, tables, prefix):
    with open_sqlite(database(tmp_path / "db", ";".join(f"CREATE TABLE {name} (id)" for name in tables))) as ask:
        if prefix is None:
            with pytest.raises(ValueError, match="it has 2 osTickets, whose tables begin a_, b_: set table_prefix"):
                find_prefix(ask)
        else:
            assert find_prefix(ask) == prefix


def test_the_window_of_a_database_is_that_of_files(tmp_path):
    times = ["'2026-01-24 23:59:59'", "'2026-01-25 00:00:00'", "NULL", "'0000-00-00 00:00:00'"]
    rows = ", ".join(f"({number}, {time})" for number, time in enumerate(times))
    with open_sqlite(database(tmp_path / "db", f"CREATE TABLE t (id, created); INSERT INTO t VALUES {rows}")) as ask:
        assert ask(f"SELECT id FROM t WHERE {WINDOW} ORDER BY id", Extraction(day="2026-01-31", days=7).begin)[1] == [(1,), (2,), (3,)]
        assert len(ask(f"SELECT id FROM t WHERE {WINDOW}", ASKED.begin)[1]) == 4


THREADS = """
CREATE TABLE ost_thread (id, object_id, object_type);
INSERT INTO ost_thread VALUES (10, 1, 'C'), (20, 2, 'C'), (30, 3, 'T');
CREATE TABLE ost_thread_entry (id, type, created, body, format, flags);
INSERT INTO ost_thread_entry VALUES (1, 'M', 'm1', 'first', 'html', 0), (2, 'R', 'r1', 'x', 'text', 0), (3, 'R', 'r2', 'x', 'text', 0),
 (4, 'M', 'm2', 'second', 'text', 0), (5, 'N', 'n', 'note', 'text', 0), (6, 'M', 'm3', 'of another', 'text', 0), (7, 'R', 'r3', 'x', 'text', 0);
CREATE TABLE ost_thread_entry_merge (thread_entry_id, data);
INSERT INTO ost_thread_entry_merge VALUES (1, '{"thread": 10}'), (2, '{"thread": "10"}'), (3, '{"thread": 10}'), (4, '{"thread": 10}'),
 (5, '{"thread": 10}'), (6, '{"thread": 30}'), (7, '{"thread": 20}');
"""


def test_merged_tickets_have_the_words_that_came_from_their_threads(tmp_path):
    with open_sqlite(database(tmp_path / "db", THREADS)) as ask:
        words = moved_words(ask, [1, 2, 3], prefix="ost_")
        assert words == {
            1: {"body": "first", "format": "html", "first_response": "r1", "messages": 2, "replies": 2},
            2: {"body": None, "format": None, "first_response": "r3", "messages": 0, "replies": 1},
        }
        assert moved_words(ask, [*range(4, 1004), 1], prefix="ost_")[1]["messages"] == 2, "they are asked for by five hundred"
        page = pd.DataFrame(
            {"ticket_id": ["1", "2", "3"], "thread": ["C", "T", "C"], "body": [None, None, "own"], "replies": ["0", "0", "0"]}, dtype=object
        )
        page = page.assign(format=None, first_response=None, messages="0")
        shown = with_own_words(page, ask, prefix="ost_")
        assert shown[["body", "replies", "messages"]].values.tolist() == [["first", "2", "2"], [None, "0", "0"], ["own", "0", "0"]]
        assert has_flags(ask, "ost_")
    with open_sqlite(database(tmp_path / "bare", "CREATE TABLE ost_thread (id, object_id, object_type)")) as ask:
        assert moved_words(ask, [1], prefix="ost_") == {}
        assert not has_flags(ask, "ost_")


def test_origins_and_values_are_read_as_the_database_gives_them():
    assert [origin_of(data) for data in ('{"thread": 7}', b'{"thread": "8"}', "{}", "x", None, '{"thread": null}')] == [7, 8, None, None, None, None]
    assert [plain(value) for value in (b"\xc3\xa9\xff", 7, None, "x")] == ["é\ufffd", "7", None, "x"]
    assert lacking("a.ost_ticket__cdata").startswith("no table a.ost_ticket__cdata: osTicket makes it when")
    assert lacking("nothing").startswith("no column nothing: c are the fields")


def test_what_a_file_of_sqlite_lacks_is_said(tmp_path):
    with open_sqlite(database(tmp_path / "db", "CREATE TABLE a (x); INSERT INTO a VALUES (1), (2)")) as ask:
        assert ask("SELECT x AS y FROM a WHERE x > ?", 1) == (["y"], [(2,)])
        for query, words in (("SELECT z FROM a", "^it has no column z"), ("SELECT x FROM ost_ticket", "^it has no table ost_ticket: is it")):
            with pytest.raises(ValueError, match=words):
                ask(query)


# -------------------------------------------------------------------------------------------------------------- logins


def test_the_login_is_that_of_the_environment_and_else_that_of_the_option_file(tmp_path, monkeypatch):
    file = tmp_path / "my.cnf"
    for name in ("OSTICKET_USER", "OSTICKET_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OSTICKET_OPTION_FILE", str(file))
    with pytest.raises(FileNotFoundError):
        login()
    file.write_text('!include x\n[client]\n user = me\npassword="s#x"\nssl-ca=/ca\nskip\n')
    assert read_option_file(file) == {"user": "me", "password": "s#x", "ssl_ca": "/ca", "skip": ""}
    safe = {"ssl_ca": "/ca", "ssl_verify_cert": True, "ssl_verify_identity": True}
    assert login() == {"user": "me", "password": "s#x"} | safe
    monkeypatch.setenv("OSTICKET_USER", "other")
    assert login() == {"user": "other", "password": ""} | safe
    file.write_text("[mysqld]\nuser=x\n")
    assert login() == {"user": "other", "password": ""}
    monkeypatch.delenv("OSTICKET_USER")
    with pytest.raises(ValueError, match=r"^no login: set OSTICKET_USER"):
        login()
    file.write_text("secret\n")
    with pytest.raises(ValueError, match=r"cannot be read: MissingSectionHeaderError$"):
        login()
    monkeypatch.delenv("OSTICKET_OPTION_FILE")
    assert read_option_file(tmp_path / "none") == {}
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**30)  # of an account without a home, as containers may have
    monkeypatch.setenv("OSTICKET_USER", "me")
    assert login() == {"user": "me", "password": ""}


# ------------------------------------------------------------------------------------------------------------- changes


def tickets(*rows):
    """Tickets of (id, day of January on which it was created)."""
    table = pd.DataFrame({"ticket_id": [str(number) for number, _ in rows], "created": [f"2026-01-{day:02} 00:00:00" for _, day in rows]})
    return as_tickets(table, ASKED)


def run_of(since=FIRST, top=9):
    return {"since": since, "top": top, "after": -1, "newest": None, "counts": {}}


def saved(raw, name, table):
    (raw / "pages").mkdir(exist_ok=True)
    table.to_parquet(raw / "pages" / f"{name}.parquet")


@pytest.fixture
def written(monkeypatch):
    """Ids of the tickets that were written last."""
    ids = []

    def note(pages, path, *, asked, labels):
        ids[:] = [int(number) for page in pages for number in page.ticket_id]

    monkeypatch.setattr(changes, "write_tickets", note)
    return ids


def test_a_first_run_writes_its_pages_and_what_changed_meanwhile(tmp_path, written):
    saved(tmp_path, "000000000000", tickets((1, 5), (2, 5)))
    saved(tmp_path, ".hidden", tickets((8, 5)))
    assert changes.assemble(run_of(), tickets((3, 5), (2, 6)), ids={1, 2, 3}, raw=tmp_path, asked=ASKED, labels=None) == set()
    assert written == [1, 2, 3]


def test_a_later_run_counts_what_is_new_what_changed_and_what_vanished(tmp_path, written):
    asked = Extraction(day="2026-01-31", table_prefix="ost_", page_rows=2)
    tickets((1, 5), (2, 5), (3, 5)).to_parquet(tmp_path / "tickets.parquet")
    saved(tmp_path, "000000000000", tickets((2, 5), (9, 30)))
    left = changes.assemble(run_of("2026-01-29", top=8), tickets(), ids={1, 2, 9}, raw=tmp_path, asked=asked, labels=None)
    assert (left, written) == (set(), [1, 2, 9])
    assert {name: asked.counts[name] for name in ("new", "changed", "vanished")} == {"new": 1, "changed": 1, "vanished": 1}


@pytest.mark.parametrize(("top", "overlooked"), [(6, set()), (7, {7}), (8, {7})])
def test_an_old_ticket_that_nobody_has_seen_makes_all_be_read_anew(tmp_path, written, top, overlooked):
    tickets((1, 5)).to_parquet(tmp_path / "tickets.parquet")
    (tmp_path / "pages").mkdir()
    found = changes.assemble(run_of("2026-01-29", top), tickets(), ids={1, 7}, raw=tmp_path, asked=ASKED, labels=None)
    assert (found, written) == (overlooked, [] if overlooked else [1])


def test_an_interrupted_run_goes_on_and_asks_what_changed_since_it_began(tmp_path, monkeypatch):
    asked, identity, questions = Extraction(day="2026-01-31", table_prefix="ost_", page_rows=2), {"source": "s"}, []

    def ask(query, *values):
        questions.append((query.split()[1], *values))
        return [], [(5, b"2026-01-30 10:00:00")] if "MAX" in query else [(1,), (2,)]

    def pages(ask, asked, *, after=-1, since=FIRST):
        questions.append(("pages", after, since))
        yield from [] if after >= 3 else [(3, tickets((after + 2, 5)))]

    monkeypatch.setattr(changes, "ticket_pages", pages)
    run, later, ids = changes.read_changes(ask, identity, raw=tmp_path, asked=asked)
    assert (run["since"], run["newest"], run["top"], run["after"], ids) == (FIRST, "2026-01-30 10:00:00", 5, 3, {1, 2})
    assert (len(later), asked.counts["resumed"]) == (0, 0)
    assert questions[1] == ("pages", -1, FIRST)
    assert [path.name for path in (tmp_path / "pages").glob("*.parquet")] == ["000000000000.parquet"]
    assert json.loads((tmp_path / "pages/run.json").read_text())["after"] == 3
    questions.clear()
    _, later, _ = changes.read_changes(ask, identity, raw=tmp_path, asked=asked)
    assert asked.counts["resumed"] == 1
    assert questions[:2] == [("pages", 3, FIRST), ("pages", -1, "2026-01-30 09:00:00")]
    assert later.ticket_id.tolist() == ["1"]
    assert changes.read_changes(ask, {"source": "t"}, raw=tmp_path, asked=asked)[0]["source"] == "t"
    assert asked.counts["resumed"] == 0


def test_objects_within_a_record_give_names_and_lists_their_text():
    record = {"id": 5, "state": {"name": "é", "of": {"x": None}}, "tags": ["é", 1], "empty": {}}
    assert flat(record) == {"id": "5", "state.name": "é", "state.of.x": None, "tags": '["é", 1]', "empty": "{}"}


def test_marks_that_end_no_line_of_json_and_half_a_letter_cost_no_ticket():
    bad = []
    rows = read_json_tickets('{"subject": "a\u2028b\x85c"}\r\n{"subject": "half \\ud83d", "tags": ["\\ud83d"]}\n', bad)
    assert rows.subject.tolist() == ["a\u2028b\x85c", "half ?"]
    assert (rows.tags.tolist()[1], bad) == ('["?"]', [])


# --------------------------------------------------------------------------------------------------- faults of a server

FAULTS = [
    *((code, "x", "refuses this login: check OSTICKET_USER") for code in (1045, 1698, 1130)),
    *((code, "x", "has no database desk for this login") for code in (1044, 1049)),
    *(
        (code, "SELECT command denied for table 'ost_user'", "does not let this account read ost_user: GRANT SELECT ON desk.ost_user")
        for code in (1142, 1143)
    ),
    *((code, "x", "cannot be reached: check host and port") for code in (2003, 2005)),
    (1146, "Table 'desk.ost_ticket__cdata' doesn't exist", "has no table ost_ticket__cdata: osTicket makes it when"),
    (1054, "Unknown column 'c.subject' in 'field list'", "has no column c.subject: c are the fields"),
    *((code, "x", "does not stay: check whether the database is up") for code in (2006, 2013, 2055, 1040, 1205, 1213)),
    (2013, "timed out", "gave no answer within 5 s: check whether the database is busy"),
    (2026, "SSL connection error", "has no certificate that is trusted: check ssl-ca"),
    (9999, "y" * 300, f"fails: {'y' * 200} (9999)"),
]


@pytest.mark.parametrize(("code", "text", "line"), FAULTS)
def test_a_fault_of_a_database_says_what_to_do(code, text, line):
    shown = server.explained(SimpleNamespace(errno=code, msg=text), ("h", 3306, "desk"), timeout_s=5.0)
    assert shown.startswith(f"h:3306 {line}")
    assert shown.endswith(f"({code})") is ("timed out" not in text)


def test_accounts_of_slurm_need_both_of_its_tables(tmp_path):
    for text, table in (("User|Def Acct\nada|chem\n", "account"), ("Account|Org\nchem|chemistry\n", "user")):
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(ValueError, match=f"a.txt names no {table}: it needs both tables"):
            sacctmgr.ask_accounts(str(tmp_path / "a.txt"), timeout_s=1.0)
    (tmp_path / "b.txt").write_text("User|Def Acct\nada|chem\nbroken\n")
    assert sacctmgr.ask_accounts(str(tmp_path / "*.txt"), timeout_s=1.0) == (
        {"ada": "chem"},
        {"chem": "chemistry"},
        [(str(tmp_path / "b.txt"), 3, "1 columns, not 2", "")],
    )
    assert sacctmgr.ask_accounts("", timeout_s=1.0) == ({}, {}, [])
    bad = []
    assert sacctmgr.read_accounts(["\n", "User|Def Acct\n", "\n", "broken\n"], bad) == ({}, {})
    assert bad == [(4, "1 columns, not 2")], "empty lines count"


# ---------------------------------------------------------------------------------------------------------- other desks


def test_a_document_of_jira_is_its_text_with_a_line_for_each_paragraph():
    words = [{"type": "text", "text": one} for one in ("a", "b", "c")]
    items = {"type": "bulletList", "content": [{"type": "listItem", "content": [one]} for one in words[:2]]}
    document = {"type": "doc", "content": [{"type": "paragraph", "content": words[:2]}, items, {"type": "rule"}, words[2]]}
    assert jira.plain_text(document) == "ab\na\nb\n\nc"
    cells = [{"type": "tableCell", "content": [{"type": "paragraph", "content": [one]}]} for one in words[:2]]
    table = {"type": "table", "content": [{"type": "tableRow", "content": cells}, {"type": "tableRow", "content": None}]}
    broken = {"type": "paragraph", "content": [words[0], {"type": "hardBreak"}, words[1]]}
    quote = {"type": "blockquote", "content": [broken, {"type": "paragraph", "content": words}]}
    assert jira.plain_text({"type": "doc", "content": [quote, table]}) == "a\nb\nabc\na\nb\n"
    assert [jira.plain_text(one) for one in ("x", None)] == ["x", None]
    assert [jira.person(one) for one in ({"accountId": "5", "name": "n"}, {"name": "n"}, {}, None)] == ["5", "n", None, None]


@pytest.mark.parametrize(
    ("comments", "asker", "answered"),
    [
        ([("b", "2"), ("a", "1"), ("c", "3")], "a", "2"),
        ([("b", "2")], None, None),
        ([(None, "1"), ("b", None), ("b", "2")], "a", "2"),
        ([], "a", None),
    ],
)
def test_the_first_answer_is_the_earliest_of_somebody_else(comments, asker, answered):
    assert json_files.first_answer(comments, asker) == answered


def test_who_asks_in_request_tracker_is_the_first_of_a_list():
    lists = [[{"EmailAddress": "a@x"}, {"id": "b"}], [{"id": "b"}], ["no object", {"id": "c"}], [{"type": "user"}], [], "x", None]
    assert [request_tracker.names_of(one) for one in lists] == ["a@x", "b", "c", None, None, None, None]


def test_an_issue_whose_author_or_comments_are_no_objects_has_no_answer():
    comments = [{"author": {"login": "b"}, "createdAt": "2"}, {"author": None, "createdAt": "1"}, "x"]
    records = [
        {"author": {"login": "a"}, "comments": comments},
        {"author": "a", "comments": comments},
        {"author": {"login": "a"}, "comments": {"totalCount": 2}},
    ]
    assert [github.GithubCli().ticket_of(one)["first_response"] for one in records] == ["2", None, None]


@pytest.mark.parametrize(
    ("opening", "ticket", "is_cut"), [("", '{"id": 1}\n', True), ("[\n", '{"id": 1},\n', True), ("[\n", '{\n"id": 1\n},\n', False)]
)
def test_json_is_cut_where_each_line_is_an_object(tmp_path, monkeypatch, opening, ticket, is_cut):
    monkeypatch.setattr("nightshift.sources.excerpts.SMALL", 100)
    (tmp_path / "a.json").write_text(opening + 3000 * ticket)
    (tmp_path / "cut").mkdir()
    excerpt, has_end = json_files.excerpt_of_objects(str(tmp_path / "a.json"), str(tmp_path / "cut"))
    assert (excerpt != str(tmp_path / "a.json"), has_end) == (is_cut, True)


def test_numbers_of_states_are_named_where_they_mean_the_same_everywhere():
    incident = {"state": "6", "sys_class_name": "incident", "opened_at": "2026-01-31 10:00:00", "closed_at": ""}
    desk = servicenow.ServiceNowRest()
    found = desk.ticket_of(incident)
    assert (found["state"], found["opened_at"], found["closed_at"]) == ("Resolved", "2026-01-31 10:00:00 UTC", None)
    assert desk.ticket_of(incident | {"sys_class_name": "change"})["state"] == "6"
    assert desk.ticket_of(incident | {"state": "42"})["state"] == "42"
    shown = desk.ticket_of(incident | {"state": {"display_value": "Neu", "value": "1"}})
    assert (shown["state"], shown["opened_at"]) == ("Neu", "2026-01-31 10:00:00"), "what people see is in the zone of who asks"
    times = {"opened_at": {"display_value": "31.01.2026 11:00:00", "value": "2026-01-31 10:00:00"}, "closed_at": {"display_value": "", "value": ""}}
    found = desk.ticket_of({"state": {"display_value": "Neu", "value": "1"}} | times)
    assert (found["opened_at"], found["closed_at"]) == ("2026-01-31 10:00:00 UTC", None), "a value is in UTC wherever it is there"
    assert [servicenow.shown(value) for value in ({"display_value": "", "value": "v"}, "", "x")] == ["v", None, "x"]
    assert freshdesk.FreshdeskRest().ticket_of({"status": 2, "priority": 9}) == {"status": "Open", "priority": 9}


# -------------------------------------------------------------------------------------------------------- tables of tickets


def test_a_column_is_text_and_whole_numbers_are_whole():
    assert files.as_text(pa.array([1.0, 1.5, None])).fillna("none").tolist() == ["1", "1.5", "none"]
    assert files.as_text(pa.array([7, None])).fillna("none").tolist() == ["7", "none"]
    with pytest.raises(ValueError, match=r"^a column of it holds list<.*>, which is no text$"):
        files.as_text(pa.array([[1]]))


def test_the_names_of_a_desk_count_in_their_order_and_the_parameter_before_them():
    kind = {"user_name": ("Author Username", "Author")}
    assert files.layout_of(["Author", "Author Username", "subject"], {}, kind) == {"subject": "subject", "user_name": "Author Username"}
    assert files.layout_of(["Author", "subject"], {}, kind)["user_name"] == "Author"
    assert files.layout_of(["Author", "subject", "who"], {"user_name": "who"}, kind)["user_name"] == "who"
    assert "user_name" not in files.layout_of(["Author", "subject"], {"user_name": ""}, kind)
    with pytest.raises(
        ValueError, match=r"^of its 2 columns none is subject, ticket_id \('nr' by `columns`\), and 1 are known \(state\): is it Title\?"
    ):
        files.layout_of(["Title", "state"], {"ticket_id": "nr"})
    with pytest.raises(ValueError, match=r"none is subject \('topic' by `columns`\), and 0 are known \(none\): does its first line"):
        files.layout_of(["x"], {"subject": "topic"})


def test_each_row_takes_the_first_of_the_columns_of_its_desk_that_holds_anything():
    page = pa.table({"subject": ["a", "b", "c"], "resolved": ["1", " ", None], "closed": ["2", "3", None], "other": ["4", "5", "6"]})
    of_kind = {"closed": ("resolved", "cancelled", "closed"), "queue": ("other",), "body": ("text", "words")}
    layout = files.layout_of(page.column_names, {}, of_kind)
    found = files.filled(page, layout, of_kind)
    assert found.to_pydict() == {"subject": ["a", "b", "c"], "resolved": ["1", "3", None], "other": ["4", "5", "6"]}
    assert files.filled(page, layout | {"closed": "closed"}, of_kind) is page, "which the user has named"
    assert files.filled(page, layout | {"body": "closed"}, of_kind).column_names == page.column_names, "which is read for something else"


@pytest.mark.parametrize(
    ("fields", "is_raw"),
    [
        ({"caller_id": {"link": "https://x/u1", "value": "u1"}}, True), ({"caller_id": {"link": "https://x/u1", "display_value": "Lo Mi"}}, False),
        ({"state": "6"}, True), ({"state": "Resolved"}, False), ({"state": "", "priority": "3"}, True), ({"priority": "3 - Moderate"}, False),
        ({"caller_id": "6816f79cc0a8016401c5a33be04be441"}, True), ({"caller_id": "Lo Mi", "assigned_to": ""}, False), ({}, False),
    ],
)  # fmt: skip
def test_raw_values_of_an_incident_are_told_with_and_without_its_state(fields, is_raw):
    found = servicenow.ServiceNowRest().ticket_of({"sys_class_name": "incident", "opened_at": "2026-01-31 10:00:00"} | fields)
    assert found["opened_at"] == "2026-01-31 10:00:00" + (" UTC" if is_raw else "")


@pytest.mark.parametrize("kind", [servicenow.ServiceNowCsv(), servicenow.ServiceNowRest(), freshdesk.FreshdeskRest()])
def test_a_ticket_that_was_resolved_was_closed_then_whether_its_desk_has_closed_it_or_not(kind):
    resolved, closed = kind.columns["closed"]
    page = pa.table({"subject": ["a", "b", "c"], resolved: ["2026-01-28", "2026-01-28", None], closed: [None, "2026-01-31", "2026-01-31"]})
    layout = files.layout_of(page.column_names, {}, kind.columns)
    assert files.filled(page, layout, kind.columns)[layout["closed"]].to_pylist() == ["2026-01-28", "2026-01-28", "2026-01-31"]
    assert "resolved" in resolved


def test_a_column_of_times_that_nobody_reads_is_named_and_without_one_for_creation_refused():
    page = pa.table(
        {"subject": ["a"], "created": ["2026-01-31"], "when": ["2026-01-30 10:00"], "tags": pa.array([["2026-01-30"]]), "hash": [b"\xff"]}
    )
    layout = {"subject": "subject", "created": "created"}
    assert files.unread_times(page, layout, columns={}) == ["when"]
    page, layout = page.drop_columns("created"), {"subject": "subject"}
    assert files.unread_times(page, layout, columns={"created": ""}) == ["when"]
    with pytest.raises(ValueError, match="no column is `created`, though 'when' holds times such as '2026-01-30 10:00': name it in `columns`"):
        files.unread_times(page, layout, columns={})


def test_rows_without_an_id_are_put_aside_by_their_number():
    bad, rows = [], pd.DataFrame({"ticket_id": [" 1 ", "", None, "2"]})
    kept = files.numbered_rows(rows, "f", first_row=5, bad=bad)
    assert kept.to_numpy().tolist() == [["1", "f", 5], ["2", "f", 8]]
    assert bad == [("f", 6, "no ticket_id", ""), ("f", 7, "no ticket_id", "")]


def run_over(folder, *texts, **asked):
    """A TicketRun that has read CSV files with these texts."""
    run = files.TicketRun(folder, asked=Extraction(day="2026-01-31", **asked), labels=pd.Series(dtype="str"))
    for number, text in enumerate(texts):
        (folder / f"{number}.csv").write_text(text)
        files.CsvTickets().extract(str(folder / f"{number}.csv"), run)
    return run


def test_tickets_without_ids_are_numbered_over_all_files(tmp_path):
    run = run_over(tmp_path, "subject\na\nb\n", "", "subject\nc\n")
    assert [frame.ticket_id.tolist() for frame in run.frames] == [["1", "2"], ["3"]]
    with pytest.raises(ValueError, match="it has ids of tickets and other files have none, or the other way round"):
        run_over(tmp_path, "subject\na\n", "ticket_id,subject\n1,a\n")
    with pytest.raises(ValueError, match="it has ids of tickets and other files have none"):
        sqlite.OsticketFile().extract("a database", run)


def test_of_equal_ids_the_newest_row_is_written_in_the_order_of_numbers(tmp_path):
    rows = ["10,a,2026-01-30,2026-01-30", "9,b,2026-01-29,2026-01-29", "9,c,2026-01-29,2026-01-30", "9,c,2026-01-29,2026-01-30"]
    run = run_over(tmp_path, "\n".join(["ticket_id,subject,created,lastupdate", *rows, "8,old,2026-01-24,2026-01-24"]), days=7)
    run.write()
    table = pd.read_parquet(tmp_path / "tickets.parquet")
    assert table[["ticket_id", "subject"]].to_numpy().tolist() == [["9", "c"], ["10", "a"]]
    assert {name: run.asked.counts[name] for name in ("copies", "older", "outside")} == {"copies": 2, "older": 1, "outside": 1}
    older = pd.read_csv(tmp_path / "superseded.csv")
    assert older[["ticket_id", "row", "differs"]].to_numpy().tolist() == [[9, 2, "subject, lastupdate"]]
