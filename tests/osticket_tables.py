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


def write_sqlite(path, tables):
    """A new SQLite file of an osTicket with these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
        insert(connection.executemany, tables, "?")
        connection.commit()
    return path
