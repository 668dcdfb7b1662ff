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


def test_the_error_says_which_file_is_damaged_and_what_to_do(tmp_path):
    path = tmp_path / "table.parquet"
    helpers.write_parquet(FRAME, path)
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 3] ^= 1
    path.write_bytes(changed)
    with pytest.raises(OSError, match=rf"^{path} is damaged: .* by its checksum; remove the file, and the next run makes it again$"):
        pd.read_parquet(path, columns=["a"])


def test_files_without_checksums_are_read_as_before(tmp_path):
    pq.write_table(pa.Table.from_pandas(FRAME), tmp_path / "old.parquet", write_page_checksum=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "old.parquet"), FRAME)
