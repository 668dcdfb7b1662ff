"""Events of Rucio, as its daemons announce them and as monitoring keeps them: names of fields, what an
event says, which events are of one attempt.

Sources of the names: `rucio.core.request` and the conveyor daemons (hyphens), MONIT's documents and the
reference of Rucio's event types (both hyphens and underscores), exports of Kibana and OpenSearch Dashboards
(a path such as `data.request-id`).
"""

import functools
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.types import union_categoricals

from nightshift.compiled import hash_texts
from nightshift.privacy import redact
from nightshift.sources.files import LayoutError, as_text
from nightshift.sources.times import FORMS, MISSING, is_unreadable, read_times

FIELDS = [
    "event_type",
    "created_at",
    "account",
    "activity",
    "bytes",
    "checksum-adler",
    "checksum-md5",
    "dst-rse",
    "dst-type",
    "dst-url",
    "duration",
    "guid",
    "name",
    "previous-request-id",
    "protocol",
    "reason",
    "request-id",
    "scope",
    "src-rse",
    "src-type",
    "src-url",
    "started_at",
    "submitted_at",
    "tool-id",
    "transfer-endpoint",
    "transfer-id",
    "transfer-link",
    "transferred_at",
]
MOMENTS = ("created_at", "transferred_at", "started_at", "submitted_at")
OTHER_NAMES = {
    "file_size": "bytes",
    "filesize": "bytes",
    "size": "bytes",
    "queued_at": "submitted_at",
    "external_host": "transfer-endpoint",
    "external_id": "transfer-id",
    "source_rse": "src-rse",
    "dest_rse": "dst-rse",
    "destination_rse": "dst-rse",
    "source_url": "src-url",
    "dest_url": "dst-url",
    "finished_at": "transferred_at",
    "err_msg": "reason",
}
FAILED = "failed|lost|no_sources|only_tape_sources|mismatch_scheme|cancel"  # final states besides done
DONE = r"done|finished\b"  # FTS says FINISHED; FINISHEDDIRTY is neither
WAITS = (
    "queued|submitt|waiting|preparing|suspend|ready|staging|active|started|archiving"  # Rucio's, then FTS's
)
LETTERS = {
    "d": "done",
    "f": "failed",
    "l": "lost",
    "n": "no_sources",
    "o": "only_tape_sources",
    "a": "submission_failed",
    "m": "mismatch_scheme",
    "s": "submitted",
    "g": "submitting",
    "q": "queued",
    "w": "waiting",
    "p": "preparing",
    "u": "suspend",
}  # in the database
STATES = ("state", "status", "State")  # names of the state of a request
NEEDED = "request-id, src-rse, dst-rse and times such as submitted_at, as Rucio announces them"


@functools.lru_cache(10_000)
def field_of(name):
    """(field of FIELDS that `name` stands for, whether `name` is another name of it); (None, True) for none.

    Hyphens, underscores, blanks, capitals and the path before the last dot do not count: `data.request-id`,
    `requestId`, `REQUEST_ID`.
    """
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rpartition(".")[2])
    plain = re.sub(r"[\s-]+", "_", plain.strip()).lower()
    field = {one.replace("-", "_"): one for one in FIELDS}.get(plain)
    return (field, False) if field else (OTHER_NAMES.get(plain), True)


def flatten(record):
    """The fields of `record` and of the payload that it carries, as an object or as text, in one dict; of two
    with the same name the outer one counts."""
    for name in ("payload", "data"):
        inner = record.get(name)
        if isinstance(inner, str) and inner.startswith("{"):
            try:
                inner = json.loads(inner)
            except (ValueError, RecursionError):
                continue
        if isinstance(inner, dict):
            outer = {key: value for key, value in record.items() if key != name}
            return {**flatten(inner), **outer}
    return record


def event_type(row, state):
    """What a flat `row` announces, such as "transfer-done"; `state` is that of the request, text or None.

    A bare payload does not name it: it follows from the state, else from the reason (a failure has one,
    whether it started or not), else from the time of the end.
    """
    if (row["event_type"] or "").strip():
        return plain_type(row["event_type"])
    state = LETTERS.get((state or "").strip().lower(), (state or "").strip().lower())
    if not state:
        reason = (row["reason"] or "").strip()
        state = "failed" if reason else "done" if has_moment(row["transferred_at"]) else "queued"
    return f"transfer-{state}"


@functools.lru_cache(1000)
def plain_type(named):
    """The type of an event that its source calls `named`: in small letters, with "transfer-" before a mere
    state.
    """
    named = re.sub(r"\s+", "-", named.strip().lower())
    bare = {*LETTERS.values(), "cancel", "canceled", "cancelled"}
    return f"transfer-{named}" if named in bare else re.sub(r"^(transfer|stagein)[_.]", r"\1-", named)


def first_text(values):
    """The first of `values` that is not empty, as text; None where all are."""
    return next(map(as_text, filter(None, values)), None)


def has_moment(text):
    """Whether `text`, that of a time or None, says anything but that there is none."""
    return text is not None and not MISSING.fullmatch(text)


@functools.lru_cache(1000)
def plan_of(names):
    """What the `names` of a flat record, a tuple, stand for: ((name, field), ...) of Rucio's own names, the
    same of other names, and the names of no field."""
    fields = [(name, *field_of(name)) for name in names]
    own, other = (
        tuple((name, field) for name, field, is_other in fields if field and is_other == wanted)
        for wanted in (False, True)
    )
    return own, other, tuple(name for name, field, _ in fields if not field)


def read_event(record):
    """Read a bare payload or an envelope, a dict with fields under any of their names, as a flat row of text:
    {name of FIELDS: text or None}, and what is no field as JSON under `more`."""
    flat = flatten(record)
    own, other, rest = plan_of(tuple(flat))
    row, more = dict.fromkeys(FIELDS), {name: flat[name] for name in rest}
    for name, field in own:
        if row[field] in (None, ""):
            row[field] = as_text(flat[name])
    for name, field in other:
        if row[field] in (None, ""):
            row[field] = as_text(flat[name])
        else:
            more[name] = flat[name]
    row["event_type"] = event_type(row, first_text(more.get(name) for name in STATES))
    row["more"] = json.dumps(more, sort_keys=True) if more else None
    return row


def is_event(record):
    """Whether `record` is an event of Rucio: of a transfer with its request id and a time, or of something
    else that has a type."""
    names = {
        field_of(name)[0]: value
        for name, value in flatten(record).items()
        if value not in (None, "") and not isinstance(value, dict | list)  # as in a table by columns
    }
    kind = str(names.get("event_type") or "")
    return ("request-id" in names and any(name in names for name in MOMENTS)) or bool(
        kind and not kind.lower().startswith("transfer")
    )


def event_times(events):
    """The UTC time of each event of a frame of text, the latest of its moments that can be read; missing when
    none can.

    An envelope was created when the event was announced, after all else; a bare payload says when the
    request was created, before all else.
    """
    return latest(moments_read(events))


def moments_read(events):
    """The moments of events, a frame of text, as times in UTC: DataFrame of MOMENTS."""
    return pd.DataFrame({moment: read_times(events[moment]) for moment in MOMENTS})


def latest(times):
    """The latest of the moments of each event, of the frame `times`; missing where all are."""
    at = np.maximum.reduce([moments_of(times[moment]) for moment in MOMENTS])  # missing is the smallest
    return pd.Series(at.view("datetime64[us]"), times.index).dt.tz_localize("UTC")


class TimeCheck:
    """Counts, page by page, how many times of each column cannot be read; `refuse` raises an error of one
    line where most of a column cannot."""

    def __init__(self, columns=MOMENTS):
        self.counts = {column: [0, 0, ""] for column in columns}  # moments, unreadable ones, an example

    def add(self, page, times):
        """Count the moments of the frame `page` of text, which were read as the frame `times`."""
        for column, count in self.counts.items():
            wrong = is_unreadable(page[column], times[column])
            count[0] += int((page[column].fillna("") != "").sum())
            count[1] += int(wrong.sum())
            if wrong.any():
                count[2] = count[2] or str(page.loc[wrong, column].iloc[0])

    def refuse(self):
        """Raise a LayoutError when more than half of the moments of a column, and at least five, cannot be
        read."""
        for column, (n, wrong, example) in self.counts.items():
            if wrong >= 5 and wrong > n / 2:
                raise LayoutError(
                    f"{wrong:,} of {n:,} times in {column} cannot be read, such as {example[:60]!r}; "
                    f"needed: {FORMS}"
                )


# ------------------------------------------------------------------------------------ Which event is which

TEXT_OF = {
    "request_id": "request-id",
    "activity": "activity",
    "src": "src-rse",
    "src_type": "src-type",
    "dst": "dst-rse",
    "protocol": "protocol",
    "fts": "transfer-endpoint",
    "src_host": "src-url",
    "dst_host": "dst-url",
    "reason": "reason",
    "state": "event_type",
}
TIME_OF = {
    "created": "created_at",
    "submitted": "submitted_at",
    "started": "started_at",
    "finished": "transferred_at",
}
FILE_OF = ["scope", "name"]  # what names a file
TAPE = " (tape)"  # after the names of the source and of the server of a stage-in
NAMED = ["activity", "kind", "src", "dst", "protocol", "fts", "src_host", "dst_host", "reason", "state"]
MOMENTS_OF = list(TIME_OF)
COMPARED = ["state", "src", "dst", *MOMENTS_OF, "bytes", "reason"]
MEASURED = ["state", "src", "dst", "submitted", "started", "finished", "bytes", "reason"]


def type_events(raw):
    """The raw table `raw` (text, FIELDS) with types: times in UTC, bytes as numbers, names as categories.

    Returns DataFrame TEXT_OF but src_type, TIME_OF, bytes, file and request (see `number_files` and
    `number_texts`), kind (see `set_apart`), unreadable (bool, whether a time of the transfer itself holds
    something that is no time). Times that contradict each other within one second are made equal (see
    `whole_seconds`). A missing activity, protocol, server or host is "unknown", and so is a missing source of
    what Rucio has not submitted yet. A creation before the submission is that of the request, which a bare
    payload names, and is left out, since it announces nothing.
    """
    frame = pd.DataFrame({"request_id": raw[TEXT_OF["request_id"]], "unreadable": False})
    for name in list(TEXT_OF)[1:]:
        frame[name] = raw[TEXT_OF[name]].astype("category")
    for name, field in TIME_OF.items():
        frame[name] = read_times(raw[field])
        if name != "created":
            frame["unreadable"] |= is_unreadable(raw[field], frame[name])
    frame["created"] = frame.created.mask(frame.created < frame.submitted)
    frame["bytes"] = read_numbers(raw["bytes"])
    frame["file"] = number_files(raw)
    frame["request"] = number_texts(frame.request_id)
    frame["staged"] = is_stage_in(frame)
    frame["state"] = renamed(frame.state, states, missing="unknown")
    for column in ("fts", "src_host", "dst_host"):
        frame[column] = renamed(frame[column], host_of, missing="unknown")
    for column in ("activity", "protocol"):
        frame[column] = renamed(frame[column], lambda names: names.where(names != ""), missing="unknown")
    # what an error says about people stays in the raw table alone
    frame["reason"] = renamed(frame.reason, lambda texts: texts.map(redact))
    for column in ("src", "dst"):
        frame[column] = renamed(frame[column], lambda names: names.where(names != ""))
    chosen = (frame.state == "done") | frame.started.notna()
    unchosen = frame.src.isna() & ~chosen  # Rucio chooses a source when it submits
    frame["src"] = frame.src.cat.add_categories({"unknown"} - {*frame.src.cat.categories}).mask(
        unchosen, "unknown"
    )
    return whole_seconds(set_apart(frame))


def read_numbers(texts):
    """The numbers in a Series of text: Series of float64; NaN where there is none."""
    try:
        numbers = pc.cast(arrow_texts(texts), pa.float64()).to_numpy(zero_copy_only=False)
        return pd.Series(numbers, texts.index)
    except pa.ArrowInvalid:  # one of them is no number
        return pd.to_numeric(texts, errors="coerce").astype("float64")


def renamed(column, rename=lambda names: names, missing=None):
    """A categorical column with `rename` applied to its names, a Series of text, once each; what has no name
    becomes `missing`.
    """
    names = pd.Series(rename(pd.Series(column.cat.categories, dtype="str")), dtype=object)
    codes, names = pd.factorize(pd.concat([names, pd.Series([missing], dtype=object)], ignore_index=True))
    codes = np.where(codes < 0, codes[-1], codes)
    return pd.Series(pd.Categorical.from_codes(codes[column.cat.codes], names), column.index)


def host_of(urls):
    """The host that each of the `urls`, a Series of text, names."""
    return urls.str.extract(r"^(?:\w+://)?([^:/?]+)")[0]


def number_files(raw):
    """The file that each event of the raw table `raw` is about, as a number: uint64 (n,), equal for all
    events of one file, whatever the request or the attempt.

    It is a hash of scope and name, since the names of 10 million files would fill the memory; of the request
    where the source names no file.
    """
    scope, name = (pc.fill_null(arrow_texts(raw[field]), "") for field in FILE_OF)
    blank, colon, request = (pa.scalar(text, pa.large_string()) for text in (" ", ":", "request"))
    requests = pc.binary_join_element_wise(request, arrow_texts(raw["request-id"]), blank)
    named = pc.binary_join_element_wise(scope, name, colon)
    return number_texts(pc.if_else(pc.equal(name, ""), requests, named))


def number_texts(texts):
    """Each of the `texts`, a Series or an Arrow array, as a number, a hash of 64 bits: uint64 (n,); 0 where
    there is none.
    """
    column = pc.fill_null(arrow_texts(texts), "")
    _, offsets, text = column.buffers()
    ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return hash_texts(np.frombuffer(text or b"", np.uint8), ends)


def arrow_texts(texts):
    """The `texts`, a Series or an Arrow array, as one Arrow array of large strings."""
    column = texts if isinstance(texts, pa.Array) else pa.array(texts, from_pandas=True)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.cast(pa.large_string())


def set_apart(events):
    """`events` with their kind, "stage-in" or "transfer"; TAPE follows the names of the source and of the
    server of a stage-in, so that no transfer from disk is compared with it.

    A stage-in waits for a drive and a cartridge: hours, where a transfer from disk waits for minutes.
    """
    kind = pd.Categorical.from_codes(events.staged.astype("int8"), ["transfer", "stage-in"])
    named = {name: with_tape(events[name], events.staged) for name in ("src", "fts")}
    return events.drop(columns=["src_type", "staged"]).assign(kind=kind, **named)


def with_tape(names, staged):
    """Categorical `names`, with TAPE behind those of what is `staged`, bool Series."""
    if not staged.any():
        return names
    names = names.astype(object)
    return names.mask(staged & names.notna(), names + TAPE).astype("category")


def is_stage_in(events):
    """Which of `events` bring a file from tape: bool Series. They tell by what was requested, by the type of
    their source, or by Rucio's activity for it; all three columns are categories.
    """
    asked = renamed(events.state, lambda names: names.str.split("-").str[0]) == "stagein"
    tape = renamed(events.src_type, lambda names: names.str.upper()) == "TAPE"
    staging = renamed(events.activity, lambda names: names.str.lower()) == "staging"
    return asked | tape | staging


def states(event_types):
    """The state that each event announces: object (n,) of "done", "failed", "queued" (it waits or runs), or
    "unknown" for any other word, which may be a final state."""
    kinds = pd.Series(event_types, dtype=object).astype("str").str.lower().fillna("")
    return np.select(
        [kinds.str.contains(FAILED), kinds.str.contains(DONE), kinds.str.contains(WAITS)],
        ["failed", "done", "queued"],
        "unknown",
    ).astype(object)


def whole_seconds(events):
    """`events` without contradictions of times within one second: where a start is before its submission, or
    an end before its start, the earlier step gets the time of the later one. Rucio notes the submission in
    microseconds, FTS start and end in whole seconds."""
    events = events.copy()
    for earlier, later in (("started", "finished"), ("submitted", "started")):
        wrong = events[later] < events[earlier]
        if wrong.any():
            same = wrong & (events[later].dt.floor("s") == events[earlier].dt.floor("s"))
            events[earlier] = events[earlier].mask(same, events[later])
    return events


def impossible(events):
    """Which of typed `events` are impossible: {reason: bool (n,)}, the weightiest first. Only what is done
    needs all times and a size."""
    done, queue, names = (
        events.state == "done",
        events.started - events.submitted,
        ["submitted", "started", "finished"],
    )
    return {
        "no request id": events.request_id.isna() | (events.request_id == ""),
        "unknown state": events.state == "unknown",
        "no source or destination": events.src.isna() | events.dst.isna(),
        "unreadable time": events.unreadable,
        "no time": events[[*names, "created"]].isna().all(axis=1),
        "missing time": done & events[names].isna().any(axis=1),
        "finished before it started": events.finished < events.started,
        "started before it was submitted": queue < pd.Timedelta(0),
        "more than a year in the queue": queue > pd.Timedelta(days=366),
        "unknown size": done & ~(np.isfinite(events.bytes) & (events.bytes > 0)),
    }


def attempts(events, request):
    """Number of the attempt of a transfer that each of `events` belongs to: int (n,), equal for events of
    the same attempt. request : number of the request of each, -1 for none.

    All waiting events of a request are of one attempt. Its final events are of one attempt when they have the
    same start, to the second; without a start, the same submission, end and reason, since a failure before
    the start says no more.
    """
    waits, unstarted = (events.state == "queued").to_numpy(), events.started.isna().to_numpy()
    seconds = {name: moments_of(events[name].dt.floor("s")) for name in ("submitted", "started", "finished")}
    keys = pd.DataFrame(
        {
            # each event without a request is an attempt of its own
            "request": np.where(request < 0, -1 - np.arange(len(events)), request),
            "waits": waits,
            "started": seconds["started"],
            "submitted": np.where(unstarted, seconds["submitted"], 0),
            "finished": np.where(unstarted, seconds["finished"], 0),
            "reason": np.where(unstarted, pd.factorize(events.reason)[0], 0),
        }
    )
    keys.loc[waits, ["started", "submitted", "finished", "reason"]] = 0
    return keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()


AGAIN = [  # why an event is no row of its own, the weightiest reason first
    "the transfer has ended since",
    "copy of another event",
    "announced again later",
    "corrected by a later event",
]


def superseded(events, possible, request):
    """Why each of `events` is no row of its own: int (n,), the place in AGAIN, len(AGAIN) where it is one.

    request : as in `attempts`. possible : bool (n,), False for what is impossible. Any final event, possible
    or not, ends the wait of its request, whenever either was announced. The others are compared only where a
    request has several that wait, or several that do not.
    """
    waits = (events.state == "queued").to_numpy()
    final = events.state.isin(["done", "failed"]).to_numpy()
    ended = np.bincount(request + 1, final, minlength=1)[request + 1] > 0
    has_ended = waits & ended & (request >= 0)
    why = np.where(has_ended, 0, len(AGAIN))
    kind = 2 * request + waits
    several = np.bincount(kind[request >= 0], minlength=1) > 1
    rest = np.flatnonzero((request >= 0) & ~has_ended)
    rest = rest[several[kind[rest]]]
    why[rest] = said_again(events[COMPARED].take(rest), possible[rest], request[rest])
    return why


def said_again(events, possible, request):
    """`superseded` for events that do not wait for an end that is known.

    Of the events of one attempt the newest possible one stays, by the time of what it reports, then by its
    announcement; what equals it in all of MEASURED is a copy. Different attempts of one request stay beside
    each other.
    """
    if not len(events):
        return np.empty(0, int)
    group, waits = attempts(events, request), (events.state == "queued").to_numpy()
    own_time = events.finished.fillna(events.created).fillna(events.started).fillna(events.submitted)
    own_time = own_time.where(~waits, events.created.fillna(events.submitted))
    order = np.lexsort([moments_of(events.created), moments_of(own_time), possible])
    newest = pd.Series(order).groupby(group[order]).last().to_numpy()[group]
    same = np.logical_and.reduce(
        [code == code[newest] for code in (codes_of(events[name]) for name in MEASURED)]
    )
    other = newest != np.arange(len(events))
    return np.select([other & same, other & waits, other], [1, 2, 3], len(AGAIN))


def codes_of(column):
    """Integers that are equal where the values of a column are equal: int (n,)."""
    return column.cat.codes.to_numpy() if column.dtype == "category" else pd.factorize(column)[0]


def moments_of(times):
    """A Series of times as integers, us since 1970, of which a missing one is the smallest: int64 (n,)."""
    return times.to_numpy("datetime64[us]").astype("int64")


def clean_events(events):
    """(one row for each attempt, with its number `attempt`; the other events with `rejected_because`) of
    typed `events`; none is lost. Both are in the order of `events`."""
    reasons = {reason: bad.to_numpy(bool) for reason, bad in impossible(events).items()}
    possible = ~np.logical_or.reduce(list(reasons.values()))
    request = numbered(events)
    again = superseded(events, possible, request)
    texts = [*reasons, *AGAIN]
    why = np.select(list(reasons.values()), range(len(reasons)), len(reasons) + again)
    stays = why == len(texts)
    kept, bad = events[stays].drop(columns="unreadable"), why[~stays]
    rejected = events[~stays].assign(rejected_because=pd.array(texts, dtype="str").take(bad))
    return kept.assign(attempt=number_attempts(kept, request[stays])), rejected


def numbered(events):
    """Number of the request of each of typed `events`, int (n,) from 0 on; -1 for none."""
    request = pd.factorize(events.request.to_numpy())[0]
    return np.where(events.request == 0, -1, request)


def number_attempts(kept, request):
    """Number of each attempt among those of its request, by time, from 1 on: int16 (n,)."""
    number = np.ones(len(kept), "int16")
    several = np.flatnonzero(np.bincount(request, minlength=1)[request] > 1)
    some = kept[MOMENTS_OF].take(several)
    at = some.started.fillna(some.finished).fillna(some.created).fillna(some.submitted)
    order = several[np.argsort(moments_of(at), kind="stable")]
    number[order] = pd.Series(request[order]).groupby(request[order]).cumcount() + 1
    return number


def concat_events(frames):
    """One frame of typed events from several with the same columns; categories are united, however many they
    become.
    """
    first, *others = frames
    if not others:
        return first.reset_index(drop=True)
    columns = {}
    for name in first:
        parts = [frame[name] for frame in frames]
        if first[name].dtype == "category":
            parts = [part.cat.rename_categories(part.cat.categories.astype(object)) for part in parts]
            columns[name] = union_categoricals(parts)
        else:
            columns[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns)
