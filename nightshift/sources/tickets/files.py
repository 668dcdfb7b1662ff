"""Tickets in files: any table of tickets, and what becomes of all files together.

TicketRun        the tickets of one file after another, what could not be read, and columns that nobody reads
TicketTable      what all kinds of tables have in common
extract_source   the raw table of a source, whatever its kind
"""

import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from helpers import write_csv
from nightshift.runs import warn
from nightshift.sources.base import FileSource, read_source
from nightshift.sources.excerpts import excerpt_of_prose
from nightshift.sources.files import is_empty, open_text
from nightshift.sources.tables import read_csv_pages
from nightshift.sources.tickets.rows import (
    OPTIONAL,
    SCHEMA,
    TIME_COLUMNS,
    as_tickets,
    asked_of,
    in_window,
    look_at,
    write_tickets,
)
from nightshift.sources.tickets.tables import TITLES, newest_rows, tell_desks
from nightshift.sources.tickets.times import is_time_column, shown_value, time_reader


def as_text(column):
    """Return an Arrow column as a Series of text.

    Whole numbers that were saved as fractions (12.0) are whole again. ValueError of one line for a column of
    lists or the like.
    """
    if pa.types.is_floating(column.type):
        values = column.to_pandas()
        numbers = values.map(lambda x: f"{x:.0f}" if x % 1 == 0 else str(x), na_action="ignore")
        return numbers.astype("string")
    try:
        return column.cast(pa.string()).to_pandas().astype("string")
    except pa.ArrowNotImplementedError:
        raise ValueError(f"a column of it holds {column.type}, which is no text") from None


def layout_of(names, columns, of_kind=MappingProxyType({})):
    """Return {our name: name of the column} of a table with columns `names`.

    Our own names are found in any case, and with .name behind them (state.name). columns : the parameter,
    {our name: name in the table}, which comes first. of_kind : {our name: what a kind of table calls it}, see
    `TicketTable.columns`. ValueError of one line where no column is the subject; of the names in the table it
    shows none but TITLES, since without a line of headings they are the cells of a ticket.
    """
    named = {ours: theirs for ours, theirs in columns.items() if theirs}
    folded = {name.lower().removesuffix(".name"): name for name in reversed(names)}
    folded |= {name.lower(): name for name in reversed(names)}
    layout = {ours: folded[ours] for ours in SCHEMA.names if ours in folded}
    layout |= {ours: theirs for ours, every in of_kind.items() for theirs in every[::-1] if theirs in names}
    layout = {ours: theirs for ours, theirs in layout.items() if columns.get(ours) != ""}
    layout |= {ours: theirs for ours, theirs in named.items() if theirs in names}
    if "subject" in layout:
        return layout
    lacking = [
        f"{ours} ({theirs!r} by `columns`)"
        for ours, theirs in named.items()
        if theirs not in names and ours != "subject"
    ]
    subject = f"subject ({columns['subject']!r} by `columns`)" if "subject" in named else "subject"
    likely = next((name for name in names if name.lower() in TITLES), None)
    what = (
        f"is it {likely}? Then set `columns: {{subject: {likely}}}`"
        if likely
        else ("does its first line, in UTF-8, name the columns? `columns` says which is which")
    )
    raise ValueError(
        f"of its {len(names)} columns none is {', '.join([subject, *lacking])}, and {len(layout)} are known "
        f"({', '.join(layout) or 'none'}): {what}"
    )


def told_apart(names):
    """Return the names of columns with a number behind each that comes again: "Comment", "Comment (2)". A
    number that would give the name of another column is passed over.
    """
    numbers, taken, unique = {}, set(names), []
    for name in names:
        if name not in numbers:
            numbers[name] = count(2)
            unique.append(name)
            continue
        numbered = (f"{name} ({number})" for number in numbers[name])
        unique.append(next(one for one in numbered if one not in taken))
        taken.add(unique[-1])
    return unique


def filled(page, layout, of_kind):
    """Return the Arrow table `page` with empty cells of the columns that its `layout` takes from `of_kind`
    filled from the next columns there, row by row; those are then left out, since they are read.

    layout : as `layout_of` gives it. of_kind : {our name: names of columns of text}, see
    `TicketTable.columns`.
    """
    for ours, names in of_kind.items():
        first, *others = [name for name in names if name in page.column_names] or [None]
        if not others or layout.get(ours) != first:
            continue
        cells = pc.coalesce(*(without_empty(page[name]) for name in (first, *others)))
        page = page.set_column(page.column_names.index(first), first, cells)
        page = page.drop_columns([name for name in others if name not in layout.values()])
    return page


def without_empty(column):
    """Return an Arrow column of text with null for what holds nothing but blanks."""
    is_empty = pc.equal(pc.utf8_trim_whitespace(column), "")
    return pc.if_else(is_empty, pa.scalar(None, column.type), column)


def unread_times(page, layout, *, columns):
    """Name the columns of the Arrow table `page` that hold times and are not in its `layout`, as a list.

    columns : the parameter. ValueError of one line where no column is `created` though another one holds
    times: a table whose times stand in a column of another name must not pass for one without times.
    """
    texts = {}
    for name in page.column_names:
        if name not in layout.values():
            with suppress(ValueError):  # a column of lists or bytes, which nobody reads
                texts[name] = as_text(page[name].slice(0, 200)).dropna()
    times = [name for name, text in texts.items() if is_time_column(name, text)]
    if times and "created" not in layout and columns.get("created") != "":
        example = shown_value(texts[times[0]].iloc[0])
        raise ValueError(
            f"no column is `created`, though {times[0]!r} holds times such as {example}: name it in "
            f"`columns`, as in {{created: {times[0]}}}, or say {{created: ''}} where the source has no such "
            "time"
        )
    return times


def numbered_rows(rows, path, *, first_row, bad):
    """Return a page of `rows` with their file and number, by which a row that gives way to another is named.

    Where the file has ids, rows without one are put aside. bad : list that gets (file, row, reason, "").
    """
    rows = rows.assign(file=path, row=first_row + np.arange(len(rows)))
    if "ticket_id" not in rows:
        return rows
    rows["ticket_id"] = rows.ticket_id.astype("string").str.strip()
    without = rows.ticket_id.isna() | (rows.ticket_id == "")
    bad.extend((path, row, "no ticket_id", "") for row in rows.row[without])
    return rows[~without]


class TicketRun:
    """The tickets of one file after another; a server writes its table itself.

    raw : folder of the raw table. asked : rows.Extraction, whose counts grow. labels : Series by ticket_id,
    that somebody wrote down. frames : raw tickets with `file` and `row`, a DataFrame per file, or per page of
    a database. bad_lines : (file, row, reason, "") of rows that could not be read, without their text.
    has_id : whether files have ids of tickets, a set of bool. found_columns, unread_times : names of columns
    that are read, and of those that hold times and nobody reads. of_server : whether the source is a server.
    """

    def __init__(self, raw, *, asked, labels=None):
        self.raw, self.asked, self.labels, self.of_server = raw, asked, labels, False
        self.frames, self.bad_lines = [], []
        self.has_id, self.found_columns, self.unread_times = set(), set(), set()

    def note_ids(self, has_id):
        """Note whether a file has ids of tickets; ValueError of one line where other files differ in this."""
        self.has_id.add(has_id)
        if len(self.has_id) > 1:
            raise ValueError(
                "it has ids of tickets and other files have none, or the other way round: extract the two "
                "apart"
            )

    def add_table(self, path, kind):
        """Add the tickets of a table of a `kind`, a TicketTable."""
        bad = []
        names, pages = kind.pages(path, bad)
        if names:
            layout = layout_of(names, self.asked.columns, kind.columns)
            of_kind = {ours: every for ours, every in kind.columns.items() if ours not in self.asked.columns}
            pages = ((first, filled(page, layout, of_kind)) for first, page in pages)
            self.add_pages(pages, layout, path=path, bad=bad, timezone=kind.timezone or self.asked.timezone)
        self.bad_lines.extend((file, row, why, "") for file, row, why, _ in bad)

    def add_pages(self, pages, layout, *, path, bad, timezone):
        """Add the tickets of the `pages` of one file, as its `layout` says; ValueError as of `note_ids`,
        `unread_times` and `time_reader`.

        bad : list that gets (file, row, reason, ""). timezone : of times that name none.
        """
        read = []
        self.found_columns.update(layout.values())
        self.note_ids("ticket_id" in layout)
        for first_row, page in pages:
            self.unread_times.update(unread_times(page, layout, columns=self.asked.columns))
            texts = pd.DataFrame({ours: as_text(page[theirs]) for ours, theirs in layout.items()})
            read.append(numbered_rows(texts, path, first_row=first_row, bad=bad))
        if read:
            self.add_rows(pd.concat(read, ignore_index=True), layout, timezone)

    def add_rows(self, rows, layout, timezone):
        """Add the `rows` of one file as tickets, its times read as the whole file says; those that name no
        zone are of `timezone`.
        """
        counts = self.asked.counts
        if "ticket_id" not in rows:
            n_before = sum(map(len, self.frames))
            rows["ticket_id"] = (np.arange(len(rows)) + 1 + n_before).astype(str)
        before = counts["unreadable"]
        names = {ours: layout[ours] for ours in TIME_COLUMNS if ours in layout}
        times = time_reader(rows, names, timezone, counts, self.asked.dates)
        tickets = as_tickets(rows, self.asked, times)
        self.frames.append(tickets.assign(file=rows.file, row=rows.row))
        if bad := counts["unreadable"] - before:
            name = Path(rows.file.iloc[0]).name
            warn(f"{name}: {bad:,} times or counts cannot be read and are taken as unknown.")

    def all_tickets(self):
        """Return the tickets of all files with `file` and `row`, and a sentence about ids of several desks.

        ValueError of one line where a column that the parameter `columns` names is in no file.
        """
        absent = set(self.asked.named_columns.values()) - self.found_columns
        if self.frames and absent:
            raise ValueError(f"no file has a column {sorted(map(str, absent))[0]!r}, which columns names")
        empty = as_tickets(pd.DataFrame(), self.asked)
        empty = empty.assign(file=pd.Series(dtype="str"), row=pd.Series(dtype="int64"))
        return tell_desks(pd.concat([empty, *self.frames], ignore_index=True))

    def write(self):
        """Write tickets.parquet and superseded.csv from the files that were read.

        A ticket that comes twice is the one that was changed last, and where nobody knows that, the one that
        comes last. A row that gives way and is no mere copy is named in superseded.csv, with what is
        different in it. The rows are in the order of their ids, 9 before 10. What was saved of a server is
        removed: the table is no longer that of the server.
        """
        tickets, desks = self.all_tickets()
        newest, others = newest_rows(tickets, SCHEMA.names)
        inside, differs = in_window(newest, self.asked), others.differs != ""
        self.asked.counts.update(
            {"copies": len(others), "older": int(differs.sum()), "outside": int((~inside).sum())}
        )
        ordered = (
            newest[inside].assign(length=newest.ticket_id.str.len()).sort_values(["length", "ticket_id"])
        )
        (self.raw / "cursor.json").unlink(missing_ok=True)
        shutil.rmtree(self.raw / "pages", ignore_errors=True)
        page = ordered.drop(columns=["length", "file", "row"])
        write_tickets([page], self.raw / "tickets.parquet", asked=self.asked, labels=self.labels)
        superseded = others.loc[differs, ["ticket_id", "file", "row", "differs"]]
        write_csv(superseded, self.raw / "superseded.csv")
        if desks:
            warn(desks + ".")


class TicketFile(FileSource):
    """A file of tickets; `extract` adds it to a TicketRun."""

    optional = OPTIONAL

    def look(self, path, *, settings, folder):
        """Read the tickets of the file."""
        run = TicketRun(Path(folder), asked=asked_of(settings))
        self.extract(path, run)
        tickets = pd.concat([as_tickets(pd.DataFrame(), run.asked), *run.frames], ignore_index=True)
        return look_at(self.label, tickets, run.bad_lines)


class TicketTable(TicketFile):
    """A table of tickets; a kind of it says how to open its `pages`.

    columns : {our name: names of columns of text, the first of which that holds anything is read in each
    row}; columns with our own names are read too. timezone : of times that name none, "" where only the
    parameter says it.
    """

    columns = MappingProxyType({})
    timezone = ""

    def pages(self, path, bad):
        """Return (names of the columns, pages as `read_csv_pages` gives them) of the file `path`.

        bad : list that gets (file, row, reason, "") of what is no ticket.
        """
        raise NotImplementedError

    def extract(self, path, extraction):
        """Add the tickets of one file, none of an empty one; errors are those of `pages` and `add_pages`."""
        if not is_empty(path):
            extraction.add_table(path, self)


class CsvTickets(TicketTable):
    """A table of text, whose cells are what people wrote."""

    label = "a table of tickets (CSV)"
    excerpt = staticmethod(excerpt_of_prose)
    asked_last = True

    def pages(self, path, bad):
        """Open it; ValueError for a file of another kind."""
        with open_text(path) as file:
            begins = file.read(4096).lstrip("\ufeff \t\r\n")
        packed = begins[:2] in ("PK", "\ufffd\ufffd") or "\0" in begins.partition("\n")[0]
        if packed or begins.startswith(("<?xml", "<html", "<!DOC")):
            raise ValueError("it is a workbook, a page or text in another encoding: save it as CSV in UTF-8")
        names, pages = read_csv_pages(path, bad, prose=True)
        names = told_apart(names)
        return names, ((first, page.rename_columns(names)) for first, page in pages)


class DeskExport(CsvTickets):
    """A table of text that one kind of help desk writes. headings : of columns, by which it is recognised."""

    label = ""
    asked_last = False
    headings = frozenset()

    def recognises(self, head):
        """By its headings."""
        return head.suffix not in (".parquet", ".pq") and self.headings <= set(head.names)


def extract_source(place, raw, *, asked, labels):
    """Write tickets.parquet to the folder `raw` from everything at `place`, a path, pattern or address: the
    TicketRun that did it.

    labels : Series by ticket_id. FileNotFoundError where no file matches, ValueError of one line for a file
    that is something else, ConnectionError for a server; the table of last night is then still there.
    """
    run = TicketRun(raw, asked=asked, labels=labels)
    read_source("tickets", place, run)
    if not run.of_server:
        run.write()
    return run
