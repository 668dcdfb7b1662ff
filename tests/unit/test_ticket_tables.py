"""Words for states, forms of times, JSON, desks that count alike, rows that come twice, sacctmgr's bars, sites, impossible tests: by hand."""

import tracemalloc
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from nightshift.detectors.tickets import history_verdict, kaplan_meier_median, log_rank, welch_ratio
from nightshift.sites import read_sites
from nightshift.sources.tickets import sacctmgr
from nightshift.sources.tickets.osticket import origin_of
from nightshift.sources.tickets.tables import (
    is_open,
    meanings_of,
    newest_rows,
    read_json_tickets,
    read_states,
    state_meaning,
    tell_desks,
    unknown_states,
)
from nightshift.sources.tickets.times import is_time_column, shown_value, ticket_times, time_reader
from nightshift.sources.times import day_order, read_times

STATES = {
    "open": [
        *["open", "Open", "NEW", "pending reminder", "Pending-Close", "pending auto close+", "In Progress", "in_progress", "To Do", "On Hold"],
        *["Waiting for customer", "Awaiting user info", "re-opened", "Reopened", "Processing (assigned)", "In Bearbeitung", "wieder geöffnet"],
        *["en cours", "en attente", "abierto", "not resolved"],
    ],
    "closed": [
        *["closed", " Closed", "Resolved", "Solved", "Done", "rejected", "Cancelled", "canceled", "closed successful", "Closed - Incomplete"],
        *["Won't Fix", "Won\u2019t fix", "Erledigt", "gelöst", "Résolu", "clos", "cerrado", "Duplicate"],
    ],
    "deleted": ["deleted", "removed", "SPAM"],
    "merged": ["merged"],
    "": ["", None, "3", "6", "wibble", "is it closed?", "unopened box"],
}


@pytest.mark.parametrize(("word", "meaning"), [(word, meaning) for meaning, words in STATES.items() for word in words])
def test_the_words_of_every_desk_mean_what_they_say(word, meaning):
    assert state_meaning(word) == meaning


def test_a_desk_may_say_what_its_own_words_mean_and_others_are_counted():
    tickets = pd.DataFrame({"state": ["Wibble", "open", None, "x" * 31, ""], "status": [None, "closed", "Done", None, None]})
    assert meanings_of(tickets).tolist() == ["", "open", "closed", "", ""]
    assert meanings_of(tickets, read_states({"wibble": "open"})).tolist() == ["open", "open", "closed", "", ""]
    assert unknown_states(tickets).startswith("2 of 5 tickets have a state of unknown meaning (“Wibble” 1, a longer text 1): of these the closing")
    assert unknown_states(tickets.head(3), read_states({"Wibble": "open"})) == ""
    six = pd.DataFrame({"state": [*"abcde", "f" * 30, "f" * 30]})
    assert unknown_states(six).startswith(f"7 of 7 tickets have a state of unknown meaning (“{'f' * 30}” 2, ")
    assert [" and 1 more): of these" in unknown_states(some) for some in (six, six.head(5))] == [True, False]
    for wrong in (["a"], {"a": "ajar"}, {1: "open"}, {" ": "open"}, {"a": ["open"]}):
        with pytest.raises(ValueError, match="states must say of each state"):
            read_states(wrong)


def test_a_state_beats_a_date_and_a_date_beats_nothing():
    closed = pd.Series(pd.to_datetime(["2026-01-02", "2026-01-02", None, None, "2026-01-02", None]))
    assert is_open(np.array(["open", "closed", "closed", "open", "", ""], object), closed).tolist() == [True, False, False, True, False, True]
    assert is_open(np.array(["", ""], object), pd.Series([pd.NaT, pd.NaT])).tolist() == [None, None]


TIMES = {
    "2026-01-31 10:00": "2026-01-31T10:00",
    "2026-1-31 9:05": "2026-01-31T09:05",
    "2026-01-31T10:00:00.250+01:00": "2026-01-31T10:00:00.250+01:00",
    "2026-01-31 10:00:00 UTC": "2026-01-31T10:00Z",
    "2026-01-31 10:00 MEZ": "2026-01-31T10:00+01:00",
    "2026/01/31 10:00": "2026-01-31T10:00",
    "31.01.2026 10:00": "2026-01-31T10:00",
    "03.01.2026": "2026-01-03T00:00",
    "31.01.26, 10:00 Uhr": "2026-01-31T10:00",
    "01/31/2026 12:15 AM": "2026-01-31T00:15",
    "1/31/2026 1:00:05 pm": "2026-01-31T13:00:05",
    "31/Jan/26 10:00 AM": "2026-01-31T10:00",
    "17. März 2026 10:00": "2026-03-17T10:00",
    "Sat Jan 31 10:00:00 2026": "2026-01-31T10:00",
    "Sat, 31 Jan 2026 10:00:00 +0100": "2026-01-31T10:00+01:00",
    "Jan 31, 2026 10:00": "2026-01-31T10:00",
    "20260131100000": "2026-01-31T10:00",
    "1769853600": "2026-01-31T10:00Z",
    "1769853600.0": "2026-01-31T10:00Z",
    "1769853600250": "2026-01-31T10:00:00.250Z",
}


@pytest.mark.parametrize(("text", "iso"), TIMES.items())
def test_every_form_of_a_time_is_read(text, iso):
    order = "month first" if "/31/" in text else "day first"
    assert read_times(pd.Series([text]), order=order, short_years=True)[0] == pd.to_datetime(iso, utc=True)


@pytest.mark.parametrize("text", ["soon", "01/02/2026", "46053.4", "10:00", "31.31.x", "call 0151 23456", "13:00 PM", "", "17"])
def test_what_is_no_time_or_may_be_two_is_none(text):
    assert pd.isna(read_times(pd.Series([text]), order=None, short_years=True)[0])


def test_a_column_of_times_is_utc_and_what_is_none_is_counted():
    texts = ["31.01.2026 10:00", "2026-01-31T10:00:00Z", "1769853600", "0000-00-00 00:00:00", "0", "-", None, "soon", "30.02.2026 10:00"]
    counts = Counter()
    times = ticket_times(pd.Series(texts, dtype="string"), "Europe/Berlin", counts)
    assert times.dtype == "datetime64[us, UTC]"
    assert times[:3].tolist() == [pd.Timestamp(f"2026-01-31T{hour}:00Z") for hour in ("09", "10", "10")]
    assert times[3:].isna().all()
    assert counts["unreadable"] == 2


def test_the_hour_that_autumn_shows_twice_and_the_one_that_spring_leaves_out_are_counted():
    counts = Counter()
    times = ticket_times(pd.Series(["2026-10-25 02:30", "2026-03-29 02:30", "2026-01-31 10:00", None], dtype="string"), "Europe/Berlin", counts)
    assert times[:3].dt.strftime("%m-%d %H:%M").tolist() == ["10-25 00:30", "03-29 01:00", "01-31 09:00"]
    assert counts == {"doubled": 1, "skipped": 1, "unreadable": 0}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("31 Jan 2026 10:00 UTC", "31 Jan 2026 10:00 UTC"), ("31 Lumbe 2026", "99 xxxxx 9999"), ("Jan 2026", "xxx 9999"), ("1" * 30, "1" * 30),
     ("1" * 31, "9" * 31), ("y" * 50, "x" * 40)],
)  # fmt: skip
def test_a_date_is_shown_as_it_is_and_of_anything_else_its_form(text, shown):
    assert shown_value(text) == repr(shown)


def reader(frame, order="auto"):
    rows = pd.DataFrame(frame, dtype="string")
    readers = time_reader(rows, {name: name.title() for name in rows}, "UTC", Counter(), order)
    return {name: readers[name](rows[name]).dt.strftime("%Y-%m-%d").tolist() for name in rows}


def test_day_and_month_are_told_by_the_file_or_by_the_setting_or_not_at_all():
    assert reader({"created": ["01/02/2026", "03/02/2026"], "closed": ["02/02/2026", "14/02/2026"]})["created"] == ["2026-02-01", "2026-02-03"]
    assert reader({"created": ["01/02/2026", "01/31/2026"]})["created"] == ["2026-01-02", "2026-01-31"]
    assert reader({"created": ["01/02/2026"]}, "day first")["created"] == ["2026-02-01"]
    assert reader({"created": ["02/02/2026", "2026-01-01"]})["created"] == ["2026-02-02", "2026-01-01"]
    for values in (["01/02/2026 10:00", "03/02/2026 10:00"], ["31/01/2026", "01/31/2026"]):
        with pytest.raises(ValueError, match=f"column 'Created' holds dates such as '{values[0]}', and the file does not tell whether the day"):
            reader({"created": values})
    assert day_order(["01.02.2026", "31.01.2026"]) is None


def test_a_column_without_any_time_is_refused_with_an_example_that_shows_no_words():
    with pytest.raises(ValueError, match="column 'Created' holds no time that can be read, such as 'xxxx xxxxx': it needs"):
        reader({"created": ["Kora Lumbe", None]})
    assert reader({"created": ["", None]})["created"] == [None, None] or pd.isna(reader({"created": ["", None]})["created"]).all()
    assert shown_value("46053.4") == "'46053.4'"
    assert shown_value("zote@x.example") == "'xxxx@x.xxxxxxx'"
    assert is_time_column("opened_at", ["2026-01-31 10:00", "-"])
    assert is_time_column("created_at", ["1769853600"])
    assert not is_time_column("account", ["1769853600"])
    assert not is_time_column("phone", ["0151 2345678"])
    assert not is_time_column("closed_at", ["0", ""])


@pytest.mark.parametrize(
    "text",
    [
        '[{"ticket_id": 1, "subject": "a", "state": {"id": 2, "name": "open"}}, {"ticket_id": 2, "subject": "b"}]',
        '{"count": 2, "tickets": [{"ticket_id": 1, "subject": "a", "state": {"id": 2, "name": "open"}}, {"ticket_id": 2, "subject": "b"}]}',
        '{"ticket_id": 1, "subject": "a", "state": {"id": 2, "name": "open"}}\n\n{"ticket_id": 2, "subject": "b"}\n',
        '[{"ticket_id": 1, "subject": "a", "state": {"id": 2, "name": "open"}}][{"ticket_id": 2, "subject": "b"}]',
        '[[{"ticket_id": 1, "subject": "a", "state": {"id": 2, "name": "open"}}],\n[{"ticket_id": 2, "subject": "b"}]]',
    ],
)
def test_json_is_an_array_an_object_that_holds_one_or_lines(text):
    bad = []
    rows = read_json_tickets(text, bad)
    assert rows[["ticket_id", "subject"]].to_numpy().tolist() == [["1", "a"], ["2", "b"]]
    assert rows["state.name"].fillna("").tolist() == ["open", ""]
    assert bad == []


def test_json_that_holds_no_ticket_is_refused_or_named():
    for text, message in (("[{", "begins like JSON and is none"), ('{"a": [{}], "b": [{}]}', "2 lists of objects")):
        with pytest.raises(ValueError, match=message):
            read_json_tickets(text, [])
    bad = []
    assert len(read_json_tickets('[{"subject": "a"}, 5]', bad)) == 1
    assert bad == [(2, "no JSON object")]
    bad = []
    assert len(read_json_tickets('{"subject": "a"}\n\n5\n{"subj\n{"subject": "b"}\n', bad)) == 2
    assert bad == [(3, "no JSON object"), (4, "no JSON object")], "lines are numbered as an editor does, empty ones too"
    for text in ('{"tickets": []}', "[]", "[]\n[]\n", "[[], []]"):  # of several pages none may hold a ticket
        assert read_json_tickets(text, []).empty
    assert read_json_tickets('{"total": 0, "issues": [], "isLast": true}', []).empty


@pytest.mark.parametrize("name", ["subject", "Title", "short_description"])
@pytest.mark.parametrize("tags", ["[]", '["x"]', '[{"name": "x"}]', '[{"name": "x"}], "assignees": [{"login": "y"}]', "null"])
def test_one_ticket_alone_is_one_whatever_lists_it_has(name, tags):
    """GitHub, Zammad and Freshdesk answer so where one of them is asked for; tags that it has not are an empty list."""
    rows = read_json_tickets(f'{{"id": 1, "{name}": "a", "tags": {tags}, "cc_emails": []}}', [])
    assert rows[["id", name]].to_numpy().tolist() == [["1", "a"]]


def test_an_answer_with_a_title_of_its_own_still_lists_tickets():
    rows = read_json_tickets('{"title": "Export of January", "columns": [{"name": "id"}], "issues": [{"id": 1, "title": "a"}]}', [])
    assert rows.title.tolist() == ["a"]
    with pytest.raises(ValueError, match="a JSON object with 2 lists of objects: it needs one list of tickets"):
        read_json_tickets('{"open": [{"title": "a"}], "closed": [{"title": "b"}]}', [])


def rows_of(file, ids, day, **more):
    at = pd.Timestamp(f"2026-01-{day:02d}T10:00Z") + pd.to_timedelta(range(len(ids)), unit="h")
    return pd.DataFrame({"ticket_id": [str(i) for i in ids], "created": at, "file": file, "row": range(len(ids)), "lastupdate": at, **more})


def test_ids_of_two_desks_are_told_apart_and_two_exports_of_one_are_not():
    rows = pd.concat([rows_of("a1", range(3), 5), rows_of("a2", range(4), 5), rows_of("b", range(2), 9)], ignore_index=True)
    apart, sentence = tell_desks(rows)
    assert apart.ticket_id.tolist() == ["0", "1", "2", "0", "1", "2", "3", "d2-0", "d2-1"]
    assert sentence.startswith("2 ids of tickets stand in files of 2 desks for different tickets")
    same, nothing = tell_desks(rows[rows.file != "b"])
    assert nothing == ""
    assert same.equals(rows[rows.file != "b"])


def test_three_desks_have_a_mark_each_and_half_of_the_ids_in_common_make_one():
    three, sentence = tell_desks(pd.concat([rows_of(file, range(2), day) for file, day in (("a", 5), ("b", 9), ("c", 12))], ignore_index=True))
    assert three.ticket_id.tolist() == ["0", "1", "d2-0", "d2-1", "d3-0", "d3-1"]
    assert sentence.startswith("2 ids of tickets stand in files of 3 desks")
    assert sentence.endswith("the ids of the second desk begin with d2- here, and so on")
    half = pd.concat([rows_of("a", range(2), 5), rows_of("b", range(2), 5)], ignore_index=True)
    half.loc[3, "created"] += pd.Timedelta(days=1)
    assert tell_desks(half)[1] == "", "one of two ids names tickets created at the same time"
    with_other = pd.concat([rows_of("0", range(2), 12), half], ignore_index=True)
    assert tell_desks(with_other)[0].ticket_id.tolist() == ["0", "1", *["d2-0", "d2-1"] * 2], "beside another desk, too"
    half.loc[2, "created"] += pd.Timedelta(days=1)
    assert tell_desks(half)[0].ticket_id.tolist() == ["0", "1", "d2-0", "d2-1"]


def test_many_exports_of_one_desk_are_compared_without_all_pairs_of_their_rows():
    """Of two hundred daily exports of a hundred tickets each there are four million pairs."""
    daily = [rows_of(f"{n:03d}", range(100), 5) for n in range(200)]
    rows = pd.concat([*daily, rows_of("other", range(2), 9)], ignore_index=True)
    tracemalloc.start()
    apart, sentence = tell_desks(rows)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert apart.ticket_id.tolist() == [*map(str, range(100))] * 200 + ["d2-0", "d2-1"]
    assert sentence.startswith("2 ids of tickets stand in files of 2 desks")
    assert most < 50e6


def test_of_two_rows_the_newer_stays_and_the_older_is_named_with_what_differs():
    old = rows_of("a", [1, 2], 5, state=["open", "open"], subject=["x", None])
    new = old.assign(file="b", state=["closed", "open"])
    new.loc[0, "lastupdate"] += pd.Timedelta(days=1)
    kept, others = newest_rows(pd.concat([new, old], ignore_index=True), ["ticket_id", "created", "lastupdate", "state", "subject"])
    assert kept.set_index("ticket_id").state.to_dict() == {"1": "closed", "2": "open"}
    assert others.set_index("ticket_id").differs.to_dict() == {"1": "lastupdate, state", "2": ""}


def test_a_bar_in_a_description_costs_no_account():
    bad = []
    lines = [
        *["User|Def Acct|", "Ada|chem|", "Account|Descr|Org|", "chem|a | b|chemistry|", "phys|a | b | c|Physics|", "short|x|"],
        *["Account|Org", "bio|life | sciences", "|nobody", ""],
    ]
    assert sacctmgr.read_accounts([line + "\n" for line in lines], bad) == (
        {"ada": "chem"},
        {"chem": "chemistry", "phys": "physics", "bio": "life | sciences"},
    )
    assert bad == [(6, "3 columns, not 4"), (9, "no name of a user or account")]
    assert sacctmgr.FORMATS["account"] == "Account,Org"


def test_the_origin_of_an_entry_that_was_moved():
    found = [origin_of(data) for data in ('{"thread": 17}', '{"thread":"17"}', b'{"thread":17}', "{}", "", None)]
    assert found == [17, 17, 17, None, None, None]


def test_sites_are_read_in_any_case_and_a_name_of_two_sites_is_refused(tmp_path):
    path = tmp_path / "sites.yaml"
    path.write_text("HARBOR-T2: [Harbor, 'Große  Straße']\nLAGOON: []\n", encoding="utf-8")
    names = {"harbor-t2": "HARBOR-T2", "harbor": "HARBOR-T2", "grosse strasse": "HARBOR-T2", "lagoon": "LAGOON"}
    assert read_sites(str(path)) == names
    assert read_sites("") == {}
    path.write_text("A: [Pier]\nB: [PIER]\n")
    with pytest.raises(ValueError, match="'PIER' names two sites, A and B"):
        read_sites(str(path))


def test_a_log_rank_test_is_made_or_says_why_not():
    rng = np.random.default_rng(3)
    hours, seen, group = rng.exponential(5, 80), np.ones(80, bool), np.repeat(["a", "b"], 40)
    assert log_rank(hours, seen, group).p_value > 0.01
    assert log_rank(np.where(group == "a", hours, 50 + hours), seen, group).p_value < 1e-6, "separated, and yet a test"
    young = np.append(hours, [hours.min() / 2] * 20), np.append(seen, [False] * 20), np.append(group, ["new"] * 20)
    found = log_rank(*young)
    assert found.left_out == ["new"]
    assert found.p_value == pytest.approx(log_rank(hours, seen, group).p_value)
    only = log_rank(*(values[40:] for values in young))
    assert (np.isnan(only.p_value), only.left_out) == (True, ["new"])
    assert only.why == "only one group has tickets as old as the shortest wait that ended"
    assert log_rank(hours, ~seen, group).why == "no wait has ended yet in any group"
    assert log_rank([1, 2], [True, True], ["a", "a"]).why == "there are fewer than two groups of enough tickets"
    assert log_rank([], [], []).why == "there are fewer than two groups of enough tickets"


def test_estimates_of_few_or_equal_values_are_numbers_or_missing():
    assert kaplan_meier_median([1, 2, 3], [True] * 3)[0] == 2
    assert kaplan_meier_median([5, 5], [False, False]) == (np.inf,) * 3
    assert kaplan_meier_median([0, 0], [True, True])[0] == 0
    assert welch_ratio([0, 0], [np.log(0.5)] * 2)[0] == pytest.approx(2)
    assert np.isnan(welch_ratio([1, 1], [2, 2])[1:]).all(), "no spread, no interval"
    assert np.isnan(welch_ratio([1], [2, 3])).all()
    ratio, low, high = welch_ratio(np.log([2.0, 2.1, 1.9]), np.log([1.0, 1.1, 0.9]))
    assert low < ratio < high
    assert ratio == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("history", "verdict", "reason"),
    [
        ((900, True, 90, ["backlog"]), "ok", ""),
        ((0, False, 0, []), "too little history", "there is no ticket."),
        ((60, False, 0, []), "too little history", "the source gives no times of creation"),
        ((1, True, 1, []), "too little history", "a past of 1 week with 1 ticket is too short; a test needs 34 weeks of memory"),
    ],
)
def test_the_verdict_on_the_history_has_its_reason(history, verdict, reason):
    found, why = history_verdict(*history, least_weeks=34)
    assert found == verdict
    assert reason in why
