"""Runs of jobs as the accounting of Slurm tells them: output of `sacct`, saved or asked live."""

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from nightshift.sources.accounting.records import OPTIONAL, SCHEMA, AccountingFile, batch_rows, frame_of
from nightshift.sources.base import LiveSource, Look
from nightshift.sources.parts import Extraction, part_name, write_rows
from nightshift.sources.slurm import (
    ask_slurm,
    looks_like_sacct,
    read_sacct,
    run_of,
    sacct_command,
    why_left_out,
)
from nightshift.sources.times import read_times

ONE_WEEK = pd.Timedelta(weeks=1)


def read_runs(path, extraction):
    """Yield pages of rows from output of sacct, live or saved, one row per run; a line with too few or too
    many columns is put aside.

    Jobs that have not ended or never ran go to the extraction's items by their name, since a live sacct names
    a job in every week through which it waits; steps are passed over.
    """
    for jobs, bad in read_sacct(path):
        extraction.put_aside(path, bad)
        reasons = [why_left_out(job) for job in jobs]
        for job, why in zip(jobs, reasons, strict=True):
            if why in ("not ended", "never ran"):
                extraction.items[why].add(f"{job['Cluster']}/{job['JobID']}")
        yield frame_of([run_of(job) for job, why in zip(jobs, reasons, strict=True) if not why])


class SavedSacct(AccountingFile):
    """Saved output of sacct in any of its parsable forms."""

    label = "sacct --parsable2 output with its header"

    def recognises(self, head):
        """By its first line, header or none."""
        return looks_like_sacct(head.line)

    def read(self, path, extraction):
        """Yield pages of rows, see `read_runs`."""
        return read_runs(path, extraction)


@dataclass
class Sacct(LiveSource):
    """The accounting of the Slurm to which this machine belongs."""

    label = "sacct of this machine"
    addresses = ("sacct",)
    optional = OPTIONAL

    sacct_options: str
    timeout_s: float

    def extract(self, address, extraction):
        """Write one part per week; every failure is one line.

        One week is asked for after the other, since two years at once would burden the accounting database. A
        week that is over is never asked again, so an interrupted run goes on at the first missing week. A job
        that runs from one week into the next is named in both and belongs to the one in which it ended.
        """
        command = sacct_command(pd.Timestamp(0), pd.Timestamp(0), [self.sacct_options])
        name = part_name("sacct", " ".join(command)).removesuffix(
            ".parquet"
        )  # asked in another way, asked again
        mondays = pd.date_range(extraction.window[0], extraction.window[1], freq=ONE_WEEK, inclusive="left")
        for begin in tqdm(mondays, desc="weeks", unit="week"):
            part, end = (
                extraction.raw / f"{name}-{begin:%Y-%m-%d}.parquet",
                min(begin + ONE_WEEK, extraction.window[1]),
            )
            extraction.parts.add(part)
            over = (begin + ONE_WEEK + pd.Timedelta(hours=1)).timestamp()
            if part.exists() and part.stat().st_mtime > over:
                continue
            with tempfile.TemporaryDirectory() as folder:
                answer = Path(folder, "sacct.txt")
                asked = sacct_command(begin, end, shlex.split(self.sacct_options))
                ask_slurm(asked, answer, timeout_s=self.timeout_s, parameter="source")
                write_rows(batch_rows(read_runs(answer, extraction), extraction, begin, end), part, SCHEMA)
        extraction.counts["other weeks"] = 0  # they were only the neighbours of each week

    def look(self, address, *, settings):
        """Ask for the runs of the last day of the night, and of the first day of the window."""
        last = pd.Timestamp(settings["day"])
        days = [last - ONE_WEEK * (settings["weeks"] - 1), last]
        frames = []
        with tempfile.TemporaryDirectory() as folder:
            scratch, answer = Extraction(Path(folder), (None, None)), Path(folder, "sacct.txt")
            for begin in days:
                asked = sacct_command(begin, begin + pd.Timedelta(days=1), shlex.split(self.sacct_options))
                ask_slurm(asked, answer, timeout_s=self.timeout_s, parameter="source")
                frames += read_runs(answer, scratch)
        rows = pd.concat([frame_of([]), *frames], ignore_index=True)
        return Look.of_rows(self.label, rows, read_times(rows.EndTime), scratch.bad_lines)
