"""What becomes of messages, without a server: answers and what they mean, what is remembered of a recipient, news of silent nights, alerts."""

import contextlib
import fcntl
import json
import smtplib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from types import SimpleNamespace

import pytest
import requests
from incident_tables import incident, published_finding, published_incident, write_incidents, write_run

from nightshift.assurance import assure
from nightshift.notify import alertmanager, http, policy, smtp, webhook
from nightshift.notify.carried import carry_news, silent_nights
from nightshift.notify.message import concerns_of, mail_view, read_night, subject_of
from nightshift.notify.settings import checked_alertmanager, checked_server, read_alertmanager, read_webhooks

NIGHTS = ["2026-01-28", "2026-01-29", "2026-01-30", "2026-01-31"]
DAY = NIGHTS[3]


# ----------------------------------------------------------------------------------------------------- answers of servers


class Server:
    """A mail server that answers as it is told: code of each recipient, of DATA and of the content; None closes the connection."""

    def __init__(self, recipients, data=354, content=250):
        self.recipients, self.data, self.content, self.sent = recipients, data, content, b""

    def rcpt(self, address):
        return self.recipients[address], b"a@example.org is nobody"

    def docmd(self, command):
        return self.data, b"as you say"

    def send(self, content):
        self.sent += content

    def getreply(self):
        if self.content is None:
            raise smtplib.SMTPServerDisconnected("gone")
        return self.content, b"as you say"


def delivered(monkeypatch, server, before=None, text="Hi\n.dot\n"):
    """Outcomes {address: outcome} of a message to all recipients of a server, and their reasons."""
    monkeypatch.setattr(smtp, "connected", lambda settings: contextlib.nullcontext(server))
    message = EmailMessage()
    message.set_content(text)
    outcomes = smtp.deliver(message, list(server.recipients), None, before or (lambda what: None))
    return {address: outcome for address, (outcome, _) in outcomes.items()}, {address: words for address, (_, words) in outcomes.items()}


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(250, "sent"), (251, "sent"), (252, "waiting"), (450, "waiting"), (499, "waiting"), (500, "refused"), (599, "refused"), (600, "waiting")],
)
def test_what_becomes_of_a_recipient_follows_from_the_answer(monkeypatch, code, outcome):
    outcomes, words = delivered(monkeypatch, Server({"a": code, "b": 250}))
    assert outcomes == {"a": outcome, "b": "sent"}
    assert words == {"a": "" if outcome == "sent" else f"it says {code} (address) is nobody", "b": ""}


@pytest.mark.parametrize(
    ("data", "content", "outcome"),
    [
        (354, 250, "sent"), (354, 251, "unclear"), (354, 399, "unclear"), (354, 400, "waiting"), (354, 499, "waiting"), (354, 500, "refused"),
        (354, None, "unclear"), (451, 250, "waiting"), (499, 250, "waiting"), (500, 250, "refused"), (599, 250, "refused"), (600, 250, "waiting"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_message_follows_from_the_last_answer(monkeypatch, data, content, outcome):
    before = []
    assert delivered(monkeypatch, Server({"a": 250, "b": 250}, data, content), before.append)[0] == dict.fromkeys("ab", outcome)
    assert before == ([dict.fromkeys("ab", ("sending", ""))] if data == 354 else [])


def test_lines_that_begin_with_a_dot_get_another_and_the_message_ends_with_one(monkeypatch):
    server = Server({"a": 250})
    delivered(monkeypatch, server)
    assert server.sent.endswith(b"Hi\n..dot\n.\r\n")


def test_where_a_connection_is_lost_before_the_content_the_rest_waits(monkeypatch):
    def lost(what):
        raise OSError("no room")

    outcomes, words = delivered(monkeypatch, Server({"a": 550, "b": 250}), lost)
    assert (outcomes, words["b"]) == ({"a": "refused", "b": "waiting"}, "no room")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (smtplib.SMTPResponseException(550, b"no\r\nb@example.org"), "it says 550 no (address)"),
        (OSError("timed out"), "no answer within 30 s"),
        (smtplib.SMTPResponseException(-1, b"HTTP/1.1"), "it speaks no SMTP: HTTP/1.1"),
        (smtplib.SMTPResponseException(0, b"x"), "it speaks no SMTP: x"),
        (TimeoutError(), "no answer within 30 s"), (ConnectionError(), "ConnectionError"), (OSError("no\nroute"), "no route"),
    ],
)  # fmt: skip
def test_what_went_wrong_with_a_mail_server_is_one_line(error, words):
    assert smtp.reason(error) == words


def test_a_mail_server_that_is_silent_had_the_time_that_it_was_given(monkeypatch):
    assert smtp.reason(TimeoutError(), 5) == "no answer within 5 s"
    server = Post()
    server.connect = lambda *address: (_ for _ in ()).throw(TimeoutError())
    with pytest.raises(smtp.NoWay, match=r"^h:25: no answer within 2 s$"):
        met(monkeypatch, server, timeout_s=2)


def test_of_the_answer_of_a_server_two_hundred_characters_are_told():
    assert smtp.answer(550, b"x" * 300) == f"it says 550 {'x' * 199}…"


def test_a_certificate_that_is_refused_is_told():
    error = ssl.SSLCertVerificationError("x")
    error.verify_message = "self-signed"
    assert smtp.reason(error) == "its certificate is refused: self-signed"
    with pytest.raises(smtplib.SMTPResponseException):
        smtp.expect(220, (221, b"x"))
    assert smtp.expect(220, (220, b"x")) is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(199, "refused"), (200, "sent"), (299, "sent"), (300, "refused"), (404, "refused"), *[(code, "waiting") for code in (401, 429, 500, 503)],
     *[(code, "unclear") for code in (502, 504)]],
)  # fmt: skip
def test_what_becomes_of_a_post_follows_from_its_status(status, outcome):
    assert http.outcome_of((status, b"a\nb", {})) == (outcome, "" if outcome == "sent" else f"it says {status} a b")


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (requests.ConnectTimeout("x"), ("waiting", "no answer in time")), (requests.ReadTimeout("x"), ("unclear", "no answer in time")),
        (requests.exceptions.SSLError("x"), ("waiting", "its certificate is refused")),
        (requests.exceptions.ProxyError("x"), ("waiting", "the proxy cannot be used")),
        (requests.ConnectionError("NewConnectionError: refused"), ("waiting", "connection refused")),
        (requests.ConnectionError("NameResolutionError"), ("waiting", "there is no such host")),
        (requests.ConnectionError("reset"), ("unclear", "the connection was lost (ConnectionError)")),
        (ValueError("x"), ("waiting", "its address is none")),
    ],
)  # fmt: skip
def test_what_failed_before_anything_was_sent_waits(error, end):
    assert http.outcome_of(error) == end


class Session:
    """A session of requests that answers as it is told, and keeps what it was asked."""

    def __init__(self, status=200, body=b"x" * 900):
        self.status, self.body, self.asked = status, body, []

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None

    def request(self, method, url, **how):
        self.asked.append((method, url, how))
        raw = SimpleNamespace(read=lambda n, decode_content: self.body[:n] if decode_content else b"packed")
        return SimpleNamespace(status_code=self.status, ok=self.status < 400, raw=raw, headers={"a": "b"})


def test_a_server_has_ten_seconds_to_connect_and_thirty_to_answer_and_only_a_refusal_is_read(monkeypatch):
    session = Session()
    monkeypatch.setattr(requests, "Session", lambda: session)
    assert http.ask("POST", "https://h", json=[1]) == (200, b"", {"a": "b"})
    assert session.asked == [("POST", "https://h", {"timeout": (10, 30), "allow_redirects": False, "stream": True, "json": [1]})]
    session.status = 404
    assert http.ask("GET", "https://h", wait_s=2) == (404, b"x" * 500, {"a": "b"})
    assert session.asked[1][2]["timeout"] == (2, 2)
    assert http.post("https://h", [1], auth=("me", "secret")) == ("refused", f"it says 404 {'x' * 199}…")
    assert session.asked[2][2] | {"json": [1], "auth": ("me", "secret")} == session.asked[2][2]
    monkeypatch.setattr(session, "request", lambda *args, **how: 1 / 0)
    assert isinstance(http.ask("GET", "https://h"), ZeroDivisionError)


def test_a_server_that_never_ends_its_answer_keeps_nobody_waiting(monkeypatch):
    threads, end = [], threading.Event()
    monkeypatch.setattr(http, "WHOLE_S", 0.01)
    monkeypatch.setattr(http, "ask", lambda *args, **how: (threads.append(threading.current_thread()), end.wait(5)))
    assert http.post("https://h", []) == ("unclear", "no whole answer within 0.01 s")
    assert threads[0].daemon, "the run ends though the answer does not"
    end.set()


class Post:
    """A mail server as smtplib has it; `takes` are its answers to a connection and to the sender."""

    def __init__(self, takes=(220, 250), sock=None):
        self.takes, self.sock, self.done = takes, sock, []

    def connect(self, *address):
        self.done.append(address)
        return self.takes[0], b"hello"

    def starttls(self, context):
        self.done.append(("starttls", context.verify_mode, context.check_hostname))

    def mail(self, sender):
        return self.takes[1], b"nobody"

    def __getattr__(self, name):
        return lambda *args: self.done.append((name, *args))


def met(monkeypatch, server, scheme="smtp", **more):
    """What a mail server was asked while a message could be handed over, and how it was made."""
    made = []
    for name in ("SMTP", "SMTP_SSL"):
        monkeypatch.setattr(smtplib, name, lambda name=name, **how: (made.append((name, how)), server)[1])
    settings = SimpleNamespace(server=(scheme, "h", 25), login=None, sender="n@example.org")
    with smtp.connected(SimpleNamespace(**(vars(settings) | more)), timeout_s=more.get("timeout_s")):
        assert server.done[-1][0] != "close"
    return server.done, made[0]


def test_a_mail_server_is_met_encrypted_and_by_the_name_in_its_certificate(monkeypatch):
    done, (name, how) = met(monkeypatch, Post())
    assert done == [("h", 25), ("starttls", ssl.CERT_REQUIRED, True), ("ehlo_or_helo_if_needed",), ("quit",), ("close",)]
    assert (name, how) == ("SMTP", {"timeout": 30})
    server = Post()
    done, (name, how) = met(monkeypatch, server, "smtps", login=("me", "secret"), timeout_s=2)
    assert done == [("h", 25), ("login", "me", "secret"), ("ehlo_or_helo_if_needed",), ("quit",), ("close",)]
    assert (name, how["timeout"], how["context"].verify_mode, server._host) == ("SMTP_SSL", 2, ssl.CERT_REQUIRED, "h")


@pytest.mark.parametrize(("takes", "words"), [((554, 250), "h:25: it says 554 hello"), ((220, 550), "h:25: it says 550 nobody")])
def test_a_server_that_takes_no_connection_or_no_sender_is_no_way(monkeypatch, takes, words):
    server = Post(takes)
    with pytest.raises(smtp.NoWay, match=f"^{words}$"):
        met(monkeypatch, server)
    assert server.done[-1] == ("close",)


def test_a_goodbye_that_fails_costs_nothing_and_a_session_has_an_end(monkeypatch):
    ours, theirs = socket.socketpair()
    server, timers = Post(sock=ours), []
    monkeypatch.setattr(server, "quit", lambda: expect_closed(theirs), raising=False)
    monkeypatch.setattr(smtp, "SESSION_S", 0.01)
    monkeypatch.setattr(threading, "Timer", lambda *how, timer=threading.Timer: (timers.append(timer(*how)), timers[-1])[1])
    assert met(monkeypatch, server)[0][-1] == ("close",)
    assert (timers[0].daemon, timers[0].interval) == (True, 0.01)
    for end in (ours, theirs):
        end.close()


def expect_closed(sock):
    """Wait until the other end of a socket was shut down, and fail as a connection that is lost does."""
    sock.settimeout(5)
    assert sock.recv(1) == b""
    raise ConnectionError("lost")


# -------------------------------------------------------------------------------------------------- what is remembered


def state_of(outcome="sent", notified=(), **more):
    return {"outcome": outcome, "reason": "", "notified": list(notified)} | more


def test_a_recipient_knows_what_was_known_after_the_night_before():
    states = {NIGHTS[0]: {"k": state_of(notified="a")}, NIGHTS[1]: {"k": state_of(notified="b")}, NIGHTS[2]: {"other": state_of(notified="c")}}
    assert policy.notified_before(states, NIGHTS[0], "k") == set()
    assert policy.notified_before(states, NIGHTS[1], "k") == {"a"}
    assert policy.notified_before(states, NIGHTS[3], "k") == {"b"}
    states[NIGHTS[1]]["k"]["memory"] = ["m"]
    assert [policy.memory_of(states, night, "k") for night in NIGHTS[:3]] == [None, ["m"], ["m"]]


def test_recipients_are_called_alike_in_the_records_of_all_versions():
    """By the first 64 bits of SHA-256: by another name, who has got a mail of a night would get it again after an upgrade."""
    assert policy.key_of("a") == "ca978112ca1bbdca"


def test_what_may_not_have_arrived_is_remembered_beside_what_was_before():
    message = SimpleNamespace(memory=["b", "c"])
    assert policy.remembered(["a", "b"], message, "sent") == ["b", "c"]
    assert policy.remembered(["a", "b"], message, "waiting") == ["a", "b", "c"]
    assert policy.remembered(None, message, "unclear") == ["b", "c"]
    assert policy.remembered(["a"], SimpleNamespace(memory=None), "sent") == policy.remembered(["a"], None, "sent") == ["a"]


@pytest.mark.parametrize(("n", "named"), [(1, "a0"), (3, "a0, a1, a2"), (4, "a0, a1, a2 and 1 more"), (5, "a0, a1, a2 and 2 more")])
def test_three_recipients_are_named_and_the_others_counted(n, named):
    line = policy.line_of(NIGHTS[0], "waiting", "no way", [f"a{i}" for i in range(n)])
    assert line == f"2026-01-28 to {named}: no way; tried again at the next run"


def some_settings(*people, channel=policy.mail, **more):
    settings = SimpleNamespace(people={one: [(None, 0)] for one in people}, failures=set(), channel=channel, only_changes=True, site_url="")
    return SimpleNamespace(**(vars(settings) | more))


def test_what_was_on_its_way_is_unclear_and_what_waits_too_long_is_given_up(tmp_path):
    k = policy.key_of("a")
    states = {NIGHTS[0]: {k: state_of("waiting"), "gone": state_of("sending")}, NIGHTS[1]: {k: state_of("waiting")}, NIGHTS[2]: {k: state_of("sent")}}
    troubles = policy.end_old(tmp_path, states, NIGHTS[1], some_settings("a"))
    on_its_way = "the run ended while it was on its way"
    assert troubles == {(NIGHTS[0], "given up", ""): ["a"], (NIGHTS[0], "unclear", on_its_way): ["recipient gone"]}
    assert [states[night][k]["outcome"] for night in NIGHTS[:3]] == ["given up", "waiting", "sent"]
    assert [path.parent.name for path in tmp_path.glob("reports/*/mail.json")] == [NIGHTS[0]]
    states = {NIGHTS[0]: {k: state_of("waiting")}, NIGHTS[1]: {k: state_of("sent")}}
    assert policy.end_old(tmp_path, states, NIGHTS[1], some_settings("a", channel=alertmanager)) == {}
    assert [states[night][k]["outcome"] for night in NIGHTS[:2]] == ["superseded", "sent"]
    assert len(list(tmp_path.glob("reports/*/alertmanager.json"))) == 1


def views(states, due=None, channel=None, people="abc"):
    """Recipients of each view, of a channel in which all but c may see the same."""
    shown = {"MAX_TO": 2, "LATEST_ONLY": False, "view_for": lambda night, settings, address, entry: {"sees": address == "c", "entry": sorted(entry)}}
    settings = some_settings(*people, channel=SimpleNamespace(**(shown | (channel or {}))))
    return [(view["sees"], to) for view, to in policy.views_of(SimpleNamespace(day=NIGHTS[1]), settings, states, due)]


def test_who_may_see_the_same_gets_one_message_as_far_as_it_holds_recipients():
    assert views({}, people="abcde") == [(False, ["a", "b"]), (False, ["d", "e"]), (True, ["c"])]
    keys = {one: policy.key_of(one) for one in "abc"}
    settled = {NIGHTS[1]: {keys["a"]: state_of("sent"), keys["b"]: state_of("waiting"), keys["c"]: state_of("quiet")}}
    assert views(settled) == [(False, ["b"]), (True, ["c"])]
    assert views(settled, due=[keys["b"]]) == [(False, ["b"])]
    assert views(settled, due=[]) == []
    assert views(settled, channel={"LATEST_ONLY": True}) == [(False, ["a", "b"]), (True, ["c"])]


def test_what_is_past_is_forgotten_and_what_was_sent_is_known(tmp_path):
    states = {NIGHTS[0]: {policy.key_of("a"): state_of(notified=["gone", "stays", "concern"])}}
    night = SimpleNamespace(day=NIGHTS[1], concerns=[{"id": "concern"}], incidents=[{"id": "stays"}, {"id": "new"}])

    def known(outcome, incidents=night.incidents, memory=None):
        message = SimpleNamespace(id="<1>", memory=memory)
        seen = SimpleNamespace(day=night.day, concerns=night.concerns, incidents=incidents)
        policy.record(tmp_path, states, seen, {"seen": ["new"]}, {"a": (outcome, "why")}, some_settings("a"), message)
        return states[NIGHTS[1]].pop(policy.key_of("a"))

    assert known("sent") == {"outcome": "sent", "reason": "why", "message_id": "<1>", "notified": ["concern", "new", "stays"]}
    assert known("waiting")["notified"] == ["concern", "stays"]
    assert known("waiting", incidents=None)["notified"] == ["concern", "gone", "stays"], "without a digest nobody knows what is past"
    assert known("sent", memory=["m"])["memory"] == ["m"]
    written = json.loads((tmp_path / f"reports/{NIGHTS[1]}/mail.json").read_text())
    assert (written["version"], written["night"], list(written["recipients"])) == (2, NIGHTS[1], [policy.key_of("a")])


def test_the_latest_thirty_nights_are_looked_back_on(tmp_path):
    for n in range(32):
        path = tmp_path / f"reports/{datetime(2026, 1, 1) + timedelta(n):%Y-%m-%d}/mail.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"recipients": {}}')
    assert min(policy.read_states(tmp_path, some_settings("a"))[0]) == "2026-01-03"
    assert len(policy.read_states(tmp_path, some_settings("a"))[0]) == policy.MAX_STATES == 30


# ------------------------------------------------------------------------------------------------------ silent nights


def test_nights_are_silent_that_were_published_since_the_last_message(tmp_path):
    for night in NIGHTS:
        (tmp_path / f"reports/{night}").mkdir(parents=True)
        (tmp_path / f"reports/{night}/digest.json").touch()
    states = {NIGHTS[0]: {"k": state_of()}, NIGHTS[1]: {}, NIGHTS[3]: {"k": state_of()}}
    assert silent_nights(tmp_path, NIGHTS[3], states) == NIGHTS[1:3]
    assert silent_nights(tmp_path, NIGHTS[2], states) == NIGHTS[1:2]
    assert silent_nights(tmp_path, NIGHTS[3], {}) == []


@pytest.mark.parametrize(("nights", "named"), [(NIGHTS[1:2], "2026-01-29"), (NIGHTS[1:3], "2026-01-29 to 2026-01-30")])
def test_news_of_silent_nights_are_news_tonight(tmp_path, monkeypatch, nights, named):
    states = {NIGHTS[1]: {"a": "new", "b": "escalated", "c": "resolved", "d": "ongoing"}, NIGHTS[2]: {"a": "ongoing"}}
    nights_of = {night: SimpleNamespace(incidents=[{"id": name, "state": state} for name, state in of.items()]) for night, of in states.items()}
    monkeypatch.setattr("nightshift.notify.carried.read_night", lambda root, night: nights_of[night])
    tonight = [{"id": name, "state": state} for name, state in zip("abcde", ["ongoing", "ongoing", "closed", "ongoing", "ongoing"], strict=True)]
    night = SimpleNamespace(incidents=tonight, headline="Head.")
    carry_news(tmp_path, night, nights)
    assert [one["state"] for one in tonight] == ["new", "escalated", "resolved", "ongoing", "ongoing"]
    assert night.headline == f"Head. With the news of {named}, of which no message went out."
    carry_news(tmp_path, quiet := SimpleNamespace(incidents=[], headline="Head."), [])
    assert quiet.headline == "Head."


@pytest.mark.parametrize(
    ("then", "change", "tonight"),
    [("new", "", "resolved"), ("escalated", "", "resolved"), ("ongoing", "", "closed"), ("new", "now part of b", "closed")],
)
def test_what_came_and_ended_on_silent_nights_is_told_as_resolved_and_what_joined_another_is_not(tmp_path, monkeypatch, then, change, tonight):
    states = {NIGHTS[1]: then, NIGHTS[2]: "closed" if not change else "ongoing"}
    nights_of = {night: SimpleNamespace(incidents=[{"id": "a", "state": state, "change": ""}]) for night, state in states.items()}
    monkeypatch.setattr("nightshift.notify.carried.read_night", lambda root, night: nights_of[night])
    night = SimpleNamespace(incidents=[{"id": "a", "state": "closed", "change": change}], headline="Head.")
    carry_news(tmp_path, night, NIGHTS[1:3])
    assert night.incidents[0]["state"] == tonight


# ----------------------------------------------------------------------------------------------------- alerts and chats


def alerted(labels):
    return {"labels": labels, "annotations": {}}


def test_alerts_last_over_two_missed_nights_and_those_that_are_gone_end_now():
    now = datetime(2026, 1, 31, 6, tzinfo=UTC)
    view = {"day": NIGHTS[3], "alerts": [alerted({"a": "1"})], "ended": [{"a": "2"}]}
    message = alertmanager.compose(None, view, None, ["http://x"], now)
    assert [one["endsAt"] for one in message.content] == ["2026-02-03T12:00:00Z", "2026-01-31T06:00:00Z"]
    assert message.memory == [{"a": "1"}]
    again = alertmanager.compose(None, view, None, ["http://x"], now + timedelta(1))
    assert (message.id, len(message.id)) == (again.id, len("2026-01-31.") + 24)


def test_what_is_no_longer_open_is_ended_unless_nobody_knows(monkeypatch):
    monkeypatch.setattr(alertmanager, "mail_view", lambda *args: {"seen": ["s"]})
    monkeypatch.setattr(alertmanager, "alerts_of", lambda *args: [alerted({"alertname": "x"})])
    memory = [{"alertname": alertmanager.INCIDENT, "n": "1"}, {"alertname": "x"}, {"alertname": "y"}]
    view = alertmanager.view_for(SimpleNamespace(day=DAY, incidents=[]), None, "u", {"memory": memory})
    assert (view["ended"], view["seen"], len(view["alerts"])) == ([memory[0], memory[2]], ["s"], 1)
    view = alertmanager.view_for(SimpleNamespace(day=DAY, incidents=None), None, "u", {"memory": memory})
    assert (view["ended"], [one["labels"] for one in view["alerts"]]) == ([memory[2]], [memory[1], memory[0]])
    monkeypatch.setattr(alertmanager, "mail_view", lambda *args: None)
    assert alertmanager.view_for(SimpleNamespace(day=DAY, incidents=[]), None, "u", {"memory": None}) is None
    view = alertmanager.view_for(SimpleNamespace(day=DAY, incidents=[]), None, "u", {"memory": [{"alertname": "y"}]})
    assert (view["alerts"], view["ended"], view["seen"]) == ([], [{"alertname": "y"}], [])


def test_an_incident_is_told_with_the_labels_of_all_its_findings():
    findings = [{"study": "b", "kind": "k", "site": "S", "entity": "e2"}, {"study": "a", "kind": "k", "site": "", "entity": "e1"}]
    one = {"id": "20260131-aaaa", "severity": "high", "title": "T", "summary": "S.", "impact": "", "start": None, "first_seen": "2026-01-30"}
    one |= {"proposals": [{"proposal": "first"}, {"proposal": "second"}], "findings": findings}
    alert = alertmanager.incident_alert(one, "https://x/2026-01-31/")
    shown = {"incident": "20260131-aaaa", "severity": "high", "site": "S", "study": "a,b", "kind": "k", "entity": "e1,e2"}
    assert alert["labels"] == {"alertname": "NightshiftIncident"} | shown
    assert alert["annotations"] == {"summary": "T", "description": "S.", "proposal": "first"}
    assert (alert["startsAt"], alert["generatorURL"]) == ("2026-01-30T00:00:00Z", "https://x/2026-01-31/index.html")
    assert "generatorURL" not in alertmanager.incident_alert(one | {"proposals": []}, "2026-01-31/")
    assert len(alertmanager.labels_of(one | {"findings": [{"entity": "x" * 200}]})["entity"]) == alertmanager.LONGEST


def test_alerts_are_of_what_a_reader_sees_and_is_open_and_of_what_else_is_to_be_known():
    view = {"seen": ["low", "over", "silent"], "failed": FAILED[:1], "concerns": CONCERNS[1:]}
    settings = SimpleNamespace(site_url="https://x/")

    def told(night):
        return [(one["labels"]["alertname"], one["annotations"]["summary"]) for one in alertmanager.alerts_of(night, view, settings)]

    others = [("NightshiftStudyFailed", "tickets failed"), ("NightshiftConcern", "transfers: warning")]
    assert told(night_of()) == [("NightshiftIncident", "trouble low"), *others]
    assert told(night_of(None, digest="failed")) == others
    long = alertmanager.alert_of("x", {"study": "s"}, {"description": "w" * 700, "summary": ""}, "no address")
    assert long == {"labels": {"alertname": "x", "study": "s"}, "annotations": {"description": f"{'w' * 599}…"}}


def test_an_alertmanager_is_told_every_night_and_a_chat_of_changes_unless_it_asks_for_more():
    config = {"site_url": "https://x/", "alertmanager": {"to": [{"address": "http://h"}]}, "webhooks": {"to": [{"address": "HOOK"}]}}
    assert (read_alertmanager(config).only_changes, read_webhooks(config).only_changes) == (False, True)
    config["webhooks"]["only_changes"] = False
    assert not read_webhooks(config).only_changes


@pytest.mark.parametrize(("outcome", "recorded"), [("sent", "sent"), ("unclear", "waiting"), ("waiting", "waiting"), ("refused", "refused")])
def test_what_may_have_arrived_at_an_alertmanager_is_told_again(monkeypatch, outcome, recorded):
    monkeypatch.setattr(alertmanager, "post", lambda url, content, auth: (outcome, url))
    assert alertmanager.deliver(SimpleNamespace(content=[]), ["http://x"], None, lambda what: None) == {
        "http://x": (recorded, "http://x/api/v2/alerts")
    }


def test_a_chat_reads_texts_as_they_are_and_no_more_than_a_message_holds(monkeypatch):
    assert webhook.safe({"a": ["<!here> @all & [x](y) `z`", 5, None]}) == {"a": ["&lt;!here&gt; @\u2060all &amp; [x]\u2060(y) 'z'", 5, None]}
    text = "\n".join(["x" * 99] * 40)  # 3,999 characters
    template = SimpleNamespace(render=lambda values: text)
    monkeypatch.setattr(webhook, "mail_templates", lambda: SimpleNamespace(get_template=lambda name: template))
    shown = webhook.compose(None, {"day": DAY}, some_settings("a"), ["A"]).content["text"]
    assert shown == "\n".join(["x" * 99] * 39) + "\n[cut: the site has all of it]"
    text = "x" * 3900
    message = webhook.compose(None, {"day": DAY}, some_settings("a"), ["A"])
    assert (message.content["text"], len(message.id)) == (text, len("2026-01-31.") + 24)


# ------------------------------------------------------------------------------------------ what a recipient may see


def shown_incident(name, state="new", **more):
    more = {"impact": "", "rank": 1, "proposals": [], "figure": "", "studies": ["transfers"]} | more
    return published_incident(name, [published_finding()], state, **more)


SILENCE = {"as": "silenced", "by": "x", "until": DAY, "why": "y"}
ALL_OF_IT = [
    shown_incident("low", severity="low"),
    shown_incident("jobs", "ongoing", studies=["accounting", "tickets"]),
    shown_incident("high", "escalated", severity="high", studies=["tickets"]),
    shown_incident("over", "resolved"),
    shown_incident("silent", severity="high", silence=SILENCE),
    shown_incident("past", "closed", silence=SILENCE),
]


def night_of(incidents=ALL_OF_IT, room=2, verdicts=None, digest="ok", **more):
    verdicts = verdicts or dict.fromkeys(["accounting", "tickets", "transfers"], "ok")
    night = {"day": DAY, "headline": "All of it.", "sample": "", "missing": [], "failed": [], "concerns": [], "incidents": incidents, "room": room}
    return SimpleNamespace(**(night | {"assurance": assure(verdicts, digest)} | more))


def view_of(*rules, night=None, notified=(), failures=(), only_changes=True):
    settings = SimpleNamespace(people={"a": list(rules)} if rules else {}, failures={*failures}, only_changes=only_changes)
    return mail_view(night or night_of(), settings, "a", {*notified})


def ids(ones):
    return [one["id"] for one in ones]


def test_who_asks_for_all_sees_all_and_reads_the_headline():
    view = view_of((None, 0))
    assert view["seen"] == ["low", "jobs", "high", "over"]
    assert {name: ids(ones) for name, ones in view["news"].items()} == {
        "New": ["low"], "Escalated": ["high"], "Resolved": ["over"], "Ongoing, new to you": ["jobs"]
    }  # fmt: skip
    assert [(one["id"], one["rank"]) for one in view["shown"]] == [("low", 1), ("jobs", 2)]
    assert (view["more"], ids(view["silenced"])) == ("Less urgent: 1 open", ["silent"])
    assert (view["headline"], view["lead"]) == ("All of it.", "1 new, 1 escalated, 1 ongoing, 1 resolved.")
    assert (view["chip"], view["assured"]) == ("", "")


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        ([({"tickets"}, 0)], ["jobs", "high"]), ([({"accounting", "transfers"}, 0)], ["low", "jobs", "over"]),
        ([(None, 1)], ["jobs", "high", "over"]), ([(None, 2)], ["high"]),
        ([({"accounting"}, 0), ({"tickets"}, 2)], ["jobs", "high"]), ([({"certification"}, 0)], None),
    ],
)  # fmt: skip
def test_who_asks_for_a_part_sees_that_part_and_not_the_headline(rules, seen):
    view = view_of(*rules)
    assert (view and view["seen"]) == seen
    assert view is None or (view["headline"], view["digest"]) == ("", True)


def test_a_mail_is_due_for_what_is_new_to_its_reader_or_every_night_where_that_is_asked_for():
    quiet = night_of([shown_incident("jobs", "ongoing"), shown_incident("done", "ongoing", ended=True), shown_incident("s", silence=SILENCE)])
    assert ids(view_of((None, 0), night=quiet)["news"]["Ongoing, new to you"]) == ["jobs"]
    assert view_of((None, 0), night=quiet, notified=["jobs"]) is None
    every = view_of((None, 0), night=quiet, notified=["jobs"], only_changes=False)
    assert (every["news"], every["seen"]) == ({}, ["jobs", "done"])
    assert view_of(night=quiet, only_changes=False) is None, "who asks for nothing"
    assert view_of((None, 0), night=night_of(None, digest="failed"), only_changes=False) is None, "without a digest there is none to send"


FAILED = [{"study": study, "how": "failed", "step": "3_train", "error": "E", "page": ""} for study in ("tickets", "transfers")]
CONCERNS = [{"study": study, "how": "warning", "text": "T", "id": f"c-{study}"} for study in ("tickets", "transfers")]


def test_who_mends_is_told_of_failures_and_of_concerns_that_are_not_known_yet():
    night = night_of(None, digest="failed", failed=FAILED)
    view = view_of(night=night, failures=["a"])
    assert (view["digest"], view["shown"], view["headline"], view["failed"]) == (False, [], "", FAILED)
    assert view_of(night=night, failures=["b"]) is None
    night = night_of([], concerns=CONCERNS)
    assert view_of(night=night, failures=["a"], notified=["c-tickets"])["seen"] == ["c-tickets", "c-transfers"]
    assert view_of(night=night, failures=["a"], notified=["c-tickets", "c-transfers"]) is None


@pytest.mark.parametrize(
    ("rules", "failures", "studies"),
    [
        ([({"tickets"}, 0)], [], ["tickets"]), ([(None, 0)], [], ["tickets", "transfers"]), ([({"tickets"}, 0)], ["a"], ["tickets", "transfers"]),
        ([({"tickets"}, 0), (None, 2)], [], ["tickets", "transfers"]), ([({"accounting"}, 0)], [], []),
    ],
)  # fmt: skip
def test_a_reader_is_told_what_failed_and_what_is_missing_of_the_studies_they_ask_for(rules, failures, studies):
    view = view_of(*rules, failures=failures, night=night_of(failed=FAILED, concerns=CONCERNS, missing=["tickets", "transfers"]))
    assert [one["study"] for one in view["failed"]] == [one["study"] for one in view["concerns"]] == view["missing"] == studies


def test_who_asks_for_no_study_is_told_of_none():
    night = night_of(failed=FAILED, concerns=CONCERNS, missing=["tickets"])
    view = view_of((set(), 0), night=night, only_changes=False)
    assert (view["seen"], view["failed"], view["concerns"], view["missing"]) == ([], [], [], [])


def test_what_is_not_known_is_said_of_the_studies_that_a_reader_asks_for():
    night = night_of(verdicts={"accounting": "ok", "tickets": "failed", "transfers": "ok"})
    assert view_of((None, 0), night=night)["assured"] == "2 of 3 studies reported; nothing new is known of tickets (failed)."
    assert view_of(({"tickets"}, 0), night=night)["assured"] == "2 of 3 studies reported; not all is known of tickets (failed)."
    assert view_of(({"transfers"}, 0), night=night)["assured"] == "2 of 3 studies reported."
    assert view_of((None, 0), night=night)["chip"] == "2 of 3 studies reported"
    assert view_of((None, 0), night=night)["counts"] == "1 new, 1 escalated, 1 ongoing, 1 resolved", "the chip stands beside it"
    late = view_of((None, 0), night=night_of(verdicts={"tickets": "failed"}, headline=f"Late. {assure({'tickets': 'failed'}).sentence}"))
    assert late["assured"] == "", "the headline says it"
    nothing = view_of(({"certification"}, 0), only_changes=False)
    assert (nothing["counts"], nothing["lead"]) == ("nothing for you", "Nothing for you.")
    assert view_of((None, 0), only_changes=False, night=night_of([]))["counts"] == "no incident"
    lone = view_of((None, 0), only_changes=False, night=night_of([], verdicts={"tickets": "failed"}))
    assert (lone["counts"], lone["lead"]) == ("0 of 1 study reported", "All of it."), "the headline stands where the counts say nothing else"


# ------------------------------------------------------------------------------------------------ words and settings


def subject(**more):
    view = {"digest": True, "day": DAY, "failed": [], "shown": [], "news": {}, "counts": "2 new", "chip": "", "concerns": []}
    return subject_of(view | more).removeprefix(f"Nightshift {DAY}: ")


def test_a_subject_says_what_is_new_and_what_is_not_known_once():
    first, second = {"id": "1", "title": "one"}, {"id": "2", "title": "t" * 80}
    assert subject(shown=[first, second], news={"New": [second]}) == f"2 new; {'t' * 69}…"
    assert subject(shown=[first, second], news={"New": [first, second]}, chip="1 unknown") == "2 new; one; 1 unknown"
    assert subject(counts="1 unknown", chip="1 unknown") == "1 unknown"
    failed = [{"how": "failed", "study": study, "step": "3_train"} for study in ("a", "b", "b")]
    assert subject(failed=[*failed, {"how": "incomplete", "study": "site", "step": ""}]) == "2 new; 2 failed; 1 incomplete"
    concerns = [{"study": "c", "how": "warning"}] * 2
    assert subject(digest=False, failed=failed[:1], concerns=concerns) == "a failed in 3_train, c: warning"
    assert subject(digest=False, failed=[{"how": "failed", "study": "a", "step": ""}]) == "a failed"
    assert subject(counts="x" * 300) == "x" * (149 - len(f"Nightshift {DAY}: ")) + "…"


def test_what_went_wrong_in_a_night_is_read_with_its_page_each_in_a_line(tmp_path):
    published(tmp_path, DAY)
    path = tmp_path / f"reports/{DAY}/digest.json"
    record = json.loads(path.read_text()) | {"headline": "h" * 600, "problems": ["no\nroom"]}
    record["digest"] |= {"notes": ["a table is gone"], "missing": ["jobs"]}
    record["studies"]["tickets"] |= {"error": "E" * 600, "failed_step": "3_train", "verdict": "failed"}
    record["studies"]["transfers"] |= {"warnings": ["w" * 700, ""], "data": {"source": "sample"}}
    path.write_text(json.dumps(record))
    (path.parent / "tickets").mkdir()
    (path.parent / "tickets/3_train.html").touch()
    night = read_night(tmp_path, DAY)
    assert [(one["study"], one["how"], one["step"], one["page"]) for one in night.failed] == [
        ("tickets", "failed", "3_train", f"{DAY}/tickets/3_train.html"), ("digest", "incomplete", "", ""), ("site", "incomplete", "", "")
    ]  # fmt: skip
    assert [one["error"] for one in night.failed[1:]] == ["a table is gone", "no room"]
    assert (night.headline, night.missing, night.sample, night.room) == (f"{'h' * 499}…", ["jobs"], "simulated data", 1)
    assert [one["text"] for one in night.concerns] == [f"{'w' * 599}…", "warning"], "a warning without words is one"
    assert night.assurance.lacking == {"tickets": "failed"}
    record["digest"] |= {"outcome": "failed", "error": ""}
    path.write_text(json.dumps(record | {"problems": None}))
    night = read_night(tmp_path, DAY)
    assert (night.incidents, night.failed[1]["how"], night.failed[1]["error"], len(night.failed)) == (None, "failed", "it did not run", 3)
    path.write_text(json.dumps({"digest": "x" * 200}))
    with pytest.raises(ValueError, match=rf"^reports/{DAY}/digest.json cannot be read \(\w+: .{{1,120}}\), so nothing of that night is sent$"):
        read_night(tmp_path, DAY)


def test_why_a_digest_cannot_be_read_is_said_in_120_characters(tmp_path):
    root = tmp_path / ("x" * 120)
    (root / f"reports/{DAY}/digest.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=rf"^reports/{DAY}/digest.json cannot be read \(IsADirectoryError: .{{119}}…\), so nothing"):
        read_night(root, DAY)


def test_a_warning_is_the_same_concern_whatever_its_numbers_are():
    def concerns(verdict="ok", **more):
        return concerns_of("jobs", {"verdict": verdict, "error": "", "headline": "H"} | more)

    [one], [other] = (concerns(warnings=[f"{n} rows are odd"]) for n in (3, 12))
    assert (one["id"], one["text"], other["text"], len(one["id"])) == (other["id"], "3 rows are odd", "12 rows are odd", len("concern-") + 12)
    [lacking] = concerns("too little history", reason="")
    assert (lacking["how"], lacking["text"]) == ("too little history", "H")
    assert concerns("anomalies 3, too little history", reason="R")[0]["text"] == "R"
    assert concerns() == concerns("failed", error="E") == []


def test_addresses_of_servers_have_the_port_of_their_scheme_unless_they_name_one():
    assert checked_server("smtp://h:25") == ("smtp", "h", 25)
    assert checked_server("smtps://h") == ("smtps", "h", 465)
    assert checked_server("smtp://h/") == ("smtp", "h", 587)
    assert checked_alertmanager("x", "http://h:9093/a/") == "http://h:9093/a"
    for wrong in ("ftp://h", "http://", "http://h?x", 5):
        with pytest.raises(ValueError, match=r"^x: '.*' is no address such as"):
            checked_alertmanager("x", wrong)
    with pytest.raises(ValueError, match=rf"^x: 'http://{'x' * 72}…' is no address"):
        checked_alertmanager("x", f"http://{'x' * 99}?")


# ------------------------------------------------------------------------------------------------------ a channel


class Channel:
    """A channel that hands messages over to a list; `answers` says what becomes of them, one after the other, "sent" at the end."""

    SECTION, MAX_TO, DRAFT, LATEST_ONLY = "webhooks", 50, "json", False

    def __init__(self, *answers):
        self.answers, self.handed, self.kept = list(answers), [], []

    def read_settings(self, config):
        return some_settings(*config["to"])

    def view_for(self, night, settings, address, entry):
        return None if address == "quiet" else {"day": night.day, "seen": [one["id"] for one in night.incidents or []]}

    def compose(self, root, view, settings, to):
        return SimpleNamespace(id=f"<{view['day']}>", content={"day": view["day"], "to": to}, memory=None)

    def deliver(self, message, to, settings, keep):
        answer = self.answers.pop(0) if self.answers else "sent"
        if answer == "no way":
            raise smtp.NoWay("there is none")
        keep(dict.fromkeys(to, ("sending", "")))
        self.handed.append((message.content["day"], *to))
        return dict.fromkeys(to, (answer, "" if answer == "sent" else "why"))


def published(root, *nights):
    for night in nights:
        write_incidents(root, [incident("slow storage", day=night)], night)
        write_run(root, day=night)
    return root


def send(root, night, channel, *to, **more):
    return policy.send_night(root, night, {"to": to or ("a", "b", "quiet")}, channel, **more)


def outcomes_of(root, night):
    return {entry["outcome"] for entry in json.loads((root / f"reports/{night}/webhooks.json").read_text())["recipients"].values()}


def test_a_night_is_told_once(tmp_path):
    channel = Channel()
    published(tmp_path, NIGHTS[0])
    assert send(tmp_path, NIGHTS[0], channel) == send(tmp_path, NIGHTS[0], channel) == []
    assert channel.handed == [(NIGHTS[0], "a", "b")]
    assert outcomes_of(tmp_path, NIGHTS[0]) == {"sent", "quiet"}
    [line] = send(tmp_path, NIGHTS[1], channel)
    assert line.startswith(f"the night of {NIGHTS[1]} has not been published: there is no ")
    assert send(tmp_path, "2999-01-01", channel)[0].count("\n") == 0


def test_what_waits_goes_first_with_the_next_night_up_to_three_nights_later(tmp_path):
    nights = [f"2026-01-{day}" for day in range(25, 30)]
    published(tmp_path, *nights)
    waits = "2026-01-25 to a, b: why; tried again at the next run"
    assert send(tmp_path, nights[0], Channel("waiting")) == [waits]
    channel = Channel("waiting")
    assert send(tmp_path, nights[3], channel) == [waits]
    assert channel.handed == [(nights[0], "a", "b"), (nights[3], "a", "b")]
    channel = Channel()
    assert send(tmp_path, nights[4], channel) == ["2026-01-25 to a, b: why; given up after 3 nights"]
    assert channel.handed == [(nights[4], "a", "b")]
    assert send(tmp_path, nights[3], channel) == [], "an older night says nothing after a newer one was told"
    assert len(channel.handed) == 1


def test_a_night_tells_the_news_of_nights_of_which_no_message_went_out(tmp_path):
    published(tmp_path, *NIGHTS[:3])
    channel, headlines = Channel("waiting"), []
    channel.view_for = lambda night, settings, address, entry: (headlines.append((night.day, night.headline)), {"day": night.day, "seen": []})[1]
    assert len(send(tmp_path, NIGHTS[0], channel, "a")) == 1
    assert send(tmp_path, NIGHTS[2], channel, "a") == []
    (first, _), (again, earlier), (last, late) = headlines
    assert (first, again, last) == (NIGHTS[0], NIGHTS[0], NIGHTS[2])
    assert late.endswith(f" With the news of {NIGHTS[1]}, of which no message went out.")
    assert "With the news of" not in earlier, "what waits is told as it was"


def test_a_waiting_night_whose_report_was_removed_costs_the_others_nothing(tmp_path):
    published(tmp_path, *NIGHTS[:2])
    assert len(send(tmp_path, NIGHTS[0], Channel("waiting"))) == 1
    (tmp_path / f"reports/{NIGHTS[0]}/digest.json").unlink()
    channel = Channel()
    assert send(tmp_path, NIGHTS[1], channel) == []
    assert channel.handed == [(NIGHTS[1], "a", "b")]


def test_without_a_way_nothing_more_is_tried_and_all_waits(tmp_path):
    channel = Channel("no way")
    published(tmp_path, *NIGHTS[:2])
    channel.MAX_TO = 1
    assert send(tmp_path, NIGHTS[0], channel, "a", "b") == ["2026-01-28 to a, b: there is none; tried again at the next run"]
    assert (channel.handed, outcomes_of(tmp_path, NIGHTS[0])) == ([], {"waiting"})
    assert send(tmp_path, NIGHTS[0], channel, "a", "b") == []
    assert channel.handed == [(NIGHTS[0], "a"), (NIGHTS[0], "b")]


def test_what_is_refused_or_unclear_is_not_tried_again(tmp_path):
    published(tmp_path, NIGHTS[0])
    channel = Channel("refused", "unclear")
    channel.MAX_TO = 1
    lines = send(tmp_path, NIGHTS[0], channel, "a", "b")
    assert lines == [
        "2026-01-28 to a: why; not tried again for this night", "2026-01-28 to b: why; may have been delivered and is not sent again"
    ]  # fmt: skip
    assert send(tmp_path, NIGHTS[0], channel, "a", "b") == []
    assert len(channel.handed) == 2


def test_another_run_that_sends_leaves_nothing_to_do_and_an_error_is_a_line(tmp_path, monkeypatch):
    published(tmp_path, NIGHTS[0])
    with (tmp_path / "reports/.webhooks.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert send(tmp_path, NIGHTS[0], Channel()) == ["another run is sending mail, and this one leaves it to that"]
    monkeypatch.setattr(policy, "send_all", lambda *args: 1 / 0)
    assert send(tmp_path, NIGHTS[0], Channel()) == ["ZeroDivisionError: division by zero"]


def test_a_damaged_record_is_put_aside_and_its_night_is_not_told_again(tmp_path):
    published(tmp_path, *NIGHTS[:2])
    record, channel = tmp_path / f"reports/{NIGHTS[0]}/webhooks.json", Channel()
    for damage in ("{", '{"recipients": []}', '{"recipients": {"k": {"outcome": "sent", "reason": "", "notified": 5}}}', '{"recipients": {"k": 5}}'):
        record.write_text(damage)
        [line] = send(tmp_path, NIGHTS[0], channel)
        assert line.startswith(f"reports/{NIGHTS[0]}/webhooks.json cannot be read (")
        assert (outcomes_of(tmp_path, NIGHTS[0]), channel.handed) == ({"unclear"}, [])
        assert record.with_name("webhooks.damaged.json").read_text() == damage
    assert send(tmp_path, NIGHTS[1], channel) == []
    assert channel.handed == [(NIGHTS[1], "a", "b")]


def test_a_night_is_told_by_all_channels_of_the_configuration_and_by_none_for_a_trial(tmp_path, monkeypatch):
    published(tmp_path, NIGHTS[0])
    channels = [Channel("refused", "refused"), Channel()]
    channels[1].SECTION = "alertmanager"
    monkeypatch.setattr(policy, "CHANNELS", channels)
    config = {"to": ["a"], "webhooks": {"to": ["a"]}}
    assert policy.tell_night(tmp_path, NIGHTS[0], config, dry_run=True) == []
    assert not (tmp_path / f"reports/{NIGHTS[0]}/webhooks.json").exists()
    assert policy.tell_night(tmp_path, NIGHTS[0], config) == [f"webhooks: {NIGHTS[0]} to a: why; not tried again for this night"]
    assert [channel.handed for channel in channels] == [[(NIGHTS[0], "a")], []]
    assert policy.tell_night(tmp_path, NIGHTS[0], config | {"alertmanager": {"to": ["a"]}}) == []
    assert channels[1].handed == [(NIGHTS[0], "a")]


def test_a_draft_tells_the_news_of_nights_of_which_no_message_went_out(tmp_path):
    published(tmp_path, *NIGHTS[:3])
    channel, headlines = Channel(), []
    assert send(tmp_path, NIGHTS[0], channel, "a") == []
    channel.view_for = lambda night, settings, address, entry: (headlines.append(night.headline), {"day": night.day, "seen": []})[1]
    assert send(tmp_path, NIGHTS[2], channel, "a", dry_run=True) == []
    assert len(headlines) == 1
    assert headlines[0].endswith(f" With the news of {NIGHTS[1]}, of which no message went out.")


def test_drafts_are_what_would_be_sent_and_for_nobody_else_to_read(tmp_path, capsys):
    published(tmp_path, NIGHTS[0])
    folder = tmp_path / f"data/mail/{NIGHTS[0]}"
    folder.mkdir(parents=True)
    for name in ("webhooks-9.json", "alertmanager-1.json"):
        (folder / name).touch()
    assert send(tmp_path, NIGHTS[0], Channel(), dry_run=True) == []
    assert sorted(path.name for path in folder.iterdir()) == ["alertmanager-1.json", "webhooks-1.json"]
    assert json.loads((folder / "webhooks-1.json").read_text()) == {"day": NIGHTS[0], "to": ["a", "b"]}
    assert (folder.parent.stat().st_mode & 0o777, (folder / "webhooks-1.json").stat().st_mode & 0o777) == (0o700, 0o600)
    assert capsys.readouterr().out == f"{folder / 'webhooks-1.json'}: to a, b\n"
    assert not (tmp_path / f"reports/{NIGHTS[0]}/webhooks.json").exists()
