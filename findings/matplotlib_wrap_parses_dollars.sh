#!/usr/bin/env bash
# matplotlib 3.11.2: a wrapped text is measured as a formula although parse_math is False.
# Text(..., parse_math=False) promises that two dollars are two dollars. With wrap=True the words are measured by another way, which
# asks only whether the dollars are even: "copied to $HOME_$USER today" ends savefig with ValueError of the parser, and "$5 or $6" is broken at the wrong width.
# Not wrapped, the same text is drawn as it is written. Exit code 1 when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq matplotlib==3.11.2; } ||
  { echo "cannot install matplotlib 3.11.2"; exit 2; }
MPLBACKEND=agg "$work/venv/bin/python" - "$work" <<'PY'
import sys

import matplotlib
import matplotlib.pyplot as plt

print("matplotlib", matplotlib.__version__)
said = {}
for wrap in (False, True):
    figure, ax = plt.subplots()
    title = ax.set_title("copied to $HOME_$USER today", wrap=wrap, parse_math=False)
    try:
        figure.savefig(f"{sys.argv[1]}/f.png")
        said[wrap] = "drawn as it is written"
    except ValueError as error:
        said[wrap] = f"ValueError: {str(error).strip().splitlines()[-1][:60]}"
    print(f"wrap={wrap}, parse_math={title.get_parse_math()}: {said[wrap]}")
sys.exit(said[False].startswith("ValueError") or not said[True].startswith("ValueError"))
PY
