"""The generated sets of bench/validity.py: jobs follow the published model, nodes hold their troubles where the labels say."""

import importlib.util
import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from nightshift.sources.accounting.swf import read_swf
from nightshift.sources.parts import Extraction

SPEC = importlib.util.spec_from_file_location("validity_generators", REPOSITORY / "bench/validity_generators.py")
generators = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generators)


@pytest.fixture(scope="module")
def queues():
    """Two years of each queue on a machine of 128 processors."""
    rng = np.random.default_rng(7)
    return {name: generators.jobs(queue, rng, machine=7, weeks=104) for name, queue in generators.QUEUES.items()}


@pytest.mark.parametrize(("queue", "serial", "powers", "largest"), [("batch", 0.2927, 0.6686, 128), ("interactive", 0.1541, 0.625, 45)])
def test_jobs_are_as_large_as_the_model_says(queues, queue, serial, powers, largest):
    sizes = queues[queue].processors
    found = ((np.log2(sizes) % 1 == 0) & (sizes > 1)).mean()
    assert (sizes == 1).mean() == pytest.approx(serial, abs=0.015)
    assert powers - 0.015 < found < powers + 0.1  # some of the others are rounded to a power of two
    assert sizes.max() == largest


def test_run_times_are_a_mixture_that_follows_the_size(queues):
    """The mean of the logarithm is that of two gamma distributions, by the shares that the line in the processors gives."""
    frame = queues["interactive"]
    share = np.clip(-0.0118 * frame.processors + 0.9156, 0, 1)
    expected = (share * 3.8351 * 0.6605 + (1 - share) * 7.073 * 0.6856).mean()
    assert np.log(frame.run + 0.5).mean() == pytest.approx(expected, abs=0.05)  # whole seconds: half a one is lost
    assert frame.run.max() <= np.exp(12)


def test_days_have_their_rhythm(queues):
    hours = (queues["interactive"].submit % 86_400 // 3600).value_counts()
    assert hours.idxmax() in (13, 14, 15)  # the mode of the gamma distribution is 29 half hours after midnight
    assert hours.idxmin() in (4, 5)
    assert queues["interactive"].submit.is_monotonic_increasing


def test_the_logs_are_read_as_those_of_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(generators, "WEEKS", 2)
    path = tmp_path / "site00.swf"
    generators.write_log(path, np.random.default_rng(1), machine=6)
    read = pd.concat(read_swf(path, Extraction(tmp_path, (None, None))))
    fields = np.loadtxt(path, comments=";")
    assert set(read.SiteName) == {"site00"}
    assert read.VOName.nunique() == 2
    assert read.CoreHours.astype(float).sum() == pytest.approx((fields[:, 3] * fields[:, 4]).sum() / 3600, rel=1e-4)
    assert pd.to_datetime(read.EndTime).min() >= pd.Timestamp("2024-01-01", tz="UTC")


def test_troubles_lie_apart_in_the_later_half():
    kinds = [kind for kind, n in generators.WANDERING.items() for _ in range(n)]
    found = list(generators.troubles(kinds, np.random.default_rng(3), 6))
    stretches = sorted({(one["exact-position"], one["exact-position"] + one["length"]) for one in found})
    assert len(stretches) == 6
    assert stretches[0][0] >= generators.N_SAMPLES / 2
    assert stretches[-1][1] <= generators.N_SAMPLES
    assert all(earlier[1] < later[0] for earlier, later in itertools.pairwise(stretches))
    assert all(one["kinds"][0]["kind"] in generators.KINDS[kinds[one["channel"]]] for one in found)


def test_a_generated_series_becomes_a_node(tmp_path):
    pd.DataFrame({"timestamp": range(4), "value-0": [1.0, 2, 3, 4], "value-10": 5.0, "is_anomaly": [0, 0, 1, 0]}).to_csv(
        tmp_path / "test.csv", index=False
    )
    node = generators.one_node(tmp_path / "test.csv", "node3")
    assert list(node.columns) == ["metric_00", "metric_10", "node_id", "timestamp", "split", "anomalous"]
    assert node.split.tolist() == ["train", "train", "test", "test"]
    assert node.anomalous.tolist() == [0, 0, 1, 0]
    assert node.timestamp.diff().dropna().eq(pd.Timedelta(minutes=5)).all()


def test_a_python_without_the_generator_says_what_to_install(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(generators, "GENERATORS_PYTHON", str(python))
    assert "pip install timeeval-GutenTAG==1.5.0" in generators.lacking()
