"""Histograms of ROOT files: which are of lumisections, what path and name of the file say, and that progress changes nothing."""

from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import uproot
from tqdm import tqdm

import nightshift.sources.certification.root as root


def write(path, names):
    with uproot.recreate(path) as file:
        for number, name in enumerate(names):
            file[name] = (np.array([number, 2.0]), np.array([0.0, 1, 2]))
    return str(path)


def read(path, pattern="", dataset="wide"):
    left_out = Counter()
    _, pages = root.read_root(path, pattern=root.path_pattern(pattern), dataset=dataset, left_out=left_out)
    return [row for _, page in pages for row in page.to_pylist()], left_out


LUMI = "DQMData/Run 355100/Tracking/By Lumi Section {0}-{0}/hit_eta"
RUN = "DQMData/Run 355100/Tracking/Run summary/hit_eta"


def test_a_bar_that_is_drawn_at_every_histogram_changes_nothing(tmp_path, monkeypatch):
    """A drawn bar makes `update` return True, which must not take the place of a histogram."""
    path = write(tmp_path / "a.root", [LUMI.format(ls) for ls in range(1, 60)])
    monkeypatch.setattr(root, "tqdm", partial(tqdm, mininterval=0, miniters=1))
    rows, _ = read(path)
    assert [row["lumisection"] for row in rows] == [str(ls) for ls in range(1, 60)]
    assert [row["contents"][0] for row in rows] == list(range(59))


def test_histograms_of_whole_runs_are_one_line_that_names_the_run(tmp_path):
    path = write(tmp_path / "DQM_V0001_R000355100__ZeroBias__Run2022C-PromptReco-v1__DQMIO.root", [RUN, RUN.replace("hit_eta", "pt")])
    with pytest.raises(root.NoLumisectionError, match="its 2 histograms are of whole runs, such as run 355100, and lumisections are judged: needed"):
        read(path)
    path = write(tmp_path / "a.root", ["DQMData/Run 7/Tracking/By Lumi Section 5-9/hit_eta"])
    with pytest.raises(root.NoLumisectionError, match="of several lumisections at once"):
        read(path)


def test_of_both_those_of_lumisections_are_used_and_the_others_counted(tmp_path):
    name = "DQM_V0002_R000355100__ZeroBias__Run2022C-PromptReco-v1__DQMIO.root"
    several = LUMI.format(5).replace("5-5", "5-9")
    path = write(tmp_path / name, [RUN, LUMI.format(3), several, "DQMData/Run 355100/all", "no/path"])
    rows, left_out = read(path)
    assert [(row["run"], row["lumisection"], row["element"]) for row in rows] == [("355100", "3", "Tracking/hit_eta"), (None, None, "no/path")]
    assert {(row["dataset"], row["version"]) for row in rows} == {("ZeroBias", "Run2022C-PromptReco-v1 V0002")}
    assert (left_out["whole runs"], left_out["several lumisections"]) == (2, 1)


def test_names_may_hold_line_breaks(tmp_path):
    rows, left_out = read(write(tmp_path / "a.root", [LUMI.format(3) + "\nof pions", LUMI.format(4).replace("Tracking", "a\nb"), RUN]))
    assert [(row["lumisection"], row["element"]) for row in rows] == [("3", "Tracking/hit_eta\nof pions"), ("4", "a\nb/hit_eta")]
    assert (left_out["whole runs"], left_out["several lumisections"]) == (1, 0)


def profile(sums, entries, edges):
    """A TProfile as uproot writes it: sums of y and entries of each bin, without what lies beside the axis."""
    from uproot.writing.identify import to_TAxis, to_TProfile

    beside = [np.pad(np.array(values, float), 1, constant_values=5) for values in (sums, np.square(sums), entries)]
    axis = to_TAxis("xaxis", "", len(sums), edges[0], edges[-1], np.array(edges, float))
    n = float(sum(entries))
    return to_TProfile(None, "", beside[0], n, n, n, 0.0, 0.0, 0.0, 0.0, beside[1], beside[2], beside[2], axis)


def test_a_profile_gives_the_means_of_its_bins_and_their_entries(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file[LUMI.format(3)] = profile([20, 0, -8], [10, 0, 4], [0, 1, 2, 3])
        file[LUMI.format(4)] = profile([20, 30], [10, 6], [0, 1, 4])  # a bin as wide as three
    rows, left_out = read(str(tmp_path / "a.root"))
    assert [(row["lumisection"], row["element"], row["entries"], row["contents"]) for row in rows] == [
        ("3", "Tracking/hit_eta (mean)", 14, [2, 0, -2]),
        ("3", "Tracking/hit_eta (entries)", 14, [10, 0, 4]),
        ("4", "Tracking/hit_eta (mean)", 16, pytest.approx([2, 5, 5, 5])),
        ("4", "Tracking/hit_eta (entries)", 16, pytest.approx([10, 2, 2, 2])),
    ]
    assert (rows[2]["x_min"], rows[2]["x_max"], left_out["other objects"]) == (0, 4, 0)


def test_a_file_without_histograms_says_what_it_holds(tmp_path):
    with uproot.recreate(tmp_path / "dqmio.root") as file:
        file.mktree("Indices", {"Run": "int32"})
        file.mktree("TH1Fs", {"FullName": "int32"})
    with pytest.raises(ValueError, match=r"it holds 2 TTree \(the trees of a DQMIO file: harvest it first\): needed are histograms of one dimension"):
        read(str(tmp_path / "dqmio.root"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("DQM_V0001_R000355100__JetMET__Run2023D-22Sep2023_v2-v1__DQMIO.root", ("JetMET", "Run2023D-22Sep2023_v2-v1 V0001")),
        ("DQM_V0003_SiStrip_R000400001.root", ("", "V0003")),
        ("histograms.root", ("", "")),
    ],
)
def test_the_name_of_a_file_says_dataset_and_version(name, says):
    assert root.file_says(f"/x/{name}") == says


def test_patterns_are_checked():
    with pytest.raises(ValueError, match="root_pattern is no regular expression"):
        root.path_pattern("(")
    with pytest.raises(ValueError, match="no group 'element'"):
        root.path_pattern(r"(?P<run>\d+)/(?P<lumisection>\d+)")


def test_bins_of_unequal_width_keep_their_quantiles(tmp_path):
    edges, counts = np.array([0.0, 1, 2, 4, 8, 16, 50]), np.array([400.0, 300, 200, 100, 60, 40])
    with uproot.recreate(tmp_path / "a.root") as file:
        file[LUMI.format(1)] = (counts, edges)
    [row], _ = read(str(tmp_path / "a.root"))
    assert (row["x_min"], row["x_max"], len(row["contents"])) == (0, 50, 50)
    reached = np.cumsum(row["contents"])
    assert np.allclose(reached[np.array(edges[1:], int) - 1], np.cumsum(counts))
    of_time = SimpleNamespace(edges=lambda: np.array([0, 1e-9, 3e-9]))  # in seconds
    assert np.allclose(root.axis_of(of_time, np.array([2.0, 4.0]))["contents"], [2, 2, 2])
    fine = np.append(0, np.geomspace(1e-3, 1e4, 20))  # 1e7 times as wide as its narrowest bin
    with uproot.recreate(tmp_path / "b.root") as file:
        file[LUMI.format(1)] = (np.ones(20), fine)
    [row], _ = read(str(tmp_path / "b.root"))
    assert len(row["contents"]) == root.MOST_BINS
    assert np.isclose(sum(row["contents"]), 20)


def test_a_map_becomes_its_projections(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file[LUMI.format(1)] = (np.array([[10.0, 20], [30, 40], [0, 50]]), np.arange(4.0), np.array([-1.0, 0, 1]))
        file["notes"] = "text"
    rows, left_out = read(str(tmp_path / "a.root"))
    assert [(row["element"], row["contents"]) for row in rows] == [
        ("Tracking/hit_eta (x)", [30, 70, 50]),
        ("Tracking/hit_eta (y)", [40, 110]),
    ]
    assert left_out["other objects"] == 1
