"""The log of Slurm's plugin jobcomp/filetxt: a line per job that ended, in pairs NAME=VALUE.

    JobId=17 UserId=user1(1001) GroupId=physics(2001) Name=fit JobState=COMPLETED ... ProcCnt=8

The VO is the account, or the group in logs of older versions, which write no account. Where no cluster is
named, the site is the name of the file up to the first "-" or ".". Times are those of the controller's clock,
without their zone, and how long a job ran is the difference of two of them: that of a job that ran while the
clocks were changed is an hour off. Processor time is not in it.

Source: src/plugins/jobcomp/filetxt of Slurm, and lines of its log in public scripts.
"""

import itertools
import re
from pathlib import Path

import numpy as np

from nightshift.sources.accounting.records import NO_GROUP, AccountingFile, frame_of, row_of_job
from nightshift.sources.accounting.sacct_runs import gpus_in
from nightshift.sources.files import open_text

PAIR = re.compile(r"(\w+)=(.*?)(?=\s\w+=|\s*$)")  # a name or a folder may hold blanks
PERSON = re.compile(r"(.+)\((\d+)\)")
PAGE = 50_000  # lines


def name_of(text):
    """Return the name in name(number), as users and groups are written."""
    match = PERSON.fullmatch(text)
    return match[1] if match else text


def vo_of(job):
    """Return the account of a job, else its group; NO_GROUP for a private group, which has the name of its
    user.
    """
    group, user = name_of(job.get("GroupId", "")), name_of(job.get("UserId", ""))
    account = job.get("Account", "").replace("(null)", "")
    return account or (NO_GROUP if group in ("", user) else group)


def row_of(site, job):
    """Make the row of one job, {name: text} of its line, a dict with the columns of SCHEMA; ValueError or
    KeyError where the line breaks off. `site` is that of jobs that name no cluster.
    """
    start, end = np.datetime64(job["StartTime"], "s"), np.datetime64(job["EndTime"], "s")
    amounts = {
        "WallDuration": int((end - start).astype(int)),
        "Processors": int(job["ProcCnt"]),
        "Gpus": gpus_in(job.get("Tres", "")),
    }
    site = job.get("Cluster") or site
    identity = "/".join([site, job["JobId"], job["StartTime"], job["EndTime"]])
    more = {name: job[name] for name in ("UserId", "Partition", "JobState") if name in job}
    row = row_of_job(identity, site, vo_of(job), end=None, amounts=amounts, more=more)
    return row | {"EndTime": job["EndTime"]}


def read_log(path, extraction):
    """Yield pages of rows of a log; lines that break off are put aside, and jobs that never started are named
    in the extraction's items.
    """
    site = re.split(r"[-.]", Path(path).name)[0]
    with open_text(path) as lines:
        numbered = enumerate(lines, 1)
        while page := list(itertools.islice(numbered, PAGE)):
            rows, bad = [], []
            for number, line in page:
                job = dict(PAIR.findall(line))
                if job.get("StartTime") in ("Unknown", "None"):
                    extraction.items["never ran"].add(f"{job.get('Cluster') or site}/{job.get('JobId')}")
                elif line.strip():
                    try:
                        rows.append(row_of(site, job))
                    except KeyError as error:
                        bad.append((number, f"no {error.args[0]}", line))
                    except ValueError as error:
                        bad.append((number, str(error), line))
            extraction.put_aside(path, bad)
            yield frame_of(rows)


class SlurmJobcomp(AccountingFile):
    """The log of jobcomp/filetxt."""

    label = "the log of Slurm's jobcomp/filetxt"

    def recognises(self, head):
        """By the names of its first line."""
        return head.line.startswith("JobId=") and {"JobState", "EndTime", "ProcCnt"} <= {
            name for name, _ in PAIR.findall(head.line)
        }

    def read(self, path, extraction):
        """Yield pages of rows, see `read_log`."""
        return read_log(path, extraction)
