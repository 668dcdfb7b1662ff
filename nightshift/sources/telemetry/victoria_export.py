"""Exports of VictoriaMetrics."""

from dataclasses import dataclass

import numpy as np

from nightshift.sources.files import read_records
from nightshift.sources.telemetry.series_file import SeriesFile


@dataclass
class VictoriaExport(SeriesFile):
    """Lines of /api/v1/export, a series each; times are in milliseconds."""

    label = "an export of VictoriaMetrics"

    def recognises(self, head):
        """By the names in its first line."""
        return head.line.startswith('{"metric":') and '"timestamps":' in head.line

    def series(self, path, extraction):
        """Yield the series of all lines; one that is none becomes a bad line."""
        n = 0
        for records, bad in read_records(path, keep_hits=True):
            extraction.bad_lines += [(path, *one) for one in bad]
            for record in records:
                n += 1
                values, at = record.get("values"), record.get("timestamps")
                if not isinstance(record.get("metric"), dict) or not values or len(values) != len(at or []):
                    extraction.bad_lines.append((path, n, "no series", str(record)[:500]))
                    continue
                numbers = [np.nan if value is None else value for value in values]
                yield record["metric"], np.array(at, float) / 1e3, np.array(numbers, float)
