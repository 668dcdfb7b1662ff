"""What a digest costs where much is wrong: `python bench/load.py [FINDINGS] [INCIDENTS] [SITES] [NIGHTS]`; by default 5000, 2000, 1000 and 400.

Findings of four studies are drawn, most of them of troubles that go on from night to night, and a tenth of them new each night. The first digest
makes the tables that stand for the nights before, whose names and dates are changed in each copy. Then the digest of the last night runs as the chain
runs it, and its site is published. Prints seconds, seconds of processors and the memory of the largest process of both, and the sizes of pages.

Bars: the digest in 30 s and 1 GiB, a front page of 0.35 MB.
"""

import json
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from steps import WATCH

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from incident_tables import executed, write_study  # noqa: E402

from helpers import write_findings  # noqa: E402
from nightshift.catalog import extra_notebooks, finding_tables  # noqa: E402

DAY = "2026-01-31"
KINDS = {  # of each study: kind of finding, name of what it is about, unit of impact
    "transfers": ("slow_destination", "SITE{site:04d}_DISK{n}", "GB delayed"),
    "accounting": ("drop", "vo{n} at SITE{site:04d}", "core hours"),
    "telemetry": ("memleak", "node{n}.site{site:04d}.example", "node hours"),
    "tickets": ("growing_topic", "topic{n} of SITE{site:04d}: quota, disk", "tickets"),
}
SHARES = [0.5, 0.2, 0.25, 0.05]  # of the studies in the findings
NEW = 0.1  # of the troubles, each night


def draw_findings(night, n, n_incidents, n_sites):
    """{study: [finding, ...]} of a night; `n_incidents` troubles at sites, each with n / n_incidents findings or one more."""
    day = pd.Timestamp(night, tz="UTC")
    fresh = np.random.default_rng(day.value // 10**9)
    found = {study: [] for study in KINDS}
    for trouble in range(n_incidents):
        site, is_new = trouble % n_sites, fresh.random() < NEW
        rng = fresh if is_new else np.random.default_rng(trouble)
        name = f"{trouble}n{night.replace('-', '')}" if is_new else trouble
        # two troubles of one site are days apart; those that go on begin with the month
        start = day - pd.Timedelta(hours=3 + 70 * (trouble // n_sites) + float(rng.uniform(0, 6)))
        for place in range(n // n_incidents + (trouble % n_incidents < n % n_incidents)):
            study = rng.choice(list(KINDS), p=SHARES)
            kind, entity, unit = KINDS[study]
            about = {"kind": kind, "entity": entity.format(site=site, n=f"{name}x{place}"), "site": f"SITE{site:04d}", "start": start}
            about |= {"end": start + pd.Timedelta(hours=float(rng.uniform(1, 20))), "score": float(rng.uniform(3, 9)), "p_value": 0.001}
            about |= {"observed": 9.0, "expected": 1.0, "unit": "s", "impact": float(rng.lognormal(3, 2)), "impact_unit": unit}
            found[study].append(about | {"evidence": f"{about['entity']} takes nine times its usual time, on 40 of 40 occasions.", "figure": ""})
    return found


def write_night(root, night, sizes):
    """Write what four studies leave of a night."""
    for study, rows in draw_findings(night, *sizes).items():
        write_study(root, study, night)
        write_findings(rows, root / f"data/findings/{study}.parquet", study)
        for step in extra_notebooks(study):
            executed(root / f"reports/{night}/{study}/{step}.ipynb", ended=f"{night}T05:00:00+00:00")
            for table in finding_tables(study, step):
                write_findings([], root / f"data/findings/{table}.parquet", study)


def watched(*command):
    """Run a command: (seconds, seconds of processors, GiB of the largest process, exit code, its last lines)."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", WATCH, sys.executable, *map(str, command)], cwd=REPOSITORY, capture_output=True, text=True)
    seconds, kib = done.stdout.split()
    return time.perf_counter() - begun, float(seconds), int(kib) / 2**20, done.returncode, done.stderr.strip().splitlines()[-3:]


def run_digest(root, night):
    """Run the digest of a night as a step of the chain, as `watched`."""
    parameters = json.dumps({"day": night, "products": str(root), "nights": dict.fromkeys(KINDS, night)})
    log = root / f"reports/{night}/digest.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return watched("-m", "nightshift.runs", "notebooks/digest.ipynb", "--log", log, "--products", root, "--parameters", parameters)


def copy_night(root, source, night):
    """Let `night` hold what the night `source` does; a tenth of its incidents are its own."""
    incidents = root / "data/incidents"
    table, findings = pd.read_parquet(incidents / f"{source}.parquet"), pd.read_parquet(incidents / f"{source}_findings.parquet")
    own = set(table.incident[np.random.default_rng(date.fromisoformat(night).toordinal()).random(len(table)) < NEW])
    names = {name: f"{night.replace('-', '')}-{place:04x}" if name in own else name for place, name in enumerate(table.incident)}
    own_entities = findings.incident.isin(own)
    findings["entity"] = findings.entity.where(~own_entities, night + " " + findings.entity)
    for one in (table, findings):
        one["incident"] = one.incident.map(names)
    table["first_seen"] = table.first_seen.where(~table.incident.str.startswith(night.replace("-", "")), night)
    table.to_parquet(incidents / f"{night}.parquet", index=False)
    findings.assign(night=night).to_parquet(incidents / f"{night}_findings.parquet", index=False)
    proposals = pd.read_parquet(incidents / f"{source}_proposals.parquet")
    proposals.assign(incident=proposals.incident.map(names)).to_parquet(incidents / f"{night}_proposals.parquet", index=False)
    (incidents / f"{night}.json").write_text((incidents / f"{source}.json").read_text().replace(source, night))
    report = root / "reports" / night
    report.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "digest.json"):
        text = (root / "reports" / source / name).read_text().replace(source, night)
        if name == "digest.json":
            shown = json.loads(text)
            for one in shown["incidents"]:
                one["id"] = names.get(one["id"], one["id"])
            text = json.dumps(shown)
        (report / name).write_text(text)


def show(what, took):
    """Print what a command cost; end where it failed."""
    wall, seconds, gib, code, last = took
    print(f"{what:<40} {wall:6.1f} s {seconds:6.1f} s of processors {gib:5.2f} GiB", flush=True)
    if code:
        print("\n".join(last))
    return took


def main(*asked):
    *sizes, n_nights = map(int, [*asked, *("5000", "2000", "1000", "400")[len(asked) :]])
    nights = [str(date.fromisoformat(DAY) - timedelta(days=n)) for n in range(n_nights)]
    with tempfile.TemporaryDirectory(prefix="nightshift-load-") as folder:
        root, config = Path(folder) / "products", Path(folder) / "site.yaml"
        config.write_text(yaml.safe_dump({"day": DAY, "products": str(root), "studies": dict.fromkeys(KINDS)}))
        publish = ["-m", "nightshift", "publish", "--config", config]
        last = nights[1]
        write_night(root, last, sizes)
        show("digest of a first night", run_digest(root, last))
        show("its site", watched(*publish, "--day", last))
        for night in nights[2:]:
            copy_night(root, last, night)
        write_night(root, DAY, sizes)
        took = show(f"digest after {n_nights - 1} nights", run_digest(root, DAY))
        show("its site", watched(*publish, "--day", DAY))
        table = pd.read_parquet(root / f"data/incidents/{DAY}.parquet")
        n_findings = len(pd.read_parquet(root / f"data/incidents/{DAY}_findings.parquet"))
        goes_on = (table.age_nights > 1).sum()
        front = (root / f"reports/{DAY}/index.html").stat().st_size / 1e6
        largest = max((root / "reports").rglob("*.html"), key=lambda path: path.stat().st_size)
    print(f"{n_findings:,} findings, {len(table):,} incidents, of which {goes_on:,} go on")
    print(f"digest {took[0]:.1f} s (bar 30), {took[2]:.2f} GiB (bar 1); front page {front:.2f} MB (bar 0.35)")
    print(f"largest page {largest.name}")
    return int(took[0] > 30 or took[2] > 1 or front > 0.35 or took[3] != 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
