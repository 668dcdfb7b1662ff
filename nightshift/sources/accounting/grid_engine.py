"""The file `accounting` of Grid Engine: 45 fields a line, separated by colons, followed by more in that of
Univa, which counts its times in milliseconds.

Source: accounting(5) of Son of Grid Engine 8.1.9; lines of Univa Grid Engine in the tests of Open XDMoD. The
file names no cluster, so the site is the name of the file up to the first "-" or ".", as for logs in the
Standard Workload Format; the VO is the project, else the department, else the group.
"""

import itertools
import re
from pathlib import Path

from nightshift.sources.accounting.records import AccountingFile, frame_of, row_of_job
from nightshift.sources.files import LayoutError, open_text

FIELDS = {  # of the 45, by position
    2: "group",
    3: "owner",
    5: "job",
    8: "submitted",
    9: "started",
    10: "ended",
    13: "wall",
    31: "project",
    32: "department",
    34: "slots",
    35: "task",
    36: "cpu",
    41: "pe_task",
    42: "max_memory",
}
N_FIELDS, PAGE = 45, 50_000
NUMBER = re.compile(r"\d+(\.\d+)?")
NO_LINE = "not the 45 fields of Grid Engine"
MILLISECONDS = 10**11  # as seconds they would be of the year 5138


def job_of(line):
    """Return the fields of one line, {name: text}; None where it has fewer than 45, or amounts are no
    numbers.

    A colon in the name of a job, or in what it asked for, shifts all fields after it: then a number stands
    in the place of the task of a parallel job, or a word in that of a number.
    """
    cells = line.rstrip("\n").split(":")
    if len(cells) < N_FIELDS:
        return None
    job = {name: cells[at] for at, name in FIELDS.items()}
    whole = all(job[of].isdecimal() for of in ("started", "ended", "slots"))
    amounts = whole and all(NUMBER.fullmatch(job[of]) for of in ("wall", "cpu", "max_memory"))
    return job if amounts and not NUMBER.fullmatch(job["pe_task"]) else None


def vo_of(job):
    """Return the project of a job, else its department, unless that is the default one, else its group; None
    where it has none of them.
    """
    named = (job["project"], job["department"].replace("defaultdepartment", "NONE"), job["group"])
    return next((name for name in named if name not in ("NONE", "")), None)


def row_of(site, job):
    """Make the row of one job, a dict with the columns of SCHEMA.

    Wall time is the end less the start, since the field for it is rounded; virtual memory is no measure of
    what a job used, so memory stays empty.
    """
    start, end = int(job["started"]), int(job["ended"])
    second = 1000 if end >= MILLISECONDS else 1
    task = "" if job["task"] == "0" else f".{job['task']}"
    amounts = {
        "WallDuration": (end - start) / second,
        "CpuDuration": float(job["cpu"]),
        "Processors": int(job["slots"]),
    }
    identity = "/".join([site, job["job"] + task, job["submitted"], job["started"], job["ended"]])
    return row_of_job(
        identity, site, vo_of(job), end=end / second, amounts=amounts, more={"owner": job["owner"]}
    )


def read_accounting(path, extraction):
    """Yield pages of rows from the file `accounting` of Grid Engine; lines without its fields are put aside,
    and jobs that never started are named in the extraction's items.

    A task of a parallel job with a line of its own (pe_taskid) holds the slots of its job, and is passed
    over. LayoutError where there are lines and none is of a job.
    """
    site, n_jobs, n_lines = re.split(r"[-.]", Path(path).name)[0], 0, 0
    with open_text(path) as lines:
        numbered = enumerate(lines, 1)
        while page := list(itertools.islice(numbered, PAGE)):
            page = [(number, line) for number, line in page if line.strip() and not line.startswith("#")]
            jobs = [(number, line, job_of(line)) for number, line in page]
            extraction.put_aside(path, [(n, NO_LINE, line) for n, line, job in jobs if not job])
            whole = [job for _, _, job in jobs if job and job["pe_task"] == "NONE"]
            ran = [job for job in whole if job["started"] != "0"]
            extraction.items["never ran"].update(
                f"{site}/{job['job']}" for job in whole if job["started"] == "0"
            )
            n_jobs, n_lines = n_jobs + len(whole), n_lines + len(page)
            yield frame_of([row_of(site, job) for job in ran])
    if n_lines and not n_jobs:
        raise LayoutError("none of its lines has the 45 fields of Grid Engine's accounting")


class GridEngineAccounting(AccountingFile):
    """The file `accounting` of Sun, Son of, Open and Univa Grid Engine."""

    label = "the accounting file of Grid Engine"

    def recognises(self, head):
        """By a line of its fields, with times where they should be."""
        return any(job_of(line) for line in head.lines[:10])

    def read(self, path, extraction):
        """Yield pages of rows, see `read_accounting`."""
        return read_accounting(path, extraction)
