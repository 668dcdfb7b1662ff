"""A flipped bit in a table is an error that names the file, however it is read, and no other value."""

import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
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


def test_a_column_or_file_that_is_not_there_is_no_damage(tmp_path):
    helpers.write_parquet(FRAME, tmp_path / "table.parquet")
    with pytest.raises(pa.ArrowInvalid, match="FieldRef"):
        pd.read_parquet(tmp_path / "table.parquet", columns=["c"])
    with pytest.raises(FileNotFoundError):
        pd.read_parquet(tmp_path / "none.parquet")


def test_files_without_checksums_are_read_as_before(tmp_path):
    pq.write_table(pa.Table.from_pandas(FRAME), tmp_path / "old.parquet", write_page_checksum=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "old.parquet"), FRAME)
