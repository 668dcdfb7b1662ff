"""Jobs of HTCondor as `condor_history` prints them, -json or -long: one ClassAd per job.

Names of attributes have no case, as in ClassAds. A job held what its slot gave it (`CpusProvisioned`), else
what it asked for; times are seconds, memory that was asked for is MiB, memory that was used KiB. A job that
was removed after it ran has used its hours as well, so all that ran and left the queue count: JobStatus 3
(removed) and 4 (completed).
"""

import json
import re

from nightshift.sources.accounting.records import (
    NO_GROUP,
    AccountingFile,
    amount_of,
    frame_of,
    row_of_job,
)
from nightshift.sources.excerpts import excerpt_of_records, whole_file
from nightshift.sources.files import LayoutError, open_text, read_records

LEFT = (3, 4)  # JobStatus of removed and completed jobs
ON_SCHEDD = (7, 12)  # JobUniverse of what runs beside the schedd and holds no slot, such as a DAGMan for days
LINE = re.compile(r"([A-Za-z_]\w*) = (.*)")
QUOTE = re.compile(r'(?<!\\)"')
OF_JOBS = {  # attributes of jobs alone; JSON has no order, so that any of them may be the first
    "ProcId",
    "QDate",
    "JobPrio",
    "MyType",
    "NumCkpts",
    "JobStatus",
    "JobUniverse",
}
PAGE = 20_000  # jobs


def first_of(job, *names):
    """Return the first of the attributes `names` that is a number, as a float; None where none is."""
    return next((value for name in names if (value := amount_of(job.get(name))) is not None), None)


def site_of(job):
    """Return the name of the schedd, with which GlobalJobId begins, without the machine after its "@"."""
    return job["globaljobid"].partition("#")[0].partition("@")[0] or None


def vo_of(job):
    """Return the VO of a job: that of its proxy certificate, else AcctGroup, else AccountingGroup without the
    name of the user at its end. A user alone is no VO: jobs of no group are put together under NO_GROUP.
    """
    if named := job.get("x509userproxyvoname") or job.get("acctgroup"):
        return named
    users = {str(job[name]) for name in ("owner", "acctgroupuser") if job.get(name)}
    group, _, user = str(job.get("accountinggroup") or "").rpartition(".")
    group = group if user in users else job.get("accountinggroup")
    return NO_GROUP if not group or group in users else group


def row_of(job):
    """Make the row of one job, a dict with the columns of SCHEMA.

    job : {attribute in small letters: value}. Wall time is that of all runs of the job, including evicted
    ones, and so is CPU time where HTCondor has that. What ran ON_SCHEDD is of another kind than batch.
    """
    wall, cores = wall_of(job), first_of(job, "cpusprovisioned", "requestcpus")
    cpu = [first_of(job, f"cumulativeremote{of}cpu", f"remote{of}cpu") for of in ("user", "sys")]
    asked, resident = (
        first_of(job, "memoryprovisioned", "requestmemory"),
        first_of(job, "residentsetsize_raw"),
    )
    amounts = {
        "WallDuration": wall,
        "CpuDuration": None if None in cpu else sum(cpu),
        "Processors": cores,
        "Gpus": first_of(job, "gpusprovisioned", "requestgpus"),
        "MemoryAskedGiB": None if asked is None else asked / 2**10,
        "MemoryUsedGiB": None if resident is None else resident / 2**20,
    }
    end = first_of(job, "completiondate") or first_of(job, "enteredcurrentstatus")
    more = {name: job[name] for name in ("owner", "jobstatus", "lastremotehost") if name in job}
    row = row_of_job(job["globaljobid"], site_of(job), vo_of(job), end=end, amounts=amounts, more=more)
    return row | {"ResourceType": "Local"} if amount_of(job.get("jobuniverse")) in ON_SCHEDD else row


def wall_of(job):
    """Return the seconds that a job held its slots, None where nothing says it. CumulativeSlotTime is
    weighted by the cores of the slot, and divided by them here.
    """
    wall, weighted, cores = (
        first_of(job, *names)
        for names in (["remotewallclocktime"], ["cumulativeslottime"], ["cpusprovisioned", "requestcpus"])
    )
    return weighted / cores if wall is None and weighted is not None and cores else wall


def why_left_out(job):
    """Tell why a job has no row: "not ended", "never ran" or ""."""
    if amount_of(job.get("jobstatus", 4)) not in LEFT:
        return "not ended"
    return "" if wall_of(job) else "never ran"


def literal(text):
    """Return the value of one attribute of a long ClassAd; an expression stays text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def is_unfinished(text):
    """Tell whether the value of an attribute is a string that goes on in the next line, rather than an
    expression that begins with a string, such as "a" =?= MY.Kind.
    """
    closed = len(text) > 1 and text.endswith('"')  # even behind a backslash, as in a path of Windows
    return text.startswith('"') and not closed and len(QUOTE.findall(text)) % 2 == 1


def read_long(path):
    """Yield (jobs, bad) of condor_history -long: paragraphs of `Attribute = value`, a job each."""
    jobs, bad, job, unfinished = [], [], {}, False
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if unfinished:  # a string with line breaks, which ClassAds write as they are
                unfinished = not re.search(r'(^|[^\\])"$', line.rstrip())
            elif match := LINE.match(line):
                job[match[1]] = literal(text := match[2].rstrip())
                unfinished = is_unfinished(text)
            elif line.strip() and not line.startswith("***"):  # which ends a job in the file of a schedd
                bad.append((number, "no attribute of a ClassAd", line))
            elif job:
                jobs.append(job)
                job = {}
            if len(jobs) >= PAGE:
                yield jobs, bad
                jobs, bad = [], []
    yield [*jobs, *([job] if job else [])], bad


def is_json(path):
    """Tell whether a file begins as JSON does."""
    with open_text(path) as file:
        return file.read(2**16).lstrip()[:1] in ("[", "{")


def read_history(path, extraction):
    """Yield pages of rows from what condor_history wrote, -json or -long; jobs without GlobalJobId are put
    aside, and those that have not ended or never ran are named in the extraction's items. LayoutError where
    no job has a GlobalJobId.
    """
    n_jobs, n_named = 0, 0
    for jobs, bad in read_records(path, PAGE) if is_json(path) else read_long(path):
        ads = [{name.lower(): value for name, value in job.items()} for job in jobs]
        unnamed = [job for job in ads if not isinstance(job.get("globaljobid"), str)]
        extraction.put_aside(path, [*bad, *((0, "no GlobalJobId", json.dumps(job)) for job in unnamed)])
        n_jobs, n_named = n_jobs + len(ads), n_named + len(ads) - len(unnamed)
        rows = []
        for job in (job for job in ads if isinstance(job.get("globaljobid"), str)):
            if why := why_left_out(job):
                extraction.items[why].add(job["globaljobid"])
            else:
                rows.append(row_of(job))
        yield frame_of(rows)
    if n_jobs and not n_named:
        raise LayoutError("none of its jobs has a GlobalJobId: needed is the output of condor_history -json")


def excerpt_of_history(path, folder):
    """Take the first and the last jobs of JSON; ClassAds in the long form are read as a whole."""
    return (excerpt_of_records if is_json(path) else whole_file)(path, folder)


class CondorHistory(AccountingFile):
    """Saved output of condor_history -json or -long."""

    label = "condor_history -json or -long output"
    excerpt = staticmethod(excerpt_of_history)

    def recognises(self, head):
        """By attributes that only ClassAds of jobs have."""
        if head.line[:1] in ("[", "{"):
            names = set(re.findall(r'"(\w+)"\s*:', "\n".join(head.lines)))
            return bool(names & {"ClusterId", "GlobalJobId"}) or len(names & OF_JOBS) >= 2
        names = {match[1] for line in head.lines if (match := LINE.match(line))}
        return len(names) >= 3 and bool(names & {"AccountingGroup", "AcctGroup", "ClusterId", "GlobalJobId"})

    def read(self, path, extraction):
        """Yield pages of rows, see `read_history`."""
        return read_history(path, extraction)
