"""Files of histograms, wide tables and luminosities: the form of a file says how it is opened, its columns
what it holds.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from helpers import study_paths
from nightshift.sources.base import FileSource, Look, file_sources, source_of
from nightshift.sources.certification.lumisections import HISTOGRAM_SCHEMA, Extraction, Settings
from nightshift.sources.files import matching_files
from nightshift.sources.tables import read_csv_pages

OPTIONAL = {
    "time": "the newest lumisection is not known, and `days` can keep none",
    "recorded_lumi": "what is lost is counted in lumisections and not weighed",
}


@dataclass
class LumisectionFile(FileSource):
    """A file of one form. dataset : that of rows in whose table no column names one. root_pattern : regular
    expression for paths in ROOT files, see `path_pattern`.
    """

    optional = OPTIONAL

    dataset: str
    root_pattern: str

    def open(self, path, bad_lines, left_out):
        """Return (names of the columns, pages) of the file `path`, each with the number of its first row.

        bad_lines : list of (file, row, reason, text), to which rows that do not parse are added. left_out : a
        Counter of what is no histogram of a lumisection.
        """
        raise NotImplementedError

    def extract(self, path, extraction):
        """Add one file of the source to the raw tables; an empty file adds nothing."""
        extraction.read_source(path, self.open)

    def reader(self, path, role):
        """Return what reads the file `path`, a function of an Extraction. role : "source", or "luminosity" of
        a table of luminosities.
        """
        if role == "luminosity":
            return lambda one: one.read_luminosity(path, self.open)
        return lambda one: self.extract(path, one)

    def keep(self, path, night, role="source"):
        """Add what the last night noted of the file, where that still holds, and return whether it does; see
        `Night.keep`.
        """
        return night.keep(path, self, role)

    def add(self, path, night, role="source"):
        """Add the file, and note what was counted of it."""
        night.add(path, self, role)

    def look(self, path, *, settings, folder):
        """Extract the file, and sum up its lumisections."""
        wanted = Settings(settings["columns"], self.dataset, settings["features"])
        with (
            tempfile.TemporaryDirectory(dir=folder) as apart,  # the excerpt `path` may have the same name
            pq.ParquetWriter(Path(apart, "histograms.parquet"), HISTOGRAM_SCHEMA) as table,
        ):
            extraction = Extraction(wanted, table)
            for number, file in enumerate(luminosities(settings)):
                kind = source_of(file_sources("certification", settings), file)
                Path(apart, str(number)).mkdir()
                extraction.read_luminosity(kind.excerpt(file, Path(apart, str(number)))[0], kind.open)
            self.extract(path, extraction)
        of_any = [*extraction.about_rows, *extraction.about_lumi]
        about = pd.concat([pd.DataFrame({"time": []}), *of_any], ignore_index=True)
        look = Look.of_rows(self.label, about, pd.to_datetime(about.time, utc=True), extraction.bad_lines)
        look.rows, look.problems = extraction.counts["rows"], extraction.no_lumisections[:1]
        if extraction.are_histograms:
            look.notes.append("histograms" if True in extraction.are_histograms else "a wide table")
        return look


def luminosities(settings):
    """Return the paths of the tables of luminosities, by `settings`, the parameters of 1_extract: "sample" is
    the one beside the sample, and none where the source is another.
    """
    named = settings["luminosity"]
    if named == "sample":
        sample = study_paths("certification", settings["products"]).sample / "certification/lumisections.csv"
        named = str(sample) if settings["source"] == "sample" else ""
    return matching_files(named) if named else []


@dataclass
class CsvTable(LumisectionFile):
    """A table of text, plain or .gz."""

    label = "a table of lumisections (CSV)"
    asked_last = True

    def open(self, path, bad_lines, left_out):
        """Open the file, see `read_csv_pages`."""
        return without_copies(*read_csv_pages(path, bad_lines))


def without_copies(names, pages):
    """(names, pages) without columns that repeat an earlier one of the same name, such as an index that
    pandas wrote a second time; ValueError of one line from the pages where the two differ.
    """
    first = [at for at, name in enumerate(names) if name not in names[:at]]
    if len(first) == len(names):
        return names, pages

    def whole():
        for first_row, page in pages:
            for at, name in enumerate(names):
                if not page.column(at).equals(page.column(names.index(name))):
                    raise ValueError(f"two of its columns are called {name!r} and differ: rename one of them")
            yield first_row, page.select(first)

    return [names[at] for at in first], whole()


def open_table(path, bad_lines, left_out=None, *, dataset="", root_pattern=""):
    """Return (names of the columns, pages) of a file of any form, see `LumisectionFile.open`."""
    forms = file_sources("certification", {"dataset": dataset, "root_pattern": root_pattern})
    return source_of(forms, path).open(path, bad_lines, left_out)
