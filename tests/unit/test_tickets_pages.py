"""What 4_analyse of the tickets leaves for the pages after it, and what single tickets score."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import helpers
from nightshift.analysis.tickets import score_tickets
from nightshift.analysis.tickets_figures import plot_departments, plot_remaining
from nightshift.analysis.tickets_pages import called_by, former_topics_in_words, models_table, read_night, weekly, write_night
from nightshift.analysis.tickets_waiting import clock_words, spans_of
from nightshift.detectors.tickets_surprises import WeeklyTest

END = pd.Timestamp("2026-02-01", tz="UTC")
ENDS = pd.Series(pd.to_datetime([END - pd.Timedelta(days=7), END]))


def test_topics_are_called_by_their_first_keywords_in_one_line():
    topics = pd.DataFrame({"topic": ["t1", "t2"], "name": ["quota,\u202e home", ""]})
    assert called_by(topics) == {"t1": "quota, home", "t2": "no word", "": "no topic"}


def test_a_week_has_its_tickets_and_what_was_open_at_its_end():
    zeros = np.zeros((1, 2))
    backlog = WeeklyTest(zeros, np.array([[3.0, 5.0]]), np.array([[0.0, 4.0]]), zeros, np.array(["all queues"], object))
    table = weekly({"backlog": backlog}, np.array([0, 1, 1]), week_ends=ENDS, judged=[1])
    assert table.to_dict("list") == {
        "week_end": list(ENDS),
        "tickets": [1, 2],
        "open": [3.0, 5.0],
        "usually_open": [0.0, 4.0],
        "is_judged": [False, True],
    }
    assert len(weekly({}, np.array([-1, -1]), week_ends=ENDS[:0], judged=[])) == 0  # without times


def stored(products, weeks):
    """A night of two tickets as 4_analyse leaves it, read again."""
    paths = helpers.study_paths("tickets", products)
    created = [END - pd.Timedelta(days=1), END - pd.Timedelta(days=500)]
    clean = pd.DataFrame({"ticket_id": ["a", "b"], "created": pd.to_datetime(created), "open": [True, False]})
    helpers.write_parquet(clean, paths.clean)
    helpers.write_parquet(pd.DataFrame({"topic": ["t1"], "name": ["quota"], "state": ["new"]}), paths.models / "topics.parquet")
    waits = {"topic": ["t1", ""], "resolution_h": [24.0, 3.0], "resolution_seen": [False, True], "response_h": 1.0, "response_seen": False}
    write_night(paths.scores, clean[["ticket_id"]].assign(**waits), weeks, hour="h of work", of_clock="of mon-fri 08:00-18:00", min_group=7)
    return read_night(paths)


def test_a_night_is_read_as_it_was_written(tmp_path):
    night = stored(tmp_path, weekly({}, np.array([1, 0]), week_ends=ENDS, judged=[]))
    assert night.tickets.ticket_id.tolist() == ["b", "a"]  # by time
    assert night.tickets.name.tolist() == ["no topic", "quota"]
    assert (night.hour, night.of_clock, night.min_group) == ("h of work", "of mon-fri 08:00-18:00", 7)
    assert (night.timed, night.end) == (True, END)
    assert night.last_year.ticket_id.tolist() == ["a"]
    assert (night.is_known("resolution"), night.is_known("response")) == (True, False)


def test_a_night_without_times_has_no_end_and_no_last_year(tmp_path):
    night = stored(tmp_path, weekly({}, np.array([-1, -1]), week_ends=ENDS[:0], judged=[]))
    assert (night.timed, night.end, len(night.last_year)) == (False, None, 0)
    (tmp_path / "data/scores/tickets_waits.parquet").unlink()
    with pytest.raises(OSError, match="tickets_waits"):
        read_night(helpers.study_paths("tickets", tmp_path))


def test_the_model_in_use_stands_first():
    row = {"metric": "ARI", "model": 0.6, "baseline_name": "exact match", "baseline": 0.1, "skill": 0.5, "skill_low": 0.4, "skill_high": 0.6}
    table = models_table([row | {"name": "new", "in_use": False}, row | {"name": "stored", "in_use": True}])
    assert table.method.tolist() == ["stored", "new"]
    assert list(table) == ["method", "metric", "value", "baseline", "its value", "skill", "low", "high"]


def test_a_ticket_is_scored_by_its_rank_among_held_out_ones():
    held_out = pd.DataFrame({"ticket_id": [f"h{i}" for i in range(99)], "topic": "t1", "distance": np.linspace(0.01, 0.99, 99)})
    tickets = pd.DataFrame({"ticket_id": ["far", "near", "h98"], "topic": "t1", "distance": [2.0, 0.0, 0.0]})
    scored = score_tickets(tickets, held_out, alarm_rate=0.01)
    assert scored.score.tolist() == [2.0, 0.0, pytest.approx(0.99)]  # the last one was held out: as far as it was then
    assert scored.p_value.tolist() == [pytest.approx(0.01), 1.0, pytest.approx(0.02)]
    assert scored.flagged.tolist() == [True, False, False]
    assert score_tickets(tickets, held_out.head(0), alarm_rate=0.01).p_value.tolist() == [1.0, 1.0, 1.0]


def test_a_topic_whose_held_out_tickets_cannot_reach_the_alarm_rate_is_judged_by_those_of_all():
    ids = [f"h{i}" for i in range(450)]
    held_out = pd.DataFrame({"ticket_id": ids, "topic": ["t1"] * 150 + ["t2"] * 300, "distance": np.linspace(0.01, 0.99, 450)})
    tickets = pd.DataFrame({"ticket_id": ["new"], "topic": "t1", "distance": 2.0})
    scored = score_tickets(tickets, held_out, alarm_rate=0.005)  # among 150 no p-value is below 0.0066
    assert scored.p_value.tolist() == [pytest.approx(1 / 451)]
    assert scored.flagged.all()
    assert score_tickets(tickets, held_out, alarm_rate=0.02).p_value.tolist() == [pytest.approx(1 / 151)]


@pytest.mark.parametrize(
    ("working_hours", "closed_days", "words"),
    [
        ("", [], ("h", "")),
        ("", ["05-01"], ("h", "outside closed days")),
        ("mon-fri 08:00-18:00", ["05-01"], ("h of work", "of mon-fri 08:00-18:00 outside closed days")),
    ],
)
def test_the_clock_is_named(working_hours, closed_days, words):
    assert clock_words(working_hours, closed_days) == words


def test_tickets_and_weeks_share_a_clock_on_which_nobody_knows_some_closings():
    opened = pd.Series([END - pd.Timedelta(hours=h) for h in (48, 24, 12)])
    nothing = pd.Series([pd.NaT] * 3, dtype=opened.dtype)
    closed = nothing.mask([True, False, False], END - pd.Timedelta(hours=36))
    tickets = pd.DataFrame({"created": opened, "closed": closed, "first_response": nothing, "open": [False, False, True]})
    spans, answered, ends = spans_of(tickets, ENDS[1:], "", timezone="UTC", closed_days=[])
    assert (spans.opened.tolist(), spans.closed[0], ends.tolist()) == ([0, 24, 36], 12, [48])
    assert spans.unknown.tolist() == [False, True, False]
    assert np.isnan(answered).all()
    assert not spans_of(tickets, ENDS[:0], "", timezone="UTC", closed_days=[])[0].unknown.any()


def test_bars_show_what_is_left_and_departments_that_are_none_are_grey():
    _, ax = plt.subplots()
    assert [text.get_text() for text in plot_remaining(ax, ["in the source", "without: deleted"], [1200, 1000]).texts] == ["1,200", "1,000"]
    _, ax = plt.subplots()
    plot_departments(ax, pd.Series({"physics": 5, "unknown": 2}))
    assert [bar.get_facecolor()[:3] == (0.7, 0.7, 0.7) for bar in ax.patches] == [False, True]
    plt.close("all")


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, ""), (1, "; 1 former topic has no ticket any more"), (2, "; 2 former topics have no ticket any more")],
)
def test_topics_that_are_gone_are_told_where_there_are_any(n, words):
    assert former_topics_in_words(n) == words
