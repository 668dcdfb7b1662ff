#!/usr/bin/env bash
# Snakemake 9.27.1 fails every run in which something is made of a file that is dated in the future, `ancient` or not, after the job has ended well.
# A clock that was ahead for a night, and was set right, leaves such files: each job runs, its output is touched, is older than its input, and the run
# ends with 1 and "could indicate a clock skew problem", until that future has come. A file that cannot be read ends it as well, after the job, if it
# is small, since Snakemake then keeps a checksum of it. And a file of another content that comes back with its old time, as from `cp -p` or
# `rsync -a`, starts nothing. A parameter that holds the state of the file does, and then the file need be no input.
# Exits with 1 when Snakemake makes something of a file of the future and is content, or notices the old time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq snakemake==9.27.1; } ||
  { echo "cannot install snakemake 9.27.1"; exit 2; }
cd "$work"
cat > Snakefile <<'RULES'
rule all:
    input:
        "newer.out", "ancient.out", "back.out"

rule newer:
    input: "source.txt"
    output: "newer.out"
    shell: "cp {input} {output}"

rule ancient:
    input: ancient("source.txt")
    output: "ancient.out"
    shell: "cp {input} {output}"

rule back:
    input: "other.txt"
    output: "back.out"
    shell: "cp {input} {output}"
RULES
run() { "$work/venv/bin/snakemake" --cores 1 -- "$1" > log 2>&1 && echo well || echo "failed"; }
"$work/venv/bin/snakemake" --version
echo one > other.txt
touch -d yesterday other.txt
back=$(run back.out)
echo two > other.txt
touch -d yesterday other.txt
back="$back, $(run back.out) and made of $(cat back.out)"
echo one > source.txt
touch -d tomorrow source.txt
newer=$(run newer.out)
grep -o "could indicate a clock skew problem" log
ancient=$(run ancient.out)
echo "of the future: $newer; ancient: $ancient; another content with the old time: $back"
test "$newer, $ancient, $back" = "failed, failed, well, well and made of one"
