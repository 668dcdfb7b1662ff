"""A night goes by mail to real SMTP servers with TLS, to servers that fail at each step of a session, and never twice."""

import email
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date, timedelta
from email.policy import default

import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from conftest import REPOSITORY
from daemons import certificate, free_ports, wait_until
from incident_tables import DAY, a_night, incident, proposal, write_incidents, write_run

from nightshift import night as commands
from nightshift.notify import policy, smtp
from nightshift.surroundings import check_told

# it means a login without STARTTLS, and does not see that all is TLS from the start
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
BEFORE = "2026-01-30"
LATER = ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"]
SECRET = "s3cret-of-the-mailer"


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """(certificate, key) of localhost."""
    return certificate(tmp_path_factory.mktemp("tls"), host="DNS:localhost")


@pytest.fixture
def trusted(signed, monkeypatch):
    """The same, trusted by this machine's clients for one test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
    return signed


@pytest.fixture(autouse=True)
def no_login(monkeypatch):
    for name in ("SMTP_USER", "SMTP_PASSWORD", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(smtp, "TIMEOUT_S", 2)


@pytest.fixture
def night(tmp_path):
    """A products folder with a night of incidents and a failed study."""
    write_incidents(tmp_path, a_night(), proposals={"site outage at ISTHMUS-T2": [proposal("Ask the site for its downtime")]})
    write_run(tmp_path, {"tickets": ("2_preprocess", "ValueError: no rows")})
    return tmp_path


class Inbox:
    """What a server does with mail: it keeps what comes, but answers as told."""

    def __init__(self):
        self.kept, self.answers, self.answer = [], {}, "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if answer := self.answers.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answer.startswith("250"):
            assert server.transport.get_extra_info("ssl_object")
            self.kept.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=default)))
        return self.answer

    @property
    def messages(self):
        return [message for _, message in self.kept]

    @property
    def reached(self):
        return [address for addresses, _ in self.kept for address in addresses]


def tls_of(signed):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*signed)
    return context


@contextmanager
def serve(scheme, signed=None, login=None, inbox=None):
    """A real SMTP server, with STARTTLS (`smtp`) or TLS (`smtps`), without either where nothing is `signed`; yields (url, inbox)."""
    inbox, [port], options = inbox or Inbox(), free_ports(1), {}
    if signed:
        options = {"ssl_context": tls_of(signed)} if scheme == "smtps" else {"tls_context": tls_of(signed), "require_starttls": True}
    if login:

        def authenticate(server, session, envelope, mechanism, parameters):
            return AuthResult(success=(parameters.login.decode(), parameters.password.decode()) == login, handled=False)

        options |= {"auth_required": True, "auth_require_tls": scheme == "smtp", "authenticator": authenticate}
    controller = Controller(inbox, hostname="localhost", port=port, **options)
    controller.start()
    try:
        yield f"{scheme}://localhost:{port}", inbox
    finally:
        controller.stop()


@contextmanager
def failing(signed, at, how="drop"):
    """A server with TLS that fails at a step of the session: greeting, EHLO, MAIL, RCPT, DATA, content or reply. Yields (url, what it got whole).

    how : drop (it hangs up), stall (it is silent), drip (it answers a byte every 0.2 s, for ever) or any text, which it sends in place of its answer.
    """
    got, ended = [], threading.Event()
    listening = socket.create_server(("localhost", 0))

    def reply(connection, step, line):
        if step != at:
            return connection.sendall(line)
        if how == "stall":
            ended.wait()
        while how == "drip" and not ended.wait(0.2):
            connection.sendall(b"2")
        if how not in ("drop", "stall", "drip"):
            return connection.sendall(how.encode())
        raise ConnectionError

    def talk(connection):
        reply(connection, "greeting", b"220 here\r\n")
        lines = connection.makefile("rb")
        for line in lines:
            step = line[:4].decode().strip().upper()
            reply(connection, step, b"354 go on\r\n" if step == "DATA" else b"250 fine\r\n")
            if step == "DATA" != at:
                if at == "content":
                    lines.read(100)
                    raise ConnectionError
                got.append(b"".join(iter(lines.readline, b".\r\n")))
                reply(connection, "reply", b"250 kept\r\n")

    def listen():
        while not ended.is_set():
            try:
                with listening.accept()[0] as raw, tls_of(signed).wrap_socket(raw, server_side=True) as connection:
                    talk(connection)
            except OSError:
                pass

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield f"smtps://localhost:{listening.getsockname()[1]}", got
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def settings(url, *to, failures=(), **more):
    """A configuration that mails through the server at `url`."""
    to = [{"address": one} if isinstance(one, str) else one for one in to]
    reference = dict.fromkeys(["transfers", "accounting", "telemetry", "certification", "tickets"])
    sentence = {"from": "nightshift@example.org", "server": url, "to": to, "failures": [*failures]} | more
    return {"day": DAY, "studies": reference, "site_url": "https://nightshift.example/", "mail": sentence}


def outcomes(products, *addresses, day=DAY):
    """What mail.json says became of the mail to these addresses."""
    states = json.loads((products / "reports" / day / "mail.json").read_text())["recipients"]
    return [states[policy.key_of(address)]["outcome"] for address in addresses]


def closed():
    """A server that nobody runs."""
    return f"smtps://localhost:{free_ports(1)[0]}"


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("login", [None, ("nightshift", SECRET)])
def test_a_night_arrives_once_encrypted_and_logged_in(night, trusted, monkeypatch, scheme, login):
    for name, value in zip(("SMTP_USER", "SMTP_PASSWORD"), login or (), strict=False):
        monkeypatch.setenv(name, value)
    with serve(scheme, trusted, login) as (url, inbox):
        for _ in range(2):
            assert policy.send_night(night, DAY, settings(url, "reader@example.org")) == []
        [message] = inbox.messages
    assert message["Subject"].startswith(f"Nightshift {DAY}: 1 new, 1 escalated, 1 ongoing, 1 resolved; site outage at ISTHMUS-T2")
    assert message["From"].addresses[0].addr_spec == "nightshift@example.org"
    text = message.get_body(("plain",)).get_content()
    assert "Ask the site for its downtime (chance 50% (25% to 75%), 2 of 4 trials worked, takes 10 min; ask)" in text
    assert "tickets in 2_preprocess: ValueError: no rows" in text
    assert f"https://nightshift.example/{DAY}/tickets/2_preprocess.html" in text
    assert outcomes(night, "reader@example.org") == ["sent"]
    assert SECRET not in (night / "reports" / DAY / "mail.json").read_text()
    assert "reader@example.org" not in (night / "reports" / DAY / "mail.json").read_text()


def test_a_check_logs_in_and_sends_nothing(night, trusted, monkeypatch):
    monkeypatch.setenv("SMTP_USER", "nightshift")
    monkeypatch.setenv("SMTP_PASSWORD", SECRET)
    with serve("smtp", trusted, ("nightshift", SECRET)) as (url, inbox):
        config = settings(url, "reader@example.org")
        [(section, [line], problems)] = check_told(config, [])
        assert (section, problems) == ("mail", [])
        assert line.endswith(" takes mail from nightshift@example.org, logged in")
        monkeypatch.setenv("SMTP_PASSWORD", "another")
        [(_, lines, [problem])] = check_told(config, [])
        assert (lines, "it says 535" in problem) == ([], True)
        monkeypatch.delenv("SMTP_PASSWORD")
        assert list(check_told(config, [])) == [("mail", [], ["SMTP_USER and SMTP_PASSWORD must both be set, or neither, in ASCII"])]
    assert inbox.kept == []


def test_each_sees_what_they_may_and_who_sees_the_same_gets_one_message(night, trusted):
    some = [
        "all@example.org",
        {"address": "as.well@example.org", "severity": "low"},
        {"address": "gpus@example.org", "studies": ["telemetry"]},
        {"address": "high@example.org", "severity": "high"},
        {"address": "both@example.org", "studies": ["telemetry"], "severity": "high"},
        {"address": "two@example.org", "studies": ["telemetry"]},
        {"address": "two@example.org", "studies": ["certification"]},
    ]
    with serve("smtps", trusted) as (url, inbox):
        assert policy.send_night(night, DAY, settings(url, *some, failures=["ops@example.org", "all@example.org"])) == []
    shown = {tuple(sorted(to)): message.get_body(("plain",)).get_content() for to, message in inbox.kept}
    both = ("all@example.org", "as.well@example.org")
    gpus, high, two, mends = ((f"{name}@example.org",) for name in ("gpus", "high", "two", "ops"))
    assert set(shown) == {both, gpus, high, two, mends}
    names = ["ISTHMUS-T2", "AURORA-T1", "JUNIPER-T2", "MERIDIAN", "400461", "CINDER-T2"]
    seen = {to: [name for name in names if name in text.upper()] for to, text in shown.items()}
    assert seen[both] == ["ISTHMUS-T2", "AURORA-T1", "JUNIPER-T2", "MERIDIAN", "400461"]  # not what is closed
    assert seen[gpus] == ["JUNIPER-T2", "MERIDIAN"]
    assert seen[high] == ["ISTHMUS-T2"]
    assert seen[two] == ["JUNIPER-T2", "MERIDIAN", "400461"]
    assert seen[mends] == []
    assert ["no rows" in shown[to] for to in (both, gpus, high, two, mends)] == [True, False, True, False, True]
    assert outcomes(night, "both@example.org") == ["quiet"]


def test_only_changes_and_what_was_never_told_make_a_mail(tmp_path, trusted):
    one = incident("slow storage", "ongoing", first_seen=BEFORE, age_nights=2)
    escalated, resolved = one | {"state": "escalated"}, one | {"state": "resolved", "ended": True}
    nights = {DAY: one, LATER[0]: one, LATER[1]: escalated, LATER[2]: one, LATER[3]: resolved}
    with serve("smtps", trusted) as (url, inbox):
        for day, row in nights.items():
            write_incidents(tmp_path, [row], day)
            write_run(tmp_path, day=day)
            assert policy.send_night(tmp_path, day, settings(url, "a@example.org")) == []
        assert [message["Subject"][11:21] for message in inbox.messages] == [DAY, LATER[1], LATER[3]]
        quiet = [settings(url, "a@example.org", only_changes=value) for value in (True, False)]
        for day, config in zip(("2026-02-05", "2026-02-06"), quiet, strict=True):
            write_incidents(tmp_path, [one | {"state": "closed", "ended": True}], day)
            write_run(tmp_path, day=day)
            assert policy.send_night(tmp_path, day, config) == []
    assert "Nothing to report: all 5 studies reported, and no incident is new or ongoing." in inbox.messages[3].get_body(("plain",)).get_content()
    assert inbox.messages[3]["Subject"] == "Nightshift 2026-02-06: no incident"


def test_what_ended_before_it_was_seen_is_news_once_and_goes_on_never(tmp_path, trusted):
    one = incident("slow storage", ended=True)
    with serve("smtps", trusted) as (url, inbox):
        for day, row, to in ((DAY, one, "a@example.org"), (LATER[0], one | {"state": "ongoing", "age_nights": 2}, "late@example.org")):
            write_incidents(tmp_path, [row], day)
            write_run(tmp_path, day=day)
            assert policy.send_night(tmp_path, day, settings(url, to)) == []
    [(to, message)] = inbox.kept
    assert to == ["a@example.org"]
    assert "1. slow storage" in message.get_body(("plain",)).get_content()
    assert "new, ended" in message.get_body(("plain",)).get_content()


def test_a_muted_incident_is_no_news_until_its_mark_ends(tmp_path, trusted):
    one = incident("slow storage", silenced_as="silenced", silenced_by="the operator", silenced_until=BEFORE)
    with serve("smtps", trusted) as (url, inbox):
        for day, row in ((DAY, one), (LATER[0], one | {"silenced_as": "", "state": "ongoing", "age_nights": 2})):
            write_incidents(tmp_path, [row], day)
            write_run(tmp_path, day=day)
            assert policy.send_night(tmp_path, day, settings(url, "a@example.org")) == []
            assert outcomes(tmp_path, "a@example.org", day=day) == ["quiet" if day == DAY else "sent"]
    assert len(inbox.kept) == 1


def test_a_failed_run_has_a_mail_of_its_own_also_when_the_digest_failed(tmp_path, trusted):
    write_run(tmp_path, {"tickets": ("1_extract", "OSError: the database is away")})
    with serve("smtps", trusted) as (url, inbox):
        assert policy.send_night(tmp_path, DAY, settings(url, "a@example.org", failures=["ops@example.org"])) == []
    [(to, message)] = inbox.kept
    assert to == ["ops@example.org"]
    assert message["Subject"] == f"Nightshift {DAY}: tickets failed in 1_extract, digest failed"
    text = message.get_body(("plain",)).get_content().replace("\r\n", "\n")
    assert "digest: it did not run" in text
    assert f"tickets in 1_extract: OSError: the database is away\n  https://nightshift.example/{DAY}/tickets/1_extract.html" in text


# ------------------------------------------------------------------------------------------------- servers not to be trusted


UNSOUND = [("smtp", "no encryption", "STARTTLS extension not supported by server"), ("smtps", "no encryption", "localhost:")]
UNSOUND += [
    (scheme, case, says)
    for scheme in ("smtp", "smtps")
    for case, says in [
        ("unknown certificate", "its certificate is refused: self-signed certificate"),
        ("certificate of another host", "its certificate is refused: Hostname mismatch"),
        ("wrong login", "it says 535"),
        ("no login", "it says 530"),
        ("nobody listens", "Connection refused"),
        ("unknown host", "nowhere.invalid:465: "),
    ]
]


@pytest.mark.parametrize(("scheme", "case", "says"), UNSOUND)
def test_nothing_is_sent_where_the_way_is_not_sound(night, signed, tmp_path_factory, monkeypatch, scheme, case, says):
    inbox, login, used = Inbox(), None, signed
    if case != "unknown certificate":
        monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
    if case == "certificate of another host":
        used = certificate(tmp_path_factory.mktemp("tls"), host="DNS:another.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(used[0]))
    if case == "no encryption":
        used = None
    if "login" in case:
        login = ("nightshift", "another password")
    if case != "no login":
        monkeypatch.setenv("SMTP_USER", "nightshift")
        monkeypatch.setenv("SMTP_PASSWORD", SECRET)
    with serve(scheme, used, login, inbox) as (url, _):
        url = {"nobody listens": closed(), "unknown host": "smtps://nowhere.invalid"}.get(case, url)
        [line] = policy.send_night(night, DAY, settings(url, "a@example.org", failures=["ops@example.org"]))
    assert says in line
    assert line.endswith("tried again at the next run")
    assert len(line.splitlines()) == 1
    assert SECRET not in line
    assert inbox.kept == []
    assert outcomes(night, "a@example.org", "ops@example.org") == ["waiting", "waiting"]


# What is sure not to have been delivered waits; what may have been is not sent again. A small message is on its way before a server that drops it
# while reading is noticed, so that this, too, counts as what may have been.
@pytest.mark.parametrize(
    ("at", "how", "outcome"),
    [
        ("greeting", "drop", "waiting"),
        ("greeting", "stall", "waiting"),
        ("greeting", "drip", "waiting"),
        ("greeting", "HTTP/1.1 400 Bad Request\r\n\r\n", "waiting"),
        ("greeting", "\0" * 9000, "waiting"),
        ("greeting", "554 go away\r\n", "waiting"),
        ("EHLO", "drop", "waiting"),
        ("MAIL", "451 later\r\n", "waiting"),
        ("MAIL", "550 not you <nightshift@example.org>\r\n", "waiting"),
        ("RCPT", "drop", "waiting"),
        ("RCPT", "stall", "waiting"),
        ("RCPT", "421 closing\r\n", "waiting"),
        ("RCPT", "550 no such user\r\n", "refused"),
        ("DATA", "drop", "waiting"),
        ("DATA", "452 full\r\n", "waiting"),
        ("DATA", "554 no\r\n", "refused"),
        ("content", "drop", "unclear"),
        ("reply", "drop", "unclear"),
        ("reply", "stall", "unclear"),
        ("reply", "drip", "unclear"),
        ("reply", "what?\r\n", "unclear"),
        ("reply", "451 later\r\n", "waiting"),
        ("reply", "554 it looks like spam\r\n", "refused"),
        ("QUIT", "drop", "sent"),
    ],
)
def test_whatever_a_server_does_a_mail_has_a_known_end(tmp_path, trusted, monkeypatch, at, how, outcome):
    monkeypatch.setattr(smtp, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(smtp, "SESSION_S", 1.2)
    write_incidents(tmp_path, [incident("slow storage")])
    write_run(tmp_path)
    with failing(trusted, at, how) as (url, _):
        lines = policy.send_night(tmp_path, DAY, settings(url, "a@example.org"))
    assert outcomes(tmp_path, "a@example.org") == [outcome]
    assert [line.endswith(policy.MEANS[outcome]) for line in lines] == [True] * (outcome != "sent")
    assert "nightshift@example.org" not in (tmp_path / "reports" / DAY / "mail.json").read_text()
    with serve("smtps", trusted) as (url, inbox):
        assert policy.send_night(tmp_path, DAY, settings(url, "a@example.org")) == []
        assert len(inbox.kept) == (outcome == "waiting")
        assert outcomes(tmp_path, "a@example.org") == ["sent" if outcome == "waiting" else outcome]
        write_incidents(tmp_path, [incident("slow storage", "ongoing", first_seen=DAY, night=2)], LATER[0])
        write_run(tmp_path, day=LATER[0])
        assert policy.send_night(tmp_path, LATER[0], settings(url, "a@example.org")) == []
        assert len(inbox.kept) == (outcome != "sent")  # what a lost mail did not tell, the next night tells


def test_a_name_that_begins_lines_with_dots_arrives_as_it_is(tmp_path, trusted):
    summary = " ".join(["." * n for n in range(1, 60)])
    write_incidents(tmp_path, [incident("dots", summary=summary)])
    write_run(tmp_path)
    with serve("smtps", trusted) as (url, inbox):
        assert policy.send_night(tmp_path, DAY, settings(url, "a@example.org")) == []
    assert summary[:590] in inbox.messages[0].get_body(("plain",)).get_content()


# -------------------------------------------------------------------------------------------------------- again, and not twice


def test_only_recipients_that_are_to_come_later_are_tried_again(night, trusted):
    names = [f"{name}@example.org" for name in ("here", "later", "gone")]
    with serve("smtps", trusted) as (url, inbox):
        inbox.answers = {names[1]: "451 try later", names[2]: "550 no such user gone@example.org"}
        lines = policy.send_night(night, DAY, settings(url, *names))
        assert lines == [
            f"{DAY} to gone@example.org: it says 550 no such user (address); not tried again for this night",
            f"{DAY} to later@example.org: it says 451 try later; tried again at the next run",
        ]
        inbox.answers = {}
        assert policy.send_night(night, DAY, settings(url, *names)) == []
        assert inbox.reached == names[:2]
        assert outcomes(night, *names) == ["sent", "sent", "refused"]


def test_what_could_not_be_sent_goes_first_with_the_next_night_and_not_for_ever(night, trusted):
    one = incident("slow storage", first_seen=DAY)
    assert len(policy.send_night(night, DAY, settings(closed(), "a@example.org"))) == 1
    for day in LATER[:3]:
        write_incidents(night, [one], day)
        write_run(night, day=day)
    lines = policy.send_night(night, LATER[0], settings(closed(), "a@example.org"))
    assert [line.split()[0] for line in lines] == [DAY, LATER[0]]
    wanted = json.loads((night / "reports" / DAY / "mail.json").read_text())["recipients"][policy.key_of("a@example.org")]["message_id"]
    with serve("smtps", trusted) as (url, inbox):
        assert policy.send_night(night, LATER[2], settings(url, "a@example.org")) == []
        assert [message["Subject"][11:21] for message in inbox.messages] == [DAY, LATER[0], LATER[2]]
        assert inbox.messages[0]["Message-ID"] == wanted
        assert len({message["Message-ID"] for message in inbox.messages}) == 3
        assert policy.send_night(night, LATER[2], settings(url, "a@example.org")) == []
        assert policy.send_night(night, LATER[1], settings(url, "a@example.org")) == []  # rendered again, after a later night was mailed
        assert len(inbox.kept) == 3


def test_a_mail_is_given_up_after_some_nights_and_this_is_said_once(night, trusted):
    policy.send_night(night, DAY, settings(closed(), "a@example.org"))
    write_incidents(night, [], LATER[3])
    write_run(night, day=LATER[3])
    with serve("smtps", trusted) as (url, inbox):
        [line] = policy.send_night(night, LATER[3], settings(url, "a@example.org"))
        assert line.endswith("Connection refused; given up after 3 nights")
        assert policy.send_night(night, LATER[3], settings(url, "a@example.org")) == []
        assert inbox.kept == []
    assert outcomes(night, "a@example.org") == ["given up"]


def test_a_run_that_is_killed_while_a_mail_is_on_its_way_does_not_send_it_twice(night, trusted):
    with failing(trusted, "reply", "stall") as (url, got):
        config = night / "site.yaml"
        config.write_text(yaml.safe_dump(settings(url, "a@example.org", failures=["ops@example.org"]) | {"products": str(night)}))
        command = [sys.executable, "-m", "nightshift", "mail", "--config", config]
        run = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
        assert wait_until(lambda: got, 20)
        busy = policy.send_night(night, DAY, settings(url, "a@example.org"))
        run.kill()
        run.wait()
    assert busy == ["another run is sending mail, and this one leaves it to that"]
    assert outcomes(night, "a@example.org") == ["sending"]
    with serve("smtps", trusted) as (url, inbox):
        [line] = policy.send_night(night, DAY, settings(url, "a@example.org", failures=["ops@example.org"]))
        assert line == f"{DAY} to a@example.org: the run ended while it was on its way; may have been delivered and is not sent again"
        assert inbox.reached == ["ops@example.org"]
        assert policy.send_night(night, DAY, settings(url, "a@example.org", failures=["ops@example.org"])) == []


def test_where_the_state_cannot_be_written_nothing_is_sent(night, trusted, monkeypatch):
    with serve("smtps", trusted) as (url, inbox):
        write = policy.write_state

        def full(root, day, state, section):
            if any(entry["outcome"] == "sending" for entry in state.values()):
                raise OSError(28, "No space left on device")
            write(root, day, state, section)

        monkeypatch.setattr(policy, "write_state", full)
        [line] = policy.send_night(night, DAY, settings(url, "a@example.org"))
        assert "No space left on device" in line
        assert inbox.kept == []
        assert outcomes(night, "a@example.org") == ["waiting"]
        (night / "reports" / DAY / "mail.json").write_text("{")
        [line] = policy.send_night(night, DAY, settings(url, "a@example.org"))
        assert line.endswith("cannot be read (JSONDecodeError): who has got the mail of that night is not known, and none of it is sent again")
        assert inbox.kept == []
        assert outcomes(night, "a@example.org") == ["unclear"]
        assert policy.send_night(night, DAY, settings(url, "a@example.org")) == [], "it is said once"
        assert inbox.kept == []


@pytest.mark.parametrize("content", ["{", "[]", '{"recipients": 7}', '{"recipients": {"x": 7}}', '{"recipients": {"x": {"outcome": "waiting"}}}'])
def test_a_damaged_record_of_an_earlier_night_silences_no_later_mail(tmp_path, trusted, content):
    to = settings(closed(), "a@example.org")
    for day in (BEFORE, DAY):
        write_incidents(tmp_path, [incident(f"slow storage {day}", day=day)], day)
        write_run(tmp_path, day=day)
    policy.send_night(tmp_path, BEFORE, to)
    (tmp_path / "reports" / BEFORE / "mail.json").write_text(content)
    with serve("smtps", trusted) as (url, inbox):
        [line] = policy.send_night(tmp_path, DAY, settings(url, "a@example.org"))
        assert line.startswith(f"reports/{BEFORE}/mail.json cannot be read")
        assert [message["Subject"][11:21] for message in inbox.messages] == [DAY], "the damaged night is not sent again"
        assert policy.send_night(tmp_path, DAY, settings(url, "a@example.org")) == []
        assert len(inbox.kept) == 1
    assert (tmp_path / "reports" / BEFORE / "mail.damaged.json").read_text() == content


def test_a_damaged_digest_of_an_earlier_night_that_waits_costs_only_its_own_mail(tmp_path, trusted):
    for day in (BEFORE, DAY):
        write_incidents(tmp_path, [incident(f"slow storage {day}", day=day)], day)
        write_run(tmp_path, day=day)
    policy.send_night(tmp_path, BEFORE, settings(closed(), "a@example.org"))
    (tmp_path / "reports" / BEFORE / "digest.json").write_text('{"digest": []}')
    with serve("smtps", trusted) as (url, inbox):
        [line] = policy.send_night(tmp_path, DAY, settings(url, "a@example.org"))
        assert line.startswith(f"reports/{BEFORE}/digest.json cannot be read")
        assert [message["Subject"][11:21] for message in inbox.messages] == [DAY]


def test_a_night_in_the_future_is_refused_and_its_record_silences_nothing(tmp_path, trusted, monkeypatch, capsys):
    future = str(date.today() + timedelta(400))
    for day in (DAY, future):
        write_incidents(tmp_path, [incident("slow storage", day=day)], day)
        write_run(tmp_path, day=day)
    (tmp_path / "reports" / future / "mail.json").write_text('{"recipients": {"x": {"outcome": "sent", "reason": "", "notified": []}}}')
    with serve("smtps", trusted) as (url, inbox):
        [line] = policy.send_night(tmp_path, future, settings(url, "a@example.org"))
        assert line.startswith(f"the night {future} has not begun: today is ")
        assert policy.send_night(tmp_path, DAY, settings(url, "a@example.org")) == []
        assert len(inbox.kept) == 1
    config = tmp_path / "site.yaml"
    config.write_text(yaml.safe_dump(settings(closed(), "a@example.org") | {"products": str(tmp_path)}))
    assert commands.mail(config, future) == 2
    assert capsys.readouterr().err.count("has not begun") == 1


def test_what_is_to_be_known_is_mailed_once_and_repeated_with_any_other_mail(tmp_path, trusted):
    warned = {"transfers": ["Observed 6.99% of 1200, stated 2.00%."]}
    nights = {BEFORE: warned, DAY: {"transfers": ["Observed 7.10% of 1300, stated 2.00%."]}, LATER[0]: {"tickets": ["The alias x fits no record."]}}
    with serve("smtps", trusted) as (url, inbox):
        for day, warnings in nights.items():
            write_incidents(tmp_path, [], day)
            write_run(tmp_path, day=day, warnings=warnings, verdicts={"accounting": "too little history"})
            assert policy.send_night(tmp_path, day, settings(url, failures=["ops@example.org"])) == []
    assert [message["Subject"] for message in inbox.messages] == [
        f"Nightshift {BEFORE}: transfers: warning, accounting: too little history",
        f"Nightshift {LATER[0]}: accounting: too little history, tickets: warning",
    ]
    text = inbox.messages[0].get_body(("plain",)).get_content()
    assert "4 of 5 studies reported; nothing new is known of accounting (too little history)." in text
    assert "- transfers: warning: Observed 6.99% of 1200, stated 2.00%." in text


def test_a_message_has_a_limited_number_of_recipients(night, trusted):
    many = [f"reader{n:03}@example.org" for n in range(120)]
    with serve("smtps", trusted) as (url, inbox):
        assert policy.send_night(night, DAY, settings(url, *many)) == []
    assert [len(to) for to, _ in inbox.kept] == [50, 50, 20]
    assert inbox.reached == many


def test_the_command_says_what_went_wrong_and_writes_drafts(night, monkeypatch, capsys):
    def run(day="", dry_run=False, **changes):
        config = night / "site.yaml"
        config.write_text(yaml.safe_dump(settings(closed(), "a@example.org") | {"products": str(night)} | changes))
        return commands.mail(config, day, dry_run), *capsys.readouterr()

    code, sentence, _ = run(dry_run=True)
    assert (code, sentence.endswith(f"data/mail/{DAY}/1-digest.eml: to a@example.org\n")) == (0, True)
    draft = email.message_from_bytes((night / "data/mail" / DAY / "1-digest.eml").read_bytes(), policy=default)
    assert draft["To"] == "a@example.org"
    assert (night / "data/mail").stat().st_mode & 0o777 == 0o700
    assert list((night / "reports").rglob("*.eml")) == []
    assert not (night / "reports" / DAY / "mail.json").exists()
    code, _, line = run()
    assert (code, line.count("\n"), line.startswith(f"nightshift: mail: {DAY} to a@example.org: localhost:")) == (1, 1, True)
    code, _, line = run("2026-03-01")
    assert (code, "the night of 2026-03-01 has not been published" in line) == (1, True)
    code, _, line = run(mail={})
    assert (code, line.endswith("site.yaml: it says nothing under `mail`, `webhooks`, `alertmanager`\n")) == (2, True)
