"""Findings and scores on a help desk made by hand, with values asserted; all pages of sources that lack times, users or closings."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run_cells, run_here
from ticket_desk import (
    DAY,
    END,
    PAGES,
    SUBJECTS,
    TOPICS,
    analysed,
    desk,
    few,
    figures_of,
    never,
    page_of,
    pages_of,
    variant,
    write_study,
)

import helpers
from nightshift.analysis.tickets import backlog_evidence
from nightshift.detectors.tickets_embeddings import EMBEDDING, VECTOR, write_vectors


def test_findings_are_the_four_troubles_with_their_numbers_and_site(ticket_night):
    found = {(f.kind, f.entity): f for f in ticket_night.findings.itertuples()}
    grown, out = found["growing_topic", "t002: job, pending"], found["growing_topic", "t006: image, broken"]
    surge, slow = found["department_surge", "biology"], found["slow_topic", "t005: transfer, slow"]
    assert len(found) <= 6  # a course makes its topics grow, too
    assert (out.site, grown.site, surge.site, slow.site) == ("HARBOR-T2", "", "", "")
    last = ticket_night.clean[(ticket_night.clean.created >= END - pd.Timedelta(days=7)) & (ticket_night.clean.topic_number == 6)]
    assert (out.observed, out.start, out.end) == (len(last), END - pd.Timedelta(days=7), END)
    assert 1 < out.expected < 10
    assert f"{(last.site != '').sum()} of {len(last)} name HARBOR-T2" in out.evidence
    assert 9 < grown.observed < 16
    assert (grown.unit, surge.unit, slow.unit) == ("tickets per week", "tickets per week", "hours")
    assert slow.observed > 3 * slow.expected > 30
    assert out.impact == pytest.approx(out.observed - out.expected)  # of its one week
    resolved, of, weeks = map(int, re.match(r"(\d+) of (\d+) tickets in (\d) weeks are resolved", slow.evidence).groups())
    recent = ticket_night.clean[(ticket_night.clean.created >= END - pd.Timedelta(weeks=weeks)) & (ticket_night.clean.topic_number == 5)]
    assert slow.impact == recent.open.sum() == of - resolved
    assert set(ticket_night.findings.impact_unit) == {"tickets"}
    assert found[ticket_night.findings.kind[0], ticket_night.findings.entity[0]].p_value == ticket_night.findings.p_value.min()
    assert (ticket_night.findings.figure[:6] == "plots/tickets/findings.png").all()


@pytest.mark.parametrize(("open_now", "usual", "beyond"), [(27.0, 7.5, 19.5), (7.0, 7.5, 0)])
def test_a_backlog_costs_the_open_tickets_beyond_the_usual_ones(open_now, usual, beyond):
    rows = pd.DataFrame({"open": [True, True, False], "resolution_h": [100.0, 300.0, 1.0]})
    observed, expected, unit, evidence, impact = backlog_evidence(rows, (open_now, usual, 1))
    assert (observed, expected, unit, impact) == (open_now, usual, "open tickets", beyond)
    assert evidence.endswith("half of them have waited for 200 h or longer")


def test_the_headline_names_what_grows_and_who_waits(ticket_night):
    assert re.search(
        r"\*\*\d topics above the usual, first t00\d: .*; half of the tickets of the last year are resolved within 1\d\.\d h", ticket_night.page
    )
    assert "“transfer, slow” clearly waits longer than usual, " in ticket_night.page
    assert f"{ticket_night.clean.open.sum()} of them open" in ticket_night.page


def test_a_ticket_that_was_held_out_counts_by_the_distance_that_it_had_then(ticket_night):
    scores = ticket_night.scores.set_index("ticket_id")
    members = pd.read_parquet(ticket_night.paths.models / "members.parquet").set_index("ticket_id").distance
    last = ticket_night.clean.ticket_id[ticket_night.clean.created < END - pd.Timedelta(days=6)].max()
    assert scores.score[last] == 0.1 < members[last]
    assert scores.p_value[last] == 1
    others = scores.index.drop(last)
    assert np.array_equal(scores.score[others], members[others])


@pytest.mark.parametrize(("state", "days", "why"), [("stale", 20, "The source is stale"), ("ok", 2, "Nothing was written on {}")])
def test_a_source_that_is_silent_is_judged_as_of_when_it_last_wrote(ticket_night, tmp_path, state, days, why):
    write_study(tmp_path, ticket_night.clean, state=state, newest=str(END - pd.Timedelta(hours=3)))
    day = str((END + pd.Timedelta(days=days)).date())
    late = analysed(tmp_path, day=day, truth=str(ticket_night.paths.root / "truth.csv"))
    pd.testing.assert_frame_equal(late.findings, ticket_night.findings)
    assert f"{why.format(day)}: all below is said as of {DAY}, when it last wrote." in late.page
    assert f"topics up to {DAY}, " in late.page


def test_tickets_closed_nobody_knows_when_are_neither_open_nor_waiting(tmp_path):
    clean = desk()
    lost = clean.created >= END - pd.Timedelta(weeks=6)
    n = int((clean.open & ~lost).sum())
    clean.loc[lost, ["closed", "first_response"]] = pd.NaT
    clean["open"] &= ~lost
    write_study(tmp_path, clean)
    night = analysed(tmp_path)
    assert f"{n} of them open" in night.page
    assert not night.findings.kind.isin(["backlog", "slow_topic"]).any()


def test_scores_are_those_of_the_judged_days_and_flagged_at_the_stated_rate(ticket_night):
    days = ticket_night.clean[ticket_night.clean.created >= END - pd.Timedelta(days=28)]
    assert list(ticket_night.scores.ticket_id) == list(days.ticket_id)
    assert (ticket_night.scores.flagged == (ticket_night.scores.p_value <= 0.005)).all()
    assert (ticket_night.scores.cluster == [f"t{k:03d}" for k in days.topic_number]).all()


def test_tickets_after_the_training_get_the_nearest_topic(tmp_path, monkeypatch):
    clean = desk()
    late = clean.created >= END - pd.Timedelta(days=5)
    clean.loc[clean.index[-1], "text"] = "something else entirely"
    write_study(tmp_path, clean, learned=~late)
    paths, vectors = helpers.study_paths("tickets", tmp_path), {}
    for k, text in enumerate([*SUBJECTS, "something else entirely"]):
        key = hashlib.sha256(f"{EMBEDDING} 64\n{text}".encode()).hexdigest()
        vectors[key] = np.eye(TOPICS + 1, VECTOR, dtype="float32")[k]
    vectors[key] = (np.full(VECTOR, 1.0) / np.sqrt(VECTOR)).astype("float32")
    write_vectors(vectors, paths.encoders / "embeddings.parquet")
    monkeypatch.setattr("nightshift.detectors.tickets_embeddings.load_embedding", None)  # nothing is embedded anew
    page = analysed(tmp_path)
    subset = page.scores.set_index("ticket_id").loc[clean.ticket_id[late]]
    assert list(subset.cluster[:-1]) == [f"t{k:03d}" for k in clean.topic_number[late][:-1]]
    assert subset.score[:-1].max() < 0.01
    assert subset.flagged.sum() == 1
    assert subset.flagged.iloc[-1]
    assert "Flagged: 1 of" in page.page
    assert f"{late.sum()} of {len(clean):,} tickets came after the topics were made, or were not used; {EMBEDDING}" in page.page


def test_the_page_says_how_many_tests_were_made_and_points_to_the_quality(ticket_night):
    assert re.search(r"of \d+ tests tonight, at a false discovery rate of 5%", ticket_night.page)
    assert f"{len(ticket_night.clean):,} tickets in {TOPICS} topics up to {DAY}" in ticket_night.page
    assert re.search(r"<td>Leiden</td>\s*<td>ARI</td>\s*<td>0.60</td>\s*<td>string similarity</td>\s*<td>0.10</td>", ticket_night.page)


HOSTILE = [
    "<script>alert(1)</script> [click](http://x.example)",
    "=cmd()|calc $x$ ~~a~~ `b` {n}",
    "\u202egnp.exe \u200f\U0001f4a5\U0001f469\u200d\U0001f4bb",
    "x" * 10_000,
    "nul \x00 \x1b[31m",
]


def test_hostile_words_are_escaped_short_and_drawn_without_a_warning(tmp_path, recwarn):
    clean = desk()
    clean["subject"] = [HOSTILE[i % len(HOSTILE)] for i in range(len(clean))]
    clean["department"] = [HOSTILE[i % 4] for i in range(len(clean))]
    clean["user"] = [f"<b>{user}" for user in clean.user]
    clean["site"] = clean.site.where(clean.site == "", "<i>$HARBOR$")
    write_study(tmp_path, clean)
    paths = helpers.study_paths("tickets", tmp_path)
    topics = pd.read_parquet(paths.models / "topics.parquet")
    topics["name"] = [HOSTILE[i % len(HOSTILE)] for i in range(len(topics))]
    helpers.write_parquet(topics, paths.models / "topics.parquet")
    raw = "".join(run_here(f"tickets/{step}.ipynb", tmp_path, drawn=True, day=DAY) for step in ["4_analyse", *PAGES])
    assert "<script" not in raw
    assert "<b>user" not in raw
    assert not re.search(r"[\x00\x1b\u202e\u200f\u200d]", raw)
    assert "x" * 100 not in raw
    assert "&lt;script&gt;" in raw
    assert not [w for w in recwarn if issubclass(w.category, UserWarning | RuntimeWarning)], [str(w.message) for w in recwarn]


VARIANTS = {
    "no times": (
        lambda: variant(created=never, closed=never, first_response=never),
        "the source says nothing about time",
        {"stability", "topic_map", "topic_sizes", "urgent", "words"},
    ),
    "no users": (lambda: desk().assign(user=""), "The source names no users with at least 5 tickets", None),
    "no priorities": (lambda: variant(priority=None, urgency=pd.NA), "The source names no priorities, or nobody who sets them", None),
    "no departments": (lambda: variant(department="unknown", school="unknown"), "Departments and priorities are not both known", None),
    "one week": (lambda: few(1), "a past of 1 week with", None),
    "one ticket": (lambda: few(1).tail(1).reset_index(drop=True), "1 tickets in 1 topics", {"stability", "topic_sizes"}),
    "all open": (lambda: variant(closed=never, open=True), "No ticket was ever closed, so nothing is known of times to resolution", None),
    "none answered": (lambda: variant(first_response=never), "The source names no first answer", None),
    "none open": (
        lambda: variant(closed=lambda t: t.closed.fillna(END - pd.Timedelta(seconds=1)).clip(lower=t.created), open=False),
        "No ticket is open tonight",
        None,
    ),
    "one topic": (lambda: variant(topic_number=0), "1 topics are too few for a map", None),
    "no ticket": (lambda: desk().head(0), "No ticket at all up to 2026-01-31: there is nothing to tell", {"stability"}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_source_that_lacks_something_is_told_in_words(name, tmp_path, recwarn):
    make, sentence, figures = VARIANTS[name]
    clean = make()
    write_study(tmp_path, clean)
    night = analysed(tmp_path)
    page = "\n".join([night.page, *pages_of(tmp_path).values()])
    assert sentence in page
    assert figures is None or figures_of(tmp_path) == figures
    assert "nan" not in re.sub(r"<[^>]+>", " ", page).replace("finance", "")
    assert not [w for w in recwarn if issubclass(w.category, UserWarning | RuntimeWarning)], [str(w.message) for w in recwarn]
    if name in ("no times", "one week", "one ticket", "no ticket"):
        assert not len(night.findings)
    if len(clean) < 500:  # the others have 12 weeks or more than the tests need
        assert night.recorded["verdict"] == "too little history"
        assert night.recorded["verdict_reason"].startswith("Topics that grow, departments that surge, backlogs and slow topics cannot be found")
        assert "No topic grows" not in page
    if name == "no users":
        assert "growing_topic" in set(night.findings.kind)
        assert " users," not in " ".join(night.findings.evidence)


def test_waiting_times_need_no_measured_model_and_no_test_that_can_be_made(tmp_path):
    """A young department of which every ticket is open and younger than any closing: the log-rank test would divide by nothing."""
    clean = few(12)
    clean["department"] = np.where(clean.created >= END - pd.Timedelta(days=3), "archaeology", "physics")
    young = clean.department == "archaeology"
    clean.loc[young, "created"] = END - pd.Timedelta(minutes=5)
    clean.loc[young, ["closed", "first_response"]] = pd.NaT
    clean.loc[~young, "closed"] = (clean.created + pd.Timedelta(hours=3)).where(~young)
    clean.loc[young, "open"], clean.loc[~young, "open"] = True, False
    write_study(tmp_path, clean.sort_values(["created", "ticket_id"], ignore_index=True), metrics=[])
    night = analysed(tmp_path, closed_days=["2030-05-01"])
    waiting = page_of("6_waiting", tmp_path)
    assert young.sum() >= 20
    assert "resolution: no test could be made, since only one group has tickets as old as the shortest wait that ended" in waiting
    assert "resolved within 3.0 h" in night.page
    assert "resolved within 3.0 h" in waiting
    assert "” clearly waits longer than usual" not in night.page + waiting, "a department of new tickets has not waited"
    assert "How well the topics are found is not measured" in night.page
    assert "How well the topics are found is not measured" in page_of("5_quality", tmp_path)
    assert [line for line in night.recorded["warnings"] if "None of the closed_days (2030-05-01) lies between" in line]


def test_no_topic_at_all_is_told(tmp_path):
    clean = few(2)
    write_study(tmp_path, clean)
    paths = helpers.study_paths("tickets", tmp_path)
    members = pd.read_parquet(paths.models / "members.parquet")
    helpers.write_parquet(members.assign(topic=""), paths.models / "members.parquet")
    for name in ("topics", "calibration"):
        helpers.write_parquet(pd.read_parquet(paths.models / f"{name}.parquet").head(0), paths.models / f"{name}.parquet")
    night = analysed(tmp_path)
    assert set(night.scores.cluster) == {""}
    assert not night.scores.flagged.any()
    assert not len(night.findings)
    assert "0 topics are too few for a map" in pages_of(tmp_path)["7_asking"]


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"working_hours": "9 to 5"}, "working_hours is '9 to 5': it must read like mon-fri 08:00-18:00"),
        ({"judged_days": 0}, "judged_days, min_group, resamples must be at least 1, max_pictures 0"),
        ({"day": "2026-01-29"}, "tickets.parquet: a ticket was created after 2026-01-29"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(tmp_path, parameters, line):
    write_study(tmp_path, few(3))
    assert refused(run_cells, "tickets/4_analyse.ipynb", tmp_path, **({"day": DAY} | parameters)) == line
