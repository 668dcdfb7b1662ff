#!/usr/bin/env bash
# Loading a stored scikit-learn model by skops 0.16.0 imports PyTorch, where that is installed, although neither library needs it.
# skops asks scikit-learn for all its estimators; scikit-learn walks its packages, leaving out those below `externals`, but the walk itself imports
# every package that it passes, the adapter of PyTorch among them. Each process that loads a model pays for that: five times the import without it.
# Where PyTorch cannot be imported, the walk passes over the adapter in silence, and skops finds the same estimators.
# Exits with 1 when PyTorch stays out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq skops==0.16.0 scikit-learn==1.9.1 torch==2.13.0; } ||
  { echo "cannot install skops 0.16.0 and torch 2.13.0"; exit 2; }
"$work/venv/bin/python" - <<'PY'
import subprocess
import sys
from importlib.metadata import version

print(*(f"{name} {version(name)}" for name in ("skops", "scikit-learn", "torch")), sep=", ")
SHOW = """
import sys, time
import sklearn.ensemble
if sys.argv[1] == "hidden":
    sys.modules["torch"] = None
began = time.process_time()
import skops.io
seconds = time.process_time() - began
from sklearn.utils import all_estimators
print(sys.modules.get("torch") is not None, round(seconds, 2), len(all_estimators()))
"""
seen = {}
for how in ("there", "hidden"):
    subprocess.run([sys.executable, "-c", SHOW, how], check=True, capture_output=True)  # compiled, and in the cache of the system
    torch, seconds, estimators = subprocess.run([sys.executable, "-c", SHOW, how], check=True, capture_output=True, text=True).stdout.split()
    print(f"PyTorch {how}: imported by skops: {torch}, {seconds} s of a processor, {estimators} estimators found")
    seen[how] = (torch, float(seconds), estimators)
same = seen["there"][2] == seen["hidden"][2]
sys.exit(not (seen["there"][0] == "True" and seen["hidden"][0] == "False" and same and seen["there"][1] > 2 * seen["hidden"][1]))
PY
