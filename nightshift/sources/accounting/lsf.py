"""The file `lsb.acct` of LSF: a line per event, fields separated by blanks, text in quotes.

Only the lines of jobs that ended (JOB_FINISH) are read. The file names no cluster, so the site is the name of
the file up to the first "-" or ".", as for Grid Engine; the VO is the project.

Source: lsb.acct(5) of IBM Spectrum LSF 10.1, fields in its order; two lists of hosts, each after its length,
make the positions of later fields vary. With LSB_SHORT_HOSTLIST a host of n slots is n*host.
"""

import itertools
import re
from pathlib import Path

from nightshift.sources.accounting.records import NO_GROUP, AccountingFile, frame_of, row_of_job
from nightshift.sources.files import LayoutError, open_text

FIELD = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
EVENT, ENDED, JOB, SUBMITTED, STARTED, USER, QUEUE, HOSTS = 0, 2, 3, 7, 10, 11, 12, 22  # before the hosts
USER_CPU, SYSTEM_CPU, PROJECT, INDEX = 4, 5, 24, 29  # counted from the status, which follows the hosts
NAMED = re.compile(r'"[A-Z0-9_]+" ')  # a line of an event; events other than ends of jobs are passed over
NO_LINE = "no whole line of lsb.acct"
PAGE = 20_000  # lines


def slots_of(hosts):
    """Count the slots of a list of hosts, each of which stands there once per slot or as n*host."""
    return sum(int(host.partition("*")[0]) if "*" in host else 1 for host in hosts)


def job_of(line):
    """Return {name: value} of the line of a job that ended; ValueError or IndexError where it breaks off."""
    fields = [text.replace('""', '"') or plain for text, plain in FIELD.findall(line)]
    asked = HOSTS + 1 + int(fields[HOSTS])
    status = asked + 1 + int(fields[asked])
    cpu = [float(fields[status + at]) for at in (USER_CPU, SYSTEM_CPU)]
    # the jobs of an array have one id, and often begin and end in the same second
    index = next(iter(fields[status + INDEX :]), "0")
    return {
        "job": fields[JOB] if index == "0" else f"{fields[JOB]}[{index}]",
        "submitted": fields[SUBMITTED],
        "started": int(fields[STARTED]),
        "ended": int(fields[ENDED]),
        "user": fields[USER],
        "queue": fields[QUEUE],
        "slots": slots_of(fields[asked + 1 : status]),
        "cpu": None if min(cpu) < 0 else sum(cpu),
        "project": fields[status + PROJECT],
    }


def row_of(site, job):
    """Make the row of one job, a dict with the columns of SCHEMA. `default`, the project that LSF gives to
    jobs without one, is no VO.
    """
    wall = job["ended"] - job["started"]
    amounts = {"WallDuration": wall, "CpuDuration": job["cpu"], "Processors": job["slots"]}
    identity = "/".join([site, *(str(job[name]) for name in ("job", "submitted", "started", "ended"))])
    vo = NO_GROUP if job["project"] in ("", "default") else job["project"]
    more = {name: job[name] for name in ("user", "queue")}
    return row_of_job(identity, site, vo, end=job["ended"], amounts=amounts, more=more)


def read_accounting(path, extraction):
    """Yield pages of rows from a file lsb.acct; lines that break off or name no event are put aside, and jobs
    that never started are named in the extraction's items. LayoutError where no line is of a job that ended.
    """
    site, n_jobs, n_lines = re.split(r"[-.]", Path(path).name)[0], 0, 0
    with open_text(path) as lines:
        numbered = enumerate(lines, 1)
        while page := list(itertools.islice(numbered, PAGE)):
            jobs, bad = [], []
            for number, line in page:
                if line.startswith('"JOB_FINISH"'):
                    try:
                        jobs.append(job_of(line))
                    except (ValueError, IndexError):
                        bad.append((number, NO_LINE, line))
                elif line.strip() and not NAMED.match(line):
                    bad.append((number, NO_LINE, line))
            extraction.put_aside(path, bad)
            never = [job for job in jobs if not job["started"]]
            extraction.items["never ran"].update(f"{site}/{job['job']}" for job in never)
            n_jobs, n_lines = n_jobs + len(jobs), n_lines + len(page)
            yield frame_of([row_of(site, job) for job in jobs if job["started"]])
    if n_lines and not n_jobs:
        raise LayoutError("none of its lines is of a job that ended (JOB_FINISH): needed is lsb.acct of LSF")


class LsfAccounting(AccountingFile):
    """The file lsb.acct of IBM Spectrum LSF."""

    label = "the accounting file of LSF"

    def recognises(self, head):
        """By a first line with the name of an event, a version and a time."""
        return bool(re.match(r'"[A-Z0-9_]+" "[\d.]+" \d{9,10} ', head.line))

    def read(self, path, extraction):
        """Yield pages of rows, see `read_accounting`."""
        return read_accounting(path, extraction)
