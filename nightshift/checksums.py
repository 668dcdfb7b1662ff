"""Parquet whose pages carry checksums, so that a flipped bit is an error and no other value.

Of 150 files in each of which one bit was flipped, pyarrow 26 read 130 (snappy) and 144 (zstd) as other values
without a word, and so did DuckDB 2.0, which verifies nothing. With checksums none was; that costs
0.01% of the size and no time that could be measured. pyarrow neither writes nor verifies them unless it is
asked to, in each of its calls, so it is asked here once for the whole process, and pandas with it. Files
without checksums, from elsewhere or an earlier version, are read as before.
"""

import contextlib
import functools

import pyarrow.parquet as pq

DAMAGED = "CRC checksum verification failed"  # the words of pyarrow, which do not name the file
OF_COLUMN = {"name", "pandas_type", "numpy_type"}  # what pandas has written of each column


class VerifiedFile(pq.ParquetFile):
    """A file that is read in parts, each page of which is verified."""

    def __init__(self, source, **options):
        self.named = source
        with naming(source):
            super().__init__(source, **{"page_checksum_verification": True} | options)

    def read(self, *which, **options):
        with naming(self.named):
            return super().read(*which, **options)

    def read_row_group(self, *which, **options):
        with naming(self.named):
            return super().read_row_group(*which, **options)

    def iter_batches(self, *which, **options):
        with naming(self.named):
            yield from super().iter_batches(*which, **options)


@contextlib.contextmanager
def naming(source):
    """Let errors of pyarrow about what is in the file `source`, which do not name it, be one that does; those
    of the system, such as of a file that is not there, stay.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None or str(source) in str(error):
            raise
        raise damaged(source, error) from None


def damaged(source, error):
    """OSError that names the file `source`, which pyarrow cannot read because of an `error`."""
    reason = "by its checksum" if DAMAGED in str(error) else f"since {' '.join(str(error).split())[:100]}"
    return OSError(
        f"{source} is damaged: a part of it is not as it was written, {reason}; where it is a product, "
        "remove it, and the next run makes it again"
    )


def check_metadata(table):
    """Make sure that what pandas has written of a table is whole, of which pandas makes it again; else
    ValueError.
    """
    written = table.schema.pandas_metadata
    if written is not None and not (
        "index_columns" in written and all(set(one) >= OF_COLUMN for one in written["columns"])
    ):
        raise ValueError("what pandas has written of it is not whole")


class CheckedWriter(pq.ParquetWriter):
    """A file that is written in parts, each page of which gets a checksum."""

    def __init__(self, where, schema, **options):
        super().__init__(where, schema, **{"write_page_checksum": True} | options)


def use_checksums():
    """Let pyarrow, and pandas by it, write and verify checksums of pages in this process; more than once is
    once.
    """
    if pq.ParquetFile is VerifiedFile:
        return
    read, write = pq.read_table, pq.write_table

    @functools.wraps(read)
    def read_verified(source, **options):
        try:
            with naming(source):
                table = read(source, **{"page_checksum_verification": True} | options)
                check_metadata(table)
                return table
        except (ValueError, LookupError, TypeError) as error:
            if str(source) in str(error):
                raise
            if not options.keys() & {"columns", "filters"}:
                raise damaged(source, error) from None
            read_verified(source)  # else a column that is not there is what is wrong
            raise

    @functools.wraps(write)
    def write_checked(table, where, **options):
        return write(table, where, **{"write_page_checksum": True} | options)

    pq.ParquetFile, pq.ParquetWriter = VerifiedFile, CheckedWriter
    pq.read_table, pq.write_table = read_verified, write_checked
