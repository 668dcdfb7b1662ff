"""The job archive of ClusterCockpit: a folder per job, with its metrics in data.json and its description in
meta.json.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import LayoutError, open_text
from nightshift.sources.telemetry.series_file import SeriesFile

# Source: the schemas of the archive in ClusterCockpit/cc-backend, and a job in its tests


def json_of(path):
    """The JSON of a file, plain or .gz."""
    with open_text(path) as file:
        return json.load(file)


def meta_beside(path):
    """Paths of the descriptions of the job whose metrics the file `path` holds, a list."""
    return sorted(Path(path).parent.glob("meta.json*"))


def job_beside(path):
    """(begin in s since 1970, number) of the job whose metrics the file `path` holds, from meta.json beside
    it; LayoutError of one line where that is missing, or does not say when the job began.
    """
    beside = meta_beside(path)
    meta = json_of(beside[0]) if beside else {}
    if not isinstance(meta, dict) or not isinstance(meta.get("startTime"), int | float):
        raise LayoutError(
            "its times count from the begin of its job: keep meta.json, with startTime, beside it"
        )
    return meta["startTime"], str(meta.get("jobId", ""))


def are_scopes(scopes):
    """Whether a JSON value is what the archive has of a metric: an object for each scope, with its series."""
    return isinstance(scopes, dict) and all(
        isinstance(one, dict) and isinstance(one.get("series") or [], list) for one in scopes.values()
    )


def is_series(one):
    """Whether a JSON value is a series: the name of its host, and a list of numbers, null where one is
    missing.
    """
    if not isinstance(one, dict) or not isinstance(one.get("data"), list):
        return False
    are_numbers = all(value is None or isinstance(value, int | float) for value in one["data"])
    return are_numbers and isinstance(one.get("hostname"), str)


@dataclass
class JobArchive(SeriesFile):
    """The metrics of the nodes of one job; those of their sockets, cores and accelerators are left out."""

    label = "a job of ClusterCockpit's archive"
    excerpt = staticmethod(whole_file)
    sampler = "clustercockpit"

    def recognises(self, head):
        """By the names of the first metric."""
        begin = head.text[:20_000]
        return head.line.startswith("{") and all(f'"{name}"' in begin for name in ("timestep", "series"))

    def files_beside(self, path):
        """Return the paths of meta.json beside the file `path`."""
        return meta_beside(path)

    def series(self, path, extraction):
        """Yield the series of every metric and node; what is none becomes a bad line with the number of its
        metric in the file.
        """
        begin, job = job_beside(path)
        for number, (metric, scopes) in enumerate(json_of(path).items(), 1):
            if not are_scopes(scopes):
                extraction.bad_lines.append((path, number, "no metric of a job", str(scopes)[:500]))
                continue
            parts = [len(one.get("series") or []) for scope, one in scopes.items() if scope != "node"]
            if any(parts):
                extraction.left_out["parts of nodes"] += sum(parts)
            node = scopes.get("node", {})
            step = node.get("timestep")
            for one in node.get("series") or []:
                if not is_series(one) or not isinstance(step, int | float):
                    extraction.bad_lines.append((path, number, "no series of a node", str(one)[:500]))
                    continue
                values = np.array(one["data"], float)  # null is NaN
                at = begin + step * np.arange(len(values))
                yield {"__name__": metric, "host": one["hostname"], "jobid": job}, at, values
