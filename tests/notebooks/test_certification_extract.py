"""The extraction of lumisections from every kind of source, on hand-made rows good and bad, with values asserted."""

import gzip
import json
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import uproot
from conftest import REAL_DATA, refused, run_cells, within
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.sources.certification.forms import open_table
from nightshift.sources.certification.golden import read_golden, write_golden
from nightshift.sources.certification.histograms import as_contents

NOTEBOOK = "certification/1_extract.ipynb"
DATA = "data/raw/certification"
KEYS = ["dataset", "run", "lumisection", "element"]
ROWS = pd.DataFrame(
    {
        "dataset": ["ZeroBias", "ZeroBias", "JetHT", "ZeroBias"],
        "fromrun": [400123, 400123, 400123, 400200],
        "fromlumi": [2, 1, 1, 7],
        "hname": ["Tracker/hit_eta", "Tracker/hit_eta", "Jet/pt", "Tracker/hit_eta"],
        "histo": ["[0, 2, 3]", "[1,1,1]", "[5, 0]", "[0, 0, 0]"],
        "entries": [6, 3, 5, 0],
        "Xmin": [-3.0, -3.0, 0.0, -3.0],
        "Xmax": [3.0, 3.0, 500.0, 3.0],
    }
)


def raw(products, name):
    return pd.read_parquet(products / DATA / f"{name}.parquet")


def extracted(products, source, **parameters):
    """The three raw tables by name with the status, and what the notebook shows."""
    names, page = run_cells(NOTEBOOK, products, source=str(source), **parameters)
    tables = {name: raw(products, name) for name in ("histograms", "wide", "lumisections")}
    bad = pd.read_csv(products / DATA / "bad_lines.csv")
    status = json.loads((products / DATA / "status.json").read_text())
    assert status["rows"] == len(tables["histograms"]) + len(tables["wide"])
    assert not list((products / DATA).glob(".*")), "the folder beside is gone"
    return tables | {"bad": bad, "status": status, "names": names}, page


def write(path, content):
    """Write text, a frame or Golden ranges to `path`, which says how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        write_golden(content, path)
    elif isinstance(content, str):
        path.write_text(content)
    else:
        content.to_parquet(path, index=False) if path.suffix == ".parquet" else content.to_csv(path, index=False)
    return path


def no_line(products, **parameters):
    """The one line with which the notebook refuses, after which no new product is there."""
    before = sorted((products / DATA).glob("*")) if (products / DATA).exists() else []
    line = refused(run_cells, NOTEBOOK, products, **parameters)
    assert (sorted((products / DATA).glob("*")) if (products / DATA).exists() else []) == before
    return line


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "text.parquet", "parquet", "dials.parquet"])
def test_histogram_rows_are_the_same_from_every_kind_of_table(tmp_path, kind):
    rows = ROWS
    if kind.endswith("parquet") and not kind.startswith("text"):
        rows = rows.assign(histo=[json.loads(text) for text in rows.histo], dataset=rows.dataset.astype("category"))
    if kind.startswith("dials"):
        other = {"fromrun": "run_number", "fromlumi": "ls_number", "hname": "me", "histo": "data", "Xmin": "x_min", "Xmax": "x_max"}
        rows = rows.rename(columns=other).assign(x_bin=[3, 3, 2, 3])
    found, page = extracted(tmp_path, write(tmp_path / f"rows.{kind}", rows))
    table = found["histograms"]
    assert list(table) == [*KEYS, "entries", "x_min", "x_max", "contents", "version"]
    assert table[KEYS].to_numpy().tolist() == ROWS[["dataset", "fromrun", "fromlumi", "hname"]].to_numpy().tolist(), "in the order of the source"
    assert [list(c) for c in table.contents] == [[0, 2, 3], [1, 1, 1], [5, 0], [0, 0, 0]]
    assert table[["entries", "x_min", "x_max"]].to_numpy().tolist() == ROWS[["entries", "Xmin", "Xmax"]].to_numpy().tolist()
    assert table.dtypes[["run", "lumisection", "entries"]].astype(str).tolist() == ["int64", "int64", "float64"]
    assert found["lumisections"][["run", "lumisection"]].to_numpy().tolist() == [[400123, 1], [400123, 2], [400200, 7]]
    assert list(found["wide"]) == ["dataset", "run", "lumisection"]
    expected = {"state": "ok", "rows": 4, "runs": 2, "datasets": 2, "elements": 2, "unlabelled": 3, "good": 0, "newest": None}
    assert {name: found["status"][name] for name in expected} == expected
    assert "4 histograms of 3 lumisections in 2 runs; the data are ok" in page


def test_rows_that_cannot_be_read_are_put_aside_by_name_and_all_others_kept(tmp_path):
    good = '"[1, 2]",3,0,1'
    lines = [
        f"A,5,1,x,{good}",
        f"A,five,1,x,{good}",
        f"A,5,0,x,{good}",
        f"A,5.5,1,x,{good}",
        f"A,5.0,2,x,{good}",
        f",5,3,x,{good}",
        f"A,5,4,,{good}",
        'A,5,5,x,"[1, two]",3,0,1',
        "A,5,6,x,12,3,0,1",
        "A,5,7,x,,3,0,1",
        "A,5,8,x,[],3,0,1",
        'A,5,9,x,"[1],[2]",3,0,1',
        'A,5,10,x,"[NaN, null, 3]",,0,1',
        'A,5,11,x,"[-1, 1e3]",many,0,here',
        f"A,5,1,x,{good}",
        f"A,5,1,x,{good},7",
        "A,5",
        f"A,99999999999,1,x,{good}",
    ]
    source = write(tmp_path / "rows.csv", "dataset,run,lumisection,element,contents,entries,x_min,x_max\n" + "\n".join(lines) + "\n")
    found, page = extracted(tmp_path, source)
    kept, bad = found["histograms"], found["bad"]
    assert kept.lumisection.tolist() == [1, 2, 10, 11, 1], "with the copy"
    assert np.isnan(kept.contents[2][:2]).all(), "NaN goes on to the next notebook"
    assert list(kept.contents[3]) == [-1, 1000]
    assert kept.entries[[0, 3]].tolist() == [3, 999], "what is not said is the sum"
    assert np.isnan(kept.x_max[3])
    assert len(kept) + len(bad) == len(lines)
    assert bad.reason.value_counts().to_dict() == {
        "contents are no list of numbers": 5,
        "no run": 3,
        "of a whole run, lumisection 0": 1,
        "no dataset": 1,
        "no element": 1,
        "9 columns, not 8": 1,
        "2 columns, not 8": 1,
    }
    assert bad.line[bad.reason == "of a whole run, lumisection 0"].tolist() == [3]
    assert "run: five" in bad.text[bad.reason == "no run"].iloc[0]
    assert (found["status"]["state"], found["status"]["bad_lines"], found["status"]["unreadable_cells"]) == ("partial", 13, 2)
    assert "5 rows kept, 0 left out with runs of other days and 0 runs without any time, 13 put aside" in page


def test_counts_beyond_the_axis_are_cut_off_where_the_table_says_how_many_bins_it_has(tmp_path):
    rows = ROWS.assign(Xbins=[3, 1, 0, 2])
    found, _ = extracted(tmp_path, write(tmp_path / "rows.csv", rows))
    assert [list(c) for c in found["histograms"].contents] == [[0, 2, 3], [1]]
    assert found["bad"].reason.tolist() == ["not as many contents as bins"] * 2
    assert found["bad"].line.tolist() == [3, 4]


def write_root(path, paths):
    with uproot.recreate(path) as file:
        for name, (contents, edges) in paths.items():
            file[name] = (np.array(contents, float), np.array(edges, float))
        file["DQMData/Run 7/notes"] = "text"
        file["DQMData/Run 7/map"] = np.histogram2d([0.1], [0.2])
    return path


def test_root_files_give_what_their_paths_say(tmp_path):
    source = write_root(
        tmp_path / "dqm.root",
        {
            "ZeroBias/Run 400123/LS 12/Tracker/hit_eta": ([4, 0, 6], [-3, -1, 1, 3]),
            "DQMData/Run 7/Tracker/By Lumi Section 5-5/hit_phi": ([1, 2], [0, 1, 2]),
            "DQMData/Run 7/Tracker/By Lumi Section 5-9/hit_phi": ([1, 2], [0, 1, 2]),
            "DQMData/Run 7/Tracker/Run summary/hit_phi": ([1, 2], [0, 1, 2]),
            "Run 7/LS 6/wide_bins": ([1, 2], [0, 1, 9]),
        },
    )
    found, page = extracted(tmp_path, source, dataset="Cosmics")
    table = found["histograms"]
    where = [["ZeroBias", 400123, 12, "Tracker/hit_eta"], ["Cosmics", 7, 5, "Tracker/hit_phi"], ["Cosmics", 7, 6, "wide_bins"]]
    assert table[KEYS].to_numpy().tolist() == where
    assert [list(c) for c in table.contents] == [[4, 0, 6], [1, 2], [1] + [0.25] * 8]
    assert table[["entries", "x_min", "x_max"]].to_numpy().tolist() == [[10, -3, 3], [3, 0, 2], [3, 0, 9]]
    assert found["bad"].empty
    left_out = "1 objects of ROOT files were no histogram of one or two dimensions, 2 histograms were of whole runs and 1 of several lumisections."
    assert left_out in page


def test_root_paths_of_another_manner_are_told_by_a_pattern(tmp_path):
    source = write_root(tmp_path / "other.root", {"r12/l3/jets": ([1, 2], [0, 1, 2])})
    assert "none of its rows can be used; of the first: no run" in no_line(tmp_path, source=str(source))
    found, _ = extracted(tmp_path, source, root_pattern=r"^r(?P<run>\d+)/l(?P<lumisection>\d+)/(?P<element>.+)$")
    assert found["histograms"][KEYS].to_numpy().tolist() == [["wide", 12, 3, "jets"]]
    assert "no group 'element'" in no_line(tmp_path, source=str(source), root_pattern=r"(?P<run>\d+)/(?P<lumisection>\d+)")


WIDE = pd.DataFrame(
    {
        "run": [10, 10, 11, 11],
        "ls": [1, 2, 1, 2],
        "beam": [True, False, True, True],
        "DCS_good": [True, False, True, None],
        "delivered": [0.1, 0.2, 0.3, 0.4],
        "rate_a": [1.5, np.nan, 3.0, 4.0],
        "norm_b": [1, 2, 3, 4],
        "comment": ["a", "b", "c", "d"],
        "golden": [True, True, False, False],
    }
)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_wide_table_keeps_its_columns_of_numbers_as_features(tmp_path, kind):
    found, page = extracted(tmp_path, write(tmp_path / f"wide.{kind}", WIDE), dataset="oms")
    expected = WIDE.rename(columns={"ls": "lumisection"})[["run", "lumisection", "rate_a", "norm_b"]].astype({"norm_b": float})
    pd.testing.assert_frame_equal(found["wide"].drop(columns="dataset"), expected)
    assert set(found["wide"].dataset) == {"oms"}
    table = found["lumisections"]
    assert table.delivered_lumi.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert table.dcs.tolist()[:3] == [True, False, True]
    assert table.dcs.isna().tolist() == [False, False, False, True]
    assert len(found["histograms"]) == 0
    labels = {"good": 1, "trivial": 1, "expert": 1, "unlabelled": 1, "elements": 2, "rows": 4}
    assert {name: found["status"][name] for name in labels} == labels
    assert "4 rows of 4 lumisections in 2 runs" in page


BRILCALC = """#Data tag : 24v1 , Norm tag: none
#run:fill,ls,time,beamstatus,E(GeV),delivered(/nb),recorded(/nb),avgpu,source
10:9001,1:1,01/30/26 00:00:23,STABLE BEAMS,6800,500,400,48.4,HFET
10:9001,2:2,01/30/26 00:00:46,STABLE BEAMS,6800,510,410,48.3,HFET
10:9001,3:0,01/30/26 00:01:09,ADJUST,6800,3,0,1,HFET
11:9001,1:1,01/30/26 01:00:00,STABLE BEAMS,6800,520,420,48.2,HFET
11:9001,2:0,01/30/26 01:00:23,STABLE BEAMS,6800,4,0,1,HFET
#Summary:
#nfill,nrun,nls,ncms,totdelivered(/nb),totrecorded(/nb)
#1,2,5,3,1537.0,1230.0
"""


def test_what_brilcalc_prints_gives_times_fills_and_luminosities_and_what_cms_did_not_take_is_no_lumisection(tmp_path):
    source = write(tmp_path / "wide.csv", pd.DataFrame({"run": [10, 10, 11, 11], "ls": [1, 2, 1, 2], "rate": [1.0, 2, 3, 4]}))
    found, page = extracted(tmp_path, source, luminosity=str(write(tmp_path / "lumi.csv", BRILCALC)), days=3)
    table = found["lumisections"]
    assert table[["run", "lumisection"]].to_numpy().tolist() == [[10, 1], [10, 2], [11, 1], [11, 2]], "10:3 is no lumisection"
    assert table.recorded_lumi.tolist() == pytest.approx([0.4, 0.41, 0.42, 0])
    assert table.delivered_lumi.tolist() == pytest.approx([0.5, 0.51, 0.52, 0.004])
    assert table.fill.tolist() == [9001] * 4
    assert str(table.time[0]) == "2026-01-30 00:00:23+00:00"
    assert (found["status"]["state"], found["status"]["window"]) == ("ok", ["2026-01-29", "2026-01-31"])
    assert "2 sections of the table of luminosities were not taken by CMS; 1 of them have no row in the source and are no lumisections." in page
    warned = "1 lumisections that CMS did not take, by the table of luminosities, have rows in the source; they are kept"
    assert found["names"]["RECORDED"]["warnings"] == [warned]


def test_columns_of_one_table_leave_those_of_the_other_as_they_are(tmp_path):
    rows = ROWS.rename(columns={"fromrun": "run_number", "fromlumi": "ls_number", "hname": "me", "histo": "data"})
    source = write(tmp_path / "rows.csv", rows)
    beside = pd.DataFrame({"RunNo": [400123, 400123, 400200], "LSNo": [1, 2, 7], "recorded": [0.1, 0.2, 0.3]})
    columns = {"run": "RunNo", "lumisection": "LSNo"}
    found, _ = extracted(tmp_path, source, luminosity=str(write(tmp_path / "lumi.csv", beside)), columns=columns)
    assert len(found["histograms"]) == 4
    assert found["lumisections"].recorded_lumi.tolist() == [0.1, 0.2, 0.3]
    assert found["names"]["RECORDED"]["warnings"] == []
    other_way = write(tmp_path / "wide.csv", WIDE.rename(columns={"run": "Lauf", "ls": "Nummer"}))
    beside = write(tmp_path / "lumi2.csv", pd.DataFrame({"run": [10, 10], "ls": [1, 2], "delivered(/nb)": [100, 200], "delivered": [1, 2]}))
    columns = {"run": "Lauf", "lumisection": "Nummer", "delivered_lumi": "delivered(/nb)"}
    found, _ = extracted(tmp_path, other_way, luminosity=str(beside), columns=columns)
    assert found["lumisections"].delivered_lumi[:2].tolist() == pytest.approx([0.1, 0.2])


def as_json(frame, form):
    records = frame.to_dict("records")
    if form == "lines":
        return "\n".join(map(json.dumps, records))
    forms = {"array": records, "results": {"count": 4, "results": records}, "oms": {"data": [{"attributes": one} for one in records]}}
    return json.dumps(forms[form])


def test_a_json_file_may_hold_one_record_over_several_lines(tmp_path):
    record = ROWS.assign(histo=[json.loads(text) for text in ROWS.histo]).to_dict("records")[0]
    names, [(first, page)] = open_table(str(write(tmp_path / "one.json", json.dumps(record, indent=1))), [])
    assert (names, first, len(page)) == (list(record), 1, 1)


@pytest.mark.parametrize("form", ["array", "lines", "results", "oms"])
def test_histograms_in_json_are_those_of_the_table(tmp_path, form):
    rows = ROWS.assign(histo=[json.loads(text) for text in ROWS.histo])
    found, _ = extracted(tmp_path, write(tmp_path / "rows.json", as_json(rows, form)))
    assert found["histograms"][KEYS].to_numpy().tolist() == ROWS[["dataset", "fromrun", "fromlumi", "hname"]].to_numpy().tolist()
    assert [list(c) for c in found["histograms"].contents] == [[0, 2, 3], [1, 1, 1], [5, 0], [0, 0, 0]]
    assert found["status"]["state"] == "ok"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026/01/30 00:00:23", "2026-01-30 00:00:23+00:00"),
        ("1769731223", "2026-01-30 00:00:23+00:00"),
        ("1769731223500", "2026-01-30 00:00:23.500000+00:00"),
        ("30.01.2026 00:00:23", "2026-01-30 00:00:23+00:00"),
    ],
)
def test_times_of_other_forms_are_read(tmp_path, written, read):
    wide = pd.DataFrame({"run": [1, 2], "ls": 1, "rate": 1.0, "time": written})
    found, _ = extracted(tmp_path, write(tmp_path / "a.csv", wide))
    assert str(found["lumisections"].time[0]) == read
    text = wide.to_csv(sep=";", index=False)
    assert str(extracted(tmp_path, write(tmp_path / "b.csv", text))[0]["lumisections"].time[0]) == read


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("time", "Friday noon", "its column 'time' holds 'Friday noon', and in none of its rows a time such as 2026-01-20T00:00:23Z"),
        ("recorded", "0,41", "its column 'recorded' holds '0,41', and in none of its rows a number with a decimal point, as recorded_lumi needs it"),
        ("golden", "yes", "its column 'golden' holds 'yes', and in none of its rows true or false, or 1 or 0, as golden needs it"),
        ("delivered(hz/ub)", 3, "its luminosities are in 'hz/ub': needed is an integral over the lumisection"),
    ],
)
def test_a_column_of_which_no_cell_can_be_read_is_one_line_and_no_silence(tmp_path, column, value, line):
    wide = pd.DataFrame({"run": [1, 2], "ls": 1, "rate": 1.0, column: value})
    assert line in no_line(tmp_path, source=str(write(tmp_path / "a.csv", wide)))
    source = write(tmp_path / "b.csv", wide.drop(columns=column))
    assert line in no_line(tmp_path, source=str(source), luminosity=str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"runs": {"1": 2}}', "it has no column for run, lumisection, but runs: name its columns"),
        ("[1, 2]", "it holds '1' where a record such as"),
        ('[{"run": 1, "rate": 2}]', "it has no column for lumisection, but run, rate"),
        ('[{"run": 1', "a.json cannot be read"),
    ],
)
def test_json_of_another_form_is_one_line(tmp_path, text, line):
    assert line in no_line(tmp_path, source=str(write(tmp_path / "a.json", text)))


def test_files_of_whole_runs_end_the_night_alone_and_are_named_beside_others(tmp_path):
    whole = write_root(tmp_path / "DQM_V0001_R000000007__JetMET__Run2022C-v1__DQMIO.root", {"DQMData/Run 7/Jet/Run summary/pt": ([1, 2], [0, 1, 2])})
    assert "histograms are of whole runs, such as run 7, and lumisections are judged" in no_line(tmp_path, source=str(whole))
    lumi = write_root(tmp_path / "a.root", {"DQMData/Run 7/Jet/By Lumi Section 5-5/pt": ([1, 2], [0, 1, 2])})
    found, _ = extracted(tmp_path, lumi.with_name("*.root"))
    assert found["histograms"][KEYS].to_numpy().tolist() == [["wide", 7, 5, "Jet/pt"]]
    [warned] = found["names"]["RECORDED"]["warnings"]
    assert "1 ROOT files are left out; the first: " in warned
    assert found["status"]["state"] == "ok"


def test_rows_over_several_lumisections_are_put_aside_and_paths_belong_to_names(tmp_path):
    rows = ROWS.assign(tolumi=[2, 5, 1, 7], folder=["Pixel", "Pixel", "", "Pixel"], hname=["a", "b", "c", "Pixel/d"])
    found, _ = extracted(tmp_path, write(tmp_path / "rows.csv", rows))
    assert found["histograms"].element.tolist() == ["Pixel/a", "c", "Pixel/d"]
    assert found["bad"].reason.tolist() == ["of several lumisections"]


def test_settings_that_fit_nothing_and_contradictions_are_warned_of(tmp_path):
    golden, dcs = write(tmp_path / "golden.json", {99: [[1, 5]], 100: [[1, 2]]}), write(tmp_path / "dcs.json", {})
    for name, recorded in (("lumi_a.csv", [0.5, 0.6]), ("lumi_b.csv", [0.5, 0.7])):
        write(tmp_path / name, pd.DataFrame({"run": 10, "ls": [1, 2], "recorded": recorded}))
    parameters = {"golden": str(golden), "dcs": str(dcs), "luminosity": str(tmp_path / "lumi_*.csv"), "columns": {"fill": "Fuellung"}}
    wide = pd.concat([WIDE, WIDE.head(1).assign(beam=False, golden=False)])
    found, _ = extracted(tmp_path, write(tmp_path / "wide.csv", wide), **parameters)
    assert found["names"]["RECORDED"]["warnings"] == [
        "columns says that fill is called 'Fuellung', and no table has such a column",
        "none of the 2 runs of the JSON of the parameter golden (99 to 100) is in the source, which has 2 (10 to 11)",
        "the JSON of the parameter dcs names no run, so that it labels no lumisection",
        "the table of luminosities says recorded_lumi of 1 lumisections twice and differently, such as 0.6 and 0.7 of run 10, lumisection 2; "
        "the first counts",
        "the source says golden of 1 lumisections twice and differently, such as True and False of run 10, lumisection 1; neither counts",
    ]
    write(tmp_path / "lumi_a.csv", pd.DataFrame({"run": [5], "ls": 1, "recorded": 0.5}))
    found, _ = extracted(tmp_path, tmp_path / "wide.csv", luminosity=str(tmp_path / "lumi_a.csv"))
    assert found["names"]["RECORDED"]["warnings"][0] == "the table of luminosities has none of the 2 runs of the source"


def test_features_may_be_named_and_columns_called_otherwise(tmp_path):
    source = write(tmp_path / "wide.csv", WIDE.rename(columns={"run": "Lauf", "DCS_good": "an"}).assign(norm_b=["1", "x", "3", ""]))
    columns = {"run": "Lauf", "dcs": "an"}
    found, _ = extracted(tmp_path, source, columns=columns, features=["norm_b", "delivered", "beam"])
    assert list(found["wide"])[3:] == ["norm_b", "delivered", "beam"]
    assert found["wide"].norm_b.tolist() == pytest.approx([1, np.nan, 3, np.nan], nan_ok=True)
    assert found["status"]["trivial"] == 1
    assert found["status"]["unreadable_cells"] == 5, "an x, and four flags that are no numbers"
    assert "no column 'mass', which features names" in no_line(tmp_path, source=str(source), columns=columns, features=["mass"])
    assert "features names 'run'" in no_line(tmp_path, source=str(source), columns=columns, features=["run"])
    found, _ = extracted(tmp_path, source, columns=columns | {"golden": "nowhere"})
    assert found["status"]["good"] == 1, "what is called golden by a known name still is"
    assert found["names"]["RECORDED"]["warnings"] == ["columns says that golden is called 'nowhere', and no table has such a column"]
    assert "columns names 'luck'" in no_line(tmp_path, source=str(source), columns={"luck": "x"})


def test_two_certificates_label_lumisections_and_speak_only_for_their_runs(tmp_path):
    rows = pd.DataFrame({"run": [8, 10, 10, 10, 11, 12, 14], "ls": [1, 1, 2, 3, 1, 1, 1], "rate": 1.0})
    golden = write(tmp_path / "golden.json", {10: [[1, 1], [3, 3]], 12: [[1, 2]]})
    dcs = write(tmp_path / "dcs.json", {8: [[1, 9]], 10: [[1, 2]], 12: [[1, 1]], 13: []})
    found, page = extracted(tmp_path, write(tmp_path / "wide.csv", rows), golden=str(golden), dcs=str(dcs))
    table = found["lumisections"].set_index(["run", "lumisection"])
    verdicts = {key: (row.golden, row.dcs) for key, row in table.astype(object).where(table.notna(), None).iterrows()}
    assert verdicts == {
        **{(8, ls): (None, True) for ls in range(1, 10)},
        (10, 1): (True, True),
        (10, 2): (False, True),
        (10, 3): (True, False),
        (11, 1): (False, False),
        (12, 1): (True, True),
        (12, 2): (True, False),
        (14, 1): (None, None),
    }
    labels = {"good": 2, "trivial": 2, "expert": 1, "unlabelled": 2, "rows": 7}
    assert {name: found["status"][name] for name in labels} == labels
    assert "1 golden lumisections have no row" in page


def test_the_json_counts_and_differences_with_a_column_are_shown(tmp_path):
    golden = write(tmp_path / "golden.json", {10: [[1, 1]]})
    found, page = extracted(tmp_path, write(tmp_path / "wide.csv", WIDE), golden=str(golden))
    assert found["lumisections"].golden.isna().tolist() == [False, False, True, True]
    assert found["lumisections"].golden[:2].tolist() == [True, False]
    assert "golden_column" not in found["lumisections"]
    assert "are golden: on 1 they contradict each other, on 2 only one of them says anything, on 1 they agree" in page


def test_luminosities_come_from_a_table_beside_and_days_need_times(tmp_path):
    source = write(tmp_path / "wide.csv", pd.DataFrame({"run": [1, 1, 2, 3, 9], "ls": [1, 2, 1, 1, 1], "rate": [1.0, 2, 3, 4, 5]}))
    assert "days is 3, but no time is known" in no_line(tmp_path, source=str(source), days=3)
    times = ["2026-01-28T23:59:00Z", "2026-01-29 00:00:00", "2026-01-31T23:59:59+00:00", "2026-02-01T00:00:00Z", "2026-01-30T12:00:00Z", "soon"]
    table = pd.DataFrame({"run": [1, 1, 2, 3, 4, 9], "lumisection": [1, 2, 1, 1, 1, 1], "fill": [7, 7, 8, 8, None, 9], "time": times})
    table["recorded_lumi"] = [0.1, 0.2, 0.3, 0.4, 0.5, "?"]
    beside = write(tmp_path / "lumi.csv", table)
    found, page = extracted(tmp_path, source, luminosity=str(beside), days=3)
    assert found["wide"].rate.tolist() == [1, 2, 3], "a run goes by its newest lumisection, whole"
    kept = found["lumisections"]
    assert kept[["run", "lumisection"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [4, 1]]
    assert kept.time.astype(str).tolist()[1] == "2026-01-29 00:00:00+00:00"
    assert kept.fill.tolist()[:3] == [7, 7, 8]
    assert pd.isna(kept.fill[3])
    status = found["status"]
    assert (status["window"], status["state"], status["newest"]) == (["2026-01-29", "2026-01-31"], "partial", "2026-01-31 23:59:59+00:00")
    assert "3 rows kept, 2 left out with runs of other days and 1 run without any time" in page
    found, _ = extracted(tmp_path, source, luminosity=str(beside), days=0)
    assert len(found["wide"]) == 5
    assert found["status"]["unreadable_cells"] == 2


def test_days_cut_histograms_too_and_old_data_are_stale(tmp_path):
    rows = ROWS.assign(time=["2026-01-20T00:00:23Z", "2026-01-20T00:00:00Z", "2026-01-20T00:00:00Z", "2026-01-25T00:00:00Z"])
    found, _ = extracted(tmp_path, write(tmp_path / "rows.csv", rows), days=10)
    assert found["histograms"].run.tolist() == [400200]
    assert found["status"]["state"] == "stale"
    found, _ = extracted(tmp_path, tmp_path / "rows.csv", days=2)
    assert (found["status"]["state"], found["status"]["rows"], len(found["lumisections"])) == ("empty", 0, 0)


def test_a_night_before_the_newest_data_does_not_know_of_them(tmp_path):
    rows = ROWS.assign(time=["2026-01-20T00:00:23Z", "2026-01-20T00:00:00Z", "2026-01-20T00:00:00Z", "2026-01-25T00:00:00Z"])
    found, page = extracted(tmp_path, write(tmp_path / "rows.csv", rows), day="2026-01-21")
    assert (found["status"]["state"], found["status"]["newest"]) == ("ok", "2026-01-20 00:00:23+00:00")
    assert "Newest: 2026-01-20 00:00 UTC." in page
    found, page = extracted(tmp_path, tmp_path / "rows.csv", day="2026-01-19")
    assert found["status"]["newest"] is None
    assert "Newest: none up to the end of 2026-01-19." in page


def test_the_golden_json_of_the_last_night_is_named_after_it_even_when_the_source_fails(tmp_path):
    ours = tmp_path / "data/scores/certification_golden.json"
    source = write(tmp_path / "rows.csv", ROWS)
    extracted(tmp_path, source, day="2026-01-30")
    write(ours, {400100: [[1, 2]]})
    assert "no file matches" in no_line(tmp_path, source=str(tmp_path / "missing.csv"), day="2026-01-31")
    assert not ours.exists(), "nobody may take it for that of tonight"
    assert read_golden(ours.with_name("certification_golden_2026-01-30.json")) == {400100: [[1, 2]]}
    write(ours, {400100: [[1, 1]]})
    (tmp_path / DATA / "status.json").unlink()
    _, page = extracted(tmp_path, source, day="2026-01-31")
    assert "Our last Golden JSON is now certification&#95;golden&#95;earlier.json." in page
    assert read_golden(ours.with_name("certification_golden_earlier.json")) == {400100: [[1, 1]]}


def test_an_empty_file_and_a_header_alone_are_an_empty_night(tmp_path):
    write(tmp_path / "a.csv", "")
    write(tmp_path / "b.csv", ",".join(ROWS) + "\n")
    found, page = extracted(tmp_path, tmp_path / "*.csv")
    assert found["status"]["state"] == "empty"
    assert "0 histograms of 0 lumisections" in page


def test_hostile_names_stay_names(tmp_path):
    name = '<script>alert(1)</script>/../$x$ "q", *b*'
    found, page = extracted(tmp_path, write(tmp_path / "rows.csv", ROWS.assign(dataset=name, hname=name)))
    assert set(found["histograms"].dataset) == set(found["histograms"].element) == {name}
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv.gz", gzip.compress(b"run,lumisection,element,contents,x_min,x_max\n" * 9999, mtime=0)[:60], "a.csv.gz cannot be read"),
        ("a.csv.gz", b"no gzip", "a.csv.gz cannot be read"),
        ("a.parquet", b"PAR1 and no more", "a.parquet cannot be read"),
        ("a.root", b"no ROOT file" * 99, "it is damaged, or no ROOT file"),
        ("a.csv", b"run,hname,histo\n5,x,[1]\n", "it has no column for lumisection, x_min, x_max"),
        ("a.csv", b"node,value\n1,2\n", "it has no column for run, lumisection"),
        ("a.csv", b"run,run,lumisection\n1,2,3\n", "two of its columns are called 'run' and differ: rename one of them"),
        ("a.csv", b"run,lumisection,rate\nx,1,2\n,1,2\n", "none of its rows can be used; of the first: no run (run: x, lumisection: 1)"),
    ],
)
def test_what_is_damaged_or_lacks_columns_ends_in_one_line_and_leaves_the_last_night(tmp_path, name, content, line):
    extracted(tmp_path, write(tmp_path / "good.csv", WIDE))
    before = raw(tmp_path, "wide")
    (tmp_path / name).write_bytes(content)
    assert line in no_line(tmp_path, source=str(tmp_path / name))
    pd.testing.assert_frame_equal(raw(tmp_path, "wide"), before)


def test_a_truncated_root_file_ends_in_one_line(tmp_path):
    path = write_root(tmp_path / "a.root", {f"A/Run 1/LS {i}/x": ([i, 2], [0, 1, 2]) for i in range(1, 50)})
    path.write_bytes(path.read_bytes()[:9000])
    assert "a.root cannot be read" in no_line(tmp_path, source=str(path))


def test_certificates_that_are_wrong_end_the_night_before_the_long_work(tmp_path):
    source = write(tmp_path / "wide.csv", WIDE)
    bad = write(tmp_path / "bad.json", '{"10": [[1, 5], [4, 6]]}')
    assert "run 10: [4, 6] begins at or before 5" in no_line(tmp_path, source=str(source), golden=str(bad))
    endless = write(tmp_path / "endless.json", '{"10": [[1, 2000000000]]}')
    assert "is longer than any run" in no_line(tmp_path, source=str(source), dcs=str(endless))
    assert "no file matches" in no_line(tmp_path, source=str(source), golden=str(tmp_path / "none.json"))
    assert "no file matches" in no_line(tmp_path, source=str(tmp_path / "none.csv"))
    assert "there is no sample" in no_line(tmp_path, source="sample")


def test_histograms_and_wide_tables_are_not_mixed(tmp_path):
    write(tmp_path / "a.csv", ROWS)
    write(tmp_path / "b.csv", WIDE)
    assert "b.csv cannot be read: ValueError: it holds a wide table, and files before it do not" in no_line(tmp_path, source=str(tmp_path / "*.csv"))


numbers = st.lists(st.floats(allow_infinity=False, allow_nan=False, width=32) | st.integers(-(10**9), 10**9), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(numbers | st.sampled_from(["", "[]", "[", "[1", "1]", "[1,,2]", "[[1]]", "[a]", "null", "{}", "[1]]"]), min_size=1, max_size=12),
    st.booleans(),
)
def test_contents_equal_those_that_json_reads_one_by_one(cells, spaces):
    texts = [cell if isinstance(cell, str) else json.dumps(cell, separators=(", " if spaces else ",", ":")) for cell in cells]
    flat, lengths, good = as_contents(pa.array(texts))
    parts = np.split(flat, np.cumsum(lengths)[:-1])
    for cell, part, is_good in zip(cells, parts, good, strict=True):
        assert is_good == (not isinstance(cell, str))
        if is_good:
            np.testing.assert_array_equal(part, np.array(cell, float))


def test_fifty_thousand_histograms_take_seconds(tmp_path):
    n, rng = 50_000, np.random.default_rng(0)
    some = [json.dumps(row) for row in rng.poisson(50, (500, 50)).tolist()]
    at = np.arange(n)
    columns = {"run": 400000 + at // 7000, "lumisection": 1 + at % 7000 // 7, "element": [f"Tracker/h{i}" for i in at % 7]}
    write(tmp_path / "rows.csv", pd.DataFrame(columns | {"contents": [some[i] for i in at % 500], "x_min": 0, "x_max": 1}))
    begun = time.process_time()
    found, _ = extracted(tmp_path, tmp_path / "rows.csv")
    assert within(time.process_time() - begun, 12)
    assert len(found["histograms"]) == n
    assert found["histograms"].entries[777] == sum(json.loads(some[277]))


@pytest.mark.skipif(not (REAL_DATA / "certification").exists(), reason="needs ../shared/data/certification")
def test_real_lumisections_are_labelled_as_the_table_itself_says(tmp_path):
    folder = REAL_DATA / "certification"
    parameters = {"golden": str(folder / "golden/Golden_2024B-v1.json"), "columns": {"dcs": "dcs_good"}, "features": ["pileup", "rate_HLT_Physics"]}
    found, _ = extracted(tmp_path, folder / "oms_2024B-v1.parquet", day="2024-05-03", **parameters)
    own = pd.read_parquet(folder / "oms_2024B-v1.parquet").sort_values(["run", "lumisection"], ignore_index=True)
    table = found["lumisections"]
    covered = table.golden.notna()
    assert covered.sum() > 10_000
    assert (table.golden[covered].astype(bool) == own.golden[covered].astype(bool)).all()
    assert not own.golden[~covered].fillna(False).any(), "beyond the runs of the JSON nothing is golden"
    assert (found["status"]["good"], found["status"]["state"]) == (int((own.golden & own.dcs_good).sum()), "ok")
    assert list(found["wide"])[3:] == parameters["features"]
