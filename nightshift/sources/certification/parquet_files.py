"""Histograms, wide tables and luminosities in Parquet files."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.sources.certification.forms import LumisectionFile
from nightshift.sources.excerpts import excerpt_of_parquet
from nightshift.sources.tables import numbered_pages


def plain(batch):
    """Make a table of an Arrow batch, with categories as their values and large strings as strings."""
    types = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in batch.schema]
    types = [pa.string() if pa.types.is_large_string(t) else t for t in types]
    return pa.Table.from_batches([batch]).cast(pa.schema(list(zip(batch.schema.names, types, strict=True))))


@dataclass
class ParquetFile(LumisectionFile):
    """A table as Parquet."""

    label = "a table of lumisections (Parquet)"
    excerpt = staticmethod(excerpt_of_parquet)

    def recognises(self, head):
        """By its name."""
        return head.suffix in (".parquet", ".pq")

    def open(self, path, bad_lines, left_out):
        """Open the file, with pages of at most 16,384 rows."""
        file = pq.ParquetFile(path)
        return file.schema_arrow.names, numbered_pages(map(plain, file.iter_batches(2**14)))
