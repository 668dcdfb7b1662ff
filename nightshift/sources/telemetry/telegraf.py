"""Metrics that Telegraf writes as JSON."""

from dataclasses import dataclass

from nightshift.sources.files import as_text
from nightshift.sources.telemetry.series_file import Pieces, SeriesFile, as_arrays, numbered_records

ALL = "cpu-total"  # of all processors; those of one are left out, as percentages do not add up


@dataclass
class Telegraf(SeriesFile):
    """Lines of {"fields", "name", "tags", "timestamp"}, or batches of them; a field of a measurement is a
    metric, cpu_usage_idle, and its tags tell devices apart.
    """

    # Source: plugins/serializers/json of influxdata/telegraf
    label = "metrics of Telegraf in JSON"
    sampler = "telegraf"

    def recognises(self, head):
        """By the names in its first line."""
        beginning = " ".join(head.lines)[:5000]
        return head.line.startswith("{") and all(f'"{name}"' in beginning for name in ("fields", "tags"))

    def series(self, path, extraction):
        """Yield the series of every field that holds numbers; a record that is none becomes a bad line."""
        found = Pieces()
        for n, record in numbered_records(path, extraction):
            if is_metric(record):
                add_fields(found, record, extraction)
                yield from map(as_arrays, found.full())
            else:
                extraction.bad_lines.append((path, n, "no metric", str(record)[:500]))
        yield from map(as_arrays, found.rest())


def is_metric(record):
    """Whether a record is a metric: an object of fields, one of plain tags if there are any, and a time."""
    fields, tags = record.get("fields"), record.get("tags") or {}
    if not isinstance(fields, dict) or not isinstance(tags, dict):
        return False
    is_nested = any(isinstance(one, list | dict) for one in tags.values())
    return not is_nested and isinstance(record.get("timestamp", ""), int | float | None)


def add_fields(found, record, extraction):
    """Add the numbers of one record to Pieces; a record of a single processor is left out, and counted."""
    tags = record.get("tags") or {}
    if tags.get("cpu", ALL) != ALL:
        extraction.left_out["single processors"] += 1
        return
    others = ((name, as_text(tag)) for name, tag in tags.items() if name != "cpu" and tag is not None)
    key = tuple(sorted(others))
    for name, value in record["fields"].items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            metric = ("__name__", f"{record.get('name', '')}_{name}")
            found.add((metric, *key), record["timestamp"], value)
