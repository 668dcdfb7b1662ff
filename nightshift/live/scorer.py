"""Transfers scored as their events arrive: what the journal has is cleaned, featurised, scored and flagged as
in the night.

    Scorer      scores the events after a place in the journal, and writes them to the store
    settle      scores again what was scored before its past was complete
    take_over   replaces the last night by a new one

An event is scored at once, by what is known then. A transfer that started before it and is announced later
changes what was in flight at its start: when more is known, `settle` scores it again. In the end it has the
score that the night gives it.
"""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from nightshift.cleaning.transfers_days import RAW, STATES, in_order
from nightshift.live.at_starts import AtStarts
from nightshift.live.journal import read_lines_at
from nightshift.live.night import read_night, rows_of_night
from nightshift.live.stamp import check_night, has_ended, stamp_of
from nightshift.live.store import KEYS, OF_SCORE, Store, measured, ran_of
from nightshift.sources.transfers.event_lines import EventLines
from nightshift.sources.transfers.parts import REQUESTED, rows_where, table_of
from nightshift.sources.transfers.rucio import (
    MEASURED,
    clean_events,
    concat_events,
    number_texts,
    type_events,
)
from nightshift.status import keep_private

MOST_BYTES = 2**22  # of the journal at once, about 4,000 events
TOO_OLD = "started before the last day of the night: the next night scores it"
COUNTS = ("read", "kept", "rejected", "of other kinds")


class Scorer:
    """Follows the journal in a folder.

    paths : as `study_paths` gives them, of the products of the nights. folder : of the journal and of the
    store. alarm_rate : share of normal transfers that may be flagged.
    """

    def __init__(self, paths, folder, alarm_rate):
        self.paths, self.folder, self.alarm_rate = paths, folder, alarm_rate
        check_night(paths)  # before anything is written
        keep_private(folder)
        self.store, self.lines = Store(folder / "scores.sqlite"), EventLines()
        self.take_over()

    # ---------------------------------------------------------------------------------------------- one batch

    def step(self):
        """Score what follows in the journal, up to MOST_BYTES of it; returns how many events there were."""
        block, position = read_lines_at(self.folder, self.store.position, MOST_BYTES)
        if not block:
            return 0
        events, counts = self.events_of(block)
        finals = events[
            events.state.isin(["done", "failed", "unknown"]).to_numpy() | events.unreadable.to_numpy()
        ]
        new, gone, refused = self.judge(finals)
        scored = self.score(new, gone)
        counts["rejected"] += len(refused)
        counts["kept"] = counts["read"] - counts["of other kinds"] - counts["rejected"]
        before = self.store.noted("counts", dict.fromkeys(COUNTS, 0))
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        with self.store.transaction():
            self.store.remove(gone.id if len(gone) else [])
            self.store.add(scored.assign(scored_at=pd.Timestamp(now, tz="UTC")))
            self.store.put_aside(refused, now)
            self.store.note("position", position)
            self.store.note("memory", [self.night.stamp, self.memory])
            self.store.note("counts", {name: before[name] + counts[name] for name in COUNTS})
        return counts["read"]

    def events_of(self, block):
        """Type the events of a block of lines: (DataFrame of events, how many lines of each of COUNTS)."""
        if self.lines.templates:
            table, bad = self.lines.read(block)
        else:
            records, bad = self.lines.read_by_json(block)
            table = table_of(records)
        transfers = rows_where(table, pc.match_substring_regex(table["event_type"], REQUESTED))
        counts = dict.fromkeys(COUNTS, 0)
        counts |= {
            "read": len(table) + len(bad),
            "rejected": len(bad),
            "of other kinds": len(table) - len(transfers),
        }
        return type_events(transfers.select(RAW).to_pandas()), counts

    def judge(self, events):
        """Judge the final events of a batch together with what the store has of their requests: (new
        attempts, attempts that they correct, events that are not used with the reason why).
        """
        there = self.store.of_requests(events.request_id.dropna().unique())
        again = np.isin(marks_of(events), marks_of(there))
        copies = events[again].assign(rejected_because="copy of another event")
        fresh = events[~again].assign(id=-1)
        if len(there):
            numbers = number_texts(there.request_id)
            earlier = there.assign(unreadable=False, request=numbers)[fresh.columns]
            fresh = concat_events([earlier, fresh])
        kept, rejected = clean_events(fresh)
        gone, new = there[there.id.isin(rejected.id)], kept[kept.id < 0]
        is_old = new.started < self.night.begin
        old = new[is_old].assign(rejected_because=TOO_OLD)
        refused = [copies, rejected, old]  # one that is corrected counted as kept until now
        why = pd.concat([one[["request_id", "state", "rejected_because"]].astype(object) for one in refused])
        return new[~is_old], gone, why

    def score(self, new, gone):
        """Score the attempts `new`, with those in `gone` removed from what is known: rows of the store."""
        if len(gone):
            self.at_starts.remove(ran_of(measured(gone)))
        rows = measured(new).sort_values(
            ["started", "request_id", "attempt"], na_position="last", ignore_index=True
        )
        states = np.full((len(rows), len(STATES)), np.nan, np.float32)
        ran = (rows.started.notna() & rows.finished.notna()).to_numpy()
        if ran.any():
            states[ran] = self.at_starts.add(rows[ran])
        rows = rows.assign(**dict(zip(STATES, states.T, strict=True)))
        scores, self.memory = self.scores_of(rows, self.memory)
        return rows.join(scores).assign(first_score=scores.score, of_night=False, scored_at=pd.NaT)

    def scores_of(self, rows, memory):
        """Score and judge the done ones of `rows`, sorted by their starts: (DataFrame predicted_s,
        forecast_s, score, p_value, flagged by the index of all rows, memory).
        """
        out = pd.DataFrame(dict.fromkeys(OF_SCORE[:5], np.nan), rows.index).assign(flagged=False)
        done = rows[(rows.state == "done") & rows.started.notna()]
        if len(done):
            scores, memory = self.night.score(done.reset_index(drop=True), memory)
            scores["p_value"] = self.night.limits.p_values(scores.score, done.link.astype(str).to_numpy())
            scores["flagged"] = scores.p_value <= self.alarm_rate
            scores.index = done.index
            flagged = scores.pop("flagged").reindex(out.index, fill_value=False)
            out = out.assign(**{name: scores[name].reindex(out.index) for name in scores}, flagged=flagged)
        return out.drop(columns="first_score"), memory

    # ------------------------------------------------------------------------------------------- over the day

    def settle(self):
        """Score again the transfers of which more is known than when they were scored: (how many have another
        score now, the largest difference).
        """
        rows = self.store.read("where started is not null and finished is not null")
        rows = in_order(measured(rows))
        rows = rows.assign(**dict(zip(STATES, self.at_starts.states_of_all().T, strict=True)))
        live = rows[~rows.of_night].reset_index(drop=True)
        scores, self.memory = self.scores_of(live, self.night.memory)
        live = live.assign(**{f"new_{name}": scores[name] for name in scores})
        names = ["score", "forecast_s", "predicted_s"]
        differs = (live[[f"new_{name}" for name in names]].to_numpy() != live[names].to_numpy()).any(axis=1)
        changed = live[differs & live.new_score.notna()]
        with self.store.transaction():
            renamed = changed[["id", "of_night", *(f"new_{name}" for name in scores)]]
            self.store.update_scores(renamed.rename(columns=lambda name: name.removeprefix("new_")))
        apart = (changed.new_score - changed.score).abs()
        return len(apart), float(apart.max()) if len(apart) else 0.0

    def take_over(self):
        """Continue from the last night: with its model, its limits, what it knew, and its scores in the place
        of those given meanwhile to the same transfers; what is older than its last day is removed. Returns
        (how many transfers both have scored, the largest difference between their scores).
        """
        self.night = read_night(self.paths, self.alarm_rate)
        night = in_order(rows_of_night(self.paths, self.night.begin))
        with self.store.transaction():
            self.store.db.execute(
                "delete from transfers where coalesce(started, finished, created) < ?",
                (self.night.begin.value // 1000,),
            )
            there = self.store.read("where started is not null")
            seam = there.merge(night, on=KEYS, suffixes=("", "_night"))
            # what the night has not scored, since it was cut off before, keeps the score that it has
            taken = seam[seam.score_night.notna() | seam.score.isna()]
            self.store.update_scores(as_of_night(taken.id, taken, "_night"))
            fresh = night.merge(there[[*KEYS, "id"]], "left", KEYS)
            fresh = fresh[fresh.id.isna()]
            self.store.add(
                fresh.assign(
                    first_score=fresh.score,
                    flagged=fresh.flagged.fillna(False).astype(bool),
                    of_night=True,
                    scored_at=pd.NaT,
                )
            )
        rows = ran_of(measured(self.store.read("where started is not null and finished is not null")))
        night = self.night
        self.at_starts = AtStarts(night.carried, night.begin.timestamp(), night.time_constant_s)
        self.at_starts.add(in_order(rows))
        stamp, memory = self.store.noted("memory", [None, None])
        goes_on = json.dumps(stamp) == json.dumps(self.night.stamp)  # this process, not the night, is new
        self.memory = memory if goes_on else self.night.memory
        both = ~seam.of_night & seam.score.notna() & seam.score_night.notna()
        apart = (seam.score - seam.score_night)[both].abs()
        return len(apart), float(apart.max()) if len(apart) else 0.0

    def has_new_night(self):
        """Whether a night has ended since the one that scores. While a night is under way, its clean table
        and its model may lie beside the scores of the one before.
        """
        stamp = stamp_of(self.paths)
        return stamp != self.night.stamp and has_ended(stamp)


def as_of_night(ids, rows, suffix):
    """Take the scores that a night has given, in the form that `Store.update_scores` takes."""
    names = ["score", "p_value", "flagged", "predicted_s", "forecast_s"]
    found = {name: rows[f"{name}{suffix}"] for name in names}
    found["flagged"] = found["flagged"].fillna(False).astype(bool)
    return pd.DataFrame({"id": ids, "of_night": True, **found})


def marks_of(events):
    """What tells typed final events from each other, as far as it is measured: uint64 (n,)."""
    columns = {name: events[name] for name in ["request_id", *MEASURED]}
    for name, values in columns.items():
        if not pd.api.types.is_datetime64_any_dtype(values) and name != "bytes":
            columns[name] = values.astype(object).fillna("")
    return pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()
