"""Accounting as GRACC keeps it: summary records in files, and weekly totals from its Elasticsearch.

A record says who (`VOName`) used how much where (`SiteName`) until when (`EndTime`). It comes bare or as a
hit of an Elasticsearch, `{"_id": ..., "_source": {...}}`. All sources of the accounting are brought into this
form, flat rows of text with GRACC's field names.

    SCHEMA, FIELDS, NEEDED     the row, and what no source may lack
    read_gracc, gracc_row      records in files
    read_totals                totals per week, site and VO, added up by the server
"""

import hashlib
import json

import pandas as pd
import pyarrow as pa

from nightshift.sources.files import LayoutError, as_text, read_records, shorten
from nightshift.sources.slurm import utc_text
from nightshift.sources.times import FORMS, read_times

FIELDS = [
    "RecordId",
    "EndTime",
    "SiteName",
    "VOName",
    "ProbeName",
    "ResourceType",
    "CoreHours",
    "WallDuration",
    "CpuDuration",
    "Njobs",
    "Processors",
]
NEEDED = ["EndTime", "SiteName", "VOName", "CoreHours"]
SUMS = ["CoreHours", "WallDuration", "CpuDuration", "Njobs"]  # what a server adds up
SCHEMA = pa.schema([(field, pa.string()) for field in [*FIELDS, "more"]])  # more : all other fields, JSON


def gracc_row(record):
    """Bring one bare record or hit, a dict, into a flat row of text: {name of SCHEMA: text or None}.

    `RecordId` is the identity that the source gave; a record without one gets a digest of all it says, so
    that copies are recognised.
    """
    inner = record.get("_source")
    flat = {**record, **inner} if isinstance(inner, dict) else dict(record)
    flat.pop("_source", None)
    identity = flat.pop("_id", None) or flat.get("RecordId")
    identity = identity or hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:32]
    row = {field: as_text(flat.pop(field, None)) for field in FIELDS}
    return {**row, "RecordId": as_text(identity), "more": json.dumps(flat) if flat else None}


def frame_of(rows):
    """Make a page of `rows`, dicts: DataFrame with the columns of SCHEMA, missing ones None."""
    return pd.DataFrame(rows, columns=SCHEMA.names, dtype=object)


def require_columns(columns, present, place):
    """Raise a LayoutError, one line, when `place` lacks one of the `columns` altogether."""
    if missing := [column for column in columns if column not in present]:
        raise LayoutError(
            f"{place} has no {' and no '.join(missing)}; it has {shorten(present)}; "
            f"needed are {', '.join(columns)}"
        )


# ------------------------------------------------------------------------------------------------------ Files


def read_gracc(path, extraction):
    """Yield pages of rows from a file of GRACC records in any layout; bad lines are put aside.

    One record may lack its site. A file in which no record has one, or in which not one time can be read, is
    a file of something else: LayoutError, one line.
    """
    present, n_bad, example, readable = {}, 0, "", False
    for records, bad in read_records(path, keep_hits=True):
        extraction.put_aside(path, bad)
        n_bad += len(bad)
        for record in records:
            present |= dict.fromkeys(inner if isinstance(inner := record.get("_source"), dict) else record)
        page = frame_of([gracc_row(record) for record in records])
        example = example or next((text for text in page.EndTime.dropna() if text.strip()), "")
        readable = readable or read_times(page.EndTime).notna().any()
        yield page
    if n_bad and not present:
        raise LayoutError(
            f"none of its {n_bad:,} lines is a JSON object; needed are GRACC records with {', '.join(NEEDED)}"
        )
    if present:
        require_columns(NEEDED, present, "it")
    if example and not readable:  # times that nobody can read are no times of another window
        raise LayoutError(
            f"none of its times can be read, such as EndTime {example[:60]!r}; needed is {FORMS}"
        )


# ----------------------------------------------------------------------------------------------------- Totals


def field_names(ask, index):
    """Return how the index calls what is added up and grouped by, {GRACC's name: that of the index}: a text
    field has its groups in `.keyword`.

    ask : of `connect_elastic`. LayoutError when the index lacks a field of NEEDED.
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

    names : of `field_names`; an index without `ResourceType` has batch jobs only.
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

    ask : of `connect_elastic`. Records that lack a site or a VO come as a total without it; those of other
    kinds than batch are counted, once. A field of numbers that the index does not have is left empty.
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
