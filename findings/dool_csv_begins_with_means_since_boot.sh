#!/usr/bin/env bash
# dool 1.3.8: the first row of its CSV (--output) holds the means since the machine was started, under the time of the recording and beside the rows
# of the seconds that follow. dstat says so of its screen; in the file nothing tells this row from the others, and what reads it as a sample takes
# the mean of weeks for the load of a moment. The times of -t lack the year, so that only -T (the epoch) can be placed.
# Exits with 1 when the first row is one of the moment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq dool==1.3.8; } ||
  { echo "cannot install dool 1.3.8"; exit 2; }
read -r _ user nice system idle wait irq soft steal _ </proc/stat
venv/bin/dool -T -c --output dool.csv 1 3 >/dev/null 2>&1
venv/bin/python - "$idle" $((user + nice + system + idle + wait + irq + soft + steal)) <<'P'
import csv, sys
from importlib.metadata import version
print("dool", version("dool"))
rows = [row for row in csv.reader(open("dool.csv")) if row and row[0].replace(".", "").isdigit()]
idle = [float(row[3]) for row in rows]
since_boot = 100 * int(sys.argv[1]) / int(sys.argv[2])
print(f"idle since the start: {since_boot:.2f} %; rows of the file: {', '.join(f'{one:.2f}' for one in idle)}")
sys.exit(abs(idle[0] - since_boot) > 0.2)
P
