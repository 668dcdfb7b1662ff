"""Runs of jobs as the accounting of Slurm has them: output of `sacct`, saved or asked live."""

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from nightshift.sources.accounting.records import (
    OPTIONAL,
    SCHEMA,
    AccountingFile,
    batch_rows,
    frame_of,
    page_of,
)
from nightshift.sources.accounting.sacct_runs import rows_of_tables
from nightshift.sources.accounting.sacct_text import FORMAT, looks_like_sacct, read_tables
from nightshift.sources.base import LiveSource, Look
from nightshift.sources.parts import Extraction, part_name, write_rows
from nightshift.sources.slurm import ask_slurm, sacct_fields
from nightshift.sources.times import read_times

ONE_WEEK = pd.Timedelta(weeks=1)
NEW = FORMAT[11:]  # columns that an old sacct may lack


def read_runs(path, extraction):
    """Yield pages of rows from output of sacct, live or saved, one row per run; a line with too few or too
    many columns is put aside.

    Jobs that have not ended or never ran are named in the extraction's items, since a live sacct lists a job
    in every week in which it waits; what only steps say goes to the row of their job.
    """

    def tables():
        for table, bad in read_tables(path):
            extraction.put_aside(path, bad)
            yield table

    for rows, left_out in rows_of_tables(tables()):
        for reason, names in left_out.items():
            extraction.items[reason].update(names)
        yield page_of(rows)


class SavedSacct(AccountingFile):
    """Saved output of sacct in any of its parsable forms."""

    label = "sacct --parsable2 output with its header"

    def recognises(self, head):
        """By its first line, which may be a header or not."""
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

    def command(self, folder):
        """Return the command that asks for all runs of all users, a list without its dates.

        Without --duplicates sacct lists only the last run of a job id: earlier ones (requeued, preempted, of
        a failed node) and jobs from before the ids began anew would be lost silently. A column that this
        sacct does not have would be an error, and is not asked for. ValueError of one line for options with
        a quote that is not closed.
        """
        try:
            options = shlex.split(self.sacct_options)
        except ValueError as error:
            raise ValueError(f"sacct_options: {self.sacct_options} cannot be read: {error}") from None
        answer = Path(folder, "helpformat.txt")
        there = sacct_fields(answer, timeout_s=self.timeout_s, parameter="source")
        names = [name for name in FORMAT if name not in NEW or name in there]
        fixed = ["sacct", "--allusers", "--duplicates", "--parsable2", "--noconvert"]
        return [*fixed, f"--format={','.join(names)}", *options]

    def ask(self, command, begin, end, answer):
        """Save the runs between two Timestamps in the file `answer`; errors are those of `ask_slurm`."""
        dated = [*command, f"--starttime={begin:%Y-%m-%d}", f"--endtime={end:%Y-%m-%d}"]
        ask_slurm(dated, answer, timeout_s=self.timeout_s, parameter="source")

    def extract(self, address, extraction):
        """Write one part per week; every failure is one line.

        Weeks are asked for one after the other, since two years at once would burden the accounting database.
        A week that was over for an hour when all of it was asked for is not asked for again, so an
        interrupted run goes on at the first missing week. A job that runs from one week into the next is
        listed in both and belongs to the one in which it ended.
        """
        with tempfile.TemporaryDirectory() as folder:
            command, answer = self.command(folder), Path(folder, "sacct.txt")
            # another command has other parts, so that all weeks are asked for again
            name = part_name("sacct", " ".join(command)).removesuffix(".parquet")
            for begin, part in tqdm(self.weeks(name, extraction), desc="weeks", unit="week"):
                extraction.parts.add(part)
                over = (begin + ONE_WEEK + pd.Timedelta(hours=1)).timestamp()
                if part.exists() and part.stat().st_mtime > over:
                    continue
                end = min(begin + ONE_WEEK, extraction.window[1])
                self.ask(command, begin, end, answer)
                write_rows(batch_rows(read_runs(answer, extraction), extraction, begin, end), part, SCHEMA)
        extraction.counts["outside"] = 0  # these were only jobs that ended in a neighbouring week

    @staticmethod
    def weeks(name, extraction):
        """List the Monday and the path of the part of each week of the window; that of a week which the
        window cuts has its end in its name, too, since a later window has more of that week.
        """
        first, end = extraction.window
        weeks = []
        for begin in pd.date_range(first, end, freq=ONE_WEEK, inclusive="left"):
            cut = f"-{end:%Y-%m-%d}" if begin + ONE_WEEK > end else ""
            weeks.append((begin, extraction.raw / f"{name}-{begin:%Y-%m-%d}{cut}.parquet"))
        return weeks

    def look(self, address, *, settings):
        """Ask for the runs of the last day of the window, and of the same weekday in its first week."""
        last = pd.Timestamp(settings["day"])
        days = [last - ONE_WEEK * (settings["weeks"] - 1), last]
        frames = []
        with tempfile.TemporaryDirectory() as folder:
            scratch, answer = Extraction(Path(folder), (None, None)), Path(folder, "sacct.txt")
            command = self.command(folder)
            for begin in days:
                self.ask(command, begin, begin + pd.Timedelta(days=1), answer)
                frames += read_runs(answer, scratch)
        rows = pd.concat([frame_of([]), *frames], ignore_index=True)
        return Look.of_rows(self.label, rows, read_times(rows.EndTime), scratch.bad_lines)
