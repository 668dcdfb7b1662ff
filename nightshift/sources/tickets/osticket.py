"""The database of an osTicket: what it is asked, in words that SQLite, MySQL and MariaDB share.

    Questions    tickets_query, priorities_query, has_flags
    Prefix       how the names of its tables begin              find_prefix, with_prefix
    Merges       whose words an entry of a thread is            moved_words, origin_of, with_own_words
    Pages        raw tickets by their ids                       read_pages
    SQLite       a file instead of a server                     open_sqlite, lacking

osTicket 1.14 and later merge tickets (Ticket::merge, Thread::setExtra, ThreadEntry::saveExtra): the thread of
the merged ticket becomes one of type C and is left empty, and its entries move to the thread of the other
ticket, where they keep their ids and times, get the flag FLAG_CHILD and a row in thread_entry_merge, whose
`data` names the thread that they came from: {"thread": 17}. Tickets that are merely linked keep their
threads.
"""

import json
import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import mysql.connector
import pandas as pd
from tqdm import tqdm

# the earliest moment of both databases: an empty time, 0000-00-00, lies before it
FIRST = "1000-01-01 00:00:00"
# not known to be created before a moment; so a ticket with an empty time is within
WINDOW = "COALESCE(created >= '1000-01-01 00:00:00' AND created < ?, 0) = 0"
FLAG_CHILD = 0x400  # of an entry that came with a merged ticket
TABLE = re.compile(r"(?P<prefix>\w*?)(?:ticket|thread|user|department|help_topic)\w*")  # of osTicket
# a table or column that is not there, or may not be read
NO_SUCH = ValueError, mysql.connector.errors.ProgrammingError


def tickets_query(prefix, has_flags=True):
    """Return the query of one page of tickets.

    Its values: after which id, since which lastupdate, from which time of creation, and how many rows. The
    innermost part takes the next page of tickets by their ids, the part around it counts what was written in
    their threads, and the rest is looked up beside them, so that a ticket is always one row. The thread of a
    task may carry the number of a ticket, and is none of its threads. Entries that came by a merge do not
    count, as far as a database has flags. The first message is, of the entries of type M that are not older
    than the ticket, or else of all, the one with the lowest id; the first response is the same of type R.
    has_flags : whether thread_entry has the column `flags`.
    """
    own = f"COALESCE(e.flags, 0) & {FLAG_CHILD} = 0" if has_flags else "1 = 1"

    def first(kind):
        whose = f"e.type = '{kind}' AND {own}"
        return (
            f"COALESCE(MIN(CASE WHEN {whose} AND NOT COALESCE(e.created < p.created, 0) THEN e.id END), "
            f"MIN(CASE WHEN {whose} THEN e.id END))"
        )

    return f"""
SELECT k.ticket_id, t.number, a.address, u.name AS user_name, c.subject, m.body, m.format,
       t.created, t.closed, t.lastupdate, r.created AS first_response,
       s.name AS status, s.state, c.priority, h.topic AS help_topic,
       d.name AS queue, k.thread, k.messages, k.replies
FROM (SELECT p.ticket_id, MIN(x.object_type) AS thread,
             {first("M")} AS first_message, COUNT(CASE WHEN e.type = 'M' AND {own} THEN 1 END) AS messages,
             {first("R")} AS first_reply, COUNT(CASE WHEN e.type = 'R' AND {own} THEN 1 END) AS replies
      FROM (SELECT ticket_id, created FROM {prefix}ticket
            WHERE ticket_id > ? AND COALESCE(lastupdate BETWEEN '1000-01-01 00:00:00' AND ?, 0)
            = 0 AND {WINDOW} ORDER BY ticket_id LIMIT ?) p
      LEFT JOIN {prefix}thread x ON x.object_id = p.ticket_id AND x.object_type IN ('T', 'C')
      LEFT JOIN {prefix}thread_entry e ON e.thread_id = x.id
      GROUP BY p.ticket_id) k
LEFT JOIN {prefix}ticket t ON t.ticket_id = k.ticket_id
LEFT JOIN {prefix}user u ON u.id = t.user_id
LEFT JOIN {prefix}user_email a ON a.id = u.default_email_id
LEFT JOIN {prefix}ticket__cdata c ON c.ticket_id = t.ticket_id
LEFT JOIN {prefix}ticket_status s ON s.id = t.status_id
LEFT JOIN {prefix}help_topic h ON h.topic_id = t.topic_id
LEFT JOIN {prefix}department d ON d.id = t.dept_id
LEFT JOIN {prefix}thread_entry m ON m.id = k.first_message
LEFT JOIN {prefix}thread_entry r ON r.id = k.first_reply
ORDER BY k.ticket_id
"""


def priorities_query(prefix):
    """Return the query of (number, name, urgency) of all priorities."""
    return f"SELECT priority_id, priority, priority_urgency FROM {prefix}ticket_priority"


def has_flags(ask, prefix):
    """Whether entries of threads have flags, which osTicket before 1.10 has not."""
    try:
        ask(f"SELECT flags FROM {prefix}thread_entry WHERE id = -1")
    except NO_SUCH:
        return False
    return True


def find_prefix(ask):
    """Find how the names of osTicket's tables begin, such as "ost_", by the tables that the account can see.

    It is "ost_" where no osTicket is there, so that the error of the next query says what is lacking.
    ValueError of one line where there are several.
    """
    try:
        rows = ask("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")[1]
    except ValueError:  # SQLite; what a server says against it is passed on
        rows = ask("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")[1]
    names = {plain(name) for (name,) in rows}
    begins = [name.removesuffix("ticket_status") for name in names if name.endswith("ticket_status")]
    prefixes = sorted(one for one in begins if {f"{one}ticket", f"{one}thread"} <= names)
    if len(prefixes) > 1:
        raise ValueError(
            f"it has {len(prefixes)} osTickets, whose tables begin {', '.join(prefixes)}: set table_prefix"
        )
    return prefixes[0] if prefixes else "ost_"


def with_prefix(asked, ask):
    """Return `asked` (rows.Extraction) with a prefix of tables: its own, or where it has none the one that
    is found.
    """
    return asked if asked.table_prefix else replace(asked, table_prefix=find_prefix(ask))


def moved_words(ask, ticket_ids, *, prefix):
    """Look up what merged tickets said themselves, as far as the database knows it.

    Returns {ticket id: {body, format, first_response, messages, replies}}, {} for a database without the
    table thread_entry_merge, or in which the account may not read it. ask : as `open_sqlite` yields it.
    ticket_ids : list of int, of tickets whose threads are of type C.
    """
    try:
        threads = {}
        for first in range(0, len(ticket_ids), 500):
            some = ticket_ids[first : first + 500]
            marks = ", ".join("?" * len(some))
            query = (
                f"SELECT id, object_id FROM {prefix}thread WHERE object_type = 'C' AND object_id IN ({marks})"
            )
            threads |= {int(thread): int(ticket) for thread, ticket in ask(query, *some)[1]}
        moved = ask(f"SELECT e.id, e.type, e.created, g.data FROM {prefix}thread_entry_merge g "
                    f"JOIN {prefix}thread_entry e ON e.id = g.thread_entry_id ORDER BY e.id")[1]  # fmt: skip
    except NO_SUCH:
        return {}
    words, message = {}, {}
    for entry, kind, created, data in moved:
        ticket = threads.get(origin_of(data))
        if ticket is None:
            continue
        own = words.setdefault(
            ticket, {"body": None, "format": None, "first_response": None, "messages": 0, "replies": 0}
        )
        kind = kind.decode() if isinstance(kind, bytes | bytearray) else kind
        if kind == "M":
            own["messages"] += 1
            message.setdefault(ticket, int(entry))
        elif kind == "R":
            own["replies"] += 1
            own["first_response"] = own["first_response"] or created
    for ticket, entry in message.items():
        rows = ask(f"SELECT body, format FROM {prefix}thread_entry WHERE id = ?", entry)[1]
        words[ticket]["body"], words[ticket]["format"] = rows[0] if rows else (None, None)
    return words


def origin_of(data):
    """Return the thread that an entry came from, int, None where that is not known.

    data : the JSON of its row in thread_entry_merge.
    """
    try:
        return int(json.loads(data)["thread"])
    except (TypeError, ValueError, LookupError):
        return None


def plain(value):
    """Return the `value` of a database as text; missing stays missing."""
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    return value if value is None else str(value)


def with_own_words(page, ask, *, prefix):
    """Return the `page` (DataFrame) with what merged tickets in it said themselves, as far as `moved_words`
    finds it.
    """
    merged = page.index[(page.thread == "C") & page.body.isna()]
    if not len(merged):
        return page
    words = moved_words(ask, [int(page.ticket_id[i]) for i in merged], prefix=prefix)
    for i in merged:
        for name, value in words.get(int(page.ticket_id[i]), {}).items():
            page.loc[i, name] = plain(value)
    return page


def read_pages(ask, asked, *, after=-1, since=FIRST):
    """Yield (highest id, rows) page by page: rows of text with columns of `rows.SCHEMA`, one per ticket.

    They are the tickets with an id above `after` whose last change is not known to lie at or before `since`,
    and that were not created before the window of `asked` (rows.Extraction). Memory holds one page. Each page
    begins after the last id of the one before, which is quick, and loses no ticket when others are deleted
    meanwhile. The priority stands in the form of the ticket as the text of a number, `3`, as nothing, or in
    some versions as `3,Normal`; the table of priorities says what it is called and how urgent it is.
    """
    rows = [list(map(plain, row)) for row in ask(priorities_query(asked.table_prefix))[1]]
    priorities = pd.DataFrame(rows, columns=["number", "name", "urgency"], dtype="string").set_index("number")
    query = tickets_query(asked.table_prefix, has_flags(ask, asked.table_prefix))
    with tqdm(desc="tickets", unit="ticket") as bar:
        while True:
            names, rows = ask(query, after, since, asked.begin, asked.page_rows)
            if not rows:
                return
            after = int(rows[-1][0])
            page = pd.DataFrame([list(map(plain, row)) for row in rows], columns=names, dtype=object)
            page = with_own_words(page, ask, prefix=asked.table_prefix)
            number = page.priority.astype("string").str.extract(r"^\s*0*(\d+)", expand=False)
            yield (
                after,
                page.assign(priority=number.map(priorities["name"]), urgency=number.map(priorities.urgency)),
            )
            bar.update(len(rows))


def lacking(what):
    """Say what to do about a table or column that is not there: a line that begins with "no".

    The table of form entries is made by osTicket itself, and only when somebody of the staff looks at the
    list of tickets for the first time.
    """
    if what.endswith("ticket__cdata"):
        return (
            f"no table {what}: osTicket makes it when its list of tickets is first looked at, so open that "
            "list once as staff"
        )
    if table := TABLE.fullmatch(what):
        return f"no table {what}: is it an osTicket, and does table_prefix ({table['prefix']}) fit?"
    return f"no column {what}: c are the fields of the ticket form, which needs its subject and priority"


@contextmanager
def open_sqlite(path):
    """Yield `ask`: ask(query, *values) is (names of columns, rows) of a SQLite file, which is only read.

    ValueError of one line for a question that has no answer.
    """
    with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda text: text.decode("utf-8", "replace")

        def ask(query, *values):
            try:
                cursor = connection.execute(query, values)
                return [name for name, *_ in cursor.description], cursor.fetchall()
            except sqlite3.Error as error:
                missing = re.fullmatch(r"no such (?:table|column): (?:main\.)?(\S+)", str(error))
                line = f"it has {lacking(missing[1])}" if missing else str(error)
                raise ValueError(line) from None

        yield ask
