"""Shared science code of Nightshift, by layer, in the order of the chain.

    Paths                  where every product lives                     folders, resolve, atomic
    Read                   sources in, raw rows and status.json out      read_files, read_records, connect_elastic, write_status
    Clean                  a table is what its schema says               check_schema
    Features and encoders  causal state, category codes, scaling         state_features, encode_categories, encode_inputs
    Windows                time-ordered parts, chunks, weekly series     split_by_time, chunk_batches, series_panel, series_features
                           statistics of windows, rates of counters      window_statistics, counter_rates, select_features
    Models                 stored models behind one call                 pinball, load_skops, predict_quantiles
    Scores and thresholds  tests, p-values, limits, skill with interval  change_tests, judge_tests, p_values, score_limit, skill_interval
    Findings               flagged items merged into problems            scan_incidents
    Plots                  one figure, one claim, saved and shown        show_figure
    Records                sentences, tables, metrics                    say, show_table, record_metrics

Entry rule: a function enters when a second notebook needs it, or when a silent error in it would change a conclusion
(splits, windows, encoders, thresholds, time zones); else it stays in its notebook. All is pure but `write_`, `record_`, `say`, `show_`.
"""

import contextlib
import glob
import gzip
import hashlib
import html
import itertools
import json
import numbers
import os
import re
import subprocess
import uuid
import zlib
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pandas as pd
from scipy import special
from tqdm import tqdm

# ---------------------------------------------------------------------------------------------------------- Paths

ROOT = Path(__file__).resolve().parent
os.environ.setdefault("KERAS_BACKEND", "jax")      # 6 to 12 times the torch backend on LSTM training on 2 cores


def resolve(path):
    """Absolute path of `path`; a relative one counts from the repository root, wherever the notebook runs."""
    return ROOT / Path(path).expanduser()


def folders(study, products=""):
    """Where `study` keeps its products below the folder `products` (empty: the repository); nothing is made yet.

    Returns a namespace of paths: root, sample, raw, encoders, models, plots (folders), clean, rejected, scores, findings (files).
    """
    root = resolve(products)
    paths = {name: root / name / study for name in ("encoders", "models", "plots")}
    paths |= {name: root / "data" / name / f"{study}.parquet" for name in ("clean", "scores", "findings")}
    return SimpleNamespace(root=root, sample=root / "data/sample", raw=root / "data/raw" / study,
                           rejected=root / "data/clean" / f"{study}_rejected.parquet", **paths)


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`, renamed over it when the block ends well and removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")      # keeps the suffix: savers choose by it
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_parquet(frame, path):
    """Write `frame` to `path` as Parquet, atomically, without its index."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_json(content, path):
    """Write `content` to `path` as indented JSON, atomically; NaN is refused (ValueError), it is not JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------------ Read


def read_files(pattern, read):
    """Call `read(path)` for every file that matches `pattern` (relative to the repository root), in the order of their names.

    FileNotFoundError when there is none; what goes wrong in reading one becomes a ValueError of one line that names the file.
    """
    files = sorted(filter(os.path.isfile, glob.glob(str(resolve(pattern)), recursive=True)))
    if not files:
        raise FileNotFoundError(f"no file matches {pattern}")
    for path in tqdm(files, desc="files", unit="file"):
        try:
            read(path)
        except (OSError, EOFError, ValueError, zlib.error) as error:        # a damaged archive raises any of them
            raise ValueError(f"{path} cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from None


def open_text(path):
    """The text file `path`, plain or .gz, open for reading; bytes that are no UTF-8 become U+FFFD."""
    return (gzip.open if str(path).endswith(".gz") else open)(path, "rt", encoding="utf-8", errors="replace")


def read_records(path, chunk_rows=100_000):
    """Yield (records, bad) from a JSON-lines or CSV file, plain or .gz, at most `chunk_rows` rows at a time.

    records : list of dict. bad : list of (line number, reason, text) for lines that do not parse; an empty file yields nothing.
    OSError, and its gzip kind for a damaged archive, pass through: a file that cannot be read is no empty file.
    """
    if ".csv" in Path(path).name:
        for chunk in pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], chunksize=chunk_rows):
            yield chunk.astype(object).where(chunk.notna(), None).to_dict("records"), []
        return
    with open_text(path) as lines:
        numbered = enumerate(lines, 1)
        while chunk := list(itertools.islice(numbered, chunk_rows)):
            records, bad = [], []
            for number, line in chunk:
                try:
                    record = json.loads(line) if line.strip() else None
                    records.append(record) if isinstance(record, dict) else bad.append((number, "no JSON object", line))
                except (ValueError, RecursionError) as error:
                    bad.append((number, str(error), line))
            yield records, [b for b in bad if b[2].strip()]


def as_text(value):
    """The JSON `value` as the source wrote it; missing stays missing."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def connect_elastic(url, *, timeout_s, retry_wait_s):
    """A function `ask` of the Elasticsearch at `url`: ask("search", index="x", ...) is the whole answer to that call of its client.

    Login from ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, else a netrc file; HTTP(S)_PROXY and NO_PROXY are followed; certificates
    are always verified, by ELASTIC_CA, else REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE. What may pass (time-outs, cut connections, 429,
    5xx, an answer of some shards only) is tried six times, with waits of up to `retry_wait_s`. What is left is one line: TimeoutError or
    ConnectionError; NotFoundError of the client, for an unknown index, passes through.
    """
    import elasticsearch
    import tenacity
    from elastic_transport import RequestsHttpNode

    host, env = url.split("://")[-1].split("@")[-1], os.environ
    login = {"api_key": env["ELASTIC_API_KEY"]} if env.get("ELASTIC_API_KEY") else {}
    if env.get("ELASTIC_USER"):
        login = {"basic_auth": (env["ELASTIC_USER"], env.get("ELASTIC_PASSWORD", ""))}
    trust = next((env[name] for name in ("ELASTIC_CA", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE") if env.get(name)), True)

    class Node(RequestsHttpNode):       # the default one, of urllib3, reads no proxy from the environment
        def __init__(self, config):
            super().__init__(config)
            settings = self.session.merge_environment_settings
            self.session.merge_environment_settings = lambda *given: settings(*given) | {"verify": trust}      # else ELASTIC_CA comes last
            self.session.auth = (lambda request: request) if login else None        # else a netrc entry replaces the login

    client = elasticsearch.Elasticsearch(url, node_class=Node, request_timeout=timeout_s, max_retries=0, **login)

    def ask(method, **request):
        try:
            answer = getattr(client, method)(**request)
        except elasticsearch.NotFoundError:
            raise
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            status, kind = getattr(error, "status_code", 503), type(error).__name__
            may_pass = kind != "TlsError" and (status == 429 or status >= 500)
            line = f"{host} {'does not answer' if may_pass else 'refuses this'}: {kind}: {' '.join(str(error).split())[:200]}"
            if kind == "TlsError":
                line = f"the certificate of {host} is not trusted: name the file of its authority in ELASTIC_CA"
            elif status in (401, 403):
                line = f"{host} refuses these credentials ({status}): check ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD"
            raise (TimeoutError if may_pass else ConnectionError)(line) from None
        if answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
            raise TimeoutError(f"{host} answered for some of its shards only")
        return answer

    return tenacity.Retrying(retry=tenacity.retry_if_exception_type(TimeoutError), stop=tenacity.stop_after_attempt(6), reraise=True,
                             wait=tenacity.wait_random_exponential(1.0, max=retry_wait_s)).wraps(ask)


def read_optional(path, sample, columns):
    """The table at `path` (CSV or Parquet), `sample` where `path` is "sample"; `columns` without a row where that is "" or None.

    sample : path of the sample's own table, None where the source is not the sample. FileNotFoundError when a named file is not there.
    """
    path = sample if path == "sample" else resolve(path) if path else None
    if path is None:
        return pd.DataFrame(columns=columns)
    return pd.read_parquet(path) if str(path).endswith(".parquet") else pd.read_csv(path)


def write_bad_lines(raw, bad_lines):
    """Write `raw`/bad_lines.csv, atomically: what did not parse, as (file, line number, reason, text); no bad line leaves the header."""
    with atomic(raw / "bad_lines.csv") as temporary:
        pd.DataFrame(bad_lines, columns=["file", "line", "reason", "text"]).to_csv(temporary, index=False)


def write_status(raw, *, state, rows, newest, source, window, **more):
    """Write `raw`/status.json: state (ok, partial, stale, empty, failed), rows, newest timestamp, source without secrets,
    window (first day, last day) and a sha256 over those of the Parquet files below `raw`, by name."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(raw.rglob("*.parquet"))))
    source = re.sub(r"://(?:[^/@]*@)?([^?#]*).*", r"://\1", source)
    status = dict(state=state, rows=int(rows), newest=newest if rows else None, source=source, window=list(window), sha256=digest.hexdigest(), **more)
    write_json(status, raw / "status.json")
    return status


# ----------------------------------------------------------------------------------------------------------------- Clean


def check_schema(frame, schema, name):
    """Return `frame` validated by the pandera `schema`; ValueError names the file, the column and the first bad rows."""
    from pandera.errors import SchemaErrors

    try:
        return schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        (column, check), same = next(iter(error.failure_cases.groupby(["column", "check"], sort=False)))
        raise ValueError(f"{name}: column {column!r} fails {check!r} in {len(same)} rows, first "
                         f"{same[['index', 'failure_case']].head(3).values.tolist()}") from None


# ------------------------------------------------------------------------------------------------- Features and encoders


@numba.njit(cache=True)
def _state_pass(start, end, by_end, group, log_rate, log_duration, failed, time_constant):
    n, n_groups = len(start), group.max() + 1
    in_flight, clock = np.zeros(n_groups), np.zeros(n_groups)
    rate_sum, rate_weight = np.zeros(n_groups), np.zeros(n_groups)
    fail_sum, weight = np.zeros(n_groups), np.zeros(n_groups)
    last = np.full(n_groups, np.nan)
    out = np.empty((n, 4), np.float32)
    k = 0
    for i in range(n):
        while k < n and end[by_end[k]] < start[i]:      # strictly before: an end in the same second is not known yet
            j = by_end[k]
            g = group[j]
            decay = np.exp((clock[g] - end[j]) / time_constant)
            clock[g] = end[j]
            weight[g], fail_sum[g] = decay * weight[g] + 1, decay * fail_sum[g] + failed[j]
            rate_sum[g], rate_weight[g] = decay * rate_sum[g], decay * rate_weight[g]
            if not failed[j]:
                rate_sum[g], rate_weight[g], last[g] = rate_sum[g] + log_rate[j], rate_weight[g] + 1, log_duration[j]
            in_flight[g] -= 1
            k += 1
        g = group[i]
        fade = np.exp((clock[g] - start[i]) / time_constant)
        out[i] = (in_flight[g], rate_sum[g] / rate_weight[g] if rate_weight[g] > 0 else np.nan, last[g],
                  fade * fail_sum[g] / (fade * weight[g] + 1))      # + 1: an old or single failure is weak evidence
        in_flight[g] += 1
    return out


def state_features(start_s, end_s, group, log_rate, log_duration, failed, *, time_constant_s=4 * 3600.0):
    """What was known about the group of each transfer at the moment it started.

    start_s, end_s : float64 (n,), seconds, `start_s` sorted ascending. group : int (n,). log_rate, log_duration : float (n,),
    natural logarithms, read only where `failed` is False. Returns float32 (n, 4): transfers in flight; exponentially
    weighted mean log rate (NaN before the first end); last finished log duration (NaN likewise); recent failure share.
    Only transfers that ended strictly before a start enter its row. O(n log n). ValueError when `start_s` is not sorted.
    """
    start, end = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    if not len(start):
        return np.empty((0, 4), np.float32)
    if (np.diff(start) < 0).any() or (end < start).any():
        raise ValueError("state_features: start_s must be sorted and no end_s before its start_s")
    return _state_pass(start, end, np.argsort(end, kind="stable"), np.asarray(group, np.int64), np.asarray(log_rate, np.float64),
                       np.asarray(log_duration, np.float64), np.asarray(failed, np.bool_), float(time_constant_s))


def fit_categories(frame, columns, known=None):
    """Category lists of `columns`: {column: [value, ...]}; position + 1 is the code, 0 is reserved for unseen values.

    `known` (an earlier result) keeps its codes, new values are appended by falling count, so that stored models stay valid.
    """
    known = known or {}
    seen = {c: [str(v) for v in frame[c].value_counts().loc[lambda counts: counts > 0].index] for c in columns}
    return {c: known.get(c, []) + sorted(set(seen[c]) - set(known.get(c, [])), key=seen[c].index) for c in columns}


def encode_categories(frame, categories):
    """Codes of the columns of `categories` as a new int32 frame [row, column]; unseen and missing values get 0."""
    columns = {c: frame[c].astype("category").cat for c in categories}      # names are looked up once each, not once per row
    code = {c: np.append(pd.Index(categories[c]).get_indexer(x.categories.astype(str)) + 1, 0)[x.codes] for c, x in columns.items()}
    return pd.DataFrame(code, index=frame.index, dtype="int32")


def decode_categories(codes, categories):
    """Names behind the codes of `encode_categories`, as a new frame of text; code 0, and codes beyond the list, give missing."""
    names = {c: np.array([None, *values], object) for c, values in categories.items() if c in codes}
    return pd.DataFrame({c: n[np.where(codes[c] < len(n), codes[c], 0)] for c, n in names.items()}, index=codes.index)


def encode_inputs(frame, scaling, vocabulary, categories, hide=()):
    """Model inputs of `frame`: (float32 (n, n_numbers), int32 (n, n_categories)).

    scaling : {column: {"mean", "std"}} of the training rows; a missing number stays NaN. hide : positions of numbers to be made missing.
    vocabulary : {column: codes known when the model was trained}; later codes become 0, unseen.
    """
    scaled = np.column_stack([(frame[c].to_numpy("float32", na_value=np.nan) - s["mean"]) / s["std"] for c, s in scaling.items()])
    scaled[:, list(hide)] = np.nan
    return scaled, encode_categories(frame, {c: categories[c][:size] for c, size in vocabulary.items()}).to_numpy()


# --------------------------------------------------------------------------------------------------------------- Windows


def split_by_time(start, end, shares):
    """Part of each row in a time-ordered split: object (n,), one of the keys of `shares` or "purged".

    start, end : datetime64 (n,), `start` sorted. shares : ordered {part: share of rows}, summing to 1. A row that ends
    after its part has ended is purged, since its outcome was not known when the next part began (de Prado 2018, ch. 7).
    """
    start, end = pd.DatetimeIndex(start), pd.DatetimeIndex(end)
    if not start.is_monotonic_increasing or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError("split_by_time: start must be sorted and the shares must sum to 1")
    edges = np.round(np.cumsum([0, *shares.values()]) * len(start)).astype(int)
    part = np.full(len(start), "purged", object)
    for name, low, high in zip(shares, edges, edges[1:], strict=False):
        part[low:high][end[low:high] < start[high] if high < len(start) else slice(None)] = name
    return part


def chunk_batches(numbers, codes, target, weight, *, warmup, length, batch, seed=None, hide=()):
    """A Keras dataset over one long sequence, cut into chunks with a loss at many steps and no window held in memory.

    numbers (n, F), codes (n, C), target (n,), weight (n,): rows in time order; memory maps will do. Chunk k predicts rows
    [k * length, (k + 1) * length) after reading the `warmup` rows before them, so that every target sees at least `warmup` predecessors
    and a row costs 1 + warmup / length steps. What is missing, or before the first row, is 0, the mean. Batches are
    ({"numbers": (B, T, F), "codes": (B, T, C)}, (B, T), (B, T)) with T = warmup + length; the weight of warm-up steps is 0.
    With `seed` (training) chunks are shuffled, those without weight left out, and the columns `hide` of `numbers` are 0 in a random half
    of the chunks, so that the model also learns to do without them. Without it the order is kept, to predict.
    """
    from keras.utils import PyDataset

    class Chunks(PyDataset):
        rng = np.random.default_rng(seed)

        def __init__(self):
            super().__init__()
            firsts = np.arange(0, len(target), length)
            has_loss = np.add.reduceat(weight, firsts) > 0 if len(target) else firsts
            self.firsts = firsts if seed is None else self.rng.permutation(firsts[has_loss])

        def __len__(self):
            return -(-len(self.firsts) // batch)

        def __getitem__(self, b):
            firsts = np.full(batch, len(target))            # the last batch is filled up with empty chunks: one shape, one compilation
            mine = self.firsts[b * batch:(b + 1) * batch]
            firsts[:len(mine)] = mine
            rows = firsts[:, None] + np.arange(-warmup, length)         # (B, T)
            inside = (rows >= 0) & (rows < len(target)) & (firsts < len(target))[:, None]
            at = np.where(inside, rows, 0)
            w = np.where(inside & (np.arange(-warmup, length) >= 0), weight[at], 0).astype("float32")
            x = {"numbers": np.nan_to_num(np.where(inside[..., None], numbers[at], 0)).astype("float32"),
                 "codes": np.where(inside[..., None], codes[at], 0).astype("int32")}
            if seed is not None and len(hide):
                x["numbers"][np.ix_(self.rng.random(batch) < 0.5, range(warmup + length), hide)] = 0
            return x, target[at].astype("float32"), w

        def on_epoch_end(self):
            self.firsts = self.firsts if seed is None else self.rng.permutation(self.firsts)

    return Chunks()


@numba.njit(cache=True)
def _trailing_pass(values, weeks):
    n_series, n_weeks = values.shape
    out = np.full((3, n_series, n_weeks), np.nan)
    for s in range(n_series):
        for t in range(n_weeks):
            window = values[s, max(t - weeks, 0):t]
            known = window[np.isfinite(window)]
            out[2, s, t] = len(known)
            if len(known):
                out[0, s, t] = np.median(known)
                out[1, s, t] = 1.4826 * np.median(np.abs(known - out[0, s, t]))      # a standard deviation, for a normal law
    return out


def trailing_median(values, weeks):
    """Median, scaled median absolute deviation and number of the known values in the `weeks` before each week: float (3, S, W).

    values : float (series, week), NaN where nothing is known. A week is not in its own window; with no known value: NaN, NaN, 0.
    """
    return _trailing_pass(np.ascontiguousarray(values, np.float64), weeks)


def week_of(at):
    """The Monday, 00:00 UTC, of the week of each moment of the Series `at` (datetime64, UTC); missing stays missing."""
    return (at.dt.floor("D") - pd.to_timedelta(at.dt.day_of_week, unit="D")).astype("datetime64[us, UTC]")


def series_panel(clean):
    """The weekly table as arrays: (series, weeks, panel), where panel maps a quantity to float (S, W), NaN outside a series' life.

    clean : DataFrame site, vo, week, core_hours, wall_hours, cpu_hours, jobs; one row per week of life. series : DataFrame site, vo; after
    the series themselves come the totals of each site (vo "") and of each VO (site "") that have at least two members.
    """
    values = ["core_hours", "wall_hours", "cpu_hours", "jobs"]
    sums = [clean.set_index(["site", "vo", "week"])[values]]
    for total, other in (("site", "vo"), ("vo", "site")):
        members = clean.groupby(total)[other].transform("nunique")
        rows = clean[members > 1].groupby([total, "week"], observed=True)[values].sum(min_count=1).reset_index()
        sums.append(rows.assign(**{other: ""}).set_index(["site", "vo", "week"]))
    table = pd.concat(sums)
    weeks = pd.date_range(clean.week.min(), clean.week.max(), freq="7D") if len(clean) else pd.DatetimeIndex([], tz="UTC")
    wide = table.unstack("week")
    order = table.index.droplevel("week").drop_duplicates()
    panel = {v: wide[v].reindex(index=order, columns=weeks).to_numpy(float) for v in values} if len(clean) else {v: np.empty((0, 0)) for v in values}
    return order.to_frame(index=False), weeks, panel


def series_features(panel):
    """What each week of each series looks like beside its own past: {name: float (S, W)}, NaN where the past cannot say.

    panel : as `series_panel` gives it. `level_8`, `level_26`, `jobs`, `job_length`, `cores_per_job`, `efficiency` are distances of logarithms from
    the median of the 8 or 26 weeks before, in robust standard deviations, over active weeks only; `zero_level` is that of log(1 + core hours) with
    the silent weeks (the robust z of the textbooks); `change` week over week, `season` against a year ago (last week, where that is unknown)
    and `trend`, the median of 4 weeks less that of 26, are differences of logarithms; `share` of the last 26 weeks that were active, drawn
    towards 0.3 as if 8 weeks of a new series were known; `silent_before`, `weeks_silent`, `age`, `weeks_known`, `weeks_active` weeks; `usual_jobs`
    and `expected`, `low`, `high` (core hours, the latter two an 80% range) per active week. Only weeks before week t, and t, enter column t.
    """
    core, wall, n_weeks = panel["core_hours"], panel["wall_hours"], panel["core_hours"].shape[1]
    active, alive, t = core > 0, np.isfinite(core), np.arange(core.shape[1])

    def logged(x):
        return np.log(np.where(active & (x > 0), x, np.nan))

    def deviation(x, weeks=26):
        median, mad, n = trailing_median(x, weeks)
        spread = np.sqrt((n * mad**2 + 2 * 0.5**2) / (n + 2))      # short or constant histories: as if two weeks of spread 0.5 were known too
        return np.where(n >= min(weeks / 2, 4), (x - median) / spread, np.nan), median, spread

    before = np.maximum(t - 26, 0)
    counts = [np.pad(np.cumsum(flags, axis=1), ((0, 0), (1, 0))) for flags in (alive, active)]
    known, busy = (c[:, t] - c[:, before] for c in counts)
    last = np.pad(np.maximum.accumulate(np.where(active, t, -1), axis=1), ((0, 0), (1, 0)), constant_values=-1)[:, :n_weeks]
    silent_before = np.where(last >= 0, t - 1 - last, np.nan)
    level_26, median, spread = deviation(logged(core))
    jobs, median_jobs, _ = deviation(logged(panel["jobs"]))
    zero = np.log1p(core)
    year_ago = np.pad(zero, ((0, 0), (52, 0)), constant_values=np.nan)[:, :n_weeks]
    week_ago = np.pad(zero, ((0, 0), (1, 0)), constant_values=np.nan)[:, :n_weeks]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {"job_length": wall / panel["jobs"], "cores_per_job": core / wall, "efficiency": panel["cpu_hours"] / core}
    return {"level_8": deviation(logged(core), 8)[0], "level_26": level_26, "zero_level": deviation(zero)[0],
            "jobs": jobs, "usual_jobs": np.exp(median_jobs), **{name: deviation(logged(x))[0] for name, x in ratios.items()},
            "change": zero - week_ago, "season": zero - np.where(np.isfinite(year_ago), year_ago, week_ago),
            "trend": trailing_median(logged(core), 4)[0] - median, "share": np.where(alive, (busy + 8 * 0.3) / (known + 8), np.nan),
            "silent_before": silent_before, "weeks_silent": np.where(active, 0, silent_before + 1), "age": counts[0][:, t].astype(float),
            "active": np.where(alive, active, np.nan), "weeks_known": known.astype(float), "weeks_active": busy.astype(float),
            "expected": np.exp(median), "low": np.exp(median - 1.2816 * spread), "high": np.exp(median + 1.2816 * spread)}


STATISTICS = ["max", "min", "mean", "std", "skew", "kurtosis", "p5", "p25", "p50", "p75", "p95"]


@numba.njit(cache=True)
def _sort_small(values, at, n, out, at_out):
    if n > 40:      # beyond, comparing all pairs costs more than a sort
        for rank, i in enumerate(np.argsort(values[:n])):
            out[rank], at_out[rank] = values[i], at[i]
        return
    for i in range(n):
        rank = 0
        for j in range(n):
            rank += (values[j] < values[i]) | ((values[j] == values[i]) & (j < i))
        out[rank], at_out[rank] = values[i], at[i]


@numba.njit(cache=True, fastmath={"reassoc", "contract"})      # sums in any order, so that they run in vector registers
def _window_column(values, starts, window, out):
    size = window + 1       # one more, for the infinity that ends a list
    x, new, raw, y = np.empty(size), np.empty(size), np.empty(size), np.empty(size)      # not rows of one: the compiler would fear overlap
    at_x, at_new, at_raw, at_y = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    n = end = 0
    for w, start in enumerate(starts):      # y is the last window, sorted: x what stays of it, then merged with what is new
        k = kept = 0
        for t in range(max(end, start), start + window):
            raw[k], at_raw[k] = values[t], t
            k += np.isfinite(values[t])
        end = start + window
        _sort_small(raw, at_raw, k, new, at_new)
        for i in range(n):
            x[kept], at_x[kept] = y[i], at_y[i]
            kept += at_y[i] >= start
        n, new[k], x[kept] = kept + k, np.inf, np.inf
        i = j = 0
        for s in range(n):      # without branches, which random data mispredicts
            left = x[i] <= new[j]
            y[s], at_y[s] = x[i] if left else new[j], at_x[i] if left else at_new[j]
            i, j = i + left, j + (not left)
        out[:, w] = np.nan
        if n == 0:
            continue
        middle, mean, m2, m3, m4 = y[n // 2], 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            raw[i] = y[i] - middle        # exact for near numbers, so that a counter of 1e12 keeps its digits
            mean += raw[i]
        mean /= n
        for i in range(n):
            c = raw[i] - mean
            m2, m3, m4 = m2 + c * c, m3 + c * c * c, m4 + c * c * c * c
        out[0, w], out[1, w], out[2, w] = y[n - 1], y[0], middle + mean
        if n > 1:
            out[3, w] = np.sqrt(m2 / (n - 1))
        if n > 2 and y[0] < y[n - 1]:       # pandas gives a constant window neither skew nor kurtosis
            out[4, w] = n * np.sqrt(n - 1.0) / (n - 2) * m3 / (m2 * np.sqrt(m2))
        if n > 3 and y[0] < y[n - 1]:
            out[5, w] = (n - 1.0) / ((n - 2.0) * (n - 3)) * ((n + 1.0) * n * m4 / (m2 * m2) - 3 * (n - 1))
        for i, q in enumerate((0.05, 0.25, 0.5, 0.75, 0.95)):
            low = int(q * (n - 1))
            out[6 + i, w] = y[low] + (y[min(low + 1, n - 1)] - y[low]) * (q * (n - 1) - low)


@numba.njit(cache=True, parallel=True)
def _window_pass(values, starts, window, out):
    for m in numba.prange(len(values)):
        _window_column(values[m], starts, window, out[m])


def window_statistics(values, window, step=1, starts=None):
    """STATISTICS of every metric in windows of `window` samples, `step` apart: float32 (n_windows, M, 11).

    values : float (T, M) on a regular grid, NaN where a sample is missing (what is infinite counts as missing). `starts`, ascending positions,
    names the windows instead of `step`. Definitions of pandas' rolling(window, min_periods=1): std with ddof 1, skew and excess kurtosis
    corrected for bias, percentiles interpolated linearly; NaN below 1, 2, 3 or 4 samples for std, skew and kurtosis, and for the skew and
    kurtosis of a constant. Fewer than `window` rows: no window. ValueError for a window or step below 1, or windows beyond the rows.
    """
    values = np.asarray(values, np.float64)
    if min(window, step) < 1:
        raise ValueError(f"window_statistics: a window of {window} samples every {step} is none")
    starts = np.arange(0, len(values) - window + 1, step) if starts is None else np.asarray(starts, np.int64)
    if len(starts) and (starts[0] < 0 or starts[-1] + window > len(values) or (np.diff(starts) < 0).any()):
        raise ValueError("window_statistics: starts must ascend within the rows")
    out = np.empty((values.shape[1], len(STATISTICS), len(starts)), np.float32)
    _window_pass(np.ascontiguousarray(values.T), starts, window, out)
    return out.transpose(2, 0, 1)


@numba.njit(cache=True)
def _rate_pass(values, seconds, longest_s, rates, events):
    for m in range(values.shape[1]):
        usual = 0.0     # the largest step that is no fall, to tell a wrap from a restart
        for again in (False, True):
            for t in range(1, len(values)):
                step_s, rise = seconds[t] - seconds[t - 1], values[t, m] - values[t - 1, m]
                if not 0 < step_s <= longest_s:
                    continue
                if rise < 0 and again:
                    wrapped = rise + 2.0**32
                    wraps = 2.0**31 < values[t - 1, m] < 2.0**32 and 0 <= wrapped < 2.0**31 and (usual == 0 or wrapped <= 10 * usual)
                    events[1 - int(wraps), m] += 1
                    rise = wrapped if wraps else np.nan
                if again:
                    rates[t, m] = rise / step_s
                else:
                    usual = max(usual, rise)


def counter_rates(values, seconds, period_s=None):
    """Increase per second of counters: (rates float64 (T, M), wraps int (M,), resets int (M,)); unknown rates, the first too, are NaN.

    values : float (T, M), ever-growing counts. seconds : float (T,). A step of more than 1.5 `period_s` (default: the median step) is a gap, and one
    of zero or less ends a run: what happened there is no sample's rate. A fall is a wrap at 2^32 when it starts above 2^31 and the increase
    that it means is below 2^31 and at most 10 times the counter's largest other one; any other fall is a reset, whose increase nobody knows.
    """
    values, seconds = np.asarray(values, np.float64), np.asarray(seconds, np.float64)
    steps = np.diff(seconds)
    period_s = period_s or (float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0)
    rates, events = np.full(values.shape, np.nan, order="F"), np.zeros((2, values.shape[1]), np.int64)
    _rate_pass(np.asfortranarray(values), seconds, 1.5 * period_s, rates, events)
    return rates, events[0], events[1]


def select_features(windows, features, false_discovery_rate):
    """Features that tell an anomaly from the healthy runs of the same application: DataFrame [feature, (app, anomaly)] of adjusted p-values.

    windows : DataFrame job_id, node_id, app, anomaly and `features`; "none" is healthy, "" unlabelled. The unit is a run (job x node), by the median
    of its windows, which overlap and share their luck. Two-sided Mann-Whitney tests (1947), all of them adjusted together (Benjamini &
    Hochberg 1995); rows are the features whose smallest p-value is at or below `false_discovery_rate`, most certain first. No row: nothing is
    told apart. No column: no application has both healthy and anomalous runs, and all features are kept.
    """
    from scipy import stats

    keys = ["job_id", "node_id", "app", "anomaly"]
    runs = windows.loc[windows.anomaly != "", [*keys, *features]].groupby(keys, observed=True).median()
    app, anomaly, x = runs.index.get_level_values("app"), runs.index.get_level_values("anomaly"), runs.to_numpy(float)
    pattern, patterns = np.unique(np.isnan(x), axis=1, return_inverse=True)      # features that the same runs lack are tested together
    p = {}
    for pair in sorted(set(zip(app, anomaly, strict=True)) - {(a, "none") for a in app}):
        mine, healthy = (app == pair[0]) & (anomaly == pair[1]), (app == pair[0]) & (anomaly == "none")
        column = np.full(len(features), np.nan)
        for lacking, these in ((pattern[:, i], patterns == i) for i in range(pattern.shape[1])):
            if (mine & ~lacking).any() and (healthy & ~lacking).any():
                column[these] = stats.mannwhitneyu(x[mine & ~lacking][:, these], x[healthy & ~lacking][:, these]).pvalue
        p[pair] = column
    table = pd.DataFrame(p, index=pd.Index(features, name="feature"), columns=pd.MultiIndex.from_tuples(p, names=["app", "anomaly"]) if p else None)
    tested = table.notna().to_numpy()
    if not tested.any():
        return table.iloc[:, :0]
    adjusted = table.to_numpy(copy=True)
    adjusted[tested] = stats.false_discovery_control(adjusted[tested])
    smallest = pd.Series(np.nanmin(np.where(tested, adjusted, 1), axis=1), table.index).sort_values(kind="stable")
    return pd.DataFrame(adjusted, table.index, table.columns).loc[smallest.index[smallest <= false_discovery_rate]]


# ---------------------------------------------------------------------------------------------------------------- Models

QUANTILES = (0.5, 0.9, 0.99)      # the typical case, the edge of the usual, the edge of the possible


def pinball(target, predicted, quantiles=QUANTILES, *, maximum=np.maximum):
    """Mean pinball loss over `quantiles` (Koenker & Bassett 1978): target (...,), predicted (..., Q) -> (...,).

    `maximum` is `keras.ops.maximum` where the same formula serves as a training loss.
    """
    error = target[..., None] - predicted
    return sum(maximum(q * error[..., i], (q - 1) * error[..., i]) for i, q in enumerate(quantiles)) / len(quantiles)


def load_skops(path):
    """The scikit-learn object, or list of them, stored at `path`.

    Beside what skops itself trusts, names of scikit-learn and the functools.partial that its boosting stores; UntrustedTypesFoundException
    of skops for any other, such as a function of the system that a foreign file would have called.
    """
    from skops.io import get_untrusted_types, load

    return load(path, trusted=[t for t in get_untrusted_types(file=path) if t.startswith("sklearn.") or t == "functools.partial"])


def temper(p, temperature):
    """Probabilities (n, classes) made less sure by a temperature above 1, surer by one below (Guo et al. 2017)."""
    p = np.maximum(p, 1e-6) ** (1 / temperature)
    return p / p.sum(axis=1, keepdims=True)


def usual_deviations(windows, usual):
    """Distance of every window from what is usual on its node, in usual spreads: (float32 (n, F), group (n,)); 0 where nothing is measured.

    usual : DataFrame [(group, when), feature] of medians: "" at any time; "0" to "47", a half hour of the day in UTC, for nodes without jobs, NaN
    where the time of day tells nothing; and "spread", the usual deviation from them. A node that is no group of its own belongs to "all". `windows`
    may lack features altogether.
    """
    group = windows.node_id.where(windows.node_id.isin(usual.index.levels[0]), "all").to_numpy(object)
    half_hour = (windows.end.dt.hour * 2 + windows.end.dt.minute // 30).astype(str).to_numpy(object)
    timed, plain, spread = (usual.reindex(pd.MultiIndex.from_arrays([group, np.broadcast_to(when, len(group))])).to_numpy()
                            for when in (half_hour, "", "spread"))
    z = (windows.reindex(columns=usual.columns).to_numpy() - np.where(np.isfinite(timed), timed, plain)) / spread
    return np.nan_to_num(z).astype("float32"), group


def health_scores(z, group, reference, network, neighbours=5, share=0.9):
    """Four distances from health: DataFrame [window, (distance, pca, neighbours, autoencoder)] of mean squares, higher = stranger.

    z, group : as `usual_deviations` gives them. reference : {group: z of healthy windows (m, F)}, from which the principal components that hold a
    `share` of the variance (SPE, Jackson & Mudholkar 1979) and the nearest `neighbours` (Ramaswamy, Rastogi & Shim 2000) are taken. network : a Keras
    model (B, G, F) -> the same, what it cannot rebuild in units of its usual error, with the groups in the order of `reference`.
    """
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    out = np.zeros((len(z), 4))
    rows = {g: np.flatnonzero(group == g) for g in reference}
    beside = np.stack([np.resize(r if len(r) else [0], max(map(len, rows.values()))) for r in rows.values()], axis=1)      # (m, G)
    errors = np.mean(network.predict(z[beside], batch_size=1024, verbose=0) ** 2, axis=2) if len(z) else np.zeros((0, len(rows)))
    for i, (g, mine) in enumerate(rows.items()):
        if len(mine):
            x, known = z[mine], reference[g]
            pca = PCA(share).fit(known)
            near = NearestNeighbors(n_neighbors=min(neighbours, len(known)), algorithm="brute").fit(known)
            residual = x - pca.inverse_transform(pca.transform(x))
            out[mine] = np.column_stack([np.mean(x**2, axis=1), np.mean(residual**2, axis=1),
                                         np.mean(near.kneighbors(x)[0] ** 2, axis=1) / x.shape[1], errors[:len(mine), i]])
    return pd.DataFrame(out, columns=["distance", "pca", "neighbours", "autoencoder"])


def smooth_runs(scores, windows, n):
    """Mean of the scores of `n` consecutive windows of one run, half of them ahead, which a report on a whole day may use.

    scores : DataFrame with a row per row of `windows`, which is sorted by node_id and start.
    """
    rolled = scores.reset_index(drop=True).groupby([windows.node_id.to_numpy(), windows.job_id.to_numpy()]).rolling(n, min_periods=1, center=True)
    return rolled.mean().droplevel([0, 1]).sort_index()


def load_detector(folder):
    """What 3_train stored in `folder`: detector.json as attributes, with usual, units, reference, network and, where there are labels, classifier."""
    import keras

    told = json.loads((folder / "detector.json").read_text())
    reference = pd.read_parquet(folder / "reference.parquet").groupby("detector")
    return SimpleNamespace(**told, usual=pd.read_parquet(folder / "usual.parquet").set_index(["detector", "when"]),
                           units=pd.read_parquet(folder / "units.parquet").set_index("detector"),
                           network=keras.models.load_model(folder / "network.keras"),
                           reference={name: reference.get_group(name)[told["inputs"]].to_numpy() for name in told["detectors"]},
                           classifier=load_skops(folder / "classifier.skops") if told["classes"] else None)


def in_units(scores, group, units):
    """Logarithms of `health_scores` in units of the median healthy one of each detector, and `together`: of the mean of the three that learn.

    Finite: below a millionth, such as the distance 0 of a window that measures nothing, a score counts as one.
    """
    scaled = (scores[units.columns] / units.clip(lower=1e-12).reindex(group).set_index(scores.index)).clip(lower=1e-6)
    return np.log(scaled.assign(together=scaled[["pca", "neighbours", "autoencoder"]].mean(axis=1)))


def node_tests(windows, detector):
    """Statistics of windows, sorted by node_id and start: `health`, `classifier` (log odds of not being healthy), "p <class>" and each distance."""
    z, group = usual_deviations(windows, detector.usual)
    tests = in_units(smooth_runs(health_scores(z, group, detector.reference, detector.network), windows, detector.smoothing), group, detector.units)
    tests.insert(0, "health", tests[detector.in_use])
    if not detector.classes:
        return tests
    p = np.zeros((len(windows), len(detector.classes)))
    if len(windows):
        p = temper(detector.classifier.predict_proba(windows.reindex(columns=detector.features).to_numpy()), detector.temperature)
    healthy = p[:, detector.classes.index("none")]
    tests.insert(0, "classifier", np.log((1 - healthy) / healthy))
    return tests.join(pd.DataFrame(p, columns=[f"p {name}" for name in detector.classes]))


def table_key(frame, keys):
    """One text key per row from the columns `keys` (no keys: the empty text)."""
    first, *others = [frame[key].astype(str) for key in keys] or [pd.Series("", index=frame.index)]
    return first.str.cat(others, sep="|")


def predict_quantiles(path, frame, numbers, codes, *, warmup=0, length=512, batch=32):
    """Quantiles of the log target predicted by the stored model `path`: float (n, 3), increasing along the last axis.

    The suffix says how: .json a quantile table over columns of `frame`; .skops one scikit-learn regressor per quantile over [numbers,
    codes], by `load_skops`; .keras a sequence network. No rows: an empty array.
    """
    if not len(frame):
        return np.empty((0, len(QUANTILES)))
    if path.suffix == ".json":
        out = np.full((len(frame), len(QUANTILES)), np.nan)
        for table in json.loads(path.read_text()):
            found = table_key(frame, table["keys"]).map(table["quantiles"])
            fill = np.isnan(out[:, 0]) & found.notna().to_numpy()
            out[fill] = found[fill].tolist() or out[fill]
    elif path.suffix == ".skops":
        table = np.hstack([numbers, np.where(codes < 250, codes, 0)])     # gradient boosting takes 255 categories per column at most
        out = np.column_stack([model.predict(table) for model in load_skops(path)])
    else:
        import keras

        zeros = np.zeros(len(frame), "float32")
        chunks = chunk_batches(numbers, codes, zeros, zeros, warmup=warmup, length=length, batch=batch)
        out = keras.saving.load_model(path, compile=False).predict(chunks, verbose=0)[:, warmup:]
        out = out.reshape(-1, len(QUANTILES))[:len(frame)]
    return np.sort(out, axis=1)


# ------------------------------------------------------------------------------------------------- Scores and thresholds


def standard_score(target, predicted):
    """Distance of `target` (n,) above the predicted median, in predicted spreads (q90 - q50): float (n,), higher = stranger.

    predicted (n, 3) as `predict_quantiles` gives it. Spreads under 0.1 (a tenth in log duration) count as 0.1.
    """
    return (target - predicted[:, 0]) / np.maximum(predicted[:, 1] - predicted[:, 0], 0.1)


def p_values(scores, calibration, groups=None, calibration_groups=None, *, min_calibration=100):
    """Conformal p-value of each score: (1 + number of calibration scores at or above) / (n + 1), in (0, 1].

    scores (n,), higher = stranger; calibration (m,), scores of items that the model did not train on. With `groups` (n,) and
    `calibration_groups` (m,) a group with at least `min_calibration` calibration scores is judged by its own, the others
    by all. ValueError when there is no calibration score or a score is not finite. Method: Vovk 2012, conditional validity.
    """
    scores, calibration = np.asarray(scores, float), np.asarray(calibration, float)
    if not len(calibration) or not (np.isfinite(scores).all() and np.isfinite(calibration).all()):
        raise ValueError("p_values: needs at least one calibration score, and finite scores only")

    def against(sample, values):
        return (1 + len(sample) - np.searchsorted(np.sort(sample), values, side="left")) / (len(sample) + 1)

    p = against(calibration, scores)
    if groups is not None:
        rows, samples = (pd.Series(np.asarray(g, str)).groupby(np.asarray(g, str)).indices for g in (groups, calibration_groups))
        for group in [g for g in rows if len(samples.get(g, ())) >= min_calibration]:
            p[rows[group]] = against(calibration[samples[group]], scores[rows[group]])
    return p


FOREST_INPUTS = ["level_8", "level_26", "change", "trend", "weeks_silent", "jobs", "job_length", "cores_per_job", "efficiency"]


def forest_inputs(features, rows):
    """Inputs of the IsolationForest, float (n, 9): FOREST_INPUTS of the weeks `rows` (bool (S, W)); unknown is 0, the usual, and 8 the most."""
    return np.column_stack([np.clip(np.nan_to_num(features[name][rows]), -8, 8) for name in FOREST_INPUTS])


REGULAR = 0.68      # `share` of a series that was active in 21 of 26 weeks, or in 10 of 10


def change_tests(features, rows, forest):
    """One-sided statistics of the weeks `rows` (bool (S, W)): a frame with one column per kind of change, 0 where there is none.

    features : as `series_features` gives them. A regular series that was active in the week before and now is not is `silent`, by how regular it was;
    one that is back after four silent weeks or more is `returned`, by how regular it had been; `drop` and `surge` need both trailing levels to
    agree, so that a slow drift is no alarm; `efficiency_drop`, `longer_jobs`, `more_jobs` are distances in robust standard deviations;
    `unusual` is the IsolationForest's anomaly score (Liu, Ting & Zhou 2008). `robust_z` and `season` are the trivial baselines.
    """
    f = {name: np.nan_to_num(x[rows]) for name, x in features.items()}
    active, steady = f["active"] > 0, np.isfinite(features["active"][rows]) & (features["silent_before"][rows] == 0)
    agree = f["level_8"] * f["level_26"] > 0
    level = np.sign(f["level_26"]) * np.minimum(np.abs(f["level_8"]), np.abs(f["level_26"])) * agree * steady
    had_been = np.clip((f["weeks_active"] + 8 * 0.3) / (np.maximum(f["weeks_known"] - f["silent_before"], 0) + 8), 0, 1)
    regular = f["share"] + 0.02 * f["usual_jobs"] / (f["usual_jobs"] + 10)      # of two equally regular series, few jobs end by chance
    tests = {"silent": regular * (steady & ~active & (f["share"] > REGULAR)),
             "returned": had_been * (active & (f["silent_before"] >= 4) & (had_been > REGULAR)),
             "drop": -level, "surge": level, "efficiency_drop": -f["efficiency"] * steady, "longer_jobs": f["job_length"] * steady,
             "more_jobs": np.minimum(f["jobs"], -f["job_length"]) * steady,
             "unusual": -forest.score_samples(forest_inputs(features, rows)) if rows.any() else np.zeros(0),
             "robust_z": np.abs(f["zero_level"]), "season": np.abs(f["season"])}
    return pd.DataFrame({kind: np.maximum(x, 0) for kind, x in tests.items()})


def combine_tests(tests, calibration, weights):
    """Score (n,) of items under several tests, and the name of each item's strongest test: log(weight / p-value), the largest.

    tests, calibration : frames of n and of m items with a column per test, higher = stranger. weights : {name: share of the alarms}, summing to 1: a
    weighted Bonferroni rule (Genovese, Roeder & Wasserman 2006) whose score is calibrated again by `p_values`, so that alarms
    which one test does not use go to the others. Ties beyond all calibration are broken by the statistic itself. The calibration's own
    scores come from passing it as `tests` too.
    """
    itself = 1 / (len(calibration) + 1) if tests is calibration else 0.0      # an item of the calibration has been counted among it already
    evidence = np.stack([np.log(weight / (p_values(tests[name], calibration[name]) - itself)) + 1e-3 * np.log1p(np.maximum(tests[name], 0))
                         for name, weight in weights.items()])
    return evidence.max(axis=0), np.array(list(weights), object)[evidence.argmax(axis=0)]


def judge_tests(tests, calibration, weights):
    """(score, p-value, name of the strongest test), each (n,), of the rows of `tests`: `combine_tests`, ranked again among the `calibration`.

    Arguments and errors as those of `combine_tests`; no row gives empty arrays.
    """
    score, strongest = combine_tests(tests, calibration, weights)
    return score, p_values(score, combine_tests(calibration, calibration, weights)[0]), strongest


def confusion_rates(counts, classes):
    """Figures of a confusion matrix (truth, predicted) in the order of `classes`, "none" among them; NaN where a class has no window.

    Returns macro_f1; false_alarms, the share of healthy windows given a kind; misses, that of troubled ones called healthy; "f1 <class>".
    """
    counts, healthy = np.asarray(counts, float), classes.index("none")
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * np.diagonal(counts) / (counts.sum(axis=0) + counts.sum(axis=1))
        f1 = np.where(counts.sum(axis=1) > 0, f1, np.nan)
        troubled = np.delete(counts, healthy, axis=0)
        rates = {"macro_f1": np.nanmean(f1), "false_alarms": 1 - counts[healthy, healthy] / counts[healthy].sum(),
                 "misses": troubled[:, healthy].sum() / troubled.sum()}
    return {name: float(rate) for name, rate in (rates | {f"f1 {c}": f for c, f in zip(classes, f1, strict=True)}).items()}


def score_limit(calibration, alarm_rate):
    """Limit above which a score has a p-value at or below `alarm_rate`; inf when there are too few calibration scores."""
    k = int(np.floor(alarm_rate * (len(calibration) + 1)))      # above the k-th highest there are at most k - 1
    return float(np.sort(calibration)[-k]) if k else float("inf")


def skill_interval(model_loss, baseline_loss, time, *, rng, resamples=1000):
    """(skill, low, high): 1 - mean model loss / mean baseline loss on the same rows, with a block bootstrap 95% interval.

    time (n,) : datetimes of the rows. Rows of one stretch of six hours (of a twentieth of the whole span, if that is less) are drawn
    together, since they share their luck (Kuensch 1989). ValueError when all rows fall into one stretch: there is no interval.
    """
    time = pd.DatetimeIndex(time)
    stretch = min(pd.Timedelta("6h"), max((time.max() - time.min()) / 20, pd.Timedelta("1s")))
    sums = pd.DataFrame({"model": np.asarray(model_loss), "baseline": np.asarray(baseline_loss)}).groupby((time - time.min()) // stretch).sum()
    if len(sums) < 2:
        raise ValueError("skill_interval: all rows fall into one stretch of time")
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples) @ sums.to_numpy()
    return float(1 - sums.model.sum() / sums.baseline.sum()), *map(float, np.quantile(1 - drawn[:, 0] / drawn[:, 1], [0.025, 0.975]))


def mean_recall(found, kind, unit, *, rng, resamples=1000):
    """Mean over the kinds of the share found, per method: (as it is, float (methods,); with units drawn anew, frame [resample, method]).

    found : DataFrame [trial, method] of bool or of 0..1. kind, unit : (n,), the trouble of each trial and the series that it hit; all
    trials of a unit are drawn together, since they share its luck. A kind that a resample does not hold is left out of its mean.
    ValueError when there is no trial.
    """
    if not len(found):
        raise ValueError("mean_recall: no trial")
    kinds = pd.get_dummies(np.asarray(kind)).to_numpy(float)      # (trials, kinds)
    at, units = pd.factorize(np.asarray(unit))
    drawn = np.vstack([np.ones(len(units)), rng.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)])[:, at]
    hits = drawn @ (kinds[:, :, None] * found.to_numpy(float)[:, None, :]).reshape(len(found), -1)
    with np.errstate(invalid="ignore"):
        means = np.nanmean(hits.reshape(resamples + 1, kinds.shape[1], -1) / (drawn @ kinds)[:, :, None], axis=1)
    return pd.Series(means[0], found.columns), pd.DataFrame(means[1:], columns=found.columns)


# -------------------------------------------------------------------------------------------------------------- Findings


SCAN_COLUMNS = ["entity_kind", "entity", "start", "end", "items", "flagged", "expected", "score", "p_value"]
SCAN_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)      # bins; what lies between two widths is found by the next smaller one


def scan_incidents(items, entities, *, clump, bin_hours=3, level=1.0):
    """Merge flagged items into incidents by a greedy space-time scan (Kulldorff 2001), most surprising first.

    items : DataFrame with `time` (datetime), `flagged` (bool), `expected` (chance of a flag on a normal night) and one column per
    name in `entities`. Every entity x run of bins is compared with its expectation; the strongest is taken, its items are
    removed, and the rest is searched again, so that a slow destination is not reported once per link. Items of one `clump` (a
    column) in one hour share their luck: m of them count as m / (1 + (m - 1) r), with r = 1 in a first search and the
    intraclass correlation of what that leaves in a second one (Kish 1965). No item flagged: no row. Returns one row per incident:
    entity_kind, entity, start, end (first, last flagged item), items, flagged, expected (counts), score (log-likelihood ratio less the log
    of the windows searched), p_value (binomial tail times the windows searched; where it passes `level`, the search ends).
    """
    items = items.reset_index(drop=True)
    if not items.flagged.any():
        return pd.DataFrame(columns=SCAN_COLUMNS)
    bins = ((items.time - items.time.min()) // pd.Timedelta(hours=bin_hours)).to_numpy()
    together = items.groupby([items[clump].astype(str), items.time.dt.floor("h")]).flagged
    size, mean = together.transform("size").to_numpy(), together.transform("mean").to_numpy()
    codes = {kind: pd.factorize(items[kind], use_na_sentinel=False) for kind in entities}      # a missing name is a name too
    several = _scan(items, codes, bins, 1 / size, level)[1] & (size > 1)
    flagged, m, correlation = items.flagged[several], size[several], 1.0
    if flagged.any():       # Fisher's intraclass correlation, from mean squares within and overall
        correlation = np.clip(1 - np.mean((flagged - mean[several]) ** 2 * m / (m - 1)) / flagged.var(), 0, 1)
    return _scan(items, codes, bins, 1 / (1 + (size - 1) * correlation), level)[0]


def _scan(items, codes, bins, weight, level):
    """One greedy search with the given item weights: (incidents as a frame, bool (n,) of the items outside all of them)."""
    flagged, expected, rows = items.flagged.to_numpy(), items.expected.to_numpy(float), []
    alive, end = np.ones(len(items), bool), bins.max() + 2
    while flagged[alive].any():
        best = (0.0,)
        for kind, (code, names) in codes.items():
            at = code[alive] * end + bins[alive] + 1
            k, m, n = (np.bincount(at, (weight * x)[alive], len(names) * end).reshape(-1, end).cumsum(axis=1) for x in (flagged, expected, 1))
            widths = [w for w in SCAN_WIDTHS if w < end]
            searched = len(codes) * sum(int((n[:, w:] - n[:, :-w] > 1e-6).sum()) for w in widths)      # each kind gets its share of `level`
            for w in widths:
                a, mu = np.floor(k[:, w:] - k[:, :-w] + 1e-6), np.maximum(m[:, w:] - m[:, :-w], 1e-9)
                with np.errstate(divide="ignore", invalid="ignore"):
                    gain = np.where(a > mu, a * np.log(a / mu) - (a - mu), 0) - np.log(searched)
                e, b = np.unravel_index(np.argmax(gain), gain.shape)
                if gain[e, b] > best[0]:
                    best = gain[e, b], kind, e, b, b + w, a[e, b], mu[e, b], (n[:, w:] - n[:, :-w])[e, b], searched
        if len(best) == 1:
            break
        score, kind, entity, low, high, a, mu, size, searched = best
        p = float(special.bdtrc(a - 1, int(np.ceil(size - 1e-6)), min(mu / size, 1))) * searched
        if not p <= level:
            break
        mine = alive & (codes[kind][0] == entity) & (bins >= low) & (bins < high)
        first, last = items.time[mine & flagged].agg(["min", "max"])
        mine &= items.time.between(first, last)
        rows.append([kind, codes[kind][1][entity], first, last, int(mine.sum()), int(flagged[mine].sum()),
                     float(expected[mine].sum()), float(score), max(p, 1e-300)])
        alive &= ~mine
    return pd.DataFrame(rows, columns=SCAN_COLUMNS), alive


FINDING_COLUMNS = ["study", "kind", "entity", "site", "start", "end", "score", "p_value", "observed", "expected", "unit", "evidence", "figure"]

# ---------------------------------------------------------------------------------------------------------- Plots


def show_figure(ax, path, title, xlabel, ylabel):
    """Finish `ax` (title = the claim, axes with quantity and unit), save its figure to `path`, show it with the claim as alt text.

    `ax` may be an array of axes, small multiples: the title and the labels are then those of the whole figure.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image, display

    figure = np.ravel(ax)[0].figure
    if isinstance(ax, np.ndarray):
        figure.suptitle(title, x=0.01, ha="left", wrap=True, parse_math=False)
        figure.supxlabel(xlabel, fontsize="medium")
        figure.supylabel(ylabel, fontsize="medium")
    else:
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_title(title, loc="left", wrap=True, parse_math=False)      # a $ in a name is a $
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")
    plt.close(figure)
    display(Image(path.read_bytes(), alt=title))


# --------------------------------------------------------------------------------------------------------------- Records


def escape(value):
    """`value` as text that neither Markdown nor HTML reads as markup."""
    text = html.escape(" ".join(str(value).split()))
    return "".join(f"&#{ord(c)};" if c in "\\`*_{}[]()#+!|~$" else c for c in text)


def say(sentence, **values):
    """Show one sentence of Markdown; every value is escaped, so a hostile name stays a name."""
    from IPython.display import Markdown, display

    display(Markdown(sentence.format(**{k: v if isinstance(v, numbers.Number) else escape(v) for k, v in values.items()})))


def show_table(frame, formats=None):
    """Show `frame` without its index; names are escaped, `formats` maps a column to a format such as "{:.1%}"."""
    from IPython.display import HTML, display

    display(HTML(frame.to_html(index=False, border=0, na_rep="", formatters={column: text.format for column, text in (formats or {}).items()})))


def record_metrics(path, *, study, day, models, **more):
    """Write metrics.json (DESIGN's contract); ValueError when a model lacks a key or holds a number that is not finite."""
    keys = {"name", "metric", "model", "baseline_name", "baseline", "skill", "skill_low", "skill_high", "n_train", "n_test",
            "split", "alarm_rate_stated", "alarm_rate_observed", "in_use"}
    for model in models:
        if lacking := keys - model.keys():
            raise ValueError(f"metrics of {study}: {model.get('name')} lacks {sorted(lacking)}")
    write_json({"study": study, "day": day, "git": git_revision(), "models": models, **more}, path)


def git_revision():
    """Short revision of the code that runs, "+" when files differ from it; "unknown" outside a git checkout."""
    run = subprocess.run(["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.strip() or "unknown"
