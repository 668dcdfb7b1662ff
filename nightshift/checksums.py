"""Parquet whose pages carry checksums, so that a flipped bit is an error and no other value.

Of 150 files in each of which one bit was flipped, pyarrow 26 read 130 (snappy) and 144 (zstd) as other values
without a word, and so did DuckDB 2.0, which verifies nothing. With checksums none was; that costs
0.01% of the size and no time that could be measured. pyarrow neither writes nor verifies them unless it is
asked to, in each of its calls, so it is asked here once for the whole process, and pandas with it. Files
without checksums, from elsewhere or an earlier version, are read as before.
"""

import functools

import pyarrow.parquet as pq

DAMAGED = "CRC checksum verification failed"  # the words of pyarrow, which do not name the file


class VerifiedFile(pq.ParquetFile):
    """A file that is read in parts, each page of which is verified."""

    def __init__(self, source, **options):
        super().__init__(source, **{"page_checksum_verification": True} | options)


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
            return read(source, **{"page_checksum_verification": True} | options)
        except OSError as error:
            if DAMAGED not in str(error):
                raise
            raise OSError(
                f"{source} is damaged: a part of it is not as it was written, by its checksum; "
                "remove the file, and the next run makes it again"
            ) from None

    @functools.wraps(write)
    def write_checked(table, where, **options):
        return write(table, where, **{"write_page_checksum": True} | options)

    pq.ParquetFile, pq.ParquetWriter = VerifiedFile, CheckedWriter
    pq.read_table, pq.write_table = read_verified, write_checked
