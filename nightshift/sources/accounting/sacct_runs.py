"""From tables of what `sacct` prints to rows of the accounting, one per run of a job.

A run is a line without step; the lines of its steps follow it and hold what only steps know: the memory and
the GPUs that were used. Memory is that of the step that used most, as in Slurm's `seff`. What Slurm calls a
total or an average of memory and of GPUs is made of the highest samples of the tasks, so hours of GPUs in use
are an upper bound (src/slurmd/slurmstepd/mgr.c of Slurm 24.11.5).
"""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.accounting.columns import (
    as_texts,
    floats,
    gibibytes,
    joined,
    json_texts,
    numbers,
    or_null,
    seconds,
    texts_or,
    utc_texts,
)
from nightshift.sources.accounting.records import SCHEMA
from nightshift.sources.accounting.sacct_text import NEEDED, RUN

NOT_ENDED = r"^(RUNNING|PENDING|SUSPENDED)"
GPUS = re.compile(r"(?:^|,)gres/gpu(:[^=,]+)?=(\d+)")  # in TRES, with their type where it is named
WITHDRAWN = r"^(CANCELLED|DEADLINE|BOOT_FAIL|REQUEUED|PREEMPTED)"
# columns that become fields of a row; all others go into `more`
USED = {
    *("JobID", "Cluster", "Account", *RUN, "ElapsedRaw", "CPUTimeRAW", "TotalCPU", "AllocCPUS"),
    *("MaxRSS", "TRESUsageInTot"),
}


def column(table, name):
    """Return the text of a column, for one of NEEDED by whichever of its names the table has; nulls where it
    is not there.
    """
    present = (one for one in NEEDED.get(name, (name,)) if one in table.column_names)
    if (there := next(present, None)) is None:
        return pa.nulls(len(table), pa.string())
    return table[there].combine_chunks()


def mask(condition):
    """Convert an Arrow array of booleans to bool (n,), nulls to False."""
    return pc.fill_null(condition, False).to_numpy(zero_copy_only=False)


def why_left_out(table):
    """Tell why lines of sacct are no runs that ended: text (n,), "step", "not ended", "never ran" or "".

    REQUEUED, with an end, is a run that ended, though its job goes on.
    """
    job, state, end = (column(table, name) for name in ("JobID", "State", "End"))
    no_end = pc.is_in(end, pa.array(["Unknown", "None", ""]))
    waits = pc.match_substring_regex(state, NOT_ENDED)
    withdrawn = mask(pc.match_substring_regex(state, WITHDRAWN)) & (seconds(column(table, "ElapsedRaw")) == 0)
    reasons = {
        "step": mask(pc.match_substring_regex(job, r"^\d.*\.")),
        "not ended": mask(no_end) | mask(waits),
        "never ran": withdrawn | (numbers(column(table, "AllocCPUS")) == 0),
    }
    return np.select(list(reasons.values()), list(reasons), default="")


def gpus_in(tres):
    """Count the GPUs in TRES such as cpu=8,gres/gpu=2,gres/gpu:a100=2: the count without a type is that of
    all; where only types are counted, they are added up. None where there is neither.
    """
    counts = GPUS.findall(tres)
    whole = [int(n) for kind, n in counts if not kind]
    return whole[0] if whole else sum(int(n) for _, n in counts) if counts else None


def gpus_of(tres):
    """Count the GPUs in an array of TRES, each as `gpus_in` does: float64 (n,), NaN where none is named."""
    there = pc.match_substring(tres, "gres/gpu")
    if not pc.any(there).as_py():
        return np.full(len(tres), np.nan)
    counts = numbers(pc.struct_field(pc.extract_regex(tres, r"(?:^|,)gres/gpu=(?P<n>\d+)"), "n"))
    for at in np.flatnonzero(mask(there) & np.isnan(counts)):
        counts[at] = gpus_in(tres[at].as_py())  # None is NaN there
    return counts


def size_in(tres, name):
    """Read one size, such as `mem`, in an array of TRES: GiB, float64 (n,), NaN where there is none."""
    found = pc.extract_regex(tres, rf"(?:^|,){name}=(?P<size>[^,]+)")
    return gibibytes(pc.struct_field(found, "size"))


def memory_asked(table):
    """Read the memory that runs were given: GiB, float64 (n,).

    It stands in AllocTRES, else in ReqMem, which before Slurm 21.08 is that of one core (4Gc) or one node
    (4Gn).
    """
    asked = pc.extract_regex(column(table, "ReqMem"), r"^(?P<size>[\d.]+[KMGTPE]?)(?P<per>[cn]?)$")
    per, size = pc.struct_field(asked, "per"), gibibytes(pc.struct_field(asked, "size"))
    cores, nodes = (numbers(column(table, name)) for name in ("AllocCPUS", "NNodes"))
    asked = size * np.select([mask(pc.equal(per, "c")), mask(pc.equal(per, "n"))], [cores, nodes], 1.0)
    allocated = size_in(column(table, "AllocTRES"), "mem")
    return np.where(np.isnan(allocated), asked, allocated)


def used_by_steps(table, run, is_step):
    """Read what steps say of their runs: (memory, GiB; hours of GPUs in use), float64 (number of runs,) each,
    NaN where no step says it.

    run : int (n,), the number of the run of each line, -1 for steps without one. is_step : bool (n,).
    """
    steps, of_run, n = table.filter(pa.array(is_step)), run[is_step], run.max(initial=-1) + 1
    usage = column(steps, "TRESUsageInTot")
    memory = np.fmax(gibibytes(column(steps, "MaxRSS")), size_in(usage, "mem"))
    load = numbers(pc.struct_field(pc.extract_regex(usage, r"(?:^|,)gres/gpuutil=(?P<n>\d+)"), "n"))
    hours = load / 100 * seconds(column(steps, "ElapsedRaw")) / 3600
    most, sums = np.full(n, np.nan), np.full(n, np.nan)
    there = (of_run >= 0) & ~np.isnan(memory)
    np.fmax.at(most, of_run[there], memory[there])
    there = (of_run >= 0) & ~np.isnan(hours)
    sums[of_run[there]] = 0.0
    np.add.at(sums, of_run[there], hours[there])
    return most, sums


def number_runs(table, is_step):
    """Number the run of each line from 0 on: int (n,), -1 for a step that does not follow its job."""
    run = np.cumsum(~is_step) - 1
    base = pc.replace_substring_regex(column(table, "JobID"), r"\..*", "")
    jobs = base.filter(pa.array(~is_step))
    if not len(jobs):
        return run
    follows = mask(pc.equal(base, jobs.take(pa.array(np.maximum(run, 0)))))
    return np.where((run >= 0) & follows, run, -1)


def identities(table):
    """Write what tells runs apart, an array of text: the cluster, the job, and when it was submitted, started
    and ended, as far as the table says so.
    """
    return joined([column(table, name) for name in ("Cluster", "JobID", *RUN)])


def ends(texts):
    """Write ends in seconds since 1970 as times in UTC; other texts stay as they are."""
    if not pc.all(pc.utf8_is_digit(texts)).as_py():
        counted = pc.utf8_is_digit(texts)
        moments = utc_texts(floats(pc.if_else(counted, texts, None)))
        return pc.if_else(counted, moments, texts)
    return utc_texts(floats(texts))


def rows_of(table, memory, gpu_hours_used):
    """Make rows of the accounting, an Arrow table with the columns of SCHEMA, from lines that are runs; an
    amount that is no number is passed on as it is.

    memory, gpu_hours_used : float64 (n,), as `used_by_steps` gives them.
    """
    elapsed, cores, gpus = (
        column(table, "ElapsedRaw"),
        column(table, "AllocCPUS"),
        gpus_of(column(table, "AllocTRES")),
    )
    wall, core_s = seconds(elapsed), column(table, "CPUTimeRAW")
    if core_s.null_count:
        core_s = as_texts(wall * numbers(cores))
    gpu_hours = wall * gpus / 3600
    more = {name: column(table, name) for name in table.column_names if name not in USED}
    n, cpu = len(table), column(table, "TotalCPU")
    fields = {
        "RecordId": identities(table),
        "EndTime": ends(column(table, "End")),
        "SiteName": or_null(column(table, "Cluster")),
        "VOName": or_null(column(table, "Account")),
        "ResourceType": pa.array(np.full(n, "Batch"), pa.string()),
        "CoreHours": texts_or(numbers(core_s) / 3600, core_s),
        "WallDuration": texts_or(wall, elapsed),
        "CpuDuration": texts_or(seconds(cpu), cpu),
        "Njobs": pa.array(np.full(n, "1"), pa.string()),
        "Processors": or_null(cores),
        "GpuHours": as_texts(gpu_hours),
        "GpuHoursUsed": as_texts(np.minimum(gpu_hours_used, gpu_hours)),
        "MemoryAskedGiB": as_texts(memory_asked(table)),
        "MemoryUsedGiB": as_texts(memory),
        "more": json_texts({json.dumps(name)[1:-1]: texts for name, texts in more.items()}),
    }
    return pa.table([fields.get(name, pa.nulls(n, pa.string())) for name in SCHEMA.names], schema=SCHEMA)


def says_cpu(table):
    """Whether lines of sacct say what processor time was used: there are steps, or a job that used some.

    The total of a job is that of its steps; `sacct -X` reads no steps, and prints 0 for every job (seen with
    Slurm 22.05.8).
    """
    used = seconds(column(table, "TotalCPU")) > 0
    return bool(used.any() or pc.any(pc.match_substring(column(table, "JobID"), ".")).as_py())


def rows_of_lines(table, *, with_cpu=True):
    """Make rows of lines of jobs, each followed by those of its steps: (Arrow table with the columns of
    SCHEMA, {reason: names of the jobs that are left out for it}).

    with_cpu : whether the processor time of jobs is known.
    """
    if not with_cpu and "TotalCPU" in table.column_names:
        table = table.drop_columns("TotalCPU")
    table = table.filter(
        pc.not_equal(column(table, "State"), "State")
    )  # the header again, of a file that was appended to another
    why = why_left_out(table)
    is_step = why == "step"
    memory, gpu_hours = used_by_steps(table, number_runs(table, is_step), is_step)
    jobs, why = table.filter(pa.array(~is_step)), why[~is_step]
    names = joined([column(jobs, "Cluster"), column(jobs, "JobID")])
    left_out = {
        reason: names.filter(pa.array(why == reason)).to_pylist() for reason in ("not ended", "never ran")
    }
    ended = why == ""
    return rows_of(jobs.filter(pa.array(ended)), memory[ended], gpu_hours[ended]), left_out


def rows_of_tables(tables):
    """Yield what `rows_of_lines` makes of `tables` of lines, one after the other; the last run of a table
    waits for its steps in the next.
    """
    rest, with_cpu = None, False
    for table in tables:
        with_cpu = with_cpu or says_cpu(table)
        table = pa.concat_tables([rest, table]) if rest is not None else table
        is_job = ~mask(pc.match_substring(column(table, "JobID"), "."))
        last = int(np.flatnonzero(is_job)[-1]) if is_job.any() else 0
        rest = table.slice(last)
        yield rows_of_lines(table.slice(0, last), with_cpu=with_cpu)
    if rest is not None:
        yield rows_of_lines(rest, with_cpu=with_cpu)
