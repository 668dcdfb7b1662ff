"""A help desk made by hand, with four troubles, for the tests of the pages that follow the training of tickets."""

import html
from types import SimpleNamespace

import numpy as np
import pandas as pd
from conftest import run_cells

import helpers
from nightshift.detectors.tickets_embeddings import VECTOR
from nightshift.status import write_status

DAY = "2026-01-31"
PAGES = ["5_quality", "6_waiting", "7_asking"]  # which read what 4_analyse wrote
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
    topics["size"] = topics["size_before"] = [int((subset.topic_number == k).sum()) for k in numbers]
    topics["first_seen"] = DAY
    helpers.write_parquet(topics.assign(centroid=centroids), paths.models / "topics.parquet")
    held_out = pd.DataFrame({"ticket_id": [f"held-{i}" for i in range(400)], "topic": "t000", "distance": np.linspace(0.1, 0.5, 400)})
    held_out.loc[0, "ticket_id"] = clean.ticket_id[clean.created < END - pd.Timedelta(days=6)].max()  # one of those that are judged
    helpers.write_parquet(held_out, paths.models / "calibration.parquet")
    helpers.write_json({"method": "Leiden", "max_tokens": 64, "tickets": len(subset)}, paths.models / "detector.json")
    model = {"name": "Leiden", "metric": "ARI", "model": 0.6, "baseline_name": "string similarity", "baseline": 0.1, "skill": 0.55}
    model |= {"skill_low": 0.5, "skill_high": 0.6, "n_train": 9, "n_test": 9, "split": "time", "alarm_rate_stated": 0.005}
    models = [model | {"alarm_rate_observed": 0.005, "in_use": True}] if metrics is None else metrics
    helpers.record_metrics(paths.models / "metrics.json", study="tickets", day=DAY, models=models, kept=0.9)
    tried = {"clusters": TOPICS, "tickets": len(subset), "stability": 0.9, "seconds": 0.1, "silhouette": 0.3, "ARI": [0.6, 0.1], "NMI": 0.5}
    helpers.write_parquet(pd.DataFrame({"method": ["Leiden", "exact match"], "seed": 1} | tried), paths.models / "experiments.parquet")
    stability = {"stability": [0.8, 0.9, 0.5], "error": 0.01, "samples": 4, "tickets": len(subset), "is_chosen": [False, True, False]}
    helpers.write_parquet(pd.DataFrame({"resolution": [1.0, 2.0, 4.0]} | stability), paths.models / "stability.parquet")
    trials = {"topics": [10, 10], "kept": [9, 9], "stays": [True, False], "new_share": 0.02}
    helpers.write_parquet(pd.DataFrame(trials), paths.models / "trials.parquet")
    paths.raw.mkdir(parents=True, exist_ok=True)
    status = {"state": "ok", "newest": f"{DAY} 23:00:00+00:00", "source": "hand"} | more
    write_status(paths.raw, rows=len(clean), window=[DAY, DAY], **status)


def page_of(step, products, **parameters):
    """The page of a notebook that reads what 4_analyse wrote, as text."""
    return html.unescape(run_cells(f"tickets/{step}.ipynb", products, **parameters)[1])


def pages_of(products):
    """{step: page as text} of all notebooks after 4_analyse."""
    return {step: page_of(step, products, day=DAY) for step in PAGES}


def figures_of(products):
    """Names of the figures that were drawn."""
    return {path.stem for path in helpers.study_paths("tickets", products).plots.glob("*.png")}


def analysed(products, **parameters):
    """The page of 4_analyse as text, scores and findings, whose columns and types are checked."""
    names, page = run_cells("tickets/4_analyse.ipynb", products, **({"day": DAY, "resamples": 50} | parameters))
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
    return SimpleNamespace(page=page, recorded=recorded, findings=findings, scores=scores, paths=paths)


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


def troubled_night(products):
    """One night with four troubles, and all pages on it."""
    clean = desk()
    write_study(products, clean)
    pd.DataFrame(TRUTH).assign(incident=range(len(TRUTH))).to_csv(products / "truth.csv", index=False)
    night = analysed(products, truth=str(products / "truth.csv"))
    return SimpleNamespace(clean=clean, pages=pages_of(products), figures=figures_of(products), **vars(night))


def variant(**columns):
    return few(12).assign(**columns)


def few(n_weeks):
    clean = desk()
    return clean[clean.created >= END - pd.Timedelta(days=7 * n_weeks)].reset_index(drop=True)


def never(table):
    """No moment for any ticket."""
    return pd.Series(pd.NaT, table.index, "datetime64[us, UTC]")
