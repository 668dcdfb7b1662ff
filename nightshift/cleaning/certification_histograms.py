"""Histograms of lumisections: seven numbers of each, what cannot be one, and several of one lumisection."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHARES = {"q10": 0.1, "q30": 0.3, "q50": 0.5, "q70": 0.7, "q90": 0.9}
SEVEN = [*SHARES, "mean", "rms"]
BATCH = 20_000  # histograms that are read at once


def seven_numbers(counts, x_min, x_max):
    """Compute SEVEN numbers of each histogram, in the unit of its axis: float64 (n, 7), NaN for one without
    counts.

    counts : float (n, bins), finite, not negative. x_min, x_max : float (n,), ends of the axis. A quantile is
    interpolated linearly inside its bin; between two bins that share out the counts exactly, it is the end of
    the first. Mean and rms (ROOT's name of the standard deviation) take all counts at the centres of their
    bins.
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN, which is meant
        part = counts / counts.sum(axis=1, keepdims=True)
    reached, centre, each = np.cumsum(part, axis=1), np.arange(counts.shape[1]) + 0.5, np.arange(len(counts))
    out = np.empty((len(counts), len(SEVEN)))
    for k, q in enumerate(SHARES.values()):
        # the first bin that reaches q; what rounding lacks (below 1e-13) must not move it on
        at = (reached < q - 1e-9).sum(axis=1)
        out[:, k] = at + np.clip(1 - (reached[each, at] - q) / part[each, at], 0, 1)
    # not part @ centre, whose last digit depends on the neighbours in the batch
    out[:, 5] = (part * centre).sum(axis=1)
    out[:, 6] = np.sqrt((part * (centre - out[:, 5:6]) ** 2).sum(axis=1))
    width = (x_max - x_min) / counts.shape[1]
    # a spread does not move with its axis
    return out * width[:, None] + np.where(np.arange(len(SEVEN)) < 6, x_min[:, None], 0)


def fingerprints(counts):
    """Compute a number, uint64 (n,), for each row of counts, float (n, bins): equal rows have equal ones,
    others but for a chance of 1 in 2**60.
    """
    weights = np.random.default_rng(0).integers(2**63, size=counts.shape[1], dtype="uint64") * 2 + 1
    bits = np.ascontiguousarray(counts + 0.0).view("uint64")  # + 0.0 turns -0.0 into 0.0
    mixed = (bits ^ (bits >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed ^ (mixed >> np.uint64(32))) * weights).sum(axis=1, dtype="uint64")


IMPOSSIBLE = ["", "no bins", "NaN or infinite contents", "negative contents"]


def describe(batch):
    """Describe a batch of `histograms.parquet` without its bins: an Arrow table of its other columns, bins,
    bad (index in IMPOSSIBLE), counts, fingerprint and SEVEN. Where the source has no versions, the version is
    "".
    """
    bins = pc.fill_null(pc.list_value_length(batch["contents"]), 0).to_numpy(zero_copy_only=False)
    flat, first = batch["contents"].flatten().to_numpy(zero_copy_only=False), np.cumsum(bins) - bins
    bad, total, numbers = (
        np.where(bins == 0, 1, 0),
        np.zeros(len(bins)),
        np.full((len(bins), len(SEVEN)), np.nan, "float32"),
    )
    x_min, x_max = (batch[name].to_numpy(zero_copy_only=False).astype(float) for name in ("x_min", "x_max"))
    fingerprint = np.zeros(len(bins), "uint64")
    for n in np.unique(bins[bins > 0]):
        alike = np.flatnonzero(bins == n)
        counts = flat[first[alike][:, None] + np.arange(n)]  # (histograms, bins)
        with np.errstate(invalid="ignore", over="ignore"):
            total[alike] = counts.sum(axis=1)
        fingerprint[alike] = fingerprints(counts)
        bad[alike] = np.select([~np.isfinite(total[alike]), (counts < 0).any(axis=1)], [2, 3], 0)
        fine = alike[bad[alike] == 0]
        # an axis may have no length: `reject_histograms` rejects it later
        with np.errstate(invalid="ignore", over="ignore"):
            numbers[fine] = seven_numbers(counts[bad[alike] == 0], x_min[fine], x_max[fine])
    texts = {name: batch[name].cast(pa.string()) for name in ("dataset", "element")}
    texts["version"] = (
        batch["version"].cast(pa.string()) if "version" in batch.schema.names else pa.array([""] * len(bins))
    )
    names = {name: text.dictionary_encode() for name, text in texts.items()}
    others = {name: batch[name] for name in ("run", "lumisection", "entries", "x_min", "x_max")}
    added = {
        "bins": bins.astype("int32"),
        "bad": bad.astype("int8"),
        "counts": total,
        "fingerprint": fingerprint,
    }
    return pa.table(names | others | added | dict(zip(SEVEN, numbers.T, strict=True)))


COUNTS, COPY, OLDER, DIFFERS = range(4)


def describe_table(path, columns):
    """Describe the histograms of a table without their bins: DataFrame, the rows of `describe`.

    path : of a Parquet file, or of a folder of them, whose names give their order. columns : those that are
    read; version, too, where there is one. The bins of a year do not fit into memory, so that they are read
    in batches. A table without rows gives an empty frame.
    """
    batches = []
    for part in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        source = pq.ParquetFile(part)
        wanted = [*columns, *(["version"] if "version" in source.schema_arrow.names else [])]
        batches += [describe(batch) for batch in source.iter_batches(BATCH, columns=wanted)]
    if not batches:
        batches = [describe(pa.RecordBatch.from_pylist([], source.schema_arrow))]
    return pa.concat_tables(batches).unify_dictionaries().to_pandas(self_destruct=True)


def version_ranks(versions):
    """Find (stem, rank) of versions, a Series of text: those of one stem differ in nothing but numbers, and a
    higher one has a higher rank.
    """
    order = sorted(versions.unique(), key=lambda text: [int(number) for number in re.findall(r"\d+", text)])
    return versions.str.replace(r"\d+", "#", regex=True), versions.map(
        {version: rank for rank, version in enumerate(order)}
    )


def find_copies(rows):
    """Decide which of several histograms of one item counts: int (n,), COUNTS, COPY of an earlier one, OLDER
    version of another, or DIFFERS.

    rows : DataFrame item (what is described), fingerprint, entries, version, in the order of the source. Of
    histograms that differ the highest version counts, where versions differ in nothing but numbers (V0001 and
    V0002); else nobody can say which is right, and none counts.
    """
    out = np.full(len(rows), COUNTS)
    several = rows.item.duplicated(keep=False).to_numpy()
    if not several.any():
        return out
    part = rows[several].reset_index(drop=True)
    part["content"] = part.groupby(["fingerprint", "entries"], dropna=False).ngroup()
    part["version"] = part.version.astype("str").fillna("")
    part["stem"], part["rank"] = version_ranks(part.version)

    def n_different(column, frame=part):
        return frame.groupby("item")[column].transform("nunique").to_numpy()

    differ = n_different("content") > 1
    ranked = differ & (n_different("stem") == 1) & (n_different("version") > 1)
    older = ranked & (part["rank"] < part.groupby("item")["rank"].transform("max")).to_numpy()
    rest = part[~older]
    state = np.where(older, OLDER, COUNTS)
    state[~older] = np.where(
        n_different("content", rest) > 1, DIFFERS, np.where(rest.item.duplicated(), COPY, COUNTS)
    )
    out[several] = state
    return out


def merge_rows(values, item):
    """Merge, as (state of each row, values of the items), rows of a wide table that describe one item, as far
    as they agree.

    values : float (n, F), NaN is missing; item (n,). A row that adds no value to those before it is a COPY;
    where two have other values, nobody can say which is right: both DIFFERS. The values are a DataFrame
    [item] of those that COUNT together.
    """
    frame, item = pd.DataFrame(values), pd.Series(np.asarray(item), name="item")
    by_item = frame.groupby(item)
    low, high = by_item.min(), by_item.max()
    apart = (high - low > 1e-9 * np.maximum(high.abs(), low.abs())).any(axis=1)
    there = frame.notna()
    adds = (there & (there.astype(int).groupby(item).cumsum() == 1)).any(axis=1) | ~item.duplicated()
    state = np.where(item.map(apart).astype(bool), DIFFERS, np.where(adds, COUNTS, COPY))
    return state, by_item.first()[~apart]
