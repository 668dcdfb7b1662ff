"""Nodes between the nights: `nightshift live telemetry` pulls the last minutes from a Prometheus again and
again, diagnoses them, and writes what it finds below data/live.

    telemetry_nodes.parquet    one row per run: its newest judged window, and whether it is in alarm
    telemetry.parquet          provisional findings, see provisional.py
    telemetry.json             the stream itself: when it last looked, how long that took, how much it judged
"""

import contextlib
import json
import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from helpers import write_json, write_parquet
from nightshift.analysis.telemetry import amounts, name_of, opinion
from nightshift.detectors.telemetry_distances import LEVEL_DAYS, robust_z_scores
from nightshift.detectors.telemetry_sites import site_of
from nightshift.live.filters import RunFilter, table_of_alarms
from nightshift.live.predictor import RuntimePredictor
from nightshift.live.provisional import (
    build_provisional,
    judged_until,
    merge_alarms,
    read_provisional,
    take_over,
    write_provisional,
)
from nightshift.live.samples import Samples, newest_windows
from nightshift.live.servers import past_of_servers

STUDY = "telemetry"
CATCH_UP = 20  # windows that one look can judge at most: after a pause of the server, or of this process
ONE_DAY_S = 86_400


@dataclass
class Watch:
    """All that a stream of nodes remembers.

    paths : of the study. rule : when flagged windows are an alarm. site_pattern : as for `site_of`. pull_of :
    makes a Pull for a RuntimePredictor. filters : {run: RunFilter}. last : {run: start of its last judged
    window}. farthest : {id of a stretch: (the metric that lies farthest from usual, by how many spreads, what
    it is, what is usual)}. named : {id of a stretch: diagnosis of its alarm}. counted : windows judged and
    flagged since the start. stamp : when the loaded files were written, ns since 1970. predictor : the
    RuntimePredictor in use.
    """

    paths: object
    rule: object
    site_pattern: str
    pull_of: object
    filters: dict = field(default_factory=dict)
    last: dict = field(default_factory=dict)
    farthest: dict = field(default_factory=dict)
    named: dict = field(default_factory=dict)
    counted: dict = field(default_factory=lambda: {"windows": 0, "flagged": 0})
    stamp: tuple = ()
    predictor: object = None

    def load(self):
        """Load the models and what the last night says of servers, where a night has written them anew since;
        a training that is just being written is waited for.
        """
        files = [self.paths.models / "detector.json", self.paths.scores]
        stamp = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in files)
        if stamp == self.stamp or (self.stamp and not stamp[0]):
            return
        if not stamp[0]:
            raise ValueError(f"{files[0]} is not there: nodes are judged by models that a night has trained")
        before, self.predictor = self.predictor, RuntimePredictor(self.paths.models, self.rule)
        if before:  # alarms go on, although the new models may know other kinds of trouble
            for follow in self.filters.values():
                follow.change_classes(before.classes, self.predictor.classes)
        self.predictor.past = past_of_servers(self.paths, self.predictor.detector)
        grid = self.predictor.grid
        self.pull = self.pull_of(self.predictor)
        smoothing = self.predictor.detector.smoothing
        self.behind, self.ahead = smoothing // 2, (smoothing - 1) // 2
        length = grid.window + 1 + grid.step * (CATCH_UP + smoothing)
        self.samples, self.stamp = Samples(length), stamp

    @property
    def step_s(self):
        """Seconds from one window of a run to the next."""
        return self.predictor.grid.step * self.predictor.grid.sampling_s

    def look(self, now):
        """Pull, judge and write once, at the time `now`, seconds since 1970; returns {"begins", "changes",
        "ends": alarms that do so}, tables as `table_of_alarms` gives them. An alarm changes when more of its
        windows call it otherwise.
        """
        self.load()
        began, moment = time.monotonic(), int(now // self.predictor.grid.sampling_s)
        asked = self.samples.update(self.pull, moment)
        n = min(asked // self.predictor.grid.step + 1, CATCH_UP) + self.behind + self.ahead
        windows = newest_windows(self.samples, self.pull.metrics, self.predictor.grid, n=n)
        scored, chances = self.predictor.judge(windows)
        final = self.final_rows(scored, windows.at_edge)
        self.follow_levels(windows.loc[final])
        begun, ended = self.filter_rows(scored.loc[final], chances)
        self.note_farthest(windows, scored.loc[final])
        changed = self.renamed()
        self.write(ended, scored.loc[final], pd.Timestamp(now, unit="s", tz="UTC"), time.monotonic() - began)
        return {"begins": self.table(begun), "changes": self.table(changed), "ends": self.table(ended)}

    def final_rows(self, scored, at_edge):
        """Choose the windows that are judged now: those that were not yet, and whose neighbours, over which
        scores are averaged, are all there, so that a night gives them the same score.
        """
        runs = scored.groupby(["node_id", "job_id"], sort=False)
        place, size = runs.cumcount(), runs.start.transform("size")
        last = pd.Series(
            [self.last.get(run) for run in zip(scored.node_id, scored.job_id, strict=True)], scored.index
        )
        is_new = last.isna() | (scored.start > pd.to_datetime(last, utc=True))
        is_cut = at_edge.astype(bool).groupby([scored.node_id, scored.job_id], sort=False).transform("first")
        whole = (place >= self.behind) | ~is_cut
        return scored.index[is_new & whole & (place < size - self.ahead)]

    def filter_rows(self, rows, chances):
        """Let the filter of each run follow its windows: ([Stretch] of alarms that begin, [Stretch] of those
        that end); the alarm of a run that is no longer there ends.
        """
        begun, ended = [], []
        for one in rows.itertuples():
            run = one.node_id, one.job_id
            follow = self.filters.setdefault(run, RunFilter(self.rule))
            before = follow.alarm
            ended += filter(None, [follow.add(one, chances.loc[one.Index].to_numpy())])
            begun += [follow.alarm] if follow.alarm and not before else []
            self.last[run] = one.start
        for run in [run for run in self.filters if run not in self.samples.values]:
            ended += filter(None, [self.filters.pop(run).close()])
            self.last.pop(run, None)
        self.counted["windows"] += len(rows)
        self.counted["flagged"] += int(rows.flagged.sum())
        return begun, ended

    @property
    def alarms(self):
        """The alarms that go on, a list of Stretch."""
        return [one.alarm for one in self.filters.values() if one.alarm]

    def renamed(self):
        """Note how the alarms that go on are called now; returns those that were called otherwise before."""
        alarms, before = self.alarms, self.named
        names = self.table(alarms).diagnosis
        self.named = {id(alarm): name for alarm, name in zip(alarms, names, strict=True)}
        return [one for one in alarms if before.get(id(one), self.named[id(one)]) != self.named[id(one)]]

    def follow_levels(self, windows):
        """Let the level of each server that has a past follow its new windows, as `follow_level` does."""
        levels = self.predictor.past.levels
        windows = windows[(windows.job_id == "") & windows.node_id.isin(list(levels))]
        if len(windows):
            z, _ = robust_z_scores(windows, self.predictor.detector.usual)
            weight = 1 - 0.5 ** (self.step_s / (LEVEL_DAYS * ONE_DAY_S))
            for node, deviation in zip(windows.node_id, z.clip(-5, 5), strict=True):
                levels[node] = levels[node] + weight * (deviation - levels[node])

    # ----------------------------------------------------------------------------------------------- Findings

    def note_farthest(self, windows, rows):
        """Note for each stretch the metric whose mean lies farthest from usual in any of its windows.

        windows : features of the new windows. rows : their judgements, with the same index.
        """
        hit = windows.loc[rows.index[rows.flagged]]
        means = [name for name in self.predictor.detector.inputs if name.endswith("|mean")]
        if not len(hit) or not means:
            return
        usual = self.predictor.detector.usual
        z, group = robust_z_scores(hit, usual)
        at = [list(usual.columns).index(name) for name in means]
        farthest = np.abs(z[:, at]).argmax(axis=1)
        for row, (one, best) in enumerate(zip(hit.itertuples(), farthest, strict=True)):
            stretch, name, far = self.filters[one.node_id, one.job_id].stretch, means[best], z[row, at[best]]
            if stretch is None or abs(far) <= abs(self.farthest.get(id(stretch), (None, 0))[1]):
                continue
            observed, spread = hit[name].iloc[row], usual.loc[(group[row], "spread"), name]
            self.farthest[id(stretch)] = name.rpartition("|")[0], far, observed, observed - far * spread

    def table(self, stretches):
        """Make a table of alarms."""
        least = self.rule.least_confidence
        return table_of_alarms(stretches, self.predictor.classes, least_confidence=least)

    def findings(self, stretches, *, goes_on):
        """Turn alarms into provisional findings, as `build_provisional` takes them: a list of dicts."""
        counters, rows = self.predictor.detector.windows["counters"], []
        for alarm, stretch in zip(self.table(stretches).itertuples(), stretches, strict=True):
            metric, far, observed, expected = self.farthest.get(id(stretch), ("", 0.0, np.nan, np.nan))
            unit = "1/s" if metric in counters else ""
            row = {
                "kind": alarm.diagnosis,
                "entity": alarm.node_id,
                "site": site_of(alarm.node_id, self.site_pattern),
            }
            row |= {name: getattr(alarm, name) for name in ("start", "end", "score", "p_value", "job_id")}
            row |= {"observed": observed, "expected": expected, "unit": unit, "impact": 1, "goes_on": goes_on}
            says = opinion(alarm, self.rule.least_confidence)
            row["evidence"] = evidence_of(alarm, metric, (observed, expected), unit=unit, far=far, says=says)
            rows.append(row)
        return rows

    def write(self, ended, rows, now, seconds):
        """Write what this look has found: findings where any began, went on or ended, the newest window of
        each run, and the state of the stream.
        """
        goes_on = self.alarms
        before = read_provisional(self.paths.root, STUDY)
        found = [*self.findings(ended, goes_on=False), *self.findings(goes_on, goes_on=True)]
        gap = pd.Timedelta(seconds=2 * self.rule.majority * self.step_s)
        merged = merge_alarms(before.assign(goes_on=False), build_provisional(found, STUDY), gap)
        merged = take_over(merged, judged_until(self.paths.root, STUDY))
        if not merged.equals(before):
            write_provisional(self.paths.root, STUDY, merged)
        self.forget()
        folder = self.paths.root / "data/live"
        self.write_nodes(folder / f"{STUDY}_nodes.parquet", rows, goes_on)
        state = {"looked": now.isoformat(), "seconds": round(seconds, 3), "step_s": self.step_s}
        state |= {"runs": len(self.samples.values), "alarms": len(goes_on), "trained_day": self.trained_day}
        write_json(state | self.counted, folder / f"{STUDY}.json")

    @property
    def trained_day(self):
        """The night that trained the models in use."""
        return self.predictor.detector.trained_day

    def forget(self):
        """Forget the farthest metrics of stretches that are over."""
        going = {id(one.stretch) for one in self.filters.values() if one.stretch}
        self.farthest = {key: value for key, value in self.farthest.items() if key in going}

    def write_nodes(self, path, rows, goes_on):
        """Write the newest judged window of each run that is still there."""
        alarms = {(one.node_id, one.job_id) for one in goes_on}
        tables = [rows]
        with contextlib.suppress(OSError, ValueError, KeyError):  # none is there, or none that can be read
            tables = [pd.read_parquet(path).drop(columns="in_alarm"), rows]
        newest = pd.concat(tables, ignore_index=True).drop_duplicates(["node_id", "job_id"], keep="last")
        runs = list(zip(newest.node_id, newest.job_id, strict=True))
        in_alarm, there = (
            np.array([run in among for run in runs], bool) for among in (alarms, self.samples.values)
        )
        write_parquet(newest.assign(in_alarm=in_alarm)[there], path)


def evidence_of(alarm, metric, values, *, unit, far, says):
    """Say in one sentence what an alarm shows: the telling metric, where it lies and where it usually does,
    by how many usual spreads, since when, and what the classifier makes of it.
    """
    since = f"since {alarm.start:%Y-%m-%d %H:%M} UTC"
    if not metric:
        return f"no metric tells of it; {since}; {says}"
    observed, expected = amounts(*values)
    unit = " per s" if unit else ""
    where = "above" if far > 0 else "below"
    return (
        f"{name_of(metric)} {where} what is usual: {observed}{unit}, usually {expected} ({far:+.0f} "
        f"spreads); {since}; {says}"
    )


def line_of(alarm, what):
    """Write an alarm as one line of JSON; what : whether it begins, changes or ends."""
    times = {name: str(getattr(alarm, name)) for name in ("start", "end", "called_at")}
    line = {"alarm": what, "node": alarm.node_id, "job": alarm.job_id}
    line |= {"diagnosis": alarm.diagnosis, "confidence": round(float(alarm.confidence), 3), **times}
    return json.dumps(line | {"p_value": float(f"{alarm.p_value:.3g}"), "delay_s": alarm.delay_s})
