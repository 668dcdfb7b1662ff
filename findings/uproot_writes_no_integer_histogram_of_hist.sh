#!/usr/bin/env bash
# uproot 5.7.7: a histogram of `hist` (boost-histogram) that counts in Int64, the natural storage of counts, cannot be written: "data to convert to
# TArray must have signed integer or floating-point type, not dtype('>i8')", which is a signed integer of 64 bits. Its counts are of C's long long, which
# NumPy keeps apart from int64 on Linux though both are printed as int64, and uproot's `to_TArray` asks for the type and not for the dtype.
# The same counts as a NumPy array are written, as TH1D, and so is the storage Double: whoever moves from np.histogram to hist stumbles here.
# hist 2.12.1; exits with 1 when the histogram is written.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq uproot==5.7.7 hist==2.12.1 numpy==2.4.6; } ||
  { echo "cannot install uproot 5.7.7 and hist 2.12.1"; exit 2; }
"$work/venv/bin/python" - "$work/counts.root" <<'P'
import sys

import hist
import uproot

print("uproot", uproot.__version__, "hist", hist.__version__)


def written(make):
    with uproot.recreate(sys.argv[1]) as file:
        try:
            file["h"] = make
        except ValueError as error:
            return f"ValueError: {error}"
    return uproot.open(sys.argv[1])["h"].classname


counts = hist.Hist.new.Reg(2, 0, 2).Int64().fill([0.5, 1.5, 1.5])
doubles = hist.Hist.new.Reg(2, 0, 2).Double().fill([0.5, 1.5, 1.5])
print("hist, Int64:          ", integer := written(counts))
print("type of its counts:   ", counts.values().dtype, counts.values().dtype.type)
print("hist, Double:         ", written(doubles))
print("the same by np.int64: ", plain := written(counts.to_numpy()))
sys.exit(not (integer.startswith("ValueError") and ">i8" in integer and plain == "TH1D"))
P
