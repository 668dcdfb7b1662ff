"""Messages in which FTS3 says that a transfer has ended, as they are sent and as MONIT keeps them.

They are read as Rucio itself reads them: a transfer starts when the server starts on it, and ends when the
server is finished with it. They do not say when it was submitted: it counts as submitted when it started, and
its wait is not seen. Whoever asks for a transfer may put anything into its metadata; Rucio puts the request
and its storages there.

Source: `MsgIfce::SendTransferFinishMessage` of FTS3 (gitlab.cern.ch/fts/fts3); of Rucio 41.5.1, in
transfertool/fts3.py, `FTS3CompletionMessageTransferStatusReport` and the metadata that it sends.
"""

import json

from nightshift.sources.transfers.files import JsonFile

STATES = {"ok": "done", "error": "failed", "abort": "cancelled"}  # t_final_transfer_state
SAME = {  # field of Rucio: its names in a message, of which the first that says anything counts
    "bytes": ("file_size", "f_size"),
    "src-url": ("src_url",),
    "dst-url": ("dst_url",),
    "transfer-endpoint": ("endpnt",),
    "reason": ("t__error_message",),
    "protocol": ("protocol",),
    "submitted_at": ("tr_timestamp_start",),
    "started_at": ("tr_timestamp_start",),
    "transferred_at": ("tr_timestamp_complete",),
    "created_at": ("tr_timestamp_complete",),
}
OF_RUCIO = {  # the same, in the metadata of a file
    "request-id": ("request_id",),
    "activity": ("activity",),
    "scope": ("scope",),
    "name": ("name",),
    "src-rse": ("src_rse",),
    "dst-rse": ("dst_rse", "dest_rse"),
    "src-type": ("src_type",),
    "dst-type": ("dst_type",),
    "checksum-adler": ("adler32",),
    "checksum-md5": ("md5",),
}
KEPT = ("file_id", "vo", "retry", "retry_max", "tr_error_category", "t_error_code", "t_failure_phase", "ipv6")
KIND = {
    "kind": "message of FTS about a transfer that has ended",
    "needed": "tr_id, t_final_transfer_state, src_url, dst_url and times such as tr_timestamp_start",
}


def has_ended(record):
    """Whether `record` is a message about a transfer that has ended; FTS sends others, too.

    A file that is copied and must still go to tape at its destination has not ended.
    """
    state = str(record.get("t_final_transfer_state")).lower()
    return (
        bool(record.get("tr_id")) and state in STATES and not (state == "ok" and record.get("is_archiving"))
    )


def first_of(record, names):
    """The first value of `record` under one of `names` that says anything; None where none does. An empty
    text, 0 and -1 say nothing.
    """
    values = (record.get(name) for name in names)
    return next((value for value in values if value not in (None, "", 0, "0", -1, "-1")), None)


def metadata_of(record):
    """The metadata of the file of a message, a dict; empty where it is no JSON object."""
    inner = record.get("file_metadata")
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            inner = None
    return inner if isinstance(inner, dict) else {}


def scheme_of(url):
    """The protocol with which a `url` begins; "" where it is none."""
    before, mark, _ = str(url).partition("://")
    return before if mark else ""


def as_event(record):
    """Write a message as the event that Rucio would announce, by its names of fields.

    A transfer whose metadata names no request is a request of its own; a storage that it does not name is the
    host of the source or the destination.
    """
    metadata = metadata_of(record)
    event = {field: first_of(record, names) for field, names in SAME.items()}
    event |= {field: first_of(metadata, names) for field, names in OF_RUCIO.items()}
    kind = "stagein" if str(metadata.get("request_type")).lower().startswith("stagein") else "transfer"
    event["event_type"] = f"{kind}-{STATES[str(record['t_final_transfer_state']).lower()]}"
    event["request-id"] = event["request-id"] or record["tr_id"]
    event["transfer-id"] = record["tr_id"].rpartition("__")[2]
    event["activity"] = event["activity"] or record.get("activity")
    event["src-rse"] = event["src-rse"] or record.get("src_hostname")
    event["dst-rse"] = event["dst-rse"] or record.get("dst_hostname")
    event["protocol"] = event["protocol"] or scheme_of(record.get("dst_url"))
    return event | {name: record[name] for name in KEPT if name in record}


class FtsMessages(JsonFile):
    """Messages about the ends of transfers, with the names of FTS."""

    label = "messages of FTS (JSON)"
    names = ('"tr_id"', '"t_final_transfer_state"')
    wanted = KIND
    fits = staticmethod(has_ended)

    def events_of(self, page):
        """(an event of each transfer that has ended, how many other messages there are)."""
        ended = [as_event(record) for record in page if has_ended(record)]
        return ended, len(page) - len(ended)
