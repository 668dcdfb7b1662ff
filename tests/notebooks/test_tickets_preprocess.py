"""Tickets from the raw to the clean table, on hand-made tables good and bad, with values asserted, and what must never be shown."""

import html
import json
import re
import time
from functools import cache

import numpy as np
import pandas as pd
import pytest
from conftest import REAL_DATA, REPOSITORY, execute, refused, run_cells, within
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import helpers

NOTEBOOK, DAY, NOON = "tickets/2_preprocess.ipynb", "2026-01-31", pd.Timestamp("2026-01-30 12:00", tz="UTC")
TEXTS = [
    "ticket_id", "number", "address", "user_name", "subject", "body", "format", "status", "state", "priority", "help_topic", "queue",
    "thread", "label"
]  # fmt: skip
TIMES = ["created", "closed", "lastupdate", "first_response"]
NUMBERS = ["urgency", "messages", "replies"]
COLUMNS = ["ticket_id", "created", "closed", "first_response", "open", "user", "department", "school", "priority", "urgency", "help_topic", "queue"]
COLUMNS += ["site", "subject", "text", "label"]
SAID = {"subject": "Job waits in the queue", "body": "It waits since the morning.", "format": "text"}
FACTS = {"status": "Open", "state": "open", "priority": "Normal", "urgency": 3, "help_topic": "Jobs", "queue": "HPC", "thread": "T"}
KNOWN = pd.DataFrame(
    {"user": [f"u{i}" for i in range(30)], "account": "acc", "department": ["physics", "chemistry", "biology"] * 10, "school": "science"}
)


def ticket(number, **columns):
    """One raw ticket, a plain one of one of 30 users where `columns` say nothing else."""
    own = {"ticket_id": str(number), "address": f"u{number % 30}@campus.example", "created": NOON - pd.Timedelta(hours=number)}
    return dict.fromkeys([*TEXTS, *TIMES, *NUMBERS]) | SAID | FACTS | own | {"body": f"It waits since hour {number}."} | columns


def plain(n=60, first=0, **columns):
    """`n` plain tickets, numbered from `first`."""
    return [ticket(first + i, **columns) for i in range(n)]


def write_raw(products, tickets, users=KNOWN):
    """The raw folder, as the extraction would leave it."""
    table = pd.DataFrame(tickets, columns=list(ticket(0)))
    for column in TIMES:
        table[column] = pd.to_datetime(table[column], utc=True, format="ISO8601")
    kinds = dict.fromkeys(TEXTS, "str") | dict.fromkeys(TIMES, "datetime64[us, UTC]") | dict.fromkeys(NUMBERS, "Int64")
    raw = helpers.study_paths("tickets", products).raw
    helpers.write_parquet(table.astype(kinds), raw / "tickets.parquet")
    helpers.write_parquet(users, raw / "users.parquet")


def preprocessed(products, tickets, users=KNOWN, **parameters):
    """(clean, reasons by id, what the notebook shows); that every ticket is kept or rejected is asserted here too."""
    write_raw(products, tickets, users)
    settings = {"day": DAY, "sites": ""} | parameters
    page = html.unescape(run_cells(NOTEBOOK, products, **settings)[1])
    paths = helpers.study_paths("tickets", products)
    clean, rejected = pd.read_parquet(paths.clean), pd.read_parquet(paths.rejected)
    assert list(clean.columns) == COLUMNS
    assert list(rejected.columns) == ["ticket_id", "reason"]
    ids = {*clean.ticket_id, *rejected.ticket_id}
    assert len(ids) == len(clean) + len(rejected) == len(tickets)
    assert ids - {one for one in ids if re.fullmatch("id-[0-9a-f]{16}", one)} <= {one["ticket_id"] for one in tickets}
    assert (clean[["text", "subject"]].apply(lambda s: s.str.len()) <= settings.get("max_chars", 400)).all(axis=None)
    assert not list(paths.clean.parent.glob(".*")), "a temporary file is left behind"
    return clean.set_index("ticket_id", drop=False), rejected.set_index("ticket_id").reason.to_dict(), page


def counted(page, what):
    """The number beside `what` in the table of counts."""
    return int(re.search(rf"<td>{re.escape(what)}</td>\s*<td>([\d,]+)</td>", page)[1].replace(",", ""))


def test_a_ticket_is_a_row_with_what_was_known_at_the_end_of_the_day(tmp_path):
    end = "2026-02-01T00:00Z"
    times = {
        1: {"state": "closed", "closed": "2026-01-30T20:00Z", "first_response": "2026-01-30T19:00Z", "lastupdate": "2026-01-30T20:00Z"},
        2: {"state": "closed", "closed": "2026-02-01T01:00Z", "first_response": end, "lastupdate": "2026-02-01T01:00Z"},
        3: {"state": "closed", "lastupdate": "2026-01-30T20:00Z"},
        4: {"state": "closed", "lastupdate": "2026-02-02T00:00Z"},
        5: {"state": "closed", "closed": "2020-01-01T00:00Z", "first_response": "2020-01-01T00:00Z"},
        6: {"state": "archived"},
        7: {"state": None},
        8: {"state": "resolved"},
        9: {"state": " Closed"},
        10: {"state": "open", "closed": "2026-02-01T01:00Z", "lastupdate": "2026-02-01T01:00Z"},
        11: {"state": "Reopened", "closed": "2026-01-30T20:00Z", "lastupdate": "2026-01-31T20:00Z"},  # a state beats a date
        12: {"state": "pending reminder", "closed": "2026-01-30T20:00Z"},
        13: {"state": "open", "closed": "2026-01-30T20:00Z", "lastupdate": "2026-02-02T00:00Z"},  # that night saw it closed
        14: {"state": None, "status": "Done"},
        15: {"state": "3", "status": None, "closed": "2026-01-30T20:00Z"},  # nobody knows what it means: the date decides
        16: {"state": "abgelehnt", "closed": "2026-01-30T20:00Z"},
    }
    clean, reasons, page = preprocessed(tmp_path, [ticket(i, **times.get(i, {})) for i in range(60)])
    assert not reasons
    assert clean.open.drop([str(i) for i in times]).all()
    assert [clean.open[str(i)] for i in times] == [
        *[False, True, False, True, False, False, True, False, False, True],
        *[True, True, False, False, False, False],
    ]
    assert set(clean.closed.dropna().index) == {"1", "13", "15", "16"}
    assert set(clean.closed.dropna()) == {pd.Timestamp("2026-01-30T20:00Z")}
    assert "2 tickets have a closing and are open by their state: they were opened again, and that closing is no end." in page
    assert counted(page, "closings of tickets that were opened again") == 2
    assert counted(page, "closed by their state, nobody knows when") == 6
    assert clean.first_response.dropna().to_dict() == {"1": pd.Timestamp("2026-01-30T19:00Z")}
    assert clean.created.is_monotonic_increasing
    assert clean[["created", "closed", "first_response"]].dtypes.eq("datetime64[us, UTC]").all()
    one = clean.loc["1"]
    assert (one.subject, one.text) == ("Job waits in the queue", "Job waits in the queue\nIt waits since hour 1.")
    assert (one.priority, one.urgency, one.help_topic, one.queue, one.site, one.label) == ("Normal", 3, "Jobs", "HPC", "", "")
    assert "**60 of 60 tickets are kept, 0 rejected; they are of 30 users.**" in page
    assert (counted(page, "closings or answers later than the day"), counted(page, "closings or answers before the ticket")) == (3, 2)
    assert counted(page, "kept, open at the end of the day") == 50


def test_tickets_that_are_not_used_have_their_reason_and_nothing_else(tmp_path):
    odd = {
        "deleted": {"state": "deleted"},
        "merged into another": {"thread": "C"},
        "automatic sender": {"address": "NoReply@campus.example"},
        "no readable time": {"created": None},
        "no text": {"subject": "\u200b \u202e\x00", "body": "> you wrote\n", "format": "text"},
        "after the day": {"created": "2026-02-01T00:00Z"},
    }
    tickets = plain() + [ticket(100 + i, **columns) for i, columns in enumerate(odd.values())]
    clean, reasons, page = preprocessed(tmp_path, tickets, drawn=True)
    assert reasons == {str(100 + i): reason for i, reason in enumerate(odd)}
    assert len(clean) == 60
    assert all(counted(page, f"rejected: {reason}") == 1 for reason in odd)
    assert (helpers.study_paths("tickets", tmp_path).plots / "kept.png").stat().st_size > 5000


SENDERS = [  # (address, name, whether it is a machine)
    ("no-reply@x.example", "", True),
    ("DoNotReply@x.example", "", True),
    ("x@campus.example", "No Reply", True),
    ("webform@www.campus.example", "", True),
    ("a@x.example", "Web Form", True),
    ("MAILER-DAEMON@x.example", "", True),
    ("monitoring@nagios.campus.example", "", True),
    ("root@n1.campus.example", "Cron Daemon", True),
    ("u1@campus.example", "Formica Root", False),
    ("rootes@campus.example", "", False),
    ("informant@campus.example", "", False),
    (None, None, False),
]


@pytest.fixture(scope="module")
def senders(tmp_path_factory):
    """The reasons of one ticket per row of SENDERS, by its number: with the patterns of the notebook, and with none."""
    products = tmp_path_factory.mktemp("senders")
    tickets = [*plain(5), *(ticket(100 + i, address=address, user_name=name) for i, (address, name, _) in enumerate(SENDERS))]
    return preprocessed(products, tickets)[1], preprocessed(products, tickets, automatic_senders=[])[1]


@pytest.mark.parametrize("row", range(len(SENDERS)), ids=[f"{address}-{name}" for address, name, _ in SENDERS])
def test_machines_are_known_by_address_or_name(senders, row):
    by_default, without_patterns = senders
    assert (by_default.get(str(100 + row)) == "automatic sender") == SENDERS[row][2]
    assert without_patterns == {}


def test_duplicates_are_what_one_user_says_twice_within_the_time_and_the_first_stays(tmp_path):
    def sent(number, hour, **columns):
        return ticket(
            number, created=NOON + pd.Timedelta(hours=hour), **{"address": "u1@campus.example", "body": "The same.", "subject": "Same"} | columns
        )

    tickets = [*plain(5), sent(10, 0), sent(11, 5, address="U1+x@Campus.Example", subject="Re: same"), sent(12, 20), sent(13, 24.5), sent(14, 24.6)]
    tickets += [sent(15, 1, address="u2@campus.example"), sent(16, 2, body="The same on node017."), sent(17, 3, body="The same on node018.")]
    tickets += [sent(18, 1, address=None), sent(19, 2, address=None)]
    tickets = [tickets[i] for i in np.random.default_rng(1).permutation(len(tickets))]
    clean, reasons, page = preprocessed(tmp_path, tickets)
    assert reasons == {"11": "duplicate of 10", "12": "duplicate of 10", "14": "duplicate of 13"}
    assert counted(page, "rejected: duplicate") == 3
    assert clean.user["18"] == clean.user["19"] == ""
    assert preprocessed(tmp_path, tickets, duplicate_hours=0)[1] == {}


def test_users_have_departments_by_their_address_and_pseudonyms_by_a_key(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_KEY", "secret")
    addresses = ["U3@CAMPUS.example", "u3+tag@students.campus.example", "Kora Lumbe <u3@campus.example>", "u3@elsewhere.example"]
    addresses += ["zote@campus.example", "u3", None, "U3@Elsewhere.Example"]
    by_number = dict(enumerate(addresses, start=100))
    clean, _, page = preprocessed(tmp_path, [*plain(), *(ticket(n, address=address) for n, address in by_number.items())])
    same = [clean.user[str(n)] for n in (3, 33, 100, 101, 102, 105)]
    assert len(set(same)) == 1
    assert re.fullmatch("user-[0-9a-f]{8}", same[0])
    assert clean.user["103"] == clean.user["107"] not in (*same, "")
    assert clean.user["106"] == ""
    assert [clean.department[str(n)] for n in by_number] == ["physics", "physics", "physics", "external", "unknown", "physics", "unknown", "external"]
    assert [clean.school[str(n)] for n in (100, 103, 104)] == ["science", "external", "unknown"]
    assert preprocessed(tmp_path, plain())[0].user["3"] == same[0]
    assert "that stay from night to night" in page
    assert counted(page, "kept, from outside the known domains") == 2
    monkeypatch.setenv("NIGHTSHIFT_KEY", "")
    clean, _, page = preprocessed(tmp_path, plain(), domains=["other.example"])
    assert clean.user["3"] != same[0]
    assert (clean.department == "external").all()
    assert "of this run only" in page


def test_departments_of_few_users_are_other_however_much_these_write(tmp_path):
    users = KNOWN.assign(department=["tiny"] * 4 + ["Small"] * 5 + ["physics"] * 21, school=["lonely"] * 4 + ["science"] * 5 + [""] * 21)
    tickets = [*plain(), *(ticket(60 + i, address=f"U{i % 4}@campus.example") for i in range(20))]  # 28 tickets of the 4 users of tiny
    clean, _, page = preprocessed(tmp_path, tickets, users)
    assert clean.department.value_counts().to_dict() == {"physics": 42, "other": 28, "Small": 10}
    assert clean.school.value_counts().to_dict() == {"unknown": 42, "other": 28, "science": 10}
    assert counted(page, "departments shown as other") == 1
    assert "tiny" not in page
    assert "lonely" not in page
    assert preprocessed(tmp_path, tickets, users, min_group=6)[0].department.value_counts().to_dict() == {"physics": 42, "other": 38}
    assert "tiny" in set(preprocessed(tmp_path, tickets, users, min_group=4)[0].department)


PLAIN_IDS = ["4711", "#4711", "INC-004711", "INC0012345", "REQ_17", "17-A", "2026-000017", "20260131-17#2"]
ODD_IDS = [
    "msg-0296.o.brien8@campus.example", "<17@x.example>", "lumbek8", "lumbek-17", "17_Zoté", "ZOTE17", "node017", "gpu-017", "0049351731000",
    "351-731-1000", "a-17-b", "letters", "12345678901234567890-1", "17 18", "id 17\n", "héllo-1", "/home/x1", "10.1.2.3"
]  # fmt: skip


def test_ids_that_are_no_plain_ones_are_hashed_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_KEY", "secret")
    odd, fine = ([ticket(i, ticket_id=shown, body=f"Said {shown!r}") for i, shown in enumerate(ids)] for ids in (ODD_IDS, PLAIN_IDS))
    person = {"user_name": "Zoté Lumbek", "address": "lumbek8@campus.example"}
    same = {"body": "The same.", "address": "u1@campus.example"}
    rejects = [ticket(50, ticket_id="first.zymurgy@x.example", **same), ticket(50, ticket_id="second.zymurgy@x.example", **same)]
    rejects += [ticket(51, ticket_id="gone.zymurgy", state="deleted")]
    rejects += [ticket(0, ticket_id="tovi-9", user_name="Tovi Rasu", created=NOON + pd.Timedelta(days=3))]  # known from after the day only
    tickets = [*plain(first=1000), *odd, *fine, *rejects, ticket(99, **person)]
    clean, reasons, page = preprocessed(tmp_path, tickets)
    assert set(PLAIN_IDS) <= set(clean.ticket_id)
    hashes = [shown for shown in [*clean.ticket_id, *reasons] if re.fullmatch("id-[0-9a-f]{16}", shown)]
    assert len(hashes) == counted(page, "ids of tickets replaced") == len(ODD_IDS) + 4
    assert f"{len(hashes)} of {len(tickets)} ids of tickets are no plain ones and became a hash, which stays from night to night" in page
    assert sorted(reason.partition(" of ")[0] for reason in reasons.values()) == ["after the day", "deleted", "duplicate"]
    original = next(reason for reason in reasons.values() if reason.startswith("duplicate")).removeprefix("duplicate of ")
    assert clean.text[original].endswith("The same.")
    seen = "\n".join([*clean.ticket_id, *reasons, *reasons.values(), page])
    assert not [secret for secret in ("brien", "zymurgy", "lumbek", "tovi", "Zot", "node017", "@") if secret in seen]
    pd.testing.assert_frame_equal(clean, preprocessed(tmp_path, tickets[::-1])[0])
    monkeypatch.setenv("NIGHTSHIFT_KEY", "")
    other, more, page = preprocessed(tmp_path, tickets)
    assert not {*other.ticket_id, *more} & set(hashes)
    assert "ids of tickets are no plain ones and became a hash, which is of this run only" in page


def test_a_word_is_shown_when_enough_users_wrote_it(tmp_path):
    tickets = [ticket(i, subject="Quota exceeded", address=f"u{i % 4}@campus.example") for i in range(40)]
    tickets += [
        ticket(40, address="u4@campus.example", body="The QUOTA, again."),
        ticket(41, subject="Zotero zymurgy Quota exceeded", address="u5@campus.example"),
    ]
    clean, _, page = preprocessed(tmp_path, tickets)
    assert clean.subject["0"] == "Quota exceeded"  # "exceeded" of u0 to u3 and u5, "quota" of u4 too
    assert clean.subject["41"] == "… Quota exceeded"
    assert "Zotero zymurgy" in clean.text["41"]
    assert counted(page, "words of subjects, shown as dots") >= 2
    fewer = preprocessed(tmp_path, tickets[:41])[0]
    assert fewer.subject["0"] == "Quota …"
    nobody = [one | {"address": None} for one in tickets]
    clean, _, page = preprocessed(tmp_path, nobody)
    assert clean.subject["0"] == "Quota exceeded"
    assert "The source knows no users" in page
    assert preprocessed(tmp_path, [*nobody[:41], ticket(41, address="u1@campus.example")])[0].subject["0"] == "…"  # all unknown ones count as one


def test_sites_are_found_by_what_people_call_them_and_never_masked(tmp_path):
    lists = tmp_path / "places.yaml"
    lists.write_text("HARBOR-T2: [Harbor, harbour]\nDELTA-T1: [Delta]\n")
    texts = {
        100: ("HARBOR is down", ""),
        101: ("down", "it is delta, not harbor"),
        102: ("host harbor.x.example", ""),
        103: ("deltas", ""),
        104: ("HARBOR-T2: down", ""),
    }
    tickets = [*plain(), *(ticket(n, subject=subject, body=body, user_name="Delta Harbor") for n, (subject, body) in texts.items())]
    clean, _, page = preprocessed(tmp_path, tickets, sites=str(lists))
    assert [clean.site[str(n)] for n in texts] == ["HARBOR-T2", "DELTA-T1", "", "", "HARBOR-T2"]
    assert clean.subject["100"].startswith("HARBOR")
    assert clean.text["101"] == "down\nit is delta, not harbor"
    assert clean.subject["104"].startswith("HARBOR-T2: ")
    assert counted(page, "kept, that name a site") == 3


FIRST = ["Käro", "Lúma", "Zoté", "Mirå", "Fébo", "Tovi", "Rasu", "Dölo", "Pagu", "Niva"]
LAST = [
    "Bumkral", "Zorüdim", "O'Takfen", "Lömba-Ritsev", "Vañkodur", "Weißpok", "Dåltrim", "Gørfelk", "Łuntzap", "Šemkrod", "Hipdraz",
    "Jukvoln", "Cipmard", "Nebsuld", "Quarfip", "Trigvem", "Yolkdast", "Mürbzek", "Fatkliss", "Ekvonurt"
]  # fmt: skip
PLANTED = [(first, last) for first in FIRST for last in LAST]
FORMS = [
    "{f} {l} has a problem", "Account of {l}, {f}", "{L} cannot login", "new password for {u}", "{u}@campus.example is wrong",
    "mail to {f}.{a} (at) campus dot example", "login {u}@login1.x.example fails", "no access to /home/{u}/data",
    "C:\\Users\\{f} {l}\\x.txt is gone", "~{u}/run fails", "node {u}-pc07.x.example down", "call {f} {l} at {p}", "Re: AW: [HPC] {l}",
    "{f}\u200b {l}\u202e", "<b>{l}</b>", "=cmd({l})", "[{l}](http://{u}.example)", "{a} ask Prof. {l}", "Dr. {L}: quota", "{u} quota"
]  # fmt: skip
BODIES = [
    "Dear {f},\n\nit fails. My name is {f} {l}, user {u}, phone {p}.\n\nBest regards,\n{f} {l}",
    "it fails\n-- \n{f} {l}\n{u}@campus.example\nTel. {p}",
    "<p>Hi {f},</p><p>it <b>fails</b> at {u}.x.example, see <a href='https://x.example/~{u}'>{f} {l}</a></p><p>Gru&szlig;, {f}</p>",
    "it fails\n\nAm Montag schrieb {f} {l}:\n> {l}", "Von: {f} {l}\nGesendet: heute\n{l}",
    "{l} {L} {a} {A} {f}: scp {u}@10.1.2.3:/scratch/{u}/x . {p}"
]  # fmt: skip


def planted(number, form, body):
    """A ticket in which the person `number` stands in many forms, and all that must not be seen of it."""
    first, last = PLANTED[number]
    fold = from_plain(last)
    own = {
        "f": first,
        "l": last,
        "L": last.upper(),
        "a": fold,
        "A": fold.upper(),
        "u": f"{from_plain(first)[0]}{re.sub('[^a-z]', '', fold)}",
        "p": f"+49 351 {7310000 + number * 37}",
    }
    subject, body = form.format(**own), body.format(**own)
    secret = {w for w in re.split(r"[\s'-]+", f"{first} {last} {fold} {from_plain(first)}".lower()) if len(w) > 3} | {
        own["u"],
        str(7310000 + number * 37),
    }
    kind = "html" if body.startswith("<p>") else "text"
    return ticket(
        number,
        subject=subject,
        body=body,
        format=kind,
        user_name=f"{first} {last}",
        address=f"{own['u']}@campus.example",
        created=NOON - pd.Timedelta(minutes=number),
    ), secret


def from_plain(name):
    import unicodedata

    name = name.lower().replace("ß", "ss").replace("ø", "o").replace("ł", "l")
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def test_no_planted_name_address_host_path_or_phone_is_seen_anywhere(tmp_path):
    pairs = [planted(i, FORMS[i % len(FORMS)], BODIES[i % len(BODIES)]) for i in range(200)]
    more = [
        ticket(
            1000 + i,
            subject=pairs[i][0]["subject"],
            address=f"u{i % 30}@campus.example",
            body=pairs[(i + 7) % 200][0]["body"],
            format=pairs[(i + 7) % 200][0]["format"],
        )
        for i in range(200)
    ]
    write_raw(tmp_path, [*(one for one, _ in pairs), *more, *plain(first=5000)])
    executed = execute(NOTEBOOK, tmp_path, day=DAY, sites="")
    paths = helpers.study_paths("tickets", tmp_path)
    clean, rejected = pd.read_parquet(paths.clean), pd.read_parquet(paths.rejected)
    assert len(clean) + len(rejected) == 460
    outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
    for out in outputs:
        out.get("data", {}).pop("image/png", None)  # whose bytes, as letters, hold any four letters by chance
    seen = "\n".join([clean.to_csv(), rejected.to_csv(), json.dumps(outputs, ensure_ascii=False)]).lower()
    seen += from_plain(seen)
    secrets = set().union(*(secret for _, secret in pairs))
    assert len(secrets) > 400
    assert not {secret for secret in secrets if secret in seen}
    assert not re.search(r"\w@\w|/home|/scratch|x\.example|10\.1\.2\.3|\+49|users\\\\", clean.to_csv())
    assert clean.text.str.contains("name").mean() > 0.5


def test_names_of_staff_are_masked_where_the_source_knows_them(tmp_path):
    text = "Zotero Lumbek looked at it"
    tickets = [ticket(i, subject=text) for i in range(30)]
    assert preprocessed(tmp_path, tickets)[0].text["1"].startswith(text)  # and shown: thirty users wrote it
    file = helpers.study_paths("tickets", tmp_path).raw / "tickets.parquet"
    helpers.write_parquet(pd.read_parquet(file).assign(staff="Lumbek, Zotero"), file)
    run_cells(NOTEBOOK, tmp_path, day=DAY, sites="")
    clean = pd.read_parquet(helpers.study_paths("tickets", tmp_path).clean)
    assert (clean.subject == "name looked at it").all()


HOSTILE = [
    "<script>alert(1)</script>", "</script>", "[x](javascript:alert(1))", "=cmd()", "\u202eevil\u202c", "x" * 10_000, "word " * 2000,
    "\U0001f600\u200d\U0001f525", "a\x00b", "{x} {0} %s $x$", "| a | b |\n|---|", "'; DROP", "\ufeff?"
]  # fmt: skip


def test_hostile_tickets_are_kept_and_shown_as_text(tmp_path):
    tickets = [ticket(i, subject=subject, body=subject) for i, subject in enumerate(HOSTILE * 6)]
    clean, reasons, page = preprocessed(tmp_path, [one | {"address": f"u{i % 29}@campus.example"} for i, one in enumerate(tickets)])
    assert not {reason for reason in reasons.values() if not reason.startswith("duplicate")}
    assert set(clean.subject.index) | set(reasons) == {str(i) for i in range(len(tickets))}
    assert not clean.subject.str.contains("[\x00\u202a-\u202e\u200d\ufeff]").any()
    assert "alert" not in page
    assert "<script" not in page


later = st.fixed_dictionaries(
    {
        "subject": st.text(max_size=20) | st.sampled_from(["May we", "Job waits", "kaben", "Dear Waits"]),
        "body": st.text(max_size=40) | st.sampled_from(["waits", "quota quota"]),
        "user_name": st.sampled_from(["Waits Queue", "Kora Lumbe", "Job Morning", None]),
        "address": st.sampled_from(["waits@campus.example", "u1@campus.example", None, "noreply@x.example"]),
        "state": st.sampled_from(["open", "deleted", "closed"]),
        "thread": st.sampled_from(["T", "C"]),
        "hours": st.integers(36, 900),
    }
)


@cache
def forty(products):
    """(clean, reasons) of forty plain tickets, made once for all examples."""
    return preprocessed(products, plain(40))[:2]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(later, max_size=6), closed=st.integers(36, 900), state=st.sampled_from(["open", "closed"]))
def test_what_happens_after_the_day_changes_nothing(tmp_path, changes, closed, state):
    tickets = plain(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSHIFT_KEY", "secret")
        clean, reasons = forty(tmp_path)
        moved = [
            one | {"closed": NOON + pd.Timedelta(hours=closed), "lastupdate": NOON + pd.Timedelta(hours=closed), "state": state} for one in tickets
        ]
        after = [
            ticket(100 + i, **{"created": NOON + pd.Timedelta(hours=change.pop("hours"))} | change) for i, change in enumerate(map(dict, changes))
        ]
        other, more, _ = preprocessed(tmp_path, [*moved, *after])
    pd.testing.assert_frame_equal(clean, other)
    assert {key: reason for key, reason in more.items() if reason != "after the day"} == reasons
    assert len(more) - len(reasons) == len(after)


def test_the_order_of_the_rows_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_KEY", "secret")
    tickets = [*plain(), *(ticket(100 + i, body="The same.", address="u1@campus.example") for i in range(5))]
    clean, reasons, _ = preprocessed(tmp_path, tickets)
    other, others, _ = preprocessed(tmp_path, tickets[::-1])
    pd.testing.assert_frame_equal(clean, other)
    assert reasons == others
    assert len(reasons) == 4


def test_a_source_without_times_or_users_is_said_and_used(tmp_path):
    tickets = [ticket(i, created=None, address=None, state=None, thread=None, urgency=None, priority=None, body=None) for i in range(30)]
    clean, reasons, page = preprocessed(tmp_path, tickets, KNOWN[:0])
    assert not reasons
    assert len(clean) == 30
    assert clean.created.isna().all()
    assert (clean.department == "unknown").all()
    assert clean.open.all()
    assert "The source says no times" in page
    assert clean.subject["3"] == "Job waits in the queue"


def test_states_of_other_desks_reject_what_is_deleted_or_merged(tmp_path):
    tickets = [*plain(20), ticket(30, state="Removed"), ticket(31, state="merged"), ticket(32, state=None, status="Spam")]
    _, reasons, _ = preprocessed(tmp_path, tickets)
    assert reasons == {"30": "deleted", "31": "merged into another", "32": "deleted"}


def test_no_ticket_at_all_and_none_left_are_empty_tables_and_the_latter_a_warning(tmp_path):
    clean, reasons, page = preprocessed(tmp_path, [])
    assert clean.empty
    assert not reasons
    assert "**0 of 0 tickets are kept" in page
    assert clean.created.dtype == "datetime64[us, UTC]"
    clean, reasons, page = preprocessed(tmp_path, plain(7, state="deleted"))
    assert clean.empty
    assert len(reasons) == 7
    assert "No ticket is left: of 7, 7 are rejected for: deleted." in page


def test_settings_that_match_nothing_warn(tmp_path):
    (tmp_path / "places.yaml").write_text("Lagoon: [Lagune]\n")
    write_raw(tmp_path, plain(100))
    names, _ = run_cells(NOTEBOOK, tmp_path, day=DAY, sites=str(tmp_path / "places.yaml"), domains=["elsewhere.example"])
    warnings = names["RECORDED"]["warnings"]
    assert len(warnings) == 2
    assert "None of 30 addresses is of the domains elsewhere.example" in warnings[0]
    assert "None of 100 tickets names one of the 1 sites of" in warnings[1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"automatic_senders": ["fine", "(["]}, "automatic_senders: '([' is no regular expression"),
        ({"min_group": 0}, "min_group is 0"),
        ({"max_chars": 10}, "max_chars is 10"),
        ({"duplicate_hours": -1}, "duplicate_hours is -1"),
        ({"sites": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(tmp_path, parameters, message):
    assert message in refused(preprocessed, tmp_path, plain(5), **parameters)


@pytest.mark.parametrize("text", ["[HARBOR]", "HARBOR: harbor", "HARBOR: [1]", "HARBOR: ['']", "", "a: [", "5", "1: [x]", "HARBOR: {a: b}"])
def test_a_sites_file_of_a_wrong_form_is_one_line(tmp_path, text):
    lists = tmp_path / "places.yaml"
    lists.write_text(text)
    assert str(lists) in refused(preprocessed, tmp_path, plain(5), sites=str(lists))


def test_the_sites_of_the_repository_can_be_read(tmp_path):
    clean, _, _ = preprocessed(tmp_path, [*plain(5), ticket(9, subject="Harbor is down")], sites="sites.yaml")
    assert clean.site["9"] == "HARBOR-T2"


def test_raw_tables_that_break_the_contract_are_refused_without_a_word_of_a_ticket(tmp_path):
    tickets = plain(5, subject="Secret Zote")
    twice = [ticket(i, ticket_id="Secret Zote") for i in (7, 8)]
    assert "an id of a ticket comes twice" in (message := refused(preprocessed, tmp_path, [*tickets, *twice]))
    assert "Secret" not in message
    file = helpers.study_paths("tickets", tmp_path).raw / "tickets.parquet"
    write_raw(tmp_path, tickets)
    helpers.write_parquet(pd.read_parquet(file).assign(created="Secret Zote"), file)
    assert "column 'created' holds str" in (message := refused(run_cells, NOTEBOOK, tmp_path, sites=""))
    assert "Secret" not in message
    helpers.write_parquet(pd.read_parquet(file).drop(columns="thread"), file)
    assert "lacks the columns thread: run 1_extract again" in refused(run_cells, NOTEBOOK, tmp_path, sites="")
    file.unlink()
    assert "run 1_extract first" in refused(run_cells, NOTEBOOK, tmp_path, sites="")


def test_three_thousand_tickets_take_under_three_seconds(tmp_path):
    rng = np.random.default_rng(1)
    words = np.array([f"{a}{b}" for a in ("quo", "que", "job", "sto", "mod", "log", "net") for b in ("ta", "ue", "s", "rage", "ule", "in", "work")])
    tickets = [
        ticket(
            i,
            subject=" ".join(rng.choice(words, 5)),
            body=f"Dear team,\n\n{' '.join(rng.choice(words, 25))} on node{i % 100:03d}, see /home/u{i % 30}/x.\n\nBest regards,\nKora",
        )
        for i in range(3000)
    ]
    write_raw(tmp_path, [one | ({"body": f"<p>{one['body']}</p>", "format": "html"} if i % 3 == 0 else {}) for i, one in enumerate(tickets)])
    preprocessed(tmp_path / "first", [ticket(0)])  # imports what the notebook needs, which takes as long and is no work on tickets
    taken = []
    while not taken or (len(taken) < 3 and min(taken) >= 3):  # what others do on the machine makes the same work slower, and never faster
        began = time.process_time()
        run_cells(NOTEBOOK, tmp_path, day=DAY, sites="sites.yaml")
        taken.append(time.process_time() - began)
    assert within(min(taken), 3)


def test_real_questions_of_bank_customers(tmp_path):
    file = REAL_DATA / "tickets/banking77_test.csv"
    if not file.exists():
        pytest.skip(f"{file} is absent")
    table = pd.read_csv(file)
    nothing = {"address": None, "created": None, "state": None, "thread": None, "body": None}
    tickets = [ticket(i, subject=row.text, label=row.category, **nothing) for i, row in enumerate(table.itertuples())]
    clean, reasons, page = preprocessed(tmp_path, tickets, KNOWN[:0], sites=str(REPOSITORY / "sites.yaml"))
    assert not reasons
    assert clean.label.nunique() == 77
    assert (
        clean.text[[str(i) for i in range(len(table))]].to_numpy() == table.text.str.split().str.join(" ").to_numpy()
    ).mean() > 0.97  # questions of customers hold no names
    assert "The source knows no users" in page
