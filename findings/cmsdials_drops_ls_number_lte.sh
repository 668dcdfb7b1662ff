#!/bin/bash
# cmsdials 2.4.1 takes ls_number__lte as a filter of lumisections, and of histograms without a word, too; but there it sends nothing: the field is called
# ls_numbet__lte, and what a model does not know is dropped. Who asks for the first ten lumisections of a run gets the histograms of all of them.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq cmsdials==2.4.1; } ||
  { echo "cannot install cmsdials 2.4.1"; exit 2; }
seen=$("$work/venv/bin/python" - <<'P'
from importlib.metadata import version
from cmsdials.filters import LumisectionFilters, LumisectionHistogram1DFilters
print("cmsdials", version("cmsdials"))
for kind in (LumisectionFilters, LumisectionHistogram1DFilters):
    print(f"{kind.__name__} sends {kind(run_number=400123, ls_number__gte=1, ls_number__lte=10).cleandict()}")
P
)
echo "$seen"
[[ $seen == *"LumisectionFilters sends {'run_number': 400123, 'ls_number__lte': 10, 'ls_number__gte': 1}"* ]]
[[ $seen == *"LumisectionHistogram1DFilters sends {'run_number': 400123, 'ls_number__gte': 1}"* ]]
