#!/bin/bash
# parallelworkloads 0.1.3, the package of the workload model of Lublin & Feitelson, installs without a word, and no model is in it: its only
# distribution is a source archive without its Cython files, and where Cython is absent its setup.py builds no extension and says so to nobody. With
# Cython it fails.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq setuptools==84.2.1 &&
  "$work/venv/bin/pip" install -qq --no-build-isolation parallelworkloads==0.1.3; } || { echo "cannot install parallelworkloads 0.1.3"; exit 2; }
seen=$("$work/venv/bin/python" - <<'P'
from importlib.metadata import files, version
print("parallelworkloads", version("parallelworkloads"), "holds", [path.name for path in files("parallelworkloads") if "info" not in path.parts[0]])
try:
    import parallelworkloads.lublin99
except ImportError as error:
    print(type(error).__name__, error)
P
)
echo "$seen"
[[ $seen == *"ModuleNotFoundError No module named 'parallelworkloads.lublin99'"* ]]
