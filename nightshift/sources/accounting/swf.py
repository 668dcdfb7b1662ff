"""Logs in the Standard Workload Format of the Parallel Workloads Archive, as records of the accounting.

Eighteen numbers per job; the header says when second 0 was. Source: Feitelson, Tsafrir & Krakov 2014,
"Experience with using the Parallel Workloads Archive".
"""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from nightshift.sources.accounting.records import SCHEMA, AccountingFile
from nightshift.sources.files import open_text
from nightshift.sources.slurm import utc_text

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
PAGE_ROWS = 100_000
LATEST = 1e10  # beyond that, times are no times, seconds
# HPC2N has three groups, one of them with 98 of 100 jobs: its users say more
ONE_GROUP = 0.9


def read_jobs(path, extraction):
    """Read the jobs of a log: (second 0 of the log in seconds since 1970, DataFrame of numbers with one row
    per job and the columns of COLUMNS).

    Lines that are not eighteen numbers are put aside. ValueError where the header has no UnixStartTime.
    """
    start, jobs, bad = None, [], []
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.lstrip().startswith(";"):
                found = re.match(r"\s*;\s*UnixStartTime:\s*(\d+)", line)
                start = int(found[1]) if found else start
            elif line.strip():
                (jobs if len(line.split()) == 18 else bad).append((number, line))
    if start is None:
        raise ValueError("its header has no UnixStartTime, without which no job has a date")
    text = io.StringIO("".join(line for _, line in jobs))
    table = pd.read_csv(text, sep=r"\s+", names=range(18), usecols=list(COLUMNS)).rename(columns=COLUMNS)
    table = table.apply(pd.to_numeric, errors="coerce")
    readable = table.abs().max(axis=1, skipna=False) < LATEST
    bad = sorted(bad + [jobs[i] for i in np.flatnonzero(~readable)])
    extraction.put_aside(path, [(number, "not eighteen numbers", line) for number, line in bad])
    return start, table[readable]


def read_swf(path, extraction):
    """Yield pages of rows of the accounting, with the columns of SCHEMA, from a log of the Standard
    Workload Format.

    A job ends at submission + wait + run time. It uses the processors that were allocated, else those that
    were requested; CPU time is the average of a processor, -1 where it is not known. The site is the name of
    the file up to the first "-" or "."; the VO is the group where groups tell the jobs apart, and the user
    where there is no group or nearly all jobs are of the same one. Jobs with a negative run time or without
    processors never ran: their names go to the extraction's items.
    """
    start, jobs = read_jobs(path, extraction)
    processors = jobs.allocated.where(jobs.allocated > 0, jobs.requested)
    name, ran = Path(path).name.partition(".swf")[0], (jobs.run >= 0) & (processors > 0)
    extraction.items["never ran"].update(f"{name}/{job:.0f}" for job in jobs.job[~ran])
    shares = jobs.group[ran & (jobs.group >= 0)].value_counts(normalize=True)
    who = "group" if shares.max() < ONE_GROUP else "user"
    for _, page in jobs[ran].assign(processors=processors).groupby(np.arange(ran.sum()) // PAGE_ROWS):
        number = page.astype("int64").astype(str)
        rows = pd.DataFrame({"RecordId": f"{name}/" + number.job, "SiteName": re.split(r"[-.]", name)[0]})
        rows["ResourceType"], rows["Njobs"] = "Batch", "1"
        rows["EndTime"] = utc_text(start + page.submit + page.wait.clip(0) + page.run)
        rows["VOName"] = (who + number[who]).where(page[who] >= 0, None)
        rows["CoreHours"] = (page.processors * page.run / 3600).astype(str)
        rows["WallDuration"], rows["Processors"] = number.run, number.processors
        rows["CpuDuration"] = (page.cpu * page.processors).astype(str).where(page.cpu >= 0, None)
        yield rows.reindex(columns=SCHEMA.names)


class SwfLogs(AccountingFile):
    """Logs of the Parallel Workloads Archive."""

    label = "a .swf log"

    def recognises(self, head):
        """By its name, or by the header, whose lines begin with a semicolon."""
        return ".swf" in head.name or head.line.startswith(";")

    def read(self, path, extraction):
        """Yield pages of rows, see `read_swf`."""
        return read_swf(path, extraction)
