#!/usr/bin/env bash
# matplotlib 3.11.2: a wrapped text is measured as a formula although parse_math is False.
# Text(..., parse_math=False) promises that two dollars are two dollars. With wrap=True the words are measured by another way, which
# asks only whether the dollars are even: "$HOME_$USER" ends savefig with ValueError of the parser, and "$5 or $6" is broken at the wrong width.
# Not wrapped, the same text is drawn as it is written. Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "matplotlib==3.11.2"
MPLBACKEND=agg "$folder/venv/bin/python" - "$folder" <<'PY'
import sys

import matplotlib
import matplotlib.pyplot as plt

print("matplotlib", matplotlib.__version__)
said = {}
for wrap in (False, True):
    figure, ax = plt.subplots()
    title = ax.set_title("$HOME_$USER", wrap=wrap, parse_math=False)
    try:
        figure.savefig(f"{sys.argv[1]}/f.png")
        said[wrap] = "drawn as it is written"
    except ValueError as error:
        said[wrap] = f"ValueError: {str(error).strip().splitlines()[-1][:60]}"
    print(f"wrap={wrap}, parse_math={title.get_parse_math()}: {said[wrap]}")
sys.exit(said[False].startswith("ValueError") or not said[True].startswith("ValueError"))
PY
