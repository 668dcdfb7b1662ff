#!/usr/bin/env bash
# Snakemake 9.27.1 looks for jobs to start more and more often while one runs. Its command line always has a limit of jobs per timespan, 100/1s where
# none is given. With a limit, each look at what is ready lets another one follow a timespan later, and the end of each job is one more look, which goes
# on like the others: after thirty jobs there are thirty looks a second until all are done, each over all inputs of all jobs that are ready. Of a night
# with 400 modules as inputs of each job that took more of a processor than most of its jobs. Called from Python, Snakemake knows no limit:
# `max_jobs_per_timespan` of its SchedulingSettings is None, and so may be that of the options between `parse_args` and `args_to_api` of its cli.
# Exits with 1 when Snakemake uses less than twice the processor time with the limit.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq snakemake==9.27.1; } ||
  { echo "cannot install snakemake 9.27.1"; exit 2; }
cd "$work"
mkdir in && touch in/{1..400}
cat > Snakefile <<'RULES'
rule all:
    input: expand("out/{i}", i=range(40))

rule one:
    input: expand("in/{i}", i=range(1, 401))
    output: "out/{i}"
    shell: "sleep $(( {wildcards.i} < 30 ? 0 : 3 )); touch {output}"
RULES
cat > run.py <<'RUN'
import os, sys
from snakemake.cli import args_to_api, parse_args

parser, options = parse_args(["--cores", "1", "--quiet", "all"])
if sys.argv[1] == "none":
    options.max_jobs_per_timespan = None
assert args_to_api(options, parser)
print(sum(os.times()[:2]))
RUN
"$work/venv/bin/snakemake" --version
for limit in default none; do
    rm -rf out .snakemake
    seconds=$("$work/venv/bin/python" run.py "$limit" 2>/dev/null | tail -1)
    echo "limit of jobs per timespan $limit: $seconds s of a processor"
    eval "$limit=$seconds"
done
python3 -c "import sys; sys.exit(not $default > 2 * $none)"
