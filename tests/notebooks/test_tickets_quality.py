"""What the quality page of tickets says of a help desk made by hand: rates, incidents that are found, trials of the training."""

import re

from ticket_desk import TOPICS


def test_what_is_found_and_missed_is_counted_against_the_truth(ticket_night):
    page = ticket_night.pages["5_quality"]
    right = (ticket_night.findings.kind != "growing_topic") | ticket_night.findings.entity.isin(["t002: job, pending", "t006: image, broken"])
    assert f"4 of 5 incidents of the last four weeks are found; {right.sum()} of {len(right)} findings are right" in page
    assert re.search(r"nights of the past \d of \d incidents were found; \d+ false findings began, 0\.\d\d a week", page)
    assert "a link of another study" not in page


def test_stated_and_observed_rates_of_every_kind_are_printed(ticket_night):
    for kind in ("growing topic", "surge of a department", "slow topic", "backlog"):
        row = re.search(rf"<td>{kind}</td>\s*<td>5.00%</td>\s*<td>([\d.]+)%</td>", ticket_night.pages["5_quality"])
        assert 0 <= float(row[1]) < 12


def test_methods_and_trials_of_the_training_are_shown(ticket_night):
    page = ticket_night.pages["5_quality"]
    assert re.search(rf"<td>exact match</td>\s*<td>1</td>\s*<td>{TOPICS}</td>\s*<td>0.100</td>", page)
    assert "90.0% of the topics keep their identity when 2% new tickets come**, 20 topics in 2 trials; the resolution stayed in 1 of 2" in page
    assert "Single tickets, by Leiden: at a stated rate of 0.50%, 0.50% of the newer held-out tickets are flagged as strange" in page
    assert "stability" in ticket_night.figures
