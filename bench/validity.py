"""Do alarms mean what they say? Runs studies on data that nobody here has written, real and generated, and holds their decisions against labels.

    python bench/validity.py [telemetry | certification | accounting | accounting_by_month | transfers | tickets |
                              telemetry_generated | accounting_generated] ...

prints a table in Markdown for each study, those of docs/validity.md: the ranking beside what the study is measured against, the stated and the
observed share of alarms, what is found, and false findings. All studies take well over an hour on two cores. The real sets are those of
../shared/data (see its README), the generators those of validity_generators.py; a study whose set or generator is not there is left out, with a word.
Nothing here chooses a parameter.
"""

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import validity_generators as generators
import yaml
from sklearn.metrics import adjusted_rand_score, average_precision_score, roc_auc_score

from nightshift.detectors.certification import scale_features
from nightshift.detectors.certification_training import Methods, fit_classical, tasks_of
from nightshift.detectors.certification_verdicts import bad_ranges, strongest_of_good_runs
from nightshift.sources.accounting.swf import read_swf
from nightshift.sources.parts import Extraction
from nightshift.statistics import chance_of_maximum, flags_of_unseen, judge_across_folds, share_interval

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared/data"
ALARM_RATE = 0.01
KEY = ["run", "lumisection"]


def run_study(study, steps, products, *, day):
    """Run one study by the configuration `steps` {step: parameters} below the folder `products`."""
    path = Path(products) / "config.yaml"
    path.write_text(yaml.safe_dump({"day": str(day), "products": str(products), "studies": {study: steps}}))
    command = [sys.executable, "-m", "nightshift", "run", "--config", path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1])


def models_of(study, products):
    """The models of metrics.json: list of dicts."""
    return json.loads((Path(products) / f"models/{study}/metrics.json").read_text())["models"]


def share(hits, n):
    """A share of n with its 95% interval, in words."""
    low, high = share_interval(hits, n)
    return f"{hits} of {n}, {hits / max(n, 1):.0%} ({low:.0%} to {high:.0%})"


# -------------------------------------------------------------------------------------------------- telemetry

SERVERS = {"servers": DATA / "telemetry/asd12_servers.parquet", "services": DATA / "telemetry/services15.parquet"}
COLUMNS = {"node_id": "node_id", "timestamp": "timestamp", "anomaly": "anomalous", "part": "split"}
WINDOWS = {"window_s": 900, "step_s": 300, "trim_s": 0}  # of three samples, one per sample


def stretches_of(flags):
    """First and last row of each stretch of true `flags` (n,): list of pairs."""
    edges = np.flatnonzero(np.diff(np.r_[0, np.asarray(flags, int), 0]))
    return list(zip(edges[::2], edges[1::2] - 1, strict=True))


def telemetry(name, source, products):
    """Run a table of nodes with labels, whose test data, however many days, are judged: a row of the table."""
    times = pd.read_parquet(source, columns=["timestamp"]).timestamp
    days = int((times.max() - times.min()).days) + 2
    extract = {"source": str(source), "labels": "", "days": days, "columns": COLUMNS, "anomaly_names": {"0": "none", "1": "anomalous"}}
    analyse = {"alarm_rate": ALARM_RATE, "judged_days": days}
    steps = {"extract": extract, "preprocess": WINDOWS, "train": {"alarm_rate": ALARM_RATE}, "analyse": analyse}
    run_study("telemetry", steps, products, day=times.max().date())
    labels = pd.read_parquet(products / "data/clean/telemetry.parquet", columns=["node_id", "start", "anomaly", "part"])
    scores = pd.read_parquet(products / "data/scores/telemetry.parquet").merge(labels, on=["node_id", "start"])
    scores = scores[scores.part == "test"].sort_values(["node_id", "start"])
    scores["ill"] = ~scores.anomaly.isin(["none", ""])
    findings = pd.read_parquet(products / "data/findings/telemetry.parquet").query("kind != 'silent'").reset_index(drop=True)
    true, met, n_segments, areas = np.zeros(len(findings), bool), 0, 0, []
    for node, windows in scores.groupby("node_id"):
        of_node = (findings.entity == node).to_numpy()
        areas.append(average_precision_score(windows.ill, windows.score) if windows.ill.any() else np.nan)
        for first, last in stretches_of(windows.ill):
            touches = of_node & (findings.start <= windows.end.iloc[last]) & (findings.end >= windows.start.iloc[first])
            n_segments, met, true = n_segments + 1, met + touches.any(), true | touches
    shares = scores[~scores.ill].groupby("node_id").flagged.mean()
    days = int(scores.groupby("node_id").start.agg(lambda start: start.dt.floor("D").nunique()).sum())
    models, false = models_of("telemetry", products), int((~true).sum())
    each = ", ".join(f"{model['name']} {model['model']:.2f}" for model in models)
    in_use = ", ".join(model["name"] for model in models if model["in_use"])
    return {
        "set": f"{name}, {len(shares)} nodes",
        "flagged of healthy windows, mean of nodes": f"{shares.mean():.2%}",
        "worst node": f"{shares.max():.1%}",
        "labelled segments met": share(int(met), n_segments),
        "false findings": f"{false} in {days} node-days, {1000 * false / days:.0f} per 1,000",
        "average precision": f"{np.nanmean(areas):.2f} ({in_use}; {each})",
    }


CHANNELS = {
    "steady": {"channels": generators.STEADY},
    "steady, two troubles a node": {"channels": generators.STEADY, "n_troubles": 2},
    "with random walks": {"channels": generators.WANDERING},
    "rising, an amplitude a week": {"channels": generators.STEADY, "rises": True},
}
NODES = {f"{name}, seed {seed}": how | {"seed": seed} for name, how in CHANNELS.items() for seed in (1, 2, 3)}


def telemetry_generated(name, how, products):
    """Run one set of generated nodes: a row of the table."""
    return telemetry(name, generators.write_nodes(products, **how), products)


# ---------------------------------------------------------------------------------------------- certification

ERAS = {"CMS 2024B": (DATA / "certification/oms_2024B-v1.parquet", DATA / "certification/golden/Golden_2024B-v1.json")}
MEASURED = ["delivered_lumi", "recorded_lumi", "pileup", "rate_DQM_PixelReconstruction", "rate_HLT_Physics", "rate_HLT_ZeroBias"]
MEASURED += [f"pixel_norm_layer{layer}" for layer in (1, 2, 3, 4)]


def forest_values(products, folds):
    """Decision values of the isolation forest by the same folds, as the table `folds` has those in use."""
    clean = pd.read_parquet(products / "data/clean/certification.parquet")
    scaling = json.loads((products / "encoders/certification/scaling.json").read_text())
    used, parts = clean[(clean.label != "") & clean.measured], {}
    settings = Methods(components=16, trees=100, svm_rows=3000, worst=0.2)
    for name in folds.columns:
        frame = used[used.dataset == name].reset_index(drop=True)
        x = scale_features(frame, scaling[name])
        tasks = [one for one in tasks_of(frame, x, dataset=name, rng=np.random.default_rng(1)) if one.split.startswith("fold")]
        fits = [fit_classical(one, "isolation forest", table=x, random_state=1, settings=settings) for one in tasks]
        index = [pd.MultiIndex.from_frame(frame[KEY].iloc[fit.task.score]) for fit in fits]
        parts[name] = pd.concat([pd.Series(fit.scores[fit.task.score], where) for fit, where in zip(fits, index, strict=True)])
    return pd.DataFrame(parts).reindex(folds.index)


def certification(name, source, products):
    """Run one era: a row of the table. Out of fold are the learned runs, newest those that no model has seen."""
    table, golden = source
    extract = {"source": str(table), "golden": str(golden), "columns": {"dcs": "dcs_good"}, "dataset": "OMS", "features": MEASURED}
    rates = {"alarm_rate": ALARM_RATE}
    run_study("certification", {"extract": extract, "preprocess": {}, "train": rates, "analyse": rates}, products, day="2024-05-03")
    models, scored = products / "models/certification", pd.read_parquet(products / "data/scores/certification.parquet")
    detector = json.loads((models / "detector.json").read_text())
    weights, allowance = detector["weights"], detector["allowance"]
    clean = pd.read_parquet(products / "data/clean/certification.parquet").drop_duplicates(KEY).set_index(KEY)
    folds = pd.read_parquet(models / "folds.parquet").set_index(KEY)
    folds = folds[folds.label.isin(["good", "expert"])].dropna(how="all", subset=list(weights))
    bad, fold = (folds.label == "expert").to_numpy(), clean.fold.reindex(folds.index).to_numpy()
    values = folds[list(weights)]
    filled, good_values = (part.fillna(values[~bad].min()) for part in (values, values[~bad]))
    score, p_value = judge_across_folds(filled, fold, weights, allowance=allowance, calibrates=~bad)
    unseen = flags_of_unseen(good_values, fold[~bad], weights, ALARM_RATE)
    by_forest = forest_values(products, values)
    forest, _ = judge_across_folds(by_forest.fillna(by_forest[~bad].min()), fold, weights, calibrates=~bad)
    maxima = strongest_of_good_runs(good_values, weights, allowance=allowance, gap=2, alarm_rate=ALARM_RATE)
    judged = folds.reset_index()[[*KEY, "label"]].assign(score=score, p_value=p_value, flagged=p_value <= ALARM_RATE, verdict="grey")
    ranges = bad_ranges(judged, gap=2, alarm_rate=ALARM_RATE)
    ranges = ranges[chance_of_maximum(ranges.strength, maxima) <= 0.01]
    is_bad = pd.Series(bad, folds.index)
    true = [is_bad.loc[(run, slice(first, last))].mean() > 0.5 for run, first, last in zip(ranges.run, ranges["first"], ranges["last"], strict=True)]
    newest = scored.merge(clean.label.reset_index(), on=KEY)
    newest_good = newest[newest.label == "good"]
    found = pd.read_parquet(products / "data/findings/certification.parquet")
    in_use = next(model["name"] for model in models_of("certification", products) if model["in_use"])
    return {
        "set": f"{name}, {folds.index.get_level_values('run').nunique()} runs",
        "in use": in_use,
        "AUROC (isolation forest)": f"{roc_auc_score(bad, score):.3f} ({roc_auc_score(bad, forest):.3f})",
        "average precision (isolation forest)": f"{average_precision_score(bad, score):.3f} ({average_precision_score(bad, forest):.3f})",
        "good flagged out of fold": f"{unseen.mean():.2%} of {len(unseen):,}",
        "in the newest runs": f"{newest_good.flagged.mean():.2%} of {len(newest_good):,}",
        "bad flagged out of fold": f"{(p_value[bad] <= ALARM_RATE).mean():.0%} of {bad.sum():,}",
        "ranges reported out of fold": f"{len(ranges)}, {sum(true)} of them bad; {len(found)} in the newest runs",
    }


# ------------------------------------------------------------------------------------------------- accounting

LOGS = {"HPC2N": "2006-01-15", "LPC-EGEE": "2005-05-08", "KTH-SP2": "1997-08-24", "SDSC-SP2": "2000-04-30"}  # last whole week


def log_of(name):
    """The file of a log."""
    [file] = (DATA / "accounting").glob(f"{name}*.swf.gz")
    return file


def trials_of_log(source, products, *, day):
    """Run the study on the file `source`: the method in use, a dict, and its injected troubles, flagged or found."""
    rates = {"alarm_rate": ALARM_RATE}
    run_study("accounting", {"extract": {"source": str(source), "weeks": 400}, "preprocess": {}, "train": rates, "analyse": rates}, products, day=day)
    in_use = next(model for model in models_of("accounting", products) if model["in_use"])
    trials = pd.read_parquet(products / "models/accounting/injections.parquet")
    trials = trials[trials.method == in_use["name"]]
    return in_use, trials.assign(flagged=trials.flag_delay_weeks.notna(), found=trials.delay_weeks.notna())


def accounting(name, day, products, *, source=None):
    """Run one log, by default the one of that name: a row of the table, recall by kind of injected trouble within three weeks, and alarms."""
    in_use, trials = trials_of_log(source or log_of(name), products, day=day)
    recall = trials.groupby("kind")[["flagged", "found"]].mean()
    halved = trials[(trials.kind == "halved") & trials.regular.astype(bool)]
    return {
        "set": f"{name}, {len(trials)} injected troubles",
        "in use": in_use["name"],
        "flagged": ", ".join(f"{kind.replace('_', ' ')} {value:.2f}" for kind, value in recall.flagged.items()),
        "sum flagged": f"{recall.flagged.sum():.2f}",
        "sum that became findings": f"{recall.found.sum():.2f}",
        "regular series halved, flagged": share(int(halved.flagged.sum()), len(halved)),
        "flagged of ordinary weeks, across blocks": f"{in_use['alarm_rate_observed']:.2%}",
    }


SEEDS = {f"Lublin & Feitelson, seed {seed}": seed for seed in (1, 2, 3)}


def accounting_generated(name, seed, products):
    """Run one set of generated sites, in which nothing happens: a row of the table."""
    row = accounting(name, generators.LAST_DAY, products, source=generators.write_sites(products, seed=seed) / "*.swf")
    found, clean = (pd.read_parquet(products / f"data/{part}/accounting.parquet") for part in ("findings", "clean"))
    return row | {"false findings in the last report": f"{len(found)} in {len(clean[['site', 'vo']].drop_duplicates())} series"}


MONTHS = {"HPC2N": "2005-12-31", "LPC-EGEE": "2005-04-30", "KTH-SP2": "1997-07-31", "SDSC-SP2": "2000-03-31"}  # last whole month


def by_month(log, file):
    """Sum up the jobs of a log by site, VO and month, as a table of GRACC records dated on the last day of each month."""
    rows = pd.concat(read_swf(log, Extraction(file.parent, (None, None)))).dropna(subset="VOName")
    end = pd.to_datetime(rows.EndTime, utc=True, format="ISO8601")
    month = end.dt.tz_localize(None).dt.to_period("M")
    amounts = ["CoreHours", "WallDuration", "CpuDuration", "Njobs"]
    sums = rows[amounts].apply(pd.to_numeric).groupby([rows.SiteName, rows.VOName, month]).sum(min_count=1).reset_index()
    whole = sums.EndTime > month.min()  # logs begin within a month
    dated = sums.EndTime.dt.to_timestamp(how="end").dt.strftime("%Y-%m-%dT00:00:00Z")
    sums[whole].assign(EndTime=dated).to_csv(file, index=False)


def accounting_by_month(name, day, products):
    """Run one log summed up by the month: a row of the table."""
    by_month(log_of(name), products / "months.csv")
    in_use, trials = trials_of_log(products / "months.csv", products, day=day)
    clean = pd.read_parquet(products / "data/clean/accounting.parquet")
    silent = trials[trials.kind == "silent"]
    regular = silent[silent.regular.astype(bool)]
    record = json.loads((products / f"reports/{day}/accounting/4_analyse.json").read_text())
    return {
        "set": f"{name}, {clean.week.nunique()} months, {len(clean[['site', 'vo']].drop_duplicates())} series",
        "flagged of ordinary series-months, across blocks": f"{in_use['alarm_rate_observed']:.2%} of {in_use['n_train']:,}",
        "silent, found": share(int(silent.found.sum()), len(silent)),
        "of those that were regular": share(int(regular.found.sum()), len(regular)) if len(regular) else "none",
        "flagged of these": share(int(regular.flagged.sum()), len(regular)) if len(regular) else "none",
        "verdict": record["values"]["verdict"],
    }


# -------------------------------------------------------------------------------------------------- transfers

EVENTS = DATA / "transfers/rucio_transfer_done_2017.jsonl"
CUTS = [(test, calibration, 0.1) for test in (0.2, 0.3, 0.4) for calibration in (0.15, 0.25)]
SPLITS = {f"last {test:.0%} test, {calibration:.0%} calibrate": (test, calibration, early) for test, calibration, early in CUTS}


def transfers(name, shares, products):
    """Run the real events by one split: a row of the table."""
    rate = 0.02  # 1,000 transfers leave 150 to 250 to calibrate
    parts = dict(zip(("test_share", "calibration_share", "validation_share"), shares, strict=True))
    train = parts | {"alarm_rate": rate, "chunk": 16, "batch": 4}
    extract = {"source": str(EVENTS), "days": 7}
    run_study("transfers", {"extract": extract, "preprocess": {}, "train": train, "analyse": {"alarm_rate": rate}}, products, day="2017-06-18")
    scores = pd.read_parquet(products / "models/transfers/test_scores.parquet")
    metrics = json.loads((products / "models/transfers/metrics.json").read_text())
    losses = {model["name"]: model["model"] for model in metrics["models"]}
    in_use = next(model for model in metrics["models"] if model["in_use"])
    hindsight = metrics["baseline_in_hindsight"]
    quiet = scores.flagged[scores.quiet]
    low, high = share_interval(int(quiet.sum()), len(quiet))
    return {
        "split of 1,000 events": name,
        "in use": f"{in_use['name']}, {in_use['model']:.3f}",
        "skill against the baseline": f"{in_use['skill']:.2f} ({in_use['skill_low']:.2f} to {in_use['skill_high']:.2f}), {in_use['baseline_name']}",
        "against the best in hindsight": f"{1 - in_use['model'] / losses[hindsight]:.2f}, {hindsight}",
        "flagged at 2% in quiet hours": f"{quiet.mean():.2%} ({low:.2%} to {high:.2%}) of {len(quiet):,}",
    }


# ---------------------------------------------------------------------------------------------------- tickets

BANKING = DATA / "tickets/banking77_test.csv", {"subject": "text", "label": "category"}
TEXTS = {"banking77": BANKING, "IT support": (DATA / "tickets/it_tickets_sample.parquet", {})}
LOOSE = 0.05  # a second rate, since 0.5% of 800 tickets are 4


def tickets(name, source, products):
    """Run one set of labelled texts with three seeds: a row of the table."""
    found, flags = [], []
    extract = {"source": str(source[0]), "columns": source[1], "accounts": "", "labels": ""}
    for seed in (1, 2, 3):
        of_seed = products / str(seed)
        if found:  # the texts are embedded once
            shutil.copytree(products / "1/encoders", of_seed / "encoders")
        of_seed.mkdir(exist_ok=True)
        steps = {"extract": extract, "preprocess": {}, "train": {"seeds": [seed], "nights": 0}, "analyse": {}}
        run_study("tickets", steps, of_seed, day="2020-03-31")
        members = pd.read_parquet(of_seed / "models/tickets/members.parquet").set_index("ticket_id").topic
        label = pd.read_parquet(of_seed / "data/clean/tickets.parquet").set_index("ticket_id").label.reindex(members.index)
        found.append(members)
        held_out = pd.read_parquet(of_seed / "models/tickets/calibration.parquet").ticket_id
        scores = pd.read_parquet(of_seed / "data/scores/tickets.parquet")
        flags.append(scores.assign(learned=~scores.ticket_id.isin(held_out), loose=scores.p_value <= LOOSE))
    areas = [adjusted_rand_score(label, members.reindex(label.index)) for members in found]
    alike = [adjusted_rand_score(one, two.reindex(one.index)) for one, two in itertools.combinations(found, 2)]
    shares = pd.concat(flags).groupby("learned")[["flagged", "loose"]].mean()
    return {
        "set": f"{name}, {len(label):,} texts, {label.nunique()} labels",
        "topics": ", ".join(str(members.nunique()) for members in found),
        "ARI of three seeds": ", ".join(f"{area:.3f}" for area in areas),
        "agreement between seeds": ", ".join(f"{area:.3f}" for area in alike),
        "strange at 0.5%, learned and held out": f"{shares.flagged[True]:.2%} and {shares.flagged[False]:.2%}",
        "strange at 5%": f"{shares.loose[True]:.2%} and {shares.loose[False]:.2%}",
    }


STUDIES = {
    telemetry: SERVERS,
    certification: ERAS,
    accounting: LOGS,
    accounting_by_month: MONTHS,
    transfers: SPLITS,
    tickets: TEXTS,
    telemetry_generated: NODES,
    accounting_generated: SEEDS,
}


def lacking(study):
    """What the study would need and is not there, one line; empty where nothing is lacking."""
    if study is telemetry_generated:
        return generators.lacking()
    return "" if study is accounting_generated or DATA.exists() else f"there are no real sets at {DATA}"


def main(*asked):
    """Print the tables of the studies that are `asked` for, by default of all."""
    names = [study.__name__ for study in STUDIES]
    if strange := set(asked) - set(names):
        sys.exit(f"bench/validity.py: no study {', '.join(strange)}: {', '.join(names)}")
    for study, sets in STUDIES.items():
        if asked and study.__name__ not in asked:
            continue
        print(f"\n{study.__name__}\n", flush=True)
        if reason := lacking(study):
            print(f"left out: {reason}", flush=True)
            continue
        for number, (name, source) in enumerate(sets.items()):
            with tempfile.TemporaryDirectory() as products:
                row = study(name, source, Path(products))
            if not number:
                print(f"| {' | '.join(row)} |\n|{'---|' * len(row)}", flush=True)
            print(f"| {' | '.join(row.values())} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
