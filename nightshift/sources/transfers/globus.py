"""Tasks of Globus as its Transfer API lists them: a task of one or more files between two collections.

A task is one transfer here, with the bytes of all its files. It does not say when it started: it counts as
started when it was requested, so that its wait is part of how long it took. Tasks that have not ended, and
those that delete, are counted and left out.

Source: the documents `task` and `task_list` of the Transfer API, v0.10.
"""

from nightshift.sources.transfers.files import JsonFile

STATES = {"SUCCEEDED": "done", "FAILED": "failed"}
KIND = {
    "kind": "task of Globus",
    "needed": "task_id, source_endpoint_display_name, destination_endpoint_display_name, status, "
    "request_time, completion_time and bytes_transferred",
}


def tasks_of(record):
    """List the tasks of a `task_list`, or a single task; [] for anything else."""
    listed = record.get("DATA") if record.get("DATA_TYPE") == "task_list" else [record]
    return [one for one in listed or [] if isinstance(one, dict) and {"task_id", "request_time"} <= set(one)]


def as_event(task):
    """Write a task that has ended as an event that Rucio would announce, by its names of fields."""
    ends = {
        field: task.get(f"{side}_endpoint_display_name") or task.get(f"{side}_endpoint_id")
        for side, field in (("source", "src-rse"), ("destination", "dst-rse"))
    }
    error = task.get("fatal_error")
    return ends | {
        "event_type": f"transfer-{STATES[task['status']]}",
        "request-id": task["task_id"],
        "bytes": task.get("bytes_transferred"),
        "name": task.get("label"),
        "reason": (error or {}).get("description") or task.get("nice_status"),
        "submitted_at": task["request_time"],
        "started_at": task["request_time"],
        "transferred_at": task.get("completion_time"),
        "created_at": task.get("completion_time"),
        "protocol": "globus",
    }


class GlobusTasks(JsonFile):
    """Tasks of Globus, in lists or single."""

    label = "tasks of Globus (JSON)"
    names = ('"task_id"', '"destination_endpoint')
    wanted = KIND
    fits = staticmethod(tasks_of)

    def events_of(self, page):
        """(an event of each transfer that has ended, how many other tasks there are)."""
        tasks = [task for record in page for task in tasks_of(record)]
        ended = [
            task
            for task in tasks
            if task.get("status") in STATES and task.get("type", "TRANSFER") == "TRANSFER"
        ]
        return [as_event(task) for task in ended], len(tasks) - len(ended)
