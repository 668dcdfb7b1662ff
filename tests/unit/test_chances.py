"""Chances of proposals by hand: what evidence weighs on its way up and down the tree, and what a table says of one proposal."""

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import special, stats

from nightshift.remediation import worlds
from nightshift.remediation.feedback import UnknownIncident, as_cell, find_incident, record_feedback
from nightshift.remediation.knowledge import holds, kind_for, read_remediations
from nightshift.remediation.model import ALL, STRENGTHS, chance_now, chances, effective, inherit, rank, tally

ONE = {"id": "try-it", "kinds": ["drop", "rise"], "when": {}, "evidence": [], "proposal": "Try it.", "verify": "", "effort": "10 min"}
OTHER = ONE | {"id": "try-other", "kinds": ["drop"]}
FEEDBACK = pd.DataFrame(
    [
        ("i1", "drop", "A", "try-it", True),
        ("i2", "drop", "A", "try-it", False),
        ("i3", "drop", "B", "try-it", True),
        ("i4", "rise", "A", "try-it", True),
        ("i5", "drop", "A", "try-other", False),
    ],
    columns=["incident", "kind", "site", "remediation", "worked"],
)


def one_below(a, b, strength):
    """The Beta distribution (a, b) that has the mean and the variance of a chance which is drawn with `strength` around one of Beta(a, b)."""
    mean, variance = stats.beta.stats(a, b)
    around = variance + (mean * (1 - mean) - variance) / (strength + 1)
    n = mean * (1 - mean) / around - 1
    return mean * n, (1 - mean) * n


def weighed(worked, trials, strength):
    """(worked, trials) of a branch as its parent counts them: at most strength + 1 trials."""
    return np.array([worked, trials]) * (strength + 1) / (trials + strength)


def test_evidence_of_a_branch_is_at_most_one_trial_more_than_its_strength():
    assert effective(1, 1, 3.0) == (1, 1)
    assert effective(3, 4, 5.0) == pytest.approx((3 * 6 / 9, 4 * 6 / 9))
    assert effective(1e9, 1e9, 5.0)[1] == pytest.approx(6)


def test_what_is_known_above_comes_down_with_the_mean_and_the_variance_of_a_chance_around_it():
    branches = [(2.0, 3.0), (1.0, 4.0), (0.0, 0.0), (5.0, 6.0)]
    a, b = ALL[0] + 2, ALL[1] + 1
    for strength, (worked, trials) in zip(STRENGTHS, branches[1:], strict=True):
        a, b = one_below(a, b, strength)
        a, b = a + worked, b + trials - worked
    assert inherit(branches) == pytest.approx((a, b))


def test_each_level_counts_what_the_branches_below_pass_up():
    sums, passed = tally(FEEDBACK)
    assert {key: value.tolist() for key, value in sums[3].items()} == {
        ("try-it", "drop", "A"): [1, 2],
        ("try-it", "drop", "B"): [1, 1],
        ("try-it", "rise", "A"): [1, 1],
        ("try-other", "drop", "A"): [0, 1],
    }
    drop = weighed(1, 2, 10) + weighed(1, 1, 10)
    assert sums[2]["try-it", "drop"] == pytest.approx(drop)
    assert passed[2]["try-it", "drop"] == pytest.approx(weighed(*drop, 5))
    both = weighed(*drop, 5) + weighed(1, 1, 5)
    assert sums[1]["try-it",] == pytest.approx(both)
    assert sums[0][()] == pytest.approx(weighed(*both, 3) + weighed(0, 1, 3))


def test_a_proposal_is_judged_by_its_own_trials_and_by_those_of_the_other_branches():
    one = chances([ONE, OTHER], FEEDBACK, "drop", "A").iloc[0]
    at_b, rise, of_other = weighed(1, 1, 10), weighed(1, 1, 5), weighed(0, 1, 3)
    a, b = inherit([of_other, rise, at_b, (1, 2)])
    assert (one.a, one.b) == pytest.approx((a, b))
    assert (one.chance, one.low, one.high) == pytest.approx((a / (a + b), *stats.beta.ppf([0.025, 0.975], a, b)))
    assert (one.trials, one.worked, one.elsewhere, one.kind) == (3, 2, 1, "drop")


def test_the_rest_is_drawn_and_the_highest_mean_is_first():
    """Draws belong to incident and night: on which of them the two that were not tried are in which order cannot be told, but how often can."""
    third = OTHER | {"id": "try-third"}
    incident = {"kinds": ["drop"], "studies": ["accounting"], "site": "A", "age_nights": 1}
    ranked = [rank([OTHER, third, ONE], FEEDBACK, incident | {"incident": str(n)}, "d") for n in range(40)]
    assert {tuple(one["rank"]) for one in ranked} == {(1, 2, 3)}
    assert {one.remediation[0] for one in ranked} == {"try-it"}
    assert {one.remediation[1] for one in ranked} == {"try-other", "try-third"}
    assert {one.remediation[0] for one in (rank([third, OTHER], FEEDBACK, incident | {"incident": str(n)}, "d") for n in range(9))} == {"try-third"}


def test_a_reason_shows_sixty_characters_of_the_evidence():
    incident = {"incident": "i", "kinds": ["drop"], "studies": ["accounting"], "site": "A", "age_nights": 1, "evidence": "x" * 70}
    assert rank([ONE | {"evidence": ["x+"]}], FEEDBACK, incident, "d").reason[0] == f"the evidence says “{'x' * 60}”"


# ---------------------------------------------------------------------------------------------------- words and limits


def with_incident(products, **more):
    (products / "data/incidents").mkdir(parents=True)
    row = {"incident": "20260119-3f2a", "kinds": ["drop"], "studies": ["accounting"], "site": "", "age_nights": 1} | more
    pd.DataFrame([row]).to_parquet(products / "data/incidents/2026-01-20.parquet")
    (products / "mine.yaml").write_text(yaml.safe_dump([{name: ONE[name] for name in ("id", "kinds", "proposal", "effort")}]))
    return {"products": products, "remediations": str(products / "mine.yaml")}


@pytest.mark.parametrize(("site", "place"), [("", ""), ("A", " at A")])
def test_a_sentence_says_what_is_known_after_each_feedback(tmp_path, site, place):
    options, sentences = with_incident(tmp_path, site=site), []
    for worked in (True, False):
        sentences.append(chance_now(record_feedback("20260119-3f2a", "try-it", worked, **options), tmp_path))
        pd.read_parquet(tmp_path / "data/incidents/2026-01-20.parquet").assign(incident="20260119-bbbb").to_parquet(
            tmp_path / "data/incidents/2026-01-21.parquet"
        )
    one = chances([ONE], FEEDBACK[:1].assign(site=site), "drop", site).iloc[0]
    assert sentences[0] == f"For drop, try-it worked in 1 of 1 trial; its chance{place} is now {one.chance:.0%} ({one.low:.0%} to {one.high:.0%})."
    sentences.append(chance_now(record_feedback("20260119-bbbb", "try-it", True, **options), tmp_path))
    assert sentences[1].startswith("For drop, try-it worked in 0 of 1 trial; "), "one corrects oneself"
    assert sentences[2].startswith("For drop, try-it worked in 1 of 2 trials; ")


def test_unknown_names_are_repeated_as_far_as_sixty_characters(tmp_path):
    options = with_incident(tmp_path)
    with pytest.raises(UnknownIncident, match=f"no incident '{'x' * 60}'; the nearest: 20260119-3f2a$"):
        find_incident(tmp_path / "data/incidents", "x" * 70)
    with pytest.raises(ValueError, match=f"no remediation '{'y' * 60}'; the nearest: try-it$"):
        record_feedback("20260119-3f2a", "y" * 70, True, **options)


def test_a_cell_holds_eighty_characters_of_one_line():
    assert as_cell("a\nb  c\x07 " + "x" * 90) == "a b c " + "x" * 74
    assert [as_cell(text) for text in ("=a", "+a", "-a", "@a", "a=", "")] == ["'=a", "'+a", "'-a", "'@a", "a=", ""]


@pytest.mark.parametrize(("name", "is_one"), [("ab", True), ("a" * 40, True), ("a", False), ("a" * 41, False)])
def test_an_id_has_two_to_forty_characters(tmp_path, name, is_one):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump([{"id": name, "kinds": ["drop"], "proposal": "Try it.", "effort": "1 h"}]))
    if is_one:
        assert read_remediations(path) == [ONE | {"id": name, "kinds": ["drop"], "effort": "1 h"}]
    else:
        with pytest.raises(ValueError, match=rf"^mine.yaml: proposal 1 \({name[:40]}\) needs an id of 2 to 40 small letters, digits and hyphens$"):
            read_remediations(path)


def test_a_kind_is_that_of_any_study_or_of_one():
    incident = {"kinds": ["silent", "drop"], "studies": ["telemetry", "accounting"]}
    assert kind_for({"kinds": ["drop", "accounting.silent"]}, incident) == "accounting.silent", "the incident's order counts"
    assert kind_for({"kinds": ["drop"]}, incident) == "drop"
    assert kind_for({"kinds": ["tickets.drop"]}, incident) == ""


@pytest.mark.parametrize(
    ("when", "is_met"),
    [
        ({"lasting_nights": 2}, True), ({"lasting_nights": 3}, False), ({"several_studies": False}, True), ({"several_studies": True}, False),
        ({"named_error": True}, True), ({"named_error": False}, False), ({"site": "^B"}, False), ({"site": "^A", "lasting_nights": 3}, False),
    ],
)  # fmt: skip
def test_each_condition_must_hold(when, is_met):
    assert holds(when, {"studies": ["telemetry", "telemetry"], "site": "A", "age_nights": 2}, named_error=True) == is_met


# -------------------------------------------------------------------------------------------------------------- worlds


def test_intervals_hold_a_true_chance_between_their_ends_in_the_last_ten_incidents(monkeypatch):
    """Before any feedback a chance is Beta distributed about as by Jeffreys' prior, so that 0.9999 lies beyond its interval and 0.02 does not."""
    monkeypatch.setattr(worlds, "N_FEEDBACKS", 12)
    choices = worlds.choices_of([{"kinds": ["slow"]}, {"kinds": ["slow", "lost"]}, {"kinds": ["slow"]}])
    record = worlds.Record(1, choices)
    a, b = worlds.belief(record, np.array([[0]]), np.array([0]))
    assert special.betainc(a, b, 0.9999)[0, 0] > 0.975 > special.betainc(a, b, 0.02)[0, 0] > 0.025
    truth = np.zeros((1, 4, worlds.N_SITES)) + np.array([0.5, 0.9999, 0.02, 0.9999])[None, :, None]
    kind = np.array([[1, 1] + [0] * 10])
    shares = worlds.held_shares(record, (truth, None), (kind, np.zeros((1, 12), int), None))
    assert shares == pytest.approx((2 / 3, 1))


def test_a_proposal_that_works_or_fails_for_all_is_still_drawn():
    drawn = worlds.draw_around(np.array([[0.0, 1.0]] * 50), 4.0, np.random.default_rng(1))
    assert (drawn[:, 0] < 0.01).mean() > 0.9
    assert (drawn[:, 1] > 0.99).mean() > 0.9
