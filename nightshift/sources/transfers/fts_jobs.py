"""Jobs of FTS3 as its REST interface and `fts-rest-transfer-status -j` answer: a job with its files.

Unlike a message of FTS, a job says when it was submitted, so that its wait is seen. A storage that the
metadata do not name is a host. Files that have not ended are counted and left out.

Source: the answers in the documentation of fts-rest (docs/api-curl.md, docs/cli.md).
"""

from urllib.parse import urlsplit

from nightshift.sources.transfers.files import JsonFile
from nightshift.sources.transfers.fts import OF_RUCIO, first_of, metadata_of, scheme_of

STATES = {"FINISHED": "done", "FAILED": "failed", "CANCELED": "cancelled"}  # file_state
KIND = {
    "kind": "job of FTS with its files",
    "needed": "job_id, submit_time and files with source_surl, dest_surl, file_state, start_time and "
    "finish_time, the answer of /jobs/ID?files=...",
}


def is_job(record):
    """Whether `record` is a job of FTS that lists its files."""
    return isinstance(record.get("files"), list) and {"job_id", "submit_time"} <= set(record)


def events_of(job):
    """Yield the files of a job that have ended as events that Rucio would announce, by its names of fields.

    A file whose transfer never started, since its job was cancelled first or only staged it from tape, has no
    start.
    """
    for one in job["files"]:
        if one.get("file_state") in STATES:
            metadata = metadata_of(one)
            event = {field: first_of(metadata, names) for field, names in OF_RUCIO.items()}
            for side, field in (("source", "src"), ("dest", "dst")):
                url = one.get(f"{side}_surl")
                event |= {f"{field}-url": url}
                event[f"{field}-rse"] = event[f"{field}-rse"] or urlsplit(url or "").hostname
            ended = one.get("finish_time") or job.get("finish_time")
            yield event | {
                "event_type": f"transfer-{STATES[one['file_state']]}",
                "request-id": event["request-id"] or f"{job['job_id']}/{one.get('file_id')}",
                "transfer-id": job["job_id"],
                "activity": event["activity"] or one.get("activity"),
                "bytes": first_of(one, ("filesize", "user_filesize")),
                "protocol": scheme_of(one.get("dest_surl")),
                "reason": one.get("reason"),
                "submitted_at": job["submit_time"],
                "started_at": one.get("start_time"),
                "transferred_at": ended,
                "created_at": ended,
                "vo": job.get("vo_name"),
                "retry": one.get("retry"),
            }


class FtsJobs(JsonFile):
    """Jobs of FTS with their files."""

    label = "jobs of FTS (JSON)"
    names = ('"job_id"', '"source_se"')
    wanted = KIND
    fits = staticmethod(is_job)

    def events_of(self, page):
        """(events of the files of jobs, how many files without an event and records that are no jobs)."""
        jobs = [record for record in page if is_job(record)]
        events = [event for job in jobs for event in events_of(job)]
        return events, sum(len(job["files"]) for job in jobs) - len(events) + len(page) - len(jobs)
