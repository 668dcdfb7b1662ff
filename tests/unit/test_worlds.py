"""The simulated worlds that show how much feedback helps, on worlds of one or two incidents with chances that are all or nothing."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from nightshift.remediation import worlds
from nightshift.remediation.figures import plot_orders
from nightshift.remediation.worlds import (
    ORDERS,
    Record,
    as_text,
    choices_of,
    draw_any,
    draw_incidents,
    draw_worlds,
    in_block,
    play,
    share_of_best,
    value_of,
)

CHOICES = choices_of([{"kinds": ["slow"]}, {"kinds": ["slow", "lost"]}, {"kinds": ["slow"]}])  # pairs 0, 1, 2 of slow and 3 of lost


def test_chances_are_drawn_from_a_tenth_to_seven_tenths_and_strengths_from_one_to_thirty():
    overall, strengths = draw_any(5000, np.random.default_rng(1))
    assert overall.shape == (5000,)
    assert strengths.shape == (5000, 3)
    assert (overall.min(), overall.max()) == (pytest.approx(0.1, abs=0.01), pytest.approx(0.7, abs=0.01))
    assert (strengths.min(), strengths.max()) == (pytest.approx(1, abs=0.01), pytest.approx(30, abs=0.3))
    assert np.median(strengths) == pytest.approx(np.sqrt(30), rel=0.05)


def test_worlds_have_a_chance_of_each_pair_and_site_around_that_of_its_proposal():
    strong = np.full((400, 3), 1e4)
    truth, of_proposals = draw_worlds(CHOICES, np.full(400, 0.3), strong, np.random.default_rng(1))
    assert (truth.shape, of_proposals.shape) == ((400, 4, worlds.N_SITES), (400, 3))
    assert np.abs(truth - 0.3).max() < 0.05
    loose = np.tile([1.0, 1e4, 1e4], (400, 1))
    truth, of_proposals = draw_worlds(CHOICES, np.full(400, 0.5), loose, np.random.default_rng(1))
    assert np.abs(truth - of_proposals[:, CHOICES.proposal_of, None]).max() < 0.05
    assert of_proposals.std() > 0.25


def test_the_first_site_is_twice_as_frequent_as_the_second_and_kinds_differ_from_world_to_world():
    kind, site, luck = draw_incidents(CHOICES, 200, np.random.default_rng(1))
    assert kind.shape == site.shape == (200, worlds.N_FEEDBACKS)
    assert luck.shape == (200, worlds.N_FEEDBACKS, 3)
    counts = np.bincount(site.ravel())
    assert len(counts) == worlds.N_SITES
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.05)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.1)
    shares = (kind == 0).mean(axis=1)
    assert set(shares.round(1)) <= {0.2, 0.3, 0.4, 0.6, 0.7, 0.8}
    assert 0.3 < (shares > 0.5).mean() < 0.7


def learned():
    """A record of two worlds: in the first pair 1 has worked twice of three times at site 4, and pair 0 never of two times."""
    record = Record(2, CHOICES)
    for pair, worked in ((1, 1), (1, 1), (1, 0), (0, 0), (0, 0)):
        record.learn(np.array([pair, 2]), np.array([4, 4]), np.array([worked, 0]))
    return record


def test_what_was_tried_counts_at_its_site_and_less_for_its_kind_proposal_and_all():
    sums = learned().at(np.array([[0, 1, 2], [0, 1, 2]]), np.array([4, 4]))
    assert sums[3][0].tolist() == [[0, 2, 0], [0, 0, 0]]
    assert sums[3][1].tolist() == [[2, 3, 0], [0, 0, 5]]
    assert learned().at(np.array([[1], [1]]), np.array([5, 5]))[3].sum() == 0, "another site"
    trials = [level[1, 0].sum() for level in sums]
    assert 0 < trials[0] < trials[1] < trials[2] < trials[3] == 5


def test_each_order_puts_first_what_it_should():
    record, pair, site = learned(), np.array([[0, 1, 2], [0, 1, 2]]), np.array([4, 4])
    sage, rng = np.array([[0.1, 0.2, 0.9], [0.9, 0.2, 0.1]]), np.random.default_rng(1)
    values = {order: value_of(order, record, pair, site, np.array([True, True]), sage, rng) for order in ORDERS}
    assert values["as written"].tolist() == [[0, -1, -2]] * 2
    assert values["as written by a sage"].tolist() == sage.tolist()
    assert values["mean throughout"].argmax(axis=1).tolist() == values["by feedback"].argmax(axis=1).tolist()
    assert values["mean throughout"][0].argmax() == 1
    assert values["mean throughout"][1].argmin() == 2
    assert np.allclose(values["each by itself"][0], [1 / 4, 3 / 5, 1 / 2])
    later = [value_of("by feedback", record, pair, site, np.array([False, False]), sage, rng)[0] for _ in range(300)]
    assert np.ptp(np.array(later)[:, 2]) > 0.5, "a further try is drawn from what is believed"
    assert ((values["random"] >= 0) & (values["random"] < 1)).all()


def played(most_tries, truth, monkeypatch, n=4):
    """What is played in one world of `n` steps in which all is as written: of kind slow at site 0, and proposals work by `truth`."""
    monkeypatch.setattr(worlds, "N_FEEDBACKS", n)
    chances = np.zeros((1, 4, worlds.N_SITES)) + np.array(truth)[None, :, None]
    incidents = (np.zeros((1, n), int), np.zeros((1, n), int), np.full((1, n, 3), 0.5))
    return play("as written", CHOICES, (chances, np.zeros((1, 3))), incidents, np.array([most_tries]), np.random.default_rng(1))


def test_somebody_tries_in_order_until_something_works(monkeypatch):
    hit, best, record = played(3, [0.0, 1.0, 1.0, 0.0], monkeypatch)
    assert np.nan_to_num(hit, nan=-1).tolist() == [[0, -1, 0, -1]], "the first try of each incident counts"
    assert np.nan_to_num(best, nan=-1).tolist() == [[1, -1, 1, -1]]
    assert record.sums[3][:, 0, :, 0].tolist() == [[0, 2, 0, 0], [2, 2, 0, 0]]


def test_nobody_tries_more_often_than_they_would_or_than_there_are_proposals(monkeypatch):
    assert played(1, [0.0, 1.0, 1.0, 0.0], monkeypatch)[2].sums[3][1, 0, :, 0].tolist() == [4, 0, 0, 0]
    assert played(2, [0.0, 0.0, 1.0, 0.0], monkeypatch)[2].sums[3][1, 0, :, 0].tolist() == [2, 2, 0, 0]
    assert played(9, [0.0, 0.0, 0.0, 0.0], monkeypatch)[2].sums[3][1, 0, :, 0].tolist() == [2, 1, 1, 0]


def test_the_first_proposal_of_all_is_tried_too_where_others_come_before_it(monkeypatch):
    monkeypatch.setattr(worlds, "N_FEEDBACKS", 3)
    chances = np.zeros((1, 4, worlds.N_SITES))
    incidents = (np.zeros((1, 3), int), np.zeros((1, 3), int), np.full((1, 3, 3), 0.5))
    last_first = np.array([[0.1, 0.2, 0.9]])
    record = play("as written by a sage", CHOICES, (chances, last_first), incidents, np.array([9]), np.random.default_rng(1))[2]
    assert record.sums[3][1, 0, :, 0].tolist() == [1, 1, 1, 0]


def test_shares_of_the_best_and_blocks_leave_out_what_is_no_first_try():
    hit, best = np.array([0.2, 0.4, np.nan]), np.array([0.4, 0.8, np.nan])
    assert share_of_best(hit, best) == pytest.approx((0.5, 0.5, 0.5))
    share, low, high = share_of_best(np.array([0.3, 0.5]), np.array([0.5, 0.5]))
    assert share == pytest.approx(0.8)
    assert share - low == pytest.approx(high - share) == pytest.approx(1.96 * 0.1 / 0.5)
    values = np.arange(60.0)[None]
    values[0, 30] = np.nan
    assert in_block(values, 25)[0] == pytest.approx((sum(range(25, 50)) - 30) / 24)
    assert as_text((0.5, 0.25, 0.75)) == "50.0% (25.0% to 75.0%)"


def test_each_order_is_drawn_from_the_middle_of_its_blocks_with_its_name_apart_from_the_others():
    curves = {"random": np.array([[0.2, 0.1, 0.3], [0.30, 0.2, 0.4]]), "as written": np.array([[0.4, 0.3, 0.5], [0.31, 0.2, 0.4]])}
    curves |= {"by feedback": np.array([[0.5, 0.4, 0.6], [0.7, 0.6, 0.8]])}
    ax = plot_orders(curves, Figure().subplots(), starts=np.array([0, 100]), bar=0.6)
    lines = {line.get_color(): line for line in ax.lines}
    assert lines["0.7"].get_xdata().tolist() == [12.5, 112.5]
    assert lines["0.7"].get_ydata().tolist() == [0.2, 0.3]
    assert list(ax.lines[-1].get_ydata()) == [0.6, 0.6]
    names = [(text.get_text(), round(float(text.xy[1]), 3)) for text in ax.texts]
    assert names == [("by feedback", 0.7), ("as written", 0.31), ("random", 0.285)], "the best first, and none on another"
    edges = [collection.get_paths()[0].get_extents() for collection in ax.collections]
    assert [(round(edge.y0, 3), round(edge.y1, 3)) for edge in edges] == [(0.4, 0.8), (0.2, 0.5), (0.1, 0.4)]
    assert {(edge.x0, edge.x1) for edge in edges} == {(12.5, 112.5)}
    assert {float(text.xy[0]) for text in ax.texts} == {worlds.N_FEEDBACKS - 10}


def test_names_stand_in_the_order_of_the_ends_of_their_curves():
    first_best, last_best = np.array([[0.9] * 3, [0.2] * 3]), np.array([[0.1] * 3, [0.8] * 3])
    ax = plot_orders({"random": first_best, "as written": last_best}, Figure().subplots(), starts=np.array([0, 100]), bar=0.6)
    assert [(text.get_text(), float(text.xy[1])) for text in ax.texts] == [("as written", 0.8), ("random", 0.2)]


def test_of_proposals_of_which_nothing_is_known_any_may_be_the_first():
    record, pair, rng = Record(60, CHOICES), np.tile([0, 1, 2], (60, 1)), np.random.default_rng(1)
    values = value_of("mean throughout", record, pair, np.zeros(60, int), np.ones(60, bool), None, rng)
    assert set(values.argmax(axis=1)) == {0, 1, 2}
    assert np.ptp(values) < 1e-8, "what decides weighs nothing"
