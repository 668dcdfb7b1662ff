"""Luminosities as brilcalc prints them, in any style and unit, and what contradicts itself."""

import gzip

import numpy as np
import pandas as pd
import pytest

from nightshift.sources.certification.forms import open_table
from nightshift.sources.certification.histograms import Cells, layout_of
from nightshift.sources.certification.luminosity import contradictions, differ, is_brilcalc, picobarns, read_brilcalc

COLUMNS = ["run:fill", "ls", "time", "beamstatus", "E(GeV)", "delivered(/ub)", "recorded(/ub)", "avgpu", "source"]
ROWS = [
    ["355100:8001", "1:1", "07/09/22 23:59:50", "STABLE BEAMS", "6800", "250000.5", "240000.5", "44.1", "HFET"],
    ["355100:8001", "2:2", "07/10/22 00:00:13", "STABLE BEAMS", "6800", "250000", "0", "44.0", "HFET"],
    ["355101:8001", "1:0", "07/10/22 00:10:00", "ADJUST", "6800", "10", "0", "1.0", "HFET"],
    ["355101:8001", "12:3", "07/10/22 00:14:36", "STABLE BEAMS", "6800", "5e5", "4e5", "50", "PXL"],
]
HEAD = "#Data tag : 24v1 , Norm tag: none\n"
SUMMARY = "#Summary:\n#nfill,nrun,nls,ncms,totdelivered(/ub),totrecorded(/ub)\n#1,2,4,3,1000000.0,880000.0\n"


def in_csv(rows=ROWS, columns=COLUMNS, separator=","):
    lines = [separator.join(row) for row in rows]
    return HEAD + "#" + separator.join(columns) + "\n" + "\n".join(lines) + "\n" + SUMMARY


def in_table(rows=ROWS, columns=COLUMNS):
    ruler = "+" + "+".join("-" * 20 for _ in columns) + "+\n"
    lines = "".join("| " + " | ".join(cell.ljust(18) for cell in row) + " |\n" for row in rows)
    summary = "#Summary: \n+-------+------+-----+\n| nfill | nrun | nls |\n+-------+------+-----+\n| 1     | 2    | 4   |\n"
    return HEAD + ruler + "| " + " | ".join(columns) + " |\n" + ruler + lines + ruler + summary


def read(path, text):
    """All that a file which holds `text` says of its lumisections, as a DataFrame, with what could not be read."""
    (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8").write(text)
    bad, cells = [], Cells()
    names, pages = open_table(str(path), bad)
    layout = layout_of(names, {})
    [(_, page)] = pages
    frame = page.select(["run", "fill", "ls", "taken"]).to_pandas().astype(int)
    return frame.assign(**{k: v for k, v in cells.about(page, layout, "x").items() if k != "fill"}), bad


@pytest.mark.parametrize(("name", "text"), [("a.csv", in_csv()), ("a.txt", in_table()), ("a.csv.gz", in_csv()), ("a.csv", in_csv(separator=";"))])
def test_every_style_gives_the_same_rows_in_inverse_picobarns(tmp_path, name, text):
    found, bad = read(tmp_path / name, text)
    assert bad == []
    assert found[["run", "fill", "ls", "taken"]].to_numpy().tolist() == [
        [355100, 8001, 1, 1],
        [355100, 8001, 2, 1],
        [355101, 8001, 1, 0],
        [355101, 8001, 3, 1],
    ]
    assert found.delivered_lumi.tolist() == pytest.approx([0.2500005, 0.25, 1e-5, 0.5])
    assert found.recorded_lumi.tolist() == pytest.approx([0.2400005, 0, 0, 0.4])
    assert found.pileup.tolist() == [44.1, 44, 1, 50]
    assert found.time.astype(str).tolist()[:2] == ["2022-07-09 23:59:50+00:00", "2022-07-10 00:00:13+00:00"]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("", 1), ("/fb", 1e3), ("/pb", 1), ("/nb", 1e-3), ("/ub", 1e-6), ("/mb", 1e-9), ("/b", 1e-12), ("pb^-1", 1), ("fb-1", 1e3), ("1e9/ub", 1e3)],
)
def test_units_are_converted(unit, factor):
    assert picobarns(unit) == pytest.approx(factor)


@pytest.mark.parametrize("unit", ["hz/ub", "/pc", "1e30/cm2", "%"])
def test_what_is_no_integrated_luminosity_is_refused_by_name(unit):
    with pytest.raises(ValueError, match="its luminosities are in"):
        picobarns(unit)


def test_a_damaged_row_is_named_and_the_others_stay(tmp_path):
    found, bad = read(tmp_path / "a.csv", in_csv([ROWS[0], ROWS[1][:5], ROWS[3]]))
    assert found.ls.tolist() == [1, 3]
    assert [(line, reason) for _, line, reason, _ in bad] == [(4, "5 columns, not 9")]


def test_other_forms_of_brilcalc(tmp_path):
    seconds = [[*row[:2], str(1657411190 + i), *row[3:]] for i, row in enumerate(ROWS)]
    found, _ = read(tmp_path / "tssec.csv", in_csv(seconds))
    assert found.time.iloc[0] == pd.Timestamp("2022-07-09 23:59:50", tz="UTC")
    bunches = [[*row, '"[1 0.1 0.1, 2 0.2 0.2]"'] for row in ROWS]
    found, bad = read(tmp_path / "xing.csv", in_csv(bunches, [*COLUMNS, "[bxidx bxdelivered(/ub) bxrecorded(/ub)]"]))
    assert (len(found), bad) == (4, [])
    paths = [[*row[:3], "HLT_ZeroBias_v6", *row[5:8]] for row in ROWS]
    with pytest.raises(ValueError, match="of trigger paths, divided by their prescales"):
        read(tmp_path / "hlt.csv", in_csv(paths, [*COLUMNS[:3], "hltpath", *COLUMNS[5:8]]))
    found, _ = read(tmp_path / "two.csv", in_csv(ROWS[:2]) + in_csv(ROWS[2:]))
    assert len(found) == 4, "two outputs in one file"
    (tmp_path / "runs.csv").write_text("#run:fill,time,nls,ncms,delivered(/ub),recorded(/ub)\n355100:8001,07/09/22 23:59:50,2,2,5,4\n")
    with pytest.raises(ValueError, match=r"luminosities of whole runs: needed are those of lumisections \(brilcalc lumi --byls\)"):
        read_brilcalc(tmp_path / "runs.csv", [])
    assert not is_brilcalc(["run,fill,ls", "1,2,3"])


KEYS = ["run", "lumisection"]


def test_what_contradicts_an_earlier_row_is_named_and_rounding_is_no_contradiction():
    one = pd.DataFrame({"run": [1, 1, 1], "lumisection": [1, 2, 3], "recorded_lumi": [0.5, np.nan, 0.7]})
    two = pd.DataFrame({"run": [1, 1, 1], "lumisection": [1, 2, 3], "recorded_lumi": [0.50001, 0.6, 0.9], "fill": [8, 8, 8]})
    index = pd.MultiIndex.from_frame(one[KEYS])
    values, rows = contradictions([one, two], "recorded_lumi", index)
    assert values.tolist() == [0.5, 0.6, 0.7]
    assert (rows.index.tolist(), rows.to_numpy().tolist()) == ([(1, 3)], [[0.7, 0.9]])
    assert len(contradictions([one, two], "fill", index)[1]) == 0
    assert contradictions([one], "time", index)[0].isna().all()
    flags = pd.DataFrame({"run": [1, 1, 1], "lumisection": [1, 1, 2], "golden": pd.array([True, False, True], "boolean")})
    values, rows = contradictions([flags], "golden", index)
    assert (values.isna().tolist(), len(rows)) == ([True, False, True], 1), "of contradictory flags neither counts"
    begins = pd.to_datetime(["2026-01-01T00:00:00Z", "2026-01-01T00:00:20Z", "2026-01-01T00:01:00Z"])
    times = pd.DataFrame({"run": 1, "lumisection": 1, "time": begins})
    assert len(contradictions([times], "time", index)[1]) == 1


@pytest.mark.parametrize(
    ("first", "other", "is_other"), [(0.0, 0.0, False), (100.0, 100.1, False), (100.0, 100.2, True), (-100.0, 100.0, True), (0.0, 1e-9, True)]
)
def test_a_thousandth_is_rounding_and_nothing_twice_is_no_contradiction(first, other, is_other):
    assert differ(pd.Series([first]), pd.Series([other])).tolist() == [is_other]


def test_half_a_minute_is_no_contradiction_and_what_is_missing_is_none():
    begin = pd.Series(pd.to_datetime(["2026-01-01T00:00:30Z"] * 2))
    assert differ(begin, begin + pd.to_timedelta([-30, -31], unit="s")).tolist() == [False, True]
    assert differ(pd.Series([8, 8, None], dtype="Int64"), pd.Series([8, 9, 9], dtype="Int64")).tolist() == [False, True, False]


def test_outputs_of_other_columns_in_one_file_are_one_line(tmp_path):
    (tmp_path / "a.csv").write_text("#run:fill,ls,time,delivered(/ub)\n1:2,1:1,07/09/22 00:00:00,5\n#run:fill,ls,time,delivered(/nb)\n")
    with pytest.raises(ValueError, match=r"^line 3: its columns are run:fill, ls, time, delivered\(/nb\), those before are others$"):
        read_brilcalc(tmp_path / "a.csv", [])
