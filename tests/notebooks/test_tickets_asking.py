"""Who asks what, when and how urgently, on a help desk made by hand."""

import re

from conftest import refused, run_cells
from ticket_desk import DAY, few, write_study


def test_every_figure_is_there_and_the_urgent_department_stands_out(ticket_night):
    assert ticket_night.figures == {
        *["findings", "months", "weeks", "backlog", "waiting", "closures", "urgent", "words", "stability", "topic_map", "topic_sizes"]
    }
    history = ticket_night.clean[ticket_night.clean.department == "history"]
    assert (history.urgency <= 2).mean() > 0.4
    assert "high" in ticket_night.pages["7_asking"]


def test_topics_and_groups_are_counted(ticket_night):
    page, clean = ticket_night.pages["7_asking"], ticket_night.clean
    sizes = clean.topic_number.value_counts()
    assert re.search(rf"<td>t002</td>\s*<td>job, pending</td>\s*<td>{sizes[2]}</td>", page)
    assert f"{len(clean):,} tickets of {clean.user.nunique()} users up to {DAY}" in page
    assert re.search(rf"<td>biology</td>\s*<td>{(clean.department == 'biology').sum()}</td>", page)
    assert re.search(r"Anomalous weeks end on: .*2026-02-01", page)
    assert f"{(clean.urgency <= 2).mean():.1%} of {len(clean):,} tickets with a priority are high-priority" in page


def test_a_semester_that_begins_in_no_month_is_one_line(tmp_path):
    write_study(tmp_path, few(3))
    line = "semesters is [0, 4]: a list of months from 1 to 12"
    assert refused(run_cells, "tickets/7_asking.ipynb", tmp_path, day=DAY, semesters=[0, 4]) == line
