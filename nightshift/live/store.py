"""What has been scored between the nights: SQLite in one file, with the place in the journal up to which.

Scores and place are one transaction, so that what was killed in between is scored again and stands there
once. Anybody may read the file meanwhile.
"""

import json
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from nightshift.cleaning.transfers import measure_durations, name_links
from nightshift.live.journal import Position

TIMES = ("created", "submitted", "started", "finished", "scored_at")
OF_EVENT = [
    "request_id",
    "attempt",
    "state",
    "created",
    "submitted",
    "started",
    "finished",
    "bytes",
    "file",
    "kind",
]
OF_EVENT += ["activity", "protocol", "src", "dst", "fts", "src_host", "dst_host", "reason", "link"]
OF_SCORE = ["predicted_s", "forecast_s", "first_score", "score", "p_value", "flagged", "scored_at"]
COLUMNS = [*OF_EVENT, *OF_SCORE, "of_night"]
KEYS = ["request_id", "state", "started", "finished"]  # what tells one attempt from another
TABLES = f"""
create table if not exists transfers ({", ".join(COLUMNS)});
drop index if exists once;  -- of earlier versions: it took two failures before a start for one
create unique index if not exists once_each on transfers
    (request_id, state, coalesce(started, 0), coalesce(finished, 0),
     case when started is null then reason else '' end,
     case when started is null then coalesce(submitted, 0) else 0 end);
create index if not exists by_start on transfers (started);
create table if not exists rejected (request_id, state, why, at);
create table if not exists noted (name primary key, value);
"""


class Store:
    """The file at `path`; `read_only` for who only looks."""

    def __init__(self, path, *, read_only=False):
        address = f"{Path(path).resolve().as_uri()}?mode=ro" if read_only else str(path)
        self.db = sqlite3.connect(address, isolation_level=None, timeout=30, uri=read_only)
        if not read_only:
            self.db.execute("pragma journal_mode = wal")
            self.db.execute("pragma synchronous = normal")  # after a loss of power the journal is read again
            self.db.executescript(TABLES)

    @contextmanager
    def transaction(self):
        """All or nothing of what is written within the block."""
        self.db.execute("begin immediate")
        try:
            yield
            self.db.execute("commit")
        except BaseException:
            self.db.execute("rollback")
            raise

    def note(self, name, value):
        """Note a value, as JSON can hold it, under a name."""
        self.db.execute("insert or replace into noted values (?, ?)", (name, json.dumps(value)))

    def noted(self, name, default=None):
        """What is noted under a name."""
        found = self.db.execute("select value from noted where name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found else default

    @property
    def position(self):
        """The place in the journal up to which events are in the store."""
        return Position(*self.noted("position", ["", 0]))

    def add(self, rows):
        """Add transfers, DataFrame of COLUMNS; sqlite3.IntegrityError where one is there."""
        places = ", ".join("?" * len(COLUMNS))
        self.db.executemany(
            f"insert into transfers ({', '.join(COLUMNS)}) values ({places})", as_tuples(rows)
        )

    def remove(self, ids):
        """Remove transfers by their numbers."""
        self.db.executemany("delete from transfers where rowid = ?", [(int(one),) for one in ids])

    def put_aside(self, rows, at):
        """Keep of events, DataFrame request_id, state, rejected_because, that they are not used, and why."""
        columns = zip(
            rows.request_id.astype(object).fillna(""),
            rows.state.astype(str),
            rows.rejected_because,
            strict=True,
        )
        self.db.executemany("insert into rejected values (?, ?, ?, ?)", [(*one, at) for one in columns])

    def of_requests(self, request_ids):
        """The transfers with one of these ids: DataFrame COLUMNS and id."""
        asked = json.dumps([one for one in request_ids if isinstance(one, str)])
        return self.read("where request_id in (select value from json_each(?))", (asked,))

    def read(self, where="", values=()):
        """The transfers that fit, in the order in which they came: DataFrame COLUMNS and id."""
        asked = f"select rowid as id, * from transfers {where} order by rowid"
        return typed(pd.read_sql_query(asked, self.db, params=values, dtype_backend="numpy_nullable"))

    def update_scores(self, rows):
        """Replace score, p_value, flagged, predicted_s, forecast_s and of_night of transfers, DataFrame of
        these and id.
        """
        names = ["score", "p_value", "flagged", "predicted_s", "forecast_s", "of_night"]
        settings = ", ".join(f"{name} = ?" for name in names)
        self.db.executemany(
            f"update transfers set {settings} where rowid = ?", as_tuples(rows, [*names, "id"])
        )

    def count(self, table="transfers"):
        """How many rows a table has."""
        return self.db.execute(f"select count(*) from {table}").fetchone()[0]


def as_tuples(rows, names=COLUMNS):
    """Rows of a frame as tuples that SQLite takes; times in microseconds since 1970."""
    columns = []
    for name in names:
        values = rows[name]
        if name in TIMES:
            missing = values.isna().to_numpy()
            numbers = (
                pd.to_datetime(values, utc=True)
                .astype("datetime64[us, UTC]")
                .astype("int64")
                .to_numpy()
                .tolist()
            )
            columns.append([None if none else one for one, none in zip(numbers, missing, strict=True)])
        elif name == "file":
            columns.append(values.to_numpy("uint64").view("int64").tolist())
        elif name in ("flagged", "of_night", "attempt", "id"):
            columns.append(values.astype(int).tolist())
        elif name in ("bytes", *OF_SCORE):
            columns.append([None if one != one else one for one in values.astype(float).tolist()])
        else:
            values = values.astype(object)
            columns.append(values.where(values.notna(), None).tolist())
    return zip(*columns, strict=True)


def typed(table):
    """A table of SQLite with the types of the clean table."""
    out = {"id": table.id.to_numpy("int64")}
    for name in COLUMNS:
        values = table[name]
        if name in TIMES:
            values = pd.to_datetime(values.astype("Int64"), unit="us", utc=True).astype("datetime64[us, UTC]")
        elif name == "file":
            values = values.to_numpy("int64").view("uint64")
        elif name in ("flagged", "of_night"):
            values = values.fillna(0).to_numpy("int64").astype(bool)
        elif name == "attempt":
            values = values.to_numpy("int16")
        elif name in ("bytes", *OF_SCORE):
            values = values.to_numpy(float, na_value=np.nan)
        else:
            values = values.astype(object).where(values.notna(), None)
            values = values if name == "request_id" else values.astype("category")
        out[name] = values
    return pd.DataFrame(out, index=table.index)


def measured(rows):
    """Attempts with durations, logarithms and links, as the clean table has them."""
    rows = measure_durations(rows)
    src, dst = (rows[name].astype("category") for name in ("src", "dst"))
    return rows.assign(src=src, dst=dst, fts=rows.fts.astype("category"), link=name_links(src, dst))


def ran_of(rows):
    """Those that have started and ended."""
    return rows[rows.started.notna() & rows.finished.notna()]
