"""Tables of incidents as the digest leaves them, written by hand: what the mail and the pages of a night read."""

import hashlib
import json

import nbformat
import pandas as pd
import pyarrow as pa

from helpers import FINDING_COLUMNS, write_findings, write_json, write_parquet
from nightshift.catalog import STEPS
from nightshift.products import fingerprint
from nightshift.reporting.digests import read_digest
from nightshift.reporting.site import record_digest, render_night
from nightshift.status import write_status

DAY = "2026-01-31"
MODEL = {"name": "lstm", "metric": "pinball loss", "model": 6.0, "baseline_name": "log_size", "baseline": 10.0, "split": "by time"}
MODEL |= {"skill": 0.4, "skill_low": 0.35, "skill_high": 0.449, "in_use": True}
TIME = pa.timestamp("us", tz="UTC")
INCIDENTS = pa.schema(
    [pa.field(name, pa.string()) for name in ("incident", "state")]
    + [pa.field("age_nights", pa.int64())]
    + [pa.field(name, pa.string()) for name in ("silenced_as", "silenced_by", "silenced_until", "silenced_why")]
    + [pa.field("rank", pa.int64()), pa.field("shown", pa.bool_()), pa.field("severity", pa.string()), pa.field("priority", pa.float64())]
    + [pa.field(name, pa.string()) for name in ("site", "title", "summary")]
    + [pa.field(name, pa.list_(pa.string())) for name in ("kinds", "studies")]
    + [pa.field("start", TIME), pa.field("end", TIME), pa.field("ended", pa.bool_()), pa.field("first_seen", pa.string())]
    + [pa.field("p_value", pa.float64()), pa.field("impact", pa.string())]
    + [pa.field("impacts", pa.list_(pa.struct({"study": pa.string(), "value": pa.float64(), "unit": pa.string()})))]
    + [pa.field(name, pa.string()) for name in ("figure", "change")]
)
FINDINGS = list(dict.fromkeys([*FINDING_COLUMNS, "impact", "impact_unit", "incident"]))
PROPOSALS = pa.schema(
    [pa.field("incident", pa.string()), pa.field("rank", pa.int64())]
    + [pa.field(name, pa.string()) for name in ("remediation", "proposal", "verify", "effort")]
    + [pa.field(name, pa.float64()) for name in ("chance", "low", "high")]
    + [pa.field("trials", pa.int64()), pa.field("worked", pa.int64())]
)


def incident(title, state="new", day=DAY, **more):
    """One row of the table of incidents of `day`; its id follows from when it was first seen and from what it is."""
    night = {"new": 1}.get(state, 3)
    first = str((pd.Timestamp(more.get("first_seen", day)) - pd.Timedelta(days=0 if "first_seen" in more else night - 1)).date())
    row = {
        "incident": f"{first.replace('-', '')}-{hashlib.sha256(title.encode()).hexdigest()[:4]}",
        "state": state,
        "age_nights": night,
        "silenced_as": "",
        "silenced_by": "",
        "silenced_until": "",
        "silenced_why": "",
        "severity": "medium",
        "priority": 1.0,
        "site": "",
        "title": title,
        "summary": f"{title}, seen by transfers.",
        "kinds": ["slow_destination"],
        "studies": ["transfers"],
        "start": pd.Timestamp(first, tz="UTC"),
        "end": None,
        "ended": state in ("resolved", "closed"),
        "first_seen": first,
        "p_value": 0.001,
        "impact": "",
        "impacts": [],
        "figure": "",
        "change": "",
    }
    return row | more


def proposal(text, chance=0.5, **more):
    """One proposal, without the incident and the rank that `write_incidents` adds."""
    row = {"remediation": text.split()[0].lower(), "proposal": text, "effort": "10 min", "chance": chance}
    return row | {"low": chance / 2, "high": (1 + chance) / 2, "trials": 4, "worked": 2} | more


def a_night():
    """Incidents of every state and silence, as a night of the sample would have them; pictures are left out."""
    return [
        incident(
            "site outage at ISTHMUS-T2",
            severity="high",
            site="ISTHMUS-T2",
            studies=["accounting", "transfers", "tickets"],
            kinds=["global_dip", "failing_source", "growing_topic"],
            start=pd.Timestamp("2026-01-30 19:40", tz="UTC"),
            impact="103,178 core hours, 12 GB delayed, 18 tickets",
            summary="ISTHMUS-T2 fails or is idle since 30 Jan 2026 19:40 UTC, as accounting, transfers and tickets see it.",
        ),
        incident(
            "slow storage AURORA-T1_DATADISK",
            "escalated",
            site="AURORA-T1",
            change="impact 12 GB delayed last night, 48 GB tonight",
            impact="48 GB delayed",
            summary="Transfers to AURORA-T1_DATADISK take six times their usual time since 29 Jan 2026, seen by transfers.",
        ),
        incident("idle GPUs at JUNIPER-T2", "ongoing", site="JUNIPER-T2", severity="low", studies=["telemetry"], kinds=["idle_gpu"]),
        incident("memory leak on meridian-t2-n03", "ongoing", site="MERIDIAN-T2", studies=["telemetry"], kinds=["memleak"], silenced_as="silenced")
        | {"silenced_by": "the operator on duty", "silenced_until": "2026-02-07", "silenced_why": "a known leak, mended with the next release"},
        incident("backlog of Accounts", "ongoing", studies=["tickets"], kinds=["backlog"], silenced_as="acknowledged", silenced_by="front desk"),
        incident("bad run 400461", "resolved", studies=["certification"], kinds=["bad_run"], start=None),
        incident("fall of aerosol at CINDER-T2", "closed", site="CINDER-T2", studies=["accounting"], kinds=["drop"]),
    ]


def write_incidents(products, incidents, day=DAY, *, proposals=None, headline="", missing=(), max_incidents=10, nights=3):
    """Write the four files of a night below `products`; rank and `shown` follow from the order of `incidents`, silenced and ended ones last.

    proposals : {title: [proposal(...), ...]}, best first. A finding per study of each incident goes into the table of findings.
    """
    folder = products / "data/incidents"
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(incidents, key=lambda row: bool(row["silenced_as"]) or row["state"] in ("resolved", "closed"))
    rows, findings, proposed = [], [], []
    for rank, row in enumerate(ordered, 1):
        live = not row["silenced_as"] and row["state"] not in ("resolved", "closed")
        times = {key: row[key].tz_convert("UTC") for key in ("start", "end") if isinstance(row[key], pd.Timestamp)}  # pyarrow may pass over the zone
        rows.append({"rank": rank, "shown": live and rank <= max_incidents} | row | times)
        for study in row["studies"]:
            shown = [study, row["kinds"][0], row["title"], row["site"], row["start"], row["end"], 5.0, row["p_value"], 1.0, 9.0, "s", row["summary"]]
            findings.append(dict(zip(FINDINGS, [*shown, row["figure"], 1.0, "nodes", row["incident"]], strict=True)))
        of_it = (proposals or {}).get(row["title"], [])
        proposed += [{"incident": row["incident"], "rank": place} | one for place, one in enumerate(of_it, 1)]
    write_table(rows, INCIDENTS, folder / f"{day}.parquet")
    table = pd.DataFrame(findings, columns=FINDINGS)
    for column in ("start", "end"):
        table[column] = pd.to_datetime(table[column], utc=True).astype("datetime64[us, UTC]")
    write_parquet(table, folder / f"{day}_findings.parquet")
    write_table(proposed, PROPOSALS, folder / f"{day}_proposals.parquet")
    counts = pd.Series([row["state"] for row in rows], dtype="str").value_counts()
    about = {"day": day, "nights": nights, "missing": list(missing), "max_incidents": max_incidents}
    about["studies"] = dict.fromkeys(sorted({study for row in rows for study in row["studies"]}), day)
    about["counts"] = {state: int(n) for state, n in counts.items()}
    about["headline"] = headline or (f"{len(rows)} incidents, the first: {rows[0]['title']}." if rows else "Nothing to report.")
    write_json(about, folder / f"{day}.json")
    return rows


def write_table(rows, schema, path):
    """Write `rows` with exactly the columns of `schema`."""
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def write_run(
    products, failed=None, day=DAY, studies=("transfers", "accounting", "telemetry", "certification", "tickets"), warnings=None, verdicts=None
):
    """Write what `publish` leaves of a night for programs, its digest.json, from the tables of `write_incidents`; without these, no digest ran.

    failed : {study: (step, error line)}; warnings : {study: [sentence, ...]}; verdicts : {study: verdict}, ok where nothing else is said.
    """
    report = products / "reports" / day
    report.mkdir(parents=True, exist_ok=True)
    if (products / "data/incidents" / f"{day}.json").exists():
        (report / "digest.ipynb").write_text(json.dumps({"cells": [], "metadata": {"papermill": {"end_time": f"{day}T23:59:59Z"}}}))
    nothing = {"headline": "", "reason": "", "warnings": [], "findings": [], "status": {}, "in_use": None}
    ends = {study: (failed or {}).get(study, ("", "")) for study in studies}
    shown = [nothing | {"study": s, "verdict": "failed" if step else "ok", "error": error, "failed_step": step} for s, (step, error) in ends.items()]
    for one in shown:
        one |= {"warnings": (warnings or {}).get(one["study"], []), "verdict": (verdicts or {}).get(one["study"], one["verdict"])}
    for study, (step, _) in ends.items():
        if step:
            (report / study).mkdir(exist_ok=True)
            (report / study / f"{step}.html").write_text("")
    record_digest(products, day, shown, read_digest(products, day))


def published_finding(study="telemetry", kind="memleak", entity="n01", place="A", **more):
    """A finding as digest.json has it."""
    return {"study": study, "kind": kind, "entity": entity, "site": place, "start": None, "end": None, "evidence": f"{entity} is odd"} | more


def published_incident(name, findings, state="new", **more):
    """An incident as digest.json has it."""
    row = {"id": name, "title": f"trouble {name}", "severity": "medium", "state": state, "age_nights": 1, "site": "", "summary": f"{name} goes on."}
    row |= {"start": "2026-01-30T04:00:00Z", "end": None, "ended": state in ("resolved", "closed"), "first_seen": DAY, "silence": None, "change": ""}
    return row | {"studies": ["telemetry"], "findings": findings} | more


# ----------------------------------------------------------------------------------------------------- a night of studies


def executed(path, *cells, error="", ended="2026-01-31T05:00:00+00:00", parameters=None):
    """Write an executed notebook with a title, the given (source, output) cells and perhaps a failing last cell."""
    ran = {"parameters": parameters or {}, "duration": 1.5, "start_time": ended, "end_time": ended}
    notebook = nbformat.v4.new_notebook(metadata={"papermill": ran})
    notebook.cells = [nbformat.v4.new_markdown_cell("# A title\n\nA question?")]
    for source, output in cells:
        outputs = [nbformat.v4.new_output("display_data", output)] if output else []
        notebook.cells.append(nbformat.v4.new_code_cell(source, execution_count=1, outputs=outputs))
    if error:
        failing = nbformat.v4.new_output("error", ename="ValueError", evalue=error, traceback=["Traceback", f"ValueError: {error}"])
        notebook.cells.append(nbformat.v4.new_code_cell("fail()", execution_count=2, outputs=[failing], metadata={"papermill": {"exception": True}}))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return notebook


def data_of(root, day, study="transfers", **more):
    """Let the raw data of a study end with `day`."""
    shown = {"state": "ok", "rows": 5, "newest": f"{day} 23:00", "source": "sample", "window": ["2026-01-01", day]} | more
    write_status(root / "data/raw" / study, **shown)


def write_study(root, study, day=DAY, findings=0):
    """Write what a study leaves of a night on which it ran well: executed notebooks, data, scores, a model and `findings` findings."""
    for step in STEPS:
        executed(root / f"reports/{day}/{study}/{step}.ipynb", ended=f"{day}T05:00:00+00:00")
    (root / "data/raw" / study).mkdir(parents=True, exist_ok=True)
    data_of(root, day, study)
    at = [pd.Timestamp(day, tz="UTC")] * 2
    rows = [[study, "slow_link", f"link {n}", "S", *at, 1.0, 0.01, 9.0, 1.0, "s", "It is slow.", "", 2.0, "GB delayed"] for n in range(findings)]
    found = pd.DataFrame(rows, columns=FINDING_COLUMNS).astype({"start": "datetime64[us, UTC]", "end": "datetime64[us, UTC]"})
    write_parquet(found, root / f"data/findings/{study}.parquet")
    write_parquet(pd.DataFrame({"item": ["a"], "score": [1.0]}), root / f"data/scores/{study}.parquet")
    write_json({"study": study, "day": day, "models": [MODEL]}, root / f"models/{study}/metrics.json")


def record_rows(root, study, day=DAY):
    """Let the record of the analysis of a study say that it wrote its findings and the rows that made them."""
    record = root / f"reports/{day}/{study}/4_analyse.json"
    paths = [f"data/{folder}/{study}.parquet" for folder in ("findings", "rows")]
    products = {path: fingerprint(root / path) for path in paths}
    write_json({"version": 1, "outcome": "ok", "products": products, "ended": f"{day}T05:00:00Z"}, record)


def write_digest(root, incidents, nights, missing=(), day=DAY, **more):
    """Write what the digest leaves of a night, made of the studies `nights` and without those that are `missing`."""
    rows = write_incidents(root, incidents, day, missing=missing, **more)
    parameters = {"nights": dict.fromkeys(nights, day), "missing": list(missing)}
    executed(root / f"reports/{day}/digest.ipynb", parameters=parameters, ended=f"{day}T23:00:00+00:00")
    return rows


def night_with_rows(root, entity, rows):
    """Publish a night below `root` with one incident, of a slow link `entity` that `rows` made; returns the folder of its report."""
    start = rows.time.min()
    about = {"kind": "slow_link", "entity": entity, "site": "B", "start": start, "end": rows.time.max(), "score": 9.0, "p_value": 0.01}
    write_study(root, "transfers")
    write_findings([about | {"evidence": "It is slow.", "impact": 1.0}], root / "data/findings/transfers.parquet", "transfers", [rows])
    record_rows(root, "transfers")
    write_digest(root, [incident(entity, kinds=["slow_link"], start=start, studies=["transfers", "telemetry"])], ["transfers"])
    render_night(root, DAY, {"transfers": DAY})
    return root / "reports" / DAY
