"""Transfers between the nights: what is known at a start, the journal, scores that a night would give, problems that are told at once."""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from live_events import SITES, TIME_CONSTANT_S, make_transfers, messages_of, run_night
from rucio_events import states_at_starts

from nightshift.cleaning.transfers import ENTITIES
from nightshift.cleaning.transfers_days import Carried
from nightshift.detectors.transfers_limits import Limits, judge_blocks, judge_transfers
from nightshift.live import at_starts, broker, scorer, transfers
from nightshift.live.at_starts import AtStarts, order_keys
from nightshift.live.broker import check_files, login, read_address
from nightshift.live.journal import Journal, Position, files_of, read_lines_at
from nightshift.live.scorer import TOO_OLD, Scorer
from nightshift.live.stamp import NoNight
from nightshift.live.store import Store
from nightshift.live.transfers_findings import find_provisional

DAY = 86_400


# -------------------------------------------------------------------------------------------------- at_starts


def attempts(n, seed):
    """Attempts as the clean table has them, many of which share the second of their start or of their end."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, 4 * n, n))
    ends = seconds + np.where(rng.random(n) < 0.1, rng.integers(0, 4 * n, n), rng.integers(0, 40, n))
    rows = pd.DataFrame({"request_id": [f"{one:032x}" for one in rng.permutation(n)], "attempt": np.int16(1)})
    for name, times in (("started", seconds), ("finished", ends)):
        rows[name] = pd.Series(pd.Timestamp("2026-01-31", tz="UTC") + pd.to_timedelta(times, unit="s")).astype("datetime64[us, UTC]")
    for entity in ENTITIES:
        rows[entity] = pd.Categorical(rng.choice(["A", "B", "C"], n))
    rows["log_rate"], rows["log_duration"] = rng.normal(16, 1, (2, n)).astype("float32")
    rows["state"] = rng.choice(["done", "failed"], n, p=[0.9, 0.1])
    return rows.sort_values(["started", "request_id"], ignore_index=True)


def of_a_night(rows):
    """What is known at the starts of all `rows`, (n, 16), as a night computes it in one pass."""
    seconds = {name: rows[name].astype("int64").to_numpy() / 1e6 for name in ("started", "finished")}
    about = [rows.log_rate, rows.log_duration, rows.state == "failed", TIME_CONSTANT_S]
    states = [states_at_starts(seconds["started"], seconds["finished"], rows[name].cat.codes, *about) for name in ENTITIES]
    for one in states:
        one[:, 0] = np.log1p(one[:, 0])
    return np.hstack(states)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_known_is_to_the_bit_that_of_a_night_in_whatever_order_transfers_are_told(seed, monkeypatch):
    monkeypatch.setattr(at_starts, "SPACING", 20)
    rows, rng = attempts(400, seed), np.random.default_rng(seed)
    announced = np.argsort(rows.finished.astype("int64").to_numpy() / 1e6 + rng.exponential(100, len(rows)))
    one = AtStarts(Carried(), pd.Timestamp("2026-01-31", tz="UTC").timestamp(), TIME_CONSTANT_S)
    for at in np.array_split(announced, 40):
        states = one.add(rows.iloc[at])
        there = rows.iloc[np.sort(announced[: np.flatnonzero(announced == at[-1])[0] + 1])].reset_index(drop=True)
        of_all = pd.DataFrame(of_a_night(there), order_keys(there))
        np.testing.assert_array_equal(states, of_all.loc[order_keys(rows.iloc[at])])
    assert len(one.times) > 5
    np.testing.assert_array_equal(one.states_of_all(), of_a_night(rows))
    some = rng.choice(len(rows), 30, replace=False)
    one.remove(rows.iloc[some])
    np.testing.assert_array_equal(one.states_of_all(), of_a_night(rows.drop(index=some).reset_index(drop=True)))


# ---------------------------------------------------------------------------------------------------- journal


def test_a_batch_is_on_disk_and_what_is_no_event_stands_beside_with_its_reason(tmp_path):
    journal = Journal(tmp_path)
    journal.append([b'{"a": 1}', b"\xff", b"[1]", b'{"a":\n 2}', b"{", b" " * 2**20 + b"{}"])
    [name] = files_of(tmp_path)
    assert (tmp_path / name).read_bytes() == b'{"a": 1}\n{"a": 2}\n'
    aside = [json.loads(line) for line in (tmp_path / "rejected" / name).read_text().splitlines()]
    assert [one["reason"] for one in aside] == [
        "no UTF-8",
        "no JSON object",
        "no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "1,048,578 bytes, where 1,048,576 are the most",
    ]
    assert (journal.n_kept, journal.n_rejected) == (2, 4)
    journal.close()


def test_a_line_that_a_kill_has_torn_is_cut_off_and_reading_goes_on_behind_it(tmp_path):
    (tmp_path / "2026-01-30.jsonl").write_bytes(b'{"a": 1}\n')
    (tmp_path / "2026-01-31.jsonl").write_bytes(b'{"a": 2}\n{"a": ')
    text, position = read_lines_at(tmp_path, Position(), 100)
    assert (text, position) == (b'{"a": 1}\n', Position("2026-01-30.jsonl", 9))
    text, position = read_lines_at(tmp_path, position, 100)
    assert (text, position) == (b'{"a": 2}\n', Position("2026-01-31.jsonl", 9))
    assert read_lines_at(tmp_path, position, 100) == (b"", position)
    journal = Journal(tmp_path)
    assert (tmp_path / "2026-01-31.jsonl").read_bytes() == b'{"a": 2}\n'
    journal.append([b'{"a": 3}'])
    journal.close()
    assert read_lines_at(tmp_path, position, 100)[0] == b'{"a": 3}\n'
    lost = Position("2026-01-31.jsonl", 500)  # of lines that a loss of power has taken
    assert read_lines_at(tmp_path, lost, 100)[0] == b'{"a": 3}\n'


def test_what_no_reader_of_the_journal_would_read_is_put_aside(tmp_path):
    """`json` takes them as bytes; in the journal they would be no UTF-8, or no JSON, and a name with half of a letter would end the scorer."""
    journal = Journal(tmp_path)
    journal.append([b'{"a": "\xed\xa0\x80"}', '{"a": 1}'.encode("utf-16"), b'\xef\xbb\xbf{"a": 1}', '{"a": "é"}'.encode()])
    [name] = files_of(tmp_path)
    assert (tmp_path / name).read_text(encoding="utf-8") == '{"a": "é"}\n'
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "rejected" / name).read_text().splitlines()]
    assert reasons[:2] == ["no UTF-8", "no UTF-8"]
    assert reasons[2].startswith("no JSON: Unexpected UTF-8 BOM")
    journal.close()


def test_a_journal_that_could_not_write_takes_nothing_more_and_can_be_closed(tmp_path):
    """What another broker sends in this moment would stand behind half of a line."""
    journal = Journal(tmp_path)
    journal.open()
    first, second = journal.files
    first.close()
    journal.files = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"), second
    with pytest.raises(OSError, match="No space left"):
        journal.append([b"{}"])
    assert second.closed
    with pytest.raises(ValueError, match="argument"):
        journal.append([b"{}"])
    journal.close()
    assert (journal.n_kept, journal.n_rejected) == (0, 0)


# ----------------------------------------------------------------------------------------------------- scores


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """(products of a night, messages of the day after it, the transfers of all three days)."""
    root = tmp_path_factory.mktemp("night")
    announced = make_transfers(2400, "2026-01-29", 3 * DAY)
    announced = announced[announced.created < 3 * DAY]  # what is announced after midnight, the night of that day does not know
    messages, n = messages_of(announced), int((announced.created < 2 * DAY).sum())
    (root / "earlier").mkdir()
    (root / "earlier/events.jsonl").write_bytes(b"\n".join(messages[:n]) + b"\n")
    run_night(root, "2026-01-30", root / "earlier/*.jsonl", train=True)
    return root, messages[n:], announced


@pytest.fixture
def products(before, tmp_path):
    shutil.copytree(before[0], tmp_path / "products")
    return tmp_path / "products"


def begin(root, alarm_rate=0.01):
    """(Scorer, Journal) of the stream of the products `root`."""
    from helpers import study_paths

    folder = root / "data/live/transfers"
    return Scorer(study_paths("transfers", str(root)), folder, alarm_rate), Journal(folder)


def follow(one, journal, messages, size=150):
    for first in range(0, len(messages), size):
        journal.append(messages[first : first + size])
        while one.step():
            pass
    journal.close()


def test_the_night_takes_over_without_a_seam(products, before):
    """Every message twice, in batches that a new process goes on with: each is scored once, and as the night scores it."""
    _, messages, announced = before
    twice = [one for i in range(0, len(messages), 100) for one in 2 * messages[i : i + 100]]
    one, journal = begin(products)
    follow(one, journal, twice[: len(twice) // 2])
    follow(*begin(products), twice[len(twice) // 2 :])
    one, _ = begin(products)
    n_changed, most = one.settle()
    assert n_changed > 0
    assert most > 1e-3
    scored = one.store.read("where not of_night and score is not null")
    assert not scored.duplicated(["request_id", "attempt"]).any()
    ours = announced[announced.created >= 2 * DAY]
    assert set(scored.request_id) == set(ours.request[~ours.failed])
    assert one.store.noted("counts") == {"read": len(twice), "kept": len(messages), "rejected": len(messages), "of other kinds": 0}
    sources = "earlier/*.jsonl", "data/live/transfers/2*.jsonl"
    for i, pattern in enumerate(sources):  # the night reads the journal beside what it has
        for path in products.glob(pattern):
            shutil.copy(path, products / f"source-{i}.jsonl")
    night = run_night(products, "2026-01-31", products / "source-*.jsonl")
    both = scored.merge(night.scored, on=["request_id", "attempt"], suffixes=("", "_night"))
    assert len(both) == (night.scored.request_id.isin(ours.request)).sum() > 700
    assert (both.score - both.score_night).abs().max() <= 1e-6
    assert (both.forecast_s - both.forecast_s_night).abs().max() <= 1e-3
    assert one.has_new_night()
    n, most = one.take_over()
    assert (n, most <= 1e-6) == ((both.started >= one.night.begin).sum(), True)
    after = one.store.read("where score is not null")
    assert not after.duplicated(["request_id", "attempt"]).any()
    assert after.of_night.sum() >= n


def test_flags_are_those_of_the_limits_that_the_night_left(products, before):
    one, journal = begin(products)
    follow(one, journal, before[1])
    scored = one.store.read("where not of_night and score is not null")
    assert (scored.flagged == (scored.p_value <= 0.01)).all()
    assert scored.flagged.any()
    np.testing.assert_allclose(scored.p_value, one.night.limits.p_values(scored.first_score, scored.link.astype(str)))


def test_what_fails_in_the_midst_of_a_batch_is_scored_when_it_comes_again(products, before, monkeypatch):
    one, journal = begin(products)
    journal.append(before[1][:100])
    with monkeypatch.context() as patch:
        patch.setattr(one.store, "put_aside", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            one.step()
    assert one.store.position == Position()
    assert one.store.count("transfers") == one.store.count("transfers where of_night")
    one, _ = begin(products)
    assert one.step() == 100
    assert one.store.count("transfers where not of_night") == 100


def changed(message, **payload):
    """A message with other values in its payload."""
    record = json.loads(message)
    record["payload"] |= {name.replace("_", "-") if name.startswith("request") else name: value for name, value in payload.items()}
    return json.dumps(record).encode()


def test_a_correction_takes_the_place_of_what_it_corrects_and_what_is_too_old_is_left_to_the_night(products, before):
    one, journal = begin(products)
    done = [message for message in before[1] if b"transfer-done" in message]
    late = changed(done[0], transferred_at="Sat, 31 Jan 2026 23:59:00 UTC")
    old = changed(done[1], started_at="Thu, 29 Jan 2026 10:00:00 UTC", submitted_at="Thu, 29 Jan 2026 09:00:00 UTC")
    other = b'{"event_type": "deletion-done", "created_at": "2026-01-31 01:00:00", "payload": {"name": "x"}}'
    nameless = changed(done[2], request_id=None)
    follow(one, journal, [done[0], other, nameless], size=1)
    follow(*begin(products), [late, late, old], size=1)
    one, _ = begin(products)
    rows = one.store.read("where not of_night")
    assert rows.request_id.tolist() == [json.loads(done[0])["payload"]["request-id"]]
    assert rows.finished.astype(str).tolist() == ["2026-01-31 23:59:00+00:00"]
    why = [reason for (reason,) in one.store.db.execute("select why from rejected order by rowid")]
    assert why == ["no request id", "corrected by a later event", "copy of another event", TOO_OLD]
    assert one.store.noted("counts") == {"read": 6, "kept": 1, "rejected": 4, "of other kinds": 1}


@pytest.mark.parametrize("size", [1, 2])
def test_two_failures_of_a_request_before_its_start_are_two_attempts(products, before, size):
    one, journal = begin(products)
    message = next(message for message in before[1] if b"transfer-done" in message).replace(b"transfer-done", b"transfer-submission_failed")
    nothing = {"started_at": None, "transferred_at": None, "reason": "refused"}
    times = [f"Sat, 31 Jan 2026 00:0{minute}:00 UTC" for minute in (1, 2)]
    follow(one, journal, [changed(message, submitted_at=time, **nothing) for time in times], size=size)
    rows = one.store.read("where not of_night")
    assert sorted(rows.submitted.dt.minute) == [1, 2]
    assert rows.request_id.nunique() == 1


def test_a_night_takes_over_when_it_has_ended(products):
    """While it trains, its clean table lies beside the scores of the night before."""
    one, _ = begin(products)
    assert not one.has_new_night()
    later = time.time_ns() + 10**9
    for path, ended in ((one.paths.clean / ".carried/made_of.json", False), (one.paths.scores, False), (one.paths.findings, True)):
        os.utime(path, ns=(later, later))
        assert one.has_new_night() == ended


def test_scores_are_not_lost_to_a_night_that_has_none_yet_and_those_it_gives_later_are_taken(products, before, monkeypatch):
    one, journal = begin(products)
    follow(one, journal, before[1][:300])
    scored, n = (one.store.read(f"where {of} and score is not null") for of in ("not of_night", "of_night"))
    assert len(scored) > 200
    night = one.store.read("where started is not null").drop(columns=["id", "first_score", "scored_at", "of_night"])
    night = night.assign(**dict.fromkeys(["score", "p_value", "predicted_s", "forecast_s"], np.nan), flagged=False)
    with monkeypatch.context() as patch:
        patch.setattr(scorer, "rows_of_night", lambda *_: night)
        one.take_over()
    again = one.store.read("where not of_night and score is not null")
    assert again.score.tolist() == scored.score.tolist()
    one.store.db.execute("update transfers set score = null where of_night")
    one.take_over()
    assert one.store.read("where of_night and score is not null").score.tolist() == n.score.tolist()


def test_a_store_can_be_read_in_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "run #1, 50%41?"
    folder.mkdir()
    store = Store(folder / "scores.sqlite")
    assert Store(folder / "scores.sqlite", read_only=True).count() == store.count() == 0


def test_without_a_night_nothing_can_be_scored(tmp_path):
    with pytest.raises(NoNight, match="holds no night whose transfers were scored"):
        begin(tmp_path)


def test_limits_go_on_from_block_to_block_wherever_the_night_has_ended():
    rng = np.random.default_rng(1)
    times = pd.date_range("2026-01-31", periods=900, freq="1min", tz="UTC")
    names = {"src": rng.choice(["A", "B"], 900), "dst": "C", "started": times, "score": rng.normal(size=900)}
    rows = pd.DataFrame(names).assign(link=lambda t: t.src + " -> " + t.dst)
    calibration = pd.DataFrame({"link": "A -> C", "score": rng.normal(size=300)})
    limits = Limits(calibration, 0.02)
    judge_blocks(rows.iloc[:560], limits)
    at = 560 // limits.size * limits.size
    expected = judge_transfers(rows, calibration, 0.02).p_value.iloc[560 : at + limits.size]
    assert len(expected) > 5
    here = rows.loc[expected.index]
    np.testing.assert_array_equal(limits.p_values(here.score, here.link), expected)


# --------------------------------------------------------------------------------------------------- problems


def slowed(message, source):
    """A message in which a transfer from `source` between 6 and 18 o'clock takes three hours more."""
    payload = json.loads(message)["payload"]
    began = pd.Timestamp(payload["started_at"])
    if payload["src-rse"] != source or not (6 <= began.hour < 18 and began.day == 31):
        return message
    ended = pd.Timestamp(payload["transferred_at"]) + pd.Timedelta(hours=3)
    return changed(message, transferred_at=f"{ended:%a, %d %b %Y %H:%M:%S UTC}")


def test_a_slow_source_is_a_provisional_finding_and_no_more_once_the_night_has_it(products, before):
    one, journal = begin(products)
    follow(one, journal, [slowed(message, SITES[0]) for message in before[1]])
    settings = {"alarm_rate": 0.01, "false_discovery_rate": 0.05, "site_pattern": "(.+)_[^_]+"}
    since = pd.Timestamp("2026-01-31", tz="UTC")
    path = products / "data/live/transfers/scores.sqlite"
    table = find_provisional(one.paths, path, since, **settings)
    found = table[table.kind == "slow_source"].iloc[0]
    assert (found.entity, found.site) == (SITES[0], "AURORA-T1")
    assert since + pd.Timedelta(hours=5) < found.start < found.end < since + pd.Timedelta(hours=19)
    assert found.evidence.endswith("; provisional")
    assert found.impact_unit == "GB delayed"
    pd.testing.assert_frame_equal(pd.read_parquet(products / "data/live/transfers.parquet"), table)
    assert find_provisional(one.paths, path, since + pd.Timedelta(days=1), **settings).empty


# ---------------------------------------------------------------------------------------------------- brokers


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("amqp://mq.example.org", "is no broker"),
        ("stomp+ssl://", "is no broker"),
        ("stomp://u:secret@mq.example.org", "holds a login"),
        ("stomp://mq.example.org:99999", "is no number up to 65535"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secret(address, what):
    with pytest.raises(ValueError, match=what) as error:
        read_address(address)
    assert "secret" not in str(error.value)


def test_an_address_names_host_port_and_virtual_host():
    assert read_address("stomp+ssl://mq.example.org:61612/rucio%2Fprod") == {
        "host": "mq.example.org",
        "port": 61612,
        "is_tls": True,
        "vhost": "rucio/prod",
    }
    assert read_address("stomp://mq.example.org")["port"] == 61613


def test_a_batch_does_not_wait_on_and_on_for_messages_that_come_steadily(monkeypatch):
    now = [0.0]

    def get(timeout):
        now[0] += min(timeout, 0.004)
        if timeout < 0.004:
            raise queue.Empty
        return "id", b"{}"

    monkeypatch.setattr(broker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    inbox = broker.Inbox(10)
    inbox.messages = SimpleNamespace(get=get)
    assert 10 < len(inbox.take(2000)) < 15
    assert now[0] < 1.2 * broker.LINGER_S


def test_a_login_needs_both_of_its_halves():
    assert login({"STOMP_USER": "a", "STOMP_PASSWORD": "b"}) == ("a", "b")
    assert login({}) == (None, None)
    with pytest.raises(ValueError, match="both be set, or neither"):
        login({"STOMP_USER": "a"})


def test_files_of_certificates_are_named_where_they_cannot_be_read(tmp_path):
    check_files({"STOMP_CA": "", "STOMP_CERT": __file__})
    with pytest.raises(ValueError, match=r"^STOMP_CERT is '.*none\.pem', which is no file that can be read$"):
        check_files({"STOMP_CERT": str(tmp_path / "none.pem")})


# -------------------------------------------------------------------------------------------------- processes


def test_no_scorer_is_waited_for_where_the_journal_cannot_be_opened(tmp_path, monkeypatch):
    """It ends with the process that began it, and that one would wait for it at its end."""
    ended = []
    process = SimpleNamespace(start=lambda: None, terminate=lambda: ended.append("asked to end"), join=lambda _: ended.append("ended"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(transfers, "check_night", lambda _: None)
    monkeypatch.setattr(transfers.signal, "signal", lambda *_: None)
    monkeypatch.setattr(transfers.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=lambda **_: process))
    (tmp_path / "data/live/transfers").mkdir(parents=True)
    (tmp_path / "data/live/transfers/rejected").write_text("no folder")
    with pytest.raises(FileExistsError):
        transfers.run(transfers.Settings(str(tmp_path), 0.01, 0.05, "(.+)_[^_]+"), [])
    assert ended == ["asked to end", "ended"]


def test_a_look_for_problems_whose_process_was_killed_is_followed_by_another(monkeypatch):
    pools, killed = [], BrokenProcessPool("its process was killed")

    class Pool:
        is_broken = False

        def __init__(self, *_):
            pools.append(self)

        def submit(self, *_):
            if self.is_broken:
                raise killed
            return Future()

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(transfers, "ProcessPoolExecutor", Pool)
    finder = transfers.Finder(None)
    assert finder.begin("2026-01-31")
    assert not finder.begin("2026-01-31"), "the first one goes on"
    pools[0].is_broken = True
    finder.look.set_exception(killed)
    assert finder.begin("2026-01-31")
    assert len(pools) == 2


def test_a_scorer_that_waits_for_another_ends_when_the_process_that_began_it_is_gone(tmp_path, monkeypatch):
    """Of processes that were killed one after the other, each would have begun in its turn, and the last one waited too long."""
    settings = transfers.Settings(str(tmp_path), 0.01, 0.05, "(.+)_[^_]+")
    settings.folder.mkdir(parents=True)
    monkeypatch.setattr(transfers.signal, "signal", lambda *_: None)
    monkeypatch.setattr(transfers, "watch_parent", lambda stopped: threading.Timer(0.3, stopped.set).start())
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(settings.folder / ".scorer.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        transfers.score_journal(settings)  # NoNight, had it gone on
        assert 0.3 <= time.monotonic() - began < transfers.HANDS_OVER_S / 2
