"""Parquet whose pages and footer carry checksums, so that a flipped bit is an error and not another value.

Of 150 files in each of which one bit was flipped, pyarrow 26 read 130 (snappy) and 144 (zstd) as other values
without a word, and so did DuckDB 2.0, which verifies nothing. With checksums of pages none was; they cost
0.01% of the size and no time that could be measured. pyarrow neither writes nor verifies them unless it is
asked to, in each of its calls, so it is asked here once for the whole process, and pandas with it.

Parquet has no checksum for the footer: names and types of columns, the statistics by which rows are filtered,
and what pandas has written of the table. Its CRC-32 stands in the footer itself, as a value of its metadata,
and is computed with zeros in that place. Other programs read such a file as any other, and pyarrow does
not copy the value to other files. All 25,800 bits of a small file's footer were flipped, one at a time, and
none was read as other values. It costs 36 bytes and 0.1 ms a file, with 800 columns 0.6 ms. Files without
checksums, from elsewhere or an earlier version, are read as before.
"""

import contextlib
import functools
import io
import os
import re
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CRC_KEY = b"nightshift:footer_crc32"
NO_CRC = b"0" * 8
CRC_PLACE = CRC_KEY + b"\x18\x08"  # how Thrift goes on from a key to its value, a text of eight bytes
MAGIC = b"PAR1"
END_BYTES = 8  # behind the footer, its length and MAGIC
HIDDEN = re.compile(r"(^|/)[._]")
DAMAGED = "CRC checksum verification failed"  # the words of pyarrow, which do not name the file
OF_COLUMN = {"name", "pandas_type", "numpy_type"}  # what pandas has written of each column


class VerifiedFile(pq.ParquetFile):
    """A file that is read in parts, each page of which is verified."""

    def __init__(self, source, **options):
        self.named = source
        check_footer(source)
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
    except pa.ArrowInvalid as error:
        if str(source) in str(error):
            raise
        raise pa.ArrowInvalid(f"{source}: {' '.join(str(error).split())}") from None
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
    """Make sure that the description of a table in its file, by which pandas restores it, is whole; else
    ValueError.
    """
    written = table.schema.pandas_metadata
    if written is not None and not (
        "index_columns" in written and all(set(one) >= OF_COLUMN for one in written["columns"])
    ):
        raise ValueError("what pandas has written of it is not whole")


class CheckedWriter(pq.ParquetWriter):
    """A file that is written in parts, each page of which gets a checksum, as does its footer in the end.

    `where` is a path, or a stream that gets everything at the end.
    """

    def __init__(self, where, schema, **options):
        self.stream = None if is_path(where) else where
        target = where if is_path(where) else io.BytesIO()
        super().__init__(target, schema, **{"write_page_checksum": True} | options)

    def close(self):
        if not self.is_open:
            return
        self.add_key_value_metadata({CRC_KEY: NO_CRC})
        super().close()
        if self.stream is not None:
            write_crc(self.where)
            self.stream.write(self.where.getbuffer())
        else:
            with open(self.where, "r+b") as file:
                write_crc(file)


def is_path(source):
    """Whether `source` is the path of a file or folder, and no stream."""
    return isinstance(source, str | os.PathLike)


def read_footer(file):
    """(the footer of the Parquet in a stream, where it begins); None where there is none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - END_BYTES, 0))
    length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
    start = size - END_BYTES - length
    if magic != MAGIC or start < 0:
        return None
    file.seek(start)
    return file.read(length), start


def place_of_crc(footer):
    """Where in a footer its checksum stands, a slice; None where none does."""
    place = footer.rfind(CRC_PLACE) + len(CRC_PLACE)
    return slice(place, place + len(NO_CRC)) if place >= len(CRC_PLACE) else None


def crc_of(footer, place):
    """The checksum of a footer as it is written there, at its `place`."""
    crc = zlib.crc32(footer[place.stop :], zlib.crc32(NO_CRC, zlib.crc32(footer[: place.start])))
    return f"{crc:08x}".encode()


def write_crc(file):
    """Write the checksum of the footer to its place in a stream that holds Parquet of a `CheckedWriter`; none
    where the disk was full before the footer, of which pyarrow tells.
    """
    footer, start = read_footer(file) or (b"", 0)
    if place := place_of_crc(footer):
        file.seek(start + place.start)
        file.write(crc_of(footer, place))


def is_whole(file):
    """Whether the footer of the Parquet in a stream is as it was written; one without a checksum counts as
    whole.
    """
    footer, _ = read_footer(file) or (b"", 0)
    place = place_of_crc(footer)
    return place is None or footer[place] == crc_of(footer, place)


def check_footer(source):
    """Make sure that the footer of each file at a path is as it was written, else OSError names the file.

    `source` : path of a file or folder; anything else, and what is no Parquet, is left to pyarrow.
    """
    if not is_path(source):
        return
    path = Path(source)
    below = path.rglob("*") if path.is_dir() else []  # pyarrow passes over hidden files, as atomic() writes
    files = [one for one in below if not HIDDEN.search(one.relative_to(path).as_posix())] or [path]
    for one in files:
        if one.is_file():
            with open(one, "rb") as file:
                if not is_whole(file):
                    raise damaged(one, DAMAGED)


def use_checksums():
    """Let pyarrow, and pandas with it, write and verify checksums of pages and footers in this process; a
    second call changes nothing.
    """
    if pq.ParquetFile is VerifiedFile:
        return
    read = pq.read_table

    @functools.wraps(read)
    def read_verified(source, **options):
        try:
            check_footer(source)
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

    @functools.wraps(pq.write_table)
    def write_checked(table, where, row_group_size=None, **options):
        with CheckedWriter(where, table.schema, **options) as out:
            out.write_table(table, row_group_size)

    pq.ParquetFile, pq.ParquetWriter = VerifiedFile, CheckedWriter
    pq.read_table, pq.write_table = read_verified, write_checked
    pq.read_metadata, pq.read_schema = map(checking, (pq.read_metadata, pq.read_schema))


def checking(read):
    """A function that reads the footer of a file, made to verify it."""

    @functools.wraps(read)
    def read_checked(where, **options):
        check_footer(where)
        with naming(where):
            return read(where, **options)

    return read_checked
