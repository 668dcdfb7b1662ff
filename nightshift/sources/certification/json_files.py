"""Histograms, wide tables and luminosities as JSON, such as the answers of the OMS of CMS."""

from dataclasses import dataclass

import pyarrow as pa

from nightshift.sources.certification.forms import LumisectionFile
from nightshift.sources.certification.histograms import layout_of
from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import as_text, read_records


def is_record(one):
    """Whether a JSON object is a record of a lumisection, by the name of its run."""
    return "run" in layout_of(list(one), {})


def read_json(path):
    """(names of the columns, pages) of the records in a JSON file of any layout, plain or .gz, every cell as
    text; an object below `attributes`, where the OMS puts it, is taken as the record.

    ValueError of one line when the file holds anything but objects.
    """
    records = []
    for page, bad in read_records(path, fits=is_record):
        if bad:
            raise ValueError(
                f'it holds {bad[0][2].strip()[:60]!r} where a record such as {{"run": 400123, ...}} is needed'
            )
        records += [one["attributes"] if isinstance(one.get("attributes"), dict) else one for one in page]
    names = list(dict.fromkeys(str(name) for one in records for name in one))
    cells = {name: pa.array([as_text(one.get(name)) for one in records], pa.string()) for name in names}
    return names, [(1, pa.table(cells))] if records else []


@dataclass
class JsonFile(LumisectionFile):
    """Records as JSON in any layout, plain or .gz."""

    label = "records of lumisections (JSON)"
    excerpt = staticmethod(excerpt_of_records)

    def recognises(self, head):
        """By a brace or bracket at its beginning."""
        return head.line[:1] in ("[", "{")

    def open(self, path, bad_lines, left_out):
        """Open the file, see `read_json`."""
        return read_json(path)
