"""What a watched training tells a Prometheus: steps, waits, samples, loss, by a clock that the test sets; ports and files that cannot be had."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from prometheus_client import generate_latest

from nightshift.live.watch_training import N_PORTS, Training, samples_of, watch_training


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def loader(self, n, wait_s, size=8):
        """`n` batches, each of which comes after so many seconds."""
        for _ in range(n):
            self.now += wait_s
            yield np.zeros((size, 3)), np.zeros(size)


@pytest.fixture(autouse=True)
def job(monkeypatch):
    for name, value in {"SLURM_JOB_ID": "4711", "SLURM_JOB_USER": "u001", "SLURMD_NODENAME": "g01", "SLURM_PROCID": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NIGHTSHIFT_TEXTFILES", raising=False)


def told(training):
    """{metric without its beginning: value} of what a Prometheus would read, but buckets."""
    lines = [line for line in generate_latest(training.registry).decode().splitlines() if line[0] != "#" and "_bucket" not in line]
    lines = [line for line in lines if "_created" not in line]
    assert all('{hpc_job="4711",node="g01",rank="1",run="resnet",user="u001"}' in line for line in lines)
    return {line.partition("{")[0].removeprefix("nightshift_training_"): float(line.rpartition(" ")[2]) for line in lines}


def test_time_in_the_loader_and_time_of_steps_are_told_apart():
    clock = Clock()
    training = Training("resnet", clock)
    for n, _ in enumerate(training.batches(clock.loader(5, wait_s=0.9))):
        clock.now += 0.1
        training.loss(np.float32(n))
    series = told(training)
    assert series["loader_wait_seconds_total"] == pytest.approx(4.5)
    assert (series["step_seconds_sum"], series["step_seconds_count"]) == (pytest.approx(5.0), 5)
    assert (series["steps_total"], series["samples_total"], series["loss"], series["epoch"]) == (5, 40, 4.0, 1)


def test_a_loader_that_hangs_is_waited_for_before_it_answers():
    clock, seen = Clock(), []
    training = Training("resnet", clock)

    def hanging():
        clock.now += 600
        seen.append(told(training)["loader_wait_seconds_total"])
        yield np.zeros(2)

    list(training.batches(hanging()))
    assert (seen, told(training)["loader_wait_seconds_total"]) == ([600], 600)


def test_what_nobody_measured_is_no_series():
    clock = Clock()
    training = Training("resnet", clock)
    training.begin_step()
    clock.now += 2
    training.end_step()
    series = told(training)
    assert (series["steps_total"], series["step_seconds_sum"]) == (1, 2)
    assert not {"loss", "loader_wait_seconds_total"} & set(series)


def test_steps_of_keras_are_those_that_it_reports_whenever_it_asks_for_data(monkeypatch):
    """It asks for two batches before the first step, and what comes between epochs is no part of a step."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    clock = Clock()
    training = Training("resnet", clock)
    callback = training.keras_callback()
    batches = training.batches([np.zeros((4, 1)), np.zeros((2, 1))], repeat=True)
    next(batches), next(batches)
    for epoch in range(2):
        for n in range(2):
            callback.on_train_batch_begin(n)
            clock.now += 1
            next(batches)
        callback.on_test_begin()
        clock.now += 100
        callback.on_epoch_end(epoch, {"loss": 0.25})
    series = told(training)
    expected = {"steps_total": 4, "step_seconds_sum": 4, "step_seconds_count": 4, "samples_total": 18, "epoch": 2, "loss": 0.25}
    assert {name: series[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("batch", "n"),
    [(np.zeros((5, 2)), 5), ({"image": [np.zeros((3, 2))], "label": 1}, 3), ((), 0), ("text", 0), (np.float32(1), 0)],
    ids=["array", "dict of a list", "nothing", "text", "scalar"],
)
def test_samples_are_counted_by_the_first_array(batch, n):
    assert samples_of(batch) == n


def test_a_loss_keeps_no_graph_and_one_that_is_gone_is_no_number():
    training = Training("resnet")
    training.loss(SimpleNamespace(detach=lambda: 2.5))
    assert told(training)["loss"] == 2.5
    training.loss("gone")
    assert np.isnan(told(training)["loss"])


def test_trainings_on_one_machine_take_ports_after_one_another_and_leave_a_file(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with watch_training("resnet", port=port, folder=tmp_path) as training:
            assert port < training.port < port + N_PORTS
            served = requests.get(f"http://127.0.0.1:{training.port}/metrics", timeout=5).text
            training.begin_step()
            training.end_step()
    assert 'nightshift_training_steps_total{hpc_job="4711",node="g01",rank="1",run="resnet",user="u001"} 0.0' in served
    [path] = tmp_path.iterdir()
    assert path.name == f"nightshift_training-resnet-4711-{os.getpid()}.prom"
    assert 'nightshift_training_steps_total{hpc_job="4711",node="g01",rank="1",run="resnet",user="u001"} 1.0' in path.read_text()


def test_a_training_goes_on_where_nothing_can_be_served_or_written(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 65535))
        taken.listen()
        with (
            pytest.warns(UserWarning, match=r"not served, ports from 65535 on: .*in use"),
            pytest.warns(UserWarning, match="are not written to"),
            watch_training("resnet", port=65535, folder=tmp_path / "none") as training,
        ):
            assert list(training.batches([1, 2])) == [1, 2]
    assert told(training)["steps_total"] == 2
    with pytest.warns(UserWarning, match="not served, ports from 70000 on: there is no such port"), watch_training("resnet", port=70_000) as training:
        assert training.port is None


def test_no_network_library_is_imported_before_it_is_used():
    code = "import nightshift.live.watch_training, sys; print({'keras', 'torch', 'jax', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout == "set()\n"
