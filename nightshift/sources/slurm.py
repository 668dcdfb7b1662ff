"""Slurm's accounting: the output of `sacct`, live or saved in any of its parsable forms, as one row per run
of a job.

    COLUMNS, MORE      what is needed, and what else tells runs of one job apart
    sacct_command      the command of a live sacct for some days
    ask_slurm          what a client of Slurm prints, in a file
    read_sacct         pages of lines, whatever the delimiter, with a header or without
    run_of, why_left_out   the row of one line, and why a line has none
"""

import itertools
import json
import os
import re
import subprocess

import numpy as np

from nightshift.sources.files import LayoutError, open_text, shorten

COLUMNS = ["JobID", "Cluster", "Account", "State", "End", "ElapsedRaw", "CPUTimeRAW", "TotalCPU", "AllocCPUS"]
MORE = ["Submit", "Start"]  # of two runs of one job at least one of these, or the end, differs
# what a live sacct is asked for, and the notebook tells people to save
FORMAT = [*COLUMNS[:4], *MORE, *COLUMNS[4:]]
# job, array task, component of a heterogeneous job; step
JOB = re.compile(r"\d+(?:_(?:\d+|\[.*\])|\+\d+)?(?:\.\w+)?")
NOT_ENDED = ("RUNNING", "PENDING", "SUSPENDED")
NEEDED = f"needed is the output of sacct --parsable2 --format={','.join(FORMAT)} with its header"


def sacct_command(begin, end, options=()):
    """The command of a live sacct, a list, for all runs of all users between two dates.

    Without --duplicates sacct tells the last run of a job id only: earlier ones (requeued, preempted, of a
    failed node) and jobs from before the ids began anew would be lost, without a word.
    """
    return [
        "sacct",
        "--allusers",
        "--duplicates",
        "--parsable2",
        "--noconvert",
        f"--starttime={begin:%Y-%m-%d}",
        f"--endtime={end:%Y-%m-%d}",
        f"--format={','.join(FORMAT)}",
        *options,
    ]


def find_delimiter(header):
    """What stands between the columns of the first line of a file of sacct, "" where it is no header of
    it.
    """
    names = [
        *COLUMNS,
        *MORE,
        "JobIDRaw",
        "JobName",
        "User",
        "Partition",
        "QOS",
        "Elapsed",
        "NNodes",
        "ExitCode",
    ]
    name = "|".join(sorted(names, key=len, reverse=True))
    found = re.search(rf"(?:^|\W)(?:{name})(\W+?)(?:{name})(?:\W|$)", header)
    return found[1] if found else ""


def looks_like_sacct(first):
    """Whether the first line of a file, header or none, is of sacct."""
    named = len(set(re.findall(r"\w+", first)) & {*COLUMNS, *MORE}) >= 3
    states = (
        r"\b(COMPLETED|FAILED|CANCELLED|TIMEOUT|OUT_OF_MEMORY|RUNNING|PENDING|PREEMPTED|REQUEUED|NODE_FAIL)\b"
    )
    return named or bool(JOB.match(first) and re.search(states, first))


def layout_of(first):
    """(delimiter, names of the columns, whether the first line is the header) of a file of sacct by its
    first line; LayoutError for no layout.
    """
    delimiter = find_delimiter(first)
    if delimiter:
        if not delimiter.strip() and delimiter != "\t":
            raise LayoutError(
                f"it is sacct's table for people, whose columns are cut to their width; {NEEDED}"
            )
        names = [name.split("%")[0] for name in first.split(delimiter)]
        if missing := [column for column in COLUMNS if column not in names]:
            raise LayoutError(
                f"it has no {' and no '.join(missing)}; it has "
                f"{shorten([name for name in names if name], 20)}; {NEEDED}"
            )
        return delimiter, names, True
    delimiter = next(
        (mark for mark in "|,;\t^~#" if JOB.fullmatch(first.split(mark)[0]) and mark in first), ""
    )
    cells = first.split(delimiter) if delimiter else []
    cells = cells[:-1] if cells and not cells[-1] else cells
    names = next((names for names in (FORMAT, COLUMNS) if len(names) == len(cells)), None)
    job = dict(zip(names, cells, strict=True)) if names else {}
    if (
        not job
        or not re.match(r"[A-Z_]+\b", job["State"])
        or not all(job[name].isdecimal() for name in ("ElapsedRaw", "CPUTimeRAW", "AllocCPUS"))
    ):
        raise LayoutError(
            f"it has no header, and its first line {' '.join(first.split())[:60]!r} is not of the "
            f"{len(FORMAT)} or {len(COLUMNS)} "
            f"documented columns; {NEEDED}"
        )
    return delimiter, names, False


def read_sacct(path, chunk_rows=100_000):
    """Yield (jobs, bad) from saved output of sacct, plain or .gz: list of {column: text}, and (line number,
    reason, text) of what does not fit.

    Read are --parsable2 and --parsable with any --delimiter, with a header or, if the columns are those of
    FORMAT or COLUMNS, without. LayoutError, one line, for anything else.
    """
    with open_text(path) as lines:
        first = next(filter(str.strip, lines), "").rstrip("\r\n")
        delimiter, names, has_header = layout_of(first)
        numbered = enumerate(lines if has_header else itertools.chain([first], lines), 2 if has_header else 1)
        names = names[:-1] if not names[-1] else names  # --parsable ends every line with a bar
        split = (
            (number, line, line.rstrip("\r\n").split(delimiter)) for number, line in numbered if line.strip()
        )
        while chunk := list(itertools.islice(split, chunk_rows)):
            chunk = [
                (number, line, cells[:-1] if len(cells) == len(names) + 1 and not cells[-1] else cells)
                for number, line, cells in chunk
            ]
            bad = [
                (number, f"not {len(names)} columns", line)
                for number, line, cells in chunk
                if len(cells) != len(names)
            ]
            yield (
                [dict(zip(names, cells, strict=True)) for _, _, cells in chunk if len(cells) == len(names)],
                bad,
            )


def cpu_seconds(text):
    """Seconds, as text, of sacct's [D-]HH:MM:SS or MM:SS.mmm; a text that is neither is passed on."""
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)(\.\d+)?", text)
    if not found:
        return text or None
    d, h, m, s = (int(part or 0) for part in found.groups()[:4])
    return f"{((d * 24 + h) * 60 + m) * 60 + s}{found[5] or ''}"


def why_left_out(job):
    """Why a line of sacct is left out: "step", "not ended", "never ran", or "" when it is a run that ended.

    An end beats a state: REQUEUED, with an end, is a run that ended, though its job goes on.
    """
    if "." in job["JobID"]:
        return "step"
    if job["End"] in ("Unknown", "None", "") or job["State"].startswith(NOT_ENDED):
        return "not ended"
    withdrawn = job["ElapsedRaw"] == "0" and job["State"].startswith(
        ("CANCELLED", "DEADLINE", "BOOT_FAIL", "REQUEUED", "PREEMPTED")
    )
    return "never ran" if withdrawn or job["AllocCPUS"] == "0" else ""


def utc_text(seconds):
    """Seconds since 1970, a number or an array of n, as text such as 2026-01-31T10:00:00Z."""
    return np.datetime_as_string(np.asarray(seconds, "int64").astype("datetime64[s]"), timezone="UTC")


def run_of(job):
    """The row of one run, with the field names of GRACC, from one line of sacct; amounts that are no
    number are passed on as they are.
    """
    end, used = job["End"], job["CPUTimeRAW"]
    run = [job[name] for name in (*MORE, "End") if job.get(name)]
    return {
        "RecordId": "/".join([job["Cluster"], job["JobID"], *run]),
        "SiteName": job["Cluster"] or None,
        "VOName": job["Account"] or None,
        "EndTime": str(utc_text(int(end))) if end.isdecimal() else end,
        "ResourceType": "Batch",
        "Njobs": "1",
        "CoreHours": str(int(used) / 3600) if used.isdecimal() else used or None,
        "WallDuration": job["ElapsedRaw"] or None,
        "CpuDuration": cpu_seconds(job["TotalCPU"]),
        "Processors": job["AllocCPUS"] or None,
        "more": json.dumps(
            {name: value for name, value in job.items() if name == "State" or name not in {*COLUMNS, *MORE}}
        ),
    }


def ask_slurm(command, path, *, timeout_s, parameter):
    """Save what the list `command`, a client of Slurm, prints to the file `path`, its times in UTC and in
    seconds since 1970.

    FileNotFoundError where there is no Slurm (it names `parameter`, which takes a saved file instead),
    TimeoutError after `timeout_s`, ConnectionError with the client's own words: one line each.
    """
    name = command[0]
    try:
        with open(path, "wb") as out:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                env={**os.environ, "TZ": "UTC", "SLURM_TIME_FORMAT": "%s"},
            )
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no {name} on this machine: save its output where Slurm is, and name that file as "
            f"{parameter}"
        ) from None
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{name} gave no answer within {timeout_s:g} s: is slurmdbd up?") from None
    if done.returncode:
        raise ConnectionError(
            f"{name} failed ({done.returncode}): "
            f"{' '.join(done.stderr.decode(errors='replace').split())[:300]}"
        )
