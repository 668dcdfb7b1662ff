"""The clean table of the certification study: one row per dataset, run and lumisection.

Raw         whether the tables of the extraction are there             check_raw
Elements    which histograms are used, and from how many entries on    read_lists, list_pairs
Labels      good, trivial, expert; parts and folds of runs             label_of, split_runs, with_gaps
Reasons     why a histogram or a row is not used                       reject_histograms, reject_rows
Features    numbers of the table, which rows are measured, ranges      fill_features, fill_columns, ...
"""

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from helpers import project_path
from nightshift.cleaning.certification_histograms import IMPOSSIBLE, SEVEN, find_copies, merge_rows
from nightshift.statistics import robust_spread
from nightshift.yaml_files import load_yaml

KEYS = ["dataset", "run", "lumisection"]
BINNING = ["bins", "x_min", "x_max"]
REASONS = [
    *IMPOSSIBLE,
    "empty x range",
    "after the window",
    "other binning than most of the element",
    "same histogram again",
    "older version of the histogram",
    "differs from another of the same lumisection",
]
EMPTY_RANGE, LATE, BINNED, COPIED = range(len(IMPOSSIBLE), len(IMPOSSIBLE) + 4)  # indices in REASONS
ROW_REASONS = [
    "",
    "after the window",
    "infinite value",
    "same lumisection again",
    "",
    "differs from another of the same lumisection",
]

# -------------------------------------------------------------------------------------------------------- raw


def check_raw(folder, columns):
    """Check that the raw tables of a night are there: AssertionError names the first file or columns that
    are missing.

    columns : {name of a table: its columns}.
    """
    for name, needed in columns.items():
        file = folder / f"{name}.parquet"
        assert file.exists(), f"{folder} holds no {name}.parquet: run 1_extract first"
        lacking = [column for column in needed if column not in ds.dataset(file).schema.names]
        assert not lacking, f"{file} lacks the columns {', '.join(lacking)}: run 1_extract again"


# --------------------------------------------------------------------------------------------------- elements


def read_lists(path):
    """Read {dataset: {element: least entries}} from a YAML file; an empty path gives {}.

    ValueError of one line when it holds anything else.
    """
    lists = load_yaml(project_path(path), path) if path else {}
    is_map = isinstance(lists, dict) and all(isinstance(of, dict) and of for of in lists.values())
    if not is_map or (path and not lists):
        raise ValueError(
            f"{path} must map each dataset to its elements, such as {{ZeroBias: {{Tracker/hit_eta: 100}}}}"
        )
    for dataset, elements in lists.items():
        for element, least in elements.items():
            is_number = isinstance(least, int | float) and not isinstance(least, bool)
            if not is_number or not 0 <= least < float("inf"):
                raise ValueError(f"{path}: {dataset}, {element}: {least!r} is no least number of entries")
    return lists


def list_pairs(raw, lists, *, min_entries):
    """Number the pairs of dataset and element: (number of each histogram, int (n,); DataFrame [pair] dataset,
    element, min_entries, NaN where the pair is in no list).

    raw : DataFrame dataset, element. lists : as `read_lists` gives them; without any, every pair has
    `min_entries`.
    """
    number = raw.groupby(["dataset", "element"], observed=True).ngroup().to_numpy()
    pairs = raw[["dataset", "element"]].assign(pair=number).drop_duplicates("pair")
    pairs = pairs.set_index("pair").sort_index().astype("str")
    least = [min_entries] * len(pairs)
    if lists:
        names = zip(pairs.dataset, pairs.element, strict=True)
        least = [lists.get(dataset, {}).get(element, np.nan) for dataset, element in names]
    return number, pairs.assign(min_entries=np.array(least, float))


# ----------------------------------------------------------------------------------------------------- labels


def label_of(dcs, golden):
    """Make labels, array (n,), of flags (nullable boolean Series): "trivial" where the detector control bits
    fail, "good" where it is golden, "expert" where it passes and is not, "" where nobody has said it.
    """
    failing, passing = (dcs.eq(flag).fillna(False) for flag in (False, True))
    good, refused = (golden.eq(flag).fillna(False) for flag in (True, False))
    return np.select([failing, good, refused & passing], ["trivial", "good", "expert"], "")


def split_runs(runs, *, test_share, validation_share, folds):
    """Split the runs (DataFrame run, time, fill), in order, of time where all have one and of number
    otherwise, with part and fold (-1 in the test).

    test_share : of the runs, the newest. validation_share : of the others, spread evenly. folds : into so
    many are whole fills dealt, or runs, where the source does not tell as many fills.
    """
    runs = runs.sort_values("run" if runs.time.isna().any() else ["time", "run"], ignore_index=True)
    learned = len(runs) - max(min(max(round(test_share * len(runs)), 1), len(runs) - 1), 0)
    watched = max(min(max(round(validation_share * learned), 1), learned - 1), 0)
    part = np.repeat(["train", "test"], [learned, len(runs) - learned]).astype(object)
    part[((np.arange(watched) + 0.5) * learned / max(watched, 1)).astype(int)] = "validation"
    fill = pd.factorize(runs.fill[:learned])[0] if runs.fill[:learned].notna().all() else np.zeros(learned)
    group = fill if len(set(fill)) >= folds else np.arange(learned)
    return runs.assign(
        part=part, fold=np.append(group % folds, np.full(len(runs) - learned, -1)).astype("int64")
    )


def with_gaps(seen, lumisections):
    """List the lumisections of each dataset, and each other one of the same run that is known of: DataFrame
    dataset, run, lumisection, seen, sorted. One that is missing must be a row, or nobody will miss it.

    seen : DataFrame dataset, run, lumisection of which there is a histogram or a row. lumisections :
    DataFrame run, lumisection.
    """
    gaps = seen[["dataset", "run"]].drop_duplicates().merge(lumisections, on="run")
    rows = pd.concat([seen.assign(seen=True), gaps.assign(seen=False)])
    return rows.drop_duplicates(KEYS).sort_values(KEYS, ignore_index=True)


# ---------------------------------------------------------------------------------------------------- reasons


def usual_binning(histograms, train):
    """Find the binning that most histograms of a pair have in good lumisections of training runs, or, where
    there is none of these, of all: DataFrame [pair] bins, x_min, x_max.

    histograms : DataFrame pair, bins, x_min, x_max. train : bool (n,).
    """
    by_binning = histograms.assign(train=train).groupby(["pair", *BINNING], as_index=False).train
    usual = by_binning.agg(train="sum", others="size")
    usual["others"] = usual.others.where(usual.train == 0, 0)
    usual = usual.sort_values(["train", "others", *BINNING], ascending=False)
    return usual.drop_duplicates("pair").set_index("pair")[BINNING]


def reject_histograms(histograms, place, *, good_train, n_pairs):
    """Say why each histogram is not used: (int (n,), index in REASONS, 0 for none; usual binning, DataFrame
    [pair] with n_pairs rows). The first reason that holds is given.

    histograms : DataFrame pair, bad (index in IMPOSSIBLE), bins, x_min, x_max, fingerprint, entries, version.
    place : int (n,), its row of the clean table, -1 for none. good_train : bool (rows,), what may be learned
    from.
    """
    why, length = histograms.bad.to_numpy().copy(), (histograms.x_max - histograms.x_min).to_numpy()
    why[(why == 0) & ~(np.isfinite(length) & (length > 0))] = EMPTY_RANGE
    why[(why == 0) & (place < 0)] = LATE
    pair = histograms.pair.to_numpy()
    usual = usual_binning(histograms.loc[why == 0, ["pair", *BINNING]], good_train[place[why == 0]])
    usual = usual.reindex(pd.RangeIndex(n_pairs, name="pair"))
    for name in BINNING:
        why[(why == 0) & (histograms[name].to_numpy() != usual[name].to_numpy()[pair])] = BINNED
    possible = np.flatnonzero(why == 0)
    item = pair[possible] * len(good_train) + place[possible]
    rows = histograms.iloc[possible][["fingerprint", "entries", "version"]].assign(item=item)
    copies = find_copies(rows)
    why[possible] = np.where(copies > 0, COPIED - 1 + copies, 0)
    return why, usual


def reject_rows(values, place):
    """Say why each row of a wide table is not used: (int (n,), index in ROW_REASONS, 0 for none; values of
    the rows that agree, DataFrame [place]).

    values : float (n, F), NaN is missing. place : int (n,), its row of the clean table, -1 for none.
    """
    infinite = (np.abs(values) > np.finfo("float32").max).any(axis=1)  # NaN, which is missing, is not above
    why = np.select([place < 0, infinite], [1, 2], 0)
    fine = np.flatnonzero(why == 0)
    copies, merged = merge_rows(values[fine], place[fine])
    why[fine] = np.where(copies > 0, 2 + copies, 0)
    return why, merged


# --------------------------------------------------------------------------------------------------- features


def fill_features(histograms, place, *, enough, pairs, n_rows):
    """Place seven numbers of each element in the rows of the clean table: ({feature: float32 (n_rows,)}, NaN
    where there is none; {dataset: {element: its features}}).

    histograms : DataFrame pair and SEVEN. place : int (n,), its row of the clean table. enough : bool (n,),
    those that are used and have enough entries. pairs : DataFrame [pair] dataset, element, of all that are
    listed.
    """
    features, elements, pair = {}, {}, histograms.pair.to_numpy()
    for element, of_it in pairs.groupby("element"):
        subset = np.flatnonzero(enough & np.isin(pair, of_it.index))
        for name in SEVEN:
            column = features[f"{element}|{name}"] = np.full(n_rows, np.nan, "float32")
            column[place[subset]] = histograms[name].to_numpy()[subset]
        for dataset in of_it.dataset:
            elements.setdefault(dataset, {})[element] = [f"{element}|{name}" for name in SEVEN]
    return features, elements


def fill_columns(merged, columns, *, n_rows):
    """Place columns of a wide table as features: {feature: float32 (n_rows,)}, NaN where there is none.

    merged : DataFrame [place], a column for each of `columns`, as `reject_rows` gives it.
    """
    features = {}
    for number, column in enumerate(columns):
        features[f"{column}|value"] = np.full(n_rows, np.nan, "float32")
        features[f"{column}|value"][merged.index] = merged[number]
    return features


def mark_measured(there, names, *, good_train, least_known):
    """Find which rows of one dataset are measured: (bool (n,); names of what each lacks, joined, object (n,);
    names of the elements that are used). It is measured when all of them are there.

    there : bool (n, elements), whether a row has each of the elements `names`. good_train : bool (n,). An
    element that less than `least_known` of the good training lumisections have is left out.
    """
    names = np.array(names, object)
    usual = np.ones(len(names), bool)
    if good_train.any():
        usual = there[good_train].mean(axis=0) >= least_known
    # few patterns, so that names are joined few times
    patterns, which = np.unique(~there[:, usual], axis=0, return_inverse=True)
    low = np.array([", ".join(names[usual][lacking]) for lacking in patterns], object)[which.ravel()]
    return there[:, usual].all(axis=1) & usual.any(), low, list(names[usual])


def feature_ranges(features, names, learned):
    """Find the range of each of the features `names` in the rows `learned` (int): {feature: {min, max}}; {}
    without rows.
    """
    if not len(learned):
        return {}
    values = {name: features[name][learned] for name in names}
    return {name: {"min": float(x.min()), "max": float(x.max())} for name, x in values.items()}


def most_different(rows, features, scaling):
    """Find (distance, dataset, feature, label) of the bad lumisections that lie farthest from the good ones,
    in robust spreads; None without bad ones. Test runs are left out.

    rows : DataFrame dataset, measured, part, label. features : {feature: float (n,)}. scaling : {dataset:
    {feature: {min, max}}}.
    """
    found = []
    for dataset, ranges in scaling.items():
        subset = rows[(rows.dataset == dataset) & rows.measured & (rows.part != "test")]
        label = "expert" if (subset.label == "expert").any() else "trivial"
        bad, good_ones = (subset.index[subset.label == kind] for kind in (label, "good"))
        for name, ends in ranges.items() if len(bad) else ():
            good = features[name][good_ones]
            spread = robust_spread(good) + 1e-3 * (ends["max"] - ends["min"])
            distance = np.mean(np.abs(features[name][bad] - np.median(good)) / spread)
            found.append((float(distance), dataset, name, label))
    return max(found, default=None)
