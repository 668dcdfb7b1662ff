"""A night goes to a chat and to an Alertmanager by the rules of the mail: once, who, when; and a missed one with the next."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from alertmanager_server import PROGRAM, alertmanager, alerts_at
from daemons import free_ports, lacking
from incident_tables import DAY, a_night, incident, proposal, write_incidents, write_run

from nightshift.config import other_mistakes
from nightshift.incidents.silences import SILENCES_FILE, read_recorded
from nightshift.live.alertmanager import PAIRS_FILE, Alertmanager, exchange
from nightshift.notify import http, policy
from nightshift.notify.alertmanager import LASTS
from nightshift.notify.carried import carry_news
from nightshift.notify.message import read_night
from nightshift.notify.webhook import MAX_TEXT, safe
from nightshift.products import read_json
from nightshift.surroundings import check_told

BEFORE, LATER = "2026-01-30", ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"]
HOOK, SECRET = "OPERATORS_WEBHOOK", "xoxo-secret"
STUDIES = dict.fromkeys(["transfers", "accounting", "telemetry", "certification", "tickets"])


@pytest.fixture(scope="module")
def chat():
    """An HTTP server that keeps the JSON it gets in `kept` and answers as `answer` (status, text, headers) says, or worse."""

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.login = self.headers["Authorization"]
            self.server.kept.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            status, text, headers = self.server.answer
            if status == "drop":
                self.connection.close()
                return
            while status == "drip" and not ended.wait(0.1):
                self.wfile.write(b"H")
            if status == "drip":
                return
            self.send_response(status)
            for pair in headers.items():
                self.send_header(*pair)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    ended, server = threading.Event(), ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def hooks(chat, monkeypatch):
    """The same, empty and well, with its address in the environment."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(HOOK, chat.url)
    chat.kept, chat.answer = [], (200, b"ok", {})
    return chat


def settings(section, *to, **more):
    """A configuration that tells of a night by one section; a text in `to` is an address."""
    to = [{"address": one} if isinstance(one, str) else one for one in to]
    return {"day": DAY, "studies": STUDIES, "site_url": "https://nightshift.example/", section: {"to": to} | more}


def a_digest(root, incidents, day=DAY, **run):
    """Write a published night."""
    write_incidents(root, incidents, day)
    write_run(root, day=day, **run)


def outcomes(root, section, day=DAY):
    """What became of a night's messages: [outcome]."""
    return [one["outcome"] for one in json.loads((root / "reports" / day / f"{section}.json").read_text())["recipients"].values()]


# ------------------------------------------------------------------------------------------------------------------ chats


def test_a_night_reaches_a_chat_once_with_what_its_readers_may_see(tmp_path, hooks, monkeypatch):
    write_incidents(tmp_path, a_night(), proposals={"site outage at ISTHMUS-T2": [proposal("Ask the site for its downtime")]})
    write_run(tmp_path, {"tickets": ("2_preprocess", "ValueError: no rows")})
    monkeypatch.setenv("STORAGE_WEBHOOK", hooks.url.replace("hooks", "storage"))
    config = settings("webhooks", HOOK, {"address": "STORAGE_WEBHOOK", "studies": ["telemetry"]}, failures=[HOOK])
    for _ in range(2):
        assert policy.tell_night(tmp_path, DAY, config) == []
    texts = {path.split("/")[1]: body["text"] for path, body in hooks.kept}
    assert (len(hooks.kept), set(texts)) == (2, {"hooks", "storage"})
    assert texts["hooks"].startswith(f"Nightshift, night of {DAY}: ")
    assert "- site outage at ISTHMUS-T2, high, since 2026-01-30 19:40 UTC" in texts["hooks"]
    assert "To try: Ask the site for its downtime" in texts["hooks"]
    assert "tickets in 2_preprocess: ValueError: no rows" in texts["hooks"]
    assert texts["hooks"].endswith(f"https://nightshift.example/{DAY}/index.html")
    assert "ISTHMUS" not in texts["storage"]
    assert "idle GPUs at JUNIPER-T2" in texts["storage"]
    kept = (tmp_path / "reports" / DAY / "webhooks.json").read_text()
    assert not [word for word in (SECRET, HOOK) if word in kept]
    assert outcomes(tmp_path, "webhooks") == ["sent", "sent"]


@pytest.mark.parametrize(
    ("answer", "outcome", "says"),
    [
        ((400, b"invalid_payload", {}), "refused", "it says 400 invalid_payload"),
        ((404, b"", {}), "refused", "it says 404"),
        ((302, b"", {"Location": "/elsewhere"}), "refused", "it says 302"),
        ((403, b"no", {}), "waiting", "it says 403 no"),
        ((429, b"slowly", {"Retry-After": "30"}), "waiting", "it says 429 slowly"),
        ((500, b"", {}), "waiting", "it says 500"),
        ((504, b"", {}), "unclear", "it says 504"),
        (("drop", b"", {}), "unclear", "the connection was lost"),
        (("drip", b"", {}), "unclear", "no whole answer within 1 s"),
    ],
)
def test_whatever_a_chat_answers_a_message_has_a_known_end(tmp_path, hooks, monkeypatch, answer, outcome, says):
    monkeypatch.setattr(http, "WHOLE_S", 1)
    a_digest(tmp_path, [incident("slow storage")])
    hooks.answer = answer
    [line] = policy.tell_night(tmp_path, DAY, settings("webhooks", HOOK))
    assert line.startswith(f"webhooks: {DAY} to {HOOK}: {says}")
    assert line.endswith(policy.MEANS[outcome])
    assert SECRET not in line
    assert (len(hooks.kept), outcomes(tmp_path, "webhooks")) == (1, [outcome])
    hooks.answer = (200, b"ok", {})
    assert policy.tell_night(tmp_path, DAY, settings("webhooks", HOOK)) == []
    assert len(hooks.kept) == 1 + (outcome == "waiting")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", f"{HOOK} is no address of a webhook"),
        (f"http://127.0.0.1:FREE/{SECRET}", "connection refused"),
        (f"http://nowhere.invalid/{SECRET}", "there is no such host"),
        (f"http://user:{SECRET}@127.0.0.1/x", f"{HOOK} is no address of a webhook"),
    ],
)
def test_without_a_way_a_message_waits_and_the_secret_is_not_said(tmp_path, hooks, monkeypatch, address, says):
    monkeypatch.setenv(HOOK, address.replace("FREE", str(free_ports(1)[0])))
    a_digest(tmp_path, [incident("slow storage")])
    [line] = policy.tell_night(tmp_path, DAY, settings("webhooks", HOOK))
    assert says in line
    assert SECRET not in line
    assert (hooks.kept, outcomes(tmp_path, "webhooks")) == ([], ["waiting"])


def test_a_name_calls_nobody_and_fetches_no_picture(tmp_path, hooks):
    hostile = "@all <!channel> ![x](http://evil.example/p.png) <http://evil.example|the site> `code` & more"
    a_digest(tmp_path, [incident(hostile, summary=hostile)] + [incident(f"{n} {hostile}" * 3) for n in range(60)])
    assert policy.tell_night(tmp_path, DAY, settings("webhooks", HOOK)) == []
    text = hooks.kept[0][1]["text"]
    assert not [bad for bad in ("@all", "<!", "](", "<http", "`") if bad in text]
    assert "@\u2060all &lt;!channel&gt; ![x]\u2060(http://evil.example/p.png)" in text
    assert len(text) <= MAX_TEXT + 50
    assert safe([{"a": 1, "b": None}]) == [{"a": 1, "b": None}]


@pytest.mark.parametrize(
    ("section", "settings", "line"),
    [
        ("webhooks", {"to": [{"address": f"https://chat.example/{SECRET}"}]}, "webhooks.to[0].address must be the name of a variable"),
        ("webhooks", {"failures": [7]}, "webhooks.failures[0] must be the name of a variable"),
        ("webhooks", {"too": []}, "webhooks: unknown setting 'too'; known are only_changes, to, failures"),
        ("alertmanager", {"to": [{"address": "alerts.example"}]}, "alertmanager.to[0].address: 'alerts.example' is no address such as"),
        ("alertmanager", {"failures": [f"http://me:{SECRET}@alerts.example"]}, "alertmanager.failures[0] holds a user or a password"),
        ("alertmanager", {"only_changes": True}, "alertmanager: unknown setting 'only_changes'; known are to, failures"),
        ("alertmanager", {"to": []}, "alertmanager names no recipient"),
    ],
)
def test_a_mistake_in_the_configuration_is_a_line_without_the_secret(section, settings, line):
    [sentence] = other_mistakes({"studies": STUDIES, section: settings})
    assert sentence.startswith(line)
    assert SECRET not in sentence


def test_a_check_asks_servers_and_calls_no_webhook(hooks, server, monkeypatch):
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("AWAY_WEBHOOK", f"{away}/{SECRET}")
    config = settings("webhooks", HOOK, failures=["AWAY_WEBHOOK"]) | settings("alertmanager", server, f"{server}/nothing")
    dates = []
    (_, [hook], [no_hook]), (_, [alerts], [no_alerts]) = check_told(config, dates)
    assert (hook.split(": ")[1].startswith("127.0.0.1:"), no_hook) == (True, "AWAY_WEBHOOK: connection refused")
    assert (alerts, no_alerts) == (f"{server}: it answers", f"{server}/nothing: it says 404")
    assert hooks.kept == []
    assert all(abs(at - datetime.now(UTC)) < timedelta(minutes=1) for _, at in dates)
    assert len(dates) == 3


# ------------------------------------------------------------------------------------------------------------ Alertmanager


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real Alertmanager."""
    if missing := lacking([PROGRAM]):
        pytest.skip(f"without {missing}")
    with alertmanager(tmp_path_factory.mktemp("alertmanager")) as url:
        yield url


@contextmanager
def cleared(url):
    """End what an earlier test has left at an Alertmanager."""
    ended = [{"labels": labels, "endsAt": "2026-01-01T00:00:00Z"} for labels, _ in alerts_at(url)]
    assert http.post(f"{url}/api/v2/alerts", ended)[0] == "sent"
    assert alerts_at(url) == []
    yield


def test_what_is_open_is_an_alert_and_what_has_ended_is_none(tmp_path, server):
    config = settings("alertmanager", server, {"address": server, "studies": ["transfers"]}, failures=[server])
    with cleared(server):
        a_digest(tmp_path, a_night(), failed={"tickets": ("2_preprocess", "ValueError: no rows")})
        for _ in range(2):
            assert policy.tell_night(tmp_path, DAY, config) == []
        named = [labels.get("site") or labels.get("study") for labels, _ in alerts_at(server)]
        assert sorted(named) == ["AURORA-T1", "ISTHMUS-T2", "JUNIPER-T2", "tickets"]
        [(labels, texts)] = [pair for pair in alerts_at(server) if pair[0].get("site") == "ISTHMUS-T2"]
        about = {"study": "accounting,tickets,transfers", "kind": "global_dip", "entity": "site outage at ISTHMUS-T2", "site": "ISTHMUS-T2"}
        assert labels == {"alertname": "NightshiftIncident", "incident": labels["incident"], "severity": "high"} | about
        assert texts["summary"] == "site outage at ISTHMUS-T2"
        assert texts["impact"] == "103,178 core hours, 12 GB delayed, 18 tickets"

        a_digest(tmp_path, [], LATER[0])
        (tmp_path / "reports" / LATER[0] / "digest.json").write_text(without_digest(tmp_path, LATER[0]))
        assert policy.tell_night(tmp_path, LATER[0], config) == []
        assert "ISTHMUS-T2" in [labels.get("site") for labels, _ in alerts_at(server)], "a failed digest ends no alert"

        outage = a_night()[0] | {"state": "ongoing", "severity": "medium", "age_nights": 3, "first_seen": DAY}
        a_digest(tmp_path, [outage], LATER[1])
        assert policy.tell_night(tmp_path, LATER[1], config) == []
        assert [labels["severity"] for labels, _ in alerts_at(server)] == ["medium"]
        a_digest(tmp_path, [outage | {"state": "resolved", "ended": True}], LATER[2])
        assert policy.tell_night(tmp_path, LATER[2], config) == []
        assert alerts_at(server) == []


def test_a_silence_of_the_digest_mutes_the_alerts_of_a_night(tmp_path, server):
    """Those that the night itself has sent have the labels on which silences are written; one that holds for some of its names mutes none."""
    config = settings("alertmanager", server, {"address": server, "studies": ["transfers"]})
    entry = {"as": "silenced", "by": "storage", "until": str(datetime.now(UTC).date() + timedelta(1))}
    entries = [entry | {"study": "tr*", "why": "one of three"}, entry | {"kind": "slow_*", "entity": "slow storage *", "why": "it moves"}]
    with cleared(server):
        a_digest(tmp_path, a_night())
        assert policy.tell_night(tmp_path, DAY, config) == []
        made = exchange(Alertmanager(server), tmp_path, entries, datetime.now(UTC))
        assert made == ["silenced in the Alertmanager, as here: one of three", "silenced in the Alertmanager, as here: it moves"]
        found = requests.get(f"{server}/api/v2/alerts", timeout=5).json()
        assert {one["labels"]["site"]: one["status"]["state"] for one in found if "site" in one["labels"]} == {
            "AURORA-T1": "suppressed",
            "ISTHMUS-T2": "active",
            "JUNIPER-T2": "active",
        }
        lifted = ["lifted in the Alertmanager: one of three", "lifted in the Alertmanager: it moves"]
        assert exchange(Alertmanager(server), tmp_path, [], datetime.now(UTC)) == lifted


def test_a_silence_made_there_that_mutes_more_than_it_names_is_a_line_with_what_to_write(tmp_path, server):
    """ISTHMUS-T2 is seen by three studies: `.*` of the label of one runs on across the names of the others."""
    with cleared(server):
        a_digest(tmp_path, a_night())
        assert policy.tell_night(tmp_path, DAY, settings("alertmanager", server)) == []
        [outage] = [labels["incident"] for labels, _ in alerts_at(server) if labels["site"] == "ISTHMUS-T2"]
        there, now = Alertmanager(server), datetime.now(UTC)

        def silence(value):
            matchers = [{"name": "study", "value": value, "isRegex": True, "isEqual": True}]
            times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
            return there.silence({"matchers": matchers, "createdBy": "storage", "comment": "it moves"} | times)

        def found():
            lines = exchange(there, tmp_path, [], now)
            entries, _ = read_recorded(tmp_path / SILENCES_FILE, str(now.date()))
            states = {one["labels"].get("incident"): one["status"]["state"] for one in there.alerts()}
            return lines, [one["study"] for one in entries], states[outage], read_json(tmp_path / PAIRS_FILE)

        wide = silence("acc.*")
        lines, entries, state, pairs = found()
        instead = 'study=~"(?i)acc([^,]|, )*(,acc([^,]|, )*)*"'
        assert lines == [
            "silenced here, as in the Alertmanager: it moves",
            f"The silence “it moves” of storage in the Alertmanager mutes more than it names, {outage}: write {instead} there",
        ]
        assert (entries, state, pairs[wide]["mutes_too"]) == (["acc*"], "suppressed", [outage])
        assert found()[0] == [], "said once"
        there.expire(wide)
        assert found()[:2] == (["lifted here: it moves"], [])
        for value in ("acc[^,]*(,acc[^,]*)*", instead.split('"')[1]):
            whole = silence(value)
            lines, entries, state, pairs = found()
            assert lines == ["silenced here, as in the Alertmanager: it moves"]
            assert (entries, state) == (["acc*"], "active")
            assert "mutes_too" not in pairs[whole]
            there.expire(whole)
            assert found()[:3] == (["lifted here: it moves"], [], "active")


def without_digest(root, day):
    """The digest.json of a night whose digest failed."""
    record = json.loads((root / "reports" / day / "digest.json").read_text())
    record["digest"] |= {"outcome": "failed", "error": "it ended"}
    return json.dumps(record | {"incidents": []})


@pytest.mark.parametrize(
    ("variables", "login"),
    [
        ({"ALERTMANAGER_TOKEN": "abc"}, "Bearer abc"),
        ({"ALERTMANAGER_USER": "me", "ALERTMANAGER_PASSWORD": "x"}, "Basic bWU6eA=="),
        ({"HOME": "/nowhere"}, None),
    ],
)
def test_the_login_comes_from_the_environment(tmp_path, hooks, monkeypatch, variables, login):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    a_digest(tmp_path, [incident("slow storage")])
    assert policy.tell_night(tmp_path, DAY, settings("alertmanager", hooks.url.partition("/hooks")[0])) == []
    [(path, [alert])] = hooks.kept
    assert (path, alert["annotations"]["summary"], hooks.login) == ("/api/v2/alerts", "slow storage", login)


def test_an_alertmanager_that_was_away_is_told_of_the_latest_night_only(tmp_path, server):
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    with cleared(server):
        a_digest(tmp_path, [incident("slow storage")])
        [line] = policy.tell_night(tmp_path, DAY, settings("alertmanager", away))
        assert line == f"alertmanager: {DAY} to {away}: connection refused; tried again at the next run"
        a_digest(tmp_path, [incident("idle GPUs", day=LATER[0])], LATER[0])
        [line] = policy.tell_night(tmp_path, LATER[0], settings("alertmanager", away))
        assert line.startswith(f"alertmanager: {LATER[0]} to ")
        assert outcomes(tmp_path, "alertmanager") == ["superseded"]
        assert policy.tell_night(tmp_path, LATER[0], settings("alertmanager", server)) == []
        assert [texts["summary"] for _, texts in alerts_at(server)] == ["idle GPUs"]
    assert LASTS.total_seconds() > 3 * 86_400, "no alert ends for two missed nights"


# ---------------------------------------------------------------------------------------------------------- missed nights


def test_after_missed_nights_one_message_has_the_news_of_all_of_them(tmp_path, hooks):
    storage, gpus, outage = (incident(title, first_seen=BEFORE) for title in ("slow storage", "idle GPUs", "site outage"))
    nights = {
        BEFORE: [storage | {"state": "new"}],
        DAY: [storage | {"state": "resolved", "ended": True}, gpus | {"state": "new"}],
        LATER[0]: [storage | {"state": "closed", "ended": True}, gpus | {"state": "escalated"}, outage | {"state": "new"}],
        LATER[1]: [storage | {"state": "closed", "ended": True}, gpus | {"state": "ongoing"}, outage | {"state": "ongoing"}],
    }
    for day, rows in nights.items():
        a_digest(tmp_path, rows, day)
        if day in (BEFORE, LATER[1]):
            assert policy.tell_night(tmp_path, day, settings("webhooks", HOOK)) == []
    assert len(hooks.kept) == 2
    text = hooks.kept[1][1]["text"]
    assert text.startswith(f"Nightshift, night of {LATER[1]}: 1 new, 1 escalated, 1 resolved.")
    assert [line.rstrip(":") for line in text.splitlines() if line in ("New:", "Escalated:", "Resolved:", "Ongoing, new to you:")] == [
        "New",
        "Escalated",
        "Resolved",
    ]
    assert f"With the news of {DAY} to {LATER[0]}, of which no message went out." in text
    back = storage | {"state": "escalated"}  # it came back on the second of two silent nights, and goes on
    for day, row in ((LATER[2], back), (LATER[3], storage | {"state": "ongoing"})):
        a_digest(tmp_path, [row], day)
    night = read_night(tmp_path, LATER[3])
    carry_news(tmp_path, night, [DAY, LATER[2]])
    assert [one["state"] for one in night.incidents] == ["escalated"]
    night = read_night(tmp_path, LATER[1])
    carry_news(tmp_path, night, [])
    assert sorted(one["state"] for one in night.incidents) == ["closed", "ongoing", "ongoing"], "that night alone has no news"
