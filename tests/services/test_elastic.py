"""1_extract against a local stand-in for Elasticsearch (no server of it can be installed here): paging, faults, resuming, clear errors."""

import json
import traceback

import pandas as pd
import pytest
from conftest import execute, refused, run_here
from daemons import certificate
from elastic_standin import standin
from papermill.exceptions import PapermillExecutionError

from nightshift.sources.looks import look_at_source

DAYS = ["2026-01-29", "2026-01-30", "2026-01-31"]
GRACC = "gracc.osg.summary"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """No proxy of this machine between the tests and loopback."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def documents(day, n=25):
    return [
        {
            "event_type": "transfer-done",
            "created_at": f"{day} 10:00:{i:02d}",
            "payload": {"request-id": f"{day}-{i}", "src-rse": "A_DISK", "dst-rse": "B_DISK", "bytes": i, "transferred_at": f"{day} 10:00:{i:02d}"},
        }
        for i in range(n)
    ]


def name_of(day):
    return f"atlas_rucio-events-{day.replace('-', '.')}"


@pytest.fixture
def indices():
    return {name_of(day): documents(day) for day in DAYS}


def extract(url, products, run=run_here, **settings):
    return run("transfers/1_extract.ipynb", products, source=url, day=DAYS[-1], days=3, page_rows=10, timeout_s=1.0, retry_wait_s=0.02, **settings)


def raw(products):
    parts = sorted((products / "data/raw/transfers").glob("*.parquet"))
    return parts, [i for part in parts for i in pd.read_parquet(part)["request-id"]]


def test_each_document_comes_once_through_every_fault(indices, tmp_path):
    with standin(indices, faults=[429, None, "cut", 503, None, "stall", None, "shard"]) as (url, log):
        extract(url, tmp_path)
    parts, ids = raw(tmp_path)
    assert len(parts) == 3
    assert sorted(ids) == sorted(d["payload"]["request-id"] for docs in indices.values() for d in docs)
    searches = [body for _, path, body in log if path.startswith("/_search")]
    assert all(body["size"] == 10 for body in searches), "pages are bounded"
    assert sum(command == "DELETE" for command, _, _ in log) == 3, "points in time are closed"
    assert json.loads((tmp_path / "data/raw/transfers/status.json").read_text())["rows"] == 75


def test_an_interrupted_run_keeps_whole_days_only_and_goes_on_at_the_first_missing_one(indices, tmp_path):
    with standin(indices, faults=[None] * 4 + [None, 503, 503, 503, 503, 503, 503, 503]) as (url, _):
        assert "does not answer" in refused(extract, url, tmp_path)
        parts, ids = raw(tmp_path)
        assert [p.name[-18:-8] for p in parts] == DAYS[:1]
        assert len(ids) == 25
        assert not list((tmp_path / "data/raw/transfers").glob(".*")), "a half-written file is left"
        assert not (tmp_path / "data/raw/transfers/status.json").exists()
    with standin(indices, port=int(url.rsplit(":", 1)[1])) as (url, log):  # the address is part of what a source is
        extract(url, tmp_path)
    asked = {path.split("/")[1] for command, path, _ in log if "_pit" in path and command == "POST"}
    assert asked == {name_of(day) for day in DAYS[1:]}
    assert len(raw(tmp_path)[1]) == 75


def test_a_source_that_returns_after_a_gap_is_filled(indices, tmp_path):
    """Two nights nobody answers, nor has the first one been asked again: the third has all days, and asks for those that it lacks only."""

    def night(day, url):
        run_here("transfers/1_extract.ipynb", tmp_path, source=url, day=day, days=3, page_rows=10, timeout_s=1.0, retry_wait_s=0.02)

    with standin({name: docs for name, docs in indices.items() if name == name_of(DAYS[0])}) as (url, _):
        night(DAYS[0], url)
    assert len(raw(tmp_path)[1]) == 25
    assert "does not answer" in refused(night, DAYS[1], url)
    assert len(raw(tmp_path)[1]) == 25, "what was there stays"
    with standin(indices, port=int(url.rsplit(":", 1)[1])) as (url, log):
        night(DAYS[2], url)
    assert sorted(raw(tmp_path)[1]) == sorted(d["payload"]["request-id"] for docs in indices.values() for d in docs)
    assert json.loads((tmp_path / "data/raw/transfers/status.json").read_text())["state"] == "ok"
    assert {path.split("/")[1] for command, path, _ in log if "_pit" in path and command == "POST"} == {name_of(day) for day in DAYS[1:]}


def test_a_missing_day_is_named_and_the_rest_is_kept(indices, tmp_path):
    del indices[name_of(DAYS[1])]
    with standin(indices) as (url, _):
        extract(url, tmp_path)
    status = json.loads((tmp_path / "data/raw/transfers/status.json").read_text())
    assert (status["state"], status["rows"], status["missing_days"]) == ("partial", 50, [DAYS[1]])


def test_opensearch_and_old_servers_are_read_by_a_scroll(indices, tmp_path):
    with standin(indices, product="opensearch", faults=[None, None, None, 429]) as (url, log):
        extract(url, tmp_path)
    assert sorted(raw(tmp_path)[1]) == sorted(d["payload"]["request-id"] for docs in indices.values() for d in docs)
    assert sum((command, path) == ("DELETE", "/_search/scroll") for command, path, _ in log) == 3, "scrolls are closed"
    assert all(body["size"] == 10 for _, path, body in log if "scroll=" in path), "pages are bounded"


@pytest.mark.parametrize("product", ["elasticsearch", "opensearch"])
def test_an_index_of_all_days_is_read_once_and_only_the_window_is_kept(tmp_path, product):
    every = [one for day in ["2026-01-02", *DAYS] for one in documents(day)]
    every.append({"event_type": "stagein-done", "created_at": f"{DAYS[2]} 11:00:00", "payload": {"request-id": "staged"}})
    with standin({"rucio_prod": every}, product=product) as (url, _):
        extract(url, tmp_path, index="rucio_prod")
        settings = {"day": DAYS[-1], "days": 3, "index": "rucio_prod", "page_rows": 10, "timeout_s": 1.0, "retry_wait_s": 0.0}
        [(_, look)] = look_at_source("transfers", url, settings)
        assert "there is no index other: check the parameter index" in refused(extract, url, tmp_path, index="other")
    assert sorted(raw(tmp_path)[1]) == sorted([f"{day}-{i}" for day in DAYS for i in range(25)] + ["staged"])
    assert look.notes == ["101 transfer events in rucio_prod, of all days"]


def test_a_page_of_a_scroll_that_was_lost_is_no_complete_day(indices, tmp_path):
    with standin(indices, product="opensearch", faults=[None, "cut"]) as (url, _):
        assert "15 of 25 documents of atlas_rucio-events-2026.01.29 came" in refused(extract, url, tmp_path)
    assert raw(tmp_path)[0] == []


def test_documents_of_another_kind_are_no_empty_night(tmp_path):
    for other in ({"lfn": "/a", "site": "A"}, {"event_type": "transfer-done", "lfn": "/a"}):
        with standin({name_of(day): [other] for day in DAYS}) as (url, _):
            line = refused(extract, url, tmp_path)
        found = ", ".join(other)
        assert f"{name_of(DAYS[0])}: its only record is no transfer event of Rucio: the first has {found}; needed: request-id" in line


def test_a_web_page_is_no_elasticsearch(tmp_path):
    with standin({}, product="web page") as (url, _):
        assert "answers no JSON: is it the address of an Elasticsearch or OpenSearch?" in refused(extract, url, tmp_path)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("login", "refuses these credentials (401): check ELASTIC_API_KEY"),
        ("index", "exists for no day from 2026-01-29 to 2026-01-31: check the parameter index"),
        ("host", "does not answer"),
        ("shard", "answered for some of its shards only"),
    ],
)
def test_one_clear_line_and_nothing_half_written(indices, tmp_path, monkeypatch, case, message):
    monkeypatch.setenv("ELASTIC_USER", "reader")
    monkeypatch.setenv("ELASTIC_PASSWORD", "wr0ng-secret")
    faults, login = ["shard"] * 6 if case == "shard" else (), ("reader", "right") if case == "login" else None
    with standin({} if case == "index" else indices, login=login, faults=faults) as (url, _), pytest.raises((OSError, LookupError)) as error:
        extract("http://127.0.0.1:9" if case == "host" else url, tmp_path)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert raw(tmp_path)[0] == []
    assert "wr0ng-secret" not in "".join(traceback.format_exception(error.value))


def test_an_executed_notebook_keeps_no_secret(indices, tmp_path, monkeypatch):
    monkeypatch.setenv("ELASTIC_USER", "reader")
    monkeypatch.setenv("ELASTIC_PASSWORD", "wr0ng-secret")
    with standin(indices, login=("reader", "right")) as (url, _), pytest.raises(PapermillExecutionError) as error:
        extract(url, tmp_path, run=execute)  # whose output could hold the secret
    assert "refuses these credentials (401): check ELASTIC_API_KEY" in error.value.evalue
    assert "wr0ng-secret" not in (tmp_path / "executed-1_extract.ipynb").read_text()


def test_an_unknown_certificate_is_refused_and_its_authority_accepts_it(indices, tmp_path, monkeypatch):
    signed = certificate(tmp_path)
    with standin(indices, certificate=signed) as (url, log):
        assert "is not trusted: name the file of its authority" in refused(extract, url, tmp_path)
        assert log == []
        monkeypatch.setenv("ELASTIC_CA", str(signed[0]))
        extract(url, tmp_path)
    assert len(raw(tmp_path)[1]) == 75


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_https_goes_through_the_proxy_of_the_environment_with_its_certificates(indices, tmp_path, monkeypatch, name):
    for other in ("ELASTIC_CA", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(other, raising=False)
    signed = certificate(tmp_path)
    with standin(indices, certificate=signed) as (url, log), standin({}) as (proxy, tunnels):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        assert "is not trusted" in refused(extract, url, tmp_path)
        assert log == []
        monkeypatch.setenv(name, str(signed[0]))
        extract(url, tmp_path)
    assert len(raw(tmp_path)[1]) == 75
    assert {(command, path) for command, path, _ in tunnels} == {("CONNECT", url.removeprefix("https://"))}


def test_http_goes_through_the_proxy_and_past_it_where_no_proxy_says_so(indices, tmp_path, monkeypatch):
    with standin(indices) as (proxy, log):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        extract("http://elastic.invalid:9200", tmp_path / "far")  # a name that nobody can resolve
        assert all(path.startswith("http://elastic.invalid:9200/") for _, path, _ in log)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        extract(proxy, tmp_path / "near")
    assert len(raw(tmp_path / "far")[1]) == len(raw(tmp_path / "near")[1]) == 75


def test_the_login_of_the_environment_goes_before_a_netrc_file_and_that_before_none(indices, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login filed password kept\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with standin(indices, login=("filed", "kept")) as (url, _):
        extract(url, tmp_path / "filed")
    monkeypatch.setenv("ELASTIC_USER", "reader")
    monkeypatch.setenv("ELASTIC_PASSWORD", "right")
    with standin(indices, login=("reader", "right")) as (url, _):
        extract(url, tmp_path / "named")
    assert len(raw(tmp_path / "filed")[1]) == len(raw(tmp_path / "named")[1]) == 75


# ------------------------------------------------------------------------------------------------------- accounting


def summaries():
    """GRACC summary records of three weeks: every day two of each site and VO, and some that are odd."""
    days = [f"2026-01-{d:02d}T00:00:00Z" for d in range(12, 32)]
    common = {"ResourceType": "Batch", "WallDuration": 7200.0, "CpuDuration": 3600.0, "Njobs": 2}
    plain = [
        common | {"EndTime": day, "SiteName": site, "VOName": vo, "CoreHours": hours}
        for day in days
        for site in ("SITE_A", "SITE_B", "SITE_C")
        for vo in ("atlas", "cms")
        for hours in (1.5, 2.0)
    ]
    odd = [
        plain[0] | {"SiteName": None},
        {name: value for name, value in plain[-1].items() if name != "VOName"} | {"EndTime": "2026-01-31T23:30:00Z"},
        plain[0] | {"ResourceType": "Payload"},
        {name: value for name, value in plain[0].items() if name != "ResourceType"},
        plain[0] | {"EndTime": "2026-01-11T23:59:59Z"},
        plain[0] | {"EndTime": "2026-02-01T00:00:00Z"},
    ]
    return plain + odd


def expected():
    """{(site, VO, Monday): (core hours, jobs, newest end)} of the summaries that count, added up by pandas."""
    table = pd.DataFrame(summaries()).fillna({"SiteName": "", "VOName": "", "ResourceType": "Batch"})
    table["end"] = pd.to_datetime(table.EndTime)
    table = table[(table.end >= "2026-01-12T00:00Z") & (table.end < "2026-02-01T00:00Z") & (table.ResourceType == "Batch")]
    week = table.end.dt.tz_localize(None).dt.to_period("W-SUN").dt.start_time.dt.strftime("%Y-%m-%d").rename("week")
    totals = table.groupby([table.SiteName, table.VOName, week]).agg(hours=("CoreHours", "sum"), jobs=("Njobs", "sum"), end=("end", "max"))
    return {key: tuple(row) for key, row in zip(totals.index, totals.itertuples(index=False, name=None), strict=True)}


def account(url, products, timeout_s=1.0):
    """Extract the accounting of three weeks; all that the notebook shows."""
    settings = {"day": DAYS[-1], "weeks": 3, "page_rows": 4, "timeout_s": timeout_s, "retry_wait_s": 0.02}
    return run_here("accounting/1_extract.ipynb", products, source=url, **settings)


@pytest.mark.parametrize(
    ("text_fields", "product"),
    [((), "opensearch"), (("SiteName", "VOName", "ResourceType"), "elasticsearch")],
    ids=["keyword", "text with keyword"],
)
def test_weekly_totals_come_once_each_through_every_fault(tmp_path, text_fields, product):
    faults = [429, None, "cut", 503, None, "stall", None, "shard"]
    with standin({GRACC: summaries()}, faults=faults, text_fields=text_fields, product=product) as (url, log):
        page = account(url, tmp_path)
    [part] = (tmp_path / "data/raw/accounting").glob("*.parquet")
    table = pd.read_parquet(part).astype({"CoreHours": float, "Njobs": float})
    week = pd.to_datetime(table.EndTime).dt.tz_localize(None).dt.to_period("W-SUN").dt.start_time.dt.strftime("%Y-%m-%d")
    found = zip(table.SiteName.fillna(""), table.VOName.fillna(""), week, table.CoreHours, table.Njobs, pd.to_datetime(table.EndTime), strict=True)
    assert {(site, vo, monday): (hours, jobs, end) for site, vo, monday, hours, jobs, end in found} == expected()
    assert table.RecordId.is_unique
    assert set(table.ResourceType) == {"Batch"}
    assert sum(json.loads(more)["records"] for more in table.more) == len(summaries()) - 3
    assert "1 of other kinds than batch" in page
    pages = [body["aggs"]["totals"]["composite"] for _, path, body in log if "_search" in path and body.get("aggs")]
    assert all(page["size"] == 4 for page in pages), "pages are bounded"
    fields = {of["field"] for page in pages for source in page["sources"][1:] for way in source.values() for of in way.values()}
    assert fields == ({"SiteName.keyword", "VOName.keyword"} if text_fields else {"SiteName", "VOName"})
    status = json.loads((tmp_path / "data/raw/accounting/status.json").read_text())
    assert (status["state"], status["rows"], status["newest"]) == ("ok", len(expected()), "2026-01-31 23:30:00+00:00")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("login", "refuses these credentials (401): check ELASTIC_API_KEY"),
        ("index", "there is no index gracc.osg.summary: check the parameter index"),
        ("column", "the index gracc.osg.summary has no CoreHours; it has"),
        ("host", "127.0.0.1:9 does not answer: ConnectionError"),
        ("stall", "does not answer: ConnectionTimeout"),
        ("shard", "answered for some of its shards only"),
    ],
)
def test_accounting_ends_in_one_clear_line_and_keeps_last_nights_rows(tmp_path, monkeypatch, case, message):
    monkeypatch.setenv("ELASTIC_API_KEY", "wr0ng-secret")
    old = tmp_path / "data/raw/accounting/elastic-of-last-night.parquet"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"rows")
    records = [{k: v for k, v in r.items() if k != "CoreHours"} for r in summaries()] if case == "column" else summaries()
    faults = {"stall": ["stall"] * 6, "shard": [None, None, *["shard"] * 6]}.get(case, ())
    with (
        standin({} if case == "index" else {GRACC: records}, login=("reader", "right") if case == "login" else None, faults=faults) as (url, _),
        pytest.raises((OSError, LookupError, ValueError)) as error,
    ):
        account("http://127.0.0.1:9" if case == "host" else url, tmp_path, timeout_s=0.3)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert [path.name for path in old.parent.iterdir()] == [old.name]
    assert "wr0ng-secret" not in "".join(traceback.format_exception(error.value))


def look(study, url, **settings):
    """What a look at a server sees."""
    asked = {"day": DAYS[-1], "page_rows": 10, "timeout_s": 1.0, "retry_wait_s": 60.0} | settings
    [(_, seen)] = look_at_source(study, url, asked)
    return seen


def test_a_look_at_a_server_asks_few_questions_once(indices):
    settings = {"index": "atlas_rucio-events-{day}", "days": 3}
    with standin(indices) as (url, log):
        seen = look("transfers", url, **settings)
        assert (seen.problems, str(seen.oldest.date()), seen.newest >= pd.Timestamp(DAYS[-1], tz="UTC")) == ([], DAYS[0], True)
        assert len(log) == 3
        [problem] = look("transfers", url, **settings | {"index": "x-{day}"}).problems
        assert "check the parameter index" in problem
    with standin({name_of(DAYS[-1]): [{"event_type": "deletion"}, {"message": "x"}]}) as (url, _):
        assert look("transfers", url, **settings).problems == [], "events of another kind are there, and no transfer is no fault"
    with standin(indices, faults=[503]) as (url, log):
        assert "does not answer: 503" in look("transfers", url, **settings).problems[0]
        assert len(log) == 1, "a server that is only looked at is asked once"


def test_a_look_at_gracc_says_how_many_records_it_has_and_from_when(monkeypatch):
    with standin({GRACC: summaries()}, login=("reader", "right")) as (url, _):
        monkeypatch.setenv("ELASTIC_USER", "reader")
        monkeypatch.setenv("ELASTIC_PASSWORD", "right")
        seen = look("accounting", url, index=GRACC)
        assert (seen.total, str(seen.oldest), str(seen.newest)) == (len(summaries()), "2026-01-11 23:59:59+00:00", "2026-02-01 00:00:00+00:00")
        assert seen.filled >= {"EndTime", "SiteName", "VOName", "CoreHours", "Njobs"}
        assert look("accounting", url, index="other").problems == ["there is no index other: check the parameter index"]
        monkeypatch.setenv("ELASTIC_PASSWORD", "wrong")
        assert "check ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD" in look("accounting", url, index=GRACC).problems[0]
