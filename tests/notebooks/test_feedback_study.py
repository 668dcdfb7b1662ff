"""The study of feedback: its worlds are what it says, and its page has every claim that the digest sends its readers to."""

import html
import re

import numpy as np
import pytest
import yaml
from conftest import run_cells

from nightshift.remediation.worlds import (
    N_FEEDBACKS,
    N_SITES,
    ORDERS,
    as_text,
    choices_of,
    draw_any,
    draw_incidents,
    draw_worlds,
    estimate,
    held_shares,
    in_block,
    play,
    share_of_best,
)

SOME = [  # five proposals for three kinds
    {"id": f"p{n}", "kinds": kinds, "proposal": "Try it.", "effort": "10 min"}
    for n, kinds in enumerate([["a"], ["a", "b"], ["b"], ["c", "a"], ["c"]])
]


def test_choices_are_pairs_of_proposals_and_kinds_in_the_order_of_the_file():
    choices = choices_of(SOME)
    assert (choices.n_proposals, choices.n_kinds, choices.most) == (5, 3, 3)
    assert choices.proposal_of.tolist() == [0, 1, 3, 1, 2, 3, 4]
    assert choices.of_kind.tolist() == [[0, 1, 2], [3, 4, -1], [5, 6, -1]]


@pytest.fixture(scope="module")
def world():
    choices, n = choices_of(SOME), 30
    truth = draw_worlds(choices, *draw_any(n, np.random.default_rng(1)), np.random.default_rng(1))
    return choices, truth, draw_incidents(choices, n, np.random.default_rng(2))


def test_the_same_seed_gives_the_same_figures(world):
    choices, truth, incidents = world
    assert truth[0].shape == (30, 7, N_SITES)
    assert incidents[2].shape == (30, N_FEEDBACKS, 3)
    hit, best, _ = play("by feedback", choices, truth, incidents, choices.most, np.random.default_rng(3))
    again = play("by feedback", choices, truth, incidents, choices.most, np.random.default_rng(3))[0]
    np.testing.assert_array_equal(hit, again)
    assert np.nanmean(hit) == pytest.approx(0.621777195486, abs=1e-9)  # a change of the model, or of the order of drawings, shows here
    assert (best >= hit - 1e-12)[np.isfinite(hit)].all()


def test_feedback_beats_the_written_order_and_random_beats_nothing(world):
    choices, truth, incidents = world
    shares = {}
    for order in ORDERS:
        hit, best, record = play(order, choices, truth, incidents, choices.most, np.random.default_rng(3))
        shares[order] = share_of_best(in_block(hit, 200), in_block(best, 200))
        assert np.nansum(record.sums[0][1]) > 0
        if order == "by feedback":
            held, held_open = held_shares(record, truth, incidents)
            assert 0.5 < held <= 1
            assert held_open > 0.85
    assert shares["by feedback"][1] > shares["random"][0]
    assert shares["by feedback"][0] > shares["as written"][0]
    assert all(low <= share <= high <= 1.05 for share, low, high in shares.values())


def test_an_estimate_leaves_out_what_is_not_known():
    assert estimate(np.array([1.0, 3.0, np.nan])) == pytest.approx((2.0, 2 - 1.96, 2 + 1.96))
    assert as_text((0.5, 0.25, 0.75)) == "50.0% (25.0% to 75.0%)"


def test_the_page_has_all_its_claims(tmp_path):
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(SOME))
    names, page = run_cells("feedback_study.ipynb", tmp_path, worlds=6, drawn=True, remediations=str(tmp_path / "some.yaml"))
    page = html.unescape(page)
    assert "5 proposals for 3 kinds of findings; 6 worlds." in page
    assert names["orders_table"]["order"].tolist() == ORDERS
    assert names["orders_table"]["more than as written"][ORDERS.index("as written")] == "0.0% (0.0% to 0.0%)"
    assert len(names["assumptions_table"]) == 9
    assert re.search(r"Both bars are met under \d of 9 assumptions", page)
    assert re.search(r"Of the intervals, \d+\.\d% hold the true chance", page)
    assert (tmp_path / "plots/feedback_study/feedback.png").stat().st_size > 10_000
