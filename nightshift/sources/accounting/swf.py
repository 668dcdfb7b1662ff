"""Logs in the Standard Workload Format of the Parallel Workloads Archive, as records of the accounting.

Eighteen numbers per job; the header says when second 0 was. Source: Feitelson, Tsafrir & Krakov 2014,
"Experience with using the Parallel Workloads Archive".
"""

import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from nightshift.sources.accounting.columns import as_texts, utc_texts
from nightshift.sources.accounting.records import SCHEMA, AccountingFile, page_of
from nightshift.sources.files import blocks_of, open_text

COLUMNS = {  # of the eighteen, by position: what is used here
    0: "job",
    1: "submit",
    2: "wait",
    3: "run",
    4: "allocated",
    5: "cpu",
    7: "requested",
    11: "user",
    12: "group",
}
USED = list(COLUMNS.values())
COMMENT = re.compile(r"^[ \t]*;.*\n?", re.MULTILINE)
HEADER = re.compile(r"(?:[ \t]*;.*\n)*")
START = re.compile(r"^[ \t]*;\s*UnixStartTime:\s*(\d+)", re.MULTILINE)
N_FIELDS, PAGE_ROWS = 18, 100_000
LATEST = 1e10  # seconds: a larger number is no time
# HPC2N has three groups, one of them with 98 of 100 jobs: its users say more
ONE_GROUP = 0.9


def parse_lines(text):
    """Parse lines of eighteen numbers, without comments: float64 (jobs, columns of COLUMNS); ValueError where
    a line is anything else, or there is no line.
    """
    names = [str(field) for field in range(N_FIELDS)]
    table = pa_csv.read_csv(
        pa.BufferReader(single_spaced(without_comments(text))),
        pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=2**26),
        pa_csv.ParseOptions(delimiter=" ", quote_char=False),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.float64()), include_columns=[names[at] for at in COLUMNS]
        ),
    )
    jobs = np.column_stack([column.to_numpy() for column in table.columns])
    if not (np.abs(jobs) < LATEST).all():
        raise ValueError("a number is missing, or too large for a time")
    return jobs


def without_comments(text):
    """Leave out the lines that begin with a semicolon, most of which are at the beginning."""
    text = text[HEADER.match(text).end() :]
    return COMMENT.sub("", text) if ";" in text else text


def single_spaced(text):
    """Leave one space between two numbers of a line, and none at its ends: bytes."""
    letters = np.frombuffer(text.replace("\t", " ").encode(), np.uint8)
    blank = letters == ord(" ")
    dropped = blank.copy()  # a blank after a blank, or at the beginning of a line
    dropped[1:] &= blank[:-1] | (letters[:-1] == ord("\n"))
    return letters[~dropped].tobytes().replace(b" \n", b"\n").rstrip(b" ")


def parse_each_line(text, first_number):
    """Parse lines one by one: (jobs as `parse_lines` has them, [(line number, reason, text) of bad ones])."""
    jobs, bad = [np.empty((0, len(COLUMNS)))], []
    for number, line in enumerate(text.split("\n"), first_number):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        try:
            jobs.append(parse_lines(line))
        except ValueError:
            bad.append((number, "not eighteen numbers", line))
    return np.concatenate(jobs), bad


def parse_block(text, first_number):
    """Do what `parse_each_line` does, at once where no line is bad."""
    try:
        return parse_lines(text), []
    except ValueError:  # of Arrow too, also where there is no line
        return parse_each_line(text, first_number)


def spool_jobs(path, spool, extraction):
    """Write the jobs of a log to the binary file `spool`, with the columns of COLUMNS as float64: (second 0
    of the log in seconds since 1970, how many jobs of each group ran, a Series).

    Only the end tells which column says to whom jobs belong, and a log may be larger than memory. Lines that
    are not eighteen numbers are put aside. ValueError where the header has no UnixStartTime.
    """
    start, groups = None, pd.Series(dtype=float)
    with open_text(path) as file:
        for number, text in blocks_of(file, 1):
            if start is None and (match := START.search(text)):
                start = int(match[1])
            jobs, bad = parse_block(text, number)
            extraction.put_aside(path, bad)
            jobs.tofile(spool)
            page = with_processors(jobs)
            groups = groups.add(page.group[page.ran & (page.group >= 0)].value_counts(), fill_value=0)
    if start is None:
        raise ValueError("its header has no UnixStartTime, without which no job has a date")
    return start, groups


def with_processors(jobs):
    """Make a DataFrame of `jobs`, float64 (jobs, columns of COLUMNS), with `processors` and `ran` added."""
    page = pd.DataFrame(jobs, columns=USED)
    processors = page.allocated.where(page.allocated > 0, page.requested)
    return page.assign(processors=processors, ran=(page.run >= 0) & (processors > 0))


def rows_of(page, name, *, start, who):
    """Make rows of the accounting, an Arrow table with the columns of SCHEMA, of jobs that ran.

    page : as `with_processors` gives it. name : that of the log. start : its second 0, in seconds since 1970.
    who : the column that is the VO.
    """
    n, (job, run, cores) = len(page), (page[one].to_numpy() for one in ("job", "run", "processors"))
    vo, cpu = page[who].to_numpy(), page.cpu.to_numpy()
    end = start + page.submit.to_numpy() + np.clip(page.wait.to_numpy(), 0, None) + run
    fields = {
        "RecordId": pc.binary_join_element_wise(constant(name, n), whole(job), "/"),
        "EndTime": utc_texts(np.floor(end)),
        "SiteName": constant(re.split(r"[-.]", name)[0], n),
        "VOName": pc.binary_join_element_wise(constant(who, n), whole(np.where(vo >= 0, vo, np.nan)), ""),
        "ResourceType": constant("Batch", n),
        "CoreHours": as_texts(cores * run / 3600),
        "WallDuration": whole(run),
        "CpuDuration": as_texts(np.where(cpu >= 0, cpu * cores, np.nan)),
        "Njobs": constant("1", n),
        "Processors": whole(cores),
    }
    return pa.table([fields.get(field, pa.nulls(n, pa.string())) for field in SCHEMA.names], schema=SCHEMA)


def constant(text, n):
    """Repeat a text n times, as an Arrow array."""
    return pa.repeat(pa.scalar(text, pa.string()), n)


def whole(values):
    """Write numbers, float64 (n,), cut to whole ones, as an Arrow array of text, null for NaN."""
    return pa.array(np.trunc(values), from_pandas=True).cast(pa.int64()).cast(pa.string())


def read_swf(path, extraction):
    """Yield pages of rows of the accounting, with the columns of SCHEMA, from a log of the Standard
    Workload Format.

    A job ends at submission + wait + run time, where an unknown wait counts as none. It uses the processors
    that were allocated, else those that were requested; the CPU time of a log is the average of a processor,
    -1 where it is not known. The site is the name of the file up to the first "-" or "."; the VO is the group
    where groups tell the jobs apart, and the user where there is no group or nearly all jobs are of the same
    one. Jobs with a negative run time or without processors never ran: their names go to the extraction's
    items. ValueError as of `spool_jobs`.
    """
    name = Path(path).name.partition(".swf")[0]
    with tempfile.TemporaryFile() as spool:
        start, groups = spool_jobs(path, spool, extraction)
        who = "group" if len(groups) and groups.max() < ONE_GROUP * groups.sum() else "user"
        spool.seek(0)
        while len(jobs := np.fromfile(spool, count=PAGE_ROWS * len(USED)).reshape(-1, len(USED))):
            page = with_processors(jobs)
            extraction.items["never ran"].update(f"{name}/{job:.0f}" for job in page.job[~page.ran])
            yield page_of(rows_of(page[page.ran], name, start=start, who=who))


class SwfLogs(AccountingFile):
    """Logs of the Parallel Workloads Archive."""

    label = "a .swf log"

    def recognises(self, head):
        """By its name, or by the header, whose lines begin with a semicolon."""
        return ".swf" in head.name or head.line.startswith(";")

    def read(self, path, extraction):
        """Yield pages of rows, see `read_swf`."""
        return read_swf(path, extraction)
