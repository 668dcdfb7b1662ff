"""Entities: what a finding names, what became of it over the nights, and its page."""

import json
import os
import re
import shutil

import pytest
from bs4 import BeautifulSoup
from hostile import HEADERS, LETTERS, PATHS
from incident_tables import DAY, data_of, incident, published_finding, published_incident, write_digest, write_study

from nightshift.reporting import archive, entity_pages, site
from nightshift.reporting.entities import Entity, entities_of, naming_of
from nightshift.reporting.entity_history import Night, follow
from nightshift.reporting.entity_pages import entity_view, index_groups, state_of, timeline

HOSTILE = ["../../etc/passwd", "<script>alert(1)</script>", "a\"b'c", "CON", "x" * 5000, "", " ", "\u202eevil", "Ω-T2", "a\nb", "%2e%2e", "a/b\\c:d"]


@pytest.mark.parametrize(
    ("about", "entity", "place", "expected"),
    [
        ("site", "A", "A", ["site A"]),
        ("site or VO", "A", "A", ["site A"]),
        ("site or VO", "seismo.lab", "", ["VO seismo.lab"]),
        ("VO at site", "lumen at A", "A", ["VO lumen", "site A"]),
        ("VO at site", "quarry", "A", ["VO quarry", "site A"]),
        ("link", "A_DISK -> B_DISK", "B", ["link A_DISK -> B_DISK", "storage A_DISK", "storage B_DISK", "site B"]),
        ("link", "no arrow", "", ["link no arrow"]),
        ("link or storage", "A_T (tape) -> B", "B", ["link A_T (tape) -> B", "storage A_T (tape)", "storage B", "site B"]),
        ("link or storage", "A_T (tape)", "A", ["storage A_T (tape)", "site A"]),
        ("storage", "A_DISK", "A", ["storage A_DISK", "site A"]),
        ("GPU", "n01 gpu 3", "A", ["node n01", "site A"]),
        ("run", "run 400123, lumisections 1-51", "", ["run run 400123"]),
        ("topic", "t027: requests, rule", "", ["topic t027"]),
        ("queue", "Accounts", "", ["queue Accounts"]),
        ("other", "", "", []),
    ],
)
def test_a_finding_names_what_its_kind_says(about, entity, place, expected):
    assert [f"{one.kind} {one.name}" for one in naming_of(about, entity, place).entities] == expected


def test_a_topic_is_known_by_its_number_and_read_by_its_words():
    earlier, later = (naming_of("topic", f"t027: {words}", "").entities[0] for words in ("rule, stuck", "rule, stuck, rucio"))
    assert earlier == later
    assert later.words == "rule, stuck, rucio (t027)"


def test_kinds_of_all_studies_lead_to_the_right_entities():
    named = [
        published_finding("transfers", "slow_link", "A_DISK -> B_DISK", "B"),
        published_finding("telemetry", "idle_gpu", "g01 gpu 0", "A"),
        published_finding("telemetry", "a label of the source", "n09", "A"),
        published_finding("tickets", "department_surge", "physics", ""),
        published_finding("no study", "no kind", "thing", ""),
    ]
    kinds = [(one.kind, one.name) for one in entities_of(published_incident("i", named, site="A"))]
    assert kinds[0] == ("site", "A"), "the site comes first"
    expected = {("link", "A_DISK -> B_DISK"), ("storage", "A_DISK"), ("storage", "B_DISK"), ("site", "B"), ("node", "g01")}
    assert set(kinds[1:]) == expected | {("node", "n09"), ("department", "physics"), ("other", "thing")}


def test_a_finding_about_several_sites_is_on_the_page_of_each():
    dip = published_finding("accounting", "global_dip", "seismo.lab", "") | {"sites": "B, C"}
    names = [f"{one.kind} {one.name}" for one in entities_of(published_incident("i", [dip], site=""))]
    assert names == ["VO seismo.lab", "site B", "site C"]


def test_a_run_is_on_the_page_of_each_primary_dataset_in_which_it_is_strange():
    run = published_finding("certification", "bad_run", "run 7, lumisections 1-9", "") | {"datasets": "JetMET1, Muon0"}
    histories = follow([Night(DAY, [published_incident("i", [run], site="")])])
    assert [f"{one.kind}: {one.name}" for one in histories] == ["run: run 7", "primary dataset: JetMET1", "primary dataset: Muon0"]
    assert "i" in histories[Entity("primary dataset", "Muon0")].courses


@pytest.mark.parametrize("name", [*HOSTILE, *PATHS, *LETTERS, *HEADERS])
def test_names_of_files_are_safe_and_stable(name):
    page = Entity("site", name).page
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,70}\.html", Entity("primary dataset", name).page)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,70}\.html", page)
    assert page == Entity("site", name, "other words").page != Entity("node", name).page


def test_names_that_differ_in_case_or_signs_only_have_files_of_their_own():
    pages = {Entity("site", name).page.lower() for name in ("A-T2", "a-t2", "A_T2", "A.T2", "Ä-T2")}
    assert len(pages) == 5
    assert Entity("site", "ISTHMUS-T2").page == "site-isthmus-t2-e325d67828.html", "a link to it stays right"


def test_an_incident_is_followed_over_the_nights():
    nights = [
        Night("2026-01-28", [published_incident("a", [published_finding()], severity="low")]),
        Night("2026-01-29", [published_incident("a", [published_finding()], "ongoing", severity="high")]),
        Night("2026-01-31", [published_incident("a", [published_finding()], "resolved"), published_incident("b", [published_finding(entity="n02")])]),
    ]
    histories = follow(nights)
    node, place = histories[Entity("node", "n01")], histories[Entity("site", "A")]
    assert [(one.day, one.severity, one.is_open) for one in node.courses["a"].nights] == [
        ("2026-01-28", "low", True),
        ("2026-01-29", "high", True),
        ("2026-01-31", "medium", False),
    ]
    assert sorted(place.courses) == ["a", "b"]
    assert place.close == {Entity("node", "n01"), Entity("node", "n02")}
    assert node.close == {Entity("site", "A")}
    assert state_of(node, "2026-01-31") == "Last named in the night of 2026-01-31; none of its incidents was open then."
    assert state_of(place, "2026-01-31") == "1 incident open in the latest night, 2026-01-31, of medium severity."
    assert state_of(place, "2026-02-01") == "1 incident open when it was last named, in the night of 2026-01-31, of medium severity."
    svg = BeautifulSoup(timeline(node.courses["a"], "2026-01-28", "2026-01-31"), "html.parser").svg
    assert svg["aria-label"] == "medium severity; new 2026-01-28, ongoing 2026-01-29, resolved 2026-01-31"
    assert [(bar["class"][0], bar["x"], bar["width"], bar["height"]) for bar in svg.select("rect")] == [
        ("low", "0", "1", "12"),
        ("high", "1", "1", "12"),
        ("medium", "3", "1", "4"),
    ]


def test_the_most_troubled_come_first():
    rows = [
        published_incident("a", [published_finding(entity="calm", place="")], "resolved"),
        published_incident("b", [published_finding(entity="low", place="")], severity="low"),
        published_incident("c", [published_finding(entity="low", place="")], severity="low"),
        published_incident("d", [published_finding(entity="high", place="")], severity="high"),
    ]
    groups = index_groups(follow([Night(DAY, rows)]), DAY)
    assert [(row["words"], row["n_open"], row["severity"]) for row in groups[0]["rows"]] == [("high", 1, "high"), ("low", 2, "low"), ("calm", 0, "")]


def test_a_page_says_what_is_not_known_of_its_last_night():
    histories = follow([Night(DAY, [published_incident("a", [published_finding()], "resolved")])])
    view = entity_view(histories[Entity("node", "n01")], histories, latest=DAY, assured={DAY: "1 of 2 studies reported."})
    assert view["unknown"] == f"Not all is known of the night of {DAY}: 1 of 2 studies reported."
    assert view["rows"][0]["evidence"] == ["n01 is odd"]
    assert view["rows"][0]["href"] == f"../{DAY}/index.html#a"


# ------------------------------------------------------------------------------------------------------- published

AT = {"kinds": ["slow_destination"], "studies": ["transfers"]}


def night_of(root, day, incidents, **more):
    """Publish one night of the transfers with these incidents, each about a storage that is called as its title."""
    write_study(root, "transfers", day)
    data_of(root, day)
    write_digest(root, incidents, ["transfers"], day=day)
    return site.render_night(root, day, {"transfers": day}, **more)


def pages_of(root):
    """{page of an entity: (text, time of writing)}."""
    return {path.name: (path.read_text(), path.stat().st_mtime_ns) for path in (root / "reports/entities").glob("*.html")}


def dead_links(reports):
    """Links of all pages that lead nowhere."""
    dead = []
    for path in reports.rglob("*.html"):
        for href in re.findall(r'href="([^"]+)"', path.read_text()):
            where, _, anchor = href.partition("#")
            target = path.parent / where if where else path
            if not href.startswith(("http", "data:")) and (not target.exists() or (anchor and f'id="{anchor}"' not in target.read_text())):
                dead.append((path.name, href))
    return dead


@pytest.fixture
def two_nights(tmp_path):
    """Two nights: A_DISK is named in the first, B_DISK in both."""
    night_of(tmp_path, "2026-01-30", [incident("A_DISK", site="A", day="2026-01-30", **AT), incident("B_DISK", site="B", day="2026-01-30", **AT)])
    return tmp_path


def test_only_pages_that_change_are_written_again(two_nights):
    before = pages_of(two_nights)
    a, b = Entity("storage", "A_DISK").page, Entity("storage", "B_DISK").page
    night_of(two_nights, DAY, [incident("B_DISK", "ongoing", site="B", first_seen="2026-01-30", **AT)])
    after = pages_of(two_nights)
    assert before.keys() == after.keys() == {a, b, Entity("site", "A").page, Entity("site", "B").page, "index.html"}
    assert after[b] != before[b]
    # what was open in the latest night is so no more: once it says so, it stays
    assert "when it was last named, in the night of 2026-01-30" in BeautifulSoup(after[a][0], "html.parser").get_text()
    night_of(two_nights, "2026-02-01", [incident("B_DISK", "ongoing", site="B", first_seen="2026-01-30", day="2026-02-01", **AT)])
    assert pages_of(two_nights)[a] == after[a]
    assert dead_links(two_nights / "reports") == []
    front = BeautifulSoup((two_nights / f"reports/{DAY}/index.html").read_text(), "html.parser")
    links = [link["href"] for link in front.select(".about a[href*=entities]")]
    assert links == [f"../entities/{Entity('site', 'B').page}", f"../entities/{b}"]


def test_entities_of_removed_nights_go_with_them(two_nights):
    night_of(two_nights, DAY, [incident("B_DISK", "ongoing", site="B", first_seen="2026-01-30", **AT)], keep_nights=1)
    assert pages_of(two_nights).keys() == {Entity("storage", "B_DISK").page, Entity("site", "B").page, "index.html"}
    assert dead_links(two_nights / "reports") == []
    assert "2026-01-30" not in (two_nights / "reports/search.html").read_text()


def test_an_old_night_is_read_once_and_again_when_its_digest_has_changed(two_nights, monkeypatch):
    read, read_incidents = [], archive.read_incidents
    monkeypatch.setattr(archive, "read_incidents", lambda reports, day: read.append(day) or read_incidents(reports, day))
    tonight = [incident("B_DISK", "ongoing", site="B", first_seen="2026-01-30", **AT)]
    night_of(two_nights, DAY, tonight)
    assert "2026-01-30" not in read
    path = two_nights / "reports/2026-01-30/digest.json"
    times = path.stat()
    path.write_text(path.read_text().replace("A_DISK", "C_DISK"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as by one who puts a copy back: size and time as before
    night_of(two_nights, DAY, tonight)
    assert read.count("2026-01-30") == 2, "for the pages and for the feed"
    assert "C_DISK" in (two_nights / "reports/feed.xml").read_text()
    pages = [two_nights / "reports" / name for name in ("entities/index.html", "search.html")]
    assert [page.name for page in pages if "C_DISK" not in page.read_text() or "A_DISK" in page.read_text()] == []
    assert {Entity("storage", name).page in pages_of(two_nights) for name in ("A_DISK", "C_DISK")} == {False, True}


def test_a_night_whose_folder_is_gone_is_on_no_page(two_nights):
    tonight = [incident("B_DISK", "ongoing", site="B", **AT)]
    night_of(two_nights, DAY, tonight)
    shutil.rmtree(two_nights / "reports/2026-01-30")
    night_of(two_nights, DAY, tonight)
    reports = two_nights / "reports"
    pages = [*reports.glob("*.html"), *reports.glob("entities/*.html"), reports / "feed.xml"]
    assert [page.name for page in pages if "A_DISK" in page.read_text() or "2026-01-30/" in page.read_text()] == []
    assert Entity("storage", "A_DISK").page not in pages_of(two_nights)


def test_an_incident_that_names_something_else_in_a_later_night_is_followed_there():
    found = [published_finding(), published_finding(entity="n02", place="B")]
    nights = [Night(f"2026-01-{day}", [published_incident("a", found[:n])]) for day, n in ((28, 1), (29, 1), (30, 2), (31, 2))]
    histories = follow(nights)
    days = {entity.name: [seen.day[-2:] for seen in history.courses["a"].nights] for entity, history in histories.items()}
    assert days["n01"] == ["28", "29", "30", "31"]
    assert days["n02"] == days["B"] == ["30", "31"]
    assert histories[Entity("node", "n01")].together.keys() >= {Entity("node", "n02"), Entity("site", "B")}


@pytest.mark.parametrize(
    "damage",
    [
        lambda night: "{",
        lambda night: json.dumps(night | {"incidents": [{**night["incidents"][0], "findings": 5}]}),
        lambda night: json.dumps(night | {"incidents": [{**night["incidents"][0], "start": 5}]}),
        lambda night: json.dumps(night | {"incidents": [{**night["incidents"][0], "severity": ["high"]}]}),
        lambda night: json.dumps(night | {"incidents": [{**night["incidents"][0], "findings": ["text"]}]}),
        lambda night: json.dumps(night | {"incidents": [{**night["incidents"][0], "silence": "yes"}]}),
    ],
)
def test_a_damaged_night_costs_one_line_and_no_link(two_nights, damage):
    path = two_nights / "reports/2026-01-30/digest.json"
    path.write_text(damage(json.loads(path.read_text())))
    _, _, digest = night_of(two_nights, DAY, [incident("B_DISK", site="B", **AT)])
    assert len(digest["troubles"]) == 1
    assert digest["troubles"][0].startswith("reports/2026-01-30/digest.json: ")
    assert dead_links(two_nights / "reports") == [], "the front page of the damaged night still leads to its entities"
    assert "B_DISK" in (two_nights / "reports/entities/index.html").read_text()


def test_hostile_names_do_no_harm(tmp_path):
    hostile = "<img src=x onerror=alert(1)>/../' \" -> x"
    night_of(tmp_path, DAY, [incident(hostile[:100], site="</script><script>alert(2)</script>", **AT)])
    for path in (tmp_path / "reports").rglob("*.html"):
        soup = BeautifulSoup(path.read_text(), "html.parser")
        assert soup.select("img[src=x], [onerror]") == []
        assert all("alert(2)" not in one.get_text() for one in soup.select("script:not([type])"))
    index = BeautifulSoup((tmp_path / "reports/search.html").read_text(), "html.parser").select_one("#index")
    assert any("</script>" in title for title, _, _ in json.loads(index.get_text())["entries"])
    assert {path.parent for path in tmp_path.rglob("*.html")} >= {tmp_path / "reports/entities"}
    assert list(tmp_path.glob("*.html")) == list(tmp_path.parent.glob("*.html")) == []


def test_an_incomplete_night_reassures_nobody(tmp_path):
    night_of(tmp_path, DAY, [])
    write_study(tmp_path, "transfers")
    (tmp_path / "data/raw/transfers/status.json").unlink()
    site.render_night(tmp_path, DAY, {"transfers": DAY})
    sentence = "nothing new is known of transfers (failed)"
    for page in ("entities/index.html", "search.html", "trends.html"):
        assert sentence in (tmp_path / "reports" / page).read_text()
    trends = (tmp_path / "reports/trends.html").read_text()
    assert f"How many incidents were open in the night of {DAY} is not known" in trends
    assert "o incident was open" not in trends


def test_pages_that_cannot_be_made_cost_a_line_each(tmp_path, monkeypatch):
    monkeypatch.setattr(entity_pages, "index_groups", lambda *_: 1 / 0)
    _, _, digest = night_of(tmp_path, DAY, [incident("A_DISK", site="A", **AT)])
    assert [line for line in digest["troubles"] if "entities/index.html" in line] == [
        "reports/entities/index.html could not be made: ZeroDivisionError: division by zero"
    ]
    assert dead_links(tmp_path / "reports") == []
