"""What becomes of messages, without a server: answers and what they mean, what is remembered of a recipient, news of silent nights, alerts."""

import contextlib
import fcntl
import json
import smtplib
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from types import SimpleNamespace

import pytest
import requests
from incident_tables import incident, write_incidents, write_run

from nightshift.notify import alertmanager, http, policy, smtp, webhook
from nightshift.notify.carried import carry_news, silent_nights
from nightshift.notify.message import concerns_of, subject_of
from nightshift.notify.settings import checked_alertmanager, checked_server

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


# ----------------------------------------------------------------------------------------------------- alerts and chats


def alerted(labels):
    return {"labels": labels, "annotations": {}}


def test_alerts_last_over_three_missed_nights_and_those_that_are_gone_end_now():
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
