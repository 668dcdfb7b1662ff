"""Accounting logs of PBS: Torque, PBS Professional and OpenPBS, a line per event of a job,

    MM/DD/YYYY HH:MM:SS;E;1234.server;user=... group=... resources_used.walltime=01:00:00 ...

Only the lines of jobs that ended (E) are read. The site is the server; the VO is the account, else the
project, else the group.
"""

import itertools
import re

from nightshift.sources.accounting.records import NO_GROUP, AccountingFile, frame_of, row_of_job
from nightshift.sources.files import LayoutError, open_text

LINE = re.compile(r"(\d\d/\d\d/\d{4} \d\d:\d\d:\d\d);([A-Za-z]+);([^;]*);(.*)")
PAIR = re.compile(r'([^\s=]+)=("[^"]*"|\S*)')
SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
PAGE = 50_000  # lines
NO_PROJECT = "_pbs_project_default"  # what PBS writes for jobs without one


def seconds(text):
    """Return the seconds of HH:MM:SS, of any number of hours, or of a plain number, as some Torques write it;
    None for anything else.
    """
    if not re.fullmatch(r"\d+(:\d+){0,2}", text or ""):
        return None
    return sum(int(part) * 60**power for power, part in enumerate(reversed(text.split(":"))))


def gibibytes(text):
    """Return the GiB of a size such as 2031040kb; None for anything else, even a size in words (kw), since
    only the host knows how many bytes a word has.
    """
    match = re.fullmatch(r"(\d+)([kmgt]?)b", text or "")
    return int(match[1]) * SIZES[match[2]] / 2**30 if match else None


def whole(text):
    """Return a text of digits as an int, None for anything else."""
    return int(text) if text and text.isdecimal() else None


def cores_in(exec_host):
    """Count the cores in `exec_host`: n1/0+n1/1 and n1/0-3,8 of Torque, n1/0*8+n2/0*8 of PBS Professional;
    None where there is none, ValueError where it has another form.
    """
    n = 0
    for chunk in exec_host.split("+") if exec_host else ():
        _, _, slots = chunk.partition("/")
        first, _, times = slots.partition("*")
        for span in first.split(","):
            low, _, high = span.partition("-")
            n += int(times or 1) * (int(high or low) - int(low) + 1)
    return n or None


def row_of(name, job):
    """Make the row of one job, a dict with the columns of SCHEMA.

    name : the id of the job with its server. job : {key: value} of the line. ValueError as of `cores_in`.
    """
    used = whole(job.get("total_execution_slots")) or whole(job.get("resources_used.ncpus"))
    amounts = {
        "WallDuration": seconds(job.get("resources_used.walltime")),
        "CpuDuration": seconds(job.get("resources_used.cput")),
        "Processors": used or cores_in(job.get("exec_host")) or whole(job.get("Resource_List.ncpus")),
        "Gpus": whole(job.get("Resource_List.ngpus")),
        "MemoryAskedGiB": gibibytes(job.get("Resource_List.mem")),
        "MemoryUsedGiB": gibibytes(job.get("resources_used.mem")),
    }
    more = {key: job[key] for key in ("user", "queue", "Exit_status") if key in job}
    project = job.get("project", "").strip('"')
    project = "" if project == NO_PROJECT else project
    vo = job.get("account", "").strip('"') or project or job.get("group")
    # where groups are private, each user has one of the same name
    vo = NO_GROUP if vo == job.get("user") else vo
    identity = "/".join([name, *(job[key] for key in ("ctime", "start", "end") if key in job)])
    return row_of_job(
        identity, name.partition(".")[2], vo, end=whole(job.get("end")), amounts=amounts, more=more
    )


def read_pbs(path, extraction):
    """Yield pages of rows from an accounting log of PBS; what is no line of one is put aside.

    A job without a wall time has no core hours, and the next step rejects it by name. LayoutError where there
    are lines and none is of a job that ended.
    """
    n_ended, n_lines = 0, 0
    with open_text(path) as lines:
        numbered = enumerate(lines, 1)
        while page := list(itertools.islice(numbered, PAGE)):
            rows, bad = [], []
            for number, line in page:
                match = LINE.match(line)
                # an array has no hours but those of its jobs
                if match and match[2] == "E" and "[]" not in match[3]:
                    job = dict(PAIR.findall(match[4]))
                    try:
                        rows.append(row_of(match[3], job))
                    except ValueError as error:
                        bad.append((number, f"exec_host: {error}", line))
                elif not match and line.strip():
                    bad.append((number, "no line of an accounting log of PBS", line))
            n_ended, n_lines = n_ended + len(rows), n_lines + len(page)
            extraction.put_aside(path, bad)
            yield frame_of(rows)
    if n_lines and not n_ended:
        raise LayoutError(
            "none of its lines is of a job that ended (;E;): needed is an accounting log of PBS"
        )


class PbsLog(AccountingFile):
    """Accounting logs of Torque, PBS Professional and OpenPBS, a file a day."""

    label = "an accounting log of PBS or Torque"

    def recognises(self, head):
        """By the form of its first line."""
        return bool(LINE.match(head.line))

    def read(self, path, extraction):
        """Yield pages of rows, see `read_pbs`."""
        return read_pbs(path, extraction)
