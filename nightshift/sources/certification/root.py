"""Histograms per lumisection in ROOT files, in the manners of CMS data quality monitoring (DQM)."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

# `ZeroBias/Run 400123/LS 12/Tracker/hit_eta`, or `DQMData/Run 400123/Tracker/By Lumi Section 12-12/hit_eta`,
# whose element is `Tracker/hit_eta`. Names may hold line breaks: (?s) lets a dot stand for one.
MANNERS = (
    r"(?s)^(?:DQMData/|(?P<dataset>[^/]+)/)?Run (?P<run>\d+)/(?:(?P<folder>.+)/)?"
    r"(?:LS |By Lumi Section )(?P<lumisection>\d+)"
    r"(?:-(?P=lumisection))?/(?P<element>.+)$"
)
WHOLE_RUN = re.compile(r"(?:^|/)Run (?P<run>\d+)/")
SEVERAL = re.compile(r"/By Lumi Section \d+-\d+/")
FILE_NAME = re.compile(
    r"DQM_V(?P<version>\d+)(?:_[A-Za-z0-9]+)*?_R(?P<run>\d{9})"
    r"(?:__(?P<dataset>[^_/]+)__(?P<processing>.+?)__(?P<tier>\w+))?\.root$"
)
TEXTS = ["dataset", "run", "lumisection", "element", "version"]
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in TEXTS),
        *((name, pa.float64()) for name in ("entries", "x_min", "x_max")),
        ("contents", pa.list_(pa.float64())),
    ]
)


READ = re.compile(r"TH[12]|TProfile$")  # classes of histograms that are read
MOST_BINS = 1000  # into which an axis with bins of unequal width is cut


class NoLumisectionError(ValueError):
    """A ROOT file whose histograms are all of whole runs, or of several lumisections at once."""


def path_pattern(pattern=""):
    """Compile the regular expression for paths in ROOT files, MANNERS where `pattern` is ""; ValueError of
    one line when `pattern` is none, or lacks one of the groups run, lumisection and element.
    """
    try:
        compiled = re.compile(pattern or MANNERS)
    except re.error as error:
        raise ValueError(f"root_pattern is no regular expression: {error}") from None
    if missing := sorted({"run", "lumisection", "element"} - set(compiled.groupindex)):
        raise ValueError(f"root_pattern has no group {missing[0]!r}: write it as (?P<{missing[0]}>...)")
    return compiled


def file_says(path):
    """(primary dataset, version) in the name of a file of the DQM GUI, such as
    DQM_V0002_R000355100__ZeroBias__Run2022C-PromptReco-v1__DQMIO.root; "" where it does not say them."""
    found = FILE_NAME.search(Path(path).name)
    return (
        (found["dataset"] or "", f"{found['processing'] or ''} V{found['version']}".strip())
        if found
        else ("", "")
    )


def read_rows(file, name, part):
    """Read one histogram of an open ROOT file as rows of SCHEMA: one for a TH1; the projections on x and y
    for a TH2; the means of the bins and their entries for a TProfile; one without contents where it cannot be
    read.

    part : {group: text} of its path, with dataset and version.
    """
    element = "/".join(filter(None, [part.get("folder"), part.get("element") or name]))
    row = dict.fromkeys(SCHEMA.names) | {key: part.get(key) for key in TEXTS} | {"element": element}
    try:
        histogram = file[name]
        row["entries"], values = float(histogram.member("fEntries")), histogram.values().astype(float)
        if histogram.classname == "TProfile":
            return [
                row | {"element": f"{element} ({what})"} | axis_of(histogram.axis(), each, are_counts=counts)
                for what, each, counts in profile_parts(histogram, values)
            ]
        if values.ndim == 1:
            return [row | axis_of(histogram.axis(), values)]
        parts = [("x", values.sum(axis=1)), ("y", values.sum(axis=0))]
        return [
            row | {"element": f"{element} ({way})"} | axis_of(histogram.axis(way), sums)
            for way, sums in parts
        ]
    # uproot raises whatever a damaged byte leads to; the row is put aside later, for its missing contents
    except Exception:
        return [row]


def profile_parts(profile, means):
    """Take a TProfile of uproot apart: [(what, numbers (n,), whether these are counts)] for the `means` (n,)
    of its bins, 0 where a bin has no entry, and for their entries, weighted as they were filled.
    """
    entries = np.asarray(profile.member("fBinEntries"), float)[1:-1]  # without underflow and overflow
    return [("mean", np.where(entries > 0, means, 0.0), False), ("entries", entries, True)]


def axis_of(axis, values, *, are_counts=True):
    """Describe `values` (n,) along an axis of uproot in bins of equal width: {x_min, x_max, contents}.

    An axis with bins of unequal width is cut into pieces as wide as the narrowest bin, at most MOST_BINS of
    them. Counts are spread evenly inside their bins, so that quantiles, which are interpolated in the same
    way, stay as they are. Values that are no counts are averaged over each piece.
    """
    edges = axis.edges()
    low, high = float(edges[0]), float(edges[-1])
    if not np.allclose(np.diff(edges), (high - low) / len(values), rtol=1e-3, atol=0):  # of any unit
        n = min(MOST_BINS, round((high - low) / np.diff(edges).min()))
        weights = values if are_counts else values * np.diff(edges)
        reached = np.interp(np.linspace(low, high, n + 1), edges, np.append(0, np.cumsum(weights)))
        values = np.diff(reached) if are_counts else np.diff(reached) * n / (high - low)
    return {"x_min": low, "x_max": high, "contents": values.tolist()}


def sort_paths(names, pattern):
    """(paths to read, of whole runs, of several lumisections) among the histograms `names` of a file.

    A path that fits none of these is among those to read: its row is put aside later, since it has no run.
    """
    to_read, whole, several = [], [], []
    for name in names:
        of = (
            to_read
            if pattern.search(name) or not WHOLE_RUN.search(name)
            else several
            if SEVERAL.search(name)
            else whole
        )
        of.append(name)
    return to_read, whole, several


def list_histograms(classes):
    """(names of the TH1, TH2 and TProfile; {class: number} of all other objects but folders) of a ROOT file
    with `classes`, {name: class}. ValueError of one line where it holds objects and no histogram.
    """
    read = [name for name, kind in classes.items() if READ.match(kind)]
    others = Counter(
        kind for kind in classes.values() if not READ.match(kind) and not kind.startswith("TDirectory")
    )
    if others and not read:
        found = ", ".join(f"{n:,} {kind}" for kind, n in others.most_common(3))
        dqmio = "Indices" in classes and "TTree" in others
        trees = " (the trees of a DQMIO file: harvest it first)" if dqmio else ""
        raise ValueError(
            f"it holds {found}{trees}: needed are histograms of one dimension, TH1 or TProfile, or of two, "
            "TH2"
        )
    return read, others


def no_lumisection(whole, several):
    """One line on a file whose histograms are all of whole runs or of several lumisections: the lists of
    their names, `whole` and `several`.
    """
    what = "of several lumisections at once"
    if whole:
        what = f"of whole runs, such as run {WHOLE_RUN.search(whole[0])['run']}"
    return (
        f"its {len(whole) + len(several):,} histograms are {what}, and lumisections are judged: needed are "
        f"paths such as Run 400123/Tracker/By Lumi Section 12-12/hit_eta, not {(whole or several)[0][:100]}"
    )


def read_root(path, *, pattern, dataset, left_out):
    """(names of the columns, pages) of the TH1, TH2 and TProfile per lumisection in a ROOT file. uproot needs
    about two milliseconds for a histogram.

    pattern : as `path_pattern` gives it. dataset : that of histograms for which neither path nor file name
    gives one. left_out : a Counter, to which the numbers of those of "whole runs" and "several lumisections",
    and of "other objects", are added. ValueError of one line for a file that is damaged, or holds objects and
    no histogram; NoLumisectionError for one whose histograms are all of no single lumisection.
    """
    import uproot

    try:
        file = uproot.open(path)
        classes = file.classnames(cycle=False)  # of several cycles of an object the newest
    except Exception as error:
        raise ValueError(f"it is damaged, or no ROOT file: {error}") from None
    histograms, others = list_histograms(classes)
    to_read, whole, several = sort_paths(histograms, pattern)
    if histograms and not to_read:
        raise NoLumisectionError(no_lumisection(whole, several))
    sizes = {"whole runs": len(whole), "several lumisections": len(several)}
    left_out.update(sizes | {"other objects": sum(others.values())})
    of_file, version = file_says(path)

    def rows_of(name):
        found = pattern.search(name)
        part = found.groupdict() if found else {}
        named = {"dataset": part.get("dataset") or of_file or dataset, "version": version}
        return read_rows(file, name, part | named)

    def pages():
        with file, tqdm(total=len(to_read), desc=Path(path).name, unit="histogram", leave=False) as bar:
            first = 1
            for i in range(0, len(to_read), 5000):
                rows = []
                for name in to_read[i : i + 5000]:
                    rows += rows_of(name)
                    bar.update()
                yield first, pa.Table.from_pylist(rows, SCHEMA)
                first += len(rows)

    return SCHEMA.names, pages()
