"""Events of Rucio in Parquet, flat or with a struct as payload."""

import pyarrow as pa

from nightshift.sources.excerpts import excerpt_of_parquet
from nightshift.sources.files import require_kind, unwrap
from nightshift.sources.transfers.files import EventFile
from nightshift.sources.transfers.parts import KIND, table_of
from nightshift.sources.transfers.rucio import is_event

PAGE_ROWS = 20_000


class ParquetEvents(EventFile):
    """Parquet with the names of Rucio, in columns or in structs within them."""

    label = "events of Rucio (Parquet)"
    excerpt = staticmethod(excerpt_of_parquet)

    def recognises(self, head):
        """By the bytes with which every Parquet file begins."""
        return head.first_bytes.startswith(b"PAR1")

    def read(self, path, extraction):
        """Yield pages of rows. LayoutError where the file holds something, and no event."""
        import pyarrow.parquet as pq

        batches = pq.ParquetFile(path).iter_batches(PAGE_ROWS)
        records = (
            pa.Table.from_batches([batch]).cast(as_json(batch.schema)).to_pylist() for batch in batches
        )
        pages = (([one for record in page for one in unwrap(record, fits=is_event)], []) for page in records)
        for page, _ in require_kind(pages, **KIND):
            yield table_of(page)


def as_json(kind):
    """The Arrow schema or type `kind` with text for what JSON does not have: times, decimals, categories and
    bytes, in structs and lists too.
    """
    if isinstance(kind, pa.Schema):
        return pa.schema([field.with_type(as_json(field.type)) for field in kind])
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(as_json(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(as_json(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(as_json(kind.value_type)))
    is_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    tests = (pa.types.is_temporal, pa.types.is_decimal, pa.types.is_dictionary, *is_bytes)
    return pa.string() if any(test(kind) for test in tests) else kind
