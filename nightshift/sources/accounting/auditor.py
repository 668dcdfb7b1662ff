"""Records of AUDITOR, the accounting of opportunistic resources, as its interface gives and takes them.

    {"record_id": "job-1", "meta": {"site_id": ["NORTH"], "group_id": ["physics"]},
     "components": [{"name": "Cores", "amount": 8, "scores": []}],
     "start_time": "2026-01-26T10:00:00Z", "stop_time": "2026-01-26T12:00:00Z", "runtime": 7200}

Source: auditor/src/domain/record.rs of AUDITOR (github.com/ALU-Schumacher/AUDITOR) and the examples of its
documentation. What a component is called, and in which unit it counts, is set by whoever collects: cores and
GPUs are counts under any name, while memory and CPU time are not read, since a record does not say their
unit.
"""

import json
from urllib.parse import unquote

import numpy as np
import pandas as pd

from nightshift.sources.accounting.records import AccountingFile, amount_of, frame_of, row_of_job
from nightshift.sources.excerpts import excerpt_of_records
from nightshift.sources.files import read_records
from nightshift.sources.times import read_times

CORES = {"core", "cores", "cpu", "cpus", "ncpus", "numcpus"}
GPUS = {"gpu", "gpus", "ngpus", "numgpus"}
VOS = ("voms", "vo", "vo_id", "group_id")  # names of meta information, the most telling first
PAGE = 20_000  # records


def meta_of(record, *names):
    """Return the first value of the first of the meta `names` that a record has, "" where it has none.

    Slashes and other characters that AUDITOR forbids may be written as %2F.
    """
    meta = record.get("meta") or {}
    values = (meta[name] for name in names if meta.get(name))
    return next((unquote(str(one[0] if isinstance(one, list) else one)) for one in values), "")


def amount_in(record, names):
    """Return how much a record has of the components called by one of `names`; None where it has none, or one
    whose amount is no number.
    """
    amounts = [
        amount_of(one.get("amount"))
        for one in record.get("components") or []
        if str(one.get("name")).lower() in names
    ]
    return sum(amounts) if amounts and None not in amounts else None


def row_of(record, begin, end):
    """Make the row of one record, a dict with the columns of SCHEMA. begin, end : seconds since 1970, NaN
    where they cannot be read.
    """
    wall = amount_of(record.get("runtime"))
    wall = end - begin if wall is None and np.isfinite(end - begin) else wall
    vo = meta_of(record, *VOS).strip("/").split("/")[0]
    amounts = {
        "WallDuration": wall,
        "Processors": amount_in(record, CORES),
        "Gpus": amount_in(record, GPUS),
    }
    end = end if np.isfinite(end) else None
    site = meta_of(record, "site_id", "site")
    return row_of_job(record["record_id"], site, vo, end=end, amounts=amounts, more=record)


def seconds_of(records, name):
    """Return the times that `records` have under a `name`: s since 1970, float (n,), NaN for none."""
    at = read_times(pd.Series([record.get(name) for record in records], dtype=object))
    return ((at - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)


def is_record(record):
    """Tell whether a JSON object is a record of AUDITOR."""
    return isinstance(record.get("record_id"), str)


def read_auditor(path, extraction):
    """Yield pages of rows from records of AUDITOR in any layout of JSON; those that have not ended are named
    in the extraction's items, and what is no record is put aside.
    """
    for records, bad in read_records(path, PAGE, fits=is_record):
        named = [record for record in records if is_record(record)]
        unnamed = [record for record in records if not is_record(record)]
        extraction.put_aside(path, [*bad, *((0, "no record_id", json.dumps(one)) for one in unnamed)])
        ended = [record for record in named if record.get("stop_time") is not None]
        running = [record["record_id"] for record in named if record.get("stop_time") is None]
        extraction.items["not ended"].update(running)
        times = [seconds_of(ended, name) for name in ("start_time", "stop_time")]
        yield frame_of([row_of(*one) for one in zip(ended, *times, strict=True)])


class AuditorRecords(AccountingFile):
    """Records of AUDITOR, saved as JSON."""

    label = "records of AUDITOR (JSON)"
    excerpt = staticmethod(excerpt_of_records)

    def recognises(self, head):
        """By names that stand together in no other accounting."""
        return {"record_id", "components", "start_time"} <= head.keys

    def read(self, path, extraction):
        """Yield pages of rows, see `read_auditor`."""
        return read_auditor(path, extraction)
