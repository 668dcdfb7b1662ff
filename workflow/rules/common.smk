# The night, the shell command of every rule, and what inputs and parameters are made of.

import json
import os
import re
import shlex
import sys
from functools import partial
from pathlib import Path

from nightshift.catalog import STEPS, extra_notebooks, finding_tables, is_mere_page, output_of, steps_after, studies, study_of
from nightshift.chain import CODE_OF_DIGEST, CODE_OF_STUDIES, Night
from nightshift.config import DIGEST, SIMULATE, ConfigError, check, read_yaml
from nightshift.products import is_ahead, state_of

try:
    NIGHT = Night(check(config or read_yaml("config.yaml")))
except ConfigError as error:
    print("\n".join(f"nightshift: {line}" for line in error.lines), file=sys.stderr, flush=True)
    os._exit(2)

ROOT, REPORT, STUDIES = NIGHT.root, NIGHT.report, NIGHT.studies
EXTRA = [(study, step) for study in STUDIES for step in extra_notebooks(study)]

# Each notebook runs in a process of its own, which shows a line of progress every few seconds and writes all
# else to a .log file beside the executed notebook. Parameters are one JSON object, read by a JSON parser and by
# no other. The night stands only in that JSON: as a parameter of its own it would start every step anew. The
# Python is no parameter: python and python3 are the same one.
PYTHON = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")
RUN = (
    PYTHON
    + " -m nightshift.forkserver nightshift.runs:main {input.notebook:q} --log {log:q}"
    + " --products {params.root:q} --study={params.study:q} --parameters {params.parameters:q} --later {params.later:q}"
)
FIXED = {"root": str(ROOT)}


wildcard_constraints:
    study="|".join(map(re.escape, STUDIES)),  # data/findings/a_b.parquet is no study's without a study a_b


def source_files(wildcards):
    """The files of the source; none of a server, and none where it has no files, so that its study alone fails."""
    of_sample = NIGHT.source(wildcards.study) == "sample"
    return rules.simulate.output if of_sample else watched(NIGHT.files_of_source(wildcards.study))


def watched(paths):
    """The files that Snakemake can watch: one that it may not read, or that is dated in the future, would end each of
    its runs. That such a file has changed shows in the parameter `sees`.
    """
    return [path for path in paths if os.access(path, os.R_OK) and not is_ahead(path)]


def train_reads(wildcards):
    """A new night of data does not start training. Snakemake looks no further at a job whose only new input is
    ancient, so whether training must run for its own reasons is decided in nightshift/chain.py and not by its
    rerun triggers.
    """
    clean = ROOT / "data/clean" / f".{wildcards.study}"
    return clean if NIGHT.trains[wildcards.study] else ancient(clean)


def later(wildcards, step):
    """Later steps, whose executed notebooks and records this one makes out of date."""
    return steps_after(wildcards.study, step)


def is_marker(path):
    """Whether a path is that of an empty file that says that a step ended well."""
    return os.path.basename(path).startswith(".")


def sees(wildcards, step):
    """What a step reads beside products, so that another file starts it whatever its time; training decides by
    itself.
    """
    return "" if step == "3_train" else NIGHT.state_read(wildcards.study, step)


def parameters_of(wildcards, step):
    """The parameters of a step, as JSON."""
    return json.dumps(NIGHT.step_parameters(wildcards.get("study", ""), step))
