"""Files of node metrics: which of them are stores of LDMS, labels, tables of GPUs, long or wide tables, and
what they add to an extraction.
"""

import glob
import os
import re
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import project_path
from nightshift.runs import warn
from nightshift.sources.tables import read_csv_pages, read_files
from nightshift.sources.telemetry import cells, dcgm, ldms, tables
from nightshift.sources.telemetry.labels import read_labels
from nightshift.sources.telemetry.parts import (
    add_sampler,
    as_numbers,
    without_contradiction,
    write_gpus,
    write_long,
    write_parts,
)

PARQUET, HDF = (".parquet", ".pq"), (".h5", ".hdf", ".hdf5")


def read_parquet(path):
    """Open a Parquet file: (names of the columns, pages of 65,536 rows, each with the number of its first
    one).
    """
    file = pq.ParquetFile(path)
    starts = range(1, file.metadata.num_rows + 1, 2**16)
    pages = (pa.Table.from_batches([batch]) for batch in file.iter_batches(2**16))
    return file.schema_arrow.names, zip(starts, pages, strict=False)


def read_hdf(path):
    """Read the one table in an HDF5 file of pandas: (names of the columns, pages); a named index counts as
    columns.

    ValueError of one line for what is damaged or was not written by pandas. Such a file can carry Python
    objects: only those that are trusted are to be read.
    """
    try:
        table = pd.read_hdf(path)
    except ModuleNotFoundError as error:
        # objects in the file, such as zones of time, are of classes that Python must find
        raise ValueError(
            f"it holds objects of the package {error.name}, which is not installed here"
        ) from None
    except (RuntimeError, NotImplementedError, AttributeError, TypeError) as error:
        # what PyTables raises differs with what is wrong
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        raise ValueError(f"it is damaged, or no HDF5 file that pandas wrote ({what})") from None
    table = table.reset_index([name for name in table.index.names if name])
    table.columns = table.columns.astype(str)
    starts = range(0, len(table), 2**16)
    pages = ((i + 1, pa.Table.from_pandas(table.iloc[i : i + 2**16], preserve_index=False)) for i in starts)
    return list(table.columns), pages


def open_table(path, bad_lines):
    """Open a file of any kind by its name: (names of the columns, pages), with what its folders say.

    CSV may be separated by commas, semicolons or tabs and may be packed; a line with too few or too many
    columns is added to `bad_lines`. A folder of the path that says `metric=cpu_idle` is a column of the file.
    """
    kind = Path(path).suffix.lower()
    if kind in PARQUET:
        names, pages = read_parquet(path)
    elif kind in HDF:
        names, pages = read_hdf(path)
    else:
        names, pages = read_csv_pages(path, bad_lines)
    tables.check_names(names)
    return tables.add_partitions(names, pages, tables.partitions_of(path))


def extract_nodes(extraction, pages, *, layout, metric_names, where, path):
    """Add one table of node metrics, whose columns `layout` and `metric_names` explain, to an extraction.

    Rows of one node and moment that differ are records of their own, one per interface, process or disk: a
    column of text, or an index, tells them apart, and each becomes a metric of its own, rx_bytes.hsn0. Of
    very many, processes say, the sum is kept. ValueError where no column tells them apart, or none holds
    numbers.
    """
    pages, names = cells.split_arrays(pages, whole={*layout.values()} - {layout.get("value")})
    metric_names = tables.split_metrics(metric_names, names or [])
    pages, instances, how, texts = tables.find_instances(pages, layout, metric_names)
    extraction.text_left_out.update(set(texts) - set(instances))
    metric_names = {name: metric for name, metric in metric_names.items() if name not in {*texts, *instances}}
    if names and "metric" not in layout and not metric_names:
        raise ValueError(f"none of its columns holds numbers; it has {', '.join(names)[:150]}")
    if how == "sum":
        warn(
            f"{Path(path).name} has more than {tables.MANY_INSTANCES} rows for each node and moment, "
            f"told apart by {', '.join(instances)}: its metrics are added up over these."
        )
    if how:
        read = partial(as_numbers, extraction)
        pages = tables.long_pages(pages, layout, metric_names, instances, how, read)
        layout = {role: layout[role] for role in layout if role not in ("metric", "value")}
        layout |= {"metric": "metric name", "value": "metric value"}
    if "metric" in layout:
        write_long(extraction, pages, layout=layout, where=where, how=how)
        return
    pages = without_contradiction(extraction, pages, layout=layout, metric_names=metric_names, path=path)
    write_parts(extraction, pages, layout=layout, metric_names=metric_names, where=where)


def extract_store(extraction, path):
    """Add one LDMS store to an extraction; its metrics are called after its sampler, which is the name of the
    file.
    """
    sampler = re.sub(r"(\.csv|\.gz|\.txt|[._-]?\d{4}-?\d\d-?\d\d|[._-]\d{9,})+$", "", Path(path).name)
    for names, pages, where in ldms.read_store(path, extraction.bad_lines):
        tables.check_names(names)
        layout, metric_names = ldms.layout_of_store(names)
        metric_names = add_sampler(metric_names, sampler)
        extract_nodes(extraction, pages, layout=layout, metric_names=metric_names, where=where, path=path)


def extract_file(extraction, path):
    """Add one file to an extraction; an empty file adds nothing, nor does what LDMS writes beside its data.

    What a file is shows in its columns: a GPU exporter's table, labels, an LDMS store, a long table or one of
    nodes. Where the user names the columns, it is a table of nodes.
    """
    binary, columns = Path(path).suffix.lower() in (*PARQUET, *HDF), extraction.columns
    if not os.path.getsize(path) or ldms.is_beside(path):
        return
    if not binary and not columns and ldms.is_store(path):
        extract_store(extraction, path)
        return
    names, pages = open_table(path, extraction.bad_lines)
    if not columns and dcgm.is_gpu_table(names):
        write_gpus(extraction, pages, layout=dcgm.layout_of_gpus(names), where=path)
    elif not columns and "anomaly" in names and not {"timestamp", "#Time"} & set(names):
        extraction.labels.append(read_labels(names, pages))
    else:
        layout, metric_names = tables.layout_of_table(names, columns, path, extraction.repeated)
        metric_names = add_sampler(metric_names, extraction.sampler)
        extract_nodes(extraction, pages, layout=layout, metric_names=metric_names, where=path, path=path)


def extract_files(extraction, pattern):
    """Add all files that `pattern`, relative to the repository root, names; errors as of `read_files`."""
    files = glob.glob(str(project_path(pattern)), recursive=True)
    extraction.repeated.update(tables.metrics_in_several_places(files))
    read_files(pattern, lambda path: extract_file(extraction, path))


def extract_labels(extraction, pattern):
    """Add the label files that `pattern` names; errors are those of `read_files`."""
    read_files(
        pattern,
        lambda path: extraction.labels.append(read_labels(*open_table(path, extraction.bad_lines))),
    )
