"""The raw table of the transfers, part by part.

Events of other kinds (deletions, rules) and of other days are counted and left out; events without any time
are kept: the next step rejects them by name. A source whose times cannot be read is refused.
"""

import itertools

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.files import LayoutError, open_text
from nightshift.sources.transfers.rucio import (
    FIELDS,
    MOMENTS,
    NEEDED,
    TimeCheck,
    is_event,
    latest,
    moments_read,
    read_event,
)

SCHEMA = pa.schema([(field, pa.string()) for field in [*FIELDS, "more"]])
REQUESTED = "^(transfer|stagein)-"  # types of the events that are kept
KIND = {"kind": "transfer event of Rucio", "needed": NEEDED, "fits": is_event}
OPTIONAL = {
    "activity": "all transfers count as one kind of work",
    "reason": "failures are counted and not explained",
}
PAGE = 50_000  # lines of a log
EVER = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timestamp("2200-01-01", tz="UTC")  # a window for all events


def table_of(records):
    """Make the raw rows of `records`, dicts as `read_event` takes them: Arrow table of SCHEMA."""
    rows = [read_event(record) for record in records]
    return pa.table([pa.array([row[name] for row in rows], pa.string()) for name in SCHEMA.names], SCHEMA)


def tables_of_lines(path, extraction, event_of, *, needed, holds=str.strip):
    """Yield pages of raw rows of a log with a line for each transfer, as tables of SCHEMA; a bad line is put
    aside.

    event_of : function of a line that gives the event that Rucio would announce, by its names of fields; None
    for a line of another kind, which is counted; ValueError, or KeyError for a name that is missing, where it
    is a bad line. holds : function of a line, whether it is read at all. LayoutError, one line that ends with
    `needed`, where lines are read and none is a transfer.
    """
    n_events, n_lines = 0, 0
    with open_text(path) as lines:
        numbered = ((n, line) for n, line in enumerate(lines, 1) if holds(line))
        while page := list(itertools.islice(numbered, PAGE)):
            events, bad = [], []
            for number, line in page:
                try:
                    events.append(event_of(line))
                except KeyError as error:
                    bad.append((number, f"no {error.args[0]}", line))
                except ValueError as error:
                    bad.append((number, str(error), line))
            extraction.put_aside(path, bad)
            transfers = [event for event in events if event is not None]
            extraction.counts["other kinds"] += len(events) - len(transfers)
            n_events, n_lines = n_events + len(transfers), n_lines + len(page)
            yield table_of(transfers)
    if n_lines and not n_events:
        raise LayoutError(f"none of its lines is a transfer{needed}")


def transfer_rows(pages, extraction):
    """Yield those rows of `pages`, tables of SCHEMA, that are transfer events of the window; the others are
    counted.

    LayoutError, after the last page, where most times of a column cannot be read, see `TimeCheck`.
    """
    check = TimeCheck()
    for page in pages:
        transfers = rows_where(page, pc.match_substring_regex(page["event_type"], REQUESTED))
        moments = transfers.select(list(MOMENTS)).to_pandas()
        times = moments_read(moments)
        check.add(moments, times)
        at = latest(times)
        within = extraction.within(at)
        kept = rows_where(transfers, pa.array(within))
        kinds, days = pc.value_counts(kept["event_type"]).to_pylist(), at[within].dt.floor("D").value_counts()
        extraction.tallies["event type"].update({one["values"]: one["counts"] for one in kinds})
        extraction.tallies["day"].update({str(day.date()): n for day, n in days.items()})
        extraction.counts["other kinds"] += len(page) - len(transfers)
        yield kept
    check.refuse()


def rows_where(table, chosen):
    """The rows of an Arrow table where `chosen`, Arrow bool (n,), is true; no copy where all are."""
    return table if pc.all(chosen).as_py() else table.filter(chosen)
