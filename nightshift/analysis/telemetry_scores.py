"""What the models say of windows, day by day: what one night has tested, the next one does not test again.

The tests of a window depend on the window, on its neighbours in the same run, over which distances are
averaged, and, of a server, whose level is followed, on the days before. So the tests of a day depend on the
windows of the four days before it and of the day after. They are kept, and made again where one of these
days, the models or the code have changed. Memory holds the windows of six days.
"""

import hashlib
import json
from functools import lru_cache
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from helpers import write_json, write_parquet
from nightshift.cleaning.telemetry_days import days_of_table, read_windows
from nightshift.detectors.telemetry_distances import LEVEL_NIGHTS
from nightshift.detectors.telemetry_health import node_tests
from nightshift.detectors.telemetry_streams import NIGHTS_READ
from nightshift.products import code_below, read_json, sha256

KEPT = ".telemetry"  # folder beside the scores; pandas passes over what begins with a dot
ABOUT = ["job_id", "node_id", "app", "anomaly", "part", "start", "end"]
MODELS = ["detector.json", "usual.parquet", "units.parquet", "reference.parquet", "network.keras"]
MODELS += ["classifier.skops"]
ONE_DAY, RUN, ORDER = pd.Timedelta(days=1), ["node_id", "job_id"], ["node_id", "start", "job_id"]


class Tested(NamedTuple):
    """Windows that a night looks at, sorted by node and start, and what the models say of them.

    windows : DataFrame ABOUT, the columns that were asked for and is_judged. tests : as `node_tests` gives
    them, with the same index. lacking : metrics that the models read and no judged day has.
    """

    windows: pd.DataFrame
    tests: pd.DataFrame
    lacking: list


def windows_tested(paths, detector, *, judged_from, window_end, days, columns):
    """Test the windows of the judged time, and of servers, which have no jobs, those of the nights before,
    which say what is usual there: Tested.

    paths : of the study. detector : as `load_detector` gives it. days : nights that calibrate a server.
    columns : names of those that are read beside ABOUT. Judged is what the models have not learned from:
    windows of the judged time without a label, or those that the source itself sets aside for testing.
    """
    table, windows, tests, there = DayTests(paths, detector), [], [], set()
    since = judged_from - NIGHTS_READ * days * ONE_DAY
    for day in table.days_between(since - ONE_DAY, window_end):  # a window may end on the day after
        of_day = looked_at(read_windows(table.files[day], features=columns))
        judged = is_unlearned(of_day) & (of_day.end > judged_from) & (of_day.end <= window_end)
        wanted = judged | ((of_day.job_id == "") & (of_day.end > since) & (of_day.end <= window_end))
        if judged.any():
            there.update(pq.read_schema(table.files[day]).names)
        if wanted.any():
            windows.append(of_day.assign(is_judged=judged)[wanted])
            tests.append(table.tests_of(day)[wanted])
    if not windows:
        none = looked_at(read_windows(table.files[min(table.files)], features=columns))[:0]
        windows, tests = [none.assign(is_judged=False)], [table.test(none)]
    windows = pd.concat(windows, ignore_index=True)
    tests = pd.concat(tests, ignore_index=True)
    order = windows.sort_values(ORDER, kind="stable").index
    lacking = sorted({name.rpartition("|")[0] for name in table.features if name not in there})
    windows, tests = (one.loc[order].reset_index(drop=True) for one in (windows, tests))
    return Tested(windows, tests, lacking if windows.is_judged.any() else [])


def looked_at(windows):
    """Keep the windows that a night may look at: those of servers, and those from which nothing is
    learned.
    """
    windows = windows[is_unlearned(windows) | (windows.job_id == "")].reset_index(drop=True)
    return windows.drop(columns=["input", "coverage"], errors="ignore")


def is_unlearned(windows):
    """Tell from which windows nothing is learned: bool Series."""
    return (windows.part == "test") | ((windows.anomaly == "") & (windows.part != "train"))


class DayTests:
    """The tests of the days of the clean table, some of them kept from an earlier night.

    paths : of the study. detector : as `load_detector` gives it. files : {day: path}. features : columns that
    the models read.
    """

    def __init__(self, paths, detector):
        self.detector, self.kept = detector, paths.scores.with_name(KEPT)
        self.files = {file.stem: file for file in days_of_table(paths.clean)}
        self.features = [*dict.fromkeys([*detector.inputs, *getattr(detector, "features", [])])]
        self.models = [sha256(paths.models / name) for name in MODELS if (paths.models / name).exists()]
        self.hash_of, self.read = lru_cache(None)(sha256), lru_cache(LEVEL_NIGHTS + 2)(self.read_day)
        self.fitted = {}
        self.kept.mkdir(parents=True, exist_ok=True)
        for file in self.kept.iterdir():
            if file.stem not in self.files:
                file.unlink()

    def days_between(self, begin, end):
        """List the days of the table from that of the moment `begin` to that of `end`."""
        return [day for day in self.files if f"{begin:%Y-%m-%d}" <= day <= f"{end:%Y-%m-%d}"]

    def read_day(self, day):
        """Read what the models read of the windows of a day."""
        windows = looked_at(read_windows(self.files[day], features=self.features))
        return windows.reindex(columns=[*ABOUT, *self.features])

    def tests_of(self, day):
        """The tests of the windows of a day that a night may look at, in their order."""
        number = pd.Timestamp(day)
        before = self.days_between(number - LEVEL_NIGHTS * ONE_DAY, number - ONE_DAY)
        after = self.days_between(number + ONE_DAY, number + ONE_DAY)
        made_of = [self.hash_of(self.files[one]) for one in (*before, day, *after)]
        of = hashlib.sha256(json.dumps([made_of, len(before), self.models, code()]).encode()).hexdigest()
        note, table = self.kept / f"{day}.json", self.kept / f"{day}.parquet"
        if read_json(note).get("of") == of and (kept := whole_table(table)) is not None:
            return kept
        tests = self.test(self.read(day), [self.read(one) for one in before], [*map(self.read, after)])
        note.unlink(missing_ok=True)  # first away, last back: what is cut off in between is tested again
        write_parquet(tests, table)
        write_json({"of": of}, note)
        return tests

    def test(self, windows, before=(), after=()):
        """Test the windows of a day; before, after : those of the days around it, lists of DataFrames."""
        reach = self.detector.smoothing // 2
        around = [*(one.assign(of=-1) for one in before), windows.assign(of=0)]
        around += [one.groupby(RUN).head(reach).assign(of=1) for one in after]
        around = pd.concat(around).sort_values(ORDER, ignore_index=True, kind="stable")
        last = around[around.of == -1].groupby(RUN).tail(reach).index
        around["wanted"] = (around.of >= 0) | around.index.isin(last)
        around = around[(around.job_id == "") | around.wanted].reset_index(drop=True)
        wanted = around.wanted.to_numpy()
        tests = node_tests(around, self.detector, fitted=self.fitted, wanted=wanted).clip(-100, 100)
        return tests[around.of[wanted].eq(0).to_numpy()].reset_index(drop=True)


def code():
    """A hash of the code that tests windows."""
    return code_below("detectors", "statistics", "analysis/telemetry_scores.py")


def whole_table(path):
    """Read a table that may be damaged: DataFrame, or None."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):
        return None
