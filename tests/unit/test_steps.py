"""What is known of a run without running it: how a notebook ended, and which marks are wrong."""

import datetime
import json

import pytest

from nightshift.runs import error_in
from steps import MARK, check_marks, outcomes_of, told_tonight


def test_how_steps_ended_is_what_their_records_say(tmp_path):
    (tmp_path / "left").mkdir()
    for step, outcome in {"1_extract": "ok", "2_preprocess": "failed", "3_train": "running"}.items():
        (tmp_path / f"left/{step}.json").write_text(json.dumps({"version": 1, "outcome": outcome}))
    ended = outcomes_of(tmp_path, "left", tmp_path)
    assert ended == {"1_extract": "ok", "2_preprocess": "failed", "3_train": "failed", "4_analyse": "not run"}
    assert told_tonight(ended | {"4_analyse": "ok", "5_extra": "ok"}) == ["5_extra"], "an analysis on what failed is not of tonight"


def test_an_error_in_a_cell_is_the_line_of_its_notebook():
    cell = {"outputs": [{"output_type": "error", "ename": "ValueError", "evalue": "no\nrows"}], "execution_count": 3}
    assert error_in({"cells": [cell], "metadata": {}}) == ("ValueError: no rows", 3)
    assert error_in({"cells": [], "metadata": {"papermill": {"end_time": None}}}) == ("it was stopped before it ended", None)


GOOD = {"site": "T2-*", "as": "muted", "by": "b", "until": "2026-02-28", "why": "w"}


def test_good_marks_come_back_as_text_whatever_yaml_made_of_them():
    assert check_marks(None) == check_marks([]) == []
    given = GOOD | {"until": datetime.date(2026, 2, 28), "by": 7, "kind": "", "entity": None, "why": " w "}
    assert check_marks([given, {"incident": "20260119-3f2a"} | GOOD]) == [GOOD | {"by": "7"}, {"incident": "20260119-3f2a"} | GOOD]
    assert set(GOOD) < set(MARK)


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ("all", "mark is 'all': it must be a list"),
        (GOOD, "it must be a list"),
        (3, "mark is '3': it must be a list"),
        (["all"], "mark: all needs an incident or patterns"),
        ([GOOD, GOOD | {"site": " "}], "needs an incident or patterns"),
        ([GOOD | {"as": "mute"}], r"as \(muted or acknowledged\)"),
        ([GOOD | {"why": " "}], "needs an incident .* why"),
        ([{k: v for k, v in GOOD.items() if k != "by"}], "needs an incident .* by, until, why"),
        ([GOOD | {"sites": "A"}], "has an unknown 'sites'; the nearest is site"),
        ([GOOD | {"til": "2026-02-28"}], "has an unknown 'til'; the nearest is until"),
        ([GOOD | {1: "A"}], "has an unknown '1'"),
        ([GOOD | {"site": ["A", "B"]}], "needs one text as site; write one mark for each"),
        ([GOOD | {"until": "2026-02-31"}], "until '2026-02-31' is no date such as 2026-03-31"),
        ([GOOD | {"until": datetime.datetime(2026, 2, 28, 12)}], "until '2026-02-28 12:00:00' is no date"),
        ([GOOD | {"until": "soon\nor later"}], "is no date"),
    ],
)
def test_a_wrong_mark_is_named_in_one_line(marks, says):
    with pytest.raises(ValueError, match=says) as error:
        check_marks(marks)
    assert "\n" not in str(error.value)
