"""The raw table of the transfers, part by part.

Events of other kinds (deletions, rules) and of other days are counted and left out; events without any time
are kept: the next step rejects them by name. A source whose times cannot be read is refused.
"""

import pandas as pd
import pyarrow as pa

from nightshift.sources.transfers.rucio import FIELDS, NEEDED, TimeCheck, event_times, is_event, read_event

SCHEMA = pa.schema([(field, pa.string()) for field in [*FIELDS, "more"]])
KIND = {"kind": "transfer event of Rucio", "needed": NEEDED, "fits": is_event}
OPTIONAL = {
    "activity": "all transfers count as one kind of work",
    "reason": "failures are counted and not explained",
}
EVER = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timestamp("2200-01-01", tz="UTC")  # a window for all events


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
