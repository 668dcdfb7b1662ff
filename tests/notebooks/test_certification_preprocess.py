"""Certification from raw histograms to the clean table, on hand-made tables good and bad, with values asserted."""

import html
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REAL_DATA, refused, run_cells, run_here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import helpers

DAY = "2026-01-31"
ELEMENTS = ["Tracker/hits", "Jet/pt"]
HISTOGRAM = pa.schema(
    [("dataset", pa.string()), ("run", pa.int64()), ("lumisection", pa.int64()), ("element", pa.string())]
    + [(name, pa.float64()) for name in ("entries", "x_min", "x_max")]
    + [("contents", pa.list_(pa.float64()))]
)
SEVEN = ["q10", "q30", "q50", "q70", "q90", "mean", "rms"]
KEYS = ["dataset", "run", "lumisection"]


def histogram(run=1, lumisection=1, element="Tracker/hits", contents=(10, 20, 30, 40), dataset="ZeroBias", entries=None, x_min=0.0, x_max=4.0):
    entries = float(np.nansum(contents)) if entries is None and contents is not None else entries
    contents = None if contents is None else list(map(float, contents))
    return dict(zip(HISTOGRAM.names, [dataset, run, lumisection, element, entries, x_min, x_max, contents], strict=True))


def source(runs=range(1, 9), lumisections=range(1, 6), elements=ELEMENTS, datasets=("ZeroBias",), seed=0):
    """Histograms of a quiet detector: every element in every lumisection, four bins that differ a little."""
    rng = np.random.default_rng(seed)
    keys = [(d, r, ls, e) for d in datasets for r in runs for ls in lumisections for e in elements]
    return [histogram(r, ls, e, rng.integers(50, 90, 4), d) for d, r, ls, e in keys]


def described(histograms, **columns):
    """The table of lumisections of these histograms, all good unless `columns` of a lumisection {(run, lumisection): {...}} say otherwise."""
    keys = sorted({(row["run"], row["lumisection"]) for row in histograms})
    listed = pd.DataFrame(keys, columns=["run", "lumisection"]).astype("int64")
    listed["fill"] = pd.array(listed.run // 2, "Int64")
    listed["time"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(listed.run * 86400 + listed.lumisection * 23.31, unit="s")
    listed = listed.assign(delivered_lumi=0.3, recorded_lumi=0.28, pileup=50.0, dcs=True, golden=True)
    return listed.assign(**columns).astype({"time": "datetime64[us, UTC]", "dcs": "boolean", "golden": "boolean"})


def relabelled(listed, **labels):
    """`known` with other labels: {column: {(run, lumisection): value}}."""
    listed = listed.set_index(["run", "lumisection"])
    for column, values in labels.items():
        for key, value in values.items():
            listed.loc[key, column] = value
    return listed.reset_index()


def write_raw(products, histograms=(), listed=None, wide=None):
    """The raw folder, as the extraction would leave it."""
    raw = helpers.study_paths("certification", products).raw
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "histograms.parquet").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(histograms), HISTOGRAM), raw / "histograms.parquet/part.parquet")
    listed = described(histograms) if listed is None else listed
    helpers.write_parquet(listed, raw / "lumisections.parquet")
    no_rows = pd.DataFrame({"dataset": pd.Series(dtype="str"), "run": pd.Series(dtype="int64"), "lumisection": pd.Series(dtype="int64")})
    helpers.write_parquet(no_rows if wide is None else wide, raw / "wide.parquet")


def preprocessed(products, histograms=(), listed=None, wide=None, **parameters):
    """(clean, rejected, what the notebook shows); that every histogram is kept, rejected or not used is asserted here too."""
    write_raw(products, histograms, listed, wide)
    page = html.unescape(run_here("certification/2_preprocess.ipynb", products, **({"day": DAY, "datasets": ""} | parameters)))
    paths = helpers.study_paths("certification", products)
    clean, rejected = pd.read_parquet(paths.clean), pd.read_parquet(paths.rejected)
    assert list(rejected.columns) == [*KEYS, "element", "entries", "bins", "x_min", "x_max", "reason"]
    assert clean[KEYS].equals(clean[KEYS].sort_values(KEYS, ignore_index=True))
    assert not clean.duplicated(KEYS).any()
    n = len(histograms) + (0 if wide is None else len(wide))
    things = "histograms" if wide is None else "rows"
    kept, rest = (int(page.split(word)[0].split()[-1].replace(",", "").lstrip("*")) for word in (f" of {n:,} {things} are kept", " not used; they"))
    assert kept + len(rejected) + rest == n
    assert not list(paths.clean.parent.glob(".*")), "a temporary file is left behind"
    return clean, rejected, page


def encoder(products, name):
    return json.loads((helpers.study_paths("certification", products).encoders / f"{name}.json").read_text())


def at(clean, run, lumisection, dataset="ZeroBias"):
    """The row of a lumisection."""
    return clean.set_index(KEYS).loc[(dataset, run, lumisection)]


def features_of(clean):
    return [name for name in clean if "|" in name]


def test_a_lumisection_is_seven_numbers_per_element_with_its_conditions(tmp_path):
    rows = source()
    clean, rejected, page = preprocessed(tmp_path, rows)
    assert list(clean.columns[:12]) == [*KEYS, "fill", "time", "delivered_lumi", "recorded_lumi", "pileup", "label", "golden", "measured", "low"]
    assert list(clean.columns[12:14]) == ["part", "fold"]
    assert features_of(clean) == [f"{element}|{name}" for element in sorted(ELEMENTS) for name in SEVEN]
    assert clean[features_of(clean)].dtypes.eq("float32").all()
    assert clean.time.dtype == "datetime64[us, UTC]"
    assert clean.measured.all()
    assert (clean.low == "").all()
    assert (clean.label == "good").all()
    assert rejected.empty
    one = next(row for row in rows if (row["run"], row["lumisection"], row["element"]) == (3, 2, "Jet/pt"))
    counts, centres = np.array(one["contents"]), np.arange(4) + 0.5
    mean = np.average(centres, weights=counts)
    found = at(clean, 3, 2)
    assert found["Jet/pt|mean"] == pytest.approx(mean, rel=1e-6)
    assert found["Jet/pt|rms"] == pytest.approx(np.sqrt(np.average((centres - mean) ** 2, weights=counts)), rel=1e-6)
    assert found["Jet/pt|q50"] == pytest.approx(np.interp(counts.sum() / 2, np.append(0, np.cumsum(counts)), np.arange(5.0)), rel=1e-6)
    assert encoder(tmp_path, "elements") == {"ZeroBias": {e: {"bins": 4, "x_min": 0.0, "x_max": 4.0, "min_entries": 100.0} for e in ELEMENTS}}
    assert "**80 of 80 histograms are kept, 0 rejected, 0 not used; they describe 40 lumisections of 8 runs.**" in page


def test_what_is_no_histogram_is_rejected_by_name_and_the_lumisection_is_not_measured(tmp_path):
    wrong = {
        "no bins": {"contents": ()},
        "NaN or infinite contents": {"contents": (1, np.nan, 3, 400)},
        "negative contents": {"contents": (100, 200, -1, 4)},
        "empty x range": {"x_max": 0.0},
        "other binning than most of the element": {"x_max": 8.0},
    }
    rows = source()
    bad = {}
    for number, (reason, columns) in enumerate(
        [
            *wrong.items(),
            ("NaN or infinite contents", {"contents": (1, np.inf, 3, 400)}),
            ("empty x range", {"x_min": np.nan}),
            ("empty x range", {"x_max": -2.0}),
            ("other binning than most of the element", {"contents": (100, 200, 300)}),
        ]
    ):
        key = (number % 8 + 1, number // 8 + 2)
        where = next(i for i, row in enumerate(rows) if (row["run"], row["lumisection"], row["element"]) == (*key, "Jet/pt"))
        rows[where] = histogram(*key, "Jet/pt", **columns)
        bad[key] = reason
    clean, rejected, page = preprocessed(tmp_path, rows)
    assert dict(zip(zip(rejected.run, rejected.lumisection, strict=True), rejected.reason, strict=True)) == bad
    assert (rejected.element == "Jet/pt").all()
    for key in bad:
        row = at(clean, *key)
        assert not row.measured
        assert row.low == "Jet/pt"
        assert np.isnan(row[[f"Jet/pt|{name}" for name in SEVEN]].astype(float)).all()
        assert np.isfinite(row[[f"Tracker/hits|{name}" for name in SEVEN]].astype(float)).all()
    assert len(clean) == 40
    assert clean.measured.sum() == 40 - len(bad)
    assert "empty x range" in page


def test_few_entries_are_marked_and_not_guessed(tmp_path):
    few = {(1, 1): ["Jet/pt"], (2, 3): ELEMENTS, (8, 5): ["Tracker/hits"]}
    rows = [
        row | {"contents": [1.0, 0, 3, 4], "entries": 8.0} if row["element"] in few.get((row["run"], row["lumisection"]), []) else row
        for row in source()
    ]
    zero = next(i for i, row in enumerate(rows) if (row["run"], row["lumisection"], row["element"]) == (4, 4, "Jet/pt"))
    rows[zero] |= {"contents": [0.0] * 4, "entries": 5000.0}  # all of it beyond the axis
    clean, rejected, page = preprocessed(tmp_path, rows)
    assert rejected.empty
    low = clean[~clean.measured].set_index(["run", "lumisection"]).low.to_dict()
    assert low == {(1, 1): "Jet/pt", (2, 3): "Jet/pt, Tracker/hits", (8, 5): "Tracker/hits", (4, 4): "Jet/pt"}
    assert clean[features_of(clean)].isna().sum().sum() == 7 * 5
    assert "Most often missing or with too few entries: Jet/pt (3), Tracker/hits (2)." in page
    assert "<td>36 of 40</td>" in page
    assert preprocessed(tmp_path, rows, min_entries=5)[0].measured.sum() == 39  # the empty one is never measured


def test_entries_that_the_source_does_not_say_are_the_sum_of_the_bins(tmp_path):
    rows = [row | {"entries": None} for row in source()]
    clean, _, _ = preprocessed(tmp_path, rows)
    assert clean.measured.all()
    pd.testing.assert_frame_equal(clean, preprocessed(tmp_path, source())[0])


def test_copies_count_once_and_of_two_that_differ_neither_in_any_order(tmp_path):
    rows = source()
    clean, _, _ = preprocessed(tmp_path, rows)
    again = [rows[0], rows[7], rows[7]]
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    mixed, rejected, _ = preprocessed(tmp_path, shuffled + again)
    pd.testing.assert_frame_equal(clean, mixed)
    assert rejected.reason.tolist() == ["same histogram again"] * 3
    others = [histogram(1, 1, "Jet/pt", (500, 1, 1, 1)), histogram(2, 2, "Jet/pt", rows[0]["contents"])]
    names, table, rejected = write_and_read(tmp_path, [*others, *shuffled])
    assert rejected.reason.tolist() == ["differs from another of the same lumisection"] * 4
    unmeasured = table[~table.measured].set_index(["run", "lumisection"])
    assert unmeasured.low.to_dict() == {(1, 1): "Jet/pt", (2, 2): "Jet/pt"}
    pd.testing.assert_frame_equal(table[table.measured].reset_index(drop=True), clean[table.measured].reset_index(drop=True), check_dtype=False)
    [warned] = names["RECORDED"]["warnings"]
    assert warned.startswith("4 histograms are left out, since two of one lumisection differ and no version says which is right; the first: Jet/pt")
    bad_first = [histogram(1, 1, "Jet/pt", (np.nan, 1, 1, 1)), *rows]
    other, rejected, _ = preprocessed(tmp_path, bad_first)
    pd.testing.assert_frame_equal(clean, other)
    assert rejected.reason.tolist() == ["NaN or infinite contents"]


def write_and_read(products, histograms, **parameters):
    """(names that the notebook leaves, clean, rejected)."""
    write_raw(products, histograms)
    names, _ = run_cells("certification/2_preprocess.ipynb", products, **({"day": DAY, "datasets": ""} | parameters))
    paths = helpers.study_paths("certification", products)
    return names, pd.read_parquet(paths.clean), pd.read_parquet(paths.rejected)


def test_labels_keep_the_trivial_and_the_expert_bad_apart(tmp_path):
    rows = source()
    labels = {
        "dcs": {(1, 1): False, (1, 2): False, (1, 4): pd.NA, (1, 5): pd.NA, (2, 1): pd.NA},
        "golden": {(1, 1): False, (1, 3): False, (1, 4): False, (2, 1): pd.NA, (2, 2): pd.NA},
    }
    clean, _, page = preprocessed(tmp_path, rows, relabelled(described(rows), **labels), drawn=True)
    label = clean.set_index(["run", "lumisection"]).label
    assert [label[1, ls] for ls in range(1, 6)] == ["trivial", "trivial", "expert", "", "good"]
    assert (label[2, 1], label[2, 2]) == ("", "")
    assert "1 lumisections are not golden, and nobody says whether they pass DCS" in page
    assert (helpers.study_paths("certification", tmp_path).plots / "feature.png").stat().st_size > 10_000


def test_runs_are_split_in_time_and_no_run_is_on_two_sides(tmp_path):
    rows = source(runs=range(1, 21))
    listed = described(rows).assign(fill=pd.NA).astype({"fill": "Int64"})
    days_before = pd.to_timedelta(listed.run, unit="D")
    backwards = listed.assign(time=pd.Timestamp("2026-01-30", tz="UTC") - days_before).astype({"time": "datetime64[us, UTC]"})
    for table, oldest_first in ((listed, True), (backwards, False), (listed.assign(time=listed.time.where(listed.run > 1)), True)):
        clean, _, _ = preprocessed(tmp_path, rows, table)
        part = clean.groupby("run").part.agg(["nunique", "first"]).sort_index(ascending=oldest_first)
        assert (part["nunique"] == 1).all()
        assert part["first"].tolist()[-5:] == ["test"] * 5
        assert part["first"].value_counts().to_dict() == {"train": 13, "test": 5, "validation": 2}
        fold = clean.groupby("run").fold.agg(["nunique", "first"]).sort_index(ascending=oldest_first)
        assert (fold["nunique"] == 1).all()
        assert fold["first"].tolist() == [*(np.arange(15) % 5), *[-1] * 5]
    last = preprocessed(tmp_path, rows, test_share=0.5, validation_share=0.3, folds=2)[0].groupby("run")[["part", "fold"]].first()
    assert last.part.value_counts().to_dict() == {"test": 10, "train": 7, "validation": 3}
    assert set(last.fold) == {-1, 0, 1}


def test_folds_are_dealt_by_fill_where_there_are_enough_of_them(tmp_path):
    rows = source(runs=range(1, 21))
    listed = described(rows)
    listed["fill"] = pd.array(np.array([7, 7, 7, 8, 8, 9, 10, 10, 10, 10, 11, 12, 12, 12, 13, 13, 14, 14, 14, 15])[listed.run - 1], "Int64")
    fold = preprocessed(tmp_path, rows, listed, folds=3)[0].groupby("run").fold.first()
    assert fold.tolist() == [0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1, 2, 2, 2, 0, *[-1] * 5]
    for fills in (listed.fill.where(listed.run != 4), listed.fill * 0 + 7):  # one run without a fill; all runs of one fill
        fold = preprocessed(tmp_path, rows, listed.assign(fill=fills), folds=3)[0].groupby("run").fold.first()
        assert fold.tolist() == [*(np.arange(15) % 3), *[-1] * 5]


def test_scaling_is_the_range_of_good_measured_training_lumisections(tmp_path):
    rows = source()
    listed = relabelled(described(rows), golden={(1, 2): False}, dcs={(3, 1): False})
    clean, _, _ = preprocessed(tmp_path, rows, listed)
    learned = clean[(clean.part == "train") & (clean.label == "good") & clean.measured]
    assert 0 < len(learned) < (clean.part == "train").sum()
    scaling = encoder(tmp_path, "scaling")
    assert list(scaling["ZeroBias"]) == features_of(clean)
    for name, ends in scaling["ZeroBias"].items():
        assert ends == {"min": learned[name].min(), "max": learned[name].max()}


def spoilt(rows, listed, clean, random):
    """The same source with other histograms wherever nothing may be learned: in test runs and in bad lumisections."""
    free = clean[(clean.part == "test") | (clean.label != "good")]
    free = set(zip(free.run, free.lumisection, strict=True))
    ruined = [{"contents": [9.0, 0, 0, 900]}, {"contents": [9.0, 900], "x_max": 2.0}, {"contents": [np.nan] * 4}, {"entries": 0.0}, {"x_max": 8.0}]
    changed = [row | random.choice(ruined) if (row["run"], row["lumisection"]) in free else row for row in rows]
    gone = {key for key in free if key[1] > 1 and random.random() < 0.2}  # never a whole run, which would move the splits
    return [row for row in changed if (row["run"], row["lumisection"]) not in gone], free


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False))
def test_what_is_in_test_runs_or_bad_lumisections_changes_no_scaling_and_no_other_row(tmp_path, random):
    rows = source(runs=range(1, 13))
    listed = relabelled(described(rows), golden={(1, 2): False, (5, 1): False, (5, 2): False}, dcs={(3, 1): False})
    clean, _, _ = preprocessed(tmp_path, rows, listed)
    scaling, elements = encoder(tmp_path, "scaling"), encoder(tmp_path, "elements")
    changed, free = spoilt(rows, listed, clean, random)
    other, _, _ = preprocessed(tmp_path, changed, listed)
    assert (encoder(tmp_path, "scaling"), encoder(tmp_path, "elements")) == (scaling, elements)
    here, there = (table[[key not in free for key in zip(table.run, table.lumisection, strict=True)]] for table in (clean, other))
    pd.testing.assert_frame_equal(here.reset_index(drop=True), there.reset_index(drop=True))


def test_the_binning_is_that_of_training_runs_even_when_the_test_has_more_of_another(tmp_path):
    rows = source(runs=range(1, 9), lumisections=range(1, 3))
    late = source(runs=[9, 10], lumisections=range(1, 60), elements=["Jet/pt"])
    rows += source(runs=[9, 10], lumisections=range(1, 60), elements=["Tracker/hits"]) + [row | {"x_max": 8.0} for row in late]
    clean, rejected, _ = preprocessed(tmp_path, rows)
    assert encoder(tmp_path, "elements")["ZeroBias"]["Jet/pt"]["x_max"] == 4.0
    assert set(rejected.run) == {9, 10}
    assert rejected.reason.value_counts().to_dict() == {"other binning than most of the element": 118}
    assert clean.groupby("part").measured.mean().to_dict() == {"test": 0, "train": 1, "validation": 1}


def test_datasets_have_their_own_elements_and_what_is_in_no_list_is_counted(tmp_path):
    rows = source(datasets=("ZeroBias", "JetHT")) + source(elements=["Muon/pt"], datasets=["SingleMuon"])
    lists = tmp_path / "lists.yaml"
    lists.write_text("ZeroBias: {Tracker/hits: 100}\nJetHT: {Tracker/hits: 100, Jet/pt: 250}\nEGamma: {Electron/pt: 60}\n")
    clean, rejected, page = preprocessed(tmp_path, rows, datasets=str(lists))
    assert set(clean.dataset) == {"ZeroBias", "JetHT"}
    assert rejected.empty
    assert {d: {e.partition("|")[0] for e in x} for d, x in encoder(tmp_path, "scaling").items()} == {
        "ZeroBias": {"Tracker/hits"},
        "JetHT": set(ELEMENTS),
    }
    assert clean.loc[clean.dataset == "ZeroBias", [f"Jet/pt|{name}" for name in SEVEN]].isna().all(axis=None)
    assert clean[clean.dataset == "ZeroBias"].measured.all()
    contents = {(row["run"], row["lumisection"]): sum(row["contents"]) for row in rows if row["dataset"] == "JetHT" and row["element"] == "Jet/pt"}
    jets = clean[clean.dataset == "JetHT"]
    assert jets.measured.tolist() == [contents[key] >= 250 for key in zip(jets.run, jets.lumisection, strict=True)]
    assert 0 < jets.measured.sum() < len(jets)
    assert "80 are in none and not used: 2 elements such as ZeroBias, Jet/pt" in page


def test_the_lists_of_the_repository_can_be_read(tmp_path):
    rows = source(elements=["Tracker/hit_eta", "Muon/unheard_of"], datasets=["ZeroBias"])
    rows = [row | {"entries": 5000.0} for row in rows]
    clean, _, page = preprocessed(tmp_path, rows, datasets="notebooks/certification/datasets.yaml")
    assert set(encoder(tmp_path, "elements")["ZeroBias"]) == {"Tracker/hit_eta"}
    assert clean.measured.all()
    assert "40 are in none and not used" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [("[ZeroBias]", "must map each dataset"), ("", "must map each dataset"), ("ZeroBias: {a: [}", "is no YAML"),
     ("ZeroBias: [a]", "must map each dataset"), ("ZeroBias: {a: many}", "ZeroBias, a: 'many' is no least number"), ("ZeroBias: {a: -1}", "-1 is no"),
     ("ZeroBias: {a: yes}", "True is no least"), ("Other: {a: 1}", "no histogram of the source is in a list"), (None, "lists.yaml")],
)  # fmt: skip
def test_lists_that_cannot_be_used_end_in_one_line(tmp_path, text, message):
    lists = tmp_path / "lists.yaml"
    if text is not None:
        lists.write_text(text)
    assert message in refused(preprocessed, tmp_path, source(), datasets=str(lists))


def test_elements_that_good_training_lumisections_lack_are_left_out_by_name(tmp_path):
    rare = source(runs=[1], lumisections=[1], elements=["Muon/rare"]) + source(runs=[7, 8], elements=["Muon/new"])
    clean, _, page = preprocessed(tmp_path, source() + rare)
    assert "lumisections have them: Muon/new (ZeroBias), Muon/rare (ZeroBias)." in page
    assert clean.measured.all()
    assert set(encoder(tmp_path, "elements")["ZeroBias"]) == set(ELEMENTS)
    assert not [name for name in clean if name.startswith("Muon")]


def test_constant_features_are_dropped_and_said(tmp_path):
    rows = source() + [histogram(r, ls, "Trigger/bit", (0, 200, 0, 0)) for r in range(1, 9) for ls in range(1, 6)]
    clean, _, page = preprocessed(tmp_path, rows)
    assert "7 are constant and dropped: Trigger/bit|q10 (ZeroBias), " in page
    assert not [name for name in [*clean, *encoder(tmp_path, "scaling")["ZeroBias"]] if name.startswith("Trigger")]
    assert clean.measured.all()


def test_a_dataset_without_good_training_lumisections_is_said_and_the_others_go_on(tmp_path):
    rows = source() + source(runs=[7, 8], datasets=["EGamma"])
    clean, _, page = preprocessed(tmp_path, rows)
    assert list(encoder(tmp_path, "scaling")) == ["ZeroBias"] == list(encoder(tmp_path, "elements"))
    assert "without a model: EGamma." in page
    assert set(clean.dataset) == {"EGamma", "ZeroBias"}


def test_lumisections_without_histograms_are_rows_that_are_not_measured(tmp_path):
    rows = source()
    listed = described(rows + source(lumisections=[6]) + source(runs=[99]))
    clean, _, page = preprocessed(tmp_path, [row for row in rows if (row["run"], row["lumisection"]) != (2, 2)], listed)
    gaps = clean[~clean.measured].set_index(["run", "lumisection"])
    assert set(gaps.index) == {(2, 2), *((run, 6) for run in range(1, 9))}
    assert (gaps.low == "Jet/pt, Tracker/hits").all()
    assert 99 not in set(clean.run)  # a run of which the source knows nothing
    assert "they describe 39 lumisections of 8 runs" in page


def test_a_source_of_every_third_lumisection_leaves_no_element_out(tmp_path):
    rows = source(lumisections=range(1, 16))
    clean, _, page = preprocessed(tmp_path, [row for row in rows if row["lumisection"] % 3 == 0], described(rows))
    assert "Left out" not in page
    assert clean.measured.tolist() == (clean.lumisection % 3 == 0).tolist()


def test_a_dataset_that_mostly_lacks_all_its_elements_is_measured_nowhere(tmp_path):
    few = [row | {"entries": 20.0} if row["lumisection"] > 1 else row for row in source(datasets=["EGamma"])]
    clean, _, page = preprocessed(tmp_path, source() + few)
    assert "lumisections have them: Jet/pt (EGamma), Tracker/hits (EGamma)." in page
    assert clean.groupby("dataset").measured.mean().to_dict() == {"EGamma": 0, "ZeroBias": 1}
    assert list(encoder(tmp_path, "scaling")) == ["ZeroBias"]


def test_lumisections_that_nobody_describes_are_kept_without_a_label(tmp_path):
    rows = source()
    listed = described(rows)
    clean, _, _ = preprocessed(tmp_path, rows, listed[~((listed.run == 2) & (listed.lumisection > 3))])
    assert len(clean) == 40
    unlabelled = clean[clean.label == ""]
    assert unlabelled[["run", "lumisection"]].values.tolist() == [[2, 4], [2, 5]]
    assert unlabelled.time.isna().all()


def test_what_came_after_the_window_is_not_known_to_a_night_that_runs_again(tmp_path):
    rows = source()
    listed = described(rows + source(runs=[6], lumisections=[6]))  # a run that goes on after midnight
    listed.loc[(listed.run == 6) & (listed.lumisection == 6), "time"] = pd.Timestamp("2026-01-08", tz="UTC")
    clean, _, _ = preprocessed(tmp_path, rows, listed, day="2026-01-07")  # run n is taken on day n + 1
    assert 6 not in set(clean.lumisection)
    before = [row for row in rows if row["run"] <= 6]
    assert set(clean.run) == set(range(1, 7))
    rejected = pd.read_parquet(helpers.study_paths("certification", tmp_path).rejected)
    assert set(rejected.run) == {7, 8}
    assert (rejected.reason == "after the window").all()
    pd.testing.assert_frame_equal(clean, preprocessed(tmp_path, before)[0])


def test_one_run_is_learned_from_and_nothing_is_left_to_judge(tmp_path):
    clean, _, _ = preprocessed(tmp_path, source(runs=[7]))
    assert set(clean.run) == {7}
    assert set(clean.part) == {"train"}


def test_two_runs_are_one_to_learn_from_and_one_to_judge(tmp_path):
    clean, _, _ = preprocessed(tmp_path, source(runs=[7, 9]))
    assert clean.groupby("run").part.first().to_dict() == {7: "train", 9: "test"}


@pytest.mark.parametrize("labels", [{"golden": False}, {"dcs": False}, {"golden": None}])
def test_without_good_training_lumisections_there_is_nothing_to_learn_from(tmp_path, labels):
    rows = source()
    listed = described(rows)
    for column, value in labels.items():
        listed[column] = pd.array(np.where(listed.run > 6, True, value), "boolean")
    assert len(preprocessed(tmp_path, rows, listed)[0])  # 3_train says that there is too little history
    helpers.write_json({}, helpers.study_paths("certification", tmp_path).models / "detector.json")
    message = refused(preprocessed, tmp_path, rows, listed)  # where labels were once enough, they are lost
    assert message.startswith("there is nothing to learn from: of 25 lumisections of training runs 0 are good and 0 of these measured; good is what")


def test_all_rejected_is_refused_and_says_why(tmp_path):
    rows = [row | {"contents": [np.nan] * 4} for row in source()]
    assert refused(preprocessed, tmp_path, rows) == "all 80 histograms are rejected, 80 of them for: NaN or infinite contents"


def test_an_empty_source_is_an_empty_table(tmp_path):
    clean, rejected, page = preprocessed(tmp_path)
    assert clean.empty
    assert rejected.empty
    assert {"dataset", "run", "lumisection", "label", "measured", "part", "fold"} <= set(clean)
    assert encoder(tmp_path, "scaling") == {}
    assert "**0 of 0 histograms are kept" in page


def wide_table(runs=range(1, 9), seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame([("wide", r, ls) for r in runs for ls in range(1, 6)], columns=KEYS)
    return table.assign(rate=rng.normal(100, 5, len(table)), norm=rng.normal(0, 1, len(table)), flag=1.0)


def test_a_wide_table_has_one_value_per_column(tmp_path):
    wide = wide_table()
    wide.loc[3, "rate"] = np.nan
    wide.loc[4, "norm"] = np.inf
    wide.loc[5, "norm"] = 1e300
    wide.loc[6, "rate"] = -np.inf
    other_table = pd.concat([wide.iloc[[8]].assign(rate=np.nan), wide.iloc[[9]].assign(norm=np.nan)])  # of values that are known already
    wide = pd.concat([wide, wide.iloc[[7]].assign(rate=5.0), wide.iloc[[4]].assign(norm=0.5), other_table], ignore_index=True)
    wide.loc[9, "rate"], right = np.nan, wide.rate[9]  # the other table has it
    listed = described(wide.to_dict("records"))
    clean, rejected, page = preprocessed(tmp_path, listed=listed, wide=wide, datasets="notebooks/certification/datasets.yaml")
    assert features_of(clean) == ["rate|value", "norm|value"]
    assert rejected.reason.value_counts().to_dict() == {
        "infinite value": 3,
        "same lumisection again": 1,
        "differs from another of the same lumisection": 2,
    }
    low = clean[~clean.measured].set_index(["run", "lumisection"]).low.to_dict()
    assert low == {(1, 4): "rate"} | dict.fromkeys([(2, 1), (2, 2), (2, 3)], "rate, norm, flag")  # (1, 5) has a possible second row
    assert at(clean, 1, 5, "wide")["norm|value"] == 0.5
    assert at(clean, 2, 5, "wide")["rate|value"] == np.float32(right), "two rows that agree make one"
    assert "1 are constant and dropped: flag|value (wide)" in page
    assert f"{len(wide)} rows of a wide table with 3 columns." in page
    assert "histogram" not in page, "the table has none"
    assert encoder(tmp_path, "elements") == {"wide": {}}
    assert set(encoder(tmp_path, "scaling")["wide"]) == {"rate|value", "norm|value"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"test_share": 1.0}, "test_share is 1.0"), ({"validation_share": 0}, "validation_share is 0"), ({"least_known": -1}, "least_known is -1"),
     ({"folds": 1}, "folds is 1"), ({"min_entries": -1}, "min_entries is -1")],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_refused(tmp_path, parameters, message):
    assert message in refused(preprocessed, tmp_path, source(), **parameters)


def test_raw_tables_that_break_the_contract_are_refused_with_column_and_row(tmp_path):
    rows = source()
    listed = described(rows)
    twice = pd.concat([listed, listed.iloc[[3]]], ignore_index=True)
    assert "lumisections.parquet: column" in refused(preprocessed, tmp_path, rows, twice)
    assert "histograms.parquet: column 'lumisection' fails" in refused(preprocessed, tmp_path, [*rows, histogram(1, 0)], listed)
    assert "histograms.parquet: column 'element' fails" in refused(preprocessed, tmp_path, [*rows, histogram(1, 1, element=None)], listed)
    assert "lacks the columns golden: run 1_extract again" in refused(preprocessed, tmp_path, rows, listed.drop(columns="golden"))
    shutil.rmtree(helpers.study_paths("certification", tmp_path).raw)
    assert "run 1_extract first" in refused(run_here, "certification/2_preprocess.ipynb", tmp_path)


def test_real_lumisections_of_run_2024b(tmp_path):
    table = REAL_DATA / "certification/oms_2024B-v1.parquet"
    if not table.exists():
        pytest.skip(f"{table} is absent")
    oms = pd.read_parquet(table)
    measures = [name for name in oms if name.startswith(("rate_", "pixel_norm"))]
    wide = oms[["run", "lumisection", *measures]].assign(dataset="wide").astype(dict.fromkeys(measures, float))
    listed = oms[["run", "lumisection", "delivered_lumi", "recorded_lumi", "pileup", "golden"]].assign(
        fill=oms.fill.astype("Int64"), dcs=oms.dcs_good.astype("boolean"), time=pd.Series(pd.NaT, oms.index, dtype="datetime64[us, UTC]")
    )
    clean, rejected, _ = preprocessed(tmp_path, listed=listed, wide=wide[[*KEYS, *measures]])
    assert len(clean) + len(rejected) == len(oms)
    assert clean.run[clean.part != "test"].max() < clean.run[clean.part == "test"].min()
    assert clean.groupby("label").measured.sum().ge(100)[["good", "expert"]].all()
    assert len(encoder(tmp_path, "scaling")["wide"]) == len(measures)
