"""The raw table of a server, brought up to date: only what changed is asked for.

Every page is saved as it arrives. The next night asks only for tickets whose `lastupdate` is later than the
newest one when the night before began, less an hour: in autumn the server's clock goes back by so much, and
what is just being written becomes visible a little later. A time in the future, which a wrong clock writes,
does not count. The ids of all tickets of the window are asked for at the end, so that tickets that are gone
at the source are dropped.

A night that was interrupted leaves its pages, and the next goes on after the last of them; then it asks again
for what changed since the interrupted one began, so that the table is the same as without the interruption.

Files below the raw folder: tickets.parquet, cursor.json (where the next night begins), and pages/ with
run.json while a night is under way.
"""

import json
import shutil

import pandas as pd
import pyarrow.parquet as pq

from helpers import write_json, write_parquet
from nightshift.sources.base import LiveSource
from nightshift.sources.tickets.osticket import FIRST, WINDOW, plain, with_prefix
from nightshift.sources.tickets.rows import (
    OPTIONAL,
    as_tickets,
    asked_of,
    in_window,
    look_at_database,
    ticket_pages,
    write_tickets,
)
from nightshift.sources.tickets.server import open_server

PAGES = "[!.]*.parquet"  # a hidden one was not complete when the run ended


def an_hour_before(moment):
    """Return the server's time `moment` less an hour, as text; FIRST where there is none."""
    return (pd.Timestamp(moment) - pd.Timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S") if moment else FIRST


def read_progress(path, identity, begin):
    """Return the JSON object in `path` if it agrees with `identity` and its window began by `begin`.

    Return {} where the file is of another source or a later window, damaged or missing.
    """
    try:
        content = json.loads(path.read_text())
        return content if content.items() >= identity.items() and content["begin"] <= begin else {}
    except (OSError, ValueError, LookupError, AttributeError):
        return {}


def begin_run(ask, identity, *, since, asked):
    """Return what a new run has to know, a dict: where it begins, and the newest change and the highest id
    ("top") at that moment.
    """
    now = pd.Timestamp.now(asked.timezone).strftime("%Y-%m-%d %H:%M:%S")
    top, newest = ask(
        f"SELECT MAX(ticket_id), MAX(CASE WHEN lastupdate BETWEEN '{FIRST}' AND ? THEN lastupdate END) "
        f"FROM {asked.table_prefix}ticket",
        now,
    )[1][0]
    progress = {"begin": asked.begin, "since": since, "newest": plain(newest), "top": top or 0}
    return identity | progress | {"after": -1, "counts": {}}


def save_pages(ask, run, *, folder, asked):
    """Save the pages of `run` that are still to be read to `folder`, and after each how far the run came."""
    for after, tickets in ticket_pages(ask, asked, after=run["after"], since=run["since"]):
        write_parquet(tickets, folder / f"{run['after'] + 1:012d}.parquet")
        run |= {"after": after, "counts": dict(asked.counts)}
        write_json(run, folder / "run.json")


def read_changes(ask, identity, *, raw, asked):
    """Fill the folder of pages below `raw`, and ask what else changed.

    Returns (run, tickets that changed since the run began where it was interrupted, ids at the source).
    """
    folder, cursor = raw / "pages", {}
    if (raw / "tickets.parquet").exists():
        cursor = read_progress(raw / "cursor.json", identity, asked.begin)
    since, later = an_hour_before(cursor.get("newest")), [as_tickets(pd.DataFrame(), asked)]
    run = read_progress(folder / "run.json", identity | {"since": since}, asked.begin)
    asked.counts.update(run.get("counts", {}))
    asked.counts["resumed"] = len(list(folder.glob(PAGES))) if run else 0
    if not run:
        run = begin_run(ask, identity, since=since, asked=asked)
        shutil.rmtree(folder, ignore_errors=True)
    save_pages(ask, run, folder=folder, asked=asked)
    if asked.counts["resumed"]:
        again = ticket_pages(ask, asked, since=an_hour_before(run["newest"]))
        later += [tickets for _, tickets in again]
    rows = ask(f"SELECT ticket_id FROM {asked.table_prefix}ticket WHERE {WINDOW}", asked.begin)[1]
    return run, pd.concat(later), {int(number) for (number,) in rows}


def in_order(tickets):
    """Sort `tickets` by their ids, 9 before 10."""
    return tickets.sort_values("ticket_id", key=lambda text: text.astype("int64"))


def merge(base, changes, *, ids, asked):
    """Yield the tickets of the frames `base`, in order of their ids, with `changes` in their place.

    Only those of the set `ids` and in the window are yielded; what was read twice counts as it was read last.
    Memory holds a page and what changed, however many tickets there are.
    """
    changes, done = in_order(changes.drop_duplicates("ticket_id", keep="last")), -1
    numbers = changes.ticket_id.astype("int64")
    kept, there = pd.Index(ids).difference(numbers), numbers.isin(ids)
    for page in base:
        of_page = page.ticket_id.astype("int64")
        due = changes[there & (numbers > done) & (numbers <= of_page.max())]
        done = of_page.max()
        yield in_order(pd.concat([page[of_page.isin(kept) & in_window(page, asked)], due]))
    yield changes[there & (numbers > done)]


def saved_pages(files, rows):
    """Yield frames of the Parquet `files` of tickets, at most `rows` rows each."""
    for path in files:
        yield from (batch.to_pandas() for batch in pq.ParquetFile(path).iter_batches(rows))


def assemble(run, changes, *, ids, raw, asked, labels):
    """Write tickets.parquet from the pages of `run`, later `changes` and the table of last night.

    Returns the ids that should be in one of them and are not, a set, and writes nothing where there are any:
    a ticket that was there when this run began, was not changed since last night and is not in our table has
    no right to exist, unless somebody restored it or changed the window.
    """
    saved, table, earlier = sorted((raw / "pages").glob(PAGES)), raw / "tickets.parquet", set()
    if run["since"] != FIRST:
        old = pd.read_parquet(table, columns=["ticket_id", "created"])
        earlier = set(old.ticket_id.astype("int64"))
        changes, saved = pd.concat([*saved_pages(saved, asked.page_rows), changes]), [table]
        changed = set(changes.ticket_id.astype("int64"))
        if overlooked := {number for number in ids - earlier - changed if number <= run["top"]}:
            return overlooked
        still_wanted = set(old.ticket_id[in_window(old, asked)].astype("int64"))
        new, again = (changed & ids) - earlier, changed & earlier & ids
        asked.counts.update({"new": len(new), "changed": len(again), "vanished": len(still_wanted - ids)})
    base = (page.assign(label=pd.NA) for page in saved_pages(saved, asked.page_rows))
    write_tickets(merge(base, changes, ids=ids, asked=asked), table, asked=asked, labels=labels)
    return set()


def bring_up_to_date(url, raw, *, asked, labels):
    """Bring tickets.parquet in the folder `raw` up to date with the database at `url`.

    Where the table of last night cannot be trusted (see `assemble`), all is read anew. asked : Extraction,
    whose counts grow. labels : Series by ticket_id. ConnectionError of one line, after which the table of
    last night and the pages that came are still there.
    """
    with open_server(url, timeout_s=asked.timeout_s, retry_wait_s=asked.retry_wait_s) as ask:
        asked = with_prefix(asked, ask)
        identity = {"source": url, "table_prefix": asked.table_prefix, "timezone": asked.timezone}
        run, changes, ids = read_changes(ask, identity, raw=raw, asked=asked)
        if assemble(run, changes, ids=ids, raw=raw, asked=asked, labels=labels):
            (raw / "cursor.json").unlink()
            asked.counts.clear()
            run, changes, ids = read_changes(ask, identity, raw=raw, asked=asked)
            assemble(run, changes, ids=ids, raw=raw, asked=asked, labels=labels)
    write_json(identity | {"begin": asked.begin, "newest": run["newest"]}, raw / "cursor.json")
    shutil.rmtree(raw / "pages", ignore_errors=True)  # there is none when nothing changed


class OsticketServer(LiveSource):
    """The database of an osTicket, of which only what changed is asked for."""

    label = "the database of an osTicket (MySQL or MariaDB)"
    addresses = ("mysql://", "mariadb://")
    optional = OPTIONAL

    def extract(self, address, extraction):
        """Bring the table of a TicketRun up to date, see `bring_up_to_date`."""
        extraction.of_server = True
        bring_up_to_date(address, extraction.raw, asked=extraction.asked, labels=extraction.labels)

    def look(self, address, *, settings):
        """Ask for the first page, and for the number of tickets and the ends of their times."""
        asked = asked_of(settings)
        with open_server(address, timeout_s=asked.timeout_s, retry_wait_s=asked.retry_wait_s) as ask:
            return look_at_database(ask, self.label, with_prefix(asked, ask))
