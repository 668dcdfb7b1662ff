"""The extraction of tickets from every kind of file, on hand-made rows good and bad, with values asserted."""

import json
import shutil
import sqlite3
import time
from collections import Counter

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REAL_DATA, refused, run_cells, run_here, within
from hypothesis import given, settings
from hypothesis import strategies as st
from osticket_tables import MERGES, NAMES, assert_own_words, entry, merged_tables, rows_of, thread, ticket, write_sqlite

from nightshift.sources.tickets.times import ticket_times

NOTEBOOK = "tickets/1_extract.ipynb"
ACCOUNTS = "User|Def Acct\nlomi1|phys-a\nLoMi2|chem\nlomi3|\n"
ORGS = "Account|Descr|Org\nphys-a|group a|physics\nchem|chemistry|chemistry\nroot|default|root\n"


def raw(products):
    return products / "data/raw/tickets"


def extracted(products, source, **parameters):
    """The raw table, the status and what the notebook shows."""
    page = run_here(NOTEBOOK, products, source=str(source), **{"day": "2026-01-31"} | parameters)
    table = pd.read_parquet(raw(products) / "tickets.parquet")
    status = json.loads((raw(products) / "status.json").read_text())
    assert status["rows"] == len(table)
    assert list(table)[:7] == ["ticket_id", "number", "address", "user_name", "subject", "body", "format"]
    assert list(table)[7:] == [
        *["created", "closed", "lastupdate", "first_response", "status", "state", "priority", "urgency", "help_topic", "queue"],
        *["thread", "messages", "replies", "label"],
    ]
    assert table.dtypes[["urgency", "messages", "replies"]].astype(str).tolist() == ["Int64"] * 3
    assert table.dtypes[["created", "closed"]].astype(str).tolist() == ["datetime64[us, UTC]"] * 2
    return table, status, page


def not_extracted(products, source, **parameters):
    """The one line with which the extraction ends, after which nothing is there that was not there before."""
    before = sorted(raw(products).rglob("*")) if raw(products).exists() else []
    line = refused(run_here, NOTEBOOK, products, source=str(source), **parameters)
    assert (sorted(raw(products).rglob("*")) if raw(products).exists() else []) == before
    return line


def write(path, text):
    path.write_text(text)
    return path


def test_a_ticket_of_osticket_is_one_row_whatever_hangs_on_it(tmp_path):
    rows = rows_of(range(1, 10))
    times = {"closed": "2026-01-06 10:00:00", "lastupdate": "2026-01-30 10:00:00"}
    rows["ost_ticket"][0] |= times | {"status_id": 3}
    rows["ost_ticket"][1] |= {"user_id": 77, "dept_id": 77, "topic_id": 0, "status_id": 77}  # of which nobody knows
    rows["ost_user_email"].append({"id": 99, "user_id": 1, "address": "second@uni.example"})
    rows["ost_thread"] += [thread(101, 3, "C"), thread(102, 4, "T"), thread(103, 5, "A"), thread(104, 888)]
    rows["ost_thread"].remove(thread(6, 6))
    rows["ost_thread_entry"] += [
        entry(501, 102, "R", "2026-01-05 09:00:00", "early, by a higher id"),
        entry(502, 102, "M", "2026-01-05 08:00:00", "early, by a higher id"),
        entry(503, 103, "M", "2026-01-01 00:00:00", "of the task 5, not of the ticket 5"),
    ]
    for i, priority in enumerate(["1", "", "3,Normal", None, " 2 ", "04", "9", "high"]):
        rows["ost_ticket__cdata"][i]["priority"] = priority
    rows["ost_ticket__cdata"].pop()
    table, _, page = extracted(tmp_path, write_sqlite(tmp_path / "osticket.sqlite", rows))
    assert table.ticket_id.tolist() == [str(i) for i in range(1, 10)]
    assert table.thread.fillna("none").tolist() == ["T", "T", "C", "T", "T", "none", "T", "T", "T"]
    assert table.urgency.fillna(0).tolist() == [4, 0, 2, 0, 3, 1, 0, 0, 0]
    assert table.priority.fillna("").tolist() == ["low", "", "high", "", "normal", "emergency", "", "", ""]
    assert table.messages.tolist() == [1, 1, 1, 2, 1, 0, 1, 1, 1]
    assert table.replies.tolist() == [2, 2, 2, 3, 2, 0, 2, 2, 2]
    assert table.body[3].startswith("0 of 4: "), "the first by its id"
    assert table.body[4].startswith("0 of 5: ")
    assert table.first_response[3] == pd.Timestamp("2026-01-05 13:00", tz="UTC")
    assert table.isna().loc[1, ["address", "user_name", "help_topic", "queue", "status", "state"]].all()
    assert table.isna().loc[5, ["body", "first_response"]].all()
    assert table.isna().loc[8, ["subject", "priority"]].all()
    assert table.loc[0, ["state", "status", "queue", "help_topic"]].tolist() == ["closed", "Closed", "Front desk", "Batch"]
    assert table.loc[0, ["closed", "lastupdate"]].astype(str).tolist() == ["2026-01-06 09:00:00+00:00", "2026-01-30 09:00:00+00:00"]
    assert "1 tickets were merged into another" in page


def test_merged_tickets_keep_their_own_words(tmp_path):
    table, _, page = extracted(tmp_path, write_sqlite(tmp_path / "a.sqlite", merged_tables(), MERGES))
    assert_own_words(table)
    assert "2 tickets were merged into another" in page
    old = merged_tables()
    old.pop("ost_thread_entry_merge")
    for row in old["ost_thread_entry"]:
        row.pop("flags")
    table, _, _ = extracted(tmp_path, write_sqlite(tmp_path / "b.sqlite", old))
    by_id = table.set_index("ticket_id")
    assert by_id.body["2"] == "M of 2", "without flags, what is older than the ticket is not its own"
    assert by_id.first_response["2"] == pd.Timestamp("2026-01-05 17:00:01", tz="UTC")


def test_times_of_the_server_become_utc_and_the_two_odd_hours_are_counted(tmp_path):
    times = {
        "2025-07-01 12:00:00": "2025-07-01 10:00",
        "2025-10-26 01:30:00": "2025-10-25 23:30",
        "2025-10-26 02:30:00": "2025-10-26 00:30",  # shown twice: the first
        "2025-10-26 03:30:00": "2025-10-26 02:30",
        "2025-03-30 02:30:00": "2025-03-30 01:00",  # never shown: the end of the gap
        "0000-00-00 00:00:00": None,
        "soon": None,
    }
    rows = rows_of([]) | {"ost_ticket": [ticket(i, at) for i, at in enumerate(times)]}
    table, status, page = extracted(tmp_path, write_sqlite(tmp_path / "a.sqlite", rows))
    assert [None if pd.isna(at) else f"{at:%Y-%m-%d %H:%M}" for at in table.created] == list(times.values())
    counted = {name: status[name] for name in ("doubled", "skipped", "unreadable")}
    assert counted == {"doubled": 2, "skipped": 2, "unreadable": 2}, "created and lastupdate of each"
    assert status["state"] == "stale"
    assert "2 times lie in the hour that autumn shows twice" in page
    table, _, _ = extracted(tmp_path, tmp_path / "a.sqlite", timezone="UTC")
    assert f"{table.created[2]:%Y-%m-%d %H:%M}" == "2025-10-26 02:30"


@settings(deadline=None)
@given(st.datetimes(pd.Timestamp("2000-01-01"), pd.Timestamp("2037-12-31")), st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]))
def test_a_time_with_its_zone_reads_back_and_one_without_is_that_of_the_server(moment, timezone):
    utc = pd.Timestamp(moment).floor("us").tz_localize("UTC")
    local = utc.tz_convert(timezone)
    texts = [utc.isoformat(), local.isoformat(), str(utc.tz_localize(None)) + "Z", str(local.tz_localize(None))]
    read = ticket_times(pd.Series(texts, dtype="string"), timezone, Counter())
    assert read[:3].tolist() == [utc] * 3
    assert read[3] in (utc, utc - pd.Timedelta(hours=1)), "in the doubled hour the first is taken"


def test_any_csv_with_names_given_or_not_and_line_breaks_within_cells(tmp_path):
    text = "\n".join(
        [
            "Key;subject;body;created;closed;urgency;Kind",
            'A-1;Hello;"two\nlines; and ""quotes""";2026-01-30T10:00:00+01:00;2026-01-30 12:00;1;x',
            "A-2;null;NA;2026-01-30T10:00:00Z;;two;y",
            "A-3;short;row",
            "A-4;a;b;c;d;e;f;g",
            " ;no key;b;2026-01-30;;;",
            "A-1;Again;;2026-01-31;yesterday;;x",
        ]
    )
    table, status, page = extracted(tmp_path, write(tmp_path / "t.csv", text + "\n"), columns={"ticket_id": "Key", "label": "Kind"})
    assert table.ticket_id.tolist() == ["A-1", "A-2"]
    assert table.subject.tolist() == ["Again", "null"], "of two the last, where nobody knows which was changed last"
    assert table.body.fillna("").tolist() == ["", "NA"]
    assert table.created.astype(str).tolist() == ["2026-01-30 23:00:00+00:00", "2026-01-30 10:00:00+00:00"]
    assert table.label.tolist() == ["x", "y"]
    assert table.isna()[["number", "address", "first_response", "state", "thread", "messages"]].all(axis=None)
    assert (status["state"], status["bad_lines"], status["copies"], status["unreadable"]) == ("partial", 3, 1, 2)
    bad = pd.read_csv(raw(tmp_path) / "bad_lines.csv")
    assert sorted(zip(bad.line, bad.reason, strict=True)) == [(3, "3 columns, not 7"), (4, "8 columns, not 7"), (5, "no ticket_id")]
    assert bad.text.isna().all(), "no text of a ticket leaves the table"
    assert "1 copies of a ticket" in page
    first, _, _ = extracted(tmp_path, write(tmp_path / "one.csv", "\n".join(text.split("\n")[:3])), columns={"ticket_id": "Key"})
    assert first.body[0] == 'two\nlines; and "quotes"'


def test_of_two_rows_of_a_ticket_the_one_changed_last_stays(tmp_path):
    rows = ["ticket_id,subject,lastupdate", "1,new,2026-01-30 10:00", "1,old,2026-01-29 10:00", "1,unknown,", "10,x,", "9,y,"]
    table, status, _ = extracted(tmp_path, write(tmp_path / "a.csv", "\n".join(rows)))
    assert table[["ticket_id", "subject"]].to_numpy().tolist() == [["1", "new"], ["9", "y"], ["10", "x"]]
    assert status["copies"] == 2


def test_an_older_row_that_differs_is_named_and_ids_of_two_desks_are_told_apart(tmp_path):
    head = "ticket_id,subject,created,lastupdate,state\n"
    write(tmp_path / "d1.csv", head + "1,a,2026-01-20 10:00,2026-01-20 10:00,open\n2,b,2026-01-21 10:00,,open\n")
    write(tmp_path / "d2.csv", head + "1,a,2026-01-20 10:00,2026-01-30 10:00,closed\n2,b,2026-01-21 10:00,,open\n")
    table, status, page = extracted(tmp_path, tmp_path / "d?.csv")
    assert table.state.tolist() == ["closed", "open"]
    assert (status["copies"], status["older"]) == (2, 1)
    [older] = pd.read_csv(raw(tmp_path) / "superseded.csv").itertuples(index=False)
    assert (older.ticket_id, older.file.endswith("d1.csv"), older.row, older.differs) == (1, True, 1, "lastupdate, status, state")
    assert "1 of the copies differ in something from the newer row that stays" in page
    write(tmp_path / "d3.csv", head + "1,z,2026-01-11 10:00,,open\n")
    table, _, page = extracted(tmp_path, tmp_path / "d?.csv")
    assert table.ticket_id.tolist() == ["1", "2", "d2-1"]
    assert "1 ids of tickets stand in files of 2 desks for different tickets" in page


FORMS = {
    "t.csv": "ticket_id;subject;created;closed;state\n1;Größe;30.01.2026 10:00;30.01.2026 12:00:05;Geschlossen\n2;b;31.01.2026 09:00;;Offen\n",
    "us.csv": "Ticket_ID,Subject,Created,Closed,State\n1,Größe,01/30/2026 10:00 AM,01/30/2026 12:00:05 PM,Resolved\n2,b,1/31/2026 9:00,,New\n",
    "t.json": '[{"ticket_id": 1, "subject": "Größe", "created": 1769763600, "closed": 1769770805000, "state": {"id": 4, "name": "closed"}},'
    ' {"ticket_id": 2, "subject": "b", "created": 1769846400, "closed": null, "state": {"id": 1, "name": "new"}}]',
    "t.jsonl": '{"ticket_id": "1", "subject": "Größe", "created": "2026-01-30T09:00:00Z", "closed": "2026-01-30T11:00:05Z", "state": "done"}\n'
    '{"ticket_id": "2", "subject": "b", "created": "2026-01-31T08:00:00Z", "state": "in progress"}\n',
}


@pytest.mark.parametrize("name", FORMS)
def test_tables_of_every_desk_give_the_same_tickets(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8")
    table, status, page = extracted(tmp_path, tmp_path / name)
    assert table[["ticket_id", "subject"]].to_numpy().tolist() == [["1", "Größe"], ["2", "b"]]
    assert table.created.dt.strftime("%d %H:%M").tolist() == ["30 09:00", "31 08:00"]
    assert table.closed[0] == pd.Timestamp("2026-01-30 11:00:05Z")
    assert table.closed.isna()[1]
    assert (status["state"], status["unreadable"]) == ("ok", 0)
    assert "2 tickets, of which 1 are open; the data are ok." in page


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "subject,created\na,last Tuesday\n", "column 'created' holds no time that can be read, such as 'xxxx xxxxxxx': it needs"),
        ("t.csv", "subject,created\na,01/02/2026\n", "column 'created' holds dates such as '01/02/2026', and the file does not tell whether"),
        ("t.csv", "subject,opened_at\na,2026-01-30 10:00\n", "no column is `created`, though 'opened_at' holds times such as '2026-01-30 10:00'"),
        ("t.json", '{"a": [{}], "b": [{}]}', "it is a JSON object with 2 lists of objects"),
        ("t.xlsx", "PK\x03\x04stuff", "it is a zip archive or a spreadsheet (.xlsx): needed is text such as CSV in UTF-8"),
        ("t.csv", "\ufffesubject", "in UTF-8"),
    ],
)
def test_a_layout_that_is_not_understood_is_one_line_with_file_column_and_example(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content.encode("utf-16") if content.startswith("\ufffe") else content.encode())
    refusal = not_extracted(tmp_path, tmp_path / name)
    assert message in refusal
    assert name in refusal
    if "opened_at" in content:
        table, _, _ = extracted(tmp_path, tmp_path / name, columns={"created": ""})
        assert table.created.isna().all()
        assert extracted(tmp_path, tmp_path / name, columns={"created": "opened_at"})[0].created.notna().all()


def test_a_state_beats_a_date_and_what_matches_nothing_warns(tmp_path):
    rows = ["1,a,closed,2026-01-30 12:00", "2,b,open,2026-01-30 12:00", "3,c,Reopened,2026-01-30 12:00", "4,d,resolved,"]
    rows += ["5,e,wibble,", "6,f,parked,"]
    source = write(tmp_path / "t.csv", "\n".join(["ticket_id,subject,state,closed", *rows]))
    labels = write(tmp_path / "labels.csv", "ticket_id,label\n99,x\n")
    accounts = write(tmp_path / "accounts.txt", "User|Def Acct\nada|chem\nAccount|Org\nchem|chemistry\n")
    given_states = {"Parked": "open", "frozen": "closed"}
    names, page = run_cells(NOTEBOOK, tmp_path, source=str(source), day="2026-01-31", states=given_states, labels=str(labels),
                            accounts=str(accounts))  # fmt: skip
    assert "6 tickets, of which 4 are open" in page
    assert "2 tickets are open by their state though they have a closing date: they were opened again, and wait. 1 are closed by their" in page
    warnings = "\n".join(names["RECORDED"]["warnings"])
    assert "1 of 6 tickets have a state of unknown meaning (“wibble” 1)" in warnings
    assert "The parameter states names what no ticket has: frozen." in warnings
    assert "None of the 1 labels of" in warnings
    table = pd.read_parquet(raw(tmp_path) / "tickets.parquet")
    assert table[["state", "status"]].to_numpy().tolist()[5] == ["open", "parked"]


def test_without_ids_the_number_of_the_row_is_taken_over_all_files(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.csv", f"title,kind\n{name}1,k\n{name}2,k\n")
    table, status, page = extracted(tmp_path, tmp_path / "?.csv", columns={"subject": "title", "label": "kind"})
    assert dict(zip(table.ticket_id, table.subject, strict=True)) == {"1": "a1", "2": "a2", "3": "b1", "4": "b2"}
    assert "No column is an id: the number of a row is taken for it" in page
    assert (status["state"], status["newest"]) == ("ok", None)
    write(tmp_path / "c.csv", "ticket_id,title\n1,x\n")
    assert "extract the two apart" in not_extracted(tmp_path, tmp_path / "?.csv", columns={"subject": "title"})


@pytest.mark.parametrize("dictionary", [False, True])
def test_parquet_with_types_of_its_own(tmp_path, dictionary):
    subjects = pa.array(["a", "b", None])
    columns = {
        "ticket_id": pa.array([7.0, 8.0, 1234567890123.0]),
        "subject": subjects.dictionary_encode() if dictionary else subjects,
        "created": pa.array([1769853600, 1769853601, None], pa.timestamp("s", "America/New_York")),
        "closed": pa.array([1769853600_000, 1769857200_000, None], pa.timestamp("ms")),
        "replies": pa.array([1, None, 3]),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table, status, _ = extracted(tmp_path, tmp_path / "t.parquet")
    assert table.ticket_id.tolist() == ["7", "8", "1234567890123"]
    assert table.created[:2].astype(str).tolist() == ["2026-01-31 10:00:00+00:00", "2026-01-31 10:00:01+00:00"]
    assert table.isna()[["created", "closed", "subject"]].sum().tolist() == [1, 1, 1]
    assert table.closed.astype(str)[1] == "2026-01-31 10:00:00+00:00", "11:00 in Berlin"
    assert table.replies.fillna(-1).tolist() == [1, -1, 3]
    assert status["unreadable"] == 0
    pq.write_table(pa.table({"subject": pa.array([["a"]])}), tmp_path / "lists.parquet")
    assert "a column of it holds list" in not_extracted(tmp_path / "b", tmp_path / "lists.parquet")


def test_hostile_text_loses_no_ticket_and_shows_nowhere(tmp_path):
    hostile = ["<script>alert(1)</script>", "a\0b", "\u202eright to left", "x" * 10_000, "=cmd()", "🧪", "[a](javascript:b)", 'q"u"ote', "tab\there"]
    frame = pd.DataFrame({"ticket_id": range(len(hostile)), "subject": hostile, "body": [f"{text}\r\nline\n{text}" for text in hostile]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    rows = rows_of(range(len(hostile)))
    rows["ost_ticket__cdata"] = [{"ticket_id": i, "subject": text, "priority": text} for i, text in enumerate(hostile)]
    write_sqlite(tmp_path / "t.sqlite", rows)
    for name in ("t.csv", "t.parquet", "t.sqlite"):
        table, status, page = extracted(tmp_path / name[2:], tmp_path / name)
        assert table.subject.tolist() == hostile, name
        assert status["bad_lines"] == 0
        assert not any(text in page for text in hostile)
        if name != "t.sqlite":
            assert [text.replace("\r\n", "\n") for text in table.body] == [text.replace("\r\n", "\n") for text in frame.body], name


def test_bytes_that_are_no_text_cost_no_ticket(tmp_path):
    path = write_sqlite(tmp_path / "a.sqlite", rows_of([1, 2]))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ost_ticket__cdata SET subject = CAST(X'4DFC' AS TEXT) WHERE ticket_id = 1")
    connection.close()
    table, _, _ = extracted(tmp_path, path)
    assert table.subject.tolist() == ["M\ufffd", "Job 2 waits 🙂"]


def test_users_get_the_organisation_of_their_account_and_its_school(tmp_path):
    source = write_sqlite(tmp_path / "a.sqlite", rows_of([1, 2, 3, 4]))
    write(tmp_path / "accounts.txt", ACCOUNTS + "|phys-a\n" + ORGS + "broken|line\n |nameless|physics\n")
    organisations = {"Physics": "Natural sciences", "Alchemy": "None"}
    _, status, page = extracted(tmp_path, source, accounts=str(tmp_path / "accounts.txt"), schools=organisations)
    users = pd.read_parquet(raw(tmp_path) / "users.parquet")
    assert users.to_numpy().tolist() == [
        ["lomi1", "phys-a", "physics", "Natural sciences"],
        ["lomi2", "chem", "chemistry", ""],
        ["lomi3", "", "", ""],
    ]
    assert status["users"] == 3
    assert status["bad_lines"] == 3
    assert pd.read_csv(raw(tmp_path) / "bad_lines.csv").reason.tolist().count("no name of a user or account") == 2
    assert "Of the 2 departments in schools, 1 are none that Slurm knows: alchemy." in page
    assert "Of 3 names that wrote tickets, 2 have a department" in page
    extracted(tmp_path, source)
    assert pd.read_parquet(raw(tmp_path) / "users.parquet").empty, "the sample's accounts are not those of another source"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Dear reader,\n", "it is no output of sacctmgr --parsable2 with its header"),
        ("Cluster|Account|User\ntoy|a|b\n", "it is no output of sacctmgr"),
        (ACCOUNTS, "names no account: it needs both tables of sacctmgr"),
        (ORGS, "names no user: it needs both tables of sacctmgr"),
    ],
)
def test_accounts_of_another_form_are_one_line(tmp_path, text, message):
    source = write_sqlite(tmp_path / "a.sqlite", rows_of([1]))
    assert message in not_extracted(tmp_path, source, accounts=str(write(tmp_path / "x.txt", text)))


def only_program(folder, monkeypatch, sacctmgr):
    """Make `sacctmgr`, a shell script or None, the only sacctmgr of this machine."""
    folder.mkdir()
    for name in ("sh", "sleep"):
        (folder / name).symlink_to(shutil.which(name))
    if sacctmgr:
        (folder / "sacctmgr").write_text(sacctmgr)
        (folder / "sacctmgr").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (None, "there is no sacctmgr on this machine: save its output where Slurm is, and name that file as accounts"),
        ("#!/bin/sh\nexec sleep 60\n", "sacctmgr gave no answer within 1 s: is slurmdbd up?"),
        ("#!/bin/sh\necho 'sacctmgr: error: Access denied' >&2\nexit 1\n", "sacctmgr failed (1): sacctmgr: error: Access denied"),
    ],
    ids=["none", "silent", "not permitted"],
)
def test_a_live_sacctmgr_that_gives_nothing_is_one_line(tmp_path, monkeypatch, program, message):
    source = write_sqlite(tmp_path / "a.sqlite", rows_of([1]))
    only_program(tmp_path / "bin", monkeypatch, program)
    assert message in not_extracted(tmp_path, source, accounts="sacctmgr", timeout_s=1.0)


def test_labels_come_from_a_file_before_those_of_the_source(tmp_path):
    source = write(tmp_path / "t.csv", "ticket_id,subject,label\n1,a,own\n2,b,own\n")
    labels = write(tmp_path / "labels.csv", "ticket_id,label,remark\n2,given,\n3,nobody,x\n,lost,x\n")
    table, _, _ = extracted(tmp_path, source, labels=str(labels))
    assert table.label.tolist() == ["own", "given"]
    write(labels, "ticket,label\n2,given\n")
    assert "labels.csv has no column ticket_id; it needs ticket_id, label" in not_extracted(tmp_path, source, labels=str(labels))
    labels.write_bytes("ticket_id,label\n2,Grüße\n".encode("latin-1"))
    assert not_extracted(tmp_path, source, labels=str(labels)) == f"{labels} is no text in UTF-8: save it as such"


def test_only_tickets_of_the_window_and_what_is_later_is_said(tmp_path):
    days = ["2026-01-20", "2026-01-27", "2026-01-31", "2026-02-01", ""]
    source = write(tmp_path / "t.csv", "ticket_id,subject,created\n" + "".join(f"{i},s,{day}\n" for i, day in enumerate(days)))
    table, status, page = extracted(tmp_path, source, days=7)
    assert table.ticket_id.tolist() == ["1", "2", "3", "4"]
    assert (status["outside"], status["window"], status["newest"]) == (1, ["2026-01-25", "2026-01-31"], "2026-01-31 23:00:00+00:00")
    assert "3 tickets have a time of creation, 0 of them after the end of the day" in page
    _, _, page = extracted(tmp_path, source, days=7, timezone="UTC")
    assert "3 tickets have a time of creation, 1 of them after the end of the day" in page


@pytest.mark.parametrize(("day", "state"), [("2026-01-06", "ok"), ("2026-01-31", "stale")])
def test_old_data_are_stale(tmp_path, day, state):
    _, status, page = extracted(tmp_path, write_sqlite(tmp_path / "a.sqlite", rows_of([1])), day=day)
    assert status["state"] == state
    assert f"the data are {state}." in page


def test_a_source_without_tickets_is_empty(tmp_path):
    for name, source in (("a", write(tmp_path / "t.csv", "")), ("b", write_sqlite(tmp_path / "a.sqlite", rows_of([])))):
        table, status, page = extracted(tmp_path / name, source)
        assert (len(table), status["state"], status["newest"]) == (0, "empty", None)
        assert status["window"] == ["the beginning", "2026-01-31"]
        assert "0 tickets, of which 0 are open; the data are empty." in page


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"table_prefix": "ost_; DROP TABLE x"}, "table_prefix 'ost_; DROP TABLE x' is no name such as ost_"),
        ({"timezone": "Europe/Nowhere"}, "timezone 'Europe/Nowhere' is no time zone such as Europe/Berlin"),
        ({"timezone": "../etc/passwd"}, "is no time zone such as"),
        ({"page_rows": 0}, "page_rows 0"),
        ({"columns": {"colour": "x"}}, "columns names 'colour'; it can name ticket_id, number"),
        ({"columns": {"queue": "team"}}, "no file has a column 'team', which columns names"),
        ({"columns": {"subject": "a\0b"}}, "no file has a column"),
        ({"source": "sample"}, "run notebooks/simulate.ipynb first"),
        ({"source": "/nowhere/*.csv"}, "no file matches /nowhere/*.csv"),
    ],
)
def test_what_was_told_wrong_is_one_line(tmp_path, parameters, message):
    source = write(tmp_path / "t.csv", "ticket_id,subject\n1,a\n")
    assert message in not_extracted(tmp_path, parameters.get("source", source), **{k: v for k, v in parameters.items() if k != "source"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"ticket_id,title\n1,a\n", "none is subject, and 1 are known (ticket_id): is it title? Then set `columns: {subject: title}`"),
        ("t.csv", "ticket_id,subject\n1,Grüße\n".encode("latin-1"), "t.csv cannot be read: ValueError: it is no text in UTF-8: save it as such"),
        ("t.parquet", b"no parquet", "t.parquet cannot be read: ArrowInvalid"),
        ("t.sqlite", b"SQLite format 3\0" + b"damaged" * 99, "t.sqlite cannot be read: ValueError: file is not a database"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in not_extracted(tmp_path, tmp_path / name)


@pytest.mark.parametrize("columns", [{}, {"subject": "Title", "queue": "Team"}])
def test_a_table_without_headings_shows_no_cell_of_its_first_ticket(tmp_path, columns):
    source = write(tmp_path / "t.csv", "80861,zote.lumbek@x.example,My passphrase\n80862,y@x.example,Other\n")
    message = not_extracted(tmp_path, source, columns=columns)
    assert "of its 3 columns none is subject" in message
    assert "0 are known (none)" in message
    assert all(f"{theirs!r} by `columns`" in message for theirs in columns.values())
    assert not any(secret in message for secret in ("80861", "zote", "lumbek", "x.example", "passphrase"))


@pytest.mark.parametrize("schools", [{"Physics": ["a"]}, {"physics": " "}, {False: "a"}, ["physics"]])
def test_schools_of_a_wrong_form_are_one_line(tmp_path, schools):
    source = write(tmp_path / "t.csv", "ticket_id,subject\n1,a\n")
    assert "schools must give each department the name of its school" in not_extracted(tmp_path, source, schools=schools)


def test_how_many_are_open_is_only_said_where_the_source_says_it(tmp_path):
    for columns, rows, message in (
        ("subject", ["a", "b"], "2 tickets, and how many are open is not known"),
        ("subject,state", ["a,Open", "b,closed", "c,"], "3 tickets, of which 1 are open"),
        ("subject,closed", ["a,2026-01-30 12:00", "b,", "c,"], "3 tickets, of which 2 are open"),
    ):
        _, _, page = extracted(tmp_path, write(tmp_path / "t.csv", "\n".join([columns, *rows])))
        assert message in page
    assert "Newest: 2026-01-30 11:00 UTC." in page


def test_a_database_that_lacks_something_says_what(tmp_path):
    path = write_sqlite(tmp_path / "a.sqlite", rows_of([1]))
    assert "it has no table help_ticket" in not_extracted(tmp_path, path, table_prefix="help_")
    (tmp_path / "b.sqlite").write_bytes(path.read_bytes())
    with sqlite3.connect(tmp_path / "b.sqlite") as connection:
        for name in NAMES:
            connection.execute(f"ALTER TABLE ost_{name} RENAME TO desk_{name}")
    connection.close()
    assert len(extracted(tmp_path, tmp_path / "b.sqlite")[0]) == 1, "the prefix is found"
    for change, message in (
        ("ALTER TABLE ost_ticket__cdata DROP COLUMN priority", "it has no column c.priority: c are the fields of the ticket form"),
        ("DROP TABLE ost_ticket__cdata", "it has no table ost_ticket__cdata: osTicket makes it when its list of tickets is first looked at"),
        ("DROP TABLE ost_thread_entry", "it has no table ost_thread_entry: is it an osTicket, and does table_prefix (ost_) fit?"),
    ):
        with sqlite3.connect(path) as connection:
            connection.execute(change)
        connection.close()
        assert message in not_extracted(tmp_path, path)


def test_a_night_that_fails_leaves_the_last_one(tmp_path):
    source = write(tmp_path / "t.csv", "ticket_id,subject\n1,a\n")
    before, _, _ = extracted(tmp_path, source)
    kept = {path: path.read_bytes() for path in raw(tmp_path).iterdir()}
    assert "none is subject" in not_extracted(tmp_path, write(tmp_path / "u.csv", "ticket_id,title\n2,b\n"))
    assert {path: path.read_bytes() for path in raw(tmp_path).iterdir()} == kept
    assert before.ticket_id.tolist() == ["1"]


def test_three_thousand_tickets_take_less_than_two_seconds(tmp_path):
    path = write_sqlite(tmp_path / "a.sqlite", rows_of(range(1, 3001)))
    extracted(tmp_path, path)  # imports and fonts
    begun = time.process_time()  # of this process: others use the machine, too
    table, _, _ = extracted(tmp_path, path)
    assert len(table) == 3000
    assert within(time.process_time() - begun, 2)


def test_real_questions_without_any_time(tmp_path):
    if not REAL_DATA.exists():
        pytest.skip(f"no real data at {REAL_DATA}")
    table, status, page = extracted(tmp_path, REAL_DATA / "tickets/banking77_test.csv", columns={"subject": "text", "label": "category"})
    assert (len(table), table.label.nunique(), status["state"]) == (3080, 77, "ok")
    assert "Newest: not known, since no time is" in page
    table, status, _ = extracted(tmp_path, REAL_DATA / "tickets/it_tickets_sample.parquet")
    assert (len(table), table.label.nunique(), table.ticket_id.is_unique) == (6000, 8, True)
