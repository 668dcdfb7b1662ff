"""Measurements against peers, all in one run: `make bench`. Prints one table; ratios are comparable, seconds are this machine's.

python bench/bench.py [training] [scoring] [preprocess] [detection]
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
import pandas as pd
import torch

from helpers import QUANTILES, chunk_batches, pinball, predict_quantiles
from publish import STEPS

N_NUMBERS, UNITS, WARMUP, LENGTH, BATCH = 18, 128, 100, 156, 256
MONTH = 36_000_000  # transfers of ATLAS in a month
torch.set_num_threads(os.cpu_count())
rng = np.random.default_rng(0)


class Pinball(keras.losses.Loss):
    def call(self, actual, predicted):
        return pinball(actual, predicted, maximum=keras.ops.maximum)


def lstm(many):
    """The LSTM with a quantile head: a prediction at every step (many) or at the last one only."""
    numbers, codes = keras.Input((None, N_NUMBERS), name="numbers"), keras.Input((None, 1), name="codes", dtype="int32")
    hidden = keras.layers.LSTM(UNITS, return_sequences=many)(numbers)
    model = keras.Model([numbers, codes], keras.layers.Dense(len(QUANTILES))(hidden))
    model.compile("adam", loss=Pinball())
    return model


def seconds_per_step(model, batches):
    """Median seconds of one gradient step over `batches`, after two to compile and warm up."""
    taken = []
    for batch in batches:
        begun = time.perf_counter()
        model.train_on_batch(*batch)
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken[2:]))


def torch_seconds_per_step(steps, n=8):
    """The same width, batch and length by torch.nn.LSTM, its own optimiser and loss."""
    recurrent, head = torch.nn.LSTM(N_NUMBERS, UNITS, batch_first=True), torch.nn.Linear(UNITS, len(QUANTILES))
    optimiser = torch.optim.Adam([*recurrent.parameters(), *head.parameters()])
    x, y, q = torch.randn(BATCH, steps, N_NUMBERS), torch.randn(BATCH, steps, 1), torch.tensor(QUANTILES)
    taken = []
    for _ in range(n):
        begun = time.perf_counter()
        optimiser.zero_grad()
        error = y - head(recurrent(x)[0])
        torch.maximum(q * error, (q - 1) * error).mean().backward()
        optimiser.step()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken[2:]))


def training():
    """Transfers per second and epoch: chunks, one window per transfer, torch; in turn, twice, the better of each."""
    n = BATCH * LENGTH * 8
    numbers, codes = rng.normal(size=(n, N_NUMBERS)).astype("float32"), np.zeros((n, 1), "int32")
    target, weight = rng.normal(size=n).astype("float32"), np.ones(n, "float32")
    chunks = chunk_batches(numbers, codes, target, weight, warmup=WARMUP, length=LENGTH, batch=BATCH, seed=0)
    window = ({"numbers": numbers[: BATCH * 100].reshape(BATCH, 100, -1), "codes": np.zeros((BATCH, 100, 1), "int32")}, target[:BATCH])
    many, one, best = lstm(True), lstm(False), {}
    for _ in range(2):
        tries = {
            "chunks": BATCH * LENGTH / seconds_per_step(many, [chunks[i] for i in range(len(chunks))]),
            "windows": BATCH / seconds_per_step(one, [window] * 10),
            "torch": BATCH * LENGTH / torch_seconds_per_step(WARMUP + LENGTH),
        }
        best = {name: max(rate, best.get(name, 0)) for name, rate in tries.items()}
    yield "training, chunks of our LSTM", f"{best['chunks']:,.0f} transfers/s and epoch", ""
    yield (
        "training, one 100-step window per transfer",
        f"{best['windows']:,.0f} transfers/s and epoch",
        f"ratio {best['chunks'] / best['windows']:.1f} (bar 40)",
    )
    yield (
        "training, torch.nn.LSTM on the same chunks",
        f"{best['torch']:,.0f} transfers/s and epoch",
        f"ratio {best['chunks'] / best['torch']:.2f} (bar 0.8)",
    )
    yield f"one epoch over {MONTH:,} transfers", f"{MONTH / best['chunks'] / 60:,.0f} min", "at this machine's rate"


def scoring(n=1_000_000):
    """Seconds to score a million transfers with a stored LSTM, memory of the whole process included."""
    with tempfile.TemporaryDirectory() as folder:
        lstm(True).save(Path(folder) / "lstm.keras")
        numbers, codes = rng.normal(size=(n, N_NUMBERS)).astype("float32"), np.zeros((n, 1), "int32")
        begun = time.perf_counter()
        predict_quantiles(Path(folder) / "lstm.keras", pd.DataFrame(index=range(n)), numbers, codes, warmup=WARMUP, length=LENGTH, batch=BATCH)
        taken = time.perf_counter() - begun
    yield f"scoring {n:,} transfers", f"{taken:.0f} s", f"{n / taken:,.0f} transfers/s"


def write_raw(raw, n, part=500_000):
    """`n` synthetic events with every raw field as text, in parts, as 1_extract leaves them."""
    raw.mkdir(parents=True)
    names = np.array([f"SITE{i:03d}_DATADISK" for i in range(300)])
    for first in range(0, n, part):
        m = min(part, n - first)
        start = np.datetime64("2026-01-01", "s") + np.sort(rng.integers(0, 30 * 86400, m))
        times = {"submitted_at": start - rng.integers(1, 300, m), "started_at": start, "transferred_at": start + rng.integers(1, 3000, m)}
        src, dst = names[np.minimum(rng.geometric(0.02, m), 300) - 1], names[np.minimum(rng.geometric(0.02, m), 300) - 1]
        frame = pd.DataFrame({name: pd.Series(np.char.replace(v.astype(str), "T", " ")) for name, v in times.items()}).assign(
            **{
                "request-id": [f"{i:032x}" for i in range(first, first + m)],
                "activity": "Production Output",
                "src-rse": src,
                "dst-rse": dst,
                "protocol": "davs",
                "transfer-endpoint": "https://fts.example:8446",
                "src-url": "davs://a.example/x",
                "dst-url": "davs://b.example/x",
                "reason": None,
                "event_type": "transfer-done",
                "created_at": lambda f: f["transferred_at"],
                "bytes": rng.integers(1, 10**10, m).astype(str),
            }
        )
        frame.astype("str").assign(reason=pd.Series([None] * m, dtype="str")).to_parquet(raw / f"part-{first:09d}.parquet", index=False)
    (raw / "status.json").write_text(json.dumps({"window": ["2026-01-01", "2026-01-30"], "source": "bench"}))


def preprocess(n=10_000_000):
    """Peak memory and seconds of the preprocessing notebook, run by papermill in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_raw(Path(folder) / "data/raw/transfers", n)
        notebook = Path(__file__).parents[1] / "notebooks/transfers/2_preprocess.ipynb"
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "papermill", notebook, Path(folder) / "out.ipynb", "-k", "python3", "-p", "products", folder, "--no-progress-bar"],
            check=True,
            capture_output=True,
        )
        taken = time.perf_counter() - begun
        rows = pd.read_parquet(Path(folder) / "data/clean/transfers.parquet", columns=["state"]).shape[0]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # the largest process among the children, the kernel
    yield f"preprocessing {rows:,} transfers", f"{taken:.0f} s", f"peak {peak:.2f} GiB (bar 6)"


def detection(seeds=(101, 102, 103, 104, 105)):
    """Recall, precision and alarm rate of the whole chain on samples that nobody looked at while it was written; a minute and a half each."""
    repository = Path(__file__).parents[1]
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as products:
            for name, more in [("simulate", ["-p", "seed", str(seed)]), *((f"transfers/{step}", []) for step in STEPS)]:
                subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "papermill",
                        repository / f"notebooks/{name}.ipynb",
                        Path(products) / "executed.ipynb",
                        "-k",
                        "python3",
                        "-p",
                        "products",
                        products,
                        "--no-progress-bar",
                        *more,
                    ],
                    check=True,
                    capture_output=True,
                )
            text = (Path(products) / "executed.ipynb").read_text()
            skill = next(m for m in json.loads((Path(products) / "models/transfers/metrics.json").read_text())["models"] if m["in_use"])["skill"]
        numbers = re.search(r"(\d+) of (\d+) known incidents found .*?; (\d+) of (\d+) findings name one", text)
        rate = re.search(r"Stated alarm rate ([\d.]+)%, observed ([\d.]+)%", text)
        found.append([*map(int, numbers.groups()), *map(float, rate.groups()), skill])
        hits, known, true, named, stated, observed, skill = found[-1]
        yield f"sample of seed {seed}", f"{hits} of {known} found, {true} of {named} right", f"alarms {observed}% of {stated}%, skill {skill:.2f}"
    hits, known, true, named = np.sum([f[:4] for f in found], axis=0)
    ratios = [f[5] / f[4] for f in found]
    yield "all of them", f"recall {hits / known:.2f}, precision {true / named:.2f}", f"observed / stated {min(ratios):.2f} to {max(ratios):.2f}"


def main():
    wanted = sys.argv[1:] or ["training", "scoring", "preprocess", "detection"]
    for name in wanted:
        for row in globals()[name]():
            print("{:<48} {:>34}   {}".format(*row), flush=True)


if __name__ == "__main__":
    main()
