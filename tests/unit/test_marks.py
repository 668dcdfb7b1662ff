"""Which marks of a configuration are wrong."""

import datetime

import pytest

from nightshift.incidents.marks import MARK, check_marks

GOOD = {"site": "T2-*", "as": "muted", "by": "b", "until": "2026-02-28", "why": "w"}


def test_good_marks_come_back_as_text_whatever_yaml_made_of_them():
    assert check_marks(None) == check_marks([]) == []
    mark = GOOD | {"until": datetime.date(2026, 2, 28), "by": 7, "kind": "", "entity": None, "why": " w "}
    assert check_marks([mark, {"incident": "20260119-3f2a"} | GOOD]) == [GOOD | {"by": "7"}, {"incident": "20260119-3f2a"} | GOOD]
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
