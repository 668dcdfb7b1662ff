"""1_extract of the tickets study against a real MariaDB: the same table as from SQLite, only what changed, and every fault in one line."""

import json
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import mariadb_server
import mysql.connector
import pandas as pd
import pytest
from conftest import execute, refused, run_here
from daemons import certificate, free_ports
from osticket_tables import MERGES, NAMES, TABLES, assert_own_words, insert, merged_tables, rows_of, ticket, write_sqlite
from papermill.exceptions import PapermillExecutionError

from nightshift.sources.looks import look_at_source
from nightshift.sources.tickets import changes
from nightshift.sources.tickets.server import connect

N, PAGE = 5000, 1000
PASSWORD = "not-to-be-seen-17"
NOTEBOOK = "tickets/1_extract.ipynb"


@contextmanager
def root(server, database=""):
    """A connection of the root of `server`, which may do everything."""
    login = {"user": "root", "host": "127.0.0.1", "port": server.port, "use_pure": True, "autocommit": True}
    with closing(mysql.connector.connect(**login, database=database, charset="utf8mb4", collation="utf8mb4_general_ci")) as connection:
        yield connection.cursor()


def make_database(server, name, tables, *, without=(), charset="utf8mb4", more=""):
    """A new database `name` with osTicket's tables, which the account ro may read, except the tables `without`."""
    server.sql(f"CREATE OR REPLACE DATABASE {name} CHARACTER SET {charset}")
    server.sql(TABLES + more, name)
    with root(server, name) as cursor:
        insert(cursor.executemany, tables, "%s")
    for table in set(NAMES) - set(without):
        server.sql(f"GRANT SELECT ON {name}.ost_{table} TO ro@127.0.0.1")
    return f"mysql://127.0.0.1:{server.port}/{name}"


@pytest.fixture(scope="module")
def folder():
    if lacking := mariadb_server.missing():
        pytest.skip(f"no MariaDB here: {', '.join(lacking)} missing")
    path = Path(tempfile.mkdtemp(prefix="maria-", dir="/tmp"))  # the paths of sockets must be short
    (path / "new").mkdir()
    mariadb_server.install(path / "new/sql")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def new(folder):
    """new(name): a folder of that name for a server that nobody has used yet."""
    return lambda name: shutil.copytree(folder / "new", folder / name)


@pytest.fixture(scope="module")
def server(new):
    """A server with the account ro and a database `osticket` of `N` tickets."""
    with mariadb_server.mariadb(new("main")) as running:
        running.sql(f"CREATE USER ro@127.0.0.1 IDENTIFIED BY '{PASSWORD}'")
        make_database(running, "osticket", rows_of(range(1, N + 1)))
        yield running


@pytest.fixture(autouse=True)
def _login(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OSTICKET_OPTION_FILE", raising=False)
    monkeypatch.setenv("OSTICKET_USER", "ro")
    monkeypatch.setenv("OSTICKET_PASSWORD", PASSWORD)


def url_of(server, name="osticket"):
    return f"mysql://127.0.0.1:{server.port}/{name}"


def extract(products, source, run=run_here, **parameters):
    settings = {"day": "2026-01-31", "page_rows": PAGE, "retry_wait_s": 0.2, "timeout_s": 20.0} | parameters
    return run(NOTEBOOK, products, source=str(source), **settings)


def raw(products):
    return products / "data/raw/tickets"


def table(products):
    return pd.read_parquet(raw(products) / "tickets.parquet")


def status(products):
    return json.loads((raw(products) / "status.json").read_text())


def products_of_last_night(products):
    return {path.name: path.read_bytes() for path in raw(products).glob("*.*") if path.is_file()}


def no_line(products, source, **parameters):
    """The one line with which the notebook ends; what was there before stays as it was, and nobody sees the password."""
    before = products_of_last_night(products)
    line = refused(extract, products, source, **parameters)
    assert products_of_last_night(products) == before
    assert PASSWORD not in line
    return line


def after_page(monkeypatch, number, act):
    """Call `act` once, when so many pages of this test have been saved."""
    saved, write = [], changes.write_parquet

    def write_and_act(frame, path):
        write(frame, path)
        saved.append(path)
        if path.parent.name == "pages" and len(saved) == number:
            act()

    monkeypatch.setattr(changes, "write_parquet", write_and_act)
    return saved


def test_mariadb_and_sqlite_give_the_same_table(server, tmp_path):
    begun = time.perf_counter()
    page = extract(tmp_path / "a", url_of(server))
    assert time.perf_counter() - begun < 20, "it takes about 2 s on two idle cores"
    extract(tmp_path / "b", write_sqlite(tmp_path / "osticket.sqlite", rows_of(range(1, N + 1))))
    pd.testing.assert_frame_equal(table(tmp_path / "a"), table(tmp_path / "b"))
    first = table(tmp_path / "a").iloc[0]
    assert first.subject == "Job 1 waits 🙂"
    assert first.body.startswith("0 of 1: Dear team, my job waits 🙂")
    assert (first.messages, first.replies, first.urgency, first.priority) == (1, 2, 2, "high")
    assert first.first_response == pd.Timestamp("2026-01-05 13:00", tz="UTC")
    assert (status(tmp_path / "a")["state"], status(tmp_path / "a")["rows"]) == ("stale", N)
    assert f"{N:,} tickets, of which {N:,} are open" in page
    assert not (raw(tmp_path / "a") / "pages").exists()


def test_the_prefix_of_the_tables_is_found(server, tmp_path):
    make_database(server, "renamed", rows_of([1, 2]))
    for name in NAMES:
        server.sql(f"RENAME TABLE ost_{name} TO help_{name}; GRANT SELECT ON renamed.help_{name} TO ro@127.0.0.1", "renamed")
    extract(tmp_path, url_of(server, "renamed"))
    assert table(tmp_path).ticket_id.tolist() == ["1", "2"]
    for name in ("ticket", "ticket_status", "thread"):
        server.sql(f"CREATE TABLE ost_{name} LIKE help_{name}", "renamed")  # what the grants on the old names still cover
    line = no_line(tmp_path, url_of(server, "renamed"))
    assert "it has 2 osTickets, whose tables begin help_, ost_: set table_prefix" in line
    extract(tmp_path, url_of(server, "renamed"), table_prefix="help_")
    assert len(table(tmp_path)) == 2


def test_merged_tickets_keep_their_own_words_where_the_account_may_read_of_merges(server, tmp_path):
    url = make_database(server, "merged", merged_tables(), more=MERGES)
    extract(tmp_path / "a", url)
    without = table(tmp_path / "a").set_index("ticket_id")
    assert without.body.to_dict() == {"1": None, "2": "M of 2", "3": "M of 3", "4": None, "5": "M of 5"}, "no right to read of merges"
    server.sql("GRANT SELECT ON merged.ost_thread_entry_merge TO ro@127.0.0.1")
    extract(tmp_path / "b", url)
    assert_own_words(table(tmp_path / "b"))
    extract(tmp_path / "c", write_sqlite(tmp_path / "osticket.sqlite", merged_tables(), MERGES))
    pd.testing.assert_frame_equal(table(tmp_path / "b"), table(tmp_path / "c"))


def test_the_account_needs_select_on_ten_tables_and_may_not_write(server):
    rights = server.sql("SHOW GRANTS FOR ro@127.0.0.1")
    assert {"SELECT"} == set(re.findall(r"GRANT ([A-Z, ]+) ON `osticket`", rights))
    login = {"user": "ro", "password": PASSWORD, "host": "127.0.0.1", "port": server.port, "database": "osticket", "use_pure": True}
    with closing(mysql.connector.connect(**login)) as connection, closing(connection.cursor()) as cursor:
        for write in ("UPDATE ost_ticket SET number = '1'", "DELETE FROM ost_user", "CREATE TABLE x (i INT)", "DROP TABLE ost_thread"):
            with pytest.raises(mysql.connector.Error) as error:
                cursor.execute(write)
            assert error.value.errno in (1142, 1044), write


def test_the_session_cannot_write_even_for_an_account_that_may(server, monkeypatch):
    monkeypatch.setenv("OSTICKET_USER", "root")
    monkeypatch.setenv("OSTICKET_PASSWORD", "")
    with closing(connect(("127.0.0.1", server.port, "osticket"), timeout_s=5.0)) as connection, closing(connection.cursor()) as cursor:
        with pytest.raises(mysql.connector.Error) as error:
            cursor.execute("UPDATE ost_ticket SET number = '1'")
        assert error.value.errno == 1792, "in a transaction that only reads"


@pytest.mark.parametrize("charset", ["utf8mb4", "utf8mb3"])
def test_text_comes_as_it_was_written_whatever_the_tables_can_hold(server, tmp_path, charset):
    text = "Grüße, 仮想, שלום" + (" 🧪" if charset == "utf8mb4" else "")
    rows = rows_of([1]) | {"ost_ticket__cdata": [{"ticket_id": 1, "subject": text, "priority": ""}]}
    for line in rows["ost_thread_entry"]:
        line["body"] = text
    extract(tmp_path, make_database(server, f"text_{charset}", rows, charset=charset))
    assert table(tmp_path)[["subject", "body"]].values.tolist() == [[text, text]]


def test_the_next_night_asks_only_for_what_changed(server, tmp_path):
    source = make_database(server, "nights", rows_of(range(1, 101)))
    server.sql("UPDATE ost_ticket SET lastupdate = '2026-01-10 10:00:00' WHERE ticket_id = 1", "nights")
    extract(tmp_path, source)
    server.sql(
        "UPDATE ost_ticket SET lastupdate = '2026-01-20 10:00:00', status_id = 3, closed = '2026-01-20 10:00:00' WHERE ticket_id = 7;"
        "UPDATE ost_ticket SET number = 'unseen' WHERE ticket_id = 8;"  # without a new lastupdate: nobody can know
        "DELETE FROM ost_ticket WHERE ticket_id IN (50, 51);"
        "INSERT INTO ost_ticket SELECT 101, 'new', user_id, status_id, topic_id, dept_id, '2026-01-20 09:30:00', NULL, '2026-01-20 09:30:00' "
        "FROM ost_ticket WHERE ticket_id = 1",
        "nights",
    )
    page = extract(tmp_path, source)
    found = table(tmp_path).set_index("ticket_id")
    assert found.index.tolist() == [str(i) for i in range(1, 102) if i not in (50, 51)]
    assert found.loc[["7", "8", "101"], "state"].tolist() == ["closed", "open", "open"]
    assert found.loc[["7", "8", "101"], "number"].tolist() == ["100007", "100008", "new"]
    assert {name: status(tmp_path)[name] for name in ("new", "changed", "vanished")} == {"new": 1, "changed": 2, "vanished": 2}
    assert "1 tickets are new, 2 were asked for again since they may have changed, 2 are gone at the source" in page
    extract(tmp_path, source)
    assert {name: status(tmp_path)[name] for name in ("new", "changed", "vanished")} == {"new": 0, "changed": 2, "vanished": 0}


def test_a_lastupdate_in_the_future_hides_nothing(server, tmp_path):
    source = make_database(server, "future", rows_of(range(1, 11)))
    server.sql("UPDATE ost_ticket SET lastupdate = '2999-01-01 00:00:00' WHERE ticket_id = 1", "future")
    extract(tmp_path, source)
    server.sql("UPDATE ost_ticket SET lastupdate = '2026-01-20 00:00:00', number = 'seen' WHERE ticket_id = 2", "future")
    extract(tmp_path, source)
    assert table(tmp_path).number[1] == "seen"


def test_a_ticket_that_was_restored_makes_the_night_read_all(server, tmp_path):
    rows = rows_of(range(1, 11))
    source = make_database(server, "restored", rows)
    server.sql("DELETE FROM ost_ticket WHERE ticket_id = 4; UPDATE ost_ticket SET lastupdate = '2026-01-20 00:00:00' WHERE ticket_id = 9", "restored")
    extract(tmp_path, source)
    with root(server, "restored") as cursor:
        insert(cursor.executemany, {"ost_ticket": [ticket(4)]}, "%s")
    extract(tmp_path, source)
    assert table(tmp_path).ticket_id.tolist() == [str(i) for i in range(1, 11)]


def test_a_window_moves_on_and_a_longer_one_reads_anew(server, tmp_path):
    rows = rows_of(range(1, 5))
    rows["ost_ticket"] = [ticket(i, f"2026-01-{10 * i:02d} 10:00:00") for i in (1, 2, 3)] + [ticket(4, "0000-00-00 00:00:00", lastupdate=None)]
    server.sql("SET GLOBAL sql_mode = ''")
    source = make_database(server, "window", rows)
    kept = []
    for days in (15, 5, 0):
        extract(tmp_path, source, days=days)
        kept.append((table(tmp_path).ticket_id.tolist(), status(tmp_path)["vanished"]))
    assert kept == [(["2", "3", "4"], 0), (["3", "4"], 0), (["1", "2", "3", "4"], 0)]
    assert table(tmp_path).created.isna().tolist() == [False, False, False, True]
    assert status(tmp_path)["unreadable"] == 0, "an empty time is none that cannot be read"


def test_a_lost_connection_is_taken_up_again_within_the_night(server, tmp_path, monkeypatch):
    def kill():
        for line in server.sql("SELECT id FROM information_schema.processlist WHERE user = 'ro'").split()[1:]:
            server.sql(f"KILL {line}")

    saved = after_page(monkeypatch, 2, kill)
    extract(tmp_path, url_of(server))
    assert len([path for path in saved if path.parent.name == "pages"]) == 5
    assert table(tmp_path).ticket_id.tolist() == [str(i) for i in range(1, N + 1)]


def test_a_server_that_dies_between_pages_costs_only_what_was_not_read(new, tmp_path, monkeypatch):
    folder, port = new("dies"), free_ports(1)[0]
    with mariadb_server.mariadb(folder, port=port) as server:
        server.sql(f"CREATE USER ro@127.0.0.1 IDENTIFIED BY '{PASSWORD}'")
        source = make_database(server, "osticket", rows_of(range(1, 501)))
        extract(tmp_path / "a", source)
        server.sql("UPDATE ost_ticket SET lastupdate = '2026-01-20 10:00:00', number = 'x' WHERE ticket_id < 400", "osticket")
        with monkeypatch.context() as patch:
            after_page(patch, 2, server.process.kill)
            line = no_line(tmp_path / "a", source, page_rows=100)
    assert f"127.0.0.1:{port}" in line
    assert "check" in line
    pages = {path.name: path.stat().st_mtime_ns for path in (raw(tmp_path / "a") / "pages").glob("*.parquet")}
    assert len(pages) == 2
    (raw(tmp_path / "a") / "pages/.0123abcd-000000000300.parquet").write_bytes(b"PAR1, and no more")  # of a page, when the run itself is killed
    with mariadb_server.mariadb(folder, port=port) as server:
        server.sql("UPDATE ost_ticket SET lastupdate = '2026-01-20 11:00:00', number = 'y' WHERE ticket_id = 5", "osticket")
        kept = []
        with monkeypatch.context() as patch:
            after_page(patch, 1, lambda: kept.extend((raw(tmp_path / "a") / "pages").glob("*.parquet")))
            page = extract(tmp_path / "a", source, page_rows=100)
        extract(tmp_path / "b", source)
    assert {path.name for path in kept} > set(pages), "the first two are not read again"
    assert "2 pages were already here" in page
    pd.testing.assert_frame_equal(table(tmp_path / "a"), table(tmp_path / "b"))
    assert table(tmp_path / "a").number[4] == "y", "changed after its page had been read"
    assert not (raw(tmp_path / "a") / "pages").exists()


def test_a_hanging_server_is_given_up(new, tmp_path, monkeypatch):
    with mariadb_server.mariadb(new("hangs")) as server:
        server.sql(f"CREATE USER ro@127.0.0.1 IDENTIFIED BY '{PASSWORD}'")
        source = make_database(server, "osticket", rows_of(range(1, 31)))
        after_page(monkeypatch, 1, lambda: os.kill(server.process.pid, signal.SIGSTOP))
        try:
            line = no_line(tmp_path, source, page_rows=10, timeout_s=1.0)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
    assert re.match(r"127.0.0.1:\d+ gave no answer within 1 s: check", line)


def test_a_port_that_takes_connections_and_says_nothing_is_given_up(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        line = no_line(tmp_path, f"mysql://127.0.0.1:{silent.getsockname()[1]}/osticket", timeout_s=1.0)
    assert re.match(r"127.0.0.1:\d+ gave no answer within 1 s: check", line)


def test_every_fault_of_the_server_is_one_line_that_says_what_to_check(server, tmp_path, monkeypatch):
    extract(tmp_path, url_of(server))
    at = f"127.0.0.1:{server.port}"
    make_database(server, "denied", rows_of([1]), without=["thread_entry"])
    make_database(server, "young", rows_of([1]))
    server.sql("DROP TABLE ost_ticket__cdata", "young")
    make_database(server, "shrunk", rows_of([1]))
    server.sql("DROP TABLE ost_help_topic", "shrunk")
    make_database(server, "formless", rows_of([1]))
    server.sql("ALTER TABLE ost_ticket__cdata DROP COLUMN priority", "formless")
    free = free_ports(1)[0]
    for source, parameters, line in (
        (url_of(server, "denied"), {}, f"{at} does not let this account read ost_thread_entry: GRANT SELECT ON denied.ost_thread_entry (1142)"),
        (url_of(server, "young"), {}, f"{at} has no table ost_ticket__cdata: osTicket makes it when its list of tickets is first looked at"),
        (url_of(server, "shrunk"), {}, f"{at} has no table ost_help_topic: is it an osTicket"),
        (url_of(server, "formless"), {}, f"{at} has no column c.priority: c are the fields of the ticket form"),
        (url_of(server, "nowhere"), {}, f"{at} has no database nowhere for this login: check the name in the source"),
        (url_of(server), {"table_prefix": "help_"}, f"{at} does not let this account read help_ticket"),  # a server does not tell what there is not
        (f"mysql://127.0.0.1:{free}/osticket", {}, f"127.0.0.1:{free} cannot be reached: check host and port"),
        ("mysql://no-such-host.example/osticket", {}, "no-such-host.example:3306 cannot be reached: check host and port"),
    ):
        assert no_line(tmp_path, source, **parameters).startswith(line)
    monkeypatch.setenv("OSTICKET_PASSWORD", PASSWORD + "x")
    assert no_line(tmp_path, url_of(server)).startswith(f"{at} refuses this login: check OSTICKET_USER and OSTICKET_PASSWORD")


def test_a_full_server_and_a_lock_are_waited_for(server, tmp_path, monkeypatch):
    tries, connect = [], mysql.connector.connect

    def connect_later(**options):
        tries.append(1)
        if len(tries) < 3:
            raise mysql.connector.errors.get_mysql_exception(1040, "Too many connections")
        return connect(**options)

    monkeypatch.setattr("mysql.connector.connect", connect_later)
    extract(tmp_path, url_of(server))
    assert len(tries) == 3
    assert len(table(tmp_path)) == N


def test_the_login_may_stand_in_an_option_file_and_is_never_shown(server, tmp_path, monkeypatch):
    monkeypatch.delenv("OSTICKET_USER")
    monkeypatch.delenv("OSTICKET_PASSWORD")
    assert "no login: set OSTICKET_USER" in no_line(tmp_path, url_of(server))
    file = tmp_path / "my.cnf"
    monkeypatch.setenv("OSTICKET_OPTION_FILE", str(file))
    assert "my.cnf" in no_line(tmp_path, url_of(server))
    file.write_text(f"password={PASSWORD}\n[client]\n")
    assert no_line(tmp_path, url_of(server)).endswith("my.cnf cannot be read: MissingSectionHeaderError")
    file.write_text(f'!includedir /etc/nothing\n# ours\n[mysqld]\nuser=mysql\n[client]\nuser = ro\npassword = "{PASSWORD}"\nskip-ssl\n')
    assert "tickets, of which" in extract(tmp_path, url_of(server))
    file.write_text(f"[client]\nuser=ro\npassword=x{PASSWORD}\n")
    with pytest.raises(PapermillExecutionError):
        extract(tmp_path, url_of(server), run=execute)
    assert PASSWORD not in "".join(path.read_text() for path in tmp_path.glob("executed-*.ipynb"))


def test_a_login_in_the_source_is_refused_before_anything_is_asked(tmp_path):
    line = no_line(tmp_path, f"mysql://ro:{PASSWORD}@127.0.0.1:3306/osticket")
    assert line.endswith("an address with a user or a password before its host: credentials belong in the environment")
    assert "no address of a database" in no_line(tmp_path, "mysql://127.0.0.1:3306")


def test_with_ssl_ca_the_server_must_be_the_one_of_the_certificate(new, tmp_path, monkeypatch):
    folder = new("tls")
    (ours, key), (another, _) = certificate(folder, "ours"), certificate(folder, "another")
    monkeypatch.setenv("OSTICKET_OPTION_FILE", str(tmp_path / "my.cnf"))
    with mariadb_server.mariadb(folder, f"--ssl-cert={ours}", f"--ssl-key={key}") as server:
        server.sql(f"CREATE USER ro@127.0.0.1 IDENTIFIED BY '{PASSWORD}' REQUIRE SSL")
        source = make_database(server, "osticket", rows_of([1]))
        (tmp_path / "my.cnf").write_text(f"[client]\nssl-ca={ours}\n")
        extract(tmp_path, source)
        (tmp_path / "my.cnf").write_text(f"[client]\nssl-ca={another}\n")
        assert f"127.0.0.1:{server.port} has no certificate that is trusted: check ssl-ca" in no_line(tmp_path, source)
        (tmp_path / "my.cnf").write_text("[client]\nssl-ca=/nowhere.pem\n")
        assert "ssl-ca" in no_line(tmp_path, source)
    assert len(table(tmp_path)) == 1


def test_a_night_without_any_ticket_and_one_without_any_change(server, tmp_path):
    source = make_database(server, "empty", rows_of([]))
    for _ in range(2):
        extract(tmp_path, source)
        assert (status(tmp_path)["state"], len(table(tmp_path))) == ("empty", 0)
    with root(server, "empty") as cursor:
        insert(cursor.executemany, {"ost_ticket": [ticket(1)]}, "%s")
    extract(tmp_path, source)
    assert table(tmp_path).ticket_id.tolist() == ["1"]


def test_a_look_at_a_server_counts_tickets_and_says_from_when_they_are(server, monkeypatch):
    asked = {"day": "2026-01-31", "table_prefix": "ost_", "page_rows": PAGE, "timeout_s": 20.0, "retry_wait_s": 60.0, "timezone": "UTC"}
    [(_, seen)] = look_at_source("tickets", url_of(server), asked)
    assert (seen.problems, seen.total) == ([], N)
    assert str(seen.oldest) == str(seen.newest) == "2026-01-05 10:00:00+00:00"
    assert {"subject", "created", "address"} <= seen.filled
    [(_, seen)] = look_at_source("tickets", url_of(server), asked | {"table_prefix": "xyz_"})
    assert "GRANT SELECT ON osticket.xyz_ticket" in seen.problems[0]
    monkeypatch.setenv("OSTICKET_PASSWORD", "wrong")
    [(_, seen)] = look_at_source("tickets", url_of(server), asked)
    assert "check OSTICKET_USER and OSTICKET_PASSWORD" in seen.problems[0]
