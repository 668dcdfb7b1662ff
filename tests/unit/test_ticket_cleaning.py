"""What a night could know of a ticket, who wrote it, and which tickets are written twice: by hand."""

import pandas as pd
import pandera.errors
import pytest

from nightshift.cleaning.tickets import (
    as_of,
    bare_addresses,
    clean_schema,
    count_words,
    find_duplicates,
    groups_of,
    identify_people,
    is_automatic,
    is_markup,
    read_patterns,
    read_raw,
)
from nightshift.privacy import Sites

END = pd.Timestamp("2026-02-01", tz="UTC")


def at(*days):
    """Noon of so many days before the end of the night; None is no time."""
    moments = [None if day is None else END - pd.Timedelta(days=day, hours=12) for day in days]
    return pd.Series(pd.to_datetime(moments, utc=True)).astype("datetime64[us, UTC]")


def test_a_night_is_blind_to_what_comes_after_it():
    tickets = pd.DataFrame(
        {
            "created": at(5, 5, 5, 5, 5),
            "closed": at(2, -2, 9, 2, 2),
            "first_response": at(3, -2, 9, None, None),
            "lastupdate": at(2, -2, 2, 1, -3),
            "meaning": ["closed", "closed", "closed", "open", "open"],
        }
    )
    seen_then, counts = as_of(tickets, END)
    assert seen_then.open.tolist() == [False, True, False, True, False]
    assert seen_then.closed.isna().tolist() == [False, True, True, True, False]
    assert seen_then.first_response.isna().tolist() == [False, True, True, True, True]
    assert counts == {"reopened": 1, "later": 2, "early": 2}
    assert "open" not in tickets, "the argument stays as it was"
    assert as_of(tickets[:0], END)[1] == {"reopened": 0, "later": 0, "early": 0}


def test_people_are_user_ids_addresses_or_names_in_this_order():
    texts = ["Kora <U1+x@Campus.Example>", "u1@elsewhere.example", "u2", "", ""]
    addresses = bare_addresses(pd.Series(texts, dtype="str"))
    names = pd.Series(["x", "x", "x", "Kora Lumbe ", ""], dtype="str")
    writers = identify_people(addresses, names, ["@Campus.example"])
    assert writers.person.tolist() == ["u1", "u1@elsewhere.example", "u2", "kora lumbe", ""]
    assert writers.internal.tolist() == [True, False, True, True, True]
    people = pd.DataFrame({"department": ["physics", " "], "school": ["science", ""]}, index=["u1", "u2"])
    groups = groups_of(writers, people)
    assert groups.department.tolist() == ["physics", "external", "unknown", "unknown", "unknown"]
    assert groups.school.tolist() == ["science", "external", "unknown", "unknown", "unknown"]
    machine = read_patterns(["^u2$", "kora"])
    assert is_automatic(addresses, names, machine).tolist() == [False, False, True, True, False]
    assert is_automatic(addresses[:0], names[:0], machine).tolist() == []


def test_duplicates_are_counted_from_the_first_and_after_the_time_the_next_is_a_first_again():
    rows = [("u", "same", 100, "c"), ("u", "same", 0, "a"), ("u", "same", 50, "b"), ("v", "same", 1, "d"), ("u", "other", 1, "e")]
    messages = pd.DataFrame(rows, columns=["user", "message", "seconds", "id"], index=[7, 8, 9, 10, 11])
    assert find_duplicates(messages, 50) == {9: "a"}
    assert find_duplicates(messages, 100) == {9: "a", 7: "a"}
    assert find_duplicates(messages, -1) == find_duplicates(messages[:0], 50) == {}


def test_a_body_is_markup_by_its_format_or_by_a_tag():
    tickets = pd.DataFrame({"format": ["html", "text", "", ""], "body": ["plain", "<p>x</p>", "<p>x</p>", "a < b"]}, dtype="str")
    assert is_markup(tickets).tolist() == [True, False, True, False]


def test_the_schema_of_clean_tickets_refuses_names_and_long_subjects():
    clean = pd.DataFrame(
        {"ticket_id": ["1"], "created": at(1), "closed": at(None), "first_response": at(None), "open": [True], "user": ["user-0123abcd"]}
    )
    clean = clean.assign(department="physics", school="science", priority="", urgency=pd.array([3], "Int64"), help_topic="", queue="", site="")
    clean = clean.assign(subject="waits", text="waits", label="").astype({"ticket_id": "str", "user": "str"})
    schema = clean_schema(40, True)
    assert list(schema.validate(clean)) == list(schema.columns)
    for bad in ({"user": "kora"}, {"department": ""}, {"subject": "x" * 41}, {"created": at(None)}):
        with pytest.raises(pandera.errors.SchemaError):
            schema.validate(clean.assign(**bad))
    clean_schema(40, False).validate(clean.assign(created=at(None)))


def test_a_raw_folder_without_tables_is_one_line(tmp_path):
    with pytest.raises(AssertionError, match=r"holds no tickets.parquet: run 1_extract first"):
        read_raw(tmp_path)


def test_words_that_masking_and_dots_take_away_are_counted():
    places = Sites({"harbor": "HARBOR-T2"})
    written, masked = ["quota on harbor for Eve", "login"], ["quota on harbor for name", "login"]
    counted = count_words(written, masked, shown=["quota … harbor … name", "login"], common={"quota", "name", "login"}, places=places)
    assert counted == (6, 2, 1)  # "on" and "for" are dots, the site is none
