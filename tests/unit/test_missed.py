"""Which missed nights the next run makes up for."""

import pytest

from nightshift.missed import nights_due, words_about


def publish(reports, *nights):
    for night in nights:
        (reports / night).mkdir(parents=True)
        (reports / night / "run.json").write_text("{}")
        (reports / night / "index.html").write_text("a page")


@pytest.mark.parametrize(
    ("published", "catch_up", "nights", "left_out"),
    [
        ([], 7, ["2026-02-04"], []),  # the first night ever
        (["2026-02-03"], 7, ["2026-02-04"], []),
        (["2026-01-20", "2026-01-31"], 7, ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"], []),
        (["2026-01-31"], 2, ["2026-02-02", "2026-02-03", "2026-02-04"], ["2026-02-01"]),
        (["2026-01-31"], 0, ["2026-02-04"], ["2026-02-01", "2026-02-02", "2026-02-03"]),
        (["2026-01-31", "2026-02-04"], 7, ["2026-02-04"], []),  # again
        (["2026-02-06"], 7, ["2026-02-04"], []),  # only a later one is there
    ],
)
def test_the_nights_since_the_last_published_one_are_due_in_order(tmp_path, published, catch_up, nights, left_out):
    publish(tmp_path, *published)
    (tmp_path / "2026-02-02").mkdir(exist_ok=True)  # was cut off before it was published
    due = nights_due(tmp_path, "2026-02-04", catch_up=catch_up)
    assert (due.nights, due.left_out) == (nights, left_out)
    assert len(words_about(due)) == (len(nights) > 1) + bool(left_out)


def test_what_is_made_up_for_and_what_is_not_is_said(tmp_path):
    publish(tmp_path, "2026-01-31")
    assert words_about(nights_due(tmp_path, "2026-02-04", catch_up=2)) == [
        "2 missed nights first: 2026-02-02, 2026-02-03",
        "1 missed night from 2026-02-01 to 2026-02-01: not made up for, see `catch_up`; `nightshift run --day` reports any",
    ]


def test_a_night_that_was_cut_off_between_its_record_and_its_front_page_is_due_and_one_whose_pages_were_removed_is_not(tmp_path):
    publish(tmp_path, "2026-02-01", "2026-02-02", "2026-02-03")
    for night in ("2026-02-02", "2026-02-03"):
        (tmp_path / night / "index.html").unlink()
    assert nights_due(tmp_path, "2026-02-04", catch_up=7).nights == ["2026-02-02", "2026-02-03", "2026-02-04"]
    (tmp_path / "2026-02-02/run.json").write_text('{"removed": true}')
    assert nights_due(tmp_path, "2026-02-04", catch_up=7).nights == ["2026-02-03", "2026-02-04"]
