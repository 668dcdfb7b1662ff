#!/bin/bash
# skops 0.16.0 writes each array of each tree as a file of its own within its archive, and reads each with the reader of npy headers: gradient boosting of
# 200 rounds is 600 members, and to load it takes tens of times as long as to predict a hundred rows. What scores in small batches must keep
# the model that it has loaded.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq skops==0.16.0 scikit-learn==1.9.1 numpy==2.4.6; } ||
  { echo "cannot install skops 0.16.0"; exit 2; }
"$work/venv/bin/python" - "$work" <<'PY'
import sys
import time
import zipfile

import numpy as np
import skops
import skops.io
from sklearn.ensemble import HistGradientBoostingRegressor

rng, path = np.random.default_rng(1), f"{sys.argv[1]}/model.skops"
x = rng.normal(size=(5_000, 10))
model = HistGradientBoostingRegressor(max_iter=200, early_stopping=False).fit(x, x[:, 0] * x[:, 1])
skops.io.dump(model, path)


def best(act):
    times = []
    for _ in range(3):
        begun = time.process_time()
        act()
        times.append(time.process_time() - begun)
    return min(times)


load = best(lambda: skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path)))
few = best(lambda: model.predict(x[:100]))
members = len(zipfile.ZipFile(path).namelist())
print(f"skops {skops.__version__}: {members} members; loading takes {load / few:.0f} times as long as predicting 100 rows")
assert members > 600 and load > 10 * few
PY
