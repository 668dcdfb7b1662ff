"""What is said of incidents, how they are counted, and how many links chance gives."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from nightshift.assurance import UNWATCHED
from nightshift.incidents import NOT_WATCHED
from nightshift.incidents.chance import count_links, links_by_chance, links_in_words, shuffle_sites
from nightshift.incidents.correlation import describe_findings
from nightshift.incidents.display import MAX_FINDINGS, show_evidence, show_folded, show_pictures, show_shared_pictures, split_pictures
from nightshift.incidents.figures import MAX_BARS, bar_labels, finish_time_axis, move_inside, plot_strip, plot_tonight, reduce_colours
from nightshift.incidents.intake import gather_findings, newest_rows, nights_of_tables
from nightshift.incidents.ranking import RULES, amounts_in_words, standing_in_words
from nightshift.incidents.wording import (
    count_incidents,
    counted_as,
    incident_sentence,
    incident_sentences,
    listed_changes,
    listed_silences,
    severities_in_words,
    status_in_words,
    when_in_words,
    where_in_words,
)
from nightshift.reporting.rendering import TEMPLATES

DAY = "2026-01-31"
INCIDENT = {
    "title": "failing source A_DISK",
    "start": pd.Timestamp("2026-01-30 12:00", tz="UTC"),
    "end": pd.Timestamp("2026-01-31 23:00", tz="UTC"),
    "ended": False,
    "state": "escalated",
    "change": "",
    "age_nights": 2,
    "first_seen": "2026-01-30",
    "site": "A",
    "p_value": 3.2e-5,
    "studies": ["transfers", "tickets"],
    "description": "its transfers fail",
    "kinds": ["failing_source"],
    "impact": "5 GB delayed",
}


def at(time):
    return pd.Timestamp(time, tz="UTC")


def row(**changes):
    return next(pd.DataFrame([INCIDENT | changes]).itertuples())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "since 2026-01-30 12:00 UTC"),
        ({"start": at("2026-01-19"), "end": at("2026-01-26")}, "since 2026-01-19, seen to 2026-01-25, the last day that is judged"),
        ({"end": at("2026-01-30 18:00")}, "since 2026-01-30 12:00 UTC, seen to 2026-01-30, the last day that is judged"),
        ({"ended": True}, "seen from 2026-01-30 12:00 UTC to 2026-01-31 23:00 UTC"),
        ({"ended": True, "start": at("2026-01-12"), "end": at("2026-01-19")}, "seen from 2026-01-12 to 2026-01-18"),
        ({"ended": True, "end": at("2026-01-30 12:05")}, "seen from 2026-01-30 12:00 to 12:05 UTC"),
        ({"ended": True, "end": at("2026-01-30 12:00:09")}, "seen on 2026-01-30 12:00 UTC"),
        ({"start": pd.NaT}, "at times that the source does not know"),
    ],
)
def test_when_names_hours_only_where_the_source_knows_them(changes, words):
    assert when_in_words(row(**changes), DAY) == words


def test_a_sentence_names_all_that_is_known_and_leaves_out_what_is_not():
    began = "Failing source A_DISK since 2026-01-30 12:00 UTC (escalated, night 2): its transfers fail; "
    assert incident_sentence(row(), 2, DAY) == f"{began}2 findings of transfers and tickets, combined p-value 3e-05; 5 GB delayed."
    alone = incident_sentence(row(studies=["transfers"], impact="", p_value=0.0, description="", ended=True, state="new"), 1, DAY)
    assert alone.endswith("(new, ended): “failing source”; 1 finding of transfers, p-value below 1e-12.")


def test_each_incident_gets_the_sentence_of_its_number_of_findings():
    incidents = pd.DataFrame([INCIDENT | {"incident": "a"}, INCIDENT | {"incident": "b"}])
    one, none = incident_sentences(incidents, pd.DataFrame({"incident": ["a", "a", "c"], "site": ["A", "A", ""]}), DAY)
    assert one == incident_sentence(row(), 2, DAY)
    assert "0 findings of transfers and tickets" in none
    assert incident_sentences(incidents.head(0), pd.DataFrame({"incident": [], "site": []}), DAY) == []


def test_a_sentence_names_the_sites_of_an_incident_that_its_title_leaves_out():
    findings = pd.DataFrame({"incident": "a", "site": ["C", "B", "C", "", "D", "E", "F", "A"]})
    [several] = incident_sentences(pd.DataFrame([INCIDENT | {"incident": "a", "title": "idle nodes"}]), findings, DAY)
    assert several.startswith("Idle nodes at A, C, B and 3 more since 2026-01-30 12:00 UTC")
    assert where_in_words("failing source A_DISK", ["A", "B", "C"]) == ", also at B and C"
    assert where_in_words("idle nodes", ["A"]) == ""
    assert where_in_words("trouble of A and B", ["A", "B"]) == ""
    began = "Failing source A_DISK, also at B, since 2026-01-30 12:00 UTC"
    assert incident_sentence(row(), 2, DAY, ["A", "B"]).startswith(began)


@pytest.mark.parametrize(
    ("state", "age_nights", "ended", "change", "words"),
    [
        ("new", 1, False, "", "new, open"),
        ("new", 1, True, "", "new, ended"),
        ("ongoing", 3, False, "", "ongoing, night 3"),
        ("escalated", 2, False, "it is back", "escalated, night 2"),
        ("escalated", 2, True, "it is back", "escalated, night 2, ended"),
        ("resolved", 1, True, "", "resolved, seen in 1 night"),
        ("closed", 2, True, "", "closed, seen in 2 nights"),
        ("closed", 1, True, NOT_WATCHED, f"closed, {UNWATCHED}"),
    ],
)
def test_a_state_is_said_in_the_words_by_which_it_is_counted(state, age_nights, ended, change, words):
    assert status_in_words(state, age_nights, ended, change=change) == words
    parts = [part for part in words.split(", ") if "night" not in part or part == UNWATCHED]
    terms = {one["term"] for one in yaml.safe_load((TEMPLATES / "glossary.yaml").read_text())}
    assert terms.issuperset(parts), "each is in the glossary"


def test_what_has_changed_is_listed_with_the_newest_first_and_without_what_was_closed():
    states = ["resolved", "closed", "ongoing", "new"]
    some = pd.DataFrame({"state": states, "title": list("abcd"), "incident": list("wxyz"), "age_nights": 3, "change": "", "severity": "low"})
    some["ended"] = [True, True, False, False]
    assert listed_changes(some).incident.tolist() == ["d", "c", "a"]
    assert listed_changes(some).state.tolist() == ["new, open", "ongoing, night 3", "resolved, seen in 3 nights"]
    assert listed_changes(some.head(0)).empty
    assert severities_in_words(some) == "4 of low severity"
    mixed = some.assign(severity=["low", "high", "low", "medium"])
    assert severities_in_words(mixed) == "1 of high severity, 1 of medium severity and 2 of low severity"
    assert severities_in_words(some.head(0)) == ""


def test_what_ended_before_it_was_watched_says_so_where_it_is_silenced_too():
    silenced = {"silenced_as": "silenced", "silenced_by": "b", "silenced_until": DAY, "silenced_why": "w", "severity": "low"}
    closed = INCIDENT | silenced | {"incident": "x", "state": "closed", "ended": True, "change": NOT_WATCHED}
    table = listed_silences(pd.DataFrame([closed, closed | {"change": ""}]))
    assert table.state.tolist() == [f"closed, {UNWATCHED}", "closed, seen in 2 nights"]
    assert listed_silences(pd.DataFrame([closed]).head(0)).empty


def test_an_incident_says_what_it_owes_its_place_to_with_the_most_first():
    points = {"surprise": 1.2, "impact": 3.21, "sources": 0.0, "site": 0.0, "benign": -1.5}
    night = {"news": 1.0, "going on": 0.0, "tonight": 1.0}
    shown = "4.9 points: 2.9 of the evidence (impact 3.2, benign -1.5, surprise 1.2), 2.0 of the night (news 1, tonight 1)"
    assert standing_in_words(points, night) == shown
    assert standing_in_words(points, dict.fromkeys(night, 0.0)) == "2.9 points: 2.9 of the evidence (impact 3.2, benign -1.5, surprise 1.2)"
    assert standing_in_words(dict.fromkeys(points, 0.0), {}) == "0.0 points"


def test_the_rules_of_the_ranking_name_every_weight_with_its_value():
    weights = {"decade": 0.5, "decades": 6, "tenfold": 1, "study": 2, "site": 3, "new": 4, "going_on": 5, "tonight": 7, "benign": -1.5}
    text = RULES.format(amounts=amounts_in_words({"core hours": 1000.0, "nodes": 1}), **weights)
    assert "what is noticeable, 1,000 core hours and 1 node; of several, the largest;" in text
    assert all(words in text for words in ("surprise: 0.5", "of which 6 count", "impact: 1 ", "sources: 2 ", "site: 3 ", "benign: -1.5"))
    assert all(words in text for words in ("news: 4 ", "going on: 5 ", "tonight: 7 "))


def test_every_incident_is_counted_once():
    assert [counted_as(state, "", ended) for state in ("new", "escalated") for ended in (False, True)] == ["new", "ended", "escalated", "escalated"]
    assert (counted_as("closed", NOT_WATCHED, True), counted_as("closed", "", True)) == ("unwatched", "closed")
    some = pd.DataFrame({"state": ["new", "new", "closed"], "change": ["", "", NOT_WATCHED], "ended": [True, False, True]})
    assert count_incidents(some) == {"new": 1, "ended": 1, "escalated": 0, "ongoing": 0, "resolved": 0, "closed": 0, "unwatched": 1}
    assert sum(count_incidents(some.head(0)).values()) == 0


def test_a_bar_is_called_by_its_study_or_by_its_name_where_another_bar_has_both():
    finding = pd.Series({"study": "transfers", "label": "failing source", "name": "A_DISK", "observed": 1234.5, "expected": 2.0, "unit": "s"})
    finding = next(finding.to_frame().T.itertuples())
    numbers = "1,234, usually 2 s"
    assert bar_labels(finding, has_twin=False) == [
        f"transfers, failing source: {numbers}",
        f"failing source: {numbers}",
        "transfers, failing source",
    ]  # from the longest to the shortest, and never a number without its unit
    assert bar_labels(finding, has_twin=True) == [f"A_DISK: {numbers}", "A_DISK"]
    assert bar_labels(finding._replace(observed=np.nan), has_twin=True)[0] == "A_DISK"
    assert len(bar_labels(finding._replace(name="EMBER " * 30), has_twin=True)[-1]) <= 50


def findings_on(*days):
    """Findings of one incident, each from the first to the second of its days of January, the first one the most surprising."""
    rows = [{"start": pd.Timestamp(2026, 1, first, tz="UTC"), "end": pd.Timestamp(2026, 1, last, tz="UTC")} for first, last in days]
    more = {"study": "transfers", "label": "slow link", "observed": np.nan, "expected": np.nan, "unit": ""}
    table = pd.DataFrame(rows, columns=["start", "end"]).astype("datetime64[us, UTC]").assign(**more)
    return table.assign(name=[f"link {n}" for n in range(len(table))], p_value=np.arange(len(table)) / 100)


@pytest.fixture
def ax():
    with plt.rc_context({"date.converter": "concise"}):
        figure, ax = plt.subplots(figsize=(5.2, 3))
        yield ax
    plt.close(figure)


def bars_of(ax):
    """[(first day, last day, height)] of the bars of a strip, and its texts."""
    days = [[pd.Timestamp(at).day for at in line.get_xdata()] for line in ax.lines if line.get_linewidth() == 6]
    heights = [line.get_ydata()[0] for line in ax.lines if line.get_linewidth() == 6]
    return [(*day, height) for day, height in zip(days, heights, strict=True)], [text.get_text() for text in ax.texts]


def test_a_strip_has_a_bar_of_each_finding_from_its_start_to_its_end_in_their_order(ax):
    plot_strip(findings_on((20, 25), (10, 12), (15, 9)), ax, day="2026-01-31")
    bars, texts = bars_of(ax)
    assert bars == [(10, 12, 0), (15, 15, 1), (20, 25, 2)], "what ends before it begins is a moment"
    assert texts == ["link 1", "link 2", "link 0", "6 days later: tonight"]
    assert ax.get_ylim() == (3.15, -0.8)
    [night] = [patch for patch in ax.patches if patch.get_width() > 0]
    assert pd.Timestamp(night.get_x(), unit="D").strftime("%m-%d") == "01-31"
    assert (night.get_width(), night.get_linewidth()) == (1, 0)
    [quiet] = [line for line in ax.lines if line.get_linewidth() == 1]
    assert [pd.Timestamp(at).day for at in quiet.get_xdata()] == [25, 31]
    assert quiet.get_ydata() == pytest.approx([2.5, 2.5]), "between the last bar and the word for the night"


def test_more_findings_than_bars_are_counted_and_the_most_surprising_are_drawn(ax):
    plot_strip(findings_on(*[(20 - n, 31) for n in range(MAX_BARS + 2)]), ax, day="2026-01-31")
    bars, texts = bars_of(ax)
    assert [first for first, _, _ in bars] == list(range(14, 21))
    assert texts[-1] == "2 more, not drawn; tonight"


def test_a_strip_without_times_says_so_and_exactly_as_many_findings_as_bars_need_no_word(ax):
    plot_strip(findings_on(), ax, day="2026-01-31")
    assert bars_of(ax) == ([], ["tonight", "its source knows no times"])
    assert ax.get_ylim() == (1.15, -0.8), "it is as high as a strip with one bar"
    plot_tonight(findings_on(*[(1, 31)] * MAX_BARS), ax, height=0, day="2026-01-31")
    assert bars_of(ax)[1][-1] == "tonight"


@pytest.mark.parametrize(
    ("n", "last", "words"), [(1, 30, "1 day later: tonight"), (1, 31, "tonight"), (MAX_BARS + 1, 31, "1 more, not drawn; tonight")]
)
def test_one_day_and_one_finding_are_told_too(ax, n, last, words):
    plot_tonight(findings_on(*[(1, last)] * n), ax, height=0, day="2026-01-31")
    assert bars_of(ax)[1] == [words]


def test_labels_that_would_leave_a_strip_are_moved_into_it(ax):
    ax.set_xlim(0, 1)
    texts = [ax.text(at, 0.5, "a label") for at in (-0.5, 0.2, 0.99)]
    move_inside(texts, ax)
    edges = [text.get_window_extent().transformed(ax.transAxes.inverted()) for text in texts]
    assert edges[0].x0 == pytest.approx(0, abs=0.01)
    assert edges[1].x0 == pytest.approx(0.2, abs=0.01)
    assert edges[2].x1 == pytest.approx(0.98, abs=0.01)


def test_a_picture_has_64_colours_and_those_of_short_bars(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    pixels[:, 10:], pixels[20, 20:25] = 255, (200, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    reduce_colours(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.getcolors(10_000)) <= 64
        assert np.abs(np.array(picture.convert("RGB"))[20, 22].astype(int) - [200, 30, 30]).max() < 40


@pytest.mark.parametrize(
    ("days", "labels", "offset"),
    [
        (20, ["01-15", "01-22", "02-01"], "2026, UTC"),
        (5, ["01-29", "01-31"], "2026, UTC"),
        (2, ["01-30", "01-31", "02-01"], "2026, UTC"),
        (1, ["01-31", "12:00", "02-01"], "2026, UTC"),
    ],
)
def test_the_axis_of_a_strip_names_each_day_once_and_the_year_below(days, labels, offset):
    end = pd.Timestamp("2026-02-01")
    with plt.rc_context({"date.converter": "concise"}):
        figure, ax = plt.subplots(figsize=(5.2, 1.3))
        ax.plot([end - pd.Timedelta(days=days), end], [0, 0])
        finish_time_axis(ax)
        figure.canvas.draw()
    drawn = [label.get_text() for label in ax.get_xticklabels() if label.get_text()]
    plt.close(figure)
    assert set(labels) <= set(drawn)
    assert 2 <= len(drawn) <= 5, "they have room on a phone"
    assert not ax.spines.left.get_visible()
    assert ax.xaxis.get_offset_text().get_text() == offset


def findings_at(*sites):
    """One finding of transfers and one of accounting at each site."""
    times = {"start": pd.Timestamp("2026-01-30", tz="UTC"), "end": pd.Timestamp("2026-01-31", tz="UTC"), "p_value": 0.1, "evidence": ""}
    rows = [
        {"study": study, "kind": kind, "entity": f"{site}{ending}", "site": site, **times}
        for site in sites
        for study, kind, ending in (("transfers", "failing_source", "_DISK"), ("accounting", "global_dip", ""))
    ]
    return describe_findings(pd.DataFrame(rows), {})


def test_chance_moves_sites_between_names_and_leaves_what_one_study_sees():
    findings, sites = findings_at("A", "B", "C"), [f"S{i}" for i in range(50)]
    assert count_links(findings) == 3
    assert count_links(findings.head(0)) == 0
    drawn = shuffle_sites(findings, sites, np.random.default_rng(1))
    assert set(drawn.site) <= {*sites, "A", "B", "C"}
    assert drawn.groupby("study").site.nunique().eq(3).all()
    assert list(shuffle_sites(findings.assign(site=""), sites, np.random.default_rng(1)).site) == [""] * 6
    links = links_by_chance(findings, sites, drawings=20, rng=np.random.default_rng(1))
    assert links.shape == (20,)
    assert links.mean() < 1


def test_chance_is_told_beside_what_was_seen_or_why_it_is_not():
    findings, some = findings_at("A", "B", "C"), {"permutations": 20, "rng": np.random.default_rng(1)}
    sites = [f"S{i}" for i in range(50)]
    assert links_in_words(findings, sites, pairs_drawn=1e6, **some).startswith("**Studies meet 3 times at a site; by chance alone they would 0.")
    assert "6 findings at sites leave 19 drawings of 20, too few" in links_in_words(findings, sites, pairs_drawn=19.5 * 36, **some)
    alone = findings[findings.study == "transfers"]
    assert links_in_words(alone, sites, pairs_drawn=1e6, **some).startswith("Fewer than two studies name a site tonight")


def test_tables_name_their_studies_and_statuses_the_newest_time(tmp_path):
    for name in ("telemetry", "telemetry_gpus", "tickets"):
        (tmp_path / f"{name}.parquet").touch()
    assert nights_of_tables(tmp_path, DAY) == {"telemetry": DAY, "tickets": DAY}
    assert nights_of_tables(tmp_path / "none", DAY) == {}
    newest = pd.Timestamp("2026-01-31", tz="UTC")
    assert newest_rows({"tickets": {"newest": newest}, "telemetry": {"newest": None}}) == {"tickets": newest}


def test_findings_are_gathered_and_none_gives_an_empty_table_with_times():
    one = findings_at("A").assign(kept=False)
    both = gather_findings([one, one.head(0), one])
    assert (len(both), both.index.is_unique) == (4, True)
    empty = gather_findings([one.head(0)])
    assert (len(empty), str(empty.start.dtype)) == (0, "datetime64[us, UTC]")
    assert {"table", "night", "kept"} <= set(empty)


def test_pictures_are_shown_as_long_as_there_is_room(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG" + bytes(1_199_996))
    first = {"z.png": 800_000}
    sizes = show_pictures(["a.png", "b.png", "none.png"], first, root=tmp_path, max_mb=2, alt="a picture")
    assert (sizes, first) == ({"z.png": 800_000, "a.png": 1_200_000}, {"z.png": 800_000}), "two million bytes are full"
    assert "Pictures that are not on this page: b.png and none.png." in shown[-1].data
    full = {"z.png": 800_001}
    assert show_pictures(["a.png"], full, root=tmp_path, max_mb=2, alt="a picture") == full, "a byte too much"


def test_an_empty_table_is_not_folded_and_many_findings_are_counted(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show_folded("0 <things>", pd.DataFrame({"a": []}))
    assert shown == []
    show_folded("0 things", pd.DataFrame({"a": []}), none="No thing: none.")
    show_folded("1 <thing>", pd.DataFrame({"a": [1]}), none="No thing: none.")
    assert shown[0].data == "No thing: none."
    assert "<summary>1 &lt;thing&gt;</summary>" in shown[1].data
    assert (shown[1].data.count("<th>"), shown[1].data.count("border=")) == (1, 0), "no number of the row, no frame"
    many = pd.DataFrame({"study": "s", "label": "slow", "kind": "k", "entity": [f"e{i}" for i in range(MAX_FINDINGS + 2)], "evidence": "x"})
    show_evidence(many)
    assert shown[-2].data.count("<tr>") == MAX_FINDINGS
    assert "<td>slow</td>" in shown[-2].data
    assert shown[-1].data == "And 2 further findings."
    show_evidence(many.head(MAX_FINDINGS))
    assert "further" not in shown[-1].data


def test_pictures_of_several_incidents_come_with_their_numbers_the_foremost_first(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    figures = ["own.png", "late.png", "late.png", "early.png", "early.png", "early.png", "hidden.png", "hidden.png", ""]
    findings = pd.DataFrame(
        {"incident": list("abcacdeda"), "figure": figures, "study": ["tickets", *["transfers"] * 4, "accounting"] + ["tickets"] * 3}
    )
    own, shared = split_pictures(findings)
    assert own == {"a": ["own.png"]}
    assert split_pictures(pd.DataFrame({"incident": "a", "figure": ["z.png", "a.png", "z.png"]}))[0] == {"a": ["z.png", "a.png"]}
    assert shared == {"late.png": {"b", "c"}, "early.png": {"a", "c", "d"}, "hidden.png": {"e", "d"}}
    incidents = pd.DataFrame({"incident": list("abcde"), "rank": range(1, 6), "shown": [True, True, True, False, False]})
    assert show_shared_pictures(findings, incidents, {}, root=tmp_path, max_mb=1) == {}
    sentences = [one.data for one in shown if one.data.startswith("**")]
    assert sentences == [
        "**Incidents 1 and 3, and 1 that is not shown in full**, by accounting and transfers:",
        "**Incidents 2 and 3**, by transfers:",
    ]
    assert shown[-1].data.startswith("Pictures that are not on this page")
    show_shared_pictures(findings.head(1), incidents, {}, root=tmp_path, max_mb=1)
    assert shown[-1].data == "No picture shows more than one incident."
    (tmp_path / "early.png").write_bytes(b"\x89PNG" + bytes(9))
    assert show_shared_pictures(findings, incidents, {}, root=tmp_path, max_mb=1) == {"early.png": 13}
    assert [one.alt for one in shown if hasattr(one, "alt")] == ["accounting and transfers: incidents 1 and 3, and 1 that is not shown in full"]
