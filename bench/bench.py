"""Measurements against peers, all in one run: `make bench`. Prints one table; ratios are comparable, seconds are this machine's.

python bench/bench.py [training] [scoring] [preprocess] [windows] [accounting] [injection] [detection] [certification] [tickets]
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
import pandas as pd
import torch

from helpers import study_paths, table_key, write_parquet
from nightshift.catalog import STEPS
from nightshift.compiled import STATISTICS, window_statistics
from nightshift.detectors.accounting_trials import mean_recall
from nightshift.detectors.certification_autoencoders import VARIANTS, Training, autoencoder, fit_networks, prepare, terms_of
from nightshift.detectors.recurrent import CarriedLSTM, Pinball
from nightshift.detectors.transfers_quantiles import QUANTILES, predict_quantiles

N_NUMBERS, UNITS, WARMUP, LENGTH, BATCH, STREAMS = 18, 128, 100, 156, 256, 256
MONTH = 36_000_000  # transfers of ATLAS in a month
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
torch.set_num_threads(os.cpu_count())
rng = np.random.default_rng(0)


def lstm(layer=keras.layers.LSTM, **how):
    """The LSTM with a quantile head: a prediction at every step, or by `return_sequences=False` at the last one only."""
    numbers, codes = keras.Input((None, N_NUMBERS), name="numbers"), keras.Input((None, 1), name="codes", dtype="int32")
    hidden = layer(UNITS, **{"return_sequences": True} | how)(numbers)
    model = keras.Model([numbers, codes], keras.layers.Dense(len(QUANTILES))(hidden))
    model.compile("adam", loss=Pinball())
    return model


def batches(n, chunks, steps, warmup=0):
    """`n` batches of so many chunks and steps, of which the first `warmup` only warm up; without steps after them, one target per chunk."""
    for _ in range(n):
        numbers, weight = rng.normal(size=(chunks, steps, N_NUMBERS)).astype("float32"), np.ones((chunks, steps), "float32")
        weight[:, :warmup] = 0
        yield {"numbers": numbers, "codes": np.zeros((chunks, steps, 1), "int32")}, rng.normal(size=(chunks, steps)).astype("float32"), weight


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


def training(n=6):
    """Transfers per second and epoch, in turn, three times, the best of each: the state carried along streams; chunks that each read a warm-up;
    a window per transfer; torch on the same chunks. A gradient step of streams and of chunks predicts the same number of transfers."""
    carried, chunked, windowed, best = lstm(CarriedLSTM, streams=STREAMS), lstm(), lstm(return_sequences=False), {}
    for _ in range(3):
        [(window, target, _)] = batches(1, BATCH, WARMUP)
        tries = {
            "streams": BATCH * LENGTH / seconds_per_step(carried, batches(n, STREAMS, BATCH * LENGTH // STREAMS)),
            "chunks": BATCH * LENGTH / seconds_per_step(chunked, batches(n, BATCH, WARMUP + LENGTH, WARMUP)),
            "windows": BATCH / seconds_per_step(windowed, [(window, target[:, -1])] * n),
            "torch": BATCH * LENGTH / torch_seconds_per_step(WARMUP + LENGTH, n),
        }
        best = {name: max(rate, best.get(name, 0)) for name, rate in tries.items()}
    yield f"training, {STREAMS} streams with the state carried", f"{best['streams']:,.0f} transfers/s and epoch", ""
    for name, what, bar in (
        ("chunks", f"chunks that read {WARMUP} transfers first", 2),
        ("torch", "torch.nn.LSTM on the same chunks", 1.45),
        ("windows", f"one {WARMUP}-step window per transfer", 40),
    ):
        yield f"training, {what}", f"{best[name]:,.0f} transfers/s and epoch", f"ratio {best['streams'] / best[name]:.2f} (bar {bar})"
    yield f"one epoch over {MONTH:,} transfers", f"{MONTH / best['streams'] / 60:,.1f} min", "at this machine's rate"


def scoring(n=1_000_000):
    """Seconds to score a million transfers with a stored LSTM, memory of the whole process included."""
    with tempfile.TemporaryDirectory() as folder:
        lstm().save(Path(folder) / "lstm.keras")
        numbers, codes = rng.normal(size=(n, N_NUMBERS)).astype("float32"), np.zeros((n, 1), "int32")
        begun = time.perf_counter()
        predict_quantiles(Path(folder) / "lstm.keras", pd.DataFrame(index=range(n)), numbers, codes)
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
                "src-type": "DISK",
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


def run_notebook(name, products, **parameters):
    """Run one notebook of the repository with papermill in a process of its own; returns (seconds, its text)."""
    out = Path(products) / "executed.ipynb"
    begun = time.perf_counter()
    command = [sys.executable, "-m", "papermill", NOTEBOOKS / f"{name}.ipynb", out, "-k", "python3", "--no-progress-bar"]
    done = subprocess.run([*command, "-y", json.dumps({"products": str(products), **parameters})], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - begun, out.read_text()


# What tsfresh is asked for, in a Python of its own: it holds back the versions of numpy and pandas, so it is none of our packages.
TSFRESH = """
import sys, time, pandas as pd
from tsfresh import extract_features
table = pd.read_parquet(sys.argv[1])
wanted = dict.fromkeys(["maximum", "minimum", "mean", "standard_deviation", "skewness", "kurtosis"])
wanted["quantile"] = [{"q": q} for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
begun = time.perf_counter()
extract_features(table, column_id="window", column_sort="t", default_fc_parameters=wanted, disable_progressbar=True)
print(time.perf_counter() - begun)
"""


def best_of(n, call):
    """Fewest seconds of `n` calls: what else runs on the machine can only add to them."""
    taken = []
    for _ in range(n):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def by_pandas(table, window, step):
    rolling = table.rolling(window, min_periods=1, step=step)
    each = [getattr(rolling, name)() for name in ("max", "min", "mean", "std", "skew", "kurt")]
    return each + [rolling.quantile(q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]


def windows(n_metrics=800, seconds=86400, window=60, step=15):
    """The window kernel beside pandas and tsfresh; then one node x `n_metrics` x a day through the notebook, half of them counters."""
    table = pd.DataFrame(rng.normal(size=(20_000, 40)).cumsum(axis=0) + 1e4)
    values, n = table.to_numpy(), 40 * ((20_000 - window) // step + 1)
    window_statistics(values[:100], window, step)  # compiles
    ours, theirs = best_of(7, lambda: window_statistics(values, window, step)), best_of(3, lambda: by_pandas(table, window, step))
    yield f"{len(STATISTICS)} statistics of {n:,} windows of {window}", f"{1e6 * ours / n:.2f} us a window", f"on {os.cpu_count()} cores"
    yield "pandas.rolling, same statistics and step", f"{1e6 * theirs / n:.2f} us a window", f"takes {theirs / ours:.0f} times as long (bar 35)"
    with tempfile.TemporaryDirectory() as products:
        few = np.stack([values[s : s + window, :5] for s in range(0, 300 * step, step)])  # (300, window, 5)
        frame = pd.DataFrame(few.reshape(-1, 5)).add_prefix("m").assign(window=np.repeat(np.arange(300), window), t=np.tile(np.arange(window), 300))
        write_parquet(frame, Path(products) / "few.parquet")
        if python := os.environ.get("TSFRESH_PYTHON"):
            spent = float(subprocess.run([python, "-c", TSFRESH, Path(products) / "few.parquet"], check=True, capture_output=True, text=True).stdout)
            yield "tsfresh, same features", f"{1e6 * spent / 1500:.0f} us a window", f"takes {spent / 1500 / (ours / n):.0f} times as long"
        else:
            yield "tsfresh", "absent", "pip install tsfresh pyarrow into another environment and name its python in TSFRESH_PYTHON"
        raw = study_paths("telemetry", products).raw
        node = pd.DataFrame({"timestamp": pd.date_range("2026-01-31", periods=seconds, freq="s", tz="UTC", unit="us")})
        node["job_id"] = pd.Series([None] * seconds, dtype="str")
        drawn = {f"m{i}::{'vmstat' if i % 2 else 'meminfo'}": rng.integers(0, 1000, seconds).astype(float) for i in range(n_metrics)}
        metrics = {name: np.cumsum(x) if name.endswith("vmstat") else x for name, x in drawn.items()}
        write_parquet(pd.concat([node, pd.DataFrame(metrics)], axis=1), raw / "nodes/node_id=n1/day=2026-01-31/part.parquet")
        empty = {name: pd.Series(dtype="str") for name in ("job_id", "node_id", "app", "input", "anomaly", "part", "gpu", "user")}
        times = {name: pd.Series(dtype="datetime64[us, UTC]") for name in ("start", "end", "timestamp")}
        amounts = dict.fromkeys(["utilisation_pct", "memory_used_mib", "memory_total_mib", "power_w", "temperature_c"], pd.Series(dtype=float))
        for name in ("labels", "gpus"):
            write_parquet(pd.DataFrame(empty | times | amounts), raw / f"{name}.parquet")
        spent, _ = run_notebook("telemetry/2_preprocess", products)
        size = study_paths("telemetry", products).clean.stat().st_size / 2**20
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # the largest process among the children, the kernel
        yield f"1 node x {n_metrics} metrics x {seconds:,} s", f"{spent:.0f} s, peak {peak:.2f} GiB", f"bars 60 s, 4 GiB; writes {size:.0f} MiB"


def detection(seeds=(101, 102, 103, 104, 105)):
    """Recall, precision and alarm rate of both studies on samples that nobody looked at while they were written; two minutes each."""
    of_study = {"transfers": ({}, {}), "accounting": ({"vo_aliases": {"lumen": "lumen.survey"}}, {"alarm_rate": 0.01})}
    found = {study: [] for study in of_study}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as products:
            run_notebook("simulate", products, seed=seed)
            for study, (preprocess, rate) in of_study.items():
                for step, more in zip(STEPS, ({}, preprocess, rate, rate), strict=True):
                    _, text = run_notebook(f"{study}/{step}", products, **more)
                models = json.loads((Path(products) / f"models/{study}/metrics.json").read_text())["models"]
                skill = next((m["skill"] for m in models if m["in_use"]), float("nan"))
                numbers = re.search(r"(\d+) of (\d+) known incidents .*?found.*?; (\d+) of (\d+) findings name one", text)
                rate_told = re.search(r"Stated alarm rate ([\d.]+)%, observed ([\d.]+)%", text)
                found[study].append([*map(int, numbers.groups()), *map(float, rate_told.groups()), skill])
                hits, planted, true, named, stated, observed, skill = found[study][-1]
                yield (
                    f"{study}, sample of seed {seed}",
                    f"{hits} of {planted} found, {true} of {named} right",
                    f"alarms {observed}% of {stated}%, skill {skill:.2f}",
                )
    for study, rows in found.items():
        hits, planted, true, named = np.sum([f[:4] for f in rows], axis=0)
        ratios = [f[5] / f[4] for f in rows]
        yield (
            f"{study}, all of them",
            f"recall {hits / planted:.2f}, precision {true / named:.2f}",
            f"observed / stated {min(ratios):.2f} to {max(ratios):.2f}",
        )


def write_weeks(raw, n_sites=200, n_vos=30, n_weeks=52):
    """One GRACC record per site, VO and week with every field as text, as 1_extract leaves them: noise of 0.3 around each pair's level."""
    raw.mkdir(parents=True)
    site, vo, week = (x.ravel() for x in np.meshgrid(range(n_sites), range(n_vos), range(n_weeks), indexing="ij"))
    level = rng.lognormal(6, 2, (n_sites, n_vos))[site, vo]
    hours = level * rng.lognormal(0, 0.3, len(site)) * (rng.uniform(size=len(site)) > 0.02)
    end = pd.Timestamp("2026-01-25T20:00:00Z") - pd.to_timedelta(7 * (n_weeks - 1 - week), unit="D")
    names = {"SiteName": pd.Series(site).map("SITE-{:03d}".format), "VOName": pd.Series(vo).map("vo{:02d}".format)}
    frame = pd.DataFrame({"RecordId": np.arange(len(site)).astype(str), "EndTime": end.strftime("%Y-%m-%dT%H:%M:%SZ"), **names})
    amounts = {"CoreHours": hours, "WallDuration": hours * 3600, "CpuDuration": hours * 3000, "Njobs": np.ceil(hours / 4), "Processors": 1}
    frame = frame.assign(
        ProbeName="p", ResourceType="Batch", more="{}", **{k: pd.Series(v, index=frame.index).astype(str) for k, v in amounts.items()}
    )
    frame[hours > 0].astype("str").to_parquet(raw / "part.parquet", index=False)
    (raw / "status.json").write_text(json.dumps({"window": ["2025-02-03", "2026-01-25"], "source": "bench"}))


def seconds_under(text, headings):
    """Seconds that the cells under these headings of an executed notebook took; without the imports, which come before the first."""
    total, heading = 0.0, None
    for cell in json.loads(text)["cells"]:
        found = re.findall(r"^## (.*)$", "".join(cell["source"]), re.M) if cell["cell_type"] == "markdown" else []
        heading = found[-1] if found else heading
        if cell["cell_type"] == "code" and heading and (headings is None or heading in headings):
            total += cell["metadata"]["papermill"]["duration"]
    return total


def accounting():
    """Seconds and memory of preprocess, train and score on 200 sites x 30 VOs x 52 weeks, and the method of 2021 on the same data."""
    from sklearn.ensemble import IsolationForest

    work = {"2_preprocess": None, "3_train": ["Data", "Model", "Fit", "Threshold"], "4_analyse": ["Headline"]}
    with tempfile.TemporaryDirectory() as products:
        write_weeks(Path(products) / "data/raw/accounting")
        whole, spent = 0.0, 0.0
        for step, headings in work.items():
            taken, text = run_notebook(f"accounting/{step}", products, day="2026-01-25", **({"origins": 1} if step == "3_train" else {}))
            whole, spent = whole + taken, spent + seconds_under(text, headings)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        clean = pd.read_parquet(Path(products) / "data/clean/accounting.parquet")
    begun = time.perf_counter()
    for _, rows in clean.assign(code=clean.vo.astype("category").cat.codes).groupby("site"):
        pair = rows[["code", "core_hours"]].to_numpy()
        IsolationForest(contamination=0.01, random_state=0).fit(pair).score_samples(pair)
    old = time.perf_counter() - begun
    yield "accounting, 200 x 30 x 52: preprocess, train, score", f"{spent:.1f} s, peak {peak:.2f} GiB", "bar 20 s, 2 GiB"
    yield "the three notebooks", f"{whole:.1f} s", "with kernels, imports, pictures and the measurement on injected troubles"
    yield "method of 2021, fit and score alone", f"{old:.1f} s", f"takes {old / spent:.1f} times as long"


METHODS = ("combined", "isolation_forest", "robust_z", "seasonal_naive", "method_2021")
REAL_LOGS = {  # last day, nights, weeks, multiples of the alarm rate at which to look; the short log has too few weeks to tell a smaller rate
    "HPC2N-2002-2.2-cln": ("2006-01-15", 40, 182, (1, 0.5, 0.75, 1.5, 2)),
    "LPC-EGEE-2004-1.2-cln": ("2005-05-11", 8, 107, (1, 1.5, 2, 3)),
}


def trials_at(rate, below, above):
    """Trials of one method at an observed alarm rate, between two runs of (injections, flagged share): found and at_once in 0..1."""
    keys = ["method", "kind", "origin", "site", "vo"]
    tables = []
    for injected, _ in (below, above):
        found = injected.assign(found=injected.delay_weeks.notna(), at_once=injected.delay_weeks == 0)
        tables.append(found.groupby(keys)[["found", "at_once", "regular"]].max().astype(float))
    low, high = tables[0].align(tables[1], join="inner")
    step = above[1] - below[1]
    share = float(np.clip((rate - below[1]) / step, 0, 1)) if step > 0 else 0.0
    return (low + share * (high - low)).reset_index()


def injection(rate=0.01):
    """Injected troubles in the real logs and the sample at 1% of series-weeks flagged, all methods on the same troubles of many nights."""
    data = NOTEBOOKS.parents[1] / "shared/data/accounting"
    for log, (day, nights, weeks, rates) in REAL_LOGS.items():
        if not (data / f"{log}.swf.gz").exists():
            yield log, "absent", "see docs/sources.md"
            continue
        with tempfile.TemporaryDirectory() as products:
            run_notebook("accounting/1_extract", products, source=str(data / f"{log}.swf.gz"), day=day, weeks=weeks)
            run_notebook("accounting/2_preprocess", products, day=day)
            yield from compare(log.partition("-")[0], products, day, nights, rate, rates)
    with tempfile.TemporaryDirectory() as products:
        run_notebook("simulate", products)
        run_notebook("accounting/1_extract", products)
        run_notebook("accounting/2_preprocess", products, vo_aliases={"lumen": "lumen.survey"})
        # its nights hold known incidents, so that the flagged share is no false one: all at the same stated rate
        yield from compare("sample", products, "2026-01-31", 8, rate, (1,))


def compare(name, products, day, nights, rate, stated_rates):
    """Rows of one data set: recall per kind and method, the sums against each other with intervals, silence of regular series.

    stated_rates : multiples of `rate` at which all methods are run, to find for each what it sees where it flags `rate` of the weeks.
    """
    models, runs = Path(products) / "models/accounting", {}
    for stated in rate * np.array(stated_rates):
        (models / "detector.json").unlink(missing_ok=True)
        run_notebook("accounting/3_train", products, day=day, alarm_rate=float(stated), origins=nights)
        measured = json.loads((models / "metrics.json").read_text())["models"]
        runs[stated] = pd.read_parquet(models / "injections.parquet"), {m["name"]: m["alarm_rate_observed"] for m in measured}
    rows = []
    for method in METHODS:  # between the two stated rates whose observed ones lie about `rate`
        of = [(injected[injected.method == method], flagged[method]) for _, (injected, flagged) in sorted(runs.items())]
        below = max([i for i, (_, flagged) in enumerate(of) if flagged <= rate], default=0)
        rows.append(trials_at(rate, of[below], of[min(below + 1, len(of) - 1)]))
    trials = pd.concat(rows, ignore_index=True)
    trials = trials[trials.groupby(["kind", "site", "vo", "origin"]).method.transform("nunique") == len(METHODS)]  # the same ones for all
    recall = trials.pivot_table(index="method", columns="kind", values="found")
    for method, line in recall.iterrows():
        yield f"{name}, {method}", f"sum {line.sum():.2f}", ", ".join(f"{kind} {value:.2f}" for kind, value in line.items())
    silent = trials[(trials.method == "combined") & (trials.kind == "silent") & (trials.regular > 0)]
    yield f"{name}, silence of regular series", f"{silent.at_once.mean():.3f} in the first week", f"{len(silent)} troubles (bar 0.9)"
    wide = trials.pivot_table(index=["kind", "site", "vo", "origin"], columns="method", values="found").reset_index()
    _, resampled = mean_recall(wide[list(METHODS)], wide.kind, table_key(wide, ["site", "vo"]), rng=rng)
    for other in ("method_2021", "robust_z", "seasonal_naive"):
        low, high = np.quantile(wide.kind.nunique() * (resampled.combined - resampled[other]), [0.025, 0.975])
        ratio = recall.loc["combined"].sum() / max(recall.loc[other].sum(), 1e-9)
        yield f"{name}, sum of recalls against {other}", f"ratio {ratio:.1f}", f"difference {low:.2f} to {high:.2f}, series resampled"


LUMISECTIONS = Training(
    widths=(128, 64, 16),
    epochs=3,
    patience=9,
    batch_size=256,
    together=8,
    learning_rate=0.005,
    beta_1=0.9,
    beta_2=0.999,
    l1=1e-6,
    contractive=1e-3,
    variational=1e-4,
)


class Alone(keras.Model):
    """One variant by plain keras fit: the network, loss and penalties of the package."""

    def __init__(self, n_features, factors):
        super().__init__()
        self.network = autoencoder(n_features, LUMISECTIONS.widths)[0]
        self.noise = keras.random.SeedGenerator(1)
        self.factors = np.array(factors) * [LUMISECTIONS.l1, LUMISECTIONS.contractive, LUMISECTIONS.variational]

    def call(self, x):
        noise = keras.random.normal((keras.ops.shape(x)[0], LUMISECTIONS.widths[-1]), seed=self.noise)
        weights, sign = [v.value for v in self.network.trainable_variables], keras.ops.sign(noise)
        errors, *penalties = terms_of(self.network, weights, x, noise=noise * float(self.factors[2] > 0), sign=sign)
        self.add_loss(errors.mean() + sum(factor * penalty.mean() for factor, penalty in zip(self.factors, penalties, strict=True) if factor))
        return errors


def seconds_alone(x, factors):
    """(seconds of an epoch by plain keras fit, seconds to compile before the first): the faster of two epochs."""
    model, ends = Alone(x.shape[1], factors), [time.perf_counter()]
    model.compile(keras.optimizers.Adam(LUMISECTIONS.learning_rate))
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    model.fit(x, batch_size=LUMISECTIONS.batch_size, epochs=3, verbose=0, callbacks=[note])
    first, *later = np.diff(ends)
    return min(later), first - min(later)


def certification(n_rows=100_000, n_features=259, share=0.05, seeds=5):
    """All variants of the autoencoder x 5 seeds, in groups at once and one after the other.

    An epoch of all rows would take minutes: both are measured on a share of the rows. One seed of each variant is fitted alone, and counted as
    often as there are seeds.
    """
    x, variants = rng.random((int(n_rows * share), n_features)).astype("float32"), VARIANTS
    rows, one = np.arange(len(x)), np.ones(n_features)
    task = SimpleNamespace(dataset="a", split="run and time", fit=rows, check=rows[:256], low=0 * one, scale=one)
    common, jobs, taken = prepare({"a": x}, [task], training=LUMISECTIONS), [(0, name, seed) for name in variants for seed in range(seeds)], []
    for epochs in (1, 1, 3):  # the first of them compiles
        common.training, begun = replace(LUMISECTIONS, epochs=epochs), time.perf_counter()
        fit_networks(common, jobs)
        taken.append(time.perf_counter() - begun)
    ours, theirs = (taken[2] - taken[1]) / 2, seeds * np.sum([seconds_alone(x, factors) for factors in variants.values()], axis=0)
    what, compiled = f"{len(jobs)} autoencoders, {n_rows:,} x {n_features}", taken[0] - taken[1]
    yield f"{what}, an epoch", f"{ours / share:.0f} s", f"groups of at most {LUMISECTIONS.together}, measured on {share:.0%} of the rows"
    yield (
        "by plain keras fit, one after the other",
        f"{theirs[0] / share:.0f} s",
        f"ratio {theirs[0] / ours:.2f} (bar 2); {seeds} x one seed",
    )
    whole, alone = 12 * ours + compiled, 12 * theirs[0] + theirs[1]
    yield f"with compiling, 12 epochs of {len(x):,} rows", f"{whole:.0f} s at once, {alone:.0f} s alone", f"ratio {alone / whole:.2f} (bar 3)"


CLUSTER = """
import resource, sys, time
from dataclasses import replace
import numpy as np
from nightshift.detectors.tickets_topics import TopicSettings, choose_resolution, consensus, graph_of
x, settings = np.load(sys.argv[1]), TopicSettings()
graph_of(x[:100], settings.neighbours)  # compiles
begun = time.perf_counter()
graph = graph_of(x, settings.neighbours)
joined = time.perf_counter()
resolution, _ = choose_resolution(graph, settings, seed=1)
chosen = time.perf_counter()
np.save(sys.argv[1], consensus(graph, resolution, settings=replace(settings, bootstraps=4), seed=1))
ended = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(joined - begun, chosen - joined, ended - chosen, resolution, (peak - x.nbytes / 2**10) / 2**20)
"""


def tickets(n=100_000, n_topics=400, n_ward=10_000, d=384):
    """Graph, choice of the resolution and Leiden over 100,000 tickets with known topics; k-means beside it, and what Ward would take.

    The vectors are made by rule: directions of topics of unequal size, and noise around them. Peak memory is that of a process of its own,
    less the vectors.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score
    from sklearn.neighbors import NearestNeighbors

    from nightshift.detectors.tickets_topics import TopicSettings, nearest_tickets

    neighbours = TopicSettings().neighbours
    weight = 1 / np.arange(1, n_topics + 1) ** 0.5
    topic = rng.choice(n_topics, n, p=weight / weight.sum())
    x = (0.65 * rng.normal(size=(n_topics, d))[topic] + rng.normal(size=(n, d))).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, x)
        command = [sys.executable, "-c", CLUSTER, path]
        done = subprocess.run(command, cwd=NOTEBOOKS.parent, check=True, capture_output=True, text=True).stdout.split()
        found = np.load(path)
    graph, choice, last, resolution, peak = map(float, done)
    ours = graph + choice + last
    yield f"topics of {n:,} tickets", f"{ours:.0f} s, peak {peak:.2f} GiB beyond vectors", "bars 180 s, 6 GiB"
    yield "of which graph, choice, Leiden", f"{graph:.0f} s, {choice:.0f} s, {last:.0f} s", f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    yield (
        "ARI with the known topics",
        f"{adjusted_rand_score(topic, found):.3f}",
        f"{len(np.unique(found))} found of {n_topics}, resolution {resolution:g}",
    )
    some = x[:n_ward]
    begun = time.perf_counter()
    NearestNeighbors(n_neighbors=neighbours, algorithm="brute", metric="cosine").fit(some).kneighbors()
    theirs = time.perf_counter() - begun
    fast = best_of(2, lambda: nearest_tickets(some, neighbours))
    yield f"neighbours of {n_ward:,} by scikit-learn, brute force", f"{theirs:.1f} s, ours {fast:.1f} s", f"ratio {theirs / fast:.1f}"
    begun = time.perf_counter()
    grouped = KMeans(n_topics, random_state=0, max_iter=20).fit_predict(x)
    taken = time.perf_counter() - begun
    yield "k-means, told the number of topics", f"{taken:.0f} s, ARI {adjusted_rand_score(topic, grouped):.3f}", f"ratio {taken / ours:.1f}"
    begun = time.perf_counter()
    linkage(pdist(some), "ward")
    taken = time.perf_counter() - begun
    square = (n / n_ward) ** 2
    memory = n * (n - 1) / 2 * 8 / 2**30
    yield f"Ward, {n_ward:,} tickets measured", f"{taken:.0f} s", f"computed for {n:,}: {taken * square / 60:.0f} min, {memory:.0f} GiB"
    yield "Ward against ours", f"ratio {taken * square / ours:.0f} in time", f"{memory / max(peak, 0.01):.0f} in memory"


def main():
    wanted = sys.argv[1:] or ["training", "scoring", "preprocess", "windows", "accounting", "injection", "detection", "certification", "tickets"]
    for name in wanted:
        for row in globals()[name]():
            print("{:<48} {:>34}   {}".format(*row), flush=True)


if __name__ == "__main__":
    main()
