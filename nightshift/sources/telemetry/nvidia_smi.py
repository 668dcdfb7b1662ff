"""What nvidia-smi writes: tables of its queries, and of its monitor of devices."""

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.files import open_text
from nightshift.sources.tables import read_csv_pages
from nightshift.sources.telemetry.opening import NodeFile
from nightshift.sources.telemetry.parts import write_gpus
from nightshift.sources.telemetry.tables import partitions_of

# Names of its help, `nvidia-smi --help-query-gpu`; the unit stands in the header and, without `nounits`, in
# each cell
QUERIED = {
    "timestamp": ["timestamp"],
    "gpu": ["gpu", "index", "pci.bus_id", "gpu_bus_id", "uuid", "gpu_uuid"],
    "utilisation_pct": ["utilization.gpu"],
    "memory_used_mib": ["memory.used"],
    "memory_free_mib": ["memory.free"],
    "memory_total_mib": ["memory.total"],
    "power_w": ["power.draw", "power.draw.average", "power.draw.instant"],
    "temperature_c": ["temperature.gpu"],
}
MONITORED = {
    "gpu": "gpu",
    "pwr": "power_w",
    "gtemp": "temperature_c",
    "sm": "utilisation_pct",
    "fb": "memory_used_mib",
}
HOST_FOLDERS = ["host", "hostname", "node", "node_id", "instance"]
NO_VALUE = r"^\s*(\[.*\]|N/A|-|)\s*$"  # [N/A], [Not Supported], [Unknown Error]
NO_TIMES = "its lines have no times: write them with nvidia-smi dmon -o DT"
PAGE_ROWS = 2**15
UNIT = r"\s*(%|MiB|W|C|MHz)\s*$"


def host_of_file(names, path):
    """(column of the host among `names` or None, host that a folder of the path names or None); ValueError of
    one line where neither is there.
    """
    column = next((name for name in names if name.lower() in HOST_FOLDERS), None)
    named = next((value for name, value in partitions_of(path).items() if name in HOST_FOLDERS), None)
    if column is None and named is None:
        raise ValueError("it does not say of which node it is: put it into a folder host=NAME")
    return column, named


@dataclass
class SmiQuery(NodeFile):
    """A table of `nvidia-smi --query-gpu=timestamp,index,... --format=csv`; a column or a folder names its
    node.
    """

    label = "a table of nvidia-smi"
    excerpt = staticmethod(excerpt_of_text)

    def recognises(self, head):
        """By the names of its columns."""
        names = {bare(name) for name in head.names}
        return (
            not self.columns
            and "timestamp" in names
            and bool(names & {"utilization.gpu", "power.draw", "memory.used"})
        )

    def extract(self, path, extraction):
        """Add one table; ValueError of one line where it lacks the number of the GPU, or the node."""
        names, pages = read_csv_pages(path, extraction.bad_lines)
        column, host = host_of_file(names, path)
        found = {
            what: next((name for one in named for name in names if bare(name) == one), None)
            for what, named in QUERIED.items()
        }
        if found["gpu"] is None:
            raise ValueError("it does not say which GPU a row is of: query index or uuid, too")
        found |= {"node_id": column} if column else {}
        pages = ((row, readable(page, found, host=host)) for row, page in pages)
        layout = {what: what for what in ["node_id", *found] if found.get(what, what)}
        write_gpus(extraction, pages, layout=layout, where=path)


def bare(name):
    """The name of a column without its unit: power.draw of power.draw [W]."""
    return re.sub(r"\s*\[.*\]$", "", name.strip())


def readable(page, found, *, host=None):
    """A page with columns called after their quantities, cells without units, and dates in ISO 8601.

    found : {quantity: column or None}. host : the node of all rows, where no column says.
    """
    columns = {}
    for what, name in found.items():
        if name is None:
            continue
        cells = pc.utf8_trim_whitespace(page[name])
        missing = pc.match_substring_regex(cells, NO_VALUE)
        cells = pc.if_else(missing, pa.scalar(None, pa.string()), cells)
        if what == "timestamp":
            cells = pc.replace_substring(cells, "/", "-")
        elif what not in ("node_id", "gpu"):
            cells = pc.replace_substring_regex(cells, UNIT, "")
        columns[what] = cells
    if "node_id" not in columns:
        columns["node_id"] = pa.array([host] * len(page), pa.string())
    return pa.table(columns)


@dataclass
class SmiMonitor(NodeFile):
    """The lines of `nvidia-smi dmon -o DT`, whose header is repeated; a folder names their node."""

    label = "lines of nvidia-smi dmon"
    excerpt = staticmethod(excerpt_of_text)

    def recognises(self, head):
        """By its header."""
        names = head.line.lstrip("#").split()
        return (
            head.line.startswith("#")
            and "gpu" in names
            and bool({"sm", "pwr"} & set(names))
            and "pid" not in names
        )

    def extract(self, path, extraction):
        """Add the lines of one file; ValueError of one line where they have no times, or no node."""
        _, host = host_of_file([], path)
        n = 0
        for names, rows in rows_of_monitor(path, extraction.bad_lines):
            if not {"Date", "Time"} <= set(names):
                raise ValueError(NO_TIMES)
            there = {what: name for name, what in MONITORED.items() if name in names}
            columns = {name: [row.get(name) for row in rows] for name in there.values()}
            columns["timestamp"] = [
                re.sub(r"^(\d{4})\W?(\d\d)\W?(\d\d)$", r"\1-\2-\3", row["Date"]) + f" {row['Time']}"
                for row in rows
            ]
            page = readable(pa.table(columns), there | {"timestamp": "timestamp"}, host=host)
            layout = {name: name for name in page.column_names}
            write_gpus(extraction, [(n + 1, page)], layout=layout, where=path)
            n += len(rows)
        if not n:
            raise ValueError(NO_TIMES)


def rows_of_monitor(path, bad_lines):
    """Yield (names, rows) of the lines of a monitor, at most PAGE_ROWS with the same names; a line of another
    length becomes a bad one.
    """
    rows, names = [], []
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            cells = line.lstrip(" #").split()
            if line.lstrip().startswith("#"):
                other = "gpu" in cells and cells != names
                if other and rows:
                    yield names, rows
                    rows = []
                names = cells if other else names
            elif cells and len(cells) != len(names):
                bad_lines.append((path, number, f"{len(cells)} columns, not {len(names)}", line[:500]))
            elif cells:
                rows.append(dict(zip(names, cells, strict=True)))
                if len(rows) == PAGE_ROWS:
                    yield names, rows
                    rows = []
    if rows:
        yield names, rows
