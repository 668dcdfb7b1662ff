#!/bin/bash
# Images are made smaller by removing the folders of tests that packages install. PyTables 3.11.1 imports its own whenever it is imported: without them
# no HDF5 file can be read, and pandas 3.1.1, which takes any failure of that import for a package that is absent, says to install PyTables, which
# is installed, and names no tests.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq pandas==3.1.1 numpy==2.4.6 tables==3.11.1; } ||
  { echo "cannot install pandas 3.1.1 and PyTables 3.11.1"; exit 2; }
"$work/venv/bin/python" -c 'import sys, pandas; pandas.DataFrame({"x": [1.0, 2]}).to_hdf(sys.argv[1], key="d")' "$work/x.h5"
read() { "$work/venv/bin/python" - "$work/x.h5" <<'P'
import sys
import pandas
try:
    print(len(pandas.read_hdf(sys.argv[1])), "rows")
except ImportError as error:
    print(type(error).__name__, error)
try:
    import tables
    print("PyTables", tables.__version__)
except ImportError as error:
    print(type(error).__name__, error)
P
}
whole=$(read)
find "$work/venv" -type d -path '*/site-packages/tables/tests' -prune -exec rm -r {} +
pruned=$(read)
printf 'as installed: %s\nwithout its tests: %s\n' "$whole" "$pruned"
[[ $whole == "2 rows"* && $pruned == *"ModuleNotFoundError No module named 'tables.tests'"* && $pruned != *"rows"* ]]
