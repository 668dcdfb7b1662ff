"""The raw table of the transfers, part by part, from event files or the daily indices of an Elasticsearch.

Events of other kinds (deletions, rules) and of other days are counted and left out; events without any time
are kept: the next step rejects them by name. A file whose times cannot be read is refused.
"""

import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from elasticsearch import NotFoundError
from tqdm import tqdm

from nightshift.sources.elastic import first_documents, read_pages
from nightshift.sources.files import read_kind, require_kind
from nightshift.sources.parts import part_name, write_rows
from nightshift.sources.transfers.rucio import FIELDS, NEEDED, TimeCheck, event_times, is_event, read_event

SCHEMA = pa.schema([(field, pa.string()) for field in [*FIELDS, "more"]])
KIND = {"kind": "transfer event of Rucio", "needed": NEEDED, "fits": is_event}
# as Rucio and as MONIT nest it, text or keyword
EVENT_TYPES = ["event_type", "event_type.keyword", "data.event_type", "data.event_type.keyword"]
TRANSFERS = {
    "bool": {
        "should": [{"prefix": {name: "transfer-"}} for name in EVENT_TYPES],
        "minimum_should_match": 1,
    }
}


def transfer_rows(pages, extraction):
    """Yield of `pages`, lists of records, the transfer events of the window as frames with the columns of
    SCHEMA; the others are counted.

    LayoutError, after the last page, where the times of most cannot be read.
    """
    times, counts = TimeCheck(), extraction.counts
    for page in pages:
        rows = [read_event(record) for record in page]
        events = pd.DataFrame(rows, columns=SCHEMA.names, dtype=object)
        transfers = events[events.event_type.str.startswith("transfer-").astype(bool)]
        times.add(transfers)
        kept = transfers[extraction.within(event_times(transfers))]
        counts["kept"] += len(kept)
        counts["other kinds"] += len(events) - len(transfers)
        counts["other days"] += len(transfers) - len(kept)
        yield kept
    times.refuse()


def read_events(path, extraction):
    """Yield pages of records, lists of dicts, of the event file at `path`; what does not parse is put aside.

    LayoutError where the file holds something, and no event.
    """
    for records, bad in read_kind(path, **KIND):
        extraction.put_aside(path, bad)
        yield records


def extract_file(path, extraction):
    """Write the part of one file; an empty file is an empty part."""
    part = extraction.raw / part_name("file", path)
    pages = read_events(path, extraction) if os.path.getsize(path) else []
    write_rows(transfer_rows(pages, extraction), part, SCHEMA)
    extraction.parts.add(part)


def extract_days(ask, address, extraction, *, index, page_rows):
    """Write one part per day from the daily indices of the server that `ask` asks, up to `page_rows`
    documents at a time.

    address : its URL, by which the parts are named. index : name of a daily index, where {day} stands for
    YYYY.MM.DD. A day without index is noted as missing; one that has ended and is on disk is not asked again.
    LookupError where there is no index for any day; LayoutError where none holds a transfer event.
    """
    counts, begin, end = extraction.counts, *extraction.window
    days = [str(day.date()) for day in pd.date_range(begin, end, inclusive="left")]
    tag = part_name("elastic", address + index).removesuffix(".parquet")
    bar = tqdm(days, desc="days", unit="day")
    for day in bar:
        part, name = extraction.raw / f"{tag}-{day}.parquet", index.format(day=day.replace("-", "."))
        extraction.parts.add(part)
        complete = (pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=25)).timestamp()
        if part.exists() and part.stat().st_mtime > complete:
            counts["kept"] += pq.ParquetFile(part).metadata.num_rows
            continue
        try:
            pages = pages_of_day(ask, name, page_rows, bar=bar, counts=counts)
            write_rows(transfer_rows(pages, extraction), part, SCHEMA)
        except NotFoundError:
            extraction.missing.append(day)
    there = [day for day in days if day not in extraction.missing]
    if there and not counts["kept"]:  # no transfer in any index: of what kind is what they hold?
        name = index.format(day=there[0].replace("-", "."))
        list(require_kind([(first_documents(ask, name), [])], **KIND, place=name))
    if not there:
        raise LookupError(
            f"{index} exists for no day from {days[0]} to {days[-1]}: check the parameter index"
        )


def pages_of_day(ask, index, page_rows, *, bar, counts):
    """Yield pages of records of one daily index; LayoutError where it holds something, and no event.

    bar : a tqdm, which shows how many events are kept so far, by `counts`.
    """
    pages = ((page, []) for page in read_pages(ask, index, TRANSFERS, page_rows))
    for page, _ in require_kind(pages, **KIND, place=index):
        bar.set_postfix(events=counts["kept"])
        yield page
