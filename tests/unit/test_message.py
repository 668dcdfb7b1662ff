"""What a mail says, to whom, and which settings are refused; how it is sent is in tests/services/test_mail.py."""

import email.message
import io
import re
from datetime import UTC, datetime, timedelta
from email.policy import default

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from incident_tables import DAY, a_night, incident, proposal, write_incidents, write_run
from PIL import Image

from nightshift import wording
from nightshift.assurance import REASSURING
from nightshift.notify import message as messages
from nightshift.notify import policy
from nightshift.notify.message import Folding, figures_of, png
from nightshift.notify.settings import read_settings
from nightshift.reporting import digests

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
HEADER = "SITE\r\nBcc: victim@example.org\r\n\r\n<b>body</b>"
ENCODED = "=?utf-8?q?x=0d=0aBcc:=20victim@example.org?= =?utf-8?b?DQpCY2M6IHZAZXhhbXBsZS5vcmc=?="
HOSTILE = [
    SCRIPT,
    HEADER,
    ENCODED,
    "N" * 5000,
    "\u202edrawkcab\u2066\u200b\x1b[31m",
    "{{ 7 * 7 }}{% raw %}",
    "é🙂" * 900,
    "a\x00b\x0bc\u2028d\ue000",
    ".\n.",
]


def settings(**more):
    """A configuration that mails a night to one reader."""
    sentence = {
        "from": "nightshift@example.org",
        "server": "smtp://mail.example.org",
        "to": [{"address": "a@example.org"}],
        "failures": ["ops@example.org"],
    }
    studies = dict.fromkeys(["transfers", "accounting", "telemetry", "certification", "tickets"])
    return {"day": DAY, "studies": studies, "site_url": "https://nightshift.example/reports", "mail": sentence | more}


def drafts(products, config):
    """The messages of a night, as a mail program reads them."""
    assert policy.send_night(products, DAY, config, dry_run=True) == []
    return [email.message_from_bytes(path.read_bytes(), policy=default) for path in sorted((products / "data/mail" / DAY).glob("*.eml"))]


def parts(message):
    """(text, page) of a message."""
    text, markup = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))
    return text, BeautifulSoup(markup, "html.parser")


def in_text(part):
    return " ".join(part.get_text().split())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_and_end_no_header(tmp_path, name):
    texts = dict.fromkeys(["title", "summary", "site", "impact", "change"], name)
    marked = incident("b") | texts | {"silenced_as": "silenced", "silenced_by": name, "silenced_until": name, "silenced_why": name}
    write_incidents(tmp_path, [incident("a") | texts, marked], proposals={name: [proposal("p", effort=name) | {"proposal": name}]}, headline=name)
    write_run(tmp_path, {"tickets": ("1_extract", name)})
    for message in drafts(tmp_path, settings()):
        assert sorted(message.keys()) == sorted(
            ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"],
        )
        assert not message.defects
        assert "Bcc" not in message
        raw = message.as_bytes()
        assert max(map(len, raw.splitlines())) <= 998  # RFC 5321, 4.5.3.1.6
        assert raw.isascii()
        assert "\n" not in message["Subject"]
        assert len(message["Subject"]) <= 160
        text, page = parts(message)
        assert not page.select("script, [onerror], [src=x], b, link, iframe")
        assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\u200b\u202e\u2028\u2066\ue000]", text + page.get_text().replace("\t", ""))
        assert "49" not in message["Subject"]
        shown = wording.one_line(digests.plain(name), 120)
        assert shown in in_text(page)
        assert shown in text


def test_an_encoded_word_in_a_name_is_not_decoded(tmp_path):
    write_incidents(tmp_path, [incident(ENCODED)])
    write_run(tmp_path)
    [message] = drafts(tmp_path, settings())
    assert "= ?utf-8?q?x=0d=0aBcc:=20victim@example.org?=" in message["Subject"]


@given(st.text(max_size=400), st.integers(1, 300))
def test_plain_text_is_one_visible_line_of_limited_length(text, most):
    line = wording.one_line(text, most)
    assert len(line) <= most
    assert line.isprintable()
    assert line == " ".join(line.split())
    assert wording.one_line(line, most) == line


def test_a_subject_counts_names_the_first_of_what_is_new_and_says_once_what_is_not_known():
    new, old = ({"id": name, "title": f"slow storage {name}"} for name in ("b", "a"))
    view = {"digest": True, "day": DAY, "counts": "1 new, 1 ongoing", "chip": "not all is known", "shown": [old, new], "news": {"new": [new]}}
    view["failed"] = [{"how": "failed", "study": "tickets"}, {"how": "failed", "study": "tickets"}, {"how": "failed", "study": "telemetry"}]
    assert messages.subject_of(view) == f"Nightshift {DAY}: 1 new, 1 ongoing; slow storage b; not all is known; 2 failed"
    assert messages.subject_of(view | {"chip": "1 new, 1 ongoing", "failed": []}) == f"Nightshift {DAY}: 1 new, 1 ongoing; slow storage b"
    assert messages.subject_of(view | {"chip": "", "news": {}, "failed": []}) == f"Nightshift {DAY}: 1 new, 1 ongoing"


def test_a_message_has_text_markup_and_small_figures_of_its_incidents_only(tmp_path):
    rng = np.random.default_rng(1)
    for n in range(4):  # noise, which compresses worst
        path = tmp_path / f"plots/digest/{DAY}/{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (588, 1400, 3), "uint8")).save(path)
    (tmp_path / "plots/broken.png").write_bytes(b"no picture")
    (tmp_path.parent / "secret.png").write_bytes(path.read_bytes())
    figures = ["plots/broken.png", "../secret.png", *(f"plots/digest/{DAY}/{n}.png" for n in range(4))]
    write_incidents(tmp_path, [incident(f"slow storage {n}", figure=figure) for n, figure in enumerate(figures)], max_incidents=20)
    write_run(tmp_path)
    [message] = drafts(tmp_path, settings())
    page = parts(message)[1]
    assert re.fullmatch(rf"<{DAY}\.[0-9a-f]{{24}}@example\.org>", message["Message-ID"])
    assert 500_000 < len(message.as_bytes()) < 1_000_000
    assert len(message.get_body(("html",)).get_content()) < 102_000  # more than this, and Gmail cuts it off
    pictures = {part["Content-ID"][1:-1]: part for part in message.walk() if part.get_content_type() == "image/png"}
    assert {image["src"] for image in page.select("img")} == {f"cid:{name}" for name in pictures}
    assert all(image["alt"] for image in page.select("img"))
    assert set(pictures) == {f"figure{n}.{DAY}@nightshift" for n in (3, 4)}  # the next would be too much, and one more is not told in full
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "multipart/related"]
    assert {a["href"] for a in page.select("[href]")} == {f"https://nightshift.example/reports/{DAY}/index.html"}
    assert not re.search(r"url\(|@import|http-equiv", str(page))


def test_a_message_tells_what_changed_what_to_try_and_who_silenced(tmp_path):
    asked = proposal("Ask the site", 0.62, trials=14, worked=9, verify="A test job ends.")
    proposals = {"site outage at ISTHMUS-T2": [asked, proposal("Wait", 0.4, trials=0)]}
    write_incidents(tmp_path, a_night(), proposals=proposals, missing=["tickets"], headline="Two things to do.")
    write_run(tmp_path, {"tickets": ("2_preprocess", "ValueError: no rows")})
    digest, failure = drafts(tmp_path, settings())
    text, page = parts(digest)
    cards = [[in_text(part) for part in card.select("h3, .marks span")] for card in page.select("article")]
    assert cards[0][:3] == ["1. site outage at ISTHMUS-T2", "high severity", "new, open"]
    assert [card[0][:2] for card in cards] == ["1.", "2.", "3."]
    changes = [in_text(item) for item in page.select("ul")[0].select("li")]
    assert changes == [
        "New: site outage at ISTHMUS-T2",
        "Escalated: slow storage AURORA-T1_DATADISK (impact 12 GB delayed last night, 48 GB tonight)",
        "Resolved: bad run 400461",
        "Ongoing, new to you: idle GPUs at JUNIPER-T2",
    ]
    for shown in (text, page.get_text()):
        assert "Two things to do." in shown
        assert "Ask the site (chance 62% (31% to 81%), 9 of 14 trials worked, takes 10 min; ask)" in shown
        assert "Wait (chance 40% (20% to 70%), not tried yet, takes 10 min; wait)" in shown
        assert shown.count("Verify: ") == shown.count("Verify: A test job ends.") == 1
        assert "silenced by the operator on duty until 2026-02-07: a known leak, mended with the next release" in shown
        assert "No findings tonight from tickets." in shown
        assert "ValueError: no rows" in shown
        assert "aerosol" not in shown  # closed
    assert failure["Subject"] == f"Nightshift {DAY}: tickets failed in 2_preprocess"
    assert parts(failure)[1].select_one(f'a[href="https://nightshift.example/reports/{DAY}/tickets/2_preprocess.html"]')
    assert "ISTHMUS" not in failure.as_string()


@pytest.mark.parametrize("length", range(10, 90))
def test_a_header_begins_on_its_first_line(length):
    message = email.message.EmailMessage(policy=Folding(linesep="\r\n"))
    message["Subject"] = wanted = ("Nightshift 2026-01-31: 12 new; " + "slow storage é " * 9)[:length].strip().replace("é", "ab")
    lines = message.as_bytes().split(b"\r\n")
    assert lines[0].startswith(b"Subject: Night")
    assert max(map(len, lines)) <= 78
    assert email.message_from_bytes(message.as_bytes(), policy=default)["Subject"] == wanted


def test_who_may_see_a_part_does_not_read_the_headline_of_the_whole(tmp_path):
    write_incidents(tmp_path, a_night(), headline="An outage at ISTHMUS-T2.")
    write_run(tmp_path)
    [message] = drafts(tmp_path, settings(to=[{"address": "gpus@example.org", "studies": ["telemetry"]}]))
    assert "ISTHMUS" not in message.as_string()
    assert message["Subject"] == f"Nightshift {DAY}: 1 ongoing; idle GPUs at JUNIPER-T2"


def test_who_sees_a_part_reads_no_reassurance_of_the_whole(tmp_path):
    readers = [{"address": "gpus@example.org", "studies": ["certification"]}, {"address": "high@example.org", "severity": "high"}]
    everything = settings(to=readers, only_changes=False, failures=[])
    write_incidents(tmp_path, [incident("idle GPUs", studies=["telemetry"])], headline="Idle GPUs.")
    write_run(tmp_path)
    [message] = drafts(tmp_path, everything)
    assert message["Subject"] == f"Nightshift {DAY}: nothing for you"
    assert "Nothing for you." in parts(message)[0]
    write_run(tmp_path, {"tickets": ("1_extract", "x")})
    for message in drafts(tmp_path, everything):
        text, page = parts(message)
        assert message["Subject"].startswith(f"Nightshift {DAY}: 4 of 5 studies reported")
        for sentence in (text.lower(), in_text(page).lower(), message["Subject"].lower()):
            assert "4 of 5 studies reported" in sentence
            assert not [phrase for phrase in REASSURING if phrase in sentence]
        assert ("tickets (failed)" in text) == ("high@example.org" in message["To"]), "who asks for one study reads the names of no other"


def test_proposals_that_nobody_has_tried_are_no_ranking(tmp_path):
    unknown = {"low": 0.0015, "high": 0.9985, "trials": 0, "worked": 0}
    write_incidents(tmp_path, [incident("an outage")], proposals={"an outage": [proposal(text, 0.5, **unknown) for text in ("Wait", "Ask")]})
    write_run(tmp_path)
    text, page = parts(drafts(tmp_path, settings())[0])
    tries = ["To try, none tried yet, in no particular order:", "- Ask (takes 10 min; ask)", "- Wait (takes 10 min; wait)"]
    assert "\n   ".join(tries) in text.replace("\r\n", "\n")
    assert "To try, none tried yet, in no particular order:" in in_text(page)
    assert not [word for sentence in (text, in_text(page)) for word in ("Try first", "%", "in this order") if word in sentence]


def test_more_incidents_than_a_page_holds_are_counted(tmp_path):
    write_incidents(tmp_path, [incident(f"slow storage {n}") for n in range(30)], max_incidents=7)
    write_run(tmp_path)
    text, page = parts(drafts(tmp_path, settings())[0])
    assert (len(page.select("article")), len(page.select("ol > li"))) == (5, 2)
    assert "7. slow storage 6" in text
    assert "Less urgent: 23 open." in text
    assert "Less urgent: 23 open." in page.get_text()
    assert "New: " + "; ".join(f"slow storage {n}" for n in range(5)) + "; and 25 more" in in_text(page)
    assert "- slow storage 4\r\n- and 25 more\r\n" in text.replace("\r\n", "\n").replace("\n", "\r\n")


def test_drafts_of_an_earlier_try_go_away(tmp_path):
    write_incidents(tmp_path, a_night())
    write_run(tmp_path, {"tickets": ("1_extract", "x")})
    assert len(drafts(tmp_path, settings())) == 2
    assert len(drafts(tmp_path, settings(failures=[]))) == 1


@pytest.mark.parametrize("broken", ["cut off", "of another version"])
def test_a_table_that_cannot_be_read_is_a_failure_that_is_told(tmp_path, broken):
    write_incidents(tmp_path, a_night())
    path = tmp_path / f"data/incidents/{DAY}.parquet"
    if broken == "cut off":
        path.write_bytes(path.read_bytes()[:20])
    else:
        pd.read_parquet(path).drop(columns="severity").to_parquet(path)
    write_run(tmp_path)
    [message] = drafts(tmp_path, settings())
    assert (message["Subject"], message["To"]) == (f"Nightshift {DAY}: digest failed", "ops@example.org")
    assert f"data/incidents/{DAY}.parquet" in parts(message)[0]


def test_without_proposals_the_digest_goes_and_says_so(tmp_path):
    write_incidents(tmp_path, a_night())
    (tmp_path / f"data/incidents/{DAY}_proposals.parquet").unlink()
    write_run(tmp_path)
    digest, failure = drafts(tmp_path, settings())
    assert failure["Subject"] == f"Nightshift {DAY}: digest incomplete"
    assert digest["Subject"].endswith("; 1 incomplete")
    for message in (digest, failure):
        assert f"digest: data/incidents/{DAY}_proposals.parquet cannot be read: it is not there" in parts(message)[0]
    assert "slow storage" in parts(digest)[0]


# --------------------------------------------------------------------------------------------------------------- settings


def test_settings_are_read():
    shown = read_settings(settings(to=[{"address": "A@Example.org", "studies": ["transfers"], "severity": "medium"}, {"address": "a@example.org"}]))
    assert shown.server == ("smtp", "mail.example.org", 587)
    assert shown.people == {"a@example.org": [({"transfers"}, 1), (None, 0)]}
    assert (shown.failures, shown.only_changes, shown.login) == ({"ops@example.org"}, True, None)
    assert read_settings(settings(server="smtps://[::1]")).server == ("smtps", "::1", 465)
    assert read_settings({"mail": {}}) is None
    assert read_settings({}) is None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"server": "smtp://user:s3cret@mail.example.org"}, "mail.server holds a user or a password"),
        ({"server": "mail.example.org"}, "it must be smtp://host:587 (STARTTLS) or smtps://host:465 (TLS)"),
        ({"server": "smtp://mail.example.org:99999"}, "it must be smtp://host:587"),
        ({"server": "smtp://mail.example.org/path"}, "it must be smtp://host:587"),
        ({"server": "smtp://a\r\nb"}, "it must be smtp://host:587"),
        ({"server": None}, "mail.server is ''"),
        ({"server": "x" * 99}, f"mail.server is '{'x' * 79}…': it must be"),
        ({"from": "x" * 99}, f"mail.from: '{'x' * 79}…' is no mail address"),
        ({"to": "x" * 99}, f"mail.to must be a list, such as [{'x' * 59}…]"),
        ({"from": None}, "mail.from: 'None' is no mail address"),
        ({"from": "Nightshift <a@example.org>"}, "is no mail address"),
        ({"to": [{"address": "a@example.org\r\nBcc: b@example.org"}]}, "mail.to[0].address: 'a@example.org Bcc: b@example.org' is no mail address"),
        ({"to": [{"address": "a@example.org\n"}]}, "is no mail address"),
        ({"to": [{"address": "a b@example.org"}]}, "is no mail address"),
        ({"to": [{"address": "ü@example.org"}]}, "is no mail address"),
        ({"to": [{"address": f"{'a' * 65}@example.org"}]}, "is no mail address"),
        ({"to": [{"address": "a@example.org"}, {"address": 5}]}, "mail.to[1].address: '5' is no mail address"),
        ({"to": [{"address": "a@example.org", "study": "transfers"}]}, "mail.to[0]: unknown setting 'study'"),
        ({"to": [{"address": "a@example.org", "studies": ["transferz"]}]}, "mail.to[0]: unknown study 'transferz'; known are transfers, accounting"),
        ({"to": [{"address": "a@example.org", "studies": "transfers"}]}, "mail.to[0].studies must be a list, such as [transfers]"),
        ({"to": [{"address": "a@example.org", "studies": [{"transfers": {}}]}]}, "mail.to[0]: unknown study {'transfers': {}}; known are "),
        ({"to": [{"address": "a@example.org", "severity": "huge"}]}, "severity 'huge' is none of low, medium, high"),
        ({"to": ["a@example.org"]}, "mail.to[0] must be a mapping of address, studies, severity"),
        ({"to": "a@example.org"}, "mail.to must be a list, such as [a@example.org]"),
        ({"to": [], "failures": []}, "mail names no recipient"),
        ({"failures": ["nobody"]}, "mail.failures[0]: 'nobody' is no mail address"),
        ({"only_changes": "no"}, "mail.only_changes is 'no', neither true nor false"),
        ({"password": "s3cret"}, "mail: unknown setting 'password'"),
    ],
)
def test_a_wrong_setting_is_one_line_and_nothing_is_sent(tmp_path, changes, line):
    [sentence] = policy.send_night(tmp_path, DAY, settings(**changes))
    assert line in sentence
    assert "s3cret" not in sentence
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize(("user", "password"), [("me", ""), ("", "secret"), ("me", "sécret")])
def test_half_a_login_is_refused(monkeypatch, user, password):
    monkeypatch.setenv("SMTP_USER", user)
    monkeypatch.setenv("SMTP_PASSWORD", password)
    with pytest.raises(ValueError, match=r"^SMTP_USER and SMTP_PASSWORD must both be set, or neither, in ASCII$"):
        read_settings(settings())


def test_a_figure_is_a_thousand_pixels_wide_at_most(tmp_path):
    for width, shown in ((1400, 1000), (900, 900)):
        Image.new("RGB", (width, 14), "red").save(tmp_path / "one.png")
        assert Image.open(io.BytesIO(png(tmp_path / "one.png"))).width == shown


def test_figures_fill_all_that_a_message_may_hold(tmp_path, monkeypatch):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "one.png")
    monkeypatch.setattr(messages, "MAX_FIGURES", 2 * len(png(tmp_path / "one.png")))
    shown = [{"rank": rank, "figure": "one.png"} for rank in (1, 2, 3)]
    assert list(figures_of(tmp_path, {"day": DAY, "shown": shown})) == [f"figure{n}.{DAY}@nightshift" for n in (1, 2)]
    assert [one["figure"] for one in shown] == [f"cid:figure1.{DAY}@nightshift", f"cid:figure2.{DAY}@nightshift", ""]


def test_every_message_of_one_view_has_its_figures(tmp_path, monkeypatch):
    """A message holds MAX_TO recipients; the others get one more of the same."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "one.png")
    write_incidents(tmp_path, [incident("slow storage", figure="one.png")])
    write_run(tmp_path)
    monkeypatch.setattr(policy.mail, "MAX_TO", 1)
    both = drafts(tmp_path, settings(to=[{"address": "a@example.org"}, {"address": "b@example.org"}], failures=[]))
    assert [message["To"] for message in both] == ["a@example.org", "b@example.org"]
    assert [[part.get_content_type() for part in message.walk()].count("image/png") for message in both] == [1, 1]


def test_what_was_sent_today_counts_and_what_is_dated_in_the_future_does_not(tmp_path):
    """A record of a night that is to come would say of nothing that it is news."""
    today = datetime.now(UTC).date()
    for night in (today - timedelta(1), today, today + timedelta(2)):
        path = tmp_path / f"reports/{night}/mail.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"recipients": {"x": {"outcome": "sent", "reason": "", "notified": []}}}')
    to = read_settings(settings())
    to.channel = policy.mail
    states, lines = policy.read_states(tmp_path, to)
    assert lines == []
    assert set(states) >= {str(today - timedelta(1))}
    assert str(today + timedelta(2)) not in states
    assert (str(today) in states) or datetime.now(UTC).date() > today  # a suite may run past midnight
