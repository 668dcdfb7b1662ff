"""Extraction of a source of lumisections, and before it of a table of luminosities."""

import pyarrow.parquet as pq

from nightshift.sources.base import file_sources, read_source, source_of
from nightshift.sources.certification.lumisections import HISTOGRAM_SCHEMA, Extraction, Settings
from nightshift.sources.certification.root import path_pattern
from nightshift.sources.tables import read_files


def extract_source(place, luminosity, path, **settings):
    """Read a source, and before it a table of luminosities, where it is not "": an Extraction, whose
    histograms are in the new Parquet file `path`.

    place, luminosity : paths or globs. settings : columns, dataset, features and root_pattern, parameters of
    1_extract. ValueError, one line, when no file of the source has lumisections, or of what cannot be read.
    """
    path_pattern(settings["root_pattern"])  # a mistake in it ends the night before the long work
    forms = file_sources("certification", settings)
    with pq.ParquetWriter(path, HISTOGRAM_SCHEMA, compression="zstd") as table:
        names = ("columns", "dataset", "features")
        extraction = Extraction(Settings(**{name: settings[name] for name in names}), table)
        if luminosity:
            read_files(luminosity, lambda file: extraction.read_luminosity(file, source_of(forms, file).open))
        read_source("certification", place, extraction, **settings)
    if extraction.no_lumisections and not extraction.counts["rows"]:
        raise ValueError(extraction.no_lumisections[0])
    return extraction
