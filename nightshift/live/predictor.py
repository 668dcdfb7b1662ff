"""Diagnosis of nodes while they run, or of a job right after its end, by the models of the last training.

Cut          samples into windows as 2_preprocess did     grid_of, metrics_of
Predictor    windows, scores, alarms                      RuntimePredictor
Servers      judged by their own last nights              Past
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from nightshift.cleaning.telemetry import Grid, join_tables
from nightshift.cleaning.telemetry_windows import describe_windows
from nightshift.detectors.telemetry_health import load_detector, node_tests
from nightshift.detectors.telemetry_incidents import diagnose
from nightshift.live.filters import Rule, RunFilter, table_of_alarms
from nightshift.statistics import combine_tests

END_OF_TIME = pd.Timestamp("2200-01-01", tz="UTC")  # no row of a frame comes too late
SCORED = ["node_id", "job_id", "start", "end", "score", "p_value", "flagged", "diagnosis", "confidence"]


def grid_of(detector):
    """Build the Grid by which the windows of the training were cut; ValueError of one line for a model that
    does not say it, as those of earlier versions.
    """
    cut = getattr(detector, "windows", {})
    if "sampling_s" not in cut:
        raise ValueError(
            "models/telemetry does not say how its windows were cut: delete the folder, so that the next "
            "night trains anew"
        )
    sampling_s, counters = cut["sampling_s"], set(cut["counters"])
    return Grid(
        sampling_s,
        periods={},
        window=round(cut["window_s"] / sampling_s),
        step=max(round(cut["step_s"] / sampling_s), 1),
        trim_s=cut["trim_s"],
        least_coverage=cut["least_coverage"],
        end=END_OF_TIME,
        counters=(),
        gauges=(),
        behaviour={metric: metric in counters for metric in metrics_of(detector)},
    )


def metrics_of(detector):
    """List the metrics that the models read, sorted."""
    read = [*detector.inputs, *getattr(detector, "features", [])]
    return sorted({name.rpartition("|")[0] for name in read})


@dataclass
class Past:
    """What is usual of servers, which run no jobs and live long.

    tests : {server: {test: scores of its last nights, sorted (n,)}}. levels : {server: (F,)}, by how much it
    has drifted since the training, in usual spreads.
    """

    tests: dict = field(default_factory=dict)
    levels: dict = field(default_factory=dict)


class RuntimePredictor:
    """Diagnoses nodes by the stored models.

        RuntimePredictor("models/telemetry").diagnose(samples)

    model : the folder that 3_train has written. rule : when flagged windows are an alarm. past : of servers;
    without it their level is followed in their own samples, and they are judged by the healthy windows of the
    training, as jobs are.
    """

    def __init__(self, model, rule=None, past=None):
        self.detector, self.rule, self.past = load_detector(Path(model)), rule or Rule(), past
        self.calibration = pd.read_parquet(Path(model) / "calibration.parquet")
        self.grid, self._fitted = grid_of(self.detector), {}

    @cached_property
    def metrics(self):
        """The metrics that the models read, sorted."""
        return metrics_of(self.detector)

    @property
    def classes(self):
        """Names of the class probabilities, "p <class>"; none where nothing was labelled."""
        return [f"p {name}" for name in self.detector.classes]

    def windows(self, samples):
        """Cut runs that have ended into windows, exactly as a night does: DataFrame node_id, job_id, start,
        end and features, sorted by node and start.

        samples : DataFrame node_id, timestamp (UTC), metrics as the source counts them, and job_id where
        there are jobs; a run is one job on one node, or a day of one without jobs. No row gives no window.
        ValueError where a column lacks, or no metric of the model is there.
        """
        check_samples(samples, self.metrics)
        parts = [self._node_windows(node, rows) for node, rows in samples.groupby("node_id", sort=True)]
        columns = ["node_id", "job_id", "start", "end", *self.features]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def _node_windows(self, node, rows):
        """Cut the runs of one node."""
        there = [metric for metric in self.metrics if metric in rows]
        jobs = rows.job_id if "job_id" in rows else pd.Series("", rows.index)
        times = pd.to_datetime(rows.timestamp, utc=True).astype("datetime64[us, UTC]")
        table = {"timestamp": pa.array(times), "job_id": pa.array(jobs.fillna("").astype(str), pa.string())}
        table |= {metric: pa.array(rows[metric].to_numpy(float), from_pandas=True) for metric in there}
        grid = Grid(**vars(self.grid) | {"periods": {"": self.grid.sampling_s}})
        windows, names, values = describe_windows(join_tables({"": pa.table(table)}, grid), grid)
        features = pd.DataFrame(dict(zip(names, values, strict=True))).reindex(columns=self.features)
        keys = windows[["job_id", "start", "end"]].assign(job_id=windows.job_id.astype("str"))
        return pd.concat([keys.assign(node_id=node), features], axis=1)

    @cached_property
    def features(self):
        """The features that the models read."""
        return list(dict.fromkeys([*self.detector.inputs, *getattr(self.detector, "features", [])]))

    def judge(self, windows):
        """Judge windows as a night does: (DataFrame SCORED and probable, DataFrame of class probabilities).

        windows : as `windows` gives them. The detector's scores are means over neighbouring windows of a run,
        half of them later: the last ones of a run that goes on are not final. No window gives no row.
        """
        keys = windows[["node_id", "job_id", "start", "end"]].reset_index(drop=True)
        keys = keys.astype(dict.fromkeys(["start", "end"], "datetime64[us, UTC]"))
        if not len(windows):
            empty = keys.assign(
                score=0.0, p_value=1.0, flagged=False, diagnosis="", confidence=0.0, probable=""
            )
            return empty, pd.DataFrame(columns=self.classes, dtype=float)
        detector, levels = self.detector, self.past.levels if self.past else None
        tests = node_tests(windows.reset_index(drop=True), detector, fitted=self._fitted, levels=levels)
        tests = tests.clip(-100, 100)
        scored, weights = keys.copy(), detector.weights
        scored["score"], scored["p_value"], _ = combine_tests(tests, self.calibration, weights)
        for node, rows in (
            scored.index[scored.job_id == ""].groupby(scored.node_id[scored.job_id == ""]).items()
        ):
            p = self._by_own_past(node, tests.loc[rows])
            if p is not None:
                scored.loc[rows, "p_value"] = p
        scored["flagged"], chances = scored.p_value <= self.rule.alarm_rate, tests[self.classes]
        scored["diagnosis"], scored["confidence"], scored["probable"] = diagnose(
            chances, scored.flagged, least_confidence=self.rule.least_confidence
        )
        return scored, chances

    def _by_own_past(self, node, tests):
        """Rank windows of a server among those of its last nights: (n,); None where these are too few to flag
        anything. Each test has its share of the alarms, and the stronger one counts (Bonferroni).
        """
        past, weights = self.past and self.past.tests.get(node), self.detector.weights
        if past is None:
            return None
        p = np.ones(len(tests))
        for name, weight in weights.items():
            usual = past[name]
            if (len(usual) + 1) * weight * self.rule.alarm_rate < 1:
                return None
            above = len(usual) - np.searchsorted(usual, tests[name].to_numpy(), side="left")
            p = np.minimum(p, (1 + above) / (len(usual) + 1) / weight)
        return p

    def diagnose(self, samples):
        """Diagnose runs that have ended: DataFrame as `table_of_alarms` gives it, one row per alarm, in the
        order of nodes and times. A run without an alarm has no row.

        samples : as for `windows`, a job's own telemetry, say, of all its nodes from its start to its end.
        """
        scored, chances = self.judge(self.windows(samples))
        alarms = []
        for _, rows in scored.groupby(["node_id", "job_id"], sort=True):
            follow = RunFilter(self.rule)
            ended = [follow.add(one, chances.loc[one.Index].to_numpy()) for one in rows.itertuples()]
            alarms += [alarm for alarm in [*ended, follow.close()] if alarm]
        return table_of_alarms(alarms, self.classes, least_confidence=self.rule.least_confidence)


def check_samples(samples, metrics):
    """ValueError of one line where samples lack a column, or all `metrics` of the model."""
    if lacking := [name for name in ("node_id", "timestamp") if name not in samples]:
        raise ValueError(f"the samples have no column {' and no column '.join(lacking)}")
    if not any(metric in samples for metric in metrics):
        raise ValueError(f"the samples hold no metric that the models read, such as {metrics[0]}")
