"""Events of Rucio in the daily indices of an Elasticsearch or OpenSearch."""

import contextlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from nightshift.sources.base import Look
from nightshift.sources.elastic import DocumentServer, first_documents, read_pages
from nightshift.sources.files import require_kind
from nightshift.sources.parts import lets_in, part_name, read_note, write_rows
from nightshift.sources.transfers.parts import KIND, OPTIONAL, SCHEMA, table_of, transfer_rows

# as Rucio and MONIT nest it, as keyword or as text
EVENT_TYPES = ["event_type", "event_type.keyword", "data.event_type", "data.event_type.keyword"]
TRANSFERS = {
    "bool": {
        "should": [{"prefix": {name: f"{one}-"}} for name in EVENT_TYPES for one in ("transfer", "stagein")],
        "minimum_should_match": 1,
    }
}


def pages_of_index(ask, index, page_rows, *, bar, counts):
    """Yield pages of rows of the documents of one index whose type is that of a transfer; LayoutError where
    there are some and none is an event of Rucio.

    bar : a tqdm, which shows how many events of the index have been kept so far, `counts["kept"]`.
    """
    pages = ((page, []) for page in read_pages(ask, index, TRANSFERS, page_rows))
    for page, _ in require_kind(pages, **KIND, place=index):
        bar.set_postfix(events=counts["kept"])
        yield table_of(page)


def require_events(ask, indices):
    """Raise a LayoutError where the first of the `indices` that still exists holds something, and no event of
    Rucio.
    """
    from elasticsearch import NotFoundError

    for name in indices:
        with contextlib.suppress(NotFoundError):  # deleted since its part was written
            list(require_kind([(first_documents(ask, name), [])], **KIND, place=name))
            return


class RucioServer(DocumentServer):
    """Daily indices, in whose name {day} stands for YYYY.MM.DD, or one index for all days."""

    label = "an Elasticsearch or OpenSearch with events of Rucio"
    optional = OPTIONAL

    def extract(self, address, extraction):
        """Write one part per day, named after the address and the index; a single part for an index without
        {day} in its name.

        A day without index is noted as missing. A day whose part was written after its end is not asked for
        again, unless the part is empty, since its events may have come late, or the window has events of it
        that were too late for the one before, such as those of the minutes after midnight. LookupError where
        there is no index for any day; LayoutError where no transfer event is kept and the first index does
        not hold events of Rucio.
        """
        from elasticsearch import NotFoundError

        ask = self.connect(address)
        tag = part_name("elastic", address + self.index).removesuffix(".parquet")
        bar = tqdm(self.indices(pd.date_range(*extraction.window, inclusive="left")).items(), unit="index")
        there = []
        for name, day in bar:
            part = extraction.raw / (f"{tag}-{day.date()}.parquet" if day else f"{tag}.parquet")
            extraction.parts.add(part)
            is_whole = day and is_complete(part, day)
            noted = (read_note(part) or count_part(part, extraction)) if is_whole else None
            if noted and noted["counts"].get("kept") and not lets_in(noted, extraction.window):
                extraction.add(noted)
                there.append(name)
                continue
            one = extraction.of_part()
            try:
                pages = pages_of_index(ask, name, self.page_rows, bar=bar, counts=one.counts)
                write_rows(transfer_rows(pages, one), part, SCHEMA, one)
                extraction.add(one.note())
                there.append(name)
            except NotFoundError:
                if noted:  # the index was deleted since its part was written
                    extraction.add(noted)
                    there.append(name)
                else:
                    extraction.missing.extend([str(day.date())] if day else [])
        if not extraction.counts["kept"]:
            require_events(ask, there)
        if not there:
            self.refuse(*extraction.window)

    def indices(self, days):
        """{name of an index: its day} for the Timestamps `days`; {name: None} for one index of all days."""
        if "{day}" not in self.index:
            return {self.index: None}
        return {self.index.replace("{day}", f"{day:%Y.%m.%d}"): day for day in days}

    def refuse(self, begin, end):
        """Raise the LookupError for an index that does not exist from midnight `begin` to midnight `end`."""
        if "{day}" not in self.index:
            raise LookupError(f"there is no index {self.index}: check the parameter index")
        last = (end - pd.Timedelta(days=1)).date()
        raise LookupError(
            f"{self.index} exists for no day from {begin.date()} to {last}: check the parameter index"
        )

    def look(self, address, *, settings):
        """Ask how many transfer events the last two days of the window and its first one have, or the whole
        index where one is for all days. Errors are those of `extract`.
        """
        from elasticsearch import NotFoundError

        ask, last = self.connect(address), pd.Timestamp(settings["day"], tz="UTC")
        asked = [last - pd.Timedelta(days=back) for back in (0, 1, settings["days"] - 1)]
        found = {}
        for name, day in self.indices(asked).items():
            try:
                answer = ask("search", index=name, query=TRANSFERS, size=1, track_total_hits=True)
            except NotFoundError:
                continue
            found[day] = answer["hits"]["total"]["value"]
            if not found[day]:
                list(require_kind([(first_documents(ask, name), [])], **KIND, place=name))
        if not found:
            self.refuse(min(asked), last + pd.Timedelta(days=1))
        if None in found:
            return Look(self.label, notes=[f"{found[None]:,} transfer events in {self.index}, of all days"])
        n, days = sum(found.values()), ", ".join(str(day.date()) for day in sorted(found))
        ends = min(found), max(found) + pd.Timedelta(days=1)
        return Look(self.label, oldest=ends[0], newest=ends[1], notes=[f"{n:,} transfer events on {days}"])


def count_part(part, extraction):
    """Return the note of a part that an earlier version has written without one."""
    one = extraction.of_part()
    batches = pq.ParquetFile(part).iter_batches()
    list(transfer_rows((pa.Table.from_batches([batch]) for batch in batches), one))
    return one.note()


def is_complete(part, day):
    """Whether the part of a day was written more than an hour after the end of the day."""
    return part.exists() and part.stat().st_mtime > (day + pd.Timedelta(hours=25)).timestamp()
