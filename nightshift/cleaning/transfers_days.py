"""The clean transfers by day, brought up to date by what is new in the raw table.

A table is a folder with a Parquet file for each day, DAY.parquet: clean ones by the day of their start, with
undated.parquet for those without one, rejected events by the day of their last time. pandas reads such a
folder as one table, in the order of the days.

Where an event of a request is new, or gone, all events of that request are judged together again: so the
tables are those that all events at once would give, in whatever order they came. What was known at the start
of a transfer is computed again from the first day with a changed transfer, with what was known at its
midnight.

Each day is written once, whatever the order of the events. First these are sorted into buckets by their
requests, so that all events of a request are together and memory holds one bucket; the clean rows of a bucket
are put aside by their days; then the pieces of each day are joined.

    update           makes the tables of this night from those of the night before
    DayTables        the clean and the rejected events, and which of them are touched
    follow_states    computes what was known at each start, from a day on

Folders by day, and what is put aside, are in transfers_folders.py.
"""

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from helpers import write_json, write_parquet
from nightshift.cleaning.days import files_below
from nightshift.cleaning.transfers import (
    AT_START,
    ENTITIES,
    Ends,
    check_transfers,
    enter_ends,
    measure_durations,
    name_links,
    new_memory,
    recall_at_starts,
)
from nightshift.cleaning.transfers_folders import (
    UNDATED,
    Aside,
    DayFolder,
    day_name,
    day_number,
    day_numbers,
    frame_of,
    table_of,
)
from nightshift.products import code_below, read_json
from nightshift.sources.transfers.rucio import (
    FILE_OF,
    TEXT_OF,
    TIME_OF,
    clean_events,
    concat_events,
    moments_of,
    type_events,
)

CARRIED = ".carried"  # pandas passes over what begins with a dot
RAW = [*TEXT_OF.values(), *TIME_OF.values(), *FILE_OF, "bytes"]
NAMES = [field for name, field in TEXT_OF.items() if name != "request_id"]  # of RAW, those that repeat
PAGE = 200_000  # events that are typed at once
BATCH = 1_000_000  # events that are cleaned at once
MOMENTS = ["created", "submitted", "started", "finished"]
STATES = [f"{entity}_{name}" for entity in ENTITIES for name in AT_START]
# what STATES at later starts follow from
KNOWN_LATER = ["request_id", "started", "finished", "state", "bytes", "src", "dst", "fts"]
DAILY, WEEKLY = 8, 7  # what was known is kept for the last 8 midnights, and for every 7th before


# --------------------------------------------------------------------------------------------------- update


def update(raw, clean, rejected, *, begin, time_constant_s):
    """Bring the clean table and the rejected events up to date with the parts of the raw table.

    raw, clean, rejected : folders. begin : of the window, UTC; a transfer that is gone because it lies before
    changes nothing of what was known at later starts. time_constant_s : of the memory, in which what was
    known fades. Where half of the earlier events or more are in parts that have changed or gone, both tables
    are made anew. Returns a namespace: parts, new, gone (numbers of parts), events (how many were cleaned)
    and days (of the clean table, of which anything was computed).
    """
    carried = Path(clean) / CARRIED
    made_of, before = carried / "made_of.json", read_json(carried / "made_of.json")
    parts, left = marks_of_parts(raw), marks_of_tables(clean, rejected)
    settings = {"time_constant_s": time_constant_s, "code": code_below("sources", "cleaning")}
    goes_on = before.get("settings") == settings and before.get("left") == left
    earlier = before["parts"] if goes_on else {}
    same = {name for name, mark in earlier.items() if parts.get(name) == mark}
    if made_of.exists():  # removed first, so that no night continues from half a table
        made_of.unlink()
    n_same, n_earlier = (sum(earlier[name][-1] for name in names) for names in (same, earlier))
    if n_same <= n_earlier / 2:  # also after a run that did not end, or what is not as it was left
        earlier, same = {}, set()
        for folder in (clean, rejected):
            shutil.rmtree(folder, ignore_errors=True)
    tables = DayTables(DayFolder(clean), DayFolder(rejected), begin)
    carried.mkdir(exist_ok=True)
    new, gone = sorted(parts.keys() - same), sorted(earlier.keys() - same)
    n_new, n_gone = sum(parts[name][-1] for name in new), sum(earlier[name][-1] for name in gone)
    days = []
    if new or gone or not earlier:
        with tempfile.TemporaryDirectory(dir=carried, prefix=".") as scratch:
            tables.judge(Path(raw), new, gone, 1 + (n_new + n_gone) // BATCH, Path(scratch))
            tables.write_rejected()
            days = follow_states(tables, carried, float(time_constant_s))
    left = marks_of_tables(clean, rejected)
    write_json({"settings": settings, "parts": parts, "left": left}, made_of)
    numbers = {"parts": len(parts), "new": len(new), "gone": len(gone), "events": n_new}
    return SimpleNamespace(**numbers, days=[*days, UNDATED])


def marks_of_tables(clean, rejected):
    """Read the states of the files of both tables: {table: {path: [size, time in ns]}}."""
    return {"clean": files_below(clean, "**/*.parquet"), "rejected": files_below(rejected, "**/*.parquet")}


def marks_of_parts(raw):
    """Read the states of the parts of the raw table: {name: [size, time in ns, rows]}."""
    return {
        name: [*mark, pq.read_metadata(Path(raw) / name).num_rows]
        for name, mark in files_below(raw, "*.parquet").items()
    }


def typed_events(raw, part):
    """Yield the events of a part of the raw table, typed, with their ORIGIN, about PAGE at once; an empty
    part yields one empty frame.
    """
    file, row, groups = pq.ParquetFile(raw / part, read_dictionary=NAMES), 0, []
    rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    for i in range(max(len(rows), 1)):
        groups += [i] if rows else []
        if i + 1 < len(rows) and sum(rows[one] for one in groups) < PAGE:
            continue
        page = file.read_row_groups(groups, columns=RAW).unify_dictionaries().to_pandas()
        named = pd.Categorical.from_codes(np.zeros(len(page), "int8"), [part])
        yield type_events(page).assign(part=named, row=np.arange(row, row + len(page)))
        row, groups = row + len(page), []


class DayTables:
    """The clean and the rejected events of a window that begins at `begin`, UTC, both as DayFolder.

    touched : the Requests that are judged again. gone : parts whose events are left out. judged : {folder:
    Aside}, the judged rows by day.
    """

    def __init__(self, clean, rejected, begin):
        self.clean, self.rejected, self.begin = clean, rejected, begin

    def judge(self, raw, new, gone, n, scratch):
        """Judge the events of the parts `new` of the raw table, and all other events of their requests and of
        those in the parts `gone`, in `n` buckets, which lie in the folder `scratch` where n > 1.
        """
        folder = scratch if n > 1 else None
        buckets, requests, self.gone = Aside(folder), [], gone
        for events in (events for part in new for events in typed_events(raw, part)):
            requests.append(pd.unique(events.request.to_numpy()))
            buckets.add(table_of(events), events.request.to_numpy() % np.uint64(n))
        for of_day in self.leaving():
            requests.append(of_day)
        self.touched = Requests(np.concatenate([np.empty(0, np.uint64), *requests]))
        events = type_events(pd.DataFrame(columns=RAW, dtype="str"))
        nothing = events.assign(part=pd.Categorical([]), row=np.empty(0, int))
        self.collect(buckets, nothing.columns, n)
        self.judged = {self.clean: Aside(folder), self.rejected: Aside(folder)}
        for bucket in range(n):
            pieces = buckets.take(bucket)
            kept, refused = clean_events(as_read(frame_of([table_of(nothing), *pieces])))
            self.judged[self.clean].add(table_of(kept), day_numbers(moments_of(kept.started)))
            self.judged[self.rejected].add(table_of(refused), day_numbers(latest_moment(refused)))
        self.nothing = {self.clean: kept[:0], self.rejected: refused[:0]}

    def leaving(self):
        """Yield the requests of the parts that are gone, of each day that has any."""
        for folder in (self.clean, self.rejected) if self.gone else ():
            for day in folder.days:
                index = folder.index(day, ["request", "part"])
                if index.part.cat.categories.isin(self.gone).any():
                    yield index.request[index.part.isin(self.gone)].to_numpy()

    def collect(self, buckets, columns, n):
        """Turn the rows that the tables have of touched requests back into events with these `columns`, and
        add them to the buckets; those of parts that are gone are left out.
        """
        self.chosen = {self.clean: {}, self.rejected: {}}
        for folder in self.chosen:
            for day in folder.days:
                chosen = self.are_touched(folder, day)
                if not chosen.any():
                    continue
                self.chosen[folder][day] = chosen
                rows = folder.read(day)[chosen]
                events = as_events(rows[~rows.part.isin(self.gone)], columns)
                buckets.add(table_of(events), events.request.to_numpy() % np.uint64(n))

    def are_touched(self, folder, day):
        """Tell which rows of a day are of touched requests, or of parts that are gone: bool (n,)."""
        index = folder.index(day, ["request", "part"] if self.gone else ["request"])
        chosen = self.touched.among(index.request.to_numpy())
        return chosen | index.part.isin(self.gone).to_numpy() if self.gone else chosen

    def days_of(self, folder):
        """List the names of the days that the table has, or is to have, with UNDATED last."""
        return sorted({*folder.days, *map(day_name, self.judged[folder].keys()), UNDATED})

    def compose(self, folder, day):
        """Return (the new rows of a day, whether they change what was known at later starts); (None, False)
        where nothing changes.
        """
        pieces, chosen = self.judged[folder].take(day_number(day)), self.chosen[folder].get(day)
        piece = frame_of(pieces) if pieces else None
        if piece is None and chosen is None:
            if folder.file(day).exists():
                return None, False
            piece = self.nothing[folder]
        there = folder.read(day) if folder.file(day).exists() else None
        replaced, stay = (None, there) if chosen is None else (there[chosen], there[~chosen])
        if piece is not None and folder is self.clean:
            piece = measure_durations(piece)
            piece["link"] = name_links(piece.src, piece.dst)
        if are_same(piece, replaced):
            return None, False
        if folder is self.rejected:
            return joined([stay, piece]), False
        changes = day != UNDATED and self.changes_states(piece, replaced)
        rows = joined([stay, None if piece is None else with_states(piece, replaced)])
        return in_order(rows), changes

    def write_rejected(self):
        """Write those days of the rejected events that have changed."""
        for day in self.days_of(self.rejected):
            rows, _ = self.compose(self.rejected, day)
            if rows is not None:
                self.rejected.write(day, rows)

    def changes_states(self, piece, replaced):
        """Tell whether replacing the rows `replaced` by `piece` changes what was known at any later start."""
        if replaced is None:
            return piece is not None
        within = replaced[latest_moment(replaced) >= self.begin.value // 1000]
        return len(within) > 0 if piece is None else marks_of(within) != marks_of(piece)


class Requests:
    """A set of requests that answers quickly which of many others are in it.

    numbers : uint64 (n,), 0 for none. Most others are excluded by their first bits alone.
    """

    def __init__(self, numbers):
        numbers = pd.unique(numbers[numbers != 0])
        self.index, self.first_bits = pd.Index(numbers), np.zeros(2**22, bool)
        self.first_bits[numbers >> np.uint64(42)] = True

    def among(self, others):
        """Tell which of `others`, uint64 (m,), are in it: bool (m,)."""
        found = self.first_bits[others >> np.uint64(42)]
        found[found] = self.index.get_indexer(others[found]) >= 0
        return found


def joined(frames):
    """Join frames, one after the other; None among them is skipped."""
    return concat_events([frame for frame in frames if frame is not None])


def in_order(rows):
    """Sort `rows` of the clean table by start, request and attempt; what has not started comes last."""
    keys = ["started", "request_id", "attempt"]
    table = pa.table({name: pa.array(rows[name]) for name in keys})
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in keys]).to_numpy()
    return rows.take(order).reset_index(drop=True)


def latest_moment(rows):
    """Find the latest of the MOMENTS of each of `rows`: int64 (n,), as `moments_of` gives them."""
    return np.maximum.reduce([moments_of(rows[moment]) for moment in MOMENTS])  # missing is the smallest


def as_read(events):
    """Sort `events` as in the raw table: of two events about one attempt with the same time the later one
    counts, on whichever night either came.
    """
    parts = events.part.cat.categories.to_numpy(object)
    ranks = np.argsort(np.argsort(parts))[events.part.cat.codes]
    later = (np.diff(ranks) > 0) | ((np.diff(ranks) == 0) & (np.diff(events.row) > 0))
    if later.all():
        return events
    return events.iloc[np.lexsort([events.row, ranks])].reset_index(drop=True)


def marks_of(rows):
    """Hash what STATES follow from in each of the rows of transfers: a set of numbers."""
    return set(pd.util.hash_pandas_object(rows[KNOWN_LATER], index=False))


def with_states(rows, before):
    """Give `rows` the STATES of the same transfers in `before`, a frame or None; missing for new ones."""
    if before is None:
        return rows.assign(**dict.fromkeys(STATES, np.float32(np.nan)))
    marks = [pd.util.hash_pandas_object(frame[KNOWN_LATER], index=False) for frame in (rows, before)]
    states = before[STATES].set_index(marks[1].to_numpy())
    states = states[~states.index.duplicated()].reindex(marks[0].to_numpy())
    return rows.assign(**{name: states[name].to_numpy("float32") for name in STATES})


def as_events(rows, columns):
    """Turn rows of the clean or the rejected table back into events with these `columns`."""
    events = rows.reindex(columns=columns)
    return events.assign(unreadable=events.unreadable.astype("boolean").fillna(False).astype(bool))


def are_same(piece, before):
    """Tell whether the rows `piece` and `before`, frames or None, are the same except for their STATES."""
    if piece is None or before is None or len(piece) != len(before):
        return False
    columns = sorted(piece.columns.difference(STATES))
    marks = [pd.util.hash_pandas_object(frame[columns], index=False) for frame in (piece, before)]
    return np.array_equal(*map(np.sort, marks))


# --------------------------------------------------------------------------------------------------- states


class Carried:
    """What is carried from day to day: for each of ENTITIES the numbers of its names and the MEMORY by
    number, and the transfers in flight.

    running : DataFrame [time (seconds of the end), log_rate, log_duration, failed, ENTITIES (numbers)], by
    time.
    """

    def __init__(self):
        self.numbers = {entity: {} for entity in ENTITIES}
        self.memory = {entity: new_memory(0) for entity in ENTITIES}
        self.running = None

    @classmethod
    def load(cls, folder, day):
        """Read what was carried to the midnight with which a day begins."""
        carried, table = cls(), pd.read_parquet(folder / f"{day}-memory.parquet")
        for entity, rows in table.groupby("entity"):
            carried.numbers[entity] = {name: number for number, name in enumerate(rows.name)}
            carried.memory[entity] = new_memory(len(rows))
            for field in carried.memory[entity].dtype.names:
                carried.memory[entity][field] = rows[field]
        running = pd.read_parquet(folder / f"{day}-running.parquet")
        carried.running = running if len(running) else None
        return carried

    def save(self, folder, day):
        """Write what is carried to the midnight with which a day begins."""
        memories = [
            pd.DataFrame(self.memory[entity]).assign(entity=entity, name=list(self.numbers[entity]))
            for entity in ENTITIES
        ]
        write_parquet(pd.concat(memories, ignore_index=True), folder / f"{day}-memory.parquet")
        running = pd.DataFrame() if self.running is None else self.running
        write_parquet(running, folder / f"{day}-running.parquet")

    def groups(self, entity, names):
        """The groups of `names`, a categorical Series, int64 (n,); new ones begin with an empty memory."""
        numbers, codes, categories = self.numbers[entity], names.cat.codes.to_numpy(), names.cat.categories
        used = np.flatnonzero(np.bincount(codes, minlength=len(categories)))
        group = np.zeros(len(categories), np.int64)
        found = categories[used].to_numpy(object).tolist()
        group[used] = [numbers.setdefault(name, len(numbers)) for name in found]
        new = len(numbers) - len(self.memory[entity])
        self.memory[entity] = np.concatenate([self.memory[entity], new_memory(new)])
        return group[codes]

    def come_to(self, day, time_constant_s):
        """Enter the ends of all transfers that end before a day begins."""
        if self.running is None:
            return
        midnight, n = pd.Timestamp(day, tz="UTC").timestamp(), 0
        for entity in ENTITIES:
            n = enter_ends(ends_of(self.running, entity), 0, midnight, time_constant_s, self.memory[entity])
        self.running = self.running.iloc[n:].reset_index(drop=True)

    def pass_day(self, ran, time_constant_s):
        """Pass over the transfers `ran` of a day, which have ended, by their starts, and return what was
        known at each start: float32 (n, len(STATES)).
        """
        seconds = {name: moments_of(ran[name]) / 1e6 for name in ("started", "finished")}
        groups = {entity: self.groups(entity, ran[entity]) for entity in ENTITIES}
        about = {
            "log_rate": ran.log_rate.fillna(0).to_numpy(float),
            "log_duration": ran.log_duration.to_numpy(float),
        }
        theirs = pd.DataFrame(
            {"time": seconds["finished"], **about, "failed": (ran.state == "failed").to_numpy(), **groups}
        )
        ends = theirs if self.running is None else pd.concat([self.running, theirs], ignore_index=True)
        ends = ends.take(np.argsort(ends.time.to_numpy(), kind="stable")).reset_index(drop=True)
        states, n = np.empty((len(ran), len(ENTITIES), len(AT_START)), np.float32), 0
        for i, entity in enumerate(ENTITIES):
            out = np.empty((len(ran), len(AT_START)), np.float32)
            args = seconds["started"], groups[entity], ends_of(ends, entity), time_constant_s
            n = recall_at_starts(*args, self.memory[entity], out)
            out[:, 0] = np.log1p(out[:, 0])
            states[:, i] = out
        self.running = ends.iloc[n:].reset_index(drop=True)
        return states.reshape(len(ran), len(STATES))


def ends_of(table, entity):
    """Make the Ends of a table of transfers in flight, grouped by an entity."""
    numbers = [table[name].to_numpy(float) for name in ("log_rate", "log_duration")]
    return Ends(
        table.time.to_numpy(float), table[entity].to_numpy(np.int64), *numbers, table.failed.to_numpy(bool)
    )


def follow_states(tables, folder, time_constant_s):
    """Write those days of the clean table that have changed, with what was known at each start, and all days
    after the first on which that changes; returns the days for which it was computed.

    The count enters as its logarithm. Requests that never ran, or whose times are unknown, have no state.
    tables : DayTables. folder : where what is carried lies.
    """
    carried, followed, clean = None, [], tables.clean
    days = tables.days_of(clean)
    for day in days:
        rows, changes = tables.compose(clean, day)
        if carried is None and changes:
            carried = resume(clean, folder, day, time_constant_s)
        if carried and day != UNDATED and (rows is None or len(rows)):
            rows = clean.read(day) if rows is None else rows
            carried.come_to(day, time_constant_s)
            if is_kept(day, days):
                carried.save(folder, day)
            rows = with_known(rows, carried, time_constant_s)
            followed.append(day)
        if rows is not None:
            clean.write(day, check_transfers(rows, f"{clean.path.name}/{day}"))
    if followed:
        midnight = day_name(day_number(followed[-1]) + 1)
        carried.come_to(midnight, time_constant_s)
        carried.save(folder, midnight)
    forget_midnights(folder, lambda day: day < min(clean.days) or not is_kept(day, clean.days))
    return followed


def resume(clean, folder, first, time_constant_s):
    """Return the Carried of the midnight at which the day `first` begins; what was carried to later ones is
    removed.

    Days since the latest midnight that was kept are passed over again. Where none was kept, these are all
    days, and they are written as in a table that is built from nothing.
    """
    forget_midnights(folder, lambda day: day > first)
    days = [day for day in clean.days if day < first]
    begin = max((day for day in midnights(folder) if day >= min(days, default="")), default="")
    carried = Carried.load(folder, begin) if begin else Carried()
    for day in (day for day in days if day >= begin):
        carried.come_to(day, time_constant_s)
        rows = with_known(clean.read(day), carried, time_constant_s)
        if not begin:
            clean.write(day, rows)
    return carried


def with_known(rows, carried, time_constant_s):
    """Give the `rows` of the day that Carried has reached their STATES; Carried passes over the day."""
    ran = rows.finished.notna().to_numpy() & rows.started.notna().to_numpy()
    states = np.full((len(rows), len(STATES)), np.nan, np.float32)
    states[ran] = carried.pass_day(rows[ran], time_constant_s)
    return rows.assign(**dict(zip(STATES, states.T, strict=True)))


def is_kept(day, days):
    """Tell whether what is carried to a midnight is kept, where the table has these `days`: for the last
    DAILY ones, and for every WEEKLY-th before.
    """
    last = max((one for one in days if one != UNDATED), default=day)
    return day_number(last) - day_number(day) < DAILY or day_number(day) % WEEKLY == 0


def midnights(folder):
    """List the days for whose midnights something is kept, the earliest first."""
    return sorted(path.name.removesuffix("-memory.parquet") for path in folder.glob("*-memory.parquet"))


def forget_midnights(folder, are_forgotten):
    """Remove what is kept for the days for which `are_forgotten`, a function of a day, is true."""
    for day in filter(are_forgotten, midnights(folder)):
        for path in folder.glob(f"{day}-*.parquet"):
            path.unlink()
