"""What osTicket stores of the simulated help desk.

draw_entries              messages and replies of every ticket
make_lists, make_tables   osTicket's tables, as notebooks/tickets/osticket.sql has them
draw_database             all of this for the tickets of a sample
write_database            these tables in an SQLite file
"""

import contextlib
import sqlite3

import numpy as np
import pandas as pd

from helpers import atomic, project_path
from nightshift.simulate.tickets import OPEN, list_topics
from nightshift.simulate.tickets_desk import ZONE

ENTRY = ["thread_id", "type", "at_h", "body", "format", "user_id", "staff_id", "poster"]


def server_times(since_h, since):
    """The server's clock at these hours after the moment `since`, as texts without a zone; None where
    infinite.
    """
    finite = pd.Series(since_h, dtype=float).where(np.isfinite(since_h))
    at = (since + pd.to_timedelta(finite, unit="h")).dt.floor("s")
    text = at.dt.tz_convert(ZONE).dt.strftime("%Y-%m-%d %H:%M:%S").astype(object)
    return text.where(at.notna(), None).to_list()


def draw_entries(writer, tickets, *, night_h):
    """Draw what is written in each ticket before the hour `night_h` of the span: DataFrame ENTRY, by time.

    After the first message come the first reply and 1.2 further entries in the mean, until the ticket is
    closed.
    """
    rows, rng, phrases = [], writer.rng, writer.phrases["replies"]
    closes_h = np.minimum(tickets.closed_h, night_h)
    for ticket, closes in zip(tickets.itertuples(), closes_h, strict=True):
        own, user, answered = writer.particulars(ticket), ticket.user + 1, ticket.reply_h
        name = writer.machine(ticket)["name"] if ticket.kind == "automatic" else own["name"]
        rows.append((ticket.ticket_id, "M", ticket.asked_h, ticket.body, ticket.format, user, 0, name))
        if answered >= night_h:
            continue
        later = np.sort(rng.uniform(answered, max(closes, answered), rng.poisson(1.2)))
        for i, at_h in enumerate([answered, *later]):
            voice = "first" if i == 0 else writer.pick(["user", "later"])
            text = writer.fill(writer.pick(phrases[voice]), own)
            if voice == "user":
                rows.append((ticket.ticket_id, "M", at_h, text, "text", user, 0, name))
            else:
                staff = own["staff"]
                number = writer.staff.index(staff) + 1
                rows.append((ticket.ticket_id, "R", at_h, text, "text", 0, number, staff))
    return pd.DataFrame(rows, columns=ENTRY).sort_values("at_h", kind="stable")


def make_lists(senders, intents):
    """Make the tables of osTicket that tickets refer to: {name: DataFrame} of queues, help topics and users.

    senders : name and address of users and then of machines.
    """
    queues, topics = sorted(intents.queue.unique()), list_topics(intents)
    senders = senders.assign(id=senders.index + 1)
    return {
        "ost_department": pd.DataFrame({"id": range(1, len(queues) + 1), "name": queues}),
        "ost_help_topic": pd.DataFrame({"topic_id": range(1, len(topics) + 1), "topic": topics}),
        "ost_user": senders[["id", "name"]].assign(default_email_id=senders.id),
        "ost_user_email": senders[["id", "address"]].assign(user_id=senders.id),
    }


def make_tables(rng, tickets, *, entries, lists, since):
    """Make the tables of osTicket that hold tickets: {name: DataFrame}. Numbers of tickets are drawn.

    entries : of `draw_entries`. lists : of `make_lists`. since : begin of the span, from which hours count.
    """
    entries = entries.assign(id=np.arange(1, len(entries) + 1))
    entries = entries.assign(created=server_times(entries.at_h, since), title=None)
    is_open = (tickets.status == OPEN).to_numpy()
    newest_h = entries.groupby("thread_id").at_h.max().reindex(tickets.ticket_id).to_numpy()
    newest_h = np.maximum(newest_h, np.where(is_open, 0, tickets.closed_h))
    created, number = server_times(tickets.asked_h, since), rng.permutation(900_000)[: len(tickets)]
    rows = {
        "ticket_id": tickets.ticket_id,
        "number": (100_000 + number).astype(str),
        "user_id": tickets.user + 1,
        "status_id": tickets.status,
        "topic_id": tickets.topic.map(lists["ost_help_topic"].set_index("topic").topic_id),
        "dept_id": tickets.queue.map(lists["ost_department"].set_index("name").id),
        "created": created,
        "closed": server_times(np.where(is_open, np.nan, tickets.closed_h), since),
        "lastupdate": server_times(newest_h, since),
    }
    threads = {
        "id": tickets.ticket_id,
        "object_id": tickets.ticket_id,
        "created": created,
        "object_type": np.where(tickets.kind == "merged", "C", "T"),
    }
    form = tickets[["ticket_id", "subject"]].assign(priority=(tickets.priority + 1).astype(str))
    return {
        "ost_ticket": pd.DataFrame(rows),
        "ost_ticket__cdata": form,
        "ost_thread": pd.DataFrame(threads),
        "ost_thread_entry": entries.drop(columns="at_h"),
    }


def draw_database(writer, tickets, settings, *, users, intents):
    """Draw all tables of osTicket for `tickets`: {name: DataFrame}, those of `make_lists` and `make_tables`.

    Users and machines, in this order, are those that have sent them; `writer` has written them.
    """
    since = settings.tickets_from
    night_h = (settings.end - since) / pd.Timedelta(hours=1)
    entries = draw_entries(writer, tickets, night_h=night_h)
    machines = pd.DataFrame(writer.phrases["automatic"])
    senders = pd.concat([users, machines], ignore_index=True)[["name", "address"]]
    lists = make_lists(senders, intents)
    return lists | make_tables(writer.rng, tickets, entries=entries, lists=lists, since=since)


def write_database(tables, path):
    """Write `tables` of `make_lists` and `make_tables` to an SQLite file: the same rows, the same bytes."""
    schema = project_path("notebooks/tickets/osticket.sql").read_text(encoding="utf-8")
    with atomic(path) as temporary, contextlib.closing(sqlite3.connect(temporary)) as database:
        database.execute("PRAGMA page_size = 4096")
        database.executescript(schema)
        for name, table in tables.items():
            table.to_sql(name, database, index=False, if_exists="append")
        database.commit()
