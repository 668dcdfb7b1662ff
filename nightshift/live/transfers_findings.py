"""Provisional findings: what flagged and failed transfers since the last night share, in the words of the
night.

They lie in data/live/transfers.parquet, see provisional.py. The night does not read them: it finds its own,
and what ended within its window is not among them.
"""

import numpy as np
import pandas as pd

from nightshift.analysis.transfers import (
    attempts_of,
    evidence_of,
    failing_items,
    failures_by_hour,
    find_problems,
    slow_items,
)
from nightshift.cleaning.transfers_folders import UNDATED, DayFolder
from nightshift.detectors.transfers import site_of
from nightshift.live.provisional import build_provisional, write_provisional
from nightshift.live.store import Store, measured
from nightshift.statistics import benjamini_hochberg

USUAL_DAYS = 14  # of the clean table, which say how often a link usually fails
GOES_ON = pd.Timedelta(hours=1)
NO_PROBES = pd.DataFrame(
    columns=["src_host", "dst_host", "time", "loss_pct", "latency_ms", "throughput_mbps"]
)


def find_provisional(paths, store_path, since, *, alarm_rate, false_discovery_rate, site_pattern):
    """Find and write the problems that have gone on at or after `since`, the end of the last night, UTC;
    returns the table, see `build_provisional`.

    paths : of `study_paths`. store_path : file of the Store. The other settings are those of 4_analyse.
    """
    rows = measured(Store(store_path, read_only=True).read())
    rows = rows.assign(src_site=site_of(rows.src, site_pattern), dst_site=site_of(rows.dst, site_pattern))
    judged = rows[rows.score.notna()].reset_index(drop=True)
    ways = {"slow": slow_items(judged, alarm_rate=alarm_rate), "failing": failing_of(paths, rows, since)}
    found = [
        find_problems(items, way, since=since) for way, items in ways.items() if (items.time >= since).any()
    ]
    found = [one for one in found if len(one)]
    table = build_provisional([], "transfers")
    if found:
        found = pd.concat(found, ignore_index=True).sort_values("p_value", ignore_index=True)
        found = found[benjamini_hochberg(found.p_value) <= false_discovery_rate].reset_index(drop=True)
        table = table_of(found, ways["failing"], rows.finished.max(), site_pattern)
    write_provisional(paths.root, "transfers", table)
    return table


def table_of(found, failing, newest, site_pattern):
    """The table of `build_provisional` of problems, DataFrame of `find_problems`.

    failing : of `failing_items`. newest : the latest end of a transfer; a problem that lasted until GOES_ON
    before it, or longer, counts as going on.
    """
    found = found.astype({"items": int, "flagged": int})
    evidence = [f"{evidence_of(one, failing, NO_PROBES)}; provisional" for one in found.itertuples()]
    last_end = site_of(found.entity.str.split(" -> ").str[-1], site_pattern)
    of_server, of_site = found.entity_kind == "fts", found.entity_kind == "site"
    found = found.assign(
        evidence=evidence,
        site=np.select([of_server, of_site], ["", found.entity], last_end),
        end=found.until,
        expected=found.usual,
        impact=found.delayed_gb,
        job_id="",
        goes_on=found.until >= newest - GOES_ON,
    )
    return build_provisional(found, "transfers")


def failing_of(paths, rows, since):
    """The attempts of the store as items of `failing_items`, with the usual failures of the nights before
    `since`.
    """
    clean = DayFolder(paths.clean)
    begin = f"{since - pd.Timedelta(days=USUAL_DAYS):%Y-%m-%d}"
    first = rows.started.min() if len(rows) else since
    days = [day for day in clean.days if day != UNDATED and begin <= day < f"{first:%Y-%m-%d}"]
    wanted = [name for name in rows if name not in ("id", "src_site", "dst_site")]
    columns = [name for name in wanted if name in clean.read(days[0])] if days else []
    before = [pd.read_parquet(clean.file(day), columns=columns) for day in days]
    tried = attempts_of(pd.concat([*before, rows], ignore_index=True).astype({"link": str}))
    hours = failures_by_hour(tried, until=since)
    return failing_items(tried[tried.time >= (first if pd.notna(first) else since)], hours)
