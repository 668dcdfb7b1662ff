#!/bin/bash
# An HDF5 table with a zoned index that pandas 2.3.3 wrote is a valid file, and pandas 3.1.1 reads it, but only where pytz is installed, which pandas 3
# no longer requires. Without it nothing names pytz: PyTables gives the pickled zone back as bytes, and reading ends in an AttributeError about them.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/old" && "$work/old/bin/pip" install -qq pandas==2.3.3 numpy==2.2.6 tables==3.10.2; } || { echo "cannot install pandas 2.3.3"; exit 2; }
{ python3 -m venv "$work/new" && "$work/new/bin/pip" install -qq pandas==3.1.1 numpy==2.4.6 tables==3.11.1; } || { echo "cannot install pandas 3.1.1"; exit 2; }
"$work/old/bin/python" - "$work/zoned.h5" <<'P'
import sys
import pandas as pd
times = pd.date_range("2026-01-31 10:00", periods=3, freq="min", tz="Europe/Berlin", name="time")
pd.DataFrame({"x": [1.0, 2, 3]}, index=times).to_hdf(sys.argv[1], key="d", format="table")
P
read() { "$work/new/bin/python" - "$work/zoned.h5" <<'P'
import sys
import pandas as pd
import tables
print("pandas", pd.__version__, "PyTables", tables.__version__, end=": ")
try:
    print("read,", pd.read_hdf(sys.argv[1]).index.dtype)
except Exception as error:
    print(type(error).__name__, error)
P
}
without=$(read)
"$work/new/bin/pip" install -qq pytz==2026.6 || { echo "cannot install pytz 2026.6"; exit 2; }
with=$(read)
echo "without pytz: $without"
echo "with pytz:    $with"
[[ $without == *"AttributeError 'numpy.bytes_' object has no attribute 'get'"* && $with == *"read, datetime64[ns, Europe/Berlin]"* ]]
