"""A flipped bit in a table is an error that names the file, however it is read, and no other value."""

import random
import resource
import signal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.core
import pytest

import helpers

FRAME = pd.DataFrame({"a": np.arange(3000) * np.pi, "b": [f"name {n % 70}" for n in range(3000)]})


@pytest.mark.parametrize("compression", ["snappy", "zstd"])
def test_no_file_with_a_flipped_bit_is_read_as_other_values(tmp_path, compression):
    path, drawn = tmp_path / "table.parquet", random.Random(1)
    with pq.ParquetWriter(path, pa.Schema.from_pandas(FRAME), compression=compression) as file:
        file.write_table(pa.Table.from_pandas(FRAME))
    whole, damaged = path.read_bytes(), 0
    for _ in range(40):
        changed = bytearray(whole)
        changed[drawn.randrange(len(whole))] ^= 1 << drawn.randrange(8)
        path.write_bytes(changed)
        for read in (pd.read_parquet, lambda name: pq.ParquetFile(name).read().to_pandas()):
            try:
                pd.testing.assert_frame_equal(read(path), FRAME)
            except (OSError, ValueError, pa.ArrowException):  # of the end of the file, which has no checksum
                damaged += 1
    assert damaged > 60


ADVICE = "; where it is a product, remove it, and the next run makes it again"


@pytest.mark.parametrize("read", [lambda path: pd.read_parquet(path, columns=["a"]), lambda path: pq.ParquetFile(path).read(["a"])])
def test_the_error_says_which_file_is_damaged_and_what_to_do(tmp_path, read):
    path = tmp_path / "table.parquet"
    helpers.write_parquet(FRAME, path)
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 3] ^= 1
    path.write_bytes(changed)
    with pytest.raises(OSError, match=rf"^{path} is damaged: a part of it is not as it was written, by its checksum{ADVICE}$"):
        read(path)


def test_damage_where_there_is_no_checksum_names_the_file_as_well(tmp_path):
    """Headers of pages, and what pandas has written of the columns at the end of a file."""
    path, drawn = tmp_path / "table.parquet", random.Random(1)
    helpers.write_parquet(FRAME, path)
    whole, errors = path.read_bytes(), []
    for place in [*range(4, 30), *(drawn.randrange(len(whole) - 1500, len(whole) - 8) for _ in range(60))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            pd.read_parquet(path)
        except (OSError, ValueError) as error:
            errors.append(str(error))
    named = [error for error in errors if str(path) in error]
    assert len(errors) > 50
    assert len(named) >= 0.97 * len(errors)  # some names of types alone are read by pandas, when the table is


READERS = [
    pd.read_parquet,
    lambda path: pd.read_parquet(path, filters=[("b", "=", "name 3")]),
    lambda path: pq.ParquetFile(path).read(["a"]).to_pandas(),
    lambda path: pd.DataFrame({"rows": [pq.read_metadata(path).num_rows], "names": [pq.read_schema(path).names]}),
]


def test_a_flipped_bit_of_the_footer_is_an_error_that_names_the_file_or_changes_nothing(tmp_path):
    """Parquet has no checksum of it. Each byte is flipped in one bit; of all eight, none was read as other values either."""
    path = tmp_path / "table.parquet"
    helpers.write_parquet(FRAME[:20], path)
    whole, refused = path.read_bytes(), []
    right = [read(path) for read in READERS]
    footer = range(len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), len(whole))
    for place in footer:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            pd.testing.assert_frame_equal(READERS[place % len(READERS)](path), right[place % len(READERS)])
        except (OSError, pa.ArrowInvalid) as error:
            refused.append(str(error))
    assert [error for error in refused if str(path) not in error or len(error.splitlines()) > 1] == []
    assert len(footer) > 1000
    assert len(footer) - 40 < len(refused) < len(footer), "what names the checksum itself changes nothing"


def test_a_folder_of_tables_is_refused_by_the_name_of_the_damaged_one(tmp_path):
    for name in ("2026-01-30", "2026-01-31"):
        helpers.write_parquet(FRAME, tmp_path / f"{name}.parquet")
    path = tmp_path / "2026-01-31.parquet"
    path.write_bytes(path.read_bytes().replace(b'"numpy_type": "float64"', b'"numpy_type": "float32"'))
    with pytest.raises(OSError, match=rf"^{path} is damaged: a part of it is not as it was written, by its checksum{ADVICE}$"):
        pd.read_parquet(tmp_path)


def write_in_parts(path):
    with pq.ParquetWriter(path, pa.Schema.from_pandas(FRAME)) as file:
        file.write_table(pa.Table.from_pandas(FRAME))


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(FRAME.to_parquet()), write_in_parts])
def test_what_is_written_to_a_stream_or_in_parts_has_its_checksum(tmp_path, write):
    path = tmp_path / "table.parquet"
    write(path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), FRAME)
    path.write_bytes(path.read_bytes().replace(b'"float64"', b'"float32"'))
    with pytest.raises(OSError, match="by its checksum"):
        pd.read_parquet(path)


def test_a_table_that_does_not_fit_is_the_error_of_the_disk(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[0][1]))
    try:
        for write in (lambda path: helpers.write_parquet(FRAME, path), write_in_parts):
            with pytest.raises(OSError, match="File too large"):
                write(tmp_path / "table.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])


def test_a_checksum_is_taken_over_into_no_other_file(tmp_path):
    helpers.write_parquet(FRAME, tmp_path / "whole.parquet")
    table = pq.read_table(tmp_path / "whole.parquet")
    pq.write_table(table[:10], tmp_path / "again.parquet")
    with pyarrow.parquet.core.ParquetWriter(tmp_path / "copy.parquet", table.schema) as file:  # as pyarrow has it
        file.write_table(table[:10])
    for name in ("again", "copy"):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), FRAME[:10])


def test_a_column_or_file_that_is_not_there_is_no_damage(tmp_path):
    helpers.write_parquet(FRAME, tmp_path / "table.parquet")
    with pytest.raises(pa.ArrowInvalid, match="FieldRef"):
        pd.read_parquet(tmp_path / "table.parquet", columns=["c"])
    with pytest.raises(FileNotFoundError):
        pd.read_parquet(tmp_path / "none.parquet")


def test_files_without_checksums_are_read_as_before(tmp_path):
    pq.write_table(pa.Table.from_pandas(FRAME), tmp_path / "old.parquet", write_page_checksum=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "old.parquet"), FRAME)
