"""The chain: one rule per step over all studies, each a run of one notebook. `nightshift run` calls it; config.yaml says on what.

Only the graph stands here: nightshift/config.py checks the configuration, nightshift/chain.py knows what each step is told and when it must run again
whatever Snakemake remembers (the command passes that as --forcerun), nightshift/runs.py executes a notebook and writes its record. Executed notebooks are logs, not outputs: Snakemake deletes the outputs of a failed job,
and a failed notebook is what one wants to read.
"""

import json
import os
import re
import shlex
import sys
from functools import partial
from pathlib import Path

from nightshift.chain import Night, files_of
from nightshift.catalog import STEPS, extra_notebooks, finding_tables, studies
from nightshift.config import DIGEST, SIMULATE, ConfigError, check, is_server, read_yaml

try:
    NIGHT = Night(check(config or read_yaml("config.yaml")))
except ConfigError as error:
    print("\n".join(f"nightshift: {line}" for line in error.lines), file=sys.stderr, flush=True)
    os._exit(2)

ROOT, REPORT, STUDIES = NIGHT.root, NIGHT.report, NIGHT.studies

# Each notebook runs in a process of its own, which shows a line of progress every few seconds and writes all else to a .log file beside the executed
# notebook. Parameters are one JSON object, read by a JSON parser and by no other. The night itself is in none but that: it would start every step anew.
PYTHON = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")  # no parameter: python and python3 are the same one
RUN = (
    PYTHON
    + " -m nightshift.forkserver nightshift.runs:main {input.notebook:q} --log {log:q} --products {params.root:q} --study={params.study:q}"
    + " --given {params.given:q} --later {params.later:q}"
)
FIXED = {"root": str(ROOT)}
DRIVES = {"__main__", "backtest", "chain", "cli", "config", "forkserver", "kernel", "night", "parameters", "products"}  # run notebooks; none imports them
MODULES = [path for path in sorted(Path("nightshift").rglob("*.py")) if path.stem not in DRIVES or path.parent.name != "nightshift"]
OF_DIGEST = {"incidents", "notify", "remediation", "reporting", "simulate"}  # folders of the package that no notebook of a study imports
CODE = ["helpers.py", *(str(path) for path in MODULES if path.parent.name not in OF_DIGEST)]  # what these import
CODE_OF_DIGEST = ["helpers.py", *(str(path) for path in MODULES if path.parent.name != "simulate")]  # only the sample imports that folder


def source_files(wildcards):
    """The files of the source; none where it is a server, or not there: then its study fails, and no other."""
    source = NIGHT.source(wildcards.study)
    return rules.simulate.output if source == "sample" else [] if is_server(source) else files_of(source)


def train_reads(wildcards):
    """A new night of data does not start training. Snakemake looks no further at a job whose only new input is ancient, so whether
    training must run for its own reasons is decided in nightshift/chain.py and not by its rerun triggers."""
    clean = ROOT / "data/clean" / f"{wildcards.study}.parquet"
    return clean if NIGHT.trains[wildcards.study] else ancient(clean)


def later(wildcards, step):
    """Later steps, whose executed notebooks and records this one makes out of date."""
    further = extra_notebooks(wildcards.study) if step in ("1_extract", "2_preprocess") else []
    return [*STEPS[STEPS.index(step) + 1 :], *further] if step in STEPS else []


def given(wildcards, step):
    return json.dumps(NIGHT.given(wildcards.get("study", ""), step))


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
EXTRA = [(study, step, finding_tables(study, step)) for study in STUDIES for step in extra_notebooks(study)]
INCIDENTS = [ROOT / f"data/incidents/{NIGHT.day}{end}" for end in (".parquet", "_findings.parquet", "_proposals.parquet", ".json")]


wildcard_constraints:
    study="|".join(map(re.escape, STUDIES)),  # data/findings/a_b.parquet is no study's where there is no study a_b


rule all:
    input:
        expand(ROOT / "data/findings/{study}.parquet", study=STUDIES),
        [ROOT / f"data/findings/{table}.parquet" for _, _, tables in EXTRA for table in tables],


rule simulate:
    input:
        NIGHT.texts_of_sample()[1:],
        notebook=SIMULATE,
    output:
        ROOT / "data/sample/truth.csv",
        [ROOT / "data/sample" / name for study in studies().values() for name in study.sample],
    log:
        REPORT / "simulate.log",
    params:
        **FIXED,
        study="",
        given=partial(given, step=""),
        later=[],
    priority: len(STEPS) + 1
    shell:
        RUN


RULES = [(step, step, files) for step, files in CHAIN.items()]
for study, step, tables in EXTRA:  # a rule of its own, for its study only
    writes = [f"data/findings/{table.replace(study, f'{{study,{re.escape(study)}}}', 1)}.parquet" for table in tables]
    RULES.append((f"{study}_{step}", step, {"reads": CHAIN["4_analyse"]["reads"][0], "writes": writes}))

for name, step, files in RULES:
    rule:
        name:
            name
        input:
            files["reads"],
            lambda wildcards, step=step: NIGHT.read_beside(wildcards.study, step),
            notebook=f"notebooks/{{study}}/{step}.ipynb",
            code=map(ancient, CODE) if step == "3_train" else CODE,
        output:
            touch(ROOT / files["writes"]) if step == "3_train" else [ROOT / path for path in files["writes"]],
        log:
            REPORT / f"{{study}}/{step}.log",
        params:
            **FIXED,
            study=lambda wildcards: wildcards.study,
            given=partial(given, step=step),
            later=partial(later, step=step),
        # Early steps first, so that no long training is left to run alone: reckoned from their times, five studies on two cores need 200 s and not 240
        # in the worst order.
        priority: len(STEPS) - STEPS.index(step) if step in STEPS else 1
        shell:
            RUN


rule digest:  # a target of its own, asked for after the chain, however that ended
    input:
        lambda wildcards: NIGHT.digest_reads(),
        notebook=DIGEST,
        code=CODE_OF_DIGEST,
    output:
        INCIDENTS,
    log:
        REPORT / "digest.log",
    params:
        **FIXED,
        study="",
        given=lambda wildcards: json.dumps(NIGHT.digest_given()),
        sees=lambda wildcards: NIGHT.findings_seen(),
        later=[],
    shell:
        RUN
