"""One ticket, one row: the raw table that every source of tickets becomes, and what a night asks of a source.

Extraction              the parameters that all readers share, checked, and what they count on the way
as_tickets, in_window   from rows of text to raw tickets; which of them a night wants
ticket_pages            raw tickets of the database of an osTicket, page by page
write_tickets           the table, page by page
open_sentence           how many tickets are open
"""

import re
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import atomic
from nightshift.sources.base import Look
from nightshift.sources.tickets.osticket import FIRST, plain, read_pages
from nightshift.sources.tickets.tables import plain_state, read_states, words_of
from nightshift.sources.tickets.times import ORDERS, ticket_times

TEXT_COLUMNS = ["ticket_id", "number", "address", "user_name", "subject", "body", "format"]
TIME_COLUMNS = ["created", "closed", "lastupdate", "first_response"]
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in TEXT_COLUMNS),
        *((name, pa.timestamp("us", "UTC")) for name in TIME_COLUMNS),
        *((name, pa.string()) for name in ("status", "state", "priority")),
        ("urgency", pa.int64()),
        *((name, pa.string()) for name in ("help_topic", "queue", "thread")),
        ("messages", pa.int64()),
        ("replies", pa.int64()),
        ("label", pa.string()),
    ]
)
OPTIONAL = {  # column: what its absence costs
    "created": "there is no trend and no surge, and too little history for good",
    "first_response": "nobody knows who waited",
    "closed": "how long a ticket takes is not known",
    "address": "departments are not known",
    "body": "topics come from subjects alone",
}
COUNTED = [  # what an extraction counts, as status.json names it
    "unreadable",
    "doubled",
    "skipped",
    "copies",
    "older",
    "outside",
    "new",
    "changed",
    "vanished",
    "resumed",
]


@dataclass(frozen=True)
class Extraction:
    """Say what a night asks of a source of tickets; ValueError of one line for a value that means nothing.

    The fields are parameters of 1_extract. day : the last day, UTC. days : tickets created in so many days up
    to the end of `day`; 0 for all. timezone : of times that name none. dates : one of ORDERS. states :
    {state: meaning}. columns : {our name: name in a table}; an empty name says that there is none.
    table_prefix : of the tables of a database, "" where it is to be found. page_rows : tickets per answer of
    a database; timeout_s, retry_wait_s : the longest waits for an answer and between two tries, seconds.
    counts : what was counted on the way, by the names of COUNTED.
    """

    day: str
    days: int = 0
    timezone: str = "UTC"
    dates: str = "auto"
    states: dict = field(default_factory=dict)
    columns: dict = field(default_factory=dict)
    table_prefix: str = ""
    page_rows: int = 5000
    timeout_s: float = 60.0
    retry_wait_s: float = 30.0
    counts: Counter = field(default_factory=Counter)

    def __post_init__(self):
        try:
            ZoneInfo(self.timezone)
        except (LookupError, ValueError, OSError):
            raise ValueError(f"timezone {self.timezone!r} is no time zone such as Europe/Berlin") from None
        # it becomes part of queries, so it has to be a plain name
        if not re.fullmatch(r"(?:[A-Za-z_][A-Za-z0-9_]*)?", self.table_prefix):
            raise ValueError(f"table_prefix {self.table_prefix!r} is no name such as ost_")
        if self.dates not in ORDERS:
            raise ValueError(f"dates is {self.dates!r}: it must be one of {', '.join(ORDERS)}")
        read_states(self.states)
        if unknown := set(self.columns) - set(SCHEMA.names):
            raise ValueError(f"columns names {sorted(unknown)[0]!r}; it can name {', '.join(SCHEMA.names)}")

    @cached_property
    def meanings(self):
        """The parameter `states` as {plain state: meaning}."""
        return read_states(self.states)

    @property
    def named_columns(self):
        """The columns that have a name in the table: {our name: name in the table}."""
        return {ours: theirs for ours, theirs in self.columns.items() if theirs}

    @property
    def edge(self):
        """The end of the day, a Timestamp in UTC."""
        return pd.Timestamp(self.day, tz="UTC") + pd.Timedelta(days=1)

    @property
    def first(self):
        """The first moment of the window, a Timestamp in UTC, None without a window."""
        return self.edge - pd.Timedelta(days=self.days) if self.days else None

    @property
    def begin(self):
        """The first moment of the window by the clock of the server, as text that databases compare."""
        return self.first.tz_convert(self.timezone).strftime("%Y-%m-%d %H:%M:%S") if self.days else FIRST


def asked_of(settings):
    """Make the Extraction that the parameters of 1_extract ask for; errors as of Extraction."""
    names = [one.name for one in fields(Extraction) if one.name in settings]
    return Extraction(**{name: settings[name] for name in names})


def as_counts(texts, counts):
    """Read whole numbers from 0 to 2**31 - 1 (nullable Series) from a Series of text.

    Any other text is missing, and unless it is empty counted as unreadable in `counts`.
    """
    numbers = pd.to_numeric(texts, errors="coerce").astype("Float64")
    whole = numbers.where((numbers >= 0) & (numbers < 2**31) & (numbers % 1 == 0)).astype("Int64")
    counts["unreadable"] += int((whole.isna() & texts.notna() & (texts != "")).sum())
    return whole


def as_tickets(rows, asked, times=None):
    """Make raw tickets of `rows`: DataFrame [ticket, SCHEMA], empty for no row.

    rows : DataFrame of text with some of the columns of SCHEMA; the others are missing, and never guessed.
    asked : Extraction, whose counts grow. times : {column: function that reads it}; other columns of times
    are read by the server's clock (`ticket_times`). Where the parameter `states` knows the state of a ticket,
    `state` becomes its meaning; `status` keeps the word of the desk.
    """
    texts = {
        name: rows[name].astype("string") if name in rows else pd.Series(pd.NA, rows.index, "string")
        for name in SCHEMA.names
    }
    by_server = partial(ticket_times, timezone=asked.timezone, counts=asked.counts)
    readers = dict.fromkeys(TIME_COLUMNS, by_server)
    readers |= times or {}
    readers |= dict.fromkeys(("urgency", "messages", "replies"), lambda text: as_counts(text, asked.counts))
    tickets = pd.DataFrame(
        {name: readers[name](text) if name in readers else text for name, text in texts.items()}
    )
    tickets["status"] = tickets.status.fillna(tickets.state)
    if not asked.meanings:
        return tickets
    meant = [asked.meanings.get(plain_state(word)) for word in words_of(tickets)]
    return tickets.assign(state=pd.Series(meant, tickets.index, "string").fillna(tickets.state))


def ticket_pages(ask, asked, *, after=-1, since=FIRST):
    """Yield (highest id, raw tickets) page by page, as `osticket.read_pages` reads them."""
    for last, rows in read_pages(ask, asked, after=after, since=since):
        yield last, as_tickets(rows, asked)


def in_window(tickets, asked):
    """Which `tickets` were not created before the window of `asked`: bool (n,), True without a time."""
    return ~(tickets.created < asked.first) if asked.days else tickets.ticket_id.notna()


def write_tickets(pages, path, *, asked, labels):
    """Write the frames `pages` (iterable) as one Parquet file at `path`, atomically; memory holds one page.

    labels : Series of the labels that somebody wrote down, by ticket_id; they override those of the source.
    """
    # the empty table remembers which numbers may be missing
    empty = pa.Table.from_pandas(as_tickets(pd.DataFrame(), asked), SCHEMA, preserve_index=False)
    with atomic(path) as temporary, pq.ParquetWriter(temporary, empty.schema, compression="zstd") as out:
        for page in pages:
            label = page.ticket_id.map(labels).astype("string").fillna(page.label)
            out.write_table(pa.Table.from_pandas(page.assign(label=label), SCHEMA, preserve_index=False))


def look_at(label, tickets, bad_lines=()):
    """Sum up raw tickets that were looked at, and rows that could not be read: a Look."""
    times = pd.concat([tickets[name] for name in TIME_COLUMNS], ignore_index=True)
    return Look.of_rows(label, tickets[SCHEMA.names], times, bad_lines)


def look_at_database(ask, label, asked):
    """Ask the database of an osTicket for the first 1,000 tickets of the window, and for the number of all
    tickets and the ends of their times: a Look.
    """
    _, page = next(ticket_pages(ask, replace(asked, page_rows=1000)), (0, as_tickets(pd.DataFrame(), asked)))
    look = look_at(label, page)
    total, *ends = ask(f"SELECT COUNT(*), MIN(created), MAX(lastupdate) FROM {asked.table_prefix}ticket")[1][
        0
    ]
    times = ticket_times(pd.Series(map(plain, ends), dtype="string"), asked.timezone, asked.counts).dropna()
    look.total = int(total)
    if len(times):
        look.oldest, look.newest = times.min(), times.max()
    return look


def open_sentence(opened):
    """Say how many tickets are open, as a part of a sentence.

    opened : iterable of True, False or None where the source does not say, as `is_open` of tables.py gives
    them.
    """
    opened = list(opened)
    n_open, n_unsaid = (sum(one is value for one in opened) for value in (True, None))
    if opened and n_unsaid == len(opened):
        return "and how many are open is not known"
    unsaid = f" and {n_unsaid:,} of which the source does not say it" if n_unsaid else ""
    return f"of which {n_open:,} are open{unsaid}"
