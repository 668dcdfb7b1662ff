"""Runs of jobs as `sacct --json` prints them: the layout of Slurm 22.05, and that of 23.11 and later, in
which a number that may be missing is {"set": ..., "infinite": ..., "number": ...}.

One job is read after the other, since two years of jobs are gigabytes of JSON. The CPU time of a job is that
of its steps: Slurm 22.05 writes zeros for the job itself.
"""

import itertools
import json
import re

from nightshift.sources.accounting.records import AccountingFile, frame_of, row_of_job
from nightshift.sources.excerpts import both_ends, is_small, written
from nightshift.sources.files import BLOCK, LayoutError, iter_elements, open_text

JOBS = re.compile(
    r'\s*\{.*?"jobs"\s*:\s*\[', re.DOTALL
)  # of Slurm 22.05 with "meta" before, later at the beginning
NOT_ENDED = ("RUNNING", "PENDING", "SUSPENDED")
WITHDRAWN = ("CANCELLED", "DEADLINE", "BOOT_FAIL", "REQUEUED", "PREEMPTED")
MIB, BYTE = 2.0**-10, 2.0**-30  # GiB
PAGE = 20_000  # jobs


def number_of(value):
    """Return a number of either layout, None for one that is not set or infinite."""
    if isinstance(value, dict):
        return value.get("number") if value.get("set") and not value.get("infinite") else None
    return value


def state_of(state):
    """Return the state of a run as text. Since 23.11 it is a list of flags; REQUEUED among them, even after
    PENDING, says that this run is over.
    """
    current = state["current"] if isinstance(state, dict) else state
    flags = [current] if isinstance(current, str) else current
    return "REQUEUED" if "REQUEUED" in flags else ",".join(flags)


def name_of(job):
    """Return the id of a job as the table of sacct has it: 12; 12_3 for a task of an array; 12+1 for a
    component of a heterogeneous job.
    """
    array, het = job.get("array") or {}, job.get("het") or {}
    task, offset = number_of(array.get("task_id")), number_of(het.get("job_offset"))
    if array.get("job_id") and task is not None:
        return f"{array['job_id']}_{task}"
    return f"{het['job_id']}+{offset or 0}" if het.get("job_id") else str(job["job_id"])


def count_of(tres, kind, name=""):
    """Return the count of one kind in a list of TRES (trackable resources); None where it is missing or
    negative. Counts by type, such as gpu:a100, are added up only where there is none of all types.
    """
    counts = {(one["type"], one.get("name") or ""): one["count"] or 0 for one in tres or ()}
    typed = [n for (what, which), n in counts.items() if what == kind and which.startswith(f"{name}:")]
    count = counts.get((kind, name), sum(typed) if name and typed else None)
    return None if count is None or count < 0 else count


def steps_use(job):
    """Sum up what the steps of a job say: (CPU time, s; greatest memory, GiB, or None; hours of GPUs in use,
    or None).
    """
    cpu, memory, gpu_hours = 0.0, None, None
    for step in job.get("steps") or ():
        total = step["time"]["total"]
        cpu += (total.get("seconds") or 0) + (total.get("microseconds") or 0) / 1e6
        used = (step.get("tres") or {}).get("requested") or {}
        peaks = [count_of(used.get(of), "mem") for of in ("max", "total")]
        load = count_of(used.get("total"), "gres", "gpuutil")
        for peak in peaks:
            if peak is not None:  # a step without this number has not used zero memory
                memory = max(memory or 0.0, peak * BYTE)
        if load is not None:
            gpu_hours = (gpu_hours or 0.0) + load / 100 * step["time"]["elapsed"] / 3600
    return cpu, memory, gpu_hours


def memory_asked(job, cores):
    """Return the memory that a run was given, else asked for, GiB; None where neither is there."""
    tres, required = job["tres"], job.get("required") or {}
    for of in ("allocated", "requested"):
        if (mib := count_of(tres.get(of), "mem")) is not None:
            return mib * MIB
    mib, per_core = number_of(required.get("memory_per_node")), number_of(required.get("memory_per_cpu"))
    return mib * MIB if mib else per_core * cores * MIB if per_core else None


def why_left_out(job, cores):
    """Tell why a job has no row: "not ended", "never ran" or ""."""
    state, time = state_of(job["state"]), job["time"]
    if not number_of(time["end"]) or state.startswith(NOT_ENDED):
        return "not ended"
    return "never ran" if not cores or (not time["elapsed"] and state.startswith(WITHDRAWN)) else ""


def row_of(job, cores):
    """Make the row of one run, a dict with the columns of SCHEMA."""
    time, (cpu, memory, gpu_hours) = job["time"], steps_use(job)
    run = [str(number_of(time[name]) or "Unknown") for name in ("submission", "start", "end")]
    amounts = {
        "WallDuration": time["elapsed"],
        "CpuDuration": cpu if job.get("steps") else None,
        "Processors": cores,
        "Gpus": count_of(job["tres"].get("allocated"), "gres", "gpu"),
        "GpuHoursUsed": gpu_hours,
        "MemoryAskedGiB": memory_asked(job, cores),
        "MemoryUsedGiB": memory,
    }
    return row_of_job(
        "/".join([job["cluster"], name_of(job), *run]),
        job["cluster"],
        job["account"],
        end=number_of(time["end"]),
        amounts=amounts,
        more={"State": state_of(job["state"]), "User": job.get("user")},
    )


def jobs_of(path):
    """Yield the jobs of a file one by one, also of documents after one another, as >> leaves them;
    LayoutError where the first has no list of jobs, ValueError where one breaks off.
    """
    with open_text(path) as file:
        begin = JOBS.match(file.read(BLOCK).lstrip())
    if not begin:
        raise LayoutError("it has no jobs: Slurm 22.05 needs sacct --json without SLURM_TIME_FORMAT")
    for document, job in iter_elements(path, "jobs"):
        yield from jobs_in(document) if job is None else [job]


def jobs_in(document):
    """List the jobs of a whole document; [] for anything else."""
    jobs = document.get("jobs") if isinstance(document, dict) else None
    return jobs if isinstance(jobs, list) else []


def read_json(path, extraction):
    """Yield pages of rows from output of sacct --json; what is no job as Slurm writes it is put aside, and
    jobs that have not ended or never ran are named in the extraction's items.
    """
    jobs = enumerate(jobs_of(path), 1)
    while page := list(itertools.islice(jobs, PAGE)):
        rows, bad = [], []
        for number, job in page:
            try:
                cores = count_of(job["tres"].get("allocated"), "cpu")
                cores = count_of(job["tres"].get("requested"), "cpu") if cores is None else cores
                if why := why_left_out(job, cores):
                    extraction.items[why].add(f"{job['cluster']}/{name_of(job)}")
                else:
                    rows.append(row_of(job, cores))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                bad.append((number, f"no job of sacct: {error}", json.dumps(job)))
        extraction.put_aside(path, bad)
        yield frame_of(rows)


def excerpt_of_jobs(path, folder):
    """Take the first and the last jobs, as one document again; errors are those of `jobs_of`."""
    if is_small(path):
        return str(path), True
    jobs, has_end = both_ends(jobs_of(path))
    lines = (f"{', ' if number else ''}{json.dumps(job)}\n" for number, job in enumerate(jobs))
    return written(['{"jobs": [\n', *lines, "]}\n"], path, folder), has_end


class SacctJson(AccountingFile):
    """Saved output of sacct --json."""

    label = "sacct --json output"
    excerpt = staticmethod(excerpt_of_jobs)

    def recognises(self, head):
        """By a list of jobs or of errors, and what only Slurm writes around it or into a job."""
        text = "\n".join(head.lines)
        of_slurm = re.search(r'"(?:[Ss]lurm|allocation_nodes)"\s*:', text)
        return bool(head.line.startswith("{") and of_slurm and ('"jobs"' in text or '"errors"' in text))

    def read(self, path, extraction):
        """Yield pages of rows, see `read_json`."""
        return read_json(path, extraction)
