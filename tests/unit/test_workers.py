"""Heavy tables give the same whoever works on their parts."""

import os
from pathlib import Path

import joblib
import pytest
from distributed import LocalCluster

from nightshift import workers

CALLS = 6


def squared(number, dies_once=None):
    """The square of a number; the first process that is asked to die is killed."""
    if dies_once and not Path(dies_once).exists():
        Path(dies_once).touch()
        os.kill(os.getpid(), 9)
    return number**2


def square_all(jobs, dies_once=None, **options):
    calls = [joblib.delayed(squared)(i, dies_once if i == 3 else None) for i in range(CALLS)]
    return list(workers.results_of(calls, jobs, **options))


@pytest.fixture(scope="module")
def scheduler():
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def engine(monkeypatch):
    def choose(engine, count=2):
        for name in (workers.ENGINE, workers.COUNT, "SNAKEMAKE_PROFILE"):
            monkeypatch.setenv(name, "")  # which is put back
            os.environ.pop(name)
        workers.choose(engine, count)

    return choose


def test_results_come_in_the_order_of_the_calls(engine, scheduler):
    for one in (workers.LOCAL, scheduler):
        engine(one)
        assert square_all(-1) == [0, 1, 4, 9, 16, 25]


def test_a_worker_that_is_killed_costs_its_part_only(engine, scheduler, tmp_path):
    engine(scheduler)
    assert square_all(-1, str(tmp_path / "died")) == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "died").exists()


def test_an_error_of_a_part_is_raised_as_it_was(engine, scheduler):
    engine(scheduler)
    with pytest.raises(ZeroDivisionError, match="modulo by zero"):
        list(workers.results_of([joblib.delayed(divmod)(1, 0)], -1))


def test_what_one_process_is_to_do_needs_no_scheduler(engine):
    engine("tcp://127.0.0.1:1")
    assert square_all(1) == [0, 1, 4, 9, 16, 25]


def test_a_scheduler_that_does_not_answer_is_one_line(engine):
    engine("tcp://127.0.0.1:1")
    with pytest.raises(TimeoutError, match=r"^no scheduler of Dask answers at tcp://127\.0\.0\.1:1$"):
        square_all(-1, patience_s=0.2)


def test_a_scheduler_without_workers_is_one_line(engine):
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        engine(cluster.scheduler_address)
        with pytest.raises(TimeoutError, match=f"^after 0.2 s {cluster.scheduler_address} has no worker$"):
            square_all(-1, patience_s=0.2)


def test_slurm_makes_steps_jobs_as_well_unless_a_profile_is_named(engine, monkeypatch):
    engine("slurm", 8)
    assert (os.environ["SNAKEMAKE_PROFILE"], os.environ[workers.COUNT]) == (str(workers.PROFILE), "8")
    assert (workers.PROFILE / "config.yaml").exists()
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "of my own")
    workers.choose("slurm", 8)
    assert os.environ["SNAKEMAKE_PROFILE"] == "of my own"


def test_engines_are_told_from_other_words():
    asked = ["local", "slurm", "tcp://a:8786", "tls://a.b:1", "tcp://a", "lsf", ""]
    assert [text for text in asked if workers.is_engine(text)] == asked[:4]
