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
    if not isinstance(meta.get("startTime"), int | float):
        raise LayoutError(
            "its times count from the begin of its job: keep meta.json, with startTime, beside it"
        )
    return meta["startTime"], str(meta.get("jobId", ""))


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
        """Yield the series of every metric and node."""
        begin, job = job_beside(path)
        for metric, scopes in json_of(path).items():
            extraction.left_out["parts of nodes"] += sum(
                len(one.get("series", [])) for scope, one in scopes.items() if scope != "node"
            )
            node = scopes.get("node", {})
            for one in node.get("series", []):
                values = np.array(one["data"], float)  # null is NaN
                at = begin + node["timestep"] * np.arange(len(values))
                yield {"__name__": metric, "host": one["hostname"], "jobid": job}, at, values
