#!/bin/bash
# The checksums of Parquet are of pages alone. Names and types of columns, the statistics by which rows are passed over, and what pandas has written
# of a table stand in the footer, which has none: with `write_page_checksum=True` and `page_checksum_verification=True`, pyarrow 26 reads 36 of 12,568
# tables of which one bit of the footer is flipped as other ones, without a word: a column of another name, values of another type, or fewer rows behind
# a filter. 5,627 are read as they are, since much of a footer is never asked for, and the others are errors.
# pyarrow 26.0.1 and pandas 3.1.1; exits with 1 when no flipped bit is read as other values.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6; } ||
  { echo "cannot install pyarrow 26.0.1 and pandas 3.1.1"; exit 2; }
"$work/venv/bin/python" - "$work/table.parquet" <<'P'
import collections
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

path = sys.argv[1]
times = pd.date_range("2026-01-31", periods=40, freq="h", tz="UTC").as_unit("us")
table = pa.Table.from_pandas(pd.DataFrame({"at": times, "n": range(40)}), preserve_index=False)
pq.write_table(table, path, write_page_checksum=True)
whole = open(path, "rb").read()
footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


def read(**how):
    return pq.read_table(path, page_checksum_verification=True, **how).to_pandas()


every, some = read(), read(filters=[("n", ">=", 30)])
came, examples = collections.Counter(), {}
for place in range(footer, len(whole) - 8):
    for bit in range(8):
        with open(path, "wb") as file:
            file.write(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        try:
            got, filtered = read(), read(filters=[("n", ">=", 30)])
            what = "the same"
            if list(got.columns) != list(every.columns):
                what = "other names of columns"
            elif not got.equals(every) or list(got.dtypes) != list(every.dtypes):
                what = "other values or types"
            elif not filtered.equals(some):
                what = "other rows behind a filter"
        except Exception:
            what = "an error"
        came[what] += 1
        examples.setdefault(what, (place - footer, bit))
print("pyarrow", pa.__version__, "pandas", pd.__version__, "one bit of the footer flipped:")
for what, n in came.most_common():
    print(f"  {n:>6} {what}, first at byte {examples[what][0]}, bit {examples[what][1]}")
sys.exit(not any(what.startswith("other") for what in came))
P
