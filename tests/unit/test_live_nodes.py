"""Nodes between the nights: scores as those of a night, alarms by their filters, provisional findings that a night takes over."""

import json

import numpy as np
import pandas as pd
import pytest
from live_nodes import BEGIN, STEP_S, Clock, run, write_live_models

import helpers
from nightshift.live.filters import Rule, RunFilter
from nightshift.live.predictor import RuntimePredictor
from nightshift.live.provisional import judged_until, read_provisional

N = 42  # moments
RUNS = {("x-n01", "7"): run(N, 1, cpu=(18, 34, 70)), ("x-n02", "7"): run(N, 2), ("y-n01", "9"): run(N, 3), ("y-n02", "8"): run(20, 4, first=9)}


def at(moment):
    return pd.Timestamp((BEGIN + moment) * STEP_S, unit="s", tz="UTC")


@pytest.fixture
def products(tmp_path):
    write_live_models(tmp_path)
    return tmp_path


def judged_live(clock, products, moments, **how):
    """All windows that a stream judges, in their order, and (the alarms that begin, those that end) of each look."""
    watch, rows = clock.watch(products, **how), []
    filter_rows = watch.filter_rows
    watch.filter_rows = lambda judged, chances: rows.append(judged) or filter_rows(judged, chances)
    alarms = [clock.look(watch, moment) for moment in moments]
    return pd.concat(rows, ignore_index=True), alarms


@pytest.mark.parametrize(("moments", "lag"), [(range(5, N), 0), (range(5, N + 3, 5), 2)], ids=["each step", "late looks and samples"])
def test_a_stream_gives_windows_the_scores_of_a_night(products, moments, lag):
    clock = Clock(RUNS)
    clock.lag = lag
    live, _ = judged_live(clock, products, moments)
    assert not live.duplicated(["node_id", "job_id", "start"]).any(), "no window is judged twice"
    predictor = RuntimePredictor(helpers.study_paths("telemetry", products).models)
    night, _ = predictor.judge(predictor.windows(clock.frame()))
    both = live.merge(night, on=["node_id", "job_id", "start"], suffixes=("", "_of_night"), how="left", indicator=True)
    only_live, both = both[both._merge == "left_only"], both[both._merge == "both"]
    ends = {"x-n01": at(N), "x-n02": at(N), "y-n01": at(N), "y-n02": at(29)}
    assert (only_live.end > only_live.node_id.map(ends) - pd.Timedelta("30s")).all(), "a night knows the end, and leaves out the last seconds"
    both = both[both.end < both.node_id.map(ends) - pd.Timedelta("30s")]  # those after which a night averages over less
    assert len(both) > len(night) - 10
    assert len(both) > 100
    assert np.abs(both.score - both.score_of_night).max() < 1e-6
    assert (both.p_value == both.p_value_of_night).all()
    assert (both.diagnosis == both.diagnosis_of_night).all()
    assert set(both.node_id) == set(ends)
