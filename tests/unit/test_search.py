"""The index of the search: which words lead to what."""

import json

import pytest
from bs4 import BeautifulSoup
from incident_tables import DAY, published_finding, published_incident

from nightshift.reporting.entity_history import Night, follow
from nightshift.reporting.pages import script
from nightshift.reporting.search import Entry, build_index, words_of, write_search


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ISTHMUS-T2_DATADISK", ["isthmus", "t2", "datadisk"]),
        ("Zürich, Ærø; ﬁle", ["zurich", "ærø", "file"]),
        ("dip of seismo.lab", ["dip", "of", "seismo", "lab"]),
        ("東京 T2", ["東京", "t2"]),
        ("<b> & \u202e", ["b"]),
        ("", []),
    ],
)
def test_words_are_plain_letters_and_digits(text, words):
    assert words_of(text) == words


def test_an_index_tells_titles_from_other_words():
    index = build_index([Entry("memory leak", "node, 2 incidents", "a.html", "leak of n01"), Entry("n01", "node", "b.html", "")])
    assert index["entries"] == [["memory leak", "node, 2 incidents", "a.html"], ["n01", "node", "b.html"]]
    assert index["titles"] == {"memory": [0], "leak": [0], "n01": [1]}
    assert index["words"] == {"node": [0, 1], "2": [0], "incidents": [0], "of": [0], "n01": [0]}


def test_entities_and_incidents_of_all_nights_are_in_the_page_the_latest_first(tmp_path):
    nights = [
        Night("2026-01-30", [published_incident("a", [published_finding()]), published_incident("old", [published_finding(entity="n02")])]),
        Night(DAY, [published_incident("a", [published_finding()], "resolved", age_nights=2)], "1 of 2 studies reported."),
    ]
    write_search(tmp_path, nights, follow(nights))
    soup = BeautifulSoup((tmp_path / "search.html").read_text(), "html.parser")
    index = json.loads(soup.select_one("#index").get_text())
    titles = [(title, about) for title, about, _ in index["entries"]]
    assert titles == [
        ("A", "site, 2 incidents, last named 2026-01-31"),
        ("n01", "node, 1 incident, last named 2026-01-31"),
        ("n02", "node, 1 incident, last named 2026-01-30"),
        ("trouble a", "medium severity, resolved, seen in 2 nights, night of 2026-01-31"),
        ("trouble old", "medium severity, new, open, night of 2026-01-30"),
    ]
    assert [href.partition("#")[2] for _, _, href in index["entries"]][3:] == ["a", "old"]
    assert index["words"]["n02"] == [4]
    assert [link.get_text() for link in soup.select("#all a")] == ["A", "n01", "n02"], "what there is without a script"
    assert soup.select_one(".banner").get_text() == f"The latest night, {DAY}: 1 of 2 studies reported."
    policy = soup.select_one("meta[http-equiv]")["content"]
    assert f"script-src {script('search.js').source};" in policy
    assert [one.get_text() for one in soup.select("script:not([type])")] == [script("search.js").text]
