"""The clean transfers by day: night after night they are what all events at once would give."""

import shutil

import numpy as np
import pandas as pd
import pytest

import helpers
from nightshift.cleaning import transfers_days
from nightshift.cleaning.transfers import FORGOTTEN, check_transfers, clean_schema
from nightshift.cleaning.transfers_days import RAW, STATES, UNDATED, update
from nightshift.cleaning.transfers_folders import CleanTable, count_names

HOUR = 3600.0
BEGIN = pd.Timestamp("2026-01-01", tz="UTC")


def moment(seconds):
    return str(BEGIN + pd.Timedelta(seconds=float(seconds)))[:19]


def events_of(rng, n, days):
    """Random events of Rucio as raw text: requests that wait, start, fail, try again, are announced twice, and contradict themselves."""
    rows = []
    for request in range(n):
        src, dst = rng.choice(list("ABC"), 2)
        submitted = rng.integers(0, days * 86400)
        base = {"request-id": f"r{request}", "activity": "Test", "src-rse": src, "src-type": "DISK", "dst-rse": dst, "protocol": "davs"}
        base |= {"transfer-endpoint": "https://fts.example", "src-url": f"davs://{src}.example/x", "dst-url": f"davs://{dst}.example/x"}
        base |= {"scope": "mc", "name": f"f{rng.integers(9)}"}
        base |= {"bytes": str(rng.integers(1, 10**10)), "submitted_at": moment(submitted), "reason": None}
        rows.append(base | {"event_type": "transfer-queued", "created_at": moment(submitted + 1), "started_at": None, "transferred_at": None})
        at = submitted
        for _ in range(rng.integers(0, 3)):
            started = at + rng.integers(1, 60_000)
            at = started + rng.integers(-20, 90_000)
            kind = rng.choice(["transfer-done", "transfer-failed"])
            rows.append(base | {"event_type": kind, "created_at": moment(at), "started_at": moment(started), "transferred_at": moment(at)})
            if rng.random() < 0.2:  # announced again, later
                rows.append(rows[-1] | {"created_at": moment(at + rng.integers(1, 200_000))})
    frame = pd.DataFrame(rows)[RAW].astype("str")
    return frame.assign(**{name: frame[name].where(pd.DataFrame(rows)[name].notna(), None) for name in RAW})


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "raw", tmp_path / "clean.parquet", tmp_path / "rejected.parquet"


def night(folders, parts, **settings):
    """Make the raw table of `parts` {name: frame}, bring the others up to date, and read them: (clean, rejected, done)."""
    raw, clean, rejected = folders
    raw.mkdir(exist_ok=True)
    for path in raw.glob("*.parquet"):
        if path.stem not in parts:
            path.unlink()
    for name, frame in parts.items():
        if not (path := raw / f"{name}.parquet").exists() or not pd.read_parquet(path).equals(frame.reset_index(drop=True)):
            frame.to_parquet(path, index=False, row_group_size=20)
    done = update(*folders, **{"begin": BEGIN, "time_constant_s": 4 * HOUR} | settings)
    return pd.read_parquet(clean), pd.read_parquet(rejected), done


def by_key(frame):
    """A table whose order and categories do not matter, to be compared."""
    plain = frame.astype({name: object for name in frame if frame[name].dtype == "category"})
    keys = [name for name in ("request_id", "attempt", "state", "started", "finished", "created", "rejected_because", "activity") if name in plain]
    return plain.sort_values(keys, ignore_index=True)[sorted(plain.columns)]


def at_once(tmp_path, parts, **settings):
    folder = tmp_path / "at once"
    folder.mkdir()
    whole = {"all": pd.concat(parts.values(), ignore_index=True)}
    return night((folder / "raw", folder / "clean.parquet", folder / "rejected.parquet"), whole, **settings)


@pytest.mark.parametrize(("seed", "batch"), [(0, 40), (1, 40), (2, 10**6)])
def test_night_after_night_is_all_at_once(folders, tmp_path, monkeypatch, seed, batch):
    monkeypatch.setattr(transfers_days, "BATCH", batch)
    monkeypatch.setattr(transfers_days, "PAGE", 30)
    rng = np.random.default_rng(seed)
    events = events_of(rng, 50, days=3)
    order = rng.permutation(len(events)) if seed % 2 else np.argsort(events.created_at.to_numpy(str), kind="stable")
    pieces = np.array_split(order, 3)
    parts = {f"part{i}": events.iloc[piece].reset_index(drop=True) for i, piece in enumerate(pieces)}
    for i in range(1, len(parts) + 1):
        clean, rejected, done = night(folders, dict(list(parts.items())[:i]))
        assert len(clean) + len(rejected) == sum(map(len, list(parts.values())[:i])), "an event is lost"
        assert done.new == 1
    whole, refused, _ = at_once(tmp_path, parts)
    pd.testing.assert_frame_equal(by_key(clean), by_key(whole), rtol=1e-6)
    counts = [table.rejected_because.value_counts().to_dict() for table in (rejected, refused)]
    assert counts[0] == counts[1]
    assert clean.started.dropna().is_monotonic_increasing
    assert clean.started[clean.state == "queued"].isna().all()
    assert clean[STATES][clean.started.notna() & clean.finished.notna()].notna().any().all(), "no state was computed"


def test_of_two_words_of_one_moment_the_later_counts_on_whichever_night_either_came(folders, tmp_path):
    events = events_of(np.random.default_rng(6), 40, days=2)
    ended = events[events.transferred_at.notna()].drop_duplicates("request-id")
    corrected = ended.assign(bytes="7", activity="Corrected")
    parts = {"a": events.reset_index(drop=True), "b": corrected.reset_index(drop=True)}
    for name in "ab":
        night(folders, {one: parts[one] for one in parts if one <= name})
    again = night(folders, parts | {"c": events.assign(**{"request-id": "c" + events["request-id"]}).reset_index(drop=True)})
    clean, rejected, _ = night(folders, parts)
    whole, refused, _ = at_once(tmp_path, parts)
    assert (whole.activity == "Corrected").sum() > 20, "the corrections do not count"
    pd.testing.assert_frame_equal(by_key(clean), by_key(whole), rtol=1e-6)
    pd.testing.assert_frame_equal(by_key(rejected), by_key(refused))
    assert len(again[0]) == 2 * len(whole)


def test_nothing_new_computes_nothing_and_a_new_day_only_its_own(folders):
    rng, start = np.random.default_rng(1), "2026-01-05"
    events = events_of(rng, 100, days=7)
    ran = events[events.transferred_at.fillna("") > events.started_at.fillna("")]
    before = ran[ran.started_at < start]
    old, new = before, ran[~ran["request-id"].isin(before["request-id"])]
    night(folders, {"old": old})
    times = {path.name: path.stat().st_mtime_ns for path in folders[1].glob("*.parquet")}
    _, _, again = night(folders, {"old": old})
    assert (again.new, again.events, again.days) == (0, 0, [UNDATED])
    _, _, done = night(folders, {"old": old, "new": new})
    assert min(done.days) == start
    after = {path.name: path.stat().st_mtime_ns for path in folders[1].glob("*.parquet")}
    assert {name for name in times if after[name] == times[name]} >= {f"2026-01-0{day}.parquet" for day in (1, 2, 3, 4)}
    assert set(count_names(folders[1], done.days, ["src"])["src"]) <= set("ABC")


def test_a_part_that_changes_or_goes_takes_its_events_with_it(folders, tmp_path):
    events = events_of(np.random.default_rng(2), 80, days=3)
    parts = {f"part{i}": events.iloc[rows] for i, rows in enumerate(np.array_split(np.arange(len(events)), 5))}
    night(folders, parts)
    changed = parts | {"part1": parts["part1"].iloc[::2]}
    del changed["part4"]
    clean, rejected, done = night(folders, changed)
    assert (done.new, done.gone) == (1, 2)
    whole, refused, _ = at_once(tmp_path, changed)
    pd.testing.assert_frame_equal(by_key(clean), by_key(whole), rtol=1e-6)
    assert len(rejected) == len(refused)


def test_a_window_that_moves_on_changes_no_state_of_later_days(folders, tmp_path):
    """The day that has left was known all the same; once that is forgotten nobody can tell any more: here in days, since an hour is the constant."""
    settings, events = {"time_constant_s": HOUR}, events_of(np.random.default_rng(3), 200, days=10)
    at = events[["created_at", "transferred_at"]].fillna("").max(axis=1)
    parts = {day: piece.reset_index(drop=True) for day, piece in events.groupby(at.str[:10])}
    clean, _, _ = night(folders, parts, **settings)
    later = list(parts)[1:]
    moved, _, done = night(folders, {day: parts[day] for day in later}, begin=pd.Timestamp(later[0], tz="UTC"), **settings)
    assert (done.new, done.gone, done.days) == (0, 1, [UNDATED])
    same = moved.merge(clean, on=["request_id", "started", "finished", "state"], suffixes=("", "_before"))
    for name in STATES:
        np.testing.assert_array_equal(same[name], same[f"{name}_before"])
    whole, _, _ = at_once(tmp_path, {day: parts[day] for day in later}, **settings)
    late = [frame[frame.started >= pd.Timestamp(later[0], tz="UTC") + pd.Timedelta(hours=FORGOTTEN + 48)] for frame in (moved, whole)]
    assert len(late[0]) > 50
    pd.testing.assert_frame_equal(by_key(late[0]), by_key(late[1]), rtol=1e-6)


def test_a_run_that_was_cut_off_and_other_settings_begin_from_nothing(folders, monkeypatch):
    parts = {"a": events_of(np.random.default_rng(4), 40, days=3)}
    whole, _, _ = night(folders, parts)
    monkeypatch.setattr(transfers_days, "follow_states", lambda *_: 1 / 0)
    more = parts | {"b": events_of(np.random.default_rng(5), 10, days=3).assign(**{"request-id": lambda f: "other" + f["request-id"]})}
    with pytest.raises(ZeroDivisionError):
        night(folders, more)
    monkeypatch.undo()
    clean, _, done = night(folders, parts)
    assert done.new == 1, "what was half done is not gone on with"
    pd.testing.assert_frame_equal(by_key(clean), by_key(whole))
    assert night(folders, parts, time_constant_s=HOUR)[2].new == 1


LOST = ["rejected.parquet", "clean.parquet/undated.parquet", "clean.parquet/.index/2026-01-01.parquet"]


def test_a_table_that_somebody_has_removed_is_made_again(folders, tmp_path):
    events = events_of(np.random.default_rng(6), 30, days=2)
    parts = {name: events.iloc[place::3].reset_index(drop=True) for place, name in enumerate("abc")}
    whole = night(folders, parts)
    for lost in LOST:
        path = tmp_path / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        again = night(folders, parts)
        assert again[2].new == 3, lost
        for table, before in zip(again[:2], whole[:2], strict=True):
            pd.testing.assert_frame_equal(by_key(table), by_key(before), obj=f"without {lost}, the table")


def test_a_table_of_one_file_gives_way_and_no_event_is_a_table_too(folders):
    folders[1].write_bytes(b"a table of an earlier version")
    empty = pd.DataFrame(columns=RAW, dtype="str")
    clean, rejected, _ = night(folders, {"a": empty})
    assert (len(clean), len(rejected)) == (0, 0)
    assert {"request_id", "link", *STATES} <= set(clean.columns)
    assert "rejected_because" in rejected


def test_a_late_word_about_an_old_day_counts_from_its_midnight_on(folders, tmp_path):
    """Of old midnights few are kept: days since the latest one before are passed once more, and not written."""
    events = events_of(np.random.default_rng(7), 120, days=13)
    at = events[["created_at", "transferred_at"]].fillna("").max(axis=1)
    parts = {day: piece.reset_index(drop=True) for day, piece in events.groupby(at.str[:10])}
    night(folders, parts)
    kept = sorted(path.name[:10] for path in (folders[1] / ".carried").glob("*-memory.parquet"))
    assert len(kept) < len(parts) - 3, "what was known is kept of every midnight"
    times = {path.name: path.stat().st_mtime_ns for path in folders[1].glob("*.parquet")}
    late = events[events.transferred_at.notna() & events.started_at.str.startswith("2026-01-06", na=False)].iloc[:1]
    parts["late"] = late.assign(**{"request-id": "late"}).reset_index(drop=True)
    clean, _, done = night(folders, parts)
    assert done.days[0] == "2026-01-06"
    assert (folders[1] / "2026-01-05.parquet").stat().st_mtime_ns == times["2026-01-05.parquet"]
    whole, _, _ = at_once(tmp_path, parts)
    pd.testing.assert_frame_equal(by_key(clean), by_key(whole), rtol=1e-6)


BROKEN = {
    "request_id": lambda rows: rows.request_id.where(rows.index > 0),
    "attempt": lambda rows: rows.attempt.where(rows.index > 0, np.int16(0)).astype("int16"),
    "file": lambda rows: rows.file.astype("int64"),
    "state": lambda rows: rows.state.where(rows.index > 0),
    "started": lambda rows: rows.started.dt.tz_localize(None),
    "queue_s": lambda rows: rows.queue_s.where(rows.index > 0, np.float32(-1)),
    "duration_s": lambda rows: rows.duration_s.astype(float),
}


def test_a_day_that_breaks_the_contract_is_refused_as_pandera_words_it(folders, monkeypatch):
    clean, _, _ = night(folders, {"a": events_of(np.random.default_rng(8), 20, days=2)})
    broken = {column: clean.assign(**{column: change(clean)}) for column, change in BROKEN.items()}
    for rows in [*broken.values(), clean.drop(columns="file"), pd.concat([clean, clean], ignore_index=True)]:
        with pytest.raises(ValueError, match=r"^day: column") as refused:
            check_transfers(rows, "day")
        with pytest.raises(ValueError, match=r"^day: column") as by_pandera:
            helpers.check_schema(rows, clean_schema(), "day")
        assert str(refused.value) == str(by_pandera.value)
    monkeypatch.setattr("nightshift.cleaning.transfers.clean_schema", None)
    assert check_transfers(clean, "day") is clean


def test_rows_of_the_clean_table_are_read_by_their_place(folders):
    night(folders, {"one": events_of(np.random.default_rng(5), 60, 4)})
    whole, table = pd.read_parquet(folders[1]), CleanTable(folders[1])
    assert list(table.days) == [*sorted(set(table.days) - {UNDATED}), UNDATED]
    assert sum(map(len, table.days.values())) == len(whole)
    columns = ["request_id", "attempt", "link", "state", "started"]
    done = table.read(columns, keep=lambda rows: rows.state == "done")
    expected = whole[whole.state == "done"][columns]
    assert len(expected) > 20
    pd.testing.assert_frame_equal(done.astype({"link": str, "state": str}), expected.astype({"link": str, "state": str}), check_names=False)
    day = list(table.days)[1]
    assert table.read(["started"], days=[day]).index.tolist() == list(table.days[day])
    places = [expected.index[-1], 0, len(whole) - 1, 0]
    taken = table.take(places, ["request_id", "reason"])
    assert taken.index.tolist() == places
    assert taken.request_id.tolist() == whole.request_id.loc[places].tolist()
    for none in (table.read(columns, days=[]), table.take([], columns)):
        pd.testing.assert_frame_equal(none, done[:0], check_categorical=False)


def test_rows_of_the_clean_table_are_read_in_pieces_none_twice(folders):
    night(folders, {"one": events_of(np.random.default_rng(5), 200, 4)})
    table, columns = CleanTable(folders[1]), ["request_id", "state", "link"]
    expected = table.read(columns, keep=lambda rows: rows.state == "done")
    begin, end = expected.index[[30, -9]]
    for rows in (7, 60, 10_000):
        pieces = list(table.pieces(columns, keep=lambda rows: rows.state == "done", rows=rows))
        assert max(map(len, pieces)) <= rows
        assert len(pieces) < 2 * len(expected) / rows + len(table.days)
        pd.testing.assert_frame_equal(pd.concat([piece.astype(str) for piece in pieces]), expected.astype(str))
        between = table.pieces(columns, begin=begin, end=end, keep=lambda rows: rows.state == "done", rows=rows)
        pd.testing.assert_series_equal(pd.concat([piece.request_id for piece in between]), expected.request_id[30:-9])
    assert table.days_between(begin, end)[0] == next(day for day, places in table.days.items() if begin in places)
    assert list(table.pieces(columns, begin=table.n_rows)) == []
