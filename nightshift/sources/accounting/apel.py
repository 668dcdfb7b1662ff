"""Messages of APEL, by which sites of EGI and WLCG report: totals by the month, and single jobs.

    APEL-summary-job-message: v0.2      or -individual-job-message: v0.3
    Site: NORTH
    ...
    %%

A total ends with the last second of its month, whatever its latest job; its core hours are its wall time
multiplied by its processors. Source: apel/db/records of APEL (github.com/apel/apel).
"""

import calendar
import hashlib
import itertools
import re

from nightshift.sources.accounting.records import AccountingFile, frame_of, row_of_job
from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import LayoutError, open_text

HEADER = re.compile(r"APEL-(summary|normalised-summary|individual)[a-z-]*-message:\s*v\d")
NOT_WHOLE = ("WallDuration", "CpuDuration", "NumberOfJobs", "UpdateTime")
KINDS = {  # of message, by the header: fields that are needed
    "summary": ("Site", "Month", "Year", "WallDuration", "NumberOfJobs"),
    "individual": ("Site", "LocalJobId", "WallDuration", "EndTime"),
}
PAGE = 50_000  # records


def number_of(record, name):
    """Return a field as a float, None where it is no decimal number of zero or more."""
    text = record.get(name, "")
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def vo_of(record):
    """Return the VO of a record, else that of its FQAN, such as /atlas/Role=production; None where neither is
    there.
    """
    fqan = record.get("FQAN", "").strip("/").split("/")[0]
    return next((name for name in (record.get("VO"), fqan) if name and name.lower() != "none"), None)


def amounts_of(record):
    """Return the amounts of a record for `row_of_job`; 0 processors stand for an unknown number."""
    gib = number_of(record, "MemoryReal")
    return {
        "WallDuration": number_of(record, "WallDuration"),
        "CpuDuration": number_of(record, "CpuDuration"),
        "Processors": number_of(record, "Processors") or None,
        "MemoryUsedGiB": gib / 2**20 if gib else None,
    }


def row_of_total(record):
    """Make the row of the total of one month, a dict with the columns of SCHEMA.

    Its identity is all that it is grouped by, so that a total that is sent again replaces the earlier one.
    ValueError for a month or a year that is none.
    """
    year, month = int(record["Year"]), int(record["Month"])
    ends = calendar.timegm((year, month, calendar.monthrange(year, month)[1], 23, 59, 59))
    same = {name: value for name, value in record.items() if name not in NOT_WHOLE and "EndTime" not in name}
    same = {name: value for name, value in same.items() if not name.startswith("Normalised")}
    identity = hashlib.sha256(repr(sorted(same.items())).encode()).hexdigest()[:32]
    amounts = amounts_of(record) | {"Njobs": number_of(record, "NumberOfJobs")}
    more = {"StartTime": f"{year}-{month:02d}-01T00:00:00Z", **record}
    return row_of_job(identity, record["Site"], vo_of(record), end=ends, amounts=amounts, more=more)


def row_of_single(record):
    """Make the row of one job, a dict with the columns of SCHEMA."""
    identity = "/".join(record.get(name, "") for name in ("MachineName", "LocalJobId", "EndTime"))
    end = number_of(record, "EndTime")
    return row_of_job(
        identity, record["Site"], vo_of(record), end=end, amounts=amounts_of(record), more=record
    )


def records_of(lines):
    """Yield (number of its first line, header of its message, {field: text}) of each record in `lines`."""
    header, record, begin = "", {}, 0
    for number, line in enumerate(lines, 1):
        name, mark, value = line.partition(":")
        if line.startswith("APEL-") or line.strip() == "%%":
            if record:
                yield begin, header, record
            header, record = (line if mark else header), {}
        elif mark:
            begin = begin if record else number
            record[name.strip()] = value.strip()
    if record:
        yield begin, header, record


def read_messages(path, extraction):
    """Yield pages of rows from messages of APEL, one after the other in a file; a record that lacks a needed
    field is put aside. LayoutError where there are records and none becomes a row.
    """
    n_records, n_rows = 0, 0
    with open_text(path) as lines:
        each = records_of(lines)
        while page := list(itertools.islice(each, PAGE)):
            rows, bad = [], []
            for number, header, record in page:
                match = HEADER.match(header)
                kind = match[1].removeprefix("normalised-") if match else ""
                lacking = [name for name in KINDS.get(kind, ()) if not record.get(name)]
                if not kind or lacking:
                    why = f"no {' and no '.join(lacking)}" if kind else "a record of another kind of message"
                    bad.append((number, why, str(record)))
                else:
                    try:
                        rows.append((row_of_total if kind == "summary" else row_of_single)(record))
                    except ValueError as error:  # of a month or a year that is none
                        bad.append((number, str(error), str(record)))
            n_records, n_rows = n_records + len(page), n_rows + len(rows)
            extraction.put_aside(path, bad)
            yield frame_of(rows)
    if n_records and not n_rows:
        raise LayoutError("none of its records is a whole one of APEL's summaries or individual jobs")


class ApelMessages(AccountingFile):
    """Messages of APEL as its client leaves them in its folder of outgoing messages."""

    label = "summary or individual job messages of APEL"
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By the header of the first message."""
        return bool(HEADER.match(head.line))

    def read(self, path, extraction):
        """Yield pages of rows, see `read_messages`."""
        return read_messages(path, extraction)
