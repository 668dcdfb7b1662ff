"""What is asked of the database of an osTicket and what its answers become, by hand: prefixes, merged tickets, logins, progress, changes."""

import json
import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from nightshift.sources.tickets import changes
from nightshift.sources.tickets.osticket import find_prefix, has_flags, lacking, moved_words, open_sqlite, origin_of, plain, with_own_words
from nightshift.sources.tickets.rows import FIRST, Extraction, as_tickets
from nightshift.sources.tickets.server import login, read_option_file
from nightshift.sources.tickets.tables import flat

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
