#!/usr/bin/env bash
# snakemake-executor-plugin-slurm 2.8.0 never guesses an account: its pipe reaches sacct as arguments.
# Without slurm_account the plugin says that it takes the account of the user's latest job, by `sacct ... -o Account%256 | tail -1`. It splits that line and
# starts it without a shell, so that sacct is given "|", "tail" and "-1", and ends with "invalid option -- '1'". The job is then submitted without an account,
# with two warnings in each log; where Slurm demands one, it is refused. slurm-no-account: true in the profile is silent and does the same.
# Here a sacct of our own prints two jobs where it is asked rightly. Exit code 1 when the guess comes out.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq snakemake-executor-plugin-slurm==2.8.0 snakemake-interface-executor-plugins==9.4.0; } ||
  { echo "cannot install snakemake-executor-plugin-slurm 2.8.0"; exit 2; }
cat >"$work/sacct" <<'S'
#!/bin/sh
echo "arguments: $*" >>"$SEEN"
case "$*" in *"| tail -1"*) echo "sacct: invalid option -- '1'" >&2; exit 1 ;; esac
printf 'physics\nchemistry\n'
S
chmod +x "$work/sacct"
SEEN=$work/seen PATH=$work:$PATH "$work/venv/bin/python" - <<'PY'
import logging
import sys
from importlib.metadata import version

from snakemake_executor_plugin_slurm.accounts import get_account

print("snakemake-executor-plugin-slurm", version("snakemake-executor-plugin-slurm"))
logging.basicConfig(format="%(levelname)s: %(message)s")
account = get_account(logging.getLogger("slurm"))
print("account:", account)
sys.exit(account is not None)
PY
cat "$work/seen"
