#!/usr/bin/env bash
# papermill 2.7.0: -y reads JSON by a parser of YAML 1.1, in which a number such as 5e-05 has no dot and is text: what Python's
# json.dumps writes for 0.00005 reaches the notebook as a str. Exits with 1 when it arrives as a number.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq papermill==2.7.0 PyYAML==6.0.3 nbformat==5.11.1; } ||
  { echo "cannot install papermill 2.7.0"; exit 2; }
cat > write.py <<'PYTHON'
import nbformat

cell = nbformat.v4.new_code_cell("rate: float = 0.5", metadata={"tags": ["parameters"]})
kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), "in.ipynb")
PYTHON
venv/bin/python write.py
given=$(venv/bin/python -c 'import json; print(json.dumps({"rate": 0.00005}))')
venv/bin/papermill in.ipynb out.ipynb --prepare-only -y "$given" 2> log || { cat log; exit 2; }
echo "papermill $(venv/bin/python -c 'from importlib.metadata import version; print(version("papermill"))') was given $given"
venv/bin/python - <<'PYTHON'
import json
import sys

cells = json.load(open("out.ipynb"))["cells"]
injected = next("".join(c["source"]) for c in cells if "injected-parameters" in c["metadata"].get("tags", []))
print(injected)
sys.exit('"5e-05"' not in injected)
PYTHON
