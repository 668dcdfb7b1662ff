"""Exports of VictoriaMetrics."""

from dataclasses import dataclass

import numpy as np

from nightshift.sources.telemetry.series_file import SeriesFile, numbered_records


@dataclass
class VictoriaExport(SeriesFile):
    """Lines of /api/v1/export, one series each; times are in milliseconds."""

    label = "an export of VictoriaMetrics"

    def recognises(self, head):
        """By the names in its first line."""
        return head.line.startswith('{"metric":') and '"timestamps":' in head.line

    def series(self, path, extraction):
        """Yield the series of all lines; one that is none becomes a bad line."""
        for n, record in numbered_records(path, extraction, keep_hits=True):
            values, at = record.get("values"), record.get("timestamps")
            are_lists = isinstance(values, list) and isinstance(at, list)
            if not isinstance(record.get("metric"), dict) or not are_lists or not 0 < len(values) == len(at):
                extraction.bad_lines.append((path, n, "no series", str(record)[:500]))
                continue
            numbers = [np.nan if value is None else value for value in values]
            yield record["metric"], np.array(at, float) / 1e3, np.array(numbers, float)
