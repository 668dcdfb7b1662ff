"""The chain: one rule per step over all studies, each a papermill call. `make reports` runs it; config.yaml says on what.

Executed notebooks are logs, not outputs: Snakemake deletes the outputs of a failed job, and a failed notebook is what one wants to read.
"""

import contextlib
import fcntl
import glob
import json
import os
import re
import sys
import time
from datetime import date
from functools import cache, partial
from pathlib import Path

from steps import STEPS, check_marks, findings_named, outcomes_of, pages_of, read_notebook, site_settings, told_tonight

if not config:

    configfile: "config.yaml"


KNOWN = sorted(p.parent.name for p in Path("notebooks").glob("*/1_extract.ipynb"))
DIGEST = "notebooks/digest.ipynb"
SHARED = ["day", "products", "alarm_rate", "false_discovery_rate"]  # given to every notebook that declares them
STUDIES = config.get("studies") or {}


# ---------------------------------------------------------------------------------------------- what each notebook is told


def declared(notebook):
    """Names in the parameters cell of a notebook, with their defaults as text."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    lines = "".join("".join(c["source"]) + "\n" for c in cells if "parameters" in c["metadata"].get("tags", [])).splitlines()
    named = [line.partition("=") for line in lines if ":" in line.partition("=")[0]]
    return {name.partition(":")[0]: default.partition("#")[0].strip(" '\"") for name, _, default in named}


def day_of(study):
    """Last day of a study's data: the night, or the study's own `day` where its source ended long ago."""
    return date.fromisoformat(str((STUDIES[study] or {}).get("day", config["day"])))


def findings_of(study, page):
    """The tables of findings that a further page writes."""
    return findings_named(study, json.loads(Path(notebook_of(study, page)).read_text(encoding="utf-8")))


def notebook_of(study, step):
    return f"notebooks/{study}/{step}.ipynb" if study else "notebooks/simulate.ipynb"


def parameters(study, step=""):
    """Parameters of one notebook: the shared ones that it declares, then its own. The sample has its own last day."""
    own = (STUDIES[study] or {}).get(step[2:]) if study else config.get("simulate")
    names = [name for name in SHARED if name in config and name in declared(notebook_of(study, step)) and (study or name != "day")]
    shared = {name: str(config[name]) if name == "products" else str(day_of(study)) if name == "day" else config[name] for name in names}
    return ({"source": "sample"} if step == "1_extract" else {}) | shared | (own or {})


# --------------------------------------------------------------------------------------- what is wrong, before anything runs


def stop(message):
    """End with one line."""
    print(f"nightshift: {message}", file=sys.stderr, flush=True)
    os._exit(2)


def check_names(where, given, notebook):
    if not isinstance(given or {}, dict):
        stop(f"{where} must be a mapping of parameters, such as {{}}")
    for name in given or {}:
        if name not in declared(notebook):
            stop(f"{where}: {notebook} declares no parameter {name!r}, only {', '.join(declared(notebook))}")


def check_config():
    if unknown := sorted(set(config) - {*SHARED, "retrain_days", "simulate", "studies", "digest", "mail", "keep_nights", "site_url"}):
        stop(f"unknown setting {unknown[0]!r}")
    try:
        config["day"] = str(date.fromisoformat(str(config.get("day"))))
    except ValueError:
        stop(f"day {config.get('day')!r} is no date such as 2026-01-31")
    for name, low, high in (("alarm_rate", 0, 1), ("false_discovery_rate", 0, 1), ("retrain_days", 0, float("inf"))):
        if not (isinstance(value := config.get(name, 0.5), (int, float)) and low < value < high):
            stop(f"{name} is {value!r}: it must be a number above {low}{'' if high > 1 else ' and below 1'}")
    if not isinstance(STUDIES, dict) or not STUDIES:
        stop("the configuration names no study")
    try:
        site_settings(config)
    except ValueError as error:
        stop(str(error))
    if config.get("mail"):
        from mail import read_settings  # here, since its import takes half a second

        try:
            read_settings(config)
        except ValueError as error:
            stop(str(error))
    check_names("simulate", config.get("simulate"), notebook_of("", ""))
    check_names("digest", config.get("digest"), DIGEST)
    for name in {"nights", "missing"} & set(config.get("digest") or {}):
        stop(f"digest: {name} is found by the chain; a configuration cannot say it")
    try:
        check_marks((config.get("digest") or {}).get("mark"))
    except ValueError as error:
        stop(f"digest: {error}")
    for name, value in (config.get("digest") or {}).items():  # what is a file by default must be one, or none
        if files_of(declared(DIGEST)[name]) and value != "":
            check_place(f"digest.{name}", str(value))
    for study, steps in STUDIES.items():
        if study not in KNOWN:
            stop(f"unknown study {study!r}; known are {', '.join(KNOWN)}")
        if not isinstance(steps or {}, dict):
            stop(f"studies.{study} must be a mapping of steps, such as {{}}")
        try:
            day_of(study)
        except ValueError:
            stop(f"studies.{study}.day {steps['day']!r} is no date such as 2026-01-31")
        told = {name: given for name, given in (steps or {}).items() if name != "day"}
        known = {step[2:]: notebook_of(study, step) for step in [*STEPS, *pages_of(study)]}
        for page in pages_of(study):
            if not findings_of(study, page):
                stop(f"{notebook_of(study, page)} names no data/findings/{study}_*.parquet among what its first cell says it writes")
        for name, given in told.items():
            if name not in known:
                stop(f"unknown step {name!r} of {study}; known are {', '.join(known)}")
            notebook = known[name]
            check_names(f"studies.{study}.{name}", given, notebook)
            for parameter, value in (given or {}).items():  # what is the sample's by default is a file otherwise
                if declared(notebook)[parameter] == "sample" and parameter != "source" and value != "":
                    check_place(f"studies.{study}.{name}.{parameter}", str(value))
        if any((steps or {}).values()) and "source" not in (told.get("extract") or {}):  # its settings were made for other data than the sample
            stop(f"studies.{study} has settings and no source: name it under extract, or write `source: sample` for the simulated sample")
        check_place(f"the source of {study}", str(parameters(study, "1_extract")["source"]))


def check_place(what, place):
    """What is not the sample's must be a server, without a password in its name, or there."""
    if is_server(place) and "@" in place:
        stop(f"{what} holds a password: credentials belong into the environment (parameters are printed in the report)")
    if place != "sample" and not is_server(place) and not files_of(place):
        stop(f"{what}, {place}, does not exist or is no file")


def is_server(source):
    """Whether a source is asked and not read: a URL, the accounting of the Slurm that this machine belongs to, or this machine itself."""
    return "://" in source or source in ("sacct", "sacctmgr", "this_machine")


def files_of(source):
    return sorted(path for path in glob.glob(os.path.expanduser(source), recursive=True) if os.path.isfile(path))


def lock(folder):
    """Let one run at a time write below `folder`. The system releases the lock when this process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    holder = open(folder / ".lock", "a+")
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder.seek(0)
        stop(f"another run (process {holder.read().strip()}) writes to {folder.resolve()}; wait for it, or set another `products` folder")
    holder.truncate(0)
    holder.write(str(os.getpid()))
    holder.flush()
    return holder  # open as long as it is referenced


def sweep(folder):
    """Remove what killed runs left half written below `folder`: hidden files with 8 hexadecimal digits before their name, as `atomic` in helpers.py
    makes them. Those of the last hour stay, in case somebody works in a notebook beside the chain."""
    for name in ("data", "encoders", "models", "plots", "reports"):
        for path in (folder / name).rglob(f".{'[0-9a-f]' * 8}-*"):
            with contextlib.suppress(OSError):  # it is somebody else's
                if path.is_file() and path.stat().st_mtime < time.time() - 3600:
                    path.unlink()


check_config()
ROOT = Path(config.get("products") or ".").expanduser()
DAY = date.fromisoformat(str(config["day"]))
REPORT = ROOT / "reports" / str(DAY)
if workflow.is_main_process and not workflow.dryrun:
    LOCK = lock(ROOT)
    sweep(ROOT)


# ------------------------------------------------------------------------------------------------------------ the graph


def source_files(wildcards):
    """The files of the source."""
    source = str(parameters(wildcards.study, "1_extract")["source"])
    return rules.simulate.output if source == "sample" else [] if is_server(source) else files_of(source)


def named_files(notebook, given):
    """The files that parameters of a notebook name beside the source, by default or as `given`: labels, certificates, lists."""
    values = {name: value for name, value in (declared(notebook) | given).items() if name != "source"}.values()
    return [path for value in values if isinstance(value, str) and value != "sample" for path in files_of(value)]


def read_beside(study, step):
    """The files that a step of a study reads beside the source."""
    return named_files(notebook_of(study, step), parameters(study, step))


def incomplete(wildcards):
    """A value that changes, so that the source is asked again, while it is a server that had not everything yet."""
    status = ROOT / "data/raw" / wildcards.study / "status.json"
    asked_again = is_server(parameters(wildcards.study, "1_extract")["source"]) and status.exists()
    return time.time() if asked_again and json.loads(status.read_text())["state"] != "ok" else 0


def must_train(study):
    """Whether 3_train must run: no model, older than `retrain_days` or from a later night, other notebook, parameters or source."""
    stored = ROOT / "models" / study / "metrics.json"
    if not stored.exists():
        return True
    trained = date.fromisoformat(json.loads(stored.read_text())["day"])
    executed = read_notebook(ROOT / "reports" / str(trained + (DAY - day_of(study))) / study / "3_train.ipynb") or {"metadata": {}}
    told = executed["metadata"].get("papermill", {}).get("parameters")
    status = ROOT / "data/raw" / study / "status.json"
    named = [*read_beside(study, "2_preprocess"), *read_beside(study, "3_train")]  # those of preprocessing may say which features there are
    return (
        not 0 <= (day_of(study) - trained).days < config.get("retrain_days", 7)
        or max(Path(path).stat().st_mtime for path in [notebook_of(study, "3_train"), *named]) > stored.stat().st_mtime
        or (told is not None and told != parameters(study, "3_train") | {"day": str(trained)})
        or (status.exists() and json.loads(status.read_text()).get("source") != shown(parameters(study, "1_extract")["source"]))
    )


def shown(source):
    """A source as status.json names it."""
    return re.split("[?#]", source)[0] if "://" in source else source


MUST_TRAIN = {study: must_train(study) for study in STUDIES}  # here, since Snakemake swallows errors of input functions


def train_reads(wildcards):
    """A new night of data does not start training. Snakemake looks no further at a job whose only new input is ancient, so whether
    training must run for its own reasons is decided here and not by its rerun triggers."""
    clean = ROOT / "data/clean" / f"{wildcards.study}.parquet"
    return clean if MUST_TRAIN[wildcards.study] else ancient(clean)


def train_day(study):
    """Tonight when training must run, else the day of the stored model, so that the parameters of the rule stay the same."""
    return str(day_of(study)) if MUST_TRAIN[study] else json.loads((ROOT / "models" / study / "metrics.json").read_text())["day"]


def given(wildcards, step):
    """Parameters as JSON, which is YAML that quotes its text; training is told its own day."""
    study = wildcards.get("study", "")
    return json.dumps(parameters(study, step) | ({"day": train_day(study)} if step == "3_train" else {}), default=str)  # a date is text


def later(wildcards, step):
    """Executed notebooks of later steps, which this one makes out of date; without their night, which would start every step anew."""
    further = pages_of(wildcards.study) if step in ("1_extract", "2_preprocess") else []
    return [f"{name}.ipynb" for name in [*STEPS[STEPS.index(step) + 1 :], *further]] if step in STEPS else []


# One line of progress every few seconds; everything papermill says goes to a .log file beside the executed notebook.
PAPERMILL = """
    export TQDM_BAR_FORMAT=$'{params.name}: {{n_fmt}} of {{total_fmt}} cells, {{elapsed}}\\n' TQDM_MININTERVAL=3
    mkdir -p "$(dirname {log.notebook:q})" && ( cd "$(dirname {log.notebook:q})" && rm -f {params.later:q} )
    papermill {input.notebook:q} {log.notebook:q} -k python3 --autosave-cell-every 3 -y {params.given:q} 2>&1 \
        | tee {log.text:q} | {{ grep -a --line-buffered ' cells, ' || true; }}
"""



# ------------------------------------------------------------------------------------------------------------ the digest


@cache  # the digest asks twice, and its notebooks are megabytes
def told_by(study):
    """(tables of findings of tonight, those that are missing) of a study, by what its executed notebooks say."""
    tables = {STEPS[-1]: [study]} | {page: [Path(path).stem for path in findings_of(study, page)] for page in pages_of(study)}
    told = told_tonight(outcomes_of(REPORT, study))
    return [name for step in tables if step in told for name in tables[step]], [name for step in tables if step not in told for name in tables[step]]


def digest_reads(wildcards):
    """The incidents of earlier nights, the knowledge and the feedback that there are."""
    earlier = [path for path in sorted((ROOT / "data/incidents").glob("*.parquet")) if path.name[:10] < str(DAY)]
    return [*earlier, *sorted((ROOT / "feedback").glob("*.csv")), *named_files(DIGEST, config.get("digest") or {})]


def digest_sees(wildcards):
    """The tables of findings of tonight with the moments they were written. As inputs they would start their studies, failed ones too, once more."""
    paths = [ROOT / f"data/findings/{name}.parquet" for study in STUDIES for name in told_by(study)[0]]
    return [(str(path), path.stat().st_mtime_ns) for path in paths if path.exists()]


def digest_given(wildcards):
    """Parameters of the digest as JSON: the shared ones, its own, and which studies have findings of tonight."""
    told = {study: told_by(study) for study in STUDIES}
    shared = {name: str(config[name]) for name in SHARED if name in config and name in declared(DIGEST)}
    nights = {study: str(day_of(study)) for study, (tables, _) in told.items() if tables}
    missing = [name for study, (_, lacking) in told.items() for name in (lacking if study in nights else [study])]
    return json.dumps(shared | {"nights": nights, "missing": missing} | (config.get("digest") or {}), default=str)


CODE = ["helpers.py", "kernels.py", "sources.py", *sorted(map(str, Path("nightshift").rglob("*.py")))]  # what the notebooks import

# What each step reads and writes below ROOT. The models themselves are no outputs: Snakemake deletes those of a failed job, and a failed
# retraining must not cost last week's model.
CHAIN = {
    "1_extract": {"reads": source_files, "writes": ["data/raw/{study}/status.json"]},
    "2_preprocess": {"reads": ROOT / "data/raw/{study}/status.json", "writes": ["data/clean/{study}.parquet"]},
    "3_train": {"reads": train_reads, "writes": "models/{study}/.trained"},
    "4_analyse": {
        "reads": [ROOT / "data/clean/{study}.parquet", ROOT / "models/{study}/.trained"],
        "writes": ["data/scores/{study}.parquet", "data/findings/{study}.parquet"],
    },
}
PAGES = [(study, page, findings_of(study, page)) for study in STUDIES for page in pages_of(study)]


wildcard_constraints:
    study="|".join(map(re.escape, STUDIES)),  # data/findings/a_b.parquet is no study's where there is no study a_b


rule all:
    input:
        expand(ROOT / "data/findings/{study}.parquet", study=STUDIES),
        [ROOT / path for _, _, paths in PAGES for path in paths],


rule simulate:
    input:
        notebook="notebooks/simulate.ipynb",
        texts=["notebooks/tickets/phrases.yaml", "notebooks/tickets/osticket.sql", "sites.yaml"],
    output:
        [ROOT / "data/sample" / name for name in ("truth.csv", "transfers.jsonl.gz", "perfsonar.csv", "accounting.jsonl.gz")],
        [ROOT / f"data/sample/telemetry/{name}.csv.gz" for name in ("meminfo", "procstat", "vmstat", "procnetdev", "perfevent", "gpus")],
        ROOT / "data/sample/telemetry/labels.csv",
        [ROOT / "data/sample/certification" / name for name in ("histograms.csv.gz", "lumisections.csv", "golden.json", "dcs.json")],
        [ROOT / "data/sample/tickets" / name for name in ("osticket.sqlite", "accounts.txt", "labels.csv")],
    log:
        notebook=REPORT / "simulate.ipynb",
        text=REPORT / "simulate.log",
    params:
        name="simulate",
        given=partial(given, step=""),
        later=[],
    priority: len(STEPS) + 1
    shell:
        PAPERMILL


RULES = [(step, step, files) for step, files in CHAIN.items()]
for study, page, paths in PAGES:  # a rule of its own, for its study only
    writes = [path.replace(f"/{study}_", f"/{{study,{re.escape(study)}}}_") for path in paths]
    RULES.append((f"{study}_{page}", page, {"reads": CHAIN["4_analyse"]["reads"][0], "writes": writes}))

for name, step, files in RULES:
    rule:
        name:
            name
        input:
            files["reads"],
            lambda wildcards, step=step: read_beside(wildcards.study, step),
            notebook=f"notebooks/{{study}}/{step}.ipynb",
            code=map(ancient, CODE) if step == "3_train" else CODE,
        output:
            touch(ROOT / files["writes"]) if step == "3_train" else [ROOT / path for path in files["writes"]],
        log:
            notebook=REPORT / f"{{study}}/{step}.ipynb",
            text=REPORT / f"{{study}}/{step}.log",
        params:
            name=f"{{study}}/{step}",
            given=partial(given, step=step),
            later=partial(later, step=step),
            incomplete=incomplete if step == "1_extract" else 0,
        # Early steps first, so that no long training is left to run alone: reckoned from their times, five studies on two cores need 200 s and not 240
        # in the worst order.
        priority: len(STEPS) - STEPS.index(step) if step in STEPS else 1
        shell:
            PAPERMILL


rule digest:  # a target of its own, asked for after the chain, however that ended
    input:
        digest_reads,
        notebook=DIGEST,
        code=["helpers.py", "incidents.py", "solutions.py", "steps.py"],
    output:
        [ROOT / f"data/incidents/{DAY}{end}" for end in (".parquet", "_findings.parquet", "_proposals.parquet", ".json")],
    log:
        notebook=REPORT / "digest.ipynb",
        text=REPORT / "digest.log",
    params:
        name="digest",
        given=digest_given,
        sees=digest_sees,
        later=[],
    shell:
        PAPERMILL
