"""Moments in every form that producers write, against the same moment in ISO 8601."""

from unittest import mock

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.sources import times
from nightshift.sources.times import has_zone, in_utc, is_unreadable, read_times

AT = pd.Timestamp("2026-01-31 10:00:00", tz="UTC")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31 10:00:00",
        "2026-01-31T10:00:00Z",
        "2026-01-31T11:00:00.000+01:00",
        "2026-01-31 10:00:00 UTC",
        "2026/01/31 10:00:00",
        "2026/1/31 10:00",
        "31.01.2026 10:00",
        "31/01/2026 10:00:00",
        "01/31/2026 10:00:00",
        "01/31/2026 10:00:00 AM",
        "Sat, 31 Jan 2026 10:00:00 +0000",
        "Sat, 31 Jan 2026 11:00:00 +0100",
        "Sat Jan 31 10:00:00 2026",
        "Sat Jan 31 10:00:00 UTC 2026",
        "Jan 31, 2026 @ 10:00:00.000",
        "31/Jan/2026:10:00:00 +0000",
        "31-JAN-2026 10:00:00",
        "20260131100000",
        "202601311000",
        "1769853600",
        "1769853600.0",
        "1769853600000",
        "1.7698536E12",
        "1769853600000000",
        "1769853600000000000",
        " 1769853600 ",
        1769853600000,
    ],
)
def test_one_moment_in_every_form(text):
    at = read_times(pd.Series([text, None]))
    assert str(at.dtype) == "datetime64[us, UTC]"
    assert at[0] == AT
    assert pd.isna(at[1])


@pytest.mark.parametrize("other", [None, "1 Feb 2026 00:00:01 GMT", "Sat, 31 Jan 2026 11:00:00 +0100", "Sat, 31 Feb 2026 10:00:00 UTC", "noon"])
def test_a_column_of_rfc_2822_is_read_as_its_texts_are_one_by_one(other):
    texts = pd.Series(["Sat, 31 Jan 2026 10:00:00 UTC", other, "Fri, 2 Jan 2026 00:00:00 GMT"], index=[4, 2, 7], dtype="string")
    by_column = times.read_iso(texts)
    assert (by_column is None) == (other not in (None, "1 Feb 2026 00:00:01 GMT"))
    singly = pd.concat([read_times(texts.iloc[[i]].astype(object)) for i in range(3)])
    pd.testing.assert_series_equal(read_times(texts), singly, check_names=False)


def test_a_mixed_column_keeps_its_index_and_fractions():
    at = read_times(pd.Series(["2026-01-31", "20260131", "1769853600123", "2026-01-31 10:00:00.123456", "31.01.2026 10:00"], index=[5, 3, 9, 1, 0]))
    assert [str(one)[:26] for one in at] == [
        "2026-01-31 00:00:00+00:00",
        "2026-01-31 00:00:00+00:00",
        "2026-01-31 10:00:00.123000",
        "2026-01-31 10:00:00.123456",
        "2026-01-31 10:00:00+00:00",
    ]
    assert list(at.index) == [5, 3, 9, 1, 0]


@pytest.mark.parametrize("text", ["yesterday", "10:00", "31 Jan", "2026-13-45", "99", "12345678", "31.01.26", "2026-01-31 10:00 XYZ", "Jan 2026"])
def test_what_names_no_full_moment_is_unreadable(text):
    text = pd.Series([text])
    at = read_times(text)
    assert pd.isna(at[0])
    assert is_unreadable(text, at)[0]


@pytest.mark.parametrize("text", [None, "", "0", "-1", "null", "None", "NaT", "0001-01-01T00:00:00Z"])
def test_what_says_that_there_is_none_is_missing(text):
    text = pd.Series([text], dtype=object)
    at = read_times(text)
    assert pd.isna(at[0])
    assert not is_unreadable(text, at)[0]


@pytest.mark.parametrize(
    ("texts", "months"),
    [
        (["01/02/2026", "13/02/2026"], [2, 2]),
        (["01/02/2026", "01/13/2026"], [1, 1]),
        (["01/02/2026"], [None]),
        (["13/02/2026", "01/13/2026"], [None, None]),
    ],
)
def test_the_order_of_day_and_month_is_that_of_the_column(texts, months):
    at = read_times(pd.Series(texts))
    clear = [None if pd.isna(one) else one.month for one in at]
    assert clear == months


def test_a_moment_without_zone_is_of_the_zone_that_is_named_and_one_with_its_own_is_not():
    texts = ["2026-01-31 10:00", "31.01.2026 10:00", "20260131100000", "2026-01-31 10:00 UTC", "Sat, 31 Jan 2026 10:00:00 +0000", "1769853600"]
    at = read_times(pd.Series(texts, dtype=object), "Europe/Berlin")
    assert at.dt.hour.tolist() == [9, 9, 9, 10, 10, 10]
    assert has_zone(pd.Series(texts)).tolist() == [False, False, False, True, True, True]
    texts = [f"2026-01-31 {one}" for one in ("11:00:00 +0100", "04:00 -06:00", "10:00:00.5 Z", "10:00:00  +00", "11:00:00+0100")]
    at = read_times(pd.Series(texts, dtype=object), "Europe/Berlin")
    assert at.dt.strftime("%H:%M").tolist() == ["10:00"] * 5, "also where a blank stands before its own"


@pytest.mark.parametrize(
    ("clock", "hour"),
    [("12:30 AM", "00"), ("1:30 am", "01"), ("11:30 A.M.", "11"), ("12:30 PM", "12"), ("1:30 p.m.", "13"), ("11:30 PM", "23"), ("0:30 AM", None),
     ("13:30 PM", None), ("13:30", "13")],
)  # fmt: skip
def test_hours_before_and_after_noon_are_from_one_to_twelve(clock, hour):
    assert times.as_iso(f"1/31/2026 {clock}", "month first") == (f"2026-01-31T{hour}:30:00" if hour else "")


@pytest.mark.parametrize(
    ("text", "order", "iso"),
    [
        ("01/02/2026", "day first", "2026-02-01T00:00:00"), ("01/02/2026", "month first", "2026-01-02T00:00:00"), ("01/02/2026", None, ""),
        ("02/2/2026", None, "2026-02-02T00:00:00"), ("01.02.2026", "month first", "2026-02-01T00:00:00"), ("1 Mai 2026", None, "2026-05-01T00:00:00"),
        ("31.12.69", None, "2069-12-31T00:00:00"), ("31.12.70", None, "1970-12-31T00:00:00"), ("31.12.99", None, "1999-12-31T00:00:00"),
        ("31.01.2026 9:05:07,5 MEZ", None, "2026-01-31T09:05:07.5+01:00"), ("31.01.2026 9:05 CEST", None, "2026-01-31T09:05:00+02:00"),
        ("31.01.2026 09:05 Uhr", None, "2026-01-31T09:05:00"), ("Sat Jan 31 10:00:00 UTC 2026", None, "2026-01-31T10:00:00Z"), ("nothing", None, ""),
    ],
)  # fmt: skip
def test_a_date_is_written_as_iso_8601_where_it_can_only_be_one(text, order, iso):
    assert times.as_iso(text, order) == iso


@pytest.mark.parametrize(
    ("texts", "order"),
    [(["12/12/2026"], None), (["12/13/2026"], "month first"), (["13/12/2026"], "day first"), (["13/12/2026", "12/13/2026"], "both"),
     (["13.12.2026", "x"], None), ([], None)],
)  # fmt: skip
def test_a_number_above_twelve_is_a_day(texts, order):
    assert times.day_order(texts) == order


def test_numbers_that_may_be_dates_are_of_the_years_1900_to_2099():
    numbers = pd.Series([19_000_101.0, 20_991_231, 21_000_000, 18_991_231, 20_260_131.5, 20_261_301, 202601311030])
    found = times.digits_of(numbers)
    assert {at: str(moment)[:16] for at, moment in found.dropna().items()} == {
        0: "1900-01-01 00:00", 1: "2099-12-31 00:00", 6: "2026-01-31 10:30"
    }  # fmt: skip


def test_a_week_begins_on_its_monday():
    at = pd.Series(pd.to_datetime(["2026-01-26 00:00", "2026-02-01 23:59", None, "2026-02-02 00:00"], utc=True))
    assert times.week_of(at).dt.strftime("%m-%d").fillna("").tolist() == ["01-26", "01-26", "", "02-02"]


def test_the_hours_in_which_a_clock_changes():
    local = pd.Series(pd.to_datetime(["2025-10-26 02:30", "2025-03-30 02:30"]))
    assert in_utc(local, "Europe/Berlin").dt.strftime("%H:%M").tolist() == ["00:30", "01:00"]
    assert in_utc(local, "Europe/Berlin", first=False)[0].hour == 1
    assert in_utc(local, "Europe/Berlin", first="NaT", gap="NaT").isna().all()


def test_years_of_two_digits_need_a_source_that_writes_them():
    short = pd.Series(["31/Jan/26 9:05 AM", "31.01.26 09:05"])
    assert read_times(short).isna().all()
    assert (read_times(short, short_years=True) == pd.Timestamp("2026-01-31 09:05", tz="UTC")).all()


ISO = st.datetimes(pd.Timestamp("1960-01-01"), pd.Timestamp("2100-01-01")).map(str) | st.from_regex(
    r"\A(19|20)\d\d-[01]\d(-[0-3]\d)?([ T][0-2]\d(:[0-6]\d(:[0-6]\d([.,]\d{1,9})?)?)?)?(Z|[+-]01:?00)?\Z", fullmatch=True
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ISO | st.none() | st.sampled_from(["2026", "20260131", " 2026-01-31", "24:00", "2026-01-31 24:00:00"]), min_size=1, max_size=3))
def test_what_arrow_reads_is_what_pandas_reads(texts):
    text = pd.Series(texts, dtype="str")
    quick = times.read_iso(text)
    if quick is not None:
        with mock.patch.object(times, "read_iso", return_value=None):
            pd.testing.assert_series_equal(quick, read_times(text))


def test_columns_of_one_form_are_read_by_arrow():
    assert times.read_iso(pd.Series(["2026-01-31 10:00:00", None, "2026-01-31 10:00:00.5"])) is not None
    assert times.read_iso(pd.Series(["2026-01-31 10:00:00", ""])) is None
