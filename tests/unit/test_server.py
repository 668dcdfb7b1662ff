"""The server of the site over HTTP: what it sends, what it takes down and from whom, and what it refuses."""

import http.client
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pandas as pd
import pytest
import requests
from bs4 import BeautifulSoup
from conftest import REPOSITORY
from incident_tables import DAY
from served import LEAK, SLOW, publish_night, reader, serving

from nightshift.cli import app
from nightshift.incidents.silences import apply_silences, read_recorded, read_silences
from nightshift.remediation.feedback import read_feedback

IDS = [LEAK["incident"], SLOW["incident"]]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    config = publish_night(root)
    names = ("mail/a.eml", ".hidden", "run.log", "mail.damaged.json")
    for name in (*(f"reports/{DAY}/{name}" for name in names), "data/secret.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("Straße")
    (root / "reports/link.txt").symlink_to(root / "data/secret.txt")
    return config


@pytest.fixture(scope="module")
def address(published):
    with serving(published) as address:
        yield address


@pytest.fixture
def root(published):
    return published.parent


def feedback_of(root):
    """(incident, remediation, worked, by) of all feedback, which must be whole."""
    table, trouble = read_feedback(root / "feedback/feedback.csv")
    assert trouble == ""
    return list(table[["incident", "remediation", "worked", "by"]].itertuples(index=False, name=None))


# ------------------------------------------------------------------------------------------------------ what is sent


def test_a_front_page_has_forms_and_the_file_on_the_disk_has_commands(address, root):
    sent = requests.get(f"{address}/{DAY}/index.html")
    on_disk = (root / f"reports/{DAY}/index.html").read_text()
    assert (len(BeautifulSoup(sent.text, "html.parser").select("form")), on_disk.count("<form")) == (4, 0)
    assert ("nightshift silence" in sent.text, "nightshift silence" in on_disk) == (False, True)
    policy = sent.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'; connect-src 'self'" in policy
    assert "form-action 'none'" in on_disk
    assert (sent.headers["Cache-Control"], sent.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    cookie = sent.headers["Set-Cookie"]
    assert all(part in cookie for part in ("nightshift_xsrf=", "HttpOnly", "SameSite=Strict"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("index.html", "text/html; charset=utf-8"), (f"{DAY}/run.json", "application/json"), (f"{DAY}/run.log", "text/plain; charset=utf-8")],
)
def test_files_are_sent_as_they_are_and_once(address, root, name, kind):
    sent = requests.get(f"{address}/{name}")
    assert (sent.content, sent.headers["Content-Type"]) == ((root / "reports" / name).read_bytes(), kind)
    assert "frame-ancestors 'none'" in sent.headers["Content-Security-Policy"]
    for asked in ({"If-None-Match": sent.headers["Etag"]}, {"If-Modified-Since": sent.headers["Last-Modified"]}):
        again = requests.get(f"{address}/{name}", headers=asked)
        assert (again.status_code, again.content) == (304, b"")


def test_a_page_that_was_published_anew_is_sent_anew(address, root):
    page = root / "reports/changes.html"
    page.write_text("one")
    first = requests.get(f"{address}/changes.html")
    page.write_text("two")
    again = requests.get(f"{address}/changes.html", headers={"If-None-Match": first.headers["Etag"]})
    assert (again.status_code, again.text) == (200, "two")


def test_a_folder_leads_to_its_page_wherever_a_proxy_puts_the_site(address):
    answer = requests.get(f"{address}/{DAY}", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{DAY}/")
    assert requests.get(f"{address}/{DAY}").url == f"{address}/{DAY}/"


@pytest.mark.parametrize(
    "path",
    [
        *("/../data/secret.txt", "/%2e%2e/data/secret.txt", f"/{DAY}/..%2f..%2fdata/secret.txt", "//etc/passwd", "/link.txt"),
        *(f"/{DAY}/mail/a.eml", f"/{DAY}/mail.damaged.json", f"/{DAY}/.hidden", f"/{DAY}/transfers/", f"/{DAY}/nothing.html"),
        *("/2026-01-01/", "/%00", f"/{4000 * 'a'}"),
    ],
)
def test_what_is_not_published_is_not_there(address, path):
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("GET", path)  # as it stands, where other clients tidy up
    answer = connection.getresponse()
    assert (answer.status, b"Stra" in answer.read()) == (404, False)
    connection.close()


# ------------------------------------------------------------------------------------------------------ what is taken


def test_feedback_is_read_by_who_ranks_proposals_and_is_on_the_page(address, root):
    answer = reader(address).says("feedback", SLOW["incident"], remediation="storage-space", outcome="worked")
    assert answer.status_code == 200
    assert answer.json()["line"].startswith("Noted. For slow destination, storage-space worked in 1 of 1 trial;")
    user = (root / "feedback/serve.log").read_text().split()[1]
    assert feedback_of(root)[-1] == (SLOW["incident"], "storage-space", True, user)
    assert "storage-space worked, noted 20" in requests.get(f"{address}/{DAY}/").text


def test_a_form_without_a_script_comes_back_to_its_incident(address):
    answer = reader(address).says("feedback", SLOW["incident"], {"Accept": "text/html"}, remediation="fewer-streams", outcome="failed")
    where = f"index.html?opened={SLOW['incident']}#{SLOW['incident']}"
    assert (answer.status_code, answer.headers["Location"]) == (303, where)
    page = BeautifulSoup(requests.get(f"{address}/{DAY}/{where}").text, "html.parser")
    row = page.find(id=SLOW["incident"])
    assert row.has_attr("open")
    assert "fewer-streams did not work, noted" in row.get_text()
    assert not page.find(id=LEAK["incident"]).has_attr("open")


def test_a_silence_is_obeyed_by_the_digest_and_is_on_the_page(address, root):
    fields = {"as": "acknowledged", "until": "2026-02-14", "why": "known: “#1”\n<b>"}
    answer = reader(address).says("silence", LEAK["incident"], **fields)
    assert answer.json() == {"line": "Noted. The next digest lists it as acknowledged, up to and including 2026-02-14."}
    recorded, wrong = read_recorded(root / "feedback/silences.yaml", "2026-02-14")
    assert wrong == []
    tonight = pd.DataFrame({"incident": IDS})
    marked, _ = apply_silences(tonight, pd.DataFrame({"incident": IDS}), read_silences(recorded), "2026-02-14")
    assert marked.silenced_as.tolist() == ["acknowledged", ""]
    assert marked.silenced_why[0] == "known: “#1” <b>"
    assert read_recorded(root / "feedback/silences.yaml", "2026-02-15") == ([], [])
    page = requests.get(f"{address}/{DAY}/").text
    assert "until 2026-02-14: known: “#1” &lt;b&gt;. It counts from the next digest on." in page


def test_json_is_taken_with_the_token_in_a_header(address, root):
    one = reader(address)
    body = {"incident": SLOW["incident"], "remediation": "storage-space", "outcome": "failed"}
    headers = {"Accept": "application/json", "X-XSRFToken": one.token}
    assert one.session.post(f"{address}/{DAY}/feedback", json=body, headers=headers).status_code == 200
    assert feedback_of(root)[-1][1:3] == ("storage-space", False)
    assert one.session.post(f"{address}/{DAY}/feedback", json=[body], headers=headers).status_code == 400


def test_many_at_once_lose_nothing(tmp_path):
    with serving(publish_night(tmp_path)) as address:
        readers = [reader(address) for _ in range(8)]

        def say(number):
            one, why = readers[number % 8], f"reason {number}"
            outcome = one.says("feedback", SLOW["incident"], remediation="storage-space", outcome="worked")
            return outcome.status_code, one.says("silence", LEAK["incident"], until="2026-02-14", why=why, **{"as": "silenced"}).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(say, range(24))) == {(200, 200)}
    assert len(feedback_of(tmp_path)) == 24
    recorded, wrong = read_recorded(tmp_path / "feedback/silences.yaml", DAY)
    assert (wrong, {one["why"] for one in recorded}) == ([], {f"reason {n}" for n in range(24)})
    assert len((tmp_path / "feedback/serve.log").read_text().splitlines()) == 48


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("kind", "fields", "status", "words"),
    [
        ("feedback", {"incident": "20200101-0000"}, 404, "there is no incident '20200101-0000'; the nearest: 2026"),
        ("silence", {"incident": "20200101-0000"}, 404, "there is no incident '20200101-0000'; the nearest: 2026"),
        ("feedback", {"outcome": "perhaps"}, 400, "outcome is 'perhaps': it must be worked or failed"),
        ("feedback", {"remediation": "storage-spice"}, 400, "there is no remediation 'storage-spice'; the nearest: storage-space"),
        ("feedback", {"remediation": "restart-fts"}, 400, "restart-fts is not for slow_destination; for it are"),
        ("silence", {"until": "soon"}, 400, "until is 'soon': it must be a date such as 2026-03-31"),
        ("silence", {"until": "2026-01-30"}, 400, "until is 2026-01-30, which is before 2026-01-31, the newest night"),
        ("silence", {"why": " "}, 400, "why is empty: it must say for what reason"),
        ("silence", {"as": "hidden"}, 400, "as is 'hidden': it must be silenced or acknowledged"),
        ("silence", {"_xsrf": "x"}, 403, "The form does not belong to the cookie: reload the page and try again."),
        ("silence", {"_xsrf": ""}, 403, "The form does not belong to the cookie"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(address, root, kind, fields, status, words):
    before = [(path.name, path.read_bytes()) for path in sorted((root / "feedback").glob("[!.]*.*")) if path.suffix != ".log"]
    good = {"remediation": "storage-space", "outcome": "worked", "until": "2026-02-14", "why": "w", "as": "silenced"}
    answer = reader(address).says(kind, **{"incident": SLOW["incident"]} | good | fields)
    assert (answer.status_code, answer.json()["line"][: len(words)]) == (status, words)
    assert [(path.name, path.read_bytes()) for path in sorted((root / "feedback").glob("[!.]*.*")) if path.suffix != ".log"] == before
    assert f": {status} {words}" in (root / "feedback/serve.log").read_text().splitlines()[-1]
    shown = reader(address).says(kind, **{"incident": SLOW["incident"]} | good | fields, headers={"Accept": "text/html"})
    assert words in BeautifulSoup(shown.text, "html.parser").select_one("[role=alert]").get_text()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "http://reports.example.org"])
def test_a_form_of_another_site_is_refused(address, origin):
    answer = reader(address).says("feedback", SLOW["incident"], {"Origin": origin}, remediation="storage-space", outcome="worked")
    assert (answer.status_code, answer.json()["line"].partition(";")[0]) == (403, f"{origin} is not the origin of this server")


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_foreign_name_that_leads_here_is_refused(address, method):
    answer = requests.request(method, f"{address}/{DAY}/feedback" if method == "post" else address, headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "evil.example is not a name of this server" in answer.text
    assert requests.get(address, headers={"Host": "[evil"}).status_code in (400, 403)
    assert requests.get(address, headers={"Host": "reports.example.org"}).status_code == 200


@pytest.mark.parametrize(("header", "status"), [(("Content-Length", "90000000"), 413), (("Transfer-Encoding", "chunked"), 411)])
def test_a_body_that_is_long_or_may_be_is_refused_before_it_is_read(address, header, status):
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.putrequest("POST", f"/{DAY}/feedback")
    connection.putheader(*header)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_behind_a_proxy_its_reader_is_named_and_only_there(tmp_path):
    with serving(publish_night(tmp_path), "--user-header", "X-Forwarded-User") as address:
        fields = {"remediation": "storage-space", "outcome": "worked"}
        public = {"Host": "reports.example.org", "Origin": "https://reports.example.org"}
        one = reader(address, Host="reports.example.org")
        cookie = {"Cookie": f"nightshift_xsrf={one.token}"}  # the one that is sent is for TLS alone
        assert one.says("feedback", SLOW["incident"], public | cookie, **fields).json() == {
            "line": "The proxy must name one reader, in the header X-Forwarded-User."
        }
        assert one.says("feedback", SLOW["incident"], public | cookie | {"X-Forwarded-User": "Jürgen".encode()}, **fields).status_code == 200
    assert feedback_of(tmp_path) == [(SLOW["incident"], "storage-space", True, "Jürgen")]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "--host is '0.0.0.0', which others reach: name the header in which a proxy says who reads"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_server_that_may_not_start_says_so_in_a_line(published, capsys, options, words):
    with pytest.raises(SystemExit) as ended:
        app(["serve", "--config", str(published), "--port", "0", *options])
    printed = capsys.readouterr()
    assert (ended.value.code, len(printed.err.splitlines()), printed.out) == (2, 1, "")
    assert words in printed.err


def test_a_port_that_is_taken_is_one_line(published, address):
    port = str(urlsplit(address).port)
    command = [sys.executable, "-m", "nightshift", "serve", "--config", str(published), "--port", port]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (2, f"nightshift: 127.0.0.1:{port} cannot be used: Address already in use\n")


# ------------------------------------------------------------------------------------------------------- the commands


def test_the_commands_of_a_page_run_as_they_stand(published, root, capsys):
    """The first by a shell's command; the others in this process, where what they import is there already."""
    page = BeautifulSoup((root / f"reports/{DAY}/index.html").read_text(), "html.parser")
    lines = [line for pre in page.select(".tell pre") for line in pre.get_text().splitlines()]
    assert sorted(shlex.split(line)[1] for line in lines) == ["feedback"] * 4 + ["silence"] * 2
    of_one = [line for line in lines if SLOW["incident"] in line]
    assert len(of_one) == 5, "one to silence it, and two proposals that worked or did not"
    first, *others = (shlex.split(line)[1:] for line in sorted(of_one, key=lambda line: " worked " in line))
    done = subprocess.run([sys.executable, "-m", "nightshift", *first], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), first
    assert done.stdout.startswith("Noted. ")
    for arguments in others:
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        printed = capsys.readouterr()
        assert (ended.value.code, printed.err) == (0, ""), arguments
        assert printed.out.startswith("Noted. ")
    assert feedback_of(root)[-1] == (SLOW["incident"], "fewer-streams", True, "")
    recorded, _ = read_recorded(root / "feedback/silences.yaml", "2026-02-14")
    assert (recorded[0]["incident"], recorded[0]["why"]) == (SLOW["incident"], "YOUR REASON")


@pytest.mark.parametrize(
    ("incident", "until", "line"),
    [
        ("20200101-0000", "2026-02-14", "there is no incident '20200101-0000'; the nearest: "),
        (IDS[0], "2026-01-30", "until is 2026-01-30, which is before 2026-01-31, the newest night\n"),
        (IDS[0], "soon", "until is 'soon': it must be a date such as 2026-03-31\n"),
    ],
)
def test_a_silence_that_is_wrong_is_one_line_of_the_command(root, capsys, incident, until, line):
    with pytest.raises(SystemExit) as ended:
        app(["silence", incident, "--until", until, "--why", "w", "--products", str(root)])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"nightshift: {line}")
    assert len(printed.splitlines()) == 1
