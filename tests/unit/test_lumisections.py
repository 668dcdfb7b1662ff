"""Tables of lumisections: what columns and cells say, which rows are put aside, what is known of a lumisection, and parts of a night, by hand."""

import gzip
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import study_paths
from nightshift.products import read_json
from nightshift.sources import excerpts
from nightshift.sources.base import Look
from nightshift.sources.certification import forms, histograms, json_files, lumisections, notes, parquet_files, root, root_files
from nightshift.sources.certification.lumisections import HISTOGRAM_SCHEMA, Extraction, Settings


def column(*values, kind=None):
    return pa.chunked_array([pa.array(list(values), kind)])


# ------------------------------------------------------------------------------------------------------- columns and cells


def test_columns_are_known_by_the_names_of_cms_and_by_those_that_somebody_sets():
    names = ["fromrun", "LS", "delivered(/ub)", "Recorded [/pb]", "avgpu", "x"]
    found = {"run": "fromrun", "lumisection": "LS", "delivered_lumi": "delivered(/ub)", "recorded_lumi": "Recorded [/pb]", "pileup": "avgpu"}
    assert histograms.layout_of(names, {}) == found
    assert histograms.layout_of(["fromrun", "run"], {}) == {"run": "run"}
    assert histograms.layout_of(["nr", "run"], {"run": "nr"}) == {"run": "nr"}
    assert histograms.layout_of(["run"], {"run": "nr"}) == {"run": "run"}
    assert histograms.layout_of(["entries(x)"], {}) == {}, "only luminosities have units in their names"
    with pytest.raises(ValueError, match="two of its columns are called 'x'"):
        histograms.layout_of(["x", "y", "x"], {})
    with pytest.raises(ValueError, match="it has no column for lumisection, element, but a, b: name its columns by `columns`"):
        histograms.require({"run": "a"}, ["a", "b"], ["run", "lumisection", "element"])


def test_cells_are_whole_numbers_flags_or_nothing():
    whole = column("1", "0", "-1", "1.5", " 400123.0 ", "2147483647", "2147483648", "x", None)
    assert histograms.as_whole(whole).tolist() == [1, 0, 0, 0, 400123, 2147483647, 0, 0, 0]
    assert histograms.as_fills(column("8001", "0", None)).fillna(-1).tolist() == [8001, -1, -1]
    flags = histograms.as_flags(column(" TRUE ", "1", "1.0", "False", "0", "0.0", "yes", None, "2"))
    assert [None if pd.isna(one) else bool(one) for one in flags] == [True] * 3 + [False] * 3 + [None] * 3
    assert histograms.is_filled(column("a", " ", "NaN", "none", "NULL", None, "0")).tolist() == [True, *[False] * 5, True]
    assert histograms.as_names(column("a", "", None)).tolist() == ["a", None, None]


@pytest.mark.parametrize(
    ("values", "is_one"),
    [
        (pa.array(["1", "x"]), True), (pa.array(["1", "x", "y"]), False), (pa.array([None, "1"]), True), (pa.array([None, None], pa.string()), False),
        (pa.array([1]), True), (pa.array([1.5]), True), (pa.array([Decimal("1.5")]), True), (pa.array([True]), False),
    ],
)  # fmt: skip
def test_a_column_holds_numbers_where_half_of_its_texts_are_some(values, is_one):
    assert histograms.is_number(pa.chunked_array([values])) is is_one


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float64())])
def test_lists_of_bins_are_taken_apart(kind):
    flat, lengths, numbers = histograms.as_contents(column([1, 2], None, [], [3], kind=kind))
    assert (flat.tolist(), lengths.tolist(), numbers.tolist()) == ([1, 2, 3], [2, 0, 0, 1], [True, False, False, True])
    flat, lengths, numbers = histograms.as_contents(column([1, 2], [3, 4], kind=pa.list_(pa.float64(), 2)))
    assert (flat.tolist(), lengths.tolist(), numbers.tolist()) == ([1, 2, 3, 4], [2, 2], [True, True])
    with pytest.raises(ValueError, match="its histograms are of two dimensions"):
        histograms.as_contents(column([[1.0]], kind=pa.list_(pa.list_(pa.float64()))))


def test_texts_that_hold_lists_of_numbers_are_read_and_others_named():
    flat, lengths, numbers = histograms.as_contents(column("[1, 2]", "[1, x]", "1, 2", None, "[NaN, null]", "[]", "[[1]]", " [3] "))
    assert lengths.tolist() == [2, 2, 1, 1, 2, 1, 1, 1]
    assert numbers.tolist() == [True, False, False, False, True, False, False, True]
    assert (flat[:2].tolist(), flat[-1]) == ([1, 2], 3)


def test_counts_beyond_the_axis_go_where_there_are_two_more_than_bins():
    flat, lengths = histograms.without_overflow(np.array([9.0, 1, 2, 9, 3, 4, 9, 5, 9, 6, 7, 8]), np.array([4, 2, 3, 3]), np.array([2, 0, 1, 2]))
    assert (flat.tolist(), lengths.tolist()) == ([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 1, 3])


def test_a_whole_name_of_a_dataset_says_what_it_is_and_how_it_was_processed():
    names = ["/ZeroBias/Run2026A-PromptReco-v1/DQMIO", "JetMET", None]
    assert histograms.primary_of(pd.Series(names[:2])).tolist() == ["ZeroBias", "JetMET"]
    page = pa.table({"d": names, "v": ["V1", None, "V2"]})
    assert histograms.processing_of(page, {"dataset": "d"}).tolist() == ["Run2026A-PromptReco-v1", "", ""]
    assert histograms.processing_of(page, {"dataset": "d", "version": "v"}).tolist() == ["V1", "", "V2"]
    assert histograms.processing_of(page, {}).tolist() == ["", "", ""]


def test_a_folder_of_its_own_comes_before_the_name_of_an_element_once():
    page = pa.table(
        {"run": ["7"] * 4, "ls": ["1"] * 4, "me": ["hit", "Tracking/hit", None, "hit"], "dir": ["/Tracking/", "Tracking", "Tracking", ""]}
    )
    layout = {"run": "run", "lumisection": "ls", "element": "me", "folder": "dir"}
    keys = histograms.keys_of(page, layout, "wide")
    assert keys.element.fillna("none").tolist() == ["Tracking/hit", "Tracking/hit", "none", "hit"]
    assert keys[["run", "lumisection", "dataset"]].to_numpy().tolist() == [[7, 1, "wide"]] * 4


def test_a_row_goes_on_where_it_ends_in_another_run_or_lumisection():
    page = pa.table({"torun": ["1", "2", None, "1"], "tolumi": ["5", "5", "6", None]})
    keys = pd.DataFrame({"run": [1] * 4, "lumisection": [5] * 4})
    assert histograms.goes_on(page, {"last_run": "torun", "last_lumisection": "tolumi"}, keys).tolist() == [False, True, True, False]
    assert histograms.goes_on(page, {}, keys).tolist() == [False] * 4


def test_cells_that_hold_no_number_are_counted_and_a_column_without_any_is_refused():
    read = histograms.Cells()
    read.column(pa.table({"x": ["1", "y", "", None, "nan", "z"]}), "x", histograms.as_numbers, "file")
    assert (read.read["file", "x"], read.unreadable["file", "x"], read.example["file", "x"]) == (1, 2, "y")
    page = pa.table({"pu": ["high" + "x" * 70, None], "lumi(/nb)": ["5", "0,5"]})
    found = read.about(page, {"pileup": "pu", "recorded_lumi": "lumi(/nb)"}, "file")
    assert found["recorded_lumi"][0] == pytest.approx(0.005)
    read.check("file", {"recorded_lumi": "lumi(/nb)"})
    with pytest.raises(ValueError, match=f"its column 'pu' holds 'high{'x' * 56}', and in none of its rows a number with a decimal point, as pileup"):
        read.check("file", {"pileup": "pu"})


# ------------------------------------------------------------------------------------------------------------------- rows


def read_csv(path, text, settings=None):
    """(what an extraction has of a file that holds `text`, rows of its histograms)"""
    tables = []
    one = Extraction(settings or Settings({}, "wide", []), SimpleNamespace(write_table=tables.append))
    path.write_text(text)
    forms.CsvTable("wide", "").extract(str(path), one)
    return one, [row for table in tables for row in table.to_pylist()]


def test_rows_of_histograms_are_kept_or_put_aside_with_the_first_reason(tmp_path):
    rows = ['1,1,e,0,2,2,5,"[1, 2]"', '1,2,e,0,2,2,,"[9, 1, 2, 9]"', '0,1,e,0,2,2,,"[1, 2]"', '1,0,e,0,2,2,,"[1, 2]"', '1,x,e,0,2,2,,"[1, 2]"']
    rows += ['1,3,,0,2,2,,"[1, 2]"', '1,4,e,0,2,2,,"[1, x]"', '1,5,e,0,2,3,,"[1, 2]"']
    one, found = read_csv(tmp_path / "a.csv", "\n".join(["run,lumisection,element,x_min,x_max,bins,entries,contents", *rows]))
    assert [(row["run"], row["lumisection"], row["entries"], row["contents"]) for row in found] == [(1, 1, 5, [1, 2]), (1, 2, 3, [1, 2])]
    assert [(row["dataset"], row["x_max"], row["version"]) for row in found] == [("wide", 2, "")] * 2
    reasons = ["no run", "of a whole run, lumisection 0", "no lumisection", "no element", "contents are no list of numbers"]
    assert [(row, why) for _, row, why, _ in one.bad_lines] == list(enumerate([*reasons, "not as many contents as bins"], 3))
    assert one.bad_lines[0][3] == "run: 0, lumisection: 1, element: e, contents: [1, 2], bins: 2, entries: None, x_min: 0, x_max: 2"
    assert one.counts == {"rows": 8, "put aside": 6}
    assert one.rows_placed().to_numpy().tolist() == [["wide", 1, 1, 1], ["wide", 1, 2, 1]]
    assert (one.elements, one.are_histograms) == ({("wide", 1, "e")}, {True})


def test_rows_of_a_wide_table_are_its_features_and_what_cms_did_not_take_is_put_aside(tmp_path):
    one, _ = read_csv(tmp_path / "a.csv", ",run,lumisection,taken,x,name\n0,1,1,1,5,a\n1,1,2,0,6,b\n2,0,3,1,7,c\n3,1,,1,8,d\n")
    assert one.wide().to_dict("records") == [{"dataset": "wide", "run": 1, "lumisection": 1, "x": 5}]
    assert [(row, why) for _, row, why, _ in one.bad_lines] == [(2, "not taken by CMS"), (3, "no run"), (4, "no lumisection")]
    with pytest.raises(ValueError, match=r"^none of its rows can be used; of the first: no run \(run: 0, lumisection: 1\)$"):
        read_csv(tmp_path / "b.csv", "run,lumisection,x\n0,1,5\n")
    assert read_csv(tmp_path / "empty.csv", "")[0].counts == {}


def test_features_are_named_or_all_columns_of_numbers_that_are_nothing_else():
    page = pa.table({"run": [1], "Unnamed: 0": [0], "": [0], "x": ["5"], "name": ["a"], "dataset": ["1"], "y": [2.5]})
    assert lumisections.features_of(page, {"run": "run"}, []) == ["x", "y"]
    assert lumisections.features_of(page, {"run": "run"}, ["name"]) == ["name"]
    with pytest.raises(ValueError, match="it has no column 'z', which features names, but run, Unnamed"):
        lumisections.features_of(page, {"run": "run"}, ["x", "z"])


def test_a_table_of_luminosities_is_no_source_and_its_untaken_sections_stand_apart(tmp_path):
    one = Extraction(Settings({"fill": "f"}, "", []), None)
    (tmp_path / "l.csv").write_text("run,ls,f,taken\n1,1,8,1\n1,2,8,0\n0,3,8,1\n")
    one.read_luminosity(str(tmp_path / "l.csv"), forms.CsvTable("", "").open)
    assert [[frame.lumisection.tolist() for frame in frames] for frames in (one.about_lumi, one.about_untaken)] == [[[1]], [[2]]]
    assert [(row, why) for _, row, why, _ in one.bad_lines] == [(3, "no run or lumisection")]
    assert one.found_columns == {"fill"}
    (tmp_path / "n.csv").write_text("run,ls,x\n1,1,8\n")
    with pytest.raises(ValueError, match=r"^it has none of fill, time, .*, golden, but run, ls, x: name its columns by `columns`$"):
        one.read_luminosity(str(tmp_path / "n.csv"), forms.CsvTable("", "").open)


def test_files_that_hold_nothing_add_nothing(tmp_path):
    for name, content in (("a.csv", b""), ("b.csv.gz", gzip.compress(b""))):
        (tmp_path / name).write_bytes(content)
        one = Extraction(Settings({}, "d", []), None)
        one.read_source(tmp_path / name, None)
        one.read_luminosity(tmp_path / name, None)
        assert (one.counts["rows"], one.about_lumi, one.bad_lines) == (0, [], [])


def test_histograms_and_wide_tables_do_not_go_together(tmp_path):
    one = Extraction(Settings({}, "", []), None)
    counted = {"counts": {"rows": 3}, "left_out": {"whole runs": 2}, "no_lumisections": ["a"], "found_columns": [], "are_histograms": [True]}
    for path in ("a", "b"):
        one.add(path, counted, {"bad_lines": pd.DataFrame([[7, "why", "text"]])}, None)
    assert (one.counts, one.left_out, one.no_lumisections) == ({"rows": 6}, {"whole runs": 4}, ["a", "a"])
    assert one.bad_lines == [("a", 7, "why", "text"), ("b", 7, "why", "text")]
    with pytest.raises(ValueError, match="it holds a wide table, and files before it do not: extract the two apart"):
        one.add("c", counted | {"are_histograms": [False]}, {}, None)


def test_a_note_gives_back_what_was_put_aside_and_counted(tmp_path):
    one = Extraction(Settings({}, "", []), None)
    one.bad_lines, one.counts["rows"] = [("a", 7, "why", "text")], 3
    notes.write_note(one, tmp_path / "a.parquet", {})
    noted = notes.read_note(tmp_path / "a.parquet")
    assert noted["rows"]["bad_lines"].to_numpy().tolist() == [[7, "why", "text"]]
    assert noted["counted"]["counts"]["rows"] == 3


# ------------------------------------------------------------------------------------------------------ what is known of each


def test_the_table_of_luminosities_comes_first_and_a_json_takes_the_place_of_a_column():
    about_lumi = pd.DataFrame({"run": [1], "lumisection": [1], "fill": pd.array([8], "Int64"), "recorded_lumi": [0.5]})
    about_rows = pd.DataFrame({"run": [1, 1], "lumisection": [1, 3], "fill": pd.array([9, 7], "Int64"), "dcs": pd.array([False, True], "boolean")})
    one = SimpleNamespace(about_lumi=[about_lumi], about_rows=[about_rows], about_untaken=[])
    table, contradicted = lumisections.gather(one, {"dcs": {1: [[1, 2]]}, "golden": None})
    assert table[["run", "lumisection"]].to_numpy().tolist() == [[1, 1], [1, 2], [1, 3]]
    assert table.fill.fillna(-1).tolist() == [8, -1, 7]
    assert table.recorded_lumi.fillna(-1).tolist() == [0.5, -1, -1]
    assert table.dcs.tolist() == [True, True, False]
    assert [None if pd.isna(flag) else bool(flag) for flag in table.dcs_column] == [False, None, True]
    assert not any(map(len, contradicted.values())), "of two sources the first counts"


def test_settings_that_fit_nothing_are_one_line_each():
    settings = SimpleNamespace(columns={"run": "nr", "fill": "f"})
    one = SimpleNamespace(settings=settings, found_columns={"run"}, about_lumi=[pd.DataFrame({"run": [9]})], no_lumisections=["a: x", "b: y"])
    lines = lumisections.setting_lines(one, {"golden": {}, "dcs": {5: [[1, 2]]}}, runs={7, 8}, luminosity=True)
    assert lines == [
        "columns says that fill is called 'f', and no table has such a column",
        "the JSON of the parameter golden names no run, so that it labels no lumisection",
        "none of the 1 runs of the JSON of the parameter dcs (5 to 5) is in the source, which has 2 (7 to 8)",
        "the table of luminosities has none of the 2 runs of the source",
        "2 ROOT files are left out; the first: a: x",
    ]
    fits = SimpleNamespace(settings=SimpleNamespace(columns={}), found_columns=set(), about_lumi=one.about_lumi, no_lumisections=[])
    labels = {"golden": {7: [[1, 2]]}, "dcs": None}
    assert lumisections.setting_lines(fits, labels, runs={7, 9}, luminosity=True) == []
    assert lumisections.setting_lines(fits, labels, runs={7}, luminosity=False) == []
    assert lumisections.setting_lines(fits, labels, runs=set(), luminosity=True) == []


def test_what_a_source_says_twice_and_differently_is_one_line():
    index = pd.MultiIndex.from_tuples([(1, 3), (1, 3), (2, 4)])
    rows = pd.DataFrame({"first": [True, True, False], "other": [False, False, True]}, index)
    lines = lumisections.contradiction_lines({("the source", "golden"): rows, ("it", "fill"): rows[2:], ("it", "time"): rows[:0]}, {"golden": None})
    assert lines == [
        "the source says golden of 2 lumisections twice and differently, such as True and False of run 1, lumisection 3; neither counts",
        "it says fill of 1 lumisections twice and differently, such as False and True of run 2, lumisection 4; the first counts",
    ]


# ------------------------------------------------------------------------------------------------------------- forms of files


def test_a_column_that_comes_twice_counts_once_where_both_are_the_same():
    page = pa.table([[1, 2], [3, 4], [1, 2]], names=["a", "b", "a"])
    names, pages = forms.without_copies(["a", "b", "a"], [(1, page)])
    assert (names, [(first, one.to_pydict()) for first, one in pages]) == (["a", "b"], [(1, {"a": [1, 2], "b": [3, 4]})])
    with pytest.raises(ValueError, match="two of its columns are called 'a' and differ: rename one of them"):
        list(forms.without_copies(["a", "b", "a"], [(1, pa.table([[1], [3], [2]], names=["a", "b", "a"]))])[1])


def test_an_empty_histogram_is_a_record_and_an_empty_answer_none(tmp_path):
    (tmp_path / "a.json").write_text('[{"run":1,"ls_number":2,"data":[]},{"run":1,"ls_number":3,"data":[1,2]}]')
    _, [(_, page)] = json_files.read_json(tmp_path / "a.json")
    assert page["data"].to_pylist() == ["[]", "[1, 2]"]
    (tmp_path / "b.json").write_text('{"data":[],"meta":{}}')
    assert json_files.read_json(tmp_path / "b.json") == ([], [])


def test_records_of_json_are_rows_and_what_is_below_attributes_is_the_record(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"id": 1, "attributes": {"run_number": 7}}, {"run": 8}]')
    names, [(first, page)] = json_files.read_json(path)
    assert (names, first, page.to_pylist()) == (["run_number", "run"], 1, [{"run_number": "7", "run": None}, {"run_number": None, "run": "8"}])
    path.write_text('[{"run": 8}, "' + "x" * 70 + '"]')
    with pytest.raises(ValueError, match=f"it holds '\"?{'x' * 59}"):
        json_files.read_json(path)


def test_a_parquet_file_is_read_by_pages_with_its_texts_as_texts(tmp_path):
    texts = pa.array(["a"] * 20_000)
    pq.write_table(pa.table({"n": range(20_000), "of": texts.dictionary_encode(), "long": texts.cast(pa.large_string())}), tmp_path / "a.parquet")
    names, pages = parquet_files.ParquetFile("", "").open(tmp_path / "a.parquet", [], {})
    pages = list(pages)
    assert (names, [(first, len(page)) for first, page in pages]) == (["n", "of", "long"], [(1, 16_384), (16_385, 3_616)])
    assert pages[0][1].schema.types[1:] == [pa.string()] * 2
    pq.write_table(pa.table({"n": range(20_000), "of": texts.dictionary_encode()}), tmp_path / "a.parquet", row_group_size=9_000)
    _, pages = parquet_files.ParquetFile("", "").open(tmp_path / "a.parquet", [], {})
    numbers = [(first, page["n"].to_pylist()) for first, page in pages]
    assert [number for _, some in numbers for number in some] == [*range(20_000)], "with categories a page ends where a row group does"
    assert all(some[0] == first - 1 for first, some in numbers)


def test_a_root_file_without_histograms_is_one_line_that_counts_what_it_holds():
    assert root.list_histograms({"h": "TH1F", "t": "TTree", "d": "TDirectoryFile"}) == (["h"], {"TTree": 1})
    assert root.list_histograms({"d": "TDirectory"}) == ([], {})
    with pytest.raises(ValueError, match=r"^it holds 1,000 TTree, 1 TMap: needed"):
        root.list_histograms({str(n): "TTree" for n in range(1000)} | {"m": "TMap"})
    with pytest.raises(ValueError, match=r"^it holds 2 TTree \(the trees of a DQMIO file: harvest it first\): needed"):
        root.list_histograms({"Indices": "TTree", "TH1Fs": "TTree"})
    paths = "Run 7/Tracking/By Lumi Section 3-3/a", "Run 7/Tracking/By Lumi Section 3-5/a", "Run 7/Tracking/a", "a"
    assert root.sort_paths(paths, root.path_pattern()) == ([paths[0], paths[3]], [paths[2]], [paths[1]])


@pytest.mark.parametrize(("most", "shown"), [(4, "read"), (3, "too large to be read here")])
def test_a_root_file_is_read_at_a_look_up_to_its_limit(tmp_path, monkeypatch, most, shown):
    monkeypatch.setattr(root_files, "QUICK", most)
    monkeypatch.setattr(forms.LumisectionFile, "look", lambda self, path, **more: Look("x", notes=["read"]))
    monkeypatch.setattr(root_files.RootFile, "open", lambda self, *more: (["run"], []))
    (tmp_path / "a.root").write_bytes(b"root")
    assert root_files.RootFile("", "").look(tmp_path / "a.root", settings={}, folder=tmp_path).notes == [shown]


def test_luminosities_are_those_that_are_named_or_those_of_the_sample(tmp_path):
    beside = study_paths("certification", str(tmp_path)).sample / "certification/lumisections.csv"
    beside.parent.mkdir(parents=True)
    beside.touch()

    def found(luminosity, source):
        return forms.luminosities({"luminosity": luminosity, "source": source, "products": str(tmp_path)})

    assert found("sample", "sample") == found(str(beside), "x.csv") == [str(beside)]
    assert found("sample", "x.csv") == found("", "sample") == []


def test_a_look_tells_files_of_one_name_apart_and_takes_no_row_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(excerpts, "SMALL", 0)
    source, lumi, folder = tmp_path / "histograms.parquet", tmp_path / "lumi/histograms.parquet", tmp_path / "folder"
    lumi.parent.mkdir()
    folder.mkdir()
    keys = {"run": [1, 1], "lumisection": [1, 2]}
    axes = {"dataset": ["d", "d"], "element": ["e", "e"], "x_min": [0.0, 0.0], "x_max": [1.0, 1.0], "contents": [[1.0, 2.0], [3.0, 4.0]]}
    pd.DataFrame(keys | axes).to_parquet(source)
    pd.DataFrame(keys | {"recorded_lumi": [5.0, 6.0]}).to_parquet(lumi)
    settings = {"columns": {}, "features": [], "luminosity": str(lumi), "source": "x", "products": "", "dataset": "", "root_pattern": ""}
    kind = parquet_files.ParquetFile("", "")
    path, _ = kind.excerpt(str(source), folder)
    look = kind.look(path, settings=settings, folder=folder)
    assert (look.rows, look.notes, look.problems) == (2, ["histograms"], [])
    assert look.filled == {"run", "lumisection", "recorded_lumi"}


def test_a_look_at_a_table_counts_its_rows_and_says_of_which_time_they_are(tmp_path):
    (tmp_path / "a.csv").write_text("run,ls,start_time,x\n1,1,2026-01-30T10:00:00Z,5\n1,2,2026-01-31T10:00:00Z,6\n0,3,,7\n")
    settings = {"columns": {}, "features": [], "luminosity": "", "source": "x", "products": str(tmp_path)}
    look = forms.CsvTable("wide", "").look(str(tmp_path / "a.csv"), settings=settings, folder=tmp_path)
    assert (look.rows, look.bad, look.notes, look.problems) == (3, 1, ["a wide table"], [])
    assert (look.oldest, look.newest) == (pd.Timestamp("2026-01-30 10:00", tz="UTC"), pd.Timestamp("2026-01-31 10:00", tz="UTC"))
    assert look.filled == {"run", "lumisection", "time"}


# ----------------------------------------------------------------------------------------------------------- parts of a night


def test_parts_hold_the_runs_of_the_window_and_a_file_is_read_again_where_its_part_lacks_one(tmp_path):
    reads = []

    def read(one):
        reads.append(one)
        rows = [dict.fromkeys(HISTOGRAM_SCHEMA.names) | {"run": run} for run in (1, 2, 2)]
        one.table.write_table(pa.Table.from_pylist(rows, HISTOGRAM_SCHEMA))

    def night(number, runs):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = notes.Night(SimpleNamespace(settings=None), folder, tmp_path / str(number - 1))
        made.files = [("b.csv", {3}, read), ("a.csv", {1, 2}, read)]
        notes.place_parts(made, runs)
        [part] = (folder / "histograms.parquet").iterdir()
        return part, pd.read_parquet(part).run.tolist(), [one["runs"] for one in read_json(folder / "notes/parts.json").values()], len(reads)

    first = night(1, [2])
    assert first[1:] == ([2, 2], [[2]], 1)
    second = night(2, [2])
    assert second[1:] == ([2, 2], [[2]], 1)
    assert second[0].samefile(first[0])
    third = night(3, [1, 2])
    assert third[1:] == ([1, 2, 2], [[1, 2]], 2)
    assert night(4, [2])[1:] == ([2, 2], [[2]], 2)
    assert pd.read_parquet(third[0]).run.tolist() == [1, 2, 2], "the part of the night before is as it was"
    assert night(5, [9])[1:] == ([], [], 2)
