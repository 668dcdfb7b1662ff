"""Values of collectd: what it sends as JSON, and the files of its plugin csv."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.tables import read_csv_pages
from nightshift.sources.telemetry.cells import finite_numbers
from nightshift.sources.telemetry.series_file import Pieces, SeriesFile, as_arrays, numbered_records

LISTS = ("dsnames", "dstypes", "values")


def identity(labels, name, instance="device"):
    """Labels of a value: a metric such as interface_if_octets_rx, with what tells its device apart.

    labels : host, plugin, plugin_instance, type and type_instance. name : of the value, "value" where there
    is one. instance : what the label of the device is called; values of `cpu` are added up.
    """
    plugin, kind = labels["plugin"], labels["type"]
    parts = [plugin, *([kind] if kind != plugin else []), *([name] if name != "value" else [])]
    return {
        "__name__": "_".join(parts),
        "host": labels["host"],
        instance: labels.get("plugin_instance") or "",
        "kind": labels.get("type_instance") or "",
    }


def is_whole(record):
    """Whether a record has a time and all that tells its values apart, and as many names and types as values,
    which are numbers or null.
    """
    lists = [record.get(name) for name in LISTS]
    if not all(isinstance(one, list) for one in lists) or len({*map(len, lists)}) > 1:
        return False
    names, kinds, values = lists
    texts = [*names, *kinds, *(record.get(name) for name in ("host", "plugin", "type"))]
    texts += [record.get(name) or "" for name in ("plugin_instance", "type_instance")]
    numbers = [record.get("time"), *(value for value in values if value is not None)]
    return all(isinstance(one, str) for one in texts) and all(isinstance(one, int | float) for one in numbers)


def add_values(found, record):
    """Add the values of one record to Pieces; counts of single processors get the label cpu, percentages are
    devices of their own.
    """
    for name, kind, value in zip(*(record[name] for name in LISTS), strict=True):
        counts = kind in ("derive", "counter")
        labels = identity(record, name, "cpu" if counts and record["plugin"] == "cpu" else "device")
        labels["__name__"] += "_total" if counts else ""
        found.add(tuple(labels.items()), float(record["time"]), np.nan if value is None else float(value))


@dataclass
class CollectdJson(SeriesFile):
    """Lists of values, as write_http and write_kafka send them; counters, which it calls derive or counter,
    end with _total.
    """

    label = "values of collectd in JSON"
    sampler = "collectd"

    def recognises(self, head):
        """By the names in its first lines."""
        return head.line.startswith(("[", "{")) and '"dsnames"' in " ".join(head.lines)[:5000]

    def series(self, path, extraction):
        """Yield the series of every value; a record that is none becomes a bad line."""
        found = Pieces()
        for n, record in numbered_records(path, extraction):
            if is_whole(record):
                add_values(found, record)
                yield from map(as_arrays, found.full())
            else:
                extraction.bad_lines.append((path, n, "no values of collectd", str(record)[:500]))
        yield from map(as_arrays, found.rest())


@dataclass
class CollectdCsv(SeriesFile):
    """A file of the plugin csv: HOST/PLUGIN-INSTANCE/TYPE-INSTANCE-DATE, whose folders say what it is. Each
    processor has its own files, and so its own metrics.
    """

    label = "a file of collectd (plugin csv)"
    excerpt = staticmethod(excerpt_of_text)
    sampler = "collectd"

    def recognises(self, head):
        """By its header."""
        return head.line.startswith("epoch,") and not self.columns

    def series(self, path, extraction):
        """Yield the series of every column; a row without a time becomes a bad line."""
        labels, bad = labels_of(path), []
        names, pages = read_csv_pages(path, bad)
        for first, page in pages:
            (at, _), *columns = (finite_numbers(page[name]) for name in names)
            at, values = at.to_numpy(), [numbers.to_numpy() for numbers, _ in columns]
            extraction.add_whole(sum(unreadable for _, unreadable in columns), {})
            timed = ~np.isnan(at)
            rows = zip(*(page[name].to_pylist() for name in names), strict=True)
            lines = [",".join(cell or "" for cell in row) for row in rows] if not timed.all() else []
            bad += [(path, first + n, "no time", lines[n][:500]) for n in np.flatnonzero(~timed)]
            for name, one in zip(names[1:], values, strict=True):
                yield identity(labels, name), at[timed], one[timed]
        extraction.bad_lines += bad


def labels_of(path):
    """Labels that the path of a file of the plugin csv gives; ValueError of one line where it does not lie in
    its folders.
    """
    *_, host, plugin, kind = ["", "", *Path(path).parts]
    kind = re.sub(r"-\d{4}-\d\d-\d\d(\.gz)?$", "", kind)
    if not host.strip("/"):
        raise ValueError("it is a file of collectd: leave it in its folders, HOST/PLUGIN/FILE")
    labels = {"host": host}
    labels["plugin"], _, labels["plugin_instance"] = plugin.partition("-")
    labels["type"], _, labels["type_instance"] = kind.partition("-")
    return labels
