"""The Elasticsearch of GRACC: totals per week, site and VO, added up by the server."""

import json

import pandas as pd

from nightshift.sources.accounting.records import (
    NEEDED,
    OPTIONAL,
    SCHEMA,
    batch_rows,
    frame_of,
    require_columns,
    utc_text,
)
from nightshift.sources.base import Look
from nightshift.sources.elastic import DocumentServer
from nightshift.sources.parts import part_name, write_rows

SUMS = ["CoreHours", "WallDuration", "CpuDuration", "Njobs"]  # what a server adds up


def field_names(ask, index):
    """Return the fields of the index that can be added up or grouped by, {GRACC's name: that of the index}: a
    text field has its groups in `.keyword`.

    ask : as `connect_elastic` gives it. LayoutError when the index lacks a field of NEEDED.
    """
    grouped = ("SiteName", "VOName", "ResourceType")
    texts = [f"{name}{suffix}" for name in grouped for suffix in ("", ".keyword")]
    kinds = ask("field_caps", index=index, fields=["EndTime", *SUMS, *texts])["fields"]
    usable = [name for name, types in kinds.items() if all(kind["aggregatable"] for kind in types.values())]
    names = {name.removesuffix(".keyword"): name for name in sorted(usable, reverse=True)}
    require_columns(NEEDED, names, f"the index {index}")
    return names


def batch_queries(names, window):
    """Build the queries for the records of the `window` (begin, end), UTC: (those of batch jobs, those of
    other kinds).

    names : as `field_names` gives them; an index without `ResourceType` has batch jobs only.
    """
    within = {"range": {"EndTime": {"gte": window[0].isoformat(), "lt": window[1].isoformat()}}}
    if "ResourceType" not in names:
        return {"bool": {"filter": [within]}}, {"bool": {"must_not": [{"match_all": {}}]}}
    kind = names["ResourceType"]
    other = {
        "bool": {
            "filter": [{"exists": {"field": kind}}],
            "must_not": [{"terms": {kind: ["Batch", ""]}}],
        }
    }
    return {"bool": {"filter": [within], "must_not": [other]}}, {"bool": {"filter": [within, other]}}


def total_row(bucket, sums):
    """Make one row from one bucket of the aggregation, with the fields `sums`; `EndTime` is the newest end in
    it, so that it lies in its week.
    """
    key, newest = bucket["key"], bucket["EndTime"]["value"]
    week = str(pd.Timestamp(key["week"], unit="ms").date())
    return {
        "RecordId": "|".join([key["SiteName"] or "", key["VOName"] or "", week]),
        "EndTime": str(utc_text(newest / 1000)),
        "SiteName": key["SiteName"],
        "VOName": key["VOName"],
        "ResourceType": "Batch",
        "more": json.dumps({"records": bucket["doc_count"]}),
        **{name: str(bucket[name]["value"]) for name in sums},
    }


def read_totals(ask, index, *, extraction, page_rows):
    """Yield pages of at most `page_rows` rows, one per week, site and VO of the window, added up by the
    server.

    ask : as `connect_elastic` gives it. Records that lack a site or a VO come as a total without it; those of
    other kinds than batch are counted by one query. A field of SUMS that the index does not have stays empty.
    """
    names = field_names(ask, index)
    query, other = batch_queries(names, extraction.window)
    others = ask("search", index=index, query=other, size=0, track_total_hits=True)
    extraction.counts["other kinds"] += others["hits"]["total"]["value"]
    sums = [name for name in SUMS if name in names]
    parts = {name: {"sum": {"field": name}} for name in sums} | {"EndTime": {"max": {"field": "EndTime"}}}
    groups = [{"week": {"date_histogram": {"field": "EndTime", "calendar_interval": "week"}}}]
    groups += [
        {name: {"terms": {"field": names[name], "missing_bucket": True}}} for name in ("SiteName", "VOName")
    ]
    pages = {"size": page_rows, "sources": groups}
    while pages:  # each page says after which key the next one begins
        wanted = {"totals": {"composite": pages, "aggs": parts}}
        totals = ask("search", index=index, query=query, size=0, aggs=wanted)["aggregations"]["totals"]
        yield frame_of([total_row(bucket, sums) for bucket in totals["buckets"]])
        more = totals["buckets"] and "after_key" in totals
        pages = pages | {"after": totals["after_key"]} if more else None


class GraccServer(DocumentServer):
    """Millions of summary records, of which only totals come over the network, all of them each night, since
    late records belong to weeks that are long over.
    """

    label = "an Elasticsearch or OpenSearch of GRACC"
    optional = OPTIONAL

    def extract(self, address, extraction):
        """Write one part for the whole window, named after address and index. LookupError where there is no
        such index.
        """
        from elasticsearch import NotFoundError

        part = extraction.raw / part_name("elastic", address + self.index)
        ask = self.connect(address)
        try:
            pages = read_totals(ask, self.index, extraction=extraction, page_rows=self.page_rows)
            write_rows(batch_rows(pages, extraction), part, SCHEMA)
        except NotFoundError:
            raise LookupError(f"there is no index {self.index}: check the parameter index") from None
        extraction.parts.add(part)

    def look(self, address, *, settings):
        """Ask for the fields of the index, and for the number of its records and their first and last end.
        LookupError where there is no such index.
        """
        from elasticsearch import NotFoundError

        ask = self.connect(address)
        ends = {"oldest": {"min": {"field": "EndTime"}}, "newest": {"max": {"field": "EndTime"}}}
        try:
            names = field_names(ask, self.index)
            query = {"match_all": {}}
            answer = ask("search", index=self.index, query=query, size=0, aggs=ends, track_total_hits=True)
        except NotFoundError:
            raise LookupError(f"there is no index {self.index}: check the parameter index") from None
        oldest, newest = (
            None
            if (at := answer["aggregations"][end]["value"]) is None
            else pd.Timestamp(at, unit="ms", tz="UTC")
            for end in ends
        )
        total = answer["hits"]["total"]["value"]
        return Look(self.label, filled=frozenset(names), oldest=oldest, newest=newest, total=total)
