"""Events of Rucio in the daily indices of an Elasticsearch or OpenSearch."""

import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from nightshift.sources.base import Look
from nightshift.sources.elastic import DocumentServer, first_documents, read_pages
from nightshift.sources.files import require_kind
from nightshift.sources.parts import part_name, write_rows
from nightshift.sources.transfers.parts import KIND, OPTIONAL, SCHEMA, table_of, transfer_rows

# as Rucio and as MONIT nest it, text or keyword
EVENT_TYPES = ["event_type", "event_type.keyword", "data.event_type", "data.event_type.keyword"]
TRANSFERS = {
    "bool": {
        "should": [{"prefix": {name: "transfer-"}} for name in EVENT_TYPES],
        "minimum_should_match": 1,
    }
}


def pages_of_day(ask, index, page_rows, *, bar, counts):
    """Yield pages of rows of one daily index; LayoutError where it holds something, and no event.

    bar : a tqdm, which shows how many events are kept so far, by `counts`.
    """
    pages = ((page, []) for page in read_pages(ask, index, TRANSFERS, page_rows))
    for page, _ in require_kind(pages, **KIND, place=index):
        bar.set_postfix(events=counts["kept"])
        yield table_of(page)


class RucioServer(DocumentServer):
    """Daily indices: in the name of the index, {day} stands for YYYY.MM.DD."""

    label = "an Elasticsearch or OpenSearch with events of Rucio"
    optional = OPTIONAL

    def extract(self, address, extraction):
        """Write one part per day, named by the address and the index.

        A day without index is noted as missing; one that has ended and is on disk is not asked again.
        LookupError where there is no index for any day; LayoutError where none holds a transfer event.
        """
        from elasticsearch import NotFoundError

        ask, index = self.connect(address), self.index
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
                pages = pages_of_day(ask, name, self.page_rows, bar=bar, counts=counts)
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

    def look(self, address, *, settings):
        """Ask how many transfer events the last two days of the window and its first one have."""
        from elasticsearch import NotFoundError

        ask, last = self.connect(address), pd.Timestamp(settings["day"], tz="UTC")
        found = {}
        for day in (last, last - pd.Timedelta(days=1), last - pd.Timedelta(days=settings["days"] - 1)):
            name = self.index.format(day=f"{day:%Y.%m.%d}")
            try:
                answer = ask("search", index=name, query=TRANSFERS, size=1, track_total_hits=True)
            except NotFoundError:
                continue
            found[day] = answer["hits"]["total"]["value"]
            if not found[day]:
                list(require_kind([(first_documents(ask, name), [])], **KIND, place=name))
        if not found:
            raise LookupError(
                f"{self.index} exists neither for {last.date()} nor for the days before: check the parameter "
                "index"
            )
        n, days = sum(found.values()), ", ".join(str(day.date()) for day in sorted(found))
        ends = min(found), max(found) + pd.Timedelta(days=1)
        return Look(self.label, oldest=ends[0], newest=ends[1], notes=[f"{n:,} transfer events on {days}"])
