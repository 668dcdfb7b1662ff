"""The page of trends: what run.json keeps for it, what older nights lack, and what its titles claim."""

import json

import pytest
from bs4 import BeautifulSoup

from nightshift.assurance import assure
from nightshift.reporting.charts import Series, lines, stacked_bars, ticks_of
from nightshift.reporting.night_figures import night_figures
from nightshift.reporting.trends import alarm_claim, figures_of, open_claim, write_trends

DAYS = ["2026-01-29", "2026-01-30", "2026-02-01"]


def one(severity="high", state="new", start="2026-01-30T04:00:00Z", end=None, **more):
    return {"severity": severity, "state": state, "start": start, "end": end, "ended": state in ("resolved", "closed")} | more


def a_run(day, **more):
    """run.json of a night, as far as the trends read it."""
    step = {"outcome": "ok", "seconds": 10.0}
    study = {"verdict": "ok", "findings": 0, "model": "lstm", "skill": 0.4, "alarm_rate_stated": 0.01, "alarm_rate_observed": 0.02}
    study["steps"] = {"3_train": step | {"seconds": 30.0}, "4_analyse": step, "1_extract": {"outcome": "not run", "seconds": 99.0}}
    digest = {"outcome": "ok", "seconds": 2.0, "open": {"high": 1, "medium": 2, "low": 3, "unknown": 0}, "resolved": {"n": 2, "mean_h": 6.0}}
    return {"day": day, "studies": {"transfers": study}, "digest": digest} | more


def text_of(folder):
    return " ".join(BeautifulSoup((folder / "trends.html").read_text(), "html.parser").get_text(" ").split())


def test_open_and_resolved_incidents_are_counted():
    rows = [
        one("high"),
        one("low", "ongoing"),
        one("odd", "escalated"),
        one("low", "ongoing", silence={"as": "silenced"}),
        one("high", "resolved", end="2026-01-30T10:00:00Z"),
        one("high", "new", end="2026-01-30T06:00:00Z", ended=True),
        one("low", "escalated", end="2026-01-30T08:00:00Z", ended=True),
        one("high", "closed", end="2026-01-30T23:00:00Z"),
        one("high", "resolved", end="at noon"),
        one("high", "resolved", start=None, end="2026-01-30T23:00:00Z"),
    ]
    assert night_figures(rows) == {"open": {"high": 1, "medium": 0, "low": 2, "unknown": 1}, "resolved": {"n": 3, "mean_h": 4.0}}
    assert night_figures([])["resolved"] == {"n": 0, "mean_h": None}


@pytest.mark.parametrize("key", ["open", "resolved"])
def test_what_an_older_night_did_not_record_is_counted_again_where_its_incidents_are_there(key):
    run = a_run(DAYS[0])
    del run["digest"][key]
    assert figures_of(run, [one("low")]) == {"open": {"high": 0, "medium": 0, "low": 1, "unknown": 0}, "n": 0, "mean_h": None}
    assert figures_of(run, None) == {"open": None, "n": None, "mean_h": None}


@pytest.mark.parametrize("digest", [{"outcome": "failed"}, {"outcome": "not run"}, None])
def test_a_night_without_digest_is_not_known_and_not_zero(digest):
    assert figures_of(a_run(DAYS[0], digest=digest), []) == {"open": None, "n": None, "mean_h": None}


@pytest.mark.parametrize("wrong", [{"open": {"high": "many", "medium": 0, "low": 0}}, {"open": {}}, {"resolved": {"n": "two", "mean_h": None}}])
def test_numbers_of_a_run_json_that_are_none_are_not_known(wrong):
    run = a_run(DAYS[0])
    run["digest"] |= wrong
    figures = figures_of(run, None)
    assert figures["open" if "open" in wrong else "n"] is None


@pytest.mark.parametrize(
    ("totals", "digest", "claim"),
    [
        ([3, 9, 4], "ok", "4 incidents were open in the night of 2026-02-01; most were open on 2026-01-30: 9"),
        ([3, None, 4], "failed", "At least 4 incidents were open in the night of 2026-02-01"),
        ([0, 0, 0], "ok", "No incident was open in the night of 2026-02-01"),
        ([1, 0, 0], "failed", "How many incidents were open in the night of 2026-02-01 is not known; most were open on 2026-01-29: 1"),
        ([0, 0, None], "ok", "How many incidents were open in the night of 2026-02-01 is not known"),
        ([0, 0, 1], "ok", "1 incident was open in the night of 2026-02-01"),
    ],
)
def test_titles_claim_what_the_numbers_show(totals, digest, claim):
    assert open_claim(DAYS, totals, assure({"transfers": "ok"}, digest)) == claim


def test_alarms_are_held_against_what_is_stated():
    expected = "1 of 2 studies flagged more than 1.5 times the stated share of their ordinary test items; the highest is Transfers, 2.0 times"
    assert alarm_claim([(2.0, "transfers"), (1.0, "tickets")]) == expected
    assert alarm_claim([(1.4, "tickets")]) == "0 of 1 study flagged more than 1.5 times the stated share of their ordinary test items"


@pytest.mark.parametrize(
    ("top", "ticks"),
    [(0, [0, 1]), (5, [0, 1, 2, 3, 4, 5]), (13, [0, 5, 10, 15]), (0.74, [0, 0.2, 0.4, 0.6, 0.8]), (1, [0, 0.2, 0.4, 0.6, 0.8, 1])],
)
def test_axes_have_round_numbers_up_to_the_highest_value(top, ticks):
    assert ticks_of(top) == pytest.approx(ticks)


def test_a_bar_is_as_high_as_its_number_and_a_night_that_is_not_known_is_shaded():
    svg = stacked_bars(DAYS, [Series("a", [1, None, 4], "c0"), Series("b", [1, None, 6], "c1")], unit="things", label="<10 things>", shaded=[DAYS[1]])
    soup = BeautifulSoup(svg, "html.parser").svg
    heights = [(bar["class"][0], float(bar["height"])) for bar in soup.select("rect")]
    full = heights[0][1]
    assert heights[0][0] == "unknown"
    expected = [("c0", 0.1), ("c1", 0.1), ("c0", 0.4), ("c1", 0.6)]
    assert heights[1:] == [(mark, pytest.approx(share * full, abs=0.1)) for mark, share in expected]
    assert soup["aria-label"] == "<10 things>"
    assert "things" in soup.get_text()
    assert {"2026-02-01", "2026-01-30"} <= {one.get_text() for one in soup.select("text")}


@pytest.mark.parametrize(("last", "wide"), [("2026-01-03", 340), ("2026-01-10", 466), ("2026-03-01", 960)])
def test_a_figure_is_as_wide_as_its_nights_need(last, wide):
    svg = lines(["2026-01-01", last], [Series("a", [1, 2], "c0")], unit="h", label="a")
    assert BeautifulSoup(svg, "html.parser").svg["width"] == str(wide)


def test_a_line_has_a_gap_where_nothing_is_known():
    svg = lines(DAYS, [Series("a", [1, None, 4], "c0"), Series("limit", [2, 2, 2], "stated", is_level=True)], unit="h", label="a")
    soup = BeautifulSoup(svg, "html.parser")
    assert len(soup.select("circle")) == 2
    assert soup.select_one("path.c0")["d"].count("M") == 2
    assert len(soup.select("path.stated")) == 3


def test_the_page_shows_all_nights_the_removed_ones_too(tmp_path):
    runs = [a_run(DAYS[0], removed=True), a_run(DAYS[1], digest={"outcome": "failed", "seconds": 1.0}), a_run(DAYS[2])]
    del runs[0]["studies"]["transfers"]["alarm_rate_stated"]
    write_trends(tmp_path, runs, {})
    text = text_of(tmp_path)
    for sentence in (
        "3 nights, 2026-01-29 to 2026-02-01",
        "6 incidents were open in the night of 2026-02-01",
        "Shaded: not all is known of the night",
        "4 incidents ended, after 6 h on average.",
        "Transfers: 2.00% flagged in the test of the training, 1.00% stated",
        "Skill over the baseline is 0.40 (Transfers).",
        "The notebooks of the night of 2026-02-01 ran for 42 s together, longest 3 train of Transfers: 30 s.",
        "3 train took 72% of all nights together",
    ):
        assert sentence in text
    assert "The latest night" not in text


def test_a_night_that_was_not_counted_does_not_look_like_a_quiet_one(tmp_path):
    old = a_run(DAYS[0], removed=True)
    del old["digest"]["open"]
    write_trends(tmp_path, [old, a_run(DAYS[1])], {})
    figure = BeautifulSoup((tmp_path / "trends.html").read_text(), "html.parser").select_one("svg.chart")
    assert len(figure.select("rect.unknown")) == 1
    assert "Shaded: not all is known of the night" in text_of(tmp_path)


def test_numbers_stand_beside_each_figure(tmp_path):
    write_trends(tmp_path, [a_run(DAYS[0]), a_run(DAYS[1], digest=None)], {})
    soup = BeautifulSoup((tmp_path / "trends.html").read_text(), "html.parser")
    table = soup.select_one("section.trend table")
    rows = [[cell.get_text() for cell in row.select("th, td")] for row in table.select("tr")]
    assert rows == [["night", "high", "medium", "low"], [DAYS[1], *["not known"] * 3], [DAYS[0], "1", "2", "3"]]
    assert all(one.select_one("table") for one in soup.select("section.trend"))
    assert "1 of 1 study reported" in text_of(tmp_path), "the digest did not run, and the page says so"


def test_a_page_of_no_night_is_a_sentence(tmp_path):
    write_trends(tmp_path, [], {})
    assert "No night has been published." in text_of(tmp_path)


def test_a_night_records_what_the_trends_need(tmp_path):
    from incident_tables import DAY, incident, write_digest, write_study

    from nightshift.reporting import site

    write_study(tmp_path, "transfers")
    metrics = tmp_path / "models/transfers/metrics.json"
    models = json.loads(metrics.read_text())
    models["models"][0] |= {"alarm_rate_stated": 0.005, "alarm_rate_observed": 0.0074}
    metrics.write_text(json.dumps(models))
    write_digest(tmp_path, [incident("A_DISK", severity="high")], ["transfers"])
    site.render_night(tmp_path, DAY, {"transfers": DAY})
    run = json.loads((tmp_path / f"reports/{DAY}/run.json").read_text())
    assert run["studies"]["transfers"]["alarm_rate_stated"] == 0.005
    assert run["studies"]["transfers"]["alarm_rate_observed"] == 0.0074
    assert run["digest"]["open"] == {"high": 1, "medium": 0, "low": 0, "unknown": 0}
    assert "Transfers: 0.74% flagged in the test of the training, 0.50% stated" in text_of(tmp_path / "reports")
