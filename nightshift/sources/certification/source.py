"""Extraction of a source of lumisections, and before it of a table of luminosities."""

from nightshift.sources.base import file_sources, read_source, source_of
from nightshift.sources.certification.lumisections import Extraction, Settings
from nightshift.sources.certification.notes import Night
from nightshift.sources.certification.root import path_pattern
from nightshift.sources.tables import read_files


def extract_source(place, luminosity, folder, raw, **settings):
    """Read a table of luminosities, where `luminosity` is not "", and then a source: a Night, whose
    Extraction is `whole`. Files that have not changed since the last night are not read again.

    place, luminosity : paths or globs. folder : a new one, for parts and notes, see `place_parts`. raw : the
    folder that the last extraction has left. settings : columns, dataset, features and root_pattern,
    parameters of 1_extract. ValueError, one line, when no file of the source has lumisections, or something
    cannot be read.
    """
    path_pattern(settings["root_pattern"])  # a mistake in it ends the night before the long work
    forms = file_sources("certification", settings)
    names = ("columns", "dataset", "features")
    night = Night(Extraction(Settings(**{name: settings[name] for name in names}), None), folder, raw)

    def read_luminosity(path):
        if not any(form.keep(path, night, "luminosity") for form in forms):
            source_of(forms, path).add(path, night, "luminosity")

    if luminosity:
        read_files(luminosity, read_luminosity)
    read_source("certification", place, night, **settings)
    if night.whole.no_lumisections and not night.whole.counts["rows"]:
        raise ValueError(night.whole.no_lumisections[0])
    return night
