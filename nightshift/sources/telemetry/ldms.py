"""Files of LDMS's store_csv in all its forms: header inside or beside, both formats of time, quoted names,
arrays, stores that were opened again.
"""

import csv
import gzip
import io
import itertools
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.files import names_in_words
from nightshift.sources.tables import read_csv_pages
from nightshift.sources.telemetry.tables import NO_JOB

# Documentation: ldms-store_csv.rst and ldms-store_function_csv.rst of ovis-hpc/ldms, 4.5.3; code of the
# header: store_csv_common.c
TIMES = ["Time", "Time_msec"]
NODES = [
    "ProducerName",
    "producer",
    "producer_name",
    "hostname",
    "host",
    "nodename",
    "component_id",
    "CompId",
    "compid",
]
JOBS = ["job_id", "jobid", "JobId", "slurm_job_id"]
NO_METRICS = {
    "Time_usec",
    "component_id",
    "CompId",
    "compid",
    "app_id",
    "DT",
    "DT_usec",
    "TimeFlag",
    *JOBS,
    *NODES,
}
# what store_csv writes beside its data
BESIDE = re.compile(r"\.(HEADER|KIND|UNITS|CNAMES|PYNAMES)(\.\d+)?(\.csv)?(\.gz)?$")


def open_bytes(path):
    """The file `path`, plain or .gz, open for reading bytes."""
    # with a buffer around it, lines of .gz take a tenth of the time
    return io.BufferedReader(gzip.open(path, "rb"), 2**20) if str(path).endswith(".gz") else open(path, "rb")


def is_beside(path):
    """Whether `path` is a file that store_csv writes beside its data: a header, kinds, units."""
    return bool(BESIDE.search(Path(path).name))


def header_names(line):
    """Names of the columns in the header `line` of a store; [] where it is no such header."""
    line = line.lstrip("\ufeff").strip()
    if not line.lstrip('"').startswith("#"):
        return []
    names = [name.strip().lstrip("#").strip().strip('"') for name in next(csv.reader([line]), [])]
    return names if set(TIMES) & set(names) else []


def header_beside(path):
    """The header file of the store `path`, NAME.HEADER.TIME of NAME.TIME, else the last one before it,
    else the first; None where there is none.
    """
    path = Path(path)
    name, when = re.fullmatch(r"(.*?)((?:\.\d+)?)(?:\.gz)?", path.name).groups()
    found = headers_in_folder(path.parent, os.stat(path.parent).st_mtime_ns).get(name, {})
    moment = int(when[1:] or 0)
    before = [at for at in found if at <= moment]
    return found[max(before) if before else min(found)] if found else None


@lru_cache(maxsize=64)
def headers_in_folder(folder, changed_ns):
    """{name of a store: {time: path}} of the header files in a folder, which is looked through once as long
    as it does not change (changed_ns), and not for each of its stores.
    """
    found = {}
    for file in folder.glob("*.HEADER*"):
        if named := re.fullmatch(r"(.*)\.HEADER((?:\.\d+)?)(?:\.gz)?", file.name):
            found.setdefault(named[1], {})[int(named[2][1:] or 0)] = file
    return found


def headers_in(path):
    """(number of the line from 0, names) of every header in the store `path`."""
    found = []
    with open_bytes(path) as lines:
        for number, line in enumerate(lines):
            if line[:1] in (b"#", b'"', b"\xef") and (names := header_names(line.decode(errors="replace"))):
                found.append((number, names))
    return found


def is_store(path):
    """Whether `path` is a CSV file of an LDMS store: it begins with a header of one, or has its header
    beside.
    """
    with open_bytes(path) as lines:
        first = lines.readline().decode(errors="replace")
    return bool(header_names(first)) or (header_beside(path) is not None and "#" not in first[:2])


def read_store(path, bad_lines):
    """Give (names of the columns, pages, name of the part) of every part of the store `path` that has columns
    of its own.

    A store that is opened again writes its header once more within the file; where the columns are the same,
    it is one part. Pages are those of `read_csv_pages`, cells without blanks around them; repeated headers
    are still rows of them, with # at their beginning. ValueError where a header beside names other columns
    than the file has.
    """
    headers = headers_in(path)
    if not headers or headers[0][0]:
        beside = header_beside(path)
        with open_bytes(beside) as lines:
            names = header_names(lines.readline().decode(errors="replace"))
        if not names:
            raise ValueError(f"its header {beside.name} begins with no #Time")
        headers = [(-1, names), *headers]
    if all(names == headers[0][1] for _, names in headers):
        yield headers[0][1], trimmed(csv_pages(path, headers[0], bad_lines)), str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        for number, (names, part) in enumerate(cut_at_headers(path, headers, Path(folder))):
            n_before = len(bad_lines)
            yield names, trimmed(csv_pages(part, (0, names), bad_lines)), f"{path}#{number}"
            bad_lines[n_before:] = [(str(path), *more) for _, *more in bad_lines[n_before:]]


def csv_pages(path, header, bad_lines):
    """Pages of a CSV file with the names of `header`, (-1: none is in the file, names)."""
    number, names = header
    # a header of another length than the rows would leave every row out as bad
    with open_bytes(path) as lines:
        first = lines.readline().decode(errors="replace")
    if number < 0 and first and len(next(csv.reader([first]))) != len(names):
        raise ValueError(
            f"it has {len(next(csv.reader([first])))} columns, its header beside names {len(names)}"
        )
    return read_csv_pages(path, bad_lines, names=names, header=number == 0)[1]


def cut_at_headers(path, headers, folder):
    """(names, file) of every part of a store between two headers that differ, each written to `folder`
    below a line that stands for its header.
    """
    starts = [headers[0], *(later for before, later in itertools.pairwise(headers) if later[1] != before[1])]
    with open_bytes(path) as lines:
        for (begin, names), after in zip(starts, [*starts[1:], None], strict=True):
            written = folder / "part.csv"
            if begin >= 0:
                lines.readline()
            with open(written, "wb") as part:
                part.write(b"#\n")
                part.writelines(itertools.islice(lines, after[0] - begin - 1 if after else None))
            yield names, written


def trimmed(pages):
    """Pages whose cells have no blanks around them, as stores of before 2016-12 wrote them."""
    for first_row, page in pages:
        yield (
            first_row,
            pa.table([pc.utf8_trim_whitespace(column) for column in page.columns], page.column_names),
        )


def layout_of_store(names):
    """({role: column}, {column: name of the metric}) of the columns of a store; ValueError of one line where
    no column names the node.

    The columns of user data, flags and time differences are no metrics; NAME.value beside NAME.userdata is
    NAME.
    """
    node = next((name for name in NODES if name in names), None)
    if node is None:
        raise ValueError(
            f"it is an LDMS store without a column of nodes: it needs one of {', '.join(NODES[:4])}; "
            f"it has {names_in_words(names)}"
        )
    layout = {"timestamp": next(name for name in TIMES if name in names), "node_id": node}
    if job := next((job for job in JOBS if job in names), None):
        layout["job_id"] = job
    if "Time_usec" in names:
        layout["Time_usec"] = "Time_usec"
    left = [
        name
        for name in names
        if name not in {*layout.values(), *NO_METRICS} and not name.endswith((".userdata", ".Flag"))
    ]
    short = {
        name: name.removesuffix(".value") if name.removesuffix(".value") + ".userdata" in names else name
        for name in left
    }
    return layout, short


def exact_times(times, page, layout):
    """The `times` of a page with the exact fraction of a second that a store keeps in Time_usec, in both
    of its formats.
    """
    if "Time_usec" not in layout:
        return times
    more = pd.to_timedelta(pd.to_numeric(page["Time_usec"].to_pandas(), errors="coerce"), unit="us")
    whole = times if layout["timestamp"] == "Time_msec" else times.dt.floor("s")
    return (whole + more).astype(times.dtype).fillna(times)


def without_no_job(jobs):
    """Names of jobs (Series), None where they stand for no job: 0, -1 and the like, see NO_JOB."""
    return jobs.mask(jobs.isin(NO_JOB), None)
