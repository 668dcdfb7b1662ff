"""The raw table of the accounting, part by part, from files, a live sacct or the Elasticsearch of GRACC.

Records of other kinds of resource (a payload inside a pilot would count its hours twice) and of other weeks
are counted and left out; records whose time cannot be read are kept: the next step rejects them by name. A
time without zone counts as UTC here, which matters at the edges of the window only.
"""

import os
import re
import shlex
import tempfile
from pathlib import Path

import pandas as pd
from elasticsearch import NotFoundError
from tqdm import tqdm

from nightshift.sources.accounting.gracc import NEEDED, SCHEMA, frame_of, read_gracc, read_totals
from nightshift.sources.accounting.swf import read_swf
from nightshift.sources.files import LayoutError, open_text
from nightshift.sources.parts import part_name, write_rows
from nightshift.sources.slurm import (
    ask_slurm,
    looks_like_sacct,
    read_sacct,
    run_of,
    sacct_command,
    why_left_out,
)
from nightshift.sources.times import read_times

ONE_WEEK = pd.Timedelta(weeks=1)


def batch_rows(pages, extraction, begin=None, end=None):
    """Yield of `pages`, frames with the columns of SCHEMA, the rows of batch jobs that end in [begin, end),
    in the window if not given; the others are counted.
    """
    for page in pages:
        batch = page[page.ResourceType.fillna("").isin(["", "Batch"])]
        kept = batch[extraction.within(read_times(batch.EndTime), begin, end)]
        extraction.counts["other kinds"] += len(page) - len(batch)
        extraction.counts["other weeks"] += len(batch) - len(kept)
        yield kept


# ------------------------------------------------------------------------------------------------------ Files


def reader_of(path):
    """Choose the function that reads the file `path`, by its name and its first line; LayoutError, one line,
    when it is of no layout that can be read here.
    """
    name = Path(path).name
    with open_text(path) as lines:
        first = next(filter(str.strip, lines), "").strip()
    if ".swf" in name or first.startswith(";"):
        return read_swf
    if looks_like_sacct(first):
        return read_runs
    named = ".csv" in name or ".json" in name
    if not first or first[0] in "{[" or named or len(set(re.findall(r"\w+", first)) & set(NEEDED)) >= 2:
        return read_gracc
    raise LayoutError(
        f"it begins {first[:60]!r} and is neither GRACC records (JSON or a table with {', '.join(NEEDED)}), "
        "nor sacct --parsable2 output with its header, nor a .swf log"
    )


def extract_file(path, extraction):
    """Write the part of one file; an empty file is an empty part."""
    part = extraction.raw / part_name("file", path)
    pages = reader_of(path)(path, extraction) if os.path.getsize(path) else []
    write_rows(batch_rows(pages, extraction), part, SCHEMA)
    extraction.parts.add(part)


# ------------------------------------------------------------------------------------------------------ Slurm


def read_runs(path, extraction):
    """Yield pages of rows from output of sacct, live or saved, one row per run; a line with too few or too
    many columns is put aside.

    Jobs that have not ended or never ran go to the extraction's items by their name, since a live sacct names
    a job in every week through which it waits; steps are passed over.
    """
    for jobs, bad in read_sacct(path):
        extraction.put_aside(path, bad)
        reasons = [why_left_out(job) for job in jobs]
        for job, why in zip(jobs, reasons, strict=True):
            if why in ("not ended", "never ran"):
                extraction.items[why].add(f"{job['Cluster']}/{job['JobID']}")
        yield frame_of([run_of(job) for job, why in zip(jobs, reasons, strict=True) if not why])


def extract_sacct(extraction, *, options, timeout_s):
    """Write one part per week from a live sacct, with its `options`, a text; every failure is one line.

    One week is asked for after the other, since two years at once would burden the accounting database. A
    week that is over is never asked again, so an interrupted run goes on at the first missing week. A job
    that runs from one week into the next is named in both and belongs to the one in which it ended.
    """
    command = sacct_command(pd.Timestamp(0), pd.Timestamp(0), [options])
    name = part_name("sacct", " ".join(command)).removesuffix(".parquet")  # asked in another way, asked again
    mondays = pd.date_range(extraction.window[0], extraction.window[1], freq=ONE_WEEK, inclusive="left")
    for begin in tqdm(mondays, desc="weeks", unit="week"):
        part, end = (
            extraction.raw / f"{name}-{begin:%Y-%m-%d}.parquet",
            min(begin + ONE_WEEK, extraction.window[1]),
        )
        extraction.parts.add(part)
        over = (begin + ONE_WEEK + pd.Timedelta(hours=1)).timestamp()
        if part.exists() and part.stat().st_mtime > over:
            continue
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder, "sacct.txt")
            asked = sacct_command(begin, end, shlex.split(options))
            ask_slurm(asked, answer, timeout_s=timeout_s, parameter="source")
            write_rows(batch_rows(read_runs(answer, extraction), extraction, begin, end), part, SCHEMA)
    extraction.counts["other weeks"] = 0  # they were only the neighbours of each week


# ---------------------------------------------------------------------------------------------- Elasticsearch


def extract_totals(ask, address, extraction, *, index, page_rows):
    """Write one part for the whole window from the Elasticsearch that `ask` asks, new each night: late
    records belong to weeks that are long over.

    address : its URL, by which the part is named. LookupError when there is no such index.
    """
    part = extraction.raw / part_name("elastic", address + index)
    try:
        pages = read_totals(ask, index, extraction=extraction, page_rows=page_rows)
        write_rows(batch_rows(pages, extraction), part, SCHEMA)
    except NotFoundError:
        raise LookupError(f"there is no index {index}: check the parameter index") from None
    extraction.parts.add(part)
