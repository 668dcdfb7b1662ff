"""Who waits how long on a help desk made by hand: medians, tests, candidates for an answer, the clock of the analysis."""

import re

import pytest
from ticket_desk import TOPICS, analysed, few, page_of, write_study


def test_candidates_are_ranked_by_tickets_times_median(ticket_night):
    table = re.search(r"tickets x median, h</th>.*?</table>", ticket_night.pages["6_waiting"], re.S)[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tr>")[1:]]
    hours = [float(row[4].replace(",", "")) for row in rows]
    assert len(rows) == TOPICS
    assert hours == sorted(hours, reverse=True)
    for row, cost in zip(rows, hours, strict=True):
        assert cost == pytest.approx(int(row[1]) * float(row[3].split(" h")[0]), rel=0.01)
        assert row[5] == "FAQ"


def test_groups_are_compared_and_the_slow_topic_is_named(ticket_night):
    page = ticket_night.pages["6_waiting"]
    for column in ("priority", "department", "topic"):
        assert f"By {column}, the slowest first; log-rank tests of resolution" in page
    assert "“transfer, slow” clearly waits longer than usual, " in page
    assert f"{ticket_night.clean.open.sum()} tickets are open" in page
    assert {"backlog", "waiting", "closures"} <= ticket_night.figures


def test_only_working_hours_count_where_they_are_named(tmp_path):
    clean = few(8)
    write_study(tmp_path, clean)
    office, at_office = analysed(tmp_path, working_hours="mon-fri 08:00-18:00"), page_of("6_waiting", tmp_path)
    wall, on_wall = analysed(tmp_path), page_of("6_waiting", tmp_path)
    medians = [float(re.search(r"resolved within ([\d.]+) h", page)[1]) for page in (office.page, wall.page, at_office, on_wall)]
    assert medians[0] < 0.6 * medians[1]
    assert medians[2:] == medians[:2]
    assert "times are hours of mon-fri 08:00-18:00" in at_office
    assert "times are hours on the wall, nights and weekends included" in on_wall
    write_study(tmp_path / "short", few(2))
    analysed(tmp_path / "short", closed_days=["01-24 to 01-25"])
    assert "times are hours outside closed days" in page_of("6_waiting", tmp_path / "short")
