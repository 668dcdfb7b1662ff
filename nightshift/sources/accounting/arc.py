"""The accounting database of an ARC computing element, SQLite: a row of its table AAR per job of the grid.

Times are seconds since 1970, walltime and CPU time seconds, memory is kB. Source: the schema
(sql-schema/arex_accounting_db_schema_v1.sql) and arc/control/AccountingPublishing.py of NorduGrid ARC 6.17.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from nightshift.sources.accounting.records import AccountingFile, frame_of, row_of_job
from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import LayoutError
from nightshift.wording import one_line

QUERY = """
    SELECT JobID, URL, WLCGVOs.Name, Queues.Name, Status.Name, EndTime, UsedWalltime,
           UsedCPUUserTime + UsedCPUKernelTime, CPUCount, UsedMemory
    FROM AAR
    LEFT JOIN Endpoints ON Endpoints.ID = EndpointID LEFT JOIN WLCGVOs ON WLCGVOs.ID = VOID
    LEFT JOIN Queues ON Queues.ID = QueueID LEFT JOIN Status ON Status.ID = StatusID
    ORDER BY RecordID
"""
PAGE = 20_000  # jobs


def row_of(job):
    """Make the row of one job, a row of QUERY, as a dict with the columns of SCHEMA; its site is the host of
    the computing element.
    """
    name, url, vo, queue, status, end, wall, cpu, cores, kib = job
    amounts = {
        "WallDuration": wall,
        "CpuDuration": cpu,
        "Processors": cores or None,
        "MemoryUsedGiB": kib / 2**20 if kib else None,
    }
    host = urlsplit(url or "").hostname
    return row_of_job(name, host, vo, end=end, amounts=amounts, more={"Queue": queue, "Status": status})


def read_arc(path, extraction):
    """Yield pages of rows from an accounting database of ARC. Jobs that have not ended, and those that ended
    before they ran, are left out. LayoutError where the file has other tables, or is damaged.
    """
    address = f"{Path(path).resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            jobs = connection.execute(QUERY)
            while page := jobs.fetchmany(PAGE):
                extraction.items["not ended"].update(job[0] for job in page if not job[5])
                extraction.items["never ran"].update(job[0] for job in page if job[5] and not job[6])
                yield frame_of([row_of(job) for job in page if job[5] and job[6]])
    except sqlite3.Error as error:
        raise LayoutError(
            f"it is SQLite, and no accounting database of ARC that can be read: {one_line(error)}; needed is "
            "accounting/accounting.db of its control directory"
        ) from None


class ArcDatabase(AccountingFile):
    """The accounting database of an ARC computing element."""

    label = "the accounting database of an ARC computing element (SQLite)"
    is_database = True
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By its first bytes."""
        return head.first_bytes == b"SQLite format 3\0"

    def read(self, path, extraction):
        """Yield pages of rows, see `read_arc`."""
        return read_arc(path, extraction)
