"""Work in forks: in order, without pickling what they already hold, done again where one is killed."""

import os
import signal

import pytest

from nightshift import processes
from nightshift.processes import each_in_a_process


@pytest.fixture(params=[1, 2])
def n_processors(request, monkeypatch):
    monkeypatch.setattr(processes, "processors", lambda: request.param)
    return request.param


def test_results_keep_their_order_and_work_needs_no_pickle(n_processors):
    held = {"open": open(os.devnull)}  # noqa: SIM115 - what cannot be pickled
    done = each_in_a_process(lambda item: (item, len(held), os.getpid()), range(5))
    assert [one[:2] for one in done] == [(item, 1) for item in range(5)]
    assert (os.getpid() in {one[2] for one in done}) == (n_processors == 1)
    held["open"].close()


def test_what_goes_wrong_in_one_is_raised_here(n_processors):
    with pytest.raises(ZeroDivisionError):
        each_in_a_process(lambda item: 1 // item, [1, 0])


def test_an_interrupt_is_left_to_the_process_that_waits(monkeypatch):
    monkeypatch.setattr(processes, "processors", lambda: 2)
    assert each_in_a_process(lambda item: os.kill(os.getpid(), signal.SIGINT), [0, 1]) == [None, None]


def test_a_fork_that_is_killed_costs_nothing_but_time(monkeypatch):
    monkeypatch.setattr(processes, "processors", lambda: 2)
    here = os.getpid()

    def work(item):
        if item == 1 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return item * 2

    assert each_in_a_process(work, [0, 1, 2]) == [0, 2, 4]
