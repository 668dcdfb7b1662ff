"""Values in files: one row per thing and moment, every field as the text that the source gave.

Another kind of source is a module beside this one, with a class of its own; nothing else has to be changed.
"""

from dataclasses import dataclass, field

import pandas as pd

from nightshift.sources.base import FileSource, Look
from nightshift.sources.tables import read_column_pages
from nightshift.sources.times import read_times

COLUMNS = ["time", "entity", "site", "value"]


@dataclass
class Extraction:
    """The rows of one file after another. pages : frames with COLUMNS, text. bad_lines : (file, row, reason,
    text) of what did not parse.
    """

    pages: list = field(default_factory=list)
    bad_lines: list = field(default_factory=list)

    def table(self):
        """Put all rows together: DataFrame [row, COLUMNS] of text, "" where nothing is said."""
        rows = pd.concat([pd.DataFrame(columns=COLUMNS), *self.pages], ignore_index=True)
        return rows.astype(object).fillna("").astype("str")


class ValueFile(FileSource):
    """A file of values; a kind of it says how to `read` its rows."""

    def read(self, path, bad_lines):
        """Yield frames with COLUMNS of the file `path`; what does not parse is added to `bad_lines`.

        LayoutError of one line where the file is something else.
        """
        raise NotImplementedError

    def extract(self, path, extraction):
        """Add the rows of one file."""
        extraction.pages.extend(self.read(path, extraction.bad_lines))

    def look(self, path, *, settings, folder):
        """Read the rows of the file."""
        extraction = Extraction()
        self.extract(path, extraction)
        rows = extraction.table()
        return Look.of_rows(self.label, rows, read_times(rows.time), extraction.bad_lines)


class CsvValues(ValueFile):
    """A table of text with commas, semicolons or tabs, plain or .gz."""

    label = "a CSV with the columns time, entity, site and value"
    asked_last = True

    def read(self, path, bad_lines):
        """Yield its rows, page by page."""
        return read_column_pages(path, COLUMNS, bad_lines)
