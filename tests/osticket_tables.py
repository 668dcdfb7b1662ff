"""Rows for the tables of an osTicket, and how they get into SQLite and MariaDB alike."""

import sqlite3
from contextlib import closing

from conftest import REPOSITORY

TABLES = (REPOSITORY / "notebooks/tickets/osticket.sql").read_text()
NAMES = ["ticket", "user", "user_email", "ticket__cdata", "ticket_priority", "ticket_status", "help_topic", "department", "thread", "thread_entry"]


def entry(number, thread, kind, created, body="", **more):
    return {
        "id": number,
        "thread_id": thread,
        "type": kind,
        "created": created,
        "title": "",
        "body": body,
        "format": "html",
        "user_id": 0,
        "staff_id": 0,
        "poster": "",
    } | more


def ticket(number, created="2026-01-05 10:00:00", **more):
    """One row of ost_ticket."""
    row = {"ticket_id": number, "number": str(100000 + number), "user_id": 1, "status_id": 1, "topic_id": 1, "dept_id": 1}
    return row | {"created": created, "closed": None, "lastupdate": created} | more


def thread(number, of, kind="T"):
    return {"id": number, "object_id": of, "object_type": kind, "created": "2026-01-05 10:00:00"}


def rows_of(numbers, created="2026-01-05 10:00:00"):
    """{table: rows} of plain tickets with these numbers: three users, each ticket with a message, a note and two replies of the same day."""
    text = "Dear team, my job waits 🙂. "
    return {
        "ost_user": [{"id": i, "default_email_id": 10 + i, "name": f"Lo Mi{i}"} for i in (1, 2, 3)],
        "ost_user_email": [{"id": 10 + i, "user_id": i, "address": f"Lomi{i}@uni.example"} for i in (1, 2, 3)],
        "ost_department": [{"id": 1, "name": "Front desk"}],
        "ost_help_topic": [{"topic_id": 1, "topic": "Batch"}],
        "ost_ticket": [ticket(i, created, user_id=1 + i % 3) for i in numbers],
        "ost_ticket__cdata": [{"ticket_id": i, "subject": f"Job {i} waits 🙂", "priority": "3"} for i in numbers],
        "ost_thread": [thread(i, i) for i in numbers],
        "ost_thread_entry": [
            entry(4 * i + k, i, "MNRR"[k], f"{created[:10]} {12 + k}:00:00", f"{k} of {i}: " + text * 20) for i in numbers for k in range(4)
        ],
    }


def insert(execute_many, tables, mark):
    """Insert {table: rows} by `execute_many(statement, values)`, where `mark` stands for a value."""
    for table, rows in tables.items():
        if rows:
            statement = f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({', '.join([mark] * len(rows[0]))})"
            execute_many(statement, [tuple(row.values()) for row in rows])


def write_sqlite(path, tables, more=""):
    """A new SQLite file of an osTicket with these rows; more : further statements about its tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES + more)
        insert(connection.executemany, tables, "?")
        connection.commit()
    return path


MERGES = """
ALTER TABLE ost_thread_entry ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;
CREATE TABLE ost_thread_entry_merge (id INTEGER NOT NULL PRIMARY KEY, thread_entry_id INTEGER NOT NULL, data TEXT);
"""  # what osTicket 1.18 has beyond TABLES


def merged_tables():
    """{table: rows} as osTicket 1.18 leaves them: the older ticket 1 merged into ticket 2, ticket 4 into the older ticket 3, ticket 5 linked only.

    Each has a message and, but for 2, a reply of its own an hour later.
    """
    tables = rows_of([1, 2, 3, 4, 5])
    hours = {1: 8, 2: 12, 3: 8, 4: 12, 5: 16}
    for row in tables["ost_ticket"]:
        row["created"] = row["lastupdate"] = f"2026-01-05 {hours[row['ticket_id']]:02d}:00:00"
    for number in (1, 4):
        tables["ost_ticket"][number - 1] |= {"status_id": 3, "closed": "2026-01-06 10:00:00"}
    tables["ost_thread"] = [thread(i, i, "C" if i in (1, 4) else "T") for i in range(1, 6)]
    lives_in, entries, moved = {1: 2, 4: 3}, [], []
    for number, hour in hours.items():
        for k, kind in enumerate("M" if number == 2 else "MR"):
            row = entry(10 * number + k, lives_in.get(number, number), kind, f"2026-01-05 {hour + k:02d}:00:01", f"{kind} of {number}")
            entries.append(row | {"flags": (0x400 if number in lives_in else 0) | 0x40})
            if number in lives_in:
                moved.append({"id": len(moved) + 1, "thread_entry_id": row["id"], "data": f'{{"thread":{number}}}'})
    entries.append(entry(99, 2, "R", "2026-01-05 18:00:01", "R of 2") | {"flags": 0})
    return tables | {"ost_thread_entry": entries, "ost_thread_entry_merge": moved}


def assert_own_words(table):
    """That every ticket of `merged_tables`, as extracted, has its own words, numbers and first answer (written in Berlin)."""
    table = table.set_index("ticket_id")
    assert table.body.to_dict() == {str(i): f"M of {i}" for i in range(1, 6)}
    answered = {"1": "08", "2": "17", "3": "08", "4": "12", "5": "16"}
    assert table.first_response.dt.strftime("%H").to_dict() == answered
    assert table.messages.tolist() == table.replies.tolist() == [1] * 5
    assert table.thread.tolist() == ["C", "T", "T", "C", "T"]
