"""Jobs of Flux: what `flux jobs -a --json` prints, or single jobs as its Python interface has them.

    {"id": 17, "username": "user1", "bank": "physics", "t_run": 1769421600.0, "t_cleanup": 1769425200.0,
     "t_inactive": 1769425201.0, "ncores": 8, "state": "INACTIVE", ...}

A job names no cluster, so the site is the name of the file up to the first "-" or "."; the VO is the bank of
flux-accounting, else the project. Processor time, memory and GPUs are not in it.

Source: flux-jobs(1) of flux-core, and jobs that it printed in the documentation of the Flux Operator.
"""

import json
import re
from pathlib import Path

from nightshift.sources.accounting.records import NO_GROUP, AccountingFile, amount_of, frame_of, row_of_job
from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import read_records, require_kind

NEEDED = "id, t_submit, t_run, t_cleanup, t_inactive and ncores, as flux jobs --json prints them"
PAGE = 20_000  # jobs


def row_of(site, job):
    """Make the row of one job that ran, a dict with the columns of SCHEMA."""
    start, end = amount_of(job.get("t_run")), amount_of(job.get("t_cleanup"))
    amounts = {"WallDuration": end - start, "Processors": amount_of(job.get("ncores"))}
    vo = job.get("bank") or job.get("project") or NO_GROUP
    more = {
        name: job[name] for name in ("username", "userid", "queue", "result") if job.get(name) is not None
    }
    return row_of_job(f"{site}/{job['id']}/{start}", site, vo, end=end, amounts=amounts, more=more)


def is_job(record):
    """Whether a record is a job of Flux."""
    return {"id", "t_submit"} <= set(record)


def why_left_out(job):
    """Tell why a job has no row: "not ended", "never ran" or ""."""
    if not amount_of(job.get("t_inactive")):
        return "not ended"
    return "" if amount_of(job.get("t_run")) and amount_of(job.get("t_cleanup")) else "never ran"


def read_jobs(path, extraction):
    """Yield pages of rows of jobs in any layout of JSON; what is no job is put aside, and jobs that have not
    ended or never ran are named in the extraction's items. LayoutError where the file holds something and no
    job.
    """
    site = re.split(r"[-.]", Path(path).name)[0]
    pages = read_records(path, PAGE, fits=is_job)
    for records, bad in require_kind(pages, kind="job of Flux", needed=NEEDED, fits=is_job):
        jobs = [record for record in records if is_job(record)]
        others = [record for record in records if not is_job(record)]
        extraction.put_aside(path, [*bad, *((0, "no job of Flux", json.dumps(one)) for one in others)])
        for job in jobs:
            if why := why_left_out(job):
                extraction.items[why].add(f"{site}/{job['id']}")
        yield frame_of([row_of(site, job) for job in jobs if not why_left_out(job)])


class FluxJobs(AccountingFile):
    """Jobs of Flux, as JSON."""

    label = "jobs of Flux (JSON)"
    excerpt = staticmethod(excerpt_of_records)

    def recognises(self, head):
        """By names that stand together in no other accounting."""
        return {"t_submit", "t_inactive", "ntasks"} <= head.keys

    def read(self, path, extraction):
        """Yield pages of rows, see `read_jobs`."""
        return read_jobs(path, extraction)
