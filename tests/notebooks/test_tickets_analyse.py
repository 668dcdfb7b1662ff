"""Findings, waiting times and masked words on a help desk made by hand, with values asserted; sources that lack times, users or closings."""

import hashlib
import html
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run_cells, run_here

import helpers
from nightshift.analysis.tickets import backlog_evidence
from nightshift.detectors.tickets_embeddings import EMBEDDING, VECTOR, write_vectors
from nightshift.status import write_status

NOTEBOOK, DAY = "tickets/4_analyse.ipynb", "2026-01-31"
END = pd.Timestamp("2026-02-01", tz="UTC")
WEEKS, TOPICS = 90, 10
DEPARTMENTS = ["physics", "chemistry", "biology", "history"]
TIMES = ["created", "closed", "first_response"]
SUBJECTS = [
    "cannot login",
    "quota exceeded",
    "job pending",
    "module missing",
    "gpu idle",
    "transfer slow",
    "image broken",
    "new account",
    "licence gone",
    "course room",
]


def desk():
    """Three tickets of each topic and week, with two of the last four weeks' troubles: topic 2 grows, a site is out, biology holds a course,
    topic 5 takes eight times as long.
    """
    rng = np.random.default_rng(11)
    rows = [(w, k) for w in range(WEEKS) for k in range(TOPICS) for _ in range(rng.poisson(3))]
    rows += [(w, 2) for w in range(WEEKS - 4, WEEKS) for _ in range(9)]
    rows += [(WEEKS - 1, 6)] * 24
    course = [(w, int(rng.integers(TOPICS))) for w in range(WEEKS - 2, WEEKS) for _ in range(14)]
    table = pd.DataFrame(rows + course, columns=["week", "topic_number"])
    n = len(table)
    created = END - pd.to_timedelta(7 * (WEEKS - table.week) - rng.uniform(0, 7, n), unit="D")
    hours = rng.exponential(20, n) * np.where((table.topic_number == 5) & (table.week >= WEEKS - 8), 8, 1)
    table["created"], table["closed"] = created, created + pd.to_timedelta(hours, unit="h")
    table["first_response"] = created + pd.to_timedelta(hours / 4, unit="h")
    table["department"] = [*rng.choice(DEPARTMENTS, len(rows)), *["biology"] * len(course)]
    table["user"] = [f"user-{i:08x}" for i in rng.integers(0, 60, n)]
    table["urgency"] = pd.array(np.where(rng.random(n) < np.where(table.department == "history", 0.5, 0.1), 2, 3), "Int64")
    table["site"] = np.where((table.topic_number == 6) & (table.week == WEEKS - 1), "HARBOR-T2", "")
    return finished(table)


def finished(table):
    """The table as 2_preprocess would leave it."""
    table = table.sort_values("created", ignore_index=True)
    table.insert(0, "ticket_id", [str(1000 + i) for i in range(len(table))])
    table[TIMES] = table[TIMES].apply(lambda at: at.where(at < END)).astype("datetime64[us, UTC]")
    table["open"] = table.closed.isna()
    table["school"] = table.department.map({"history": "arts"}).fillna("science")
    table["priority"] = table.urgency.map({2: "high", 3: "normal"})
    table["queue"], table["help_topic"] = np.where(table.topic_number % 2, "storage", "computing"), "other"
    table["subject"] = [SUBJECTS[k] for k in table.topic_number]
    table["text"], table["label"] = table.subject, [f"intent {k}" for k in table.topic_number]
    return table


def write_study(products, clean, learned=None, metrics=None, **more):
    """The clean table and what 3_train would leave: a topic per number, of which it knows the tickets `learned` (all of them)."""
    paths = helpers.study_paths("tickets", products)
    helpers.write_parquet(clean.drop(columns="topic_number"), paths.clean)
    subset = clean if learned is None else clean[learned]
    names = [f"t{k:03d}" for k in subset.topic_number]
    rng = np.random.default_rng(12)
    members = pd.DataFrame({"ticket_id": subset.ticket_id, "topic": names, "distance": rng.uniform(0.1, 0.5, len(subset))})
    helpers.write_parquet(members.astype({"topic": str, "ticket_id": str, "distance": "float32"}), paths.models / "members.parquet")
    numbers = sorted(clean.topic_number.unique())
    centroids = list(np.eye(TOPICS, VECTOR, dtype="float32")[numbers])
    topics = pd.DataFrame({"topic": [f"t{k:03d}" for k in numbers], "name": [SUBJECTS[k].replace(" ", ", ") for k in numbers], "state": "steady"})
    helpers.write_parquet(topics.assign(centroid=centroids), paths.models / "topics.parquet")
    held_out = pd.DataFrame({"ticket_id": [f"held-{i}" for i in range(400)], "topic": "t000", "distance": np.linspace(0.1, 0.5, 400)})
    held_out.loc[0, "ticket_id"] = clean.ticket_id[clean.created < END - pd.Timedelta(days=6)].max()  # one of those that are judged
    helpers.write_parquet(held_out, paths.models / "calibration.parquet")
    helpers.write_json({"method": "Leiden", "max_tokens": 64}, paths.models / "detector.json")
    model = {"name": "Leiden", "metric": "ARI", "model": 0.6, "baseline_name": "string similarity", "baseline": 0.1, "skill": 0.55}
    model |= {"skill_low": 0.5, "skill_high": 0.6, "n_train": 9, "n_test": 9, "split": "time", "alarm_rate_stated": 0.005}
    models = [model | {"alarm_rate_observed": 0.005, "in_use": True}] if metrics is None else metrics
    helpers.record_metrics(paths.models / "metrics.json", study="tickets", day=DAY, models=models)
    paths.raw.mkdir(parents=True, exist_ok=True)
    status = {"state": "ok", "newest": DAY, "source": "hand"} | more
    write_status(paths.raw, rows=len(clean), window=[DAY, DAY], **status)


def analysed(products, **parameters):
    """The page as text, scores and findings, whose columns and types are checked."""
    names, page = run_cells(NOTEBOOK, products, **({"day": DAY, "resamples": 50} | parameters))
    page, recorded = html.unescape(page), names["RECORDED"]
    paths = helpers.study_paths("tickets", products)
    findings, scores = pd.read_parquet(paths.findings), pd.read_parquet(paths.scores)
    assert list(findings.columns) == helpers.FINDING_COLUMNS
    numbers = ["score", "p_value", "observed", "expected", "impact"]
    assert set(map(str, findings[numbers].dtypes)) == {"float64"}
    assert {str(findings[name].dtype) for name in ("start", "end")} == {"datetime64[us, UTC]"}
    assert np.isfinite(findings[numbers].to_numpy()).all()
    assert list(scores.columns) == ["ticket_id", "cluster", "score", "p_value", "flagged"]
    assert scores.ticket_id.is_unique
    assert np.isfinite(scores.score).all()
    assert recorded["verdict"] in ("ok", "too little history")
    assert (recorded["verdict"] == "ok") == ("verdict_reason" not in recorded)
    figures = {path.stem for path in paths.plots.glob("*.png")}
    return SimpleNamespace(page=page, recorded=recorded, findings=findings, scores=scores, paths=paths, figures=figures)


def incident(kind, weeks, length, entity, site=""):
    start = END - pd.Timedelta(days=7 * weeks)
    return {"kind": kind, "start": start, "end": start + pd.Timedelta(days=7 * length), "strength": 4, "entity": entity, "site": site}


TRUTH = [
    incident("growing_topic", 4, 4, "intent 2"),
    incident("outage_tickets", 1, 0.9, "intent 6", "HARBOR-T2"),
    incident("department_surge", 2, 2, "Biology"),
    incident("slow_topic", 8, 8, "intent 5"),
    incident("growing_topic", 3, 3, "intent 9"),  # nobody wrote about it
    incident("growing_topic", 30, 3, "intent 1"),  # nor about this one
    incident("slow", 3, 3, "a link of another study"),
]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """One night with four troubles."""
    products = tmp_path_factory.mktemp("tickets")
    clean = desk()
    write_study(products, clean)
    pd.DataFrame(TRUTH).assign(incident=range(len(TRUTH))).to_csv(products / "truth.csv", index=False)
    return SimpleNamespace(clean=clean, **vars(analysed(products, truth=str(products / "truth.csv"))))


def test_findings_are_the_four_troubles_with_their_numbers_and_site(night):
    found = {(f.kind, f.entity): f for f in night.findings.itertuples()}
    grown, out = found["growing_topic", "t002: job, pending"], found["growing_topic", "t006: image, broken"]
    surge, slow = found["department_surge", "biology"], found["slow_topic", "t005: transfer, slow"]
    assert len(found) <= 6  # a course makes its topics grow, too
    assert (out.site, grown.site, surge.site, slow.site) == ("HARBOR-T2", "", "", "")
    last = night.clean[(night.clean.created >= END - pd.Timedelta(days=7)) & (night.clean.topic_number == 6)]
    assert (out.observed, out.start, out.end) == (len(last), END - pd.Timedelta(days=7), END)
    assert 1 < out.expected < 10
    assert f"{(last.site != '').sum()} of {len(last)} name HARBOR-T2" in out.evidence
    assert 9 < grown.observed < 16
    assert (grown.unit, surge.unit, slow.unit) == ("tickets per week", "tickets per week", "hours")
    assert slow.observed > 3 * slow.expected > 30
    assert out.impact == pytest.approx(out.observed - out.expected)  # of its one week
    resolved, of, weeks = map(int, re.match(r"(\d+) of (\d+) tickets in (\d) weeks are resolved", slow.evidence).groups())
    recent = night.clean[(night.clean.created >= END - pd.Timedelta(weeks=weeks)) & (night.clean.topic_number == 5)]
    assert slow.impact == recent.open.sum() == of - resolved
    assert set(night.findings.impact_unit) == {"tickets"}
    assert found[night.findings.kind[0], night.findings.entity[0]].p_value == night.findings.p_value.min()
    assert (night.findings.figure[:6] == "plots/tickets/findings.png").all()


@pytest.mark.parametrize(("open_now", "usual", "beyond"), [(27.0, 7.5, 19.5), (7.0, 7.5, 0)])
def test_a_backlog_costs_the_open_tickets_beyond_the_usual_ones(open_now, usual, beyond):
    rows = pd.DataFrame({"open": [True, True, False], "resolution_h": [100.0, 300.0, 1.0]})
    observed, expected, unit, evidence, impact = backlog_evidence(rows, (open_now, usual, 1))
    assert (observed, expected, unit, impact) == (open_now, usual, "open tickets", beyond)
    assert evidence.endswith("half of them have waited for 200 h or longer")


def test_the_headline_names_what_grows_and_who_waits(night):
    assert re.search(
        r"\*\*\d topics above the usual, first t00\d: .*; half of the tickets of the last year are resolved within 1\d\.\d h", night.page
    )
    assert "“transfer, slow” surely waits long, " in night.page
    assert f"{night.clean.open.sum()} of them open" in night.page


def test_a_ticket_that_was_held_out_counts_by_the_distance_that_it_had_then(night):
    scores = night.scores.set_index("ticket_id")
    members = pd.read_parquet(night.paths.models / "members.parquet").set_index("ticket_id").distance
    last = night.clean.ticket_id[night.clean.created < END - pd.Timedelta(days=6)].max()
    assert scores.score[last] == 0.1 < members[last]
    assert scores.p_value[last] == 1
    others = scores.index.drop(last)
    assert np.array_equal(scores.score[others], members[others])


def test_a_stale_source_is_judged_as_of_when_it_last_wrote(night, tmp_path):
    write_study(tmp_path, night.clean, state="stale", newest=str(END - pd.Timedelta(hours=3)))
    late = analysed(tmp_path, day=str((END + pd.Timedelta(days=20)).date()), truth=str(night.paths.root / "truth.csv"))
    pd.testing.assert_frame_equal(late.findings, night.findings)
    assert "The source is stale: all below is said as of " + DAY in late.page


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


def test_what_is_found_and_missed_is_counted_against_the_truth(night):
    right = (night.findings.kind != "growing_topic") | night.findings.entity.isin(["t002: job, pending", "t006: image, broken"])
    assert f"4 of 5 incidents of the last four weeks are found; {right.sum()} of {len(right)} findings are right" in night.page
    assert re.search(r"nights of the past \d of \d incidents were found; \d+ false findings began, 0\.\d\d a week", night.page)
    assert "a link of another study" not in night.page


def test_stated_and_observed_rates_of_every_kind_are_printed(night):
    for kind in ("growing topic", "department surge", "slow topic", "backlog"):
        row = re.search(rf"<td>{kind}</td>\s*<td>5.00%</td>\s*<td>([\d.]+)%</td>", night.page)
        assert 0 <= float(row[1]) < 12
    assert re.search(r"of \d+ tests tonight, at a false discovery rate of 5%", night.page)


def test_candidates_are_ranked_by_tickets_times_median(night):
    table = re.search(r"tickets x median, h</th>.*?</table>", night.page, re.S)[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tr>")[1:]]
    hours = [float(row[4].replace(",", "")) for row in rows]
    assert len(rows) == TOPICS
    assert hours == sorted(hours, reverse=True)
    for row, cost in zip(rows, hours, strict=True):
        assert cost == pytest.approx(int(row[1]) * float(row[3].split(" h")[0]), rel=0.01)
        assert row[5] == "FAQ"


def test_every_figure_is_there_and_the_urgent_department_stands_out(night):
    assert night.figures == {"findings", "months", "weeks", "backlog", "waiting", "closures", "urgent", "words"}
    history = night.clean[night.clean.department == "history"]
    assert (history.urgency <= 2).mean() > 0.4
    assert "high" in night.page


def test_a_closed_ticket_is_in_one_bin_and_semesters_are_compared(night):
    assert "By priority, the slowest first; log-rank tests of resolution" in night.page
    assert f"{len(night.clean):,} tickets in {TOPICS} topics up to {DAY}" in night.page


def test_scores_are_those_of_the_judged_days_and_flagged_at_the_stated_rate(night):
    days = night.clean[night.clean.created >= END - pd.Timedelta(days=28)]
    assert list(night.scores.ticket_id) == list(days.ticket_id)
    assert (night.scores.flagged == (night.scores.p_value <= 0.005)).all()
    assert (night.scores.cluster == [f"t{k:03d}" for k in days.topic_number]).all()


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
    raw = run_here(NOTEBOOK, tmp_path, drawn=True, day=DAY, resamples=50)
    assert "<script" not in raw
    assert "<b>user" not in raw
    assert not re.search(r"[\x00\x1b\u202e\u200f\u200d]", raw)
    assert "x" * 100 not in raw
    assert "&lt;script&gt;" in raw
    assert not [w for w in recwarn if issubclass(w.category, UserWarning | RuntimeWarning)], [str(w.message) for w in recwarn]


def variant(**columns):
    return few(12).assign(**columns)


def few(n_weeks):
    clean = desk()
    return clean[clean.created >= END - pd.Timedelta(days=7 * n_weeks)].reset_index(drop=True)


def never(table):
    """No moment for any ticket."""
    return pd.Series(pd.NaT, table.index, "datetime64[us, UTC]")


VARIANTS = {
    "no times": (lambda: variant(created=never, closed=never, first_response=never), "the source says nothing about time", {"urgent", "words"}),
    "no users": (lambda: desk().assign(user=""), "The source names no users with at least 5 tickets", None),
    "no priorities": (lambda: variant(priority=None, urgency=pd.NA), "The source names no priorities, or nobody who sets them", None),
    "no departments": (lambda: variant(department="unknown", school="unknown"), "Departments and priorities are not both known", None),
    "one week": (lambda: few(1), "a past of 1 week with", None),
    "one ticket": (lambda: few(1).tail(1).reset_index(drop=True), "1 tickets in 1 topics", set()),
    "all open": (lambda: variant(closed=never, open=True), "No ticket was ever closed, so nothing is known of times to resolution", None),
    "none answered": (lambda: variant(first_response=never), "The source names no first answer", None),
    "none open": (
        lambda: variant(closed=lambda t: t.closed.fillna(END - pd.Timedelta(seconds=1)).clip(lower=t.created), open=False),
        "No ticket is open tonight",
        None,
    ),
    "one topic": (lambda: variant(topic_number=0), f"tickets in 1 topics up to {DAY}", None),
    "no ticket": (lambda: desk().head(0), "No ticket at all up to 2026-01-31: there is nothing to tell", set()),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_source_that_lacks_something_is_told_in_words(name, tmp_path, recwarn):
    make, sentence, figures = VARIANTS[name]
    clean = make()
    write_study(tmp_path, clean)
    night = analysed(tmp_path)
    assert sentence in night.page
    assert figures is None or night.figures == figures
    assert "nan" not in re.sub(r"<[^>]+>", " ", night.page).replace("finance", "")
    assert not [w for w in recwarn if issubclass(w.category, UserWarning | RuntimeWarning)], [str(w.message) for w in recwarn]
    if name in ("no times", "one week", "one ticket", "no ticket"):
        assert not len(night.findings)
    if len(clean) < 500:  # the others have 12 weeks or more than the tests need
        assert night.recorded["verdict"] == "too little history"
        assert night.recorded["verdict_reason"].startswith("Topics that grow, departments that surge, backlogs and slow topics cannot be found")
        assert "No topic grows" not in night.page
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
    assert young.sum() >= 20
    assert "resolution: no test could be made, since only one group has tickets as old as the shortest wait that ended" in night.page
    assert "resolved within 3.0 h" in night.page
    assert "” surely waits long" not in night.page, "a department of new tickets has not waited"
    assert "How well the topics are found is not measured" in night.page
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


def test_only_working_hours_count_where_they_are_named(tmp_path):
    clean = few(8)
    write_study(tmp_path, clean)
    office = analysed(tmp_path, working_hours="mon-fri 08:00-18:00")
    wall = analysed(tmp_path)
    medians = [float(re.search(r"resolved within ([\d.]+) h", night.page)[1]) for night in (office, wall)]
    assert medians[0] < 0.6 * medians[1]
    assert "times are hours of mon-fri 08:00-18:00" in office.page
    assert "times are hours on the wall, nights and weekends included" in wall.page
    write_study(tmp_path / "short", few(2))
    assert "times are hours outside closed days" in analysed(tmp_path / "short", closed_days=["01-24 to 01-25"]).page


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"semesters": [0, 4]}, "semesters is [0, 4]: a list of months from 1 to 12"),
        ({"working_hours": "9 to 5"}, "working_hours is '9 to 5': it must read like mon-fri 08:00-18:00"),
        ({"judged_days": 0}, "judged_days, min_group, resamples must be at least 1, max_pictures 0"),
        ({"day": "2026-01-29"}, "tickets.parquet: a ticket was created after 2026-01-29"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(tmp_path, parameters, line):
    write_study(tmp_path, few(3))
    assert refused(run_cells, NOTEBOOK, tmp_path, **({"day": DAY} | parameters)) == line
