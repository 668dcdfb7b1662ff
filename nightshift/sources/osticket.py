"""What an osTicket is asked for, in words that SQLite, MySQL and MariaDB share; whose words an entry of a
thread is after a merge.

osTicket 1.14 and later merge tickets (Ticket::merge, Thread::setExtra, ThreadEntry::saveExtra): the thread
of the merged ticket becomes one of type
C and is left empty, and its entries move to the thread of the other ticket, where they keep their ids and
times, get the flag FLAG_CHILD and a
row in thread_entry_merge, whose `data` names the thread that they came from: {"thread": 17}. Tickets that
are merely linked keep their threads.
"""

import json

FIRST = (
    "1000-01-01 00:00:00"  # the earliest moment of both databases: an empty time, 0000-00-00, lies before it
)
# not known to be created before; so an empty time is in
WINDOW = "COALESCE(created BETWEEN '1000-01-01 00:00:00' AND ?, 0) = 0"
FLAG_CHILD = 0x400  # of an entry that came with a merged ticket


def tickets_query(prefix, has_flags=True):
    """The query of one page of tickets: values (id, lastupdate, created, rows) after which, since
    which, from which and how many.

    The first message and the first response are the entries of the lowest ids that the ticket did not
    get by a merge, and which are not older than
    the ticket, where it has such ones: the latter holds for a database without flags, too. has_flags :
    whether thread_entry has the column.
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
    """The query of (number, name, urgency) of all priorities."""
    return f"SELECT priority_id, priority, priority_urgency FROM {prefix}ticket_priority"


def has_flags(ask, prefix, lacking):
    """Whether entries of threads have flags, which osTicket before 1.10 has not. lacking : the error
    that `ask` raises where a column lacks."""
    try:
        ask(f"SELECT flags FROM {prefix}thread_entry WHERE id = -1")
    except lacking:
        return False
    return True


def moved_words(ask, prefix, ticket_ids, lacking):
    """{ticket id: {body, format, first_response, messages, replies}} of tickets that were merged into
    others, as far as the database knows it.

    ask : as the notebook opens it. ticket_ids : list of int, of which the threads are of type C.
    Nothing for a database without the table
    thread_entry_merge, or in which the account may not read it: `lacking` are the errors that say so.
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
    except lacking:
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
    """The thread that an entry came from, int, of the JSON `data` of its row in thread_entry_merge;
    None where it says none."""
    try:
        return int(json.loads(data)["thread"])
    except (TypeError, ValueError, LookupError):
        return None
