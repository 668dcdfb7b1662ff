"""The clean transfers by day, brought up to date by what is new in the raw table.

A table is a folder with a Parquet file for each day, DAY.parquet: clean ones by the day of their start, with
unstarted.parquet for those without one, rejected events by the day of their last time. pandas reads such a
folder as one table, in the order of the days.

All events of a request of which one is new, or gone, are judged together once more: the tables are those that
all events at once would give, in whatever order they came. What was known at the start of a transfer is
computed again from the first day of which a transfer has changed, with what was known at its midnight.

    update           the tables of this night from those of the night before
    DayFolder        a table in its folder
    follow_states    what was known at each start, from a day on
"""

import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import atomic, check_schema, write_json, write_parquet
from nightshift.cleaning.transfers import (
    AT_START,
    ENTITIES,
    SCHEMA,
    Ends,
    enter_ends,
    measure_durations,
    name_links,
    new_memory,
    recall_at_starts,
)
from nightshift.products import code_below, read_json
from nightshift.sources.transfers.rucio import (
    FILE_OF,
    TEXT_OF,
    TIME_OF,
    clean_events,
    concat_events,
    type_events,
)

UNDATED = "undated"  # stands behind all days
CARRIED = ".carried"  # pandas passes over what begins with a dot
INDEX = ".index"
ORIGIN = ["request", "part", "row"]  # what the index says of each row
RAW = [*TEXT_OF.values(), *TIME_OF.values(), *FILE_OF, "bytes"]
BATCH = 500_000  # events that are cleaned at once
MOMENTS = ["created", "submitted", "started", "finished"]
STATES = [f"{entity}_{name}" for entity in ENTITIES for name in AT_START]
KNOWN_LATER = ["request_id", "started", "finished", "state", "bytes", "src", "dst", "fts"]  # makes states


# -------------------------------------------------------------------------------------------------- folders


class DayFolder:
    """A table in the folder `path`, by day, and beside it of each row the `request` as a number, the `part`
    of the raw table that it came from and its `row` there. The file UNDATED is always there.
    """

    def __init__(self, path):
        self.path = Path(path)
        if self.path.is_file():  # of a version that kept the table in one file
            self.path.unlink()
        (self.path / INDEX).mkdir(parents=True, exist_ok=True)

    @property
    def days(self):
        """Names of the days, the earliest first, UNDATED behind them: list."""
        return sorted(path.stem for path in self.path.glob("*.parquet"))

    def file(self, day):
        """The path of the file of a day."""
        return self.path / f"{day}.parquet"

    def index(self, day):
        """DataFrame ORIGIN of the rows of a day."""
        return pd.read_parquet(self.path / INDEX / f"{day}.parquet")

    def read(self, day):
        """The rows of a day, with their ORIGIN."""
        return pd.read_parquet(self.file(day)).assign(**dict(self.index(day)))

    def write(self, day, frame):
        """Put `frame`, which has ORIGIN, in the place of a day."""
        index = self.path / INDEX / f"{day}.parquet"
        if frame.empty and day != UNDATED:
            self.file(day).unlink(missing_ok=True)
            index.unlink(missing_ok=True)
            return
        table = pa.Table.from_pandas(frame.drop(columns=ORIGIN), preserve_index=False)
        wide = pa.dictionary(pa.int32(), pa.string())  # of all days, so that they are one table
        for i, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                table = table.set_column(i, field.name, table.column(i).cast(wide))
        with atomic(self.file(day)) as temporary:
            pq.write_table(table, temporary)
        write_parquet(frame[ORIGIN], index)


def numbers_of(request_ids):
    """The ids of requests as numbers, uint64 (n,); 0 where there is none."""
    ids = request_ids.astype(object).fillna("").to_numpy()
    return np.where(ids == "", np.uint64(0), pd.util.hash_array(ids, categorize=False))


def days_of(times):
    """The day of each of the `times`, a Series in UTC: object (n,) of text, UNDATED where there is none."""
    days = times.dt.floor("D")
    names = {day: f"{day:%Y-%m-%d}" for day in days.dropna().unique()}
    return days.map(names).astype(object).fillna(UNDATED).to_numpy()


# --------------------------------------------------------------------------------------------------- update


def update(raw, clean, rejected, *, begin, time_constant_s):
    """Bring the clean table and the rejected events up to date with the parts of the raw table.

    raw, clean, rejected : folders. begin : of the window, UTC: that a transfer before it is gone changes
    nothing of what was known at a later start. Returns a namespace: parts, new, gone (numbers of parts),
    events (how many were cleaned) and days (of the clean table, of which anything was computed).
    """
    carried = Path(clean) / CARRIED
    made_of, before = carried / "made_of.json", read_json(carried / "made_of.json")
    parts, left = (
        files_below(raw, "*.parquet"),
        {"clean": files_below(clean), "rejected": files_below(rejected)},
    )
    settings = {"time_constant_s": time_constant_s, "code": code_below("sources", "cleaning")}
    goes_on = before.get("settings") == settings and before.get("left") == left
    earlier = before["parts"] if goes_on else {}
    same = {name for name, mark in earlier.items() if parts.get(name) == mark}
    if made_of.exists():  # before any other file goes: nobody goes on from what was cut off
        made_of.unlink()
    if len(same) <= len(earlier) / 2:  # also after a run that did not end, or what is not as it was left
        earlier, same = {}, set()
        for folder in (clean, rejected):
            shutil.rmtree(folder, ignore_errors=True)
    tables = DayTables(DayFolder(clean), DayFolder(rejected), begin)
    carried.mkdir(exist_ok=True)
    new, gone = sorted(parts.keys() - same), sorted(earlier.keys() - same)
    changed, n_events, leaving = set(), 0, gone
    for events in typed_batches(Path(raw), new, at_least_one=bool(gone) or not earlier):
        changed |= tables.merge(events, leaving)
        n_events, leaving = n_events + len(events), []
    days = follow_states(tables.clean, carried, min(changed, default=""), time_constant_s)
    left = {"clean": files_below(clean), "rejected": files_below(rejected)}
    write_json({"settings": settings, "parts": parts, "left": left}, made_of)
    numbers = {"parts": len(parts), "new": len(new), "gone": len(gone), "events": n_events}
    return SimpleNamespace(**numbers, days=[*days, UNDATED])


def files_below(folder, pattern="**/*.parquet"):
    """Size and time in ns of the files in a folder that match, {path below it: list}."""
    found = {path.relative_to(folder).as_posix(): path.stat() for path in Path(folder).glob(pattern)}
    return {name: [one.st_size, one.st_mtime_ns] for name, one in found.items()}


def count_names(clean, days, columns):
    """How often each name stands in `columns` of the `days` of the clean table: {column: Counter}."""
    counts = {column: Counter() for column in columns}
    for day in days:
        rows = pd.read_parquet(Path(clean) / f"{day}.parquet", columns=columns)
        for column in columns:
            counts[column].update({name: n for name, n in rows[column].value_counts().items() if n})
    return counts


def typed_batches(raw, parts, *, at_least_one):
    """Yield the events of `parts` of the raw table, typed, with their ORIGIN, about BATCH at once;
    at_least_one : yield an empty frame where there is none.
    """
    pages, n = [], 0
    for part in parts:
        row = 0
        for page in pq.ParquetFile(raw / part).iter_batches(BATCH, columns=RAW):
            events = type_events(page.to_pandas())
            named = pd.Categorical.from_codes(np.zeros(len(events), "int8"), [part])
            rows = np.arange(row, row + len(page))
            pages.append(events.assign(request=numbers_of(events.request_id), part=named, row=rows))
            n, row = n + len(page), row + len(page)
            if n >= BATCH:
                yield concat_events(pages)
                pages, n = [], 0
    if n or at_least_one:
        nothing = type_events(pd.DataFrame(columns=RAW, dtype="str"))
        of_none = {"request": numbers_of(nothing.request_id), "part": pd.Categorical([]), "row": range(0)}
        none = nothing.assign(**of_none)
        yield concat_events(pages or [none])


class DayTables:
    """The clean and the rejected events of a window that begins at `begin`, UTC, both as DayFolder."""

    def __init__(self, clean, rejected, begin):
        self.clean, self.rejected, self.begin = clean, rejected, begin

    def merge(self, events, gone):
        """Take in typed `events`, and leave out those of the parts `gone`; returns the days of which a
        transfer has changed, a set.
        """
        touched = events.request.unique()
        if gone:
            leaving = [index.request[index.part.isin(gone)] for _, _, index in self.indices()]
            touched = pd.unique(np.concatenate([touched, *leaving]))
        lookup, pieces, before = pd.Index(touched[touched != 0]), [events], {}
        for folder, day, index in self.indices():
            chosen = (lookup.get_indexer(index.request) >= 0) | index.part.isin(gone).to_numpy()
            if chosen.any():
                rows = folder.read(day)
                before[folder, day] = rows[chosen], rows[~chosen]
                stays = rows[chosen & ~rows.part.isin(gone).to_numpy()]
                pieces.append(as_events(stays, events.columns))
        kept, rejected = clean_events(as_read(concat_events(pieces)))
        kept = measure_durations(kept).reset_index(drop=True)
        kept["link"] = name_links(kept.src, kept.dst)
        at = rejected[MOMENTS].max(axis=1)
        after = {self.clean: dict(list(kept.groupby(days_of(kept.started))))}
        after[self.rejected] = dict(list(rejected.groupby(days_of(at))))
        for folder, rows in ((self.clean, kept), (self.rejected, rejected)):
            if not folder.file(UNDATED).exists():
                after[folder].setdefault(UNDATED, rows[:0])
        places = before.keys() | {(folder, day) for folder, pieces in after.items() for day in pieces}
        changed = [
            self.replace(folder, day, after[folder].get(day), before.get((folder, day)))
            for folder, day in places
        ]
        return set(filter(None, changed))

    def indices(self):
        """Yield (folder, day, index) of all that is there."""
        for folder in (self.clean, self.rejected):
            for day in folder.days:
                yield folder, day, folder.index(day)

    def replace(self, folder, day, piece, before):
        """Put the rows `piece` of a day in the place of those `before`, (replaced, staying); returns the day
        where that changes a transfer, else "".
        """
        there = folder.read(day) if before is None and folder.file(day).exists() else None
        replaced, stay = before or (None, there)
        if are_same(piece, replaced):
            return ""
        if folder is self.rejected:
            folder.write(day, joined([stay, piece]))
            return ""
        if piece is not None:
            piece = with_states(piece, replaced)
        rows = joined([stay, piece]).sort_values(
            ["started", "request_id", "attempt"], na_position="last", ignore_index=True
        )
        folder.write(day, check_schema(rows, SCHEMA, f"{folder.path.name}/{day}"))
        if day == UNDATED:
            return ""
        if piece is None or replaced is None:
            return day if piece is not None or self.are_within(replaced).any() else ""
        return day if marks_of(replaced[self.are_within(replaced)]) != marks_of(piece) else ""

    def are_within(self, rows):
        """Which of these rows lie in the window: bool Series."""
        return rows[MOMENTS].max(axis=1) >= self.begin


def joined(frames):
    """Frames one after the other, as one; None among them is nothing."""
    return concat_events([frame for frame in frames if frame is not None])


def as_read(events):
    """`events` in the order of the raw table: where two words about one attempt have the same time, the later
    one counts, on whichever night either came.
    """
    parts = events.part.cat.categories.to_numpy(object)
    ranks = np.argsort(np.argsort(parts))[events.part.cat.codes]
    return events.iloc[np.lexsort([events.row, ranks])].reset_index(drop=True)


def marks_of(rows):
    """What tells the rows of transfers from each other, as far as it makes states: a set of numbers."""
    return set(pd.util.hash_pandas_object(rows[KNOWN_LATER], index=False))


def with_states(rows, before):
    """`rows` with the STATES of those `before`, None for none, that are the same transfers, else missing."""
    if before is None:
        return rows.assign(**dict.fromkeys(STATES, np.float32(np.nan)))
    marks = [pd.util.hash_pandas_object(frame[KNOWN_LATER], index=False) for frame in (rows, before)]
    states = before[STATES].set_index(marks[1].to_numpy())
    states = states[~states.index.duplicated()].reindex(marks[0].to_numpy())
    return rows.assign(**{name: states[name].to_numpy("float32") for name in STATES})


def as_events(rows, columns):
    """Rows of the clean or of the rejected table as the events that they were, with their `columns`."""
    events = rows.reindex(columns=columns)
    return events.assign(unreadable=events.unreadable.astype("boolean").fillna(False).astype(bool))


def are_same(piece, before):
    """Whether the rows `piece` are those `before`, but for their states; None is no rows."""
    if piece is None or before is None or len(piece) != len(before):
        return False
    columns = sorted(piece.columns.difference(STATES))
    marks = [pd.util.hash_pandas_object(frame[columns], index=False) for frame in (piece, before)]
    return np.array_equal(*map(np.sort, marks))


# --------------------------------------------------------------------------------------------------- states


class Carried:
    """What goes from day to day: of each of ENTITIES its names and MEMORY, and the transfers that run.

    running : DataFrame [time (seconds of the end), log_rate, log_duration, failed, ENTITIES], by time.
    """

    def __init__(self):
        self.names = {entity: [] for entity in ENTITIES}
        self.memory = {entity: new_memory(0) for entity in ENTITIES}
        self.running = pd.DataFrame()

    @classmethod
    def load(cls, folder, day):
        """Read what was carried to the midnight with which a day begins."""
        carried, table = cls(), pd.read_parquet(folder / f"{day}-memory.parquet")
        for entity, rows in table.groupby("entity"):
            carried.names[entity] = rows.name.tolist()
            carried.memory[entity] = new_memory(len(rows))
            for field in carried.memory[entity].dtype.names:
                carried.memory[entity][field] = rows[field]
        carried.running = pd.read_parquet(folder / f"{day}-running.parquet")
        return carried

    def save(self, folder, day):
        """Write what is carried to the midnight with which a day begins."""
        memories = [
            pd.DataFrame(self.memory[entity]).assign(entity=entity, name=self.names[entity])
            for entity in ENTITIES
        ]
        write_parquet(pd.concat(memories, ignore_index=True), folder / f"{day}-memory.parquet")
        write_parquet(self.running, folder / f"{day}-running.parquet")

    def groups(self, entity, names):
        """The groups of `names`, a categorical Series, int64 (n,); new ones begin with an empty memory."""
        names = names.cat.remove_unused_categories()
        found = names.cat.categories
        new = found.difference(self.names[entity], sort=False)
        self.names[entity] += new.tolist()
        self.memory[entity] = np.concatenate([self.memory[entity], new_memory(len(new))])
        return pd.Index(self.names[entity]).get_indexer(found)[names.cat.codes]

    def come_to(self, day, folder, time_constant_s):
        """Let end what ends before a day begins, and write to `folder` what is carried to this midnight."""
        midnight, n = pd.Timestamp(day, tz="UTC").timestamp(), 0
        for entity in ENTITIES if len(self.running) else ():
            groups = self.groups(entity, self.running[entity])
            n = enter_ends(ends_of(self.running, groups), 0, midnight, time_constant_s, self.memory[entity])
        self.running = self.running.iloc[n:].reset_index(drop=True)
        self.save(folder, day)

    def pass_day(self, ran, time_constant_s):
        """What was known at each start of the transfers of a day that have ended, by their starts: float32
        (n, len(STATES)).
        """
        seconds = {name: ran[name].astype("int64").to_numpy() / 1e6 for name in ("started", "finished")}
        about = {
            "log_rate": ran.log_rate.fillna(0),
            "log_duration": ran.log_duration,
            "failed": ran.state == "failed",
        }
        theirs = pd.DataFrame({"time": seconds["finished"], **about, **ran[list(ENTITIES)]})
        ends = concat_events([self.running, theirs]) if len(self.running) else theirs
        ends = ends.iloc[np.argsort(ends.time.to_numpy(), kind="stable")].reset_index(drop=True)
        states, n = np.empty((len(ran), len(ENTITIES), len(AT_START)), np.float32), 0
        for i, entity in enumerate(ENTITIES):
            groups, of_ends = self.groups(entity, ran[entity]), self.groups(entity, ends[entity])
            out = np.empty((len(ran), len(AT_START)), np.float32)
            args = seconds["started"], groups, ends_of(ends, of_ends), time_constant_s
            n = recall_at_starts(*args, self.memory[entity], out)
            out[:, 0] = np.log1p(out[:, 0])
            states[:, i] = out
        self.running = ends.iloc[n:].reset_index(drop=True)
        return states.reshape(len(ran), len(STATES))


def ends_of(table, groups):
    """The Ends of a table of transfers that run."""
    numbers = [table[name].to_numpy(float) for name in ("log_rate", "log_duration")]
    return Ends(table.time.to_numpy(float), groups, *numbers, table.failed.to_numpy(bool))


def follow_states(clean, folder, first, time_constant_s):
    """Compute what was known at each start, from the day `first` on, "" for no day; returns the days of which
    it was computed.

    The count enters as its logarithm. Requests that never ran, or whose times are unknown, have no state.
    clean : DayFolder. folder : where what is carried lies.
    """
    days = [day for day in clean.days if day != UNDATED]
    kept = sorted(path.name.removesuffix("-memory.parquet") for path in folder.glob("*-memory.parquet"))
    for day in kept:
        if day > first > "" or day < min(days, default=""):
            for path in folder.glob(f"{day}-*.parquet"):
                path.unlink()
    if not first:
        return []
    begin = max((day for day in kept if day <= first and day >= days[0]), default="")
    carried = Carried.load(folder, begin) if begin else Carried()
    following, time_constant_s = [day for day in days if day >= begin], float(time_constant_s)
    for day in following:
        carried.come_to(day, folder, time_constant_s)
        rows = clean.read(day)
        ran = rows.finished.notna().to_numpy()
        states = np.full((len(rows), len(STATES)), np.nan, np.float32)
        states[ran] = carried.pass_day(rows[ran], time_constant_s)
        clean.write(day, rows.assign(**dict(zip(STATES, states.T, strict=True))))
    if following:
        carried.come_to(
            f"{pd.Timestamp(following[-1]) + pd.Timedelta(days=1):%Y-%m-%d}", folder, time_constant_s
        )
    return following
