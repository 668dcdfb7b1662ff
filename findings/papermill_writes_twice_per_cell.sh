#!/usr/bin/env bash
# papermill 2.7.0 writes the whole executed notebook before and after each cell, also where `autosave_cell_every` is 0.
# That setting only concerns writes while a cell runs. Each write checks the notebook against its schema and holds every output so far, so that a
# notebook of n cells with a figure each writes about n squared figures. `request_save_on_cell_execute=False` writes at the end alone, and then
# nothing at all when the kernel dies; an engine whose manager passes over most saves keeps both.
# Exits with 1 when the number of writes is another.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq papermill==2.7.0 nbformat==5.11.1 ipykernel==7.4.0; } ||
  { echo "cannot install papermill 2.7.0"; exit 2; }
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import nbformat
import papermill
from papermill.iorw import papermill_io

CELLS = 20
print("papermill", version("papermill"))


class Counting:
    """A place that only counts what is written to it."""

    sizes = []

    def write(self, text, path):
        self.sizes.append(len(text))

    def pretty_path(self, path):
        return path


papermill_io.register("counting://", Counting())
cells = [nbformat.v4.new_code_cell("print('x' * 50_000)") for _ in range(CELLS)]  # as a figure does
kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), "one.ipynb")
papermill.execute_notebook("one.ipynb", "counting://out.ipynb", autosave_cell_every=0, progress_bar=False)
last, total = Counting.sizes[-1], sum(Counting.sizes)
print(f"{CELLS} cells, autosave_cell_every=0: {len(Counting.sizes)} writes, {total / last:.1f} times the size of the notebook in the end")
sys.exit(not (len(Counting.sizes) >= 2 * CELLS and total > CELLS * last))
PY
